//! Requests that the server makes of others: of a webhook's receiver, of the targets of lifecycle hooks.

use crate::trust::{TrustError, client_tls};
use bytes::Bytes;
use effects::Effects;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use std::{future::Future, path::Path, time::Duration};

/// What is read of an answer.
const MAX_ANSWER: usize = 64 << 10;
const AGENT: &str = concat!("longshore/", env!("CARGO_PKG_VERSION"));

/// A client of others.
pub(crate) struct Outgoing {
    http: legacy::Client<HttpsConnector<legacy::connect::HttpConnector>, Full<Bytes>>,
    effects: Effects,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Nothing where it is longer than anybody means, or cannot be read.
    pub(crate) body: Option<Bytes>,
}

/// Connections live as tasks of ours, like all that is in the background.
#[derive(Clone)]
struct Tracked(Effects);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, connection: F) {
        self.0.spawn("outgoing connection", async move {
            connection.await;
        });
    }
}

impl Outgoing {
    /// A client that trusts the authorities in `bundle`, or the system's.
    ///
    /// # Errors
    /// The bundle cannot be read.
    pub(crate) fn open(bundle: Option<&Path>, effects: &Effects) -> Result<Self, TrustError> {
        let tls = client_tls(bundle)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let http = legacy::Client::builder(Tracked(effects.clone())).pool_max_idle_per_host(1).build(connector);
        Ok(Self { http, effects: effects.clone() })
    }

    /// Posts a JSON document. A redirection is an answer like any other: nobody is led elsewhere.
    ///
    /// # Errors
    /// Why nobody answered within `patience`.
    pub(crate) async fn post(
        &self,
        uri: &Uri,
        signature: Option<(&'static str, String)>,
        json: String,
        patience: Duration,
    ) -> Result<Answer, String> {
        let mut request = Request::post(uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, AGENT);
        if let Some((name, value)) = signature {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(json))).map_err(|error| error.to_string())?;
        self.exchange(request, MAX_ANSWER, patience).await
    }

    /// Gets a document of so many bytes at most. A redirection is an answer like any other.
    ///
    /// # Errors
    /// Why nobody answered within `patience`.
    pub(crate) async fn get(&self, uri: &Uri, most: usize, patience: Duration) -> Result<Answer, String> {
        let request = Request::get(uri.clone()).header(header::USER_AGENT, AGENT).body(Full::default());
        self.exchange(request.map_err(|error| error.to_string())?, most, patience).await
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, most: usize, patience: Duration) -> Result<Answer, String> {
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|error| all(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), most).collect().await;
            Ok(Answer { status, body: body.ok().map(http_body_util::Collected::to_bytes) })
        };
        tokio::select! {
            done = exchange => done,
            () = self.effects.sleep(patience) => Err(format!("no answer within {} seconds", patience.as_secs())),
        }
    }
}

/// An error with its causes: that of the client alone says nothing.
fn all(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

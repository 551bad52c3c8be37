//! Requests to Splunk's HTTP event collector.

use super::{
    connect::{Connection, within},
    sink::Trouble,
};
use effects::Effects;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use telemetry::driver::{Address, Splunk, Tls};

/// How long an answer may take. Docker's.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is read of an answer: it is told where something went wrong.
const MAX_ANSWER: usize = 4 << 10;

/// A collector, with a connection that is kept from one request to the next.
pub(super) struct Collector {
    options: Splunk,
    effects: Effects,
    /// What Splunk knows one sender of acknowledged events by.
    channel: String,
    sender: Option<SendRequest<Full<hyper::body::Bytes>>>,
}

impl Collector {
    pub(super) fn new(options: Splunk, effects: Effects) -> Self {
        Self { options, channel: effects.uuid(), effects, sender: None }
    }

    /// Asks whether it is there. Docker: before a container starts.
    pub(super) async fn greet(&mut self) -> Result<(), Trouble> {
        self.exchange(Method::OPTIONS, Vec::new()).await
    }

    /// Posts events.
    pub(super) async fn post(&mut self, body: Vec<u8>) -> Result<(), Trouble> {
        self.exchange(Method::POST, body).await
    }

    async fn exchange(&mut self, method: Method, body: Vec<u8>) -> Result<(), Trouble> {
        let effects = self.effects.clone();
        let outcome = within(&effects, PATIENCE, "request", self.request(method, body)).await;
        if outcome.is_err() {
            self.sender = None;
        }
        outcome
    }

    async fn request(&mut self, method: Method, body: Vec<u8>) -> Result<(), Trouble> {
        let failed = |error: &dyn std::fmt::Display| Trouble(format!("splunk: {error}"));
        let post = method == Method::POST;
        let mut request =
            Request::builder().method(method).uri(&self.options.path).header(header::HOST, &self.options.authority);
        if post {
            let mut token = header::HeaderValue::try_from(format!("Splunk {}", self.options.token.reveal()))
                .map_err(|_| Trouble("splunk: the token is none that a request can have".to_owned()))?;
            token.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, token);
            if self.options.gzip.is_some() {
                request = request.header(header::CONTENT_ENCODING, "gzip");
            }
            if self.options.channel {
                request = request.header("X-Splunk-Request-Channel", &self.channel);
            }
        }
        let request = request.body(Full::from(body)).map_err(|error| failed(&error))?;
        let answer = self.sender().await?.send_request(request).await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|error| failed(&error));
        if status == http::StatusCode::OK {
            // Read to its end, so that the connection can be used again.
            return body.map(drop);
        }
        // Docker's words.
        let what = if post { "failed to send event" } else { "failed to verify connection" };
        let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
        Err(Trouble(format!("splunk: {what} - {status} - {text}")))
    }

    /// Something to send a request with.
    async fn sender(&mut self) -> Result<&mut SendRequest<Full<hyper::body::Bytes>>, Trouble> {
        let usable = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.sender = Some(self.connect().await?);
        }
        Ok(self.sender.as_mut().expect("it was just put there"))
    }

    async fn connect(&self) -> Result<SendRequest<Full<hyper::body::Bytes>>, Trouble> {
        let Splunk { host, port, tls, .. } = &self.options;
        let address = Address::Tcp { host: host.clone(), port: *port, tls: tls.is_some() };
        let none = Tls::default();
        let connection = Connection::open(&address, tls.as_ref().unwrap_or(&none), &self.effects).await?;
        let Connection::Stream(stream) = connection else { return Err(Trouble("splunk: no stream".to_owned())) };
        let made = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, driven) = made.map_err(|error| Trouble(format!("splunk: {error}")))?;
        // Ends with its sender.
        self.effects.spawn("connection to splunk", async move {
            if let Err(error) = driven.await {
                tracing::debug!(%error, "a connection to splunk ended");
            }
        });
        Ok(sender)
    }
}

//! A client of the public wire: encode, sign, send, decode.

use crate::advice::{Advice, in_region};
use anyhow::{Context, Result, anyhow, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy, rt::TokioExecutor};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use wire::{Request, WireError, sigv4};

/// Whom to call and as whom.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    /// The region where a command to be copied must name it.
    pub(crate) region_to_say: Option<String>,
    pub(crate) access_key: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    /// Authorities (PEM) that an `https://` endpoint is checked against instead of the system's.
    pub(crate) ca_bundle: Option<PathBuf>,
    /// Say each call that is made.
    pub(crate) verbose: bool,
}

/// Longest answer that is read: 100 described tasks with 100 containers each are a few MiB.
const MAX_ANSWER: usize = 64 << 20;
/// Longest wait for an answer; the server gives up before that.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server that was there is waited for when it is not: it starts within seconds, also with a million tasks.
const AWAY: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Clusters that are named when one is not there.
const CLUSTERS_NAMED: usize = 10;

/// A client.
#[derive(Clone)]
pub(crate) struct Client {
    target: Target,
    http: legacy::Client<HttpsConnector<legacy::connect::HttpConnector>, Full<bytes::Bytes>>,
    /// Whether the server has answered since this program began.
    met: Arc<AtomicBool>,
}

impl Client {
    pub(crate) fn new(target: Target) -> Result<Self> {
        let uri: http::Uri = target.endpoint.parse().with_context(|| format!("'{}' is not a URL", target.endpoint))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
            bail!("the endpoint must look like http://host:port or https://host:port, not '{}'", target.endpoint);
        }
        let tls = server::trust::client_tls(target.ca_bundle.as_deref())?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { target, http, met: Arc::default() })
    }

    /// The same client for another region.
    pub(crate) fn in_region(&self, region: &str) -> Self {
        Self { target: Target { region: region.to_owned(), ..self.target.clone() }, ..self.clone() }
    }

    /// A command to be copied, with the region if it must name it.
    pub(crate) fn there(&self, command: &str) -> String {
        in_region(command, self.target.region_to_say.as_deref())
    }

    /// What tells this client's account and server from another's, without a secret.
    pub(crate) fn identity(&self) -> String {
        format!("{} {} {}", self.target.endpoint, self.target.region, self.target.access_key)
    }

    /// Where it calls.
    pub(crate) fn endpoint(&self) -> &str {
        &self.target.endpoint
    }

    /// Connects to a websocket's address.
    pub(super) async fn dial(&self, url: &str) -> Result<Box<dyn super::exec::Stream>> {
        super::exec::dial(url, server::trust::client_tls(self.target.ca_bundle.as_deref())?).await
    }

    /// Calls one operation. The error of a refusal is a [`WireError`] and can be downcast.
    pub(crate) async fn call<R: Request>(&self, input: &R) -> Result<R::Response> {
        match self.exchange(input).await {
            Err(error) if code(&error) == Some("ClusterNotFoundException") => {
                let input = wire::to_value(input);
                Err(self.advise_on_cluster(error, input.get("cluster").and_then(serde_json::Value::as_str)).await)
            }
            other => other,
        }
    }

    /// The error that a cluster is not there, with those that are.
    pub(crate) async fn advise_on_cluster(&self, error: anyhow::Error, wanted: Option<&str>) -> anyhow::Error {
        let (region, wanted) = (&self.target.region, wanted.unwrap_or("default"));
        let Ok(answer) = self.exchange(&shapes::ecs::ListClustersRequest::default()).await else { return error };
        let arns = answer.cluster_arns.unwrap_or_default();
        let mut names: Vec<_> = arns.iter().filter_map(|arn| arn.rsplit('/').next()).collect();
        let more = if names.len() > CLUSTERS_NAMED || answer.next_token.is_some() { " and more" } else { "" };
        names.truncate(CLUSTERS_NAMED);
        let there = match names.as_slice() {
            [] => format!("There are none in region {region}; is that the right one (--region)?"),
            names => format!("In region {region} there are: {}{more}.", names.join(", ")),
        };
        let name = wanted.rsplit('/').next().unwrap_or(wanted);
        let make = self.there(&format!("longshore up --cluster {name}"));
        error.context(Advice::new(format!("{there} To make it: {make}")))
    }

    /// Calls, and again while a server that was there is being started anew.
    #[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
    async fn exchange<R: Request>(&self, input: &R) -> Result<R::Response> {
        let mut missed: Option<Instant> = None;
        loop {
            let answer = self.attempt(input).await;
            let Err(error) = &answer else { return answer };
            if !self.met.load(Ordering::Relaxed) || !may_be_repeated(error, R::OPERATION) {
                return answer;
            }
            match missed {
                None => super::say::note("longshore: the server is away; waiting for it"),
                Some(since) if since.elapsed() >= AWAY => return answer,
                Some(_) => {}
            }
            missed.get_or_insert_with(Instant::now);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn attempt<R: Request>(&self, input: &R) -> Result<R::Response> {
        let service = R::service();
        let operation = service.operation(R::OPERATION).context("the operation is in its own service's table")?;
        if self.target.verbose {
            super::say::debug("Calling", &[("operation", R::OPERATION), ("service", service.signing_name)]);
        }
        let input = wire::to_value(input);
        let call = wire::client::encode_request(service, operation, &input);
        let mut request = http::Request::post(format!("{}/", self.target.endpoint.trim_end_matches('/')))
            .header(http::header::CONTENT_TYPE, call.content_type);
        if let Some(target) = &call.target {
            request = request.header("x-amz-target", target);
        }
        let mut request = request.body(Full::new(call.body.clone()))?;
        self.sign(service.signing_name, &mut request, &call.body)?;
        let sent = tokio::time::timeout(PATIENCE, self.http.request(request)).await;
        let answer = sent.map_err(|_| self.unreachable(anyhow!("no answer within {} seconds", PATIENCE.as_secs())))?;
        let answer = answer.map_err(|error| self.unreachable(error.into()))?;
        self.met.store(true, Ordering::Relaxed);
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|e| anyhow!(e).context("the answer could not be read"))?.to_bytes();
        let output = wire::client::decode_response(service, operation, status, &body)?;
        Ok(wire::from_value(output)?)
    }

    fn unreachable(&self, error: anyhow::Error) -> anyhow::Error {
        let endpoint = &self.target.endpoint;
        let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
        let advice = match io {
            Some(std::io::ErrorKind::ConnectionRefused) => {
                "No server is there. `longshore dev` starts one; if it runs elsewhere, say where: --endpoint URL or LONGSHORE_ENDPOINT"
            }
            _ if error.chain().any(|cause| cause.is::<rustls::Error>()) => {
                "Name the authority that certified the endpoint: AWS_CA_BUNDLE=FILE; or is it http:// ?"
            }
            _ => {
                "Is that the right endpoint (--endpoint URL or LONGSHORE_ENDPOINT), and http:// or https:// as the server has it?"
            }
        };
        error.context(format!("cannot reach {endpoint}")).context(Advice::new(advice))
    }

    /// SHA-256 of the certificate of the CA that agents must expect, in hexadecimal. Public, so it is not signed for.
    pub(crate) async fn ca_fingerprint(&self) -> Result<String> {
        use sha2::{Digest, Sha256};
        let url = format!("{}/.longshore/ca.pem", self.target.endpoint.trim_end_matches('/'));
        let request = http::Request::get(url).body(Full::default())?;
        let answer = self.http.request(request).await.map_err(|e| anyhow!("the CA's certificate: {e}"))?;
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|e| anyhow!("the CA's certificate: {e}"))?.to_bytes();
        let der = CertificateDer::from_pem_slice(&body).map_err(|e| anyhow!("the CA's certificate: {e}"))?;
        Ok(hex::encode(Sha256::digest(&der)))
    }

    fn sign(&self, service: &str, request: &mut http::Request<Full<bytes::Bytes>>, body: &[u8]) -> Result<()> {
        let now = wire::Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
        let credentials = sigv4::Credentials {
            access_key: self.target.access_key.clone(),
            secret_key: self.target.secret.clone(),
            session_token: self.target.token.clone(),
        };
        let (mut parts, kept) = std::mem::replace(request, http::Request::new(Full::default())).into_parts();
        sigv4::sign(&mut parts, body, &credentials, (&self.target.region, service), now)?;
        *request = http::Request::from_parts(parts, kept);
        Ok(())
    }
}

/// Whether a call that went wrong so can be made again: nothing was sent, or it was only a question and the server went before it answered.
fn may_be_repeated(error: &anyhow::Error, operation: &str) -> bool {
    use std::io::ErrorKind as E;
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    let broke_off = matches!(kind, Some(E::ConnectionReset | E::BrokenPipe | E::UnexpectedEof))
        || error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
            .any(hyper::Error::is_incomplete_message);
    let asks = ["Describe", "List", "Get", "Filter"].iter().any(|verb| operation.starts_with(verb));
    kind == Some(E::ConnectionRefused) || (broke_off && asks)
}

/// The code of a refusal, if that is what went wrong.
pub(crate) fn code(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<WireError>().map(|e| e.code.as_ref())
}

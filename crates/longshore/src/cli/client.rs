//! A client of the public wire: encode, sign, send, decode.

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{client::legacy, rt::TokioExecutor};
use std::time::Duration;
use wire::{Request, WireError, sigv4};

/// Whom to call and as whom.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
}

/// Longest answer that is read: 100 described tasks with 100 containers each are a few MiB.
const MAX_ANSWER: usize = 64 << 20;
/// Longest wait for an answer; the server gives up before that.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client.
#[derive(Clone)]
pub(crate) struct Client {
    target: Target,
    http: legacy::Client<legacy::connect::HttpConnector, Full<bytes::Bytes>>,
}

impl Client {
    pub(crate) fn new(target: Target) -> Result<Self> {
        let uri: http::Uri = target.endpoint.parse().with_context(|| format!("'{}' is not a URL", target.endpoint))?;
        if uri.scheme_str() != Some("http") || uri.authority().is_none() {
            bail!("the endpoint must look like http://host:port, not '{}'", target.endpoint);
        }
        let http = legacy::Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { target, http })
    }

    /// Calls one operation. The error of a refusal is a [`WireError`] and can be downcast.
    pub(crate) async fn call<R: Request>(&self, input: &R) -> Result<R::Response> {
        let service = R::service();
        let operation = service.operation(R::OPERATION).context("the operation is in its own service's table")?;
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
        let answer =
            sent.map_err(|_| anyhow!("{} did not answer in time", self.target.endpoint))?.map_err(|error| {
                anyhow!(
                    "cannot reach {}: {error}; is the server running? (`longshore dev` starts one)",
                    self.target.endpoint
                )
            })?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|e| anyhow!("the answer could not be read: {e}"))?.to_bytes();
        let output = wire::client::decode_response(service, operation, status, &body)?;
        Ok(wire::from_value(output)?)
    }

    /// SHA-256 of the certificate of the CA that agents must expect, in hexadecimal. Public, so it is not signed for.
    pub(crate) async fn ca_fingerprint(&self) -> Result<String> {
        use rustls_pki_types::{CertificateDer, pem::PemObject};
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

/// The code of a refusal, if that is what went wrong.
pub(crate) fn code(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<WireError>().map(|e| e.code.as_ref())
}

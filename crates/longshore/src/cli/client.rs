//! A client of the public wire: encode, sign, send, decode.

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy, rt::TokioExecutor};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use wire::{Request, WireError, sigv4};

/// Whom to call and as whom.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) endpoint: String,
    pub(crate) region: String,
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

/// A client.
#[derive(Clone)]
pub(crate) struct Client {
    target: Target,
    http: legacy::Client<HttpsConnector<legacy::connect::HttpConnector>, Full<bytes::Bytes>>,
}

/// Where Debian and its like keep the authorities they trust; used when `AWS_CA_BUNDLE` names no others.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whom an `https://` endpoint must be certified by. Nobody, where there is no bundle: then none is reached.
fn trust(bundle: Option<&Path>) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let path = bundle.unwrap_or(Path::new(SYSTEM_AUTHORITIES));
    if bundle.is_some() || path.exists() {
        let broken = || format!("{} is not a bundle of certificates in PEM form", path.display());
        for certificate in CertificateDer::pem_file_iter(path).with_context(broken)? {
            let (_, _) = roots.add_parsable_certificates([certificate.with_context(broken)?]);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl Client {
    pub(crate) fn new(target: Target) -> Result<Self> {
        let uri: http::Uri = target.endpoint.parse().with_context(|| format!("'{}' is not a URL", target.endpoint))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
            bail!("the endpoint must look like http://host:port or https://host:port, not '{}'", target.endpoint);
        }
        let tls = trust(target.ca_bundle.as_deref())?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { target, http })
    }

    /// The same client for another region.
    pub(crate) fn in_region(&self, region: &str) -> Self {
        Self { target: Target { region: region.to_owned(), ..self.target.clone() }, http: self.http.clone() }
    }

    /// What tells this client's account and server from another's, without a secret.
    pub(crate) fn identity(&self) -> String {
        format!("{} {} {}", self.target.endpoint, self.target.region, self.target.access_key)
    }

    /// Calls one operation. The error of a refusal is a [`WireError`] and can be downcast.
    pub(crate) async fn call<R: Request>(&self, input: &R) -> Result<R::Response> {
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
        let answer =
            sent.map_err(|_| anyhow!("{} did not answer in time", self.target.endpoint))?.map_err(|error| {
                anyhow::Error::new(error).context(format!(
                    "cannot reach {}; is the server running? (`longshore dev` starts one)",
                    self.target.endpoint
                ))
            })?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|e| anyhow!("the answer could not be read: {e}"))?.to_bytes();
        let output = wire::client::decode_response(service, operation, status, &body)?;
        Ok(wire::from_value(output)?)
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

/// The code of a refusal, if that is what went wrong.
pub(crate) fn code(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<WireError>().map(|e| e.code.as_ref())
}

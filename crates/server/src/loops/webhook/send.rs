//! One request to the receiver: a JSON array of events, signed.

use crate::{config::WebhookConfig, outgoing::Outgoing, trust::TrustError};
use effects::Effects;
use hmac::{Hmac, KeyInit, Mac};
use http::{StatusCode, Uri};
use sha2::Sha256;
use std::{io, path::PathBuf, time::Duration};

/// The header with the signature: `t=SECONDS,v1=HEX`, the HMAC-SHA256 of `SECONDS.BODY` under the secret.
pub const SIGNATURE_HEADER: &str = "x-longshore-signature";
/// Longest a receiver may take over one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why events cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL is none. It is not repeated: it may hold a secret.
    #[error("the webhook's URL must look like https://host/path or http://host/path")]
    Url,
    /// The secret cannot be read.
    #[error("cannot read the webhook's secret from {}", .0.display())]
    Secret(PathBuf, #[source] io::Error),
    /// There is no secret in the file.
    #[error("the file of the webhook's secret, {}, is empty", .0.display())]
    NoSecret(PathBuf),
    /// The authorities cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It cannot be known what was sent.
    #[error("cannot read how far the webhook has come")]
    Place(#[source] io::Error),
    /// A newer server kept that.
    #[error("webhook.json has format version {0}; run a newer longshore")]
    Newer(u32),
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The receiver answered that it was too large.
    #[error("it answers that one event is too large")]
    TooLarge,
    /// The receiver answered so.
    #[error("it answers {0}")]
    Answer(StatusCode),
    /// The receiver did not answer.
    #[error("{0}")]
    Unreachable(String),
}

/// The receiver.
pub(crate) struct Endpoint {
    uri: Uri,
    secret: Option<Vec<u8>>,
    http: Outgoing,
}

impl Endpoint {
    pub(super) fn open(config: &WebhookConfig, effects: &Effects) -> Result<Self, WebhookError> {
        let uri: Uri = config.url.parse().map_err(|_| WebhookError::Url)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
            return Err(WebhookError::Url);
        }
        let secret = config.secret_file.as_ref().map(|file| {
            let text = std::fs::read_to_string(file).map_err(|error| WebhookError::Secret(file.clone(), error))?;
            // Editors end a file with a newline that nobody means.
            let secret = text.trim_end_matches(['\r', '\n']);
            if secret.is_empty() { Err(WebhookError::NoSecret(file.clone())) } else { Ok(secret.as_bytes().to_vec()) }
        });
        let http = Outgoing::open(config.ca_bundle.as_deref(), effects)?;
        Ok(Self { uri, secret: secret.transpose()?, http })
    }

    /// The receiver's name for logs: without path and query, which may be secret.
    pub(super) fn name(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// Posts events, each a JSON document.
    pub(super) async fn post<'a>(
        &self,
        effects: &Effects,
        events: impl Iterator<Item = &'a str>,
    ) -> Result<(), Refused> {
        let body = format!("[{}]", events.collect::<Vec<_>>().join(","));
        let seconds = effects.now().0 / 1000;
        let signed = |secret: &Vec<u8>| (SIGNATURE_HEADER, signature(secret, seconds, body.as_bytes()));
        let signature = self.secret.as_ref().map(signed);
        let answer = self.http.post(&self.uri, signature, body, PATIENCE).await.map_err(Refused::Unreachable)?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::PAYLOAD_TOO_LARGE => Err(Refused::TooLarge),
            status => Err(Refused::Answer(status)),
        }
    }
}

fn signature(secret: &[u8], seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_openssl_makes() {
        // printf '1764132658.[{"a":1}]' | openssl dgst -sha256 -hmac 'not so secret'
        let want = "b84e99ffdd20123c9c24fc1a57140dfcfc7571d41e9c3845599b4832d0a9f478";
        let signed = signature(b"not so secret", 1_764_132_658, br#"[{"a":1}]"#);
        assert_eq!(signed, format!("t=1764132658,v1={want}"));
    }

    #[tokio::test]
    async fn what_is_no_receiver_is_refused_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let open = |url: &str, secret_file: Option<PathBuf>, ca_bundle: Option<PathBuf>| {
            let config = WebhookConfig { url: url.to_owned(), secret_file, ca_bundle };
            Endpoint::open(&config, &Effects::real())
        };
        for (url, secret, bundle, want) in [
            ("ftp://host/", None, None, Some("must look like")),
            ("/path?token=s3cret", None, None, Some("must look like")),
            ("not a url", None, None, Some("must look like")),
            ("http://host/", Some(dir.path().join("none")), None, Some("cannot read")),
            ("http://host/", file("empty", "\n"), None, Some("is empty")),
            ("https://host/", None, file("bundle", "-----BEGIN CERTIFICATE-----\n"), Some("PEM")),
            ("https://host/", file("secret", "s\n"), None, None),
        ] {
            let got = open(url, secret, bundle).err().map(|error| error.to_string());
            match (&got, want) {
                (Some(got), Some(want)) => assert!(got.contains(want) && !got.contains("s3cret"), "{url}: {got}"),
                (got, want) => assert_eq!(got.is_none(), want.is_none(), "{url}: {got:?}"),
            }
        }
        assert_eq!(open("http://host/", file("secret", "s\r\n"), None).unwrap().secret.unwrap(), b"s");
    }
}

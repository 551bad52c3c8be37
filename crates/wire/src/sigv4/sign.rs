//! Signing, for our own client and for tests.

use std::fmt;

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::canonical::string_to_sign;
use super::key::sha256_hex;
use super::verify::write_time;
use super::{ALGORITHM, Scope, SigningKey};
use crate::scalar::Timestamp;

/// A key pair, with the session token of a temporary one.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: String,
    /// For temporary credentials.
    pub session_token: Option<String>,
}

/// Says whose, never the secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Signs a request in its `Authorization` header. Adds `Host` from the URI if it is not there, `X-Amz-Date`, and the session
/// token; signs these, `Content-Type` and every `X-Amz-` header.
///
/// # Errors
/// A session token or access key that cannot stand in a header.
pub fn sign(
    parts: &mut Parts,
    body: &[u8],
    credentials: &Credentials,
    (region, service): (&str, &str),
    now: Timestamp,
) -> Result<(), http::Error> {
    let time = write_time(now);
    set_host(parts)?;
    parts.headers.insert(HeaderName::from_static("x-amz-date"), HeaderValue::try_from(&time)?);
    if let Some(token) = &credentials.session_token {
        parts.headers.insert(HeaderName::from_static("x-amz-security-token"), HeaderValue::try_from(token)?);
    }
    let mut signed: Vec<String> = parts
        .headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .filter(|name| matches!(name.as_str(), "host" | "content-type") || name.starts_with("x-amz-"))
        .collect();
    signed.sort();
    let scope = scope(credentials, &time, region, service);
    let text = string_to_sign(parts, &scope, &time, &signed, &sha256_hex(body));
    let signature = hex::encode(SigningKey::derive(&credentials.secret_key, &scope).sign(text.as_bytes()));
    let header = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
        scope.access_key,
        signed.join(";")
    );
    parts.headers.insert(AUTHORIZATION, HeaderValue::try_from(header)?);
    Ok(())
}

/// Signs a request in its query string, so that the bare URL carries the right to send it for `expires` seconds. Only the host
/// is signed of the headers, and the payload as empty.
///
/// # Errors
/// A URI that has no room for a query.
pub fn presign(
    parts: &mut Parts,
    credentials: &Credentials,
    (region, service): (&str, &str),
    now: Timestamp,
    expires: u32,
) -> Result<(), http::Error> {
    let time = write_time(now);
    let scope = scope(credentials, &time, region, service);
    set_host(parts)?;
    let mut query = form_urlencoded::Serializer::new(parts.uri.query().unwrap_or_default().to_owned());
    query
        .append_pair("X-Amz-Algorithm", ALGORITHM)
        .append_pair("X-Amz-Credential", &format!("{}/{scope}", scope.access_key))
        .append_pair("X-Amz-Date", &time)
        .append_pair("X-Amz-Expires", &expires.to_string())
        .append_pair("X-Amz-SignedHeaders", "host");
    if let Some(token) = &credentials.session_token {
        query.append_pair("X-Amz-Security-Token", token);
    }
    set_query(parts, &query.finish())?;
    let text = string_to_sign(parts, &scope, &time, &["host".to_owned()], &sha256_hex(b""));
    let signature = hex::encode(SigningKey::derive(&credentials.secret_key, &scope).sign(text.as_bytes()));
    let query = format!("{}&X-Amz-Signature={signature}", parts.uri.query().unwrap_or_default());
    set_query(parts, &query)
}

fn scope(credentials: &Credentials, time: &str, region: &str, service: &str) -> Scope {
    Scope {
        access_key: credentials.access_key.clone(),
        date: time.chars().take(8).collect(),
        region: region.to_owned(),
        service: service.to_owned(),
    }
}

fn set_host(parts: &mut Parts) -> Result<(), http::Error> {
    if let Some(authority) = parts.uri.authority().filter(|_| !parts.headers.contains_key(HOST)) {
        parts.headers.insert(HOST, HeaderValue::try_from(authority.as_str())?);
    }
    Ok(())
}

fn set_query(parts: &mut Parts, query: &str) -> Result<(), http::Error> {
    let mut uri = parts.uri.clone().into_parts();
    uri.path_and_query = Some(format!("{}?{query}", parts.uri.path()).parse()?);
    parts.uri = http::Uri::from_parts(uri)?;
    Ok(())
}

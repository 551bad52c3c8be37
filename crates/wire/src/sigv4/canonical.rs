//! The canonical request: the one text that client and server must agree on before they sign it.

use http::header::HOST;
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::key::sha256_hex;
use super::{ALGORITHM, Scope};

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is signed: algorithm, time, scope and the hash of the canonical request.
pub(super) fn string_to_sign(
    parts: &Parts,
    scope: &Scope,
    time: &str,
    signed_headers: &[String],
    payload_hash: &str,
) -> String {
    let hash = sha256_hex(&canonical_request(parts, &scope.service, signed_headers, payload_hash));
    format!("{ALGORITHM}\n{time}\n{scope}\n{hash}")
}

fn canonical_request(parts: &Parts, service: &str, signed_headers: &[String], payload_hash: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut line = |text: &[u8]| {
        out.extend_from_slice(text);
        out.push(b'\n');
    };
    line(parts.method.as_str().as_bytes());
    line(path(parts.uri.path(), service).as_bytes());
    line(query(parts.uri.query().unwrap_or_default()).as_bytes());
    for name in signed_headers {
        let mut header = name.clone().into_bytes();
        header.push(b':');
        header.extend(header_value(parts, name));
        line(&header);
    }
    line(b"");
    line(signed_headers.join(";").as_bytes());
    out.extend_from_slice(payload_hash.as_bytes());
    out
}

/// AWS: every service but S3 normalises the path and encodes it a second time.
fn path(path: &str, service: &str) -> String {
    if service == "s3" {
        return path.to_owned();
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let encoded: Vec<String> =
        segments.iter().map(|segment| percent_encode(segment.as_bytes(), RESERVED).to_string()).collect();
    let slash = if path.ends_with('/') && !encoded.is_empty() { "/" } else { "" };
    format!("/{}{slash}", encoded.join("/"))
}

/// Decoded, encoded anew in the one way, sorted; without the signature itself.
fn query(query: &str) -> String {
    let encode = |text: &str| percent_encode(text.as_bytes(), RESERVED).to_string();
    let mut pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| (encode(&name), encode(&value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// All values of a header, in the order they came, folded into one with runs of blanks as one.
fn header_value(parts: &Parts, name: &str) -> Vec<u8> {
    let mut values: Vec<&[u8]> = parts.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    // HTTP/2 has no host header; what it has instead stands in the URI.
    if values.is_empty() && name == HOST.as_str() {
        values.extend(parts.uri.authority().map(|authority| authority.as_str().as_bytes()));
    }
    let folded = values.iter().map(|value| {
        let words = value.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(&b' ')
    });
    folded.collect::<Vec<_>>().join(&b',')
}

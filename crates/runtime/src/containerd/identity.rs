//! Identity tokens (`docker login` against registries with single sign-on): an OAuth2 refresh token, exchanged for an
//! access token at the realm the registry names. oci-client only knows passwords and finished access tokens.

use std::time::Duration;

use oci_client::Reference;

use super::registry::{asked_of, chain};
use crate::error::PullError;

/// The access token for pulling `reference`.
pub(super) async fn exchange(
    reference: &Reference,
    refresh_token: &str,
    plain: bool,
    inactivity: Duration,
) -> Result<String, PullError> {
    let registry = asked_of(reference).to_owned();
    let unreachable = |e: reqwest::Error| PullError::Unreachable { registry: registry.clone(), message: chain(&e) };
    let client = reqwest::Client::builder().timeout(inactivity).build().map_err(unreachable)?;
    let scheme = if plain { "http" } else { "https" };
    let probe = client.get(format!("{scheme}://{}/v2/", reference.resolve_registry()));
    let answer = probe.send().await.map_err(unreachable)?;
    let refused = |message: &str| PullError::Unauthorized { reference: reference.whole(), message: message.into() };
    let header = answer.headers().get("www-authenticate").and_then(|v| v.to_str().ok()).unwrap_or("");
    let Some((realm, service)) = challenge(header) else {
        return Err(refused("the registry does not take identity tokens"));
    };
    if !plain && !realm.starts_with("https://") {
        return Err(PullError::Refused(format!("{registry} wants the identity token sent in the clear to {realm}")));
    }
    let scope = format!("repository:{}:pull", reference.repository());
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "refresh_token")
        .append_pair("service", &service)
        .append_pair("client_id", "longshore")
        .append_pair("scope", &scope)
        .append_pair("refresh_token", refresh_token)
        .finish();
    let request = client.post(&realm).header("content-type", "application/x-www-form-urlencoded").body(body);
    let answer = request.send().await.map_err(unreachable)?;
    if !answer.status().is_success() {
        return Err(refused(&format!("identity token refused with status {}", answer.status().as_u16())));
    }
    let text = answer.text().await.map_err(unreachable)?;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let token = ["access_token", "token"].iter().find_map(|key| json[key].as_str());
    token.map(String::from).ok_or_else(|| refused("the token service gave no access token"))
}

/// (realm, service) of a `Bearer` challenge.
fn challenge(header: &str) -> Option<(String, String)> {
    let parameters = header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("bearer "))?;
    let value = |name: &str| {
        let start = parameters.find(&format!("{name}=\""))? + name.len() + 2;
        let rest = &parameters[start..];
        Some(rest[..rest.find('"')?].to_owned())
    };
    Some((value("realm")?, value("service").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::challenge;

    #[test]
    fn challenges_are_read() {
        let header = r#"Bearer realm="https://a.example/token",service="r.example",scope="x""#;
        assert_eq!(challenge(header), Some(("https://a.example/token".into(), "r.example".into())));
        assert_eq!(
            challenge(r#"Bearer realm="https://a.example/""#),
            Some(("https://a.example/".into(), String::new()))
        );
        for none in ["", "Basic realm=\"x\"", "Bearer service=\"x\""] {
            assert_eq!(challenge(none), None);
        }
    }
}

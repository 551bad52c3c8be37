//! The instance's profile and the credentials of the role in it.

use super::tree::ProfileFacts;
use crate::roles::{Roles, Whose, expiration, whole_seconds};
use link::RoleCredentials;
use serde::Serialize;

/// Source: the EC2 user guide, "Retrieve security credentials from instance metadata".
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials<'a> {
    code: &'static str,
    last_updated: String,
    r#type: &'static str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info<'a> {
    code: &'static str,
    last_updated: String,
    instance_profile_arn: &'a str,
    instance_profile_id: &'a str,
}

/// What is said at a path below `meta-data/iam`. AWS: of a profile whose role cannot be assumed, or that has none, there are no
/// credentials.
pub(super) async fn find(profile: &ProfileFacts, roles: &Roles, rest: &str) -> Option<String> {
    let path = rest.trim_matches('/');
    if path.is_empty() {
        return Some("info\nsecurity-credentials/".to_owned());
    }
    let credentials = match roles.of(&Whose::Instance).await {
        Ok(credentials) => credentials,
        Err(why) => {
            tracing::warn!(why = why.0, "the instance has no credentials for the role of its profile");
            return None;
        }
    };
    let name = credentials.role.rsplit('/').next().unwrap_or_default();
    match path.split_once('/') {
        None if path == "info" => Some(info(profile, &credentials)),
        None if path == "security-credentials" => Some(name.to_owned()),
        Some(("security-credentials", asked)) if asked == name => Some(document(&credentials)),
        Some(_) | None => None,
    }
}

fn info(profile: &ProfileFacts, credentials: &RoleCredentials) -> String {
    json(&Info {
        code: "Success",
        last_updated: whole_seconds(credentials.issued),
        instance_profile_arn: &profile.arn,
        instance_profile_id: &profile.id,
    })
}

fn document(credentials: &RoleCredentials) -> String {
    json(&Credentials {
        code: "Success",
        last_updated: whole_seconds(credentials.issued),
        r#type: "AWS-HMAC",
        access_key_id: &credentials.access_key,
        secret_access_key: credentials.secret.reveal(),
        token: credentials.token.reveal(),
        expiration: expiration(credentials),
    })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("these types are JSON")
}

//! The credentials of a task's role. Who asks is known by the id alone, as with the original: it is in the environment of the
//! task's containers, follows from this agent's secret, and is written to no log.

use crate::{
    engine::View,
    http::{Answer, json},
    roles::{self, Roles, Unavailable, Whose},
};
use hyper::StatusCode;
use link::RoleCredentials;
use serde::Serialize;

/// What clients read. Source: `ecs-agent/credentials/manager.go`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Told<'a> {
    role_arn: &'a str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
}

#[derive(Serialize)]
struct Refusal {
    code: &'static str,
    message: String,
    #[serde(rename = "HTTPErrorCode")]
    status: u16,
}

/// Those of a task that has a role.
pub(super) async fn tell(roles: &Roles, version: u8, view: &View) -> Answer {
    let task = &view.plan.assignment.task;
    match roles.of(&Whose::Task(task.clone())).await {
        Ok(credentials) => json(StatusCode::OK, &told(&credentials)),
        Err(Unavailable(why)) => {
            tracing::warn!(%task, why, "a task has no credentials for its role");
            let why = "Credentials uninitialized for ID";
            refuse(version, StatusCode::SERVICE_UNAVAILABLE, "CredentialsUninitialized", why)
        }
    }
}

/// Nobody has that id.
pub(super) fn none(version: u8, id: Option<&str>) -> Answer {
    let (code, why) = match id.filter(|id| !id.is_empty()) {
        Some(_) => ("InvalidIdInRequest", "Credentials not found"),
        None => ("NoIdInRequest", "No Credential ID in the request"),
    };
    refuse(version, StatusCode::BAD_REQUEST, code, why)
}

/// The words of `tmds/handlers/v1/credentials_handler.go`.
fn refuse(version: u8, status: StatusCode, code: &'static str, why: &str) -> Answer {
    let message = format!("CredentialsV{version}Request: {why}");
    json(status, &Refusal { code, message, status: status.as_u16() })
}

fn told(credentials: &RoleCredentials) -> Told<'_> {
    Told {
        role_arn: &credentials.role,
        access_key_id: &credentials.access_key,
        secret_access_key: credentials.secret.reveal(),
        token: credentials.token.reveal(),
        expiration: roles::expiration(credentials),
    }
}

//! `$ECS_AGENT_URI/task-protection/v1/state`: a task protects itself from deployments and from scaling in.
//!
//! AWS: the original asks ECS with the credentials of the task's role, and refuses tasks that have none. Ours asks over the
//! session, and the server lets an instance speak for its own tasks only.

use crate::{
    http::{Answer, json},
    introspection::rfc3339,
    session::Questions,
};
use hyper::{Method, StatusCode};
use link::Question;
use model::{TaskArn, Timestamp};
use serde::Serialize;
use serde_json::Value;

/// The words of the original (`tmds/handlers/taskprotection/v1/handlers`).
const UNREADABLE: &str = "UpdateTaskProtection: failed to decode request";
const INCOMPLETE: &str = "Invalid request: does not contain 'ProtectionEnabled' field";
const NO_TASK: &str = "Failed to find a task for the request";
const TOO_LATE: &str = "Timed out calling ECS Task Protection API";

#[derive(Serialize)]
struct Protection {
    protection: Protected,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Protected {
    expiration_date: Option<String>,
    protection_enabled: bool,
    task_arn: String,
}

#[derive(Serialize)]
struct Failed {
    failure: Failure,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    arn: String,
    detail: Option<String>,
    reason: String,
}

#[derive(Serialize)]
struct Refused {
    error: Error,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Error {
    #[serde(skip_serializing_if = "str::is_empty")]
    arn: String,
    code: String,
    message: String,
}

/// What a task asks for, read.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    enabled: Option<bool>,
    minutes: Option<i64>,
}

/// Reads a body as Go does: names in any case, none that is not known, nothing behind the first value.
fn read(body: &[u8]) -> Option<Wanted> {
    let value = serde_json::Deserializer::from_slice(body).into_iter::<Value>().next()?.ok()?;
    let mut wanted = Wanted { enabled: None, minutes: None };
    for (name, value) in value.as_object()? {
        let null = value.is_null();
        match name.to_ascii_lowercase().as_str() {
            "protectionenabled" if null => wanted.enabled = None,
            "protectionenabled" => wanted.enabled = Some(value.as_bool()?),
            "expiresinminutes" if null => wanted.minutes = None,
            "expiresinminutes" => wanted.minutes = Some(value.as_i64()?),
            _ => return None,
        }
    }
    Some(wanted)
}

pub(super) async fn answer(method: &Method, body: &[u8], task: Option<&TaskArn>, questions: &Questions) -> Answer {
    let wanted = match *method {
        Method::GET => None,
        Method::PUT => match read(body) {
            Some(wanted) => Some(wanted),
            None => return refuse(StatusCode::BAD_REQUEST, None, "InvalidParameterException", UNREADABLE),
        },
        _ => return crate::http::text(StatusCode::METHOD_NOT_ALLOWED, ""),
    };
    let Some(task) = task else {
        return refuse(StatusCode::NOT_FOUND, None, "ResourceNotFoundException", NO_TASK);
    };
    let question = match wanted {
        None => Question::Protection { task: task.clone() },
        Some(Wanted { enabled: Some(enabled), minutes }) => Question::Protect { task: task.clone(), enabled, minutes },
        Some(Wanted { enabled: None, .. }) => {
            return refuse(StatusCode::BAD_REQUEST, Some(task), "InvalidParameterException", INCOMPLETE);
        }
    };
    match questions.ask(question).await {
        Some(link::Answer::Protection { until }) => json(StatusCode::OK, &protection(task, until)),
        Some(link::Answer::Failure { reason, detail }) => {
            json(StatusCode::OK, &Failed { failure: Failure { arn: task.to_string(), detail, reason } })
        }
        Some(link::Answer::Refused { status, code, message }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            refuse(status, Some(task), &code, &message)
        }
        Some(
            link::Answer::Tags { .. }
            | link::Answer::Provision(_)
            | link::Answer::Credentials(_)
            | link::Answer::Unprovided { .. },
        ) => refuse(StatusCode::INTERNAL_SERVER_ERROR, Some(task), "ServerException", "Unexpected error occurred"),
        None => refuse(StatusCode::GATEWAY_TIMEOUT, Some(task), "RequestCanceled", TOO_LATE),
    }
}

fn protection(task: &TaskArn, until: Option<Timestamp>) -> Protection {
    let protected = Protected {
        expiration_date: until.map(rfc3339),
        protection_enabled: until.is_some(),
        task_arn: task.to_string(),
    };
    Protection { protection: protected }
}

fn refuse(status: StatusCode, task: Option<&TaskArn>, code: &str, message: &str) -> Answer {
    let arn = task.map(ToString::to_string).unwrap_or_default();
    json(status, &Refused { error: Error { arn, code: code.to_owned(), message: message.to_owned() } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_go_reads_them() {
        let wanted = |enabled, minutes| Some(Wanted { enabled, minutes });
        let rows = [
            (r#"{"ProtectionEnabled":true}"#, wanted(Some(true), None)),
            (r#"{"protectionEnabled":false,"EXPIRESINMINUTES":60}"#, wanted(Some(false), Some(60))),
            (r#"{"ProtectionEnabled":null,"ExpiresInMinutes":-1}"#, wanted(None, Some(-1))),
            (r#"{}"#, wanted(None, None)),
            (r#"{"ProtectionEnabled":true} and more"#, wanted(Some(true), None)),
            (r#"{"ProtectionEnabled":"true"}"#, None),
            (r#"{"ProtectionEnabled":true,"ExpiresInMinutes":1.5}"#, None),
            (r#"{"ProtectionEnabled":true,"Tasks":[]}"#, None),
            ("[]", None),
            ("", None),
            ("nonsense", None),
        ];
        for (body, want) in rows {
            assert_eq!(read(body.as_bytes()), want, "{body}");
        }
    }
}

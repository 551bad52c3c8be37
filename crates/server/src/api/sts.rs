//! STS, as far as clients ask who they are before they do anything else.

use super::honoured::{Row, row};
use super::{ApiError, answer, no_arm};
use crate::context::Caller;
use serde_json::Value;
use shapes::sts::GetCallerIdentityResponse;

pub(crate) const HONOURED: &[Row] = &[row("GetCallerIdentity", &[])];

pub(crate) fn dispatch(caller: &Caller, operation: &str, _input: Value) -> Result<Value, ApiError> {
    match operation {
        "GetCallerIdentity" => answer(Ok(get_caller_identity(caller))),
        other => Err(no_arm(other)),
    }
}

fn get_caller_identity(caller: &Caller) -> GetCallerIdentityResponse {
    GetCallerIdentityResponse {
        account: Some(caller.account().to_string()),
        arn: Some(caller.principal.clone()),
        user_id: Some(caller.identity.id(caller.account())),
    }
}

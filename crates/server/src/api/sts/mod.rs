//! STS: who somebody is, and credentials that hold for a while. Deliberately absent: identities that others vouch for
//! (AssumeRoleWithWebIdentity and -WithSAML, GetFederationToken) and second factors.

mod assume_role;
mod session_token;

use super::honoured::{Row, row};
use super::{ApiError, answer, no_arm, read};
use crate::{
    context::{Caller, Context},
    tokens::{self, Issued},
};
use serde_json::Value;
use shapes::sts as aws;

pub(crate) const HONOURED: &[Row] = &[
    row(
        "AssumeRole",
        &["DurationSeconds", "ExternalId", "Policy", "PolicyArns.*", "RoleArn", "RoleSessionName", "SourceIdentity"],
    ),
    row("GetAccessKeyInfo", &["AccessKeyId"]),
    row("GetCallerIdentity", &[]),
    row("GetSessionToken", &["DurationSeconds"]),
];

pub(crate) fn dispatch(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "AssumeRole" => answer(assume_role::assume_role(ctx, caller, read(input)?)),
        "GetAccessKeyInfo" => answer(get_access_key_info(ctx, read(input)?)),
        "GetCallerIdentity" => answer(Ok(get_caller_identity(caller))),
        "GetSessionToken" => answer(session_token::get_session_token(ctx, caller, &read(input)?)),
        other => Err(no_arm(other)),
    }
}

fn get_caller_identity(caller: &Caller) -> aws::GetCallerIdentityResponse {
    aws::GetCallerIdentityResponse {
        account: Some(caller.account().to_string()),
        arn: Some(caller.principal.clone()),
        user_id: Some(caller.identity.id(caller.account())),
    }
}

/// AWS: whose a key is stands in the key itself, so nobody looks whether there is one.
fn get_access_key_info(
    ctx: &Context,
    request: aws::GetAccessKeyInfoRequest,
) -> Result<aws::GetAccessKeyInfoResponse, ApiError> {
    let key = request.access_key_id.unwrap_or_default();
    let known = ctx.credentials.find(&ctx.store.snapshot(), &key).map(|holder| holder.account);
    match known.or_else(|| tokens::account_in(&key)) {
        Some(account) => Ok(aws::GetAccessKeyInfoResponse { account: Some(account.to_string()) }),
        // AWS: unsure of the words; there every key that is well formed has an account.
        None => Err(ApiError::new("ValidationError", "The access key ID is not valid.")),
    }
}

/// As every operation hands them out.
fn shown(issued: Issued) -> aws::Credentials {
    aws::Credentials {
        access_key_id: Some(issued.access_key),
        secret_access_key: Some(issued.secret.reveal().to_owned()),
        session_token: Some(issued.token.reveal().to_owned()),
        expiration: Some(wire::Timestamp::from_millis(issued.expires.0)),
    }
}

fn denied(message: impl Into<String>) -> ApiError {
    ApiError::new("AccessDenied", message).with_status(403)
}

//! What users do not have here, and clients ask for before they delete one.

use super::{seen, text, users::meant};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use shapes::iam as aws;
use wire::NoOutput;

/// That the user is there of whom something is asked.
fn look(ctx: &Context, caller: &Caller, given: Option<&String>) -> Result<(), ApiError> {
    // AWS: the root may ask of itself, which is no user.
    if text(given).is_empty() && caller.identity.is_root() {
        return Ok(());
    }
    seen(ctx, caller).the_user(&meant(caller, given)?)?;
    Ok(())
}

pub(super) fn groups(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListGroupsForUserRequest,
) -> Result<aws::ListGroupsForUserResponse, ApiError> {
    look(ctx, caller, request.user_name.as_ref())?;
    Ok(aws::ListGroupsForUserResponse { groups: Some(Vec::new()), is_truncated: Some(false), marker: None })
}

pub(super) fn devices(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListMFADevicesRequest,
) -> Result<aws::ListMFADevicesResponse, ApiError> {
    look(ctx, caller, request.user_name.as_ref())?;
    Ok(aws::ListMFADevicesResponse { mfa_devices: Some(Vec::new()), is_truncated: Some(false), marker: None })
}

pub(super) fn ssh_keys(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListSSHPublicKeysRequest,
) -> Result<aws::ListSSHPublicKeysResponse, ApiError> {
    look(ctx, caller, request.user_name.as_ref())?;
    Ok(aws::ListSSHPublicKeysResponse { ssh_public_keys: Some(Vec::new()), is_truncated: Some(false), marker: None })
}

pub(super) fn credentials(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListServiceSpecificCredentialsRequest,
) -> Result<aws::ListServiceSpecificCredentialsResponse, ApiError> {
    if !request.all_users.unwrap_or(false) {
        look(ctx, caller, request.user_name.as_ref())?;
    }
    Ok(aws::ListServiceSpecificCredentialsResponse {
        service_specific_credentials: Some(Vec::new()),
        is_truncated: Some(false),
        marker: None,
    })
}

pub(super) fn certificates(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListSigningCertificatesRequest,
) -> Result<aws::ListSigningCertificatesResponse, ApiError> {
    look(ctx, caller, request.user_name.as_ref())?;
    Ok(aws::ListSigningCertificatesResponse { certificates: Some(Vec::new()), is_truncated: Some(false), marker: None })
}

pub(super) fn virtual_devices() -> aws::ListVirtualMFADevicesResponse {
    aws::ListVirtualMFADevicesResponse {
        virtual_mfa_devices: Some(Vec::new()),
        is_truncated: Some(false),
        marker: None,
    }
}

pub(super) fn aliases() -> aws::ListAccountAliasesResponse {
    aws::ListAccountAliasesResponse { account_aliases: Some(Vec::new()), is_truncated: Some(false), marker: None }
}

fn no_login(ctx: &Context, caller: &Caller, given: Option<&String>) -> Result<ApiError, ApiError> {
    let user = meant(caller, given)?;
    seen(ctx, caller).the_user(&user)?;
    let text = format!("Login Profile for User {user} cannot be found.");
    Ok(ApiError::new("NoSuchEntity", text).with_status(404))
}

pub(super) fn get_login(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetLoginProfileRequest,
) -> Result<aws::GetLoginProfileResponse, ApiError> {
    Err(no_login(ctx, caller, request.user_name.as_ref())?)
}

pub(super) fn delete_login(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DeleteLoginProfileRequest,
) -> Result<NoOutput, ApiError> {
    Err(no_login(ctx, caller, request.user_name.as_ref())?)
}

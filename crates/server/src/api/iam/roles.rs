//! Roles.

use super::{change, encoded, is_below, page, path, seen, tags, text, time};
use crate::{
    api::ApiError,
    context::{Caller, Context},
    credentials::make_id,
};
use model::iam::{Permissions, Role, SERVICE_ROLE_PATH, parse_tags};
use shapes::iam as aws;
use wire::NoOutput;

/// How long a session lasts at most of which nobody said so. Source: the API reference.
pub(super) const USUAL_SESSION: u32 = 3_600;

/// A role as answers tell it.
pub(super) fn shown(role: &Role, with_tags: bool) -> aws::Role {
    aws::Role {
        path: Some(role.path.clone()),
        role_name: Some(role.name.clone()),
        role_id: Some(role.id.clone()),
        arn: Some(role.arn()),
        create_date: time(role.created_at),
        assume_role_policy_document: encoded(&role.trust),
        description: role.description.clone(),
        max_session_duration: i32::try_from(role.max_session_seconds).ok(),
        tags: tags::shown(&role.tags).filter(|_| with_tags),
        ..aws::Role::default()
    }
}

/// Seconds of a request. The model lets nothing else than an hour to half a day come this far.
fn seconds(given: i32) -> u32 {
    u32::try_from(given).unwrap_or(USUAL_SESSION)
}

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateRoleRequest,
) -> Result<aws::CreateRoleResponse, ApiError> {
    let path = path(request.path);
    if path.starts_with(SERVICE_ROLE_PATH) {
        // AWS: roles below that path are made by CreateServiceLinkedRole alone.
        let text = format!("The path {SERVICE_ROLE_PATH} is reserved for service-linked roles.");
        return Err(ApiError::new("InvalidInput", text));
    }
    let role = Role {
        account: caller.account().clone(),
        name: request.role_name.unwrap_or_default(),
        path,
        id: make_id::<17>("AROA", &ctx.effects),
        created_at: ctx.effects.now(),
        description: request.description.filter(|text| !text.is_empty()),
        trust: request.assume_role_policy_document.unwrap_or_default(),
        max_session_seconds: request.max_session_duration.map_or(USUAL_SESSION, seconds),
        tags: parse_tags(tags::pairs(request.tags))?,
        permissions: Permissions::default(),
    };
    change(ctx, caller, |edit| edit.create_role(role.clone())).await?;
    Ok(aws::CreateRoleResponse { role: Some(shown(&role, true)) })
}

pub(super) fn get(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetRoleRequest,
) -> Result<aws::GetRoleResponse, ApiError> {
    let directory = seen(ctx, caller);
    let role = directory.the_role(text(request.role_name.as_ref()))?;
    Ok(aws::GetRoleResponse { role: Some(shown(role, true)) })
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListRolesRequest,
) -> Result<aws::ListRolesResponse, ApiError> {
    let directory = seen(ctx, caller);
    let roles = directory.roles().filter(|role| is_below(&role.path, request.path_prefix.as_deref()));
    let asked = (request.marker.as_ref(), request.max_items);
    let page = page::cut(caller, ("ListRoles", text(request.path_prefix.as_ref())), roles, asked, |r| r.name.clone())?;
    Ok(aws::ListRolesResponse {
        // AWS: lists do not tell tags.
        roles: Some(page.items.into_iter().map(|role| shown(role, false)).collect()),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn update(
    ctx: &Context,
    caller: &Caller,
    request: &aws::UpdateRoleRequest,
) -> Result<aws::UpdateRoleResponse, ApiError> {
    change(ctx, caller, |edit| {
        edit.update_role(text(request.role_name.as_ref()), |role| {
            // AWS: a description that is not given goes, and so does a length of sessions.
            role.description = request.description.clone().filter(|text| !text.is_empty());
            role.max_session_seconds = request.max_session_duration.map_or(USUAL_SESSION, seconds);
        })
    })
    .await?;
    Ok(aws::UpdateRoleResponse {})
}

pub(super) async fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::UpdateRoleDescriptionRequest,
) -> Result<aws::UpdateRoleDescriptionResponse, ApiError> {
    let role = change(ctx, caller, |edit| {
        edit.update_role(text(request.role_name.as_ref()), |role| {
            role.description = request.description.clone().filter(|text| !text.is_empty());
        })
    });
    Ok(aws::UpdateRoleDescriptionResponse { role: Some(shown(&role.await?, true)) })
}

pub(super) async fn trust(
    ctx: &Context,
    caller: &Caller,
    request: &aws::UpdateAssumeRolePolicyRequest,
) -> Result<NoOutput, ApiError> {
    change(ctx, caller, |edit| {
        let document = text(request.policy_document.as_ref());
        edit.update_role(text(request.role_name.as_ref()), |role| document.clone_into(&mut role.trust))
    })
    .await?;
    Ok(NoOutput {})
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DeleteRoleRequest,
) -> Result<NoOutput, ApiError> {
    change(ctx, caller, |edit| edit.delete_role(text(request.role_name.as_ref()))).await?;
    Ok(NoOutput {})
}

//! Instance profiles.

use super::{change, is_below, page, path, roles, seen, tags, text, time};
use crate::{
    api::ApiError,
    context::{Caller, Context},
    credentials::make_id,
};
use model::iam::{Directory, InstanceProfile, parse_tags};
use shapes::iam as aws;
use wire::NoOutput;

fn shown(directory: &Directory, profile: &InstanceProfile, with_tags: bool) -> aws::InstanceProfile {
    let role = directory.role_of_profile(profile);
    aws::InstanceProfile {
        path: Some(profile.path.clone()),
        instance_profile_name: Some(profile.name.clone()),
        instance_profile_id: Some(profile.id.clone()),
        arn: Some(profile.arn()),
        create_date: time(profile.created_at),
        roles: Some(role.into_iter().map(|role| roles::shown(role, false)).collect()),
        tags: tags::shown(&profile.tags).filter(|_| with_tags),
    }
}

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateInstanceProfileRequest,
) -> Result<aws::CreateInstanceProfileResponse, ApiError> {
    let profile = InstanceProfile {
        account: caller.account().clone(),
        name: request.instance_profile_name.unwrap_or_default(),
        path: path(request.path),
        id: make_id::<17>("AIPA", &ctx.effects),
        created_at: ctx.effects.now(),
        tags: parse_tags(tags::pairs(request.tags))?,
        role: None,
    };
    change(ctx, caller, |edit| edit.create_profile(profile.clone())).await?;
    let shown = shown(&seen(ctx, caller), &profile, true);
    Ok(aws::CreateInstanceProfileResponse { instance_profile: Some(shown) })
}

pub(super) fn get(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetInstanceProfileRequest,
) -> Result<aws::GetInstanceProfileResponse, ApiError> {
    let directory = seen(ctx, caller);
    let profile = directory.the_profile(text(request.instance_profile_name.as_ref()))?;
    Ok(aws::GetInstanceProfileResponse { instance_profile: Some(shown(&directory, profile, true)) })
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListInstanceProfilesRequest,
) -> Result<aws::ListInstanceProfilesResponse, ApiError> {
    let directory = seen(ctx, caller);
    let prefix = request.path_prefix.as_ref();
    let profiles = directory.profiles().filter(|profile| is_below(&profile.path, prefix.map(String::as_str)));
    let asked = (request.marker.as_ref(), request.max_items);
    let page = page::cut(caller, ("ListInstanceProfiles", text(prefix)), profiles, asked, |p| p.name.clone())?;
    Ok(aws::ListInstanceProfilesResponse {
        instance_profiles: Some(page.items.into_iter().map(|profile| shown(&directory, profile, false)).collect()),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) fn of_role(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListInstanceProfilesForRoleRequest,
) -> Result<aws::ListInstanceProfilesForRoleResponse, ApiError> {
    let (directory, role) = (seen(ctx, caller), text(request.role_name.as_ref()));
    directory.the_role(role)?;
    let profiles = directory.profiles().filter(|profile| profile.role.as_deref() == Some(role));
    let asked = (request.marker.as_ref(), request.max_items);
    let page = page::cut(caller, ("ListInstanceProfilesForRole", role), profiles, asked, |p| p.name.clone())?;
    Ok(aws::ListInstanceProfilesForRoleResponse {
        instance_profiles: Some(page.items.into_iter().map(|profile| shown(&directory, profile, false)).collect()),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DeleteInstanceProfileRequest,
) -> Result<NoOutput, ApiError> {
    change(ctx, caller, |edit| edit.delete_profile(text(request.instance_profile_name.as_ref()))).await?;
    Ok(NoOutput {})
}

pub(super) async fn add_role(
    ctx: &Context,
    caller: &Caller,
    request: &aws::AddRoleToInstanceProfileRequest,
) -> Result<NoOutput, ApiError> {
    let (profile, role) = (text(request.instance_profile_name.as_ref()), text(request.role_name.as_ref()));
    change(ctx, caller, |edit| edit.add_role_to_profile(profile, role)).await?;
    Ok(NoOutput {})
}

pub(super) async fn remove_role(
    ctx: &Context,
    caller: &Caller,
    request: &aws::RemoveRoleFromInstanceProfileRequest,
) -> Result<NoOutput, ApiError> {
    let (profile, role) = (text(request.instance_profile_name.as_ref()), text(request.role_name.as_ref()));
    change(ctx, caller, |edit| edit.remove_role_from_profile(profile, role)).await?;
    Ok(NoOutput {})
}

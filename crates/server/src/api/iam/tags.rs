//! Tags of users, roles, policies and instance profiles.

use super::{change, page, seen, text};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::{
    Tags,
    iam::{managed, parse_tags},
};
use shapes::iam as aws;
use wire::NoOutput;

/// Tags of a request.
pub(super) fn pairs(given: Option<Vec<aws::Tag>>) -> impl Iterator<Item = (String, String)> {
    given.into_iter().flatten().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
}

fn all(tags: &Tags) -> impl Iterator<Item = aws::Tag> {
    tags.0.iter().map(|(key, value)| aws::Tag { key: Some(key.clone()), value: Some(value.clone()) })
}

/// Tags of an answer; AWS leaves out what is empty.
pub(super) fn shown(tags: &Tags) -> Option<Vec<aws::Tag>> {
    (!tags.0.is_empty()).then(|| all(tags).collect())
}

macro_rules! tagging {
    ($tag:ident($tag_request:ident), $untag:ident($untag_request:ident), $name:ident, $add:ident, $remove:ident) => {
        pub(super) async fn $tag(
            ctx: &Context,
            caller: &Caller,
            request: aws::$tag_request,
        ) -> Result<NoOutput, ApiError> {
            let tags = parse_tags(pairs(request.tags))?;
            change(ctx, caller, |edit| edit.$add(text(request.$name.as_ref()), tags.clone())).await?;
            Ok(NoOutput {})
        }

        pub(super) async fn $untag(
            ctx: &Context,
            caller: &Caller,
            request: aws::$untag_request,
        ) -> Result<NoOutput, ApiError> {
            let keys = request.tag_keys.unwrap_or_default();
            change(ctx, caller, |edit| edit.$remove(text(request.$name.as_ref()), &keys)).await?;
            Ok(NoOutput {})
        }
    };
}

tagging!(tag_role(TagRoleRequest), untag_role(UntagRoleRequest), role_name, tag_role, untag_role);
tagging!(tag_user(TagUserRequest), untag_user(UntagUserRequest), user_name, tag_user, untag_user);
tagging!(tag_policy(TagPolicyRequest), untag_policy(UntagPolicyRequest), policy_arn, tag_policy, untag_policy);
tagging!(
    tag_profile(TagInstanceProfileRequest),
    untag_profile(UntagInstanceProfileRequest),
    instance_profile_name,
    tag_profile,
    untag_profile
);

fn cut(
    caller: &Caller,
    list: (&'static str, &str),
    tags: &Tags,
    asked: (Option<&String>, Option<i32>),
) -> Result<page::Page<aws::Tag>, ApiError> {
    page::cut(caller, list, all(tags), asked, |tag| tag.key.clone().unwrap_or_default())
}

pub(super) fn of_role(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListRoleTagsRequest,
) -> Result<aws::ListRoleTagsResponse, ApiError> {
    let (directory, name) = (seen(ctx, caller), text(request.role_name.as_ref()));
    let tags = &directory.the_role(name)?.tags;
    let page = cut(caller, ("ListRoleTags", name), tags, (request.marker.as_ref(), request.max_items))?;
    let (is_truncated, marker) = (page.is_truncated, page.marker);
    Ok(aws::ListRoleTagsResponse { tags: Some(page.items), is_truncated, marker })
}

pub(super) fn of_user(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListUserTagsRequest,
) -> Result<aws::ListUserTagsResponse, ApiError> {
    let (directory, name) = (seen(ctx, caller), text(request.user_name.as_ref()));
    let tags = &directory.the_user(name)?.tags;
    let page = cut(caller, ("ListUserTags", name), tags, (request.marker.as_ref(), request.max_items))?;
    let (is_truncated, marker) = (page.is_truncated, page.marker);
    Ok(aws::ListUserTagsResponse { tags: Some(page.items), is_truncated, marker })
}

pub(super) fn of_policy(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListPolicyTagsRequest,
) -> Result<aws::ListPolicyTagsResponse, ApiError> {
    let (directory, arn) = (seen(ctx, caller), text(request.policy_arn.as_ref()));
    let none = Tags::default();
    // Nobody tags AWS's own.
    let tags = if managed::find(arn).is_some() { &none } else { &directory.the_policy(arn)?.tags };
    let page = cut(caller, ("ListPolicyTags", arn), tags, (request.marker.as_ref(), request.max_items))?;
    let (is_truncated, marker) = (page.is_truncated, page.marker);
    Ok(aws::ListPolicyTagsResponse { tags: Some(page.items), is_truncated, marker })
}

pub(super) fn of_profile(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListInstanceProfileTagsRequest,
) -> Result<aws::ListInstanceProfileTagsResponse, ApiError> {
    let (directory, name) = (seen(ctx, caller), text(request.instance_profile_name.as_ref()));
    let tags = &directory.the_profile(name)?.tags;
    let page = cut(caller, ("ListInstanceProfileTags", name), tags, (request.marker.as_ref(), request.max_items))?;
    let (is_truncated, marker) = (page.is_truncated, page.marker);
    Ok(aws::ListInstanceProfileTagsResponse { tags: Some(page.items), is_truncated, marker })
}

//! Tags of log groups, by the old calls that name the group and the new ones that take an ARN.

use super::{group_of_arn, scope};
use crate::api::ApiError;
use crate::context::{Caller, Context};
use shapes::logs as aws;
use std::collections::BTreeMap;
use wire::NoOutput;

pub(super) async fn tag_group(
    ctx: &Context,
    caller: &Caller,
    request: aws::TagLogGroupRequest,
) -> Result<NoOutput, ApiError> {
    add(ctx, caller, &request.log_group_name.unwrap_or_default(), request.tags).await
}

pub(super) async fn tag(
    ctx: &Context,
    caller: &Caller,
    request: aws::TagResourceRequest,
) -> Result<NoOutput, ApiError> {
    add(ctx, caller, &group(caller, request.resource_arn.as_deref())?, request.tags).await
}

async fn add(
    ctx: &Context,
    caller: &Caller,
    group: &str,
    tags: Option<BTreeMap<String, String>>,
) -> Result<NoOutput, ApiError> {
    ctx.logs.tag_group(&scope(&caller.scope), group, tags.unwrap_or_default()).await?;
    Ok(NoOutput {})
}

pub(super) async fn untag_group(
    ctx: &Context,
    caller: &Caller,
    request: aws::UntagLogGroupRequest,
) -> Result<NoOutput, ApiError> {
    remove(ctx, caller, &request.log_group_name.unwrap_or_default(), request.tags).await
}

pub(super) async fn untag(
    ctx: &Context,
    caller: &Caller,
    request: aws::UntagResourceRequest,
) -> Result<NoOutput, ApiError> {
    remove(ctx, caller, &group(caller, request.resource_arn.as_deref())?, request.tag_keys).await
}

async fn remove(ctx: &Context, caller: &Caller, group: &str, keys: Option<Vec<String>>) -> Result<NoOutput, ApiError> {
    ctx.logs.untag_group(&scope(&caller.scope), group, keys.unwrap_or_default()).await?;
    Ok(NoOutput {})
}

pub(super) fn list_group(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListTagsLogGroupRequest,
) -> Result<aws::ListTagsLogGroupResponse, ApiError> {
    let group = ctx.logs.group(&scope(&caller.scope), request.log_group_name.as_deref().unwrap_or_default())?;
    Ok(aws::ListTagsLogGroupResponse { tags: Some(group.tags) })
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListTagsForResourceRequest,
) -> Result<aws::ListTagsForResourceResponse, ApiError> {
    let group = ctx.logs.group(&scope(&caller.scope), &group(caller, request.resource_arn.as_deref())?)?;
    Ok(aws::ListTagsForResourceResponse { tags: Some(group.tags) })
}

fn group(caller: &Caller, arn: Option<&str>) -> Result<String, ApiError> {
    let unknown = || ApiError::new("ResourceNotFoundException", "The specified resource does not exist.");
    group_of_arn(&caller.scope, arn.unwrap_or_default()).ok_or_else(unknown)
}

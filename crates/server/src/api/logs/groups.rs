//! Log groups and their retention.

use super::{group_arn, page_limit, scope};
use crate::api::ApiError;
use crate::context::{Caller, Context};
use shapes::logs as aws;
use telemetry::logs::{GroupInfo, GroupNames};
use wire::NoOutput;

/// The one class of log groups that there is.
const CLASS: &str = "STANDARD";

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateLogGroupRequest,
) -> Result<NoOutput, ApiError> {
    if let Some(class) = request.log_group_class.filter(|class| class != CLASS && !class.is_empty()) {
        let text = format!("Longshore does not honour logGroupClass {class} yet; remove it or see docs/coverage.md.");
        return Err(ApiError::invalid(text));
    }
    let (group, tags) = (request.log_group_name.unwrap_or_default(), request.tags.unwrap_or_default());
    ctx.logs.create_group(&scope(&caller.scope), &group, tags, ctx.effects.now().0).await?;
    Ok(NoOutput {})
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteLogGroupRequest,
) -> Result<NoOutput, ApiError> {
    ctx.logs.delete_group(&scope(&caller.scope), &request.log_group_name.unwrap_or_default()).await?;
    Ok(NoOutput {})
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeLogGroupsRequest,
) -> Result<aws::DescribeLogGroupsResponse, ApiError> {
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    if set(request.log_group_class).is_some_and(|class| class != CLASS) {
        return Ok(aws::DescribeLogGroupsResponse { log_groups: Some(Vec::new()), next_token: None });
    }
    let names = match (set(request.log_group_name_prefix), set(request.log_group_name_pattern)) {
        (None, None) => GroupNames::All,
        (Some(prefix), None) => GroupNames::Prefix(prefix),
        (None, Some(part)) => GroupNames::Contains(part),
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
            ));
        }
    };
    let token = set(request.next_token);
    let limit = page_limit(request.limit);
    let page = ctx.logs.describe_groups(&scope(&caller.scope), &names, limit, token.as_deref())?;
    let groups = page.items.into_iter().map(|group| render(caller, group)).collect();
    Ok(aws::DescribeLogGroupsResponse { log_groups: Some(groups), next_token: page.next_token })
}

fn render(caller: &Caller, group: GroupInfo) -> aws::LogGroup {
    let arn = group_arn(&caller.scope, &group.name);
    aws::LogGroup {
        arn: Some(format!("{arn}:*")),
        log_group_arn: Some(arn),
        creation_time: Some(group.created_millis),
        metric_filter_count: Some(0),
        retention_in_days: group.retention_days.and_then(|days| i32::try_from(days).ok()),
        stored_bytes: i64::try_from(group.stored_bytes).ok(),
        log_group_class: Some(CLASS.to_owned()),
        log_group_name: Some(group.name),
        ..aws::LogGroup::default()
    }
}

pub(super) async fn put_retention(
    ctx: &Context,
    caller: &Caller,
    request: aws::PutRetentionPolicyRequest,
) -> Result<NoOutput, ApiError> {
    let days = u32::try_from(request.retention_in_days.unwrap_or(0)).unwrap_or(0);
    let group = request.log_group_name.unwrap_or_default();
    ctx.logs.set_retention(&scope(&caller.scope), &group, Some(days)).await?;
    Ok(NoOutput {})
}

pub(super) async fn delete_retention(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteRetentionPolicyRequest,
) -> Result<NoOutput, ApiError> {
    ctx.logs.set_retention(&scope(&caller.scope), &request.log_group_name.unwrap_or_default(), None).await?;
    Ok(NoOutput {})
}

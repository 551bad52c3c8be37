//! The Logs room, over the log store of `telemetry`: what CloudWatch Logs' clients ask of groups, streams and events.

mod events;
mod groups;
mod streams;
mod tags;

use super::honoured::{Row, row};
use super::{ApiError, answer, no_arm, read};
use crate::context::{Caller, Context};
use model::Scope;
use serde_json::Value;
use telemetry::logs;

pub(crate) const HONOURED: &[Row] = &[
    row("CreateLogGroup", &["logGroupClass", "logGroupName", "tags.*"]),
    row("DeleteLogGroup", &["logGroupName"]),
    row("DescribeLogGroups", &["limit", "logGroupClass", "logGroupNamePattern", "logGroupNamePrefix", "nextToken"]),
    row("PutRetentionPolicy", &["logGroupName", "retentionInDays"]),
    row("DeleteRetentionPolicy", &["logGroupName"]),
    row("CreateLogStream", &["logGroupName", "logStreamName"]),
    row("DeleteLogStream", &["logGroupName", "logStreamName"]),
    row(
        "DescribeLogStreams",
        &["descending", "limit", "logGroupIdentifier", "logGroupName", "logStreamNamePrefix", "nextToken", "orderBy"],
    ),
    row("PutLogEvents", &["logEvents.*", "logGroupName", "logStreamName", "sequenceToken"]),
    row(
        "GetLogEvents",
        &[
            "endTime",
            "limit",
            "logGroupIdentifier",
            "logGroupName",
            "logStreamName",
            "nextToken",
            "startFromHead",
            "startTime",
        ],
    ),
    row(
        "FilterLogEvents",
        &[
            "endTime",
            "filterPattern",
            "interleaved",
            "limit",
            "logGroupIdentifier",
            "logGroupName",
            "logStreamNamePrefix",
            "logStreamNames",
            "nextToken",
            "startTime",
        ],
    ),
    row("TagLogGroup", &["logGroupName", "tags.*"]),
    row("UntagLogGroup", &["logGroupName", "tags"]),
    row("ListTagsLogGroup", &["logGroupName"]),
    row("TagResource", &["resourceArn", "tags.*"]),
    row("UntagResource", &["resourceArn", "tagKeys"]),
    row("ListTagsForResource", &["resourceArn"]),
];

/// Answers one operation of Logs.
pub(crate) async fn dispatch(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateLogGroup" => answer(groups::create(ctx, caller, read(input)?).await),
        "DeleteLogGroup" => answer(groups::delete(ctx, caller, read(input)?).await),
        "DescribeLogGroups" => answer(groups::describe(ctx, caller, read(input)?)),
        "PutRetentionPolicy" => answer(groups::put_retention(ctx, caller, read(input)?).await),
        "DeleteRetentionPolicy" => answer(groups::delete_retention(ctx, caller, read(input)?).await),

        "CreateLogStream" => answer(streams::create(ctx, caller, read(input)?).await),
        "DeleteLogStream" => answer(streams::delete(ctx, caller, read(input)?).await),
        "DescribeLogStreams" => answer(streams::describe(ctx, caller, &read(input)?)),

        "PutLogEvents" => answer(events::put(ctx, caller, read(input)?).await),
        "GetLogEvents" => answer(events::get(ctx, caller, read(input)?).await),
        "FilterLogEvents" => answer(events::filter(ctx, caller, read(input)?).await),

        "TagLogGroup" => answer(tags::tag_group(ctx, caller, read(input)?).await),
        "UntagLogGroup" => answer(tags::untag_group(ctx, caller, read(input)?).await),
        "ListTagsLogGroup" => answer(tags::list_group(ctx, caller, &read(input)?)),
        "TagResource" => answer(tags::tag(ctx, caller, read(input)?).await),
        "UntagResource" => answer(tags::untag(ctx, caller, read(input)?).await),
        "ListTagsForResource" => answer(tags::list(ctx, caller, &read(input)?)),

        other => Err(no_arm(other)),
    }
}

/// The log store's word for an account's region.
fn scope(scope: &Scope) -> logs::Scope {
    logs::Scope { account: scope.account.to_string(), region: scope.region.to_string() }
}

/// `arn:aws:logs:region:account:log-group:name`
fn group_arn(scope: &Scope, group: &str) -> String {
    format!("arn:aws:logs:{}:{}:log-group:{group}", scope.region, scope.account)
}

/// The group's name in an ARN of the caller's scope, with or without the `:*` that AWS puts behind.
fn group_of_arn(scope: &Scope, arn: &str) -> Option<String> {
    let name = arn.strip_prefix(&group_arn(scope, ""))?;
    Some(name.strip_suffix(":*").unwrap_or(name).to_owned())
}

/// The group of a request that may name it or identify it. AWS: exactly one of the two.
fn group_named(scope: &Scope, name: Option<String>, identifier: Option<String>) -> Result<String, ApiError> {
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    match (set(name), set(identifier)) {
        (Some(name), None) => Ok(name),
        (None, Some(arn)) if arn.starts_with("arn:") => {
            let unknown = || ApiError::new("ResourceNotFoundException", "The specified log group does not exist.");
            group_of_arn(scope, &arn).ok_or_else(unknown)
        }
        (None, Some(name)) => Ok(name),
        (Some(_), Some(_)) => {
            Err(ApiError::invalid("LogGroup name and LogGroup ARN are mutually exclusive parameters."))
        }
        (None, None) => Err(ApiError::invalid("Either logGroupName or logGroupIdentifier must be specified.")),
    }
}

/// A page's length as the log store takes it; what is out of its bounds it refuses itself.
fn page_limit(asked: Option<i32>) -> Option<usize> {
    asked.filter(|asked| *asked != 0).map(|asked| usize::try_from(asked).unwrap_or(usize::MAX))
}

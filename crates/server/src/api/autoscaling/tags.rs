//! Tags of groups.

use super::{change, invalid, not_honoured, parse, render};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::AutoScalingGroup;
use shapes::autoscaling as aws;
use state::ScalingChange;
use std::collections::BTreeMap;
use wire::NoOutput;

/// The tags of a request by the group that they name.
fn by_group(given: Option<Vec<aws::Tag>>) -> Result<BTreeMap<String, Vec<aws::Tag>>, ApiError> {
    let mut groups: BTreeMap<String, Vec<aws::Tag>> = BTreeMap::new();
    for tag in given.unwrap_or_default() {
        let name = tag.resource_id.clone().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| invalid("The tag names no ResourceId."))?;
        groups.entry(name).or_default().push(tag);
    }
    Ok(groups)
}

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateOrUpdateTagsType,
) -> Result<NoOutput, ApiError> {
    for (name, given) in by_group(request.tags)? {
        let more = parse::tags(given, &name)?;
        change(ctx, caller, &name, |_, known| {
            let mut group = known.clone();
            group.tags.extend(more.clone());
            parse::check_tags(&group.tags)?;
            Ok((ScalingChange { group: Some(group), ..ScalingChange::of(known, ctx.effects.now()) }, ()))
        })
        .await?;
    }
    Ok(NoOutput {})
}

pub(super) async fn delete(ctx: &Context, caller: &Caller, request: aws::DeleteTagsType) -> Result<NoOutput, ApiError> {
    for (name, given) in by_group(request.tags)? {
        change(ctx, caller, &name, |_, known| {
            let mut group = known.clone();
            group.tags.retain(|key, _| !given.iter().any(|tag| tag.key.as_ref() == Some(key)));
            Ok((ScalingChange { group: Some(group), ..ScalingChange::of(known, ctx.effects.now()) }, ()))
        })
        .await?;
    }
    Ok(NoOutput {})
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeTagsType,
) -> Result<aws::TagsType, ApiError> {
    let snapshot = ctx.store.snapshot();
    let all =
        snapshot.scaling_groups(&caller.scope).flat_map(|group: &std::sync::Arc<AutoScalingGroup>| render::tags(group));
    let mut kept = Vec::new();
    for tag in all {
        let mut holds = true;
        for filter in request.filters.as_deref().unwrap_or_default() {
            let has = match filter.name.as_deref().unwrap_or_default() {
                "auto-scaling-group" => tag.resource_id.clone(),
                "key" => tag.key.clone(),
                "value" => tag.value.clone(),
                "propagate-at-launch" => tag.propagate_at_launch.map(|propagate| propagate.to_string()),
                other => return Err(not_honoured(&format!("the filter {other}"))),
            };
            holds &= has.is_some_and(|has| filter.values.as_deref().unwrap_or_default().contains(&has));
        }
        if holds {
            kept.push(tag);
        }
    }
    let key = |tag: &aws::TagDescription| {
        format!("{}:{}", tag.resource_id.as_deref().unwrap_or_default(), tag.key.as_deref().unwrap_or_default())
    };
    let asked = (request.max_records, request.next_token.as_deref());
    let (shown, next_token) = parse::page("DescribeTags", &caller.scope, asked, kept, key)?;
    Ok(aws::TagsType { tags: Some(shown), next_token })
}

//! What was done to the instances of groups.

use super::{parse, render};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::{Activity, AutoScalingGroup};
use shapes::autoscaling as aws;
use std::sync::Arc;

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeScalingActivitiesType,
) -> Result<aws::ActivitiesType, ApiError> {
    let snapshot = ctx.store.snapshot();
    let name = request.auto_scaling_group_name.as_deref().filter(|name| !name.is_empty());
    let ids = request.activity_ids.as_deref().unwrap_or_default();
    let groups = snapshot.scaling_groups(&caller.scope).filter(|group| name.is_none_or(|name| group.name == name));
    let all = groups.flat_map(|group| group.activities.iter().enumerate().map(move |(at, one)| (group, at, one)));
    let mut all: Vec<_> = all.filter(|(_, _, one)| ids.is_empty() || ids.contains(&one.id)).collect();
    // The newest first; of the same moment, that which was noted last.
    let key = |(group, at, activity): &(&Arc<AutoScalingGroup>, usize, &Activity)| {
        let ago = u64::MAX - u64::try_from(activity.started_at.0).unwrap_or(0);
        format!("{ago:020}/{}/{:06}", group.name, model::MAX_ACTIVITIES.saturating_sub(*at))
    };
    all.sort_by_cached_key(key);
    let asked = (request.max_records, request.next_token.as_deref());
    let (shown, next_token) = parse::page("DescribeScalingActivities", &caller.scope, asked, all, key)?;
    let shown = shown.into_iter().map(|(group, _, activity)| render::activity(group, activity)).collect();
    Ok(aws::ActivitiesType { activities: Some(shown), next_token })
}

//! A group's instances: described, protected, terminated.

use super::{change, invalid, parse, render};
use crate::{
    api::ApiError,
    context::{Caller, Context},
    loops::scaling::{self, Leaving},
};
use model::{AutoScalingGroup, Machine};
use shapes::autoscaling as aws;
use state::{ScalingChange, Snapshot};
use std::sync::Arc;

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeAutoScalingInstancesType,
) -> Result<aws::AutoScalingInstancesType, ApiError> {
    let snapshot = ctx.store.snapshot();
    let named = request.instance_ids.as_deref().unwrap_or_default();
    let all = snapshot.machines(&caller.scope, None).filter(|machine| machine.membership().is_some());
    let all: Vec<_> = all.filter(|machine| named.is_empty() || named.contains(&machine.id)).collect();
    let asked = (request.max_records, request.next_token.as_deref());
    let id = |machine: &&Arc<Machine>| machine.id.clone();
    let (shown, next_token) = parse::page("DescribeAutoScalingInstances", &caller.scope, asked, all, id)?;
    let shown = shown.into_iter().filter_map(|machine| render::details(machine)).collect();
    Ok(aws::AutoScalingInstancesType { auto_scaling_instances: Some(shown), next_token })
}

/// The instance, and the group that it is of.
fn member<'a>(snapshot: &'a Snapshot, caller: &Caller, id: &str) -> Result<(&'a Arc<Machine>, &'a str), ApiError> {
    let machine = snapshot.machine(&caller.scope, id);
    machine
        .and_then(|machine| Some((machine, machine.membership()?.name.as_str())))
        .ok_or_else(|| invalid(format!("Instance Id not found - No managed instance found for instance ID: {id}")))
}

pub(super) async fn protect(
    ctx: &Context,
    caller: &Caller,
    request: aws::SetInstanceProtectionQuery,
) -> Result<aws::SetInstanceProtectionAnswer, ApiError> {
    let name = request.auto_scaling_group_name.clone().unwrap_or_default();
    let protected = request.protected_from_scale_in.unwrap_or(false);
    let ids = request.instance_ids.unwrap_or_default();
    change(ctx, caller, &name, |snapshot, group| {
        let mut change = ScalingChange::of(group, ctx.effects.now());
        for id in &ids {
            let (machine, of) = member(snapshot, caller, id)?;
            if of != name {
                return Err(invalid(format!("The instance {id} is not part of Auto Scaling group {name}.")));
            }
            let member = machine.group.as_deref().cloned();
            let member = member.map(|member| (id.clone(), model::GroupMember { protected, ..member }));
            change.members.extend(member);
        }
        Ok((change, ()))
    })
    .await?;
    Ok(aws::SetInstanceProtectionAnswer::default())
}

pub(super) async fn terminate(
    ctx: &Context,
    caller: &Caller,
    request: aws::TerminateInstanceInAutoScalingGroupType,
) -> Result<aws::ActivityType, ApiError> {
    let id = request.instance_id.unwrap_or_default();
    let decrement = request.should_decrement_desired_capacity == Some(true);
    let name = member(&ctx.store.snapshot(), caller, &id)?.1.to_owned();
    let activity = change(ctx, caller, &name, |snapshot, known| {
        let (machine, _) = member(snapshot, caller, &id)?;
        let mut group = known.clone();
        if decrement {
            group.desired = fewer(known)?;
        }
        let now = ctx.effects.now();
        let mut change = ScalingChange::of(known, now);
        let how = match decrement {
            true => format!("a user request, shrinking the capacity from {} to {}", known.desired, group.desired),
            false => "a user request".to_owned(),
        };
        let leaving = Leaving { machine, how: &how, drains: scaling::is_busy(snapshot, machine) };
        let activity = scaling::leave(ctx, snapshot, &mut group, &mut change, &leaving);
        let shown = render::activity(&group, &activity);
        change.group = Some(group);
        Ok((change, shown))
    })
    .await?;
    Ok(aws::ActivityType { activity: Some(activity), activities: None })
}

fn fewer(group: &AutoScalingGroup) -> Result<u32, ApiError> {
    if group.desired <= group.min {
        return Err(invalid(format!(
            "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will violate group's min \
             size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
            group.min
        )));
    }
    Ok(group.desired - 1)
}

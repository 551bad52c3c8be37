//! Groups: made, changed, deleted, described.

use super::{change, find, invalid, not_honoured, parse, render};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::{AutoScalingGroup, MachineState, TerminationPolicy};
use shapes::autoscaling as aws;
use state::{Command, ScalingChange, Snapshot};
use wire::NoOutput;

/// Longest name. Source: `XmlStringMaxLen255`.
const MAX_NAME: usize = 255;

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateAutoScalingGroupType,
) -> Result<NoOutput, ApiError> {
    if !ctx.config.local_instances {
        let text = "This server makes no local instances, and so has none to scale. Start it with `longshore dev`, or with \
                    `--local-instances`.";
        return Err(invalid(text));
    }
    let name = request.auto_scaling_group_name.unwrap_or_default();
    // AWS: a colon ends the name in tags' resource ids.
    if name.is_empty() || name.len() > MAX_NAME || name.contains(':') || name.chars().any(char::is_control) {
        return Err(invalid("Invalid group name: it has 1 to 255 characters, and no colon."));
    }
    let snapshot = ctx.store.snapshot();
    let number = |name, given| parse::number(name, given);
    let min = number("MinSize", request.min_size)?.unwrap_or(0);
    let max = number("MaxSize", request.max_size)?.unwrap_or(0);
    let desired = number("DesiredCapacity", request.desired_capacity)?.unwrap_or(min);
    parse::check_sizes(min, max, desired)?;
    parse::check_health(request.health_check_type.as_deref())?;
    let template = request.launch_template.as_ref();
    let template = template.ok_or_else(|| invalid("Valid requests must contain a LaunchTemplate."))?;
    let subnets = parse::subnets(request.vpc_zone_identifier.as_deref());
    let group = AutoScalingGroup {
        scope: caller.scope.clone(),
        id: ctx.effects.uuid(),
        version: 0,
        template: parse::template(&snapshot, &caller.scope, template)?,
        min,
        max,
        desired,
        subnets: subnets.ok_or_else(|| {
            invalid("At least one Availability Zone or VPC Subnet is required: give VPCZoneIdentifier.")
        })?,
        health_check_grace: number("HealthCheckGracePeriod", request.health_check_grace_period)?.unwrap_or(0),
        termination_policies: parse::policies(request.termination_policies)?
            .unwrap_or_else(|| vec![TerminationPolicy::Default]),
        protects_new: request.new_instances_protected_from_scale_in.unwrap_or(false),
        tags: parse::tags(request.tags.unwrap_or_default(), &name)?,
        activities: Vec::new(),
        deleting: false,
        created_at: ctx.effects.now(),
        name,
    };
    parse::check_launch(ctx, &snapshot, &group)?;
    let change = ScalingChange { on: None, ..ScalingChange::of(&group, group.created_at) };
    ctx.store.commit(Command::ChangeScalingGroup(Box::new(change))).await?;
    Ok(NoOutput {})
}

pub(super) async fn update(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateAutoScalingGroupType,
) -> Result<NoOutput, ApiError> {
    let name = request.auto_scaling_group_name.clone().unwrap_or_default();
    change(ctx, caller, &name, |snapshot, known| {
        let mut group = known.clone();
        let number = |name, given| parse::number(name, given);
        group.min = number("MinSize", request.min_size)?.unwrap_or(group.min);
        group.max = number("MaxSize", request.max_size)?.unwrap_or(group.max);
        let asked = number("DesiredCapacity", request.desired_capacity)?;
        parse::check_sizes(group.min, group.max, asked.unwrap_or(group.min))?;
        // AWS: bounds that are set move what lies outside of them.
        group.desired = asked.unwrap_or(group.desired.clamp(group.min, group.max));
        parse::check_health(request.health_check_type.as_deref())?;
        let grace = number("HealthCheckGracePeriod", request.health_check_grace_period)?;
        group.health_check_grace = grace.unwrap_or(group.health_check_grace);
        if let Some(given) = &request.launch_template {
            group.template = parse::template(snapshot, &caller.scope, given)?;
        }
        group.subnets = parse::subnets(request.vpc_zone_identifier.as_deref()).unwrap_or(group.subnets);
        let policies = parse::policies(request.termination_policies.clone())?;
        group.termination_policies = policies.unwrap_or(group.termination_policies);
        group.protects_new = request.new_instances_protected_from_scale_in.unwrap_or(group.protects_new);
        if group.template != known.template || group.subnets != known.subnets {
            parse::check_launch(ctx, snapshot, &group)?;
        }
        Ok((ScalingChange { group: Some(group), ..ScalingChange::of(known, ctx.effects.now()) }, ()))
    })
    .await?;
    Ok(NoOutput {})
}

pub(super) async fn set_desired(
    ctx: &Context,
    caller: &Caller,
    request: aws::SetDesiredCapacityType,
) -> Result<NoOutput, ApiError> {
    if request.honor_cooldown == Some(true) {
        return Err(not_honoured("HonorCooldown"));
    }
    let name = request.auto_scaling_group_name.clone().unwrap_or_default();
    let desired = parse::number("DesiredCapacity", request.desired_capacity)?.unwrap_or(0);
    change(ctx, caller, &name, |_, known| {
        let beyond = |what: &str, bound: u32| {
            invalid(format!("New SetDesiredCapacity value {desired} is {what} value {bound} for the AutoScalingGroup."))
        };
        if desired > known.max {
            return Err(beyond("above max", known.max));
        }
        if desired < known.min {
            return Err(beyond("below min", known.min));
        }
        let group = AutoScalingGroup { desired, ..known.clone() };
        Ok((ScalingChange { group: Some(group), ..ScalingChange::of(known, ctx.effects.now()) }, ()))
    })
    .await?;
    Ok(NoOutput {})
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteAutoScalingGroupType,
) -> Result<NoOutput, ApiError> {
    let name = request.auto_scaling_group_name.clone().unwrap_or_default();
    let force = request.force_delete == Some(true);
    if find(&ctx.store.snapshot(), caller, &name)?.deleting {
        return Ok(NoOutput {});
    }
    change(ctx, caller, &name, |snapshot, known| {
        let at = ctx.effects.now();
        if snapshot.members(&caller.scope, &name).next().is_some() && !force {
            let text = "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) \
                        still in the group.";
            return Err(ApiError::new("ResourceInUse", text));
        }
        let leaves = snapshot.machines(&caller.scope, None).any(|machine| {
            machine.state == MachineState::ShuttingDown && machine.group.as_ref().is_some_and(|m| m.name == name)
        });
        if leaves && !force {
            let text =
                "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.";
            return Err(ApiError::new("ScalingActivityInProgress", text));
        }
        // The loop ends its instances, and removes it when they have gone.
        let group = AutoScalingGroup { deleting: true, min: 0, desired: 0, ..known.clone() };
        Ok((ScalingChange { group: Some(group), ..ScalingChange::of(known, at) }, ()))
    })
    .await?;
    Ok(NoOutput {})
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::AutoScalingGroupNamesType,
) -> Result<aws::AutoScalingGroupsType, ApiError> {
    let snapshot = ctx.store.snapshot();
    let named = request.auto_scaling_group_names.as_deref().unwrap_or_default();
    let is_named = |group: &AutoScalingGroup| named.is_empty() || named.contains(&group.name);
    let groups: Vec<_> = snapshot.scaling_groups(&caller.scope).filter(|group| is_named(group)).collect();
    let filters = request.filters.as_deref().unwrap_or_default();
    let mut kept = Vec::new();
    for group in groups {
        if filters.iter().map(|filter| holds(group, filter)).collect::<Result<Vec<_>, _>>()?.iter().all(|holds| *holds)
        {
            kept.push(group);
        }
    }
    let asked = (request.max_records, request.next_token.as_deref());
    let name = |group: &&std::sync::Arc<AutoScalingGroup>| group.name.clone();
    let (shown, next_token) = parse::page("DescribeAutoScalingGroups", &caller.scope, asked, kept, name)?;
    let with_instances = request.include_instances.unwrap_or(true);
    let shown = shown.into_iter().map(|group| render::group(ctx, &snapshot, group, with_instances)).collect();
    Ok(aws::AutoScalingGroupsType { auto_scaling_groups: Some(shown), next_token })
}

fn holds(group: &AutoScalingGroup, filter: &aws::Filter) -> Result<bool, ApiError> {
    let wanted = filter.values.as_deref().unwrap_or_default();
    let is_wanted = |text: &String| wanted.contains(text);
    match filter.name.as_deref().unwrap_or_default() {
        "tag-key" => Ok(group.tags.keys().any(is_wanted)),
        "tag-value" => Ok(group.tags.values().any(|tag| is_wanted(&tag.value))),
        other => match other.strip_prefix("tag:") {
            Some(key) => Ok(group.tags.get(key).is_some_and(|tag| is_wanted(&tag.value))),
            None => Err(not_honoured(&format!("the filter {other}"))),
        },
    }
}

pub(super) fn policy_types() -> aws::DescribeTerminationPolicyTypesAnswer {
    let names = TerminationPolicy::ALL.map(|policy| policy.as_str().to_owned());
    aws::DescribeTerminationPolicyTypesAnswer { termination_policy_types: Some(names.into()) }
}

/// The zone of a subnet, as the network has it.
pub(super) fn zone(ctx: &Context, snapshot: &Snapshot, group: &AutoScalingGroup, subnet: &str) -> Option<String> {
    crate::loops::scaling::zone_of(ctx, snapshot, &group.scope, subnet)
}

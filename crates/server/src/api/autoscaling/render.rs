//! Groups, their instances and what was done, in AWS's form.

use super::groups;
use crate::context::Context;
use model::{Activity, ActivityKind, AutoScalingGroup, GroupMember, Machine, MachineState, Timestamp};
use shapes::autoscaling as aws;
use state::Snapshot;

/// AWS's, which no policy here has a use for.
const DEFAULT_COOLDOWN: i32 = 300;

pub(super) fn group(
    ctx: &Context,
    snapshot: &Snapshot,
    group: &AutoScalingGroup,
    with_instances: bool,
) -> aws::AutoScalingGroup {
    let number = |number: u32| i32::try_from(number).ok();
    let mut zones: Vec<String> =
        group.subnets.iter().filter_map(|subnet| groups::zone(ctx, snapshot, group, subnet)).collect();
    zones.sort();
    zones.dedup();
    let members = with_instances.then(|| snapshot.members(&group.scope, &group.name).map(|machine| instance(machine)));
    aws::AutoScalingGroup {
        auto_scaling_group_name: Some(group.name.clone()),
        auto_scaling_group_arn: Some(group.arn()),
        launch_template: Some(aws::LaunchTemplateSpecification {
            launch_template_id: Some(group.template.id.clone()),
            launch_template_name: Some(group.template.name.clone()),
            version: Some(group.template.version.text()),
        }),
        min_size: number(group.min),
        max_size: number(group.max),
        desired_capacity: number(group.desired),
        default_cooldown: Some(DEFAULT_COOLDOWN),
        availability_zones: Some(zones),
        vpc_zone_identifier: Some(group.subnets.join(",")),
        health_check_type: Some("EC2".to_owned()),
        health_check_grace_period: number(group.health_check_grace),
        termination_policies: Some(group.termination_policies.iter().map(|one| one.as_str().to_owned()).collect()),
        new_instances_protected_from_scale_in: Some(group.protects_new),
        instances: Some(members.into_iter().flatten().collect()),
        tags: Some(tags(group)),
        created_time: time(group.created_at),
        status: group.deleting.then(|| "Delete in progress".to_owned()),
        enabled_metrics: Some(Vec::new()),
        suspended_processes: Some(Vec::new()),
        load_balancer_names: Some(Vec::new()),
        target_group_arns: Some(Vec::new()),
        ..aws::AutoScalingGroup::default()
    }
}

pub(super) fn tags(group: &AutoScalingGroup) -> Vec<aws::TagDescription> {
    let tag = |(key, tag): (&String, &model::GroupTag)| aws::TagDescription {
        resource_id: Some(group.name.clone()),
        resource_type: Some("auto-scaling-group".to_owned()),
        key: Some(key.clone()),
        value: Some(tag.value.clone()),
        propagate_at_launch: Some(tag.propagate),
    };
    group.tags.iter().map(tag).collect()
}

/// How far an instance has come, and whether it is well.
fn life(machine: &Machine, member: &GroupMember) -> (&'static str, &'static str) {
    match machine.state {
        MachineState::Pending => ("Pending", "Healthy"),
        MachineState::Running if member.draining_since.is_some() => ("Terminating:Wait", "Healthy"),
        MachineState::Running => ("InService", "Healthy"),
        MachineState::Stopping | MachineState::Stopped => ("InService", "Unhealthy"),
        MachineState::ShuttingDown => ("Terminating", "Unhealthy"),
        MachineState::Terminated => ("Terminated", "Unhealthy"),
    }
}

fn template(member: &GroupMember) -> aws::LaunchTemplateSpecification {
    aws::LaunchTemplateSpecification {
        launch_template_id: Some(member.template_id.clone()),
        launch_template_name: Some(member.template_name.clone()),
        version: Some(member.template_version.to_string()),
    }
}

fn instance(machine: &Machine) -> aws::Instance {
    let Some(member) = machine.group.as_deref() else { return aws::Instance::default() };
    let (lifecycle, health) = life(machine, member);
    aws::Instance {
        instance_id: Some(machine.id.clone()),
        instance_type: Some(machine.instance_type.clone()),
        availability_zone: Some(machine.availability_zone.clone()),
        lifecycle_state: Some(lifecycle.to_owned()),
        health_status: Some(health.to_owned()),
        launch_template: Some(template(member)),
        protected_from_scale_in: Some(member.protected),
        ..aws::Instance::default()
    }
}

pub(super) fn details(machine: &Machine) -> Option<aws::AutoScalingInstanceDetails> {
    let member = machine.group.as_deref()?;
    let (lifecycle, health) = life(machine, member);
    Some(aws::AutoScalingInstanceDetails {
        instance_id: Some(machine.id.clone()),
        instance_type: Some(machine.instance_type.clone()),
        auto_scaling_group_name: Some(member.name.clone()),
        availability_zone: Some(machine.availability_zone.clone()),
        lifecycle_state: Some(lifecycle.to_owned()),
        // AWS: here, and only here, the word is in capitals.
        health_status: Some(health.to_uppercase()),
        launch_template: Some(template(member)),
        protected_from_scale_in: Some(member.protected),
        ..aws::AutoScalingInstanceDetails::default()
    })
}

pub(super) fn activity(group: &AutoScalingGroup, activity: &Activity) -> aws::Activity {
    let (status, progress) = match (&activity.failure, activity.ended_at) {
        (Some(_), _) => ("Failed", 100),
        (None, Some(_)) => ("Successful", 100),
        (None, None) => ("InProgress", 50),
    };
    let description = match activity.kind {
        ActivityKind::Launch if activity.instance.is_empty() => "Launching a new EC2 instance".to_owned(),
        ActivityKind::Launch => format!("Launching a new EC2 instance: {}", activity.instance),
        ActivityKind::Terminate => format!("Terminating EC2 instance: {}", activity.instance),
    };
    aws::Activity {
        activity_id: Some(activity.id.clone()),
        auto_scaling_group_name: Some(group.name.clone()),
        auto_scaling_group_arn: Some(group.arn()),
        description: Some(description),
        cause: Some(activity.cause.clone()),
        start_time: time(activity.started_at),
        end_time: activity.ended_at.and_then(time),
        status_code: Some(status.to_owned()),
        status_message: activity.failure.clone(),
        progress: Some(progress),
        ..aws::Activity::default()
    }
}

fn time(at: Timestamp) -> Option<::wire::Timestamp> {
    Some(::wire::Timestamp::from_millis(at.0))
}

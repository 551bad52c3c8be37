//! The Auto Scaling room: groups of local instances, as far as capacity providers and their owners need them. A group is a record;
//! `loops::scaling` keeps it at its size. Launch configurations, scaling policies, lifecycle hooks, warm pools and metrics are
//! refused by name.

mod activities;
mod groups;
mod instances;
mod parse;
mod render;
mod tags;

use super::{
    ApiError, answer,
    honoured::{Row, row},
    no_arm, read,
};
use crate::context::{Caller, Context};
use model::AutoScalingGroup;
use serde_json::Value;
use state::{Command, CommitError, Rejected, ScalingChange, Snapshot};

pub(crate) const HONOURED: &[Row] = &[
    row(
        "CreateAutoScalingGroup",
        &[
            "AutoScalingGroupName",
            "DesiredCapacity",
            "HealthCheckGracePeriod",
            "HealthCheckType",
            "LaunchTemplate.*",
            "MaxSize",
            "MinSize",
            "NewInstancesProtectedFromScaleIn",
            "Tags.*",
            "TerminationPolicies",
            "VPCZoneIdentifier",
        ],
    ),
    row(
        "UpdateAutoScalingGroup",
        &[
            "AutoScalingGroupName",
            "DesiredCapacity",
            "HealthCheckGracePeriod",
            "HealthCheckType",
            "LaunchTemplate.*",
            "MaxSize",
            "MinSize",
            "NewInstancesProtectedFromScaleIn",
            "TerminationPolicies",
            "VPCZoneIdentifier",
        ],
    ),
    row("DeleteAutoScalingGroup", &["AutoScalingGroupName", "ForceDelete"]),
    row(
        "DescribeAutoScalingGroups",
        &["AutoScalingGroupNames", "Filters.*", "IncludeInstances", "MaxRecords", "NextToken"],
    ),
    row("DescribeAutoScalingInstances", &["InstanceIds", "MaxRecords", "NextToken"]),
    row("DescribeScalingActivities", &["ActivityIds", "AutoScalingGroupName", "MaxRecords", "NextToken"]),
    row("DescribeTerminationPolicyTypes", &[]),
    row("SetDesiredCapacity", &["AutoScalingGroupName", "DesiredCapacity", "HonorCooldown"]),
    row("SetInstanceProtection", &["AutoScalingGroupName", "InstanceIds", "ProtectedFromScaleIn"]),
    row("TerminateInstanceInAutoScalingGroup", &["InstanceId", "ShouldDecrementDesiredCapacity"]),
    row("CreateOrUpdateTags", &["Tags.*"]),
    row("DeleteTags", &["Tags.*"]),
    row("DescribeTags", &["Filters.*", "MaxRecords", "NextToken"]),
];

/// How often a change is decided anew when the group moved under it.
const TRIES: usize = 64;

/// Answers one operation of Auto Scaling.
pub(crate) async fn dispatch(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateAutoScalingGroup" => answer(groups::create(ctx, caller, read(input)?).await),
        "UpdateAutoScalingGroup" => answer(groups::update(ctx, caller, read(input)?).await),
        "DeleteAutoScalingGroup" => answer(groups::delete(ctx, caller, read(input)?).await),
        "SetDesiredCapacity" => answer(groups::set_desired(ctx, caller, read(input)?).await),
        "DescribeAutoScalingGroups" => answer(groups::describe(ctx, caller, &read(input)?)),
        "DescribeTerminationPolicyTypes" => answer(Ok(groups::policy_types())),
        "DescribeAutoScalingInstances" => answer(instances::describe(ctx, caller, &read(input)?)),
        "SetInstanceProtection" => answer(instances::protect(ctx, caller, read(input)?).await),
        "TerminateInstanceInAutoScalingGroup" => answer(instances::terminate(ctx, caller, read(input)?).await),
        "DescribeScalingActivities" => answer(activities::describe(ctx, caller, &read(input)?)),
        "CreateOrUpdateTags" => answer(tags::create(ctx, caller, read(input)?).await),
        "DeleteTags" => answer(tags::delete(ctx, caller, read(input)?).await),
        "DescribeTags" => answer(tags::describe(ctx, caller, &read(input)?)),
        other => Err(no_arm(other)),
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", message)
}

/// The refusal of a value that is known and not honoured.
fn not_honoured(what: &str) -> ApiError {
    invalid(format!("Longshore does not honour {what} yet; remove it or see docs/capacity-providers.md."))
}

fn find<'a>(snapshot: &'a Snapshot, caller: &Caller, name: &str) -> Result<&'a AutoScalingGroup, ApiError> {
    let known = snapshot.scaling_group(&caller.scope, name);
    known.map(|group| &**group).ok_or_else(|| ApiError::from(Rejected::ScalingGroupNotFound(name.to_owned())))
}

/// Changes a group as it is now, unless it is on its way out; what the decision answered.
async fn change<T>(
    ctx: &Context,
    caller: &Caller,
    name: &str,
    decide: impl Fn(&Snapshot, &AutoScalingGroup) -> Result<(ScalingChange, T), ApiError>,
) -> Result<T, ApiError> {
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        let group = find(&snapshot, caller, name)?;
        if group.deleting {
            return Err(invalid(format!("AutoScalingGroup by this name is pending delete - The group '{name}'.")));
        }
        let (change, answer) = decide(&snapshot, group)?;
        match ctx.store.commit(Command::ChangeScalingGroup(Box::new(change))).await {
            Ok(_) => return Ok(answer),
            Err(CommitError::Rejected(Rejected::ScalingGroupChanged(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Rejected::ScalingGroupChanged(name.to_owned()).into())
}

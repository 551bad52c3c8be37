//! The EC2 room: a default VPC with a subnet per zone, derived and read-only, and local instances under EC2's names.

mod filter;
mod instances;
mod network;
mod run;
mod types;
mod user_data;

use super::{
    ApiError, answer,
    honoured::{Row, row},
    no_arm, read,
};
use crate::context::{Caller, Context};
use model::vpc::DefaultVpc;
use serde_json::Value;

pub(crate) const HONOURED: &[Row] = &[
    row("DescribeRegions", &["AllRegions", "DryRun", "Filters.*", "RegionNames"]),
    row("DescribeAvailabilityZones", &["AllAvailabilityZones", "DryRun", "Filters.*", "ZoneIds", "ZoneNames"]),
    // The smallest page a client may ask for takes all a default VPC has, so MaxResults is kept to; there is no next page.
    row("DescribeVpcs", &["DryRun", "Filters.*", "MaxResults", "VpcIds"]),
    row("DescribeSubnets", &["DryRun", "Filters.*", "MaxResults", "SubnetIds"]),
    row("DescribeSecurityGroups", &["DryRun", "Filters.*", "GroupIds", "GroupNames", "MaxResults"]),
    row("DescribeInstanceTypes", &["DryRun", "Filters.*", "InstanceTypes"]),
    row("DescribeInstanceTypeOfferings", &["DryRun", "Filters.*", "LocationType"]),
    row("DescribeInstances", &["DryRun", "Filters.*", "InstanceIds", "MaxResults", "NextToken"]),
    row("DescribeTags", &["DryRun", "Filters.*", "MaxResults", "NextToken"]),
    row(
        "RunInstances",
        &[
            "ClientToken",
            "DryRun",
            // Taken as information: containers get no role's credentials yet, so what the role allows changes nothing.
            "IamInstanceProfile.*",
            "ImageId",
            "InstanceType",
            "KeyName",
            "MaxCount",
            "MinCount",
            "Placement.AvailabilityZone",
            "SecurityGroupIds",
            "SecurityGroups",
            "SubnetId",
            "TagSpecifications.*",
            "UserData",
        ],
    ),
    row("StartInstances", &["DryRun", "InstanceIds"]),
    row("StopInstances", &["DryRun", "Force", "InstanceIds"]),
    row("TerminateInstances", &["DryRun", "InstanceIds"]),
];

/// Answers one operation of EC2.
pub(crate) async fn dispatch(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    if input.get("DryRun").and_then(Value::as_bool) == Some(true) {
        let text = "Request would have succeeded, but DryRun flag is set.";
        return Err(ApiError::new("DryRunOperation", text).with_status(412));
    }
    match operation {
        "DescribeRegions" => answer(network::regions(ctx, caller, read(input)?)),
        "DescribeAvailabilityZones" => answer(network::zones(ctx, caller, &read(input)?)),
        "DescribeVpcs" => answer(network::vpcs(ctx, caller, &read(input)?)),
        "DescribeSubnets" => answer(network::subnets(ctx, caller, read(input)?)),
        "DescribeSecurityGroups" => answer(network::security_groups(ctx, caller, &read(input)?)),
        "DescribeInstanceTypes" => answer(types::describe(read(input)?)),
        "DescribeInstanceTypeOfferings" => answer(types::offerings(ctx, caller, read(input)?)),
        "DescribeInstances" => answer(instances::describe(ctx, caller, read(input)?)),
        "DescribeTags" => answer(instances::describe_tags(ctx, caller, &read(input)?)),
        "RunInstances" => answer(run::run(ctx, caller, read(input)?).await),
        "StartInstances" => answer(instances::start(ctx, caller, read(input)?).await),
        "StopInstances" => answer(instances::stop(ctx, caller, read(input)?).await),
        "TerminateInstances" => answer(instances::terminate(ctx, caller, read(input)?).await),
        other => Err(no_arm(other)),
    }
}

fn default_vpc(ctx: &Context, caller: &Caller) -> DefaultVpc {
    DefaultVpc::of(&caller.scope, ctx.config.vpc_cidr)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValue", message)
}

/// What instances run on: the host itself, whatever an instance type is in AWS.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

//! The EC2 room: VPCs with all that is in them, as records whose laws are `model::network`'s, and local instances under EC2's
//! names. What is recorded of a network moves no packet yet (docs/vpc.md).

pub(crate) mod addresses;
mod filter;
pub(crate) mod gateways;
mod instances;
pub(crate) mod interfaces;
pub(crate) mod launch_templates;
pub(super) mod network;
mod regions;
pub(crate) mod route_tables;
pub(crate) mod rules;
mod run;
pub(crate) mod security_groups;
pub(crate) mod subnets;
pub(crate) mod tags;
mod token;
mod types;
mod user_data;
pub(crate) mod vpcs;

pub(crate) use network::{change as change_network, of_scope as network_of};
pub(crate) use run::{DEFAULT_TYPE, MAX_LAUNCH};
pub(crate) use user_data::cluster_of;

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
    row("DescribeInstanceTypes", &["DryRun", "Filters.*", "InstanceTypes"]),
    row("DescribeInstanceTypeOfferings", &["DryRun", "Filters.*", "LocationType"]),
    row("DescribeInstances", &["DryRun", "Filters.*", "InstanceIds", "MaxResults", "NextToken"]),
    row(
        "RunInstances",
        &[
            "ClientToken",
            "DryRun",
            "IamInstanceProfile.*",
            "ImageId",
            "InstanceType",
            "KeyName",
            "MaxCount",
            "MetadataOptions.HttpEndpoint",
            "MetadataOptions.HttpPutResponseHopLimit",
            "MetadataOptions.HttpTokens",
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
        "DescribeRegions" => answer(regions::regions(ctx, caller, read(input)?)),
        "DescribeAvailabilityZones" => answer(regions::zones(ctx, caller, &read(input)?)),
        "DescribeAccountAttributes" => answer(addresses::account_attributes(ctx, caller, &read(input)?)),
        "DescribeInstanceTypes" => answer(types::describe(read(input)?)),
        "DescribeInstanceTypeOfferings" => answer(types::offerings(ctx, caller, read(input)?)),
        "DescribeInstances" => answer(instances::describe(ctx, caller, read(input)?)),
        "RunInstances" => answer(run::run(ctx, caller, read(input)?).await),
        "StartInstances" => answer(instances::start(ctx, caller, read(input)?).await),
        "StopInstances" => answer(instances::stop(ctx, caller, read(input)?).await),
        "TerminateInstances" => answer(instances::terminate(ctx, caller, read(input)?).await),
        "CreateTags" => answer(tags::create(ctx, caller, read(input)?).await),
        "DeleteTags" => answer(tags::delete(ctx, caller, read(input)?).await),
        "DescribeTags" => answer(tags::describe(ctx, caller, &read(input)?)),
        other if is_of(launch_templates::HONOURED, other) => templates(ctx, caller, other, input).await,
        other if is_of_groups(other) => groups(ctx, caller, other, input).await,
        other if is_of_gateways(other) => ways(ctx, caller, other, input).await,
        other => places(ctx, caller, other, input).await,
    }
}

fn is_of(rows: &[Row], operation: &str) -> bool {
    rows.iter().any(|row| row.operation == operation)
}

fn is_of_groups(operation: &str) -> bool {
    is_of(security_groups::HONOURED, operation) || is_of(rules::HONOURED, operation)
}

fn is_of_gateways(operation: &str) -> bool {
    is_of(route_tables::HONOURED, operation) || is_of(gateways::HONOURED, operation)
}

/// VPCs, subnets, and what has addresses in them.
async fn places(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateVpc" => answer(vpcs::create(ctx, caller, read(input)?).await),
        "CreateDefaultVpc" => answer(vpcs::create_default(ctx, caller).await),
        "DeleteVpc" => answer(vpcs::delete(ctx, caller, read(input)?).await),
        "DescribeVpcs" => answer(vpcs::describe(ctx, caller, &read(input)?)),
        "DescribeVpcAttribute" => answer(vpcs::describe_attribute(ctx, caller, read(input)?)),
        "ModifyVpcAttribute" => answer(vpcs::modify_attribute(ctx, caller, read(input)?).await),
        "DescribeNetworkAcls" => answer(vpcs::describe_acls(ctx, caller, &read(input)?)),
        "CreateSubnet" => answer(subnets::create(ctx, caller, read(input)?).await),
        "DeleteSubnet" => answer(subnets::delete(ctx, caller, read(input)?).await),
        "DescribeSubnets" => answer(subnets::describe(ctx, caller, &read(input)?)),
        "ModifySubnetAttribute" => answer(subnets::modify_attribute(ctx, caller, read(input)?).await),
        "CreateNetworkInterface" => answer(interfaces::create(ctx, caller, read(input)?).await),
        "DeleteNetworkInterface" => answer(interfaces::delete(ctx, caller, read(input)?).await),
        "DescribeNetworkInterfaces" => answer(interfaces::describe(ctx, caller, read(input)?)),
        "DescribeNetworkInterfaceAttribute" => answer(interfaces::describe_attribute(ctx, caller, read(input)?)),
        "ModifyNetworkInterfaceAttribute" => answer(interfaces::modify_attribute(ctx, caller, read(input)?).await),
        "AllocateAddress" => answer(addresses::allocate(ctx, caller, read(input)?).await),
        "ReleaseAddress" => answer(addresses::release(ctx, caller, read(input)?).await),
        "DescribeAddresses" => answer(addresses::describe(ctx, caller, &read(input)?)),
        "DescribeAddressesAttribute" => answer(addresses::describe_attribute(ctx, caller, &read(input)?)),
        "AssociateAddress" => answer(addresses::associate(ctx, caller, read(input)?).await),
        "DisassociateAddress" => answer(addresses::disassociate(ctx, caller, read(input)?).await),
        other => Err(no_arm(other)),
    }
}

/// Route tables and gateways.
async fn ways(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateRouteTable" => answer(route_tables::create(ctx, caller, read(input)?).await),
        "DeleteRouteTable" => answer(route_tables::delete(ctx, caller, read(input)?).await),
        "DescribeRouteTables" => answer(route_tables::describe(ctx, caller, &read(input)?)),
        "AssociateRouteTable" => answer(route_tables::associate(ctx, caller, read(input)?).await),
        "DisassociateRouteTable" => answer(route_tables::disassociate(ctx, caller, read(input)?).await),
        "ReplaceRouteTableAssociation" => answer(route_tables::replace_association(ctx, caller, read(input)?).await),
        "CreateRoute" => answer(route_tables::create_route(ctx, caller, read(input)?).await),
        "ReplaceRoute" => answer(route_tables::replace_route(ctx, caller, read(input)?).await),
        "DeleteRoute" => answer(route_tables::delete_route(ctx, caller, read(input)?).await),
        "CreateInternetGateway" => answer(gateways::create_internet(ctx, caller, read(input)?).await),
        "DeleteInternetGateway" => answer(gateways::delete_internet(ctx, caller, read(input)?).await),
        "DescribeInternetGateways" => answer(gateways::describe_internet(ctx, caller, &read(input)?)),
        "AttachInternetGateway" => answer(gateways::attach_internet(ctx, caller, read(input)?).await),
        "DetachInternetGateway" => answer(gateways::detach_internet(ctx, caller, read(input)?).await),
        "CreateNatGateway" => answer(gateways::create_nat(ctx, caller, read(input)?).await),
        "DeleteNatGateway" => answer(gateways::delete_nat(ctx, caller, read(input)?).await),
        "DescribeNatGateways" => answer(gateways::describe_nat(ctx, caller, &read(input)?)),
        other => Err(no_arm(other)),
    }
}

/// Launch templates.
async fn templates(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateLaunchTemplate" => answer(launch_templates::create(ctx, caller, read(input)?).await),
        "CreateLaunchTemplateVersion" => answer(launch_templates::create_version(ctx, caller, read(input)?).await),
        "DeleteLaunchTemplate" => answer(launch_templates::delete(ctx, caller, read(input)?).await),
        "DescribeLaunchTemplates" => answer(launch_templates::describe(ctx, caller, &read(input)?)),
        "DescribeLaunchTemplateVersions" => answer(launch_templates::describe_versions(ctx, caller, &read(input)?)),
        other => Err(no_arm(other)),
    }
}

/// Security groups and their rules.
async fn groups(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateSecurityGroup" => answer(security_groups::create(ctx, caller, read(input)?).await),
        "DeleteSecurityGroup" => answer(security_groups::delete(ctx, caller, read(input)?).await),
        "DescribeSecurityGroups" => answer(security_groups::describe(ctx, caller, &read(input)?)),
        "AuthorizeSecurityGroupIngress" => answer(rules::authorize_ingress(ctx, caller, read(input)?).await),
        "AuthorizeSecurityGroupEgress" => answer(rules::authorize_egress(ctx, caller, read(input)?).await),
        "RevokeSecurityGroupIngress" => answer(rules::revoke_ingress(ctx, caller, read(input)?).await),
        "RevokeSecurityGroupEgress" => answer(rules::revoke_egress(ctx, caller, read(input)?).await),
        "DescribeSecurityGroupRules" => answer(rules::describe(ctx, caller, &read(input)?)),
        "ModifySecurityGroupRules" => answer(rules::modify(ctx, caller, read(input)?).await),
        "UpdateSecurityGroupRuleDescriptionsIngress" => {
            answer(rules::update_ingress_descriptions(ctx, caller, read(input)?).await)
        }
        "UpdateSecurityGroupRuleDescriptionsEgress" => {
            answer(rules::update_egress_descriptions(ctx, caller, read(input)?).await)
        }
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

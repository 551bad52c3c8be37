//! Subnets.

use super::{
    filter, invalid,
    network::{self, required},
    tags,
};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::{
    Scope,
    network::{Network, NewSubnet, Subnet, SubnetId, VpcId, cidr},
    vpc::zones,
};
use shapes::ec2 as aws;
use state::Snapshot;
use wire::NoOutput;

pub(crate) const HONOURED: &[Row] = &[
    row(
        "CreateSubnet",
        &["AvailabilityZone", "AvailabilityZoneId", "CidrBlock", "DryRun", "TagSpecifications.*", "VpcId"],
    ),
    row("DeleteSubnet", &["DryRun", "SubnetId"]),
    row("DescribeSubnets", &["DryRun", "Filters.*", "MaxResults", "NextToken", "SubnetIds"]),
    row("ModifySubnetAttribute", &["MapPublicIpOnLaunch.*", "SubnetId"]),
];

const FILTERS: &[&str] = &[
    "availability-zone",
    "availability-zone-id",
    "availabilityZone",
    "availabilityZoneId",
    "available-ip-address-count",
    "cidr",
    "cidr-block",
    "cidrBlock",
    "default-for-az",
    "defaultForAz",
    "map-public-ip-on-launch",
    "owner-id",
    "state",
    "subnet-arn",
    "subnet-id",
    "tag-key",
    "tag:*",
    "vpc-id",
];

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateSubnetRequest,
) -> Result<aws::CreateSubnetResult, ApiError> {
    let new = NewSubnet {
        vpc: VpcId::parse(required("vpcId", request.vpc_id)?)?,
        cidr: cidr::parameter("cidrBlock", request.cidr_block.as_deref())?,
        availability_zone: zone(&caller.scope, request.availability_zone, request.availability_zone_id)?,
        tags: tags::specified(request.tag_specifications, "subnet")?,
    };
    let (subnet, all) = network::change(ctx, caller, |edit| edit.create_subnet(new.clone())).await?;
    Ok(aws::CreateSubnetResult { subnet: Some(render(caller, &ctx.store.snapshot(), &all, &subnet)) })
}

/// The zone that is named, or the region's first.
fn zone(scope: &Scope, name: Option<String>, id: Option<String>) -> Result<String, ApiError> {
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    let found = match (set(name), set(id)) {
        (Some(name), None) => {
            zones(scope).find(|zone| zone.0 == name).ok_or_else(|| bad_zone(scope, "availabilityZone", &name))
        }
        (None, Some(id)) => {
            zones(scope).find(|zone| zone.1 == id).ok_or_else(|| bad_zone(scope, "availabilityZoneId", &id))
        }
        (Some(_), Some(_)) => {
            let text = "Only one of availabilityZone and availabilityZoneId can be specified.";
            Err(ApiError::new("InvalidParameterCombination", text))
        }
        (None, None) => zones(scope).next().ok_or_else(|| ApiError::server("a region without zones")),
    };
    found.map(|zone| zone.0)
}

fn bad_zone(scope: &Scope, parameter: &str, value: &str) -> ApiError {
    let known: Vec<String> = zones(scope).map(|(name, id)| if parameter.ends_with("Id") { id } else { name }).collect();
    invalid(format!(
        "Value ({value}) for parameter {parameter} is invalid. Subnets can currently only be created in the following \
         availability zones: {}.",
        known.join(", ")
    ))
}

/// AWS: a zone has another id for every account; here it is the same for all.
pub(super) fn zone_id(scope: &Scope, name: &str) -> Option<String> {
    zones(scope).find(|zone| zone.0 == name).map(|zone| zone.1)
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteSubnetRequest,
) -> Result<NoOutput, ApiError> {
    let id = SubnetId::parse(required("subnetId", request.subnet_id)?)?;
    network::change(ctx, caller, |edit| edit.delete_subnet(&id)).await?;
    Ok(NoOutput {})
}

pub(super) async fn modify_attribute(
    ctx: &Context,
    caller: &Caller,
    request: aws::ModifySubnetAttributeRequest,
) -> Result<NoOutput, ApiError> {
    let id = SubnetId::parse(required("subnetId", request.subnet_id)?)?;
    let map = request.map_public_ip_on_launch.and_then(|attribute| attribute.value);
    let map = map.ok_or_else(|| ApiError::from(model::network::Refusal::Missing("mapPublicIpOnLaunch")))?;
    network::change(ctx, caller, |edit| edit.map_public_ip(&id, map)).await?;
    Ok(NoOutput {})
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeSubnetsRequest,
) -> Result<aws::DescribeSubnetsResult, ApiError> {
    let snapshot = ctx.store.snapshot();
    let all = network::seen(ctx, caller, &snapshot);
    let named = request.subnet_ids.as_deref();
    let asked = network::chosen(named, SubnetId::parse, |id| all.find_subnet(id), all.subnets())?;
    let kept = filter::select(asked, request.filters.as_deref(), FILTERS, |subnet, name| match name {
        "vpc-id" => vec![subnet.vpc.to_string()],
        "subnet-id" => vec![subnet.id.to_string()],
        "subnet-arn" => vec![network::arn(caller, "subnet", subnet.id.as_str())],
        "availability-zone" | "availabilityZone" => vec![subnet.availability_zone.clone()],
        "availability-zone-id" | "availabilityZoneId" => {
            zone_id(&caller.scope, &subnet.availability_zone).into_iter().collect()
        }
        "available-ip-address-count" => vec![room(&snapshot, &all, subnet).to_string()],
        "cidr-block" | "cidr" | "cidrBlock" => vec![subnet.cidr.to_string()],
        "default-for-az" | "defaultForAz" => vec![subnet.default_for_az.to_string()],
        "map-public-ip-on-launch" => vec![subnet.map_public_ip.to_string()],
        "state" => vec!["available".to_owned()],
        "owner-id" => vec![subnet.scope.account.to_string()],
        tag => filter::of_tags(&subnet.tags, tag),
    })?;
    let token = request.next_token.as_deref();
    let (shown, next_token) =
        network::page("DescribeSubnets", caller, request.max_results, token, kept, |subnet| place(subnet))?;
    let subnets = Some(shown.into_iter().map(|subnet| render(caller, &snapshot, &all, subnet)).collect());
    Ok(aws::DescribeSubnetsResult { subnets, next_token })
}

/// Subnets are listed by VPC and address, so that the zones of the default one come in their order.
fn place(subnet: &Subnet) -> String {
    format!("{}/{:08x}", subnet.vpc, u32::from(subnet.cidr.network()))
}

/// How many addresses are left: what interfaces and local instances have is gone. Local instances of all regions share one
/// host's network, so all of them count.
fn room(snapshot: &Snapshot, all: &Network, subnet: &Subnet) -> usize {
    let is_default = all.vpc(&subnet.vpc).is_some_and(|vpc| vpc.is_default);
    let machines = snapshot.all_machines().filter(|m| is_default && subnet.cidr.contains(&m.private_ip)).count();
    cidr::usable(subnet.cidr).len().saturating_sub(all.taken_in(&subnet.id).count() + machines)
}

fn render(caller: &Caller, snapshot: &Snapshot, all: &Network, subnet: &Subnet) -> aws::Subnet {
    aws::Subnet {
        subnet_id: Some(subnet.id.to_string()),
        subnet_arn: Some(network::arn(caller, "subnet", subnet.id.as_str())),
        vpc_id: Some(subnet.vpc.to_string()),
        availability_zone: Some(subnet.availability_zone.clone()),
        availability_zone_id: zone_id(&caller.scope, &subnet.availability_zone),
        cidr_block: Some(subnet.cidr.to_string()),
        available_ip_address_count: i32::try_from(room(snapshot, all, subnet)).ok(),
        default_for_az: Some(subnet.default_for_az),
        map_public_ip_on_launch: Some(subnet.map_public_ip),
        map_customer_owned_ip_on_launch: Some(false),
        assign_ipv6_address_on_creation: Some(false),
        enable_dns64: Some(false),
        ipv6_native: Some(false),
        private_dns_name_options_on_launch: Some(aws::PrivateDnsNameOptionsOnLaunch {
            hostname_type: Some("ip-name".to_owned()),
            enable_resource_name_dns_a_record: Some(false),
            enable_resource_name_dns_aaaa_record: Some(false),
        }),
        owner_id: Some(subnet.scope.account.to_string()),
        state: Some("available".to_owned()),
        tags: tags::render(&subnet.tags),
        ..aws::Subnet::default()
    }
}

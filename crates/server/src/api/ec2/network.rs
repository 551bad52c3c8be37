//! Regions, zones and the default VPC: what there is without anybody making it.

use super::{default_vpc, filter, invalid};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::vpc::{DefaultVpc, Subnet};
use shapes::ec2 as aws;
use std::collections::BTreeSet;

/// Addresses of each subnet that EC2 keeps for itself: the first four and the last.
pub(super) const RESERVED_ADDRESSES: usize = 5;

fn yes(truth: bool) -> Vec<String> {
    vec![truth.to_string()]
}

/// Every name of a region's form is served; shown are the server's own, the caller's and those that hold something.
pub(super) fn regions(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeRegionsRequest,
) -> Result<aws::DescribeRegionsResult, ApiError> {
    filter::known(request.filters.as_deref(), &["region-name", "endpoint", "opt-in-status"])?;
    let snapshot = ctx.store.snapshot();
    let mut names: BTreeSet<String> = snapshot.scopes().map(|scope| scope.region.to_string()).collect();
    names.insert(ctx.config.region.to_string());
    names.insert(caller.scope.region.to_string());
    if let Some(named) = request.region_names.filter(|named| !named.is_empty()) {
        for name in &named {
            if model::Region::parse(name.as_str()).is_err() {
                return Err(invalid(format!("Invalid region name: {name}")));
            }
        }
        names = named.into_iter().collect();
    }
    let endpoint = |name: &str| format!("ec2.{name}.amazonaws.com");
    let kept = filter::keep(names, request.filters.as_deref(), |name, filter| match filter {
        "region-name" => Some(vec![name.clone()]),
        "endpoint" => Some(vec![endpoint(name)]),
        "opt-in-status" => Some(vec!["opt-in-not-required".to_owned()]),
        _ => None,
    })?;
    let regions = kept.into_iter().map(|name| aws::Region {
        endpoint: Some(endpoint(&name)),
        opt_in_status: Some("opt-in-not-required".to_owned()),
        region_name: Some(name),
        ..aws::Region::default()
    });
    Ok(aws::DescribeRegionsResult { regions: Some(regions.collect()) })
}

pub(super) fn zones(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeAvailabilityZonesRequest,
) -> Result<aws::DescribeAvailabilityZonesResult, ApiError> {
    let vpc = default_vpc(ctx, caller);
    let region = caller.scope.region.to_string();
    check_named(
        request.zone_names.as_deref(),
        &vpc,
        |s| &s.availability_zone,
        |z| invalid(format!("Invalid availability zone: [{z}]")),
    )?;
    check_named(
        request.zone_ids.as_deref(),
        &vpc,
        |s| &s.availability_zone_id,
        |z| invalid(format!("Invalid availability zone-id: [{z}]")),
    )?;
    let is_named =
        |named: &Option<Vec<String>>, is: &String| named.as_ref().is_none_or(|n| n.is_empty() || n.contains(is));
    let named = vpc.subnets.iter().filter(|s| {
        is_named(&request.zone_names, &s.availability_zone) && is_named(&request.zone_ids, &s.availability_zone_id)
    });
    let kept = filter::keep(named, request.filters.as_deref(), |subnet, filter| {
        Some(vec![match filter {
            "zone-name" => subnet.availability_zone.clone(),
            "zone-id" => subnet.availability_zone_id.clone(),
            "region-name" | "group-name" => region.clone(),
            "state" => "available".to_owned(),
            "zone-type" => "availability-zone".to_owned(),
            "opt-in-status" => "opt-in-not-required".to_owned(),
            _ => return None,
        }])
    })?;
    let zones = kept.into_iter().map(|subnet| aws::AvailabilityZone {
        zone_name: Some(subnet.availability_zone.clone()),
        zone_id: Some(subnet.availability_zone_id.clone()),
        region_name: Some(region.clone()),
        group_name: Some(region.clone()),
        network_border_group: Some(region.clone()),
        opt_in_status: Some("opt-in-not-required".to_owned()),
        state: Some("available".to_owned()),
        zone_type: Some("availability-zone".to_owned()),
        messages: Some(Vec::new()),
        ..aws::AvailabilityZone::default()
    });
    Ok(aws::DescribeAvailabilityZonesResult { availability_zones: Some(zones.collect()) })
}

fn check_named(
    named: Option<&[String]>,
    vpc: &DefaultVpc,
    name: impl Fn(&Subnet) -> &String,
    refuse: impl Fn(&str) -> ApiError,
) -> Result<(), ApiError> {
    let unknown = named.unwrap_or_default().iter().find(|wanted| !vpc.subnets.iter().any(|s| name(s) == *wanted));
    unknown.map_or(Ok(()), |wanted| Err(refuse(wanted)))
}

pub(super) fn vpcs(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeVpcsRequest,
) -> Result<aws::DescribeVpcsResult, ApiError> {
    let vpc = default_vpc(ctx, caller);
    if let Some(id) = request.vpc_ids.iter().flatten().find(|id| **id != vpc.id) {
        return Err(ApiError::new("InvalidVpcID.NotFound", format!("The vpc ID '{id}' does not exist")));
    }
    let owner = caller.account().to_string();
    let kept = filter::keep([&vpc], request.filters.as_deref(), |vpc, filter| {
        Some(match filter {
            "vpc-id" => vec![vpc.id.clone()],
            "cidr" | "cidr-block-association.cidr-block" => vec![vpc.cidr.to_string()],
            "is-default" | "isDefault" => yes(true),
            "state" => vec!["available".to_owned()],
            "owner-id" => vec![owner.clone()],
            "tag-key" => Vec::new(),
            tag if tag.starts_with("tag:") => Vec::new(),
            _ => return None,
        })
    })?;
    let vpcs = kept.into_iter().map(|vpc| aws::Vpc {
        vpc_id: Some(vpc.id.clone()),
        cidr_block: Some(vpc.cidr.to_string()),
        cidr_block_association_set: Some(vec![aws::VpcCidrBlockAssociation {
            association_id: Some(vpc.id.replace("vpc-", "vpc-cidr-assoc-")),
            cidr_block: Some(vpc.cidr.to_string()),
            cidr_block_state: Some(aws::VpcCidrBlockState {
                state: Some("associated".to_owned()),
                ..aws::VpcCidrBlockState::default()
            }),
        }]),
        instance_tenancy: Some("default".to_owned()),
        is_default: Some(true),
        owner_id: Some(owner.clone()),
        state: Some("available".to_owned()),
        ..aws::Vpc::default()
    });
    Ok(aws::DescribeVpcsResult { vpcs: Some(vpcs.collect()), next_token: None })
}

pub(super) fn subnets(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeSubnetsRequest,
) -> Result<aws::DescribeSubnetsResult, ApiError> {
    let vpc = default_vpc(ctx, caller);
    check_named(request.subnet_ids.as_deref(), &vpc, |s| &s.id, unknown_subnet)?;
    let named = request.subnet_ids.unwrap_or_default();
    let owner = caller.account().to_string();
    let asked = vpc.subnets.iter().filter(|subnet| named.is_empty() || named.contains(&subnet.id));
    let kept = filter::keep(asked, request.filters.as_deref(), |subnet, filter| {
        Some(match filter {
            "vpc-id" => vec![vpc.id.clone()],
            "subnet-id" => vec![subnet.id.clone()],
            "availability-zone" | "availabilityZone" => vec![subnet.availability_zone.clone()],
            "availability-zone-id" | "availabilityZoneId" => vec![subnet.availability_zone_id.clone()],
            "cidr-block" | "cidr" | "cidrBlock" => vec![subnet.cidr.to_string()],
            "default-for-az" | "defaultForAz" | "map-public-ip-on-launch" => yes(true),
            "state" => vec!["available".to_owned()],
            "owner-id" => vec![owner.clone()],
            "tag-key" => Vec::new(),
            tag if tag.starts_with("tag:") => Vec::new(),
            _ => return None,
        })
    })?;
    let snapshot = ctx.store.snapshot();
    let subnets = kept.into_iter().map(|subnet| {
        let taken = snapshot.all_machines().filter(|m| subnet.cidr.contains(&m.private_ip)).count();
        let room = (1usize << (32 - subnet.cidr.prefix_len())).saturating_sub(RESERVED_ADDRESSES + taken);
        aws::Subnet {
            subnet_id: Some(subnet.id.clone()),
            subnet_arn: Some(format!("arn:aws:ec2:{}:{owner}:subnet/{}", caller.scope.region, subnet.id)),
            vpc_id: Some(vpc.id.clone()),
            availability_zone: Some(subnet.availability_zone.clone()),
            availability_zone_id: Some(subnet.availability_zone_id.clone()),
            cidr_block: Some(subnet.cidr.to_string()),
            available_ip_address_count: i32::try_from(room).ok(),
            default_for_az: Some(true),
            map_public_ip_on_launch: Some(true),
            assign_ipv6_address_on_creation: Some(false),
            owner_id: Some(owner.clone()),
            state: Some("available".to_owned()),
            ..aws::Subnet::default()
        }
    });
    Ok(aws::DescribeSubnetsResult { subnets: Some(subnets.collect()), next_token: None })
}

pub(super) fn unknown_subnet(id: &str) -> ApiError {
    ApiError::new("InvalidSubnetID.NotFound", format!("The subnet ID '{id}' does not exist"))
}

pub(super) fn unknown_group(id: &str) -> ApiError {
    ApiError::new("InvalidGroup.NotFound", format!("The security group '{id}' does not exist"))
}

pub(super) fn security_groups(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeSecurityGroupsRequest,
) -> Result<aws::DescribeSecurityGroupsResult, ApiError> {
    let vpc = default_vpc(ctx, caller);
    if let Some(id) = request.group_ids.iter().flatten().find(|id| **id != vpc.security_group_id) {
        return Err(unknown_group(id));
    }
    if let Some(name) = request.group_names.iter().flatten().find(|name| *name != "default") {
        return Err(unknown_group(name));
    }
    let owner = caller.account().to_string();
    let kept = filter::keep([&vpc.security_group_id], request.filters.as_deref(), |id, filter| {
        Some(match filter {
            "vpc-id" => vec![vpc.id.clone()],
            "group-id" => vec![(*id).clone()],
            "group-name" => vec!["default".to_owned()],
            "description" => vec![DESCRIPTION.to_owned()],
            "owner-id" => vec![owner.clone()],
            "tag-key" => Vec::new(),
            tag if tag.starts_with("tag:") => Vec::new(),
            _ => return None,
        })
    })?;
    // What is true of the fabric: everything goes everywhere until security groups can be made.
    let everything = || aws::IpPermission {
        ip_protocol: Some("-1".to_owned()),
        ip_ranges: Some(vec![aws::IpRange { cidr_ip: Some("0.0.0.0/0".to_owned()), description: None }]),
        ipv6_ranges: Some(Vec::new()),
        prefix_list_ids: Some(Vec::new()),
        user_id_group_pairs: Some(Vec::new()),
        ..aws::IpPermission::default()
    };
    let groups = kept.into_iter().map(|id| aws::SecurityGroup {
        group_id: Some(id.clone()),
        group_name: Some("default".to_owned()),
        description: Some(DESCRIPTION.to_owned()),
        ip_permissions: Some(vec![everything()]),
        ip_permissions_egress: Some(vec![everything()]),
        owner_id: Some(owner.clone()),
        security_group_arn: Some(format!("arn:aws:ec2:{}:{owner}:security-group/{id}", caller.scope.region)),
        vpc_id: Some(vpc.id.clone()),
        ..aws::SecurityGroup::default()
    });
    Ok(aws::DescribeSecurityGroupsResult { security_groups: Some(groups.collect()), next_token: None })
}

const DESCRIPTION: &str = "default VPC security group";

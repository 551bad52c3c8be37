//! Regions and zones: what there is without anybody making it.

use super::{default_vpc, filter, invalid};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::vpc::{DefaultVpc, Subnet};
use shapes::ec2 as aws;
use std::collections::BTreeSet;

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

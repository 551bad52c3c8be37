//! Internet gateways and NAT gateways. Both are there as soon as they are made.

use super::{
    filter,
    network::{self, not_honoured, required},
    tags, token,
};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::network::{
    AllocationId, Edit, InternetGateway, InternetGatewayId, NatGateway, NatGatewayId, Network, NewNatGateway, Refusal,
    SubnetId, VpcId,
};
use shapes::ec2 as aws;
use state::Snapshot;
use wire::NoOutput;

pub(crate) const HONOURED: &[Row] = &[
    row("CreateInternetGateway", &["DryRun", "TagSpecifications.*"]),
    row("DeleteInternetGateway", &["DryRun", "InternetGatewayId"]),
    row("DescribeInternetGateways", &["DryRun", "Filters.*", "InternetGatewayIds", "MaxResults", "NextToken"]),
    row("AttachInternetGateway", &["DryRun", "InternetGatewayId", "VpcId"]),
    row("DetachInternetGateway", &["DryRun", "InternetGatewayId", "VpcId"]),
    row(
        "CreateNatGateway",
        &[
            "AllocationId",
            "AvailabilityMode",
            "ClientToken",
            "ConnectivityType",
            "DryRun",
            "PrivateIpAddress",
            "SubnetId",
            "TagSpecifications.*",
        ],
    ),
    row("DeleteNatGateway", &["DryRun", "NatGatewayId"]),
    row("DescribeNatGateways", &["DryRun", "Filter.*", "MaxResults", "NatGatewayIds", "NextToken"]),
];

const INTERNET_FILTERS: &[&str] =
    &["attachment.state", "attachment.vpc-id", "internet-gateway-id", "owner-id", "tag-key", "tag:*"];
const NAT_FILTERS: &[&str] =
    &["connectivity-type", "nat-gateway-id", "state", "subnet-id", "tag-key", "tag:*", "vpc-id"];

pub(super) async fn create_internet(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateInternetGatewayRequest,
) -> Result<aws::CreateInternetGatewayResult, ApiError> {
    let tags = tags::specified(request.tag_specifications, "internet-gateway")?;
    let (gateway, _) = network::change(ctx, caller, |edit| edit.create_internet_gateway(tags.clone())).await?;
    Ok(aws::CreateInternetGatewayResult { internet_gateway: Some(render_internet(&gateway)) })
}

pub(super) async fn delete_internet(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteInternetGatewayRequest,
) -> Result<NoOutput, ApiError> {
    let id = InternetGatewayId::parse(required("internetGatewayId", request.internet_gateway_id)?)?;
    network::change(ctx, caller, |edit| edit.delete_internet_gateway(&id)).await?;
    Ok(NoOutput {})
}

pub(super) async fn attach_internet(
    ctx: &Context,
    caller: &Caller,
    request: aws::AttachInternetGatewayRequest,
) -> Result<NoOutput, ApiError> {
    let id = InternetGatewayId::parse(required("internetGatewayId", request.internet_gateway_id)?)?;
    let vpc = VpcId::parse(required("vpcId", request.vpc_id)?)?;
    network::change(ctx, caller, |edit| edit.attach_internet_gateway(&id, &vpc)).await?;
    Ok(NoOutput {})
}

pub(super) async fn detach_internet(
    ctx: &Context,
    caller: &Caller,
    request: aws::DetachInternetGatewayRequest,
) -> Result<NoOutput, ApiError> {
    let id = InternetGatewayId::parse(required("internetGatewayId", request.internet_gateway_id)?)?;
    let vpc = VpcId::parse(required("vpcId", request.vpc_id)?)?;
    let decide = |edit: &mut Edit<'_>, snapshot: &Snapshot| {
        edit.detach_internet_gateway(&id, &vpc)?;
        let network = network::seen(ctx, caller, snapshot);
        let mut tasks = network.interfaces().filter(|interface| interface.vpc == vpc).filter_map(|i| i.task.as_ref());
        // The network knows elastic addresses; those of tasks are the tasks'.
        let is_public = |task| snapshot.task(task).and_then(|t| t.attachment.as_ref()?.public_ip).is_some();
        if tasks.any(is_public) { Err(Refusal::AddressesMapped(vpc.clone())) } else { Ok(()) }
    };
    network::change_seeing(ctx, caller, decide).await?;
    Ok(NoOutput {})
}

pub(super) fn describe_internet(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeInternetGatewaysRequest,
) -> Result<aws::DescribeInternetGatewaysResult, ApiError> {
    let all = network::now(ctx, caller);
    let asked = network::chosen(
        request.internet_gateway_ids.as_deref(),
        InternetGatewayId::parse,
        |id| all.find_internet_gateway(id),
        all.internet_gateways(),
    )?;
    let kept = filter::select(asked, request.filters.as_deref(), INTERNET_FILTERS, |gateway, name| match name {
        "attachment.state" => gateway.vpc.iter().map(|_| "available".to_owned()).collect(),
        "attachment.vpc-id" => gateway.vpc.iter().map(ToString::to_string).collect(),
        "internet-gateway-id" => vec![gateway.id.to_string()],
        "owner-id" => vec![gateway.scope.account.to_string()],
        tag => filter::of_tags(&gateway.tags, tag),
    })?;
    let token = request.next_token.as_deref();
    let (shown, next_token) =
        network::page("DescribeInternetGateways", caller, request.max_results, token, kept, |g| g.id.to_string())?;
    let internet_gateways = Some(shown.into_iter().map(|gateway| render_internet(gateway)).collect());
    Ok(aws::DescribeInternetGatewaysResult { internet_gateways, next_token })
}

fn render_internet(gateway: &InternetGateway) -> aws::InternetGateway {
    let attachment = |vpc: &VpcId| aws::InternetGatewayAttachment {
        // AWS: the model knows "attached", and what is sent is "available".
        state: Some("available".to_owned()),
        vpc_id: Some(vpc.to_string()),
    };
    aws::InternetGateway {
        attachments: Some(gateway.vpc.iter().map(attachment).collect()),
        internet_gateway_id: Some(gateway.id.to_string()),
        owner_id: Some(gateway.scope.account.to_string()),
        tags: tags::render(&gateway.tags),
    }
}

pub(super) async fn create_nat(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateNatGatewayRequest,
) -> Result<aws::CreateNatGatewayResult, ApiError> {
    let creation = token::creation(request.client_token.as_deref(), &request, |request| request.client_token = None)?;
    if let Some(mode) = request.availability_mode.filter(|mode| mode != "zonal") {
        return Err(not_honoured(&format!("AvailabilityMode {mode}")));
    }
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    let subnet = SubnetId::parse(required("subnetId", request.subnet_id)?)?;
    let allocation = set(request.allocation_id).map(AllocationId::parse).transpose()?;
    let is_public = request.connectivity_type.as_deref() != Some("private");
    match (&allocation, is_public) {
        (None, true) => return Err(Refusal::Missing("AllocationId").into()),
        (Some(_), false) => {
            return Err(Refusal::Combination("A private NAT gateway cannot have an AllocationId.").into());
        }
        (Some(_), true) | (None, false) => {}
    }
    let new = NewNatGateway {
        subnet,
        allocation,
        private_ip: set(request.private_ip_address).map(|text| address(&text)).transpose()?,
        creation,
        tags: tags::specified(request.tag_specifications, "natgateway")?,
    };
    let decide = |edit: &mut Edit<'_>| edit.create_nat_gateway(new.clone());
    let (gateway, all) = network::change(ctx, caller, decide).await?;
    let client_token = request.client_token;
    Ok(aws::CreateNatGatewayResult { nat_gateway: Some(render_nat(&all, &gateway)), client_token })
}

/// An IPv4 address.
pub(super) fn address(text: &str) -> Result<std::net::Ipv4Addr, ApiError> {
    text.parse().map_err(|_| super::invalid(format!("invalid value for parameter address: {text}")))
}

pub(super) async fn delete_nat(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteNatGatewayRequest,
) -> Result<aws::DeleteNatGatewayResult, ApiError> {
    let id = NatGatewayId::parse(required("natGatewayId", request.nat_gateway_id)?)?;
    network::change(ctx, caller, |edit| edit.delete_nat_gateway(&id)).await?;
    Ok(aws::DeleteNatGatewayResult { nat_gateway_id: Some(id.to_string()) })
}

pub(super) fn describe_nat(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeNatGatewaysRequest,
) -> Result<aws::DescribeNatGatewaysResult, ApiError> {
    let all = network::now(ctx, caller);
    let named = request.nat_gateway_ids.as_deref();
    let asked = network::chosen(named, NatGatewayId::parse, |id| all.find_nat_gateway(id), all.nat_gateways())?;
    let kept = filter::select(asked, request.filter.as_deref(), NAT_FILTERS, |gateway, name| match name {
        "connectivity-type" => vec![connectivity(gateway).to_owned()],
        "nat-gateway-id" => vec![gateway.id.to_string()],
        "state" => vec!["available".to_owned()],
        "subnet-id" => vec![gateway.subnet.to_string()],
        "vpc-id" => vec![gateway.vpc.to_string()],
        tag => filter::of_tags(&gateway.tags, tag),
    })?;
    let token = request.next_token.as_deref();
    let (shown, next_token) =
        network::page("DescribeNatGateways", caller, request.max_results, token, kept, |g| g.id.to_string())?;
    let nat_gateways = Some(shown.into_iter().map(|gateway| render_nat(&all, gateway)).collect());
    Ok(aws::DescribeNatGatewaysResult { nat_gateways, next_token })
}

fn connectivity(gateway: &NatGateway) -> &'static str {
    if gateway.allocation.is_some() { "public" } else { "private" }
}

fn render_nat(all: &Network, gateway: &NatGateway) -> aws::NatGateway {
    let public = gateway.allocation.as_ref().and_then(|id| all.address(id));
    let private_ip = all.interface(&gateway.interface).and_then(|interface| interface.addresses.first());
    let address = aws::NatGatewayAddress {
        allocation_id: gateway.allocation.as_ref().map(ToString::to_string),
        association_id: public.and_then(|address| address.association.as_ref()).map(|a| a.id.to_string()),
        is_primary: Some(true),
        network_interface_id: Some(gateway.interface.to_string()),
        private_ip: private_ip.map(ToString::to_string),
        public_ip: public.map(|address| address.public_ip.to_string()),
        status: Some("succeeded".to_owned()),
        ..aws::NatGatewayAddress::default()
    };
    aws::NatGateway {
        availability_mode: Some("zonal".to_owned()),
        connectivity_type: Some(connectivity(gateway).to_owned()),
        create_time: Some(::wire::Timestamp::from_millis(gateway.created_at.0)),
        nat_gateway_addresses: Some(vec![address]),
        nat_gateway_id: Some(gateway.id.to_string()),
        state: Some("available".to_owned()),
        subnet_id: Some(gateway.subnet.to_string()),
        tags: tags::render(&gateway.tags),
        vpc_id: Some(gateway.vpc.to_string()),
        ..aws::NatGateway::default()
    }
}

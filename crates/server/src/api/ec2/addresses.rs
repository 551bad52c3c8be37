//! Public addresses, and what an account may have.

use super::{
    filter,
    gateways::address,
    network::{self, not_honoured, required},
    tags,
};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::network::{
    Address, AddressAssociationId, AllocationId, Edit, InterfaceId, MAX_INTERFACE_GROUPS, Network, Refusal,
};
use shapes::ec2 as aws;
use std::net::Ipv4Addr;
use wire::NoOutput;

pub(crate) const HONOURED: &[Row] = &[
    row("AllocateAddress", &["Domain", "DryRun", "NetworkBorderGroup", "TagSpecifications.*"]),
    row("ReleaseAddress", &["AllocationId", "DryRun", "NetworkBorderGroup", "PublicIp"]),
    row("DescribeAddresses", &["AllocationIds", "DryRun", "Filters.*", "PublicIps"]),
    row("DescribeAddressesAttribute", &["AllocationIds", "Attribute", "DryRun", "MaxResults", "NextToken"]),
    row(
        "AssociateAddress",
        &["AllocationId", "AllowReassociation", "DryRun", "NetworkInterfaceId", "PrivateIpAddress", "PublicIp"],
    ),
    row("DisassociateAddress", &["AssociationId", "DryRun", "PublicIp"]),
    row("DescribeAccountAttributes", &["AttributeNames", "DryRun"]),
];

const FILTERS: &[&str] = &[
    "allocation-id",
    "association-id",
    "domain",
    "instance-id",
    "network-border-group",
    "network-interface-id",
    "network-interface-owner-id",
    "private-ip-address",
    "public-ip",
    "tag-key",
    "tag:*",
];

pub(super) async fn allocate(
    ctx: &Context,
    caller: &Caller,
    request: aws::AllocateAddressRequest,
) -> Result<aws::AllocateAddressResult, ApiError> {
    if let Some(domain) = request.domain.filter(|domain| domain != "vpc") {
        return Err(not_honoured(&format!("Domain {domain}")));
    }
    border_group(caller, request.network_border_group)?;
    let tags = tags::specified(request.tag_specifications, "elastic-ip")?;
    let pool = ctx.config.public_pool;
    let decide = |edit: &mut Edit<'_>, snapshot: &state::Snapshot| {
        edit.allocate_address(pool, &|address| snapshot.public_holder(address).is_some(), tags.clone())
    };
    let (address, _) = network::change_seeing(ctx, caller, decide).await?;
    Ok(aws::AllocateAddressResult {
        allocation_id: Some(address.id.to_string()),
        domain: Some("vpc".to_owned()),
        network_border_group: Some(caller.scope.region.to_string()),
        public_ip: Some(address.public_ip.to_string()),
        public_ipv4_pool: Some(AMAZON.to_owned()),
        ..aws::AllocateAddressResult::default()
    })
}

/// AWS: the pool of an address that nobody brought along.
const AMAZON: &str = "amazon";

/// A region has one, of its own name.
fn border_group(caller: &Caller, named: Option<String>) -> Result<(), ApiError> {
    match named.filter(|name| !name.is_empty() && *name != caller.scope.region.to_string()) {
        Some(name) => Err(super::invalid(format!("Invalid value '{name}' for NetworkBorderGroup."))),
        None => Ok(()),
    }
}

/// Which address is meant: by its id, or by itself.
enum Asked {
    Allocation(AllocationId),
    PublicIp(Ipv4Addr),
}

impl Asked {
    fn parse(allocation: Option<String>, public_ip: Option<String>) -> Result<Self, ApiError> {
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        match (set(allocation), set(public_ip)) {
            (Some(id), None) => Ok(Self::Allocation(AllocationId::parse(id)?)),
            (None, Some(text)) => Ok(Self::PublicIp(address(&text)?)),
            (Some(_), Some(_)) => {
                Err(Refusal::Combination("You may specify public IP or allocation id, but not both in the same call")
                    .into())
            }
            (None, None) => Err(Refusal::Missing("allocationId").into()),
        }
    }

    fn find(&self, all: &Network) -> Result<AllocationId, Refusal> {
        match self {
            Self::Allocation(id) => Ok(id.clone()),
            Self::PublicIp(address) => Ok(all.address_at(*address)?.id.clone()),
        }
    }
}

pub(super) async fn release(
    ctx: &Context,
    caller: &Caller,
    request: aws::ReleaseAddressRequest,
) -> Result<NoOutput, ApiError> {
    border_group(caller, request.network_border_group)?;
    let asked = Asked::parse(request.allocation_id, request.public_ip)?;
    let decide = |edit: &mut Edit<'_>| {
        let id = asked.find(edit.network())?;
        edit.release_address(&id)
    };
    network::change(ctx, caller, decide).await?;
    Ok(NoOutput {})
}

pub(super) async fn associate(
    ctx: &Context,
    caller: &Caller,
    request: aws::AssociateAddressRequest,
) -> Result<aws::AssociateAddressResult, ApiError> {
    let asked = Asked::parse(request.allocation_id, request.public_ip)?;
    let interface = InterfaceId::parse(required("networkInterfaceId", request.network_interface_id)?)?;
    let private_ip = request.private_ip_address.filter(|text| !text.is_empty());
    let private_ip = private_ip.map(|text| address(&text)).transpose()?;
    // AWS: an address that is named by its id is not taken from where it leads unless that is allowed.
    let again = request.allow_reassociation.unwrap_or(matches!(asked, Asked::PublicIp(_)));
    let decide = |edit: &mut Edit<'_>| {
        let id = asked.find(edit.network())?;
        edit.associate_address(&id, &interface, private_ip, again)
    };
    let (id, _) = network::change(ctx, caller, decide).await?;
    Ok(aws::AssociateAddressResult { association_id: Some(id.to_string()) })
}

pub(super) async fn disassociate(
    ctx: &Context,
    caller: &Caller,
    request: aws::DisassociateAddressRequest,
) -> Result<NoOutput, ApiError> {
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    let id = set(request.association_id).map(AddressAssociationId::parse).transpose()?;
    let public_ip = set(request.public_ip).map(|text| address(&text)).transpose()?;
    let decide = |edit: &mut Edit<'_>| {
        let id = match (&id, public_ip) {
            (Some(id), _) => id.clone(),
            (None, Some(public_ip)) => {
                let address = edit.network().address_at(public_ip)?;
                let missing = || Refusal::AddressNotAssociated(address.id.clone());
                address.association.as_ref().ok_or_else(missing)?.id.clone()
            }
            (None, None) => return Err(Refusal::Missing("associationId")),
        };
        edit.disassociate_address(&id)
    };
    network::change(ctx, caller, decide).await?;
    Ok(NoOutput {})
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeAddressesRequest,
) -> Result<aws::DescribeAddressesResult, ApiError> {
    let all = network::now(ctx, caller);
    let named = request.allocation_ids.as_deref();
    let mut asked = network::chosen(named, AllocationId::parse, |id| all.find_address(id), all.addresses())?;
    let public = request.public_ips.as_deref().unwrap_or_default();
    if !public.is_empty() {
        let wanted = public.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
        let found = wanted.iter().map(|ip| all.address_at(*ip)).collect::<Result<Vec<_>, _>>()?;
        asked.retain(|address| found.iter().any(|one| one.id == address.id));
    }
    let kept =
        filter::select(asked, request.filters.as_deref(), FILTERS, |address, name| values(caller, address, name))?;
    let addresses = Some(kept.into_iter().map(|address| render(caller, &all, address)).collect());
    Ok(aws::DescribeAddressesResult { addresses })
}

fn values(caller: &Caller, address: &Address, name: &str) -> Vec<String> {
    let association = address.association.iter();
    match name {
        "allocation-id" => vec![address.id.to_string()],
        "association-id" => association.map(|a| a.id.to_string()).collect(),
        "domain" => vec!["vpc".to_owned()],
        "network-border-group" => vec![caller.scope.region.to_string()],
        "network-interface-id" => association.map(|a| a.interface.to_string()).collect(),
        "network-interface-owner-id" => association.map(|_| address.scope.account.to_string()).collect(),
        "private-ip-address" => association.map(|a| a.private_ip.to_string()).collect(),
        "public-ip" => vec![address.public_ip.to_string()],
        // An address leads to interfaces, and none of them is an instance's yet.
        "instance-id" => Vec::new(),
        tag => filter::of_tags(&address.tags, tag),
    }
}

fn render(caller: &Caller, all: &Network, address: &Address) -> aws::Address {
    let association = address.association.as_ref();
    let interface = association.and_then(|association| all.interface(&association.interface));
    aws::Address {
        allocation_id: Some(address.id.to_string()),
        association_id: association.map(|a| a.id.to_string()),
        domain: Some("vpc".to_owned()),
        network_border_group: Some(caller.scope.region.to_string()),
        network_interface_id: association.map(|a| a.interface.to_string()),
        network_interface_owner_id: association.map(|_| address.scope.account.to_string()),
        private_ip_address: association.map(|a| a.private_ip.to_string()),
        public_ip: Some(address.public_ip.to_string()),
        public_ipv4_pool: Some(AMAZON.to_owned()),
        subnet_id: interface.map(|interface| interface.subnet.to_string()),
        tags: tags::render(&address.tags),
        ..aws::Address::default()
    }
}

/// No address has a name here, which is what is said of each.
pub(super) fn describe_attribute(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeAddressesAttributeRequest,
) -> Result<aws::DescribeAddressesAttributeResult, ApiError> {
    let all = network::now(ctx, caller);
    let named = request.allocation_ids.as_deref();
    let asked = network::chosen(named, AllocationId::parse, |id| all.find_address(id), all.addresses())?;
    let token = request.next_token.as_deref();
    let (shown, next_token) =
        network::page("DescribeAddressesAttribute", caller, request.max_results, token, asked, |a| a.id.to_string())?;
    let addresses = shown.into_iter().map(|address| aws::AddressAttribute {
        allocation_id: Some(address.id.to_string()),
        public_ip: Some(address.public_ip.to_string()),
        ..aws::AddressAttribute::default()
    });
    Ok(aws::DescribeAddressesAttributeResult { addresses: Some(addresses.collect()), next_token })
}

/// What an account may have of EC2's.
pub(super) fn account_attributes(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeAccountAttributesRequest,
) -> Result<aws::DescribeAccountAttributesResult, ApiError> {
    let default = network::now(ctx, caller).default_vpc().map(|vpc| vpc.id.to_string());
    let pool = ctx.config.public_pool.hosts().count().to_string();
    let all = [
        ("supported-platforms", "VPC".to_owned()),
        // AWS: the word of an account that has none.
        ("default-vpc", default.unwrap_or_else(|| "none".to_owned())),
        ("max-instances", super::run::MAX_LAUNCH.to_string()),
        ("vpc-max-security-groups-per-interface", MAX_INTERFACE_GROUPS.to_string()),
        ("max-elastic-ips", pool.clone()),
        ("vpc-max-elastic-ips", pool),
    ];
    let named = request.attribute_names.as_deref().unwrap_or_default();
    if let Some(name) = named.iter().find(|name| !all.iter().any(|(known, _)| known == name)) {
        return Err(super::invalid(format!("Invalid attribute name: {name}")));
    }
    let asked = all.into_iter().filter(|(name, _)| named.is_empty() || named.iter().any(|n| n == name));
    let attributes = asked.map(|(name, value)| aws::AccountAttribute {
        attribute_name: Some(name.to_owned()),
        attribute_values: Some(vec![aws::AccountAttributeValue { attribute_value: Some(value) }]),
    });
    Ok(aws::DescribeAccountAttributesResult { account_attributes: Some(attributes.collect()) })
}

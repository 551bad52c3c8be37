//! Network interfaces: those that people make, those of NAT gateways, and the one of each local instance. Attaching one to an
//! instance is refused: an instance has the one it was launched with.

use super::{
    default_vpc, filter,
    gateways::address,
    network::{self, required},
    subnets, tags, token,
};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::{
    LaunchType, Machine, MachineState,
    attachment::private_dns_name,
    network::{Address, Edit, Interface, InterfaceId, Network, NewInterface, Refusal, SecurityGroupId, SubnetId},
};
use shapes::ec2 as aws;
use state::Snapshot;
use std::net::Ipv4Addr;
use wire::NoOutput;

pub(crate) const HONOURED: &[Row] = &[
    row(
        "CreateNetworkInterface",
        &[
            "ClientToken",
            "Description",
            "DryRun",
            "Groups",
            "PrivateIpAddress",
            "PrivateIpAddresses.*",
            "SecondaryPrivateIpAddressCount",
            "SubnetId",
            "TagSpecifications.*",
        ],
    ),
    row("DeleteNetworkInterface", &["DryRun", "NetworkInterfaceId"]),
    row("DescribeNetworkInterfaces", &["DryRun", "Filters.*", "MaxResults", "NetworkInterfaceIds", "NextToken"]),
    row("DescribeNetworkInterfaceAttribute", &["Attribute", "DryRun", "NetworkInterfaceId"]),
    row(
        "ModifyNetworkInterfaceAttribute",
        &["Description.*", "DryRun", "Groups", "NetworkInterfaceId", "SourceDestCheck.*"],
    ),
];

const FILTERS: &[&str] = &[
    "addresses.private-ip-address",
    "association.allocation-id",
    "association.association-id",
    "association.public-ip",
    "attachment.attachment-id",
    "attachment.instance-id",
    "attachment.instance-owner-id",
    "attachment.status",
    "availability-zone",
    "description",
    "group-id",
    "group-name",
    "interface-type",
    "mac-address",
    "network-interface-id",
    "owner-id",
    "private-dns-name",
    "private-ip-address",
    "requester-id",
    "requester-managed",
    "source-dest-check",
    "status",
    "subnet-id",
    "tag-key",
    "tag:*",
    "vpc-id",
];

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateNetworkInterfaceRequest,
) -> Result<aws::CreateNetworkInterfaceResult, ApiError> {
    let creation = token::creation(request.client_token.as_deref(), &request, |request| request.client_token = None)?;
    let groups = request.groups.unwrap_or_default().into_iter().map(SecurityGroupId::parse);
    let (primary, secondary) = addresses(request.private_ip_address, request.private_ip_addresses)?;
    let more = request.secondary_private_ip_address_count.unwrap_or(0);
    let new = NewInterface {
        subnet: SubnetId::parse(required("subnetId", request.subnet_id)?)?,
        groups: groups.collect::<Result<Vec<_>, _>>()?,
        primary,
        secondary,
        more: usize::try_from(more).map_err(|_| super::invalid("A count is not negative."))?,
        description: request.description.unwrap_or_default(),
        creation,
        tags: tags::specified(request.tag_specifications, "network-interface")?,
    };
    let decide = |edit: &mut Edit<'_>| edit.create_interface(new.clone());
    let (interface, all) = network::change(ctx, caller, decide).await?;
    let client_token = request.client_token;
    Ok(aws::CreateNetworkInterfaceResult {
        network_interface: Some(render(caller, &ctx.store.snapshot(), &all, &interface)),
        client_token,
    })
}

/// The addresses that are asked for, in either form: the primary one, and others.
fn addresses(
    one: Option<String>,
    many: Option<Vec<aws::PrivateIpAddressSpecification>>,
) -> Result<(Option<Ipv4Addr>, Vec<Ipv4Addr>), ApiError> {
    let mut primary = one.filter(|text| !text.is_empty()).map(|text| address(&text)).transpose()?;
    let mut secondary = Vec::new();
    for asked in many.unwrap_or_default() {
        let address = address(&required("privateIpAddress", asked.private_ip_address)?)?;
        match (asked.primary.unwrap_or(false), primary) {
            (true, Some(known)) if known != address => {
                let text = "Only one primary private IP address can be specified.";
                return Err(Refusal::Combination(text).into());
            }
            (true, _) => primary = Some(address),
            (false, _) => secondary.push(address),
        }
    }
    // AWS: where none is said to be the primary one, the first is.
    if primary.is_none() && !secondary.is_empty() {
        primary = Some(secondary.remove(0));
    }
    Ok((primary, secondary))
}

/// An id of an interface that can be changed: a local instance's cannot.
fn own(ctx: &Context, caller: &Caller, text: Option<String>) -> Result<InterfaceId, ApiError> {
    let id = InterfaceId::parse(required("networkInterfaceId", text)?)?;
    let machine = format!("i-{}", id.digits());
    match ctx.store.snapshot().machine(&caller.scope, &machine) {
        Some(machine) if machine.state != MachineState::Terminated => Err(Refusal::InterfaceInUse(id).into()),
        Some(_) | None => Ok(id),
    }
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteNetworkInterfaceRequest,
) -> Result<NoOutput, ApiError> {
    let id = own(ctx, caller, request.network_interface_id)?;
    network::change(ctx, caller, |edit| edit.delete_interface(&id)).await?;
    Ok(NoOutput {})
}

pub(super) async fn modify_attribute(
    ctx: &Context,
    caller: &Caller,
    request: aws::ModifyNetworkInterfaceAttributeRequest,
) -> Result<NoOutput, ApiError> {
    let id = own(ctx, caller, request.network_interface_id)?;
    let description = request.description.map(|attribute| attribute.value.unwrap_or_default());
    let check = request.source_dest_check.and_then(|attribute| attribute.value);
    let groups = request.groups.map(|ids| ids.into_iter().map(SecurityGroupId::parse).collect::<Result<Vec<_>, _>>());
    let groups = groups.transpose()?;
    let decide = |edit: &mut Edit<'_>| edit.modify_interface(&id, description.clone(), check, groups.clone());
    network::change(ctx, caller, decide).await?;
    Ok(NoOutput {})
}

/// Everything that is shown as an interface, by its id.
fn shown(ctx: &Context, caller: &Caller, snapshot: &Snapshot, all: &Network) -> Vec<aws::NetworkInterface> {
    let machines = snapshot.machines(&caller.scope, None).filter(|m| m.state != MachineState::Terminated);
    let machines = machines.map(|machine| of_machine(ctx, caller, machine));
    all.interfaces().map(|interface| render(caller, snapshot, all, interface)).chain(machines).collect()
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeNetworkInterfacesRequest,
) -> Result<aws::DescribeNetworkInterfacesResult, ApiError> {
    let snapshot = ctx.store.snapshot();
    let all = network::seen(ctx, caller, &snapshot);
    let mut asked = shown(ctx, caller, &snapshot, &all);
    let named = request.network_interface_ids.unwrap_or_default();
    if !named.is_empty() {
        let ids = named.into_iter().map(InterfaceId::parse).collect::<Result<Vec<_>, _>>()?;
        let is =
            |id: &InterfaceId, one: &aws::NetworkInterface| one.network_interface_id.as_deref() == Some(id.as_str());
        if let Some(id) = ids.iter().find(|id| !asked.iter().any(|one| is(id, one))) {
            return Err(id.missing().into());
        }
        asked.retain(|one| ids.iter().any(|id| is(id, one)));
    }
    let kept = filter::select(asked, request.filters.as_deref(), FILTERS, values)?;
    let token = request.next_token.as_deref();
    let id = |one: &aws::NetworkInterface| one.network_interface_id.clone().unwrap_or_default();
    let (shown, next_token) = network::page("DescribeNetworkInterfaces", caller, request.max_results, token, kept, id)?;
    Ok(aws::DescribeNetworkInterfacesResult { network_interfaces: Some(shown), next_token })
}

/// Filters look at what is shown, since two kinds of things are.
fn values(shown: &aws::NetworkInterface, name: &str) -> Vec<String> {
    let one = |text: &Option<String>| text.iter().cloned().collect::<Vec<_>>();
    let yes = |truth: Option<bool>| truth.iter().map(ToString::to_string).collect::<Vec<_>>();
    let of_address = |part: fn(&aws::NetworkInterfaceAssociation) -> Option<String>| {
        let all = shown.private_ip_addresses.iter().flatten().filter_map(|address| address.association.as_ref());
        all.filter_map(part).collect()
    };
    let of_attachment = |part: fn(&aws::NetworkInterfaceAttachment) -> Option<String>| {
        shown.attachment.as_ref().and_then(part).into_iter().collect()
    };
    let groups = || shown.groups.iter().flatten();
    match name {
        "addresses.private-ip-address" => {
            shown.private_ip_addresses.iter().flatten().filter_map(|a| a.private_ip_address.clone()).collect()
        }
        "association.allocation-id" => of_address(|a| a.allocation_id.clone()),
        "association.association-id" => of_address(|a| a.association_id.clone()),
        "association.public-ip" => of_address(|a| a.public_ip.clone()),
        "attachment.attachment-id" => of_attachment(|a| a.attachment_id.clone()),
        "attachment.instance-id" => of_attachment(|a| a.instance_id.clone()),
        "attachment.instance-owner-id" => of_attachment(|a| a.instance_owner_id.clone()),
        "attachment.status" => of_attachment(|a| a.status.clone()),
        "availability-zone" => one(&shown.availability_zone),
        "description" => one(&shown.description),
        "group-id" => groups().filter_map(|group| group.group_id.clone()).collect(),
        "group-name" => groups().filter_map(|group| group.group_name.clone()).collect(),
        // AWS: the filter knows the word that the attachment's kind goes by in its documentation.
        "interface-type" if shown.interface_type.as_deref() == Some(NAT) => {
            vec![NAT.to_owned(), "nat_gateway".to_owned()]
        }
        "interface-type" => one(&shown.interface_type),
        "mac-address" => one(&shown.mac_address),
        "network-interface-id" => one(&shown.network_interface_id),
        "owner-id" => one(&shown.owner_id),
        "private-dns-name" => one(&shown.private_dns_name),
        "private-ip-address" => one(&shown.private_ip_address),
        "requester-id" => one(&shown.requester_id),
        "requester-managed" => yes(shown.requester_managed),
        "source-dest-check" => yes(shown.source_dest_check),
        "status" => one(&shown.status),
        "subnet-id" => one(&shown.subnet_id),
        "vpc-id" => one(&shown.vpc_id),
        tag => filter::of_tags(&tags::parse(shown.tag_set.clone().unwrap_or_default()).unwrap_or_default(), tag),
    }
}

/// EC2's word for the kind of a NAT gateway's interface.
const NAT: &str = "natGateway";

pub(super) fn describe_attribute(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeNetworkInterfaceAttributeRequest,
) -> Result<aws::DescribeNetworkInterfaceAttributeResult, ApiError> {
    let id = InterfaceId::parse(required("networkInterfaceId", request.network_interface_id)?)?;
    let snapshot = ctx.store.snapshot();
    let all = network::seen(ctx, caller, &snapshot);
    let mut found = shown(ctx, caller, &snapshot, &all).into_iter();
    let found = found.find(|one| one.network_interface_id.as_deref() == Some(id.as_str()));
    let found = found.ok_or_else(|| ApiError::from(id.missing()))?;
    let mut answer = aws::DescribeNetworkInterfaceAttributeResult {
        network_interface_id: Some(id.to_string()),
        ..aws::DescribeNetworkInterfaceAttributeResult::default()
    };
    match required("attribute", request.attribute)?.as_str() {
        "description" => answer.description = Some(aws::AttributeValue { value: found.description }),
        "groupSet" => answer.groups = found.groups,
        "sourceDestCheck" => {
            answer.source_dest_check = Some(aws::AttributeBooleanValue { value: found.source_dest_check });
        }
        "associatePublicIpAddress" => answer.associate_public_ip_address = Some(false),
        _ => answer.attachment = found.attachment,
    }
    Ok(answer)
}

fn association(address: &Address) -> Option<aws::NetworkInterfaceAssociation> {
    address.association.as_ref().map(|association| aws::NetworkInterfaceAssociation {
        allocation_id: Some(address.id.to_string()),
        association_id: Some(association.id.to_string()),
        ip_owner_id: Some(address.scope.account.to_string()),
        public_ip: Some(address.public_ip.to_string()),
        ..aws::NetworkInterfaceAssociation::default()
    })
}

fn render(caller: &Caller, snapshot: &Snapshot, all: &Network, interface: &Interface) -> aws::NetworkInterface {
    let task = interface.task.as_ref().and_then(|arn| snapshot.task(arn));
    let of_task = task.and_then(|task| task.attachment.as_ref()?.public_ip).map(|address| {
        // AWS: an address of the provider's own pool, which is nobody's allocation.
        aws::NetworkInterfaceAssociation {
            ip_owner_id: Some("amazon".to_owned()),
            public_ip: Some(address.to_string()),
            ..aws::NetworkInterfaceAssociation::default()
        }
    });
    let public = |private_ip: Ipv4Addr| {
        let mut leading = all.addresses_of(&interface.id);
        let found = leading.find(|a| a.association.as_ref().is_some_and(|a| a.private_ip == private_ip));
        found.and_then(|address| association(address)).or_else(|| of_task.clone())
    };
    let addresses = interface.addresses.iter().enumerate().map(|(at, address)| aws::NetworkInterfacePrivateIpAddress {
        association: public(*address),
        primary: Some(at == 0),
        private_dns_name: Some(private_dns_name(*address, interface.scope.region.as_str())),
        private_ip_address: Some(address.to_string()),
    });
    let group = |id: &SecurityGroupId| aws::GroupIdentifier {
        group_id: Some(id.to_string()),
        group_name: all.security_group(id).map(|group| group.name.clone()),
    };
    let primary = interface.addresses.first().copied();
    let zone = all.subnet(&interface.subnet).map(|subnet| subnet.availability_zone.clone());
    let account = interface.scope.account.to_string();
    // AWS: of Fargate's instances nothing is shown.
    let instance = task.filter(|task| task.launch_type != LaunchType::Fargate).and_then(|task| {
        let arn = task.instance_arn()?;
        snapshot.instance(&arn)?.instance.ec2_instance_id.clone()
    });
    let attachment = interface.is_managed().then(|| aws::NetworkInterfaceAttachment {
        attachment_id: Some(format!("eni-attach-{}", interface.id.digits())),
        delete_on_termination: Some(true),
        device_index: Some(if task.is_some() { 1 } else { 0 }),
        instance_id: instance,
        instance_owner_id: Some(if task.is_some() { account.clone() } else { "amazon-aws".to_owned() }),
        status: Some("attached".to_owned()),
        ..aws::NetworkInterfaceAttachment::default()
    });
    aws::NetworkInterface {
        association: primary.and_then(public),
        status: Some(if attachment.is_some() { "in-use" } else { "available" }.to_owned()),
        attachment,
        availability_zone_id: zone.as_deref().and_then(|zone| subnets::zone_id(&caller.scope, zone)),
        availability_zone: zone,
        description: Some(interface.description.clone()),
        groups: Some(interface.groups.iter().map(group).collect()),
        interface_type: Some(if interface.nat_gateway.is_some() { NAT } else { "interface" }.to_owned()),
        ipv6_addresses: Some(Vec::new()),
        mac_address: Some(interface.mac.clone()),
        network_interface_id: Some(interface.id.to_string()),
        owner_id: Some(account.clone()),
        private_dns_name: primary.map(|address| private_dns_name(address, interface.scope.region.as_str())),
        private_ip_address: primary.map(|address| address.to_string()),
        private_ip_addresses: Some(addresses.collect()),
        requester_id: Some(account),
        requester_managed: Some(interface.is_managed()),
        source_dest_check: Some(interface.source_dest_check),
        subnet_id: Some(interface.subnet.to_string()),
        tag_set: tags::render(&interface.tags),
        vpc_id: Some(interface.vpc.to_string()),
        ..aws::NetworkInterface::default()
    }
}

/// The interface of a local instance.
fn of_machine(ctx: &Context, caller: &Caller, machine: &Machine) -> aws::NetworkInterface {
    let vpc = default_vpc(ctx, caller);
    let name = private_dns_name(machine.private_ip, machine.scope.region.as_str());
    let account = machine.scope.account.to_string();
    aws::NetworkInterface {
        attachment: Some(aws::NetworkInterfaceAttachment {
            attachment_id: Some(machine.id.replacen("i-", "eni-attach-", 1)),
            delete_on_termination: Some(true),
            device_index: Some(0),
            instance_id: Some(machine.id.clone()),
            instance_owner_id: Some(account.clone()),
            status: Some("attached".to_owned()),
            ..aws::NetworkInterfaceAttachment::default()
        }),
        availability_zone: Some(machine.availability_zone.clone()),
        availability_zone_id: subnets::zone_id(&caller.scope, &machine.availability_zone),
        description: Some(String::new()),
        groups: Some(vec![aws::GroupIdentifier {
            group_id: Some(vpc.security_group_id.clone()),
            group_name: Some("default".to_owned()),
        }]),
        interface_type: Some("interface".to_owned()),
        network_interface_id: Some(machine.id.replacen("i-", "eni-", 1)),
        owner_id: Some(account.clone()),
        private_dns_name: Some(name.clone()),
        private_ip_address: Some(machine.private_ip.to_string()),
        private_ip_addresses: Some(vec![aws::NetworkInterfacePrivateIpAddress {
            primary: Some(true),
            private_dns_name: Some(name),
            private_ip_address: Some(machine.private_ip.to_string()),
            ..aws::NetworkInterfacePrivateIpAddress::default()
        }]),
        requester_id: Some(account),
        requester_managed: Some(false),
        source_dest_check: Some(true),
        status: Some("in-use".to_owned()),
        subnet_id: Some(machine.subnet_id.clone()),
        vpc_id: Some(vpc.id),
        ..aws::NetworkInterface::default()
    }
}

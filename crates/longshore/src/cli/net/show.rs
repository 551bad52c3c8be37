//! What there is, in tables. Pure.

use super::{
    super::{
        config::Settings,
        terminal::{self, Cell},
    },
    fetch::{self, World},
};
use crate::advice::in_region;
use console::Style;
use model::network::{Interface, RouteTarget, Subnet, VpcId};
use serde_json::{Value, json};
use shapes::ec2;
use std::collections::BTreeMap;

/// The name that people gave something.
fn name(tags: Option<&Vec<ec2::Tag>>) -> &str {
    let found = tags.into_iter().flatten().find(|tag| tag.key.as_deref() == Some("Name"));
    found.and_then(|tag| tag.value.as_deref()).unwrap_or_default()
}

/// Where a subnet's packets to the internet go.
fn way_out(world: &World, subnet: &Subnet) -> Option<String> {
    let table = world.network.route_table_of(subnet)?;
    let route = table.routes.iter().find(|route| route.destination.prefix_len() == 0)?;
    let target = match &route.target {
        RouteTarget::InternetGateway(id) => id.to_string(),
        RouteTarget::NatGateway(id) => id.to_string(),
    };
    let is_there = world.network.is_active(&table.vpc, route);
    Some(if is_there { target } else { format!("{target} (gone)") })
}

/// Whose an interface is.
fn owner(world: &World, interface: &Interface) -> String {
    if let Some((id, task)) = world.task_of(&interface.id) {
        let whose = task.service().map_or_else(|| task.group.clone(), |service| format!("service {service}"));
        return format!("task {id} ({whose})");
    }
    if let Some(gateway) = &interface.nat_gateway {
        return gateway.to_string();
    }
    let shown = world.shown(&interface.id);
    match shown.and_then(fetch::machine) {
        Some(machine) => machine.to_owned(),
        None if shown.is_some_and(fetch::is_used) => "a task of another cluster".to_owned(),
        None => "nobody".to_owned(),
    }
}

fn public(world: &World, interface: &Interface) -> Option<String> {
    let first = interface.addresses.first()?;
    world.network.public_of(&interface.id, *first).map(|address| address.to_string())
}

/// The lines for a terminal of that width, or for a pipe.
pub(super) fn lines(world: &World, settings: &Settings, width: Option<usize>) -> Vec<String> {
    if world.seen.vpcs.is_empty() {
        let none = format!("There are no VPCs in region {}.", settings.region);
        return vec![none, in_region("→ aws ec2 create-default-vpc", settings.region_to_say.as_deref())];
    }
    let mut lines = vpcs(world, width);
    lines.push(String::new());
    lines.extend(subnets(world, width));
    let interfaces = interfaces(world, width);
    if !interfaces.is_empty() {
        lines.push(String::new());
        lines.extend(interfaces);
    }
    lines
}

fn vpcs(world: &World, width: Option<usize>) -> Vec<String> {
    let mut in_vpc: BTreeMap<&VpcId, usize> = BTreeMap::new();
    for interface in world.network.interfaces() {
        *in_vpc.entry(&interface.vpc).or_default() += 1;
    }
    let names: BTreeMap<_, _> = world
        .seen
        .vpcs
        .iter()
        .map(|shown| (shown.vpc_id.as_deref().unwrap_or_default(), name(shown.tags.as_ref())))
        .collect();
    let rows: Vec<Vec<Cell>> = world
        .network
        .vpcs()
        .map(|vpc| {
            let gateway = world.network.gateway_of(&vpc.id).map_or_else(String::new, |gateway| gateway.id.to_string());
            let given = names.get(vpc.id.as_str()).copied().unwrap_or_default();
            let given = if given.is_empty() && vpc.is_default { "(default)" } else { given };
            vec![
                vpc.id.as_str().into(),
                given.into(),
                vpc.cidr.to_string().into(),
                gateway.into(),
                in_vpc.get(&vpc.id).copied().unwrap_or_default().to_string().into(),
            ]
        })
        .collect();
    terminal::table(&["VPC", "Name", "Addresses", "Internet gateway", "Interfaces"], &rows, width)
}

/// How many addresses of each subnet are left, as EC2 counts them.
fn free(world: &World) -> BTreeMap<&str, i32> {
    let shown = world.seen.subnets.iter();
    shown.filter_map(|shown| Some((shown.subnet_id.as_deref()?, shown.available_ip_address_count?))).collect()
}

fn subnets(world: &World, width: Option<usize>) -> Vec<String> {
    let free = free(world);
    let mut sorted: Vec<_> = world.network.subnets().collect();
    sorted.sort_by_key(|subnet| (subnet.vpc.clone(), subnet.cidr));
    let rows: Vec<Vec<Cell>> = sorted
        .into_iter()
        .map(|subnet| {
            let left = free.get(subnet.id.as_str()).copied().unwrap_or_default();
            let style = if left == 0 { Style::new().red() } else { Style::new() };
            vec![
                subnet.id.as_str().into(),
                subnet.vpc.as_str().into(),
                subnet.availability_zone.as_str().into(),
                subnet.cidr.to_string().into(),
                Cell::styled(left.to_string(), style),
                way_out(world, subnet).unwrap_or_else(|| "none".to_owned()).into(),
            ]
        })
        .collect();
    terminal::table(&["Subnet", "VPC", "Zone", "Addresses", "Free", "Way out"], &rows, width)
}

fn interfaces(world: &World, width: Option<usize>) -> Vec<String> {
    let mut sorted: Vec<_> = world.network.interfaces().collect();
    sorted.sort_by_key(|interface| (interface.vpc.clone(), interface.addresses.first().copied()));
    let group = |id: &model::network::SecurityGroupId| {
        world.network.security_group(id).map_or_else(|| id.to_string(), |group| group.name.clone())
    };
    let rows: Vec<Vec<Cell>> = sorted
        .into_iter()
        .map(|interface| {
            let addresses: Vec<_> = interface.addresses.iter().map(ToString::to_string).collect();
            let groups: Vec<_> = interface.groups.iter().map(group).collect();
            vec![
                interface.id.as_str().into(),
                owner(world, interface).into(),
                addresses.join(", ").into(),
                public(world, interface).unwrap_or_default().into(),
                interface.vpc.as_str().into(),
                groups.join(", ").into(),
            ]
        })
        .collect();
    terminal::table(&["Interface", "Whose", "Address", "Public", "VPC", "Groups"], &rows, width)
}

/// The same for scripts.
pub(super) fn json(world: &World, region: &str) -> Value {
    let network = &world.network;
    let free = free(world);
    let vpcs = network.vpcs().map(|vpc| {
        json!({
            "id": vpc.id, "cidr": vpc.cidr, "isDefault": vpc.is_default,
            "internetGateway": network.gateway_of(&vpc.id).map(|gateway| &gateway.id),
        })
    });
    let subnets = network.subnets().map(|subnet| {
        json!({
            "id": subnet.id, "vpc": subnet.vpc, "availabilityZone": subnet.availability_zone, "cidr": subnet.cidr,
            "freeAddresses": free.get(subnet.id.as_str()), "wayOut": way_out(world, subnet),
            "routeTable": network.route_table_of(subnet).map(|table| &table.id),
        })
    });
    let interfaces = network.interfaces().map(|interface| {
        let groups = interface
            .groups
            .iter()
            .map(|id| json!({ "id": id, "name": network.security_group(id).map(|group| &group.name) }));
        let task = world.task_of(&interface.id);
        let task = task.map(|(id, task)| json!({ "id": id, "cluster": task.cluster, "group": task.group }));
        json!({
            "id": interface.id, "vpc": interface.vpc, "subnet": interface.subnet, "addresses": interface.addresses,
            "publicAddress": public(world, interface), "securityGroups": groups.collect::<Vec<_>>(), "task": task,
            "instance": world.shown(&interface.id).and_then(fetch::machine), "natGateway": interface.nat_gateway,
        })
    });
    json!({
        "region": region,
        "vpcs": vpcs.collect::<Vec<_>>(),
        "subnets": subnets.collect::<Vec<_>>(),
        "interfaces": interfaces.collect::<Vec<_>>(),
    })
}

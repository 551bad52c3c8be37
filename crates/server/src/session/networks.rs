//! What an instance is to know of the VPCs that it carries.
//!
//! An instance carries a VPC as soon as one of its tasks has an interface there, or when it is the place of one of the VPC's
//! NAT gateways. All that is told follows from the snapshot; nothing is remembered here.

use crate::discovery::{self, Answers, Data};
use link::{
    AliasView, Aliases, InterfaceView, Keys, NameView, Names, SrvView, SubnetView, Views, VpcFacts, VpcView, Way,
};
use model::{
    ContainerInstanceArn, Scope,
    discovery::{Namespace, NamespaceKind, Routing},
    network::{InterfaceId, NatGateway, NatGatewayId, Network, RouteTarget, Subnet, SubnetId, VpcId},
};
use sha2::{Digest, Sha256};
use state::{InstanceRow, Snapshot};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// Values of one answer. Source: Cloud Map's developer guide.
const MULTIVALUE: u16 = 8;
/// VXLAN network identifiers have 24 bits; 0 is left to nobody.
const MAX_VNI: u32 = (1 << 24) - 1;

/// All that the instance carries, with the keys of the others that do where it is encrypted.
pub(super) fn of(snapshot: &Snapshot, instance: &ContainerInstanceArn, encrypted: bool) -> Views {
    let scope = &instance.cluster.scope;
    let Some(network) = snapshot.network(scope) else { return Views::new() };
    let tasks = snapshot.live_tasks_on(instance).filter_map(|task| task.attachment.as_ref());
    let mut carried: BTreeSet<VpcId> = tasks.map(|attachment| attachment.vpc.clone()).collect();
    let places = places(snapshot, scope, network);
    carried.extend(places.values().filter(|place| place.instance == *instance).map(|place| place.vpc.clone()));
    if carried.is_empty() {
        return Views::new();
    }
    // Without a namespace nobody has names, and nobody's service is looked for.
    let names = snapshot.discovery(scope).is_some_and(|all| all.namespaces().next().is_some());
    let mut interfaces: BTreeMap<&VpcId, BTreeMap<_, _>> = BTreeMap::new();
    let mut carriers: BTreeMap<&VpcId, BTreeSet<ContainerInstanceArn>> = BTreeMap::new();
    for place in places.values() {
        carriers.entry(&place.vpc).or_default().insert(place.instance.clone());
    }
    for interface in network.interfaces().filter(|interface| carried.contains(&interface.vpc)) {
        let Some(task) = interface.task.as_ref().and_then(|arn| snapshot.task(arn)) else { continue };
        let Some(on) = task.instance_arn() else { continue };
        let (Some(host), Some(address)) =
            (snapshot.instance(&on).and_then(|row| host(row)), interface.addresses.first())
        else {
            continue;
        };
        let view = InterfaceView {
            address: *address,
            host,
            subnet: interface.subnet.clone(),
            groups: interface.groups.clone(),
            // It leads in only where answers would lead out.
            public: task
                .attachment
                .as_ref()
                .and_then(|attachment| attachment.public_ip)
                .filter(|_| leads_to_internet(network, &interface.subnet)),
            // Names are asked for where the task is; the others need not know.
            connect: Some(task)
                .filter(|_| names && on == *instance)
                .and_then(|task| discovery::namespace_of(snapshot, task).cloned()),
        };
        interfaces.entry(&interface.vpc).or_default().insert(interface.id.clone(), view);
        carriers.entry(&interface.vpc).or_default().insert(on);
    }
    let numbers = numbers(snapshot);
    let view = |id: VpcId| {
        let facts = VpcFacts { encrypted, ..facts(network, &id, *numbers.get(&id)?, &places)? };
        let keys = carriers.get(&id).filter(|_| encrypted).map(|all| keys(snapshot, instance, all)).unwrap_or_default();
        let interfaces = interfaces.get(&id).cloned().unwrap_or_default();
        let names = Arc::new(self::names(snapshot, scope, &id));
        let aliases = aliases(snapshot, scope, &id, &interfaces);
        Some((id, VpcView { facts: Arc::new(facts), interfaces, names, aliases, keys: Arc::new(keys) }))
    };
    carried.into_iter().filter_map(view).collect()
}

/// The keys of these instances but one. Where two have one address, which a machine that joined anew has for a while, the
/// younger's counts.
fn keys(snapshot: &Snapshot, own: &ContainerInstanceArn, of: &BTreeSet<ContainerInstanceArn>) -> Keys {
    let rows = of.iter().filter(|arn| *arn != own).filter_map(|arn| snapshot.instance(arn));
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| row.instance.registered_at);
    rows.into_iter().filter_map(|row| Some((host(row)?, row.instance.wireguard.clone()?))).collect()
}

/// What the instance's own tasks in the VPC know by Service Connect.
fn aliases(
    snapshot: &Snapshot,
    scope: &Scope,
    vpc: &VpcId,
    interfaces: &BTreeMap<InterfaceId, InterfaceView>,
) -> Option<Arc<Aliases>> {
    let asked: BTreeSet<_> = interfaces.values().filter_map(|interface| interface.connect.as_ref()).collect();
    if asked.is_empty() {
        return None;
    }
    let view = |alias: discovery::Alias| AliasView { address: alias.address, ports: alias.ports };
    let all = discovery::aliases(snapshot, scope, vpc, &asked).into_iter();
    let all: Aliases =
        all.map(|(id, names)| (id, names.into_iter().map(|(name, alias)| (name, view(alias))).collect())).collect();
    (!all.is_empty()).then(|| Arc::new(all))
}

/// What the VPC's resolver answers of its private namespaces.
fn names(snapshot: &Snapshot, scope: &Scope, vpc: &VpcId) -> Names {
    let Some(known) = snapshot.discovery(scope) else { return Names::default() };
    let zone = |namespace: &Arc<Namespace>| match &namespace.kind {
        NamespaceKind::PrivateDns { vpc: of, soa_ttl } if of == vpc => {
            Some((namespace.name.to_ascii_lowercase(), *soa_ttl))
        }
        NamespaceKind::PrivateDns { .. } | NamespaceKind::Http => None,
    };
    let zones: BTreeMap<String, u32> = known.namespaces().filter_map(zone).collect();
    if zones.is_empty() {
        return Names::default();
    }
    let all = discovery::records(snapshot, scope, vpc);
    Names { zones, names: all.into_iter().map(|(name, answers)| (name, view(answers))).collect() }
}

fn view(answers: Answers) -> NameView {
    let most = match answers.routing {
        Routing::Multivalue => MULTIVALUE,
        Routing::Weighted => 1,
    };
    let ttl = answers.records.iter().map(|record| record.ttl).min().unwrap_or(0);
    let mut name = NameView { ttl, most, ..NameView::default() };
    for record in answers.records {
        match record.data {
            Data::A(address) => name.a.push(address),
            Data::Srv { priority, weight, port, target } => name.srv.push(SrvView { priority, weight, port, target }),
        }
    }
    name
}

fn facts(network: &Network, id: &VpcId, vni: u32, places: &BTreeMap<NatGatewayId, Place>) -> Option<VpcFacts> {
    let vpc = network.vpc(id)?;
    let subnets = network.subnets_of(id).map(|subnet| {
        let routes = routes(network, subnet, places);
        (subnet.id.clone(), SubnetView { cidr: subnet.cidr, routes })
    });
    let groups = network.security_groups().filter(|group| group.vpc == *id);
    let allowed = |group: &model::network::SecurityGroup| group.rules.iter().map(|rule| rule.allowed.clone()).collect();
    Some(VpcFacts {
        vni,
        cidrs: vec![vpc.cidr],
        region: vpc.scope.region.to_string(),
        dns_support: vpc.dns_support,
        encrypted: false,
        subnets: subnets.collect(),
        groups: groups.map(|group| (group.id.clone(), allowed(group))).collect(),
    })
}

/// What a subnet's route table says of what leaves the VPC.
fn routes(network: &Network, subnet: &Subnet, places: &BTreeMap<NatGatewayId, Place>) -> Vec<(ipnet::Ipv4Net, Way)> {
    let Some(table) = network.route_table_of(subnet) else { return Vec::new() };
    let way = |route: &model::network::Route| match &route.target {
        _ if !network.is_active(&subnet.vpc, route) => Way::Nowhere,
        RouteTarget::InternetGateway(_) => Way::Internet,
        RouteTarget::NatGateway(id) => {
            let found = network.nat_gateway(id).and_then(|gateway| Some((gateway, address_of(network, gateway)?)));
            let Some((gateway, address)) = found else { return Way::Nowhere };
            let public = gateway.allocation.as_ref().and_then(|id| network.address(id)).map(|a| a.public_ip);
            // A gateway has its way out by its own subnet's routes.
            let public = public.filter(|_| leads_to_internet(network, &gateway.subnet));
            Way::Nat { gateway: address, public, home: places.get(id).map(|place| place.host) }
        }
    };
    table.routes.iter().map(|route| (route.destination, way(route))).collect()
}

/// Whether any of a subnet's routes leads to an internet gateway that is there.
fn leads_to_internet(network: &Network, subnet: &SubnetId) -> bool {
    let Some(subnet) = network.subnet(subnet) else { return false };
    let Some(table) = network.route_table_of(subnet) else { return false };
    let leads = |route: &model::network::Route| {
        matches!(route.target, RouteTarget::InternetGateway(_)) && network.is_active(&subnet.vpc, route)
    };
    table.routes.iter().any(leads)
}

fn address_of(network: &Network, gateway: &NatGateway) -> Option<Ipv4Addr> {
    network.interface(&gateway.interface)?.addresses.first().copied()
}

/// The instance that does a NAT gateway's work.
struct Place {
    vpc: VpcId,
    instance: ContainerInstanceArn,
    host: Ipv4Addr,
}

/// Where the NAT gateways of VPCs with tasks have their places. Each is drawn among the connected
/// instances of the gateway's zone, or of all where that has none, by a hash of both: an instance that comes or goes moves
/// few of them.
fn places(snapshot: &Snapshot, scope: &Scope, network: &Network) -> BTreeMap<NatGatewayId, Place> {
    let used: BTreeSet<&VpcId> = network.interfaces().filter(|i| i.task.is_some()).map(|i| &i.vpc).collect();
    let gateways: Vec<_> = network.nat_gateways().filter(|gateway| used.contains(&gateway.vpc)).collect();
    if gateways.is_empty() {
        return BTreeMap::new();
    }
    let rows = snapshot.clusters(scope, None).flat_map(|cluster| cluster.instances());
    let able = |row: &&Arc<InstanceRow>| row.is_registered() && row.instance.agent_connected && host(row).is_some();
    let able: Vec<_> = rows.filter(able).filter(|row| can_carry(row)).collect();
    let place = |gateway: &&Arc<NatGateway>| {
        let zone = network.subnet(&gateway.subnet).map(|subnet| subnet.availability_zone.as_str());
        let near = able.iter().filter(|row| row.zone.as_deref() == zone);
        let all: Vec<_> = near.clone().next().map_or_else(|| able.iter().collect(), |_| near.collect());
        let row = all.into_iter().max_by_key(|row| draw(gateway.id.as_str(), row.instance.arn.id.as_str()))?;
        let place = Place { vpc: gateway.vpc.clone(), instance: row.instance.arn.clone(), host: host(row)? };
        Some((gateway.id.clone(), place))
    };
    gateways.iter().copied().filter_map(|gateway| place(&gateway)).collect()
}

/// By which an agent tells that it makes tasks' interfaces. Source: the original agent.
const CAPABILITY: &str = "ecs.capability.task-eni";

/// Whether the instance's agent knows of VPCs.
pub(super) fn can_carry(row: &InstanceRow) -> bool {
    row.instance.attributes.contains_key(CAPABILITY)
}

fn draw(gateway: &str, instance: &str) -> [u8; 32] {
    Sha256::digest(format!("{gateway}/{instance}")).into()
}

/// The address at which other instances reach it.
fn host(row: &InstanceRow) -> Option<Ipv4Addr> {
    match row.instance.address {
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(_)) | None => None,
    }
}

/// Each VPC's number: a hash of its id, and where an older VPC has that, the next that is free.
fn numbers(snapshot: &Snapshot) -> BTreeMap<VpcId, u32> {
    let mut vpcs: Vec<_> = snapshot.networks().flat_map(|(_, network)| network.vpcs()).collect();
    vpcs.sort_by_key(|vpc| (vpc.created_at, vpc.id.clone()));
    let (mut taken, mut numbers) = (BTreeSet::new(), BTreeMap::new());
    for vpc in vpcs {
        let digest = Sha256::digest(vpc.id.as_str());
        let mut number = u32::from_be_bytes([0, digest[0], digest[1], digest[2]]).max(1);
        while !taken.insert(number) {
            number = number % MAX_VNI + 1;
        }
        numbers.insert(vpc.id.clone(), number);
    }
    numbers
}

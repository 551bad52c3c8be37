//! What to do about each thing that stands in a connection's way: commands to copy, with everything filled in that is known.

use super::{ends::ANYBODY, fetch::World};
use model::network::{
    DEFAULT_GROUP, InterfaceId, RouteTableId, SecurityGroupId, SubnetId, VpcId,
    reach::{Denial, Probe, Trouble},
};

const EVERYWHERE: &str = "0.0.0.0/0";

/// What opens it; nothing where nothing can.
pub(super) fn advice(world: &World, probe: Probe, trouble: &Trouble) -> Vec<String> {
    let one = |text: String| vec![text];
    match trouble {
        Trouble::NoIngress(denial) => one(rule(world, "authorize-security-group-ingress", denial, probe)),
        Trouble::NoEgress(denial) => one(rule(world, "authorize-security-group-egress", denial, probe)),
        Trouble::NoSender(_) | Trouble::Nobody { .. } | Trouble::Elsewhere(_) => {
            one("longshore net lists who has which address".to_owned())
        }
        Trouble::NoRoute { subnet, table: Some(table), .. } => route_out(world, "create-route", table, subnet),
        Trouble::NoRoute { table: None, .. } | Trouble::TakesNone(_) => Vec::new(),
        Trouble::Blackhole { table, destination, .. } => {
            let of_table = |subnet: &&std::sync::Arc<model::network::Subnet>| {
                world.network.route_table_of(subnet).is_some_and(|own| own.id == *table)
            };
            let subnet = world.network.subnets().find(of_table).map(|subnet| subnet.id.clone());
            let out = subnet.map(|subnet| route_out(world, "replace-route", table, &subnet)).unwrap_or_default();
            out.into_iter().map(|command| command.replace(EVERYWHERE, &destination.to_string())).collect()
        }
        Trouble::NoPublicAddress(id) => {
            let mut ways = public_address(world, id);
            ways.push("Or have it in a subnet whose route leads to a NAT gateway".to_owned());
            ways
        }
        Trouble::PrivateGateway(_) => one(
            "aws ec2 create-nat-gateway --subnet-id SUBNET --allocation-id EIPALLOC makes a public one; route to that"
                .to_owned(),
        ),
        Trouble::StrandedGateway { subnet, .. } | Trouble::Unanswered { subnet, .. } => to_gateway(world, subnet),
        Trouble::NotPublic { holder: Some((id, _)), .. } => match world.network.addresses_of(id).next() {
            Some(public) => one(format!("Ask for its public address, {}", public.public_ip)),
            None => public_address(world, id),
        },
        Trouble::NotPublic { holder: None, .. } => one("longshore net lists who has which address".to_owned()),
    }
}

/// The rule that is missing, in the group that is likeliest meant: not the one that came with the VPC if there is another.
fn rule(world: &World, operation: &str, denial: &Denial, probe: Probe) -> String {
    let own = |id: &&SecurityGroupId| world.network.security_group(id).is_some_and(|group| group.name != DEFAULT_GROUP);
    let Some(group) = denial.groups.iter().find(own).or(denial.groups.first()) else {
        return format!(
            "aws ec2 modify-network-interface-attribute --network-interface-id {} --groups GROUP",
            denial.interface
        );
    };
    let peer_group = denial.peer_groups.iter().find(own).or(denial.peer_groups.first());
    let cidr = if denial.peer == ANYBODY { EVERYWHERE.to_owned() } else { format!("{}/32", denial.peer) };
    let (protocol, port) = match probe {
        Probe::Tcp(port) => ("tcp", port),
        Probe::Udp(port) => ("udp", port),
        Probe::Icmp(kind, _) => {
            let peer = peer_group.map_or_else(
                || format!("IpRanges=[{{CidrIp={cidr}}}]"),
                |id| format!("UserIdGroupPairs=[{{GroupId={id}}}]"),
            );
            return format!(
                "aws ec2 {operation} --group-id {group} --ip-permissions \
                 'IpProtocol=icmp,FromPort={kind},ToPort=-1,{peer}'"
            );
        }
    };
    let peer = peer_group.map_or_else(|| format!("--cidr {cidr}"), |id| format!("--source-group {id}"));
    format!("aws ec2 {operation} --group-id {group} --protocol {protocol} --port {port} {peer}")
}

fn command(operation: &str, table: &RouteTableId, target: &str) -> String {
    format!("aws ec2 {operation} --route-table-id {table} --destination-cidr-block {EVERYWHERE} {target}")
}

/// Where no internet gateway is there yet, with a name to be filled in.
const NEW_GATEWAY: &str = "IGW";

/// The VPC's internet gateway, and what makes one if it has none.
fn internet_gateway(world: &World, vpc: &VpcId) -> (String, Vec<String>) {
    match world.network.gateway_of(vpc) {
        Some(gateway) => (gateway.id.to_string(), Vec::new()),
        None => {
            let attach = format!("aws ec2 attach-internet-gateway --vpc-id {vpc} --internet-gateway-id {NEW_GATEWAY}");
            (NEW_GATEWAY.to_owned(), vec!["aws ec2 create-internet-gateway".to_owned(), attach])
        }
    }
}

/// A route out for a subnet: by the internet gateway for those with public addresses, by a NAT gateway for the others.
fn route_out(world: &World, operation: &str, table: &RouteTableId, subnet: &SubnetId) -> Vec<String> {
    let Some(vpc) = world.network.subnet(subnet).map(|subnet| subnet.vpc.clone()) else { return Vec::new() };
    let (gateway, mut commands) = internet_gateway(world, &vpc);
    let own = command(operation, table, &format!("--gateway-id {gateway}"));
    commands.push(format!("{own}  # for those with a public address"));
    let mut gateways = world.network.nat_gateways();
    if let Some(nat) = gateways.find(|nat| nat.vpc == vpc && nat.allocation.is_some() && nat.subnet != *subnet) {
        let other = command(operation, table, &format!("--nat-gateway-id {}", nat.id));
        commands.push(format!("{other}  # or this, for the others"));
    }
    commands
}

/// A route of a subnet to its VPC's internet gateway.
fn to_gateway(world: &World, subnet: &SubnetId) -> Vec<String> {
    let Some(subnet) = world.network.subnet(subnet) else { return Vec::new() };
    let Some(table) = world.network.route_table_of(subnet) else { return Vec::new() };
    let (gateway, mut commands) = internet_gateway(world, &subnet.vpc);
    let is_there = table.routes.iter().any(|route| route.destination.prefix_len() == 0);
    let operation = if is_there { "replace-route" } else { "create-route" };
    commands.push(command(operation, &table.id, &format!("--gateway-id {gateway}")));
    commands
}

/// A public address for an interface. A task gets one when it starts, and only then.
fn public_address(world: &World, id: &InterfaceId) -> Vec<String> {
    if world.network.interface(id).is_some_and(|interface| interface.nat_gateway.is_some()) {
        return Vec::new();
    }
    if world.task_of(id).is_some() {
        let how = "Start the task on Fargate with assignPublicIp ENABLED in its network configuration (assign_public_ip in \
                   ecs-params.yml); one on an instance gets no public address, and goes out through a NAT gateway";
        return vec![how.to_owned()];
    }
    let associate = format!("aws ec2 associate-address --network-interface-id {id} --allocation-id EIPALLOC");
    vec!["aws ec2 allocate-address".to_owned(), associate]
}

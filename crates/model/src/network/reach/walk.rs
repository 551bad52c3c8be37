//! The walk itself: by the routes to the receiver or out, and past the security groups of both ends.

use super::super::{
    Direction, Interface, NatGatewayId, Network, Peer, Route, RouteTable, RouteTarget, Subnet, SubnetId,
};
use super::{
    Probe, Sender, Step, Trouble, is_private,
    step::{Allowance, Denial},
};
use std::{net::Ipv4Addr, sync::Arc};

type Steps = Vec<Result<Step, Trouble>>;

/// Where a way has led.
enum End<'a> {
    /// To an interface, which sees the packet come from there.
    Interface(&'a Arc<Interface>, Seen<'a>),
    /// To something that no groups of ours are before.
    Beyond,
    /// Nowhere.
    Lost,
}

/// How one end sees the other: from where, and who it is if rules can name its groups.
#[derive(Clone, Copy)]
struct Seen<'a> {
    address: Ipv4Addr,
    neighbour: Option<&'a Interface>,
}

/// The way: the routes first, then the groups of both ends, so that who reads it learns of both what is missing.
pub(super) fn walk(network: &Network, sender: &Sender, to: Ipv4Addr, probe: Probe) -> Steps {
    let mut steps = Vec::new();
    let end = match sender {
        Sender::Outside(from) => {
            if network.holders(to).iter().any(|holder| holder.is_public) {
                arrive(network, *from, to, &mut steps)
            } else {
                steps.push(Err(match not_public(network, to) {
                    Some(trouble) => trouble,
                    None => Trouble::Elsewhere(to),
                }));
                End::Lost
            }
        }
        Sender::Interface(id, from) => {
            let Some(interface) = network.interface(id) else { return vec![Err(Trouble::NoSender(id.clone()))] };
            if interface.addresses.contains(&to) {
                return vec![Ok(Step::Itself(id.clone()))];
            }
            if is_served(network, interface, to, probe) {
                return vec![Ok(Step::Served(to))];
            }
            let end = leave(network, interface, *from, to, &mut steps);
            let neighbour = match &end {
                End::Interface(receiver, Seen { neighbour: Some(_), .. }) => Some(&***receiver),
                End::Interface(..) | End::Beyond | End::Lost => None,
            };
            steps.push(pass(network, interface, Direction::Egress, probe, Seen { address: to, neighbour }));
            end
        }
    };
    if let End::Interface(receiver, seen) = end {
        steps.push(pass(network, receiver, Direction::Ingress, probe, seen));
    }
    steps
}

/// AWS: the resolver, at the address two above the VPC's first one and at one that is the same in all; and the services that
/// tell tasks and instances of themselves.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(169, 254, 170, 2), Ipv4Addr::new(169, 254, 169, 254)];

fn is_served(network: &Network, sender: &Interface, to: Ipv4Addr, probe: Probe) -> bool {
    let resolves =
        || network.vpc(&sender.vpc).is_some_and(|vpc| vpc.dns_support && [RESOLVER, vpc.resolver()].contains(&to));
    match probe {
        Probe::Udp(53) | Probe::Tcp(53) => resolves(),
        Probe::Tcp(80) => METADATA.contains(&to),
        Probe::Tcp(_) | Probe::Udp(_) | Probe::Icmp(..) => false,
    }
}

/// From an interface: within its VPC, or by its subnet's routes.
fn leave<'a>(network: &'a Network, sender: &'a Interface, from: Ipv4Addr, to: Ipv4Addr, steps: &mut Steps) -> End<'a> {
    let Some(vpc) = network.vpc(&sender.vpc).filter(|vpc| vpc.cidr.contains(&to)) else {
        return match out(network, sender, from, to, steps) {
            Ok(public) => onwards(network, public, to, steps),
            Err(trouble) => {
                steps.push(Err(trouble));
                End::Lost
            }
        };
    };
    let mut here = network.interfaces().filter(|other| other.vpc == vpc.id);
    let Some(receiver) = here.find(|other| other.addresses.contains(&to)) else {
        steps.push(Err(Trouble::Nobody { vpc: vpc.id.clone(), address: to }));
        return End::Lost;
    };
    steps.push(Ok(Step::Local { vpc: vpc.id.clone(), cidr: vpc.cidr }));
    if let Some(gateway) = &receiver.nat_gateway {
        steps.push(Err(Trouble::TakesNone(gateway.clone())));
        return End::Lost;
    }
    End::Interface(receiver, Seen { address: from, neighbour: Some(sender) })
}

/// Out of the VPC; answers the public address under which the packet goes.
fn out(
    network: &Network,
    sender: &Interface,
    from: Ipv4Addr,
    to: Ipv4Addr,
    steps: &mut Steps,
) -> Result<Ipv4Addr, Trouble> {
    let (table, route) = route(network, &sender.subnet, to)?;
    let (id, destination, target) = (table.id.clone(), route.destination, route.target.clone());
    if !network.is_active(&table.vpc, route) {
        return Err(Trouble::Blackhole { table: id, destination, target });
    }
    steps.push(Ok(Step::Routed { table: id, destination, target }));
    match &route.target {
        RouteTarget::InternetGateway(_) => {
            let address = network.public_of(&sender.id, from);
            let address = address.ok_or_else(|| Trouble::NoPublicAddress(sender.id.clone()))?;
            steps.push(Ok(Step::Public { interface: sender.id.clone(), address }));
            Ok(address)
        }
        RouteTarget::NatGateway(gateway) => {
            let address = translated(network, gateway, to)?;
            steps.push(Ok(Step::Translated { gateway: gateway.clone(), address }));
            Ok(address)
        }
    }
}

/// The public address of a NAT gateway that can send there.
fn translated(network: &Network, id: &NatGatewayId, to: Ipv4Addr) -> Result<Ipv4Addr, Trouble> {
    let private = || Trouble::PrivateGateway(id.clone());
    let gateway = network.nat_gateway(id).ok_or_else(private)?;
    let allocation = gateway.allocation.as_ref().and_then(|allocation| network.address(allocation));
    let public = allocation.ok_or_else(private)?.public_ip;
    if !leads_out(network, &gateway.subnet, to) {
        return Err(Trouble::StrandedGateway { gateway: id.clone(), subnet: gateway.subnet.clone() });
    }
    Ok(public)
}

/// Whether a subnet's packets to an address go to an internet gateway that is there.
fn leads_out(network: &Network, subnet: &SubnetId, to: Ipv4Addr) -> bool {
    let found = route(network, subnet, to);
    found.is_ok_and(|(table, route)| {
        matches!(route.target, RouteTarget::InternetGateway(_)) && network.is_active(&table.vpc, route)
    })
}

/// The route of a subnet's packets to an address: the longest one that has it.
fn route<'a>(
    network: &'a Network,
    subnet: &SubnetId,
    to: Ipv4Addr,
) -> Result<(&'a Arc<RouteTable>, &'a Route), Trouble> {
    let table = network.subnet(subnet).and_then(|subnet: &Arc<Subnet>| network.route_table_of(subnet));
    let found = table.and_then(|table| {
        let matching = table.routes.iter().filter(|route| route.destination.contains(&to));
        Some((table, matching.max_by_key(|route| route.destination.prefix_len())?))
    });
    found.ok_or_else(|| Trouble::NoRoute {
        subnet: subnet.clone(),
        table: table.map(|table| table.id.clone()),
        address: to,
    })
}

/// On the internet: back to an interface here, or away.
fn onwards<'a>(network: &'a Network, from: Ipv4Addr, to: Ipv4Addr, steps: &mut Steps) -> End<'a> {
    if network.holders(to).iter().any(|holder| holder.is_public) {
        return arrive(network, from, to, steps);
    }
    if let Some(trouble) = not_public(network, to) {
        steps.push(Err(trouble));
        return End::Lost;
    }
    steps.push(Ok(Step::Outside(to)));
    End::Beyond
}

fn not_public(network: &Network, address: Ipv4Addr) -> Option<Trouble> {
    let holder = network.holders(address).into_iter().find(|holder| !holder.is_public);
    let holder = holder.and_then(|holder| network.interface(&holder.interface));
    let holder = holder.map(|interface| (interface.id.clone(), interface.vpc.clone()));
    (holder.is_some() || is_private(address)).then_some(Trouble::NotPublic { address, holder })
}

/// From the internet to a public address that leads to an interface.
fn arrive<'a>(network: &'a Network, from: Ipv4Addr, to: Ipv4Addr, steps: &mut Steps) -> End<'a> {
    let leading = network.holders(to).into_iter().find(|holder| holder.is_public);
    let found = leading.and_then(|holder| Some((network.interface(&holder.interface)?, holder.private)));
    let Some((receiver, private)) = found else {
        steps.push(Err(Trouble::Elsewhere(to)));
        return End::Lost;
    };
    let trouble = if let Some(gateway) = &receiver.nat_gateway {
        Some(Trouble::TakesNone(gateway.clone()))
    } else if !leads_out(network, &receiver.subnet, from) {
        Some(Trouble::Unanswered { interface: receiver.id.clone(), subnet: receiver.subnet.clone() })
    } else {
        None
    };
    if let Some(trouble) = trouble {
        steps.push(Err(trouble));
        return End::Lost;
    }
    steps.push(Ok(Step::Arrived { address: to, interface: receiver.id.clone(), private }));
    End::Interface(receiver, Seen { address: from, neighbour: None })
}

/// Past the groups of one end.
fn pass(
    network: &Network,
    interface: &Interface,
    direction: Direction,
    probe: Probe,
    other: Seen<'_>,
) -> Result<Step, Trouble> {
    let allows = |peer: &Peer| match peer {
        Peer::V4(net) => net.contains(&other.address),
        Peer::V6(_) => false,
        // AWS: a group stands for the private addresses of those in it.
        Peer::Group(id) => other.neighbour.is_some_and(|neighbour| neighbour.groups.contains(id)),
    };
    for group in interface.groups.iter().filter_map(|id| network.security_group(id)) {
        let mut rules = group.rules.iter().filter(|rule| rule.allowed.direction == direction);
        let found = rules.find(|rule| rule.allowed.traffic.includes(probe) && allows(&rule.allowed.peer));
        if let Some(rule) = found {
            let allowance =
                Allowance { interface: interface.id.clone(), group: group.id.clone(), rule: rule.id.clone() };
            return Ok(match direction {
                Direction::Egress => Step::Egress(allowance),
                Direction::Ingress => Step::Ingress(allowance),
            });
        }
    }
    let denial = Denial {
        interface: interface.id.clone(),
        groups: interface.groups.clone(),
        peer: other.address,
        peer_groups: other.neighbour.map(|neighbour| neighbour.groups.clone()).unwrap_or_default(),
    };
    Err(match direction {
        Direction::Egress => Trouble::NoEgress(denial),
        Direction::Ingress => Trouble::NoIngress(denial),
    })
}

//! May this new connection pass? The plain model of a VPC on one host, written from what AWS documents and not from the rules,
//! which the tests compare with it.

use super::rules::served;
use super::ruleset::Protocol;
use super::spec::{Group, Peer, Port, Rule, Subnet, Traffic, Vpc, Way};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The first packet of a connection, as it comes to the router of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// How it comes.
    pub entry: Entry,
    /// Its source address.
    pub source: Ipv4Addr,
    /// Its destination address.
    pub destination: Ipv4Addr,
    /// What it carries.
    pub payload: Payload,
}

/// How a packet comes to the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// From the interface of this id on this host.
    Port(String),
    /// From another host of the VPC.
    Overlay,
    /// From outside, addressed to a public address.
    Uplink,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// TCP to this port.
    Tcp(u16),
    /// UDP to this port.
    Udp(u16),
    /// ICMP of this type and code.
    Icmp(u8, u8),
    /// Another protocol.
    Other(u8),
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Pass(Exit),
    /// It does not.
    Refused(Refusal),
}

/// How a packet leaves the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// To the interface of this id on this host.
    Port(String),
    /// To another host of the VPC, with this underlay address.
    Host(Ipv4Addr),
    /// Out of the VPC, under this public address.
    Outside(Ipv4Addr),
    /// The router answers itself.
    Served,
}

/// Why a packet does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The interface it comes from is none of this VPC.
    UnknownPort,
    /// Its source is not the interface's address.
    Spoofed,
    /// No egress rule of the sender's security groups allows it.
    Egress,
    /// No ingress rule of the receiver's security groups allows it.
    Ingress,
    /// Nothing has this address, or the route table leads nowhere.
    NoRoute,
    /// The route leads out of the VPC, and there is no public address to go under.
    NoPublicAddress,
    /// It is for the router's own services, and not one of them.
    NotServed,
}

/// May this new connection pass this host's router? A connection between hosts needs both to say yes.
pub fn judge(vpc: &Vpc, packet: &Packet) -> Verdict {
    match decide(vpc, packet) {
        Ok(exit) => Verdict::Pass(exit),
        Err(refusal) => Verdict::Refused(refusal),
    }
}

fn decide(vpc: &Vpc, packet: &Packet) -> Result<Exit, Refusal> {
    let sender = match &packet.entry {
        Entry::Port(id) => Some(vpc.ports.get(id).ok_or(Refusal::UnknownPort)?),
        Entry::Overlay | Entry::Uplink => None,
    };
    if sender.is_some_and(|port| port.source_dest_check && port.address != packet.source) {
        return Err(Refusal::Spoofed);
    }
    let mut destination = packet.destination;
    if packet.entry == Entry::Uplink {
        let owner = vpc.ports.values().find(|port| port.public == Some(packet.destination));
        destination = owner.ok_or(Refusal::NoRoute)?.address;
    }
    let services = served(vpc);
    if services.iter().any(|(address, _, _)| *address == destination) {
        let listed = match packet.payload {
            Payload::Tcp(port) => services.contains(&(destination, Protocol::Tcp, port)),
            Payload::Udp(port) => services.contains(&(destination, Protocol::Udp, port)),
            Payload::Icmp(..) | Payload::Other(_) => false,
        };
        let own = sender.is_some_and(|port| port.address == packet.source);
        return if listed && own { Ok(Exit::Served) } else { Err(Refusal::NotServed) };
    }
    let (exit, receiver) = route(vpc, packet, sender, destination)?;
    let allows = |port: &Port, rules: fn(&Group) -> &[Rule], peer| {
        let groups = port.groups.iter().filter_map(|id| vpc.groups.get(id));
        groups.flat_map(rules).any(|rule| allowed(vpc, rule, packet.payload, peer))
    };
    if sender.is_some_and(|port| !allows(port, |group| &group.egress, destination)) {
        return Err(Refusal::Egress);
    }
    if receiver.is_some_and(|port| !allows(port, |group| &group.ingress, packet.source)) {
        return Err(Refusal::Ingress);
    }
    let foreign = sender.is_some_and(|port| port.address != packet.source);
    match exit {
        // AWS: a gateway translates an interface's own address, not what it forwards for others.
        Way::Internet | Way::Nat { home: None, .. } if foreign => Err(Refusal::NoPublicAddress),
        Way::Internet => {
            let owner = vpc.ports.values().find(|port| port.address == packet.source);
            let public = owner.and_then(|port| port.public).ok_or(Refusal::NoPublicAddress)?;
            Ok(Exit::Outside(public))
        }
        Way::Nat { home: Some(host), .. } => Ok(Exit::Host(host)),
        Way::Nat { home: None, .. } => vpc.nat_public(exit).map(Exit::Outside).ok_or(Refusal::NoRoute),
        Way::Nowhere => match receiver {
            Some(port) => {
                let id = vpc.ports.iter().find(|(_, other)| *other == port).map(|(id, _)| id.clone());
                Ok(Exit::Port(id.ok_or(Refusal::NoRoute)?))
            }
            None => Ok(Exit::Host(vpc.remote.get(&destination).copied().ok_or(Refusal::NoRoute)?)),
        },
    }
}

/// Where the packet goes: to an interface on this host, or else by this way ([`Way::Nowhere`]: to another host).
fn route<'a>(
    vpc: &'a Vpc,
    packet: &Packet,
    sender: Option<&Port>,
    destination: Ipv4Addr,
) -> Result<(Way, Option<&'a Port>), Refusal> {
    if let Some(port) = vpc.ports.values().find(|port| port.address == destination) {
        return Ok((Way::Nowhere, Some(port)));
    }
    let from_host = packet.entry == Entry::Overlay;
    if vpc.remote.contains_key(&destination) {
        // Hosts send straight to each other.
        return if from_host { Err(Refusal::NoRoute) } else { Ok((Way::Nowhere, None)) };
    }
    if vpc.cidrs.iter().any(|cidr| cidr.contains(&destination)) {
        return Err(Refusal::NoRoute);
    }
    let own = sender.filter(|port| !port.source_dest_check).and_then(|port| vpc.subnets.get(&port.subnet));
    let subnet = |address| vpc.subnets.values().find(|subnet| subnet.cidr.contains(address));
    let mut tables = own.into_iter().chain(subnet(&packet.source));
    // The first table that has a route decides.
    let way = tables.find_map(|subnet| way(subnet, destination)).ok_or(Refusal::NoRoute)?;
    match way {
        Way::Nowhere => Err(Refusal::NoRoute),
        Way::Nat { home: Some(_), .. } if from_host => Err(Refusal::NoRoute),
        Way::Nat { home: None, .. } if vpc.nat_public(way).is_none() => Err(Refusal::NoRoute),
        Way::Internet | Way::Nat { .. } => Ok((way, None)),
    }
}

fn way(subnet: &Subnet, destination: Ipv4Addr) -> Option<Way> {
    let matching = subnet.routes.iter().filter(|(to, _)| to.contains(&destination));
    // Of two routes to one range, which a route table does not have, the smaller way; so does the table.
    matching.max_by_key(|(to, way)| (to.prefix_len(), std::cmp::Reverse(*way))).map(|(_, way)| *way)
}

fn allowed(vpc: &Vpc, rule: &Rule, payload: Payload, peer: Ipv4Addr) -> bool {
    let traffic = match (rule.traffic, payload) {
        (Traffic::All, _) => true,
        (Traffic::Tcp(low, high), Payload::Tcp(port)) | (Traffic::Udp(low, high), Payload::Udp(port)) => {
            (low..=high).contains(&port)
        }
        (Traffic::Icmp(kind, code), Payload::Icmp(its_kind, its_code)) => {
            kind < 0 || (kind == i16::from(its_kind) && (code < 0 || code == i16::from(its_code)))
        }
        (Traffic::Other(number), _) => number == protocol(payload),
        (Traffic::Tcp(..) | Traffic::Udp(..) | Traffic::Icmp(..), _) => false,
    };
    let peers = match &rule.peer {
        Peer::Net(net) => within(net, peer),
        Peer::Group(id) => vpc.members.get(id).is_some_and(|members| members.contains(&peer)),
    };
    traffic && peers
}

fn within(net: &Ipv4Net, address: Ipv4Addr) -> bool {
    net.prefix_len() == 0 || net.contains(&address)
}

fn protocol(payload: Payload) -> u8 {
    match payload {
        Payload::Icmp(..) => 1,
        Payload::Tcp(_) => 6,
        Payload::Udp(_) => 17,
        Payload::Other(number) => number,
    }
}

//! From what is wanted of a VPC to its router's nftables table. Pure.
//!
//! An interface costs elements of sets, never rules: chains stand per set of groups and per group, so that adding an
//! interface changes a handful of elements and changing a group's rules one chain, whatever else there is.
//!
//! The way of a packet: `entering` (who sends under a wrong address is dropped, before anything is remembered), `inward`
//! (public addresses to private ones), `landing` (what came from outside for nobody), then either `served` (the router's own
//! services), or `leaving` (the sender's groups) and `arriving` (the receiver's groups), `outward` (private addresses to public
//! ones) and `outside` (nothing leaves under a private address). Security groups see private addresses, as they do on AWS.

use super::ruleset::{Act, Chain, Data, Key, Line, Match, Protocol, Ruleset, Set, addresses, base, map, rule, set};
use super::spec::{Group, Peer, Rule, Traffic, Vpc, Way};
use crate::names::IfName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The VXLAN device.
pub(crate) const OVERLAY: &str = "vx";
/// The router's end of the pair that leads out of the VPC.
pub(crate) const UPLINK: &str = "up";

/// The task metadata and credentials endpoint, the resolver, the instance metadata service.
pub(crate) const TASK_METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
pub(crate) const INSTANCE_METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// What the router itself answers: nothing else is reachable on it, and only for tasks of this host.
// AWS: security groups do not filter the resolver and the metadata services.
pub(crate) fn served(vpc: &Vpc) -> BTreeSet<(Ipv4Addr, Protocol, u16)> {
    let resolvers = [Some(RESOLVER), vpc.resolver()].into_iter().flatten();
    let dns = resolvers.flat_map(|address| [(address, Protocol::Udp, 53), (address, Protocol::Tcp, 53)]);
    dns.chain([(TASK_METADATA, Protocol::Tcp, 80), (INSTANCE_METADATA, Protocol::Tcp, 80)]).collect()
}

/// The router's table for a VPC.
pub fn compile(vpc: &Vpc) -> Ruleset {
    let mut ruleset = Ruleset { sets: sets(vpc), chains: base_chains(vpc) };
    let mut named = BTreeSet::new();
    let mut combinations = BTreeSet::new();
    for port in vpc.ports.values() {
        combinations.insert(&port.groups);
    }
    let nothing = Group::default();
    for id in combinations.iter().flat_map(|groups| groups.iter()) {
        let group = vpc.groups.get(id).unwrap_or(&nothing);
        for (direction, rules) in [(Direction::Out, &group.egress), (Direction::In, &group.ingress)] {
            let lines = rules.iter().map(|allowed| line(direction, allowed)).collect();
            ruleset.chains.insert(group_chain(direction, id), Chain { hook: None, rules: lines });
            named.extend(rules.iter().filter_map(|allowed| match &allowed.peer {
                Peer::Group(id) => Some(id),
                Peer::Net(_) => None,
            }));
        }
    }
    for groups in combinations {
        for direction in [Direction::Out, Direction::In] {
            let jumps = groups.iter().map(|id| rule([], Act::Jump(group_chain(direction, id)))).collect();
            ruleset.chains.insert(combination(direction, groups), Chain { hook: None, rules: jumps });
        }
    }
    let nobody = BTreeSet::new();
    for id in named {
        let members = vpc.members.get(id).unwrap_or(&nobody);
        ruleset.sets.insert(members_set(id), set("ipv4_addr", addresses(members)));
    }
    ruleset
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Out,
    In,
}

impl Direction {
    fn prefix(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

fn group_chain(direction: Direction, group: &str) -> String {
    format!("{}-{group}", direction.prefix())
}

/// The chain of all interfaces with exactly these groups. Up to sixteen ids do not fit into a name, so it is a hash of them.
fn combination(direction: Direction, groups: &BTreeSet<String>) -> String {
    let ids: Vec<_> = groups.iter().map(String::as_str).collect();
    format!("{}_{}", direction.prefix(), IfName::derive("", &ids.join(" ")))
}

fn members_set(group: &str) -> String {
    format!("of-{group}")
}

fn sets(vpc: &Vpc) -> BTreeMap<String, Set> {
    let ports = || vpc.ports.values();
    let unchecked = ports().filter(|port| !port.source_dest_check).map(|port| Key::Interface(port.ifname()));
    let goes = |direction| {
        let to = move |groups| Data::Goto(combination(direction, groups));
        map("ifname : verdict", ports().map(move |port| (Key::Interface(port.ifname()), to(&port.groups))))
    };
    let outward = ports().filter_map(|port| Some((Key::Address(port.address), Data::Address(port.public?))));
    let inward = ports().filter_map(|port| Some((Key::Address(port.public?), Data::Address(port.address))));
    let own = ports().map(|port| Key::InterfaceAndAddress(port.ifname(), port.address));
    let served = served(vpc).into_iter().map(|(address, protocol, port)| Key::Service(address, protocol, port));
    [
        ("own", set("ifname . ipv4_addr", own)),
        ("unchecked", set("ifname", unchecked)),
        ("services", set("ipv4_addr . inet_proto . inet_service", served)),
        ("publics", set("ipv4_addr", addresses(&vpc.publics()))),
        ("to_public", map("ipv4_addr : ipv4_addr", outward)),
        ("to_private", map("ipv4_addr : ipv4_addr", inward)),
        ("senders", goes(Direction::Out)),
        ("receivers", goes(Direction::In)),
    ]
    .into_iter()
    .map(|(name, set)| (name.to_owned(), set))
    .collect()
}

fn base_chains(vpc: &Vpc) -> BTreeMap<String, Chain> {
    use Match::{
        In, InAndSource, InSet, Invalid, Known, NotIn, NotInAndSource, Out, ServiceIn, SourceNotIn, Translated,
    };
    let entering = vec![
        rule([InAndSource("own")], Act::Accept),
        // Other hosts and the outside are judged elsewhere; `lo` is the router talking to itself.
        rule([In(OVERLAY)], Act::Accept),
        rule([In(UPLINK)], Act::Accept),
        rule([In("lo")], Act::Accept),
        rule([InSet("unchecked")], Act::Accept),
    ];
    let landing = vec![
        rule([NotIn(UPLINK)], Act::Accept),
        rule([Known], Act::Accept),
        rule([Translated], Act::Accept),
        // To a public address that is nobody's, or a gateway's: the internet gets no answer, as on AWS.
        rule([], Act::Drop),
    ];
    let forwarded = |own: Line| {
        vec![
            rule([Known], Act::Accept),
            rule([Invalid], Act::Drop),
            own,
            // A host that is no gateway's home any more must not send packets round in circles.
            rule([In(OVERLAY), Out(OVERLAY)], Act::Drop),
        ]
    };
    let mut leaving = forwarded(rule([], Act::MapIn("senders")));
    // AWS: a gateway translates an interface's own address, not what it forwards for others.
    leaving.insert(2, rule([InSet("unchecked"), Out(UPLINK), NotInAndSource("own")], Act::Drop));
    leaving.extend([rule([In(OVERLAY)], Act::Accept), rule([In(UPLINK)], Act::Accept)]);
    let mut arriving = forwarded(rule([], Act::MapOut("receivers")));
    arriving.extend([rule([Out(OVERLAY)], Act::Accept), rule([Out(UPLINK)], Act::Accept)]);
    let served = vec![rule([InAndSource("own"), ServiceIn("services")], Act::Accept)];
    let chains = [
        ("entering", base("type filter hook prerouting priority raw", false, entering)),
        (
            "inward",
            base(
                "type nat hook prerouting priority dstnat",
                true,
                vec![rule([In(UPLINK)], Act::DestinationByMap("to_private"))],
            ),
        ),
        ("landing", base("type filter hook prerouting priority -50", true, landing)),
        ("served", base("type filter hook input priority filter", false, served)),
        ("leaving", base("type filter hook forward priority filter", false, leaving)),
        ("arriving", base("type filter hook forward priority 10", false, arriving)),
        ("outward", base("type nat hook postrouting priority srcnat", true, outward(vpc))),
        (
            "outside",
            base(
                "type filter hook postrouting priority 110",
                true,
                vec![rule([Out(UPLINK), SourceNotIn("publics")], Act::Drop)],
            ),
        ),
    ];
    chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect()
}

/// Each subnet's ways out, longest prefix first, so that the first rule is the one the routing table chose as well.
fn outward(vpc: &Vpc) -> Vec<Line> {
    let mut lines = Vec::new();
    for subnet in vpc.subnets.values() {
        for (to, way) in subnet.longest_first() {
            let when = || [Match::Out(UPLINK), Match::Source(subnet.cidr.trunc()), Match::Destination(to)];
            match (way, vpc.nat_public(way)) {
                (Way::Internet, _) => {
                    lines.push(rule(when(), Act::SourceByMap("to_public")));
                    // Without a public address it keeps its own, with which nothing leaves.
                    lines.push(rule(when(), Act::Accept));
                }
                (_, Some(public)) => lines.push(rule(when(), Act::SourceTo(public))),
                (Way::Nowhere | Way::Nat { .. }, None) => lines.push(rule(when(), Act::Accept)),
            }
        }
    }
    lines
}

fn line(direction: Direction, allowed: &Rule) -> Line {
    let any = |number: i16| u8::try_from(number).ok();
    let mut when = match allowed.traffic {
        Traffic::All => vec![],
        Traffic::Tcp(low, high) => vec![Match::Ports(Protocol::Tcp, low, high)],
        Traffic::Udp(low, high) => vec![Match::Ports(Protocol::Udp, low, high)],
        Traffic::Icmp(kind, code) => vec![Match::Icmp(any(kind), any(kind).and_then(|_| any(code)))],
        Traffic::Other(number) => vec![Match::Ip(number)],
    };
    match (&allowed.peer, direction) {
        (Peer::Net(net), _) if net.prefix_len() == 0 => {}
        (Peer::Net(net), Direction::Out) => when.push(Match::Destination(net.trunc())),
        (Peer::Net(net), Direction::In) => when.push(Match::Source(net.trunc())),
        (Peer::Group(id), Direction::Out) => when.push(Match::DestinationIn(members_set(id))),
        (Peer::Group(id), Direction::In) => when.push(Match::SourceIn(members_set(id))),
    }
    rule(when, Act::Accept)
}

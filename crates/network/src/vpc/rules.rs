//! From what is wanted of a VPC to its router's nftables table. Pure.
//!
//! An interface costs elements of sets, never rules: chains stand per set of groups and per group, so that adding an
//! interface changes a handful of elements and changing a group's rules one chain, whatever else there is.
//!
//! The way of a packet: `entering` (who sends under a wrong address is dropped, before anything is remembered), `inward`
//! (public addresses to private ones), then either `served` (the router's own services), or `leaving` (the sender's groups) and
//! `arriving` (the receiver's groups), and `outward` (private addresses to public ones). Security groups see private addresses,
//! as they do on AWS. Every chain costs every packet time, so those that translate stand only where there is something to
//! translate, and what the first packet of a connection decides is asked of no other.

use super::ruleset::{Act, Chain, Data, Key, Line, Match, Protocol, Ruleset, Set, addresses, base, map, rule, set};
use super::spec::{Group, Peer, Rule, Traffic, Vpc, Way};
use crate::names::IfName;
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The VXLAN device.
pub(crate) const OVERLAY: &str = "vx";
/// The router's end of the pair that leads out of the VPC.
pub(crate) const UPLINK: &str = "up";

/// The task metadata and credentials endpoint, the resolver, the instance metadata service.
pub(crate) const TASK_METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
/// Beside the task metadata endpoint: the agent's way to the API.
const API_PORT: u16 = 51680;
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
pub(crate) const INSTANCE_METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Where aliases have their addresses. No VPC can have them, and no router uses them itself.
pub const ALIASES: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 64, 0), 18);
/// Whom a task talks to that an alias leads to itself.
const ITSELF: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 4);
const TCP: u8 = 6;

/// What the router itself answers: nothing else is reachable on it, and only for tasks of this host.
// AWS: security groups do not filter the resolver and the metadata services.
pub(crate) fn served(vpc: &Vpc) -> BTreeSet<(Ipv4Addr, Protocol, u16)> {
    let resolvers = [Some(RESOLVER), vpc.resolver()].into_iter().flatten();
    let dns = resolvers.flat_map(|address| [(address, Protocol::Udp, 53), (address, Protocol::Tcp, 53)]);
    let asked = [(TASK_METADATA, 80), (TASK_METADATA, API_PORT), (INSTANCE_METADATA, 80)];
    dns.chain(asked.map(|(address, port)| (address, Protocol::Tcp, port))).collect()
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
    for (at, all) in vpc.aliases.iter().filter(|(_, all)| vpc.connects() && !all.is_empty()) {
        let among = vec![rule([], Act::DestinationAmong(all.iter().copied().collect()))];
        ruleset.chains.insert(alias_chain(*at), Chain { hook: None, rules: among });
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

/// Where connections to an alias go on.
fn alias_chain((address, port): (Ipv4Addr, u16)) -> String {
    format!("alias-{:08x}-{port}", u32::from(address))
}

fn members_set(group: &str) -> String {
    format!("of-{group}")
}

fn sets(vpc: &Vpc) -> BTreeMap<String, Set> {
    let ports = || vpc.ports.values();
    let unchecked = ports().filter(|port| !port.source_dest_check).map(|port| Key::Interface(port.address));
    let goes = |direction| {
        let mut named: BTreeMap<&BTreeSet<String>, Arc<str>> = BTreeMap::new();
        let to = ports().map(|port| {
            let chain = named.entry(&port.groups).or_insert_with(|| combination(direction, &port.groups).into());
            (Key::Interface(port.address), Data::Goto(Arc::clone(chain)))
        });
        map("ifname : verdict", to)
    };
    let outward = ports().filter_map(|port| Some((Key::Address(port.address), Data::Address(port.public?))));
    let inward = ports().filter_map(|port| Some((Key::Address(port.public?), Data::Address(port.address))));
    let having = ports().filter(|port| port.public.is_some()).map(|port| Key::Address(port.address));
    let own = ports().map(|port| Key::InterfaceAndAddress(port.address, port.address));
    let connected = || ports().filter(|port| vpc.connects() && port.connected);
    let clients = connected().map(|port| Key::Interface(port.address));
    let selves = connected().map(|port| Key::Pair(port.address, port.address));
    let answered = vpc.aliases.iter().filter(|(_, all)| vpc.connects() && !all.is_empty()).map(|(at, _)| *at);
    let answered = answered.map(|at| (Key::Alias(at.0, at.1), Data::Goto(alias_chain(at).into())));
    let served = served(vpc).into_iter().map(|(address, protocol, port)| Key::Service(address, protocol, port));
    [
        ("own", set("ifname . ipv4_addr", own)),
        ("unchecked", set("ifname", unchecked)),
        ("services", set("ipv4_addr . inet_proto . inet_service", served)),
        ("have_public", set("ipv4_addr", having)),
        ("to_public", map("ipv4_addr : ipv4_addr", outward)),
        ("to_private", map("ipv4_addr : ipv4_addr", inward)),
        ("senders", goes(Direction::Out)),
        ("receivers", goes(Direction::In)),
        ("clients", set("ifname", clients)),
        ("selves", set("ipv4_addr . ipv4_addr", selves)),
        ("aliases", map("ipv4_addr . inet_service : verdict", answered)),
    ]
    .into_iter()
    .map(|(name, set)| (name.to_owned(), set))
    .collect()
}

fn base_chains(vpc: &Vpc) -> BTreeMap<String, Chain> {
    use Match::{In, InAndSource, InSet, Invalid, Known, NotInAndSource, Out, ServiceIn, Translated};
    let entering = vec![
        // Other hosts and the outside are judged elsewhere; `lo` is the router talking to itself.
        rule([In(OVERLAY)], Act::Accept),
        rule([InAndSource("own")], Act::Accept),
        rule([In(UPLINK)], Act::Accept),
        rule([In("lo")], Act::Accept),
        rule([InSet("unchecked")], Act::Accept),
    ];
    let mut leaving = vec![
        rule([Known], Act::Accept),
        rule([Invalid], Act::Drop),
        // AWS: a gateway translates an interface's own address, not what it forwards for others.
        rule([InSet("unchecked"), Out(UPLINK), NotInAndSource("own")], Act::Drop),
        rule([], Act::MapIn("senders")),
        // A host that is no gateway's home any more must not send packets round in circles.
        rule([In(OVERLAY), Out(OVERLAY)], Act::Drop),
        rule([In(OVERLAY)], Act::Accept),
        // From outside only by a public address.
        rule([In(UPLINK), Translated], Act::Accept),
    ];
    let mut arriving = vec![
        rule([Known], Act::Accept),
        rule([], Act::MapOut("receivers")),
        rule([Out(OVERLAY)], Act::Accept),
        // Nothing leaves under a private address: the policy is to drop.
        rule([Out(UPLINK)], Act::Jump("ways_out".to_owned())),
    ];
    if vpc.connects() {
        // A task may always talk to itself, as through loopback.
        let itself = || rule([Match::PairIn("selves")], Act::Accept);
        leaving.insert(2, itself());
        arriving.insert(1, itself());
    }
    let served = vec![rule([InAndSource("own"), ServiceIn("services")], Act::Accept)];
    let ways = ways_out(vpc);
    let mut chains = vec![
        ("entering", base("type filter hook prerouting priority raw", false, entering)),
        ("served", base("type filter hook input priority filter", false, served)),
        ("leaving", base("type filter hook forward priority filter", false, leaving)),
        ("arriving", base("type filter hook forward priority 10", false, arriving)),
        ("ways_out", Chain { hook: None, rules: ways.iter().map(WayOut::passes).collect() }),
    ];
    if !vpc.publics().is_empty() {
        let inward = vec![rule([In(UPLINK)], Act::DestinationByMap("to_private"))];
        let outward = ways.iter().map(WayOut::translates).collect();
        chains.push(("inward", base("type nat hook prerouting priority dstnat", true, inward)));
        chains.push(("outward", base("type nat hook postrouting priority srcnat", true, outward)));
    }
    if vpc.connects() {
        let connect = vec![rule([InSet("clients")], Act::MapAlias("aliases"))];
        // What still goes to an alias after that has nobody to answer it. Here and not where it would be forwarded, since there is
        // no route for it; of that the kernel would tell the sender, but not often.
        let to_nobody = || vec![InSet("clients"), Match::Destination(ALIASES)];
        let refused = to_nobody().into_iter().chain([Match::Ip(TCP)]);
        let unanswered = vec![rule(refused, Act::Reset), rule(to_nobody(), Act::Drop)];
        chains.push(("unanswered", base("type filter hook prerouting priority -90", true, unanswered)));
        // Its own answer would never come back here to be translated.
        let itself = vec![rule([Match::PairIn("selves")], Act::SourceTo(ITSELF))];
        chains.push(("connect", base("type nat hook prerouting priority dstnat", true, connect)));
        chains.push(("itself", base("type nat hook postrouting priority srcnat", true, itself)));
    }
    chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect()
}

/// A subnet's way out through this host, or that it has none there.
struct WayOut {
    when: Vec<Match>,
    how: How,
}

enum How {
    /// To the interface's own public address; nothing where it has none.
    OwnPublic,
    Public(Ipv4Addr),
    Not,
}

impl WayOut {
    /// May the first packet of a connection leave here?
    fn passes(&self) -> Line {
        let mut when = self.when.clone();
        match self.how {
            How::OwnPublic => when.push(Match::SourceIn("have_public".to_owned())),
            How::Public(_) => {}
            How::Not => return rule(when, Act::Drop),
        }
        rule(when, Act::Accept)
    }

    fn translates(&self) -> Line {
        let then = match self.how {
            How::OwnPublic => Act::SourceByMap("to_public"),
            How::Public(public) => Act::SourceTo(public),
            How::Not => Act::Accept,
        };
        rule(self.when.clone(), then)
    }
}

/// Each subnet's ways out, longest prefix first, so that the first rule is the one the routing table chose as well; a way that
/// is not taken is followed by one that ends the search, before a shorter prefix says something else.
fn ways_out(vpc: &Vpc) -> Vec<WayOut> {
    let mut ways = Vec::new();
    for subnet in vpc.subnets.values() {
        for (to, way) in subnet.longest_first() {
            let mut push = |how| {
                let when = vec![Match::Out(UPLINK), Match::Source(subnet.cidr.trunc()), Match::Destination(to)];
                ways.push(WayOut { when, how });
            };
            match (way, vpc.nat_public(way)) {
                (Way::Internet, _) => {
                    push(How::OwnPublic);
                    push(How::Not);
                }
                (_, Some(public)) => push(How::Public(public)),
                (Way::Nowhere | Way::Nat { .. }, None) => push(How::Not),
            }
        }
    }
    ways
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

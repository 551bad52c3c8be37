//! What one host shall carry of a VPC, as plain values: no kernel, no clock, comparable, so that what changed can be computed.

use super::host::VXLAN_BYTES;
use super::tunnel::WIREGUARD_BYTES;
use crate::names::{self, IfName, Mac, TableName};
use crate::{NetContext, NetnsPath, Result};
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Router namespaces' names begin with this, so that [`super::list`] finds them among others in the same folder.
pub(crate) const ROUTER_PREFIX: &str = "router-";
/// A group's id becomes part of chains' and sets' names; the kernel's limit is 255 characters, and EC2's ids have 20.
const MAX_ID: usize = 100;

/// Where a VPC stands on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder of the router's namespace file. Its name is [`Place::netns_name`]: keep it in [`crate::sweep`].
    pub netns_dir: PathBuf,
    /// The VPC's id; all names on the host derive from it.
    pub key: String,
    /// This host's own address that other hosts send VXLAN packets to.
    pub underlay: Ipv4Addr,
}

impl Place {
    /// The name of the router's namespace in `netns_dir`.
    pub fn netns_name(&self) -> String {
        format!("{ROUTER_PREFIX}{}", self.key)
    }

    /// The router's namespace. Errors with [`crate::Error::Name`] where the key is no plain name.
    pub(crate) fn netns(&self) -> Result<NetnsPath> {
        NetnsPath::new(&self.netns_dir, &self.netns_name())
    }

    pub(crate) fn context(&self) -> NetContext {
        NetContext::at(self.netns_dir.join(self.netns_name()))
    }

    /// The host's end of the pair that leads out of the VPC.
    pub(crate) fn uplink(&self) -> IfName {
        IfName::derive(UPLINK_PREFIX, &self.key)
    }

    /// The table in the host's namespace.
    pub(crate) fn host_table(&self) -> TableName {
        TableName::new(format!("longshore_vpc_{}", IfName::derive("", &self.key))).expect("25 letters and digits")
    }
}

/// Hosts' ends of uplinks begin with this.
pub(crate) const UPLINK_PREFIX: &str = "lsu";

/// A VPC as one host carries it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vpc {
    /// Its number on the wire, 1 to 2^24 - 1; one per VPC among all hosts that share an underlay.
    pub vni: u32,
    /// Its ranges, the primary one first: the resolver is its base plus two.
    pub cidrs: Vec<Ipv4Net>,
    /// The interfaces on this host, by id.
    pub ports: BTreeMap<String, Port>,
    /// Interfaces on other hosts: their address, and the underlay address of their host. Packets of this VPC are taken from
    /// these hosts and from the homes of gateways only.
    pub remote: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// The security groups of the interfaces on this host.
    pub groups: BTreeMap<String, Group>,
    /// The addresses of all members, VPC-wide, of each group that a rule of `groups` names. One that is absent has none.
    pub members: BTreeMap<String, BTreeSet<Ipv4Addr>>,
    /// The subnets of the interfaces on this host, and those whose routes lead to a gateway in `nat_here`.
    pub subnets: BTreeMap<String, Subnet>,
    /// The NAT gateways this host does the work of: private address, and public one where they have it.
    pub nat_here: BTreeMap<Ipv4Addr, Option<Ipv4Addr>>,
    /// Addresses and TCP ports that are nobody's own, and who answers there instead, each connection's one drawn at random.
    /// For the interfaces that are [`Port::connected`]; link-local addresses that no router uses itself.
    pub aliases: BTreeMap<(Ipv4Addr, u16), BTreeSet<(Ipv4Addr, u16)>>,
    /// Whether what other hosts are sent and send goes through the device of [`super::tunnel`], and nothing else is taken.
    pub encrypted: bool,
}

/// One elastic network interface of a task on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The task's namespace; made if absent. It stays the caller's to remove.
    pub netns: PathBuf,
    /// The private address.
    pub address: Ipv4Addr,
    /// The hardware address of `eth0`.
    pub mac: Mac,
    /// The subnet's id, a key of [`Vpc::subnets`].
    pub subnet: String,
    /// The security groups' ids, keys of [`Vpc::groups`]. One that is absent there allows nothing.
    pub groups: BTreeSet<String>,
    /// Drop what comes from this interface with another source than its own address.
    pub source_dest_check: bool,
    /// The public address that an internet gateway translates to and from.
    pub public: Option<Ipv4Addr>,
    /// Whether what it sends to [`Vpc::aliases`] arrives.
    pub connected: bool,
}

impl Port {
    /// The router's end of the pair.
    pub(crate) fn ifname(&self) -> IfName {
        port_name(self.address)
    }
}

/// The router's end of the pair to an interface; addresses are unique in a VPC, so the name says whose it is.
pub(crate) fn port_name(address: Ipv4Addr) -> IfName {
    IfName::new(format!("{PORT_PREFIX}{:08x}", u32::from(address))).expect("11 letters and digits")
}

/// Whose the router's end of that name is.
pub(crate) fn address_of(ifname: &str) -> Option<Ipv4Addr> {
    let digits = ifname.strip_prefix(PORT_PREFIX).filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok().map(Ipv4Addr::from)
}

/// The router's ends of tasks' pairs begin with this.
pub(crate) const PORT_PREFIX: &str = "eni";

/// A subnet and where its route table leads besides the VPC itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Its range.
    pub cidr: Ipv4Net,
    /// The table's routes without the local ones; the longest prefix wins. Nothing leaves where none matches.
    pub routes: Vec<(Ipv4Net, Way)>,
}

impl Subnet {
    /// The address that tasks have as their gateway: the range's first one after its base.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.cidr.network()).wrapping_add(1))
    }

    /// The routing table's number in the router: the base address turned by a byte, so that neighbouring ranges fall into
    /// different buckets of the kernel's hash of tables. Never one of the kernel's own, which would be networks in 0.0.0.0/8.
    pub(crate) fn table(&self) -> u32 {
        u32::from(self.cidr.network()).rotate_right(8)
    }

    /// The routes, longest prefix first.
    pub(crate) fn longest_first(&self) -> Vec<(Ipv4Net, Way)> {
        let mut routes: Vec<_> = self.routes.iter().map(|(to, way)| (to.trunc(), *way)).collect();
        routes.sort_by_key(|(to, way)| (std::cmp::Reverse(to.prefix_len()), *to, *way));
        routes.dedup_by_key(|(to, _)| *to);
        routes
    }
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A black hole: the target is gone, or not one we carry.
    Nowhere,
    /// An internet gateway: for interfaces with a public address.
    Internet,
    /// A NAT gateway.
    Nat {
        /// Its private address.
        gateway: Ipv4Addr,
        /// The underlay address of the host that does its work; `None`: this one, which has it in [`Vpc::nat_here`].
        home: Option<Ipv4Addr>,
    },
}

/// A security group's rules; what no rule allows is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// What may come in.
    pub ingress: Vec<Rule>,
    /// What may go out.
    pub egress: Vec<Rule>,
}

/// One rule: it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which packets.
    pub traffic: Traffic,
    /// From or to whom.
    pub peer: Peer,
}

/// Which packets a rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// All.
    All,
    /// TCP to these destination ports, both included.
    Tcp(u16, u16),
    /// UDP to these destination ports, both included.
    Udp(u16, u16),
    /// ICMP of this type and code; -1 is any.
    Icmp(i16, i16),
    /// Another IP protocol, by number.
    Other(u8),
}

/// The other side of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Addresses in a range.
    Net(Ipv4Net),
    /// Members of a security group, by their private addresses.
    Group(String),
}

/// Refuses ids that could break out of a name in a rule, and what would have no meaning to the kernel.
pub(crate) fn check(vpc: &Vpc) -> Result<()> {
    let rules = vpc.groups.values().flat_map(|group| group.ingress.iter().chain(&group.egress));
    let named = rules.filter_map(|rule| if let Peer::Group(id) = &rule.peer { Some(id) } else { None });
    let carried = vpc.ports.values().flat_map(|port| &port.groups);
    for id in vpc.groups.keys().chain(vpc.members.keys()).chain(named).chain(carried) {
        names::check("security group", id, MAX_ID)?;
    }
    for port in vpc.ports.values() {
        if !vpc.subnets.contains_key(&port.subnet) {
            let why = "no subnet of this id is among the VPC's";
            return Err(crate::Error::Name { what: "subnet", name: port.subnet.clone(), why });
        }
    }
    if vpc.cidrs.is_empty() {
        return Err(crate::Error::Name { what: "VPC", name: vpc.vni.to_string(), why: "it has no range" });
    }
    Ok(())
}

impl Vpc {
    /// The resolver's address: the primary range's base plus two.
    pub(crate) fn resolver(&self) -> Option<Ipv4Addr> {
        self.cidrs.first().map(|cidr| Ipv4Addr::from(u32::from(cidr.network()).wrapping_add(2)))
    }

    /// Every other host that may send us packets of this VPC: those we send to.
    pub(crate) fn hosts(&self) -> BTreeSet<Ipv4Addr> {
        let ways = self.subnets.values().flat_map(|subnet| &subnet.routes);
        let homes = ways.filter_map(|(_, way)| if let Way::Nat { home, .. } = way { *home } else { None });
        self.remote.values().copied().chain(homes).collect()
    }

    /// The public address a route by this way through a gateway of this host is translated to.
    pub(crate) fn nat_public(&self, way: Way) -> Option<Ipv4Addr> {
        if let Way::Nat { gateway, home: None } = way { self.nat_here.get(&gateway).copied().flatten() } else { None }
    }

    /// What travelling between hosts adds to a packet of the VPC.
    pub(crate) fn overhead(&self) -> u32 {
        if self.encrypted { VXLAN_BYTES + WIREGUARD_BYTES } else { VXLAN_BYTES }
    }

    /// Whether any interface here reaches aliases.
    pub(crate) fn connects(&self) -> bool {
        !self.aliases.is_empty() && self.ports.values().any(|port| port.connected)
    }

    /// Every public address that leads to this host.
    pub(crate) fn publics(&self) -> BTreeSet<Ipv4Addr> {
        let ports = self.ports.values().filter_map(|port| port.public);
        ports.chain(self.nat_here.values().copied().flatten()).collect()
    }
}

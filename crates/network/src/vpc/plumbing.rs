//! Everything of a VPC's router besides its interfaces and its nftables table, as values: what is wanted, computed from the VPC;
//! what is there, read from the kernel; and the steps from one to the other. Wanted is pure.
//!
//! Everything is routed. Each interface of the VPC is a route of its own: to the task's pair, or through the overlay to its
//! host. The host's underlay address serves as the route's gateway: a mere name on the VXLAN device, with a permanent neighbour
//! that gives it a hardware address and a forwarding entry that leads this to the host; no address is ever asked for.

use super::rules::{INSTANCE_METADATA, OVERLAY, RESOLVER, TASK_METADATA, UPLINK};
use super::spec::{Vpc, Way};
use crate::names::Mac;
use crate::netlink::{LO, Link, Netlink, PolicyRule, RawHop, RawRoute};
use crate::{Error, Result};
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The main routing table (linux/rtnetlink.h, RT_TABLE_MAIN): the VPC's own ranges.
pub(crate) const MAIN: u32 = 254;
/// The table that swallows: the internet gets no answer from a public address that is nobody's, or a gateway's, as on AWS.
const NOBODY: u32 = 200;
/// The VPC's own ranges come first, then what came from outside, then the ways of interfaces that forward for others, then those of subnets.
const OWN_RANGES: u32 = 10;
const FROM_OUTSIDE: u32 = 50;
const OF_INTERFACE: u32 = 100;
const OF_SUBNET: u32 = 200;

/// The ends of the pair that leads out of the VPC. They are names on that pair alone, with permanent neighbours, so that all
/// VPCs of a host can use the same two; no interface has these addresses.
pub(crate) const HOST_END: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);
pub(crate) const ROUTER_END: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 2);

/// Stands for the one host whose underlay address is the VPC's resolver's as well: the kernel takes no address of its own as a
/// gateway, on whatever interface.
const NAMESAKE: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 3);

/// What a host is called on the VXLAN device.
fn hop(vpc: &Vpc, host: Ipv4Addr) -> Ipv4Addr {
    if vpc.resolver() == Some(host) { NAMESAKE } else { host }
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hop {
    Unreachable,
    /// As [`Self::Unreachable`], without telling the sender.
    Blackhole,
    /// Directly out of an interface.
    Device(String),
    /// Through an interface to this neighbour on it.
    Gateway(Ipv4Addr, String),
}

/// What a router has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plumbing {
    /// On `lo`: where the router itself answers.
    pub(crate) addresses: BTreeSet<Ipv4Addr>,
    /// By table and range.
    pub(crate) routes: BTreeMap<(u32, Ipv4Net), Hop>,
    pub(crate) rules: BTreeSet<PolicyRule>,
    /// By interface and address.
    pub(crate) neighbours: BTreeMap<(String, Ipv4Addr), Mac>,
    /// Hardware addresses on the overlay, and the hosts they are behind.
    pub(crate) forwards: BTreeMap<Mac, Ipv4Addr>,
}

/// Interfaces' numbers by name.
pub(crate) type Numbers = BTreeMap<String, u32>;

impl Plumbing {
    /// What the VPC wants.
    pub(crate) fn wanted(vpc: &Vpc) -> Self {
        let mut this = Self {
            addresses: [TASK_METADATA, RESOLVER, INSTANCE_METADATA].into_iter().chain(vpc.resolver()).collect(),
            ..Self::default()
        };
        let main = |address: Ipv4Addr| (MAIN, Ipv4Net::from(address));
        this.routes.extend(vpc.cidrs.iter().map(|cidr| ((MAIN, cidr.trunc()), Hop::Unreachable)));
        for (address, host) in &vpc.remote {
            this.routes.insert(main(*address), Hop::Gateway(hop(vpc, *host), OVERLAY.into()));
        }
        // An address that has just moved here may still be told as remote: the interface itself wins.
        for port in vpc.ports.values() {
            let name = port.ifname().to_string();
            this.routes.insert(main(port.address), Hop::Device(name.clone()));
            this.neighbours.insert((name, port.address), port.mac);
        }
        for host in vpc.hosts() {
            this.neighbours.insert((OVERLAY.into(), hop(vpc, host)), Mac::for_ipv4(host));
            this.forwards.insert(Mac::for_ipv4(host), host);
        }
        this.neighbours.insert((UPLINK.into(), HOST_END), Mac::for_ipv4(HOST_END));
        this.ways(vpc);
        this
    }

    /// The ways out of the VPC: a table per subnet, asked only for what is not in the VPC's own ranges. Where there is no way
    /// out there are no policy rules either, which would slow the routing of every packet.
    fn ways(&mut self, vpc: &Vpc) {
        if vpc.subnets.values().all(|subnet| subnet.routes.is_empty()) {
            return;
        }
        self.rules.insert(PolicyRule { priority: OWN_RANGES, table: MAIN, from: None, by: None, udp_port: None });
        // What came from outside for nobody is not to go out again, whatever source it claims.
        let by = Some(UPLINK.to_owned());
        self.routes.insert((NOBODY, Ipv4Net::default()), Hop::Blackhole);
        self.rules.insert(PolicyRule { priority: FROM_OUTSIDE, table: NOBODY, from: None, by, udp_port: None });
        for subnet in vpc.subnets.values() {
            let table = subnet.table();
            let from = Some(subnet.cidr.trunc());
            self.rules.insert(PolicyRule { priority: OF_SUBNET, table, from, by: None, udp_port: None });
            for (to, way) in subnet.longest_first() {
                let hop = match way {
                    Way::Internet => Hop::Gateway(HOST_END, UPLINK.into()),
                    Way::Nat { home: Some(host), .. } => Hop::Gateway(hop(vpc, host), OVERLAY.into()),
                    Way::Nat { home: None, .. } if vpc.nat_public(way).is_some() => {
                        Hop::Gateway(HOST_END, UPLINK.into())
                    }
                    // A private NAT gateway leads to no internet.
                    Way::Nowhere | Way::Nat { .. } => Hop::Unreachable,
                };
                self.routes.insert((table, to), hop);
            }
        }
        for port in vpc.ports.values().filter(|port| !port.source_dest_check) {
            if let Some(subnet) = vpc.subnets.get(&port.subnet) {
                let by = Some(port.ifname().to_string());
                self.rules.insert(PolicyRule {
                    priority: OF_INTERFACE,
                    table: subnet.table(),
                    from: None,
                    by,
                    udp_port: None,
                });
            }
        }
    }

    /// What the router has.
    pub(crate) async fn there(netlink: &mut Netlink, links: &[Link]) -> Result<Self> {
        let names: BTreeMap<u32, &String> = links.iter().map(|link| (link.index, &link.name)).collect();
        let name = |index: u32| names.get(&index).map_or_else(|| index.to_string(), ToString::to_string);
        let addresses = netlink.addresses().await?;
        let on_lo = addresses.iter().filter(|(index, net)| *index == LO && !net.addr().is_loopback());
        let mut this = Self { addresses: on_lo.map(|(_, net)| net.addr()).collect(), ..Self::default() };
        for RawRoute { table, to, hop } in netlink.all_routes().await? {
            let hop = match hop {
                RawHop::Unreachable => Hop::Unreachable,
                RawHop::Blackhole => Hop::Blackhole,
                RawHop::Device(index) => Hop::Device(name(index)),
                RawHop::Gateway(gateway, index) => Hop::Gateway(gateway, name(index)),
            };
            this.routes.insert((table, to), hop);
        }
        this.rules = netlink.policy_rules().await?.into_iter().collect();
        let neighbours = netlink.neighbours().await?;
        this.neighbours = neighbours.into_iter().map(|(index, address, mac)| ((name(index), address), mac)).collect();
        if let Some(overlay) = links.iter().find(|link| link.name == OVERLAY) {
            this.forwards = netlink.forwards(overlay.index).await?.into_iter().collect();
        }
        Ok(this)
    }

    /// Forgets what hung on these interfaces, which went away and took it with them.
    pub(crate) fn forget(&mut self, gone: &BTreeSet<String>) {
        self.routes.retain(|_, hop| match hop {
            Hop::Device(name) | Hop::Gateway(_, name) => !gone.contains(name),
            Hop::Unreachable | Hop::Blackhole => true,
        });
        self.neighbours.retain(|(name, _), _| !gone.contains(name));
    }

    /// The interfaces that the steps from `self` to `wanted` name.
    pub(crate) fn named_by_steps<'a>(&'a self, wanted: &'a Self) -> BTreeSet<&'a str> {
        let changed = wanted.routes.iter().filter(|(key, hop)| self.routes.get(*key) != Some(*hop));
        let gone = self.routes.iter().filter(|(key, _)| !wanted.routes.contains_key(*key));
        let mut names: BTreeSet<&str> = changed
            .chain(gone)
            .filter_map(|(_, hop)| match hop {
                Hop::Device(name) | Hop::Gateway(_, name) => Some(name.as_str()),
                Hop::Unreachable | Hop::Blackhole => None,
            })
            .collect();
        let changed = wanted.neighbours.iter().filter(|(key, mac)| self.neighbours.get(*key) != Some(*mac));
        let gone = self.neighbours.iter().filter(|(key, _)| !wanted.neighbours.contains_key(*key));
        names.extend(changed.chain(gone).map(|((name, _), _)| name.as_str()));
        if self.forwards != wanted.forwards {
            names.insert(OVERLAY);
        }
        names
    }

    /// Makes the router that is like `self` like `wanted`. What is sent to comes before what sends there.
    pub(crate) async fn become_like(&self, wanted: &Self, netlink: &mut Netlink, numbers: &Numbers) -> Result<()> {
        for address in wanted.addresses.difference(&self.addresses) {
            netlink.add_bare_address(LO, Ipv4Net::from(*address)).await?;
        }
        for (mac, host) in wanted.forwards.iter().filter(|(mac, host)| self.forwards.get(*mac) != Some(*host)) {
            netlink.set_forward(number(numbers, OVERLAY)?, *mac, *host).await?;
        }
        for (key, mac) in wanted.neighbours.iter().filter(|(key, mac)| self.neighbours.get(*key) != Some(*mac)) {
            netlink.set_neighbour(number(numbers, &key.0)?, key.1, *mac).await?;
        }
        for (key, hop) in wanted.routes.iter().filter(|(key, hop)| self.routes.get(*key) != Some(*hop)) {
            netlink.set_route(&raw(numbers, *key, hop)?).await?;
        }
        for rule in wanted.rules.difference(&self.rules) {
            netlink.add_policy_rule(rule).await?;
        }
        self.take_away(wanted, netlink, numbers).await
    }

    /// Deletes what is not wanted. What hangs on an interface that is gone went with it.
    async fn take_away(&self, wanted: &Self, netlink: &mut Netlink, numbers: &Numbers) -> Result<()> {
        for rule in self.rules.difference(&wanted.rules) {
            netlink.delete_policy_rule(rule).await?;
        }
        for (key, hop) in self.routes.iter().filter(|(key, _)| !wanted.routes.contains_key(*key)) {
            if let Ok(route) = raw(numbers, *key, hop) {
                netlink.delete_route(&route).await?;
            }
        }
        for (name, address) in self.neighbours.keys().filter(|key| !wanted.neighbours.contains_key(*key)) {
            if let Ok(index) = number(numbers, name) {
                netlink.delete_neighbour(index, *address).await?;
            }
        }
        for (mac, host) in self.forwards.iter().filter(|(mac, _)| !wanted.forwards.contains_key(*mac)) {
            netlink.delete_forward(number(numbers, OVERLAY)?, *mac, *host).await?;
        }
        for address in self.addresses.difference(&wanted.addresses) {
            netlink.delete_address(LO, Ipv4Net::from(*address)).await?;
        }
        Ok(())
    }
}

pub(crate) fn number(numbers: &Numbers, name: &str) -> Result<u32> {
    numbers.get(name).copied().ok_or_else(|| Error::NoSuchLink(name.to_owned()))
}

fn raw(numbers: &Numbers, (table, to): (u32, Ipv4Net), hop: &Hop) -> Result<RawRoute> {
    let hop = match hop {
        Hop::Unreachable => RawHop::Unreachable,
        Hop::Blackhole => RawHop::Blackhole,
        Hop::Device(name) => RawHop::Device(number(numbers, name)?),
        Hop::Gateway(gateway, name) => RawHop::Gateway(*gateway, number(numbers, name)?),
    };
    Ok(RawRoute { table, to, hop })
}

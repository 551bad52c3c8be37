//! A VPC's share of one host: every task has an interface of its own in it, wherever the other interfaces are.
//!
//! A host (an instance's namespace, or an attached machine's own: the `context`) carries for each VPC a **router namespace**.
//! In it are one end of every task's pair (the other is the task's `eth0`), a VXLAN device to the other hosts whose packets
//! travel through the host's namespace, a pair that leads there for what leaves the VPC, connection tracking, and one table
//! of nftables. So VPCs whose ranges overlap cannot meet, nor collide with the host's own network. Everything is routed,
//! nothing is bridged: no address is asked for, nothing is flooded.
//!
//! * [`spec`]: what is wanted, as values. [`rules`] compiles it to the table, `plumbing` to routes and neighbours; both pure.
//! * [`judge`]: the plain model that the compiled rules are tested against, and that says why a connection does not pass.
//! * [`tunnel`]: the device that encrypts what hosts send each other, where that is asked for.
//! * `port`, `host`: interfaces, and what is in the host's own namespace.
//! * [`stands`] looks whether all that is still there.
//!
//! [`ensure`] is level-triggered. With what this process applied last it does only what changed; without, it looks at what is
//! there. Deliberately absent: any state of its own, and concurrency: the caller makes one call at a time for each VPC.

mod announce;
mod host;
mod judge;
#[cfg(test)]
mod laws;
mod look;
pub(crate) mod plumbing;
mod port;
pub mod rules;
pub mod ruleset;
pub mod spec;
pub mod tunnel;

pub use judge::{Entry, Exit, Packet, Payload, Refusal, Verdict, judge};
pub use look::stands;
pub use ruleset::Ruleset;
pub use spec::{Group, Peer, Place, Port, Rule, Subnet, Traffic, Vpc, Way};

use crate::context::{open_netns, return_thread_to, thread_netns};
use crate::names::{IfName, Mac, TableName};
use crate::netlink::{End, LO, Link, Netlink, Vxlan};
use crate::nft::{self, Pending};
use crate::{Error, NetContext, NetnsPath, Result, conntrack, netns, sysctl};
use host::VXLAN_PORT;
use ipnet::Ipv4Net;
use plumbing::{Numbers, Plumbing};
use rules::{OVERLAY, UPLINK};
use spec::{PORT_PREFIX, ROUTER_PREFIX};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Written inside every router before its first interface, which takes its own from `default`. A new namespace's are copies of
/// the machine's, so each that matters is said. Redirects would tell tasks of hosts they cannot reach. Source checks are ours:
/// `accept_local` is what lets the kernel leave out its own, which with policy rules is a second routing of every packet. A
/// router has few sockets, so looking for one before routing is lost time.
const ROUTER_SYSCTLS: [(&str, &str); 16] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/ip_early_demux", "0"),
    ("ipv4/conf/all/accept_local", "1"),
    ("ipv4/conf/default/accept_local", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
    ("ipv4/conf/all/route_localnet", "0"),
    ("ipv4/conf/default/route_localnet", "0"),
    ("ipv4/conf/all/proxy_arp", "0"),
    ("ipv4/conf/default/proxy_arp", "0"),
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];

/// Makes the VPC on this host as `wanted`. `known` is what this process last applied with success; `None` after a start, and
/// after an error: then what is there is looked at and reconciled. Neither disturbs a connection that is to stay.
///
/// Errors with [`Error::Name`] on ids that cannot be names, [`Error::NoSuchLink`] where no interface of the host has the
/// underlay address. A task's namespace stays the caller's to remove; that of a task that left can be gone already.
pub async fn ensure(context: &NetContext, place: &Place, known: Option<&Vpc>, wanted: &Vpc) -> Result<()> {
    spec::check(wanted)?;
    let router = place.netns()?;
    let known = known
        .filter(|known| known.vni == wanted.vni && known.encrypted == wanted.encrypted && router.exists())
        .cloned();
    let update = Update { place: place.clone(), router, wanted: wanted.clone() };
    context.run(async move || update.run(known).await).await
}

/// Takes the VPC off this host: the router with its interfaces and rules, and what it has in the host's namespace. Fine when
/// it, or half of it, is not there. Close the sockets opened in [`router`] first: they would keep the namespace alive.
pub async fn remove(context: &NetContext, place: &Place) -> Result<()> {
    let (place, router) = (place.clone(), place.netns()?);
    let work = async move || {
        let mut host = Netlink::open_here()?;
        host::remove(&place, &mut host).await?;
        nft::apply_here(&nft::delete_table(&place.host_table()))?;
        if router.exists() {
            router.create_here()?;
            let mut inside = Netlink::open_here()?;
            // Deleted by name, because the kernel takes its time to end a namespace, and until then the VPC's number would be
            // taken, and tasks that live on would have interfaces that lead nowhere.
            let links = inside.links().await?;
            let ours = |name: &str| name == OVERLAY || name == UPLINK || name.starts_with(PORT_PREFIX);
            let doomed: Vec<_> = links.iter().filter(|link| ours(&link.name)).map(|link| link.index).collect();
            inside.delete_links(&doomed).await?;
        }
        router.remove_here()
    };
    context.run(work).await
}

/// The keys of the VPCs that have a router in this folder, whole or half.
pub async fn list(netns_dir: &Path) -> Result<Vec<String>> {
    let dir = netns_dir.to_owned();
    let names = NetContext::own().enter(move || netns::list(&dir)).await?;
    Ok(names.iter().filter_map(|name| name.strip_prefix(ROUTER_PREFIX)).map(str::to_owned).collect())
}

/// The router, to open sockets in: the metadata services and the resolver.
pub fn router(place: &Place) -> NetContext {
    place.context()
}

/// Whether the VPC has a router here: where it has none any more, sockets that were opened in it answer nobody.
pub fn has_router(place: &Place) -> bool {
    place.netns().is_ok_and(|router| router.exists())
}

/// The router's table.
fn table() -> TableName {
    TableName::new("vpc").expect("three letters")
}

struct Update {
    place: Place,
    router: NetnsPath,
    wanted: Vpc,
}

/// Both namespaces, open.
struct Open {
    host: Netlink,
    router: Netlink,
    /// The host's namespace, to come back to.
    home: OwnedFd,
    inside: OwnedFd,
}

impl Update {
    async fn run(&self, known: Option<Vpc>) -> Result<()> {
        let home = thread_netns()?;
        let host = Netlink::open_here()?;
        let new_hosts = known.as_ref().is_none_or(|known| known.hosts() != self.wanted.hosts());
        if new_hosts {
            nft::apply_here(&host::table(&self.place, &self.wanted))?;
        }
        if known.is_none() {
            sysctl::set("ipv4/ip_forward", "1")?;
        }
        self.router.create_here()?;
        let inside = open_netns(self.router.as_path())?;
        let mut open = Open { host, router: Netlink::open_here()?, home, inside };
        match known {
            Some(known) => self.change(&mut open, &known).await,
            None => self.reconcile(&mut open).await,
        }
    }

    /// Looks at what is there and makes it right. Rules come before interfaces, which must not pass anything without.
    async fn reconcile(&self, open: &mut Open) -> Result<()> {
        for (name, value) in ROUTER_SYSCTLS {
            sysctl::set_if_there(name, value)?;
        }
        nft::apply_here(&rules::compile(&self.wanted).replace(&table()))?;
        let mtu = host::underlay(&mut open.host, self.place.underlay).await?.mtu;
        open.router.set_up(LO).await?;
        self.ensure_overlay(open, mtu.saturating_sub(self.wanted.overhead())).await?;
        let netlinks = (&mut open.host, &mut open.router);
        host::ensure_uplink(&self.place, netlinks, (&open.home, &open.inside), mtu).await?;
        let names: BTreeSet<String> = self.wanted.ports.values().map(|port| port.ifname().to_string()).collect();
        let links = open.router.links().await?;
        let stray = |link: &&Link| link.name.starts_with(PORT_PREFIX) && !names.contains(&link.name);
        let stray: Vec<_> = links.iter().filter(stray).collect();
        open.router.delete_links(&stray.iter().map(|link| link.index).collect::<Vec<_>>()).await?;
        let mut others: BTreeSet<_> = stray.iter().filter_map(|link| spec::address_of(&link.name)).collect();
        for port in self.wanted.ports.values() {
            if self.ensure_port(&mut open.router, port, mtu.saturating_sub(self.wanted.overhead())).await? {
                others.insert(port.address);
            }
        }
        return_thread_to(&open.inside)?;
        conntrack::forget_addresses_here(&others);
        let links = open.router.links().await?;
        let there = Plumbing::there(&mut open.router, &links).await?;
        let numbers: Numbers = links.into_iter().map(|link| (link.name, link.index)).collect();
        there.become_like(&Plumbing::wanted(&self.wanted), &mut open.router, &numbers).await?;
        self.lead_publics(open, None).await
    }

    /// Does what changed since `known`. `nft` works meanwhile: an interface it does not know yet passes nothing.
    async fn change(&self, open: &mut Open, known: &Vpc) -> Result<()> {
        let batch = Ruleset::diff(&table(), &rules::compile(known), &rules::compile(&self.wanted));
        let pending = if batch.is_empty() { None } else { Some(nft::begin_here(&batch)?) };
        let mut there = Plumbing::wanted(known);
        let outcome = self.rewire(open, known, &mut there).await;
        self.settle(open, pending)?;
        outcome?;
        let (had, have) = (owners(known), owners(&self.wanted));
        let gone: BTreeSet<_> =
            had.iter().filter(|(address, of)| have.get(*address) != Some(*of)).map(|(at, _)| *at).collect();
        if !gone.is_empty() {
            return_thread_to(&open.inside)?;
            conntrack::forget_addresses_here(&gone);
        }
        self.lead_publics(open, Some(known)).await
    }

    async fn rewire(&self, open: &mut Open, known: &Vpc, there: &mut Plumbing) -> Result<()> {
        let (had, have) = (pairs(known), pairs(&self.wanted));
        let new: Vec<_> = have.iter().filter(|(name, pair)| had.get(*name) != Some(*pair)).collect();
        let changed = had.iter().filter(|(name, pair)| have.get(*name) != Some(*pair)).map(|(name, _)| name);
        there.forget(&changed.chain(new.iter().map(|(name, _)| *name)).cloned().collect());
        let wanted = Plumbing::wanted(&self.wanted);
        if !new.is_empty() {
            let overlay = open.router.link(OVERLAY).await?.ok_or_else(|| Error::NoSuchLink(OVERLAY.to_owned()))?;
            for (_, pair) in &new {
                self.ensure_port(&mut open.router, pair.port, overlay.mtu).await?;
            }
        }
        let mut numbers = Numbers::new();
        for name in there.named_by_steps(&wanted) {
            if let Some(link) = open.router.link(name).await? {
                numbers.insert(link.name, link.index);
            }
        }
        there.become_like(&wanted, &mut open.router, &numbers).await?;
        // Last, because it waits for grace periods of the kernel; nothing passes them any more.
        let mut doomed = Vec::new();
        for name in had.keys().filter(|name| !have.contains_key(*name)) {
            doomed.extend(open.router.link(name).await?.map(|link| link.index));
        }
        open.router.delete_links(&doomed).await
    }

    /// Waits for `nft`. A table that is not as we left it is put right as a whole.
    fn settle(&self, open: &Open, pending: Option<Pending>) -> Result<()> {
        let Some(Err(Error::Nft { stderr })) = pending.map(Pending::finish) else { return Ok(()) };
        tracing::warn!(%stderr, vpc = %self.place.key, "the router's table was not as it was left; replacing it");
        return_thread_to(&open.inside)?;
        nft::apply_here(&rules::compile(&self.wanted).replace(&table()))
    }

    /// The VXLAN device. Its own address is the one that other hosts derive from ours.
    async fn ensure_overlay(&self, open: &mut Open, mtu: u32) -> Result<()> {
        let wire = Vxlan { vni: self.wanted.vni, local: self.place.underlay, port: VXLAN_PORT };
        if open.router.vxlan(OVERLAY).await? != Some(wire) {
            open.router.delete_link(OVERLAY).await?;
            let end = End { name: &IfName::new(OVERLAY)?, mac: Mac::for_ipv4(self.place.underlay) };
            open.host.add_vxlan(end, &open.inside, mtu, &wire).await?;
        }
        let link = open.router.link(OVERLAY).await?.ok_or_else(|| Error::NoSuchLink(OVERLAY.to_owned()))?;
        if link.mtu != mtu {
            open.router.set_mtu(link.index, mtu).await?;
        }
        if link.up { Ok(()) } else { open.router.set_up(link.index).await }
    }

    /// `true` when its pair was made now.
    async fn ensure_port(&self, router: &mut Netlink, port: &Port, mtu: u32) -> Result<bool> {
        let subnet = self.wanted.subnets.get(&port.subnet).expect("checked before anything was done");
        port::ensure(router, port, subnet, mtu).await
    }

    async fn lead_publics(&self, open: &mut Open, known: Option<&Vpc>) -> Result<()> {
        let known = known.map(Vpc::publics);
        host::lead_publics(&self.place, &mut open.host, &open.home, known.as_ref(), &self.wanted.publics()).await
    }
}

/// What a pair is made of, besides its name: where it leads and how it looks there.
struct Pair<'a> {
    port: &'a Port,
    subnet: Option<Ipv4Net>,
}

impl PartialEq for Pair<'_> {
    fn eq(&self, other: &Self) -> bool {
        (&self.port.netns, self.port.mac, self.subnet) == (&other.port.netns, other.port.mac, other.subnet)
    }
}

/// Whose the addresses are that flows on this host go by: an interface's own, and the public ones.
fn owners(vpc: &Vpc) -> BTreeMap<Ipv4Addr, (Option<Ipv4Addr>, &Path)> {
    let own = vpc.ports.values().map(|port| (port.address, (None, port.netns.as_path())));
    let public = vpc.ports.values().filter_map(|port| Some((port.public?, (Some(port.address), Path::new("")))));
    let gateways = vpc.nat_here.iter().filter_map(|(at, public)| Some(((*public)?, (Some(*at), Path::new("")))));
    own.chain(public).chain(gateways).collect()
}

fn pairs(vpc: &Vpc) -> BTreeMap<String, Pair<'_>> {
    let subnet = |port: &Port| vpc.subnets.get(&port.subnet).map(|subnet| subnet.cidr);
    vpc.ports.values().map(|port| (port.ifname().to_string(), Pair { port, subnet: subnet(port) })).collect()
}

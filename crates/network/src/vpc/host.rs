//! What a VPC needs in the host's namespace: who may send us its packets, and the way from its public addresses to its router.
//!
//! VXLAN packets use a port of our own, so that other users of VXLAN on the machine (Docker Swarm, flannel, Cilium on 4789 and
//! 8472) share neither our socket, whose settings would have to agree, nor our rules.

use super::announce::announce;
use super::look::Shape;
use super::plumbing::{HOST_END, ROUTER_END};
use super::rules::UPLINK;
use super::spec::{Place, UPLINK_PREFIX, Vpc};
use crate::context::return_thread_to;
use crate::names::{IfName, Mac};
use crate::netlink::{End, Link, Netlink, RawHop, RawRoute};
use crate::{Error, Result, sysctl};
use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

/// Where hosts take each other's VXLAN packets: registered to nobody, and below the ports that the kernel hands out by itself.
pub(crate) const VXLAN_PORT: u16 = 14_789;
/// What VXLAN adds to a packet: outer IPv4, UDP and VXLAN headers, and the inner Ethernet header.
pub(crate) const VXLAN_BYTES: u32 = 50;
/// The main routing table.
const MAIN: u32 = super::plumbing::MAIN;

/// The table in the host's namespace, to be put in the place of the one before. Each VPC has its own, and its rules match the
/// VPC's number, so that VPCs come and go independently.
///
/// * From whom: only the hosts that carry the VPC, by the interface that leads to them; passed on or taken. A container of the
///   machine that sends under another host's address would put packets past every security group.
/// * What this machine sends comes from its kernel: so would a process that speaks VXLAN itself.
/// * No connection tracking for the outer packets: the router tracks the inner ones, and each entry would cost time twice.
/// * Where it is encrypted: only what comes out of the device, which has checked from whom, and nothing by another interface.
pub(crate) fn table(place: &Place, vpc: &Vpc) -> String {
    let (table, device) = (place.host_table(), place.tunnel());
    let ours = format!("udp dport {VXLAN_PORT} @th,96,24 {:#x}", vpc.vni);
    let peers: Vec<_> = vpc.hosts().iter().map(Ipv4Addr::to_string).collect();
    let elements = if peers.is_empty() { String::new() } else { format!("elements = {{ {} }}", peers.join(", ")) };
    let from = if vpc.encrypted { format!("iifname \"{device}\"") } else { "fib saddr . iif oif exists".to_owned() };
    let leak = if vpc.encrypted { format!("{ours} oifname != \"{device}\" drop\n") } else { String::new() };
    format!(
        "add table ip {table}\n\
         delete table ip {table}\n\
         table ip {table} {{\n\
           set peers {{ type ipv4_addr; {elements}\n }}\n\
           chain taken {{\n\
             type filter hook prerouting priority raw; policy accept;\n\
             {ours} ip saddr @peers {from} notrack accept\n\
             {ours} drop\n\
           }}\n\
           chain sent {{\n\
             type filter hook output priority raw; policy accept;\n\
             meta skuid 0-4294967295 {ours} drop\n\
             {leak}udp dport {VXLAN_PORT} notrack\n\
           }}\n\
         }}\n"
    )
}

/// What [`table`] looks like.
pub(crate) fn shape(vpc: &Vpc) -> Shape {
    let peers = vpc.hosts().len();
    let chains =
        [("taken", 2), ("sent", if vpc.encrypted { 3 } else { 2 })].map(|(name, rules)| (name.to_owned(), rules));
    Shape { chains: chains.into(), sets: [("peers".to_owned(), peers)].into() }
}

/// The machine's interface that has the underlay address.
pub(crate) async fn underlay(host: &mut Netlink, address: Ipv4Addr) -> Result<Link> {
    let addresses = host.addresses().await?;
    let index = addresses.iter().find(|(_, net)| net.addr() == address).map(|(index, _)| *index);
    let links = host.links().await?;
    let found = links.into_iter().find(|link| Some(link.index) == index);
    found.ok_or_else(|| Error::NoSuchLink(format!("with address {address}")))
}

/// The pair that leads out of the VPC: made anew unless both ends are each other's. `true` when it was made.
pub(crate) async fn ensure_uplink(
    place: &Place,
    (host, router): (&mut Netlink, &mut Netlink),
    (home, inside): (&OwnedFd, &OwnedFd),
    mtu: u32,
) -> Result<bool> {
    let near = place.uplink();
    let up = IfName::new(UPLINK)?;
    let (outer, inner) = (host.link(near.as_str()).await?, router.link(UPLINK).await?);
    let mut made = false;
    match (&outer, &inner) {
        (Some(outer), Some(inner)) if joined(outer, inner) && inner.mac == Some(Mac::for_ipv4(ROUTER_END)) => {}
        (Some(_) | None, _) => {
            host.delete_link(near.as_str()).await?;
            router.delete_link(UPLINK).await?;
            let ends =
                (End { name: &near, mac: Mac::for_ipv4(HOST_END) }, End { name: &up, mac: Mac::for_ipv4(ROUTER_END) });
            host.add_pair(ends.0, ends.1, inside, mtu).await?;
            made = true;
        }
    }
    return_thread_to(home)?;
    // Nothing speaks IPv6 to the router, and the machine need not ask for a router there.
    sysctl::set_if_there(&format!("ipv6/conf/{near}/disable_ipv6"), "1")?;
    return_thread_to(inside)?;
    for (netlink, name) in [(host, near.as_str()), (router, UPLINK)] {
        let link = netlink.link(name).await?.ok_or_else(|| Error::NoSuchLink(name.to_owned()))?;
        if link.mtu != mtu {
            netlink.set_mtu(link.index, mtu).await?;
        }
        if !link.up {
            netlink.set_up(link.index).await?;
        }
    }
    Ok(made)
}

/// Are these two ends of one pair? Numbers are per namespace, so callers compare a hardware address as well.
pub(crate) fn joined(one: &Link, other: &Link) -> bool {
    one.kind == "veth" && one.peer == Some(other.index) && other.peer == Some(one.index)
}

/// Leads these public addresses to the router, and no others that were led there.
///
/// An address is answered for after it is routed and until before it is not, so that a machine killed in between answers for
/// none that it would not deliver; what lost its route with a router that vanished is found by that.
pub(crate) async fn lead_publics(
    place: &Place,
    host: &mut Netlink,
    home: &OwnedFd,
    known: Option<&BTreeSet<Ipv4Addr>>,
    wanted: &BTreeSet<Ipv4Addr>,
) -> Result<()> {
    if known.is_some_and(|known| known == wanted) {
        return Ok(());
    }
    let link = host.link(place.uplink().as_str()).await?;
    let pair = link.ok_or_else(|| Error::NoSuchLink(place.uplink().to_string()))?.index;
    let outside = outside_interface(place, host).await?;
    let there = led_there(host, pair).await?;
    let proxies: BTreeSet<_> = host.proxies().await?.into_iter().collect();
    if !wanted.is_empty() {
        return_thread_to(home)?;
        // The kernel would wait up to 0.8 seconds before it answers for another, in case that one answers itself.
        sysctl::set_if_there(&format!("ipv4/neigh/{}/proxy_delay", outside.name), "0")?;
        host.set_neighbour(pair, ROUTER_END, Mac::for_ipv4(ROUTER_END)).await?;
    }
    for public in wanted.difference(&there) {
        host.set_route(&route(pair, *public)).await?;
    }
    for public in wanted.iter().filter(|public| !proxies.contains(&(outside.index, **public))) {
        host.set_proxy(outside.index, *public).await?;
    }
    // Only now that it is answered for.
    for public in wanted.difference(&there) {
        if let Err(error) = announce(&outside, *public) {
            tracing::debug!(%error, %public, "neighbours are not told of a public address; they find out by themselves");
        }
    }
    for public in there.difference(wanted) {
        for (index, _) in proxies.iter().filter(|(_, of)| of == public) {
            host.delete_proxy(*index, *public).await?;
        }
        host.delete_route(&route(pair, *public)).await?;
    }
    forget_orphans(host).await
}

/// Whether exactly these public addresses lead to the router by this pair, and are answered for.
pub(crate) async fn leads(place: &Place, host: &mut Netlink, pair: u32, wanted: &BTreeSet<Ipv4Addr>) -> Result<bool> {
    if led_there(host, pair).await? != *wanted {
        return Ok(false);
    }
    if wanted.is_empty() {
        return Ok(true);
    }
    let outside = outside_interface(place, host).await?.index;
    let proxies: BTreeSet<_> = host.proxies().await?.into_iter().collect();
    let known = host.neighbours().await?.contains(&(pair, ROUTER_END, Mac::for_ipv4(ROUTER_END)));
    Ok(known && wanted.iter().all(|public| proxies.contains(&(outside, *public))))
}

/// Answers no more for addresses that no router of ours is led to.
async fn forget_orphans(host: &mut Netlink) -> Result<()> {
    let proxies = host.proxies().await?;
    if proxies.is_empty() {
        return Ok(());
    }
    let links = host.links().await?;
    let pairs: BTreeSet<u32> =
        links.iter().filter(|link| link.name.starts_with(UPLINK_PREFIX)).map(|link| link.index).collect();
    let routes = host.all_routes().await?;
    let led = |to: Ipv4Addr| {
        let ours = |route: &&RawRoute| matches!(route.hop, RawHop::Gateway(ROUTER_END, pair) if pairs.contains(&pair));
        routes.iter().filter(ours).any(|route| route.to == Ipv4Net::from(to))
    };
    for (index, of) in proxies.into_iter().filter(|(_, of)| !led(*of)) {
        host.delete_proxy(index, of).await?;
    }
    Ok(())
}

/// Where the world asks for public addresses: the default route's interface, or else the one with the underlay address.
async fn outside_interface(place: &Place, host: &mut Netlink) -> Result<Link> {
    let routes = host.routes().await?;
    let default = routes.iter().find(|(_, net)| net.prefix_len() == 0).map(|(index, _)| *index);
    let links = host.links().await?;
    match links.into_iter().find(|link| Some(link.index) == default) {
        Some(link) => Ok(link),
        None => underlay(host, place.underlay).await,
    }
}

fn route(pair: u32, public: Ipv4Addr) -> RawRoute {
    RawRoute { table: MAIN, to: Ipv4Net::from(public), hop: RawHop::Gateway(ROUTER_END, pair) }
}

async fn led_there(host: &mut Netlink, pair: u32) -> Result<BTreeSet<Ipv4Addr>> {
    let routes = host.all_routes().await?;
    let ours = routes.into_iter().filter(|route| route.hop == RawHop::Gateway(ROUTER_END, pair));
    Ok(ours.map(|route| route.to.addr()).collect())
}

/// Takes the VPC's pieces in the host's namespace away, but its table.
pub(crate) async fn remove(place: &Place, host: &mut Netlink) -> Result<()> {
    if let Some(pair) = host.link(place.uplink().as_str()).await? {
        let there = led_there(host, pair.index).await?;
        for (index, public) in host.proxies().await?.into_iter().filter(|(_, of)| there.contains(of)) {
            host.delete_proxy(index, public).await?;
        }
        // Its routes and neighbours go with it.
        host.delete_link(&pair.name).await?;
    }
    forget_orphans(host).await
}

//! Encrypts what this host and others send each other of VPCs: one WireGuard device per host, whatever the VPCs.
//!
//! The packets of VXLAN keep the addresses of their hosts. A policy rule leads those that this host itself sends to a table in
//! which each peer is a route into the device, and everything else is unreachable; WireGuard's own packets have another port and
//! go the usual way. So no second address of a host has to be derived, kept apart and told, and a host whose key is not known is
//! sent nothing instead of something that all can read. What a peer may claim to be is its own address, which WireGuard checks.
//!
//! The device is the kernel's where that has WireGuard, and else one of `wireguard-go`, which listens to the same `wg`.
//! [`ensure`] looks at what is there each time, and leaves alone what is right; call it again to make good what others broke.

mod wg;

pub use wg::{Maker, PrivateKey, PublicKey, find};

use super::host::{self, VXLAN_PORT};
use super::spec::Place;
use crate::names::IfName;
use crate::netlink::{Link, Netlink, PolicyRule, RawHop, RawRoute};
use crate::{Error, NetContext, Result, sysctl};
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

/// Where hosts take each other's encrypted packets: the port beside that of VXLAN, which is nobody's either.
pub(crate) const WIREGUARD_PORT: u16 = VXLAN_PORT + 1;
/// What WireGuard adds to a packet: outer IPv4 and UDP headers, its own, and its checksum.
pub(crate) const WIREGUARD_BYTES: u32 = 60;
/// The table of the routes into the device, and the rule that leads there: before whatever other rules a machine has.
const TABLE: u32 = VXLAN_PORT as u32;
const PRIORITY: u32 = 90;
/// An address of the device, which is only a name there: the kernel takes no packets from a device without one where it checks
/// sources (`rp_filter`). Beside those of [`super::plumbing`].
const DEVICE_END: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 4);

/// What a host has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// This host's own key.
    pub key: PrivateKey,
    /// The other hosts, by the underlay address at which their packets come and go.
    pub peers: BTreeMap<Ipv4Addr, PublicKey>,
}

/// The device of the agent that keeps its namespaces in this folder. It is known by the file name of a control socket as well,
/// which all network namespaces of a machine share.
pub(crate) fn device(netns_dir: &Path) -> IfName {
    IfName::derive("lsw", &netns_dir.to_string_lossy())
}

/// Makes it so. Errors with [`Error::WireguardMissing`] where this machine has no WireGuard, and as [`super::ensure`] where no
/// interface has the underlay address.
pub async fn ensure(context: &NetContext, netns_dir: &Path, underlay: Ipv4Addr, tunnel: &Tunnel) -> Result<()> {
    let (name, tunnel) = (device(netns_dir), tunnel.clone());
    let work = async move || {
        let mut host = Netlink::open_here()?;
        let mtu = host::underlay(&mut host, underlay).await?.mtu.saturating_sub(WIREGUARD_BYTES);
        let link = usable(&mut host, &name).await?;
        wg::configure(&name, WIREGUARD_PORT, &tunnel)?;
        if link.mtu != mtu {
            host.set_mtu(link.index, mtu).await?;
        }
        // After the size: below 1280 bytes the kernel forgets that there is IPv6.
        sysctl::set_if_there(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
        // The way back to a peer is by the underlay; that a packet is the peer's WireGuard has checked. 2 outweighs a 1 for `all`.
        sysctl::set_if_there(&format!("ipv4/conf/{name}/rp_filter"), "2")?;
        host.add_name(link.index, DEVICE_END).await?;
        if !link.up {
            host.set_up(link.index).await?;
        }
        let routes = tunnel.peers.keys().map(|peer| route(*peer, RawHop::Device(link.index)));
        let wanted: BTreeSet<_> = routes.chain([nowhere_else()]).collect();
        route_like(&mut host, &wanted).await?;
        host.add_policy_rule(&rule()).await
    };
    context.run(work).await
}

/// Takes it away; fine when it, half of it, or the whole namespace is not there.
pub async fn remove(context: &NetContext, netns_dir: &Path) -> Result<()> {
    let name = device(netns_dir);
    if context.netns.as_ref().is_none_or(|netns| crate::netns::is_nsfs(netns)) {
        let name = name.clone();
        let work = async move || {
            let mut host = Netlink::open_here()?;
            // What makes the device ends with it.
            host.delete_link(name.as_str()).await?;
            host.delete_policy_rule(&rule()).await?;
            route_like(&mut host, &BTreeSet::new()).await
        };
        context.run(work).await?;
    }
    wg::forget(&name)
}

/// The device as it is there, or made. One whose maker does not answer any more is made anew.
async fn usable(host: &mut Netlink, name: &IfName) -> Result<Link> {
    if let Some(link) = host.link(name.as_str()).await? {
        if wg::answers(name) {
            return Ok(link);
        }
        tracing::warn!(device = %name, "a WireGuard device does not answer; making it anew");
        host.delete_link(name.as_str()).await?;
    }
    match host.add_wireguard(name).await {
        Err(error) if is_unknown_kind(&error) => {
            tracing::info!(device = %name, "this kernel has no WireGuard; wireguard-go does its work");
            wg::start(name)?;
        }
        made => made?,
    }
    host.link(name.as_str()).await?.ok_or_else(|| Error::NoSuchLink(name.to_string()))
}

/// What the kernel answers where it has no devices of a kind.
fn is_unknown_kind(error: &Error) -> bool {
    error.netlink_errno() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
}

fn route(to: Ipv4Addr, hop: RawHop) -> RawRoute {
    RawRoute { table: TABLE, to: Ipv4Net::from(to), hop }
}

fn nowhere_else() -> RawRoute {
    RawRoute { table: TABLE, to: Ipv4Net::default(), hop: RawHop::Unreachable }
}

/// For what this machine sends itself, since VXLAN's packets have no sender but the kernel.
fn rule() -> PolicyRule {
    let by = Some("lo".to_owned());
    PolicyRule { priority: PRIORITY, table: TABLE, from: None, by, udp_port: Some(VXLAN_PORT) }
}

/// Sets exactly these routes in the table.
async fn route_like(host: &mut Netlink, wanted: &BTreeSet<RawRoute>) -> Result<()> {
    let all = host.all_routes().await?;
    let there: BTreeSet<_> = all.into_iter().filter(|route| route.table == TABLE).collect();
    for route in wanted.difference(&there) {
        host.set_route(route).await?;
    }
    for route in there.iter().filter(|route| wanted.iter().all(|kept| kept.to != route.to)) {
        host.delete_route(route).await?;
    }
    Ok(())
}

impl Place {
    /// The device that the VPC's packets go through where they are encrypted.
    pub(crate) fn tunnel(&self) -> IfName {
        device(&self.netns_dir)
    }
}

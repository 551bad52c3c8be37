//! The host's side of local instances: a bridge they all plug into, and masquerading from there to the outside.
//!
//! A host whose own firewall drops forwarded packets is left as it is; opening it is the operator's decision.

use crate::names::{IfName, Mac, TableName};
use crate::netlink::{Netlink, RawHop, RawRoute};
use crate::vpc::plumbing::MAIN;
use crate::{Error, NetContext, Result, nft, overlap, sysctl};
use ipnet::Ipv4Net;

/// The flag that an overlap error tells the operator to change.
pub const FABRIC_FLAG: &str = "--vpc-cidr";
/// The same for the public addresses.
pub const POOL_FLAG: &str = "--public-pool";

/// The fabric that joins local instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FabricSpec {
    /// The bridge; `longshore0` unless configured.
    pub bridge: IfName,
    /// The bridge's own address and the range instances get theirs from.
    pub gateway: Ipv4Net,
    /// The public addresses that instances answer for: they are reached over the fabric.
    pub pool: Option<Ipv4Net>,
    /// The nftables table (family `ip`); `longshore_fabric` unless configured.
    pub table: TableName,
}

impl FabricSpec {
    /// The defaults: `longshore0`, 172.31.0.1/16, `longshore_fabric`.
    pub fn standard() -> Self {
        Self {
            bridge: IfName::new("longshore0").expect("fits the rules"),
            gateway: Ipv4Net::new([172, 31, 0, 1].into(), 16).expect("16 is at most 32"),
            pool: None,
            table: TableName::new("longshore_fabric").expect("fits the rules"),
        }
    }
}

/// Makes the fabric in the context's namespace (the server's own, as a rule) and turns forwarding on there.
/// Errors with [`Error::Overlap`] when the range is in use by another interface, [`Error::NameTaken`] when the bridge's name is.
pub async fn ensure_fabric(context: &NetContext, spec: &FabricSpec) -> Result<()> {
    let FabricSpec { bridge, gateway, pool, table } = spec.clone();
    let work = async move || {
        let mut netlink = Netlink::open_here()?;
        // All that can be refused before anything is made.
        overlap::refuse(&mut netlink, gateway, bridge.as_str(), FABRIC_FLAG).await?;
        if let Some(pool) = pool {
            refuse_pool(&mut netlink, &bridge, pool.trunc()).await?;
        }
        ensure_bridge(&mut netlink, &bridge, gateway).await?;
        if let Some(pool) = pool {
            lead_pool(&mut netlink, &bridge, pool.trunc()).await?;
        }
        sysctl::set("ipv4/ip_forward", "1")?;
        nft::apply_here(&nft::masquerade_table(&table, gateway, pool))
    };
    context.run(work).await
}

/// The pool may lie in a wider network that the host is in, as part of which others reach it; but not where that very range is
/// led elsewhere.
async fn refuse_pool(netlink: &mut Netlink, bridge: &IfName, pool: Ipv4Net) -> Result<()> {
    let ours = netlink.link(bridge.as_str()).await?.map(|link| link.index);
    let routes = netlink.routes().await?;
    if let Some((other, _)) = routes.iter().find(|(index, to)| *to == pool && Some(*index) != ours) {
        let links = netlink.links().await?;
        let named = links.into_iter().find(|link| link.index == *other).map(|link| link.name);
        let interface = named.unwrap_or_else(|| format!("number {other}"));
        return Err(Error::Overlap { wanted: pool, existing: pool, interface, flag: POOL_FLAG });
    }
    Ok(())
}

/// Leads the pool to the fabric.
async fn lead_pool(netlink: &mut Netlink, bridge: &IfName, pool: Ipv4Net) -> Result<()> {
    let link = netlink.link(bridge.as_str()).await?.ok_or_else(|| Error::NoSuchLink(bridge.to_string()))?;
    netlink.set_route(&RawRoute { table: MAIN, to: pool, hop: RawHop::Device(link.index) }).await
}

/// Takes bridge and table away; fine when they are not there. Forwarding stays on: others may have come to rely on it.
pub async fn remove_fabric(context: &NetContext, spec: &FabricSpec) -> Result<()> {
    remove_bridge_and_table(context, &spec.bridge, &spec.table).await
}

/// A bridge, up, with exactly this address and a hardware address that does not change as ports come and go.
pub(crate) async fn ensure_bridge(netlink: &mut Netlink, name: &IfName, address: Ipv4Net) -> Result<()> {
    if netlink.link(name.as_str()).await?.is_none() {
        netlink.add_bridge(name, Mac::for_ipv4(address.addr())).await?;
    }
    let link = netlink.link(name.as_str()).await?.ok_or_else(|| Error::NoSuchLink(name.to_string()))?;
    if link.kind != "bridge" {
        let kind = if link.kind.is_empty() { "plain interface".to_owned() } else { link.kind };
        return Err(Error::NameTaken { name: name.to_string(), kind, expected: "bridge" });
    }
    if !link.up {
        netlink.set_up(link.index).await?;
    }
    netlink.set_address(link.index, address).await
}

pub(crate) async fn remove_bridge_and_table(context: &NetContext, bridge: &IfName, table: &TableName) -> Result<()> {
    let (bridge, table) = (bridge.clone(), table.clone());
    let work = async move || {
        let mut netlink = Netlink::open_here()?;
        // Only ever a bridge: an interface of that name and another kind is somebody else's.
        if netlink.link(bridge.as_str()).await?.is_some_and(|link| link.kind == "bridge") {
            netlink.delete_link(bridge.as_str()).await?;
        }
        nft::apply_here(&nft::delete_table(&table))
    };
    context.run(work).await
}

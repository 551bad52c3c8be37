//! The bridge of network mode `bridge`: what `docker0` is to the original. Lives in the instance's namespace, or on an
//! attached machine in the machine's own.

use crate::fabric::{ensure_bridge, remove_bridge_and_table};
use crate::names::{IfName, TableName};
use crate::netlink::Netlink;
use crate::{Error, NetContext, Result, nft, overlap, sysctl};
use ipnet::Ipv4Net;

/// The flag that an overlap error tells the operator to change.
pub const BRIDGE_FLAG: &str = "--task-cidr";

/// Ranges to try in order, each written with its gateway. The first is what ECS users know; on an attached machine Docker
/// usually has it already.
pub const TASK_BRIDGE_CANDIDATES: [Ipv4Net; 6] = [
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(172, 17, 0, 1), 16),
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(172, 29, 0, 1), 16),
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(172, 28, 0, 1), 16),
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 217, 0, 1), 16),
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(192, 168, 224, 1), 20),
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(100, 96, 0, 1), 16),
];

/// The bridge tasks' endpoints plug into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSpec {
    /// The bridge; `ecs-br0` as a rule.
    pub bridge: IfName,
    /// The bridge's own address and the range containers get theirs from.
    pub gateway: Ipv4Net,
    /// The nftables table (family `ip`) that masquerades containers to the outside; `longshore_tasks` as a rule.
    pub table: TableName,
}

impl BridgeSpec {
    /// The defaults: `ecs-br0` and `longshore_tasks`, on a range from [`choose_task_net`].
    pub fn standard(gateway: Ipv4Net) -> Self {
        Self {
            bridge: IfName::new("ecs-br0").expect("fits the rules"),
            gateway,
            table: TableName::new("longshore_tasks").expect("fits the rules"),
        }
    }
}

/// The range the bridge already has, when that is one of the candidates; otherwise the first candidate nobody else uses.
/// Errors with [`Error::NoFreeRange`].
pub async fn choose_task_net(context: &NetContext, bridge: &IfName, candidates: &[Ipv4Net]) -> Result<Ipv4Net> {
    let (bridge, candidates) = (bridge.clone(), candidates.to_vec());
    let work = async move || {
        let mut netlink = Netlink::open_here()?;
        if let Some(link) = netlink.link(bridge.as_str()).await? {
            let addresses = netlink.addresses().await?;
            let has = |net: &&Ipv4Net| addresses.contains(&(link.index, **net));
            if let Some(kept) = candidates.iter().find(has) {
                return Ok(*kept);
            }
        }
        for candidate in &candidates {
            if overlap::find(&mut netlink, *candidate, bridge.as_str()).await?.is_none() {
                return Ok(*candidate);
            }
        }
        Err(Error::NoFreeRange { candidates, flag: BRIDGE_FLAG })
    };
    context.run(work).await
}

/// Makes the bridge in the context's namespace, with masquerading, forwarding on, and 127.0.0.1 routable over this one bridge
/// (host ports are reachable from the instance's own localhost).
/// Errors with [`Error::Overlap`] or [`Error::NameTaken`] as [`crate::ensure_fabric`] does.
pub async fn ensure_task_bridge(context: &NetContext, spec: &BridgeSpec) -> Result<()> {
    let BridgeSpec { bridge, gateway, table } = spec.clone();
    let work = async move || {
        let mut netlink = Netlink::open_here()?;
        overlap::refuse(&mut netlink, gateway, bridge.as_str(), BRIDGE_FLAG).await?;
        ensure_bridge(&mut netlink, &bridge, gateway).await?;
        // Rules first: the guard against containers reaching 127.0.0.1 must stand before it becomes routable.
        nft::apply_here(&nft::task_table(&table, &bridge, gateway))?;
        sysctl::set("ipv4/ip_forward", "1")?;
        sysctl::set(&format!("ipv4/conf/{bridge}/route_localnet"), "1")
    };
    context.run(work).await
}

/// Takes bridge and table away; fine when they are not there.
pub async fn remove_task_bridge(context: &NetContext, spec: &BridgeSpec) -> Result<()> {
    remove_bridge_and_table(context, &spec.bridge, &spec.table).await
}

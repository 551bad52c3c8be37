//! The link-local addresses of an instance at which its tasks ask it things: 169.254.170.2 and 169.254.169.254.
//!
//! They are addresses of the instance's loopback, so that a packet of a task on the bridge, whose gateway is the instance,
//! has arrived there, with its sender's address still on it; the original redirects by NAT instead. Neighbours of the
//! instance, who could route to them through it, are kept out.

use crate::names::{IfName, TableName};
use crate::netlink::LO;
use crate::{NetContext, Netlink, Result, nft};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The link-local addresses of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkLocalSpec {
    /// The addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// The task bridge, from which they may be asked.
    pub bridge: IfName,
    /// The nftables table (family `ip`) that keeps others out; `longshore_local` as a rule.
    pub table: TableName,
}

impl LinkLocalSpec {
    /// The default table for a task bridge.
    pub fn standard(bridge: &IfName, addresses: Vec<Ipv4Addr>) -> Self {
        Self { addresses, bridge: bridge.clone(), table: TableName::new("longshore_local").expect("fits the rules") }
    }
}

/// Makes them addresses of the context's namespace.
pub async fn ensure_link_local(context: &NetContext, spec: &LinkLocalSpec) -> Result<()> {
    let spec = spec.clone();
    let work = async move || {
        // Rules first: nobody outside ever finds one open.
        nft::apply_here(&nft::link_local_table(&spec.table, &spec.bridge, &spec.addresses))?;
        let mut netlink = Netlink::open_here()?;
        for address in spec.addresses {
            netlink.add_address(LO, Ipv4Net::new(address, 32).expect("32 is at most 32")).await?;
        }
        Ok(())
    };
    context.run(work).await
}

/// Takes addresses and table away; fine when they are not there.
pub async fn remove_link_local(context: &NetContext, spec: &LinkLocalSpec) -> Result<()> {
    let spec = spec.clone();
    let work = async move || {
        let mut netlink = Netlink::open_here()?;
        for address in spec.addresses {
            netlink.remove_address(LO, Ipv4Net::new(address, 32).expect("32 is at most 32")).await?;
        }
        nft::apply_here(&nft::delete_table(&spec.table))
    };
    context.run(work).await
}

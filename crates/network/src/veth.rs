//! A namespace with one `eth0` on a bridge: the shape an instance and a task's endpoint share.

use crate::context::open_netns;
use crate::names::{IfName, Mac};
use crate::netlink::{LO, Netlink, VethPair};
use crate::sysctl::{self, Setting};
use crate::{Error, NetContext, NetnsPath, Result};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

/// What the namespace is to look like.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    pub(crate) netns: NetnsPath,
    pub(crate) ifname: IfName,
    pub(crate) host_veth: IfName,
    pub(crate) bridge: IfName,
    pub(crate) address: Ipv4Net,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) mac: Mac,
    /// Settings that the namespace is made with.
    pub(crate) settings: Vec<Setting>,
    /// Settings that it is to have in any case, written before any interface is made.
    pub(crate) sysctls: &'static [(&'static str, &'static str)],
}

/// The inside of one namespace, opened.
struct Inside {
    netns: OwnedFd,
    netlink: Netlink,
    /// Made just now: whatever carries its names outside belongs to an older one.
    fresh: bool,
}

/// Makes each namespace and joins it to its bridge in `context`. One thread and one connection outside serve the whole batch.
pub(crate) async fn ensure(context: &NetContext, wanted: Vec<Attachment>) -> Result<()> {
    let work = async move || {
        let mut outside = Netlink::open_here()?;
        for attachment in &wanted {
            let inside = Inside::open_here(attachment)?;
            join(&mut outside, attachment, inside).await?;
        }
        Ok(())
    };
    context.run(work).await
}

impl Inside {
    /// Leaves the calling thread inside the namespace, which a batch's next namespace does not mind: a new one starts from
    /// the kernel's defaults wherever it is made.
    fn open_here(wanted: &Attachment) -> Result<Self> {
        let fresh = wanted.netns.create_here_with(&wanted.settings)?;
        for (name, value) in wanted.sysctls {
            sysctl::set_if_there(name, value)?;
        }
        Ok(Self { netns: open_netns(wanted.netns.as_path())?, netlink: Netlink::open_here()?, fresh })
    }
}

async fn join(outside: &mut Netlink, wanted: &Attachment, mut inside: Inside) -> Result<()> {
    let bridge =
        outside.link(wanted.bridge.as_str()).await?.ok_or_else(|| Error::NoSuchLink(wanted.bridge.to_string()))?;
    if !pair_is_right(outside, wanted, &mut inside, bridge.index).await? {
        outside.delete_link(wanted.host_veth.as_str()).await?;
        if !inside.fresh {
            inside.netlink.delete_link(wanted.ifname.as_str()).await?;
        }
        let pair = VethPair {
            near: &wanted.host_veth,
            bridge: bridge.index,
            far: &wanted.ifname,
            far_netns: &inside.netns,
            far_mac: wanted.mac,
        };
        outside.add_veth(&pair).await?;
    }
    let port = outside
        .link(wanted.host_veth.as_str())
        .await?
        .ok_or_else(|| Error::NoSuchLink(wanted.host_veth.to_string()))?;
    outside.set_hairpin(port.index).await?;
    let inner = &mut inside.netlink;
    inner.set_up(LO).await?;
    let eth = inner.link(wanted.ifname.as_str()).await?.ok_or_else(|| Error::NoSuchLink(wanted.ifname.to_string()))?;
    if !eth.up {
        inner.set_up(eth.index).await?;
    }
    inner.set_address(eth.index, wanted.address).await?;
    if inside.fresh || inner.default_gateway(eth.index).await? != Some(wanted.gateway) {
        inner.set_default_route(eth.index, wanted.gateway).await?;
    }
    Ok(())
}

/// Is the pair there, and its two ends each other's? Repairs a port that has left its bridge.
async fn pair_is_right(outside: &mut Netlink, wanted: &Attachment, inside: &mut Inside, bridge: u32) -> Result<bool> {
    if inside.fresh {
        return Ok(false);
    }
    let (Some(near), Some(far)) =
        (outside.link(wanted.host_veth.as_str()).await?, inside.netlink.link(wanted.ifname.as_str()).await?)
    else {
        return Ok(false);
    };
    // Numbers are per namespace, so the address, which is unique on the bridge, has to agree as well.
    let joined = near.kind == "veth" && near.peer == Some(far.index) && far.peer == Some(near.index);
    if !joined || far.mac != Some(wanted.mac) {
        return Ok(false);
    }
    if near.master != Some(bridge) || !near.up {
        outside.set_master(near.index, bridge).await?;
    }
    Ok(true)
}

/// Takes namespaces away, then whatever is left of their pairs outside. Removing all namespaces first lets the kernel
/// tear their interfaces down together, which costs it one grace period instead of one each.
pub(crate) async fn remove(context: &NetContext, gone: Vec<(NetnsPath, IfName)>) -> Result<()> {
    let work = async move || {
        for (netns, _) in &gone {
            netns.remove_here()?;
        }
        let mut outside = Netlink::open_here()?;
        for (_, host_veth) in &gone {
            outside.delete_link(host_veth.as_str()).await?;
        }
        Ok(())
    };
    context.run(work).await
}

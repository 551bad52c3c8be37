//! A task's or container's own namespace: on the task bridge for network mode `bridge`, isolated for mode `none`.

use crate::names::{IfName, Mac};
use crate::netlink::LO;
use crate::sysctl::{LAST_GROUP, container_settings};
use crate::veth::{self, Attachment};
use crate::{NetContext, Netlink, NetnsPath, Result};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// One endpoint on the task bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSpec {
    /// The endpoint's namespace; made if it is not there.
    pub netns: NetnsPath,
    /// The interface inside; `eth0` as a rule.
    pub ifname: IfName,
    /// The pair's end on the bridge; unique in the instance ([`IfName::derive`] from the task's id).
    pub host_veth: IfName,
    /// The task bridge.
    pub bridge: IfName,
    /// The endpoint's address, with the bridge's prefix length.
    pub address: Ipv4Net,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// The interface's hardware address; [`Mac::for_ipv4`] of the address is a good one.
    pub mac: Mac,
}

/// Makes one endpoint. `context` is the instance's namespace, where the bridge is.
pub async fn ensure_endpoint(context: &NetContext, spec: &EndpointSpec) -> Result<()> {
    ensure_endpoints(context, std::slice::from_ref(spec)).await
}

/// Makes several endpoints with one thread and one outer connection. Stops at the first failure; call again to complete.
pub async fn ensure_endpoints(context: &NetContext, specs: &[EndpointSpec]) -> Result<()> {
    let wanted: Vec<_> = specs
        .iter()
        .map(|spec| Attachment {
            netns: spec.netns.clone(),
            ifname: spec.ifname.clone(),
            host_veth: spec.host_veth.clone(),
            bridge: spec.bridge.clone(),
            address: spec.address,
            gateway: spec.gateway,
            mac: spec.mac,
            settings: container_settings(LAST_GROUP).into(),
            sysctls: &[],
        })
        .collect();
    veth::ensure(context, wanted).await
}

/// Takes one endpoint away; fine when it, or half of it, is not there.
pub async fn remove_endpoint(context: &NetContext, netns: &NetnsPath, host_veth: &IfName) -> Result<()> {
    veth::remove(context, vec![(netns.clone(), host_veth.clone())]).await
}

/// Takes several endpoints away; much cheaper per endpoint than one at a time.
pub async fn remove_endpoints(context: &NetContext, gone: &[(NetnsPath, IfName)]) -> Result<()> {
    veth::remove(context, gone.to_vec()).await
}

/// A namespace with nothing but `lo`, up: network mode `none`. Take it away with [`NetnsPath::remove`].
pub async fn ensure_isolated(netns: &NetnsPath) -> Result<()> {
    let netns = netns.clone();
    let work = async move || {
        netns.create_here_with(&container_settings(LAST_GROUP))?;
        Netlink::open_here()?.set_up(LO).await
    };
    NetContext::own().run(work).await
}

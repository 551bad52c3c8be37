//! A local instance's network: a namespace that looks like a small machine on the fabric.

use crate::names::{IfName, Mac};
use crate::veth::{self, Attachment};
use crate::{NetContext, NetnsPath, Result};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Written inside every instance. Forwarding, because it routes for its containers; bridged packets through the IP hooks, so
/// that rules see traffic between containers. No IPv6 addresses on interfaces made later: nothing hands any out, and duplicate
/// address detection would cost packets on every port. `route_localnet` is set per task bridge, never for the instance's
/// `eth0`, where it would open services on 127.0.0.1 to neighbours (CVE-2020-8558).
const SYSCTLS: &[(&str, &str)] =
    &[("ipv4/ip_forward", "1"), ("bridge/bridge-nf-call-iptables", "1"), ("ipv6/conf/default/disable_ipv6", "1")];

/// The network of one local instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceNetSpec {
    /// The instance's namespace.
    pub netns: NetnsPath,
    /// The fabric's bridge.
    pub bridge: IfName,
    /// The instance's address, with the fabric's prefix length.
    pub address: Ipv4Net,
    /// The fabric's gateway.
    pub gateway: Ipv4Addr,
    /// `eth0`'s hardware address; [`Mac::for_ipv4`] of the address is a good one.
    pub mac: Mac,
    /// The pair's end on the fabric's side; unique on the host.
    pub host_veth: IfName,
}

/// Makes the instance's namespace with `lo` up and `eth0` on the fabric. `context` is where the fabric is (the host).
pub async fn ensure_instance(context: &NetContext, spec: &InstanceNetSpec) -> Result<()> {
    let attachment = Attachment {
        netns: spec.netns.clone(),
        ifname: IfName::new("eth0")?,
        host_veth: spec.host_veth.clone(),
        bridge: spec.bridge.clone(),
        address: spec.address,
        gateway: spec.gateway,
        mac: spec.mac,
        // It is to its tasks what a machine is.
        settings: Vec::new(),
        sysctls: SYSCTLS,
    };
    veth::ensure(context, vec![attachment]).await
}

/// Takes the namespace and its veth away; fine when they are not there. The instance's own tasks' namespaces are separate
/// files: [`crate::sweep`] their folder as well. End the processes inside first, or they keep the namespace alive, unplugged.
pub async fn remove_instance(context: &NetContext, netns: &NetnsPath, host_veth: &IfName) -> Result<()> {
    veth::remove(context, vec![(netns.clone(), host_veth.clone())]).await
}

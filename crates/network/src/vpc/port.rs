//! A task's interface: a pair between the router's namespace and the task's, where it looks like an EC2 instance's `eth0`.

use super::host::joined;
use super::plumbing::MAIN;
use super::spec::{Port, Subnet};
use crate::context::open_netns;
use crate::names::{IfName, Mac};
use crate::netlink::{End, LO, Link, Netlink, RawHop, RawRoute};
use crate::sysctl::{LAST_GROUP, container_settings};
use crate::{Error, NetnsPath, Result};
use ipnet::Ipv4Net;

/// The interface's name in the task.
const ETH: &str = "eth0";

/// Makes the pair, and in the task's namespace, which is made if it is not there, addresses, routes and the gateway as a
/// neighbour: nothing is ever asked for. Leaves the calling thread inside that namespace. `true` when the pair was made now.
pub(crate) async fn ensure(router: &mut Netlink, port: &Port, subnet: &Subnet, mtu: u32) -> Result<bool> {
    let netns = netns(port)?;
    let fresh = netns.create_here_with(&container_settings(LAST_GROUP))?;
    let mut inside = Netlink::open_here()?;
    let near = port.ifname();
    let gateway_mac = Mac::for_ipv4(subnet.gateway());
    let there = if fresh { None } else { pair(router, port, &mut inside, gateway_mac).await? };
    let made = there.is_none();
    let eth = match there {
        Some((outer, eth)) => {
            for (netlink, link) in [(&mut *router, &outer), (&mut inside, &eth)] {
                if link.mtu != mtu {
                    netlink.set_mtu(link.index, mtu).await?;
                }
                if !link.up {
                    netlink.set_up(link.index).await?;
                }
            }
            eth
        }
        None => {
            router.delete_link(near.as_str()).await?;
            if !fresh {
                inside.delete_link(ETH).await?;
            }
            let far = IfName::new(ETH)?;
            let ends = (End { name: &near, mac: gateway_mac }, End { name: &far, mac: port.mac });
            router.add_pair(ends.0, ends.1, &open_netns(netns.as_path())?, mtu).await?;
            let eth = inside.link(ETH).await?.ok_or_else(|| Error::NoSuchLink(ETH.to_owned()))?;
            inside.set_up(eth.index).await?;
            eth
        }
    };
    inside.set_up(LO).await?;
    let address = Ipv4Net::new(port.address, subnet.cidr.prefix_len()).expect("a range's own length");
    if made {
        inside.add_bare_address(eth.index, address).await?;
    } else {
        inside.set_bare_address(eth.index, address).await?;
    }
    inside.set_neighbour(eth.index, subnet.gateway(), gateway_mac).await?;
    let gateway = Ipv4Net::from(subnet.gateway());
    inside.set_route(&RawRoute { table: MAIN, to: gateway, hop: RawHop::Device(eth.index) }).await?;
    inside.set_default_route(eth.index, subnet.gateway()).await?;
    Ok(made)
}

/// Both ends, where they are there, each other's, and have the right hardware addresses.
async fn pair(router: &mut Netlink, port: &Port, inside: &mut Netlink, gateway: Mac) -> Result<Option<(Link, Link)>> {
    let (Some(outer), Some(eth)) = (router.link(port.ifname().as_str()).await?, inside.link(ETH).await?) else {
        return Ok(None);
    };
    let right = joined(&outer, &eth) && eth.mac == Some(port.mac) && outer.mac == Some(gateway);
    Ok(right.then_some((outer, eth)))
}

fn netns(port: &Port) -> Result<NetnsPath> {
    let name = port.netns.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    NetnsPath::new(port.netns.parent().unwrap_or(&port.netns), name)
}

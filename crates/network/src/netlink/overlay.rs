//! The part of rtnetlink that a VPC's router needs: pairs without a bridge, VXLAN, policy routing, permanent neighbours.
//!
//! Setting is replacing and deleting tolerates absence, so that callers need not look first.

use super::{LOCAL_TABLE, Netlink, is};
use crate::Result;
use crate::names::{IfName, Mac};
use ipnet::Ipv4Net;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressScope};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use rtnetlink::packet_route::{AddressFamily, IpProtocol};
use rtnetlink::{IpVersion, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan, LinkWireguard, RouteMessageBuilder};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};

/// Marks what we put into tables we share with others: proxy neighbours on the machine's own interface. Any number above 191,
/// which the kernel's list of protocols leaves to administrators.
const OUR_PROTOCOL: RouteProtocol = RouteProtocol::Other(213);
/// Links to be deleted together are put into this group first; nobody else uses it in a namespace of ours.
const DOOMED: u32 = 0x6c73;

/// One route outside the local table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RawRoute {
    pub(crate) table: u32,
    pub(crate) to: Ipv4Net,
    pub(crate) hop: RawHop,
}

/// Where it leads, with the interface's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RawHop {
    Unreachable,
    Blackhole,
    Device(u32),
    Gateway(Ipv4Addr, u32),
}

/// A policy rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PolicyRule {
    pub(crate) priority: u32,
    pub(crate) table: u32,
    pub(crate) from: Option<Ipv4Net>,
    pub(crate) by: Option<String>,
    /// Packets of UDP to this port alone.
    pub(crate) udp_port: Option<u16>,
}

/// One end of a pair.
pub(crate) struct End<'a> {
    pub(crate) name: &'a IfName,
    pub(crate) mac: Mac,
}

impl Netlink {
    /// Makes a pair, the near end here and up, the far one in another namespace.
    pub(crate) async fn add_pair(&mut self, near: End<'_>, far: End<'_>, far_netns: &OwnedFd, mtu: u32) -> Result<()> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(far.name.as_str())
            .address(far.mac.0.to_vec())
            .mtu(mtu)
            .setns_by_fd(far_netns.as_raw_fd())
            .build();
        let message = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(near.name.as_str())
            .address(near.mac.0.to_vec())
            .mtu(mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .up()
            .build();
        let request = self.handle.link().add(message).execute();
        self.drive(&format!("making veth {}", near.name), request).await
    }

    /// Makes a VXLAN device, down, in another namespace; its packets travel through this one. One request, so that no half is left.
    pub(crate) async fn add_vxlan(&mut self, end: End<'_>, netns: &OwnedFd, mtu: u32, wire: &Vxlan) -> Result<()> {
        let message = LinkVxlan::new(end.name.as_str(), wire.vni)
            .local(wire.local)
            .port(wire.port)
            .learning(false)
            .address(end.mac.0.to_vec())
            .mtu(mtu)
            .setns_by_fd(netns.as_raw_fd())
            .build();
        let request = self.handle.link().add(message).execute();
        self.drive(&format!("making VXLAN {} with number {}", end.name, wire.vni), request).await
    }

    /// Makes a WireGuard device, down and not set up. The kernel answers EOPNOTSUPP where it has none.
    pub(crate) async fn add_wireguard(&mut self, name: &IfName) -> Result<()> {
        let request = self.handle.link().add(LinkWireguard::new(name.as_str()).build()).execute();
        self.drive(&format!("making WireGuard device {name}"), request).await
    }

    /// How the packets of a VXLAN device look, where one of that name is there.
    pub(crate) async fn vxlan(&mut self, name: &str) -> Result<Option<Vxlan>> {
        let request = self.handle.link().get().match_name(name).execute();
        let found = match self.collect(&format!("looking up {name}"), request).await {
            Err(error) if is(&error, Errno::NODEV) => return Ok(None),
            other => other?,
        };
        Ok(found.iter().find_map(vxlan))
    }

    /// Sets an interface's greatest packet size.
    pub(crate) async fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<()> {
        let request = self.handle.link().change(LinkUnspec::new_with_index(index).mtu(mtu).build()).execute();
        self.drive("setting an interface's MTU", request).await
    }

    /// Deletes several interfaces at once, which costs the kernel one grace period instead of one each.
    pub(crate) async fn delete_links(&mut self, indices: &[u32]) -> Result<()> {
        if indices.is_empty() {
            return Ok(());
        }
        for index in indices {
            let request = self.handle.link().change(LinkUnspec::new_with_index(*index).link_group(DOOMED).build());
            absent_is_fine(self.drive("marking an interface to be deleted", request.execute()).await)?;
        }
        let message =
            LinkMessageBuilder::<LinkUnspec>::new().append_extra_attribute(LinkAttribute::Group(DOOMED)).build();
        let request = rtnetlink::LinkDelRequest::new_with_message(self.handle.clone(), message).execute();
        absent_is_fine(self.drive("deleting interfaces", request).await)
    }

    /// Adds an address without the route that its prefix would bring.
    pub(crate) async fn add_bare_address(&mut self, index: u32, address: Ipv4Net) -> Result<()> {
        let mut request = self.handle.address().add(index, IpAddr::V4(address.addr()), address.prefix_len());
        request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute));
        super::tolerate(self.drive(&format!("adding address {address}"), request.execute()).await, Errno::EXIST)
    }

    /// Adds an address that only names an interface: no route comes with it, and no other interface sends under it.
    pub(crate) async fn add_name(&mut self, index: u32, address: Ipv4Addr) -> Result<()> {
        let mut request = self.handle.address().add(index, IpAddr::V4(address), 32);
        request.message_mut().header.scope = AddressScope::Link;
        request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute));
        super::tolerate(self.drive(&format!("adding address {address}"), request.execute()).await, Errno::EXIST)
    }

    /// As [`Netlink::set_address`], without the route that its prefix would bring.
    pub(crate) async fn set_bare_address(&mut self, index: u32, address: Ipv4Net) -> Result<()> {
        if self.keep_address(index, address).await? {
            return Ok(());
        }
        self.add_bare_address(index, address).await
    }

    /// Takes an address away; fine when it is not there.
    pub(crate) async fn delete_address(&mut self, index: u32, address: Ipv4Net) -> Result<()> {
        let message = rtnetlink::AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(address.addr(), address.prefix_len())
            .build();
        let request = self.handle.address().del(message).execute();
        absent_is_fine(self.drive(&format!("taking address {address} away"), request).await)
    }

    /// Every IPv4 route of ours, or of all makers, outside the local table.
    pub(crate) async fn all_routes(&mut self) -> Result<Vec<RawRoute>> {
        let request = self.handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
        Ok(self.collect("listing routes", request).await?.iter().filter_map(raw_route).collect())
    }

    /// Sets a route, in the place of another to the same range.
    pub(crate) async fn set_route(&mut self, route: &RawRoute) -> Result<()> {
        let request = self.handle.route().add(route_message(route)).replace().execute();
        self.drive(&format!("adding a route to {}", route.to), request).await
    }

    /// Deletes the route to a range; fine when it is not there.
    pub(crate) async fn delete_route(&mut self, route: &RawRoute) -> Result<()> {
        let mut message = route_message(route);
        // Whoever made it: otherwise only what looks exactly as ours do would be found.
        message.header.protocol = RouteProtocol::Unspec;
        message.header.scope = RouteScope::NoWhere;
        let request = self.handle.route().del(message).execute();
        absent_is_fine(self.drive(&format!("deleting the route to {}", route.to), request).await)
    }

    /// The policy rules, without those that every namespace begins with.
    pub(crate) async fn policy_rules(&mut self) -> Result<Vec<PolicyRule>> {
        let request = self.handle.rule().get(IpVersion::V4).execute();
        let found = self.collect("listing policy rules", request).await?;
        Ok(found.iter().map(policy_rule).filter(|rule| (1..32_766).contains(&rule.priority)).collect())
    }

    /// Adds a policy rule; fine when it is there.
    pub(crate) async fn add_policy_rule(&mut self, rule: &PolicyRule) -> Result<()> {
        let mut request =
            self.handle.rule().add().table_id(rule.table).priority(rule.priority).action(RuleAction::ToTable).v4();
        if let Some(from) = rule.from {
            request = request.source_prefix(from.network(), from.prefix_len());
        }
        if let Some(name) = &rule.by {
            request = request.input_interface(name);
        }
        request.message_mut().attributes.extend(udp_to(rule));
        super::tolerate(self.drive("adding a policy rule", request.execute()).await, Errno::EXIST)
    }

    /// Deletes a policy rule; fine when it is not there.
    pub(crate) async fn delete_policy_rule(&mut self, rule: &PolicyRule) -> Result<()> {
        let mut message = RuleMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.action = RuleAction::ToTable;
        message.attributes = vec![RuleAttribute::Table(rule.table), RuleAttribute::Priority(rule.priority)];
        if let Some(from) = rule.from {
            message.header.src_len = from.prefix_len();
            message.attributes.push(RuleAttribute::Source(from.network().into()));
        }
        if let Some(name) = &rule.by {
            message.attributes.push(RuleAttribute::Iifname(name.clone()));
        }
        message.attributes.extend(udp_to(rule));
        let request = self.handle.rule().del(message).execute();
        absent_is_fine(self.drive("deleting a policy rule", request).await)
    }

    /// The permanent IPv4 neighbours: interface, address, hardware address.
    pub(crate) async fn neighbours(&mut self) -> Result<Vec<(u32, Ipv4Addr, Mac)>> {
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Inet).execute();
        let found = self.collect("listing neighbours", request).await?;
        let permanent = found.iter().filter(|message| message.header.state == NeighbourState::Permanent);
        Ok(permanent.filter_map(|message| Some((message.header.ifindex, address(message)?, mac(message)?))).collect())
    }

    /// Sets a permanent neighbour.
    pub(crate) async fn set_neighbour(&mut self, index: u32, to: Ipv4Addr, mac: Mac) -> Result<()> {
        let request = self.handle.neighbours().add(index, to.into()).link_layer_address(&mac.0).replace().execute();
        self.drive(&format!("adding neighbour {to}"), request).await
    }

    /// Deletes a neighbour; fine when it is not there.
    pub(crate) async fn delete_neighbour(&mut self, index: u32, to: Ipv4Addr) -> Result<()> {
        let request = self.handle.neighbours().del(neighbour(index, to, NeighbourFlags::empty())).execute();
        absent_is_fine(self.drive(&format!("deleting neighbour {to}"), request).await)
    }

    /// The forwarding entries of a VXLAN device: which hardware address is behind which host.
    pub(crate) async fn forwards(&mut self, index: u32) -> Result<Vec<(Mac, Ipv4Addr)>> {
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Bridge).execute();
        let found = self.collect("listing forwarding entries", request).await?;
        let ours = found.iter().filter(|message| message.header.ifindex == index);
        Ok(ours.filter_map(|message| Some((mac(message)?, address(message)?))).collect())
    }

    /// Sets the host that a hardware address is behind.
    pub(crate) async fn set_forward(&mut self, index: u32, mac: Mac, host: Ipv4Addr) -> Result<()> {
        let request = self.handle.neighbours().add_bridge(index, &mac.0).destination(host.into());
        let request = request.flags(NeighbourFlags::Own).replace().execute();
        self.drive(&format!("adding a forwarding entry to {host}"), request).await
    }

    /// Deletes a forwarding entry; fine when it is not there.
    pub(crate) async fn delete_forward(&mut self, index: u32, mac: Mac, host: Ipv4Addr) -> Result<()> {
        let mut message = neighbour(index, host, NeighbourFlags::Own);
        message.header.family = AddressFamily::Bridge;
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        let request = self.handle.neighbours().del(message).execute();
        absent_is_fine(self.drive(&format!("deleting a forwarding entry to {host}"), request).await)
    }

    /// The addresses we answer for on behalf of others, with the interface's number.
    pub(crate) async fn proxies(&mut self) -> Result<Vec<(u32, Ipv4Addr)>> {
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Inet).proxies().execute();
        let found = self.collect("listing proxy neighbours", request).await?;
        let ours =
            found.iter().filter(|message| message.attributes.contains(&NeighbourAttribute::Protocol(OUR_PROTOCOL)));
        Ok(ours.filter_map(|message| Some((message.header.ifindex, address(message)?))).collect())
    }

    /// Answers on this interface for an address that is elsewhere.
    pub(crate) async fn set_proxy(&mut self, index: u32, of: Ipv4Addr) -> Result<()> {
        let mut request = self.handle.neighbours().add(index, of.into()).flags(NeighbourFlags::Proxy).replace();
        request.message_mut().attributes.push(NeighbourAttribute::Protocol(OUR_PROTOCOL));
        self.drive(&format!("answering for {of}"), request.execute()).await
    }

    /// Answers for it no longer; fine when we did not.
    pub(crate) async fn delete_proxy(&mut self, index: u32, of: Ipv4Addr) -> Result<()> {
        let request = self.handle.neighbours().del(neighbour(index, of, NeighbourFlags::Proxy)).execute();
        absent_is_fine(self.drive(&format!("answering no more for {of}"), request).await)
    }
}

/// How a VXLAN device's packets look on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vxlan {
    pub(crate) vni: u32,
    pub(crate) local: Ipv4Addr,
    pub(crate) port: u16,
}

fn vxlan(message: &LinkMessage) -> Option<Vxlan> {
    let data = message.attributes.iter().find_map(|attribute| {
        let LinkAttribute::LinkInfo(infos) = attribute else { return None };
        infos.iter().find_map(|info| if let LinkInfo::Data(InfoData::Vxlan(data)) = info { Some(data) } else { None })
    })?;
    let (mut vni, mut local, mut port) = (None, None, None);
    for info in data {
        #[allow(clippy::wildcard_enum_match_arm, reason = "the other settings are the kernel's defaults")]
        match info {
            InfoVxlan::Id(number) => vni = Some(*number),
            InfoVxlan::Local(address) => local = Some(*address),
            InfoVxlan::Port(number) => port = Some(*number),
            _ => {}
        }
    }
    Some(Vxlan { vni: vni?, local: local?, port: port? })
}

/// Absence has several names: no such device, no such entry, no such route, no such address.
fn absent_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if [Errno::NODEV, Errno::NOENT, Errno::SRCH, Errno::ADDRNOTAVAIL].iter().any(|e| is(&error, *e)) => {
            Ok(())
        }
        other => other,
    }
}

fn neighbour(index: u32, to: Ipv4Addr, flags: NeighbourFlags) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index;
    message.header.flags = flags;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(to)));
    message
}

fn address(message: &NeighbourMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|attribute| {
        let NeighbourAttribute::Destination(to) = attribute else { return None };
        #[allow(clippy::wildcard_enum_match_arm, reason = "others are not of IPv4")]
        match to {
            NeighbourAddress::Inet(address) => Some(*address),
            // A forwarding entry's family is the bridge's, which does not say how its destination is to be read.
            NeighbourAddress::Other(bytes) => <[u8; 4]>::try_from(bytes.as_slice()).ok().map(Ipv4Addr::from),
            _ => None,
        }
    })
}

fn mac(message: &NeighbourMessage) -> Option<Mac> {
    message.attributes.iter().find_map(|attribute| {
        if let NeighbourAttribute::LinkLayerAddress(bytes) = attribute {
            bytes.as_slice().try_into().ok().map(Mac)
        } else {
            None
        }
    })
}

fn route_message(route: &RawRoute) -> RouteMessage {
    let to = route.to.trunc();
    let builder =
        RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to.network(), to.prefix_len()).table_id(route.table);
    match route.hop {
        RawHop::Unreachable => builder.kind(RouteType::Unreachable),
        RawHop::Blackhole => builder.kind(RouteType::BlackHole),
        RawHop::Device(index) => builder.scope(RouteScope::Link).output_interface(index),
        RawHop::Gateway(gateway, index) => builder.gateway(gateway).output_interface(index).onlink(),
    }
    .build()
}

fn raw_route(message: &RouteMessage) -> Option<RawRoute> {
    let (mut table, mut to, mut oif, mut gateway) = (u32::from(message.header.table), Ipv4Addr::UNSPECIFIED, 0, None);
    for attribute in &message.attributes {
        #[allow(clippy::wildcard_enum_match_arm, reason = "only these say where a route goes")]
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Oif(index) => oif = *index,
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(*address),
            _ => {}
        }
    }
    let to = Ipv4Net::new(to, message.header.destination_prefix_length).ok()?;
    let hop = match (message.header.kind, gateway) {
        (RouteType::Unreachable, _) => RawHop::Unreachable,
        (RouteType::BlackHole, _) => RawHop::Blackhole,
        (_, Some(gateway)) => RawHop::Gateway(gateway, oif),
        (_, None) => RawHop::Device(oif),
    };
    // A gateway that is not marked as reachable without a route to it is no route of ours.
    let ours = !matches!(hop, RawHop::Gateway(..)) || message.header.flags.contains(RouteFlags::Onlink);
    (table != u32::from(LOCAL_TABLE) && ours).then_some(RawRoute { table, to, hop })
}

/// How a rule says that it is for packets of UDP to a port.
fn udp_to(rule: &PolicyRule) -> Vec<RuleAttribute> {
    let Some(port) = rule.udp_port else { return Vec::new() };
    let range = RulePortRange { start: port, end: port };
    vec![RuleAttribute::IpProtocol(IpProtocol::Udp), RuleAttribute::DestinationPortRange(range)]
}

fn policy_rule(message: &RuleMessage) -> PolicyRule {
    let mut rule =
        PolicyRule { priority: 0, table: u32::from(message.header.table), from: None, by: None, udp_port: None };
    for attribute in &message.attributes {
        #[allow(clippy::wildcard_enum_match_arm, reason = "ours have no other selectors")]
        match attribute {
            RuleAttribute::Priority(number) => rule.priority = *number,
            RuleAttribute::Table(number) => rule.table = *number,
            RuleAttribute::Source(IpAddr::V4(address)) => {
                rule.from = Ipv4Net::new(*address, message.header.src_len).ok();
            }
            RuleAttribute::Iifname(name) => rule.by = Some(name.clone()),
            RuleAttribute::DestinationPortRange(range) => rule.udp_port = Some(range.start),
            _ => {}
        }
    }
    rule
}

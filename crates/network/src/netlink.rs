//! The one door to rtnetlink, whose API changes every few months: links, addresses and routes of one network namespace.
//!
//! The socket is opened on a thread inside the namespace and stays there; requests are then made from async code, driving
//! the connection only while a request is under way, so nothing runs in the background.

use crate::names::{IfName, Mac};
use crate::{Error, NetContext, Result};
use futures::{Stream, TryStreamExt, future};
use ipnet::Ipv4Net;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use rustix::io::Errno;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;

mod overlay;

pub(crate) use overlay::{End, PolicyRule, RawHop, RawRoute, Vxlan};

/// The routing table of the machine's own addresses (linux/rtnetlink.h, RT_TABLE_LOCAL), which say nothing new.
const LOCAL_TABLE: u8 = 255;

/// The loopback interface's number, the same in every namespace.
pub(crate) const LO: u32 = 1;

type Connection = rtnetlink::proto::Connection<RouteNetlinkMessage>;

/// An interface as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in this namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `veth`, `bridge` and so on; empty for physical and loopback interfaces.
    pub kind: String,
    /// Administratively up.
    pub up: bool,
    /// Hardware address, when it has an Ethernet one.
    pub mac: Option<Mac>,
    /// The bridge it is a port of.
    pub master: Option<u32>,
    /// For a veth, the other end's number in the other end's namespace.
    pub peer: Option<u32>,
    /// The greatest packet it takes, in bytes.
    pub mtu: u32,
}

/// A netlink connection inside one network namespace.
pub struct Netlink {
    handle: Handle,
    connection: Connection,
}

impl fmt::Debug for Netlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Netlink")
    }
}

/// Both ends of a veth pair to be made: the near end a bridge's port, the far end in another namespace.
pub(crate) struct VethPair<'a> {
    pub(crate) near: &'a IfName,
    pub(crate) bridge: u32,
    pub(crate) far: &'a IfName,
    pub(crate) far_netns: &'a OwnedFd,
    pub(crate) far_mac: Mac,
}

impl Netlink {
    /// Connects inside the context's namespace.
    pub async fn open(context: &NetContext) -> Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let open = move || {
            let _entered = runtime.enter();
            Self::open_here()
        };
        context.enter(open).await
    }

    /// Connects inside the calling thread's namespace; the thread's current runtime watches the socket.
    pub(crate) fn open_here() -> Result<Self> {
        let (connection, handle, _unsolicited) =
            rtnetlink::new_connection().map_err(|source| Error::Netlink { what: "connecting".into(), source })?;
        Ok(Self { handle, connection })
    }

    /// Makes one request and moves the connection until it is answered.
    async fn drive<T>(&mut self, what: &str, work: impl Future<Output = Result<T, rtnetlink::Error>>) -> Result<T> {
        match future::select(pin!(work), &mut self.connection).await {
            future::Either::Left((answer, _)) => answer.map_err(|source| explain(what, &source)),
            future::Either::Right(((), _)) => Err(Error::Netlink {
                what: format!("{what}: connection closed"),
                source: std::io::ErrorKind::BrokenPipe.into(),
            }),
        }
    }

    async fn collect<T>(
        &mut self,
        what: &str,
        items: impl Stream<Item = Result<T, rtnetlink::Error>>,
    ) -> Result<Vec<T>> {
        self.drive(what, items.try_collect()).await
    }

    /// Every interface of the namespace.
    pub async fn links(&mut self) -> Result<Vec<Link>> {
        let request = self.handle.link().get().execute();
        Ok(self.collect("listing interfaces", request).await?.iter().map(link).collect())
    }

    /// The interface of that name.
    pub async fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let request = self.handle.link().get().match_name(name).execute();
        match self.collect(&format!("looking up {name}"), request).await {
            Ok(found) => Ok(found.first().map(link)),
            Err(error) if is(&error, Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The IPv4 addresses of the namespace, each with its interface's number.
    pub async fn addresses(&mut self) -> Result<Vec<(u32, Ipv4Net)>> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet;
        let found = self.collect("listing addresses", request.execute()).await?;
        let local = |attribute: &AddressAttribute| {
            if let AddressAttribute::Local(IpAddr::V4(address)) = attribute { Some(*address) } else { None }
        };
        Ok(found
            .iter()
            .filter_map(|message| {
                let address = message.attributes.iter().find_map(local)?;
                Some((message.header.index, Ipv4Net::new(address, message.header.prefix_len).ok()?))
            })
            .collect())
    }

    /// The IPv4 unicast routes outside the local table, each with its interface's number (0 for none).
    pub async fn routes(&mut self) -> Result<Vec<(u32, Ipv4Net)>> {
        let request = self.handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
        let found = self.collect("listing routes", request).await?;
        Ok(found.iter().filter(|message| message.header.kind == RouteType::Unicast).filter_map(route).collect())
    }

    /// The gateway of the default route through an interface.
    pub(crate) async fn default_gateway(&mut self, index: u32) -> Result<Option<Ipv4Addr>> {
        let request = self.handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
        let found = self.collect("listing routes", request).await?;
        let gateway = |attribute: &RouteAttribute| {
            if let RouteAttribute::Gateway(RouteAddress::Inet(address)) = attribute { Some(*address) } else { None }
        };
        Ok(found
            .iter()
            .filter(|message| {
                message.header.destination_prefix_length == 0 && route(message).is_some_and(|(oif, _)| oif == index)
            })
            .find_map(|message| message.attributes.iter().find_map(gateway)))
    }

    /// Makes a bridge, up.
    pub(crate) async fn add_bridge(&mut self, name: &IfName, mac: Mac) -> Result<()> {
        let message = LinkBridge::new(name.as_str()).address(mac.0.to_vec()).build();
        let request = self.handle.link().add(message).execute();
        self.drive(&format!("making bridge {name}"), request).await
    }

    /// Makes a veth pair in one step: near end on the bridge and up. The far end cannot be made up:
    /// veth refuses to open an end whose other end is not there yet (ENOTCONN).
    pub(crate) async fn add_veth(&mut self, pair: &VethPair<'_>) -> Result<()> {
        let far = LinkMessageBuilder::<LinkUnspec>::new()
            .name(pair.far.as_str())
            .address(pair.far_mac.0.to_vec())
            .setns_by_fd(pair.far_netns.as_raw_fd())
            .build();
        let message = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(pair.near.as_str())
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far)))
            .controller(pair.bridge)
            .up()
            .build();
        let request = self.handle.link().add(message).execute();
        self.drive(&format!("making veth {}", pair.near), request).await
    }

    /// Lets a bridge port send a frame back where it came from: a container that calls its own host port needs it.
    pub(crate) async fn set_hairpin(&mut self, port: u32) -> Result<()> {
        let request = self.handle.link().set_port(LinkBridgePort::new(port).hairpin(true).build()).execute();
        self.drive("setting hairpin mode", request).await
    }

    /// Sets an interface up.
    pub(crate) async fn set_up(&mut self, index: u32) -> Result<()> {
        let request = self.handle.link().change(LinkUnspec::new_with_index(index).up().build()).execute();
        self.drive("setting an interface up", request).await
    }

    /// Makes an interface a port of a bridge, up.
    pub(crate) async fn set_master(&mut self, index: u32, bridge: u32) -> Result<()> {
        let request =
            self.handle.link().change(LinkUnspec::new_with_index(index).controller(bridge).up().build()).execute();
        self.drive("putting an interface on its bridge", request).await
    }

    /// Deletes an interface; fine when it is not there.
    pub(crate) async fn delete_link(&mut self, name: &str) -> Result<()> {
        let message = LinkUnspec::new_with_name(name).build();
        let request = rtnetlink::LinkDelRequest::new_with_message(self.handle.clone(), message).execute();
        match self.drive(&format!("deleting {name}"), request).await {
            Err(error) if !is(&error, Errno::NODEV) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Gives an interface exactly this IPv4 address, taking others away.
    pub(crate) async fn set_address(&mut self, index: u32, address: Ipv4Net) -> Result<()> {
        if self.keep_address(index, address).await? {
            return Ok(());
        }
        let request = self.handle.address().add(index, IpAddr::V4(address.addr()), address.prefix_len()).execute();
        tolerate(self.drive(&format!("adding address {address}"), request).await, Errno::EXIST)
    }

    /// Takes every IPv4 address but this from an interface. `true` when this one is there.
    async fn keep_address(&mut self, index: u32, address: Ipv4Net) -> Result<bool> {
        let mut request = self.handle.address().get().set_link_index_filter(index);
        request.message_mut().header.family = AddressFamily::Inet;
        let mut there = false;
        for message in self.collect("listing addresses", request.execute()).await? {
            let same = message.attributes.contains(&AddressAttribute::Local(IpAddr::V4(address.addr())));
            if same && message.header.prefix_len == address.prefix_len() {
                there = true;
                continue;
            }
            let request = self.handle.address().del(message).execute();
            self.drive("taking an address away", request).await?;
        }
        Ok(there)
    }

    /// Gives an interface a further IPv4 address; fine when it has it.
    pub(crate) async fn add_address(&mut self, index: u32, address: Ipv4Net) -> Result<()> {
        let request = self.handle.address().add(index, IpAddr::V4(address.addr()), address.prefix_len()).execute();
        tolerate(self.drive(&format!("adding address {address}"), request).await, Errno::EXIST)
    }

    /// Takes one IPv4 address from an interface; fine when it is not there.
    pub(crate) async fn remove_address(&mut self, index: u32, address: Ipv4Net) -> Result<()> {
        let mut request = self.handle.address().get().set_link_index_filter(index);
        request.message_mut().header.family = AddressFamily::Inet;
        for message in self.collect("listing addresses", request.execute()).await? {
            if message.attributes.contains(&AddressAttribute::Local(IpAddr::V4(address.addr())))
                && message.header.prefix_len == address.prefix_len()
            {
                let request = self.handle.address().del(message).execute();
                self.drive("taking an address away", request).await?;
            }
        }
        Ok(())
    }

    /// Makes this the default route, replacing another one.
    pub(crate) async fn set_default_route(&mut self, index: u32, gateway: Ipv4Addr) -> Result<()> {
        let message = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index).gateway(gateway).build();
        let request = self.handle.route().add(message).replace().execute();
        self.drive(&format!("adding the default route via {gateway}"), request).await
    }
}

fn is(error: &Error, errno: Errno) -> bool {
    error.netlink_errno() == Some(errno.raw_os_error())
}

fn tolerate(result: Result<()>, errno: Errno) -> Result<()> {
    match result {
        Err(error) if is(&error, errno) => Ok(()),
        other => other,
    }
}

fn explain(what: &str, error: &rtnetlink::Error) -> Error {
    let source = if let rtnetlink::Error::NetlinkError(message) = error {
        message.to_io()
    } else {
        std::io::Error::other(error.to_string())
    };
    Error::Netlink { what: what.to_owned(), source }
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: String::new(),
        up: message.header.flags.contains(LinkFlags::Up),
        mac: None,
        master: None,
        peer: None,
        mtu: 0,
    };
    for attribute in &message.attributes {
        #[allow(clippy::wildcard_enum_match_arm, reason = "the kernel has a hundred attributes and grows more")]
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().ok().map(Mac),
            LinkAttribute::Controller(index) => link.master = (*index != 0).then_some(*index),
            LinkAttribute::Link(index) => link.peer = Some(*index),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::LinkInfo(infos) => {
                let kind = infos
                    .iter()
                    .find_map(|info| if let LinkInfo::Kind(kind) = info { Some(kind.to_string()) } else { None });
                link.kind = kind.unwrap_or_default();
            }
            _ => {}
        }
    }
    link
}

fn route(message: &RouteMessage) -> Option<(u32, Ipv4Net)> {
    let mut oif = 0;
    let mut to = Ipv4Addr::UNSPECIFIED;
    for attribute in &message.attributes {
        #[allow(clippy::wildcard_enum_match_arm, reason = "only these two say where a route goes")]
        match attribute {
            RouteAttribute::Oif(index) => oif = *index,
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = *address,
            _ => {}
        }
    }
    let local_table = message.header.table == LOCAL_TABLE;
    Ipv4Net::new(to, message.header.destination_prefix_length).ok().filter(|_| !local_table).map(|net| (oif, net))
}

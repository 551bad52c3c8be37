//! Three hosts on an underlay of their own, the internet beside them, and whole VPCs of which each host carries its share.
//!
//! The underlay is 172.31.0.0/16, as that of local instances is, and so can a VPC's range be: 172.31.0.2 is then both a host
//! and the VPC's resolver.

use super::{World, ok, sh};
use network::vpc::{self, Group, Peer, Place, Port, Rule, Subnet, Traffic, Vpc, Way};
use network::{Ipv4Net, Mac, NetContext};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with, sockopt,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What the internet is reached at.
pub const INTERNET: &str = "203.0.113.9";

pub struct Cloud {
    pub world: World,
}

impl Cloud {
    pub async fn new() -> Self {
        let world = World::new().await;
        sh(&world.host, "ip link add under type bridge; ip link set under up").await;
        let cloud = Self { world };
        for n in 1..=3 {
            cloud.plug(&format!("h{n}"), n, &format!("{}/16", underlay(n))).await;
            sh(&cloud.host(n), "ip route add default via 172.31.255.9").await;
        }
        cloud.plug("internet", 9, "172.31.255.9/16").await;
        let internet = cloud.internet();
        sh(
            &internet,
            &format!("ip addr add {INTERNET}/32 dev lo; ip route add 198.51.100.0/24 dev eth0 src {INTERNET}"),
        )
        .await;
        cloud
    }

    async fn plug(&self, name: &str, n: u8, address: &str) {
        let netns = self.world.netns(name);
        ok(netns.create().await);
        let path = netns.as_path().display();
        sh(
            &self.world.host,
            &format!(
                "ip link add u{n} type veth peer name eth0 netns {path}; ip link set u{n} master under up; \
                 nsenter --net={path} sh -ec 'ip link set lo up; ip addr add {address} dev eth0; ip link set eth0 up'"
            ),
        )
        .await;
    }

    pub fn host(&self, n: u8) -> NetContext {
        self.world.netns(&format!("h{n}")).context()
    }

    pub fn internet(&self) -> NetContext {
        self.world.netns("internet").context()
    }

    /// Where a VPC stands on a host; the folder is the host's own, as agents' are.
    pub fn place(&self, n: u8, net: &Net) -> Place {
        Place { netns_dir: self.world.dir().join(format!("r{n}")), key: net.key.clone(), underlay: underlay(n) }
    }

    /// Brings one host up to date, as an agent that has just started.
    pub async fn ensure_on(&self, n: u8, net: &Net) {
        ok(vpc::ensure(&self.host(n), &self.place(n, net), None, &net.share(n)).await);
    }

    pub async fn ensure(&self, net: &Net) {
        for n in 1..=3 {
            self.ensure_on(n, net).await;
        }
    }

    /// Brings all hosts from one state to the next, as agents that know what they did.
    pub async fn change(&self, old: &Net, new: &Net) {
        for n in 1..=3 {
            ok(vpc::ensure(&self.host(n), &self.place(n, new), Some(&old.share(n)), &new.share(n)).await);
        }
    }

    pub async fn remove(&self, net: &Net) {
        for n in 1..=3 {
            ok(vpc::remove(&self.host(n), &self.place(n, net)).await);
        }
    }

    /// Inside a task.
    pub fn task(&self, net: &Net, id: &str) -> NetContext {
        NetContext::at(&net.tasks[id].1.netns)
    }

    /// Adds a task in a subnet, with these groups.
    pub fn add(&self, net: &mut Net, id: &str, host: u8, subnet: &str, address: &str, groups: &[&str]) {
        let address = address.parse().expect("an address");
        let port = Port {
            netns: self.world.dir().join(format!("{}-{id}", net.key)),
            address,
            mac: Mac::for_ipv4(address),
            subnet: subnet.to_owned(),
            groups: groups.iter().map(|id| (*id).to_owned()).collect(),
            source_dest_check: true,
            public: None,
            connected: false,
        };
        net.tasks.insert(id.to_owned(), (host, port));
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        for n in 1..=3 {
            // What makes them ends with them, and would keep the namespace.
            let tunnels =
                "for l in $(ip -o link | sed -n 's/^[0-9]*: \\(lsw[a-z2-7]*\\):.*/\\1/p'); do ip link del $l; done";
            let host = self.world.netns(&format!("h{n}"));
            let net = format!("--net={}", host.as_path().display());
            drop(std::process::Command::new("nsenter").args([&net, "sh", "-c", tunnels]).status());
            let dir = self.world.dir().join(format!("r{n}"));
            for name in network::netns::list(&dir).expect("a folder") {
                while rustix::mount::unmount(dir.join(&name), rustix::mount::UnmountFlags::DETACH).is_ok() {}
            }
        }
    }
}

pub fn underlay(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 31, 0, n + 1)
}

/// A whole VPC.
#[derive(Debug, Clone)]
pub struct Net {
    pub key: String,
    pub vni: u32,
    pub cidr: Ipv4Net,
    /// Routes through NAT gateways name the gateway; the home is filled in per host.
    pub subnets: BTreeMap<String, Subnet>,
    pub tasks: BTreeMap<String, (u8, Port)>,
    pub groups: BTreeMap<String, Group>,
    /// NAT gateways: private address, home, public address.
    pub gateways: BTreeMap<Ipv4Addr, (u8, Option<Ipv4Addr>)>,
    /// As in [`Vpc::aliases`].
    pub aliases: BTreeMap<(Ipv4Addr, u16), BTreeSet<(Ipv4Addr, u16)>>,
    pub encrypted: bool,
}

impl Net {
    /// A VPC of a /16 with two subnets and a group `open`, which allows everything both ways.
    pub fn new(key: &str, vni: u32, base: [u8; 2]) -> Self {
        let [a, b] = base;
        let range = |third, length| Ipv4Net::new(Ipv4Addr::new(a, b, third, 0), length).expect("a range");
        let subnet = |third| Subnet { cidr: range(third, 24), routes: vec![] };
        Self {
            key: key.to_owned(),
            vni,
            cidr: range(0, 16),
            subnets: [("one".to_owned(), subnet(1)), ("two".to_owned(), subnet(2))].into(),
            tasks: BTreeMap::new(),
            groups: [("open".to_owned(), group(&["all"], &["all"]))].into(),
            gateways: BTreeMap::new(),
            aliases: BTreeMap::new(),
            encrypted: false,
        }
    }

    /// What one host carries of it.
    pub fn share(&self, host: u8) -> Vpc {
        let (here, elsewhere): (Vec<_>, Vec<_>) = self.tasks.iter().partition(|(_, (on, _))| *on == host);
        let members = |id: &String| {
            let having = self.tasks.values().filter(|(_, port)| port.groups.contains(id));
            (id.clone(), having.map(|(_, port)| port.address).collect::<BTreeSet<_>>())
        };
        let mut subnets = self.subnets.clone();
        for (_, way) in subnets.values_mut().flat_map(|subnet| &mut subnet.routes) {
            if let Way::Nat { gateway, home } = way {
                let on = self.gateways[gateway].0;
                *home = (on != host).then(|| underlay(on));
            }
        }
        let at_home = self.gateways.iter().filter(|(_, (on, _))| *on == host);
        Vpc {
            vni: self.vni,
            cidrs: vec![self.cidr],
            ports: here.into_iter().map(|(id, (_, port))| (id.clone(), port.clone())).collect(),
            remote: elsewhere.into_iter().map(|(_, (on, port))| (port.address, underlay(*on))).collect(),
            groups: self.groups.clone(),
            members: self.groups.keys().map(members).collect(),
            subnets,
            nat_here: at_home.map(|(address, (_, public))| (*address, *public)).collect(),
            aliases: self.aliases.clone(),
            encrypted: self.encrypted,
        }
    }

    pub fn port(&mut self, id: &str) -> &mut Port {
        &mut self.tasks.get_mut(id).expect("a task").1
    }

    pub fn route(&mut self, subnet: &str, way: Way) {
        let to = "0.0.0.0/0".parse().expect("a range");
        self.subnets.get_mut(subnet).expect("a subnet").routes = vec![(to, way)];
    }
}

/// A group from rules such as `all`, `tcp 80`, `tcp 80 10.0.1.0/24`, `tcp 80 @clients`.
pub fn group(ingress: &[&str], egress: &[&str]) -> Group {
    let rules = |texts: &[&str]| texts.iter().map(|text| rule(text)).collect();
    Group { ingress: rules(ingress), egress: rules(egress) }
}

fn rule(text: &str) -> Rule {
    let mut words = text.split(' ').peekable();
    let traffic = match words.next().expect("a word") {
        "all" => Traffic::All,
        "icmp" => Traffic::Icmp(-1, -1),
        protocol => {
            let port: u16 = words.next().expect("a port").parse().expect("a port");
            if protocol == "tcp" { Traffic::Tcp(port, port) } else { Traffic::Udp(port, port) }
        }
    };
    let peer = match words.next() {
        None => Peer::Net("0.0.0.0/0".parse().expect("a range")),
        Some(word) => match word.strip_prefix('@') {
            Some(group) => Peer::Group(group.to_owned()),
            None => Peer::Net(word.parse().expect("a range")),
        },
    };
    Rule { traffic, peer }
}

/// A connection that is kept, to see whether it lives. The other side answers each byte.
pub struct Talk(TcpStream);

impl Talk {
    pub async fn between(client: &NetContext, server: &NetContext, address: &str) -> Self {
        let to: SocketAddr = address.parse().expect("an address");
        let listener = server.enter(move || Ok(TcpListener::bind(("0.0.0.0", to.port())).expect("free"))).await;
        let listener = listener.expect("entered");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
        });
        let connect = move || Ok(TcpStream::connect_timeout(&to, super::PATIENCE).expect("connected"));
        let stream = client.enter(connect).await.expect("entered");
        stream.set_nodelay(true).expect("set");
        Self(stream)
    }

    /// Says a byte and waits for its echo.
    pub fn lives(&mut self, patience: Duration) -> bool {
        self.0.set_read_timeout(Some(patience)).expect("set");
        self.0.write_all(b"x").is_ok() && self.0.read_exact(&mut [0]).is_ok()
    }
}

/// Does an echo request of this many bytes, not to be fragmented, come back?
pub async fn ping(context: &NetContext, to: &str, bytes: usize) -> bool {
    let ear = Ear::inside(context).await;
    let own = sh(context, "ip -o -4 addr show dev eth0").await;
    let own = own.split_whitespace().nth(3).and_then(|net| net.split('/').next()).expect("an address").to_owned();
    send_echo(context, &own, to, bytes).await && ear.hears(ECHO_REPLY, to, super::SHORT)
}

pub const ECHO_REPLY: u8 = 0;
pub const ECHO_REQUEST: u8 = 8;

/// Hears every ICMP message to a namespace.
pub struct Ear(OwnedFd);

impl Ear {
    pub async fn inside(context: &NetContext) -> Self {
        let open = || {
            let (family, kind) = (AddressFamily::INET, SocketType::RAW);
            Ok(socket_with(family, kind, SocketFlags::CLOEXEC, Some(ipproto::ICMP)).expect("needs root"))
        };
        Self(context.enter(open).await.expect("entered"))
    }

    /// Does such a message from there come within the patience since the last one?
    pub fn hears(&self, kind: u8, from: &str, patience: Duration) -> bool {
        sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Recv, Some(patience)).expect("set");
        let from: Ipv4Addr = from.parse().expect("an address");
        let mut buffer = [0; 2048];
        while let Ok((length, _)) = recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
            if length > 20 && buffer[12..16] == from.octets() && buffer[20] == kind {
                return true;
            }
        }
        false
    }
}

/// Hears every frame in a namespace.
pub struct Wire(OwnedFd);

impl Wire {
    pub async fn of(context: &NetContext) -> Self {
        let open = || {
            let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            Ok(socket_with(family, kind, flags, Some(rustix::net::eth::ALL)).expect("needs root"))
        };
        Self(context.enter(open).await.expect("entered"))
    }

    /// What was heard since it was asked last.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        let (mut heard, mut buffer) = (Vec::new(), [0; 2048]);
        while let Ok((length, _)) = recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
            heard.push(buffer[..length].to_vec());
        }
        heard
    }
}

/// Sends an echo request of this many bytes under any source address, not to be fragmented. `false` where it is too large.
pub async fn send_echo(context: &NetContext, from: &str, to: &str, bytes: usize) -> bool {
    let packet = echo(from, to, bytes);
    let to = to.parse().expect("an address");
    let send = move || {
        let (family, kind) = (AddressFamily::INET, SocketType::RAW);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(ipproto::RAW)).expect("needs root");
        Ok(sendto(&socket, &packet, SendFlags::empty(), &SocketAddrV4::new(to, 0)).is_ok())
    };
    context.enter(send).await.expect("entered")
}

/// Sends an echo request to a host as another host's VXLAN device would, from an ordinary socket. `false` where that is refused.
pub async fn send_wrapped(context: &NetContext, host: Ipv4Addr, vni: u32, from: &str, to: &str) -> bool {
    let frame = wrapped(host, vni, from, to);
    let send = move || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("free");
        Ok(socket.send_to(&frame, (host, VXLAN_PORT)).is_ok())
    };
    context.enter(send).await.expect("entered")
}

/// As [`send_wrapped`], under any host's address.
pub async fn send_wrapped_as(context: &NetContext, sender: Ipv4Addr, host: Ipv4Addr, vni: u32, from: &str, to: &str) {
    let frame = wrapped(host, vni, from, to);
    let length = u16::try_from(frame.len() + 8).expect("a packet");
    let mut packet = ip_header(sender, host, usize::from(length) + 20, 17);
    packet.extend_from_slice(&5555_u16.to_be_bytes());
    packet.extend_from_slice(&VXLAN_PORT.to_be_bytes());
    packet.extend_from_slice(&length.to_be_bytes());
    // No checksum.
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&frame);
    let send = move || {
        let (family, kind) = (AddressFamily::INET, SocketType::RAW);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(ipproto::RAW)).expect("needs root");
        // A rule that drops it may say so at once.
        let _refused = sendto(&socket, &packet, SendFlags::empty(), &SocketAddrV4::new(host, 0));
        Ok(())
    };
    context.enter(send).await.expect("entered");
}

const VXLAN_PORT: u16 = 14_789;

fn wrapped(host: Ipv4Addr, vni: u32, from: &str, to: &str) -> Vec<u8> {
    let mut frame = vec![8, 0, 0, 0];
    frame.extend_from_slice(&(vni << 8).to_be_bytes());
    frame.extend_from_slice(&Mac::for_ipv4(host).0);
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
    frame.extend_from_slice(&echo(from, to, 100));
    frame
}

/// An echo request, from the IP header on.
fn echo(from: &str, to: &str, bytes: usize) -> Vec<u8> {
    let mut packet = ip_header(from.parse().expect("an address"), to.parse().expect("an address"), bytes, 1);
    // Type 8, code 0, its checksum, identifier 1; all else is nothing.
    packet.extend_from_slice(&[ECHO_REQUEST, 0, 0xf7, 0xfe, 0, 1, 0, 0]);
    packet.resize(bytes, 0);
    packet
}

/// The header of a packet that is not to be fragmented.
fn ip_header(from: Ipv4Addr, to: Ipv4Addr, bytes: usize, protocol: u8) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend_from_slice(&u16::try_from(bytes).expect("a packet").to_be_bytes());
    header.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
    header.extend_from_slice(&from.octets());
    header.extend_from_slice(&to.octets());
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice");
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

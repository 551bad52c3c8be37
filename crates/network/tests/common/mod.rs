//! A small world of namespaces for the tests: its "host" is itself a namespace, so the machine's own is never touched, and
//! everything goes when the test ends, however it ends.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod cloud;

use network::{
    BridgeSpec, EndpointSpec, FabricSpec, IfName, InstanceNetSpec, Ipv4Net, Mac, NetContext, NetnsPath, PortMap,
    PortsSpec, Protocol, Result, TableName,
};
use rustix::mount::{UnmountFlags, unmount};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

/// How long a connection may take before the test calls it impossible.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for an answer that must not come.
pub const SHORT: Duration = Duration::from_millis(300);

pub struct World {
    dir: tempfile::TempDir,
    pub host: NetContext,
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("longshore-net-").tempdir().expect("a folder");
        let host = NetnsPath::new(dir.path(), "host").expect("a name");
        host.create().await.expect("needs root");
        let world = Self { host: host.context(), dir };
        sh(&world.host, "ip link set lo up").await;
        world
    }

    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub fn netns(&self, name: &str) -> NetnsPath {
        NetnsPath::new(self.dir.path(), name).expect("a name")
    }

    /// An instance on the fabric at 172.31.0.`n`.
    pub fn instance_spec(&self, n: u8) -> InstanceNetSpec {
        let address = Ipv4Addr::new(172, 31, 0, n);
        InstanceNetSpec {
            netns: self.netns(&format!("i{n}")),
            bridge: FabricSpec::standard().bridge,
            address: Ipv4Net::new(address, 16).expect("a range"),
            gateway: FabricSpec::standard().gateway.addr(),
            mac: Mac::for_ipv4(address),
            host_veth: IfName::derive("lsi", &format!("i{n}")),
        }
    }

    /// An endpoint of instance `i` at 172.17.0.`n`.
    pub fn endpoint_spec(&self, i: u8, n: u8) -> EndpointSpec {
        let address = Ipv4Addr::new(172, 17, 0, n);
        EndpointSpec {
            netns: self.netns(&format!("i{i}-e{n}")),
            ifname: name("eth0"),
            host_veth: IfName::derive("lse", &format!("e{n}")),
            bridge: name("ecs-br0"),
            address: Ipv4Net::new(address, 16).expect("a range"),
            gateway: Ipv4Addr::new(172, 17, 0, 1),
            mac: Mac::for_ipv4(address),
        }
    }

    /// Fabric, and instances `ns` with their task bridge and ports table.
    pub async fn with_instances(ns: &[u8]) -> Self {
        let world = Self::new().await;
        network::ensure_fabric(&world.host, &FabricSpec::standard()).await.expect("fabric");
        for n in ns {
            let spec = world.instance_spec(*n);
            network::ensure_instance(&world.host, &spec).await.expect("instance");
            let inside = spec.netns.context();
            network::ensure_task_bridge(&inside, &task_bridge()).await.expect("task bridge");
            network::ensure_ports_table(&inside, &ports_spec()).await.expect("ports table");
        }
        world
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for name in network::netns::list(self.dir.path()).expect("a folder") {
            while unmount(self.dir.path().join(&name), UnmountFlags::DETACH).is_ok() {}
        }
    }
}

pub fn task_bridge() -> BridgeSpec {
    BridgeSpec::standard("172.17.0.1/16".parse().expect("a range"))
}

pub fn ports_spec() -> PortsSpec {
    PortsSpec::standard(&task_bridge().bridge, task_bridge().gateway)
}

pub fn table() -> TableName {
    ports_spec().table
}

pub fn port(protocol: Protocol, host_port: u16, container: u8, container_port: u16) -> PortMap {
    PortMap { protocol, host_port, target: SocketAddrV4::new(Ipv4Addr::new(172, 17, 0, container), container_port) }
}

pub fn name(text: &str) -> IfName {
    IfName::new(text).expect("a name")
}

/// A program inside a namespace; its output.
pub async fn sh(context: &NetContext, script: &str) -> String {
    let script = script.to_owned();
    let run = move || {
        let output = Command::new("sh").args(["-ec", &script]).output().expect("sh");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    context.enter(run).await.expect("entered")
}

/// Everything the kernel has in a namespace that `ensure` makes: links, addresses, routes, rules. Left out is what changes by
/// itself: timers and carrier.
pub async fn dump(context: &NetContext) -> String {
    let text = sh(context, "ip -d -o link; ip -4 -o addr; ip -4 route; nft list ruleset").await;
    text.lines().map(steady).collect::<Vec<_>>().join("\n")
}

/// That a container's network is made with what Docker gives it, and keeps what its containers set when it is made once more.
pub async fn keeps_what_its_containers_set(inside: &NetContext, make: impl AsyncFn()) {
    make().await;
    let told = async || {
        let all = "ipv4/ip_unprivileged_port_start ipv4/ping_group_range ipv6/conf/default/disable_ipv6";
        sh(inside, &format!("cd /proc/sys/net; cat {all}")).await.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told().await, "0 0 2147483647 1");
    let set = "echo 90 > ipv4/ip_unprivileged_port_start; echo 5 7 > ipv4/ping_group_range; echo 0 > ipv6/conf/default/disable_ipv6";
    sh(inside, &format!("cd /proc/sys/net; {set}")).await;
    make().await;
    assert_eq!(told().await, "90 5 7 0");
}

fn steady(line: &str) -> String {
    let mut kept = Vec::new();
    let line = line.replace(",LOWER_UP", "").replace("NO-CARRIER,", "").replace(" linkdown", "");
    let mut words = line.split_whitespace();
    while let Some(word) = words.next() {
        // `_timer 299.42`, `state UP` and a bridge port's own `state forwarding` come with their value as the next word.
        // A bridge keeps the segment size its ports taught it. A namespace's number is the lowest that is free, which depends on when
        // the kernel came to forget those that are gone.
        if word.ends_with("_timer") || matches!(word, "state" | "tso_max_size" | "link-netnsid") {
            words.next();
        } else {
            kept.push(word);
        }
    }
    kept.join(" ")
}

/// Answers each TCP connection with who called. Its thread ends with the test process.
pub async fn serve_tcp(context: &NetContext, address: &str) {
    let address = address.to_owned();
    let listener = context.enter(move || Ok(TcpListener::bind(&address).expect("free"))).await.expect("entered");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let caller = connection.peer_addr().expect("a peer").ip().to_string();
            drop(connection.write_all(caller.as_bytes()));
        }
    });
}

/// Who the server saw, or the error.
pub async fn call_tcp(context: &NetContext, address: &str) -> std::io::Result<String> {
    call_tcp_within(context, address, PATIENCE).await
}

pub async fn call_tcp_within(context: &NetContext, address: &str, patience: Duration) -> std::io::Result<String> {
    let address = address.parse().expect("an address");
    let call = move || {
        Ok((|| {
            let mut stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_read_timeout(Some(patience))?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })())
    };
    context.enter(call).await.expect("entered")
}

/// Answers each UDP datagram with `name` and who called.
pub async fn serve_udp(context: &NetContext, address: &str, name: &'static str) {
    let address = address.to_owned();
    let socket = context.enter(move || Ok(UdpSocket::bind(&address).expect("free"))).await.expect("entered");
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        loop {
            let (_, caller) = socket.recv_from(&mut buffer).expect("a datagram");
            drop(socket.send_to(format!("{name} {}", caller.ip()).as_bytes(), caller));
        }
    });
}

/// One datagram and its answer over a given socket.
pub fn ask_udp(socket: &UdpSocket, address: &str, patience: Duration) -> std::io::Result<String> {
    socket.set_read_timeout(Some(patience))?;
    socket.send_to(b"?", address)?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

pub async fn udp_socket(context: &NetContext) -> UdpSocket {
    context.enter(|| Ok(UdpSocket::bind("0.0.0.0:0").expect("free"))).await.expect("entered")
}

pub async fn call_udp(context: &NetContext, address: &str) -> std::io::Result<String> {
    ask_udp(&udp_socket(context).await, address, PATIENCE)
}

/// Futures of this crate are to be spawned.
pub fn assert_send<T: Send>(value: T) -> T {
    value
}

pub fn ok<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string)))
}

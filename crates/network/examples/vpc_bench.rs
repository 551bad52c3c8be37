//! A VPC's cost. `bench/network` runs this; as root, in namespaces below DIR; JSON on stdout.
//!
//! * `vpc_bench lay DIR` makes two hosts with tasks in a VPC, and what they are compared with: a VXLAN device in each of two
//!   namespaces on the same underlay, the same behind a bridge, and a plain pair.
//! * `vpc_bench control DIR COUNT` measures changes among COUNT interfaces.
//! * `vpc_bench answer ADDRESS:PORT` and `vpc_bench ask ADDRESS:PORT SECONDS` send 64 bytes back and forth over TCP.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, reason = "a measuring tool")]

use network::vpc::{self, Group, Peer, Place, Port, Rule, Subnet, Traffic, Vpc};
use network::{Ipv4Net, Mac, NetContext, NetnsPath};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Operations measured one at a time.
const SAMPLES: u32 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let said = match words[..] {
        ["lay", dir] => lay(Path::new(dir)).await,
        ["control", dir, count] => control(Path::new(dir), count.parse().unwrap()).await,
        ["answer", address] => answer(address),
        ["ask", address, seconds] => ask(address, Duration::from_secs_f64(seconds.parse().unwrap())),
        _ => panic!("vpc_bench lay DIR | control DIR COUNT | answer ADDRESS | ask ADDRESS SECONDS"),
    };
    println!("{said:#}");
}

fn sh(netns: &Path, script: &str) {
    let status = Command::new("nsenter").arg(format!("--net={}", netns.display())).args(["sh", "-ec", script]).status();
    assert!(status.unwrap().success(), "{script}");
}

/// Hosts on an underlay bridge, at 192.168.77.n.
async fn hosts(dir: &Path, count: u8) -> Vec<Place> {
    let under = NetnsPath::new(dir, "underlay").unwrap();
    under.create().await.unwrap();
    sh(under.as_path(), "ip link add br0 type bridge; ip link set br0 up");
    let mut places = Vec::new();
    for n in 1..=count {
        let host = NetnsPath::new(dir, &format!("host{n}")).unwrap();
        host.create().await.unwrap();
        let path = host.as_path().display();
        sh(
            under.as_path(),
            &format!("ip link add u{n} type veth peer name eth0 netns {path}; ip link set u{n} master br0 up"),
        );
        sh(host.as_path(), &format!("ip link set lo up; ip addr add 192.168.77.{n}/24 dev eth0; ip link set eth0 up"));
        let netns_dir = dir.join(format!("routers{n}"));
        places.push(Place { netns_dir, key: "vpc-bench".into(), underlay: Ipv4Addr::new(192, 168, 77, n) });
    }
    places
}

fn host(dir: &Path, place: &Place) -> NetContext {
    NetContext::at(dir.join(format!("host{}", place.underlay.octets()[3])))
}

fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 10)) + n)
}

fn port(netns: PathBuf, n: u32, groups: &[&str]) -> Port {
    let groups = groups.iter().map(|id| (*id).to_owned()).collect();
    let (address, mac, subnet) = (address(n), Mac::for_ipv4(address(n)), "subnet-1".to_owned());
    Port { netns, address, mac, subnet, groups, source_dest_check: true, public: None, connected: false }
}

/// Two groups of twenty rules each, the one that matters last; members of each other.
fn vpc() -> Vpc {
    let rules = |last: &str| {
        let mut rules: Vec<_> = (0..19)
            .map(|n| Rule { traffic: Traffic::Tcp(1 + n, 1 + n), peer: Peer::Net("192.0.2.0/24".parse().unwrap()) })
            .collect();
        rules.push(Rule { traffic: Traffic::All, peer: Peer::Group(last.to_owned()) });
        rules
    };
    let group = |peer| Group { ingress: rules(peer), egress: rules(peer) };
    Vpc {
        vni: 4_000_001,
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        groups: [("sg-a".to_owned(), group("sg-b")), ("sg-b".to_owned(), group("sg-a"))].into(),
        members: [("sg-a".to_owned(), [].into()), ("sg-b".to_owned(), [].into())].into(),
        subnets: [("subnet-1".to_owned(), Subnet { cidr: "10.0.0.0/18".parse::<Ipv4Net>().unwrap(), routes: vec![] })]
            .into(),
        ..Vpc::default()
    }
}

async fn lay(dir: &Path) -> Value {
    let places = hosts(dir, 2).await;
    let tasks: Vec<_> = (1..=3_u32)
        .map(|n| (usize::from(n == 2), port(dir.join(format!("task{n}")), n, &[if n == 1 { "sg-a" } else { "sg-b" }])))
        .collect();
    for (at, place) in places.iter().enumerate() {
        let mut vpc = vpc();
        for (on, port) in &tasks {
            let id = port.groups.first().unwrap();
            vpc.members.get_mut(id).unwrap().insert(port.address);
            if *on == at {
                vpc.ports.insert(port.address.to_string(), port.clone());
            } else {
                vpc.remote.insert(port.address, places[*on].underlay);
            }
        }
        vpc::ensure(&host(dir, place), place, None, &vpc).await.unwrap();
    }
    let task = |n: usize| (tasks[n].1.netns.clone(), tasks[n].1.address);
    let told = |(netns, address): (PathBuf, Ipv4Addr)| json!({ "netns": netns, "address": address });
    let (bare, bridged) = (bare(dir).await, bridged(dir).await);
    let plain = plain(dir).await;
    json!({
        "vpc, two hosts": { "client": told(task(0)), "server": told(task(1)) },
        "vpc, one host": { "client": told(task(0)), "server": told(task(2)) },
        "bare vxlan": { "client": told(bare[0].clone()), "server": told(bare[1].clone()) },
        "bridged vxlan": { "client": told(bridged[0].clone()), "server": told(bridged[1].clone()) },
        "plain veth": { "client": told(plain[0].clone()), "server": told(plain[1].clone()) },
    })
}

/// A VXLAN device each in two namespaces on the underlay, as one makes them by hand.
async fn bare(dir: &Path) -> Vec<(PathBuf, Ipv4Addr)> {
    let under = dir.join("underlay");
    let mut pair = Vec::new();
    for n in [11_u8, 12] {
        let other = 23 - n;
        let netns = NetnsPath::new(dir, &format!("bare{n}")).unwrap();
        netns.create().await.unwrap();
        let path = netns.as_path().display();
        sh(&under, &format!("ip link add u{n} type veth peer name eth0 netns {path}; ip link set u{n} master br0 up"));
        sh(
            netns.as_path(),
            &format!(
                "ip link set lo up; ip addr add 192.168.77.{n}/24 dev eth0; ip link set eth0 up; \
                 ip link add vx type vxlan id 5 local 192.168.77.{n} remote 192.168.77.{other} dstport 4789 nolearning; \
                 ip addr add 10.9.0.{n}/24 dev vx; ip link set vx mtu 1450 up"
            ),
        );
        pair.push((netns.as_path().to_owned(), Ipv4Addr::new(10, 9, 0, n)));
    }
    pair
}

/// As container overlays are made: a pair to each container, and a bridge that joins it to the VXLAN device. No rules.
async fn bridged(dir: &Path) -> Vec<(PathBuf, Ipv4Addr)> {
    let under = dir.join("underlay");
    let mut pair = Vec::new();
    for n in [21_u8, 22] {
        let other = 43 - n;
        let host = NetnsPath::new(dir, &format!("bridged{n}")).unwrap();
        let task = NetnsPath::new(dir, &format!("bridged{n}-task")).unwrap();
        host.create().await.unwrap();
        task.create().await.unwrap();
        let (path, inner) = (host.as_path().display(), task.as_path().display());
        sh(&under, &format!("ip link add u{n} type veth peer name eth0 netns {path}; ip link set u{n} master br0 up"));
        sh(
            host.as_path(),
            &format!(
                "ip link set lo up; ip addr add 192.168.77.{n}/24 dev eth0; ip link set eth0 up; \
                 ip link add br0 type bridge; ip link set br0 up; \
                 ip link add vx type vxlan id 6 local 192.168.77.{n} remote 192.168.77.{other} dstport 4789 nolearning; \
                 ip link set vx mtu 1450 master br0 up; \
                 ip link add task type veth peer name eth0 netns {inner}; ip link set task mtu 1450 master br0 up"
            ),
        );
        sh(
            task.as_path(),
            &format!("ip link set lo up; ip addr add 10.7.0.{n}/24 dev eth0; ip link set eth0 mtu 1450 up"),
        );
        pair.push((task.as_path().to_owned(), Ipv4Addr::new(10, 7, 0, n)));
    }
    pair
}

async fn plain(dir: &Path) -> Vec<(PathBuf, Ipv4Addr)> {
    let mut pair = Vec::new();
    for n in [1_u8, 2] {
        let netns = NetnsPath::new(dir, &format!("plain{n}")).unwrap();
        netns.create().await.unwrap();
        pair.push((netns.as_path().to_owned(), Ipv4Addr::new(10, 8, 0, n)));
    }
    sh(&pair[0].0, &format!("ip link add eth0 type veth peer name eth0 netns {}", pair[1].0.display()));
    for (netns, address) in &pair {
        sh(netns, &format!("ip link set lo up; ip addr add {address}/24 dev eth0; ip link set eth0 up"));
    }
    pair
}

/// Sends back what comes, one connection after another, until it is ended.
fn answer(address: &str) -> Value {
    let listener = TcpListener::bind(address).unwrap();
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = [0; 64];
        while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
    }
}

fn ask(address: &str, how_long: Duration) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut buffer, mut times, begin) = ([7; 64], Vec::new(), Instant::now());
    while begin.elapsed() < how_long {
        let sent = Instant::now();
        stream.write_all(&buffer).unwrap();
        stream.read_exact(&mut buffer).unwrap();
        times.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    json!({ "count": times.len(), "p50_us": at(0.5), "p99_us": at(0.99) })
}

/// User and system time of this process and of those it waited for, in milliseconds; the kernel counts in hundredths of a second.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..15].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() * 10.0
}

struct Row {
    wall_ms: Vec<f64>,
    cpu: f64,
}

impl Row {
    fn begin() -> Self {
        Self { wall_ms: vec![], cpu: cpu_ms() }
    }

    fn told(mut self) -> Value {
        let cpu = (cpu_ms() - self.cpu) / self.wall_ms.len() as f64;
        self.wall_ms.sort_by(f64::total_cmp);
        let at = |share: f64| self.wall_ms[((self.wall_ms.len() - 1) as f64 * share).round() as usize];
        json!({ "count": self.wall_ms.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "cpu_ms": cpu })
    }
}

/// One host, brought from state to state as an agent does it.
struct Agent {
    context: NetContext,
    place: Place,
    known: Vpc,
}

impl Agent {
    async fn become_like(&mut self, wanted: Vpc, row: &mut Row) {
        let begin = Instant::now();
        vpc::ensure(&self.context, &self.place, Some(&self.known), &wanted).await.unwrap();
        row.wall_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        self.known = wanted;
    }

    fn with(&self, change: impl FnOnce(&mut Vpc)) -> Vpc {
        let mut wanted = self.known.clone();
        change(&mut wanted);
        wanted
    }
}

async fn control(dir: &Path, count: u32) -> Value {
    let place = hosts(dir, 1).await.remove(0);
    let mut agent = Agent { context: host(dir, &place), place, known: vpc() };
    vpc::ensure(&agent.context, &agent.place, None, &agent.known).await.unwrap();
    let add = |n: u32| {
        let netns = dir.join(format!("task{n}"));
        move |vpc: &mut Vpc| {
            vpc.members.get_mut("sg-a").unwrap().insert(address(n));
            vpc.ports.insert(format!("eni-{n}"), port(netns, n, &["sg-a"]));
        }
    };
    let mut said = serde_json::Map::new();
    let mut few = Row::begin();
    for n in 0..SAMPLES {
        let wanted = agent.with(add(n));
        agent.become_like(wanted, &mut few).await;
    }
    said.insert("add an interface, among up to 200".into(), few.told());
    let mut gone = Row::begin();
    for n in 0..SAMPLES / 4 {
        let wanted = agent.with(|vpc| drop(vpc.ports.remove(&format!("eni-{n}"))));
        agent.become_like(wanted, &mut gone).await;
    }
    said.insert("remove an interface".into(), gone.told());
    let begin = Instant::now();
    let rest = agent.with(|vpc| vpc.ports.clear());
    let there = agent.known.ports.len();
    agent.become_like(rest, &mut Row::begin()).await;
    let each = begin.elapsed().as_secs_f64() * 1e3 / there as f64;
    said.insert("remove 150 interfaces at once, each".into(), json!({ "count": there, "p50_ms": each }));

    let all = agent.with(|vpc| (0..count).for_each(|n| add(n)(vpc)));
    agent.become_like(all, &mut Row::begin()).await;
    let mut many = Row::begin();
    for n in count..count + SAMPLES / 4 {
        let wanted = agent.with(add(n));
        agent.become_like(wanted, &mut many).await;
    }
    said.insert(format!("add an interface, among {count}"), many.told());
    let mut member = Row::begin();
    for n in 0..SAMPLES / 4 {
        let other = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 60, 1)) + n);
        let wanted = agent.with(|vpc| vpc.members.get_mut("sg-b").unwrap().extend([other]));
        agent.become_like(wanted, &mut member).await;
    }
    said.insert(format!("a group's member more, among {count}"), member.told());
    let mut rules = Row::begin();
    for n in 0..SAMPLES / 4 {
        let wanted = agent.with(|vpc| {
            let port = 1000 + u16::try_from(n).unwrap();
            vpc.groups.get_mut("sg-a").unwrap().ingress[3].traffic = Traffic::Tcp(port, port);
        });
        agent.become_like(wanted, &mut rules).await;
    }
    said.insert(format!("a rule changed, among {count}"), rules.told());
    let mut restart = Row::begin();
    let begin = Instant::now();
    vpc::ensure(&agent.context, &agent.place, None, &agent.known).await.unwrap();
    restart.wall_ms.push(begin.elapsed().as_secs_f64() * 1e3);
    said.insert(format!("everything looked at after a restart, {count}"), restart.told());
    said.into()
}

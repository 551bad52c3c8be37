//! What hosts send each other of VPCs, encrypted: the wire is listened to, keys are wrong, and what breaks is made good.
#![allow(clippy::print_stderr)] // A test that cannot run here says so.

mod common;

use common::cloud::*;
use common::*;
use network::NetContext;
use network::vpc;
use network::vpc::tunnel::{self, Maker, PrivateKey, PublicKey, Tunnel};
use std::path::PathBuf;
use std::time::Duration;

const SECRET: &str = "of-great-secrecy";

/// Three hosts with keys, tasks `a`, `c` and `d` on one each, and a fourth key that is nobody's.
struct Secret {
    cloud: Cloud,
    net: Net,
    keys: Vec<(PrivateKey, PublicKey)>,
    maker: Maker,
}

impl Secret {
    /// `None`, and said so, where neither the kernel nor a program makes such devices.
    async fn new() -> Option<Self> {
        let maker = match tunnel::find().await {
            Ok(maker) => maker,
            Err(error) => {
                eprintln!("SKIPPED: {error}");
                return None;
            }
        };
        let cloud = Cloud::new().await;
        let mut net = Net::new("vpc-1", 4711, [172, 31]);
        cloud.add(&mut net, "a", 1, "one", "172.31.1.10", &["open"]);
        cloud.add(&mut net, "c", 2, "one", "172.31.1.12", &["open"]);
        cloud.add(&mut net, "d", 3, "two", "172.31.2.13", &["open"]);
        let mut keys = Vec::new();
        for _ in 0..4 {
            let key = ok(PrivateKey::generate().await);
            let public = ok(key.public().await);
            keys.push((key, public));
        }
        Some(Self { cloud, net, keys, maker })
    }

    fn dir(&self, n: u8) -> PathBuf {
        self.cloud.place(n, &self.net).netns_dir
    }

    /// What a host is to have; every other host is its peer.
    fn tunnel(&self, n: u8) -> Tunnel {
        let key = |n: u8| &self.keys[usize::from(n) - 1];
        let peers = (1..=3).filter(|peer| *peer != n).map(|peer| (underlay(peer), key(peer).1.clone())).collect();
        Tunnel { key: key(n).0.clone(), peers }
    }

    async fn tunnel_on(&self, n: u8, tunnel: &Tunnel) {
        ok(tunnel::ensure(&self.cloud.host(n), &self.dir(n), underlay(n), tunnel).await);
    }

    /// Everything, encrypted.
    async fn ensure(&mut self) {
        self.net.encrypted = true;
        for n in 1..=3 {
            self.tunnel_on(n, &self.tunnel(n)).await;
        }
        self.cloud.ensure(&self.net).await;
    }

    fn task(&self, id: &str) -> NetContext {
        self.cloud.task(&self.net, id)
    }

    /// The device's name, where there is one.
    async fn device(&self, n: u8) -> Option<String> {
        let text = sh(&self.cloud.host(n), "ip -o link | sed -n 's/^[0-9]*: \\(lsw[a-z2-7]*\\):.*/\\1/p'").await;
        Some(text.trim().to_owned()).filter(|name| !name.is_empty())
    }

    /// The process that makes it, where the kernel does not.
    async fn process(&self, n: u8) -> Option<i32> {
        process_of(&self.device(n).await?)
    }
}

/// Where a process that makes a device listens.
fn socket(device: &str) -> PathBuf {
    PathBuf::from(format!("/var/run/wireguard/{device}.sock"))
}

fn process_of(device: &str) -> Option<i32> {
    let of = |entry: std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = line.split(|b| *b == 0);
        let found = words.next()?.ends_with(b"wireguard-go") && words.next()? == device.as_bytes();
        found.then(|| entry.file_name().to_str()?.parse().ok())?
    };
    std::fs::read_dir("/proc").expect("processes").flatten().find_map(of)
}

#[allow(clippy::disallowed_methods, reason = "real packets take real time")]
async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if ask().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: not within a minute");
}

/// Where a packet of UDP over IPv4 goes to.
fn udp_port(frame: &[u8]) -> Option<u16> {
    let udp = frame.len() >= 42 && frame[12..14] == [8, 0] && frame[14] == 0x45 && frame[23] == 17;
    udp.then(|| u16::from_be_bytes([frame[36], frame[37]]))
}

fn shows(frame: &[u8], text: &str) -> bool {
    frame.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn the_wire_shows_nothing_of_what_tasks_say() {
    let Some(mut this) = Secret::new().await else { return };
    this.cloud.ensure(&this.net).await;
    let (a, c) = (this.task("a"), this.task("c"));
    serve_udp(&c, "0.0.0.0:53", SECRET).await;
    let wire = Wire::of(&this.cloud.world.host).await;
    let answer = format!("{SECRET} 172.31.1.10");
    assert_eq!(call_udp(&a, "172.31.1.12:53").await.expect("answered"), answer);
    let heard = wire.heard();
    assert!(heard.iter().any(|frame| shows(frame, SECRET) && udp_port(frame) == Some(14_789)), "nothing is heard");
    let ear = Ear::inside(&c).await;
    send_wrapped_as(&this.cloud.internet(), underlay(1), underlay(2), 4711, "172.31.1.66", "172.31.1.12").await;
    assert!(ear.hears(ECHO_REQUEST, "172.31.1.66", PATIENCE), "whoever is on the underlay can claim to be a host");

    // From now on encrypted. A connection that is there lives on.
    let mut kept = Talk::between(&a, &c, "172.31.1.12:90").await;
    this.ensure().await;
    let (a, c) = (this.task("a"), this.task("c"));
    until("an answer", async || call_udp(&a, "172.31.1.12:53").await.is_ok_and(|said| said == answer)).await;
    assert!(kept.lives(Duration::from_secs(60)));
    wire.heard();
    assert_eq!(call_udp(&a, "172.31.1.12:53").await.expect("answered"), answer);
    assert!(ping(&a, "172.31.1.12", 1390).await, "the whole packet fits");
    assert!(!ping(&a, "172.31.1.12", 1391).await, "larger than the tunnel takes");
    let heard = wire.heard();
    let ports: Vec<_> = heard.iter().filter_map(|frame| udp_port(frame)).collect();
    assert!(ports.len() >= 4 && ports.iter().all(|port| *port == 14_790), "{ports:?}");
    assert!(!heard.iter().any(|frame| shows(frame, SECRET)), "{SECRET} is on the wire");
    let mtu = sh(&a, "ip link show dev eth0").await;
    assert!(mtu.contains("mtu 1390"), "{mtu}");
    send_wrapped_as(&this.cloud.internet(), underlay(1), underlay(2), 4711, "172.31.1.67", "172.31.1.12").await;
    assert!(!ear.hears(ECHO_REQUEST, "172.31.1.67", SHORT), "in clear, from outside");
    drop(c);
}

#[tokio::test]
async fn who_has_another_key_gets_nothing_through() {
    let Some(mut this) = Secret::new().await else { return };
    this.ensure().await;
    let (a, c, d) = (this.task("a"), this.task("c"), this.task("d"));
    for task in [&c, &d] {
        serve_tcp(task, "0.0.0.0:80").await;
    }
    let reaches = async |from: &NetContext, to: &str| call_tcp_within(from, to, SHORT).await.is_ok();
    until("a reaches c", async || reaches(&a, "172.31.1.12:80").await).await;
    // Somebody at host 2's address, with a key that nobody was told.
    let wrong = Tunnel { key: this.keys[3].0.clone(), ..this.tunnel(2) };
    this.tunnel_on(2, &wrong).await;
    assert!(!reaches(&a, "172.31.1.12:80").await && !reaches(&c, "172.31.2.13:80").await);
    until("a reaches d", async || reaches(&a, "172.31.2.13:80").await).await;
    // A host whose key is not known any more is sent nothing at all, not even in clear.
    let mut less = this.tunnel(1);
    less.peers.remove(&underlay(3));
    this.tunnel_on(1, &less).await;
    let wire = Wire::of(&this.cloud.world.host).await;
    assert!(!reaches(&a, "172.31.2.13:80").await);
    let from = underlay(1).octets();
    let sent = wire.heard().into_iter().filter(|frame| frame.get(26..30) == Some(&from[..]));
    let sent: Vec<_> = sent.filter(|frame| frame[30..34] == underlay(3).octets()).collect();
    assert!(sent.iter().all(|frame| udp_port(frame) != Some(14_789)), "{sent:?}");
    for n in 1..=2 {
        this.tunnel_on(n, &this.tunnel(n)).await;
    }
    until("a reaches c again", async || reaches(&a, "172.31.1.12:80").await).await;
    until("a reaches d again", async || reaches(&a, "172.31.2.13:80").await).await;
}

/// What a killed agent, or a stranger, can leave on host 1.
const HALVES: &[(&str, &str)] = &[
    ("no device", "ip link del $D"),
    ("a device that is down", "ip link set $D down"),
    ("a device of another size", "ip link set $D mtu 1200"),
    ("no routes", "ip route flush table 14789"),
    ("a route too many", "ip route add 10.9.9.9/32 dev $D table 14789"),
    ("no rule", "ip rule del pref 90"),
    ("no peers", "printf '[Interface]\\nListenPort = 14790\\n' | wg setconf $D /dev/stdin"),
    ("another port", "wg set $D listen-port 999"),
    ("another device of the name", "ip link del $D; ip link add $D type bridge"),
];

/// All of it on a host but what the kernel numbers and counts.
async fn everything(this: &Secret, n: u8) -> String {
    let name = this.device(n).await.unwrap_or_default();
    let look = "ip -4 rule; ip -4 route show table 14789 2>/dev/null | sort; ip -o link show $D | sed 's/.*mtu/mtu/; s/state.*//'; \
         ip -o addr show $D | sed 's/^[0-9]*//'; wg show $D peers | sort; wg show $D allowed-ips | sort; wg show $D listen-port; wg show $D public-key";
    sh(&this.cloud.host(n), &format!("set +e; D={name}; {look}; true")).await
}

#[tokio::test]
async fn what_is_broken_is_made_good_and_what_is_right_is_left_alone() {
    let Some(mut this) = Secret::new().await else { return };
    this.ensure().await;
    let (a, c) = (this.task("a"), this.task("c"));
    until("a reaches c", async || ping(&a, "172.31.1.12", 1390).await).await;
    let good = everything(&this, 1).await;
    let mut kept = Talk::between(&a, &c, "172.31.1.12:90").await;
    let index = "ip -o link | grep lsw | cut -d: -f1";
    let (process, number) = (this.process(1).await, sh(&this.cloud.host(1), index).await);
    assert_eq!(process.is_some(), this.maker == Maker::Userspace);
    for _ in 0..2 {
        this.ensure().await;
        assert!(kept.lives(Duration::from_secs(60)), "an agent that starts again disturbs nothing");
        assert_eq!((this.process(1).await, sh(&this.cloud.host(1), index).await), (process, number.clone()));
    }
    let killed = [("its process is killed", "kill -9 $P; while [ -e /sys/class/net/$D ]; do sleep 0.1; done")];
    let halves = HALVES.iter().chain(killed.iter().filter(|_| this.maker == Maker::Userspace));
    for (what, breaking) in halves {
        let process = this.process(1).await.unwrap_or_default();
        let name = this.device(1).await.expect("a device");
        // sysfs shows the namespace that it was mounted in, so it is mounted anew for the one that waits.
        let script = format!("D={name}; P={process}; {breaking}");
        let inside = format!("unshare -m sh -ec 'mount -t sysfs none /sys; {}'", script.replace('\'', "'\\''"));
        sh(&this.cloud.host(1), &inside).await;
        assert_ne!(everything(&this, 1).await, good, "{what} breaks nothing");
        // Until the process of a device that was deleted has ended, no other can take its place.
        let (host, dir, wanted) = (this.cloud.host(1), this.dir(1), this.tunnel(1));
        until(what, async || tunnel::ensure(&host, &dir, underlay(1), &wanted).await.is_ok()).await;
        assert_eq!(everything(&this, 1).await, good, "{what}");
        until(what, async || ping(&a, "172.31.1.12", 1390).await).await;
    }
    assert!(kept.lives(Duration::from_secs(60)), "the connection that was there outlives all of it");

    let (host, name) = (this.cloud.host(1), this.device(1).await.expect("a device"));
    ok(vpc::remove(&host, &this.cloud.place(1, &this.net)).await);
    for _ in 0..2 {
        ok(tunnel::remove(&host, &this.dir(1)).await);
        let left = sh(&host, "ip -4 rule | grep 14789 || true; ip -4 route show table 14789 2>/dev/null || true").await;
        assert_eq!((left.trim(), this.device(1).await), ("", None));
        until("its process ends", async || process_of(&name).is_none()).await;
    }
    assert!(!socket(&name).exists());
    // Also of one that was killed with its whole namespace.
    if let Some(process) = this.process(2).await {
        let name = this.device(2).await.expect("a device");
        sh(&this.cloud.host(2), &format!("kill -9 {process}")).await;
        // What is killed loses its command line a moment before its files.
        until("nobody listens", async || std::os::unix::net::UnixStream::connect(socket(&name)).is_err()).await;
        assert!(socket(&name).exists());
        ok(tunnel::remove(&NetContext::at(this.dir(2).join("no-such-namespace")), &this.dir(2)).await);
        assert!(!socket(&name).exists());
    }
}

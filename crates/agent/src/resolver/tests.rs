//! With `dig`, as people ask: over real sockets of the loopback.

use super::*;
use network::NetContext;
use std::{collections::BTreeMap, path::Path, process::Command};

struct World {
    resolver: Resolver,
    port: u16,
    effects: Effects,
}

/// A resolver that knows `zones`, with others behind it as `file` names them.
async fn resolver(zones: Zones, file: &Path, upstream_port: u16) -> World {
    let effects = Effects::real();
    let upstreams = Upstreams::new(NetContext::own(), file, effects.clone()).at_port(upstream_port);
    let resolver = Resolver::new(Arc::new(upstreams), effects.clone());
    resolver.know(zones);
    // The same port for both: whoever has it for UDP is most probably alone with it.
    let (socket, listener) = loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
            break (socket, listener);
        }
    };
    let port = listener.local_addr().unwrap().port();
    effects.spawn("udp", resolver.clone().serve_udp(socket));
    effects.spawn("tcp", resolver.clone().serve_tcp(listener));
    World { resolver, port, effects }
}

impl World {
    /// What `dig` prints of a question.
    async fn dig(&self, question: &str) -> String {
        let mut dig = Command::new("dig");
        dig.args(["@127.0.0.1", "-p", &self.port.to_string(), "+tries=1", "+time=10"]).args(question.split(' '));
        let out = tokio::task::spawn_blocking(move || dig.output()).await.unwrap();
        let out = out.expect("dig, of Debian's bind9-dnsutils: run `scripts/setup test` first");
        String::from_utf8(out.stdout).unwrap()
    }
}

fn zone(apex: &str, names: &[(&str, Entry)]) -> Zone {
    let names = names.iter().map(|(name, entry)| ((*name).to_owned(), entry.clone())).collect();
    Zone { apex: apex.into(), negative_ttl: 15, names }
}

fn addresses(all: impl IntoIterator<Item = u8>) -> Entry {
    let a = all.into_iter().map(|n| Ipv4Addr::new(10, 0, 1, n)).collect();
    Entry { ttl: 10, a, ..Entry::default() }
}

#[tokio::test]
async fn dig_is_answered_from_our_zones() {
    let srv =
        |n: u16| Srv { priority: 1, weight: 1, port: 8000 + n, target: format!("{}{n}.shop.local", "t".repeat(50)) };
    let long = Entry { ttl: 10, srv: (0..40).map(srv).collect(), most: 40, ..Entry::default() };
    let zones = Zones {
        zones: vec![zone("shop.local", &[("web.shop.local", addresses([1])), ("long.shop.local", long)])],
        private: Some(Private::of("us-east-1", vec!["10.0.0.0/16".parse().unwrap()])),
        ..Zones::default()
    };
    let world = resolver(zones, Path::new("/nowhere"), 53).await;
    let rows = [
        ("+short web.shop.local", "10.0.1.1\n"),
        ("+short +tcp web.shop.local", "10.0.1.1\n"),
        ("+short ip-10-0-1-12.ec2.internal", "10.0.1.12\n"),
        ("+short -x 10.0.1.12", "ip-10-0-1-12.ec2.internal.\n"),
        ("+noall +answer WEB.Shop.LOCAL", "WEB.Shop.LOCAL.\t\t10\tIN\tA\t10.0.1.1\n"),
    ];
    for (question, want) in rows {
        assert_eq!(world.dig(question).await, want, "{question}");
    }
    let rows = [
        ("nobody.shop.local", "status: NXDOMAIN", "shop.local.\t\t15\tIN\tSOA\tns.shop.local."),
        ("web.shop.local AAAA", "status: NOERROR", "shop.local.\t\t15\tIN\tSOA\tns.shop.local."),
        ("web.shop.local", "flags: qr rd ra;", "udp: 1232"),
        ("+noedns web.shop.local", "status: NOERROR", "QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0"),
        ("+edns=1 +noednsnegotiation web.shop.local", "status: BADVERS", "ANSWER: 0"),
        ("+norecurse web.shop.local", "status: REFUSED", "ANSWER: 0"),
        ("web.shop.local CH TXT", "status: REFUSED", "ANSWER: 0"),
        ("+opcode=notify web.shop.local", "status: NOTIMP", "ANSWER: 0"),
        ("elsewhere.example", "status: SERVFAIL", "ANSWER: 0"),
        ("+ignore long.shop.local SRV", "flags: qr tc rd ra;", "ANSWER: 0"),
        ("long.shop.local SRV", "Truncated, retrying in TCP mode", "ANSWER: 40"),
    ];
    for (question, one, other) in rows {
        let said = world.dig(question).await;
        assert!(said.contains(one) && said.contains(other), "{question}: {said}");
    }

    // What it knows is another from one answer to the next.
    let fresh = Zones { zones: vec![zone("shop.local", &[("web.shop.local", addresses([2]))])], ..Zones::default() };
    world.resolver.know(fresh);
    assert_eq!(world.dig("+short web.shop.local").await, "10.0.1.2\n");
    assert!(world.effects.drain(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn what_is_not_ours_is_asked_of_the_hosts_resolvers() {
    // One of ours plays the host's.
    let srv = |n: u16| Srv { priority: 1, weight: 1, port: n, target: format!("{}{n}.example", "t".repeat(50)) };
    let long = Entry { ttl: 7, srv: (0..40).map(srv).collect(), most: 40, ..Entry::default() };
    let names = [("www.example", addresses([77])), ("long.example", long)];
    let outside = Zones { zones: vec![zone("example", &names)], ..Zones::default() };
    let host = resolver(outside, Path::new("/nowhere"), 53).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("resolv.conf");
    // The first does not answer: that is found out at once, and the second is asked.
    std::fs::write(&file, "nameserver 127.0.0.9\nnameserver 127.0.0.1\n").unwrap();
    let zones = Zones { zones: vec![zone("shop.local", &[("web.shop.local", addresses([1]))])], ..Zones::default() };
    let world = resolver(zones, &file, host.port).await;
    for (question, want) in [
        ("+short www.example", "10.0.1.77\n"),
        ("+short +tcp www.example", "10.0.1.77\n"),
        ("+short web.shop.local", "10.0.1.1\n"),
    ] {
        assert_eq!(world.dig(question).await, want, "{question}");
    }
    for (question, one, other) in [
        ("nobody.example", "status: NXDOMAIN", "example.\t\t15\tIN\tSOA"),
        ("+ignore long.example SRV", "flags: qr tc rd ra;", "ANSWER: 0"),
        ("long.example SRV", "Truncated, retrying in TCP mode", "ANSWER: 40"),
        ("www.elsewhere", "status: SERVFAIL", "ANSWER: 0"),
    ] {
        let said = world.dig(question).await;
        assert!(said.contains(one) && said.contains(other), "{question}: {said}");
    }
    // Another file, and nobody there.
    std::fs::write(&file, "nameserver 127.0.0.8\n").unwrap();
    assert!(world.dig("www.example").await.contains("status: SERVFAIL"));
    assert!(world.effects.drain(Duration::from_secs(5)).await && host.effects.drain(Duration::from_secs(5)).await);
}

#[test]
fn noise_is_answered_with_an_error_or_not_at_all() {
    let header = |flags: u8| [7, 7, flags, 0, 0, 9, 0, 0, 0, 0, 0, 0];
    let told = |bytes: &[u8]| match wire::read(bytes) {
        Came::Query(_) => "a query".to_owned(),
        Came::Bad(reply) => format!("{:?} rcode {}", &reply[..2], reply[3] & 15),
        Came::Nothing => "nothing".to_owned(),
    };
    assert_eq!(told(b""), "nothing");
    assert_eq!(told(&header(1)[..11]), "nothing");
    assert_eq!(told(&header(0x81)), "nothing", "an answer is never answered");
    assert_eq!(told(&header(1)), "[7, 7] rcode 1");
    let unasked: BTreeMap<u8, String> = (0..=255).map(|n| (n, told(&[n; 64]))).collect();
    assert!(unasked.values().all(|told| told != "a query"), "{unasked:?}");
}

//! A VPC over three hosts, with real packets: who reaches whom, and what a killed or restarted agent leaves.

mod common;

use common::cloud::*;
use common::*;
use network::NetContext;
use network::vpc::{self, Way};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Tasks `a` and `b` on host 1, `c` on host 2, `d` on host 3 in the other subnet; everything is open among them.
async fn four() -> (Cloud, Net) {
    let cloud = Cloud::new().await;
    let mut net = Net::new("vpc-1", 4711, [172, 31]);
    cloud.add(&mut net, "a", 1, "one", "172.31.1.10", &["open"]);
    cloud.add(&mut net, "b", 1, "one", "172.31.1.11", &["open"]);
    cloud.add(&mut net, "c", 2, "one", "172.31.1.12", &["open"]);
    cloud.add(&mut net, "d", 3, "two", "172.31.2.13", &["open"]);
    cloud.ensure(&net).await;
    (cloud, net)
}

/// Who the server saw, or `refused`.
async fn call(from: &NetContext, to: &str) -> String {
    call_tcp_within(from, to, SHORT).await.unwrap_or_else(|_| "refused".into())
}

#[tokio::test]
async fn every_user_of_a_task_has_every_port_unless_the_task_says_otherwise() {
    let cloud = Cloud::new().await;
    let mut net = Net::new("vpc-1", 4711, [172, 31]);
    cloud.add(&mut net, "a", 1, "one", "172.31.1.10", &["open"]);
    // Each time as an agent that has just started.
    keeps_what_its_containers_set(&cloud.task(&net, "a"), async || cloud.ensure_on(1, &net).await).await;
}

#[tokio::test]
async fn tasks_reach_each_other_by_address() {
    let (cloud, net) = four().await;
    for id in ["a", "b", "c", "d"] {
        serve_tcp(&cloud.task(&net, id), "0.0.0.0:80").await;
    }
    for (from, source, to) in [
        ("a", "172.31.1.10", "172.31.1.11"),
        ("b", "172.31.1.11", "172.31.1.10"),
        ("a", "172.31.1.10", "172.31.1.12"),
        ("c", "172.31.1.12", "172.31.1.11"),
        ("a", "172.31.1.10", "172.31.2.13"),
        ("d", "172.31.2.13", "172.31.1.12"),
        ("a", "172.31.1.10", "172.31.1.10"),
    ] {
        let seen = call_tcp(&cloud.task(&net, from), &format!("{to}:80")).await.expect("reached");
        assert_eq!(seen, source, "{from} to {to}");
    }
    let a = cloud.task(&net, "a");
    // The whole packet fits, one that would need splitting is refused, and neither the network nor a neighbour is asked.
    assert!(ping(&a, "172.31.1.12", 1400).await && ping(&a, "172.31.1.12", 1450).await);
    assert!(!ping(&a, "172.31.1.12", 1500).await, "larger than the overlay takes");
    assert!(!ping(&a, "172.31.1.99", 100).await, "nobody has this address");
    assert!(!ping(&a, INTERNET, 100).await, "no way out");
    assert!(!ping(&a, "172.31.0.3", 100).await, "a host of the underlay is not in the VPC, though its address is");
    let eth = sh(&a, "ip -o addr show dev eth0; ip route; ip link show dev eth0").await;
    for part in ["172.31.1.10/24", "default via 172.31.1.1 dev eth0", "mtu 1450", "02:4c:ac:1f:01:0a"] {
        assert!(eth.contains(part), "{part}: {eth}");
    }
}

#[tokio::test]
async fn vpcs_with_the_same_addresses_never_meet() {
    let (cloud, net) = four().await;
    let mut twin = Net::new("vpc-2", 4712, [172, 31]);
    cloud.add(&mut twin, "a", 1, "one", "172.31.1.10", &["open"]);
    cloud.add(&mut twin, "c", 2, "one", "172.31.1.12", &["open"]);
    cloud.ensure(&twin).await;
    serve_udp(&cloud.task(&net, "c"), "0.0.0.0:53", "first").await;
    serve_udp(&cloud.task(&twin, "c"), "0.0.0.0:53", "second").await;
    assert_eq!(call_udp(&cloud.task(&net, "a"), "172.31.1.12:53").await.expect("answered"), "first 172.31.1.10");
    assert_eq!(call_udp(&cloud.task(&twin, "a"), "172.31.1.12:53").await.expect("answered"), "second 172.31.1.10");
    // `b` is in the first alone.
    assert!(ping(&cloud.task(&net, "c"), "172.31.1.11", 100).await);
    assert!(!ping(&cloud.task(&twin, "c"), "172.31.1.11", 100).await);
    assert_eq!(ok(vpc::list(&cloud.place(1, &net).netns_dir).await), ["vpc-1", "vpc-2"]);
    cloud.remove(&twin).await;
    assert!(ping(&cloud.task(&net, "c"), "172.31.1.11", 100).await, "the first lives on");
}

#[tokio::test]
async fn groups_open_and_close_for_new_connections() {
    let (cloud, mut net) = four().await;
    net.groups.insert("web".into(), group(&["tcp 80 @clients", "tcp 81", "tcp 83"], &[]));
    net.groups.insert("clients".into(), group(&[], &["tcp 80 @web", "tcp 81 172.31.1.12/32", "tcp 82", "tcp 83"]));
    net.port("c").groups = ["web".to_owned()].into();
    net.port("b").groups = ["web".to_owned()].into();
    net.port("a").groups = ["clients".to_owned()].into();
    net.port("d").groups = [].into();
    cloud.ensure(&net).await;
    let (a, c, d) = (cloud.task(&net, "a"), cloud.task(&net, "c"), cloud.task(&net, "d"));
    for id in ["a", "b", "c", "d"] {
        for port in [80, 81, 82] {
            serve_tcp(&cloud.task(&net, id), &format!("0.0.0.0:{port}")).await;
        }
    }
    let both = ["172.31.1.12:80", "172.31.1.11:80", "172.31.1.12:81", "172.31.1.11:81", "172.31.1.12:82"];
    let said = async |from: &NetContext| {
        let mut said = Vec::new();
        for to in both {
            said.push(call(from, to).await);
        }
        said.join(" ")
    };
    let who = "172.31.1.10";
    assert_eq!(said(&a).await, format!("{who} {who} {who} refused refused"), "other host, this host, egress, ingress");
    assert_eq!(said(&d).await, "refused refused refused refused refused", "without groups nothing passes");
    assert_eq!(call(&c, "172.31.1.10:80").await, "refused", "answers are allowed, calls are not");

    // Closed: the kept connections live, on both sides of the overlay; new ones are refused. Opened again: they pass.
    let mut near = Talk::between(&a, &cloud.task(&net, "b"), "172.31.1.11:83").await;
    let mut far = Talk::between(&a, &c, "172.31.1.12:83").await;
    let open = net.clone();
    net.groups.insert("web".into(), group(&["tcp 80 @clients"], &[]));
    cloud.change(&open, &net).await;
    assert_eq!(call(&a, "172.31.1.12:81").await, "refused");
    assert!(near.lives(PATIENCE) && far.lives(PATIENCE), "an established connection outlives its rule");
    cloud.change(&net, &open).await;
    assert_eq!(call(&a, "172.31.1.12:81").await, who);

    // A member more, on another host: it may at once, and its own group's rules go with it.
    let mut more = open.clone();
    more.port("d").groups = ["clients".to_owned()].into();
    cloud.change(&open, &more).await;
    assert_eq!(call(&d, "172.31.1.12:80").await, "172.31.2.13");
    cloud.change(&more, &open).await;
    assert_eq!(call(&d, "172.31.1.12:80").await, "refused");
}

/// Everything that a VPC makes on a host, as lines in no order but with their count.
async fn everything(cloud: &Cloud, net: &Net, n: u8) -> BTreeMap<String, usize> {
    let place = cloud.place(n, net);
    let inside = [place.netns_dir.join(place.netns_name())]
        .into_iter()
        .chain(net.tasks.values().filter(|(on, _)| *on == n).map(|(_, port)| port.netns.clone()));
    let more = "ip -4 rule; ip -4 route show table all type unicast; ip -4 route show table all type unreachable; \
                ip -4 neigh show nud permanent; ip -4 neigh show proxy; bridge fdb | sed /33:33/d";
    let mut parts = Vec::new();
    for path in inside.chain([cloud.world.dir().join(format!("h{n}"))]) {
        let context = NetContext::at(&path);
        // Where there is none, a killed agent left just that.
        if context.enter(|| Ok(())).await.is_ok() {
            parts.push(dump(&context).await);
            parts.push(sh(&context, more).await);
        }
    }
    // The kernel numbers what it makes; what is made anew has other numbers.
    let number = |word: &str| word.starts_with("if") && word[2..].parse::<u32>().is_ok();
    let lines = parts.iter().flat_map(|part| part.lines()).map(|line| {
        let line = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let words = line
            .split_whitespace()
            .filter(|word| !number(word.rsplit_once('@').map_or("", |(_, end)| end.trim_end_matches(':'))));
        words.collect::<Vec<_>>().join(" ")
    });
    let mut counted = BTreeMap::new();
    for line in lines {
        *counted.entry(line).or_default() += 1;
    }
    counted
}

/// The lines that are in one alone.
fn between(one: &BTreeMap<String, usize>, other: &BTreeMap<String, usize>) -> Vec<String> {
    let only = |a: &BTreeMap<String, usize>, b: &BTreeMap<String, usize>, sign| {
        let lines = a.iter().filter(|(line, count)| b.get(*line) != Some(*count));
        lines.map(|(line, count)| format!("{sign} {count} x {line}")).collect::<Vec<_>>()
    };
    [only(one, other, '-'), only(other, one, '+')].concat()
}

/// As [`four`], with everything there is: public addresses, a gateway on host 1 that host 2 uses.
async fn rich() -> (Cloud, Net) {
    let (cloud, mut net) = four().await;
    let gateway = Ipv4Addr::new(172, 31, 2, 5);
    net.gateways.insert(gateway, (1, Some(Ipv4Addr::new(198, 51, 100, 5))));
    net.route("one", Way::Internet);
    net.route("two", Way::Nat { gateway, home: None });
    net.port("a").public = Some(Ipv4Addr::new(198, 51, 100, 10));
    cloud.ensure(&net).await;
    (cloud, net)
}

#[tokio::test]
async fn internet_by_public_address_and_by_gateway() {
    let (cloud, mut net) = rich().await;
    let (a, b, d) = (cloud.task(&net, "a"), cloud.task(&net, "b"), cloud.task(&net, "d"));
    let internet = cloud.internet();
    serve_tcp(&internet, "0.0.0.0:80").await;
    for task in [&a, &b, &d] {
        serve_tcp(task, "0.0.0.0:80").await;
    }
    let outside = format!("{INTERNET}:80");
    assert_eq!(call_tcp(&a, &outside).await.expect("reached"), "198.51.100.10", "out under its public address");
    assert_eq!(call_tcp(&internet, "198.51.100.10:80").await.expect("reached"), INTERNET, "and in by it");
    assert_eq!(call(&b, &outside).await, "refused", "no public address, no internet");
    assert_eq!(call_tcp(&d, &outside).await.expect("reached"), "198.51.100.5", "by the gateway on another host");
    assert_eq!(call(&internet, "198.51.100.5:80").await, "refused", "nobody is let in through a gateway");
    // Groups see the caller's own address.
    for (range, seen) in [("203.0.113.0/24", INTERNET), ("172.31.0.0/16", "refused")] {
        let mut narrow = net.clone();
        narrow.groups.insert("open".into(), group(&[&format!("tcp 80 {range}")], &["all"]));
        cloud.change(&net, &narrow).await;
        assert_eq!(call(&internet, "198.51.100.10:80").await, seen, "{range}");
        cloud.change(&narrow, &net).await;
    }
    let mut both = net.clone();
    both.port("b").public = Some(Ipv4Addr::new(198, 51, 100, 11));
    cloud.change(&net, &both).await;
    assert_eq!(call_tcp(&a, "198.51.100.11:80").await.expect("reached"), "198.51.100.10", "from public to public");
    // The gateway moves, and then is private.
    net = both.clone();
    net.gateways.insert(Ipv4Addr::new(172, 31, 2, 5), (3, Some(Ipv4Addr::new(198, 51, 100, 6))));
    cloud.change(&both, &net).await;
    assert_eq!(call_tcp(&d, &outside).await.expect("reached"), "198.51.100.6", "by the gateway on its own host");
    let mut private = net.clone();
    private.gateways.insert(Ipv4Addr::new(172, 31, 2, 5), (3, None));
    private.port("a").public = None;
    cloud.change(&net, &private).await;
    assert_eq!(call(&d, &outside).await, "refused");
    assert_eq!(call(&a, &outside).await, "refused");
    assert_eq!(call(&internet, "198.51.100.10:80").await, "refused");
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "real packets take real time")]
async fn neighbours_learn_where_a_public_address_moved() {
    let (cloud, net) = rich().await;
    let (d, internet) = (cloud.task(&net, "d"), cloud.internet());
    serve_tcp(&internet, "0.0.0.0:80").await;
    let outside = format!("{INTERNET}:80");
    assert_eq!(call_tcp(&d, &outside).await.expect("reached"), "198.51.100.5");
    let known = async || sh(&internet, "ip neigh show 198.51.100.5 | sed 's/.*lladdr \\([^ ]*\\).*/\\1/'").await;
    let before = known().await;
    let mut moved = net.clone();
    moved.gateways.insert(Ipv4Addr::new(172, 31, 2, 5), (3, Some(Ipv4Addr::new(198, 51, 100, 5))));
    cloud.change(&net, &moved).await;
    let mut looks = 0;
    while known().await == before {
        looks += 1;
        assert!(looks < 100, "it is still sought where it was: {before}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(call_tcp(&d, &outside).await.expect("reached"), "198.51.100.5");
}

#[tokio::test]
async fn nobody_sends_under_anothers_address() {
    let (cloud, mut net) = four().await;
    let (a, c) = (cloud.task(&net, "a"), cloud.task(&net, "c"));
    let ear = Ear::inside(&c).await;
    assert!(send_echo(&a, "172.31.1.66", "172.31.1.12", 100).await);
    assert!(!ear.hears(ECHO_REQUEST, "172.31.1.66", SHORT), "another source than its own");
    assert!(send_echo(&a, "172.31.1.10", "172.31.1.12", 100).await);
    assert!(ear.hears(ECHO_REQUEST, "172.31.1.10", PATIENCE));
    let checked = net.clone();
    net.port("a").source_dest_check = false;
    cloud.change(&checked, &net).await;
    assert!(send_echo(&a, "172.31.1.66", "172.31.1.12", 100).await);
    assert!(ear.hears(ECHO_REQUEST, "172.31.1.66", PATIENCE), "where it need not check");

    // A host that does not carry the VPC cannot put packets into it.
    let without = {
        let mut without = net.clone();
        without.tasks.remove("d");
        without
    };
    ok(vpc::remove(&cloud.host(3), &cloud.place(3, &net)).await);
    let (place, share) = (cloud.place(2, &net), without.share(2));
    ok(vpc::ensure(&cloud.host(2), &place, Some(&net.share(2)), &share).await);
    let stranger = "ip link add x type vxlan id 4711 local 172.31.0.4 dstport 14789 nolearning; \
                    ip link set x address 02:4c:00:00:00:01 up; \
                    bridge fdb add 02:4c:ac:1f:00:03 dev x dst 172.31.0.3 self; \
                    ip route add 172.31.1.12/32 dev x; \
                    ip neigh add 172.31.1.12 dev x lladdr 02:4c:ac:1f:00:03 nud permanent";
    sh(&cloud.host(3), stranger).await;
    assert!(send_echo(&cloud.host(3), "172.31.1.77", "172.31.1.12", 100).await);
    assert!(!ear.hears(ECHO_REQUEST, "172.31.1.77", SHORT), "from a host that is not in the VPC");
    ok(vpc::ensure(&cloud.host(2), &place, Some(&share), &net.share(2)).await);
    assert!(send_echo(&cloud.host(3), "172.31.1.77", "172.31.1.12", 100).await);
    assert!(ear.hears(ECHO_REQUEST, "172.31.1.77", PATIENCE), "from one that is");
    // Nor can a process on a host that does: a container with the host's network could otherwise go past every group.
    assert!(send_wrapped(&cloud.host(3), underlay(2), 4711, "172.31.1.78", "172.31.1.12").await);
    assert!(ear.hears(ECHO_REQUEST, "172.31.1.78", PATIENCE), "the packet is right, and host 3 has no rules any more");
    assert!(!send_wrapped(&cloud.host(1), underlay(2), 4711, "172.31.1.79", "172.31.1.12").await);
    assert!(!ear.hears(ECHO_REQUEST, "172.31.1.79", SHORT), "host 1 has");
    // Nor a container behind a host that claims to be another host, to its own host or past it.
    let container = cloud.world.netns("container");
    ok(container.create().await);
    for host in [1, 2] {
        let link = format!(
            "ip link add c0 type veth peer name eth0 netns {0}; ip addr add 10.99.0.1/24 dev c0; ip link set c0 up; \
             nsenter --net={0} sh -ec 'ip addr add 10.99.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.99.0.1'",
            container.as_path().display()
        );
        sh(&cloud.host(host), &link).await;
        send_wrapped_as(&container.context(), underlay(3), underlay(2), 4711, "172.31.1.80", "172.31.1.12").await;
        assert!(!ear.hears(ECHO_REQUEST, "172.31.1.80", SHORT), "through host {host}");
        sh(&cloud.host(host), "ip link del c0").await;
    }
    send_wrapped_as(&cloud.host(3), underlay(3), underlay(2), 4711, "172.31.1.81", "172.31.1.12").await;
    assert!(ear.hears(ECHO_REQUEST, "172.31.1.81", PATIENCE), "what was claimed, where it is true");
}

#[tokio::test]
async fn who_gets_an_address_next_does_not_inherit_its_flows() {
    let (cloud, mut net) = four().await;
    let c = cloud.task(&net, "c");
    let ask = udp_socket(&c).await;
    serve_udp(&cloud.task(&net, "a"), "0.0.0.0:53", "old").await;
    assert_eq!(ask_udp(&ask, "172.31.1.10:53", PATIENCE).expect("answered"), "old 172.31.1.12");
    let before = net.clone();
    // The next task with this address lets nobody in.
    net.groups.insert("closed".into(), group(&[], &["all"]));
    net.tasks.remove("a");
    cloud.change(&before, &net).await;
    let empty = net.clone();
    cloud.add(&mut net, "e", 1, "one", "172.31.1.10", &["closed"]);
    cloud.change(&empty, &net).await;
    serve_udp(&cloud.task(&net, "e"), "0.0.0.0:53", "new").await;
    assert!(ask_udp(&ask, "172.31.1.10:53", SHORT).is_err(), "the flow was to another");
    let closed = net.clone();
    net.port("e").groups = ["open".to_owned()].into();
    cloud.change(&closed, &net).await;
    assert_eq!(ask_udp(&ask, "172.31.1.10:53", PATIENCE).expect("answered"), "new 172.31.1.12");
}

#[tokio::test]
async fn the_router_answers_its_tasks_and_nothing_else() {
    let (cloud, mut net) = four().await;
    net.groups.insert("open".into(), group(&[], &[]));
    cloud.ensure(&net).await;
    let router = vpc::router(&cloud.place(1, &net));
    let a = cloud.task(&net, "a");
    for address in ["169.254.170.2", "169.254.169.254"] {
        serve_tcp(&router, &format!("{address}:80")).await;
        assert_eq!(call_tcp(&a, &format!("{address}:80")).await.expect("reached"), "172.31.1.10");
    }
    for address in ["169.254.169.253:53", "172.31.0.2:53"] {
        serve_udp(&router, address, "dns").await;
        assert_eq!(call_udp(&a, address).await.expect("answered"), "dns 172.31.1.10");
    }
    serve_tcp(&router, "0.0.0.0:8080").await;
    assert_eq!(call(&a, "169.254.170.2:8080").await, "refused");
    assert_eq!(
        call(&cloud.task(&net, "c"), "169.254.170.2:80").await,
        "refused",
        "its own host's, where nobody listens"
    );
}

#[tokio::test]
async fn a_restarted_agent_disturbs_nothing() {
    let (cloud, net) = rich().await;
    let (a, c) = (cloud.task(&net, "a"), cloud.task(&net, "c"));
    let mut near = Talk::between(&a, &cloud.task(&net, "b"), "172.31.1.11:90").await;
    let mut far = Talk::between(&a, &c, "172.31.1.12:90").await;
    let mut out = Talk::between(&a, &cloud.internet(), &format!("{INTERNET}:90")).await;
    let before = everything(&cloud, &net, 1).await;
    for _ in 0..2 {
        cloud.ensure(&net).await;
        cloud.change(&net, &net).await;
        assert!(near.lives(PATIENCE) && far.lives(PATIENCE) && out.lives(PATIENCE));
        assert_eq!(between(&before, &everything(&cloud, &net, 1).await), [""; 0]);
    }
}

#[tokio::test]
async fn a_parted_network_heals() {
    let (cloud, net) = four().await;
    let (a, c) = (cloud.task(&net, "a"), cloud.task(&net, "c"));
    serve_tcp(&c, "0.0.0.0:80").await;
    let mut kept = Talk::between(&a, &c, "172.31.1.12:90").await;
    sh(&cloud.world.host, "ip link set u2 down").await;
    assert_eq!(call(&a, "172.31.1.12:80").await, "refused");
    assert!(ping(&a, "172.31.1.11", 100).await, "on its own host nothing changed");
    cloud.ensure(&net).await;
    sh(&cloud.world.host, "ip link set u2 up").await;
    assert_eq!(call_tcp(&a, "172.31.1.12:80").await.expect("reached"), "172.31.1.10");
    assert!(kept.lives(PATIENCE), "also the connection that was there");
}

/// What a killed agent, or a stranger, can leave on host 1 of a VPC; each is made by hand in a good one.
const HALVES: &[(&str, &str)] = &[
    ("no router", "nsenter --net=$R ip link del vx; umount $R"),
    ("a file instead of a router", "nsenter --net=$R ip link del vx; umount $R; rm $R; touch $R"),
    ("no rules", "nsenter --net=$R nft delete table ip vpc"),
    ("rules of another shape", "nsenter --net=$R nft 'flush table ip vpc; delete chain ip vpc inward'"),
    ("no overlay", "nsenter --net=$R ip link del vx"),
    (
        "an overlay of another number",
        "nsenter --net=$R ip link del vx; nsenter --net=$R ip link add vx type vxlan id 9 local 172.31.0.2 dstport 14789",
    ),
    ("an overlay that is down", "nsenter --net=$R ip link set vx down"),
    ("no way out", "ip link del $UP"),
    (
        "a way out that leads elsewhere",
        "ip link del $UP; ip link add $UP type veth peer name x; nsenter --net=$R ip link add name up type veth peer name y",
    ),
    ("no pair", "nsenter --net=$R ip link del eniac1f010a"),
    ("a pair that is down", "nsenter --net=$R ip link set eniac1f010a down"),
    (
        "a pair that leads elsewhere",
        "nsenter --net=$R ip link del eniac1f010a; nsenter --net=$R ip link add eniac1f010a type veth peer name x",
    ),
    ("a pair too many", "nsenter --net=$R ip link add eniac1f0163 type veth peer name x"),
    (
        "a bare interface",
        "nsenter --net=$T ip addr flush dev eth0; nsenter --net=$T ip neigh flush dev eth0 nud permanent",
    ),
    ("no task", "umount $T"),
    ("routes flushed", "nsenter --net=$R ip route flush table main; nsenter --net=$R ip route flush table 11280129"),
    (
        "routes too many",
        "nsenter --net=$R ip route add 10.9.9.9/32 dev vx; nsenter --net=$R ip route add unreachable 10.8.0.0/16 table 77; nsenter --net=$R ip rule add from 10.8.0.0/16 lookup 77 pref 200",
    ),
    (
        "no neighbours",
        "nsenter --net=$R ip neigh flush dev vx nud permanent; nsenter --net=$R ip neigh flush dev up nud permanent",
    ),
    ("no forwarding", "nsenter --net=$R bridge fdb del 02:4c:ac:1f:00:03 dev vx dst 172.31.0.3 self"),
    ("forwarding too much", "nsenter --net=$R bridge fdb add 02:4c:ac:1f:00:09 dev vx dst 172.31.0.9 self permanent"),
    ("no rules for the host", "nft delete table ip $HT"),
    ("nothing answered for", "ip route del 198.51.100.10; ip neigh del proxy 198.51.100.5 dev eth0"),
    (
        "answered for too much",
        "ip route add 198.51.100.77 via 169.254.0.2 dev $UP onlink; ip neigh add proxy 198.51.100.77 dev eth0 protocol 213; ip neigh add proxy 198.51.100.78 dev eth0 protocol 213",
    ),
];

fn script(cloud: &Cloud, net: &Net, script: &str) -> String {
    let place = cloud.place(1, net);
    let router = place.netns_dir.join(place.netns_name());
    let task = &net.tasks["a"].1.netns;
    format!(
        "R={}; T={}; UP=$(ip -o link | sed -n 's/.*: \\(lsu[a-z2-7]*\\)@.*/\\1/p'); \
         HT=$(nft list tables | sed -n 's/table ip \\(longshore_vpc.*\\)/\\1/p'); {script}",
        router.display(),
        task.display()
    )
}

#[tokio::test]
async fn ensure_completes_what_a_killed_agent_left() {
    let (cloud, net) = rich().await;
    let good = everything(&cloud, &net, 1).await;
    for (what, breaking) in HALVES {
        sh(&cloud.host(1), &script(&cloud, &net, breaking)).await;
        assert!(everything(&cloud, &net, 1).await != good, "{what} breaks nothing");
        cloud.ensure_on(1, &net).await;
        assert_eq!(between(&good, &everything(&cloud, &net, 1).await), [""; 0], "{what}");
        assert!(ping(&cloud.task(&net, "a"), "172.31.1.12", 1400).await, "{what}");
    }
}

/// Inside a task's own namespace, which is not looked at: a container with the right to change it may.
const TASKS_OWN: [&str; 2] = ["a bare interface", "no task"];

#[tokio::test]
async fn what_somebody_breaks_is_seen() {
    let (cloud, net) = rich().await;
    let stands = async |n: u8| ok(vpc::stands(&cloud.host(n), &cloud.place(n, &net), &net.share(n)).await);
    // In every state that is right, whichever way it was come to.
    assert!(stands(1).await && stands(2).await && stands(3).await);
    let more = [
        ("all rules of the router", "nsenter --net=$R nft flush ruleset"),
        ("all rules of the host", "nft flush ruleset"),
        ("the rules of a chain", "nsenter --net=$R nft flush chain ip vpc inward"),
        ("the elements of a set", "nft flush set ip $HT peers"),
        ("a task's interface", "nsenter --net=$T ip link del eth0"),
        ("routed elsewhere", "nsenter --net=$R ip route replace unreachable 172.31.1.12/32"),
        ("another size", "nsenter --net=$R ip link set vx mtu 1400"),
    ];
    for (what, breaking) in HALVES.iter().filter(|(what, _)| !TASKS_OWN.contains(what)).chain(&more) {
        sh(&cloud.host(1), &script(&cloud, &net, breaking)).await;
        assert!(!stands(1).await, "{what} is not seen");
        cloud.ensure_on(1, &net).await;
        assert!(stands(1).await, "{what} is not made good");
    }
    let mut less = net.clone();
    less.tasks.remove("b");
    less.port("a").public = None;
    cloud.change(&net, &less).await;
    for n in 1..=3 {
        assert!(
            ok(vpc::stands(&cloud.host(n), &cloud.place(n, &less), &less.share(n)).await),
            "host {n} after a change"
        );
    }
}

#[tokio::test]
async fn remove_leaves_nothing_whatever_was_left() {
    let cloud = Cloud::new().await;
    let host = cloud.host(1);
    let look = "ip -o link | cut -d: -f2; ip -4 route; ip -4 neigh show proxy; ip -4 neigh show nud permanent; nft list ruleset";
    let before = sh(&host, look).await;
    drop(cloud);
    let (cloud, net) = rich().await;
    for (what, breaking) in std::iter::once(&("nothing broken", "true")).chain(HALVES) {
        cloud.ensure_on(1, &net).await;
        sh(&cloud.host(1), &script(&cloud, &net, breaking)).await;
        for _ in 0..2 {
            ok(vpc::remove(&cloud.host(1), &cloud.place(1, &net)).await);
            assert_eq!(sh(&cloud.host(1), look).await, before, "{what}");
            assert!(ok(vpc::list(&cloud.place(1, &net).netns_dir).await).is_empty(), "{what}");
        }
    }
}

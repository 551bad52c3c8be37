//! `ensure` twice, `remove` twice, and both after a crash at any point.

mod common;

use common::*;
use network::{
    BridgeSpec, EndpointSpec, Error, FabricSpec, IfName, Ipv4Net, NetContext, PortMap, Protocol, TASK_BRIDGE_CANDIDATES,
};

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a range")
}

async fn ensure_all(world: &World, endpoint: &EndpointSpec, ports: &[PortMap]) {
    let instance = world.instance_spec(2);
    ok(network::ensure_fabric(&world.host, &FabricSpec::standard()).await);
    ok(network::ensure_instance(&world.host, &instance).await);
    let inside = instance.netns.context();
    ok(network::ensure_task_bridge(&inside, &task_bridge()).await);
    ok(network::ensure_ports_table(&inside, &ports_spec()).await);
    ok(network::ensure_endpoint(&inside, endpoint).await);
    ok(network::add_ports(&inside, &table(), ports).await);
}

async fn dump_all(world: &World, endpoint: &EndpointSpec) -> String {
    let instance = world.instance_spec(2).netns.context();
    let parts = [dump(&world.host).await, dump(&instance).await, dump(&endpoint.netns.context()).await];
    parts.join("\n---\n")
}

#[tokio::test]
async fn ensure_twice_changes_nothing() {
    let world = World::new().await;
    let endpoint = world.endpoint_spec(2, 2);
    let ports = [port(Protocol::Tcp, 8080, 2, 80), port(Protocol::Udp, 53, 2, 53)];
    ensure_all(&world, &endpoint, &ports).await;
    let first = dump_all(&world, &endpoint).await;
    ensure_all(&world, &endpoint, &ports).await;
    assert_eq!(first, dump_all(&world, &endpoint).await);
    assert!(first.contains("172.17.0.2") && first.contains("tcp . 8080"), "{first}");
}

#[tokio::test]
async fn remove_leaves_nothing_and_may_be_repeated() {
    let world = World::new().await;
    let before = dump(&world.host).await;
    let endpoint = world.endpoint_spec(2, 2);
    let instance = world.instance_spec(2);
    let inside = instance.netns.context();
    ok(network::ensure_fabric(&world.host, &FabricSpec::standard()).await);
    let with_fabric = dump(&world.host).await;
    ok(network::ensure_instance(&world.host, &instance).await);
    let bare = dump(&inside).await;
    let ports = [port(Protocol::Tcp, 8080, 2, 80)];
    ensure_all(&world, &endpoint, &ports).await;

    ok(network::remove_ports(&inside, &table(), &ports).await);
    for _ in 0..2 {
        ok(network::remove_endpoint(&inside, &endpoint.netns, &endpoint.host_veth).await);
        ok(network::remove_ports_table(&inside, &table()).await);
        ok(network::remove_task_bridge(&inside, &task_bridge()).await);
        assert_eq!(dump(&inside).await, bare);
    }
    for _ in 0..2 {
        ok(network::remove_instance(&world.host, &instance.netns, &instance.host_veth).await);
        assert_eq!(dump(&world.host).await, with_fabric);
    }
    for _ in 0..2 {
        ok(network::remove_fabric(&world.host, &FabricSpec::standard()).await);
        assert_eq!(dump(&world.host).await, before);
    }
    assert_eq!(network::netns::list(world.dir()).expect("a folder"), ["host"]);
}

/// What a crash, or a stranger, can leave of an endpoint; each is made by hand inside a good instance.
const HALVES: [(&str, &str); 9] = [
    ("a file without a namespace", "umount $NS"),
    ("nothing at all", "umount $NS; rm $NS"),
    ("no pair", "ip link del $VETH"),
    ("no address", "nsenter --net=$NS ip addr flush dev eth0"),
    ("another address", "nsenter --net=$NS ip addr flush dev eth0; nsenter --net=$NS ip addr add 9.9.9.9/24 dev eth0"),
    ("no route", "nsenter --net=$NS ip route del default"),
    (
        "everything down",
        "nsenter --net=$NS ip link set eth0 down; nsenter --net=$NS ip link set lo down; ip link set $VETH down",
    ),
    ("off its bridge", "ip link set $VETH nomaster"),
    (
        "a pair that leads elsewhere",
        "ip link del $VETH; ip link add $VETH type veth peer name other; nsenter --net=$NS ip link add eth0 type veth peer name x",
    ),
];

async fn halve(context: &NetContext, endpoint: &EndpointSpec, script: &str) {
    let variables = format!("NS={}; VETH={}; ", endpoint.netns.as_path().display(), endpoint.host_veth);
    sh(context, &(variables + script)).await;
}

#[tokio::test]
async fn ensure_completes_what_a_crash_left() {
    let world = World::with_instances(&[2]).await;
    let inside = world.instance_spec(2).netns.context();
    let endpoint = world.endpoint_spec(2, 2);
    for (what, script) in HALVES {
        ok(network::ensure_endpoint(&inside, &endpoint).await);
        halve(&inside, &endpoint, script).await;
        ok(network::ensure_endpoint(&inside, &endpoint).await);
        serve_tcp(&endpoint.netns.context(), "0.0.0.0:80").await;
        assert_eq!(call_tcp(&inside, "172.17.0.2:80").await.expect(what), "172.17.0.1", "{what}");
        assert_eq!(call_tcp(&endpoint.netns.context(), "127.0.0.1:80").await.expect(what), "127.0.0.1", "{what}");
        // The test's own listener would keep the namespace alive, as a container's would: remove must cope.
        ok(network::remove_endpoint(&inside, &endpoint.netns, &endpoint.host_veth).await);
        let links = sh(&inside, "ip -o link").await;
        assert!(!links.contains(endpoint.host_veth.as_str()), "{what}: {links}");
        sh(&inside, "ip link del other 2>/dev/null || true").await;
    }
}

#[tokio::test]
async fn remove_completes_what_a_crash_left() {
    let world = World::with_instances(&[2]).await;
    let inside = world.instance_spec(2).netns.context();
    let endpoint = world.endpoint_spec(2, 2);
    let links = || sh(&inside, "ip -o link | cut -d: -f2");
    let before = links().await;
    for (what, script) in HALVES {
        ok(network::ensure_endpoint(&inside, &endpoint).await);
        halve(&inside, &endpoint, script).await;
        ok(network::remove_endpoint(&inside, &endpoint.netns, &endpoint.host_veth).await);
        assert!(!endpoint.netns.as_path().exists(), "{what}");
        assert_eq!(links().await, before, "{what}");
    }
}

#[tokio::test]
async fn bridges_are_repaired() {
    let world = World::with_instances(&[]).await;
    let spec = FabricSpec::standard();
    for script in [
        "ip link set longshore0 down",
        "ip addr flush dev longshore0",
        "ip addr add 10.9.9.1/24 dev longshore0",
        "nft delete table ip longshore_fabric",
        "nft flush table ip longshore_fabric",
        "ip link del longshore0",
    ] {
        let good = dump(&world.host).await;
        sh(&world.host, script).await;
        ok(network::ensure_fabric(&world.host, &spec).await);
        let strip = |text: &str| {
            text.lines()
                .map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(strip(&good), strip(&dump(&world.host).await), "{script}");
    }
    // A new range takes the old one's place.
    let moved = FabricSpec { gateway: net("172.30.0.1/16"), ..spec };
    ok(network::ensure_fabric(&world.host, &moved).await);
    let dump = dump(&world.host).await;
    assert!(dump.contains("172.30.0.1/16") && !dump.contains("172.31."), "{dump}");
}

#[tokio::test]
async fn ranges_and_names_of_others_are_refused() {
    let world = World::new().await;
    let spec = FabricSpec { pool: Some(net("198.51.100.0/24")), ..FabricSpec::standard() };
    let uplink = "ip link add up0 type veth peer name up1; ip link set up0 up";
    for (setup, wanted, existing, flag) in [
        ("ip addr add 172.31.7.7/24 dev up0", "172.31.0.0/16", "172.31.7.7/24", "--vpc-cidr"),
        (
            "ip addr add 10.1.1.1/24 dev up0; ip route add 172.16.0.0/12 via 10.1.1.2",
            "172.31.0.0/16",
            "172.16.0.0/12",
            "--vpc-cidr",
        ),
        ("ip addr add 198.51.100.1/24 dev up0", "198.51.100.0/24", "198.51.100.0/24", "--public-pool"),
    ] {
        sh(&world.host, &format!("{uplink}; {setup}")).await;
        let error = network::ensure_fabric(&world.host, &spec).await.expect_err("overlaps");
        let said = format!("{wanted} overlaps {existing} on interface up0; choose another range with {flag}");
        assert_eq!(error.to_string(), said);
        assert!(
            ok(ok(network::Netlink::open(&world.host).await).link("longshore0").await).is_none(),
            "nothing was made"
        );
        sh(&world.host, "ip link del up0").await;
    }
    // Default routes and the halves VPN clients use are no obstacle.
    sh(&world.host, &format!("{uplink}; ip addr add 10.1.1.1/24 dev up0; ip route add default via 10.1.1.2; ip route add 128.0.0.0/1 via 10.1.1.2")).await;
    ok(network::ensure_fabric(&world.host, &spec).await);
    sh(&world.host, "ip link del longshore0; ip link add longshore0 type veth peer name x").await;
    let error = network::ensure_fabric(&world.host, &spec).await.expect_err("taken");
    assert_eq!(error.to_string(), "interface longshore0 exists and is a veth, not a bridge");
    ok(network::remove_fabric(&world.host, &spec).await);
    assert!(ok(ok(network::Netlink::open(&world.host).await).link("longshore0").await).is_some(), "not ours to remove");
}

#[tokio::test]
async fn task_range_gives_way_to_docker() {
    let world = World::new().await;
    let bridge = name("ecs-br0");
    let choose = || network::choose_task_net(&world.host, &bridge, &TASK_BRIDGE_CANDIDATES);
    assert_eq!(ok(choose().await), net("172.17.0.1/16"));
    sh(&world.host, "ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up")
        .await;
    let chosen = ok(choose().await);
    assert_eq!(chosen, net("172.29.0.1/16"));
    ok(network::ensure_task_bridge(&world.host, &BridgeSpec::standard(chosen)).await);
    // Once made it stays, also when the first choice becomes free.
    sh(&world.host, "ip link del docker0").await;
    assert_eq!(ok(choose().await), chosen);
    let error = network::choose_task_net(&world.host, &name("other"), &[chosen]).await.expect_err("taken");
    assert!(matches!(error, Error::NoFreeRange { flag: "--task-cidr", .. }), "{error}");
}

#[tokio::test]
async fn port_maps_are_changed_as_batches() {
    let world = World::with_instances(&[2]).await;
    let inside = world.instance_spec(2).netns.context();
    let list = async || ok(network::list_ports(&inside, &table()).await);
    let (a, b) = (port(Protocol::Tcp, 8080, 2, 80), port(Protocol::Udp, 8080, 2, 80));
    let (c, moved) = (port(Protocol::Tcp, 9090, 3, 90), port(Protocol::Tcp, 8080, 4, 80));
    assert!(list().await.is_empty());
    ok(network::add_ports(&inside, &table(), &[a, b]).await);
    ok(network::add_ports(&inside, &table(), &[a, b]).await);
    assert_eq!(list().await, [a, b]);
    // A host port led elsewhere, together with a new one.
    ok(network::add_ports(&inside, &table(), &[moved, c]).await);
    assert_eq!(list().await, [moved, c, b]);
    // Ensuring the table keeps them, also when its chains are of another shape.
    ok(network::ensure_ports_table(&inside, &ports_spec()).await);
    assert_eq!(list().await, [moved, c, b]);
    sh(&inside, "nft 'delete chain ip longshore_ports output; add chain ip longshore_ports output { type filter hook output priority 5; }'").await;
    ok(network::ensure_ports_table(&inside, &ports_spec()).await);
    assert_eq!(list().await, [moved, c, b]);
    let rules = sh(&inside, "nft list table ip longshore_ports").await;
    assert!(rules.contains("type nat hook output priority -100"), "{rules}");
    // A late removal of the old owner's mapping does not touch the new owner's; absent ones are fine.
    ok(network::remove_ports(&inside, &table(), &[a]).await);
    assert_eq!(list().await, [moved, c, b]);
    ok(network::remove_ports(&inside, &table(), &[a, b, c]).await);
    assert_eq!(list().await, [moved]);
    ok(network::remove_ports(&inside, &table(), &[moved, c]).await);
    assert!(list().await.is_empty());
    // Without a table there is nothing to list or remove, and adding says so.
    ok(network::remove_ports_table(&inside, &table()).await);
    assert!(list().await.is_empty());
    ok(network::remove_ports(&inside, &table(), &[a]).await);
    assert!(matches!(network::add_ports(&inside, &table(), &[a]).await, Err(Error::Nft { .. })));
}

#[tokio::test]
async fn concurrent_batches_all_arrive() {
    let world = World::with_instances(&[2]).await;
    let inside = world.instance_spec(2).netns.context();
    let wanted: Vec<_> = (0..16).map(|n| port(Protocol::Tcp, 9000 + n, 2, n)).collect();
    let table = table();
    let add = wanted.iter().map(|port| network::add_ports(&inside, &table, std::slice::from_ref(port)));
    for result in futures::future::join_all(add).await {
        ok(result);
    }
    assert_eq!(ok(network::list_ports(&inside, &table).await), wanted);
    let remove = wanted.iter().map(|port| network::remove_ports(&inside, &table, std::slice::from_ref(port)));
    for result in futures::future::join_all(remove).await {
        ok(result);
    }
    assert!(ok(network::list_ports(&inside, &table).await).is_empty());
}

#[tokio::test]
async fn sweep_takes_what_nobody_keeps() {
    let world = World::with_instances(&[2]).await;
    let inside = world.instance_spec(2).netns.context();
    let specs: Vec<_> = (2..6).map(|n| world.endpoint_spec(2, n)).collect();
    ok(network::ensure_endpoints(&inside, &specs).await);
    std::fs::write(world.dir().join("half"), "").expect("a file");
    let keep = ["host", "i2", "i2-e3"].map(str::to_owned).into();
    assert_eq!(ok(network::sweep(world.dir(), &keep).await), ["half", "i2-e2", "i2-e4", "i2-e5"]);
    assert_eq!(network::netns::list(world.dir()).expect("a folder"), ["host", "i2", "i2-e3"]);
    assert!(ok(network::sweep(&world.dir().join("absent"), &keep).await).is_empty());
    // The kernel takes the pairs with the namespaces, on its own time; the next owner of a name does not have to wait.
    ok(network::ensure_endpoints(&inside, &specs).await);
    serve_tcp(&specs[0].netns.context(), "0.0.0.0:80").await;
    assert_eq!(call_tcp(&inside, "172.17.0.2:80").await.expect("reached"), "172.17.0.1");
    let derived = IfName::derive("lse", "e2");
    assert_eq!(specs[0].host_veth, derived);
}

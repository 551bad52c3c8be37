//! Who reaches whom: instances over the fabric, containers through their host ports from every side.

mod common;

use common::*;
use network::{FabricSpec, LinkLocalSpec, Protocol};
use std::net::Ipv4Addr;

#[tokio::test]
async fn instances_reach_each_other_and_the_outside() {
    let world = World::with_instances(&[2, 3]).await;
    let (one, two) = (world.instance_spec(2).netns.context(), world.instance_spec(3).netns.context());
    serve_tcp(&two, "0.0.0.0:80").await;
    assert_eq!(call_tcp(&one, "172.31.0.3:80").await.expect("reached"), "172.31.0.2");
    assert_eq!(call_tcp(&world.host, "172.31.0.3:80").await.expect("reached"), "172.31.0.1");

    // The outside: a machine behind another interface of the host, which knows no way back to the fabric.
    let outside = world.netns("outside");
    ok(outside.create().await);
    sh(&world.host, "ip link add up0 type veth peer name up1; ip addr add 198.51.100.1/24 dev up0; ip link set up0 up")
        .await;
    let pid_free_move = world.dir().join("outside");
    let target = pid_free_move.display().to_string();
    sh(&world.host, &format!("ip link set up1 netns {target}")).await;
    sh(&outside.context(), "ip addr add 198.51.100.2/24 dev up1; ip link set up1 up; ip link set lo up").await;
    serve_tcp(&outside.context(), "0.0.0.0:80").await;
    assert_eq!(call_tcp(&one, "198.51.100.2:80").await.expect("reached"), "198.51.100.1", "masqueraded");
    // A container behind two translations.
    ok(network::ensure_endpoint(&one, &world.endpoint_spec(2, 2)).await);
    let container = world.endpoint_spec(2, 2).netns.context();
    assert_eq!(call_tcp(&container, "198.51.100.2:80").await.expect("reached"), "198.51.100.1", "masqueraded twice");
    assert_eq!(call_tcp(&container, "172.31.0.3:80").await.expect("reached"), "172.31.0.2", "masqueraded once");
}

#[tokio::test]
async fn host_port_is_reached_from_every_side() {
    let world = World::with_instances(&[2, 3]).await;
    let (one, two) = (world.instance_spec(2).netns.context(), world.instance_spec(3).netns.context());
    let (a, b) = (world.endpoint_spec(2, 2), world.endpoint_spec(2, 3));
    ok(network::ensure_endpoints(&one, &[a.clone(), b.clone()]).await);
    let (a, b) = (a.netns.context(), b.netns.context());
    serve_tcp(&a, "0.0.0.0:80").await;
    ok(network::add_ports(&one, &table(), &[port(Protocol::Tcp, 8080, 2, 80)]).await);

    let bridge = "172.17.0.1";
    for (from, who, address, seen) in [
        (&two, "another instance", "172.31.0.2:8080", "172.31.0.3"),
        (&world.host, "the host", "172.31.0.2:8080", "172.31.0.1"),
        (&one, "the instance by its address", "172.31.0.2:8080", "172.31.0.2"),
        (&one, "the instance by the bridge", "172.17.0.1:8080", bridge),
        (&one, "the instance's localhost", "127.0.0.1:8080", bridge),
        (&one, "localhost's other addresses", "127.0.0.7:8080", bridge),
        (&a, "the container itself", "172.31.0.2:8080", bridge),
        (&a, "the container itself by the bridge", "172.17.0.1:8080", bridge),
        (&b, "another container", "172.31.0.2:8080", bridge),
        (&b, "another container by the bridge", "172.17.0.1:8080", bridge),
        (&b, "another container directly", "172.17.0.2:80", "172.17.0.3"),
    ] {
        assert_eq!(call_tcp(from, address).await.unwrap_or_else(|error| error.to_string()), seen, "from {who}");
    }
    // One address is left to who listens there.
    let kept = format!("{}:8080", network::UNPUBLISHED);
    assert!(call_tcp_within(&one, &kept, SHORT).await.is_err());
    serve_tcp(&one, &kept).await;
    assert_eq!(call_tcp(&one, &kept).await.expect("reached"), "127.0.0.1");
    // Other ports are not caught, nor is the same port of other machines.
    assert!(call_tcp_within(&two, "172.31.0.2:8081", SHORT).await.is_err());
    serve_tcp(&two, "0.0.0.0:8080").await;
    assert_eq!(call_tcp(&b, "172.31.0.3:8080").await.expect("reached"), "172.31.0.2");

    ok(network::remove_ports(&one, &table(), &[port(Protocol::Tcp, 8080, 2, 80)]).await);
    assert!(call_tcp_within(&two, "172.31.0.2:8080", SHORT).await.is_err());
    assert!(call_tcp_within(&one, "127.0.0.1:8080", SHORT).await.is_err());
}

#[tokio::test]
async fn udp_host_port_follows_its_mapping() {
    let world = World::with_instances(&[2, 3]).await;
    let (one, two) = (world.instance_spec(2).netns.context(), world.instance_spec(3).netns.context());
    let (a, b) = (world.endpoint_spec(2, 2), world.endpoint_spec(2, 3));
    ok(network::ensure_endpoints(&one, &[a.clone(), b.clone()]).await);
    serve_udp(&a.netns.context(), "0.0.0.0:53", "a").await;
    serve_udp(&b.netns.context(), "0.0.0.0:53", "b").await;
    let (to_a, to_b) = (port(Protocol::Udp, 5353, 2, 53), port(Protocol::Udp, 5353, 3, 53));
    ok(network::add_ports(&one, &table(), &[to_a]).await);
    assert_eq!(call_udp(&two, "172.31.0.2:5353").await.expect("reached"), "a 172.31.0.3");
    assert_eq!(call_udp(&one, "127.0.0.1:5353").await.expect("reached"), "a 172.17.0.1");
    assert_eq!(call_udp(&a.netns.context(), "172.31.0.2:5353").await.expect("reached"), "a 172.17.0.1");

    // One flow, same source port throughout: it must follow the mapping, not the kernel's memory of it.
    let flow = udp_socket(&two).await;
    assert_eq!(ask_udp(&flow, "172.31.0.2:5353", PATIENCE).expect("reached"), "a 172.31.0.3");
    ok(network::remove_ports(&one, &table(), &[to_a]).await);
    assert!(ask_udp(&flow, "172.31.0.2:5353", SHORT).is_err(), "nothing answers a removed mapping");
    ok(network::add_ports(&one, &table(), &[to_b]).await);
    // The refusal in between may still be queued on the socket; the datagram after it is the answer.
    let mut answer = ask_udp(&flow, "172.31.0.2:5353", PATIENCE);
    if answer.is_err() {
        answer = ask_udp(&flow, "172.31.0.2:5353", PATIENCE);
    }
    assert_eq!(answer.expect("reached"), "b 172.31.0.3");
}

#[tokio::test]
async fn containers_do_not_reach_the_instances_localhost() {
    let world = World::with_instances(&[2]).await;
    let one = world.instance_spec(2).netns.context();
    let spec = world.endpoint_spec(2, 2);
    ok(network::ensure_endpoint(&one, &spec).await);
    let container = spec.netns.context();
    serve_tcp(&one, "127.0.0.1:51679").await;
    assert_eq!(call_tcp(&one, "127.0.0.1:51679").await.expect("reached"), "127.0.0.1");
    // A container that may change its routes can send packets for 127.0.0.1 to the bridge.
    sh(&container, "ip addr del 127.0.0.1/8 dev lo; echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; ip route flush table local type local; ip route add local 172.17.0.2 dev eth0 table local; ip route add 127.0.0.1 via 172.17.0.1 src 172.17.0.2").await;
    let refused = call_tcp_within(&container, "127.0.0.1:51679", SHORT).await;
    assert!(refused.is_err(), "{refused:?}");
    // The same packets arrive once the guard is gone: the test would see them.
    sh(&one, "nft flush chain ip longshore_tasks guard").await;
    assert_eq!(call_tcp(&container, "127.0.0.1:51679").await.expect("reached"), "172.17.0.2");
}

#[tokio::test]
async fn isolated_namespace_has_only_loopback() {
    let world = World::new().await;
    let netns = world.netns("alone");
    ok(network::ensure_isolated(&netns).await);
    ok(network::ensure_isolated(&netns).await);
    let inside = netns.context();
    let links = ok(ok(netns.netlink().await).links().await);
    assert_eq!(links.iter().map(|link| (link.name.as_str(), link.up)).collect::<Vec<_>>(), [("lo", true)]);
    serve_tcp(&inside, "127.0.0.1:80").await;
    assert_eq!(call_tcp(&inside, "127.0.0.1:80").await.expect("reached"), "127.0.0.1");
    ok(netns.remove().await);
    assert!(!netns.exists() && !netns.as_path().exists());
}

#[tokio::test]
async fn probes_answer_for_the_namespace_they_ask() {
    let world = World::with_instances(&[2, 3]).await;
    let (one, two) = (world.instance_spec(2).netns.context(), world.instance_spec(3).netns.context());
    serve_tcp(&one, "127.0.0.1:40000").await;
    serve_udp(&one, "0.0.0.0:40001", "x").await;
    for (context, protocol, port, free) in [
        (&one, Protocol::Tcp, 40000, false),
        (&one, Protocol::Udp, 40000, true),
        (&one, Protocol::Tcp, 40001, true),
        (&one, Protocol::Udp, 40001, false),
        (&two, Protocol::Tcp, 40000, true),
        (&two, Protocol::Udp, 40001, true),
    ] {
        assert_eq!(ok(network::is_port_free(context, protocol, port).await), free, "{protocol}/{port}");
    }
    sh(&one, "echo 40000 40005 > /proc/sys/net/ipv4/ip_local_port_range").await;
    let range = ok(network::ephemeral_range(&one).await);
    assert_eq!(range, 40000..=40005);
    let taken = [(Protocol::Tcp, 40002)].into();
    let tcp = [Protocol::Tcp; 2];
    assert_eq!(ok(network::find_free_ports(&one, &tcp, range.clone(), &taken, None).await), [40001, 40003]);
    assert_eq!(ok(network::find_free_ports(&one, &tcp, range.clone(), &taken, Some(40004)).await), [40005, 40001]);
    let many = [Protocol::Tcp; 5];
    assert!(matches!(
        network::find_free_ports(&one, &many, range, &taken, None).await,
        Err(network::Error::PortsExhausted(40000, 40005))
    ));
}

#[tokio::test]
async fn futures_can_be_spawned() {
    let world = World::new().await;
    assert_send(network::ensure_fabric(&world.host, &FabricSpec::standard())).await.expect("fabric");
    assert_send(network::ensure_endpoints(&world.host, &[])).await.expect("nothing");
    assert_send(network::add_ports(&world.host, &table(), &[])).await.expect("nothing");
    assert_eq!(FabricSpec::standard().gateway.addr(), Ipv4Addr::new(172, 31, 0, 1));
}

#[tokio::test]
async fn link_local_addresses_are_an_instances_own() {
    let world = World::with_instances(&[2, 3]).await;
    let (one, two) = (world.instance_spec(2).netns.context(), world.instance_spec(3).netns.context());
    ok(network::ensure_endpoint(&one, &world.endpoint_spec(2, 2)).await);
    let container = world.endpoint_spec(2, 2).netns.context();
    let before = dump(&one).await;
    let spec = LinkLocalSpec::standard(&task_bridge().bridge, vec![Ipv4Addr::new(169, 254, 170, 2)]);
    for _ in 0..2 {
        ok(network::ensure_link_local(&one, &spec).await);
    }
    serve_tcp(&one, "169.254.170.2:80").await;
    assert_eq!(call_tcp(&container, "169.254.170.2:80").await.expect("reached"), "172.17.0.2", "with its own address");
    assert_eq!(call_tcp(&one, "169.254.170.2:80").await.expect("reached"), "169.254.170.2");
    // A neighbour that routes there through the instance is not let in, but would be without the table.
    sh(&two, "ip route add 169.254.170.2 via 172.31.0.2").await;
    assert!(call_tcp_within(&two, "169.254.170.2:80", SHORT).await.is_err());
    sh(&one, "nft delete table ip longshore_local").await;
    call_tcp(&two, "169.254.170.2:80").await.expect("reached");
    for _ in 0..2 {
        ok(network::remove_link_local(&one, &spec).await);
    }
    assert_eq!(dump(&one).await, before, "nothing is left");
}

#[tokio::test]
async fn every_user_of_a_container_has_every_port_unless_its_containers_say_otherwise() {
    let world = World::with_instances(&[2]).await;
    let one = world.instance_spec(2).netns.context();
    let spec = world.endpoint_spec(2, 2);
    keeps_what_its_containers_set(&spec.netns.context(), async || ok(network::ensure_endpoint(&one, &spec).await))
        .await;
    let alone = world.netns("alone");
    keeps_what_its_containers_set(&alone.context(), async || ok(network::ensure_isolated(&alone).await)).await;
    // An instance is a machine.
    let start = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    assert_eq!(sh(&one, start).await, "1024\n");
}

//! Addresses that are nobody's own, and who answers there instead, with real packets over three hosts.

#![allow(clippy::disallowed_methods)] // Real packets take real time.

mod common;

use common::cloud::*;
use common::*;
use network::NetContext;
use std::{
    collections::BTreeMap,
    io::Write,
    net::{Ipv4Addr, TcpListener},
};

const ALIAS: Ipv4Addr = Ipv4Addr::new(169, 254, 64, 7);
const AT: &str = "169.254.64.7:80";

/// Answers with its own name and who called.
async fn serve(context: &NetContext, port: u16, name: &'static str) {
    let listener = context.enter(move || Ok(TcpListener::bind(("0.0.0.0", port)).expect("free"))).await;
    let listener = listener.expect("entered");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let caller = connection.peer_addr().expect("a peer").ip();
            drop(write!(connection, "{name} {caller}"));
        }
    });
}

/// Who answered how often, or how it failed.
async fn calls(from: &NetContext, to: &str, times: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..times {
        let told = call_tcp_within(from, to, SHORT).await.unwrap_or_else(|error| error.kind().to_string());
        *seen.entry(told).or_default() += 1;
    }
    seen
}

fn behind(net: &mut Net, all: &[(&str, u16)]) {
    let all = all.iter().map(|(id, port)| (net.tasks[*id].1.address, *port)).collect();
    net.aliases.insert((ALIAS, 80), all);
}

/// Tasks `a` and `b` on host 1, `c` on host 2 and `d` on host 3; `a` knows the alias, which `c` and `d` answer.
async fn world() -> (Cloud, Net) {
    let cloud = Cloud::new().await;
    let mut net = Net::new("vpc-1", 4711, [172, 31]);
    cloud.add(&mut net, "a", 1, "one", "172.31.1.10", &["open"]);
    cloud.add(&mut net, "b", 1, "one", "172.31.1.11", &["open"]);
    cloud.add(&mut net, "c", 2, "one", "172.31.1.12", &["open"]);
    cloud.add(&mut net, "d", 3, "two", "172.31.2.13", &["open"]);
    cloud.ensure(&net).await;
    for (id, port, name) in [("a", 8080, "a"), ("b", 8080, "b"), ("c", 8080, "c"), ("d", 8081, "d")] {
        serve(&cloud.task(&net, id), port, name).await;
    }
    let mut with = net.clone();
    with.port("a").connected = true;
    behind(&mut with, &[("c", 8080), ("d", 8081)]);
    cloud.change(&net, &with).await;
    (cloud, with)
}

#[tokio::test]
async fn an_alias_is_answered_by_whoever_is_behind_it() {
    let (cloud, net) = world().await;
    let a = cloud.task(&net, "a");
    let seen = calls(&a, AT, 40).await;
    // The servers see who calls. That one of the two is never drawn happens once in 10^12 runs.
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["c 172.31.1.10", "d 172.31.1.10"], "{seen:?}");
    assert!(!calls(&a, "169.254.64.7:81", 1).await.keys().any(|told| told.contains("172.31")), "no such port");
    let seen = calls(&cloud.task(&net, "b"), AT, 2).await;
    assert!(!seen.keys().any(|told| told.contains("172.31")), "b does not know it: {seen:?}");

    // One leaves, and connections to it go on; one joins that is on the client's own host.
    let mut talk = Talk::between(&a, &cloud.task(&net, "d"), "172.31.2.13:8090").await;
    let mut less = net.clone();
    behind(&mut less, &[("c", 8080)]);
    cloud.change(&net, &less).await;
    assert_eq!(calls(&a, AT, 20).await, [("c 172.31.1.10".to_owned(), 20)].into());
    let mut more = net.clone();
    behind(&mut more, &[("b", 8080)]);
    cloud.change(&less, &more).await;
    assert_eq!(calls(&a, AT, 20).await, [("b 172.31.1.10".to_owned(), 20)].into());
    assert!(talk.lives(PATIENCE), "an established connection outlives its place in the map");

    // Nobody is left: whoever calls is told at once.
    let mut nobody = more.clone();
    behind(&mut nobody, &[]);
    cloud.change(&more, &nobody).await;
    let before = std::time::Instant::now();
    let seen = calls(&a, AT, 3).await;
    assert!(before.elapsed() < SHORT, "{seen:?} after {:?}", before.elapsed());
    assert!(!seen.keys().any(|told| told.contains("172.31")), "{seen:?}");

    // And everything of it goes.
    let mut without = nobody.clone();
    without.aliases.clear();
    without.port("a").connected = false;
    cloud.change(&nobody, &net).await;
    cloud.change(&net, &without).await;
    assert!(!calls(&a, AT, 1).await.keys().any(|told| told.contains("172.31")));
}

#[tokio::test]
async fn a_task_that_is_behind_its_own_alias_reaches_itself() {
    let (cloud, net) = world().await;
    let mut own = net.clone();
    behind(&mut own, &[("a", 8080)]);
    cloud.change(&net, &own).await;
    let a = cloud.task(&net, "a");
    assert_eq!(calls(&a, AT, 5).await, [("a 169.254.0.4".to_owned(), 5)].into());
    // By its groups it could not even call itself.
    let mut closed = own.clone();
    closed.port("a").groups = [].into();
    cloud.change(&own, &closed).await;
    assert_eq!(calls(&a, AT, 5).await, [("a 169.254.0.4".to_owned(), 5)].into());
}

#[tokio::test]
async fn security_groups_of_both_ends_hold_behind_an_alias() {
    let (cloud, net) = world().await;
    let (a, c) = (cloud.task(&net, "a"), "c 172.31.1.10".to_owned());
    let mut only = net.clone();
    behind(&mut only, &[("c", 8080)]);
    only.groups.insert("client".into(), group(&[], &["tcp 8080"]));
    only.groups.insert("server".into(), group(&["tcp 8080 @client"], &[]));
    only.port("a").groups = ["client".to_owned()].into();
    only.port("c").groups = ["server".to_owned()].into();
    cloud.change(&net, &only).await;
    assert_eq!(calls(&a, AT, 3).await, [(c.clone(), 3)].into(), "what counts is who answers, not the alias");
    for (id, ingress, egress) in [("client", vec![], vec!["tcp 80"]), ("server", vec!["tcp 80 @client"], vec![])] {
        let mut closed = only.clone();
        closed.groups.insert(id.into(), group(&ingress, &egress));
        cloud.change(&only, &closed).await;
        assert!(!calls(&a, AT, 1).await.contains_key(&c), "closed at the {id}");
        cloud.change(&closed, &only).await;
    }
}

#[tokio::test]
async fn a_restarted_agent_disturbs_no_connection_to_an_alias() {
    let (cloud, net) = world().await;
    let mut only = net.clone();
    let (at, server) = ("169.254.64.7:8090", cloud.task(&net, "c"));
    only.aliases.insert((ALIAS, 8090), [(Ipv4Addr::new(172, 31, 1, 12), 8090)].into());
    cloud.change(&net, &only).await;
    let mut talk = Talk::between(&cloud.task(&net, "a"), &server, at).await;
    // Knowing nothing, it puts the whole table in the place of the old one.
    cloud.ensure(&only).await;
    assert!(talk.lives(PATIENCE));
    assert_eq!(calls(&cloud.task(&net, "a"), AT, 20).await.values().sum::<usize>(), 20);
}

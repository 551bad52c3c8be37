//! What one endpoint costs: `cargo run --release -p network --example endpoint_cost -- [count]`, as root. Works in
//! namespaces of its own in a temporary folder.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, reason = "a measuring tool")]

use network::{BridgeSpec, EndpointSpec, IfName, Ipv4Net, Mac, NetnsPath, PortMap, PortsSpec, Protocol, ipam};
use std::collections::HashSet;
use std::net::SocketAddrV4;
use std::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let count: usize = std::env::args().nth(1).map_or(100, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let host = NetnsPath::new(dir.path(), "host").unwrap();
    host.create().await.unwrap();
    let context = host.context();
    let bridge = BridgeSpec::standard("172.17.0.1/16".parse().unwrap());
    network::ensure_task_bridge(&context, &bridge).await.unwrap();
    let ports = PortsSpec::standard(&bridge.bridge, bridge.gateway);
    network::ensure_ports_table(&context, &ports).await.unwrap();

    let mut used = HashSet::new();
    let specs: Vec<_> = (0..count)
        .map(|n| {
            let address = ipam::allocate(bridge.gateway, &used).unwrap();
            used.insert(address);
            EndpointSpec {
                netns: NetnsPath::new(dir.path(), &format!("e{n}")).unwrap(),
                ifname: IfName::new("eth0").unwrap(),
                host_veth: IfName::derive("lse", &n.to_string()),
                bridge: bridge.bridge.clone(),
                address: Ipv4Net::new(address, 16).unwrap(),
                gateway: bridge.gateway.addr(),
                mac: Mac::for_ipv4(address),
            }
        })
        .collect();
    let gone: Vec<_> = specs.iter().map(|spec| (spec.netns.clone(), spec.host_veth.clone())).collect();
    let maps: Vec<_> = specs
        .iter()
        .zip(20_000..)
        .map(|(spec, host_port)| PortMap {
            protocol: Protocol::Tcp,
            host_port,
            target: SocketAddrV4::new(spec.address.addr(), 80),
        })
        .collect();

    let begin = Instant::now();
    for spec in &specs {
        network::ensure_endpoint(&context, spec).await.unwrap();
    }
    report("ensure_endpoint, one at a time", begin, count);
    let begin = Instant::now();
    for spec in &specs {
        network::ensure_endpoint(&context, spec).await.unwrap();
    }
    report("ensure_endpoint again", begin, count);
    let begin = Instant::now();
    for map in &maps {
        network::add_ports(&context, &ports.table, std::slice::from_ref(map)).await.unwrap();
    }
    report("add_ports, one at a time", begin, count);
    let begin = Instant::now();
    for map in &maps {
        network::remove_ports(&context, &ports.table, std::slice::from_ref(map)).await.unwrap();
    }
    report("remove_ports, one at a time", begin, count);
    let begin = Instant::now();
    for (netns, host_veth) in &gone {
        network::remove_endpoint(&context, netns, host_veth).await.unwrap();
    }
    report("remove_endpoint, one at a time", begin, count);
    let begin = Instant::now();
    let all = specs.iter().map(|spec| network::ensure_endpoint(&context, spec));
    futures::future::try_join_all(all).await.unwrap();
    report("ensure_endpoint, all at once", begin, count);
    let begin = Instant::now();
    let all = gone.iter().map(|(netns, host_veth)| network::remove_endpoint(&context, netns, host_veth));
    futures::future::try_join_all(all).await.unwrap();
    report("remove_endpoint, all at once", begin, count);
    let begin = Instant::now();
    network::ensure_endpoints(&context, &specs).await.unwrap();
    report("ensure_endpoints, one batch", begin, count);
    let begin = Instant::now();
    network::remove_endpoints(&context, &gone).await.unwrap();
    report("remove_endpoints, one batch", begin, count);
    host.remove().await.unwrap();
}

fn report(what: &str, begin: Instant, count: usize) {
    println!("{what:34} {:7.2} ms each", begin.elapsed().as_secs_f64() * 1e3 / count as f64);
}

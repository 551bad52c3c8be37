//! Port mappings of network mode `bridge`, as NAT: one nftables map per instance from (protocol, host port) to (address, port).
//!
//! Nothing listens on a host port. Mapped ports answer from outside, from the instance, from its 127.0.0.1, and from
//! containers including the target itself.

use crate::conntrack::Change;
use crate::names::{IfName, TableName};
use crate::{Error, NetContext, Result, conntrack, nft};
use ipnet::Ipv4Net;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The map's name inside the table.
const MAP: &str = "ports";
/// How often a batch is decided anew when another writer came between reading and applying. Writers of one instance are few,
/// and each turn means another one's batch got through.
const TURNS: usize = 5;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One host port and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortMap {
    /// The protocol.
    pub protocol: Protocol,
    /// The port on every address of the instance.
    pub host_port: u16,
    /// The container's address and port.
    pub target: SocketAddrV4,
}

/// The table of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortsSpec {
    /// The nftables table (family `ip`); `longshore_ports` as a rule.
    pub table: TableName,
    /// The task bridge.
    pub bridge: IfName,
    /// The task bridge's range.
    pub net: Ipv4Net,
}

impl PortsSpec {
    /// The default table for a task bridge.
    pub fn standard(bridge: &IfName, net: Ipv4Net) -> Self {
        Self { table: TableName::new("longshore_ports").expect("fits the rules"), bridge: bridge.clone(), net }
    }
}

/// Makes the table, its chains and an empty map; mappings already there stay.
pub async fn ensure_ports_table(context: &NetContext, spec: &PortsSpec) -> Result<()> {
    let spec = spec.clone();
    context
        .enter(move || {
            let rules = nft::ports_table(&spec.table, &spec.bridge, spec.net);
            let Err(Error::Nft { .. }) = nft::apply_here(&rules) else { return Ok(()) };
            // A table of another shape (an older version's): replace it whole, keeping the mappings.
            let kept = list_here(&spec.table).unwrap_or_default();
            let batch = nft::delete_table(&spec.table) + &rules + &add_text(&spec.table, &kept);
            nft::apply_here(&batch)
        })
        .await
}

/// Takes the table and all mappings away; fine when they are not there.
pub async fn remove_ports_table(context: &NetContext, table: &TableName) -> Result<()> {
    let batch = nft::delete_table(table);
    context.enter(move || nft::apply_here(&batch)).await
}

/// Adds mappings, all or none. Those already there are fine; a host port that leads elsewhere is led here instead.
pub async fn add_ports(context: &NetContext, table: &TableName, ports: &[PortMap]) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    let table = table.clone();
    let ports = ports.to_vec();
    context
        .enter(move || {
            // Nearly always nothing is in the way, and one process does.
            let mut outcome = nft::apply_here(&add_text(&table, &ports));
            for _ in 0..TURNS {
                let Err(Error::Nft { .. }) = outcome else { break };
                let wanted: HashMap<_, _> = ports.iter().map(|port| (key(port), port.target)).collect();
                let in_the_way: Vec<_> = list_here(&table)?
                    .into_iter()
                    .filter(|port| wanted.get(&key(port)).is_some_and(|target| *target != port.target))
                    .collect();
                outcome = nft::apply_here(&(delete_text(&table, &in_the_way) + &add_text(&table, &ports)));
            }
            outcome?;
            conntrack::forget_here(&ports, Change::Added);
            Ok(())
        })
        .await
}

/// Removes mappings, all or none. Those not there are fine, and a host port that leads elsewhere by now stays.
/// UDP flows to the removed targets are forgotten, so that the next owner of the port gets its clients.
pub async fn remove_ports(context: &NetContext, table: &TableName, ports: &[PortMap]) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    let table = table.clone();
    let ports = ports.to_vec();
    context
        .enter(move || {
            let mut outcome = Ok(());
            for _ in 0..TURNS {
                // nft deletes by key alone, so the target is compared here.
                let mut there = list_here(&table)?;
                there.retain(|port| ports.contains(port));
                outcome = if there.is_empty() { Ok(()) } else { nft::apply_here(&delete_text(&table, &there)) };
                let Err(Error::Nft { .. }) = outcome else { break };
            }
            outcome?;
            conntrack::forget_here(&ports, Change::Removed);
            Ok(())
        })
        .await
}

/// Every mapping of the table, sorted; none when the table is not there.
pub async fn list_ports(context: &NetContext, table: &TableName) -> Result<Vec<PortMap>> {
    let table = table.clone();
    context.enter(move || list_here(&table)).await
}

fn key(port: &PortMap) -> (Protocol, u16) {
    (port.protocol, port.host_port)
}

fn add_text(table: &TableName, ports: &[PortMap]) -> String {
    let elements = ports.iter().map(|port| {
        let PortMap { protocol, host_port, target } = port;
        format!("{protocol} . {host_port} : {} . {}", target.ip(), target.port())
    });
    element_text("add", table, elements)
}

fn delete_text(table: &TableName, ports: &[PortMap]) -> String {
    element_text("delete", table, ports.iter().map(|port| format!("{} . {}", port.protocol, port.host_port)))
}

fn element_text(verb: &str, table: &TableName, elements: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for element in elements {
        let separator = if text.is_empty() { "" } else { ", " };
        write!(text, "{separator}{element}").expect("a String takes everything");
    }
    if text.is_empty() { text } else { format!("{verb} element ip {table} {MAP} {{ {text} }}\n") }
}

fn list_here(table: &TableName) -> Result<Vec<PortMap>> {
    match nft::list_map_here(table, MAP)? {
        None => Ok(Vec::new()),
        Some(text) => parse(&text),
    }
}

/// Reads `nft -j list map`: `elem` is a list of `[{concat:[proto, port]}, {concat:[address, port]}]`, absent when empty.
fn parse(text: &str) -> Result<Vec<PortMap>> {
    let unreadable =
        |what: &str| Error::NftListing(format!("{what} in {}", text.chars().take(200).collect::<String>()));
    let listing: Value = serde_json::from_str(text).map_err(|_| unreadable("no JSON"))?;
    let map = listing["nftables"].as_array().and_then(|objects| objects.iter().find_map(|object| object.get("map")));
    let map = map.ok_or_else(|| unreadable("no map"))?;
    let Some(elements) = map.get("elem").and_then(Value::as_array) else { return Ok(Vec::new()) };
    let mut ports =
        elements.iter().map(element).collect::<Option<Vec<_>>>().ok_or_else(|| unreadable("unknown element"))?;
    ports.sort_unstable();
    Ok(ports)
}

fn element(element: &Value) -> Option<PortMap> {
    let protocol = match element.pointer("/0/concat/0")?.as_str()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let number = |pointer| u16::try_from(element.pointer(pointer)?.as_u64()?).ok();
    let address: Ipv4Addr = element.pointer("/1/concat/0")?.as_str()?.parse().ok()?;
    let target = SocketAddrV4::new(address, number("/1/concat/1")?);
    Some(PortMap { protocol, host_port: number("/0/concat/1")?, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_is_read_as_nft_prints_it() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}, {"map": {"family": "ip",
            "name": "ports", "table": "t", "type": ["inet_proto", "inet_service"], "handle": 1, "map": "ipv4_addr . inet_service",
            "elem": [[{"concat": ["udp", 53]}, {"concat": ["10.0.1.13", 53]}], [{"concat": ["tcp", 8080]}, {"concat": ["10.0.1.13", 80]}]]}}]}"#;
        let shown: Vec<_> = parse(text)
            .expect("readable")
            .iter()
            .map(|port| format!("{}/{} {}", port.protocol, port.host_port, port.target))
            .collect();
        assert_eq!(shown, ["tcp/8080 10.0.1.13:80", "udp/53 10.0.1.13:53"]);
        assert!(parse(r#"{"nftables": [{"map": {"name": "ports"}}]}"#).expect("empty").is_empty());
        for bad in
            ["", "{}", r#"{"nftables": [{"map": {"elem": [[{"concat": ["sctp", 1]}, {"concat": ["1.1.1.1", 1]}]]}}]}"#]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

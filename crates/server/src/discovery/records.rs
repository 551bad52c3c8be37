//! What the resolver of a VPC answers of the private namespaces that are the VPC's.

use super::{Found, Roll};
use model::{
    Scope,
    discovery::{Namespace, NamespaceKind, RecordKind, Routing, Service, address_in, port_in},
    network::VpcId,
};
use state::Snapshot;
use std::{collections::BTreeMap, net::Ipv4Addr};

/// What there is of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// How many of the records are one answer: with [`Routing::Multivalue`] up to eight of a kind, chosen at random, with
    /// [`Routing::Weighted`] one. Choosing is the resolver's affair; all that may be chosen stand here.
    pub routing: Routing,
    /// Those of healthy instances; of all where none is healthy, as Route 53 answers. At least one.
    pub records: Vec<Record>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Seconds for which it may be remembered.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An address.
    A(Ipv4Addr),
    /// A port, and the name of the address it is at.
    Srv {
        /// AWS: always 1.
        priority: u16,
        /// AWS: always 1.
        weight: u16,
        /// The port.
        port: u16,
        /// The name, which has an A record here if its address is known.
        target: String,
    },
}

/// Every name of a VPC's private namespaces that has an answer, in small letters and without a dot at the end. A name below a
/// namespace that is not here does not exist.
pub fn records(snapshot: &Snapshot, scope: &Scope, vpc: &VpcId) -> BTreeMap<String, Answers> {
    let mut names = BTreeMap::new();
    let Some(discovery) = snapshot.discovery(scope) else { return names };
    let roll = Roll::of(snapshot, scope);
    for namespace in discovery.namespaces() {
        match &namespace.kind {
            NamespaceKind::PrivateDns { vpc: of, .. } if of == vpc => {}
            NamespaceKind::PrivateDns { .. } | NamespaceKind::Http => continue,
        }
        for service in discovery.services_of(&namespace.id).filter(|service| service.dns.is_some()) {
            let found = roll.found(service);
            let any = found.values().any(Found::is_healthy);
            for one in found.values().filter(|one| one.is_healthy() || !any) {
                lay(&mut names, namespace, service, one);
            }
        }
    }
    names
}

/// Lays what an instance answers over what there is.
fn lay(names: &mut BTreeMap<String, Answers>, namespace: &Namespace, service: &Service, one: &Found) {
    let Some(dns) = &service.dns else { return };
    let mut put = |name: &str, ttl: u32, data: Data| {
        let answers = names.entry(name.to_ascii_lowercase());
        let answers = answers.or_insert_with(|| Answers { routing: dns.routing, records: Vec::new() });
        answers.records.push(Record { ttl, data });
    };
    let (address, port) = (address_in(&one.attributes), port_in(&one.attributes));
    let name = format!("{}.{}", service.name, namespace.name);
    if let (Some(record), Some(address)) = (service.record(RecordKind::A), address) {
        put(&name, record.ttl, Data::A(address));
    }
    if let (Some(record), Some(port)) = (service.record(RecordKind::Srv), port) {
        let target = format!("{}.{name}", one.id).to_ascii_lowercase();
        put(&name, record.ttl, Data::Srv { priority: 1, weight: 1, port, target: target.clone() });
        // AWS: the name that the SRV record leads to comes with it, whether or not the service has A records itself.
        if let Some(address) = address {
            put(&target, record.ttl, Data::A(address));
        }
    }
}

//! What must hold of any service discovery, looked for from the records alone: it shares no code with the laws.

use super::{Discovery, MAX_OPERATIONS, NamespaceKind, RecordKind, attribute};
use std::collections::BTreeSet;

/// What is wrong, in words for an operator; empty if nothing is.
pub fn audit(discovery: &Discovery) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut names = BTreeSet::new();
    for namespace in discovery.namespaces() {
        if !names.insert(namespace.name.to_ascii_lowercase()) {
            wrong.push(format!("{}: another namespace has its name", namespace.id));
        }
    }
    let mut names = BTreeSet::new();
    for service in discovery.services() {
        match discovery.namespace(&service.namespace).map(|namespace| &namespace.kind) {
            None => wrong.push(format!("{} is in a namespace that does not exist", service.id)),
            Some(NamespaceKind::Http) if service.dns.is_some() => {
                wrong.push(format!("{}: its namespace has no DNS records", service.id));
            }
            Some(NamespaceKind::Http | NamespaceKind::PrivateDns { .. }) => {}
        }
        if !names.insert((&service.namespace, &service.name)) {
            wrong.push(format!("{}: another service of its namespace has its name", service.id));
        }
    }
    for instance in discovery.instances.values() {
        let at = format!("{}/{}", instance.service, instance.id);
        let Some(service) = discovery.service(&instance.service) else {
            wrong.push(format!("{at} is of a service that does not exist"));
            continue;
        };
        if service.custom_health != instance.health.is_some() {
            wrong.push(format!("{at}: its service says otherwise whether anybody is asked how it is"));
        }
        let needs = [(RecordKind::A, attribute::IPV4), (RecordKind::Srv, attribute::PORT)];
        for (_, key) in needs.into_iter().filter(|(kind, _)| service.record(*kind).is_some()) {
            if !instance.attributes.contains_key(key) {
                wrong.push(format!("{at} has no {key}, which its service's records need"));
            }
        }
    }
    if discovery.operations.len() > MAX_OPERATIONS {
        wrong.push("more operations are remembered than may be".to_owned());
    }
    let by_time: BTreeSet<_> = discovery.operations().map(|operation| (operation.at, operation.id.clone())).collect();
    if !by_time.iter().eq(discovery.oldest.iter()) {
        wrong.push("operations are noted otherwise by their time".to_owned());
    }
    wrong
}

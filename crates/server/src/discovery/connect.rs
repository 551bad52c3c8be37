//! Service Connect: the names that services of ECS have in a namespace, and who answers to them.
//!
//! Cloud Map shows each as a service of its namespace. Nothing of that is stored: it follows from the services of ECS, so that it
//! is there as long as they are, and gone with them.

use super::{Named, spec_of};
use model::{
    ConnectPort, Creation, DeploymentId, HealthStatus, Scope, ServiceArn, ServiceConnect, Tags, Task,
    discovery::{Discovery, NamespaceId, Record, Service},
    network::VpcId,
};
use scheduler::service::blue_green;
use sha2::{Digest, Sha256};
use state::{ServiceRow, Snapshot};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// Where the addresses of aliases begin, and how many there are: link-local, so that no VPC and no network around can have them,
/// and apart from those of the metadata services and of routers.
const FIRST_ALIAS: Ipv4Addr = Ipv4Addr::new(169, 254, 64, 0);
const ALIASES: u32 = 1 << 14;

/// Service discovery as Cloud Map shows it: what is stored, and the names of Service Connect.
pub fn with_connected(snapshot: &Snapshot, scope: &Scope) -> Discovery {
    let stored = snapshot.discovery(scope);
    let mut all = stored.map(|discovery| Discovery::clone(discovery)).unwrap_or_default();
    let mut rows = snapshot.connected(scope).peekable();
    if rows.peek().is_none() {
        return all;
    }
    let key = |namespace: &NamespaceId, name: &str| (namespace.clone(), name.to_ascii_lowercase());
    let mut taken: BTreeSet<_> = all.services().map(|known| key(&known.namespace, &known.name)).collect();
    for (row, connect) in rows.filter(|(_, connect)| all.namespace(&connect.namespace).is_some()).collect::<Vec<_>>() {
        for port in &connect.services {
            // A name that two have all the same is one of theirs; an older revision's name is the service's own.
            if all.service(&port.service).is_none() && taken.insert(key(&connect.namespace, &port.discovery_name)) {
                all.put(Record::from(service(row, connect, port)));
            }
        }
    }
    all
}

fn service(row: &ServiceRow, connect: &ServiceConnect, port: &ConnectPort) -> Service {
    let owner = &row.service.arn;
    Service {
        scope: owner.cluster.scope.clone(),
        id: port.service.clone(),
        namespace: connect.namespace.clone(),
        name: port.discovery_name.to_string(),
        description: Some("Managed by Amazon ECS".to_owned()),
        dns: None,
        custom_health: false,
        created_at: row.service.created_at,
        creation: Creation { token: None, request_sha256: row.service.creation.request_sha256.clone() },
        tags: Tags::default(),
        follows: Some(owner.clone()),
    }
}

/// The deployment whose tasks are found; `None` for all.
pub(super) fn serving(row: &ServiceRow) -> Option<DeploymentId> {
    let story = row.service.primary().and_then(|primary| row.deployment(&primary.service_deployment));
    blue_green::serving(&row.service, story.map(|story| &**story))
}

/// The namespace whose names a task knows.
pub fn namespace_of<'a>(snapshot: &'a Snapshot, task: &Task) -> Option<&'a NamespaceId> {
    let arn = ServiceArn::of_group(&task.arn.cluster, &task.group)?;
    Some(&spec_of(snapshot.service(&arn)?, task)?.connect.as_ref()?.namespace)
}

/// What is behind one name: its own address, and by port who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The address at which clients ask.
    pub address: Ipv4Addr,
    /// Addresses and ports of the tasks that are well.
    pub ports: BTreeMap<u16, BTreeSet<(Ipv4Addr, u16)>>,
}

/// All names of these namespaces, with the tasks in a VPC that answer to them. AWS: who is in another VPC is found, but not reached.
pub fn aliases(
    snapshot: &Snapshot,
    scope: &Scope,
    vpc: &VpcId,
    asked: &BTreeSet<&NamespaceId>,
) -> BTreeMap<NamespaceId, BTreeMap<String, Alias>> {
    let mut all = addressed(snapshot, scope);
    all.retain(|(namespace, _), _| asked.contains(&namespace));
    let rows: BTreeMap<_, _> = snapshot.connected(scope).map(|(row, _)| (&row.service.arn, row)).collect();
    for row in rows.into_values() {
        let serving = serving(row);
        for task in row.tasks().filter(|task| super::is_found(task) && task.health() != Some(HealthStatus::Unhealthy)) {
            let Some(attachment) = task.attachment.as_ref().filter(|attachment| attachment.vpc == *vpc) else {
                continue;
            };
            for named in super::names_of(row, serving, task) {
                let Named::Connect(connect, port) = named else { continue };
                let Some(name) = snapshot.discovery(scope).and_then(|all| all.namespace(&connect.namespace)) else {
                    continue;
                };
                let (name, number) = port.alias(&name.name);
                if let Some(alias) = all.get_mut(&(connect.namespace.clone(), name)) {
                    alias.ports.entry(number).or_default().insert((attachment.address, port.port));
                }
            }
        }
    }
    let mut by_namespace: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for ((namespace, name), alias) in all {
        by_namespace.entry(namespace).or_default().insert(name, alias);
    }
    by_namespace
}

/// Every name of a scope with its address: a hash of it, and where an older one has that, the next that is free. So it is
/// the same after a restart, and nearly always whatever else comes and goes: programs remember it.
fn addressed(snapshot: &Snapshot, scope: &Scope) -> BTreeMap<(NamespaceId, String), Alias> {
    let Some(discovery) = snapshot.discovery(scope) else { return BTreeMap::new() };
    let mut rows: Vec<_> = snapshot.connected(scope).collect();
    rows.sort_by(|(a, _), (b, _)| (a.service.created_at, &a.service.arn).cmp(&(b.service.created_at, &b.service.arn)));
    let (mut taken, mut all) = (BTreeSet::new(), BTreeMap::new());
    for (_, connect) in rows {
        let Some(namespace) = discovery.namespace(&connect.namespace) else { continue };
        for port in &connect.services {
            let (name, number) = port.alias(&namespace.name);
            let key = (namespace.id.clone(), name);
            let digest = Sha256::digest(format!("{}/{}", key.0, key.1));
            let alias = all.entry(key).or_insert_with(|| {
                let mut at = u32::from_be_bytes([0, 0, digest[0], digest[1]]) % ALIASES;
                while taken.len() < ALIASES as usize && !taken.insert(at) {
                    at = (at + 1) % ALIASES;
                }
                Alias { address: Ipv4Addr::from(u32::from(FIRST_ALIAS) + at), ports: BTreeMap::new() }
            });
            alias.ports.entry(number).or_default();
        }
    }
    all
}

//! What must hold of any state, counted again from the records alone.
//!
//! Used by `longshore state check` and by the tests after every step: it shares no code with what keeps the counts.

use crate::{
    audit_discovery::audit_discoveries,
    audit_iam::audit_directories,
    audit_network::audit_networks,
    audit_services::audit_services,
    audit_tasks::{audit_ports, audit_tasks},
    audit_vault::audit_vaults,
    snapshot::{ClusterRow, ScopeRow, Snapshot},
};
use model::{
    ClusterStatus, ContainerInstanceArn, InstanceStatus, MachineState, Port, Scope, Task, TaskDefinitionArn,
    TaskDefinitionStatus, TaskStatus,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What is wrong, in words for an operator; empty if nothing is.
pub fn audit(snapshot: &Snapshot) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut uses: BTreeMap<&TaskDefinitionArn, u32> = BTreeMap::new();
    let mut services: BTreeMap<&TaskDefinitionArn, u32> = BTreeMap::new();
    let mut placed: BTreeMap<ContainerInstanceArn, Vec<&Arc<Task>>> = BTreeMap::new();
    for row in snapshot.scopes.values() {
        for cluster in row.clusters.values() {
            for task in cluster.live.iter() {
                if !task.holds_resources() {
                    wrong.push(format!("{} has stopped but counts as live", task.arn));
                }
                if let Some(instance) = task.instance_arn() {
                    placed.entry(instance).or_default().push(task);
                } else if !task.waits() {
                    wrong.push(format!("{} is on no instance, and waits for none", task.arn));
                }
                *uses.entry(&task.definition).or_default() += 1;
            }
            for spec in cluster.services().flat_map(|row| row.service.specs()) {
                *services.entry(&spec.task_definition).or_default() += 1;
            }
            audit_cluster(cluster, &mut wrong);
            audit_tasks(cluster, &mut wrong);
            audit_services(cluster, &mut wrong);
        }
    }
    for row in snapshot.scopes.values().flat_map(|s| s.clusters.values()).flat_map(|c| c.instances()) {
        let arn = &row.instance.arn;
        let tasks = placed.remove(arn).unwrap_or_default();
        if snapshot.live_tasks_on(arn).count() != tasks.len() {
            wrong.push(format!("{arn}: not all its tasks are found by it"));
        }
        audit_instance(row, &tasks, &mut wrong);
        audit_ports(row, &tasks, &mut wrong);
    }
    for task in placed.into_values().flatten() {
        wrong.push(format!("{} is on an instance that does not exist", task.arn));
    }
    for (scope, row) in &snapshot.scopes {
        audit_families(scope, row, &uses, &services, &mut wrong);
    }
    for arn in uses.keys().chain(services.keys()).filter(|arn| snapshot.task_definition(arn).is_none()) {
        wrong.push(format!("live tasks or services use {arn}, which does not exist"));
    }
    audit_machines(snapshot, &mut wrong);
    audit_networks(snapshot, &mut wrong);
    audit_discoveries(snapshot, &mut wrong);
    audit_vaults(snapshot, &mut wrong);
    audit_directories(snapshot, &mut wrong);
    audit_tokens(snapshot, &mut wrong);
    for activation in snapshot.scopes.values().flat_map(|s| s.activations.values()) {
        if activation.registrations.len() > activation.registration_limit as usize {
            wrong.push(format!("activation {} has more registrations than it allows", activation.id));
        }
    }
    wrong
}

/// Instances whose tasks hold more than they have. Apply never lets that happen by placing; an instance that came back
/// smaller than it was may be so until some of its tasks end.
pub fn over_capacity(snapshot: &Snapshot) -> Vec<String> {
    let rows = snapshot.scopes.values().flat_map(|s| s.clusters.values()).flat_map(|c| c.instances.values());
    let over = rows.filter(|row| row.is_over_capacity());
    over.map(|row| format!("{}: its tasks hold more than it has", row.instance.arn)).collect()
}

fn audit_cluster(cluster: &ClusterRow, wrong: &mut Vec<String>) {
    let arn = &cluster.cluster.arn;
    let count = |counts: fn(TaskStatus) -> bool| {
        u32::try_from(cluster.live.iter().filter(|task| counts(task.last_status())).count())
    };
    let (running, pending) = (count(|status| status == TaskStatus::Running), count(TaskStatus::is_pending));
    if (running, pending) != (Ok(cluster.running), Ok(cluster.pending)) {
        wrong.push(format!("{arn}: {running:?} running and {pending:?} pending tasks are counted otherwise"));
    }
    let registered = cluster.instances.iter().filter(|(_, r)| r.instance.status != InstanceStatus::Inactive);
    let registered: Vec<_> = registered.map(|(id, _)| *id).collect();
    if *cluster.registered != registered {
        wrong.push(format!("{arn}: its {} registered instances are listed otherwise", registered.len()));
    }
    if cluster.cluster.status == ClusterStatus::Inactive && (!registered.is_empty() || cluster.live.len() > 0) {
        wrong.push(format!("{arn} is inactive, and yet holds instances or tasks"));
    }
    let mut zones: BTreeMap<&str, u32> = BTreeMap::new();
    for zone in cluster.instances().filter_map(|row| row.instance.availability_zone()) {
        *zones.entry(zone).or_default() += 1;
    }
    if !zones.into_iter().eq(cluster.zones.iter().map(|(zone, count)| (&**zone, *count))) {
        wrong.push(format!("{arn}: its instances' zones are counted otherwise"));
    }
    for task in cluster.stopped.iter().filter(|t| t.holds_resources()) {
        wrong.push(format!("{} is live but counts as stopped", task.arn));
    }
    if cluster.stopped.len() != cluster.stopped_order.len() {
        wrong.push(format!("{arn}: stopped tasks and their order differ"));
    }
}

fn audit_instance(row: &crate::snapshot::InstanceRow, tasks: &[&Arc<Task>], wrong: &mut Vec<String>) {
    let arn = &row.instance.arn;
    let mut ports: BTreeSet<Port> = BTreeSet::new();
    let mut gpus = BTreeSet::new();
    let mut left = row.instance.registered.clone();
    let mut groups: BTreeMap<Arc<str>, u32> = BTreeMap::new();
    for task in tasks {
        for port in task.reservation.ports.iter().filter(|port| !ports.insert(**port)) {
            wrong.push(format!("{arn}: port {}/{} is held twice", port.number, port.protocol.as_str()));
        }
        for gpu in task.reservation.gpu_ids.iter().filter(|gpu| !gpus.insert(*gpu)) {
            wrong.push(format!("{arn}: GPU {} is held twice", gpu.as_str()));
        }
        if !task.reservation.names_its_gpus() {
            wrong.push(format!("{} holds {} GPUs, but not which", task.arn, task.reservation.gpus));
        }
        left.take(&task.reservation);
        *groups.entry(task.group.clone()).or_default() += 1;
    }
    let count = |counts: fn(TaskStatus) -> bool| tasks.iter().filter(|task| counts(task.last_status())).count();
    let counts = (count(|status| status == TaskStatus::Running), count(TaskStatus::is_pending), tasks.len());
    if counts != (row.running as usize, row.pending as usize, row.live as usize) || groups != row.groups {
        wrong.push(format!("{arn}: its tasks {counts:?} are counted otherwise"));
    }
    if left != row.remaining {
        wrong.push(format!("{arn}: what is left of it is not what its tasks leave"));
    }
    if row.instance.status == InstanceStatus::Inactive && !tasks.is_empty() {
        wrong.push(format!("{arn} is inactive, and yet {} live tasks are on it", tasks.len()));
    }
}

fn audit_families(
    scope: &Scope,
    row: &ScopeRow,
    uses: &BTreeMap<&TaskDefinitionArn, u32>,
    services: &BTreeMap<&TaskDefinitionArn, u32>,
    wrong: &mut Vec<String>,
) {
    for (name, family) in &row.families {
        let of = |status| family.revisions().filter(|r| r.definition.status == status).count();
        if of(TaskDefinitionStatus::Active) != family.active as usize {
            wrong.push(format!("family {name} in {}: its active revisions are counted otherwise", scope.region));
        }
        for revision in family.revisions() {
            let arn = &revision.definition.arn;
            if arn.revision > family.last_revision {
                wrong.push(format!("{arn} is above its family's count of {}", family.last_revision));
            }
            if services.get(arn).copied().unwrap_or(0) != revision.services {
                wrong.push(format!("{arn}: the services that use it are counted otherwise"));
            }
            if uses.get(arn).copied().unwrap_or(0) != revision.live_tasks {
                wrong.push(format!("{arn}: the live tasks that use it are counted otherwise"));
            }
        }
    }
}

fn audit_tokens(snapshot: &Snapshot, wrong: &mut Vec<String>) {
    for (scope, row) in &snapshot.scopes {
        let ordered =
            row.tokens.iter().all(|(key, record)| row.tokens_by_time.contains(&(record.token.at, key.clone())));
        if !ordered || row.tokens.len() != row.tokens_by_time.len() {
            wrong.push(format!("client tokens in {}: their order is not theirs", scope.region));
        }
    }
}

fn audit_machines(snapshot: &Snapshot, wrong: &mut Vec<String>) {
    let mut addresses = BTreeSet::new();
    for machine in snapshot.all_machines().filter(|m| m.state != MachineState::Terminated) {
        if !addresses.insert(machine.private_ip) {
            wrong.push(format!("machine {}: address {} is taken twice", machine.id, machine.private_ip));
        }
        if snapshot.machine_at(machine.private_ip).is_none() {
            wrong.push(format!("machine {}: nobody holds its address", machine.id));
        }
    }
    let mut agents = BTreeMap::new();
    let clusters = snapshot.scopes.values().flat_map(|s| s.clusters.values());
    for row in clusters.flat_map(|c| c.instances()).filter(|row| row.is_registered()) {
        let arn = &row.instance.arn;
        if let Some(machine) = &row.instance.ec2_instance_id
            && let Some(other) = agents.insert(machine, arn)
        {
            wrong.push(format!("machine {machine} is registered twice, as {other} and as {arn}"));
        }
    }
    if addresses.len() != snapshot.addresses.len() {
        wrong.push("addresses are held by machines that are gone".to_owned());
    }
}

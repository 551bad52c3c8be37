//! What must hold of every single task, and between tasks: lives that run forward, causes, and nothing given to two.

use crate::snapshot::{ClusterRow, Id, InstanceRow};
use model::{ContainerStatus, Desired, Phase, Protocol, Task};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Over all tasks of a cluster, live and stopped.
pub(crate) fn audit_tasks(cluster: &ClusterRow, wrong: &mut Vec<String>) {
    let mut holders: HashMap<&str, &Task> = HashMap::new();
    for task in cluster.live.iter().chain(cluster.stopped.iter()) {
        audit_life(task, wrong);
        for container in &task.containers {
            if container.arn.task != task.arn {
                wrong.push(format!("{}: its container {} belongs to another task", task.arn, container.arn));
            }
            // A container ran for one task, on one instance, once.
            if let Some(id) = container.runtime_id.as_deref()
                && let Some(other) = holders.insert(id, task)
            {
                wrong.push(format!("{} and {} both claim the container {id}", other.arn, task.arn));
            }
        }
    }
    for task in cluster.stopped.iter() {
        let ordered = |at| cluster.stopped_order.contains(&(at, Id::of(task.arn.id.as_str())));
        if !task.stopped_at().is_some_and(ordered) {
            wrong.push(format!("{}: its stop is not in the order of stops", task.arn));
        }
    }
}

fn audit_life(task: &Task, wrong: &mut Vec<String>) {
    let mut that = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("{}: {what}", task.arn));
        }
    };
    that(task.version > 0, "its version is 0");
    that(task.times_run_forward(), "its times run backwards");
    that(task.stop().is_none_or(|why| !why.reason.is_empty()), "it stops without a reason");
    match &task.phase {
        Phase::Pending => that(task.times.started.is_none(), "it has started and is pending"),
        Phase::Running => that(task.times.started.is_some(), "it runs and has not started"),
        Phase::Stopping { .. } => that(task.times.stopping.is_some(), "it is stopping since no time"),
        Phase::Stopped { .. } => {
            let over = task.containers.iter().all(|c| c.status == ContainerStatus::Stopped);
            that(over, "it has stopped and its containers have not");
        }
    }
    match (&task.desired, &task.phase) {
        (Desired::Stopped(_), Phase::Pending | Phase::Running) => {
            that(task.times.stopping.is_some(), "its stop was asked for at no time");
        }
        (Desired::Stopped(_), Phase::Stopping { .. } | Phase::Stopped { .. }) | (Desired::Running, _) => {}
    }
}

/// A published port of an instance belongs to one container that has not ended.
pub(crate) fn audit_ports(row: &InstanceRow, tasks: &[&Arc<Task>], wrong: &mut Vec<String>) {
    let mut taken: BTreeMap<(Protocol, u16), &Task> = BTreeMap::new();
    for task in tasks {
        let living = task.containers.iter().filter(|c| c.status != ContainerStatus::Stopped);
        for binding in living.flat_map(|c| &c.network_bindings) {
            let (protocol, port) = (binding.protocol, binding.host_port);
            if let Some(other) = taken.insert((protocol, port), task) {
                let arn = &row.instance.arn;
                wrong.push(format!(
                    "{arn}: port {port}/{} is published for {} and {}",
                    protocol.as_str(),
                    other.arn,
                    task.arn
                ));
            }
        }
    }
}

//! What must hold of services: their tasks are all there, one deployment is in the lead, and its story is told; or an external
//! controller has its task sets.

use crate::snapshot::{ClusterRow, ServiceRow};
use model::{MAX_SERVICE_EVENTS, MAX_TASK_SETS, ServiceArn, ServiceStatus, Task, TaskSetStatus, TaskStatus};
use std::{collections::BTreeMap, sync::Arc};

/// Over all services of a cluster.
pub(crate) fn audit_services(cluster: &ClusterRow, wrong: &mut Vec<String>) {
    let arn = &cluster.cluster.arn;
    let active = cluster.services().filter(|row| row.service.status == ServiceStatus::Active).count();
    if active != cluster.active_services as usize {
        wrong.push(format!("{arn}: {active} active services are counted as {}", cluster.active_services));
    }
    let mut tasks: BTreeMap<ServiceArn, Vec<&Arc<Task>>> = BTreeMap::new();
    for task in cluster.live.iter() {
        if let Some(service) = ServiceArn::of_group(arn, &task.group) {
            tasks.entry(service).or_default().push(task);
        }
    }
    for row in cluster.services() {
        audit_service(row, &tasks.remove(&row.service.arn).unwrap_or_default(), wrong);
    }
    for service in tasks.into_keys() {
        wrong.push(format!("tasks run for {service}, which does not exist"));
    }
}

fn audit_service(row: &ServiceRow, tasks: &[&Arc<Task>], wrong: &mut Vec<String>) {
    let service = &row.service;
    let mut that = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("{}: {what}", service.arn));
        }
    };
    that(row.live() == tasks.len(), "not all its tasks are with it");
    that(row.tasks().all(|task| tasks.iter().any(|t| Arc::ptr_eq(t, task))), "a task of it is not as it is elsewhere");
    let running = tasks.iter().filter(|task| task.last_status() == TaskStatus::Running).count();
    let counts = (running, tasks.iter().filter(|task| task.last_status().is_pending()).count());
    that(counts == (row.running as usize, row.pending as usize), "its tasks are counted otherwise");
    that(
        service.deployments.is_empty() == service.external.is_some(),
        "it has no deployment, or one that is not its own",
    );
    that(service.spec.is_some() == service.external.is_none(), "nobody says what its tasks are, or two do");
    let sets = service.external.as_ref().map_or(&[][..], |external| &external.sets);
    that(sets.len() <= MAX_TASK_SETS, "it has too many task sets");
    let primaries = sets.iter().filter(|set| set.status == TaskSetStatus::Primary).count();
    that(primaries <= 1, "two of its task sets are the primary one");
    that(service.version > 0, "its version is 0");
    for deployment in &service.deployments {
        that(row.revision(deployment.id).is_some(), "the revision of a deployment is not kept");
        that(row.deployment(&deployment.service_deployment).is_some(), "the story of a deployment is not kept");
    }
    let mut ids: Vec<_> = service.deployments.iter().map(|d| d.id).chain(sets.iter().map(|set| set.id)).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    that(ids.len() == all, "a deployment or task set is there twice");
    that(row.events().count() <= MAX_SERVICE_EVENTS, "it has too many events");
    if service.status == ServiceStatus::Inactive {
        // One whose instance is away cannot say that it has stopped.
        that(tasks.iter().all(|task| task.is_to_stop()), "it is inactive and has tasks that are to run");
    }
}

//! Services: a decision about one, with the tasks it starts and stops, happens as a whole or not at all.
//!
//! What becomes of a service's tasks is counted here, at the moment it is learned, because tasks are forgotten in time and a
//! failure must be counted once.

use super::{Applied, tasks::Inactive};
use crate::{
    command::{Basis, Outcome, Rejected, ServiceChange},
    draft::Draft,
    snapshot::ServiceRow,
};
use model::{
    DeploymentId, HealthStatus, Rollout, Service, ServiceArn, ServiceDeploymentId, ServiceEvent, ServiceStatus,
    StopCode, Task, TaskArn, TaskStatus, Timestamp,
};
use std::{collections::BTreeSet, sync::Arc};

/// Services of one cluster. Source: "Amazon ECS service quotas".
const MAX_SERVICES: usize = 5_000;
/// Service deployments that are kept of one service, with their revisions. AWS keeps those of 90 days; a service that is
/// deployed every minute must not grow without end.
const MAX_DEPLOYMENTS: usize = 100;

impl Draft<'_> {
    pub(super) fn change_service(&mut self, change: ServiceChange) -> Applied {
        let arn = change.service.arn.clone();
        let version = self.check_basis(&change)?;
        let group = change.service.group();
        let other = |t: &&Task| t.arn.cluster != arn.cluster || (t.group != group && !is_of_a_hook(&change, t));
        if let Some(task) = change.start.iter().find(other) {
            return Err(Rejected::TaskOfAnother(task.arn.clone()));
        }
        self.check_definitions(&change)?;
        self.check_connect(&change)?;
        self.check_capacity(&change)?;
        self.check_stops(&change)?;
        self.check_start(&change.start, Inactive::Used)?;
        if version == 1 {
            self.clear_past(&arn);
        }
        let service = self.put_service(Service { version, ..change.service });
        for revision in change.revisions {
            self.put_service_revision(revision);
        }
        for deployment in change.deployments {
            self.put_service_deployment(deployment);
        }
        self.tell(&arn, change.events);
        for (task, why) in change.stop {
            self.stop_task(&task, why, change.at)?;
        }
        for task in change.start {
            self.put_task(task);
        }
        self.prune(&arn);
        Ok(Outcome::Service(service))
    }

    /// Whether what was decided on still holds; the version that the record gets.
    fn check_basis(&self, change: &ServiceChange) -> Result<u64, Rejected> {
        let arn = &change.service.arn;
        let cluster = self.active_cluster(&arn.cluster)?;
        let row = self.next.service(arn);
        let known = || row.ok_or_else(|| Rejected::ServiceNotFound(arn.clone()));
        let holds = match &change.on {
            Basis::New => {
                if row.is_some_and(|row| row.service.status != ServiceStatus::Inactive || row.live() > 0) {
                    return Err(Rejected::ServiceExists(arn.clone()));
                }
                if row.is_none() && cluster.services.len() >= MAX_SERVICES {
                    return Err(Rejected::TooManyServices(arn.cluster.clone()));
                }
                return Ok(1);
            }
            Basis::Version(version) => known()?.service.version == *version,
            Basis::Seen(seen) => seen.holds(known()?),
        };
        if holds { Ok(known()?.service.version + 1) } else { Err(Rejected::ServiceChanged(arn.clone())) }
    }

    fn check_definitions(&self, change: &ServiceChange) -> Result<(), Rejected> {
        change.service.specs().try_for_each(|spec| self.definition(&spec.task_definition).map(|_| ()))
    }

    /// Names of Service Connect are one service's in their namespace. Asked of what clients change alone: what the planner goes
    /// back to may not be refused for ever, and where two have a name all the same, one of them is found by it.
    fn check_connect(&self, change: &ServiceChange) -> Result<(), Rejected> {
        let asked = match &change.on {
            Basis::New | Basis::Version(_) => change.service.is_active(),
            Basis::Seen(_) => false,
        };
        let connect = change.service.primary().and_then(|primary| primary.spec.connect.as_deref());
        let named =
            |connect: &&model::ServiceConnect| asked && !change.revisions.is_empty() && !connect.services.is_empty();
        let Some(connect) = connect.filter(named) else { return Ok(()) };
        let arn = &change.service.arn;
        let known = self.next.discovery(&arn.cluster.scope).and_then(|all| {
            let namespace = all.namespace(&connect.namespace)?;
            let taken = all.services_of(&namespace.id).any(|stored| connect.names(&stored.name));
            (!taken).then_some(namespace)
        });
        let Some(namespace) = known else { return Err(Rejected::ServiceChanged(arn.clone())) };
        let mut others = self.next.connected(&arn.cluster.scope).filter(|(row, _)| row.service.arn != *arn);
        match others.find(|(_, other)| connect.clashes_with(other, &namespace.name)) {
            Some(_) => Err(Rejected::ServiceChanged(arn.clone())),
            None => Ok(()),
        }
    }

    /// Strategies are of the cluster's own providers, which it keeps as long as they are used. Asked of what clients change.
    fn check_capacity(&self, change: &ServiceChange) -> Result<(), Rejected> {
        let asked = match &change.on {
            Basis::New | Basis::Version(_) => change.service.is_active(),
            Basis::Seen(_) => false,
        };
        let items = change.service.specs().flat_map(|spec| spec.capacity_provider_strategy.items());
        let mut providers = items.filter(|_| asked).map(|item| &item.provider);
        providers.try_for_each(|provider| self.check_capacity_provider(&change.service.arn.cluster, Some(provider)))
    }

    fn check_stops(&self, change: &ServiceChange) -> Result<(), Rejected> {
        let group = change.service.group();
        let other = |arn: &&TaskArn| self.next.task(arn).is_none_or(|task| task.group != group);
        match change.stop.iter().map(|(arn, _)| arn).find(other) {
            Some(arn) => Err(Rejected::TaskOfAnother(arn.clone())),
            None => Ok(()),
        }
    }

    fn tell(&mut self, arn: &ServiceArn, events: Vec<ServiceEvent>) {
        for event in events {
            let Some(row) = self.next.service(arn) else { return };
            let sequence = row.next_event();
            self.put_service_event(arn, sequence, event);
            if let Some(first) = self.next.service(arn).and_then(|row| row.event_too_many()) {
                self.remove_service_event(arn, first);
            }
        }
    }

    /// Forgets the oldest deployments that are over, and revisions that nothing speaks of any more.
    fn prune(&mut self, arn: &ServiceArn) {
        let Some(row) = self.next.service(arn).cloned() else { return };
        let too_many = row.deployments.len().saturating_sub(MAX_DEPLOYMENTS);
        if too_many == 0 {
            return;
        }
        let current: BTreeSet<&ServiceDeploymentId> =
            row.service.deployments.iter().map(|d| &d.service_deployment).collect();
        let over = row.deployments().filter(|d| d.status.is_over() && !current.contains(&d.arn.id));
        for deployment in over.take(too_many) {
            self.remove_service_deployment(arn, &deployment.arn.id);
        }
        let Some(row) = self.next.service(arn).cloned() else { return };
        let mut used: BTreeSet<DeploymentId> = row.service.deployments.iter().map(|d| d.id).collect();
        used.extend(row.deployments().flat_map(|d| d.sources.iter().map(|s| s.id).chain([d.target.id])));
        for id in row.revisions.keys().filter(|id| !used.contains(id)) {
            self.remove_service_revision(arn, *id);
        }
    }

    /// Removes what an INACTIVE service of the same name has left.
    fn clear_past(&mut self, arn: &ServiceArn) {
        let Some(row) = self.next.service(arn).cloned() else { return };
        self.remove_past(arn, &row);
    }

    fn remove_past(&mut self, arn: &ServiceArn, row: &ServiceRow) {
        for sequence in row.events.keys() {
            self.remove_service_event(arn, *sequence);
        }
        for id in row.deployments.keys() {
            self.remove_service_deployment(arn, id);
        }
        for id in row.revisions.keys() {
            self.remove_service_revision(arn, *id);
        }
    }

    pub(super) fn forget_services(&mut self, arns: &[ServiceArn]) -> Outcome {
        for arn in arns {
            let Some(row) = self.next.service(arn).cloned() else { continue };
            if row.service.status == ServiceStatus::Inactive && row.live() == 0 {
                self.remove_past(arn, &row);
                self.remove_service(arn);
            }
        }
        Outcome::Done
    }

    /// What a step of one of its tasks means for a service's deployment or task set.
    pub(super) fn note_progress(&mut self, before: &Task, after: &Arc<Task>, at: Timestamp) {
        let Some(arn) = ServiceArn::of_group(&after.arn.cluster, &after.group) else { return };
        let Some(id) = after.started_by.as_deref().and_then(|by| by.parse::<DeploymentId>().ok()) else { return };
        let Some(row) = self.next.service(&arn) else { return };
        // One that FAILED has been judged, and starts nothing that would have to wait: what its last tasks come to is not counted.
        if row.service.deployment(id).is_some_and(|deployment| deployment.rollout == Rollout::Failed) {
            return;
        }
        let Some(known) = row.service.failures(id) else { return };
        let mut failures = known;
        let started = after.times.started;
        if before.times.started.is_none() && started.is_some() {
            failures.ran();
        }
        let healthy = |task: &Task| task.health() == Some(HealthStatus::Healthy);
        if !healthy(before) && healthy(after) && row.service.rules.breaker.reset_on_healthy_task {
            failures.forget();
        }
        // At the first word of its end, because it is replaced from then on; how long its other containers take to stop is
        // their affair.
        let ends = |task: &Task| task.last_status() >= TaskStatus::Stopping;
        if !ends(before) && ends(after) {
            match after.stop().map(|stop| stop.code) {
                Some(StopCode::TaskFailedToStart) if started.is_none() => failures.never_ran(after.times.created, at),
                Some(StopCode::EssentialContainerExited) => {
                    // One that ended before it was told to run has run all the same.
                    failures.ran();
                    let began = started.or(after.times.execution_stopped).unwrap_or(after.times.created);
                    failures.ended(began, at);
                }
                Some(
                    StopCode::TaskFailedToStart
                    | StopCode::UserInitiated
                    | StopCode::ServiceSchedulerInitiated
                    | StopCode::TerminationNotice
                    | StopCode::SpotInterruption,
                )
                | None => {}
            }
        }
        if failures != known {
            let mut service = Service::clone(&row.service);
            service.version += 1;
            service.note_failures(id, failures, at);
            self.put_service(service);
        }
    }
}

/// Whether the change makes it the task of a lifecycle hook whose turn it is, so that it is started with that turn's record or not at
/// all. It is of no service's group: a service's own tasks are counted by that.
fn is_of_a_hook(change: &ServiceChange, task: &Task) -> bool {
    let mut runs = change.deployments.iter().flat_map(|story| &story.lifecycle).flat_map(|lifecycle| &lifecycle.hooks);
    ServiceArn::of_group(&task.arn.cluster, &task.group).is_none()
        && runs.any(|run| run.status.is_open() && run.task.as_ref() == Some(&task.arn))
}

//! Services that an external controller deploys: each task set is kept at its computed count, and no set moves another's tasks.
//!
//! A set's tasks are kept as a deployment's are (`replica`), each set for itself: lost tasks are replaced, instances that
//! drain are left within the service's percentages of the set's own count, protected tasks stay. What never happens here is
//! a step from one set to the next; the controller asks for it by `scale`, `lead` and `drain`. There is no circuit breaker
//! either: AWS gives it to rolling deployments alone.
//! Source: "External deployment" in the ECS developer guide, `TaskSet`.

use super::{
    count::{Member, number},
    events,
    pass::Pass,
    replica,
    rollout::IMPAIRED_AFTER_ROUNDS,
    view::Told,
};
use model::{DeploymentId, HealthStatus, Phase, Scale, Service, Task, TaskSet, TaskSetStatus, Timestamp};

/// A service whose task sets its controller has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Its next record. `version` stays as it is, apply counts it.
    pub service: Service,
    /// What to tell.
    pub events: Vec<Told>,
}

/// One more set.
pub fn create(service: &Service, set: TaskSet) -> Changed {
    let mut next = service.clone();
    let count = set.computed_desired_count(service.desired_count);
    let told = events::computed_count_updated(&service.arn.name, set.id, count);
    next.steady = false;
    if let Some(external) = &mut next.external {
        external.sets.push(set);
    }
    Changed { service: next, events: vec![told] }
}

/// Another share for a set. A set that is not there stays away.
pub fn scale(service: &Service, id: DeploymentId, scale: Scale, now: Timestamp) -> Changed {
    recount(service, service.desired_count, now, |set| {
        if set.id == id {
            set.scale = scale;
            set.updated_at = now;
        }
    })
}

/// Another number of tasks in all.
pub fn resize(service: &Service, desired_count: u32, now: Timestamp) -> Changed {
    recount(service, desired_count, now, |_| {})
}

/// The set is the primary one, and none of the others. One that is being deleted must not be chosen.
pub fn lead(service: &Service, id: DeploymentId, now: Timestamp) -> Changed {
    recount(service, service.desired_count, now, |set| {
        let status = match (set.id == id, set.status) {
            (true, TaskSetStatus::Primary | TaskSetStatus::Active | TaskSetStatus::Draining) => TaskSetStatus::Primary,
            (false, TaskSetStatus::Primary | TaskSetStatus::Active) => TaskSetStatus::Active,
            (false, TaskSetStatus::Draining) => TaskSetStatus::Draining,
        };
        if status != set.status {
            set.status = status;
            set.updated_at = now;
        }
    })
}

/// The set stops its tasks and is gone with them.
pub fn remove(service: &Service, id: DeploymentId, now: Timestamp) -> Changed {
    recount(service, service.desired_count, now, |set| {
        if set.id == id {
            drain(set, now);
        }
    })
}

/// A set that stops all it has.
pub(super) fn drain(set: &mut TaskSet, now: Timestamp) {
    if set.status != TaskSetStatus::Draining {
        set.status = TaskSetStatus::Draining;
        set.updated_at = now;
        unsettle(set, now);
    }
}

/// Whoever asks right after a change must not be told of the steady state before it.
fn unsettle(set: &mut TaskSet, now: Timestamp) {
    if set.steady {
        set.steady = false;
        set.steady_at = now;
    }
}

fn recount(service: &Service, desired_count: u32, now: Timestamp, change: impl Fn(&mut TaskSet)) -> Changed {
    let mut next = service.clone();
    let mut events = Vec::new();
    next.desired_count = desired_count;
    for set in next.external.iter_mut().flat_map(|external| &mut external.sets) {
        let before = set.computed_desired_count(service.desired_count);
        change(set);
        let count = set.computed_desired_count(desired_count);
        if count != before {
            unsettle(set, now);
            events.push(events::computed_count_updated(&service.arn.name, set.id, count));
        }
    }
    if !events.is_empty() {
        next.steady = false;
    }
    Changed { service: next, events }
}

/// Keeps every set at its count.
pub(super) fn plan(pass: &mut Pass<'_>) {
    let ids: Vec<_> = sets(pass.service()).iter().map(|set| set.id).collect();
    let mut others = std::mem::take(&mut pass.roll.members);
    let mut kept = Vec::with_capacity(others.len());
    for id in ids {
        let text = id.to_string();
        let (own, rest): (Vec<_>, _) =
            others.into_iter().partition(|m| m.task.started_by.as_deref() == Some(text.as_str()));
        others = rest;
        pass.roll.members = own.into_iter().map(|m| Member { primary: true, ..m }).collect();
        pass.set = Some(id);
        move_tasks(pass, id);
        note_stability(pass, id);
        kept.append(&mut pass.roll.members);
    }
    pass.set = None;
    // No set, no task: one that a set has left behind has nothing to be kept for.
    pass.roll.members = others;
    stop_all(pass);
    pass.roll.members.append(&mut kept);
    forget_what_is_gone(pass);
    steady(pass);
}

fn sets(service: &Service) -> &[TaskSet] {
    service.external.as_ref().map_or(&[], |external| &external.sets)
}

fn set<'p>(pass: &'p Pass<'_>, id: DeploymentId) -> Option<&'p TaskSet> {
    pass.service().external.as_ref()?.set(id)
}

fn edit<'p>(pass: &'p mut Pass<'_>, id: DeploymentId) -> Option<&'p mut TaskSet> {
    pass.edit().external.as_mut()?.set_mut(id)
}

fn move_tasks(pass: &mut Pass<'_>, id: DeploymentId) {
    match set(pass, id).map(|set| set.status) {
        Some(TaskSetStatus::Primary | TaskSetStatus::Active) => {
            let missing = pass.roll.count(|m| !m.pending()) < pass.desired();
            if missing && pass.failures().rounds >= IMPAIRED_AFTER_ROUNDS {
                let told = events::start_impaired(pass.who());
                pass.tell(told);
            }
            replica::keep(pass);
        }
        // Deleted, as a service is deleted: protection is for those that are to stay.
        Some(TaskSetStatus::Draining) | None => stop_all(pass),
    }
}

fn stop_all(pass: &mut Pass<'_>) {
    let tasks: Vec<&Task> = pass.roll.members.iter().map(|m| m.task).collect();
    pass.stop_scaling(&tasks);
}

/// A set is in STEADY_STATE with as many running tasks as it is to have, none of them pending or on an instance that drains.
/// AWS: and all reported healthy by those who watch them, which are their health checks; where nobody does, to run is enough, without the 40 seconds that
/// minimumHealthyPercent asks for.
fn note_stability(pass: &mut Pass<'_>, id: DeploymentId) {
    let well = |health: Option<HealthStatus>| health.is_none_or(|health| health == HealthStatus::Healthy);
    let running = pass.roll.count(|m| m.task.phase == Phase::Running && well(m.task.health()) && !m.displaced);
    let leaving = pass.leave_some();
    let starts = pass.plan.starts.iter().any(|start| start.deployment == id);
    let all = number(pass.roll.members.len());
    let steady = running == pass.desired() && all == running && !leaving && !starts;
    if set(pass, id).is_none_or(|set| set.steady == steady || set.status == TaskSetStatus::Draining) {
        return;
    }
    let now = pass.now();
    if let Some(set) = edit(pass, id) {
        set.steady = steady;
        set.steady_at = now;
    }
    if steady {
        let told = events::set_steady_state(pass.who());
        pass.tell(told);
    }
}

/// A deleted set leaves with its last task.
fn forget_what_is_gone(pass: &mut Pass<'_>) {
    let gone = |set: &&TaskSet| set.status == TaskSetStatus::Draining && !pass.roll.has_tasks_of(set.id);
    let gone: Vec<_> = sets(pass.service()).iter().filter(gone).map(|set| set.id).collect();
    if !gone.is_empty()
        && let Some(external) = &mut pass.edit().external
    {
        external.sets.retain(|set| !gone.contains(&set.id));
    }
}

/// The service is steady when all of its sets are.
fn steady(pass: &mut Pass<'_>) {
    let sets = sets(pass.service());
    let settled = !sets.is_empty() && sets.iter().all(|set| set.steady) && pass.roll.leaving.is_empty();
    if settled != pass.service().steady {
        pass.edit().steady = settled;
        if settled {
            let told = events::steady_state(pass.name());
            pass.tell(told);
        }
    }
}

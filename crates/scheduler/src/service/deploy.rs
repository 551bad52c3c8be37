//! What the API asks of a service's deployments: a first one, a next one, back, an end, a deletion.
//!
//! Each is a function from record to record; ids and the time are arguments. No task is moved here: the planner sees the new
//! record and moves them. `version` stays as it is, apply counts it.

use super::{
    blue_green,
    events::{self, reason},
    task_sets,
    view::Told,
};
use model::{
    BreakerState, BreakerStatus, Deployment, DeploymentId, DeploymentRules, Failures, Phase, RevisionShare,
    RevisionSpec, Rollback, Rollout, Service, ServiceDeployment, ServiceDeploymentArn, ServiceDeploymentId,
    ServiceDeploymentStatus as Status, ServiceStatus, Task, Timestamp,
};
use std::sync::Arc;

/// The ids of a deployment to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeployment {
    /// Its own, and its revision's number.
    pub id: DeploymentId,
    /// Of its story.
    pub service_deployment: ServiceDeploymentId,
}

/// A deployment that has begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// The service's next record.
    pub service: Service,
    /// What it brings in.
    pub spec: Arc<RevisionSpec>,
    /// The new story.
    pub story: ServiceDeployment,
    /// The story that this one ended, if one was being told.
    pub superseded: Option<ServiceDeployment>,
    /// What to tell.
    pub events: Vec<Told>,
}

/// A deployment that has been turned back or ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Turned {
    /// The service's next record.
    pub service: Service,
    /// Its story's next record.
    pub story: ServiceDeployment,
    /// What to tell.
    pub events: Vec<Told>,
}

/// The first deployment of a new service, of `spec`. Whatever `service.deployments` holds is replaced by it.
pub fn first(mut service: Service, spec: Arc<RevisionSpec>, new: NewDeployment, now: Timestamp) -> Begun {
    service.spec = Some(spec.clone());
    service.deployments = vec![deployment(spec.clone(), &new, now)];
    let story = story(&service, new, Vec::new(), now);
    Begun { service, spec, story, superseded: None, events: Vec::new() }
}

/// The next deployment, of `spec`; the one before it is on its way out from now on. `old_story` is the story of the primary
/// deployment before, `tasks` are those of the service that have not STOPPED.
pub fn begin(
    service: &Service,
    spec: Arc<RevisionSpec>,
    new: NewDeployment,
    old_story: Option<&ServiceDeployment>,
    tasks: &[&Task],
    now: Timestamp,
) -> Begun {
    let mut next = service.clone();
    let mut events = Vec::new();
    if next.rebalancing > 0 {
        next.rebalancing = 0;
        events.push(events::rebalancing_stopped(&service.arn.name));
    }
    let shares = service.deployments.iter().map(|old| share(old.id, service, tasks));
    let sources = shares.filter(|share| share.running + share.pending > 0).collect();
    next.spec = Some(spec.clone());
    next.steady = false;
    next.deployments.insert(0, deployment(spec.clone(), &new, now));
    drop_what_is_over(&mut next, tasks);
    let story = story(&next, new, sources, now);
    let superseded = old_story.filter(|old| !old.status.is_over()).map(|old| {
        let mut old = old.clone();
        end(&mut old, Status::Stopped, reason::STORY_SUPERSEDED, now);
        old
    });
    Begun { service: next, spec, story, superseded, events }
}

/// Turns the primary deployment back, as StopServiceDeployment with ROLLBACK asks. None: no deployment before it was
/// COMPLETED, so there is nothing to go back to; or its story is over or on its way back already.
pub fn roll_back(service: &Service, story: &ServiceDeployment, now: Timestamp) -> Option<Turned> {
    if story.status.is_over() || story.rollback.is_some() {
        return None;
    }
    let target = rollback_target(service)?;
    let (mut service, mut story) = (service.clone(), story.clone());
    let to = turn_back(&mut service, target, reason::STOPPED_BY_USER, reason::rolling_back_by_request, now);
    story.stopped_at = Some(now);
    turn_story(&mut story, to, reason::STORY_USER_ROLLBACK, now);
    let events = vec![events::rolling_back(&service.arn.name, to)];
    Some(Turned { service, story, events })
}

/// Ends the primary deployment where it is, as StopServiceDeployment with ABORT asks: it is FAILED and launches nothing more.
/// `tasks` are those of the service that have not STOPPED. None: its story is over already.
pub fn abort(service: &Service, story: &ServiceDeployment, tasks: &[&Task], now: Timestamp) -> Option<Turned> {
    if story.status.is_over() {
        return None;
    }
    let (mut service, mut story) = (service.clone(), story.clone());
    let told = service.primary().map(|primary| events::deployment_aborted(&service.arn.name, primary.id));
    fail(&mut service, reason::STOPPED_BY_USER, now);
    story.target = share(story.target.id, &service, tasks);
    story.sources = story.sources.iter().map(|source| share(source.id, &service, tasks)).collect();
    story.stopped_at = Some(now);
    end(&mut story, Status::Stopped, reason::STOPPED_BY_USER, now);
    Some(Turned { service, story, events: told.into_iter().collect() })
}

/// Deletes a service: its tasks stop, and it is INACTIVE when they have.
pub fn delete(service: &Service, now: Timestamp) -> Service {
    let mut next = service.clone();
    next.status = ServiceStatus::Draining;
    next.desired_count = 0;
    next.rebalancing = 0;
    next.steady = false;
    next.deleted_at = Some(now);
    for set in next.external.iter_mut().flat_map(|external| &mut external.sets) {
        task_sets::drain(set, now);
    }
    next
}

fn deployment(spec: Arc<RevisionSpec>, new: &NewDeployment, now: Timestamp) -> Deployment {
    Deployment {
        id: new.id,
        spec,
        service_deployment: new.service_deployment.clone(),
        created_at: now,
        updated_at: now,
        rollout: Rollout::InProgress,
        reason: reason::in_progress(new.id),
        failures: Failures::default(),
    }
}

fn story(service: &Service, new: NewDeployment, sources: Vec<RevisionShare>, now: Timestamp) -> ServiceDeployment {
    let lifecycle = blue_green::begin(&service.rules.strategy, sources.len(), now);
    ServiceDeployment {
        arn: ServiceDeploymentArn { service: service.arn.clone(), id: new.service_deployment },
        target: RevisionShare { id: new.id, requested: service.desired_count, running: 0, pending: 0 },
        sources,
        status: Status::InProgress,
        reason: None,
        rules: service.rules.clone(),
        created_at: now,
        started_at: Some(now),
        stopped_at: None,
        finished_at: None,
        updated_at: now,
        rollback: None,
        breaker: breaker(&service.rules, service.desired_count),
        lifecycle,
    }
}

fn breaker(rules: &DeploymentRules, desired: u32) -> BreakerState {
    let status = if rules.breaker.enable { BreakerStatus::Monitoring } else { BreakerStatus::Disabled };
    BreakerState { status, failure_count: 0, threshold: rules.breaker.threshold.of(desired) }
}

/// A deployment's part in the service now.
fn share(id: DeploymentId, service: &Service, tasks: &[&Task]) -> RevisionShare {
    let text = id.to_string();
    let (mut running, mut pending) = (0, 0);
    for task in tasks.iter().filter(|task| !task.is_to_stop() && task.started_by.as_deref() == Some(text.as_str())) {
        match task.phase {
            Phase::Pending => pending += 1,
            Phase::Running => running += 1,
            Phase::Stopping { .. } | Phase::Stopped { .. } => {}
        }
    }
    let requested = blue_green::requested(service, None, id);
    RevisionShare { id, requested, running, pending }
}

/// Deployments without tasks leave, except the one to go back to; so that quick successions of them do not pile up.
fn drop_what_is_over(service: &mut Service, tasks: &[&Task]) {
    let target = rollback_target(service).and_then(|at| service.deployments.get(at)).map(|target| target.id);
    let primary = service.primary().map(|primary| primary.id);
    service.deployments.retain(|deployment| {
        let id = deployment.id.to_string();
        Some(deployment.id) == primary
            || Some(deployment.id) == target
            || tasks.iter().any(|task| task.stopped_at().is_none() && task.started_by.as_deref() == Some(id.as_str()))
    });
}

/// Where in `deployments` the newest COMPLETED one before the primary is.
pub(super) fn rollback_target(service: &Service) -> Option<usize> {
    service.deployments.iter().enumerate().skip(1).find_map(|(at, deployment)| match deployment.rollout {
        Rollout::Completed => Some(at),
        Rollout::InProgress | Rollout::Failed => None,
    })
}

/// A deployment has come that far.
pub(super) fn bring(deployment: &mut Deployment, rollout: Rollout, why: Arc<str>, now: Timestamp) {
    deployment.rollout = rollout;
    deployment.reason = why;
    deployment.updated_at = now;
}

/// The primary deployment is FAILED.
pub(super) fn fail(service: &mut Service, why: &str, now: Timestamp) {
    if let Some(primary) = service.deployments.first_mut() {
        bring(primary, Rollout::Failed, why.into(), now);
    }
    service.steady = false;
}

/// The primary deployment is FAILED, and the one at `target` is the primary again, on its way in once more. It goes on with
/// the story of the one that failed.
pub(super) fn turn_back(
    service: &mut Service,
    target: usize,
    failed: &str,
    why: impl Fn(DeploymentId) -> Arc<str>,
    now: Timestamp,
) -> DeploymentId {
    fail(service, failed, now);
    let story = service.deployments[0].service_deployment.clone();
    let mut back = service.deployments.remove(target);
    let id = back.id;
    bring(&mut back, Rollout::InProgress, why(id), now);
    back.failures = Failures::default();
    back.service_deployment = story;
    service.spec = Some(back.spec.clone());
    service.rebalancing = 0;
    service.deployments.insert(0, back);
    id
}

/// The story goes back to where it came from.
pub(super) fn turn_story(story: &mut ServiceDeployment, to: DeploymentId, why: &str, now: Timestamp) {
    story.status = Status::RollbackInProgress;
    story.reason = Some(why.into());
    story.rollback = Some(Rollback { reason: why.into(), started_at: now, to });
    story.updated_at = now;
    blue_green::turn(story, now);
}

fn end(story: &mut ServiceDeployment, status: Status, why: &str, now: Timestamp) {
    story.status = status;
    story.reason = Some(why.into());
    story.finished_at = Some(now);
    story.updated_at = now;
    story.lifecycle.iter_mut().for_each(blue_green::close);
}

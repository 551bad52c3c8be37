//! The tasks of a service, sorted by what they mean for it.
//!
//! Sorted once per pass. A task that is to stop counts for nothing any more, except that a deployment is not gone before its
//! tasks are; a task whose instance stays away can neither be healthy nor be waited for.

use super::view::{InstanceState, View};
use model::{CapacityProvider, DeploymentId, HealthStatus, Phase, Service, Task, TaskStatus, Timestamp};

/// A task that runs this long is healthy, where nothing else says what healthy is.
/// Source: `DeploymentConfiguration$minimumHealthyPercent`.
pub const HEALTHY_AFTER_MILLIS: i64 = 40_000;
/// An instance whose agent is disconnected this long has lost its tasks. Ours: an agent that restarts, or a network that
/// stumbles, is back within it; AWS itself waits until EC2 says that the instance is gone.
pub const LOST_AFTER_MILLIS: i64 = 60_000;

/// When a task without a health check that runs will count as healthy, unless it is to stop.
pub(super) fn healthy_at(task: &Task) -> Option<Timestamp> {
    let unchecked = task.health().is_none();
    match task.phase {
        Phase::Running => unchecked.then(|| began(task).plus_millis(HEALTHY_AFTER_MILLIS)),
        Phase::Pending | Phase::Stopping { .. } | Phase::Stopped { .. } => None,
    }
}

fn began(task: &Task) -> Timestamp {
    task.times.started.unwrap_or(task.times.created)
}

/// Whether a task counts as healthy.
pub fn is_healthy(task: &Task, now: Timestamp) -> bool {
    let unheeded = 0;
    !task.is_to_stop() && stage(task, unheeded, now) == Stage::Healthy
}

/// How far a task that is to run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Pending,
    /// Its health check has failed, and its grace period is over.
    Unhealthy,
    /// It runs, and is not healthy before that; none where only its check knows.
    Warming(Option<Timestamp>),
    Healthy,
}

/// A task that is to run, on an instance that is not lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) task: &'a Task,
    /// Of the primary deployment.
    pub(super) primary: bool,
    pub(super) stage: Stage,
    /// Its instance is DRAINING.
    pub(super) displaced: bool,
    /// Since when its instance's agent has been disconnected.
    pub(super) unreachable: Option<Timestamp>,
}

impl Member<'_> {
    /// What the service is to be made of: of the primary deployment, on an instance that stays.
    pub(super) fn good(&self) -> bool {
        self.primary && !self.displaced
    }
    pub(super) fn pending(&self) -> bool {
        self.stage == Stage::Pending
    }
    pub(super) fn unhealthy(&self) -> bool {
        self.stage == Stage::Unhealthy
    }
    /// What the service is to be made of, as far as anyone knows.
    pub(super) fn sound(&self) -> bool {
        self.good() && !self.unhealthy()
    }
    pub(super) fn healthy(&self) -> bool {
        self.stage == Stage::Healthy
    }
    /// Whether it takes that provider's room.
    pub(super) fn is_of(&self, provider: &CapacityProvider) -> bool {
        self.task.capacity_provider.as_ref() == Some(provider)
    }
    /// Until when it may not be stopped.
    pub(super) fn protected(&self, now: Timestamp) -> Option<Timestamp> {
        self.task.protected_until.filter(|until| *until > now)
    }
}

/// The tasks of a service.
pub(super) struct Roll<'a> {
    pub(super) members: Vec<Member<'a>>,
    /// To run, but their instance is lost.
    pub(super) lost: Vec<&'a Task>,
    /// To stop, and still there as far as anyone can tell.
    pub(super) leaving: Vec<&'a Task>,
    /// To stop, but their instance is lost: nobody waits for them.
    pub(super) given_up: Vec<&'a Task>,
    /// When the first instance that is away with one of those is given up.
    pub(super) given_up_at: Option<Timestamp>,
}

impl<'a> Roll<'a> {
    pub(super) fn of(view: &View<'a>, primary: Option<DeploymentId>) -> Self {
        let mut roll = Self {
            members: Vec::with_capacity(view.tasks.len()),
            lost: Vec::new(),
            leaving: Vec::new(),
            given_up: Vec::new(),
            given_up_at: None,
        };
        let primary = primary.map(|id| id.to_string());
        for task in view.tasks.iter().copied() {
            if task.stopped_at().is_some() {
                continue;
            }
            // One that waits for room is on no instance that could be lost.
            let state = match &task.container_instance {
                Some(instance) => view.field.instance(instance),
                None => Some(InstanceState::Active),
            };
            let lost = is_lost(state, view.now);
            match (task.is_to_stop(), lost) {
                (true, true) => roll.given_up.push(task),
                (true, false) => {
                    let given_up = unreachable(state).map(|since| since.plus_millis(LOST_AFTER_MILLIS));
                    roll.given_up_at = [roll.given_up_at, given_up].into_iter().flatten().min();
                    roll.leaving.push(task);
                }
                (false, true) => roll.lost.push(task),
                (false, false) => roll.members.push(Member {
                    task,
                    primary: primary.is_some() && task.started_by.as_deref() == primary.as_deref(),
                    stage: stage(task, grace_millis(view.service), view.now),
                    displaced: state == Some(InstanceState::Draining),
                    unreachable: unreachable(state),
                }),
            }
        }
        roll
    }

    /// Sorts by another deployment as the primary one.
    pub(super) fn regard(&mut self, primary: DeploymentId) {
        let primary = primary.to_string();
        for member in &mut self.members {
            member.primary = member.task.started_by.as_deref() == Some(primary.as_str());
        }
    }

    pub(super) fn count(&self, which: impl Fn(&Member<'a>) -> bool) -> u32 {
        number(self.members.iter().filter(|m| which(m)).count())
    }

    /// Whether a deployment still has a task that is there.
    pub(super) fn has_tasks_of(&self, deployment: DeploymentId) -> bool {
        let id = deployment.to_string();
        let mut tasks = self.members.iter().map(|m| m.task).chain(self.leaving.iter().copied());
        tasks.any(|task| task.started_by.as_deref() == Some(id.as_str()))
    }

    /// Whether a deployment has a task that nobody waits for, and that counts as running until its instance is back or deregistered.
    pub(super) fn has_runaways_of(&self, deployment: DeploymentId) -> bool {
        let id = deployment.to_string();
        let runs = |task: &&Task| task.last_status() == TaskStatus::Running;
        let mut tasks = self.given_up.iter().copied().filter(runs);
        tasks.any(|task| task.started_by.as_deref() == Some(id.as_str()))
    }

    /// Tasks that are to stop and are not the primary deployment's.
    pub(super) fn old_leaving(&self, primary: DeploymentId) -> u32 {
        let primary = primary.to_string();
        number(self.leaving.iter().filter(|t| t.started_by.as_deref() != Some(primary.as_str())).count())
    }
}

/// The one place that knows what healthy means: load balancers will be asked here. An unhealthy task is none for so long
/// after its start.
fn stage(task: &Task, grace_millis: i64, now: Timestamp) -> Stage {
    match task.phase {
        Phase::Running => {}
        Phase::Pending | Phase::Stopping { .. } | Phase::Stopped { .. } => return Stage::Pending,
    }
    let by_time = |at: Timestamp, then: Stage| if at <= now { then } else { Stage::Warming(Some(at)) };
    match task.health() {
        None => by_time(began(task).plus_millis(HEALTHY_AFTER_MILLIS), Stage::Healthy),
        Some(HealthStatus::Healthy) => Stage::Healthy,
        Some(HealthStatus::Unknown) => Stage::Warming(None),
        Some(HealthStatus::Unhealthy) => by_time(began(task).plus_millis(grace_millis), Stage::Unhealthy),
    }
}

fn grace_millis(service: &Service) -> i64 {
    i64::from(service.health_check_grace_seconds.unwrap_or(0)) * 1000
}

fn is_lost(state: Option<InstanceState>, now: Timestamp) -> bool {
    match state {
        None => true,
        Some(InstanceState::Active | InstanceState::Draining) => false,
        Some(InstanceState::Unreachable { since }) => since.plus_millis(LOST_AFTER_MILLIS) <= now,
    }
}

fn unreachable(state: Option<InstanceState>) -> Option<Timestamp> {
    match state {
        None | Some(InstanceState::Active | InstanceState::Draining) => None,
        Some(InstanceState::Unreachable { since }) => Some(since),
    }
}

/// Sorts by age, the oldest first: what is chosen must not hang on the order in which the caller's rows come. Only where
/// something is chosen, for most passes choose nothing.
pub(super) fn by_age(members: &mut [Member<'_>]) {
    members.sort_by(|a, b| (a.task.times.created, &a.task.arn.id).cmp(&(b.task.times.created, &b.task.arn.id)));
}

/// A count of tasks. A service has far fewer than fit.
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

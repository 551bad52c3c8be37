//! What a container waits for before it is made, and which ones have to end before it is told to.
//!
//! The rules are the original agent's (ecs-agent `engine/dependencygraph`): images are pulled at once, and what is made waits
//! for its dependencies; a dependency that can no longer come true fails what waits for it; tasks stop in reverse order. Health
//! counts at the start only. Deliberately different: the time of `startTimeout` runs from when both the dependency has started
//! and the image of what waits is here, so that a slow pull takes nothing from it.

use super::{ContainerState, Phase, TaskState, limits};
use model::{DependencyCondition, HealthStatus, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A container that another one depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Its position in the task.
    pub at: usize,
    /// What is waited for.
    pub condition: DependencyCondition,
}

/// Whether a container may be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// All it depends on has come.
    Now,
    /// Something is still to come, at the latest at that time if there is one.
    Later(Option<Timestamp>),
    /// Something will never come; the reason.
    Never(Arc<str>),
}

impl TaskState {
    /// Whether it is the turn of the container at that position, which waits since then.
    pub(super) fn turn(&self, at: usize, since: Timestamp, now: Timestamp) -> Turn {
        let mut first: Option<Timestamp> = None;
        let mut later = false;
        for dependency in &self.containers[at].depends_on {
            let Some(on) = self.containers.get(dependency.at) else { continue };
            match on.has_come(dependency.condition) {
                Some(true) => {}
                Some(false) => return Turn::Never(never(on, dependency.condition)),
                None => {
                    later = true;
                    let by = on.wait_limit(dependency.condition, since, now);
                    if by.is_some_and(|by| by <= now) {
                        return Turn::Never(too_late(on, dependency.condition));
                    }
                    first = first.into_iter().chain(by).min();
                }
            }
        }
        if later { Turn::Later(first) } else { Turn::Now }
    }

    /// Whether something that is not over yet depends on it.
    pub(super) fn is_needed(&self, at: usize) -> bool {
        let needs = |c: &ContainerState| c.depends_on.iter().any(|dependency| dependency.at == at);
        self.containers.iter().any(|c| (!c.is_over() && needs(c)) || (c.routed_by == Some(at) && !c.is_drained()))
    }
}

impl ContainerState {
    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Removing { .. } | Phase::Gone)
    }

    /// Nothing of it is left; its router waits for the rest of its output.
    pub(super) fn gone(&mut self, now: Timestamp) {
        self.phase = Phase::Gone;
        self.drained_by = self.routed_by.map(|_| now.plus_millis(limits::DRAIN));
    }

    /// Another agent gives it the time anew.
    pub(super) fn drain_anew(&mut self, now: Timestamp) {
        self.drained_by = self.drained_by.map(|_| now.plus_millis(limits::DRAIN));
    }

    /// Whether nothing more of its output comes, or is waited for.
    fn is_drained(&self) -> bool {
        self.phase == Phase::Gone && (!self.logs_open || self.drained_by.is_none())
    }

    /// Whether a condition holds for it; `None` while that is open.
    fn has_come(&self, condition: DependencyCondition) -> Option<bool> {
        let ran = self.started.is_some();
        match condition {
            DependencyCondition::Start => {
                if ran {
                    Some(true)
                } else {
                    self.is_over().then_some(false)
                }
            }
            DependencyCondition::Complete => self.is_over().then_some(ran),
            DependencyCondition::Success => self.is_over().then_some(ran && self.exit_code == Some(0)),
            DependencyCondition::Healthy => {
                let healthy = self.watch.as_ref().is_some_and(|watch| watch.health.status == HealthStatus::Healthy);
                if self.is_over() { Some(false) } else { healthy.then_some(true) }
            }
        }
    }

    /// When what waits for it gives up. AWS: a start is not waited for by this clock; it has its own.
    fn wait_limit(&self, condition: DependencyCondition, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match condition {
            DependencyCondition::Start => None,
            DependencyCondition::Complete | DependencyCondition::Success | DependencyCondition::Healthy => {
                // A clock that was set back does not make the time longer.
                let started = self.started?.min(now);
                Some(started.max(since).plus_millis(i64::from(self.start_timeout?) * 1000))
            }
        }
    }
}

fn never(on: &ContainerState, condition: DependencyCondition) -> Arc<str> {
    let name = &on.name;
    let why = match (on.started.is_some(), condition, on.exit_code) {
        (false, _, _) => "did not start".to_owned(),
        (true, DependencyCondition::Success, Some(code)) => format!("did not exit successfully (exit code {code})"),
        (true, _, _) => "has ended".to_owned(),
    };
    format!("ContainerDependencyError: container '{name}', waited for as {}, {why}", condition.as_str()).into()
}

fn too_late(on: &ContainerState, condition: DependencyCondition) -> Arc<str> {
    let (name, seconds) = (&on.name, on.start_timeout.unwrap_or_default());
    let condition = condition.as_str();
    format!("ContainerDependencyError: container '{name}' was not {condition} within its startTimeout of {seconds} s")
        .into()
}

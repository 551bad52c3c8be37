//! The one place where a task moves: what a node saw is laid over what is known.
//!
//! Observations are level-triggered: each tells the whole of what the agent knows of a task. They may come late, twice or
//! out of order; a phase never goes back, and what was once known (an exit code, a start time) is never unlearned.

use crate::{
    Container, ContainerStatus, Desired, NetworkBinding, Phase, Stop, StopCode, Task, TaskArn, TaskStatus, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What an agent says of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskObservation {
    /// Which task.
    pub task: TaskArn,
    /// How far it has come.
    pub status: ObservedStatus,
    /// Its containers, those it knows.
    #[serde(default)]
    pub containers: Vec<ContainerObservation>,
    /// When the first image pull began.
    #[serde(default)]
    pub pull_started: Option<Timestamp>,
    /// When the last image pull ended.
    #[serde(default)]
    pub pull_stopped: Option<Timestamp>,
    /// When the first essential container ended.
    #[serde(default)]
    pub execution_stopped: Option<Timestamp>,
}

/// How far the agent has brought a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservedStatus {
    /// Taken over, not all essential containers run yet.
    Pending,
    /// All essential containers run.
    Running,
    /// Containers are being stopped; the cause as the agent sees it.
    Stopping(Stop),
    /// Nothing of it is left.
    Stopped(Stop),
}

/// What an agent says of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // As in `Container`.
pub struct ContainerObservation {
    pub name: Arc<str>,
    pub status: ContainerStatus,
    #[serde(default)]
    pub runtime_id: Option<Arc<str>>,
    #[serde(default)]
    pub image_digest: Option<Arc<str>>,
    #[serde(default)]
    pub exit_code: Option<i32>,
    #[serde(default)]
    pub reason: Option<Arc<str>>,
    #[serde(default)]
    pub network_bindings: Vec<NetworkBinding>,
}

/// Longest `reason` that is kept. Source: `Container$reason`.
pub const MAX_REASON_CHARS: usize = 1024;

/// The text, cut to what ECS keeps of a reason.
pub fn trim_reason(text: &str) -> Arc<str> {
    match text.char_indices().nth(MAX_REASON_CHARS) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    }
}

impl Task {
    /// Asks the task to stop. The first cause stays; a task that ends already is left as it is. True if anything changed.
    pub fn request_stop(&mut self, why: Stop, now: Timestamp) -> bool {
        match (&self.desired, &self.phase) {
            (Desired::Running, Phase::Pending | Phase::Running) => {
                self.desired = Desired::Stopped(why);
                self.times.stopping.get_or_insert(now);
                self.version += 1;
                true
            }
            (Desired::Stopped(_), _) | (Desired::Running, Phase::Stopping { .. } | Phase::Stopped { .. }) => false,
        }
    }

    /// Lays an observation over what is known. True if anything visible changed; a late or repeated one changes nothing.
    pub fn advance(&mut self, seen: &TaskObservation, now: Timestamp) -> bool {
        if self.stopped_at().is_some() {
            return false;
        }
        let before = (self.phase.clone(), self.times.clone(), self.containers.clone());
        self.times.pull_started = self.times.pull_started.or(seen.pull_started);
        self.times.pull_stopped = self.times.pull_stopped.or(seen.pull_stopped);
        self.times.execution_stopped = self.times.execution_stopped.or(seen.execution_stopped);
        self.times.connectivity.get_or_insert(now);
        for observed in &seen.containers {
            if let Some(container) = self.containers.iter_mut().find(|c| c.name == observed.name) {
                container.advance(observed);
            }
        }
        self.advance_phase(&seen.status, now);
        let changed = before != (self.phase.clone(), self.times.clone(), self.containers.clone());
        if changed {
            self.version += 1;
        }
        changed
    }

    /// Ends a task whose node can no longer say anything of it.
    pub fn end_without_node(&mut self, why: Stop, now: Timestamp) -> bool {
        if self.stopped_at().is_some() {
            return false;
        }
        let why = self.stop().cloned().unwrap_or(why);
        self.stop_at(why, now);
        self.version += 1;
        true
    }

    fn advance_phase(&mut self, seen: &ObservedStatus, now: Timestamp) {
        match seen {
            ObservedStatus::Pending => {}
            ObservedStatus::Running => {
                if self.phase == Phase::Pending {
                    self.phase = Phase::Running;
                    self.times.started = Some(now);
                }
            }
            ObservedStatus::Stopping(why) => {
                if self.last_status() < TaskStatus::Stopping {
                    let why = self.stop().cloned().unwrap_or_else(|| why.clone());
                    self.times.stopping.get_or_insert(now);
                    self.phase = Phase::Stopping { why };
                }
            }
            ObservedStatus::Stopped(why) => {
                let why = self.stop().cloned().unwrap_or_else(|| why.clone());
                self.stop_at(why, now);
            }
        }
    }

    fn stop_at(&mut self, why: Stop, at: Timestamp) {
        self.times.stopping.get_or_insert(at);
        if self.times.started.is_some() {
            self.times.execution_stopped.get_or_insert(at);
        }
        for container in &mut self.containers {
            container.status = ContainerStatus::Stopped;
        }
        self.phase = Phase::Stopped { at, why };
    }
}

impl Container {
    fn advance(&mut self, seen: &ContainerObservation) {
        self.status = self.status.max(seen.status);
        self.runtime_id = seen.runtime_id.clone().or_else(|| self.runtime_id.take());
        self.image_digest = seen.image_digest.clone().or_else(|| self.image_digest.take());
        self.exit_code = self.exit_code.or(seen.exit_code);
        if self.reason.is_none() {
            self.reason = seen.reason.as_deref().map(trim_reason);
        }
        if !seen.network_bindings.is_empty() {
            self.network_bindings.clone_from(&seen.network_bindings);
        }
    }
}

/// The causes that agents name, in the original's words.
impl Stop {
    /// An essential container ended by itself.
    pub fn essential_exited() -> Self {
        Self { code: StopCode::EssentialContainerExited, reason: "Essential container in task exited".into() }
    }
    /// It never came to run.
    pub fn failed_to_start() -> Self {
        Self { code: StopCode::TaskFailedToStart, reason: "Task failed to start".into() }
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;

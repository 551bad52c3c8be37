//! The one place where a task moves: what a node saw is laid over what is known.
//!
//! Observations are level-triggered: each tells the whole of what the agent knows of a task. They may come late, twice or
//! out of order; a phase never goes back, and what was once known (an exit code, a start time) is never unlearned.

use crate::{
    AttachmentState, Container, ContainerStatus, Desired, Health, NetworkBinding, Phase, Stop, StopCode, Task, TaskArn,
    TaskStatus, TaskTimes, Timestamp,
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
    /// How far its network interface has come, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<AttachmentState>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
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
        let now = self.no_earlier(now);
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
        let now = self.no_earlier(now);
        let seen_before = |task: &Self| {
            let attachment = task.attachment.as_ref().map(|attachment| attachment.state);
            (task.phase.clone(), task.times.clone(), task.containers.clone(), attachment)
        };
        let before = seen_before(self);
        self.times.learn(seen, now);
        for observed in &seen.containers {
            if let Some(container) = self.containers.iter_mut().find(|c| c.name == observed.name) {
                container.advance(observed);
            }
        }
        if let (Some(attachment), Some(seen)) = (&mut self.attachment, seen.attachment) {
            attachment.state = attachment.state.max(seen);
        }
        self.advance_phase(&seen.status, now);
        let changed = before != seen_before(self);
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
        self.stop_at(why, self.no_earlier(now));
        if let Some(attachment) = &mut self.attachment {
            attachment.lost = true;
        }
        self.version += 1;
        true
    }

    /// The moment at which something happens to this task: not before anything that happened to it, though a clock was set
    /// back since, or is another machine's.
    fn no_earlier(&self, now: Timestamp) -> Timestamp {
        now.max(self.times.all().into_iter().flatten().max().unwrap_or(self.times.created))
    }

    /// Whether its times are in the order in which things happen to a task.
    pub fn times_run_forward(&self) -> bool {
        let TaskTimes { created, pull_started, pull_stopped, started, stopping, execution_stopped, connectivity } =
            &self.times;
        let (first, last) = (Some(*created), self.stopped_at());
        let in_order = |moments: &[Option<Timestamp>]| moments.iter().flatten().is_sorted();
        in_order(&[first, *pull_started, *pull_stopped, *started, *execution_stopped, last])
            && in_order(&[first, *stopping, last])
            && in_order(&[first, *connectivity, last])
    }

    fn advance_phase(&mut self, seen: &ObservedStatus, now: Timestamp) {
        match seen {
            ObservedStatus::Pending => {}
            ObservedStatus::Running => {
                if self.phase == Phase::Pending {
                    self.phase = Phase::Running;
                    self.times.started = Some(self.times.execution_stopped.map_or(now, |ended| ended.min(now)));
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
        if let Some(attachment) = &mut self.attachment {
            attachment.state = AttachmentState::Deleted;
        }
        self.waiting = None;
        self.phase = Phase::Stopped { at, why };
    }
}

impl TaskTimes {
    fn all(&self) -> [Option<Timestamp>; 7] {
        let Self { created, pull_started, pull_stopped, started, stopping, execution_stopped, connectivity } = self;
        [Some(*created), *pull_started, *pull_stopped, *started, *stopping, *execution_stopped, *connectivity]
    }

    /// Takes over what the node says. Its clock is not ours: each moment is moved to where it can have been.
    fn learn(&mut self, seen: &TaskObservation, now: Timestamp) {
        let before_start = [self.started, self.execution_stopped].into_iter().flatten().min().unwrap_or(now).min(now);
        let place = |moment: Option<Timestamp>, after: Timestamp, before: Timestamp| {
            moment.map(|moment| moment.min(before).max(after))
        };
        let begin = self.created;
        self.pull_started =
            self.pull_started.or(place(seen.pull_started, begin, self.pull_stopped.unwrap_or(before_start)));
        let begin = self.pull_started.unwrap_or(begin);
        self.pull_stopped = self.pull_stopped.or(place(seen.pull_stopped, begin, before_start));
        let begin = self.started.or(self.pull_stopped).unwrap_or(begin);
        self.execution_stopped = self.execution_stopped.or(place(seen.execution_stopped, begin, now));
        self.connectivity.get_or_insert(now);
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
        // One whose definition has no check has no health, whatever is said.
        if let (Some(known), Some(seen)) = (&mut self.health, seen.health) {
            known.advance(seen);
        }
    }
}

/// The causes that agents name, in the original's words.
impl Stop {
    /// An essential container ended by itself.
    pub fn essential_exited() -> Self {
        Self { code: StopCode::EssentialContainerExited, reason: "Essential container in task exited".into() }
    }
    /// Others need its room. Source: "Amazon ECS clusters for Fargate" in the developer guide.
    pub fn spot_interruption() -> Self {
        Self { code: StopCode::SpotInterruption, reason: "Your Spot Task was interrupted.".into() }
    }
    /// It never came to run.
    pub fn failed_to_start() -> Self {
        Self { code: StopCode::TaskFailedToStart, reason: "Task failed to start".into() }
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;

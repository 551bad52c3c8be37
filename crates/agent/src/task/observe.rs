//! What the server is told of a task: the whole of what is known, derived from the state alone.

use super::{ContainerState, End, Interface, Phase, TaskState};
use model::{AttachmentState, ContainerObservation, ContainerStatus, ObservedStatus, Stop, TaskArn, TaskObservation};

impl TaskState {
    /// The observation this state is.
    pub fn observe(&self, task: &TaskArn) -> TaskObservation {
        TaskObservation {
            task: task.clone(),
            status: self.status(),
            containers: self.containers.iter().map(ContainerState::observe).collect(),
            pull_started: self.pull_started,
            pull_stopped: self.pull_stopped,
            execution_stopped: self.execution_stopped,
            attachment: self.attachment(),
        }
    }

    fn attachment(&self) -> Option<AttachmentState> {
        let interface = self.interface?;
        Some(match (self.end, interface) {
            (End::Cleared | End::Forgotten, _) => AttachmentState::Deleted,
            (End::Clearing { .. }, _) => AttachmentState::Detaching,
            (End::Live, Interface::Waiting | Interface::Attaching { .. }) => AttachmentState::Precreated,
            (End::Live, Interface::Attached) => AttachmentState::Attached,
        })
    }

    fn status(&self) -> ObservedStatus {
        let Some(stop) = &self.stop else {
            let runs = |c: &ContainerState| !c.essential || c.status() == ContainerStatus::Running;
            return if self.containers.iter().all(runs) { ObservedStatus::Running } else { ObservedStatus::Pending };
        };
        let stop = if self.unstoppable {
            // AWS: task_manager.go of the original.
            Stop { code: stop.code, reason: "TaskStateError: Agent could not progress task's state to stopped".into() }
        } else {
            stop.clone()
        };
        if self.is_stopped() { ObservedStatus::Stopped(stop) } else { ObservedStatus::Stopping(stop) }
    }

    /// Nothing of it holds the instance's resources any more, or all was tried for long enough.
    pub fn is_stopped(&self) -> bool {
        match self.end {
            End::Live => self.containers.iter().all(|c| match c.phase {
                Phase::Gone => true,
                Phase::Removing { .. } => self.overdue,
                Phase::Waiting
                | Phase::Pulling { .. }
                | Phase::Held { .. }
                | Phase::Connecting { .. }
                | Phase::Creating { .. }
                | Phase::Starting { .. }
                | Phase::Running { .. }
                | Phase::Stopping { .. }
                | Phase::Killing { .. } => false,
            }),
            End::Clearing { .. } => self.overdue,
            End::Cleared | End::Forgotten => true,
        }
    }
}

impl ContainerState {
    /// ECS's status of it.
    pub fn status(&self) -> ContainerStatus {
        match self.phase {
            Phase::Creating { .. } | Phase::Starting { .. } if self.is_restarting() => ContainerStatus::Running,
            Phase::Waiting
            | Phase::Pulling { .. }
            | Phase::Held { .. }
            | Phase::Connecting { .. }
            | Phase::Creating { .. }
            | Phase::Starting { .. } => ContainerStatus::Pending,
            Phase::Running { .. } | Phase::Stopping { .. } | Phase::Killing { .. } => ContainerStatus::Running,
            Phase::Removing { .. } | Phase::Gone => ContainerStatus::Stopped,
        }
    }

    fn observe(&self) -> ContainerObservation {
        ContainerObservation {
            name: self.name.clone(),
            status: self.status(),
            runtime_id: self.created.map(|_| self.runtime_id.clone()),
            image_digest: self.pulled.as_ref().map(|p| p.digest.clone()),
            exit_code: self.exit_code,
            reason: self.reason.as_deref().map(model::lifecycle::trim_reason),
            network_bindings: self.endpoint.as_ref().map(|e| e.bindings.clone()).unwrap_or_default(),
            health: self.watch.as_ref().map(|watch| watch.health),
        }
    }
}

//! What the containers of a task share besides its network: processes, and System V and POSIX IPC.
//!
//! The texts are AWS's where it is known what they are.

use crate::{InvalidDefinition, TaskDefinitionSpec, definition_rules::refuse};
use serde::{Deserialize, Serialize};

/// Which processes a task's containers see. Without one, each sees its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PidMode {
    /// All of the instance.
    Host,
    /// Those of all the task's containers.
    Task,
}

/// Whose IPC a task's containers have. Without one, each has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpcMode {
    /// The instance's.
    Host,
    /// One for all the task's containers, `/dev/shm` with it.
    Task,
    /// Each its own, and no `/dev/shm`.
    None,
}

impl PidMode {
    /// All, by AWS's words and in its order.
    pub const ALL: [(&'static str, Self); 2] = [("task", Self::Task), ("host", Self::Host)];

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Task => "task",
        }
    }
}

impl IpcMode {
    /// All, by AWS's words and in its order.
    pub const ALL: [(&'static str, Self); 3] = [("task", Self::Task), ("host", Self::Host), ("none", Self::None)];

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Task => "task",
            Self::None => "none",
        }
    }
}

impl TaskDefinitionSpec {
    /// What a task's IPC rules out of what its containers say.
    pub(crate) fn check_sharing(&self) -> Result<(), InvalidDefinition> {
        let Some(mode) = self.ipc_mode else { return Ok(()) };
        let has_own = match mode {
            IpcMode::Host | IpcMode::None => false,
            IpcMode::Task => true,
        };
        for c in &self.containers {
            let not = |what: &str| {
                let mode = mode.as_str();
                refuse(format!(
                    "Invalid setting for container '{}'. {what} is not supported when ipcMode={mode}.",
                    c.name
                ))
            };
            if !has_own && c.linux_parameters.as_ref().is_some_and(|linux| linux.shared_memory_size.is_some()) {
                return not("'sharedMemorySize'");
            }
            let ipc = c.system_controls.iter().find(|control| !control.is_of_network());
            if let (IpcMode::Host, Some(control)) = (mode, ipc) {
                return not(&format!("systemControls '{}'", control.namespace));
            }
        }
        Ok(())
    }

    /// What it may not share on Fargate.
    pub(crate) fn check_sharing_on_fargate(&self) -> Result<(), InvalidDefinition> {
        if self.pid_mode == Some(PidMode::Host) {
            return refuse(
                "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is \
                 'task'.",
            );
        }
        match self.ipc_mode {
            Some(_) => refuse("Tasks using the Fargate launch type do not support ipcMode."),
            None => Ok(()),
        }
    }
}

//! What an agent asks on behalf of one of its tasks, and what the server answers. A server that answers says so in its
//! [`Welcome`](crate::Welcome); others would not know the message.

use crate::provision::{Provision, RoleCredentials};
use model::{Tags, TaskArn, Timestamp};
use serde::{Deserialize, Serialize};

/// A question. The server answers only for tasks of the instance that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Its tags, and those of its instance.
    Tags {
        /// The task.
        task: TaskArn,
    },
    /// Whether it is protected.
    Protection {
        /// The task.
        task: TaskArn,
    },
    /// Protect it, or no longer.
    Protect {
        /// The task.
        task: TaskArn,
        /// Whether it shall be protected.
        enabled: bool,
        /// For how long; the API's own time without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        minutes: Option<i64>,
    },
    /// What its containers are given. Asked by the agent itself, before it makes them.
    Provision {
        /// The task.
        task: TaskArn,
    },
    /// The secrets that its containers have as files, as they are now. Asked only after `Refresh`, by which a server says that it
    /// answers this.
    Secrets {
        /// The task.
        task: TaskArn,
    },
    /// The credentials of its role. Asked only for tasks whose definition or overrides name one, which a server that answers
    /// this alone assigns.
    Credentials {
        /// The task.
        task: TaskArn,
    },
    /// The credentials of the role in the profile of the instance that asks. Asked only where the machine's host has said that
    /// there is one.
    InstanceCredentials {},
}

impl Question {
    /// Which task it is about; none if it is about the instance itself.
    pub fn task(&self) -> Option<&TaskArn> {
        match self {
            Self::Tags { task }
            | Self::Protection { task }
            | Self::Protect { task, .. }
            | Self::Provision { task }
            | Self::Secrets { task }
            | Self::Credentials { task } => Some(task),
            Self::InstanceCredentials {} => None,
        }
    }
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `Tags`.
    Tags {
        /// Of the task.
        task: Tags,
        /// Of the instance.
        container_instance: Tags,
    },
    /// To `Protection` and `Protect`.
    Protection {
        /// Until when it is protected, if it is.
        until: Option<Timestamp>,
    },
    /// To `Provision`; to `Secrets` with nothing else.
    Provision(Provision),
    /// To `Provision`: the task cannot start, and this is why. To `Secrets`: they cannot be had now.
    Unprovided {
        /// Its stop reason.
        reason: String,
    },
    /// To `Credentials` and `InstanceCredentials`.
    Credentials(RoleCredentials),
    /// The API would have told a failure.
    Failure {
        /// AWS's word.
        reason: String,
        /// For people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// The API would have refused it.
    Refused {
        /// HTTP's.
        status: u16,
        /// AWS's.
        code: String,
        /// For people.
        message: String,
    },
}

//! A task: containers that run together on one instance, once.
//!
//! Two facts with two writers: `desired` belongs to the API and the planners, `phase` to the node's reports. What AWS
//! shows as `desiredStatus` is derived from both, because an essential container's exit also ends a task's desire to run.

use crate::{
    Attachment, AttachmentState, AwsvpcConfiguration, CapacityProvider, ContainerArn, ContainerInstanceArn,
    ContainerInstanceId, CpuUnits, Health, ManagedVolume, MemoryMib, PlacementConstraint, PlacementStrategy, Protocol,
    Reservation, Tags, TaskArn, TaskDefinitionArn, Timestamp,
    fargate::{self, Platform, Size},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A task. Where the instance named by `container_instance` is registered, [`Task::instance_arn`] says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its ARN.
    pub arn: TaskArn,
    /// The revision it runs.
    pub definition: TaskDefinitionArn,
    /// Where it was placed; nowhere while it waits for room, and if it stopped then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_instance: Option<ContainerInstanceId>,
    /// By what it is to be placed when there is room, as long as it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Box<Waiting>>,
    /// The zone of that instance.
    #[serde(default)]
    pub availability_zone: Option<Arc<str>>,
    /// How it was launched.
    pub launch_type: LaunchType,
    /// The capacity provider that a strategy chose for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_provider: Option<CapacityProvider>,
    /// What Fargate runs it on; of other launch types none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The disk it has on Fargate, in GiB; of other launch types none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_gib: Option<u32>,
    /// `family:…`, `service:…` or what the caller chose.
    pub group: Arc<str>,
    /// Who started it, as given.
    #[serde(default)]
    pub started_by: Option<Arc<str>>,
    /// What its caller changed.
    #[serde(default)]
    pub overrides: TaskOverrides,
    /// What it holds on the instance until it has stopped.
    pub reservation: Reservation,
    /// What the control plane wants of it.
    pub desired: Desired,
    /// How far it has come.
    pub phase: Phase,
    /// Counts every visible change, from 1.
    pub version: u64,
    /// In the definition's order.
    pub containers: Vec<Container>,
    /// When things happened.
    pub times: TaskTimes,
    /// Its network interface, in mode `awsvpc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Box<Attachment>>,
    /// The volume it was given at launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Box<ManagedVolume>>,
    /// Whether commands may be run in its containers from outside.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub execute_command: bool,
    /// Until when neither a deployment nor scaling in may stop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected_until: Option<Timestamp>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// Tasks that may wait for room in one cluster. Source: the quotas of ECS.
pub const MAX_WAITING: usize = 300;

/// By what a task is to be placed that waits for room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Waiting {
    /// What binds, besides its definition's constraints.
    pub constraints: Vec<PlacementConstraint>,
    /// What is wished.
    pub strategy: Vec<PlacementStrategy>,
    /// Where its interface shall be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Arc<AwsvpcConfiguration>>,
}

/// How a task was launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LaunchType {
    /// On container instances.
    Ec2,
    /// On machines an operator attached.
    External,
    /// On machines that no client sees.
    Fargate,
}

impl LaunchType {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::External => "EXTERNAL",
            Self::Fargate => "FARGATE",
        }
    }
}

/// Why a task stops, as a code. Source: `TaskStopCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // AWS's names say it.
pub enum StopCode {
    TaskFailedToStart,
    EssentialContainerExited,
    UserInitiated,
    ServiceSchedulerInitiated,
    TerminationNotice,
    SpotInterruption,
}

impl StopCode {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TaskFailedToStart => "TaskFailedToStart",
            Self::EssentialContainerExited => "EssentialContainerExited",
            Self::UserInitiated => "UserInitiated",
            Self::ServiceSchedulerInitiated => "ServiceSchedulerInitiated",
            Self::TerminationNotice => "TerminationNotice",
            Self::SpotInterruption => "SpotInterruption",
        }
    }
}

/// Why a task stops: the code and the words shown with it, at most 1,024 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The code.
    pub code: StopCode,
    /// The words.
    pub reason: Arc<str>,
}

/// What the control plane wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// That it runs.
    Running,
    /// That it stops, and why. Never taken back.
    Stopped(Stop),
}

/// How far a task has come. It only moves down this list; `lifecycle` holds the one function that moves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Placed; the agent has yet to start it.
    Pending,
    /// All essential containers run.
    Running,
    /// The agent is stopping its containers.
    Stopping {
        /// Why.
        why: Stop,
    },
    /// Nothing of it is left on the instance.
    Stopped {
        /// When the server learned it.
        at: Timestamp,
        /// Why.
        why: Stop,
    },
}

/// AWS's `lastStatus` words that occur here, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum TaskStatus {
    Provisioning,
    Pending,
    Running,
    Stopping,
    Deprovisioning,
    Stopped,
}

impl TaskStatus {
    /// Whether it counts among those that have yet to run. AWS: a service counts those that are PROVISIONING too.
    pub fn is_pending(self) -> bool {
        self < Self::Running
    }

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// When things happened to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
#[allow(missing_docs)] // AWS's members of the same names.
pub struct TaskTimes {
    pub created: Timestamp,
    pub pull_started: Option<Timestamp>,
    pub pull_stopped: Option<Timestamp>,
    pub started: Option<Timestamp>,
    /// The moment its stop was asked for or an essential container ended.
    pub stopping: Option<Timestamp>,
    /// When the first essential container ended.
    pub execution_stopped: Option<Timestamp>,
    /// When the agent first confirmed that it holds the task.
    pub connectivity: Option<Timestamp>,
}

/// What a caller changed for one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
#[allow(missing_docs)] // AWS's members of the same names.
pub struct TaskOverrides {
    pub containers: Vec<ContainerOverride>,
    pub cpu: Option<CpuUnits>,
    pub memory: Option<MemoryMib>,
    pub execution_role_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_role_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_gib: Option<u32>,
}

/// What a caller changed for one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ContainerOverride {
    pub name: String,
    pub command: Option<Vec<String>>,
    pub environment: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment_files: Vec<String>,
    pub cpu: Option<CpuUnits>,
    pub memory: Option<MemoryMib>,
    pub memory_reservation: Option<MemoryMib>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
}

/// One container of a task, as last reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its ARN.
    pub arn: ContainerArn,
    /// Its name in the definition.
    pub name: Arc<str>,
    /// Its image as the definition names it.
    pub image: Arc<str>,
    /// The digest that was run.
    #[serde(default)]
    pub image_digest: Option<Arc<str>>,
    /// The runtime's id of it.
    #[serde(default)]
    pub runtime_id: Option<Arc<str>>,
    /// How far it has come.
    pub status: ContainerStatus,
    /// Its exit code, if it ever ran.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// `Name: message` of what went wrong, at most 1,024 characters.
    #[serde(default)]
    pub reason: Option<Arc<str>>,
    /// Published ports.
    #[serde(default)]
    pub network_bindings: Vec<NetworkBinding>,
    /// Whether the task ends with it.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub essential: bool,
    /// What its check has found, if its definition has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// What a record says that was written before it could say anything else.
fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it so.
fn is_true(value: &bool) -> bool {
    *value
}

/// How far a container has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ContainerStatus {
    Pending,
    Running,
    Stopped,
}

impl ContainerStatus {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// A published port as the agent made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct NetworkBinding {
    pub bind_ip: Arc<str>,
    pub container_port: u16,
    pub host_port: u16,
    pub protocol: Protocol,
    /// `first-last` in the container, for a mapping that was a range; the two ports above are then the range's first.
    #[serde(default)]
    pub container_port_range: Option<Arc<str>>,
    /// `first-last` on the host.
    #[serde(default)]
    pub host_port_range: Option<Arc<str>>,
}

impl Task {
    /// The instance it is on: of its own cluster, or of the Fargate pool of its region. None as long as it waits for room.
    pub fn instance_arn(&self) -> Option<ContainerInstanceArn> {
        let cluster = match self.launch_type {
            LaunchType::Ec2 | LaunchType::External => self.arn.cluster.clone(),
            LaunchType::Fargate => fargate::pool(&self.arn.cluster.scope),
        };
        Some(ContainerInstanceArn { cluster, id: self.container_instance.clone()? })
    }

    /// Whether it waits for an instance that has room.
    pub fn waits(&self) -> bool {
        self.waiting.is_some() && self.holds_resources()
    }

    /// Whether Fargate may take its room back.
    pub fn is_spot(&self) -> bool {
        self.capacity_provider == Some(CapacityProvider::FargateSpot)
    }

    /// What it asked Fargate for, which is what it holds: none of other launch types.
    pub fn fargate_size(&self) -> Option<Size> {
        let Reservation { cpu, memory, .. } = self.reservation;
        (self.launch_type == LaunchType::Fargate).then_some(Size { cpu, memory })
    }

    /// AWS's `lastStatus`.
    pub fn last_status(&self) -> TaskStatus {
        let attached = |state| self.attachment.as_ref().is_some_and(|attachment| attachment.state == state);
        match self.phase {
            Phase::Pending if self.waiting.is_some() || attached(AttachmentState::Precreated) => {
                TaskStatus::Provisioning
            }
            Phase::Pending => TaskStatus::Pending,
            Phase::Running => TaskStatus::Running,
            Phase::Stopping { .. } if attached(AttachmentState::Detaching) => TaskStatus::Deprovisioning,
            Phase::Stopping { .. } => TaskStatus::Stopping,
            Phase::Stopped { .. } => TaskStatus::Stopped,
        }
    }

    /// AWS's `desiredStatus` is STOPPED: the control plane wants it stopped, or it is ending by itself.
    pub fn is_to_stop(&self) -> bool {
        self.stop().is_some()
    }

    /// Why it stops or stopped; the first cause counts.
    pub fn stop(&self) -> Option<&Stop> {
        match (&self.phase, &self.desired) {
            (Phase::Stopping { why } | Phase::Stopped { why, .. }, Desired::Running | Desired::Stopped(_)) => Some(why),
            (Phase::Pending | Phase::Running, Desired::Stopped(why)) => Some(why),
            (Phase::Pending | Phase::Running, Desired::Running) => None,
        }
    }

    /// When it stopped.
    pub fn stopped_at(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Stopped { at, .. } => Some(at),
            Phase::Pending | Phase::Running | Phase::Stopping { .. } => None,
        }
    }

    /// The exit code of the essential container with whose end it ended. None: none of them ever ran. Those that outlived that
    /// one were told to stop by SIGTERM or SIGKILL, which says nothing of the task; of others, a failure counts first.
    pub fn exit_code(&self) -> Option<i32> {
        const STOPPED_BY_SIGNAL: [i32; 2] = [143, 137];
        let codes = || self.containers.iter().filter(|c| c.essential).filter_map(|c| c.exit_code);
        let own = || codes().filter(|code| !STOPPED_BY_SIGNAL.contains(code));
        own().find(|code| *code != 0).or_else(|| own().next()).or_else(|| codes().next())
    }

    /// Whether it still holds its reservation.
    pub fn holds_resources(&self) -> bool {
        self.stopped_at().is_none()
    }
}

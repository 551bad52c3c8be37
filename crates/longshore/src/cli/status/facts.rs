//! What `status` knows and shows. This is also its JSON form, which `docs/status.md` describes: members are added, never
//! renamed, and an instant is always RFC 3339 in UTC.

use serde::Serialize;

/// One look at a server, in one region.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) at: String,
    /// Whether nothing of `attention` is more than a notice.
    pub(super) healthy: bool,
    /// How far back stopped tasks are told.
    pub(super) window_seconds: i64,
    pub(super) clusters: Vec<Cluster>,
    /// The machines given to Fargate, which are shown to the account's root alone.
    pub(super) fargate: Vec<Instance>,
    /// The worst first.
    pub(super) attention: Vec<Attention>,
}

/// A cluster.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) status: String,
    pub(super) tasks: Counts,
    pub(super) services: Services,
    pub(super) capacity_providers: Vec<String>,
    pub(super) instances: Vec<Instance>,
}

/// Services, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Services {
    pub(super) active: usize,
    /// As many tasks run as shall, of one deployment, which is completed.
    pub(super) stable: usize,
    /// Fewer tasks run than shall.
    pub(super) below_desired: usize,
}

/// Tasks by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    pub(super) pending: u64,
    pub(super) running: u64,
    pub(super) stopping: u64,
    /// In the window; `failed` of them by themselves: not started, or ended with a code that is not 0.
    pub(super) stopped: u64,
    pub(super) failed: u64,
}

/// A container instance, or a machine that has not become one yet.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) arn: String,
    pub(super) ec2_instance_id: Option<String>,
    pub(super) availability_zone: Option<String>,
    pub(super) instance_type: Option<String>,
    /// What makes its containers: runc, or runsc.
    pub(super) runtime: Option<String>,
    pub(super) address: Option<String>,
    pub(super) status: String,
    pub(super) agent_connected: bool,
    /// Since when the agent is connected, or is not.
    pub(super) agent_since: Option<String>,
    pub(super) cpu: Used,
    pub(super) memory: Used,
    pub(super) running_tasks: u64,
    pub(super) pending_tasks: u64,
    /// What EC2 says of the machine, if it knows it.
    pub(super) machine_state: Option<String>,
    pub(super) machine_reason: Option<String>,
}

impl Instance {
    /// By the name people know it by.
    pub(super) fn name(&self) -> &str {
        self.ec2_instance_id.as_deref().filter(|id| !id.is_empty()).unwrap_or(&self.id)
    }
}

/// How much of something is reserved: CPU units, or MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Used {
    pub(super) used: i64,
    pub(super) registered: i64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attention {
    pub(super) level: Level,
    pub(super) kind: Kind,
    pub(super) cluster: Option<String>,
    /// A sentence.
    pub(super) what: String,
    /// The reason, in the words of whoever knew it.
    pub(super) why: Option<String>,
    /// The first of it.
    pub(super) since: Option<String>,
    /// ARNs of the tasks, services or instances it is about; a machine has only its id.
    pub(super) resources: Vec<String>,
    /// What to do next: a command to run, or what to look at.
    pub(super) next: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) enum Level {
    Error,
    Warning,
    /// As somebody wanted it; told so that it is not forgotten. Not unhealthy.
    Notice,
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) enum Kind {
    AgentDisconnected,
    MachineInTrouble,
    ServiceDeploymentFailed,
    ServiceHeldBack,
    ServiceBelowDesired,
    TaskFailedToStart,
    TaskFailed,
    TaskPendingLong,
    InstanceOverCapacity,
    InstanceDraining,
    ClusterWithoutInstances,
    FargateSharesKernel,
    PartlyLookedAt,
}

//! What `service status` knows and shows. This is also its JSON form, which `docs/status.md` describes: members are added,
//! never renamed, and an instant is always RFC 3339 in UTC.

use crate::cli::status::facts::Level;
use serde::Serialize;

/// One look at a service.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) at: String,
    pub(super) cluster: String,
    pub(super) service: String,
    pub(super) arn: String,
    pub(super) status: String,
    pub(super) scheduling_strategy: String,
    pub(super) task_definition: String,
    /// Whether it is where it shall be: one deployment, which is completed, and as many tasks as are desired.
    pub(super) stable: bool,
    pub(super) desired: i64,
    pub(super) running: i64,
    pub(super) pending: i64,
    pub(super) minimum_healthy_percent: Option<i32>,
    pub(super) maximum_percent: Option<i32>,
    pub(super) circuit_breaker: Breaker,
    /// The newest first.
    pub(super) deployments: Vec<Deployment>,
    /// Where the current deployment is on its way, if that goes in stages.
    pub(super) lifecycle: Option<Lifecycle>,
    /// The worst first.
    pub(super) held_up_by: Vec<Hold>,
    /// Tasks that failed of late, those of one reason as one; the newest first.
    pub(super) failures: Vec<Failure>,
    /// The newest first.
    pub(super) events: Vec<Event>,
}

/// What a circuit breaker does with a deployment that fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Breaker {
    #[default]
    Off,
    Stops,
    RollsBack,
}

/// A deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) status: String,
    /// `family:revision`.
    pub(super) task_definition: String,
    pub(super) desired: i64,
    pub(super) running: i64,
    pub(super) pending: i64,
    /// In a row.
    pub(super) failed: i64,
    pub(super) rollout_state: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) created_at: Option<String>,
    pub(super) updated_at: Option<String>,
}

/// How far a deployment is that goes in stages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lifecycle {
    pub(super) stage: String,
    /// Those that had or have a say, the first first.
    pub(super) hooks: Vec<Hook>,
}

/// A lifecycle hook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hook {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) target_type: String,
    pub(super) expires_at: Option<String>,
    /// What happens then: `CONTINUE` or `ROLLBACK`.
    pub(super) timeout_action: Option<String>,
}

/// Something that keeps the service from being stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Hold {
    pub(super) level: Level,
    pub(super) kind: Kind,
    /// A sentence.
    pub(in crate::cli) what: String,
    /// The reason, in the words of whoever knew it.
    pub(in crate::cli) why: Option<String>,
    /// What to do next, if anything can be done but wait.
    pub(in crate::cli) next: Option<String>,
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) enum Kind {
    DeploymentFailed,
    TasksFail,
    TasksNotPlaced,
    TasksUnhealthy,
    AgentDisconnected,
    DeploymentRulesForbid,
    HookAwaitsAction,
    TasksProtected,
    BeingDeleted,
    HookInProgress,
    Baking,
    TasksPending,
    TasksNotHealthyYet,
    OldTasksLeft,
    TooManyTasks,
    ScaledToZero,
    NotYetKnown,
}

/// Tasks that failed for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Failure {
    pub(super) count: usize,
    pub(super) task_definition: String,
    pub(super) stop_code: String,
    pub(super) why: String,
    /// The last of them.
    pub(super) task: String,
    pub(super) stopped_at: Option<String>,
    pub(super) stopped_reason: Option<String>,
    pub(super) containers: Vec<Container>,
}

/// A container of the last task that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Container {
    pub(super) name: String,
    pub(super) exit_code: Option<i32>,
    pub(super) reason: Option<String>,
    /// The last lines that it wrote, if they go to a log stream.
    pub(super) log: Vec<String>,
}

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) at: Option<String>,
    pub(super) message: String,
}

//! What is kept of a service's past: revisions, service deployments, events.

use crate::{
    DeploymentId, DeploymentRules, Lifecycle, RevisionSpec, ServiceArn, ServiceDeploymentArn, ServiceRevisionArn,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What was deployed once: never changes, except that its images' digests are learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRevision {
    /// Its ARN; its number is its deployment's.
    pub arn: ServiceRevisionArn,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it says.
    pub spec: Arc<RevisionSpec>,
    /// The images of its containers, with the digests that its first task found.
    #[serde(default)]
    pub images: Vec<RevisionImage>,
}

/// An image of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionImage {
    /// The container's name.
    pub container: Arc<str>,
    /// The image as the task definition names it.
    pub image: Arc<str>,
    /// What that name meant when the first task of the revision pulled it; every later task runs the same.
    #[serde(default)]
    pub digest: Option<Arc<str>>,
}

/// The story of one deployment, from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDeployment {
    /// Its ARN.
    pub arn: ServiceDeploymentArn,
    /// The revision it brings in.
    pub target: RevisionShare,
    /// Those it replaces.
    #[serde(default)]
    pub sources: Vec<RevisionShare>,
    /// How far it is.
    pub status: ServiceDeploymentStatus,
    /// Why it is there.
    #[serde(default)]
    pub reason: Option<Arc<str>>,
    /// What it goes by.
    pub rules: DeploymentRules,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When its end was asked for.
    #[serde(default)]
    pub stopped_at: Option<Timestamp>,
    /// When it came to its end.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// When anything of it changed.
    pub updated_at: Timestamp,
    /// Its way back, if it goes there.
    #[serde(default)]
    pub rollback: Option<Rollback>,
    /// What its circuit breaker came to.
    pub breaker: BreakerState,
    /// How far it has come stage by stage, if that is how it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// A revision's part in a deployment. The counts are those of its beginning, and from its end on those of its end; in
/// between they are derived from the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RevisionShare {
    pub id: DeploymentId,
    pub requested: u32,
    pub running: u32,
    pub pending: u32,
}

/// How far a service deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // AWS's names say it.
pub enum ServiceDeploymentStatus {
    Pending,
    InProgress,
    Successful,
    StopRequested,
    Stopped,
    RollbackRequested,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
}

impl ServiceDeploymentStatus {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::InProgress,
        Self::Successful,
        Self::StopRequested,
        Self::Stopped,
        Self::RollbackRequested,
        Self::RollbackInProgress,
        Self::RollbackSuccessful,
        Self::RollbackFailed,
    ];

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::InProgress => "IN_PROGRESS",
            Self::Successful => "SUCCESSFUL",
            Self::StopRequested => "STOP_REQUESTED",
            Self::Stopped => "STOPPED",
            Self::RollbackRequested => "ROLLBACK_REQUESTED",
            Self::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            Self::RollbackSuccessful => "ROLLBACK_SUCCESSFUL",
            Self::RollbackFailed => "ROLLBACK_FAILED",
        }
    }

    /// Whether it has come to its end.
    pub fn is_over(self) -> bool {
        match self {
            Self::Successful | Self::Stopped | Self::RollbackSuccessful | Self::RollbackFailed => true,
            Self::Pending
            | Self::InProgress
            | Self::StopRequested
            | Self::RollbackRequested
            | Self::RollbackInProgress => false,
        }
    }
}

/// A deployment's way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// Why.
    pub reason: Arc<str>,
    /// Since when.
    pub started_at: Timestamp,
    /// To which revision.
    pub to: DeploymentId,
}

/// What a deployment's circuit breaker came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerState {
    /// Whether it watches, and what it saw.
    pub status: BreakerStatus,
    /// Failures in a row when it was last written.
    pub failure_count: u32,
    /// How many end the deployment.
    pub threshold: u32,
}

/// `ServiceDeploymentRollbackMonitorsStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum BreakerStatus {
    Disabled,
    Monitoring,
    MonitoringComplete,
    Triggered,
}

impl BreakerStatus {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::Monitoring => "MONITORING",
            Self::MonitoringComplete => "MONITORING_COMPLETE",
            Self::Triggered => "TRIGGERED",
        }
    }
}

/// What a service did or could not do, as DescribeServices tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEvent {
    /// A UUID.
    pub id: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// What kind of event it is.
    pub name: ServiceEventName,
    /// AWS's words.
    pub message: Arc<str>,
}

/// A service event and where it stands: the last 100 of a service are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEventRecord {
    /// Whose.
    pub service: ServiceArn,
    /// Counted from 1, never used twice.
    pub sequence: u64,
    /// What.
    pub event: Arc<ServiceEvent>,
}

/// Events of a service that are kept. Source: `Service$events`.
pub const MAX_SERVICE_EVENTS: usize = 100;

/// What kind of event: EventBridge's `eventName` where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // AWS's names say it.
pub enum ServiceEventName {
    SteadyState,
    TaskSetSteadyState,
    DesiredCountUpdated,
    TasksStarted,
    TasksStopped,
    RebalancingStarted,
    RebalancingCompleted,
    RebalancingStopped,
    TaskStartImpaired,
    DaemonPlacementConstraintViolated,
    TaskPlacementFailure,
    TaskConfigurationFailure,
    ScaleInFailureByTaskProtection,
    TasksUnhealthy,
    DeploymentInProgress,
    DeploymentCompleted,
    DeploymentFailed,
    DeploymentStuck,
}

impl ServiceEventName {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SteadyState => "SERVICE_STEADY_STATE",
            Self::TaskSetSteadyState => "TASKSET_STEADY_STATE",
            Self::DesiredCountUpdated => "SERVICE_DESIRED_COUNT_UPDATED",
            Self::TasksStarted => "TASKS_STARTED",
            Self::TasksStopped => "TASKS_STOPPED",
            Self::RebalancingStarted => "SERVICE_REBALANCING_STARTED",
            Self::RebalancingCompleted => "SERVICE_REBALANCING_COMPLETED",
            Self::RebalancingStopped => "SERVICE_REBALANCING_STOPPED",
            Self::TaskStartImpaired => "SERVICE_TASK_START_IMPAIRED",
            Self::DaemonPlacementConstraintViolated => "SERVICE_DAEMON_PLACEMENT_CONSTRAINT_VIOLATED",
            Self::TaskPlacementFailure => "SERVICE_TASK_PLACEMENT_FAILURE",
            Self::TaskConfigurationFailure => "SERVICE_TASK_CONFIGURATION_FAILURE",
            Self::ScaleInFailureByTaskProtection => "TASKSET_SCALE_IN_FAILURE_BY_TASK_PROTECTION",
            Self::TasksUnhealthy => "SERVICE_TASKS_UNHEALTHY",
            Self::DeploymentInProgress => "SERVICE_DEPLOYMENT_IN_PROGRESS",
            Self::DeploymentCompleted => "SERVICE_DEPLOYMENT_COMPLETED",
            Self::DeploymentFailed => "SERVICE_DEPLOYMENT_FAILED",
            Self::DeploymentStuck => "SERVICE_DEPLOYMENT_CONFIGURATION_STUCK",
        }
    }
}

//! Where state changes are told: what the event log's groups and streams are called.
//!
//! The log is a log group per cluster in our own Logs API, so whoever reads logs can read it: `longshore events`, the `aws`
//! CLI, the webhook (docs/decisions/0011-event-log.md).

use model::ClusterName;

/// What stands before a cluster's name in that of its event log's group.
pub const GROUP_PREFIX: &str = "/aws/events/ecs/";
/// How many days events are kept, unless an operator sets the group's retention: long enough for somebody to look after a
/// holiday, and for a webhook's receiver to be mended.
pub const RETENTION_DAYS: u32 = 7;

/// The log group of a cluster's events.
pub fn group(cluster: &ClusterName) -> String {
    format!("{GROUP_PREFIX}{cluster}")
}

/// A kind of state change, and the stream in which it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A task changed.
    Task,
    /// A container instance changed.
    Instance,
    /// A service did something, or could not.
    Service,
    /// A deployment of a service began, or came to its end.
    Deployment,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Task, Self::Instance, Self::Service, Self::Deployment];

    /// The log stream's name, and the word for it on command lines.
    pub fn stream(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Instance => "instance",
            Self::Service => "service",
            Self::Deployment => "deployment",
        }
    }

    /// EventBridge's `detail-type`.
    pub fn detail_type(self) -> &'static str {
        match self {
            Self::Task => "ECS Task State Change",
            Self::Instance => "ECS Container Instance State Change",
            Self::Service => "ECS Service Action",
            Self::Deployment => "ECS Deployment State Change",
        }
    }
}

//! State changes as EventBridge tells them: an envelope, and in it what a describe call would show.
//!
//! The id of an event is made from what changed and the version it changed to, not drawn: an event that is told again after a
//! crash has the id it had before, and whoever keeps the ids sees each once.

use super::{container_instances, tasks};
use crate::event_log::EventKind;
use model::{
    ClusterArn, DeploymentId, Rollout, ServiceArn, ServiceDeploymentId, ServiceEvent, ServiceEventName, Task, Timestamp,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use state::{InstanceRow, Snapshot};
use std::sync::Arc;
use wire::schema::TimestampFormat;

/// Something that changed.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A task, as it is now.
    Task(Arc<Task>),
    /// A container instance, as it is now.
    Instance(Arc<InstanceRow>),
    /// Something a service told.
    Action { service: ServiceArn, event: Arc<ServiceEvent> },
    /// A deployment's step.
    Deployment { service: ServiceArn, step: Step },
}

/// How far a deployment has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) id: DeploymentId,
    /// The story it belongs to: a deployment that takes over again after another failed goes the same steps once more.
    pub(crate) story: ServiceDeploymentId,
    pub(crate) rollout: Rollout,
    pub(crate) at: Timestamp,
    pub(crate) reason: Arc<str>,
}

impl Change {
    /// The stream it belongs into.
    pub(crate) fn kind(&self) -> EventKind {
        match self {
            Self::Task(_) => EventKind::Task,
            Self::Instance(_) => EventKind::Instance,
            Self::Action { .. } => EventKind::Service,
            Self::Deployment { .. } => EventKind::Deployment,
        }
    }

    /// The cluster in which it happened.
    pub(crate) fn cluster(&self) -> &ClusterArn {
        match self {
            Self::Task(task) => &task.arn.cluster,
            Self::Instance(row) => &row.instance.arn.cluster,
            Self::Action { service, .. } | Self::Deployment { service, .. } => &service.cluster,
        }
    }
}

/// The event: one line of JSON. `now` is the time of what carries none of its own.
pub(crate) fn event(snapshot: &Snapshot, change: &Change, now: Timestamp) -> String {
    let (id, resource, at, detail) = match change {
        Change::Task(task) => {
            let arn = task.arn.to_string();
            let detail = wire::to_value(&tasks::rendered(snapshot, task, true));
            (id(&[&arn, &task.version.to_string()]), arn, now, described(detail, &[], now))
        }
        Change::Instance(row) => {
            let arn = row.instance.arn.to_string();
            let detail = wire::to_value(&container_instances::rendered(snapshot, row));
            let cluster = ("clusterArn", row.instance.arn.cluster.to_string());
            (id(&[&arn, &row.instance.version.to_string()]), arn, now, described(detail, &[cluster], now))
        }
        Change::Action { service, event } => {
            (event.id.to_string(), service.to_string(), event.at, action(service, event))
        }
        Change::Deployment { service, step } => {
            let arn = service.to_string();
            let id = id(&[&arn, &step.id.to_string(), step.story.as_str(), step.rollout.as_str()]);
            (id, arn, step.at, deployment(step))
        }
    };
    let scope = &change.cluster().scope;
    // Written out, because the order of members is what people see first.
    let text = |value: &str| Value::from(value).to_string();
    format!(
        "{{\"version\":\"0\",\"id\":{},\"detail-type\":{},\"source\":\"aws.ecs\",\"account\":{},\"time\":{},\"region\":{},\
         \"resources\":[{}],\"detail\":{detail}}}",
        text(&id),
        text(change.kind().detail_type()),
        text(scope.account.as_str()),
        text(&seconds(at)),
        text(scope.region.as_str()),
        text(&resource),
    )
}

/// What a describe call shows, with times as EventBridge writes them.
fn described(mut detail: Value, more: &[(&str, String)], now: Timestamp) -> Value {
    if let Value::Object(members) = &mut detail {
        for (name, value) in more {
            members.insert((*name).to_owned(), Value::from(value.as_str()));
        }
        members.insert("updatedAt".to_owned(), Value::from(iso(now)));
        write_times(members);
    }
    detail
}

/// Every member of these shapes that is a time has a name that ends so, and no other number has.
fn write_times(members: &mut Map<String, Value>) {
    for (name, value) in members {
        if let Some(seconds) = value.as_f64().filter(|_| name.ends_with("At")) {
            *value = Value::from(iso(Timestamp(wire::Timestamp::from_seconds(seconds).as_millis())));
        }
    }
}

/// `message`, the words of DescribeServices' `events[]`, is ours; AWS tells them there alone.
fn action(service: &ServiceArn, event: &ServiceEvent) -> Value {
    json!({
        "eventType": event_type(event.name),
        "eventName": event.name.as_str(),
        "clusterArn": service.cluster.to_string(),
        "createdAt": iso(event.at),
        "message": &*event.message,
    })
}

/// Source: "Amazon ECS service action events"; TASKS_STARTED and what stands behind it in `ServiceEventName` are told with the
/// level that their words have.
fn event_type(name: ServiceEventName) -> &'static str {
    use ServiceEventName as Name;
    match name {
        Name::SteadyState
        | Name::TaskSetSteadyState
        | Name::DesiredCountUpdated
        | Name::TasksStarted
        | Name::TasksStopped
        | Name::RebalancingStarted
        | Name::RebalancingCompleted
        | Name::RebalancingStopped
        | Name::DeploymentInProgress
        | Name::DeploymentCompleted => "INFO",
        Name::TaskStartImpaired | Name::TasksUnhealthy | Name::DeploymentStuck => "WARN",
        Name::DaemonPlacementConstraintViolated
        | Name::TaskPlacementFailure
        | Name::TaskConfigurationFailure
        | Name::ScaleInFailureByTaskProtection
        | Name::DeploymentFailed => "ERROR",
    }
}

/// Whether a service's event is told as a deployment's step instead.
pub(crate) fn is_of_deployment(name: ServiceEventName) -> bool {
    use ServiceEventName as Name;
    match name {
        Name::DeploymentInProgress | Name::DeploymentCompleted | Name::DeploymentFailed => true,
        Name::SteadyState
        | Name::TaskSetSteadyState
        | Name::DesiredCountUpdated
        | Name::TasksStarted
        | Name::TasksStopped
        | Name::RebalancingStarted
        | Name::RebalancingCompleted
        | Name::RebalancingStopped
        | Name::TaskStartImpaired
        | Name::DaemonPlacementConstraintViolated
        | Name::TaskPlacementFailure
        | Name::TaskConfigurationFailure
        | Name::ScaleInFailureByTaskProtection
        | Name::TasksUnhealthy
        | Name::DeploymentStuck => false,
    }
}

fn deployment(step: &Step) -> Value {
    let name = match step.rollout {
        Rollout::InProgress => ServiceEventName::DeploymentInProgress,
        Rollout::Completed => ServiceEventName::DeploymentCompleted,
        Rollout::Failed => ServiceEventName::DeploymentFailed,
    };
    json!({
        "eventType": event_type(name),
        "eventName": name.as_str(),
        "deploymentId": step.id.to_string(),
        "updatedAt": iso(step.at),
        "reason": &*step.reason,
    })
}

/// A UUID (version 8: of one's own making) that is the same whenever it is made.
pub(super) fn id(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// To the millisecond, as EventBridge's details are.
fn iso(at: Timestamp) -> String {
    // Times beyond the year 9999 are nobody's.
    wire::Timestamp::from_millis(at.0).format(TimestampFormat::Iso8601).unwrap_or_default()
}

/// To the second, as EventBridge's envelope is.
pub(crate) fn seconds(at: Timestamp) -> String {
    let text = iso(at);
    text.split_once('.').map_or_else(|| text.clone(), |(whole, _)| format!("{whole}Z"))
}

#[cfg(test)]
#[path = "state_change_tests.rs"]
mod tests;

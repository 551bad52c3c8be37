//! The words a service tells of itself, as AWS says them.
//!
//! Tools read these texts: some take any that contains "fail", "unable", "error" or "rolling back" for bad news, so those
//! words stay out of the others. Sources: "Service event messages" and "Availability Zone service rebalancing service event
//! messages" in the ECS developer guide, the AWS CLI's examples; what is not published there is marked.

use super::view::Told;
use model::{DeploymentId, ServiceEventName as Name, ServiceName, TaskArn, TaskId};
use std::{
    fmt::{self, Write},
    sync::Arc,
};

/// Ids named in one message; the rest are counted. A message stays readable, and a hundred of them small.
const MAX_IDS_TOLD: usize = 100;
/// How a message ends that the developer guide explains.
const SEE_TROUBLESHOOTING: &str =
    "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.";

/// Whose event it is: a service's, or one of its task sets'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who<'a> {
    /// The service.
    pub service: &'a ServiceName,
    /// The task set, if it is not the service as a whole.
    pub set: Option<DeploymentId>,
}

impl<'a> From<&'a ServiceName> for Who<'a> {
    fn from(service: &'a ServiceName) -> Self {
        Self { service, set: None }
    }
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.set {
            None => write!(f, "(service {})", self.service),
            Some(set) => write!(f, "(service {}, taskSet {set})", self.service),
        }
    }
}

fn told(name: Name, message: String) -> Told {
    Told { name, message }
}

/// All tasks run, and all is as it is to be.
pub fn steady_state(service: &ServiceName) -> Told {
    told(Name::SteadyState, format!("(service {service}) has reached a steady state."))
}

/// A task set has all its tasks, and they are as they are to be.
pub fn set_steady_state(who: Who<'_>) -> Told {
    told(Name::TaskSetSteadyState, format!("{who} updated state to STEADY_STATE."))
}

/// A task set is to have another number of tasks.
pub fn computed_count_updated(service: &ServiceName, set: DeploymentId, count: u32) -> Told {
    let message = format!("(service {service}) updated computedDesiredCount for taskSet {set} to {count}.");
    told(Name::DesiredCountUpdated, message)
}

/// Tasks were started. The planner's caller tells it: it knows their ids.
///
/// `replaced` is how many of them take the place of tasks whose health checks fail. AWS: the words for that are its own
/// service's, published nowhere, and the same however the check was made.
pub fn started<'a>(who: impl Into<Who<'a>>, ids: impl IntoIterator<Item = &'a TaskId>, replaced: u32) -> Told {
    let who = who.into();
    let (count, ids) = listed(ids);
    let why = match replaced {
        0 => String::new(),
        replaced => format!(" Amazon ECS replaced {replaced} tasks due to an unhealthy status."),
    };
    told(Name::TasksStarted, format!("{who} has started {count} tasks: {ids}.{why}"))
}

/// Running tasks were stopped.
pub fn stopped<'a>(who: impl Into<Who<'a>>, ids: impl IntoIterator<Item = &'a TaskId>) -> Told {
    let who = who.into();
    let (count, ids) = listed(ids);
    told(Name::TasksStopped, format!("{who} has stopped {count} running tasks: {ids}."))
}

/// Tasks were stopped that never ran.
pub fn stopped_pending<'a>(who: impl Into<Who<'a>>, ids: impl IntoIterator<Item = &'a TaskId>) -> Told {
    let who = who.into();
    let (count, ids) = listed(ids);
    told(Name::TasksStopped, format!("{who} has stopped {count} pending tasks: {ids}."))
}

fn listed<'a>(ids: impl IntoIterator<Item = &'a TaskId>) -> (usize, String) {
    let (mut count, mut text) = (0, String::new());
    for id in ids {
        if count < MAX_IDS_TOLD {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}(task {id})", if count > 0 { " " } else { "" });
        }
        count += 1;
    }
    if count > MAX_IDS_TOLD {
        let _ = write!(text, " and {} more", count - MAX_IDS_TOLD);
    }
    (count, text)
}

/// A task's health check has failed, and it will be replaced.
pub fn failed_health_check<'a>(who: impl Into<Who<'a>>, task: &TaskId) -> Told {
    let who = who.into();
    told(Name::TasksUnhealthy, format!("{who} (task {task}) failed container health checks."))
}

/// A deployment is complete.
pub fn deployment_completed(service: &ServiceName, deployment: DeploymentId) -> Told {
    let message = format!("(service {service}) (deployment {deployment}) deployment completed.");
    told(Name::DeploymentCompleted, message)
}

/// A deployment came to its end before its time; why, as a sentence.
pub fn deployment_failed(service: &ServiceName, deployment: DeploymentId, why: &str) -> Told {
    let message = format!("(service {service}) (deployment {deployment}) deployment failed: {why}");
    told(Name::DeploymentFailed, message)
}

/// Someone ended a deployment where it was, which leaves it FAILED. AWS does not publish the text.
pub fn deployment_aborted(service: &ServiceName, deployment: DeploymentId) -> Told {
    deployment_failed(service, deployment, "stopped by user.")
}

/// A lifecycle hook's task was started. Ours: AWS's hooks are no tasks.
pub fn hook_runs(service: &ServiceName, deployment: DeploymentId, hook: &str, task: &TaskId) -> Told {
    let message = format!("(service {service}) (deployment {deployment}) lifecycle hook {hook} runs (task {task}).");
    told(Name::DeploymentInProgress, message)
}

/// What a lifecycle hook's target did that the deployment cannot go on with. AWS does not publish the text.
pub fn hook_failed(service: &ServiceName, deployment: DeploymentId, hook: &str, why: &str) -> Told {
    let message = format!("(service {service}) (deployment {deployment}) lifecycle hook {hook} failed: {why}");
    told(Name::DeploymentInProgress, message)
}

/// An earlier deployment takes over again.
pub fn rolling_back(service: &ServiceName, to: DeploymentId) -> Told {
    told(Name::DeploymentInProgress, format!("(service {service}) rolling back to deployment {to}."))
}

/// Nothing can be started and nothing be stopped.
pub fn stuck_deployment<'a>(who: impl Into<Who<'a>>) -> Told {
    let who = who.into();
    let message = format!(
        "{who} was unable to stop or start tasks during a deployment because of the service deployment \
         configuration. Update the minimumHealthyPercent or maximumPercent value and try again."
    );
    told(Name::DeploymentStuck, message)
}

/// Round after round of tasks does not come to run.
pub fn start_impaired<'a>(who: impl Into<Who<'a>>) -> Told {
    let who = who.into();
    told(Name::TaskStartImpaired, format!("{who} is unable to consistently start tasks successfully."))
}

/// Protected tasks are more than are to run. The guide gives the text for a task set; a service has the same.
pub fn scale_in_failed_by_protection<'a>(who: impl Into<Who<'a>>) -> Told {
    let who = who.into();
    let message = format!(
        "{who} was unable to scale in. Reason: The number of protected tasks are more than the desired \
         count of tasks."
    );
    told(Name::ScaleInFailureByTaskProtection, message)
}

/// No instance takes a task. `closest` is the instance that came nearest and what it says, as in
/// `("<id>", "has insufficient CPU units available")`; none where the cluster has no instance. The planner's caller tells it.
pub fn unable_to_place<'a>(who: impl Into<Who<'a>>, closest: Option<(&str, &str)>) -> Told {
    let who = who.into();
    let why = match closest {
        Some((instance, obstacle)) => format!("The closest matching (container-instance {instance}) {obstacle}."),
        None => "Reason: No Container Instances were found in your cluster.".to_owned(),
    };
    let message = format!(
        "{who} was unable to place a task because no container instance met all of its requirements. \
         {why} {SEE_TROUBLESHOOTING}"
    );
    told(Name::TaskPlacementFailure, message)
}

/// Fargate has no room for a task. The planner's caller tells it.
pub fn unable_to_place_on_fargate<'a>(who: impl Into<Who<'a>>, reason: &str) -> Told {
    let message = format!("{} was unable to place a task. Reason: {reason}. {SEE_TROUBLESHOOTING}", who.into());
    told(Name::TaskPlacementFailure, message)
}

/// A task has a place, but cannot be given what it needs there. The planner's caller tells it.
pub fn failed_to_launch<'a>(who: impl Into<Who<'a>>, error: &str) -> Told {
    let message = format!("{} failed to launch a task with (error {error}).", who.into());
    told(Name::TaskConfigurationFailure, message)
}

/// No instance of a zone takes a task, so the zones stay as they are. The planner's caller tells it.
pub fn unable_to_place_in_zone(service: &ServiceName, zone: &str) -> Told {
    let message = format!(
        "service ({service}) is unable to place a task in {zone} because no container instance met all of its \
         requirements."
    );
    told(Name::TaskPlacementFailure, message)
}

/// An instance does not meet a daemon's constraints any more. AWS does not publish the text.
pub fn daemon_constraint_violated(service: &ServiceName, task: &TaskArn, instance: &str) -> Told {
    let message = format!(
        "(service {service}) (task {}) (container-instance {instance}) no longer meets the placement constraints of the \
         service.",
        task.id
    );
    told(Name::DaemonPlacementConstraintViolated, message)
}

/// Zones and their tasks, in order of their names.
pub type ZoneCounts = [(Arc<str>, u32)];

/// Tasks are about to be moved between zones.
pub fn rebalancing_started(service: &ServiceName, zones: &ZoneCounts) -> Told {
    let zones = zones_listed(zones);
    let message = format!("service ({service}) is not AZ balanced with {zones}. AZ Rebalancing in progress.");
    told(Name::RebalancingStarted, message)
}

/// The zones have their share again.
pub fn rebalancing_completed(service: &ServiceName, zones: &ZoneCounts) -> Told {
    let message = format!("service ({service}) is AZ balanced with {}.", zones_listed(zones));
    told(Name::RebalancingCompleted, message)
}

/// Something else came between.
pub fn rebalancing_stopped(service: &ServiceName) -> Told {
    told(Name::RebalancingStopped, format!("service ({service}) stopped AZ Rebalancing."))
}

/// Tasks were started to balance the zones. The planner's caller tells it: it knows their ids.
pub fn started_to_rebalance<'a>(service: &ServiceName, zone: &str, ids: impl IntoIterator<Item = &'a TaskId>) -> Told {
    let (count, ids) = listed(ids);
    told(Name::TasksStarted, format!("{service} has started {count} tasks in {zone} to AZ Rebalance: {ids}."))
}

/// Tasks were stopped because others took their place in another zone.
pub fn stopped_to_rebalance<'a>(service: &ServiceName, zone: &str, ids: impl IntoIterator<Item = &'a TaskId>) -> Told {
    let (count, ids) = listed(ids);
    told(
        Name::TasksStopped,
        format!("{service} has stopped {count} running tasks in {zone} due to AZ rebalancing: {ids}."),
    )
}

fn zones_listed(zones: &ZoneCounts) -> String {
    let mut text = String::new();
    for (number, (zone, count)) in zones.iter().enumerate() {
        let link = match number {
            0 => "",
            _ if number + 1 < zones.len() => ", ",
            1 => " and ",
            _ => ", and ",
        };
        let _ = write!(text, "{link}{count} tasks in {zone}");
    }
    text
}

/// Whether the message tells of a state rather than of something new, so that it is not told again for a while.
pub fn may_repeat(name: Name) -> bool {
    match name {
        Name::RebalancingStarted
        | Name::RebalancingStopped
        | Name::TaskStartImpaired
        | Name::DaemonPlacementConstraintViolated
        | Name::TaskPlacementFailure
        | Name::TaskConfigurationFailure
        | Name::ScaleInFailureByTaskProtection
        | Name::TasksUnhealthy
        | Name::DeploymentStuck => true,
        Name::SteadyState
        | Name::TaskSetSteadyState
        | Name::DesiredCountUpdated
        | Name::TasksStarted
        | Name::TasksStopped
        | Name::RebalancingCompleted
        | Name::DeploymentInProgress
        | Name::DeploymentCompleted
        | Name::DeploymentFailed => false,
    }
}

/// How long a message that tells of a state is not told again. Source: "Service event messages".
pub const DUPLICATES_SUPPRESSED_MILLIS: i64 = 6 * 60 * 60_000;

/// The words that go with deployments and stops.
pub mod reason {
    use model::DeploymentId;
    use std::sync::Arc;

    /// Of a deployment on its way in.
    pub fn in_progress(id: DeploymentId) -> Arc<str> {
        format!("ECS deployment {id} in progress.").into()
    }
    /// Of a deployment that is in.
    pub fn completed(id: DeploymentId) -> Arc<str> {
        format!("ECS deployment {id} completed.").into()
    }
    /// Of a deployment that the circuit breaker ended. AWS: the same where its tasks ran and failed their health checks, and in
    /// what DescribeServices answers of many tasks; the guide's example of an event has one.
    pub const BREAKER: &str = "ECS deployment circuit breaker: tasks failed to start.";
    /// Of a deployment that the circuit breaker made take over again.
    pub fn rolling_back_by_breaker(to: DeploymentId) -> Arc<str> {
        format!("ECS deployment circuit breaker: rolling back to deploymentId {to}.").into()
    }
    /// Of a deployment that takes over again because someone asked for that. AWS does not publish the text.
    pub fn rolling_back_by_request(to: DeploymentId) -> Arc<str> {
        format!("ECS deployment stopped by user: rolling back to deploymentId {to}.").into()
    }
    /// Of a deployment, and its story, whose end someone asked for. AWS does not publish the text.
    pub const STOPPED_BY_USER: &str = "Service deployment stopped by user.";
    /// Of a story that the circuit breaker turned.
    pub const STORY_BREAKER_ROLLBACK: &str =
        "Service deployment rolled back because the circuit breaker threshold was exceeded.";
    /// Of a story that the circuit breaker ended, with nothing to go back to.
    pub const STORY_BREAKER: &str = "Service deployment stopped because the circuit breaker threshold was exceeded.";
    /// Of a story whose way back did not succeed either.
    pub const STORY_ROLLBACK_FAILED: &str =
        "Service deployment rollback failed because the circuit breaker threshold was exceeded.";
    /// Of a deployment that a lifecycle hook ended. AWS does not publish the texts of hooks and stages.
    pub const HOOK: &str = "ECS deployment lifecycle hook failed.";
    /// Of a deployment that takes over again because of that.
    pub fn rolling_back_by_hook(to: DeploymentId) -> Arc<str> {
        format!("ECS deployment lifecycle hook failed: rolling back to deploymentId {to}.").into()
    }
    /// Of a story that a lifecycle hook turned.
    pub const STORY_HOOK_ROLLBACK: &str = "Service deployment rolled back because a lifecycle hook failed.";
    /// Of a story that a lifecycle hook ended, with nothing to go back to.
    pub const STORY_HOOK: &str = "Service deployment stopped because a lifecycle hook failed.";
    /// Of a story whose way back a lifecycle hook ended.
    pub const STORY_HOOK_ROLLBACK_FAILED: &str = "Service deployment rollback failed because a lifecycle hook failed.";
    /// Of a deployment of which a lifecycle stage took too long.
    pub const STAGE: &str = "ECS deployment lifecycle stage timed out.";
    /// Of a deployment that takes over again because of that.
    pub fn rolling_back_by_stage(to: DeploymentId) -> Arc<str> {
        format!("ECS deployment lifecycle stage timed out: rolling back to deploymentId {to}.").into()
    }
    /// Of a story that went back because of that.
    pub const STORY_STAGE_ROLLBACK: &str = "Service deployment rolled back because a lifecycle stage timed out.";
    /// Of a story that ended because of that, with nothing to go back to.
    pub const STORY_STAGE: &str = "Service deployment stopped because a lifecycle stage timed out.";
    /// Of a story whose way back ended because of that.
    pub const STORY_STAGE_ROLLBACK_FAILED: &str =
        "Service deployment rollback failed because a lifecycle stage timed out.";
    /// Of a story that someone turned.
    pub const STORY_USER_ROLLBACK: &str = "Service deployment rolled back because of a user request.";
    /// Of a story that a newer one took over from.
    pub const STORY_SUPERSEDED: &str = "Service deployment stopped because a new service deployment was started.";
    /// Of a story whose service was deleted.
    pub const STORY_DELETED: &str = "Service deployment stopped because the service was deleted.";

    /// Whether a story that stopped for that reason is one of a failure.
    pub fn is_failure(story: &str) -> bool {
        [STORY_BREAKER, STORY_HOOK, STORY_STAGE].contains(&story)
    }

    /// Why a deployment failed of whose story that is the reason.
    pub fn of_deployment(story: Option<&Arc<str>>) -> &'static str {
        match story.map(|text| &**text) {
            Some(STORY_USER_ROLLBACK | STOPPED_BY_USER) => STOPPED_BY_USER,
            Some(STORY_HOOK_ROLLBACK | STORY_HOOK) => HOOK,
            Some(STORY_STAGE_ROLLBACK | STORY_STAGE) => STAGE,
            Some(_) | None => BREAKER,
        }
    }

    /// Of a task that scaling in or a deployment stops.
    pub fn scaling(deployment: DeploymentId) -> Arc<str> {
        format!("Scaling activity initiated by (deployment {deployment})").into()
    }
    /// Of a task that no deployment knows: what made it is unreadable.
    pub fn scaling_of_service(service: &model::ServiceName) -> Arc<str> {
        format!("Scaling activity initiated by (service {service})").into()
    }
    /// Of a task that another in another zone has replaced.
    pub fn rebalancing(deployment: DeploymentId) -> Arc<str> {
        format!("Availability-zone rebalancing initiated by (deployment {deployment})").into()
    }
    /// Of a task that is replaced because it is unhealthy.
    pub const UNHEALTHY: &str = "Task failed container health checks";
    /// Of a task whose instance stays away. Not in AWS's words: there the instance's own end names the reason.
    pub const LOST: &str = "The container instance of the task is not reachable.";
}

//! A service: the wish that a number of equal tasks run, always, and how one form of them is replaced by the next.
//!
//! What people change with every deployment is the [`RevisionSpec`]; each one that was ever deployed is kept as a
//! [`crate::ServiceRevision`]. A [`Deployment`] is one revision on its way in or out of the service; the story of each, from its
//! beginning to its end, is told by a [`crate::ServiceDeployment`]. Counts of tasks are derived from the tasks.

use crate::{
    AwsvpcConfiguration, CapacityProviderStrategy, DeploymentId, DeploymentStrategy, External, LaunchType,
    PlatformVersion, ServiceArn, ServiceConnect, ServiceDeploymentId, Tags, TaskDefinitionArn, Timestamp,
    VolumeConfiguration, discovery,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A service, with all that is not derived from its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its ARN.
    pub arn: ServiceArn,
    /// Whether it is kept running.
    pub status: ServiceStatus,
    /// Counts every change of this record, from 1: what a change was decided on.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// The ARN of who created it.
    pub created_by: Arc<str>,
    /// What its number of tasks follows.
    pub scheduling: SchedulingStrategy,
    /// How many tasks are to run; of a DAEMON, how many instances there are for it at the last look.
    pub desired_count: u32,
    /// How deployments go about.
    pub rules: DeploymentRules,
    /// Whether its tasks are moved to where their zone has too few of them.
    pub az_rebalancing: bool,
    /// Whether commands may be run in the containers of tasks that start from now on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub execute_command: bool,
    /// Seconds from a task's start in which nobody minds that it is unhealthy, as given: `healthCheckGracePeriodSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_grace_seconds: Option<u32>,
    /// What it was last asked to be. None where an external controller deploys it: each task set says what it is.
    #[serde(default)]
    pub spec: Option<Arc<RevisionSpec>>,
    /// The launch type that it had before it was given a capacity provider strategy, and has again when that is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_type_before: Option<LaunchType>,
    /// The primary deployment first, then those on their way out, the newest first. Empty where an external controller
    /// deploys it, and only there.
    pub deployments: Vec<Deployment>,
    /// Its task sets, and what they have in common, where an external controller deploys it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// Tasks beyond the desired number that were started to balance the zones and have not replaced others yet.
    #[serde(default)]
    pub rebalancing: u32,
    /// Whether it was told that it is in a steady state, since the last change of that.
    #[serde(default)]
    pub steady: bool,
    /// When it was asked to be deleted.
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
    /// By what a repeated CreateService is recognised.
    pub creation: Creation,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// The request that created a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// Its client token.
    #[serde(default)]
    pub token: Option<Arc<str>>,
    /// SHA-256 of all else it said, in hexadecimal.
    pub request_sha256: Arc<str>,
}

/// Whether a service is kept running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ServiceStatus {
    Active,
    /// Deleted; its tasks are being stopped.
    Draining,
    /// Deleted, and its tasks are gone; still described for a while.
    Inactive,
}

impl ServiceStatus {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// What the number of a service's tasks follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SchedulingStrategy {
    /// The desired count.
    Replica,
    /// The instances: one on each that can take it.
    Daemon,
}

impl SchedulingStrategy {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replica => "REPLICA",
            Self::Daemon => "DAEMON",
        }
    }
}

/// What a deployment brings in: a change of any of it is a new deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionSpec {
    /// What each task runs.
    pub task_definition: TaskDefinitionArn,
    /// How they are launched.
    pub launch_type: LaunchType,
    /// Whose room they take, by which shares; then `launch_type` is theirs. Empty where a launch type was asked for.
    #[serde(default, skip_serializing_if = "CapacityProviderStrategy::is_empty")]
    pub capacity_provider_strategy: CapacityProviderStrategy,
    /// The version of Fargate's platform, as asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_version: Option<PlatformVersion>,
    /// Rules that bind, as the request gave them, valid.
    #[serde(default)]
    pub placement_constraints: Vec<PlacementConstraint>,
    /// Wishes, as the request gave them, valid.
    #[serde(default)]
    pub placement_strategy: Vec<PlacementStrategy>,
    /// Whose tags the tasks get.
    pub propagate_tags: PropagateTags,
    /// Whether tasks carry `aws:ecs:clusterName` and `aws:ecs:serviceName`.
    pub managed_tags: bool,
    /// Where they get their network interfaces, in mode `awsvpc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Arc<AwsvpcConfiguration>>,
    /// Where they are found; AWS lets one service have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<ServiceRegistry>,
    /// The names they know and are known by, where Service Connect is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Arc<ServiceConnect>>,
    /// The volume each of them is given at launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Arc<VolumeConfiguration>>,
}

/// The service of Cloud Map under whose name tasks are found, and by which port. `serviceRegistries`, valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRegistry {
    /// The service of Cloud Map, of the same account and region.
    pub service: discovery::ServiceId,
    /// The port at the task's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The container whose port it is, and the port in it; where it is published is what is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<(Arc<str>, u16)>,
}

/// A constraint's wire form; what it means is the scheduler's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PlacementConstraint {
    pub kind: Arc<str>,
    #[serde(default)]
    pub expression: Option<Arc<str>>,
}

/// A strategy's wire form; what it means is the scheduler's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PlacementStrategy {
    pub kind: Arc<str>,
    #[serde(default)]
    pub field: Option<Arc<str>>,
}

/// Whose tags a service's tasks get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum PropagateTags {
    None,
    Service,
    TaskDefinition,
}

impl PropagateTags {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Service => "SERVICE",
            Self::TaskDefinition => "TASK_DEFINITION",
        }
    }
}

/// How deployments go about: `deploymentConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRules {
    /// Healthy tasks there must always be, in percent of the desired count, rounded up.
    pub minimum_healthy_percent: u32,
    /// Tasks there may ever be, in percent of the desired count, rounded down.
    pub maximum_percent: u32,
    /// What ends a deployment that does not succeed.
    #[serde(default)]
    pub breaker: CircuitBreaker,
    /// What lets a deployment succeed early.
    #[serde(default)]
    pub early_success: Option<EarlySuccess>,
    /// Task by task, or stage by stage.
    #[serde(default, skip_serializing_if = "DeploymentStrategy::is_rolling")]
    pub strategy: DeploymentStrategy,
}

/// `deploymentCircuitBreaker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitBreaker {
    /// Whether it ends deployments.
    pub enable: bool,
    /// Whether the last completed deployment takes over again.
    pub rollback: bool,
    /// After how many failures.
    pub threshold: Threshold,
    /// Whether a healthy task makes the failures before it forgotten.
    pub reset_on_healthy_task: bool,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { enable: false, rollback: false, threshold: Threshold::default(), reset_on_healthy_task: true }
    }
}

/// `thresholdConfiguration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Threshold {
    /// That many failures.
    Count(u32),
    /// That percentage of the desired count, from 3 to 200.
    BoundedPercent(u32),
    /// That percentage of the desired count, at least 1.
    UnboundedPercent(u32),
}

impl Default for Threshold {
    /// AWS's.
    fn default() -> Self {
        Self::BoundedPercent(50)
    }
}

impl Threshold {
    /// How many failures end a deployment of a service of that size.
    pub fn of(self, desired_count: u32) -> u32 {
        let percent = |value: u32| {
            let failures = (u64::from(desired_count) * u64::from(value)).div_ceil(100);
            u32::try_from(failures).unwrap_or(u32::MAX)
        };
        match self {
            Self::Count(count) => count.max(1),
            Self::BoundedPercent(value) => percent(value).clamp(3, 200),
            Self::UnboundedPercent(value) => percent(value).max(1),
        }
    }
}

/// `earlySuccessCriteria`: a rolling deployment succeeds when this much of it is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlySuccess {
    /// Of the desired count.
    pub healthy_percent: u32,
    /// Whether the old revisions must be gone before it counts as a success.
    pub cleanup: Cleanup,
}

/// `sourceServiceRevisionCleanup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Cleanup {
    Blocking,
    Deferred,
}

impl DeploymentRules {
    /// Healthy tasks there must always be.
    pub fn minimum_healthy(&self, desired_count: u32) -> u32 {
        let tasks = (u64::from(desired_count) * u64::from(self.minimum_healthy_percent)).div_ceil(100);
        u32::try_from(tasks).unwrap_or(u32::MAX)
    }

    /// Tasks there may ever be.
    pub fn maximum_total(&self, desired_count: u32) -> u32 {
        let tasks = u64::from(desired_count) * u64::from(self.maximum_percent) / 100;
        u32::try_from(tasks).unwrap_or(u32::MAX)
    }
}

/// One revision on its way in or out of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id, and its revision's number; tasks carry it as `startedBy`.
    pub id: DeploymentId,
    /// What it brings in.
    pub spec: Arc<RevisionSpec>,
    /// The service deployment whose story it is a part of now.
    pub service_deployment: ServiceDeploymentId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When anything of it changed.
    pub updated_at: Timestamp,
    /// How far it has come.
    pub rollout: Rollout,
    /// The words shown with that.
    pub reason: Arc<str>,
    /// What went wrong with its tasks.
    #[serde(default)]
    pub failures: Failures,
}

/// How far a deployment has come: `rolloutState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Rollout {
    InProgress,
    Completed,
    Failed,
}

impl Rollout {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

/// Tasks of a deployment that failed, and what follows for the next ones. Kept by apply, task by task; those that are replaced
/// because they are unhealthy are counted with the decision to stop them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Failures {
    /// In a row: `failedTasks`.
    pub count: u32,
    /// When the last one failed.
    pub last: Option<Timestamp>,
    /// Rounds of starts of which no task came to run, in a row.
    pub rounds: u32,
    /// Nothing is started before this.
    pub hold_until: Option<Timestamp>,
}

/// The first pause after a task did not come to run; it doubles with every further round. The curve is not published; ours
/// begins short, because the first retry mostly follows a slip that is already mended.
const FIRST_PAUSE_MILLIS: i64 = 1_000;
/// The longest pause. Source: "Service throttle logic" in the ECS developer guide.
const LONGEST_PAUSE_MILLIS: i64 = 27 * 60_000;
/// A task that ends sooner than this after its start is replaced no sooner than that. Such tasks are never throttled, but a
/// program that ends at once must not keep a machine busy with nothing but starting it.
const SHORTEST_LIFE_MILLIS: i64 = 5_000;

impl Failures {
    /// A task, made at `created`, did not come to run.
    pub fn never_ran(&mut self, created: Timestamp, now: Timestamp) {
        self.failed(now);
        // Those that were started together fail together: one round.
        let together = self.hold_until.is_some_and(|until| self.is_credible(until, now) && created < until);
        if self.rounds == 0 || !together {
            self.rounds += 1;
            self.hold(now.plus_millis(self.pause()), now);
        }
    }

    /// A task did not come to run, or had to be replaced because it was not healthy.
    pub fn failed(&mut self, now: Timestamp) {
        self.count = self.count.saturating_add(1);
        self.last = Some(now);
    }

    /// A task came to run: what held up the next ones is over.
    pub fn ran(&mut self) {
        if self.rounds > 0 {
            self.rounds = 0;
            self.hold_until = None;
        }
    }

    /// A task that ran ended by itself.
    pub fn ended(&mut self, started: Timestamp, now: Timestamp) {
        if now.millis_since(started) < SHORTEST_LIFE_MILLIS {
            self.hold(started.plus_millis(SHORTEST_LIFE_MILLIS), now);
        }
    }

    /// A task is healthy: the failures before it are forgotten.
    pub fn forget(&mut self) {
        self.count = 0;
        self.last = None;
    }

    /// Until when nothing is started, if that is not over.
    pub fn held(&self, now: Timestamp) -> Option<Timestamp> {
        self.hold_until.filter(|until| *until > now && self.is_credible(*until, now))
    }

    fn hold(&mut self, until: Timestamp, now: Timestamp) {
        let already = self.hold_until.filter(|already| self.is_credible(*already, now));
        self.hold_until = Some(already.map_or(until, |already| already.max(until)));
    }

    /// The pause after so many rounds.
    fn pause(&self) -> i64 {
        let doublings = self.rounds.saturating_sub(1).min(20);
        (FIRST_PAUSE_MILLIS << doublings).min(LONGEST_PAUSE_MILLIS)
    }

    /// Whether the clock that it was written by can be today's. What is further away than any pause is of a clock that was ahead and
    /// was set back since, and would hold up a service for as long as that one was wrong.
    fn is_credible(&self, until: Timestamp, now: Timestamp) -> bool {
        until.millis_since(now) <= self.pause().max(SHORTEST_LIFE_MILLIS)
    }
}

impl Service {
    /// The deployment that is on its way in, or is in. None where an external controller deploys it.
    pub fn primary(&self) -> Option<&Deployment> {
        self.deployments.first()
    }

    /// What is shown of its form: what it was last asked to be, or what the task set is that serves.
    pub fn shown_spec(&self) -> Option<&Arc<RevisionSpec>> {
        self.spec.as_ref().or_else(|| self.external.as_ref()?.primary().map(|set| &set.spec))
    }

    /// How its tasks are launched, as far as it is known; EC2 is AWS's default.
    pub fn launch_type(&self) -> LaunchType {
        self.shown_spec().map_or(LaunchType::Ec2, |spec| spec.launch_type)
    }

    /// All that its tasks are: of each deployment and of each task set.
    pub fn specs(&self) -> impl Iterator<Item = &Arc<RevisionSpec>> {
        let sets = self.external.iter().flat_map(|external| &external.sets);
        self.deployments.iter().map(|deployment| &deployment.spec).chain(sets.map(|set| &set.spec))
    }

    /// What became of the tasks of a deployment or task set.
    pub fn failures(&self, id: DeploymentId) -> Option<Failures> {
        let set = || self.external.as_ref()?.set(id).map(|set| set.failures);
        self.deployment(id).map(|deployment| deployment.failures).or_else(set)
    }

    /// Writes down what became of the tasks of a deployment or task set.
    pub fn note_failures(&mut self, id: DeploymentId, failures: Failures, now: Timestamp) {
        if let Some(deployment) = self.deployments.iter_mut().find(|deployment| deployment.id == id) {
            deployment.failures = failures;
            deployment.updated_at = now;
        } else if let Some(set) = self.external.as_mut().and_then(|external| external.set_mut(id)) {
            // Its `updated_at` tells of its controller's changes alone.
            set.failures = failures;
        }
    }

    /// The group of its tasks.
    pub fn group(&self) -> Arc<str> {
        self.arn.group()
    }

    /// The deployment of that id, if it is still one of the service's.
    pub fn deployment(&self, id: DeploymentId) -> Option<&Deployment> {
        self.deployments.iter().find(|d| d.id == id)
    }

    /// Whether its group's tasks are what it is kept running for.
    pub fn is_active(&self) -> bool {
        match self.status {
            ServiceStatus::Active => true,
            ServiceStatus::Draining | ServiceStatus::Inactive => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_those_of_the_developer_guide() {
        for (threshold, desired, want) in [
            (Threshold::default(), 1, 3),
            (Threshold::default(), 25, 13),
            (Threshold::default(), 400, 200),
            (Threshold::default(), 800, 200),
            (Threshold::Count(2), 800, 2),
            (Threshold::Count(0), 1, 1),
            (Threshold::UnboundedPercent(50), 1, 1),
            (Threshold::UnboundedPercent(100), 800, 800),
            (Threshold::UnboundedPercent(50), 0, 1),
        ] {
            assert_eq!(threshold.of(desired), want, "{threshold:?} of {desired}");
        }
    }

    #[test]
    fn the_minimum_is_rounded_up_and_the_maximum_down() {
        let rules = |minimum_healthy_percent, maximum_percent| DeploymentRules {
            minimum_healthy_percent,
            maximum_percent,
            breaker: CircuitBreaker::default(),
            early_success: None,
            strategy: DeploymentStrategy::Rolling,
        };
        for (min, max, desired, want) in [
            (100, 200, 4, (4, 8)),
            (50, 150, 3, (2, 4)),
            (0, 100, 3, (0, 3)),
            (33, 133, 3, (1, 3)),
            (100, 200, u32::MAX, (u32::MAX, u32::MAX)),
        ] {
            let rules = rules(min, max);
            assert_eq!(
                (rules.minimum_healthy(desired), rules.maximum_total(desired)),
                want,
                "{min}/{max} of {desired}"
            );
        }
    }

    #[test]
    fn pauses_double_with_every_round_that_brings_nothing_up() {
        let mut failures = Failures::default();
        let mut now = Timestamp(0);
        let mut pauses = Vec::new();
        for _ in 0..14 {
            let created = now;
            // Three tasks of one round: one pause.
            for _ in 0..3 {
                failures.never_ran(created, now);
            }
            let until = failures.hold_until.unwrap();
            pauses.push(until.millis_since(now) / 1000);
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1620, 1620, 1620]);
        assert_eq!(failures.count, 42);
        failures.ran();
        assert_eq!((failures.hold_until, failures.rounds), (None, 0));
        assert_eq!(failures.count, 42, "only a healthy task makes failures forgotten");
    }

    #[test]
    fn a_clock_that_was_ahead_holds_up_nothing_when_it_is_set_back() {
        let (ahead, now) = (Timestamp(3_600_000), Timestamp(0));
        let mut failures = Failures::default();
        failures.ended(ahead, ahead.plus_millis(100));
        assert_eq!((failures.held(ahead), failures.held(now)), (Some(Timestamp(3_605_000)), None));
        let mut failures = Failures::default();
        failures.never_ran(ahead, ahead);
        failures.never_ran(ahead.plus_millis(1_000), ahead.plus_millis(1_000));
        assert_eq!((failures.held(ahead), failures.held(now)), (Some(Timestamp(3_603_000)), None));
        // What fails by the new clock is a round of its own, and waits by it.
        failures.never_ran(now, now);
        failures.never_ran(now, now);
        assert_eq!((failures.held(now), failures.rounds), (Some(Timestamp(4_000)), 3));
        assert_eq!(failures.held(Timestamp(4_000)), None);
    }

    #[test]
    fn a_task_that_ends_at_once_is_not_replaced_at_once() {
        let mut failures = Failures::default();
        failures.ended(Timestamp(1_000), Timestamp(1_100));
        assert_eq!(failures.hold_until, Some(Timestamp(6_000)));
        let mut failures = Failures::default();
        failures.ended(Timestamp(1_000), Timestamp(6_000));
        assert_eq!(failures.hold_until, None);
    }
}

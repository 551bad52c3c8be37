//! One pass in the making: what has been decided so far, and the tasks as they will be once that is done.

use super::{
    count::{LOST_AFTER_MILLIS, Member, Roll, Stage, by_age, number},
    events::{self, Who, reason},
    view::{Hold, Plan, Start, StopTask, Told, View},
};
use model::{
    CapacityProviderStrategy, Deployment, DeploymentId, Failures, PlacementStrategy, Rollout, Service,
    ServiceDeployment, ServiceName, Stop, StopCode, Task, TaskArn, TaskSet, Timestamp,
};
use std::{collections::HashSet, sync::Arc};

pub(super) struct Pass<'a> {
    pub(super) view: &'a View<'a>,
    /// The tasks; those that this pass stops have moved to `leaving`.
    pub(super) roll: Roll<'a>,
    /// The task set whose tasks are being moved; none while they are the primary deployment's.
    pub(super) set: Option<DeploymentId>,
    /// The deployment whose tasks are being moved, if it is not the primary one or there are others beside it.
    pub(super) side: Option<DeploymentId>,
    /// The record, if anything of it was touched.
    changed: Option<Service>,
    /// The story, if anything of it was touched.
    story: Option<ServiceDeployment>,
    pub(super) plan: Plan,
}

impl<'a> Pass<'a> {
    pub(super) fn new(view: &'a View<'a>) -> Self {
        let roll = Roll::of(view, view.service.primary().map(|primary| primary.id));
        Self { view, roll, set: None, side: None, changed: None, story: None, plan: Plan::default() }
    }

    pub(super) fn service(&self) -> &Service {
        self.changed.as_ref().unwrap_or(self.view.service)
    }

    /// The record, to be changed. A pass that changes nothing never copies it.
    pub(super) fn edit(&mut self) -> &mut Service {
        let view = self.view;
        self.changed.get_or_insert_with(|| view.service.clone())
    }

    pub(super) fn name(&self) -> &'a ServiceName {
        &self.view.service.arn.name
    }

    /// Whose events are told: the service's, or its task set's.
    pub(super) fn who(&self) -> Who<'a> {
        Who { service: self.name(), set: self.set }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.view.now
    }

    /// The primary deployment. Not for services that an external controller deploys: they have none.
    pub(super) fn primary(&self) -> &Deployment {
        self.service().primary().expect("a service has a primary deployment where no external controller deploys it")
    }

    /// The deployment whose tasks are being moved.
    fn deployment(&self) -> &Deployment {
        self.side.and_then(|side| self.service().deployment(side)).unwrap_or_else(|| self.primary())
    }

    fn task_set(&self) -> Option<&TaskSet> {
        self.service().external.as_ref()?.set(self.set?)
    }

    /// What the tasks that are being moved are of.
    pub(super) fn aim(&self) -> DeploymentId {
        self.set.or(self.side).unwrap_or_else(|| self.primary().id)
    }

    /// How many tasks of it are asked for.
    pub(super) fn desired(&self) -> u32 {
        let service = self.service().desired_count;
        self.task_set().map_or(service, |set| set.computed_desired_count(service))
    }

    /// What became of its tasks.
    pub(super) fn failures(&self) -> Failures {
        self.task_set().map_or_else(|| self.deployment().failures, |set| set.failures)
    }

    /// Its wishes where tasks are.
    pub(super) fn strategy(&self) -> &[PlacementStrategy] {
        let own = || &*self.deployment().spec.placement_strategy;
        self.task_set().map_or_else(own, |set| &set.spec.placement_strategy)
    }

    /// Whose room they take, by which shares.
    pub(super) fn capacity(&self) -> &CapacityProviderStrategy {
        let own = || &self.deployment().spec.capacity_provider_strategy;
        self.task_set().map_or_else(own, |set| &set.spec.capacity_provider_strategy)
    }

    pub(super) fn story(&self) -> Option<&ServiceDeployment> {
        self.story.as_ref().or(self.view.story)
    }

    /// Changes the story, if there is one.
    pub(super) fn tell_story(&mut self, change: impl FnOnce(&mut ServiceDeployment)) {
        let now = self.view.now;
        if let Some(mut story) = self.story().cloned() {
            change(&mut story);
            story.updated_at = now;
            self.story = Some(story);
        }
    }

    /// Tells an event, unless it tells of a state that was told not long ago.
    pub(super) fn tell(&mut self, told: Told) {
        let fresh = |at: Timestamp| self.now().millis_since(at) < events::DUPLICATES_SUPPRESSED_MILLIS;
        let repeated = || (self.view.events)(&told.message).is_some_and(fresh) || self.plan.events.contains(&told);
        if !(events::may_repeat(told.name) && repeated()) {
            self.plan.events.push(told);
        }
    }

    pub(super) fn hold(&mut self, hold: Hold) {
        self.plan.held.push(hold);
    }

    /// Whether any of the tasks that are to stop, and have not, is the service's or the task set's that is being moved.
    pub(super) fn leave_some(&self) -> bool {
        let set = self.set.map(|set| set.to_string());
        self.roll.leaving.iter().any(|task| set.is_none() || task.started_by.as_deref() == set.as_deref())
    }

    /// Asks to be looked at again no later than that.
    pub(super) fn look_at(&mut self, at: Timestamp) {
        self.plan.look_again = Some(self.plan.look_again.map_or(at, |already| already.min(at)));
    }

    pub(super) fn start(&mut self, start: Start) {
        self.plan.starts.push(start);
    }

    /// Tasks whose instance stays away can neither serve nor answer: they are given up, protected or not.
    pub(super) fn stop_lost(&mut self) {
        let lost = std::mem::take(&mut self.roll.lost);
        self.tell_stopped(&lost);
        self.roll.given_up.extend(&lost);
        self.plan.stops.extend(lost.into_iter().map(|task| stop(task, reason::LOST.into())));
    }

    /// Stops tasks as scaling in and deployments do, and tells it.
    pub(super) fn stop_scaling(&mut self, tasks: &[&'a Task]) {
        let service = self.name();
        self.take_off(tasks, |task| match deployment_of(task) {
            Some(deployment) => reason::scaling(deployment),
            None => reason::scaling_of_service(service),
        });
        self.tell_stopped(tasks);
    }

    pub(super) fn tell_stopped(&mut self, tasks: &[&Task]) {
        let (pending, running): (Vec<&Task>, Vec<&Task>) =
            tasks.iter().copied().partition(|task| task.last_status().is_pending());
        if !running.is_empty() {
            let told = events::stopped(self.who(), running.iter().map(|task| &task.arn.id));
            self.tell(told);
        }
        if !pending.is_empty() {
            let told = events::stopped_pending(self.who(), pending.iter().map(|task| &task.arn.id));
            self.tell(told);
        }
    }

    /// Stops tasks and says nothing.
    pub(super) fn take_off(&mut self, tasks: &[&'a Task], why: impl Fn(&Task) -> Arc<str>) {
        if tasks.is_empty() {
            return;
        }
        self.plan.stops.extend(tasks.iter().map(|task| stop(task, why(task))));
        let gone: HashSet<&TaskArn> = tasks.iter().map(|task| &task.arn).collect();
        self.roll.members.retain(|member| !gone.contains(&member.task.arn));
        self.roll.leaving.extend_from_slice(tasks);
    }

    /// Notes that protected tasks are in the way.
    pub(super) fn hold_protected(&mut self, members: &[Member<'a>]) {
        let now = self.now();
        if let Some(until) = members.iter().filter_map(|m| m.protected(now)).min() {
            self.hold(Hold::Protected { tasks: number(members.len()), until });
            self.look_at(until);
        }
    }

    /// Stops those that are pending: nothing is lost with them.
    pub(super) fn stop_pending(&mut self, which: impl Fn(&Member<'a>) -> bool) {
        let now = self.now();
        let leave = self.roll.members.iter().filter(|m| m.pending() && which(m)).copied();
        let (protected, mut leave): (Vec<_>, Vec<_>) = leave.partition(|m| m.protected(now).is_some());
        self.hold_protected(&protected);
        by_age(&mut leave);
        let leave: Vec<_> = leave.iter().map(|m| m.task).collect();
        self.stop_scaling(&leave);
    }

    /// Stops some of `leave`, the least useful first, while enough healthy tasks remain: never below `minimum` by our own
    /// hand. `healthy` counts those there are, these among them. A task that is not healthy yet may serve all the same.
    pub(super) fn stop_above(&mut self, leave: Vec<Member<'a>>, healthy: u32, minimum: u32) {
        let now = self.now();
        let (protected, mut leave): (Vec<_>, Vec<_>) = leave.into_iter().partition(|m| m.protected(now).is_some());
        self.hold_protected(&protected);
        by_age(&mut leave);
        leave.sort_by_key(|m| (m.healthy(), !m.displaced));
        let mut left = healthy;
        let mut stopped = Vec::new();
        for member in &leave {
            let after = left - u32::from(member.healthy());
            if after < minimum {
                self.hold(Hold::MinimumHealthy { healthy: left, minimum });
                break;
            }
            left = after;
            stopped.push(member.task);
        }
        self.stop_scaling(&stopped);
    }

    /// Says what the service waits for, and when that may be over.
    pub(super) fn say_what_it_waits_for(&mut self) {
        let warming = |m: &Member<'_>| match m.stage {
            Stage::Warming(at) => at,
            Stage::Pending | Stage::Unhealthy | Stage::Healthy => None,
        };
        let members = &self.roll.members;
        let (healthy_at, warm) = earliest(members.iter().filter_map(warming));
        let unknown = self.roll.count(|m| m.stage == Stage::Warming(None));
        let ill = self.roll.count(Member::unhealthy);
        let (lost_at, away) =
            earliest(members.iter().filter_map(|m| m.unreachable).map(|since| since.plus_millis(LOST_AFTER_MILLIS)));
        let pending = self.roll.count(Member::pending);
        let displaced = self.roll.count(|m| m.displaced);
        if let Some(until) = healthy_at {
            self.hold(Hold::WaitingForHealthy { tasks: warm, until });
            self.look_at(until);
        }
        if unknown > 0 {
            self.hold(Hold::WaitingForHealthCheck { tasks: unknown });
        }
        if ill > 0 {
            self.hold(Hold::Unhealthy { tasks: ill });
        }
        if let Some(until) = lost_at {
            self.hold(Hold::Unreachable { tasks: away, until });
            self.look_at(until);
        }
        if pending > 0 {
            self.hold(Hold::WaitingForRunning { tasks: pending });
        }
        if displaced > 0 {
            self.hold(Hold::Draining { tasks: displaced });
        }
        let leaving = match self.service().primary().map(|primary| (primary.rollout, primary.id)) {
            Some((Rollout::InProgress, primary)) => self.roll.old_leaving(primary),
            Some((Rollout::Completed | Rollout::Failed, _)) | None => 0,
        };
        if leaving > 0 {
            self.hold(Hold::WaitingForStopped { tasks: leaving });
        }
    }

    pub(super) fn finish(mut self) -> Plan {
        // A member that this pass stopped while its instance was away is looked at again by the pass that its stop wakes.
        if let Some(at) = self.roll.given_up_at {
            self.look_at(at);
        }
        self.plan.service = self.changed.filter(|changed| changed != self.view.service);
        self.plan.stories.extend(self.story.filter(|story| Some(story) != self.view.story));
        self.plan
    }
}

fn earliest(moments: impl Iterator<Item = Timestamp>) -> (Option<Timestamp>, u32) {
    moments.fold((None, 0), |(first, count), at| (Some(first.map_or(at, |first: Timestamp| first.min(at))), count + 1))
}

/// The deployment that a task is of.
fn deployment_of(task: &Task) -> Option<DeploymentId> {
    task.started_by.as_deref()?.parse().ok()
}

fn stop(task: &Task, reason: Arc<str>) -> StopTask {
    StopTask { task: task.arn.clone(), why: Stop { code: StopCode::ServiceSchedulerInitiated, reason } }
}

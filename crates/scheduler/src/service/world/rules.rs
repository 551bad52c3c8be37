//! What must hold for every plan, whatever has happened before.

use super::{Plan, World};
use crate::service::{InstanceState, Start, blue_green, events, is_healthy};
use model::{
    HealthStatus, LifecycleStage, Phase, Rollout, SchedulingStrategy, Service, Task, TaskArn, TaskSetStatus, TaskStatus,
};

/// Whether it is stopped because it is unhealthy.
fn ails(plan: &Plan, task: &Task) -> bool {
    let mut stops = plan.stops.iter().filter(|stop| stop.task == task.arn);
    stops.any(|stop| *stop.why.reason == *events::reason::UNHEALTHY)
}

impl World {
    pub(super) fn hold_plan_to_the_laws(&self, plan: &Plan) {
        let service = plan.service.as_ref().unwrap_or(&self.service);
        if service.external.is_some() {
            return self.hold_sets_to_the_laws(plan);
        }
        let mut runs = self.tasks.iter().filter(|task| task.last_status() == TaskStatus::Running);
        let listed =
            |task: &Task| task.started_by.as_deref().and_then(|id| service.deployment(id.parse().ok()?)).is_some();
        assert!(runs.all(listed), "a task runs and its deployment is not listed: {plan:?}");
        self.hold_ill_ones_to_the_minimum(plan, service);
        if service.scheduling == SchedulingStrategy::Daemon && service.is_active() {
            self.hold_daemons_to_the_minimum(plan);
        }
        let primary = service.primary().unwrap();
        let stopped = |arn: &TaskArn| plan.stops.iter().any(|stop| stop.task == *arn);
        for task in self.live().filter(|task| stopped(&task.arn)) {
            let protected = task.protected_until.is_some_and(|until| until > self.now);
            let bound = service.is_active() && service.scheduling == SchedulingStrategy::Replica;
            assert!(!(protected && bound) || ails(plan, task), "a protected task is stopped: {plan:?}");
        }
        if self.hold_sides_to_the_laws(plan, service) || plan.starts.is_empty() {
            return;
        }
        assert!(service.is_active() && primary.rollout != Rollout::Failed, "{plan:?}");
        // While others are cleared away, the revision to go back to is the one that is kept.
        let kept = |start: &Start| match service.deployment(start.deployment) {
            Some(kept) if kept.id != primary.id => self.service.rules.strategy.as_str() == "BLUE_GREEN",
            kept => kept.is_some(),
        };
        let held = |start: &Start| service.failures(start.deployment).and_then(|failures| failures.hold_until);
        assert!(plan.starts.iter().all(|s| held(s).is_none_or(|until| until <= self.now)), "{plan:?}");
        let starts: u32 = plan.starts.iter().map(|start| start.count).sum();
        let live = self.live().filter(|task| !stopped(&task.arn)).count() as u32;
        let maximum = service.rules.maximum_total(service.desired_count);
        if service.scheduling == SchedulingStrategy::Replica {
            assert!(live + starts <= maximum, "{live} and {starts} more are over {maximum}: {plan:?}");
        }
        assert!(plan.starts.iter().all(|start| kept(start) && start.count > 0), "{plan:?}");
    }

    /// Before CLEAN_UP each revision stands for itself. False where none stands beside another.
    fn hold_sides_to_the_laws(&self, plan: &Plan, service: &Service) -> bool {
        let Some(primary) = service.primary().filter(|primary| primary.rollout == Rollout::InProgress) else {
            return false;
        };
        let story = plan.stories.iter().find(|story| story.arn.id == primary.service_deployment);
        let Some(story) = story.or_else(|| self.stories.get(&primary.service_deployment)) else { return false };
        let stage = story.lifecycle.as_ref().map(|lifecycle| lifecycle.stage);
        let beside = |stage| stage != LifecycleStage::CleanUp && stage != LifecycleStage::ReconcileService;
        if !service.is_active() || story.status.is_over() || !stage.is_some_and(beside) {
            return false;
        }
        let serving = blue_green::serving(service, Some(story)).expect("one of them serves");
        let requested = blue_green::requested(service, Some(story), serving);
        assert_eq!(requested, service.desired_count, "who serves is kept in full: {plan:?}");
        let stopped = |task: &&Task| plan.stops.iter().any(|stop| stop.task == task.arn);
        let healthy = |task: &&Task| is_healthy(task, self.now);
        for deployment in &service.deployments {
            let starts = plan.starts.iter().filter(|s| s.deployment == deployment.id).map(|s| s.count).sum::<u32>();
            let before = self.live_of(deployment.id).filter(healthy).count();
            let after = self.live_of(deployment.id).filter(|task| !stopped(task)).filter(healthy).count();
            let minimum = service.rules.minimum_healthy(service.desired_count) as usize;
            assert!(after == before || after >= minimum, "{after} of {before} are left, minimum {minimum}: {plan:?}");
            if starts > 0 {
                let live = self.live_of(deployment.id).filter(|task| !stopped(task)).count() as u32;
                let maximum = service.rules.maximum_total(service.desired_count);
                assert!(live + starts <= maximum, "{live} and more are over {maximum}: {plan:?}");
                assert!(deployment.failures.hold_until.is_none_or(|until| until <= self.now), "{plan:?}");
                let green = deployment.id == primary.id;
                assert!(!green || story.rollback.is_some() || stage > Some(LifecycleStage::PreScaleUp), "{plan:?}");
            }
        }
        true
    }

    /// The same for each task set alone: its minimum, its maximum, its protected tasks, its pauses.
    fn hold_sets_to_the_laws(&self, plan: &Plan) {
        let stopped = |arn: &TaskArn| plan.stops.iter().any(|stop| stop.task == *arn);
        let starts = |id| plan.starts.iter().filter(|s| s.deployment == id).map(|s| s.count).sum::<u32>();
        let kept = self.sets().iter().filter(|set| self.service.is_active() && set.status != TaskSetStatus::Draining);
        for set in kept.clone() {
            let count = set.computed_desired_count(self.service.desired_count);
            let healthy = |task: &&Task| is_healthy(task, self.now);
            let before = self.live_of(set.id).filter(healthy).count();
            let after = self.live_of(set.id).filter(|task| !stopped(&task.arn)).filter(healthy).count();
            let minimum = self.service.rules.minimum_healthy(count) as usize;
            assert!(after == before || after >= minimum, "{after} of {before} are left, minimum {minimum}: {plan:?}");
            let protected =
                |task: &&Task| task.protected_until.is_some_and(|until| until > self.now) && !ails(plan, task);
            assert!(!self.live_of(set.id).filter(protected).any(|task| stopped(&task.arn)), "protected: {plan:?}");
            if starts(set.id) > 0 {
                let live = self.live_of(set.id).filter(|task| !stopped(&task.arn)).count() as u32;
                let maximum = self.service.rules.maximum_total(count);
                assert!(live + starts(set.id) <= maximum, "{live} and more are over {maximum}: {plan:?}");
                assert!(set.failures.hold_until.is_none_or(|until| until <= self.now), "{plan:?}");
            }
        }
        let all: u32 = plan.starts.iter().map(|start| start.count).sum();
        assert_eq!(all, kept.map(|set| starts(set.id)).sum::<u32>(), "only of sets that are kept: {plan:?}");
    }

    /// Those that are unhealthy go when healthy ones stand for them, else one by one: of the judged the minimum stays, unless
    /// one alone is in the way of all that could be better.
    fn hold_ill_ones_to_the_minimum(&self, plan: &Plan, service: &Service) {
        let judged = |task: &&Task| {
            task.phase == Phase::Running && task.health().is_some_and(|health| health != HealthStatus::Unknown)
        };
        let ill = self.live().filter(|task| ails(plan, task)).count() as u32;
        assert!(self.live().filter(|task| ails(plan, task)).all(|task| !is_healthy(task, self.now)), "{plan:?}");
        let healthy = self.healthy();
        let left = self.live().filter(judged).count() as u32 - ill;
        let minimum = service.rules.minimum_healthy(service.desired_count);
        assert!(ill <= 1 || left >= minimum || healthy >= service.desired_count, "{left} of {minimum} stay: {plan:?}");
    }

    /// Daemons stop for their successors only while enough of the others are healthy. Where they are not to be at all they stop.
    fn hold_daemons_to_the_minimum(&self, plan: &Plan) {
        let service = plan.service.as_ref().unwrap_or(&self.service);
        let stopped = |task: &Task| plan.stops.iter().any(|stop| stop.task == task.arn);
        let home = |task: &Task| {
            let instance = &self.ground.0[task.container_instance.as_ref().unwrap()];
            match instance.state {
                Some(InstanceState::Active) => instance.fits,
                Some(InstanceState::Unreachable { .. }) => true,
                None | Some(InstanceState::Draining) => false,
            }
        };
        let serving = || self.live().filter(|task| home(task) && is_healthy(task, self.now));
        let (all, left) = (serving().count(), serving().filter(|task| !stopped(task)).count() as u32);
        let minimum = service.rules.minimum_healthy(service.desired_count);
        assert!(left as usize == all || left >= minimum, "{left} of {all} daemons, minimum {minimum}: {plan:?}");
    }
}

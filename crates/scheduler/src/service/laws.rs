//! What holds for every service through every history.
//!
//! Random things happen to a small cluster; after each the planner plans and its plan is done. [`World::apply`] holds each
//! plan to the rules (never under the minimum or over the maximum by our own hand, nothing protected, nothing while it backs
//! off), [`World::think`] that planning again is a no-op. At the end the cluster is mended, and the service must come to what
//! it was asked for, and then rest.

use super::{
    InstanceState, deploy, task_sets,
    world::{Wish, World},
};
use model::{
    BlueGreen, CapacityProvider, CapacityProviderStrategy, CapacityProviderStrategyItem, CircuitBreaker, Cleanup,
    DeploymentId, DeploymentStrategy as Deploys, EarlySuccess, HealthStatus, HookAction, HookStatus, HookTarget,
    LifecycleHook, LifecycleStage, MAX_TASK_SETS, PlacementStrategy, Rollout, Scale, ServiceStatus, TaskSetStatus,
    Threshold, Timestamp,
};
use proptest::{collection::vec, prelude::*, sample::select};

/// Something that happens.
#[derive(Debug, Clone)]
enum Event {
    /// Agents do all they are asked.
    Agents,
    /// One task comes to run, or ends, by itself.
    Run(usize),
    End(usize),
    Drain(usize),
    Lose(usize),
    Gone(usize),
    Back(usize),
    Violate(usize),
    Join(&'static str),
    Desired(u32),
    Update {
        broken: bool,
    },
    RollBack,
    Abort,
    Protect(usize, i64),
    /// A task's health check changes its mind.
    Ail(usize),
    Recover(usize),
    /// Health checks of the newest deployment fail from now on.
    AllAil,
    /// Somebody says of the first open hook whether it goes on.
    Hook(bool),
    /// Seconds.
    Wait(i64),
}

fn an_event() -> impl Strategy<Value = Event> {
    let n = || 0..8usize;
    prop_oneof![
        6 => Just(Event::Agents),
        4 => (0..40usize).prop_map(Event::Run),
        3 => (0..40usize).prop_map(Event::End),
        1 => n().prop_map(Event::Drain),
        1 => n().prop_map(Event::Lose),
        1 => n().prop_map(Event::Gone),
        2 => n().prop_map(Event::Back),
        1 => n().prop_map(Event::Violate),
        1 => select(vec!["a", "b", "c"]).prop_map(Event::Join),
        2 => (0..9u32).prop_map(Event::Desired),
        2 => any::<bool>().prop_map(|broken| Event::Update { broken }),
        1 => Just(Event::RollBack),
        1 => Just(Event::Abort),
        1 => (0..40usize, 1..3000i64).prop_map(|(task, seconds)| Event::Protect(task, seconds)),
        3 => (0..40usize).prop_map(Event::Ail),
        2 => (0..40usize).prop_map(Event::Recover),
        1 => Just(Event::AllAil),
        3 => proptest::bool::weighted(0.8).prop_map(Event::Hook),
        6 => prop_oneof![0..10i64, 10..70i64, 70..5000i64].prop_map(Event::Wait),
    ]
}

fn a_wish() -> impl Strategy<Value = Wish> {
    let percents =
        select(vec![(100, 200), (50, 100), (0, 100), (50, 200), (100, 150), (67, 133), (100, 100), (0, 200)]);
    let breaker = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        select(vec![Threshold::default(), Threshold::Count(1), Threshold::UnboundedPercent(100)]),
    )
        .prop_map(|(enable, rollback, reset_on_healthy_task, threshold)| CircuitBreaker {
            enable,
            rollback,
            threshold,
            reset_on_healthy_task,
        });
    let strategy = select(vec!["", "spread attribute:ecs.availability-zone", "spread instanceId", "binpack memory"]);
    let deploys = proptest::option::weighted(0.4, a_blue_green());
    let health = (any::<bool>(), select(vec![None, Some(0), Some(20), Some(300)]));
    let strategy = (strategy, select(vec![None, None, Some((0, 1, 1)), Some((2, 1, 4)), Some((3, 0, 1))]));
    (0..9u32, percents, proptest::bool::weighted(0.25), breaker, any::<bool>(), strategy, deploys, health).prop_map(
        |(desired, (minimum, maximum), daemon, breaker, rebalance, (strategy, shares), deploys, (checked, grace))| {
            let strategy = strategy
                .split_once(' ')
                .map(|(kind, field)| PlacementStrategy { kind: kind.into(), field: Some(field.into()) });
            let maximum = if daemon { 100 } else { maximum };
            let minimum = if daemon { minimum.min(50) } else { minimum };
            let deploys = deploys.filter(|_| !daemon).map_or(Deploys::Rolling, Deploys::BlueGreen);
            let strategy = strategy.into_iter().collect();
            let capacity = shares.filter(|_| !daemon).map(capacity).unwrap_or_default();
            Wish { desired, minimum, maximum, daemon, breaker, rebalance, strategy, capacity, deploys, checked, grace }
        },
    )
}

/// So many for sure on FARGATE, and the others by these weights there and on FARGATE_SPOT.
fn capacity((base, fargate, spot): (u32, u32, u32)) -> CapacityProviderStrategy {
    let item = |provider, base, weight| CapacityProviderStrategyItem { provider, base, weight };
    let items = vec![item(CapacityProvider::FargateSpot, 0, spot), item(CapacityProvider::Fargate, base, fargate)];
    CapacityProviderStrategy::new(items).unwrap()
}

fn a_blue_green() -> impl Strategy<Value = BlueGreen> {
    let hook = (any::<bool>(), select(LifecycleStage::ALL.to_vec()), 1..200u32, any::<bool>());
    let hook = hook.prop_map(|(pause, stage, timeout_minutes, goes_on)| LifecycleHook {
        target: if pause { HookTarget::Pause } else { HookTarget::Http("http://hook/".into()) },
        role: None,
        stages: if stage.takes_hooks() { vec![stage] } else { vec![LifecycleStage::ProductionTrafficShift] },
        details: None,
        timeout_minutes,
        on_timeout: if goes_on { HookAction::Continue } else { HookAction::RollBack },
    });
    (0..20u32, vec(hook, 0..3)).prop_map(|(bake_minutes, hooks)| BlueGreen { bake_minutes, hooks })
}

/// Something that an external controller asks for.
#[derive(Debug, Clone)]
enum Order {
    Create(u32, bool),
    Scale(usize, u32),
    Lead(usize),
    Remove(usize),
}

fn an_order() -> impl Strategy<Value = Order> {
    let percent = || select(vec![0, 10, 33, 50, 100]);
    prop_oneof![
        3 => (percent(), proptest::bool::weighted(0.2)).prop_map(|(percent, broken)| Order::Create(percent, broken)),
        3 => (0..5usize, percent()).prop_map(|(n, percent)| Order::Scale(n, percent)),
        1 => (0..5usize).prop_map(Order::Lead),
        2 => (0..5usize).prop_map(Order::Remove),
    ]
}

impl World {
    fn obey(&mut self, order: &Order) {
        let (service, now) = (&self.service, self.now);
        let id = |n: &usize| self.sets().get(n % self.sets().len().max(1)).map(|set| set.id);
        let changed = match order {
            Order::Create(percent, broken) => {
                if self.sets().len() < MAX_TASK_SETS {
                    let id = self.create_set(f64::from(*percent));
                    self.broken.extend(broken.then_some(id));
                }
                return;
            }
            Order::Scale(n, percent) => {
                id(n).map(|id| task_sets::scale(service, id, Scale::of_percent(f64::from(*percent)).unwrap(), now))
            }
            Order::Lead(n) => {
                let kept = |id: &DeploymentId| {
                    self.sets().iter().any(|set| set.id == *id && set.status != TaskSetStatus::Draining)
                };
                id(n).filter(kept).map(|id| task_sets::lead(service, id, now))
            }
            Order::Remove(n) => id(n).map(|id| task_sets::remove(service, id, now)),
        };
        if let Some(changed) = changed {
            self.change(changed);
        }
    }

    fn happen(&mut self, event: &Event) {
        let (instances, tasks, now) = (self.ground.0.len(), self.tasks.len(), self.now);
        let instance = |n: usize| n % instances + 1;
        match event {
            Event::Agents => drop(self.agents()),
            Event::Run(n) if tasks > 0 => self.run(n % tasks),
            Event::End(n) if tasks > 0 => self.end(n % tasks),
            Event::Protect(n, seconds) if tasks > 0 => {
                self.tasks[n % tasks].protected_until = Some(now.plus_millis(seconds * 1000));
            }
            Event::Ail(n) if tasks > 0 => drop(self.check(n % tasks, HealthStatus::Unhealthy)),
            Event::Recover(n) if tasks > 0 => drop(self.check(n % tasks, HealthStatus::Healthy)),
            Event::Run(_) | Event::End(_) | Event::Protect(..) | Event::Ail(_) | Event::Recover(_) => {}
            Event::AllAil => self.ill.extend(self.service.primary().map(|primary| primary.id)),
            Event::Drain(n) => self.set(instance(*n), Some(InstanceState::Draining)),
            Event::Lose(n) => self.set(instance(*n), Some(InstanceState::Unreachable { since: now })),
            Event::Gone(n) => self.set(instance(*n), None),
            Event::Back(n) => self.set(instance(*n), Some(InstanceState::Active)),
            Event::Violate(n) => {
                let fits = &mut self.ground.0.values_mut().nth(n % instances).unwrap().fits;
                *fits = !*fits;
            }
            Event::Join(zone) => {
                if instances < 8 {
                    self.join(zone, 3);
                }
            }
            Event::Desired(count) => self.service.desired_count = *count,
            Event::Update { broken } => {
                let id = self.update();
                if *broken {
                    self.broken.insert(id);
                }
            }
            Event::RollBack => {
                let turned = self.story().and_then(|story| deploy::roll_back(&self.service, story, now));
                self.take(turned);
            }
            Event::Abort => {
                let turned = self.story().and_then(|story| deploy::abort(&self.service, story, &[], now));
                self.take(turned);
            }
            Event::Hook(goes_on) => {
                self.answer_hook(if *goes_on { HookStatus::Succeeded } else { HookStatus::Failed });
            }
            Event::Wait(seconds) => self.now = now.plus_millis(seconds * 1000),
        }
    }

    fn take(&mut self, turned: Option<deploy::Turned>) {
        if let Some(turned) = turned {
            self.service = turned.service;
            self.stories.insert(turned.story.arn.id.clone(), turned.story);
        }
    }

    /// Time alone changes nothing before the moment that the planner asked to be woken at.
    fn is_quiet_until(&self, look_again: Option<Timestamp>) {
        let month = self.now.plus_millis(30 * 24 * 3_600_000);
        let until = look_again.map_or(month, |at| at.plus_millis(-1));
        if !self.plan().is_idle() || until <= self.now {
            return;
        }
        let mut later = self.clone();
        later.now = until;
        let plan = later.plan();
        let quiet =
            plan.starts.is_empty() && plan.stops.is_empty() && plan.service.is_none() && plan.stories.is_empty();
        assert!(quiet, "asked to be woken at {look_again:?}, but at {until:?} it is {plan:?}");
    }

    /// Everything works from now on, and there is room.
    fn mend(&mut self) {
        self.mend_ground();
        // What was aborted or failed is deployed anew, or nothing more would be launched.
        self.service.rules.breaker.enable = false;
        if let Deploys::BlueGreen(how) = &mut self.service.rules.strategy {
            how.hooks.clear();
        }
        let hooked = self.story().is_some_and(|story| !story.status.is_over() && story.lifecycle.is_some());
        if hooked || self.service.primary().unwrap().rollout == Rollout::Failed {
            self.update();
        }
    }

    fn mend_ground(&mut self) {
        self.broken.clear();
        self.ill.clear();
        for instance in self.ground.0.values_mut() {
            instance.state = Some(InstanceState::Active);
            instance.slots = 100;
            instance.fits = true;
        }
        for task in &mut self.tasks {
            task.protected_until = None;
        }
    }

    /// Agents work and time passes, until nothing is left to wait for.
    fn come_to_rest(&mut self) {
        // Each step either lets agents work or lets time pass to where something changes. A service of 8 tasks that may
        // exchange only one at a time needs two steps for each, and starts over when the zones are moved; a pause may be
        // the longest there is.
        for _ in 0..80 {
            let (_, look_again) = self.think();
            if self.agents() {
                continue;
            }
            match look_again {
                Some(at) => {
                    assert!(at > self.now, "it asks for what has passed: {:?}", self.plan());
                    self.now = at;
                }
                None => return,
            }
        }
        panic!("it does not come to rest: {:#?}", self.plan());
    }

    fn can_move(&self) -> bool {
        let (rules, desired) = (&self.service.rules, self.service.desired_count);
        rules.maximum_total(desired) > rules.minimum_healthy(desired) || desired == 0
    }

    fn is_as_wished(&self) {
        let service = &self.service;
        assert!(service.steady, "{:#?}", self.plan());
        assert_eq!(service.deployments.len(), 1);
        assert_eq!(service.primary().unwrap().rollout, Rollout::Completed);
        assert_eq!(service.rebalancing, 0);
        assert_eq!(self.healthy(), service.desired_count);
        assert_eq!(self.live().count() as u32, service.desired_count);
        let of_primary = service.primary().unwrap().id.to_string();
        assert!(self.live().all(|task| task.started_by.as_deref() == Some(&*of_primary)));
        assert!(self.story().is_none_or(|story| story.status.is_over()));
        let over = self.stories.values().filter(|story| !story.status.is_over()).count();
        assert_eq!(over, 0, "{:#?}", self.stories);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happened, a mended service comes to what was asked for, and then nothing happens any more.
    #[test]
    fn a_service_comes_to_what_was_asked_for_and_rests(
        wish in a_wish(),
        early in proptest::option::weighted(0.2, (0..=100u32, any::<bool>())),
        slots in 1..4usize,
        history in vec(an_event(), 0..60),
    ) {
        let mut world = World::new(&["a", "b", "c", "a"], slots, &wish);
        world.service.rules.early_success = early.filter(|_| wish.deploys.is_rolling()).map(|(healthy_percent, deferred)| EarlySuccess {
            healthy_percent,
            cleanup: if deferred { Cleanup::Deferred } else { Cleanup::Blocking },
        });
        world.think();
        for event in &history {
            world.happen(event);
            let (_, look_again) = world.think();
            world.is_quiet_until(look_again);
        }
        world.mend();
        world.come_to_rest();
        if world.can_move() {
            world.is_as_wished();
        }
        let (tasks, told) = (world.tasks.len(), world.told.len());
        for hours in [1, 5, 24, 240] {
            world.now = world.now.plus_millis(hours * 3_600_000);
            let plan = world.plan();
            prop_assert!(plan.starts.is_empty() && plan.stops.is_empty() && plan.service.is_none(), "{plan:?}");
            world.think();
        }
        prop_assert_eq!(world.tasks.len(), tasks);
        // One that can not move says so again after six hours; one that is as wished says nothing.
        prop_assert!(world.told.len() == told || !world.can_move());
        if wish.rebalance && !wish.daemon && wish.maximum > 100 && world.can_move() && world.service.steady
            && world.service.rules.maximum_total(world.service.desired_count) > world.service.desired_count
            && wish.strategy.first().is_none_or(|s| s.field.as_deref() == Some("attribute:ecs.availability-zone"))
        {
            let zones = world.zones();
            let spread = zones.values().max().unwrap() - zones.values().min().unwrap();
            prop_assert!(spread <= 1, "{zones:?}");
        }
    }

    /// Whatever happened, and whatever its controller asked for, each task set comes to its count and rests.
    #[test]
    fn task_sets_come_to_their_counts_and_rest(
        wish in a_wish(),
        slots in 1..4usize,
        history in vec(prop_oneof![3 => an_event().prop_map(Ok), 1 => an_order().prop_map(Err)], 0..60),
    ) {
        let wish = Wish { daemon: false, ..wish };
        let mut world = World::external(&["a", "b", "c", "a"], slots, &wish);
        world.think();
        for event in &history {
            match event {
                Ok(Event::Update { .. } | Event::RollBack | Event::Abort) => {}
                Ok(Event::Desired(count)) => world.change(task_sets::resize(&world.service, *count, world.now)),
                Ok(event) => world.happen(event),
                Err(order) => world.obey(order),
            }
            let (_, look_again) = world.think();
            world.is_quiet_until(look_again);
        }
        world.mend_ground();
        world.come_to_rest();
        let rules = world.service.rules.clone();
        let can_move = |count| count == 0 || rules.maximum_total(count) > rules.minimum_healthy(count);
        let desired = world.service.desired_count;
        prop_assert!(world.sets().iter().all(|set| set.status != TaskSetStatus::Draining), "{:?}", world.sets());
        for set in world.sets() {
            let count = set.computed_desired_count(desired);
            if can_move(count) {
                prop_assert!(set.steady, "{set:?}");
                prop_assert_eq!(world.live_of(set.id).count() as u32, count);
            }
        }
        let (tasks, told) = (world.tasks.len(), world.told.len());
        for hours in [1, 24, 240] {
            world.now = world.now.plus_millis(hours * 3_600_000);
            world.think();
        }
        prop_assert_eq!(world.tasks.len(), tasks);
        let moves = world.sets().iter().all(|set| can_move(set.computed_desired_count(desired)));
        prop_assert!(world.told.len() == told || !moves);
        world.service = deploy::delete(&world.service, world.now);
        world.come_to_rest();
        prop_assert_eq!(world.service.status, ServiceStatus::Inactive);
        prop_assert!(world.sets().is_empty() && world.live().count() == 0);
    }

    /// A deleted service stops everything, and is INACTIVE in the end, whatever had happened.
    #[test]
    fn a_deleted_service_ends(wish in a_wish(), slots in 1..4usize, history in vec(an_event(), 0..30)) {
        let mut world = World::new(&["a", "b", "c"], slots, &wish);
        world.think();
        for event in &history {
            world.happen(event);
            let (_, look_again) = world.think();
            world.is_quiet_until(look_again);
        }
        world.service = deploy::delete(&world.service, world.now);
        world.come_to_rest();
        prop_assert_eq!(world.live().count(), 0);
        // A task whose instance was lost after its stop was asked for is waited for no longer than it takes to give it up.
        world.now = world.now.plus_millis(super::LOST_AFTER_MILLIS);
        world.think();
        prop_assert_eq!(world.service.status, ServiceStatus::Inactive);
        prop_assert!(world.plan().is_idle());
    }
}

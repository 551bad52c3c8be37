//! What is easier said in rows than in stories: which task goes, what the API's transitions write, the texts.

use super::{
    InstanceState, Told, deploy, events,
    view::Hold,
    world::{Wish, World, instance_id},
};
use model::{
    CapacityProvider, CapacityProviderStrategy, CapacityProviderStrategyItem, CircuitBreaker, DeploymentId,
    PlacementStrategy, Rollback, Rollout, ServiceDeploymentStatus, ServiceEventName as Name, ServiceName, Task, TaskId,
    Timestamp,
};

/// A world whose tasks are where `layout` says (instance numbers), all healthy.
fn laid_out(zones: &[&str], strategy: &str, layout: &[usize]) -> World {
    let strategy = strategy
        .split_once(' ')
        .map(|(kind, field)| PlacementStrategy { kind: kind.into(), field: Some(field.into()) });
    let desired = layout.len() as u32;
    let wish = Wish { desired, strategy: strategy.into_iter().collect(), ..Wish::default() };
    let mut world = World::new(zones, 100, &wish);
    world.think();
    for (at, instance) in layout.iter().enumerate() {
        let id = instance_id(*instance);
        world.tasks[at].availability_zone = Some(world.ground.0[&id].zone.clone());
        world.tasks[at].container_instance = Some(id);
    }
    world.agents();
    world.now = world.now.plus_millis(60_000);
    world.think();
    world
}

fn number(task: &Task) -> usize {
    usize::from_str_radix(task.arn.id.as_str(), 16).unwrap()
}

#[test]
fn scaling_in_takes_from_where_the_strategy_says() {
    // Zones of the instances, strategy, the instance of each task, what is left of each instance, the desired count after it:
    // the tasks that go.
    type Row<'a> = (&'a [&'a str], &'a str, &'a [usize], &'a [u32], u32, &'a [usize]);
    let rows: [Row<'_>; 11] = [
        // No strategy: the fullest zone, in it the fullest instance, there the youngest.
        (&["a", "b"], "", &[1, 1, 2], &[], 2, &[2]),
        (&["a", "a", "b"], "", &[1, 2, 2, 3, 3], &[], 4, &[3]),
        (&["a", "a", "b"], "", &[1, 2, 2, 3, 3], &[], 3, &[3, 5]),
        (&["a", "b", "c"], "", &[1, 1, 1, 2, 3], &[], 3, &[2, 3]),
        // Spread over zones: the same balance.
        (&["a", "b"], "spread attribute:ecs.availability-zone", &[1, 1, 1, 2], &[], 2, &[2, 3]),
        // Spread over instances: zones do not matter.
        (&["a", "a", "b"], "spread instanceId", &[1, 2, 3, 3], &[], 3, &[4]),
        (&["a", "a", "b"], "spread host", &[1, 2, 3, 3, 3], &[], 3, &[4, 5]),
        // Binpack: the instance that has most left is emptied first.
        (&["a", "b"], "binpack memory", &[1, 1, 2, 2], &[10, 500], 3, &[4]),
        (&["a", "b"], "binpack cpu", &[1, 1, 2, 2], &[500, 10], 2, &[1, 2]),
        // Nobody knows what is left: the instance with fewer tasks has more.
        (&["a", "b"], "binpack memory", &[1, 1, 2], &[], 2, &[3]),
        // All of them.
        (&["a", "b"], "", &[1, 2], &[], 0, &[1, 2]),
    ];
    for (zones, strategy, layout, left, desired, want) in rows {
        let mut world = laid_out(zones, strategy, layout);
        for (instance, left) in world.ground.0.values_mut().zip(left) {
            instance.left = Some(*left);
        }
        world.service.desired_count = desired;
        let plan = world.plan();
        let mut gone: Vec<_> =
            plan.stops.iter().map(|stop| usize::from_str_radix(stop.task.id.as_str(), 16).unwrap()).collect();
        gone.sort_unstable();
        assert_eq!(gone, want, "{strategy} {layout:?} to {desired}");
        let reason = format!("Scaling activity initiated by (deployment {})", world.service.primary().unwrap().id);
        assert!(plan.stops.iter().all(|stop| *stop.why.reason == *reason), "{plan:?}");
    }
}

#[test]
fn scaling_in_takes_first_what_serves_least() {
    // Which tasks are pending, which run for ten seconds only, which are protected; the desired count; the tasks that go.
    type Row<'a> = (&'a [usize], &'a [usize], &'a [usize], u32, &'a [usize]);
    let rows: [Row<'_>; 6] = [
        (&[1], &[2], &[], 3, &[1]),
        (&[1], &[2], &[], 2, &[1, 2]),
        (&[], &[4], &[], 3, &[4]),
        (&[], &[], &[4, 3], 3, &[2]),
        (&[], &[], &[1, 2, 3, 4], 1, &[]),
        // What is left of healthy ones is the minimum: the protected ones that are not healthy yet must come first.
        (&[], &[1, 2], &[1, 2], 2, &[]),
    ];
    for (pending, warming, protected, desired, want) in rows {
        let mut world = laid_out(&["a"], "", &[1, 1, 1, 1]);
        let (now, fresh) = (world.now, world.now.plus_millis(-10_000));
        for task in &mut world.tasks {
            let number = number(task);
            if pending.contains(&number) {
                task.phase = model::Phase::Pending;
            } else if warming.contains(&number) {
                task.times.started = Some(fresh);
            }
            task.protected_until = protected.contains(&number).then(|| now.plus_millis(60_000));
        }
        world.service.desired_count = desired;
        let mut plan = world.plan();
        plan.stops.sort_by(|a, b| a.task.cmp(&b.task));
        let gone: Vec<_> =
            plan.stops.iter().map(|stop| usize::from_str_radix(stop.task.id.as_str(), 16).unwrap()).collect();
        assert_eq!(gone, want, "{pending:?} {warming:?} {protected:?} to {desired}: {plan:?}");
        world.apply(&plan);
    }
}

#[test]
fn a_new_deployment_ends_the_story_of_the_one_before() {
    let mut world = laid_out(&["a"], "", &[1, 1]);
    let first = world.service.primary().unwrap().clone();
    assert_eq!(world.story().unwrap().status, ServiceDeploymentStatus::Successful);
    world.update();
    world.think();
    let second = world.story().unwrap().clone();
    assert_eq!(second.sources.len(), 1);
    assert_eq!((second.sources[0].id, second.sources[0].running, second.sources[0].requested), (first.id, 2, 2));
    assert_eq!((second.target.requested, second.status), (2, ServiceDeploymentStatus::InProgress));
    world.update();
    let ended = &world.stories[&second.arn.id];
    assert_eq!(ended.status, ServiceDeploymentStatus::Stopped);
    assert_eq!(ended.finished_at, Some(world.now));
    let third = world.story().unwrap();
    assert_eq!(third.sources.len(), 2, "two tasks of each of the others are there: {third:?}");
    // Many of them in a row leave only those with tasks, and the one to go back to.
    for _ in 0..20 {
        world.update();
    }
    let rollouts: Vec<_> = world.service.deployments.iter().map(|d| d.rollout).collect();
    assert_eq!(rollouts, [Rollout::InProgress, Rollout::InProgress, Rollout::Completed], "{:?}", world.service);
}

#[test]
fn a_story_ends_with_the_tasks_of_its_end() {
    let mut world = laid_out(&["a"], "", &[1, 1, 1]);
    world.update();
    for _ in 0..4 {
        world.think();
        world.agents();
        world.now = world.now.plus_millis(40_000);
    }
    world.think();
    let story = world.story().unwrap();
    assert_eq!(story.status, ServiceDeploymentStatus::Successful);
    assert_eq!((story.target.requested, story.target.running, story.target.pending), (3, 3, 0));
    assert_eq!((story.sources[0].requested, story.sources[0].running), (0, 0));
    assert_eq!(story.reason.as_deref(), Some(&*world.service.primary().unwrap().reason));
}

#[test]
fn there_is_a_way_back_only_to_what_was_completed() {
    let mut world = World::new(&["a"], 9, &Wish::default());
    let story = world.story().unwrap().clone();
    assert_eq!(deploy::roll_back(&world.service, &story, world.now), None, "nothing before it");
    world.update();
    let story = world.story().unwrap().clone();
    assert_eq!(deploy::roll_back(&world.service, &story, world.now), None, "the one before was not completed");
    let mut world = laid_out(&["a"], "", &[1]);
    let over = world.story().unwrap().clone();
    assert_eq!(deploy::roll_back(&world.service, &over, world.now), None, "its story is over");
    assert_eq!(deploy::abort(&world.service, &over, &[], world.now), None, "its story is over");
    let first = world.service.primary().unwrap().clone();
    let second = world.update();
    let story = world.story().unwrap().clone();
    let turned = deploy::roll_back(&world.service, &story, Timestamp(world.now.0 + 5)).unwrap();
    assert_eq!(turned.service.primary().unwrap().id, first.id);
    assert_eq!(turned.service.primary().unwrap().service_deployment, story.arn.id, "it goes on with the story");
    assert_eq!(turned.service.spec, Some(first.spec));
    assert_eq!(turned.service.deployments[1].id, second);
    assert_eq!(turned.service.deployments[1].rollout, Rollout::Failed);
    assert_eq!(turned.story.status, ServiceDeploymentStatus::RollbackInProgress);
    assert_eq!(turned.story.rollback.as_ref().map(|back| back.to), Some(first.id));
    assert_eq!(turned.service.version, world.service.version, "apply counts it");
    assert_eq!(deploy::roll_back(&turned.service, &turned.story, world.now), None, "it is on its way back");
}

#[test]
fn a_deployment_that_failed_gives_up_its_own_tasks_first() {
    let mut world = laid_out(&["a"], "", &[1, 1, 1, 1]);
    world.join("b", 100);
    world.service.rules.maximum_percent = 150;
    world.update();
    world.think();
    world.agents();
    // All are healthy, and zone a has more of them.
    world.now = world.now.plus_millis(60_000);
    let turned = deploy::abort(&world.service, world.story().unwrap(), &[], world.now).unwrap();
    world.service = turned.service;
    let gone: Vec<_> = world.plan().stops.iter().map(|stop| stop.task.id.to_string()).collect();
    let new: Vec<_> = world.tasks[4..].iter().map(|task| task.arn.id.to_string()).collect();
    assert_eq!((gone.len(), gone), (2, new));
}

#[test]
fn there_is_no_way_back_from_a_way_back() {
    let mut world = laid_out(&["a"], "", &[1]);
    world.service.rules.breaker = CircuitBreaker { enable: true, rollback: true, ..CircuitBreaker::default() };
    let (first, second) = (world.service.primary().unwrap().id, world.update());
    let mut story = world.story().unwrap().clone();
    story.status = ServiceDeploymentStatus::RollbackInProgress;
    story.rollback = Some(Rollback { reason: "".into(), started_at: world.now, to: second });
    world.stories.insert(story.arn.id.clone(), story);
    world.service.deployments[0].failures.count = 3;
    world.think();
    let deployments: Vec<_> = world.service.deployments.iter().map(|d| (d.id, d.rollout)).collect();
    assert_eq!(deployments, [(second, Rollout::Failed), (first, Rollout::Completed)]);
    assert_eq!(world.story().unwrap().status, ServiceDeploymentStatus::RollbackFailed);
}

#[test]
fn a_daemon_is_the_last_to_leave_an_instance_that_drains() {
    struct Busy<'a>(&'a World);
    impl super::Field for Busy<'_> {
        fn instance(&self, id: &model::ContainerInstanceId) -> Option<InstanceState> {
            self.0.ground.instance(id)
        }
        fn eligible(&self, d: &model::Deployment) -> Vec<(model::ContainerInstanceId, Option<std::sync::Arc<str>>)> {
            self.0.ground.eligible(d)
        }
        fn only_daemons_left(&self, _instance: &model::ContainerInstanceId) -> bool {
            false
        }
    }
    let mut world = World::new(&["a", "b"], 9, &Wish { daemon: true, minimum: 0, maximum: 100, ..Wish::default() });
    world.think();
    world.agents();
    world.set(1, Some(InstanceState::Draining));
    let plan = super::plan(&super::View {
        service: &world.service,
        story: world.story(),
        tasks: world.tasks.iter().collect(),
        field: &Busy(&world),
        events: &|_| None,
        no_place: false,
        now: world.now,
    });
    assert!(plan.stops.is_empty() && plan.held.contains(&Hold::Draining { tasks: 1 }), "{plan:?}");
    assert_eq!(world.plan().stops.len(), 1);
}

#[test]
fn the_texts_are_those_of_the_original() {
    let web = ServiceName::parse("web").unwrap();
    let ids =
        |count: usize| -> Vec<TaskId> { (0..count).map(|n| TaskId::parse(format!("{n:032x}")).unwrap()).collect() };
    let (one, two, many) = (ids(1), ids(2), ids(103));
    let task = "(task 00000000000000000000000000000000)";
    let id = DeploymentId::of(7);
    let zones = |counts: &[u32]| -> Vec<(std::sync::Arc<str>, u32)> {
        counts.iter().enumerate().map(|(n, count)| (format!("us-east-1{n}").into(), *count)).collect()
    };
    let check = |told: Told, name: Name, message: &str| assert_eq!(told, Told { name, message: message.to_owned() });
    check(events::steady_state(&web), Name::SteadyState, "(service web) has reached a steady state.");
    check(events::started(&web, &one, 0), Name::TasksStarted, &format!("(service web) has started 1 tasks: {task}."));
    check(
        events::started(&web, &one, 1),
        Name::TasksStarted,
        &format!("(service web) has started 1 tasks: {task}. Amazon ECS replaced 1 tasks due to an unhealthy status."),
    );
    check(
        events::stopped(&web, &two),
        Name::TasksStopped,
        &format!("(service web) has stopped 2 running tasks: {task} (task 00000000000000000000000000000001)."),
    );
    let long = events::started(&web, &many, 0).message;
    assert!(long.starts_with("(service web) has started 103 tasks: ") && long.ends_with(" and 3 more."), "{long}");
    check(
        events::deployment_completed(&web, id),
        Name::DeploymentCompleted,
        "(service web) (deployment ecs-svc/1000000000000000007) deployment completed.",
    );
    check(
        events::rolling_back(&web, id),
        Name::DeploymentInProgress,
        "(service web) rolling back to deployment ecs-svc/1000000000000000007.",
    );
    check(
        events::unable_to_place(&web, Some(("abc", "has insufficient CPU units available"))),
        Name::TaskPlacementFailure,
        "(service web) was unable to place a task because no container instance met all of its requirements. The closest \
         matching (container-instance abc) has insufficient CPU units available. For more information, see the \
         Troubleshooting section of the Amazon ECS Developer Guide.",
    );
    check(
        events::unable_to_place(&web, None),
        Name::TaskPlacementFailure,
        "(service web) was unable to place a task because no container instance met all of its requirements. Reason: No \
         Container Instances were found in your cluster. For more information, see the Troubleshooting section of the \
         Amazon ECS Developer Guide.",
    );
    check(
        events::rebalancing_started(&web, &zones(&[3, 1, 2])),
        Name::RebalancingStarted,
        "service (web) is not AZ balanced with 3 tasks in us-east-10, 1 tasks in us-east-11, and 2 tasks in us-east-12. \
         AZ Rebalancing in progress.",
    );
    check(
        events::rebalancing_completed(&web, &zones(&[2, 2])),
        Name::RebalancingCompleted,
        "service (web) is AZ balanced with 2 tasks in us-east-10 and 2 tasks in us-east-11.",
    );
}

/// Tools take an event with one of these words for bad news.
#[test]
fn good_news_hold_no_bad_words() {
    let web = ServiceName::parse("web").unwrap();
    let id = DeploymentId::of(7);
    let none: [TaskId; 0] = [];
    let good = [
        events::steady_state(&web),
        events::started(&web, &none, 0),
        events::stopped(&web, &none),
        events::stopped_pending(&web, &none),
        events::deployment_completed(&web, id),
        events::rebalancing_started(&web, &[]),
        events::rebalancing_completed(&web, &[]),
        events::rebalancing_stopped(&web),
        events::started_to_rebalance(&web, "a", &none),
        events::stopped_to_rebalance(&web, "a", &none),
    ];
    for told in good {
        for word in ["fail", "unhealthy", "error", "throttle", "unable", "missing", "alarm detected", "rolling back"] {
            assert!(!told.message.contains(word), "{told:?}");
        }
    }
}

/// How many tasks are FARGATE's and FARGATE_SPOT's.
fn parts(world: &World) -> (usize, usize) {
    let of = |provider| world.live().filter(|task| task.capacity_provider.as_ref() == Some(&provider)).count();
    (of(CapacityProvider::Fargate), of(CapacityProvider::FargateSpot))
}

#[test]
fn a_service_keeps_its_shares_of_capacity_providers_whatever_happens() {
    let item = |provider, base, weight| CapacityProviderStrategyItem { provider, base, weight };
    let items = vec![item(CapacityProvider::FargateSpot, 0, 4), item(CapacityProvider::Fargate, 2, 1)];
    let capacity = CapacityProviderStrategy::new(items).unwrap();
    let wish = Wish { desired: 12, capacity, ..Wish::default() };
    let mut world = World::new(&["a", "b", "c"], 100, &wish);
    let settle = |world: &mut World| {
        for _ in 0..10 {
            world.think();
            world.agents();
            world.now = world.now.plus_millis(60_000);
        }
    };
    for (desired, want) in [(12, (4, 8)), (7, (3, 4)), (22, (6, 16)), (2, (2, 0)), (1, (1, 0)), (12, (4, 8))] {
        world.service.desired_count = desired;
        settle(&mut world);
        assert_eq!(parts(&world), want, "of {desired}");
    }
    // Whoever is lost, its like comes.
    let lost: Vec<usize> = world.tasks.iter().enumerate().filter(|(_, t)| !t.is_to_stop()).map(|(at, _)| at).collect();
    for at in lost.into_iter().step_by(2) {
        world.end(at);
    }
    settle(&mut world);
    assert_eq!(parts(&world), (4, 8));
    // And a deployment has its own.
    world.update();
    settle(&mut world);
    assert_eq!(parts(&world), (4, 8));
}

#[test]
fn a_task_that_balances_zones_takes_the_room_that_the_other_had() {
    let item = |provider| CapacityProviderStrategyItem { provider, base: 0, weight: 1 };
    let capacity = CapacityProviderStrategy::new(CapacityProvider::FARGATE.map(item).into()).unwrap();
    let wish = Wish { desired: 4, capacity, rebalance: true, ..Wish::default() };
    let mut world = World::new(&["a"], 100, &wish);
    let settle = |world: &mut World| {
        for _ in 0..20 {
            world.think();
            world.agents();
            world.now = world.now.plus_millis(60_000);
        }
    };
    settle(&mut world);
    world.join("b", 100);
    settle(&mut world);
    assert_eq!(parts(&world), (2, 2));
    assert_eq!(world.zones().into_values().collect::<Vec<_>>(), [2, 2]);
}

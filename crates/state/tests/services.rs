//! Decisions about services: whole or not at all, on what was seen, and nothing counted twice.

// Tests may unwrap, also in what they share.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use model::*;
use state::{Basis, Command, CommitError, Memory, Outcome, Rejected, ServiceChange, Store, audit::audit};
use std::sync::{Arc, Mutex};

const NOW: Timestamp = Timestamp(100_000);

fn arn(name: &str) -> ServiceArn {
    ServiceArn { cluster: cluster_arn("one"), name: ServiceName::parse(name).unwrap() }
}

fn spec_of(revision: u32) -> Arc<RevisionSpec> {
    Arc::new(RevisionSpec {
        task_definition: definition_arn("web", revision),
        launch_type: LaunchType::Ec2,
        capacity_provider_strategy: model::CapacityProviderStrategy::default(),
        platform_version: None,
        placement_constraints: Vec::new(),
        placement_strategy: Vec::new(),
        propagate_tags: PropagateTags::None,
        managed_tags: false,
        network: None,
        registries: Vec::new(),
        connect: None,
        volume: None,
    })
}

fn story_id(number: u64) -> ServiceDeploymentId {
    ServiceDeploymentId::parse(format!("{number:021}")).unwrap()
}

fn rules() -> DeploymentRules {
    DeploymentRules {
        minimum_healthy_percent: 100,
        maximum_percent: 200,
        breaker: CircuitBreaker::default(),
        early_success: None,
        strategy: model::DeploymentStrategy::Rolling,
    }
}

fn deployment(number: u64) -> Deployment {
    Deployment {
        id: DeploymentId::of(number),
        spec: spec_of(1),
        service_deployment: story_id(number),
        created_at: NOW,
        updated_at: NOW,
        rollout: Rollout::InProgress,
        reason: "in progress".into(),
        failures: Failures::default(),
    }
}

fn service(name: &str, number: u64) -> Service {
    Service {
        arn: arn(name),
        status: ServiceStatus::Active,
        version: 0,
        created_at: NOW,
        created_by: "arn:aws:iam::123456789012:root".into(),
        scheduling: SchedulingStrategy::Replica,
        desired_count: 2,
        rules: rules(),
        execute_command: false,
        az_rebalancing: false,
        health_check_grace_seconds: None,
        spec: Some(spec_of(1)),
        deployments: vec![deployment(number)],
        launch_type_before: None,
        external: None,
        rebalancing: 0,
        steady: false,
        deleted_at: None,
        creation: Creation { token: None, request_sha256: "00".into() },
        tags: Tags::default(),
    }
}

fn story(name: &str, number: u64, status: ServiceDeploymentStatus) -> ServiceDeployment {
    ServiceDeployment {
        arn: ServiceDeploymentArn { service: arn(name), id: story_id(number) },
        target: RevisionShare { id: DeploymentId::of(number), requested: 2, running: 0, pending: 0 },
        sources: Vec::new(),
        status,
        reason: None,
        rules: rules(),
        created_at: Timestamp(number.cast_signed()),
        started_at: None,
        stopped_at: None,
        finished_at: None,
        updated_at: NOW,
        rollback: None,
        breaker: BreakerState { status: BreakerStatus::Disabled, failure_count: 0, threshold: 3 },
        lifecycle: None,
    }
}

/// A change that brings in a deployment of that number.
fn change(on: Basis, name: &str, number: u64) -> ServiceChange {
    let revision = ServiceRevision {
        arn: ServiceRevisionArn { service: arn(name), id: DeploymentId::of(number) },
        created_at: NOW,
        spec: spec_of(1),
        images: Vec::new(),
    };
    ServiceChange {
        on,
        service: service(name, number),
        revisions: vec![revision],
        deployments: vec![story(name, number, ServiceDeploymentStatus::Successful)],
        events: Vec::new(),
        start: Vec::new(),
        stop: Vec::new(),
        at: NOW,
    }
}

fn task_of(name: &str, number: u64, deployment: u64) -> Task {
    let mut task = task("one", number, 1, definition_arn("web", 1), 100, 10);
    task.group = arn(name).group();
    task.started_by = Some(DeploymentId::of(deployment).to_string().into());
    task.times.created = NOW;
    task
}

fn event(text: &str) -> ServiceEvent {
    let (id, name) = ("f81d4fae-7dec-41d0-a765-00a0c91e6bf6".into(), ServiceEventName::SteadyState);
    ServiceEvent { id, at: NOW, name, message: text.into() }
}

struct World {
    store: Mutex<Store>,
    memory: Memory,
}

impl World {
    async fn new() -> Self {
        let memory = Memory::default();
        let store = Mutex::new(open(memory.clone()));
        let world = Self { store, memory };
        world.done(Command::CreateCluster(cluster("one"))).await;
        world.done(register("web")).await;
        world.done(Command::RegisterContainerInstance { instance: instance("one", 1, 1000, 1000) }).await;
        world
    }

    /// Commits, and holds what must always hold: the state is sound, and read again it is the same.
    async fn commit(&self, command: Command) -> Result<Outcome, Rejected> {
        let store = self.store();
        let result = match store.commit(command).await {
            Ok(committed) => Ok(committed.outcome),
            Err(CommitError::Rejected(why)) => Err(why),
            Err(other) => panic!("{other}"),
        };
        let snapshot = store.snapshot();
        assert_eq!(audit(&snapshot), Vec::<String>::new());
        let again = open(self.memory.clone());
        assert_eq!(*again.snapshot(), *snapshot);
        *self.store.lock().unwrap() = again;
        result
    }

    fn store(&self) -> Store {
        self.store.lock().unwrap().clone()
    }

    async fn done(&self, command: Command) {
        self.commit(command).await.unwrap();
    }

    async fn change(&self, change: ServiceChange) -> Result<Outcome, Rejected> {
        self.commit(Command::ChangeService(Box::new(change))).await
    }

    fn row(&self) -> Arc<state::ServiceRow> {
        self.store().snapshot().service(&arn("web")).unwrap().clone()
    }

    async fn see(&self, number: u64, status: ObservedStatus, at: Timestamp) {
        let seen = TaskObservation {
            task: task_arn("one", number),
            status,
            containers: Vec::new(),
            pull_started: None,
            pull_stopped: None,
            execution_stopped: None,
            attachment: None,
        };
        self.done(Command::Observe { instance: instance_arn("one", 1), seen: vec![seen], at }).await;
    }

    /// A task that runs says how it is.
    async fn see_health(&self, number: u64, status: HealthStatus, changes: u32) {
        let container = ContainerObservation {
            name: "main".into(),
            status: ContainerStatus::Running,
            runtime_id: None,
            image_digest: None,
            exit_code: None,
            reason: None,
            network_bindings: Vec::new(),
            health: Some(Health { status, changes }),
        };
        let seen = TaskObservation {
            task: task_arn("one", number),
            status: ObservedStatus::Running,
            containers: vec![container],
            pull_started: None,
            pull_stopped: None,
            execution_stopped: None,
            attachment: None,
        };
        self.done(Command::Observe { instance: instance_arn("one", 1), seen: vec![seen], at: NOW }).await;
    }
}

fn open(memory: Memory) -> Store {
    Store::open(Box::new(memory), &effects::Effects::simulated(1, Timestamp(0))).unwrap()
}

#[tokio::test]
async fn a_change_happens_as_a_whole_on_what_was_seen() {
    let world = World::new().await;
    let stale = Basis::Version(1);
    assert_eq!(world.change(change(stale, "web", 1)).await, Err(Rejected::ServiceNotFound(arn("web"))));
    world.change(change(Basis::New, "web", 1)).await.unwrap();
    assert_eq!(world.change(change(Basis::New, "web", 1)).await, Err(Rejected::ServiceExists(arn("web"))));

    let mut step = change(Basis::Seen(world.row().seen()), "web", 1);
    step.start = vec![task_of("web", 1, 1), task_of("web", 2, 1)];
    step.events = vec![event("started")];
    world.change(step.clone()).await.unwrap();
    let row = world.row();
    assert_eq!((row.service.version, row.pending, row.live(), row.events().count()), (2, 2, 2, 1));
    let counts = row.counts(DeploymentId::of(1));
    assert_eq!((counts.pending, counts.running, counts.live), (2, 0, 2));

    // The same step again was decided on what is no longer so.
    step.start = vec![task_of("web", 3, 1)];
    assert_eq!(world.change(step).await, Err(Rejected::ServiceChanged(arn("web"))));
    // So is one that was decided before a task moved.
    let mut step = change(Basis::Seen(world.row().seen()), "web", 1);
    world.see(1, ObservedStatus::Running, NOW).await;
    step.stop = vec![(task_arn("one", 2), stop(StopCode::ServiceSchedulerInitiated, "x"))];
    assert_eq!(world.change(step.clone()).await, Err(Rejected::ServiceChanged(arn("web"))));
    assert!(world.row().tasks().all(|task| !task.is_to_stop()));
    step.on = Basis::Version(world.row().service.version);
    world.change(step).await.unwrap();
    assert_eq!(world.row().tasks().filter(|task| task.is_to_stop()).count(), 1);

    // No room for one is no start for any.
    let mut step = change(Basis::Seen(world.row().seen()), "web", 1);
    let mut big = task_of("web", 5, 1);
    big.reservation.cpu = CpuUnits(5000);
    step.start = vec![task_of("web", 4, 1), big];
    assert!(matches!(world.change(step).await, Err(Rejected::NoRoom { index: 1, .. })));
    assert_eq!(world.row().live(), 2);
}

#[tokio::test]
async fn tasks_of_another_service_are_not_its_to_start_or_stop() {
    let world = World::new().await;
    world.change(change(Basis::New, "web", 1)).await.unwrap();
    let mut step = change(Basis::Version(1), "web", 1);
    step.start = vec![task_of("other", 1, 1)];
    assert!(matches!(world.change(step.clone()).await, Err(Rejected::TaskOfAnother(_))));
    step.start.clear();
    step.stop = vec![(task_arn("one", 9), stop(StopCode::ServiceSchedulerInitiated, "x"))];
    assert!(matches!(world.change(step).await, Err(Rejected::TaskOfAnother(_))));
}

#[tokio::test]
async fn task_sets_keep_their_definitions_and_count_their_failures() {
    let world = World::new().await;
    let set = |revision: u32| TaskSet {
        id: DeploymentId::of(1),
        spec: spec_of(revision),
        external_id: None,
        scale: Scale::ALL,
        status: TaskSetStatus::Active,
        created_at: NOW,
        updated_at: NOW,
        steady: false,
        steady_at: NOW,
        failures: Failures::default(),
        creation: Creation { token: None, request_sha256: "00".into() },
        tags: Tags::default(),
    };
    let external = |sets: Vec<TaskSet>| External {
        placement_constraints: vec![],
        placement_strategy: vec![],
        propagate_tags: PropagateTags::None,
        managed_tags: false,
        sets,
    };
    let of = |sets| Service { spec: None, deployments: vec![], external: Some(external(sets)), ..service("web", 1) };
    let new = |on: Basis, service: Service| ServiceChange {
        on,
        service,
        revisions: vec![],
        deployments: vec![],
        ..change(Basis::New, "web", 1)
    };
    let unknown = world.change(new(Basis::New, of(vec![set(9)]))).await;
    assert!(matches!(unknown, Err(Rejected::TaskDefinitionNotFound(_))), "{unknown:?}");
    let start = vec![task_of("web", 1, 1)];
    world.change(ServiceChange { start, ..new(Basis::New, of(vec![set(1)])) }).await.unwrap();
    world.see(1, ObservedStatus::Stopped(Stop::failed_to_start()), NOW).await;
    let sets = world.row().service.external.as_ref().unwrap().sets.clone();
    assert_eq!((sets[0].failures.count, sets[0].failures.rounds), (1, 1));
    world.change(new(Basis::Seen(world.row().seen()), of(vec![]))).await.unwrap();
}

#[tokio::test]
async fn failures_are_counted_once_and_hold_up_what_comes_next() {
    let world = World::new().await;
    let mut first = change(Basis::New, "web", 1);
    first.start = vec![task_of("web", 1, 1), task_of("web", 2, 1), task_of("web", 3, 1)];
    world.change(first).await.unwrap();
    let failures = |world: &World| world.row().service.primary().unwrap().failures;
    for number in [1, 2] {
        world.see(number, ObservedStatus::Stopped(Stop::failed_to_start()), NOW).await;
        world.see(number, ObservedStatus::Stopped(Stop::failed_to_start()), NOW.plus_millis(9)).await;
    }
    let known = failures(&world);
    assert_eq!((known.count, known.rounds, known.hold_until), (2, 1, Some(NOW.plus_millis(1_000))));
    // One that runs ends the waiting, and is itself no failure when it ends.
    world.see(3, ObservedStatus::Running, NOW).await;
    assert_eq!((failures(&world).count, failures(&world).rounds, failures(&world).hold_until), (2, 0, None));
    world.see(3, ObservedStatus::Stopped(Stop::essential_exited()), NOW.plus_millis(60_000)).await;
    assert_eq!((failures(&world).count, failures(&world).hold_until), (2, None));
    assert_eq!(world.row().live(), 0);
}

#[tokio::test]
async fn a_deployment_that_failed_counts_no_further() {
    let world = World::new().await;
    let mut first = change(Basis::New, "web", 1);
    first.start = vec![task_of("web", 1, 1), task_of("web", 2, 1), task_of("web", 3, 1)];
    world.change(first).await.unwrap();
    world.see(1, ObservedStatus::Stopped(Stop::failed_to_start()), NOW).await;
    let mut tripped = change(Basis::Seen(world.row().seen()), "web", 1);
    tripped.service = Service::clone(&world.row().service);
    tripped.service.deployments[0].rollout = Rollout::Failed;
    world.change(tripped).await.unwrap();
    let (failures, version) = (world.row().service.deployments[0].failures, world.row().service.version);
    world.see(2, ObservedStatus::Stopped(Stop::failed_to_start()), NOW.plus_millis(9)).await;
    world.see(3, ObservedStatus::Running, NOW.plus_millis(10)).await;
    world.see(3, ObservedStatus::Stopped(Stop::essential_exited()), NOW.plus_millis(20)).await;
    assert_eq!(world.row().service.deployments[0].failures, failures);
    assert_eq!((failures.count, world.row().service.version), (1, version));
}

#[tokio::test]
async fn a_task_that_becomes_healthy_makes_failures_forgotten() {
    for resets in [true, false] {
        let world = World::new().await;
        let mut first = change(Basis::New, "web", 1);
        let mut checked = task_of("web", 2, 1);
        checked.containers[0].health = Some(Health::default());
        first.start = vec![task_of("web", 1, 1), checked];
        first.service.rules.breaker.reset_on_healthy_task = resets;
        world.change(first).await.unwrap();
        let count = |world: &World| world.row().service.primary().unwrap().failures.count;
        world.see(1, ObservedStatus::Stopped(Stop::failed_to_start()), NOW).await;
        world.see(2, ObservedStatus::Running, NOW).await;
        world.see_health(2, HealthStatus::Unhealthy, 1).await;
        assert_eq!(count(&world), 1);
        world.see_health(2, HealthStatus::Healthy, 2).await;
        assert_eq!(count(&world), u32::from(!resets));
        // What was overtaken on its way says nothing any more.
        let version = world.row().service.version;
        world.see_health(2, HealthStatus::Unhealthy, 1).await;
        let task = world.store().snapshot().task(&task_arn("one", 2)).unwrap().clone();
        assert_eq!((task.health(), world.row().service.version), (Some(HealthStatus::Healthy), version));
    }
}

/// A sidecar that takes its time to stop must not let a crash loop go unpaced, nor be counted for it.
#[tokio::test]
async fn an_end_counts_from_its_first_word() {
    let world = World::new().await;
    let mut first = change(Basis::New, "web", 1);
    first.start = vec![task_of("web", 1, 1), task_of("web", 2, 1)];
    world.change(first).await.unwrap();
    let failures = |world: &World| world.row().service.deployments[0].failures;
    world.see(1, ObservedStatus::Running, NOW).await;
    world.see(1, ObservedStatus::Stopping(Stop::essential_exited()), NOW.plus_millis(500)).await;
    let paced = failures(&world);
    assert_eq!((paced.count, paced.hold_until), (0, Some(NOW.plus_millis(5_000))));
    world.see(1, ObservedStatus::Stopped(Stop::essential_exited()), NOW.plus_millis(60_000)).await;
    assert_eq!(failures(&world), paced);

    world.see(2, ObservedStatus::Stopping(Stop::failed_to_start()), NOW.plus_millis(70_000)).await;
    let counted = failures(&world);
    assert_eq!((counted.count, counted.rounds, counted.hold_until), (1, 1, Some(NOW.plus_millis(71_000))));
    world.see(2, ObservedStatus::Stopped(Stop::failed_to_start()), NOW.plus_millis(90_000)).await;
    assert_eq!(failures(&world), counted);
}

#[tokio::test]
async fn the_past_is_bounded_and_goes_with_the_service() {
    let world = World::new().await;
    world.change(change(Basis::New, "web", 1)).await.unwrap();
    for number in 2..130 {
        let version = world.row().service.version;
        let mut next = change(Basis::Version(version), "web", number);
        next.events = vec![event(&format!("event {number}"))];
        let changed = world.store().commit(Command::ChangeService(Box::new(next))).await;
        changed.unwrap();
    }
    let row = world.row();
    assert_eq!((row.events().count(), row.deployments().count(), row.revisions().count()), (100, 100, 100));
    assert_eq!(&*row.events().next().unwrap().message, "event 129");
    assert_eq!(row.deployments().next().unwrap().arn.id, story_id(30));

    let cluster = cluster_arn("one");
    let delete = Command::DeleteCluster { arn: cluster.clone() };
    world.done(Command::DeregisterContainerInstance { arn: instance_arn("one", 1), force: true, at: NOW }).await;
    assert_eq!(world.commit(delete.clone()).await, Err(Rejected::ClusterContainsServices(cluster)));
    let gone = Service { status: ServiceStatus::Inactive, ..service("web", 129) };
    let version = row.service.version;
    world.change(ServiceChange { service: gone, ..change(Basis::Version(version), "web", 129) }).await.unwrap();
    // It begins anew under its name.
    world.change(change(Basis::New, "web", 200)).await.unwrap();
    let row = world.row();
    assert_eq!((row.service.version, row.events().count(), row.deployments().count()), (1, 0, 1));
    world.done(Command::ForgetServices { arns: vec![arn("web")] }).await;
    assert!(world.store().snapshot().service(&arn("web")).is_some(), "only INACTIVE ones are forgotten");
    let gone = Service { status: ServiceStatus::Inactive, ..service("web", 200) };
    world.change(ServiceChange { service: gone, ..change(Basis::Version(1), "web", 200) }).await.unwrap();
    world.done(Command::ForgetServices { arns: vec![arn("web")] }).await;
    assert!(world.store().snapshot().service(&arn("web")).is_none());
    world.done(delete).await;
}

#[tokio::test]
async fn protection_is_laid_on_tasks_that_live() {
    let world = World::new().await;
    let mut first = change(Basis::New, "web", 1);
    first.start = vec![task_of("web", 1, 1)];
    world.change(first).await.unwrap();
    let protect = |until| Command::ProtectTasks { tasks: vec![task_arn("one", 1), task_arn("one", 7)], until };
    for until in [Some(NOW), Some(Timestamp(7)), None, None] {
        let Ok(Outcome::Tasks(tasks)) = world.commit(protect(until)).await else { panic!() };
        assert_eq!(tasks.iter().map(|task| task.protected_until).collect::<Vec<_>>(), [until]);
    }
}

#[tokio::test]
async fn what_has_changed_is_found_without_looking_at_all() {
    let world = World::new().await;
    for (name, number) in [("web", 1), ("api", 2)] {
        world.change(change(Basis::New, name, number)).await.unwrap();
    }
    let store = world.store();
    let before = store.snapshot();
    let mut step = change(Basis::Version(1), "web", 1);
    step.start = vec![task_of("web", 1, 1)];
    step.deployments =
        vec![story("web", 1, ServiceDeploymentStatus::Stopped), story("web", 3, ServiceDeploymentStatus::InProgress)];
    let event = |number: u64| ServiceEvent {
        id: format!("{number}").into(),
        at: NOW,
        name: ServiceEventName::SteadyState,
        message: "m".into(),
    };
    step.events = vec![event(1), event(2)];
    store.commit(Command::ChangeService(Box::new(step))).await.unwrap();
    let after = store.snapshot();
    let (was, is) = (before.service(&arn("web")).unwrap(), after.service(&arn("web")).unwrap());
    let told = |before: Option<&state::ServiceRow>| {
        let (events, stories) = is.news_since(before);
        let events: Vec<_> = events.iter().map(|event| event.id.to_string()).collect();
        let stories: Vec<_> = stories.iter().map(|n| (n.before.map(|s| s.status), n.after.status)).collect();
        (events.join(" "), stories)
    };
    use ServiceDeploymentStatus::{InProgress, Stopped, Successful};
    assert_eq!(told(Some(was)), ("1 2".to_owned(), vec![(Some(Successful), Stopped), (None, InProgress)]));
    assert_eq!(told(None), ("1 2".to_owned(), vec![(None, Stopped), (None, InProgress)]));
    assert_eq!(told(Some(is)), (String::new(), Vec::new()));
    assert_eq!(is.event(2).map(|event| event.id.to_string()), Some("2".to_owned()));
    assert!(is.event(3).is_none());
    let cluster = |snapshot: &state::Snapshot| snapshot.cluster(&cluster_arn("one")).unwrap().clone();
    let (before, after) = (cluster(&before), cluster(&after));
    let changes = after.changes_since(&before);
    assert_eq!(changes.services().map(|row| row.service.arn.name.as_str()).collect::<Vec<_>>(), ["web"]);
    assert_eq!(changes.instances().count(), 1);
    assert!(!changes.lost_instances());
    assert_eq!(after.changes_since(&after).services().count(), 0);
}

#[tokio::test]
async fn a_name_of_service_connect_is_one_services_whoever_asks_at_the_same_time() {
    use model::discovery::{Namespace, NamespaceId, NamespaceKind, OperationId, Record, ServiceId};
    let world = World::new().await;
    let creation = || Creation { token: None, request_sha256: "".into() };
    let namespace = Namespace {
        scope: scope(),
        id: NamespaceId::of(1),
        name: "mesh".into(),
        kind: NamespaceKind::Http,
        description: None,
        created_at: NOW,
        creation: creation(),
        operation: OperationId::of(1),
        tags: Tags::default(),
    };
    let discovery = |on, put: Vec<Record>, remove| {
        Command::ChangeDiscovery(Box::new(state::DiscoveryChange { scope: scope(), on, put, remove, at: NOW }))
    };
    let connect = |name: &str, number: u64, discovery_name: &str, alias: &str| {
        let aliases = vec![ClientAlias { port: 80, dns_name: Some(alias.into()) }];
        let port = ConnectPort {
            port_name: "http".into(),
            port: 8080,
            discovery_name: discovery_name.into(),
            service: ServiceId::of(number.into()),
            aliases,
        };
        let connect = ServiceConnect { namespace: NamespaceId::of(1), services: vec![port] };
        let mut change = change(Basis::New, name, number);
        let spec = Arc::new(RevisionSpec { connect: Some(connect.into()), ..RevisionSpec::clone(&spec_of(1)) });
        change.revisions[0].spec = spec.clone();
        change.service.deployments[0].spec = spec.clone();
        change.service.spec = Some(spec);
        change
    };
    let lost = Err(Rejected::ServiceChanged(arn("web")));
    assert_eq!(world.change(connect("web", 1, "web", "web")).await, lost, "the namespace is not there");
    world.done(discovery(0, vec![namespace.into()], vec![])).await;
    world.change(connect("web", 1, "web", "web")).await.unwrap();
    for (discovery_name, alias, fits) in [("web", "other", false), ("api", "web", false), ("api", "api", true)] {
        let changed = world.change(connect("api", 2, discovery_name, alias)).await;
        assert_eq!(changed.is_ok(), fits, "{discovery_name} {alias}: {changed:?}");
    }
    let known = |id: u128, name: &str| discovery::Service {
        scope: scope(),
        id: ServiceId::of(id),
        namespace: NamespaceId::of(1),
        name: name.into(),
        description: None,
        dns: None,
        custom_health: false,
        created_at: NOW,
        creation: creation(),
        tags: Tags::default(),
        follows: None,
    };
    let moved = Err(Rejected::DiscoveryChanged(scope()));
    assert_eq!(world.commit(discovery(1, vec![known(7, "web").into()], vec![])).await, moved);
    let gone = vec![discovery::Key::Namespace(NamespaceId::of(1))];
    assert_eq!(world.commit(discovery(1, vec![], gone)).await, moved);
    world.done(discovery(1, vec![known(7, "db").into()], vec![])).await;
    assert!(world.change(connect("third", 3, "db", "third")).await.is_err(), "Cloud Map's own service has the name");
}

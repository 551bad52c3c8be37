//! A tiny cluster for the tests: instances with room for so many tasks, one service, and a clock that only the test moves.
//!
//! It does with a plan what apply does, and holds at every plan what must hold for all of them: see [`World::apply`].

mod hooks;
mod past;
mod rules;

use super::{
    Field, Hold, InstanceState, Place, Plan, Start, Told, View, deploy, deploy::NewDeployment, events, is_healthy,
    plan, task_sets,
};
use model::{
    AccountId, CapacityProviderStrategy, CircuitBreaker, ClusterArn, ClusterName, Container, ContainerArn,
    ContainerInstanceId, ContainerStatus, CpuUnits, Creation, Deployment, DeploymentId, DeploymentRules,
    DeploymentStrategy, Desired, External, Failures, Family, Health, HealthStatus, LaunchType, MemoryMib, Phase,
    PlacementStrategy, PropagateTags, Region, Reservation, RevisionSpec, Scale, SchedulingStrategy, Scope, Service,
    ServiceArn, ServiceDeployment, ServiceDeploymentId, ServiceName, ServiceStatus, Stop, StopCode, Tags, Task,
    TaskArn, TaskDefinitionArn, TaskId, TaskOverrides, TaskSet, TaskSetStatus, TaskTimes, Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// An instance of the tests.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) state: Option<InstanceState>,
    pub(super) zone: Arc<str>,
    /// Tasks it has room for.
    pub(super) slots: usize,
    /// Whether it meets the service's constraints.
    pub(super) fits: bool,
    /// CPU units and MiB left, if anyone asks.
    pub(super) left: Option<u32>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Ground(pub(super) BTreeMap<ContainerInstanceId, Instance>);

impl Field for Ground {
    fn instance(&self, id: &ContainerInstanceId) -> Option<InstanceState> {
        self.0.get(id)?.state
    }
    fn eligible(&self, _deployment: &Deployment) -> Vec<(ContainerInstanceId, Option<Arc<str>>)> {
        let able = self.0.iter().filter(|(_, i)| i.state == Some(InstanceState::Active) && i.fits);
        able.map(|(id, instance)| (id.clone(), Some(instance.zone.clone()))).collect()
    }
    fn zones(&self) -> Option<Vec<Arc<str>>> {
        Some(self.0.values().map(|instance| instance.zone.clone()).collect())
    }
    fn remaining(&self, id: &ContainerInstanceId) -> Option<(CpuUnits, MemoryMib)> {
        let left = self.0.get(id)?.left?;
        Some((CpuUnits(left), MemoryMib(left)))
    }
}

/// How a service of the tests is made.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) desired: u32,
    pub(super) minimum: u32,
    pub(super) maximum: u32,
    pub(super) daemon: bool,
    pub(super) breaker: CircuitBreaker,
    pub(super) rebalance: bool,
    pub(super) strategy: Vec<PlacementStrategy>,
    /// By which shares its tasks take room.
    pub(super) capacity: CapacityProviderStrategy,
    pub(super) deploys: DeploymentStrategy,
    /// Tasks have a health check.
    pub(super) checked: bool,
    /// Seconds in which it may fail.
    pub(super) grace: Option<u32>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            desired: 1,
            minimum: 100,
            maximum: 200,
            daemon: false,
            breaker: CircuitBreaker::default(),
            rebalance: false,
            strategy: vec![],
            capacity: CapacityProviderStrategy::default(),
            deploys: DeploymentStrategy::Rolling,
            checked: false,
            grace: None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) ground: Ground,
    pub(super) service: Service,
    pub(super) stories: BTreeMap<ServiceDeploymentId, ServiceDeployment>,
    /// All that ever were, in the order of their making.
    pub(super) tasks: Vec<Task>,
    /// All that ever were run by lifecycle hooks.
    pub(super) hook_tasks: Vec<Task>,
    pub(super) told: Vec<(Timestamp, Told)>,
    pub(super) now: Timestamp,
    /// Deployments whose tasks never come to run.
    pub(super) broken: BTreeSet<DeploymentId>,
    /// Deployments whose tasks' health checks fail.
    pub(super) ill: BTreeSet<DeploymentId>,
    checked: bool,
    capacity: CapacityProviderStrategy,
    deployments: u64,
}

pub(super) fn instance_id(number: usize) -> ContainerInstanceId {
    ContainerInstanceId::parse(format!("{number:032x}")).unwrap()
}

fn new_deployment(number: u64) -> NewDeployment {
    let service_deployment = ServiceDeploymentId::parse(format!("story{number:016}")).unwrap();
    NewDeployment { id: DeploymentId::of(number), service_deployment }
}

fn cluster() -> ClusterArn {
    let scope =
        Scope { account: AccountId::parse("000000000000").unwrap(), region: Region::parse("us-east-1").unwrap() };
    ClusterArn { scope, name: ClusterName::parse("default").unwrap() }
}

fn spec(revision: u64, strategy: &[PlacementStrategy], capacity: &CapacityProviderStrategy) -> Arc<RevisionSpec> {
    let family = Family::parse("web").unwrap();
    Arc::new(RevisionSpec {
        task_definition: TaskDefinitionArn { scope: cluster().scope, family, revision: revision as u32 },
        launch_type: LaunchType::Ec2,
        capacity_provider_strategy: capacity.clone(),
        platform_version: None,
        placement_constraints: vec![],
        placement_strategy: strategy.to_vec(),
        propagate_tags: PropagateTags::None,
        managed_tags: false,
        network: None,
        registries: Vec::new(),
        connect: None,
        volume: None,
    })
}

/// One with a health check.
fn container(task: &TaskArn) -> Container {
    Container {
        arn: ContainerArn { task: task.clone(), id: "main".into() },
        name: "main".into(),
        image: "web".into(),
        image_digest: None,
        runtime_id: None,
        status: ContainerStatus::Running,
        exit_code: None,
        reason: None,
        network_bindings: vec![],
        essential: true,
        health: Some(Health::default()),
    }
}

/// What became of a plan.
pub(super) struct Applied {
    pub(super) started: Vec<TaskArn>,
    /// Something could not be placed.
    pub(super) unplaced: bool,
}

impl World {
    pub(super) fn new(zones: &[&str], slots: usize, wish: &Wish) -> Self {
        let now = Timestamp(1_000_000_000);
        let rules = DeploymentRules {
            minimum_healthy_percent: wish.minimum,
            maximum_percent: wish.maximum,
            breaker: wish.breaker,
            early_success: None,
            strategy: wish.deploys.clone(),
        };
        let service = Service {
            arn: ServiceArn { cluster: cluster(), name: ServiceName::parse("web").unwrap() },
            status: ServiceStatus::Active,
            version: 1,
            created_at: now,
            created_by: "test".into(),
            scheduling: if wish.daemon { SchedulingStrategy::Daemon } else { SchedulingStrategy::Replica },
            desired_count: wish.desired,
            rules,
            az_rebalancing: wish.rebalance,
            execute_command: false,
            health_check_grace_seconds: wish.grace,
            spec: None,
            deployments: vec![],
            launch_type_before: None,
            external: None,
            rebalancing: 0,
            steady: false,
            deleted_at: None,
            creation: Creation { token: None, request_sha256: "".into() },
            tags: Tags::default(),
        };
        let begun = deploy::first(service, spec(1, &wish.strategy, &wish.capacity), new_deployment(1), now);
        let mut world = Self {
            ground: Ground::default(),
            service: begun.service,
            stories: [(begun.story.arn.id.clone(), begun.story)].into(),
            tasks: vec![],
            hook_tasks: vec![],
            told: vec![],
            now,
            broken: BTreeSet::new(),
            ill: BTreeSet::new(),
            checked: wish.checked,
            capacity: wish.capacity.clone(),
            deployments: 1,
        };
        for zone in zones {
            world.join(zone, slots);
        }
        world
    }

    /// The same, deployed by an external controller, without a task set yet.
    pub(super) fn external(zones: &[&str], slots: usize, wish: &Wish) -> Self {
        let mut world = Self::new(zones, slots, wish);
        let spec = world.service.spec.take().unwrap();
        world.service.deployments.clear();
        world.stories.clear();
        world.service.az_rebalancing = false;
        world.service.external = Some(External {
            placement_constraints: vec![],
            placement_strategy: spec.placement_strategy.clone(),
            propagate_tags: PropagateTags::None,
            managed_tags: false,
            sets: vec![],
        });
        world
    }

    /// One more task set, of that share.
    pub(super) fn create_set(&mut self, percent: f64) -> DeploymentId {
        self.deployments += 1;
        let strategy = self.service.external.as_ref().unwrap().placement_strategy.clone();
        let set = TaskSet {
            id: new_deployment(self.deployments).id,
            spec: spec(self.deployments, &strategy, &self.capacity),
            external_id: None,
            scale: Scale::of_percent(percent).unwrap(),
            status: TaskSetStatus::Active,
            created_at: self.now,
            updated_at: self.now,
            steady: false,
            steady_at: self.now,
            failures: Failures::default(),
            creation: Creation { token: None, request_sha256: "".into() },
            tags: Tags::default(),
        };
        let id = set.id;
        self.change(task_sets::create(&self.service, set));
        id
    }

    pub(super) fn change(&mut self, changed: task_sets::Changed) {
        self.service = changed.service;
        self.told.extend(changed.events.into_iter().map(|told| (self.now, told)));
    }

    pub(super) fn sets(&self) -> &[TaskSet] {
        self.service.external.as_ref().map_or(&[], |external| &external.sets)
    }

    /// Tasks of a deployment or set that are to run, on instances that are not lost.
    pub(super) fn live_of(&self, id: DeploymentId) -> impl Iterator<Item = &Task> {
        let id = id.to_string();
        self.live().filter(move |task| task.started_by.as_deref() == Some(id.as_str()))
    }

    pub(super) fn join(&mut self, zone: &str, slots: usize) {
        let id = instance_id(self.ground.0.len() + 1);
        let instance =
            Instance { state: Some(InstanceState::Active), zone: zone.into(), slots, fits: true, left: None };
        self.ground.0.insert(id, instance);
    }

    pub(super) fn set(&mut self, number: usize, state: Option<InstanceState>) {
        if let Some(instance) = self.ground.0.get_mut(&instance_id(number)) {
            instance.state = state;
        }
    }

    pub(super) fn story(&self) -> Option<&ServiceDeployment> {
        self.stories.get(&self.service.primary()?.service_deployment)
    }

    pub(super) fn plan(&self) -> Plan {
        self.plan_where(false)
    }

    fn plan_where(&self, no_place: bool) -> Plan {
        let last = |message: &str| self.told.iter().rev().find(|(_, t)| t.message == message).map(|(at, _)| *at);
        plan(&View {
            service: &self.service,
            story: self.story(),
            tasks: self.tasks.iter().filter(|task| task.stopped_at().is_none()).collect(),
            field: &past::Past(&self.ground, &self.tasks),
            events: &last,
            no_place,
            now: self.now,
        })
    }

    /// Tasks that are to run, on instances that are not lost.
    pub(super) fn live(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| !task.is_to_stop() && !self.is_lost(task))
    }

    fn is_lost(&self, task: &Task) -> bool {
        match self.ground.instance(task.container_instance.as_ref().unwrap()) {
            None => true,
            Some(InstanceState::Active | InstanceState::Draining) => false,
            Some(InstanceState::Unreachable { since }) => self.now.millis_since(since) >= super::LOST_AFTER_MILLIS,
        }
    }

    pub(super) fn healthy(&self) -> u32 {
        self.live().filter(|task| is_healthy(task, self.now)).count() as u32
    }

    /// Does what the plan says. Holds what must hold for every plan.
    pub(super) fn apply(&mut self, plan: &Plan) -> Applied {
        let healthy = self.healthy();
        self.hold_plan_to_the_laws(plan);
        if let Some(service) = &plan.service {
            assert_eq!(service.version, self.service.version, "apply counts the version");
            self.service = service.clone();
            self.service.version += 1;
        }
        assert_eq!(self.service.deployments.is_empty(), self.service.external.is_some());
        self.stories.extend(plan.stories.iter().map(|story| (story.arn.id.clone(), story.clone())));
        let mut healthy_stopped = 0;
        for stop in &plan.stops {
            let at = self.tasks.iter().position(|task| task.arn == stop.task).unwrap();
            let serves = is_healthy(&self.tasks[at], self.now) && !self.is_lost(&self.tasks[at]);
            healthy_stopped += u32::from(serves);
            assert!(self.tasks[at].request_stop(stop.why.clone(), self.now), "{:?} was to stop already", stop.task);
        }
        let minimum = self.service.rules.minimum_healthy(self.service.desired_count);
        let bound = self.service.scheduling == SchedulingStrategy::Replica
            && self.service.is_active()
            && self.service.external.is_none();
        let enough = healthy_stopped == 0 || healthy - healthy_stopped >= minimum;
        assert!(!bound || enough, "{healthy_stopped} of {healthy} healthy tasks stopped, minimum {minimum}: {plan:?}");
        let applied = self.start(plan);
        self.told.extend(plan.events.iter().map(|told| (self.now, told.clone())));
        applied
    }

    fn start(&mut self, plan: &Plan) -> Applied {
        let before = self.tasks.len();
        let mut unplaced = false;
        for start in &plan.starts {
            for _ in 0..start.count {
                let Some(instance) = self.place(&start.place) else {
                    unplaced = true;
                    break;
                };
                let alone = self
                    .tasks
                    .iter()
                    .all(|t| t.stopped_at().is_some() || t.container_instance.as_ref() != Some(&instance));
                assert!(alone || self.service.scheduling == SchedulingStrategy::Replica, "two daemons on one instance");
                self.make_task(start, instance);
                self.service.rebalancing += u32::from(matches!(start.place, Place::InZone(_)));
            }
        }
        let started: Vec<TaskArn> = self.tasks[before..].iter().map(|task| task.arn.clone()).collect();
        let mut of: BTreeMap<&str, Vec<&TaskId>> = BTreeMap::new();
        for task in &self.tasks[before..] {
            of.entry(task.started_by.as_deref().unwrap()).or_default().push(&task.arn.id);
        }
        for (by, ids) in of {
            let set = self.service.external.is_some().then(|| by.parse().unwrap());
            let who = events::Who { service: &self.service.arn.name, set };
            let of = |start: &&Start| start.deployment.to_string() == by;
            let replaces: u32 = plan.starts.iter().filter(of).map(|start| start.replaces).sum();
            let replaced = replaces.min(ids.len() as u32);
            self.told.push((self.now, events::started(who, ids, replaced)));
        }
        Applied { started, unplaced }
    }

    /// Spreads over zones, then instances.
    fn place(&self, place: &Place) -> Option<ContainerInstanceId> {
        let held = |id: &ContainerInstanceId| {
            let all = self.tasks.iter().chain(&self.hook_tasks);
            all.filter(|t| t.stopped_at().is_none() && t.container_instance.as_ref() == Some(id)).count()
        };
        let live = |zone: &str| self.live().filter(|task| task.availability_zone.as_deref() == Some(zone)).count();
        let able = self.ground.0.iter().filter(|(id, instance)| {
            let here = match place {
                Place::Anywhere => true,
                Place::InZone(zone) => instance.zone == *zone,
                Place::On(wanted) => *id == wanted,
            };
            here && instance.fits && instance.state == Some(InstanceState::Active) && held(id) < instance.slots
        });
        able.min_by_key(|(id, instance)| (live(&instance.zone), held(id), (*id).clone())).map(|(id, _)| id.clone())
    }

    fn make_task(&mut self, start: &Start, instance: ContainerInstanceId) {
        let id = TaskId::parse(format!("{:032x}", self.tasks.len() + 1)).unwrap();
        let arn = TaskArn { cluster: cluster(), id };
        let containers = self.checked.then(|| container(&arn)).into_iter().collect();
        self.tasks.push(Task {
            arn,
            definition: self.service.specs().next().unwrap().task_definition.clone(),
            availability_zone: Some(self.ground.0[&instance].zone.clone()),
            container_instance: Some(instance),
            waiting: None,
            launch_type: LaunchType::Ec2,
            capacity_provider: start.provider.clone(),
            platform: None,
            ephemeral_storage_gib: None,
            group: self.service.group(),
            started_by: Some(start.deployment.to_string().into()),
            overrides: TaskOverrides::default(),
            reservation: Reservation::default(),
            desired: Desired::Running,
            phase: Phase::Pending,
            version: 1,
            containers,
            times: TaskTimes { created: self.now, ..TaskTimes::default() },
            execute_command: false,
            protected_until: None,
            volume: None,
            attachment: None,
            tags: Tags::default(),
        });
    }

    fn note(&mut self, task: usize, change: impl FnOnce(&mut Failures)) {
        let id: Option<DeploymentId> = self.tasks[task].started_by.as_deref().and_then(|by| by.parse().ok());
        if let Some((id, mut failures)) = id.and_then(|id| Some((id, self.service.failures(id)?))) {
            change(&mut failures);
            self.service.note_failures(id, failures, self.now);
        }
    }

    /// The agent reports that the task runs.
    pub(super) fn run(&mut self, task: usize) {
        if self.tasks[task].phase == Phase::Pending && !self.tasks[task].is_to_stop() {
            self.tasks[task].phase = Phase::Running;
            self.tasks[task].times.started = Some(self.now);
            self.note(task, Failures::ran);
        }
    }

    /// The agent reports what the task's health check says. False if that is nothing new.
    pub(super) fn check(&mut self, task: usize, status: HealthStatus) -> bool {
        let runs = self.tasks[task].phase == Phase::Running && !self.tasks[task].is_to_stop();
        let health = self.tasks[task].containers.first_mut().and_then(|container| container.health.as_mut());
        let Some(health) = health.filter(|health| runs && health.status != status) else { return false };
        *health = Health { status, changes: health.changes + 1 };
        if status == HealthStatus::Healthy && self.service.rules.breaker.reset_on_healthy_task {
            self.note(task, Failures::forget);
        }
        true
    }

    /// The agent reports that nothing of the task is left: because it was to stop, or by itself.
    pub(super) fn end(&mut self, task: usize) {
        let now = self.now;
        let (stopping, phase) = (self.tasks[task].is_to_stop(), self.tasks[task].phase.clone());
        let created = self.tasks[task].times.created;
        let started = self.tasks[task].times.started;
        let why = match (&phase, stopping) {
            (Phase::Stopped { .. }, _) => return,
            (_, true) => Stop { code: StopCode::ServiceSchedulerInitiated, reason: "as asked".into() },
            (Phase::Pending, false) => Stop::failed_to_start(),
            (Phase::Running | Phase::Stopping { .. }, false) => Stop::essential_exited(),
        };
        self.tasks[task].end_without_node(why, now);
        if !stopping {
            self.note(task, |failures| match started {
                None => failures.never_ran(created, now),
                Some(started) => failures.ended(started, now),
            });
        }
    }

    fn is_heard(&self, task: usize) -> bool {
        match self.ground.instance(self.tasks[task].container_instance.as_ref().unwrap()) {
            Some(InstanceState::Active | InstanceState::Draining) => true,
            None | Some(InstanceState::Unreachable { .. }) => false,
        }
    }

    /// Agents that are heard do all they are asked: what is pending runs, or fails where its deployment is broken; what is to
    /// stop stops; health checks that have said nothing yet do. True if anything happened.
    pub(super) fn agents(&mut self) -> bool {
        let mut happened = false;
        for task in 0..self.tasks.len() {
            if self.tasks[task].stopped_at().is_some() || !self.is_heard(task) {
                continue;
            }
            let of = |d: &DeploymentId| self.tasks[task].started_by.as_deref() == Some(&*d.to_string());
            let (broken, ill) = (self.broken.iter().any(of), self.ill.iter().any(of));
            if self.tasks[task].is_to_stop() || (broken && self.tasks[task].phase == Phase::Pending) {
                self.end(task);
                happened = true;
            } else if self.tasks[task].phase == Phase::Pending {
                self.run(task);
                happened = true;
            } else if self.tasks[task].health() == Some(HealthStatus::Unknown) {
                happened |= self.check(task, if ill { HealthStatus::Unhealthy } else { HealthStatus::Healthy });
            }
        }
        happened
    }

    /// A new deployment.
    pub(super) fn update(&mut self) -> DeploymentId {
        self.deployments += 1;
        let new = new_deployment(self.deployments);
        let before = self.service.spec.clone().unwrap();
        let spec = spec(self.deployments, &before.placement_strategy, &self.capacity);
        let tasks: Vec<&Task> = self.tasks.iter().filter(|task| task.stopped_at().is_none()).collect();
        let begun = deploy::begin(&self.service, spec, new.clone(), self.story(), &tasks, self.now);
        self.service = begun.service;
        self.stories.extend(begun.superseded.into_iter().map(|story| (story.arn.id.clone(), story)));
        self.stories.insert(begun.story.arn.id.clone(), begun.story);
        self.told.extend(begun.events.into_iter().map(|told| (self.now, told)));
        new.id
    }

    /// Tasks of each zone that has an instance for them.
    pub(super) fn zones(&self) -> BTreeMap<Arc<str>, usize> {
        let mut zones: BTreeMap<_, _> = self
            .ground
            .eligible(self.service.primary().unwrap())
            .into_iter()
            .filter_map(|(_, zone)| Some((zone?, 0)))
            .collect();
        for task in self.live() {
            if let Some(count) = task.availability_zone.as_ref().and_then(|zone| zones.get_mut(zone)) {
                *count += 1;
            }
        }
        zones
    }

    /// Plans and does, until there is nothing to do or nothing that can be done. Returns the holds of the last plan.
    pub(super) fn think(&mut self) -> (Vec<Hold>, Option<Timestamp>) {
        for _ in 0..8 {
            let planned = self.plan();
            if planned.is_idle() {
                return (planned.held, planned.look_again);
            }
            let applied = self.apply(&planned);
            if planned.makes_room() {
                // What follows from failures that the plan itself has counted is for the next one to say.
                continue;
            }
            if applied.unplaced && applied.started.is_empty() {
                let planned = self.plan_where(true);
                if planned.makes_room() {
                    self.apply(&planned);
                    continue;
                }
            }
            let again = self.plan();
            assert!(again.stops.is_empty(), "planned again: {again:?}\nafter {planned:?}");
            let only_starts = again.service.is_none() && again.stories.is_empty() && again.events.is_empty();
            assert!(only_starts, "planned again: {again:?}\nafter {planned:?}");
            assert!(again.starts.is_empty() || applied.unplaced, "planned again: {again:?}\nafter {planned:?}");
            if applied.started.is_empty() || again.starts.is_empty() {
                return (again.held, again.look_again);
            }
        }
        panic!("it goes on planning: {:?}", self.plan());
    }
}

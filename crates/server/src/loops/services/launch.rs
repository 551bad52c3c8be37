//! Places what a plan wants started, as RunTask places what its caller wants, and makes the tasks.

use crate::{
    api::ecs::{
        awsvpc::{self, Interfaces},
        capacity_providers::{is_of, makes_room},
        fargate, gpus, spot,
        tasks::{Intent, Launch, candidates, view},
    },
    context::Context,
};
use model::{
    ClusterArn, ContainerInstanceArn, ContainerInstanceId, Deployment, DeploymentId, LaunchType, NetworkMode,
    PlacementStrategy, PropagateTags, Reservation, RevisionSpec, Service, Tags, Task, TaskArn, TaskDefinition, TaskId,
    Timestamp, Waiting, task::MAX_WAITING,
};
use scheduler::{
    Constraint, PlacementRequest, Strategy, obstacle,
    service::{Place, Plan, Start, Told, events, events::Who},
};
use state::{ClusterRow, InstanceRow, ServiceRow, Snapshot};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// Tasks that one commit starts: a few milliseconds of the writer's time. The next look starts the others.
const MOST: usize = 500;

/// Until a service whose roles cannot be had is looked at again: nothing of its cluster changes when they can.
const ROLES_AGAIN_MILLIS: i64 = 10_000;

/// What came of a plan's starts.
#[derive(Default)]
pub(in crate::loops) struct Launched {
    /// The tasks, placed.
    pub(in crate::loops) tasks: Vec<Task>,
    /// How many of them are there to balance zones.
    pub(super) rebalancing: u32,
    /// How many of them take the place of unhealthy ones. All are of one deployment or task set.
    pub(super) replaced: u32,
    /// What is told of them, and of those without a place.
    pub(in crate::loops) events: Vec<Told>,
    /// Whether some found no place.
    pub(super) unplaced: bool,
    /// When there may be one though nothing has changed.
    pub(in crate::loops) look_again: Option<Timestamp>,
    /// Spot tasks whose room those need that keep theirs.
    pub(in crate::loops) victims: Vec<TaskArn>,
}

pub(super) fn launch(ctx: &Context, snapshot: &Snapshot, row: &ServiceRow, plan: &Plan) -> Launched {
    let mut launched = Launched::default();
    // Daemons' starts name their instances one by one; what they share is made once.
    let mut recipes = BTreeMap::new();
    let mut of = None;
    for start in &plan.starts {
        // Two deployments, task sets or capacity providers must not be given the same room twice: what one has taken shows in
        // the next look.
        let who = (start.deployment, start.provider.clone());
        if !launched.tasks.is_empty() && of.as_ref() != Some(&who) {
            break;
        }
        of = Some(who);
        let left = MOST.saturating_sub(launched.tasks.len());
        let service = plan.service.as_ref().unwrap_or(&row.service);
        let recipe = recipes.entry(start.deployment).or_insert_with(|| {
            let deployment = service.deployment(start.deployment).map(|deployment| &deployment.spec);
            let set = || service.external.as_ref()?.set(start.deployment).map(|set| &set.spec);
            Recipe::of(snapshot, row, service, start.deployment, deployment.or_else(set)?)
        });
        if let Some(recipe) = recipe.as_ref().filter(|_| left > 0) {
            recipe.start(ctx, snapshot, start, left, &mut launched);
        }
    }
    gpus::allot(snapshot, &mut launched.tasks);
    if launched.rebalancing == 0 {
        let mut told = tell_started(&row.service, &launched.tasks, launched.replaced);
        told.append(&mut launched.events);
        launched.events = told;
    }
    launched
}

/// The task of a lifecycle hook, if it finds a place: on what, and in which subnets, the tasks of that revision of the service are. Where
/// among those it goes is for its own definition to bind.
pub(in crate::loops) fn launch_hook(
    ctx: &Context,
    snapshot: &Snapshot,
    service: &Service,
    spec: &RevisionSpec,
    hook: HookTask<'_>,
) -> Result<Launched, String> {
    let HookTask { definition, started_by, told } = hook;
    let network = spec.network.clone().filter(|_| definition.spec.effective_network_mode() == NetworkMode::Awsvpc);
    let (placement_constraints, placement_strategy) = (Vec::new(), Vec::new());
    let spec = RevisionSpec { network, volume: None, placement_constraints, placement_strategy, ..spec.clone() };
    let (constraints, strategy) = rules(definition, &spec);
    let platform = fargate::platform(spec.launch_type, spec.platform_version, &definition.spec);
    let platform = platform.map_err(|error| error.message)?;
    let cluster = service.arn.cluster.clone();
    let mut intent =
        Intent::of_hook(cluster, definition.clone(), started_by, tags(definition, service, &spec), told, &spec);
    intent.check_roles(snapshot, spec.launch_type).map_err(|error| error.message)?;
    if let Some(platform) = platform {
        intent.required = fargate::required(platform, intent.required);
    }
    let launch = Launch { kind: spec.launch_type, platform, provider: None };
    let who = Who { service: &service.arn.name, set: None };
    let deployment = service.primary().map_or(DeploymentId::of(0), |primary| primary.id);
    let mut shares = scheduler::capacity::starts(&spec.capacity_provider_strategy, |_| 0, 1).into_iter();
    let provider = shares.find(|(_, count)| *count > 0).map(|(provider, _)| provider);
    let start = Start { deployment, count: 1, provider, place: Place::Anywhere, replaces: 0 };
    let recipe = Recipe { service, spec: &spec, who, intent, launch, constraints, strategy, pinned: BTreeMap::new() };
    let mut launched = Launched::default();
    recipe.start(ctx, snapshot, &start, 1, &mut launched);
    gpus::allot(snapshot, &mut launched.tasks);
    Ok(launched)
}

/// What the task of a lifecycle hook is.
pub(in crate::loops) struct HookTask<'a> {
    pub(in crate::loops) definition: &'a Arc<TaskDefinition>,
    pub(in crate::loops) started_by: Arc<str>,
    /// A variable of all of its containers.
    pub(in crate::loops) told: (&'a str, &'a str),
}

/// The tasks of a service's deployment are the service's, those of its task sets each set's.
fn tell_started(service: &Service, tasks: &[Task], replaced: u32) -> Vec<Told> {
    let mut started: BTreeMap<Option<DeploymentId>, Vec<&TaskId>> = BTreeMap::new();
    for task in tasks {
        let by = || task.started_by.as_deref().and_then(|by| by.parse().ok());
        started.entry(service.external.as_ref().and_then(|_| by())).or_default().push(&task.arn.id);
    }
    let name = &service.arn.name;
    started.into_iter().map(|(set, ids)| events::started(Who { service: name, set }, ids, replaced)).collect()
}

/// All that the tasks of a deployment, or of a task set, have in common.
struct Recipe<'a> {
    service: &'a Service,
    spec: &'a RevisionSpec,
    /// Whose events are told of them.
    who: Who<'a>,
    intent: Intent,
    launch: Launch,
    constraints: Vec<Constraint>,
    strategy: Vec<Strategy>,
    /// The digests that the revision's images are pinned to, by container.
    pinned: BTreeMap<Arc<str>, Arc<str>>,
}

impl<'a> Recipe<'a> {
    fn of(
        snapshot: &Snapshot,
        row: &ServiceRow,
        service: &'a Service,
        id: DeploymentId,
        spec: &'a RevisionSpec,
    ) -> Option<Self> {
        let definition = snapshot.task_definition(&spec.task_definition)?.clone();
        let (constraints, strategy) = rules(&definition, spec);
        // What Fargate could not run was refused when it was asked for.
        let platform = fargate::platform(spec.launch_type, spec.platform_version, &definition.spec).ok()?;
        let launch = Launch { kind: spec.launch_type, platform, provider: None };
        let images = row.revision(id).into_iter().flat_map(|revision| &revision.images);
        let free = |name: &str| {
            let container = definition.spec.containers.iter().find(|container| container.name == name);
            container.is_some_and(|container| container.version_consistency == Some(false))
        };
        let pinned = images.filter(|image| !free(&image.container));
        let pinned: BTreeMap<_, _> =
            pinned.filter_map(|image| Some((image.container.clone(), image.digest.clone()?))).collect();
        let tags = tags(&definition, service, spec);
        let started_by = Some(id.to_string().into());
        let who = Who { service: &service.arn.name, set: service.external.as_ref().map(|_| id) };
        let cluster = service.arn.cluster.clone();
        let (group, exec) = (service.group(), service.execute_command);
        let mut intent = Intent::of_service(cluster, definition, group, started_by, tags, exec, spec);
        if let Some(platform) = platform {
            intent.required = fargate::required(platform, intent.required);
        }
        Some(Self { service, spec, who, intent, launch, constraints, strategy, pinned })
    }

    fn start(&self, ctx: &Context, snapshot: &Snapshot, start: &Start, most: usize, launched: &mut Launched) {
        let launch = Launch { provider: start.provider.clone(), ..self.launch.clone() };
        if let Err(error) = self.intent.check_roles(snapshot, launch.kind) {
            launched.unplaced = true;
            let again = ctx.effects.now().plus_millis(ROLES_AGAIN_MILLIS);
            launched.look_again = launched.look_again.into_iter().chain([again]).min();
            let told = events::failed_to_launch(self.who, &error.message);
            if !launched.events.contains(&told) {
                launched.events.push(told);
            }
            return;
        }
        let mut rows = self.places(snapshot, &start.place, launch.kind);
        let now = ctx.effects.now();
        rows.retain(|row| is_of(snapshot, row, start.provider.as_ref()));
        let kept_until = spot::keep_room(&mut rows, start.provider.as_ref(), now);
        let wanted = usize::try_from(start.count).unwrap_or(usize::MAX).min(most);
        let request = PlacementRequest {
            count: wanted,
            reservation: &self.intent.reservation,
            required_attributes: &self.intent.required,
            constraints: &self.constraints,
            strategy: &self.strategy,
            group: &self.intent.group,
            zones: &awsvpc::zones(snapshot, &self.service.arn.cluster.scope, self.spec.network.as_ref()),
        };
        let views: Vec<_> = rows.iter().map(|row| view(row)).collect();
        let mut plan = scheduler::place(&views, &request, ctx.effects.random());
        if plan.unplaced > 0 {
            launched.look_again = launched.look_again.into_iter().chain(kept_until).min();
            // For a better place than the one it has, nobody else has to go.
            if launch.keeps_its_room() && start.place == Place::Anywhere {
                let victims = spot::victims(snapshot, &rows, &request, &plan.placed, plan.unplaced);
                launched.victims.extend(victims);
            }
        }
        let placed = plan.placed.iter().map(|at| &rows[*at].instance);
        let scope = &self.service.arn.cluster.scope;
        let mut interfaces = Interfaces::new(ctx, snapshot, scope, self.spec.network.as_deref());
        let mut tasks = Vec::with_capacity(plan.placed.len());
        for instance in placed {
            let mut task = self.pin(self.intent.task(ctx, instance, launch.clone(), now));
            match interfaces.attach(&mut task) {
                Ok(()) => tasks.push(task),
                Err(reason) => {
                    // The others would get none either.
                    launched.unplaced = true;
                    let told = events::failed_to_launch(self.who, &reason);
                    if !launched.events.contains(&told) {
                        launched.events.push(told);
                    }
                    break;
                }
            }
        }
        let waiting = self.waiting(snapshot, start).min(plan.unplaced);
        plan.unplaced -= waiting;
        let wait = || self.pin(self.intent.waiting(ctx, self.by(), launch.clone(), now));
        tasks.extend((0..waiting).map(|_| wait()));
        let why = self.not_on_fargate(snapshot, &plan, &request);
        self.tell(start, &tasks, &plan, (&rows, &why), launched);
        let started = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        launched.replaced += start.replaces.min(started);
        launched.tasks.extend(tasks);
    }

    /// The instances that a task may go to, if they have room for it.
    fn places<'s>(&self, snapshot: &'s Snapshot, place: &Place, kind: LaunchType) -> Vec<&'s Arc<InstanceRow>> {
        let cluster = &self.service.arn.cluster;
        match place {
            Place::On(id) => {
                let instance = ContainerInstanceArn { cluster: cluster.clone(), id: id.clone() };
                snapshot.instance(&instance).into_iter().collect()
            }
            Place::Anywhere => candidates(snapshot, cluster, kind),
            Place::InZone(zone) => {
                let mut rows = candidates(snapshot, cluster, kind);
                rows.retain(|row| row.zone.as_deref() == Some(zone));
                rows
            }
        }
    }

    /// How many of those that find no room may wait for it: none where nobody makes any, or for a better place than they have.
    fn waiting(&self, snapshot: &Snapshot, start: &Start) -> usize {
        let cluster = &self.service.arn.cluster;
        if start.place != Place::Anywhere || !makes_room(snapshot, &cluster.scope, start.provider.as_ref()) {
            return 0;
        }
        let waiting = snapshot.cluster(cluster).map_or(0, |row| row.waiting().count());
        MAX_WAITING.saturating_sub(waiting)
    }

    /// By what they are placed later.
    fn by(&self) -> Waiting {
        let mut strategy = self.spec.placement_strategy.clone();
        if strategy.is_empty() {
            let by = |field: &str| PlacementStrategy { kind: "spread".into(), field: Some(field.into()) };
            strategy = DEFAULT_SPREAD.map(by).into();
        }
        let constraints = self.spec.placement_constraints.clone();
        Waiting { constraints, strategy, network: self.spec.network.clone() }
    }

    /// Why Fargate takes no more of them; of all its machines, also of those that are kept from Spot for a while.
    fn not_on_fargate(
        &self,
        snapshot: &Snapshot,
        plan: &scheduler::Plan,
        request: &PlacementRequest<'_>,
    ) -> Cow<'static, str> {
        if self.launch.kind != LaunchType::Fargate || plan.unplaced == 0 {
            return Cow::Borrowed("");
        }
        let pool = candidates(snapshot, &self.service.arn.cluster, LaunchType::Fargate);
        fargate::not_placed(&pool.into_iter().map(|row| view(row)).collect::<Vec<_>>(), request)
    }

    /// What is told of tasks that were moved to another zone, and of those that found no place.
    fn tell(
        &self,
        start: &Start,
        tasks: &[Task],
        plan: &scheduler::Plan,
        (rows, why): (&[&Arc<InstanceRow>], &str),
        launched: &mut Launched,
    ) {
        let name = &self.service.arn.name;
        launched.unplaced |= plan.unplaced > 0;
        if let Place::InZone(zone) = &start.place {
            if !tasks.is_empty() {
                launched.rebalancing += u32::try_from(tasks.len()).unwrap_or(u32::MAX);
                launched.events.push(events::started_to_rebalance(name, zone, tasks.iter().map(|t| &t.arn.id)));
            }
            return;
        }
        if plan.unplaced == 0 {
            return;
        }
        if self.launch.kind == LaunchType::Fargate {
            let told = events::unable_to_place_on_fargate(self.who, why);
            if !launched.events.contains(&told) {
                launched.events.push(told);
            }
            return;
        }
        let closest = plan.closest().and_then(|held| Some((rows[held.instance?], held.reason.in_an_event())));
        let closest = closest.map(|(row, reason)| (row.instance.arn.id.as_str(), reason));
        let told = events::unable_to_place(self.who, closest);
        if !launched.events.contains(&told) {
            launched.events.push(told);
        }
    }

    fn pin(&self, mut task: Task) -> Task {
        for container in &mut task.containers {
            container.image_digest = self.pinned.get(&container.name).cloned();
        }
        task
    }
}

/// What binds and what is wished for the tasks of a deployment. AWS: a service without a strategy is spread over the zones.
fn rules(definition: &TaskDefinition, spec: &RevisionSpec) -> (Vec<Constraint>, Vec<Strategy>) {
    const WAS_CHECKED: &str = "constraints and strategies are checked when they come in";
    let own = spec.placement_constraints.iter().map(|c| Constraint::parse(&c.kind, c.expression.as_deref()));
    let of_definition = definition.spec.placement_constraints.iter();
    let constraints = own.chain(of_definition.map(|expression| Constraint::parse("memberOf", Some(expression))));
    let constraints = constraints.map(|c| c.expect(WAS_CHECKED)).collect();
    let strategy = spec.placement_strategy.iter().map(|s| Strategy::parse(&s.kind, s.field.as_deref()));
    let mut strategy: Vec<_> = strategy.map(|s| s.expect(WAS_CHECKED)).collect();
    if spec.launch_type == LaunchType::Fargate {
        strategy = fargate::strategy();
    } else if strategy.is_empty() {
        strategy = default_strategy();
    }
    (constraints, strategy)
}

/// AWS names the zones alone; within one, instances take turns, so that the loss of one costs least.
const DEFAULT_SPREAD: [&str; 2] = ["attribute:ecs.availability-zone", "instanceId"];

fn default_strategy() -> Vec<Strategy> {
    let by = |field: &str| Strategy::parse("spread", Some(field)).expect("both fields can be spread over");
    DEFAULT_SPREAD.map(by).into()
}

fn tags(definition: &TaskDefinition, service: &Service, spec: &RevisionSpec) -> Tags {
    let mut tags = match spec.propagate_tags {
        PropagateTags::None => Tags::default(),
        PropagateTags::Service => service.tags.clone(),
        PropagateTags::TaskDefinition => definition.tags.clone(),
    };
    if spec.managed_tags {
        let cluster = service.arn.cluster.name.to_string();
        tags.0.insert("aws:ecs:clusterName".to_owned(), cluster);
        tags.0.insert("aws:ecs:serviceName".to_owned(), service.arn.name.to_string());
    }
    tags
}

/// The instances that could hold a task of the deployment if they had room.
pub(super) fn eligible(
    snapshot: &Snapshot,
    cluster: &ClusterRow,
    service: &Service,
    deployment: &Deployment,
) -> Vec<(ContainerInstanceId, Option<Arc<str>>)> {
    let Some(definition) = snapshot.task_definition(&deployment.spec.task_definition) else { return Vec::new() };
    let (constraints, _) = rules(definition, &deployment.spec);
    // That a task is there already does not make the place another one's.
    let lasting = |c: &Constraint| match c {
        Constraint::DistinctInstance => false,
        Constraint::MemberOf(_) => true,
    };
    let constraints: Vec<_> = constraints.into_iter().filter(lasting).collect();
    let required = definition.spec.requires_attributes();
    let group = service.group();
    let zones = awsvpc::zones(snapshot, &cluster.cluster.arn.scope, deployment.spec.network.as_ref());
    let request = PlacementRequest {
        count: 1,
        reservation: &Reservation::default(),
        required_attributes: &required,
        constraints: &constraints,
        strategy: &[],
        group: &group,
        zones: &zones,
    };
    let arn: &ClusterArn = &cluster.cluster.arn;
    let rows = candidates(snapshot, arn, deployment.spec.launch_type);
    let active = rows.into_iter().filter(|row| row.instance.status == model::InstanceStatus::Active);
    let able = active.filter(|row| obstacle(&view(row), &request).is_none());
    able.map(|row| (row.instance.arn.id.clone(), row.zone.clone())).collect()
}

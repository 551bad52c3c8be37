//! RunTask places, StartTask is told where; both commit the same command.

use super::request::{Common, Intent, Launch};
use crate::{
    api::{
        ApiError,
        ecs::{
            awsvpc::{self, Interfaces},
            capacity_providers::{Asked, is_of, makes_room},
            fargate, gpus, preference, resolve, spot,
        },
    },
    context::{Caller, Context},
};
use model::{
    Attribute, CapacityProvider, CapacityProviderStrategy, Cluster, ClusterArn, LaunchType, Resources, Task, TaskArn,
    Timestamp, Waiting, resources::Lacking,
};
use scheduler::{Constraint, InstanceView, MAX_CONSTRAINTS, MAX_STRATEGIES, PlacementRequest, Plan, Reason, Strategy};
use sha2::{Digest, Sha256};
use shapes::ecs as wire;
use state::{Command, CommitError, IdempotencyToken, InstanceRow, Outcome, Rejected, Snapshot};
use std::sync::Arc;

/// How often a plan is made anew when another request took the room it counted on. Each try sees the newest state and
/// at least one of those that compete gets through each time, so this many can fill a cluster at the same moment.
const TRIES: usize = 64;
/// Most container instances of one StartTask. Source: service model.
const MAX_START: usize = 10;
/// Longest `startedBy` of either operation. Source: the model's documentation.
const RUN_STARTED_BY: usize = 128;
const START_STARTED_BY: usize = 36;
/// The attribute of machines that are external.
const EXTERNAL: &str = "ecs.capability.external";

pub(crate) async fn run_task(
    ctx: &Context,
    caller: &Caller,
    request: wire::RunTaskRequest,
) -> Result<wire::RunTaskResponse, ApiError> {
    let token = idempotency(ctx, caller, &request)?;
    let wish = Wish::parse(&request)?;
    let common = Common {
        started_by_limit: RUN_STARTED_BY,
        cluster: request.cluster,
        task_definition: request.task_definition,
        group: request.group,
        started_by: request.started_by,
        overrides: request.overrides,
        propagate_tags: request.propagate_tags,
        tags: request.tags,
        managed_tags: request.enable_ecs_managed_tags == Some(true),
        execute_command: request.enable_execute_command == Some(true),
        network: awsvpc::parse(ctx, caller, request.network_configuration).await?,
        volumes: request.volume_configurations,
    };
    let snapshot = ctx.store.snapshot();
    if let Some(answer) = replay(&snapshot, token.as_ref())? {
        return Ok(answer);
    }
    let intent = Intent::parse(&snapshot, caller, common)?;
    drop(snapshot);
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        let now = ctx.effects.now();
        let chance = (now, ctx.effects.random());
        let placement = wish.of(&snapshot, &intent, chance)?;
        let launch = placement.launch.clone();
        let Placed { placed, waiting, failures, victims } = tracing::trace_span!(target: "timeline", "place")
            .in_scope(|| placement.place(&intent, &snapshot, chance))?;
        if placed.is_empty() && waiting.is_empty() {
            spot::interrupt(ctx, victims).await;
            return Ok(answer(Vec::new(), failures));
        }
        let placed = placed.into_iter().map(|(row, provider)| (&*row.instance, provider));
        let mut interfaces = Interfaces::new(ctx, &snapshot, &intent.cluster.scope, intent.network.as_deref());
        let born = |(instance, provider): (&model::ContainerInstance, _)| {
            intent.born(ctx, instance, Launch { provider, ..launch.clone() }, now, &mut interfaces)
        };
        let mut tasks: Vec<_> = placed.map(born).collect();
        gpus::allot(&snapshot, &mut tasks);
        tasks.extend(waiting.into_iter().map(|provider| wish.wait(ctx, &intent, provider, &launch, now)));
        match ctx.store.commit(Command::StartTasks { tasks, token: token.clone() }).await {
            Ok(committed) => {
                if let Outcome::Tasks(tasks) = &committed.outcome {
                    spot::interrupt(ctx, victims).await;
                    return Ok(answer(render(&committed.snapshot, tasks), failures));
                }
                // The same request came first, between our look and our commit.
                let replayed = replay(&committed.snapshot, token.as_ref())?;
                return replayed.ok_or_else(|| ApiError::server("StartTasks answered with something else than tasks"));
            }
            // Somebody was faster: look again.
            Err(CommitError::Rejected(
                Rejected::NoRoom { .. }
                | Rejected::AddressTaken(_)
                | Rejected::NetworkChanged(_)
                | Rejected::InstanceNotFound(_)
                | Rejected::InstanceInactive(_)
                | Rejected::InstanceDraining(_),
            )) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(too_busy())
}

fn too_busy() -> ApiError {
    ApiError::server("The cluster is too busy to place the tasks now; try again.")
}

/// Everything about where, as far as it means anything without a look at the cluster.
struct Wish {
    count: u32,
    asked: Asked,
    platform_version: Option<String>,
    /// Whether constraints, and whether strategies, are given.
    rules: (bool, bool),
    constraints: Vec<Constraint>,
    strategy: Vec<Strategy>,
    /// The same two for tasks that have to wait, without the interface that they shall have.
    waiting: Waiting,
}

impl Wish {
    fn parse(request: &wire::RunTaskRequest) -> Result<Self, ApiError> {
        let count = request.count.unwrap_or(1);
        let count = u32::try_from(count)
            .ok()
            .filter(|c| (1..=10).contains(c))
            .ok_or_else(|| ApiError::invalid("The count parameter must be between 1 and 10."))?;
        let asked = Asked::parse(request.launch_type.as_deref(), request.capacity_provider_strategy.as_deref())?;
        let given = |list: Option<usize>| list.is_some_and(|length| length > 0);
        let constrained = given(request.placement_constraints.as_ref().map(Vec::len));
        let rules = (constrained, given(request.placement_strategy.as_ref().map(Vec::len)));
        let invalid = |e: scheduler::InvalidPlacement| ApiError::invalid(e.to_string());
        let constraints = request.placement_constraints.iter().flatten();
        let constraints = constraints
            .map(|c| Constraint::parse(c.r#type.as_deref().unwrap_or_default(), c.expression.as_deref()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(invalid)?;
        let strategy = request.placement_strategy.iter().flatten();
        let strategy = strategy
            .map(|s| Strategy::parse(s.r#type.as_deref().unwrap_or_default(), s.field.as_deref()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(invalid)?;
        if strategy.len() > MAX_STRATEGIES {
            return Err(ApiError::invalid("A task can have at most 5 placement strategies."));
        }
        let platform_version = request.platform_version.clone();
        Ok(Self { count, asked, platform_version, rules, constraints, strategy, waiting: waiting(request) })
    }

    /// A task that waits for a provider's instances.
    fn wait(
        &self,
        ctx: &Context,
        intent: &Intent,
        provider: CapacityProvider,
        launch: &Launch,
        now: Timestamp,
    ) -> Task {
        let by = Waiting { network: intent.network.clone(), ..self.waiting.clone() };
        intent.waiting(ctx, by, Launch { provider: Some(provider), ..launch.clone() }, now)
    }

    /// What it comes to in that cluster, as it is now.
    fn of(&self, snapshot: &Snapshot, intent: &Intent, chance: (Timestamp, u64)) -> Result<Placement, ApiError> {
        let (kind, capacity) = match snapshot.cluster(&intent.cluster).map(|row| &row.cluster) {
            Some(cluster) if self.asked.prefers_cost(cluster) => self.cheapest(snapshot, cluster, intent, chance),
            Some(_) | None => self.asked.of(snapshot, &intent.cluster)?,
        };
        if intent.own_storage().is_some() && kind != LaunchType::Fargate {
            return Err(ApiError::invalid(
                "EphemeralStorage can only be overridden for tasks of the launch type FARGATE.",
            ));
        }
        awsvpc::public_address_fits(intent.network.as_ref(), kind)?;
        let platform_version = fargate::version(self.platform_version.as_deref(), kind)?;
        fargate::no_rules(kind, self.rules.0, self.rules.1)?;
        let strategy = match kind {
            LaunchType::Ec2 | LaunchType::External => self.strategy.clone(),
            LaunchType::Fargate => fargate::strategy(),
        };
        intent.check_roles(snapshot, kind)?;
        let platform = fargate::platform(kind, platform_version, &intent.spec())?;
        // What Fargate demands of an instance is added to what the intent does.
        let required = match platform {
            Some(platform) => fargate::required(platform, intent.required.clone()),
            None => intent.required.clone(),
        };
        let launch = Launch { kind, platform, provider: None };
        Ok(Placement { count: self.count, launch, capacity, required, constraints: self.constraints.clone(), strategy })
    }

    /// Where its tasks cost least.
    fn cheapest(
        &self,
        snapshot: &Snapshot,
        cluster: &Cluster,
        intent: &Intent,
        chance: (Timestamp, u64),
    ) -> (LaunchType, CapacityProviderStrategy) {
        let spec = intent.spec();
        let of_definition = spec.placement_constraints.iter();
        let of_definition = of_definition.flat_map(|expression| Constraint::parse("memberOf", Some(expression)));
        let constraints: Vec<_> = self.constraints.iter().cloned().chain(of_definition).collect();
        let wanted = preference::Wanted {
            count: self.count,
            spec: &spec,
            reservation: &intent.reservation,
            group: &intent.group,
            network: intent.network.as_ref(),
            platform_version: self.platform_version.as_deref().filter(|version| !version.is_empty()),
            has_storage: intent.own_storage().is_some(),
            constraints: &constraints,
            strategy: &self.strategy,
            has_rules: self.rules.0 || self.rules.1,
        };
        preference::launch(snapshot, cluster, &wanted, chance)
    }
}

/// What was asked for, as a task that waits keeps it.
fn waiting(request: &wire::RunTaskRequest) -> Waiting {
    let set = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Arc::from);
    let constraint = |one: &wire::PlacementConstraint| model::PlacementConstraint {
        kind: one.r#type.as_deref().unwrap_or_default().into(),
        expression: set(&one.expression),
    };
    let strategy = |one: &wire::PlacementStrategy| model::PlacementStrategy {
        kind: one.r#type.as_deref().unwrap_or_default().into(),
        field: set(&one.field),
    };
    Waiting {
        constraints: request.placement_constraints.iter().flatten().map(constraint).collect(),
        strategy: request.placement_strategy.iter().flatten().map(strategy).collect(),
        network: None,
    }
}

/// What came of looking for places.
#[derive(Default)]
struct Placed<'a> {
    /// The instance of each task that found one, and whose room it takes there.
    placed: Vec<(&'a Arc<InstanceRow>, Option<CapacityProvider>)>,
    /// The providers of those that wait until more instances have come.
    waiting: Vec<CapacityProvider>,
    /// What is to be said of the others.
    failures: Vec<wire::Failure>,
    /// Spot tasks whose room those need.
    victims: Vec<TaskArn>,
}

/// Everything about where.
struct Placement {
    count: u32,
    launch: Launch,
    capacity: CapacityProviderStrategy,
    /// What an instance must have.
    required: Vec<Attribute>,
    constraints: Vec<Constraint>,
    strategy: Vec<Strategy>,
}

impl Placement {
    /// How many tasks take whose room; those that keep it come first, so that they have it if there is not enough.
    fn shares(&self) -> Vec<(Option<CapacityProvider>, u32)> {
        if self.capacity.is_empty() {
            return vec![(None, self.count)];
        }
        let shares = scheduler::capacity::starts(&self.capacity, |_| 0, self.count).into_iter();
        shares.map(|(provider, count)| (Some(provider), count)).collect()
    }

    /// The instance of each task that found one, and what is to be said of the others.
    fn place<'a>(
        &self,
        intent: &Intent,
        snapshot: &'a Snapshot,
        (now, seed): (Timestamp, u64),
    ) -> Result<Placed<'a>, ApiError> {
        let mut constraints = self.constraints.clone();
        for expression in &intent.definition.spec.placement_constraints {
            let constraint = Constraint::parse("memberOf", Some(expression));
            constraints.push(constraint.map_err(|e| ApiError::invalid(e.to_string()))?);
        }
        // AWS: the limit counts those of the task definition and those of the request together (RunTask's reference).
        if constraints.len() > MAX_CONSTRAINTS {
            let text = "A task can have at most 10 placement constraints, those of its task definition included.";
            return Err(ApiError::invalid(text));
        }
        let request = PlacementRequest {
            count: self.count as usize,
            reservation: &intent.reservation,
            required_attributes: &self.required,
            constraints: &constraints,
            strategy: &self.strategy,
            group: &intent.group,
            zones: &awsvpc::zones(snapshot, &intent.cluster.scope, intent.network.as_ref()),
        };
        if let Some(placed) = self.draw(intent, snapshot, &request, seed) {
            let placed = placed.into_iter().map(|row| (row, None)).collect();
            return Ok(Placed { placed, ..Placed::default() });
        }
        let rows = candidates(snapshot, &intent.cluster, self.launch.kind);
        if self.launch.kind == LaunchType::Fargate || !self.capacity.is_empty() {
            return Ok(self.place_by_share(&intent.cluster.scope, snapshot, &rows, &request, (now, seed)));
        }
        let views: Vec<_> = rows.iter().map(|row| view(row)).collect();
        let plan = scheduler::place(&views, &request, seed);
        if plan.held.iter().any(|held| held.reason == Reason::NoInstances) {
            return Err(ApiError::invalid(Reason::NoInstances.text()));
        }
        let placed = plan.placed.iter().map(|at| (rows[*at], None)).collect();
        Ok(Placed { placed, failures: failures(&plan, &rows), ..Placed::default() })
    }

    /// In the pool, or on the instances of groups, each provider's tasks beside those of the one before.
    fn place_by_share<'a>(
        &self,
        scope: &model::Scope,
        snapshot: &'a Snapshot,
        rows: &[&'a Arc<InstanceRow>],
        request: &PlacementRequest<'_>,
        (now, seed): (Timestamp, u64),
    ) -> Placed<'a> {
        let mut placed = Placed::default();
        let mut left: Vec<Resources> = rows.iter().map(|row| row.remaining.clone()).collect();
        for (provider, count) in self.shares() {
            let is_spot = provider == Some(CapacityProvider::FargateSpot);
            let open = |at: &usize| {
                is_of(snapshot, rows[*at], provider.as_ref()) && !(is_spot && spot::is_kept(rows[*at], now))
            };
            let open: Vec<usize> = (0..rows.len()).filter(open).collect();
            let views = open.iter().map(|at| InstanceView { remaining: &left[*at], ..view(rows[*at]) });
            let request = PlacementRequest { count: count as usize, ..*request };
            let plan = scheduler::place(&views.collect::<Vec<_>>(), &request, seed);
            let chosen: Vec<usize> = plan.placed.iter().map(|at| open[*at]).collect();
            if plan.unplaced > 0 && self.launch.keeps_its_room() && !is_spot {
                placed.victims = spot::victims(snapshot, rows, &request, &chosen, plan.unplaced);
            }
            chosen.iter().for_each(|at| left[*at].take(request.reservation));
            placed.placed.extend(chosen.into_iter().map(|at| (rows[at], provider.clone())));
            match (self.launch.kind, &provider) {
                (LaunchType::Fargate, _) => {
                    let pool: Vec<_> = rows.iter().map(|row| view(row)).collect();
                    let why = fargate::not_placed(&pool, &request);
                    placed.failures.extend((0..plan.unplaced).map(|_| of_pool(&why)));
                }
                (LaunchType::Ec2 | LaunchType::External, Some(provider))
                    if makes_room(snapshot, scope, Some(provider)) =>
                {
                    placed.waiting.extend((0..plan.unplaced).map(|_| provider.clone()));
                }
                (LaunchType::Ec2 | LaunchType::External, _) => {
                    let open: Vec<_> = open.iter().map(|at| rows[*at]).collect();
                    placed.failures.extend(failures(&plan, &open));
                }
            }
        }
        placed
    }

    /// All tasks placed by chance, without a look at every instance; `None` if that can not be.
    fn draw<'a>(
        &self,
        intent: &Intent,
        snapshot: &'a Snapshot,
        request: &PlacementRequest<'_>,
        seed: u64,
    ) -> Option<Vec<&'a Arc<InstanceRow>>> {
        if self.launch.kind == LaunchType::Fargate || !self.capacity.is_empty() {
            return None;
        }
        let cluster = snapshot.cluster(&intent.cluster)?;
        let candidate =
            |at| cluster.registered_at(at).filter(|row| is_meant(self.launch.kind, row)).map(|row| view(row));
        let drawn = scheduler::draw(cluster.registered_instances() as usize, candidate, request, seed)?;
        drawn.into_iter().map(|at| cluster.registered_at(at)).collect()
    }
}

pub(crate) fn view(row: &InstanceRow) -> InstanceView<'_> {
    InstanceView {
        instance: &row.instance,
        remaining: &row.remaining,
        running_tasks: row.running,
        groups: &row.groups,
        zone: row.zone.as_deref(),
        price_micro_usd_hour: row.price_micro_usd_hour,
    }
}

/// The instances that the launch type means.
pub(crate) fn candidates<'a>(
    snapshot: &'a Snapshot,
    cluster: &ClusterArn,
    launch: LaunchType,
) -> Vec<&'a Arc<InstanceRow>> {
    let pool = match launch {
        LaunchType::Ec2 | LaunchType::External => cluster.clone(),
        LaunchType::Fargate => model::fargate::pool(&cluster.scope),
    };
    let rows = snapshot.cluster(&pool).into_iter().flat_map(|c| c.instances());
    rows.filter(|row| row.is_registered() && is_meant(launch, row)).collect()
}

/// AWS: EXTERNAL tasks go to attached machines only, EC2 tasks to any instance.
fn is_meant(launch: LaunchType, row: &InstanceRow) -> bool {
    match launch {
        LaunchType::Ec2 | LaunchType::Fargate => true,
        LaunchType::External => row.instance.attributes.contains_key(EXTERNAL),
    }
}

/// AWS: of Fargate's instances nothing is said.
fn of_pool(why: &str) -> wire::Failure {
    wire::Failure { arn: None, reason: Some(why.to_owned()), detail: None }
}

fn failures(plan: &Plan, rows: &[&Arc<InstanceRow>]) -> Vec<wire::Failure> {
    let held = plan.held.iter();
    held.map(|held| wire::Failure {
        arn: held.instance.map(|at| rows[at].instance.arn.to_string()),
        reason: Some(held.reason.text().to_owned()),
        detail: None,
    })
    .collect()
}

fn render(snapshot: &Snapshot, tasks: &[Arc<Task>]) -> Vec<wire::Task> {
    tasks.iter().map(|task| super::render::task(snapshot, task, true)).collect()
}

fn answer(tasks: Vec<wire::Task>, failures: Vec<wire::Failure>) -> wire::RunTaskResponse {
    wire::RunTaskResponse { tasks: Some(tasks), failures: Some(failures) }
}

/// The request's token, with a digest of everything else it says.
fn idempotency(
    ctx: &Context,
    caller: &Caller,
    request: &wire::RunTaskRequest,
) -> Result<Option<IdempotencyToken>, ApiError> {
    let Some(token) = request.client_token.clone().filter(|t| !t.is_empty()) else { return Ok(None) };
    if token.len() > 64 || !token.bytes().all(|b| (33..=126).contains(&b)) {
        return Err(ApiError::invalid("clientToken must be up to 64 ASCII characters between 33 and 126."));
    }
    let rest = wire::RunTaskRequest { client_token: None, ..request.clone() };
    let json = serde_json::to_vec(&rest).map_err(|e| ApiError::server(e.to_string()))?;
    Ok(Some(IdempotencyToken {
        scope: caller.scope.clone(),
        operation: "RunTask".to_owned(),
        token,
        request_sha256: hex::encode(Sha256::digest(json)),
        at: ctx.effects.now(),
    }))
}

/// The answer to a request that was seen before: the tasks that came of it, as they are now.
fn replay(snapshot: &Snapshot, token: Option<&IdempotencyToken>) -> Result<Option<wire::RunTaskResponse>, ApiError> {
    let Some(token) = token else { return Ok(None) };
    let Some(record) = snapshot.token(&token.scope, &token.operation, &token.token) else { return Ok(None) };
    if record.token.request_sha256 != token.request_sha256 {
        return Err(Rejected::TokenConflict(record.tasks.clone()).into());
    }
    let tasks: Vec<_> = record.tasks.iter().filter_map(|arn| snapshot.task(arn).cloned()).collect();
    Ok(Some(answer(render(snapshot, &tasks), Vec::new())))
}

pub(crate) async fn start_task(
    ctx: &Context,
    caller: &Caller,
    request: wire::StartTaskRequest,
) -> Result<wire::StartTaskResponse, ApiError> {
    let named = request.container_instances.unwrap_or_default();
    if named.is_empty() {
        return Err(ApiError::invalid("Container instances cannot be empty."));
    }
    if named.len() > MAX_START {
        return Err(ApiError::invalid("A maximum of 10 container instances can be specified."));
    }
    let common = Common {
        started_by_limit: START_STARTED_BY,
        cluster: request.cluster,
        task_definition: request.task_definition,
        group: request.group,
        started_by: request.started_by,
        overrides: request.overrides,
        propagate_tags: request.propagate_tags,
        tags: request.tags,
        managed_tags: request.enable_ecs_managed_tags == Some(true),
        execute_command: request.enable_execute_command == Some(true),
        network: awsvpc::parse(ctx, caller, request.network_configuration).await?,
        volumes: request.volume_configurations,
    };
    let snapshot = ctx.store.snapshot();
    let intent = Intent::parse(&snapshot, caller, common)?;
    intent.check_roles(&snapshot, LaunchType::Ec2)?;
    awsvpc::public_address_fits(intent.network.as_ref(), LaunchType::Ec2)?;
    drop(snapshot);
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        match start_on(ctx, &intent, &name).await? {
            Ok(task) => tasks.push(task),
            Err((arn, reason)) => {
                failures.push(wire::Failure { arn: Some(arn), reason: Some(reason), detail: None });
            }
        }
    }
    Ok(wire::StartTaskResponse { tasks: Some(tasks), failures: Some(failures) })
}

/// One task on one named instance, or the instance and the reason against it. Each is a decision of its own, as in AWS:
/// an instance that is full does not keep the others from starting.
async fn start_on(
    ctx: &Context,
    intent: &Intent,
    name: &str,
) -> Result<Result<wire::Task, (String, String)>, ApiError> {
    let arn = resolve::container_instance_arn(&intent.cluster, name);
    let shown = arn.as_ref().map_or_else(|| name.to_owned(), ToString::to_string);
    let refuse = |reason: &str| Ok(Err((shown.clone(), reason.to_owned())));
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        let Some(row) = arn.as_ref().and_then(|arn| snapshot.instance(arn)) else { return refuse("MISSING") };
        if row.instance.status != model::InstanceStatus::Active {
            return refuse("INACTIVE");
        }
        let request = PlacementRequest {
            count: 1,
            reservation: &intent.reservation,
            required_attributes: &intent.required,
            constraints: &[],
            strategy: &[],
            group: &intent.group,
            zones: &awsvpc::zones(&snapshot, &intent.cluster.scope, intent.network.as_ref()),
        };
        // AWS: StartTask asks neither constraints nor strategies, only whether the instance can.
        if let Some(reason) = scheduler::obstacle(&view(row), &request) {
            return refuse(reason.text());
        }
        let external = row.instance.attributes.contains_key(EXTERNAL);
        let launch = Launch::on_instances(if external { LaunchType::External } else { LaunchType::Ec2 });
        let mut interfaces = Interfaces::new(ctx, &snapshot, &intent.cluster.scope, intent.network.as_deref());
        let mut tasks = vec![intent.born(ctx, &row.instance, launch, ctx.effects.now(), &mut interfaces)];
        gpus::allot(&snapshot, &mut tasks);
        return match ctx.store.commit(Command::StartTasks { tasks, token: None }).await {
            Ok(committed) => {
                let Outcome::Tasks(tasks) = &committed.outcome else {
                    return Err(ApiError::server("StartTasks answered with something else than the task"));
                };
                let task = tasks.first().ok_or_else(|| ApiError::server("StartTasks answered with no task"))?;
                Ok(Ok(super::render::task(&committed.snapshot, task, true)))
            }
            // Somebody was faster: another address, or another GPU if there is one.
            Err(CommitError::Rejected(
                Rejected::AddressTaken(_)
                | Rejected::NetworkChanged(_)
                | Rejected::NoRoom { lacking: Lacking::Gpu, .. },
            )) => continue,
            Err(CommitError::Rejected(Rejected::NoRoom { lacking, .. })) => refuse(lacking.reason()),
            Err(CommitError::Rejected(Rejected::InstanceInactive(_) | Rejected::InstanceDraining(_))) => {
                refuse("INACTIVE")
            }
            Err(CommitError::Rejected(Rejected::InstanceNotFound(_))) => refuse("MISSING"),
            Err(error) => Err(error.into()),
        };
    }
    Err(too_busy())
}

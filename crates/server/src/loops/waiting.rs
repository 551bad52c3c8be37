//! Places tasks that wait for an instance of their capacity provider, the longest waiting first, and gives up those that have waited
//! for too long.

use crate::{
    api::ecs::{
        awsvpc::{self, Interfaces},
        capacity_providers::is_of,
        gpus,
        tasks::{candidates, view},
    },
    context::Context,
};
use model::{ClusterArn, InstanceStatus, LaunchType, Stop, StopCode, Task, Timestamp};
use scheduler::{Constraint, PlacementRequest, Strategy};
use state::{ClusterRow, Command, InstanceRow, Snapshot, Topic};
use std::{sync::Arc, time::Duration};

/// How long a task waits. AWS publishes none; users of the original saw a quarter to half an hour.
const GIVE_UP_MILLIS: i64 = 30 * 60_000;
/// How often tasks that wait are looked at when nothing changes: those that are given up are so late at most.
const EVERY: Duration = Duration::from_secs(5);

pub(super) async fn run(ctx: Context) {
    let mut changes = ctx.store.subscribe(Topic::All);
    let stop = ctx.effects.shutdown().clone();
    loop {
        for cluster in with_waiting(&ctx.store.snapshot()) {
            look_after(&ctx, &cluster).await;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = ctx.effects.sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn with_waiting(snapshot: &Snapshot) -> Vec<ClusterArn> {
    // Where there is no provider, nothing waits for one, and no cluster has to be looked at.
    let scopes = snapshot.scopes().filter(|scope| snapshot.capacity_providers(scope).next().is_some());
    let clusters = scopes.flat_map(|scope| snapshot.clusters(scope, None));
    clusters.filter(|row| row.waiting().next().is_some()).map(|row| row.cluster.arn.clone()).collect()
}

/// Each group of equal tasks is placed by a commit of its own, so that the next one sees what it has taken.
async fn look_after(ctx: &Context, cluster: &ClusterArn) {
    let groups = ctx.store.snapshot().cluster(cluster).map(alike).unwrap_or_default();
    for group in groups {
        let snapshot = ctx.store.snapshot();
        let Placed { tasks, given_up } = place(ctx, &snapshot, cluster, &group);
        if !tasks.is_empty()
            && let Err(error) = ctx.store.commit(Command::PlaceTasks { tasks }).await
        {
            tracing::debug!(%cluster, %error, "tasks that wait are placed at the next look");
        }
        for (task, why) in given_up {
            let command = Command::StopTask { arn: task.arn.clone(), why, at: ctx.effects.now() };
            if let Err(error) = ctx.store.commit(command).await {
                tracing::debug!(task = %task.arn, %error, "a task that waited for too long is given up at the next look");
            }
        }
    }
}

/// The tasks that wait, in groups that one placement can be asked for, those of the longest waiting first.
fn alike(row: &ClusterRow) -> Vec<Vec<Arc<Task>>> {
    let mut tasks: Vec<_> = row.waiting().cloned().collect();
    tasks.sort_by_key(|task| task.times.created);
    let mut groups: Vec<Vec<Arc<Task>>> = Vec::new();
    for task in tasks {
        let is_alike = |other: &Task| {
            (&task.definition, &task.group, &task.capacity_provider, &task.waiting, &task.reservation)
                == (&other.definition, &other.group, &other.capacity_provider, &other.waiting, &other.reservation)
        };
        match groups.iter_mut().find(|group| is_alike(&group[0])) {
            Some(group) => group.push(task),
            None => groups.push(vec![task]),
        }
    }
    groups
}

/// What becomes of a group now.
#[derive(Default)]
struct Placed {
    /// Those that have found an instance.
    tasks: Vec<Task>,
    /// Those that get none, and why.
    given_up: Vec<(Arc<Task>, Stop)>,
}

fn place(ctx: &Context, snapshot: &Snapshot, cluster: &ClusterArn, group: &[Arc<Task>]) -> Placed {
    let mut placed = Placed::default();
    let Some((first, by)) = group.first().and_then(|first| Some((first, first.waiting.as_deref()?))) else {
        return placed;
    };
    let Some(definition) = snapshot.task_definition(&first.definition) else { return placed };
    let own = by.constraints.iter().map(|one| Constraint::parse(&one.kind, one.expression.as_deref()));
    let of_definition = definition.spec.placement_constraints.iter();
    let constraints = own.chain(of_definition.map(|expression| Constraint::parse("memberOf", Some(expression))));
    // They were checked when they came in.
    let constraints: Vec<_> = constraints.flatten().collect();
    let strategy: Vec<_> =
        by.strategy.iter().filter_map(|one| Strategy::parse(&one.kind, one.field.as_deref()).ok()).collect();
    let mut rows = candidates(snapshot, cluster, LaunchType::Ec2);
    rows.retain(|row| is_of(snapshot, row, first.capacity_provider.as_ref()));
    let views: Vec<_> = rows.iter().map(|row| view(row)).collect();
    let request = PlacementRequest {
        count: group.len(),
        reservation: &first.reservation,
        required_attributes: &definition.spec.requires_attributes(),
        constraints: &constraints,
        strategy: &strategy,
        group: &first.group,
        zones: &awsvpc::zones(snapshot, &cluster.scope, by.network.as_ref()),
    };
    let plan = scheduler::place(&views, &request, ctx.effects.random());
    let now = ctx.effects.now();
    let mut interfaces = Interfaces::new(ctx, snapshot, &cluster.scope, by.network.as_deref());
    let mut tasks = group.iter();
    for (at, task) in plan.placed.iter().zip(&mut tasks) {
        let mut next = on(task, rows[*at], now);
        match interfaces.attach(&mut next) {
            Ok(()) => placed.tasks.push(next),
            Err(reason) => placed.given_up.push((task.clone(), failed(&reason))),
        }
    }
    gpus::allot(snapshot, &mut placed.tasks);
    let late = tasks.filter(|task| task.times.created.plus_millis(GIVE_UP_MILLIS) <= now);
    placed.given_up.extend(late.map(|task| (task.clone(), failed(obstacle(&plan, &rows)))));
    placed
}

/// The task on its instance. AWS: its `createdAt` is when it became PENDING.
fn on(task: &Task, row: &InstanceRow, now: Timestamp) -> Task {
    let mut next = task.clone();
    next.container_instance = Some(row.instance.arn.id.clone());
    next.availability_zone = row.instance.availability_zone().map(Arc::from);
    next.waiting = None;
    next.times.created = now.max(task.times.created);
    next.version += 1;
    next
}

fn failed(reason: &str) -> Stop {
    Stop { code: StopCode::TaskFailedToStart, reason: reason.into() }
}

/// Why the last of them found no instance, in AWS's words.
fn obstacle(plan: &scheduler::Plan, rows: &[&Arc<InstanceRow>]) -> &'static str {
    if rows.is_empty() {
        return "EMPTY CAPACITY PROVIDER";
    }
    if rows.iter().all(|row| row.instance.status != InstanceStatus::Active) {
        return "NO ACTIVE INSTANCES";
    }
    plan.closest().map_or("AGENT", |held| held.reason.text())
}

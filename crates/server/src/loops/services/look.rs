//! One look at one service: snapshot, plan, commit.

use super::launch::{self, Launched};
use crate::{api::ecs::spot, context::Context};
use model::{
    ContainerInstanceId, CpuUnits, Deployment, InstanceStatus, MemoryMib, RevisionImage, Service, ServiceArn,
    ServiceEvent, ServiceRevision, ServiceStatus, Task, TaskArn, Timestamp,
};
use scheduler::service::{Field, InstanceState, Plan, Told, View, events};
use state::{Basis, ClusterRow, Command, CommitError, InstanceRow, Rejected, ServiceChange, ServiceRow, Snapshot};
use std::{cell::OnceCell, collections::BTreeSet, sync::Arc};

/// How many of a cluster's tasks that stopped last are looked through for those of a service. What has made room by stopping is
/// replaced at once, so it is among the last; and a cluster may keep a hundred thousand.
const LAST_STOPPED: usize = 256;

/// What a look at a service came to.
#[derive(Clone, Copy)]
pub(super) enum Looked {
    /// It is on its way; when to look again, and whether tasks are without a place.
    Settled { look_again: Option<Timestamp>, unplaced: bool },
    /// Something has changed meanwhile.
    Overtaken,
    /// The commit failed for another reason.
    Trouble,
}

pub(super) async fn look(ctx: &Context, arn: ServiceArn, now: Timestamp, began: Timestamp) -> (ServiceArn, Looked) {
    let snapshot = ctx.store.snapshot();
    let Some(Decided { change, victims, settled }) = decide(ctx, &snapshot, &arn, now, began) else {
        return (arn, Looked::Settled { look_again: None, unplaced: false });
    };
    drop(snapshot);
    let Some(change) = change else {
        spot::interrupt(ctx, victims).await;
        return (arn, settled);
    };
    let looked = match ctx.store.commit_in_turn(Command::ChangeService(Box::new(change))).await {
        // The commit itself wakes the loop, which then looks whether anything is left to do.
        Ok(_) => {
            spot::interrupt(ctx, victims).await;
            settled
        }
        Err(CommitError::Rejected(
            Rejected::ServiceChanged(_)
            | Rejected::NoRoom { .. }
            | Rejected::AddressTaken(_)
            | Rejected::NetworkChanged(_)
            | Rejected::InstanceNotFound(_)
            | Rejected::InstanceInactive(_)
            | Rejected::InstanceDraining(_),
        )) => Looked::Overtaken,
        Err(CommitError::Rejected(why)) => {
            tracing::warn!(service = %arn, %why, "a step of a service was refused");
            Looked::Trouble
        }
        Err(error) => {
            tracing::debug!(service = %arn, %error, "a step of a service waits");
            Looked::Trouble
        }
    };
    (arn, looked)
}

/// Whether a look would change anything but what is told: which instance came nearest to taking a task changes with each of them, and
/// is told when somebody looks for another reason.
pub(super) fn would_change(
    ctx: &Context,
    snapshot: &Snapshot,
    arn: &ServiceArn,
    now: Timestamp,
    began: Timestamp,
) -> bool {
    let row = snapshot.service(arn);
    let change = decide(ctx, snapshot, arn, now, began).and_then(|decided| decided.change);
    change.is_some_and(|change| {
        let moves = !change.start.is_empty() || !change.stop.is_empty();
        let notes = !change.deployments.is_empty() || !change.revisions.is_empty();
        moves || notes || row.is_some_and(|row| *row.service != change.service)
    })
}

/// What a look decides.
struct Decided {
    /// The change to commit, if there is one.
    change: Option<ServiceChange>,
    /// Spot tasks, of whatever service, whose room its own need.
    victims: Vec<TaskArn>,
    /// What the look then has come to.
    settled: Looked,
}

/// `None` if there is no such service, or it is over: it stays as it ended, whatever is yet to be learned of its tasks.
fn decide(ctx: &Context, snapshot: &Snapshot, arn: &ServiceArn, now: Timestamp, began: Timestamp) -> Option<Decided> {
    let (row, cluster) = (snapshot.service(arn)?, snapshot.cluster(&arn.cluster)?);
    let service = &row.service;
    match service.status {
        ServiceStatus::Active | ServiceStatus::Draining => {}
        ServiceStatus::Inactive => return None,
    }
    let field = ClusterField { snapshot, cluster, service, began, daemons: OnceCell::new() };
    let story = service.primary().and_then(|primary| row.deployment(&primary.service_deployment));
    // What was told of an earlier deployment says nothing of this one.
    let since = service.primary().map(|primary| primary.created_at);
    let told = |message: &str| {
        let last = row.events().find(|event| &*event.message == message).map(|event| event.at);
        last.filter(|at| since.is_none_or(|since| *at >= since))
    };
    let plan = |no_place: bool| {
        let plan = scheduler::service::plan(&View {
            service,
            story: story.map(|story| &**story),
            tasks: row.tasks().map(|task| &**task).collect(),
            field: &field,
            events: &told,
            no_place,
            now,
        });
        let launched = launch::launch(ctx, snapshot, row, &plan);
        (plan, launched)
    };
    let tried = plan(false);
    let full = tried.1.unplaced && tried.1.tasks.is_empty();
    let room = full.then(|| plan(true)).filter(|(plan, _)| plan.makes_room());
    let (plan, mut launched) = room.unwrap_or(tried);
    let revisions = learned(row);
    let victims = std::mem::take(&mut launched.victims);
    let look_again = plan.look_again.into_iter().chain(launched.look_again).min();
    let settled = Looked::Settled { look_again, unplaced: launched.unplaced };
    let news = std::mem::take(&mut launched.events)
        .into_iter()
        .filter(|told_now| told_again(told_now, &told, now))
        .collect::<Vec<_>>();
    let nothing = plan.service.is_none()
        && plan.stories.is_empty()
        && plan.stops.is_empty()
        && plan.events.is_empty()
        && launched.tasks.is_empty()
        && news.is_empty()
        && revisions.is_empty();
    if nothing {
        return Some(Decided { change: None, victims, settled });
    }
    let launched = Launched { events: news, ..launched };
    let change = Some(change(ctx, row, plan, launched, revisions, now));
    Some(Decided { change, victims, settled })
}

fn told_again(told: &Told, before: &dyn Fn(&str) -> Option<Timestamp>, now: Timestamp) -> bool {
    let fresh = |at: Timestamp| now.millis_since(at) < events::DUPLICATES_SUPPRESSED_MILLIS;
    !events::may_repeat(told.name) || !before(&told.message).is_some_and(fresh)
}

fn change(
    ctx: &Context,
    row: &ServiceRow,
    plan: Plan,
    launched: Launched,
    revisions: Vec<ServiceRevision>,
    now: Timestamp,
) -> ServiceChange {
    let mut service = plan.service.unwrap_or_else(|| Service::clone(&row.service));
    service.rebalancing += launched.rebalancing;
    let events = plan.events.into_iter().chain(launched.events).map(|told| ServiceEvent {
        id: ctx.effects.uuid().into(),
        at: now,
        name: told.name,
        message: told.message.into(),
    });
    ServiceChange {
        on: Basis::Seen(row.seen()),
        service,
        revisions,
        deployments: plan.stories,
        events: events.collect(),
        start: launched.tasks,
        stop: plan.stops.into_iter().map(|stop| (stop.task, stop.why)).collect(),
        at: now,
    }
}

/// Revisions whose images' digests a task has found out. AWS: the first task of a revision settles what its tags mean.
fn learned(row: &ServiceRow) -> Vec<ServiceRevision> {
    let mut revisions = Vec::new();
    for deployment in &row.service.deployments {
        let Some(revision) = row.revision(deployment.id) else { continue };
        if revision.images.iter().all(|image| image.digest.is_some()) {
            continue;
        }
        let id = deployment.id.to_string();
        let tasks = row.tasks().filter(|task| task.started_by.as_deref() == Some(id.as_str()));
        let containers: Vec<_> = tasks.flat_map(|task| &task.containers).collect();
        let images = revision.images.iter().map(|image| {
            let found = containers.iter().find(|c| c.name == image.container && c.image_digest.is_some());
            let digest = image.digest.clone().or_else(|| found.and_then(|c| c.image_digest.clone()));
            RevisionImage { digest, ..image.clone() }
        });
        let images: Vec<_> = images.collect();
        if images != revision.images {
            revisions.push(ServiceRevision { images, ..ServiceRevision::clone(revision) });
        }
    }
    revisions
}

/// The cluster as the planner asks for it.
struct ClusterField<'a> {
    snapshot: &'a Snapshot,
    cluster: &'a ClusterRow,
    service: &'a Service,
    /// When this server began: agents that were away with it are not lost because of it.
    began: Timestamp,
    daemons: OnceCell<BTreeSet<String>>,
}

impl ClusterField<'_> {
    /// An instance on which the cluster's tasks may be: its own, or one of the Fargate pool.
    fn row(&self, id: &ContainerInstanceId) -> Option<&Arc<InstanceRow>> {
        let pool = || self.snapshot.cluster(&model::fargate::pool(&self.cluster.cluster.arn.scope))?.instance(id);
        self.cluster.instance(id).or_else(pool)
    }
}

impl Field for ClusterField<'_> {
    fn instance(&self, id: &ContainerInstanceId) -> Option<InstanceState> {
        let row = self.row(id)?;
        if !row.is_registered() {
            return None;
        }
        if !row.instance.agent_connected {
            return Some(InstanceState::Unreachable { since: row.instance.agent_changed_at.max(self.began) });
        }
        match row.instance.status {
            InstanceStatus::Active => Some(InstanceState::Active),
            InstanceStatus::Draining => Some(InstanceState::Draining),
            InstanceStatus::Inactive => None,
        }
    }

    fn eligible(&self, deployment: &Deployment) -> Vec<(ContainerInstanceId, Option<Arc<str>>)> {
        launch::eligible(self.snapshot, self.cluster, self.service, deployment)
    }

    fn zones(&self) -> Option<Vec<Arc<str>>> {
        let own = self.cluster.zones();
        // Fargate's tasks are where its instances are, not where the cluster's are.
        let pool = model::fargate::pool(&self.cluster.cluster.arn.scope);
        let fargate = self.service.launch_type() == model::LaunchType::Fargate;
        let pool = self.snapshot.cluster(&pool).filter(|_| fargate);
        Some(pool.map_or_else(|| own.cloned().collect(), |pool| pool.zones().cloned().collect()))
    }

    fn remaining(&self, instance: &ContainerInstanceId) -> Option<(CpuUnits, MemoryMib)> {
        self.row(instance).map(|row| (row.remaining.cpu, row.remaining.memory))
    }

    fn only_daemons_left(&self, instance: &ContainerInstanceId) -> bool {
        let Some(row) = self.row(instance) else { return true };
        let daemons = self.daemons.get_or_init(|| {
            let daemons =
                self.cluster.services().filter(|row| row.service.scheduling == model::SchedulingStrategy::Daemon);
            daemons.map(|row| row.service.group().to_string()).collect()
        });
        let of_replicas = |group: &Arc<str>| {
            ServiceArn::of_group(&self.cluster.cluster.arn, group).is_some() && !daemons.contains(&**group)
        };
        !row.groups.keys().any(of_replicas)
    }

    fn stopped(&self) -> Vec<&Task> {
        let group = self.service.group();
        let last = self.cluster.last_stopped().take(LAST_STOPPED).filter(|task| task.group == group);
        last.map(|task| &**task).collect()
    }
}

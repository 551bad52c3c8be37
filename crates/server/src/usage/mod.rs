//! Usage as the state tells it: what has ended, what goes on, and whose it is. Pure but for [`each`], which reads the ledger.
//!
//! A task's time is its own record's, so nothing here depends on when somebody looked. The machines of the Fargate pool are not
//! metered: their tasks are. Nor is a container instance whose machine is local, since that is metered itself.

pub(crate) mod advice;
mod measured;
mod metered;

pub(crate) use measured::Measures;
pub(crate) use metered::Metered;

use crate::context::Context;
use model::{
    AccountId, CapacityProvider, ContainerInstance, ContainerInstanceArn, CpuArchitecture, InstanceStatus, LaunchType,
    Machine, Pool, Run, Scope, ServiceArn, Task, Timestamp, fargate,
};
use state::{ChangedRecord, ClusterRow, Kind, Snapshot};
use std::{
    path::{Path, PathBuf},
    ptr,
    sync::Arc,
};
use telemetry::usage::{self, LedgerError, Owner, Resource, Usage, Window};

/// The ledger's folder in the data directory.
const FOLDER: &str = "usage";
/// GiB of ephemeral storage that cost nothing. AWS: 20.
const FREE_STORAGE_GIB: u32 = 20;

pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER)
}

/// The name under which an instance is metered: that of its machine if it is a local one, else its own.
fn metered_as(snapshot: &Snapshot, arn: &ContainerInstanceArn) -> Arc<str> {
    let machine = snapshot.instance(arn).and_then(|row| row.instance.ec2_instance_id.as_deref());
    let local = machine.filter(|id| snapshot.machine(&arn.cluster.scope, id).is_some());
    local.unwrap_or(arn.id.as_str()).into()
}

/// What a task uses: up to its end, or up to now.
fn of_task(snapshot: &Snapshot, task: &Task, now: Timestamp) -> Option<Usage> {
    let (cpu, memory) = (task.reservation.cpu.0, task.reservation.memory.0);
    let times = &task.times;
    let held = |external| {
        // One that waits for room has none.
        let on = task.instance_arn().map(|arn| metered_as(snapshot, &arn));
        (on.as_ref().map(|_| times.created), Resource::OnInstance { cpu, memory, external, on })
    };
    let (from, what) = match task.launch_type {
        LaunchType::Ec2 => held(false),
        LaunchType::External => held(true),
        // AWS: from when the image is pulled; one that came to neither has cost nothing.
        LaunchType::Fargate => {
            let storage = task.ephemeral_storage_gib.unwrap_or(0).saturating_sub(FREE_STORAGE_GIB);
            let arm = task.platform.is_some_and(|platform| platform.architecture == CpuArchitecture::Arm64);
            let what = Resource::Fargate { cpu, memory, storage, arm, spot: task.is_spot() };
            (times.pull_started.or(times.started), what)
        }
    };
    let from = from?;
    let ended = task.stopped_at();
    let service = ServiceArn::of_group(&task.arn.cluster, &task.group);
    Some(Usage {
        key: task.arn.to_string().into(),
        from,
        to: ended.unwrap_or(now).max(from),
        over: ended.is_some(),
        what,
        measured: None,
        owner: Owner {
            scope: task.arn.cluster.scope.clone(),
            cluster: task.arn.cluster.name.clone(),
            zone: task.availability_zone.clone(),
            service: service.map(|service| service.name),
            family: Some(task.definition.family.clone()),
            capacity_provider: capacity_provider(task),
            tags: task.tags.clone(),
        },
    })
}

/// AWS: a Fargate task without a strategy is of the provider FARGATE on bills, though its description names none.
fn capacity_provider(task: &Task) -> Option<Arc<str>> {
    let fargate = (task.launch_type == LaunchType::Fargate).then_some(CapacityProvider::Fargate);
    task.capacity_provider.clone().or(fargate).map(Arc::from)
}

/// What an instance uses that is no local one. One that is in use again after it was deregistered has another ARN.
fn of_instance(snapshot: &Snapshot, instance: &ContainerInstance, now: Timestamp) -> Option<Usage> {
    let scope = &instance.arn.cluster.scope;
    let is_local = instance.ec2_instance_id.as_deref().is_some_and(|id| snapshot.machine(scope, id).is_some());
    if is_local || instance.pool() == Pool::Fargate {
        return None;
    }
    let ended = match instance.status {
        InstanceStatus::Active | InstanceStatus::Draining => None,
        InstanceStatus::Inactive => Some(instance.agent_changed_at),
    };
    let from = instance.registered_at;
    let is_attached = instance.ec2_instance_id.as_deref().is_some_and(|id| id.starts_with("mi-"));
    let what = match instance.attribute("ecs.instance-type") {
        None if is_attached => Resource::External,
        kind => Resource::Instance { instance_type: kind.map(Arc::from) },
    };
    Some(Usage {
        key: instance.arn.to_string().into(),
        from,
        to: ended.unwrap_or(now).max(from),
        over: ended.is_some(),
        what,
        measured: None,
        owner: Owner {
            scope: scope.clone(),
            cluster: instance.arn.cluster.name.clone(),
            zone: instance.availability_zone().map(Arc::from),
            service: None,
            family: None,
            capacity_provider: None,
            tags: instance.tags.clone(),
        },
    })
}

/// What a local instance uses in one time that it runs.
fn of_run(machine: &Machine, from: Timestamp, to: Timestamp, over: bool) -> Option<Usage> {
    if machine.cluster.as_str() == fargate::POOL_CLUSTER {
        return None;
    }
    let Scope { account, region } = &machine.scope;
    Some(Usage {
        key: format!("arn:aws:ec2:{region}:{account}:instance/{}@{}", machine.id, from.0).into(),
        from,
        to: to.max(from),
        over,
        what: Resource::Instance { instance_type: Some(machine.instance_type.as_str().into()) },
        measured: None,
        owner: Owner {
            scope: machine.scope.clone(),
            cluster: machine.cluster.clone(),
            zone: Some(machine.availability_zone.as_str().into()),
            service: None,
            family: None,
            capacity_provider: None,
            tags: machine.tags.clone(),
        },
    })
}

/// The runs of a machine that are over and not among those.
fn runs<'a>(machine: &'a Machine, known: &'a [Run]) -> impl Iterator<Item = Usage> + 'a {
    let new = machine.runs.iter().filter(|run| !known.contains(run));
    new.filter_map(|run| of_run(machine, run.from, run.to, true))
}

/// What has ended on the way from one snapshot to the other. Costs what has changed.
pub(crate) fn ended_between(before: &Snapshot, after: &Snapshot) -> Vec<Usage> {
    let mut ended = Vec::new();
    for scope in after.scopes() {
        for cluster in after.clusters(scope, None) {
            match before.cluster(&cluster.cluster.arn) {
                Some(before) if ptr::eq(before, cluster) => {}
                Some(before) => ended_in_cluster(after, before, cluster, &mut ended),
                None => ended_in_cluster(after, &cluster.before_all(), cluster, &mut ended),
            }
        }
    }
    for machine in after.all_machines() {
        let was = before.machine(&machine.scope, &machine.id);
        ended.extend(runs(machine, was.map_or(&[], |was| &was.runs)));
    }
    ended
}

fn ended_in_cluster(after: &Snapshot, before: &ClusterRow, cluster: &ClusterRow, ended: &mut Vec<Usage>) {
    let changes = cluster.changes_since(before);
    for (was, is) in changes.tasks() {
        let was_over = was.is_some_and(|was| was.stopped_at().is_some());
        if let Some(at) = is.stopped_at().filter(|_| !was_over) {
            ended.extend(of_task(after, is, at));
        }
    }
    for (was, is) in changes.instances() {
        if !is.is_registered() && was.is_none_or(|was| was.is_registered()) {
            ended.extend(of_instance(after, &is.instance, is.instance.agent_changed_at));
        }
    }
}

/// What has ended of what the records tell of.
pub(crate) fn ended_in(snapshot: &Snapshot, records: &[ChangedRecord]) -> Vec<Usage> {
    let known = records.iter().filter(|record| record.revision <= snapshot.revision());
    known.flat_map(|record| ended_in_record(snapshot, record).unwrap_or_default()).collect()
}

fn ended_in_record(snapshot: &Snapshot, record: &ChangedRecord) -> Option<Vec<Usage>> {
    let key = &*record.key;
    // The other kinds use nothing.
    if record.kind == Kind::Task {
        let task = snapshot.task(&key.parse().ok()?)?;
        task.stopped_at().map(|at| of_task(snapshot, task, at).into_iter().collect())
    } else if record.kind == Kind::ContainerInstance {
        let row = snapshot.instance(&key.parse().ok()?)?;
        let at = row.instance.agent_changed_at;
        (!row.is_registered()).then(|| of_instance(snapshot, &row.instance, at).into_iter().collect())
    } else if record.kind == Kind::Machine {
        let (scope, id) = key.rsplit_once('/')?;
        let (account, region) = scope.split_once('/')?;
        let scope = Scope { account: AccountId::parse(account).ok()?, region: model::Region::parse(region).ok()? };
        Some(runs(snapshot.machine(&scope, id)?, &[]).collect())
    } else {
        None
    }
}

/// What goes on, up to now.
fn going_on(snapshot: &Snapshot, now: Timestamp, mut take: impl FnMut(Usage)) {
    let clusters = snapshot.scopes().flat_map(|scope| snapshot.clusters(scope, None));
    for row in clusters.flat_map(ClusterRow::instances) {
        if row.is_registered() {
            of_instance(snapshot, &row.instance, now).into_iter().for_each(&mut take);
        }
        for task in snapshot.live_tasks_on(&row.instance.arn) {
            of_task(snapshot, task, now).into_iter().for_each(&mut take);
        }
    }
    for machine in snapshot.all_machines() {
        let since = machine.running_since();
        since.and_then(|since| of_run(machine, since, now, false)).into_iter().for_each(&mut take);
    }
}

/// Hands over all usage of a period up to now, each once: of the ledger, of what has ended and is not in it yet, and of what
/// goes on. The names of damaged files come back. Reads files: call it where blocking is allowed.
///
/// # Errors
/// The ledger cannot be read.
pub(crate) fn each(ctx: &Context, period: Window, mut take: impl FnMut(&Usage)) -> Result<Vec<String>, LedgerError> {
    // In this order: what ends or is forgotten meanwhile is in the snapshot, in the ledger, or in both.
    let metered = ctx.metered.up_to();
    let snapshot = ctx.store.snapshot();
    let now = ctx.effects.now();
    let mut read = usage::read(&folder(&ctx.config.data_dir), period, &mut take)?;
    let ended = ended_between(&metered.unwrap_or_default(), &snapshot);
    let mut once = |mut usage: Usage| {
        if read.keys.add(&usage.key) {
            ctx.measures.add_to(&mut usage);
            take(&usage);
        }
    };
    ended.into_iter().for_each(&mut once);
    going_on(&snapshot, now, once);
    Ok(read.damaged)
}

#[cfg(test)]
mod tests;

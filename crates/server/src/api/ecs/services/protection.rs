//! UpdateTaskProtection and GetTaskProtection: tasks of services that neither a deployment nor scaling in may stop for a
//! while.

use super::render::time;
use crate::{
    api::{
        ApiError,
        ecs::{missing_named, resolve},
    },
    context::{Caller, Context},
};
use link::Answer;
use model::{ClusterArn, ServiceArn, Task, TaskArn, Timestamp};
use shapes::ecs as aws;
use state::{Command, Outcome, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tasks of one UpdateTaskProtection. Source: the model's documentation.
const MAX_UPDATED: usize = 10;
/// Tasks of one GetTaskProtection. Source: the model's documentation.
const MAX_SHOWN: usize = 100;
/// Minutes of a protection that says nothing, and the most there can be. Source: the model's documentation.
const MINUTES: i32 = 120;
const MAX_MINUTES: i32 = 2_880;

pub(crate) async fn update(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateTaskProtectionRequest,
) -> Result<aws::UpdateTaskProtectionResponse, ApiError> {
    let named = named(request.tasks, MAX_UPDATED)?;
    let now = ctx.effects.now();
    let until = until(request.protection_enabled == Some(true), request.expires_in_minutes, now)?;
    let snapshot = ctx.store.snapshot();
    let cluster = resolve::active_cluster(&snapshot, &caller.scope, request.cluster.as_deref())?;
    let mut tally = Tally::default();
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        match admitted(&snapshot, &cluster, &name, until, &mut tally, now) {
            Ok(task) => tasks.push(task),
            Err(failure) => failures.push(failure),
        }
    }
    if tasks.is_empty() {
        return Ok(aws::UpdateTaskProtectionResponse { protected_tasks: Some(Vec::new()), failures: Some(failures) });
    }
    let committed = ctx.store.commit(Command::ProtectTasks { tasks, until }).await?;
    let Outcome::Tasks(tasks) = &committed.outcome else {
        return Err(ApiError::server("ProtectTasks answered with something else than tasks"));
    };
    let shown = tasks.iter().map(|task| render(task, now)).collect();
    Ok(aws::UpdateTaskProtectionResponse { protected_tasks: Some(shown), failures: Some(failures) })
}

pub(crate) fn get(
    ctx: &Context,
    caller: &Caller,
    request: aws::GetTaskProtectionRequest,
) -> Result<aws::GetTaskProtectionResponse, ApiError> {
    let named = named(request.tasks, MAX_SHOWN)?;
    let now = ctx.effects.now();
    let snapshot = ctx.store.snapshot();
    let cluster = resolve::active_cluster(&snapshot, &caller.scope, request.cluster.as_deref())?;
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        match protectable(&snapshot, &cluster, &name) {
            Ok((task, _)) => tasks.push(render(task, now)),
            Err(failure) => failures.push(failure),
        }
    }
    Ok(aws::GetTaskProtectionResponse { protected_tasks: Some(tasks), failures: Some(failures) })
}

/// What GetTaskProtection says of one task, for the task itself.
pub(crate) fn protection_of(ctx: &Context, snapshot: &Snapshot, task: &Task) -> Answer {
    match protectable(snapshot, &task.arn.cluster, task.arn.id.as_str()) {
        Ok((task, _)) => Answer::Protection { until: task.protected_until.filter(|until| *until > ctx.effects.now()) },
        Err(failure) => told(failure),
    }
}

/// UpdateTaskProtection of one task, asked by the task itself.
pub(crate) async fn protect(
    ctx: &Context,
    snapshot: &Snapshot,
    task: &Task,
    enabled: bool,
    minutes: Option<i64>,
) -> Answer {
    let now = ctx.effects.now();
    // What is no number of the API's is out of its range as well.
    let minutes = minutes.map(|minutes| i32::try_from(minutes).unwrap_or(i32::MAX));
    let refused =
        |error: ApiError| Answer::Refused { status: error.status, code: error.code.to_owned(), message: error.message };
    let until = match until(enabled, minutes, now) {
        Ok(until) => until,
        Err(error) => return refused(error),
    };
    match admitted(snapshot, &task.arn.cluster, task.arn.id.as_str(), until, &mut Tally::default(), now) {
        Ok(task) => match ctx.store.commit(Command::ProtectTasks { tasks: vec![task], until }).await {
            Ok(_) => Answer::Protection { until },
            Err(error) => refused(error.into()),
        },
        Err(failure) => told(failure),
    }
}

fn told(failure: aws::Failure) -> Answer {
    Answer::Failure { reason: failure.reason.unwrap_or_default(), detail: failure.detail }
}

/// The task of that name if it may be protected until then, or the failure that says why not.
fn admitted(
    snapshot: &Snapshot,
    cluster: &ClusterArn,
    name: &str,
    until: Option<Timestamp>,
    tally: &mut Tally,
    now: Timestamp,
) -> Result<TaskArn, aws::Failure> {
    let (task, service) = protectable(snapshot, cluster, name)?;
    if until.is_none() || tally.admits(snapshot, &service, task, now) {
        return Ok(task.arn.clone());
    }
    let reason = if task.is_to_stop() { "TASK_NOT_VALID" } else { "DEPLOYMENT_BLOCKED" };
    Err(failure(task.arn.to_string(), reason))
}

fn named(given: Option<Vec<String>>, max: usize) -> Result<Vec<String>, ApiError> {
    let named = given.unwrap_or_default();
    if named.is_empty() {
        return Err(ApiError::invalid("Tasks cannot be empty."));
    }
    if named.len() > max {
        return Err(ApiError::invalid(format!("Tasks cannot have more than {max} elements.")));
    }
    Ok(named)
}

/// Until when tasks are protected; `None` takes their protection away.
fn until(enabled: bool, minutes: Option<i32>, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
    if !enabled {
        return Ok(None);
    }
    let minutes = minutes.unwrap_or(MINUTES);
    if !(1..=MAX_MINUTES).contains(&minutes) {
        return Err(ApiError::invalid(format!("expiresInMinutes must be between 1 and {MAX_MINUTES}.")));
    }
    Ok(Some(now.plus_millis(i64::from(minutes) * 60_000)))
}

/// The task of that name and its service, or the failure that says why it cannot be protected.
fn protectable<'a>(
    snapshot: &'a Snapshot,
    cluster: &ClusterArn,
    name: &str,
) -> Result<(&'a Arc<Task>, ServiceArn), aws::Failure> {
    let task = resolve::task_arn(cluster, name).and_then(|arn| snapshot.task(&arn));
    let task = task.filter(|task| task.holds_resources()).ok_or_else(|| missing_named(cluster, "task", name))?;
    match ServiceArn::of_group(cluster, &task.group) {
        Some(service) => Ok((task, service)),
        None => Err(failure(task.arn.to_string(), "TASK_NOT_VALID")),
    }
}

fn failure(arn: String, reason: &str) -> aws::Failure {
    aws::Failure { arn: Some(arn), reason: Some(reason.to_owned()), detail: None }
}

fn is_protected(task: &Task, now: Timestamp) -> bool {
    task.protected_until.is_some_and(|until| until > now)
}

/// The protected tasks of each service that a request is about.
#[derive(Default)]
struct Tally(BTreeMap<ServiceArn, usize>);

impl Tally {
    /// Whether one more may be protected. AWS: more protected tasks than desired ones would block a deployment; one that
    /// is protected already may always stay so for longer.
    fn admits(&mut self, snapshot: &Snapshot, service: &ServiceArn, task: &Task, now: Timestamp) -> bool {
        let Some(row) = snapshot.service(service) else { return false };
        if task.is_to_stop() {
            return false;
        }
        if is_protected(task, now) {
            return true;
        }
        let already = || row.tasks().filter(|task| is_protected(task, now)).count();
        let protected = self.0.entry(service.clone()).or_insert_with(already);
        let desired = usize::try_from(row.service.desired_count).unwrap_or(usize::MAX);
        let room = *protected < desired;
        *protected += usize::from(room);
        room
    }
}

fn render(task: &Task, now: Timestamp) -> aws::ProtectedTask {
    let until = task.protected_until.filter(|until| *until > now);
    aws::ProtectedTask {
        task_arn: Some(task.arn.to_string()),
        protection_enabled: Some(until.is_some()),
        expiration_date: until.map(time),
    }
}

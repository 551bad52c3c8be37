//! Task sets: what an external controller makes a service of. Operations here write down what it asks for; the loop of
//! services starts and stops the tasks.

mod create;
pub(super) mod render;

pub(crate) use create::create;

use super::{TRIES, change, commit_row, find, too_busy};
use crate::{
    api::{ApiError, ecs::missing},
    context::{Caller, Context},
};
use model::{DeploymentId, External, Scale, Service, ServiceStatus, TaskSet, TaskSetArn, TaskSetStatus, Timestamp};
use scheduler::service::task_sets::{self, Changed};
use shapes::ecs as aws;
use state::{Basis, ServiceRow};
use std::sync::Arc;

pub(crate) async fn update(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateTaskSetRequest,
) -> Result<aws::UpdateTaskSetResponse, ApiError> {
    let asked = scale(request.scale.as_ref())?.ok_or_else(|| ApiError::invalid("Scale can not be blank."))?;
    let whose = Whose { cluster: request.cluster, service: request.service, set: request.task_set };
    let changed = whose
        .change(ctx, caller, |service, set, now| {
            not_draining(set)?;
            Ok(task_sets::scale(service, set.id, asked, now))
        })
        .await?;
    Ok(aws::UpdateTaskSetResponse { task_set: Some(changed) })
}

pub(crate) async fn lead(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateServicePrimaryTaskSetRequest,
) -> Result<aws::UpdateServicePrimaryTaskSetResponse, ApiError> {
    let whose = Whose { cluster: request.cluster, service: request.service, set: request.primary_task_set };
    let changed = whose
        .change(ctx, caller, |service, set, now| {
            not_draining(set)?;
            Ok(task_sets::lead(service, set.id, now))
        })
        .await?;
    Ok(aws::UpdateServicePrimaryTaskSetResponse { task_set: Some(changed) })
}

pub(crate) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteTaskSetRequest,
) -> Result<aws::DeleteTaskSetResponse, ApiError> {
    let force = request.force == Some(true);
    let whose = Whose { cluster: request.cluster, service: request.service, set: request.task_set };
    let changed = whose
        .change(ctx, caller, |service, set, now| {
            if !force && set.computed_desired_count(service.desired_count) > 0 {
                return Err(ApiError::invalid("The task set cannot be deleted while it is scaled above 0. Use force."));
            }
            Ok(task_sets::remove(service, set.id, now))
        })
        .await?;
    Ok(aws::DeleteTaskSetResponse { task_set: Some(changed) })
}

pub(crate) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeTaskSetsRequest,
) -> Result<aws::DescribeTaskSetsResponse, ApiError> {
    let snapshot = ctx.store.snapshot();
    let row = find(&snapshot, caller, request.cluster.as_deref(), request.service.as_deref())?;
    active(row)?;
    let external = external(&row.service)?;
    let with_tags = request.include.unwrap_or_default().iter().any(|what| what == "TAGS");
    let named = request.task_sets.unwrap_or_default();
    if named.is_empty() {
        let all = render::all(row, external, with_tags);
        return Ok(aws::DescribeTaskSetsResponse { task_sets: Some(all), failures: Some(Vec::new()) });
    }
    let (mut sets, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        match id(&row.service, &name).and_then(|id| external.set(id)) {
            Some(set) => sets.push(render::task_set(row, set, with_tags)),
            None => failures.push(missing(name)),
        }
    }
    Ok(aws::DescribeTaskSetsResponse { task_sets: Some(sets), failures: Some(failures) })
}

/// Which set a request means.
struct Whose {
    cluster: Option<String>,
    service: Option<String>,
    set: Option<String>,
}

impl Whose {
    /// Changes the set and shows what came of it.
    async fn change(
        &self,
        ctx: &Context,
        caller: &Caller,
        decide: impl Fn(&Service, &TaskSet, Timestamp) -> Result<Changed, ApiError>,
    ) -> Result<aws::TaskSet, ApiError> {
        for _ in 0..TRIES {
            let snapshot = ctx.store.snapshot();
            let row = find(&snapshot, caller, self.cluster.as_deref(), self.service.as_deref())?;
            active(row)?;
            let set = self.find(row)?;
            let now = ctx.effects.now();
            let changed = decide(&row.service, set, now)?;
            if changed.service == *row.service {
                return Ok(render::task_set(row, set, true));
            }
            let change = change::changed(ctx, Basis::Version(row.service.version), changed, now);
            if let Some(row) = commit_row(ctx, change).await? {
                return Ok(render::task_set(&row, self.find(&row)?, true));
            }
        }
        Err(too_busy())
    }

    fn find<'a>(&self, row: &'a ServiceRow) -> Result<&'a TaskSet, ApiError> {
        let external = external(&row.service)?;
        let found = id(&row.service, self.set.as_deref().unwrap_or_default()).and_then(|id| external.set(id));
        found.ok_or_else(|| ApiError::new("TaskSetNotFoundException", "The specified task set does not exist."))
    }
}

/// What an external controller has to do with the service.
fn external(service: &Service) -> Result<&External, ApiError> {
    service.external.as_ref().ok_or_else(|| {
        ApiError::invalid(
            "Amazon ECS only supports task set management on services configured to use external deployment controllers.",
        )
    })
}

fn active(row: &Arc<ServiceRow>) -> Result<(), ApiError> {
    match row.service.status {
        ServiceStatus::Active => Ok(()),
        ServiceStatus::Draining | ServiceStatus::Inactive => {
            Err(ApiError::new("ServiceNotActiveException", "Service was not ACTIVE."))
        }
    }
}

fn not_draining(set: &TaskSet) -> Result<(), ApiError> {
    match set.status {
        TaskSetStatus::Primary | TaskSetStatus::Active => Ok(()),
        TaskSetStatus::Draining => Err(ApiError::invalid("The task set is DRAINING.")),
    }
}

/// The set meant by an id or an ARN; `None` if it cannot be one of that service.
fn id(service: &Service, given: &str) -> Option<DeploymentId> {
    if given.starts_with("arn:") {
        return given.parse().ok().filter(|arn: &TaskSetArn| arn.service == service.arn).map(|arn| arn.id);
    }
    given.parse().ok()
}

/// A share as a request gives it. AWS: PERCENT is the only unit.
fn scale(given: Option<&aws::Scale>) -> Result<Option<Scale>, ApiError> {
    let Some(given) = given else { return Ok(None) };
    let value = given.value.unwrap_or_default();
    let scale = Scale::of_percent(value);
    scale.map(Some).ok_or_else(|| ApiError::invalid("The value of scale must be between 0 and 100."))
}

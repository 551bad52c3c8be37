//! DeleteService: the service drains; its loop stops the tasks and closes it.

use super::{TRIES, change, commit, find, render, too_busy};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::{SchedulingStrategy, ServiceStatus, TaskSetStatus};
use scheduler::service::deploy;
use shapes::ecs as aws;
use state::Basis;

pub(crate) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteServiceRequest,
) -> Result<aws::DeleteServiceResponse, ApiError> {
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        let row = find(&snapshot, caller, request.cluster.as_deref(), request.service.as_deref())?;
        let service = &row.service;
        match service.status {
            ServiceStatus::Active => {}
            // It is on its way already.
            ServiceStatus::Draining => {
                return Ok(aws::DeleteServiceResponse { service: Some(render::service(row, true)) });
            }
            ServiceStatus::Inactive => return Err(ApiError::service_not_found()),
        }
        let force = request.force == Some(true) || service.scheduling == SchedulingStrategy::Daemon;
        if service.desired_count > 0 && !force {
            return Err(ApiError::invalid("The service cannot be stopped while it is scaled above 0."));
        }
        let mut sets = service.external.iter().flat_map(|external| &external.sets);
        if !force && sets.any(|set| set.status != TaskSetStatus::Draining) {
            let text = "The service cannot be deleted while it has task sets. Delete them first, or use force.";
            return Err(ApiError::invalid(text));
        }
        let now = ctx.effects.now();
        let on = Basis::Version(service.version);
        let change = change::record(ctx, on, deploy::delete(service, now), Vec::new(), now);
        if let Some(service) = commit(ctx, change).await? {
            return Ok(aws::DeleteServiceResponse { service: Some(service) });
        }
    }
    Err(too_busy())
}

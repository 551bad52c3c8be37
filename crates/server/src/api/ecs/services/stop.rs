//! StopServiceDeployment: back to the last completed revision, or no further.

use super::{TRIES, change, commit, deployments, too_busy};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::{ServiceDeploymentArn, ServiceDeploymentStatus, Task};
use scheduler::service::deploy::{abort, roll_back};
use shapes::ecs as aws;
use state::Basis;

pub(crate) async fn stop(
    ctx: &Context,
    caller: &Caller,
    request: aws::StopServiceDeploymentRequest,
) -> Result<aws::StopServiceDeploymentResponse, ApiError> {
    let arn = deployments::arn(request.service_deployment_arn.as_deref().unwrap_or_default())?;
    // AWS: back is where it goes when nothing is said.
    let back = request.stop_type.as_deref() != Some("ABORT");
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        let row = snapshot.service(&arn.service).filter(|_| arn.service.cluster.scope == caller.scope);
        let found = row.and_then(|row| row.deployment(&arn.id).map(|story| (row, story)));
        let Some((row, story)) = found else {
            return Err(ApiError::new("ServiceDeploymentNotFoundException", "Service deployment not found."));
        };
        let service = &*row.service;
        if story.status.is_over() || service.primary().is_none_or(|primary| primary.service_deployment != arn.id) {
            return Err(conflict(&arn, "The service deployment has come to its end already."));
        }
        if back && story.status == ServiceDeploymentStatus::RollbackInProgress {
            return Ok(answer(&arn));
        }
        let now = ctx.effects.now();
        let turned = if back {
            roll_back(service, story, now).ok_or_else(|| {
                let text = "There is no completed service revision to roll back to. Use the stop type ABORT.";
                conflict(&arn, text)
            })?
        } else {
            let tasks: Vec<&Task> = row.tasks().map(|task| &**task).collect();
            abort(service, story, &tasks, now)
                .ok_or_else(|| conflict(&arn, "The service deployment has come to its end already."))?
        };
        let change = change::turned(ctx, Basis::Version(service.version), turned, now);
        if commit(ctx, change).await?.is_some() {
            return Ok(answer(&arn));
        }
    }
    Err(too_busy())
}

fn answer(arn: &ServiceDeploymentArn) -> aws::StopServiceDeploymentResponse {
    aws::StopServiceDeploymentResponse { service_deployment_arn: Some(arn.to_string()) }
}

fn conflict(arn: &ServiceDeploymentArn, text: &str) -> ApiError {
    ApiError::new("ConflictException", text).with("resourceIds", vec![arn.to_string()])
}

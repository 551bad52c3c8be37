//! ContinueServiceDeployment: somebody decides at a PAUSE hook.

use super::{TRIES, change, commit, strategy, too_busy};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::{HookAction, HookStatus, Service};
use shapes::ecs as aws;
use state::Basis;

pub(crate) async fn proceed(
    ctx: &Context,
    caller: &Caller,
    request: aws::ContinueServiceDeploymentRequest,
) -> Result<aws::ContinueServiceDeploymentResponse, ApiError> {
    let arn = super::deployments::arn(request.service_deployment_arn.as_deref().unwrap_or_default())?;
    let hook = request.hook_id.unwrap_or_default();
    let status = match strategy::action(request.action.as_deref()).unwrap_or(HookAction::Continue) {
        HookAction::Continue => HookStatus::Succeeded,
        HookAction::RollBack => HookStatus::Failed,
    };
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        let row = snapshot.service(&arn.service).filter(|_| arn.service.cluster.scope == caller.scope);
        let found = row.and_then(|row| row.deployment(&arn.id).map(|story| (row, story)));
        let Some((row, story)) = found else {
            return Err(ApiError::new("ServiceDeploymentNotFoundException", "Service deployment not found."));
        };
        let mut story = (**story).clone();
        let runs = story.lifecycle.iter_mut().flat_map(|lifecycle| &mut lifecycle.hooks);
        let Some(run) = runs.into_iter().find(|run| *run.id == *hook) else {
            return Err(ApiError::invalid(format!("The service deployment has no lifecycle hook {hook}.")));
        };
        if run.status != HookStatus::AwaitingAction {
            let status = run.status.as_str();
            return Err(ApiError::invalid(format!("The lifecycle hook {hook} awaits no action: it is {status}.")));
        }
        let now = ctx.effects.now();
        run.status = status;
        story.updated_at = now;
        let service = Service::clone(&row.service);
        let mut change = change::record(ctx, Basis::Version(service.version), service, Vec::new(), now);
        change.deployments.push(story);
        if commit(ctx, change).await?.is_some() {
            let arn = Some(arn.to_string());
            return Ok(aws::ContinueServiceDeploymentResponse { service_deployment_arn: arn });
        }
    }
    Err(too_busy())
}

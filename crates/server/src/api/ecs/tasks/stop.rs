//! StopTask: asks, and answers at once; the agent stops it in its own time.

use crate::{
    api::{ApiError, ecs::resolve},
    context::{Caller, Context},
};
use model::{Stop, StopCode, lifecycle::trim_reason};
use shapes::ecs as wire;
use state::{Command, CommitError, Outcome, Rejected};

const NOT_FOUND: &str = "The referenced task was not found.";

pub(crate) async fn stop(
    ctx: &Context,
    caller: &Caller,
    request: wire::StopTaskRequest,
) -> Result<wire::StopTaskResponse, ApiError> {
    let snapshot = ctx.store.snapshot();
    let cluster = resolve::active_cluster(&snapshot, &caller.scope, request.cluster.as_deref())?;
    let name = request.task.unwrap_or_default();
    if name.is_empty() {
        return Err(ApiError::invalid("taskId can not be blank."));
    }
    let arn = resolve::task_arn(&cluster, &name).ok_or_else(|| ApiError::invalid(NOT_FOUND))?;
    let given = request.reason.filter(|r| !r.is_empty());
    // AWS: the caller's words stand as they are; the default is the console's.
    let reason = trim_reason(given.as_deref().unwrap_or("Task stopped by user"));
    let why = Stop { code: StopCode::UserInitiated, reason };
    match ctx.store.commit(Command::StopTask { arn, why, at: ctx.effects.now() }).await {
        Ok(committed) => {
            let Outcome::Task(task) = &committed.outcome else {
                return Err(ApiError::server("StopTask answered with something else than the task"));
            };
            let task = super::render::task(&committed.snapshot, task, true);
            Ok(wire::StopTaskResponse { task: Some(task) })
        }
        Err(CommitError::Rejected(Rejected::TaskNotFound(_))) => Err(ApiError::invalid(NOT_FOUND)),
        Err(error) => Err(error.into()),
    }
}

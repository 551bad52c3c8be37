//! ExecuteCommand: promises a terminal in a container to whoever comes for it with the token.

use super::resolve;
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
    terminals::{PATH, Wanted},
};
use model::{Container, ContainerStatus, Task};
use shapes::ecs as aws;
use state::Snapshot;
use std::sync::Arc;

/// What it honours.
pub(crate) const HONOURED: &[Row] =
    &[row("ExecuteCommand", &["cluster", "command", "container", "interactive", "task"])];

/// AWS's, for a task that was started without and for one whose agent is not there yet.
const NOT_ENABLED: &str = "The execute command failed because execute command was not enabled when the task was run or the execute \
    command agent isn’t running. Wait and try again or run a new task with execute command enabled and try again.";
const NOT_CONNECTED: &str = "The execute command failed due to an internal error. Try again later.";

pub(crate) fn execute(
    ctx: &Context,
    caller: &Caller,
    request: aws::ExecuteCommandRequest,
) -> Result<aws::ExecuteCommandResponse, ApiError> {
    let snapshot = ctx.store.snapshot();
    if request.interactive != Some(true) {
        return Err(ApiError::invalid("Interactive is the only mode supported currently."));
    }
    let line = request.command.unwrap_or_default();
    let command = model::words::split(&line).filter(|words| words.first().is_some_and(|first| !first.is_empty()));
    let command = command.ok_or_else(|| ApiError::invalid("The command is blank, or a quote in it stays open."))?;
    let task = task(&snapshot, caller, request.cluster.as_deref(), &request.task.unwrap_or_default())?;
    let container = container(task, request.container.as_deref())?;
    if !task.execute_command || task.is_to_stop() || container.status != ContainerStatus::Running {
        return Err(ApiError::invalid(NOT_ENABLED));
    }
    let instance = task.instance_arn().filter(|instance| ctx.terminals.can_reach(instance));
    let instance = instance.ok_or_else(|| ApiError::new("TargetNotConnectedException", NOT_CONNECTED))?;
    let wanted = Wanted {
        instance,
        task: task.arn.clone(),
        container: container.name.clone(),
        command,
        line,
        principal: caller.principal.clone(),
        access_key: caller.access_key.clone(),
    };
    let promise = ctx.terminals.promise(wanted).ok_or_else(|| {
        let text = "Rate exceeded: too many sessions are asked for that nobody has come for.";
        ApiError::new("ThrottlingException", text)
    })?;
    let scheme = if ctx.config.tls.is_some() { "wss" } else { "ws" };
    let url = format!("{scheme}://{}{PATH}{}?role=publish_subscribe", caller.host, promise.session);
    Ok(aws::ExecuteCommandResponse {
        cluster_arn: Some(task.arn.cluster.to_string()),
        container_arn: Some(container.arn.to_string()),
        container_name: Some(container.name.to_string()),
        interactive: Some(true),
        session: Some(aws::Session {
            session_id: Some(promise.session),
            stream_url: Some(url),
            token_value: Some(promise.token),
        }),
        task_arn: Some(task.arn.to_string()),
    })
}

fn task<'a>(
    snapshot: &'a Snapshot,
    caller: &Caller,
    cluster: Option<&str>,
    name: &str,
) -> Result<&'a Arc<Task>, ApiError> {
    let cluster = resolve::active_cluster(snapshot, &caller.scope, cluster)?;
    if name.is_empty() {
        return Err(ApiError::invalid("taskId can not be blank."));
    }
    let arn = resolve::task_arn(&cluster, name);
    let found = arn.and_then(|arn| snapshot.task(&arn));
    found.ok_or_else(|| ApiError::invalid("The referenced task was not found."))
}

/// The one meant; a task with one container needs no name.
fn container<'a>(task: &'a Task, name: Option<&str>) -> Result<&'a Container, ApiError> {
    match (name.filter(|name| !name.is_empty()), task.containers.as_slice()) {
        (Some(name), all) => all.iter().find(|container| &*container.name == name).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|container| &*container.name).collect();
            ApiError::invalid(format!("The task has no container named {name}; it has {}.", names.join(", ")))
        }),
        (None, [only]) => Ok(only),
        (None, all) => {
            let names: Vec<_> = all.iter().map(|container| &*container.name).collect();
            Err(ApiError::invalid(format!("Name the container: the task has {}.", names.join(", "))))
        }
    }
}

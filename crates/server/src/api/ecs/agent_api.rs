//! What the original's agent says over the API: where to poll, and what it saw. Our own agents use the link instead; both
//! end in the same [`Command::Observe`].

use super::resolve;
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::{
    ContainerObservation, ContainerStatus, NetworkBinding, ObservedStatus, Protocol, Stop, StopCode, Task,
    TaskObservation, Timestamp, lifecycle::trim_reason,
};
use shapes::ecs as aws;
use state::{Command, Snapshot};
use std::sync::Arc;

pub(crate) const HONOURED: &[Row] = &[
    row("DiscoverPollEndpoint", &["cluster", "containerInstance"]),
    row(
        "SubmitTaskStateChange",
        &[
            "attachments.*",
            "cluster",
            "containers.*",
            "executionStoppedAt",
            "managedAgents.*",
            "pullStartedAt",
            "pullStoppedAt",
            "reason",
            "status",
            "task",
        ],
    ),
    row(
        "SubmitContainerStateChange",
        &["cluster", "containerName", "exitCode", "networkBindings.*", "reason", "runtimeId", "status", "task"],
    ),
    row("SubmitAttachmentStateChanges", &["attachments.*", "cluster"]),
];

const ACKNOWLEDGED: &str = "ACK";

/// AWS: `endpoint` is where the agent opens its session, `telemetryEndpoint` where it sends metrics. Both are ours.
pub(crate) fn discover(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DiscoverPollEndpointRequest,
) -> Result<aws::DiscoverPollEndpointResponse, ApiError> {
    resolve::active_cluster(&ctx.store.snapshot(), &caller.scope, request.cluster.as_deref())?;
    let address = ctx.addresses.get().and_then(|all| all.first()).copied();
    let mut address = address.ok_or_else(|| ApiError::server("The endpoint is not up yet."))?;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let scheme = if ctx.config.tls.is_some() { "https" } else { "http" };
    let endpoint = |room: &str| Some(format!("{scheme}://{address}/{room}"));
    Ok(aws::DiscoverPollEndpointResponse {
        endpoint: endpoint("acs"),
        telemetry_endpoint: endpoint("tcs"),
        service_connect_endpoint: None,
    })
}

pub(crate) async fn submit_task(
    ctx: &Context,
    caller: &Caller,
    request: aws::SubmitTaskStateChangeRequest,
) -> Result<aws::SubmitTaskStateChangeResponse, ApiError> {
    let snapshot = ctx.store.snapshot();
    let task = find(&snapshot, caller, request.cluster.as_deref(), request.task.as_deref())?;
    let containers = containers(request.containers.unwrap_or_default())?;
    let stop = || stop(task, &containers, request.reason.as_deref().unwrap_or_default());
    let time = |at: Option<::wire::Timestamp>| at.map(|at| Timestamp(at.as_millis()));
    let seen = TaskObservation {
        task: task.arn.clone(),
        status: match request.status.as_deref() {
            Some("RUNNING") => ObservedStatus::Running,
            Some("STOPPED") => ObservedStatus::Stopped(stop()),
            // AWS: the agent knows finer states, which are all PENDING to the service.
            None | Some(_) => ObservedStatus::Pending,
        },
        containers,
        pull_started: time(request.pull_started_at),
        pull_stopped: time(request.pull_stopped_at),
        execution_stopped: time(request.execution_stopped_at),
        attachment: None,
    };
    observe(ctx, task, seen).await?;
    Ok(aws::SubmitTaskStateChangeResponse { acknowledgment: Some(ACKNOWLEDGED.to_owned()) })
}

pub(crate) async fn submit_container(
    ctx: &Context,
    caller: &Caller,
    request: aws::SubmitContainerStateChangeRequest,
) -> Result<aws::SubmitContainerStateChangeResponse, ApiError> {
    let snapshot = ctx.store.snapshot();
    let task = find(&snapshot, caller, request.cluster.as_deref(), request.task.as_deref())?;
    let change = aws::ContainerStateChange {
        container_name: request.container_name,
        exit_code: request.exit_code,
        image_digest: None,
        network_bindings: request.network_bindings,
        reason: request.reason,
        runtime_id: request.runtime_id,
        status: request.status,
    };
    let seen = TaskObservation {
        task: task.arn.clone(),
        // A container's change says nothing of the task: the lowest status moves nothing.
        status: ObservedStatus::Pending,
        containers: containers(vec![change])?,
        pull_started: None,
        pull_stopped: None,
        execution_stopped: None,
        attachment: None,
    };
    observe(ctx, task, seen).await?;
    Ok(aws::SubmitContainerStateChangeResponse { acknowledgment: Some(ACKNOWLEDGED.to_owned()) })
}

/// There are no attachments yet whose state could change, so there is nothing to keep; the agent needs the answer.
pub(crate) fn submit_attachments(
    ctx: &Context,
    caller: &Caller,
    request: &aws::SubmitAttachmentStateChangesRequest,
) -> Result<aws::SubmitAttachmentStateChangesResponse, ApiError> {
    resolve::active_cluster(&ctx.store.snapshot(), &caller.scope, request.cluster.as_deref())?;
    Ok(aws::SubmitAttachmentStateChangesResponse { acknowledgment: Some(ACKNOWLEDGED.to_owned()) })
}

fn find<'a>(
    snapshot: &'a Snapshot,
    caller: &Caller,
    cluster: Option<&str>,
    named: Option<&str>,
) -> Result<&'a Arc<Task>, ApiError> {
    let cluster = resolve::active_cluster(snapshot, &caller.scope, cluster)?;
    let task = resolve::task_arn(&cluster, named.unwrap_or_default()).and_then(|arn| snapshot.task(&arn));
    task.ok_or_else(|| ApiError::invalid("The referenced task was not found."))
}

async fn observe(ctx: &Context, task: &Task, seen: TaskObservation) -> Result<(), ApiError> {
    let instance = task.instance_arn();
    let instance = instance.ok_or_else(|| ApiError::invalid("The referenced task is on no container instance."))?;
    ctx.store.commit(Command::Observe { instance, seen: vec![seen], at: ctx.effects.now() }).await?;
    Ok(())
}

/// AWS: the agent tells what happened and the service says why: the first cause if there is one, else what the
/// containers tell.
fn stop(task: &Task, containers: &[ContainerObservation], reason: &str) -> Stop {
    if let Some(known) = task.stop() {
        return known.clone();
    }
    let ever_ran = task.times.started.is_some() || containers.iter().any(|c| c.exit_code.is_some());
    let (code, default) = if ever_ran {
        (StopCode::EssentialContainerExited, "Essential container in task exited")
    } else {
        (StopCode::TaskFailedToStart, "Task failed to start")
    };
    Stop { code, reason: trim_reason(if reason.is_empty() { default } else { reason }) }
}

/// One observation per container. AWS: an agent sends all changes since its last call, so that one container may come
/// twice; the later one wins member by member.
fn containers(changes: Vec<aws::ContainerStateChange>) -> Result<Vec<ContainerObservation>, ApiError> {
    let mut seen: Vec<ContainerObservation> = Vec::new();
    for change in changes {
        let next = container(change)?;
        match seen.iter_mut().find(|known| known.name == next.name) {
            None => seen.push(next),
            Some(known) => {
                known.status = known.status.max(next.status);
                known.runtime_id = next.runtime_id.or(known.runtime_id.take());
                known.image_digest = next.image_digest.or(known.image_digest.take());
                known.exit_code = next.exit_code.or(known.exit_code);
                known.reason = next.reason.or(known.reason.take());
                if !next.network_bindings.is_empty() {
                    known.network_bindings = next.network_bindings;
                }
            }
        }
    }
    Ok(seen)
}

fn container(change: aws::ContainerStateChange) -> Result<ContainerObservation, ApiError> {
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    let status = match change.status.as_deref() {
        Some("RUNNING") => ContainerStatus::Running,
        Some("STOPPED") => ContainerStatus::Stopped,
        None | Some(_) => ContainerStatus::Pending,
    };
    let bindings = change.network_bindings.unwrap_or_default().into_iter().map(binding);
    Ok(ContainerObservation {
        name: change.container_name.unwrap_or_default().into(),
        status,
        runtime_id: set(change.runtime_id).map(Arc::from),
        image_digest: set(change.image_digest).map(Arc::from),
        exit_code: change.exit_code,
        reason: set(change.reason).map(|reason| trim_reason(&reason)),
        network_bindings: bindings.collect::<Result<_, _>>()?,
        // The original agent tells it to the telemetry endpoint.
        health: None,
    })
}

fn binding(given: aws::NetworkBinding) -> Result<NetworkBinding, ApiError> {
    let first = |range: &Option<String>| range.as_deref().and_then(|r| r.split('-').next()?.parse::<i32>().ok());
    let port = |port: Option<i32>, range: &Option<String>| {
        let port = port.or_else(|| first(range)).unwrap_or_default();
        u16::try_from(port).map_err(|_| ApiError::invalid(format!("Invalid port {port}.")))
    };
    Ok(NetworkBinding {
        bind_ip: given.bind_ip.unwrap_or_default().into(),
        container_port: port(given.container_port, &given.container_port_range)?,
        host_port: port(given.host_port, &given.host_port_range)?,
        protocol: if given.protocol.as_deref() == Some("udp") { Protocol::Udp } else { Protocol::Tcp },
        container_port_range: given.container_port_range.map(Arc::from),
        host_port_range: given.host_port_range.map(Arc::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_comes_twice_is_one_observation() {
        let change = |status: &str, exit_code, bindings: &[i32]| aws::ContainerStateChange {
            container_name: Some("web".to_owned()),
            status: Some(status.to_owned()),
            exit_code,
            network_bindings: Some(
                bindings
                    .iter()
                    .map(|port| aws::NetworkBinding {
                        bind_ip: Some("0.0.0.0".to_owned()),
                        container_port: Some(80),
                        host_port: Some(*port),
                        protocol: Some("tcp".to_owned()),
                        ..aws::NetworkBinding::default()
                    })
                    .collect(),
            ),
            ..aws::ContainerStateChange::default()
        };
        let seen = containers(vec![change("RUNNING", None, &[32768]), change("STOPPED", Some(3), &[])]).unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].status, seen[0].exit_code), (ContainerStatus::Stopped, Some(3)));
        assert_eq!(seen[0].network_bindings[0].host_port, 32768);
        assert!(containers(vec![change("RUNNING", None, &[70_000])]).is_err());
    }
}

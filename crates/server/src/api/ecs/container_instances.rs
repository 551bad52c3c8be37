//! Container instances: describe, list, drain, deregister. Registration over the API is its neighbour's, `registration`.

use super::{gpus, missing, missing_named, resolve, tags, tasks};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
        paging::{Pages, invalid_token, limit},
    },
    context::{Caller, Context},
};
use model::{ContainerInstance, ContainerInstanceArn, ContainerInstanceId, InstanceStatus, Resources};
use scheduler::Expression;
use shapes::ecs as aws;
use state::{Command, CommitError, Committed, InstanceRow, Outcome, Rejected, Snapshot};

pub(crate) const HONOURED: &[Row] = &[
    row("DeregisterContainerInstance", &["cluster", "containerInstance", "force"]),
    row("DescribeContainerInstances", &["cluster", "containerInstances", "include"]),
    row("ListContainerInstances", &["cluster", "filter", "maxResults", "nextToken", "status"]),
    row("UpdateContainerInstancesState", &["cluster", "containerInstances", "status"]),
    row("UpdateContainerAgent", &["cluster", "containerInstance"]),
];

/// Instances of one DescribeContainerInstances. Source: the model's documentation.
const MAX_DESCRIBED: usize = 100;
/// Instances of one page of ListContainerInstances.
const MAX_LISTED: usize = 100;
/// Instances of one UpdateContainerInstancesState.
const MAX_UPDATED: usize = 10;

pub(crate) async fn deregister(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeregisterContainerInstanceRequest,
) -> Result<aws::DeregisterContainerInstanceResponse, ApiError> {
    let snapshot = ctx.store.snapshot();
    let arn = one(&snapshot, caller, request.cluster.as_deref(), request.container_instance)?;
    let command =
        Command::DeregisterContainerInstance { arn, force: request.force == Some(true), at: ctx.effects.now() };
    let container_instance = Some(answer(&ctx.store.commit(command).await?)?);
    Ok(aws::DeregisterContainerInstanceResponse { container_instance })
}

/// The instance that a request names, which must be there.
fn one(
    snapshot: &Snapshot,
    caller: &Caller,
    cluster: Option<&str>,
    named: Option<String>,
) -> Result<ContainerInstanceArn, ApiError> {
    let cluster = resolve::shown_cluster(snapshot, caller, cluster)?;
    let name = named.unwrap_or_default();
    if name.is_empty() {
        return Err(ApiError::invalid("Container instance can not be blank."));
    }
    let known = resolve::container_instance_arn(&cluster, &name).filter(|arn| snapshot.instance(arn).is_some());
    known.ok_or_else(|| ApiError::invalid(format!("Referenced container instance {name} not found.")))
}

/// The instance that a commit answered with, rendered as it is now.
pub(super) fn answer(committed: &Committed) -> Result<aws::ContainerInstance, ApiError> {
    let Outcome::ContainerInstance(instance) = &committed.outcome else {
        return Err(ApiError::server("the state answered with something else than the container instance"));
    };
    let row = committed.snapshot.instance(&instance.arn);
    row.map(|row| rendered(&committed.snapshot, row)).ok_or_else(|| ApiError::server("a lost instance"))
}

pub(crate) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeContainerInstancesRequest,
) -> Result<aws::DescribeContainerInstancesResponse, ApiError> {
    let named = request.container_instances.unwrap_or_default();
    if named.is_empty() {
        return Err(ApiError::invalid("Container instances cannot be empty."));
    }
    if named.len() > MAX_DESCRIBED {
        return Err(ApiError::invalid("Container instances cannot have more than 100 elements."));
    }
    let snapshot = ctx.store.snapshot();
    let cluster = resolve::shown_cluster(&snapshot, caller, request.cluster.as_deref())?;
    let include = request.include.unwrap_or_default();
    let shown = Shown {
        tags: include.iter().any(|what| what == "TAGS"),
        health: include.iter().any(|what| what == "CONTAINER_INSTANCE_HEALTH"),
    };
    let (mut instances, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        match resolve::container_instance_arn(&cluster, &name).and_then(|arn| snapshot.instance(&arn)) {
            Some(row) => instances.push(render(&snapshot, row, shown)),
            None => failures.push(missing_named(&cluster, "container-instance", &name)),
        }
    }
    Ok(aws::DescribeContainerInstancesResponse { container_instances: Some(instances), failures: Some(failures) })
}

pub(crate) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListContainerInstancesRequest,
) -> Result<aws::ListContainerInstancesResponse, ApiError> {
    let limit = limit(request.max_results, MAX_LISTED)?;
    let set = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let filter = set(&request.filter).map(|text| Expression::parse(&text)).transpose();
    let filter = filter.map_err(|error| ApiError::invalid(format!("Invalid filter: {error}.")))?;
    // AWS: without a status, every instance that is not INACTIVE.
    let status = match set(&request.status).as_deref() {
        None => None,
        Some("ACTIVE") => Some(InstanceStatus::Active),
        Some("DRAINING") => Some(InstanceStatus::Draining),
        // AWS: these belong to ENI trunking, which no instance here takes part in.
        Some("REGISTERING" | "DEREGISTERING" | "REGISTRATION_FAILED") => {
            return Ok(aws::ListContainerInstancesResponse { container_instance_arns: Some(vec![]), next_token: None });
        }
        Some(other) => return Err(ApiError::invalid(format!("Invalid container instance status {other}."))),
    };
    let snapshot = ctx.store.snapshot();
    let cluster = resolve::shown_cluster(&snapshot, caller, request.cluster.as_deref())?;
    let pages = Pages::of("ListContainerInstances", &caller.scope).within(&cluster);
    let after = pages.cursor(request.next_token.as_deref())?;
    let after = after.map(ContainerInstanceId::parse).transpose().map_err(|_| invalid_token())?;
    let rows = snapshot.instances(&cluster, after.as_ref()).filter(|row| {
        row.is_registered()
            && status.is_none_or(|status| row.instance.status == status)
            && filter.as_ref().is_none_or(|filter| filter.matches(&tasks::view(row)))
    });
    let (page, next_token) = pages.cut(rows, limit, |row| row.instance.arn.id.to_string());
    let arns = page.iter().map(|row| row.instance.arn.to_string()).collect();
    Ok(aws::ListContainerInstancesResponse { container_instance_arns: Some(arns), next_token })
}

pub(crate) async fn update_state(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateContainerInstancesStateRequest,
) -> Result<aws::UpdateContainerInstancesStateResponse, ApiError> {
    let status = match request.status.as_deref() {
        Some("ACTIVE") => InstanceStatus::Active,
        Some("DRAINING") => InstanceStatus::Draining,
        None | Some(_) => return Err(Rejected::InstanceStatusNotSettable.into()),
    };
    let named = request.container_instances.unwrap_or_default();
    if named.is_empty() {
        return Err(ApiError::invalid("Container instances cannot be empty."));
    }
    if named.len() > MAX_UPDATED {
        return Err(ApiError::invalid("A maximum of 10 container instances can be specified."));
    }
    let snapshot = ctx.store.snapshot();
    let cluster = resolve::shown_cluster(&snapshot, caller, request.cluster.as_deref())?;
    let (mut instances, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        let Some(arn) = resolve::container_instance_arn(&cluster, &name) else {
            failures.push(missing_named(&cluster, "container-instance", &name));
            continue;
        };
        match ctx.store.commit(Command::SetInstanceStatus { arn: arn.clone(), status }).await {
            Ok(committed) => instances.push(answer(&committed)?),
            Err(CommitError::Rejected(Rejected::InstanceNotFound(_))) => failures.push(missing(arn.to_string())),
            Err(CommitError::Rejected(Rejected::InstanceInactive(_))) => failures.push(aws::Failure {
                arn: Some(arn.to_string()),
                reason: Some("INACTIVE".to_owned()),
                detail: None,
            }),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(aws::UpdateContainerInstancesStateResponse { container_instances: Some(instances), failures: Some(failures) })
}

/// AWS updates agents only on its own AMIs and refuses elsewhere; ours come with the server's binary, so there never is an
/// update to be had this way.
pub(crate) fn update_agent(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateContainerAgentRequest,
) -> Result<aws::UpdateContainerAgentResponse, ApiError> {
    one(&ctx.store.snapshot(), caller, request.cluster.as_deref(), request.container_instance)?;
    Err(ApiError::new("NoUpdateAvailableException", "There is no update available for your container agent."))
}

/// What a description shows when asked for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) tags: bool,
    pub(super) health: bool,
}

/// An instance with all that a description can show of it.
pub(crate) fn rendered(snapshot: &Snapshot, row: &InstanceRow) -> aws::ContainerInstance {
    render(snapshot, row, Shown { tags: true, health: false })
}

pub(super) fn render(snapshot: &Snapshot, row: &InstanceRow, shown: Shown) -> aws::ContainerInstance {
    let instance = &row.instance;
    let count = |n: u32| i32::try_from(n).ok();
    let attributes = instance.attributes.iter().map(|(name, value)| aws::Attribute {
        name: Some(name.clone()),
        value: value.clone(),
        ..aws::Attribute::default()
    });
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let has_gpus = !instance.registered.gpus.is_empty();
    aws::ContainerInstance {
        container_instance_arn: Some(instance.arn.to_string()),
        ec2_instance_id: instance.ec2_instance_id.clone(),
        capacity_provider_name: snapshot.provider_of(instance).map(|provider| provider.as_str().to_owned()),
        version: i64::try_from(instance.version).ok(),
        version_info: Some(aws::VersionInfo {
            agent_version: text(&instance.agent.version),
            agent_hash: text(&instance.agent.hash),
            docker_version: text(&instance.agent.runtime),
        }),
        remaining_resources: Some(resources(&row.remaining, has_gpus)),
        registered_resources: Some(resources(&instance.registered, has_gpus)),
        status: Some(instance.status.as_str().to_owned()),
        agent_connected: Some(instance.agent_connected),
        running_tasks_count: count(row.running),
        pending_tasks_count: count(row.pending),
        attributes: Some(attributes.collect()),
        registered_at: Some(::wire::Timestamp::from_millis(instance.registered_at.0)),
        attachments: Some(Vec::new()),
        tags: Some(if shown.tags { tags::render(&instance.tags) } else { Vec::new() }),
        health_status: shown.health.then(|| health(instance)),
        ..aws::ContainerInstance::default()
    }
}

/// AWS's agent checks its container runtime twice a minute; ours ends its session when it loses the runtime, so what the
/// session says is what is known of it.
fn health(instance: &ContainerInstance) -> aws::ContainerInstanceHealthStatus {
    let status = if instance.agent_connected { "OK" } else { "INSUFFICIENT_DATA" }.to_owned();
    let since = Some(::wire::Timestamp::from_millis(instance.agent_changed_at.0));
    aws::ContainerInstanceHealthStatus {
        overall_status: Some(status.clone()),
        details: Some(vec![aws::InstanceHealthCheckResult {
            r#type: Some("CONTAINER_RUNTIME".to_owned()),
            status: Some(status),
            last_status_change: since,
            last_updated: since,
            ..aws::InstanceHealthCheckResult::default()
        }]),
    }
}

/// AWS's form: ports are those taken, and every resource carries all value members with zero where they do not apply.
fn resources(all: &Resources, has_gpus: bool) -> Vec<aws::Resource> {
    let resource = |name: &str, kind: &str| aws::Resource {
        name: Some(name.to_owned()),
        r#type: Some(kind.to_owned()),
        double_value: Some(0.0),
        long_value: Some(0),
        integer_value: Some(0),
        ..aws::Resource::default()
    };
    let number =
        |name, value: u32| aws::Resource { integer_value: i32::try_from(value).ok(), ..resource(name, "INTEGER") };
    let ports = |name, protocol: model::Protocol| {
        let ports = all.ports.iter().filter(|port| port.protocol == protocol).map(|port| port.number.to_string());
        aws::Resource { string_set_value: Some(ports.collect()), ..resource(name, "STRINGSET") }
    };
    let mut shown = vec![
        number("CPU", all.cpu.0),
        number("MEMORY", all.memory.0),
        ports("PORTS", model::Protocol::Tcp),
        ports("PORTS_UDP", model::Protocol::Udp),
    ];
    // AWS: an instance without GPUs has no such resource.
    if has_gpus {
        shown.push(gpus::resource(all, resource));
    }
    shown
}

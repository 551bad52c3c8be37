//! `ps`: containers with their state and ports, in the original's table.

use super::{Client, Where, cluster, config, say};
use anyhow::Result;
use clap::Args;
use shapes::{ec2, ecs};
use std::collections::{BTreeMap, BTreeSet};

/// What stopped longer ago is shown to who asks for stopped tasks.
const STOPPED_SHOWN_MILLIS: i64 = 60 * 60 * 1000;
/// Letters of an id that are shown where there is no room for all.
const SHORT_ID: usize = 8;
/// Tasks or instances of one describe. Source: service model.
const BATCH: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Only tasks of this desired status, and of STOPPED all that are known; else what stopped within the last hour.
    #[arg(long, value_parser = ["RUNNING", "STOPPED"])]
    desired_status: Option<String>,
    #[command(flatten)]
    output: say::OutputArgs,
    #[command(flatten)]
    place: Where,
}

pub(crate) async fn ps(args: PsArgs, endpoint: Option<String>) -> Result<()> {
    let settings = config::settings(&args.place, endpoint)?;
    cluster::must_be_active(&settings.client, &settings.cluster).await?;
    let statuses = match args.desired_status.as_deref() {
        Some(one) => vec![one.to_owned()],
        None => vec!["RUNNING".to_owned(), "STOPPED".to_owned()],
    };
    let mut tasks = Vec::new();
    for status in statuses {
        tasks.extend(self::tasks(&settings.client, &settings.cluster, &status, Of::Cluster).await?);
    }
    if args.desired_status.is_none() && !say::is_ecs_cli() {
        // AWS: forgets what has stopped after an hour, and with it the original does.
        let since = jiff::Timestamp::now().as_millisecond() - STOPPED_SHOWN_MILLIS;
        tasks.retain(|task| task.stopped_at.is_none_or(|at| at.as_millis() >= since));
    }
    print(&settings.client, &settings.cluster, &tasks, args.output).await
}

/// Whose tasks are listed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    Cluster,
    Family(&'a str),
    Service(&'a str),
}

/// All tasks of a desired status, described.
pub(super) async fn tasks(client: &Client, cluster: &str, desired: &str, of: Of<'_>) -> Result<Vec<ecs::Task>> {
    let (family, service_name) = match of {
        Of::Cluster => (None, None),
        Of::Family(family) => (Some(family.to_owned()), None),
        Of::Service(service) => (None, Some(service.to_owned())),
    };
    let mut all = Vec::new();
    let mut next_token = None;
    loop {
        let list = ecs::ListTasksRequest {
            cluster: Some(cluster.to_owned()),
            desired_status: Some(desired.to_owned()),
            family: family.clone(),
            service_name: service_name.clone(),
            next_token,
            ..Default::default()
        };
        let page = client.call(&list).await?;
        let arns = page.task_arns.unwrap_or_default();
        if !arns.is_empty() {
            all.extend(describe(client, cluster, arns).await?);
        }
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(all);
        }
    }
}

/// Up to 100 tasks, described.
pub(super) async fn describe(client: &Client, cluster: &str, arns: Vec<String>) -> Result<Vec<ecs::Task>> {
    let request =
        ecs::DescribeTasksRequest { cluster: Some(cluster.to_owned()), tasks: Some(arns), ..Default::default() };
    Ok(client.call(&request).await?.tasks.unwrap_or_default())
}

/// The table, or as JSON the tasks themselves.
pub(super) async fn print(client: &Client, cluster: &str, tasks: &[ecs::Task], output: say::OutputArgs) -> Result<()> {
    if output.is_json() {
        return say::json(&tasks);
    }
    let (own, shared): (Vec<_>, Vec<_>) = tasks.iter().partition(|task| interface(task).is_some());
    let mut addresses = addresses(client, cluster, &shared).await?;
    addresses.extend(own_addresses(client, &own).await?);
    let published = published(client, &own).await?;
    let mut rows = Vec::new();
    for task in tasks {
        let place = interface(task).map_or(task.container_instance_arn.as_deref(), attached);
        let address = place.and_then(|place| addresses.get(place)).map(String::as_str);
        for container in task.containers.iter().flatten() {
            rows.push(row(task, container, address, &published));
        }
    }
    let header = ["Name", "State", "Ports", "TaskDefinition", "Health"];
    if say::is_too_wide(&header, &rows) {
        let containers = tasks.iter().flat_map(|task| task.containers.iter().flatten().map(move |c| (task, c)));
        for (row, (task, container)) in rows.iter_mut().zip(containers) {
            row[0] = short_name(task, container);
        }
    }
    say::table(&header, &rows);
    Ok(())
}

/// The same by how the task's id begins, which is enough to name it.
fn short_name(task: &ecs::Task, container: &ecs::Container) -> String {
    let id = task.task_arn.as_deref().and_then(|arn| arn.rsplit('/').next()).unwrap_or_default();
    let begins: String = id.chars().take(SHORT_ID).collect();
    format!("{begins}/{}", container.name.as_deref().unwrap_or_default())
}

/// A container as people name it: with its task and, where ARNs have it, the cluster.
pub(super) fn container_name(task: &ecs::Task, container: &ecs::Container) -> String {
    let arn = task.task_arn.as_deref().unwrap_or_default();
    let id = arn.split_once('/').map_or(arn, |(_, id)| id);
    format!("{id}/{}", container.name.as_deref().unwrap_or_default())
}

fn row(task: &ecs::Task, container: &ecs::Container, address: Option<&str>, published: &Published) -> Vec<String> {
    let name = container_name(task, container);
    let mut state = container.last_status.clone().unwrap_or_default();
    if state == "STOPPED" {
        if let Some(code) = container.exit_code {
            state = format!("{state} ExitCode: {code}");
        }
        if let Some(reason) = &container.reason {
            state = format!("{state} Reason: {reason}");
        }
    }
    let prefix = address.map(|a| format!("{a}:")).unwrap_or_default();
    let own = interface(task).and_then(|_| {
        let definition = task.task_definition_arn.clone().unwrap_or_default();
        published.get(&(definition, container.name.clone().unwrap_or_default()))
    });
    // AWS: nothing is bound for a task with an interface of its own; what its definition says is what it has.
    let bindings = own.or(container.network_bindings.as_ref());
    let ports = bindings.into_iter().flatten().map(|b| {
        let one = |range: &Option<String>, port: Option<i32>| {
            range.clone().or_else(|| port.map(|p| p.to_string())).unwrap_or_default()
        };
        let host = one(&b.host_port_range, b.host_port);
        let inside = one(&b.container_port_range, b.container_port);
        format!("{prefix}{host}->{inside}/{}", b.protocol.as_deref().unwrap_or("tcp"))
    });
    let definition = task.task_definition_arn.as_deref().unwrap_or_default();
    let definition = definition.rsplit_once('/').map_or(definition, |(_, name)| name);
    let health = container.health_status.clone().unwrap_or_default();
    vec![name, state, ports.collect::<Vec<_>>().join(", "), definition.to_owned(), health]
}

/// The interface that a task has for itself.
pub(super) fn interface(task: &ecs::Task) -> Option<&ecs::Attachment> {
    task.attachments.iter().flatten().find(|a| a.r#type.as_deref() == Some("ElasticNetworkInterface"))
}

/// One detail of it.
pub(super) fn detail<'a>(interface: &'a ecs::Attachment, name: &str) -> Option<&'a str> {
    let found = interface.details.iter().flatten().find(|detail| detail.name.as_deref() == Some(name))?;
    found.value.as_deref()
}

/// Its id, while it is attached.
fn attached(interface: &ecs::Attachment) -> Option<&str> {
    let is_attached = interface.status.as_deref() == Some("ATTACHED");
    if is_attached { detail(interface, "networkInterfaceId") } else { None }
}

/// The address of each task's own interface, by the interface's id: the public one, or else the private one.
async fn own_addresses(client: &Client, tasks: &[&ecs::Task]) -> Result<BTreeMap<String, String>> {
    let ids: Vec<_> = tasks.iter().filter_map(|task| interface(task).and_then(attached)).map(str::to_owned).collect();
    let mut addresses = BTreeMap::new();
    for batch in ids.chunks(BATCH) {
        // A filter, because an interface that has gone meanwhile is no reason not to list the others.
        let filter = ec2::Filter { name: Some("network-interface-id".to_owned()), values: Some(batch.to_vec()) };
        let request = ec2::DescribeNetworkInterfacesRequest { filters: Some(vec![filter]), ..Default::default() };
        for found in client.call(&request).await?.network_interfaces.into_iter().flatten() {
            let address = found.association.and_then(|a| a.public_ip).or(found.private_ip_address);
            addresses.extend(found.network_interface_id.zip(address));
        }
    }
    Ok(addresses)
}

/// The ports of containers whose task has an interface of its own, by definition and container.
type Published = BTreeMap<(String, String), Vec<ecs::NetworkBinding>>;

async fn published(client: &Client, tasks: &[&ecs::Task]) -> Result<Published> {
    let definitions: BTreeSet<_> = tasks.iter().filter_map(|task| task.task_definition_arn.clone()).collect();
    let mut published = BTreeMap::new();
    for arn in definitions {
        let request = ecs::DescribeTaskDefinitionRequest { task_definition: Some(arn.clone()), ..Default::default() };
        let Some(definition) = client.call(&request).await?.task_definition else { continue };
        for container in definition.container_definitions.into_iter().flatten() {
            let ports = container.port_mappings.into_iter().flatten().map(|mapping| ecs::NetworkBinding {
                host_port: mapping.host_port.filter(|port| *port != 0).or(mapping.container_port),
                container_port: mapping.container_port,
                host_port_range: mapping.container_port_range.clone(),
                container_port_range: mapping.container_port_range,
                protocol: mapping.protocol,
                ..Default::default()
            });
            published.insert((arn.clone(), container.name.unwrap_or_default()), ports.collect());
        }
    }
    Ok(published)
}

/// The address of each instance that the tasks are on: EC2's for machines it knows.
async fn addresses(client: &Client, cluster: &str, tasks: &[&ecs::Task]) -> Result<BTreeMap<String, String>> {
    let arns: BTreeSet<_> = tasks.iter().filter_map(|t| t.container_instance_arn.clone()).collect();
    let arns: Vec<_> = arns.into_iter().collect();
    let mut machines = BTreeMap::new();
    for batch in arns.chunks(BATCH) {
        let request = ecs::DescribeContainerInstancesRequest {
            cluster: Some(cluster.to_owned()),
            container_instances: Some(batch.to_vec()),
            ..Default::default()
        };
        for instance in client.call(&request).await?.container_instances.into_iter().flatten() {
            if let (Some(arn), Some(id)) = (instance.container_instance_arn, instance.ec2_instance_id) {
                machines.insert(id, arn);
            }
        }
    }
    let ids: Vec<_> = machines.keys().filter(|id| id.starts_with("i-")).cloned().collect();
    let mut addresses = BTreeMap::new();
    for batch in ids.chunks(BATCH) {
        let request = ec2::DescribeInstancesRequest { instance_ids: Some(batch.to_vec()), ..Default::default() };
        // A machine that is long gone is no reason not to list its containers.
        let Ok(answer) = client.call(&request).await else { continue };
        for instance in answer.reservations.into_iter().flatten().flat_map(|r| r.instances.unwrap_or_default()) {
            let address = instance.public_ip_address.or(instance.private_ip_address);
            if let (Some(arn), Some(address)) = (instance.instance_id.and_then(|id| machines.get(&id)), address) {
                addresses.insert(arn.clone(), address);
            }
        }
    }
    Ok(addresses)
}

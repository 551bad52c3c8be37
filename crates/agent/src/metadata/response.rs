//! What a task is told of itself, in the original's words and keys. Pure: a view of the board in, JSON out.
//!
//! Source of the keys: amazon-ecs-agent, `tmds/handlers/v4/state/response.go`, and what a real agent was seen to answer.

use crate::{
    engine::View,
    introspection::rfc3339,
    task::{ContainerState, Phase},
};
use model::{
    ContainerArn, ContainerInstanceArn, ContainerStatus, Desired, NetworkBinding, NetworkMode, ObservedStatus,
    ServiceArn, Tags, TaskArn,
};
use runtime::DiskUsage;
use serde::Serialize;
use std::{collections::BTreeMap, net::Ipv4Addr};

/// What all tasks of an instance are told alike.
#[derive(Debug, Clone)]
pub struct Facts {
    /// This instance.
    pub container_instance: ContainerInstanceArn,
    /// `EC2`, or `EXTERNAL` on a machine that somebody attached.
    pub launch_type: &'static str,
    /// Its zone, if it has one.
    pub availability_zone: Option<String>,
    /// Its VPC, if it is in one.
    pub vpc: Option<String>,
}

/// Which of the three forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V2,
    V3,
    V4,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskResponse {
    cluster: String,
    #[serde(rename = "TaskARN")]
    task_arn: String,
    family: String,
    revision: String,
    desired_status: &'static str,
    known_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_stopped_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_stopped_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    availability_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_tags: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_instance_tags: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<TagError>,
    containers: Vec<ContainerResponse>,
    #[serde(rename = "VPCID", skip_serializing_if = "Option::is_none")]
    vpc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral_storage_metrics: Option<EphemeralStorageMetrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault_injection_enabled: Option<bool>,
}

/// In MiB. Source: the developer guide, task metadata endpoint version 4 for tasks on Fargate.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct EphemeralStorageMetrics {
    utilized: u64,
    reserved: u64,
}

/// Why tags are missing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagError {
    error_field: &'static str,
    error_code: &'static str,
    error_message: String,
    status_code: u16,
    request_id: String,
    #[serde(rename = "ResourceARN")]
    resource_arn: String,
}

#[derive(Debug, Serialize)]
struct Limits {
    #[serde(rename = "CPU", skip_serializing_if = "Option::is_none", serialize_with = "as_go")]
    cpu: Option<f64>,
    #[serde(rename = "Memory", skip_serializing_if = "Option::is_none")]
    memory: Option<u32>,
}

/// Go writes 128, not 128.0, and some clients' types expect that.
fn as_go<S: serde::Serializer>(cpu: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match cpu {
        Some(cpu) if cpu.fract() == 0.0 && cpu.abs() < 1e15 => serializer.serialize_i64(*cpu as i64),
        Some(cpu) => serializer.serialize_f64(*cpu),
        None => serializer.serialize_none(),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerResponse {
    docker_id: String,
    name: String,
    docker_name: String,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<Port>,
    labels: BTreeMap<String, String>,
    desired_status: &'static str,
    known_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    limits: Limits,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_driver: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    log_options: BTreeMap<String, String>,
    #[serde(rename = "ContainerARN", skip_serializing_if = "Option::is_none")]
    container_arn: Option<String>,
    networks: Vec<Network>,
    /// Of a container with a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_count: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    container_port: u16,
    protocol: &'static str,
    host_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_ip: Option<String>,
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    #[serde(rename = "statusSince", skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    network_mode: &'static str,
    #[serde(rename = "IPv4Addresses")]
    ipv4_addresses: Vec<String>,
    /// Of a task with a network interface of its own.
    #[serde(flatten)]
    interface: Option<Interface>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Interface {
    attachment_index: u32,
    #[serde(rename = "MACAddress")]
    mac_address: String,
    #[serde(rename = "IPv4SubnetCIDRBlock")]
    ipv4_subnet: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    domain_name_servers: Vec<String>,
    #[serde(rename = "PrivateDNSName")]
    private_dns_name: String,
    subnet_gateway_ipv4_address: String,
}

impl Interface {
    fn of(view: &View) -> Option<Self> {
        let assignment = &view.plan.assignment;
        let interface = assignment.interface.as_ref()?;
        let region = assignment.task.cluster.scope.region.as_str();
        let gateway = Ipv4Addr::from(u32::from(interface.subnet.network()).saturating_add(1));
        Some(Self {
            attachment_index: 0,
            mac_address: interface.mac.to_string(),
            ipv4_subnet: interface.subnet.to_string(),
            domain_name_servers: interface.resolver.iter().map(ToString::to_string).collect(),
            private_dns_name: model::attachment::private_dns_name(interface.address, region),
            subnet_gateway_ipv4_address: format!("{gateway}/{}", interface.subnet.prefix_len()),
        })
    }
}

impl TaskResponse {
    pub(super) fn new(view: &View, facts: &Facts, version: Version) -> Self {
        let assignment = &view.plan.assignment;
        let definition = &view.plan.definition;
        let cpu = assignment.overrides.cpu.or(definition.cpu).map(|cpu| f64::from(cpu.0) / 1024.0);
        let memory = assignment.overrides.memory.or(definition.memory).map(|memory| memory.0);
        let fourth = version == Version::V4;
        let service = ServiceArn::of_group(&assignment.task.cluster, &assignment.group);
        Self {
            cluster: assignment.task.cluster.name.to_string(),
            task_arn: assignment.task.to_string(),
            family: assignment.definition.family.to_string(),
            revision: assignment.definition.revision.to_string(),
            desired_status: desired(view),
            known_status: known(view),
            limits: (cpu.is_some() || memory.is_some()).then_some(Limits { cpu, memory }),
            pull_started_at: view.state.pull_started.map(rfc3339),
            pull_stopped_at: view.state.pull_stopped.map(rfc3339),
            execution_stopped_at: view.state.execution_stopped.map(rfc3339),
            availability_zone: facts.availability_zone.clone(),
            task_tags: None,
            container_instance_tags: None,
            launch_type: (version != Version::V3).then_some(facts.launch_type),
            errors: Vec::new(),
            containers: (0..view.state.containers.len()).map(|at| ContainerResponse::new(view, at, version)).collect(),
            vpc: facts.vpc.clone().filter(|_| fourth),
            service_name: service.map(|service| service.name.to_string()).filter(|_| fourth),
            ephemeral_storage_metrics: None,
            fault_injection_enabled: fourth.then_some(false),
        }
    }

    /// With what is known of the task's disk.
    pub(super) fn with_disk(mut self, view: &View, disk: Option<DiskUsage>) -> Self {
        let reserved = view.plan.assignment.ephemeral_storage_gib;
        self.ephemeral_storage_metrics = disk.zip(reserved).map(|(disk, gib)| EphemeralStorageMetrics {
            utilized: disk.used.div_ceil(1 << 20),
            reserved: u64::from(gib) << 10,
        });
        self
    }

    /// With the tags, or the reason why they are missing. AWS: what could be had is told all the same.
    pub(super) fn with_tags(mut self, tags: Result<(Tags, Tags), String>, task: &TaskArn, facts: &Facts) -> Self {
        match tags {
            Ok((of_task, of_instance)) => {
                let some = |tags: Tags| Some(tags.0).filter(|tags| !tags.is_empty());
                self.task_tags = some(of_task);
                self.container_instance_tags = some(of_instance);
            }
            Err(why) => {
                let fields =
                    [("ContainerInstanceTags", facts.container_instance.to_string()), ("TaskTags", task.to_string())];
                self.errors = fields
                    .map(|(error_field, resource_arn)| TagError {
                        error_field,
                        error_code: "ServerException",
                        error_message: why.clone(),
                        status_code: 500,
                        request_id: String::new(),
                        resource_arn,
                    })
                    .into();
            }
        }
        self
    }
}

impl ContainerResponse {
    pub(super) fn new(view: &View, at: usize, version: Version) -> Self {
        let (state, definition) = (&view.state.containers[at], &view.plan.containers[at]);
        let fourth = version == Version::V4;
        let log = definition.log_configuration.as_ref().filter(|_| fourth);
        let arn = container_arn(view, state).filter(|_| fourth);
        Self {
            docker_id: state.runtime_id.to_string(),
            name: state.name.to_string(),
            docker_name: state.runtime_id.to_string(),
            image: definition.image.clone(),
            image_id: state.pulled.as_ref().map(|pulled| pulled.image_id.to_string()).unwrap_or_default(),
            ports: state.endpoint.iter().flat_map(|e| &e.bindings).flat_map(|b| ports(b, fourth)).collect(),
            labels: labels(view, at),
            desired_status: desired(view),
            known_status: progress(state),
            exit_code: state.exit_code,
            // AWS: a container without a hard limit is told 0.
            limits: Limits {
                cpu: Some(f64::from(definition.cpu.0)),
                memory: Some(definition.memory.map_or(0, |memory| memory.0)),
            },
            created_at: state.created.map(rfc3339),
            started_at: state.started.map(rfc3339),
            finished_at: state.finished.map(rfc3339),
            r#type: "NORMAL",
            health: state
                .watch
                .as_ref()
                .map(|watch| Health { status: watch.health.status.as_str(), since: watch.changed.map(rfc3339) }),
            log_driver: log.map(|log| log.driver.as_str()),
            log_options: log.map(|log| log.options.clone()).unwrap_or_default(),
            container_arn: arn,
            networks: vec![network(view, state)],
            restart_count: state.restarts.as_ref().map(|restarts| restarts.count).filter(|_| fourth),
        }
    }
}

fn desired(view: &View) -> &'static str {
    let stops = view.state.stop.is_some() || matches!(view.plan.assignment.desired, Desired::Stopped(_));
    if stops { "STOPPED" } else { "RUNNING" }
}

fn known(view: &View) -> &'static str {
    match view.state.observe(&view.plan.assignment.task).status {
        // AWS: a task is as far as the container that is least far.
        ObservedStatus::Pending => {
            let rank =
                |state: &ContainerState| ["NONE", "PULLED", "CREATED"].iter().position(|s| *s == progress(state));
            let ranks = view.state.containers.iter().filter_map(rank);
            ["NONE", "PULLED", "CREATED"][ranks.min().unwrap_or(0)]
        }
        ObservedStatus::Running | ObservedStatus::Stopping(_) => "RUNNING",
        ObservedStatus::Stopped(_) => "STOPPED",
    }
}

/// The original's container statuses.
fn progress(state: &ContainerState) -> &'static str {
    match state.phase {
        Phase::Creating { .. } | Phase::Starting { .. } if state.status() == ContainerStatus::Running => "RUNNING",
        Phase::Waiting | Phase::Pulling { .. } => "NONE",
        Phase::Held { .. } | Phase::Connecting { .. } | Phase::Creating { .. } => "PULLED",
        Phase::Starting { .. } => "CREATED",
        Phase::Running { .. } | Phase::Stopping { .. } | Phase::Killing { .. } => "RUNNING",
        Phase::Removing { .. } | Phase::Gone => "STOPPED",
    }
}

fn container_arn(view: &View, state: &ContainerState) -> Option<String> {
    let id = view.plan.assignment.container_ids.get(&state.name)?.clone();
    Some(ContainerArn { task: view.plan.assignment.task.clone(), id }.to_string())
}

/// AWS: the agent's own five and the definition's; ours for our own use are nobody's business.
fn labels(view: &View, at: usize) -> BTreeMap<String, String> {
    let job = view.plan.job(at, &view.state.containers[at]);
    let mut labels = job.labels("");
    labels.retain(|name, _| name != crate::INSTANCE_LABEL && name != crate::TASK_LABEL);
    labels
}

fn ports(binding: &NetworkBinding, fourth: bool) -> Vec<Port> {
    let last = |range: &Option<std::sync::Arc<str>>| range.as_deref()?.split_once('-')?.1.parse::<u16>().ok();
    let count = last(&binding.container_port_range).map_or(0, |last| last.saturating_sub(binding.container_port));
    let port = |offset: u16| Port {
        container_port: binding.container_port.saturating_add(offset),
        protocol: binding.protocol.as_str(),
        host_port: binding.host_port.saturating_add(offset),
        host_ip: fourth.then(|| binding.bind_ip.to_string()),
    };
    (0..=count).map(port).collect()
}

fn network(view: &View, state: &ContainerState) -> Network {
    let network_mode = match view.plan.mode() {
        NetworkMode::Bridge => "bridge",
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
        NetworkMode::Awsvpc => "awsvpc",
    };
    // AWS: Docker shows an empty address where there is none, also once the container has stopped.
    let address = state.endpoint.as_ref().and_then(|endpoint| endpoint.address);
    let address = address.filter(|_| progress(state) != "STOPPED").map(|address| address.to_string());
    let own = view.plan.assignment.interface.as_ref().map(|interface| interface.address.to_string());
    let ipv4_addresses = vec![own.or(address).unwrap_or_default()];
    Network { network_mode, ipv4_addresses, interface: Interface::of(view) }
}

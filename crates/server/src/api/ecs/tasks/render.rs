//! A task as clients see it. What is unset is absent; lists and counts stand where AWS shows them.

use crate::api::ecs::{gpus, managed_volumes, tags, task_definition_convert::storage, task_definition_secrets};
use model::{Attachment, Container, ContainerStatus, HealthStatus, LaunchType, Platform, Task, TaskOverrides};
use shapes::ecs as wire;
use state::Snapshot;
use std::sync::Arc;

fn time(at: model::Timestamp) -> ::wire::Timestamp {
    ::wire::Timestamp::from_millis(at.0)
}

/// The whole task. Tags are shown when asked for.
pub(crate) fn task(snapshot: &Snapshot, task: &Task, with_tags: bool) -> wire::Task {
    let definition = snapshot.task_definition(&task.definition);
    let spec = definition.map(|d| &*d.spec);
    let instance = task.instance_arn();
    let row = instance.as_ref().and_then(|instance| snapshot.instance(instance));
    let connected = row.is_some_and(|row| row.instance.agent_connected);
    let attribute = |name: &str| row.and_then(|r| r.instance.attribute(name)).map(str::to_owned);
    let architecture = attribute("ecs.cpu-architecture").map(|value| wire::Attribute {
        name: Some("ecs.cpu-architecture".to_owned()),
        value: Some(value),
        ..wire::Attribute::default()
    });
    let stop = task.stop();
    let times = &task.times;
    let sum = |cpu: u32| cpu.to_string();
    let gpus = spec.map(|spec| spec.gpus_of(&task.overrides, &task.reservation.gpu_ids)).unwrap_or_default();
    let gpus = |name: &Arc<str>| gpus.get(name).map(|ids| ids.iter().map(|id| id.as_str().to_owned()).collect());
    let containers =
        task.containers.iter().map(|c| wire::Container { gpu_ids: gpus(&c.name), ..container(task, c, spec) });
    wire::Task {
        attachments: Some(attachments(task)),
        attributes: Some(architecture.into_iter().collect()),
        availability_zone: task.availability_zone.as_deref().map(str::to_owned),
        cluster_arn: Some(task.arn.cluster.to_string()),
        connectivity: times.connectivity.map(|_| if connected { "CONNECTED" } else { "DISCONNECTED" }.to_owned()),
        connectivity_at: times.connectivity.map(time),
        // AWS: of Fargate's instances nothing is shown.
        container_instance_arn: instance.filter(|_| task.launch_type != LaunchType::Fargate).map(|arn| arn.to_string()),
        capacity_provider_name: task.capacity_provider.as_ref().map(|provider| provider.as_str().to_owned()),
        ephemeral_storage: task.ephemeral_storage_gib.map(storage),
        fargate_ephemeral_storage: task
            .ephemeral_storage_gib
            .map(|gib| wire::TaskEphemeralStorage { size_in_gi_b: storage(gib).size_in_gi_b, kms_key_id: None }),
        platform_family: task.platform.map(|_| Platform::FAMILY.to_owned()),
        platform_version: task.platform.map(|platform| platform.version.as_str().to_owned()),
        containers: Some(containers.collect()),
        cpu: Some(sum(task.reservation.cpu.0)),
        memory: Some(sum(task.reservation.memory.0)),
        created_at: Some(time(times.created)),
        desired_status: Some(if task.is_to_stop() { "STOPPED" } else { "RUNNING" }.to_owned()),
        enable_execute_command: Some(task.execute_command),
        execution_stopped_at: times.execution_stopped.map(time),
        group: Some(task.group.to_string()),
        health_status: Some(health(task.health())),
        last_status: Some(task.last_status().as_str().to_owned()),
        launch_type: Some(task.launch_type.as_str().to_owned()),
        overrides: Some(overrides(&task.overrides, task)),
        pull_started_at: times.pull_started.map(time),
        pull_stopped_at: times.pull_stopped.map(time),
        started_at: times.started.map(time),
        started_by: task.started_by.as_deref().map(str::to_owned),
        stop_code: stop.map(|s| s.code.as_str().to_owned()),
        stopped_at: task.stopped_at().map(time),
        stopped_reason: stop.map(|s| s.reason.to_string()),
        stopping_at: times.stopping.map(time),
        tags: Some(if with_tags { tags::render(&task.tags) } else { Vec::new() }),
        task_arn: Some(task.arn.to_string()),
        task_definition_arn: Some(task.definition.to_string()),
        version: i64::try_from(task.version).ok(),
        ..wire::Task::default()
    }
}

fn attachments(task: &Task) -> Vec<wire::Attachment> {
    let interface = task.attachment.iter().map(|attachment| self::attachment(task, attachment));
    interface.chain(task.volume.iter().map(|volume| managed_volumes::attachment(task, volume))).collect()
}

fn attachment(task: &Task, attachment: &Attachment) -> wire::Attachment {
    let detail = |name: &str, value: String| wire::KeyValuePair { name: Some(name.to_owned()), value: Some(value) };
    wire::Attachment {
        id: Some(attachment.id.to_string()),
        r#type: Some("ElasticNetworkInterface".to_owned()),
        status: Some(attachment.state.as_str().to_owned()),
        details: Some(vec![
            detail("subnetId", attachment.subnet.to_string()),
            detail("networkInterfaceId", attachment.interface.to_string()),
            detail("macAddress", attachment.mac.to_string()),
            detail("privateDnsName", attachment.private_dns_name(task.arn.cluster.scope.region.as_str())),
            detail("privateIPv4Address", attachment.address.to_string()),
        ]),
    }
}

/// AWS: each container shows the one that all share.
fn interface(attachment: &Attachment) -> wire::NetworkInterface {
    wire::NetworkInterface {
        attachment_id: Some(attachment.id.to_string()),
        private_ipv4_address: Some(attachment.address.to_string()),
        ipv6_address: None,
    }
}

/// AWS: what has no check is UNKNOWN.
fn health(status: Option<HealthStatus>) -> String {
    status.unwrap_or(HealthStatus::Unknown).as_str().to_owned()
}

fn container(task: &Task, container: &Container, spec: Option<&model::TaskDefinitionSpec>) -> wire::Container {
    let definition = spec.and_then(|s| s.containers.iter().find(|c| c.name == *container.name));
    let over = task.overrides.containers.iter().find(|o| o.name == *container.name);
    let cpu = over.and_then(|o| o.cpu).or(definition.map(|d| d.cpu));
    let memory = over.and_then(|o| o.memory).or(definition.and_then(|d| d.memory));
    let reservation = over.and_then(|o| o.memory_reservation).or(definition.and_then(|d| d.memory_reservation));
    let number = |n: u16| Some(i32::from(n));
    let bindings = container.network_bindings.iter().map(|b| wire::NetworkBinding {
        bind_ip: Some(b.bind_ip.to_string()),
        container_port: if b.container_port_range.is_none() { number(b.container_port) } else { None },
        host_port: if b.host_port_range.is_none() { number(b.host_port) } else { None },
        container_port_range: b.container_port_range.as_deref().map(str::to_owned),
        host_port_range: b.host_port_range.as_deref().map(str::to_owned),
        protocol: Some(b.protocol.as_str().to_owned()),
    });
    wire::Container {
        container_arn: Some(container.arn.to_string()),
        task_arn: Some(task.arn.to_string()),
        name: Some(container.name.to_string()),
        image: Some(container.image.to_string()),
        image_digest: container.image_digest.as_deref().map(str::to_owned),
        runtime_id: container.runtime_id.as_deref().map(str::to_owned),
        last_status: Some(container.status.as_str().to_owned()),
        exit_code: container.exit_code,
        reason: container.reason.as_deref().map(str::to_owned),
        network_bindings: Some(bindings.collect()),
        network_interfaces: Some(task.attachment.iter().map(|attachment| interface(attachment)).collect()),
        health_status: Some(health(container.health.map(|health| health.status))),
        cpu: Some(cpu.unwrap_or_default().0.to_string()),
        memory: memory.map(|m| m.0.to_string()),
        memory_reservation: reservation.map(|m| m.0.to_string()),
        managed_agents: task.execute_command.then(|| vec![managed_agent(task, container)]),
        ..wire::Container::default()
    }
}

/// What runs commands in it. AWS: an agent in each container; here the instance's own does it, as soon as the container runs.
fn managed_agent(task: &Task, container: &Container) -> wire::ManagedAgent {
    wire::ManagedAgent {
        name: Some("ExecuteCommandAgent".to_owned()),
        last_status: Some(container.status.as_str().to_owned()),
        last_started_at: task.times.started.filter(|_| container.status == ContainerStatus::Running).map(time),
        reason: None,
    }
}

/// AWS shows one entry for every container, with or without overrides.
fn overrides(overrides: &TaskOverrides, task: &Task) -> wire::TaskOverride {
    let containers = task.containers.iter().map(|container| {
        let over = overrides.containers.iter().find(|o| o.name == *container.name);
        let units = |value: Option<u32>| value.and_then(|v| i32::try_from(v).ok());
        let environment = over.filter(|o| !o.environment.is_empty()).map(|o| {
            let pairs = o.environment.iter();
            pairs.map(|(n, v)| wire::KeyValuePair { name: Some(n.clone()), value: Some(v.clone()) }).collect()
        });
        wire::ContainerOverride {
            name: Some(container.name.to_string()),
            command: over.and_then(|o| o.command.clone()),
            environment,
            environment_files: over.and_then(|o| task_definition_secrets::shown_files(&o.environment_files)),
            cpu: units(over.and_then(|o| o.cpu).map(|c| c.0)),
            memory: units(over.and_then(|o| o.memory).map(|m| m.0)),
            memory_reservation: units(over.and_then(|o| o.memory_reservation).map(|m| m.0)),
            resource_requirements: gpus::requirement(over.and_then(|o| o.gpus).unwrap_or(0)),
        }
    });
    wire::TaskOverride {
        container_overrides: Some(containers.collect()),
        cpu: overrides.cpu.map(|c| c.0.to_string()),
        memory: overrides.memory.map(|m| m.0.to_string()),
        execution_role_arn: overrides.execution_role_arn.clone(),
        task_role_arn: overrides.task_role_arn.clone(),
        ephemeral_storage: overrides.ephemeral_storage_gib.map(storage),
        inference_accelerator_overrides: Some(Vec::new()),
    }
}

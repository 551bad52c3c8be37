//! Task definitions between AWS's form and the model's: parsed with everything that can be wrong told by name, rendered
//! with the members that AWS adds.

use super::{gpus, linux_convert, logging_convert, size, task_definition_secrets as provided, volume_convert};
use crate::api::ApiError;
use model::{
    Compatibility, ContainerDefinition, ContainerDependency, CpuUnits, DependencyCondition, ExtraHost, Family,
    HealthCheck, IpcMode, MemoryMib, NetworkMode, PidMode, PortMapping, PortSpec, Protocol, RestartPolicy,
    RuntimePlatform, SecurityOption, SystemControl, TaskDefinition, TaskDefinitionSpec, TaskDefinitionStatus, Ulimit,
};
use scheduler::Expression;
use shapes::ecs as aws;

/// Largest task definition, as JSON. Source: service quotas.
const MAX_BYTES: usize = 64 << 10;
/// Placement constraints of one definition. Source: the model's documentation.
const MAX_CONSTRAINTS: usize = 10;

pub(super) fn set(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

pub(super) fn not_honoured(what: impl std::fmt::Display) -> ApiError {
    ApiError::client(format!("Longshore does not honour {what} yet; remove it or see docs/coverage.md."))
}

/// Parses what RegisterTaskDefinition asks for. Members that are not honoured at all were refused before.
///
/// # Errors
/// `ClientException`, as AWS answers everything that is wrong with a definition.
pub(crate) fn parse(request: aws::RegisterTaskDefinitionRequest) -> Result<TaskDefinitionSpec, ApiError> {
    if serde_json::to_vec(&request).is_ok_and(|json| json.len() > MAX_BYTES) {
        return Err(ApiError::client("Task definition is too large: it may have at most 64 KiB."));
    }
    let Some(family) = set(request.family) else {
        return Err(ApiError::client("Family should not be null or empty."));
    };
    let family = Family::parse(family).map_err(|_| ApiError::client("Family contains invalid characters."))?;
    let containers = request.container_definitions.unwrap_or_default();
    let spec = TaskDefinitionSpec {
        family,
        network_mode: network_mode(set(request.network_mode).as_deref())?,
        cpu: size::cpu(request.cpu.as_deref()).map_err(ApiError::client)?,
        memory: size::memory(request.memory.as_deref()).map_err(ApiError::client)?,
        requires_compatibilities: compatibilities(request.requires_compatibilities)?,
        execution_role_arn: set(request.execution_role_arn),
        task_role_arn: set(request.task_role_arn),
        runtime_platform: platform(request.runtime_platform)?,
        ephemeral_storage_gib: request.ephemeral_storage.map(|storage| storage_size(&storage)),
        pid_mode: mode("pidMode", set(request.pid_mode), &PidMode::ALL)?,
        ipc_mode: mode("ipcMode", set(request.ipc_mode), &IpcMode::ALL)?,
        volumes: volume_convert::parse(request.volumes)?,
        placement_constraints: constraints(request.placement_constraints)?,
        containers: containers.into_iter().map(container).collect::<Result<_, _>>()?,
    };
    let refused = |error: model::InvalidDefinition| ApiError::client(error.to_string());
    // That Fargate has no such driver is told before what its options lack.
    if spec.requires_compatibilities.contains(&Compatibility::Fargate) {
        spec.check_fargate().map_err(refused)?;
    }
    for container in &spec.containers {
        if let Some(log) = &container.log_configuration {
            logging_convert::check(&container.name, log)?;
        }
    }
    spec.check().map_err(refused)?;
    Ok(spec)
}

fn network_mode(given: Option<&str>) -> Result<Option<NetworkMode>, ApiError> {
    match given {
        None => Ok(None),
        Some("bridge") => Ok(Some(NetworkMode::Bridge)),
        Some("host") => Ok(Some(NetworkMode::Host)),
        Some("none") => Ok(Some(NetworkMode::None)),
        Some("awsvpc") => Ok(Some(NetworkMode::Awsvpc)),
        Some(other) => Err(not_honoured(format_args!("networkMode {other}"))),
    }
}

/// AWS's words for what is none of these.
pub(super) fn mode<T: Copy>(what: &str, given: Option<String>, all: &[(&str, T)]) -> Result<Option<T>, ApiError> {
    let Some(given) = given else { return Ok(None) };
    let words = || all.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(",");
    let unknown =
        || ApiError::client(format!("{given} is not a valid value for {what}. The value must be one of [{}]", words()));
    all.iter().find(|(word, _)| *word == given).map(|(_, mode)| Some(*mode)).ok_or_else(unknown)
}

fn compatibilities(given: Option<Vec<String>>) -> Result<Vec<Compatibility>, ApiError> {
    let given = given.unwrap_or_default().into_iter();
    let one = |text: String| match text.as_str() {
        "EC2" => Ok(Compatibility::Ec2),
        "EXTERNAL" => Ok(Compatibility::External),
        "FARGATE" => Ok(Compatibility::Fargate),
        other => Err(not_honoured(format_args!("requiresCompatibilities {other}"))),
    };
    given.map(one).collect()
}

/// What is below all sizes is refused as the smallest ones are.
pub(super) fn storage_size(given: &aws::EphemeralStorage) -> u32 {
    given.size_in_gi_b.and_then(|size| u32::try_from(size).ok()).unwrap_or(0)
}

fn platform(given: Option<aws::RuntimePlatform>) -> Result<Option<RuntimePlatform>, ApiError> {
    let given = given.unwrap_or_default();
    let (cpu_architecture, system) = (set(given.cpu_architecture), set(given.operating_system_family));
    if let Some(other) = system.as_deref().filter(|system| *system != "LINUX") {
        return Err(not_honoured(format_args!("runtimePlatform.operatingSystemFamily {other}")));
    }
    let any = cpu_architecture.is_some() || system.is_some();
    Ok(any.then_some(RuntimePlatform { cpu_architecture, operating_system_family: system }))
}

fn constraints(given: Option<Vec<aws::TaskDefinitionPlacementConstraint>>) -> Result<Vec<String>, ApiError> {
    let given = given.unwrap_or_default();
    if given.len() > MAX_CONSTRAINTS {
        return Err(ApiError::client("A task definition can have at most 10 placement constraints."));
    }
    let one = |constraint: aws::TaskDefinitionPlacementConstraint| {
        let kind = constraint.r#type.unwrap_or_default();
        if kind != "memberOf" {
            let text = format!("Placement constraints of task definitions must be of type memberOf, not '{kind}'.");
            return Err(ApiError::client(text));
        }
        let expression = constraint.expression.unwrap_or_default();
        let invalid = |error| ApiError::client(format!("Invalid placement constraint expression. {error}"));
        Expression::parse(&expression).map_err(invalid)?;
        Ok(expression)
    };
    given.into_iter().map(one).collect()
}

fn container(mut given: aws::ContainerDefinition) -> Result<ContainerDefinition, ApiError> {
    let provided::Given { secrets, environment_files, repository_credentials } = provided::take(&mut given)?;
    let name = given.name.unwrap_or_default();
    let invalid = |what: &str| ApiError::client(format!("Invalid setting for container '{name}'. {what}"));
    let number = |what: &str, value: Option<i32>| {
        let value = value.filter(|value| *value != 0);
        let refuse = |_| invalid(&format!("'{what}' must not be negative."));
        value.map(u32::try_from).transpose().map_err(refuse)
    };
    let environment = given.environment.unwrap_or_default().into_iter();
    let mappings = given.port_mappings.unwrap_or_default().into_iter();
    let ulimits = given.ulimits.unwrap_or_default().into_iter();
    let hosts = given.extra_hosts.unwrap_or_default().into_iter();
    let controls = given.system_controls.unwrap_or_default().into_iter();
    let dependencies = given.depends_on.unwrap_or_default().into_iter();
    let docker_security_options = given.docker_security_options.unwrap_or_default();
    if let Some(other) = docker_security_options.iter().find(|option| SecurityOption::parse(option).is_none()) {
        return Err(not_honoured(format_args!("containerDefinitions.dockerSecurityOptions {other}")));
    }
    let asked = gpus::asked(given.resource_requirements.as_deref(), "containerDefinitions.resourceRequirements");
    let gpus = asked.map_err(|wrong| match wrong {
        gpus::Wrong::Setting(what) => invalid(&what),
        gpus::Wrong::NotHonoured(error) => error,
    })?;
    Ok(ContainerDefinition {
        gpus: gpus.unwrap_or(0),
        image: given.image.unwrap_or_default(),
        cpu: CpuUnits(number("cpu", given.cpu)?.unwrap_or(0)),
        memory: number("memory", given.memory)?.map(MemoryMib),
        memory_reservation: number("memoryReservation", given.memory_reservation)?.map(MemoryMib),
        // AWS: "If this parameter is omitted, a container is assumed to be essential."
        essential: given.essential.unwrap_or(true),
        command: given.command.filter(|words| !words.is_empty()),
        entry_point: given.entry_point.filter(|words| !words.is_empty()),
        environment: environment.map(|e| (e.name.unwrap_or_default(), e.value.unwrap_or_default())).collect(),
        user: set(given.user),
        working_directory: set(given.working_directory),
        port_mappings: mappings.map(|m| mapping(m).map_err(|what| invalid(&what))).collect::<Result<_, _>>()?,
        stop_timeout: number("stopTimeout", given.stop_timeout)?,
        start_timeout: number("startTimeout", given.start_timeout)?,
        hostname: set(given.hostname),
        readonly_root_filesystem: given.readonly_root_filesystem,
        privileged: given.privileged,
        ulimits: ulimits.map(ulimit).collect(),
        linux_parameters: linux_convert::parse(given.linux_parameters.unwrap_or_default())
            .map_err(|what| invalid(&what))?,
        docker_labels: given.docker_labels.unwrap_or_default(),
        // One that says nothing is none.
        log_configuration: given
            .log_configuration
            .filter(|log| *log != aws::LogConfiguration::default())
            .map(|log| logging_convert::parse(&name, log))
            .transpose()?,
        depends_on: dependencies.map(dependency).collect::<Result<_, _>>().map_err(|what| invalid(&what))?,
        dns_servers: given.dns_servers.unwrap_or_default(),
        dns_search_domains: given.dns_search_domains.unwrap_or_default(),
        extra_hosts: hosts.map(extra_host).collect(),
        docker_security_options,
        system_controls: controls.map(system_control).collect(),
        secrets,
        environment_files,
        repository_credentials,
        links: given.links.unwrap_or_default(),
        mount_points: volume_convert::mount_points(given.mount_points),
        volumes_from: volume_convert::volumes_from(given.volumes_from),
        interactive: given.interactive,
        pseudo_terminal: given.pseudo_terminal,
        disable_networking: given.disable_networking,
        restart_policy: given.restart_policy.map(restarts).transpose().map_err(|what| invalid(&what))?,
        version_consistency: version_consistency(set(given.version_consistency).as_deref())
            .map_err(|what| invalid(&what))?,
        firelens: given.firelens_configuration.map(|router| logging_convert::router(&name, router)).transpose()?,
        health_check: given.health_check.map(health).transpose().map_err(|what| invalid(&what))?,
        name,
    })
}

fn version_consistency(given: Option<&str>) -> Result<Option<bool>, String> {
    match given {
        None => Ok(None),
        Some("enabled") => Ok(Some(true)),
        Some("disabled") => Ok(Some(false)),
        Some(other) => Err(format!("'versionConsistency' must be enabled or disabled, not '{other}'.")),
    }
}

/// The error says what is wrong; the caller says where.
fn mapping(given: aws::PortMapping) -> Result<PortMapping, String> {
    let port = |what: &str, number: i32| {
        u16::try_from(number).map_err(|_| format!("'{what}' must be between 0 and 65535, not {number}."))
    };
    let host = given.host_port.map(|number| port("hostPort", number)).transpose()?;
    let spec = match (set(given.container_port_range), given.container_port.filter(|number| *number != 0)) {
        (Some(_), Some(_)) => return Err("'containerPort' and 'containerPortRange' exclude each other.".to_owned()),
        (Some(_), None) if host.is_some_and(|host| host != 0) => {
            return Err("'hostPort' must not be given with 'containerPortRange'.".to_owned());
        }
        (Some(range), None) => {
            let ends = range.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
            let (first, last) = ends.ok_or_else(|| format!("'{range}' is not a port range such as 8000-8010."))?;
            PortSpec::Range { first, last }
        }
        (None, container) => PortSpec::Single { container: port("containerPort", container.unwrap_or(0))?, host },
    };
    let protocol = set(given.protocol).map(|protocol| if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp });
    Ok(PortMapping { spec, protocol, name: set(given.name), app_protocol: set(given.app_protocol) })
}

fn ulimit(given: aws::Ulimit) -> Ulimit {
    Ulimit {
        name: given.name.unwrap_or_default(),
        soft: given.soft_limit.unwrap_or(0).into(),
        hard: given.hard_limit.unwrap_or(0).into(),
    }
}

fn dependency(given: aws::ContainerDependency) -> Result<ContainerDependency, String> {
    let condition = given.condition.unwrap_or_default();
    let Some(condition) = DependencyCondition::parse(&condition) else {
        return Err(format!("'{condition}' is no condition of 'dependsOn': START, COMPLETE, SUCCESS or HEALTHY."));
    };
    Ok(ContainerDependency { container_name: given.container_name.unwrap_or_default(), condition })
}

fn extra_host(given: aws::HostEntry) -> ExtraHost {
    let (hostname, ip_address) = (given.hostname.unwrap_or_default(), given.ip_address.unwrap_or_default());
    ExtraHost { hostname, ip_address }
}

fn system_control(given: aws::SystemControl) -> SystemControl {
    SystemControl { namespace: given.namespace.unwrap_or_default(), value: given.value.unwrap_or_default() }
}

fn restarts(given: aws::ContainerRestartPolicy) -> Result<RestartPolicy, String> {
    let period = given.restart_attempt_period.map(u32::try_from).transpose();
    Ok(RestartPolicy {
        enabled: given.enabled.unwrap_or(false),
        ignored_exit_codes: given.ignored_exit_codes.unwrap_or_default(),
        restart_attempt_period: period.map_err(|_| "'restartPolicy.restartAttemptPeriod' must not be negative.")?,
    })
}

/// AWS: what is left out is filled in at once, and shown so.
fn health(given: aws::HealthCheck) -> Result<HealthCheck, String> {
    let number = |what: &str, value: Option<i32>| {
        value.map(u32::try_from).transpose().map_err(|_| format!("'healthCheck.{what}' must not be negative."))
    };
    Ok(HealthCheck {
        command: given.command.unwrap_or_default(),
        interval: number("interval", given.interval)?.unwrap_or(HealthCheck::INTERVAL),
        timeout: number("timeout", given.timeout)?.unwrap_or(HealthCheck::TIMEOUT),
        retries: number("retries", given.retries)?.unwrap_or(HealthCheck::RETRIES),
        start_period: number("startPeriod", given.start_period)?,
    })
}

fn time(at: model::Timestamp) -> wire::Timestamp {
    wire::Timestamp::from_millis(at.0)
}

/// A revision as AWS shows it.
pub(crate) fn render(definition: &TaskDefinition) -> aws::TaskDefinition {
    let spec = &*definition.spec;
    let mode = spec.effective_network_mode();
    let compatibility = |one: &Compatibility| match one {
        Compatibility::Ec2 => "EC2".to_owned(),
        Compatibility::External => "EXTERNAL".to_owned(),
        Compatibility::Fargate => "FARGATE".to_owned(),
    };
    let requires: Vec<String> = spec.requires_compatibilities.iter().map(compatibility).collect();
    let attribute =
        |a: model::Attribute| aws::Attribute { name: Some(a.name), value: a.value, ..aws::Attribute::default() };
    let constraint = |expression: &String| aws::TaskDefinitionPlacementConstraint {
        r#type: Some("memberOf".to_owned()),
        expression: Some(expression.clone()),
    };
    let platform = spec.runtime_platform.as_ref().map(|platform| aws::RuntimePlatform {
        cpu_architecture: platform.cpu_architecture.clone(),
        operating_system_family: platform.operating_system_family.clone(),
    });
    aws::TaskDefinition {
        task_definition_arn: Some(definition.arn.to_string()),
        family: Some(definition.arn.family.to_string()),
        revision: i32::try_from(definition.arn.revision).ok(),
        status: Some(status(definition.status).to_owned()),
        container_definitions: Some(spec.containers.iter().map(|c| shown(c, mode)).collect()),
        volumes: Some(spec.volumes.iter().map(volume_convert::shown).collect()),
        pid_mode: spec.pid_mode.map(|mode| mode.as_str().to_owned()),
        ipc_mode: spec.ipc_mode.map(|mode| mode.as_str().to_owned()),
        placement_constraints: Some(spec.placement_constraints.iter().map(constraint).collect()),
        compatibilities: Some(spec.compatibilities().iter().map(compatibility).collect()),
        ephemeral_storage: spec.ephemeral_storage_gib.map(storage),
        requires_compatibilities: (!requires.is_empty()).then_some(requires),
        requires_attributes: Some(spec.requires_attributes().into_iter().map(attribute).collect()),
        network_mode: spec.network_mode.map(|mode| mode.as_str().to_owned()),
        cpu: spec.cpu.map(|cpu| cpu.0.to_string()),
        memory: spec.memory.map(|memory| memory.0.to_string()),
        execution_role_arn: spec.execution_role_arn.clone(),
        task_role_arn: spec.task_role_arn.clone(),
        runtime_platform: platform,
        registered_at: Some(time(definition.registered_at)),
        registered_by: Some(definition.registered_by.clone()),
        deregistered_at: definition.deregistered_at.map(time),
        delete_requested_at: definition.delete_requested_at.map(time),
        ..aws::TaskDefinition::default()
    }
}

/// A disk's size as AWS shows it.
pub(crate) fn storage(gib: u32) -> aws::EphemeralStorage {
    aws::EphemeralStorage { size_in_gi_b: i32::try_from(gib).ok() }
}

/// AWS's word.
pub(crate) fn status(status: TaskDefinitionStatus) -> &'static str {
    match status {
        TaskDefinitionStatus::Active => "ACTIVE",
        TaskDefinitionStatus::Inactive => "INACTIVE",
        TaskDefinitionStatus::DeleteInProgress => "DELETE_IN_PROGRESS",
    }
}

pub(super) fn signed(number: u32) -> i32 {
    // Every number came in as one of 32 bits with a sign.
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn shown(container: &ContainerDefinition, mode: NetworkMode) -> aws::ContainerDefinition {
    let variable =
        |(name, value): &(String, String)| aws::KeyValuePair { name: Some(name.clone()), value: Some(value.clone()) };
    let ulimit = |ulimit: &Ulimit| aws::Ulimit {
        name: Some(ulimit.name.clone()),
        soft_limit: i32::try_from(ulimit.soft).ok(),
        hard_limit: i32::try_from(ulimit.hard).ok(),
    };
    let mut shown = aws::ContainerDefinition {
        name: Some(container.name.clone()),
        image: Some(container.image.clone()),
        cpu: Some(signed(container.cpu.0)),
        memory: container.memory.map(|memory| signed(memory.0)),
        memory_reservation: container.memory_reservation.map(|memory| signed(memory.0)),
        essential: Some(container.essential),
        command: container.command.clone(),
        entry_point: container.entry_point.clone(),
        environment: Some(container.environment.iter().map(variable).collect()),
        user: container.user.clone(),
        working_directory: container.working_directory.clone(),
        port_mappings: Some(container.port_mappings.iter().map(|m| shown_mapping(m, mode)).collect()),
        mount_points: Some(container.mount_points.iter().map(volume_convert::shown_mount_point).collect()),
        volumes_from: Some(container.volumes_from.iter().map(volume_convert::shown_volume_from).collect()),
        links: some(&container.links),
        interactive: container.interactive,
        pseudo_terminal: container.pseudo_terminal,
        disable_networking: container.disable_networking,
        stop_timeout: container.stop_timeout.map(signed),
        start_timeout: container.start_timeout.map(signed),
        hostname: container.hostname.clone(),
        readonly_root_filesystem: container.readonly_root_filesystem,
        privileged: container.privileged,
        ulimits: listed(&container.ulimits, ulimit),
        linux_parameters: container.linux_parameters.as_ref().map(linux_convert::shown),
        docker_labels: (!container.docker_labels.is_empty()).then(|| container.docker_labels.clone()),
        log_configuration: container.log_configuration.as_ref().map(logging_convert::shown),
        version_consistency: container
            .version_consistency
            .map(|enabled| if enabled { "enabled" } else { "disabled" }.to_owned()),
        firelens_configuration: container.firelens.as_ref().map(logging_convert::shown_router),
        resource_requirements: gpus::requirement(container.gpus),
        restart_policy: container.restart_policy.as_ref().map(|policy| aws::ContainerRestartPolicy {
            enabled: Some(policy.enabled),
            ignored_exit_codes: listed(&policy.ignored_exit_codes, |code| *code),
            restart_attempt_period: policy.restart_attempt_period.map(signed),
        }),
        health_check: container.health_check.as_ref().map(shown_health),
        depends_on: listed(&container.depends_on, |on| aws::ContainerDependency {
            container_name: Some(on.container_name.clone()),
            condition: Some(on.condition.as_str().to_owned()),
        }),
        dns_servers: some(&container.dns_servers),
        dns_search_domains: some(&container.dns_search_domains),
        extra_hosts: listed(&container.extra_hosts, |host| aws::HostEntry {
            hostname: Some(host.hostname.clone()),
            ip_address: Some(host.ip_address.clone()),
        }),
        docker_security_options: some(&container.docker_security_options),
        system_controls: Some(container.system_controls.iter().map(shown_control).collect()),
        ..aws::ContainerDefinition::default()
    };
    provided::show(container, &mut shown);
    shown
}

fn shown_control(control: &SystemControl) -> aws::SystemControl {
    aws::SystemControl { namespace: Some(control.namespace.clone()), value: Some(control.value.clone()) }
}

/// Lists that say nothing are not shown.
pub(super) fn some(words: &[String]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.to_vec())
}

pub(super) fn listed<T, R>(all: &[T], one: impl Fn(&T) -> R) -> Option<Vec<R>> {
    (!all.is_empty()).then(|| all.iter().map(one).collect())
}

fn shown_health(check: &HealthCheck) -> aws::HealthCheck {
    aws::HealthCheck {
        command: Some(check.command.clone()),
        interval: Some(signed(check.interval)),
        timeout: Some(signed(check.timeout)),
        retries: Some(signed(check.retries)),
        start_period: check.start_period.map(signed),
    }
}

/// AWS: what was left out is shown as what holds: `tcp`, host port 0 in bridge mode and the container's own in host mode.
fn shown_mapping(mapping: &PortMapping, mode: NetworkMode) -> aws::PortMapping {
    let (container_port, host_port, range) = match mapping.spec {
        PortSpec::Single { container, host } => {
            let host = match mode {
                NetworkMode::Bridge => host.unwrap_or(0),
                NetworkMode::Host | NetworkMode::None | NetworkMode::Awsvpc => container,
            };
            (Some(container.into()), Some(host.into()), None)
        }
        PortSpec::Range { first, last } => (None, None, Some(format!("{first}-{last}"))),
    };
    aws::PortMapping {
        container_port,
        host_port,
        container_port_range: range,
        protocol: Some(mapping.effective_protocol().as_str().to_owned()),
        name: mapping.name.clone(),
        app_protocol: mapping.app_protocol.clone(),
    }
}

//! Compose services as container definitions. The mapping is the ECS CLI's; what Longshore does not honour yet is passed on,
//! so that the server refuses it by name instead of this file dropping it.

use super::{
    file::{self, Source, Version},
    params::{Params, Service},
    value::{bytes, mebibytes, pairs, seconds, text, texts, words},
};
use crate::cli::say;
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use shapes::ecs;
use std::collections::BTreeMap;

/// Keys that compose knows and a task definition has no place for: a warning each.
const SKIPPED: &[&str] = &[
    "build",
    "cgroup_parent",
    "container_name",
    "cpu_quota",
    "cpuset",
    "depends_on",
    "deploy",
    "domainname",
    "expose",
    "external_links",
    "group_add",
    "init",
    "ipc",
    "isolation",
    "mac_address",
    "mem_swappiness",
    "memswap_limit",
    "net",
    "network_mode",
    "networks",
    "oom_score_adj",
    "pid",
    "restart",
    "stdin_open",
    "stop_signal",
    "sysctls",
    "userns_mode",
    "volume_driver",
    "profiles",
    "platform",
    "pull_policy",
];

/// The whole definition.
pub(super) fn definition(
    source: &Source,
    params: &Params,
    task_role: Option<&str>,
    launch_type: Option<&str>,
) -> Result<ecs::RegisterTaskDefinitionRequest> {
    let task = &params.task_definition;
    let mut volumes: Vec<ecs::Volume> =
        source.volumes.iter().map(|n| ecs::Volume { name: Some(n.clone()), ..Default::default() }).collect();
    let mut containers = Vec::new();
    let none = Service::default();
    let sized = task.task_size.mem_limit.is_some();
    for (name, service) in &source.services {
        let own = task.services.get(name).unwrap_or(&none);
        containers.push(container(source, name, service, own, sized, &mut volumes)?);
    }
    if !containers.iter().any(|c| c.essential == Some(true)) {
        bail!("at least one container of the task must be essential; see ecs-params");
    }
    let constraints = task
        .placement_constraints
        .iter()
        .map(|c| ecs::TaskDefinitionPlacementConstraint { r#type: c.r#type.clone(), expression: c.expression.clone() });
    Ok(ecs::RegisterTaskDefinitionRequest {
        family: Some(source.project.clone()),
        container_definitions: Some(containers),
        volumes: (!volumes.is_empty()).then_some(volumes),
        network_mode: task.ecs_network_mode.clone(),
        task_role_arn: task_role.map(str::to_owned).or_else(|| task.task_role_arn.clone()),
        execution_role_arn: task.task_execution_role.clone(),
        pid_mode: task.pid_mode.clone(),
        ipc_mode: task.ipc_mode.clone(),
        cpu: task.task_size.cpu_limit.as_ref().and_then(text),
        memory: task.task_size.mem_limit.as_ref().and_then(text),
        placement_constraints: (!task.placement_constraints.is_empty()).then(|| constraints.collect()),
        requires_compatibilities: launch_type.map(|l| vec![l.to_owned()]),
        ..Default::default()
    })
}

fn container(
    source: &Source,
    name: &str,
    service: &Map<String, Value>,
    own: &Service,
    sized: bool,
    volumes: &mut Vec<ecs::Volume>,
) -> Result<ecs::ContainerDefinition> {
    let mut c = ecs::ContainerDefinition {
        name: Some(name.to_owned()),
        essential: Some(own.essential.unwrap_or(true)),
        ..Default::default()
    };
    for (key, value) in service {
        if value.is_null() || SKIPPED.contains(&key.as_str()) {
            if !value.is_null() {
                file::skip(key, name);
            }
            continue;
        }
        set(source, &mut c, key, value, volumes).with_context(|| format!("service {name}: {key}"))?;
    }
    environment(source, &mut c, service).with_context(|| format!("service {name}: environment"))?;
    if source.version == Version::V1 {
        v1_logging(&mut c, service)?;
    }
    if c.image.is_none() {
        bail!("service {name} has no image; images are pulled from a registry, not built");
    }
    own_params(&mut c, own, sized)?;
    Ok(c)
}

fn set(
    source: &Source,
    c: &mut ecs::ContainerDefinition,
    key: &str,
    value: &Value,
    volumes: &mut Vec<ecs::Volume>,
) -> Result<()> {
    match key {
        "image" => c.image = text(value),
        "command" => c.command = Some(words(key, value)?),
        "entrypoint" => c.entry_point = Some(words(key, value)?),
        "hostname" => c.hostname = text(value),
        "user" => c.user = text(value),
        "working_dir" => c.working_directory = text(value),
        "privileged" => c.privileged = value.as_bool(),
        "read_only" => c.readonly_root_filesystem = value.as_bool(),
        "tty" => c.pseudo_terminal = value.as_bool(),
        "links" => c.links = Some(texts(key, value)?),
        "dns" => c.dns_servers = Some(texts(key, value)?),
        "dns_search" => c.dns_search_domains = Some(texts(key, value)?),
        "security_opt" => c.docker_security_options = Some(texts(key, value)?),
        "cpu_shares" => c.cpu = Some(text(value).and_then(|t| t.parse().ok()).context("must be a number")?),
        "mem_limit" => c.memory = Some(mebibytes(key, value)?),
        "mem_reservation" => c.memory_reservation = Some(mebibytes(key, value)?),
        "stop_grace_period" => c.stop_timeout = Some(seconds(key, value)?),
        "labels" => {
            let labels = pairs(key, value)?.into_iter().map(|(k, v)| (k, v.unwrap_or_default()));
            c.docker_labels = Some(labels.collect());
        }
        "ports" => c.port_mappings = Some(ports(value, c.name.as_deref().unwrap_or_default())?),
        "ulimits" => c.ulimits = Some(ulimits(value)?),
        "logging" => c.log_configuration = Some(logging(value)?),
        "extra_hosts" => {
            let split = |h: String| {
                let (name, ip) =
                    h.split_once(':').map(|(n, i)| (n.to_owned(), i.to_owned())).context("must be name:ip")?;
                Ok(ecs::HostEntry { hostname: Some(name), ip_address: Some(ip) })
            };
            c.extra_hosts = Some(texts(key, value)?.into_iter().map(split).collect::<Result<_>>()?);
        }
        "cap_add" | "cap_drop" | "devices" | "shm_size" | "tmpfs" => linux(c, key, value)?,
        "volumes" => c.mount_points = Some(mounts(source, value, volumes)?),
        "volumes_from" => {
            let from = texts(key, value)?.into_iter().map(|v| {
                let (service, mode) = v.split_once(':').unwrap_or((&v, "rw"));
                ecs::VolumeFrom { source_container: Some(service.to_owned()), read_only: Some(mode == "ro") }
            });
            c.volumes_from = Some(from.collect());
        }
        "healthcheck" => c.health_check = health(value)?,
        "environment" | "env_file" => {}
        "log_driver" | "log_opt" if source.version == Version::V1 => {}
        other => bail!("Unsupported config option for a service: '{other}'"),
    }
    Ok(())
}

/// `environment` beats `env_file`; a key without a value is taken from the shell.
fn environment(source: &Source, c: &mut ecs::ContainerDefinition, service: &Map<String, Value>) -> Result<()> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut take = |given: Vec<(String, Option<String>)>| {
        for (key, value) in given {
            let value = value.or_else(|| source.environment.get(&key).cloned()).unwrap_or_else(|| {
                say::warn("Environment variable is unresolved. Setting it to a blank value...", &[("key name", &key)]);
                String::new()
            });
            all.insert(key, value);
        }
    };
    if let Some(files) = service.get("env_file") {
        for path in texts("env_file", files)? {
            take(file::env_file(&source.folder.join(path))?);
        }
    }
    if let Some(given) = service.get("environment") {
        take(pairs("environment", given)?);
    }
    if !all.is_empty() {
        let pairs = all.into_iter().map(|(k, v)| ecs::KeyValuePair { name: Some(k), value: Some(v) });
        c.environment = Some(pairs.collect());
    }
    Ok(())
}

fn v1_logging(c: &mut ecs::ContainerDefinition, service: &Map<String, Value>) -> Result<()> {
    if let Some(driver) = service.get("log_driver") {
        let options = service.get("log_opt").map(|o| pairs("log_opt", o)).transpose()?.unwrap_or_default();
        c.log_configuration = Some(ecs::LogConfiguration {
            log_driver: text(driver),
            options: Some(options.into_iter().map(|(k, v)| (k, v.unwrap_or_default())).collect()),
            ..Default::default()
        });
    }
    Ok(())
}

fn own_params(c: &mut ecs::ContainerDefinition, own: &Service, sized: bool) -> Result<()> {
    let name = c.name.clone().unwrap_or_default();
    if let Some(init) = own.init_process_enabled {
        c.linux_parameters.get_or_insert_default().init_process_enabled = Some(init);
    }
    if let Some(cpu) = own.cpu_shares {
        replaced("CPU", &name, c.cpu, cpu);
        c.cpu = Some(cpu);
    }
    if let Some(limit) = &own.mem_limit {
        let limit = mebibytes("mem_limit", limit)?;
        replaced("MemoryLimit", &name, c.memory, limit);
        c.memory = Some(limit);
    }
    if let Some(reservation) = &own.mem_reservation {
        let reservation = mebibytes("mem_reservation", reservation)?;
        replaced("MemoryReservation", &name, c.memory_reservation, reservation);
        c.memory_reservation = Some(reservation);
    }
    if let (Some(limit), Some(reservation)) = (c.memory, c.memory_reservation)
        && reservation > limit
    {
        bail!("service {name}: mem_limit must be greater than mem_reservation");
    }
    // AWS: without any size a container gets 512 MiB.
    if c.memory.is_none() && c.memory_reservation.is_none() && !sized {
        c.memory = Some(512);
    }
    Ok(())
}

fn replaced(option: &str, service: &str, old: Option<i32>, new: i32) {
    if let Some(old) = old.filter(|old| *old != new) {
        let text = format!("Using ecs-params value as override (was {old} but is now {new})");
        say::info(&text, &[("option name", option), ("service name", service)]);
    }
}

fn linux(c: &mut ecs::ContainerDefinition, key: &str, value: &Value) -> Result<()> {
    let linux = c.linux_parameters.get_or_insert_default();
    match key {
        "cap_add" => linux.capabilities.get_or_insert_default().add = Some(texts(key, value)?),
        "cap_drop" => linux.capabilities.get_or_insert_default().drop = Some(texts(key, value)?),
        "shm_size" => linux.shared_memory_size = i32::try_from(bytes(key, value)? >> 20).ok(),
        "tmpfs" => linux.tmpfs = Some(texts(key, value)?.iter().map(|t| tmpfs(t)).collect::<Result<_>>()?),
        _ => {
            let device = |d: String| {
                let mut parts = d.split(':');
                let permission = |p: &str| {
                    let word = |c| match c {
                        'r' => Some("read".to_owned()),
                        'w' => Some("write".to_owned()),
                        'm' => Some("mknod".to_owned()),
                        _ => None,
                    };
                    p.chars().filter_map(word).collect()
                };
                ecs::Device {
                    host_path: parts.next().map(str::to_owned),
                    container_path: parts.next().map(str::to_owned),
                    permissions: Some(permission(parts.next().unwrap_or("rwm"))),
                }
            };
            linux.devices = Some(texts(key, value)?.into_iter().map(device).collect());
        }
    }
    Ok(())
}

fn tmpfs(given: &str) -> Result<ecs::Tmpfs> {
    let (path, options) = given.split_once(':').unwrap_or((given, ""));
    let (mut size, mut rest) = (None, Vec::new());
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option.strip_prefix("size=") {
            Some(amount) => size = Some(mebibytes("tmpfs size", &Value::String(amount.to_owned()))?),
            None => rest.push(option.to_owned()),
        }
    }
    let size = size.with_context(|| format!("tmpfs {path} needs a size, such as {path}:size=64m"))?;
    let mount_options = (!rest.is_empty()).then_some(rest);
    Ok(ecs::Tmpfs { container_path: Some(path.to_owned()), size: Some(size), mount_options })
}

fn ulimits(value: &Value) -> Result<Vec<ecs::Ulimit>> {
    let Value::Object(limits) = value else { bail!("must be a mapping") };
    let number = |v: &Value| text(v).and_then(|t| t.parse::<i32>().ok()).context("a limit must be a number");
    limits
        .iter()
        .map(|(name, limit)| {
            let (soft, hard) = match limit {
                Value::Object(both) => {
                    let of = |key: &str| number(both.get(key).with_context(|| format!("{name} needs {key}"))?);
                    (of("soft")?, of("hard")?)
                }
                one => (number(one)?, number(one)?),
            };
            Ok(ecs::Ulimit { name: Some(name.clone()), soft_limit: Some(soft), hard_limit: Some(hard) })
        })
        .collect()
}

fn logging(value: &Value) -> Result<ecs::LogConfiguration> {
    let options = value.get("options").map(|o| pairs("options", o)).transpose()?;
    Ok(ecs::LogConfiguration {
        log_driver: value.get("driver").and_then(text),
        options: options.map(|o| o.into_iter().map(|(k, v)| (k, v.unwrap_or_default())).collect()),
        ..Default::default()
    })
}

fn health(value: &Value) -> Result<Option<ecs::HealthCheck>> {
    if value.get("disable").and_then(Value::as_bool) == Some(true) {
        return Ok(None);
    }
    let command = match value.get("test").context("needs a test")? {
        Value::String(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        list => texts("test", list)?,
    };
    let time = |key: &str| value.get(key).map(|v| seconds(key, v)).transpose();
    Ok(Some(ecs::HealthCheck {
        command: Some(command),
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start_period")?,
        retries: value.get("retries").and_then(text).and_then(|t| t.parse().ok()),
    }))
}

/// `[ip:]host:container[/protocol]`, `container`, and ranges of either.
fn ports(value: &Value, container: &str) -> Result<Vec<ecs::PortMapping>> {
    let mut mappings = Vec::new();
    for given in texts("ports", value)? {
        let (ports, protocol) = given.split_once('/').unwrap_or((&given, "tcp"));
        let mut parts: Vec<_> = ports.rsplitn(3, ':').collect();
        parts.reverse();
        if parts.len() == 3 {
            let text = "Ignoring the ip address while transforming it to task definition";
            say::warn(text, &[("container", container), ("portMapping", &given)]);
            parts.remove(0);
        }
        let inside = range(parts.pop().unwrap_or_default()).with_context(|| format!("'{given}' is not a port"))?;
        let outside = match parts.pop() {
            Some(host) if !host.is_empty() => Some(range(host).with_context(|| format!("'{given}' is not a port"))?),
            _ => None,
        };
        if outside.as_ref().is_some_and(|o| o.len() != inside.len()) {
            bail!("'{given}': the two ranges differ in length");
        }
        for (at, port) in inside.into_iter().enumerate() {
            let host = outside.as_ref().map_or(0, |o| o[at]);
            mappings.push(ecs::PortMapping {
                container_port: Some(i32::from(port)),
                host_port: Some(i32::from(host)),
                protocol: Some(protocol.to_owned()),
                ..Default::default()
            });
        }
    }
    Ok(mappings)
}

fn range(text: &str) -> Option<Vec<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| (first..=last).collect())
}

/// Mount points; a path or an anonymous volume gets a made-up volume of the task.
fn mounts(source: &Source, value: &Value, volumes: &mut Vec<ecs::Volume>) -> Result<Vec<ecs::MountPoint>> {
    let mut mounts = Vec::new();
    for given in texts("volumes", value)? {
        let parts: Vec<_> = given.split(':').collect();
        let (from, to, mode) = match *parts.as_slice() {
            [to] => (None, to, "rw"),
            [from, to] => (Some(from), to, "rw"),
            [from, to, mode] => (Some(from), to, mode),
            _ => bail!("'{given}' is not source:path[:ro]"),
        };
        let is_path = from.is_some_and(|f| f.starts_with(['/', '.', '~']));
        let name = match from {
            Some(named) if !is_path => {
                if !source.volumes.iter().any(|v| v == named) {
                    bail!("volume {named} is not declared under the top-level volumes");
                }
                named.to_owned()
            }
            path => {
                let name = format!("volume-{}", volumes.len());
                let host = path.map(|p| ecs::HostVolumeProperties { source_path: Some(host_path(source, p)) });
                volumes.push(ecs::Volume { name: Some(name.clone()), host, ..Default::default() });
                name
            }
        };
        mounts.push(ecs::MountPoint {
            source_volume: Some(name),
            container_path: Some(to.to_owned()),
            read_only: Some(mode == "ro"),
        });
    }
    Ok(mounts)
}

/// AWS: relative host paths stay relative in v1 and v2 and become absolute in v3.
fn host_path(source: &Source, path: &str) -> String {
    if source.version == Version::V3 && path.starts_with('.') {
        source.folder.join(path).to_string_lossy().into_owned()
    } else {
        path.to_owned()
    }
}

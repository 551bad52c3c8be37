//! Compose services as container definitions. The mapping is the ECS CLI's; what Longshore does not honour yet is passed on,
//! so that the server refuses it by name instead of this file dropping it.

use super::{
    file::{Source, Version},
    overlay,
    params::Params,
    ports, reading,
    value::{boolean, integer, mebibytes, pairs, scalar, seconds, text, texts, words},
    volumes::Volumes,
};
use crate::cli::say;
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use shapes::ecs;
use std::collections::BTreeMap;

/// What the command line says of a definition.
#[derive(Debug, Default)]
pub(super) struct Flags {
    pub(super) task_role_arn: Option<String>,
    pub(super) launch_type: Option<String>,
    pub(super) tags: Vec<ecs::Tag>,
    /// What the legacy configuration puts before the project's name; nothing, mostly.
    pub(super) prefix: String,
}

/// The whole definition.
pub(super) fn definition(
    source: &Source,
    params: &Params,
    flags: &Flags,
) -> Result<ecs::RegisterTaskDefinitionRequest> {
    let task = &params.task_definition;
    for name in task.services.keys().filter(|name| !source.services.contains_key(*name)) {
        say::warn("The ecs-params file names a service that no compose file has", &[("service name", name)]);
    }
    let mut volumes = Volumes::new(source);
    let mut containers = Vec::new();
    for (name, service) in &source.services {
        let mut container = container(source, params, name, service, &mut volumes)?;
        let sized = task.task_size.mem_limit.is_some();
        overlay::apply(&mut container, task.services.get(name), sized).with_context(|| format!("service {name}"))?;
        containers.push(container);
    }
    if !containers.iter().any(|c| c.essential == Some(true)) {
        bail!("Task definition does not have any essential containers");
    }
    let constraints = task
        .placement_constraints
        .iter()
        .map(|c| ecs::TaskDefinitionPlacementConstraint { r#type: c.r#type.clone(), expression: c.expression.clone() });
    Ok(ecs::RegisterTaskDefinitionRequest {
        family: Some(format!("{}{}", flags.prefix, source.project)),
        container_definitions: Some(containers),
        volumes: volumes.finish(task)?,
        network_mode: task.ecs_network_mode.clone(),
        task_role_arn: flags.task_role_arn.clone().or_else(|| task.task_role_arn.clone()),
        execution_role_arn: task.task_execution_role.clone(),
        pid_mode: task.pid_mode.clone(),
        ipc_mode: task.ipc_mode.clone(),
        cpu: task.task_size.cpu_limit.clone(),
        memory: task.task_size.mem_limit.clone(),
        placement_constraints: (!task.placement_constraints.is_empty()).then(|| constraints.collect()),
        requires_compatibilities: flags.launch_type.as_ref().map(|launch_type| vec![launch_type.clone()]),
        tags: (!flags.tags.is_empty()).then(|| flags.tags.clone()),
        ..Default::default()
    })
}

fn container(
    source: &Source,
    params: &Params,
    name: &str,
    service: &Map<String, Value>,
    volumes: &mut Volumes,
) -> Result<ecs::ContainerDefinition> {
    let mut c = ecs::ContainerDefinition { name: Some(name.to_owned()), ..Default::default() };
    environment(source, &mut c, service).with_context(|| format!("service {name}: environment"))?;
    for (key, value) in service {
        let done = match key.as_str() {
            "volumes" => volumes.mounts(source, &params.task_definition, value).map(|m| c.mount_points = Some(m)),
            _ => set(&mut c, name, key, value),
        };
        done.with_context(|| format!("service {name}: {key}"))?;
    }
    log_driver(&mut c, service)?;
    if c.image.is_none() {
        bail!("service {name} has no image; images are pulled from a registry, not built");
    }
    Ok(c)
}

fn set(c: &mut ecs::ContainerDefinition, name: &str, key: &str, value: &Value) -> Result<()> {
    match key {
        "image" => c.image = Some(scalar(key, value)?),
        "command" => c.command = Some(words(key, value)?),
        "entrypoint" => c.entry_point = Some(words(key, value)?),
        "hostname" => c.hostname = Some(scalar(key, value)?),
        "user" => c.user = Some(scalar(key, value)?),
        "working_dir" => c.working_directory = Some(scalar(key, value)?),
        "privileged" => c.privileged = Some(boolean(key, value)?),
        "read_only" => c.readonly_root_filesystem = Some(boolean(key, value)?),
        "tty" => c.pseudo_terminal = Some(boolean(key, value)?),
        "links" => c.links = Some(texts(key, value)?),
        "dns" => c.dns_servers = Some(texts(key, value)?),
        "dns_search" => c.dns_search_domains = Some(texts(key, value)?),
        "security_opt" => c.docker_security_options = Some(texts(key, value)?),
        "cpu_shares" => c.cpu = Some(integer(key, value)?),
        "mem_limit" => c.memory = Some(mebibytes(key, value)?),
        "mem_reservation" => c.memory_reservation = Some(mebibytes(key, value)?),
        "stop_grace_period" => c.stop_timeout = Some(seconds(key, value)?),
        "labels" => {
            let labels = pairs(key, value)?.into_iter().map(|(k, v)| (k, v.unwrap_or_default()));
            c.docker_labels = Some(labels.collect());
        }
        "ports" => c.port_mappings = Some(ports::mappings(value, name)?),
        "ulimits" => c.ulimits = Some(ulimits(value)?),
        "logging" => c.log_configuration = Some(logging(name, value)?),
        "extra_hosts" => c.extra_hosts = Some(hosts(key, value)?),
        "cap_add" | "cap_drop" | "devices" | "init" | "shm_size" | "tmpfs" => linux(c, key, value)?,
        "volumes_from" => {
            c.volumes_from = Some(texts(key, value)?.iter().map(|v| volume_from(v)).collect::<Result<_>>()?)
        }
        "healthcheck" => c.health_check = health(name, value)?,
        // They belong together and are read together.
        "environment" | "env_file" | "log_driver" | "log_opt" => {}
        other => bail!("Unsupported config option for a service: '{other}'"),
    }
    Ok(())
}

/// `environment` beats `env_file`; a key without a value is taken from the shell.
fn environment(source: &Source, c: &mut ecs::ContainerDefinition, service: &Map<String, Value>) -> Result<()> {
    let mut given = Vec::new();
    if let Some(files) = service.get("env_file") {
        for (path, required) in env_files(files)? {
            let path = source.folder.join(path);
            if required || path.exists() {
                given.extend(reading::env_file(&path)?);
            }
        }
    }
    if let Some(pairs_) = service.get("environment") {
        given.extend(pairs("environment", pairs_)?);
    }
    // AWS: in versions 1 and 2 an empty value is as good as none.
    let empty_is_none = matches!(source.version, Version::V1 | Version::V2);
    let given: BTreeMap<_, _> = given.into_iter().collect();
    let resolve = |(key, value): (String, Option<String>)| {
        let value = value.filter(|value| !(value.is_empty() && empty_is_none));
        let value = value.or_else(|| source.environment.get(&key).cloned()).unwrap_or_else(|| {
            // AWS: the original's two readers each say it.
            if say::is_ecs_cli() || !source.missing.contains(&key) {
                say::warn("Environment variable is unresolved. Setting it to a blank value...", &[("key name", &key)]);
            }
            String::new()
        });
        ecs::KeyValuePair { name: Some(key), value: Some(value) }
    };
    if !given.is_empty() {
        c.environment = Some(given.into_iter().map(resolve).collect());
    }
    Ok(())
}

/// The files of `env_file` and whether each must be there: a path, or a list of paths and of `{path, required}`.
fn env_files(value: &Value) -> Result<Vec<(String, bool)>> {
    let one = |value: &Value| {
        let Value::Object(long) = value else {
            let path = text(value).context("env_file must contain paths, or {path, required} with a path")?;
            return Ok((path, true));
        };
        let (mut path, mut required) = (None, true);
        for (key, value) in long {
            match key.as_str() {
                "path" => path = Some(scalar(key, value)?),
                "required" => required = boolean(key, value)?,
                other => bail!("{other} of an env_file cannot be honoured; it has path and required"),
            }
        }
        Ok((path.context("an env_file needs a path")?, required))
    };
    match value {
        Value::Array(items) => items.iter().map(one).collect(),
        single => Ok(vec![one(single)?]),
    }
}

/// How version 1 writes logging.
fn log_driver(c: &mut ecs::ContainerDefinition, service: &Map<String, Value>) -> Result<()> {
    if let Some(driver) = service.get("log_driver") {
        let options = service.get("log_opt").map(|o| pairs("log_opt", o)).transpose()?.unwrap_or_default();
        c.log_configuration = Some(ecs::LogConfiguration {
            log_driver: Some(scalar("log_driver", driver)?),
            options: Some(options.into_iter().map(|(k, v)| (k, v.unwrap_or_default())).collect()),
            ..Default::default()
        });
    }
    Ok(())
}

fn hosts(key: &str, value: &Value) -> Result<Vec<ecs::HostEntry>> {
    let entry =
        |name: &str, ip: &str| ecs::HostEntry { hostname: Some(name.to_owned()), ip_address: Some(ip.to_owned()) };
    if let Value::Object(hosts) = value {
        return hosts.iter().map(|(name, ip)| Ok(entry(name, &text(ip).context("must be name: ip")?))).collect();
    }
    let split = |host: &String| {
        let (name, ip) = host.split_once(':').context("must be name:ip")?;
        Ok(entry(name, ip))
    };
    texts(key, value)?.iter().map(split).collect()
}

fn volume_from(given: &str) -> Result<ecs::VolumeFrom> {
    // Version 2 may say that it means a service of this project; it cannot mean a container that is none.
    if given.starts_with("container:") {
        bail!("'{given}': only volumes of services of the same project can be used");
    }
    let given = given.strip_prefix("service:").unwrap_or(given);
    let (service, mode) = given.split_once(':').unwrap_or((given, "rw"));
    if !matches!(mode, "ro" | "rw") {
        bail!("'{given}': the mode must be ro or rw");
    }
    Ok(ecs::VolumeFrom { source_container: Some(service.to_owned()), read_only: Some(mode == "ro") })
}

fn linux(c: &mut ecs::ContainerDefinition, key: &str, value: &Value) -> Result<()> {
    let linux = c.linux_parameters.get_or_insert_default();
    match key {
        "cap_add" => linux.capabilities.get_or_insert_default().add = Some(texts(key, value)?),
        "cap_drop" => linux.capabilities.get_or_insert_default().drop = Some(texts(key, value)?),
        "init" => linux.init_process_enabled = Some(boolean(key, value)?),
        "shm_size" => linux.shared_memory_size = Some(mebibytes(key, value)?),
        "tmpfs" => linux.tmpfs = Some(texts(key, value)?.iter().map(|t| tmpfs(t)).collect::<Result<_>>()?),
        _ => linux.devices = Some(texts(key, value)?.iter().map(|d| device(d)).collect::<Result<_>>()?),
    }
    Ok(())
}

/// `host[:container[:rwm]]`
fn device(given: &str) -> Result<ecs::Device> {
    let mut parts = given.split(':');
    let host = parts.next().map(str::to_owned);
    let container = parts.next().map(str::to_owned);
    let permission = |c| match c {
        'r' => Ok("read".to_owned()),
        'w' => Ok("write".to_owned()),
        'm' => Ok("mknod".to_owned()),
        _ => bail!("'{given}': permissions are made of r, w and m"),
    };
    let permissions = parts.next().map(|letters| letters.chars().map(permission).collect::<Result<_>>()).transpose()?;
    Ok(ecs::Device { host_path: host, container_path: container, permissions })
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
    let number = |v: &Value| integer("a limit", v);
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

/// The members of a mapping; those that have no place are said.
fn members<'a>(service: &str, option: &str, value: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>> {
    let Value::Object(members) = value else { bail!("must be a mapping") };
    for key in members.keys().filter(|key| !known.contains(&key.as_str())) {
        let fields = [("option name", &*format!("{option}.{key}")), ("service name", service)];
        say::warn("Skipping unsupported YAML option for service...", &fields);
    }
    Ok(members)
}

fn logging(service: &str, value: &Value) -> Result<ecs::LogConfiguration> {
    let members = members(service, "logging", value, &["driver", "options"])?;
    let member = |key: &str| members.get(key).filter(|given| !given.is_null());
    let options = member("options").map(|o| pairs("options", o)).transpose()?;
    Ok(ecs::LogConfiguration {
        log_driver: member("driver").map(|driver| scalar("driver", driver)).transpose()?,
        options: options.map(|o| o.into_iter().map(|(k, v)| (k, v.unwrap_or_default())).collect()),
        ..Default::default()
    })
}

fn health(service: &str, value: &Value) -> Result<Option<ecs::HealthCheck>> {
    let known = ["disable", "test", "interval", "timeout", "start_period", "retries"];
    let value = members(service, "healthcheck", value, &known)?;
    let disabled = value.get("disable").map(|given| boolean("disable", given)).transpose()?;
    if disabled == Some(true) {
        return Ok(None);
    }
    let command = check_command(value.get("test").context("needs a test")?)?;
    let time = |key: &str| value.get(key).map(|v| seconds(key, v)).transpose();
    Ok(Some(ecs::HealthCheck {
        command: Some(command),
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start_period")?,
        retries: value.get("retries").map(|given| integer("retries", given)).transpose()?,
    }))
}

/// A health check's command: a line is for the shell.
pub(super) fn check_command(test: &Value) -> Result<Vec<String>> {
    match test {
        Value::String(line) => Ok(vec!["CMD-SHELL".to_owned(), line.clone()]),
        list => texts("test", list),
    }
}

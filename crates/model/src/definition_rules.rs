//! What a task definition may say: the rules that hold between members, beyond the model's own constraints.
//!
//! The texts are the ones clients see with `ClientException`. Source of rules and texts: the service model's
//! documentation, the ECS developer guide and the emulators' tables in our notes on the original.

use crate::{
    Compatibility, ContainerDefinition, CpuUnits, HealthCheck, MemoryMib, NetworkMode, Port, PortSpec, Protocol,
    TaskDefinitionSpec, TaskOverrides,
};
use std::collections::BTreeSet;

/// A rule that a definition breaks; the text says which and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDefinition(pub String);

pub(crate) fn refuse(text: impl Into<String>) -> Result<(), InvalidDefinition> {
    Err(InvalidDefinition(text.into()))
}

/// Containers per task definition, a fixed quota of the original that users ask to be lifted; here it only bounds work.
pub const MAX_CONTAINERS: usize = 100;
/// Characters of an image's name, as AWS has it.
const LONGEST_IMAGE: usize = 255;
/// The least memory a container can be given. Source: `ContainerDefinition$memory`.
pub const MIN_CONTAINER_MEMORY: MemoryMib = MemoryMib(6);
/// Ranges one definition may publish. Source: `PortMapping$containerPortRange`.
pub const MAX_PORT_RANGES: usize = 100;
/// Ports that the agent and the system keep. Source: `PortMapping$hostPort`.
pub const RESERVED_PORTS: [u16; 5] = [22, 2375, 2376, 51678, 51679];
/// The smallest and largest task-level CPU on container instances. Source: `Task$cpu`, 2026.
pub const TASK_CPU: std::ops::RangeInclusive<u32> = 128..=196_608;

/// Longest name of a port mapping. Source: `PortMapping$name`.
const MAX_PORT_NAME: usize = 64;

/// Source: `PortMapping$name`.
fn is_port_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    !name.is_empty() && name.len() <= MAX_PORT_NAME && !name.starts_with('-') && name.bytes().all(allowed)
}

/// Source: `HealthCheck`. AWS does not publish the texts. AWS: a command that begins otherwise is let in there, and never tried.
fn check_health(name: &str, check: &HealthCheck) -> Result<(), InvalidDefinition> {
    let setting = |what: &str| refuse(format!("Invalid setting for container '{name}'. {what}"));
    match check.command.split_first().map(|(kind, rest)| (kind.as_str(), rest)) {
        None => return setting("'healthCheck.command' must not be empty."),
        Some(("CMD" | "CMD-SHELL", [first, ..])) if !first.is_empty() => {}
        Some(("CMD" | "CMD-SHELL", _)) => return setting("'healthCheck.command' does not say what to run."),
        Some(("NONE", [])) => {}
        Some(_) => return setting("'healthCheck.command' must start with CMD or CMD-SHELL."),
    }
    if check.command.iter().any(|word| word.contains('\0')) {
        return setting("'healthCheck.command' contains a NUL byte.");
    }
    let numbers = [
        ("interval", Some(check.interval), 5..=300),
        ("timeout", Some(check.timeout), 2..=60),
        ("retries", Some(check.retries), 1..=10),
        ("startPeriod", check.start_period, 0..=300),
    ];
    for (what, value, range) in numbers {
        if value.is_some_and(|value| !range.contains(&value)) {
            let (first, last) = (range.start(), range.end());
            return setting(&format!("'healthCheck.{what}' must be between {first} and {last}."));
        }
    }
    Ok(())
}

impl TaskDefinitionSpec {
    /// Checks everything that the types do not already make unsayable.
    pub fn check(&self) -> Result<(), InvalidDefinition> {
        if self.containers.is_empty() {
            return refuse("Task definition does not have any container definitions.");
        }
        if self.containers.len() > MAX_CONTAINERS {
            return refuse(format!("Too many containers. There can be up to {MAX_CONTAINERS}."));
        }
        if !self.containers.iter().any(|c| c.essential) {
            return refuse("A task definition must have at least one essential container.");
        }
        let on_fargate = self.requires_compatibilities.contains(&Compatibility::Fargate);
        if on_fargate {
            self.check_new_on_fargate()?;
        }
        if self.cpu.is_some_and(|CpuUnits(cpu)| !TASK_CPU.contains(&cpu)) {
            return refuse(
                "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon \
                 ECS Developer Guide.",
            );
        }
        // AWS: does not publish the text. A container without memory of its own has the task's, so what holds for one holds here.
        if self.memory.is_some_and(|memory| memory < MIN_CONTAINER_MEMORY) {
            return refuse("Invalid 'memory' setting for task. It must be at least 6 MiB, which a container needs.");
        }
        let mut names = BTreeSet::new();
        for container in &self.containers {
            if !names.insert(container.name.as_str()) {
                return refuse(format!("Container names must be unique: '{}' is used twice.", container.name));
            }
            self.check_container(container)?;
        }
        self.check_logging()?;
        crate::container_order::check(&self.containers_with(&TaskOverrides::default()))?;
        self.check_sharing()?;
        self.check_volumes()?;
        self.check_secret_files()?;
        self.check_sums()?;
        self.check_ports()?;
        if self.ephemeral_storage_gib.is_some() && !on_fargate {
            return refuse("EphemeralStorage is only supported for task definitions that require FARGATE.");
        }
        Ok(())
    }

    fn check_sums(&self) -> Result<(), InvalidDefinition> {
        if let Some(CpuUnits(task)) = self.cpu {
            let sum: u64 = self.containers.iter().map(|c| u64::from(c.cpu.0)).sum();
            if sum > u64::from(task) {
                return refuse("The sum of the containers' 'cpu' is greater than the task's.");
            }
        }
        if let Some(task) = self.memory {
            let sum: u64 = self.containers.iter().map(|c| u64::from(c.memory_reservation.unwrap_or_default().0)).sum();
            if sum > u64::from(task.0) || self.containers.iter().any(|c| c.memory.is_some_and(|m| m > task)) {
                return refuse("The containers' memory is greater than the task's.");
            }
        }
        Ok(())
    }

    fn check_container(&self, c: &ContainerDefinition) -> Result<(), InvalidDefinition> {
        let name = &c.name;
        if name.is_empty() {
            return refuse("Container.name should not be null or empty.");
        }
        if !crate::names::is_ecs_name(name) {
            return refuse(format!(
                "Container.name '{name}' is not valid: up to 255 letters, numbers, hyphens and underscores."
            ));
        }
        if c.image.is_empty() {
            return refuse("Container.image should not be null or empty.");
        }
        if c.image.len() > LONGEST_IMAGE {
            return refuse(format!("Container.image of container '{name}' is longer than {LONGEST_IMAGE} characters."));
        }
        if c.image.contains(char::is_whitespace) {
            return refuse(format!("Container.image of container '{name}' contains invalid characters."));
        }
        if self.memory.is_none() && c.memory.is_none() && c.memory_reservation.is_none() {
            return refuse(format!(
                "Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' must be specified."
            ));
        }
        if c.memory.is_some_and(|m| m < MIN_CONTAINER_MEMORY)
            || c.memory_reservation.is_some_and(|m| m < MIN_CONTAINER_MEMORY)
        {
            return refuse(format!("Invalid setting for container '{name}'. 'memory' must be at least 6 MiB."));
        }
        if let (Some(hard), Some(soft)) = (c.memory, c.memory_reservation)
            && hard < soft
        {
            return refuse(format!(
                "Invalid setting for container '{name}'. 'memory' must not be less than 'memoryReservation'."
            ));
        }
        for (key, _) in &c.environment {
            if key.is_empty() || key.contains(['=', '\0']) {
                return refuse(format!("Container '{name}' has an environment variable with an invalid name."));
            }
        }
        // What the kernel is given ends at the first of them.
        let words = [&c.command, &c.entry_point].into_iter().flatten().flatten();
        if words.chain(c.environment.iter().map(|(_, value)| value)).any(|text| text.contains('\0')) {
            return refuse(format!(
                "Invalid setting for container '{name}'. 'command', 'entryPoint' and 'environment' must not contain the character NUL."
            ));
        }
        // AWS: -1 means no limit, which is above every other.
        let limit = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
        if c.ulimits.iter().any(|u| limit(u.soft) > limit(u.hard)) {
            return refuse(format!("Container '{name}' has a ulimit whose softLimit is above its hardLimit."));
        }
        if let Some(check) = &c.health_check {
            check_health(name, check)?;
        }
        crate::container_options::check(c, self.effective_network_mode())?;
        crate::container_secrets::check(c, self.execution_role_arn.is_some())?;
        match self.effective_network_mode() {
            NetworkMode::Host if c.hostname.is_some() => {
                return refuse("hostname is not supported on container when networkMode=host.");
            }
            NetworkMode::Awsvpc if c.hostname.is_some() => {
                return refuse("hostname is not supported on container when networkMode=awsvpc.");
            }
            NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None | NetworkMode::Awsvpc => {}
        }
        let mut tmpfs = c.linux_parameters.iter().flat_map(|linux| &linux.tmpfs);
        tmpfs.try_for_each(|tmpfs| crate::tmpfs::check(name, tmpfs))?;
        Ok(())
    }

    fn check_ports(&self) -> Result<(), InvalidDefinition> {
        let mode = self.effective_network_mode();
        let mut hosts: BTreeSet<Port> = BTreeSet::new();
        let mut ranges = 0;
        for c in &self.containers {
            let name = &c.name;
            if mode == NetworkMode::None && !c.port_mappings.is_empty() {
                return refuse(format!(
                    "Port mappings are not allowed when network mode is none (container '{name}')."
                ));
            }
            let mut own: BTreeSet<(Protocol, u16)> = BTreeSet::new();
            if let Some(bad) = c.port_mappings.iter().filter_map(|m| m.name.as_deref()).find(|n| !is_port_name(n)) {
                return refuse(format!(
                    "Invalid port mapping name '{bad}' for container '{name}': up to 64 lowercase letters, numbers, \
                     hyphens and underscores, not starting with a hyphen."
                ));
            }
            for mapping in &c.port_mappings {
                let protocol = mapping.effective_protocol();
                match mapping.spec {
                    PortSpec::Single { container, host } => {
                        if container == 0 {
                            return refuse(format!("Invalid containerPort 0 for container '{name}'."));
                        }
                        let own_ports = match mode {
                            NetworkMode::Host => Some("host"),
                            NetworkMode::Awsvpc => Some("awsvpc"),
                            NetworkMode::Bridge | NetworkMode::None => None,
                        };
                        if let Some(mode) = own_ports
                            && host.is_some_and(|h| h != 0 && h != container)
                        {
                            return refuse(format!(
                                "When networkMode={mode}, the host ports and container ports in port mappings must match."
                            ));
                        }
                        let same = own.contains(&(protocol, container));
                        own.insert((protocol, container));
                        if same && host.is_none_or(|h| h == 0) {
                            return refuse(format!(
                                "Container '{name}' maps container port {container} more than once."
                            ));
                        }
                    }
                    PortSpec::Range { first, last } => {
                        ranges += 1;
                        if first == 0 || last < first {
                            return refuse(format!(
                                "Invalid containerPortRange {first}-{last} for container '{name}'."
                            ));
                        }
                    }
                }
                let Some(port) = mapping.static_port(mode) else { continue };
                if RESERVED_PORTS.contains(&port.number) {
                    return refuse(format!(
                        "Host port {} is reserved on container instances (container '{name}').",
                        port.number
                    ));
                }
                if !hosts.insert(port) {
                    return refuse(format!("Host port {} is used more than once in the task definition.", port.number));
                }
            }
        }
        if ranges > MAX_PORT_RANGES {
            return refuse("A task definition can have at most 100 container port ranges.");
        }
        Ok(())
    }
}

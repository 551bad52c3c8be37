//! What a task definition must and must not say to run on Fargate.
//!
//! AWS publishes some of the texts; the others follow their form.

use super::{
    CpuArchitecture, Platform, PlatformVersion, Size,
    sizes::{DEFAULT_EPHEMERAL_STORAGE, EPHEMERAL_STORAGE, SINCE_1_4},
};
use crate::{
    ContainerDefinition, InvalidDefinition, LogDriver, NetworkMode, TaskDefinitionSpec, Volume, VolumeSource,
    logging::SPLUNK_CA_PATH,
};
use std::ops::RangeInclusive;

/// How long a container may take to start and to stop, in seconds. Source: `ContainerDefinition$startTimeout`, `$stopTimeout`.
const TIMEOUTS: RangeInclusive<u32> = 2..=120;
/// The one capability that can be added. Source: `KernelCapabilities$add`.
const CAPABILITY: &str = "SYS_PTRACE";

fn refuse(text: impl Into<String>) -> Result<(), InvalidDefinition> {
    Err(InvalidDefinition(text.into()))
}

fn check_timeouts(container: &ContainerDefinition, is_right: impl Fn(u32) -> bool) -> Result<(), InvalidDefinition> {
    for (what, timeout) in [("startTimeout", container.start_timeout), ("stopTimeout", container.stop_timeout)] {
        if timeout.is_some_and(|seconds| !is_right(seconds)) {
            return refuse(format!(
                "Invalid setting for container '{}'. '{what}' must be between {} and {} on Fargate.",
                container.name,
                TIMEOUTS.start(),
                TIMEOUTS.end()
            ));
        }
    }
    Ok(())
}

impl TaskDefinitionSpec {
    /// What holds besides of definitions that are registered for Fargate. Ours: those of before may be stored with less, and run.
    pub(crate) fn check_new_on_fargate(&self) -> Result<(), InvalidDefinition> {
        self.check_fargate()?;
        self.containers
            .iter()
            .try_for_each(|container| check_timeouts(container, |seconds| TIMEOUTS.contains(&seconds)))
    }

    /// Whether Fargate can run it, in itself. That it lacks what Fargate wants, or has what Fargate does not, is told before
    /// what is wrong with it anywhere: so nothing is taken for granted here but that it has containers.
    pub fn check_fargate(&self) -> Result<(), InvalidDefinition> {
        if self.effective_network_mode() != NetworkMode::Awsvpc {
            return refuse("Fargate only supports network mode 'awsvpc'.");
        }
        let Some(cpu) = self.cpu else {
            return refuse("Fargate requires that 'cpu' be defined at the task level.");
        };
        let Some(memory) = self.memory else {
            return refuse("Fargate requires that 'memory' be defined at the task level.");
        };
        if !(Size { cpu, memory }).exists() {
            return refuse("No Fargate configuration exists for given values.");
        }
        self.check_storage()?;
        self.check_sharing_on_fargate()?;
        let of_instance = |volume: &Volume| match volume.source {
            VolumeSource::Empty | VolumeSource::AtLaunch | VolumeSource::Efs(_) => None,
            VolumeSource::Host { .. } => Some("sourcePath"),
            VolumeSource::Docker(_) => Some("dockerVolumeConfiguration"),
        };
        if let Some(what) = self.volumes.iter().find_map(of_instance) {
            return refuse(format!("Fargate compatible task definitions do not support {what}"));
        }
        if !self.placement_constraints.is_empty() {
            return refuse("Fargate compatible task definitions do not support placementConstraints.");
        }
        self.containers.iter().try_for_each(|container| self.check_on_fargate(container))
    }

    fn check_storage(&self) -> Result<(), InvalidDefinition> {
        match self.ephemeral_storage_gib {
            Some(size) if size < *EPHEMERAL_STORAGE.start() => {
                refuse(format!("EphemeralStorage size should be at least {}", EPHEMERAL_STORAGE.start()))
            }
            Some(size) if size > *EPHEMERAL_STORAGE.end() => {
                refuse(format!("EphemeralStorage size should be at most {}", EPHEMERAL_STORAGE.end()))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_on_fargate(&self, container: &ContainerDefinition) -> Result<(), InvalidDefinition> {
        let not = |what: &str| refuse(format!("Fargate compatible task definitions do not support {what}"));
        if container.privileged == Some(true) {
            return not("privileged");
        }
        let named = [
            ("extraHosts", container.extra_hosts.is_empty()),
            ("dockerSecurityOptions", container.docker_security_options.is_empty()),
            ("resourceRequirements of the type GPU", container.gpus == 0),
        ];
        if let Some((what, _)) = named.iter().find(|(_, absent)| !absent) {
            return not(what);
        }
        // AWS: they are there too. gVisor has an IPC of its own without such parameters, and would say nothing.
        if let Some(control) = container.system_controls.iter().find(|control| !control.is_of_network()) {
            return refuse(format!(
                "Longshore does not honour systemControls '{}' on Fargate yet, only those of net.*; remove it or see \
                 docs/coverage.md.",
                control.namespace
            ));
        }
        if let Some(linux) = &container.linux_parameters {
            if !linux.devices.is_empty() {
                return not("devices");
            }
            if let Some(other) = linux.capabilities_add.iter().find(|added| *added != CAPABILITY) {
                return not(&format!("adding the Linux capability {other}: only {CAPABILITY} can be added"));
            }
            if linux.max_swap.is_some() || linux.swappiness.is_some() {
                return not("maxSwap and swappiness");
            }
            if linux.shared_memory_size.is_some() {
                return not("sharedMemorySize");
            }
            if !linux.tmpfs.is_empty() {
                return not("tmpfs");
            }
        }
        check_timeouts(container, |seconds| seconds <= *TIMEOUTS.end())?;
        let log = container.log_configuration.as_ref();
        if log.is_some_and(|log| log.driver == LogDriver::Splunk && log.options.contains_key(SPLUNK_CA_PATH)) {
            return not(&format!("log option {SPLUNK_CA_PATH}"));
        }
        match log.map(|log| log.driver) {
            Some(LogDriver::Awslogs) if self.execution_role_arn.is_none() => {
                refuse("Fargate requires task definition to have execution role ARN to support log driver awslogs.")
            }
            Some(driver) if !driver.is_on_fargate() => not(&format!("log driver {}", driver.as_str())),
            Some(_) | None => Ok(()),
        }
    }

    /// What Fargate runs it on. `None` if the platform of that version cannot.
    pub fn platform(&self, version: PlatformVersion) -> Option<Platform> {
        let named = self.runtime_platform.as_ref().and_then(|platform| platform.cpu_architecture.as_deref());
        let architecture = named.map_or(Some(CpuArchitecture::default()), CpuArchitecture::parse)?;
        let needs_1_4 = self.cpu.is_some_and(|cpu| cpu >= SINCE_1_4)
            || self.ephemeral_storage_gib.is_some()
            || self.efs_volumes().next().is_some()
            || architecture == CpuArchitecture::Arm64;
        (!needs_1_4 || version >= PlatformVersion::V1_4).then_some(Platform { version, architecture })
    }

    /// The disk of its tasks on Fargate, in GiB.
    pub fn ephemeral_storage(&self) -> u32 {
        self.ephemeral_storage_gib.unwrap_or(DEFAULT_EPHEMERAL_STORAGE)
    }
}

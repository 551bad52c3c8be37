//! A task definition, after validation: only what Longshore honours has a place here.
//!
//! A member of AWS's model that is missing from these types is refused by name at the door. To honour one more, add it
//! here, to the rules in `definition_rules`, to the conversion in `server::api`, and to the agent.

use crate::{
    ContainerDependency, ContainerSecret, CpuUnits, DependencyCondition, Device, ExtraHost, Family, Firelens,
    HealthCheck, IpcMode, Link, LogConfiguration, MemoryMib, MountPoint, PidMode, Port, Protocol, Reservation,
    RestartPolicy, SystemControl, Tags, TaskDefinitionArn, TaskOverrides, Timestamp, Volume, VolumeFrom, VolumeSource,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// A stored revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinition {
    /// Family and revision.
    pub arn: TaskDefinitionArn,
    /// What it says.
    pub spec: Arc<TaskDefinitionSpec>,
    /// Whether it can be run.
    pub status: TaskDefinitionStatus,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// Who registered it (an ARN).
    pub registered_by: String,
    /// When it was deregistered.
    #[serde(default)]
    pub deregistered_at: Option<Timestamp>,
    /// When its deletion was asked for.
    #[serde(default)]
    pub delete_requested_at: Option<Timestamp>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// The life of a revision; it only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TaskDefinitionStatus {
    /// Can be run.
    Active,
    /// Deregistered: what runs goes on, nothing new starts.
    Inactive,
    /// Deletion was asked for; it goes when the last task that uses it is gone.
    DeleteInProgress,
}

/// What kind of capacity a definition asks to be checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Compatibility {
    /// Container instances.
    Ec2,
    /// Machines an operator attached.
    External,
    /// Machines that no client sees.
    Fargate,
}

/// How a task's containers reach the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Each container has its own address behind the instance's bridge; ports are published by NAT.
    Bridge,
    /// The instance's own network.
    Host,
    /// No network at all.
    None,
    /// The task's own interface in a VPC, which all its containers share.
    Awsvpc,
}

/// What the task must run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimePlatform {
    /// `X86_64` or `ARM64`.
    #[serde(default)]
    pub cpu_architecture: Option<String>,
    /// `LINUX`.
    #[serde(default)]
    pub operating_system_family: Option<String>,
}

/// What a revision says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinitionSpec {
    /// The family.
    pub family: Family,
    /// As given; what is not given is `bridge`.
    #[serde(default)]
    pub network_mode: Option<NetworkMode>,
    /// Task-level CPU: a hard limit for all containers together.
    #[serde(default)]
    pub cpu: Option<CpuUnits>,
    /// Task-level memory: a hard limit for all containers together.
    #[serde(default)]
    pub memory: Option<MemoryMib>,
    /// As given.
    #[serde(default)]
    pub requires_compatibilities: Vec<Compatibility>,
    /// Name or ARN of the role by which its tasks are given secrets, files, registry credentials, and logs on Fargate.
    #[serde(default)]
    pub execution_role_arn: Option<String>,
    /// Name or ARN of the role whose credentials its containers have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_role_arn: Option<String>,
    /// What it must run on.
    #[serde(default)]
    pub runtime_platform: Option<RuntimePlatform>,
    /// The disk of its tasks on Fargate, in GiB, if another than everybody's is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_gib: Option<u32>,
    /// Which processes its containers see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_mode: Option<PidMode>,
    /// Whose IPC its containers have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<IpcMode>,
    /// In the order given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// `memberOf` expressions.
    #[serde(default)]
    pub placement_constraints: Vec<String>,
    /// In the order given.
    pub containers: Vec<ContainerDefinition>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
#[allow(missing_docs)] // Members are AWS's, with AWS's meaning; units are in the types.
pub struct ContainerDefinition {
    pub name: String,
    pub image: String,
    /// Shares relative to the instance's other containers; also what placement reserves.
    pub cpu: CpuUnits,
    /// Hard limit.
    pub memory: Option<MemoryMib>,
    /// Soft limit; what placement reserves when given.
    pub memory_reservation: Option<MemoryMib>,
    pub essential: bool,
    pub command: Option<Vec<String>>,
    pub entry_point: Option<Vec<String>>,
    /// In the order given; of two with one name the last counts.
    pub environment: Vec<(String, String)>,
    pub user: Option<String>,
    pub working_directory: Option<String>,
    pub port_mappings: Vec<PortMapping>,
    /// Seconds between the stop signal and SIGKILL.
    pub stop_timeout: Option<u32>,
    /// Seconds in which the container has to start.
    pub start_timeout: Option<u32>,
    pub hostname: Option<String>,
    pub readonly_root_filesystem: Option<bool>,
    pub privileged: Option<bool>,
    pub ulimits: Vec<Ulimit>,
    pub linux_parameters: Option<LinuxParameters>,
    pub docker_labels: BTreeMap<String, String>,
    pub log_configuration: Option<LogConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<ContainerDependency>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_servers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_search_domains: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<ExtraHost>,
    /// Docker's, as given; which are honoured says [`crate::SecurityOption`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub docker_security_options: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system_controls: Vec<SystemControl>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<ContainerSecret>,
    /// ARNs in S3, the most important first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment_files: Vec<String>,
    /// The secret that its image is pulled with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_credentials: Option<String>,
    /// As given; what they mean says [`Link`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<MountPoint>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<VolumeFrom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interactive: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pseudo_terminal: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_networking: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// `versionConsistency`: whether all tasks of a service's revision run the image that the first one found. So it is where nothing
    /// is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_consistency: Option<bool>,
    /// GPUs that are its own: `resourceRequirements` of the type GPU.
    #[serde(skip_serializing_if = "crate::resources::is_zero")]
    pub gpus: u32,
    /// It is the task's log router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firelens: Option<Firelens>,
}

/// A published port or range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Which ports.
    pub spec: PortSpec,
    /// Protocol; `None` was not given and means tcp.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// A name for it, as given.
    #[serde(default)]
    pub name: Option<String>,
    /// `http`, `http2` or `grpc`, as given.
    #[serde(default)]
    pub app_protocol: Option<String>,
}

/// The ports of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortSpec {
    /// One port; host port 0 or none is chosen by the agent in bridge mode and is the container's own in host mode.
    Single {
        /// The container's port.
        container: u16,
        /// The host's port as given.
        host: Option<u16>,
    },
    /// A range; the agent chooses a host range of the same length.
    Range {
        /// First port.
        first: u16,
        /// Last port, inclusive.
        last: u16,
    },
}

/// A resource limit of the container's processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `core`, ...
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// Linux-specific options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct LinuxParameters {
    /// Capabilities on top of the default set, without `CAP_`; `ALL` for all.
    pub capabilities_add: Vec<String>,
    /// Capabilities taken out of the default set.
    pub capabilities_drop: Vec<String>,
    /// Run an init process that reaps children and passes signals on.
    pub init_process_enabled: Option<bool>,
    /// Size of /dev/shm.
    pub shared_memory_size: Option<MemoryMib>,
    /// tmpfs mounts.
    pub tmpfs: Vec<Tmpfs>,
    /// Devices of the instance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Memory that may be swapped out besides that of `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_swap: Option<MemoryMib>,
    /// How readily, from 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u32>,
}

/// A tmpfs mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Where.
    pub container_path: String,
    /// How large.
    pub size: MemoryMib,
    /// Mount options as given.
    #[serde(default)]
    pub mount_options: Vec<String>,
}

impl NetworkMode {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
            Self::Awsvpc => "awsvpc",
        }
    }
}

impl TaskDefinitionSpec {
    /// The mode that holds: what is not given is bridge.
    pub fn effective_network_mode(&self) -> NetworkMode {
        self.network_mode.unwrap_or(NetworkMode::Bridge)
    }

    /// The containers as one task runs them, with its overrides laid over, and with what they wait for unsaid. Overrides of unknown containers were
    /// refused when the task was asked for.
    pub fn containers_with(&self, overrides: &TaskOverrides) -> Vec<ContainerDefinition> {
        let mut containers = self.containers.clone();
        for over in &overrides.containers {
            let Some(container) = containers.iter_mut().find(|c| c.name == over.name) else { continue };
            if let Some(command) = &over.command {
                container.command = Some(command.clone());
            }
            container.environment.extend(over.environment.iter().cloned());
            if !over.environment_files.is_empty() {
                container.environment_files.clone_from(&over.environment_files);
            }
            container.cpu = over.cpu.unwrap_or(container.cpu);
            container.memory = over.memory.or(container.memory);
            container.memory_reservation = over.memory_reservation.or(container.memory_reservation);
            container.gpus = over.gpus.unwrap_or(container.gpus);
        }
        for (at, on) in self.implied_dependencies() {
            containers[at].depends_on.push(on);
        }
        containers
    }

    /// What a task of this definition holds on its instance. The task-level size, where given, stands for the sum
    /// over the containers; memory is the reservation, else the hard limit. (Source: `ContainerDefinition` in the model.)
    pub fn reservation(&self, overrides: &TaskOverrides) -> Reservation {
        let containers = self.containers_with(overrides);
        let sum = |of: fn(&ContainerDefinition) -> u32| containers.iter().map(of).fold(0u32, u32::saturating_add);
        let cpu = overrides.cpu.or(self.cpu).unwrap_or_else(|| CpuUnits(sum(|c| c.cpu.0)));
        let memory = overrides
            .memory
            .or(self.memory)
            .unwrap_or_else(|| MemoryMib(sum(|c| c.memory_reservation.or(c.memory).unwrap_or_default().0)));
        let ports = match self.effective_network_mode() {
            NetworkMode::None | NetworkMode::Awsvpc => Default::default(),
            mode @ (NetworkMode::Bridge | NetworkMode::Host) => {
                containers.iter().flat_map(|c| &c.port_mappings).filter_map(|m| m.static_port(mode)).collect()
            }
        };
        let interfaces = u32::from(self.effective_network_mode() == NetworkMode::Awsvpc);
        Reservation { cpu, memory, gpus: sum(|c| c.gpus), ports, interfaces, gpu_ids: Default::default() }
    }

    /// What can run it: AWS's `compatibilities`.
    pub fn compatibilities(&self) -> Vec<Compatibility> {
        let external = self.effective_network_mode() != NetworkMode::Awsvpc;
        let fargate = self.check_fargate().is_ok();
        let all = [(external, Compatibility::External), (true, Compatibility::Ec2), (fargate, Compatibility::Fargate)];
        all.into_iter().filter(|(can, _)| *can).map(|(_, what)| what).collect()
    }

    /// The attributes an instance must have to run this: agent capabilities, platform, log drivers.
    /// Names are the original agent's, so that `check-attributes` and clients read what they know.
    pub fn requires_attributes(&self) -> Vec<crate::Attribute> {
        let mut names = std::collections::BTreeSet::from(["com.amazonaws.ecs.capability.docker-remote-api.1.18"]);
        if self.cpu.is_some() || self.memory.is_some() {
            names.insert("ecs.capability.task-cpu-mem-limit");
        }
        if self.effective_network_mode() == NetworkMode::Awsvpc {
            names.insert("ecs.capability.task-eni");
        }
        if self.task_role_arn.is_some() {
            names.insert("com.amazonaws.ecs.capability.task-iam-role");
            if self.effective_network_mode() == NetworkMode::Host {
                names.insert("com.amazonaws.ecs.capability.task-iam-role-network-host");
            }
        }
        if self.pid_mode.is_some() || self.ipc_mode.is_some() {
            names.insert("ecs.capability.pid-ipc-namespace-sharing");
        }
        if self.volumes.iter().any(|volume| matches!(volume.source, VolumeSource::Docker(_))) {
            names.insert("ecs.capability.docker-plugin.local");
        }
        if self.volumes.iter().any(|volume| volume.source == VolumeSource::AtLaunch) {
            names.insert("ecs.capability.storage.ebs-task-volume-attach");
        }
        if self.efs_volumes().next().is_some() {
            names.insert("ecs.capability.efs");
        }
        if self.efs_volumes().any(|(_, volume)| volume.transit_encryption == Some(true)) {
            names.insert("ecs.capability.efsAuth");
        }
        if self.has_secret_files() {
            names.insert(crate::secret_files::CAPABILITY);
        }
        for container in &self.containers {
            if container.privileged == Some(true) {
                names.insert("com.amazonaws.ecs.capability.privileged-container");
            }
            names.extend(container.logging_attributes());
            if container.port_mappings.iter().any(|m| matches!(m.spec, PortSpec::Range { .. })) {
                names.insert("ecs.capability.network.container-port-range");
            }
            if container.start_timeout.is_some() || !container.depends_on.is_empty() {
                names.insert("ecs.capability.container-ordering");
            }
            names.extend(container.provision_attributes());
            if container.restart_policy.as_ref().is_some_and(|policy| policy.enabled) {
                names.insert("ecs.capability.container-restart-policy");
            }
            if container.is_checked() {
                names.insert("ecs.capability.container-health-check");
            }
        }
        let mut all: Vec<_> = names.into_iter().map(|n| crate::Attribute { name: n.to_owned(), value: None }).collect();
        let platform = self.runtime_platform.as_ref();
        if let Some(arch) = platform.and_then(|p| p.cpu_architecture.as_deref()) {
            let value = Some(arch.to_ascii_lowercase());
            all.push(crate::Attribute { name: "ecs.cpu-architecture".to_owned(), value });
        }
        if let Some(os) = platform.and_then(|p| p.operating_system_family.as_deref()) {
            let value = Some(os.to_ascii_lowercase());
            all.push(crate::Attribute { name: "ecs.os-type".to_owned(), value });
        }
        all
    }
}

impl ContainerDefinition {
    /// The containers it waits for, by name. AWS: also those that it has a link to or volumes from.
    pub fn dependencies(&self) -> impl Iterator<Item = (&str, DependencyCondition)> {
        let named = self.depends_on.iter().map(|on| (on.container_name.as_str(), on.condition));
        named.chain(self.used().map(|(_, name)| (name, DependencyCondition::Start)))
    }

    /// The containers it has a link to or volumes from, by name, and which of both.
    pub(crate) fn used(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let links = self.links.iter().filter_map(|link| Link::parse(link)).map(|link| ("links", link.container));
        links.chain(self.volumes_from.iter().map(|from| ("volumesFrom", from.source_container.as_str())))
    }

    /// The network that holds for it in a task of that mode.
    pub fn network_mode(&self, of_task: NetworkMode) -> NetworkMode {
        if self.disable_networking == Some(true) { NetworkMode::None } else { of_task }
    }

    /// Whether its health is asked for.
    pub fn is_checked(&self) -> bool {
        self.health_check.as_ref().is_some_and(|check| check.argv().is_some())
    }
}

impl PortMapping {
    /// The protocol that holds.
    pub fn effective_protocol(&self) -> Protocol {
        self.protocol.unwrap_or(Protocol::Tcp)
    }

    /// The host port this mapping always takes, if it takes a fixed one.
    pub fn static_port(&self, mode: NetworkMode) -> Option<Port> {
        let PortSpec::Single { container, host } = self.spec else { return None };
        let number = match mode {
            NetworkMode::Bridge => host.filter(|h| *h != 0)?,
            NetworkMode::Host => container,
            NetworkMode::None | NetworkMode::Awsvpc => return None,
        };
        Some(Port { protocol: self.effective_protocol(), number })
    }
}

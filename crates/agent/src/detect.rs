//! What this machine has and can do: resources, platform, and the capabilities that task definitions ask for.
//!
//! Only what this agent honours is advertised; `TaskDefinitionSpec::requires_attributes` is the other half, and a test
//! holds the two together.

use crate::gpus::Gpus;
use model::{Attributes, CpuUnits, MemoryMib, Port, Protocol, Resources, definition_rules::RESERVED_PORTS};
use runtime::OciRuntime;
use std::{fs, net::IpAddr};

/// Docker API versions whose features we honour, as the original lists them. Source: agent, `app/agent_capability.go`.
const API_VERSIONS: [&str; 13] =
    ["1.17", "1.18", "1.19", "1.20", "1.21", "1.22", "1.23", "1.24", "1.25", "1.28", "1.29", "1.30", "1.32"];
/// Everything else that a definition may require and that is honoured.
const CAPABILITIES: [&str; 28] = [
    "com.amazonaws.ecs.capability.logging-driver.awslogs",
    "com.amazonaws.ecs.capability.logging-driver.json-file",
    "com.amazonaws.ecs.capability.logging-driver.syslog",
    "com.amazonaws.ecs.capability.logging-driver.fluentd",
    "com.amazonaws.ecs.capability.logging-driver.gelf",
    "com.amazonaws.ecs.capability.logging-driver.splunk",
    "com.amazonaws.ecs.capability.logging-driver.journald",
    "com.amazonaws.ecs.capability.logging-driver.awsfirelens",
    "ecs.capability.logging-driver.awsfirelens.log-driver-buffer-limit",
    "ecs.capability.firelens.fluentd",
    "ecs.capability.firelens.fluentbit",
    "ecs.capability.firelens.options.config.file",
    "ecs.capability.firelens.options.config.s3",
    "ecs.capability.secrets.asm.bootstrap.log-driver",
    "ecs.capability.secrets.ssm.bootstrap.log-driver",
    "ecs.capability.task-cpu-mem-limit",
    "ecs.capability.increased-task-cpu-limit",
    "ecs.capability.network.container-port-range",
    "ecs.capability.container-ordering",
    "ecs.capability.container-health-check",
    "ecs.capability.secrets.asm.environment-variables",
    "ecs.capability.secrets.ssm.environment-variables",
    "ecs.capability.env-files.s3",
    "ecs.capability.private-registry-authentication.secretsmanager",
    "ecs.capability.container-restart-policy",
    "ecs.capability.docker-plugin.local",
    "com.amazonaws.ecs.capability.task-iam-role",
    "com.amazonaws.ecs.capability.task-iam-role-network-host",
];

/// What only containers that share the machine's kernel can have.
const SHARING: [&str; 2] =
    ["com.amazonaws.ecs.capability.privileged-container", "ecs.capability.pid-ipc-namespace-sharing"];
/// What only containers can have whose root is the machine's. The rest that they cannot have, no attribute stands for.
const OF_ROOT: [&str; 2] =
    ["com.amazonaws.ecs.capability.privileged-container", "com.amazonaws.ecs.capability.task-iam-role-network-host"];
/// Tasks have users of their own.
const USERNS: &str = "longshore.capability.userns-remap";
/// Which OCI runtime makes the instance's containers.
const RUNTIME: &str = "longshore.runtime";

/// What is told instead of what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceOverrides {
    /// CPU units of the whole instance.
    pub cpu: Option<CpuUnits>,
    /// Memory of the whole instance.
    pub memory: Option<MemoryMib>,
    /// Memory that tasks must leave alone (ECS_RESERVED_MEMORY).
    pub reserved_memory: MemoryMib,
}

/// All the instance has.
pub fn resources(told: &ResourceOverrides, gpus: &Gpus) -> Resources {
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    let cpu = told.cpu.unwrap_or_else(|| CpuUnits(cores.saturating_mul(1024)));
    let total = told.memory.unwrap_or_else(|| memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()));
    let ports = RESERVED_PORTS.iter().map(|number| Port { protocol: Protocol::Tcp, number: *number }).collect();
    let memory = MemoryMib(total.0.saturating_sub(told.reserved_memory.0));
    Resources { cpu, memory, gpus: gpus.present(), ports, ..Resources::default() }
}

fn memory(meminfo: &str) -> MemoryMib {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    MemoryMib(u32::try_from(kib / 1024).unwrap_or(u32::MAX))
}

/// Capabilities and platform, with the operator's own and the machine's (`ecs.instance-type`, `ecs.availability-zone`, …)
/// on top. Tasks get network interfaces only where other instances can reach this one at `address`.
pub fn attributes(own: &Attributes, address: Option<IpAddr>, runtime: OciRuntime, userns: bool) -> Attributes {
    let mut all = Attributes::new();
    for version in API_VERSIONS {
        all.insert(format!("com.amazonaws.ecs.capability.docker-remote-api.{version}"), None);
    }
    all.extend(CAPABILITIES.map(|name| (name.to_owned(), None)));
    if address.is_some_and(|address| address.is_ipv4()) {
        all.insert("ecs.capability.task-eni".to_owned(), None);
    }
    all.insert("ecs.os-type".into(), Some("linux".into()));
    all.insert("ecs.os-family".into(), Some("LINUX".into()));
    all.insert("ecs.cpu-architecture".into(), Some(architecture().into()));
    match runtime {
        OciRuntime::Runc => all.extend(SHARING.map(|name| (name.to_owned(), None))),
        OciRuntime::Runsc => {}
    }
    all.extend(own.clone());
    // Not the operator's to say: it is what it is.
    all.remove(USERNS);
    if userns {
        all.retain(|name, _| !OF_ROOT.contains(&name.as_str()));
        all.insert(USERNS.to_owned(), None);
    }
    all.insert(RUNTIME.to_owned(), Some(runtime.name().to_owned()));
    all
}

/// AWS's word for the processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use model::{
        ContainerSecret, DockerVolume, Firelens, FirelensType, LogConfiguration, LogDriver, PidMode, PortMapping,
        PortSpec, RestartPolicy, RuntimePlatform, Volume, VolumeSource,
    };

    #[test]
    fn everything_a_definition_can_ask_for_is_advertised() {
        let (_, definition) = testing::assignment(1, &["a", "b", "c", "d", "e", "f", "g", "h"]);
        let mut definition = (*definition).clone();
        definition.cpu = Some(CpuUnits(256));
        definition.runtime_platform = Some(RuntimePlatform {
            cpu_architecture: Some(architecture().to_ascii_uppercase()),
            operating_system_family: Some("LINUX".into()),
        });
        for (container, driver) in definition.containers.iter_mut().zip(LogDriver::ALL) {
            container.privileged = Some(true);
            container.start_timeout = Some(5);
            container.health_check = Some(testing::check(5));
            let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf";
            container.secrets =
                ["a", arn].map(|from| ContainerSecret { name: from.into(), value_from: from.into() }).into();
            container.environment_files = vec!["arn:aws:s3:::config/a.env".into()];
            container.repository_credentials = Some(arn.into());
            container.log_configuration = Some(LogConfiguration {
                driver,
                options: [(model::logging::BUFFER_LIMIT.to_owned(), "1".to_owned())].into(),
                secret_options: container.secrets.clone(),
            });
            let spec = PortSpec::Range { first: 1, last: 2 };
            container.port_mappings = vec![PortMapping { spec, protocol: None, name: None, app_protocol: None }];
        }
        definition.containers[0].restart_policy =
            Some(RestartPolicy { enabled: true, ignored_exit_codes: vec![], restart_attempt_period: None });
        for (container, kind) in definition.containers.iter_mut().zip(FirelensType::ALL) {
            let options = [(Firelens::FILE_TYPE, "file"), (Firelens::FILE_VALUE, "/more.conf")];
            let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            container.firelens = Some(Firelens { kind: kind.1, options });
        }
        let more = definition.containers[1].firelens.as_mut().unwrap();
        more.options.insert(Firelens::FILE_TYPE.to_owned(), "s3".to_owned());
        definition.pid_mode = Some(PidMode::Task);
        definition.task_role_arn = Some("web".into());
        let source = VolumeSource::Docker(DockerVolume::default());
        definition.volumes = vec![Volume { name: "v".into(), source }];
        let own = Attributes::from([("stack".into(), Some("prod".into())), (RUNTIME.into(), Some("best".into()))]);
        let address = Some([172, 31, 0, 9].into());
        let offered = attributes(&own, address, OciRuntime::Runc, false);
        for wanted in definition.requires_attributes() {
            assert_eq!(offered.get(&wanted.name), Some(&wanted.value), "{}", wanted.name);
        }
        assert_eq!((offered["stack"].as_deref(), offered[RUNTIME].as_deref()), (Some("prod"), Some("runc")));
        // gVisor has all of it but what needs the machine's kernel.
        let mut sandboxed = attributes(&own, address, OciRuntime::Runsc, false);
        assert_eq!(sandboxed.insert(RUNTIME.into(), Some("runc".into())), Some(Some("runsc".into())));
        for name in SHARING {
            assert_eq!(sandboxed.insert(name.into(), None), None);
        }
        assert_eq!(sandboxed, offered);
        let claims = Attributes::from([(USERNS.into(), None)]);
        assert!(!attributes(&claims, address, OciRuntime::Runc, false).contains_key(USERNS));
        let mut remapped = attributes(&own, address, OciRuntime::Runc, true);
        assert_eq!(remapped.remove(USERNS), Some(None));
        for name in OF_ROOT {
            assert_eq!(remapped.insert(name.into(), None), None);
        }
        assert_eq!(remapped, offered);
    }

    #[test]
    fn resources_are_found_or_told() {
        assert_eq!(memory("MemFree: 1 kB\nMemTotal:       24618652 kB\n"), MemoryMib(24_041));
        let told = ResourceOverrides {
            cpu: Some(CpuUnits(2048)),
            memory: Some(MemoryMib(4096)),
            reserved_memory: MemoryMib(96),
        };
        let found = resources(&told, &Gpus::default());
        assert_eq!((found.cpu, found.memory, found.ports.len()), (CpuUnits(2048), MemoryMib(4000), 5));
        assert!(resources(&ResourceOverrides::default(), &Gpus::default()).memory.0 > 0);
    }
}

//! `ecs-params.yml`: what a task definition says and a compose file cannot.
//!
//! Keys that the ECS CLI does not know are passed over, as it does, and we say so. What it knows is sent, and the server says what it
//! does not honour.

use super::{
    interpolate::Variables,
    members, reading,
    value::seconds,
    yaml::{self, Numbers},
};
use crate::cli::say;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use shapes::ecs;
use std::{collections::BTreeMap, path::Path};

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Params {
    version: Option<String>,
    pub(super) task_definition: TaskDefinition,
    pub(super) run_params: RunParams,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskDefinition {
    pub(super) ecs_network_mode: Option<String>,
    pub(super) task_role_arn: Option<String>,
    pub(super) task_execution_role: Option<String>,
    pub(super) pid_mode: Option<String>,
    pub(super) ipc_mode: Option<String>,
    pub(super) task_size: TaskSize,
    pub(super) placement_constraints: Vec<Placement>,
    pub(super) docker_volumes: Vec<DockerVolume>,
    pub(super) efs_volumes: Vec<EfsVolume>,
    pub(super) services: BTreeMap<String, Service>,
}

impl TaskDefinition {
    /// Whether a volume of that name is described here.
    pub(super) fn describes(&self, volume: &str) -> bool {
        let docker = self.docker_volumes.iter().filter_map(|v| v.name.as_deref());
        docker.chain(self.efs_volumes.iter().filter_map(|v| v.name.as_deref())).any(|name| name == volume)
    }
}

/// Names and values, where a number or a truth value is as good as a text.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Scalars(BTreeMap<String, String>);

impl Scalars {
    /// As texts; `None` if there are none.
    pub(super) fn texts(&self) -> Option<BTreeMap<String, String>> {
        (!self.0.is_empty()).then(|| self.0.clone())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskSize {
    pub(super) cpu_limit: Option<String>,
    pub(super) mem_limit: Option<String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Placement {
    pub(super) r#type: Option<String>,
    pub(super) expression: Option<String>,
    pub(super) field: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DockerVolume {
    pub(super) name: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) autoprovision: Option<bool>,
    pub(super) driver: Option<String>,
    pub(super) driver_opts: Scalars,
    pub(super) labels: Scalars,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EfsVolume {
    pub(super) name: Option<String>,
    pub(super) filesystem_id: Option<String>,
    pub(super) root_directory: Option<String>,
    pub(super) transit_encryption: Option<String>,
    pub(super) transit_encryption_port: Option<i32>,
    pub(super) access_point: Option<String>,
    pub(super) iam: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) essential: Option<bool>,
    pub(super) init_process_enabled: Option<bool>,
    pub(super) cpu_shares: Option<i32>,
    pub(super) mem_limit: Option<Value>,
    pub(super) mem_reservation: Option<Value>,
    pub(super) repository_credentials: Option<RepositoryCredentials>,
    pub(super) healthcheck: Option<HealthCheck>,
    pub(super) logging: Option<Logging>,
    pub(super) firelens_configuration: Option<Firelens>,
    pub(super) secrets: Vec<Secret>,
    pub(super) gpu: Option<String>,
    pub(super) depends_on: Vec<DependsOn>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RepositoryCredentials {
    pub(super) credentials_parameter: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct HealthCheck {
    test: Option<Value>,
    command: Option<Value>,
    interval: Option<Value>,
    timeout: Option<Value>,
    start_period: Option<Value>,
    retries: Option<i32>,
}

impl HealthCheck {
    /// Lays what is said here over what the compose file says.
    pub(super) fn over(&self, check: &mut ecs::HealthCheck) -> Result<()> {
        if self.test.is_some() && self.command.is_some() {
            bail!("healthcheck.test and healthcheck.command cannot be specified together");
        }
        if let Some(test) = self.test.as_ref().or(self.command.as_ref()) {
            check.command = Some(super::convert::check_command(test)?);
        }
        for (what, given, to) in [
            ("interval", &self.interval, &mut check.interval),
            ("timeout", &self.timeout, &mut check.timeout),
            ("start_period", &self.start_period, &mut check.start_period),
        ] {
            if let Some(given) = given {
                *to = Some(seconds(what, given)?);
            }
        }
        check.retries = self.retries.or(check.retries);
        Ok(())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Logging {
    pub(super) secret_options: Vec<Secret>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Firelens {
    pub(super) r#type: Option<String>,
    pub(super) options: Scalars,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Secret {
    name: Option<String>,
    value_from: Option<String>,
}

/// Secrets as a task definition has them.
pub(super) fn secrets(given: &[Secret]) -> Option<Vec<ecs::Secret>> {
    let secret = |s: &Secret| ecs::Secret { name: s.name.clone(), value_from: s.value_from.clone() };
    (!given.is_empty()).then(|| given.iter().map(secret).collect())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DependsOn {
    pub(super) container_name: Option<String>,
    pub(super) condition: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunParams {
    pub(super) network_configuration: NetworkConfiguration,
    pub(super) task_placement: TaskPlacement,
    pub(super) service_discovery: ServiceDiscovery,
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct ServiceDiscovery {
    pub(super) container_name: Option<String>,
    pub(super) container_port: Option<i32>,
    pub(super) private_dns_namespace: DnsNamespace,
    pub(super) public_dns_namespace: DnsNamespace,
    pub(super) service_discovery_service: DiscoveryService,
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct DnsNamespace {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) vpc: Option<String>,
    pub(super) description: Option<String>,
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct DiscoveryService {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) dns_config: DnsConfig,
    pub(super) healthcheck_custom_config: HealthThreshold,
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct DnsConfig {
    pub(super) r#type: Option<String>,
    pub(super) ttl: Option<i64>,
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct HealthThreshold {
    pub(super) failure_threshold: Option<i32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NetworkConfiguration {
    pub(super) awsvpc_configuration: Option<AwsVpc>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AwsVpc {
    pub(super) subnets: Vec<String>,
    pub(super) security_groups: Vec<String>,
    pub(super) assign_public_ip: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskPlacement {
    pub(super) strategy: Vec<Placement>,
    pub(super) constraints: Vec<Placement>,
}

impl Params {
    /// The network configuration of tasks: only those of mode `awsvpc` have one.
    pub(super) fn network(&self) -> Result<Option<ecs::NetworkConfiguration>> {
        if self.task_definition.ecs_network_mode.as_deref() != Some("awsvpc") {
            return Ok(None);
        }
        let given = self.run_params.network_configuration.awsvpc_configuration.as_ref();
        let given = given.filter(|given| !given.subnets.is_empty()).context(
            "at least one subnet is required in the network configuration: name it under \
             run_params.network_configuration.awsvpc_configuration in ecs-params.yml",
        )?;
        Ok(Some(ecs::NetworkConfiguration {
            awsvpc_configuration: Some(ecs::AwsVpcConfiguration {
                subnets: Some(given.subnets.clone()),
                security_groups: (!given.security_groups.is_empty()).then(|| given.security_groups.clone()),
                assign_public_ip: given.assign_public_ip.clone(),
            }),
        }))
    }
}

/// Reads the named file, or `ecs-params.yml` of this folder if it is there.
pub(super) fn load(path: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Params> {
    let default = Path::new("ecs-params.yml");
    let path = match path {
        Some(path) => path,
        None if default.exists() => default,
        None => return Ok(Params::default()),
    };
    let text = reading::text(path)?;
    // AWS: over the whole text, so that a variable may also stand for a list.
    let text = Variables::new(environment).text(&text).with_context(|| path.display().to_string())?;
    let (params, unknown) = read(path, &text)?;
    let file = path.display().to_string();
    for key in unknown {
        say::warn(
            "Skipping unsupported YAML option of the ecs-params file...",
            &[("option name", &key), ("file", &file)],
        );
    }
    if let Some(version) = params.version.as_ref().filter(|version| !matches!(version.as_str(), "1" | "1.0")) {
        say::warn(
            "The ecs-params file is read as version 1, the only one there is",
            &[("version", version), ("file", &file)],
        );
    }
    Ok(params)
}

/// What the file says, and the keys that nothing reads.
pub(super) fn read(path: &Path, text: &str) -> Result<(Params, Vec<String>)> {
    if text.trim().is_empty() {
        return Ok(Default::default());
    }
    let (file, _) = yaml::read(path, text, Numbers::AsWritten)?;
    if file.is_null() {
        return Ok(Default::default());
    }
    // Sections that are there and empty are as good as none.
    members::read(without_nulls(file)).with_context(|| path.display().to_string())
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, member)| !member.is_null());
            Value::Object(kept.map(|(key, member)| (key, without_nulls(member))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Params, Vec<String>)> {
        super::read(Path::new("p.yml"), text)
    }

    #[test]
    fn unknown_keys_are_told_and_broken_ones_named() {
        let text = "version: 1\ntask_definition:\n  bogus: 1\n  services: {web: {mem_limit: 64m, secrets: [], gpus: 1}}\n  \
                    docker_volumes:\nnews: 1\nx-mine: 2";
        let (params, unknown) = read(text).unwrap();
        assert!(params.task_definition.services["web"].mem_limit.is_some());
        assert_eq!(unknown, ["news", "task_definition.bogus", "task_definition.services.web.gpus"]);
        for (text, words) in [
            (
                "task_definition: {services: {web: {essential: perhaps}}}",
                "task_definition.services.web.essential must be true or false",
            ),
            ("task_definition: [awsvpc]", "task_definition must be a mapping"),
            ("[a]", "the file must be a mapping"),
            ("task_definition: {a: 1, a: 2}", "p.yml, line 1: the key 'a' is there twice"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(words) && error.contains("p.yml"), "{error}");
        }
    }

    #[test]
    fn texts_stay_as_they_are_written() {
        let text = "task_definition:\n  task_size: {cpu_limit: 0.50, mem_limit: 1024}\n  docker_volumes:\n  - {name: 012, \
                    labels: {a: 0777, b: yes, c: 1.0}}\n  services: {web: {cpu_shares: 010, gpu: 2}}";
        let task = read(text).unwrap().0.task_definition;
        assert_eq!(
            (task.task_size.cpu_limit.as_deref(), task.task_size.mem_limit.as_deref()),
            (Some("0.50"), Some("1024"))
        );
        let volume = &task.docker_volumes[0];
        let labels: Vec<_> = volume.labels.texts().unwrap().into_values().collect();
        assert_eq!(
            (volume.name.as_deref(), labels),
            (Some("012"), vec!["0777".to_owned(), "yes".to_owned(), "1.0".to_owned()])
        );
        assert_eq!((task.services["web"].cpu_shares, task.services["web"].gpu.as_deref()), (Some(8), Some("2")));
    }

    #[test]
    fn only_tasks_of_their_own_network_have_a_configuration() {
        let of = |text: &str| read(text).unwrap().0.network().map_err(|e| e.to_string());
        assert_eq!(of("run_params: {network_configuration: {awsvpc_configuration: {subnets: [a]}}}"), Ok(None));
        let error = of("task_definition: {ecs_network_mode: awsvpc}").unwrap_err();
        assert!(error.contains("at least one subnet"), "{error}");
        let both = "task_definition: {ecs_network_mode: awsvpc}\n\
                    run_params: {network_configuration: {awsvpc_configuration: {subnets: [a], assign_public_ip: ENABLED}}}";
        let vpc = of(both).unwrap().unwrap().awsvpc_configuration.unwrap();
        assert_eq!((vpc.subnets.unwrap().len(), vpc.assign_public_ip.as_deref()), (1, Some("ENABLED")));
    }

    #[test]
    fn a_health_check_is_laid_over_another() {
        let check: HealthCheck = serde_saphyr::from_str("{command: curl x, interval: 1m, retries: 5}").unwrap();
        let mut base = ecs::HealthCheck { timeout: Some(3), retries: Some(2), ..Default::default() };
        check.over(&mut base).unwrap();
        assert_eq!(base.command.unwrap(), ["CMD-SHELL", "curl x"]);
        assert_eq!((base.interval, base.timeout, base.retries), (Some(60), Some(3), Some(5)));
        let both: HealthCheck = serde_saphyr::from_str("{command: a, test: b}").unwrap();
        assert!(both.over(&mut ecs::HealthCheck::default()).is_err());
    }
}

//! `ecs-params.yml`: what a task definition says and a compose file cannot.
//!
//! Keys that the ECS CLI does not know are ignored, as it does. What it knows is sent, and the server says what it does not
//! honour.

use super::{
    interpolate::Variables,
    value::{seconds, text},
};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use shapes::ecs;
use std::{collections::BTreeMap, fs, path::Path};

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Params {
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
pub(super) struct Scalars(BTreeMap<String, Value>);

impl Scalars {
    /// As texts; `None` if there are none.
    pub(super) fn texts(&self) -> Option<BTreeMap<String, String>> {
        let texts = self.0.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?)));
        (!self.0.is_empty()).then(|| texts.collect())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskSize {
    pub(super) cpu_limit: Option<Value>,
    pub(super) mem_limit: Option<Value>,
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
    pub(super) gpu: Option<Value>,
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
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    // AWS: over the whole text, so that a variable may also stand for a list.
    let text = Variables::new(environment).text(&text)?;
    read(&text).with_context(|| format!("{} cannot be used", path.display()))
}

pub(super) fn read(text: &str) -> Result<Params> {
    if text.trim().is_empty() {
        return Ok(Params::default());
    }
    let file: Value = serde_saphyr::from_str(text)?;
    // Sections that are there and empty are as good as none.
    Ok(serde_json::from_value(without_nulls(file))?)
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

    #[test]
    fn unknown_keys_are_ignored_and_broken_ones_named() {
        let fine = "version: 1\ntask_definition:\n  services: {web: {mem_limit: 64m, secrets: []}}\n  docker_volumes:\nnews: 1";
        assert!(read(fine).unwrap().task_definition.services["web"].mem_limit.is_some());
        assert!(read("task_definition: {services: {web: {essential: perhaps}}}").is_err());
    }

    #[test]
    fn only_tasks_of_their_own_network_have_a_configuration() {
        let of = |text: &str| read(text).unwrap().network().map_err(|e| e.to_string());
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

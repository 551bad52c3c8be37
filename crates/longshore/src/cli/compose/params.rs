//! `ecs-params.yml`: what a task definition says and a compose file cannot.
//!
//! Keys that the ECS CLI does not know are ignored, as it does. Keys that it knows and Longshore does not honour yet are
//! refused by name.

use super::file::interpolate;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
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
    pub(super) services: BTreeMap<String, Service>,
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
pub(super) struct Service {
    pub(super) essential: Option<bool>,
    pub(super) init_process_enabled: Option<bool>,
    pub(super) cpu_shares: Option<i32>,
    pub(super) mem_limit: Option<Value>,
    pub(super) mem_reservation: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunParams {
    pub(super) task_placement: TaskPlacement,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskPlacement {
    pub(super) strategy: Vec<Placement>,
    pub(super) constraints: Vec<Placement>,
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
    let text = interpolate(&text, environment)?;
    read(&text).with_context(|| format!("{} cannot be used", path.display()))
}

/// What the ECS CLI maps and we do not: below `task_definition`, below each of its services, below `run_params`.
const TASK: &[&str] = &["docker_volumes", "efs_volumes"];
const SERVICE: &[&str] =
    &["depends_on", "firelens_configuration", "gpu", "healthcheck", "logging", "repository_credentials", "secrets"];
const RUN: &[&str] = &["network_configuration", "service_discovery"];

fn read(text: &str) -> Result<Params> {
    let file: Value = serde_saphyr::from_str(text)?;
    let task = &file["task_definition"];
    refuse(task, TASK, "task_definition")?;
    refuse(&file["run_params"], RUN, "run_params")?;
    for (name, service) in task["services"].as_object().into_iter().flatten() {
        refuse(service, SERVICE, &format!("task_definition.services.{name}"))?;
    }
    Ok(serde_saphyr::from_str(text)?)
}

fn refuse(section: &Value, keys: &[&str], place: &str) -> Result<()> {
    for key in keys {
        let empty = match &section[*key] {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        if !empty {
            bail!("{place}.{key} is not honoured yet; remove it or see docs/coverage.md");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_and_not_honoured_is_refused_by_name() {
        for (text, name) in [
            ("task_definition: {docker_volumes: [{name: v}]}", "task_definition.docker_volumes"),
            ("task_definition: {services: {web: {gpu: 1}}}", "task_definition.services.web.gpu"),
            ("task_definition: {services: {web: {healthcheck: {test: x}}}}", "services.web.healthcheck"),
            ("run_params: {network_configuration: {awsvpc_configuration: {subnets: [a]}}}", "network_configuration"),
        ] {
            let refused = read(text).unwrap_err().to_string();
            assert!(refused.contains(name), "{text}: {refused}");
        }
        let fine = "version: 1\ntask_definition: {docker_volumes: [], services: {web: {mem_limit: 64m, secrets: []}}}\nnews: 1";
        assert!(read(fine).unwrap().task_definition.services["web"].mem_limit.is_some());
    }
}

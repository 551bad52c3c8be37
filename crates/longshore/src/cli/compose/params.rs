//! `ecs-params.yml`: what a task definition says and a compose file cannot.

use super::file::interpolate;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// The file. Keys it does not name are ignored, as the original's loader does.
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
    pub(super) secrets: Vec<Value>,
    pub(super) depends_on: Vec<Value>,
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
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not as it should be", path.display()))
}

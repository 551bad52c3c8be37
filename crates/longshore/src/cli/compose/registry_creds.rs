//! The file that says with which secret each container's image is pulled, as `registry-creds up` of the ECS CLI writes it.

use super::{
    super::say,
    members, reading,
    yaml::{self, Numbers},
};
use anyhow::{Context, Result};
use serde::Deserialize;
use shapes::ecs;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    registry_credential_outputs: Outputs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outputs {
    task_execution_role: Option<String>,
    container_credentials: BTreeMap<String, Credentials>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Credentials {
    credentials_parameter: Option<String>,
    container_names: Vec<String>,
}

/// Writes what the named file, or this folder's newest, says into a definition. What ecs-params says there wins.
pub(super) fn apply(path: Option<&Path>, definition: &mut ecs::RegisterTaskDefinitionRequest) -> Result<()> {
    let Some(path) = path.map(Path::to_owned).or_else(|| newest(Path::new("."))) else { return Ok(()) };
    let (file, _) = yaml::read(&path, &reading::text(&path)?, Numbers::AsWritten)?;
    let file: File = members::read(file).with_context(|| path.display().to_string())?.0;
    let outputs = file.registry_credential_outputs;
    if definition.execution_role_arn.is_none() {
        definition.execution_role_arn = outputs.task_execution_role;
    }
    for credentials in outputs.container_credentials.into_values() {
        for name in &credentials.container_names {
            let mut containers = definition.container_definitions.iter_mut().flatten();
            match containers.find(|c| c.name.as_ref() == Some(name)) {
                Some(container) if container.repository_credentials.is_none() => {
                    let credentials_parameter = credentials.credentials_parameter.clone();
                    container.repository_credentials = Some(ecs::RepositoryCredentials { credentials_parameter });
                }
                Some(_) => {}
                None => say::warn(
                    "The registry credentials name a container that no compose file has",
                    &[("container", name)],
                ),
            }
        }
    }
    Ok(())
}

/// Their names end in the time at which they were written.
fn newest(folder: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with("ecs-registry-creds_") && name.ends_with(".yml")).max().map(|n| folder.join(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_get_their_credentials() {
        let dir = tempfile::TempDir::new().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("ecs-registry-creds_20260101T000000Z.yml", "old");
        write(
            "ecs-registry-creds_20260102T000000Z.yml",
            "version: '1'\nregistry_credential_outputs:\n  task_execution_role: puller\n  container_credentials:\n    \
             r.example: {credentials_parameter: arn:secret, container_names: [web, gone]}",
        );
        let container = |name: &str| ecs::ContainerDefinition { name: Some(name.to_owned()), ..Default::default() };
        let mut definition = ecs::RegisterTaskDefinitionRequest {
            container_definitions: Some(vec![container("db"), container("web")]),
            ..Default::default()
        };
        apply(newest(dir.path()).as_deref(), &mut definition).unwrap();
        assert_eq!(definition.execution_role_arn.as_deref(), Some("puller"));
        let found: Vec<_> =
            definition.container_definitions.iter().flatten().map(|c| &c.repository_credentials).collect();
        assert!(found[0].is_none());
        assert_eq!(found[1].as_ref().unwrap().credentials_parameter.as_deref(), Some("arn:secret"));
        assert!(apply(Some(&dir.path().join("missing.yml")), &mut definition).is_err());
    }
}

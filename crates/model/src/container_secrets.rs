//! What a container is given beside what its definition says itself: secrets, files of variables, credentials of its registry.

use crate::{
    ContainerDefinition, InvalidDefinition, RouterConfig,
    definition_rules::refuse,
    vault::{SecretReference, env_file},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A variable whose value is a secret's or a parameter's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSecret {
    /// The variable.
    pub name: String,
    /// What its value is; see [`SecretReference`].
    pub value_from: String,
}

impl ContainerDefinition {
    /// Whether the server has to be asked for something before the container can be made.
    pub fn needs_provision(&self) -> bool {
        let has_secret_options = self.log_configuration.as_ref().is_some_and(|log| !log.secret_options.is_empty());
        let has_config = self.firelens.as_ref().is_some_and(|it| matches!(it.config(), Some(RouterConfig::S3(_))));
        !self.secrets.is_empty()
            || !self.environment_files.is_empty()
            || self.repository_credentials.is_some()
            || has_secret_options
            || has_config
    }

    /// The agent capabilities that what is given to it asks for. Source: agent, `app/agent_capability.go`.
    pub(crate) fn provision_attributes(&self) -> impl Iterator<Item = &'static str> {
        let secrets = self.secrets.iter().filter_map(|secret| SecretReference::parse(&secret.value_from).ok());
        let secrets = secrets.map(|reference| match reference {
            SecretReference::Secret { .. } => "ecs.capability.secrets.asm.environment-variables",
            SecretReference::Parameter { .. } => "ecs.capability.secrets.ssm.environment-variables",
        });
        let files = self.environment_files.first().map(|_| "ecs.capability.env-files.s3");
        let registry = self.repository_credentials.as_ref();
        let registry = registry.map(|_| "ecs.capability.private-registry-authentication.secretsmanager");
        secrets.chain(files).chain(registry)
    }
}

/// The rules for it. `has_role` says whether the definition names an execution role.
pub(crate) fn check(c: &ContainerDefinition, has_role: bool) -> Result<(), InvalidDefinition> {
    let setting = |what: String| refuse(format!("Invalid setting for container '{}'. {what}", c.name));
    if !c.secrets.is_empty() && !has_role {
        return refuse(
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
        );
    }
    if c.repository_credentials.is_some() && !has_role {
        return refuse(
            "When you are specifying repository credentials, you must also specify a value for 'executionRoleArn'.",
        );
    }
    let mut names: BTreeSet<&str> = c.environment.iter().map(|(name, _)| name.as_str()).collect();
    for secret in &c.secrets {
        if secret.name.is_empty() || secret.name.contains(['=', '\0']) {
            return setting("A secret has an invalid name.".to_owned());
        }
        if !names.insert(&secret.name) {
            return refuse(format!(
                "The secret name must be unique and not shared with any new or existing environment variables set on the \
                 container, such as '{}'.",
                secret.name
            ));
        }
        if let Err(error) = SecretReference::parse(&secret.value_from) {
            return setting(format!("The 'valueFrom' of secret '{}' is not valid: {error}.", secret.name));
        }
    }
    if c.environment_files.len() > env_file::MAX_FILES {
        return setting(format!("It has more than {} environment files.", env_file::MAX_FILES));
    }
    for file in &c.environment_files {
        if let Err(error) = env_file::Place::parse(file) {
            return setting(format!("An environment file is not valid: {error}."));
        }
    }
    if c.repository_credentials.as_ref().is_some_and(String::is_empty) {
        return setting("'credentialsParameter' must not be empty.".to_owned());
    }
    Ok(())
}

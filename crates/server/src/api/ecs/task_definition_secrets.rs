//! What a container is given beside what its definition says itself, between AWS's form and the model's.

use crate::api::ApiError;
use model::{ContainerDefinition, ContainerSecret};
use shapes::ecs as aws;

/// What of it the request says.
pub(super) struct Given {
    pub(super) secrets: Vec<ContainerSecret>,
    pub(super) environment_files: Vec<String>,
    pub(super) repository_credentials: Option<String>,
}

/// Takes it out of a container's definition.
pub(super) fn take(given: &mut aws::ContainerDefinition) -> Result<Given, ApiError> {
    Ok(Given {
        secrets: given.secrets.take().unwrap_or_default().into_iter().map(secret).collect(),
        environment_files: files(given.environment_files.take())?,
        repository_credentials: given
            .repository_credentials
            .take()
            .map(|credentials| credentials.credentials_parameter.unwrap_or_default()),
    })
}

/// The files' ARNs.
pub(crate) fn files(given: Option<Vec<aws::EnvironmentFile>>) -> Result<Vec<String>, ApiError> {
    let file = |file: aws::EnvironmentFile| match file.r#type.as_deref() {
        Some("s3") => Ok(file.value.unwrap_or_default()),
        other => Err(ApiError::client(format!("Unsupported environment file type '{}'.", other.unwrap_or_default()))),
    };
    given.unwrap_or_default().into_iter().map(file).collect()
}

/// As AWS shows them.
pub(crate) fn shown_files(files: &[String]) -> Option<Vec<aws::EnvironmentFile>> {
    let file = |arn: &String| aws::EnvironmentFile { value: Some(arn.clone()), r#type: Some("s3".to_owned()) };
    super::task_definition_convert::listed(files, file)
}

/// A secret, and an option of a log driver that is one.
pub(super) fn secret(given: aws::Secret) -> ContainerSecret {
    ContainerSecret { name: given.name.unwrap_or_default(), value_from: given.value_from.unwrap_or_default() }
}

/// As AWS shows it.
pub(super) fn shown_secret(secret: &ContainerSecret) -> aws::Secret {
    aws::Secret { name: Some(secret.name.clone()), value_from: Some(secret.value_from.clone()) }
}

/// Puts it into a container's definition as AWS shows it.
pub(super) fn show(container: &ContainerDefinition, shown: &mut aws::ContainerDefinition) {
    shown.secrets = super::task_definition_convert::listed(&container.secrets, shown_secret);
    shown.environment_files = shown_files(&container.environment_files);
    shown.repository_credentials = container
        .repository_credentials
        .clone()
        .map(|secret| aws::RepositoryCredentials { credentials_parameter: Some(secret) });
}

//! `executeCommandConfiguration` of a cluster: what becomes of what sessions of ExecuteCommand show. There are no keys of KMS here
//! and no buckets of S3, so what needs one is refused by the table of members (`false` says nothing there).

use crate::api::ApiError;
use model::ExecLogging;
use shapes::ecs as aws;

/// AWS does not publish its words for these.
const NEEDS_OVERRIDE: &str = "A logConfiguration can only be specified when logging is OVERRIDE.";
const NEEDS_CONFIGURATION: &str =
    "A logConfiguration with a cloudWatchLogGroupName must be specified when logging is OVERRIDE.";

/// What a request says of it; none if it says nothing.
pub(super) fn parse(given: Option<aws::ClusterConfiguration>) -> Result<Option<ExecLogging>, ApiError> {
    let Some(given) = given.and_then(|given| given.execute_command_configuration) else { return Ok(None) };
    let group = given.log_configuration.and_then(|log| log.cloud_watch_log_group_name).filter(|name| !name.is_empty());
    match given.logging.as_deref() {
        Some("OVERRIDE") => match group {
            Some(group) => Ok(Some(ExecLogging::Override { group })),
            None => Err(ApiError::invalid(NEEDS_CONFIGURATION)),
        },
        _ if group.is_some() => Err(ApiError::invalid(NEEDS_OVERRIDE)),
        Some("NONE") => Ok(Some(ExecLogging::None)),
        Some("DEFAULT") | None => Ok(Some(ExecLogging::Default)),
        Some(other) => Err(ApiError::invalid(format!("Invalid logging '{other}': NONE, DEFAULT or OVERRIDE."))),
    }
}

/// As it was given.
pub(super) fn render(logging: &ExecLogging) -> aws::ClusterConfiguration {
    let (word, group) = match logging {
        ExecLogging::None => ("NONE", None),
        ExecLogging::Default => ("DEFAULT", None),
        ExecLogging::Override { group } => ("OVERRIDE", Some(group)),
    };
    let log = group.map(|group| aws::ExecuteCommandLogConfiguration {
        cloud_watch_encryption_enabled: Some(false),
        cloud_watch_log_group_name: Some(group.clone()),
        s3_encryption_enabled: Some(false),
        ..aws::ExecuteCommandLogConfiguration::default()
    });
    let configuration = aws::ExecuteCommandConfiguration {
        logging: Some(word.to_owned()),
        log_configuration: log,
        ..aws::ExecuteCommandConfiguration::default()
    };
    aws::ClusterConfiguration {
        execute_command_configuration: Some(configuration),
        ..aws::ClusterConfiguration::default()
    }
}

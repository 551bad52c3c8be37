//! Log drivers and log routers between AWS's form and the model's.

use super::{
    task_definition_convert::{listed, not_honoured, set},
    task_definition_secrets as provided,
};
use crate::api::ApiError;
use model::{
    Firelens, FirelensType, LogConfiguration, LogDriver,
    logging::{is_line, is_line_name},
};
use shapes::ecs as aws;
use telemetry::driver::{self, OptionError};

/// Where a container's output goes. What its options say is [checked](check) later.
pub(super) fn parse(container: &str, given: aws::LogConfiguration) -> Result<LogConfiguration, ApiError> {
    let options = given.options.unwrap_or_default();
    let secret_options: Vec<_> = given.secret_options.unwrap_or_default().into_iter().map(provided::secret).collect();
    let name = given.log_driver.unwrap_or_default();
    let Some(driver) = LogDriver::parse(&name) else {
        return Err(not_honoured(format_args!("containerDefinitions.logConfiguration.logDriver {name}")));
    };
    match driver {
        // They need none: what they are told is no secret to the agent.
        LogDriver::Awslogs | LogDriver::JsonFile if !secret_options.is_empty() => {
            let what = format_args!("containerDefinitions.logConfiguration.secretOptions with log driver {name}");
            return Err(not_honoured(what));
        }
        LogDriver::Awsfirelens => routed(container, &options)?,
        LogDriver::Awslogs
        | LogDriver::JsonFile
        | LogDriver::Syslog
        | LogDriver::Fluentd
        | LogDriver::Gelf
        | LogDriver::Splunk
        | LogDriver::Journald => {}
    }
    Ok(LogConfiguration { driver, options, secret_options })
}

/// The options of the driver. They are looked at once it is known that Fargate has it, if it is to run there.
pub(super) fn check(container: &str, log: &LogConfiguration) -> Result<(), ApiError> {
    let secret = log.secret_options.iter().map(|secret| secret.name.as_str());
    driver::check(log.driver, &log.options, secret).map_err(|error| match error {
        OptionError::NotHonoured(option) => {
            not_honoured(format_args!("containerDefinitions.logConfiguration.options.{option}"))
        }
        OptionError::Unknown { .. } | OptionError::Missing { .. } | OptionError::Invalid(_) => {
            ApiError::client(format!("{error} (container '{container}')."))
        }
    })
}

/// The options of `awsfirelens` become lines of the router's configuration: each has to be one.
fn routed(container: &str, options: &driver::Options) -> Result<(), ApiError> {
    let bad = |(name, value): &(&String, &String)| !is_line_name(name) || !is_line(value);
    match options.iter().find(bad) {
        None => Ok(()),
        Some((name, _)) => Err(ApiError::client(format!(
            "The log option '{name}' of container '{container}' cannot be a line of the log router's configuration."
        ))),
    }
}

/// As AWS shows it.
pub(super) fn shown(log: &LogConfiguration) -> aws::LogConfiguration {
    aws::LogConfiguration {
        log_driver: Some(log.driver.as_str().to_owned()),
        options: (!log.options.is_empty()).then(|| log.options.clone()),
        secret_options: listed(&log.secret_options, provided::shown_secret),
    }
}

/// A log router.
pub(super) fn router(container: &str, given: aws::FirelensConfiguration) -> Result<Firelens, ApiError> {
    let word = set(given.r#type).unwrap_or_default();
    let Some((_, kind)) = FirelensType::ALL.into_iter().find(|(known, _)| *known == word) else {
        let words = FirelensType::ALL.map(|(word, _)| word).join(",");
        return Err(ApiError::client(format!(
            "{word} is not a valid value for firelensConfiguration.type of container '{container}'. The value must be one of \
             [{words}]"
        )));
    };
    Ok(Firelens { kind, options: given.options.unwrap_or_default() })
}

/// As AWS shows it.
pub(super) fn shown_router(router: &Firelens) -> aws::FirelensConfiguration {
    aws::FirelensConfiguration {
        r#type: Some(router.kind.as_str().to_owned()),
        options: (!router.options.is_empty()).then(|| router.options.clone()),
    }
}

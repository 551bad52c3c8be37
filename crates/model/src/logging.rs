//! Where a container's output goes: log drivers, and the log router of a task (FireLens).
//!
//! What the options of drivers may say is read in `telemetry::driver`; here are the rules between containers.

use crate::{
    Compatibility, ContainerDefinition, ContainerDependency, ContainerSecret, DependencyCondition, InvalidDefinition,
    NetworkMode, TaskDefinitionSpec,
    definition_rules::refuse,
    vault::{SecretReference, env_file},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfiguration {
    /// The driver.
    pub driver: LogDriver,
    /// Its options, checked when the definition was registered.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Options whose values are secrets or parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_options: Vec<ContainerSecret>,
}

/// Log drivers that exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// CloudWatch Logs: our own store.
    Awslogs,
    /// A file on the instance.
    JsonFile,
    /// A syslog server.
    Syslog,
    /// A server of the forward protocol.
    Fluentd,
    /// A server of Graylog's format.
    Gelf,
    /// Splunk's HTTP event collector.
    Splunk,
    /// The instance's journal.
    Journald,
    /// The task's log router.
    Awsfirelens,
}

/// Whether output may be lost rather than hold up whoever writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogMode {
    /// Nothing may be lost.
    Blocking,
    /// Nothing may be held up. AWS: the default since 2025 (the account setting `defaultLogDriverMode`).
    #[default]
    NonBlocking,
}

/// Makes a container the task's log router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firelens {
    /// Which program it is.
    #[serde(rename = "type")]
    pub kind: FirelensType,
    /// As given; see the constants of this type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// Log routers that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirelensType {
    /// Fluentd.
    Fluentd,
    /// Fluent Bit.
    Fluentbit,
}

/// Where more of a router's configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouterConfig {
    /// A file of its image.
    File(String),
    /// An object in S3, by its ARN.
    S3(String),
}

impl Firelens {
    /// Whether records are told of the task; they are if nothing is said.
    pub const METADATA: &'static str = "enable-ecs-log-metadata";
    /// `file` or `s3`.
    pub const FILE_TYPE: &'static str = "config-file-type";
    /// A path or an ARN.
    pub const FILE_VALUE: &'static str = "config-file-value";

    /// Whether records are told of the task.
    pub fn tells_metadata(&self) -> bool {
        self.options.get(Self::METADATA).is_none_or(|value| value != "false")
    }

    /// Where more of its configuration is.
    pub fn config(&self) -> Option<RouterConfig> {
        let value = self.options.get(Self::FILE_VALUE)?.clone();
        match self.options.get(Self::FILE_TYPE).map(String::as_str) {
            Some("file") => Some(RouterConfig::File(value)),
            Some("s3") => Some(RouterConfig::S3(value)),
            Some(_) | None => None,
        }
    }
}

impl FirelensType {
    /// All, by AWS's words.
    pub const ALL: [(&'static str, Self); 2] = [("fluentd", Self::Fluentd), ("fluentbit", Self::Fluentbit)];

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fluentd => "fluentd",
            Self::Fluentbit => "fluentbit",
        }
    }
}

impl LogMode {
    /// The mode of that name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "blocking" => Some(Self::Blocking),
            "non-blocking" => Some(Self::NonBlocking),
            _ => None,
        }
    }
}

impl LogDriver {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Awslogs,
        Self::JsonFile,
        Self::Syslog,
        Self::Fluentd,
        Self::Gelf,
        Self::Splunk,
        Self::Journald,
        Self::Awsfirelens,
    ];

    /// The driver of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|driver| driver.as_str() == text)
    }

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Awslogs => "awslogs",
            Self::JsonFile => "json-file",
            Self::Syslog => "syslog",
            Self::Fluentd => "fluentd",
            Self::Gelf => "gelf",
            Self::Splunk => "splunk",
            Self::Journald => "journald",
            Self::Awsfirelens => "awsfirelens",
        }
    }

    /// What an instance says that has it. Source: agent, `app/agent_capability.go`.
    pub fn capability(self) -> &'static str {
        match self {
            Self::Awslogs => "com.amazonaws.ecs.capability.logging-driver.awslogs",
            Self::JsonFile => "com.amazonaws.ecs.capability.logging-driver.json-file",
            Self::Syslog => "com.amazonaws.ecs.capability.logging-driver.syslog",
            Self::Fluentd => "com.amazonaws.ecs.capability.logging-driver.fluentd",
            Self::Gelf => "com.amazonaws.ecs.capability.logging-driver.gelf",
            Self::Splunk => "com.amazonaws.ecs.capability.logging-driver.splunk",
            Self::Journald => "com.amazonaws.ecs.capability.logging-driver.journald",
            Self::Awsfirelens => "com.amazonaws.ecs.capability.logging-driver.awsfirelens",
        }
    }

    /// Whether Fargate has it. Source: `LogConfiguration$logDriver`.
    pub fn is_on_fargate(self) -> bool {
        match self {
            Self::Awslogs | Self::Splunk | Self::Awsfirelens => true,
            Self::JsonFile | Self::Syslog | Self::Fluentd | Self::Gelf | Self::Journald => false,
        }
    }
}

/// The option of `splunk` that names a file of the instance, which nobody on Fargate has.
pub(crate) const SPLUNK_CA_PATH: &str = "splunk-capath";
/// The option of `awsfirelens` that is the driver's own and not the router's.
pub const BUFFER_LIMIT: &str = "log-driver-buffer-limit";

impl ContainerDefinition {
    /// Whether its output goes through the task's log router.
    pub fn is_routed(&self) -> bool {
        self.log_configuration.as_ref().is_some_and(|log| log.driver == LogDriver::Awsfirelens)
    }

    /// The agent capabilities that its logging asks for. Source: agent, `app/agent_capability.go`.
    pub(crate) fn logging_attributes(&self) -> impl Iterator<Item = &'static str> {
        let mut names = Vec::new();
        if let Some(log) = &self.log_configuration {
            names.push(log.driver.capability());
            if log.driver == LogDriver::Awsfirelens && log.options.contains_key(BUFFER_LIMIT) {
                names.push("ecs.capability.logging-driver.awsfirelens.log-driver-buffer-limit");
            }
            let secrets =
                log.secret_options.iter().filter_map(|secret| SecretReference::parse(&secret.value_from).ok());
            names.extend(secrets.map(|reference| match reference {
                SecretReference::Secret { .. } => "ecs.capability.secrets.asm.bootstrap.log-driver",
                SecretReference::Parameter { .. } => "ecs.capability.secrets.ssm.bootstrap.log-driver",
            }));
        }
        if let Some(firelens) = &self.firelens {
            names.push(match firelens.kind {
                FirelensType::Fluentd => "ecs.capability.firelens.fluentd",
                FirelensType::Fluentbit => "ecs.capability.firelens.fluentbit",
            });
            match firelens.config() {
                Some(RouterConfig::File(_)) => names.push("ecs.capability.firelens.options.config.file"),
                Some(RouterConfig::S3(_)) => names.push("ecs.capability.firelens.options.config.s3"),
                None => {}
            }
        }
        names.into_iter()
    }
}

impl TaskDefinitionSpec {
    /// The position of the task's log router.
    pub fn router(&self) -> Option<usize> {
        self.containers.iter().position(|container| container.firelens.is_some())
    }

    /// The dependencies on the log router that nobody has to write down. AWS: one that is written down takes their place.
    pub fn implied_dependencies(&self) -> Vec<(usize, ContainerDependency)> {
        let Some(router) = self.router() else { return Vec::new() };
        let name = &self.containers[router].name;
        let on = ContainerDependency { container_name: name.clone(), condition: DependencyCondition::Start };
        let routed = self.containers.iter().enumerate().filter(|(_, container)| container.is_routed());
        let open = routed.filter(|(_, container)| container.depends_on.iter().all(|on| on.container_name != *name));
        open.map(|(at, _)| (at, on.clone())).collect()
    }

    /// The rules of logging.
    pub(crate) fn check_logging(&self) -> Result<(), InvalidDefinition> {
        for container in &self.containers {
            check_secrets(container, self.execution_role_arn.is_some())?;
        }
        let routers: Vec<_> = self.containers.iter().filter_map(|c| Some((c, c.firelens.as_ref()?))).collect();
        let is_routed = self.containers.iter().any(ContainerDefinition::is_routed);
        match routers[..] {
            [] if is_routed => refuse(
                "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be \
                 configured in one of the containers.",
            ),
            [] => Ok(()),
            [(router, firelens)] => {
                if !is_routed {
                    return refuse(
                        "When a firelensConfiguration object is specified, at least one container has to be configured \
                         with the awsfirelens log driver.",
                    );
                }
                self.check_router(router, firelens)
            }
            // AWS: does not publish the text.
            [_, _, ..] => refuse("Only one container can be configured with a firelensConfiguration object."),
        }
    }

    fn check_router(&self, router: &ContainerDefinition, firelens: &Firelens) -> Result<(), InvalidDefinition> {
        let setting = |what: String| refuse(format!("Invalid setting for container '{}'. {what}", router.name));
        if router.is_routed() {
            return setting("The log driver awsfirelens is not supported for the log router itself.".to_owned());
        }
        // AWS: "The FireLens container must run as root" (the developer guide); its text names user ID 0.
        if router.user.as_deref().is_some_and(|user| !matches!(user.split(':').next(), Some("0" | "root"))) {
            return setting("A container with a firelensConfiguration must run as user 0.".to_owned());
        }
        if self.effective_network_mode() == NetworkMode::None || router.disable_networking == Some(true) {
            return setting("A container with a firelensConfiguration must have a network.".to_owned());
        }
        let known = [Firelens::METADATA, Firelens::FILE_TYPE, Firelens::FILE_VALUE];
        if let Some(other) = firelens.options.keys().find(|option| !known.contains(&option.as_str())) {
            return setting(format!("'{other}' is no option of 'firelensConfiguration'."));
        }
        let option = |name: &str| firelens.options.get(name).map(String::as_str);
        if let Some(other) = option(Firelens::METADATA).filter(|value| !matches!(*value, "true" | "false")) {
            return setting(format!("'{}' must be true or false, not '{other}'.", Firelens::METADATA));
        }
        match (option(Firelens::FILE_TYPE), option(Firelens::FILE_VALUE)) {
            (None, None) => Ok(()),
            (Some("file"), Some(path)) if path.starts_with('/') && is_line(path) => Ok(()),
            (Some("file"), Some(path)) => {
                setting(format!("'{}' must be an absolute path: '{path}'.", Firelens::FILE_VALUE))
            }
            (Some("s3"), Some(_)) if self.requires_compatibilities.contains(&Compatibility::Fargate) => {
                setting(format!("'{}' s3 is not supported on Fargate: use file.", Firelens::FILE_TYPE))
            }
            (Some("s3"), Some(arn)) => match env_file::Place::object(arn) {
                Ok(_) => Ok(()),
                Err(error) => setting(format!("'{}' is not valid: {error}.", Firelens::FILE_VALUE)),
            },
            (Some("file" | "s3"), None) | (None, Some(_)) => {
                setting(format!("'{}' and '{}' go together.", Firelens::FILE_TYPE, Firelens::FILE_VALUE))
            }
            (Some(other), _) => setting(format!("'{}' must be file or s3, not '{other}'.", Firelens::FILE_TYPE)),
        }
    }
}

/// Whether a text can be part of a line of a router's configuration.
pub fn is_line(text: &str) -> bool {
    !text.contains(['\n', '\r', '\0'])
}

/// Whether a text can be the name of an option of a router's output, which is the first word of a line.
pub fn is_line_name(text: &str) -> bool {
    !text.is_empty() && is_line(text) && !text.contains(char::is_whitespace)
}

fn check_secrets(c: &ContainerDefinition, has_role: bool) -> Result<(), InvalidDefinition> {
    let Some(log) = &c.log_configuration else { return Ok(()) };
    let setting = |what: String| refuse(format!("Invalid setting for container '{}'. {what}", c.name));
    if !log.secret_options.is_empty() && !has_role {
        // AWS: of `secrets` it is known to say this.
        return refuse(
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
        );
    }
    let mut names: BTreeSet<&str> = log.options.keys().map(String::as_str).collect();
    for secret in &log.secret_options {
        // It becomes a line of a configuration and a variable of its name.
        if !is_line_name(&secret.name) || secret.name.contains('=') {
            return setting("A secret option has an invalid name.".to_owned());
        }
        if !names.insert(&secret.name) {
            return setting(format!("The log option '{}' is given twice.", secret.name));
        }
        if let Err(error) = SecretReference::parse(&secret.value_from) {
            return setting(format!("The 'valueFrom' of secret option '{}' is not valid: {error}.", secret.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, driver: Option<LogDriver>, router: bool) -> ContainerDefinition {
        ContainerDefinition {
            name: name.to_owned(),
            log_configuration: driver.map(|driver| LogConfiguration {
                driver,
                options: BTreeMap::new(),
                secret_options: Vec::new(),
            }),
            firelens: router.then(|| Firelens { kind: FirelensType::Fluentbit, options: BTreeMap::new() }),
            ..ContainerDefinition::default()
        }
    }

    fn spec(containers: Vec<ContainerDefinition>) -> TaskDefinitionSpec {
        TaskDefinitionSpec {
            family: crate::Family::parse("web").unwrap(),
            network_mode: None,
            cpu: None,
            memory: None,
            requires_compatibilities: Vec::new(),
            execution_role_arn: None,
            task_role_arn: None,
            runtime_platform: None,
            ephemeral_storage_gib: None,
            pid_mode: None,
            ipc_mode: None,
            volumes: Vec::new(),
            placement_constraints: Vec::new(),
            containers,
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for driver in LogDriver::ALL {
            assert_eq!(LogDriver::parse(driver.as_str()), Some(driver));
            assert!(driver.capability().ends_with(driver.as_str()));
        }
        assert_eq!(LogDriver::parse("logentries"), None);
    }

    #[test]
    fn a_task_has_one_router_and_somebody_uses_it() {
        let check = |containers: Vec<ContainerDefinition>, want: Result<(), &str>| {
            let got = spec(containers).check_logging().map_err(|error| error.0);
            match (got, want) {
                (Ok(()), Ok(())) => {}
                (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
                (got, want) => panic!("{got:?}, not {want:?}"),
            }
        };
        let (app, router) = (|| container("app", Some(LogDriver::Awsfirelens), false), || container("r", None, true));
        check(vec![app(), router()], Ok(()));
        check(vec![app()], Err("a firelens configuration object must be configured in one of the containers"));
        check(vec![router()], Err("at least one container has to be configured with the awsfirelens log driver"));
        check(vec![app(), router(), container("s", None, true)], Err("Only one container"));
        check(vec![app(), container("r", Some(LogDriver::Awsfirelens), true)], Err("for the log router itself"));
        check(vec![app(), ContainerDefinition { user: Some("1000".into()), ..router() }], Err("must run as user 0"));
        check(vec![app(), ContainerDefinition { user: Some("0:5".into()), ..router() }], Ok(()));
        let with = |options: &[(&str, &str)]| {
            let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let firelens = Some(Firelens { kind: FirelensType::Fluentd, options });
            vec![app(), ContainerDefinition { firelens, ..router() }]
        };
        check(with(&[("enable-ecs-log-metadata", "true")]), Ok(()));
        check(with(&[("enable-ecs-log-metadata", "perhaps")]), Err("must be true or false"));
        check(with(&[("config-file-type", "file"), ("config-file-value", "/extra.conf")]), Ok(()));
        for bad in ["extra.conf", "/extra\n.conf", "/extra\r[OUTPUT].conf"] {
            check(with(&[("config-file-type", "file"), ("config-file-value", bad)]), Err("an absolute path"));
        }
        check(with(&[("config-file-type", "s3"), ("config-file-value", "arn:aws:s3:::b/extra.conf")]), Ok(()));
        check(with(&[("config-file-type", "s3"), ("config-file-value", "b/extra.conf")]), Err("is not valid"));
        check(with(&[("config-file-type", "file")]), Err("go together"));
        check(with(&[("config-file-type", "http"), ("config-file-value", "/x")]), Err("must be file or s3"));
        check(with(&[("colour", "red")]), Err("'colour' is no option"));
    }

    #[test]
    fn what_is_routed_waits_for_the_router_unless_it_says_how() {
        let (app, router) = (container("app", Some(LogDriver::Awsfirelens), false), container("r", None, true));
        let other = container("other", None, false);
        let implied = spec(vec![app.clone(), other, router.clone()]).implied_dependencies();
        assert_eq!(implied.len(), 1);
        assert_eq!((implied[0].0, implied[0].1.container_name.as_str()), (0, "r"));
        let on = ContainerDependency { container_name: "r".into(), condition: DependencyCondition::Healthy };
        let explicit = ContainerDefinition { depends_on: vec![on], ..app };
        assert_eq!(spec(vec![explicit, router]).implied_dependencies(), []);
    }

    #[test]
    fn secret_options_are_options_too() {
        let secret = |name: &str, from: &str| ContainerSecret { name: name.into(), value_from: from.into() };
        let check = |secrets: Vec<ContainerSecret>, role: bool, want: Option<&str>| {
            let mut c = container("app", Some(LogDriver::Splunk), false);
            let log = c.log_configuration.as_mut().unwrap();
            log.options.insert("splunk-url".into(), "https://x:8088".into());
            log.secret_options = secrets;
            let got = check_secrets(&c, role).err().map(|error| error.0);
            assert_eq!(got.is_some(), want.is_some(), "{got:?}");
            assert!(got.unwrap_or_default().contains(want.unwrap_or_default()));
        };
        check(vec![secret("splunk-token", "/splunk/token")], true, None);
        check(vec![secret("splunk-token", "/splunk/token")], false, Some("executionRoleArn"));
        check(vec![secret("splunk-url", "/splunk/token")], true, Some("'splunk-url' is given twice"));
        check(vec![secret("splunk-token", "what?")], true, Some("is not valid"));
        for name in ["", "a b", "a\nb", "a\rb", "a=b"] {
            check(vec![secret(name, "/splunk/token")], true, Some("invalid name"));
        }
    }
}

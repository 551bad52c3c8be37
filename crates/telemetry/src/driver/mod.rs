//! The options of log drivers: which there are, what they may say, and what they mean.
//!
//! Both ends read them here, the server to refuse a task definition that asks for what cannot be had, and the agent to do what
//! it asks for; so an option that is accepted is one that is honoured. Texts are Docker's where Docker refuses the same thing.
//! What the options do is in `docs/decisions/0009-container-output.md`.

mod common;
mod datetime;
mod fluentd;
mod gelf;
mod journald;
mod size;
mod splunk;
mod syslog;
mod tag;

pub use common::{Address, Common, Wanted};
pub use fluentd::{Fluentd, Router};
pub use gelf::{Compression, Gelf};
pub use journald::Journald;
pub use splunk::{Splunk, SplunkFormat};
pub use syslog::{Syslog, SyslogFormat, Tls};
pub use tag::{Identity, Template};

use common::{boolean, delivery};
use std::collections::BTreeMap;
use std::time::Duration;

use model::{LogDriver, LogMode};
use regex::bytes::{Regex, RegexBuilder};

/// Options by name, as a task definition has them.
pub type Options = BTreeMap<String, String>;

/// What `awslogs` takes and honours.
const AWSLOGS: &[&str] = &[GROUP, REGION, STREAM_PREFIX, CREATE_GROUP, DATETIME, MULTILINE, FLUSH, MODE, BUFFER];
/// What Docker's `awslogs` takes besides, and we do not.
const AWSLOGS_OTHER: &[&str] = &[
    "awslogs-create-stream",
    "awslogs-credentials-endpoint",
    "awslogs-endpoint",
    "awslogs-format",
    "awslogs-max-buffered-events",
    "awslogs-stream",
    "cache-disabled",
    "env",
    "labels",
    "tag",
];
/// What `json-file` takes and honours.
const JSON_FILE: &[&str] = &[MAX_SIZE, MAX_FILE];
/// What Docker's `json-file` takes besides. Our file holds the output as it was written, so there is nothing in it to which
/// labels or variables could be added, and it is one file, so there are no older ones to compress.
const JSON_FILE_OTHER: &[&str] =
    &["compress", "env", "env-regex", "labels", "labels-regex", "max-buffer-size", "mode", "tag"];

const GROUP: &str = "awslogs-group";
const REGION: &str = "awslogs-region";
const STREAM_PREFIX: &str = "awslogs-stream-prefix";
const CREATE_GROUP: &str = "awslogs-create-group";
const DATETIME: &str = "awslogs-datetime-format";
const MULTILINE: &str = "awslogs-multiline-pattern";
const FLUSH: &str = "awslogs-force-flush-interval-seconds";
const MODE: &str = "mode";
const BUFFER: &str = "max-buffer-size";
const MAX_SIZE: &str = "max-size";
const MAX_FILE: &str = "max-file";

/// AWS: how long the last lines of an event of several lines wait for more (Docker's default too).
const FLUSH_AFTER: Duration = Duration::from_secs(5);
/// AWS: `max-buffer-size` where it is not given (ECS, `LogConfiguration$options`).
const BUFFER_BYTES: u64 = 10 << 20;
/// What a container whose output is never to be dropped may have on disk that the server has not taken: hours of a chatty
/// container's output, and little enough that a few of them do not fill a machine's disk.
const BLOCKING_BYTES: u64 = 1 << 30;
/// Output kept of a container whose output goes nowhere else: enough to find out what went wrong, for hundreds of containers.
pub const LOCAL_BYTES: u64 = 64 << 20;
/// The least of it that can be kept: a few blocks of the file system.
const LEAST_LOCAL_BYTES: u64 = 16 << 10;
/// Compiled size of a start pattern: Docker has no bound; a hundred times what the formats of log libraries need.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Why options cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The driver has no such option.
    #[error("{}", unknown(*.driver, .option))]
    Unknown {
        /// The driver.
        driver: LogDriver,
        /// The option.
        option: String,
    },
    /// The driver has it and we do not do what it asks for.
    #[error("{0}")]
    NotHonoured(String),
    /// One that must be there is missing.
    #[error("Log driver {} requires options: {option}", .driver.as_str())]
    Missing {
        /// The driver.
        driver: LogDriver,
        /// The option.
        option: &'static str,
    },
    /// Its value, or it together with another, makes no sense.
    #[error("{0}")]
    Invalid(String),
}

fn invalid<T>(text: String) -> Result<T, OptionError> {
    Err(OptionError::Invalid(text))
}

/// AWS has words of its own for drivers that Fargate has; of the others those who asked know Docker's.
fn unknown(driver: LogDriver, option: &str) -> String {
    let name = driver.as_str();
    match driver {
        LogDriver::Awslogs | LogDriver::JsonFile | LogDriver::Splunk | LogDriver::Awsfirelens => {
            format!("Log driver {name} disallows options: {option}")
        }
        LogDriver::Syslog | LogDriver::Fluentd | LogDriver::Gelf | LogDriver::Journald => {
            format!("unknown log opt '{option}' for {name} log driver")
        }
    }
}

/// Refuses what `driver` does not take, by name.
fn check_names(driver: LogDriver, options: &Options) -> Result<(), OptionError> {
    let (honoured, shared, other): (_, &[&str], _) = match driver {
        LogDriver::Awslogs => (AWSLOGS, &[], AWSLOGS_OTHER),
        LogDriver::JsonFile => (JSON_FILE, &[], JSON_FILE_OTHER),
        LogDriver::Syslog => (syslog::OPTIONS, common::COMMON, common::COMMON_OTHER),
        LogDriver::Fluentd => (fluentd::OPTIONS, common::COMMON, common::COMMON_OTHER),
        LogDriver::Gelf => (gelf::OPTIONS, common::COMMON, common::COMMON_OTHER),
        LogDriver::Splunk => (splunk::OPTIONS, common::COMMON, common::COMMON_OTHER),
        LogDriver::Journald => (journald::OPTIONS, common::COMMON, common::COMMON_OTHER),
        // All but one are the router's, and only that knows them.
        LogDriver::Awsfirelens => return fluentd::check_buffer_limit(options).map(drop),
    };
    let known = |option: &str| honoured.contains(&option) || shared.contains(&option);
    match options.keys().find(|option| !known(option)) {
        None => Ok(()),
        Some(option) if other.contains(&option.as_str()) => Err(OptionError::NotHonoured(option.clone())),
        Some(option) => Err(OptionError::Unknown { driver, option: option.clone() }),
    }
}

/// Options that say where output goes, and how who takes it is known: errors and logs tell them.
const TOLD: &[&str] = &[
    syslog::ADDRESS,
    syslog::CA,
    syslog::CERT,
    syslog::KEY,
    fluentd::ADDRESS,
    gelf::ADDRESS,
    splunk::URL,
    splunk::CA_PATH,
    splunk::CA_NAME,
];
/// Options of `awsfirelens` that are no lines of its output section, where the router finds secret ones.
const OF_ROUTING: &[&str] = &["include-pattern", "exclude-pattern", model::logging::BUFFER_LIMIT];

/// Stands for a value that only the server knows, where that may be any text.
const ANY: &str = "-";

/// Refuses options that cannot be honoured. `secret` are the names of those whose values are secrets: what these are is found when
/// a container is to start. What has to be there counts as there if it is one of them; all others say what they say without them.
pub fn check<'a>(
    driver: LogDriver,
    options: &Options,
    secret: impl IntoIterator<Item = &'a str>,
) -> Result<(), OptionError> {
    let secret: Vec<&str> = secret.into_iter().collect();
    let never = if driver == LogDriver::Awsfirelens { OF_ROUTING } else { TOLD };
    if let Some(name) = secret.iter().find(|name| never.contains(name)) {
        return Err(OptionError::NotHonoured(format!("{name} as a secret option")));
    }
    let mut all = options.clone();
    all.extend(secret.iter().map(|name| ((*name).to_owned(), ANY.to_owned())));
    check_names(driver, &all)?;
    if driver != LogDriver::Awsfirelens {
        all.retain(|name, _| name == splunk::TOKEN || !secret.contains(&name.as_str()));
    }
    let mode = LogMode::default();
    match driver {
        LogDriver::Awslogs => Awslogs::parse(&all, mode).map(drop),
        LogDriver::JsonFile => JsonFile::parse(&all).map(drop),
        LogDriver::Awsfirelens => Ok(()),
        LogDriver::Syslog | LogDriver::Fluentd | LogDriver::Gelf | LogDriver::Splunk | LogDriver::Journald => {
            Outward::parse(driver, &all, mode, None).map(drop)
        }
    }
}

/// Bytes of output that may wait by these options, as far as they can be read without the secret ones.
pub fn backlog(driver: LogDriver, options: &Options, default: LogMode) -> u64 {
    let read = match driver {
        LogDriver::Fluentd => Fluentd::parse(options, default).map(|of| of.common.backlog),
        LogDriver::Awsfirelens => {
            let nowhere = Router::Socket(String::new());
            Fluentd::of_router(options, nowhere, default).map(|of| of.common.backlog)
        }
        LogDriver::Awslogs
        | LogDriver::JsonFile
        | LogDriver::Syslog
        | LogDriver::Gelf
        | LogDriver::Splunk
        | LogDriver::Journald => delivery(options, default).map(|(_, bytes)| bytes),
    };
    read.unwrap_or(BUFFER_BYTES)
}

/// A driver that sends output elsewhere, with what its options ask for.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Outward {
    Syslog(Syslog),
    Fluentd(Fluentd),
    Gelf(Gelf),
    Splunk(Splunk),
    Journald(Journald),
}

impl Outward {
    /// Reads the options of a driver; `router` is the way to the task's log router, if it has one.
    ///
    /// # Errors
    /// What cannot be honoured.
    pub fn parse(
        driver: LogDriver,
        options: &Options,
        default: LogMode,
        router: Option<Router>,
    ) -> Result<Self, OptionError> {
        check_names(driver, options)?;
        match driver {
            LogDriver::Syslog => Syslog::parse(options, default).map(Self::Syslog),
            LogDriver::Fluentd => Fluentd::parse(options, default).map(Self::Fluentd),
            LogDriver::Gelf => Gelf::parse(options, default).map(Self::Gelf),
            LogDriver::Splunk => Splunk::parse(options, default).map(Self::Splunk),
            LogDriver::Journald => Journald::parse(options, default).map(Self::Journald),
            LogDriver::Awsfirelens => match router {
                Some(router) => Fluentd::of_router(options, router, default).map(Self::Fluentd),
                None => invalid("the task has no log router".to_owned()),
            },
            LogDriver::Awslogs | LogDriver::JsonFile => {
                invalid(format!("log driver {} sends its output nowhere else", driver.as_str()))
            }
        }
    }

    /// What all of them are told.
    pub fn common(&self) -> &Common {
        match self {
            Self::Syslog(of) => &of.common,
            Self::Fluentd(of) => &of.common,
            Self::Gelf(of) => &of.common,
            Self::Splunk(of) => &of.common,
            Self::Journald(of) => &of.common,
        }
    }
}

/// What the options of `awslogs` ask for.
#[derive(Debug, Clone)]
pub struct Awslogs {
    /// The log group.
    pub group: String,
    /// Its region, if it is not the instance's.
    pub region: Option<String>,
    /// What the names of streams begin with.
    pub stream_prefix: Option<String>,
    /// Make the group if it is missing.
    pub create_group: bool,
    /// Matches the first line of an event; without it each line is one.
    pub start: Option<Regex>,
    /// How long an event of several lines waits for more.
    pub flush_after: Duration,
    /// Whether output may be lost.
    pub mode: LogMode,
    /// Bytes of output that may wait for the server; beyond them the oldest is dropped.
    pub backlog: u64,
}

impl Awslogs {
    /// Reads them; `default` is the mode of an account whose definitions name none.
    pub fn parse(options: &Options, default: LogMode) -> Result<Self, OptionError> {
        check_names(LogDriver::Awslogs, options)?;
        let set = |name: &str| options.get(name).filter(|value| !value.is_empty());
        let group = set(GROUP).ok_or(OptionError::Missing { driver: LogDriver::Awslogs, option: GROUP })?.clone();
        let create_group = match set(CREATE_GROUP).map(|value| (value, boolean(value))) {
            None => false,
            Some((_, Some(value))) => value,
            Some((value, None)) => {
                return invalid(format!("must specify valid value for log opt '{CREATE_GROUP}': '{value}'"));
            }
        };
        let flush_after = match set(FLUSH).map(|value| (value, value.parse::<u32>())) {
            None => FLUSH_AFTER,
            Some((_, Ok(seconds @ 1..))) => Duration::from_secs(u64::from(seconds)),
            Some((value, Ok(0) | Err(_))) => {
                return invalid(format!("must specify a positive integer for log opt '{FLUSH}': {value}"));
            }
        };
        let (mode, backlog) = delivery(options, default)?;
        Ok(Self {
            group,
            region: set(REGION).cloned(),
            stream_prefix: set(STREAM_PREFIX).cloned(),
            create_group,
            start: start(options)?,
            flush_after,
            mode,
            backlog,
        })
    }
}

fn start(options: &Options) -> Result<Option<Regex>, OptionError> {
    let pattern = match (options.get(DATETIME), options.get(MULTILINE)) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return invalid(format!("you cannot configure log opt '{DATETIME}' and '{MULTILINE}' at the same time"));
        }
        (Some(format), None) => datetime::pattern(format)
            .map_err(|code| OptionError::Invalid(format!("log opt '{DATETIME}' has an unknown code '{code}'")))?,
        (None, Some(pattern)) => pattern.clone(),
    };
    if pattern.is_empty() {
        return Ok(None);
    }
    match RegexBuilder::new(&pattern).size_limit(MAX_REGEX_BYTES).build() {
        Ok(regex) => Ok(Some(regex)),
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim();
            invalid(format!("awslogs could not parse multiline pattern key \"{pattern}\": {why}"))
        }
    }
}

/// What the options of `json-file` ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonFile {
    /// Bytes of the newest output that are kept: as much as Docker would keep in all its files together.
    pub keep: u64,
}

impl JsonFile {
    /// Reads them.
    pub fn parse(options: &Options) -> Result<Self, OptionError> {
        check_names(LogDriver::JsonFile, options)?;
        let size = match options.get(MAX_SIZE).map(|text| (text, size::decimal(text))) {
            // AWS: Docker's -1 is no limit; here a disk is never filled by output that nobody reads.
            None => LOCAL_BYTES,
            Some((text, _)) if text == "-1" => LOCAL_BYTES,
            Some((_, Some(bytes @ 1..))) => bytes,
            Some((text, Some(0) | None)) => return invalid(format!("invalid size: '{text}' (log opt '{MAX_SIZE}')")),
        };
        let files = match options.get(MAX_FILE).map(|text| (text, text.parse::<u32>())) {
            None => 1,
            Some((_, Ok(files @ 1..))) => files,
            Some((text, Ok(0) | Err(_))) => {
                return invalid(format!("{MAX_FILE} cannot be less than 1: '{text}'"));
            }
        };
        Ok(Self { keep: size.saturating_mul(u64::from(files)).max(LEAST_LOCAL_BYTES) })
    }
}

#[cfg(test)]
mod tests;

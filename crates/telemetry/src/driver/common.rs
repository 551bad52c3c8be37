//! What the options of several drivers have in common: addresses, times, modes, and what is told of a container with its output.

use super::{
    BLOCKING_BYTES, BUFFER, BUFFER_BYTES, MAX_REGEX_BYTES, MODE, OptionError, Options, invalid, size, tag::Template,
};
use model::LogMode;
use regex::{Regex, RegexBuilder};
use std::{collections::BTreeMap, time::Duration};

/// Options of drivers that send output elsewhere, whichever they are.
pub(super) const COMMON: &[&str] = &[TAG, LABELS, LABELS_REGEX, ENV, ENV_REGEX, MODE, BUFFER];
/// Docker's options of all such drivers that only make sense where it keeps a second copy of the output.
pub(super) const COMMON_OTHER: &[&str] = &["cache-compress", "cache-disabled", "cache-max-file", "cache-max-size"];

const TAG: &str = "tag";
const LABELS: &str = "labels";
const LABELS_REGEX: &str = "labels-regex";
const ENV: &str = "env";
const ENV_REGEX: &str = "env-regex";

/// What every driver that sends output elsewhere is told.
#[derive(Debug, Clone)]
pub struct Common {
    /// What the output is called.
    pub tag: Template,
    /// What is told of the container with each line.
    pub wanted: Wanted,
    /// Whether output may be lost.
    pub mode: LogMode,
    /// Bytes of output that may wait; beyond them the oldest is dropped.
    pub backlog: u64,
}

/// Labels and variables of the container that go with its output.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    labels: Vec<String>,
    labels_regex: Option<Regex>,
    env: Vec<String>,
    env_regex: Option<Regex>,
}

impl Wanted {
    /// Those that the container has.
    pub fn of(&self, labels: &BTreeMap<String, String>, env: &[(String, String)]) -> BTreeMap<String, String> {
        let is = |names: &[String], regex: &Option<Regex>, name: &str| {
            names.iter().any(|wanted| wanted == name) || regex.as_ref().is_some_and(|regex| regex.is_match(name))
        };
        let labels = labels.iter().filter(|(name, _)| is(&self.labels, &self.labels_regex, name));
        let env = env.iter().filter(|(name, _)| is(&self.env, &self.env_regex, name));
        let env = env.map(|(name, value)| (name, value));
        labels.chain(env).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl Common {
    pub(super) fn parse(options: &Options, default: LogMode) -> Result<Self, OptionError> {
        let list = |name: &str| {
            let text = options.get(name).map(String::as_str).unwrap_or_default();
            text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let regex = |name: &str| match options.get(name).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => match RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build() {
                Ok(regex) => Ok(Some(regex)),
                Err(_) => invalid(format!("error parsing regexp in log opt '{name}': '{text}'")),
            },
        };
        let wanted = Wanted {
            labels: list(LABELS),
            labels_regex: regex(LABELS_REGEX)?,
            env: list(ENV),
            env_regex: regex(ENV_REGEX)?,
        };
        let (mode, backlog) = delivery(options, default)?;
        let tag = options.get(TAG).filter(|text| !text.is_empty()).map_or(Template::DEFAULT, String::as_str);
        Ok(Self { tag: Template::parse(tag).map_err(OptionError::Invalid)?, wanted, mode, backlog })
    }
}

/// AWS: what Go reads as a boolean.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A boolean option; what is not given is false.
pub(super) fn flag(options: &Options, name: &str) -> Result<bool, OptionError> {
    match options.get(name).filter(|text| !text.is_empty()) {
        None => Ok(false),
        Some(text) => match boolean(text) {
            Some(value) => Ok(value),
            // AWS: Go's words for it.
            None => invalid(format!("strconv.ParseBool: parsing \"{text}\": invalid syntax (log opt '{name}')")),
        },
    }
}

/// A number as an option.
pub(super) fn number<T: std::str::FromStr>(options: &Options, name: &str) -> Result<Option<T>, OptionError> {
    match options.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => invalid(format!("strconv.ParseUint: parsing \"{text}\": invalid syntax (log opt '{name}')")),
        },
    }
}

/// A time as Go writes it, as an option: `1s`, `1m30s`, `500ms`.
pub(super) fn duration(options: &Options, name: &str) -> Result<Option<Duration>, OptionError> {
    match options.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match go_duration(text) {
            Some(duration) => Ok(Some(duration)),
            None => invalid(format!("time: invalid duration \"{text}\" (log opt '{name}')")),
        },
    }
}

/// Longest time that can be asked for: a day is longer than anybody waits.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut all) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let seconds = match &rest[digits..unit] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        all = all.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = &rest[unit..];
    }
    (!text.is_empty() && all <= LONGEST).then_some(all)
}

/// Mode and backlog.
pub(super) fn delivery(options: &Options, default: LogMode) -> Result<(LogMode, u64), OptionError> {
    let mode = match options.get(MODE).map(String::as_str) {
        None | Some("") => default,
        Some(text) => match LogMode::parse(text) {
            Some(mode) => mode,
            None => return invalid(format!("logger: logging mode not supported: {text}")),
        },
    };
    let Some(text) = options.get(BUFFER) else {
        let bytes = match mode {
            LogMode::NonBlocking => BUFFER_BYTES,
            LogMode::Blocking => BLOCKING_BYTES,
        };
        return Ok((mode, bytes));
    };
    let bytes = match size::binary(text) {
        Some(bytes @ 1..) => bytes,
        Some(0) | None => return invalid(format!("error parsing option {BUFFER}: invalid size: '{text}'")),
    };
    match (options.contains_key(MODE), mode) {
        (_, LogMode::NonBlocking) => Ok((mode, bytes)),
        // The account's default, which the definition cannot know: there is nothing for the buffer to decide.
        (false, LogMode::Blocking) => Ok((mode, BLOCKING_BYTES)),
        (true, LogMode::Blocking) => {
            invalid(format!("logger: {BUFFER} option is only supported with 'mode=non-blocking'"))
        }
    }
}

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Datagrams.
    Udp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A connection.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Encrypted.
        tls: bool,
    },
    /// A socket of the instance.
    Unix {
        /// Where it is.
        path: String,
        /// Of datagrams.
        datagrams: bool,
    },
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bracketed = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        match self {
            Self::Udp { host, port } => write!(f, "udp://{}:{port}", bracketed(host)),
            Self::Tcp { host, port, tls: false } => write!(f, "tcp://{}:{port}", bracketed(host)),
            Self::Tcp { host, port, tls: true } => write!(f, "tcp+tls://{}:{port}", bracketed(host)),
            Self::Unix { path, datagrams: false } => write!(f, "unix://{path}"),
            Self::Unix { path, datagrams: true } => write!(f, "unixgram://{path}"),
        }
    }
}

impl Address {
    /// Reads `proto://host:port` or `unix:///path`; `None` if it is neither.
    pub(super) fn parse(text: &str, port: Option<u16>) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        match scheme {
            "udp" => host_port(rest, port).map(|(host, port)| Self::Udp { host, port }),
            "tcp" => host_port(rest, port).map(|(host, port)| Self::Tcp { host, port, tls: false }),
            "tcp+tls" | "tls" => host_port(rest, port).map(|(host, port)| Self::Tcp { host, port, tls: true }),
            "unix" | "unixgram" if rest.starts_with('/') && !rest.contains('\0') => {
                Some(Self::Unix { path: rest.to_owned(), datagrams: scheme == "unixgram" })
            }
            _ => None,
        }
    }
}

/// Host and port, or that port if there is none.
pub(super) fn host_port(text: &str, default: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let fine = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if host.is_empty() || !host.chars().all(fine) {
        return None;
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => default?,
    };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, want) in [
            ("1s", Some(1_000)),
            ("500ms", Some(500)),
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1_500)),
            ("0", Some(0)),
            ("1000", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1y", None),
            ("25h", None),
        ] {
            assert_eq!(go_duration(text).map(|found| found.as_millis()), want, "{text}");
        }
    }

    #[test]
    fn addresses() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(Address::parse(text, Some(514)).map(|found| found.to_string()).as_deref(), want, "{text}");
        };
        check("udp://10.0.0.1:1514", Some("udp://10.0.0.1:1514"));
        check("tcp://logs.example.com", Some("tcp://logs.example.com:514"));
        check("tcp+tls://[fd00::1]:6514", Some("tcp+tls://[fd00::1]:6514"));
        check("tcp://[fd00::1]", Some("tcp://[fd00::1]:514"));
        check("unix:///dev/log", Some("unix:///dev/log"));
        check("unixgram:///dev/log", Some("unixgram:///dev/log"));
        for bad in [
            "10.0.0.1:514",
            "udp://",
            "udp://x:0",
            "udp://x:99999",
            "udp://x:y",
            "http://x:1",
            "unix://dev/log",
            "tcp://x/y:1",
            "tcp://[::1:5",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn what_is_wanted_of_a_container() {
        let options = [("labels", "app, team"), ("labels-regex", "^x\\."), ("env", "MODE"), ("env-regex", "^(A|B)_")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let common = Common::parse(&options, LogMode::Blocking).unwrap();
        let labels = [("app", "web"), ("x.y", "z"), ("other", "no")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let env = [("MODE", "prod"), ("A_1", "1"), ("SECRET", "s")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let found = common.wanted.of(&labels, &env);
        let found: Vec<_> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(found, ["A_1=1", "MODE=prod", "app=web", "x.y=z"]);
        let bad = Options::from([("env-regex".to_owned(), "(".to_owned())]);
        assert!(Common::parse(&bad, LogMode::Blocking).is_err());
    }
}

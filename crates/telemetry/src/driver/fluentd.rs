//! The options of `fluentd`, and of `awsfirelens`, which is the same driver with the task's router as its receiver.

use super::{
    BLOCKING_BYTES, OptionError, Options,
    common::{Address, Common, duration, flag, number},
    invalid, size,
};
use model::{LogMode, logging::BUFFER_LIMIT};
use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

pub(super) const OPTIONS: &[&str] =
    &[ADDRESS, ASYNC, RECONNECT, LIMIT, MAX_RETRIES, ACK, RETRY_WAIT, SUB_SECOND, WRITE_TIMEOUT, READ_TIMEOUT];

pub(super) const ADDRESS: &str = "fluentd-address";
const ASYNC: &str = "fluentd-async";
const RECONNECT: &str = "fluentd-async-reconnect-interval";
const LIMIT: &str = "fluentd-buffer-limit";
const MAX_RETRIES: &str = "fluentd-max-retries";
const ACK: &str = "fluentd-request-ack";
const RETRY_WAIT: &str = "fluentd-retry-wait";
const SUB_SECOND: &str = "fluentd-sub-second-precision";
const WRITE_TIMEOUT: &str = "fluentd-write-timeout";
const READ_TIMEOUT: &str = "fluentd-read-timeout";

/// The protocol's port.
const PORT: u16 = 24_224;
/// The driver's buffer counts events and ours bytes: what a usual line takes.
const EVENT_BYTES: u64 = 256;
/// The least that may wait, whatever the limit says: some pages of the file.
const LEAST_BYTES: u64 = 64 << 10;
/// Docker's: the first wait before another try.
const WAIT: Duration = Duration::from_secs(1);
/// How long a write or an acknowledgement may take where nobody says: Docker waits for ever, and a receiver that stands still
/// must be left for a new connection at some time.
const TIMEOUT: Duration = Duration::from_secs(30);
/// AWS: the largest `log-driver-buffer-limit`. Source: agent, `api/task/task.go`.
const MOST_EVENTS: u64 = 536_870_912;

/// The way to a task's log router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Router {
    /// By its socket among the instance's files.
    Socket(String),
    /// By the protocol's port at the loopback of its network, which is that of this file.
    Network(PathBuf),
}

impl Router {
    /// The port at which routers take output in their networks.
    pub const PORT: u16 = PORT;

    fn address(&self) -> Address {
        match self {
            Self::Socket(path) => Address::Unix { path: path.clone(), datagrams: false },
            Self::Network(_) => Address::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port: PORT, tls: false },
        }
    }
}

/// What they ask for.
#[derive(Debug, Clone)]
pub struct Fluentd {
    /// Where to.
    pub address: Address,
    /// The way there, if that is the task's log router.
    pub router: Option<Router>,
    /// The container starts although nobody answers there.
    pub lazy: bool,
    /// A connection is made anew after this time, so that another address of its name has its turn.
    pub reconnect: Option<Duration>,
    /// Tries after which what was tried is dropped; none means for ever.
    pub max_retries: Option<u32>,
    /// The receiver is asked to acknowledge.
    pub ack: bool,
    /// The wait before the first new try.
    pub retry_wait: Duration,
    /// Times have nanoseconds.
    pub sub_second: bool,
    /// How long a write may take.
    pub write_timeout: Duration,
    /// How long an acknowledgement may take.
    pub read_timeout: Duration,
    /// The rest.
    pub common: Common,
}

impl Fluentd {
    /// Reads them.
    pub fn parse(options: &Options, default: LogMode) -> Result<Self, OptionError> {
        let set = |name: &str| options.get(name).filter(|value| !value.is_empty());
        let address = match set(ADDRESS) {
            None => Address::Tcp { host: "127.0.0.1".to_owned(), port: PORT, tls: false },
            Some(text) => address(text)?,
        };
        let lazy = flag(options, ASYNC)?;
        let reconnect = duration(options, RECONNECT)?;
        if reconnect.is_some() && !lazy {
            return invalid(format!("{RECONNECT} can only be used with {ASYNC}"));
        }
        let mut common = Common::parse(options, default)?;
        if let Some(text) = set(LIMIT) {
            // Docker: written like a size of memory, although it counts events.
            let Some(events @ 1..) = size::binary(text) else {
                return invalid(format!("invalid size: '{text}' (log opt '{LIMIT}')"));
            };
            common.backlog = backlog(events);
        }
        let timeout = |name: &str| Ok(duration(options, name)?.filter(|time| !time.is_zero()).unwrap_or(TIMEOUT));
        Ok(Self {
            address,
            router: None,
            lazy,
            reconnect,
            max_retries: number(options, MAX_RETRIES)?,
            ack: flag(options, ACK)?,
            retry_wait: duration(options, RETRY_WAIT)?.unwrap_or(WAIT),
            sub_second: flag(options, SUB_SECOND)?,
            write_timeout: timeout(WRITE_TIMEOUT)?,
            read_timeout: timeout(READ_TIMEOUT)?,
            common,
        })
    }

    /// The driver of a container whose output goes to the task's router. AWS: as the original agent sets it up.
    pub fn of_router(options: &Options, router: Router, default: LogMode) -> Result<Self, OptionError> {
        let events = check_buffer_limit(options)?;
        // Its other options are the router's.
        let mut common = Common::parse(&Options::new(), default)?;
        if let Some(events) = events {
            common.backlog = backlog(events);
        }
        Ok(Self {
            address: router.address(),
            router: Some(router),
            lazy: true,
            reconnect: None,
            max_retries: None,
            ack: false,
            retry_wait: WAIT,
            sub_second: true,
            write_timeout: TIMEOUT,
            read_timeout: TIMEOUT,
            common,
        })
    }
}

/// The one option of `awsfirelens` that is not the router's.
pub(super) fn check_buffer_limit(options: &Options) -> Result<Option<u64>, OptionError> {
    let Some(text) = options.get(BUFFER_LIMIT) else { return Ok(None) };
    match text.parse::<u64>() {
        Ok(events) if events <= MOST_EVENTS => Ok(Some(events)),
        // AWS: the text is not published; the range is the agent's.
        Ok(_) | Err(_) => invalid(format!("{BUFFER_LIMIT} must be a number between 0 and {MOST_EVENTS}: '{text}'")),
    }
}

fn backlog(events: u64) -> u64 {
    events.saturating_mul(EVENT_BYTES).clamp(LEAST_BYTES, BLOCKING_BYTES)
}

fn address(text: &str) -> Result<Address, OptionError> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("tcp://{text}") };
    match Address::parse(&whole, Some(PORT)) {
        Some(address @ (Address::Tcp { .. } | Address::Unix { datagrams: false, .. })) => Ok(address),
        Some(Address::Udp { .. } | Address::Unix { .. }) | None => invalid(format!("invalid fluentd-address {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Fluentd, String> {
        let options = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        super::super::check_names(model::LogDriver::Fluentd, &options).map_err(|error| error.to_string())?;
        Fluentd::parse(&options, LogMode::NonBlocking).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_given_is_as_dockers() {
        let plain = parse(&[]).unwrap();
        assert_eq!(
            (plain.address.to_string().as_str(), plain.lazy, plain.ack),
            ("tcp://127.0.0.1:24224", false, false)
        );
        assert_eq!((plain.retry_wait, plain.max_retries, plain.sub_second), (WAIT, None, false));
        assert_eq!(plain.common.backlog, 10 << 20);
    }

    #[test]
    fn what_is_given_holds() {
        for (text, want) in [
            ("logs:1", "tcp://logs:1"),
            ("logs", "tcp://logs:24224"),
            ("tcp://10.0.0.1", "tcp://10.0.0.1:24224"),
            ("unix:///run/f.sock", "unix:///run/f.sock"),
        ] {
            assert_eq!(parse(&[(ADDRESS, text)]).unwrap().address.to_string(), want);
        }
        let all =
            parse(&[(ASYNC, "true"), (RECONNECT, "5s"), (LIMIT, "4k"), (MAX_RETRIES, "7"), (RETRY_WAIT, "100ms")]);
        let all = all.unwrap();
        assert_eq!((all.reconnect, all.max_retries), (Some(Duration::from_secs(5)), Some(7)));
        assert_eq!((all.common.backlog, all.retry_wait), (4_096 * EVENT_BYTES, Duration::from_millis(100)));
    }

    #[test]
    fn refusals_are_dockers() {
        let check = |pairs: &[(&str, &str)], want: &str| assert_eq!(parse(pairs).err().as_deref(), Some(want));
        check(&[("fluentd-colour", "red")], "unknown log opt 'fluentd-colour' for fluentd log driver");
        check(&[(ADDRESS, "udp://x:1")], "invalid fluentd-address udp://x:1");
        check(&[(ADDRESS, "x:y")], "invalid fluentd-address x:y");
        check(&[(RECONNECT, "5s")], "fluentd-async-reconnect-interval can only be used with fluentd-async");
        check(&[(LIMIT, "much")], "invalid size: 'much' (log opt 'fluentd-buffer-limit')");
        check(&[(ASYNC, "yes")], "strconv.ParseBool: parsing \"yes\": invalid syntax (log opt 'fluentd-async')");
        check(&[(RETRY_WAIT, "5")], "time: invalid duration \"5\" (log opt 'fluentd-retry-wait')");
    }
}

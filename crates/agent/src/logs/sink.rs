//! A receiver of one container's output, whatever its driver: lines go in, and so many of them are with it.

use super::{
    Dispatch,
    connect::{Both, Connection, Trust, within},
    http::Collector,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use effects::Effects;
use rustix::{
    fs::{MemfdFlags, SealFlags},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags},
};
use std::{io::Write as _, os::fd::AsFd, path::Path, time::Duration};
use telemetry::{
    Line,
    driver::{Address, Fluentd, Gelf, Outward, Tls},
    outward::{forward, gelf, journal, splunk, syslog},
};
use tokio::io::AsyncReadExt;

/// Bytes, as they are sent, after which a write takes no further line: with the last of its lines on top, what is sent twice when a
/// connection breaks or the agent dies.
const CHUNK: usize = 64 << 10;
/// How long a receiver may take for a write where its driver has no option for it: a kilobyte a second is slow.
const WRITE: Duration = Duration::from_secs(60);
/// The wait before the first new try where a driver has no option for it; each further one is half as long again, as Docker's.
const WAIT: Duration = Duration::from_secs(1);
/// The longest of these waits: Docker's driver for fluentd has it too.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest where the receiver is the task's router, which has ten seconds for the last lines when the task stops.
const LONGEST_ROUTER_WAIT: Duration = Duration::from_secs(1);
/// The sockets of the instance's own syslog. Source: the library that Docker uses.
const LOCAL_SYSLOG: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Why lines are not with the receiver. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Trouble(pub(super) String);

/// A receiver.
pub(super) struct Sink {
    effects: Effects,
    kind: Kind,
    /// Where it is, for people.
    pub(super) to: String,
    /// How it is known, if it is encrypted. Splunk's collector has that itself.
    trust: Trust,
    connection: Option<Connection>,
    /// When that was made.
    since: Duration,
}

enum Kind {
    Syslog { writer: syslog::Writer, address: Option<Address> },
    Fluentd { writer: forward::Writer, options: Box<Fluentd> },
    Gelf { writer: gelf::Writer, options: Box<Gelf> },
    Splunk { writer: splunk::Writer, collector: Box<Collector>, verify: bool },
    Journald { writer: journal::Writer },
}

impl Sink {
    /// The receiver that options ask for.
    pub(super) fn new(what: Dispatch, effects: Effects) -> Self {
        let (of, mut tls) = (&what.identity, Tls::default());
        let (kind, to) = match what.options {
            Outward::Syslog(options) => {
                let writer = syslog::Writer::new(&options, of, std::process::id());
                tls = options.tls;
                let to = options.address.as_ref().map_or_else(|| LOCAL_SYSLOG[0].to_owned(), ToString::to_string);
                (Kind::Syslog { writer, address: options.address }, to)
            }
            Outward::Fluentd(options) => {
                let (writer, to) = (forward::Writer::new(&options, of, what.tag), options.address.to_string());
                (Kind::Fluentd { writer, options: Box::new(options) }, to)
            }
            Outward::Gelf(options) => {
                let (writer, to) = (gelf::Writer::new(&options, of), options.address.to_string());
                (Kind::Gelf { writer, options: Box::new(options) }, to)
            }
            Outward::Splunk(options) => {
                let (writer, to, verify) =
                    (splunk::Writer::new(&options, of), options.authority.clone(), options.verify);
                let collector = Box::new(Collector::new(options, what.quotes, effects.clone()));
                (Kind::Splunk { writer, collector, verify }, to)
            }
            Outward::Journald(options) => {
                (Kind::Journald { writer: journal::Writer::new(&options, of) }, journal::SOCKET.to_owned())
            }
        };
        Self { effects, kind, to, trust: Trust::new(tls), connection: None, since: Duration::ZERO }
    }

    /// What has to work before a container starts. Docker: a driver that needs a connection has one by then, unless its options
    /// say that it may wait.
    pub(super) async fn begin(&mut self) -> Result<(), Trouble> {
        match &mut self.kind {
            Kind::Fluentd { options, .. } if options.lazy => Ok(()),
            Kind::Splunk { verify: false, .. } => Ok(()),
            Kind::Splunk { collector, .. } => collector.greet().await,
            Kind::Syslog { .. } | Kind::Fluentd { .. } | Kind::Gelf { .. } | Kind::Journald { .. } => {
                self.connect().await
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Trouble> {
        let age = self.effects.monotonic().saturating_sub(self.since);
        let renew = match &self.kind {
            Kind::Fluentd { options, .. } => options.reconnect.is_some_and(|after| age >= after),
            Kind::Syslog { .. } | Kind::Gelf { .. } | Kind::Splunk { .. } | Kind::Journald { .. } => false,
        };
        if renew || self.connection.as_mut().is_some_and(Connection::is_closed) {
            self.connection = None;
        }
        if self.connection.is_some() {
            return Ok(());
        }
        let Self { kind, trust, effects, .. } = self;
        let unix = |path: &str| Address::Unix { path: path.to_owned(), datagrams: true };
        let connection = match kind {
            Kind::Syslog { address: Some(address), .. } => Connection::open(address, trust, effects).await?,
            Kind::Syslog { address: None, .. } => {
                let path = LOCAL_SYSLOG.into_iter().find(|path| Path::new(path).exists()).unwrap_or(LOCAL_SYSLOG[0]);
                Connection::open(&unix(path), trust, effects).await?
            }
            Kind::Fluentd { options, .. } => match &options.router {
                Some(router) => Connection::to_router(router, effects).await?,
                None => Connection::open(&options.address, trust, effects).await?,
            },
            Kind::Gelf { options, .. } => Connection::open(&options.address, trust, effects).await?,
            Kind::Journald { .. } => Connection::open(&unix(journal::SOCKET), trust, effects).await?,
            Kind::Splunk { .. } => return Ok(()),
        };
        self.connection = Some(connection);
        self.since = self.effects.monotonic();
        Ok(())
    }

    /// Sends as many of the lines as go together; answers how many that were, one at least.
    pub(super) async fn send(&mut self, lines: &[Line]) -> Result<usize, Trouble> {
        self.connect().await?;
        let sent = self.deliver(lines).await;
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }

    async fn deliver(&mut self, lines: &[Line]) -> Result<usize, Trouble> {
        let effects = self.effects.clone();
        if let Kind::Splunk { writer, collector, .. } = &mut self.kind {
            let (body, count) = writer.write(lines);
            if !body.is_empty() {
                collector.post(body).await?;
            }
            return Ok(count);
        }
        let Some(connection) = &mut self.connection else { return Err(Trouble("there is no connection".to_owned())) };
        match &self.kind {
            Kind::Syslog { writer, .. } => {
                let datagrams = !matches!(connection, Connection::Stream(_));
                let lines = if datagrams { &lines[..1] } else { lines };
                let (bytes, count) = together(lines, |line, out| writer.write(line, out));
                connection.send(&bytes, WRITE, &effects).await.map(|()| count)
            }
            Kind::Fluentd { writer, options } => forward_to(connection, writer, options, lines, &effects).await,
            Kind::Gelf { writer, .. } if matches!(connection, Connection::Stream(_)) => {
                let (bytes, count) = together(lines, |line, out| writer.write(line, out));
                connection.send(&bytes, WRITE, &effects).await.map(|()| count)
            }
            Kind::Gelf { writer, .. } => {
                for datagram in writer.datagrams(&lines[0], effects.bytes()) {
                    connection.send(&datagram, WRITE, &effects).await?;
                }
                Ok(1)
            }
            Kind::Journald { writer } => enter(connection, &writer.write(&lines[0]), &effects).await.map(|()| 1),
            Kind::Splunk { .. } => Err(Trouble("a collector has no such connection".to_owned())),
        }
    }

    /// How long to wait before try number `tries` + 1.
    pub(super) fn wait(&self, tries: u32) -> Duration {
        let (first, longest) = match &self.kind {
            Kind::Fluentd { options, .. } if options.router.is_some() => (options.retry_wait, LONGEST_ROUTER_WAIT),
            Kind::Fluentd { options, .. } => (options.retry_wait, LONGEST_WAIT),
            Kind::Gelf { options, .. } => return options.delay.clamp(Duration::from_millis(100), LONGEST_WAIT),
            Kind::Syslog { .. } | Kind::Splunk { .. } | Kind::Journald { .. } => (WAIT, LONGEST_WAIT),
        };
        let factor = 1.5f64.powi(i32::try_from(tries.min(20)).unwrap_or(20).saturating_sub(1));
        first.mul_f64(factor).clamp(Duration::from_millis(100), longest)
    }

    /// Whether what was tried so often is given up.
    pub(super) fn gives_up(&self, tries: u32) -> bool {
        match &self.kind {
            Kind::Fluentd { options, .. } => options.max_retries.is_some_and(|most| tries > most),
            // Over UDP nothing is tried again by Docker either; here a refusal is.
            Kind::Gelf { options, .. } => matches!(options.address, Address::Tcp { .. }) && tries > options.reconnects,
            Kind::Syslog { .. } | Kind::Splunk { .. } | Kind::Journald { .. } => false,
        }
    }

    /// How long to collect lines after some were sent: requests cost more than writes.
    pub(super) fn rest(&self) -> Duration {
        match &self.kind {
            Kind::Splunk { .. } => Duration::from_millis(500),
            Kind::Syslog { .. } | Kind::Fluentd { .. } | Kind::Gelf { .. } | Kind::Journald { .. } => Duration::ZERO,
        }
    }
}

/// As many lines as go in one write, and how many that are.
fn together(lines: &[Line], write: impl Fn(&Line, &mut Vec<u8>)) -> (Vec<u8>, usize) {
    let (mut bytes, mut count) = (Vec::new(), 0);
    while count < lines.len() && bytes.len() < CHUNK {
        write(&lines[count], &mut bytes);
        count += 1;
    }
    (bytes, count)
}

/// One message of the forward protocol, and its acknowledgement if it is to have one.
async fn forward_to(
    connection: &mut Connection,
    writer: &forward::Writer,
    options: &Fluentd,
    lines: &[Line],
    effects: &Effects,
) -> Result<usize, Trouble> {
    let count = writer.fit(lines, CHUNK);
    let chunk = options.ack.then(|| BASE64_STANDARD.encode(effects.bytes::<16>()));
    let bytes = writer.write(&lines[..count], chunk.as_deref());
    connection.send(&bytes, options.write_timeout, effects).await?;
    if let (Some(chunk), Connection::Stream(stream)) = (chunk, connection) {
        let acknowledged = acknowledged(stream.as_mut(), &chunk);
        within(effects, options.read_timeout, "acknowledgement", acknowledged).await?;
    }
    Ok(count)
}

/// One entry of the journal.
async fn enter(connection: &mut Connection, entry: &[u8], effects: &Effects) -> Result<(), Trouble> {
    let Connection::Datagrams(socket) = connection else { return Err(Trouble("it is no journal".to_owned())) };
    let written = async {
        let written = match socket.send(entry).await {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => {
                in_memory(socket, entry)
            }
            outcome => outcome.map(drop),
        };
        written.map_err(|error| Trouble(format!("write: {error}")))
    };
    within(effects, WRITE, "write", written).await
}

async fn acknowledged(stream: &mut dyn Both, chunk: &str) -> Result<(), Trouble> {
    let mut read = Vec::new();
    loop {
        match forward::acknowledges(&read, chunk) {
            Some(true) => return Ok(()),
            Some(false) => return Err(Trouble("acknowledgement: it is another chunk's".to_owned())),
            None => {}
        }
        let mut bytes = [0; forward::MAX_ACK];
        match stream.read(&mut bytes).await {
            Ok(0) => return Err(Trouble("acknowledgement: the connection was closed".to_owned())),
            Ok(count) => read.extend_from_slice(&bytes[..count]),
            Err(error) => return Err(Trouble(format!("acknowledgement: {error}"))),
        }
    }
}

/// Sends an entry that is longer than a datagram may be as the journal takes such: as a sealed file in memory.
fn in_memory(socket: &tokio::net::UnixDatagram, entry: &[u8]) -> std::io::Result<()> {
    let file = rustix::fs::memfd_create("journal-entry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    file.write_all(entry)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    with.push(SendAncillaryMessage::ScmRights(&files));
    rustix::net::sendmsg(socket, &[], &mut with, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{LogDriver, LogMode};
    use telemetry::driver::{Identity, Router};

    fn sink(driver: LogDriver, pairs: &[(&str, &str)], router: Option<Router>) -> Sink {
        let options = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = Outward::parse(driver, &options, LogMode::Blocking, router).unwrap();
        Sink::new(Dispatch { options, identity: Identity::default(), tag: None, quotes: true }, Effects::real())
    }

    #[tokio::test]
    async fn waits_have_an_end() {
        let delay = [("gelf-address", "tcp://x:1"), ("gelf-tcp-reconnect-delay", "4000000000")];
        assert_eq!(sink(LogDriver::Gelf, &delay, None).wait(1), LONGEST_WAIT);
        let fluentd = sink(LogDriver::Fluentd, &[], None);
        assert_eq!((fluentd.wait(1), fluentd.wait(30)), (WAIT, LONGEST_WAIT));
        for (router, to) in
            [(Router::Socket("/x".into()), "unix:///x"), (Router::Network("/n".into()), "tcp://127.0.0.1:24224")]
        {
            let routed = sink(LogDriver::Awsfirelens, &[], Some(router));
            assert_eq!((routed.wait(30), &*routed.to), (LONGEST_ROUTER_WAIT, to));
        }
    }

    #[test]
    fn a_write_is_bounded_as_it_is_sent() {
        let line = Line { timestamp_millis: 0, message: "x".to_owned(), end: 0 };
        let (bytes, count) = together(&vec![line; 5_000], |_, out| out.extend_from_slice(&[b'x'; 1_000]));
        assert_eq!((bytes.len(), count), (66_000, 66));
    }
}

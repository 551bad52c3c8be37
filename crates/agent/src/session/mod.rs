//! The agent's side of the link: one session at a time, dialled again whenever it is lost.
//!
//! Level-triggered both ways: the server's sets are whole, our reports are whole observations, and a new session begins with
//! all of both. Without a server tasks go on; what is to be told waits on the board and in the log files.

mod join;
mod questions;
mod talk;
mod terminal;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use join::join;
pub use join::{InvalidToken, JoinError, JoinToken};
pub(crate) use questions::Questions;
pub(crate) use terminal::Terminals;

use crate::{
    engine::{Engine, EngineError},
    identity::{Credentials, IdentityError, IdentityStore},
    logs::LogHub,
};
use effects::Effects;
use futures::future::BoxFuture;
use link::{FrameError, Goodbye, GoodbyeCode, Hello};
use model::Timestamp;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// How long a connection, a handshake and the first answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// A session that lasted this long was a good one: the next attempt comes at once.
const GOOD_SESSION: Duration = Duration::from_secs(30);

/// Why a session was lost or never came to be. All of it may pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkTrouble {
    #[error("the server cannot be reached")]
    Io(#[from] std::io::Error),
    #[error("TLS with the server cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the server fell silent")]
    Silent,
    #[error("{0} does not speak Longshore's link; is it the server's --link-listen address?")]
    NotALink(String),
    #[error("this machine has not joined the server")]
    NotJoined,
    #[error("the server does not let this machine in again: {0}")]
    Refused(String),
    #[error("the server answers out of turn")]
    OutOfTurn,
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the server stops: {0}")]
    ShuttingDown(String),
}

/// Why the agent stops talking to its server for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The process stops.
    Shutdown,
    /// The instance was deregistered.
    Inactive(String),
    /// Another process speaks for this instance.
    Superseded(String),
    /// The server speaks another version.
    Protocol(String),
}

/// What a session can run over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A way to the server other than TLS over TCP, for the simulator.
pub trait Dial: Send + Sync + 'static {
    /// Connects. Dropping the future gives up.
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;
}

/// What sessions are made of.
pub(crate) struct Session {
    pub(crate) server: String,
    pub(crate) store: IdentityStore,
    /// With it a machine whose certificate ran out while the server was away is let in again.
    pub(crate) token: Option<JoinToken>,
    /// The way to the server, if it is another than TLS over TCP.
    pub(crate) dial: Option<Arc<dyn Dial>>,
    pub(crate) engine: Engine,
    pub(crate) logs: LogHub,
    pub(crate) questions: Questions,
    /// What containers' terminals are opened with, if this machine can.
    pub(crate) terminals: Option<Terminals>,
    pub(crate) effects: Effects,
    /// What every session begins with; the tasks are filled in.
    pub(crate) hello: Hello,
}

impl Session {
    /// Keeps a session up until there is no point in it.
    pub(crate) async fn keep(&self) -> End {
        let mut backoff = Backoff::default();
        let mut superseded = false;
        loop {
            let began = self.effects.monotonic();
            let stop = self.effects.shutdown().clone();
            let outcome = tokio::select! {
                () = stop.cancelled() => return End::Shutdown,
                outcome = self.once() => outcome,
            };
            self.logs.reset();
            let lasted = self.effects.monotonic().saturating_sub(began);
            if lasted >= GOOD_SESSION {
                superseded = false;
            }
            match outcome {
                // Our own past can come after us: a Hello that was on its way when this process's predecessor was killed.
                // Another process would come again.
                Ok(End::Superseded(why)) if !superseded => {
                    superseded = true;
                    tracing::warn!(reason = why, "another session of this instance took over; trying once more");
                }
                Ok(end) => return end,
                Err(error) => {
                    let error = crate::real::chain(&error);
                    tracing::warn!(
                        server = self.server,
                        error,
                        "no session with the server; tasks go on, trying again"
                    );
                }
            }
            if lasted >= GOOD_SESSION {
                backoff = Backoff::default();
            }
            if !self.effects.sleep_unless_stopped(backoff.next(&self.effects)).await {
                return End::Shutdown;
            }
        }
    }

    async fn once(&self) -> Result<End, LinkTrouble> {
        if let Some(dial) = &self.dial {
            let stream = tls::within(&self.effects, PATIENCE, dial.dial()).await??;
            return talk::talk(self, link::framed(stream), Timestamp(i64::MAX)).await;
        }
        let expired = |c: &Credentials| c.not_after < self.effects.now();
        let mut credentials = self.store.credentials()?.ok_or(LinkTrouble::NotJoined)?;
        if let (true, Some(token)) = (expired(&credentials), &self.token) {
            tracing::info!("the machine's certificate ran out; asking for another with the join token");
            match join::join_again(&self.server, token, &self.store, &self.effects).await {
                // A token that is no longer known does not matter if the server takes the old certificate.
                Ok(()) | Err(LinkTrouble::Refused(_)) => {}
                Err(error) => return Err(error),
            }
            credentials = self.store.credentials()?.ok_or(LinkTrouble::NotJoined)?;
        }
        if expired(&credentials) {
            tracing::warn!(
                "the machine's certificate ran out; a server that still knows the machine takes it and renews it"
            );
        }
        let config = tls::joined_config(&self.store, &credentials, link::ALPN_SESSION)?;
        let stream = tls::dial(&self.server, config, &self.effects).await?;
        talk::talk(self, link::framed(stream), credentials.half_life()).await
    }
}

/// A connection to the AWS endpoint, for a task of this machine.
pub(crate) async fn dial_api(
    server: &str,
    store: &IdentityStore,
    effects: &Effects,
) -> Result<TlsStream<TcpStream>, LinkTrouble> {
    let credentials = store.credentials()?.ok_or(LinkTrouble::NotJoined)?;
    let config = tls::joined_config(store, &credentials, link::ALPN_API)?;
    tls::dial(server, config, effects).await
}

/// What a server's farewell means.
fn farewell(goodbye: Goodbye) -> Result<End, LinkTrouble> {
    match goodbye.code {
        GoodbyeCode::Inactive => Ok(End::Inactive(goodbye.message)),
        GoodbyeCode::Superseded => Ok(End::Superseded(goodbye.message)),
        GoodbyeCode::Protocol => Ok(End::Protocol(goodbye.message)),
        GoodbyeCode::ShuttingDown => Err(LinkTrouble::ShuttingDown(goodbye.message)),
    }
}

/// Growing waits between attempts. Source: the original's 250 ms doubling by 1.5 with a fifth of jitter (ecs-agent `acs`),
/// but no longer than half a minute.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    const FIRST_MS: f64 = 250.0;
    const LONGEST_MS: f64 = 30_000.0;
    const FACTOR: f64 = 1.5;
    const JITTER: f64 = 0.2;

    /// The next wait.
    pub(crate) fn next(&mut self, effects: &Effects) -> Duration {
        let exponent = i32::try_from(self.attempts.min(64)).unwrap_or(64);
        self.attempts = self.attempts.saturating_add(1);
        let base = (Self::FIRST_MS * Self::FACTOR.powi(exponent)).min(Self::LONGEST_MS);
        let chance = (effects.random() >> 11) as f64 / (1u64 << 53) as f64;
        Duration::from_secs_f64(base * (1.0 + Self::JITTER * (2.0 * chance - 1.0)) / 1000.0)
    }
}

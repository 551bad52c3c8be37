//! One server, from an empty directory to open doors and back.

use crate::http::{self, Listener, TlsError};
use crate::loops::{
    events::EventLog,
    metering::Metering,
    webhook::{Webhook, WebhookError},
};
use crate::session::{self, LinkError};
use crate::vault::{Keeper, KeysError, Vault};
use crate::{
    Config, Context, credentials,
    machines::MachineHost,
    terminals::Terminals,
    tokens::{TokenKeysError, Tokens},
};
use credentials::{Credentials, CredentialsError};
use effects::Effects;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long shutdown waits for what is being answered: a little more than a request may take is never needed, because
/// nothing new is accepted and agents' sessions end at once.
const DRAIN: Duration = Duration::from_secs(10);

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directory cannot be made or made private.
    #[error("cannot use the data directory {0}")]
    DataDir(String, #[source] io::Error),
    /// The root credentials cannot be had.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The state store cannot be opened.
    #[error(transparent)]
    State(#[from] state::OpenError),
    /// What seals secrets cannot be had.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// What seals session tokens cannot be had.
    #[error(transparent)]
    SessionKeys(#[from] TokenKeysError),
    /// The log store cannot be opened.
    #[error(transparent)]
    Logs(#[from] telemetry::logs::OpenError),
    /// The endpoint's certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The link cannot be opened.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It cannot be known which events were told.
    #[error("cannot read how far the event log has come")]
    Events(#[source] io::Error),
    /// It cannot be known which usage is in the ledger.
    #[error("cannot read how far the usage ledger has come")]
    Usage(#[source] io::Error),
    /// The prices cannot be read.
    #[error("cannot use the price list")]
    Prices(#[source] io::Error),
    /// Events cannot be sent to where they should.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
}

/// A server that runs.
pub struct Server {
    ctx: Context,
    endpoints: Vec<SocketAddr>,
    links: Vec<SocketAddr>,
}

/// Opens everything and starts answering. What it needs of its host for local instances comes in as `host`.
///
/// # Errors
/// Something cannot be opened; nothing is left running then, except what `effects` is told to drain.
pub async fn serve(config: Config, effects: Effects, host: Arc<dyn MachineHost>) -> Result<Server, ServerError> {
    let ctx = open(config, effects)?;
    // Before any door opens: what changes from here on is told.
    let events = EventLog::open(&ctx).map_err(ServerError::Events)?;
    let webhook = Webhook::open(&ctx)?;
    let metering = Metering::open(&ctx).map_err(ServerError::Usage)?;
    crate::prices::open(&ctx.config).map_err(ServerError::Prices)?;
    let listeners = endpoints(&ctx).await?;
    let endpoints: Vec<_> = listeners.iter().map(|listener| listener.address).collect();
    let doors = session::bind(&ctx, &*host).await?;
    let links = doors.addresses.clone();
    // Only ever set here, once.
    let _ = ctx.addresses.set(endpoints.clone());
    let door = http::Door::new(&ctx);
    // Tasks have a door of their own: what they do with its places and its room for bodies leaves those of people alone.
    doors.open(&ctx, host, http::Door::new(&ctx));
    for listener in listeners {
        ctx.effects.spawn("http listener", listener.run(ctx.clone(), door.clone()));
    }
    ctx.effects.spawn("log upkeep", keep_logs(ctx.clone()));
    ctx.effects.spawn("secrets", crate::loops::vault::run(ctx.clone()));
    // Not among the loops that the simulator runs too: the log store works on a thread of its own.
    if let Some(webhook) = webhook {
        ctx.effects.spawn("webhook", webhook.run(ctx.clone(), events.complete()));
    }
    ctx.effects.spawn("events", events.run(ctx.clone()));
    ctx.effects.spawn("metering", metering.run(ctx.clone()));
    Ok(Server { ctx, endpoints, links })
}

/// The stores and the credentials, before any door opens.
fn open(config: Config, effects: Effects) -> Result<Context, ServerError> {
    let dir = &config.data_dir;
    private_dir(dir).map_err(|source| ServerError::DataDir(dir.display().to_string(), source))?;
    let credentials = Credentials::open(&config, &effects)?;
    let backend = state::Sqlite::open(&dir.join("state")).map_err(state::OpenError::from)?;
    let store = state::Store::open(Box::new(backend), &effects)?;
    let vault = Vault::open(Keeper::new(dir, config.secrets_passphrase.as_deref()), &effects)?;
    let tokens = Tokens::open(dir, &effects)?;
    let logs = telemetry::logs::Store::open(&dir.join("logs"), telemetry::logs::Limits::default())?;
    Ok(Context {
        store,
        logs,
        terminals: Arc::new(Terminals::new(effects.clone())),
        effects,
        credentials: Arc::new(credentials),
        config: Arc::new(config),
        ca_pem: Arc::new(OnceLock::new()),
        addresses: Arc::new(OnceLock::new()),
        metered: Arc::default(),
        measures: Arc::default(),
        vault: Arc::new(vault),
        tokens: Arc::new(tokens),
    })
}

/// State, logs and keys are nobody else's business.
fn private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700))
}

async fn endpoints(ctx: &Context) -> Result<Vec<Listener>, ServerError> {
    let tls = ctx.config.tls.as_ref().map(http::acceptor).transpose()?;
    let mut listeners = Vec::new();
    for address in &ctx.config.listen {
        let listener = http::bind(*address, tls.clone()).await;
        listeners.push(listener.map_err(|source| ServerError::Listen(*address, source))?);
    }
    Ok(listeners)
}

/// Expires old log events and compacts, about once a minute as the log store asks.
async fn keep_logs(ctx: Context) {
    const EVERY: Duration = Duration::from_secs(60);
    let mut aging = crate::loops::Aging::default();
    while ctx.effects.sleep_unless_stopped(EVERY).await {
        let now = aging.look(ctx.effects.now(), ctx.effects.monotonic());
        if let Err(error) = ctx.logs.maintain(now.0).await {
            tracing::warn!(%error, "the log store could not be maintained; it is tried again in a minute");
        }
    }
}

impl Server {
    /// Where the AWS endpoint is reached, in the order configured, with the ports that were taken for port 0.
    pub fn endpoints(&self) -> &[SocketAddr] {
        &self.endpoints
    }

    /// Where agents dial, in the order configured; the fabric's own address last, if there are local instances.
    pub fn links(&self) -> &[SocketAddr] {
        &self.links
    }

    /// The server's parts.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Waits until something asks for shutdown, through `effects`.
    pub async fn stopped(&self) {
        self.ctx.effects.shutdown().cancelled().await;
    }

    /// Closes the doors, lets what is being answered be answered, and closes the stores. True if all of it ended in time.
    pub async fn shutdown(self) -> bool {
        let drained = self.ctx.effects.drain(DRAIN).await;
        self.ctx.store.close().await;
        drained
    }
}

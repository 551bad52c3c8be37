//! The containerd adapter: the oldest stable services, so that one program works from 1.6 (Debian 12) to 2.x.

mod api;
mod bundles;
mod client;
mod containers;
mod devices;
mod documents;
mod environment;
mod events;
mod exec;
mod fill;
mod identity;
mod images;
mod keep;
mod layer;
pub(crate) mod machine;
mod pull;
mod registry;
mod runsc;
mod shims;
mod signals;
mod store;
mod terminal;
mod userns;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use effects::Effects;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use futures::stream::BoxStream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tonic::Code;

use crate::cgroup::Cgroups;
use crate::container::{
    ContainerSpec, ContainerStats, ContainerStatus, ContainerSummary, ExecEnd, RuntimeEvent, Terminal, TerminalSize,
};
use crate::error::{CreateError, PullError, RuntimeError, TerminalError};
use crate::image::{self, Image, Platform, PullProgress, PullRequest};
use crate::oci::capabilities::CapabilitySet;
use crate::userns::clones::Clones;
use crate::{ProgressSink, Runtime, RuntimeInfo, programs};
use api::containerd::services::namespaces::v1 as namespaces;
use client::{Client, ask, ask_if};

/// The only snapshotter used; every kernel we run on has overlayfs.
const SNAPSHOTTER: &str = "overlayfs";
/// runc through its version 2 shim, one shim per container (docs/decisions/0003).
const RUNTIME: &str = "io.containerd.runc.v2";
/// A registry that sends nothing for so long is taken for dead (ECS_IMAGE_PULL_INACTIVITY_TIMEOUT).
const PULL_INACTIVITY: Duration = Duration::from_secs(60);
/// The original agent's first pause between two tries of a pull.
const PULL_RETRY: Duration = Duration::from_millis(1_100);
/// The kernel that brought overlayfs' `volatile`.
const VOLATILE_OVERLAY: (u32, u32) = (5, 10);

/// How to reach containerd and registries.
#[derive(Debug, Clone)]
pub struct ContainerdConfig {
    /// containerd's socket.
    pub socket: PathBuf,
    /// containerd's own kind of namespace: containers and images of others are not seen.
    pub namespace: String,
    /// A directory of ours on the host, for the init that is shown in containers; made if absent.
    pub dir: PathBuf,
    /// A folder for what is mounted while a container with users of its own is made; not kept over reboots. What a killed process
    /// has left there goes when another connects.
    pub clones_dir: PathBuf,
    /// The network namespace whose network reaches registries; our own if `None`.
    pub registry_netns: Option<PathBuf>,
    /// Registries (host or host:port) spoken to in plain http. Loopback ones always are.
    pub insecure_registries: Vec<String>,
    /// A registry that sends nothing for so long, or hardly anything, is taken for dead.
    pub pull_inactivity: Duration,
    /// The first pause before a registry that is in trouble is tried again; it grows from try to try.
    pub pull_retry: Duration,
}

impl ContainerdConfig {
    /// Namespace `longshore`, our own network, no plain http but loopback.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            socket: socket.into(),
            namespace: "longshore".into(),
            clones_dir: dir.join("clones"),
            dir,
            registry_netns: None,
            insecure_registries: Vec::new(),
            pull_inactivity: PULL_INACTIVITY,
            pull_retry: PULL_RETRY,
        }
    }
}

type PullOutcome = Result<Image, PullError>;
type SharedPull = Shared<BoxFuture<'static, PullOutcome>>;

/// Pulls that somebody waits for, so that equal ones join.
type InFlight = HashMap<PullRequest, (WeakShared<BoxFuture<'static, PullOutcome>>, watch::Receiver<PullProgress>)>;

/// [`Runtime`] over containerd.
pub struct Containerd {
    client: Client,
    effects: Effects,
    images: images::Images,
    pulls: mpsc::Sender<pull::Job>,
    in_flight: Mutex<InFlight>,
    cgroups: Cgroups,
    capabilities: CapabilitySet,
    init: PathBuf,
    /// What writes down what is said on a terminal.
    terminal: PathBuf,
    /// Folders are filled from images one after the other: two containers may want the same.
    filling: tokio::sync::Mutex<()>,
    /// What stands before runsc.
    runsc: PathBuf,
    clones: Clones,
    volatile_overlay: bool,
    keeper: keep::Keeper,
    execs: Semaphore,
    /// Where the pipes of terminals are.
    terminals: PathBuf,
    /// By these its shims are known among the machine's processes.
    socket: PathBuf,
    namespace: String,
}

impl Containerd {
    /// Checks that containerd answers, makes its namespace, and starts the thread for pulls. Call it within the tokio
    /// runtime that will use it.
    ///
    /// # Errors
    /// If containerd does not answer, or this machine has no control groups, or the registry's network namespace
    /// cannot be entered.
    pub async fn connect(config: ContainerdConfig, effects: Effects) -> Result<Self, RuntimeError> {
        let client = Client::new(&config.socket, &config.namespace)?;
        let namespace = namespaces::Namespace { name: config.namespace.clone(), labels: HashMap::new() };
        let request = namespaces::CreateNamespaceRequest { namespace: Some(namespace) };
        ask_if("create namespace", Code::AlreadyExists, client.namespaces().create(request)).await?;
        let cgroups = Cgroups::detect().map_err(|e| RuntimeError::Other(format!("control groups: {e}")))?;
        let init = programs::install(&config.dir, "container-init", programs::INIT)
            .map_err(|e| RuntimeError::Other(format!("container init: {e}")))?;
        let terminal = programs::install(&config.dir, "terminal-log", programs::TERMINAL)
            .map_err(|e| RuntimeError::Other(format!("log of terminals: {e}")))?;
        let runsc = runsc::install(&config.dir).map_err(|e| RuntimeError::Other(format!("front of runsc: {e}")))?;
        let images = images::Images::default();
        let pulls = pull::start(
            pull::PullConfig {
                socket: config.socket.clone(),
                namespace: config.namespace.clone(),
                netns: config.registry_netns,
                insecure: config.insecure_registries,
                inactivity: config.pull_inactivity,
                owner: config.dir.display().to_string(),
                first_retry: config.pull_retry,
            },
            images.clone(),
            effects.clone(),
        )?;
        let capabilities = machine::capabilities("CapBnd");
        let volatile_overlay = machine::kernel_is_at_least(VOLATILE_OVERLAY);
        let made = Self {
            client,
            effects,
            images,
            pulls,
            in_flight: Mutex::default(),
            cgroups,
            capabilities,
            init,
            terminal,
            filling: tokio::sync::Mutex::default(),
            runsc,
            clones: Clones::new(config.clones_dir),
            volatile_overlay,
            keeper: keep::Keeper::default(),
            execs: Semaphore::new(exec::STARTS),
            terminals: config.dir.join(terminal::DIR),
            socket: config.socket,
            namespace: config.namespace,
        };
        made.close_left().await;
        let clones = made.clones.clone();
        let swept = tokio::task::spawn_blocking(move || clones.sweep()).await.expect("unmounting does not panic");
        swept.map_err(|e| RuntimeError::Other(format!("what is left of containers that were made: {e}")))?;
        Ok(made)
    }

    /// Joins an equal pull in flight, or starts one.
    fn join_pull(&self, request: PullRequest) -> (SharedPull, watch::Receiver<PullProgress>) {
        let mut in_flight = self.in_flight.lock().expect("no code panics while it holds the map of pulls");
        if let Some((pull, progress)) = in_flight.get(&request)
            && let Some(pull) = pull.upgrade()
        {
            return (pull, progress.clone());
        }
        in_flight.retain(|_, (pull, _)| pull.upgrade().is_some());
        let (progress, told) = watch::channel(PullProgress::default());
        let jobs = self.pulls.clone();
        let job_request = request.clone();
        let pull = async move {
            let gone = || PullError::Runtime(RuntimeError::Unavailable("the pull thread is gone".into()));
            let (done, outcome) = oneshot::channel();
            jobs.send(pull::Job { request: job_request, progress, done }).await.map_err(|_| gone())?;
            outcome.await.map_err(|_| gone())?
        };
        let pull = pull.boxed().shared();
        if let Some(weak) = pull.downgrade() {
            in_flight.insert(request, (weak, told.clone()));
        }
        (pull, told)
    }
}

/// Whether containerd answers on this socket; its version.
pub(crate) async fn probe(socket: &Path) -> Result<String, RuntimeError> {
    /// A daemon that cannot say its version within this is not ready.
    const PATIENCE: Duration = Duration::from_secs(2);
    if !socket.exists() {
        return Err(RuntimeError::Unavailable(format!("{} does not exist", socket.display())));
    }
    let client = Client::new(socket, "longshore")?;
    let answer = tokio::time::timeout(PATIENCE, version(&client)).await;
    answer.map_err(|_| RuntimeError::Timeout("version".into()))?
}

async fn version(client: &Client) -> Result<String, RuntimeError> {
    Ok(ask("version", client.version().version(())).await?.version)
}

impl Runtime for Containerd {
    fn info(&self) -> BoxFuture<'_, Result<RuntimeInfo, RuntimeError>> {
        async { Ok(RuntimeInfo { name: "containerd".into(), version: version(&self.client).await? }) }.boxed()
    }

    fn pull<'a>(&'a self, request: PullRequest, progress: ProgressSink<'a>) -> BoxFuture<'a, Result<Image, PullError>> {
        let (mut pull, mut told) = self.join_pull(request);
        async move {
            loop {
                tokio::select! {
                    outcome = &mut pull => return outcome,
                    Ok(()) = told.changed() => progress(*told.borrow_and_update()),
                }
            }
        }
        .boxed()
    }

    fn image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>, RuntimeError>> {
        async move {
            let name = image::normalize(reference).map_err(|e| RuntimeError::Other(e.to_string()))?;
            self.images.find(&self.client, &name, &Platform::host()).await
        }
        .boxed()
    }

    fn list_images(&self) -> BoxFuture<'_, Result<Vec<Image>, RuntimeError>> {
        async { self.images.list(&self.client, &Platform::host()).await }.boxed()
    }

    fn remove_image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>> {
        async move {
            let name = image::normalize(reference).map_err(|e| RuntimeError::Other(e.to_string()))?;
            images::remove(&self.client, &name).await
        }
        .boxed()
    }

    fn create(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<(), CreateError>> {
        async move { self.create_container(&spec).await }.boxed()
    }

    fn renew(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<(), CreateError>> {
        async move { self.renew_container(&spec).await }.boxed()
    }

    fn start<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<u32, CreateError>> {
        self.start_container(id).boxed()
    }

    fn signal<'a>(&'a self, id: &'a str, signal: i32, all: bool) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.signal_container(id, signal, all).boxed()
    }

    fn exec<'a>(
        &'a self,
        id: &'a str,
        args: &'a [String],
        limit: Duration,
    ) -> BoxFuture<'a, Result<ExecEnd, RuntimeError>> {
        self.run_in(id, args, limit).boxed()
    }

    fn open_terminal<'a>(
        &'a self,
        id: &'a str,
        name: &'a str,
        args: &'a [String],
        size: TerminalSize,
    ) -> BoxFuture<'a, Result<Terminal, TerminalError>> {
        self.open_in(id, name, args, size).boxed()
    }

    fn resize_terminal<'a>(
        &'a self,
        id: &'a str,
        name: &'a str,
        size: TerminalSize,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.resize(id, name, size).boxed()
    }

    fn terminal_ended<'a>(&'a self, id: &'a str, name: &'a str) -> BoxFuture<'a, Result<u32, RuntimeError>> {
        self.end_of(id, name).boxed()
    }

    fn close_terminal<'a>(&'a self, id: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.close(id, name).boxed()
    }

    fn watch(&self) -> BoxStream<'static, RuntimeEvent> {
        events::watch(self.client.clone(), self.effects.clone())
    }

    fn status<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<ContainerStatus>, RuntimeError>> {
        self.container_status(id).boxed()
    }

    fn list<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<ContainerSummary>, RuntimeError>> {
        self.list_containers(labels).boxed()
    }

    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.remove_container(id).boxed()
    }

    fn stats<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<ContainerStats>, RuntimeError>> {
        self.container_stats(id).boxed()
    }
}

//! Images and containers: a neutral trait and its containerd adapter.
//!
//! The agent speaks only [`Runtime`], so that a fake, containerd or a later in-process runtime are interchangeable.
//! gRPC types never leave this crate. Deliberately absent: tasks, ECS's rules of what to start when, and networks: a
//! container is given the path of a namespace that somebody else made.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod auth;
pub mod cgroup;
pub mod container;
mod containerd;
pub mod daemon;
pub mod disk;
pub mod error;
pub mod gvisor;
pub mod image;
pub mod mounts;
pub mod nfs;
mod oci;
pub mod oci_runtime;
mod programs;
pub mod tree;
pub mod tunnel;
pub mod userns;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use auth::RegistryAuth;
pub use container::{
    BindMount, ContainerSpec, ContainerState, ContainerStats, ContainerStatus, ContainerSummary, DeviceMount, ExecEnd,
    Namespace, Network, Resources, RuntimeEvent, SecretEnv, Terminal, TerminalSize, Tmpfs, Ulimit,
};
pub use containerd::{Containerd, ContainerdConfig};
pub use disk::{DiskError, DiskUsage, Disks};
pub use error::{CreateError, PullError, RuntimeError, TerminalError};
pub use gvisor::Gvisor;
pub use image::{Image, ImageConfig, Platform, PullPolicy, PullProgress, PullRequest};
pub use mounts::{MountSource, Mounts};
pub use nfs::{NfsMounts, NfsSource};
pub use oci_runtime::{OciRuntime, OciRuntimeError};
pub use tunnel::{TUNNEL_ADDRESS, Tunnel, TunnelTo, Tunnels};
pub use userns::{IdMapping, NamespaceMaker, UserNamespace};

/// Who answers: for introspection and for container-instance `versionInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// `containerd`.
    pub name: String,
    /// Its version as it says it, e.g. `1.6.20~ds1`.
    pub version: String,
}

/// Where progress of a pull is told. Called from the pulling future; must not block.
pub type ProgressSink<'a> = &'a (dyn Fn(PullProgress) + Send + Sync);

/// Images and containers on one machine. Every method may be repeated after a failure or a restart of either side.
///
/// Futures are boxed so that the agent can hold an `Arc<dyn Runtime>`. Dropping a `pull` future cancels the pull and
/// leaves nothing behind; other futures must be driven to their end, or `remove` be called for the id.
pub trait Runtime: Send + Sync + 'static {
    /// Asks the runtime for its name and version; also the cheapest liveness probe.
    fn info(&self) -> BoxFuture<'_, Result<RuntimeInfo, RuntimeError>>;

    /// Makes an image present and unpacked. Equal requests in flight at the same time share one pull.
    fn pull<'a>(&'a self, request: PullRequest, progress: ProgressSink<'a>) -> BoxFuture<'a, Result<Image, PullError>>;

    /// The image if it is present and complete. `reference` is normalised as `docker pull` does.
    fn image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>, RuntimeError>>;

    /// All complete images.
    fn list_images(&self) -> BoxFuture<'_, Result<Vec<Image>, RuntimeError>>;

    /// Forgets an image name; its content goes once nothing else uses it. No error if it is not there.
    fn remove_image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Prepares everything up to, but not including, running the process. Idempotent by `spec.id`: a container whose
    /// process exists (created, running or stopped) is left as it is; a half-made one is made anew.
    fn create(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<(), CreateError>>;

    /// Prepares what was created, and has ended, to be run again over what it has written. Idempotent: a container whose process
    /// waits to be started, or runs, is left as it is.
    fn renew(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<(), CreateError>>;

    /// Runs the process of a created container; answers its pid. No error if it is already running.
    fn start<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<u32, CreateError>>;

    /// Sends a signal to the container's first process, or to all of them. No error if it has already stopped.
    fn signal<'a>(&'a self, id: &'a str, signal: i32, all: bool) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Runs a further process in a container, as its own user and with its environment, and waits for its end; one that
    /// takes longer than `limit` is killed. One at a time in a container: a second one ends the first.
    fn exec<'a>(
        &'a self,
        id: &'a str,
        args: &'a [String],
        limit: Duration,
    ) -> BoxFuture<'a, Result<ExecEnd, RuntimeError>>;

    /// Runs a further process in a container at a terminal of its own, as root and with the container's environment. `name` tells
    /// it from others in that container: letters, digits and `-`.
    fn open_terminal<'a>(
        &'a self,
        id: &'a str,
        name: &'a str,
        args: &'a [String],
        size: TerminalSize,
    ) -> BoxFuture<'a, Result<Terminal, TerminalError>>;

    /// Tells the process how large its terminal is by now.
    fn resize_terminal<'a>(
        &'a self,
        id: &'a str,
        name: &'a str,
        size: TerminalSize,
    ) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Waits for the end of the process: 0..=255, 128+n for signal n.
    fn terminal_ended<'a>(&'a self, id: &'a str, name: &'a str) -> BoxFuture<'a, Result<u32, RuntimeError>>;

    /// Ends the process, if it has not ended, and clears it away. Whoever reads its output meanwhile gets all of it. Idempotent.
    fn close_terminal<'a>(&'a self, id: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// What happens to containers from now on. Never ends; reconnects by itself. Each (re)connection starts with
    /// [`RuntimeEvent::Connected`]: events may have been missed before it, so reconcile with [`Runtime::list`] then.
    fn watch(&self) -> BoxStream<'static, RuntimeEvent>;

    /// The state of a container, `None` if there is no such container.
    fn status<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<ContainerStatus>, RuntimeError>>;

    /// All containers that carry all of these labels.
    fn list<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<ContainerSummary>, RuntimeError>>;

    /// Kills what runs and removes process, record and filesystem. Idempotent; tolerates any half-made state.
    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// What a container uses now; `None` if it does not run.
    fn stats<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<ContainerStats>, RuntimeError>>;
}

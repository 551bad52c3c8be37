//! What the engine needs of the machine, as a seam: the real one is `real`, the simulator plugs a fake.
//!
//! Every operation may be repeated: after a crash the engine asks again for whatever it cannot prove to be done.

use crate::{
    plan::{Job, LogKit, TaskPlan},
    task::{Endpoint, Probed, Pulled, Reading},
};
use futures::{FutureExt, future::BoxFuture, stream::BoxStream};
use link::Networks;
use std::sync::Arc;

/// Why something could not be done: the whole reason as ECS shows it, `CannotPullContainerError: …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub Arc<str>);

impl Failure {
    /// `Name: message`.
    pub fn new(name: &str, message: impl std::fmt::Display) -> Self {
        Self(format!("{name}: {message}").into())
    }
}

/// How a container does, on being looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Its process runs, or waits to be started.
    Alive,
    /// Its process has ended.
    Exited {
        /// 0 to 255, if it is known.
        code: Option<i32>,
        /// The kernel killed something in it for lack of memory.
        oom: bool,
    },
    /// There is no such container.
    Absent,
}

/// What a machine tells unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvent {
    /// Events may have been missed before this one.
    Connected,
    /// A process ended.
    Exited {
        /// The container's runtime id.
        id: String,
        /// 0 to 255.
        code: i32,
    },
    /// The kernel killed something for lack of memory.
    OutOfMemory {
        /// The container's runtime id.
        id: String,
    },
}

/// A machine that can run containers.
pub trait Node: Send + Sync + 'static {
    /// Makes a container's image present. Dropping the future cancels the pull.
    fn pull(&self, job: Job) -> BoxFuture<'_, Result<Pulled, Failure>>;

    /// Makes its network: a namespace, an address, published ports; what its mode asks for.
    fn connect(&self, job: Job) -> BoxFuture<'_, Result<Endpoint, Failure>>;

    /// Creates it. For a run after the first it is there, has ended, and is made ready to be started again over what it has written.
    fn create(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>>;

    /// Starts it. No error if it runs already; if its process has ended by now, that is what the event stream tells.
    fn start(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>>;

    /// Sends the stop signal of its image, or SIGKILL to all its processes.
    fn signal(&self, job: Job, kill: bool) -> BoxFuture<'_, Result<(), Failure>>;

    /// Looks how it does.
    fn inspect(&self, job: Job) -> BoxFuture<'_, Result<Seen, Failure>>;

    /// Runs its health check's command inside it, for no longer than the check allows.
    fn probe(&self, job: Job) -> BoxFuture<'_, Probed>;

    /// Removes the container and its network, whatever state they are in. Its output stays.
    fn remove(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>>;

    /// Lays what the server says of the VPCs over what is known, and has it be so.
    fn carry(&self, networks: Networks);

    /// Asks anew for what these tasks have as files, and has the files follow.
    fn refresh(&self, tasks: Vec<Arc<TaskPlan>>) {
        drop(tasks);
    }

    /// Fetches images before a task needs them, the most wanted first, as long as no task waits for another; the whole list each
    /// time. What cannot be fetched is left to who needs it.
    fn fetch_ahead(&self, images: Vec<Arc<str>>);

    /// Makes the network interface that all containers of a task share.
    fn attach(&self, task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>>;

    /// Gets what the server gives the containers of a task. It stays in memory until the task is cleared away.
    fn provide(&self, task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>>;

    /// What the log driver of a container is told. Waits for a server as long as there is none, if that has to say something.
    fn logging(&self, job: Job) -> BoxFuture<'_, Result<LogKit, Failure>> {
        drop(job);
        std::future::ready(Ok(LogKit::default())).boxed()
    }

    /// Removes what the task itself has left: its cgroup and its network interface.
    fn clear(&self, task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>>;

    /// What the containers of a task have used together; `None` where nobody counts it.
    fn measure(&self, task: &TaskPlan) -> Option<Reading>;

    /// Removes its output, or puts it aside if it is nowhere else.
    fn forget(&self, task: Arc<TaskPlan>) -> BoxFuture<'_, ()>;

    /// Called once before anything else: these are all the containers of the ledger; every other trace of this instance's
    /// former containers is to be removed, and the addresses and ports of these are taken. `attached` are the tasks that have a
    /// network interface of their own, whole or half.
    fn adopt(&self, known: Vec<Job>, attached: Vec<Arc<TaskPlan>>) -> BoxFuture<'_, Result<(), Failure>>;

    /// What happens to containers. Never ends.
    fn watch(&self) -> BoxStream<'static, NodeEvent>;
}

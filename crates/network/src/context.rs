//! Which network namespace an operation works in, and the dedicated threads that enter it.
//!
//! A thread that called `setns` or `unshare` must never serve anyone else, so each piece of work inside a namespace gets
//! an OS thread of its own that ends with it; never a runtime worker, never the blocking pool. Starting one costs about
//! 50 microseconds, far less than the kernel's part of the work.

use crate::{Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The network namespace to work in: the instance's, or the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetContext {
    /// The namespace's file (for example under `/run/longshore/netns`); `None` is the calling process's own.
    pub netns: Option<PathBuf>,
}

impl NetContext {
    /// The calling process's own namespace.
    pub fn own() -> Self {
        Self::default()
    }

    /// The namespace behind this file.
    pub fn at(netns: impl Into<PathBuf>) -> Self {
        Self { netns: Some(netns.into()) }
    }

    /// Runs `work` on a dedicated thread inside the namespace. The work may block; it completes even when the caller stops
    /// waiting, so what it does must be safe to repeat.
    pub async fn enter<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let netns = self.netns.clone();
        let (answer, waiting) = tokio::sync::oneshot::channel();
        let body = move || {
            let result = match netns {
                Some(path) => set_thread_netns(&path).and_then(|()| work()),
                None => work(),
            };
            // The caller may have stopped waiting; the work is done all the same.
            drop(answer.send(result));
        };
        std::thread::Builder::new().name("netns".into()).spawn(body).map_err(|_| Error::Thread)?;
        waiting.await.map_err(|_| Error::Thread)?
    }
}

impl NetContext {
    /// As [`Self::enter`] for async work, on a runtime that lives and dies with the thread. The kernel does a netlink request
    /// inside the call that sends it, waiting for its one big lock and, for deletions, for grace periods of tens of
    /// milliseconds: on a shared worker that would hold up everyone else.
    pub(crate) async fn run<T, F, W>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> W + Send + 'static,
        W: Future<Output = Result<T>>,
    {
        self.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            runtime.map_err(|source| Error::os("starting a runtime on", "network thread", source))?.block_on(work())
        })
        .await
    }
}

/// Opens a namespace file, whatever the namespace.
pub(crate) fn open_netns(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|source| Error::os("opening network namespace", path, source))
}

/// Moves the calling thread, which must be one of ours, into a namespace for the rest of its life.
pub(crate) fn set_thread_netns(path: &Path) -> Result<()> {
    let namespace = open_netns(path)?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|source| Error::os("entering network namespace", path, source))
}

/// The calling thread's own network namespace, to come back to.
pub(crate) fn thread_netns() -> Result<OwnedFd> {
    open_netns(Path::new("/proc/thread-self/ns/net"))
}

/// As [`set_thread_netns`], to a namespace that is open already.
pub(crate) fn return_thread_to(namespace: &OwnedFd) -> Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|source| Error::os("entering", "network namespace", source))
}

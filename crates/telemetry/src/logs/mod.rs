//! The log store behind the CloudWatch-Logs-compatible API: groups, streams and their events, kept on disk.
//!
//! One writer thread owns all writing. Every change goes into a shared journal and is answered after one sync for the whole
//! batch; checkpoints move events into compressed segments per stream (`docs/decisions/0005-log-store.md` says why).
//! Readers work beside it on what is published. There is no clock in here: times are arguments, in milliseconds since the
//! epoch, and whoever owns the store calls [`Store::maintain`] once a minute or so.
//!
//! Writing is `async` and never blocks the caller's thread; reading opens files, so call it where blocking is allowed.

mod catalog;
mod change;
pub mod check;
mod checkpoint;
mod codec;
mod command;
mod describe;
mod error;
mod group_files;
mod journal;
mod names;
mod open;
pub mod pattern;
mod read;
mod scan;
mod segment;
mod staged;
mod types;
mod writer;

use crate::frame;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use self::catalog::Catalog;
use self::command::{Answer, Command};
use self::read::Reading;
use self::scan::Indexes;
use self::writer::{Counters, Request};

pub use self::describe::MAX_DESCRIBED;
pub use self::error::{Error, OpenError};
pub use self::names::{MAX_EVENT_BYTES, MAX_PUT_BYTES, MAX_PUT_EVENTS, RETENTION_DAYS};
pub use self::pattern::Pattern;
pub use self::read::{MAX_PAGE_BYTES, MAX_PAGE_EVENTS, MAX_SEARCHED};
pub use self::types::*;

/// Requests waiting for the writer. A put is at most 1 MiB, so this bounds memory at a few hundred MiB in the worst case and
/// is still more than one batch in the usual one.
const QUEUE: usize = 256;

/// A handle on the store; clones share it. The last one dropped waits for the writer to finish what it was given.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` only while dropping.
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    root: PathBuf,
    limits: Limits,
    catalog: Arc<Catalog>,
    counters: Arc<Counters>,
    indexes: Indexes,
    _lock: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the log store's writer panicked");
        }
    }
}

impl Store {
    /// Opens the store in `dir`, making it if there is none, and repairs what a crash left unfinished. Blocks.
    pub fn open(dir: &Path, limits: Limits) -> Result<Store, OpenError> {
        let lock = open::lock(dir)?;
        let writer = open::recover(dir, limits.clone())?;
        let (catalog, counters) = (Arc::clone(&writer.catalog), Arc::clone(&writer.counters));
        counters.journal_bytes.store(writer.journal.len(), Ordering::Relaxed);
        let (requests, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("logs-writer".to_string()).spawn(move || writer.run(queue));
        let writer =
            thread.map_err(|source| OpenError::Io { what: "starting the log store's writer".to_string(), source })?;
        let inner = Inner {
            requests: Some(requests),
            writer: Some(writer),
            root: dir.to_path_buf(),
            limits,
            catalog,
            counters,
            indexes: Indexes::default(),
            _lock: lock,
        };
        Ok(Store { inner: Arc::new(inner) })
    }

    async fn ask(&self, command: Command) -> Result<Answer, Error> {
        let gone = || Error::Unavailable("the log store has stopped".to_string());
        let (reply, answer) = oneshot::channel();
        let requests = self.inner.requests.as_ref().ok_or_else(gone)?;
        requests.send(Request { command, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// `CreateLogGroup`.
    pub async fn create_group(
        &self,
        scope: &Scope,
        group: &str,
        tags: BTreeMap<String, String>,
        now_millis: i64,
    ) -> Result<(), Error> {
        let command = Command::CreateGroup { scope: scope.clone(), group: group.to_string(), tags, now: now_millis };
        self.ask(command).await.map(drop)
    }

    /// `DeleteLogGroup`, with every stream and event in it.
    pub async fn delete_group(&self, scope: &Scope, group: &str) -> Result<(), Error> {
        self.ask(Command::DeleteGroup { scope: scope.clone(), group: group.to_string() }).await.map(drop)
    }

    /// `PutRetentionPolicy`, or with `None` `DeleteRetentionPolicy`. Events expire at the next [`Store::maintain`].
    pub async fn set_retention(&self, scope: &Scope, group: &str, days: Option<u32>) -> Result<(), Error> {
        self.ask(Command::SetRetention { scope: scope.clone(), group: group.to_string(), days }).await.map(drop)
    }

    /// `TagLogGroup`: adds or overwrites.
    pub async fn tag_group(&self, scope: &Scope, group: &str, tags: BTreeMap<String, String>) -> Result<(), Error> {
        self.ask(Command::Tag { scope: scope.clone(), group: group.to_string(), tags }).await.map(drop)
    }

    /// `UntagLogGroup`: keys that are not there are ignored.
    pub async fn untag_group(&self, scope: &Scope, group: &str, keys: Vec<String>) -> Result<(), Error> {
        self.ask(Command::Untag { scope: scope.clone(), group: group.to_string(), keys }).await.map(drop)
    }

    /// `CreateLogStream`.
    pub async fn create_stream(&self, scope: &Scope, group: &str, stream: &str, now_millis: i64) -> Result<(), Error> {
        let (scope, group, stream) = (scope.clone(), group.to_string(), stream.to_string());
        self.ask(Command::CreateStream { scope, group, stream, now: now_millis }).await.map(drop)
    }

    /// `DeleteLogStream`, with every event in it.
    pub async fn delete_stream(&self, scope: &Scope, group: &str, stream: &str) -> Result<(), Error> {
        let (scope, group, stream) = (scope.clone(), group.to_string(), stream.to_string());
        self.ask(Command::DeleteStream { scope, group, stream }).await.map(drop)
    }

    /// `PutLogEvents`: durable when it answers. Events must be in order of time, as AWS demands.
    pub async fn put_events(
        &self,
        scope: &Scope,
        group: &str,
        stream: &str,
        events: Vec<Event>,
        ingestion_millis: i64,
    ) -> Result<PutOutcome, Error> {
        let (scope, group, stream) = (scope.clone(), group.to_string(), stream.to_string());
        match self.ask(Command::Put { scope, group, stream, events, now: ingestion_millis }).await? {
            Answer::Put(outcome) => Ok(outcome),
            Answer::Done | Answer::Shipped(_) => unreachable!("the writer answers a put with its outcome"),
        }
    }

    /// Takes a batch of lines a node ships at least once and keeps each exactly once: lines this producer has already
    /// delivered to this stream, in whatever batches, are dropped. Durable when it answers. Nothing is rejected for its age,
    /// because a node that was cut off for weeks must not lose its logs, and lines need not be in order of time, because
    /// clocks are set back. The stream is created if it is missing.
    pub async fn put_from(
        &self,
        scope: &Scope,
        group: &str,
        stream: &str,
        shipment: Shipment,
        ingestion_millis: i64,
    ) -> Result<ShipOutcome, Error> {
        let (scope, group, stream) = (scope.clone(), group.to_string(), stream.to_string());
        match self.ask(Command::PutFrom { scope, group, stream, shipment, now: ingestion_millis }).await? {
            Answer::Shipped(outcome) => Ok(outcome),
            Answer::Done | Answer::Put(_) => unreachable!("the writer answers a shipment with its outcome"),
        }
    }

    /// Expires events by retention and moves what has waited long enough into segments. Call it about once a minute.
    pub async fn maintain(&self, now_millis: i64) -> Result<(), Error> {
        self.ask(Command::Maintain { now: now_millis }).await.map(drop)
    }

    /// Moves everything into segments now, which a backup or an orderly stop may like; never needed for safety.
    pub async fn checkpoint(&self) -> Result<(), Error> {
        self.ask(Command::Checkpoint).await.map(drop)
    }

    fn reading(&self) -> Reading<'_> {
        let Inner { root, catalog, indexes, limits, .. } = &*self.inner;
        Reading { root, catalog, indexes, limits }
    }

    /// One log group.
    pub fn group(&self, scope: &Scope, group: &str) -> Result<GroupInfo, Error> {
        Ok(self.inner.catalog.group(scope, group)?.info())
    }

    /// `DescribeLogGroups`, by name. `limit` is 1 to [`MAX_DESCRIBED`].
    pub fn describe_groups(
        &self,
        scope: &Scope,
        names: &GroupNames,
        limit: Option<usize>,
        token: Option<&str>,
    ) -> Result<Page<GroupInfo>, Error> {
        describe::groups(&self.inner.catalog, scope, names, limit, token)
    }

    /// `DescribeLogStreams`. `limit` is 1 to [`MAX_DESCRIBED`].
    pub fn describe_streams(
        &self,
        scope: &Scope,
        group: &str,
        order: &StreamOrder,
        descending: bool,
        limit: Option<usize>,
        token: Option<&str>,
    ) -> Result<Page<StreamInfo>, Error> {
        let group = self.inner.catalog.group(scope, group)?;
        describe::streams(&group, order, descending, limit, token)
    }

    /// `GetLogEvents`. Reads files.
    pub fn get_events(&self, scope: &Scope, group: &str, stream: &str, ask: &GetEvents) -> Result<EventsPage, Error> {
        self.reading().get_events(scope, group, stream, ask)
    }

    /// `FilterLogEvents`. Reads files.
    pub fn filter_events(&self, scope: &Scope, group: &str, ask: &FilterEvents) -> Result<FilterPage, Error> {
        self.reading().filter_events(scope, group, ask)
    }

    /// How the store is doing. Cheap.
    pub fn stats(&self) -> Stats {
        let Inner { catalog, counters, .. } = &*self.inner;
        let groups = catalog.groups();
        Stats {
            groups: groups.by_id.len(),
            streams: groups.by_id.values().map(|group| group.streams().by_id.len()).sum(),
            journal_bytes: counters.journal_bytes.load(Ordering::Relaxed),
            commits: counters.commits.load(Ordering::Relaxed),
            events: counters.events.load(Ordering::Relaxed),
            checkpoints: counters.checkpoints.load(Ordering::Relaxed),
            damaged_blocks: catalog.damaged_blocks.load(Ordering::Relaxed),
        }
    }
}

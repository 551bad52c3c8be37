//! The handle that everybody holds: snapshots out, commands in, subscriptions.

use crate::{
    backend::{Backend, BackendError},
    command::{Command, Outcome, Rejected},
    feed::{Feed, Subscription, Topic},
    maintain::{self, MaintainError},
    record::Kind,
    snapshot::Snapshot,
    writer::{Request, Writer},
};
use arc_swap::ArcSwap;
use effects::Effects;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait for the writer. At some 4,000 durable writes a second (SQLite, 64 callers, a plain disk) this
/// is half a second's work: whoever would wait longer is told to come again instead.
pub const QUEUE_BOUND: usize = 2048;

/// The state store. Cheap to clone; the writer ends when the last handle is gone or [`Store::close`] is called.
#[derive(Clone)]
pub struct Store {
    published: Arc<Published>,
    queue: Queue,
}

/// What the writer publishes.
pub(crate) struct Published {
    pub(crate) current: ArcSwap<Snapshot>,
    pub(crate) feed: Feed,
    pub(crate) commands: AtomicU64,
    pub(crate) groups: AtomicU64,
    directory: Option<PathBuf>,
    epoch: u64,
}

/// Is shown the state before and after each commit of [`Store::open_simulated`].
pub type Witness = Box<dyn FnMut(&Arc<Snapshot>, &Arc<Snapshot>) + Send>;

#[derive(Clone)]
enum Queue {
    Thread(mpsc::Sender<Request>),
    /// For tests and the simulator: `None` once closed.
    Inline(Arc<Mutex<Option<Writer>>>),
    /// For the simulator: what it says happens before and after each commit.
    Simulated(Arc<Mutex<Option<Writer>>>, Effects),
}

/// A command that was done and is durable.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The revision it is part of.
    pub revision: u64,
    /// What it brought about.
    pub outcome: Outcome,
    /// The state with it, and possibly with others of the same moment.
    pub snapshot: Arc<Snapshot>,
}

/// Why a command was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// What it was decided on no longer holds.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// It could not be made durable. Reads go on; writes work again when the disk does.
    #[error(transparent)]
    Storage(BackendError),
    /// Too many commands are waiting; come again.
    #[error("the state store is busy")]
    Busy,
    /// The store was closed. Whether the command was done is not known if it had been sent before.
    #[error("the state store is closed")]
    Closed,
    /// Another server has taken over the store: this one must stop.
    #[error("another server has taken over this state store")]
    LostLeadership,
}

/// Why a store could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open, or it can not be read or written.
    #[error(transparent)]
    Backend(BackendError),
    /// It is damaged. The message names the ways out.
    #[error(
        "{0}. The server does not start on a damaged store. `longshore state check` tells what is wrong; \
         `longshore state restore` puts a backup in its place"
    )]
    Corrupt(Arc<str>),
}

impl From<BackendError> for OpenError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Corrupt(what) => Self::Corrupt(what),
            BackendError::Full(_) | BackendError::Fenced | BackendError::InUse(_) | BackendError::Failed(_) => {
                Self::Backend(error)
            }
        }
    }
}

/// Records that one [`Store::changed_since`] tells of. The writer reads them between two groups, so they must be read in the
/// time of a few fsyncs: 1,000 tasks are some 2 MiB and 5 ms.
pub const MAX_CHANGED: usize = 1_000;

/// A record that is there and was written after a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRecord {
    /// The revision with which it got its present form.
    pub revision: u64,
    /// Its table.
    pub kind: Kind,
    /// Its key in the table: an ARN, or begins with one.
    pub key: String,
}

/// A page of what has changed since a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPage {
    /// In the order in which they were written, each once.
    pub records: Vec<ChangedRecord>,
    /// Whether that was all.
    pub is_last: bool,
}

/// How the writer has been doing since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Commands taken, refused ones too.
    pub commands: u64,
    /// Groups made durable: each is one fsync of the log.
    pub groups: u64,
}

impl Store {
    /// Takes the store over, loads it, and starts its writer thread. Blocks while it loads.
    pub fn open(backend: Box<dyn Backend>, effects: &Effects) -> Result<Self, OpenError> {
        let (writer, published) = Self::load(backend, effects)?;
        let (queue, requests) = mpsc::channel(QUEUE_BOUND);
        std::thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || writer.run(requests))
            .map_err(|e| BackendError::Failed(format!("its writer thread did not start: {e}").into()))?;
        Ok(Self { published, queue: Queue::Thread(queue) })
    }

    /// As [`Store::open`], but every commit is done by its caller, at once. For tests: a paused clock would run ahead while
    /// another thread works.
    pub fn open_inline(backend: Box<dyn Backend>, effects: &Effects) -> Result<Self, OpenError> {
        let (writer, published) = Self::load(backend, effects)?;
        Ok(Self { published, queue: Queue::Inline(Arc::new(Mutex::new(Some(writer)))) })
    }

    /// As [`Store::open_inline`], for the simulator: some commits wait before they are done, so that others come between what was
    /// looked at and what is decided on it, and some answers wait, so that their askers die before they have them. `witness` is
    /// shown the state before and after each commit.
    pub fn open_simulated(backend: Box<dyn Backend>, effects: &Effects, witness: Witness) -> Result<Self, OpenError> {
        let (mut writer, published) = Self::load(backend, effects)?;
        writer.shows(witness);
        Ok(Self { published, queue: Queue::Simulated(Arc::new(Mutex::new(Some(writer))), effects.clone()) })
    }

    fn load(mut backend: Box<dyn Backend>, effects: &Effects) -> Result<(Writer, Arc<Published>), OpenError> {
        let start = effects.monotonic();
        let epoch = backend.lead()?;
        let directory = backend.directory();
        let (snapshot, interner) = crate::load::load(&mut *backend)?;
        let (live, stopped) = snapshot.task_counts();
        let took_ms = u64::try_from((effects.monotonic() - start).as_millis()).unwrap_or(u64::MAX);
        tracing::info!(revision = snapshot.revision, epoch, live, stopped, took_ms, "state loaded");
        let published = Arc::new(Published {
            current: ArcSwap::from_pointee(snapshot),
            feed: Feed::default(),
            commands: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            directory,
            epoch,
        });
        Ok((Writer::new(backend, epoch, interner, published.clone()), published))
    }

    /// What is known now. No lock, no engine, no copy.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.current.load_full()
    }

    /// Which leadership of the store this is: higher than that of any opening before, also over a restore, though a restore
    /// takes revisions back. With the revision it orders whatever is told to the outside.
    pub fn epoch(&self) -> u64 {
        self.published.epoch
    }

    /// Does a command; returns when it is durable and published. Whoever finds the queue full is told so at once.
    pub async fn commit(&self, command: Command) -> Result<Committed, CommitError> {
        self.send(command, |queue, request| async move {
            queue.try_send(request).map_err(|e| match e {
                mpsc::error::TrySendError::Full(_) => CommitError::Busy,
                mpsc::error::TrySendError::Closed(_) => CommitError::Closed,
            })
        })
        .await
    }

    /// As [`Store::commit`], but waits for its turn where the queue is full. For callers who are few by another bound, and
    /// for whom to come again costs more than to wait: all agents of a cluster may have something to say at the same moment.
    pub async fn commit_in_turn(&self, command: Command) -> Result<Committed, CommitError> {
        let wait = |queue: mpsc::Sender<Request>, request| async move {
            queue.send(request).await.map_err(|_| CommitError::Closed)
        };
        self.send(command, wait).await
    }

    async fn send<F>(
        &self,
        command: Command,
        enqueue: impl FnOnce(mpsc::Sender<Request>, Request) -> F,
    ) -> Result<Committed, CommitError>
    where
        F: Future<Output = Result<(), CommitError>>,
    {
        match &self.queue {
            Queue::Inline(writer) => one(writer, command),
            Queue::Simulated(writer, effects) => {
                dawdle(effects).await;
                let done = one(writer, command);
                dawdle(effects).await;
                done
            }
            Queue::Thread(queue) => {
                let (answer, answered) = oneshot::channel();
                enqueue(queue.clone(), Request::Commit { command, answer }).await?;
                answered.await.map_err(|_| CommitError::Closed)?
            }
        }
    }

    /// The records that were written after a revision and are still there, at most [`MAX_CHANGED`]; the next page follows
    /// the revision of the last. For whoever was away: in the running server, snapshots tell what has changed.
    pub async fn changed_since(&self, revision: u64) -> Result<ChangedPage, CommitError> {
        match &self.queue {
            Queue::Inline(writer) | Queue::Simulated(writer, _) => {
                let mut writer = writer.lock().map_err(|_| CommitError::Closed)?;
                writer.as_mut().ok_or(CommitError::Closed)?.changed_since(revision)
            }
            Queue::Thread(queue) => {
                let (answer, answered) = oneshot::channel();
                let asked = queue.send(Request::Changed { revision, answer }).await;
                asked.map_err(|_| CommitError::Closed)?;
                answered.await.map_err(|_| CommitError::Closed)?
            }
        }
    }

    /// Waits for changes from now on. Subscribe first, then take the snapshot.
    pub fn subscribe(&self, topic: Topic) -> Subscription {
        self.published.feed.subscribe(topic)
    }

    /// How the writer has been doing.
    pub fn stats(&self) -> Stats {
        Stats {
            commands: self.published.commands.load(Ordering::Relaxed),
            groups: self.published.groups.load(Ordering::Relaxed),
        }
    }

    /// Writes a consistent copy to the new file `to` while the store goes on. Takes as long as writing it takes.
    pub async fn backup(&self, to: &Path) -> Result<(), MaintainError> {
        let from = self.published.directory.clone().ok_or(MaintainError::NoFile)?;
        let to = to.to_owned();
        let copied = tokio::task::spawn_blocking(move || maintain::backup(&from, &to));
        copied.await.unwrap_or(Err(MaintainError::Interrupted))
    }

    /// Does what is queued, closes the engine and wakes every subscriber for the last time.
    pub async fn close(&self) {
        match &self.queue {
            Queue::Inline(writer) | Queue::Simulated(writer, _) => {
                if let Ok(mut writer) = writer.lock() {
                    *writer = None;
                }
                self.published.feed.close();
            }
            Queue::Thread(queue) => {
                let (answer, answered) = oneshot::channel();
                // Either send or answer fails only when the writer has ended already, which is what was wanted.
                if queue.send(Request::Close { answer }).await.is_ok() {
                    let _ = answered.await;
                }
            }
        }
    }
}

fn one(writer: &Mutex<Option<Writer>>, command: Command) -> Result<Committed, CommitError> {
    let mut writer = writer.lock().map_err(|_| CommitError::Closed)?;
    writer.as_mut().ok_or(CommitError::Closed)?.one(command)
}

/// One in four waits for some milliseconds, as behind an fsync.
async fn dawdle(effects: &Effects) {
    let chance = effects.random();
    if chance.is_multiple_of(4) {
        effects.sleep(std::time::Duration::from_millis(chance / 4 % 20)).await;
    }
}

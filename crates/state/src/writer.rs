//! The one writer: takes what has queued up, applies it to a draft, makes it durable in one go, publishes, answers.
//!
//! While one group is being written the next queues up, so groups grow with load and every caller still waits for no
//! more than two fsyncs. If a group can not be written nothing of it has happened: the draft is dropped.

use crate::{
    backend::{Backend, BackendError},
    command::Command,
    draft::{Draft, Finished},
    intern::Interner,
    store::{ChangedPage, ChangedRecord, CommitError, Committed, MAX_CHANGED, Published, Witness},
};
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::{mpsc, oneshot};

/// Commands made durable together. 64 callers gain all that grouping can give; more would let one fsync carry more rows
/// than a disk writes in the time of an fsync, and everybody would wait for everybody.
pub(crate) const GROUP_BOUND: usize = 256;

/// What the writer is asked.
#[allow(clippy::large_enum_variant)] // Nearly all are commits.
pub(crate) enum Request {
    Commit { command: Command, answer: oneshot::Sender<Result<Committed, CommitError>> },
    Changed { revision: u64, answer: oneshot::Sender<Result<ChangedPage, CommitError>> },
    Close { answer: oneshot::Sender<()> },
}

pub(crate) struct Writer {
    backend: Box<dyn Backend>,
    epoch: u64,
    interner: Interner,
    published: Arc<Published>,
    /// The last group could not be written, and that was told.
    failing: bool,
    /// Only the simulator has one.
    witness: Option<Witness>,
}

impl Writer {
    pub(crate) fn new(backend: Box<dyn Backend>, epoch: u64, interner: Interner, published: Arc<Published>) -> Self {
        Self { backend, epoch, interner, published, failing: false, witness: None }
    }

    /// From now on each commit is shown to it.
    pub(crate) fn shows(&mut self, witness: Witness) {
        self.witness = Some(witness);
    }

    /// Until the last handle is gone or somebody closes.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut closing = Vec::new();
        while let Some(first) = requests.blocking_recv() {
            let (mut commands, mut answers) = (Vec::new(), Vec::new());
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Commit { command, answer } => {
                        commands.push(command);
                        answers.push(answer);
                    }
                    // It reads what is durable, so it need not wait for the group before it.
                    Request::Changed { revision, answer } => drop(answer.send(self.changed_since(revision))),
                    Request::Close { answer } => {
                        requests.close();
                        closing.push(answer);
                    }
                }
                next = if commands.len() < GROUP_BOUND { requests.try_recv().ok() } else { None };
            }
            for (answer, result) in answers.into_iter().zip(self.group(commands)) {
                // A caller that has gone away does not want to know.
                let _ = answer.send(result);
            }
        }
        let published = self.published.clone();
        drop(self);
        published.feed.close();
        for answer in closing {
            let _ = answer.send(());
        }
    }

    /// One command by itself.
    pub(crate) fn one(&mut self, command: Command) -> Result<Committed, CommitError> {
        self.group(vec![command]).pop().unwrap_or(Err(CommitError::Closed))
    }

    /// A page of the records that were written after a revision.
    pub(crate) fn changed_since(&mut self, revision: u64) -> Result<ChangedPage, CommitError> {
        let mut page = ChangedPage { records: Vec::new(), is_last: true };
        let read = self.backend.newer(revision, &mut |stored| {
            if page.records.len() == MAX_CHANGED {
                page.is_last = false;
                // Any error ends the reading; this one is never told.
                return Err(BackendError::Failed("the page is full".into()));
            }
            page.records.push(ChangedRecord { revision: stored.revision, kind: stored.kind, key: stored.key });
            Ok(())
        });
        match read {
            Err(error) if page.is_last => Err(CommitError::Storage(error)),
            Ok(_) | Err(_) => Ok(page),
        }
    }

    fn group(&mut self, commands: Vec<Command>) -> Vec<Result<Committed, CommitError>> {
        let count = commands.len();
        self.published.commands.fetch_add(count as u64, Ordering::Relaxed);
        let mut draft = Draft::new(&self.published.current.load(), &mut self.interner);
        let outcomes: Vec<_> = commands.into_iter().map(|command| draft.apply(command)).collect();
        let finished = draft.finish();
        let snapshot = match self.keep(finished) {
            Ok(snapshot) => snapshot,
            Err(error) => return vec![Err(error); count],
        };
        let answer = |outcome| Committed { revision: snapshot.revision, outcome, snapshot: snapshot.clone() };
        outcomes.into_iter().map(|outcome| outcome.map(answer).map_err(CommitError::Rejected)).collect()
    }

    /// Makes a draft durable, then visible.
    fn keep(&mut self, finished: Finished) -> Result<Arc<crate::Snapshot>, CommitError> {
        if finished.batch.is_empty() {
            return Ok(self.published.current.load_full());
        }
        let mut snapshot = finished.snapshot;
        let committed = tracing::trace_span!(target: "timeline", "commit")
            .in_scope(|| self.backend.commit(&finished.batch, self.epoch));
        snapshot.revision = committed.map_err(|error| {
            if matches!(error, BackendError::Fenced) {
                return CommitError::LostLeadership;
            }
            // Told once: callers come again and again while it lasts.
            if !std::mem::replace(&mut self.failing, true) {
                tracing::error!(%error, "state cannot be written; nothing is changed until it can be");
            }
            CommitError::Storage(error)
        })?;
        if std::mem::take(&mut self.failing) {
            tracing::info!("state can be written again");
        }
        self.published.groups.fetch_add(1, Ordering::Relaxed);
        let snapshot = Arc::new(snapshot);
        let before = self.published.current.swap(snapshot.clone());
        if let Some(witness) = &mut self.witness {
            witness(&before, &snapshot);
        }
        self.published.feed.wake(&finished.touched, snapshot.revision);
        Ok(snapshot)
    }
}

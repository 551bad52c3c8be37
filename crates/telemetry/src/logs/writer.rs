//! The one owner of the journal: takes commands, turns them into changes, makes a batch of them durable with one sync, then
//! makes them visible and answers.
//!
//! Nothing is visible or answered before it is durable, and nothing in a batch may depend on another part of it except as
//! `Staged` remembers; where a command would, the batch is committed first.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::catalog::{Catalog, Dirt, Garbage, Group};
use super::change::{Appended, Change, Fact};
use super::command::{self, Answer, Command};
use super::error::Error;
use super::group_files::{self, GroupFiles};
use super::journal::Journal;
use super::names;
use super::segment;
use super::staged::Staged;
use super::types::{Event, Limits, PutOutcome, Scope, Shipment};

/// Commands made durable by one sync. A sync takes about a millisecond, in which at most about this many can be decided.
const MAX_BATCH: usize = 1_024;
/// Bytes made durable by one sync: beyond this the write, not the sync, is what takes time.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// The journal may outgrow its limit this many times while checkpoints fail (a full disk) before puts are refused, because
/// its events are also held in memory.
const MAX_OVERGROWTH: u64 = 4;

/// A command and where its answer goes.
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) reply: oneshot::Sender<Result<Answer, Error>>,
}

/// Counters for [`Stats`](super::Stats).
#[derive(Default)]
pub(super) struct Counters {
    pub(super) journal_bytes: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) checkpoints: AtomicU64,
}

pub(super) struct Writer {
    pub(super) root: PathBuf,
    pub(super) limits: Limits,
    pub(super) catalog: Arc<Catalog>,
    pub(super) counters: Arc<Counters>,
    pub(super) journal: Journal,
    pub(super) files: HashMap<u64, GroupFiles>,
    pub(super) dirt: Dirt,
    pub(super) next_id: u64,
    /// The latest time any command named: the store's only idea of now.
    pub(super) latest: i64,
    /// Journal length at which the next checkpoint is tried.
    pub(super) checkpoint_at: u64,
    staged: Staged,
    waiting: Vec<(oneshot::Sender<Result<Answer, Error>>, Answer)>,
}

impl Writer {
    pub(super) fn new(
        root: PathBuf,
        limits: Limits,
        catalog: Arc<Catalog>,
        journal: Journal,
        files: HashMap<u64, GroupFiles>,
        next_id: u64,
    ) -> Writer {
        Writer {
            root,
            checkpoint_at: limits.journal_bytes,
            limits,
            catalog,
            counters: Arc::default(),
            journal,
            files,
            dirt: Dirt::default(),
            next_id,
            latest: i64::MIN,
            staged: Staged::default(),
            waiting: Vec::new(),
        }
    }

    /// Serves until every sender is gone.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.blocking_recv() {
            self.take(request);
            // Commands that may not share a batch commit on the way, so the journal can be full before the queue is empty.
            while self.waiting.len() < MAX_BATCH
                && self.staged.frames.len() < MAX_BATCH_BYTES
                && self.journal.len() < self.checkpoint_at
            {
                let Ok(request) = requests.try_recv() else { break };
                self.take(request);
            }
            self.commit();
            if self.journal.len() >= self.checkpoint_at {
                self.checkpoint(false);
            }
        }
    }

    /// Applies a change read back from the journal. Time goes on from the latest arrival, not from zero.
    pub(super) fn recall(&mut self, change: Change) {
        if let Change::Appended(added) = &change {
            let arrived = added.chunk.events.iter().map(|event| event.ingestion).max();
            self.latest = self.latest.max(arrived.unwrap_or(i64::MIN));
        }
        let garbage = self.catalog.apply(change, &mut self.dirt);
        self.remove(garbage);
    }

    fn take(&mut self, request: Request) {
        if !self.staged.admits(&request.command) {
            self.commit();
        }
        match self.decide(request.command) {
            Ok(answer) => self.waiting.push((request.reply, answer)),
            // A refusal rests on what is durable, so it need not wait. The caller may be gone; nobody else cares.
            Err(error) => drop(request.reply.send(Err(error))),
        }
    }

    fn decide(&mut self, command: Command) -> Result<Answer, Error> {
        match command {
            Command::CreateGroup { scope, group, tags, now } => {
                self.see(now);
                self.create_group(scope, &group, tags, now)?;
            }
            Command::DeleteGroup { scope, group } => {
                let id = self.catalog.group(&scope, &group)?.id;
                self.staged.push(Change::Fact(Fact::GroupDeleted { id }));
            }
            Command::SetRetention { scope, group, days } => {
                days.map_or(Ok(()), names::check_retention)?;
                let id = self.catalog.group(&scope, &group)?.id;
                self.staged.push(Change::Fact(Fact::RetentionSet { id, days }));
            }
            Command::Tag { scope, group, tags } => {
                let group = self.catalog.group(&scope, &group)?;
                let mut all = group.settings().tags.clone();
                all.extend(tags);
                names::check_tags(&all)?;
                self.staged.push(Change::Fact(Fact::TagsSet { id: group.id, tags: all }));
            }
            Command::Untag { scope, group, keys } => {
                let group = self.catalog.group(&scope, &group)?;
                let mut tags = group.settings().tags.clone();
                tags.retain(|key, _| !keys.contains(key));
                self.staged.push(Change::Fact(Fact::TagsSet { id: group.id, tags }));
            }
            Command::CreateStream { scope, group, stream, now } => {
                self.see(now);
                let found = self.catalog.group(&scope, &group)?;
                self.create_stream(&found, &stream, now)?;
                self.staged.renamed.insert((scope, group, stream));
            }
            Command::DeleteStream { scope, group, stream } => {
                let found = self.catalog.group(&scope, &group)?;
                let id = found.stream(&stream)?.id;
                self.staged.push(Change::Fact(Fact::StreamDeleted { group: found.id, id }));
                self.staged.renamed.insert((scope, group, stream));
            }
            Command::Put { scope, group, stream, events, now } => {
                return self.put(&scope, &group, &stream, events, now);
            }
            Command::PutFrom { scope, group, stream, shipment, now } => {
                return self.put_from(scope, group, stream, shipment, now);
            }
            Command::Maintain { now } => {
                self.see(now);
                self.maintain(now);
            }
            Command::Checkpoint => self.checkpoint(true),
        }
        Ok(Answer::Done)
    }

    fn see(&mut self, now: i64) {
        self.latest = self.latest.max(now);
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn create_group(
        &mut self,
        scope: Scope,
        name: &str,
        tags: BTreeMap<String, String>,
        created: i64,
    ) -> Result<u64, Error> {
        names::check_group(name)?;
        names::check_tags(&tags)?;
        if self.catalog.group(&scope, name).is_ok() {
            return Err(Error::GroupExists);
        }
        let id = self.fresh_id();
        self.staged.push(Change::Fact(Fact::GroupCreated { id, scope, name: name.to_string(), created, tags }));
        Ok(id)
    }

    fn create_stream(&mut self, group: &Group, name: &str, created: i64) -> Result<u64, Error> {
        names::check_stream(name)?;
        if group.stream(name).is_ok() {
            return Err(Error::StreamExists);
        }
        let id = self.fresh_id();
        self.staged.push(Change::Fact(Fact::StreamCreated { group: group.id, id, name: name.to_string(), created }));
        Ok(id)
    }

    fn put(&mut self, scope: &Scope, group: &str, stream: &str, events: Vec<Event>, now: i64) -> Result<Answer, Error> {
        self.see(now);
        let group = self.catalog.group(scope, group)?;
        let stream = group.stream(stream)?;
        names::check_order(&events)?;
        names::check_batch(events.iter().map(|event| event.message.as_str()))?;
        let retention = group.settings().retention_days;
        let (kept, rejected) = command::sift(events, retention, now);
        let ahead = self.staged.ahead(&stream);
        let pairs = kept.into_iter().map(|event| (event.timestamp_millis, event.message));
        let chunk = command::chunk_of(ahead.next_seq, now, pairs);
        ahead.next_seq = chunk.end_seq();
        let next_sequence_token = command::sequence_token(ahead.next_seq);
        if !chunk.events.is_empty() {
            self.append(Appended { group: group.id, stream: stream.id, producer: None, chunk });
        }
        Ok(Answer::Put(PutOutcome { next_sequence_token, rejected }))
    }

    fn append(&mut self, added: Appended) {
        self.counters.events.fetch_add(added.chunk.events.len() as u64, Ordering::Relaxed);
        self.staged.push(Change::Appended(added));
    }

    fn put_from(
        &mut self,
        scope: Scope,
        group_name: String,
        stream_name: String,
        shipment: Shipment,
        now: i64,
    ) -> Result<Answer, Error> {
        self.see(now);
        let Shipment { producer, lines, create_group } = shipment;
        let group = match self.catalog.group(&scope, &group_name) {
            Err(Error::GroupNotFound) if create_group => {
                // Its own batch: what follows may then rest on it.
                self.create_group(scope.clone(), &group_name, BTreeMap::new(), now)?;
                self.commit();
                self.catalog.group(&scope, &group_name).map_err(|_| self.unavailable())?
            }
            found => found?,
        };
        let existing = group.stream(&stream_name).ok();
        let (known, next_seq) = match &existing {
            None => (0, 0),
            Some(stream) => {
                let ahead = self.staged.ahead(stream);
                (ahead.producers.get(&producer.id).copied().unwrap_or(0), ahead.next_seq)
            }
        };
        let (lines, outcome) = command::fresh(lines, &producer, known)?;
        let stream_id = match &existing {
            Some(stream) => stream.id,
            None => {
                let id = self.create_stream(&group, &stream_name, now)?;
                self.staged.renamed.insert((scope, group_name, stream_name));
                id
            }
        };
        if outcome.accepted_up_to > known {
            let pairs = lines.into_iter().map(|line| (line.timestamp_millis, line.message));
            let chunk = command::chunk_of(next_seq, now, pairs);
            if let Some(stream) = &existing {
                let ahead = self.staged.ahead(stream);
                ahead.next_seq = chunk.end_seq();
                ahead.producers.insert(producer.id.clone(), outcome.accepted_up_to);
            }
            let producer = Some((producer.id, outcome.accepted_up_to));
            self.append(Appended { group: group.id, stream: stream_id, producer, chunk });
        }
        Ok(Answer::Shipped(outcome))
    }

    fn unavailable(&self) -> Error {
        Error::Unavailable("the log group could not be created".to_string())
    }

    /// Makes the staged batch durable, then visible, then answers it; or drops it and refuses it.
    pub(super) fn commit(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        let result = if staged.changes.is_empty() { Ok(()) } else { self.make_durable(&staged) };
        if result.is_ok() {
            for change in staged.changes {
                let garbage = self.catalog.apply(change, &mut self.dirt);
                self.remove(garbage);
            }
            self.counters.journal_bytes.store(self.journal.len(), Ordering::Relaxed);
        }
        for (reply, answer) in self.waiting.drain(..) {
            // A caller that stopped waiting has its answer in the store.
            drop(reply.send(result.clone().map(|()| answer)));
        }
    }

    fn make_durable(&mut self, staged: &Staged) -> Result<(), Error> {
        if staged.appends {
            self.check_room().map_err(Error::Unavailable)?;
        }
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.journal.append(&staged.frames).map_err(|why| {
            tracing::error!(why, "log events cannot be written");
            Error::Unavailable(why)
        })
    }

    fn check_room(&self) -> Result<(), String> {
        let disk = rustix::fs::statvfs(self.journal.dir()).map_err(|error| error.to_string())?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < self.limits.free_disk_floor {
            return Err("the disk is nearly full".to_string());
        }
        if self.journal.len() > self.limits.journal_bytes.saturating_mul(MAX_OVERGROWTH) {
            return Err("events cannot be moved out of the journal".to_string());
        }
        Ok(())
    }

    /// Removes what a deletion left on the disk. A crash before this is made good when the journal is replayed.
    pub(super) fn remove(&mut self, garbage: Garbage) {
        match garbage {
            Garbage::Nothing => {}
            Garbage::Group(id) => {
                if let Some(files) = self.files.remove(&id) {
                    let doomed = files.dir.with_file_name(format!("deleted-{id}"));
                    // The rename must outlive the journal's memory of the deletion; the removing is repeated at open.
                    let removed = std::fs::rename(&files.dir, &doomed)
                        .and_then(|()| group_files::sync_dir(&self.root.join("groups")))
                        .and_then(|()| std::fs::remove_dir_all(&doomed));
                    if let Err(error) = removed {
                        tracing::warn!(dir = %files.dir.display(), %error, "a deleted log group is still on the disk");
                    }
                }
            }
            Garbage::Segments { group, stream, numbers } => {
                let Some(files) = self.files.get(&group) else { return };
                for no in numbers {
                    let path = segment::path(&files.dir, stream, no);
                    if let Err(error) = std::fs::remove_file(&path) {
                        tracing::warn!(file = %path.display(), %error, "a deleted log segment is still on the disk");
                    }
                }
            }
        }
    }
}

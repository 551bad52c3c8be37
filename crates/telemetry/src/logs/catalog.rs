//! What the store holds in memory: groups, streams, and each stream's events that no segment has yet.
//!
//! Readers take short read locks. Only the writer changes anything, and only through [`Catalog::apply`], after the change
//! is durable; recovery applies the same changes from the journal.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::change::{Appended, Change, Fact};
use super::codec::Chunk;
use super::error::Error;
use super::segment::SegmentMeta;
use super::types::Scope;

/// Chunks are merged while nobody reads them and they are smaller than this, so that one-event puts do not cost a reader
/// one allocation each.
const MERGE_BYTES: usize = 32 << 10;
/// Producers remembered per stream. A stream is one container's, so this is far more than ever ship at once.
const MAX_PRODUCERS: usize = 256;

#[derive(Default)]
pub(super) struct Catalog {
    groups: RwLock<Groups>,
    pub(super) damaged_blocks: AtomicU64,
}

#[derive(Default)]
pub(super) struct Groups {
    pub(super) by_scope: HashMap<Scope, BTreeMap<Arc<str>, Arc<Group>>>,
    pub(super) by_id: HashMap<u64, Arc<Group>>,
}

pub(super) struct Group {
    pub(super) id: u64,
    pub(super) scope: Scope,
    pub(super) name: Arc<str>,
    pub(super) created: i64,
    settings: Mutex<Settings>,
    streams: RwLock<Streams>,
    pub(super) stored_bytes: AtomicU64,
    /// Events older than this have expired, whether or not their segment is gone yet.
    pub(super) expired_before: AtomicI64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) retention_days: Option<u32>,
    pub(super) tags: BTreeMap<String, String>,
}

#[derive(Default)]
pub(super) struct Streams {
    pub(super) by_name: BTreeMap<Arc<str>, Arc<Stream>>,
    pub(super) by_id: HashMap<u64, Arc<Stream>>,
}

pub(super) struct Stream {
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) created: i64,
    state: Mutex<StreamState>,
}

/// How far a producer has come, and when it last said so.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Mark {
    pub(super) next_offset: u64,
    pub(super) at: i64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct StreamState {
    pub(super) first_event: Option<i64>,
    pub(super) last_event: Option<i64>,
    pub(super) last_ingestion: Option<i64>,
    pub(super) stored_bytes: u64,
    pub(super) next_seq: u64,
    pub(super) producers: BTreeMap<String, Mark>,
    pub(super) segments: Vec<SegmentMeta>,
    /// Events in the journal that no segment holds yet, oldest sequence number first.
    pub(super) tail: Vec<Arc<Chunk>>,
}

/// What the next checkpoint must write.
#[derive(Debug, Default)]
pub(super) struct Dirt {
    pub(super) groups: BTreeSet<u64>,
    pub(super) streams: BTreeMap<u64, BTreeSet<u64>>,
    pub(super) gone: BTreeMap<u64, BTreeSet<u64>>,
}

/// What applying a change left for the writer to remove from the disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Garbage {
    Nothing,
    Group(u64),
    Segments { group: u64, stream: u64, numbers: Vec<u64> },
}

/// A panic elsewhere while a lock was held cannot leave these maps half-changed in a way a reader could not bear.
fn held<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    pub(super) fn new(id: u64, scope: Scope, name: &str, created: i64, settings: Settings) -> Group {
        Group {
            id,
            scope,
            name: name.into(),
            created,
            settings: Mutex::new(settings),
            streams: RwLock::default(),
            stored_bytes: AtomicU64::new(0),
            expired_before: AtomicI64::new(i64::MIN),
        }
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        held(self.settings.lock())
    }

    pub(super) fn streams(&self) -> RwLockReadGuard<'_, Streams> {
        held(self.streams.read())
    }

    fn streams_mut(&self) -> RwLockWriteGuard<'_, Streams> {
        held(self.streams.write())
    }

    pub(super) fn stream(&self, name: &str) -> Result<Arc<Stream>, Error> {
        self.streams().by_name.get(name).cloned().ok_or(Error::StreamNotFound)
    }

    /// Adds a stream unless its id is here or its name belongs to another (then this one was deleted since).
    pub(super) fn add_stream(&self, id: u64, name: &str, created: i64, state: StreamState) -> bool {
        let mut streams = self.streams_mut();
        if streams.by_id.contains_key(&id) || streams.by_name.contains_key(name) {
            return false;
        }
        self.stored_bytes.fetch_add(state.stored_bytes, Ordering::Relaxed);
        let stream = Arc::new(Stream { id, name: name.into(), created, state: Mutex::new(state) });
        streams.by_name.insert(Arc::clone(&stream.name), Arc::clone(&stream));
        streams.by_id.insert(id, stream);
        true
    }

    fn remove_stream(&self, id: u64) -> Option<Arc<Stream>> {
        let mut streams = self.streams_mut();
        let stream = streams.by_id.remove(&id)?;
        streams.by_name.remove(&stream.name);
        Some(stream)
    }
}

impl Stream {
    pub(super) fn state(&self) -> MutexGuard<'_, StreamState> {
        held(self.state.lock())
    }
}

impl Catalog {
    pub(super) fn groups(&self) -> RwLockReadGuard<'_, Groups> {
        held(self.groups.read())
    }

    fn groups_mut(&self) -> RwLockWriteGuard<'_, Groups> {
        held(self.groups.write())
    }

    pub(super) fn group(&self, scope: &Scope, name: &str) -> Result<Arc<Group>, Error> {
        let groups = self.groups();
        groups.by_scope.get(scope).and_then(|names| names.get(name)).cloned().ok_or(Error::GroupNotFound)
    }

    fn group_by_id(&self, id: u64) -> Option<Arc<Group>> {
        self.groups().by_id.get(&id).cloned()
    }

    /// Adds a group unless its id is here or its name belongs to another.
    pub(super) fn add_group(&self, group: Group) -> bool {
        let mut groups = self.groups_mut();
        let taken = groups.by_scope.get(&group.scope).is_some_and(|names| names.contains_key(&group.name));
        if taken || groups.by_id.contains_key(&group.id) {
            return false;
        }
        let group = Arc::new(group);
        let names = groups.by_scope.entry(group.scope.clone()).or_default();
        names.insert(Arc::clone(&group.name), Arc::clone(&group));
        groups.by_id.insert(group.id, group);
        true
    }

    fn remove_group(&self, id: u64) -> bool {
        let mut groups = self.groups_mut();
        let Some(group) = groups.by_id.remove(&id) else { return false };
        if let Some(names) = groups.by_scope.get_mut(&group.scope) {
            names.remove(&group.name);
        }
        true
    }

    /// Makes a durable change visible. Applying a change again, or one to something deleted since, does nothing.
    pub(super) fn apply(&self, change: Change, dirt: &mut Dirt) -> Garbage {
        match change {
            Change::Appended(added) => {
                self.append(added, dirt);
                Garbage::Nothing
            }
            Change::Fact(fact) => self.apply_fact(fact, dirt),
        }
    }

    fn apply_fact(&self, fact: Fact, dirt: &mut Dirt) -> Garbage {
        match fact {
            Fact::JournalBegun { .. } => {}
            Fact::GroupCreated { id, scope, name, created, tags } => {
                let settings = Settings { retention_days: None, tags };
                if self.add_group(Group::new(id, scope, &name, created, settings)) {
                    dirt.groups.insert(id);
                }
            }
            Fact::GroupDeleted { id } => {
                if self.remove_group(id) {
                    dirt.forget_group(id);
                    return Garbage::Group(id);
                }
            }
            Fact::RetentionSet { id, days } => {
                if let Some(group) = self.group_by_id(id) {
                    group.settings().retention_days = days;
                    dirt.groups.insert(id);
                }
            }
            Fact::TagsSet { id, tags } => {
                if let Some(group) = self.group_by_id(id) {
                    group.settings().tags = tags;
                    dirt.groups.insert(id);
                }
            }
            Fact::StreamCreated { group, id, name, created } => {
                let state = StreamState::default();
                if self.group_by_id(group).is_some_and(|group| group.add_stream(id, &name, created, state)) {
                    dirt.streams.entry(group).or_default().insert(id);
                }
            }
            Fact::StreamDeleted { group, id } => return self.delete_stream(group, id, dirt),
        }
        Garbage::Nothing
    }

    fn delete_stream(&self, group_id: u64, id: u64, dirt: &mut Dirt) -> Garbage {
        let Some(group) = self.group_by_id(group_id) else { return Garbage::Nothing };
        let Some(stream) = group.remove_stream(id) else { return Garbage::Nothing };
        dirt.streams.entry(group_id).or_default().remove(&id);
        dirt.gone.entry(group_id).or_default().insert(id);
        let state = stream.state();
        group.stored_bytes.fetch_sub(state.stored_bytes, Ordering::Relaxed);
        let numbers = state.segments.iter().map(|segment| segment.no).collect();
        Garbage::Segments { group: group_id, stream: id, numbers }
    }

    fn append(&self, added: Appended, dirt: &mut Dirt) {
        let Some(group) = self.group_by_id(added.group) else { return };
        let Some(stream) = group.streams().by_id.get(&added.stream).cloned() else { return };
        let grown = stream.state().append(added.producer, added.chunk);
        group.stored_bytes.fetch_add(grown, Ordering::Relaxed);
        dirt.streams.entry(group.id).or_default().insert(stream.id);
    }
}

impl StreamState {
    /// Adds what is new of `chunk` and returns its bytes.
    fn append(&mut self, producer: Option<(String, u64)>, mut chunk: Chunk) -> u64 {
        if chunk.first_seq < self.next_seq {
            let known = usize::try_from(self.next_seq - chunk.first_seq).unwrap_or(usize::MAX);
            let fresh = chunk.events.split_off(known.min(chunk.events.len()));
            chunk = Chunk::new(self.next_seq, fresh);
        }
        let arrived = chunk.events.iter().map(|event| event.ingestion).max();
        if let Some((id, next_offset)) = producer {
            self.mark(id, next_offset, arrived.or(self.last_ingestion).unwrap_or(0));
        }
        if chunk.events.is_empty() {
            return 0;
        }
        let bytes = chunk.bytes as u64;
        self.first_event = Some(self.first_event.map_or(chunk.min, |first| first.min(chunk.min)));
        self.last_event = Some(self.last_event.map_or(chunk.max, |last| last.max(chunk.max)));
        self.last_ingestion = self.last_ingestion.max(arrived);
        self.stored_bytes += bytes;
        self.next_seq = chunk.end_seq();
        self.push_tail(chunk);
        bytes
    }

    fn push_tail(&mut self, chunk: Chunk) {
        if let Some(last) = self.tail.last_mut()
            && last.bytes < MERGE_BYTES
            && last.end_seq() == chunk.first_seq
            && let Some(last) = Arc::get_mut(last)
        {
            last.extend(chunk);
        } else {
            self.tail.push(Arc::new(chunk));
        }
    }

    fn mark(&mut self, id: String, next_offset: u64, at: i64) {
        let mark = self.producers.entry(id).or_insert(Mark { next_offset, at });
        mark.next_offset = mark.next_offset.max(next_offset);
        mark.at = mark.at.max(at);
        if self.producers.len() > MAX_PRODUCERS {
            let oldest = self.producers.iter().min_by_key(|(_, mark)| mark.at).map(|(id, _)| id.clone());
            self.producers.remove(&oldest.expect("there are more than MAX_PRODUCERS"));
        }
    }

    pub(super) fn tail_bytes(&self) -> usize {
        self.tail.iter().map(|chunk| chunk.bytes).sum()
    }

    /// When the oldest event waiting for a segment arrived.
    pub(super) fn tail_since(&self) -> Option<i64> {
        self.tail.first().and_then(|chunk| chunk.events.first()).map(|event| event.ingestion)
    }
}

impl Dirt {
    fn forget_group(&mut self, id: u64) {
        self.groups.remove(&id);
        self.streams.remove(&id);
        self.gone.remove(&id);
    }
}

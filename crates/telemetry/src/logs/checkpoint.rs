//! Moving events out of the journal: loud streams into compressed segments, quiet ones along into the next journal.
//!
//! Per group the order is: segments, synced; catalogue records, synced (from here on the segments count); memory. The old
//! journal goes last. A crash anywhere in between replays it over what was already moved, which changes nothing because
//! every event has a sequence number and every change an id.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::catalog::{Garbage, Group, Stream, StreamState};
use super::change::{Appended, Change, Fact};
use super::codec::Chunk;
use super::group_files::{self, GroupFiles, StreamRecord};
use super::names::DAY;
use super::segment::{self, SegmentMeta, Sync};
use super::writer::Writer;

/// Segments of one group synced one by one; for more, one sync of the whole file system is cheaper, even with what others
/// have written to it.
const MAX_SYNCS: usize = 64;

impl Writer {
    /// Writes everything that waits, or (unless `all`) leaves young and small tails to the next journal. A failure leaves the
    /// journal as it is and is tried again when it has grown by a quarter of its limit.
    pub(super) fn checkpoint(&mut self, all: bool) {
        let retry_after = self.limits.journal_bytes / 4;
        match self.try_checkpoint(all) {
            Ok(()) => {
                self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
                self.checkpoint_at = self.limits.journal_bytes.max(self.journal.len() + retry_after);
            }
            Err(error) => {
                tracing::error!(%error, "log events stay in the journal, the next checkpoint tries again");
                self.checkpoint_at = self.journal.len() + retry_after;
            }
        }
        self.counters.journal_bytes.store(self.journal.len(), Ordering::Relaxed);
    }

    fn try_checkpoint(&mut self, all: bool) -> io::Result<()> {
        let carried = if all { BTreeSet::new() } else { self.choose_carried() };
        let dirty: BTreeSet<u64> =
            self.dirt.groups.iter().chain(self.dirt.streams.keys()).chain(self.dirt.gone.keys()).copied().collect();
        let mut kept = Vec::new();
        for id in dirty {
            let Some(group) = self.catalog.groups().by_id.get(&id).cloned() else { continue };
            self.write_group(&group, &carried)?;
            for stream in self.dirty_streams(&group) {
                carry(&group, &stream, &mut kept);
            }
        }
        self.dirt.streams.retain(|_, streams| !streams.is_empty());
        self.journal.rotate(self.next_id, &kept)
    }

    fn dirty_streams(&self, group: &Group) -> Vec<Arc<Stream>> {
        let streams = group.streams();
        let ids = self.dirt.streams.get(&group.id).into_iter().flatten();
        ids.filter_map(|id| streams.by_id.get(id).cloned()).collect()
    }

    /// Ids of the streams whose tails are small and young enough to wait, smallest first while they fill half a journal.
    fn choose_carried(&self) -> BTreeSet<u64> {
        let mut small = Vec::new();
        for (id, ids) in &self.dirt.streams {
            let Some(group) = self.catalog.groups().by_id.get(id).cloned() else { continue };
            let streams = group.streams();
            for stream in ids.iter().filter_map(|id| streams.by_id.get(id)) {
                let state = stream.state();
                let size = state.tail_bytes();
                let expires = has_expired(&state, group.expired_before.load(Ordering::Relaxed));
                if size > 0 && size < self.limits.carry_bytes && !expires && !self.is_aged(&state) {
                    small.push((size, stream.id));
                }
            }
        }
        small.sort_unstable();
        let mut room = usize::try_from(self.limits.journal_bytes / 2).unwrap_or(usize::MAX);
        small
            .into_iter()
            .take_while(|(size, _)| {
                let fits = *size <= room;
                room = room.saturating_sub(*size);
                fits
            })
            .map(|(_, id)| id)
            .collect()
    }

    fn is_aged(&self, state: &StreamState) -> bool {
        state.tail_since().is_some_and(|since| self.latest.saturating_sub(since) >= self.limits.carry_millis)
    }

    /// Writes what is dirty in one group, except the tails of `carried` streams, and publishes it.
    fn write_group(&mut self, group: &Group, carried: &BTreeSet<u64>) -> io::Result<()> {
        let streams: Vec<_> =
            self.dirty_streams(group).into_iter().filter(|stream| !carried.contains(&stream.id)).collect();
        let cutoff = group.expired_before.load(Ordering::Relaxed);
        let files = match self.files.remove(&group.id) {
            Some(files) => files,
            None => GroupFiles::create(&self.root.join("groups"), group.id)?,
        };
        let files = self.files.entry(group.id).or_insert(files);
        if self.dirt.groups.contains(&group.id) {
            files.write_group(group)?;
            self.dirt.groups.remove(&group.id);
        }
        let sync = if streams.len() > MAX_SYNCS { Sync::Later } else { Sync::Here };
        let mut settled = Vec::new();
        let mut records: Vec<StreamRecord> =
            self.dirt.gone.get(&group.id).into_iter().flatten().map(|id| StreamRecord::Gone { id: *id }).collect();
        for stream in streams {
            let before = stream.state().clone();
            let flushed = segment::flush(&files.dir, stream.id, &before.segments, &before.tail, &self.limits, sync)?;
            let (after, expired) = settle(before, flushed, cutoff);
            records.push(StreamRecord::of(&stream, &after));
            settled.push((stream, after, expired));
        }
        if sync == Sync::Later {
            rustix::fs::syncfs(File::open(&files.dir)?)?;
        } else if settled.iter().any(|(_, after, _)| !after.segments.is_empty()) {
            group_files::sync_dir(&files.dir)?;
        }
        files.append(&records)?;
        self.dirt.gone.remove(&group.id);
        for (stream, after, numbers) in settled {
            self.publish(group, &stream, after);
            self.remove(Garbage::Segments { group: group.id, stream: stream.id, numbers });
        }
        self.tidy_catalogue(group)
    }

    fn publish(&mut self, group: &Group, stream: &Stream, after: StreamState) {
        let mut state = stream.state();
        group.stored_bytes.fetch_sub(state.stored_bytes - after.stored_bytes, Ordering::Relaxed);
        *state = after;
        if let Some(dirty) = self.dirt.streams.get_mut(&group.id) {
            dirty.remove(&stream.id);
        }
    }

    /// Rewrites the group's catalogue once most of it is history.
    fn tidy_catalogue(&mut self, group: &Group) -> io::Result<()> {
        let Some(files) = self.files.get_mut(&group.id) else { return Ok(()) };
        let streams = group.streams();
        if !files.wants_rewrite(streams.by_id.len() as u64) {
            return Ok(());
        }
        let records: Vec<_> = streams.by_id.values().map(|stream| StreamRecord::of(stream, &stream.state())).collect();
        files.rewrite(&records)
    }

    /// Expires by retention, and checkpoints when that or age asks for it.
    pub(super) fn maintain(&mut self, now: i64) {
        let groups: Vec<Arc<Group>> = self.catalog.groups().by_id.values().cloned().collect();
        let mut due = false;
        for group in groups {
            let days = group.settings().retention_days;
            let cutoff = days.map_or(i64::MIN, |days| now.saturating_sub(i64::from(days) * DAY));
            group.expired_before.store(cutoff, Ordering::Relaxed);
            let streams = group.streams();
            if days.is_some() {
                let expired = |stream: &&Arc<Stream>| has_expired(&stream.state(), cutoff);
                let ids: BTreeSet<u64> = streams.by_id.values().filter(expired).map(|stream| stream.id).collect();
                if !ids.is_empty() {
                    due = true;
                    self.dirt.streams.entry(group.id).or_default().extend(ids);
                }
            }
            let dirty = self.dirt.streams.get(&group.id).into_iter().flatten();
            let since = dirty.filter_map(|id| streams.by_id.get(id)?.state().tail_since()).min();
            due |= since.is_some_and(|since| now.saturating_sub(since) >= self.limits.carry_millis);
        }
        if due {
            self.checkpoint(false);
        }
    }
}

fn has_expired(state: &StreamState, cutoff: i64) -> bool {
    state.segments.iter().any(|segment| segment.max < cutoff)
}

/// The stream with its tail in segments and expired segments forgotten, whose numbers are returned.
fn settle(mut state: StreamState, flushed: Vec<SegmentMeta>, cutoff: i64) -> (StreamState, Vec<u64>) {
    state.tail.clear();
    let (expired, left): (Vec<_>, Vec<_>) = flushed.into_iter().partition(|segment| segment.max < cutoff);
    state.stored_bytes -= expired.iter().map(|segment| segment.bytes).sum::<u64>().min(state.stored_bytes);
    state.segments = left;
    if !expired.is_empty() {
        state.first_event = state.segments.iter().map(|segment| segment.min).min();
    }
    (state, expired.into_iter().map(|segment| segment.no).collect())
}

/// What the next journal must say of a stream that is not in its group's catalogue as it is now.
fn carry(group: &Group, stream: &Stream, kept: &mut Vec<Change>) {
    let state = stream.state();
    if state.tail.is_empty() {
        return;
    }
    kept.push(Change::Fact(Fact::StreamCreated {
        group: group.id,
        id: stream.id,
        name: stream.name.to_string(),
        created: stream.created,
    }));
    let appended = |producer, chunk| Change::Appended(Appended { group: group.id, stream: stream.id, producer, chunk });
    kept.extend(state.tail.iter().map(|chunk| appended(None, Chunk::clone(chunk))));
    for (id, mark) in &state.producers {
        kept.push(appended(Some((id.clone(), mark.next_offset)), Chunk::new(state.next_seq, Vec::new())));
    }
}

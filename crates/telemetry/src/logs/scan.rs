//! Reading events in time order, in either direction, over any number of streams.
//!
//! Streams, segments and blocks wait in a heap by the earliest time they can hold and are opened only when the merge reaches
//! it, so a page of a long stream reads the blocks it shows and no more. Events of equal time go by stream and then by arrival.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::catalog::Stream;
use super::codec::{Chunk, StoredEvent};
use super::segment::{self, BlockRef, SegmentMeta};

/// Where an event is in the order of reading. `slot` is its sequence number plus one, so that slot 0 is before all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) timestamp: i64,
    pub(super) stream: u64,
    pub(super) slot: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// Which events: times from `start` to `end`, both included, and strictly beyond `after` in the direction of reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) after: Option<Place>,
}

/// An event found, held by the chunk it is in.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) stream: Arc<Stream>,
    chunk: Arc<Chunk>,
    at: usize,
}

impl Found {
    pub(super) fn event(&self) -> &StoredEvent {
        &self.chunk.events[self.at]
    }
}

/// Segment indexes already read. 1,024 of them are at most about 40 MB and usually under one: most segments are small.
const MAX_INDEXES: usize = 1_024;

/// A stream's id and a segment's number, to the length it was read at and its blocks.
type Known = HashMap<(u64, u64), (u64, Arc<Vec<BlockRef>>)>;

/// A bounded memory of segment indexes, shared by all readers.
#[derive(Default)]
pub(super) struct Indexes {
    known: Mutex<Known>,
}

impl Indexes {
    fn get(&self, dir: &std::path::Path, stream: u64, segment: &SegmentMeta) -> io::Result<Arc<Vec<BlockRef>>> {
        let key = (stream, segment.no);
        if let Some((len, blocks)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && *len == segment.len
        {
            return Ok(Arc::clone(blocks));
        }
        let blocks = Arc::new(segment::index(dir, stream, segment)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_INDEXES {
            // Starting over is cheaper than bookkeeping on every hit, and the indexes in use are back at once.
            known.clear();
        }
        known.insert(key, (segment.len, Arc::clone(&blocks)));
        Ok(blocks)
    }
}

enum Source {
    Stream,
    Segment(SegmentMeta),
    Block { no: u64, block: BlockRef },
    Chunk(Arc<Chunk>),
}

struct Waiting {
    stream: Arc<Stream>,
    source: Source,
}

struct Loaded {
    stream: Arc<Stream>,
    chunk: Arc<Chunk>,
    /// Events within the window, last one next.
    order: Vec<u32>,
}

type Key = (i64, u64, u64);

pub(super) struct Scan<'a> {
    dir: PathBuf,
    indexes: &'a Indexes,
    damaged: &'a AtomicU64,
    direction: Direction,
    window: Window,
    waiting: Vec<Option<Waiting>>,
    bounds: BinaryHeap<Reverse<(i64, usize)>>,
    loaded: Vec<Option<Loaded>>,
    ready: BinaryHeap<Reverse<(Key, usize)>>,
    /// Bytes of text loaded so far.
    pub(super) scanned: usize,
}

impl<'a> Scan<'a> {
    /// Prepares to read `streams`, all of the group whose directory is `dir`.
    pub(super) fn new(
        dir: PathBuf,
        indexes: &'a Indexes,
        damaged: &'a AtomicU64,
        direction: Direction,
        window: Window,
        streams: impl IntoIterator<Item = Arc<Stream>>,
    ) -> Scan<'a> {
        let mut scan = Scan {
            dir,
            indexes,
            damaged,
            direction,
            window,
            waiting: Vec::new(),
            bounds: BinaryHeap::new(),
            loaded: Vec::new(),
            ready: BinaryHeap::new(),
            scanned: 0,
        };
        for stream in streams {
            let (first, last) = {
                let state = stream.state();
                (state.first_event, state.last_event)
            };
            if let (Some(first), Some(last)) = (first, last) {
                scan.wait(first, last, stream, Source::Stream);
            }
        }
        scan
    }

    /// The next event in the direction of reading.
    pub(super) fn next(&mut self) -> Option<Found> {
        loop {
            let ready = self.ready.peek().map(|Reverse((key, _))| key.0);
            match self.bounds.peek() {
                Some(Reverse((bound, _))) if ready.is_none_or(|time| *bound <= time) => self.open_nearest(),
                Some(_) | None => break,
            }
        }
        let Reverse((_, index)) = self.ready.pop()?;
        let loaded = self.loaded[index].as_mut().expect("what is in `ready` has events left");
        let at = loaded.order.pop().expect("what is in `ready` has events left") as usize;
        let found = Found {
            place: place_of(&loaded.stream, &loaded.chunk, at),
            stream: Arc::clone(&loaded.stream),
            chunk: Arc::clone(&loaded.chunk),
            at,
        };
        self.offer(index);
        Some(found)
    }

    /// Queues a source that may hold times `min` to `max`, unless none of them can be wanted.
    fn wait(&mut self, min: i64, max: i64, stream: Arc<Stream>, source: Source) {
        let passed = self.window.after.is_some_and(|after| match self.direction {
            Direction::Forward => max < after.timestamp,
            Direction::Backward => min > after.timestamp,
        });
        if max < self.window.start || min > self.window.end || passed {
            return;
        }
        let bound = match self.direction {
            Direction::Forward => min,
            Direction::Backward => !max,
        };
        self.bounds.push(Reverse((bound, self.waiting.len())));
        self.waiting.push(Some(Waiting { stream, source }));
    }

    fn open_nearest(&mut self) {
        let Some(Reverse((_, index))) = self.bounds.pop() else { return };
        let Waiting { stream, source } = self.waiting[index].take().expect("each waiting source is opened once");
        match source {
            Source::Stream => {
                let (segments, tail) = {
                    let state = stream.state();
                    (state.segments.clone(), state.tail.clone())
                };
                for segment in segments {
                    self.wait(segment.min, segment.max, Arc::clone(&stream), Source::Segment(segment));
                }
                for chunk in tail {
                    self.wait(chunk.min, chunk.max, Arc::clone(&stream), Source::Chunk(chunk));
                }
            }
            Source::Segment(segment) => match self.indexes.get(&self.dir, stream.id, &segment) {
                Ok(blocks) => {
                    for block in blocks.iter() {
                        let source = Source::Block { no: segment.no, block: *block };
                        self.wait(block.min, block.max, Arc::clone(&stream), source);
                    }
                }
                Err(error) => self.skip(&stream, segment.no, &error),
            },
            Source::Block { no, block } => match segment::read(&segment::path(&self.dir, stream.id, no), &block) {
                Ok(chunk) => self.load(stream, Arc::new(chunk)),
                Err(error) => self.skip(&stream, no, &error),
            },
            Source::Chunk(chunk) => self.load(stream, chunk),
        }
    }

    /// One unreadable block must not hide the rest of the log. A missing file is no damage: it was deleted or expired since.
    fn skip(&self, stream: &Stream, segment: u64, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.damaged.fetch_add(1, Ordering::Relaxed);
            tracing::error!(stream = %stream.name, segment, %error, "log events cannot be read and are left out");
        }
    }

    fn load(&mut self, stream: Arc<Stream>, chunk: Arc<Chunk>) {
        self.scanned += chunk.bytes;
        let mut order: Vec<u32> =
            (0..chunk.events.len() as u32).filter(|at| self.wants(place_of(&stream, &chunk, *at as usize))).collect();
        order.sort_by_key(|at| Reverse(self.key(place_of(&stream, &chunk, *at as usize))));
        self.loaded.push(Some(Loaded { stream, chunk, order }));
        self.offer(self.loaded.len() - 1);
    }

    fn wants(&self, place: Place) -> bool {
        let inside = (self.window.start..=self.window.end).contains(&place.timestamp);
        inside && self.window.after.is_none_or(|after| self.key(place) > self.key(after))
    }

    /// Puts the next event of a loaded chunk up for choice, or lets go of a chunk that has none.
    fn offer(&mut self, index: usize) {
        let Some(loaded) = &self.loaded[index] else { return };
        match loaded.order.last() {
            Some(at) => {
                let key = self.key(place_of(&loaded.stream, &loaded.chunk, *at as usize));
                self.ready.push(Reverse((key, index)));
            }
            None => self.loaded[index] = None,
        }
    }

    /// Orders places along the direction of reading: complement turns every order around without overflow.
    fn key(&self, place: Place) -> Key {
        match self.direction {
            Direction::Forward => (place.timestamp, place.stream, place.slot),
            Direction::Backward => (!place.timestamp, !place.stream, !place.slot),
        }
    }
}

fn place_of(stream: &Stream, chunk: &Chunk, at: usize) -> Place {
    Place { timestamp: chunk.events[at].timestamp, stream: stream.id, slot: chunk.first_seq + at as u64 + 1 }
}

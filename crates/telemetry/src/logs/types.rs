//! The nouns of the log store's interface. Times are milliseconds since the epoch and are always given, never taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use crate::Line;

/// Whose logs: every account has its own groups in every region.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// Twelve digits.
    pub account: String,
    /// For example `us-east-1`.
    pub region: String,
}

/// One event of a `PutLogEvents`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it happened, as the client says.
    pub timestamp_millis: i64,
    /// What it says.
    pub message: String,
}

/// What `PutLogEvents` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOutcome {
    /// Accepted and ignored by AWS since 2023, but still answered.
    pub next_sequence_token: String,
    /// `None` when everything was kept.
    pub rejected: Option<Rejected>,
}

/// Indexes into a put's events of what was not kept, as in `rejectedLogEventsInfo`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Index of the first event more than two hours ahead of the ingestion time.
    pub too_new_start: Option<usize>,
    /// Index behind the last event older than 14 days.
    pub too_old_end: Option<usize>,
    /// Index behind the last event older than the group's retention.
    pub expired_end: Option<usize>,
}

/// Who ships lines with byte offsets: one container's output file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// Unique for one file, for example the container's runtime id.
    pub id: String,
    /// Where in the file this batch begins.
    pub offset: u64,
    /// Where the next batch will begin; behind every line of this one.
    pub next_offset: u64,
}

/// A batch of lines from a node, for [`put_from`](super::Store::put_from).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// Whose lines, and which part of its file they are.
    pub producer: Producer,
    /// In the order of the file. May be empty, which moves the offset alone (over empty lines).
    pub lines: Vec<Line>,
    /// Create the log group if it is missing, as `awslogs-create-group` asks. A missing stream is always created.
    pub create_group: bool,
}

/// What became of a shipped batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShipOutcome {
    /// Everything in the file before this offset is kept durably: the node may forget it.
    pub accepted_up_to: u64,
    /// Lines of this batch that were already here.
    pub duplicates: usize,
}

/// Which log groups to describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupNames {
    /// Every group.
    All,
    /// `logGroupNamePrefix`.
    Prefix(String),
    /// `logGroupNamePattern`: a case-sensitive substring.
    Contains(String),
}

/// A log group as described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_millis: i64,
    /// `None` keeps events for ever.
    pub retention_days: Option<u32>,
    /// Bytes of events ingested and not yet expired, before compression.
    pub stored_bytes: u64,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Order of `DescribeLogStreams`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamOrder {
    /// By name, which alone may be narrowed by a prefix.
    Name {
        /// `logStreamNamePrefix`; empty for all.
        prefix: String,
    },
    /// By the newest event; streams without events count as the oldest.
    LastEventTime,
}

/// A log stream as described. Streams that never held an event have no event times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_millis: i64,
    /// Timestamp of the oldest event.
    pub first_event_millis: Option<i64>,
    /// Timestamp of the newest event.
    pub last_event_millis: Option<i64>,
    /// When an event last arrived.
    pub last_ingestion_millis: Option<i64>,
    /// Bytes of events ingested and not yet expired, before compression.
    pub stored_bytes: u64,
    /// Answered for old clients; AWS ignores it when it comes back.
    pub upload_sequence_token: String,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What fitted.
    pub items: Vec<T>,
    /// Present when there is more.
    pub next_token: Option<String>,
}

/// A `GetLogEvents`.
#[derive(Debug, Clone, Default)]
pub struct GetEvents {
    /// Only events at or after this time.
    pub start_millis: Option<i64>,
    /// Only events before this time (AWS: exclusive here, inclusive in `FilterLogEvents`).
    pub end_millis: Option<i64>,
    /// 1 to 10,000; `None` for as many as fit.
    pub limit: Option<usize>,
    /// Without a token: the oldest events rather than the newest.
    pub start_from_head: bool,
    /// `f/...` reads on, `b/...` reads back.
    pub token: Option<String>,
}

/// A kept event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputEvent {
    /// When it happened.
    pub timestamp_millis: i64,
    /// When it arrived.
    pub ingestion_millis: i64,
    /// What it says.
    pub message: String,
}

/// What `GetLogEvents` answers: oldest first, and a token for either direction, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsPage {
    /// At most 10,000 events or 1 MiB.
    pub events: Vec<OutputEvent>,
    /// Equal to the token given when there is nothing newer yet.
    pub next_forward_token: String,
    /// Equal to the token given when there is nothing older.
    pub next_backward_token: String,
}

/// Which streams a `FilterLogEvents` reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StreamChoice {
    /// The whole group.
    #[default]
    All,
    /// These, each of which must exist.
    Named(Vec<String>),
    /// `logStreamNamePrefix`.
    Prefix(String),
}

/// A `FilterLogEvents`.
#[derive(Debug, Clone, Default)]
pub struct FilterEvents {
    /// Which streams.
    pub streams: StreamChoice,
    /// Only events at or after this time.
    pub start_millis: Option<i64>,
    /// Only events at or before this time.
    pub end_millis: Option<i64>,
    /// What must match; the default pattern matches everything.
    pub pattern: Arc<Pattern>,
    /// 1 to 10,000; `None` for as many as fit.
    pub limit: Option<usize>,
    /// From the page before.
    pub token: Option<String>,
}

/// An event found by a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilteredEvent {
    /// Unique in the store and the same whenever the event is read; 56 digits that sort as the events do.
    pub event_id: String,
    /// The stream it is in.
    pub stream: Arc<str>,
    /// The event.
    pub event: OutputEvent,
}

/// What `FilterLogEvents` answers: oldest first over all streams. A page may be empty and still have a token, as at AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterPage {
    /// At most 10,000 events or 1 MiB.
    pub events: Vec<FilteredEvent>,
    /// Streams this page could draw on: the first [`MAX_SEARCHED`](super::MAX_SEARCHED) of them, `true` when read to their end.
    pub searched: Vec<(Arc<str>, bool)>,
    /// Present when there may be more.
    pub next_token: Option<String>,
}

/// How the store is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Log groups in all scopes.
    pub groups: usize,
    /// Log streams in all groups.
    pub streams: usize,
    /// Bytes in the journal, not yet moved into segments.
    pub journal_bytes: u64,
    /// Syncs of the journal since open: group commit makes this smaller than the number of puts.
    pub commits: u64,
    /// Events kept since open.
    pub events: u64,
    /// Times the journal was moved into segments since open.
    pub checkpoints: u64,
    /// Blocks that could not be read since open: anything but 0 is a failing disk.
    pub damaged_blocks: u64,
}

/// The store's sizes. The defaults suit one server; tests shrink them to see every edge.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Journal size at which events move into segments. Also about the memory they take until then: 8 MiB keeps an idle
    /// server small and a checkpoint rare enough (10,000 puts of 800 bytes).
    pub journal_bytes: u64,
    /// Text per compressed block: 256 KiB is where zstd stops gaining and one read stays under a millisecond.
    pub block_bytes: usize,
    /// Compressed size at which a segment is sealed with its index; a sealed segment is what retention unlinks.
    pub segment_bytes: u64,
    /// Events of a quiet stream are carried from journal to journal until they are this much or `carry_millis` old, so that
    /// thousands of quiet streams do not become millions of tiny blocks.
    pub carry_bytes: usize,
    /// See `carry_bytes`.
    pub carry_millis: i64,
    /// A segment is sealed when it would span more than this, so that retention is at most this late.
    pub segment_span_millis: i64,
    /// Puts are refused when less disk than this is free, so that deleting and checkpointing still can work.
    pub free_disk_floor: u64,
    /// Bytes of text one `FilterLogEvents` reads before it answers with a token: bounds the time of one call.
    pub scan_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            journal_bytes: 8 << 20,
            block_bytes: 256 << 10,
            segment_bytes: 16 << 20,
            carry_bytes: 64 << 10,
            carry_millis: 3_600_000,
            segment_span_millis: 86_400_000,
            free_disk_floor: 64 << 20,
            scan_bytes: 64 << 20,
        }
    }
}

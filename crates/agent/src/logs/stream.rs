//! One container's output on its way to the server.

use super::{
    NOTHING_KEPT,
    reader::{Bound, Reader, Rules},
};
use crate::{plan::LogTarget, task::Event};
use link::{LogBatch, LogEvent, LogOutcome};
use model::Timestamp;
use std::{path::PathBuf, time::Duration};
use telemetry::tail::Pace;
use tokio::sync::{mpsc, oneshot};

pub(super) struct Stream {
    pub(super) target: LogTarget,
    pub(super) mailbox: mpsc::Sender<Event>,
    /// The container's position in its task.
    pub(super) at: usize,
    pub(super) ended: bool,
    pub(super) due: Duration,
    pub(super) in_flight: bool,
    pub(super) opening: Option<Opening>,
    pub(super) pace: Pace,
    reader: Reader,
    refused: bool,
}

/// Somebody waits to hear whether the server takes this stream.
pub(super) struct Opening {
    pub(super) told: oneshot::Sender<Result<(), String>>,
    pub(super) in_flight: bool,
}

impl Stream {
    pub(super) fn new(
        target: LogTarget,
        files: (PathBuf, PathBuf),
        at: usize,
        mailbox: mpsc::Sender<Event>,
        due: Duration,
    ) -> Self {
        let rules = Rules {
            producer: target.producer.clone(),
            to: format!("{}:{}", target.group, target.stream),
            start: target.start.clone(),
            flush_after: target.flush_after,
            backlog: target.backlog,
        };
        Self {
            target,
            mailbox,
            at,
            ended: false,
            due,
            in_flight: false,
            opening: None,
            pace: Pace::default(),
            reader: Reader::new(rules, files),
            refused: false,
        }
    }

    /// A batch that only opens the stream.
    pub(super) fn open_batch(&self) -> LogBatch {
        self.batch(self.reader.acked(), self.reader.acked(), Vec::new())
    }

    fn batch(&self, offset: u64, next_offset: u64, events: Vec<LogEvent>) -> LogBatch {
        LogBatch {
            group: self.target.group.clone(),
            stream: self.target.stream.clone(),
            create_group: self.target.create_group,
            region: self.target.region.clone(),
            producer: self.target.producer.clone(),
            offset,
            next_offset,
            events,
        }
    }

    /// The next batch, if there is something to send.
    pub(super) fn read(&mut self, now: Timestamp) -> Option<LogBatch> {
        let batch = self.reader.read(now, self.ended)?;
        self.in_flight = true;
        let event = |line: telemetry::Line| LogEvent {
            timestamp: Timestamp(line.timestamp_millis),
            message: line.message,
            end: line.end,
        };
        Some(self.batch(batch.offset, batch.next_offset, batch.lines.into_iter().map(event).collect()))
    }

    /// Takes what became of a batch that ended at `sent`.
    pub(super) fn answered(&mut self, sent: u64, outcome: &LogOutcome, now: Duration) {
        self.in_flight = false;
        let before = self.reader.acked();
        let to = match outcome {
            LogOutcome::Accepted { next_offset } => *next_offset,
            LogOutcome::Refused { message } => {
                if !std::mem::replace(&mut self.refused, true) {
                    let LogTarget { group, stream, .. } = &self.target;
                    tracing::warn!(group, stream, reason = message, "the server refuses a container's output");
                }
                sent
            }
        };
        self.reader.advance(to);
        self.reader.rewind();
        // A server that could keep nothing, with its disk full say, is not asked again at once.
        self.due = if self.reader.acked() > before { now } else { now + NOTHING_KEPT };
    }

    /// The session is gone: what was on its way is sent again in the next.
    pub(super) fn reset(&mut self) {
        self.in_flight = false;
        if let Some(opening) = &mut self.opening {
            opening.in_flight = false;
        }
        self.reader.rewind();
    }

    /// Drops the oldest output that waits, if more waits than may.
    pub(super) fn bound(&mut self, now: Duration) {
        match self.reader.bound(now, false) {
            Bound::Fine | Bound::Dropped => {}
            Bound::Over => self.due = now,
        }
    }

    /// Whether all of it is with the server.
    pub(super) fn is_done(&self) -> bool {
        self.ended && !self.in_flight && self.reader.is_done()
    }
}

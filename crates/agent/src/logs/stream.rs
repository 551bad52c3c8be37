//! One container's output on its way to the server.

use super::{BATCH, NOTHING_KEPT, place::Place};
use crate::{plan::LogTarget, task::Event};
use link::{LogBatch, LogEvent, LogOutcome};
use model::Timestamp;
use std::{path::PathBuf, time::Duration};
use telemetry::tail::{Held, Pace, TailError, Tailer};
use tokio::sync::{mpsc, oneshot};

/// How often it is said that a container's output is dropped, while it goes on.
const TELL_AGAIN: Duration = Duration::from_secs(60);

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
    file: PathBuf,
    place_file: PathBuf,
    place: Place,
    tailer: Option<Tailer>,
    refused: bool,
    /// More waited than may, the last time somebody looked.
    over: bool,
    dropped: Dropped,
}

/// Somebody waits to hear whether the server takes this stream.
pub(super) struct Opening {
    pub(super) told: oneshot::Sender<Result<(), String>>,
    pub(super) in_flight: bool,
}

/// Output that was dropped, and when that was told last.
#[derive(Default)]
struct Dropped {
    bytes: u64,
    told: Option<Duration>,
}

impl Stream {
    pub(super) fn new(
        target: LogTarget,
        (file, place_file): (PathBuf, PathBuf),
        at: usize,
        mailbox: mpsc::Sender<Event>,
        due: Duration,
    ) -> Self {
        let place = Place::read(&place_file);
        Self {
            target,
            mailbox,
            at,
            ended: false,
            due,
            in_flight: false,
            opening: None,
            pace: Pace::default(),
            file,
            place_file,
            place,
            tailer: None,
            refused: false,
            over: false,
            dropped: Dropped::default(),
        }
    }

    /// A batch that only opens the stream.
    pub(super) fn open_batch(&self) -> LogBatch {
        self.batch(self.place.acked, self.place.acked, Vec::new())
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

    fn tailer(&mut self) -> Result<&mut Tailer, TailError> {
        if self.tailer.is_none() {
            let tailer = Tailer::open(&self.file, self.place.acked, BATCH)?;
            let mut tailer = tailer.starting_with(self.target.start.clone());
            if let Some(forced) = self.place.forced {
                tailer.end_event_at(forced);
            }
            self.tailer = Some(tailer);
        }
        Ok(self.tailer.as_mut().expect("it was just put there"))
    }

    /// The next batch, if there is something to send.
    pub(super) fn read(&mut self, now: Timestamp) -> Option<LogBatch> {
        let ended = self.ended;
        let batch = loop {
            match self.tailer().and_then(|tailer| tailer.read(now.0, ended)) {
                // Empty lines alone: nothing to send, but a place to go on from.
                Ok(Some(batch)) if batch.lines.is_empty() => self.place.advance(batch.next_offset),
                Ok(Some(batch)) => break batch,
                Ok(None) if self.end_event(now) => {}
                Ok(None) => return None,
                Err(error) => {
                    self.unreadable(&error);
                    return None;
                }
            }
        };
        self.in_flight = true;
        let event = |line: telemetry::Line| LogEvent {
            timestamp: Timestamp(line.timestamp_millis),
            message: line.message,
            end: line.end,
        };
        Some(self.batch(batch.offset, batch.next_offset, batch.lines.into_iter().map(event).collect()))
    }

    /// Ends an event whose last lines have waited long enough; true if there was one.
    fn end_event(&mut self, now: Timestamp) -> bool {
        let Some(tailer) = &mut self.tailer else { return false };
        let Some(Held { upto, since_millis, .. }) = tailer.held() else { return false };
        let waited = now.millis_since(Timestamp(since_millis));
        // A clock that was set back says nothing; better too early than never.
        let enough = waited < 0 || Duration::from_millis(waited.unsigned_abs()) >= self.target.flush_after;
        if !enough {
            return false;
        }
        let place = Place { forced: Some(upto), ..self.place };
        // Before anybody sees the event: after a crash it has to end there again.
        if let Err(error) = place.write(&self.place_file) {
            tracing::warn!(producer = self.target.producer, %error, "an event is held back: its end cannot be written down");
            return false;
        }
        self.place = place;
        tailer.end_event_at(upto);
        true
    }

    fn unreadable(&mut self, error: &TailError) {
        match error {
            // Not started yet.
            TailError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            TailError::Shrunk { .. } => {
                tracing::warn!(producer = self.target.producer, %error, "a log file was cut; reading starts anew");
                self.tailer = None;
                self.place = Place::default();
            }
            TailError::Io(error) => tracing::warn!(producer = self.target.producer, %error, "a log file is unreadable"),
        }
    }

    /// Takes what became of a batch that ended at `sent`.
    pub(super) fn answered(&mut self, sent: u64, outcome: &LogOutcome, now: Duration) {
        self.in_flight = false;
        let before = self.place.acked;
        self.place.advance(match outcome {
            LogOutcome::Accepted { next_offset } => *next_offset,
            LogOutcome::Refused { message } => {
                if !std::mem::replace(&mut self.refused, true) {
                    let LogTarget { group, stream, .. } = &self.target;
                    tracing::warn!(group, stream, reason = message, "the server refuses a container's output");
                }
                sent
            }
        });
        // A server that could keep nothing, with its disk full say, is not asked again at once.
        self.due = if self.place.acked > before { now } else { now + NOTHING_KEPT };
        // Losing it costs sending again what the store drops.
        if let Err(error) = self.place.write(&self.place_file) {
            tracing::debug!(%error, "an offset could not be kept");
        }
        self.release();
    }

    /// Reads on behind what needs no more sending, and gives its disk space back.
    fn release(&mut self) {
        let Some(tailer) = &mut self.tailer else { return };
        if !self.in_flight && tailer.offset() != self.place.acked {
            tailer.seek(self.place.acked);
        }
        if let Err(error) = tailer.release(self.place.acked) {
            tracing::debug!(%error, "disk space of shipped output could not be given back");
        }
    }

    /// The session is gone: what was on its way is sent again in the next.
    pub(super) fn reset(&mut self) {
        self.in_flight = false;
        if let Some(opening) = &mut self.opening {
            opening.in_flight = false;
        }
        if let Some(tailer) = &mut self.tailer {
            tailer.seek(self.place.acked);
        }
    }

    /// Drops the oldest output that waits, if more waits than may. A burst is given until the next look to be taken: it may
    /// have come faster than anybody looked for it.
    pub(super) fn bound(&mut self, now: Duration) {
        let most = self.target.backlog;
        let length = std::fs::metadata(&self.file).map_or(0, |found| found.len());
        let from = self.tailer.as_ref().map_or(self.place.acked, Tailer::offset);
        let was_over = std::mem::replace(&mut self.over, length.saturating_sub(from) > most);
        if !self.over {
            return;
        }
        if !was_over {
            self.due = now;
            return;
        }
        let skipped = self.tailer().and_then(|tailer| tailer.skip_to_newest(most));
        let to = match skipped {
            Ok(None) => return,
            Ok(Some(to)) => to,
            Err(error) => return self.unreadable(&error),
        };
        let place = Place { acked: to, forced: None };
        // Before the bytes go: after a crash nobody may read where they were.
        if let Err(error) = place.write(&self.place_file) {
            tracing::warn!(producer = self.target.producer, %error, "output cannot be dropped: the place is not written down");
            if let Some(tailer) = &mut self.tailer {
                tailer.seek(from);
            }
            return;
        }
        self.place = place;
        self.release();
        self.dropped.bytes += to - from;
        if self.dropped.told.is_none_or(|told| now >= told + TELL_AGAIN) {
            self.dropped.told = Some(now);
            self.tell_dropped();
        }
    }

    fn tell_dropped(&self) {
        let LogTarget { group, stream, backlog, .. } = &self.target;
        tracing::warn!(
            group,
            stream,
            most = backlog,
            dropped = self.dropped.bytes,
            "more of a container's output waits for the server than may: the oldest is dropped"
        );
    }

    /// Whether all of it is with the server. A file that was never made has no output.
    pub(super) fn is_done(&self) -> bool {
        let done = self.ended
            && !self.in_flight
            && std::fs::metadata(&self.file).map_or(true, |found| found.len() <= self.place.acked);
        if done && self.dropped.bytes > 0 {
            self.tell_dropped();
        }
        done
    }
}

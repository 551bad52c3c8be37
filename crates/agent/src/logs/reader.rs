//! Reads one container's output from where the last run was: batches, places that survive this process, disk space given back,
//! and what waits held to its bound. Whoever sends the batches says how far they got.

use super::{BATCH, place::Place};
use model::Timestamp;
use regex::bytes::Regex;
use std::{path::PathBuf, time::Duration};
use telemetry::tail::{Batch, Held, TailError, Tailer};

/// How often it is said that a container's output is dropped, while it goes on.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// What a reader is told.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The container's runtime id, for logs.
    pub(super) producer: String,
    /// Where its output goes, for logs.
    pub(super) to: String,
    /// Matches the first line of an event; without it each line is one.
    pub(super) start: Option<Regex>,
    /// How long an event of several lines waits for more.
    pub(super) flush_after: Duration,
    /// Bytes that may wait; beyond them the oldest is dropped.
    pub(super) backlog: u64,
}

pub(super) struct Reader {
    rules: Rules,
    file: PathBuf,
    place_file: PathBuf,
    place: Place,
    /// How far it is written down that it came: what is behind may go, and after a crash nobody reads it.
    kept: u64,
    tailer: Option<Tailer>,
    /// More waited than may, the last time somebody looked.
    over: bool,
    dropped: Dropped,
}

/// Output that was dropped, and when that was told last.
#[derive(Default)]
struct Dropped {
    bytes: u64,
    told: Option<Duration>,
}

/// What a look at how much waits has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// Not more than may.
    Fine,
    /// More, but for the first time: a burst is given until the next look to be taken.
    Over,
    /// More, and the oldest was dropped: what was read before is to be read anew.
    Dropped,
}

impl Reader {
    pub(super) fn new(rules: Rules, (file, place_file): (PathBuf, PathBuf)) -> Self {
        let place = Place::read(&place_file);
        let kept = place.acked;
        Self { rules, file, place_file, place, kept, tailer: None, over: false, dropped: Dropped::default() }
    }

    /// Where it goes, and how much of it may wait, once that is known.
    pub(super) fn tell(&mut self, to: String, backlog: u64) {
        (self.rules.to, self.rules.backlog) = (to, backlog);
    }

    /// How far it was sent.
    pub(super) fn acked(&self) -> u64 {
        self.place.acked
    }

    fn tailer(&mut self) -> Result<&mut Tailer, TailError> {
        if self.tailer.is_none() {
            let tailer = Tailer::open(&self.file, self.place.acked, BATCH)?;
            let mut tailer = tailer.starting_with(self.rules.start.clone());
            if let Some(forced) = self.place.forced {
                tailer.end_event_at(forced);
            }
            self.tailer = Some(tailer);
        }
        Ok(self.tailer.as_mut().expect("it was just put there"))
    }

    /// The next batch, if there is something to send. `ended` says that nobody writes any more.
    pub(super) fn read(&mut self, now: Timestamp, ended: bool) -> Option<Batch> {
        loop {
            match self.tailer().and_then(|tailer| tailer.read(now.0, ended)) {
                // Empty lines alone: nothing to send, but a place to go on from.
                Ok(Some(batch)) if batch.lines.is_empty() => self.place.advance(batch.next_offset),
                Ok(Some(batch)) => return Some(batch),
                Ok(None) if self.end_event(now) => {}
                Ok(None) => return None,
                Err(error) => {
                    self.unreadable(&error);
                    return None;
                }
            }
        }
    }

    /// Ends an event whose last lines have waited long enough; true if there was one.
    fn end_event(&mut self, now: Timestamp) -> bool {
        let Some(tailer) = &mut self.tailer else { return false };
        let Some(Held { upto, since_millis, .. }) = tailer.held() else { return false };
        let waited = now.millis_since(Timestamp(since_millis));
        // A clock that was set back says nothing; better too early than never.
        let enough = waited < 0 || Duration::from_millis(waited.unsigned_abs()) >= self.rules.flush_after;
        if !enough {
            return false;
        }
        let place = Place { forced: Some(upto), ..self.place };
        // Before anybody sees the event: after a crash it has to end there again.
        if let Err(error) = place.write(&self.place_file) {
            let producer = &self.rules.producer;
            tracing::warn!(producer, %error, "an event is held back: its end cannot be written down");
            return false;
        }
        self.place = place;
        tailer.end_event_at(upto);
        true
    }

    fn unreadable(&mut self, error: &TailError) {
        let producer = &self.rules.producer;
        match error {
            // Not started yet.
            TailError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            TailError::Shrunk { .. } => {
                tracing::warn!(producer, %error, "a log file was cut; reading starts anew");
                self.tailer = None;
                (self.place, self.kept) = (Place::default(), 0);
            }
            TailError::Io(error) => tracing::warn!(producer, %error, "a log file is unreadable"),
        }
    }

    /// What is before that needs no more sending.
    pub(super) fn advance(&mut self, to: u64) {
        self.place.advance(to);
        // Losing it costs sending again, and disk space until then.
        match self.place.write(&self.place_file) {
            Ok(()) => self.kept = self.place.acked,
            Err(error) => tracing::debug!(%error, "an offset could not be kept"),
        }
        let Some(tailer) = &mut self.tailer else { return };
        if let Err(error) = tailer.release(self.kept) {
            tracing::debug!(%error, "disk space of shipped output could not be given back");
        }
    }

    /// Reads on from what needs no more sending.
    pub(super) fn rewind(&mut self) {
        if let Some(tailer) = &mut self.tailer {
            tailer.seek(self.place.acked);
        }
    }

    /// Drops the oldest output that waits, if more waits than may: behind what was read, or, if that did not get through, `all`.
    pub(super) fn bound(&mut self, now: Duration, all: bool) -> Bound {
        let most = self.rules.backlog;
        let length = std::fs::metadata(&self.file).map_or(0, |found| found.len());
        let read = self.tailer.as_ref().map_or(self.place.acked, Tailer::offset);
        let from = if all { self.place.acked } else { read };
        let was_over = std::mem::replace(&mut self.over, length.saturating_sub(from) > most);
        if !self.over {
            return Bound::Fine;
        }
        if !was_over {
            return Bound::Over;
        }
        let skipped = self.tailer().and_then(|tailer| {
            tailer.seek(from);
            tailer.skip_to_newest(most)
        });
        let to = match skipped {
            Ok(None) => return Bound::Fine,
            Ok(Some(to)) => to,
            Err(error) => {
                self.unreadable(&error);
                return Bound::Fine;
            }
        };
        let place = Place { acked: to, forced: None };
        // Before the bytes go: after a crash nobody may read where they were.
        if let Err(error) = place.write(&self.place_file) {
            let producer = &self.rules.producer;
            tracing::warn!(producer, %error, "output cannot be dropped: the place is not written down");
            if let Some(tailer) = &mut self.tailer {
                tailer.seek(read);
            }
            return Bound::Fine;
        }
        (self.place, self.kept) = (place, to);
        if let Some(tailer) = &mut self.tailer
            && let Err(error) = tailer.release(to)
        {
            tracing::debug!(%error, "disk space of dropped output could not be given back");
        }
        self.count_dropped(to - from, now);
        Bound::Dropped
    }

    /// Notes that so many bytes were given up.
    pub(super) fn count_dropped(&mut self, bytes: u64, now: Duration) {
        if bytes == 0 {
            return;
        }
        self.dropped.bytes += bytes;
        if self.dropped.told.is_none_or(|told| now >= told + TELL_AGAIN) {
            self.dropped.told = Some(now);
            self.tell_dropped();
        }
    }

    fn tell_dropped(&self) {
        let Rules { producer, to, backlog, .. } = &self.rules;
        tracing::warn!(
            producer,
            to,
            most = backlog,
            dropped = self.dropped.bytes,
            "more of a container's output waits than may: the oldest is dropped"
        );
    }

    /// Whether all of an ended file is where it belongs. A file that was never made has no output.
    pub(super) fn is_done(&self) -> bool {
        let done = std::fs::metadata(&self.file).map_or(true, |found| found.len() <= self.place.acked);
        if done && self.dropped.bytes > 0 {
            self.tell_dropped();
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_down_is_not_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let files = (dir.path().join("c.log"), dir.path().join("c.offset"));
        std::fs::write(&files.0, "line of output\n".repeat(10_000)).unwrap();
        let rules = Rules {
            producer: "c".into(),
            to: "nowhere".into(),
            start: None,
            flush_after: Duration::ZERO,
            backlog: 1 << 30,
        };
        let mut reader = Reader::new(rules.clone(), files.clone());
        let batch = reader.read(Timestamp(0), false).unwrap();
        // No file can be made there.
        std::fs::create_dir(dir.path().join("c.offset.new")).unwrap();
        reader.advance(batch.next_offset);
        let again = Reader::new(rules, files).read(Timestamp(0), false).unwrap();
        assert!(again.lines[0].message.starts_with("line"), "{:?}", again.lines[0]);
        std::fs::remove_dir(dir.path().join("c.offset.new")).unwrap();
        reader.advance(batch.next_offset);
        assert!(std::fs::read(dir.path().join("c.log")).unwrap().starts_with(&[0; 4_096]), "now it is");
    }
}

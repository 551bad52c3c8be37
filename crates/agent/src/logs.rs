//! Ships container output: reads what the shims append to files, batch by batch, and knows what the server has.
//!
//! Pulled by the session: while there is none, nothing is read and the files hold the output. At most one batch of a container
//! is on its way at a time, so a lost session costs nothing but asking again from the last acknowledged offset; the store
//! drops what it has already. What it has is punched out of the file, so a chatty container does not fill the disk.

use crate::{
    files::{self, Durable, Mode},
    plan::LogTarget,
    task::{Event, Happened},
};
use effects::Effects;
use link::{LogBatch, LogEvent, LogOutcome};
use model::Timestamp;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use telemetry::tail::{BatchLimits, Pace, TailError, Tailer};
use tokio::sync::{Notify, mpsc};

/// What one batch may hold: half a message, so that one loud container leaves room for the others.
const BATCH: BatchLimits = BatchLimits { events: 5_000, bytes: 512 << 10 };
/// Bytes of lines after which a message takes no further batch; with the last batch on top it stays near 1 MiB.
const MESSAGE_BYTES: usize = 512 << 10;
/// How long a stream rests when the server kept nothing of what it sent.
const NOTHING_KEPT: Duration = Duration::from_secs(5);
/// Between two looks at the streams: with many containers some of them is always due.
const BREATH: Duration = Duration::from_millis(10);
/// What an event costs in a batch besides its text, as CloudWatch counts it.
const EVENT_OVERHEAD: usize = 26;

/// All output that is to be shipped. Cheap to clone.
#[derive(Clone)]
pub struct LogHub(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    effects: Effects,
    streams: Mutex<BTreeMap<String, Stream>>,
    changed: Notify,
}

struct Stream {
    target: LogTarget,
    tailer: Option<Tailer>,
    acked: u64,
    in_flight: bool,
    ended: bool,
    refused: bool,
    pace: Pace,
    due: Duration,
    at: usize,
    mailbox: mpsc::Sender<Event>,
}

impl LogHub {
    /// Output lies in `dir`, one file per container.
    pub fn new(dir: PathBuf, effects: Effects) -> Self {
        Self(Arc::new(Inner { dir, effects, streams: Mutex::default(), changed: Notify::new() }))
    }

    /// Where the output of a container is written.
    pub fn file(dir: &Path, runtime_id: &str) -> PathBuf {
        dir.join(format!("{runtime_id}.log"))
    }

    fn offset_file(&self, runtime_id: &str) -> PathBuf {
        self.0.dir.join(format!("{runtime_id}.offset"))
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Stream>) -> T) -> T {
        work(&mut self.0.streams.lock().expect("no code panics with it"))
    }

    /// Ships a container's output from where the last run was; when `ended`, up to its end. The owner hears of the end.
    pub fn follow(&self, target: LogTarget, ended: bool, at: usize, mailbox: mpsc::Sender<Event>) {
        let id = target.producer.clone();
        let acked =
            std::fs::read_to_string(self.offset_file(&id)).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
        let due = self.0.effects.monotonic();
        let stream = Stream {
            target,
            tailer: None,
            acked,
            in_flight: false,
            ended: false,
            refused: false,
            pace: Pace::default(),
            due,
            at,
            mailbox,
        };
        self.with(|streams| streams.insert(id.clone(), stream));
        self.0.changed.notify_one();
        if ended {
            self.end(id);
        }
    }

    /// Nobody writes to the container's file any more.
    pub fn end(&self, runtime_id: String) {
        let now = self.0.effects.monotonic();
        self.with(|streams| {
            if let Some(stream) = streams.get_mut(&runtime_id) {
                stream.ended = true;
                stream.due = now;
            }
        });
        self.0.changed.notify_one();
        let hub = self.clone();
        self.0.effects.spawn("end of a log", async move { hub.settle(&runtime_id).await });
    }

    /// Tells the owner if all of an ended stream is with the server.
    async fn settle(&self, id: &str) {
        let done = self.with(|streams| {
            let stream = streams.get_mut(id)?;
            stream.is_done(&Self::file(&self.0.dir, id)).then(|| streams.remove(id))?
        });
        if let Some(stream) = done {
            if let Err(error) = files::remove(&self.offset_file(id)) {
                tracing::debug!(%error, "an offset file stays behind");
            }
            let _ = stream.mailbox.send(Event::Container(stream.at, Happened::LogsShipped)).await;
        }
    }

    /// The next batches to send; waits until there are some. Answered for each by [`LogHub::answered`], or all of them are
    /// forgotten by [`LogHub::reset`]. Only one caller may wait at a time.
    pub async fn next(&self) -> Vec<LogBatch> {
        loop {
            let changed = self.0.changed.notified();
            let (batches, due) = self.collect();
            if !batches.is_empty() {
                return batches;
            }
            let now = self.0.effects.monotonic();
            let wait = due.map_or(Duration::MAX, |due| due.saturating_sub(now).max(BREATH));
            tokio::select! {
                () = changed => {}
                () = self.0.effects.sleep(wait), if due.is_some() => {}
            }
        }
    }

    /// Whatever is due and has something, and when the next look is due.
    fn collect(&self) -> (Vec<LogBatch>, Option<Duration>) {
        let (now, wall) = (self.0.effects.monotonic(), self.0.effects.now());
        self.with(|streams| {
            let (mut batches, mut bytes) = (Vec::new(), 0);
            for (id, stream) in streams.iter_mut() {
                if stream.in_flight || stream.due > now || bytes >= MESSAGE_BYTES {
                    continue;
                }
                let batch = stream.read(&Self::file(&self.0.dir, id), wall);
                stream.due = now + stream.pace.after(batch.is_some());
                if let Some(batch) = batch {
                    bytes += batch.events.iter().map(|e| e.message.len() + EVENT_OVERHEAD).sum::<usize>();
                    batches.push(batch);
                }
            }
            (batches, streams.values().filter(|s| !s.in_flight).map(|s| s.due).min())
        })
    }

    /// What became of a batch.
    pub async fn answered(&self, batch: &LogBatch, outcome: &LogOutcome) {
        let id = &batch.producer;
        let now = self.0.effects.monotonic();
        let acked = self.with(|streams| {
            let stream = streams.get_mut(id)?;
            let before = stream.acked;
            stream.answered(batch.next_offset, outcome);
            // A server that could keep nothing, with its disk full say, is not asked again at once.
            stream.due = if stream.acked > before { now } else { now + NOTHING_KEPT };
            Some(stream.acked)
        });
        if let Some(acked) = acked {
            // Losing it costs sending again what the store drops.
            let text = acked.to_string();
            if let Err(error) =
                files::write(&self.offset_file(id), text.as_bytes(), Mode::Private, Durable::ProcessDeath)
            {
                tracing::debug!(%error, "an offset could not be kept");
            }
        }
        self.0.changed.notify_one();
        self.settle(id).await;
    }

    /// The session is gone: what was on its way is sent again in the next.
    pub fn reset(&self) {
        self.with(|streams| {
            for stream in streams.values_mut() {
                stream.in_flight = false;
                if let Some(tailer) = &mut stream.tailer {
                    tailer.seek(stream.acked);
                }
            }
        });
    }
}

impl Stream {
    fn read(&mut self, file: &Path, now: Timestamp) -> Option<LogBatch> {
        let batch = loop {
            let tailer = match &mut self.tailer {
                Some(tailer) => tailer,
                None => match Tailer::open(file, self.acked, BATCH) {
                    Ok(tailer) => self.tailer.insert(tailer),
                    Err(error) => return self.unreadable(&error),
                },
            };
            match tailer.read(now.0, self.ended) {
                // Empty lines alone: nothing to send, but a place to go on from.
                Ok(Some(batch)) if batch.lines.is_empty() => self.acked = batch.next_offset,
                Ok(Some(batch)) => break batch,
                Ok(None) => return None,
                Err(error) => return self.unreadable(&error),
            }
        };
        self.in_flight = true;
        let event = |line: telemetry::Line| LogEvent {
            timestamp: Timestamp(line.timestamp_millis),
            message: line.message,
            end: line.end,
        };
        Some(LogBatch {
            group: self.target.group.clone(),
            stream: self.target.stream.clone(),
            create_group: self.target.create_group,
            region: self.target.region.clone(),
            producer: self.target.producer.clone(),
            offset: batch.offset,
            next_offset: batch.next_offset,
            events: batch.lines.into_iter().map(event).collect(),
        })
    }

    fn unreadable(&mut self, error: &TailError) -> Option<LogBatch> {
        match error {
            // Not started yet.
            TailError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            TailError::Shrunk { .. } => {
                tracing::warn!(producer = self.target.producer, %error, "a log file was cut; reading starts anew");
                self.tailer = None;
                self.acked = 0;
            }
            TailError::Io(error) => tracing::warn!(producer = self.target.producer, %error, "a log file is unreadable"),
        }
        None
    }

    fn answered(&mut self, sent: u64, outcome: &LogOutcome) {
        self.in_flight = false;
        self.acked = match outcome {
            // Never back: what was accepted once may be gone from the file.
            LogOutcome::Accepted { next_offset } => self.acked.max(*next_offset),
            LogOutcome::Refused { message } => {
                if !std::mem::replace(&mut self.refused, true) {
                    let LogTarget { group, stream, .. } = &self.target;
                    tracing::warn!(group, stream, reason = message, "the server refuses a container's output");
                }
                sent
            }
        };
        if let Some(tailer) = &mut self.tailer {
            if tailer.offset() != self.acked {
                tailer.seek(self.acked);
            }
            if let Err(error) = tailer.release(self.acked) {
                tracing::debug!(%error, "disk space of shipped output could not be given back");
            }
        }
    }

    fn is_done(&mut self, file: &Path) -> bool {
        if !self.ended || self.in_flight {
            return false;
        }
        // A file that was never made has no output.
        std::fs::metadata(file).map_or(true, |found| found.len() <= self.acked)
    }
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;

//! Ships container output: reads what the shims append to files, batch by batch, and knows what the server has.
//!
//! Pulled by the session: while there is none, nothing is read and the files hold the output. At most one batch of a container
//! is on its way at a time, so a lost session costs nothing but asking again from the last acknowledged offset; the store
//! drops what it has already. What it has is punched out of the file, so a chatty container does not fill the disk; nor does
//! what it has not, nor output that goes nowhere else, because both are looked at every second and cut to what they may take
//! (`docs/decisions/0009-container-output.md`).

mod claim;
mod connect;
mod courier;
mod ended;
mod http;
mod place;
mod reader;
mod sink;
mod stream;

pub use self::claim::Claim;
pub(crate) use self::ended::put_aside;

use self::{
    courier::{Courier, Troubles},
    place::Place,
    reader::{Reader, Rules},
    sink::Sink,
    stream::{Opening, Stream},
};
use crate::{
    files,
    plan::LogTarget,
    task::{Event, Happened},
};
use effects::Effects;
use link::{LogBatch, LogOutcome};
use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use telemetry::{
    driver::{Identity, Outward},
    tail::{BatchLimits, keep_newest},
};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

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
/// Between two looks at what files take: a second of the loudest container's output is what they may have too much.
const LOOK: Duration = Duration::from_secs(1);

/// All output of this machine's containers. Cheap to clone.
#[derive(Clone)]
pub struct LogHub(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    effects: Effects,
    /// Output that is shipped, by the container's runtime id.
    streams: Mutex<BTreeMap<String, Stream>>,
    /// Output that is sent elsewhere than to the server.
    away: Mutex<BTreeMap<String, Away>>,
    /// Output that stays here, and how much of it.
    kept: Mutex<BTreeMap<String, u64>>,
    changed: Notify,
    /// There is something whose size has to be looked at.
    growing: Notify,
}

/// Output that is sent elsewhere, and how its courier is spoken to.
struct Away {
    at: usize,
    mailbox: mpsc::Sender<Event>,
    ended: watch::Sender<bool>,
    forgotten: CancellationToken,
    /// It has a courier, or is about to have one.
    carried: bool,
    /// Holds what waits to its bound until there is a courier, which has it then.
    reader: Option<Reader>,
}

/// What a courier is sent off with.
#[derive(Debug)]
pub struct Dispatch {
    /// The driver and what its options ask for, secret ones included.
    pub options: Outward,
    /// Whose output it is.
    pub identity: Identity,
    /// What the output is called, if that is not for the options to say.
    pub tag: Option<String>,
    /// Whether errors, which the task's owner sees, quote what a receiver answers.
    pub quotes: bool,
}

impl LogHub {
    /// Output lies in `dir`, one file per container.
    pub fn new(dir: PathBuf, effects: Effects) -> Self {
        let hub = Self(Arc::new(Inner {
            dir,
            effects,
            streams: Mutex::default(),
            away: Mutex::default(),
            kept: Mutex::default(),
            changed: Notify::new(),
            growing: Notify::new(),
        }));
        hub.0.effects.spawn("size of output", hub.clone().watch_sizes());
        hub
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

    fn with_kept<T>(&self, work: impl FnOnce(&mut BTreeMap<String, u64>) -> T) -> T {
        work(&mut self.0.kept.lock().expect("no code panics with it"))
    }

    /// Ships a container's output from where the last run was; when `ended`, up to its end. The owner hears of the end.
    pub fn follow(&self, target: LogTarget, ended: bool, at: usize, mailbox: mpsc::Sender<Event>) {
        let id = target.producer.clone();
        let files = (Self::file(&self.0.dir, &id), self.offset_file(&id));
        let stream = Stream::new(target, files, at, mailbox, self.0.effects.monotonic());
        self.with(|streams| streams.insert(id.clone(), stream));
        self.0.changed.notify_one();
        self.0.growing.notify_one();
        if ended {
            self.end(id);
        }
    }

    /// Keeps about the newest `bytes` of output that goes nowhere else, until it is forgotten.
    pub fn keep(&self, runtime_id: String, bytes: u64) {
        self.with_kept(|kept| kept.insert(runtime_id, bytes));
        self.0.growing.notify_one();
    }

    /// The file of output goes; what of it has not been sent elsewhere by now never will be, which is told.
    pub fn forget(&self, runtime_id: &str) {
        self.with_kept(|kept| kept.remove(runtime_id));
        let Some(away) = self.with_away(|away| away.remove(runtime_id)) else { return };
        away.forgotten.cancel();
        let length = std::fs::metadata(Self::file(&self.0.dir, runtime_id)).map_or(0, |found| found.len());
        let dropped = length.saturating_sub(Place::read(&self.offset_file(runtime_id)).acked);
        if dropped > 0 {
            tracing::warn!(
                container = runtime_id,
                dropped,
                "output that its receiver has not taken in its time is dropped"
            );
        }
    }

    fn with_away<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Away>) -> T) -> T {
        work(&mut self.0.away.lock().expect("no code panics with it"))
    }

    /// The output of a container is to be sent elsewhere, once [`LogHub::dispatch`] says where; so many bytes of it may wait until
    /// then. The owner hears of the end.
    pub fn expect(&self, runtime_id: String, at: usize, mailbox: mpsc::Sender<Event>, backlog: u64) {
        let (ended, _) = watch::channel(false);
        let rules = Rules {
            producer: runtime_id.clone(),
            to: "a receiver that is not known yet".to_owned(),
            start: None,
            flush_after: Duration::ZERO,
            backlog,
        };
        let files = (Self::file(&self.0.dir, &runtime_id), self.offset_file(&runtime_id));
        self.with_away(|all| {
            all.entry(runtime_id).or_insert_with(|| Away {
                at,
                mailbox,
                ended,
                forgotten: CancellationToken::new(),
                carried: false,
                reader: Some(Reader::new(rules, files)),
            });
        });
        self.0.growing.notify_one();
    }

    /// For the one who shall dispatch the output of that container, if nobody carries it yet. As long as the claim is there, the
    /// output's end is not the end.
    pub fn claim(&self, runtime_id: &str) -> Option<Claim> {
        let free = self
            .with_away(|all| all.get_mut(runtime_id).is_some_and(|away| !std::mem::replace(&mut away.carried, true)));
        free.then(|| Claim::new(self.clone(), runtime_id))
    }

    /// It was not dispatched.
    fn unclaim(&self, runtime_id: &str) {
        let ended = self.with_away(|all| {
            let Some(away) = all.get_mut(runtime_id) else { return false };
            away.carried = false;
            *away.ended.borrow()
        });
        if ended {
            self.end_away(runtime_id.to_owned());
        }
    }

    /// Ends when that container is forgotten.
    pub async fn forgotten(&self, runtime_id: &str) {
        let token = self.with_away(|all| all.get(runtime_id).map(|away| away.forgotten.clone()));
        if let Some(token) = token {
            token.cancelled().await;
        }
    }

    /// Sends the output of a container, which was claimed, to its receiver from now on, from where the last run was. Before a
    /// container starts (`first`), its receiver has to be there, unless its options say otherwise.
    ///
    /// # Errors
    /// Why the driver cannot begin, in Docker's words as far as it has some.
    pub async fn dispatch(&self, claim: &mut Claim, what: Dispatch, first: bool) -> Result<(), String> {
        let backlog = what.options.common().backlog;
        let mut sink = Sink::new(what, self.0.effects.clone());
        if first {
            sink.begin().await.map_err(|trouble| trouble.to_string())?;
        }
        let (id, effects) = (claim.use_up(), self.0.effects.clone());
        let courier = self.with_away(|all| {
            let away = all.get_mut(&*id)?;
            let mut reader = away.reader.take()?;
            reader.tell(sink.to.clone(), backlog);
            let (ended, forgotten) = (away.ended.subscribe(), away.forgotten.clone());
            let (troubles, look) = (Troubles::default(), effects.monotonic() + LOOK);
            Some(Courier { id: id.clone(), reader, sink, effects, ended, forgotten, troubles, look })
        });
        if let Some(courier) = courier {
            let hub = self.clone();
            self.0.effects.spawn("output of a container", async move {
                if Box::pin(courier.run()).await {
                    hub.arrived(&id).await;
                }
            });
        }
        Ok(())
    }

    /// All output of that container is where it belongs. How far it came stays written down as long as the output does: until the
    /// owner has noted the end, another agent would begin anew.
    async fn arrived(&self, id: &str) {
        let Some(away) = self.with_away(|all| all.remove(id)) else { return };
        let _ = away.mailbox.send(Event::Container(away.at, Happened::LogsShipped)).await;
    }

    /// Nobody writes any more to the file of output that is sent elsewhere. One that nobody carries never began.
    fn end_away(&self, id: String) {
        let idle = self.with_away(|all| {
            let Some(away) = all.get(&id) else { return false };
            away.ended.send_replace(true);
            !away.carried
        });
        if idle {
            let hub = self.clone();
            self.0.effects.spawn("end of a log", async move { hub.arrived(&id).await });
        }
    }

    /// Opens the stream of a container that is followed: waits until the server has it, or says why it never will.
    pub async fn open(&self, runtime_id: &str) -> Result<(), String> {
        let (told, answer) = oneshot::channel();
        self.with(|streams| {
            if let Some(stream) = streams.get_mut(runtime_id) {
                stream.opening = Some(Opening { told, in_flight: false });
            }
        });
        self.0.changed.notify_one();
        // Nobody tells if there is nothing to open any more.
        answer.await.unwrap_or(Ok(()))
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
        self.settle_aside(runtime_id.clone());
        self.end_away(runtime_id);
    }

    fn settle_aside(&self, runtime_id: String) {
        let hub = self.clone();
        self.0.effects.spawn("end of a log", async move { hub.settle(&runtime_id).await });
    }

    /// Tells the owner if all of an ended stream is with the server.
    async fn settle(&self, id: &str) {
        let done = self.with(|streams| {
            let stream = streams.get_mut(id)?;
            stream.is_done().then(|| streams.remove(id))?
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
        let mut done = Vec::new();
        let collected = self.with(|streams| {
            let (mut batches, mut bytes) = (Vec::new(), 0);
            for (id, stream) in streams.iter_mut() {
                if let Some(opening) = stream.opening.as_mut().filter(|opening| !opening.in_flight) {
                    opening.in_flight = true;
                    batches.push(stream.open_batch());
                }
                if stream.in_flight || stream.due > now || bytes >= MESSAGE_BYTES {
                    continue;
                }
                let batch = stream.read(wall);
                stream.due = now + stream.pace.after(batch.is_some());
                if let Some(batch) = batch {
                    bytes += batch.events.iter().map(|e| e.message.len() + EVENT_OVERHEAD).sum::<usize>();
                    batches.push(batch);
                } else if stream.is_done() {
                    // What was left of it were empty lines: nobody will answer for them.
                    done.push(id.clone());
                }
            }
            (batches, streams.values().filter(|s| !s.in_flight).map(|s| s.due).min())
        });
        for id in done {
            self.settle_aside(id);
        }
        collected
    }

    /// What became of a batch.
    pub async fn answered(&self, batch: &LogBatch, outcome: &LogOutcome) {
        let id = &batch.producer;
        let now = self.0.effects.monotonic();
        self.with(|streams| {
            let Some(stream) = streams.get_mut(id) else { return };
            if !batch.events.is_empty() {
                return stream.answered(batch.next_offset, outcome, now);
            }
            if let Some(opening) = stream.opening.take_if(|opening| opening.in_flight) {
                let _ = opening.told.send(match outcome {
                    LogOutcome::Accepted { .. } => Ok(()),
                    LogOutcome::Refused { message } => Err(message.clone()),
                });
            }
        });
        self.0.changed.notify_one();
        self.settle(id).await;
    }

    /// The session is gone: what was on its way is sent again in the next.
    pub fn reset(&self) {
        self.with(|streams| streams.values_mut().for_each(Stream::reset));
    }

    /// Holds files to what they may take, whether or not there is a session.
    async fn watch_sizes(self) {
        loop {
            let growing = self.0.growing.notified();
            let waiting = self.with_away(|all| all.values().any(|away| away.reader.is_some()));
            if !waiting && self.with(|streams| streams.is_empty()) && self.with_kept(|kept| kept.is_empty()) {
                tokio::select! {
                    () = growing => {}
                    () = self.0.effects.shutdown().cancelled() => return,
                }
            }
            if !self.0.effects.sleep_unless_stopped(LOOK).await {
                return;
            }
            let now = self.0.effects.monotonic();
            self.with(|streams| streams.values_mut().for_each(|stream| stream.bound(now)));
            self.with_away(|all| {
                for reader in all.values_mut().filter_map(|away| away.reader.as_mut()) {
                    reader.bound(now, true);
                }
            });
            self.0.changed.notify_one();
            self.cut_kept().await;
        }
    }

    async fn cut_kept(&self) {
        let large = |id: &String, keep: u64| {
            let file = Self::file(&self.0.dir, id);
            let found = std::fs::metadata(&file).ok()?;
            (found.blocks() * 512 > keep).then_some((file, keep))
        };
        let large: Vec<_> = self.with_kept(|kept| kept.iter().filter_map(|(id, keep)| large(id, *keep)).collect());
        if large.is_empty() {
            return;
        }
        // What is not on the disk yet is written before it moves; that takes too long for the threads all tasks share.
        let cut = tokio::task::spawn_blocking(move || {
            for (file, keep) in large {
                if let Err(error) = keep_newest(&file, keep) {
                    tracing::warn!(file = %file.display(), %error, "a container's output cannot be held to its size");
                }
            }
        });
        cut.await.expect("cutting does not panic");
    }
}

#[cfg(test)]
mod tests;

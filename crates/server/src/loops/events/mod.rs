//! Tells what has changed: every state change as an EventBridge event in the event log.
//!
//! Woken by any change it compares the newest snapshot with the last one it told of (`changes`), renders what differs
//! (`api::ecs::state_change`) and appends it (`log`), all of one wake with one sync. A file says up to which revision that is
//! done, and is written after it: after a crash what was written to the state since is told as it is then, some of it
//! perhaps again. Nothing waits for this loop, and it rests longer than it works (`log`).

mod changes;
mod log;

use super::kept::Kept;
use crate::context::Context;
use log::Log;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use state::{CommitError, Snapshot, Topic};
use std::{io, sync::Arc, time::Duration};
use tokio::sync::watch;

/// The shortest rest between two appends: what changes meanwhile shares the next one. A person does not notice it.
const REST: Duration = Duration::from_millis(100);
/// Pauses between tries while the log cannot be written: a full disk is not mended in a second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The file in the data directory.
const FILE: &str = "events.json";
/// The version of its form.
const VERSION: u32 = 1;

/// How far the log has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    v: u32,
    /// All of the state up to this revision was told.
    revision: u64,
}

/// The event log's loop before it starts: from here on nothing is missed.
pub(crate) struct EventLog {
    told: Kept<Told>,
    /// All events up to this time are in the log, and none will come before it.
    complete: watch::Sender<i64>,
}

impl EventLog {
    /// Reads how far the log has come. A server that finds none begins with what it knows now.
    ///
    /// # Errors
    /// The file cannot be read or made.
    pub(crate) fn open(ctx: &Context) -> io::Result<Self> {
        let now = ctx.store.snapshot().revision();
        let mut told = Kept::open(&ctx.config.data_dir.join(FILE), || Told { v: VERSION, revision: now })?;
        let Told { v, revision } = *told.get();
        if v > VERSION {
            return Err(io::Error::other(format!("{FILE} has format version {v}; run a newer longshore")));
        }
        if revision > now {
            // The state was restored from a backup; what it holds was told before that was made.
            told.change(&ctx.effects).revision = now;
        }
        Ok(Self { told, complete: watch::Sender::new(i64::MIN) })
    }

    /// Tells up to which time the log is complete, whenever that changes.
    pub(crate) fn complete(&self) -> watch::Receiver<i64> {
        self.complete.subscribe()
    }

    /// Tells until shutdown.
    pub(crate) async fn run(self, ctx: Context) {
        let mut changes = ctx.store.subscribe(Topic::All);
        let snapshot = ctx.store.snapshot();
        let log = Log::new(ctx.clone());
        let last = log.newest(&snapshot).unwrap_or(0);
        let Self { told, complete } = self;
        complete.send_replace(last);
        let mut teller = Teller { ctx, log, told, complete, last: Timestamp(last) };
        if !teller.catch_up(&snapshot).await {
            return;
        }
        teller.follow(snapshot, &mut changes).await;
        teller.told.save(&teller.ctx.effects, true).await;
    }
}

struct Teller {
    ctx: Context,
    log: Log,
    told: Kept<Told>,
    complete: watch::Sender<i64>,
    /// The time of the last events; it never runs back, so that readers who go by it miss nothing.
    last: Timestamp,
}

impl Teller {
    /// Tells what was written up to the snapshot and not told. False if the server stops before that is done.
    async fn catch_up(&mut self, snapshot: &Snapshot) -> bool {
        let mut pause = FIRST_PAUSE;
        while self.told.get().revision < snapshot.revision() {
            match self.tell_page(snapshot).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(Stalled::Closed) => return false,
                Err(Stalled::For(error)) => {
                    tracing::warn!(%error, "what changed before this start is not told yet; it is tried again");
                    if !self.ctx.effects.sleep_unless_stopped(pause).await {
                        return false;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            self.told.save(&self.ctx.effects, false).await;
        }
        true
    }

    async fn tell_page(&mut self, snapshot: &Snapshot) -> Result<(), Stalled> {
        let page = self.ctx.store.changed_since(self.told.get().revision).await?;
        let last = page.records.last().map(|record| record.revision).filter(|_| !page.is_last);
        let up_to = last.unwrap_or(u64::MAX).min(snapshot.revision());
        self.tell(snapshot, &changes::of_records(snapshot, &page.records)).await?;
        self.told.change(&self.ctx.effects).revision = up_to;
        Ok(())
    }

    async fn tell(
        &mut self,
        snapshot: &Snapshot,
        changes: &[crate::api::ecs::state_change::Change],
    ) -> Result<(), Stalled> {
        if changes.is_empty() {
            return Ok(());
        }
        let at = self.ctx.effects.now().max(self.last.plus_millis(1));
        // Also if it fails: some of it may be there.
        self.last = at;
        self.log.append(snapshot, changes, at).await?;
        self.complete.send_replace(at.0);
        Ok(())
    }

    /// Tells what changes from the snapshot on, until shutdown.
    async fn follow(&mut self, mut seen: Arc<Snapshot>, changed: &mut state::Subscription) {
        let effects = self.ctx.effects.clone();
        let stop = effects.shutdown().clone();
        let mut pause = FIRST_PAUSE;
        loop {
            let snapshot = self.ctx.store.snapshot();
            let told = self.tell(&snapshot, &changes::between(&seen, &snapshot)).await;
            let rest = match told {
                Ok(()) => {
                    if snapshot.revision() != seen.revision() {
                        self.told.change(&effects).revision = snapshot.revision();
                    }
                    seen = snapshot;
                    pause = FIRST_PAUSE;
                    REST
                }
                Err(error) => {
                    // Told once: it is tried again and again while it lasts.
                    if pause == FIRST_PAUSE {
                        tracing::warn!(%error, "events cannot be written; they are told when they can be");
                    }
                    let next = (pause * 2).min(LONGEST_PAUSE);
                    std::mem::replace(&mut pause, next)
                }
            };
            self.told.save(&effects, false).await;
            if stop.is_cancelled() {
                return;
            }
            // Told to stop, it tells once more what has changed by then; what still comes is told at the next start.
            effects.sleep_unless_stopped(rest).await;
            while seen.revision() == self.revision() && !stop.is_cancelled() {
                tokio::select! {
                    changed = changed.changed() => if changed.is_err() { return },
                    () = effects.sleep(self.told.wait(&effects)) => self.told.save(&effects, false).await,
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    fn revision(&self) -> u64 {
        self.ctx.store.snapshot().revision()
    }
}

/// Why something is not told yet.
#[derive(Debug, thiserror::Error)]
enum Stalled {
    /// The server stops.
    #[error("the state store is closed")]
    Closed,
    /// It will be tried again.
    #[error("{0}")]
    For(String),
}

impl From<CommitError> for Stalled {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Closed | CommitError::LostLeadership => Self::Closed,
            CommitError::Rejected(_) | CommitError::Storage(_) | CommitError::Busy => Self::For(error.to_string()),
        }
    }
}

impl From<telemetry::logs::Error> for Stalled {
    fn from(error: telemetry::logs::Error) -> Self {
        Self::For(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_every_version_has_written() {
        let told = Told { v: 1, revision: 7 };
        assert_eq!(serde_json::to_string(&told).unwrap(), r#"{"v":1,"revision":7}"#);
        assert_eq!(serde_json::from_str::<Told>(r#"{"v":1,"revision":7}"#).unwrap(), told);
    }
}

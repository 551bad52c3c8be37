//! Writes what has ended into the usage ledger.
//!
//! Woken by any change it compares the newest snapshot with the last one of which all is in the ledger, and appends what has
//! ended since (`usage`). A file says up to which revision that is done. It may lag: what is appended again after a crash has
//! the same key and counts once. Retention forgets only what this loop has written (`usage::Metered`), so nothing is missed
//! however long it could not write.

use super::kept::Kept;
use crate::{context::Context, usage};
use serde::{Deserialize, Serialize};
use state::{CommitError, Snapshot, Subscription, Topic};
use std::{io, sync::Arc, time::Duration};
use telemetry::usage::{Ledger, LedgerError, Usage};

/// The shortest rest between two appends: each is a sync, which what ends meanwhile shares.
const REST: Duration = Duration::from_secs(1);
/// Pauses between tries while the ledger cannot be written: a full disk is not mended in a second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Revisions that may go by before the file is written though nothing has ended: a start reads so many records in vain.
const LAG: u64 = 1_000;
/// The file in the data directory.
const FILE: &str = "usage.json";
/// The version of its form.
const VERSION: u32 = 1;

/// How far the ledger has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    v: u32,
    /// What had ended by this revision is in the ledger.
    revision: u64,
}

/// The metering loop before it starts: from here on nothing is missed.
pub(crate) struct Metering {
    told: Kept<Told>,
    ledger: Option<Ledger>,
}

impl Metering {
    /// Reads how far the ledger has come. Where there is none, all that the state remembers is metered.
    ///
    /// # Errors
    /// The file or the ledger's folder cannot be read or made.
    pub(crate) fn open(ctx: &Context) -> io::Result<Self> {
        let data_dir = &ctx.config.data_dir;
        let ledger = Ledger::open(&usage::folder(data_dir)).map_err(io::Error::other)?;
        let mut told = Kept::open(&data_dir.join(FILE), || Told { v: VERSION, revision: 0 })?;
        let Told { v, revision } = *told.get();
        if v > VERSION {
            return Err(io::Error::other(format!("{FILE} has format version {v}; run a newer longshore")));
        }
        if revision > ctx.store.snapshot().revision() {
            // The state was restored from a backup: what ends from there on has other revisions.
            told.change(&ctx.effects).revision = 0;
        }
        ctx.metered.begin();
        Ok(Self { told, ledger: Some(ledger) })
    }

    /// Meters until shutdown.
    pub(crate) async fn run(mut self, ctx: Context) {
        let mut changes = ctx.store.subscribe(Topic::All);
        let snapshot = ctx.store.snapshot();
        if !self.catch_up(&ctx, &snapshot).await {
            return;
        }
        ctx.metered.reached(snapshot.clone());
        self.follow(&ctx, snapshot, &mut changes).await;
        self.told.save(&ctx.effects, true).await;
    }

    /// Appends what ended before this start and was not. False if the server stops before that is done.
    async fn catch_up(&mut self, ctx: &Context, snapshot: &Snapshot) -> bool {
        let mut pause = FIRST_PAUSE;
        while self.told.get().revision < snapshot.revision() {
            match self.append_page(ctx, snapshot).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(Stalled::Closed) => return false,
                Err(Stalled::For(error)) => {
                    tracing::warn!(%error, "usage before this start is not in the ledger yet; it is tried again");
                    if !ctx.effects.sleep_unless_stopped(pause).await {
                        return false;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            self.told.save(&ctx.effects, false).await;
        }
        true
    }

    async fn append_page(&mut self, ctx: &Context, snapshot: &Snapshot) -> Result<(), Stalled> {
        let page = ctx.store.changed_since(self.told.get().revision).await?;
        let last = page.records.last().map(|record| record.revision).filter(|_| !page.is_last);
        let up_to = last.unwrap_or(u64::MAX).min(snapshot.revision());
        self.append(ctx, usage::ended_in(snapshot, &page.records)).await?;
        self.told.change(&ctx.effects).revision = up_to;
        Ok(())
    }

    async fn append(&mut self, ctx: &Context, mut usages: Vec<Usage>) -> Result<(), Stalled> {
        if usages.is_empty() {
            return Ok(());
        }
        usages.iter_mut().for_each(|usage| ctx.measures.add_to(usage));
        let Some(mut ledger) = self.ledger.take() else { return Err(Stalled::Closed) };
        let written = tokio::task::spawn_blocking(move || {
            let result = ledger.append(&usages);
            (ledger, result)
        });
        // Only the process's own end interrupts it.
        let (ledger, result) = written.await.map_err(|_| Stalled::Closed)?;
        self.ledger = Some(ledger);
        result.map_err(Stalled::from)
    }

    /// Appends what ends from the snapshot on, until shutdown.
    async fn follow(&mut self, ctx: &Context, mut seen: Arc<Snapshot>, changed: &mut Subscription) {
        let effects = &ctx.effects;
        let stop = effects.shutdown().clone();
        let mut pause = FIRST_PAUSE;
        loop {
            let snapshot = ctx.store.snapshot();
            let ended = usage::ended_between(&seen, &snapshot);
            let any = !ended.is_empty();
            let rest = match self.append(ctx, ended).await {
                Ok(()) => {
                    let (told, now) = (self.told.get().revision, snapshot.revision());
                    if any || now > told + LAG || (stop.is_cancelled() && now != told) {
                        self.told.change(effects).revision = now;
                    }
                    ctx.metered.reached(snapshot.clone());
                    if any {
                        ctx.measures.forget(&snapshot, &ctx.store.snapshot());
                    }
                    seen = snapshot;
                    pause = FIRST_PAUSE;
                    REST
                }
                Err(Stalled::Closed) => return,
                Err(Stalled::For(error)) => {
                    // Told once: it is tried again and again while it lasts.
                    if pause == FIRST_PAUSE {
                        tracing::warn!(%error, "usage cannot be written; it is when it can be, and nothing is forgotten");
                    }
                    let next = (pause * 2).min(LONGEST_PAUSE);
                    std::mem::replace(&mut pause, next)
                }
            };
            self.told.save(effects, false).await;
            if stop.is_cancelled() {
                return;
            }
            effects.sleep_unless_stopped(rest).await;
            while seen.revision() == ctx.store.snapshot().revision() && !stop.is_cancelled() {
                tokio::select! {
                    changed = changed.changed() => if changed.is_err() { return },
                    () = effects.sleep(self.told.wait(effects)) => self.told.save(effects, false).await,
                    () = stop.cancelled() => {}
                }
            }
        }
    }
}

/// Why something is not in the ledger yet.
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

impl From<LedgerError> for Stalled {
    fn from(error: LedgerError) -> Self {
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

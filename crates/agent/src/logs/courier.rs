//! Carries one container's output to its receiver, as long as there is some: reads, sends, notes how far it got, waits and tries
//! again. One task per container; it ends when all of an ended output is there, or the container is forgotten.
//!
//! A line is noted as sent when its receiver has taken the bytes: over TCP that is the kernel's word, with fluentd's
//! acknowledgements and Splunk's answers the receiver's own. Killed in between, a courier sends again what it had not noted, some
//! tens of KiB at most (`docs/logs.md`).

use super::{
    reader::{Bound, Reader},
    sink::Sink,
};
use effects::Effects;
use std::{sync::Arc, time::Duration};
use telemetry::tail::{Batch, Pace};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often it is said that a receiver takes nothing, while it goes on.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Between two looks at how much waits, while lines go.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes that are sent between two notes of how far it got, at most with one write on top: what is sent twice when the agent dies.
const NOTE: u64 = 32 << 10;

pub(super) struct Courier {
    pub(super) id: Arc<str>,
    pub(super) reader: Reader,
    pub(super) sink: Sink,
    pub(super) effects: Effects,
    /// True once nobody writes any more.
    pub(super) ended: watch::Receiver<bool>,
    /// The container is forgotten, and its file with it.
    pub(super) forgotten: CancellationToken,
    pub(super) troubles: Troubles,
}

impl Courier {
    /// Carries all there is and will be; true when it is all there.
    pub(super) async fn run(mut self) -> bool {
        let (forgotten, stop) = (self.forgotten.clone(), self.effects.shutdown().clone());
        tokio::select! {
            () = self.carry() => true,
            () = forgotten.cancelled() => false,
            () = stop.cancelled() => false,
        }
    }

    async fn carry(&mut self) {
        let mut pace = Pace::default();
        loop {
            let ended = *self.ended.borrow_and_update();
            let batch = self.reader.read(self.effects.now(), ended);
            let found = batch.is_some();
            match batch {
                Some(batch) => self.deliver(batch).await,
                None if ended && self.reader.is_done() => return,
                None => {}
            }
            let wait = pace.after(found);
            let wait = if found && !ended { wait.max(self.sink.rest()) } else { wait };
            tokio::select! {
                () = self.effects.sleep(wait) => {}
                changed = self.ended.changed(), if !ended => if changed.is_err() {
                    // Nobody is left to tell of the end.
                    std::future::pending::<()>().await;
                },
            }
        }
    }

    /// Sends a batch, however long that takes; or gives it up, because more waits than may.
    async fn deliver(&mut self, batch: Batch) {
        let mut rest = &batch.lines[..];
        let mut look = self.effects.monotonic() + LOOK;
        while !rest.is_empty() {
            match self.sink.send(rest).await {
                Ok(count) => {
                    self.troubles.over(&self.id, &self.sink.to);
                    let (sent, left) = rest.split_at(count);
                    rest = left;
                    match sent.last() {
                        Some(last) if last.end >= self.reader.acked() + NOTE => self.reader.advance(last.end),
                        Some(_) | None => {}
                    }
                }
                Err(error) => {
                    let now = self.effects.monotonic();
                    self.troubles.tell(&self.id, &self.sink.to, &error, now);
                    if self.sink.gives_up(self.troubles.tries) {
                        let bytes = rest.iter().map(|line| line.message.len() as u64 + 1).sum();
                        self.reader.count_dropped(bytes, now);
                        rest = &[];
                        self.troubles.tries = 0;
                        continue;
                    }
                    self.effects.sleep(self.sink.wait(self.troubles.tries)).await;
                }
            }
            let now = self.effects.monotonic();
            if now < look {
                continue;
            }
            look = now + LOOK;
            if self.reader.bound(now, true) == Bound::Dropped {
                return;
            }
        }
        self.reader.advance(batch.next_offset);
        self.reader.rewind();
    }
}

/// What went wrong in a row.
#[derive(Default)]
pub(super) struct Troubles {
    tries: u32,
    told: Option<Duration>,
}

impl Troubles {
    fn tell(&mut self, container: &str, to: &str, error: &dyn std::fmt::Display, now: Duration) {
        self.tries = self.tries.saturating_add(1);
        if self.told.is_none_or(|told| now >= told + TELL_AGAIN) {
            self.told = Some(now);
            tracing::warn!(container, to, %error, "a container's output waits: its receiver takes nothing");
        }
    }

    fn over(&mut self, container: &str, to: &str) {
        if self.told.is_some() {
            tracing::info!(container, to, "the receiver of a container's output takes it again");
        }
        *self = Self::default();
    }
}

//! Carries one container's output to its receiver, as long as there is some: reads, sends, notes how far it got, waits and tries
//! again. One task per container; it ends when all of an ended output is there, or the container is forgotten. Whatever it waits
//! for, how much waits is looked at meanwhile.
//!
//! A line is noted as sent when its receiver has taken the bytes: over TCP that is the kernel's word, with fluentd's
//! acknowledgements and Splunk's answers the receiver's own. Killed in between, a courier sends again what it had not noted
//! (`docs/logs.md`).

use super::{
    BATCH,
    reader::{Bound, Reader},
    sink::Sink,
};
use effects::Effects;
use std::{pin::pin, sync::Arc, time::Duration};
use telemetry::{
    Line,
    tail::{Batch, Pace},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often it is said that a receiver takes nothing, while it goes on.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Between two looks at how much waits.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes that are sent between two notes of how far it got: what is sent twice when the agent dies, with one write on top.
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
    /// When it is looked at how much waits.
    pub(super) look: Duration,
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
            let (found, full) = (batch.is_some(), batch.as_ref().is_some_and(is_full));
            match batch {
                Some(batch) => self.deliver(batch).await,
                None if ended && self.reader.is_done() => return,
                None => {}
            }
            let wait = pace.after(found);
            // Where more is there already, nothing is to be collected.
            let wait = if found && !full && !ended { wait.max(self.sink.rest()) } else { wait };
            self.wait(wait, false).await;
        }
    }

    /// Sends a batch, however long that takes; or gives it up, because more waits than may.
    async fn deliver(&mut self, batch: Batch) {
        let (mut rest, mut sent) = (&batch.lines[..], batch.offset);
        while !rest.is_empty() {
            let Self { reader, sink, effects, look, .. } = self;
            // What is on its way is in memory: what may be dropped now is behind it.
            let (outcome, _) = watching(reader, look, effects, false, sink.send(rest)).await;
            match outcome {
                Ok(count) => {
                    self.troubles.over(&self.id, &self.sink.to);
                    let (gone, left) = rest.split_at(count);
                    rest = left;
                    sent = gone.last().map_or(sent, |last| last.end);
                    if sent >= self.reader.acked() + NOTE {
                        self.reader.advance(sent);
                    }
                }
                Err(error) => {
                    let now = self.effects.monotonic();
                    self.troubles.tell(&self.id, &self.sink.to, &error, now);
                    if self.sink.gives_up(self.troubles.tries) {
                        self.reader.count_dropped(bytes(rest), now);
                        self.troubles.tries = 0;
                        break;
                    }
                    // What was sent neither comes again nor counts as dropped.
                    if sent > self.reader.acked() {
                        self.reader.advance(sent);
                    }
                    let (behind, wait) = (self.reader.acked(), self.sink.wait(self.troubles.tries));
                    if self.wait(wait, true).await {
                        // Of these nothing is left in the file either.
                        let upto = rest.partition_point(|line| line.end <= behind);
                        self.reader.count_dropped(bytes(&rest[..upto]), self.effects.monotonic());
                        return;
                    }
                }
            }
        }
        self.reader.advance(batch.next_offset);
        self.reader.rewind();
    }

    /// Waits so long, or until the container has ended. True if output was dropped meanwhile: what was read before is to be read
    /// anew, if `all` that was not sent might be dropped.
    async fn wait(&mut self, wait: Duration, all: bool) -> bool {
        let Self { reader, effects, look, ended, .. } = self;
        let over = async {
            tokio::select! {
                () = effects.sleep(wait) => {}
                // Somebody may wait for the last of it.
                Ok(()) = ended.changed() => {}
            }
        };
        watching(reader, look, effects, all, over).await.1
    }
}

/// Does something, and meanwhile holds what waits to its bound; says whether some of it was dropped. `all` that was not sent may
/// be, or only what was not read.
async fn watching<T>(
    reader: &mut Reader,
    look: &mut Duration,
    effects: &Effects,
    all: bool,
    work: impl Future<Output = T>,
) -> (T, bool) {
    let (mut work, mut dropped) = (pin!(work), false);
    loop {
        let left = look.saturating_sub(effects.monotonic());
        let outcome = tokio::select! {
            biased;
            outcome = &mut work => Some(outcome),
            () = effects.sleep(left) => None,
        };
        let now = effects.monotonic();
        if now >= *look {
            *look = now + LOOK;
            dropped |= reader.bound(now, all) == Bound::Dropped;
        }
        if let Some(outcome) = outcome {
            return (outcome, dropped);
        }
    }
}

/// Whether more was there, most likely, than one batch takes.
fn is_full(batch: &Batch) -> bool {
    batch.lines.len() >= BATCH.events || batch.next_offset - batch.offset >= BATCH.bytes as u64 / 2
}

fn bytes(lines: &[Line]) -> u64 {
    lines.iter().map(|line| line.message.len() as u64 + 1).sum()
}

/// What went wrong in a row.
#[derive(Default)]
pub(super) struct Troubles {
    tries: u32,
    /// When it was told last. Kept when it is over: over UDP every other line finds out that nobody is there.
    told: Option<Duration>,
    /// It was told, and not yet that it is over.
    open: bool,
}

impl Troubles {
    /// True if it is told.
    fn tell(&mut self, container: &str, to: &str, error: &dyn std::fmt::Display, now: Duration) -> bool {
        self.tries = self.tries.saturating_add(1);
        let tell = self.told.is_none_or(|told| now >= told + TELL_AGAIN);
        if tell {
            (self.told, self.open) = (Some(now), true);
            tracing::warn!(container, to, %error, "a container's output waits: its receiver takes nothing");
        }
        tell
    }

    fn over(&mut self, container: &str, to: &str) {
        self.tries = 0;
        if std::mem::take(&mut self.open) {
            tracing::info!(container, to, "the receiver of a container's output takes it again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_that_come_and_go_are_told_once_a_minute() {
        let mut troubles = Troubles::default();
        let mut told = 0;
        for second in 0..180 {
            told += u32::from(troubles.tell("c", "udp://x:1", &"refused", Duration::from_secs(second)));
            troubles.over("c", "udp://x:1");
        }
        assert_eq!((told, troubles.tries), (3, 0));
    }
}

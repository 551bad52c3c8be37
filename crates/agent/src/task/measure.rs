//! What a task used, as looks at its cgroup add up.
//!
//! Memory is what processes hold and what of their files is in use: the page cache that the kernel would give back at once is not
//! in it, for it grows to any limit and says nothing of what a task needs. The kernel's own peaks have it in them, so the most of
//! many looks stands for them; a peak between two looks is missed. CPU time is the kernel's sum and misses nothing.

use super::{Phase, TaskState};
use model::{Measured, Timestamp};
use serde::{Deserialize, Serialize};

/// Shares of CPU over less than that say more of the moment than of the task.
const APART_MS: i64 = 4_000;
/// How long what grows all the time may wait until it is told; less while a task is young, which may not become so old.
const TELL_MS: i64 = 30_000;
const MIB: u64 = 1 << 20;

/// One look at a task's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// CPU time since the cgroup was made, milliseconds.
    pub cpu_millis: u64,
    /// Bytes in use now.
    pub memory: u64,
}

/// What is known of a task's use, as the ledger keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Use {
    /// When it was looked at last.
    pub at: Timestamp,
    /// All that was seen.
    #[serde(flatten)]
    pub measured: Measured,
}

impl TaskState {
    /// Whether a look is worth an entry in the ledger and a word to the server.
    pub fn is_news(&self, reading: Reading, now: Timestamp) -> bool {
        let Some(known) = self.used else { return self.runs() };
        let grew = self.runs() && mib(reading.memory) > known.measured.memory;
        let age = i64::try_from(known.measured.over_millis).unwrap_or(TELL_MS);
        grew || now.millis_since(known.at) >= age.clamp(APART_MS, TELL_MS)
    }

    /// Adds a look.
    pub(super) fn measure(&mut self, reading: Reading, now: Timestamp) {
        let Some(began) = self.containers.iter().filter_map(|container| container.started).min() else { return };
        let ends = self.containers.iter().filter_map(|container| container.finished).max();
        let until = if self.runs() { now } else { ends.unwrap_or(now) };
        let known = self.used.unwrap_or_default();
        // The cgroup of a machine that was started again counts from nothing, but no container outlives that.
        let cpu = reading.cpu_millis.saturating_sub(known.measured.cpu_millis);
        let apart = self.used.map_or(0, |known| now.millis_since(known.at));
        let seen = Measured {
            // What is left once the last process has ended is not what it needed.
            memory: if self.runs() { mib(reading.memory) } else { 0 },
            cpu_millis: reading.cpu_millis,
            cpu_peak: if self.runs() && apart >= APART_MS { share(cpu, apart) } else { 0 },
            over_millis: u64::try_from(until.millis_since(began)).unwrap_or(0),
        };
        self.used = Some(Use { at: now, measured: known.measured.with(seen) });
    }

    /// Whether any of its processes run.
    pub fn runs(&self) -> bool {
        self.containers.iter().any(|container| match container.phase {
            Phase::Running { .. } | Phase::Stopping { .. } | Phase::Killing { .. } => true,
            Phase::Waiting
            | Phase::Pulling { .. }
            | Phase::Held { .. }
            | Phase::Connecting { .. }
            | Phase::Creating { .. }
            | Phase::Starting { .. }
            | Phase::Removing { .. }
            | Phase::Gone => false,
        })
    }
}

fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX)
}

/// In 1,024ths of a vCPU, rounded up: who used any has used some.
fn share(cpu_millis: u64, over: i64) -> u32 {
    let over = u64::try_from(over).unwrap_or(1).max(1);
    u32::try_from(cpu_millis.saturating_mul(1_024).div_ceil(over)).unwrap_or(u32::MAX)
}

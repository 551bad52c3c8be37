//! What a task really used, beside what it holds.
//!
//! Its instance counts it and says each time all that it counted, so of two tellings the greater is the later: a lost, repeated or
//! late one does no harm.

use serde::{Deserialize, Serialize};

/// What a task has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Measured {
    /// The most memory, in MiB begun, of the times that it was looked at while it ran. 0 where nobody looked in time.
    #[serde(default)]
    pub memory: u32,
    /// CPU time, milliseconds.
    #[serde(default)]
    pub cpu_millis: u64,
    /// The most CPU between two looks, in 1,024ths of a vCPU. 0 where nobody looked twice.
    #[serde(default)]
    pub cpu_peak: u32,
    /// For how long it ran, milliseconds.
    #[serde(default)]
    pub over_millis: u64,
}

impl Measured {
    /// What both say together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            cpu_millis: self.cpu_millis.max(other.cpu_millis),
            cpu_peak: self.cpu_peak.max(other.cpu_peak),
            over_millis: self.over_millis.max(other.over_millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tellings_may_come_twice_and_in_any_order() {
        let first = Measured { memory: 12, cpu_millis: 100, cpu_peak: 900, over_millis: 5_000 };
        let second = Measured { memory: 40, cpu_millis: 700, cpu_peak: 900, over_millis: 35_000 };
        // Of an agent that has forgotten its peaks: what was known is not unlearned.
        let poorer = Measured { memory: 3, cpu_millis: 900, cpu_peak: 0, over_millis: 65_000 };
        let want = Measured { memory: 40, cpu_millis: 900, cpu_peak: 900, over_millis: 65_000 };
        for order in [[first, second, poorer], [poorer, second, first], [second, poorer, first]] {
            let once = order.into_iter().fold(Measured::default(), Measured::with);
            assert_eq!(once, want, "{order:?}");
            assert_eq!(order.into_iter().fold(once, Measured::with), want, "twice");
        }
    }
}

//! The time by which services are kept: as the wall clock says, but never back and never still.
//!
//! Tasks carry wall-clock times, and a task counts as healthy when it has run for a while. Set back by an hour, the wall
//! clock would hold up a deployment for an hour; so from the last known time on, at least as much passes as really passed.

use effects::Effects;
use model::Timestamp;
use std::time::Duration;

#[derive(Debug, Default)]
pub(in crate::loops) struct SteadyClock {
    last: Timestamp,
    looked: Duration,
}

impl SteadyClock {
    /// The time now.
    pub(in crate::loops) fn now(&mut self, effects: &Effects) -> Timestamp {
        self.look(effects.now(), effects.monotonic())
    }

    fn look(&mut self, wall: Timestamp, monotonic: Duration) -> Timestamp {
        let passed = monotonic.saturating_sub(self.looked).as_millis();
        self.looked = monotonic;
        self.last = wall.max(self.last.plus_millis(i64::try_from(passed).unwrap_or(i64::MAX)));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_back_and_never_stands_still() {
        let mut clock = SteadyClock::default();
        for (wall, monotonic, want) in
            [(1000, 0, 1000), (1500, 500, 1500), (100, 700, 1700), (9000, 800, 9000), (200, 900, 9100)]
        {
            assert_eq!(clock.look(Timestamp(wall), Duration::from_millis(monotonic)), Timestamp(want));
        }
    }
}

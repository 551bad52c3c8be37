//! The time by which what is kept grows old, for everything that is forgotten by age.
//!
//! A wall clock that jumps ahead by weeks must not make a month of stopped tasks and logs vanish at once: what is forgotten does
//! not come back when the clock is put right. So a jump is believed only when it has lasted; until then time goes on from
//! where it was, at the pace of the clock that never jumps. A server that has just started cannot know what time it is and
//! waits as long.

use model::Timestamp;
use std::time::Duration;

/// How long a jump has to last: time for an NTP client that is wrong at boot, or for whoever is told of it, to put it right.
const BELIEVED_AFTER: Duration = Duration::from_secs(3600);
/// Smaller steps are believed at once: NTP makes them, and a machine that slept a little.
const JUMP_MILLIS: i64 = 5 * 60_000;

/// The clock of one loop that forgets.
#[derive(Debug, Default)]
pub(crate) struct Aging {
    /// The time by which things were old at the last look; 1970 before the first.
    age_by: Timestamp,
    looked: Duration,
    /// When the wall clock was first found ahead of it.
    ahead_since: Option<Duration>,
}

impl Aging {
    /// The time by which to forget, given what both clocks say now.
    pub(crate) fn look(&mut self, wall: Timestamp, monotonic: Duration) -> Timestamp {
        let passed = monotonic.saturating_sub(self.looked);
        self.looked = monotonic;
        let expected = self.age_by.plus_millis(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX));
        let ahead = wall.millis_since(expected) > JUMP_MILLIS;
        let since = if ahead { *self.ahead_since.get_or_insert(monotonic) } else { monotonic };
        if ahead && monotonic.saturating_sub(since) < BELIEVED_AFTER {
            if since == monotonic && self.age_by != Timestamp::default() {
                let seconds = wall.millis_since(expected) / 1000;
                tracing::warn!(
                    seconds,
                    "the clock jumped ahead; nothing is forgotten by it until that has lasted an hour"
                );
            }
            self.age_by = expected;
        } else {
            self.ahead_since = None;
            self.age_by = wall;
        }
        self.age_by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const T0: i64 = 20_000 * DAY;

    /// Minutes since the start, what the wall clock is off by, and what ages are measured by: whether as the wall says.
    fn check(looks: &[(u64, i64, bool)]) {
        let mut aging = Aging::default();
        for (minute, off, believed) in looks {
            let wall = Timestamp(T0 + i64::try_from(*minute).unwrap() * 60_000 + off);
            let age_by = aging.look(wall, Duration::from_secs(minute * 60));
            assert_eq!(age_by == wall, *believed, "minute {minute}, off by {off}: {age_by:?}");
            assert!(age_by <= wall, "nothing is older than the clock says");
        }
    }

    #[test]
    fn a_jump_ahead_is_believed_when_it_has_lasted() {
        check(&[(0, 0, false), (30, 0, false), (60, 0, true), (61, 0, true), (62, 40 * DAY, false)]);
        check(&[(0, 0, false), (60, 0, true), (70, 40 * DAY, false), (129, 40 * DAY, false), (130, 40 * DAY, true)]);
        check(&[(0, 0, false), (60, 0, true), (70, 40 * DAY, false), (80, 0, true), (129, 0, true), (131, 0, true)]);
    }

    #[test]
    fn small_steps_and_steps_back_are_believed_at_once() {
        check(&[(0, 0, false), (60, 0, true), (61, 200_000, true), (62, -200_000, true), (63, -40 * DAY, true)]);
        check(&[(0, 0, false), (60, 0, true), (61, -40 * DAY, true), (62, 0, false)]);
    }
}

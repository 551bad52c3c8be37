//! How often to look at a file that may have grown.

use std::time::Duration;

/// Just after output: what a person following a log still takes for at once.
const FASTEST: Duration = Duration::from_millis(20);
/// In silence: a thousand quiet containers cost a thousand `fstat` a second, about a millisecond of CPU.
const SLOWEST: Duration = Duration::from_secs(1);

/// A delay that doubles while nothing is found and starts anew when something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    next: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { next: FASTEST }
    }
}

impl Pace {
    /// How long to wait before looking again, given whether the last look found something.
    pub fn after(&mut self, found: bool) -> Duration {
        if found {
            self.next = FASTEST;
        }
        let delay = self.next;
        self.next = (delay * 2).min(SLOWEST);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slows_down_and_wakes_up() {
        let mut pace = Pace::default();
        let waits: Vec<u128> = (0..8).map(|_| pace.after(false).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(pace.after(true).as_millis(), 20);
        assert_eq!(pace.after(false).as_millis(), 40);
    }
}

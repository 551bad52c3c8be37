//! Which instances have a session now. A newer session of the same instance ends the older one.
//!
//! That is how an agent comes back whose old connection nobody knows to be dead yet. It is also how a copy of a machine's key
//! shows itself: copy and machine end each other's sessions again and again. So take-overs are counted, and bounded.

use model::ContainerInstanceArn;
use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Take-overs of one instance within [`WINDOW`]: an agent that is started again, or whose network comes and goes, needs one
/// each time. Beyond that whoever has the session keeps it.
const TAKE_OVERS: usize = 10;
/// So many within it are more than one agent needs, which stops of itself after the second time that it was taken over.
const SUSPICIOUS: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// The open sessions by instance.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Open>);

#[derive(Default)]
struct Open {
    by_instance: HashMap<ContainerInstanceArn, Entry>,
    next: u64,
}

struct Entry {
    number: u64,
    taken_over: CancellationToken,
    /// When it was taken over lately, latest last.
    take_overs: VecDeque<Duration>,
}

/// A session that has begun.
pub(crate) struct Begun {
    pub(crate) number: u64,
    /// Cancelled when a newer session begins.
    pub(crate) superseded: CancellationToken,
    /// It took over from another, so shortly after others did the same that two machines seem to have one identity.
    pub(crate) suspicious: bool,
}

impl Sessions {
    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.lock().expect("nothing in this module panics while it holds the lock")
    }

    /// Opens a session and ends the instance's older one; `None` if there were too many of them lately.
    pub(crate) fn begin(&self, instance: &ContainerInstanceArn, now: Duration) -> Option<Begun> {
        let mut open = self.open();
        let mut take_overs = VecDeque::new();
        if let Some(older) = open.by_instance.get_mut(instance) {
            older.take_overs.retain(|at| *at + WINDOW > now);
            if older.take_overs.len() >= TAKE_OVERS {
                return None;
            }
            older.taken_over.cancel();
            take_overs = std::mem::take(&mut older.take_overs);
            take_overs.push_back(now);
        }
        open.next += 1;
        let begun = Begun {
            number: open.next,
            superseded: CancellationToken::new(),
            // Told when it becomes so, not each time.
            suspicious: take_overs.len() == SUSPICIOUS,
        };
        let entry = Entry { number: begun.number, taken_over: begun.superseded.clone(), take_overs };
        open.by_instance.insert(instance.clone(), entry);
        Some(begun)
    }

    /// Closes a session; true if it was still the instance's newest, so that the instance now has none.
    pub(crate) fn end(&self, instance: &ContainerInstanceArn, number: u64) -> bool {
        let mut open = self.open();
        let newest = open.by_instance.get(instance).is_some_and(|entry| entry.number == number);
        if newest {
            open.by_instance.remove(instance);
        }
        newest
    }

    /// Whether the instance has a session.
    pub(crate) fn has(&self, instance: &ContainerInstanceArn) -> bool {
        self.open().by_instance.contains_key(instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_overs_are_told_of_and_bounded() {
        let instance: ContainerInstanceArn =
            "arn:aws:ecs:us-east-1:123456789012:container-instance/demo/0123456789abcdef0123456789abcdef"
                .parse()
                .unwrap();
        let sessions = Sessions::default();
        let at = |number: usize| WINDOW * 10 + Duration::from_secs(number as u64);
        let mut last = sessions.begin(&instance, at(0)).unwrap();
        for number in 1..=TAKE_OVERS {
            let next = sessions.begin(&instance, at(number)).unwrap();
            assert!(last.superseded.is_cancelled());
            assert_eq!(next.suspicious, number == SUSPICIOUS, "take-over {number}");
            last = next;
        }
        assert!(sessions.begin(&instance, at(TAKE_OVERS + 1)).is_none());
        assert!(!last.superseded.is_cancelled(), "whoever has the session keeps it");
        // A minute later it may be taken over again, and an instance without a session has no past.
        let next = sessions.begin(&instance, at(TAKE_OVERS) + WINDOW).unwrap();
        assert!(last.superseded.is_cancelled() && !next.suspicious);
        assert!(!sessions.end(&instance, last.number) && sessions.end(&instance, next.number));
        assert!(!sessions.has(&instance) && sessions.begin(&instance, at(0)).is_some());
    }
}

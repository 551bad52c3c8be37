//! Connections that wait for their client: half a handshake, half a request, the pause between two requests, an answer that
//! nobody reads.
//!
//! Whoever can reach a port can connect and then say nothing for ever, so places are bounded; and so that silence does not keep
//! others out, the guest that has kept us waiting longest gives up its place when somebody else needs one. A guest whose
//! request is being worked on keeps its place. Sending a byte now and then does not count: the wait is for a whole request.

use effects::Effects;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// No guest has to go before it has waited for this long: an honest client needs tens of milliseconds from connecting to the
/// end of its request. A longer grace would be the time for which a flood of connections could hold all places.
const GRACE: Duration = Duration::from_millis(250);
/// Between two looks for a guest to show out while all of them are within their grace or being served.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The places of one kind of connection.
pub(crate) struct Lobby {
    effects: Effects,
    places: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By the time since when they wait, longest first; the number tells apart those that came together.
    by_age: BTreeMap<(Duration, u64), CancellationToken>,
    next: u64,
}

/// A connection with a place; it leaves when this is dropped.
pub(crate) struct Guest {
    lobby: Arc<Lobby>,
    number: u64,
    since: Mutex<Option<Duration>>,
    out: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Lobby {
    pub(crate) fn new(places: usize, effects: Effects) -> Arc<Self> {
        Arc::new(Self { effects, places: Arc::new(Semaphore::new(places)), waiting: Mutex::default() })
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing in this module panics while it holds the lock")
    }

    /// Waits for a place. The guest counts as waiting for its client from now on.
    pub(crate) async fn enter(self: &Arc<Self>) -> Arc<Guest> {
        let place = self.acquire(&self.places, 1).await;
        let number = {
            let mut waiting = self.waiting();
            waiting.next += 1;
            waiting.next
        };
        let out = CancellationToken::new();
        let guest = Guest { lobby: self.clone(), number, since: Mutex::default(), out, _place: place };
        guest.waits();
        Arc::new(guest)
    }

    /// Takes from what guests hold, and shows out those that have waited longest until there is enough.
    pub(crate) async fn acquire(&self, of: &Arc<Semaphore>, count: u32) -> OwnedSemaphorePermit {
        if let Ok(permit) = of.clone().try_acquire_many_owned(count) {
            return permit;
        }
        let mut acquired = std::pin::pin!(of.clone().acquire_many_owned(count));
        loop {
            self.show_out_longest();
            tokio::select! {
                permit = acquired.as_mut() => return permit.expect("the semaphores of this house are never closed"),
                () = self.effects.sleep(LOOK_AGAIN) => {}
            }
        }
    }

    fn show_out_longest(&self) {
        let now = self.effects.monotonic();
        let mut waiting = self.waiting();
        if let Some(longest) = waiting.by_age.first_entry().filter(|entry| entry.key().0 + GRACE <= now) {
            longest.remove().cancel();
        }
    }
}

impl Guest {
    fn since(&self) -> std::sync::MutexGuard<'_, Option<Duration>> {
        self.since.lock().expect("nothing in this module panics while it holds the lock")
    }

    /// The next move is the client's, from now on.
    pub(crate) fn waits(&self) {
        let now = self.lobby.effects.monotonic();
        self.served();
        *self.since() = Some(now);
        self.lobby.waiting().by_age.insert((now, self.number), self.out.clone());
    }

    /// The client has said all that is needed: the next move is ours.
    pub(crate) fn served(&self) {
        if let Some(since) = self.since().take() {
            self.lobby.waiting().by_age.remove(&(since, self.number));
        }
    }

    /// Where it waits.
    pub(crate) fn lobby(&self) -> &Lobby {
        &self.lobby
    }

    /// Returns when its place is needed, or when it has waited for its client for longer than `longest`.
    pub(crate) async fn has_to_go(&self, longest: Duration) {
        loop {
            let now = self.lobby.effects.monotonic();
            let left = self.since().map_or(longest, |since| (since + longest).saturating_sub(now));
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = self.out.cancelled() => return,
                () = self.lobby.effects.sleep(left) => {}
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.served();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn the_guest_that_waits_longest_makes_room_and_one_that_is_served_does_not() {
        let effects = Effects::simulated(1, Timestamp(0));
        let lobby = Lobby::new(3, effects.clone());
        let (served, first, second) = (lobby.enter().await, lobby.enter().await, lobby.enter().await);
        served.served();
        effects.sleep(GRACE).await;
        // It waits anew, so it is not the first any more.
        second.waits();
        let (entered, ()) = tokio::join!(lobby.enter(), async {
            first.has_to_go(LONG).await;
            drop(first);
        });
        assert!(!second.out.is_cancelled() && !served.out.is_cancelled());
        drop((served, second, entered));
        assert!(lobby.waiting().by_age.is_empty());
        assert_eq!(lobby.places.available_permits(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let effects = Effects::simulated(1, Timestamp(0));
        let guest = Lobby::new(1, effects.clone()).enter().await;
        guest.served();
        let mut stay = std::pin::pin!(guest.has_to_go(LONG));
        let early = tokio::time::timeout(LONG * 10, stay.as_mut()).await;
        assert!(early.is_err(), "a guest that is served stays");
        guest.waits();
        let begin = effects.monotonic();
        stay.await;
        let waited = effects.monotonic() - begin;
        assert_eq!(waited, LONG);
    }
}

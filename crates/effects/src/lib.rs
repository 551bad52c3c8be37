//! The only door to clock, ids, randomness, spawn and shutdown.
//!
//! Everything that decides takes time and chance as arguments; everything that acts takes an [`Effects`]. In production
//! it is the machine's; in the simulator it is a seeded generator over tokio's paused clock, so that a run can be told
//! again from its seed. Spawned work is named, tracked and drained: nothing outlives the process's own shutdown.

use model::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A handle to the outside; cheap to clone.
#[derive(Clone)]
pub struct Effects(Arc<Inner>);

struct Inner {
    clock: Clock,
    chance: Mutex<StdRng>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Only the simulator kills.
    killed: CancellationToken,
    started: tokio::time::Instant,
}

enum Clock {
    Machine,
    /// Wall time starts here and moves with tokio's clock, and jumps by so many milliseconds.
    Simulated(Timestamp, AtomicI64),
}

impl Effects {
    /// The machine's clock and entropy.
    pub fn real() -> Self {
        Self::new(Clock::Machine, StdRng::from_os_rng())
    }

    /// A clock that starts at `start` and moves with tokio's (which the simulator pauses), and chance from `seed`.
    pub fn simulated(seed: u64, start: Timestamp) -> Self {
        Self::new(Clock::Simulated(start, AtomicI64::new(0)), StdRng::seed_from_u64(seed))
    }

    fn new(clock: Clock, chance: StdRng) -> Self {
        Self(Arc::new(Inner {
            clock,
            chance: Mutex::new(chance),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            killed: CancellationToken::new(),
            started: tokio::time::Instant::now(),
        }))
    }

    /// The wall clock. It may jump; use [`Effects::monotonic`] for durations.
    #[allow(clippy::disallowed_methods)] // This is the door.
    pub fn now(&self) -> Timestamp {
        match &self.0.clock {
            Clock::Machine => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Clock::Simulated(start, jumped) => start
                .plus_millis(i64::try_from(self.monotonic().as_millis()).unwrap_or(i64::MAX))
                .plus_millis(jumped.load(Ordering::Relaxed)),
        }
    }

    /// Somebody sets the wall clock, for the simulator: ahead, or back. Nothing else notices.
    pub fn jump(&self, millis: i64) {
        match &self.0.clock {
            Clock::Machine => {}
            Clock::Simulated(_, jumped) => drop(jumped.fetch_add(millis, Ordering::Relaxed)),
        }
    }

    /// Time since this handle's first maker was made; never jumps.
    pub fn monotonic(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Waits.
    #[allow(clippy::disallowed_methods)] // This is the door.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Sleeps, unless shutdown comes first; true if it slept the whole time.
    pub async fn sleep_unless_stopped(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.sleep(duration) => true,
            () = self.0.stop.cancelled() => false,
        }
    }

    /// Runs `work` in the background until it ends. The name is for logs; a panic in it is logged as an error.
    #[allow(clippy::disallowed_methods)] // This is the door.
    pub fn spawn<F>(&self, name: &'static str, work: F) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guard = PanicLog { name, done: false };
        let work = async move {
            let mut guard = guard;
            work.await;
            guard.done = true;
        };
        match self.0.clock {
            Clock::Machine => self.0.tasks.spawn(work),
            Clock::Simulated(..) => {
                let killed = self.0.killed.clone();
                self.0.tasks.spawn(async move {
                    tokio::select! {
                        biased;
                        () = killed.cancelled() => {}
                        () = work => {}
                    }
                })
            }
        }
    }

    /// What `kill -9` does, for the simulator: nothing that was spawned through this handle takes another step.
    pub fn kill(&self) {
        self.0.killed.cancel();
    }

    /// The signal that everything long-lived watches; `cancel` it to shut down.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Asks everything to stop and waits for it, at most `limit`; true if all of it ended.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.0.stop.cancel();
        self.0.tasks.close();
        tokio::time::timeout(limit, self.0.tasks.wait()).await.is_ok()
    }

    fn chance<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.chance.lock().expect("no code panics while it draws"))
    }

    /// 64 random bits.
    pub fn random(&self) -> u64 {
        self.chance(Rng::random)
    }

    /// `N` random bytes, good enough for keys.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        self.chance(|rng| {
            let mut bytes = [0; N];
            rng.fill(&mut bytes[..]);
            bytes
        })
    }

    /// 32 hexadecimal digits: the id of a task or a container instance.
    pub fn hex32(&self) -> String {
        hex::encode(self.bytes::<16>())
    }

    /// 17 hexadecimal digits: what follows the prefix of an EC2 id.
    pub fn hex17(&self) -> String {
        self.hex32().split_off(15)
    }

    /// A version 4 UUID with hyphens.
    pub fn uuid(&self) -> String {
        let mut b = self.bytes::<16>();
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        let h = hex::encode(b);
        format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
    }

    /// 21 letters and digits: the id of a service deployment.
    pub fn alphanumeric21(&self) -> String {
        self.chance(|rng| (0..21).map(|_| char::from(rng.sample(rand::distr::Alphanumeric))).collect())
    }
}

/// Logs a task that ended by panicking, since nobody may be waiting for its handle.
struct PanicLog {
    name: &'static str,
    done: bool,
}

impl Drop for PanicLog {
    fn drop(&mut self) {
        if !self.done && std::thread::panicking() {
            tracing::error!(task = self.name, "a background task panicked; this is a defect, please report it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_run_is_told_again_from_its_seed() {
        let (a, b) = (Effects::simulated(7, Timestamp(1000)), Effects::simulated(7, Timestamp(1000)));
        assert_eq!((a.hex32(), a.uuid(), a.alphanumeric21()), (b.hex32(), b.uuid(), b.alphanumeric21()));
        assert_eq!(a.now(), Timestamp(1000));
        a.sleep(Duration::from_secs(5)).await;
        assert_eq!(a.now(), Timestamp(6000));
        let before = a.monotonic();
        a.jump(-5500);
        assert_eq!((a.now(), a.clone().now(), a.monotonic()), (Timestamp(500), Timestamp(500), before));
    }

    #[test]
    fn ids_have_their_forms() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let effects = Effects::real();
        assert_eq!((effects.hex32().len(), effects.hex17().len(), effects.alphanumeric21().len()), (32, 17, 21));
        let uuid = effects.uuid();
        assert_eq!((uuid.len(), uuid.as_bytes()[14]), (36, b'4'));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_killed_takes_no_further_step() {
        let effects = Effects::simulated(7, Timestamp(0));
        let (step, mut steps) = tokio::sync::mpsc::channel(8);
        let inner = effects.clone();
        let walker = effects.spawn("walker", async move {
            while step.send(()).await.is_ok() {
                inner.sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(steps.recv().await, Some(()));
        effects.kill();
        walker.await.unwrap();
        assert_eq!(steps.recv().await, None);
    }

    #[tokio::test]
    async fn drain_ends_what_watches_shutdown() {
        let effects = Effects::real();
        let watched = effects.clone();
        effects.spawn("watcher", async move { watched.shutdown().cancelled().await });
        assert!(effects.drain(Duration::from_secs(5)).await);
    }
}

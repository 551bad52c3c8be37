//! A whole cluster in one process, on one paused clock, driven by a seed: the real server and real agents over machines that
//! only pretend and connections that break.
//!
//! A storm of faults (processes killed, machines without power, connections cut, stalled and half-open, clocks set, pulls that take
//! minutes, images that are not there, programs that end at once, operations failing, events lost, answers lost) rages for a few minutes of the clock while a client runs and stops tasks; then everything heals, and what was promised is
//! compared with what the machines remember. A seed tells the same faults at the same moments again, whatever comes of them: each step of the storm,
//! each machine and each road has a chance of its own. What comes of them is not always the same: of what happens at the very same moment
//! tokio's `select!` picks one by its own unseeded chance, and the log store and the syncs of agents' ledgers are real threads. Deliberately absent: TLS and joining (the server's own tests), the disk of the state store (the store's).
//!
//! What must hold at every commit is in `laws`.
//!
//! `LONGSHORE_SIM_SEEDS=1000..2000 cargo nextest run --cargo-profile simulation --workspace -E 'binary(simulation)'` runs other seeds
//! than the usual, some 0.3 CPU seconds each; without the profile it is 2.

// Tests may unwrap, and a test's future lives once.
#![allow(clippy::unwrap_used, clippy::large_futures)]

mod client;
mod gone;
mod laws;
mod net;
mod node;
mod services;
mod stories;
mod verdict;
mod world;

use std::{
    cell::RefCell,
    ops::Range,
    panic,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use world::{Summary, World};

/// What every build runs: as many as fit in half a minute of a debug build.
const SEEDS: Range<u64> = 1..21;

thread_local! {
    /// What panicked on this thread: background work of the product would otherwise take its panic with it.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn seeds() -> Range<u64> {
    #[allow(clippy::disallowed_methods)] // A test has no command line.
    let Ok(asked) = std::env::var("LONGSHORE_SIM_SEEDS") else { return SEEDS };
    let (first, end) = asked.split_once("..").unwrap_or((&asked, ""));
    let first: u64 = first.parse().expect("LONGSHORE_SIM_SEEDS is FIRST..END or one seed");
    first..end.parse().unwrap_or(first + 1)
}

/// One storm and its end; what is wrong, if anything.
fn run(seed: u64) -> Result<Summary, String> {
    within(seed, async |world| {
        world.storm().await;
        world.heal().await;
        world.end().await
    })
}

/// What happens in a world of its own; what is wrong, if anything.
fn within<T>(seed: u64, story: impl AsyncFnOnce(&mut World) -> Result<T, String>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    PANICS.take();
    let mut result = runtime.block_on(Box::pin(async {
        let mut world = World::new(seed);
        story(&mut world).await
    }));
    drop(runtime);
    let panics = PANICS.take();
    if !panics.is_empty() {
        result = Err(format!("something panicked: {panics:#?}\n{}", result.err().unwrap_or_default()));
    }
    result
}

fn heed_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
        before(info);
    }));
}

#[test]
fn a_service_that_is_over_stays_as_it_ended_whatever_its_tasks_tell_later() {
    heed_panics();
    within(1, async |world| world.tells_late().await).unwrap();
}

#[test]
fn tasks_protected_by_a_clock_that_was_ahead_are_moved_when_that_is_over() {
    heed_panics();
    within(1, async |world| world.balances_late().await).unwrap();
}

#[test]
fn a_cluster_keeps_its_promises_through_a_storm() {
    heed_panics();
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Summary::default());
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || !failed.lock().unwrap().is_empty() {
                return;
            }
            match run(seed) {
                Ok(summary) => total.lock().unwrap().add(&summary),
                Err(what) => failed.lock().unwrap().push((seed, what)),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    if let Some((seed, what)) = failed.into_inner().unwrap().first() {
        panic!("seed {seed}: {what}\ntell it again with LONGSHORE_SIM_SEEDS={seed}");
    }
    let total = total.into_inner().unwrap();
    println!("{} seeds: {total:?}", seeds.end - seeds.start);
    // One seed alone need not have everything.
    if seeds.end - seeds.start >= SEEDS.end - SEEDS.start {
        total.assert_it_was_a_storm();
    }
}

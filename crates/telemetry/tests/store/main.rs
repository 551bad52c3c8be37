//! The log store as its callers see it, on a real disk: what the API answers, and what is left after a crash anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests are tests")]

mod api;
mod check;
mod crash;
mod deleting;
mod many;
mod once;
mod paging;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;

use telemetry::logs::{Event, GetEvents, Limits, OutputEvent, Scope, Store};

/// A day in 2026, so that nothing is too old or too new.
pub(crate) const NOW: i64 = 1_790_000_000_000;

pub(crate) fn scope() -> Scope {
    Scope { account: "000000000000".to_string(), region: "us-east-1".to_string() }
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A directory in memory where there is one: crashes are made by cutting files, and a disk would only make that slow.
pub(crate) fn tempdir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Small enough that a few events reach every edge: checkpoints, several blocks, sealed segments, carried tails.
pub(crate) fn tiny() -> Limits {
    Limits {
        journal_bytes: 2_000,
        block_bytes: 150,
        segment_bytes: 400,
        carry_bytes: 300,
        free_disk_floor: 0,
        ..Limits::default()
    }
}

pub(crate) fn open(dir: &Path, limits: &Limits) -> Store {
    Store::open(dir, limits.clone()).unwrap()
}

pub(crate) fn event(timestamp_millis: i64, message: &str) -> Event {
    Event { timestamp_millis, message: message.to_string() }
}

/// A store with group `g` and stream `s`.
pub(crate) fn with_stream(dir: &Path, limits: &Limits) -> Store {
    let store = open(dir, limits);
    run(store.create_group(&scope(), "g", BTreeMap::new(), NOW)).unwrap();
    run(store.create_stream(&scope(), "g", "s", NOW)).unwrap();
    store
}

pub(crate) fn put(store: &Store, stream: &str, events: &[(i64, &str)]) {
    let events = events.iter().map(|(at, message)| event(*at, message)).collect();
    let outcome = run(store.put_events(&scope(), "g", stream, events, NOW)).unwrap();
    assert_eq!(outcome.rejected, None);
}

/// Every event of a stream, page by page from the head.
pub(crate) fn read_all(store: &Store, stream: &str, limit: usize) -> Vec<OutputEvent> {
    let mut ask = GetEvents { start_from_head: true, limit: Some(limit), ..GetEvents::default() };
    let mut all = Vec::new();
    loop {
        let page = store.get_events(&scope(), "g", stream, &ask).unwrap();
        if ask.token.as_ref() == Some(&page.next_forward_token) {
            assert!(page.events.is_empty());
            return all;
        }
        assert!(page.events.len() <= limit);
        all.extend(page.events);
        ask.token = Some(page.next_forward_token);
    }
}

pub(crate) fn messages(events: &[OutputEvent]) -> Vec<&str> {
    events.iter().map(|event| event.message.as_str()).collect()
}

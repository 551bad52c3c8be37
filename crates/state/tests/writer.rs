//! The writer: groups, a disk that fills up, being fenced off, closing, and waking who waits.

#![allow(clippy::unwrap_used)] // Clippy sees tests in test functions only.

mod common;
use common::*;
use effects::Effects;
use model::{ObservedStatus, Stop, Timestamp};
use state::{
    Backend, BackendError, Command, CommitError, Memory, Sqlite, Store, Topic,
    backend::{Batch, Sink},
};
use std::{
    future::Future,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A disk that can fill up, and that counts.
#[derive(Clone, Default)]
struct Disk {
    memory: Memory,
    full: Arc<AtomicBool>,
    fenced: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    /// The next commit is met twice: when it has begun, and when it may go on.
    held: Arc<AtomicBool>,
    meeting: Arc<Meeting>,
}

struct Meeting(Barrier);

impl Default for Meeting {
    fn default() -> Self {
        Self(Barrier::new(2))
    }
}

impl Backend for Disk {
    fn lead(&mut self) -> Result<u64, BackendError> {
        self.memory.lead()
    }
    fn load(&mut self, sink: Sink<'_>) -> Result<u64, BackendError> {
        self.memory.load(sink)
    }
    fn commit(&mut self, batch: &Batch, epoch: u64) -> Result<u64, BackendError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(BackendError::Full("database or disk is full".into()));
        }
        if self.fenced.load(Ordering::SeqCst) {
            return Err(BackendError::Fenced);
        }
        if self.held.swap(false, Ordering::SeqCst) {
            self.meeting.0.wait();
            self.meeting.0.wait();
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.memory.commit(batch, epoch)
    }
    fn tail(&mut self, from: u64, sink: Sink<'_>) -> Result<u64, BackendError> {
        self.memory.tail(from, sink)
    }
}

#[test]
fn a_full_disk_stops_writes_and_nothing_else() {
    let disk = Disk::default();
    let store = furnished(disk.clone(), 1);
    let before = store.snapshot();
    disk.full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let error = commit(&store, register("web")).unwrap_err();
        assert!(matches!(error, CommitError::Storage(BackendError::Full(_))), "{error}");
        assert!(Arc::ptr_eq(&before, &store.snapshot()), "what is not durable is not visible");
    }
    disk.full.store(false, Ordering::SeqCst);
    let done = must(&store, register("web"));
    assert_eq!(done.snapshot.latest_active(&scope(), &family("web")).unwrap().arn.revision, 2);
    assert_eq!(*inline(disk.memory.peek()).snapshot(), *store.snapshot());
}

#[test]
fn who_was_taken_over_is_told_so() {
    let disk = Disk::default();
    let store = furnished(disk.clone(), 1);
    disk.fenced.store(true, Ordering::SeqCst);
    assert!(matches!(commit(&store, register("web")), Err(CommitError::LostLeadership)));
}

#[test]
fn an_answer_that_changes_nothing_writes_nothing() {
    let disk = Disk::default();
    let store = furnished(disk.clone(), 1);
    let before = disk.commits.load(Ordering::SeqCst);
    must(&store, Command::CreateCluster(cluster("one")));
    refused(&store, Command::DeleteCluster { arn: cluster_arn("one") });
    assert_eq!(disk.commits.load(Ordering::SeqCst), before);
}

#[tokio::test]
async fn a_full_queue_turns_away_who_does_not_wait_and_lets_who_does_wait_in() {
    let disk = Disk::default();
    let store = Store::open(Box::new(disk.clone()), &Effects::real()).unwrap();
    disk.held.store(true, Ordering::SeqCst);
    let mut context = Context::from_waker(Waker::noop());
    let mut first = Box::pin(store.commit(register("first")));
    assert!(first.as_mut().poll(&mut context).is_pending());
    disk.meeting.0.wait();
    let mut queued = Vec::new();
    let busy = loop {
        let mut call = Box::pin(store.commit(register("web")));
        match call.as_mut().poll(&mut context) {
            Poll::Pending => queued.push(call),
            Poll::Ready(answer) => break answer,
        }
    };
    assert!(matches!(busy, Err(CommitError::Busy)), "{busy:?}");
    let mut patient = Box::pin(store.commit_in_turn(register("patient")));
    assert!(patient.as_mut().poll(&mut context).is_pending());
    disk.meeting.0.wait();
    patient.await.unwrap();
    for call in queued {
        call.await.unwrap();
    }
    store.close().await;
    let late = store.commit_in_turn(register("web")).await;
    assert!(matches!(late, Err(CommitError::Closed)), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_callers_share_their_fsyncs() {
    let dir = tempfile::tempdir().unwrap();
    let effects = Effects::real();
    let store = Store::open(Box::new(Sqlite::open(dir.path()).unwrap()), &effects).unwrap();
    let callers: Vec<_> = (0..64)
        .map(|caller| {
            let store = store.clone();
            effects.spawn("caller", async move {
                for _ in 0..8 {
                    let done = store.commit(register(&format!("family-{caller}"))).await.unwrap();
                    assert!(done.revision <= store.snapshot().revision(), "an answer comes after it is visible");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let stats = store.stats();
    assert_eq!(stats.commands, 512);
    assert!(stats.groups <= 256, "{} commands took {} fsyncs", stats.commands, stats.groups);
    let snapshot = store.snapshot();
    assert!(snapshot.families(&scope(), None).all(|(_, row)| row.last_revision == 8 && row.active == 8));
    store.close().await;
    assert!(matches!(store.commit(register("web")).await, Err(CommitError::Closed)));
    assert_eq!(*Store::open(Box::new(Sqlite::open(dir.path()).unwrap()), &effects).unwrap().snapshot(), *snapshot);
}

#[tokio::test]
async fn those_who_wait_are_woken_for_what_concerns_them() {
    let store = Store::open(Box::new(Memory::default()), &Effects::real()).unwrap();
    let instance_topic = |n| Topic::Instance(instance_arn("one", n));
    let (mut all, mut tasks) = (store.subscribe(Topic::All), store.subscribe(Topic::Tasks));
    let (mut here, there) = (store.subscribe(instance_topic(0)), store.subscribe(instance_topic(1)));
    let machines = store.subscribe(Topic::Machines);
    store.commit(Command::CreateCluster(cluster("one"))).await.unwrap();
    store.commit(register("web")).await.unwrap();
    store.commit(Command::RegisterContainerInstance { instance: instance("one", 0, 1024, 1024) }).await.unwrap();
    assert_eq!((all.is_due(), here.is_due(), there.is_due(), tasks.is_due()), (true, true, false, false));
    let latest = store.snapshot().revision();
    assert_eq!(tokio::time::timeout(PATIENCE, all.changed()).await.unwrap(), Ok(latest), "three changes wake once");
    assert!(!all.is_due());
    here.changed().await.unwrap();

    let definition = definition_arn("web", 1);
    store.commit(start(vec![task("one", 1, 0, definition, 1, 1)])).await.unwrap();
    tokio::time::timeout(PATIENCE, here.changed()).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, tasks.changed()).await.unwrap().unwrap();
    let runs = vec![seen(task_arn("one", 1), ObservedStatus::Running)];
    store.commit(Command::Observe { instance: instance_arn("one", 0), seen: runs, at: Timestamp(8) }).await.unwrap();
    assert!(tasks.is_due() && !here.is_due(), "an instance is not told what it has said");
    let end = vec![seen(task_arn("one", 1), ObservedStatus::Stopped(Stop::essential_exited()))];
    let observe = Command::Observe { instance: instance_arn("one", 0), seen: end, at: Timestamp(9) };
    store.commit(observe.clone()).await.unwrap();
    assert!(here.is_due() && !there.is_due() && !machines.is_due());
    here.changed().await.unwrap();
    store.commit(observe).await.unwrap();
    assert!(!here.is_due(), "a repeated report wakes nobody");

    store.commit(Command::RunMachines { machines: vec![machine(1, 7)] }).await.unwrap();
    assert!(machines.is_due() && !there.is_due());
    let waiting = tokio::join!(tokio::time::timeout(PATIENCE, here.changed()), store.close());
    assert_eq!(waiting.0.unwrap(), Err(state::Closed), "closing wakes for the last time");
    let mut late = store.subscribe(Topic::All);
    assert_eq!(late.changed().await, Err(state::Closed));
}

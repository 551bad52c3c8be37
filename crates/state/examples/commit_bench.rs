//! How fast commits are, what a task costs, and how both change with the number of tasks.
//!
//! `cargo run --release -p state --example commit_bench -- [tasks ...]`: for each number of stored tasks (1,000 and 100,000 if
//! none is given) a store in a fresh directory below the current one.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)] // A bench for people, not a service.

use effects::Effects;
use model::{ObservedStatus, Stop, TaskObservation, Timestamp};
use state::{Command, Sqlite, Store, TaskFilter};
use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

#[path = "../tests/common/mod.rs"]
mod common;
use common::*;

/// Tasks of one preparing command.
const BATCH: u64 = 500;
/// How long each figure is measured.
const SPAN: Duration = Duration::from_secs(3);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let effects = runtime.block_on(async { Effects::real() });
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["prepare", size, dir] => runtime.block_on(prepare(size.parse().unwrap(), Path::new(dir), &effects)),
        ["measure", size, dir] => runtime.block_on(measure(size.parse().unwrap(), Path::new(dir), &effects)),
        [] => compare(&["1000", "100000"]),
        ref sizes => compare(sizes),
    }
}

/// Each step in a process of its own, so that memory is not what an earlier one left behind.
fn compare(sizes: &[&str]) {
    raw_fsync();
    for size in sizes {
        println!("--- {size} stored tasks");
        let dir = tempfile::tempdir_in(".").unwrap();
        for step in ["prepare", "measure"] {
            let mut process = std::process::Command::new(std::env::current_exe().unwrap());
            assert!(process.args([step, size]).arg(dir.path()).status().unwrap().success());
        }
    }
}

fn raw_fsync() {
    let mut file = tempfile::tempfile_in(".").unwrap();
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < SPAN {
        let one = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        times.push(one.elapsed());
    }
    report("raw 4 KiB append + fdatasync", times, start.elapsed(), "");
}

fn report(what: &str, mut times: Vec<Duration>, span: Duration, more: &str) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let rate = times.len() as f64 / span.as_secs_f64();
    println!("{what}: {rate:.0}/s, p50 {:?}, p99 {:?}{more}", at(0.5), at(0.99));
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

async fn measure(size: u64, dir: &Path, effects: &Effects) {
    let (before, start) = (resident_bytes(), Instant::now());
    let store = Store::open(Box::new(Sqlite::open(dir).unwrap()), effects).unwrap();
    let each = resident_bytes().saturating_sub(before) / size;
    println!("opened in {:?}; resident memory grew by {each} bytes a task", start.elapsed());
    let disk = std::fs::metadata(dir.join("state.db")).unwrap().len() / size;
    println!("{disk} bytes a task on disk");
    read(&store, size);
    for callers in [1, 64] {
        commits(&store, callers, size, effects).await;
    }
    store.close().await;
}

async fn prepare(size: u64, dir: &Path, effects: &Effects) {
    let store = Store::open(Box::new(Sqlite::open(dir).unwrap()), effects).unwrap();
    let start = Instant::now();
    store.commit(Command::CreateCluster(cluster("one"))).await.unwrap();
    let big = instance("one", 0, u32::MAX, u32::MAX);
    store.commit(Command::RegisterContainerInstance { instance: big }).await.unwrap();
    store.commit(register("web")).await.unwrap();
    for first in (0..size).step_by(usize::try_from(BATCH).unwrap()) {
        let numbers = first..size.min(first + BATCH);
        let tasks: Vec<_> = numbers.map(realistic).collect();
        let seen = tasks.iter().map(|t| TaskObservation {
            task: t.arn.clone(),
            status: ObservedStatus::Stopped(Stop::essential_exited()),
            containers: Vec::new(),
            pull_started: None,
            pull_stopped: None,
            execution_stopped: None,
        });
        let (seen, at) = (seen.collect(), Timestamp(first.cast_signed()));
        store.commit(self::start(tasks)).await.unwrap();
        store.commit(Command::Observe { instance: instance_arn("one", 0), seen, at }).await.unwrap();
    }
    println!("started and stopped in {:?}", start.elapsed());
    store.close().await;
}

/// A task as a node would have reported it.
fn realistic(number: u64) -> model::Task {
    let mut task = task("one", number, 0, definition_arn("web", 1), 1, 1);
    let container = &mut task.containers[0];
    container.image_digest = Some(format!("sha256:{:064x}", 7).into());
    container.runtime_id = Some(format!("{number:064x}").into());
    container.exit_code = Some(0);
    task
}

fn read(store: &Store, size: u64) {
    let snapshot = store.snapshot();
    let (mut times, start) = (Vec::new(), Instant::now());
    for n in 0..10_000_u64 {
        let arn = task_arn("one", n * 7919 % size);
        let one = Instant::now();
        assert!(snapshot.task(&arn).is_some());
        times.push(one.elapsed());
    }
    report("describe one task", times, start.elapsed(), "");
    let (mut times, start) = (Vec::new(), Instant::now());
    let filter = TaskFilter { desired: state::Desire::Stopped, family: Some(family("web")), ..TaskFilter::default() };
    for _ in 0..1000 {
        let one = Instant::now();
        assert!(snapshot.tasks(&cluster_arn("one"), &filter).take(100).count() > 0);
        times.push(one.elapsed());
    }
    report("list 100 tasks of a family", times, start.elapsed(), "");
}

async fn commits(store: &Store, callers: u64, size: u64, effects: &Effects) {
    let before = store.stats();
    let start = Instant::now();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(64);
    for caller in 0..callers {
        let (store, sender) = (store.clone(), sender.clone());
        effects.spawn("caller", async move {
            let mut times = Vec::new();
            for n in 0.. {
                let number = size + (callers << 40) + (n << 8) + caller;
                let one = Instant::now();
                store.commit(self::start_one(number)).await.unwrap();
                times.push(one.elapsed());
                if start.elapsed() > SPAN {
                    break;
                }
            }
            sender.send(times).await.unwrap();
        });
    }
    drop(sender);
    let mut times = Vec::new();
    while let Some(mut more) = receiver.recv().await {
        times.append(&mut more);
    }
    let groups = store.stats().groups - before.groups;
    let more = format!(", {groups} fsyncs of {} commits", times.len());
    report(&format!("StartTasks, durable, {callers} callers"), times, start.elapsed(), &more);
}

fn start_one(number: u64) -> Command {
    start(vec![realistic(number)])
}

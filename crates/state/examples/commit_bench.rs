//! How fast commits are; and a store as large as wanted, for the benches that ask how a server does on it.
//!
//! `commit_bench` measures durable commits in a fresh directory below the current one, a line of JSON for each number of
//! callers. `commit_bench fill TASKS N DIRECTORY` commits that many tasks through the store, one in N of which runs and the
//! others have stopped, and prints ARNs of some of them.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)] // A bench for people, not a service.

use effects::Effects;
use model::{
    ContainerObservation, ContainerStatus, ObservedStatus, Stop, StopCode, Task, TaskObservation, TaskTimes, Timestamp,
};
use state::{Command, CommitError, Committed, Sqlite, Store};
use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

#[path = "../tests/common/mod.rs"]
mod common;
use common::*;

/// How long each figure is measured.
const SPAN: Duration = Duration::from_secs(3);
/// Tasks of one filling command, and commands that share a commit: some megabytes of log at a time.
const BATCH: u64 = 1000;
const TOGETHER: u64 = 2;
/// What tasks of a filled store are of, and where they were.
const FAMILIES: u64 = 100;
const INSTANCES: u64 = 100;
/// ARNs that are printed.
const SAMPLE: u64 = 1000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let effects = runtime.block_on(async { Effects::real() });
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fill", size, one_in, directory] => {
            let (size, one_in) = (size.parse().unwrap(), one_in.parse().unwrap());
            runtime.block_on(fill(size, one_in, Path::new(directory), &effects));
        }
        _ => {
            let directory = tempfile::tempdir_in(".").unwrap();
            runtime.block_on(measure(directory.path(), &effects));
        }
    }
}

async fn measure(directory: &Path, effects: &Effects) {
    let store = open(directory, effects);
    furnish(&store).await;
    for callers in [1, 16, 64] {
        commits(&store, callers, effects).await;
    }
    store.close().await;
}

fn open(directory: &Path, effects: &Effects) -> Store {
    Store::open(Box::new(Sqlite::open(directory).unwrap()), effects).unwrap()
}

fn family_name(number: u64) -> String {
    format!("app-{:02}", number % FAMILIES)
}

async fn furnish(store: &Store) {
    store.commit(Command::CreateCluster(cluster("one"))).await.unwrap();
    for number in 0..INSTANCES {
        let mut big = instance("one", number, u32::MAX, u32::MAX);
        // What a server asks of an instance before it places such a task.
        big.attributes.extend(spec("app").requires_attributes().into_iter().map(|a| (a.name, a.value)));
        store.commit(Command::RegisterContainerInstance { instance: big }).await.unwrap();
    }
    for number in 0..FAMILIES {
        store.commit(register(&family_name(number))).await.unwrap();
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A task as a server makes it. They were made one a millisecond, the last one now.
fn placed(number: u64, behind: u64) -> Task {
    let mut task = task("one", number, number % INSTANCES, definition_arn(&family_name(number), 1), 1, 1);
    let created = Timestamp(now() - i64::try_from(behind).unwrap());
    task.times = TaskTimes { created, ..TaskTimes::default() };
    task.started_by = Some(format!("batch-{}", number % 37).into());
    task
}

/// What its node said of it last.
fn said(task: &Task, number: u64, runs: bool) -> TaskObservation {
    let exit = i32::from(!number.is_multiple_of(10));
    let why = || match exit {
        0 => Stop::essential_exited(),
        _ => stop(StopCode::UserInitiated, "Task stopped by user"),
    };
    let container = ContainerObservation {
        name: task.containers[0].name.clone(),
        status: if runs { ContainerStatus::Running } else { ContainerStatus::Stopped },
        runtime_id: Some(format!("{number:064x}").into()),
        image_digest: Some(format!("sha256:{:064x}", number % FAMILIES).into()),
        exit_code: if runs { None } else { Some(exit) },
        reason: None,
        network_bindings: Vec::new(),
        health: None,
    };
    let created = task.times.created;
    TaskObservation {
        task: task.arn.clone(),
        status: if runs { ObservedStatus::Running } else { ObservedStatus::Stopped(why()) },
        containers: vec![container],
        pull_started: Some(created.plus_millis(100)),
        pull_stopped: Some(created.plus_millis(900)),
        execution_stopped: if runs { None } else { Some(created.plus_millis(60_000)) },
        attachment: None,
    }
}

/// Starting tasks and what became of them go into one commit, so that each is written once.
async fn fill(size: u64, one_in: u64, directory: &Path, effects: &Effects) {
    let store = open(directory, effects);
    furnish(&store).await;
    for first in (0..size).step_by(usize::try_from(BATCH * TOGETHER).unwrap()) {
        let mut commands = Vec::new();
        for from in (first..size.min(first + BATCH * TOGETHER)).step_by(usize::try_from(BATCH).unwrap()) {
            let numbers = from..size.min(from + BATCH);
            let tasks: Vec<_> = numbers.clone().map(|number| placed(number, size - number)).collect();
            let mut seen = vec![Vec::new(); usize::try_from(INSTANCES).unwrap()];
            for (task, number) in tasks.iter().zip(numbers) {
                seen[usize::try_from(number % INSTANCES).unwrap()].push(said(
                    task,
                    number,
                    number.is_multiple_of(one_in),
                ));
            }
            commands.push(start(tasks));
            let at = Timestamp(now());
            commands.extend((0..).zip(seen).filter(|(_, seen)| !seen.is_empty()).map(|(on, seen)| Command::Observe {
                instance: instance_arn("one", on),
                seen,
                at,
            }));
        }
        let done: Vec<Result<Committed, CommitError>> =
            futures::future::join_all(commands.into_iter().map(|command| store.commit(command))).await;
        done.into_iter().for_each(|done| drop(done.unwrap()));
    }
    store.close().await;
    let step = (size / SAMPLE).max(1);
    let sample = |running: bool| {
        let numbers = (0..size).filter(move |n| n.is_multiple_of(one_in) == running);
        numbers.step_by(usize::try_from(step).unwrap()).map(|n| format!("\"{}\"", task_arn("one", n)))
    };
    let list = |running| sample(running).take(usize::try_from(SAMPLE).unwrap()).collect::<Vec<_>>().join(",");
    println!("{{\"stopped\":[{}],\"running\":[{}]}}", list(false), list(true));
}

async fn commits(store: &Store, callers: u64, effects: &Effects) {
    let before = store.stats();
    let start = Instant::now();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(64);
    for caller in 0..callers {
        let (store, sender) = (store.clone(), sender.clone());
        effects.spawn("caller", async move {
            let mut times = Vec::new();
            for n in 0.. {
                let number = (callers << 40) + (n << 8) + caller;
                let one = Instant::now();
                store.commit(common::start(vec![placed(number, 0)])).await.unwrap();
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
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    let syncs = store.stats().groups - before.groups;
    println!(
        "{{\"callers\":{callers},\"commits\":{},\"fsyncs\":{syncs},\"per_second\":{rate:.0},\"p50_us\":{},\"p99_us\":{}}}",
        times.len(),
        at(0.5),
        at(0.99)
    );
}

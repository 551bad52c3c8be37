//! kill -9 at any moment: what was answered is there afterwards.
//!
//! The test starts itself again as a child that commits in a loop and names each acknowledged command on a pipe. The
//! parent kills it after a random number of acknowledgements, reads the pipe to its end, and opens the store.

#![allow(clippy::unwrap_used)] // Clippy sees tests in test functions only.

mod common;
use common::*;
use effects::Effects;
use model::Timestamp;
use state::{Command, Sqlite, Store};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command as Process, Stdio},
};

const DIRECTORY: &str = "LONGSHORE_CRASH_TEST_DIRECTORY";
const ROUNDS: u64 = 12;
/// Committing at once, so that groups of several are cut as well.
const COMMITTERS: u64 = 8;

/// Commits until killed.
fn child(directory: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let effects = Effects::real();
        let store = Store::open(Box::new(Sqlite::open(directory).unwrap()), &effects).unwrap();
        let _ = store.commit(Command::CreateCluster(cluster("one"))).await.unwrap();
        let instance = instance("one", 0, u32::MAX, u32::MAX);
        store.commit(Command::RegisterContainerInstance { instance }).await.unwrap();
        if store.snapshot().latest_active(&scope(), &family("web")).is_none() {
            store.commit(register("web")).await.unwrap();
        }
        let first = effects.random() >> 16;
        let committers = (0..COMMITTERS).map(|c| {
            let store = store.clone();
            async move {
                for n in 0.. {
                    let task = task("one", first + n * COMMITTERS + c, 0, definition_arn("web", 1), 1, 1);
                    let arn = task.arn.clone();
                    store.commit(start(vec![task])).await.unwrap();
                    say(&format!("started {arn}\n"));
                    if n % 3 == 1 {
                        let (tasks, why) = (vec![arn.clone()], model::Stop::essential_exited());
                        store.commit(Command::EndTasks { tasks, why, at: Timestamp(1) }).await.unwrap();
                        say(&format!("ended {arn}\n"));
                    }
                }
            }
        });
        futures_join(committers).await;
    });
}

/// Tells the parent in one write, so that a kill can not leave half a line.
fn say(line: &str) {
    std::io::stderr().write_all(line.as_bytes()).expect("the parent reads until we are gone");
}

/// All of them at once on this task; none of them ends.
async fn futures_join(all: impl Iterator<Item = impl std::future::Future<Output = ()>>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        for one in &mut all {
            let _ = one.as_mut().poll(cx);
        }
        std::task::Poll::<()>::Pending
    })
    .await;
}

#[test]
fn nothing_that_was_answered_is_lost_to_kill_9() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return child(Path::new(&directory));
    }
    let dir = tempfile::tempdir().unwrap();
    let chance = run(async { Effects::real() });
    let (mut started, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        let mut process = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "nothing_that_was_answered_is_lost_to_kill_9", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let until = started.len() + usize::try_from(1 + chance.random() % 300).unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut killed = false;
        for line in &mut lines {
            match line.split_once(' ') {
                Some(("started", arn)) => started.insert(arn.to_owned()),
                Some(("ended", arn)) => ended.insert(arn.to_owned()),
                Some(_) | None => panic!("round {round}: the child said {line:?}"),
            };
            if !killed && started.len() >= until {
                process.kill().unwrap();
                killed = true;
            }
        }
        process.wait().unwrap();
        assert!(killed, "round {round}: the child ended by itself");

        let report = state::check(dir.path()).unwrap();
        assert!(report.is_sound(), "round {round}: {:?}", report.problems);
        let store = inline(Sqlite::open(dir.path()).unwrap());
        let snapshot = store.snapshot();
        assert_sound(&snapshot);
        for arn in &started {
            let task = snapshot.task(&arn.parse().unwrap());
            let task = task.unwrap_or_else(|| panic!("round {round}: {arn} was answered and is lost"));
            assert!(!ended.contains(arn) || !task.holds_resources(), "round {round}: the end of {arn} is lost");
        }
    }
    assert!(started.len() > 100 && !ended.is_empty());
}

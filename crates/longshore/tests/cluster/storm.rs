//! The storm: clients start and stop tasks without rest, while server, agents, containerd and shims are killed at random.
//!
//! Clients write down what was answered to them and nothing else; a killer writes down whom it killed. When the storm is over the
//! cluster may settle, and then the two lists are held against what the server tells, what the containers themselves wrote,
//! and what the kernel and containerd still have. The seed is printed; `LONGSHORE_STORM_SEED` sets it, `LONGSHORE_STORM_SECONDS`
//! the length: `LONGSHORE_STORM_SECONDS=1800 cargo test -p longshore --test cluster storm`.

mod client;
mod killer;
mod verdict;

use crate::harness::{Cluster, until};
use client::Client;
use effects::Effects;
use killer::{Deaths, Killer};
use model::Timestamp;
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

const INSTANCES: u32 = 2;
/// Each holds up to three tasks at a time, which keeps two cores busy.
const CLIENTS: u64 = 3;
/// Long enough for every kind of death several times over.
const SECONDS: u64 = 60;
const LOG_GROUP: &str = "storm";

/// Chance from a seed.
pub(crate) struct Chance(Effects);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Effects::simulated(seed, Timestamp(0)))
    }
    /// A number below `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.0.random() % end
    }
    pub(crate) fn word(&self) -> String {
        self.0.hex32()
    }
}

#[allow(clippy::disallowed_methods)] // A test has no arguments but these.
pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Tells clients that the storm is over, also when the killer fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_storm_loses_doubles_and_leaves_nothing() {
    let seed = setting("LONGSHORE_STORM_SEED", Effects::real().random());
    let seconds = setting("LONGSHORE_STORM_SECONDS", SECONDS);
    eprintln!("LONGSHORE_STORM_SEED={seed} LONGSHORE_STORM_SECONDS={seconds}");
    let mut cluster = Cluster::start(INSTANCES);
    client::define(&cluster);
    let over = AtomicBool::new(false);
    let api = cluster.api();
    let (asked, deaths) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = Client::new(api.clone(), Chance::new(seed.wrapping_add(number + 1)));
                let over = &over;
                scope.spawn(move || client.run(over))
            })
            .collect();
        let deaths = {
            let _over = Over(&over);
            Killer::new(Chance::new(seed), Duration::from_secs(seconds)).run(&mut cluster)
        };
        let asked: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (asked, deaths)
    });
    eprintln!("{} tasks, {deaths:?}", asked.len());
    settle(&cluster, &asked);
    let problems = verdict::judge(&api, &asked, &deaths);
    assert!(problems.is_empty(), "seed {seed}:\n{}\n{}", problems.join("\n"), cluster.log());
    deaths.assert_it_was_a_storm();
    finish(&mut cluster);
}

/// Every session is back, what ends by itself has ended, the rest is stopped.
fn settle(cluster: &Cluster, asked: &[client::Asked]) {
    let api = cluster.api();
    cluster.until_connected(&api, INSTANCES as usize);
    let stopped = |of: &dyn Fn(&client::Asked) -> bool| {
        let arns: Vec<&str> = asked.iter().filter(|a| of(a)).map(|a| a.arn.as_str()).collect();
        arns.chunks(100).all(|some| {
            let told = api.ecs("DescribeTasks", &json!({ "tasks": some }));
            told["tasks"].as_array().unwrap().iter().all(|task| task["lastStatus"] == "STOPPED")
        })
    };
    until("what ends by itself", || stopped(&|a| a.ends_by_itself() || a.stop).then_some(()));
    for task in asked.iter().filter(|a| !a.ends_by_itself() && !a.stop) {
        api.ecs("StopTask", &json!({"task": task.arn, "reason": verdict::LAST_STOP}));
    }
    until("the last stops", || stopped(&|_| true).then_some(()));
}

/// Nothing is left of the tasks, the state proves itself while the server runs and afterwards, and nothing is left at all.
pub(crate) fn finish(cluster: &mut Cluster) {
    let mut left = Vec::new();
    let clean = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("a clean host", || {
            left = cluster.left_of_tasks();
            left.is_empty().then_some(())
        });
    }));
    assert!(clean.is_ok(), "tasks have left {left:#?}\n{}", cluster.log());
    let data = cluster.data().display().to_string();
    cluster.cli(&["state", "check", "--data-dir", &data]);
    assert!(cluster.stop_server(), "the server did not end well:\n{}", cluster.log());
    assert_eq!(cluster.traces(), Vec::<String>::new());
    cluster.cli(&["state", "check", "--data-dir", &data]);
}

/// All pages of a list.
pub(crate) fn pages(ask: impl Fn(&Value) -> Value, mut input: Value, member: &str) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let answer = ask(&input);
        all.extend(answer[member].as_array().cloned().unwrap_or_default());
        match answer["nextToken"].as_str() {
            Some(token) => input["nextToken"] = json!(token),
            None => return all,
        }
    }
}

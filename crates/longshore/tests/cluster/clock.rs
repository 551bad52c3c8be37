//! A clock that jumps, under server and agent, by hours and by weeks, ahead and back, across the life of certificates.
//!
//! Debian's libfaketime gives the processes another wall clock and reads from a file how far it is off; the clock that never
//! jumps stays as it is, as on a machine whose date is set.

use crate::{
    api::{Api, Trouble},
    harness::{Cluster, until},
    storm::finish,
};
use effects::Effects;
use serde_json::{Value, json};
use std::{fs, path::Path, time::Duration};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// The server forgets what is old once a minute; in this much time it has looked.
const FORGETS_WITHIN: Duration = Duration::from_secs(65);
/// What is measured to see whether something spins.
const IDLE: Duration = Duration::from_secs(4);

fn library() -> String {
    let dirs = fs::read_dir("/usr/lib").unwrap().flatten();
    let found = dirs.map(|d| d.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("libfaketime is missing: apt-get install faketime").display().to_string()
}

fn environment(dir: &Path) -> Vec<(String, String)> {
    let file = dir.join("clock");
    fs::write(&file, "+0").unwrap();
    let file = file.display().to_string();
    [
        ("LD_PRELOAD", library().as_str()),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

struct World {
    cluster: Cluster,
    /// Its clock jumps along.
    api: Api,
    /// Its clock stays right.
    bystander: Api,
}

impl World {
    /// Sets the clock so many seconds off the true one.
    fn jump(&self, seconds: i64) {
        // Renamed into place, because a half-written file would be a clock of its own.
        let (file, draft) = (self.cluster.path("clock"), self.cluster.path("clock.next"));
        fs::write(&draft, format!("{seconds:+}")).unwrap();
        fs::rename(draft, file).unwrap();
        self.api.set_ahead(seconds * 1000);
        until("the server's clock", || self.api.try_ecs("ListClusters", &json!({})).ok());
        self.assert_nothing_spins();
    }

    fn task(&self, arn: &str) -> Value {
        self.api.ecs("DescribeTasks", &json!({ "tasks": [arn] }))["tasks"][0].clone()
    }

    fn run(&self, family: &str) -> String {
        let answer = self.api.ecs("RunTask", &json!({ "taskDefinition": family }));
        answer["tasks"][0]["taskArn"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned()
    }

    fn wait(&self, arn: &str, status: &str) -> Value {
        until(&format!("{arn} {status}"), || Some(self.task(arn)).filter(|task| task["lastStatus"] == status))
    }

    /// A task lives its whole life, truthfully.
    fn live(&self) -> String {
        let arn = self.run("ends");
        let task = self.wait(&arn, "STOPPED");
        assert_eq!(task["containers"][0]["exitCode"], 5, "{task:#}\n{}", self.cluster.log());
        assert_forward(&task);
        arn
    }

    /// The words with which a client is refused whose clock is right.
    fn refusal(&self) -> String {
        match self.bystander.try_ecs("ListClusters", &json!({})) {
            Err(Trouble::Refused(error)) if error.code == "InvalidSignatureException" => error.message,
            other => panic!("{other:?}"),
        }
    }

    fn renewals(&self) -> usize {
        self.cluster.log().matches("the machine's certificate was renewed").count()
    }

    /// Server and agents idle: together they take less than half of one core. It is their own time that is counted, so a busy
    /// machine makes it less, never more.
    #[allow(clippy::disallowed_methods)] // A measurement needs a while.
    fn assert_nothing_spins(&self) {
        let pids = || self.cluster.agents().into_values().chain([self.cluster.server_pid()]);
        let used = || pids().map(ticks).sum::<u64>();
        let before = used();
        std::thread::sleep(IDLE);
        let percent = (used() - before) * 100 / (IDLE.as_secs() * TICKS_PER_SECOND);
        assert!(percent < 50, "idle, they use {percent} % of a core:\n{}", self.cluster.log());
    }
}

/// What the kernel counts processor time in, on every Linux there is.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time of a process.
fn ticks(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split(' ').skip(12).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn assert_forward(task: &Value) {
    let order = ["createdAt", "pullStartedAt", "pullStoppedAt", "startedAt", "executionStoppedAt", "stoppedAt"];
    let times: Vec<f64> = order.iter().filter_map(|name| task[name].as_f64()).collect();
    assert!(times.len() >= 2 && times.is_sorted(), "{task:#}");
}

#[test]
fn a_clock_that_jumps_stops_and_loses_nothing() {
    let cluster = Cluster::start_with(1, environment);
    cluster.define("stays", "sleep 10000");
    cluster.define("ends", "exit 5");
    let (api, bystander) = (cluster.api(), cluster.api());
    let mut world = World { cluster, api, bystander };
    let (stays, meets_its_end) = (world.run("stays"), world.run("stays"));
    world.wait(&stays, "RUNNING");
    world.wait(&meets_its_end, "RUNNING");
    let runtime_id = world.task(&stays)["containers"][0]["runtimeId"].clone();
    let before = world.live();

    // Ahead, beyond the life of certificates and of stopped tasks.
    let time = Effects::real();
    world.jump(40 * DAY);
    assert!(world.refusal().starts_with("Signature expired: "), "{}", world.refusal());
    until("the certificate's renewal", || (world.renewals() > 0).then_some(()));
    world.live();
    let (_, agent) = world.cluster.agents().pop_first().unwrap();
    Cluster::kill(agent);
    until("another agent", || world.cluster.agents().into_values().find(|now| *now != agent));
    world.cluster.until_connected(&world.api, 1);
    world.live();
    until("the server has looked for what is old", || (time.monotonic() > FORGETS_WITHIN).then_some(()));
    assert_eq!(world.task(&before)["taskArn"], before, "a month's stopped tasks vanished with one jump");

    // Back, to before anything here was made: to the server, its agent's certificate is one of the future.
    world.jump(-30 * HOUR);
    assert!(world.refusal().starts_with("Signature not yet current: "), "{}", world.refusal());
    world.live();
    let killed = world.cluster.server_pid();
    world.cluster.kill_server();
    // Not ours but the library's, which a killed process can not take along.
    for name in ["faketime_shm", "sem.faketime_sem"] {
        let _ = fs::remove_file(format!("/dev/shm/{name}_{killed}"));
    }
    world.cluster.launch_server();
    world.cluster.until_connected(&world.api, 1);
    world.live();
    world.api.ecs("StopTask", &json!({ "task": meets_its_end }));
    assert_forward(&world.wait(&meets_its_end, "STOPPED"));
    let (_, agent) = world.cluster.agents().pop_first().unwrap();
    Cluster::kill(agent);
    until("another agent", || world.cluster.agents().into_values().find(|now| *now != agent));
    world.cluster.until_connected(&world.api, 1);

    // And right again.
    world.jump(0);
    world.bystander.ecs("ListClusters", &json!({}));
    world.live();
    let shown = world.task(&stays);
    assert_eq!((&shown["lastStatus"], &shown["containers"][0]["runtimeId"]), (&json!("RUNNING"), &runtime_id));
    world.api.ecs("StopTask", &json!({ "task": stays }));
    assert_forward(&world.wait(&stays, "STOPPED"));
    finish(&mut world.cluster);
}

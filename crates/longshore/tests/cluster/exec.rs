//! ECS Exec when a part of it dies. How it is for those who use it, `tests/blackbox/test_exec.py` tells.

use crate::harness::{Cluster, longshore, processes, until};
use serde_json::json;
use std::process::{Child, Command, Stdio};
use testkit::spawn_bound;

/// Seconds that nothing else here sleeps.
const SLEEP: &str = "54321";

/// Somebody at a terminal in which that runs.
fn somebody(cluster: &Cluster, task: &str) -> Child {
    let mut command = Command::new(longshore());
    command.args(["exec", task, "sleep", SLEEP]).envs(cluster.environment()).env("HOME", cluster.path("home"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = spawn_bound(command, 9).unwrap();
    until("the command", sleeps);
    child
}

fn sleeps() -> Option<()> {
    processes().iter().any(|(_, words)| words == &["sleep", SLEEP]).then_some(())
}

#[test]
fn a_terminal_ends_with_whoever_holds_it() {
    let mut cluster = Cluster::start(1);
    cluster.define("long", "sleep 1000");
    let run = json!({"taskDefinition": "long", "enableExecuteCommand": true});
    let answer = cluster.api().ecs("RunTask", &run);
    let arn = answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned();
    cluster.wait(&arn, "RUNNING");
    let task = arn.rsplit('/').next().unwrap();

    let mut person = somebody(&cluster, task);
    let (_, agent) = cluster.agents().into_iter().next().unwrap();
    Cluster::kill(agent);
    assert!(!person.wait().unwrap().success(), "who sits there is told");
    until("the next agent ends what the killed one left", || sleeps().is_none().then_some(()));
    cluster.until_connected(&cluster.api(), 1);
    assert_eq!(cluster.task(&arn)["lastStatus"], "RUNNING");

    let mut person = somebody(&cluster, task);
    cluster.kill_server();
    assert!(!person.wait().unwrap().success());
    until("the agent ends what nobody holds any more", || sleeps().is_none().then_some(()));
    cluster.start_server();
    cluster.until_connected(&cluster.api(), 1);

    // The task's end is the terminal's.
    let mut person = somebody(&cluster, task);
    cluster.ecs("stop-task", &["--task", &arn]);
    cluster.wait(&arn, "STOPPED");
    assert!(!person.wait().unwrap().success());
    assert!(sleeps().is_none());
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

//! A partition: server and agents are both well and cannot hear each other. Tasks go on, what is asked meanwhile waits, and
//! afterwards each side learns what the other has done.

use crate::{
    api::Api,
    harness::{Cluster, key, processes, until},
    storm::finish,
};
use serde_json::{Value, json};
use std::process::Command;

/// Ends by itself after some eight seconds, with a code that nothing else gives.
const COUNTS_THEN_EXITS_42: &str = "i=0; while [ $i -lt 81 ]; do i=$((i+1)); sleep 0.1; done; exit 42";

/// Everything between host and instances is dropped without a word, as on a cable that was pulled far away.
struct Cut;

impl Cut {
    fn new(cluster: &Cluster) -> Self {
        let bridge = format!("lsb-{}", key(&cluster.data()));
        nft(&format!(
            "table inet cut {{
                chain in {{ type filter hook input priority -300; iifname \"{bridge}\" drop; }}
                chain out {{ type filter hook output priority -300; oifname \"{bridge}\" drop; }}
            }}"
        ));
        Self
    }
}

/// Changes the rules of the test's own network.
pub(crate) fn nft(rules: &str) {
    let out = Command::new("nft").arg(rules).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

impl Drop for Cut {
    fn drop(&mut self) {
        nft("delete table inet cut");
    }
}

fn task(api: &Api, arn: &str) -> Value {
    api.ecs("DescribeTasks", &json!({ "tasks": [arn] }))["tasks"][0].clone()
}

/// One task of the family on each instance.
fn one_each(api: &Api, family: &str) -> Vec<String> {
    let input = json!({"taskDefinition": family, "count": 2,
                       "placementStrategy": [{"type": "spread", "field": "instanceId"}]});
    let tasks = api.ecs("RunTask", &input)["tasks"].as_array().unwrap().clone();
    assert_eq!(tasks.len(), 2);
    tasks.iter().map(|task| task["taskArn"].as_str().unwrap().to_owned()).collect()
}

fn wait(api: &Api, arns: &[String], status: &str) -> Vec<Value> {
    until(&format!("{arns:?} {status}"), || {
        let tasks: Vec<_> = arns.iter().map(|arn| task(api, arn)).collect();
        tasks.iter().all(|task| task["lastStatus"] == status).then_some(tasks)
    })
}

fn counting() -> bool {
    processes().iter().any(|(_, words)| words.iter().any(|w| w.contains("-lt 81")))
}

#[test]
fn a_partition_heals_and_each_side_learns_what_the_other_did() {
    let mut cluster = Cluster::start(2);
    let api = cluster.api();
    cluster.define("stays", "sleep 10000");
    cluster.define("stopped", "trap 'exit 33' TERM; while :; do sleep 0.1; done");
    cluster.define("counts", COUNTS_THEN_EXITS_42);
    let stays = one_each(&api, "stays");
    let stopped = one_each(&api, "stopped");
    wait(&api, &stays, "RUNNING");
    let ran: Vec<_> = stays.iter().map(|arn| task(&api, arn)["containers"][0]["runtimeId"].clone()).collect();
    wait(&api, &stopped, "RUNNING");
    let counts = one_each(&api, "counts");
    wait(&api, &counts, "RUNNING");
    let agents = cluster.agents();

    let cut = Cut::new(&cluster);
    for arn in &stopped {
        let answer = api.ecs("StopTask", &json!({"task": arn, "reason": "while cut off"}));
        assert_eq!(
            (&answer["task"]["desiredStatus"], &answer["task"]["lastStatus"]),
            (&json!("STOPPED"), &json!("RUNNING"))
        );
    }
    until("the exits that nobody hears of", || (!counting()).then_some(()));
    until("the silence is noticed", || {
        let gone = api.ecs("ListContainerInstances", &json!({"filter": "agentConnected == false"}));
        (gone["containerInstanceArns"].as_array()?.len() == 2).then_some(())
    });
    // Nobody is there to place on, and that is said; nothing is held against the tasks.
    let refused = api.ecs("RunTask", &json!({"taskDefinition": "stays"}));
    assert_eq!(refused["failures"][0]["reason"], "AGENT", "{refused:#}");
    for arn in stays.iter().chain(&stopped).chain(&counts) {
        assert_eq!(task(&api, arn)["lastStatus"], "RUNNING");
    }
    // The server loses its memory of sessions in the middle of it.
    cluster.kill_server();
    cluster.launch_server();
    for arn in &stopped {
        let shown = task(&api, arn);
        assert_eq!((&shown["desiredStatus"], &shown["lastStatus"]), (&json!("STOPPED"), &json!("RUNNING")));
    }
    drop(cut);

    cluster.until_connected(&api, 2);
    for shown in wait(&api, &stopped, "STOPPED") {
        assert_eq!((&shown["stopCode"], &shown["stoppedReason"]), (&json!("UserInitiated"), &json!("while cut off")));
        let code = shown["containers"][0]["exitCode"].as_u64();
        assert!(code == Some(33) || code == Some(137), "{shown:#}");
    }
    for shown in wait(&api, &counts, "STOPPED") {
        assert_eq!(
            (&shown["stopCode"], &shown["containers"][0]["exitCode"]),
            (&json!("EssentialContainerExited"), &json!(42))
        );
    }
    let after: Vec<_> = stays.iter().map(|arn| task(&api, arn)).collect();
    for (shown, runtime_id) in after.iter().zip(&ran) {
        assert_eq!((&shown["lastStatus"], &shown["containers"][0]["runtimeId"]), (&json!("RUNNING"), runtime_id));
    }
    assert_eq!(cluster.agents(), agents, "agents that were cut off were replaced");
    assert_eq!(cluster.shims().len(), 2, "two tasks run, and nothing else");
    for arn in &stays {
        api.ecs("StopTask", &json!({ "task": arn }));
    }
    wait(&api, &stays, "STOPPED");
    finish(&mut cluster);
}

//! Health checks in real containers: what passes and fails is shown, also after the agent was killed, and a service replaces
//! what fails.

use crate::{
    api::Api,
    harness::{Cluster, processes, until},
};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A definition of two containers that run until they are told to end. The first one's check looks for a file.
fn define(cluster: &Cluster, api: &Api, family: &str) {
    let script = format!(": {family}-{}; trap exit TERM; while :; do sleep 0.1; done", std::process::id());
    let container = |name: &str, check: Value| {
        json!({
            "name": name, "image": cluster.image, "memory": 16, "stopTimeout": 2, "command": ["sh", "-c", script],
            "essential": name == "main", "healthCheck": check, "environment": [{"name": "BAD", "value": "/bad"}],
        })
    };
    let check =
        json!({"command": ["CMD-SHELL", "echo looking; test ! -e $BAD"], "interval": 5, "timeout": 2, "retries": 1});
    let containers = json!([container("main", check), container("aside", Value::Null)]);
    api.ecs("RegisterTaskDefinition", &json!({"family": family, "containerDefinitions": containers}));
}

/// The file that makes the check of that family's container fail, of each container that runs.
fn bad_files(family: &str) -> Vec<PathBuf> {
    let mark = format!(": {family}-{}; trap", std::process::id());
    let ours =
        |words: &Vec<String>| words.first().is_some_and(|w| w == "sh") && words.iter().any(|w| w.contains(&mark));
    let pids = processes().into_iter().filter(|(_, words)| ours(words)).map(|(pid, _)| pid);
    pids.map(|pid| PathBuf::from(format!("/proc/{pid}/root/bad"))).collect()
}

fn until_health(cluster: &Cluster, task: &str, want: &str) -> Value {
    until(&format!("{task} {want}"), || {
        let task = cluster.task(task);
        assert_eq!(task["lastStatus"], "RUNNING", "{task:#}\n{}", cluster.log());
        assert_eq!(task["containers"][0]["healthStatus"], task["healthStatus"], "{task:#}");
        assert_eq!(task["containers"][1]["healthStatus"], "UNKNOWN", "it has no check: {task:#}");
        (task["healthStatus"] == want).then_some(task)
    })
}

#[test]
fn a_check_is_tried_in_its_container_and_told() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    define(&cluster, &api, "alone");
    let task = cluster.run("alone", 1).remove(0);
    assert_eq!(cluster.wait(&task, "RUNNING")["healthStatus"], "UNKNOWN", "nothing was tried yet");
    until_health(&cluster, &task, "HEALTHY");

    // Who comes back knows what was known.
    for pid in cluster.agents().into_values() {
        Cluster::kill(pid);
    }
    let bad = bad_files("alone");
    assert_eq!(bad.len(), 2);
    bad.iter().for_each(|file| std::fs::write(file, "").unwrap());
    assert_eq!(cluster.task(&task)["healthStatus"], "HEALTHY");
    until_health(&cluster, &task, "UNHEALTHY");
    bad.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    until_health(&cluster, &task, "HEALTHY");
}

#[test]
fn a_service_replaces_what_fails_its_check() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    define(&cluster, &api, "kept");
    let described = || api.ecs("DescribeServices", &json!({"services": ["web"]}))["services"][0].clone();
    let told = |service: &Value, message: &str| {
        service["events"].as_array().unwrap().iter().any(|event| event["message"].as_str().unwrap() == message)
    };
    api.ecs("CreateService", &json!({"serviceName": "web", "taskDefinition": "kept", "desiredCount": 1}));
    let steady = "(service web) has reached a steady state.";
    until("a steady state", || told(&described(), steady).then_some(()));
    let tasks = || api.ecs("ListTasks", &json!({"serviceName": "web"}))["taskArns"].as_array().unwrap().clone();
    let [first] = &tasks()[..] else { panic!("not one task: {:?}", tasks()) };
    let first = first.as_str().unwrap();
    assert_eq!(cluster.task(first)["healthStatus"], "HEALTHY", "the service was steady no sooner");
    bad_files("kept").iter().for_each(|file| std::fs::write(file, "").unwrap());
    let gone = until("the end of what fails", || {
        let task = cluster.task(first);
        (task["lastStatus"] == "STOPPED").then_some(task)
    });
    assert_eq!(gone["stoppedReason"], "Task failed container health checks", "{gone:#}");
    assert_eq!(gone["stopCode"], "ServiceSchedulerInitiated");
    let [second] = &tasks()[..] else { panic!("not one task: {:?}", tasks()) };
    assert_eq!(cluster.task(second.as_str().unwrap())["healthStatus"], "HEALTHY", "it came first");
    let id = first.rsplit('/').next().unwrap();
    let message = format!("(service web) (task {id}) failed container health checks.");
    assert!(told(&described(), &message), "{:#}", described()["events"]);
}

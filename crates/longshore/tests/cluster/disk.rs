//! Full disks, one below each part of a cluster: what is refused, what goes on, and that all is well once there is room.

use crate::harness::{Cluster, longshore, python, until};
use serde_json::{Value, json};
use std::{cell::OnceCell, process::Command};
use testkit::{disk::SmallDisk, isolate_mounts};

/// Makes clusters until one is refused; prints those that were answered, and the refusal.
const CREATE_UNTIL_REFUSED: &str = r#"
import boto3, botocore, json
ecs = boto3.client("ecs", config=botocore.config.Config(retries={"max_attempts": 0}))
made, refusal = [], None
for number in range(100000):
    name = f"PREFIX-{number}-" + "x" * 200
    try:
        ecs.create_cluster(clusterName=name)
    except botocore.exceptions.ClientError as error:
        answer = error.response
        refusal = [answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]]
        break
    made.append(name)
print(json.dumps({"made": made, "refusal": refusal}))
"#;
/// Prints the names of all clusters.
const LIST: &str = r#"
import boto3, json
pages = boto3.client("ecs").get_paginator("list_clusters").paginate()
print(json.dumps([arn.rsplit("/", 1)[1] for page in pages for arn in page["clusterArns"]]))
"#;

fn script(cluster: &Cluster, text: &str) -> Value {
    let out = cluster.client(&python(), &["-c", text]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_full_disk_under_the_state_refuses_writes_and_loses_none() {
    isolate_mounts().unwrap();
    let disk = OnceCell::new();
    let mut cluster = Cluster::start_with(1, |dir| {
        let data = dir.join("data");
        let small = SmallDisk::mount(&data.join("state"), 16).unwrap();
        disk.set(small).unwrap();
        Vec::new()
    });
    let disk = disk.get().unwrap();
    cluster.define("long", "sleep 1000");
    cluster.define_told("told");
    let long = cluster.run("long", 1);
    cluster.wait(&long[0], "RUNNING");
    let mut answered = Vec::new();
    let mut write_until_full = |cluster: &Cluster, prefix: &str| {
        disk.fill_all_but(64 << 10).unwrap();
        let told = script(cluster, &CREATE_UNTIL_REFUSED.replace("PREFIX", prefix));
        let words = "The server cannot write its state now; its disk is full.";
        assert_eq!(told["refusal"], json!([503, "ServerException", words]));
        answered.extend(names(&told["made"]));
        let there = names(&script(cluster, LIST));
        assert!(answered.iter().all(|name| there.contains(name)), "an answered write is lost");
    };

    // A task ends while nothing can be written; reads go on.
    let told = cluster.run("told", 1);
    cluster.wait(&told[0], "RUNNING");
    write_until_full(&cluster, "first");
    cluster.end_told();
    assert_eq!(cluster.task(&long[0])["lastStatus"], "RUNNING");
    // With room again the server works by itself, and hears of what happened meanwhile.
    disk.make_room().unwrap();
    until("a write", || {
        cluster
            .client(&python(), &["-m", "awscli", "ecs", "create-cluster", "--cluster-name", "again"])
            .status
            .success()
            .then_some(())
    });
    assert_eq!(cluster.wait(&told[0], "STOPPED")["containers"][0]["exitCode"], 42);

    // Killed while full. Whether it can start now depends on what room its files still have; else it says why it does not.
    write_until_full(&cluster, "second");
    disk.fill().unwrap();
    cluster.kill_server();
    cluster.launch_server();
    until("an answer or an end", || {
        let answers = cluster.client(&python(), &["-c", LIST]).status.success();
        (answers || cluster.server_has_ended()).then_some(())
    });
    let ended = cluster.server_has_ended();
    assert!(!ended || cluster.log().contains("disk is full"), "{}", cluster.log());
    disk.make_room().unwrap();
    if ended {
        cluster.start_server();
    } else {
        cluster.wait_for_instances();
    }
    let there = names(&script(&cluster, LIST));
    assert!(answered.iter().all(|name| there.contains(name)), "an answered write is lost");
    assert!(there.contains(&"again".to_owned()));
    assert_eq!(cluster.task(&long[0])["lastStatus"], "RUNNING");
    let check =
        Command::new(longshore()).args(["state", "check", "--data-dir"]).arg(cluster.path("data")).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn full_disks_under_ledger_images_and_logs_hold_things_up_and_break_nothing() {
    isolate_mounts().unwrap();
    let disks = OnceCell::new();
    let mut cluster = Cluster::start_with(1, |dir| {
        let data = dir.join("data");
        let small = |name: &str, mebibytes| SmallDisk::mount(&data.join(name), mebibytes).unwrap();
        // The log store keeps 64 MiB free.
        disks.set((small("containerd/root", 32), small("logs", 96))).unwrap();
        Vec::new()
    });
    let (images, logs) = disks.get().unwrap();
    // The agent has a mount table of its own.
    let (instance, agent) = cluster.agents().into_iter().next().unwrap();
    let ledger = cluster.path("data/instances").join(instance).join("tasks").display().to_string();
    let at_the_agents = |script: &str| {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &agent.to_string(), "sh", "-c", script, "sh", &ledger]);
        command.output().unwrap().status.success()
    };
    assert!(at_the_agents("mount -t tmpfs -o size=1m small-disk $1"));
    cluster.define("long", "sleep 1000");
    cluster.define_told("told");

    // Images: the pull fails and says why; with room the next one works.
    images.fill().unwrap();
    let refused = cluster.run("long", 1);
    let task = cluster.wait(&refused[0], "STOPPED");
    assert_eq!(task["stopCode"], "TaskFailedToStart", "{task:#}");
    let reason = task["containers"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("CannotPullContainerError: ") && reason.contains("no space left on device"), "{reason}");
    images.make_room().unwrap();
    let (long, told) = (cluster.run("long", 1), cluster.run("told", 1));
    cluster.wait(&long[0], "RUNNING");
    cluster.wait(&told[0], "RUNNING");

    // Ledger: what runs runs on and its end is kept; what is new waits, and is neither lost nor done twice.
    assert!(!at_the_agents("cat /dev/zero >$1/filler"), "the disk is full");
    let waits = cluster.run("long", 1);
    until("the agent's trouble", || cluster.log().contains("an agent's session ended").then_some(()));
    assert_eq!(cluster.task(&waits[0])["lastStatus"], "PENDING");
    assert_eq!(cluster.task(&long[0])["lastStatus"], "RUNNING");
    cluster.end_told();
    assert!(at_the_agents("rm $1/filler"));
    assert_eq!(cluster.wait(&told[0], "STOPPED")["containers"][0]["exitCode"], 42);
    cluster.wait(&waits[0], "RUNNING");
    assert!(at_the_agents("umount $1"));

    // Logs: output waits with the agent, and comes once and whole.
    logs.fill_all_but(32 << 20).unwrap();
    let container = json!([{
        "name": "main", "image": cluster.image, "memory": 16,
        "command": ["sh", "-c", "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo line $i; done"],
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "kept", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p", "awslogs-create-group": "true",
        }},
    }]);
    cluster.ecs("register-task-definition", &["--family", "prints", "--container-definitions", &container.to_string()]);
    let prints = cluster.run("prints", 1);
    assert_eq!(cluster.wait(&prints[0], "STOPPED")["containers"][0]["exitCode"], 0);
    until("output that could not be kept", || {
        cluster.log().contains("container output could not be kept").then_some(())
    });
    logs.make_room().unwrap();
    let lines = until("the output", || {
        let arguments = ["-m", "awscli", "logs", "filter-log-events", "--log-group-name", "kept", "--output", "json"];
        let out = cluster.client(&python(), &arguments);
        let answer: Value = serde_json::from_slice(&out.stdout).ok()?;
        let lines: Vec<_> = answer["events"].as_array()?.iter().map(|e| e["message"].clone()).collect();
        (lines.len() >= 200).then_some(lines)
    });
    assert_eq!(lines, (1..=200).map(|i| json!(format!("line {i}"))).collect::<Vec<_>>());
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

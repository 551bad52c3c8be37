//! Container output under kill -9 and without a server: events stay whole and come once, and files do not grow without end.

use crate::harness::{Cluster, python, until};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What files may take in the test, in bytes: half a MiB as the containers' options say, and some of what is written between
/// two looks.
const BOUND: u64 = 3 << 19;
/// Lines of 200 bytes: far more than the bound.
const MANY: u64 = 12_000;
/// At most 1 MiB a second, numbered.
const LOUD: &str = "x=$(printf %0180d 0); i=0; while true; do n=0; while [ $n -lt 500 ]; do echo \"line $i $x\"; \
                    i=$((i+1)); n=$((n+1)); done; sleep 0.1; done";

fn define(cluster: &Cluster, family: &str, script: &str, driver: &str, options: &Value) {
    let container = json!([{
        "name": "main", "image": cluster.image, "memory": 32, "cpu": 512, "stopTimeout": 2, "command": ["sh", "-c", script],
        "logConfiguration": {"logDriver": driver, "options": options},
    }]);
    cluster.ecs("register-task-definition", &["--family", family, "--container-definitions", &container.to_string()]);
}

fn messages(cluster: &Cluster, group: &str) -> Vec<String> {
    let all = ["-m", "awscli", "logs", "filter-log-events", "--output", "json", "--log-group-name", group];
    let out = cluster.client(&python(), &all);
    let Ok(answer) = serde_json::from_slice::<Value>(&out.stdout) else { return Vec::new() };
    let events = answer["events"].as_array().unwrap();
    events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

/// The file a task's only container writes to.
fn output_file(cluster: &Cluster, arn: &str) -> PathBuf {
    fn find(dir: &Path, name: &str) -> Option<PathBuf> {
        fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
            let path = entry.path();
            if entry.file_name() == name {
                return Some(path);
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) { find(&path, name) } else { None }
        })
    }
    let task = cluster.task(arn);
    let name = format!("{}.log", task["containers"][0]["runtimeId"].as_str().unwrap());
    until("the output's file", || find(&cluster.path("data/instances"), &name))
}

fn takes(file: &Path) -> u64 {
    fs::metadata(file).unwrap().blocks() * 512
}

#[test]
fn a_killed_agent_loses_and_doubles_no_part_of_an_event() {
    let mut cluster = Cluster::start(1);
    // Every eighth event pauses for longer than events are held, so that some are ended by time.
    let script = "i=0; while [ $i -lt 40 ]; do echo \">event $i\"; echo \" more $i\"; \
                  if [ $((i % 8)) = 7 ]; then sleep 2; else sleep 0.2; fi; echo \" last $i\"; i=$((i+1)); done";
    let options = json!({
        "awslogs-group": "events", "awslogs-create-group": "true", "awslogs-stream-prefix": "p",
        "awslogs-multiline-pattern": "^>", "awslogs-force-flush-interval-seconds": "1",
    });
    define(&cluster, "events", script, "awslogs", &options);
    let arn = cluster.run("events", 1).remove(0);
    cluster.wait(&arn, "RUNNING");
    let whole = |number: u32| format!(">event {number}\n more {number}\n last {number}\n");
    for seen in [2, 12, 22, 30] {
        let sign = format!(">event {seen}\n");
        until(&sign, || messages(&cluster, "events").iter().any(|event| event.starts_with(&sign)).then_some(()));
        let (_, pid) = cluster.agents().into_iter().next().unwrap();
        Cluster::kill(pid);
        until("another agent", || cluster.agents().into_values().find(|now| *now != pid));
    }
    cluster.wait(&arn, "STOPPED");
    let all: String = (0..40).map(whole).collect();
    until("all output", || (messages(&cluster, "events").concat().len() >= all.len()).then_some(()));
    let events = messages(&cluster, "events");
    assert_eq!(events.concat(), all, "nothing is lost, doubled or out of order");
    assert!(events.contains(&whole(1)), "{events:?}");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn output_is_bounded_while_nobody_takes_it() {
    let mut cluster = Cluster::start(1);
    let shipped = json!({
        "awslogs-group": "loud", "awslogs-create-group": "true", "awslogs-stream-prefix": "p",
        "mode": "non-blocking", "max-buffer-size": "512k",
    });
    define(&cluster, "shipped", LOUD, "awslogs", &shipped);
    define(&cluster, "local", LOUD, "json-file", &json!({"max-size": "250k", "max-file": "2"}));
    let tasks = [cluster.run("shipped", 1).remove(0), cluster.run("local", 1).remove(0)];
    for arn in &tasks {
        cluster.wait(arn, "RUNNING");
    }
    let [shipped, local] = [output_file(&cluster, &tasks[0]), output_file(&cluster, &tasks[1])];
    until("the first lines", || (!messages(&cluster, "loud").is_empty()).then_some(()));
    cluster.kill_server();
    let before = fs::metadata(&shipped).unwrap().len();
    until("much more output than may wait", || {
        (fs::metadata(&shipped).unwrap().len() > before + MANY * 200).then_some(())
    });
    until("the oldest to be dropped", || (takes(&shipped) < BOUND).then_some(()));
    until("much more local output than is kept", || {
        let bytes = fs::read(&local).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let number = text.lines().rev().nth(1)?.split(' ').nth(1)?.parse::<u64>().unwrap();
        (number > MANY).then_some(())
    });
    until("the local file to be cut", || (takes(&local) < BOUND).then_some(()));

    cluster.start_server();
    for arn in &tasks {
        cluster.ecs("stop-task", &["--task", arn]);
    }
    for arn in &tasks {
        cluster.wait(arn, "STOPPED");
    }
    let number = |line: &String| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    let numbers: Vec<u64> = messages(&cluster, "loud").iter().map(number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, and none twice");
    let gaps: Vec<u64> = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|gap| *gap > 0).collect();
    assert!(gaps.iter().sum::<u64>() > MANY / 2, "what was dropped is missing: {gaps:?}");
    assert!(cluster.log().contains("the oldest is dropped"), "and that is told:\n{}", cluster.log());
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

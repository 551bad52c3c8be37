//! ECS Exec when a part of it dies. How it is for those who use it, `tests/blackbox/test_exec.py` tells.

use crate::{
    api::Api,
    harness::{Cluster, longshore, processes, until},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};
use testkit::spawn_bound;

/// Seconds that nothing else on the machine sleeps: each test is a process.
fn seconds() -> String {
    (10_000_000 + std::process::id()).to_string()
}

/// Somebody at a terminal in which that runs.
fn somebody(cluster: &Cluster, task: &str) -> Child {
    let mut command = Command::new(longshore());
    command.args(["exec", task, "sleep", &seconds()]).envs(cluster.environment()).env("HOME", cluster.path("home"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = spawn_bound(command, 9).unwrap();
    until("the command", sleeps);
    child
}

fn sleeps() -> Option<()> {
    let ours = ["sleep".to_owned(), seconds()];
    processes().iter().any(|(_, words)| *words == ours).then_some(())
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

/// A task that takes commands.
fn open_task(cluster: &Cluster, family: &str) -> String {
    let answer = cluster.api().ecs("RunTask", &json!({"taskDefinition": family, "enableExecuteCommand": true}));
    let arn = answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned();
    cluster.wait(&arn, "RUNNING");
    arn.rsplit('/').next().unwrap().to_owned()
}

/// Somebody who has been shown that line, and is shown nothing more.
fn shown(cluster: &Cluster, task: &str, line: &str) -> Child {
    let mut command = Command::new(longshore());
    let script = format!("echo {line}; exec sleep {}", seconds());
    command
        .args(["exec", task, "--", "sh", "-c", &script])
        .envs(cluster.environment())
        .env("HOME", cluster.path("home"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = spawn_bound(command, 9).unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first.trim_end(), line);
    child
}

/// What is kept of what sessions have shown.
fn kept(api: &Api) -> Vec<Value> {
    let input = json!({"logGroupName": "audit", "logStreamNamePrefix": "ecs-execute-command-"});
    let answer = api.logs("FilterLogEvents", &input);
    answer["events"].as_array().unwrap().iter().map(|event| event["message"].clone()).collect()
}

#[test]
fn what_was_shown_is_kept_whatever_dies() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    api.logs("CreateLogGroup", &json!({"logGroupName": "audit"}));
    let logging = json!({"logging": "OVERRIDE", "logConfiguration": {"cloudWatchLogGroupName": "audit"}});
    let configuration = json!({"executeCommandConfiguration": logging});
    api.ecs("UpdateCluster", &json!({"cluster": "default", "configuration": configuration}));
    cluster.define("long", "sleep 1000");
    let task = open_task(&cluster, "long");

    let mut person = shown(&cluster, &task, "agent");
    let (_, agent) = cluster.agents().into_iter().next().unwrap();
    Cluster::kill(agent);
    assert!(!person.wait().unwrap().success());
    until("the next agent ends what the killed one left", || sleeps().is_none().then_some(()));
    cluster.until_connected(&api, 1);
    assert_eq!(kept(&api), ["agent"]);

    let mut person = shown(&cluster, &task, "server");
    cluster.kill_server();
    assert!(!person.wait().unwrap().success());
    until("the agent ends what nobody holds any more", || sleeps().is_none().then_some(()));
    cluster.start_server();
    let api = cluster.api();
    cluster.until_connected(&api, 1);
    assert_eq!(kept(&api), ["agent", "server"], "a line was kept before it was shown");

    // It is kept as the task's role.
    let other = json!([{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}]);
    let role = api.task_role("mute", &other);
    let container = json!({"name": "main", "image": cluster.image, "command": ["sleep", "1000"], "memory": 64});
    let definition = json!({"family": "mute", "taskRoleArn": role, "containerDefinitions": [container]});
    api.ecs("RegisterTaskDefinition", &definition);
    let task = open_task(&cluster, "mute");
    let say = || cluster.client(longshore(), &["exec", &task, "--", "echo", "may"]);
    let refused = say();
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(255), "{words}");
    assert!(words.contains("is not authorized to perform: logs:CreateLogStream"), "{words}");
    assert_eq!(kept(&api).len(), 2, "nothing was run");
    let all = json!({"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"});
    let document = json!({"Version": "2012-10-17", "Statement": [all]}).to_string();
    api.iam("PutRolePolicy", &json!({"RoleName": "mute", "PolicyName": "own", "PolicyDocument": document}));
    assert!(say().status.success());
    assert_eq!(kept(&api), ["agent", "server", "may"]);
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

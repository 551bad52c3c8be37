//! Service Connect between real containers: a name leads to the tasks behind it, while they are replaced and when agents die.

use crate::{
    api::Api,
    awsvpc::{Running, Vpc, define, pid_at},
    harness::{Cluster, until},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Longest that nobody may answer: a task that is told to stop ends at once here, and until the client's instance has heard of
/// it, each second connection meets it. What is promised is a second; the rest is for slow machines.
const UNANSWERED: Duration = Duration::from_secs(3);

/// Runs a shell's words inside the task's container, with the files and the resolver that its programs have.
fn inside(task: &Running, script: &str) -> Command {
    let pid = pid_at(&task.address).expect("the task runs");
    let mut command = Command::new("nsenter");
    command.args([&format!("--net=/proc/{pid}/ns/net"), &format!("--mount=/proc/{pid}/ns/mnt"), "sh", "-c", script]);
    command
}

/// What the name leads the task to.
fn address(task: &Running) -> Option<String> {
    let out = inside(task, "nslookup -type=a api 169.254.169.253").output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let answer = said.lines().skip_while(|line| !line.starts_with("Name:"));
    answer.filter_map(|line| line.strip_prefix("Address: ")).map(str::to_owned).next()
}

fn is_answered(task: &Running, at: &str) -> bool {
    let out = inside(task, &format!("echo ask | nc -w 1 {at} 8000")).output().unwrap();
    String::from_utf8_lossy(&out.stdout).contains("answer")
}

fn service(api: &Api, name: &str, count: u32, network: &Value, connect: &Value) {
    api.ecs(
        "CreateService",
        &json!({
            "serviceName": name, "taskDefinition": "api", "desiredCount": count, "networkConfiguration": network,
            "deploymentConfiguration": {"minimumHealthyPercent": 50, "maximumPercent": 100},
            "serviceConnectConfiguration": connect,
        }),
    );
}

fn running(api: &Api, service: &str) -> Vec<Running> {
    let arns = api.ecs("ListTasks", &json!({"serviceName": service}))["taskArns"].clone();
    if arns.as_array().unwrap().is_empty() {
        return Vec::new();
    }
    let tasks = api.ecs("DescribeTasks", &json!({"tasks": arns}))["tasks"].as_array().unwrap().clone();
    tasks.iter().filter(|task| task["lastStatus"] == "RUNNING").map(Running::of).collect()
}

fn define_api(cluster: &Cluster, api: &Api) {
    let script = "trap exit TERM; nc -ll -p 80 -e echo answer & nc -ll -p 81 -e cat & while :; do sleep 0.1; done";
    let container = json!({
        "name": "main", "image": cluster.image, "memory": 16, "stopTimeout": 2, "command": ["sh", "-c", script],
        "portMappings": [{"containerPort": 80, "name": "http", "appProtocol": "http"}, {"containerPort": 81, "name": "echo"}],
    });
    let definition = json!({"family": "api", "networkMode": "awsvpc", "containerDefinitions": [container]});
    api.ecs("RegisterTaskDefinition", &definition);
}

#[test]
#[allow(clippy::disallowed_methods)] // Real processes take real time.
fn an_alias_is_answered_while_its_tasks_are_replaced_and_agents_die() {
    let cluster = Cluster::start(2);
    let api = cluster.api();
    define(&cluster, &api);
    define_api(&cluster, &api);
    let vpc = Vpc::new(&api, "10.7");
    let (clients, servers) = (vpc.group("clients"), vpc.group("servers"));
    for port in [80, 81] {
        vpc.rule("AuthorizeSecurityGroupIngress", &servers, port, &clients);
    }
    api.discovery("CreateHttpNamespace", &json!({"Name": "mesh"}));
    let alias = |port: u16| json!([{"port": port, "dnsName": "api"}]);
    let ports = json!([
        {"portName": "http", "discoveryName": "api", "clientAliases": alias(8000)},
        {"portName": "echo", "clientAliases": alias(8001)},
    ]);
    let connect = json!({"enabled": true, "namespace": "mesh", "services": ports});
    service(&api, "api", 2, &vpc.configuration(&[&servers]), &connect);
    let connect = json!({"enabled": true, "namespace": "mesh"});
    service(&api, "client", 1, &vpc.configuration(&[&clients]), &connect);
    let client = until("the client", || running(&api, "client").pop());
    until("both servers", || (running(&api, "api").len() == 2).then_some(()));
    until("an answer", || is_answered(&client, "api").then_some(()));
    // Two fit onto an instance: with the client at least one of the servers is elsewhere, and each has its turn.
    let other = vpc.run(&cluster, "web", &[&clients]);
    assert_eq!(address(&other), None);
    assert!(!is_answered(&other, "api"), "a task without Service Connect knows no names");

    // A connection lives on when all agents are killed, and new ones are answered while nobody is there to see to it.
    let mut talk = inside(&client, "nc api 8001").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut say, mut hear) = (talk.stdin.take().unwrap(), BufReader::new(talk.stdout.take().unwrap()));
    let mut echoes = |word: &str| {
        writeln!(say, "{word}").unwrap();
        let mut heard = String::new();
        hear.read_line(&mut heard).unwrap();
        assert_eq!(heard.trim_end(), word);
    };
    echoes("before");
    let at = address(&client).expect("the name is known");
    let agents = cluster.agents();
    agents.values().for_each(|pid| Cluster::kill(*pid));
    echoes("without agents");
    // Only who asks for the name again has to wait for one.
    assert!((0..4).all(|_| is_answered(&client, &at)), "new connections need no agent");
    until("new agents", || {
        let now = cluster.agents();
        (now.len() == 2 && now.values().all(|pid| !agents.values().any(|old| old == pid))).then_some(())
    });
    cluster.until_connected(&api, 2);
    echoes("after");
    assert_eq!(until("the name again", || address(&client)), at);
    talk.kill().unwrap();
    talk.wait().unwrap();

    // All servers are replaced, one after the other.
    let before: Vec<String> = running(&api, "api").into_iter().map(|task| task.arn).collect();
    api.ecs("UpdateService", &json!({"service": "api", "forceNewDeployment": true}));
    let mut last = Instant::now();
    until("new servers", || {
        if is_answered(&client, "api") {
            last = Instant::now();
        }
        assert!(last.elapsed() < UNANSWERED, "nobody has answered for {:?}", last.elapsed());
        let now = running(&api, "api");
        (now.len() == 2 && now.iter().all(|task| !before.contains(&task.arn))).then_some(())
    });
    assert!((0..10).all(|_| is_answered(&client, "api")), "only those that are there are behind the name");
}

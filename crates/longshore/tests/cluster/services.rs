//! Services as people drive them from the command line: a compose file kept running, an image that cannot be had and is
//! undone, and a one-off task that is as if it ran here.

use crate::harness::{Cluster, longshore, until};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    process::{Child, Command, Output},
};
use tempfile::NamedTempFile;

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn compose(cluster: &Cluster, command: &str) {
    let logging =
        "{driver: awslogs, options: {awslogs-group: lg, awslogs-region: us-east-1, awslogs-stream-prefix: p}}";
    let file = format!(
        "version: '3'\nservices: {{main: {{image: '{}', command: \"{command}\", logging: {logging}, stop_grace_period: 1s}}}}",
        cluster.image
    );
    std::fs::write(cluster.path("docker-compose.yml"), file).unwrap();
}

fn status(cluster: &Cluster) -> Value {
    serde_json::from_str(&cluster.cli(&["service", "status", "web", "--output", "json"])).unwrap()
}

/// `longshore events --follow`, as long as it is there.
struct Follower {
    child: Child,
    shown: NamedTempFile,
}

impl Follower {
    fn start(cluster: &Cluster) -> Self {
        let shown = NamedTempFile::new().unwrap();
        let mut command = Command::new(longshore());
        command.args(["events", "--follow", "--service", "web", "--output", "json"]).envs(cluster.environment());
        command.env("HOME", cluster.path(""));
        let child = command.stdout(shown.reopen().unwrap()).spawn().unwrap();
        Self { child, shown }
    }

    /// What it has shown so far; the last line may be on its way.
    fn events(&self) -> Vec<Value> {
        let shown = std::fs::read_to_string(self.shown.path()).unwrap();
        let whole = shown.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn has(&self, what: &str) -> bool {
        self.events().iter().any(|event| event["detail"]["eventName"] == what || event["detail-type"] == what)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_service_from_the_command_line() {
    let cluster = Cluster::start(2);
    let follower = Follower::start(&cluster);
    compose(&cluster, "sh -c 'echo up; trap exit TERM; while :; do sleep 0.1; done'");
    let service = |arguments: &[&str]| cluster.cli(&[&["compose", "-p", "web", "service"], arguments].concat());
    service(&["up", "--create-log-groups"]);
    let up = service(&["scale", "2"]);
    assert!(up.contains("ECS Service has reached a stable state desiredCount=2 runningCount=2"), "{up}");
    assert_eq!(service(&["ps"]).matches("/main  RUNNING").count(), 2, "{}", service(&["ps"]));

    // A task is named as `ps` shows it, by how its id begins, and with its container or without.
    let shown = service(&["ps"]);
    let name = shown.lines().find_map(|line| line.split_whitespace().next().filter(|name| name.ends_with("/main")));
    let name = name.unwrap();
    let id = name.split('/').nth(1).unwrap();
    for name in [name, id, &id[..12], &format!("{}/main", &id[..12])] {
        until("its output", || (cluster.cli(&["logs", "--task-id", name]) == "up\n").then_some(()));
    }

    // Whoever has services is told so before anything of the cluster goes.
    let down = cluster.client(longshore(), &["down", "--force"]);
    assert_eq!(down.status.code(), Some(1), "{}", said(&down));
    let words = "Cluster default has services (1); nothing was taken down";
    assert!(said(&down).contains(words) && said(&down).contains("web"), "{}", said(&down));
    cluster.until_connected(&cluster.api(), 2);

    // An image that cannot be had, before anything was completed: there is nothing to go back to, and that is said.
    let breaker = |set: &str| {
        let breaker = format!("deploymentCircuitBreaker={{{set},thresholdConfiguration={{type=COUNT,value=1}}}}");
        cluster.ecs("update-service", &["--service", "web", "--deployment-configuration", &breaker]);
    };
    let fails = |image: &str| {
        let out = cluster.client(longshore(), &["deploy", "web", "--image", image, "--output", "json"]);
        assert_eq!(out.status.code(), Some(1), "{}\n{}", said(&out), cluster.log());
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&out)));
        assert!(said(&out).contains("CannotPullContainerError"), "{}", said(&out));
        (answer, said(&out))
    };
    breaker("enable=true,rollback=true");
    let (answer, told) = fails("127.0.0.1:1/nowhere:1");
    assert_eq!((&answer["outcome"], &answer["taskDefinition"]), (&json!("failed"), &json!("web:2")), "{answer:#}");
    assert!(told.contains("There is nothing to go back to: no deployment of web was ever completed."), "{told}");
    let back = cluster.cli(&["deploy", "web", "--task-definition", "web:1"]);
    assert!(back.contains("web:1 is deployed to web"), "{back}");

    // Now the circuit breaker goes back, and the last failures tell why.
    let (answer, _) = fails("127.0.0.1:1/nowhere:2");
    assert_eq!(answer["outcome"], "rolledBack", "{answer:#}");
    let after = status(&cluster);
    assert_eq!((&after["taskDefinition"], &after["running"]), (&json!("web:1"), &json!(2)), "{after:#}");
    assert_eq!(after["failures"][0]["stopCode"], "TaskFailedToStart", "{after:#}");

    // Without a breaker nobody would end it: it is given up, and the server takes it back.
    breaker("enable=false,rollback=false");
    let (answer, told) = fails("127.0.0.1:1/nowhere:3");
    assert_eq!(answer["outcome"], "rolledBack", "{answer:#}");
    for part in ["tasks in a row did not start: main: CannotPullContainerError", "web is back at web:1"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let after = status(&cluster);
    assert_eq!((&after["taskDefinition"], &after["stable"]), (&json!("web:1"), &json!(true)), "{after:#}");

    // A deployment that is paused before anything starts says who can let it go on, and goes on.
    let pause = json!({"targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"]});
    let how = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, "lifecycleHooks": [pause]});
    let blue = json!({
        "serviceName": "blue", "taskDefinition": "web:1", "desiredCount": 1, "deploymentConfiguration": how,
    });
    cluster.api().ecs("CreateService", &blue);
    let paused = cluster.cli(&["service", "status", "blue"]);
    for part in [
        "The current one is in the stage PRE_SCALE_UP",
        "hook pre-scale-up-1 awaits an action",
        "longshore service continue blue --cluster default;",
    ] {
        assert!(paused.contains(part), "{part}: {paused}");
    }
    let on = cluster.cli(&["service", "continue", "blue"]);
    assert!(on.contains("The deployment of blue goes on from the stage PRE_SCALE_UP (hook pre-scale-up-1)"), "{on}");
    let again = cluster.client(longshore(), &["service", "continue", "blue"]);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    assert!(
        said(&again).contains("No hook of blue awaits an action; its deployment is IN_PROGRESS"),
        "{}",
        said(&again)
    );
    cluster.ecs("delete-service", &["--service", "blue", "--force"]);

    // One task of the same definition with another command.
    let once = ["run", "web:1", "--wait", "--env", "WHO=world", "--command", "sh -c 'echo hello $WHO; exit 42'"];
    let out = cluster.client(longshore(), &once);
    assert_eq!(
        (out.status.code(), String::from_utf8_lossy(&out.stdout).as_ref()),
        (Some(42), "hello world\n"),
        "{}",
        said(&out)
    );

    // Whoever followed has seen all of it come, each event once.
    let names = ["TASKS_STARTED", "TASKS_STOPPED", "SERVICE_STEADY_STATE", "SERVICE_DEPLOYMENT_IN_PROGRESS"];
    let more = ["SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED", "ECS Task State Change"];
    for what in names.into_iter().chain(more) {
        until(what, || follower.has(what).then_some(()));
    }
    let events = follower.events();
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), events.len(), "{events:#?}");
    let of_others = |event: &&Value| event["detail"]["group"].as_str().is_some_and(|group| group != "service:web");
    assert_eq!(events.iter().find(of_others), None);

    service(&["rm"]);
    let gone = status(&cluster);
    assert_eq!((&gone["status"], &gone["running"]), (&json!("INACTIVE"), &json!(0)), "{gone:#}");
}

//! kill -9 of each part while tasks run: they run on, and what became of them is told truthfully.

use crate::harness::{Cluster, longshore, processes, until};
use serde_json::json;
use std::process::{Command, Stdio};
use testkit::spawn_bound;

/// Ends by itself after some eight seconds, with a code that nothing else gives.
const COUNTS_THEN_EXITS_42: &str = "i=0; while [ $i -lt 80 ]; do i=$((i+1)); sleep 0.1; done; exit 42";

#[test]
fn a_killed_server_loses_nothing_and_adopts_its_instances() {
    let mut cluster = Cluster::start(2);
    cluster.define("long", "sleep 1000");
    cluster.define("counts", COUNTS_THEN_EXITS_42);
    let long = cluster.run("long", 2);
    for arn in &long {
        cluster.wait(arn, "RUNNING");
    }
    let counts = cluster.run("counts", 1);
    cluster.wait(&counts[0], "RUNNING");
    let counting = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|e| {
            std::fs::read(e.path().join("cmdline")).is_ok_and(|c| String::from_utf8_lossy(&c).contains("-lt 80"))
        })
    };
    let agents = cluster.agents();
    let before: Vec<_> = long.iter().map(|arn| cluster.task(arn)["containers"][0]["runtimeId"].clone()).collect();
    cluster.kill_server();
    // The counting task ends while there is no server; its agent keeps the report.
    until("the exit while nobody asks", || {
        let lives = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
        assert!(agents.values().all(lives), "an agent died with its server");
        (!counting()).then_some(())
    });
    cluster.start_server();
    assert_eq!(cluster.agents(), agents, "the agents were adopted, not replaced");
    let counted = cluster.wait(&counts[0], "STOPPED");
    assert_eq!(counted["containers"][0]["exitCode"], 42, "{counted:#}");
    for (arn, runtime_id) in long.iter().zip(&before) {
        let task = cluster.task(arn);
        assert_eq!((&task["lastStatus"], &task["containers"][0]["runtimeId"]), (&json!("RUNNING"), runtime_id));
    }
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn a_killed_agent_comes_back_to_its_containers() {
    let mut cluster = Cluster::start(1);
    cluster.define("long", "sleep 1000");
    cluster.define("counts", COUNTS_THEN_EXITS_42);
    let (long, counts) = (cluster.run("long", 1), cluster.run("counts", 1));
    cluster.wait(&long[0], "RUNNING");
    cluster.wait(&counts[0], "RUNNING");
    let runtime_id = cluster.task(&long[0])["containers"][0]["runtimeId"].clone();
    let (_, pid) = cluster.agents().into_iter().next().unwrap();
    Cluster::kill(pid);
    until("another agent", || cluster.agents().into_values().find(|now| *now != pid));
    let counted = cluster.wait(&counts[0], "STOPPED");
    assert_eq!(counted["containers"][0]["exitCode"], 42, "{counted:#}");
    let task = cluster.task(&long[0]);
    assert_eq!((&task["lastStatus"], &task["containers"][0]["runtimeId"]), (&json!("RUNNING"), &runtime_id));
    cluster.ecs("stop-task", &["--task", &long[0]]);
    assert_eq!(cluster.wait(&long[0], "STOPPED")["stopCode"], "UserInitiated");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn a_killed_containerd_comes_back_and_exits_are_true() {
    let mut cluster = Cluster::start(1);
    cluster.define("long", "sleep 1000");
    cluster.define("counts", COUNTS_THEN_EXITS_42);
    let (long, counts) = (cluster.run("long", 1), cluster.run("counts", 1));
    cluster.wait(&long[0], "RUNNING");
    cluster.wait(&counts[0], "RUNNING");
    let pid = cluster.containerd().expect("our containerd runs");
    Cluster::kill(pid);
    until("another containerd", || cluster.containerd().filter(|now| *now != pid));
    let counted = cluster.wait(&counts[0], "STOPPED");
    assert_eq!(counted["containers"][0]["exitCode"], 42, "{counted:#}");
    let after = cluster.run("counts", 1);
    cluster.wait(&after[0], "RUNNING");
    assert_eq!(cluster.task(&long[0])["lastStatus"], "RUNNING");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn an_image_that_is_here_outlives_its_registry() {
    let mut cluster = Cluster::start(1);
    cluster.define("quick", "exit 4");
    let first = cluster.run("quick", 1);
    assert_eq!(cluster.wait(&first[0], "STOPPED")["containers"][0]["exitCode"], 4);
    cluster.lose_registry();
    let second = cluster.run("quick", 1);
    let task = cluster.wait(&second[0], "STOPPED");
    assert_eq!(task["containers"][0]["exitCode"], 4, "{task:#}");
    let image = cluster.image.replace("busybox:1", "busybox:other");
    cluster.image = image;
    cluster.define("lost", "exit 4");
    let third = cluster.run("lost", 1);
    let task = cluster.wait(&third[0], "STOPPED");
    assert_eq!(task["stopCode"], "TaskFailedToStart", "{task:#}");
    let reason = task["containers"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("CannotPullContainerError"), "{reason}");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn a_deregistered_local_instance_stays_away_until_it_is_started_anew() {
    let mut cluster = Cluster::start(2);
    cluster.define("long", "sleep 1000");
    let arns = cluster.ecs("list-container-instances", &[])["containerInstanceArns"].clone();
    let gone = arns[0].as_str().unwrap();
    let answer = cluster.ecs("start-task", &["--task-definition", "long", "--container-instances", gone]);
    let task = answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned();
    cluster.wait(&task, "RUNNING");
    cluster.ecs("deregister-container-instance", &["--container-instance", gone, "--force"]);
    assert_eq!(cluster.wait(&task, "STOPPED")["stoppedReason"], "Container instance deregistration forced by user");
    until("its agent has ended for good", || {
        let entries = std::fs::read_dir(cluster.path("data/instances")).unwrap().flatten();
        entries.filter(|e| e.path().join("agent.finished").exists()).count().eq(&1).then_some(())
    });
    let left = cluster.ecs("list-container-instances", &[])["containerInstanceArns"].clone();
    assert_eq!(left, json!([arns[1]]));
    // The other one is none the worse for it.
    let next = cluster.run("long", 1);
    cluster.wait(&next[0], "RUNNING");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn an_operator_attaches_a_machine_with_a_token_once() {
    let mut cluster = Cluster::start(1);
    let token = cluster.cli(&["token", "create"]);
    let file = cluster.path("token");
    std::fs::write(&file, token.trim()).unwrap();
    let attach = |name: &str, link_port: &str, introspection: &str| {
        let log = std::fs::File::create(cluster.path(&format!("{name}.log"))).unwrap();
        let mut command = Command::new(longshore());
        command
            .args(["agent", "--server", link_port, "--introspection", introspection])
            .arg("--data-dir")
            .arg(cluster.path(name))
            .arg("--run-dir")
            .arg(cluster.path(&format!("{name}-run")))
            .arg("--token-file")
            .arg(&file)
            .args(["--cgroup", &format!("/longshore-test-{}-{name}", std::process::id())])
            .args(["--attribute", "rack=r9"])
            .stdout(Stdio::null())
            .stderr(log);
        spawn_bound(command, 15).unwrap()
    };
    let mut agent = attach("machine", "127.0.0.1:4567", "127.0.0.1:51999");
    let arn = until("the attached machine", || {
        let answer =
            cluster.ecs("list-container-instances", &["--filter", "attribute:rack == r9 and agentConnected == true"]);
        answer["containerInstanceArns"][0].as_str().map(str::to_owned)
    });
    cluster.define("there", "exit 9");
    let answer = cluster.ecs("start-task", &["--task-definition", "there", "--container-instances", &arn]);
    let task = cluster.wait(answer["tasks"][0]["taskArn"].as_str().unwrap(), "STOPPED");
    assert_eq!(task["containers"][0]["exitCode"], 9, "{task:#}");
    // The token is used up: a second machine that replays it is not let in.
    let mut thief = attach("thief", "127.0.0.1:4567", "127.0.0.1:51998");
    let status = until("the thief gives up", || thief.try_wait().unwrap());
    assert!(!status.success(), "a replayed token was accepted");
    cluster.ecs("deregister-container-instance", &["--container-instance", &arn, "--force"]);
    let status = until("the deregistered agent ends", || agent.try_wait().unwrap());
    assert_eq!(status.code(), Some(5), "the agent says that it need not be started again");
    // The machine is as it was before, but for the folders.
    let dir = cluster.path("machine").display().to_string();
    let left: Vec<_> =
        processes().into_iter().filter(|(_, words)| words.iter().any(|word| word.contains(&dir))).collect();
    assert_eq!(left, []);
    let told = |program: &str, arguments: &[&str]| {
        let out = Command::new(program).args(arguments).output().unwrap();
        assert!(out.status.success(), "{program} {arguments:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    let tables = told("nft", &["list", "tables"]);
    let own = ["longshore_tasks", "longshore_ports", "longshore_local"];
    assert!(!own.iter().any(|table| tables.contains(table)), "{tables}");
    let links = told("ip", &["-o", "addr"]) + &told("ip", &["-o", "link"]);
    assert!(!links.contains("ecs-br0") && !links.contains("169.254.170.2"), "{links}");
    assert!(cluster.stop_server());
}

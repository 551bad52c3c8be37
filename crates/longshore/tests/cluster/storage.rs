//! The disk that a task of Fargate has of its own, on a real machine: its containers share it and cannot write beyond it, others
//! write on, and nothing of it is left, whoever is killed.

use crate::{
    awsvpc::Vpc,
    fargate::{GVISOR, container, define_more, log_group, nothing_left, printed, run},
    given::Given,
    harness::{Cluster, shown_by_loop, until},
};
use serde_json::json;
use std::path::Path;

/// Asks for more than there is in ways that write nothing of it: room that is set aside costs the machine nothing.
const FILLS: &str = r"
    exec 2>&1
    busybox wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/task | busybox grep -o '.Utilized.:[0-9]*,.Reserved.:[0-9]*'
    busybox fallocate -l 20G /fits && echo twenty-fit
    busybox fallocate -l 1G /more || echo not-one-more
    busybox dd if=/dev/zero of=/rest bs=1M count=5 && echo CAN write more
    echo full-now
    while :; do busybox sleep 1; done
";

/// Shares the disk with the one that fills it, and says when it is full for itself too.
const BESIDE: &str = "n=0; while echo 1 > /mine$n && test -s /mine$n; do n=$((n + 1)); busybox sleep 0.2; done; \
    echo full-too; busybox dd if=/dev/zero of=/etc/hosts bs=1M count=1 || echo full-for-shown-files; \
    while :; do busybox sleep 1; done";

/// Writes on, and once more when it is told to end.
const WRITES: &str = "trap 'echo late > /late && cat /late; exit 5' TERM; echo writes; \
    while :; do echo 1 >> /mine || echo CANNOT; busybox sleep 0.2; done";

fn cannot_write_beyond(flags: &[&str]) {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let mut machine = Given::start(&cluster, flags);
    log_group(&api);
    let vpc = Vpc::new(&api, "10.7");
    let group = vpc.group("all");
    define_more(&api, "writes", &[container(&cluster, "main", WRITES)], &json!({}));
    let mut beside = container(&cluster, "beside", BESIDE);
    beside["essential"] = json!(false);
    let larger = json!({"ephemeralStorage": {"sizeInGiB": 21}});
    define_more(&api, "fills", &[container(&cluster, "main", FILLS), beside], &larger);
    let neighbour = run(&api, &vpc, "writes", &[&group], &[]);
    printed(&api, &neighbour, "main", "writes");
    let fills = run(&api, &vpc, "fills", &[&group], &[]);
    let told = printed(&api, &fills, "main", "full-now");
    assert!(told.contains(r#","Reserved":21504"#), "{told}");
    for line in ["twenty-fit", "not-one-more"] {
        assert!(told.lines().any(|said| said == line), "{line}: {told}");
    }
    assert!(told.contains("No space left on device") && !told.contains("CAN"), "{told}");
    let beside = printed(&api, &fills, "beside", "full-for-shown-files");
    assert!(beside.lines().any(|said| said == "full-too"), "{beside}");
    let shown = cluster.task(&fills);
    assert_eq!(shown["ephemeralStorage"], json!({"sizeInGiB": 21}));

    // Its agent is killed, and comes back to a disk of a task that nobody knows.
    machine.kill_agent();
    let disks = machine.disks();
    disks.ensure("stray", 64 << 20).unwrap();
    assert_eq!(shown_by_loop(&machine.path("")).len(), 3);
    machine.launch();
    until("the stray one is removed", || (!disks.at("stray").exists()).then_some(()));
    let id = |task: &str| task.rsplit('/').next().unwrap().to_owned();
    // But for what the file system keeps for its own tables.
    assert!(disks.usage(&id(&fills)).is_some_and(|disk| disk.size - disk.used < 32 << 20), "{}", machine.log());

    for task in [&fills, &neighbour] {
        api.ecs("StopTask", &json!({"task": task}));
    }
    let stopped = cluster.wait(&neighbour, "STOPPED");
    assert_eq!(stopped["containers"][0]["exitCode"], 5, "{stopped:#}\n{}", machine.log());
    let told = printed(&api, &neighbour, "main", "late");
    assert!(!told.contains("CANNOT"), "{told}");
    cluster.wait(&fills, "STOPPED");
    nothing_left(&machine, &[fills, neighbour]);
    assert!(machine.disks().usage("stray").is_none());
    machine.let_go();
}

#[test]
fn a_task_of_fargate_cannot_write_beyond_its_disk_under_gvisor() {
    cannot_write_beyond(&GVISOR);
}

#[test]
fn a_task_of_fargate_cannot_write_beyond_its_disk_under_runc() {
    cannot_write_beyond(&["--runtime", "runc"]);
}

/// An instance of `dev` that is terminated takes the disks with it.
#[test]
fn an_instance_that_goes_leaves_no_disk() {
    let mut cluster =
        Cluster::start_with(1, |_: &Path| vec![("LONGSHORE_FARGATE_INSTANCES".to_owned(), "1".to_owned())]);
    let api = cluster.api();
    log_group(&api);
    define_more(&api, "writes", &[container(&cluster, "main", WRITES)], &json!({}));
    let subnets = api.ec2("DescribeSubnets", &json!({}))["Subnets"].clone();
    let subnets: Vec<_> = subnets.as_array().unwrap().iter().map(|subnet| subnet["SubnetId"].clone()).collect();
    let configuration = json!({"awsvpcConfiguration": {"subnets": subnets}});
    let asked = json!({"taskDefinition": "writes", "launchType": "FARGATE", "networkConfiguration": configuration});
    // Until its agent has joined there is no room.
    let task =
        until("room on Fargate", || api.ecs("RunTask", &asked)["tasks"][0]["taskArn"].as_str().map(str::to_owned));
    printed(&api, &task, "main", "writes");
    assert_eq!(shown_by_loop(&cluster.data()).len(), 1, "{}", cluster.log());
    // Killed together, so that nobody has told a task to end.
    for pid in cluster.agents().into_values() {
        Cluster::kill(pid);
    }
    assert!(cluster.stop_server(), "{}", cluster.log());
    until("no trace", || cluster.traces().is_empty().then_some(()));
}

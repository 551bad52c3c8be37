//! A registry in trouble, as those see it who run tasks.

use crate::harness::{Cluster, until};
use std::time::Duration;
use testkit::faulty::{Fault, FaultyRegistry};

#[test]
fn a_definition_that_names_another_registry_runs_unchanged_from_a_mirror() {
    let mut cluster = Cluster::start(0);
    assert!(cluster.stop_server());
    let named = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    cluster.set("LONGSHORE_REGISTRY_MIRRORS", format!("{named}={}", cluster.registry()));
    cluster.instances = 1;
    cluster.start_server();
    cluster.image = format!("{named}/busybox:1");
    cluster.define("short", "exit 3");
    let task = cluster.wait(&cluster.run("short", 1)[0], "STOPPED");
    let container = &task["containers"][0];
    assert_eq!((&container["exitCode"], &container["image"]), (&3.into(), &cluster.image.clone().into()), "{task:#}");
}

#[test]
fn tasks_outlive_a_registry_in_trouble_and_can_always_be_stopped() {
    // The bound is the operator's to choose; a minute is what it is otherwise.
    let mut cluster =
        Cluster::start_with(1, |_| vec![("ECS_IMAGE_PULL_INACTIVITY_TIMEOUT".to_owned(), "10s".to_owned())]);
    let faulty = FaultyRegistry::start(&cluster.registry()).unwrap();
    cluster.image = format!("{}/busybox:1", faulty.address());
    cluster.define("long", "sleep 1000");

    // It stalls in the middle of a layer: the task fails after its time and says why.
    faulty.on("/blobs/", Fault::StallAfter(100_000), usize::MAX);
    let stalled = cluster.run("long", 1);
    let task = cluster.wait(&stalled[0], "STOPPED");
    assert_eq!(
        (&task["stopCode"], &task["stoppedReason"]),
        (&"TaskFailedToStart".into(), &"Task failed to start".into())
    );
    let reason = task["containers"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("CannotPullContainerError: registry ") && reason.contains("sent nothing for too long"),
        "{reason}"
    );
    faulty.heal();

    // So slow that it would take half a minute: whoever stops the task does not wait for it.
    faulty.on("/blobs/", Fault::TrickleAfter(100_000, 1 << 10, Duration::from_millis(30)), usize::MAX);
    let before = faulty.requests().len();
    let slow = cluster.run("long", 1);
    until("its pull", || faulty.requests().iter().skip(before).any(|r| r.contains("/blobs/")).then_some(()));
    cluster.ecs("stop-task", &["--task", &slow[0], "--reason", "enough"]);
    let task = cluster.wait(&slow[0], "STOPPED");
    assert_eq!((&task["stopCode"], &task["stoppedReason"]), (&"UserInitiated".into(), &"enough".into()));
    faulty.heal();

    // It breaks off twice and comes back. Two tasks want the same image at once, and it is fetched once.
    faulty.on("/blobs/", Fault::CutAfter(300_000), 2);
    let before = faulty.requests().len();
    let tasks = cluster.run("long", 2);
    for task in &tasks {
        cluster.wait(task, "RUNNING");
    }
    let whole = |r: &&String| r.contains("/blobs/") && !r.to_ascii_lowercase().contains("range: bytes=");
    let asked = faulty.requests();
    let mut fetched: Vec<_> = asked.iter().skip(before).filter(whole).collect();
    fetched.sort();
    fetched.dedup();
    let blobs = fetched.len();
    let requests = asked.iter().skip(before).filter(|r| r.contains("/blobs/")).count();
    assert!(requests <= blobs + 2, "{blobs} blobs, two of them broken off, took {requests} requests: {asked:#?}");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

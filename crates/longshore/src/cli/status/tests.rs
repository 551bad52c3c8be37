//! What needs attention, and how it fits a screen: tables of made-up clusters.

use super::{
    facts::{Attention, Cluster, Counts, Instance, Kind, Level, Services, Status, Used},
    judge::{self, Looked, Machine},
    show,
};
use console::measure_text_width;
use jiff::Timestamp;
use shapes::ecs;

const NOW: i64 = 1_900_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn ago(seconds: i64) -> Option<wire::Timestamp> {
    Some(wire::Timestamp::from_millis((NOW - seconds) * 1000))
}

fn instance(n: usize) -> Instance {
    Instance {
        id: format!("{n:032x}"),
        arn: format!("arn:aws:ecs:us-east-1:000000000000:container-instance/shop/{n:032x}"),
        ec2_instance_id: Some(format!("i-{n:017x}")),
        availability_zone: Some("us-east-1a".into()),
        instance_type: Some("t3.medium".into()),
        status: "ACTIVE".into(),
        agent_connected: true,
        agent_since: Some(judge::rfc3339(Timestamp::from_second(NOW - 600).unwrap())),
        cpu: Used { used: 256, registered: 2048 },
        memory: Used { used: 512, registered: 3884 },
        machine_state: Some("running".into()),
        ..Instance::default()
    }
}

fn cluster(instances: Vec<Instance>) -> Cluster {
    let name = "shop".to_owned();
    Cluster { name, arn: "arn:shop".into(), status: "ACTIVE".into(), instances, ..Cluster::default() }
}

fn task(n: usize) -> ecs::Task {
    ecs::Task {
        task_arn: Some(format!("arn:aws:ecs:us-east-1:000000000000:task/shop/{n:032x}")),
        task_definition_arn: Some("arn:aws:ecs:us-east-1:000000000000:task-definition/web:3".into()),
        container_instance_arn: Some(instance(1).arn),
        ..Default::default()
    }
}

fn stopped(n: usize, code: &str, exit: Option<i32>, reason: Option<&str>) -> ecs::Task {
    let container = ecs::Container {
        name: Some("main".into()),
        image: Some("registry.example/web:1".into()),
        exit_code: exit,
        reason: reason.map(str::to_owned),
        ..Default::default()
    };
    ecs::Task {
        stop_code: Some(code.into()),
        stopped_at: ago(30),
        stopped_reason: Some("Essential container in task exited".into()),
        containers: Some(vec![container]),
        ..task(n)
    }
}

/// Level, kind, and parts of what is said.
fn check(cluster: &Cluster, looked: &Looked, expected: &[(Level, Kind, &[&str])]) {
    let found = judge::cluster(cluster, looked, now());
    let kinds: Vec<_> = found.iter().map(|a| (a.level, a.kind)).collect();
    assert_eq!(kinds, expected.iter().map(|(level, kind, _)| (*level, *kind)).collect::<Vec<_>>(), "{found:#?}");
    for (one, (_, _, parts)) in found.iter().zip(expected) {
        let text = format!("{} | {} | {}", one.what, one.why.clone().unwrap_or_default(), one.next);
        for part in *parts {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}

#[test]
fn a_healthy_cluster_needs_nothing() {
    let looked = Looked {
        stopped: vec![
            stopped(1, "EssentialContainerExited", Some(0), None),
            stopped(2, "UserInitiated", Some(137), None),
            stopped(3, "ServiceSchedulerInitiated", Some(143), None),
        ],
        pending: vec![ecs::Task { last_status: Some("PENDING".into()), created_at: ago(5), ..task(4) }],
        ..Looked::default()
    };
    check(&cluster(vec![instance(1)]), &looked, &[]);
}

#[test]
fn instances_in_trouble_are_told_with_a_way_out() {
    let away = Instance { agent_connected: false, running_tasks: 2, ..instance(1) };
    let stopped = Instance { machine_state: Some("stopped".into()), ..away.clone() };
    let attached = Instance { machine_state: None, ec2_instance_id: None, ..away.clone() };
    let draining = Instance { status: "DRAINING".into(), running_tasks: 1, ..instance(1) };
    for (instance, level, kind, parts) in [
        (away, Level::Error, Kind::AgentDisconnected, ["for 10 min", "its 2 tasks", "terminate-instances"]),
        (stopped, Level::Notice, Kind::AgentDisconnected, ["for 10 min", "its 2 tasks", "aws ec2 start-instances"]),
        (attached, Level::Error, Kind::AgentDisconnected, ["for 10 min", "longshore agent", "deregister-container"]),
        (draining, Level::Notice, Kind::InstanceDraining, ["draining", "1 tasks", "--status ACTIVE"]),
    ] {
        check(&cluster(vec![instance]), &Looked::default(), &[(level, kind, &parts)]);
    }
    let none: &[&str] = &["tasks of launch type EC2 cannot be placed", "longshore up --cluster shop"];
    let told = [(Level::Notice, Kind::ClusterWithoutInstances, none)];
    let busy = |pending, running| Counts { pending, running, ..Counts::default() };
    for (tasks, provider, told) in [
        (Counts::default(), None, &told[..]),
        // Tasks of Fargate are placed all the same, and others bring their instances.
        (Counts::default(), Some("mine"), &[]),
        (Counts::default(), Some("FARGATE"), &[]),
        (Counts::default(), Some("FARGATE_SPOT"), &[]),
        (busy(0, 2), None, &[]),
        (busy(1, 0), None, &[]),
    ] {
        let capacity_providers = provider.into_iter().map(str::to_owned).collect();
        check(&Cluster { tasks, capacity_providers, ..cluster(vec![]) }, &Looked::default(), told);
    }
    // One whose tasks ran on Fargate, or that stands beside machines of Fargate.
    check(&cluster(vec![]), &Looked { fargate: true, ..Looked::default() }, &[]);
}

#[test]
fn an_instance_that_came_back_smaller_is_over_capacity() {
    let full = Instance { cpu: Used { used: 2048, registered: 2048 }, ..instance(1) };
    for (tasks, over) in [(8, false), (9, true)] {
        let each = ecs::Task { cpu: Some("256".into()), memory: Some("64".into()), ..task(1) };
        let on_full = [(full.arn.clone(), vec![each; tasks])].into();
        let expected: &[(Level, Kind, &[&str])] =
            &[(Level::Warning, Kind::InstanceOverCapacity, &["2304 CPU units of 2048", "576 MiB of 3884"])];
        let looked = Looked { on_full, ..Looked::default() };
        check(&cluster(vec![full.clone()]), &looked, if over { expected } else { &[] });
    }
}

#[test]
fn failures_for_one_reason_are_one_thing() {
    let pull = Some("CannotPullContainerError: no such image");
    let memory = Some("OutOfMemoryError: Container killed due to memory usage");
    let mut all: Vec<_> = (0..200).map(|n| stopped(n, "TaskFailedToStart", None, pull)).collect();
    all.push(stopped(300, "EssentialContainerExited", Some(42), None));
    all.push(stopped(301, "EssentialContainerExited", Some(137), memory));
    let looked = Looked { stopped: all, ..Looked::default() };
    check(
        &cluster(vec![instance(1)]),
        &looked,
        &[
            (Level::Error, Kind::TaskFailedToStart, &["200 tasks of web:3 did not start", "registry.example/web:1"]),
            (Level::Error, Kind::TaskFailed, &["main exited with 137", "OutOfMemoryError", "more memory"]),
            (
                Level::Error,
                Kind::TaskFailed,
                &["main exited with 42", "longshore logs --cluster shop --task-id 0000000000000000000000000000012c"],
            ),
        ],
    );
    let found = judge::cluster(&cluster(vec![instance(1)]), &looked, now());
    assert_eq!(found[0].resources.len(), 200, "JSON names all of them");
}

#[test]
fn the_container_that_waited_in_vain_knows_why() {
    let vain = "ContainerDependencyError: container 'i' was not HEALTHY within its startTimeout of 3 s";
    let container = |name: &str, exit_code, reason: Option<&str>| ecs::Container {
        name: Some(name.into()),
        exit_code,
        reason: reason.map(str::to_owned),
        ..Default::default()
    };
    for (containers, want) in [
        (vec![container("i", Some(143), None), container("w", None, Some(vain))], format!("w: {vain}")),
        (vec![container("w", None, Some(vain)), container("i", Some(0), None)], format!("w: {vain}")),
        (vec![container("a", Some(143), None), container("b", Some(7), None)], "b exited with 7".to_owned()),
        (vec![container("a", Some(137), None), container("b", Some(7), Some("x"))], "b exited with 7: x".to_owned()),
        (
            vec![container("a", Some(143), None), container("b", Some(137), Some("OutOfMemoryError"))],
            "b exited with 137: OutOfMemoryError".to_owned(),
        ),
        (vec![container("a", Some(143), None), container("b", None, Some("CannotStart"))], "b: CannotStart".to_owned()),
        // Killed by somebody else, then.
        (vec![container("a", Some(137), None), container("b", Some(0), None)], "a exited with 137".to_owned()),
        (vec![container("i", Some(1), None), container("w", None, None)], "i exited with 1".to_owned()),
        (vec![container("i", Some(1), None), container("w", Some(2), Some("late"))], "i exited with 1".to_owned()),
    ] {
        assert_eq!(judge::reason(&ecs::Task { containers: Some(containers), ..task(1) }), want);
    }
}

#[test]
fn a_task_that_is_pending_for_long_says_why() {
    let pending = ecs::Task { last_status: Some("PENDING".into()), created_at: ago(300), ..task(1) };
    let pulling = ecs::Task { pull_started_at: ago(290), ..pending.clone() };
    let away = Instance { agent_connected: false, ..instance(1) };
    let long = (Level::Warning, Kind::TaskPendingLong);
    for (instance, task, parts) in [
        (instance(1), pending.clone(), ["is pending for 5 min", "has not begun", "aws ecs describe-tasks"]),
        (instance(1), pulling, ["is pending for 5 min", "pulling its image", "aws ecs describe-tasks"]),
        (away, pending, ["is pending for 5 min", "agent of i-00000000000000001 is disconnected", "aws ecs"]),
    ] {
        let looked = Looked { pending: vec![task], ..Looked::default() };
        let found = judge::cluster(&cluster(vec![instance]), &looked, now());
        let one = found.iter().find(|a| (a.level, a.kind) == long).unwrap();
        let text = format!("{} {} {}", one.what, one.why.clone().unwrap(), one.next);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn machines_that_do_not_become_instances_are_told() {
    let machine = |state: &str, reason: Option<&str>, age: i64| Machine {
        id: "i-1".into(),
        state: state.into(),
        reason: reason.map(str::to_owned),
        launched: Timestamp::from_second(NOW - age).ok(),
    };
    for (machine, told) in [
        (machine("running", None, 5), None),
        (machine("running", None, 300), Some("has not registered for 5 min")),
        (machine("pending", Some("Server.InternalError: no cgroup"), 5), Some("cannot be started")),
        (machine("stopped", Some("by user"), 300), None),
    ] {
        let found = judge::machines(&[machine], now());
        assert_eq!(found.len(), usize::from(told.is_some()), "{found:#?}");
        assert!(told.is_none_or(|told| found[0].what.contains(told)), "{found:#?}");
    }
}

fn large() -> Status {
    let mut clusters: Vec<_> = (0..40)
        .map(|n| Cluster {
            name: format!("cluster-{n:02}"),
            instances: (0..10).map(instance).collect(),
            ..cluster(vec![])
        })
        .collect();
    clusters[7].services = Services { active: 1200, stable: 1100, below_desired: 99 };
    clusters[7].tasks = Counts { pending: 3, running: 10_000, stopping: 1, stopped: 37, failed: 30 };
    let one = Attention {
        level: Level::Error,
        kind: Kind::TaskFailed,
        cluster: Some("cluster-07".into()),
        what: "30 tasks of a-task-definition-with-quite-a-long-name:117 failed, last 0123456789abcdef0123456789abcdef"
            .into(),
        why: Some(
            "a reason\nwith \u{1b}[31m control characters, which is told by the container and is rather long".into(),
        ),
        since: None,
        resources: Vec::new(),
        next: "longshore logs --cluster cluster-07 --task-id 0123456789abcdef0123456789abcdef".into(),
    };
    let attention = std::iter::repeat_n(one, 90).collect();
    Status {
        endpoint: "http://127.0.0.1:4566".into(),
        region: "us-east-1".into(),
        clusters,
        attention,
        ..Status::default()
    }
}

#[test]
fn ten_thousand_tasks_are_one_screen_of_any_width() {
    let status = large();
    for (width, height) in [(60, 24), (80, 24), (80, 40), (120, 50), (200, 60)] {
        let lines = show::lines(&status, Some(width), Some(height));
        for line in &lines {
            assert!(measure_text_width(line) <= width, "{width}: {line}");
            assert!(!line.contains('\n') && !line.contains("\u{1b}[31m control"), "{line:?}");
        }
        let text = lines.join("\n");
        assert!(
            text.contains("more clusters") && text.contains("more instances") && text.contains("--output json has all"),
            "{text}"
        );
        assert!(text.contains("10000"), "the cluster in trouble comes first: {text}");
        assert!(width < 120 || text.contains("1200, 99 short"), "{text}");
        assert!(height < 40 || lines.len() < height, "{} lines for {height} rows:\n{text}", lines.len());
    }
}

#[test]
fn the_machines_of_fargate_are_told_by_zone() {
    let busy =
        Instance { cpu: Used { used: 1280, registered: 2048 }, running_tasks: 3, pending_tasks: 1, ..instance(1) };
    let away = Instance { agent_connected: false, ..instance(2) };
    let other = Instance { availability_zone: Some("us-east-1b".into()), ..instance(3) };
    let fargate = vec![busy, away, other];
    let status = Status { clusters: vec![cluster(vec![])], fargate, ..Status::default() };
    let lines = show::lines(&status, Some(100), Some(40));
    let words = |start: &str| {
        let line = lines.iter().find(|line| line.trim_start().starts_with(start)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(words("Fargate in"), "Fargate in Machines vCPU used vCPU left MiB used MiB left Tasks");
    // What is left where nobody answers is nobody's.
    assert_eq!(words("us-east-1a"), "us-east-1a 2, 1 away 1.5 0.75 1024 3372 3+1");
    assert_eq!(words("us-east-1b"), "us-east-1b 1 0.25 1.75 512 3372 0");
    let found = judge::pool(&status.fargate, now());
    assert_eq!(found.iter().map(|one| one.kind).collect::<Vec<_>>(), [Kind::AgentDisconnected], "{found:#?}");
    assert_eq!(found[0].cluster.as_deref(), Some("longshore-fargate"));
}

#[test]
fn machines_of_fargate_without_a_kernel_for_each_task_are_told_once() {
    let machine = |number, runtime: &str| Instance { runtime: Some(runtime.into()), ..instance(number) };
    let told = |machines: &[Instance]| {
        let found = judge::pool(machines, now());
        found.into_iter().map(|one| (one.level, one.kind, one.what, one.resources.len())).collect::<Vec<_>>()
    };
    assert_eq!(told(&[machine(1, "runsc")]), []);
    let what = |which: &str| {
        format!("{which}: given to Fargate without gVisor: tasks share the machine's kernel (runtime runc)")
    };
    let one = what(machine(1, "runc").name());
    assert_eq!(told(&[machine(1, "runc"), machine(2, "runsc")]), [(Level::Notice, Kind::FargateSharesKernel, one, 1)]);
    let two = what(&format!("{} and 1 more", machine(1, "runc").name()));
    assert_eq!(told(&[machine(1, "runc"), machine(2, "runc")]), [(Level::Notice, Kind::FargateSharesKernel, two, 2)]);
}

#[test]
fn what_to_do_next_can_be_copied_whole() {
    let lines = show::lines(&large(), Some(60), Some(24));
    let text = lines.join("\n");
    assert!(text.contains("0123456789abcdef0123456789abcdef"), "{text}");
    let piped = show::lines(&large(), None, None).join("\n");
    assert!(
        piped.contains("→ longshore logs --cluster cluster-07 --task-id 0123456789abcdef0123456789abcdef"),
        "{piped}"
    );
}

#[test]
fn an_empty_server_says_how_to_begin() {
    let status = Status { region: "eu-west-1".into(), ..Status::default() };
    let text = show::lines(&status, None, None).join("\n");
    assert!(text.contains("There are no clusters in region eu-west-1") && text.contains("longshore up"), "{text}");
}

#[test]
fn the_json_form_is_what_its_document_says() {
    let document = include_str!("../../../../../docs/status.md");
    let mut status = large();
    status.clusters.truncate(1);
    status.attention.truncate(1);
    status.fargate = vec![instance(1)];
    let mut names = Vec::new();
    collect(&serde_json::to_value(&status).unwrap(), &mut names);
    for name in names {
        let described = ["`", "[]`"].iter().any(|end| document.contains(&format!("`{name}{end}")));
        assert!(described, "docs/status.md does not describe `{name}`");
    }
    fn collect(value: &serde_json::Value, names: &mut Vec<String>) {
        if let Some(members) = value.as_object() {
            names.extend(members.keys().cloned());
        }
        let inner = value.as_object().map(|m| m.values().collect::<Vec<_>>());
        let inner = inner.or_else(|| value.as_array().map(|a| a.iter().collect())).unwrap_or_default();
        inner.into_iter().for_each(|value| collect(value, names));
    }
}

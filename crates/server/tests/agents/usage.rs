//! Usage and its cost: of what runs, of what has ended, and of what is long forgotten.

use crate::agent::{Machine, Session, token};
use crate::machines::{reach, start_with_host};
use crate::{Harness, ec2, ecs, list, ok, text, web};
use model::{Measured, ObservedStatus, Stop, StopCode, TaskObservation};
use serde_json::{Value, json};
use state::{Command, Sqlite, Store};
use std::{collections::BTreeMap, path::Path};

/// From before the test to after it.
fn period(harness: &Harness) -> Value {
    let day = |ahead: i64| {
        let at = harness.effects.now().plus_millis(ahead * 86_400_000);
        let text = wire::Timestamp::from_millis(at.0).format(wire::schema::TimestampFormat::Iso8601);
        text.unwrap()[..10].to_owned()
    };
    json!({"Start": day(-1), "End": day(1)})
}

/// Cost and quantity by usage type, over all parts of the period.
async fn bill(harness: &Harness, more: Value) -> BTreeMap<String, (String, String)> {
    let mut input = json!({
        "TimePeriod": period(harness), "Granularity": "MONTHLY", "Metrics": ["UnblendedCost", "UsageQuantity"],
        "GroupBy": [{"Type": "DIMENSION", "Key": "USAGE_TYPE"}],
    });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = ok(harness, "ce", "GetCostAndUsage", input).await;
    let mut bill = BTreeMap::new();
    for group in list(&answer["ResultsByTime"]).iter().flat_map(|part| list(&part["Groups"])) {
        let metric = |name: &str| text(&group["Metrics"][name]["Amount"]).to_owned();
        let keys: Vec<&str> = list(&group["Keys"]).iter().map(text).collect();
        // At a month's end there are two parts, in one of which the second does not lie.
        bill.entry(keys.join(" ")).or_insert((metric("UnblendedCost"), metric("UsageQuantity")));
    }
    bill
}

/// Hours with ten digits of so many seconds of 1,024ths.
fn hours(amount: u128, seconds: u128) -> String {
    telemetry::usage::quantity_text(amount * seconds)
}

async fn joined(harness: &Harness) -> Session {
    ecs(harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    web(harness).await;
    let token = token(harness, Some("demo"), 1).await;
    let mut machine = Machine::new(harness).await;
    machine.join(harness, &token, None).await.unwrap();
    machine.session(harness).await.0
}

async fn run_one(harness: &Harness) -> String {
    let input = json!({"cluster": "demo", "taskDefinition": "web", "tags": [{"key": "team", "value": "blue"}]});
    text(&ecs(harness, "RunTask", input).await["tasks"][0]["taskArn"]).to_owned()
}

async fn report(session: &mut Session, task: &str, status: ObservedStatus) {
    session.report(vec![seen(task, status)]).await;
}

fn seen(task: &str, status: ObservedStatus) -> TaskObservation {
    TaskObservation {
        task: task.parse().unwrap(),
        status,
        containers: Vec::new(),
        pull_started: None,
        pull_stopped: None,
        execution_stopped: None,
        attachment: None,
    }
}

/// The seconds of a task that has stopped.
async fn seconds(harness: &Harness, task: &str) -> u128 {
    let call = ("DescribeTasks", json!({"cluster": "demo", "tasks": [task]}));
    crate::until(harness, "the end", "ecs", call, |answer| answer["tasks"][0]["lastStatus"] == "STOPPED").await;
    let snapshot = harness.server.context().store.snapshot();
    let task = snapshot.task(&task.parse().unwrap()).unwrap();
    let millis = task.stopped_at().unwrap().millis_since(task.times.created);
    u128::try_from(millis).unwrap().div_ceil(1_000)
}

/// Waits until the ledger has something.
async fn until_written(harness: &Harness, data_dir: &Path) {
    let begin = harness.effects.monotonic();
    loop {
        let files = std::fs::read_dir(data_dir.join("usage")).unwrap();
        if files.flatten().any(|file| file.metadata().is_ok_and(|file| file.len() > 0)) {
            return;
        }
        assert!(harness.effects.monotonic() - begin < crate::DEADLINE, "nothing is written");
        harness.effects.sleep(crate::LOOK).await;
    }
}

#[tokio::test]
async fn a_task_is_metered_while_it_runs_and_after_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Harness::start_with(|config| config.data_dir = dir.path().to_owned());
    let harness = start().await;
    let mut session = joined(&harness).await;
    let task = run_one(&harness).await;
    report(&mut session, &task, ObservedStatus::Running).await;

    let running = bill(&harness, json!({})).await;
    let names: Vec<&str> = running.keys().map(String::as_str).collect();
    assert_eq!(names, ["USE1-ECS-Anywhere-Instance-hours", "USE1-ECS-EC2-GB-Hours", "USE1-ECS-EC2-vCPU-Hours"]);
    assert!(*running["USE1-ECS-Anywhere-Instance-hours"].0 > *"0.0000000000", "{running:?}");

    report(&mut session, &task, ObservedStatus::Stopped(Stop::essential_exited())).await;
    let seconds = seconds(&harness, &task).await;
    let want = ("0.0000000000".to_owned(), hours(10, seconds));
    assert_eq!(bill(&harness, json!({})).await["USE1-ECS-EC2-vCPU-Hours"], want, "before it is written");
    until_written(&harness, dir.path()).await;
    assert_eq!(bill(&harness, json!({})).await["USE1-ECS-EC2-vCPU-Hours"], want, "after");

    let forget = Command::ForgetTasks { tasks: vec![task.parse().unwrap()] };
    harness.server.context().store.commit(forget).await.unwrap();
    assert_eq!(bill(&harness, json!({})).await["USE1-ECS-EC2-vCPU-Hours"], want, "after it is forgotten");
    let by = |key: &str| json!({"GroupBy": [{"Type": "TAG", "Key": key}, {"Type": "DIMENSION", "Key": "USAGE_TYPE"}]});
    for (key, label) in [
        ("team", "team$blue"),
        ("aws:ecs:clusterName", "aws:ecs:clusterName$demo"),
        ("aws:ecs:serviceName", "aws:ecs:serviceName$"),
        ("longshore:family", "longshore:family$web"),
        ("longshore:launchType", "longshore:launchType$EC2"),
    ] {
        let bill = bill(&harness, by(key)).await;
        assert_eq!(bill.get(&format!("{label} USE1-ECS-EC2-vCPU-Hours")), Some(&want), "{key}: {bill:?}");
    }
    drop(session);
    assert!(harness.server.shutdown().await, "everything ended in time");

    let harness = start().await;
    assert_eq!(bill(&harness, json!({})).await["USE1-ECS-EC2-vCPU-Hours"], want, "after a restart");
    // And where nobody knows any more how far the ledger came, all is told again and counts once.
    assert!(harness.server.shutdown().await, "everything ended in time");
    std::fs::remove_file(dir.path().join("usage.json")).unwrap();
    let harness = start().await;
    assert_eq!(bill(&harness, json!({})).await["USE1-ECS-EC2-vCPU-Hours"], want, "told twice");
    assert!(harness.server.shutdown().await, "everything ended in time");
}

#[tokio::test]
async fn what_ended_untold_is_metered_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Harness::start_with(|config| config.data_dir = dir.path().to_owned());
    let harness = start().await;
    let session = joined(&harness).await;
    let task = run_one(&harness).await;
    drop(session);
    assert!(harness.server.shutdown().await, "everything ended in time");

    // What a server does that is killed after a commit and before it wrote of it.
    let store =
        Store::open(Box::new(Sqlite::open(&dir.path().join("state")).unwrap()), &effects::Effects::real()).unwrap();
    let at = store.snapshot().task(&task.parse().unwrap()).unwrap().times.created.plus_millis(86_000);
    let why = Stop { code: StopCode::UserInitiated, reason: "untold".into() };
    store.commit(Command::EndTasks { tasks: vec![task.parse().unwrap()], why, at }).await.unwrap();
    store.close().await;
    drop(store);

    let harness = start().await;
    let want = ("0.0000000000".to_owned(), hours(10, 86));
    assert_eq!(bill(&harness, json!({})).await["USE1-ECS-EC2-vCPU-Hours"], want);
    until_written(&harness, dir.path()).await;
    assert_eq!(bill(&harness, json!({})).await["USE1-ECS-EC2-vCPU-Hours"], want);
    assert!(harness.server.shutdown().await, "everything ended in time");
}

#[tokio::test]
async fn a_machine_costs_what_its_type_costs_from_running_to_stopping() {
    let (_host, harness) = start_with_host().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "default"})).await;
    let launched =
        ec2(&harness, "RunInstances", json!({"MinCount": 1, "MaxCount": 1, "InstanceType": "m5.large"})).await;
    let ids = vec![text(&launched["Instances"][0]["InstanceId"]).to_owned()];
    reach(&harness, &ids, "running").await;
    for state in ["stopped", "running", "terminated"] {
        let operation = match state {
            "stopped" => "StopInstances",
            "running" => "StartInstances",
            _ => "TerminateInstances",
        };
        ec2(&harness, operation, json!({"InstanceIds": ids})).await;
        reach(&harness, &ids, state).await;
    }
    // Two times that it ran, of a minute each at least: a test is not so slow.
    let snapshot = harness.server.context().store.snapshot();
    let runs = snapshot.all_machines().next().unwrap().runs.clone();
    assert!(runs.len() == 2 && runs.iter().all(|run| run.to.millis_since(run.from) < 60_000), "{runs:?}");
    let begin = harness.effects.monotonic();
    let want = ("0.0032000000".to_owned(), hours(1_024, 120));
    loop {
        let bill = bill(&harness, json!({})).await;
        if bill.get("BoxUsage:m5.large") == Some(&want) {
            break;
        }
        assert!(harness.effects.monotonic() - begin < crate::DEADLINE, "{bill:?}");
        harness.effects.sleep(crate::LOOK).await;
    }
    let only = |kind: &str| json!({"Filter": {"Dimensions": {"Key": "INSTANCE_TYPE", "Values": [kind]}}});
    assert_eq!(bill(&harness, only("m5.large")).await.len(), 1);
    assert!(bill(&harness, only("t3.nano")).await.is_empty());
}

/// What was measured of the cluster's tasks: the most memory in MiB, and the share of the CPU.
async fn used(harness: &Harness) -> Option<(String, String)> {
    let metrics = ["longshore:MemoryPeak", "longshore:CPUAverage"];
    let input = json!({"TimePeriod": period(harness), "Granularity": "MONTHLY", "Metrics": metrics});
    let answer = ok(harness, "ce", "GetCostAndUsage", input).await;
    list(&answer["ResultsByTime"]).iter().find_map(|part| {
        let amount = |name: &str| part["Total"][name]["Amount"].as_str().map(str::to_owned);
        amount(metrics[0]).zip(amount(metrics[1]))
    })
}

#[tokio::test]
async fn what_a_task_used_is_kept_with_its_cost_and_never_in_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Harness::start_with(|config| config.data_dir = dir.path().to_owned());
    let harness = start().await;
    let mut session = joined(&harness).await;
    let task = run_one(&harness).await;
    report(&mut session, &task, ObservedStatus::Running).await;
    assert_eq!(used(&harness).await, None, "nobody has measured it yet");
    let say = |memory, cpu_millis| {
        // Its ten 1,024ths of a vCPU are 1 % of a second in each, near enough.
        (task.parse().unwrap(), Measured { memory, cpu_millis, cpu_peak: 10, over_millis: 100_000 })
    };
    let revision = || harness.server.context().store.snapshot().revision();
    let before = revision();
    let strange = task.replace("/demo/", "/other/").parse().unwrap();
    session.tell(Vec::new(), vec![say(40, 500), (strange, Measured { memory: 9_999, ..Measured::default() })]).await;
    assert_eq!(revision(), before, "it is no change of the state");
    let shown = |memory: &str, share: &str| Some((memory.to_owned(), share.to_owned()));
    assert_eq!(used(&harness).await, shown("40", "51.20"));
    // Of an agent that forgot its peak, and with the end; told twice.
    let ended = seen(&task, ObservedStatus::Stopped(Stop::essential_exited()));
    session.tell(vec![ended.clone()], vec![say(12, 900)]).await;
    session.tell(vec![ended], vec![say(12, 900)]).await;
    assert_eq!(used(&harness).await, shown("40", "92.16"));
    until_written(&harness, dir.path()).await;
    drop(session);
    assert!(harness.server.shutdown().await, "everything ended in time");

    // From the ledger alone; and told again by a server that does not know how far it came, which knows nothing of it.
    let harness = start().await;
    assert_eq!(used(&harness).await, shown("40", "92.16"), "after a restart");
    assert!(harness.server.shutdown().await, "everything ended in time");
    std::fs::remove_file(dir.path().join("usage.json")).unwrap();
    let harness = start().await;
    assert_eq!(used(&harness).await, shown("40", "92.16"), "told twice");
    assert!(harness.server.shutdown().await, "everything ended in time");
}

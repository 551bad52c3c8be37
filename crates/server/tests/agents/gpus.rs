//! GPUs over the API: which ones an instance has, which ones a task is given, and what is told to its agent.

use crate::agent::{Machine, Session, hello, token};
use crate::{Harness, code, ecs, list, text};
use link::{Hello, ServerMessage};
use model::{GpuId, ObservedStatus, Resources, Stop, StopCode, TaskObservation};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const IDS: [&str; 3] = ["GPU-0", "GPU-1", "GPU-2"];

/// An instance of the cluster `demo` with these GPUs.
async fn with_gpus(harness: &Harness) -> (Machine, Session, String) {
    ecs(harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let token = token(harness, Some("demo"), 1).await;
    let mut machine = Machine::new(harness).await;
    let arn = machine.join(harness, &token, None).await.unwrap().container_instance.to_string();
    let mut session = machine.open_as(harness, offering()).await;
    let first = session.receive().await;
    assert!(matches!(first, ServerMessage::Welcome(_)), "{first:?}");
    assert!(session.assignments().await.tasks.is_empty());
    (machine, session, arn)
}

fn offering() -> Hello {
    let gpus = IDS.map(|id| GpuId::parse(id).unwrap()).into();
    Hello { resources: Resources { gpus, ..hello().resources }, ..hello() }
}

/// Registers `train:1`: a container with one GPU, and one with as many as said.
async fn train(harness: &Harness, second: u32) {
    let gpu = |count: u32| json!([{"type": "GPU", "value": count.to_string()}]);
    let container = |name: &str| json!({"name": name, "image": "busybox", "memory": 64});
    let (mut first, mut other) = (container("app"), container("other"));
    first["resourceRequirements"] = gpu(1);
    if second > 0 {
        other["resourceRequirements"] = gpu(second);
    }
    let body = json!({"family": "train", "containerDefinitions": [first, other]});
    let answer = ecs(harness, "RegisterTaskDefinition", body).await;
    let shown = &answer["taskDefinition"]["containerDefinitions"][0]["resourceRequirements"];
    assert_eq!(*shown, gpu(1));
}

/// What an instance shows of its GPUs, registered or remaining; none if it shows no such resource.
async fn shown(harness: &Harness, arn: &str, which: &str) -> Option<Vec<String>> {
    let asked = json!({"cluster": "demo", "containerInstances": [arn]});
    let answer = ecs(harness, "DescribeContainerInstances", asked).await;
    let resources = list(&answer["containerInstances"][0][which]).to_vec();
    let gpu = resources.into_iter().find(|resource| resource["name"] == "GPU")?;
    assert_eq!(gpu["type"], "STRINGSET");
    Some(list(&gpu["stringSetValue"]).iter().map(|id| text(id).to_owned()).collect())
}

fn gpus_of(task: &Value, name: &str) -> Value {
    list(&task["containers"]).iter().find(|container| container["name"] == name).unwrap()["gpuIds"].clone()
}

async fn run(harness: &Harness, more: Value) -> Value {
    let mut input = json!({"cluster": "demo", "taskDefinition": "train"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ecs(harness, "RunTask", input).await
}

fn stopped(task: &Value) -> TaskObservation {
    let why = Stop { code: StopCode::UserInitiated, reason: "enough".into() };
    TaskObservation {
        task: text(&task["taskArn"]).parse().unwrap(),
        status: ObservedStatus::Stopped(why),
        containers: Vec::new(),
        pull_started: None,
        pull_stopped: None,
        execution_stopped: None,
        attachment: None,
    }
}

#[tokio::test]
async fn a_task_is_given_gpus_of_its_own_and_gives_them_back() {
    let harness = Harness::start().await;
    let (_machine, mut session, arn) = with_gpus(&harness).await;
    train(&harness, 1).await;
    assert_eq!(shown(&harness, &arn, "registeredResources").await.unwrap(), IDS);
    let answer = run(&harness, json!({})).await;
    let task = &answer["tasks"][0];
    assert_eq!((gpus_of(task, "app"), gpus_of(task, "other")), (json!(["GPU-0"]), json!(["GPU-1"])), "{answer:#}");
    assert_eq!(shown(&harness, &arn, "remainingResources").await.unwrap(), ["GPU-2"]);
    let told = session.assignments().await.tasks[0].gpus.clone();
    let told: Vec<_> = told.iter().map(|(name, ids)| (name.to_string(), ids[0].as_str().to_owned())).collect();
    assert_eq!(told, [("app".to_owned(), "GPU-0".to_owned()), ("other".to_owned(), "GPU-1".to_owned())]);
    // There are too few for another one, and enough for one that asks for less.
    let answer = run(&harness, json!({})).await;
    assert_eq!(answer["failures"], json!([{"arn": arn, "reason": "RESOURCE:GPU"}]));
    let input = json!({"cluster": "demo", "taskDefinition": "train", "containerInstances": [arn]});
    let answer = ecs(&harness, "StartTask", input).await;
    assert_eq!(answer["failures"], json!([{"arn": arn, "reason": "RESOURCE:GPU"}]));
    session.report(vec![stopped(task)]).await;
    assert_eq!(shown(&harness, &arn, "remainingResources").await.unwrap(), IDS);
    assert_eq!(shown(&harness, &arn, "registeredResources").await.unwrap(), IDS);
}

#[tokio::test]
async fn an_override_asks_for_another_number() {
    let harness = Harness::start().await;
    let (_machine, _session, arn) = with_gpus(&harness).await;
    train(&harness, 0).await;
    let over = |kind: &str, value: &str| json!({"overrides": {"containerOverrides": [{"name": "other", "resourceRequirements": [{"type": kind, "value": value}]}]}});
    let answer = run(&harness, over("GPU", "2")).await;
    let task = &answer["tasks"][0];
    assert_eq!((gpus_of(task, "app"), gpus_of(task, "other")), (json!(["GPU-0"]), json!(["GPU-1", "GPU-2"])));
    let overrides = &task["overrides"]["containerOverrides"];
    let own = list(overrides).iter().find(|over| over["name"] == "other").unwrap();
    assert_eq!(own["resourceRequirements"], json!([{"type": "GPU", "value": "2"}]));
    assert_eq!(shown(&harness, &arn, "remainingResources").await.unwrap(), Vec::<String>::new());
    for (kind, value) in [("GPU", "0"), ("GPU", "some"), ("InferenceAccelerator", "device_1")] {
        let mut input = json!({"cluster": "demo", "taskDefinition": "train"});
        input.as_object_mut().unwrap().extend(over(kind, value).as_object().unwrap().clone());
        assert_eq!(code(&harness, "ecs", "RunTask", input).await, "InvalidParameterException", "{kind} {value}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_get_each_gpu_once() {
    let harness = Harness::start().await;
    let (_machine, _session, arn) = with_gpus(&harness).await;
    train(&harness, 0).await;
    let start = json!({"cluster": "demo", "taskDefinition": "train", "containerInstances": [arn]});
    let calls = (0..8).map(|n| {
        let (harness, start) = (&harness, start.clone());
        async move { if n % 2 == 0 { run(harness, json!({})).await } else { ecs(harness, "StartTask", start).await } }
    });
    let answers = futures::future::join_all(calls).await;
    let given: Vec<Value> = answers.iter().flat_map(|a| list(&a["tasks"])).map(|task| gpus_of(task, "app")).collect();
    let distinct: BTreeSet<&str> = given.iter().flat_map(list).map(text).collect();
    assert_eq!((given.len(), distinct), (3, BTreeSet::from(IDS)));
    let refused: Vec<&Value> = answers.iter().flat_map(|answer| list(&answer["failures"])).collect();
    assert!(refused.len() == 5 && refused.iter().all(|failure| failure["reason"] == "RESOURCE:GPU"), "{refused:#?}");
}

#[tokio::test]
async fn a_service_has_as_many_tasks_as_there_are_gpus() {
    let harness = Harness::start().await;
    let (_machine, _session, arn) = with_gpus(&harness).await;
    train(&harness, 0).await;
    let input = json!({"cluster": "demo", "serviceName": "s", "taskDefinition": "train", "desiredCount": 4});
    ecs(&harness, "CreateService", input).await;
    let listed = ("ListTasks", json!({"cluster": "demo", "serviceName": "s"}));
    let answer =
        crate::until(&harness, "three tasks", "ecs", listed, |answer| list(&answer["taskArns"]).len() == 3).await;
    let asked = json!({"cluster": "demo", "tasks": answer["taskArns"]});
    let answer = ecs(&harness, "DescribeTasks", asked).await;
    let given: Vec<Value> = list(&answer["tasks"]).iter().map(|task| gpus_of(task, "app")).collect();
    let distinct: BTreeSet<&str> = given.iter().flat_map(list).map(text).collect();
    assert_eq!(distinct, BTreeSet::from(IDS));
    let described = ("DescribeServices", json!({"cluster": "demo", "services": ["s"]}));
    let full = |answer: &Value| {
        let events = list(&answer["services"][0]["events"]);
        events.iter().any(|event| text(&event["message"]).contains("has insufficient GPU"))
            || events.iter().any(|event| text(&event["message"]).contains("unable to place a task"))
    };
    crate::until(&harness, "what the fourth lacks", "ecs", described, full).await;
    assert_eq!(shown(&harness, &arn, "remainingResources").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_instance_without_gpus_shows_none() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let arn = crate::instance(&harness, "demo", "us-east-1a", 1000).await;
    assert_eq!(shown(&harness, &arn, "registeredResources").await, None);
    train(&harness, 0).await;
    let answer = run(&harness, json!({})).await;
    assert_eq!(answer["failures"], json!([{"arn": arn, "reason": "RESOURCE:GPU"}]));
}

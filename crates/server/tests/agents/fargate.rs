//! Fargate: machines that no client sees, and tasks of every cluster that are placed on them.

use crate::agent::{Machine, Session, hello, token};
use crate::{Harness, code, ec2, ecs, list, text, until};
use link::{AgentMessage, Answer, Question, ServerMessage};
use model::fargate::POOL_CLUSTER;
use serde_json::{Value, json};

/// A machine given to Fargate, in a zone.
pub(crate) async fn given(harness: &Harness, zone: &str) -> Session {
    let token = token(harness, None, 1).await;
    let mut machine = Machine::new(harness).await;
    let identity = machine.join(harness, &token, Some(POOL_CLUSTER)).await.unwrap();
    assert_eq!(identity.container_instance.cluster.name.as_str(), POOL_CLUSTER);
    let mut hello = hello();
    hello.resources.cpu = model::CpuUnits(1024);
    hello.resources.memory = model::MemoryMib(2048);
    for (name, value) in [
        ("ecs.availability-zone", Some(zone)),
        ("ecs.capability.task-eni", None),
        ("ecs.capability.task-cpu-mem-limit", None),
        ("ecs.cpu-architecture", Some("x86_64")),
    ] {
        hello.attributes.insert(name.to_owned(), value.map(str::to_owned));
    }
    let mut session = machine.open_as(harness, hello).await;
    assert!(matches!(session.receive().await, ServerMessage::Welcome(_)));
    session
}

/// Registers `small:1`, which Fargate can run.
pub(crate) async fn small(harness: &Harness) {
    let definition = json!({
        "family": "small", "networkMode": "awsvpc", "cpu": ".25 vCPU", "memory": "0.5 GB",
        "requiresCompatibilities": ["FARGATE"], "containerDefinitions": [{"name": "app", "image": "busybox"}],
    });
    let answer = ecs(harness, "RegisterTaskDefinition", definition).await;
    assert_eq!(answer["taskDefinition"]["compatibilities"], json!(["EC2", "FARGATE"]));
    assert_eq!((&answer["taskDefinition"]["cpu"], &answer["taskDefinition"]["memory"]), (&json!("256"), &json!("512")));
}

/// A network configuration with the default subnets of these zones.
pub(crate) async fn network(harness: &Harness, zones: &[&str]) -> Value {
    let subnets = ec2(harness, "DescribeSubnets", json!({})).await;
    let subnets = list(&subnets["Subnets"]).iter();
    let of_zone = |subnet: &&Value| zones.contains(&text(&subnet["AvailabilityZone"]));
    let subnets: Vec<_> = subnets.filter(of_zone).map(|subnet| subnet["SubnetId"].clone()).collect();
    assert_eq!(subnets.len(), zones.len());
    json!({"awsvpcConfiguration": {"subnets": subnets}})
}

fn run(count: u32, network: &Value, more: &Value) -> Value {
    let mut input =
        json!({"taskDefinition": "small", "launchType": "FARGATE", "count": count, "networkConfiguration": network});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input
}

#[tokio::test]
async fn tasks_of_all_clusters_share_machines_that_no_client_sees() {
    let harness = Harness::start().await;
    for name in ["default", "other"] {
        ecs(&harness, "CreateCluster", json!({"clusterName": name})).await;
    }
    small(&harness).await;
    let zones = ["us-east-1a", "us-east-1b"];
    let network = network(&harness, &zones).await;
    let full = ecs(&harness, "RunTask", run(2, &network, &json!({}))).await;
    let reason = "Capacity is unavailable at this time. Please try again later or in a different availability zone";
    assert_eq!(full["failures"], json!([{"reason": reason}, {"reason": reason}]), "nobody gave Fargate a machine yet");
    let _machines = [given(&harness, zones[0]).await, given(&harness, zones[1]).await];

    // Each machine has room for four.
    let ours = ecs(&harness, "RunTask", run(6, &network, &json!({}))).await;
    let theirs = ecs(&harness, "RunTask", run(3, &network, &json!({"cluster": "other"}))).await;
    assert_eq!((list(&ours["tasks"]).len(), list(&theirs["tasks"]).len()), (6, 2), "{theirs:#}");
    assert_eq!(theirs["failures"], json!([{"reason": reason}]));
    for task in list(&ours["tasks"]).iter().chain(list(&theirs["tasks"])) {
        assert_eq!(task["launchType"], "FARGATE");
        assert_eq!((&task["platformVersion"], &task["platformFamily"]), (&json!("1.4.0"), &json!("Linux")));
        assert_eq!(task["ephemeralStorage"], json!({"sizeInGiB": 20}));
        assert!(task["containerInstanceArn"].is_null(), "{task:#}");
    }
    for zone in zones {
        let there = list(&ours["tasks"]).iter().filter(|task| task["availabilityZone"] == zone).count();
        assert_eq!(there, 3, "they are spread over the subnets' zones");
    }
    let listed = ecs(&harness, "ListTasks", json!({"launchType": "FARGATE", "cluster": "other"})).await;
    assert_eq!(list(&listed["taskArns"]).len(), 2);
    let shown = ecs(&harness, "DescribeClusters", json!({"clusters": ["other"], "include": ["STATISTICS"]})).await;
    let statistics = list(&shown["clusters"][0]["statistics"]);
    assert!(statistics.contains(&json!({"name": "pendingFargateTasksCount", "value": "2"})), "{statistics:?}");
    assert_eq!(shown["clusters"][0]["registeredContainerInstancesCount"], 0);

    // One that stops makes room, whichever cluster it is of.
    let task = ours["tasks"][0]["taskArn"].clone();
    ecs(&harness, "StopTask", json!({"task": task})).await;
    let arns = ecs(&harness, "ListClusters", json!({})).await;
    assert!(!list(&arns["clusterArns"]).iter().any(|arn| text(arn).ends_with(POOL_CLUSTER)));
    assert_eq!(
        code(&harness, "ecs", "CreateCluster", json!({"clusterName": POOL_CLUSTER})).await,
        "InvalidParameterException"
    );
    for (operation, input) in [
        ("RunTask", run(1, &network, &json!({"cluster": POOL_CLUSTER}))),
        ("ListTasks", json!({"cluster": POOL_CLUSTER})),
        ("DeleteCluster", json!({"cluster": POOL_CLUSTER})),
    ] {
        assert_eq!(code(&harness, "ecs", operation, input).await, "ClusterNotFoundException", "{operation}");
    }
    // The root looks after the machines.
    let machines = ecs(&harness, "ListContainerInstances", json!({"cluster": POOL_CLUSTER})).await;
    assert_eq!(list(&machines["containerInstanceArns"]).len(), 2);
    let wrong = state::audit::audit(&harness.server.context().store.snapshot());
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn tasks_have_the_disk_they_ask_for_and_their_machine_is_told() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({})).await;
    let network = network(&harness, &["us-east-1a"]).await;
    let mut machine = given(&harness, "us-east-1a").await;
    let mut definition = json!({
        "family": "small", "networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": ["FARGATE"],
        "ephemeralStorage": {"sizeInGiB": 21}, "containerDefinitions": [{"name": "app", "image": "busybox"}],
    });
    let answer = ecs(&harness, "RegisterTaskDefinition", definition.clone()).await;
    assert_eq!(answer["taskDefinition"]["ephemeralStorage"], json!({"sizeInGiB": 21}));
    definition.as_object_mut().unwrap().remove("ephemeralStorage");
    ecs(&harness, "RegisterTaskDefinition", definition.clone()).await;
    let own = json!({"ephemeralStorage": {"sizeInGiB": 200}});
    for (task_definition, overrides, size) in
        [("small:1", json!({}), 21), ("small:2", json!({}), 20), ("small:1", own.clone(), 200), ("small:2", own, 200)]
    {
        let input = run(1, &network, &json!({"taskDefinition": task_definition, "overrides": overrides}));
        let task = ecs(&harness, "RunTask", input).await["tasks"][0].clone();
        let want = json!({"sizeInGiB": size});
        assert_eq!((&task["ephemeralStorage"], &task["fargateEphemeralStorage"]), (&want, &want), "{task:#}");
        assert_eq!(task["overrides"].get("ephemeralStorage"), overrides.get("ephemeralStorage"), "{task:#}");
        let assigned = loop {
            if let ServerMessage::Assignments(all) = machine.receive().await
                && let Some(found) = all.tasks.into_iter().find(|held| held.task.to_string() == text(&task["taskArn"]))
            {
                break found;
            }
        };
        assert_eq!(assigned.ephemeral_storage_gib, Some(size));
    }
    for (size, says) in
        [(20, "EphemeralStorage size should be at least 21"), (201, "EphemeralStorage size should be at most 200")]
    {
        definition["ephemeralStorage"] = json!({"sizeInGiB": size});
        let error = harness.call("ecs", "RegisterTaskDefinition", &definition).await.unwrap_err();
        assert!(error.code == "ClientException" && error.message.contains(says), "{size}: {error}");
    }
}

#[tokio::test]
async fn machines_are_told_of_images_before_a_task_needs_them() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({})).await;
    let register = async |family: &str, image: &str, more: Value| {
        let mut definition = json!({
            "family": family, "networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": ["FARGATE"],
            "containerDefinitions": [{"name": "app", "image": image}, {"name": "aside", "image": "aside:1", "essential": false}],
        });
        definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ecs(&harness, "RegisterTaskDefinition", definition).await;
    };
    register("web", "web:1", json!({})).await;
    register("of-instances", "other:1", json!({"requiresCompatibilities": ["EC2"]})).await;
    register("of-arm", "arm:1", json!({"runtimePlatform": {"cpuArchitecture": "ARM64"}})).await;
    let network = network(&harness, &["us-east-1a"]).await;
    let service = json!({
        "serviceName": "web", "taskDefinition": "web:1", "launchType": "FARGATE", "desiredCount": 0,
        "networkConfiguration": network,
    });
    ecs(&harness, "CreateService", service).await;
    let mut machine = given(&harness, "us-east-1a").await;
    let mut until = async |want: &[&str]| loop {
        if let ServerMessage::Assignments(set) = machine.receive().await {
            let mut told: Vec<&str> = set.images.iter().map(|image| &**image).collect();
            // Two may have been registered within one millisecond.
            told[2.min(set.images.len())..].sort_unstable();
            if told == want {
                break;
            }
        }
    };
    until(&["web:1", "aside:1"]).await;
    register("new", "new:1", json!({})).await;
    until(&["web:1", "aside:1", "new:1"]).await;
    // A newer one takes the place of the older, unless that is used.
    register("new", "new:2", json!({})).await;
    until(&["web:1", "aside:1", "new:2"]).await;
    register("web", "web:2", json!({})).await;
    until(&["web:1", "aside:1", "new:2", "web:2"]).await;
    ecs(&harness, "DeregisterTaskDefinition", json!({"taskDefinition": "new:2"})).await;
    until(&["web:1", "aside:1", "new:1", "web:2"]).await;
}

#[tokio::test]
async fn a_service_on_fargate_begins_when_a_machine_is_given() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({})).await;
    small(&harness).await;
    let network = network(&harness, &["us-east-1a"]).await;
    let service = json!({
        "serviceName": "web", "taskDefinition": "small", "launchType": "FARGATE", "desiredCount": 2,
        "networkConfiguration": network,
    });
    ecs(&harness, "CreateService", service).await;
    let describe = || ("DescribeServices", json!({"services": ["web"]}));
    let told = |answer: &Value| {
        let events = list(&answer["services"][0]["events"]).iter();
        events.map(|event| text(&event["message"])).any(|told| told.contains("Capacity is unavailable at this time"))
    };
    until(&harness, "word that there is no room", "ecs", describe(), told).await;
    let _machine = given(&harness, "us-east-1a").await;
    let pending = |answer: &Value| answer["services"][0]["pendingCount"] == 2;
    let answer = until(&harness, "two tasks", "ecs", describe(), pending).await;
    let service = &answer["services"][0];
    assert_eq!((&service["launchType"], &service["platformVersion"]), (&json!("FARGATE"), &json!("LATEST")));
    assert_eq!(service["deployments"][0]["platformVersion"], "1.4.0");
}

#[tokio::test]
async fn what_no_machine_of_the_pool_can_do_is_named_and_is_no_want_of_capacity() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({})).await;
    let definition = json!({
        "family": "small", "networkMode": "awsvpc", "cpu": "256", "memory": "512", "pidMode": "task",
        "requiresCompatibilities": ["FARGATE"], "containerDefinitions": [{"name": "app", "image": "busybox"}],
    });
    ecs(&harness, "RegisterTaskDefinition", definition).await;
    let network = network(&harness, &["us-east-1a"]).await;
    let capacity = "Capacity is unavailable at this time. Please try again later or in a different availability zone";
    let reason =
        "No machine given to Fargate has the attribute ecs.capability.pid-ipc-namespace-sharing that the task requires";
    let asked = || run(1, &network, &json!({}));
    let answer = ecs(&harness, "RunTask", asked()).await;
    assert_eq!(answer["failures"], json!([{"reason": capacity}]), "there is no machine");
    let elsewhere = given(&harness, "us-east-1b").await;
    let answer = ecs(&harness, "RunTask", asked()).await;
    assert_eq!(answer["failures"], json!([{"reason": capacity}]), "there is none in this zone");
    let _machine = given(&harness, "us-east-1a").await;
    let answer = ecs(&harness, "RunTask", asked()).await;
    assert_eq!(answer["failures"], json!([{"reason": reason}]));
    let service = json!({
        "serviceName": "web", "taskDefinition": "small", "launchType": "FARGATE", "desiredCount": 1,
        "networkConfiguration": network,
    });
    ecs(&harness, "CreateService", service).await;
    let told = |answer: &Value| {
        let events = list(&answer["services"][0]["events"]).iter();
        events.map(|event| text(&event["message"])).any(|told| told.contains(&format!("Reason: {reason}.")))
    };
    until(&harness, "the reason", "ecs", ("DescribeServices", json!({"services": ["web"]})), told).await;
    drop(elsewhere);
}

#[tokio::test]
async fn what_fargate_cannot_do_is_refused_with_its_words() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({})).await;
    small(&harness).await;
    crate::web(&harness).await;
    let network = network(&harness, &["us-east-1a"]).await;
    for (input, wants, says) in [
        (run(1, &network, &json!({"platformVersion": "9.9"})), "PlatformUnknownException", "9.9"),
        (run(1, &network, &json!({"taskDefinition": "web"})), "InvalidParameterException", "Network Configuration"),
        (
            run(1, &network, &json!({"placementStrategy": [{"type": "random"}]})),
            "InvalidParameterException",
            "Placement strategies are not supported with FARGATE launch type.",
        ),
        (
            run(1, &network, &json!({"launchType": "EC2", "platformVersion": "1.4.0"})),
            "InvalidParameterException",
            "The platform version must be null when specifying an EC2 launch type.",
        ),
        (
            run(1, &network, &json!({"overrides": {"cpu": "300"}})),
            "InvalidParameterException",
            "No Fargate configuration exists for given values.",
        ),
        (
            run(1, &network, &json!({"overrides": {"ephemeralStorage": {"sizeInGiB": 20}}})),
            "InvalidParameterException",
            "EphemeralStorage size should be at least 21",
        ),
        (
            run(1, &network, &json!({"launchType": "EC2", "overrides": {"ephemeralStorage": {"sizeInGiB": 30}}})),
            "InvalidParameterException",
            "EphemeralStorage can only be overridden for tasks of the launch type FARGATE.",
        ),
        (
            run(
                1,
                &network,
                &json!({"platformVersion": "1.3.0", "overrides": {"ephemeralStorage": {"sizeInGiB": 30}}}),
            ),
            "PlatformTaskDefinitionIncompatibilityException",
            "",
        ),
    ] {
        let error = harness.call("ecs", "RunTask", &input).await.unwrap_err();
        assert_eq!(error.code, wants, "{input}: {error}");
        assert!(error.message.contains(says), "{input}: {error}");
    }
    let token = token(&harness, Some("default"), 1).await;
    let refusal = Machine::new(&harness).await.join(&harness, &token, Some(POOL_CLUSTER)).await.unwrap_err();
    assert!(refusal.message.contains("not for Fargate"), "{}", refusal.message);
}

#[tokio::test]
async fn a_machine_of_fargate_is_answered_what_its_tasks_ask() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "default"})).await;
    small(&harness).await;
    let mut machines = [given(&harness, "us-east-1a").await, given(&harness, "us-east-1a").await];
    let network = network(&harness, &["us-east-1a"]).await;
    let answer = ecs(&harness, "RunTask", run(1, &network, &json!({}))).await;
    let task: model::TaskArn = text(&answer["tasks"][0]["taskArn"]).parse().unwrap();
    let mut told = 0;
    for session in &mut machines {
        session.send(&AgentMessage::Ask { id: 3, question: Question::Tags { task: task.clone() } }).await;
        let answer = loop {
            if let ServerMessage::Answered { id: 3, answer } = session.receive().await {
                break answer;
            }
        };
        match answer {
            Answer::Tags { .. } => told += 1,
            other => assert!(matches!(other, Answer::Refused { status: 404, .. }), "{other:?}"),
        }
    }
    assert_eq!(told, 1, "the one that has it, and no other");
}

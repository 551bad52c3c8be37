//! Capacity providers: clusters that have them, and strategies by which tasks and services take their room.

use crate::agent::{Machine, Session, hello, token};
use crate::fargate::{given, network, small};
use crate::{Harness, ecs, list, text, until};
use link::ServerMessage;
use model::{AttachmentState, ObservedStatus, Stop, TaskObservation};
use serde_json::{Value, json};

const NOT_ASSOCIATED: &str = "The specified capacity provider strategy cannot contain a capacity provider that is not \
     associated with the cluster. Associate the capacity provider with the cluster or specify a valid capacity provider and \
     try again.";
const FORCE: &str = "When switching from launch type to capacity provider strategy on an existing service, or making a change \
     to a capacity provider strategy on a service that is already using one, you must force a new deployment.";

/// `PROVIDER weight base` of each.
fn strategy(items: &[(&str, u32, u32)]) -> Value {
    let item = |&(name, weight, base): &_| json!({"capacityProvider": name, "weight": weight, "base": base});
    items.iter().map(item).collect()
}

/// How many of these tasks are FARGATE's and FARGATE_SPOT's.
fn parts(tasks: &[Value]) -> (usize, usize) {
    let of = |name: &str| tasks.iter().filter(|task| task["capacityProviderName"] == name).count();
    (of("FARGATE"), of("FARGATE_SPOT"))
}

/// The agent says that nothing is left of a task.
async fn stopped(machine: &mut Session, task: &str) {
    let seen = TaskObservation {
        task: task.parse().unwrap(),
        status: ObservedStatus::Stopped(Stop::spot_interruption()),
        containers: Vec::new(),
        pull_started: None,
        pull_stopped: None,
        execution_stopped: None,
        attachment: Some(AttachmentState::Deleted),
    };
    machine.send(&link::AgentMessage::Report { seq: 1, tasks: vec![seen], measured: Vec::new() }).await;
    // What it is told meanwhile of tasks and networks is not the matter here.
    while !matches!(machine.receive().await, ServerMessage::ReportAck { .. }) {}
}

async fn refused(harness: &Harness, operation: &str, input: Value, code: &str, says: &str) {
    match harness.call("ecs", operation, &input).await {
        Ok(answer) => panic!("{operation} {input} succeeded: {answer:#}"),
        Err(error) => assert_eq!((&*error.code, &*error.message), (code, says), "{operation} {input}"),
    }
}

/// A cluster with both providers, a definition, and the network its tasks are in.
async fn prepared(harness: &Harness) -> Value {
    let both = json!({"capacityProviders": ["FARGATE", "FARGATE_SPOT"]});
    ecs(harness, "CreateCluster", both).await;
    small(harness).await;
    network(harness, &["us-east-1a"]).await
}

#[tokio::test]
async fn tasks_are_shared_out_as_their_strategy_or_their_cluster_s_says() {
    let harness = Harness::start().await;
    let network = prepared(&harness).await;
    let _machines = [given(&harness, "us-east-1a").await, given(&harness, "us-east-1a").await];
    let run = |count: u32, more: Value| {
        let mut input = json!({"taskDefinition": "small", "count": count, "networkConfiguration": network});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let shares = strategy(&[("FARGATE", 1, 1), ("FARGATE_SPOT", 4, 0)]);
    let answer = ecs(&harness, "RunTask", run(5, json!({"capacityProviderStrategy": shares}))).await;
    assert_eq!(answer["failures"], json!([]));
    assert_eq!(parts(list(&answer["tasks"])), (2, 3));
    for task in list(&answer["tasks"]) {
        assert_eq!(task["launchType"], "FARGATE", "AWS shows both");
    }
    // Room for three more: the one that may keep its room has it.
    let more = ecs(&harness, "RunTask", run(5, json!({"capacityProviderStrategy": shares}))).await;
    assert_eq!((parts(list(&more["tasks"])), list(&more["failures"]).len()), ((2, 1), 2));
    for task in list(&more["tasks"]).iter().chain(list(&answer["tasks"])) {
        ecs(&harness, "StopTask", json!({"task": task["taskArn"]})).await;
    }

    let defaults = json!({
        "cluster": "default", "capacityProviders": ["FARGATE_SPOT", "FARGATE"],
        "defaultCapacityProviderStrategy": strategy(&[("FARGATE_SPOT", 1, 0)]),
    });
    let answer = ecs(&harness, "PutClusterCapacityProviders", defaults.clone()).await;
    let shown = ecs(&harness, "DescribeClusters", json!({})).await["clusters"][0].clone();
    for cluster in [&answer["cluster"], &shown] {
        assert_eq!(cluster["capacityProviders"], defaults["capacityProviders"]);
        assert_eq!(cluster["defaultCapacityProviderStrategy"], defaults["defaultCapacityProviderStrategy"]);
    }
    let service = json!({
        "serviceName": "spot", "taskDefinition": "small", "desiredCount": 0, "networkConfiguration": network,
    });
    let service = ecs(&harness, "CreateService", service).await["service"].clone();
    assert_eq!(service["capacityProviderStrategy"], defaults["defaultCapacityProviderStrategy"]);
    assert!(service["launchType"].is_null(), "{service:#}");
}

#[tokio::test]
async fn a_service_keeps_its_shares_and_changes_them_by_a_deployment() {
    let harness = Harness::start().await;
    let network = prepared(&harness).await;
    let _machines = [given(&harness, "us-east-1a").await, given(&harness, "us-east-1a").await];
    let shares = strategy(&[("FARGATE", 1, 0), ("FARGATE_SPOT", 2, 0)]);
    let create = json!({
        "serviceName": "web", "taskDefinition": "small", "desiredCount": 3, "networkConfiguration": network,
        "capacityProviderStrategy": shares,
    });
    let made = ecs(&harness, "CreateService", create.clone()).await["service"].clone();
    assert_eq!(ecs(&harness, "CreateService", create.clone()).await["service"]["createdAt"], made["createdAt"]);
    let describe = || ("DescribeServices", json!({"services": ["web"]}));
    let answer =
        until(&harness, "three tasks", "ecs", describe(), |answer| answer["services"][0]["pendingCount"] == 3).await;
    let service = &answer["services"][0];
    for shown in [service, &service["deployments"][0]] {
        assert_eq!(shown["capacityProviderStrategy"], shares);
        assert!(shown["launchType"].is_null(), "{shown:#}");
        assert_eq!(shown["platformFamily"], "Linux");
    }
    let revision = json!({"serviceRevisionArns": [service["currentServiceRevisions"][0]["arn"]]});
    let revision = ecs(&harness, "DescribeServiceRevisions", revision).await["serviceRevisions"][0].clone();
    assert_eq!(revision["capacityProviderStrategy"], shares);
    let tasks = async || {
        let listed = ecs(&harness, "ListTasks", json!({"serviceName": "web"})).await;
        let described = ecs(&harness, "DescribeTasks", json!({"tasks": listed["taskArns"]})).await;
        list(&described["tasks"]).to_vec()
    };
    assert_eq!(parts(&tasks().await), (1, 2));

    let invalid = "InvalidParameterException";
    let other = strategy(&[("FARGATE_SPOT", 1, 0)]);
    let update = |strategy: &Value, force: bool| json!({"service": "web", "capacityProviderStrategy": strategy, "forceNewDeployment": force});
    refused(&harness, "UpdateService", update(&other, false), invalid, FORCE).await;
    let no_launch_type = "No launch type to fall back to for empty capacity provider strategy. Your service was not created \
         with a launch type.";
    refused(&harness, "UpdateService", update(&json!([]), true), invalid, no_launch_type).await;
    let removal = json!({
        "cluster": "default", "capacityProviders": ["FARGATE"], "defaultCapacityProviderStrategy": [],
    });
    let in_use = "The specified capacity provider is in use and cannot be removed.";
    refused(&harness, "PutClusterCapacityProviders", removal, "ResourceInUseException", in_use).await;
    let updated = ecs(&harness, "UpdateService", update(&other, true)).await;
    assert_eq!(list(&updated["service"]["deployments"]).len(), 2);
    // The new deployment's tasks come beside the old ones', which are pending and leave at once.
    until(&harness, "the new deployment's tasks", "ecs", describe(), |answer| {
        let primary = &answer["services"][0]["deployments"][0];
        primary["capacityProviderStrategy"] == other && primary["pendingCount"] == 3
    })
    .await;
}

#[tokio::test]
async fn a_service_without_its_strategy_has_its_launch_type_again() {
    let harness = Harness::start().await;
    let network = prepared(&harness).await;
    let create = json!({
        "serviceName": "web", "taskDefinition": "small", "desiredCount": 0, "networkConfiguration": network,
        "launchType": "EC2",
    });
    ecs(&harness, "CreateService", create).await;
    let spot = strategy(&[("FARGATE_SPOT", 1, 0)]);
    let update =
        |strategy: &Value| json!({"service": "web", "capacityProviderStrategy": strategy, "forceNewDeployment": true});
    let updated = ecs(&harness, "UpdateService", update(&spot)).await["service"].clone();
    assert_eq!((&updated["capacityProviderStrategy"], &updated["launchType"]), (&spot, &Value::Null));
    let updated = ecs(&harness, "UpdateService", update(&json!([]))).await["service"].clone();
    assert_eq!((&updated["capacityProviderStrategy"], &updated["launchType"]), (&Value::Null, &json!("EC2")));
}

#[tokio::test]
async fn a_task_set_has_its_own_strategy() {
    let harness = Harness::start().await;
    let network = prepared(&harness).await;
    let service = json!({"serviceName": "web", "desiredCount": 4, "deploymentController": {"type": "EXTERNAL"}});
    let with = json!({"serviceName": "no", "desiredCount": 0, "deploymentController": {"type": "EXTERNAL"},
        "capacityProviderStrategy": strategy(&[("FARGATE", 1, 0)])});
    let invalid = "InvalidParameterException";
    refused(&harness, "CreateService", with, invalid, "CapacityProviderStrategy must be blank").await;
    ecs(&harness, "CreateService", service).await;
    let shares = strategy(&[("FARGATE", 1, 0), ("FARGATE_SPOT", 1, 0)]);
    let set = json!({
        "cluster": "default", "service": "web", "taskDefinition": "small", "networkConfiguration": network,
        "capacityProviderStrategy": shares, "scale": {"value": 100, "unit": "PERCENT"},
    });
    let set = ecs(&harness, "CreateTaskSet", set).await["taskSet"].clone();
    assert_eq!((&set["capacityProviderStrategy"], &set["launchType"]), (&shares, &Value::Null));
    let _machine = given(&harness, "us-east-1a").await;
    let sets = ("DescribeTaskSets", json!({"cluster": "default", "service": "web"}));
    until(&harness, "four tasks", "ecs", sets, |answer| answer["taskSets"][0]["pendingCount"] == 4).await;
    let listed = ecs(&harness, "ListTasks", json!({"serviceName": "web"})).await;
    let described = ecs(&harness, "DescribeTasks", json!({"tasks": listed["taskArns"]})).await;
    assert_eq!(parts(list(&described["tasks"])), (2, 2));
}

#[tokio::test]
async fn strategies_that_are_none_are_refused_with_aws_s_words() {
    let harness = Harness::start().await;
    let network = prepared(&harness).await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "bare"})).await;
    let invalid = "InvalidParameterException";
    let one = strategy(&[("FARGATE", 1, 0)]);
    let both =
        "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.";
    let no_weight = "The capacity provider strategy must contain at least one capacity provider with a weight greater than \
         0. Update the capacity provider strategy and try again.";
    let rows = [
        (json!({"launchType": "FARGATE", "capacityProviderStrategy": one}), both),
        (json!({"cluster": "bare", "capacityProviderStrategy": one}), NOT_ASSOCIATED),
        (json!({"capacityProviderStrategy": strategy(&[("mine", 1, 0)])}), NOT_ASSOCIATED),
        (
            json!({"capacityProviderStrategy": strategy(&[("FARGATE", 1, 1), ("FARGATE_SPOT", 1, 1)])}),
            "Only one capacity provider in a capacity provider strategy can have a base defined.",
        ),
        (
            json!({"capacityProviderStrategy": strategy(&[("FARGATE", 1, 0), ("FARGATE", 1, 0)])}),
            "The capacity provider strategy names the capacity provider FARGATE more than once.",
        ),
        (json!({"capacityProviderStrategy": strategy(&[("FARGATE", 0, 1), ("FARGATE_SPOT", 0, 0)])}), no_weight),
        (
            json!({"capacityProviderStrategy": one, "placementStrategy": [{"type": "random"}]}),
            "Placement strategies are not supported with FARGATE launch type.",
        ),
    ];
    for (more, says) in rows {
        for (operation, own) in
            [("RunTask", json!({})), ("CreateService", json!({"serviceName": "s", "desiredCount": 1}))]
        {
            let mut input = json!({"taskDefinition": "small", "networkConfiguration": network});
            for part in [&own, &more] {
                input.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
            }
            refused(&harness, operation, input, invalid, says).await;
        }
    }
    for (weight, base) in [(1001, 0), (-1, 0), (1, 100_001), (1, -1)] {
        let item = json!([{"capacityProvider": "FARGATE", "weight": weight, "base": base}]);
        let input =
            json!({"taskDefinition": "small", "networkConfiguration": network, "capacityProviderStrategy": item});
        assert_eq!(crate::code(&harness, "ecs", "RunTask", input).await, invalid, "{weight} {base}");
    }
    let not_found = "The specified capacity provider was not found. Specify a valid capacity provider and try again.";
    let unknown = json!({"clusterName": "new", "capacityProviders": ["mine"]});
    refused(&harness, "CreateCluster", unknown, invalid, not_found).await;
    let foreign = json!({"cluster": "bare", "capacityProviders": [], "defaultCapacityProviderStrategy": one});
    refused(&harness, "PutClusterCapacityProviders", foreign, invalid, NOT_ASSOCIATED).await;
    let inconsistent =
        "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";
    refused(&harness, "CreateCluster", json!({"capacityProviders": ["FARGATE"]}), invalid, inconsistent).await;
    let nowhere = json!({"cluster": "nope", "capacityProviders": [], "defaultCapacityProviderStrategy": []});
    refused(&harness, "PutClusterCapacityProviders", nowhere, "ClusterNotFoundException", "Cluster not found.").await;
}

#[tokio::test]
async fn the_two_providers_are_always_there() {
    let harness = Harness::start().await;
    let all = ecs(&harness, "DescribeCapacityProviders", json!({"include": ["TAGS"]})).await;
    let names: Vec<_> = list(&all["capacityProviders"]).iter().map(|one| text(&one["name"]).to_owned()).collect();
    assert_eq!(names, ["FARGATE", "FARGATE_SPOT"]);
    let one = &all["capacityProviders"][1];
    assert_eq!((&one["status"], &one["tags"], &one["type"]), (&json!("ACTIVE"), &json!([]), &json!("FARGATE_SPOT")));
    assert!(text(&one["capacityProviderArn"]).ends_with(":capacity-provider/FARGATE_SPOT"));
    let named = json!({"capacityProviders": [one["capacityProviderArn"], "mine"]});
    let named = ecs(&harness, "DescribeCapacityProviders", named).await;
    assert_eq!(list(&named["capacityProviders"]).len(), 1);
    assert_eq!(named["failures"][0]["reason"], "MISSING");
    assert!(text(&named["failures"][0]["arn"]).ends_with(":capacity-provider/mine"));
    let first = ecs(&harness, "DescribeCapacityProviders", json!({"maxResults": 1})).await;
    let rest = json!({"maxResults": 1, "nextToken": first["nextToken"]});
    let rest = ecs(&harness, "DescribeCapacityProviders", rest).await;
    assert_eq!((&rest["capacityProviders"][0]["name"], &rest["nextToken"]), (&json!("FARGATE_SPOT"), &Value::Null));
    ecs(&harness, "CreateCluster", json!({"capacityProviders": ["FARGATE"]})).await;
    let of_cluster = ecs(&harness, "DescribeCapacityProviders", json!({"cluster": "default"})).await;
    assert_eq!(list(&of_cluster["capacityProviders"]).len(), 1);
    for operation in ["CreateCapacityProvider", "UpdateCapacityProvider", "DeleteCapacityProvider"] {
        let input = json!({"name": "mine", "capacityProvider": "FARGATE"});
        assert_eq!(crate::code(&harness, "ecs", operation, input).await, "InvalidParameterException");
    }
}

#[tokio::test]
async fn spot_tasks_give_their_room_to_those_that_keep_it() {
    let harness = Harness::start().await;
    let network = prepared(&harness).await;
    // Room for four.
    let mut machine = given(&harness, "us-east-1a").await;
    let create = |name: &str, count: u32, provider: &str| {
        json!({
            "serviceName": name, "taskDefinition": "small", "desiredCount": count, "networkConfiguration": network,
            "capacityProviderStrategy": strategy(&[(provider, 1, 0)]),
        })
    };
    let describe = |name: &str| ("DescribeServices", json!({"services": [name]}));
    ecs(&harness, "CreateService", create("batch", 4, "FARGATE_SPOT")).await;
    let pending = |count: u32| move |answer: &Value| answer["services"][0]["pendingCount"] == count;
    until(&harness, "four Spot tasks", "ecs", describe("batch"), pending(4)).await;
    ecs(&harness, "CreateService", create("web", 1, "FARGATE")).await;
    // The warning: it is to stop, and why.
    let stopping = ("ListTasks", json!({"serviceName": "batch", "desiredStatus": "STOPPED"}));
    let listed = until(&harness, "one that is interrupted", "ecs", stopping.clone(), |answer| {
        !list(&answer["taskArns"]).is_empty()
    })
    .await;
    assert_eq!(list(&listed["taskArns"]).len(), 1, "one is enough");
    let task = ecs(&harness, "DescribeTasks", json!({"tasks": listed["taskArns"]})).await["tasks"][0].clone();
    assert_eq!(
        (&task["stopCode"], &task["capacityProviderName"]),
        (&json!("SpotInterruption"), &json!("FARGATE_SPOT"))
    );
    assert_eq!(task["stoppedReason"], "Your Spot Task was interrupted.");
    assert_eq!(task["desiredStatus"], "STOPPED");
    // Its agent does as it is told, and the room is the other service's, though the first wants it back.
    stopped(&mut machine, text(&task["taskArn"])).await;
    until(&harness, "the task that keeps its room", "ecs", describe("web"), pending(1)).await;
    let batch = ecs(&harness, "DescribeServices", json!({"services": ["batch"]})).await;
    assert_eq!(batch["services"][0]["pendingCount"], 3);
    assert_eq!(batch["services"][0]["deployments"][0]["failedTasks"], 0, "an interruption is no failure");

    // RunTask is told that there is no room, and finds it when it asks again.
    let run = json!({"taskDefinition": "small", "launchType": "FARGATE", "networkConfiguration": network});
    let answer = ecs(&harness, "RunTask", run.clone()).await;
    let reason = "Capacity is unavailable at this time. Please try again later or in a different availability zone";
    assert_eq!(answer["failures"], json!([{"reason": reason}]));
    let listed = until(&harness, "another that is interrupted", "ecs", stopping, |answer| {
        list(&answer["taskArns"]).iter().any(|arn| *arn != task["taskArn"])
    })
    .await;
    let other = list(&listed["taskArns"]).iter().find(|arn| **arn != task["taskArn"]).unwrap().clone();
    assert_eq!(list(&ecs(&harness, "RunTask", run.clone()).await["tasks"]).len(), 0, "it has not stopped yet");
    stopped(&mut machine, text(&other)).await;
    let answer = until(&harness, "its room", "ecs", ("RunTask", run), |answer| answer["failures"] == json!([])).await;
    assert_eq!(list(&answer["tasks"]).len(), 1);
    let batch = ecs(&harness, "DescribeServices", json!({"services": ["batch"]})).await;
    assert_eq!(batch["services"][0]["pendingCount"], 2, "nobody else was interrupted");
}

/// A container instance of the cluster `default` with room for four of `small`.
async fn instance(harness: &Harness) -> Session {
    let token = token(harness, Some("default"), 1).await;
    let mut machine = Machine::new(harness).await;
    machine.join(harness, &token, None).await.unwrap();
    let mut hello = hello();
    hello.resources.cpu = model::CpuUnits(1024);
    hello.resources.memory = model::MemoryMib(2048);
    for (name, value) in [
        ("ecs.availability-zone", Some("us-east-1a")),
        ("ecs.capability.task-eni", None),
        ("ecs.capability.task-cpu-mem-limit", None),
    ] {
        hello.attributes.insert(name.to_owned(), value.map(str::to_owned));
    }
    let mut session = machine.open_as(harness, hello).await;
    assert!(matches!(session.receive().await, ServerMessage::Welcome(_)));
    session
}

#[tokio::test]
async fn a_cluster_that_prefers_cost_takes_the_cheapest_room_that_holds_all() {
    let harness = Harness::start().await;
    let network = prepared(&harness).await;
    let preference = |value: &str| json!([{"key": "longshore:preference", "value": value}]);
    let arn = "arn:aws:ecs:us-east-1:000000000000:cluster/default";
    let other = json!({"resourceArn": arn, "tags": preference("SPEED")});
    let says = "Longshore does not honour longshore:preference=SPEED; the preference is COST.";
    refused(&harness, "TagResource", other, "InvalidParameterException", says).await;
    ecs(&harness, "TagResource", json!({"resourceArn": arn, "tags": preference("COST")})).await;
    let _pool = [given(&harness, "us-east-1a").await, given(&harness, "us-east-1a").await];
    let run = |count: u32, more: Value| {
        let mut input = json!({"taskDefinition": "small", "count": count, "networkConfiguration": network});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let room = async |count: u32, more: Value| {
        let answer = ecs(&harness, "RunTask", run(count, more)).await;
        assert_eq!((list(&answer["tasks"]).len(), &answer["failures"]), (count as usize, &json!([])), "{answer:#}");
        let task = &answer["tasks"][0];
        let provider = task["capacityProviderName"].as_str().unwrap_or("none").to_owned();
        (text(&task["launchType"]).to_owned(), provider)
    };
    let pair = |launch: &str, provider: &str| (launch.to_owned(), provider.to_owned());
    assert_eq!(room(1, json!({})).await, pair("FARGATE", "FARGATE_SPOT"), "there are no instances");
    let _instance = instance(&harness).await;
    assert_eq!(room(3, json!({})).await, pair("EC2", "none"), "an instance is paid for anyway");
    assert_eq!(room(2, json!({})).await, pair("FARGATE", "FARGATE_SPOT"), "there is room for one, and not for both");
    assert_eq!(room(1, json!({"launchType": "FARGATE"})).await, pair("FARGATE", "none"), "what is named counts");
    assert_eq!(room(1, json!({"platformVersion": "1.4.0"})).await, pair("FARGATE", "FARGATE_SPOT"));
    let rules = json!({"placementConstraints": [{"type": "distinctInstance"}], "group": "alone"});
    assert_eq!(room(1, rules).await, pair("EC2", "none"), "Fargate takes no constraints");
    // A cluster that has no Spot.
    let kept = json!({"clusterName": "kept", "capacityProviders": ["FARGATE"], "tags": preference("COST")});
    ecs(&harness, "CreateCluster", kept).await;
    let in_it = room(1, json!({"cluster": "kept"})).await;
    assert_eq!(in_it, pair("FARGATE", "FARGATE"), "Spot is nobody's who did not ask for it");

    let service = |name: &str| {
        json!({
            "cluster": "kept", "serviceName": name, "taskDefinition": "small", "desiredCount": 1,
            "networkConfiguration": network,
        })
    };
    let made = ecs(&harness, "CreateService", service("web")).await;
    assert_eq!(made["service"]["capacityProviderStrategy"], strategy(&[("FARGATE", 1, 0)]), "{made:#}");
    let kept = arn.replace("default", "kept");
    ecs(&harness, "UntagResource", json!({"resourceArn": kept, "tagKeys": ["longshore:preference"]})).await;
    let made = ecs(&harness, "CreateService", service("plain")).await;
    assert_eq!(made["service"]["launchType"], "EC2", "{made:#}");
}

use crate::{Harness, code, ecs, instance, list, text, web};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Room for this many tasks of 10 CPU units on each instance.
const ROOM: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_runs_never_place_more_than_there_is_room_for() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({})).await;
    web(&harness).await;
    for zone in ["us-east-1a", "us-east-1b", "us-east-1c"] {
        instance(&harness, "default", zone, 10 * i32::try_from(ROOM).unwrap()).await;
    }
    let run = || ecs(&harness, "RunTask", json!({"taskDefinition": "web", "count": 10}));
    let answers = futures::future::join_all((0..64).map(|_| run())).await;
    let placed: usize = answers.iter().map(|answer| list(&answer["tasks"]).len()).sum();
    assert_eq!(placed, 3 * ROOM, "the cluster is full and not fuller");
    let refused: Vec<&Value> = answers.iter().flat_map(|answer| list(&answer["failures"])).collect();
    assert!(!refused.is_empty() && refused.iter().all(|failure| failure["reason"] == "RESOURCE:CPU"));
    let arns = ecs(&harness, "ListContainerInstances", json!({})).await["containerInstanceArns"].clone();
    let shown = ecs(&harness, "DescribeContainerInstances", json!({"containerInstances": arns})).await;
    for instance in list(&shown["containerInstances"]) {
        let left = list(&instance["remainingResources"]).iter().find(|r| r["name"] == "CPU").unwrap();
        assert_eq!((left["integerValue"].as_i64(), instance["pendingTasksCount"].as_i64()), (Some(0), Some(60)));
    }
}

#[tokio::test]
async fn a_client_token_runs_its_tasks_once() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({})).await;
    web(&harness).await;
    instance(&harness, "default", "us-east-1a", 1000).await;
    let input = json!({"taskDefinition": "web", "count": 2, "clientToken": "once"});
    let answers = futures::future::join_all((0..8).map(|_| ecs(&harness, "RunTask", input.clone()))).await;
    let arns: BTreeSet<&str> =
        answers.iter().flat_map(|answer| list(&answer["tasks"])).map(|task| text(&task["taskArn"])).collect();
    assert_eq!(arns.len(), 2);
    let other = json!({"taskDefinition": "web", "count": 3, "clientToken": "once"});
    let error = harness.call("ecs", "RunTask", &other).await.unwrap_err();
    assert_eq!(error.code, "ConflictException");
    assert_eq!(error.extra["resourceIds"].as_array().map(Vec::len), Some(2));
    assert_eq!(list(&ecs(&harness, "ListTasks", json!({})).await["taskArns"]).len(), 2);
}

#[tokio::test]
async fn tasks_are_listed_by_what_is_asked_for() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({})).await;
    web(&harness).await;
    let (a, b) = (
        instance(&harness, "default", "us-east-1a", 1000).await,
        instance(&harness, "default", "us-east-1b", 1000).await,
    );
    for (on, group, by) in [(&a, "blue", "ci"), (&a, "green", "ci"), (&b, "green", "me")] {
        let input = json!({"taskDefinition": "web", "containerInstances": [on], "group": group, "startedBy": by});
        let answer = ecs(&harness, "StartTask", input).await;
        assert_eq!((list(&answer["tasks"]).len(), list(&answer["failures"]).len()), (1, 0), "{answer:#}");
    }
    let stopped = ecs(&harness, "ListTasks", json!({"startedBy": "me"})).await["taskArns"][0].clone();
    ecs(&harness, "StopTask", json!({"task": stopped})).await;
    for (filter, want) in [
        (json!({}), 2),
        (json!({"desiredStatus": "STOPPED"}), 1),
        (json!({"desiredStatus": "PENDING"}), 0),
        (json!({"containerInstance": a}), 2),
        (json!({"containerInstance": b}), 0),
        (json!({"containerInstance": b, "desiredStatus": "STOPPED"}), 1),
        (json!({"startedBy": "ci"}), 2),
        (json!({"family": "web"}), 2),
        (json!({"family": "api"}), 0),
        (json!({"launchType": "EC2"}), 2),
        (json!({"launchType": "EXTERNAL"}), 0),
        (json!({"launchType": "FARGATE"}), 0),
    ] {
        let answer = ecs(&harness, "ListTasks", filter.clone()).await;
        assert_eq!(list(&answer["taskArns"]).len(), want, "{filter}");
    }
    let first = ecs(&harness, "ListTasks", json!({"maxResults": 1})).await;
    let rest = ecs(&harness, "ListTasks", json!({"maxResults": 1, "nextToken": first["nextToken"]})).await;
    assert_ne!(first["taskArns"], rest["taskArns"]);
    assert!(rest["nextToken"].is_null());
    for (operation, input) in [
        ("ListTasks", json!({"startedBy": "ci", "family": "web"})),
        ("ListTasks", json!({"maxResults": 101})),
        ("ListTasks", json!({"containerInstance": "0".repeat(32)})),
        ("DescribeTasks", json!({"tasks": []})),
        ("RunTask", json!({"taskDefinition": "web", "count": 11})),
        ("RunTask", json!({"taskDefinition": "web", "launchType": "FARGATE"})),
        ("RunTask", json!({"taskDefinition": "web", "startedBy": "x".repeat(129)})),
        ("StartTask", json!({"taskDefinition": "web", "containerInstances": [a], "startedBy": "x".repeat(37)})),
        ("StopTask", json!({"task": "0".repeat(32)})),
    ] {
        assert_eq!(
            code(&harness, "ecs", operation, input.clone()).await,
            "InvalidParameterException",
            "{operation} {input}"
        );
    }
    let answer = ecs(&harness, "DescribeTasks", json!({"tasks": [stopped, "nope"]})).await;
    assert_eq!(list(&answer["tasks"]).len(), 1);
    assert_eq!(
        answer["failures"][0],
        json!({"arn": "arn:aws:ecs:us-east-1:000000000000:task/default/nope", "reason": "MISSING"})
    );
}

#[tokio::test]
async fn a_cluster_without_instances_says_so() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({})).await;
    web(&harness).await;
    let error = harness.call("ecs", "RunTask", &json!({"taskDefinition": "web"})).await.unwrap_err();
    assert_eq!(
        (&*error.code, &*error.message),
        ("InvalidParameterException", "No Container Instances were found in your cluster.")
    );
    assert_eq!(code(&harness, "ecs", "RunTask", json!({"taskDefinition": "nope"})).await, "ClientException");
    assert_eq!(
        code(&harness, "ecs", "RunTask", json!({"taskDefinition": "web", "cluster": "nope"})).await,
        "ClusterNotFoundException"
    );
}

#[tokio::test]
async fn limits_count_what_the_task_definition_brings_along() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({})).await;
    instance(&harness, "default", "us-east-1a", 1000).await;
    let constraints = |count: usize| vec![json!({"type": "memberOf", "expression": "attribute:stack == prod"}); count];
    let tags = |range: std::ops::Range<usize>| -> Vec<Value> {
        range.map(|n| json!({"key": format!("k{n}"), "value": "v"})).collect()
    };
    let definition = json!({
        "family": "bound", "containerDefinitions": [{"name": "app", "image": "busybox", "memory": 64}],
        "placementConstraints": constraints(6), "tags": tags(0..30),
    });
    ecs(&harness, "RegisterTaskDefinition", definition).await;
    let run = |more: Value| {
        let mut input = json!({"taskDefinition": "bound", "enableECSManagedTags": true});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let fits = ecs(&harness, "RunTask", run(json!({"placementConstraints": constraints(4)}))).await;
    assert_eq!(list(&fits["tasks"]).len(), 1, "{fits:#}");
    let error =
        harness.call("ecs", "RunTask", &run(json!({"placementConstraints": constraints(5)}))).await.unwrap_err();
    assert_eq!(error.code, "InvalidParameterException");
    assert!(error.message.contains("at most 10 placement constraints"), "{}", error.message);

    // Equal keys count once, and those of AWS's own do not count.
    let propagated = |own: Vec<Value>| run(json!({"propagateTags": "TASK_DEFINITION", "tags": own}));
    let fits = ecs(&harness, "RunTask", propagated(tags(10..50))).await;
    assert_eq!(list(&fits["tasks"][0]["tags"]).len(), 51, "{fits:#}");
    let error = harness.call("ecs", "RunTask", &propagated(tags(30..51))).await.unwrap_err();
    assert_eq!(error.code, "InvalidParameterException");
    assert!(error.message.contains("50"), "{}", error.message);
}

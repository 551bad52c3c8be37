//! Services as clients ask for them and see them. No instance ever comes, so what was asked for stays asked for: what a
//! service does with its tasks is tested where there are instances.

use crate::{Harness, Want, arn, run};
use serde_json::{Value, json};

const INVALID: &str = "InvalidParameterException";

/// A cluster `default` with `web:1`, `web:2` and the inactive `old:1`.
pub(crate) async fn start() -> Harness {
    let harness = Harness::start().await;
    harness.call("ecs", "CreateCluster", &json!({})).await.unwrap();
    for (family, image) in [("web", "one"), ("web", "two"), ("old", "one")] {
        let containers = json!([{"name": "app", "image": image, "memory": 6}]);
        let definition = json!({"family": family, "containerDefinitions": containers});
        harness.call("ecs", "RegisterTaskDefinition", &definition).await.unwrap();
    }
    harness.call("ecs", "DeregisterTaskDefinition", &json!({"taskDefinition": "old:1"})).await.unwrap();
    harness
}

/// What makes a service of two tasks, with more.
pub(crate) fn create(name: &str, more: &Value) -> Value {
    let mut input = json!({"serviceName": name, "taskDefinition": "web:1", "desiredCount": 2});
    merge(&mut input, more);
    input
}

/// Lays members over a request; null takes one away.
fn merge(input: &mut Value, more: &Value) {
    let members = input.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
}

pub(crate) async fn call(harness: &Harness, operation: &str, input: Value) -> Value {
    let answer = harness.call("ecs", operation, &input).await;
    answer.unwrap_or_else(|error| panic!("{operation} {input}: {error}"))
}

/// The service as it is described.
async fn described(harness: &Harness, name: &str) -> Value {
    call(harness, "DescribeServices", json!({"services": [name]})).await["services"][0].clone()
}

#[tokio::test]
async fn a_service_is_told_as_aws_tells_it() {
    let harness = start().await;
    let made = call(
        &harness,
        "CreateService",
        create("web", &json!({"taskDefinition": "web", "tags": [{"key": "k", "value": "v"}], "role": ""})),
    )
    .await;
    let service = &made["service"];
    let deployment = &service["deployments"][0];
    let id = deployment["id"].as_str().unwrap();
    let number = id.strip_prefix("ecs-svc/").unwrap();
    assert_eq!(number.len(), 19, "{id}");
    let revision = arn(&format!("service-revision/default/web/{number}"));
    let want = json!({
        "serviceArn": arn("service/default/web"), "serviceName": "web", "clusterArn": arn("cluster/default"),
        "status": "ACTIVE", "desiredCount": 2, "runningCount": 0, "pendingCount": 0, "launchType": "EC2",
        "taskDefinition": arn("task-definition/web:2"),
        "deploymentConfiguration": {
            "maximumPercent": 200, "minimumHealthyPercent": 100, "strategy": "ROLLING", "bakeTimeInMinutes": 0,
            "deploymentCircuitBreaker": {
                "enable": false, "rollback": false, "resetOnHealthyTask": true,
                "thresholdConfiguration": {"type": "BOUNDED_PERCENT", "value": 50},
            },
            "earlySuccessCriteria": null, "alarms": null, "lifecycleHooks": null,
        },
        "deploymentController": {"type": "ECS"},
        "deployments": [{
            "status": "PRIMARY", "taskDefinition": arn("task-definition/web:2"), "desiredCount": 2, "pendingCount": 0,
            "runningCount": 0, "failedTasks": 0, "launchType": "EC2", "rolloutState": "IN_PROGRESS",
            "rolloutStateReason": format!("ECS deployment {id} in progress."),
        }],
        "currentServiceRevisions": [
            {"arn": revision, "requestedTaskCount": 2, "runningTaskCount": 0, "pendingTaskCount": 0}],
        "events": [], "createdBy": "arn:aws:iam::000000000000:root",
        "placementConstraints": [], "placementStrategy": [], "schedulingStrategy": "REPLICA", "propagateTags": "NONE",
        "enableECSManagedTags": false, "enableExecuteCommand": false, "availabilityZoneRebalancing": "ENABLED",
        "loadBalancers": [], "serviceRegistries": [], "tags": [{"key": "k", "value": "v"}],
        "roleArn": null, "platformVersion": null, "networkConfiguration": null, "taskSets": null,
        "healthCheckGracePeriodSeconds": null,
    });
    let story = service["currentServiceDeployment"].clone();
    run(
        &harness,
        "ecs",
        vec![
            (
                "CreateService",
                create("web", &json!({"taskDefinition": "web", "tags": [{"key": "k", "value": "v"}], "role": ""})),
                Want::Ok(json!({"service": {"serviceName": "web"}})),
            ),
            (
                "DescribeServices",
                json!({"services": ["web", "nope", arn("service/default/web")]}),
                Want::Ok(json!({
                    "services": [{"serviceName": "web", "tags": null}, {"serviceName": "web"}],
                    "failures": [{"arn": arn("service/default/nope"), "reason": "MISSING"}],
                })),
            ),
            (
                "DescribeServices",
                json!({"services": ["web"], "include": ["TAGS"]}),
                Want::Ok(json!({"services": [{"tags": [{"key": "k", "value": "v"}]}]})),
            ),
            (
                "DescribeServiceDeployments",
                json!({"serviceDeploymentArns": [story, arn("service-deployment/default/web/aaaaaaaaaaaaaaaaaaaaa")]}),
                Want::Ok(json!({
                    "serviceDeployments": [{
                        "serviceDeploymentArn": story, "serviceArn": arn("service/default/web"),
                        "clusterArn": arn("cluster/default"), "status": "IN_PROGRESS", "sourceServiceRevisions": [],
                        "targetServiceRevision": {"arn": revision, "requestedTaskCount": 2},
                        "deploymentCircuitBreaker": {"status": "DISABLED", "failureCount": 0},
                        "deploymentConfiguration": {"maximumPercent": 200}, "alarms": {"status": "DISABLED"},
                        "rollback": null, "finishedAt": null,
                    }],
                    "failures": [{
                        "arn": arn("service-deployment/default/web/aaaaaaaaaaaaaaaaaaaaa"), "reason": "MISSING"}],
                })),
            ),
            (
                "ListServiceDeployments",
                json!({"service": "web"}),
                Want::Ok(json!({"serviceDeployments": [{
                    "serviceDeploymentArn": story, "targetServiceRevisionArn": revision, "status": "IN_PROGRESS"}]})),
            ),
            (
                "DescribeServiceRevisions",
                json!({"serviceRevisionArns": [revision, arn(&format!("service-revision/default/nope/{number}"))]}),
                Want::Ok(json!({
                    "serviceRevisions": [{
                        "serviceRevisionArn": revision, "serviceArn": arn("service/default/web"),
                        "taskDefinition": arn("task-definition/web:2"), "launchType": "EC2",
                        "containerImages": [{"containerName": "app", "image": "two", "imageDigest": null}],
                    }],
                    "failures": [{"arn": arn(&format!("service-revision/default/nope/{number}")), "reason": "MISSING"}],
                })),
            ),
        ],
    )
    .await;
    if let Err(path) = crate::contains(service, &want, "") {
        panic!("differs at {path}: {service:#}");
    }
}

#[tokio::test]
async fn wrong_requests_for_a_service_are_refused() {
    let harness = start().await;
    let daemon = |more: Value| {
        let mut input = create("d", &json!({"schedulingStrategy": "DAEMON", "desiredCount": null}));
        merge(&mut input, &more);
        input
    };
    let configuration = |more: Value| json!({"deploymentConfiguration": more});
    let strategy = json!([{"type": "binpack", "field": "cpu"}]);
    let many = |number: usize, what: Value| Value::from(vec![what; number]);
    let rows = [
        (create("", &json!({})), INVALID, "Service name can not be blank."),
        (create("sp ace", &json!({})), INVALID, "Invalid service name 'sp ace': up to 255 letters, numbers"),
        (create("a", &json!({"cluster": "nope"})), "ClusterNotFoundException", "Cluster not found."),
        (create("a", &json!({"taskDefinition": ""})), INVALID, "TaskDefinition can not be blank."),
        (create("a", &json!({"taskDefinition": "nope"})), "ClientException", "TaskDefinition not found."),
        (create("a", &json!({"taskDefinition": "old:1"})), "ClientException", "TaskDefinition is inactive"),
        (create("a", &json!({"desiredCount": null})), INVALID, "desiredCount is required"),
        (create("a", &json!({"desiredCount": -1})), INVALID, "desiredCount must be at least 0."),
        (create("a", &json!({"desiredCount": 5001})), INVALID, "Desired count exceeds limit."),
        (create("a", &json!({"clientToken": "x".repeat(37)})), INVALID, "clientToken"),
        (
            create("a", &json!({"launchType": "FARGATE"})),
            INVALID,
            "Task definition does not support launch_type FARGATE.",
        ),
        (create("a", &json!({"deploymentController": {"type": "CODE_DEPLOY"}})), INVALID, "controller CODE_DEPLOY"),
        (create("a", &json!({"role": "r"})), INVALID, "does not honour role"),
        (create("a", &json!({"loadBalancers": [{"containerPort": 1}]})), INVALID, "does not honour loadBalancers"),
        (create("a", &json!({"loadBalancers": [{}]})), INVALID, "does not honour loadBalancers"),
        (create("a", &json!({"serviceRegistries": [{"port": 0}]})), INVALID, "registry  does not exist"),
        (create("a", &json!({"tags": [{"key": "aws:x", "value": ""}]})), INVALID, "reserved"),
        (create("a", &configuration(json!({"strategy": "CANARY"}))), INVALID, "strategy CANARY"),
        (
            create("a", &configuration(json!({"alarms": {"alarmNames": ["a"], "enable": true, "rollback": true}}))),
            INVALID,
            "does not honour deploymentConfiguration.alarms",
        ),
        (create("a", &configuration(json!({"minimumHealthyPercent": 101}))), INVALID, "must be at most 100"),
        (create("a", &configuration(json!({"minimumHealthyPercent": -1}))), INVALID, "must be at least 0"),
        (
            create("a", &json!({"healthCheckGracePeriodSeconds": -1})),
            INVALID,
            "healthCheckGracePeriodSeconds must be at least 0",
        ),
        (create("a", &configuration(json!({"maximumPercent": 99}))), INVALID, "maximumPercent must be at least 100"),
        (create("a", &configuration(json!({"maximumPercent": 100}))), INVALID, "as this will block deployments"),
        (
            create(
                "a",
                &configuration(json!({"deploymentCircuitBreaker": {
                    "enable": true, "rollback": true, "thresholdConfiguration": {"type": "COUNT", "value": 0}}})),
            ),
            INVALID,
            "thresholdConfiguration must be at least 1",
        ),
        (
            create("a", &configuration(json!({"earlySuccessCriteria": {"enable": true, "healthyPercent": 50}}))),
            INVALID,
            "at least minimumHealthyPercent",
        ),
        (create("a", &json!({"placementConstraints": [{"type": "memberOf"}]})), INVALID, "must not be empty"),
        (
            create("a", &json!({"placementConstraints": many(11, json!({"type": "distinctInstance"}))})),
            INVALID,
            "at most 10 placement constraints",
        ),
        (create("a", &json!({"placementStrategy": [{"type": "spread"}]})), INVALID, "Invalid placement strategy field"),
        (
            create("a", &json!({"placementStrategy": many(6, json!({"type": "random"}))})),
            INVALID,
            "at most 5 placement strategies",
        ),
        (
            create("a", &json!({"placementStrategy": strategy, "availabilityZoneRebalancing": "ENABLED"})),
            INVALID,
            "Availability Zone rebalancing does not support a first placement strategy",
        ),
        (
            create("a", &json!({"launchType": "EXTERNAL", "availabilityZoneRebalancing": "ENABLED"})),
            INVALID,
            "does not support the EXTERNAL launch type",
        ),
        (daemon(json!({"desiredCount": 0})), INVALID, "does not support a desired count"),
        (daemon(json!({"placementStrategy": strategy})), INVALID, "does not support placement strategies"),
        (daemon(configuration(json!({"maximumPercent": 200}))), INVALID, "does not support values above 100"),
        (daemon(json!({"availabilityZoneRebalancing": "ENABLED"})), INVALID, "does not support the DAEMON"),
    ];
    let rows = rows.map(|(input, code, text)| ("CreateService", input, Want::Err(code, text)));
    run(&harness, "ecs", rows.into()).await;
    let answer = call(&harness, "ListServices", json!({})).await;
    assert_eq!(answer["serviceArns"], json!([]), "what is refused leaves nothing behind");
}

#[tokio::test]
async fn what_the_request_leaves_open_is_aws_s_default() {
    let harness = start().await;
    let strategy = json!([{"type": "binpack", "field": "cpu"}]);
    let zones = json!([{"type": "spread", "field": "attribute:ecs.availability-zone"}]);
    let in_a = json!([{"type": "memberOf", "expression": "attribute:ecs.availability-zone == a"}]);
    let percent = |min: i32, max: i32| json!({"minimumHealthyPercent": min, "maximumPercent": max});
    let daemon = json!({"schedulingStrategy": "DAEMON", "desiredCount": null});
    let rows = [
        (json!({}), json!({"availabilityZoneRebalancing": "ENABLED"})),
        (json!({"availabilityZoneRebalancing": "DISABLED"}), json!({"availabilityZoneRebalancing": "DISABLED"})),
        (
            json!({"placementStrategy": strategy}),
            json!({"availabilityZoneRebalancing": "DISABLED", "placementStrategy": strategy}),
        ),
        (json!({"placementStrategy": zones}), json!({"availabilityZoneRebalancing": "ENABLED"})),
        (
            json!({"placementConstraints": in_a}),
            json!({"availabilityZoneRebalancing": "DISABLED", "placementConstraints": in_a}),
        ),
        (
            json!({"launchType": "EXTERNAL"}),
            json!({"availabilityZoneRebalancing": "DISABLED", "launchType": "EXTERNAL"}),
        ),
        (
            json!({"deploymentConfiguration": percent(50, 100)}),
            json!({"availabilityZoneRebalancing": "DISABLED", "deploymentConfiguration": percent(50, 100)}),
        ),
        (
            daemon,
            json!({"availabilityZoneRebalancing": "DISABLED", "schedulingStrategy": "DAEMON",
                "deploymentConfiguration": percent(0, 100), "desiredCount": 0}),
        ),
        (
            json!({"deploymentConfiguration": {
                "minimumHealthyPercent": 50,
                "deploymentCircuitBreaker": {"enable": true, "rollback": true, "resetOnHealthyTask": false,
                    "thresholdConfiguration": {"type": "COUNT", "value": 4}},
                "earlySuccessCriteria": {"enable": true, "healthyPercent": 80}}}),
            json!({"deploymentConfiguration": {
                "minimumHealthyPercent": 50, "maximumPercent": 200,
                "deploymentCircuitBreaker": {"enable": true, "rollback": true, "resetOnHealthyTask": false,
                    "thresholdConfiguration": {"type": "COUNT", "value": 4}},
                "earlySuccessCriteria": {
                    "enable": true, "healthyPercent": 80, "sourceServiceRevisionCleanup": "BLOCKING"}}}),
        ),
        (
            json!({"propagateTags": "SERVICE", "enableECSManagedTags": true}),
            json!({"propagateTags": "SERVICE", "enableECSManagedTags": true}),
        ),
    ];
    let rows = rows.into_iter().enumerate().map(|(number, (more, want))| {
        ("CreateService", create(&format!("s{number}"), &more), Want::Ok(json!({"service": want})))
    });
    run(&harness, "ecs", rows.collect()).await;
}

#[tokio::test]
async fn the_same_request_makes_one_service() {
    let harness = start().await;
    let token = |token: &str| json!({"clientToken": token});
    let same =
        |more: Value| ("CreateService", create("web", &more), Want::Ok(json!({"service": {"serviceName": "web"}})));
    let other = |more: Value| {
        let want = Want::Err(INVALID, "Creation of service was not idempotent.");
        ("CreateService", create("web", &more), want)
    };
    let calls = (0..8).map(|_| call(&harness, "CreateService", create("web", &token("t"))));
    let made = futures::future::join_all(calls).await;
    let ids: std::collections::BTreeSet<String> =
        made.iter().map(|answer| answer["service"]["deployments"][0]["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "eight equal requests make one deployment");
    let rows = vec![
        same(json!({})),
        same(token("t")),
        same(token("another")),
        same(json!({"cluster": "default"})),
        same(json!({"cluster": arn("cluster/default")})),
        other(json!({"desiredCount": 3})),
        other(json!({"desiredCount": 3, "clientToken": "t"})),
        other(json!({"taskDefinition": "web:2"})),
    ];
    run(&harness, "ecs", rows).await;
}

#[tokio::test]
async fn services_are_updated_and_deployed_only_for_what_their_tasks_are() {
    let harness = start().await;
    call(&harness, "CreateService", create("web", &json!({}))).await;
    let daemon = json!({"schedulingStrategy": "DAEMON", "desiredCount": null});
    call(&harness, "CreateService", create("d", &daemon)).await;
    let spread = json!([{"type": "spread", "field": "instanceId"}]);
    let strategy = json!({"placementStrategy": spread, "availabilityZoneRebalancing": "DISABLED"});
    let distinct = json!({"placementConstraints": [{"type": "distinctInstance"}]});
    // What is changed, what it makes of the service, whether it deploys.
    let rows = [
        (json!({}), json!({}), false),
        (json!({"desiredCount": 3}), json!({"desiredCount": 3}), false),
        (json!({"taskDefinition": "web:1"}), json!({}), false),
        (json!({"deploymentConfiguration": {}, "forceNewDeployment": false}), json!({}), false),
        (
            json!({"deploymentConfiguration": {"maximumPercent": 150}}),
            json!({"deploymentConfiguration": {"maximumPercent": 150, "minimumHealthyPercent": 100}}),
            false,
        ),
        (
            json!({"deploymentConfiguration": {"minimumHealthyPercent": 0}}),
            json!({"deploymentConfiguration": {"maximumPercent": 150, "minimumHealthyPercent": 0}}),
            false,
        ),
        (
            json!({"deploymentConfiguration": {"maximumPercent": 100}}),
            json!({"availabilityZoneRebalancing": "DISABLED"}),
            false,
        ),
        (
            json!({"deploymentConfiguration": {"maximumPercent": 150}, "availabilityZoneRebalancing": "ENABLED"}),
            json!({"availabilityZoneRebalancing": "ENABLED"}),
            false,
        ),
        (json!({"availabilityZoneRebalancing": "DISABLED"}), json!({"availabilityZoneRebalancing": "DISABLED"}), false),
        (json!({"healthCheckGracePeriodSeconds": 60}), json!({"healthCheckGracePeriodSeconds": 60}), false),
        (json!({"desiredCount": 0}), json!({"desiredCount": 0, "healthCheckGracePeriodSeconds": 60}), false),
        (json!({"desiredCount": 2}), json!({"desiredCount": 2}), false),
        (json!({"forceNewDeployment": true}), json!({"taskDefinition": arn("task-definition/web:1")}), true),
        (json!({"taskDefinition": "web"}), json!({"taskDefinition": arn("task-definition/web:2")}), true),
        (strategy, json!({"placementStrategy": spread}), true),
        (json!({"placementStrategy": []}), json!({"placementStrategy": []}), true),
        (distinct.clone(), distinct.clone(), true),
        (distinct, json!({}), false),
        (json!({"propagateTags": "TASK_DEFINITION"}), json!({"propagateTags": "TASK_DEFINITION"}), true),
        (json!({"enableECSManagedTags": true}), json!({"enableECSManagedTags": true}), true),
        (json!({"enableECSManagedTags": false}), json!({"enableECSManagedTags": false}), true),
    ];
    for (number, (more, want, deploys)) in rows.into_iter().enumerate() {
        let before = described(&harness, "web").await;
        let mut input = json!({"service": "web"});
        merge(&mut input, &more);
        let got = call(&harness, "UpdateService", input.clone()).await["service"].clone();
        if let Err(path) = crate::contains(&got, &want, "") {
            panic!("row {number}: {input} differs at {path}: {got:#}");
        }
        let primary = |service: &Value| service["deployments"][0]["id"].clone();
        assert_eq!(primary(&got) != primary(&before), deploys, "row {number}: {input}");
        let primaries = got["deployments"].as_array().unwrap().iter().filter(|d| d["status"] == "PRIMARY");
        assert_eq!(primaries.count(), 1, "row {number}: {input}");
    }
    let stories = call(&harness, "ListServiceDeployments", json!({"service": "web"})).await;
    assert_eq!(stories["serviceDeployments"].as_array().unwrap().len(), 9, "{stories:#}");
    let update = |more: Value, code, text| {
        let mut input = json!({"service": "web"});
        merge(&mut input, &more);
        ("UpdateService", input, Want::Err(code, text))
    };
    let rows = vec![
        update(json!({"service": "nope"}), "ServiceNotFoundException", "Service not found."),
        update(json!({"service": ""}), INVALID, "Service can not be blank."),
        update(json!({"cluster": "nope"}), "ClusterNotFoundException", "Cluster not found."),
        update(json!({"service": arn("service/other/web")}), INVALID, "Your cluster is default"),
        update(json!({"taskDefinition": "nope"}), "ClientException", "TaskDefinition not found."),
        update(json!({"taskDefinition": "old:1"}), "ClientException", "TaskDefinition is inactive"),
        update(json!({"desiredCount": 5001}), INVALID, "Desired count exceeds limit."),
        update(
            json!({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-00000000000000001"]}}}),
            INVALID,
            "ErrorCode: InvalidSubnetID.NotFound",
        ),
        update(
            json!({"availabilityZoneRebalancing": "ENABLED", "placementStrategy": spread}),
            INVALID,
            "Availability Zone rebalancing does not support",
        ),
        update(json!({"service": "d", "desiredCount": 1}), INVALID, "does not support a desired count"),
        update(json!({"service": "d", "placementStrategy": spread}), INVALID, "does not support placement strategies"),
    ];
    run(&harness, "ecs", rows).await;
}

#[tokio::test]
async fn service_deployments_are_listed_in_pages_and_stopped() {
    let harness = start().await;
    call(&harness, "CreateService", create("web", &json!({}))).await;
    for _ in 0..4 {
        call(&harness, "UpdateService", json!({"service": "web", "forceNewDeployment": true})).await;
    }
    let (mut seen, mut token) = (Vec::new(), json!(null));
    for page in 0.. {
        assert!(page < 4);
        let input = json!({"service": "web", "maxResults": 2, "nextToken": token});
        let got = call(&harness, "ListServiceDeployments", input).await;
        seen.extend(got["serviceDeployments"].as_array().unwrap().iter().map(|d| d["serviceDeploymentArn"].clone()));
        match got.get("nextToken") {
            Some(next) => token = next.clone(),
            None => break,
        }
    }
    let newest = described(&harness, "web").await["currentServiceDeployment"].clone();
    let distinct: std::collections::BTreeSet<String> = seen.iter().map(ToString::to_string).collect();
    assert_eq!((seen.len(), distinct.len()), (5, 5));
    assert!(seen.contains(&newest));
    let nobody = arn("service-deployment/default/web/aaaaaaaaaaaaaaaaaaaaa");
    let superseded = seen.iter().find(|arn| **arn != newest).unwrap();
    let far = json!({"after": 4_000_000_000.0});
    let rows = vec![
        (
            "ListServiceDeployments",
            json!({"service": "web", "status": ["IN_PROGRESS", "PENDING"]}),
            Want::Ok(json!({"serviceDeployments": [{"serviceDeploymentArn": newest}]})),
        ),
        (
            "ListServiceDeployments",
            json!({"service": "web", "createdAt": far}),
            Want::Ok(json!({"serviceDeployments": [], "nextToken": null})),
        ),
        ("ListServiceDeployments", json!({"service": "nope"}), Want::Err("ServiceNotFoundException", "not found")),
        ("ListServiceDeployments", json!({"service": "web", "maxResults": 101}), Want::Err(INVALID, "maxResults")),
        ("DescribeServiceDeployments", json!({"serviceDeploymentArns": []}), Want::Err(INVALID, "cannot be empty")),
        ("DescribeServiceDeployments", json!({"serviceDeploymentArns": ["x"]}), Want::Err(INVALID, "arn: x")),
        (
            "DescribeServiceDeployments",
            json!({"serviceDeploymentArns": vec![nobody.clone(); 21]}),
            Want::Err(INVALID, "more than 20"),
        ),
        ("DescribeServiceRevisions", json!({"serviceRevisionArns": []}), Want::Err(INVALID, "cannot be empty")),
        ("DescribeServiceRevisions", json!({"serviceRevisionArns": ["x"]}), Want::Err(INVALID, "arn: x")),
        (
            "StopServiceDeployment",
            json!({"serviceDeploymentArn": nobody}),
            Want::Err("ServiceDeploymentNotFoundException", "not found"),
        ),
        ("StopServiceDeployment", json!({"serviceDeploymentArn": "x"}), Want::Err(INVALID, "arn: x")),
        ("StopServiceDeployment", json!({"serviceDeploymentArn": superseded}), Want::Err("ConflictException", "")),
        (
            "StopServiceDeployment",
            json!({"serviceDeploymentArn": newest}),
            Want::Err("ConflictException", "no completed service revision"),
        ),
        (
            "StopServiceDeployment",
            json!({"serviceDeploymentArn": newest, "stopType": "ABORT"}),
            Want::Ok(json!({"serviceDeploymentArn": newest})),
        ),
    ];
    run(&harness, "ecs", rows).await;
}

#[tokio::test]
async fn services_are_listed_described_and_deleted() {
    let harness = start().await;
    for number in 0..12 {
        call(&harness, "CreateService", create(&format!("s{number:02}"), &json!({}))).await;
    }
    call(&harness, "CreateService", create("x", &json!({"launchType": "EXTERNAL"}))).await;
    call(&harness, "CreateService", create("d", &json!({"schedulingStrategy": "DAEMON", "desiredCount": null}))).await;
    let first = call(&harness, "ListServices", json!({})).await;
    let rest = call(&harness, "ListServices", json!({"nextToken": first["nextToken"]})).await;
    let count = |answer: &Value| answer["serviceArns"].as_array().unwrap().len();
    assert_eq!((count(&first), count(&rest), rest.get("nextToken")), (10, 4, None));
    let names = |names: &[&str]| json!({"services": names});
    let external = json!({"serviceArns": [arn("service/default/x")]});
    let elsewhere = arn("service/default/d").replace("us-east-1", "eu-west-1");
    let missing = json!({"services": [{"serviceName": "d"}], "failures": [{"arn": elsewhere, "reason": "MISSING"}]});
    let rows = vec![
        ("ListServices", json!({"launchType": "EXTERNAL"}), Want::Ok(external)),
        ("ListServices", json!({"launchType": "FARGATE"}), Want::Ok(json!({"serviceArns": []}))),
        (
            "ListServices",
            json!({"schedulingStrategy": "DAEMON"}),
            Want::Ok(json!({"serviceArns": [arn("service/default/d")]})),
        ),
        ("ListServices", json!({"maxResults": 101}), Want::Err(INVALID, "maxResults")),
        ("ListServices", json!({"maxResults": 0}), Want::Err(INVALID, "maxResults should be between 1 and 100")),
        ("CreateCluster", json!({"clusterName": "other"}), Want::Ok(json!({}))),
        (
            "ListServices",
            json!({"cluster": "other", "nextToken": first["nextToken"]}),
            Want::Err(INVALID, "Invalid token."),
        ),
        ("ListServices", json!({"cluster": "nope"}), Want::Err("ClusterNotFoundException", "")),
        (
            "ListServicesByNamespace",
            json!({"namespace": "n"}),
            Want::Err("NamespaceNotFoundException", "does not exist"),
        ),
        ("DescribeServices", names(&[]), Want::Err(INVALID, "Services cannot be empty.")),
        ("DescribeServices", names(&["a"; 11]), Want::Err(INVALID, "more than 10")),
        (
            "DescribeServices",
            json!({"services": [arn("service/other/web")]}),
            Want::Err(INVALID, "Identifier is for cluster other. Your cluster is default"),
        ),
        ("DescribeServices", names(&["d", &elsewhere]), Want::Ok(missing)),
        ("ListTasks", json!({"serviceName": elsewhere}), Want::Err("ServiceNotFoundException", "Service not found.")),
        ("UpdateService", json!({"service": elsewhere}), Want::Err("ServiceNotFoundException", "Service not found.")),
        (
            "DescribeServices",
            names(&["arn:aws:ecs:us-east-1:1:service/default/d"]),
            Want::Err(INVALID, "Invalid identifier"),
        ),
        ("ListTasks", json!({"serviceName": "s00"}), Want::Ok(json!({"taskArns": []}))),
        ("ListTasks", json!({"serviceName": "nope"}), Want::Err("ServiceNotFoundException", "Service not found.")),
        ("DescribeClusters", json!({}), Want::Ok(json!({"clusters": [{"activeServicesCount": 14}]}))),
        (
            "DeleteCluster",
            json!({"cluster": "default"}),
            Want::Err("ClusterContainsServicesException", "while Services are active."),
        ),
        ("DeleteService", json!({"service": "nope"}), Want::Err("ServiceNotFoundException", "Service not found.")),
        (
            "DeleteService",
            json!({"service": "s00"}),
            Want::Err(INVALID, "cannot be stopped while it is scaled above 0."),
        ),
        (
            "DeleteService",
            json!({"service": "s00", "force": true}),
            Want::Ok(json!({"service": {"serviceName": "s00", "status": "DRAINING", "desiredCount": 0}})),
        ),
        ("UpdateService", json!({"service": "s01", "desiredCount": 0}), Want::Ok(json!({}))),
        ("DeleteService", json!({"service": "s01"}), Want::Ok(json!({"service": {"status": "DRAINING"}}))),
        ("DeleteService", json!({"service": "d"}), Want::Ok(json!({"service": {"status": "DRAINING"}}))),
        ("UpdateService", json!({"service": "d"}), Want::Err("ServiceNotActiveException", "Service was not ACTIVE.")),
        ("DescribeClusters", json!({}), Want::Ok(json!({"clusters": [{"activeServicesCount": 11}]}))),
        ("DescribeServices", names(&["d"]), Want::Ok(json!({"services": [{"serviceName": "d"}], "failures": []}))),
        ("ListServices", json!({"schedulingStrategy": "DAEMON"}), Want::Ok(json!({"serviceArns": []}))),
    ];
    run(&harness, "ecs", rows).await;
}

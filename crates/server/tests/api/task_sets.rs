//! Services that an external controller deploys, and their task sets. No instance ever comes, so that nothing runs.

use crate::{
    Harness, Want, arn, run,
    services::{call, create, start},
};
use serde_json::{Value, json};

const INVALID: &str = "InvalidParameterException";
const NOT_FOUND: &str = "TaskSetNotFoundException";

/// What makes a service of four tasks for an external controller.
fn external(name: &str, more: &Value) -> Value {
    let mut members = json!({"deploymentController": {"type": "EXTERNAL"}, "taskDefinition": null, "desiredCount": 4});
    members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    create(name, &members)
}

/// A request about a task set of `web`.
fn about(more: &Value) -> Value {
    let mut input = json!({"cluster": "default", "service": "web"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input
}

fn percent(value: f64) -> Value {
    json!({"value": value, "unit": "PERCENT"})
}

/// Makes a set of `web`; its id.
async fn set(harness: &Harness, more: &Value) -> String {
    let mut input = about(&json!({"taskDefinition": "web:1"}));
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = call(harness, "CreateTaskSet", input).await;
    made["taskSet"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_external_service_leaves_its_form_to_its_task_sets() {
    let harness = start().await;
    let code_deploy = json!({"deploymentController": {"type": "CODE_DEPLOY"}});
    let breaker = json!({"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": true}}});
    let early = json!({"deploymentConfiguration": {"earlySuccessCriteria": {"enable": true, "healthyPercent": 100}}});
    let shown = json!({"service": {
        "deploymentController": {"type": "EXTERNAL"}, "deployments": [], "taskSets": [], "taskDefinition": null,
        "launchType": null, "desiredCount": 4, "status": "ACTIVE", "availabilityZoneRebalancing": "DISABLED",
        "currentServiceDeployment": null, "placementStrategy": [{"type": "spread", "field": "instanceId"}],
        "propagateTags": "SERVICE", "enableECSManagedTags": true,
    }});
    let more = json!({
        "placementStrategy": [{"type": "spread", "field": "instanceId"}], "propagateTags": "SERVICE",
        "enableECSManagedTags": true, "deploymentConfiguration": {"maximumPercent": 200, "minimumHealthyPercent": 100},
    });
    let of_service = |more: &Value| {
        let mut input = json!({"service": "web"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("UpdateService", input)
    };
    let refused = |more: Value, text: &'static str| {
        let (operation, input) = of_service(&more);
        (operation, input, Want::Err(INVALID, text))
    };
    let rows = vec![
        ("CreateService", external("a", &code_deploy), Want::Err(INVALID, "controller CODE_DEPLOY")),
        (
            "CreateService",
            external("a", &json!({"taskDefinition": "web:1"})),
            Want::Err(INVALID, "TaskDefinition must be blank"),
        ),
        ("CreateService", external("a", &json!({"launchType": "EC2"})), Want::Err(INVALID, "LaunchType must be blank")),
        ("CreateService", external("a", &breaker), Want::Err(INVALID, "circuit breaker is supported only")),
        ("CreateService", external("a", &early), Want::Err(INVALID, "earlySuccessCriteria is supported only")),
        (
            "CreateService",
            external("a", &json!({"availabilityZoneRebalancing": "ENABLED"})),
            Want::Err(INVALID, "does not support the EXTERNAL deployment controller"),
        ),
        (
            "CreateService",
            external("a", &json!({"schedulingStrategy": "DAEMON", "desiredCount": null})),
            Want::Err(INVALID, "daemon scheduling strategy is not supported"),
        ),
        ("CreateService", external("web", &more), Want::Ok(shown.clone())),
        ("CreateService", external("web", &more), Want::Ok(shown)),
        ("CreateService", external("web", &json!({})), Want::Err(INVALID, "Creation of service was not idempotent.")),
        ("ListServices", json!({"launchType": "EC2"}), Want::Ok(json!({"serviceArns": [arn("service/default/web")]}))),
        refused(json!({"taskDefinition": "web:2"}), "Unable to update task definition on services with an EXTERNAL"),
        refused(json!({"forceNewDeployment": true}), "Cannot force a new deployment"),
        refused(json!({"placementStrategy": []}), "Unable to update placement strategy"),
        refused(json!({"propagateTags": "NONE"}), "Unable to update propagate tags"),
        refused(json!({"deploymentController": {"type": "ECS"}}), "a change of deploymentController"),
        refused(json!({"healthCheckGracePeriodSeconds": -1}), "healthCheckGracePeriodSeconds must be at least 0"),
    ];
    run(&harness, "ecs", rows).await;
    let grace = json!({"healthCheckGracePeriodSeconds": 5});
    let (changes, changed) = of_service(&grace);
    let (operation, input) = of_service(&json!({"desiredCount": 6}));
    let rows = vec![
        (changes, changed, Want::Ok(json!({"service": grace}))),
        (operation, input, Want::Ok(json!({"service": {"desiredCount": 6, "deployments": []}}))),
        (
            "UpdateService",
            json!({"service": "web", "desiredCount": 6, "deploymentController": {"type": "EXTERNAL"}}),
            Want::Ok(json!({"service": {"desiredCount": 6}})),
        ),
    ];
    run(&harness, "ecs", rows).await;
}

#[tokio::test]
async fn a_task_set_is_told_as_aws_tells_it() {
    let harness = start().await;
    call(&harness, "CreateService", external("web", &json!({}))).await;
    let tags = json!([{"key": "k", "value": "v"}]);
    let more = json!({"scale": percent(37.5), "externalId": "blue", "tags": tags, "clientToken": "t"});
    let id = set(&harness, &more).await;
    assert_eq!(set(&harness, &more).await, id, "the same token makes one set");
    let set_arn = arn(&format!("task-set/default/web/{id}"));
    let told = json!({
        "id": id, "taskSetArn": set_arn, "serviceArn": arn("service/default/web"), "externalId": "blue",
        "clusterArn": arn("cluster/default"), "status": "ACTIVE", "taskDefinition": arn("task-definition/web:1"),
        "computedDesiredCount": 2, "pendingCount": 0, "runningCount": 0, "launchType": "EC2", "loadBalancers": [],
        "serviceRegistries": [], "scale": percent(37.5), "stabilityStatus": "STABILIZING", "startedBy": null,
    });
    let with = |more: &Value| {
        let mut all = told.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let other = arn("task-set/default/other/ecs-svc/1000000000000000000");
    let missing = |name: &str| json!({"arn": name, "reason": "MISSING"});
    let rows = vec![
        (
            "DescribeTaskSets",
            about(&json!({})),
            Want::Ok(json!({"taskSets": [with(&json!({"tags": null}))], "failures": []})),
        ),
        (
            "DescribeTaskSets",
            about(&json!({"taskSets": [set_arn, id, other, "x"], "include": ["TAGS"]})),
            Want::Ok(json!({
                "taskSets": [with(&json!({"tags": tags})), told],
                "failures": [missing(&other), missing("x")],
            })),
        ),
        (
            "DescribeServices",
            json!({"services": ["web"]}),
            Want::Ok(json!({"services": [{"taskSets": [with(&json!({"tags": null}))], "taskDefinition": null}]})),
        ),
        (
            "UpdateServicePrimaryTaskSet",
            about(&json!({"primaryTaskSet": id})),
            Want::Ok(json!({"taskSet": {"id": id, "status": "PRIMARY"}})),
        ),
        (
            "DescribeServices",
            json!({"services": ["web"]}),
            Want::Ok(json!({"services": [{"taskDefinition": arn("task-definition/web:1"), "launchType": "EC2"}]})),
        ),
        (
            "UpdateTaskSet",
            about(&json!({"taskSet": set_arn, "scale": percent(100.0)})),
            Want::Ok(json!({"taskSet": {"scale": percent(100.0), "computedDesiredCount": 4}})),
        ),
        (
            "UpdateService",
            json!({"service": "web", "desiredCount": 3}),
            Want::Ok(json!({"service": {"desiredCount": 3, "taskSets": [{"computedDesiredCount": 3}]}})),
        ),
    ];
    run(&harness, "ecs", rows).await;
    let described = call(&harness, "DescribeServices", json!({"services": ["web"]})).await;
    let events = described["services"][0]["events"].as_array().unwrap().clone();
    let said = |count: u32| {
        let text = format!("(service web) updated computedDesiredCount for taskSet {id} to {count}.");
        events.iter().any(|event| event["message"] == *text)
    };
    assert!(said(2) && said(4) && said(3), "{events:?}");
}

#[tokio::test]
async fn one_task_set_leads_and_another_leaves() {
    let harness = start().await;
    call(&harness, "CreateService", external("web", &json!({}))).await;
    call(&harness, "CreateService", create("ours", &json!({}))).await;
    let blue = set(&harness, &json!({"scale": percent(100.0)})).await;
    let green = set(&harness, &json!({"scale": percent(100.0)})).await;
    let idle = set(&harness, &json!({})).await;
    let nobody = "ecs-svc/1000000000000000000";
    let lead = |id: &str| ("UpdateServicePrimaryTaskSet", about(&json!({"primaryTaskSet": id})));
    let led = |id: &str| {
        let (operation, input) = lead(id);
        (operation, input, Want::Ok(json!({"taskSet": {"id": id, "status": "PRIMARY"}})))
    };
    let scale = |id: &str, scale: Value| ("UpdateTaskSet", about(&json!({"taskSet": id, "scale": scale})));
    let deleted = |id: &str, force: bool| ("DeleteTaskSet", about(&json!({"taskSet": id, "force": force})));
    let failed = |(operation, input): (&'static str, Value), code, text| (operation, input, Want::Err(code, text));
    let made = |more: Value| {
        let mut input = about(&json!({"taskDefinition": "web:1"}));
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("CreateTaskSet", input)
    };
    let rows = vec![
        led(&blue),
        led(&green),
        (
            "DescribeTaskSets",
            about(&json!({"taskSets": [blue, green]})),
            Want::Ok(json!({"taskSets": [{"id": blue, "status": "ACTIVE"}, {"id": green, "status": "PRIMARY"}]})),
        ),
        failed(lead(nobody), NOT_FOUND, "task set"),
        failed(scale(nobody, percent(1.0)), NOT_FOUND, "task set"),
        failed(deleted(nobody, true), NOT_FOUND, "task set"),
        failed(scale(&blue, percent(100.1)), INVALID, "between 0 and 100"),
        failed(scale(&blue, percent(-1.0)), INVALID, "between 0 and 100"),
        failed(deleted(&blue, false), INVALID, "cannot be deleted while it is scaled above 0"),
        failed(made(json!({"taskDefinition": ""})), INVALID, "TaskDefinition can not be blank."),
        failed(made(json!({"taskDefinition": "old:1"})), "ClientException", "TaskDefinition is inactive"),
        failed(
            made(json!({"launchType": "FARGATE"})),
            INVALID,
            "Task definition does not support launch_type FARGATE.",
        ),
        failed(
            made(json!({"platformVersion": "1.4.0"})),
            INVALID,
            "The platform version must be null when specifying an EC2 launch type.",
        ),
        failed(made(json!({"clientToken": "x".repeat(37)})), INVALID, "clientToken"),
        failed(made(json!({"service": "ours"})), INVALID, "configured to use external deployment controllers"),
        failed(made(json!({"service": "none"})), "ServiceNotFoundException", "Service not found."),
        (
            "DescribeTaskSets",
            about(&json!({"service": "ours"})),
            Want::Err(INVALID, "configured to use external deployment controllers"),
        ),
    ];
    run(&harness, "ecs", rows).await;
    let token = |scale: f64| made(json!({"clientToken": "one", "scale": percent(scale)}));
    let deletes = |(operation, input): (&'static str, Value), id: &str| {
        let want = json!({"taskSet": {"id": id, "status": "DRAINING", "computedDesiredCount": 0}});
        (operation, input, Want::Ok(want))
    };
    let _ = idle;
    let (operation, input) = token(50.0);
    call(&harness, operation, input).await;
    let fifth = made(json!({}));
    call(&harness, fifth.0, fifth.1).await;
    let rows = vec![
        failed(token(60.0), INVALID, "Creation of task set was not idempotent."),
        failed(made(json!({})), INVALID, "5 deployments exist on the service. Unable to create new TaskSet"),
        ("DeleteService", json!({"service": "web"}), Want::Err(INVALID, "while it is scaled above 0")),
        ("UpdateService", json!({"service": "web", "desiredCount": 0}), Want::Ok(json!({}))),
        ("DeleteService", json!({"service": "web"}), Want::Err(INVALID, "while it has task sets")),
    ];
    run(&harness, "ecs", rows).await;
    let (operation, input) = ("UpdateService", json!({"service": "web", "desiredCount": 4}));
    call(&harness, operation, input).await;
    let rows = vec![
        deletes(deleted(&blue, true), &blue),
        (
            "DeleteService",
            json!({"service": "web", "force": true}),
            Want::Ok(json!({"service": {"serviceName": "web"}})),
        ),
        failed(lead(&green), "ServiceNotActiveException", "Service was not ACTIVE."),
    ];
    run(&harness, "ecs", rows).await;
}

//! Services with tasks that were put there, on an instance of which no agent ever speaks: what neither starts nor stops can
//! be looked at in peace.

use crate::{
    Harness, Want, arn, run,
    services::{call, create, start},
    tags::instance,
};
use model::{
    ContainerInstanceArn, CpuUnits, Desired, LaunchType, MemoryMib, Phase, Reservation, Service, ServiceArn,
    ServiceStatus, Tags, Task, TaskArn, TaskId, TaskOverrides, TaskTimes,
};
use serde_json::{Value, json};
use state::{Basis, Command, ServiceChange};
use std::sync::Arc;

const INVALID: &str = "InvalidParameterException";
/// How often a change may be overtaken by the service's loop. It writes a few times and rests.
const TRIES: usize = 100;

/// What makes a service that finds no instance by itself.
fn placeless(desired: u32) -> Value {
    let nowhere = json!([{"type": "memberOf", "expression": "attribute:no == where"}]);
    create("web", &json!({"desiredCount": desired, "placementConstraints": nowhere}))
}

/// Changes the service `web`, whatever its loop does meanwhile.
async fn change(harness: &Harness, start: impl Fn(&Service) -> Vec<Task>, status: Option<ServiceStatus>) {
    let store = &harness.server.context().store;
    let arn: ServiceArn = arn("service/default/web").parse().unwrap();
    for _ in 0..TRIES {
        let before = store.snapshot().service(&arn).unwrap().service.clone();
        let mut service = Service::clone(&before);
        service.status = status.unwrap_or(service.status);
        let change = ServiceChange {
            on: Basis::Version(before.version),
            service,
            revisions: Vec::new(),
            deployments: Vec::new(),
            events: Vec::new(),
            start: start(&before),
            stop: Vec::new(),
            at: harness.effects.now(),
        };
        if store.commit(Command::ChangeService(Box::new(change))).await.is_ok() {
            return;
        }
    }
    panic!("the service changes all the time");
}

/// A task of that group on the instance.
fn task(harness: &Harness, service: &Service, group: Arc<str>, instance: &str, digit: char) -> Task {
    let on: ContainerInstanceArn = instance.parse().unwrap();
    let id = TaskId::parse(digit.to_string().repeat(32)).unwrap();
    Task {
        arn: TaskArn { cluster: service.arn.cluster.clone(), id },
        definition: service.specs().next().unwrap().task_definition.clone(),
        container_instance: Some(on.id),
        waiting: None,
        availability_zone: None,
        launch_type: LaunchType::Ec2,
        capacity_provider: None,
        platform: None,
        ephemeral_storage_gib: None,
        group,
        started_by: Some(service.primary().unwrap().id.to_string().into()),
        overrides: TaskOverrides::default(),
        reservation: Reservation { cpu: CpuUnits(0), memory: MemoryMib(6), ..Reservation::default() },
        desired: Desired::Running,
        phase: Phase::Pending,
        version: 1,
        containers: Vec::new(),
        times: TaskTimes { created: harness.effects.now(), ..TaskTimes::default() },
        execute_command: false,
        protected_until: None,
        volume: None,
        attachment: None,
        tags: Tags::default(),
    }
}

/// Starts a task of the service's primary deployment; its ARN.
async fn start_one(harness: &Harness, instance: &str, digit: char) -> String {
    change(harness, |service| vec![task(harness, service, service.group(), instance, digit)], None).await;
    arn(&format!("task/default/{}", digit.to_string().repeat(32)))
}

#[tokio::test]
async fn tasks_of_services_are_protected_for_a_while() {
    let harness = start().await;
    let instance = instance(&harness, 'a').await;
    call(&harness, "CreateService", placeless(1)).await;
    let old = start_one(&harness, &instance, 'b').await;
    let nobody = "0".repeat(32);
    let protect = |tasks: &[&str], minutes: Value| json!({"cluster": "default", "tasks": tasks, "protectionEnabled": true, "expiresInMinutes": minutes});
    let missing = json!([{"arn": arn(&format!("task/default/{nobody}")), "reason": "MISSING"}]);
    let rows = vec![
        (
            "GetTaskProtection",
            json!({"cluster": "default", "tasks": [old, nobody]}),
            Want::Ok(json!({
                "protectedTasks": [{"taskArn": old, "protectionEnabled": false, "expirationDate": null}],
                "failures": missing,
            })),
        ),
        ("UpdateTaskProtection", protect(&[], json!(null)), Want::Err(INVALID, "Tasks cannot be empty.")),
        ("UpdateTaskProtection", protect(&["a"; 11], json!(null)), Want::Err(INVALID, "more than 10")),
        ("UpdateTaskProtection", protect(&[&old], json!(2881)), Want::Err(INVALID, "between 1 and 2880")),
        ("UpdateTaskProtection", protect(&[&old], json!(-1)), Want::Err(INVALID, "between 1 and 2880")),
        (
            "UpdateTaskProtection",
            protect(&[&old, &nobody], json!(5)),
            Want::Ok(json!({"protectedTasks": [{"taskArn": old, "protectionEnabled": true}], "failures": missing})),
        ),
        ("UpdateService", json!({"service": "web", "forceNewDeployment": true}), Want::Ok(json!({}))),
    ];
    run(&harness, "ecs", rows).await;
    let new = start_one(&harness, &instance, 'c').await;
    let store = &harness.server.context().store;
    let service = store.snapshot().service(&arn("service/default/web").parse().unwrap()).unwrap().service.clone();
    let alone = task(&harness, &service, "family:web".into(), &instance, 'd');
    let standalone = alone.arn.to_string();
    store.commit(Command::StartTasks { tasks: vec![alone], token: None }).await.unwrap();
    let rows = vec![
        (
            "UpdateTaskProtection",
            protect(&[&new, &standalone], json!(null)),
            Want::Ok(json!({"protectedTasks": [], "failures": [
                {"arn": new, "reason": "DEPLOYMENT_BLOCKED"}, {"arn": standalone, "reason": "TASK_NOT_VALID"}]})),
        ),
        (
            "UpdateTaskProtection",
            protect(&[&old], json!(null)),
            Want::Ok(json!({"protectedTasks": [{"taskArn": old, "protectionEnabled": true}], "failures": []})),
        ),
        (
            "GetTaskProtection",
            json!({"cluster": "default", "tasks": [standalone]}),
            Want::Ok(json!({"protectedTasks": [], "failures": [{"reason": "TASK_NOT_VALID"}]})),
        ),
    ];
    run(&harness, "ecs", rows).await;
    let got = call(&harness, "GetTaskProtection", json!({"cluster": "default", "tasks": [old]})).await;
    let left = got["protectedTasks"][0]["expirationDate"].as_f64().unwrap() - harness.now().as_seconds();
    assert!((100.0 * 60.0..=120.0 * 60.0).contains(&left), "two hours when nothing is said: {left}");
    let lift = json!({"cluster": "default", "tasks": [old], "protectionEnabled": false});
    let lifted = json!({"protectedTasks": [{"taskArn": old, "protectionEnabled": false, "expirationDate": null}]});
    run(&harness, "ecs", vec![("UpdateTaskProtection", lift, Want::Ok(lifted))]).await;
}

#[tokio::test]
async fn a_deleted_service_drains_before_its_name_is_free() {
    let harness = start().await;
    let instance = instance(&harness, 'a').await;
    call(&harness, "CreateService", placeless(1)).await;
    let tags = json!([{"key": "k", "value": "v"}]);
    let resource = arn("service/default/web");
    let short = arn("service/web");
    start_one(&harness, &instance, 'b').await;
    let rows = vec![
        ("DescribeServices", json!({"services": ["web"]}), Want::Ok(json!({"services": [{"pendingCount": 1}]}))),
        ("TagResource", json!({"resourceArn": resource, "tags": tags}), Want::Ok(json!({}))),
        ("TagResource", json!({"resourceArn": short, "tags": tags}), Want::Err(INVALID, "Long arn format")),
        (
            "DescribeClusters",
            json!({"include": ["STATISTICS"]}),
            Want::Ok(json!({"clusters": [{"activeServicesCount": 1}]})),
        ),
        (
            "DeleteService",
            json!({"service": "web", "force": true}),
            Want::Ok(json!({"service": {"status": "DRAINING", "tags": tags}})),
        ),
        ("ListServices", json!({}), Want::Ok(json!({"serviceArns": []}))),
        (
            "DescribeServices",
            json!({"services": ["web"], "include": ["TAGS"]}),
            Want::Ok(json!({"services": [{"status": "DRAINING", "tags": tags}]})),
        ),
        ("CreateService", placeless(1), Want::Err(INVALID, "Unable to Start a service that is still Draining.")),
        ("UpdateService", json!({"service": "web"}), Want::Err("ServiceNotActiveException", "Service was not ACTIVE.")),
        ("DeleteService", json!({"service": "web"}), Want::Ok(json!({"service": {"status": "DRAINING"}}))),
    ];
    run(&harness, "ecs", rows).await;
    let got = call(&harness, "DescribeClusters", json!({"include": ["STATISTICS"]})).await;
    let statistics = got["clusters"][0]["statistics"].as_array().unwrap();
    let draining = statistics.iter().find(|pair| pair["name"] == "drainingEC2ServiceCount").unwrap();
    assert_eq!(draining["value"], "1");
}

#[tokio::test]
async fn an_inactive_service_is_described_and_its_name_is_free() {
    let harness = start().await;
    call(&harness, "CreateService", create("web", &json!({"desiredCount": 0}))).await;
    call(&harness, "DeleteService", json!({"service": "web"})).await;
    change(&harness, |_| Vec::new(), Some(ServiceStatus::Inactive)).await;
    let tags = json!([{"key": "k", "value": "v"}]);
    let resource = arn("service/default/web");
    let inactive = json!({"services": [{"status": "INACTIVE", "deployments": [], "currentServiceDeployment": null}]});
    let rows = vec![
        ("DescribeServices", json!({"services": ["web"]}), Want::Ok(inactive)),
        ("DeleteService", json!({"service": "web"}), Want::Err("ServiceNotFoundException", "Service not found.")),
        ("UpdateService", json!({"service": "web"}), Want::Err("ServiceNotActiveException", "Service was not ACTIVE.")),
        ("TagResource", json!({"resourceArn": resource, "tags": tags}), Want::Err(INVALID, "service is inactive")),
        (
            "CreateService",
            create("web", &json!({"desiredCount": 1, "tags": tags})),
            Want::Ok(json!({"service": {"status": "ACTIVE", "desiredCount": 1, "tags": tags, "events": []}})),
        ),
        ("ListTagsForResource", json!({"resourceArn": resource}), Want::Ok(json!({"tags": tags}))),
        (
            "ListTagsForResource",
            json!({"resourceArn": arn("service/default/nope")}),
            Want::Err(INVALID, "The specified service is not found."),
        ),
    ];
    run(&harness, "ecs", rows).await;
}

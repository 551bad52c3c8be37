//! Services over real sessions: what starts, where it waits, and which image it runs.

use crate::{Harness, agent::Session, ecs, instance, list, sessions::joined, text, until, web};
use link::{Assignment, Assignments};
use model::{
    ContainerObservation, ContainerStatus, Desired, Health, HealthStatus, ObservedStatus, Stop, TaskArn,
    TaskObservation,
};
use serde_json::{Value, json};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn described(cluster: &str) -> (&'static str, Value) {
    ("DescribeServices", json!({"cluster": cluster, "services": ["web"]}))
}

fn events(answer: &Value) -> Vec<&str> {
    list(&answer["services"][0]["events"]).iter().map(|event| text(&event["message"])).collect()
}

#[tokio::test]
async fn what_has_no_place_is_told_once_and_placed_when_there_is_one() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({})).await;
    web(&harness).await;
    ecs(&harness, "CreateService", json!({"serviceName": "web", "taskDefinition": "web", "desiredCount": 3})).await;
    let nothing = "(service web) was unable to place a task because no container instance met all of its requirements. \
                   Reason: No Container Instances were found in your cluster. For more information, see the \
                   Troubleshooting section of the Amazon ECS Developer Guide.";
    until(&harness, "the refusal", "ecs", described("default"), |answer| events(answer) == [nothing]).await;
    // What was told of one deployment says nothing of the next.
    ecs(&harness, "UpdateService", json!({"service": "web", "forceNewDeployment": true})).await;
    let told = |answer: &Value| events(answer).iter().filter(|message| **message == nothing).count();
    until(&harness, "the refusal of the next", "ecs", described("default"), |answer| told(answer) == 2).await;

    let first = instance(&harness, "default", "us-east-1a", 20).await;
    let id = first.rsplit('/').next().unwrap();
    let full = format!(
        "(service web) was unable to place a task because no container instance met all of its requirements. The closest \
         matching (container-instance {id}) has insufficient CPU units available. For more information, see the \
         Troubleshooting section of the Amazon ECS Developer Guide."
    );
    let answer =
        until(&harness, "two tasks", "ecs", described("default"), |answer| answer["services"][0]["pendingCount"] == 2)
            .await;
    assert!(events(&answer).contains(&full.as_str()), "{:#?}", events(&answer));
    instance(&harness, "default", "us-east-1b", 20).await;
    let answer =
        until(&harness, "all three", "ecs", described("default"), |answer| answer["services"][0]["pendingCount"] == 3)
            .await;
    let told = events(&answer);
    assert_eq!(told.iter().filter(|message| message.contains("unable to place")).count(), 3, "{told:#?}");
    let started = told.iter().filter(|message| message.starts_with("(service web) has started")).count();
    assert_eq!(started, 2, "{told:#?}");
}

#[tokio::test]
async fn later_tasks_of_a_revision_run_what_its_first_task_found() {
    let harness = Harness::start().await;
    let (machine, _) = joined(&harness).await;
    web(&harness).await;
    let (mut session, _) = machine.session(&harness).await;
    let input = json!({"cluster": "demo", "serviceName": "web", "taskDefinition": "web", "desiredCount": 1});
    ecs(&harness, "CreateService", input).await;
    let first = assigned(&mut session, None, |tasks| tasks.first().cloned()).await;
    assert!(first.image_digests.is_empty(), "nobody knows yet what the tag means");
    session.report(vec![seen(&first.task, ObservedStatus::Running, Some(DIGEST))]).await;
    let shown = ecs(&harness, described("demo").0, described("demo").1).await;
    let revision = shown["services"][0]["currentServiceRevisions"][0]["arn"].clone();
    let revisions = ("DescribeServiceRevisions", json!({"serviceRevisionArns": [revision]}));
    until(&harness, "the digest", "ecs", revisions, |answer| {
        answer["serviceRevisions"][0]["containerImages"][0]["imageDigest"] == DIGEST
    })
    .await;

    ecs(&harness, "StopTask", json!({"cluster": "demo", "task": first.task.to_string()})).await;
    let sent = session.report(vec![seen(&first.task, ObservedStatus::Stopped(Stop::essential_exited()), None)]).await;
    let second = assigned(&mut session, sent, |tasks| tasks.iter().find(|t| t.task != first.task).cloned()).await;
    assert_eq!(second.image_digests.get("app").map(|digest| &**digest), Some(DIGEST));

    // A new deployment asks anew.
    ecs(&harness, "UpdateService", json!({"cluster": "demo", "service": "web", "forceNewDeployment": true})).await;
    let known = [first.task.clone(), second.task.clone()];
    let third = assigned(&mut session, None, |tasks| tasks.iter().find(|t| !known.contains(&t.task)).cloned()).await;
    assert!(third.image_digests.is_empty(), "{third:?}");
}

#[tokio::test]
async fn each_task_asks_what_a_tag_means_where_its_definition_wants_that() {
    let harness = Harness::start().await;
    let (machine, _) = joined(&harness).await;
    let container = json!({"name": "app", "image": "busybox", "memory": 64, "versionConsistency": "disabled"});
    ecs(&harness, "RegisterTaskDefinition", json!({"family": "web", "containerDefinitions": [container]})).await;
    let (mut session, _) = machine.session(&harness).await;
    let input = json!({"cluster": "demo", "serviceName": "web", "taskDefinition": "web", "desiredCount": 1});
    ecs(&harness, "CreateService", input).await;
    let first = assigned(&mut session, None, |tasks| tasks.first().cloned()).await;
    session.report(vec![seen(&first.task, ObservedStatus::Running, Some(DIGEST))]).await;
    let shown = ecs(&harness, described("demo").0, described("demo").1).await;
    let revision = shown["services"][0]["currentServiceRevisions"][0]["arn"].clone();
    let revisions = ("DescribeServiceRevisions", json!({"serviceRevisionArns": [revision]}));
    until(&harness, "the digest", "ecs", revisions, |answer| {
        answer["serviceRevisions"][0]["containerImages"][0]["imageDigest"] == DIGEST
    })
    .await;
    ecs(&harness, "StopTask", json!({"cluster": "demo", "task": first.task.to_string()})).await;
    let sent = session.report(vec![seen(&first.task, ObservedStatus::Stopped(Stop::essential_exited()), None)]).await;
    let second = assigned(&mut session, sent, |tasks| tasks.iter().find(|t| t.task != first.task).cloned()).await;
    assert!(second.image_digests.is_empty(), "{second:?}");
}

#[tokio::test]
async fn an_unhealthy_task_is_told_and_replaced() {
    let harness = Harness::start().await;
    let (machine, _) = joined(&harness).await;
    let check = json!({"command": ["CMD", "true"], "interval": 5});
    let container = json!({"name": "app", "image": "busybox", "memory": 64, "healthCheck": check});
    ecs(&harness, "RegisterTaskDefinition", json!({"family": "web", "containerDefinitions": [container]})).await;
    let (mut session, _) = machine.session(&harness).await;
    let input = json!({"cluster": "demo", "serviceName": "web", "taskDefinition": "web", "desiredCount": 1});
    ecs(&harness, "CreateService", input).await;
    let with = |task: &TaskArn, status: HealthStatus, changes: u32| {
        let mut seen = seen(task, ObservedStatus::Running, None);
        seen.containers[0].health = Some(Health { status, changes });
        seen
    };
    let shown = async |task: &TaskArn| {
        let answer = ecs(&harness, "DescribeTasks", json!({"cluster": "demo", "tasks": [task.to_string()]})).await;
        answer["tasks"][0].clone()
    };
    let first = assigned(&mut session, None, |tasks| tasks.first().cloned()).await;
    assert_eq!(shown(&first.task).await["healthStatus"], "UNKNOWN");
    session.report(vec![with(&first.task, HealthStatus::Healthy, 1)]).await;
    let task = shown(&first.task).await;
    assert_eq!((&task["healthStatus"], &task["containers"][0]["healthStatus"]), (&json!("HEALTHY"), &json!("HEALTHY")));
    let told = "(service web) has reached a steady state.";
    until(&harness, "a steady state, at once", "ecs", described("demo"), |answer| events(answer)[0] == told).await;

    let sent = session.report(vec![with(&first.task, HealthStatus::Unhealthy, 2)]).await;
    let second = assigned(&mut session, sent, |tasks| tasks.iter().find(|t| t.task != first.task).cloned()).await;
    assert_eq!(
        (shown(&first.task).await["healthStatus"].clone(), first.desired),
        (json!("UNHEALTHY"), Desired::Running)
    );
    let told = format!("(service web) (task {}) failed container health checks.", first.task.id);
    let answer = ecs(&harness, described("demo").0, described("demo").1).await;
    assert!(events(&answer).contains(&told.as_str()), "{:#?}", events(&answer));
    let sent = session.report(vec![with(&second.task, HealthStatus::Healthy, 1)]).await;
    let leaves = |task: &&Assignment| task.task == first.task && task.desired != Desired::Running;
    assigned(&mut session, sent, |tasks| tasks.iter().find(leaves).cloned()).await;
    let task = shown(&first.task).await;
    let why = (text(&task["stopCode"]), text(&task["stoppedReason"]));
    assert_eq!(why, ("ServiceSchedulerInitiated", "Task failed container health checks"));
}

/// Waits for sets until one holds the task looked for; `sent` came first.
async fn assigned(
    session: &mut Session,
    sent: Option<Assignments>,
    find: impl Fn(&[Assignment]) -> Option<Assignment>,
) -> Assignment {
    if let Some(found) = sent.and_then(|set| find(&set.tasks)) {
        return found;
    }
    loop {
        if let Some(found) = find(&session.assignments().await.tasks) {
            return found;
        }
    }
}

fn seen(task: &TaskArn, status: ObservedStatus, digest: Option<&str>) -> TaskObservation {
    let container = ContainerObservation {
        name: "app".into(),
        status: ContainerStatus::Running,
        runtime_id: None,
        image_digest: digest.map(Into::into),
        exit_code: None,
        reason: None,
        network_bindings: Vec::new(),
        health: None,
    };
    TaskObservation {
        task: task.clone(),
        status,
        containers: vec![container],
        pull_started: None,
        pull_stopped: None,
        execution_stopped: None,
        attachment: None,
    }
}

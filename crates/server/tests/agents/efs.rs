//! What an agent is told of its tasks' file systems.

use crate::agent::{Machine, hello, token};
use crate::roles::{allow, task_role};
use crate::{Harness, ecs, ok, text};
use link::{AgentMessage, Answer, Question, ServerMessage};
use serde_json::json;

/// An operator may take away what a running task has already: it still asks for its secrets, and goes on. Whether it has its file
/// systems its machine knows, which is told why there are none to be had.
#[tokio::test]
async fn what_the_server_was_not_told_holds_up_nothing_else_that_a_task_is_given() {
    let harness = Harness::start_with(|config| {
        config.file_systems.insert("fs-01234567".to_owned(), "nas:/export".parse().unwrap());
    })
    .await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    task_role(&harness, "pulls", &[allow("ssm:GetParameters", "*")]).await;
    ok(&harness, "ssm", "PutParameter", json!({"Name": "/key", "Type": "String", "Value": "one"})).await;
    let mut machine = Machine::new(&harness).await;
    machine.join(&harness, &token(&harness, Some("demo"), 1).await, None).await.unwrap();
    let mut hello = hello();
    for capability in ["efs", "secrets.ssm.environment-variables"] {
        hello.attributes.insert(format!("ecs.capability.{capability}"), None);
    }
    let mut session = machine.open_as(&harness, hello).await;
    assert!(matches!(session.receive().await, ServerMessage::Welcome(_)));
    session.assignments().await;

    let volume = |name: &str, id: &str| json!({"name": name, "efsVolumeConfiguration": {"fileSystemId": id, "rootDirectory": "/app"}});
    let definition = json!({
        "family": "web", "executionRoleArn": "pulls",
        "volumes": [volume("here", "fs-01234567"), volume("gone", "fs-89abcdef")],
        "containerDefinitions": [{
            "name": "web", "image": "busybox", "memory": 16, "secrets": [{"name": "KEY", "valueFrom": "/key"}],
        }],
    });
    ecs(&harness, "RegisterTaskDefinition", definition).await;
    let answer = ecs(&harness, "RunTask", json!({"cluster": "demo", "taskDefinition": "web"})).await;
    let question = Question::Provision { task: text(&answer["tasks"][0]["taskArn"]).parse().unwrap() };
    session.assignments().await;

    session.send(&AgentMessage::Ask { id: 7, question }).await;
    let ServerMessage::Answered { id: 7, answer: Answer::Provision(told) } = session.receive().await else {
        panic!("the task is given nothing")
    };
    assert_eq!(told.containers["web"].secrets[0].1.reveal(), "one");
    assert_eq!(told.file_systems.len(), 1);
    assert_eq!(told.file_systems["here"].to_string(), "nas:/export/app");
    assert_eq!(told.unresolved.len(), 1);
    let why = &told.unresolved["gone"];
    assert!(why.starts_with("ResourceInitializationError: failed to invoke EFS utils commands"), "{why}");
    assert!(why.contains("Failed to resolve \"fs-89abcdef\""), "{why}");
}

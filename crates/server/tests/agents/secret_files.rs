//! When an agent is told that what its tasks have as files may have changed, and what it is given then.

use crate::agent::{Machine, Session, hello, token};
use crate::roles::{allow, task_role};
use crate::{Harness, ecs, ok, text};
use link::{AgentMessage, Answer, Hello, Question, ServerMessage};
use model::TaskArn;
use serde_json::{Value, json};

fn able() -> Hello {
    let mut hello = hello();
    for name in ["ecs.capability.secrets.ssm.environment-variables", "longshore.capability.secret-files"] {
        hello.attributes.insert(name.to_owned(), None);
    }
    hello
}

async fn begin(machine: &Machine, harness: &Harness) -> Session {
    let mut session = machine.open_as(harness, able()).await;
    assert!(matches!(session.receive().await, ServerMessage::Welcome(_)));
    session.assignments().await;
    session
}

async fn put(harness: &Harness, name: &str, value: &str) {
    let input = json!({"Name": name, "Type": "SecureString", "Value": value, "Overwrite": true});
    ok(harness, "ssm", "PutParameter", input).await;
}

fn definition(labels: &Value) -> Value {
    let container = json!({"name": "web", "image": "busybox", "memory": 16, "dockerLabels": labels,
        "secrets": [{"name": "KEY", "valueFrom": "/web/key"}]});
    json!({"family": "web", "executionRoleArn": "pulls", "containerDefinitions": [container]})
}

async fn refreshed(session: &mut Session) -> Vec<TaskArn> {
    match session.receive().await {
        ServerMessage::Refresh { tasks } => tasks,
        other => panic!("{other:?} instead of what may have changed"),
    }
}

async fn ask(session: &mut Session, task: &TaskArn) -> Answer {
    answered(session, Question::Secrets { task: task.clone() }).await
}

async fn answered(session: &mut Session, question: Question) -> Answer {
    session.send(&AgentMessage::Ask { id: 7, question }).await;
    loop {
        match session.receive().await {
            ServerMessage::Answered { id: 7, answer } => return answer,
            // Of a second change.
            ServerMessage::Refresh { .. } => {}
            other => panic!("{other:?} instead of an answer"),
        }
    }
}

async fn asked(session: &mut Session, task: &TaskArn) -> String {
    let Answer::Provision(provision) = ask(session, task).await else { panic!("it may read that") };
    assert_eq!(provision.containers.len(), 1);
    let provided = &provision.containers["web"];
    assert!(provided.files.is_empty() && provided.login.is_none());
    let [(name, value)] = &provided.secrets[..] else { panic!("{provided:?}") };
    assert_eq!(name, "KEY");
    value.reveal().to_owned()
}

#[tokio::test]
async fn agents_are_told_of_changes_and_ask() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    task_role(&harness, "pulls", &[allow("ssm:GetParameters", "*")]).await;
    put(&harness, "/web/key", "one").await;
    let mut machine = Machine::new(&harness).await;
    machine.join(&harness, &token(&harness, Some("demo"), 1).await, None).await.unwrap();

    // An agent that would not know what to do is given no such task.
    let mut before = machine.open(&harness).await;
    assert!(matches!(before.receive().await, ServerMessage::Welcome(_)));
    before.assignments().await;
    let labels = json!({"longshore.secret-files": "/run/secrets"});
    ecs(&harness, "RegisterTaskDefinition", definition(&labels)).await;
    let run = json!({"cluster": "demo", "taskDefinition": "web"});
    let answer = ecs(&harness, "RunTask", run.clone()).await;
    assert_eq!(answer["tasks"], json!([]), "{answer}");
    drop(before);

    let mut session = begin(&machine, &harness).await;
    let answer = ecs(&harness, "RunTask", run).await;
    let task: TaskArn = text(&answer["tasks"][0]["taskArn"]).parse().unwrap();
    session.assignments().await;
    // What no file shows concerns nobody, so the first that is told is what comes after it.
    put(&harness, "/other", "x").await;
    put(&harness, "/web/key", "two").await;
    assert_eq!(refreshed(&mut session).await, std::slice::from_ref(&task));
    assert_eq!(asked(&mut session, &task).await, "two");
    // One that is made anew has the version of the old one, and another value.
    ok(&harness, "ssm", "DeleteParameter", json!({"Name": "/web/key"})).await;
    assert_eq!(refreshed(&mut session).await, std::slice::from_ref(&task));
    let Answer::Unprovided { reason } = ask(&mut session, &task).await else { panic!("it is gone") };
    assert!(reason.ends_with("invalid parameters: /web/key"), "{reason}");
    put(&harness, "/web/key", "three").await;
    assert_eq!(refreshed(&mut session).await, std::slice::from_ref(&task));
    assert_eq!(asked(&mut session, &task).await, "three");
    drop(session);

    // Whoever comes back asks for all of it.
    let mut session = begin(&machine, &harness).await;
    assert_eq!(refreshed(&mut session).await, std::slice::from_ref(&task));
    task_role(&harness, "pulls", &[]).await;
    let Answer::Unprovided { reason } = ask(&mut session, &task).await else { panic!("it may not read that") };
    assert!(reason.contains("AccessDeniedException") && !reason.contains("three"), "{reason}");
}

/// One that cannot be read keeps nobody else's from following; the start of a task it does stop.
#[tokio::test]
async fn what_cannot_be_had_of_one_container_is_left_out() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    task_role(&harness, "pulls", &[allow("ssm:GetParameters", "*")]).await;
    put(&harness, "/web/key", "one").await;
    put(&harness, "/other/key", "one").await;
    let mut machine = Machine::new(&harness).await;
    machine.join(&harness, &token(&harness, Some("demo"), 1).await, None).await.unwrap();
    let mut session = begin(&machine, &harness).await;
    let mut definition = definition(&json!({"longshore.secret-files": "/run/secrets"}));
    let mut other = definition["containerDefinitions"][0].clone();
    other["name"] = "a".into();
    other["secrets"][0]["valueFrom"] = "/other/key".into();
    definition["containerDefinitions"].as_array_mut().unwrap().insert(0, other);
    ecs(&harness, "RegisterTaskDefinition", definition).await;
    let answer = ecs(&harness, "RunTask", json!({"cluster": "demo", "taskDefinition": "web"})).await;
    let task: TaskArn = text(&answer["tasks"][0]["taskArn"]).parse().unwrap();
    session.assignments().await;

    ok(&harness, "ssm", "DeleteParameter", json!({"Name": "/other/key"})).await;
    put(&harness, "/web/key", "two").await;
    assert_eq!(refreshed(&mut session).await, std::slice::from_ref(&task));
    assert_eq!(asked(&mut session, &task).await, "two");
    let answer = answered(&mut session, Question::Provision { task: task.clone() }).await;
    let Answer::Unprovided { reason } = answer else { panic!("it is gone") };
    assert!(reason.ends_with("invalid parameters: /other/key"), "{reason}");
}

#[tokio::test]
async fn labels_that_cannot_be_are_refused() {
    let harness = Harness::start().await;
    for (labels, words) in [
        (json!({"longshore.secret-files": "/a/../etc"}), "The label 'longshore.secret-files' must be an absolute path"),
        (
            json!({"longshore.secret-files": "/s", "longshore.secret-files.mode": "0666"}),
            "must be permissions like 0440",
        ),
        (json!({"longshore.secret-files.only": "true"}), "needs 'longshore.secret-files'"),
    ] {
        let error = harness.call("ecs", "RegisterTaskDefinition", &definition(&labels)).await.unwrap_err();
        assert!(error.code == "ClientException" && error.message.contains(words), "{error}");
        assert!(error.message.starts_with("Invalid setting for container 'web'."), "{error}");
    }
    let mut named = definition(&json!({"longshore.secret-files": "/s"}));
    named["containerDefinitions"][0]["secrets"][0]["name"] = "../KEY".into();
    let error = harness.call("ecs", "RegisterTaskDefinition", &named).await.unwrap_err();
    assert!(error.message.contains("The secret '../KEY' cannot be a file of that name."), "{error}");
}

//! What an agent is told of its tasks' secrets, and what it is not.

use crate::agent::{Machine, Session, hello, token};
use crate::roles::{allow, task_role};
use crate::{Harness, ecs, ok, text};
use effects::Effects;
use link::{AgentMessage, Answer, Provision, Question, ServerMessage};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ROLE: &str = "pulls";

/// A machine of the cluster that can have tasks with secrets.
async fn machine(harness: &Harness) -> Session {
    task_role(
        harness,
        "pulls",
        &["secretsmanager:GetSecretValue", "ssm:GetParameters", "s3:GetObject"].map(|it| allow(it, "*")),
    )
    .await;
    let mut machine = Machine::new(harness).await;
    machine.join(harness, &token(harness, Some("demo"), 1).await, None).await.unwrap();
    let mut hello = hello();
    for capability in [
        "secrets.asm.environment-variables",
        "secrets.ssm.environment-variables",
        "env-files.s3",
        "private-registry-authentication.secretsmanager",
    ] {
        hello.attributes.insert(format!("ecs.capability.{capability}"), None);
    }
    let mut session = machine.open_as(harness, hello).await;
    assert!(matches!(session.receive().await, ServerMessage::Welcome(_)));
    session.assignments().await;
    session
}

async fn secret(harness: &Harness, name: &str, value: &str) -> String {
    let made = ok(harness, "secretsmanager", "CreateSecret", json!({"Name": name, "SecretString": value})).await;
    text(&made["ARN"]).to_owned()
}

async fn parameter(harness: &Harness, name: &str, kind: &str, value: &str) {
    let input = json!({"Name": name, "Type": kind, "Value": value, "Overwrite": true});
    ok(harness, "ssm", "PutParameter", input).await;
}

/// Runs a task of one container with more in its definition.
async fn run(harness: &Harness, more: &Value) -> String {
    let mut container = json!({"name": "web", "image": "busybox", "memory": 16});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let definition = json!({"family": "web", "executionRoleArn": ROLE, "containerDefinitions": [container]});
    ecs(harness, "RegisterTaskDefinition", definition).await;
    let answer = ecs(harness, "RunTask", json!({"cluster": "demo", "taskDefinition": "web"})).await;
    assert_eq!(answer["failures"], json!([]));
    text(&answer["tasks"][0]["taskArn"]).to_owned()
}

async fn ask(session: &mut Session, task: &str) -> Answer {
    let question = Question::Provision { task: task.parse().unwrap() };
    session.send(&AgentMessage::Ask { id: 7, question }).await;
    loop {
        match session.receive().await {
            ServerMessage::Answered { id: 7, answer } => return answer,
            ServerMessage::Assignments(_) => {}
            other => panic!("{other:?} instead of an answer"),
        }
    }
}

/// What the container is given, by name.
fn given(provision: &Provision) -> BTreeMap<String, String> {
    let provided = &provision.containers["web"];
    let files = provided.files.iter().map(|(name, value)| (name.clone(), value));
    let secrets = provided.secrets.iter().map(|(name, value)| (name.clone(), value));
    files.chain(secrets).map(|(name, value)| (name, value.reveal().to_owned())).collect()
}

#[tokio::test]
async fn a_task_is_given_what_its_definition_names() {
    let bucket = tempfile::tempdir().unwrap();
    std::fs::create_dir(bucket.path().join("web")).unwrap();
    std::fs::write(bucket.path().join("web/prod.env"), "MODE=prod\nLEVEL=1\n").unwrap();
    std::fs::write(bucket.path().join("all.env"), "LEVEL=2\nTEAM=blue\n").unwrap();
    let place = bucket.path().display().to_string();
    let harness = Harness::start_with(|config| {
        config.buckets.insert("config".to_owned(), place.parse().unwrap());
    })
    .await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let (mut own, mut other) = (machine(&harness).await, machine(&harness).await);
    let db = secret(&harness, "prod/db", r#"{"user":"web","port":5432,"password":"first"}"#).await;
    let put = json!({"SecretId": db, "SecretString": r#"{"user":"web","port":5432,"password":"second"}"#});
    ok(&harness, "secretsmanager", "PutSecretValue", put).await;
    let login = secret(&harness, "registry", r#"{"username":"puller","password":"pull"}"#).await;
    parameter(&harness, "/web/key", "SecureString", "one").await;
    parameter(&harness, "/web/key", "SecureString", "two").await;
    parameter(&harness, "plain", "String", "text").await;
    let names = [
        ("WHOLE", db.clone()),
        ("PASSWORD", format!("{db}:password::")),
        ("BEFORE", format!("{db}:password:AWSPREVIOUS:")),
        ("PORT", format!("{db}:port::")),
        ("KEY", "/web/key".to_owned()),
        ("OLD_KEY", "/web/key:1".to_owned()),
        ("PLAIN", "arn:aws:ssm:us-east-1:000000000000:parameter/plain".to_owned()),
    ];
    let secrets: Vec<_> = names.iter().map(|(name, from)| json!({"name": name, "valueFrom": from})).collect();
    let files =
        ["web/prod.env", "all.env"].map(|key| json!({"type": "s3", "value": format!("arn:aws:s3:::config/{key}")}));
    let more = json!({
        "secrets": secrets, "environmentFiles": files, "repositoryCredentials": {"credentialsParameter": login},
    });
    let task = run(&harness, &more).await;

    // Only the one that has the task is told anything.
    let answers = [ask(&mut own, &task).await, ask(&mut other, &task).await];
    let (provisions, refusals): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| matches!(a, Answer::Provision(_)));
    let ([Answer::Provision(provision)], [Answer::Refused { status: 404, .. }]) = (&provisions[..], &refusals[..])
    else {
        panic!("{provisions:?} {refusals:?}");
    };
    let want = [
        ("WHOLE", r#"{"user":"web","port":5432,"password":"second"}"#),
        ("PASSWORD", "second"),
        ("BEFORE", "first"),
        ("PORT", "5432"),
        ("KEY", "two"),
        ("OLD_KEY", "one"),
        ("PLAIN", "text"),
        ("MODE", "prod"),
        ("LEVEL", "1"),
        ("TEAM", "blue"),
    ];
    assert_eq!(given(provision), want.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let login = provision.containers["web"].login.as_ref().unwrap();
    assert_eq!((login.username.reveal(), login.password.reveal()), ("puller", "pull"));
    let printed = format!("{provision:?}");
    assert!(!printed.contains("second") && !printed.contains("pull\""), "{printed}");
}

#[tokio::test]
async fn what_cannot_be_given_is_told_as_the_stop_reason() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let mut session = machine(&harness).await;
    let arn = |name: &str| format!("arn:aws:secretsmanager:us-east-1:000000000000:secret:{name}");
    let text_secret = secret(&harness, "text", "not JSON but hunter2").await;
    let object = secret(&harness, "object", r#"{"a":"hunter2"}"#).await;
    let gone = secret(&harness, "gone", "hunter2").await;
    ok(&harness, "secretsmanager", "DeleteSecret", json!({"SecretId": gone})).await;
    let from = |value: String| json!({"secrets": [{"name": "A", "valueFrom": value}]});
    let registry = |secret: &str| json!({"repositoryCredentials": {"credentialsParameter": secret}});
    let secrets =
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: ";
    let asm = "unable to retrieve secret from asm: ";
    for (more, begins, ends) in [
        (from(arn("none")), secrets, "ResourceNotFoundException: Secrets Manager can't find the specified secret."),
        (
            from(gone),
            secrets,
            "InvalidRequestException: You can't perform this operation on the secret because it was marked for deletion.",
        ),
        (
            from(format!("{object}:b::")),
            secrets,
            "unable to retrieve secret from asm: retrieved secret from Secrets Manager did not contain json key b",
        ),
        (from(format!("{text_secret}:b::")), secrets, "retrieved secret from Secrets Manager is not a JSON object"),
        (
            from(format!("{object}::AWSPREVIOUS:")),
            secrets,
            "can't find the specified secret value for staging label: AWSPREVIOUS",
        ),
        (from("/none".to_owned()), secrets, "unable to retrieve secrets from ssm: invalid parameters: /none"),
        (from(arn("x").replace("0000:secret", "0009:secret")), secrets, "has given account 000000000000 no access"),
        (
            registry(&object),
            secrets,
            "unable to get registry auth from asm: the secret is not JSON with a username and a password",
        ),
        (
            json!({"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::none/a.env"}]}),
            "ResourceInitializationError: failed to download env files: ",
            "(arn:aws:s3:::none/a.env)",
        ),
    ] {
        let task = run(&harness, &more).await;
        let Answer::Unprovided { reason } = ask(&mut session, &task).await else { panic!("{more}") };
        assert!(reason.starts_with(begins) && reason.ends_with(ends), "{reason}");
        assert!(!reason.contains("hunter2"), "{reason}");
        assert!(!ends.contains("json key") || reason.contains(asm));
        ecs(&harness, "StopTask", json!({"cluster": "demo", "task": task})).await;
    }
}

#[tokio::test]
async fn definitions_with_secrets_need_a_role_and_names_of_their_own() {
    let harness = Harness::start().await;
    let define = |role: bool, more: Value| {
        let mut container = json!({"name": "web", "image": "busybox", "memory": 16});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let role = if role { json!(ROLE) } else { json!("") };
        json!({"family": "web", "executionRoleArn": role, "containerDefinitions": [container]})
    };
    let secret = |name: &str, from: &str| json!({"name": name, "valueFrom": from});
    let file = |kind: &str, value: &str| json!({"environmentFiles": [{"type": kind, "value": value}]});
    for (role, more, words) in [
        (false, json!({"secrets": [secret("A", "/a")]}), "you must also specify a value for 'executionRoleArn'."),
        (
            false,
            json!({"repositoryCredentials": {"credentialsParameter": "x"}}),
            "you must also specify a value for 'executionRoleArn'.",
        ),
        (true, json!({"secrets": [secret("A", "/a"), secret("A", "/b")]}), "such as 'A'."),
        (true, json!({"environment": [{"name": "A", "value": "1"}], "secrets": [secret("A", "/a")]}), "such as 'A'."),
        (
            true,
            json!({"secrets": [secret("A", "arn:aws:s3:::x")]}),
            "is neither the ARN of a secret nor the ARN or name of a parameter.",
        ),
        (true, file("s3", "arn:aws:s3:::config/../a.env"), "has a path that leads elsewhere."),
        (true, file("s3", "arn:aws:s3:::config/a.txt"), "does not end in .env."),
        (
            true,
            json!({"environmentFiles": vec![json!({"type": "s3", "value": "arn:aws:s3:::c/a.env"}); 11]}),
            "It has more than 10 environment files.",
        ),
        (
            true,
            json!({"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "a", "awslogs-region": "us-east-1"},
            "secretOptions": [secret("A", "/a")]}}),
            "Longshore does not honour containerDefinitions.logConfiguration.secretOptions",
        ),
    ] {
        let input = define(role, more);
        let error = harness.call("ecs", "RegisterTaskDefinition", &input).await.unwrap_err();
        assert!(error.code == "ClientException" && error.message.contains(words), "{error}");
    }
    let more = json!({"secrets": [secret("A", "/a")], "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::c/a.env"}],
        "repositoryCredentials": {"credentialsParameter": "x"}});
    let shown = ecs(&harness, "RegisterTaskDefinition", define(true, more.clone())).await["taskDefinition"].clone();
    for member in ["secrets", "environmentFiles", "repositoryCredentials"] {
        assert_eq!(shown["containerDefinitions"][0][member], more[member]);
    }
    let names: Vec<_> = shown["requiresAttributes"].as_array().unwrap().iter().map(|a| text(&a["name"])).collect();
    for capability in
        ["secrets.ssm.environment-variables", "env-files.s3", "private-registry-authentication.secretsmanager"]
    {
        assert!(names.contains(&format!("ecs.capability.{capability}").as_str()), "{names:?}");
    }
}

/// Answers GET requests for one path with a body, and others with 404, until the test ends.
async fn files_at(path: &'static str, body: &'static str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Effects::real().spawn("files", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let found = head.starts_with(&format!("GET {path} HTTP/1.1"));
            let (status, body) = if found { ("200 OK", body) } else { ("404 Not Found", "") };
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}/base/")
}

#[tokio::test]
async fn environment_files_come_from_a_server_too() {
    let place = files_at("/base/web/a%20b%3F.env", "A=1\n").await;
    let harness = Harness::start_with(|config| {
        config.buckets.insert("config".to_owned(), place.parse().unwrap());
    })
    .await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let mut session = machine(&harness).await;
    let file = |key: &str| json!({"environmentFiles": [{"type": "s3", "value": format!("arn:aws:s3:::config/{key}")}]});
    let task = run(&harness, &file("web/a b?.env")).await;
    let Answer::Provision(provision) = ask(&mut session, &task).await else { panic!("it is there") };
    assert_eq!(given(&provision), [("A".to_owned(), "1".to_owned())].into());
    let task = run(&harness, &file("web/none.env")).await;
    let Answer::Unprovided { reason } = ask(&mut session, &task).await else { panic!("it is not there") };
    let words = "NoSuchKey: The specified key does not exist. (arn:aws:s3:::config/web/none.env)";
    assert!(reason.ends_with(words), "{reason}");

    // Who starts a task may name others instead.
    let mut over = file("web/a b?.env");
    over["name"] = "web".into();
    let request = json!({"cluster": "demo", "taskDefinition": "web", "overrides": {"containerOverrides": [over]}});
    let answer = ecs(&harness, "RunTask", request).await["tasks"][0].clone();
    assert_eq!(answer["overrides"]["containerOverrides"][0]["environmentFiles"], over["environmentFiles"]);
    let Answer::Provision(provision) = ask(&mut session, text(&answer["taskArn"])).await else { panic!("it is there") };
    assert_eq!(given(&provision), [("A".to_owned(), "1".to_owned())].into());
}

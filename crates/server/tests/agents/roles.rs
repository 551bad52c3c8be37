//! Roles of tasks and instances: who gets their credentials, what those are good for, and when they end.

use crate::agent::{Machine, Session, hello, token};
use crate::{Harness, client, ecs, ok, text};
use link::{AgentMessage, Answer, Question, RoleCredentials, ServerMessage};
use model::{
    AccountId, Tags,
    iam::{Edit, InstanceProfile, Key, Permissions, Role},
};
use serde_json::{Value, json};
use state::{Command, IamChange};
use std::{collections::BTreeMap, time::Duration};
use wire::{WireError, sigv4};

const ACCOUNT: &str = "000000000000";
const TASKS: &str = "ecs-tasks.amazonaws.com";

/// One change of the account's users and roles.
async fn change(harness: &Harness, decide: impl FnOnce(&mut Edit)) {
    let ctx = harness.server.context();
    let account = AccountId::parse(ACCOUNT).unwrap();
    let directory = ctx.store.snapshot().directory(&account).map(|known| (**known).clone()).unwrap_or_default();
    let on = directory.version;
    let mut edit = Edit::new(directory);
    decide(&mut edit);
    let (put, remove) = edit.finish().unwrap();
    ctx.store.commit(Command::ChangeIam(Box::new(IamChange { account, on, put, remove }))).await.unwrap();
}

/// A statement that lets do something.
pub(crate) fn allow(action: &str, resource: &str) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": resource})
}

/// Makes a role, or makes it anew, that trusts a principal and may do so much.
pub(crate) async fn role(harness: &Harness, name: &str, principal: &Value, may: &[Value]) -> String {
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"},
    ]});
    let mut permissions = Permissions::default();
    if !may.is_empty() {
        let document = json!({"Version": "2012-10-17", "Statement": may});
        permissions.inline.insert("own".to_owned(), document.to_string());
    }
    let made = Role {
        account: AccountId::parse(ACCOUNT).unwrap(),
        name: name.to_owned(),
        path: "/".to_owned(),
        id: format!("AROA{}", &harness.effects.hex32()[..17].to_uppercase()),
        created_at: harness.effects.now(),
        description: None,
        trust: trust.to_string(),
        max_session_seconds: 7200,
        tags: Tags::default(),
        permissions,
    };
    let arn = made.arn();
    change(harness, |edit| edit.put(made)).await;
    arn
}

/// One that tasks may have.
pub(crate) async fn task_role(harness: &Harness, name: &str, may: &[Value]) -> String {
    role(harness, name, &json!({"Service": TASKS}), may).await
}

/// An instance profile without a role.
pub(crate) async fn profile(harness: &Harness, name: &str) {
    let made = InstanceProfile {
        account: AccountId::parse(ACCOUNT).unwrap(),
        name: name.to_owned(),
        path: "/".to_owned(),
        id: format!("AIPA{}", &harness.effects.hex32()[..17].to_uppercase()),
        created_at: harness.effects.now(),
        tags: Tags::default(),
        role: None,
    };
    change(harness, |edit| edit.put(made)).await;
}

fn of(credentials: &RoleCredentials) -> sigv4::Credentials {
    sigv4::Credentials {
        access_key: credentials.access_key.clone(),
        secret_key: credentials.secret.reveal().to_owned(),
        session_token: Some(credentials.token.reveal().to_owned()),
    }
}

fn of_sts(answer: &Value) -> sigv4::Credentials {
    let member = |name: &str| text(&answer["Credentials"][name]).to_owned();
    sigv4::Credentials {
        access_key: member("AccessKeyId"),
        secret_key: member("SecretAccessKey"),
        session_token: Some(member("SessionToken")),
    }
}

async fn call_as(
    harness: &Harness,
    credentials: &sigv4::Credentials,
    service: &str,
    operation: &str,
    input: Value,
) -> Result<Value, WireError> {
    let service = client::service(service);
    let (mut parts, body) = harness.request(service, operation, &input);
    sigv4::sign(&mut parts, &body, credentials, ("us-east-1", service.signing_name), harness.now()).unwrap();
    let answer = harness.send(parts, body).await;
    let operation = service.operation(operation).unwrap();
    wire::client::decode_response(service, operation, answer.status, &answer.body)
}

/// Who somebody is told to be.
async fn whoami(harness: &Harness, credentials: &sigv4::Credentials) -> Result<String, String> {
    let answer = call_as(harness, credentials, "sts", "GetCallerIdentity", json!({})).await;
    answer.map(|answer| text(&answer["Arn"]).to_owned()).map_err(|error| error.code.into_owned())
}

/// A machine of the cluster whose tasks can have roles.
async fn machine(harness: &Harness) -> Session {
    let mut machine = Machine::new(harness).await;
    machine.join(harness, &token(harness, Some("demo"), 1).await, None).await.unwrap();
    let mut hello = hello();
    for capability in ["com.amazonaws.ecs.capability.task-iam-role", "ecs.capability.secrets.asm.environment-variables"]
    {
        hello.attributes.insert(capability.to_owned(), None);
    }
    let mut session = machine.open_as(harness, hello).await;
    assert!(matches!(session.receive().await, ServerMessage::Welcome(_)));
    session.assignments().await;
    session
}

async fn ask(session: &mut Session, question: Question) -> Answer {
    session.send(&AgentMessage::Ask { id: 7, question }).await;
    loop {
        match session.receive().await {
            ServerMessage::Answered { id: 7, answer } => return answer,
            ServerMessage::Assignments(_) => {}
            other => panic!("{other:?} instead of an answer"),
        }
    }
}

async fn credentials(session: &mut Session, task: &str) -> Result<RoleCredentials, String> {
    match ask(session, Question::Credentials { task: task.parse().unwrap() }).await {
        Answer::Credentials(credentials) => Ok(credentials),
        Answer::Refused { message, .. } => Err(message),
        other => panic!("{other:?}"),
    }
}

async fn define(harness: &Harness, family: &str, more: Value) {
    let mut definition = json!({
        "family": family, "containerDefinitions": [{"name": "web", "image": "busybox", "memory": 16}],
    });
    definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ecs(harness, "RegisterTaskDefinition", definition).await;
}

async fn run(harness: &Harness, family: &str, overrides: Value) -> Result<String, WireError> {
    let input = json!({"cluster": "demo", "taskDefinition": family, "overrides": overrides});
    let answer = harness.call("ecs", "RunTask", &input).await?;
    assert_eq!(answer["failures"], json!([]), "{answer:#}");
    Ok(text(&answer["tasks"][0]["taskArn"]).to_owned())
}

#[tokio::test]
async fn a_task_acts_as_its_role_and_no_other_machine_does() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let (mut one, mut other) = (machine(&harness).await, machine(&harness).await);
    let arn = task_role(&harness, "web", &[allow("ecs:ListClusters", "*")]).await;
    task_role(&harness, "other", &[]).await;
    define(&harness, "web", json!({"taskRoleArn": arn})).await;
    let task = run(&harness, "web", json!({})).await.unwrap();
    let described = ecs(&harness, "DescribeTaskDefinition", json!({"taskDefinition": "web"})).await;
    assert_eq!(described["taskDefinition"]["taskRoleArn"], json!(arn));

    // Only the machine that has the task is told.
    let answers = [credentials(&mut one, &task).await, credentials(&mut other, &task).await];
    let (given, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let [Ok(given)] = &given[..] else { panic!("{given:?}") };
    assert_eq!(refused, [Err("The task is not one of this container instance.".to_owned())]);
    assert_eq!((given.role.as_str(), given.expires.0 - given.issued.0), (arn.as_str(), 6 * 3_600_000));
    let printed = format!("{given:?}");
    assert!(!printed.contains(given.secret.reveal()) && !printed.contains(given.token.reveal()), "{printed}");

    let id = task.rsplit('/').next().unwrap();
    let session = format!("arn:aws:sts::{ACCOUNT}:assumed-role/web/{id}");
    let answer = call_as(&harness, &of(given), "sts", "GetCallerIdentity", json!({})).await.unwrap();
    assert_eq!((text(&answer["Arn"]), text(&answer["Account"])), (session.as_str(), ACCOUNT));
    assert!(text(&answer["UserId"]).starts_with("AROA") && text(&answer["UserId"]).ends_with(&format!(":{id}")));
    call_as(&harness, &of(given), "ecs", "ListClusters", json!({})).await.unwrap();
    let denied = call_as(&harness, &of(given), "ecs", "ListServices", json!({"cluster": "demo"})).await.unwrap_err();
    assert_eq!(denied.code, "AccessDeniedException");
    assert!(
        denied.message.starts_with(&format!("User: {session} is not authorized to perform: ecs:ListServices")),
        "{denied}"
    );

    // Whoever starts it may give it another role, by its name too.
    let task = run(&harness, "web", json!({"taskRoleArn": "other"})).await.unwrap();
    let mut told = credentials(&mut one, &task).await;
    if told.is_err() {
        told = credentials(&mut other, &task).await;
    }
    assert_eq!(told.unwrap().role, format!("arn:aws:iam::{ACCOUNT}:role/other"));
    let shown = ecs(&harness, "DescribeTasks", json!({"cluster": "demo", "tasks": [task]})).await;
    assert_eq!(shown["tasks"][0]["overrides"]["taskRoleArn"], "other");
}

#[tokio::test]
async fn credentials_end_with_their_role_and_their_time_and_cannot_be_made() {
    let harness = Harness::start_with(|config| config.role_credentials = Duration::from_secs(900)).await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let mut session = machine(&harness).await;
    task_role(&harness, "web", &[allow("*", "*")]).await;
    define(&harness, "web", json!({"taskRoleArn": "web"})).await;
    let task = run(&harness, "web", json!({})).await.unwrap();
    let (first, second) =
        (credentials(&mut session, &task).await.unwrap(), credentials(&mut session, &task).await.unwrap());
    assert_ne!(first.access_key, second.access_key, "each time others");
    assert_eq!(first.expires.0 - first.issued.0, 900_000);
    let first = of(&first);
    assert!(whoami(&harness, &first).await.is_ok());

    // What is not one of ours, as it was given, is nobody's.
    let token = first.session_token.clone().unwrap();
    let with = |change: &dyn Fn(&mut sigv4::Credentials)| {
        let mut changed = first.clone();
        change(&mut changed);
        changed
    };
    let other = of(&second);
    for (what, credentials, code) in [
        ("no token", with(&|c| c.session_token = None), "InvalidClientTokenId"),
        ("another key's token", with(&|c| c.session_token.clone_from(&other.session_token)), "InvalidClientTokenId"),
        ("another key", with(&|c| c.access_key.clone_from(&other.access_key)), "InvalidClientTokenId"),
        ("another secret", with(&|c| c.secret_key.clone_from(&other.secret_key)), "SignatureDoesNotMatch"),
        (
            "a changed token",
            with(&|c| c.session_token = Some(token.replacen(&token[40..44], "AAAA", 1))),
            "InvalidClientTokenId",
        ),
        ("a short token", with(&|c| c.session_token = Some(token[..40].to_owned())), "InvalidClientTokenId"),
        (
            "a token of the root's key",
            sigv4::Credentials { session_token: Some(token.clone()), ..client::credentials() },
            "InvalidClientTokenId",
        ),
    ] {
        assert_eq!(whoami(&harness, &credentials).await, Err(code.to_owned()), "{what}");
    }

    // A role of the same name is another one.
    change(&harness, |edit| edit.remove(Key::Role("web".to_owned()))).await;
    assert_eq!(whoami(&harness, &first).await, Err("InvalidClientTokenId".to_owned()));
    let why = credentials(&mut session, &task).await.unwrap_err();
    assert!(why.contains("was unable to assume the role") && why.contains("has no such role"), "{why}");
    task_role(&harness, "web", &[allow("*", "*")]).await;
    assert_eq!(whoami(&harness, &first).await, Err("InvalidClientTokenId".to_owned()));
    assert!(whoami(&harness, &of(&credentials(&mut session, &task).await.unwrap())).await.is_ok());

    // One that tasks may not have any more gives none.
    role(&harness, "web", &json!({"Service": "ec2.amazonaws.com"}), &[]).await;
    let why = credentials(&mut session, &task).await.unwrap_err();
    assert!(why.contains("does not let ecs-tasks.amazonaws.com assume it"), "{why}");
    task_role(&harness, "web", &[]).await;
    ecs(&harness, "StopTask", json!({"cluster": "demo", "task": task})).await;
    assert!(credentials(&mut session, &task).await.is_ok(), "it may need them to stop");
}

#[tokio::test]
async fn credentials_that_are_over_are_refused_in_the_words_of_each_protocol() {
    // So short that they are over before they can be used; agents would ask for others at once.
    let harness = Harness::start_with(|config| config.role_credentials = Duration::from_millis(1)).await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let mut session = machine(&harness).await;
    task_role(&harness, "web", &[allow("*", "*")]).await;
    define(&harness, "web", json!({"taskRoleArn": "web"})).await;
    let task = run(&harness, "web", json!({})).await.unwrap();
    let given = credentials(&mut session, &task).await.unwrap();
    let over = of(&given);
    while harness.effects.now() < given.expires {
        tokio::task::yield_now().await;
    }
    for (service, operation, code) in [
        ("sts", "GetCallerIdentity", "ExpiredToken"),
        ("ecs", "ListClusters", "ExpiredTokenException"),
        ("ec2", "DescribeVpcs", "RequestExpired"),
    ] {
        assert_eq!(call_as(&harness, &over, service, operation, json!({})).await.unwrap_err().code, code, "{service}");
    }
}

#[tokio::test]
async fn tasks_whose_roles_cannot_be_had_are_not_started() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let _session = machine(&harness).await;
    role(&harness, "distrusts", &json!({"Service": "ec2.amazonaws.com"}), &[]).await;
    let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf";
    let secret = json!([{
        "name": "web", "image": "busybox", "memory": 16, "secrets": [{"name": "DB", "valueFrom": arn}],
    }]);
    define(&harness, "missing", json!({"taskRoleArn": "missing"})).await;
    define(&harness, "distrusts", json!({"taskRoleArn": "arn:aws:iam::000000000000:role/distrusts"})).await;
    define(&harness, "gives", json!({"executionRoleArn": "missing", "containerDefinitions": secret})).await;
    define(&harness, "idle", json!({"executionRoleArn": "missing"})).await;
    for (family, what) in [
        ("missing", "has no such role"),
        ("distrusts", "does not let ecs-tasks.amazonaws.com assume it"),
        ("gives", "has no such role"),
    ] {
        let refused = run(&harness, family, json!({})).await.unwrap_err();
        assert_eq!(refused.code, "ClientException");
        let begins = "ECS was unable to assume the role 'arn:aws:iam::000000000000:role/";
        let words = "was provided for this task. Please verify that the role being passed has the proper trust relationship and \
                     permissions and that your IAM user has permissions to pass this role.";
        assert!(refused.message.starts_with(begins) && refused.message.contains(words), "{refused}");
        assert!(refused.message.contains(what) && refused.message.ends_with("docs/roles.md."), "{refused}");
    }
    // Nothing that this one needs hangs on its execution role.
    run(&harness, "idle", json!({})).await.unwrap();
    // Of other accounts there are none to be had.
    for wrong in ["arn:aws:iam::000000000009:role/web", "arn:aws:iam::000000000000:user/web", "no role"] {
        let input = json!({"family": "wrong", "taskRoleArn": wrong,
            "containerDefinitions": [{"name": "web", "image": "busybox", "memory": 16}]});
        let refused = harness.call("ecs", "RegisterTaskDefinition", &input).await.unwrap_err();
        assert_eq!((&*refused.code, refused.message.as_str()), ("ClientException", "Role is not valid"), "{wrong}");
    }
}

#[tokio::test]
async fn an_execution_role_reads_only_what_it_may() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let mut session = machine(&harness).await;
    let made = ok(&harness, "secretsmanager", "CreateSecret", json!({"Name": "db", "SecretString": "hunter2"})).await;
    let arn = text(&made["ARN"]).to_owned();
    let secret = json!([{
        "name": "web", "image": "busybox", "memory": 16, "secrets": [{"name": "DB", "valueFrom": arn}],
    }]);
    let more = json!({"executionRoleArn": "pulls", "containerDefinitions": secret});
    task_role(
        &harness,
        "pulls",
        &[allow("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:other-*")],
    )
    .await;
    define(&harness, "web", more).await;
    let task = run(&harness, "web", json!({})).await.unwrap();
    let provide = || Question::Provision { task: task.parse().unwrap() };
    let Answer::Unprovided { reason } = ask(&mut session, provide()).await else { panic!("it may not read that") };
    let id = task.rsplit('/').next().unwrap();
    let want = format!(
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to \
         retrieve secret from asm: failed to fetch secret {arn} from secrets manager: AccessDeniedException: User: \
         arn:aws:sts::{ACCOUNT}:assumed-role/pulls/{id} is not authorized to perform: secretsmanager:GetSecretValue on resource: \
         {arn} because no identity-based policy allows the secretsmanager:GetSecretValue action"
    );
    assert_eq!(reason, want);
    task_role(&harness, "pulls", &[allow("secretsmanager:Get*", &arn)]).await;
    let Answer::Provision(given) = ask(&mut session, provide()).await else { panic!("it may read that") };
    assert_eq!(given.containers["web"].secrets[0].1.reveal(), "hunter2");
    // The execution role is not the task's: its containers get no credentials of it.
    assert_eq!(credentials(&mut session, &task).await.unwrap_err(), "The task has no role.");
}

#[tokio::test]
async fn roles_are_assumed_by_whom_they_trust() {
    let harness = Harness::start().await;
    let root = client::credentials();
    let account = json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:root")});
    let arn = role(&harness, "admin", &account, &[allow("sts:AssumeRole", "*"), allow("ecs:*", "*")]).await;
    role(&harness, "tasks", &json!({"Service": TASKS}), &[]).await;
    let assume = |by: sigv4::Credentials, role: String, more: Value| {
        let mut input = json!({"RoleArn": role, "RoleSessionName": "me"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let harness = &harness;
        async move { call_as(harness, &by, "sts", "AssumeRole", input).await }
    };
    let answer = assume(root.clone(), arn.clone(), json!({"DurationSeconds": 7200})).await.unwrap();
    assert_eq!(answer["AssumedRoleUser"]["Arn"], format!("arn:aws:sts::{ACCOUNT}:assumed-role/admin/me"));
    assert!(text(&answer["AssumedRoleUser"]["AssumedRoleId"]).ends_with(":me"));
    let admin = of_sts(&answer);
    assert_eq!(whoami(&harness, &admin).await.unwrap(), format!("arn:aws:sts::{ACCOUNT}:assumed-role/admin/me"));

    // What a session may do is what its role may, cut down by its own policy.
    let policy = json!({"Version": "2012-10-17", "Statement": [allow("ecs:ListClusters", "*"), allow("logs:*", "*")]});
    let narrow = of_sts(&assume(root.clone(), arn.clone(), json!({"Policy": policy.to_string()})).await.unwrap());
    let listed = |credentials: sigv4::Credentials, service: &'static str, operation: &'static str| {
        let harness = &harness;
        async move { call_as(harness, &credentials, service, operation, json!({})).await.map_err(|e| e.code.into_owned()) }
    };
    assert!(listed(narrow.clone(), "ecs", "ListClusters").await.is_ok());
    assert_eq!(listed(narrow.clone(), "ecs", "ListTaskDefinitions").await.unwrap_err(), "AccessDeniedException");
    assert_eq!(listed(narrow.clone(), "logs", "DescribeLogGroups").await.unwrap_err(), "AccessDeniedException");
    assert!(listed(admin.clone(), "ecs", "ListTaskDefinitions").await.is_ok());

    let external = json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:role/admin")});
    let by_role = role(&harness, "by-role", &external, &[]).await;
    let refusals: BTreeMap<&str, (sigv4::Credentials, String, Value, &str, &str)> = [
        (
            "not trusted",
            (
                root.clone(),
                format!("arn:aws:iam::{ACCOUNT}:role/tasks"),
                json!({}),
                "AccessDenied",
                "is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::",
            ),
        ),
        (
            "not there",
            (
                root.clone(),
                format!("arn:aws:iam::{ACCOUNT}:role/none"),
                json!({}),
                "AccessDenied",
                "is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::",
            ),
        ),
        (
            "another account",
            (
                root.clone(),
                "arn:aws:iam::000000000009:role/admin".to_owned(),
                json!({}),
                "AccessDenied",
                "is not authorized",
            ),
        ),
        (
            "no right",
            (
                narrow.clone(),
                arn.clone(),
                json!({}),
                "AccessDenied",
                "assumed-role/admin/me is not authorized to perform: sts:AssumeRole",
            ),
        ),
        (
            "no role",
            (root.clone(), format!("arn:aws:iam::{ACCOUNT}:user/admin"), json!({}), "ValidationError", "is invalid"),
        ),
        (
            "too long",
            (
                root.clone(),
                arn.clone(),
                json!({"DurationSeconds": 7201}),
                "ValidationError",
                "exceeds the MaxSessionDuration set for this role.",
            ),
        ),
        ("too short", (root.clone(), arn.clone(), json!({"DurationSeconds": 899}), "ValidationError", "")),
        (
            "chained",
            (
                admin.clone(),
                by_role.clone(),
                json!({"DurationSeconds": 3601}),
                "ValidationError",
                "exceeds the 1 hour session limit for roles assumed by role chaining",
            ),
        ),
        ("no policy", (root.clone(), arn.clone(), json!({"Policy": "{"}), "MalformedPolicyDocument", "")),
    ]
    .into();
    for (what, (by, role, more, code, words)) in refusals {
        let refused = assume(by, role, more).await.unwrap_err();
        assert!(refused.code == code && refused.message.contains(words), "{what}: {refused}");
    }
    let chained = of_sts(&assume(admin.clone(), by_role.clone(), json!({})).await.unwrap());
    assert_eq!(whoami(&harness, &chained).await.unwrap(), format!("arn:aws:sts::{ACCOUNT}:assumed-role/by-role/me"));

    // An external id is a condition of the trust.
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": account, "Action": "sts:AssumeRole", "Condition": {"StringEquals": {"sts:ExternalId": "abc"}},
    }]});
    change(&harness, |edit| drop(edit.update_role("by-role", |role| role.trust = trust.to_string()).unwrap())).await;
    assert_eq!(assume(root.clone(), by_role.clone(), json!({})).await.unwrap_err().code, "AccessDenied");
    assert_eq!(
        assume(root.clone(), by_role.clone(), json!({"ExternalId": "abd"})).await.unwrap_err().code,
        "AccessDenied"
    );
    assert!(assume(root.clone(), by_role.clone(), json!({"ExternalId": "abc"})).await.is_ok());

    // A root's own session.
    let own = call_as(&harness, &root, "sts", "GetSessionToken", json!({})).await.unwrap();
    let own = of_sts(&own);
    assert_eq!(whoami(&harness, &own).await.unwrap(), format!("arn:aws:iam::{ACCOUNT}:root"));
    for session in [&own, &admin] {
        let refused = call_as(&harness, session, "sts", "GetSessionToken", json!({})).await.unwrap_err();
        assert_eq!((&*refused.code, refused.status), ("AccessDenied", 403));
    }
    let info = |key: &str| {
        let (harness, root, input) = (&harness, root.clone(), json!({"AccessKeyId": key}));
        async move { call_as(harness, &root, "sts", "GetAccessKeyInfo", input).await }
    };
    for key in [client::KEY, &admin.access_key] {
        assert_eq!(info(key).await.unwrap()["Account"], ACCOUNT);
    }
    assert_eq!(info("AKIANOBODYNOBODYNOBO").await.unwrap_err().code, "ValidationError");
}

/// Which machine asks its certificate says, whatever somebody has registered about it.
#[tokio::test]
async fn no_instance_becomes_anothers_role_by_what_is_registered_of_it() {
    let (_host, harness) = crate::machines::start_with_host().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    role(&harness, "admin", &json!({"Service": "ec2.amazonaws.com"}), &[allow("*", "*")]).await;
    profile(&harness, "admin").await;
    let add = json!({"InstanceProfileName": "admin", "RoleName": "admin"});
    ok(&harness, "iam", "AddRoleToInstanceProfile", add).await;
    let run = json!({"MinCount": 1, "MaxCount": 1, "IamInstanceProfile": {"Name": "admin"}});
    let launched = ok(&harness, "ec2", "RunInstances", run).await;
    let victim = text(&launched["Instances"][0]["InstanceId"]).to_owned();

    let mut session = machine(&harness).await;
    let listed = ecs(&harness, "ListContainerInstances", json!({"cluster": "demo"})).await;
    let arn = text(&listed["containerInstanceArns"][0]).to_owned();
    let before =
        ecs(&harness, "DescribeContainerInstances", json!({"cluster": "demo", "containerInstances": [arn]})).await;
    let forged = json!({
        "cluster": "demo", "containerInstanceArn": arn, "instanceIdentityDocument": json!({"instanceId": victim}).to_string(),
    });
    let refused = harness.call("ecs", "RegisterContainerInstance", &forged).await.unwrap_err();
    assert_eq!(refused.code, "ClientException");
    assert!(refused.message.contains("which alone may register it"), "{refused}");
    let after =
        ecs(&harness, "DescribeContainerInstances", json!({"cluster": "demo", "containerInstances": [arn]})).await;
    assert_eq!(before, after);
    let Answer::Refused { message, .. } = ask(&mut session, Question::InstanceCredentials {}).await else {
        panic!("it has no profile")
    };
    assert_eq!(message, "The instance has no profile.");
}

/// A session's own policy cuts it down also where a role's trust names the role that it is of.
#[tokio::test]
async fn what_cuts_a_session_down_holds_for_assuming_roles_too() {
    let harness = Harness::start().await;
    let account = json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:root")});
    let admin = role(&harness, "admin", &account, &[allow("sts:AssumeRole", "*")]).await;
    let by_role = role(&harness, "by-role", &json!({"AWS": admin}), &[]).await;
    let me = format!("arn:aws:sts::{ACCOUNT}:assumed-role/admin/me");
    let by_session = role(&harness, "by-session", &json!({"AWS": me}), &[]).await;
    let assume = |by: sigv4::Credentials, role: &str, more: Value| {
        let mut input = json!({"RoleArn": role, "RoleSessionName": "me"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let harness = &harness;
        async move { call_as(harness, &by, "sts", "AssumeRole", input).await }
    };
    let cut =
        |statements: Value| json!({"Policy": json!({"Version": "2012-10-17", "Statement": statements}).to_string()});
    let narrow = cut(json!([allow("ecs:*", "*")]));
    let narrow = of_sts(&assume(client::credentials(), &admin, narrow).await.unwrap());
    assert_eq!(assume(narrow.clone(), &by_role, json!({})).await.unwrap_err().code, "AccessDenied");
    assert!(assume(narrow, &by_session, json!({})).await.is_ok(), "the trust names the session itself");
    let deny = cut(json!([allow("*", "*"), {"Effect": "Deny", "Action": "sts:*", "Resource": "*"}]));
    let deny = of_sts(&assume(client::credentials(), &admin, deny).await.unwrap());
    for role in [&by_role, &by_session] {
        assert_eq!(assume(deny.clone(), role, json!({})).await.unwrap_err().code, "AccessDenied", "{role}");
    }
    let wide = of_sts(&assume(client::credentials(), &admin, cut(json!([allow("sts:*", "*")]))).await.unwrap());
    assert!(assume(wide, &by_role, json!({})).await.is_ok());

    // What a role's tags say of it a deny can hang on.
    let statement = json!({"Effect": "Deny", "Action": "sts:AssumeRole", "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/env": "prod"}}});
    let guarded = role(&harness, "guarded", &account, &[allow("sts:AssumeRole", "*"), statement]).await;
    let guarded = of_sts(&assume(client::credentials(), &guarded, json!({})).await.unwrap());
    let to = role(&harness, "to", &account, &[]).await;
    assert!(assume(guarded.clone(), &to, json!({})).await.is_ok());
    let prod = Tags([("env".to_owned(), "prod".to_owned())].into());
    change(&harness, |edit| drop(edit.update_role("to", |role| role.tags = prod).unwrap())).await;
    assert_eq!(assume(guarded, &to, json!({})).await.unwrap_err().code, "AccessDenied");
}

/// Policies of an execution role are judged by all that is known of its session and of the secret.
#[tokio::test]
async fn conditions_of_an_execution_role_are_heard() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let mut session = machine(&harness).await;
    let tags = json!([{"Key": "team", "Value": "web"}]);
    let create = json!({"Name": "db", "SecretString": "hunter2", "Tags": tags});
    let arn = text(&ok(&harness, "secretsmanager", "CreateSecret", create).await["ARN"]).to_owned();
    let secret = json!([{
        "name": "web", "image": "busybox", "memory": 16, "secrets": [{"name": "DB", "valueFrom": arn}],
    }]);
    let given = |condition: Value| json!({"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*", "Condition": condition});
    task_role(&harness, "pulls", &[]).await;
    define(&harness, "web", json!({"executionRoleArn": "pulls", "containerDefinitions": secret})).await;
    let task = run(&harness, "web", json!({})).await.unwrap();
    for (condition, provided) in [
        (json!({"StringEquals": {"aws:ResourceTag/team": "web"}}), true),
        (json!({"StringEquals": {"aws:ResourceTag/team": "db"}}), false),
        (json!({"StringEquals": {"aws:PrincipalType": "AssumedRole", "aws:RequestedRegion": "us-east-1"}}), true),
        (json!({"DateGreaterThan": {"aws:TokenIssueTime": "2000-01-01T00:00:00Z"}}), true),
        (json!({"Null": {"aws:CurrentTime": "true"}}), false),
    ] {
        task_role(&harness, "pulls", &[given(condition.clone())]).await;
        let answer = ask(&mut session, Question::Provision { task: task.parse().unwrap() }).await;
        assert_eq!(matches!(answer, Answer::Provision(_)), provided, "{condition}: {answer:?}");
    }
}

#[tokio::test]
async fn only_machines_that_have_joined_have_a_way_to_the_api() {
    let harness = Harness::start().await;
    let machine = Machine::new(&harness).await;
    let mut door = machine.dial(&harness, link::ALPN_API, false).await;
    let closed = tokio::time::timeout(crate::DEADLINE, door.receive::<ServerMessage>()).await;
    assert!(closed.expect("a stranger is cut off").is_err());
}

use crate::agent::{Machine, Session, token};
use crate::{Harness, ecs, list, ok, text, until, web};
use link::{AgentMessage, GoodbyeCode, JoinAnswer, LogBatch, LogEvent, LogOutcome, ServerMessage};
use model::{
    ContainerObservation, ContainerStatus, Desired, LogMode, NetworkBinding, ObservedStatus, Protocol, Stop, StopCode,
    TaskArn, TaskObservation, Timestamp,
};
use serde_json::{Value, json};

/// A machine in the cluster `demo`, with the ARN of its instance.
pub(crate) async fn joined(harness: &Harness) -> (Machine, String) {
    ecs(harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let token = token(harness, Some("demo"), 1).await;
    let mut machine = Machine::new(harness).await;
    let identity = machine.join(harness, &token, None).await.unwrap();
    (machine, identity.container_instance.to_string())
}

async fn describe(harness: &Harness, instance: &str) -> Value {
    let answer =
        ecs(harness, "DescribeContainerInstances", json!({"cluster": "demo", "containerInstances": [instance]})).await;
    assert!(list(&answer["failures"]).is_empty(), "{answer:#}");
    answer["containerInstances"][0].clone()
}

async fn task(harness: &Harness, task: &str) -> Value {
    let answer = ecs(harness, "DescribeTasks", json!({"cluster": "demo", "tasks": [task]})).await;
    answer["tasks"][0].clone()
}

async fn run_one(harness: &Harness) -> String {
    let answer = ecs(harness, "RunTask", json!({"cluster": "demo", "taskDefinition": "web"})).await;
    assert!(list(&answer["failures"]).is_empty(), "{answer:#}");
    let task = &answer["tasks"][0];
    assert_eq!((text(&task["lastStatus"]), text(&task["desiredStatus"])), ("PENDING", "RUNNING"));
    text(&task["taskArn"]).to_owned()
}

fn seen(task: &str, status: ObservedStatus, container: ContainerStatus, exit_code: Option<i32>) -> TaskObservation {
    let binding = NetworkBinding {
        bind_ip: "0.0.0.0".into(),
        container_port: 80,
        host_port: 32768,
        protocol: Protocol::Tcp,
        container_port_range: None,
        host_port_range: None,
    };
    TaskObservation {
        task: task.parse().unwrap(),
        status,
        containers: vec![ContainerObservation {
            name: "app".into(),
            status: container,
            runtime_id: Some("c0ffee".into()),
            image_digest: None,
            exit_code,
            reason: None,
            network_bindings: vec![binding],
            health: None,
        }],
        pull_started: Some(Timestamp(1_790_000_000_000)),
        pull_stopped: Some(Timestamp(1_790_000_001_000)),
        execution_stopped: None,
        attachment: None,
    }
}

async fn start(session: &mut Session, task: &str) {
    session.report(vec![seen(task, ObservedStatus::Running, ContainerStatus::Running, None)]).await;
}

#[tokio::test]
async fn a_task_goes_the_whole_way_and_back() {
    let harness = Harness::start().await;
    let (machine, instance) = joined(&harness).await;
    web(&harness).await;
    let (mut session, held) = machine.session(&harness).await;
    assert!(held.tasks.is_empty());
    let shown = describe(&harness, &instance).await;
    assert_eq!((shown["agentConnected"].as_bool(), text(&shown["status"])), (Some(true), "ACTIVE"));
    assert_eq!(shown["versionInfo"]["dockerVersion"], "containerd: 1.6.20");
    let external = json!({"cluster": "demo", "filter": "attribute:ecs.capability.external exists"});
    assert_eq!(
        list(&ecs(&harness, "ListContainerInstances", external).await["containerInstanceArns"]),
        &[json!(instance)]
    );

    let arn = run_one(&harness).await;
    let held = session.assignments().await;
    assert_eq!(held.tasks.len(), 1);
    assert_eq!((held.tasks[0].task.to_string(), &held.tasks[0].desired), (arn.clone(), &Desired::Running));
    assert_eq!(held.definitions[0].1.containers[0].image, "busybox");
    assert_eq!(describe(&harness, &instance).await["pendingTasksCount"], 1);

    start(&mut session, &arn).await;
    let shown = task(&harness, &arn).await;
    assert_eq!((text(&shown["lastStatus"]), text(&shown["connectivity"])), ("RUNNING", "CONNECTED"));
    assert_eq!(shown["containers"][0]["networkBindings"][0]["hostPort"], 32768);
    assert_eq!(shown["containers"][0]["runtimeId"], "c0ffee");
    assert!(shown["startedAt"].is_number() && shown["pullStartedAt"].is_number() && shown["stopCode"].is_null());

    let stopped = ecs(&harness, "StopTask", json!({"cluster": "demo", "task": arn, "reason": "enough"})).await;
    assert_eq!(text(&stopped["task"]["desiredStatus"]), "STOPPED");
    let held = session.assignments().await;
    assert!(matches!(&held.tasks[0].desired, Desired::Stopped(why) if &*why.reason == "enough"));

    let why = Stop { code: StopCode::UserInitiated, reason: "enough".into() };
    let end = seen(&arn, ObservedStatus::Stopped(why), ContainerStatus::Stopped, Some(143));
    let held = match session.report(vec![end.clone()]).await {
        Some(held) => held,
        None => session.assignments().await,
    };
    assert!(held.tasks.is_empty(), "a stopped task is no longer held");
    // The same report once more, as after a lost acknowledgement, changes nothing.
    let before = task(&harness, &arn).await;
    session.report(vec![end]).await;
    assert_eq!(task(&harness, &arn).await, before);
    assert_eq!((text(&before["lastStatus"]), text(&before["stopCode"])), ("STOPPED", "UserInitiated"));
    assert_eq!((text(&before["stoppedReason"]), before["containers"][0]["exitCode"].as_i64()), ("enough", Some(143)));
    let shown = describe(&harness, &instance).await;
    assert_eq!((shown["runningTasksCount"].as_i64(), shown["pendingTasksCount"].as_i64()), (Some(0), Some(0)));
    assert_eq!(shown["remainingResources"], shown["registeredResources"]);
}

#[tokio::test]
async fn an_agent_is_told_what_changes_of_what_it_holds() {
    let harness = Harness::start().await;
    let (machine, _) = joined(&harness).await;
    web(&harness).await;
    let (mut session, _) = machine.session(&harness).await;
    let told = |session: &Session| {
        let came = session.came.as_ref().unwrap();
        let tasks = |all: &mut dyn Iterator<Item = &TaskArn>| all.map(ToString::to_string).collect::<Vec<_>>();
        let named = tasks(&mut came.tasks.iter().map(|task| &task.task));
        (named, came.definitions.len(), tasks(&mut came.gone.iter()))
    };
    let mut all = Vec::new();
    for _ in 0..3 {
        let arn = run_one(&harness).await;
        let held = session.assignments().await;
        all.push(arn.clone());
        assert_eq!((held.tasks.len(), told(&session)), (all.len(), (vec![arn], 1, vec![])));
    }
    // What an agent reports of a task that it holds is no news to it.
    start(&mut session, &all[1]).await;
    ecs(&harness, "StopTask", json!({"cluster": "demo", "task": all[0]})).await;
    session.assignments().await;
    assert_eq!(told(&session), (vec![all[0].clone()], 1, vec![]));
    let why = Stop { code: StopCode::UserInitiated, reason: "enough".into() };
    let end = seen(&all[0], ObservedStatus::Stopped(why), ContainerStatus::Stopped, Some(143));
    if session.report(vec![end]).await.is_none() {
        session.assignments().await;
    }
    assert_eq!(told(&session), (vec![], 0, vec![all[0].clone()]));
}

#[tokio::test]
async fn an_agent_that_comes_back_is_told_all_it_shall_hold() {
    let harness = Harness::start().await;
    let (machine, instance) = joined(&harness).await;
    web(&harness).await;
    let (session, _) = machine.session(&harness).await;
    let arn = run_one(&harness).await;
    drop(session);
    let call = || ("DescribeContainerInstances", json!({"cluster": "demo", "containerInstances": [instance]}));
    let is = |connected: bool| move |answer: &Value| answer["containerInstances"][0]["agentConnected"] == connected;
    until(&harness, "the disconnection", "ecs", call(), is(false)).await;
    let refused = ecs(&harness, "RunTask", json!({"cluster": "demo", "taskDefinition": "web"})).await;
    assert_eq!((list(&refused["tasks"]).len(), text(&refused["failures"][0]["reason"])), (0, "AGENT"));
    let (_session, held) = machine.session(&harness).await;
    assert_eq!(held.tasks.iter().map(|task| task.task.to_string()).collect::<Vec<_>>(), [arn]);
    until(&harness, "the connection", "ecs", call(), is(true)).await;
}

#[tokio::test]
async fn a_second_session_ends_the_first_and_stays_connected() {
    let harness = Harness::start().await;
    let (machine, instance) = joined(&harness).await;
    let (mut first, _) = machine.session(&harness).await;
    let (mut second, _) = machine.session(&harness).await;
    assert_eq!(first.goodbye().await.code, GoodbyeCode::Superseded);
    assert!(first.try_receive().await.is_err(), "the first session is closed");
    // An answer on the second shows that the first one's end has not been recorded over it.
    second.report(Vec::new()).await;
    assert_eq!(describe(&harness, &instance).await["agentConnected"], true);
}

#[tokio::test]
async fn a_deregistered_instance_is_sent_away_for_good() {
    let harness = Harness::start().await;
    let (machine, instance) = joined(&harness).await;
    web(&harness).await;
    let (mut session, _) = machine.session(&harness).await;
    let arn = run_one(&harness).await;
    let _ = session.assignments().await;
    let input = json!({"cluster": "demo", "containerInstance": instance});
    assert_eq!(crate::code(&harness, "ecs", "DeregisterContainerInstance", input).await, "InvalidParameterException");
    let forced = json!({"cluster": "demo", "containerInstance": instance, "force": true});
    let answer = ecs(&harness, "DeregisterContainerInstance", forced).await;
    assert_eq!(text(&answer["containerInstance"]["status"]), "INACTIVE");
    assert_eq!(session.goodbye().await.code, GoodbyeCode::Inactive);
    let mut again = machine.open(&harness).await;
    assert_eq!(again.goodbye().await.code, GoodbyeCode::Inactive);
    let shown = task(&harness, &arn).await;
    assert_eq!(text(&shown["stoppedReason"]), "Container instance deregistration forced by user");
}

#[tokio::test]
async fn a_certificate_is_renewed_within_the_session() {
    let harness = Harness::start().await;
    let (mut machine, instance) = joined(&harness).await;
    let (mut session, _) = machine.session(&harness).await;
    session.send(&machine.renewal()).await;
    let ServerMessage::Renewed(JoinAnswer::Joined { certificate_pem, .. }) = session.receive().await else {
        panic!("no renewal");
    };
    assert_eq!(machine.take(&certificate_pem).container_instance.to_string(), instance);
    let (_session, _) = machine.session(&harness).await;
}

#[tokio::test]
async fn output_is_kept_once_however_often_it_is_sent() {
    let harness = Harness::start().await;
    let (machine, _) = joined(&harness).await;
    let (mut session, _) = machine.session(&harness).await;
    let now = harness.effects.now();
    let event = |message: &str, end| LogEvent { timestamp: now, message: message.to_owned(), end };
    let batch = |offset, next_offset, create_group, events| LogBatch {
        group: "/demo/web".into(),
        stream: "web/app/1".into(),
        create_group,
        region: None,
        producer: "c0ffee".into(),
        offset,
        next_offset,
        events,
    };
    let refused = batch(0, 4, false, vec![event("one", 4)]);
    let first = batch(0, 8, true, vec![event("one", 4), event("two", 8)]);
    // As after a restart that lost the acknowledgement: cut otherwise, and with more behind.
    let again = batch(0, 14, true, vec![event("one", 4), event("two", 8), event("three", 14)]);
    let mut outcomes = Vec::new();
    for (seq, batch) in [refused, first, again].into_iter().enumerate() {
        session.send(&AgentMessage::Logs { seq: seq as u64 + 1, batches: vec![batch] }).await;
        let ServerMessage::LogsAck { outcomes: one, .. } = session.receive().await else { panic!("no answer") };
        outcomes.extend(one);
    }
    assert!(matches!(&outcomes[0], LogOutcome::Refused { message } if message.contains("does not exist")));
    assert_eq!(outcomes[1..], [LogOutcome::Accepted { next_offset: 8 }, LogOutcome::Accepted { next_offset: 14 }]);
    let input = json!({"logGroupName": "/demo/web", "logStreamName": "web/app/1", "startFromHead": true});
    let answer = ok(&harness, "logs", "GetLogEvents", input).await;
    let messages: Vec<_> = list(&answer["events"]).iter().map(|event| text(&event["message"])).collect();
    assert_eq!(messages, ["one", "two", "three"]);
}

#[tokio::test]
async fn an_empty_batch_opens_the_stream() {
    let harness = Harness::start().await;
    let (machine, _) = joined(&harness).await;
    let (mut session, _) = machine.session(&harness).await;
    let open = |create_group| LogBatch {
        group: "opened".into(),
        stream: "web/app/1".into(),
        create_group,
        region: None,
        producer: "c0ffee".into(),
        offset: 0,
        next_offset: 0,
        events: Vec::new(),
    };
    session.send(&AgentMessage::Logs { seq: 1, batches: vec![open(false), open(true), open(false)] }).await;
    let ServerMessage::LogsAck { outcomes, .. } = session.receive().await else { panic!("no answer") };
    let missing = "ResourceNotFoundException: The specified log group does not exist.";
    assert_eq!(outcomes[0], LogOutcome::Refused { message: missing.into() });
    assert_eq!(outcomes[1..], [LogOutcome::Accepted { next_offset: 0 }, LogOutcome::Accepted { next_offset: 0 }]);
    let answer = ok(&harness, "logs", "DescribeLogStreams", json!({"logGroupName": "opened"})).await;
    let names: Vec<_> = list(&answer["logStreams"]).iter().map(|stream| text(&stream["logStreamName"])).collect();
    assert_eq!(names, ["web/app/1"]);
}

#[tokio::test]
async fn a_task_is_assigned_with_the_accounts_log_mode() {
    let harness = Harness::start().await;
    let (machine, _) = joined(&harness).await;
    web(&harness).await;
    let (mut session, _) = machine.session(&harness).await;
    let _task = run_one(&harness).await;
    assert_eq!(session.assignments().await.tasks[0].log_mode, LogMode::NonBlocking);
    ecs(&harness, "PutAccountSettingDefault", json!({"name": "defaultLogDriverMode", "value": "blocking"})).await;
    let _task = run_one(&harness).await;
    let held = session.assignments().await;
    let modes: Vec<_> = held.tasks.iter().map(|task| task.log_mode).collect();
    assert_eq!(modes, [LogMode::NonBlocking, LogMode::Blocking], "each keeps the mode that it was started with");
}

#[tokio::test]
async fn a_report_on_another_instances_task_is_no_ones() {
    let harness = Harness::start().await;
    let (machine, _) = joined(&harness).await;
    web(&harness).await;
    let (_session, _) = machine.session(&harness).await;
    let arn = run_one(&harness).await;
    let token = token(&harness, Some("demo"), 1).await;
    let mut liar = Machine::new(&harness).await;
    liar.join(&harness, &token, None).await.unwrap();
    let (mut session, _) = liar.session(&harness).await;
    start(&mut session, &arn).await;
    assert_eq!(text(&task(&harness, &arn).await["lastStatus"]), "PENDING");
    let _: TaskArn = arn.parse().unwrap();
}

#[tokio::test]
async fn an_idle_agents_sign_of_life_costs_no_commit() {
    let harness = Harness::start().await;
    let (machine, _) = joined(&harness).await;
    let (mut session, _) = machine.session(&harness).await;
    let commands = || harness.server.context().store.stats().commands;
    let before = commands();
    for _ in 0..3 {
        session.report(Vec::new()).await;
    }
    assert_eq!(commands(), before);
}

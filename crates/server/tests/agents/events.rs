//! The event log: what changes is told, once while nothing fails, at least once over whatever does.

use crate::agent::{Machine, Session, token};
use crate::{Harness, ecs, list, ok, text, web};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use model::{ContainerInstanceArn, InstanceStatus, ObservedStatus, Stop, StopCode, TaskObservation};
use serde_json::{Value, json};
use server::{SIGNATURE_HEADER, WebhookConfig};
use sha2::Sha256;
use state::{Command, Sqlite, Store};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::net::TcpListener;

const GROUP: &str = "/aws/events/ecs/demo";

/// The events of a stream, or of all.
async fn told(harness: &Harness, stream: Option<&str>) -> Vec<Value> {
    let input = json!({"logGroupName": GROUP, "logStreamNames": stream.map(|name| vec![name])});
    match harness.call("logs", "FilterLogEvents", &input).await {
        Ok(page) => list(&page["events"]).iter().map(|e| serde_json::from_str(text(&e["message"])).unwrap()).collect(),
        Err(error) if error.code == "ResourceNotFoundException" => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

/// Waits until a stream tells something; all that it tells by then.
async fn until_told(harness: &Harness, stream: &str, is: impl Fn(&Value) -> bool) -> Vec<Value> {
    let begin = harness.effects.monotonic();
    loop {
        let events = told(harness, Some(stream)).await;
        if events.iter().any(&is) {
            return events;
        }
        assert!(harness.effects.monotonic() - begin < crate::DEADLINE, "not told: {events:#?}");
        harness.effects.sleep(crate::LOOK).await;
    }
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| text(&event["id"])).collect()
}

async fn joined(harness: &Harness) -> (Session, String) {
    ecs(harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    web(harness).await;
    let token = token(harness, Some("demo"), 1).await;
    let mut machine = Machine::new(harness).await;
    let instance = machine.join(harness, &token, None).await.unwrap().container_instance.to_string();
    (machine.session(harness).await.0, instance)
}

async fn run_one(harness: &Harness) -> String {
    let answer = ecs(harness, "RunTask", json!({"cluster": "demo", "taskDefinition": "web"})).await;
    text(&answer["tasks"][0]["taskArn"]).to_owned()
}

async fn report(session: &mut Session, task: &str, status: ObservedStatus) {
    let task = task.parse().unwrap();
    let (pull_started, pull_stopped) = (None, None);
    let seen = TaskObservation {
        task,
        status,
        containers: Vec::new(),
        pull_started,
        pull_stopped,
        execution_stopped: None,
        attachment: None,
    };
    session.report(vec![seen]).await;
}

#[tokio::test]
async fn a_tasks_way_is_told_step_by_step_and_once() {
    let harness = Harness::start().await;
    let (mut session, instance) = joined(&harness).await;
    let task = run_one(&harness).await;
    let is = |status: &'static str| move |event: &Value| event["detail"]["lastStatus"] == status;
    until_told(&harness, "task", is("PENDING")).await;
    report(&mut session, &task, ObservedStatus::Running).await;
    until_told(&harness, "task", is("RUNNING")).await;
    report(&mut session, &task, ObservedStatus::Stopped(Stop::essential_exited())).await;
    let events = until_told(&harness, "task", is("STOPPED")).await;

    let steps: Vec<_> = events.iter().map(|event| text(&event["detail"]["lastStatus"])).collect();
    assert_eq!(steps, ["PENDING", "RUNNING", "STOPPED"]);
    let described = &ecs(&harness, "DescribeTasks", json!({"cluster": "demo", "tasks": [task]})).await["tasks"][0];
    let last = &events[2];
    assert_eq!(last["detail-type"], "ECS Task State Change");
    assert_eq!(
        (&last["source"], &last["region"], &last["account"]),
        (&json!("aws.ecs"), &json!("us-east-1"), &json!("000000000000"))
    );
    assert_eq!(last["resources"], json!([task]));
    for member in ["taskArn", "clusterArn", "containerInstanceArn", "group", "stopCode", "stoppedReason", "version"] {
        assert_eq!(last["detail"][member], described[member], "{member}");
    }
    let instances = told(&harness, Some("instance")).await;
    assert!(instances.iter().all(|event| event["resources"] == json!([instance])), "{instances:#?}");
    assert_eq!(instances.last().unwrap()["detail"]["agentConnected"], true);
    let group = ok(&harness, "logs", "DescribeLogGroups", json!({"logGroupNamePrefix": GROUP})).await;
    assert_eq!(group["logGroups"][0]["retentionInDays"], 7);
}

#[tokio::test]
async fn services_and_their_deployments_are_told() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    web(&harness).await;
    for (name, count) in [("none", 0), ("one", 1)] {
        let input = json!({"cluster": "demo", "serviceName": name, "taskDefinition": "web", "desiredCount": count});
        ecs(&harness, "CreateService", input).await;
    }
    let of = |name: &str, member: &'static str, is: &'static str| {
        let resources = json!([format!("arn:aws:ecs:us-east-1:000000000000:service/demo/{name}")]);
        move |event: &Value| event["resources"] == resources && event["detail"][member] == is
    };
    until_told(&harness, "deployment", of("one", "eventName", "SERVICE_DEPLOYMENT_IN_PROGRESS")).await;
    let events = until_told(&harness, "deployment", of("none", "eventName", "SERVICE_DEPLOYMENT_COMPLETED")).await;
    let done = events.iter().find(|event| event["detail"]["eventName"] == "SERVICE_DEPLOYMENT_COMPLETED").unwrap();
    let described = ecs(&harness, "DescribeServices", json!({"cluster": "demo", "services": ["none"]})).await;
    let deployment = &described["services"][0]["deployments"][0];
    assert_eq!(done["detail"]["deploymentId"], deployment["id"]);
    assert_eq!(done["detail"]["reason"], deployment["rolloutStateReason"]);
    let actions = until_told(&harness, "service", of("one", "eventName", "SERVICE_TASK_PLACEMENT_FAILURE")).await;
    let steady = until_told(&harness, "service", of("none", "eventName", "SERVICE_STEADY_STATE")).await;
    assert!(actions.iter().chain(&steady).all(|event| !text(&event["detail"]["eventName"]).contains("DEPLOYMENT")));
    let level = actions.iter().find(|e| e["detail"]["eventName"] == "SERVICE_TASK_PLACEMENT_FAILURE").unwrap();
    assert_eq!(level["detail"]["eventType"], "ERROR");
    assert_eq!(ids(&actions).len(), ids(&actions).iter().collect::<BTreeSet<_>>().len(), "each once");
}

/// What a server does that is killed after a commit and before it told of it: the commit, and nothing else.
async fn commit_untold(data_dir: &Path, commands: Vec<Command>) {
    let backend = Sqlite::open(&data_dir.join("state")).unwrap();
    let store = Store::open(Box::new(backend), &effects::Effects::real()).unwrap();
    for command in commands {
        store.commit(command).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn what_was_committed_and_not_told_is_told_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Harness::start_with(|config| config.data_dir = dir.path().to_owned());
    let harness = start().await;
    let (session, instance) = joined(&harness).await;
    let task = run_one(&harness).await;
    drop(session);
    assert!(harness.server.shutdown().await, "everything ended in time");

    let instance: ContainerInstanceArn = instance.parse().unwrap();
    let at = harness.effects.now();
    let why = Stop { code: StopCode::UserInitiated, reason: "untold".into() };
    let stop = Command::StopTask { arn: task.parse().unwrap(), why, at };
    let drain = Command::SetInstanceStatus { arn: instance, status: InstanceStatus::Draining };
    commit_untold(dir.path(), vec![stop, drain]).await;

    let harness = start().await;
    let tasks = until_told(&harness, "task", |event| event["detail"]["stoppedReason"] == "untold").await;
    assert_eq!(tasks.last().unwrap()["detail"]["desiredStatus"], "STOPPED");
    until_told(&harness, "instance", |event| event["detail"]["status"] == "DRAINING").await;
    let before = told(&harness, None).await;
    assert_eq!(
        ids(&before).len(),
        ids(&before).iter().collect::<BTreeSet<_>>().len(),
        "a stop in order repeats nothing"
    );
    assert!(harness.server.shutdown().await, "everything ended in time");

    // And a start with nothing to tell tells nothing.
    let harness = start().await;
    ecs(
        &harness,
        "CreateService",
        json!({"cluster": "demo", "serviceName": "s", "taskDefinition": "web", "desiredCount": 0}),
    )
    .await;
    until_told(&harness, "deployment", |_| true).await;
    let again = [told(&harness, Some("task")).await, told(&harness, Some("instance")).await].concat();
    assert_eq!(ids(&again).iter().collect::<BTreeSet<_>>(), ids(&before).iter().collect());
    assert_eq!(again.len(), before.len());
    assert!(harness.server.shutdown().await, "everything ended in time");
}

#[tokio::test]
async fn a_log_that_somebody_deleted_is_made_again() {
    let harness = Harness::start().await;
    let (_session, _) = joined(&harness).await;
    until_told(&harness, "instance", |_| true).await;
    ok(&harness, "logs", "DeleteLogGroup", json!({"logGroupName": GROUP})).await;
    let task = run_one(&harness).await;
    until_told(&harness, "task", |event| event["resources"] == json!([task])).await;
}

const SECRET: &str = "not so secret";

/// A receiver of events that can be away.
#[derive(Clone, Default)]
struct Receiver {
    up: Arc<AtomicBool>,
    refused: Arc<AtomicBool>,
    took: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    async fn listen(harness: &effects::Effects) -> (Self, String) {
        let receiver = Self::default();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?token=t", socket.local_addr().unwrap());
        let (own, effects) = (receiver.clone(), harness.clone());
        harness.spawn("receiver", async move {
            while let Ok((stream, _)) = socket.accept().await {
                let own = own.clone();
                effects.spawn("receiver's connection", async move {
                    let serve = service_fn(move |request| own.clone().take(request));
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        });
        (receiver, url)
    }

    async fn take(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let answer = |status| Ok(Response::builder().status(status).body(Full::default()).unwrap());
        if !self.up.load(Ordering::SeqCst) {
            self.refused.store(true, Ordering::SeqCst);
            return answer(503);
        }
        assert_eq!((parts.uri.path(), parts.uri.query()), ("/hook", Some("token=t")));
        let signature = parts.headers[SIGNATURE_HEADER].to_str().unwrap();
        let (time, hex_mac) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{time}.").as_bytes());
        mac.update(&body);
        mac.verify_slice(&hex::decode(hex_mac).unwrap()).expect("the signature is right");
        let events: Vec<Value> = serde_json::from_slice(&body).unwrap();
        self.took.lock().unwrap().extend(events);
        answer(204)
    }

    async fn until_took(&self, effects: &effects::Effects, is: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let begin = effects.monotonic();
        loop {
            let took = self.took.lock().unwrap().clone();
            if is(&took) {
                return took;
            }
            assert!(effects.monotonic() - begin < crate::DEADLINE, "{took:#?}");
            effects.sleep(crate::LOOK).await;
        }
    }
}

#[tokio::test]
async fn a_receiver_that_was_away_gets_all_of_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let outside = effects::Effects::real();
    let (receiver, url) = Receiver::listen(&outside).await;
    let start = || {
        Harness::start_with(|config| {
            config.data_dir = dir.path().join("data");
            let secret_file = Some(secret.clone());
            config.events_webhook = Some(WebhookConfig { url: url.clone(), secret_file, ca_bundle: None });
        })
    };
    let harness = start().await;
    let (mut session, _) = joined(&harness).await;
    let first = run_one(&harness).await;
    report(&mut session, &first, ObservedStatus::Running).await;
    until_told(&harness, "task", |event| event["detail"]["lastStatus"] == "RUNNING").await;
    let begin = outside.monotonic();
    while !receiver.refused.load(Ordering::SeqCst) {
        assert!(outside.monotonic() - begin < crate::DEADLINE, "the receiver was never asked");
        outside.sleep(crate::LOOK).await;
    }
    receiver.up.store(true, Ordering::SeqCst);
    let has = |task: &str, status: &'static str| {
        let task = json!([task]);
        move |event: &Value| event["resources"] == task && event["detail"]["lastStatus"] == status
    };
    let is_running = has(&first, "RUNNING");
    let took = receiver.until_took(&outside, |took| took.iter().any(&is_running)).await;
    let log = told(&harness, None).await;
    assert_eq!(ids(&took), ids(&log)[..took.len()], "as the log has it");

    // Over a restart it goes on behind what was taken.
    drop(session);
    assert!(harness.server.shutdown().await, "everything ended in time");
    let harness = start().await;
    let cluster = json!({"cluster": "demo", "task": first, "reason": "enough"});
    ecs(&harness, "StopTask", cluster).await;
    let is_told = |took: &[Value]| took.iter().any(|event| event["detail"]["stoppedReason"] == "enough");
    let took = receiver.until_took(&outside, is_told).await;
    assert_eq!(ids(&took).len(), ids(&took).iter().collect::<BTreeSet<_>>().len(), "nothing twice");
    let log = told(&harness, None).await;
    assert_eq!(ids(&took), ids(&log)[..took.len()], "and nothing is left out");
}

#[tokio::test]
async fn what_is_told_again_has_the_id_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Harness::start_with(|config| config.data_dir = dir.path().to_owned());
    let harness = start().await;
    let (session, _) = joined(&harness).await;
    let task = run_one(&harness).await;
    ecs(
        &harness,
        "CreateService",
        json!({"cluster": "demo", "serviceName": "s", "taskDefinition": "web", "desiredCount": 0}),
    )
    .await;
    let completed = |event: &Value| event["detail"]["eventName"] == "SERVICE_DEPLOYMENT_COMPLETED";
    until_told(&harness, "deployment", completed).await;
    drop(session);
    assert!(harness.server.shutdown().await, "everything ended in time");
    let file = dir.path().join("events.json");
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(kept["revision"].as_u64().unwrap() > 3, "{kept}");
    // As if it had been killed before it could write down how far it had come.
    std::fs::write(&file, r#"{"v":1,"revision":0}"#).unwrap();

    let harness = start().await;
    let is_again = |events: &[Value]| {
        let ids = ids(events);
        ids.len() > ids.iter().collect::<BTreeSet<_>>().len()
    };
    let begin = harness.effects.monotonic();
    while !(is_again(&told(&harness, Some("task")).await) && is_again(&told(&harness, Some("deployment")).await)) {
        assert!(harness.effects.monotonic() - begin < crate::DEADLINE, "nothing is told again");
        harness.effects.sleep(crate::LOOK).await;
    }
    let tasks = told(&harness, Some("task")).await;
    assert!(tasks.iter().all(|event| event["resources"] == json!([task])));
    let steps = tasks.iter().map(|event| (text(&event["id"]), event["detail"]["version"].as_u64()));
    let versions: BTreeSet<_> = steps.clone().map(|(_, version)| version).collect();
    assert_eq!(steps.collect::<BTreeSet<_>>().len(), versions.len(), "one id for each version");
}

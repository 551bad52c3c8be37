use super::*;
use crate::{engine::News, plan::TaskPlan, testing};
use http_body_util::BodyExt;
use model::{CpuUnits, MemoryMib, NetworkBinding, Timestamp};
use serde_json::{Value, json};

const INSTANCE: &str = "arn:aws:ecs:us-east-1:123456789012:container-instance/demo/0123456789abcdef0123456789abcdef";

/// A task that runs, with everything that can be told of it.
fn publish(board: &Board, n: u32, group: &str) -> Arc<TaskPlan> {
    let (mut assignment, definition) = testing::assignment(n, &["web", "aside"]);
    assignment.group = group.into();
    let mut definition = (*definition).clone();
    (definition.cpu, definition.memory) = (Some(CpuUnits(256)), Some(MemoryMib(128)));
    definition.containers[0].cpu = CpuUnits(128);
    let plan = Arc::new(TaskPlan::new(assignment, Arc::new(definition)));
    let mut state = plan.fresh();
    for container in &mut state.containers {
        container.phase = crate::task::Phase::Running { by: Timestamp(i64::MAX) };
        container.created = Some(Timestamp(1_790_000_000_123));
        container.started = Some(Timestamp(1_790_000_001_456));
    }
    let binding = NetworkBinding {
        bind_ip: "0.0.0.0".into(),
        container_port: 80,
        host_port: 32768,
        protocol: model::Protocol::Tcp,
        container_port_range: Some("80-81".into()),
        host_port_range: Some("32768-32769".into()),
    };
    let address = Ipv4Addr::new(172, 17, 0, u8::try_from(n).unwrap());
    state.containers[0].endpoint = Some(crate::task::Endpoint { address: Some(address), bindings: vec![binding] });
    state.pull_started = Some(Timestamp(1_790_000_000_000));
    board.publish(View { plan: plan.clone(), state: Arc::new(state) }, News::Now);
    plan
}

struct World {
    board: Arc<Board>,
    metadata: Arc<Metadata>,
    questions: Questions,
    _dir: tempfile::TempDir,
}

fn world() -> World {
    let effects = Effects::real();
    let dir = tempfile::tempdir().unwrap();
    let board = Arc::new(Board::new(effects.clone()));
    let facts = Facts {
        container_instance: INSTANCE.parse().unwrap(),
        launch_type: "EC2",
        availability_zone: Some("us-east-1a".into()),
        vpc: Some("vpc-1".into()),
    };
    let cgroups = runtime::cgroup::Cgroups::detect().unwrap();
    let places = Places {
        cgroups,
        cgroup: "/longshore-not-there".into(),
        netns_dir: "/nowhere".into(),
        disks: runtime::Disks::new("/nowhere"),
    };
    let secret = Secret::open(dir.path(), &effects).unwrap();
    let questions = Questions::new(effects.clone());
    let roles = Roles::new(questions.clone(), secret.clone(), effects.clone());
    let rate = Rate::default();
    let asking = (questions.clone(), roles);
    let metadata = Metadata::new(board.clone(), asking, facts, secret, rate, places, effects);
    World { board, metadata, questions, _dir: dir }
}

impl World {
    async fn ask(&self, path: &str) -> (u16, Value) {
        self.ask_of(path, &(Arc::new(|_: &View| true) as Visible)).await
    }

    async fn ask_of(&self, path: &str, visible: &Visible) -> (u16, Value) {
        let asked =
            Asked { method: Method::GET, uri: path.to_owned(), body: Bytes::new(), peer: [172, 17, 0, 9].into() };
        let answer = self.metadata.answer(&asked, visible).await;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::String(text)))
    }

    fn id(&self, plan: &TaskPlan, at: usize) -> String {
        self.metadata.secret.id(&plan.ids[at])
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_task_is_told_what_the_originals_tasks_are() {
    let world = world();
    let plan = publish(&world.board, 1, "service:websvc");
    let id = world.id(&plan, 0);
    let (status, task) = world.ask(&format!("/v4/{id}/task")).await;
    assert_eq!(status, 200);
    let want = [
        "AvailabilityZone",
        "Cluster",
        "Containers",
        "DesiredStatus",
        "Family",
        "FaultInjectionEnabled",
        "KnownStatus",
        "LaunchType",
        "Limits",
        "PullStartedAt",
        "Revision",
        "ServiceName",
        "TaskARN",
        "VPCID",
    ];
    assert_eq!(keys(&task), want);
    assert_eq!(task["Limits"], json!({"CPU": 0.25, "Memory": 128}));
    assert_eq!((&task["KnownStatus"], &task["ServiceName"]), (&json!("RUNNING"), &json!("websvc")));
    let (_, own) = world.ask(&format!("/v4/{id}/")).await;
    assert_eq!(own, task["Containers"][0], "a slash at the end changes nothing");
    let want = [
        "ContainerARN",
        "CreatedAt",
        "DesiredStatus",
        "DockerId",
        "DockerName",
        "Image",
        "ImageID",
        "KnownStatus",
        "Labels",
        "Limits",
        "Name",
        "Networks",
        "Ports",
        "StartedAt",
        "Type",
    ];
    assert_eq!(keys(&own), want);
    assert_eq!(own["Networks"], json!([{"NetworkMode": "bridge", "IPv4Addresses": ["172.17.0.1"]}]));
    assert_eq!(
        own["Ports"][1],
        json!({"ContainerPort": 81, "Protocol": "tcp", "HostPort": 32769, "HostIp": "0.0.0.0"})
    );
    assert_eq!(own["Labels"].as_object().unwrap().len(), 5, "our own are not shown: {}", own["Labels"]);
    assert_eq!(own["Limits"].to_string(), r#"{"CPU":128,"Memory":32}"#);
    assert_eq!(own["CreatedAt"], "2026-09-21T14:13:20.123Z");
    assert!(own["ContainerARN"].as_str().unwrap().contains(":container/demo/00000001"), "{own}");

    let (_, third) = world.ask(&format!("/v3/{id}/task")).await;
    for missing in ["LaunchType", "ServiceName", "VPCID", "FaultInjectionEnabled"] {
        assert!(third.get(missing).is_none(), "{missing}");
    }
    assert!(third["Containers"][0]["Ports"][0].get("HostIp").is_none());
    let (_, aside) = world.ask(&format!("/v4/{}", world.id(&plan, 1))).await;
    assert_eq!((&aside["Name"], aside["Networks"][0]["IPv4Addresses"][0].as_str()), (&json!("aside"), Some("")));
}

#[tokio::test]
async fn a_task_with_a_disk_is_told_how_full_it_is() {
    let world = world();
    let (mut assignment, definition) = testing::assignment(1, &["web"]);
    assignment.ephemeral_storage_gib = Some(21);
    let plan = Arc::new(TaskPlan::new(assignment, definition));
    let view = View { plan: plan.clone(), state: Arc::new(plan.fresh()) };
    let told = |disk| {
        let told = TaskResponse::new(&view, &world.metadata.facts, Version::V4).with_disk(&view, disk);
        serde_json::to_value(told).unwrap().get("EphemeralStorageMetrics").cloned()
    };
    let disk = runtime::DiskUsage { used: (5 << 20) + 1, size: 20 << 30 };
    assert_eq!(told(Some(disk)), Some(json!({"Utilized": 6, "Reserved": 21_504})));
    assert_eq!(told(None), None);
    // One that is not there yet is not told of.
    assert_eq!(world.metadata.meters.disk(&plan), None);
}

#[tokio::test]
async fn who_has_no_id_is_told_so_in_the_originals_words() {
    let world = world();
    let plan = publish(&world.board, 1, "family:web");
    let (id, no) = (world.id(&plan, 0), "9781c248-0edd-4cdb-9a93-f63cb662a5d3");
    let task = format!("unable to get task arn from request: unable to get task Arn from v3 endpoint ID: {no}");
    let container =
        format!("unable to get container ID from request: unable to get docker ID from v3 endpoint ID: {no}");
    let address = "Unable to get task arn from request: unable to associate '172.17.0.9' with task";
    let credentials = |version: &str, code: &str, why: &str| json!({"code": code, "message": format!("Credentials{version}Request: {why}"), "HTTPErrorCode": 400});
    let unknown = ("InvalidIdInRequest", "Credentials not found");
    let none = ("NoIdInRequest", "No Credential ID in the request");
    let runtime_id = &plan.ids[0];
    let rows = [
        (format!("/v4/{no}"), 404, json!(format!("V4 container metadata handler: {container}"))),
        (format!("/v4/{no}/task"), 404, json!(format!("V4 task metadata handler: {task}"))),
        (format!("/v4/{no}/task/stats"), 404, json!(format!("V4 task stats handler: {task}"))),
        (format!("/v3/{no}"), 400, json!(format!("V3 container metadata handler: {container}"))),
        (format!("/v4/{id}/tusk"), 404, json!("404 page not found\n")),
        (format!("/v4/{id}/stats"), 500, json!(format!("Unable to get container stats for: {runtime_id}"))),
        (format!("/v4/{runtime_id}x/tusk"), 404, json!("404 page not found\n")),
        ("/v2/metadata".into(), 400, json!(address)),
        ("/v2/stats".into(), 400, json!(address)),
        (format!("/v2/credentials/{no}"), 400, credentials("V2", unknown.0, unknown.1)),
        ("/v2/credentials/".into(), 400, credentials("V2", none.0, none.1)),
        (format!("/v1/credentials?id={no}"), 400, credentials("V1", unknown.0, unknown.1)),
        ("/v1/credentials".into(), 400, credentials("V1", none.0, none.1)),
        ("/".into(), 404, json!("404 page not found\n")),
    ];
    for (path, status, body) in rows {
        assert_eq!(world.ask(&path).await, (status, body), "{path}");
    }
    // What can be seen from outside, such as a container's own id, opens nothing.
    assert_eq!(world.ask(&format!("/v4/{runtime_id}")).await.0, 404);
}

#[tokio::test]
async fn a_listener_answers_only_for_its_own_tasks() {
    let world = world();
    let (here, there) = (publish(&world.board, 1, "family:web"), publish(&world.board, 2, "family:web"));
    let own = here.clone();
    let visible: Visible = Arc::new(move |view| view.plan.id() == own.id());
    assert_eq!(world.ask_of(&format!("/v4/{}", world.id(&here, 0)), &visible).await.0, 200);
    assert_eq!(world.ask_of(&format!("/v4/{}", world.id(&there, 0)), &visible).await.0, 404);
}

#[tokio::test]
async fn one_tasks_thirst_is_not_anothers() {
    let world = world();
    let (thirsty, other) = (publish(&world.board, 1, "family:web"), publish(&world.board, 2, "family:web"));
    let path = format!("/v4/{}", world.id(&thirsty, 0));
    let mut refused = None;
    for _ in 0..500 {
        let (status, body) = world.ask(&path).await;
        if status == 429 {
            refused = Some(body);
            break;
        }
        assert_eq!(status, 200);
    }
    assert_eq!(refused, Some(json!("You have reached maximum request limit.")));
    assert_eq!(world.ask(&format!("/v4/{}", world.id(&other, 0))).await.0, 200);
}

#[tokio::test]
async fn a_task_has_the_credentials_of_its_role_and_no_other() {
    let world = world();
    let with_role = |n: u32, role: Option<&str>| {
        let (mut assignment, definition) = testing::assignment(n, &["web"]);
        assignment.overrides.task_role_arn = role.map(str::to_owned);
        let plan = Arc::new(TaskPlan::new(assignment, definition));
        world.board.publish(View { plan: plan.clone(), state: Arc::new(plan.fresh()) }, News::Now);
        plan
    };
    let (own, without) = (with_role(1, Some("web")), with_role(2, None));
    let id = world.metadata.roles.id(&own).unwrap();
    assert_eq!(world.metadata.roles.id(&without), None);
    let credentials = link::RoleCredentials {
        role: "arn:aws:iam::123456789012:role/web".into(),
        access_key: "ASIA1".into(),
        secret: model::vault::Plain::from("s".to_owned()),
        token: model::vault::Plain::from("t".to_owned()),
        issued: Timestamp(1_790_000_000_000),
        expires: Timestamp(1_790_000_060_000),
    };
    let served = async {
        let asked = world.questions.next().await;
        assert_eq!(asked.question, Question::Credentials { task: own.assignment.task.clone() });
        drop(asked.told.send(link::Answer::Credentials(credentials)));
    };
    let path = format!("/v2/credentials/{id}");
    let ((status, told), ()) = tokio::join!(world.ask(&path), served);
    let want = json!({
        "RoleArn": "arn:aws:iam::123456789012:role/web", "AccessKeyId": "ASIA1", "SecretAccessKey": "s", "Token": "t",
        "Expiration": "2026-09-21T14:14:20Z",
    });
    assert_eq!((status, told), (200, want.clone()));
    assert_eq!(world.ask(&format!("/v1/credentials?id={id}")).await, (200, want));

    // Neither what can be seen of a task nor another id of its containers opens them, and only who sees the task is told.
    let foreign = world.id(&own, 0);
    for id in [foreign.as_str(), own.id(), &own.ids[0], "none"] {
        let (status, told) = world.ask(&format!("/v2/credentials/{id}")).await;
        assert_eq!((status, &told["code"]), (400, &json!("InvalidIdInRequest")), "{id}");
    }
    let nothing: Visible = Arc::new(|_: &View| false);
    assert_eq!(world.ask_of(&path, &nothing).await.0, 400);
    let (status, told) = world.ask("/v2/credentials/").await;
    assert_eq!((status, &told["code"], &told["HTTPErrorCode"]), (400, &json!("NoIdInRequest"), &json!(400)));

    // A task with an interface of its own asks from there. The tests ask from 172.17.0.9.
    for (n, last, status) in [(3, 8, 400), (4, 9, 503)] {
        let (mut assignment, definition) = testing::assignment(n, &["web"]);
        assignment.overrides.task_role_arn = Some("web".to_owned());
        assignment.interface = Some(link::AssignedInterface {
            id: model::network::InterfaceId::of(1),
            vpc: model::network::VpcId::of(1),
            address: [172, 17, 0, last].into(),
            subnet: "172.17.0.0/16".parse().unwrap(),
            mac: "02:00:00:00:00:01".into(),
            resolver: None,
        });
        let plan = Arc::new(TaskPlan::new(assignment, definition));
        world.board.publish(View { plan: plan.clone(), state: Arc::new(plan.fresh()) }, News::Now);
        let refused = async {
            let asked = world.questions.next().await;
            let message = "The role was deleted.".to_owned();
            drop(asked.told.send(link::Answer::Refused { status: 400, code: "ClientException".into(), message }));
        };
        let path = format!("/v2/credentials/{}", world.metadata.roles.id(&plan).unwrap());
        let got = match status {
            400 => world.ask(&path).await,
            _ => tokio::join!(world.ask(&path), refused).0,
        };
        assert_eq!(got.0, status, "{got:?}");
    }

    // One that cannot have any is told so.
    world.metadata.roles.forget(&own);
    let refused = async {
        let asked = world.questions.next().await;
        let message = "The role was deleted.".to_owned();
        drop(asked.told.send(link::Answer::Refused { status: 400, code: "ClientException".into(), message }));
    };
    let ((status, told), ()) = tokio::join!(world.ask(&path), refused);
    assert_eq!((status, &told["code"]), (503, &json!("CredentialsUninitialized")));
}

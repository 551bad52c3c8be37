use super::*;
use effects::Effects;
use model::{
    AgentInfo, Attributes, Cluster, ClusterStatus, Container, ContainerArn, ContainerDefinition, ContainerInstance,
    ContainerStatus, CpuUnits, Desired, InstanceStatus, LaunchType, MemoryMib, NetworkBinding, Phase, Protocol,
    Reservation, Resources, ServiceEvent, Stop, StopCode, Tags, TaskDefinitionSpec, TaskOverrides, TaskTimes,
};
use state::{Command, Memory, Store};
use std::{collections::BTreeMap, path::PathBuf};

const ID: &str = "0123456789abcdef0123456789abcdef";
/// 2026-01-02T03:04:05.678Z
const AT: Timestamp = Timestamp(1_767_323_045_678);

fn arn(rest: &str) -> String {
    format!("arn:aws:ecs:us-east-1:000000000000:{rest}")
}

/// A cluster with an instance that runs a task, and a definition.
async fn snapshot() -> Arc<Snapshot> {
    let store = Store::open_inline(Box::new(Memory::default()), &Effects::real()).unwrap();
    let cluster: ClusterArn = arn("cluster/shop").parse().unwrap();
    let container = ContainerDefinition {
        name: "web".into(),
        image: "nginx:1".into(),
        memory: Some(MemoryMib(64)),
        ..ContainerDefinition::default()
    };
    let instance = ContainerInstance {
        arn: arn(&format!("container-instance/shop/{ID}")).parse().unwrap(),
        status: InstanceStatus::Active,
        version: 3,
        ec2_instance_id: Some("i-0123456789abcdef0".to_owned()),
        registered: Resources {
            cpu: CpuUnits(2048),
            memory: MemoryMib(4096),
            gpus: Default::default(),
            interfaces: 0,
            ports: [model::Port { protocol: Protocol::Tcp, number: 22 }].into(),
        },
        attributes: Attributes::from([("ecs.os-type".to_owned(), Some("linux".to_owned()))]),
        agent: AgentInfo { version: "0.1.0".to_owned(), hash: "longshore".to_owned(), runtime: String::new() },
        agent_connected: true,
        agent_changed_at: AT,
        address: None,
        wireguard: None,
        registered_at: AT,
        reclaimed_at: None,
        tags: Tags(BTreeMap::from([("rack".to_owned(), "r9".to_owned())])),
    };
    let definition = TaskDefinitionSpec {
        family: model::Family::parse("web").unwrap(),
        network_mode: None,
        cpu: None,
        memory: None,
        requires_compatibilities: Vec::new(),
        execution_role_arn: None,
        task_role_arn: None,
        runtime_platform: None,
        ephemeral_storage_gib: None,
        pid_mode: None,
        ipc_mode: None,
        volumes: Vec::new(),
        placement_constraints: Vec::new(),
        containers: vec![container],
    };
    for command in [
        Command::CreateCluster(Cluster {
            arn: cluster.clone(),
            status: ClusterStatus::Active,
            settings: BTreeMap::new(),
            connect_namespace: None,
            exec_logging: None,
            capacity_providers: Vec::new(),
            default_capacity_provider_strategy: model::CapacityProviderStrategy::default(),
            tags: Tags::default(),
            created_at: AT,
        }),
        Command::RegisterContainerInstance { instance },
        Command::RegisterTaskDefinition {
            scope: cluster.scope.clone(),
            spec: Arc::new(definition),
            tags: Tags::default(),
            registered_by: arn("root"),
            at: AT,
        },
    ] {
        store.commit(command).await.unwrap();
    }
    store.snapshot()
}

fn task() -> Task {
    let arn: model::TaskArn = arn(&format!("task/shop/{ID}")).parse().unwrap();
    let why = Stop { code: StopCode::EssentialContainerExited, reason: "Essential container in task exited".into() };
    Task {
        definition: self::arn("task-definition/web:1").parse().unwrap(),
        container_instance: Some(model::ContainerInstanceId::parse(ID).unwrap()),
        waiting: None,
        availability_zone: Some("us-east-1a".into()),
        launch_type: LaunchType::Ec2,
        capacity_provider: None,
        platform: None,
        ephemeral_storage_gib: None,
        group: "service:web".into(),
        started_by: Some("ecs-svc/1234567890123456789".into()),
        overrides: TaskOverrides::default(),
        reservation: Reservation { cpu: CpuUnits(10), memory: MemoryMib(64), ..Reservation::default() },
        desired: Desired::Running,
        phase: Phase::Stopped { at: AT, why },
        version: 4,
        containers: vec![Container {
            arn: ContainerArn { task: arn.clone(), id: "f81d4fae-7dec-41d0-a765-00a0c91e6bf6".into() },
            name: "web".into(),
            image: "nginx:1".into(),
            image_digest: None,
            runtime_id: Some("c0ffee".into()),
            status: ContainerStatus::Stopped,
            exit_code: Some(137),
            reason: Some("OutOfMemoryError: Container killed due to memory usage".into()),
            network_bindings: vec![NetworkBinding {
                bind_ip: "0.0.0.0".into(),
                container_port: 80,
                host_port: 32768,
                protocol: Protocol::Tcp,
                container_port_range: None,
                host_port_range: None,
            }],
            essential: true,
            health: None,
        }],
        times: TaskTimes { created: AT.plus_millis(-60_000), stopping: Some(AT), ..TaskTimes::default() },
        execute_command: false,
        protected_until: None,
        volume: None,
        attachment: None,
        tags: Tags(BTreeMap::from([("team".to_owned(), "blue".to_owned())])),
        arn,
    }
}

fn service() -> ServiceArn {
    arn("service/shop/web").parse().unwrap()
}

fn step(rollout: Rollout, reason: &str) -> Step {
    Step {
        id: "ecs-svc/1234567890123456789".parse().unwrap(),
        story: ServiceDeploymentId::parse("a".repeat(21)).unwrap(),
        rollout,
        at: AT,
        reason: reason.into(),
    }
}

#[tokio::test]
async fn every_kind_is_told_as_its_golden_file_says() {
    let snapshot = snapshot().await;
    let instance = snapshot.instance(&arn(&format!("container-instance/shop/{ID}")).parse().unwrap()).unwrap().clone();
    let placement = ServiceEvent {
        id: "c0ffee00-0000-4000-8000-000000000000".into(),
        at: AT,
        name: ServiceEventName::TaskPlacementFailure,
        message: "(service web) was unable to place a task because no container instance met all of its \"needs\"."
            .into(),
    };
    let failed = step(Rollout::Failed, "ECS deployment circuit breaker: tasks failed to start.");
    for (kind, change) in [
        (EventKind::Task, Change::Task(Arc::new(task()))),
        (EventKind::Instance, Change::Instance(instance)),
        (EventKind::Service, Change::Action { service: service(), event: Arc::new(placement) }),
        (EventKind::Deployment, Change::Deployment { service: service(), step: failed }),
    ] {
        let line = event(&snapshot, &change, AT);
        assert!(!line.contains('\n'), "one line: {line}");
        assert!(line.starts_with("{\"version\":\"0\",\"id\":\""), "{line}");
        assert_eq!((change.kind(), change.cluster().to_string()), (kind, arn("cluster/shop")));
        let name = format!("tests/golden/event.{}.json", kind.stream());
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(&name);
        let got: Value = serde_json::from_str(&line).unwrap();
        let want: Value =
            serde_json::from_str(&std::fs::read_to_string(&golden).unwrap_or_default()).unwrap_or_default();
        assert_eq!(got, want, "{name} is not this:\n{got:#}");
    }
}

#[tokio::test]
async fn an_id_belongs_to_one_version_of_one_thing() {
    let snapshot = snapshot().await;
    let id = |change: &Change, now: Timestamp| {
        let event: Value = serde_json::from_str(&event(&snapshot, change, now)).unwrap();
        event["id"].as_str().unwrap().to_owned()
    };
    let task = Change::Task(Arc::new(task()));
    assert_eq!(id(&task, AT), id(&task, AT.plus_millis(9)), "told again, it is the same");
    assert_eq!(id(&task, AT).len(), 36);
    let later = Change::Task(Arc::new(Task { version: 5, ..self::task() }));
    let deployment = |rollout, story: &str| {
        let story = ServiceDeploymentId::parse(story.repeat(21)).unwrap();
        Change::Deployment { service: service(), step: Step { story, ..step(rollout, "") } }
    };
    let all = [
        task,
        later,
        deployment(Rollout::InProgress, "a"),
        deployment(Rollout::Completed, "a"),
        deployment(Rollout::InProgress, "b"),
    ];
    let ids: std::collections::BTreeSet<_> = all.iter().map(|change| id(change, AT)).collect();
    assert_eq!(ids.len(), all.len());
}

/// What one event costs; `docs/events.md` tells it.
#[tokio::test]
async fn an_event_is_as_long_as_is_said() {
    let snapshot = snapshot().await;
    let line = event(&snapshot, &Change::Task(Arc::new(task())), AT);
    assert!((1_000..2_500).contains(&line.len()), "{}", line.len());
}

//! Builders and small helpers that all of this crate's tests share.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part.
#![allow(clippy::unwrap_used)] // These are tests, though clippy does not see it in a file they share.

use effects::Effects;
use model::*;
use state::{Backend, Command, CommitError, Committed, IdempotencyToken, Snapshot, Store};
use std::{collections::BTreeMap, future::Future, sync::Arc};

pub fn scope() -> Scope {
    Scope { account: AccountId::parse("123456789012").unwrap(), region: Region::parse("eu-central-1").unwrap() }
}
pub fn cluster_arn(name: &str) -> ClusterArn {
    ClusterArn { scope: scope(), name: ClusterName::parse(name).unwrap() }
}
pub fn instance_arn(cluster: &str, number: u64) -> ContainerInstanceArn {
    let id = ContainerInstanceId::parse(format!("{number:032x}")).unwrap();
    ContainerInstanceArn { cluster: cluster_arn(cluster), id }
}
pub fn task_arn(cluster: &str, number: u64) -> TaskArn {
    // Spread, so that ids come in no order, as real ones do.
    let id = (u128::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    TaskArn { cluster: cluster_arn(cluster), id: TaskId::parse(format!("{id:032x}")).unwrap() }
}
pub fn family(name: &str) -> Family {
    Family::parse(name).unwrap()
}
pub fn definition_arn(name: &str, revision: u32) -> TaskDefinitionArn {
    TaskDefinitionArn { scope: scope(), family: family(name), revision }
}
pub fn tcp(number: u16) -> Port {
    Port { protocol: Protocol::Tcp, number }
}
pub fn stop(code: StopCode, reason: &str) -> Stop {
    Stop { code, reason: reason.into() }
}

pub fn cluster(name: &str) -> Cluster {
    Cluster {
        arn: cluster_arn(name),
        status: ClusterStatus::Active,
        settings: BTreeMap::new(),
        connect_namespace: None,
        exec_logging: None,
        capacity_providers: Vec::new(),
        default_capacity_provider_strategy: model::CapacityProviderStrategy::default(),
        tags: Tags::default(),
        created_at: Timestamp(1),
    }
}

pub fn instance(cluster: &str, number: u64, cpu: u32, memory: u32) -> ContainerInstance {
    ContainerInstance {
        arn: instance_arn(cluster, number),
        status: InstanceStatus::Active,
        version: 1,
        ec2_instance_id: None,
        registered: Resources {
            cpu: CpuUnits(cpu),
            memory: MemoryMib(memory),
            ports: [tcp(22)].into(),
            ..Resources::default()
        },
        attributes: Attributes::from([("ecs.os-type".to_owned(), Some("linux".to_owned()))]),
        agent: AgentInfo::default(),
        agent_connected: true,
        agent_changed_at: Timestamp(1),
        address: None,
        wireguard: None,
        registered_at: Timestamp(1),
        reclaimed_at: None,
        tags: Tags::default(),
    }
}

pub fn spec(name: &str) -> Arc<TaskDefinitionSpec> {
    let container = ContainerDefinition { name: "main".into(), image: "busybox".into(), ..Default::default() };
    Arc::new(TaskDefinitionSpec {
        family: family(name),
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
    })
}

pub fn register(name: &str) -> Command {
    Command::RegisterTaskDefinition {
        scope: scope(),
        spec: spec(name),
        tags: Tags::default(),
        registered_by: "arn:aws:iam::123456789012:root".into(),
        at: Timestamp(1),
    }
}

pub fn task(cluster: &str, number: u64, on: u64, definition: TaskDefinitionArn, cpu: u32, memory: u32) -> Task {
    let arn = task_arn(cluster, number);
    let container = Container {
        arn: ContainerArn { task: arn.clone(), id: format!("f81d4fae-7dec-41d0-a765-{number:012x}").into() },
        name: "main".into(),
        image: "busybox".into(),
        image_digest: None,
        runtime_id: None,
        status: ContainerStatus::Pending,
        exit_code: None,
        reason: None,
        network_bindings: Vec::new(),
        essential: true,
        health: None,
    };
    Task {
        arn,
        group: format!("family:{}", definition.family).into(),
        definition,
        container_instance: Some(instance_arn(cluster, on).id),
        waiting: None,
        availability_zone: Some("eu-central-1a".into()),
        launch_type: LaunchType::Ec2,
        capacity_provider: None,
        platform: None,
        ephemeral_storage_gib: None,
        started_by: None,
        overrides: TaskOverrides::default(),
        reservation: Reservation { cpu: CpuUnits(cpu), memory: MemoryMib(memory), ..Reservation::default() },
        desired: Desired::Running,
        phase: Phase::Pending,
        version: 1,
        containers: vec![container],
        times: TaskTimes { created: Timestamp(number.cast_signed()), ..TaskTimes::default() },
        execute_command: false,
        protected_until: None,
        volume: None,
        attachment: None,
        tags: Tags::default(),
    }
}

pub fn start(tasks: Vec<Task>) -> Command {
    Command::StartTasks { tasks, token: None }
}

pub fn token(name: &str, request: &str, at: i64) -> IdempotencyToken {
    IdempotencyToken {
        scope: scope(),
        operation: "RunTask".into(),
        token: name.into(),
        request_sha256: request.into(),
        at: Timestamp(at),
    }
}

pub fn seen(arn: TaskArn, status: ObservedStatus) -> TaskObservation {
    TaskObservation {
        task: arn,
        status,
        containers: Vec::new(),
        pull_started: None,
        pull_stopped: None,
        execution_stopped: None,
        attachment: None,
    }
}

pub fn machine(number: u64, last_octet: u8) -> Machine {
    Machine {
        scope: scope(),
        id: format!("i-{number:017x}"),
        reservation_id: "r-00000000000000000".into(),
        instance_type: "t3.small".into(),
        availability_zone: "eu-central-1a".into(),
        subnet_id: "subnet-0".into(),
        private_ip: std::net::Ipv4Addr::new(10, 0, 0, last_octet),
        cluster: ClusterName::parse("one").unwrap(),
        attributes: Attributes::new(),
        reserved_memory: 0,
        user_data: None,
        metadata_options: model::MetadataOptions::default(),
        instance_profile: None,
        state: MachineState::Pending,
        state_reason: None,
        state_changed_at: Timestamp(1),
        runs: Vec::new(),
        image_id: String::new(),
        key_name: None,
        launched_at: Timestamp(1),
        client_token: None,
        launch_index: 0,
        group: None,
        tags: Tags::default(),
    }
}

/// Runs one test's future on a runtime of its own.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A store whose commits are done at once.
pub fn inline(backend: impl Backend + 'static) -> Store {
    run(async { Store::open_inline(Box::new(backend), &Effects::real()).unwrap() })
}

pub fn commit(store: &Store, command: Command) -> Result<Committed, CommitError> {
    run(store.commit(command))
}

/// Does what must succeed.
pub fn must(store: &Store, command: Command) -> Committed {
    commit(store, command).unwrap()
}

/// Does what must be refused; the refusal.
pub fn refused(store: &Store, command: Command) -> state::Rejected {
    let before = store.snapshot();
    match commit(store, command) {
        Err(CommitError::Rejected(why)) => {
            assert!(Arc::ptr_eq(&before, &store.snapshot()), "a refused command must leave no trace");
            why
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Cluster `one` with `instances` of 1,024 CPU units and 1,000 MiB, and revision 1 of family `web`.
pub fn furnished(backend: impl Backend + 'static, instances: u64) -> Store {
    let store = inline(backend);
    must(&store, Command::CreateCluster(cluster("one")));
    for number in 0..instances {
        must(&store, Command::RegisterContainerInstance { instance: instance("one", number, 1024, 1000) });
    }
    must(&store, register("web"));
    store
}

pub fn assert_sound(snapshot: &Snapshot) {
    assert_eq!(state::audit::audit(snapshot), Vec::<String>::new());
    assert_eq!(state::audit::over_capacity(snapshot), Vec::<String>::new());
}

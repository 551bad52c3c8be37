//! The stored form of every kind, byte for byte. `LONGSHORE_BLESS=1` writes the files anew; look at the difference before
//! committing it, because a server must still read what the last one wrote.

use super::{FamilyRecord, Kind, Record, SettingRecord};
use crate::{command::IdempotencyToken, snapshot::TokenRecord};
use model::{
    AccountId, AccountSetting, Activation, AgentInfo, BlueGreen, BreakerState, BreakerStatus, CapacityProviderStrategy,
    CircuitBreaker, Cleanup, Cluster, ClusterArn, ClusterName, ClusterStatus, Container, ContainerArn,
    ContainerDefinition, ContainerInstance, ContainerInstanceArn, ContainerInstanceId, ContainerOverride,
    ContainerStatus, CpuUnits, Creation, Deployment, DeploymentId, DeploymentRules, DeploymentStrategy, Desired,
    EarlySuccess, External, Failures, Family, Health, HealthCheck, HealthStatus, HookAction, HookRun, HookStatus,
    HookTarget, InstanceStatus, LaunchType, Lifecycle, LifecycleHook, LifecycleStage, LogConfiguration, LogDriver,
    Machine, MachineState, MemoryMib, MetadataOptions, NetworkBinding, NetworkMode, Phase, PlacementConstraint,
    PlacementStrategy, Port, PortMapping, PortSpec, PropagateTags, Protocol, Region, Registration, Reservation,
    Resources, RevisionImage, RevisionShare, RevisionSpec, Rollback, Rollout, Scale, SchedulingStrategy, Scope,
    Service, ServiceArn, ServiceDeployment, ServiceDeploymentArn, ServiceDeploymentId, ServiceDeploymentStatus,
    ServiceEvent, ServiceEventName, ServiceEventRecord, ServiceName, ServiceRevision, ServiceRevisionArn,
    ServiceStatus, SettingName, Stop, StopCode, Tags, Task, TaskArn, TaskDefinition, TaskDefinitionArn,
    TaskDefinitionSpec, TaskDefinitionStatus, TaskId, TaskOverrides, TaskSet, TaskSetStatus, TaskTimes, Timestamp,
    Ulimit,
};
use std::{collections::BTreeMap, path::PathBuf};

#[path = "record_capacity_tests.rs"]
mod capacity;
#[path = "record_discovery_tests.rs"]
mod discovery;
#[path = "record_iam_tests.rs"]
mod iam;
#[path = "record_network_tests.rs"]
mod network;
#[path = "record_scaling_tests.rs"]
mod scaling;
#[path = "record_vault_tests.rs"]
mod vault;

fn scope() -> Scope {
    Scope { account: AccountId::parse("123456789012").unwrap(), region: Region::parse("eu-central-1").unwrap() }
}
fn cluster_arn() -> ClusterArn {
    ClusterArn { scope: scope(), name: ClusterName::parse("shop").unwrap() }
}
fn instance_id() -> ContainerInstanceId {
    ContainerInstanceId::parse("00112233445566778899aabbccddeeff").unwrap()
}
fn task_arn() -> TaskArn {
    TaskArn { cluster: cluster_arn(), id: TaskId::parse("ffeeddccbbaa99887766554433221100").unwrap() }
}
fn definition_arn() -> TaskDefinitionArn {
    TaskDefinitionArn { scope: scope(), family: Family::parse("web").unwrap(), revision: 7 }
}
fn tags() -> Tags {
    Tags(BTreeMap::from([("team".to_owned(), "blau & grün".to_owned())]))
}
fn port(number: u16) -> Port {
    Port { protocol: Protocol::Tcp, number }
}

fn cluster() -> Record {
    let settings = BTreeMap::from([("containerInsights".to_owned(), "enabled".to_owned())]);
    let arn = cluster_arn();
    let cluster = Cluster {
        arn,
        status: ClusterStatus::Active,
        settings,
        connect_namespace: None,
        exec_logging: None,
        capacity_providers: Vec::new(),
        default_capacity_provider_strategy: CapacityProviderStrategy::default(),
        tags: tags(),
        created_at: Timestamp(1),
    };
    Record::Cluster(cluster.into())
}

/// A cluster that keeps what is shown in terminals.
fn logging_cluster() -> Record {
    let Record::Cluster(mut cluster) = cluster() else { unreachable!("it is one") };
    std::sync::Arc::make_mut(&mut cluster).exec_logging =
        Some(model::ExecLogging::Override { group: "audit".to_owned() });
    Record::Cluster(cluster)
}

fn definition() -> Record {
    let container = ContainerDefinition {
        name: "web".to_owned(),
        image: "nginx:1.27".to_owned(),
        cpu: CpuUnits(256),
        memory: Some(MemoryMib(512)),
        memory_reservation: Some(MemoryMib(128)),
        essential: true,
        command: Some(vec!["nginx".to_owned(), "-g".to_owned()]),
        environment: vec![("A".to_owned(), "1".to_owned())],
        port_mappings: vec![PortMapping {
            spec: PortSpec::Single { container: 80, host: Some(8080) },
            protocol: None,
            name: Some("http".to_owned()),
            app_protocol: None,
        }],
        stop_timeout: Some(30),
        ulimits: vec![Ulimit { name: "nofile".to_owned(), soft: 1024, hard: 4096 }],
        log_configuration: Some(LogConfiguration {
            driver: LogDriver::Awslogs,
            options: BTreeMap::from([("awslogs-group".to_owned(), "/web".to_owned())]),
            secret_options: Vec::new(),
        }),
        ..ContainerDefinition::default()
    };
    let spec = TaskDefinitionSpec {
        family: Family::parse("web").unwrap(),
        network_mode: Some(NetworkMode::Bridge),
        cpu: None,
        memory: Some(MemoryMib(1024)),
        requires_compatibilities: vec![model::Compatibility::Ec2],
        execution_role_arn: None,
        task_role_arn: None,
        runtime_platform: None,
        ephemeral_storage_gib: None,
        pid_mode: None,
        ipc_mode: None,
        volumes: Vec::new(),
        placement_constraints: vec!["attribute:x == y".to_owned()],
        containers: vec![container],
    };
    Record::TaskDefinition(
        TaskDefinition {
            arn: definition_arn(),
            spec: spec.into(),
            status: TaskDefinitionStatus::Inactive,
            registered_at: Timestamp(2),
            registered_by: "arn:aws:iam::123456789012:root".to_owned(),
            deregistered_at: Some(Timestamp(3)),
            delete_requested_at: None,
            tags: tags(),
        }
        .into(),
    )
}

fn instance() -> Record {
    let agent =
        AgentInfo { version: "0.1.0".to_owned(), hash: "abc".to_owned(), runtime: "containerd: 1.6.20".to_owned() };
    Record::ContainerInstance(
        ContainerInstance {
            arn: ContainerInstanceArn { cluster: cluster_arn(), id: instance_id() },
            status: InstanceStatus::Draining,
            version: 4,
            ec2_instance_id: Some("i-0123456789abcdef0".to_owned()),
            registered: Resources {
                cpu: CpuUnits(2048),
                memory: MemoryMib(3904),
                ports: [port(22)].into(),
                ..Resources::default()
            },
            attributes: BTreeMap::from([("ecs.os-type".to_owned(), Some("linux".to_owned())), ("x".to_owned(), None)]),
            agent,
            agent_connected: true,
            agent_changed_at: Timestamp(5),
            address: Some("10.0.0.7".parse().unwrap()),
            wireguard: None,
            registered_at: Timestamp(4),
            reclaimed_at: None,
            tags: tags(),
        }
        .into(),
    )
}

fn task() -> Record {
    let why = Stop { code: StopCode::UserInitiated, reason: "Task stopped by user".into() };
    let container = Container {
        arn: ContainerArn { task: task_arn(), id: "f81d4fae-7dec-41d0-a765-00a0c91e6bf6".into() },
        name: "web".into(),
        image: "nginx:1.27".into(),
        image_digest: Some("sha256:00".into()),
        runtime_id: Some("task-web".into()),
        status: ContainerStatus::Stopped,
        exit_code: Some(137),
        reason: Some("OutOfMemoryError: Container killed due to memory usage".into()),
        network_bindings: vec![NetworkBinding {
            bind_ip: "0.0.0.0".into(),
            container_port: 80,
            host_port: 8080,
            protocol: Protocol::Tcp,
            container_port_range: None,
            host_port_range: None,
        }],
        essential: true,
        health: None,
    };
    let over = ContainerOverride {
        name: "web".to_owned(),
        command: Some(vec!["true".to_owned()]),
        environment: vec![("B".to_owned(), "2".to_owned())],
        ..ContainerOverride::default()
    };
    Record::Task(
        Task {
            arn: task_arn(),
            definition: definition_arn(),
            container_instance: Some(instance_id()),
            waiting: None,
            availability_zone: Some("eu-central-1a".into()),
            launch_type: LaunchType::Ec2,
            capacity_provider: None,
            platform: None,
            ephemeral_storage_gib: None,
            group: "family:web".into(),
            started_by: Some("cron".into()),
            overrides: TaskOverrides { containers: vec![over], ..TaskOverrides::default() },
            reservation: Reservation {
                cpu: CpuUnits(256),
                memory: MemoryMib(128),
                gpus: 0,
                interfaces: 0,
                ports: [port(8080)].into(),
                gpu_ids: Default::default(),
            },
            desired: Desired::Stopped(why.clone()),
            phase: Phase::Stopped { at: Timestamp(9), why },
            version: 5,
            containers: vec![container],
            times: TaskTimes {
                created: Timestamp(5),
                started: Some(Timestamp(6)),
                stopping: Some(Timestamp(8)),
                ..TaskTimes::default()
            },
            execute_command: false,
            protected_until: Some(Timestamp(10)),
            volume: None,
            attachment: None,
            tags: tags(),
        }
        .into(),
    )
}

fn machine() -> Record {
    Record::Machine(
        Machine {
            scope: scope(),
            id: "i-0123456789abcdef0".to_owned(),
            reservation_id: "r-0123456789abcdef0".to_owned(),
            instance_type: "t3.small".to_owned(),
            availability_zone: "eu-central-1a".to_owned(),
            subnet_id: "subnet-0123456789abcdef0".to_owned(),
            private_ip: "10.0.0.7".parse().unwrap(),
            cluster: ClusterName::parse("shop").unwrap(),
            attributes: BTreeMap::from([("disk".to_owned(), Some("ssd".to_owned()))]),
            reserved_memory: 64,
            user_data: None,
            metadata_options: MetadataOptions::default(),
            instance_profile: None,
            state: MachineState::ShuttingDown,
            state_reason: Some("Client.UserInitiatedShutdown: User initiated shutdown".to_owned()),
            state_changed_at: Timestamp(8),
            runs: Vec::new(),
            image_id: "ami-1".to_owned(),
            key_name: None,
            launched_at: Timestamp(4),
            client_token: Some("abc".to_owned()),
            launch_index: 1,
            group: None,
            tags: tags(),
        }
        .into(),
    )
}

fn activation() -> Record {
    let container_instance = instance_id();
    let cluster = ClusterName::parse("shop").unwrap();
    Record::Activation(
        Activation {
            scope: scope(),
            id: "f81d4fae-7dec-41d0-a765-00a0c91e6bf6".to_owned(),
            code_sha256: "00ff".to_owned(),
            cluster: Some(cluster.clone()),
            ec2_instance_id: None,
            description: Some("rack 3".to_owned()),
            registration_limit: 10,
            registrations: vec![Registration { key_sha256: "11ee".to_owned(), cluster, container_instance }],
            created_at: Timestamp(1),
            expires_at: Timestamp(86_400_001),
            tags: Tags::default(),
        }
        .into(),
    )
}

fn service_arn() -> ServiceArn {
    ServiceArn { cluster: cluster_arn(), name: ServiceName::parse("web").unwrap() }
}
fn deployment_id() -> DeploymentId {
    "ecs-svc/8646900195280463695".parse().unwrap()
}
fn service_deployment_id() -> ServiceDeploymentId {
    ServiceDeploymentId::parse("ejGvqq2ilnbKT9qj0vLJe").unwrap()
}
fn revision_spec() -> RevisionSpec {
    RevisionSpec {
        task_definition: definition_arn(),
        launch_type: LaunchType::Ec2,
        capacity_provider_strategy: CapacityProviderStrategy::default(),
        platform_version: None,
        placement_constraints: vec![PlacementConstraint {
            kind: "memberOf".into(),
            expression: Some("attribute:x == y".into()),
        }],
        placement_strategy: vec![PlacementStrategy { kind: "spread".into(), field: Some("instanceId".into()) }],
        propagate_tags: PropagateTags::Service,
        managed_tags: true,
        network: None,
        registries: Vec::new(),
        connect: None,
        volume: None,
    }
}
fn rules() -> DeploymentRules {
    let breaker = CircuitBreaker { enable: true, rollback: true, ..CircuitBreaker::default() };
    let early_success = Some(EarlySuccess { healthy_percent: 80, cleanup: Cleanup::Deferred });
    DeploymentRules {
        minimum_healthy_percent: 50,
        maximum_percent: 150,
        breaker,
        early_success,
        strategy: DeploymentStrategy::Rolling,
    }
}

fn service() -> Record {
    let deployment = Deployment {
        id: deployment_id(),
        spec: revision_spec().into(),
        service_deployment: service_deployment_id(),
        created_at: Timestamp(2),
        updated_at: Timestamp(3),
        rollout: Rollout::InProgress,
        reason: "ECS deployment ecs-svc/8646900195280463695 in progress.".into(),
        failures: Failures { count: 2, last: Some(Timestamp(3)), rounds: 1, hold_until: Some(Timestamp(4)) },
    };
    Record::Service(
        Service {
            arn: service_arn(),
            status: ServiceStatus::Draining,
            version: 3,
            created_at: Timestamp(1),
            created_by: "arn:aws:iam::123456789012:root".into(),
            scheduling: SchedulingStrategy::Replica,
            desired_count: 4,
            rules: rules(),
            az_rebalancing: true,
            execute_command: false,
            health_check_grace_seconds: None,
            spec: Some(revision_spec().into()),
            deployments: vec![deployment],
            launch_type_before: None,
            external: None,
            rebalancing: 1,
            steady: true,
            deleted_at: Some(Timestamp(5)),
            creation: Creation { token: Some("t".into()), request_sha256: "aa55".into() },
            tags: tags(),
        }
        .into(),
    )
}

/// A service that an external controller deploys.
fn external_service() -> Record {
    let Record::Service(service) = service() else { unreachable!("it is a service") };
    let set = TaskSet {
        id: deployment_id(),
        spec: revision_spec().into(),
        external_id: Some("blue".into()),
        scale: Scale::of_percent(12.5).unwrap(),
        status: TaskSetStatus::Primary,
        created_at: Timestamp(2),
        updated_at: Timestamp(3),
        steady: true,
        steady_at: Timestamp(4),
        failures: Failures { count: 2, last: Some(Timestamp(3)), rounds: 1, hold_until: Some(Timestamp(4)) },
        creation: Creation { token: Some("t".into()), request_sha256: "aa55".into() },
        tags: tags(),
    };
    let external = External {
        placement_constraints: revision_spec().placement_constraints,
        placement_strategy: revision_spec().placement_strategy,
        propagate_tags: PropagateTags::Service,
        managed_tags: true,
        sets: vec![set],
    };
    let service = Service { spec: None, deployments: vec![], external: Some(external), ..Service::clone(&service) };
    Record::Service(service.into())
}

fn service_revision() -> Record {
    let image = RevisionImage { container: "web".into(), image: "nginx:1.27".into(), digest: Some("sha256:00".into()) };
    Record::ServiceRevision(
        ServiceRevision {
            arn: ServiceRevisionArn { service: service_arn(), id: deployment_id() },
            created_at: Timestamp(2),
            spec: revision_spec().into(),
            images: vec![image],
        }
        .into(),
    )
}

fn service_deployment() -> Record {
    let share = |requested| RevisionShare { id: deployment_id(), requested, running: 1, pending: 2 };
    Record::ServiceDeployment(
        ServiceDeployment {
            arn: ServiceDeploymentArn { service: service_arn(), id: service_deployment_id() },
            target: share(4),
            sources: vec![share(3)],
            status: ServiceDeploymentStatus::RollbackInProgress,
            reason: Some("why".into()),
            rules: rules(),
            created_at: Timestamp(1),
            started_at: Some(Timestamp(2)),
            stopped_at: Some(Timestamp(3)),
            finished_at: Some(Timestamp(4)),
            updated_at: Timestamp(5),
            rollback: Some(Rollback { reason: "why".into(), started_at: Timestamp(3), to: deployment_id() }),
            breaker: BreakerState { status: BreakerStatus::Triggered, failure_count: 3, threshold: 3 },
            lifecycle: None,
        }
        .into(),
    )
}

/// One that goes through stages, with a turn of a hook.
fn blue_green_deployment() -> Record {
    let Record::ServiceDeployment(deployment) = service_deployment() else { unreachable!("it is a deployment") };
    let hook = LifecycleHook {
        target: HookTarget::Http("https://ci.example/hook".into()),
        role: Some("arn:aws:iam::123456789012:role/hook".into()),
        stages: vec![LifecycleStage::PostScaleUp, LifecycleStage::ProductionTrafficShift],
        details: Some("{\"a\":1}".into()),
        timeout_minutes: 5,
        on_timeout: HookAction::Continue,
    };
    let run = HookRun {
        id: "rollback-production-traffic-shift-1".into(),
        hook: 0,
        stage: LifecycleStage::ProductionTrafficShift,
        back: true,
        status: HookStatus::InProgress,
        expires_at: Timestamp(9),
        call_at: Some(Timestamp(8)),
        calls_failed: 1,
        details: Some("{\"a\":2}".into()),
        task: None,
    };
    let pause = LifecycleHook { target: HookTarget::Pause, role: None, details: None, ..hook.clone() };
    let strategy = DeploymentStrategy::BlueGreen(BlueGreen { bake_minutes: 15, hooks: vec![hook, pause] });
    let lifecycle = Lifecycle { stage: run.stage, since: Timestamp(7), hooks: vec![run] };
    let rules = DeploymentRules { strategy, ..rules() };
    let deployment = ServiceDeployment { rules, lifecycle: Some(lifecycle), ..ServiceDeployment::clone(&deployment) };
    Record::ServiceDeployment(deployment.into())
}

/// One with the turn of a hook that is a task.
fn hooked_deployment() -> Record {
    let Record::ServiceDeployment(mut deployment) = blue_green_deployment() else { unreachable!("it is a deployment") };
    let own = std::sync::Arc::make_mut(&mut deployment);
    if let DeploymentStrategy::BlueGreen(how) = &mut own.rules.strategy {
        how.hooks[0].target = HookTarget::Task(definition_arn());
    }
    for run in own.lifecycle.iter_mut().flat_map(|lifecycle| &mut lifecycle.hooks) {
        (run.task, run.call_at) = (Some(task_arn()), None);
    }
    Record::ServiceDeployment(deployment)
}

fn service_event() -> Record {
    Record::ServiceEvent(ServiceEventRecord {
        service: service_arn(),
        sequence: 7,
        event: ServiceEvent {
            id: "f81d4fae-7dec-41d0-a765-00a0c91e6bf6".into(),
            at: Timestamp(6),
            name: ServiceEventName::SteadyState,
            message: "(service web) has reached a steady state.".into(),
        }
        .into(),
    })
}

/// One record of each kind, with as many members set as make sense together.
fn examples() -> Vec<Record> {
    let token = IdempotencyToken {
        scope: scope(),
        operation: "RunTask".to_owned(),
        token: "deploy/42".to_owned(),
        request_sha256: "aa55".to_owned(),
        at: Timestamp(5),
    };
    let setting = AccountSetting {
        name: SettingName::ContainerInsights,
        value: "enabled".to_owned(),
        principal: Some("arn:aws:iam::123456789012:user/ada".to_owned()),
    };
    let mut all = vec![
        cluster(),
        Record::Family(FamilyRecord { scope: scope(), family: Family::parse("web").unwrap(), last_revision: 7 }),
        definition(),
        instance(),
        task(),
        Record::Token(TokenRecord { token, tasks: vec![task_arn()] }.into()),
        Record::Setting(SettingRecord { scope: scope(), setting: setting.into() }),
        machine(),
        activation(),
        service(),
        service_revision(),
        service_deployment(),
        service_event(),
    ];
    all.extend(network::examples());
    all.extend(discovery::examples());
    all.extend(vault::examples());
    all.extend(scaling::examples());
    all.extend(iam::examples());
    all
}

fn golden(kind: Kind) -> PathBuf {
    let name = format!("{kind}.v{}.json", kind.version());
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Records of another form than the first example of their kind, and what names their file.
fn other_forms() -> Vec<(Record, &'static str)> {
    vec![
        (external_service(), "external"),
        (blue_green_deployment(), "blue_green"),
        (hooked_deployment(), "hook_task"),
        (checked_definition(), "health"),
        (checked_task(), "health"),
        (patient_service(), "health"),
        (told_machine(), "metadata"),
        (capacity::spot_task(), "fargate"),
        (capacity::stored_task(), "storage"),
        (capacity::stored_definition(), "storage"),
        (capacity::task_with_volume(), "volume"),
        (capacity::definition_with_volume(), "volume"),
        (capacity::definition_with_efs(), "efs"),
        (capacity::definition_with_access_point(), "access_point"),
        (capacity::revision_with_volume(), "volume"),
        (run_machine(), "runs"),
        (network::attached_task(), "attachment"),
        (network::attached_revision(), "network"),
        (network::roomy_instance(), "interfaces"),
        (network::encrypting_instance(), "wireguard"),
        (vault::given_definition(), "secrets"),
        (vault::routed_definition(), "logging"),
        (discovery::found_revision(), "registries"),
        (discovery::connected_revision(), "connect"),
        (discovery::connecting_cluster(), "connect"),
        (logging_cluster(), "logging"),
        (capacity::shared_cluster(), "capacity"),
        (capacity::shared_revision(), "capacity"),
        (capacity::shared_service(), "capacity"),
        (capacity::reclaimed_instance(), "spot"),
        (scaling::grouped_machine(), "group"),
        (scaling::waiting_task(), "waiting"),
        (capacity::accelerated_instance(), "gpus"),
        (capacity::accelerated_definition(), "gpus"),
        (capacity::accelerated_task(), "gpus"),
        (privileged_definition(), "role"),
        (privileged_task(), "role"),
        (privileged_machine(), "profile"),
    ]
}

fn privileged_definition() -> Record {
    let Record::TaskDefinition(mut definition) = definition() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut definition);
    std::sync::Arc::make_mut(&mut own.spec).task_role_arn = Some("web".to_owned());
    Record::TaskDefinition(definition)
}

fn privileged_task() -> Record {
    let Record::Task(mut task) = task() else { unreachable!() };
    std::sync::Arc::make_mut(&mut task).overrides.task_role_arn =
        Some("arn:aws:iam::123456789012:role/other".to_owned());
    Record::Task(task)
}

fn privileged_machine() -> Record {
    let Record::Machine(mut machine) = machine() else { unreachable!() };
    std::sync::Arc::make_mut(&mut machine).instance_profile = Some(model::MachineProfile {
        arn: "arn:aws:iam::123456789012:instance-profile/web".to_owned(),
        id: "AIPAAAAAAAAAAAAAAAAAA".to_owned(),
    });
    Record::Machine(machine)
}

fn told_machine() -> Record {
    let Record::Machine(mut machine) = machine() else { unreachable!() };
    let known = std::sync::Arc::make_mut(&mut machine);
    known.user_data = Some("IyEvYmluL3NoCg==".to_owned());
    known.metadata_options = MetadataOptions { enabled: true, tokens_required: true, hop_limit: 2 };
    Record::Machine(machine)
}

fn run_machine() -> Record {
    let Record::Machine(mut machine) = machine() else { unreachable!() };
    std::sync::Arc::make_mut(&mut machine).runs = vec![model::Run { from: Timestamp(5), to: Timestamp(8) }];
    Record::Machine(machine)
}

fn checked_definition() -> Record {
    let Record::TaskDefinition(mut definition) = definition() else { unreachable!() };
    let check = HealthCheck {
        command: vec!["CMD-SHELL".to_owned(), "test -e /ok".to_owned()],
        interval: 30,
        timeout: 5,
        retries: 3,
        start_period: Some(0),
    };
    let own = std::sync::Arc::make_mut(&mut definition);
    std::sync::Arc::make_mut(&mut own.spec).containers[0].health_check = Some(check);
    Record::TaskDefinition(definition)
}

fn patient_service() -> Record {
    let Record::Service(mut service) = service() else { unreachable!() };
    std::sync::Arc::make_mut(&mut service).health_check_grace_seconds = Some(60);
    Record::Service(service)
}

fn checked_task() -> Record {
    let Record::Task(mut task) = task() else { unreachable!() };
    let container = &mut std::sync::Arc::make_mut(&mut task).containers[0];
    container.health = Some(Health { status: HealthStatus::Unhealthy, changes: 2 });
    container.essential = false;
    Record::Task(task)
}

#[test]
fn every_kind_is_written_as_its_golden_file_and_read_back() {
    let examples = examples();
    assert_eq!(examples.iter().map(Record::kind).collect::<Vec<_>>(), Kind::ALL, "one example of each kind");
    let others = other_forms().into_iter().map(|(record, form)| {
        let file = golden(record.kind()).with_extension(format!("{form}.json"));
        (record, file)
    });
    let first = examples.into_iter().map(|record| (record.clone(), golden(record.kind())));
    for (record, file) in first.chain(others) {
        let kind = record.kind();
        if std::env::var_os("LONGSHORE_BLESS").is_some() {
            std::fs::write(&file, format!("{}\n", record.encode())).unwrap();
        }
        let stored = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert_eq!(stored.trim_end(), record.encode(), "the stored form of {kind} has changed");
        assert_eq!(Record::decode(kind, &record.key(), stored.trim_end()), Ok(record));
    }
}

#[test]
fn what_is_not_ours_is_refused_by_its_name() {
    let (key, value) = (cluster().key(), cluster().encode());
    let check = |key: &str, value: &str, says: &str| {
        let error = Record::decode(Kind::Cluster, key, value).unwrap_err().to_string();
        assert!(error.contains(says), "{error:?} does not say {says:?}");
        assert!(error.contains(key), "{error:?} does not name the record");
    };
    check(&key, &value.replacen("\"v\":1", "\"v\":2", 1), "reads up to version 1");
    check(&key, &value.replacen("\"v\":1", "\"v\":0", 1), "no version 0");
    check(&key, "{}", "no version");
    check(&key, &value[..value.len() - 2], "damaged");
    check("another", &value, "it is that of");
}

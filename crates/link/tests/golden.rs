//! Every message as it crosses, byte for byte. `LONGSHORE_BLESS=1` writes the files anew; look at the difference before
//! committing it: servers and agents of other builds must still read it, or `PROTOCOL` must be raised.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // All of it is tests; the variable is the tester's.

use link::{
    AgentMessage, AliasView, Answer, AssignedInterface, AssignedVolume, Assignment, Assignments, Encrypted,
    ExportedFolder, Goodbye, GoodbyeCode, Hello, InterfaceView, JoinAnswer, JoinRefusal, JoinRequest, LogBatch,
    LogEvent, LogOutcome, Login, NameView, Names, Networks, PROTOCOL, Provided, Provision, Question, RoleCredentials,
    ServerMessage, SrvView, SubnetView, VpcFacts, VpcNews, Way, Welcome,
};
use model::{
    AgentInfo, AttachmentState, Attributes, ClusterName, ContainerDefinition, ContainerObservation, ContainerOverride,
    ContainerStatus, CpuUnits, Desired, Export, Family, GpuId, Health, HealthCheck, HealthStatus, LaunchType, Measured,
    MemoryMib, NetworkBinding, ObservedStatus, Protocol, Resources, Stop, StopCode, Tags, TaskDefinitionSpec,
    TaskObservation, TaskOverrides, Timestamp, WireguardKey,
    discovery::NamespaceId,
    network::{Allowed, Direction, InterfaceId, Peer, SecurityGroupId, SubnetId, Traffic, VpcId},
    vault::Plain,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

const TASK: &str = "arn:aws:ecs:us-east-1:123456789012:task/demo/00112233445566778899aabbccddeeff";
const DEFINITION: &str = "arn:aws:ecs:us-east-1:123456789012:task-definition/web:3";

/// What is written is the golden file, and what is read from it is written the same again.
fn check<T: Serialize + DeserializeOwned>(name: &str, message: &T) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.v{PROTOCOL}.json"));
    let written = serde_json::to_string(message).unwrap() + "\n";
    if std::env::var("LONGSHORE_BLESS").is_ok() {
        fs::write(&file, &written).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!(written, golden, "{name}");
    let read: T = serde_json::from_str(&golden).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap() + "\n", golden, "{name} is read as something else");
    // Members of a later build are passed over.
    let mut later: serde_json::Value = serde_json::from_str(&golden).unwrap();
    if let Some(members) = innermost(&mut later) {
        members.insert("of_a_later_build".to_owned(), 1.into());
        serde_json::from_value::<T>(later).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// The members of a message below its kind.
fn innermost(value: &mut serde_json::Value) -> Option<&mut serde_json::Map<String, serde_json::Value>> {
    let single = value.as_object().is_some_and(|members| members.len() == 1);
    match value.as_object_mut() {
        Some(members) if single => innermost(members.values_mut().next().unwrap()),
        members => members,
    }
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        agent: AgentInfo { version: "0.1.0".into(), hash: "abc".into(), runtime: "containerd: 1.6.20".into() },
        resources: Resources { cpu: CpuUnits(2048), memory: MemoryMib(4096), ..Resources::default() },
        attributes: Attributes::from([
            ("ecs.os-type".to_owned(), Some("linux".to_owned())),
            ("com.amazonaws.ecs.capability.docker-remote-api.1.18".to_owned(), None),
        ]),
        address: Some("172.31.0.10".parse().unwrap()),
        wireguard: None,
        tasks: vec![TASK.parse().unwrap()],
    }
}

fn key() -> WireguardKey {
    WireguardKey::parse("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=").unwrap()
}

fn observation() -> TaskObservation {
    let binding = NetworkBinding {
        bind_ip: "0.0.0.0".into(),
        container_port: 80,
        host_port: 32768,
        protocol: Protocol::Tcp,
        container_port_range: None,
        host_port_range: None,
    };
    TaskObservation {
        task: TASK.parse().unwrap(),
        status: ObservedStatus::Stopped(Stop { code: StopCode::UserInitiated, reason: "enough".into() }),
        containers: vec![ContainerObservation {
            name: "web".into(),
            status: ContainerStatus::Stopped,
            runtime_id: Some("00112233-web-0".into()),
            image_digest: Some("sha256:00".into()),
            exit_code: Some(137),
            reason: Some("OutOfMemoryError: Container killed due to memory usage".into()),
            network_bindings: vec![binding],
            health: None,
        }],
        pull_started: Some(Timestamp(1)),
        pull_stopped: Some(Timestamp(2)),
        execution_stopped: Some(Timestamp(3)),
        attachment: None,
    }
}

fn assignments() -> Assignments {
    let container = ContainerDefinition {
        name: "web".to_owned(),
        image: "nginx:1.27".to_owned(),
        memory: Some(MemoryMib(64)),
        essential: true,
        ..ContainerDefinition::default()
    };
    let definition = TaskDefinitionSpec {
        family: Family::parse("web").unwrap(),
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
    let override_ = ContainerOverride { name: "web".to_owned(), ..ContainerOverride::default() };
    let assignment = Assignment {
        task: TASK.parse().unwrap(),
        definition: DEFINITION.parse().unwrap(),
        overrides: TaskOverrides { containers: vec![override_], ..TaskOverrides::default() },
        desired: Desired::Running,
        group: "family:web".into(),
        container_ids: BTreeMap::from([("web".into(), "0a1b2c3d-0000-4000-8000-000000000000".into())]),
        log_mode: model::LogMode::default(),
        image_digests: std::collections::BTreeMap::new(),
        interface: None,
        ephemeral_storage_gib: None,
        volume: None,
        gpus: BTreeMap::new(),
        launch_type: None,
    };
    Assignments {
        epoch: 4,
        generation: 900,
        since: None,
        definitions: vec![(DEFINITION.parse().unwrap(), Arc::new(definition))],
        tasks: vec![assignment],
        gone: Vec::new(),
        images: Vec::new(),
    }
}

fn networks() -> Networks {
    let rule = |direction, traffic, peer| Allowed { direction, traffic, peer };
    let group = SecurityGroupId::of(0xc1);
    let rules = vec![
        rule(Direction::Ingress, Traffic::Tcp(80, 80), Peer::Group(group.clone())),
        rule(Direction::Egress, Traffic::All, Peer::V4("0.0.0.0/0".parse().unwrap())),
    ];
    let nat = Way::Nat {
        gateway: [10, 0, 0, 9].into(),
        public: Some([198, 51, 100, 1].into()),
        home: Some([172, 31, 0, 7].into()),
    };
    let routes = vec![
        ("192.0.2.0/24".parse().unwrap(), Way::Nowhere),
        ("198.51.100.0/24".parse().unwrap(), Way::Internet),
        ("0.0.0.0/0".parse().unwrap(), nat),
    ];
    let facts = VpcFacts {
        vni: 7,
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        region: "us-east-1".to_owned(),
        dns_support: true,
        encrypted: false,
        subnets: BTreeMap::from([(SubnetId::of(0xb1), SubnetView { cidr: "10.0.1.0/24".parse().unwrap(), routes })]),
        groups: BTreeMap::from([(group.clone(), rules)]),
    };
    let interface = InterfaceView {
        address: [10, 0, 1, 12].into(),
        host: [172, 31, 0, 8].into(),
        subnet: SubnetId::of(0xb1),
        groups: vec![group],
        public: Some([198, 51, 100, 2].into()),
        connect: None,
    };
    let srv = SrvView { priority: 1, weight: 1, port: 80, target: "a.web.internal".to_owned() };
    let name = NameView { ttl: 60, most: 8, a: vec![[10, 0, 1, 12].into()], srv: vec![srv] };
    let news = VpcNews {
        facts: Some(Arc::new(facts)),
        put: BTreeMap::from([(InterfaceId::of(0xe1), interface)]),
        gone: [InterfaceId::of(0xe2)].into(),
        names: Some(Arc::new(Names {
            zones: [("internal".to_owned(), 15)].into(),
            names: [("web.internal".to_owned(), name)].into(),
        })),
        aliases: None,
        keys: None,
    };
    Networks { whole: false, changed: BTreeMap::from([(VpcId::of(0xa1), news)]), gone: [VpcId::of(0xa2)].into() }
}

fn provision() -> Provision {
    let plain = |text: &str| Plain::from(text.to_owned());
    let provided = Provided {
        files: [("LEVEL".to_owned(), plain("1"))].into(),
        secrets: vec![("KEY".to_owned(), plain("one"))],
        login: Some(Login { username: plain("puller"), password: plain("pull") }),
        ..Provided::default()
    };
    Provision { containers: [("web".to_owned(), provided)].into(), ..Provision::default() }
}

fn logging_provision() -> Provision {
    let plain = |text: &str| Plain::from(text.to_owned());
    let provided = Provided {
        log_options: vec![("splunk-token".to_owned(), plain("one"))],
        router_config: Some(plain("[SERVICE]")),
        ..Provided::default()
    };
    Provision { containers: [("web".to_owned(), provided)].into(), ..Provision::default() }
}

#[test]
fn what_an_agent_says() {
    check("agent.hello.wireguard", &AgentMessage::Hello(Hello { wireguard: Some(key()), ..hello() }));
    check("agent.hello", &AgentMessage::Hello(hello()));
    let gpus = ["GPU-0", "GPU-1"].map(|id| GpuId::parse(id).unwrap()).into();
    let resources = Resources { gpus, ..hello().resources };
    check("agent.hello.gpus", &AgentMessage::Hello(Hello { resources, ..hello() }));
    check("agent.heartbeat", &AgentMessage::Heartbeat);
    let report = |tasks| AgentMessage::Report { seq: 7, tasks, measured: Vec::new() };
    check("agent.report", &report(vec![observation()]));
    let attached = TaskObservation { attachment: Some(AttachmentState::Detaching), ..observation() };
    check("agent.report.interface", &report(vec![attached]));
    let mut healthy = observation();
    healthy.containers[0].health = Some(Health { status: HealthStatus::Healthy, changes: 1 });
    check("agent.report.health", &report(vec![healthy]));
    // An agent that measures says so in a member of its own, which servers of before pass over.
    let used = Measured { memory: 130, cpu_millis: 61_500, cpu_peak: 900, over_millis: 600_000 };
    let measured = vec![(TASK.parse().unwrap(), used)];
    check("agent.report.measured", &AgentMessage::Report { seq: 7, tasks: Vec::new(), measured });
    let batch = LogBatch {
        group: "/demo/web".into(),
        stream: "p/web/1".into(),
        create_group: true,
        region: Some("eu-central-1".into()),
        producer: "00112233-web-0".into(),
        offset: 10,
        next_offset: 20,
        events: vec![LogEvent { timestamp: Timestamp(5), message: "grün".into(), end: 20 }],
    };
    check("agent.logs", &AgentMessage::Logs { seq: 8, batches: vec![batch] });
    check("agent.renew", &AgentMessage::Renew { csr_pem: "-----BEGIN".into() });
    let task = || TASK.parse().unwrap();
    let questions = [
        ("tags", Question::Tags { task: task() }),
        ("protection", Question::Protection { task: task() }),
        ("provision", Question::Provision { task: task() }),
        ("secrets", Question::Secrets { task: task() }),
        ("protect", Question::Protect { task: task(), enabled: true, minutes: Some(60) }),
        ("credentials", Question::Credentials { task: task() }),
        ("instance_credentials", Question::InstanceCredentials {}),
    ];
    for (name, question) in questions {
        check(&format!("agent.ask.{name}"), &AgentMessage::Ask { id: 9, question });
    }
}

fn credentials() -> RoleCredentials {
    RoleCredentials {
        role: "arn:aws:iam::123456789012:role/web".into(),
        access_key: "ASIAAAAAAAAAAAAAAAAA".into(),
        secret: Plain::from("secret".to_owned()),
        token: Plain::from("token".to_owned()),
        issued: Timestamp(1000),
        expires: Timestamp(9000),
    }
}

#[test]
fn what_a_server_says() {
    check(
        "server.welcome",
        &ServerMessage::Welcome(Welcome { heartbeat_seconds: 10, server_time: Timestamp(6), answers: false }),
    );
    check(
        "server.welcome.answers",
        &ServerMessage::Welcome(Welcome { heartbeat_seconds: 10, server_time: Timestamp(6), answers: true }),
    );
    check("server.assignments", &ServerMessage::Assignments(assignments()));
    let mut checked = assignments();
    Arc::make_mut(&mut checked.definitions[0].1).containers[0].health_check = Some(HealthCheck {
        command: vec!["CMD".into(), "true".into()],
        interval: 30,
        timeout: 5,
        retries: 3,
        start_period: None,
    });
    check("server.assignments.health", &ServerMessage::Assignments(checked));
    let mut connected = assignments();
    connected.tasks[0].interface = Some(AssignedInterface {
        id: InterfaceId::of(0xe1),
        vpc: VpcId::of(0xa1),
        address: [10, 0, 1, 12].into(),
        subnet: "10.0.1.0/24".parse().unwrap(),
        mac: "02:00:00:00:00:e1".into(),
        resolver: Some([10, 0, 0, 2].into()),
    });
    check("server.assignments.interface", &ServerMessage::Assignments(connected));
    let mut stored = assignments();
    stored.tasks[0].ephemeral_storage_gib = Some(21);
    check("server.assignments.storage", &ServerMessage::Assignments(stored));
    let mut with_volume = assignments();
    with_volume.tasks[0].volume = Some(AssignedVolume { name: "data".into(), size_gib: 5 });
    check("server.assignments.volume", &ServerMessage::Assignments(with_volume));
    let mut accelerated = assignments();
    Arc::make_mut(&mut accelerated.definitions[0].1).containers[0].gpus = 1;
    accelerated.tasks[0].overrides.containers[0].gpus = Some(2);
    let ids = ["GPU-0", "GPU-1"].map(|id| GpuId::parse(id).unwrap());
    accelerated.tasks[0].gpus = BTreeMap::from([("web".into(), ids.into())]);
    check("server.assignments.gpus", &ServerMessage::Assignments(accelerated));
    let mut launched = assignments();
    launched.tasks[0].launch_type = Some(LaunchType::Fargate);
    check("server.assignments.launch_type", &ServerMessage::Assignments(launched));
    let mut privileged = assignments();
    Arc::make_mut(&mut privileged.definitions[0].1).task_role_arn = Some("web".into());
    privileged.tasks[0].overrides.task_role_arn = Some("arn:aws:iam::123456789012:role/other".into());
    check("server.assignments.role", &ServerMessage::Assignments(privileged));
    let ahead = Assignments { images: vec!["nginx:1.28".into()], ..assignments() };
    check("server.assignments.images", &ServerMessage::Assignments(ahead));
    let changed = Assignments { since: Some(899), gone: vec![TASK.parse().unwrap()], ..assignments() };
    check("server.assignments.changed", &ServerMessage::Assignments(changed));
    check("server.networks", &ServerMessage::Networks(networks()));
    let mut connected = networks();
    let news = connected.changed.values_mut().next().unwrap();
    news.put.values_mut().next().unwrap().connect = Some(NamespaceId::of(0xd1));
    let ports = [(80, [([10, 0, 1, 12].into(), 8080), ([10, 0, 1, 13].into(), 8080)].into()), (81, [].into())].into();
    let alias = AliasView { address: [169, 254, 64, 1].into(), ports };
    news.aliases = Some(Arc::new([(NamespaceId::of(0xd1), [("web".to_owned(), alias)].into())].into()));
    check("server.networks.connect", &ServerMessage::Networks(connected));
    let mut encrypted = networks();
    let news = encrypted.changed.values_mut().next().unwrap();
    news.facts = news.facts.as_ref().map(|facts| Arc::new(VpcFacts { encrypted: true, ..VpcFacts::clone(facts) }));
    news.keys = Some(Arc::new([([172, 31, 0, 8].into(), key())].into()));
    check("server.networks.keys", &ServerMessage::Networks(encrypted));
    check("server.refresh", &ServerMessage::Refresh { tasks: vec![TASK.parse().unwrap()] });
    check("server.report_ack", &ServerMessage::ReportAck { seq: 7 });
    let outcomes = vec![LogOutcome::Accepted { next_offset: 20 }, LogOutcome::Refused { message: "no group".into() }];
    check("server.logs_ack", &ServerMessage::LogsAck { seq: 8, outcomes });
    let refused = JoinAnswer::Refused(JoinRefusal { message: "used up".into(), retry: false });
    check("server.renewed", &ServerMessage::Renewed(refused));
    let tags = Tags(BTreeMap::from([("team".to_owned(), "blue".to_owned())]));
    let export = Export { host: "nas".into(), port: 2049, path: "/export/web".into() };
    let told = ExportedFolder { export: Export { port: 20490, ..export.clone() }, folder: "/web".into() };
    let encrypted = Encrypted {
        file_systems: [("shared".to_owned(), told)].into(),
        authorities: Some("-----BEGIN CERTIFICATE-----".to_owned()),
    };
    let encrypted = Provision { encrypted: Some(Box::new(encrypted)), ..Provision::default() };
    let file_systems = [("shared".to_owned(), export)].into();
    let unresolved = [("shared".to_owned(), "ResourceInitializationError: no".to_owned())].into();
    let answers = [
        ("tags", Answer::Tags { task: tags, container_instance: Tags::default() }),
        ("protection", Answer::Protection { until: Some(Timestamp(7)) }),
        ("provision", Answer::Provision(provision())),
        ("credentials", Answer::Credentials(credentials())),
        ("provision.logs", Answer::Provision(logging_provision())),
        ("provision.stopped", Answer::Provision(Provision { logs_only: true, ..logging_provision() })),
        ("provision.efs", Answer::Provision(Provision { file_systems, ..Provision::default() })),
        ("provision.efs_tls", Answer::Provision(encrypted)),
        ("provision.unresolved", Answer::Provision(Provision { unresolved, ..Provision::default() })),
        ("unprovided", Answer::Unprovided { reason: "ResourceInitializationError: no".into() }),
        ("failure", Answer::Failure { reason: "TASK_NOT_VALID".into(), detail: None }),
        ("refused", Answer::Refused { status: 400, code: "ClientException".into(), message: "no".into() }),
    ];
    for (name, answer) in answers {
        check(&format!("server.answered.{name}"), &ServerMessage::Answered { id: 9, answer });
    }
    for (name, code) in [
        ("inactive", GoodbyeCode::Inactive),
        ("superseded", GoodbyeCode::Superseded),
        ("protocol", GoodbyeCode::Protocol),
        ("shutting_down", GoodbyeCode::ShuttingDown),
    ] {
        let goodbye = Goodbye { code, message: "why".into() };
        check(&format!("server.goodbye.{name}"), &ServerMessage::Goodbye(goodbye));
    }
}

#[test]
fn how_a_machine_joins() {
    let request = JoinRequest {
        activation_id: "00000000-0000-4000-8000-000000000000".into(),
        activation_code: "code".into(),
        cluster: Some(ClusterName::parse("demo").unwrap()),
        csr_pem: "-----BEGIN".into(),
    };
    check("join.request", &request);
    check("join.joined", &JoinAnswer::Joined { certificate_pem: "certificate".into(), ca_pem: "ca".into() });
}

//! The link, against a small server with a CA of its own: whole agents with a machine in memory.
#![allow(clippy::large_futures)] // A test's future lives once.

use crate::{
    run::{AgentError, Config, Machine, run_on},
    session::JoinError,
    testing::{self, FakeNode, until},
};
use effects::Effects;
use link::{
    AgentMessage, Assignments, Framed, Goodbye, GoodbyeCode, Hello, JoinAnswer, JoinRefusal, JoinRequest,
    ServerMessage, Welcome,
};
use model::{Desired, ObservedStatus, Stop, TaskObservation, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType,
};
use rustls::{ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

const IDENTITY: &str = "longshore://123456789012/us-east-1/demo/0123456789abcdef0123456789abcdef/i-0123456789abcdef0";

struct Server {
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
    ca_pem: String,
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Server {
    async fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let (ca, ca_pem) = (certificate.der().clone(), certificate.pem());
        let issuer = Issuer::new(params, key);
        let leaf_key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["longshore".to_owned()]).unwrap();
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
            .with_single_cert(
                vec![leaf.der().clone(), ca.clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der())),
            )
            .unwrap();
        config.alpn_protocols = vec![link::ALPN_SESSION.to_vec(), link::ALPN_JOIN.to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { issuer, ca, ca_pem, listener, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    fn token(&self) -> String {
        format!("activation:secret:{}", hex::encode(Sha256::digest(&self.ca)))
    }

    fn certificate(&self, csr_pem: &str) -> JoinAnswer {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(IDENTITY.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        request.params = params;
        let certificate_pem = request.signed_by(&self.issuer).unwrap().pem();
        JoinAnswer::Joined { certificate_pem, ca_pem: self.ca_pem.clone() }
    }

    /// The next connection that speaks this protocol.
    async fn accept(&self, alpn: &[u8]) -> Framed<TlsStream<TcpStream>> {
        loop {
            let (tcp, _) = self.listener.accept().await.unwrap();
            let Ok(tls) = self.acceptor.accept(tcp).await else { continue };
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(alpn));
            assert_eq!(tls.get_ref().1.peer_certificates().is_some(), alpn == link::ALPN_SESSION);
            return link::framed(tls);
        }
    }

    async fn let_in(&self) -> JoinRequest {
        let mut framed = self.accept(link::ALPN_JOIN).await;
        let request: JoinRequest = framed.receive().await.unwrap();
        framed.send(&self.certificate(&request.csr_pem)).await.unwrap();
        request
    }

    async fn greet(&self) -> (Framed<TlsStream<TcpStream>>, Hello) {
        let mut framed = self.accept(link::ALPN_SESSION).await;
        let AgentMessage::Hello(hello) = framed.receive().await.unwrap() else { panic!("no hello") };
        let welcome = Welcome { heartbeat_seconds: 1, server_time: Timestamp(0), answers: true };
        framed.send(&ServerMessage::Welcome(welcome)).await.unwrap();
        (framed, hello)
    }
}

struct Agent {
    node: Arc<FakeNode>,
    config: Config,
    effects: Effects,
    _dir: tempfile::TempDir,
}

fn agent(server: &Server, token: String) -> Agent {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(server.listener.local_addr().unwrap().to_string(), dir.path());
    config.token = Some(token);
    config.introspection = None;
    Agent { node: FakeNode::new(), config, effects: Effects::real(), _dir: dir }
}

impl Agent {
    async fn run(&self) -> Result<(), AgentError> {
        match Machine::join(&self.config, self.node.clone(), &self.effects).await? {
            Some(machine) => run_on(&self.config, machine, None, self.effects.clone()).await,
            None => Ok(()),
        }
    }
}

/// Says that a message's output is durable.
async fn keep(framed: &mut Framed<TlsStream<TcpStream>>, seq: u64, batches: &[link::LogBatch]) {
    let durable = |b: &link::LogBatch| link::LogOutcome::Accepted { next_offset: b.next_offset };
    framed.send(&ServerMessage::LogsAck { seq, outcomes: batches.iter().map(durable).collect() }).await.unwrap();
}

/// The next report that says something.
async fn report(framed: &mut Framed<TlsStream<TcpStream>>) -> (u64, Vec<TaskObservation>) {
    loop {
        match framed.receive().await.unwrap() {
            AgentMessage::Report { seq, tasks, .. } if !tasks.is_empty() => return (seq, tasks),
            AgentMessage::Report { seq, .. } => framed.send(&ServerMessage::ReportAck { seq }).await.unwrap(),
            AgentMessage::Heartbeat => {}
            AgentMessage::Logs { seq, batches } => keep(framed, seq, &batches).await,
            other @ (AgentMessage::Hello(_) | AgentMessage::Renew { .. } | AgentMessage::Ask { .. }) => {
                panic!("{other:?}")
            }
        }
    }
}

/// Acknowledges reports until one of the task's observations is as wanted.
async fn until_reported(framed: &mut Framed<TlsStream<TcpStream>>, want: &ObservedStatus) {
    loop {
        let (seq, tasks) = report(framed).await;
        framed.send(&ServerMessage::ReportAck { seq }).await.unwrap();
        if tasks.iter().any(|t| t.status == *want) {
            return;
        }
    }
}

fn set(generation: u64) -> Assignments {
    let (assignment, definition) = testing::assignment(1, &["web"]);
    let definitions = vec![(assignment.definition.clone(), definition)];
    Assignments {
        epoch: 1,
        generation,
        since: None,
        definitions,
        tasks: vec![assignment],
        gone: Vec::new(),
        images: Vec::new(),
    }
}

/// Runs an agent and a server's part against each other, bounded.
async fn play<T>(agent: &Agent, part: impl Future<Output = T>) -> (Result<(), AgentError>, T) {
    let end = async {
        let value = part.await;
        agent.effects.shutdown().cancel();
        value
    };
    let both = async { tokio::join!(agent.run(), end) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("within a minute")
}

#[tokio::test]
async fn a_machine_joins_once_and_takes_its_task_through_a_lost_session() {
    let server = Server::new().await;
    let mut agent = agent(&server, server.token());
    agent.config.cluster = Some(model::ClusterName::parse("demo").unwrap());
    let (outcome, ()) = play(&agent, async {
        let request = server.let_in().await;
        assert_eq!((request.activation_id.as_str(), request.activation_code.as_str()), ("activation", "secret"));
        assert_eq!(request.cluster.unwrap().as_str(), "demo");
        let (mut framed, hello) = server.greet().await;
        assert_eq!((hello.protocol, hello.tasks.len()), (link::PROTOCOL, 0));
        framed.send(&ServerMessage::Assignments(set(1))).await.unwrap();
        let (_, first) = report(&mut framed).await;
        drop(framed);
        // The report was not acknowledged: it comes again, as things stand by now.
        let (mut framed, hello) = server.greet().await;
        assert_eq!(hello.tasks, [first[0].task.clone()]);
        until_reported(&mut framed, &ObservedStatus::Running).await;
        // An older set, even an empty one, is refused.
        let older = Assignments { epoch: 0, tasks: Vec::new(), ..set(9) };
        framed.send(&ServerMessage::Assignments(older)).await.unwrap();
        let mut stop = set(2);
        let why = Stop { code: model::StopCode::UserInitiated, reason: "enough".into() };
        stop.tasks[0].desired = Desired::Stopped(why.clone());
        framed.send(&ServerMessage::Assignments(stop)).await.unwrap();
        until_reported(&mut framed, &ObservedStatus::Stopped(why)).await;
        framed.send(&ServerMessage::Assignments(Assignments { tasks: Vec::new(), ..set(3) })).await.unwrap();
        until(&agent.effects, "forgotten", || {
            std::fs::read_dir(agent.config.data_dir.join("tasks")).unwrap().next().is_none()
        })
        .await;
    })
    .await;
    outcome.unwrap();
    let mode = |name: &str| {
        let found = std::fs::metadata(agent.config.data_dir.join("identity").join(name)).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777
    };
    assert_eq!((mode("key.pem"), mode("joined.json")), (0o600, 0o600));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let server = Server::new().await;
    let agent = agent(&server, server.token());
    let key_of = |request: &JoinRequest| {
        use rcgen::PublicKeyData;
        CertificateSigningRequestParams::from_pem(&request.csr_pem).unwrap().public_key.subject_public_key_info()
    };
    let (outcome, ()) = play(&agent, async {
        let mut framed = server.accept(link::ALPN_JOIN).await;
        let first: JoinRequest = framed.receive().await.unwrap();
        drop(framed);
        let second = server.let_in().await;
        assert_eq!(key_of(&first), key_of(&second));
        server.greet().await;
    })
    .await;
    outcome.unwrap();
}

#[tokio::test]
async fn another_servers_ca_gets_no_secret() {
    let (server, impostor) = (Server::new().await, Server::new().await);
    let mut agent = agent(&server, server.token());
    agent.config.server = impostor.listener.local_addr().unwrap().to_string();
    let (outcome, ()) = play(&agent, async {
        for _ in 0..2 {
            let (tcp, _) = impostor.listener.accept().await.unwrap();
            assert!(impostor.acceptor.accept(tcp).await.is_err(), "the agent must break off the handshake");
        }
    })
    .await;
    outcome.unwrap();
}

#[tokio::test]
async fn a_refused_token_ends_the_agent_with_the_servers_words() {
    let server = Server::new().await;
    let agent = agent(&server, server.token());
    let (outcome, ()) = play(&agent, async {
        let mut framed = server.accept(link::ALPN_JOIN).await;
        let _: JoinRequest = framed.receive().await.unwrap();
        let refusal = JoinRefusal { message: "the token has expired".into(), retry: false };
        framed.send(&JoinAnswer::Refused(refusal)).await.unwrap();
    })
    .await;
    assert!(matches!(outcome, Err(AgentError::Join(JoinError::Refused(why))) if why == "the token has expired"));
}

#[tokio::test]
async fn a_deregistered_instance_stops_its_tasks_and_ends() {
    let server = Server::new().await;
    let agent = agent(&server, server.token());
    let part = async {
        server.let_in().await;
        let (mut framed, _) = server.greet().await;
        framed.send(&ServerMessage::Assignments(set(1))).await.unwrap();
        until_reported(&mut framed, &ObservedStatus::Running).await;
        let goodbye = Goodbye { code: GoodbyeCode::Inactive, message: "deregistered".into() };
        framed.send(&ServerMessage::Goodbye(goodbye)).await.unwrap();
    };
    let both = async { tokio::join!(agent.run(), part) };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("within a minute");
    assert!(matches!(outcome, Err(AgentError::Deregistered(_))));
    assert!(agent.node.containers().is_empty());
    assert!(agent.node.calls().contains(&"signal web".to_owned()));
}

#[tokio::test]
async fn a_silent_server_is_asked_and_then_left() {
    let server = Server::new().await;
    let agent = agent(&server, server.token());
    let (outcome, ()) = play(&agent, async {
        server.let_in().await;
        let (mut silent, _) = server.greet().await;
        let first: AgentMessage = silent.receive().await.unwrap();
        assert!(matches!(first, AgentMessage::Report { ref tasks, .. } if tasks.is_empty()), "{first:?}");
        // It has asked and got no answer: until it leaves, it only shows that it lives.
        let second: AgentMessage = silent.receive().await.unwrap();
        assert!(matches!(second, AgentMessage::Heartbeat), "{second:?}");
        // The connection stays open, and nothing is said.
        let (_again, _) = server.greet().await;
        drop(silent);
    })
    .await;
    outcome.unwrap();
}

#[tokio::test]
async fn certificates_are_renewed_at_half_their_life_and_used() {
    let server = Server::new().await;
    let mut agent = agent(&server, server.token());
    // The test's certificates hold from 1975 to 4096; this agent lives in 3100.
    agent.effects = Effects::simulated(1, Timestamp(35_659_000_000_000));
    let (outcome, ()) = play(&agent, async {
        server.let_in().await;
        let (mut framed, _) = server.greet().await;
        let csr_pem = loop {
            if let AgentMessage::Renew { csr_pem } = framed.receive().await.unwrap() {
                break csr_pem;
            }
        };
        let fresh = server.certificate(&csr_pem);
        framed.send(&ServerMessage::Renewed(fresh.clone())).await.unwrap();
        let JoinAnswer::Joined { certificate_pem, .. } = fresh else { panic!("refused") };
        let joined = agent.config.data_dir.join("identity/joined.json");
        until(&agent.effects, "kept", || {
            std::fs::read_to_string(&joined).unwrap().contains(&certificate_pem.replace('\n', "\\n"))
        })
        .await;
        drop(framed);
        server.greet().await;
    })
    .await;
    outcome.unwrap();
}

#[tokio::test]
async fn a_certificate_that_ran_out_is_shown_and_renewed_when_the_token_is_worth_nothing_any_more() {
    let server = Server::new().await;
    let mut agent = agent(&server, server.token());
    // The test's certificates hold from 1975 to 4096; this agent lives in 4200.
    agent.effects = Effects::simulated(1, Timestamp(70_372_000_000_000));
    let (outcome, ()) = play(&agent, async {
        server.let_in().await;
        let mut door = server.accept(link::ALPN_JOIN).await;
        let _: JoinRequest = door.receive().await.unwrap();
        let refusal = JoinRefusal { message: "no such token".into(), retry: false };
        door.send(&JoinAnswer::Refused(refusal)).await.unwrap();
        let (mut framed, _) = server.greet().await;
        while !matches!(framed.receive().await.unwrap(), AgentMessage::Renew { .. }) {}
    })
    .await;
    outcome.unwrap();
}

fn logging_set(generation: u64) -> Assignments {
    let mut set = set(generation);
    let mut definition = (*set.definitions[0].1).clone();
    let options = [("awslogs-group", "g"), ("awslogs-stream-prefix", "p")];
    definition.containers[0].log_configuration = Some(model::LogConfiguration {
        driver: model::LogDriver::Awslogs,
        options: options.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        secret_options: Vec::new(),
    });
    set.definitions[0].1 = Arc::new(definition);
    set
}

/// A group that is missing; and a session that broke before the server could say so.
#[tokio::test]
async fn a_container_whose_stream_is_refused_does_not_start() {
    let server = Server::new().await;
    let agent = agent(&server, server.token());
    let (outcome, ()) = play(&agent, async {
        server.let_in().await;
        let (mut framed, _) = server.greet().await;
        framed.send(&ServerMessage::Assignments(logging_set(1))).await.unwrap();
        while !matches!(framed.receive().await.unwrap(), AgentMessage::Logs { .. }) {}
        drop(framed);
        let (mut framed, _) = server.greet().await;
        loop {
            match framed.receive().await.unwrap() {
                AgentMessage::Logs { seq, batches } => {
                    assert!(batches.iter().all(|b| b.events.is_empty()), "{batches:?}");
                    let outcomes = vec![link::LogOutcome::Refused { message: "ResourceNotFoundException: no".into() }];
                    framed.send(&ServerMessage::LogsAck { seq, outcomes }).await.unwrap();
                }
                AgentMessage::Report { seq, tasks, .. } => {
                    framed.send(&ServerMessage::ReportAck { seq }).await.unwrap();
                    let stopped = tasks.into_iter().find(|task| matches!(task.status, ObservedStatus::Stopped(_)));
                    let Some(task) = stopped else { continue };
                    let reason = "CannotStartContainerError: failed to initialize logging driver: failed to create \
                                  Cloudwatch log stream: ResourceNotFoundException: no";
                    assert_eq!(task.containers[0].reason.as_deref(), Some(reason));
                    break;
                }
                AgentMessage::Heartbeat
                | AgentMessage::Hello(_)
                | AgentMessage::Renew { .. }
                | AgentMessage::Ask { .. } => {}
            }
        }
        assert!(!agent.node.calls().iter().any(|call| call.starts_with("start")), "{:?}", agent.node.calls());
    })
    .await;
    outcome.unwrap();
}

#[tokio::test]
async fn output_reaches_the_server_before_the_task_is_forgotten() {
    let server = Server::new().await;
    let agent = agent(&server, server.token());
    let set = logging_set(1);
    let mut gone = set.clone();
    (gone.generation, gone.tasks) = (2, Vec::new());
    let (outcome, ()) = play(&agent, async {
        server.let_in().await;
        let (mut framed, _) = server.greet().await;
        framed.send(&ServerMessage::Assignments(set)).await.unwrap();
        until_reported(&mut framed, &ObservedStatus::Running).await;
        let id = agent.node.containers().remove(0);
        let log = crate::logs::LogHub::file(&agent.config.data_dir.join("logs"), &id);
        std::fs::write(&log, "one\ntwo").unwrap();
        framed.send(&ServerMessage::Assignments(gone)).await.unwrap();
        let mut shipped = Vec::new();
        while shipped.len() < 2 {
            match framed.receive().await.unwrap() {
                AgentMessage::Logs { seq, batches } => {
                    assert!(batches.iter().all(|b| b.stream.starts_with("p/web/")), "{batches:?}");
                    keep(&mut framed, seq, &batches).await;
                    shipped.extend(batches.into_iter().flat_map(|b| b.events).map(|e| e.message));
                }
                AgentMessage::Report { seq, .. } => framed.send(&ServerMessage::ReportAck { seq }).await.unwrap(),
                AgentMessage::Heartbeat
                | AgentMessage::Hello(_)
                | AgentMessage::Renew { .. }
                | AgentMessage::Ask { .. } => {}
            }
        }
        assert_eq!(shipped, ["one", "two"]);
        until(&agent.effects, "forgotten", || {
            std::fs::read_dir(agent.config.data_dir.join("tasks")).unwrap().next().is_none()
        })
        .await;
    })
    .await;
    outcome.unwrap();
}

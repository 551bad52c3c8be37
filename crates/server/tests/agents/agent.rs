//! An agent reduced to its half of the link.

use crate::{DEADLINE, Harness, ok, text};
use http_body_util::BodyExt;
use link::{
    AgentMessage, Assignments, FrameError, Framed, Goodbye, Hello, Identity, JoinAnswer, JoinRefusal, JoinRequest,
    ServerMessage,
};
use model::{AgentInfo, Attributes, ClusterName, CpuUnits, MemoryMib, Resources, TaskArn, TaskDefinitionArn};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject};
use serde_json::json;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A join token.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) code: String,
}

/// Makes a token over the API.
pub(crate) async fn token(harness: &Harness, cluster: Option<&str>, limit: i32) -> Token {
    let tags: Vec<_> = cluster.iter().map(|name| json!({"Key": "longshore:cluster", "Value": name})).collect();
    let input = json!({"IamRole": "none", "RegistrationLimit": limit, "Tags": tags});
    let answer = ok(harness, "ssm", "CreateActivation", input).await;
    Token { id: text(&answer["ActivationId"]).to_owned(), code: text(&answer["ActivationCode"]).to_owned() }
}

/// A machine: a key, and what it was given for it.
pub(crate) struct Machine {
    key: KeyPair,
    ca: CertificateDer<'static>,
    certificate: Option<CertificateDer<'static>>,
}

impl Machine {
    /// A machine with a fresh key that trusts the CA which the server shows.
    pub(crate) async fn new(harness: &Harness) -> Self {
        let url = format!("http://{}/.longshore/ca.pem", harness.server.endpoints()[0]);
        let (parts, ()) = http::Request::get(url).body(()).unwrap().into_parts();
        let answer = harness.send(parts, bytes::Bytes::new()).await;
        let body = http_body_util::Full::new(answer.body).collect().await.unwrap().to_bytes();
        let ca = CertificateDer::from_pem_slice(&body).unwrap();
        Self { key: KeyPair::generate().unwrap(), ca, certificate: None }
    }

    fn csr(&self) -> String {
        CertificateParams::default().serialize_request(&self.key).unwrap().pem().unwrap()
    }

    fn tls(&self, alpn: &[u8], with_certificate: bool) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let key = || PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = match self.certificate.clone().filter(|_| with_certificate) {
            Some(certificate) => builder.with_client_auth_cert(vec![certificate], key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    pub(crate) async fn dial(
        &self,
        harness: &Harness,
        alpn: &[u8],
        with_certificate: bool,
    ) -> Framed<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(harness.server.links()[0]).await.unwrap();
        let name = ServerName::try_from("longshore").unwrap();
        link::framed(self.tls(alpn, with_certificate).connect(name, tcp).await.unwrap())
    }

    /// Joins; the container instance it became.
    pub(crate) async fn join(
        &mut self,
        harness: &Harness,
        token: &Token,
        cluster: Option<&str>,
    ) -> Result<Identity, JoinRefusal> {
        let mut door = self.dial(harness, link::ALPN_JOIN, false).await;
        let request = JoinRequest {
            activation_id: token.id.clone(),
            activation_code: token.code.clone(),
            cluster: cluster.map(|name| ClusterName::parse(name).unwrap()),
            csr_pem: self.csr(),
        };
        door.send(&request).await.unwrap();
        match door.receive::<JoinAnswer>().await.unwrap() {
            JoinAnswer::Joined { certificate_pem, .. } => Ok(self.take(&certificate_pem)),
            JoinAnswer::Refused(refusal) => Err(refusal),
        }
    }

    /// Takes a certificate and says whose it is.
    pub(crate) fn take(&mut self, pem: &str) -> Identity {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let identity = {
            let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
            let names = certificate.subject_alternative_name().unwrap().unwrap();
            match names.value.general_names.as_slice() {
                [x509_parser::extensions::GeneralName::URI(uri)] => uri.parse().unwrap(),
                other => panic!("the certificate names {other:?}"),
            }
        };
        self.certificate = Some(der);
        identity
    }

    /// Has the certificate replaced by one that ran out a day ago, signed with the CA's key in `dir`.
    pub(crate) fn expire(&mut self, dir: &std::path::Path, identity: &Identity, now: model::Timestamp) {
        let key = KeyPair::from_pem(&std::fs::read_to_string(dir.join("ca.key")).unwrap()).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_der(&self.ca, key).unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::URI(identity.to_string().try_into().unwrap())];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let days_ago = |days: i64| time::OffsetDateTime::from_unix_timestamp(now.0 / 1000 - days * 86_400).unwrap();
        (params.not_before, params.not_after) = (days_ago(2), days_ago(1));
        self.certificate = Some(params.signed_by(&self.key, &issuer).unwrap().der().clone());
    }

    /// Another machine with this one's key and certificate.
    pub(crate) fn copy(&self) -> Self {
        let key = KeyPair::from_pem(&self.key.serialize_pem()).unwrap();
        Self { key, ca: self.ca.clone(), certificate: self.certificate.clone() }
    }

    fn params(names: &[&str], for_servers: bool, now: model::Timestamp) -> CertificateParams {
        let usage = if for_servers { ExtendedKeyUsagePurpose::ServerAuth } else { ExtendedKeyUsagePurpose::ClientAuth };
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(|n| SanType::URI((*n).try_into().unwrap())).collect();
        params.extended_key_usages = vec![usage];
        let hours = |hours: i64| time::OffsetDateTime::from_unix_timestamp(now.0 / 1000 + hours * 3600).unwrap();
        (params.not_before, params.not_after) = (hours(-1), hours(24));
        params
    }

    /// Has the certificate replaced by one of these names, signed with the CA's key in `dir`.
    pub(crate) fn certify(&mut self, dir: &std::path::Path, names: &[&str], for_servers: bool, now: model::Timestamp) {
        let key = KeyPair::from_pem(&std::fs::read_to_string(dir.join("ca.key")).unwrap()).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_der(&self.ca, key).unwrap();
        let certificate = Self::params(names, for_servers, now).signed_by(&self.key, &issuer).unwrap();
        self.certificate = Some(certificate.der().clone());
    }

    /// Has the certificate replaced by one that it signed itself.
    pub(crate) fn certify_itself(&mut self, name: &str, now: model::Timestamp) {
        self.certificate = Some(Self::params(&[name], false, now).self_signed(&self.key).unwrap().der().clone());
    }

    /// Whether the server answers its Hello with a welcome. Being turned away may show at any step.
    pub(crate) async fn is_let_in(&self, harness: &Harness) -> bool {
        let tcp = TcpStream::connect(harness.server.links()[0]).await.unwrap();
        let name = ServerName::try_from("longshore").unwrap();
        let Ok(stream) = self.tls(link::ALPN_SESSION, true).connect(name, tcp).await else { return false };
        let mut framed = link::framed(stream);
        if framed.send(&AgentMessage::Hello(hello())).await.is_err() {
            return false;
        }
        let answer = tokio::time::timeout(DEADLINE, framed.receive::<ServerMessage>()).await;
        matches!(answer.expect("a stranger is answered or cut off"), Ok(ServerMessage::Welcome(_)))
    }

    /// Trusts the server that the other one trusts.
    pub(crate) fn trust(&mut self, other: &Self) {
        self.ca = other.ca.clone();
    }

    /// Opens a session, whatever the server answers.
    pub(crate) async fn open(&self, harness: &Harness) -> Session {
        self.open_as(harness, hello()).await
    }

    /// Opens a session as another machine than the usual one.
    pub(crate) async fn open_as(&self, harness: &Harness, hello: Hello) -> Session {
        let mut framed = self.dial(harness, link::ALPN_SESSION, true).await;
        framed.send(&AgentMessage::Hello(hello)).await.unwrap();
        Session { framed, seq: 0, held: None, came: None }
    }

    /// Opens a session and reads the first two messages; the tasks it shall hold.
    pub(crate) async fn session(&self, harness: &Harness) -> (Session, Assignments) {
        let mut session = self.open(harness).await;
        let first = session.receive().await;
        assert!(matches!(first, ServerMessage::Welcome(_)), "{first:?}");
        let assignments = session.assignments().await;
        (session, assignments)
    }

    pub(crate) fn renewal(&self) -> AgentMessage {
        AgentMessage::Renew { csr_pem: self.csr() }
    }
}

/// A session, as its agent holds it.
pub(crate) struct Session {
    framed: Framed<TlsStream<TcpStream>>,
    seq: u64,
    /// All it shall hold by now, and the last message about that as it came.
    held: Option<Assignments>,
    pub(crate) came: Option<Assignments>,
}

impl Session {
    pub(crate) async fn send(&mut self, message: &AgentMessage) {
        self.framed.send(message).await.unwrap();
    }

    pub(crate) async fn try_receive(&mut self) -> Result<ServerMessage, FrameError> {
        let received = tokio::time::timeout(DEADLINE, self.framed.receive()).await;
        match received.expect("the server says something in time") {
            Ok(ServerMessage::Assignments(set)) => Ok(ServerMessage::Assignments(self.whole(set))),
            other => other,
        }
    }

    /// All that is held after this message.
    fn whole(&mut self, set: Assignments) -> Assignments {
        self.came = Some(set.clone());
        let whole = match self.held.take() {
            None => {
                assert_eq!(set.since, None, "the first is whole");
                set
            }
            Some(mut held) => {
                assert_eq!(set.since, Some(held.generation), "the others change the one before");
                let replaced = |task: &TaskArn| set.tasks.iter().any(|new| new.task == *task);
                held.tasks.retain(|task| !set.gone.contains(&task.task) && !replaced(&task.task));
                held.tasks.extend(set.tasks);
                held.definitions.retain(|(arn, _)| set.definitions.iter().all(|(new, _)| new != arn));
                held.definitions.extend(set.definitions);
                let needed = |arn: &TaskDefinitionArn| held.tasks.iter().any(|task| task.definition == *arn);
                held.definitions.retain(|(arn, _)| needed(arn));
                Assignments { generation: set.generation, since: set.since, images: set.images, ..held }
            }
        };
        self.held = Some(whole.clone());
        whole
    }

    pub(crate) async fn receive(&mut self) -> ServerMessage {
        self.try_receive().await.unwrap()
    }

    pub(crate) async fn assignments(&mut self) -> Assignments {
        match self.receive().await {
            ServerMessage::Assignments(set) => set,
            other => panic!("{other:?} instead of assignments"),
        }
    }

    pub(crate) async fn goodbye(&mut self) -> Goodbye {
        match self.receive().await {
            ServerMessage::Goodbye(goodbye) => goodbye,
            other => panic!("{other:?} instead of a goodbye"),
        }
    }

    /// Reports and waits for the acknowledgement; assignments that come in between are returned.
    pub(crate) async fn report(&mut self, tasks: Vec<model::TaskObservation>) -> Option<Assignments> {
        self.tell(tasks, Vec::new()).await
    }

    /// The same, with what tasks have used.
    pub(crate) async fn tell(
        &mut self,
        tasks: Vec<model::TaskObservation>,
        measured: Vec<(model::TaskArn, model::Measured)>,
    ) -> Option<Assignments> {
        self.seq += 1;
        self.send(&AgentMessage::Report { seq: self.seq, tasks, measured }).await;
        let mut seen = None;
        loop {
            match self.receive().await {
                ServerMessage::ReportAck { seq } if seq == self.seq => return seen,
                ServerMessage::Assignments(set) => seen = Some(set),
                other => panic!("{other:?} instead of an acknowledgement"),
            }
        }
    }
}

pub(crate) fn hello() -> Hello {
    let attributes = [
        ("com.amazonaws.ecs.capability.docker-remote-api.1.18", None),
        ("ecs.capability.container-health-check", None),
        ("ecs.availability-zone", Some("us-east-1b".to_owned())),
        ("ecs.os-type", Some("linux".to_owned())),
    ];
    Hello {
        protocol: link::PROTOCOL,
        agent: AgentInfo { version: "0.1.0".into(), hash: String::new(), runtime: "containerd: 1.6.20".into() },
        resources: Resources { cpu: CpuUnits(2048), memory: MemoryMib(4096), ..Resources::default() },
        attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Attributes>(),
        address: None,
        wireguard: None,
        tasks: Vec::new(),
    }
}

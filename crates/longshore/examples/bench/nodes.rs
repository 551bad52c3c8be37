//! Agents reduced to their half of the link: each joins with a token, holds its session over mutual TLS, and says of every
//! task it is assigned that it runs, or of one that shall stop, that it has stopped. Nothing runs anywhere.

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use link::{AgentMessage, Assignments, Framed, Hello, JoinAnswer, JoinRequest, ServerMessage};
use model::{
    AgentInfo, ContainerObservation, ContainerStatus, CpuUnits, Desired, MemoryMib, ObservedStatus, Resources, TaskArn,
    TaskObservation,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject};
use serde_json::json;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Machines that join at the same time; more only wait for each other's turn at the disk.
const AT_ONCE: usize = 32;

/// What every image is said to be, as agents say what they pulled: a service pins its revisions to it.
const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[derive(Args)]
pub(crate) struct Nodes {
    /// host:port of the link.
    #[arg(long)]
    link: String,
    /// The certificate (PEM) of the authority that the server shows.
    #[arg(long)]
    ca: PathBuf,
    #[arg(long)]
    activation_id: String,
    #[arg(long, env = "ACTIVATION_CODE", hide_env_values = true)]
    activation_code: String,
    #[arg(long)]
    count: usize,
    /// MiB of memory that each has.
    #[arg(long, default_value_t = 65_536)]
    memory: u32,
}

#[derive(Default)]
struct Counts {
    assignments: AtomicU64,
    reports: AtomicU64,
    ended: AtomicU64,
}

pub(crate) async fn run(nodes: Nodes) -> Result<()> {
    let (nodes, counts, start) = (Arc::new(nodes), Arc::new(Counts::default()), Instant::now());
    let (failed, mut failures) = mpsc::channel(1);
    let sessions = stream::iter(0..nodes.count).map(|number| join(nodes.clone(), number));
    let sessions: Vec<_> = sessions.buffer_unordered(AT_ONCE).try_collect().await?;
    for session in sessions {
        let (counts, failed) = (counts.clone(), failed.clone());
        tokio::spawn(async move {
            if let Err(error) = hold(session, &counts).await {
                counts.ended.fetch_add(1, Ordering::Relaxed);
                let _ = failed.try_send(error);
            }
        });
    }
    println!("{}", json!({"nodes": nodes.count, "joined_in_seconds": start.elapsed().as_secs_f64()}));
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{}",
        json!({"assignments": count(&counts.assignments), "reports": count(&counts.reports),
               "sessions_lost": count(&counts.ended), "first_loss": failures.try_recv().ok().map(|e| e.to_string())})
    );
    Ok(())
}

type Session = Framed<TlsStream<TcpStream>>;

async fn join(nodes: Arc<Nodes>, number: usize) -> Result<Session> {
    let key = KeyPair::generate()?;
    let csr_pem = CertificateParams::default().serialize_request(&key)?.pem()?;
    let ca = CertificateDer::from_pem_file(&nodes.ca).context("the authority's certificate")?;
    let mut door = dial(&nodes.link, &ca, None, link::ALPN_JOIN).await?;
    let (activation_id, activation_code) = (nodes.activation_id.clone(), nodes.activation_code.clone());
    door.send(&JoinRequest { activation_id, activation_code, cluster: None, csr_pem }).await?;
    let certificate = match door.receive().await? {
        JoinAnswer::Joined { certificate_pem, .. } => CertificateDer::from_pem_slice(certificate_pem.as_bytes())?,
        JoinAnswer::Refused(refusal) => bail!("machine {number} was not let in: {}", refusal.message),
    };
    let mut session = dial(&nodes.link, &ca, Some((certificate, &key)), link::ALPN_SESSION).await?;
    session.send(&AgentMessage::Hello(hello(number, nodes.memory))).await?;
    match session.receive().await? {
        ServerMessage::Welcome(_) => Ok(session),
        other => bail!("{other:?} instead of a welcome"),
    }
}

async fn dial(
    link: &str,
    ca: &CertificateDer<'static>,
    own: Option<(CertificateDer<'static>, &KeyPair)>,
    alpn: &[u8],
) -> Result<Session> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match own {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            builder.with_client_auth_cert(vec![certificate], key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let tcp = TcpStream::connect(link).await?;
    let name = ServerName::try_from("longshore")?;
    Ok(link::framed(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?))
}

fn hello(number: usize, memory: u32) -> Hello {
    let zone = format!("us-east-1{}", ["a", "b", "c"][number % 3]);
    let attributes = [
        ("com.amazonaws.ecs.capability.docker-remote-api.1.18", None),
        ("ecs.availability-zone", Some(zone)),
        ("ecs.os-type", Some("linux".to_owned())),
    ];
    Hello {
        protocol: link::PROTOCOL,
        agent: AgentInfo { version: "0.1.0".into(), hash: String::new(), runtime: "none".into() },
        resources: Resources { cpu: CpuUnits(65_536), memory: MemoryMib(memory), ..Resources::default() },
        attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        address: None,
        wireguard: None,
        tasks: Vec::new(),
    }
}

/// What was last said of each task; true for one that was said to run.
type Said = HashMap<TaskArn, bool>;

async fn hold(mut session: Session, counts: &Counts) -> Result<()> {
    let (mut said, mut seq, mut beat) = (Said::new(), 0_u64, Duration::from_secs(10));
    loop {
        let message = match tokio::time::timeout(beat, session.receive()).await {
            Ok(message) => message?,
            Err(_) => {
                session.send(&AgentMessage::Heartbeat).await?;
                continue;
            }
        };
        match message {
            ServerMessage::Welcome(welcome) => beat = Duration::from_secs(u64::from(welcome.heartbeat_seconds)),
            ServerMessage::Assignments(set) => {
                counts.assignments.fetch_add(1, Ordering::Relaxed);
                let tasks = news(set, &mut said);
                if !tasks.is_empty() {
                    seq += 1;
                    session.send(&AgentMessage::Report { seq, tasks, measured: Vec::new() }).await?;
                    counts.reports.fetch_add(1, Ordering::Relaxed);
                }
            }
            ServerMessage::ReportAck { .. } => {}
            other => return Err(anyhow!("unexpected: {other:?}")),
        }
    }
}

/// What the agent has to say that it has not said.
fn news(set: Assignments, said: &mut Said) -> Vec<TaskObservation> {
    for gone in &set.gone {
        said.remove(gone);
    }
    let mut out = Vec::new();
    for assignment in set.tasks {
        let runs = assignment.desired == Desired::Running;
        if said.insert(assignment.task.clone(), runs) == Some(runs) {
            continue;
        }
        let status = match assignment.desired {
            Desired::Running => ObservedStatus::Running,
            Desired::Stopped(why) => ObservedStatus::Stopped(why),
        };
        let containers = assignment.container_ids.iter().map(|(name, id)| ContainerObservation {
            name: name.clone(),
            status: if runs { ContainerStatus::Running } else { ContainerStatus::Stopped },
            runtime_id: Some(id.clone()),
            image_digest: Some(DIGEST.into()),
            exit_code: if runs { None } else { Some(0) },
            reason: None,
            network_bindings: Vec::new(),
            health: None,
        });
        out.push(TaskObservation {
            task: assignment.task,
            status,
            containers: containers.collect(),
            pull_started: None,
            pull_stopped: None,
            execution_stopped: None,
            attachment: None,
        });
    }
    out
}

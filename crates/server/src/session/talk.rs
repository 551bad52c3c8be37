//! One agent's session, from its Hello to its end.

use super::{
    Link, PATIENCE, ahead, assignments, logs, networks, questions, refresh,
    registry::{Begun, Sessions},
};
use crate::{context::Context, terminals::Attendance};
use link::{
    AgentMessage, FrameError, Framed, Goodbye, GoodbyeCode, Hello, Identity, JoinAnswer, JoinRefusal, Networks,
    Question, Sender, ServerMessage, Views, Welcome,
};
use model::{
    AgentInfo, Attributes, Cluster, ClusterStatus, ContainerInstance, ContainerInstanceArn, InstanceStatus, Pool,
    Resources, SettingName, Tags, TaskObservation, fargate, instance_type,
};
use state::{Closed, Command, CommitError, Committed, Rejected, Store, Subscription, Topic};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Seconds of silence after which an agent sends a heartbeat.
const HEARTBEAT_SECONDS: u32 = 10;
/// After this much silence the session is dead: three heartbeats did not come.
const SILENCE: Duration = Duration::from_secs(HEARTBEAT_SECONDS as u64 * 3);
/// Answers that may wait for the writer: an agent has one report, four log messages, one renewal and eight questions in
/// flight.
const ANSWERS: usize = 16;
/// Questions that are being answered at once: as many as an agent has in flight.
const QUESTIONS: usize = 8;

/// Pause between two messages about VPCs that only others' tasks bring about: each instance of a VPC is told of every task that
/// comes into it, and a burst of tasks is told at once.
const NETWORK_PAUSE: Duration = Duration::from_millis(50);

/// What a session waits for.
struct Changes {
    /// Its instance, and what is wanted of it.
    own: Subscription,
    /// The networks of its scope.
    network: Subscription,
    /// Secrets and parameters, which its tasks may have as files.
    vaults: Subscription,
    /// The task definitions of its scope, of which one of the Fargate pool fetches the images.
    definitions: Option<Subscription>,
}

impl Changes {
    /// Subscribes to what concerns an instance.
    fn of(store: &Store, instance: &ContainerInstanceArn) -> Self {
        let scope = &instance.cluster.scope;
        let definitions = match Pool::of(&instance.cluster) {
            Pool::Cluster => None,
            Pool::Fargate => Some(store.subscribe(Topic::Definitions(scope.clone()))),
        };
        let own = store.subscribe(Topic::Instance(instance.clone()));
        let (network, vaults) = (store.subscribe(Topic::Network(scope.clone())), store.subscribe(Topic::Vaults));
        Self { own, network, vaults, definitions }
    }
}

/// Waits for a change of what may not concern the instance.
async fn changed(of: &mut Option<Subscription>) -> Result<u64, Closed> {
    match of {
        Some(subscription) => subscription.changed().await,
        None => std::future::pending().await,
    }
}

/// Runs the session and records that it is over, unless a newer one of the same instance has begun.
pub(super) async fn session<S>(link: Link, stream: S, identity: Identity, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let mut framed = link::framed(stream);
    let hello = match tokio::time::timeout(PATIENCE, framed.receive::<AgentMessage>()).await {
        Ok(Ok(AgentMessage::Hello(hello))) => hello,
        Ok(Ok(_)) => return tracing::warn!(%peer, "an agent did not begin with Hello"),
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "a session ended before it began"),
        Err(_) => return tracing::debug!(%peer, "an agent took too long to say Hello"),
    };
    let instance = identity.container_instance.clone();
    // The session counts from here, so that an older one's end is not recorded over this one's beginning.
    let Some(begun) = link.sessions.begin(&instance, link.ctx.effects.monotonic()) else {
        tracing::warn!(%peer, %instance, "a session was refused: this instance's was taken over too often within a minute");
        let message = "this container instance has a session, which was taken over too often lately".to_owned();
        let goodbye = ServerMessage::Goodbye(Goodbye { code: GoodbyeCode::ShuttingDown, message });
        let _ = tokio::time::timeout(PATIENCE, framed.send(&goodbye)).await;
        return;
    };
    if begun.suspicious {
        tracing::error!(%peer, %instance, "two machines take turns with the certificate of one container instance; if \
            its key was copied, deregister the instance and let the machine join again");
    }
    let Begun { number, superseded, .. } = begun;
    match register(&link.ctx, &identity, hello).await {
        Ok(()) => {
            tracing::info!(%peer, %instance, "an agent's session began");
            let end = converse(&link, framed, &identity, &superseded).await;
            tracing::info!(%peer, %instance, reason = %end, "an agent's session ended");
        }
        Err(goodbye) => {
            tracing::warn!(%peer, %instance, reason = goodbye.message, "an agent's session was refused");
            let _ = tokio::time::timeout(PATIENCE, framed.send(&ServerMessage::Goodbye(goodbye))).await;
        }
    }
    if link.sessions.end(&instance, number) {
        disconnected(&link.ctx, &link.sessions, &instance).await;
    }
}

/// Records that the instance has no session. One that begins meanwhile may have recorded itself first, so it is looked
/// at again afterwards.
pub(crate) async fn disconnected(ctx: &Context, sessions: &Sessions, instance: &ContainerInstanceArn) {
    for connected in [false, true] {
        if sessions.has(instance) != connected {
            return;
        }
        let command = Command::SetAgentConnected { arn: instance.clone(), connected, at: ctx.effects.now() };
        match ctx.store.commit_in_turn(command).await {
            Ok(_) | Err(CommitError::Rejected(_) | CommitError::Closed) => {}
            // The liveness loop finds it again.
            Err(error) => tracing::warn!(%instance, %error, "an agent's disconnection could not be recorded"),
        }
    }
}

/// What a machine is told that cannot have what every machine here is to have.
const NO_WIREGUARD: &str = "this server encrypts what machines send each other of VPCs, and this machine has no WireGuard: \
    apt-get install wireguard-tools, and wireguard-go where the kernel has no WireGuard; then start the agent again";

/// The instance as its agent describes it. Those of no cluster join `default`, which comes to be when first needed.
async fn register(ctx: &Context, identity: &Identity, hello: Hello) -> Result<(), Goodbye> {
    let goodbye = |code, message: &str| Goodbye { code, message: message.to_owned() };
    if hello.protocol != link::PROTOCOL {
        return Err(goodbye(GoodbyeCode::Protocol, "this server speaks another version of the link; update the agent"));
    }
    if ctx.config.vpc_encryption && hello.wireguard.is_none() {
        return Err(goodbye(GoodbyeCode::Protocol, NO_WIREGUARD));
    }
    let now = ctx.effects.now();
    let mut attributes = hello.attributes;
    if identity.ec2_instance_id.as_deref().is_some_and(|id| id.starts_with("mi-")) {
        // AWS: by this, tasks of launch type EXTERNAL find the machines that an operator attached.
        attributes.insert("ecs.capability.external".to_owned(), None);
    }
    let instance = ContainerInstance {
        arn: identity.container_instance.clone(),
        status: InstanceStatus::Active,
        version: 1,
        ec2_instance_id: identity.ec2_instance_id.clone(),
        registered: Resources { interfaces: interface_limit(ctx, identity, &attributes), ..hello.resources },
        attributes,
        agent: marked(hello.agent),
        agent_connected: true,
        agent_changed_at: now,
        address: hello.address,
        wireguard: hello.wireguard,
        registered_at: now,
        reclaimed_at: None,
        tags: Tags::default(),
    };
    let mut result = ctx.store.commit_in_turn(Command::RegisterContainerInstance { instance: instance.clone() }).await;
    if let Err(CommitError::Rejected(Rejected::ClusterNotFound(arn) | Rejected::ClusterInactive(arn))) = &result
        && matches!(arn.name.as_str(), "default" | fargate::POOL_CLUSTER)
    {
        let cluster = Cluster {
            arn: arn.clone(),
            status: ClusterStatus::Active,
            settings: BTreeMap::new(),
            connect_namespace: None,
            exec_logging: None,
            capacity_providers: Vec::new(),
            default_capacity_provider_strategy: model::CapacityProviderStrategy::default(),
            tags: Tags::default(),
            created_at: now,
        };
        result = match ctx.store.commit(Command::CreateCluster(cluster)).await {
            Ok(_) => ctx.store.commit_in_turn(Command::RegisterContainerInstance { instance }).await,
            Err(error) => Err(error),
        };
    }
    match result {
        Ok(_) => Ok(()),
        Err(CommitError::Rejected(Rejected::InstanceInactive(_))) => {
            Err(goodbye(GoodbyeCode::Inactive, "this container instance was deregistered; join again with a new token"))
        }
        Err(CommitError::Rejected(Rejected::OtherMachine(_))) => Err(goodbye(
            GoodbyeCode::Inactive,
            "this container instance was registered as that of another machine; join again with a new token",
        )),
        Err(error) => Err(goodbye(GoodbyeCode::ShuttingDown, &error.to_string())),
    }
}

/// Interfaces of an instance of the Fargate pool: no limit that a client sees, as many as an instance has addresses behind
/// one port of its bridge.
const POOL_INTERFACES: u32 = 1 << 16;

/// How many interfaces tasks may have on the instance: what its type has beyond its own, as the account has chosen.
fn interface_limit(ctx: &Context, identity: &Identity, attributes: &Attributes) -> u32 {
    match Pool::of(&identity.container_instance.cluster) {
        Pool::Fargate => return POOL_INTERFACES,
        Pool::Cluster => {}
    }
    let kind = attributes.get("ecs.instance-type").and_then(|kind| kind.as_deref());
    let scope = &identity.container_instance.cluster.scope;
    let chosen = ctx.store.snapshot().setting(scope, SettingName::AwsvpcTrunking, None).cloned();
    let trunking = chosen.is_some_and(|setting| setting.value == "enabled");
    instance_type::task_interfaces(kind, trunking)
}

/// The agent with our mark, by which the liveness loop tells those that must have a session.
fn marked(agent: AgentInfo) -> AgentInfo {
    if agent.hash.starts_with(crate::AGENT_HASH) {
        return agent;
    }
    let hash = format!("{}{}", crate::AGENT_HASH, if agent.hash.is_empty() { "" } else { "-" });
    AgentInfo { hash: hash + &agent.hash, ..agent }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Link(#[from] FrameError),
    #[error("the agent fell silent")]
    Silent,
    #[error("a newer session of the instance began")]
    Superseded,
    #[error("the instance was deregistered")]
    Deregistered,
    #[error("the server stops")]
    Stopping,
    #[error("what the agent said could not be kept: {0}")]
    Commit(CommitError),
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    link: &Link,
    framed: Framed<S>,
    identity: &Identity,
    superseded: &CancellationToken,
) -> End {
    let instance = &identity.container_instance;
    let (mut receiver, mut sender) = framed.split();
    // Subscribe first, then look: nothing is missed in between.
    let changes = Changes::of(&link.ctx.store, instance);
    let (answers, waiting) = mpsc::channel(ANSWERS);
    let asked = Arc::new(Semaphore::new(QUESTIONS));
    let terminals = link.ctx.terminals.attend(instance);
    let listen = async {
        loop {
            let message = match tokio::time::timeout(SILENCE, receiver.receive::<AgentMessage>()).await {
                Ok(Ok(message)) => message,
                Ok(Err(error)) => return End::Link(error),
                Err(_) => return End::Silent,
            };
            if let AgentMessage::Ask { id, question } = message {
                answer(link, identity, (id, question), &asked, &answers).await;
                continue;
            }
            match take(link, identity, message).await {
                Ok(Some(answer)) => {
                    if answers.send(answer).await.is_err() {
                        return End::Stopping;
                    }
                }
                Ok(None) => {}
                Err(error) => return End::Commit(error),
            }
        }
    };
    let end = tokio::select! {
        end = listen => end,
        end = speak(link, instance, &mut sender, changes, (waiting, terminals)) => end,
        () = superseded.cancelled() => End::Superseded,
        () = link.ctx.effects.shutdown().cancelled() => End::Stopping,
    };
    let code = match end {
        End::Superseded => GoodbyeCode::Superseded,
        End::Deregistered => GoodbyeCode::Inactive,
        End::Stopping | End::Commit(_) => GoodbyeCode::ShuttingDown,
        End::Link(_) | End::Silent => return end,
    };
    let goodbye = ServerMessage::Goodbye(Goodbye { code, message: end.to_string() });
    let _ = tokio::time::timeout(PATIENCE, sender.send(&goodbye)).await;
    end
}

/// What an agent has been told of what its instance shall hold.
#[derive(Default)]
struct Told {
    tasks: assignments::Told,
    networks: Option<Views>,
    /// Worked out again only when a definition has changed: it takes a look at every family.
    images: Option<Vec<Arc<str>>>,
    shown: refresh::Shown,
}

impl Told {
    /// What it is to be told now, in that order. None of an instance that is no more.
    fn news(&mut self, ctx: &Context, instance: &ContainerInstanceArn) -> Option<Vec<ServerMessage>> {
        let snapshot = ctx.store.snapshot();
        let row = snapshot.instance(instance)?;
        if row.instance.status == InstanceStatus::Inactive {
            return None;
        }
        let mut news = Vec::new();
        // Before the tasks: they cannot start without the VPC they are in. That an instance carries none is told too, since what a
        // killed agent left standing is found by that; only not to an agent that knows nothing of VPCs.
        if networks::can_carry(row) {
            let views = networks::of(&snapshot, instance, ctx.config.vpc_encryption);
            if let Some(changed) = Networks::between(self.networks.as_ref(), &views) {
                news.push(ServerMessage::Networks(changed));
                self.networks = Some(views);
            }
        }
        let images = self.images.get_or_insert_with(|| ahead::of(&snapshot, instance));
        let set = self.tasks.news(&snapshot, instance, ctx.epoch(), images);
        news.extend(set.map(ServerMessage::Assignments));
        // After the tasks: one that has just come to the agent is known to it.
        let tasks = self.shown.news(&snapshot, instance);
        if !tasks.is_empty() {
            news.push(ServerMessage::Refresh { tasks });
        }
        Some(news)
    }
}

/// Sends what the instance shall hold, whole and then as it changes, and answers as they come.
async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    link: &Link,
    instance: &ContainerInstanceArn,
    sender: &mut Sender<S>,
    mut changes: Changes,
    (mut answers, mut terminals): (mpsc::Receiver<ServerMessage>, Attendance),
) -> End {
    let ctx = &link.ctx;
    let welcome = Welcome { heartbeat_seconds: HEARTBEAT_SECONDS, server_time: ctx.effects.now(), answers: true };
    if let Err(error) = sender.send(&ServerMessage::Welcome(welcome)).await {
        return End::Link(error);
    }
    let (mut told, mut told_at) = (Told::default(), Duration::ZERO);
    loop {
        let Some(news) = told.news(ctx, instance) else { return End::Deregistered };
        for message in news {
            let sending = if matches!(message, ServerMessage::Assignments(_)) {
                tracing::trace_span!(target: "timeline", "send assignments")
            } else {
                tracing::Span::none()
            };
            if let Err(error) = sender.send(&message).instrument(sending).await {
                return End::Link(error);
            }
            if matches!(message, ServerMessage::Networks(_)) {
                told_at = ctx.effects.monotonic();
            }
        }
        let soonest = (told_at + NETWORK_PAUSE).saturating_sub(ctx.effects.monotonic());
        let network = async {
            ctx.effects.sleep(soonest).await;
            changes.network.changed().await
        };
        tokio::pin!(network);
        loop {
            let news = tokio::select! {
                changed = changes.own.changed() => changed.map(|_| None),
                changed = &mut network => changed.map(|_| None),
                changed = changes.vaults.changed(), if !told.shown.is_empty() => changed.map(|_| None),
                changed = changed(&mut changes.definitions) => {
                    told.images = None;
                    changed.map(|_| None)
                }
                Some(answer) = answers.recv() => Ok(Some(answer)),
                Some(open) = terminals.next() => Ok(Some(ServerMessage::Open(open))),
            };
            let answer = match news {
                Ok(Some(answer)) => answer,
                Ok(None) => break,
                Err(Closed) => return End::Stopping,
            };
            if let Err(error) = sender.send(&answer).await {
                return End::Link(error);
            }
        }
    }
}

/// Takes one message; the answer is sent only when what it acknowledges is durable.
async fn take(link: &Link, identity: &Identity, message: AgentMessage) -> Result<Option<ServerMessage>, CommitError> {
    match message {
        AgentMessage::Heartbeat => Ok(None),
        AgentMessage::Hello(_) => {
            tracing::warn!(instance = %identity.container_instance, "an agent said Hello twice; the second is ignored");
            Ok(None)
        }
        AgentMessage::Report { seq, tasks, measured } => {
            // Before its end is known, so that it is there when that is written into the ledger.
            link.ctx.measures.take(&link.ctx.store.snapshot(), &identity.container_instance, measured);
            if tasks.is_empty() {
                // Also an idle agent's sign of life: there is nothing to keep.
                return Ok(Some(ServerMessage::ReportAck { seq }));
            }
            let observing = tracing::trace_span!(target: "timeline", "take report");
            observe(&link.ctx, &identity.container_instance, tasks).instrument(observing).await?;
            Ok(Some(ServerMessage::ReportAck { seq }))
        }
        AgentMessage::Logs { seq, batches } => {
            let scope = &identity.container_instance.cluster.scope;
            let outcomes = logs::keep(&link.ctx, scope, batches).await;
            Ok(Some(ServerMessage::LogsAck { seq, outcomes }))
        }
        AgentMessage::Renew { csr_pem } => Ok(Some(ServerMessage::Renewed(renew(link, identity, &csr_pem)))),
        // Answered beside.
        AgentMessage::Ask { .. } => Ok(None),
    }
}

/// Answers a question beside what else the agent says: what somebody else is asked for must not hold that up.
async fn answer(
    link: &Link,
    identity: &Identity,
    (id, question): (u64, Question),
    asked: &Arc<Semaphore>,
    answers: &mpsc::Sender<ServerMessage>,
) {
    let turn = asked.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (ctx, identity, answers) = (link.ctx.clone(), identity.clone(), answers.clone());
    link.ctx.effects.spawn("answer a question", async move {
        let answer = questions::answer(&ctx, &identity, question).await;
        // A session that has ended meanwhile asks again in the next.
        let _ = answers.send(ServerMessage::Answered { id, answer }).await;
        drop(turn);
    });
}

async fn observe(
    ctx: &Context,
    instance: &ContainerInstanceArn,
    seen: Vec<TaskObservation>,
) -> Result<Committed, CommitError> {
    // One at a time from each session. Told to come again, an agent would have to begin a session anew, at the worst moment.
    ctx.store.commit_in_turn(Command::Observe { instance: instance.clone(), seen, at: ctx.effects.now() }).await
}

fn renew(link: &Link, identity: &Identity, csr_pem: &str) -> JoinAnswer {
    match link.ca.issue_agent(csr_pem, identity, link.ctx.effects.now()) {
        Ok(certificate_pem) => JoinAnswer::Joined { certificate_pem, ca_pem: link.ca.pem().to_owned() },
        Err(error) => JoinAnswer::Refused(JoinRefusal { message: error.to_string(), retry: false }),
    }
}

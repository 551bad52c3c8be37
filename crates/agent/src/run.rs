//! The agent as a whole: from its configuration to its end.

use crate::{
    api_door::{self, ApiDoor},
    detect,
    engine::{Board, Engine, EngineError},
    files,
    gpus::Gpus,
    identity::{IdentityError, IdentityStore},
    imds::{self, InstanceMetadata},
    introspection::{self, Introspection},
    ledger::{Ledger, LedgerError},
    logs::LogHub,
    metadata::{self, Facts, Metadata, Places, Rate, Secret},
    node::Node,
    real::{
        Doors, ImageCleanup, NodeConfig, PullBehavior, RealNode, Vpcs, chain, clean_images, clones_dir, disks_dir,
        programs_dir, try_userns,
    },
    resident,
    resolver::Upstreams,
    roles::Roles,
    session::{self, Dial, End, InvalidToken, JoinError, JoinToken, Questions, Session, Terminals},
};
use effects::Effects;
use link::{Hello, Identity};
use model::{AgentInfo, Attributes, ClusterName, LaunchType, Pool, Stop, StopCode, WireguardKey};
use network::{
    Ipv4Net, NetContext,
    vpc::tunnel::{self, PrivateKey},
};
use runtime::{
    Containerd, ContainerdConfig, Disks, IdMapping, NfsMounts, OciRuntime, Runtime, RuntimeError, Tunnels,
    cgroup::Cgroups, daemon, image::Mirror, userns::UsernsError,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

/// containerd's namespace of all our containers and images.
pub const CONTAINERD_NAMESPACE: &str = "longshore";
/// How long the tasks of a deregistered instance may take to stop before the agent ends all the same: the longest
/// stopTimeout ECS knows, and every SIGKILL.
const LAST_STOP: Duration = Duration::from_secs(240);
/// Before a containerd that does not answer is asked again.
const RUNTIME_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at our containerd: one system call.
const GUARD: Duration = Duration::from_millis(500);
/// Between two looks whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Everything an agent is told. What it finds out itself is in `detect`.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's link, `host:port`.
    pub server: String,
    /// The cluster to join; what the token says wins.
    pub cluster: Option<ClusterName>,
    /// The join token's text. Needed until the machine has joined.
    pub token: Option<String>,
    /// Identity, ledger, logs; kept over reboots.
    pub data_dir: PathBuf,
    /// What no reboot survives: our own containerd's state and sockets.
    pub run_dir: PathBuf,
    /// A containerd to use; without one, ours is started or adopted in `data_dir/containerd`.
    pub containerd_socket: Option<PathBuf>,
    /// What makes its containers.
    pub oci_runtime: OciRuntime,
    /// Which numbers of the machine the users of its containers have, as dockerd's `userns-remap`; their own if `None`. Containers of
    /// tasks that are there already stay as they are.
    pub userns: Option<IdMapping>,
    /// Resources of the instance, where they are not the machine's own.
    pub resources: detect::ResourceOverrides,
    /// The machine's GPUs, as far as tasks may have them.
    pub gpus: Gpus,
    /// The operator's and the machine's attributes.
    pub attributes: Attributes,
    /// An address at which published ports can be reached.
    pub address: Option<IpAddr>,
    /// The cgroup that holds the instance's tasks, e.g. `/longshore/i-0123`.
    pub cgroup: String,
    /// Where containers' network namespaces are mounted; not kept over reboots.
    pub netns_dir: PathBuf,
    /// The network namespace from which registries are reached; our own if `None`.
    pub registry_netns: Option<PathBuf>,
    /// Registries spoken to in plain HTTP. Loopback ones always are.
    pub insecure_registries: Vec<String>,
    /// Registries that are asked in place of others.
    pub registry_mirrors: Vec<Mirror>,
    /// A docker `config.json` with credentials for registries.
    pub registry_auth: Option<PathBuf>,
    /// Whether registries are asked for images that are here.
    pub pull_behavior: PullBehavior,
    /// How long a registry may send nothing, or hardly anything: the original's `ECS_IMAGE_PULL_INACTIVITY_TIMEOUT`.
    pub pull_inactivity: Duration,
    /// Where introspection answers; `None` for not at all.
    pub introspection: Option<SocketAddr>,
    /// Ranges for the task bridge, each written with its gateway.
    pub bridge_candidates: Vec<Ipv4Net>,
    /// How unused images are removed.
    pub image_cleanup: ImageCleanup,
    /// How often a task may ask for its metadata: the original's `ECS_TASK_METADATA_RPS_LIMIT`.
    pub metadata_rate: Rate,
    /// What the instance metadata service tells ([`imds::Facts`] as JSON); without it there is none.
    pub instance_metadata: Option<PathBuf>,
    /// Whether tasks of mode awsvpc are kept from it: the original's `ECS_AWSVPC_BLOCK_IMDS`.
    pub awsvpc_block_imds: bool,
}

impl Config {
    /// An agent of this whole machine, with everything else as the original has it.
    pub fn new(server: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            server: server.into(),
            cluster: None,
            token: None,
            data_dir: data_dir.into(),
            run_dir: "/run/longshore-agent".into(),
            containerd_socket: None,
            oci_runtime: OciRuntime::default(),
            userns: None,
            resources: detect::ResourceOverrides::default(),
            gpus: Gpus::default(),
            attributes: Attributes::new(),
            address: None,
            cgroup: "/longshore-agent".into(),
            netns_dir: "/run/longshore-agent/netns".into(),
            registry_netns: None,
            insecure_registries: Vec::new(),
            registry_mirrors: Vec::new(),
            registry_auth: None,
            pull_behavior: PullBehavior::default(),
            pull_inactivity: Duration::from_secs(60),
            introspection: Some(SocketAddr::from(([127, 0, 0, 1], 51678))),
            bridge_candidates: network::TASK_BRIDGE_CANDIDATES.to_vec(),
            image_cleanup: ImageCleanup::default(),
            metadata_rate: Rate::default(),
            instance_metadata: None,
            awsvpc_block_imds: false,
        }
    }
}

/// Why an agent ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The data directory cannot be used.
    #[error("the data directory {path} cannot be used")]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The machine cannot have containers in user namespaces.
    #[error("containers cannot have users of their own (--userns-remap)")]
    Userns(#[from] UsernsError),
    /// There is no identity and no token to get one with.
    #[error(
        "this machine has not joined a server yet; make a token with `longshore token create` and pass it with --token-file"
    )]
    NoToken,
    /// The token is not one.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// The server did not let it in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The key or certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The engine cannot work.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The container runtime cannot be used.
    #[error("the container runtime cannot be used")]
    Runtime(#[from] RuntimeError),
    /// The machine has no control groups.
    #[error("control groups cannot be used")]
    Cgroups(#[source] io::Error),
    /// The instance was deregistered; its tasks were stopped.
    #[error("this container instance was deregistered: {0}")]
    Deregistered(String),
    /// Another process speaks for this instance.
    #[error("another agent runs with this instance's identity: {0}")]
    Superseded(String),
    /// The server speaks another version of the link.
    #[error("{0}")]
    Protocol(String),
}

/// Runs an agent until it is asked to stop (`effects.shutdown()`); its containers run on. Ends by itself only if there is no
/// point in going on.
pub async fn run(config: Config, effects: Effects) -> Result<(), AgentError> {
    let data = |source| AgentError::DataDir { path: config.data_dir.clone(), source };
    files::folder(&config.data_dir).map_err(data)?;
    let token = config.token.as_deref().map(str::parse::<JoinToken>).transpose()?;
    let store = IdentityStore::open(&config.data_dir)?;
    let Some(identity) = identity(&config, &store, token.as_ref(), &effects).await? else { return Ok(()) };
    tracing::info!(instance = %identity.container_instance, "this machine is a container instance");

    let wireguard = wireguard(&store).await?;
    if let Some(mapping) = config.userns {
        try_userns(mapping, (&config.data_dir, &config.run_dir), config.containerd_socket.as_deref()).await?;
    }
    let (runtime, about) = connect_runtime(&config, &effects).await?;
    let secret = Secret::open(&config.data_dir, &effects).map_err(data)?;
    let cgroups = Cgroups::detect().map_err(AgentError::Cgroups)?;
    let disks = Disks::new(disks_dir(&config.data_dir));
    let places = Places { cgroups, cgroup: config.cgroup.clone(), netns_dir: config.netns_dir.clone(), disks };
    let node_config = NodeConfig {
        instance: instance_label(&identity),
        ec2_instance: identity
            .ec2_instance_id
            .clone()
            .filter(|_| Pool::of(&identity.container_instance.cluster) != Pool::Fargate),
        data_dir: config.data_dir.clone(),
        run_dir: config.run_dir.clone(),
        netns_dir: config.netns_dir.clone(),
        cgroup: config.cgroup.clone(),
        pool: Pool::of(&identity.container_instance.cluster),
        oci_runtime: config.oci_runtime,
        userns: config.userns,
        registry_mirrors: config.registry_mirrors.clone(),
        registry_auth: config.registry_auth.clone(),
        pull_behavior: config.pull_behavior,
        bridge_candidates: config.bridge_candidates.clone(),
        address: config.address,
        wireguard: wireguard.as_ref().map(|(key, _)| key.clone()),
        gpus: config.gpus.clone(),
        metadata: secret.clone(),
    };
    let questions = Questions::new(effects.clone());
    let roles = Roles::new(questions.clone(), secret.clone(), effects.clone());
    let node = RealNode::new(runtime.clone(), node_config, questions.clone(), roles.clone(), effects.clone())
        .map_err(AgentError::Cgroups)?;
    let metadata = Some((secret, places, node.vpcs(), roles));
    let wireguard = wireguard.map(|(_, public)| public);
    let node = Arc::new(node);
    let questions = Some(questions);
    let machine = Machine { node, identity, store, token, dial: None, runtime: about, metadata, wireguard, questions };
    effects.spawn("give back memory", resident::keep_small(effects.clone()));
    run_on(&config, machine, Some(runtime), effects).await
}

/// What tasks are answered with.
type Answering = (Secret, Places, Vpcs, Roles);

/// A machine that has joined and can run containers.
pub struct Machine {
    node: Arc<dyn Node>,
    identity: Identity,
    store: IdentityStore,
    token: Option<JoinToken>,
    dial: Option<Arc<dyn Dial>>,
    /// `name: version` of the container runtime.
    runtime: String,
    /// What its tasks' metadata is made of; none where no task can ask.
    metadata: Option<Answering>,
    /// What others encrypt with; none where it cannot.
    wireguard: Option<WireguardKey>,
    /// The way to the server that the node has too, where it asks anything.
    questions: Option<Questions>,
}

impl Machine {
    /// A machine that is taken for who it says it is, with any node and any way to the server: the simulator's.
    pub fn simulated(
        config: &Config,
        node: Arc<dyn Node>,
        identity: Identity,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, AgentError> {
        let store = IdentityStore::open(&config.data_dir)?;
        let runtime = "simulated: 1".into();
        let (token, dial) = (None, Some(dial));
        Ok(Self { node, identity, store, token, dial, runtime, metadata: None, wireguard: None, questions: None })
    }

    /// Joins a server with any node.
    pub async fn join(config: &Config, node: Arc<dyn Node>, effects: &Effects) -> Result<Option<Self>, AgentError> {
        files::folder(&config.data_dir)
            .map_err(|source| AgentError::DataDir { path: config.data_dir.clone(), source })?;
        let token = config.token.as_deref().map(str::parse::<JoinToken>).transpose()?;
        let store = IdentityStore::open(&config.data_dir)?;
        let identity = identity(config, &store, token.as_ref(), effects).await?;
        let runtime = "simulated: 1".into();
        let (dial, metadata, wireguard, questions) = (None, None, None, None);
        Ok(identity.map(|identity| Self {
            node,
            identity,
            store,
            token,
            dial,
            runtime,
            metadata,
            wireguard,
            questions,
        }))
    }
}

/// Runs an agent on a machine. [`run`] with the real one.
pub async fn run_on(
    config: &Config,
    machine: Machine,
    images: Option<Arc<dyn Runtime>>,
    effects: Effects,
) -> Result<(), AgentError> {
    let logs_dir = config.data_dir.join("logs");
    files::folder(&logs_dir).map_err(|source| AgentError::DataDir { path: logs_dir.clone(), source })?;
    let logs = LogHub::new(logs_dir, effects.clone());
    let ledger = Ledger::open(&config.data_dir)?;
    let engine = Engine::open(machine.node, ledger, logs.clone(), effects.clone()).await?;
    let terminals = images.clone().map(|runtime| Terminals::new(runtime, effects.clone()));
    let mut attributes = attributes(config);
    if Disks::check().is_ok() {
        attributes.insert("ecs.capability.storage.ebs-task-volume-attach".to_owned(), None);
    }
    // Whether NFS can be shown with other owners nobody has measured (docs/decisions/0037).
    if NfsMounts::can() && config.userns.is_none() {
        attributes.insert("ecs.capability.efs".to_owned(), None);
        if Tunnels::can() {
            attributes.insert("ecs.capability.efsAuth".to_owned(), None);
        }
    }
    if terminals.is_some() {
        attributes.insert("ecs.capability.execute-command".to_owned(), None);
        attributes.insert(model::secret_files::CAPABILITY.to_owned(), None);
    }
    if let Some(runtime) = images {
        effects.spawn(
            "image clean-up",
            clean_images(runtime, engine.board().clone(), config.image_cleanup, effects.clone()),
        );
    }
    let questions = machine.questions.unwrap_or_else(|| Questions::new(effects.clone()));
    if let Some(answering) = machine.metadata {
        let who = (&machine.identity, machine.store.clone());
        answer_tasks(config, answering, who, (engine.board().clone(), questions.clone()), &effects).await?;
    }
    if let Some(address) = config.introspection {
        introspect(address, &machine.identity, &engine, &effects).await;
    }
    let session = Session {
        server: config.server.clone(),
        store: machine.store,
        token: machine.token,
        dial: machine.dial,
        engine: engine.clone(),
        logs,
        questions,
        terminals,
        effects: effects.clone(),
        hello: Hello {
            protocol: link::PROTOCOL,
            agent: AgentInfo {
                version: env!("CARGO_PKG_VERSION").into(),
                hash: option_env!("LONGSHORE_BUILD").unwrap_or_default().into(),
                runtime: machine.runtime,
            },
            resources: detect::resources(&config.resources, &config.gpus),
            attributes,
            address: config.address,
            wireguard: machine.wireguard,
            tasks: Vec::new(),
        },
    };
    match session.keep().await {
        End::Shutdown => Ok(()),
        End::Superseded(why) => Err(AgentError::Superseded(why)),
        End::Protocol(why) => Err(AgentError::Protocol(why)),
        End::Inactive(why) => {
            tracing::warn!(reason = why, "the instance was deregistered; its tasks are stopped");
            stop_everything(&engine, &effects).await;
            Err(AgentError::Deregistered(why))
        }
    }
}

/// Opens what tasks and the instance ask: metadata, credentials and the way to the API.
async fn answer_tasks(
    config: &Config,
    (secret, places, vpcs, roles): Answering,
    (identity, store): (&Identity, IdentityStore),
    (board, questions): (Arc<Board>, Questions),
    effects: &Effects,
) -> Result<(), AgentError> {
    let instance = instance_metadata(config, &secret, &roles, effects)?;
    let facts = facts(config, identity);
    let (rate, asking) = (config.metadata_rate, (questions, roles));
    let what = Metadata::new(board, asking, facts, secret, rate, places, effects.clone());
    let resolvers = config.registry_netns.as_ref().map_or_else(NetContext::own, NetContext::at);
    let upstreams = Arc::new(Upstreams::new(resolvers, "/etc/resolv.conf", effects.clone()));
    // AWS: the setting is about tasks of mode awsvpc alone. Those of Fargate never see an instance.
    let fargate = Pool::of(&identity.container_instance.cluster) == Pool::Fargate;
    let in_vpcs = instance.clone().filter(|_| !config.awsvpc_block_imds && !fargate);
    let api = ApiDoor::new(&config.server, store, effects.clone());
    let doors =
        Doors { metadata: what.clone(), instance: in_vpcs, api: api.clone(), upstreams, effects: effects.clone() };
    vpcs.set_doors(doors);
    tell_metadata(what, instance, api, effects).await;
    Ok(())
}

/// The identity, joining first if there is none; `None` if the process is to stop before that.
async fn identity(
    config: &Config,
    store: &IdentityStore,
    token: Option<&JoinToken>,
    effects: &Effects,
) -> Result<Option<Identity>, AgentError> {
    if let Some(credentials) = store.credentials()? {
        return Ok(Some(credentials.identity));
    }
    let token = token.ok_or(AgentError::NoToken)?;
    store.forget_wireguard()?;
    match session::join(&config.server, token, config.cluster.as_ref(), store, effects).await {
        Ok(()) => Ok(store.credentials()?.map(|c| c.identity)),
        Err(JoinError::Stopped) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The keys for what others send this machine of VPCs, where it has what encrypts.
async fn wireguard(store: &IdentityStore) -> Result<Option<(PrivateKey, WireguardKey)>, AgentError> {
    match tunnel::find().await {
        Ok(maker) => {
            tracing::info!(?maker, "what this machine sends of VPCs can be encrypted");
            Ok(Some(store.wireguard().await?))
        }
        Err(error) => {
            tracing::info!(%error, "what this machine sends of VPCs cannot be encrypted");
            Ok(None)
        }
    }
}

/// What marks the instance's containers: the machine's name where it has one, so that its host can find them.
fn instance_label(identity: &Identity) -> String {
    identity.ec2_instance_id.clone().unwrap_or_else(|| identity.container_instance.id.to_string())
}

async fn connect_runtime(config: &Config, effects: &Effects) -> Result<(Arc<dyn Runtime>, String), RuntimeError> {
    let socket = match &config.containerd_socket {
        Some(socket) => socket.clone(),
        None => {
            let own = daemon::DaemonConfig::new(config.data_dir.join("containerd"), config.run_dir.join("containerd"));
            let running = daemon::ensure_containerd(&own, effects).await?;
            let socket = running.socket.clone();
            effects.spawn("containerd", guard_containerd(own, running, effects.clone()));
            socket
        }
    };
    let mut containerd = ContainerdConfig::new(socket, programs_dir(&config.data_dir));
    containerd.clones_dir = clones_dir(&config.run_dir);
    containerd.namespace = CONTAINERD_NAMESPACE.to_owned();
    containerd.registry_netns.clone_from(&config.registry_netns);
    containerd.insecure_registries.clone_from(&config.insecure_registries);
    containerd.pull_inactivity = config.pull_inactivity;
    loop {
        let attempt = async {
            let runtime = Arc::new(Containerd::connect(containerd.clone(), effects.clone()).await?);
            let info = runtime.info().await?;
            Ok((runtime as Arc<dyn Runtime>, format!("{}: {}", info.name, info.version)))
        };
        match attempt.await {
            // It may just be restarting, or start after us.
            Err(RuntimeError::Unavailable(why)) => {
                tracing::warn!(why, "containerd does not answer; trying again");
                if !effects.sleep_unless_stopped(RUNTIME_AGAIN).await {
                    return Err(RuntimeError::Unavailable(why));
                }
            }
            outcome => return outcome,
        }
    }
}

/// Starts our own containerd again whenever it has ended. Containers live on meanwhile.
async fn guard_containerd(own: daemon::DaemonConfig, mut running: daemon::Daemon, effects: Effects) {
    while effects.sleep_unless_stopped(GUARD).await {
        if !running.has_ended() {
            continue;
        }
        tracing::warn!(pid = running.pid, "containerd has ended; it is started again");
        match daemon::ensure_containerd(&own, &effects).await {
            Ok(fresh) => running = fresh,
            Err(error) => tracing::error!(error = chain(&error), "containerd does not start; trying again"),
        }
    }
}

async fn introspect(address: SocketAddr, identity: &Identity, engine: &Engine, effects: &Effects) {
    match TcpListener::bind(address).await {
        Ok(listener) => {
            let container_instance = identity.container_instance.clone();
            let what = Arc::new(Introspection { container_instance, board: engine.board().clone() });
            effects.spawn("introspection", introspection::serve(listener, what, effects.clone()));
        }
        // Worth a word, not an instance.
        Err(error) => tracing::warn!(%address, error = chain(&error), "introspection cannot listen and is left out"),
    }
}

fn attributes(config: &Config) -> Attributes {
    let mut all = detect::attributes(&config.attributes, config.address, config.oci_runtime, config.userns.is_some());
    if config.awsvpc_block_imds {
        all.insert("ecs.capability.task-eni-block-instance-metadata".to_owned(), None);
    }
    all
}

/// What all tasks of this instance are told alike.
fn facts(config: &Config, identity: &Identity) -> Facts {
    let attribute = |name: &str| config.attributes.get(name).cloned().flatten();
    let attached = identity.ec2_instance_id.as_deref().is_none_or(|id| id.starts_with("mi-"));
    let launch_type = match (Pool::of(&identity.container_instance.cluster), attached) {
        (Pool::Fargate, _) => LaunchType::Fargate,
        (Pool::Cluster, true) => LaunchType::External,
        (Pool::Cluster, false) => LaunchType::Ec2,
    };
    Facts {
        container_instance: identity.container_instance.clone(),
        launch_type: launch_type.as_str(),
        availability_zone: attribute("ecs.availability-zone"),
        vpc: attribute("ecs.vpc-id"),
    }
}

/// The instance metadata service, where the machine's host has written what it tells.
fn instance_metadata(
    config: &Config,
    secret: &Secret,
    roles: &Roles,
    effects: &Effects,
) -> Result<Option<Arc<InstanceMetadata>>, AgentError> {
    let Some(path) = &config.instance_metadata else { return Ok(None) };
    let data = |source| AgentError::DataDir { path: path.clone(), source };
    let facts = files::read_json(path).map_err(data)?;
    Ok(facts.map(|facts| InstanceMetadata::new(facts, secret.clone(), roles.clone(), effects.clone())))
}

/// Answers the instance's own processes and tasks of modes bridge and host. A machine on which somebody else does already
/// keeps its tasks all the same.
async fn tell_metadata(what: Arc<Metadata>, instance: Option<Arc<InstanceMetadata>>, api: ApiDoor, effects: &Effects) {
    let bridge = network::BridgeSpec::standard(network::TASK_BRIDGE_CANDIDATES[0]).bridge;
    let spec = network::LinkLocalSpec::standard(
        &bridge,
        [metadata::ADDRESS].into_iter().chain(instance.as_ref().map(|_| imds::ADDRESS)).collect(),
    );
    if let Err(error) = network::ensure_link_local(&network::NetContext::own(), &spec).await {
        return tracing::warn!(error = chain(&error), "task metadata has no address and is left out");
    }
    match TcpListener::bind((metadata::ADDRESS, 80)).await {
        Ok(listener) => {
            effects.spawn("task metadata", metadata::serve(listener, Arc::new(|_| true), what));
        }
        Err(error) => tracing::warn!(error = chain(&error), "task metadata cannot listen and is left out"),
    }
    match TcpListener::bind((metadata::ADDRESS, api_door::PORT)).await {
        Ok(listener) => drop(effects.spawn("api of tasks", api.serve(listener))),
        Err(error) => tracing::warn!(error = chain(&error), "tasks have no way to the API by their agent"),
    }
    let Some(instance) = instance else { return };
    match TcpListener::bind((imds::ADDRESS, 80)).await {
        Ok(listener) => {
            effects.spawn("instance metadata", imds::serve(listener, imds::Distance::Instance, instance));
        }
        Err(error) => tracing::warn!(error = chain(&error), "instance metadata cannot listen and is left out"),
    }
}

async fn stop_everything(engine: &Engine, effects: &Effects) {
    let why = Stop { code: StopCode::UserInitiated, reason: "Container instance deregistration forced by user".into() };
    engine.stop_all(&why).await;
    let deadline = effects.monotonic() + LAST_STOP;
    while effects.monotonic() < deadline && engine.board().views().iter().any(|view| !view.state.is_stopped()) {
        if !effects.sleep_unless_stopped(LOOK_AGAIN).await {
            return;
        }
    }
}

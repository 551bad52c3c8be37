//! Local instances: machines on the server's own host, each a network namespace, a cgroup and an agent.
//!
//! They outlive the server: an agent is a process of its own that holds a lock on its folder for as long as it lives, so a
//! server that returns knows from the lock, not from memory, which ones run. Everything here is level-triggered and may be
//! repeated after a crash at any point. One containerd serves all local instances, so that an image is pulled and unpacked
//! once; what belongs to which instance is told by a label.

mod lock;
mod metadata;
mod paths;

pub(crate) use lock::InstanceLock;
pub(crate) use paths::HostPaths;

use effects::Effects;
use futures::future::BoxFuture;
use model::fargate::POOL_CLUSTER;
use network::{FabricSpec, IfName, InstanceNetSpec, Ipv4Net, Mac, NetContext, NetnsPath, TableName};
use runtime::{
    Containerd, ContainerdConfig, Disks, Mounts, NfsMounts, Resources, Runtime, Tunnels,
    cgroup::Cgroups,
    daemon::{Daemon, DaemonConfig, ensure_containerd},
    tree,
    userns::clones::Clones,
};
use server::machines::{MachineError, MachineHost, MachineSpec};
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::Write,
    net::Ipv4Addr,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Mutex, OnceCell};

/// How long an agent may take to end after SIGTERM before it is killed. It only has to write its ledger.
const AGENT_GRACE: Duration = Duration::from_secs(5);
/// How often a containerd of ours is looked at: the longest it stays dead.
const CONTAINERD_POLL: Duration = Duration::from_secs(1);
/// How often its lock is looked at meanwhile.
const AGENT_POLL: Duration = Duration::from_millis(20);

/// The program that runs, also when its file has been removed or replaced by another version since.
fn own_program() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(if path.exists() { path } else { "/proc/self/exe".into() })
}

/// What local instances share, as the operator chose it.
#[derive(Debug, Clone)]
pub(crate) struct LocalOptions {
    /// A containerd to use instead of one of our own.
    pub(crate) containerd_socket: Option<PathBuf>,
    /// Registries that are spoken to in plain HTTP besides loopback ones.
    pub(crate) insecure_registries: Vec<String>,
    /// Registries that are asked in place of others.
    pub(crate) registry_mirrors: Vec<runtime::image::Mirror>,
    /// What makes containers, if not what an agent takes by itself: gVisor, where it is installed, for Fargate and runc for others.
    pub(crate) oci_runtime: Option<runtime::OciRuntime>,
    /// Which users of the machine those of containers are, as agents read it.
    pub(crate) userns_remap: Option<String>,
    /// A docker `config.json` with registry credentials.
    pub(crate) registry_auth: Option<PathBuf>,
    /// Public addresses of tasks and NAT gateways, which are reached over the fabric.
    pub(crate) public_pool: Ipv4Net,
}

/// This host under local instances.
pub(crate) struct LocalHost {
    paths: HostPaths,
    options: LocalOptions,
    effects: Effects,
    cgroups: Cgroups,
    /// The containerd all local instances share, once [`MachineHost::prepare`] has it running.
    runtime: OnceCell<(PathBuf, Arc<dyn Runtime>)>,
    /// Its process, if it is ours.
    daemon: Mutex<Option<Daemon>>,
    /// One change of the host at a time: `ensure` of one machine must not race with the sweep of another.
    change: Mutex<()>,
}

/// Any failure, in words for the machine's state reason.
fn failed(what: &str) -> impl Fn(&dyn std::fmt::Display) -> MachineError + '_ {
    move |why| MachineError(format!("{what}: {why}"))
}

/// An error with all its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl LocalHost {
    /// A host that has done nothing yet; fails where there are no cgroups.
    pub(crate) fn new(paths: HostPaths, options: LocalOptions, effects: Effects) -> std::io::Result<Self> {
        let (runtime, daemon, change) = (OnceCell::new(), Mutex::new(None), Mutex::new(()));
        Ok(Self { paths, options, effects, cgroups: Cgroups::detect()?, runtime, daemon, change })
    }

    fn daemon_config(&self) -> DaemonConfig {
        let own = DaemonConfig::new(self.paths.containerd(), self.paths.run_containerd());
        DaemonConfig { cgroup: Some(self.paths.containerd_cgroup()), ..own }
    }

    /// Starts our containerd again whenever it ends, until shutdown. Containers live on meanwhile.
    pub(crate) async fn look_after_containerd(self: Arc<Self>) {
        if self.options.containerd_socket.is_some() {
            return;
        }
        while self.effects.sleep_unless_stopped(CONTAINERD_POLL).await {
            let mut daemon = self.daemon.lock().await;
            if daemon.as_mut().is_some_and(Daemon::has_ended) {
                tracing::warn!("containerd ended; starting it again");
                match ensure_containerd(&self.daemon_config(), &self.effects).await {
                    Ok(again) => *daemon = Some(again),
                    Err(error) => tracing::error!(error = chain(&error), "containerd does not start again"),
                }
            }
        }
    }

    fn fabric(&self, gateway: Ipv4Addr, prefix_len: u8) -> Result<FabricSpec, MachineError> {
        let bad = |e: network::Error| MachineError(chain(&e));
        Ok(FabricSpec {
            bridge: self.paths.bridge(),
            gateway: Ipv4Net::new(gateway, prefix_len).map_err(|e| MachineError(e.to_string()))?,
            pool: Some(self.options.public_pool),
            table: TableName::new(format!("longshore_{}", self.paths.key())).map_err(bad)?,
        })
    }

    async fn runtime(&self) -> Result<&(PathBuf, Arc<dyn Runtime>), MachineError> {
        let why = failed("containerd");
        self.runtime
            .get_or_try_init(|| async {
                let socket = match &self.options.containerd_socket {
                    Some(socket) => socket.clone(),
                    None => {
                        let daemon = ensure_containerd(&self.daemon_config(), &self.effects).await;
                        let daemon = daemon.map_err(|e| why(&chain(&e)))?;
                        let socket = daemon.socket.clone();
                        *self.daemon.lock().await = Some(daemon);
                        socket
                    }
                };
                let config = ContainerdConfig::new(socket.clone(), self.paths.run());
                let runtime = Containerd::connect(config, self.effects.clone()).await.map_err(|e| why(&chain(&e)))?;
                Ok((socket, Arc::new(runtime) as Arc<dyn Runtime>))
            })
            .await
    }

    /// Starts the machine's agent in its namespace and cgroup. The parent keeps nothing of it but the duty to reap it.
    fn spawn_agent(&self, spec: &MachineSpec, socket: &std::path::Path) -> std::io::Result<()> {
        let id = &spec.machine.id;
        let dir = self.paths.instance(id);
        let log = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join("agent.log"))?;
        let mut command = std::process::Command::new(own_program()?);
        command
            .arg("agent")
            .args(["--server", &spec.server.to_string()])
            .arg("--data-dir")
            .arg(&dir)
            .arg("--netns")
            .arg(self.paths.netns(id))
            .arg("--run-dir")
            .arg(self.paths.run_instance(id))
            .arg("--containerd-socket")
            .arg(socket)
            .args(["--cgroup", &self.paths.cgroup(id)])
            .args(["--address", &spec.machine.private_ip.to_string()])
            .args(["--instance-type", &spec.machine.instance_type])
            .args(["--reserved-memory", &spec.machine.reserved_memory.to_string()]);
        match spec.machine.cluster.as_str() {
            POOL_CLUSTER => command.arg("--fargate").env_remove("ECS_CLUSTER"),
            cluster => command.args(["--cluster", cluster]),
        };
        for (name, value) in &spec.attributes {
            command.args(["--attribute", &format!("{name}={}", value.as_deref().unwrap_or_default())]);
        }
        if let Some(oci_runtime) = self.options.oci_runtime {
            command.args(["--runtime", oci_runtime.name()]);
        }
        if let Some(range) = &self.options.userns_remap {
            command.args(["--userns-remap", range]);
        }
        for registry in &self.options.insecure_registries {
            command.args(["--insecure-registry", registry]);
        }
        for mirror in &self.options.registry_mirrors {
            command.args(["--registry-mirror", &mirror.to_string()]);
        }
        if let Some(file) = &self.options.registry_auth {
            command.arg("--registry-auth").arg(file);
        }
        // In a file, because user data may be secret and arguments are not.
        command.arg("--instance-metadata").arg(self.paths.metadata(id));
        if spec.token.is_some() {
            command.arg("--token-file").arg(dir.join("token"));
        }
        // Its own process group, so that Ctrl-C at the server's terminal does not reach it: it outlives the server.
        use std::os::unix::process::CommandExt;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let mut child = tokio::process::Command::from(command).kill_on_drop(false).spawn()?;
        if let Some(pid) = child.id() {
            self.cgroups.add_pid(&format!("{}/agent", self.paths.cgroup(id)), pid)?;
        }
        let (id, finished) = (id.clone(), self.paths.finished(id));
        self.effects.spawn("reap agent", async move {
            let Ok(status) = child.wait().await else { return };
            if status.success() {
                tracing::info!(instance = id, "the agent of a local instance ended, as it was told");
            } else {
                tracing::warn!(instance = id, %status, "the agent of a local instance ended by itself");
            }
            if status.code() == Some(i32::from(crate::commands::AGENT_IS_FINISHED)) {
                // AWS: the agent of a deregistered instance stays away until the machine is started anew.
                if let Err(error) = fs::write(&finished, "") {
                    tracing::warn!(instance = id, %error, "it will be started once more, and end again");
                }
            }
        });
        Ok(())
    }

    fn ensure_cgroup(&self, spec: &MachineSpec) -> std::io::Result<()> {
        let id = &spec.machine.id;
        let kind = model::instance_type::find(&spec.machine.instance_type);
        let limits = Resources {
            cpu_quota_us: kind.map(|k| i64::from(k.vcpus) * 100_000),
            cpu_period_us: Some(100_000),
            memory_limit: kind.map(|k| u64::from(k.memory_mib) << 20),
            ..Resources::default()
        };
        self.cgroups.ensure(&self.paths.cgroup(id), &limits)?;
        self.cgroups.ensure(&format!("{}/agent", self.paths.cgroup(id)), &Resources::default())
    }

    async fn ensure_running(&self, spec: &MachineSpec) -> Result<(), MachineError> {
        let id = &spec.machine.id;
        if self.is_running(id) || self.paths.finished(id).exists() {
            return Ok(());
        }
        let (socket, _) = self.runtime().await?;
        let dir = self.paths.instance(id);
        let io = |e: std::io::Error| MachineError(format!("cannot prepare {}: {e}", dir.display()));
        fs::create_dir_all(&dir).map_err(io)?;
        let net = InstanceNetSpec {
            netns: self.netns(id)?,
            bridge: self.paths.bridge(),
            address: Ipv4Net::new(spec.machine.private_ip, spec.prefix_len).map_err(|e| MachineError(e.to_string()))?,
            gateway: spec.gateway,
            mac: Mac::for_ipv4(spec.machine.private_ip),
            host_veth: IfName::derive("li", id),
        };
        network::ensure_instance(&NetContext::own(), &net).await.map_err(|e| failed("network")(&chain(&e)))?;
        self.ensure_cgroup(spec).map_err(|e| failed("cgroup")(&e))?;
        if let Some(token) = &spec.token {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(dir.join("token"))
                .map_err(io)?;
            file.write_all(token.as_bytes()).map_err(io)?;
        }
        metadata::write(&self.paths.metadata(id), spec).map_err(io)?;
        self.spawn_agent(spec, socket).map_err(|e| failed("the agent does not start")(&e))?;
        // Until it holds its lock it does not count as running, and would be started once more.
        let deadline = self.effects.monotonic() + AGENT_GRACE;
        while !self.is_running(id) {
            if self.effects.monotonic() > deadline {
                return Err(MachineError(format!("the agent ended at once; see {}", dir.join("agent.log").display())));
            }
            self.effects.sleep(AGENT_POLL).await;
        }
        Ok(())
    }

    fn netns(&self, id: &str) -> Result<NetnsPath, MachineError> {
        NetnsPath::new(self.paths.netns_dir(), id).map_err(|e| MachineError(chain(&e)))
    }

    /// Ends the agent first, so that nothing restarts what is taken away next.
    async fn end_agent(&self, id: &str) -> Result<(), MachineError> {
        let Some(pid) = InstanceLock::holder(&self.paths.instance(id)) else { return Ok(()) };
        let pid = rustix::process::Pid::from_raw(pid).ok_or_else(|| MachineError("the agent's pid is 0".into()))?;
        for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
            // A process that is gone already is what we want.
            let _ = rustix::process::kill_process(pid, signal);
            let deadline = self.effects.monotonic() + AGENT_GRACE;
            while self.effects.monotonic() < deadline {
                if !self.is_running(id) {
                    return Ok(());
                }
                self.effects.sleep(AGENT_POLL).await;
            }
        }
        Err(MachineError(format!("the agent of {id} does not end")))
    }

    async fn end_containers(&self, id: &str) -> Result<(), MachineError> {
        let why = failed("containers");
        let (_, runtime) = self.runtime().await?;
        let mine = BTreeMap::from([(agent::INSTANCE_LABEL.to_owned(), id.to_owned())]);
        for container in runtime.list(&mine).await.map_err(|e| why(&chain(&e)))? {
            runtime.remove(&container.id).await.map_err(|e| why(&chain(&e)))?;
        }
        Ok(())
    }

    async fn end_all(&self, id: &str) -> Result<(), MachineError> {
        self.end_agent(id).await?;
        if self.paths.finished(id).exists() {
            fs::remove_file(self.paths.finished(id)).map_err(|e| failed("files")(&e))?;
        }
        self.end_containers(id).await?;
        let disks = Disks::new(agent::disks_dir(&self.paths.instance(id)));
        let swept = tokio::task::spawn_blocking(move || disks.sweep(&HashSet::new())).await;
        swept.expect("removing disks does not panic").map_err(|e| failed("disks of tasks")(&e))?;
        let mounts = Mounts::new(agent::mounts_dir(&self.paths.run_instance(id)));
        let swept = tokio::task::spawn_blocking(move || mounts.sweep(&HashSet::new())).await;
        swept.expect("unmounting does not panic").map_err(|e| failed("mounts of tasks")(&e))?;
        self.end_file_systems(id).await.map_err(|e| failed("file systems of tasks")(&e))?;
        let clones = Clones::new(agent::clones_dir(&self.paths.run_instance(id)));
        let swept = tokio::task::spawn_blocking(move || clones.sweep()).await;
        swept.expect("unmounting does not panic").map_err(|e| failed("mounts of containers")(&e))?;
        let inside = self.paths.run_instance(id).join("netns");
        network::sweep(&inside, &HashSet::new()).await.map_err(|e| failed("network")(&chain(&e)))?;
        let net = self.netns(id)?;
        network::remove_instance(&NetContext::own(), &net, &IfName::derive("li", id))
            .await
            .map_err(|e| failed("network")(&chain(&e)))?;
        self.cgroups.remove(&self.paths.cgroup(id), &self.effects).await.map_err(|e| failed("cgroup")(&e))?;
        // What makes the device that encrypts ended with the cgroup; its socket is in a folder of all of this machine.
        let left = network::vpc::tunnel::remove(&net.context(), &inside).await;
        left.map_err(|e| failed("network")(&chain(&e)))
    }

    /// Unmounts them, and then ends what they travelled through.
    async fn end_file_systems(&self, id: &str) -> std::io::Result<()> {
        let run = self.paths.run_instance(id);
        let nfs = NfsMounts::of_netns(agent::file_systems_dir(&run), self.paths.netns(id), self.effects.clone());
        for name in nfs.others(&HashSet::new())? {
            nfs.remove(&name).await?;
        }
        let tunnels = Tunnels::new(agent::tunnels_dir(&run), self.effects.clone());
        tunnels.sweep(|| Ok(HashSet::new())).await
    }

    /// Takes away what all local instances shared, when the last is gone and the server shall leave no trace.
    pub(crate) async fn tear_down(&self, gateway: Ipv4Addr, prefix_len: u8) -> Result<(), MachineError> {
        let _one = self.change.lock().await;
        let fabric = self.fabric(gateway, prefix_len)?;
        network::remove_fabric(&NetContext::own(), &fabric).await.map_err(|e| failed("network")(&chain(&e)))?;
        if let Some(daemon) = self.daemon.lock().await.take() {
            daemon.stop(&self.effects).await.map_err(|e| failed("containerd")(&chain(&e)))?;
        }
        let root = self.paths.cgroup_root();
        self.cgroups.remove(&root, &self.effects).await.map_err(|e| failed("cgroup")(&e))?;
        let run = self.paths.run();
        fs::remove_dir_all(&run)
            .or_else(|e| if run.exists() { Err(e) } else { Ok(()) })
            .map_err(|e| failed("files")(&e))
    }
}

impl MachineHost for LocalHost {
    fn prepare(&self, gateway: Ipv4Addr, prefix_len: u8) -> BoxFuture<'_, Result<(), MachineError>> {
        Box::pin(async move {
            let _one = self.change.lock().await;
            let fabric = self.fabric(gateway, prefix_len)?;
            network::ensure_fabric(&NetContext::own(), &fabric).await.map_err(|e| MachineError(chain(&e)))?;
            self.runtime().await.map(drop)
        })
    }

    fn has_joined(&self, id: &str) -> bool {
        agent::has_identity(&self.paths.instance(id))
    }

    fn is_running(&self, id: &str) -> bool {
        InstanceLock::holder(&self.paths.instance(id)).is_some()
    }

    fn start<'a>(&'a self, spec: &'a MachineSpec) -> BoxFuture<'a, Result<(), MachineError>> {
        Box::pin(async move {
            let _one = self.change.lock().await;
            self.ensure_running(spec).await
        })
    }

    fn stop<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), MachineError>> {
        Box::pin(async move {
            let _one = self.change.lock().await;
            self.end_all(id).await
        })
    }

    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), MachineError>> {
        Box::pin(async move {
            let _one = self.change.lock().await;
            self.end_all(id).await?;
            for dir in [self.paths.instance(id), self.paths.run_instance(id)] {
                // Tasks may have left anything in it.
                let at = dir.clone();
                let removed = tokio::task::spawn_blocking(move || tree::remove(&at)).await;
                let removed = removed.expect("removing files does not panic");
                removed.map_err(|e| MachineError(format!("cannot remove {}: {e}", dir.display())))?;
            }
            Ok(())
        })
    }

    fn list(&self) -> Vec<String> {
        self.paths.list()
    }
}

//! The real machine: [`Node`] over the container runtime and the kernel's network.
//!
//! What it remembers (addresses and ports taken) is rebuilt from the ledger by `adopt`; what it makes can be found again by
//! names that follow from container ids.

mod ahead;
mod config;
mod dirs;
mod disks;
mod doors;
mod efs;
mod encryption;
mod etc;
mod fetch;
mod image_volumes;
mod images;
mod network;
mod provisions;
mod router;
mod secret_files;
mod shared;
mod spec;
mod trouble;
mod userns;
mod volumes;
mod vpc;

pub use config::{NodeConfig, PullBehavior};
pub(crate) use dirs::programs_dir;
pub use dirs::{clones_dir, disks_dir, file_systems_dir, mounts_dir, tunnels_dir};

pub(crate) use doors::Doors;
pub use images::{ImageCleanup, clean_images};
pub(crate) use trouble::chain;
pub(crate) use userns::try_userns;
pub(crate) use vpc::Vpcs;

use trouble::{Troubled, create_failure};

use crate::{
    logs::{LogHub, put_aside},
    node::{Failure, Node, NodeEvent, Seen},
    plan::{INSTANCE_LABEL, Job, LogKit, Output, TaskPlan},
    roles::Roles,
    session::Questions,
    task::{Endpoint, Probed, Pulled, Reading},
};
use effects::Effects;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use link::{Networks, Provided};
use model::NetworkMode;
use runtime::{
    BindMount, ContainerState, CreateError, Disks, ExecEnd, Image, Mounts, NamespaceMaker, NfsMounts, OciRuntime,
    Runtime, RuntimeError, RuntimeEvent, Tunnels, cgroup::Cgroups,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// Label of every container: its image as the runtime names it, so that every agent of a machine sees which are in use.
pub(crate) const IMAGE_LABEL: &str = "longshore.image";
/// How long before a runtime that does not answer is asked again: it restarts within a second.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// What containerd says when not the container but its own helper fails. Seen when an agent dies while containerd works for
/// it (the remains of that creation are still being cleared away when the next agent asks again), and when the helper is
/// killed before it has answered.
const SHIM_FAILED: [&str; 2] = ["failed to start shim", "ttrpc: closed"];
/// How often such a creation is tried, and the pause before each further try; the clearing takes some 100 ms.
const SHIM_TRIES: u32 = 5;
const SHIM_PAUSE: Duration = Duration::from_millis(500);
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// What a process killed by SIGKILL exits with: the only code that may mean lack of memory.
const KILLED: u32 = 128 + SIGKILL as u32;

/// This machine.
pub struct RealNode {
    runtime: Arc<dyn Runtime>,
    config: NodeConfig,
    effects: Effects,
    cgroups: Cgroups,
    network: Arc<network::TaskNetwork>,
    ahead: ahead::Ahead,
    disks: disks::TaskDisks,
    mounts: Mounts,
    /// Held while what a task's containers share is made.
    holding: tokio::sync::Mutex<()>,
    volumes: volumes::Volumes,
    file_systems: efs::FileSystems,
    fetcher: fetch::Fetcher,
    vpcs: vpc::Vpcs,
    users: userns::UserNamespaces,
    provisions: Arc<provisions::Provisions>,
    secret_files: secret_files::Shown,
    roles: Roles,
    routers: router::Routers,
    /// By container id, from its pull to its creation.
    pulled: Mutex<HashMap<String, Image>>,
}

impl RealNode {
    /// The machine whose containers `runtime` runs; the network is that of the calling process.
    ///
    /// # Errors
    /// If there are no control groups, or what makes namespaces cannot be put where it is run.
    pub(crate) fn new(
        runtime: Arc<dyn Runtime>,
        config: NodeConfig,
        questions: Questions,
        roles: Roles,
        effects: Effects,
    ) -> std::io::Result<Self> {
        let maker = NamespaceMaker::install(&programs_dir(&config.data_dir))?;
        let users = userns::UserNamespaces::new(config.netns_dir.clone(), maker, config.userns);
        let candidates = config.bridge_candidates.clone();
        let network = Arc::new(network::TaskNetwork::new(config.netns_dir.clone(), candidates, users.clone()));
        let vpcs = vpc::Vpcs::new(config.netns_dir.clone(), config.address, config.wireguard.clone(), effects.clone());
        let disks = disks::TaskDisks::new(Disks::new(config.disks_dir()), effects.clone());
        let provisions = Arc::new(provisions::Provisions::new(questions, effects.clone()));
        let mounts = Mounts::new(mounts_dir(&config.run_dir));
        let nfs = NfsMounts::new(file_systems_dir(&config.run_dir), effects.clone());
        let volumes = volumes::Volumes::new(config.data_dir.join("volumes"), mounts.clone(), nfs.clone());
        let tunnels = Tunnels::new(tunnels_dir(&config.run_dir), effects.clone());
        let programs = programs_dir(&config.data_dir);
        let file_systems = efs::FileSystems::new((nfs, tunnels), programs, &config.instance, effects.clone());
        let secret_files =
            secret_files::Shown::new(mounts.clone(), provisions.clone(), runtime.clone(), effects.clone());
        let routers = router::Routers::new(config.data_dir.join("routers"), config.oci_runtime);
        Ok(Self {
            runtime,
            config,
            effects,
            cgroups: Cgroups::detect()?,
            network,
            ahead: ahead::Ahead::default(),
            disks,
            mounts,
            holding: tokio::sync::Mutex::default(),
            volumes,
            file_systems,
            fetcher: fetch::Fetcher::new(),
            vpcs,
            users,
            provisions,
            secret_files,
            roles,
            routers,
            pulled: Mutex::default(),
        })
    }

    /// Its VPCs, whose doors are opened once what is behind them is there.
    pub(crate) fn vpcs(&self) -> Vpcs {
        self.vpcs.clone()
    }

    /// Asks until the runtime answers; callers bound it.
    async fn persist<'a, T, E: Troubled>(
        &self,
        mut ask: impl FnMut() -> BoxFuture<'a, Result<T, E>>,
    ) -> (Result<T, E>, bool) {
        let mut again = false;
        loop {
            match ask().await {
                Err(error) if error.passes() => {
                    tracing::debug!(%error, "the container runtime does not answer; asking again");
                    again = true;
                    self.effects.sleep(ASK_AGAIN).await;
                }
                outcome => return (outcome, again),
            }
        }
    }

    fn task_cgroup(&self, task: &TaskPlan) -> String {
        format!("{}/{}", self.config.cgroup, task.id())
    }

    /// Where the files are that a container is shown. One that may write only so much has them where that counts.
    fn container_dir(&self, id: &str, disk: Option<&Path>) -> PathBuf {
        match disk {
            Some(disk) => disk.join("files").join(id),
            None => self.config.run_dir.join("containers").join(id),
        }
    }

    /// What does not hang on the image is made while the registry is asked. Whether that worked is told when its turn comes.
    async fn pull_and_connect(&self, job: &Job) -> Result<Pulled, Failure> {
        if job.mode() == NetworkMode::Bridge {
            self.ahead.begin(&self.network, job, &self.effects);
        }
        let image = self.pull_image(job).await?;
        let pulled = Pulled {
            digest: image.digest.as_str().into(),
            image_id: image.config_digest.as_str().into(),
            stop_signal: image.config.stop_signal_number(),
        };
        self.pulled().insert(job.id().to_owned(), image);
        Ok(pulled)
    }

    fn pulled(&self) -> MutexGuard<'_, HashMap<String, Image>> {
        self.pulled.lock().expect("nothing panics while it holds the pulled images")
    }

    async fn pull_image(&self, job: &Job) -> Result<Image, Failure> {
        let reference = &job.container().image;
        let fail = |e: &dyn std::fmt::Display| Failure::new("CannotPullContainerError", e);
        let name = runtime::image::normalize(reference).map_err(|e| fail(&e))?;
        let mut request = self.config.asking().request(reference).map_err(|e| fail(&e))?;
        let provided = self.provisions.of_container(&job.task, job.at).await?;
        // They are the named registry's; a mirror has its own.
        if let (Some(auth), None) = (provisions::login(&provided), &request.mirror) {
            request.auth = auth;
        }
        let _waiting = self.fetcher.wait_for(reference);
        let (pulled, _) = self.persist(|| self.runtime.pull(request.clone(), &|_| ())).await;
        match pulled {
            Ok(image) => Ok(image),
            Err(error) if self.config.pull_behavior == PullBehavior::Always => Err(fail(&error)),
            // A copy that is here is better than no task.
            Err(error) => match self.runtime.image(&name).await {
                Ok(Some(image)) => {
                    tracing::warn!(image = name, %error, "the image could not be pulled; the copy that is here is used");
                    Ok(image)
                }
                Ok(None) | Err(_) => Err(fail(&error)),
            },
        }
    }

    /// The image a container is made of: the one just pulled for it, or, if that was another run of ours, what is here.
    async fn image_of(&self, job: &Job) -> Result<Image, Failure> {
        let just = self.pulled().remove(job.id());
        if let Some(image) = just {
            return Ok(image);
        }
        let reference = &job.container().image;
        let (found, _) = self.persist(|| self.runtime.image(reference)).await;
        match found.map_err(|e| Failure::new("CannotCreateContainerError", e))? {
            Some(image) => Ok(image),
            // Another agent of this machine thought it unused.
            None => self.pull_image(job).await,
        }
    }

    async fn create_container(&self, job: &Job) -> Result<(), Failure> {
        let fail = |e: &dyn std::fmt::Display| Failure::new("CannotCreateContainerError", e);
        self.network.isolate(job).await?;
        if self.config.oci_runtime == OciRuntime::Runsc {
            self.network.control(job).await?;
        }
        let userns = self.users.of(job).await?;
        let gpus = self.config.gpus.devices(job.gpus())?;
        let disk = self.disks.of(&job.task).await?;
        let provided = self.provisions.of_container(&job.task, job.at).await?;
        let routed = self.provisions.of_router(job).await?;
        let sharing = self.share(&job.task, userns.as_ref()).await?;
        let ours = self.ours(job, &provided).await?;
        // Files and groups take as long as asking for the image does: side by side.
        let made = {
            let (cgroups, group, limits) =
                (self.cgroups.clone(), self.task_cgroup(&job.task), spec::task_limits(&job.task));
            let (dir, job) = (self.container_dir(job.id(), disk.as_deref()), job.clone());
            tokio::task::spawn_blocking(move || {
                cgroups.limit(&group, &limits)?;
                etc::write(&dir, &job)
            })
        };
        let image = self.image_of(job).await;
        // Waited for whatever was found, so that nothing is made any more once this has ended.
        let files = made.await.expect("making files does not panic");
        let mut image = image?;
        let files = files.map_err(|e| fail(&e))?;
        let places = spec::Places {
            instance: &self.config.instance,
            cgroup: &self.task_cgroup(&job.task),
            oci_runtime: self.config.oci_runtime,
            pool: self.config.pool,
            netns: self.network.netns_of(&job.task, job.at).map_err(|e| fail(&e))?,
            log_file: LogHub::file(&self.config.data_dir.join("logs"), job.id()),
            files: &files,
            sharing: &sharing,
            userns: userns.as_ref(),
            stdin: self.container_dir(job.id(), disk.as_deref()).join("stdin"),
            layer: disk.as_ref().map(|disk| disk.join(job.id())),
            metadata_id: self.config.metadata.id(job.id()),
            credentials_id: self.roles.id(&job.task),
            provided: &provided,
            routed: &routed,
            gpus: &gpus,
        };
        let mut tries = 1;
        loop {
            // Of this image: what it declares is known only now.
            let declared = image_volumes::declared(job, &image, &ours)?;
            let volumes = self.volumes.of(job, declared, disk.as_deref(), userns.as_ref().map(|u| u.mapping)).await?;
            let spec = spec::build(job, &image, &[volumes, ours.clone()].concat(), &places);
            let (created, _) = match job.run {
                0 => self.persist(|| self.runtime.create(spec.clone())).await,
                _ => self.persist(|| self.runtime.renew(spec.clone())).await,
            };
            match created {
                Err(CreateError::Oci(text)) if tries < SHIM_TRIES && SHIM_FAILED.iter().any(|w| text.contains(w)) => {
                    tracing::warn!(container = spec.id, error = text, "its shim did not start; making it anew");
                    tries += 1;
                    self.effects.sleep(SHIM_PAUSE).await;
                    if job.run == 0 {
                        self.runtime.remove(&spec.id).await.map_err(|e| fail(&e))?;
                    }
                }
                Err(CreateError::NoSuchImage(_)) if tries == 1 => {
                    // Thought unused since it was pulled.
                    tries += 1;
                    image = self.pull_image(job).await?;
                }
                outcome => return outcome.map_err(|e| create_failure(&e)),
            }
        }
    }

    /// What a container is shown besides volumes and the usual files: its secrets, and what it needs as the task's log router.
    async fn ours(&self, job: &Job, provided: &Provided) -> Result<Vec<BindMount>, Failure> {
        let more = provided.router_config.as_ref().map(model::vault::Plain::reveal);
        let mut ours = Vec::from_iter(self.secret_files.of(job).await?);
        ours.extend(self.routers.mounts(job, self.config.ec2_instance.as_deref(), more)?);
        Ok(ours)
    }

    async fn start_container(&self, job: &Job) -> Result<(), Failure> {
        let (started, again) = self.persist(|| self.runtime.start(job.id())).await;
        started.map_err(|e| {
            let timeout = matches!(e, CreateError::Runtime(RuntimeError::Timeout(_)));
            Failure::new(if timeout { "DockerTimeoutError" } else { "CannotStartContainerError" }, e)
        })?;
        // It may have run and ended while nobody answered.
        match if again { self.look(job).await? } else { Seen::Alive } {
            Seen::Alive => Ok(()),
            Seen::Exited { .. } | Seen::Absent => {
                Err(Failure::new("CannotStartContainerError", "it has ended already"))
            }
        }
    }

    async fn look(&self, job: &Job) -> Result<Seen, Failure> {
        let (status, _) = self.persist(|| self.runtime.status(job.id())).await;
        let status = status.map_err(|e| Failure::new("CannotInspectContainerError", e))?;
        Ok(match status {
            None => Seen::Absent,
            Some(status) => match status.state {
                ContainerState::Created | ContainerState::Running => Seen::Alive,
                ContainerState::Stopped => Seen::Exited {
                    code: status.exit_code.and_then(|code| i32::try_from(code).ok()),
                    oom: status.oom_killed,
                },
            },
        })
    }

    async fn try_health(&self, job: &Job) -> Probed {
        let Some(check) = &job.container().health_check else { return Probed::Unknown };
        let Some(argv) = check.argv() else { return Probed::Unknown };
        let limit = Duration::from_secs(check.timeout.into());
        let end = self.runtime.exec(job.id(), &argv, limit).await;
        tracing::debug!(container = job.id(), ?end, "a health check was tried");
        match end {
            Ok(ExecEnd::Exited(0)) => Probed::Passed,
            Ok(ExecEnd::Exited(_) | ExecEnd::TimedOut | ExecEnd::NotStarted(_)) => Probed::Failed,
            Err(_) => Probed::Unknown,
        }
    }

    async fn remove_all(&self, job: &Job) -> Result<(), Failure> {
        let fail = |e: &dyn std::fmt::Display| Failure::new("CannotRemoveContainerError", e);
        self.pulled().remove(job.id());
        let (removed, _) = self.persist(|| self.runtime.remove(job.id())).await;
        removed.map_err(|e| fail(&e))?;
        let _ = self.ahead.end(job.id()).await;
        self.network.remove(job).await.map_err(|e| fail(&chain(&e)))?;
        // What is on a disk of the task's own goes with that.
        etc::remove(&self.container_dir(job.id(), None)).map_err(|e| fail(&e))
    }

    async fn take_over(&self, known: Vec<Job>, attached: Vec<Arc<TaskPlan>>) -> Result<(), Failure> {
        let fail = |e: &dyn std::fmt::Display| Failure::new("CannotListContainersError", e);
        let mine = BTreeMap::from([(INSTANCE_LABEL.to_owned(), self.config.instance.clone())]);
        let (there, _) = self.persist(|| self.runtime.list(&mine)).await;
        let tasks = || known.iter().map(|job| &job.task).chain(&attached);
        let mut ids: HashSet<String> = known.iter().map(|job| job.id().to_owned()).collect();
        ids.extend(tasks().map(|task| shared::holder(task)));
        for container in there.map_err(|e| fail(&e))? {
            if !ids.contains(&container.id) {
                tracing::warn!(container = container.id, "a container that the ledger does not know is removed");
                self.runtime.remove(&container.id).await.map_err(|e| fail(&e))?;
            }
        }
        for task in &attached {
            // Before the VPCs make what is missing of it.
            let netns = self.vpcs.netns(task).map_err(|e| fail(&chain(&e)))?;
            self.users.own_network(task, netns).await.map_err(|e| fail(&e))?;
        }
        let mut kept = self.vpcs.kept(&attached).await.map_err(|e| fail(&chain(&e)))?;
        kept.extend(self.users.kept(tasks()).map_err(|e| fail(&chain(&e)))?);
        self.vpcs.adopt(&attached);
        self.volumes.adopt(tasks()).await.map_err(|e| fail(&e))?;
        self.file_systems.adopt(tasks());
        self.routers.adopt(tasks()).map_err(|e| fail(&e))?;
        self.disks.adopt(tasks()).await.map_err(|e| fail(&e))?;
        self.network.adopt(&known, kept).await.map_err(|e| fail(&chain(&e)))
    }

    async fn clear_task(&self, task: &Arc<TaskPlan>) -> Result<(), Failure> {
        self.secret_files.remove(task).await?;
        self.provisions.forget(task);
        self.roles.forget(task);
        let removed = self.users.remove(task).await;
        removed.map_err(|e| Failure::new("CannotRemoveContainerError", chain(&e)))?;
        self.vpcs.detach(task).await?;
        self.unshare(task).await?;
        self.volumes.remove(task).await?;
        self.file_systems.remove(task).await?;
        self.routers.remove(task).await?;
        self.disks.remove(task).await?;
        let removed = self.cgroups.remove(&self.task_cgroup(task), &self.effects).await;
        removed.map_err(|e| Failure::new("CannotRemoveContainerError", format_args!("the task's cgroup: {e}")))
    }
}

impl Node for RealNode {
    fn pull(&self, job: Job) -> BoxFuture<'_, Result<Pulled, Failure>> {
        async move { self.pull_and_connect(&job).await }.boxed()
    }

    fn connect(&self, job: Job) -> BoxFuture<'_, Result<Endpoint, Failure>> {
        async move {
            match self.ahead.end(job.id()).await {
                Some(endpoint) => Ok(endpoint),
                None => self.network.connect(&job).await,
            }
        }
        .boxed()
    }

    fn create(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>> {
        async move { self.create_container(&job).await }.boxed()
    }

    fn start(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>> {
        async move { self.start_container(&job).await }.boxed()
    }

    fn signal(&self, job: Job, kill: bool) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            let polite = job.pulled.as_ref().map_or(SIGTERM, |p| p.stop_signal);
            let signal = if kill { SIGKILL } else { polite };
            let (sent, _) = self.persist(|| self.runtime.signal(job.id(), signal, kill)).await;
            if kill {
                self.file_systems.interrupt(&job.task);
            }
            sent.map_err(|e| Failure::new("CannotStopContainerError", e))
        }
        .boxed()
    }

    fn inspect(&self, job: Job) -> BoxFuture<'_, Result<Seen, Failure>> {
        async move { self.look(&job).await }.boxed()
    }

    fn probe(&self, job: Job) -> BoxFuture<'_, Probed> {
        async move { self.try_health(&job).await }.boxed()
    }

    fn remove(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>> {
        async move { self.remove_all(&job).await }.boxed()
    }

    fn carry(&self, networks: Networks) {
        self.vpcs.carry(networks);
    }

    fn refresh(&self, tasks: Vec<Arc<TaskPlan>>) {
        self.secret_files.refresh(tasks);
    }

    fn fetch_ahead(&self, images: Vec<Arc<str>>) {
        self.fetcher.want(images, || fetch::Tools {
            runtime: self.runtime.clone(),
            asking: self.config.asking(),
            dir: self.config.data_dir.clone(),
            effects: self.effects.clone(),
        });
    }

    fn attach(&self, task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.disks.begin(&task);
            let fail = |e: &dyn std::fmt::Display| Failure::new("ResourceInitializationError", e);
            let netns = self.vpcs.netns(&task).map_err(|e| fail(&chain(&e)))?;
            self.users.own_network(&task, netns).await.map_err(|e| fail(&e))?;
            self.vpcs.attach(&task).await
        }
        .boxed()
    }

    fn provide(&self, task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            let provision = self.provisions.of(&task).await?;
            self.file_systems.mount(&task, &provision).await
        }
        .boxed()
    }

    fn logging(&self, job: Job) -> BoxFuture<'_, Result<LogKit, Failure>> {
        async move {
            let secret_options = self.provisions.log_options(&job.task, job.at).await?;
            let router = job.task.router().map(|router| {
                let netns = self.network.netns_of(&job.task, router);
                netns.map(|netns| self.routers.way(&job.task, netns))
            });
            let router = router.transpose().map_err(|e| Failure::new("CannotStartContainerError", chain(&e)))?;
            let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
            Ok(LogKit { secret_options, router, hostname })
        }
        .boxed()
    }

    fn clear(&self, task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>> {
        async move { self.clear_task(&task).await }.boxed()
    }

    fn measure(&self, task: &TaskPlan) -> Option<Reading> {
        let group = self.task_cgroup(task);
        let cpu = self.cgroups.cpu_usage(&group)?;
        let memory = self.cgroups.working_set(&group)?;
        Some(Reading { cpu_millis: u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX), memory })
    }

    fn forget(&self, task: Arc<TaskPlan>) -> BoxFuture<'_, ()> {
        async move {
            // A log driver may have asked since the task was cleared away.
            self.provisions.forget(&task);
            let logs = self.config.data_dir.join("logs");
            for (at, id) in task.ids.iter().enumerate() {
                let done = match task.output(at) {
                    Output::Kept(_) => put_aside(&logs, id),
                    Output::Shipped(_) | Output::Sent(_) | Output::Unusable(_) => {
                        crate::files::remove(&LogHub::file(&logs, id))
                            .and_then(|()| crate::files::remove(&logs.join(format!("{id}.offset"))))
                    }
                };
                if let Err(error) = done {
                    tracing::warn!(container = %id, %error, "a log file stays behind");
                }
            }
        }
        .boxed()
    }

    fn adopt(&self, known: Vec<Job>, attached: Vec<Arc<TaskPlan>>) -> BoxFuture<'_, Result<(), Failure>> {
        self.take_over(known, attached).boxed()
    }

    fn watch(&self) -> BoxStream<'static, NodeEvent> {
        let runtime = self.runtime.clone();
        let events = self.runtime.watch().filter_map(move |event| {
            let runtime = runtime.clone();
            async move {
                Some(match event {
                    RuntimeEvent::Connected => vec![NodeEvent::Connected],
                    RuntimeEvent::Oom { id } => vec![NodeEvent::OutOfMemory { id }],
                    RuntimeEvent::Exited { id, exit_code, .. } => {
                        let mut told = Vec::new();
                        // The exit may overtake the news of its cause.
                        if exit_code == KILLED && runtime.status(&id).await.ok().flatten().is_some_and(|s| s.oom_killed)
                        {
                            told.push(NodeEvent::OutOfMemory { id: id.clone() });
                        }
                        told.push(NodeEvent::Exited { id, code: i32::try_from(exit_code).unwrap_or(i32::MAX) });
                        told
                    }
                    RuntimeEvent::Started { .. } | RuntimeEvent::Deleted { .. } => return None,
                })
            }
        });
        events.flat_map(futures::stream::iter).boxed()
    }
}

//! Containers as containerd has them: a record with labels, a snapshot for its filesystem, and, while a shim looks
//! after it, a task. Any of the three may be missing after a crash; everything here starts from that.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, SystemTime};

use prost_types::{Any, Timestamp};
use tonic::{Code, Status};

use super::api::containerd::runc::v1::Options;
use super::api::containerd::services::containers::v1 as containers;
use super::api::containerd::services::snapshots::v1 as snapshots;
use super::api::containerd::services::tasks::v1 as tasks;
use super::api::containerd::types::Mount;
use super::api::containerd::v1::types::{Process, Status as TaskState};
use super::client::{Client, ask, ask_if, raw, trouble};
use super::{
    Containerd, RUNTIME, SNAPSHOTTER, bundles, devices, environment, fill, layer, machine, runsc, shims, store,
};
use crate::container::{ContainerSpec, ContainerState, ContainerStats, ContainerStatus, ContainerSummary};
use crate::error::{CreateError, RuntimeError};
use crate::image::{self, Image, Platform};
use crate::oci::{self, Device, Facts, ULIMITS, users};
use crate::oci_runtime::OciRuntime;
use crate::tree;
use crate::userns::UserNamespace;

/// Our own label: where its control group is, to ask it about memory and to clear it.
pub(super) const CGROUP_LABEL: &str = "longshore.io/cgroup";
/// Our own label: which OCI runtime made it, where it is not runc.
pub(super) const RUNTIME_LABEL: &str = "longshore.io/oci-runtime";
/// Keeps the snapshot from the collector until we remove it ourselves.
const GC_ROOT: &str = "containerd.io/gc.root";
/// The longest id containerd takes.
const LONGEST_ID: usize = 76;
/// Where runc keeps what it knows of containers, when containerd calls it.
const RUNC_ROOT: &str = "/run/containerd/runc";
/// After SIGKILL; longer means the process hangs in the kernel.
const DEATH_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two attempts to clear away a task that has just been killed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Containerd {
    pub(super) async fn create_container(&self, spec: &ContainerSpec) -> Result<(), CreateError> {
        check_id(&spec.id)?;
        match spec.oci_runtime {
            OciRuntime::Runc => {}
            OciRuntime::Runsc => runsc::check(spec)?,
        }
        if let Some(folder) = &spec.rootfs {
            return self.create_of_folder(spec, folder).await;
        }
        let image = match &spec.pulled {
            Some(image) => image.clone(),
            None => {
                let name = image::normalize(&spec.image).map_err(|e| CreateError::InvalidSpec(e.to_string()))?;
                let found = self.images.named(&self.client, &name, &Platform::host()).await?;
                found.ok_or(CreateError::NoSuchImage(name))?
            }
        };
        // The filesystem is the first thing made of a container and the last thing removed.
        let mounts = match self.prepare(spec, &image).await? {
            Some(mounts) => mounts,
            None if self.process(&spec.id).await?.is_some() => return Ok(()),
            None => {
                // Half made before. Made anew, because nobody can tell how far it came.
                self.remove_container(&spec.id).await?;
                let again = self.prepare(spec, &image).await?;
                again.ok_or_else(|| CreateError::Oci(format!("{} is being made by somebody else", spec.id)))?
            }
        };
        self.make_or_clear(spec, &image.name, mounts).await
    }

    /// One without an image, and so without a filesystem that would tell whether it was made before.
    async fn create_of_folder(&self, spec: &ContainerSpec, folder: &std::path::Path) -> Result<(), CreateError> {
        if self.process(&spec.id).await?.is_some() {
            return Ok(());
        }
        self.remove_container(&spec.id).await?;
        let options = ["rbind", "rw"].map(str::to_owned).to_vec();
        let source = folder.display().to_string();
        let mount = Mount { r#type: "bind".into(), source, options, ..Mount::default() };
        self.make_or_clear(spec, "", vec![mount]).await
    }

    async fn make_or_clear(&self, spec: &ContainerSpec, image: &str, mounts: Vec<Mount>) -> Result<(), CreateError> {
        let made = self.make(spec, image, mounts).await;
        self.end_clones(spec).await;
        if made.is_err()
            && let Err(error) = self.remove_container(&spec.id).await
        {
            tracing::warn!(%error, id = spec.id, "what is left of a container that could not be created stays");
        }
        made
    }

    /// A filesystem on top of the image, writable where it is to hold what the container writes; `None` if there is one of that
    /// name.
    async fn prepare(&self, spec: &ContainerSpec, image: &Image) -> Result<Option<Vec<Mount>>, CreateError> {
        let request = snapshots::PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.into(),
            key: spec.id.clone(),
            parent: image.chain_id.clone(),
            labels: HashMap::from([(GC_ROOT.to_owned(), "1".to_owned())]),
        };
        let what = "prepare filesystem";
        let mounts = match &spec.layer {
            None => store::prepare(&self.client, what, request).await.map(|answer| answer.mounts),
            Some(_) => store::view(&self.client, what, request).await.map(|answer| answer.mounts),
        };
        match mounts {
            Ok(mounts) => Ok(Some(mounts)),
            Err(status) if status.code() == Code::AlreadyExists => Ok(None),
            Err(status) if status.code() == Code::NotFound => Err(CreateError::NoSuchImage(image.name.clone())),
            Err(status) => Err(oci_error(what, &status)),
        }
    }

    async fn make(&self, spec: &ContainerSpec, image: &str, mounts: Vec<Mount>) -> Result<(), CreateError> {
        let mounts = match &spec.layer {
            None => mounts,
            Some(folder) => layer::on(folder, &mounts).map_err(|e| layer::failed(folder, &e))?,
        };
        let tmp = runsc::tmp(spec);
        let with_tmp = tmp.as_ref().map(|tmp| ContainerSpec {
            mounts: [spec.mounts.as_slice(), std::slice::from_ref(tmp)].concat(),
            ..spec.clone()
        });
        let spec = with_tmp.as_ref().unwrap_or(spec);
        if let Some(tmp) = &tmp {
            std::fs::create_dir(&tmp.source).map_err(|e| layer::failed(&tmp.source, &e))?;
        }
        if spec.mounts.iter().any(|mount| mount.fill.is_some()) {
            let _one = self.filling.lock().await;
            let (image, wanted) = (mounts.clone(), spec.mounts.clone());
            let filled = tokio::task::spawn_blocking(move || fill::fill(&image, &wanted)).await;
            filled.expect("filling folders does not panic")?;
        }
        if let Some(tmp) = &tmp {
            layer::open_to_all(&tmp.source).map_err(|e| layer::failed(&tmp.source, &e))?;
        }
        let file = |name: &str| machine::file_of(&mounts, "etc", name);
        let identity = users::resolve(&spec.user, &file("passwd"), &file("group"))?;
        let (shown, mounts) = self.as_own_users_see(spec, mounts, true).await?;
        let spec = shown.as_ref().unwrap_or(spec);
        let mut facts = Facts {
            secret_env: Vec::new(),
            identity,
            available: self.capabilities.clone(),
            init: spec.init.then(|| self.init.clone()),
            cgroup_v2: self.cgroups.is_v2(),
            devices: devices_of(spec).await?,
        };
        if spec.secret_env.0.iter().any(|variable| variable.contains('\0')) {
            return Err(CreateError::InvalidSpec("a NUL byte in a secret".into()));
        }
        let token = u128::from_be_bytes(self.effects.bytes::<16>());
        let handed = environment::hand_over(&self.socket, &spec.id, &spec.secret_env, token).await;
        // Until the container is made.
        let _handed;
        (facts.secret_env, _handed) = handed.map_err(|e| CreateError::InvalidSpec(format!("its secrets: {e}")))?;
        let document = oci::document(spec, &facts)?.to_string();
        self.prepare_host(spec)?;

        let mut labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
        labels.insert(CGROUP_LABEL.to_owned(), spec.cgroup_path.clone());
        if spec.oci_runtime != OciRuntime::default() {
            labels.insert(RUNTIME_LABEL.to_owned(), spec.oci_runtime.name().to_owned());
        }
        let options = self.options(spec.oci_runtime, spec.userns.as_ref());
        let record = containers::Container {
            id: spec.id.clone(),
            labels,
            image: image.to_owned(),
            runtime: Some(containers::container::Runtime { name: RUNTIME.into(), options: Some(options.clone()) }),
            spec: Some(any("types.containerd.io/opencontainers/runtime-spec/1/Spec", document.into_bytes())),
            snapshotter: if spec.rootfs.is_none() { SNAPSHOTTER.into() } else { String::new() },
            snapshot_key: if spec.rootfs.is_none() { spec.id.clone() } else { String::new() },
            ..Default::default()
        };
        let request = containers::CreateContainerRequest { container: Some(record) };
        let what = "record container";
        raw(what, self.client.containers().create(request)).await.map_err(|s| oci_error(what, &s))?;

        self.keeper.keep(&self.client, &spec.id).await?;
        self.make_task(spec, mounts, options).await
    }

    fn options(&self, runtime: OciRuntime, userns: Option<&UserNamespace>) -> Any {
        let text = |path: Option<&std::path::Path>| path.map(|p| p.display().to_string()).unwrap_or_default();
        let options = Options {
            binary_name: text(self.program(runtime).as_deref()),
            root: text(runtime.root()),
            // So that the container may open anew what it writes to, as `/dev/stdout`.
            io_uid: userns.map_or(0, |userns| userns.mapping.first_user),
            io_gid: userns.map_or(0, |userns| userns.mapping.first_group),
            ..Options::default()
        };
        any("containerd.runc.v1.Options", prost::Message::encode_to_vec(&options))
    }

    async fn make_task(&self, spec: &ContainerSpec, mounts: Vec<Mount>, options: Any) -> Result<(), CreateError> {
        let (stdout, stderr) = self.output(spec);
        let request = tasks::CreateTaskRequest {
            container_id: spec.id.clone(),
            rootfs: if self.volatile_overlay { volatile(mounts) } else { mounts },
            stdin: spec.stdin.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            stdout,
            stderr,
            terminal: spec.terminal,
            options: Some(options),
            ..Default::default()
        };
        let what = "create container";
        raw(what, self.client.tasks().create(request)).await.map_err(|s| oci_error(what, &s))?;
        Ok(())
    }

    /// Where containerd's shim is to put what is said. On a terminal all of it is one stream, for which it has no files.
    fn output(&self, spec: &ContainerSpec) -> (String, String) {
        let Some(path) = &spec.log_file else { return Default::default() };
        if spec.terminal {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("file", &path.display().to_string());
            return (format!("binary://{}?{}", self.terminal.display(), query.finish()), String::new());
        }
        let log = format!("file://{}", path.display());
        (log.clone(), log)
    }

    /// Another process in place of one that has ended, over what the container has written. One that waits to be started, or
    /// runs, stays.
    pub(super) async fn renew_container(&self, spec: &ContainerSpec) -> Result<(), CreateError> {
        let id = spec.id.as_str();
        if self.process(id).await?.is_some_and(|process| state(&process) != ContainerState::Stopped) {
            return Ok(());
        }
        let record = self.record(id).await?.ok_or_else(|| CreateError::Oci(format!("{id} is there no more")))?;
        let cgroup = record.labels.get(CGROUP_LABEL).cloned();
        let had_task = self.remove_task(id, cgroup.as_deref()).await?;
        self.clear_rest(id, had_task, cgroup.as_deref()).await?;
        let request = snapshots::MountsRequest { snapshotter: SNAPSHOTTER.into(), key: id.to_owned() };
        let what = "mount filesystem";
        let answer = raw(what, self.client.snapshots().mounts(request)).await.map_err(|s| oci_error(what, &s))?;
        let mounts = match &spec.layer {
            None => answer.mounts,
            Some(folder) => layer::again(folder, &answer.mounts),
        };
        mounts.iter().try_for_each(forget_volatile).map_err(|e| CreateError::Oci(format!("mount filesystem: {e}")))?;
        let mark = environment::mark_of(&record);
        let handed = mark.map(|mark| environment::hand(&self.socket, id, &spec.secret_env, &mark)).transpose();
        // Until the task is made.
        let _handed = handed.map_err(|e| CreateError::InvalidSpec(format!("its secrets: {e}")))?;
        let made = match self.as_own_users_see(spec, mounts, false).await {
            // By what made it, whatever the machine is set to by now.
            Ok((_, mounts)) => self.make_task(spec, mounts, self.options(made_by(&record), spec.userns.as_ref())).await,
            Err(error) => Err(error),
        };
        self.end_clones(spec).await;
        made
    }

    /// What must be on the host before: the log's directory, what is read from, and a folder for the OCI runtime's records.
    fn prepare_host(&self, spec: &ContainerSpec) -> Result<(), CreateError> {
        if let Some(log) = &spec.log_file {
            let directory = log.parent().filter(|_| log.is_absolute());
            let directory = directory
                .ok_or_else(|| CreateError::InvalidSpec(format!("log file {} is not absolute", log.display())))?;
            std::fs::create_dir_all(directory)
                .map_err(|e| CreateError::InvalidSpec(format!("log directory {}: {e}", directory.display())))?;
        }
        if let Some(root) = spec.oci_runtime.root() {
            // runsc lets everybody read its records, and they hold the containers' environments.
            let private = std::fs::create_dir_all(root)
                .and_then(|()| std::fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o700)));
            private.map_err(|e| CreateError::InvalidSpec(format!("{}: {e}", root.display())))?;
        }
        if let Some(stdin) = &spec.stdin {
            use rustix::fs::{CWD, FileType, Mode, mknodat};
            match mknodat(CWD, stdin, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(e) => return Err(CreateError::InvalidSpec(format!("standard input {}: {e}", stdin.display()))),
            }
        }
        Ok(())
    }

    pub(super) async fn start_container(&self, id: &str) -> Result<u32, CreateError> {
        let what = "start container";
        let request = tasks::StartRequest { container_id: id.to_owned(), ..Default::default() };
        match raw(what, self.client.tasks().start(request)).await {
            Ok(answer) => Ok(answer.pid),
            // Started before, by us or by who came before us.
            Err(status) => match self.process(id).await? {
                Some(process) if state(&process) != ContainerState::Created => Ok(process.pid),
                Some(_) | None => Err(oci_error(what, &status)),
            },
        }
    }

    pub(super) async fn container_status(&self, id: &str) -> Result<Option<ContainerStatus>, RuntimeError> {
        let Some(record) = self.record(id).await? else { return Ok(None) };
        let process = self.process(id).await?;
        Ok(Some(self.status_of(&record, process.as_ref())))
    }

    pub(super) async fn list_containers(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let what = "list containers";
        // Records carry whole documents: streamed one by one, so that no answer outgrows the largest message.
        let request = containers::ListContainersRequest::default();
        let mut stream = ask(what, self.client.containers().list_stream(request)).await?;
        let mut records = Vec::new();
        while let Some(message) = stream.message().await.map_err(|s| trouble(what, &s))? {
            records.extend(message.container.filter(|c| labels.iter().all(|(k, v)| c.labels.get(k) == Some(v))));
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let answer = ask("list tasks", self.client.tasks().list(tasks::ListTasksRequest::default())).await?;
        let processes: HashMap<String, Process> = answer.tasks.into_iter().map(|p| (name_of(&p), p)).collect();
        let summary = |record: containers::Container| ContainerSummary {
            status: self.status_of(&record, processes.get(&record.id)),
            labels: record.labels.into_iter().filter(|(key, _)| key != CGROUP_LABEL && key != RUNTIME_LABEL).collect(),
            id: record.id,
        };
        Ok(records.into_iter().map(summary).collect())
    }

    pub(super) async fn remove_container(&self, id: &str) -> Result<(), RuntimeError> {
        environment::forget(&self.socket, id);
        let record = self.record(id).await?;
        let cgroup = record.and_then(|r| r.labels.get(CGROUP_LABEL).cloned());
        let had_task = self.remove_task(id, cgroup.as_deref()).await?;
        let request = containers::DeleteContainerRequest { id: id.to_owned() };
        ask_if("forget container", Code::NotFound, self.client.containers().delete(request)).await?;
        self.keeper.forget(&self.client, id).await?;
        let request = snapshots::RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.into(), key: id.to_owned() };
        ask_if("remove filesystem", Code::NotFound, self.client.snapshots().remove(request)).await?;
        self.clear_rest(id, had_task, cgroup.as_deref()).await
    }

    /// What a task leaves besides its record and its filesystem.
    async fn clear_rest(&self, id: &str, had_task: bool, cgroup: Option<&str>) -> Result<(), RuntimeError> {
        // A shim with a task was ended with it. Looked for only otherwise, because it takes reading all of /proc.
        if let (false, Some(address)) = (had_task, self.socket.to_str()) {
            shims::end(&shims::Owner { namespace: &self.namespace, id, address });
            let removed = bundles::remove(&self.socket, &self.namespace, id);
            removed.map_err(|e| RuntimeError::Other(format!("remove bundle: {e}")))?;
        }
        if let Some(cgroup) = cgroup
            && self.cgroups.exists(cgroup)
        {
            // The OCI runtime clears its own; it could not if its shim was killed.
            let removed = self.cgroups.remove(cgroup, &self.effects).await;
            removed.map_err(|e| RuntimeError::Other(format!("remove cgroup: {e}")))?;
        }
        if !had_task {
            // Else runc says of the next one that it "already exists", if this one's shim was killed while it was made.
            let state = Path::new(RUNC_ROOT).join(&self.namespace).join(id);
            let removed = bundles::if_there(std::fs::remove_dir_all(state));
            removed.map_err(|e| RuntimeError::Other(format!("remove runc's state: {e}")))?;
        }
        // After its sandbox, which the control group ended if nobody else did. Also where no record tells who made it.
        self.forget_sandbox(id).map_err(|e| RuntimeError::Other(format!("remove sandbox record: {e}")))
    }

    /// True if there was one.
    async fn remove_task(&self, id: &str, cgroup: Option<&str>) -> Result<bool, RuntimeError> {
        let deadline = self.effects.monotonic() + DEATH_TIMEOUT;
        let mut through_runc = false;
        loop {
            let request = tasks::DeleteTaskRequest { container_id: id.to_owned() };
            let status = match raw("clear away task", self.client.tasks().delete(request)).await {
                Ok(_) => return Ok(true),
                Err(status) if status.code() == Code::NotFound => return Ok(false),
                Err(status) => status,
            };
            if status.code() == Code::Unavailable && self.effects.monotonic() >= deadline {
                return Err(trouble("clear away task", &status));
            }
            if self.effects.monotonic() >= deadline {
                return Err(RuntimeError::Timeout(format!("{id} does not die: {}", status.message())));
            }
            // Still alive: a task is only cleared away once its process has ended. Through the control group if we
            // know it, because each signal through containerd is a run of runc, 12 ms of CPU.
            let known = cgroup.filter(|path| !through_runc && self.cgroups.exists(path));
            match known {
                Some(path) => {
                    let killed = self.cgroups.kill_all(path);
                    killed.map_err(|e| RuntimeError::Other(format!("kill cgroup: {e}")))?;
                }
                None => self.signal_through_runc(id, libc::SIGKILL, true).await?,
            }
            through_runc = true;
            let request = tasks::WaitRequest { container_id: id.to_owned(), ..Default::default() };
            // Whatever it answers, deleting tells whether it is over.
            let waited = tokio::time::timeout(DEATH_TIMEOUT, Box::pin(self.client.tasks().wait(request))).await;
            if !matches!(waited, Ok(Ok(_))) {
                self.effects.sleep(LOOK_AGAIN).await;
            }
        }
    }

    pub(super) async fn container_stats(&self, id: &str) -> Result<Option<ContainerStats>, RuntimeError> {
        let Some(record) = self.record(id).await? else { return Ok(None) };
        let Some(cgroup) = record.labels.get(CGROUP_LABEL) else { return Ok(None) };
        let read = || {
            Some(ContainerStats {
                cpu: self.cgroups.cpu_usage(cgroup)?,
                memory_bytes: self.cgroups.memory_usage(cgroup)?,
                pids: self.cgroups.pids_current(cgroup).unwrap_or(0),
            })
        };
        Ok(read())
    }

    pub(super) async fn record(&self, id: &str) -> Result<Option<containers::Container>, RuntimeError> {
        let request = containers::GetContainerRequest { id: id.to_owned() };
        let answer = ask_if("read container", Code::NotFound, self.client.containers().get(request)).await?;
        Ok(answer.and_then(|a| a.container))
    }

    pub(super) async fn process(&self, id: &str) -> Result<Option<Process>, RuntimeError> {
        process(&self.client, id).await
    }

    fn status_of(&self, record: &containers::Container, process: Option<&Process>) -> ContainerStatus {
        let cgroup = record.labels.get(CGROUP_LABEL);
        let oom_killed = cgroup.and_then(|path| self.cgroups.oom_kills(path)).is_some_and(|kills| kills > 0);
        let Some(process) = process else {
            // Its shim is gone, and with it the exit code.
            let state = ContainerState::Stopped;
            return ContainerStatus { state, pid: 0, exit_code: None, exited_at: None, oom_killed };
        };
        let state = state(process);
        let told = process.status == TaskState::Stopped as i32;
        ContainerStatus {
            state,
            pid: process.pid,
            exit_code: told.then_some(process.exit_status),
            exited_at: process.exited_at.as_ref().filter(|_| told).and_then(system_time),
            oom_killed,
        }
    }
}

async fn devices_of(spec: &ContainerSpec) -> Result<Vec<Device>, CreateError> {
    if !spec.privileged && spec.devices.is_empty() {
        return Ok(Vec::new());
    }
    let spec = spec.clone();
    tokio::task::spawn_blocking(move || devices::of(&spec)).await.expect("looking at devices does not panic")
}

/// What made a container. One without the label was made by runc: by us, or by a version that knew no other.
pub(super) fn made_by(record: &containers::Container) -> OciRuntime {
    record.labels.get(RUNTIME_LABEL).and_then(|name| name.parse().ok()).unwrap_or_default()
}

async fn process(client: &Client, id: &str) -> Result<Option<Process>, RuntimeError> {
    let request = tasks::GetRequest { container_id: id.to_owned(), ..Default::default() };
    let answer = ask_if("read task", Code::NotFound, client.tasks().get(request)).await?;
    Ok(answer.and_then(|a| a.process))
}

/// containerd 1.6 puts the container's id into `id` when it reads tasks, as later ones do into `container_id`.
fn name_of(process: &Process) -> String {
    if process.container_id.is_empty() { process.id.clone() } else { process.container_id.clone() }
}

pub(super) fn state(process: &Process) -> ContainerState {
    match TaskState::try_from(process.status).unwrap_or(TaskState::Unknown) {
        TaskState::Created => ContainerState::Created,
        TaskState::Running | TaskState::Paused | TaskState::Pausing => ContainerState::Running,
        TaskState::Stopped => ContainerState::Stopped,
        // The shim did not answer. If the process is there it runs, else it is over.
        TaskState::Unknown if process.pid != 0 && std::path::Path::new(&format!("/proc/{}", process.pid)).exists() => {
            ContainerState::Running
        }
        TaskState::Unknown => ContainerState::Stopped,
    }
}

/// A container's writable layer never outlives the machine's next start, so it need not be synced to disk when it is
/// unmounted: 10 ms less per removal, and much more on a busy disk.
fn volatile(mut mounts: Vec<Mount>) -> Vec<Mount> {
    for mount in mounts.iter_mut().filter(|m| m.r#type == "overlay") {
        mount.options.push("volatile".to_owned());
    }
    mounts
}

/// The kernel mounts no layer again that was not synced, lest the machine has failed since. It has not: a container does not
/// outlive that.
fn forget_volatile(mount: &Mount) -> std::io::Result<()> {
    let work = mount.options.iter().find_map(|option| option.strip_prefix("workdir="));
    let Some(work) = work else { return Ok(()) };
    tree::remove(&std::path::Path::new(work).join("work/incompat/volatile"))
}

fn check_id(id: &str) -> Result<(), CreateError> {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let fine = id.len() <= LONGEST_ID
        && id.starts_with(plain)
        && id.ends_with(plain)
        && id.chars().all(|c| plain(c) || "_.-".contains(c));
    if fine { Ok(()) } else { Err(CreateError::InvalidSpec(format!("container id {id:?} is not valid"))) }
}

fn any(type_url: &str, value: Vec<u8>) -> Any {
    Any { type_url: type_url.to_owned(), value }
}

pub(super) fn system_time(timestamp: &Timestamp) -> Option<SystemTime> {
    SystemTime::try_from(*timestamp).ok()
}

/// What the OCI runtime said, told apart as far as the agent needs it.
fn oci_error(what: &str, status: &Status) -> CreateError {
    let message = status.message();
    let text = message.strip_suffix(": unknown").unwrap_or(message).to_owned();
    if message.contains("no space left on device") {
        return CreateError::NoSpace(text);
    }
    if let Some(rest) = message.split("error setting rlimit type ").nth(1) {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let name = digits.parse::<usize>().ok().and_then(|number| ULIMITS.get(number)).copied();
        return CreateError::Ulimit { name: name.unwrap_or("of unknown kind").to_owned(), message: text };
    }
    let about_command = message.contains("exec: \"") || message.contains("exec /");
    if about_command
        && ["executable file not found", "no such file or directory", "permission denied", "is a directory"]
            .iter()
            .any(|reason| message.contains(reason))
    {
        return CreateError::CommandNotFound(text);
    }
    if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::NotFound)
        || std::error::Error::source(status).is_some()
    {
        return CreateError::Runtime(trouble(what, status));
    }
    CreateError::Oci(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runc_is_understood() {
        let error = |text: &str| oci_error("create container", &Status::unknown(text));
        let prefix = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start \
            container process: ";
        assert!(matches!(
            error(&format!("{prefix}exec: \"nope\": executable file not found in $PATH: unknown")),
            CreateError::CommandNotFound(text) if text.ends_with("$PATH")
        ));
        let rlimit = error(&format!("{prefix}error setting rlimit type 7: operation not permitted: unknown"));
        assert!(matches!(&rlimit, CreateError::Ulimit { name, .. } if name == "nofile"), "{rlimit:?}");
        assert!(matches!(error("write x: no space left on device"), CreateError::NoSpace(_)));
        assert!(matches!(error("something else"), CreateError::Oci(_)));
        let gone = oci_error("x", &Status::unavailable("transport"));
        assert!(matches!(gone, CreateError::Runtime(RuntimeError::Unavailable(_))));
    }

    #[test]
    fn ids_are_checked() {
        for good in ["a", "ecs-web-1-nginx-0a1b", "A.b_c-9"] {
            check_id(good).unwrap();
        }
        for bad in ["", "-a", "a-", "a/b", "a b", "ä", &"x".repeat(77)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }
}

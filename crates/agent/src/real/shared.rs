//! What the containers of a task share besides its network: processes, and IPC with its `/dev/shm` (docs/decisions/0028).
//!
//! As with AWS a process of the agent's own holds the namespaces, so that they outlive any container: the init alone, in a
//! container without an image, made before the first of the task's containers that needs it and removed with what the task itself
//! has left. Shared memory is a mount of the machine's, which all of them are shown.

use super::RealNode;
use crate::{
    node::Failure,
    plan::{INSTANCE_LABEL, TASK_LABEL, TaskPlan},
};
use ::runtime::{BindMount, ContainerSpec, ContainerState, MountSource, Namespace, OciRuntime, UserNamespace};
use model::{IpcMode, MemoryMib, PidMode, TaskDefinitionSpec};
use std::{collections::BTreeMap, fmt::Display, path::PathBuf};

const SHM: &str = "/dev/shm";
/// Docker's size of `/dev/shm`.
const SHM_SIZE: MemoryMib = MemoryMib(64);

/// Whose things a container has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sharing {
    pub(super) pid: Namespace,
    pub(super) ipc: Namespace,
    /// What it is shown as `/dev/shm`, if not one of its own.
    pub(super) shm: Option<BindMount>,
    /// It has no `/dev/shm` at all.
    pub(super) no_shm: bool,
}

/// Whether a task's containers share something that has to be held.
fn is_held(definition: &TaskDefinitionSpec) -> bool {
    definition.pid_mode == Some(PidMode::Task) || definition.ipc_mode == Some(IpcMode::Task)
}

/// The runtime's id of who holds it.
pub(super) fn holder(task: &TaskPlan) -> String {
    format!("{}-holder", task.id())
}

/// The name of its shared memory among the machine's mounts.
pub(super) fn shm(task: &TaskPlan) -> String {
    format!("shm-{}", task.id())
}

fn failed(error: impl Display) -> Failure {
    Failure::new("CannotCreateContainerError", format_args!("what the task's containers share cannot be had: {error}"))
}

/// The largest that one of its containers asks for.
fn shm_size(definition: &TaskDefinitionSpec) -> MemoryMib {
    let asked = definition.containers.iter().filter_map(|c| c.linux_parameters.as_ref()?.shared_memory_size);
    asked.max().unwrap_or(SHM_SIZE)
}

impl RealNode {
    /// What a task's containers share, made if it is not there.
    pub(super) async fn share(&self, task: &TaskPlan, userns: Option<&UserNamespace>) -> Result<Sharing, Failure> {
        let definition = &task.definition;
        let mut sharing = Sharing::default();
        if definition.pid_mode.is_none() && definition.ipc_mode.is_none() {
            return Ok(sharing);
        }
        if self.config.oci_runtime == OciRuntime::Runsc {
            return Err(failed("pidMode and ipcMode cannot be had under the runtime runsc"));
        }
        let held = if is_held(definition) { Some(self.hold(task, userns).await?) } else { None };
        let of_holder = |kind: &str| match held {
            Some(pid) => Namespace::Path(format!("/proc/{pid}/ns/{kind}").into()),
            None => Namespace::Own,
        };
        let shown =
            |source: PathBuf| BindMount { source, target: SHM.into(), read_only: false, fill: None, as_is: false };
        match definition.pid_mode {
            Some(PidMode::Host) => sharing.pid = Namespace::Host,
            Some(PidMode::Task) => sharing.pid = of_holder("pid"),
            None => {}
        }
        match definition.ipc_mode {
            Some(IpcMode::Host) => (sharing.ipc, sharing.shm) = (Namespace::Host, Some(shown(SHM.into()))),
            Some(IpcMode::Task) => {
                (sharing.ipc, sharing.shm) = (of_holder("ipc"), Some(shown(self.mount_shm(task).await?)));
            }
            Some(IpcMode::None) => sharing.no_shm = true,
            None => {}
        }
        Ok(sharing)
    }

    /// The pid of who holds the task's namespaces.
    async fn hold(&self, task: &TaskPlan, userns: Option<&UserNamespace>) -> Result<u32, Failure> {
        // Two of its containers may be made at once.
        let _one = self.holding.lock().await;
        let id = holder(task);
        let (status, _) = self.persist(|| self.runtime.status(&id)).await;
        match status.map_err(failed)?.map(|status| (status.state, status.pid)) {
            Some((ContainerState::Running, pid)) => return Ok(pid),
            Some((ContainerState::Stopped, _)) => self.runtime.remove(&id).await.map_err(failed)?,
            Some((ContainerState::Created, _)) | None => {}
        }
        let nothing = self.config.run_dir.join("nothing");
        std::fs::create_dir_all(&nothing).map_err(failed)?;
        let mut spec = ContainerSpec::holder(&id, nothing);
        spec.userns = userns.cloned();
        spec.cgroup_path = format!("{}/{id}", self.task_cgroup(task));
        let labels = [(INSTANCE_LABEL, self.config.instance.as_str()), (TASK_LABEL, task.id())];
        spec.labels = BTreeMap::from(labels.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let (created, _) = self.persist(|| self.runtime.create(spec.clone())).await;
        created.map_err(failed)?;
        let (started, _) = self.persist(|| self.runtime.start(&id)).await;
        started.map_err(failed)
    }

    async fn mount_shm(&self, task: &TaskPlan) -> Result<PathBuf, Failure> {
        let _one = self.holding.lock().await;
        let (mounts, name) = (self.mounts.clone(), shm(task));
        let size = shm_size(&task.definition).bytes();
        let source = MountSource {
            kind: "tmpfs".into(),
            device: "shm".into(),
            options: format!("nosuid,nodev,noexec,mode=1777,size={size}"),
        };
        let mounted = tokio::task::spawn_blocking(move || mounts.ensure(&name, &source)).await;
        mounted.expect("mounting does not panic").map_err(failed)
    }

    /// Removes it. The task's containers are gone.
    pub(super) async fn unshare(&self, task: &TaskPlan) -> Result<(), Failure> {
        if !is_held(&task.definition) {
            return Ok(());
        }
        let fail = |e: &dyn Display| {
            Failure::new("CannotRemoveContainerError", format_args!("what the task's containers shared: {e}"))
        };
        let id = holder(task);
        let (removed, _) = self.persist(|| self.runtime.remove(&id)).await;
        removed.map_err(|e| fail(&e))?;
        let (mounts, name) = (self.mounts.clone(), shm(task));
        let removed = tokio::task::spawn_blocking(move || mounts.remove(&name)).await;
        removed.expect("unmounting does not panic").map_err(|e| fail(&e))
    }
}

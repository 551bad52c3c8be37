//! The user namespaces of tasks, where the agent is told to have such: one for each task, with all its network namespaces belonging
//! to it (docs/decisions/0037).
//!
//! They are kept beside the network namespaces, under a name that tells whose they are and who is who in them. So what was begun with
//! one is gone on with, whatever the agent is told by then; and what was begun without one gets no further containers from an agent
//! that is told to have them, since these would see the others' network as strangers.

use super::programs_dir;
use crate::{
    node::Failure,
    plan::{Job, TaskPlan},
};
use ::network::{self as net, NetnsPath};
use ::runtime::{
    IdMapping, NamespaceMaker, UserNamespace,
    userns::{self, UsernsError},
};
use model::{ContainerDefinition, IpcMode, NetworkMode, PidMode, TaskDefinitionSpec};
use std::{
    collections::HashSet,
    fmt::Display,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// What is between a task's id and the numbers in the name of its user namespace.
const MARK: &str = "-user-";
/// Where those who need the machine itself can be placed.
const ELSEWHERE: &str = "place it on an instance without --userns-remap, which the constraint \
                         attribute:longshore.capability.userns-remap !exists finds";

/// Makes them and finds them.
#[derive(Clone)]
pub(super) struct UserNamespaces {
    netns_dir: PathBuf,
    maker: NamespaceMaker,
    /// Who is who in those of new tasks; they have none without it.
    told: Option<IdMapping>,
    /// Held while namespaces are made: two containers may want the same.
    making: Arc<Mutex<()>>,
}

fn failed(error: impl Display) -> Failure {
    Failure::new("CannotCreateContainerError", format_args!("its user namespace: {error}"))
}

/// Whether this machine can have containers in user namespaces: all of it is tried, where an agent with these folders for its data
/// and for what does not outlive a reboot makes containers.
pub(crate) async fn try_userns(
    mapping: IdMapping,
    (data_dir, run_dir): (&Path, &Path),
    containerd: Option<&Path>,
) -> Result<(), UsernsError> {
    let (folder, programs, own) = (data_dir.join("userns-check"), programs_dir(data_dir), run_dir.to_owned());
    // containerd makes them beside its socket.
    let containers = match containerd {
        Some(socket) => socket.parent().unwrap_or(socket).to_owned(),
        None => own.join("containerd"),
    };
    let work = move || {
        let maker = NamespaceMaker::install(&programs);
        let maker = maker.map_err(|source| UsernsError::Folder { path: programs.clone(), source })?;
        userns::open_way(&containers, &own)?;
        userns::check(&folder, &maker, &mapping)
    };
    tokio::task::spawn_blocking(work).await.expect("trying namespaces does not panic")?;
    tracing::info!(%mapping, "containers have users of their own");
    Ok(())
}

/// What cannot be in a user namespace, and what to do about it.
pub(super) fn refusal(definition: &TaskDefinitionSpec, container: &ContainerDefinition) -> Option<String> {
    let linux = container.linux_parameters.as_ref();
    // Docker: words like its own, which people search for.
    let why = if container.privileged == Some(true) {
        "privileged mode is incompatible with user namespaces"
    } else if container.network_mode(definition.effective_network_mode()) == NetworkMode::Host {
        "cannot share the host's network namespace when user namespaces are enabled"
    } else if definition.pid_mode == Some(PidMode::Host) {
        "cannot share the host PID namespace when user namespaces are enabled"
    } else if definition.ipc_mode == Some(IpcMode::Host) {
        "cannot share the host IPC namespace when user namespaces are enabled"
    } else if linux.is_some_and(|linux| !linux.devices.is_empty()) || container.gpus > 0 {
        "devices of the host cannot be used when user namespaces are enabled"
    } else {
        return None;
    };
    Some(format!("{why}: {ELSEWHERE}"))
}

impl UserNamespaces {
    pub(super) fn new(netns_dir: PathBuf, maker: NamespaceMaker, told: Option<IdMapping>) -> Self {
        Self { netns_dir, maker, told, making: Arc::default() }
    }

    /// The one that a container is to be in, if it is to be in one. Its network is there already.
    pub(super) async fn of(&self, job: &Job) -> Result<Option<UserNamespace>, Failure> {
        let found = self.found(job.task.id()).map_err(failed)?;
        if found.is_none() && self.told.is_none() {
            return Ok(None);
        }
        if let Some(why) = refusal(&job.task.definition, job.container()) {
            return Err(Failure::new("CannotCreateContainerError", why));
        }
        found.map(Some).ok_or_else(|| {
            failed("the task was begun before --userns-remap was set, and gets no more containers; start it anew")
        })
    }

    /// Makes a task's network namespace, if it is to belong to a user namespace and is not there.
    pub(super) async fn own_network(&self, task: &Arc<TaskPlan>, network: NetnsPath) -> io::Result<()> {
        let (this, task, held) = (self.clone(), task.clone(), self.hold().await);
        let work = move || {
            // Also one that was begun without.
            if network.exists() {
                return Ok(());
            }
            match this.ensure(&task, &held)? {
                Some(user) => {
                    // Only groups that it has can be named there.
                    let settings = net::container_settings(user.mapping.count - 1);
                    this.maker.network(network.as_path(), &user.path, &settings)
                }
                None => Ok(()),
            }
        };
        tokio::task::spawn_blocking(work).await.expect("making namespaces does not panic")
    }

    /// Takes a task's away. Its containers are gone.
    pub(super) async fn remove(&self, task: &TaskPlan) -> net::Result<()> {
        // Whatever somebody makes who was told to give up is there by then.
        let _held = self.hold().await;
        for name in self.named(task.id())? {
            NetnsPath::new(&self.netns_dir, &name)?.remove().await?;
        }
        Ok(())
    }

    /// Waits until nobody makes any: who was told to give up goes on until what he makes is made.
    pub(super) async fn settle(&self) {
        drop(self.hold().await);
    }

    /// The names of those of these tasks among the instance's namespaces.
    pub(super) fn kept<'a>(&self, tasks: impl Iterator<Item = &'a Arc<TaskPlan>>) -> net::Result<HashSet<String>> {
        let tasks: HashSet<&str> = tasks.map(|task| task.id()).collect();
        let mut names = net::netns::list(&self.netns_dir)?;
        names.retain(|name| name.split_once(MARK).is_some_and(|(task, _)| tasks.contains(task)));
        Ok(names.into_iter().collect())
    }

    async fn hold(&self) -> OwnedMutexGuard<()> {
        self.making.clone().lock_owned().await
    }

    /// The one of a task, made if it is to have one and has none. Blocks.
    fn ensure(&self, task: &TaskPlan, _held: &OwnedMutexGuard<()>) -> io::Result<Option<UserNamespace>> {
        if let Some(found) = self.found(task.id()).map_err(io::Error::other)? {
            return Ok(Some(found));
        }
        let Some(mapping) = self.told else { return Ok(None) };
        let path = self.netns_dir.join(name(task.id(), &mapping));
        self.maker.user(&path, &mapping)?;
        Ok(Some(UserNamespace { path, mapping }))
    }

    fn named(&self, task: &str) -> net::Result<Vec<String>> {
        let mut names = net::netns::list(&self.netns_dir)?;
        names.retain(|name| mapping(task, name).is_some());
        Ok(names)
    }

    fn found(&self, task: &str) -> net::Result<Option<UserNamespace>> {
        for name in self.named(task)? {
            // Not what was half made.
            if let (Some(mapping), true) = (mapping(task, &name), NetnsPath::new(&self.netns_dir, &name)?.exists()) {
                return Ok(Some(UserNamespace { path: self.netns_dir.join(name), mapping }));
            }
        }
        Ok(None)
    }
}

fn name(task: &str, mapping: &IdMapping) -> String {
    format!("{task}{MARK}{}-{}-{}", mapping.first_user, mapping.first_group, mapping.count)
}

/// Who is who in the user namespace of that name, if it is the task's.
fn mapping(task: &str, name: &str) -> Option<IdMapping> {
    let mut numbers = name.strip_prefix(task)?.strip_prefix(MARK)?.split('-').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(IdMapping { first_user: next()?, first_group: next()?, count: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use model::{Device, LinuxParameters};

    #[test]
    fn what_needs_the_machine_itself_is_refused_with_what_to_do() {
        let (_, plain) = testing::assignment(1, &["web"]);
        let refused = |change: &dyn Fn(&mut TaskDefinitionSpec)| {
            let mut definition = (*plain).clone();
            change(&mut definition);
            refusal(&definition, &definition.containers[0])
        };
        assert_eq!(refused(&|_| ()), None);
        assert_eq!(refused(&|d| d.pid_mode = Some(PidMode::Task)), None);
        assert_eq!(refused(&|d| d.ipc_mode = Some(IpcMode::Task)), None);
        assert_eq!(refused(&|d| d.network_mode = Some(NetworkMode::Awsvpc)), None);
        let device = || Device { host_path: "/dev/fuse".into(), container_path: None, permissions: Vec::new() };
        type Change<'a> = &'a dyn Fn(&mut TaskDefinitionSpec);
        let rows: [(Change<'_>, &str); 6] = [
            (&|d| d.containers[0].privileged = Some(true), "privileged mode"),
            (&|d| d.network_mode = Some(NetworkMode::Host), "network namespace"),
            (&|d| d.pid_mode = Some(PidMode::Host), "PID namespace"),
            (&|d| d.ipc_mode = Some(IpcMode::Host), "IPC namespace"),
            (&|d| d.containers[0].gpus = 1, "devices"),
            (
                &|d| {
                    let linux = LinuxParameters { devices: vec![device()], ..LinuxParameters::default() };
                    d.containers[0].linux_parameters = Some(linux);
                },
                "devices",
            ),
        ];
        for (change, what) in rows {
            let why = refused(change).unwrap();
            assert!(why.contains(what) && why.ends_with(ELSEWHERE), "{what}: {why}");
        }
    }

    /// Whatever an agent is told by then: nobody in a task is in another user namespace than its network is of.
    #[test]
    fn a_task_goes_on_as_it_was_begun() {
        // What is mounted goes with the thread, and with those that it starts.
        std::thread::spawn(|| {
            testkit::isolate_mounts().unwrap();
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(goes_on());
        })
        .join()
        .unwrap();
    }

    async fn goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let maker = NamespaceMaker::install(dir.path()).unwrap();
        let netns = dir.path().join("netns");
        let told = |first: Option<u32>| {
            let range = first.map(|first| IdMapping { first_user: first, first_group: first, count: 65_536 });
            UserNamespaces::new(netns.clone(), maker.clone(), range)
        };
        let plan = |n: u32| {
            let (assignment, definition) = testing::assignment(n, &["web"]);
            Arc::new(TaskPlan::new(assignment, definition))
        };
        let job = |plan: &Arc<TaskPlan>| plan.job(0, &plan.fresh().containers[0]);
        let network = |plan: &TaskPlan| NetnsPath::new(&netns, plan.id()).unwrap();
        let (with, without, late) = (plan(1), plan(2), plan(3));

        // Nothing is made where nothing is asked for.
        told(None).own_network(&without, network(&without)).await.unwrap();
        assert!(!netns.exists());
        network(&without).create().await.unwrap();
        assert_eq!(told(None).of(&job(&without)).await.unwrap(), None);
        told(Some(100_000)).own_network(&with, network(&with)).await.unwrap();
        let first = told(Some(100_000)).of(&job(&with)).await.unwrap().unwrap();
        assert!(network(&with).exists() && first.mapping.first_user == 100_000);

        // The one is gone on with under any setting; the other one gets no more, and its network is left alone.
        for first_user in [None, Some(100_000), Some(200_000)] {
            let users = told(first_user);
            users.own_network(&with, network(&with)).await.unwrap();
            assert_eq!(users.of(&job(&with)).await.unwrap(), Some(first.clone()));
        }
        let users = told(Some(200_000));
        users.own_network(&without, network(&without)).await.unwrap();
        let refused = users.of(&job(&without)).await.unwrap_err();
        assert!(refused.to_string().contains("start it anew"), "{refused}");
        // So is one whose agent was killed before it had more than the file.
        std::fs::write(netns.join(name(late.id(), &first.mapping)), "").unwrap();
        users.own_network(&late, network(&late)).await.unwrap();
        assert_eq!(users.of(&job(&late)).await.unwrap().unwrap().mapping.first_user, 200_000);

        assert_eq!(users.kept([&with, &without].into_iter()).unwrap().len(), 1);
        for plan in [&with, &without, &late] {
            users.remove(plan).await.unwrap();
            network(plan).remove().await.unwrap();
        }
        assert_eq!(std::fs::read_dir(&netns).unwrap().count(), 0);
    }

    #[test]
    fn a_name_tells_whose_it_is_and_who_is_who_in_it() {
        let range = IdMapping { first_user: 100_000, first_group: 200_000, count: 65_536 };
        let of_task = name("0123abcd", &range);
        assert_eq!(mapping("0123abcd", &of_task), Some(range));
        for other in ["0123abc", "123abcd", "0123abcd-user"] {
            assert_eq!(mapping(other, &of_task), None);
        }
        for name in ["0123abcd", "0123abcd-user-1-2", "0123abcd-user-1-x-3"] {
            assert_eq!(mapping("0123abcd", name), None);
        }
    }
}

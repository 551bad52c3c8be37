//! The volumes of EFS that a task has: folders of NFS servers, mounted before its containers are made and taken away with what the
//! task has left. Where they are the server says (`super::provisions`).

use crate::{node::Failure, plan::TaskPlan};
use ::runtime::{NfsMounts, NfsSource, TUNNEL_ADDRESS, TunnelTo, Tunnels};
use effects::Effects;
use link::{ExportedFolder, Provision};
use model::{EfsVolume, Export, names::is_ecs_name};
use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::oneshot;

/// Longest name of a host. Source: uname(2).
const MAX_CLIENT: usize = 64;
/// How long the processes of a killed container may take to end by themselves, and then again after each error that they were given.
const ENDS: Duration = Duration::from_secs(2);
/// How often they are given one for each SIGKILL: one that ends closes its files one after the other, and waits for each.
const INTERRUPTIONS: usize = 8;

pub(super) struct FileSystems {
    machine: Machine,
    effects: Effects,
    instance: String,
    /// By task id: held while one of its is mounted or taken away.
    tasks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Ended>>>>,
}

/// What mounts them.
#[derive(Clone)]
struct Machine {
    mounts: NfsMounts,
    tunnels: Tunnels,
    /// Where the program is put that mounts.
    programs: PathBuf,
}

/// What is mounted, and through what.
struct Wanted {
    source: NfsSource,
    tunnel: Option<TunnelTo>,
}

/// Whether nothing of a task is mounted any more.
#[derive(Default)]
struct Ended(bool);

/// The name of the mount that is a task's volume.
pub(super) fn mounted_of(task: &TaskPlan, volume: &str) -> String {
    format!("{}-{volume}", task.id())
}

/// AWS: its words, of the helper that mounts there.
fn failed(error: impl Display) -> Failure {
    let text = format_args!(
        "failed to invoke EFS utils commands to set up EFS volumes: stderr: mount.nfs4: {error} : unsuccessful EFS utils command \
         execution; code: 32"
    );
    Failure::new("ResourceInitializationError", text)
}

impl Machine {
    async fn mount(&self, name: &str, wanted: Wanted, instance: &str) -> io::Result<()> {
        let Some(to) = wanted.tunnel else {
            return self.mounts.ensure(name, &wanted.source, &self.programs).await.map(drop);
        };
        let tunnel = self.tunnels.ensure(&to).await?;
        let (host, port) = (TUNNEL_ADDRESS.to_string(), tunnel.port());
        // What two connections lead to that one client makes, the kernel finds out and uses the first of them for all: what is to travel
        // encrypted would travel with what is not.
        let source = NfsSource { host, port, client: client(format_args!("{port}-{instance}")), ..wanted.source };
        let mounted = self.mounts.ensure(name, &source, &self.programs).await;
        mounted.map(drop).map_err(|error| match tunnel.trouble() {
            Some(said) => io::Error::other(format!("{error} (TLS to {}:{}: {said})", to.host, to.port)),
            None => error,
        })
    }

    /// Ends the tunnels that nothing is mounted through any more.
    async fn sweep(&self) {
        if let Err(error) = self.tunnels.sweep(|| self.mounts.tunnels()).await {
            tracing::warn!(%error, "a TLS tunnel stays that nobody uses");
        }
    }
}

/// What an NFS server is to know a client by.
fn client(who: impl Display) -> String {
    format!("longshore-{who}").chars().take(MAX_CLIENT).collect()
}

impl FileSystems {
    pub(super) fn new(
        (mounts, tunnels): (NfsMounts, Tunnels),
        programs: PathBuf,
        instance: &str,
        effects: Effects,
    ) -> Self {
        let machine = Machine { mounts, tunnels, programs };
        Self { machine, effects, instance: instance.to_owned(), tasks: Mutex::default() }
    }

    /// Mounts what the server says that a task's volumes are. What was begun goes on to its end whatever becomes of who asked. What
    /// is mounted already stays as it is, whatever the server says of it now.
    pub(super) async fn mount(&self, task: &TaskPlan, told: &Provision) -> Result<(), Failure> {
        for (volume, efs) in task.definition.efs_volumes() {
            if !is_ecs_name(volume) {
                return Err(failed(format_args!("'{volume}' is no name of a volume")));
            }
            let name = mounted_of(task, volume);
            if self.machine.mounts.mounted(&name).map_err(failed)?.is_some() {
                continue;
            }
            let wanted = self.wanted(volume, efs, told)?;
            let (machine, instance, own) = (self.machine.clone(), self.instance.clone(), self.of(task));
            let (told, outcome) = oneshot::channel();
            self.effects.spawn("mount file system", async move {
                let ended = own.lock().await;
                let made = if ended.0 {
                    Err(io::Error::other("the task has stopped"))
                } else {
                    machine.mount(&name, wanted, &instance).await
                };
                if made.is_err() {
                    machine.sweep().await;
                }
                // Nobody may want to know.
                let _ = told.send(made);
            });
            outcome.await.unwrap_or_else(|_| Err(io::Error::other("the agent ends"))).map_err(failed)?;
        }
        Ok(())
    }

    fn wanted(&self, volume: &str, efs: &EfsVolume, told: &Provision) -> Result<Wanted, Failure> {
        if let Some(encrypted) = &told.encrypted
            && let Some(folder) = encrypted.file_systems.get(volume)
        {
            return Ok(self.through(folder, encrypted.authorities.clone(), efs));
        }
        match (told.file_systems.get(volume), told.unresolved.get(volume)) {
            // The server would not have said so.
            (Some(_), _) if efs.transit_encryption == Some(true) => {
                Err(failed(format_args!("the server says nothing of TLS for volume '{volume}'")))
            }
            (Some(export), _) => Ok(Wanted { source: self.source(export, efs)?, tunnel: None }),
            (None, Some(why)) => Err(Failure(why.as_str().into())),
            (None, None) => Err(failed(format_args!("the server does not say where volume '{volume}' is"))),
        }
    }

    fn through(&self, told: &ExportedFolder, authorities: Option<String>, efs: &EfsVolume) -> Wanted {
        let ExportedFolder { export, folder } = told;
        let (host, port, local) = (export.host.clone(), export.port, efs.transit_encryption_port);
        Wanted {
            source: self.of_export(export, folder.clone()),
            tunnel: Some(TunnelTo { host, port, authorities, local }),
        }
    }

    /// The server says which folder of which server; what of that is the export, in which links are not to be followed, the
    /// definition tells.
    fn source(&self, told: &Export, efs: &EfsVolume) -> Result<NfsSource, Failure> {
        let (export, folder) = told
            .above(efs.root())
            .ok_or_else(|| failed(format_args!("{told} is not a folder '{}' of an export", efs.root())))?;
        Ok(self.of_export(&export, folder))
    }

    fn of_export(&self, export: &Export, folder: String) -> NfsSource {
        let (host, port, device) = (export.host.clone(), export.port, export.to_string());
        NfsSource { host, port, device, folder, client: client(&self.instance) }
    }

    /// A container of the task was sent SIGKILL. A process that closes a file when it ends waits for the file's server, and no signal
    /// ends that: where the server does not answer, it gets an error.
    pub(super) fn interrupt(&self, task: &TaskPlan) {
        let names: Vec<String> = names(task).collect();
        if names.is_empty() {
            return;
        }
        let (mounts, effects) = (self.machine.mounts.clone(), self.effects.clone());
        self.effects.spawn("interrupt file systems", async move {
            for _ in 0..INTERRUPTIONS {
                effects.sleep(ENDS).await;
                let mut some = false;
                for name in &names {
                    match mounts.interrupt(name).await {
                        Ok(waited) => some |= waited,
                        Err(error) => tracing::warn!(mount = name, %error, "who waits for its server waits on"),
                    }
                }
                if !some {
                    return;
                }
            }
        });
    }

    /// Takes a task's away. Its containers are gone.
    pub(super) async fn remove(&self, task: &TaskPlan) -> Result<(), Failure> {
        if task.definition.efs_volumes().next().is_none() {
            return Ok(());
        }
        let own = self.of(task);
        let mut ended = own.lock().await;
        ended.0 = true;
        for name in names(task) {
            let removed = self.machine.mounts.remove(&name).await;
            removed.map_err(|e| Failure::new("CannotRemoveContainerError", format_args!("a file system: {e}")))?;
        }
        self.machine.sweep().await;
        self.tasks().remove(task.id());
        Ok(())
    }

    /// Looks after the tunnels that former runs have left, and takes away what they have mounted for tasks that are none of these.
    /// Nobody waits for it: servers may not answer.
    pub(super) fn adopt<'a>(&self, tasks: impl Iterator<Item = &'a Arc<TaskPlan>>) {
        let keep: HashSet<String> = tasks.flat_map(|task| names(task)).collect();
        // Listed now, so that none that is mounted from now on is among them.
        let left = self.machine.mounts.others(&keep).unwrap_or_else(|error| {
            tracing::warn!(%error, "mounted file systems cannot be listed");
            Vec::new()
        });
        let machine = self.machine.clone();
        self.effects.spawn("unmount file systems", async move {
            // What is mounted through one is not unmounted without it.
            if let Err(error) = machine.tunnels.adopt(|| machine.mounts.tunnels()).await {
                tracing::warn!(%error, "nobody looks after the TLS tunnels that are there");
            }
            for name in left {
                if let Err(error) = machine.mounts.remove(&name).await {
                    tracing::warn!(mount = name, %error, "a file system stays mounted");
                }
            }
            machine.sweep().await;
        });
    }

    fn of(&self, task: &TaskPlan) -> Arc<tokio::sync::Mutex<Ended>> {
        self.tasks().entry(task.id().to_owned()).or_default().clone()
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Ended>>>> {
        self.tasks.lock().expect("nothing panics while it holds whose file systems are mounted")
    }
}

fn names(task: &TaskPlan) -> impl Iterator<Item = String> {
    let named = task.definition.efs_volumes().filter(|(volume, _)| is_ecs_name(volume));
    named.map(|(volume, _)| mounted_of(task, volume))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use model::{Volume, VolumeSource};
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    use std::fs;

    /// Otherwise whoever publishes a tunnel's port would be asked in its place.
    #[test]
    fn tunnels_are_where_no_port_is_published() {
        assert_eq!(TUNNEL_ADDRESS, ::network::UNPUBLISHED);
    }

    /// Whatever is mounted at its place is a task's volume: nothing is asked of it.
    #[tokio::test]
    async fn a_task_that_has_its_volume_goes_on_without_the_server_knowing_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let efs = EfsVolume {
            file_system_id: "fs-01234567".into(),
            root_directory: Some("/app".into()),
            ..EfsVolume::default()
        };
        let (assignment, definition) = testing::assignment(1, &["main"]);
        let volumes = vec![Volume { name: "v".into(), source: VolumeSource::Efs(efs.clone()) }];
        let plan = TaskPlan::new(assignment, Arc::new(model::TaskDefinitionSpec { volumes, ..(*definition).clone() }));
        let effects = Effects::simulated(1, model::Timestamp(0));
        let mounts = NfsMounts::new(dir.path().join("efs"), effects.clone());
        let tunnels = Tunnels::new(dir.path().join("efs-tls"), effects.clone());
        let file_systems = FileSystems::new((mounts, tunnels), dir.path().join("bin"), "i-1", effects);
        let why = "ResourceInitializationError: nobody knows";
        let unresolved = Provision { unresolved: [("v".to_owned(), why.to_owned())].into(), ..Provision::default() };
        let elsewhere: Export = "nas:/export/other".parse().unwrap();
        let elsewhere = Provision { file_systems: [("v".to_owned(), elsewhere)].into(), ..Provision::default() };

        for (told, says) in [
            (&unresolved, why),
            (&elsewhere, "nas:/export/other is not a folder '/app' of an export"),
            (&Provision::default(), "does not say where volume 'v' is"),
        ] {
            let failure = file_systems.mount(&plan, told).await.unwrap_err();
            assert!(failure.0.contains(says), "{failure}");
        }

        let at = dir.path().join("efs").join(mounted_of(&plan, "v"));
        fs::create_dir_all(&at).unwrap();
        mount("none", &at, "tmpfs", MountFlags::empty(), c"size=64k").unwrap();
        for told in [&unresolved, &elsewhere, &Provision::default()] {
            let went = file_systems.mount(&plan, told).await;
            if went.is_err() {
                unmount(&at, UnmountFlags::DETACH).unwrap();
            }
            went.unwrap();
        }
        unmount(&at, UnmountFlags::empty()).unwrap();

        let export: Export = "nas:/export/app".parse().unwrap();
        let source = file_systems.source(&export, &efs).unwrap();
        assert_eq!((source.device.as_str(), source.folder.as_str()), ("nas:/export", "/app"));
    }
}

//! The volumes of EFS that a task has: folders of NFS servers, mounted before its containers are made and taken away with what the
//! task has left. Where they are the server says (`super::provisions`).

use crate::{node::Failure, plan::TaskPlan};
use ::runtime::{NfsMounts, NfsSource};
use effects::Effects;
use model::{Export, names::is_ecs_name};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Display,
    io,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::oneshot;

/// Longest name of a host. Source: uname(2).
const MAX_CLIENT: usize = 64;

pub(super) struct FileSystems {
    mounts: NfsMounts,
    effects: Effects,
    client: String,
    /// By task id: held while one of its is mounted or taken away.
    tasks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Ended>>>>,
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

impl FileSystems {
    pub(super) fn new(mounts: NfsMounts, instance: &str, effects: Effects) -> Self {
        let client = format!("longshore-{instance}").chars().take(MAX_CLIENT).collect();
        Self { mounts, effects, client, tasks: Mutex::default() }
    }

    /// Mounts what the server says that a task's volumes are. What was begun goes on to its end whatever becomes of who asked.
    pub(super) async fn mount(&self, task: &TaskPlan, told: &BTreeMap<String, Export>) -> Result<(), Failure> {
        for (volume, export) in told {
            if !is_ecs_name(volume) {
                return Err(failed(format_args!("'{volume}' is no name of a volume")));
            }
            let source = NfsSource {
                host: export.host.clone(),
                port: export.port,
                device: export.to_string(),
                client: self.client.clone(),
            };
            let (mounts, name, own) = (self.mounts.clone(), mounted_of(task, volume), self.of(task));
            let (told, outcome) = oneshot::channel();
            self.effects.spawn("mount file system", async move {
                let ended = own.lock().await;
                let made = if ended.0 {
                    Err(io::Error::other("the task has stopped"))
                } else {
                    mounts.ensure(&name, &source).await.map(drop)
                };
                // Nobody may want to know.
                let _ = told.send(made);
            });
            outcome.await.unwrap_or_else(|_| Err(io::Error::other("the agent ends"))).map_err(failed)?;
        }
        Ok(())
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
            let removed = self.mounts.remove(&name).await;
            removed.map_err(|e| Failure::new("CannotRemoveContainerError", format_args!("a file system: {e}")))?;
        }
        self.tasks().remove(task.id());
        Ok(())
    }

    /// Takes away what former runs have left of tasks that are none of these. Nobody waits for it: servers may not answer.
    pub(super) fn adopt<'a>(&self, tasks: impl Iterator<Item = &'a Arc<TaskPlan>>) {
        let keep: HashSet<String> = tasks.flat_map(|task| names(task)).collect();
        // Listed now, so that none that is mounted from now on is among them.
        let left = match self.mounts.others(&keep) {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%error, "mounted file systems cannot be listed");
                return;
            }
        };
        let mounts = self.mounts.clone();
        self.effects.spawn("unmount file systems", async move {
            for name in left {
                if let Err(error) = mounts.remove(&name).await {
                    tracing::warn!(mount = name, %error, "a file system stays mounted");
                }
            }
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

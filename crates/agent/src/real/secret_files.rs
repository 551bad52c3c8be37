//! Secrets as files (docs/decisions/0036): for each container that asks for it a file system in memory with a file for each of its
//! secrets, which the container sees read-only. All of its files change at once: they are in a folder of their own, to which a link
//! leads, and the link is replaced. What an agent finds there after a restart stays as it is unless the server says otherwise.

use super::provisions::Provisions;
use crate::{
    node::Failure,
    plan::{Job, TaskPlan},
};
use ::runtime::{BindMount, MountSource, Mounts, Runtime, RuntimeError};
use effects::Effects;
use model::{SecretFiles, TaskArn, secret_files::is_file_name, vault::Plain};
use std::{
    collections::BTreeMap,
    fmt::Display,
    fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

/// Leads to the folder whose files hold.
const CURRENT: &str = "..data";
/// Before it takes that place.
const NEXT: &str = "..next";
/// Among the files of a container whose process is told of changes, until it has been: an agent that is killed between the two
/// leaves it to the next. Empty, and no secret has a name like it.
const UNTOLD: &str = "..untold";
/// What the files of a container may take: four times what a task may be given in all, since old and new ones are there together and
/// each takes whole pages.
const OPTIONS: &str = "nosuid,nodev,noexec,mode=0755,size=16m";

fn mounted(id: &str) -> String {
    format!("secrets-{id}")
}

/// The names of a task's among the machine's mounts.
pub(super) fn mounted_of(task: &TaskPlan) -> Vec<String> {
    let with = task.containers.iter().zip(&task.ids).filter(|(container, _)| container.secret_files().is_some());
    with.map(|(_, id)| mounted(id)).collect()
}

fn failed(error: impl Display) -> Failure {
    Failure::new("ResourceInitializationError", format_args!("the files of its secrets cannot be made: {error}"))
}

/// The files of an instance's tasks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shown(Arc<Inner>);

struct Inner {
    mounts: Mounts,
    provisions: Arc<Provisions>,
    runtime: Arc<dyn Runtime>,
    effects: Effects,
    wanted: Mutex<Wanted>,
}

/// What is to be asked for anew, one after the other.
#[derive(Default)]
struct Wanted {
    tasks: BTreeMap<TaskArn, Arc<TaskPlan>>,
    working: bool,
}

impl Shown {
    pub(super) fn new(
        mounts: Mounts,
        provisions: Arc<Provisions>,
        runtime: Arc<dyn Runtime>,
        effects: Effects,
    ) -> Self {
        Self(Arc::new(Inner { mounts, provisions, runtime, effects, wanted: Mutex::default() }))
    }

    /// What a container is to be shown, made if it is not there. That it was made for a former run of the container does not matter:
    /// what it is given is the newest that is known.
    pub(super) async fn of(&self, job: &Job) -> Result<Option<BindMount>, Failure> {
        let Some(how) = job.container().secret_files() else { return Ok(None) };
        let turn = self.0.provisions.turn(&job.task);
        let _turn = turn.lock().await;
        let provided = self.0.provisions.given(&job.task, job.at).await?;
        let (mounts, name, target) = (self.0.mounts.clone(), mounted(job.id()), how.folder.clone());
        let made = move || {
            let at = mount(&mounts, &name)?;
            write(&at, &how, &provided.secrets)?;
            // What begins now begins with these.
            told(&at)?;
            io::Result::Ok(at)
        };
        let source = tokio::task::spawn_blocking(made).await.expect("making files does not panic").map_err(failed)?;
        Ok(Some(BindMount { source, target, read_only: true, fill: None, as_is: false }))
    }

    /// Asks anew for what these tasks have, and has their files follow.
    pub(super) fn refresh(&self, tasks: Vec<Arc<TaskPlan>>) {
        let mut wanted = self.wanted();
        wanted.tasks.extend(tasks.into_iter().map(|task| (task.assignment.task.clone(), task)));
        if wanted.working || wanted.tasks.is_empty() {
            return;
        }
        wanted.working = true;
        let shown = self.clone();
        self.0.effects.spawn("refresh secrets", async move {
            while let Some(task) = shown.next() {
                if let Err(failure) = shown.follow(&task).await {
                    tracing::warn!(task = %task.assignment.task, why = %failure, "a task's files keep the secrets they have");
                }
            }
        });
    }

    fn next(&self) -> Option<Arc<TaskPlan>> {
        let mut wanted = self.wanted();
        let next = wanted.tasks.pop_first();
        wanted.working = next.is_some();
        next.map(|(_, task)| task)
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.0.wanted.lock().expect("nothing panics while it holds what is wanted")
    }

    /// Has the files of each of a task's containers follow, whatever becomes of the others'. Fails as the first of them did.
    async fn follow(&self, task: &Arc<TaskPlan>) -> Result<(), Failure> {
        let turn = self.0.provisions.turn(task);
        let _turn = turn.lock().await;
        let Some(provision) = self.0.provisions.ask_for_secrets(task).await? else { return Ok(()) };
        let mut outcome = Ok(());
        for (container, id) in task.containers.iter().zip(&task.ids) {
            let Some(how) = container.secret_files() else { continue };
            let Some(given) = provision.containers.get(&container.name) else {
                // It has none of a task that is stopping.
                if !provision.containers.is_empty() {
                    tracing::warn!(container = %id, "its files keep the secrets they have, since the server could not tell them all");
                }
                continue;
            };
            outcome = outcome.and(self.follow_one(id, how, given.secrets.clone()).await);
        }
        outcome
    }

    async fn follow_one(&self, id: &str, how: SecretFiles, secrets: Vec<(String, Plain)>) -> Result<(), Failure> {
        let (mounts, at, name, signal) =
            (self.0.mounts.clone(), self.0.mounts.at(&mounted(id)), mounted(id), how.signal);
        let write = move || match mounts.is_there(&name)? {
            true => io::Result::Ok((write(&mounts.at(&name), &how, &secrets)?, is_untold(&mounts.at(&name))?)),
            // Its container is not made yet, or has been cleared away.
            false => Ok((false, false)),
        };
        let written = tokio::task::spawn_blocking(write).await.expect("writing files does not panic");
        let (changed, untold) = written.map_err(failed)?;
        if changed {
            tracing::info!(container = %id, "the files of its secrets have changed");
        }
        let Some(signal) = signal.filter(|_| untold) else { return Ok(()) };
        match self.0.runtime.signal(id, signal, false).await {
            Ok(()) => {}
            Err(error @ (RuntimeError::Unavailable(_) | RuntimeError::Timeout(_))) => {
                tracing::warn!(container = %id, %error, "its process is told of its files in the next session");
                return Ok(());
            }
            // It has not begun, or it has ended.
            Err(error) => tracing::debug!(container = %id, %error, "its process was not told"),
        }
        told(&at).map_err(failed)
    }

    /// Removes a task's. Its containers are gone.
    pub(super) async fn remove(&self, task: &Arc<TaskPlan>) -> Result<(), Failure> {
        let names = mounted_of(task);
        if names.is_empty() {
            return Ok(());
        }
        let turn = self.0.provisions.turn(task);
        let _turn = turn.lock().await;
        let mounts = self.0.mounts.clone();
        let removing = move || names.iter().try_for_each(|name| mounts.remove(name));
        let removed = tokio::task::spawn_blocking(removing).await.expect("unmounting does not panic");
        removed.map_err(|e| Failure::new("CannotRemoveContainerError", format_args!("the files of its secrets: {e}")))
    }
}

/// A file system in memory; one that is never written to swap space, where the kernel knows how (6.4 and later).
fn mount(mounts: &Mounts, name: &str) -> io::Result<PathBuf> {
    let of = |options: String| MountSource { kind: "tmpfs".into(), device: "secrets".into(), options };
    match mounts.ensure(name, &of(format!("{OPTIONS},noswap"))) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => mounts.ensure(name, &of(OPTIONS.to_owned())),
        mounted => mounted,
    }
}

/// Whether a process is still to be told of the files that its folder shows.
fn is_untold(at: &Path) -> io::Result<bool> {
    at.join(CURRENT).join(UNTOLD).try_exists()
}

/// It has been told, or needs not be.
fn told(at: &Path) -> io::Result<()> {
    match fs::remove_file(at.join(CURRENT).join(UNTOLD)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Has a folder show these files, all at once. Answers whether it showed others before. Whose process is to be told of them is untold
/// from the moment that they are shown.
fn write(at: &Path, how: &SecretFiles, secrets: &[(String, Plain)]) -> io::Result<bool> {
    let current = fs::read_link(at.join(CURRENT)).ok();
    if current.is_some() && is_shown(at, secrets) {
        return Ok(false);
    }
    // Another name than that of the one that holds; what was begun and not finished is among the rest.
    let number = current.as_ref().and_then(|name| name.to_str()?.strip_prefix("..")?.parse::<u64>().ok());
    let fresh = format!("..{}", number.map_or(0, |number| number + 1));
    sweep(at, current.as_deref())?;
    let folder = at.join(&fresh);
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    for (name, value) in secrets {
        // The server sends no others; what is written here is written as root.
        if !is_file_name(name) {
            return Err(io::Error::other(format!("'{name}' is no name of a file")));
        }
        let path = folder.join(name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
        file.write_all(value.reveal().as_bytes())?;
        chown(&path, Some(how.owner.0), Some(how.owner.1))?;
        file.set_permissions(fs::Permissions::from_mode(how.mode))?;
    }
    if how.signal.is_some() {
        fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(folder.join(UNTOLD))?;
    }
    symlink(&fresh, at.join(NEXT))?;
    fs::rename(at.join(NEXT), at.join(CURRENT))?;
    for (name, _) in secrets {
        match symlink(Path::new(CURRENT).join(name), at.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    sweep(at, Some(Path::new(&fresh)))?;
    Ok(true)
}

fn is_shown(at: &Path, secrets: &[(String, Plain)]) -> bool {
    secrets.iter().all(|(name, value)| fs::read(at.join(name)).is_ok_and(|held| held == value.reveal().as_bytes()))
}

/// Removes what is neither the folder that holds nor a link of ours.
fn sweep(at: &Path, current: Option<&Path>) -> io::Result<()> {
    for entry in fs::read_dir(at)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == NEXT {
            fs::remove_file(entry.path())?;
        } else if entry.file_type()?.is_dir() && current != Some(Path::new(&name)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how() -> SecretFiles {
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        SecretFiles { folder: "/s".into(), only: false, mode: 0o440, owner, signal: None }
    }

    fn secrets(all: &[(&str, &str)]) -> Vec<(String, Plain)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), Plain::from((*value).to_owned()))).collect()
    }

    fn names(at: &Path) -> Vec<String> {
        let entries = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn all_files_change_at_once_and_the_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let read = |name: &str| fs::read_to_string(at.join(name)).unwrap();
        let both = secrets(&[("USER", "ada"), ("KEY", "one\n")]);
        assert!(write(at, &how(), &both).unwrap());
        assert_eq!((read("USER").as_str(), read("KEY").as_str()), ("ada", "one\n"));
        assert_eq!(fs::metadata(at.join("KEY")).unwrap().permissions().mode() & 0o7777, 0o440);
        assert_eq!(names(at), ["..0", "..data", "KEY", "USER"]);
        assert!(!write(at, &how(), &both).unwrap(), "nothing has changed");
        assert_eq!(names(at), ["..0", "..data", "KEY", "USER"]);
        // Somebody who has opened it reads the old ones to their end.
        let mut open = fs::File::open(at.join("KEY")).unwrap();
        assert!(write(at, &how(), &secrets(&[("USER", "bob"), ("KEY", "two")])).unwrap());
        assert_eq!((read("USER").as_str(), read("KEY").as_str()), ("bob", "two"));
        assert_eq!(names(at), ["..1", "..data", "KEY", "USER"]);
        let mut old = String::new();
        io::Read::read_to_string(&mut open, &mut old).unwrap();
        assert_eq!(old, "one\n");
    }

    #[test]
    fn a_process_is_untold_of_what_is_shown_until_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let how = SecretFiles { signal: Some(1), ..how() };
        let untold = || is_untold(at).unwrap();
        assert!(!untold(), "nothing is shown");
        write(at, &how, &secrets(&[("KEY", "one")])).unwrap();
        // Killed before it was told: the next agent finds nothing to write.
        assert!(!write(at, &how, &secrets(&[("KEY", "one")])).unwrap());
        assert!(untold());
        told(at).unwrap();
        assert!(!untold());
        told(at).unwrap();
        assert!(!write(at, &how, &secrets(&[("KEY", "one")])).unwrap());
        assert!(!untold(), "nothing has changed");
        // Begun and not shown.
        fs::create_dir(at.join("..1")).unwrap();
        fs::write(at.join("..1").join(UNTOLD), "").unwrap();
        assert!(!untold());
        write(at, &how, &secrets(&[("KEY", "two")])).unwrap();
        write(at, &how, &secrets(&[("KEY", "three")])).unwrap();
        assert!(untold());
        assert_eq!(names(at), ["..2", "..data", "KEY"], "those who list the folder see no mark");
        told(at).unwrap();
        write(at, &SecretFiles { signal: None, ..how }, &secrets(&[("KEY", "four")])).unwrap();
        assert!(!untold(), "nobody is to be told");
    }

    #[test]
    fn what_a_killed_agent_began_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        write(at, &how(), &secrets(&[("KEY", "one")])).unwrap();
        fs::create_dir(at.join("..1")).unwrap();
        fs::write(at.join("..1/KEY"), "tw").unwrap();
        symlink("..1", at.join(NEXT)).unwrap();
        assert_eq!(fs::read_to_string(at.join("KEY")).unwrap(), "one");
        assert!(write(at, &how(), &secrets(&[("KEY", "two")])).unwrap());
        assert_eq!(fs::read_to_string(at.join("KEY")).unwrap(), "two");
        assert_eq!(names(at), ["..1", "..data", "KEY"]);
        // Killed between the first swap and the files' own links.
        fs::remove_file(at.join("KEY")).unwrap();
        assert!(write(at, &how(), &secrets(&[("KEY", "two")])).unwrap());
        assert_eq!(fs::read_to_string(at.join("KEY")).unwrap(), "two");
    }
}

//! The volumes of tasks: folders below the agent's own, what is mounted for their options, and paths of the instance.
//!
//! What lives as long as a task (also what its images declare, `image_volumes`) is below `tasks/<task id>`, or on the task's disk if it has one; shared volumes are below `shared`,
//! each with what it was made with, which holds for whoever uses it later. Names come from definitions and were checked when these
//! were registered; they are checked again, because a folder is made and removed by them.

use super::{efs, image_volumes, secret_files, shared::shm};
use crate::{
    files::{self, Durable, Mode},
    node::Failure,
    plan::{Job, TaskPlan},
};
use ::runtime::{BindMount, Disks, IdMapping, MountSource, Mounts, NfsMounts, tree};
use model::{DockerVolume, SeenVolume, Volume, VolumeOf, VolumeSource, names::is_ecs_name};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a volume was made with.
const MADE_WITH: &str = "volume.json";
/// Stands in a volume's folder while it is filled from an image.
const FILLING: &str = "filling";

/// A size is given in these.
const GIB: u64 = 1 << 30;

/// An instance's volumes.
pub(super) struct Volumes {
    places: Places,
    /// Which tasks use which shared volume. Held while volumes are made or removed: two containers may want the same.
    users: tokio::sync::Mutex<BTreeMap<String, BTreeSet<String>>>,
}

/// Where they are.
#[derive(Clone)]
struct Places {
    dir: PathBuf,
    mounts: Mounts,
    /// Those that are disks of their own.
    disks: Disks,
    /// Those of EFS.
    nfs: NfsMounts,
}

/// A volume that can be shown to containers.
struct Shown {
    source: PathBuf,
    read_only: bool,
    fill: Option<PathBuf>,
    /// It is a path of the instance's, whose owners stay who they are.
    of_instance: bool,
}

impl Shown {
    /// What is ours alone.
    fn own(source: PathBuf, fill: Option<PathBuf>) -> Self {
        Self { source, read_only: false, fill, of_instance: false }
    }
}

fn failed(volume: &str, error: impl Display) -> Failure {
    Failure::new("CannotCreateVolumeError", format_args!("volume '{volume}': {error}"))
}

/// The names of the shared volumes that a task's containers use.
fn shared(task: &TaskPlan) -> impl Iterator<Item = &str> {
    let is_shared = |volume: &&Volume| matches!(&volume.source, VolumeSource::Docker(docker) if docker.is_shared());
    task.definition.volumes.iter().filter(is_shared).map(|volume| volume.name.as_str())
}

fn mounted_shared(volume: &str) -> String {
    format!("shared-{volume}")
}

fn mounted_of(task: &TaskPlan, volume: &str) -> String {
    format!("task-{}-{volume}", task.id())
}

/// The name of the disk that one of a task's volumes is, if one is. A task has one such volume at most.
fn disk_of(task: &TaskPlan) -> Option<String> {
    task.assignment.volume.as_ref().map(|_| task.id().to_owned())
}

impl Volumes {
    pub(super) fn new(dir: PathBuf, mounts: Mounts, nfs: NfsMounts) -> Self {
        let disks = Disks::new(dir.join("disks"));
        Self { places: Places { dir, mounts, disks, nfs }, users: tokio::sync::Mutex::default() }
    }

    /// What a container is to be shown, made if it is not there. `declared` is where its image has volumes, which does not count for
    /// one that is started again: it has what it had. `userns` says who its users are, if not the machine's.
    pub(super) async fn of(
        &self,
        job: &Job,
        declared: Option<Vec<String>>,
        disk: Option<&Path>,
        userns: Option<IdMapping>,
    ) -> Result<Vec<BindMount>, Failure> {
        let container = job.container();
        let has_none = container.mount_points.is_empty() && container.volumes_from.is_empty();
        // What an image of that name declared the first time may be known.
        let was_told = image_volumes::were_told(&self.places.of_task(&job.task, disk), job.at);
        if has_none && !was_told && declared.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let mut users = self.users.lock().await;
        for name in shared(&job.task) {
            users.entry(name.to_owned()).or_default().insert(job.task.id().to_owned());
        }
        let (places, job, disk) = (self.places.clone(), job.clone(), disk.map(Path::to_owned));
        let made = move || places.all(&job, declared, disk.as_deref(), userns.as_ref());
        tokio::task::spawn_blocking(made).await.expect("making volumes does not panic")
    }

    /// Removes what lives as long as a task, and lets go of the rest. Its containers are gone.
    pub(super) async fn remove(&self, task: &Arc<TaskPlan>) -> Result<(), Failure> {
        let mut users = self.users.lock().await;
        for of_volume in users.values_mut() {
            of_volume.remove(task.id());
        }
        users.retain(|_, of_volume| !of_volume.is_empty());
        let unused: Vec<_> = shared(task).filter(|name| !users.contains_key(*name)).map(mounted_shared).collect();
        let own = task.definition.volumes.iter().map(|volume| mounted_of(task, &volume.name));
        let names: Vec<_> = own.chain(unused).collect();
        let (places, folder, disk) = (self.places.clone(), self.places.of_task(task, None), disk_of(task));
        let work = move || {
            names.iter().try_for_each(|name| places.mounts.remove(name))?;
            disk.iter().try_for_each(|disk| places.disks.remove(disk))?;
            tree::remove(&folder)
        };
        let removed = tokio::task::spawn_blocking(work).await.expect("removing volumes does not panic");
        removed.map_err(|e| Failure::new("CannotRemoveContainerError", format_args!("the task's volumes: {e}")))
    }

    /// Removes what former runs have left of tasks that are none of these, and their mounts of whatever kind.
    pub(super) async fn adopt(&self, tasks: impl Iterator<Item = &Arc<TaskPlan>>) -> io::Result<()> {
        let (mut keep, mut mounts, mut disks) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut users = self.users.lock().await;
        for task in tasks {
            keep.insert(task.id().to_owned());
            disks.extend(disk_of(task));
            mounts.insert(shm(task));
            mounts.extend(secret_files::mounted_of(task));
            mounts.extend(task.definition.volumes.iter().map(|volume| mounted_of(task, &volume.name)));
            for name in shared(task) {
                mounts.insert(mounted_shared(name));
                users.entry(name.to_owned()).or_default().insert(task.id().to_owned());
            }
        }
        let places = self.places.clone();
        let work = move || {
            places.mounts.sweep(&mounts)?;
            places.disks.sweep(&disks)?;
            clear(&places.dir.join("tasks"), |name| !keep.contains(name))?;
            clear(&places.dir.join("shared"), |name| name.starts_with('.'))
        };
        tokio::task::spawn_blocking(work).await.expect("removing volumes does not panic")
    }
}

/// Removes the folders in one that are not wanted.
fn clear(dir: &Path, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if unwanted(&entry.file_name().to_string_lossy()) {
            tree::remove(&entry.path())?;
        }
    }
    Ok(())
}

impl Places {
    /// Where what lives as long as a task is.
    fn of_task(&self, task: &TaskPlan, disk: Option<&Path>) -> PathBuf {
        match disk {
            Some(disk) => disk.join("volumes"),
            None => self.dir.join("tasks").join(task.id()),
        }
    }

    fn all(
        &self,
        job: &Job,
        declared: Option<Vec<String>>,
        disk: Option<&Path>,
        userns: Option<&IdMapping>,
    ) -> Result<Vec<BindMount>, Failure> {
        let known = image_volumes::known(&self.of_task(&job.task, disk), job, declared).map_err(|error| {
            Failure::new("CannotCreateVolumeError", format_args!("volumes that images declare: {error}"))
        })?;
        let seen = job.task.definition.volumes_of(&job.container().name, &known);
        seen.iter().map(|seen| self.bind(job, seen, disk, userns)).collect()
    }

    fn bind(
        &self,
        job: &Job,
        seen: &SeenVolume,
        disk: Option<&Path>,
        userns: Option<&IdMapping>,
    ) -> Result<BindMount, Failure> {
        let path = seen.container_path.as_str();
        let (shown, name) = match &seen.volume {
            VolumeOf::Definition(name) => (self.defined(&job.task, name, disk, userns), name.as_str()),
            VolumeOf::Image(container) => (self.declared(job, container, path, disk), path),
        };
        let Shown { source, read_only, fill, of_instance } = shown.map_err(|error| failed(name, error))?;
        let read_only = read_only || seen.read_only;
        // What the image has there is not of who owns it inside.
        let fill = fill.filter(|_| userns.is_none() || !of_instance);
        Ok(BindMount { source, target: path.to_owned(), read_only, fill, as_is: of_instance })
    }

    /// One that the definition has.
    fn defined(
        &self,
        task: &TaskPlan,
        name: &str,
        disk: Option<&Path>,
        userns: Option<&IdMapping>,
    ) -> io::Result<Shown> {
        let volume = task.definition.volumes.iter().find(|volume| volume.name == name);
        let volume = volume.filter(|_| is_ecs_name(name)).ok_or_else(|| io::Error::other("there is no such volume"))?;
        let own =
            |docker: &DockerVolume| self.folder(&self.of_task(task, disk).join(name), docker, &mounted_of(task, name));
        match &volume.source {
            VolumeSource::Host { source_path } => of_instance(source_path, userns),
            VolumeSource::Empty => own(&DockerVolume::default()),
            VolumeSource::Docker(docker) if docker.is_shared() => self.shared(name, docker),
            VolumeSource::Docker(docker) => own(docker),
            VolumeSource::AtLaunch => self.disk(task, name),
            VolumeSource::Efs(_) => self.file_system(task, name),
        }
    }

    /// One that a container's image declares. Docker: only that container fills it.
    fn declared(&self, job: &Job, container: &str, path: &str, disk: Option<&Path>) -> io::Result<Shown> {
        let at = job.task.containers.iter().position(|other| other.name == container);
        let at = at.ok_or_else(|| io::Error::other("there is no such container"))?;
        let place = image_volumes::place(&self.of_task(&job.task, disk), at, path);
        let shown = self.folder(&place, &DockerVolume::default(), "")?;
        Ok(Shown { fill: shown.fill.filter(|_| at == job.at), ..shown })
    }

    /// A disk of its own.
    fn disk(&self, task: &TaskPlan, name: &str) -> io::Result<Shown> {
        let size = task.assignment.volume.as_ref().filter(|volume| *volume.name == *name);
        let size = size.ok_or_else(|| io::Error::other("nobody has said how large it is"))?.size_gib;
        Disks::check().map_err(io::Error::other)?;
        // By its task's name: a task has one.
        let source = self.disks.ensure(task.id(), u64::from(size) * GIB)?;
        Ok(Shown::own(source, None))
    }

    /// A folder of an NFS server, which was mounted before. AWS: what an image has at its place is not put there. Nothing here asks for
    /// more than whether it is mounted, because the server may be gone.
    fn file_system(&self, task: &TaskPlan, name: &str) -> io::Result<Shown> {
        let source = self.nfs.mounted(&efs::mounted_of(task, name))?;
        let source = source.ok_or_else(|| io::Error::other("its file system is not mounted any more"))?;
        Ok(Shown::own(source, None))
    }

    /// One that outlives its tasks. AWS: what it was made with holds, whatever a later definition says.
    fn shared(&self, name: &str, docker: &DockerVolume) -> io::Result<Shown> {
        let all = self.dir.join("shared");
        let place = all.join(name);
        if !place.exists() {
            if docker.autoprovision != Some(true) {
                return Err(io::Error::other("it is not on this instance, and it says nothing of autoprovision"));
            }
            // Whole or not there.
            let fresh = all.join(format!(".{name}"));
            tree::remove(&fresh)?;
            files::folder(&fresh)?;
            files::write_json(&fresh.join(MADE_WITH), docker, Mode::Private, Durable::PowerFailure)?;
            fs::rename(&fresh, &place)?;
        }
        let made_with: DockerVolume = files::read_json(&place.join(MADE_WITH))?.unwrap_or_default();
        self.folder(&place, &made_with, &mounted_shared(name))
    }

    /// What is in a volume's own folder, or what its options say instead.
    fn folder(&self, place: &Path, docker: &DockerVolume, mounted: &str) -> io::Result<Shown> {
        files::folder(place)?;
        let fill = Some(place.join(FILLING));
        let option = |name: &str| docker.driver_opts.get(name).cloned().unwrap_or_default();
        if docker.driver_opts.is_empty() {
            let source = place.join("data");
            fs::create_dir_all(&source)?;
            return Ok(Shown::own(source, fill));
        }
        let source = MountSource { kind: option("type"), device: option("device"), options: option("o") };
        let has = |wanted: &str| source.options.split(',').any(|option| option == wanted);
        if has("bind") || has("rbind") {
            let path = PathBuf::from(&source.device);
            let fill = fill.filter(|_| fs::symlink_metadata(&path).is_ok_and(|about| about.is_dir()));
            return Ok(Shown { read_only: has("ro"), source: path, fill, of_instance: true });
        }
        Ok(Shown::own(self.mounts.ensure(mounted, &source)?, fill))
    }
}

/// Docker: a folder of root's is made where there is nothing, of the root who is to have it.
fn of_instance(path: &str, userns: Option<&IdMapping>) -> io::Result<Shown> {
    let source = PathBuf::from(path);
    if !source.try_exists()? {
        fs::create_dir_all(&source)?;
        if let Some(mapping) = userns {
            std::os::unix::fs::chown(&source, Some(mapping.first_user), Some(mapping.first_group))?;
        }
    }
    Ok(Shown { source, read_only: false, fill: None, of_instance: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use model::{MountPoint, TaskDefinitionSpec, VolumeFrom, VolumeScope};

    fn plan(n: u32, volumes: &[(&str, VolumeSource)]) -> Arc<TaskPlan> {
        let (assignment, definition) = testing::assignment(n, &["web"]);
        let mut definition: TaskDefinitionSpec = (*definition).clone();
        for (name, source) in volumes {
            definition.volumes.push(Volume { name: (*name).into(), source: source.clone() });
            let container_path = format!("/{name}");
            let point = MountPoint { source_volume: (*name).into(), container_path, read_only: None };
            definition.containers[0].mount_points.push(point);
        }
        Arc::new(TaskPlan::new(assignment, Arc::new(definition)))
    }

    fn docker(scope: VolumeScope, autoprovision: Option<bool>) -> VolumeSource {
        VolumeSource::Docker(DockerVolume { scope: Some(scope), autoprovision, ..DockerVolume::default() })
    }

    async fn made(volumes: &Volumes, plan: &Arc<TaskPlan>) -> Result<Vec<BindMount>, Failure> {
        volumes.of(&plan.job(0, &plan.fresh().containers[0]), Some(Vec::new()), None, None).await
    }

    #[tokio::test]
    async fn tasks_volumes_go_with_them_and_shared_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let new = || {
            Volumes::new(
                dir.path().join("volumes"),
                Mounts::new(dir.path().join("mounts")),
                NfsMounts::new(dir.path().join("efs"), effects::Effects::real()),
            )
        };
        let (volumes, host) = (new(), dir.path().join("host/made"));
        let source = VolumeSource::Host { source_path: host.display().to_string() };
        let shared = docker(VolumeScope::Shared, Some(true));
        let all = [("empty", VolumeSource::Empty), ("host", source), ("shared", shared.clone())];
        let (one, two) = (plan(1, &all), plan(2, &all));
        let first = made(&volumes, &one).await.unwrap();
        assert_eq!(first[1].source, host);
        let second = made(&volumes, &two).await.unwrap();
        assert_eq!((first[2].source == second[2].source, first[0].source == second[0].source), (true, false));
        for mount in &first {
            fs::write(mount.source.join("file"), "text").unwrap();
        }
        assert_eq!(made(&volumes, &one).await.unwrap(), first, "the same again");
        // Another agent comes back to the first task only.
        let volumes = new();
        fs::create_dir_all(dir.path().join("volumes/shared/.half")).unwrap();
        volumes.adopt([&one].into_iter()).await.unwrap();
        assert!(!second[0].source.exists() && first[0].source.join("file").exists());
        assert!(!dir.path().join("volumes/shared/.half").exists());
        volumes.remove(&one).await.unwrap();
        volumes.remove(&one).await.unwrap();
        assert!(!first[0].source.exists() && host.join("file").exists());
        assert_eq!(fs::read_to_string(first[2].source.join("file")).unwrap(), "text");
        let again = plan(3, &[("shared", docker(VolumeScope::Shared, None))]);
        assert_eq!(made(&volumes, &again).await.unwrap()[0].source, first[2].source);
    }

    #[tokio::test]
    async fn what_images_declare_is_known_to_who_takes_it_and_goes_with_the_task() {
        let dir = tempfile::tempdir().unwrap();
        let (data, disk) = (dir.path().join("volumes"), dir.path().join("disk"));
        let new = || {
            Volumes::new(
                data.clone(),
                Mounts::new(dir.path().join("m")),
                NfsMounts::new(dir.path().join("efs"), effects::Effects::real()),
            )
        };
        let (assignment, definition) = testing::assignment(1, &["web", "log"]);
        let mut definition: TaskDefinitionSpec = (*definition).clone();
        let from = VolumeFrom { source_container: "web".into(), read_only: Some(true) };
        definition.containers[1].volumes_from.push(from);
        let plan = Arc::new(TaskPlan::new(assignment, Arc::new(definition)));
        let job = |at: usize, run: u32| Job { run, ..plan.job(at, &plan.fresh().containers[at]) };
        let places = |places: &[&str]| Some(places.iter().map(|place| (*place).to_owned()).collect());
        let volumes = new();
        let web = volumes.of(&job(0, 0), places(&["/a", "/b"]), None, None).await.unwrap();
        assert_eq!(
            web.iter().map(|m| (m.target.as_str(), m.read_only)).collect::<Vec<_>>(),
            [("/a", false), ("/b", false)]
        );
        assert!(
            web.iter().all(|mount| mount.source.is_dir() && mount.fill.is_some()) && web[0].source != web[1].source
        );
        assert_eq!(
            volumes.of(&job(0, 1), None, None, None).await.unwrap(),
            web,
            "one that is started again has what it had"
        );
        // Another agent, and one that has volumes where the other has: it sees the other's, and fills only its own.
        let volumes = new();
        volumes.adopt([&plan].into_iter()).await.unwrap();
        let log = volumes.of(&job(1, 0), places(&["/b", "/c"]), None, None).await.unwrap();
        let seen: Vec<_> = log.iter().map(|m| (m.target.as_str(), m.read_only, m.fill.is_some())).collect();
        assert_eq!(seen, [("/a", true, false), ("/b", true, false), ("/c", false, true)]);
        assert_eq!((&log[0].source, &log[1].source), (&web[0].source, &web[1].source));
        // One that is made anew of another image has that one's.
        let other = volumes.of(&job(0, 0), places(&["/b"]), None, None).await.unwrap();
        assert_eq!((other.len(), &other[0]), (1, &web[1]));
        let on_disk = volumes.of(&job(0, 0), places(&["/a"]), Some(&disk), None).await.unwrap();
        assert!(on_disk[0].source.starts_with(&disk), "it counts there");
        volumes.remove(&plan).await.unwrap();
        assert_eq!(fs::read_dir(data.join("tasks")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_had_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(
            dir.path().join("volumes"),
            Mounts::new(dir.path().join("mounts")),
            NfsMounts::new(dir.path().join("efs"), effects::Effects::real()),
        );
        let refused = made(&volumes, &plan(1, &[("v", docker(VolumeScope::Shared, None))])).await.unwrap_err();
        assert!(refused.0.starts_with("CannotCreateVolumeError: volume 'v': it is not on this instance"), "{refused}");
        let efs =
            VolumeSource::Efs(model::EfsVolume { file_system_id: "fs-01234567".into(), ..model::EfsVolume::default() });
        let refused = made(&volumes, &plan(1, &[("v", efs)])).await.unwrap_err();
        assert!(
            refused.0.contains("volume 'v': its file system is not mounted"),
            "nobody writes into a folder instead: {refused}"
        );
        // No server lets such names in.
        for name in ["..", "a/../../b"] {
            let refused = made(&volumes, &plan(1, &[(name, VolumeSource::Empty)])).await.unwrap_err();
            assert!(refused.0.contains("there is no such volume"), "{refused}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
    }
}

//! The volumes of a task, where its containers see them, and the rules for both.
//!
//! AWS publishes few of the texts; the others follow their form.

use crate::{EfsVolume, InvalidDefinition, TaskDefinitionSpec, definition_rules::refuse, names::is_ecs_name};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A volume of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name, also that of what a task leaves on the instance.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeSource {
    /// An empty folder that lives as long as the task.
    Empty,
    /// A file or folder of the instance, made if it is missing.
    Host {
        /// Where.
        source_path: String,
    },
    /// One as Docker has them.
    Docker(DockerVolume),
    /// What it is is said when a task is launched: a disk of its own.
    AtLaunch,
    /// One that other tasks see too, wherever they are.
    Efs(EfsVolume),
}

/// Source: `DockerVolumeConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct DockerVolume {
    /// As given.
    pub scope: Option<VolumeScope>,
    /// Whether a shared one is made if it is missing, as given.
    pub autoprovision: Option<bool>,
    /// As given; there is `local`.
    pub driver: Option<String>,
    /// What the driver is told: `type`, `o` and `device`, as mount(8) takes them.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// How long a volume lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeScope {
    /// As long as its task.
    Task,
    /// Until somebody removes it from the instance.
    Shared,
}

impl VolumeScope {
    /// All, by AWS's words.
    pub const ALL: [(&'static str, Self); 2] = [("task", Self::Task), ("shared", Self::Shared)];

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Shared => "shared",
        }
    }
}

impl DockerVolume {
    /// Whether it outlives its task. AWS: it does not if nothing is said.
    pub fn is_shared(&self) -> bool {
        self.scope == Some(VolumeScope::Shared)
    }

    /// What is not honoured of it, by its name below `dockerVolumeConfiguration`.
    pub fn not_honoured(&self) -> Option<String> {
        if let Some(driver) = self.driver.as_deref().filter(|driver| *driver != "local") {
            return Some(format!("driver {driver}"));
        }
        let unknown = self.driver_opts.keys().find(|name| !["type", "o", "device"].contains(&name.as_str()));
        unknown.map(|name| format!("driverOpts.{name}"))
    }
}

/// Where a container sees a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// The volume's name.
    pub source_volume: String,
    /// Where.
    pub container_path: String,
    /// Whether it cannot write there, as given.
    #[serde(default)]
    pub read_only: Option<bool>,
}

/// Another container's volumes, where that one sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFrom {
    /// Its name.
    pub source_container: String,
    /// Whether this one cannot write there, as given.
    #[serde(default)]
    pub read_only: Option<bool>,
}

/// A volume where a container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenVolume {
    /// Which.
    pub volume: VolumeOf,
    /// Where.
    pub container_path: String,
    /// Whether it cannot write there.
    pub read_only: bool,
}

/// Whose a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeOf {
    /// The definition's of that name.
    Definition(String),
    /// One that the image of the container of that name declares, at the place where it is seen.
    Image(String),
}

impl TaskDefinitionSpec {
    /// Its volumes of EFS, with their names.
    pub fn efs_volumes(&self) -> impl Iterator<Item = (&str, &EfsVolume)> {
        self.volumes.iter().filter_map(|volume| match &volume.source {
            VolumeSource::Efs(efs) => Some((volume.name.as_str(), efs)),
            VolumeSource::Empty | VolumeSource::Host { .. } | VolumeSource::Docker(_) | VolumeSource::AtLaunch => None,
        })
    }

    /// Where a container sees volumes: its own mount points; in other places those of the containers that it takes them from; and
    /// where nothing of these is, what its image declares. Docker: a file system in memory takes the place of the latter two.
    ///
    /// `declared` are places of images' volumes by the names of their containers.
    pub fn volumes_of(&self, container: &str, declared: &BTreeMap<String, Vec<String>>) -> Vec<SeenVolume> {
        self.seen(container, declared, &mut BTreeSet::new())
    }

    /// No container takes from itself in the end, which was checked; a definition that says so all the same has an end here.
    fn seen<'a>(
        &'a self,
        container: &'a str,
        declared: &BTreeMap<String, Vec<String>>,
        visited: &mut BTreeSet<&'a str>,
    ) -> Vec<SeenVolume> {
        let Some(container) = self.containers.iter().find(|c| c.name == container) else { return Vec::new() };
        if !visited.insert(&container.name) {
            return Vec::new();
        }
        let own = |mount: &MountPoint| SeenVolume {
            volume: VolumeOf::Definition(mount.source_volume.clone()),
            container_path: mount.container_path.clone(),
            read_only: mount.read_only == Some(true),
        };
        let mut found: Vec<_> = container.mount_points.iter().map(own).collect();
        let in_memory = |place: &str| {
            let mut all = container.linux_parameters.iter().flat_map(|linux| &linux.tmpfs);
            all.any(|tmpfs| is_same_place(&tmpfs.container_path, place))
        };
        let mut add = |more: SeenVolume| {
            let place = more.container_path.as_str();
            if !in_memory(place) && found.iter().all(|other| !is_same_place(&other.container_path, place)) {
                found.push(more);
            }
        };
        for from in &container.volumes_from {
            for mut taken in self.seen(&from.source_container, declared, visited) {
                taken.read_only |= from.read_only == Some(true);
                add(taken);
            }
        }
        for place in declared.get(&container.name).into_iter().flatten() {
            let volume = VolumeOf::Image(container.name.clone());
            add(SeenVolume { volume, container_path: place.clone(), read_only: false });
        }
        found
    }

    pub(crate) fn check_volumes(&self) -> Result<(), InvalidDefinition> {
        let mut names = BTreeSet::new();
        for volume in &self.volumes {
            let name = &volume.name;
            if !is_ecs_name(name) {
                return refuse(format!(
                    "Volume name '{name}' is not valid: up to 255 letters, numbers, hyphens and underscores."
                ));
            }
            if !names.insert(name.as_str()) {
                return refuse(format!("Volume names must be unique: '{name}' is used twice."));
            }
            volume.check()?;
        }
        if self.volumes.iter().filter(|volume| volume.source == VolumeSource::AtLaunch).count() > 1 {
            return refuse("Only one volume of a task definition can be configured at launch.");
        }
        for c in &self.containers {
            let setting = |what: String| refuse(format!("Invalid setting for container '{}'. {what}", c.name));
            let tmpfs = c.linux_parameters.iter().flat_map(|linux| &linux.tmpfs);
            let mut places: BTreeSet<&str> = tmpfs.map(|tmpfs| tmpfs.container_path.trim_end_matches('/')).collect();
            for mount in &c.mount_points {
                // AWS's words.
                if !names.contains(mount.source_volume.as_str()) {
                    return refuse(format!("Unknown volume '{}'.", mount.source_volume));
                }
                let place = mount.container_path.as_str();
                if !is_plain(place) || place.bytes().all(|b| b == b'/') {
                    return setting(format!("'containerPath' needs an absolute path without '..', not '{place}'."));
                }
                if !places.insert(place.trim_end_matches('/')) {
                    return setting(format!("Duplicate mount point: {place}."));
                }
            }
        }
        Ok(())
    }
}

impl Volume {
    fn check(&self) -> Result<(), InvalidDefinition> {
        let name = &self.name;
        match &self.source {
            VolumeSource::Empty | VolumeSource::AtLaunch => Ok(()),
            VolumeSource::Host { source_path } if !is_plain(source_path) => {
                refuse(format!("'host.sourcePath' of volume '{name}' needs an absolute path without '..'."))
            }
            VolumeSource::Host { .. } => Ok(()),
            VolumeSource::Efs(efs) => efs.check(name),
            VolumeSource::Docker(docker) => {
                if docker.autoprovision.is_some() && !docker.is_shared() {
                    return refuse(format!(
                        "'autoprovision' of volume '{name}' is only supported with scope 'shared'."
                    ));
                }
                // Docker: its words.
                let missing = |option: &str| !docker.driver_opts.contains_key(option);
                match ["type", "device"].into_iter().find(|option| missing(option)) {
                    Some(option) if !docker.driver_opts.is_empty() => {
                        refuse(format!("missing required option: \"{option}\" (volume '{name}')."))
                    }
                    Some(_) | None => Ok(()),
                }
            }
        }
    }
}

fn is_same_place(one: &str, other: &str) -> bool {
    names(one).eq(names(other))
}

/// The names on the way to a place.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

/// With a way up it would be anywhere.
fn is_plain(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| part != "..") && !path.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContainerDefinition, Family, LinuxParameters, MemoryMib, Tmpfs};

    fn spec(volumes: Vec<Volume>, containers: Vec<ContainerDefinition>) -> TaskDefinitionSpec {
        TaskDefinitionSpec {
            family: Family::parse("web").expect("a family"),
            network_mode: None,
            cpu: None,
            memory: None,
            requires_compatibilities: Vec::new(),
            execution_role_arn: None,
            task_role_arn: None,
            runtime_platform: None,
            ephemeral_storage_gib: None,
            pid_mode: None,
            ipc_mode: None,
            volumes,
            placement_constraints: Vec::new(),
            containers,
        }
    }

    fn empty(name: &str) -> Volume {
        Volume { name: name.into(), source: VolumeSource::Empty }
    }

    fn container(name: &str, mounts: &[(&str, &str)], from: &[(&str, bool)]) -> ContainerDefinition {
        let mount = |(volume, path): &(&str, &str)| MountPoint {
            source_volume: (*volume).into(),
            container_path: (*path).into(),
            read_only: None,
        };
        let taken =
            |(name, ro): &(&str, bool)| VolumeFrom { source_container: (*name).into(), read_only: ro.then_some(true) };
        ContainerDefinition {
            name: name.into(),
            mount_points: mounts.iter().map(mount).collect(),
            volumes_from: from.iter().map(taken).collect(),
            ..ContainerDefinition::default()
        }
    }

    #[test]
    fn volumes_of_others_are_seen_where_nothing_of_ones_own_is() {
        let containers = vec![
            container("app", &[("a", "/a")], &[("db", true), ("log", false)]),
            container("db", &[("b", "/a"), ("c", "/c")], &[]),
            container("log", &[("d", "/d")], &[("db", false), ("app", false)]),
        ];
        let spec = spec(vec![], containers);
        let seen = |name: &str| told(&spec, name, &[]);
        assert_eq!(seen("app"), ["a:/a:rw", "c:/c:ro", "d:/d:rw"]);
        assert_eq!(seen("log"), ["d:/d:rw", "b:/a:rw", "c:/c:rw"]);
        assert_eq!(seen("nobody"), [""; 0]);
    }

    /// What a container sees, if images declare that.
    fn told(spec: &TaskDefinitionSpec, name: &str, declared: &[(&str, &[&str])]) -> Vec<String> {
        let declared = declared.iter().map(|(container, places)| {
            ((*container).to_owned(), places.iter().map(|place| (*place).to_owned()).collect())
        });
        let one = |seen: SeenVolume| {
            let volume = match seen.volume {
                VolumeOf::Definition(name) => name,
                VolumeOf::Image(container) => format!("image of {container}"),
            };
            format!("{volume}:{}:{}", seen.container_path, if seen.read_only { "ro" } else { "rw" })
        };
        spec.volumes_of(name, &declared.collect()).into_iter().map(one).collect()
    }

    #[test]
    fn volumes_of_images_are_where_nothing_else_is_and_are_taken_like_others() {
        let mut app = container("app", &[("a", "/a/")], &[("db", true)]);
        let tmpfs = |path: &str| Tmpfs { container_path: path.into(), size: MemoryMib(1), mount_options: vec![] };
        app.linux_parameters =
            Some(LinuxParameters { tmpfs: vec![tmpfs("/t/"), tmpfs("/b")], ..LinuxParameters::default() });
        let db = container("db", &[("b", "/b"), ("c", "/c")], &[]);
        let spec = spec(vec![], vec![app, db]);
        let declared: [(&str, &[&str]); 2] = [("app", &["/a", "/d", "/own", "/t"]), ("db", &["/c", "/d", "/c/in"])];
        assert_eq!(told(&spec, "db", &declared), ["b:/b:rw", "c:/c:rw", "image of db:/d:rw", "image of db:/c/in:rw"]);
        assert_eq!(
            told(&spec, "app", &declared),
            ["a:/a/:rw", "c:/c:ro", "image of db:/d:ro", "image of db:/c/in:ro", "image of app:/own:rw"],
            "what is taken comes before what its own image says, and memory before both"
        );
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        let refused = |volumes: Vec<Volume>, mounts: &[(&str, &str)], words: &str| {
            let mut app = container("app", mounts, &[]);
            let tmpfs = Tmpfs { container_path: "/t".into(), size: MemoryMib(1), mount_options: vec![] };
            app.linux_parameters = Some(LinuxParameters { tmpfs: vec![tmpfs], ..LinuxParameters::default() });
            match spec(volumes, vec![app]).check_volumes() {
                Ok(()) => assert_eq!(words, "", "{mounts:?}"),
                Err(InvalidDefinition(text)) => assert!(!words.is_empty() && text.contains(words), "{text}"),
            }
        };
        let host =
            |path: &str| vec![Volume { name: "v".into(), source: VolumeSource::Host { source_path: path.into() } }];
        let docker = |docker: DockerVolume| vec![Volume { name: "v".into(), source: VolumeSource::Docker(docker) }];
        let options = |all: &[(&str, &str)]| DockerVolume {
            driver_opts: all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..DockerVolume::default()
        };
        refused(vec![empty("v")], &[("v", "/v"), ("v", "/w/v")], "");
        refused(vec![empty("v"), empty("v")], &[], "'v' is used twice");
        for name in ["", "..", "a/b", ".hidden", "a b"] {
            refused(vec![empty(name)], &[], "Volume name");
        }
        refused(vec![], &[("v", "/v")], "Unknown volume 'v'.");
        for path in ["v", "/a/../b", "/..", "/", "//", ""] {
            refused(vec![empty("v")], &[("v", path)], "'containerPath' needs an absolute path");
        }
        refused(vec![empty("v")], &[("v", "/a..b")], "");
        refused(vec![empty("v")], &[("v", "/v"), ("v", "/v/")], "Duplicate mount point: /v/.");
        refused(vec![empty("v")], &[("v", "/t")], "Duplicate mount point: /t.");
        refused(host("/srv/data"), &[], "");
        for path in ["srv", "/srv/../etc"] {
            refused(host(path), &[], "'host.sourcePath' of volume 'v' needs an absolute path");
        }
        refused(docker(options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")])), &[], "");
        refused(docker(options(&[("o", "size=1m"), ("device", "tmpfs")])), &[], "missing required option: \"type\"");
        refused(docker(options(&[("type", "none")])), &[], "missing required option: \"device\"");
        let provisioned = |scope| DockerVolume { scope, autoprovision: Some(true), ..DockerVolume::default() };
        refused(docker(provisioned(Some(VolumeScope::Shared))), &[], "");
        refused(docker(provisioned(None)), &[], "only supported with scope 'shared'");
        let told = |docker: DockerVolume| docker.not_honoured().unwrap_or_default();
        assert_eq!(told(DockerVolume { driver: Some("local".into()), ..options(&[("type", "nfs")]) }), "");
        assert_eq!(told(DockerVolume { driver: Some("rexray".into()), ..DockerVolume::default() }), "driver rexray");
        assert_eq!(told(options(&[("size", "1g")])), "driverOpts.size");
    }
}

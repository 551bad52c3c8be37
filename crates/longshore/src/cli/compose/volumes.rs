//! The volumes of a project: those its files declare and mount, and those that ecs-params describes.

use super::{
    file::{Source, Version},
    params::{DockerVolume, EfsVolume, TaskDefinition},
    value::{boolean, scalar, text},
};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use shapes::ecs;
use std::path::{Component, Path, PathBuf};

/// What the containers have mounted so far.
pub(super) struct Volumes {
    /// Generated names with their host paths, in the order in which they were met.
    hosts: Vec<(String, String)>,
    /// Declared names, and generated ones of anonymous volumes.
    plain: Vec<String>,
}

impl Volumes {
    pub(super) fn new(source: &Source) -> Self {
        Self { hosts: Vec::new(), plain: source.volumes.clone() }
    }

    /// AWS: numbered by how many volumes there are so far, declared ones included.
    fn next_name(&self) -> String {
        format!("volume-{}", self.hosts.len() + self.plain.len())
    }

    fn of_host(&mut self, path: String) -> String {
        if let Some((name, _)) = self.hosts.iter().find(|(_, known)| *known == path) {
            return name.clone();
        }
        let name = self.next_name();
        self.hosts.push((name.clone(), path));
        name
    }

    fn anonymous(&mut self) -> String {
        let name = self.next_name();
        self.plain.push(name.clone());
        name
    }

    /// Mount points of one service.
    pub(super) fn mounts(
        &mut self,
        source: &Source,
        params: &TaskDefinition,
        value: &Value,
    ) -> Result<Vec<ecs::MountPoint>> {
        let Value::Array(items) = value else { bail!("must be a list") };
        let mut mounts = Vec::new();
        for item in items {
            let mount = match item {
                Value::Object(long) => long_form(long)?,
                short => short_form(&text(short).context("must be a text")?)?,
            };
            let is_path = mount.from.as_ref().is_some_and(|from| from.starts_with(['/', '.', '~']));
            let name = match mount.from {
                None => self.anonymous(),
                Some(path) if is_path => self.of_host(host_path(source, &path)),
                Some(named) => {
                    if !self.plain.contains(&named) && !params.describes(&named) {
                        bail!("Named volume \"{named}\" is used but no declaration was found in the volumes section");
                    }
                    named
                }
            };
            mounts.push(ecs::MountPoint {
                source_volume: Some(name),
                container_path: Some(mount.to),
                read_only: Some(mount.read_only),
            });
        }
        Ok(mounts)
    }

    /// All of them, host paths first, as the original orders them.
    pub(super) fn finish(self, params: &TaskDefinition) -> Result<Option<Vec<ecs::Volume>>> {
        let host = |(name, path)| ecs::Volume {
            name: Some(name),
            host: Some(ecs::HostVolumeProperties { source_path: Some(path) }),
            ..Default::default()
        };
        let mut all: Vec<_> = self.hosts.into_iter().map(host).collect();
        let plain = |name: String| ecs::Volume { name: Some(name), ..Default::default() };
        all.extend(self.plain.into_iter().filter(|name| !params.describes(name)).map(plain));
        for volume in &params.docker_volumes {
            all.push(docker(volume)?);
        }
        for volume in &params.efs_volumes {
            all.push(efs(volume)?);
        }
        Ok((!all.is_empty()).then_some(all))
    }
}

struct Mount {
    from: Option<String>,
    to: String,
    read_only: bool,
}

fn short_form(given: &str) -> Result<Mount> {
    let parts: Vec<_> = given.split(':').collect();
    let (from, to, mode) = match *parts.as_slice() {
        [to] => (None, to, "rw"),
        [from, to] => (Some(from), to, "rw"),
        [from, to, mode] => (Some(from), to, mode),
        _ => bail!("'{given}' is not source:path[:ro]"),
    };
    if !matches!(mode, "ro" | "rw") {
        bail!("'{given}': the mode must be ro or rw");
    }
    Ok(Mount { from: from.map(str::to_owned), to: to.to_owned(), read_only: mode == "ro" })
}

/// `{type, source, target, read_only}` of versions 3.2 and later.
fn long_form(long: &serde_json::Map<String, Value>) -> Result<Mount> {
    let (mut from, mut to, mut read_only) = (None, None, false);
    for (key, value) in long {
        match key.as_str() {
            "type" if matches!(value.as_str(), Some("bind" | "volume")) => {}
            "type" => bail!("a volume must be of type bind or volume; for tmpfs use the service's `tmpfs`"),
            "source" => from = Some(scalar(key, value)?),
            "target" => to = Some(scalar(key, value)?),
            "read_only" => read_only = boolean(key, value)?,
            other => bail!("{other} of a volume cannot be honoured; remove it"),
        }
    }
    Ok(Mount { from, to: to.context("a volume needs a target")?, read_only })
}

/// AWS: relative host paths stay relative in versions 1 and 2 and become absolute later.
fn host_path(source: &Source, path: &str) -> String {
    if matches!(source.version, Version::V1 | Version::V2) || path.starts_with('/') {
        return path.to_owned();
    }
    let home = path.strip_prefix('~').and_then(|rest| Some(format!("{}{rest}", source.environment.get("HOME")?)));
    let mut whole = PathBuf::new();
    for part in source.folder.join(home.as_deref().unwrap_or(path)).components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => whole.push(Path::new(&part)),
        }
    }
    whole.to_string_lossy().into_owned()
}

fn docker(volume: &DockerVolume) -> Result<ecs::Volume> {
    let name = volume.name.clone().filter(|name| !name.is_empty());
    Ok(ecs::Volume {
        name: Some(name.context("task_definition.docker_volumes: each volume must have a name")?),
        docker_volume_configuration: Some(ecs::DockerVolumeConfiguration {
            scope: volume.scope.clone(),
            autoprovision: volume.autoprovision,
            driver: volume.driver.clone(),
            driver_opts: volume.driver_opts.texts(),
            labels: volume.labels.texts(),
        }),
        ..Default::default()
    })
}

fn efs(volume: &EfsVolume) -> Result<ecs::Volume> {
    let place = "task_definition.efs_volumes";
    let name = volume.name.clone().filter(|name| !name.is_empty());
    let name = name.with_context(|| format!("{place}: each volume must have a name"))?;
    let id = volume.filesystem_id.clone().filter(|id| !id.is_empty());
    let enabled = |given: &Option<String>| given.as_deref() == Some("ENABLED");
    if (volume.access_point.is_some() || enabled(&volume.iam)) && !enabled(&volume.transit_encryption) {
        bail!("{place}: {name}: transit_encryption must be ENABLED when access_point or iam is used");
    }
    Ok(ecs::Volume {
        efs_volume_configuration: Some(ecs::EFSVolumeConfiguration {
            file_system_id: Some(id.with_context(|| format!("{place}: {name} needs a filesystem_id"))?),
            root_directory: volume.root_directory.clone(),
            transit_encryption: volume.transit_encryption.clone(),
            transit_encryption_port: volume.transit_encryption_port,
            authorization_config: Some(ecs::EFSAuthorizationConfig {
                access_point_id: volume.access_point.clone(),
                iam: volume.iam.clone(),
            }),
        }),
        name: Some(name),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn source(version: Version) -> Source {
        Source {
            project: "p".to_owned(),
            version,
            services: BTreeMap::new(),
            volumes: vec!["data".to_owned()],
            missing: Default::default(),
            environment: BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]),
            folder: PathBuf::from("/srv/app"),
        }
    }

    #[test]
    fn paths_become_absolute_where_the_original_makes_them_so() {
        for (path, v2, v3) in [
            ("/a", "/a", "/a"),
            ("./a", "./a", "/srv/app/a"),
            ("../a", "../a", "/srv/a"),
            ("~/a", "~/a", "/home/me/a"),
            (".", ".", "/srv/app"),
        ] {
            assert_eq!(host_path(&source(Version::V2), path), v2);
            assert_eq!(host_path(&source(Version::V3), path), v3);
        }
    }

    #[test]
    fn volumes_are_numbered_as_the_original_numbers_them() {
        let source = source(Version::Later);
        let described = TaskDefinition {
            docker_volumes: vec![DockerVolume { name: Some("db".to_owned()), ..Default::default() }],
            ..Default::default()
        };
        let mut volumes = Volumes::new(&source);
        let given = json!(["data:/d", "/h:/h:ro", "/anon", "/h:/again", "db:/db",
            {"type": "bind", "source": "./x", "target": "/x", "read_only": true}]);
        let mounts = volumes.mounts(&source, &described, &given).unwrap();
        let mounts: Vec<_> =
            mounts.iter().map(|m| (m.source_volume.as_deref().unwrap(), m.read_only.unwrap())).collect();
        let wanted = [
            ("data", false),
            ("volume-1", true),
            ("volume-2", false),
            ("volume-1", false),
            ("db", false),
            ("volume-3", true),
        ];
        assert_eq!(mounts, wanted);
        let all = volumes.finish(&described).unwrap().unwrap();
        let names: Vec<_> = all.iter().map(|v| v.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["volume-1", "volume-3", "data", "volume-2", "db"]);
        for wrong in [json!(["other:/o"]), json!(["/a:/b:z"]), json!(["a:b:c:d"]), json!([{"type": "tmpfs"}])] {
            assert!(Volumes::new(&source).mounts(&source, &described, &wrong).is_err(), "{wrong}");
        }
    }
}

//! Volumes and mount points between AWS's form and the model's.

use super::task_definition_convert::{mode, not_honoured, set};
use crate::api::ApiError;
use model::{DockerVolume, MountPoint, Volume, VolumeFrom, VolumeScope, VolumeSource};
use shapes::ecs as aws;

pub(super) fn parse(given: Option<Vec<aws::Volume>>) -> Result<Vec<Volume>, ApiError> {
    given.unwrap_or_default().into_iter().map(volume).collect()
}

fn volume(given: aws::Volume) -> Result<Volume, ApiError> {
    let name = given.name.unwrap_or_default();
    if given.configured_at_launch == Some(true) {
        if given.host.is_some() || given.docker_volume_configuration.is_some() {
            let text = format!("Volume '{name}' can be configured at launch or have another configuration, not both.");
            return Err(ApiError::client(text));
        }
        return Ok(Volume { name, source: VolumeSource::AtLaunch });
    }
    let path = given.host.and_then(|host| set(host.source_path));
    let source = match (path, given.docker_volume_configuration) {
        (Some(_), Some(_)) => {
            let text = format!("Volume '{name}' can have 'host.sourcePath' or 'dockerVolumeConfiguration', not both.");
            return Err(ApiError::client(text));
        }
        (Some(source_path), None) => VolumeSource::Host { source_path },
        (None, Some(docker)) => VolumeSource::Docker(docker_volume(docker)?),
        (None, None) => VolumeSource::Empty,
    };
    Ok(Volume { name, source })
}

fn docker_volume(given: aws::DockerVolumeConfiguration) -> Result<DockerVolume, ApiError> {
    let volume = DockerVolume {
        scope: mode("scope", set(given.scope), &VolumeScope::ALL)?,
        autoprovision: given.autoprovision,
        driver: set(given.driver),
        driver_opts: given.driver_opts.unwrap_or_default(),
        labels: given.labels.unwrap_or_default(),
    };
    match volume.not_honoured() {
        Some(what) => Err(not_honoured(format_args!("volumes.dockerVolumeConfiguration.{what}"))),
        None => Ok(volume),
    }
}

pub(super) fn mount_points(given: Option<Vec<aws::MountPoint>>) -> Vec<MountPoint> {
    let one = |mount: aws::MountPoint| MountPoint {
        source_volume: mount.source_volume.unwrap_or_default(),
        container_path: mount.container_path.unwrap_or_default(),
        read_only: mount.read_only,
    };
    given.unwrap_or_default().into_iter().map(one).collect()
}

pub(super) fn volumes_from(given: Option<Vec<aws::VolumeFrom>>) -> Vec<VolumeFrom> {
    let one = |from: aws::VolumeFrom| VolumeFrom {
        source_container: from.source_container.unwrap_or_default(),
        read_only: from.read_only,
    };
    given.unwrap_or_default().into_iter().map(one).collect()
}

/// AWS: one that is an empty folder is shown with an empty `host`.
pub(super) fn shown(volume: &Volume) -> aws::Volume {
    let mut shown = aws::Volume { name: Some(volume.name.clone()), ..aws::Volume::default() };
    match &volume.source {
        VolumeSource::AtLaunch => shown.configured_at_launch = Some(true),
        VolumeSource::Empty => shown.host = Some(aws::HostVolumeProperties::default()),
        VolumeSource::Host { source_path } => {
            shown.host = Some(aws::HostVolumeProperties { source_path: Some(source_path.clone()) });
        }
        VolumeSource::Docker(docker) => {
            let map = |map: &std::collections::BTreeMap<String, String>| (!map.is_empty()).then(|| map.clone());
            shown.docker_volume_configuration = Some(aws::DockerVolumeConfiguration {
                scope: docker.scope.map(|scope| scope.as_str().to_owned()),
                autoprovision: docker.autoprovision,
                driver: docker.driver.clone(),
                driver_opts: map(&docker.driver_opts),
                labels: map(&docker.labels),
            });
        }
    }
    shown
}

pub(super) fn shown_mount_point(mount: &MountPoint) -> aws::MountPoint {
    aws::MountPoint {
        source_volume: Some(mount.source_volume.clone()),
        container_path: Some(mount.container_path.clone()),
        read_only: mount.read_only,
    }
}

pub(super) fn shown_volume_from(from: &VolumeFrom) -> aws::VolumeFrom {
    aws::VolumeFrom { source_container: Some(from.source_container.clone()), read_only: from.read_only }
}

//! Volumes and mount points between AWS's form and the model's.

use super::task_definition_convert::{mode, not_honoured, set};
use crate::api::ApiError;
use model::{DockerVolume, EfsVolume, MountPoint, Volume, VolumeFrom, VolumeScope, VolumeSource};
use shapes::ecs as aws;

/// Ports below are for the machine's services.
const FIRST_PORT: u16 = 1024;
const ENABLED: &str = "ENABLED";
const DISABLED: &str = "DISABLED";

pub(super) fn parse(given: Option<Vec<aws::Volume>>) -> Result<Vec<Volume>, ApiError> {
    given.unwrap_or_default().into_iter().map(volume).collect()
}

fn volume(given: aws::Volume) -> Result<Volume, ApiError> {
    let name = given.name.unwrap_or_default();
    let (path, at_launch) = (given.host.is_some(), given.configured_at_launch == Some(true));
    let given_path = given.host.and_then(|host| set(host.source_path));
    let (docker, efs) = (given.docker_volume_configuration, given.efs_volume_configuration);
    if at_launch && (path || docker.is_some() || efs.is_some()) {
        let text = format!("Volume '{name}' can be configured at launch or have another configuration, not both.");
        return Err(ApiError::client(text));
    }
    let both =
        |one: &str, other: &str| ApiError::client(format!("Volume '{name}' can have '{one}' or '{other}', not both."));
    let source = match (given_path, docker, efs) {
        (Some(_), Some(_), _) => return Err(both("host.sourcePath", "dockerVolumeConfiguration")),
        (Some(_), None, Some(_)) => return Err(both("host.sourcePath", "efsVolumeConfiguration")),
        (None, Some(_), Some(_)) => return Err(both("dockerVolumeConfiguration", "efsVolumeConfiguration")),
        (Some(source_path), None, None) => VolumeSource::Host { source_path },
        (None, Some(docker), None) => VolumeSource::Docker(docker_volume(docker)?),
        (None, None, Some(efs)) => VolumeSource::Efs(efs_volume(efs)?),
        (None, None, None) if at_launch => VolumeSource::AtLaunch,
        (None, None, None) => VolumeSource::Empty,
    };
    Ok(Volume { name, source })
}

/// AWS: a role's rights are asked by EFS itself.
fn efs_volume(given: aws::EFSVolumeConfiguration) -> Result<EfsVolume, ApiError> {
    let enabled = |given: Option<String>| given.map(|given| given == ENABLED);
    let authorization = given.authorization_config.unwrap_or_default();
    let iam = enabled(authorization.iam);
    if iam == Some(true) {
        return Err(not_honoured("volumes.efsVolumeConfiguration.authorizationConfig.iam ENABLED"));
    }
    let port = given.transit_encryption_port.map(|port| match u16::try_from(port) {
        // The machine's own are no task's to take for as long as it lives.
        Ok(port @ 1..) if port < FIRST_PORT || model::definition_rules::RESERVED_PORTS.contains(&port) => Err(ApiError::client(format!(
            "Invalid 'efsVolumeConfiguration.transitEncryptionPort' setting: {port} is kept for the machine; choose one from {FIRST_PORT} on."
        ))),
        Ok(port @ 1..) => Ok(port),
        Ok(_) | Err(_) => Err(ApiError::client(format!(
            "Invalid 'efsVolumeConfiguration.transitEncryptionPort' setting: {port} is not a port."
        ))),
    });
    Ok(EfsVolume {
        file_system_id: given.file_system_id.unwrap_or_default(),
        root_directory: set(given.root_directory),
        transit_encryption: enabled(given.transit_encryption),
        transit_encryption_port: port.transpose()?,
        access_point: set(authorization.access_point_id),
        iam,
    })
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
        VolumeSource::Efs(efs) => {
            let enabled = |given: bool| if given { ENABLED } else { DISABLED }.to_owned();
            let authorization =
                aws::EFSAuthorizationConfig { access_point_id: efs.access_point.clone(), iam: efs.iam.map(enabled) };
            shown.efs_volume_configuration = Some(aws::EFSVolumeConfiguration {
                file_system_id: Some(efs.file_system_id.clone()),
                // AWS: the root is named where nothing was said.
                root_directory: Some(efs.root().to_owned()),
                transit_encryption: efs.transit_encryption.map(enabled),
                transit_encryption_port: efs.transit_encryption_port.map(i32::from),
                authorization_config: (efs.access_point.is_some() || efs.iam.is_some()).then_some(authorization),
            });
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

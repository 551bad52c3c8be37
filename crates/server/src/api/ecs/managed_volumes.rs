//! `volumeConfigurations` of tasks and services, between AWS's form and the model's.

use super::task_definition_convert::set;
use crate::api::ApiError;
use crate::context::Context;
use model::{Filesystem, MANAGED_GIB, ManagedVolume, Phase, Task, TaskDefinitionSpec, VolumeConfiguration, VolumeType};
use shapes::ecs as aws;
use std::sync::Arc;

/// The attachment's type. Source: `Attachment` in the service model.
const KIND: &str = "AmazonElasticBlockStorage";

/// What tasks and services say alike; of tasks also what becomes of it when they end.
struct Given {
    name: Option<String>,
    volume: Option<aws::ServiceManagedEBSVolumeConfiguration>,
    kept: bool,
}

/// Of RunTask and StartTask.
pub(crate) fn of_task(
    given: Option<Vec<aws::TaskVolumeConfiguration>>,
) -> Result<Option<Arc<VolumeConfiguration>>, ApiError> {
    parse(given.unwrap_or_default().into_iter().map(|one| {
        let volume = one.managed_ebs_volume;
        let policy = volume.as_ref().and_then(|volume| volume.termination_policy.clone());
        let volume = volume.map(|volume| aws::ServiceManagedEBSVolumeConfiguration {
            encrypted: volume.encrypted,
            filesystem_type: volume.filesystem_type,
            role_arn: volume.role_arn,
            size_in_gi_b: volume.size_in_gi_b,
            volume_type: volume.volume_type,
            ..Default::default()
        });
        Given { name: one.name, volume, kept: policy.is_some_and(|policy| policy.delete_on_termination == Some(false)) }
    }))
}

/// Of CreateService and UpdateService.
pub(crate) fn of_service(
    given: Option<Vec<aws::ServiceVolumeConfiguration>>,
) -> Result<Option<Arc<VolumeConfiguration>>, ApiError> {
    let one =
        |one: aws::ServiceVolumeConfiguration| Given { name: one.name, volume: one.managed_ebs_volume, kept: false };
    parse(given.unwrap_or_default().into_iter().map(one))
}

fn parse(mut given: impl ExactSizeIterator<Item = Given>) -> Result<Option<Arc<VolumeConfiguration>>, ApiError> {
    if given.len() > 1 {
        return Err(ApiError::invalid(
            "volumeConfigurations can configure one volume: a task definition has at most one.",
        ));
    }
    given.next().map(|one| configuration(one).map(Arc::new)).transpose()
}

fn configuration(given: Given) -> Result<VolumeConfiguration, ApiError> {
    let name = given.name.unwrap_or_default();
    let refuse = |what: String| ApiError::invalid(format!("Invalid volumeConfigurations for volume '{name}'. {what}"));
    let volume = given.volume.ok_or_else(|| refuse("managedEBSVolume must be specified.".into()))?;
    let role_arn = set(volume.role_arn).ok_or_else(|| refuse("roleArn must be specified.".into()))?;
    let size = volume.size_in_gi_b.ok_or_else(|| refuse("sizeInGiB must be specified.".into()))?;
    let size_gib = u32::try_from(size).ok().filter(|size| MANAGED_GIB.contains(size));
    let size_gib = size_gib.ok_or_else(|| {
        refuse(format!("sizeInGiB must be between {} and {}, not {size}.", MANAGED_GIB.start(), MANAGED_GIB.end()))
    })?;
    if volume.encrypted == Some(true) {
        return Err(refuse("Longshore does not honour encrypted yet: the volume is a file of the instance's.".into()));
    }
    if given.kept {
        let text =
            "Longshore does not honour terminationPolicy.deleteOnTermination false yet: the volume goes with its task.";
        return Err(refuse(text.into()));
    }
    let volume_type = one_of("volumeType", set(volume.volume_type), &VolumeType::ALL).map_err(&refuse)?;
    let filesystem = one_of("filesystemType", set(volume.filesystem_type), &Filesystem::ALL).map_err(&refuse)?;
    Ok(VolumeConfiguration { name: name.as_str().into(), size_gib, role_arn: role_arn.into(), volume_type, filesystem })
}

fn one_of<T: Copy>(member: &str, given: Option<String>, known: &[(&str, T)]) -> Result<Option<T>, String> {
    let Some(word) = given else { return Ok(None) };
    let found = known.iter().find(|(name, _)| *name == word).map(|(_, one)| *one);
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    found.map(Some).ok_or_else(|| format!("Longshore does not honour {member} {word} yet, but {}.", names.join(", ")))
}

/// Whether a launch that says this of volumes can be one of that definition.
pub(crate) fn fits(given: Option<&Arc<VolumeConfiguration>>, spec: &TaskDefinitionSpec) -> Result<(), ApiError> {
    VolumeConfiguration::fits(given.map(|given| &**given), spec).map_err(|error| ApiError::invalid(error.to_string()))
}

/// A new task's own.
pub(crate) fn made(ctx: &Context, configuration: &Arc<VolumeConfiguration>) -> Box<ManagedVolume> {
    Box::new(ManagedVolume {
        configuration: configuration.clone(),
        id: format!("vol-{}", &ctx.effects.hex32()[..17]).into(),
        attachment: ctx.effects.uuid().into(),
    })
}

/// As services and their revisions show it.
pub(crate) fn of_deployment(configuration: &VolumeConfiguration) -> Vec<aws::ServiceVolumeConfiguration> {
    let volume = aws::ServiceManagedEBSVolumeConfiguration {
        filesystem_type: configuration.filesystem.map(|filesystem| filesystem.as_str().to_owned()),
        role_arn: Some(configuration.role_arn.to_string()),
        size_in_gi_b: i32::try_from(configuration.size_gib).ok(),
        volume_type: configuration.volume_type.map(|kind| kind.as_str().to_owned()),
        ..Default::default()
    };
    vec![aws::ServiceVolumeConfiguration {
        name: Some(configuration.name.to_string()),
        managed_ebs_volume: Some(volume),
    }]
}

/// As a task shows it. AWS names no details of it but in the service model's words; those stand here.
pub(crate) fn attachment(task: &Task, volume: &ManagedVolume) -> aws::Attachment {
    let configuration = &volume.configuration;
    let detail = |name: &str, value: &str| aws::KeyValuePair { name: Some(name.into()), value: Some(value.into()) };
    let status = match task.phase {
        Phase::Pending => "ATTACHING",
        Phase::Running => "ATTACHED",
        Phase::Stopping { .. } => "DETACHING",
        Phase::Stopped { .. } => "DELETED",
    };
    aws::Attachment {
        id: Some(volume.attachment.to_string()),
        r#type: Some(KIND.to_owned()),
        status: Some(status.to_owned()),
        details: Some(vec![
            detail("volumeName", &configuration.name),
            detail("volumeId", &volume.id),
            detail("sizeInGiB", &configuration.size_gib.to_string()),
            detail("volumeType", configuration.volume_type.unwrap_or(VolumeType::Gp3).as_str()),
            detail("filesystemType", configuration.filesystem.unwrap_or(Filesystem::Ext4).as_str()),
            detail("deleteOnTermination", "true"),
            detail("roleArn", &configuration.role_arn),
        ]),
    }
}

//! The volume that a task is given when it is launched: on AWS one of Amazon EBS, here a disk of that size on the task's instance,
//! made for the task and removed with it.
//!
//! AWS publishes few of the texts; the others follow their form.

use crate::{TaskDefinitionSpec, VolumeSource};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Sizes, in GiB, of the types that there are. Source: `TaskManagedEBSVolumeConfiguration`.
pub const MANAGED_GIB: std::ops::RangeInclusive<u32> = 1..=16_384;

/// What is said at launch of the volume that the definition leaves to that: `managedEBSVolume`, valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeConfiguration {
    /// The definition's volume.
    pub name: Arc<str>,
    /// Its size, in GiB.
    pub size_gib: u32,
    /// The role that AWS would make it by, as given.
    pub role_arn: Arc<str>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_type: Option<VolumeType>,
    /// As given. There is ext4, which it is too where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Filesystem>,
}

/// The types whose speed is not paid for, so that nobody is promised one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // AWS's names say it.
pub enum VolumeType {
    Gp2,
    Gp3,
}

impl VolumeType {
    /// All, by AWS's words.
    pub const ALL: [(&'static str, Self); 2] = [("gp2", Self::Gp2), ("gp3", Self::Gp3)];

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gp2 => "gp2",
            Self::Gp3 => "gp3",
        }
    }
}

/// What is on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Filesystem {
    Ext4,
}

impl Filesystem {
    /// All, by AWS's words.
    pub const ALL: [(&'static str, Self); 1] = [("ext4", Self::Ext4)];

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
        }
    }
}

/// A task's own volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedVolume {
    /// What was said of it.
    pub configuration: Arc<VolumeConfiguration>,
    /// `vol-` and 17 hexadecimal digits.
    pub id: Arc<str>,
    /// The id under which DescribeTasks shows it.
    pub attachment: Arc<str>,
}

/// Why a launch and its definition do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnfitVolume {
    /// The definition leaves one to the launch.
    #[error(
        "The task definition's volume '{0}' is configured at launch: volumeConfigurations must say how large it is."
    )]
    Missing(String),
    /// The definition has no such volume.
    #[error("The task definition has no volume '{0}' that is configured at launch.")]
    Unknown(Arc<str>),
}

impl VolumeConfiguration {
    /// Whether a launch that says this of volumes can be one of that definition.
    ///
    /// # Errors
    /// If not.
    pub fn fits(given: Option<&Self>, spec: &TaskDefinitionSpec) -> Result<(), UnfitVolume> {
        let left = spec.volumes.iter().find(|volume| volume.source == VolumeSource::AtLaunch);
        match (given, left) {
            (None, None) => Ok(()),
            (Some(given), Some(volume)) if *given.name == *volume.name => Ok(()),
            (Some(given), _) => Err(UnfitVolume::Unknown(given.name.clone())),
            (None, Some(volume)) => Err(UnfitVolume::Missing(volume.name.clone())),
        }
    }
}

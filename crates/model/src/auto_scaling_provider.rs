//! Capacity providers of Auto Scaling groups: the record that CreateCapacityProvider makes.

use crate::{CapacityProvider, Scope, Tags, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The largest `targetCapacity`. Source: `ManagedScalingTargetCapacity`.
pub const MAX_TARGET_CAPACITY: u32 = 100;

/// A capacity provider of an Auto Scaling group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoScalingProvider {
    /// Account and region.
    pub scope: Scope,
    /// Its name, unique in its scope.
    pub name: Arc<str>,
    /// The group's name.
    pub group: String,
    /// The group's ARN, as it was when the provider was made.
    pub group_arn: String,
    /// Whether and how the group is scaled for tasks that wait.
    #[serde(default)]
    pub managed_scaling: ManagedScaling,
    /// Whether scaling in leaves instances alone that have tasks.
    #[serde(default)]
    pub protects_tasks: bool,
    /// Whether tasks move before their instance is terminated.
    #[serde(default = "yes")]
    pub drains: bool,
    /// Whether it was deleted: it is still described, and free to be created again.
    #[serde(default)]
    pub deleted: bool,
    /// Whether it was changed since it was made.
    #[serde(default)]
    pub updated: bool,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
    /// When it was made.
    pub created_at: Timestamp,
}

/// AWS: tasks move unless somebody says otherwise.
fn yes() -> bool {
    true
}

/// How a group is scaled. Source: `ManagedScaling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedScaling {
    /// Whether it is.
    pub enabled: bool,
    /// How full the group shall be, in percent.
    pub target_capacity: u32,
    /// The fewest instances that are added at once.
    pub min_step: u32,
    /// The most instances that are added at once.
    pub max_step: u32,
    /// Seconds until a new instance counts.
    pub warmup: u32,
}

impl Default for ManagedScaling {
    /// AWS's: without a word of it the group is its owner's to scale.
    fn default() -> Self {
        Self { enabled: false, target_capacity: MAX_TARGET_CAPACITY, min_step: 1, max_step: 10_000, warmup: 300 }
    }
}

impl AutoScalingProvider {
    /// How its group is scaled for tasks that wait, if it is.
    pub fn scaling(&self) -> Option<ManagedScaling> {
        Some(self.managed_scaling).filter(|scaling| scaling.enabled && !self.deleted)
    }

    /// As strategies name it.
    pub fn provider(&self) -> CapacityProvider {
        CapacityProvider::AutoScaling(self.name.clone())
    }

    /// `arn:aws:ecs:REGION:ACCOUNT:capacity-provider/NAME`
    pub fn arn(&self) -> String {
        format!("arn:aws:ecs:{}:{}:capacity-provider/{}", self.scope.region, self.scope.account, self.name)
    }
}

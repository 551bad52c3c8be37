//! A task set: some of a service's tasks, of one form, at a number that an external controller sets.
//!
//! Where an external controller deploys a service, the service has no deployments: it says how many tasks there are to be
//! in all, and each of its task sets what its tasks are and which share of that number it has. Nothing here moves from one
//! set to the next by itself; that is the controller's doing.

use crate::{
    Creation, DeploymentId, Failures, PlacementConstraint, PlacementStrategy, PropagateTags, RevisionSpec, Tags,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Task sets of one service. Source: CreateTaskSet refuses the sixth.
pub const MAX_TASK_SETS: usize = 5;

/// What a service is that an external controller deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// Rules that bind the tasks of all sets, as the request gave them, valid.
    #[serde(default)]
    pub placement_constraints: Vec<PlacementConstraint>,
    /// Wishes for the tasks of all sets, as the request gave them, valid.
    #[serde(default)]
    pub placement_strategy: Vec<PlacementStrategy>,
    /// Whose tags the tasks get.
    pub propagate_tags: PropagateTags,
    /// Whether tasks carry `aws:ecs:clusterName` and `aws:ecs:serviceName`.
    pub managed_tags: bool,
    /// Its task sets, the oldest first; no more than [`MAX_TASK_SETS`].
    #[serde(default)]
    pub sets: Vec<TaskSet>,
}

/// One set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSet {
    /// Its id; tasks carry it as `startedBy`.
    pub id: DeploymentId,
    /// What its tasks are. Never changes.
    pub spec: Arc<RevisionSpec>,
    /// What its controller calls it.
    #[serde(default)]
    pub external_id: Option<Arc<str>>,
    /// Its share of the service's desired count.
    pub scale: Scale,
    /// What it is to its controller.
    pub status: TaskSetStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When anything was asked of it.
    pub updated_at: Timestamp,
    /// Whether its tasks are what they are to be.
    pub steady: bool,
    /// Since when that is so, or is not.
    pub steady_at: Timestamp,
    /// What became of its tasks.
    #[serde(default)]
    pub failures: Failures,
    /// By what a repeated CreateTaskSet is recognised.
    pub creation: Creation,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// What a task set is to its controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum TaskSetStatus {
    /// It serves; what is shown of the service is what this one is.
    Primary,
    Active,
    /// Deleted; its tasks are being stopped.
    Draining,
}

impl TaskSetStatus {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "PRIMARY",
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
        }
    }
}

/// A share of a service's desired count, in millionths of a percent: AWS takes fractions of percents, and records must
/// compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scale(u32);

impl Scale {
    /// All of it.
    pub const ALL: Self = Self(100_000_000);
    /// None of it.
    pub const NONE: Self = Self(0);

    /// From 0 to 100 percent; nothing else is a share.
    pub fn of_percent(percent: f64) -> Option<Self> {
        let millionths = (percent * 1e6).round();
        // Not-a-number is in no range.
        let fits = (0.0..=1e8).contains(&millionths);
        // It fits, as has just been seen.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        fits.then_some(Self(millionths as u32))
    }

    /// In percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// That share of a number of tasks, rounded up. Source: `TaskSet$computedDesiredCount`.
    pub fn of(self, desired_count: u32) -> u32 {
        let tasks = (u64::from(desired_count) * u64::from(self.0)).div_ceil(100_000_000);
        u32::try_from(tasks).unwrap_or(u32::MAX)
    }
}

impl TaskSet {
    /// How many tasks it is to have, of so many of the service: `computedDesiredCount`.
    pub fn computed_desired_count(&self, desired_count: u32) -> u32 {
        match self.status {
            TaskSetStatus::Primary | TaskSetStatus::Active => self.scale.of(desired_count),
            TaskSetStatus::Draining => 0,
        }
    }
}

impl External {
    /// The set of that id.
    pub fn set(&self, id: DeploymentId) -> Option<&TaskSet> {
        self.sets.iter().find(|set| set.id == id)
    }

    /// The set of that id, to be changed.
    pub fn set_mut(&mut self, id: DeploymentId) -> Option<&mut TaskSet> {
        self.sets.iter_mut().find(|set| set.id == id)
    }

    /// The set that serves, if its controller has named one.
    pub fn primary(&self) -> Option<&TaskSet> {
        self.sets.iter().find(|set| set.status == TaskSetStatus::Primary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up() {
        for (percent, desired, want) in [
            (0.0, 10, 0),
            (100.0, 10, 10),
            (50.0, 3, 2),
            (33.3, 10, 4),
            (0.1, 1, 1),
            (0.1, 5_000, 5),
            (99.9, 1_000, 999),
            (100.0, u32::MAX, u32::MAX),
        ] {
            let scale = Scale::of_percent(percent).unwrap();
            assert_eq!(scale.of(desired), want, "{percent} % of {desired}");
            assert!((scale.percent() - percent).abs() < 1e-9, "{percent}");
        }
        for wrong in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Scale::of_percent(wrong), None, "{wrong}");
        }
    }
}

//! What the planner may ask of the tests' cluster: its instances, and what has stopped on them.

use super::Ground;
use crate::service::{Field, InstanceState};
use model::{ContainerInstanceId, CpuUnits, Deployment, MemoryMib, Task};
use std::sync::Arc;

/// The instances, and what has stopped on them.
pub(super) struct Past<'a>(pub(super) &'a Ground, pub(super) &'a [Task]);

impl Field for Past<'_> {
    fn instance(&self, id: &ContainerInstanceId) -> Option<InstanceState> {
        self.0.instance(id)
    }
    fn eligible(&self, deployment: &Deployment) -> Vec<(ContainerInstanceId, Option<Arc<str>>)> {
        self.0.eligible(deployment)
    }
    fn zones(&self) -> Option<Vec<Arc<str>>> {
        Field::zones(self.0)
    }
    fn remaining(&self, id: &ContainerInstanceId) -> Option<(CpuUnits, MemoryMib)> {
        self.0.remaining(id)
    }
    fn stopped(&self) -> Vec<&Task> {
        self.1.iter().filter(|task| task.stopped_at().is_some()).collect()
    }
}

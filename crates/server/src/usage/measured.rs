//! What agents said that tasks used, until it is in the ledger with what they cost. In memory alone: an agent tells all that it
//! knows again in each session, and what has ended is in the ledger a second later. Never part of the state, for nothing is
//! decided by it.

use model::{ContainerInstanceArn, Measured, TaskArn};
use state::Snapshot;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use telemetry::usage::Usage;

/// By the key of the task's usage.
#[derive(Debug, Default)]
pub struct Measures(Mutex<HashMap<String, (TaskArn, Measured)>>);

impl Measures {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, (TaskArn, Measured)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what an instance says. Only its own tasks are its to speak of, so there are no more than the state has.
    pub(crate) fn take(&self, snapshot: &Snapshot, by: &ContainerInstanceArn, told: Vec<(TaskArn, Measured)>) {
        let is_its = |task: &TaskArn| snapshot.task(task).is_some_and(|task| task.instance_arn().as_ref() == Some(by));
        let own: Vec<_> = told.into_iter().filter(|(task, _)| is_its(task)).collect();
        self.with(|all| {
            for (task, measured) in own {
                let known = all.entry(task.to_string()).or_insert_with(|| (task, Measured::default()));
                known.1 = known.1.with(measured);
            }
        });
    }

    /// Puts it beside what the task costs.
    pub(crate) fn add_to(&self, usage: &mut Usage) {
        usage.measured =
            usage.measured.or_else(|| self.with(|all| all.get(&*usage.key).map(|(_, measured)| *measured)));
    }

    /// Forgets those that had ended by then, whose entries in the ledger have it, and those that are no more.
    pub(crate) fn forget(&self, written: &Snapshot, now: &Snapshot) {
        let has_ended = |task: &TaskArn| written.task(task).is_some_and(|task| task.stopped_at().is_some());
        self.with(|all| all.retain(|_, (task, _)| !has_ended(task) && now.task(task).is_some()));
    }
}

//! The disks of tasks that have one of their own, on which is all that their containers write: made while the task's network
//! interface is, so that nobody waits for them.

use crate::{node::Failure, plan::TaskPlan};
use ::runtime::Disks;
use effects::Effects;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::oneshot;

/// A size is given in these.
const GIB: u64 = 1 << 30;

/// The disks of an instance's tasks.
pub(super) struct TaskDisks {
    disks: Disks,
    effects: Effects,
    /// By task id, from when one is begun until its task is cleared.
    making: Mutex<HashMap<String, Making>>,
}

type Making = Shared<BoxFuture<'static, Result<PathBuf, Arc<io::Error>>>>;

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new("CannotCreateContainerError", format_args!("the task's ephemeral storage cannot be had: {error}"))
}

impl TaskDisks {
    pub(super) fn new(disks: Disks, effects: Effects) -> Self {
        Self { disks, effects, making: Mutex::default() }
    }

    /// Begins a task's, for those who are going to ask for it.
    pub(super) fn begin(&self, task: &TaskPlan) {
        self.begun(task);
    }

    /// Begins it, if the task has one and that was not done before. It goes on to its end whatever becomes of who asked.
    fn begun(&self, task: &TaskPlan) -> Option<Making> {
        let bytes = u64::from(task.assignment.ephemeral_storage_gib?) * GIB;
        let mut making = self.making();
        if let Some(begun) = making.get(task.id()) {
            return Some(begun.clone());
        }
        let (told, outcome) = oneshot::channel();
        let (disks, name) = (self.disks.clone(), task.id().to_owned());
        self.effects.spawn("make disk", async move {
            let made = tokio::task::spawn_blocking(move || disks.ensure(&name, bytes)).await;
            // Nobody may want to know.
            let _ = told.send(made.expect("making a disk does not panic"));
        });
        let ended = || io::Error::other("the agent ends");
        let begun = outcome.map(move |told| told.unwrap_or_else(|_| Err(ended())).map_err(Arc::new)).boxed().shared();
        making.insert(task.id().to_owned(), begun.clone());
        Some(begun)
    }

    /// Where a task's is; `None` if it has none. What failed is tried again the next time.
    pub(super) async fn of(&self, task: &TaskPlan) -> Result<Option<PathBuf>, Failure> {
        let Some(making) = self.begun(task) else { return Ok(None) };
        match making.await {
            Ok(at) => Ok(Some(at)),
            Err(error) => {
                self.making().remove(task.id());
                Err(failed(error))
            }
        }
    }

    /// Removes a task's. Its containers are gone.
    pub(super) async fn remove(&self, task: &TaskPlan) -> Result<(), Failure> {
        if task.assignment.ephemeral_storage_gib.is_none() {
            return Ok(());
        }
        let begun = self.making().get(task.id()).cloned();
        if let Some(begun) = begun {
            // However that ended, what it made is removed now.
            let _ = begun.await;
        }
        let (disks, name) = (self.disks.clone(), task.id().to_owned());
        let removed = tokio::task::spawn_blocking(move || disks.remove(&name)).await;
        let removed = removed.expect("removing a disk does not panic");
        removed.map_err(|e| Failure::new("CannotRemoveContainerError", format_args!("the task's disk: {e}")))?;
        self.making().remove(task.id());
        Ok(())
    }

    /// Removes what former runs have left of tasks that are none of these.
    pub(super) async fn adopt(&self, tasks: impl Iterator<Item = &Arc<TaskPlan>>) -> io::Result<()> {
        let keep: HashSet<String> = tasks.map(|task| task.id().to_owned()).collect();
        let disks = self.disks.clone();
        let swept = tokio::task::spawn_blocking(move || disks.sweep(&keep));
        swept.await.expect("removing disks does not panic")
    }

    fn making(&self) -> MutexGuard<'_, HashMap<String, Making>> {
        self.making.lock().expect("nothing panics while it holds the disks that are made")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn only_what_has_a_size_gets_a_disk_and_one_that_cannot_be_made_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let in_the_way = dir.path().join("disks");
        std::fs::write(&in_the_way, "").unwrap();
        let disks = TaskDisks::new(Disks::new(&in_the_way), Effects::real());
        let (mut assignment, definition) = testing::assignment(1, &["web"]);
        let plain = TaskPlan::new(assignment.clone(), definition.clone());
        assert_eq!(disks.of(&plain).await, Ok(None));
        assert_eq!(disks.remove(&plain).await, Ok(()));
        assignment.ephemeral_storage_gib = Some(21);
        let stored = TaskPlan::new(assignment, definition);
        for _ in 0..2 {
            let refused = disks.of(&stored).await.unwrap_err();
            assert!(refused.0.starts_with("CannotCreateContainerError: the task's ephemeral storage"), "{refused}");
        }
        assert!(disks.making().is_empty());
    }
}

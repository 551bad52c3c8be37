//! What the owners publish: the latest state of each task, for introspection, and which of them the server has not heard of.
//!
//! Reports are whole observations, so those of one task coalesce: a server that was away for an hour is told once how
//! things stand, not all that happened.

use crate::{plan::TaskPlan, task::TaskState};
use model::{TaskArn, TaskObservation};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};
use tokio::sync::Notify;

/// A task as its owner last left it.
#[derive(Debug, Clone)]
pub struct View {
    /// What it is.
    pub plan: Arc<TaskPlan>,
    /// How far it has come.
    pub state: Arc<TaskState>,
}

/// The published tasks.
#[derive(Default)]
pub struct Board {
    rows: Mutex<Rows>,
    changed: Notify,
}

#[derive(Default)]
struct Rows {
    views: BTreeMap<TaskArn, View>,
    unreported: BTreeSet<TaskArn>,
}

impl Board {
    pub(crate) fn publish(&self, view: View, news: bool) {
        let task = view.plan.assignment.task.clone();
        let mut rows = self.rows.lock().expect("no code panics with it");
        if news {
            rows.unreported.insert(task.clone());
        }
        rows.views.insert(task, view);
        drop(rows);
        if news {
            self.changed.notify_one();
        }
    }

    pub(crate) fn forget(&self, task: &TaskArn) {
        let mut rows = self.rows.lock().expect("no code panics with it");
        rows.views.remove(task);
        rows.unreported.remove(task);
    }

    /// Every task.
    pub fn views(&self) -> Vec<View> {
        self.rows.lock().expect("no code panics with it").views.values().cloned().collect()
    }

    /// Everything is to be told anew: a session begins.
    pub fn report_all(&self) {
        let mut rows = self.rows.lock().expect("no code panics with it");
        rows.unreported = rows.views.keys().cloned().collect();
        drop(rows);
        self.changed.notify_one();
    }

    /// The observations the server has not been told, at most `limit`; waits until there is one.
    /// Only one caller may wait at a time.
    pub async fn unreported(&self, limit: usize) -> Vec<TaskObservation> {
        loop {
            let changed = self.changed.notified();
            let taken = self.take(limit);
            if !taken.is_empty() {
                return taken;
            }
            changed.await;
        }
    }

    fn take(&self, limit: usize) -> Vec<TaskObservation> {
        let mut rows = self.rows.lock().expect("no code panics with it");
        let tasks: Vec<_> = rows.unreported.iter().take(limit).cloned().collect();
        for task in &tasks {
            rows.unreported.remove(task);
        }
        tasks.iter().filter_map(|t| rows.views.get(t).map(|v| v.state.observe(t))).collect()
    }
}

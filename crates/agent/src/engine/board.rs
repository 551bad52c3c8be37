//! What the owners publish: the latest state of each task, for introspection, and which of them the server has not heard of.
//!
//! Reports are whole observations, so those of one task coalesce: a server that was away for an hour is told once how
//! things stand, not all that happened.

use crate::{plan::TaskPlan, task::TaskState};
use effects::Effects;
use model::{ObservedStatus, TaskArn, TaskObservation};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Notify;

/// How long news that nobody waits for may wait for more. A start of a cached image and a stop are then one report each, which
/// halves what they cost the server; the original agent tells such news with the next status only.
const SOON: Duration = Duration::from_millis(500);

/// Whether the server is to be told of a change, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    /// It sees none of it.
    Nothing,
    /// A step on the way.
    Soon,
    /// The task has come to run, or to its end.
    Now,
}

impl News {
    pub(crate) fn of(before: &TaskObservation, after: &TaskObservation) -> Self {
        if before == after {
            return Self::Nothing;
        }
        match after.status {
            ObservedStatus::Running | ObservedStatus::Stopped(_) if before.status != after.status => Self::Now,
            ObservedStatus::Pending
            | ObservedStatus::Running
            | ObservedStatus::Stopping(_)
            | ObservedStatus::Stopped(_) => Self::Soon,
        }
    }
}

/// A task as its owner last left it.
#[derive(Debug, Clone)]
pub struct View {
    /// What it is.
    pub plan: Arc<TaskPlan>,
    /// How far it has come.
    pub state: Arc<TaskState>,
}

/// The published tasks.
pub struct Board {
    rows: Mutex<Rows>,
    changed: Notify,
    effects: Effects,
}

#[derive(Default)]
struct Rows {
    views: BTreeMap<TaskArn, View>,
    unreported: BTreeSet<TaskArn>,
    /// When the unreported are to be told, by the clock that never jumps.
    due: Option<Duration>,
    /// Images that are kept though no task uses them.
    images: Vec<Arc<str>>,
}

impl Rows {
    fn due_at(&mut self, moment: Duration) {
        self.due = Some(self.due.map_or(moment, |due| due.min(moment)));
    }
}

impl Board {
    pub(crate) fn new(effects: Effects) -> Self {
        Self { rows: Mutex::default(), changed: Notify::new(), effects }
    }

    /// Takes the images that tasks may soon be made of.
    pub(crate) fn want(&self, images: Vec<Arc<str>>) {
        self.rows.lock().expect("no code panics with it").images = images;
    }

    /// Those images.
    pub(crate) fn wanted(&self) -> Vec<Arc<str>> {
        self.rows.lock().expect("no code panics with it").images.clone()
    }

    pub(crate) fn publish(&self, view: View, news: News) {
        let task = view.plan.assignment.task.clone();
        let now = self.effects.monotonic();
        let mut rows = self.rows.lock().expect("no code panics with it");
        match news {
            News::Nothing => {}
            News::Soon => rows.due_at(now + SOON),
            News::Now => rows.due_at(now),
        }
        if news > News::Nothing {
            rows.unreported.insert(task.clone());
        }
        rows.views.insert(task, view);
        drop(rows);
        if news > News::Nothing {
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
        rows.due_at(self.effects.monotonic());
        drop(rows);
        self.changed.notify_one();
    }

    /// The observations the server has not been told, at most `limit`; waits until some are due.
    /// Only one caller may wait at a time.
    pub async fn unreported(&self, limit: usize) -> Vec<TaskObservation> {
        loop {
            let changed = self.changed.notified();
            let due = self.rows.lock().expect("no code panics with it").due;
            let wait = due.map(|due| due.saturating_sub(self.effects.monotonic()));
            match wait {
                None => changed.await,
                Some(Duration::ZERO) => {
                    let taken = self.take(limit);
                    if !taken.is_empty() {
                        return taken;
                    }
                }
                Some(wait) => tokio::select! {
                    () = changed => {}
                    () = self.effects.sleep(wait) => {}
                },
            }
        }
    }

    fn take(&self, limit: usize) -> Vec<TaskObservation> {
        let mut rows = self.rows.lock().expect("no code panics with it");
        let tasks: Vec<_> = rows.unreported.iter().take(limit).cloned().collect();
        for task in &tasks {
            rows.unreported.remove(task);
        }
        if rows.unreported.is_empty() {
            rows.due = None;
        }
        tasks.iter().filter_map(|t| rows.views.get(t).map(|v| v.state.observe(t))).collect()
    }
}

//! What the owners publish: the latest state of each task, for introspection, and which of them the server has not heard of.
//!
//! Reports are whole observations, so those of one task coalesce: a server that was away for an hour is told once how
//! things stand, not all that happened.

use crate::{plan::TaskPlan, task::TaskState};
use effects::Effects;
use model::{Measured, ObservedStatus, TaskArn, TaskObservation};
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

/// What the server is told at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unreported {
    /// Whole observations.
    pub tasks: Vec<TaskObservation>,
    /// What tasks have used so far.
    pub measured: Vec<(TaskArn, Measured)>,
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
    /// Those of whose use the server has not heard. It has nothing to do with how far they have come, so that nothing that only
    /// counts on is ever a change of the state.
    unmeasured: BTreeSet<TaskArn>,
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
        let used = rows.views.get(&task).and_then(|known| known.state.used);
        let is_measured = view.state.used != used;
        if is_measured {
            rows.unmeasured.insert(task.clone());
            rows.due_at(now + SOON);
        }
        rows.views.insert(task, view);
        drop(rows);
        if news > News::Nothing || is_measured {
            self.changed.notify_one();
        }
    }

    pub(crate) fn forget(&self, task: &TaskArn) {
        let mut rows = self.rows.lock().expect("no code panics with it");
        rows.views.remove(task);
        rows.unreported.remove(task);
        rows.unmeasured.remove(task);
    }

    /// Every task.
    pub fn views(&self) -> Vec<View> {
        self.rows.lock().expect("no code panics with it").views.values().cloned().collect()
    }

    /// Everything is to be told anew: a session begins.
    pub fn report_all(&self) {
        let mut rows = self.rows.lock().expect("no code panics with it");
        rows.unreported = rows.views.keys().cloned().collect();
        rows.unmeasured = rows.unreported.clone();
        rows.due_at(self.effects.monotonic());
        drop(rows);
        self.changed.notify_one();
    }

    /// What the server has not been told, of at most `limit` tasks; waits until something is due.
    /// Only one caller may wait at a time.
    pub async fn unreported(&self, limit: usize) -> Unreported {
        loop {
            let changed = self.changed.notified();
            let due = self.rows.lock().expect("no code panics with it").due;
            let wait = due.map(|due| due.saturating_sub(self.effects.monotonic()));
            match wait {
                None => changed.await,
                Some(Duration::ZERO) => {
                    let taken = self.take(limit);
                    if taken != Unreported::default() {
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

    fn take(&self, limit: usize) -> Unreported {
        let mut rows = self.rows.lock().expect("no code panics with it");
        let tasks: Vec<_> = rows.unreported.iter().take(limit).cloned().collect();
        for task in &tasks {
            rows.unreported.remove(task);
        }
        // What a task used is told with its end or before it: the server keeps it with what the task has cost.
        let others = rows.unmeasured.iter().filter(|task| tasks.binary_search(task).is_err()).take(limit - tasks.len());
        let measured: Vec<_> =
            tasks.iter().chain(others).filter(|task| rows.unmeasured.contains(*task)).cloned().collect();
        for task in &measured {
            rows.unmeasured.remove(task);
        }
        if rows.unreported.is_empty() && rows.unmeasured.is_empty() {
            rows.due = None;
        }
        let used = |task: TaskArn| rows.views.get(&task)?.state.used.map(|used| (task, used.measured));
        Unreported {
            measured: measured.into_iter().filter_map(used).collect(),
            tasks: tasks.iter().filter_map(|t| rows.views.get(t).map(|v| v.state.observe(t))).collect(),
        }
    }
}

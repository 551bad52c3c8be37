//! A service's row: its record, its tasks, and what is kept of its past.
//!
//! The tasks stand here once more, by reference, because the service loop looks at one service at a time and must not search a
//! cluster for its tasks. Whoever keeps a row can tell by it whether anything of the service has changed since.

use super::{Id, Orphan, Snapshot};
use imbl::{OrdMap, ordmap::DiffItem};
use model::{
    DeploymentId, MAX_SERVICE_EVENTS, Service, ServiceArn, ServiceDeployment, ServiceDeploymentId, ServiceEvent,
    ServiceEventRecord, ServiceRevision, ServiceStatus, Task, TaskStatus,
};
use std::{fmt, sync::Arc};

/// A service, its counts, and its past.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRow {
    /// The service.
    pub service: Arc<Service>,
    /// Its tasks whose last status is RUNNING.
    pub running: u32,
    /// Its tasks whose last status is PENDING.
    pub pending: u32,
    pub(crate) tasks: OrdMap<Id, Arc<Task>>,
    pub(crate) events: OrdMap<u64, Arc<ServiceEvent>>,
    pub(crate) revisions: OrdMap<DeploymentId, Arc<ServiceRevision>>,
    pub(crate) deployments: OrdMap<ServiceDeploymentId, Arc<ServiceDeployment>>,
}

/// How many tasks of one deployment there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// RUNNING.
    pub running: u32,
    /// PENDING.
    pub pending: u32,
    /// Those and the ones that are stopping.
    pub live: u32,
}

/// A service deployment that is new, or has changed.
#[derive(Debug, Clone, Copy)]
pub struct News<'a> {
    /// As it was, if it was there.
    pub before: Option<&'a Arc<ServiceDeployment>>,
    /// As it is.
    pub after: &'a Arc<ServiceDeployment>,
}

/// A service and its tasks as they were looked at: what a change is decided on.
#[derive(Clone)]
pub struct Seen {
    version: u64,
    tasks: OrdMap<Id, Arc<Task>>,
}

impl Seen {
    /// Whether nothing has changed since.
    pub(crate) fn holds(&self, row: &ServiceRow) -> bool {
        self.version == row.service.version && self.tasks.ptr_eq(&row.tasks)
    }
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.tasks.ptr_eq(&other.tasks)
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seen(version {}, {} tasks)", self.version, self.tasks.len())
    }
}

impl ServiceRow {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            running: 0,
            pending: 0,
            tasks: OrdMap::new(),
            events: OrdMap::new(),
            revisions: OrdMap::new(),
            deployments: OrdMap::new(),
        }
    }

    /// Its tasks that have not stopped, by id.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    /// How many tasks it has that have not stopped.
    pub fn live(&self) -> usize {
        self.tasks.len()
    }

    /// What to base a change on that is decided by looking at this row.
    pub fn seen(&self) -> Seen {
        Seen { version: self.service.version, tasks: self.tasks.clone() }
    }

    /// How many tasks of a deployment or task set there are.
    pub fn counts(&self, deployment: DeploymentId) -> Counts {
        let id = deployment.to_string();
        let of = self.tasks.values().filter(|task| task.started_by.as_deref() == Some(id.as_str()));
        of.fold(Counts::default(), |mut counts, task| {
            counts.live += 1;
            match task.last_status() {
                TaskStatus::Provisioning | TaskStatus::Pending => counts.pending += 1,
                TaskStatus::Running => counts.running += 1,
                TaskStatus::Stopping | TaskStatus::Deprovisioning | TaskStatus::Stopped => {}
            }
            counts
        })
    }

    /// Its events, the newest first.
    pub fn events(&self) -> impl Iterator<Item = &Arc<ServiceEvent>> {
        self.events.iter().rev().map(|(_, event)| event)
    }

    /// Its revisions that are kept, by number.
    pub fn revisions(&self) -> impl Iterator<Item = &Arc<ServiceRevision>> {
        self.revisions.values()
    }

    /// A revision.
    pub fn revision(&self, id: DeploymentId) -> Option<&Arc<ServiceRevision>> {
        self.revisions.get(&id)
    }

    /// Its service deployments that are kept, the oldest first.
    pub fn deployments(&self) -> impl DoubleEndedIterator<Item = &Arc<ServiceDeployment>> {
        let mut all: Vec<_> = self.deployments.values().collect();
        all.sort_by(|a, b| (a.created_at, &a.arn.id).cmp(&(b.created_at, &b.arn.id)));
        all.into_iter()
    }

    /// A service deployment.
    pub fn deployment(&self, id: &ServiceDeploymentId) -> Option<&Arc<ServiceDeployment>> {
        self.deployments.get(id)
    }

    /// The event of that number, if it is still kept.
    pub fn event(&self, sequence: u64) -> Option<&Arc<ServiceEvent>> {
        self.events.get(&sequence)
    }

    /// The events and the service deployments that this row has and `before` has not, or not so; the oldest event first.
    /// Costs what has changed.
    pub fn news_since<'a>(&'a self, before: Option<&'a Self>) -> (Vec<&'a Arc<ServiceEvent>>, Vec<News<'a>>) {
        let Some(before) = before else {
            let stories = self.deployments().map(|story| News { before: None, after: story });
            return (self.events.values().collect(), stories.collect());
        };
        let events = before.events.diff(&self.events).filter_map(|item| match item {
            // A service that was made anew under the old name counts its events from the start.
            DiffItem::Add(_, event) | DiffItem::Update { new: (_, event), .. } => Some(event),
            DiffItem::Remove(..) => None,
        });
        let stories = before.deployments.diff(&self.deployments).filter_map(|item| match item {
            DiffItem::Add(_, after) => Some(News { before: None, after }),
            DiffItem::Update { old: (_, before), new: (_, after) } => Some(News { before: Some(before), after }),
            DiffItem::Remove(..) => None,
        });
        (events.collect(), stories.collect())
    }

    /// The number behind that of its last event.
    pub(crate) fn next_event(&self) -> u64 {
        self.events.get_max().map_or(1, |(last, _)| last + 1)
    }

    /// The number of the event that is too many, if one is.
    pub(crate) fn event_too_many(&self) -> Option<u64> {
        if self.events.len() <= MAX_SERVICE_EVENTS {
            return None;
        }
        self.events.get_min().map(|(first, _)| *first)
    }

    fn count(&mut self, task: &Task, change: impl Fn(u32) -> u32) {
        match task.last_status() {
            TaskStatus::Provisioning | TaskStatus::Pending => self.pending = change(self.pending),
            TaskStatus::Running => self.running = change(self.running),
            TaskStatus::Stopping | TaskStatus::Deprovisioning | TaskStatus::Stopped => {}
        }
    }

    /// Lays a task's present form over its earlier one.
    pub(super) fn lay(&mut self, id: Id, task: &Arc<Task>) {
        let before = if task.holds_resources() { self.tasks.insert(id, task.clone()) } else { self.tasks.remove(&id) };
        if let Some(before) = before {
            self.count(&before, |n| n - 1);
        }
        self.count(task, |n| n + 1);
    }
}

fn is_active(service: &Service) -> u32 {
    match service.status {
        ServiceStatus::Active => 1,
        ServiceStatus::Draining | ServiceStatus::Inactive => 0,
    }
}

impl Snapshot {
    fn service_mut(&mut self, arn: &ServiceArn, what: &impl ToString) -> Result<&mut ServiceRow, Orphan> {
        let row = self.cluster_mut(&arn.cluster).and_then(|cluster| cluster.services.get_mut(&arn.name));
        row.map(Arc::make_mut).ok_or_else(|| Orphan::new(what, arn))
    }

    pub(crate) fn put_service(&mut self, service: &Arc<Service>) -> Result<(), Orphan> {
        let Some(cluster) = self.cluster_mut(&service.arn.cluster) else {
            return Err(Orphan::new(&service.arn, &service.arn.cluster));
        };
        cluster.active_services += is_active(service);
        let before = match cluster.services.get_mut(&service.arn.name) {
            Some(row) => {
                cluster.active_services -= is_active(&row.service);
                Some(std::mem::replace(&mut Arc::make_mut(row).service, service.clone()))
            }
            None => {
                cluster.services.insert(service.arn.name.clone(), Arc::new(ServiceRow::new(service.clone())));
                None
            }
        };
        for spec in service.specs() {
            self.count_service(&spec.task_definition, |n| n + 1)?;
        }
        for spec in before.iter().flat_map(|service| service.specs()) {
            self.count_service(&spec.task_definition, |n| n - 1)?;
        }
        Ok(())
    }

    /// Only for a service without live tasks.
    pub(crate) fn remove_service(&mut self, arn: &ServiceArn) {
        let Some(cluster) = self.cluster_mut(&arn.cluster) else { return };
        let Some(row) = cluster.services.remove(&arn.name) else { return };
        cluster.active_services -= is_active(&row.service);
        for spec in row.service.specs() {
            // It was there when the service was put, and may not be removed since.
            let _ = self.count_service(&spec.task_definition, |n| n - 1);
        }
    }

    pub(crate) fn put_service_revision(&mut self, revision: Arc<ServiceRevision>) -> Result<(), Orphan> {
        let row = self.service_mut(&revision.arn.service, &revision.arn)?;
        row.revisions.insert(revision.arn.id, revision);
        Ok(())
    }

    pub(crate) fn remove_service_revision(&mut self, service: &ServiceArn, id: DeploymentId) {
        if let Ok(row) = self.service_mut(service, service) {
            row.revisions.remove(&id);
        }
    }

    pub(crate) fn put_service_deployment(&mut self, deployment: Arc<ServiceDeployment>) -> Result<(), Orphan> {
        let row = self.service_mut(&deployment.arn.service, &deployment.arn)?;
        row.deployments.insert(deployment.arn.id.clone(), deployment);
        Ok(())
    }

    pub(crate) fn remove_service_deployment(&mut self, service: &ServiceArn, id: &ServiceDeploymentId) {
        if let Ok(row) = self.service_mut(service, service) {
            row.deployments.remove(id);
        }
    }

    pub(crate) fn put_service_event(&mut self, record: &ServiceEventRecord) -> Result<(), Orphan> {
        let row = self.service_mut(&record.service, &format!("event {}", record.sequence))?;
        row.events.insert(record.sequence, record.event.clone());
        Ok(())
    }

    pub(crate) fn remove_service_event(&mut self, service: &ServiceArn, sequence: u64) {
        if let Ok(row) = self.service_mut(service, service) {
            row.events.remove(&sequence);
        }
    }
}

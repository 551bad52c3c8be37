//! The rows of a snapshot: a record, and beside it what apply derives from the others.

use super::{Id, Order, ServiceRow, TaskFilter, TaskTable};
use crate::command::IdempotencyToken;
use imbl::{OrdMap, OrdSet, ordmap::DiffItem};
use model::{
    AccountSetting, Activation, AutoScalingGroup, AutoScalingProvider, Cluster, ClusterName, ContainerInstance,
    ContainerInstanceId, Family, GpuId, InstanceStatus, LaunchTemplate, Machine, Port, Reservation, Resources,
    ServiceName, SettingName, Task, TaskArn, TaskDefinition, TaskDefinitionStatus, Timestamp, discovery::Discovery,
    network::Network, vault::Vault,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

/// Everything of one account in one region.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScopeRow {
    pub(crate) clusters: OrdMap<ClusterName, Arc<ClusterRow>>,
    pub(crate) families: OrdMap<Family, Arc<FamilyRow>>,
    pub(crate) machines: OrdMap<String, Arc<Machine>>,
    pub(crate) activations: OrdMap<String, Arc<Activation>>,
    /// By id.
    pub(crate) launch_templates: OrdMap<String, Arc<LaunchTemplate>>,
    /// By name.
    pub(crate) scaling_groups: OrdMap<String, Arc<AutoScalingGroup>>,
    /// By name; of Auto Scaling groups, deleted ones too.
    pub(crate) capacity_providers: OrdMap<Arc<str>, Arc<AutoScalingProvider>>,
    pub(crate) settings: OrdMap<(SettingName, Option<String>), Arc<AccountSetting>>,
    /// By operation and token.
    pub(crate) tokens: OrdMap<(String, String), Arc<TokenRecord>>,
    /// Derived: the tokens by the time of their use.
    pub(crate) tokens_by_time: OrdSet<(Timestamp, (String, String))>,
    /// Of version 0 and empty while nobody has changed it.
    pub(crate) network: Arc<Network>,
    /// Of version 0 and empty while nobody has made anything of it.
    pub(crate) discovery: Arc<Discovery>,
    /// Of version 0 and empty while nobody has made anything of it.
    pub(crate) vault: Arc<Vault>,
}

/// A cluster, what it holds, and its counts.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterRow {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// Derived: its instances that are not INACTIVE, in order, so that one can be drawn by its number. Copied whole when one
    /// comes or goes: 80 KiB with 5,000 of them, which is little beside the fsync of that.
    pub(crate) registered: Arc<Vec<Id>>,
    /// Derived: how many of its instances are in which zone, INACTIVE ones too.
    pub(crate) zones: OrdMap<Arc<str>, u32>,
    /// Its tasks whose last status is RUNNING.
    pub running: u32,
    /// Its tasks whose last status is PENDING.
    pub pending: u32,
    /// Its services that are ACTIVE: `activeServicesCount`.
    pub active_services: u32,
    pub(crate) services: OrdMap<ServiceName, Arc<ServiceRow>>,
    pub(crate) instances: OrdMap<Id, Arc<InstanceRow>>,
    /// Tasks that still hold something.
    pub(crate) live: TaskTable,
    /// Tasks that have stopped and are kept to be looked at.
    pub(crate) stopped: TaskTable,
    /// The stopped ones by the time they stopped.
    pub(crate) stopped_order: OrdSet<(Timestamp, Id)>,
}

impl ClusterRow {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self {
            cluster,
            registered: Arc::default(),
            zones: OrdMap::new(),
            running: 0,
            pending: 0,
            active_services: 0,
            services: OrdMap::new(),
            instances: OrdMap::new(),
            live: TaskTable::default(),
            stopped: TaskTable::default(),
            stopped_order: OrdSet::new(),
        }
    }

    /// How many of its instances are not INACTIVE: `registeredContainerInstancesCount`.
    pub fn registered_instances(&self) -> u32 {
        u32::try_from(self.registered.len()).unwrap_or(u32::MAX)
    }

    /// Of those, the one of that number, by id from 0 up.
    pub fn registered_at(&self, number: usize) -> Option<&Arc<InstanceRow>> {
        self.instances.get(self.registered.get(number)?)
    }

    /// The zones in which it has instances, INACTIVE ones too.
    pub fn zones(&self) -> impl Iterator<Item = &Arc<str>> {
        self.zones.keys()
    }

    /// Notes that an instance of `before` is one of `after`.
    pub(crate) fn move_zone(&mut self, before: Option<&Arc<str>>, after: Option<&Arc<str>>) {
        if before == after {
            return;
        }
        if let Some(zone) = before {
            let left = self.zones.get(zone).map_or(0, |n| n - 1);
            if left == 0 {
                self.zones.remove(zone)
            } else {
                self.zones.insert(zone.clone(), left)
            };
        }
        if let Some(zone) = after {
            let there = self.zones.get(zone).map_or(1, |n| n + 1);
            self.zones.insert(zone.clone(), there);
        }
    }

    /// Notes whether an instance is registered.
    pub(crate) fn set_registered(&mut self, id: Id, is: bool) {
        match (self.registered.binary_search(&id), is) {
            (Err(at), true) => Arc::make_mut(&mut self.registered).insert(at, id),
            (Ok(at), false) => drop(Arc::make_mut(&mut self.registered).remove(at)),
            (Ok(_), true) | (Err(_), false) => {}
        }
    }

    /// Its tasks that hold something, by id.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.live.iter()
    }

    /// Its tasks that wait until an instance has room for them, by id.
    pub fn waiting(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.live.waiting()
    }

    /// Its tasks that have stopped, the last one first.
    pub fn last_stopped(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.stopped_order.iter().rev().filter_map(|(_, id)| self.stopped.get(*id))
    }

    /// How many tasks of the cluster hold something.
    pub fn live_tasks(&self) -> usize {
        self.live.len()
    }

    /// The cluster's instances by id, INACTIVE ones too.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<InstanceRow>> {
        self.instances.values()
    }

    /// An instance, INACTIVE ones too.
    pub fn instance(&self, id: &ContainerInstanceId) -> Option<&Arc<InstanceRow>> {
        self.instances.get(&Id::of(id.as_str()))
    }

    /// The cluster's services by name, INACTIVE ones too.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceRow>> {
        self.services.values()
    }

    /// A service, an INACTIVE one too.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<ServiceRow>> {
        self.services.get(name)
    }

    /// The same cluster as it was before anything was in it: what a new one is compared with.
    pub fn before_all(&self) -> Self {
        Self::new(self.cluster.clone())
    }

    /// What has changed in the cluster's services and instances since `before`.
    pub fn changes_since<'a>(&'a self, before: &'a Self) -> ClusterChanges<'a> {
        ClusterChanges { before, after: self }
    }

    /// The tasks that the filter lets through, by id.
    pub fn tasks<'a>(&'a self, filter: &'a TaskFilter) -> Box<dyn Iterator<Item = &'a Arc<Task>> + 'a> {
        super::tasks::filtered(&self.live, &self.stopped, filter)
    }
}

/// What has changed in a cluster between two snapshots. Costs what has changed, not what there is.
#[derive(Clone, Copy)]
pub struct ClusterChanges<'a> {
    before: &'a ClusterRow,
    after: &'a ClusterRow,
}

impl<'a> ClusterChanges<'a> {
    /// Services that were added, or of which anything changed: the record, a task, an event.
    pub fn services(self) -> impl Iterator<Item = &'a Arc<ServiceRow>> {
        changed(&self.before.services, &self.after.services)
    }

    /// Instances that were added, or of which anything changed, with their earlier form.
    pub fn instances(self) -> impl Iterator<Item = (Option<&'a Arc<InstanceRow>>, &'a Arc<InstanceRow>)> {
        let all = self.before.instances.diff(&self.after.instances);
        all.filter_map(|item| match item {
            DiffItem::Add(_, row) => Some((None, row)),
            DiffItem::Update { old, new } => Some((Some(old.1), new.1)),
            DiffItem::Remove(..) => None,
        })
    }

    /// Tasks that were added, or of which anything changed, with their earlier form. One that was forgotten is not among them.
    pub fn tasks(self) -> impl Iterator<Item = (Option<&'a Arc<Task>>, &'a Arc<Task>)> {
        let (before, after) = (self.before, self.after);
        let stopped = before.stopped.changes(&after.stopped);
        // What has stopped since was live before, if it was there.
        let stopped = stopped.map(move |(id, was, is)| (was.or_else(|| before.live.get(id)), is));
        before.live.changes(&after.live).map(|(_, was, is)| (was, is)).chain(stopped)
    }

    /// Whether an instance was removed.
    pub fn lost_instances(self) -> bool {
        self.before.instances.diff(&self.after.instances).any(|item| matches!(item, DiffItem::Remove(..)))
    }
}

fn changed<'a, K: Ord + Clone, V: PartialEq>(
    before: &'a OrdMap<K, V>,
    after: &'a OrdMap<K, V>,
) -> impl Iterator<Item = &'a V> {
    before.diff(after).filter_map(|item| match item {
        DiffItem::Add(_, row) => Some(row),
        DiffItem::Update { new, .. } => Some(new.1),
        DiffItem::Remove(..) => None,
    })
}

/// A container instance and what its live tasks leave of it.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRow {
    /// The instance.
    pub instance: Arc<ContainerInstance>,
    /// What is left for further tasks.
    pub remaining: Resources,
    /// Its tasks whose last status is RUNNING.
    pub running: u32,
    /// Its tasks whose last status is PENDING.
    pub pending: u32,
    /// Its tasks that still hold something.
    pub live: u32,
    /// Of those, how many are in which group.
    pub groups: BTreeMap<Arc<str>, u32>,
    /// Its availability zone. Kept here with the price because placement asks both of every instance, and a walk
    /// through the attributes for each would cost it more than all else.
    pub zone: Option<Arc<str>>,
    /// What its type costs in millionths of a US dollar an hour; 0 if it has none that we know.
    pub price_micro_usd_hour: u32,
    pub(crate) held: Held,
}

/// The sum of what the live tasks of an instance hold. Kept beside `remaining`, because that stops at zero and so can
/// not be counted back up.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Held {
    cpu: u64,
    memory: u64,
    gpus: BTreeSet<GpuId>,
    interfaces: u64,
    ports: BTreeSet<Port>,
}

impl InstanceRow {
    pub(crate) fn new(instance: Arc<ContainerInstance>) -> Self {
        let remaining = instance.registered.clone();
        let mut row = Self {
            instance,
            remaining,
            running: 0,
            pending: 0,
            live: 0,
            groups: BTreeMap::new(),
            zone: None,
            price_micro_usd_hour: 0,
            held: Held::default(),
        };
        row.keep_attributes();
        row
    }

    fn keep_attributes(&mut self) {
        let kind = self.instance.attribute("ecs.instance-type").and_then(model::instance_type::find);
        self.price_micro_usd_hour = kind.map_or(0, |kind| kind.price_micro_usd_hour);
        self.zone = self.instance.availability_zone().map(Arc::from);
    }

    /// Whether it counts as registered.
    pub fn is_registered(&self) -> bool {
        match self.instance.status {
            InstanceStatus::Active | InstanceStatus::Draining => true,
            InstanceStatus::Inactive => false,
        }
    }

    pub(crate) fn replace(&mut self, instance: Arc<ContainerInstance>) {
        self.instance = instance;
        self.keep_attributes();
        self.recount();
    }

    pub(crate) fn hold(&mut self, reservation: &Reservation, group: &Arc<str>) {
        self.held.cpu += u64::from(reservation.cpu.0);
        self.held.memory += u64::from(reservation.memory.0);
        self.held.gpus.extend(reservation.gpu_ids.iter().cloned());
        self.held.interfaces += u64::from(reservation.interfaces);
        self.held.ports.extend(reservation.ports.iter().copied());
        self.live += 1;
        *self.groups.entry(group.clone()).or_insert(0) += 1;
        self.recount();
    }

    pub(crate) fn release(&mut self, reservation: &Reservation, group: &Arc<str>) {
        self.held.cpu -= u64::from(reservation.cpu.0);
        self.held.memory -= u64::from(reservation.memory.0);
        self.held.gpus.retain(|id| !reservation.gpu_ids.contains(id));
        self.held.interfaces -= u64::from(reservation.interfaces);
        for port in &reservation.ports {
            self.held.ports.remove(port);
        }
        self.live -= 1;
        if let Some(count) = self.groups.get_mut(group) {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(group);
            }
        }
        self.recount();
    }

    /// Whether the live tasks hold more than the instance has: possible only after it came back smaller than it was.
    pub(crate) fn is_over_capacity(&self) -> bool {
        let all = &self.instance.registered;
        self.held.cpu > u64::from(all.cpu.0)
            || self.held.memory > u64::from(all.memory.0)
            || !self.held.gpus.is_subset(&all.gpus)
            || self.held.interfaces > u64::from(all.interfaces)
    }

    fn recount(&mut self) {
        let all = &self.instance.registered;
        let left = |all: u32, held: u64| u32::try_from(u64::from(all).saturating_sub(held)).unwrap_or(0);
        self.remaining.cpu.0 = left(all.cpu.0, self.held.cpu);
        self.remaining.memory.0 = left(all.memory.0, self.held.memory);
        self.remaining.gpus = all.gpus.difference(&self.held.gpus).cloned().collect();
        self.remaining.interfaces = left(all.interfaces, self.held.interfaces);
        self.remaining.ports.clone_from(&all.ports);
        self.remaining.ports.extend(self.held.ports.iter().copied());
    }
}

/// A family: the last number it gave, and its revisions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FamilyRow {
    /// The last revision number that was given, whether or not that revision still exists.
    pub last_revision: u32,
    /// How many revisions are ACTIVE.
    pub active: u32,
    pub(crate) revisions: OrdMap<u32, DefinitionRow>,
}

impl FamilyRow {
    /// The revisions from the first up.
    pub fn revisions(&self) -> impl DoubleEndedIterator<Item = &DefinitionRow> {
        self.revisions.iter().map(|(_, row)| row)
    }
}

/// A revision and how many live tasks use it.
#[derive(Debug, Clone, PartialEq)]
pub struct DefinitionRow {
    /// The revision.
    pub definition: Arc<TaskDefinition>,
    /// Live tasks that use it.
    pub live_tasks: u32,
    /// Deployments of services that use it.
    pub services: u32,
}

/// What came of the first request with an idempotency token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The token and the request it came with.
    pub token: IdempotencyToken,
    /// The tasks that were started.
    pub tasks: Vec<TaskArn>,
}

pub(super) fn definitions<'a>(
    scope: &'a ScopeRow,
    family: Option<&Family>,
    status: TaskDefinitionStatus,
    order: Order,
    after: Option<(&Family, u32)>,
) -> Box<dyn Iterator<Item = &'a Arc<TaskDefinition>> + 'a> {
    let wanted = move |row: &'a DefinitionRow| Some(&row.definition).filter(|d| d.status == status);
    // The family in which the last page ended, from the revision behind it; then the families behind that one.
    let rest = after.and_then(|(name, revision)| Some((scope.families.get(name)?, revision)));
    let rest = rest.filter(|_| family.is_none() || family == after.map(|(name, _)| name));
    let from = after.map_or(Unbounded, |(name, _)| Excluded(name.clone()));
    match (order, family) {
        (Order::Ascending, one) => {
            let first = rest.into_iter().flat_map(move |(f, last)| f.revisions.range((Excluded(last), Unbounded)));
            let first = first.filter_map(move |(_, row)| wanted(row));
            let then: Box<dyn Iterator<Item = &'a Arc<FamilyRow>>> = match (one, after) {
                (Some(_), Some(_)) => Box::new(std::iter::empty()),
                (Some(name), None) => Box::new(scope.families.get(name).into_iter()),
                (None, _) => Box::new(scope.families.range((from, Unbounded)).map(|(_, f)| f)),
            };
            Box::new(first.chain(then.flat_map(move |f| f.revisions().filter_map(wanted))))
        }
        (Order::Descending, one) => {
            let first = rest.into_iter().flat_map(move |(f, last)| f.revisions.range(..last).rev());
            let first = first.filter_map(move |(_, row)| wanted(row));
            let then: Box<dyn Iterator<Item = &'a Arc<FamilyRow>>> = match (one, after) {
                (Some(_), Some(_)) => Box::new(std::iter::empty()),
                (Some(name), None) => Box::new(scope.families.get(name).into_iter()),
                (None, Some((name, _))) => Box::new(scope.families.range(..name.clone()).rev().map(|(_, f)| f)),
                (None, None) => Box::new(scope.families.iter().rev().map(|(_, f)| f)),
            };
            Box::new(first.chain(then.flat_map(move |f| f.revisions().rev().filter_map(wanted))))
        }
    }
}

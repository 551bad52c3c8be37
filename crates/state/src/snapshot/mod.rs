//! What is known at one revision: immutable, shared, ordered, and answered from memory alone.
//!
//! Tables are persistent maps, so a snapshot costs one reference count and the writer goes on beside its readers. Each
//! table stands below its scope or cluster, which keeps keys short and lists in the order in which AWS's pages run.
//! Counts and what is left of an instance are derived: apply keeps them beside the records, and they are never stored.

mod derive;
mod discovery;
mod iam;
mod network;
mod rows;
mod scaling;
mod services;
mod tasks;
mod vault;

pub(crate) use derive::Orphan;
pub use network::PublicHolder;
pub use rows::{ClusterChanges, ClusterRow, DefinitionRow, FamilyRow, InstanceRow, ScopeRow, TokenRecord};
pub use services::{Counts, News, Seen, ServiceRow};
pub use tasks::{Desire, TaskFilter};
pub(crate) use tasks::{Id, TaskTable};

use imbl::OrdMap;
use model::{
    AccountId, AccountSetting, Activation, ClusterArn, ClusterName, ContainerInstanceArn, ContainerInstanceId, Family,
    Machine, Pool, SchedulingStrategy, Scope, ServiceArn, ServiceConnect, ServiceName, SettingName, Task, TaskArn,
    TaskDefinition, TaskDefinitionArn, TaskDefinitionStatus, Timestamp, iam::Directory,
};
use std::{
    net::Ipv4Addr,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

/// Everything that is known at one revision.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    pub(crate) revision: u64,
    pub(crate) scopes: OrdMap<Scope, Arc<ScopeRow>>,
    /// Of version 0 and empty while nobody has made anything of it.
    pub(crate) directories: OrdMap<AccountId, Arc<Directory>>,
    /// Derived: the addresses of all machines that are not terminated; they share one host.
    pub(crate) addresses: OrdMap<Ipv4Addr, Arc<Machine>>,
    /// Derived: whose the public addresses are that are allocated; all scopes share one pool.
    pub(crate) public: OrdMap<Ipv4Addr, PublicHolder>,
}

/// Which order a list runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By family, then from the first revision up.
    Ascending,
    /// By family backwards, then from the last revision down.
    Descending,
}

impl Snapshot {
    /// Counts everything that was committed; two snapshots of one revision are the same.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All scopes that hold anything, in order.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.keys()
    }

    pub(crate) fn scope(&self, scope: &Scope) -> Option<&ScopeRow> {
        self.scopes.get(scope).map(|row| &**row)
    }

    // Clusters and what they hold.

    /// A cluster and its counts, INACTIVE ones too.
    pub fn cluster(&self, arn: &ClusterArn) -> Option<&ClusterRow> {
        self.scope(&arn.scope)?.clusters.get(&arn.name).map(|row| &**row)
    }

    /// The scope's clusters by name, from the one behind `after`.
    pub fn clusters(&self, scope: &Scope, after: Option<&ClusterName>) -> impl Iterator<Item = &ClusterRow> {
        let from = after.map_or(Unbounded, |name| Excluded(name.clone()));
        self.scope(scope)
            .into_iter()
            .flat_map(move |s| s.clusters.range((from.clone(), Unbounded)).map(|(_, row)| &**row))
    }

    /// A container instance with what is left of it, INACTIVE ones too.
    pub fn instance(&self, arn: &ContainerInstanceArn) -> Option<&Arc<InstanceRow>> {
        self.cluster(&arn.cluster)?.instances.get(&Id::of(arn.id.as_str()))
    }

    /// The cluster's container instances by id, from the one behind `after`, INACTIVE ones too.
    pub fn instances(
        &self,
        cluster: &ClusterArn,
        after: Option<&ContainerInstanceId>,
    ) -> impl Iterator<Item = &Arc<InstanceRow>> {
        let from = after.map_or(Unbounded, |id| Excluded(Id::of(id.as_str())));
        self.cluster(cluster).into_iter().flat_map(move |c| c.instances.range((from, Unbounded)).map(|(_, row)| row))
    }

    // Tasks.

    /// A task, live or stopped.
    pub fn task(&self, arn: &TaskArn) -> Option<&Arc<Task>> {
        let cluster = self.cluster(&arn.cluster)?;
        let id = Id::of(arn.id.as_str());
        cluster.live.get(id).or_else(|| cluster.stopped.get(id))
    }

    /// The cluster's tasks that the filter lets through, by id, from the one behind `filter.after`.
    pub fn tasks<'a>(&'a self, cluster: &ClusterArn, filter: &'a TaskFilter) -> impl Iterator<Item = &'a Arc<Task>> {
        self.cluster(cluster).into_iter().flat_map(move |row| row.tasks(filter))
    }

    /// The tasks that still hold something on an instance, by id: what its agent is to be told.
    pub fn live_tasks_on(&self, instance: &ContainerInstanceArn) -> impl Iterator<Item = &Arc<Task>> {
        let id = instance.id.clone();
        self.served_by(&instance.cluster).flat_map(move |row| row.live.on_instance(&id))
    }

    /// Whether an instance has tasks that are no daemon's.
    pub fn has_tasks_beside_daemons(&self, instance: &ContainerInstanceArn) -> bool {
        let is_daemon = |task: &Arc<Task>| {
            let service = ServiceArn::of_group(&task.arn.cluster, &task.group);
            let row = service.and_then(|arn| self.service(&arn));
            row.is_some_and(|row| row.service.scheduling == SchedulingStrategy::Daemon)
        };
        self.live_tasks_on(instance).any(|task| !is_daemon(task))
    }

    /// The clusters whose tasks may be on a cluster's instances: itself, or all of its region if they are Fargate's.
    fn served_by(&self, cluster: &ClusterArn) -> impl Iterator<Item = &ClusterRow> {
        let (all, own) = match Pool::of(cluster) {
            Pool::Fargate => (self.scope(&cluster.scope), None),
            Pool::Cluster => (None, self.cluster(cluster)),
        };
        all.into_iter().flat_map(|scope| scope.clusters.values().map(|row| &**row)).chain(own)
    }

    /// Tasks of a cluster that stopped before `before`, the longest stopped first.
    pub fn stopped_before(&self, cluster: &ClusterArn, before: Timestamp) -> impl Iterator<Item = &Arc<Task>> {
        self.cluster(cluster).into_iter().flat_map(move |row| {
            row.stopped_order.iter().take_while(move |(at, _)| *at < before).filter_map(|(_, id)| row.stopped.get(*id))
        })
    }

    /// How many tasks are kept, live ones and stopped ones.
    pub fn task_counts(&self) -> (usize, usize) {
        let clusters = self.scopes.values().flat_map(|s| s.clusters.values());
        clusters.fold((0, 0), |(live, stopped), c| (live + c.live.len(), stopped + c.stopped.len()))
    }

    // Services.

    /// A service with its tasks and its past, INACTIVE ones too.
    pub fn service(&self, arn: &ServiceArn) -> Option<&Arc<ServiceRow>> {
        self.cluster(&arn.cluster)?.services.get(&arn.name)
    }

    /// The scope's ACTIVE services that enable Service Connect, with what each of their revisions says of it.
    pub fn connected<'a>(&'a self, scope: &Scope) -> impl Iterator<Item = (&'a ServiceRow, &'a Arc<ServiceConnect>)> {
        let rows = self.clusters(scope, None).flat_map(|cluster| cluster.services());
        let rows = rows.filter(|row| row.service.is_active());
        rows.flat_map(|row| row.service.specs().filter_map(move |spec| Some((&**row, spec.connect.as_ref()?))))
    }

    /// The cluster's services by name, from the one behind `after`, INACTIVE ones too.
    pub fn services(
        &self,
        cluster: &ClusterArn,
        after: Option<&ServiceName>,
    ) -> impl Iterator<Item = &Arc<ServiceRow>> {
        let from = after.map_or(Unbounded, |name| Excluded(name.clone()));
        let cluster = self.cluster(cluster).into_iter();
        cluster.flat_map(move |c| c.services.range((from.clone(), Unbounded)).map(|(_, row)| row))
    }

    // Task definitions.

    /// A revision, of any status.
    pub fn task_definition(&self, arn: &TaskDefinitionArn) -> Option<&Arc<TaskDefinition>> {
        self.definition_row(arn).map(|row| &row.definition)
    }

    /// A revision with the number of live tasks that use it.
    pub fn definition_row(&self, arn: &TaskDefinitionArn) -> Option<&DefinitionRow> {
        self.scope(&arn.scope)?.families.get(&arn.family)?.revisions.get(&arn.revision)
    }

    /// The latest ACTIVE revision of a family.
    pub fn latest_active(&self, scope: &Scope, family: &Family) -> Option<&Arc<TaskDefinition>> {
        let family = self.scope(scope)?.families.get(family)?;
        let mut newest_first = family.revisions.iter().rev().map(|(_, row)| &row.definition);
        newest_first.find(|d| d.status == TaskDefinitionStatus::Active)
    }

    /// The scope's families by name, from the one behind `after`.
    pub fn families(&self, scope: &Scope, after: Option<&Family>) -> impl Iterator<Item = (&Family, &FamilyRow)> {
        let from = after.map_or(Unbounded, |name| Excluded(name.clone()));
        let scope = self.scope(scope).into_iter();
        scope.flat_map(move |s| s.families.range((from.clone(), Unbounded)).map(|(name, row)| (name, &**row)))
    }

    /// The scope's revisions of a status, by family and number, from the one behind `after`; of one family only, if named.
    pub fn task_definitions(
        &self,
        scope: &Scope,
        family: Option<&Family>,
        status: TaskDefinitionStatus,
        order: Order,
        after: Option<(&Family, u32)>,
    ) -> Box<dyn Iterator<Item = &Arc<TaskDefinition>> + '_> {
        let Some(scope) = self.scope(scope) else { return Box::new(std::iter::empty()) };
        rows::definitions(scope, family, status, order, after)
    }

    // Machines, activations, settings, tokens.

    /// The scope's machines by id, terminated ones too.
    pub fn machines(&self, scope: &Scope, after: Option<&str>) -> impl Iterator<Item = &Arc<Machine>> {
        let from = after.map_or(Unbounded, |id| Excluded(id.to_owned()));
        let scope = self.scope(scope).into_iter();
        scope.flat_map(move |s| s.machines.range((from.clone(), Unbounded)).map(|(_, machine)| machine))
    }

    /// Every machine of every scope: what the host's loop looks at.
    pub fn all_machines(&self) -> impl Iterator<Item = &Arc<Machine>> {
        self.scopes.values().flat_map(|s| s.machines.values())
    }

    /// A machine.
    pub fn machine(&self, scope: &Scope, id: &str) -> Option<&Arc<Machine>> {
        self.scope(scope)?.machines.get(id)
    }

    /// The machine that has an address, unless it is terminated.
    pub fn machine_at(&self, address: Ipv4Addr) -> Option<&Arc<Machine>> {
        self.addresses.get(&address)
    }

    /// A join token.
    pub fn activation(&self, scope: &Scope, id: &str) -> Option<&Arc<Activation>> {
        self.scope(scope)?.activations.get(id)
    }

    /// The scope's join tokens by id.
    pub fn activations(&self, scope: &Scope, after: Option<&str>) -> impl Iterator<Item = &Arc<Activation>> {
        let from = after.map_or(Unbounded, |id| Excluded(id.to_owned()));
        let scope = self.scope(scope).into_iter();
        scope.flat_map(move |s| s.activations.range((from.clone(), Unbounded)).map(|(_, activation)| activation))
    }

    /// The value somebody chose for a setting; `None` as principal asks for the account's default.
    pub fn setting(&self, scope: &Scope, name: SettingName, principal: Option<&str>) -> Option<&Arc<AccountSetting>> {
        self.scope(scope)?.settings.get(&(name, principal.map(str::to_owned)))
    }

    /// All settings anybody chose in a scope, by name, the account's default before the principals'.
    pub fn settings(&self, scope: &Scope) -> impl Iterator<Item = &Arc<AccountSetting>> {
        self.scope(scope).into_iter().flat_map(|s| s.settings.values())
    }

    /// What came of an idempotency token.
    pub fn token(&self, scope: &Scope, operation: &str, token: &str) -> Option<&Arc<TokenRecord>> {
        self.scope(scope)?.tokens.get(&(operation.to_owned(), token.to_owned()))
    }
}

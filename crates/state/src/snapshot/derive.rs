//! Puts records into a snapshot and carries along what is derived from them. The one place where counts change: apply
//! and loading both come here.

use super::{
    ClusterRow, DefinitionRow, FamilyRow, Id, InstanceRow, ScopeRow, Snapshot, TaskTable, TokenRecord, tasks::in_order,
};
use model::{
    AccountSetting, Activation, Cluster, ClusterArn, ContainerInstance, ContainerInstanceArn, Family, Machine,
    MachineState, Scope, ServiceArn, SettingName, Task, TaskArn, TaskDefinition, TaskDefinitionArn,
    TaskDefinitionStatus, TaskStatus,
};
use std::{collections::HashMap, sync::Arc};

/// A record whose owner does not exist. In apply that can not be, since it looks first; in a store it is damage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} belongs to {owner}, which does not exist")]
pub(crate) struct Orphan {
    what: String,
    owner: String,
}

impl Orphan {
    pub(super) fn new(what: &impl ToString, owner: &impl ToString) -> Self {
        Self { what: what.to_string(), owner: owner.to_string() }
    }
}

fn orphan(what: &impl ToString, owner: &impl ToString) -> Orphan {
    Orphan::new(what, owner)
}

/// What one task adds to the counts.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Share {
    live: bool,
    running: u32,
    pending: u32,
}

impl Share {
    fn of(task: &Task) -> Self {
        let (running, pending) = match task.last_status() {
            TaskStatus::Provisioning | TaskStatus::Pending => (0, 1),
            TaskStatus::Running => (1, 0),
            TaskStatus::Stopping | TaskStatus::Deprovisioning | TaskStatus::Stopped => (0, 0),
        };
        Self { live: task.holds_resources(), running, pending }
    }

    fn on_instance(task: &Task) -> Self {
        if task.container_instance.is_some() { Self::of(task) } else { Self::default() }
    }
}

impl Snapshot {
    pub(crate) fn scope_mut(&mut self, scope: &Scope) -> &mut ScopeRow {
        Arc::make_mut(self.scopes.entry(scope.clone()).or_default())
    }

    pub(super) fn cluster_mut(&mut self, arn: &ClusterArn) -> Option<&mut ClusterRow> {
        let scope = Arc::make_mut(self.scopes.get_mut(&arn.scope)?);
        Some(Arc::make_mut(scope.clusters.get_mut(&arn.name)?))
    }

    fn instance_mut(&mut self, arn: &ContainerInstanceArn) -> Option<&mut InstanceRow> {
        let instances = &mut self.cluster_mut(&arn.cluster)?.instances;
        instances.get_mut(&Id::of(arn.id.as_str())).map(Arc::make_mut)
    }

    pub(crate) fn put_cluster(&mut self, cluster: Arc<Cluster>) {
        let clusters = &mut self.scope_mut(&cluster.arn.scope).clusters;
        match clusters.get_mut(&cluster.arn.name) {
            Some(row) => Arc::make_mut(row).cluster = cluster,
            None => {
                clusters.insert(cluster.arn.name.clone(), Arc::new(ClusterRow::new(cluster)));
            }
        }
    }

    pub(crate) fn put_instance(&mut self, instance: Arc<ContainerInstance>) -> Result<(), Orphan> {
        let Some(cluster) = self.cluster_mut(&instance.arn.cluster) else {
            return Err(orphan(&instance.arn, &instance.arn.cluster));
        };
        let id = Id::of(instance.arn.id.as_str());
        let before = cluster.instances.get(&id).and_then(|row| row.zone.clone());
        let mut row = match cluster.instances.get(&id) {
            Some(row) => row.clone(),
            None => Arc::new(InstanceRow::new(instance.clone())),
        };
        Arc::make_mut(&mut row).replace(instance);
        cluster.move_zone(before.as_ref(), row.zone.as_ref());
        cluster.set_registered(id, row.is_registered());
        cluster.instances.insert(id, row);
        Ok(())
    }

    /// Only for an instance without live tasks.
    pub(crate) fn remove_instance(&mut self, arn: &ContainerInstanceArn) {
        let Some(cluster) = self.cluster_mut(&arn.cluster) else { return };
        let id = Id::of(arn.id.as_str());
        let removed = cluster.instances.remove(&id);
        cluster.move_zone(removed.and_then(|row| row.zone.clone()).as_ref(), None);
        cluster.set_registered(id, false);
    }

    /// Puts a task in the place of its earlier form, or adds it.
    pub(crate) fn put_task(&mut self, task: Arc<Task>) -> Result<(), Orphan> {
        let definition = task.definition.clone();
        let id = Id::of(task.arn.id.as_str());
        let is = Share::of(&task);
        let Some(cluster) = self.cluster_mut(&task.arn.cluster) else {
            return Err(orphan(&task.arn, &task.arn.cluster));
        };
        let before = cluster.live.get(id);
        let was = before.map_or(Share::default(), |before| Share::of(before));
        // What it is to its instance: nothing as long as it waits for one.
        let (was_on, is_on) =
            (before.map_or(Share::default(), |before| Share::on_instance(before)), Share::on_instance(&task));
        if was != is {
            cluster.running = cluster.running + is.running - was.running;
            cluster.pending = cluster.pending + is.pending - was.pending;
        }
        if let Some(arn) = task.instance_arn().filter(|_| was_on != is_on) {
            let Some(row) = self.instance_mut(&arn) else {
                return Err(orphan(&task.arn, &format!("container instance {}", arn.id)));
            };
            row.running = row.running + is_on.running - was_on.running;
            row.pending = row.pending + is_on.pending - was_on.pending;
            match (was_on.live, is_on.live) {
                (false, true) => row.hold(&task.reservation, &task.group),
                (true, false) => row.release(&task.reservation, &task.group),
                (true, true) | (false, false) => {}
            }
        }
        let cluster = self.cluster_mut(&task.arn.cluster).expect("it was there a moment ago");
        if let Some(service) = ServiceArn::of_group(&task.arn.cluster, &task.group) {
            let Some(row) = cluster.services.get_mut(&service.name) else {
                return Err(orphan(&task.arn, &service));
            };
            Arc::make_mut(row).lay(id, &task);
        }
        let cluster = match &task.attachment {
            None => cluster,
            Some(_) => {
                self.lay_attachment(&task);
                self.cluster_mut(&task.arn.cluster).expect("it was there a moment ago")
            }
        };
        match task.stopped_at() {
            None => cluster.live.put(id, task),
            Some(at) => {
                cluster.live.remove(id);
                cluster.stopped_order.insert((at, id));
                cluster.stopped.put(id, task);
            }
        }
        match (was.live, is.live) {
            (false, true) => self.count_use(&definition, |n| n + 1),
            (true, false) => self.count_use(&definition, |n| n - 1),
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// Puts tasks of a snapshot that has none yet. The stopped ones of a cluster, which count for nothing but themselves, go
    /// into its tables all at once and in order: one by one each would look for its place in memory that no cache holds.
    pub(crate) fn put_loaded_tasks(&mut self, tasks: Vec<Arc<Task>>) -> Result<(), Orphan> {
        let mut stopped: HashMap<ClusterArn, Vec<(Id, Arc<Task>)>> = HashMap::new();
        for task in tasks {
            if task.holds_resources() {
                self.put_task(task)?;
                continue;
            }
            self.lay_attachment(&task);
            let entry = (Id::of(task.arn.id.as_str()), task);
            match stopped.get_mut(&entry.1.arn.cluster) {
                Some(tasks) => tasks.push(entry),
                None => {
                    stopped.insert(entry.1.arn.cluster.clone(), vec![entry]);
                }
            }
        }
        for (arn, tasks) in stopped {
            let Some(cluster) = self.cluster_mut(&arn) else {
                return Err(orphan(&format!("stopped tasks of {arn}"), &arn));
            };
            let mut order: Vec<_> = tasks.iter().filter_map(|(id, task)| Some((task.stopped_at()?, *id))).collect();
            order.sort_unstable();
            cluster.stopped_order = in_order(&order).collect();
            cluster.stopped = TaskTable::of(tasks);
        }
        Ok(())
    }

    fn count_use(&mut self, arn: &TaskDefinitionArn, change: impl FnOnce(u32) -> u32) -> Result<(), Orphan> {
        let row = self.definition_mut(arn).ok_or_else(|| orphan(&"a live task", arn))?;
        row.live_tasks = change(row.live_tasks);
        Ok(())
    }

    pub(super) fn count_service(
        &mut self,
        arn: &TaskDefinitionArn,
        change: impl FnOnce(u32) -> u32,
    ) -> Result<(), Orphan> {
        let row = self.definition_mut(arn).ok_or_else(|| orphan(&"a service", arn))?;
        row.services = change(row.services);
        Ok(())
    }

    fn definition_mut(&mut self, arn: &TaskDefinitionArn) -> Option<&mut DefinitionRow> {
        let family = self.scope_mut(&arn.scope).families.get_mut(&arn.family);
        family.and_then(|f| Arc::make_mut(f).revisions.get_mut(&arn.revision))
    }

    /// Only for a stopped task.
    pub(crate) fn remove_task(&mut self, arn: &TaskArn) {
        let Some(cluster) = self.cluster_mut(&arn.cluster) else { return };
        let id = Id::of(arn.id.as_str());
        let removed = cluster.stopped.remove(id);
        if let Some(at) = removed.as_ref().and_then(|task| task.stopped_at()) {
            cluster.stopped_order.remove(&(at, id));
        }
        if let Some(task) = removed {
            self.forget_attachment(&task);
        }
    }

    pub(crate) fn put_family(&mut self, scope: &Scope, family: &Family, last_revision: u32) {
        let row = self.scope_mut(scope).families.entry(family.clone()).or_default();
        Arc::make_mut(row).last_revision = last_revision;
    }

    pub(crate) fn put_definition(&mut self, definition: Arc<TaskDefinition>) -> Result<(), Orphan> {
        let active = |d: &TaskDefinition| match d.status {
            TaskDefinitionStatus::Active => 1,
            TaskDefinitionStatus::Inactive | TaskDefinitionStatus::DeleteInProgress => 0,
        };
        let arn = definition.arn.clone();
        let Some(family) = self.scope_mut(&arn.scope).families.get_mut(&arn.family) else {
            return Err(orphan(&arn, &format!("family {}", arn.family)));
        };
        let family: &mut FamilyRow = Arc::make_mut(family);
        family.active += active(&definition);
        match family.revisions.get_mut(&arn.revision) {
            Some(row) => {
                family.active -= active(&row.definition);
                row.definition = definition;
            }
            None => {
                family.revisions.insert(arn.revision, DefinitionRow { definition, live_tasks: 0, services: 0 });
            }
        }
        Ok(())
    }

    /// Only for one that is not ACTIVE and not in use.
    pub(crate) fn remove_definition(&mut self, arn: &TaskDefinitionArn) {
        if let Some(family) = self.scope_mut(&arn.scope).families.get_mut(&arn.family) {
            Arc::make_mut(family).revisions.remove(&arn.revision);
        }
    }

    pub(crate) fn put_machine(&mut self, machine: Arc<Machine>) {
        match machine.state {
            MachineState::Terminated => self.release_address(&machine),
            MachineState::Pending
            | MachineState::Running
            | MachineState::Stopping
            | MachineState::Stopped
            | MachineState::ShuttingDown => {
                self.addresses.insert(machine.private_ip, machine.clone());
            }
        }
        self.scope_mut(&machine.scope).machines.insert(machine.id.clone(), machine);
    }

    pub(crate) fn remove_machine(&mut self, scope: &Scope, id: &str) {
        if let Some(machine) = self.scope_mut(scope).machines.remove(id) {
            self.release_address(&machine);
        }
    }

    fn release_address(&mut self, machine: &Machine) {
        if self.addresses.get(&machine.private_ip).is_some_and(|holder| holder.id == machine.id) {
            self.addresses.remove(&machine.private_ip);
        }
    }

    pub(crate) fn put_activation(&mut self, activation: Arc<Activation>) {
        self.scope_mut(&activation.scope).activations.insert(activation.id.clone(), activation);
    }

    pub(crate) fn remove_activation(&mut self, scope: &Scope, id: &str) {
        self.scope_mut(scope).activations.remove(id);
    }

    pub(crate) fn put_setting(&mut self, scope: &Scope, setting: Arc<AccountSetting>) {
        self.scope_mut(scope).settings.insert((setting.name, setting.principal.clone()), setting);
    }

    pub(crate) fn remove_setting(&mut self, scope: &Scope, key: &(SettingName, Option<String>)) {
        self.scope_mut(scope).settings.remove(key);
    }

    pub(crate) fn put_token(&mut self, record: Arc<TokenRecord>) {
        let key = (record.token.operation.clone(), record.token.token.clone());
        let scope = self.scope_mut(&record.token.scope);
        scope.tokens_by_time.insert((record.token.at, key.clone()));
        scope.tokens.insert(key, record);
    }

    pub(crate) fn remove_token(&mut self, record: &TokenRecord) {
        let key = (record.token.operation.clone(), record.token.token.clone());
        let scope = self.scope_mut(&record.token.scope);
        scope.tokens.remove(&key);
        scope.tokens_by_time.remove(&(record.token.at, key));
    }
}

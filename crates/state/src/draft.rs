//! The state as it will be if a group becomes durable: a cheap copy of the snapshot, the changes to be written, and whom
//! they concern.
//!
//! Every method here changes snapshot, batch and topics together, so that memory and disk can not drift apart.

use crate::{
    backend::{Batch, Change},
    feed::Topic,
    intern::Interner,
    record::{
        DiscoveryRecord, FamilyRecord, IamRecord, Kind, NetworkRecord, Record, SettingRecord, VaultRecord, of_account,
        scoped, service_event_key, setting_key, token_key,
    },
    snapshot::{Orphan, Snapshot, TokenRecord},
};
use model::{
    AccountId, AccountSetting, Activation, AutoScalingGroup, AutoScalingProvider, Cluster, ContainerInstance,
    ContainerInstanceArn, DeploymentId, Family, LaunchTemplate, Machine, Scope, Service, ServiceArn, ServiceDeployment,
    ServiceDeploymentId, ServiceEvent, ServiceEventRecord, ServiceRevision, SettingName, Task, TaskArn, TaskDefinition,
    TaskDefinitionArn, Timestamp, discovery, iam, network, vault,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

pub(crate) struct Draft<'a> {
    /// What the next command is decided on.
    pub(crate) next: Snapshot,
    changes: BTreeMap<(Kind, String), Option<Record>>,
    touched: HashSet<Topic>,
    interner: &'a mut Interner,
}

/// A draft that is ready to be written.
pub(crate) struct Finished {
    pub(crate) snapshot: Snapshot,
    pub(crate) batch: Batch,
    pub(crate) touched: HashSet<Topic>,
}

const LOOKED: &str = "apply looks for a record's owner before it puts the record";

fn owned(put: Result<(), Orphan>) {
    put.expect(LOOKED);
}

impl<'a> Draft<'a> {
    pub(crate) fn new(base: &Snapshot, interner: &'a mut Interner) -> Self {
        let next = base.clone();
        Self { next, changes: BTreeMap::new(), touched: HashSet::from([Topic::All]), interner }
    }

    pub(crate) fn finish(self) -> Finished {
        let batch = self.changes.into_iter().map(|((kind, key), record)| {
            let value = record.map(|record| record.encode());
            Change { kind, key, value }
        });
        Finished { snapshot: self.next, batch: batch.collect(), touched: self.touched }
    }

    fn write(&mut self, record: Record) {
        self.changes.insert((record.kind(), record.key()), Some(record));
    }

    fn erase(&mut self, kind: Kind, key: String) {
        self.changes.insert((kind, key), None);
    }

    pub(crate) fn put_cluster(&mut self, cluster: Cluster) -> Arc<Cluster> {
        let cluster = Arc::new(cluster);
        self.interner.cluster(&cluster);
        self.next.put_cluster(cluster.clone());
        self.write(Record::Cluster(cluster.clone()));
        cluster
    }

    pub(crate) fn put_instance(&mut self, instance: ContainerInstance) -> Arc<ContainerInstance> {
        let instance = Arc::new(instance);
        self.touch_network_of(&instance);
        owned(self.next.put_instance(instance.clone()));
        self.touched.insert(Topic::Instance(instance.arn.clone()));
        self.touched.insert(Topic::Instances);
        self.write(Record::ContainerInstance(instance.clone()));
        instance
    }

    /// Others reach an instance's tasks at its address, and a NAT gateway has its place on one that is there.
    fn touch_network_of(&mut self, instance: &ContainerInstance) {
        let scope = &instance.arn.cluster.scope;
        let Some(network) = self.next.network(scope) else { return };
        let has_gateways = network.nat_gateways().next().is_some();
        let known = self.next.instance(&instance.arn).map(|row| &row.instance);
        let moved = known.is_some_and(|known| {
            // Others are told the key with the address.
            known.address != instance.address || known.wireguard != instance.wireguard
        });
        let there = |one: &ContainerInstance| (one.agent_connected, one.status);
        if moved || (has_gateways && known.is_none_or(|known| there(known) != there(instance))) {
            self.touched.insert(Topic::Network(scope.clone()));
        }
    }

    pub(crate) fn remove_instance(&mut self, arn: &ContainerInstanceArn) {
        self.next.remove_instance(arn);
        self.touched.insert(Topic::Instance(arn.clone()));
        self.touched.insert(Topic::Instances);
        self.erase(Kind::ContainerInstance, arn.to_string());
    }

    pub(crate) fn put_task(&mut self, task: Task) -> Arc<Task> {
        let task = Arc::new(self.interner.task(task));
        let wanted = |task: &Task| task.holds_resources().then(|| task.desired.clone());
        let known = self.next.task(&task.arn);
        let is_placed = known.is_none_or(|known| known.container_instance != task.container_instance);
        let news = is_placed || known.and_then(|known| wanted(known)) != wanted(&task);
        let lived = known.is_some_and(|known| known.holds_resources());
        let is_found = |task: &Task| (task.last_status(), task.is_to_stop(), task.health());
        let renamed = self.next.discovery(&task.arn.cluster.scope).is_some()
            && ServiceArn::of_group(&task.arn.cluster, &task.group).is_some()
            && known.is_none_or(|known| is_found(known) != is_found(&task));
        if renamed || (task.attachment.is_some() && (is_placed || lived != task.holds_resources())) {
            self.touched.insert(Topic::Network(task.arn.cluster.scope.clone()));
        }
        owned(self.next.put_task(task.clone()));
        if let Some(instance) = task.instance_arn().filter(|_| news) {
            self.touched.insert(Topic::Instance(instance));
        }
        self.touched.insert(Topic::Tasks);
        self.write(Record::Task(task.clone()));
        task
    }

    pub(crate) fn remove_task(&mut self, arn: &TaskArn) {
        self.next.remove_task(arn);
        self.touched.insert(Topic::Tasks);
        self.erase(Kind::Task, arn.to_string());
    }

    pub(crate) fn put_service(&mut self, service: Service) -> Arc<Service> {
        let service = Arc::new(service);
        // What names its tasks give and know: those of the deployments it has.
        let said = |service: &Service| {
            let deployments = service.deployments.iter().map(|one| one.id).collect::<Vec<_>>();
            (service.is_active(), deployments)
        };
        let known = self.next.service(&service.arn).map(|row| &row.service);
        if service.specs().any(|spec| spec.connect.is_some()) && known.is_none_or(|known| said(known) != said(&service))
        {
            self.touched.insert(Topic::Network(service.arn.cluster.scope.clone()));
        }
        owned(self.next.put_service(&service));
        self.write(Record::Service(service.clone()));
        service
    }

    pub(crate) fn remove_service(&mut self, arn: &ServiceArn) {
        self.next.remove_service(arn);
        self.erase(Kind::Service, arn.to_string());
    }

    pub(crate) fn put_service_revision(&mut self, revision: ServiceRevision) {
        let revision = Arc::new(revision);
        owned(self.next.put_service_revision(revision.clone()));
        self.write(Record::ServiceRevision(revision));
    }

    pub(crate) fn remove_service_revision(&mut self, service: &ServiceArn, id: DeploymentId) {
        self.next.remove_service_revision(service, id);
        let arn = model::ServiceRevisionArn { service: service.clone(), id };
        self.erase(Kind::ServiceRevision, arn.to_string());
    }

    pub(crate) fn put_service_deployment(&mut self, deployment: ServiceDeployment) {
        let deployment = Arc::new(deployment);
        // Its stage can say which of two revisions is found by the names of Service Connect.
        if deployment.lifecycle.is_some() && self.next.discovery(&deployment.arn.service.cluster.scope).is_some() {
            self.touched.insert(Topic::Network(deployment.arn.service.cluster.scope.clone()));
        }
        owned(self.next.put_service_deployment(deployment.clone()));
        self.write(Record::ServiceDeployment(deployment));
    }

    pub(crate) fn remove_service_deployment(&mut self, service: &ServiceArn, id: &ServiceDeploymentId) {
        self.next.remove_service_deployment(service, id);
        let arn = model::ServiceDeploymentArn { service: service.clone(), id: id.clone() };
        self.erase(Kind::ServiceDeployment, arn.to_string());
    }

    pub(crate) fn put_service_event(&mut self, service: &ServiceArn, sequence: u64, event: ServiceEvent) {
        let record = ServiceEventRecord { service: service.clone(), sequence, event: Arc::new(event) };
        owned(self.next.put_service_event(&record));
        self.write(Record::ServiceEvent(record));
    }

    pub(crate) fn remove_service_event(&mut self, service: &ServiceArn, sequence: u64) {
        self.next.remove_service_event(service, sequence);
        self.erase(Kind::ServiceEvent, service_event_key(service, sequence));
    }

    pub(crate) fn put_family(&mut self, scope: &Scope, family: &Family, last_revision: u32) {
        self.next.put_family(scope, family, last_revision);
        let (scope, family) = (scope.clone(), family.clone());
        self.write(Record::Family(FamilyRecord { scope, family, last_revision }));
    }

    pub(crate) fn put_definition(&mut self, definition: TaskDefinition) -> Arc<TaskDefinition> {
        let definition = Arc::new(definition);
        owned(self.next.put_definition(definition.clone()));
        self.touched.insert(Topic::Definitions(definition.arn.scope.clone()));
        self.write(Record::TaskDefinition(definition.clone()));
        definition
    }

    pub(crate) fn remove_definition(&mut self, arn: &TaskDefinitionArn) {
        self.next.remove_definition(arn);
        self.erase(Kind::TaskDefinition, arn.to_string());
    }

    pub(crate) fn put_machine(&mut self, machine: Machine) -> Arc<Machine> {
        let machine = Arc::new(machine);
        self.next.put_machine(machine.clone());
        self.touched.insert(Topic::Machines);
        self.write(Record::Machine(machine.clone()));
        machine
    }

    pub(crate) fn remove_machine(&mut self, scope: &Scope, id: &str) {
        self.next.remove_machine(scope, id);
        self.touched.insert(Topic::Machines);
        self.erase(Kind::Machine, scoped(scope, id));
    }

    pub(crate) fn put_launch_template(&mut self, template: LaunchTemplate) -> Arc<LaunchTemplate> {
        let template = Arc::new(template);
        self.next.put_launch_template(template.clone());
        self.write(Record::LaunchTemplate(template.clone()));
        template
    }

    pub(crate) fn remove_launch_template(&mut self, scope: &Scope, id: &str) {
        self.next.remove_launch_template(scope, id);
        self.erase(Kind::LaunchTemplate, scoped(scope, id));
    }

    pub(crate) fn put_scaling_group(&mut self, group: AutoScalingGroup) -> Arc<AutoScalingGroup> {
        let group = Arc::new(group);
        self.next.put_scaling_group(group.clone());
        // What there shall be of machines is said here.
        self.touched.insert(Topic::Machines);
        self.write(Record::AutoScalingGroup(group.clone()));
        group
    }

    pub(crate) fn remove_scaling_group(&mut self, scope: &Scope, name: &str) {
        self.next.remove_scaling_group(scope, name);
        self.touched.insert(Topic::Machines);
        self.erase(Kind::AutoScalingGroup, scoped(scope, name));
    }

    pub(crate) fn put_capacity_provider(&mut self, provider: AutoScalingProvider) -> Arc<AutoScalingProvider> {
        let provider = Arc::new(provider);
        self.next.put_capacity_provider(provider.clone());
        self.write(Record::CapacityProvider(provider.clone()));
        provider
    }

    pub(crate) fn put_activation(&mut self, activation: Activation) {
        let activation = Arc::new(activation);
        self.next.put_activation(activation.clone());
        self.touched.insert(Topic::Activations);
        self.write(Record::Activation(activation));
    }

    pub(crate) fn remove_activation(&mut self, scope: &Scope, id: &str) {
        self.next.remove_activation(scope, id);
        self.touched.insert(Topic::Activations);
        self.erase(Kind::Activation, scoped(scope, id));
    }

    pub(crate) fn put_setting(&mut self, scope: Scope, setting: AccountSetting) {
        let setting = Arc::new(setting);
        self.next.put_setting(&scope, setting.clone());
        self.write(Record::Setting(SettingRecord { scope, setting }));
    }

    pub(crate) fn remove_setting(&mut self, scope: &Scope, name: SettingName, principal: Option<String>) {
        let key = setting_key(scope, name, principal.as_deref());
        self.next.remove_setting(scope, &(name, principal));
        self.erase(Kind::Setting, key);
    }

    pub(crate) fn put_network(&mut self, scope: Scope, version: u64, changed_at: Timestamp) {
        self.next.put_network(&scope, version);
        self.touched.insert(Topic::Network(scope.clone()));
        self.write(Record::Network(NetworkRecord { scope, version, changed_at }));
    }

    pub(crate) fn put_network_part(&mut self, part: network::Record) {
        self.next.put_network_part(part.clone());
        self.write(Record::NetworkPart(part));
    }

    pub(crate) fn remove_network_part(&mut self, scope: &Scope, key: &network::Key) {
        self.next.remove_network_part(scope, key);
        self.erase(Kind::of(key), scoped(scope, key.as_str()));
    }

    pub(crate) fn put_discovery(&mut self, scope: Scope, version: u64, changed_at: Timestamp) {
        self.next.put_discovery(&scope, version);
        // Names are part of what instances are told of their VPCs.
        self.touched.insert(Topic::Network(scope.clone()));
        self.write(Record::Discovery(DiscoveryRecord { scope, version, changed_at }));
    }

    pub(crate) fn put_discovery_part(&mut self, part: discovery::Record) {
        self.next.put_discovery_part(part.clone());
        self.write(Record::DiscoveryPart(part));
    }

    pub(crate) fn remove_discovery_part(&mut self, scope: &Scope, key: &discovery::Key) {
        self.next.remove_discovery_part(scope, key);
        self.erase(Kind::of_discovery(key), scoped(scope, &key.to_string()));
    }

    pub(crate) fn put_vault(&mut self, scope: Scope, version: u64) {
        self.next.put_vault(&scope, version);
        self.touched.insert(Topic::Vaults);
        self.write(Record::Vault(VaultRecord { scope, version }));
    }

    pub(crate) fn put_vault_part(&mut self, part: vault::Record) {
        self.next.put_vault_part(part.clone());
        self.write(Record::VaultPart(part));
    }

    pub(crate) fn remove_vault_part(&mut self, scope: &Scope, key: &vault::Key) {
        self.next.remove_vault_part(scope, key);
        self.erase(Kind::of_vault(key), scoped(scope, &key.to_string()));
    }

    pub(crate) fn put_directory(&mut self, account: AccountId, version: u64) {
        self.next.put_directory(&account, version);
        self.write(Record::Iam(IamRecord { account, version }));
    }

    pub(crate) fn put_directory_part(&mut self, part: iam::Record) {
        self.next.put_directory_part(part.clone());
        self.write(Record::IamPart(part));
    }

    pub(crate) fn remove_directory_part(&mut self, account: &AccountId, key: &iam::Key) {
        self.next.remove_directory_part(account, key);
        self.erase(Kind::of_iam(key), of_account(account, &key.to_string()));
    }

    pub(crate) fn put_token(&mut self, record: TokenRecord) {
        let record = Arc::new(record);
        self.next.put_token(record.clone());
        self.write(Record::Token(record));
    }

    pub(crate) fn remove_token(&mut self, record: &TokenRecord) {
        self.next.remove_token(record);
        self.erase(Kind::Token, token_key(&record.token.scope, &record.token.operation, &record.token.token));
    }
}

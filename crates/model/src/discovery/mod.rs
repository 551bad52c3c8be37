//! A region's service discovery: namespaces, the services in them and the instances behind those, and the laws Cloud Map gives for
//! them.
//!
//! [`Discovery`] is everything of one account in one region, cheap to copy. An [`Edit`] stands on one and applies laws to it;
//! what it changed becomes one command to the store, which refuses it if the value has moved since. Ids and time are arguments.
//! Deliberately absent: tasks of ECS services, which are found as long as they run and are derived from there; public
//! namespaces, Route 53's own health checks, aliases, and records of other kinds than A and SRV.

mod audit;
mod edit;
mod ids;
mod instance;
mod namespace;
mod records;
mod refusal;
mod service;

pub use audit::audit;
pub use edit::{Edit, MAX_OPERATIONS};
pub use ids::{InstanceId, NamespaceId, OperationId, ServiceId};
pub use instance::NewInstance;
pub use namespace::NewNamespace;
pub use records::{
    CustomHealth, DEFAULT_SOA_TTL, DnsConfig, DnsRecord, Instance, Key, Namespace, NamespaceKind, Operation,
    OperationKind, Record, RecordKind, Routing, Service, address_in, attribute, port_in,
};
pub use refusal::Refusal;
pub use service::NewService;

use crate::Timestamp;
use imbl::{OrdMap, OrdSet};
use std::{
    ops::Bound::{Included, Unbounded},
    sync::Arc,
};

/// Everything of one account in one region. A copy costs a reference count per table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Discovery {
    /// Counts the changes; 0 where nobody has made any.
    pub version: u64,
    namespaces: OrdMap<NamespaceId, Arc<Namespace>>,
    services: OrdMap<ServiceId, Arc<Service>>,
    instances: OrdMap<(ServiceId, InstanceId), Arc<Instance>>,
    operations: OrdMap<OperationId, Arc<Operation>>,
    /// Derived: the operations by the time they were done.
    oldest: OrdSet<(Timestamp, OperationId)>,
}

impl Discovery {
    /// Puts a record in the place of its earlier form, or adds it. Whether it may is for the laws to say.
    pub fn put(&mut self, record: Record) {
        match record {
            Record::Namespace(r) => drop(self.namespaces.insert(r.id.clone(), r)),
            Record::Service(r) => drop(self.services.insert(r.id.clone(), r)),
            Record::Instance(r) => drop(self.instances.insert((r.service.clone(), r.id.clone()), r)),
            Record::Operation(r) => {
                self.oldest.insert((r.at, r.id.clone()));
                self.operations.insert(r.id.clone(), r);
            }
        }
    }

    /// Removes a record; one that is not there is no error.
    pub fn remove(&mut self, key: &Key) {
        match key {
            Key::Namespace(id) => drop(self.namespaces.remove(id)),
            Key::Service(id) => drop(self.services.remove(id)),
            Key::Instance(service, id) => drop(self.instances.remove(&(service.clone(), id.clone()))),
            Key::Operation(id) => {
                if let Some(operation) = self.operations.remove(id) {
                    self.oldest.remove(&(operation.at, id.clone()));
                }
            }
        }
    }

    /// Every record, in the order in which one stands on the other.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let namespaces = self.namespaces.values().cloned().map(Record::Namespace);
        namespaces
            .chain(self.services.values().cloned().map(Record::Service))
            .chain(self.instances.values().cloned().map(Record::Instance))
            .chain(self.operations.values().cloned().map(Record::Operation))
    }

    /// All namespaces, by id.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.namespaces.values()
    }

    /// The namespace of that id.
    pub fn namespace(&self, id: &NamespaceId) -> Option<&Arc<Namespace>> {
        self.namespaces.get(id)
    }

    /// The namespace of that id, or Cloud Map's answer that it is not there.
    pub fn find_namespace(&self, id: &NamespaceId) -> Result<&Arc<Namespace>, Refusal> {
        self.namespaces.get(id).ok_or_else(|| Refusal::NamespaceNotFound(id.to_string()))
    }

    /// The namespace of that name.
    pub fn namespace_named(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.values().find(|namespace| namespace.name.eq_ignore_ascii_case(name))
    }

    /// All services, by id.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// The service of that id.
    pub fn service(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        self.services.get(id)
    }

    /// The service of that id, or Cloud Map's answer that it is not there.
    pub fn find_service(&self, id: &ServiceId) -> Result<&Arc<Service>, Refusal> {
        self.services.get(id).ok_or_else(|| Refusal::ServiceNotFound(id.to_string()))
    }

    /// A namespace's services, by id.
    pub fn services_of<'a>(&'a self, namespace: &'a NamespaceId) -> impl Iterator<Item = &'a Arc<Service>> {
        self.services.values().filter(move |service| service.namespace == *namespace)
    }

    /// A service's instances that clients registered, by id.
    pub fn instances_of<'a>(&'a self, service: &'a ServiceId) -> impl Iterator<Item = &'a Arc<Instance>> {
        // No id is empty, and every id is behind this one character.
        let first = InstanceId::parse("-").expect("a hyphen is an id");
        let behind = self.instances.range((Included((service.clone(), first)), Unbounded));
        behind.take_while(move |((of, _), _)| of == service).map(|(_, instance)| instance)
    }

    /// An instance that a client registered.
    pub fn instance(&self, service: &ServiceId, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.instances.get(&(service.clone(), id.clone()))
    }

    /// All operations that are remembered, by id.
    pub fn operations(&self) -> impl Iterator<Item = &Arc<Operation>> {
        self.operations.values()
    }

    /// The operation of that id.
    pub fn operation(&self, id: &OperationId) -> Option<&Arc<Operation>> {
        self.operations.get(id)
    }
}

#[cfg(test)]
mod tests;

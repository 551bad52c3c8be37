//! Changing service discovery: laws are methods here, each in the file of what it is about. They look before they put, but an
//! edit whose law has refused is to be dropped all the same.

use super::{Discovery, Key, NamespaceId, Operation, OperationId, OperationKind, Record, Refusal, ServiceId};
use crate::{Scope, Tags, Timestamp, tags::InvalidTags};
use std::collections::BTreeMap;

/// Operations that are remembered of one scope. Whoever waits for one asks within seconds of having been told its id; these are
/// all that one client does in some minutes, and some hundred KiB at most.
pub const MAX_OPERATIONS: usize = 1_000;

/// A change of service discovery as it comes to be.
pub struct Edit<'a> {
    /// As it will be.
    pub(super) discovery: Discovery,
    pub(super) scope: Scope,
    /// When.
    pub(super) at: Timestamp,
    fresh: &'a mut dyn FnMut() -> u128,
    changes: BTreeMap<Key, Option<Record>>,
}

impl<'a> Edit<'a> {
    /// Begins. `fresh` gives numbers for ids, never the same twice.
    pub fn new(discovery: Discovery, scope: Scope, at: Timestamp, fresh: &'a mut dyn FnMut() -> u128) -> Self {
        Self { discovery, scope, at, fresh, changes: BTreeMap::new() }
    }

    /// As it will be.
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// What is to be stored and what is to be removed; `None` if nothing was changed.
    pub fn finish(self) -> Option<(Vec<Record>, Vec<Key>)> {
        if self.changes.is_empty() {
            return None;
        }
        let (mut put, mut remove) = (Vec::new(), Vec::new());
        for (key, record) in self.changes {
            match record {
                Some(record) => put.push(record),
                None => remove.push(key),
            }
        }
        Some((put, remove))
    }

    /// A service that is to be changed. One of Service Connect changes with the service of ECS that it follows from.
    pub(super) fn stored_service(&self, id: &ServiceId) -> Result<&super::Service, Refusal> {
        let service = self.discovery.find_service(id)?;
        match &service.follows {
            None => Ok(service),
            Some(owner) => Err(Refusal::Input(format!("The service {id} is managed by {owner}: change that service."))),
        }
    }

    pub(super) fn number(&mut self) -> u128 {
        (self.fresh)()
    }

    pub(super) fn put(&mut self, record: impl Into<Record>) {
        let record = record.into();
        self.changes.insert(record.key(), Some(record.clone()));
        self.discovery.put(record);
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.discovery.remove(&key);
        self.changes.insert(key, None);
    }

    /// The id of the operation that is being done.
    pub(super) fn operation(&mut self) -> OperationId {
        OperationId::of(self.number())
    }

    /// Notes that an operation is done. The oldest are forgotten where there are too many.
    pub(super) fn done(&mut self, operation: Operation) -> OperationId {
        let id = operation.id.clone();
        self.put(operation);
        while self.discovery.operations.len() > MAX_OPERATIONS {
            let Some((_, oldest)) = self.discovery.oldest.get_min().cloned() else { break };
            self.remove(Key::Operation(oldest));
        }
        id
    }

    /// An operation on a namespace.
    pub(super) fn on_namespace(&self, id: OperationId, kind: OperationKind, namespace: NamespaceId) -> Operation {
        let scope = self.scope.clone();
        Operation { scope, id, kind, namespace: Some(namespace), service: None, instance: None, at: self.at }
    }

    /// Changes the tags of a namespace.
    pub fn change_namespace_tags(
        &mut self,
        id: &NamespaceId,
        change: &dyn Fn(&mut Tags) -> Result<(), InvalidTags>,
    ) -> Result<(), Refusal> {
        let mut namespace = super::Namespace::clone(self.discovery.find_namespace(id)?);
        change(&mut namespace.tags).map_err(Refusal::Tags)?;
        self.put(namespace);
        Ok(())
    }

    /// Changes the tags of a service.
    pub fn change_service_tags(
        &mut self,
        id: &ServiceId,
        change: &dyn Fn(&mut Tags) -> Result<(), InvalidTags>,
    ) -> Result<(), Refusal> {
        let mut service = super::Service::clone(self.stored_service(id)?);
        change(&mut service.tags).map_err(Refusal::Tags)?;
        self.put(service);
        Ok(())
    }
}

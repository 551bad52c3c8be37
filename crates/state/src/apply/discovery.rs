//! Service discovery: a decision about it happens as a whole or not at all, and only on what it was made on.

use super::Applied;
use crate::{
    command::{DiscoveryChange, Outcome, Rejected},
    draft::Draft,
};
use model::{
    Scope,
    discovery::{Key, Record},
};

impl Draft<'_> {
    pub(super) fn change_discovery(&mut self, change: DiscoveryChange) -> Applied {
        let DiscoveryChange { scope, on, put, remove, at } = change;
        let version = self.next.discovery(&scope).map_or(0, |discovery| discovery.version);
        if version != on || put.iter().any(|record| *record.scope() != scope) {
            return Err(Rejected::DiscoveryChanged(scope));
        }
        let named = put.iter().any(|record| self.is_in_use(&scope, record));
        if named || remove.iter().any(|key| self.is_needed(&scope, key)) {
            return Err(Rejected::DiscoveryChanged(scope));
        }
        for key in &remove {
            self.remove_discovery_part(&scope, key);
        }
        for record in put {
            self.put_discovery_part(record);
        }
        self.put_discovery(scope, version + 1, at);
        Ok(Outcome::Done)
    }

    /// Whether it is a new service of a name that Service Connect gives to a service of ECS.
    fn is_in_use(&self, scope: &Scope, record: &Record) -> bool {
        let Record::Service(new) = record else { return false };
        let known = self.next.discovery(scope).is_some_and(|all| all.service(&new.id).is_some());
        !known
            && self
                .next
                .connected(scope)
                .any(|(_, connect)| connect.namespace == new.namespace && connect.names(&new.name))
    }

    /// Whether it is a namespace in which Service Connect has names.
    fn is_needed(&self, scope: &Scope, key: &Key) -> bool {
        let Key::Namespace(id) = key else { return false };
        self.next.connected(scope).any(|(_, connect)| connect.namespace == *id && !connect.services.is_empty())
    }
}

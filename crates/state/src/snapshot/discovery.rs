//! Service discovery in a snapshot: one value per scope, empty where nobody has made anything.

use super::Snapshot;
use model::{
    Scope,
    discovery::{Discovery, Key, Record},
};
use std::sync::Arc;

impl Snapshot {
    /// A scope's service discovery; `None` while nobody has made anything of it.
    pub fn discovery(&self, scope: &Scope) -> Option<&Arc<Discovery>> {
        self.scope(scope).map(|row| &row.discovery).filter(|discovery| discovery.version > 0)
    }

    /// The service discoveries of which somebody has made something.
    pub fn discoveries(&self) -> impl Iterator<Item = (&Scope, &Arc<Discovery>)> {
        self.scopes.iter().map(|(scope, row)| (scope, &row.discovery)).filter(|(_, discovery)| discovery.version > 0)
    }

    pub(crate) fn put_discovery(&mut self, scope: &Scope, version: u64) {
        Arc::make_mut(&mut self.scope_mut(scope).discovery).version = version;
    }

    pub(crate) fn put_discovery_part(&mut self, part: Record) {
        let scope = part.scope().clone();
        Arc::make_mut(&mut self.scope_mut(&scope).discovery).put(part);
    }

    pub(crate) fn remove_discovery_part(&mut self, scope: &Scope, key: &Key) {
        Arc::make_mut(&mut self.scope_mut(scope).discovery).remove(key);
    }
}

//! Secrets and parameters in a snapshot: one value per scope, empty where nobody has made anything.

use super::Snapshot;
use model::{
    Scope,
    vault::{Key, Record, Vault},
};
use std::sync::Arc;

impl Snapshot {
    /// A scope's secrets and parameters; `None` while nobody has made any.
    pub fn vault(&self, scope: &Scope) -> Option<&Arc<Vault>> {
        self.scope(scope).map(|row| &row.vault).filter(|vault| vault.version > 0)
    }

    /// The vaults of which somebody has made something.
    pub fn vaults(&self) -> impl Iterator<Item = (&Scope, &Arc<Vault>)> {
        self.scopes.iter().map(|(scope, row)| (scope, &row.vault)).filter(|(_, vault)| vault.version > 0)
    }

    pub(crate) fn put_vault(&mut self, scope: &Scope, version: u64) {
        Arc::make_mut(&mut self.scope_mut(scope).vault).version = version;
    }

    pub(crate) fn put_vault_part(&mut self, part: Record) {
        let scope = part.scope().clone();
        Arc::make_mut(&mut self.scope_mut(&scope).vault).put(part);
    }

    pub(crate) fn remove_vault_part(&mut self, scope: &Scope, key: &Key) {
        Arc::make_mut(&mut self.scope_mut(scope).vault).remove(key);
    }
}

//! Secrets and parameters: a decision about them happens as a whole or not at all, and only on what it was made on.

use super::Applied;
use crate::{
    command::{Outcome, Rejected, VaultChange},
    draft::Draft,
};

impl Draft<'_> {
    pub(super) fn change_vault(&mut self, change: VaultChange) -> Applied {
        let VaultChange { scope, on, put, remove } = change;
        let version = self.next.vault(&scope).map_or(0, |vault| vault.version);
        if version != on || put.iter().any(|record| *record.scope() != scope) {
            return Err(Rejected::VaultChanged(scope));
        }
        for key in &remove {
            self.remove_vault_part(&scope, key);
        }
        for record in put {
            self.put_vault_part(record);
        }
        self.put_vault(scope, version + 1);
        Ok(Outcome::Done)
    }
}

//! Service discovery: a decision about it happens as a whole or not at all, and only on what it was made on.

use super::Applied;
use crate::{
    command::{DiscoveryChange, Outcome, Rejected},
    draft::Draft,
};

impl Draft<'_> {
    pub(super) fn change_discovery(&mut self, change: DiscoveryChange) -> Applied {
        let DiscoveryChange { scope, on, put, remove, at } = change;
        let version = self.next.discovery(&scope).map_or(0, |discovery| discovery.version);
        if version != on || put.iter().any(|record| *record.scope() != scope) {
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
}

//! What must hold of vaults beside what holds within each: a scope's records are its own, and counted.

use crate::snapshot::Snapshot;
use model::vault;

/// Over the vaults of which somebody has made something.
pub(crate) fn audit_vaults(snapshot: &Snapshot, wrong: &mut Vec<String>) {
    for (scope, row) in &snapshot.scopes {
        let mut say = |what: String| {
            wrong.push(format!("secrets and parameters of {} in {}: {what}", scope.account, scope.region));
        };
        vault::audit(&row.vault).into_iter().for_each(&mut say);
        if row.vault.records().any(|record| record.scope() != scope) {
            say("a record of them is another's".to_owned());
        }
        if row.vault.version == 0 && row.vault.records().next().is_some() {
            say("there are records and no version".to_owned());
        }
    }
}

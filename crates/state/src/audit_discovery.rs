//! What must hold of service discoveries beside what holds within each: a scope's records are its own, and counted.

use crate::snapshot::Snapshot;
use model::discovery;

/// Over the service discoveries of which somebody has made something.
pub(crate) fn audit_discoveries(snapshot: &Snapshot, wrong: &mut Vec<String>) {
    for (scope, row) in &snapshot.scopes {
        let discovery = &row.discovery;
        let mut say = |what: String| {
            wrong.push(format!("service discovery of {} in {}: {what}", scope.account, scope.region));
        };
        discovery::audit(discovery).into_iter().for_each(&mut say);
        if discovery.records().any(|record| record.scope() != scope) {
            say("a record of it is another's".to_owned());
        }
        if discovery.version == 0 && discovery.records().next().is_some() {
            say("it has records and no version".to_owned());
        }
    }
}

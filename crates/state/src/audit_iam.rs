//! What must hold of directories beside what holds within each: an account's records are its own, and counted.

use crate::snapshot::Snapshot;
use model::iam;

/// Over the directories of which somebody has made something.
pub(crate) fn audit_directories(snapshot: &Snapshot, wrong: &mut Vec<String>) {
    for (account, directory) in &snapshot.directories {
        let mut say = |what: String| wrong.push(format!("users, roles and policies of {account}: {what}"));
        iam::audit(directory).into_iter().for_each(&mut say);
        if directory.records().any(|record| record.account() != account) {
            say("a record of them is another's".to_owned());
        }
        if directory.version == 0 && directory.records().next().is_some() {
            say("there are records and no version".to_owned());
        }
    }
}

//! Users, roles and policies: a decision about them happens as a whole or not at all, and only on what it was made on.

use super::Applied;
use crate::{
    command::{IamChange, Outcome, Rejected},
    draft::Draft,
};

impl Draft<'_> {
    pub(super) fn change_iam(&mut self, change: IamChange) -> Applied {
        let IamChange { account, on, put, remove } = change;
        let version = self.next.directory(&account).map_or(0, |directory| directory.version);
        if version != on || put.iter().any(|record| *record.account() != account) {
            return Err(Rejected::IamChanged(account));
        }
        for key in &remove {
            self.remove_directory_part(&account, key);
        }
        for record in put {
            self.put_directory_part(record);
        }
        self.put_directory(account, version + 1);
        Ok(Outcome::Done)
    }
}

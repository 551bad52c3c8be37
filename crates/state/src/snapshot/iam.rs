//! Users, roles and policies in a snapshot: one value per account, empty where nobody has made anything.

use super::Snapshot;
use model::{
    AccountId,
    iam::{AccessKey, Directory, Key, Record},
};
use std::sync::Arc;

impl Snapshot {
    /// An account's users, roles and policies; `None` while nobody has made any.
    pub fn directory(&self, account: &AccountId) -> Option<&Arc<Directory>> {
        self.directories.get(account).filter(|directory| directory.version > 0)
    }

    /// The directories of which somebody has made something.
    pub fn directories(&self) -> impl Iterator<Item = (&AccountId, &Arc<Directory>)> {
        self.directories.iter().filter(|(_, directory)| directory.version > 0)
    }

    /// An access key of a user, whatever account it is of: an id is given once. A server has few accounts.
    pub fn access_key(&self, id: &str) -> Option<&Arc<AccessKey>> {
        self.directories().find_map(|(_, directory)| directory.access_key(id))
    }

    pub(crate) fn put_directory(&mut self, account: &AccountId, version: u64) {
        self.directory_mut(account).version = version;
    }

    pub(crate) fn put_directory_part(&mut self, part: Record) {
        let account = part.account().clone();
        self.directory_mut(&account).put(part);
    }

    pub(crate) fn remove_directory_part(&mut self, account: &AccountId, key: &Key) {
        self.directory_mut(account).remove(key);
    }

    fn directory_mut(&mut self, account: &AccountId) -> &mut Directory {
        Arc::make_mut(self.directories.entry(account.clone()).or_default())
    }
}

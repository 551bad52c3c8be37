//! Who there is in an account and what they may do: users with their access keys, roles, policies and instance profiles, and
//! IAM's laws for them.
//!
//! A [`Directory`] is everything of one account, whatever region a request was signed for; it is cheap to copy. An [`Edit`]
//! stands on one, and what it changed becomes one command to the store, which refuses it if the directory has moved since.
//! Secrets of access keys are here only as they are stored: sealed. Deliberately absent: groups, permissions boundaries,
//! passwords, second factors and identity providers.

mod access_key;
mod audit;
pub mod managed;
mod permissions;
mod policy;
mod profile;
mod refusal;
mod role;
mod tagging;
mod user;

pub use access_key::{AccessKey, KeyStatus};
pub use audit::audit;
pub use permissions::{Holder, Permissions, document_of};
pub use policy::{Policy, PolicyVersion};
pub use profile::InstanceProfile;
pub use refusal::Refusal;
pub use role::{Role, SERVICE_ROLE_PATH};
pub use tagging::parse_tags;
pub use user::User;

use crate::AccountId;
use imbl::OrdMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// Everything of one account. A copy costs a reference count per table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Directory {
    /// Counts the changes; 0 where nobody has made any.
    pub version: u64,
    users: OrdMap<String, Arc<User>>,
    access_keys: OrdMap<String, Arc<AccessKey>>,
    roles: OrdMap<String, Arc<Role>>,
    policies: OrdMap<String, Arc<Policy>>,
    profiles: OrdMap<String, Arc<InstanceProfile>>,
}

/// One stored thing.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // The types say it.
pub enum Record {
    User(Arc<User>),
    AccessKey(Arc<AccessKey>),
    Role(Arc<Role>),
    Policy(Arc<Policy>),
    InstanceProfile(Arc<InstanceProfile>),
}

/// What a record is found by within its account: a name, or the id of an access key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // Names.
pub enum Key {
    User(String),
    AccessKey(String),
    Role(String),
    Policy(String),
    InstanceProfile(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::User(name)
        | Self::AccessKey(name)
        | Self::Role(name)
        | Self::Policy(name)
        | Self::InstanceProfile(name)) = self;
        f.write_str(name)
    }
}

impl Record {
    /// Whose it is.
    pub fn account(&self) -> &AccountId {
        match self {
            Self::User(r) => &r.account,
            Self::AccessKey(r) => &r.account,
            Self::Role(r) => &r.account,
            Self::Policy(r) => &r.account,
            Self::InstanceProfile(r) => &r.account,
        }
    }

    /// What it is found by.
    pub fn key(&self) -> Key {
        match self {
            Self::User(r) => Key::User(r.name.clone()),
            Self::AccessKey(r) => Key::AccessKey(r.id.clone()),
            Self::Role(r) => Key::Role(r.name.clone()),
            Self::Policy(r) => Key::Policy(r.name.clone()),
            Self::InstanceProfile(r) => Key::InstanceProfile(r.name.clone()),
        }
    }
}

macro_rules! record_of {
    ($($type:ident),*) => {$(
        impl From<$type> for Record {
            fn from(record: $type) -> Self {
                Self::$type(Arc::new(record))
            }
        }
    )*};
}
record_of!(User, AccessKey, Role, Policy, InstanceProfile);

impl Directory {
    /// Puts a record in the place of its earlier form, or adds it. Whether it may is for the laws to say.
    pub fn put(&mut self, record: Record) {
        match record {
            Record::User(r) => drop(self.users.insert(r.name.clone(), r)),
            Record::AccessKey(r) => drop(self.access_keys.insert(r.id.clone(), r)),
            Record::Role(r) => drop(self.roles.insert(r.name.clone(), r)),
            Record::Policy(r) => drop(self.policies.insert(r.name.clone(), r)),
            Record::InstanceProfile(r) => drop(self.profiles.insert(r.name.clone(), r)),
        }
    }

    /// Removes a record; one that is not there is no error.
    pub fn remove(&mut self, key: &Key) {
        match key {
            Key::User(name) => drop(self.users.remove(name)),
            Key::AccessKey(id) => drop(self.access_keys.remove(id)),
            Key::Role(name) => drop(self.roles.remove(name)),
            Key::Policy(name) => drop(self.policies.remove(name)),
            Key::InstanceProfile(name) => drop(self.profiles.remove(name)),
        }
    }

    /// Every record, owners before what is theirs.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let users = self.users.values().cloned().map(Record::User);
        users
            .chain(self.access_keys.values().cloned().map(Record::AccessKey))
            .chain(self.roles.values().cloned().map(Record::Role))
            .chain(self.policies.values().cloned().map(Record::Policy))
            .chain(self.profiles.values().cloned().map(Record::InstanceProfile))
    }

    /// The users by name.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// All access keys by id.
    pub fn access_keys(&self) -> impl Iterator<Item = &Arc<AccessKey>> {
        self.access_keys.values()
    }

    /// A user's access keys, the oldest first.
    pub fn access_keys_of(&self, user: &str) -> Vec<&Arc<AccessKey>> {
        let mut keys: Vec<_> = self.access_keys().filter(|key| key.user == user).collect();
        keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        keys
    }

    /// The access key of that id.
    pub fn access_key(&self, id: &str) -> Option<&Arc<AccessKey>> {
        self.access_keys.get(id)
    }

    /// The roles by name.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// The role of that name.
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(name)
    }

    /// The role of that ARN.
    pub fn role_by_arn(&self, arn: &str) -> Option<&Arc<Role>> {
        self.role(name_in(arn)).filter(|role| role.arn() == arn)
    }

    /// The account's own policies by name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    /// The account's own policy of that name.
    pub fn policy(&self, name: &str) -> Option<&Arc<Policy>> {
        self.policies.get(name)
    }

    /// The account's own policy of that ARN.
    pub fn policy_by_arn(&self, arn: &str) -> Option<&Arc<Policy>> {
        self.policy(name_in(arn)).filter(|policy| policy.arn() == arn)
    }

    /// The instance profiles by name.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<InstanceProfile>> {
        self.profiles.values()
    }

    /// The instance profile of that name.
    pub fn profile(&self, name: &str) -> Option<&Arc<InstanceProfile>> {
        self.profiles.get(name)
    }

    /// The instance profile of that ARN.
    pub fn profile_by_arn(&self, arn: &str) -> Option<&Arc<InstanceProfile>> {
        self.profile(name_in(arn)).filter(|profile| profile.arn() == arn)
    }

    /// The role that an instance profile holds, if it is there.
    pub fn role_of_profile(&self, profile: &InstanceProfile) -> Option<&Arc<Role>> {
        self.role(profile.role.as_deref()?)
    }
}

/// What stands behind the last slash: an ARN's name, whatever its path.
fn name_in(arn: &str) -> &str {
    arn.rsplit_once('/').map_or(arn, |(_, name)| name)
}

/// The ARN of something in IAM. A path begins and ends with a slash.
fn arn(account: &AccountId, kind: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:{kind}{path}{name}")
}

/// Whether a name is taken. AWS: names that differ by the case of their letters only are the same.
fn has_name<'a>(mut names: impl Iterator<Item = &'a str>, name: &str) -> bool {
    names.any(|known| known.eq_ignore_ascii_case(name))
}

/// A decision about a directory, on a copy of it. Laws are methods here, each in the file of what it is about; an edit whose law
/// has refused is to be dropped.
#[derive(Debug)]
pub struct Edit {
    directory: Directory,
    put: BTreeMap<Key, Record>,
    remove: BTreeSet<Key>,
}

impl Edit {
    /// Begins one.
    pub fn new(directory: Directory) -> Self {
        Self { directory, put: BTreeMap::new(), remove: BTreeSet::new() }
    }

    /// The directory as it will be.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Adds a record or puts it in the place of its earlier form.
    pub fn put(&mut self, record: impl Into<Record>) {
        let record = record.into();
        self.remove.remove(&record.key());
        self.directory.put(record.clone());
        self.put.insert(record.key(), record);
    }

    /// Removes one.
    pub fn remove(&mut self, key: Key) {
        self.directory.remove(&key);
        self.put.remove(&key);
        self.remove.insert(key);
    }

    /// What was put and what was removed; `None` if nothing was.
    pub fn finish(self) -> Option<(Vec<Record>, Vec<Key>)> {
        let changed = !self.put.is_empty() || !self.remove.is_empty();
        changed.then(|| (self.put.into_values().collect(), self.remove.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests;

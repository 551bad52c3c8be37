//! A region's secrets and parameters: what Secrets Manager and Parameter Store keep, and the laws they give for it.
//!
//! Values are here only as they are stored: sealed, each with a key of its own that is wrapped by the server's
//! ([`Sealed`]). Nothing here can open one. A [`Vault`] is everything of one account in one region, cheap to copy; an [`Edit`]
//! stands on one, and what it changed becomes one command to the store, which refuses it if the vault has moved since.
//! Deliberately absent: rotation, replication, policies of secrets, and keys of KMS.

mod audit;
pub mod env_file;
mod parameter;
mod reference;
mod secret;
mod value;

pub use audit::audit;
pub use parameter::{
    MAX_HISTORY, MAX_LABELS, Parameter, ParameterKind, ParameterRefusal, ParameterVersion, Selector, check_name,
    is_label, names_in, selected,
};
pub use reference::{InvalidReference, SecretReference, json_member};
pub use secret::{CURRENT, MAX_STAGES, MAX_VERSIONS, PENDING, PREVIOUS, Secret, SecretRefusal, SecretVersion, find};
pub use value::{Plain, Sealed, Value, ValueKey};

use crate::Scope;
use imbl::OrdMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

/// Everything of one account in one region. A copy costs a reference count per table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vault {
    /// Counts the changes; 0 where nobody has made any.
    pub version: u64,
    secrets: OrdMap<String, Arc<Secret>>,
    parameters: OrdMap<String, Arc<Parameter>>,
    values: OrdMap<ValueKey, Arc<Value>>,
}

/// One stored thing.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // The types say it.
pub enum Record {
    Secret(Arc<Secret>),
    Parameter(Arc<Parameter>),
    Value(Arc<Value>),
}

/// What a record is found by within its scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // Names, and what values are found by.
pub enum Key {
    Secret(String),
    Parameter(String),
    Value(ValueKey),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(name) | Self::Parameter(name) => f.write_str(name),
            Self::Value(key) => write!(f, "{key}"),
        }
    }
}

impl Record {
    /// Account and region.
    pub fn scope(&self) -> &Scope {
        match self {
            Self::Secret(r) => &r.scope,
            Self::Parameter(r) => &r.scope,
            Self::Value(r) => &r.scope,
        }
    }

    /// What it is found by.
    pub fn key(&self) -> Key {
        match self {
            Self::Secret(r) => Key::Secret(r.name.clone()),
            Self::Parameter(r) => Key::Parameter(r.name.clone()),
            Self::Value(r) => Key::Value(r.key()),
        }
    }
}

impl From<Secret> for Record {
    fn from(secret: Secret) -> Self {
        Self::Secret(Arc::new(secret))
    }
}

impl From<Parameter> for Record {
    fn from(parameter: Parameter) -> Self {
        Self::Parameter(Arc::new(parameter))
    }
}

impl From<Value> for Record {
    fn from(value: Value) -> Self {
        Self::Value(Arc::new(value))
    }
}

impl Vault {
    /// Puts a record in the place of its earlier form, or adds it. Whether it may is for the laws to say.
    pub fn put(&mut self, record: Record) {
        match record {
            Record::Secret(r) => drop(self.secrets.insert(r.name.clone(), r)),
            Record::Parameter(r) => drop(self.parameters.insert(r.name.clone(), r)),
            Record::Value(r) => drop(self.values.insert(r.key(), r)),
        }
    }

    /// Removes a record; one that is not there is no error.
    pub fn remove(&mut self, key: &Key) {
        match key {
            Key::Secret(name) => drop(self.secrets.remove(name)),
            Key::Parameter(name) => drop(self.parameters.remove(name)),
            Key::Value(key) => drop(self.values.remove(key)),
        }
    }

    /// Every record, owners before their values.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let secrets = self.secrets.values().cloned().map(Record::Secret);
        secrets
            .chain(self.parameters.values().cloned().map(Record::Parameter))
            .chain(self.values.values().cloned().map(Record::Value))
    }

    /// All secrets by name, those marked for deletion too.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> {
        self.secrets.values()
    }

    /// The secret of that name.
    pub fn secret(&self, name: &str) -> Option<&Arc<Secret>> {
        self.secrets.get(name)
    }

    /// The parameters by name, from the one behind `after`.
    pub fn parameters(&self, after: Option<&str>) -> impl Iterator<Item = &Arc<Parameter>> {
        let from = after.map_or(Unbounded, |name| Excluded(name.to_owned()));
        self.parameters.range((from, Unbounded)).map(|(_, parameter)| parameter)
    }

    /// The parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&Arc<Parameter>> {
        self.parameters.get(name)
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.values.values()
    }

    /// One value.
    pub fn value(&self, key: &ValueKey) -> Option<&Arc<Value>> {
        self.values.get(key)
    }
}

/// A decision about a vault, on a copy of it.
#[derive(Debug)]
pub struct Edit {
    vault: Vault,
    put: BTreeMap<Key, Record>,
    remove: BTreeSet<Key>,
}

impl Edit {
    /// Begins one.
    pub fn new(vault: Vault) -> Self {
        Self { vault, put: BTreeMap::new(), remove: BTreeSet::new() }
    }

    /// The vault as it will be.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Adds a record or puts it in the place of its earlier form.
    pub fn put(&mut self, record: impl Into<Record>) {
        let record = record.into();
        self.remove.remove(&record.key());
        self.vault.put(record.clone());
        self.put.insert(record.key(), record);
    }

    /// Removes one.
    pub fn remove(&mut self, key: Key) {
        self.vault.remove(&key);
        self.put.remove(&key);
        self.remove.insert(key);
    }

    /// Removes a secret with all its values.
    pub fn remove_secret(&mut self, secret: &Secret) {
        for version in &secret.versions {
            self.remove(Key::Value(secret.value_key(&version.id)));
        }
        self.remove(Key::Secret(secret.name.clone()));
    }

    /// Removes a parameter with all its values.
    pub fn remove_parameter(&mut self, parameter: &Parameter) {
        for version in &parameter.versions {
            self.remove(Key::Value(parameter.value_key(version.number)));
        }
        self.remove(Key::Parameter(parameter.name.clone()));
    }

    /// What was put and what was removed; `None` if nothing was.
    pub fn finish(self) -> Option<(Vec<Record>, Vec<Key>)> {
        let changed = !self.put.is_empty() || !self.remove.is_empty();
        changed.then(|| (self.put.into_values().collect(), self.remove.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests;

//! Changing a network: laws are methods here, each in the file of what it is about. They look before they put, but an edit
//! whose law has refused is to be dropped all the same.

use super::{Key, Network, Record, SubnetId};
use crate::{Scope, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// A change of a network as it comes to be.
pub struct Edit<'a> {
    /// The network as it will be.
    pub(super) network: Network,
    pub(super) scope: Scope,
    /// When.
    pub(super) at: Timestamp,
    fresh: &'a mut dyn FnMut() -> u128,
    changes: BTreeMap<Key, Option<Record>>,
    touched: bool,
    /// Addresses that local instances have, by subnet: they are no interfaces of the network's yet.
    guests: BTreeMap<SubnetId, BTreeSet<Ipv4Addr>>,
}

impl<'a> Edit<'a> {
    /// Begins. `fresh` gives numbers for ids, never the same twice. What nobody has changed yet is not stored either, so the
    /// first change stores all of it.
    pub fn new(network: Network, scope: Scope, at: Timestamp, fresh: &'a mut dyn FnMut() -> u128) -> Self {
        let mut changes = BTreeMap::new();
        if network.version == 0 {
            changes.extend(network.records().map(|record| (record.key(), Some(record))));
        }
        Self { network, scope, at, fresh, changes, touched: false, guests: BTreeMap::new() }
    }

    /// Notes that a local instance has an address of a subnet.
    pub fn add_guest(&mut self, subnet: SubnetId, address: Ipv4Addr) {
        self.guests.entry(subnet).or_default().insert(address);
    }

    /// The network as it will be.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Has a network that nobody has changed be stored as it is, so that others can stand on its parts.
    pub fn adopt(&mut self) {
        self.touched |= self.network.version == 0;
    }

    /// What is to be stored and what is to be removed; `None` if nothing was changed.
    pub fn finish(self) -> Option<(Vec<Record>, Vec<Key>)> {
        if !self.touched {
            return None;
        }
        let (mut put, mut remove) = (Vec::new(), Vec::new());
        for (key, record) in self.changes {
            match record {
                Some(record) => put.push(record),
                None => remove.push(key),
            }
        }
        Some((put, remove))
    }

    pub(super) fn number(&mut self) -> u128 {
        (self.fresh)()
    }

    pub(super) fn has_guests(&self, subnet: &SubnetId) -> bool {
        self.guests.contains_key(subnet)
    }

    pub(super) fn is_guest(&self, subnet: &SubnetId, address: Ipv4Addr) -> bool {
        self.guests.get(subnet).is_some_and(|addresses| addresses.contains(&address))
    }

    pub(super) fn put(&mut self, record: impl Into<Record>) {
        let record = record.into();
        self.touched = true;
        self.changes.insert(record.key(), Some(record.clone()));
        self.network.put(record);
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.touched = true;
        self.network.remove(&key);
        self.changes.insert(key, None);
    }
}

//! Networks in a snapshot: one per scope, and over all of them whose the public addresses are.

use super::Snapshot;
use model::{
    Scope,
    network::{AllocationId, Key, Network, Record},
};
use std::{net::Ipv4Addr, sync::Arc};

impl Snapshot {
    /// A scope's network; `None` while nobody has changed it, since then it is the derived default one.
    pub fn network(&self, scope: &Scope) -> Option<&Arc<Network>> {
        self.scope(scope).map(|row| &row.network).filter(|network| network.version > 0)
    }

    /// The networks that somebody has changed.
    pub fn networks(&self) -> impl Iterator<Item = (&Scope, &Arc<Network>)> {
        self.scopes.iter().map(|(scope, row)| (scope, &row.network)).filter(|(_, network)| network.version > 0)
    }

    /// Whose a public address is.
    pub fn public_holder(&self, address: Ipv4Addr) -> Option<&(Scope, AllocationId)> {
        self.public.get(&address)
    }

    pub(crate) fn put_network(&mut self, scope: &Scope, version: u64) {
        Arc::make_mut(&mut self.scope_mut(scope).network).version = version;
    }

    pub(crate) fn put_network_part(&mut self, part: Record) {
        if let Record::Address(address) = &part {
            self.public.insert(address.public_ip, (address.scope.clone(), address.id.clone()));
        }
        let scope = part.scope().clone();
        Arc::make_mut(&mut self.scope_mut(&scope).network).put(part);
    }

    pub(crate) fn remove_network_part(&mut self, scope: &Scope, key: &Key) {
        if let Key::Address(id) = key
            && let Some(address) = self.network(scope).and_then(|network| network.address(id)).map(|a| a.public_ip)
        {
            self.public.remove(&address);
        }
        Arc::make_mut(&mut self.scope_mut(scope).network).remove(key);
    }
}

//! Networks in a snapshot: one per scope, and over all of them whose the public addresses are.

use super::Snapshot;
use model::{
    Scope, Task, TaskArn, Timestamp, attachment,
    network::{AllocationId, Key, Network, Record},
};
use std::{net::Ipv4Addr, sync::Arc};

/// Whose a public address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicHolder {
    /// Allocated by a client.
    Allocation(Scope, AllocationId),
    /// A task's, as long as it lives.
    Task(TaskArn),
}

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
    pub fn public_holder(&self, address: Ipv4Addr) -> Option<&PublicHolder> {
        self.public.get(&address)
    }

    pub(crate) fn put_network(&mut self, scope: &Scope, version: u64) {
        Arc::make_mut(&mut self.scope_mut(scope).network).version = version;
    }

    pub(crate) fn put_network_part(&mut self, part: Record) {
        if let Record::Address(address) = &part {
            let holder = PublicHolder::Allocation(address.scope.clone(), address.id.clone());
            self.public.insert(address.public_ip, holder);
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

    /// Has the network show a task's interface as long as the task lives, and its address rest afterwards.
    pub(super) fn lay_attachment(&mut self, task: &Task) {
        let Some(attachment) = &task.attachment else { return };
        let scope = &task.arn.cluster.scope;
        let network = Arc::make_mut(&mut self.scope_mut(scope).network);
        let Some(until) = rests_until(task) else {
            network.put(attachment.as_interface(task).into());
            if let Some(address) = attachment.public_ip {
                self.public.insert(address, PublicHolder::Task(task.arn.clone()));
            }
            return;
        };
        network.remove(&Key::Interface(attachment.interface.clone()));
        network.rest(attachment.subnet.clone(), attachment.address, until);
        let public = attachment.public_ip;
        if let Some(address) = public.filter(|a| self.public.get(a) == Some(&PublicHolder::Task(task.arn.clone()))) {
            self.public.remove(&address);
        }
    }

    /// Forgets that a stopped task's address rests, unless another one's rest has begun since.
    pub(super) fn forget_attachment(&mut self, task: &Task) {
        let (Some(attachment), Some(until)) = (&task.attachment, rests_until(task)) else { return };
        let network = Arc::make_mut(&mut self.scope_mut(&task.arn.cluster.scope).network);
        network.end_rest(&attachment.subnet, attachment.address, until);
    }
}

/// Until when a stopped task's address is given to nobody; `None` as long as it lives. Where nobody has seen it gone, that is
/// as long as the task is remembered.
fn rests_until(task: &Task) -> Option<Timestamp> {
    let lost = task.attachment.as_ref().is_some_and(|attachment| attachment.lost);
    let stopped = task.stopped_at()?;
    Some(if lost { Timestamp(i64::MAX) } else { stopped.plus_millis(attachment::REST_MILLIS) })
}

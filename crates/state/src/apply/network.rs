//! Networks: a decision about one happens as a whole or not at all, and only on the network it was made on.

use super::Applied;
use crate::{
    command::{NetworkChange, Outcome, Rejected},
    draft::Draft,
};
use model::{
    MachineState, Scope,
    network::{Key, Record},
};

impl Draft<'_> {
    pub(super) fn change_network(&mut self, change: NetworkChange) -> Applied {
        let NetworkChange { scope, on, put, remove, at } = change;
        let version = self.next.network(&scope).map_or(0, |network| network.version);
        if version != on || put.iter().any(|record| *record.scope() != scope) {
            return Err(Rejected::NetworkChanged(scope));
        }
        for record in &put {
            self.check_place(&scope, record)?;
        }
        // Launching an instance is no change of the network, so one may have come into a subnet that is to go.
        if remove.iter().any(|key| matches!(key, Key::Subnet(id) if self.has_machines(&scope, id.as_str()))) {
            return Err(Rejected::NetworkChanged(scope));
        }
        for key in &remove {
            self.remove_network_part(&scope, key);
        }
        for record in put {
            self.put_network_part(record);
        }
        self.put_network(scope, version + 1, at);
        Ok(Outcome::Done)
    }

    /// Public addresses are shared with other scopes, and a subnet's with local instances: neither moves this network's version.
    fn check_place(&self, scope: &Scope, record: &Record) -> Result<(), Rejected> {
        match record {
            Record::Address(address) => match self.next.public_holder(address.public_ip) {
                Some((holder, id)) if holder != scope || *id != address.id => {
                    Err(Rejected::AddressTaken(address.public_ip))
                }
                Some(_) | None => Ok(()),
            },
            Record::Interface(interface) => {
                let subnet = interface.subnet.as_str();
                let is_taken = |address| self.next.machine_at(address).is_some_and(|m| m.subnet_id == subnet);
                let taken = interface.addresses.iter().copied().find(|address| is_taken(*address));
                taken.map_or(Ok(()), |address| Err(Rejected::AddressTaken(address)))
            }
            Record::Vpc(_)
            | Record::Subnet(_)
            | Record::RouteTable(_)
            | Record::InternetGateway(_)
            | Record::NatGateway(_)
            | Record::SecurityGroup(_) => Ok(()),
        }
    }

    fn has_machines(&self, scope: &Scope, subnet: &str) -> bool {
        let mut live = self.next.machines(scope, None).filter(|machine| machine.state != MachineState::Terminated);
        live.any(|machine| machine.subnet_id == subnet)
    }
}

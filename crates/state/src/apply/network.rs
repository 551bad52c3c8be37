//! Networks: a decision about one happens as a whole or not at all, and only on the network it was made on.

use super::Applied;
use crate::{
    command::{NetworkChange, Outcome, Rejected},
    draft::Draft,
    snapshot::PublicHolder,
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
        // Launching an instance or a task is no change of the network, so one may have come into what is to go.
        if remove.iter().any(|key| self.is_used(&scope, key)) {
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
                Some(PublicHolder::Allocation(holder, id)) if holder == scope && *id == address.id => Ok(()),
                Some(PublicHolder::Allocation(..) | PublicHolder::Task(_)) => {
                    Err(Rejected::AddressTaken(address.public_ip))
                }
                None => Ok(()),
            },
            Record::Interface(interface) => {
                let subnet = interface.subnet.as_str();
                let network = self.next.network(scope);
                let another = |address| {
                    let holder = network.and_then(|network| network.holder(&interface.subnet, address));
                    holder.is_some_and(|holder| *holder != interface.id)
                };
                let is_taken =
                    |address| self.next.machine_at(address).is_some_and(|m| m.subnet_id == subnet) || another(address);
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

    fn is_used(&self, scope: &Scope, key: &Key) -> bool {
        let of_tasks = || {
            let interfaces = self.next.network(scope).into_iter().flat_map(|network| network.interfaces());
            interfaces.filter(|interface| interface.task.is_some())
        };
        match key {
            Key::Subnet(id) => {
                self.has_machines(scope, id.as_str()) || of_tasks().any(|interface| interface.subnet == *id)
            }
            Key::SecurityGroup(id) => of_tasks().any(|interface| interface.groups.contains(id)),
            // A VPC goes after its subnets and groups; the others are not what an interface stands on.
            Key::Vpc(_)
            | Key::RouteTable(_)
            | Key::InternetGateway(_)
            | Key::NatGateway(_)
            | Key::Address(_)
            | Key::Interface(_) => false,
        }
    }

    fn has_machines(&self, scope: &Scope, subnet: &str) -> bool {
        let mut live = self.next.machines(scope, None).filter(|machine| machine.state != MachineState::Terminated);
        live.any(|machine| machine.subnet_id == subnet)
    }
}

//! Machines: the local instances under EC2's names.

use super::Applied;
use crate::{
    command::{Outcome, Rejected},
    draft::Draft,
};
use model::{Machine, MachineState, Scope, Timestamp, network::SubnetId};
use std::{collections::BTreeSet, sync::Arc};

impl Draft<'_> {
    pub(super) fn run_machines(&mut self, machines: Vec<Machine>) -> Applied {
        let Some(first) = machines.first() else {
            return Ok(Outcome::Machines { machines: Vec::new(), replayed: false });
        };
        if machines.iter().any(|m| m.scope != first.scope || m.client_token != first.client_token) {
            return Err(Rejected::MachinesDiffer);
        }
        if first.client_token.is_some() {
            let known = self.next.machines(&first.scope, None).filter(|m| m.client_token == first.client_token);
            let mut known: Vec<Arc<Machine>> = known.cloned().collect();
            if !known.is_empty() {
                known.sort_by_key(|m| m.launch_index);
                return Ok(Outcome::Machines { machines: known, replayed: true });
            }
        }
        self.check_new_machines(&machines)?;
        let machines = machines.into_iter().map(|machine| self.put_machine(machine)).collect();
        Ok(Outcome::Machines { machines, replayed: false })
    }

    /// Whether all of them can be made.
    pub(super) fn check_new_machines(&self, machines: &[Machine]) -> Result<(), Rejected> {
        let (mut ids, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for machine in machines {
            if !ids.insert(&machine.id) || self.next.machine(&machine.scope, &machine.id).is_some() {
                return Err(Rejected::MachineExists(machine.id.clone()));
            }
            if !addresses.insert(machine.private_ip) || self.next.machine_at(machine.private_ip).is_some() {
                return Err(Rejected::AddressTaken(machine.private_ip));
            }
            self.check_subnet(machine)?;
        }
        Ok(())
    }

    /// Its subnet may have gone since it was chosen, or an interface of the network may have come to have its address.
    fn check_subnet(&self, machine: &Machine) -> Result<(), Rejected> {
        let Some(network) = self.next.network(&machine.scope) else { return Ok(()) };
        let subnet = SubnetId::parse(machine.subnet_id.as_str()).ok().filter(|id| network.subnet(id).is_some());
        let subnet = subnet.ok_or_else(|| Rejected::SubnetNotFound(machine.subnet_id.clone()))?;
        match network.holder(&subnet, machine.private_ip) {
            Some(_) => Err(Rejected::AddressTaken(machine.private_ip)),
            None => Ok(()),
        }
    }

    pub(super) fn set_machine_state(
        &mut self,
        scope: &Scope,
        id: &str,
        state: MachineState,
        reason: Option<String>,
        at: Timestamp,
    ) -> Applied {
        let known = self.next.machine(scope, id).ok_or_else(|| Rejected::MachineNotFound(id.to_owned()))?;
        if known.state == state && known.state_reason == reason {
            return Ok(Outcome::Machine(known.clone()));
        }
        if known.state == state {
            let mut machine = Machine::clone(known);
            machine.state_reason = reason;
            return Ok(Outcome::Machine(self.put_machine(machine)));
        }
        if !may_follow(known.state, state) {
            return Err(Rejected::MachineState { id: id.to_owned(), from: known.state, to: state });
        }
        let mut machine = Machine::clone(known);
        machine.enter(state, at);
        machine.state_reason = reason;
        Ok(Outcome::Machine(self.put_machine(machine)))
    }

    pub(super) fn forget_machines(&mut self, scope: &Scope, ids: &[String]) -> Applied {
        for id in ids {
            if self.next.machine(scope, id).is_some_and(|m| m.state == MachineState::Terminated) {
                self.remove_machine(scope, id);
            }
        }
        Ok(Outcome::Done)
    }
}

/// EC2's instance lifecycle. A machine can fall from any state to the end of its way; only STOPPED leads back.
pub(super) fn may_follow(from: MachineState, to: MachineState) -> bool {
    use MachineState::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
    match from {
        Pending => matches!(to, Running | Stopping | Stopped | ShuttingDown | Terminated),
        Running => matches!(to, Stopping | Stopped | ShuttingDown | Terminated),
        Stopping => matches!(to, Stopped | ShuttingDown | Terminated),
        Stopped => matches!(to, Pending | ShuttingDown | Terminated),
        ShuttingDown => matches!(to, Terminated),
        Terminated => false,
    }
}

//! What must hold of networks beside what holds within each: public addresses are one scope's, and local instances are in
//! subnets that there are, at addresses that are nobody else's.

use crate::snapshot::{PublicHolder, Snapshot};
use model::{
    MachineState,
    network::{self, SubnetId},
};
use std::collections::BTreeMap;

/// Over the networks that somebody has changed.
pub(crate) fn audit_networks(snapshot: &Snapshot, wrong: &mut Vec<String>) {
    let mut public = BTreeMap::new();
    for (scope, network) in snapshot.networks() {
        let found = network::audit(network);
        wrong.extend(found.into_iter().map(|what| format!("network of {} in {}: {what}", scope.account, scope.region)));
        for address in network.addresses() {
            let holder = PublicHolder::Allocation(scope.clone(), address.id.clone());
            if public.insert(address.public_ip, holder).is_some() {
                wrong.push(format!("public address {} is allocated twice", address.public_ip));
            }
        }
        for interface in network.interfaces() {
            let Some(arn) = &interface.task else { continue };
            let task = snapshot.task(arn).filter(|task| task.holds_resources());
            let Some(attachment) = task.and_then(|task| task.attachment.as_ref()) else {
                wrong.push(format!("{}: its task does not live", interface.id));
                continue;
            };
            if attachment.address != interface.addresses[0] || attachment.interface != interface.id {
                wrong.push(format!("{}: its task has another interface", interface.id));
            }
            if let Some(address) = attachment.public_ip
                && public.insert(address, PublicHolder::Task(arn.clone())).is_some()
            {
                wrong.push(format!("public address {address} is somebody else's too"));
            }
        }
        if network.records().any(|record| record.scope() != scope) {
            wrong.push(format!("network of {} in {}: a record of it is another's", scope.account, scope.region));
        }
        let machines = snapshot.machines(scope, None).filter(|machine| machine.state != MachineState::Terminated);
        for machine in machines {
            let subnet = SubnetId::parse(machine.subnet_id.as_str()).ok().filter(|id| network.subnet(id).is_some());
            match subnet {
                None => wrong.push(format!("machine {}: its subnet does not exist", machine.id)),
                Some(subnet) if network.holder(&subnet, machine.private_ip).is_some() => {
                    wrong.push(format!("machine {}: an interface has its address", machine.id));
                }
                Some(_) => {}
            }
        }
    }
    if !public.iter().eq(snapshot.public.iter()) {
        wrong.push("public addresses are noted otherwise".to_owned());
    }
    for (scope, row) in snapshot.scopes.iter().filter(|(_, row)| row.network.version == 0) {
        if row.network.records().next().is_some() {
            wrong.push(format!("network of {} in {}: it has records and no version", scope.account, scope.region));
        }
    }
}

//! What must hold of any network, looked for from the records alone: it shares no code with the laws.

use super::{Direction, Network, Peer, VpcId, cidr};
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong, in words for an operator; empty if nothing is.
pub fn audit(network: &Network) -> Vec<String> {
    let mut wrong = Vec::new();
    audit_vpcs(network, &mut wrong);
    audit_subnets(network, &mut wrong);
    audit_routes(network, &mut wrong);
    audit_groups(network, &mut wrong);
    audit_interfaces(network, &mut wrong);
    audit_gateways(network, &mut wrong);
    wrong
}

fn audit_vpcs(network: &Network, wrong: &mut Vec<String>) {
    if network.vpcs().filter(|vpc| vpc.is_default).count() > 1 {
        wrong.push("there is more than one default VPC".to_owned());
    }
    for vpc in network.vpcs() {
        let tables = network.route_tables().filter(|table| table.vpc == vpc.id);
        let mains = tables.flat_map(|table| &table.associations).filter(|a| a.subnet.is_none()).count();
        if mains != 1 {
            wrong.push(format!("{}: it has {mains} main route tables", vpc.id));
        }
        let defaults = network.security_groups().filter(|g| g.vpc == vpc.id && g.name == "default").count();
        if defaults != 1 {
            wrong.push(format!("{}: it has {defaults} default security groups", vpc.id));
        }
        if network.internet_gateways().filter(|g| g.vpc.as_ref() == Some(&vpc.id)).count() > 1 {
            wrong.push(format!("{}: it has more than one internet gateway", vpc.id));
        }
    }
    for gateway in network.internet_gateways() {
        if gateway.vpc.as_ref().is_some_and(|vpc| network.vpc(vpc).is_none()) {
            wrong.push(format!("{} is attached to a VPC that does not exist", gateway.id));
        }
    }
}

fn audit_subnets(network: &Network, wrong: &mut Vec<String>) {
    let mut by_vpc: BTreeMap<&VpcId, Vec<_>> = BTreeMap::new();
    for subnet in network.subnets() {
        match network.vpc(&subnet.vpc) {
            None => wrong.push(format!("{} is in a VPC that does not exist", subnet.id)),
            Some(vpc) if !vpc.cidr.contains(&subnet.cidr) => {
                wrong.push(format!("{}: its addresses are not its VPC's", subnet.id));
            }
            Some(_) => {}
        }
        by_vpc.entry(&subnet.vpc).or_default().push(subnet);
    }
    for subnets in by_vpc.values_mut() {
        subnets.sort_by_key(|subnet| subnet.cidr.network());
        for pair in subnets.windows(2) {
            if pair[0].cidr.broadcast() >= pair[1].cidr.network() {
                wrong.push(format!("{} and {} have addresses in common", pair[0].id, pair[1].id));
            }
        }
    }
}

fn audit_routes(network: &Network, wrong: &mut Vec<String>) {
    let (mut ids, mut subnets) = (BTreeSet::new(), BTreeSet::new());
    for table in network.route_tables() {
        if network.vpc(&table.vpc).is_none() {
            wrong.push(format!("{} is in a VPC that does not exist", table.id));
        }
        for association in &table.associations {
            if !ids.insert(&association.id) {
                wrong.push(format!("{} is there twice", association.id));
            }
            let Some(id) = &association.subnet else { continue };
            if !subnets.insert(id) {
                wrong.push(format!("{id} is associated with two route tables"));
            }
            if network.subnet(id).is_none_or(|subnet| subnet.vpc != table.vpc) {
                wrong.push(format!("{}: it is associated with {id}, which is not in its VPC", table.id));
            }
        }
        let destinations: BTreeSet<_> = table.routes.iter().map(|route| route.destination).collect();
        if destinations.len() != table.routes.len() {
            wrong.push(format!("{}: it has two routes to one place", table.id));
        }
    }
}

fn audit_groups(network: &Network, wrong: &mut Vec<String>) {
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for group in network.security_groups() {
        if network.vpc(&group.vpc).is_none() {
            wrong.push(format!("{} is in a VPC that does not exist", group.id));
        }
        if !names.insert((&group.vpc, &group.name)) {
            wrong.push(format!("{}: its VPC has another group of its name", group.id));
        }
        let mut rules = BTreeSet::new();
        for rule in &group.rules {
            if !ids.insert(&rule.id) || !rules.insert(&rule.allowed) {
                wrong.push(format!("{}: {} is there twice", group.id, rule.id));
            }
            if let Peer::Group(peer) = &rule.allowed.peer
                && network.security_group(peer).is_none_or(|peer| peer.vpc != group.vpc)
            {
                wrong.push(format!("{}: {} names {peer}, which is not in its VPC", group.id, rule.id));
            }
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            let all = group.rules.iter().filter(|rule| rule.allowed.direction == direction);
            if all.filter(|rule| !matches!(rule.allowed.peer, Peer::V6(_))).count() > super::group::MAX_RULES {
                wrong.push(format!("{}: it has too many rules", group.id));
            }
        }
    }
}

fn audit_interfaces(network: &Network, wrong: &mut Vec<String>) {
    let mut taken = BTreeMap::new();
    for interface in network.interfaces() {
        let Some(subnet) = network.subnet(&interface.subnet) else {
            wrong.push(format!("{} is in a subnet that does not exist", interface.id));
            continue;
        };
        if subnet.vpc != interface.vpc {
            wrong.push(format!("{}: its subnet is in another VPC", interface.id));
        }
        if interface.addresses.is_empty() {
            wrong.push(format!("{} has no address", interface.id));
        }
        for address in &interface.addresses {
            if !cidr::is_usable(subnet.cidr, *address) {
                wrong.push(format!("{}: {address} is no address of its subnet's", interface.id));
            }
            if taken.insert((interface.subnet.clone(), *address), interface.id.clone()).is_some() {
                wrong.push(format!("{}: address {address} is taken twice", interface.id));
            }
        }
        if interface.groups.is_empty() != interface.nat_gateway.is_some() {
            wrong.push(format!("{}: it has no security group, or is a NAT gateway's and has one", interface.id));
        }
        for group in &interface.groups {
            if network.security_group(group).is_none_or(|group| group.vpc != interface.vpc) {
                wrong.push(format!("{}: its group {group} is not in its VPC", interface.id));
            }
        }
        if let Some(id) = &interface.nat_gateway
            && network.nat_gateway(id).is_none_or(|gateway| gateway.interface != interface.id)
        {
            wrong.push(format!("{} is that of {id}, which does not say so", interface.id));
        }
    }
    if !taken.iter().eq(network.taken.iter()) {
        wrong.push("addresses of interfaces are noted otherwise".to_owned());
    }
}

fn audit_gateways(network: &Network, wrong: &mut Vec<String>) {
    let (mut public, mut leads) = (BTreeSet::new(), BTreeSet::new());
    for address in network.addresses() {
        if !public.insert(address.public_ip) {
            wrong.push(format!("{}: address {} is allocated twice", address.id, address.public_ip));
        }
        let Some(association) = &address.association else { continue };
        if !leads.insert((&association.interface, association.private_ip)) {
            wrong.push(format!("{}: another address leads to the same", address.id));
        }
        let to = network.interface(&association.interface);
        if to.is_none_or(|interface| !interface.addresses.contains(&association.private_ip)) {
            wrong.push(format!("{} leads to an interface that does not exist, or not to its address", address.id));
        }
        if to.is_some_and(|interface| network.gateway_of(&interface.vpc).is_none()) {
            wrong.push(format!("{} leads into a VPC that has no internet gateway", address.id));
        }
    }
    for gateway in network.nat_gateways() {
        let subnet = network.subnet(&gateway.subnet);
        if subnet.is_none_or(|subnet| subnet.vpc != gateway.vpc) {
            wrong.push(format!("{} is in a subnet that does not exist, or not in its VPC", gateway.id));
        }
        let interface = network.interface(&gateway.interface);
        if interface.is_none_or(|interface| interface.nat_gateway.as_ref() != Some(&gateway.id)) {
            wrong.push(format!("{} has no interface of its own", gateway.id));
        }
        if let Some(id) = &gateway.allocation {
            let address = network.address(id).and_then(|address| address.association.as_ref());
            if address.is_none_or(|association| association.interface != gateway.interface) {
                wrong.push(format!("{}: its public address does not lead to it", gateway.id));
            }
        }
    }
}

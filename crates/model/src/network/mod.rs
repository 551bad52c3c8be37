//! A region's network: VPCs, subnets, route tables, gateways, addresses, security groups and interfaces, and the laws EC2 gives
//! for them.
//!
//! [`Network`] is everything of one account in one region, cheap to copy. An [`Edit`] stands on one and applies laws to it;
//! what it changed becomes one command to the store, which refuses it if the network has moved since. Ids and time are
//! arguments. Deliberately absent: IPv6 addresses, network ACLs that can be changed, peering, endpoints, prefix lists, and
//! everything that moves a packet.

mod address;
mod audit;
pub mod cidr;
mod default;
mod edit;
mod group;
mod ids;
mod interface;
mod internet;
mod nat;
pub mod reach;
mod records;
mod refusal;
mod route;
pub mod rule;
mod tagging;
mod vpc;

pub use audit::audit;
pub use edit::Edit;
pub use group::Named;
pub use ids::{
    AddressAssociationId, AllocationId, InterfaceId, InternetGatewayId, NatGatewayId, RouteAssociationId, RouteTableId,
    RuleId, SecurityGroupId, SubnetId, VpcId,
};
pub use interface::{MAX_INTERFACE_GROUPS, NewInterface};
pub use nat::NewNatGateway;
pub use records::{
    Address, AddressAssociation, DEFAULT_GROUP, Interface, InternetGateway, Key, NatGateway, Record, Route,
    RouteAssociation, RouteTable, RouteTarget, SecurityGroup, Subnet, Vpc,
};
pub use refusal::Refusal;
pub use rule::{Allowed, Direction, Peer, Rule, Traffic};
pub use tagging::{Tagged, is_network_id};
pub use vpc::NewSubnet;

use crate::Timestamp;
use imbl::OrdMap;
use std::{net::Ipv4Addr, sync::Arc};

/// Everything of one account in one region. A copy costs a reference count per table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Network {
    /// Counts the changes; 0 for one that nobody has changed yet.
    pub version: u64,
    vpcs: OrdMap<VpcId, Arc<Vpc>>,
    subnets: OrdMap<SubnetId, Arc<Subnet>>,
    route_tables: OrdMap<RouteTableId, Arc<RouteTable>>,
    internet_gateways: OrdMap<InternetGatewayId, Arc<InternetGateway>>,
    nat_gateways: OrdMap<NatGatewayId, Arc<NatGateway>>,
    addresses: OrdMap<AllocationId, Arc<Address>>,
    security_groups: OrdMap<SecurityGroupId, Arc<SecurityGroup>>,
    interfaces: OrdMap<InterfaceId, Arc<Interface>>,
    /// Derived: which interface has which address of a subnet.
    taken: OrdMap<(SubnetId, Ipv4Addr), InterfaceId>,
    /// Derived: until when an address that a task has had is given to nobody.
    resting: OrdMap<(SubnetId, Ipv4Addr), Timestamp>,
}

macro_rules! tables {
    ($($one:ident $all:ident $look:ident: $type:ty, $id:ty;)*) => {
        impl Network {
            $(
                /// The one of that id.
                pub fn $one(&self, id: &$id) -> Option<&Arc<$type>> {
                    self.$all.get(id)
                }
                /// All, by id.
                pub fn $all(&self) -> impl Iterator<Item = &Arc<$type>> {
                    self.$all.values()
                }
                /// The one of that id, or EC2's answer that it is not there.
                pub fn $look(&self, id: &$id) -> Result<&Arc<$type>, Refusal> {
                    self.$all.get(id).ok_or_else(|| id.missing())
                }
            )*
        }
    };
}

tables! {
    vpc vpcs find_vpc: Vpc, VpcId;
    subnet subnets find_subnet: Subnet, SubnetId;
    route_table route_tables find_route_table: RouteTable, RouteTableId;
    internet_gateway internet_gateways find_internet_gateway: InternetGateway, InternetGatewayId;
    nat_gateway nat_gateways find_nat_gateway: NatGateway, NatGatewayId;
    address addresses find_address: Address, AllocationId;
    security_group security_groups find_security_group: SecurityGroup, SecurityGroupId;
    interface interfaces find_interface: Interface, InterfaceId;
}

impl Network {
    /// Puts a record in the place of its earlier form, or adds it. Whether it may is for the laws to say.
    pub fn put(&mut self, record: Record) {
        match record {
            Record::Vpc(r) => drop(self.vpcs.insert(r.id.clone(), r)),
            Record::Subnet(r) => drop(self.subnets.insert(r.id.clone(), r)),
            Record::RouteTable(r) => drop(self.route_tables.insert(r.id.clone(), r)),
            Record::InternetGateway(r) => drop(self.internet_gateways.insert(r.id.clone(), r)),
            Record::NatGateway(r) => drop(self.nat_gateways.insert(r.id.clone(), r)),
            Record::Address(r) => drop(self.addresses.insert(r.id.clone(), r)),
            Record::SecurityGroup(r) => drop(self.security_groups.insert(r.id.clone(), r)),
            Record::Interface(r) => {
                self.release(&r.id);
                for address in &r.addresses {
                    self.taken.insert((r.subnet.clone(), *address), r.id.clone());
                }
                self.interfaces.insert(r.id.clone(), r);
            }
        }
    }

    /// Removes a record; one that is not there is no error.
    pub fn remove(&mut self, key: &Key) {
        match key {
            Key::Vpc(id) => drop(self.vpcs.remove(id)),
            Key::Subnet(id) => drop(self.subnets.remove(id)),
            Key::RouteTable(id) => drop(self.route_tables.remove(id)),
            Key::InternetGateway(id) => drop(self.internet_gateways.remove(id)),
            Key::NatGateway(id) => drop(self.nat_gateways.remove(id)),
            Key::Address(id) => drop(self.addresses.remove(id)),
            Key::SecurityGroup(id) => drop(self.security_groups.remove(id)),
            Key::Interface(id) => {
                self.release(id);
                self.interfaces.remove(id);
            }
        }
    }

    fn release(&mut self, id: &InterfaceId) {
        let Some(interface) = self.interfaces.get(id).cloned() else { return };
        for address in &interface.addresses {
            let place = (interface.subnet.clone(), *address);
            if self.taken.get(&place) == Some(id) {
                self.taken.remove(&place);
            }
        }
    }

    /// Lets an address rest.
    pub fn rest(&mut self, subnet: SubnetId, address: Ipv4Addr, until: Timestamp) {
        self.resting.insert((subnet, address), until);
    }

    /// Ends the rest of an address that was to end then.
    pub fn end_rest(&mut self, subnet: &SubnetId, address: Ipv4Addr, until: Timestamp) {
        let place = (subnet.clone(), address);
        if self.resting.get(&place) == Some(&until) {
            self.resting.remove(&place);
        }
    }

    /// Whether an address of a subnet is nobody's, and has rested.
    pub fn is_free(&self, subnet: &SubnetId, address: Ipv4Addr, at: Timestamp) -> bool {
        let place = (subnet.clone(), address);
        !self.taken.contains_key(&place) && self.resting.get(&place).is_none_or(|until| *until <= at)
    }

    /// Every record that is stored, in the order in which one stands on the other.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let vpcs = self.vpcs.values().cloned().map(Record::Vpc);
        vpcs.chain(self.subnets.values().cloned().map(Record::Subnet))
            .chain(self.internet_gateways.values().cloned().map(Record::InternetGateway))
            .chain(self.route_tables.values().cloned().map(Record::RouteTable))
            .chain(self.security_groups.values().cloned().map(Record::SecurityGroup))
            .chain(self.interfaces.values().filter(|i| i.task.is_none()).cloned().map(Record::Interface))
            .chain(self.addresses.values().cloned().map(Record::Address))
            .chain(self.nat_gateways.values().cloned().map(Record::NatGateway))
    }

    /// The VPC that requests which name none mean, if it was not deleted.
    pub fn default_vpc(&self) -> Option<&Arc<Vpc>> {
        self.vpcs.values().find(|vpc| vpc.is_default)
    }

    /// A VPC's subnets, by id.
    pub fn subnets_of<'a>(&'a self, vpc: &'a VpcId) -> impl Iterator<Item = &'a Arc<Subnet>> {
        self.subnets.values().filter(move |subnet| subnet.vpc == *vpc)
    }

    /// The group that came with a VPC.
    pub fn default_group(&self, vpc: &VpcId) -> Option<&Arc<SecurityGroup>> {
        self.security_groups.values().find(|group| group.vpc == *vpc && group.name == DEFAULT_GROUP)
    }

    /// The gateway that is attached to a VPC.
    pub fn gateway_of(&self, vpc: &VpcId) -> Option<&Arc<InternetGateway>> {
        self.internet_gateways.values().find(|gateway| gateway.vpc.as_ref() == Some(vpc))
    }

    /// The route table that a subnet is associated with, or else its VPC's main one.
    pub fn route_table_of(&self, subnet: &Subnet) -> Option<&Arc<RouteTable>> {
        let of_subnet = |association: &RouteAssociation| association.subnet.as_ref() == Some(&subnet.id);
        let tables = || self.route_tables.values().filter(|table| table.vpc == subnet.vpc);
        let own = tables().find(|table| table.associations.iter().any(of_subnet));
        own.or_else(|| tables().find(|table| table.is_main()))
    }

    /// Which interface has an address of a subnet.
    pub fn holder(&self, subnet: &SubnetId, address: Ipv4Addr) -> Option<&InterfaceId> {
        self.taken.get(&(subnet.clone(), address))
    }

    /// Which addresses of a subnet interfaces have, from the lowest up, and whose they are.
    pub fn taken_in<'a>(&'a self, subnet: &'a SubnetId) -> impl Iterator<Item = (Ipv4Addr, &'a InterfaceId)> {
        let all = (subnet.clone(), Ipv4Addr::UNSPECIFIED)..=(subnet.clone(), Ipv4Addr::BROADCAST);
        self.taken.range(all).map(|((_, address), id)| (*address, id))
    }

    /// The public addresses that lead to an interface.
    pub fn addresses_of<'a>(&'a self, interface: &'a InterfaceId) -> impl Iterator<Item = &'a Arc<Address>> {
        self.addresses
            .values()
            .filter(move |address| address.association.as_ref().is_some_and(|a| a.interface == *interface))
    }

    /// Whether a route leads anywhere.
    pub fn is_active(&self, vpc: &VpcId, route: &Route) -> bool {
        match &route.target {
            RouteTarget::InternetGateway(id) => {
                self.internet_gateways.get(id).is_some_and(|g| g.vpc.as_ref() == Some(vpc))
            }
            RouteTarget::NatGateway(id) => self.nat_gateways.contains_key(id),
        }
    }
}

/// The MAC address that goes with an interface's id: locally administered, and as different as the ids are.
pub fn mac(id: &InterfaceId) -> String {
    let digits = id.digits();
    // The last ten of 17: as many as fit.
    let pairs = (0..5).map(|i| digits.get(7 + 2 * i..9 + 2 * i).unwrap_or("00"));
    pairs.fold("02".to_owned(), |mac, pair| format!("{mac}:{pair}"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
mod properties;

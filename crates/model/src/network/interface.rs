//! Network interfaces: which addresses they get, and when they can go.

use super::{
    Address, Edit, Interface, InterfaceId, Key, NatGatewayId, Network, Refusal, SecurityGroupId, Subnet, SubnetId,
    cidr, mac,
};
use crate::{Creation, Tags, Timestamp};
use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

/// Security groups of one interface. Source: "Amazon VPC quotas".
pub const MAX_INTERFACE_GROUPS: usize = 5;
/// Addresses of one interface. The largest instance types of AWS let one have 50.
pub(super) const MAX_INTERFACE_ADDRESSES: usize = 50;
/// Interfaces of one region. Source: "Amazon VPC quotas".
pub(super) const MAX_INTERFACES: usize = 5_000;
/// Characters of a description. Source: the model's documentation.
const MAX_DESCRIPTION: usize = 255;

/// What a new interface shall be.
#[derive(Debug, Clone)]
pub struct NewInterface {
    /// Where.
    pub subnet: SubnetId,
    /// Its groups; without any it is in its VPC's default one.
    pub groups: Vec<SecurityGroupId>,
    /// The address it shall have first of all.
    pub primary: Option<Ipv4Addr>,
    /// Others it shall have.
    pub secondary: Vec<Ipv4Addr>,
    /// How many more, whichever they are.
    pub more: usize,
    /// What it is for.
    pub description: String,
    /// By what its request is recognised when it comes again.
    pub creation: Creation,
    /// Tags.
    pub tags: Tags,
}

impl Edit<'_> {
    /// Makes an interface, or answers the one that an earlier request with the same token made.
    pub fn create_interface(&mut self, new: NewInterface) -> Result<Arc<Interface>, Refusal> {
        let token = &new.creation.token;
        let again = self.network.interfaces().find(|known| token.is_some() && known.creation.token == *token);
        if let Some(known) = again {
            return if known.creation == new.creation { Ok(known.clone()) } else { Err(Refusal::TokenMismatch) };
        }
        let subnet = self.network.find_subnet(&new.subnet)?.clone();
        let mut groups = new.groups;
        if groups.is_empty() {
            groups.extend(self.network.default_group(&subnet.vpc).map(|group| group.id.clone()));
        }
        check_description(&new.description)?;
        self.check_groups(&subnet, &groups)?;
        let addresses = self.choose(&subnet, new.primary, &new.secondary, new.more)?;
        self.add_interface(&subnet, addresses, groups, new.description, None, new.creation, new.tags)
    }

    /// Records an interface whose addresses have been chosen.
    #[allow(clippy::too_many_arguments)] // They are the record's members, each of its own type.
    pub(super) fn add_interface(
        &mut self,
        subnet: &Subnet,
        addresses: Vec<Ipv4Addr>,
        groups: Vec<SecurityGroupId>,
        description: String,
        nat_gateway: Option<NatGatewayId>,
        creation: Creation,
        tags: Tags,
    ) -> Result<Arc<Interface>, Refusal> {
        if self.network.interfaces().count() >= MAX_INTERFACES {
            return Err(Refusal::Limit { code: "NetworkInterfaceLimitExceeded", what: "network interfaces" });
        }
        let id = InterfaceId::of(self.number());
        self.put(Interface {
            scope: self.scope.clone(),
            id: id.clone(),
            vpc: subnet.vpc.clone(),
            subnet: subnet.id.clone(),
            addresses,
            mac: mac(&id),
            groups,
            description,
            // A NAT gateway is there for what is from and for others.
            source_dest_check: nat_gateway.is_none(),
            nat_gateway,
            task: None,
            creation,
            tags,
        });
        self.network.find_interface(&id).cloned()
    }

    /// Changes what is said of an interface; `None` leaves it as it is.
    pub fn modify_interface(
        &mut self,
        id: &InterfaceId,
        description: Option<String>,
        source_dest_check: Option<bool>,
        groups: Option<Vec<SecurityGroupId>>,
    ) -> Result<(), Refusal> {
        let known = self.network.find_interface(id)?;
        if known.is_managed() {
            return Err(Refusal::NotPermitted);
        }
        let mut interface = Interface::clone(known);
        if let Some(description) = description {
            check_description(&description)?;
            interface.description = description;
        }
        if let Some(groups) = groups {
            if groups.is_empty() {
                return Err(Refusal::Missing("Groups"));
            }
            let subnet = self.network.find_subnet(&interface.subnet)?;
            self.check_groups(subnet, &groups)?;
            interface.groups = groups;
        }
        interface.source_dest_check = source_dest_check.unwrap_or(interface.source_dest_check);
        self.put(interface);
        Ok(())
    }

    /// Removes an interface that is nobody's. Public addresses that led to it lead to nothing.
    pub fn delete_interface(&mut self, id: &InterfaceId) -> Result<(), Refusal> {
        if self.network.find_interface(id)?.is_managed() {
            return Err(Refusal::InterfaceInUse(id.clone()));
        }
        self.drop_interface(id);
        Ok(())
    }

    pub(super) fn drop_interface(&mut self, id: &InterfaceId) {
        let public: Vec<Address> = self.network.addresses_of(id).map(|address| Address::clone(address)).collect();
        for address in public {
            self.put(Address { association: None, ..address });
        }
        self.remove(Key::Interface(id.clone()));
    }

    fn check_groups(&self, subnet: &Subnet, groups: &[SecurityGroupId]) -> Result<(), Refusal> {
        for group in groups {
            if self.network.find_security_group(group)?.vpc != subnet.vpc {
                return Err(Refusal::GroupElsewhere(group.clone(), subnet.id.clone()));
            }
        }
        if groups.iter().collect::<BTreeSet<_>>().len() != groups.len() {
            return Err(Refusal::Value("The same security group was given more than once.".to_owned()));
        }
        if groups.len() > MAX_INTERFACE_GROUPS {
            let what = "security groups per interface";
            return Err(Refusal::Limit { code: "SecurityGroupsPerInterfaceLimitExceeded", what });
        }
        Ok(())
    }

    /// Addresses of a subnet that are free: those that are asked for, and the lowest ones for the rest.
    pub(super) fn choose(
        &self,
        subnet: &Subnet,
        primary: Option<Ipv4Addr>,
        secondary: &[Ipv4Addr],
        more: usize,
    ) -> Result<Vec<Ipv4Addr>, Refusal> {
        let wanted: Vec<Ipv4Addr> = primary.iter().chain(secondary).copied().collect();
        for (at, &address) in wanted.iter().enumerate() {
            if !subnet.cidr.contains(&address) {
                let text = format!("Address {address} does not fall within the subnet's address range");
                return Err(Refusal::Value(text));
            }
            if !cidr::is_usable(subnet.cidr, address) {
                return Err(Refusal::Value(format!("Address {address} is in subnet's reserved address range")));
            }
            if !self.is_free(&subnet.id, address) || wanted[..at].contains(&address) {
                return Err(Refusal::AddressInUse(address));
            }
        }
        let total = 1 + secondary.len() + more;
        if total > MAX_INTERFACE_ADDRESSES {
            let what = "private IP addresses per interface";
            return Err(Refusal::Limit { code: "PrivateIpAddressLimitExceeded", what });
        }
        let all = cidr::usable(subnet.cidr).map(Ipv4Addr::from);
        let mut free = all.filter(|address| self.is_free(&subnet.id, *address) && !wanted.contains(address));
        let full = || Refusal::SubnetFull(subnet.id.clone());
        let first = primary.map_or_else(|| free.next().ok_or_else(full), Ok)?;
        let mut chosen = vec![first];
        chosen.extend(secondary);
        while chosen.len() < total {
            chosen.push(free.next().ok_or_else(full)?);
        }
        Ok(chosen)
    }

    fn is_free(&self, subnet: &SubnetId, address: Ipv4Addr) -> bool {
        self.network.is_free(subnet, address, self.at) && !self.is_guest(subnet, address)
    }
}

impl Network {
    /// A free address of a subnet: the first one from the `from`th on, and around. Whoever starts somewhere else each time
    /// seldom wants what another one wants at the same moment, and gives an address again late.
    pub fn free_address(
        &self,
        subnet: &Subnet,
        from: u32,
        at: Timestamp,
        is_taken: &dyn Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        let all = cidr::usable(subnet.cidr);
        let first = all.start + from.checked_rem(all.end - all.start)?;
        let mut around = (first..all.end).chain(all.start..first).map(Ipv4Addr::from);
        around.find(|address| self.is_free(&subnet.id, *address, at) && !is_taken(*address))
    }
}

fn check_description(text: &str) -> Result<(), Refusal> {
    if text.chars().count() > MAX_DESCRIPTION {
        return Err(Refusal::Value(format!("Value ({text}) for parameter description is invalid: it is too long.")));
    }
    Ok(())
}

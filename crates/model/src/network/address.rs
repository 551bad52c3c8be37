//! Public addresses: which are given out, and what they lead to.

use super::{
    Address, AddressAssociation, AddressAssociationId, AllocationId, Edit, Interface, InterfaceId, Key, Network,
    Refusal,
};
use crate::Tags;
use ipnet::Ipv4Net;
use std::{net::Ipv4Addr, sync::Arc};

impl Network {
    /// The allocated address of that number.
    pub fn address_at(&self, public_ip: Ipv4Addr) -> Result<&Arc<Address>, Refusal> {
        let found = self.addresses().find(|address| address.public_ip == public_ip);
        found.ok_or(Refusal::AddressMissing(public_ip))
    }

    /// The address that has an association, and the association.
    pub fn address_association(
        &self,
        id: &AddressAssociationId,
    ) -> Result<(&Arc<Address>, &AddressAssociation), Refusal> {
        let mut all = self.addresses().filter_map(|address| Some((address, address.association.as_ref()?)));
        all.find(|(_, association)| association.id == *id).ok_or_else(|| id.missing())
    }
}

impl Edit<'_> {
    /// Gives out the lowest address of the pool that nobody on this server has.
    pub fn allocate_address(
        &mut self,
        pool: Ipv4Net,
        is_taken: &dyn Fn(Ipv4Addr) -> bool,
        tags: Tags,
    ) -> Result<Arc<Address>, Refusal> {
        let mut all = pool.hosts();
        let public_ip = all.find(|address| !is_taken(*address)).ok_or(Refusal::NoPublicAddress)?;
        let id = AllocationId::of(self.number());
        self.put(Address { scope: self.scope.clone(), id: id.clone(), public_ip, association: None, tags });
        self.network.find_address(&id).cloned()
    }

    /// Takes back an address that leads to nothing.
    pub fn release_address(&mut self, id: &AllocationId) -> Result<(), Refusal> {
        let address = self.network.find_address(id)?;
        if address.association.is_some() {
            return Err(Refusal::AddressInUse(address.public_ip));
        }
        self.remove(Key::Address(id.clone()));
        Ok(())
    }

    /// Has an address lead to an interface. What it led to before, or what led there, must not have been anything unless
    /// `again` says that this may be changed; the same once more changes nothing.
    pub fn associate_address(
        &mut self,
        id: &AllocationId,
        interface: &InterfaceId,
        private_ip: Option<Ipv4Addr>,
        again: bool,
    ) -> Result<AddressAssociationId, Refusal> {
        let interface = self.network.find_interface(interface)?.clone();
        let address = self.network.find_address(id)?.clone();
        if interface.is_managed() {
            return Err(Refusal::NotPermitted);
        }
        let private_ip = private_ip.or(interface.addresses.first().copied()).unwrap_or(Ipv4Addr::UNSPECIFIED);
        if !interface.addresses.contains(&private_ip) {
            let text = format!("Invalid address {private_ip}: it is not an address of {}", interface.id);
            return Err(Refusal::Value(text));
        }
        if let Some(known) = &address.association {
            if known.interface == interface.id && known.private_ip == private_ip {
                return Ok(known.id.clone());
            }
            if !again {
                return Err(Refusal::AddressAssociated(id.clone(), known.id.clone()));
            }
            self.check_is_not_nats(known)?;
        }
        let there = self
            .network
            .addresses_of(&interface.id)
            .find(|other| other.id != *id && other.association.as_ref().is_some_and(|a| a.private_ip == private_ip));
        if let Some((other, known)) = there.cloned().and_then(|other| other.association.clone().map(|a| (other, a))) {
            if !again {
                return Err(Refusal::InterfaceAssociated(interface.id.clone(), known.id));
            }
            self.put(Address { association: None, ..Address::clone(&other) });
        }
        self.lead(&address, &interface, private_ip)
    }

    /// Notes what an address leads to from now on. The VPC must be on the internet.
    pub(super) fn lead(
        &mut self,
        address: &Address,
        interface: &Interface,
        private_ip: Ipv4Addr,
    ) -> Result<AddressAssociationId, Refusal> {
        if self.network.gateway_of(&interface.vpc).is_none() {
            return Err(Refusal::NoGateway(interface.vpc.clone()));
        }
        let id = AddressAssociationId::of(self.number());
        let association = AddressAssociation { id: id.clone(), interface: interface.id.clone(), private_ip };
        self.put(Address { association: Some(association), ..address.clone() });
        Ok(id)
    }

    /// Has an address lead to nothing any more.
    pub fn disassociate_address(&mut self, id: &AddressAssociationId) -> Result<(), Refusal> {
        let (address, association) = self.network.address_association(id)?;
        self.check_is_not_nats(association)?;
        let address = Address { association: None, ..Address::clone(address) };
        self.put(address);
        Ok(())
    }

    /// A NAT gateway keeps its address as long as it lives.
    fn check_is_not_nats(&self, association: &AddressAssociation) -> Result<(), Refusal> {
        let interface = self.network.interface(&association.interface);
        if interface.is_some_and(|interface| interface.nat_gateway.is_some()) {
            Err(Refusal::NotPermitted)
        } else {
            Ok(())
        }
    }
}

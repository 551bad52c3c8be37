//! NAT gateways: an interface of their own in a subnet, and a public address that leads to it.

use super::{AllocationId, Edit, Key, NatGateway, NatGatewayId, Refusal, SubnetId};
use crate::{Creation, Tags};
use std::{net::Ipv4Addr, sync::Arc};

/// NAT gateways of one region. AWS's quota is 5 per zone and can be raised.
pub(super) const MAX_NAT_GATEWAYS: usize = 100;

/// What a new NAT gateway shall be.
#[derive(Debug, Clone)]
pub struct NewNatGateway {
    /// Where.
    pub subnet: SubnetId,
    /// Its public address; without, it is a private one.
    pub allocation: Option<AllocationId>,
    /// Its address in the subnet.
    pub private_ip: Option<Ipv4Addr>,
    /// By what its request is recognised when it comes again.
    pub creation: Creation,
    /// Tags.
    pub tags: Tags,
}

impl Edit<'_> {
    /// Makes a gateway, or answers the one that an earlier request with the same token made.
    pub fn create_nat_gateway(&mut self, new: NewNatGateway) -> Result<Arc<NatGateway>, Refusal> {
        let token = &new.creation.token;
        let again = self.network.nat_gateways().find(|known| token.is_some() && known.creation.token == *token);
        if let Some(known) = again {
            return if known.creation == new.creation { Ok(known.clone()) } else { Err(Refusal::TokenMismatch) };
        }
        let subnet = self.network.find_subnet(&new.subnet)?.clone();
        let address = match &new.allocation {
            None => None,
            Some(id) => {
                let address = self.network.find_address(id)?.clone();
                if let Some(known) = &address.association {
                    return Err(Refusal::AddressAssociated(id.clone(), known.id.clone()));
                }
                Some(address)
            }
        };
        if self.network.nat_gateways().count() >= MAX_NAT_GATEWAYS {
            return Err(Refusal::Limit { code: "NatGatewayLimitExceeded", what: "NAT gateways" });
        }
        let addresses = self.choose(&subnet, new.private_ip, &[], 0)?;
        let id = NatGatewayId::of(self.number());
        let description = format!("Interface for NAT Gateway {id}");
        let nobody = super::vpc::nobody();
        let interface =
            self.add_interface(&subnet, addresses, Vec::new(), description, Some(id.clone()), nobody, Tags::default())?;
        if let (Some(address), Some(private_ip)) = (address, interface.addresses.first()) {
            self.lead(&address, &interface, *private_ip)?;
        }
        self.put(NatGateway {
            scope: self.scope.clone(),
            id: id.clone(),
            vpc: subnet.vpc.clone(),
            subnet: new.subnet,
            interface: interface.id.clone(),
            allocation: new.allocation,
            created_at: self.at,
            creation: new.creation,
            tags: new.tags,
        });
        self.network.find_nat_gateway(&id).cloned()
    }

    /// Removes a gateway and its interface. Its public address leads to nothing and stays allocated; routes that led to it
    /// lead nowhere.
    pub fn delete_nat_gateway(&mut self, id: &NatGatewayId) -> Result<(), Refusal> {
        let interface = self.network.find_nat_gateway(id)?.interface.clone();
        self.drop_interface(&interface);
        self.remove(Key::NatGateway(id.clone()));
        Ok(())
    }
}

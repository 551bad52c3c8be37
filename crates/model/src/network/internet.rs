//! Internet gateways: each attached to one VPC at most, and each VPC to one.

use super::{Edit, InternetGateway, InternetGatewayId, Key, Refusal, VpcId};
use crate::Tags;
use std::sync::Arc;

/// Internet gateways of one region: as many as VPCs, since more could not be attached.
pub(super) const MAX_INTERNET_GATEWAYS: usize = super::vpc::MAX_VPCS;

impl Edit<'_> {
    /// Makes a gateway that is attached to nothing.
    pub fn create_internet_gateway(&mut self, tags: Tags) -> Result<Arc<InternetGateway>, Refusal> {
        if self.network.internet_gateways().count() >= MAX_INTERNET_GATEWAYS {
            return Err(Refusal::Limit { code: "InternetGatewayLimitExceeded", what: "internet gateways" });
        }
        let id = InternetGatewayId::of(self.number());
        self.put(InternetGateway { scope: self.scope.clone(), id: id.clone(), vpc: None, tags });
        self.network.find_internet_gateway(&id).cloned()
    }

    /// Removes a gateway that is attached to nothing. Routes that led to it lead nowhere.
    pub fn delete_internet_gateway(&mut self, id: &InternetGatewayId) -> Result<(), Refusal> {
        if self.network.find_internet_gateway(id)?.vpc.is_some() {
            return Err(Refusal::Dependencies { what: "internetGateway", id: id.to_string() });
        }
        self.remove(Key::InternetGateway(id.clone()));
        Ok(())
    }

    /// Attaches a gateway to a VPC.
    pub fn attach_internet_gateway(&mut self, id: &InternetGatewayId, vpc: &VpcId) -> Result<(), Refusal> {
        let gateway = self.network.find_internet_gateway(id)?;
        self.network.find_vpc(vpc)?;
        if let Some(known) = &gateway.vpc {
            return Err(Refusal::GatewayAttached(id.clone(), known.clone()));
        }
        if self.network.gateway_of(vpc).is_some() {
            return Err(Refusal::VpcHasGateway(vpc.clone()));
        }
        let gateway = InternetGateway { vpc: Some(vpc.clone()), ..InternetGateway::clone(gateway) };
        self.put(gateway);
        Ok(())
    }

    /// Takes a gateway away from a VPC in which nothing has a public address.
    pub fn detach_internet_gateway(&mut self, id: &InternetGatewayId, vpc: &VpcId) -> Result<(), Refusal> {
        let network = &self.network;
        let gateway = network.find_internet_gateway(id)?;
        network.find_vpc(vpc)?;
        if gateway.vpc.as_ref() != Some(vpc) {
            return Err(Refusal::GatewayNotAttached(id.clone(), vpc.clone()));
        }
        let is_here = |interface| network.interface(interface).is_some_and(|interface| interface.vpc == *vpc);
        if network.addresses().filter_map(|a| a.association.as_ref()).any(|a| is_here(&a.interface)) {
            return Err(Refusal::AddressesMapped(vpc.clone()));
        }
        let gateway = InternetGateway { vpc: None, ..InternetGateway::clone(gateway) };
        self.put(gateway);
        Ok(())
    }
}

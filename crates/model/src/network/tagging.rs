//! Tags on everything of a network, rules included.

use super::{
    Address, AllocationId, Edit, Interface, InterfaceId, InternetGateway, InternetGatewayId, NatGateway, NatGatewayId,
    Network, Refusal, RouteTable, RouteTableId, RuleId, SecurityGroup, SecurityGroupId, Subnet, SubnetId, Vpc, VpcId,
};
use crate::Tags;

/// Something of a network, its tags, and what EC2 calls its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tagged<'a> {
    /// Its id.
    pub id: &'a str,
    /// `vpc`, `subnet`, ...
    pub kind: &'static str,
    /// Its tags.
    pub tags: &'a Tags,
}

/// What can be tagged, by its id.
enum Holder {
    Vpc(VpcId),
    Subnet(SubnetId),
    RouteTable(RouteTableId),
    InternetGateway(InternetGatewayId),
    NatGateway(NatGatewayId),
    Address(AllocationId),
    SecurityGroup(SecurityGroupId),
    Rule(RuleId),
    Interface(InterfaceId),
}

impl Holder {
    /// What an id names; `None` for one that is not a network's.
    fn parse(id: &str) -> Option<Result<Self, Refusal>> {
        let (kind, _) = id.split_once('-')?;
        Some(match kind {
            "vpc" => VpcId::parse(id).map(Self::Vpc),
            "subnet" => SubnetId::parse(id).map(Self::Subnet),
            "rtb" => RouteTableId::parse(id).map(Self::RouteTable),
            "igw" => InternetGatewayId::parse(id).map(Self::InternetGateway),
            "nat" => NatGatewayId::parse(id).map(Self::NatGateway),
            "eipalloc" => AllocationId::parse(id).map(Self::Address),
            "sg" => SecurityGroupId::parse(id).map(Self::SecurityGroup),
            "sgr" => RuleId::parse(id).map(Self::Rule),
            "eni" => InterfaceId::parse(id).map(Self::Interface),
            _ => return None,
        })
    }
}

/// Whether an id is one of a network's kinds.
pub fn is_network_id(id: &str) -> bool {
    Holder::parse(id).is_some()
}

impl Network {
    /// Everything that can carry tags.
    pub fn tagged(&self) -> impl Iterator<Item = Tagged<'_>> {
        fn tagged<'a>(id: &'a str, kind: &'static str, tags: &'a Tags) -> Tagged<'a> {
            Tagged { id, kind, tags }
        }
        let groups = self.security_groups();
        let rules = self.security_groups().flat_map(|group| &group.rules);
        self.vpcs()
            .map(|r| tagged(r.id.as_str(), "vpc", &r.tags))
            .chain(self.subnets().map(|r| tagged(r.id.as_str(), "subnet", &r.tags)))
            .chain(self.route_tables().map(|r| tagged(r.id.as_str(), "route-table", &r.tags)))
            .chain(self.internet_gateways().map(|r| tagged(r.id.as_str(), "internet-gateway", &r.tags)))
            .chain(self.nat_gateways().map(|r| tagged(r.id.as_str(), "natgateway", &r.tags)))
            .chain(self.addresses().map(|r| tagged(r.id.as_str(), "elastic-ip", &r.tags)))
            .chain(groups.map(|r| tagged(r.id.as_str(), "security-group", &r.tags)))
            .chain(rules.map(|r| tagged(r.id.as_str(), "security-group-rule", &r.tags)))
            .chain(self.interfaces().map(|r| tagged(r.id.as_str(), "network-interface", &r.tags)))
    }
}

impl Edit<'_> {
    /// Changes the tags of whatever has that id.
    pub fn change_tags(
        &mut self,
        id: &str,
        change: &dyn Fn(&mut Tags) -> Result<(), crate::tags::InvalidTags>,
    ) -> Result<(), Refusal> {
        let unknown = || Refusal::Id { code: "InvalidID", text: format!("The ID '{id}' is not valid") };
        let network = &self.network;
        macro_rules! changed {
            ($type:ty, $found:expr) => {{
                let mut record = <$type>::clone($found);
                change(&mut record.tags).map_err(Refusal::Tags)?;
                self.put(record);
            }};
        }
        match Holder::parse(id).ok_or_else(unknown)?? {
            Holder::Vpc(id) => changed!(Vpc, network.find_vpc(&id)?),
            Holder::Subnet(id) => changed!(Subnet, network.find_subnet(&id)?),
            Holder::RouteTable(id) => changed!(RouteTable, network.find_route_table(&id)?),
            Holder::InternetGateway(id) => changed!(InternetGateway, network.find_internet_gateway(&id)?),
            Holder::NatGateway(id) => changed!(NatGateway, network.find_nat_gateway(&id)?),
            Holder::Address(id) => changed!(Address, network.find_address(&id)?),
            Holder::SecurityGroup(id) => changed!(SecurityGroup, network.find_security_group(&id)?),
            // A task's tags are its interface's.
            Holder::Interface(id) if network.find_interface(&id)?.task.is_some() => return Err(Refusal::NotPermitted),
            Holder::Interface(id) => changed!(Interface, network.find_interface(&id)?),
            Holder::Rule(id) => {
                let mut group = SecurityGroup::clone(network.rule(&id)?.0);
                for rule in group.rules.iter_mut().filter(|rule| rule.id == id) {
                    change(&mut rule.tags).map_err(Refusal::Tags)?;
                }
                self.put(group);
            }
        }
        Ok(())
    }
}

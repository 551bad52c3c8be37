//! VPCs and their subnets: which addresses they may have, and when they can go.

use super::{
    Allowed, DEFAULT_GROUP, Direction, Edit, Key, Peer, RouteAssociation, RouteAssociationId, RouteTable, RouteTableId,
    Rule, RuleId, SecurityGroup, SecurityGroupId, Subnet, SubnetId, Traffic, Vpc, VpcId, cidr, refusal::Refusal,
};
use crate::{Creation, Tags, vpc::DefaultVpc};
use ipnet::Ipv4Net;
use std::sync::Arc;

/// VPCs of one region. AWS's quota is 5 and can be raised to hundreds; nothing here grows with them but the lists.
pub(super) const MAX_VPCS: usize = 100;
/// Subnets of one VPC. Source: "Amazon VPC quotas".
pub(super) const MAX_SUBNETS: usize = 200;
/// What the group that comes with a VPC is for.
pub(super) const DEFAULT_GROUP_DESCRIPTION: &str = "default VPC security group";

/// What a new subnet shall be.
#[derive(Debug, Clone)]
pub struct NewSubnet {
    /// Whose.
    pub vpc: VpcId,
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// Its zone, one of the region's.
    pub availability_zone: String,
    /// Tags.
    pub tags: Tags,
}

/// A main route table has no request of its own that could come again.
pub(super) fn nobody() -> Creation {
    Creation { token: None, request_sha256: "".into() }
}

/// What every new group lets out: all.
pub(super) fn all_out(id: RuleId) -> Rule {
    let peer = Peer::V4(Ipv4Net::default());
    let allowed = Allowed { direction: Direction::Egress, traffic: Traffic::All, peer };
    Rule { id, allowed, description: None, tags: Tags::default() }
}

impl Edit<'_> {
    /// Makes a VPC, and with it its main route table and its default security group.
    pub fn create_vpc(&mut self, net: Ipv4Net, tags: Tags) -> Result<Arc<Vpc>, Refusal> {
        if !cidr::has_size(net) || !cidr::has_range(net) {
            return Err(Refusal::VpcRange(net));
        }
        if self.network.vpcs().count() >= MAX_VPCS {
            return Err(Refusal::Limit { code: "VpcLimitExceeded", what: "VPCs" });
        }
        let id = VpcId::of(self.number());
        self.put(Vpc {
            scope: self.scope.clone(),
            id: id.clone(),
            cidr: net,
            is_default: false,
            dns_support: true,
            dns_hostnames: false,
            usage_metrics: false,
            created_at: self.at,
            tags,
        });
        let main = RouteAssociation { id: RouteAssociationId::of(self.number()), subnet: None };
        let table = RouteTableId::of(self.number());
        self.put(RouteTable {
            scope: self.scope.clone(),
            id: table,
            vpc: id.clone(),
            routes: Vec::new(),
            associations: vec![main],
            creation: nobody(),
            tags: Tags::default(),
        });
        let group = SecurityGroupId::of(self.number());
        let allowed =
            Allowed { direction: Direction::Ingress, traffic: Traffic::All, peer: Peer::Group(group.clone()) };
        let among = Rule { id: RuleId::of(self.number()), allowed, description: None, tags: Tags::default() };
        let out = all_out(RuleId::of(self.number()));
        self.put(SecurityGroup {
            scope: self.scope.clone(),
            id: group,
            vpc: id.clone(),
            name: DEFAULT_GROUP.to_owned(),
            description: DEFAULT_GROUP_DESCRIPTION.to_owned(),
            rules: vec![among, out],
            tags: Tags::default(),
        });
        self.network.find_vpc(&id).cloned()
    }

    /// Makes the default VPC again as it was in the beginning.
    pub fn create_default_vpc(&mut self, as_it_was: &DefaultVpc) -> Result<Arc<Vpc>, Refusal> {
        if self.network.default_vpc().is_some() {
            return Err(Refusal::DefaultVpcExists);
        }
        for record in as_it_was.network(&self.scope).records() {
            self.put(record);
        }
        self.network.default_vpc().cloned().ok_or(Refusal::NoDefaultVpc)
    }

    /// Sets attributes of a VPC; `None` leaves one as it is.
    pub fn modify_vpc(
        &mut self,
        id: &VpcId,
        dns_support: Option<bool>,
        dns_hostnames: Option<bool>,
        usage_metrics: Option<bool>,
    ) -> Result<(), Refusal> {
        let known = self.network.find_vpc(id)?;
        let mut vpc = Vpc::clone(known);
        vpc.dns_support = dns_support.unwrap_or(vpc.dns_support);
        vpc.dns_hostnames = dns_hostnames.unwrap_or(vpc.dns_hostnames);
        vpc.usage_metrics = usage_metrics.unwrap_or(vpc.usage_metrics);
        if vpc != **known {
            self.put(vpc);
        }
        Ok(())
    }

    /// Removes a VPC in which nothing is left but what came with it.
    pub fn delete_vpc(&mut self, id: &VpcId) -> Result<(), Refusal> {
        let network = &self.network;
        network.find_vpc(id)?;
        let tables: Vec<_> = network.route_tables().filter(|table| table.vpc == *id).collect();
        let groups: Vec<_> = network.security_groups().filter(|group| group.vpc == *id).collect();
        let is_empty = network.subnets_of(id).next().is_none()
            && network.gateway_of(id).is_none()
            && tables.iter().all(|table| table.is_main())
            && groups.iter().all(|group| group.name == DEFAULT_GROUP);
        if !is_empty {
            return Err(Refusal::Dependencies { what: "vpc", id: id.to_string() });
        }
        let tables = tables.into_iter().map(|table| Key::RouteTable(table.id.clone()));
        let groups = groups.into_iter().map(|group| Key::SecurityGroup(group.id.clone()));
        let gone: Vec<Key> = tables.chain(groups).chain([Key::Vpc(id.clone())]).collect();
        for key in gone {
            self.remove(key);
        }
        Ok(())
    }

    /// Makes a subnet.
    pub fn create_subnet(&mut self, new: NewSubnet) -> Result<Arc<Subnet>, Refusal> {
        let vpc = self.network.find_vpc(&new.vpc)?;
        if !cidr::has_size(new.cidr) || !vpc.cidr.contains(&new.cidr) {
            return Err(Refusal::SubnetRange(new.cidr));
        }
        if self.network.subnets_of(&new.vpc).any(|subnet| cidr::overlap(subnet.cidr, new.cidr)) {
            return Err(Refusal::SubnetConflict(new.cidr));
        }
        if self.network.subnets_of(&new.vpc).count() >= MAX_SUBNETS {
            return Err(Refusal::Limit { code: "SubnetLimitExceeded", what: "subnets" });
        }
        let id = SubnetId::of(self.number());
        self.put(Subnet {
            scope: self.scope.clone(),
            id: id.clone(),
            vpc: new.vpc,
            cidr: new.cidr,
            availability_zone: new.availability_zone,
            default_for_az: false,
            map_public_ip: false,
            tags: new.tags,
        });
        self.network.find_subnet(&id).cloned()
    }

    /// Says whether what is launched in a subnet gets a public address.
    pub fn map_public_ip(&mut self, id: &SubnetId, map: bool) -> Result<(), Refusal> {
        let known = self.network.find_subnet(id)?;
        if known.map_public_ip != map {
            let subnet = Subnet { map_public_ip: map, ..Subnet::clone(known) };
            self.put(subnet);
        }
        Ok(())
    }

    /// Removes a subnet that nobody has an address of, and its association with a route table.
    pub fn delete_subnet(&mut self, id: &SubnetId) -> Result<(), Refusal> {
        self.network.find_subnet(id)?;
        if self.network.taken_in(id).next().is_some() || self.has_guests(id) {
            return Err(Refusal::Dependencies { what: "subnet", id: id.to_string() });
        }
        let is_of = |association: &RouteAssociation| association.subnet.as_ref() == Some(id);
        let tables = self.network.route_tables().filter(|table| table.associations.iter().any(is_of));
        let tables: Vec<RouteTable> = tables.map(|table| RouteTable::clone(table)).collect();
        for mut table in tables {
            table.associations.retain(|association| !is_of(association));
            self.put(table);
        }
        self.remove(Key::Subnet(id.clone()));
        Ok(())
    }
}

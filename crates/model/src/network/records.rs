//! What a network is made of, as it is stored.

use super::{
    AddressAssociationId, AllocationId, InterfaceId, InternetGatewayId, NatGatewayId, RouteAssociationId, RouteTableId,
    SecurityGroupId, SubnetId, VpcId, rule::Rule,
};
use crate::{Creation, Scope, Tags, Timestamp};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::{net::Ipv4Addr, sync::Arc};

/// A network of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Account and region.
    pub scope: Scope,
    /// Its id.
    pub id: VpcId,
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// Whether it is the one that requests which name none mean.
    pub is_default: bool,
    /// `enableDnsSupport`.
    pub dns_support: bool,
    /// `enableDnsHostnames`.
    pub dns_hostnames: bool,
    /// `enableNetworkAddressUsageMetrics`.
    pub usage_metrics: bool,
    /// When it was made; a derived one was there from the beginning.
    pub created_at: Timestamp,
    /// Tags.
    pub tags: Tags,
}

impl Vpc {
    /// Where its resolver answers: the address after the first subnet's router.
    pub fn resolver(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.cidr.network()).saturating_add(2))
    }
}

/// A part of a VPC's addresses, in one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Account and region.
    pub scope: Scope,
    /// Its id.
    pub id: SubnetId,
    /// Whose part it is.
    pub vpc: VpcId,
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// Its zone.
    pub availability_zone: String,
    /// Whether it is the default VPC's of its zone.
    pub default_for_az: bool,
    /// Whether what is launched in it gets a public address.
    pub map_public_ip: bool,
    /// Tags.
    pub tags: Tags,
}

/// Where packets of the subnets that it is associated with go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Account and region.
    pub scope: Scope,
    /// Its id.
    pub id: RouteTableId,
    /// Whose it is.
    pub vpc: VpcId,
    /// All but the local one, which every table has, by destination.
    pub routes: Vec<Route>,
    /// Whose packets it is for.
    pub associations: Vec<RouteAssociation>,
    /// By what its request is recognised when it comes again.
    pub creation: Creation,
    /// Tags.
    pub tags: Tags,
}

impl RouteTable {
    /// Whether it is for all subnets of its VPC that are not associated with another one.
    pub fn is_main(&self) -> bool {
        self.associations.iter().any(|association| association.subnet.is_none())
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Which packets.
    pub destination: Ipv4Net,
    /// Where to. What has been deleted since swallows them.
    pub target: RouteTarget,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum RouteTarget {
    InternetGateway(InternetGatewayId),
    NatGateway(NatGatewayId),
}

/// Whose packets a route table is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteAssociation {
    /// Its id.
    pub id: RouteAssociationId,
    /// The subnet; without, all of the VPC that have no other.
    pub subnet: Option<SubnetId>,
}

/// The way to the internet for those with a public address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetGateway {
    /// Account and region.
    pub scope: Scope,
    /// Its id.
    pub id: InternetGatewayId,
    /// The VPC it is attached to.
    pub vpc: Option<VpcId>,
    /// Tags.
    pub tags: Tags,
}

/// The way out for those without a public address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// Account and region.
    pub scope: Scope,
    /// Its id.
    pub id: NatGatewayId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its interface there, which is nobody else's.
    pub interface: InterfaceId,
    /// Its public address; a private one has none and leads to other networks only.
    pub allocation: Option<AllocationId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By what its request is recognised when it comes again.
    pub creation: Creation,
    /// Tags.
    pub tags: Tags,
}

/// A public address: allocated, and perhaps associated with an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Account and region.
    pub scope: Scope,
    /// Its id.
    pub id: AllocationId,
    /// The address, nobody else's on this server.
    pub public_ip: Ipv4Addr,
    /// What it leads to.
    pub association: Option<AddressAssociation>,
    /// Tags.
    pub tags: Tags,
}

/// What a public address leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressAssociation {
    /// Its id.
    pub id: AddressAssociationId,
    /// The interface.
    pub interface: InterfaceId,
    /// Which of its addresses.
    pub private_ip: Ipv4Addr,
}

/// Who may talk to the interfaces that are in it, and to whom they may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Account and region.
    pub scope: Scope,
    /// Its id.
    pub id: SecurityGroupId,
    /// Whose it is.
    pub vpc: VpcId,
    /// Its name, of which the VPC has one. `default` is that of the group which comes with the VPC.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What is allowed, in the order in which it was.
    pub rules: Vec<Rule>,
    /// Tags.
    pub tags: Tags,
}

/// The name of the group that comes with a VPC.
pub const DEFAULT_GROUP: &str = "default";

/// A place in a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Account and region.
    pub scope: Scope,
    /// Its id.
    pub id: InterfaceId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its addresses, the primary one first; there is always one.
    pub addresses: Vec<Ipv4Addr>,
    /// Its MAC address.
    pub mac: String,
    /// Its security groups; a NAT gateway's has none.
    pub groups: Vec<SecurityGroupId>,
    /// What it is for, in its maker's words.
    pub description: String,
    /// Whether it drops what is neither from nor for itself.
    pub source_dest_check: bool,
    /// The NAT gateway whose it is.
    pub nat_gateway: Option<NatGatewayId>,
    /// The task whose it is. Never stored: such an interface is derived from its task's record.
    #[serde(skip)]
    pub task: Option<crate::TaskArn>,
    /// By what its request is recognised when it comes again.
    pub creation: Creation,
    /// Tags.
    pub tags: Tags,
}

impl Interface {
    /// Whether it comes and goes with what it belongs to, and is not for clients to change.
    pub fn is_managed(&self) -> bool {
        self.nat_gateway.is_some() || self.task.is_some()
    }
}

macro_rules! records {
    ($($name:ident($type:ty, $id:ty),)*) => {
        /// One stored thing.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Record { $($name(Arc<$type>),)* }

        /// What names one stored thing.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum Key { $($name($id),)* }

        impl Record {
            /// What names it.
            pub fn key(&self) -> Key {
                match self { $(Self::$name(record) => Key::$name(record.id.clone()),)* }
            }
            /// Whose it is.
            pub fn scope(&self) -> &Scope {
                match self { $(Self::$name(record) => &record.scope,)* }
            }
        }

        impl Key {
            /// The id.
            pub fn as_str(&self) -> &str {
                match self { $(Self::$name(id) => id.as_str(),)* }
            }
        }

        $(impl From<$type> for Record {
            fn from(record: $type) -> Self {
                Self::$name(Arc::new(record))
            }
        })*
    };
}

records! {
    Vpc(Vpc, VpcId),
    Subnet(Subnet, SubnetId),
    RouteTable(RouteTable, RouteTableId),
    InternetGateway(InternetGateway, InternetGatewayId),
    NatGateway(NatGateway, NatGatewayId),
    Address(Address, AllocationId),
    SecurityGroup(SecurityGroup, SecurityGroupId),
    Interface(Interface, InterfaceId),
}

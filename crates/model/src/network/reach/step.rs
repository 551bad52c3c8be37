//! What a packet comes to on its way, and what ends it there.

use super::super::{InterfaceId, NatGatewayId, RouteTableId, RouteTarget, RuleId, SecurityGroupId, SubnetId, VpcId};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Something that lets a packet on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It never leaves its interface.
    Itself(InterfaceId),
    /// The destination is in the sender's own VPC, whose parts are always routed to each other.
    Local {
        /// The VPC.
        vpc: VpcId,
        /// Its addresses.
        cidr: Ipv4Net,
    },
    /// The VPC's resolver or a metadata service answers there, which security groups do not filter.
    Served(Ipv4Addr),
    /// A route leads on.
    Routed {
        /// The table of the sender's subnet.
        table: RouteTableId,
        /// The route's destination.
        destination: Ipv4Net,
        /// Where it leads.
        target: RouteTarget,
    },
    /// The sender has a public address, and the internet gateway puts it in the place of its own.
    Public {
        /// The sender.
        interface: InterfaceId,
        /// Its public address.
        address: Ipv4Addr,
    },
    /// A NAT gateway puts its own public address in the sender's place.
    Translated {
        /// The gateway.
        gateway: NatGatewayId,
        /// Its public address.
        address: Ipv4Addr,
    },
    /// Out to the internet. What is there is not for this network to say.
    Outside(Ipv4Addr),
    /// From the internet, by a public address that leads to an interface, which can answer by its own route.
    Arrived {
        /// The public address.
        address: Ipv4Addr,
        /// The interface.
        interface: InterfaceId,
        /// Its own address.
        private: Ipv4Addr,
    },
    /// A rule of the sender's groups lets it out.
    Egress(Allowance),
    /// A rule of the receiver's groups lets it in.
    Ingress(Allowance),
}

/// The rule that allows something: of several the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Whose groups were looked at.
    pub interface: InterfaceId,
    /// The group whose rule it is.
    pub group: SecurityGroupId,
    /// The rule.
    pub rule: RuleId,
}

/// Groups none of whose rules allows something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Whose groups they are.
    pub interface: InterfaceId,
    /// The groups.
    pub groups: Vec<SecurityGroupId>,
    /// The address on the other side, as these groups see it.
    pub peer: Ipv4Addr,
    /// The groups of the other side, where rules can name them: inside one VPC.
    pub peer_groups: Vec<SecurityGroupId>,
}

/// Something that ends a packet's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The sender is not there.
    NoSender(InterfaceId),
    /// The address is in the sender's VPC, and no interface has it.
    Nobody {
        /// The VPC.
        vpc: VpcId,
        /// The address.
        address: Ipv4Addr,
    },
    /// The subnet's table has no route there, or the subnet has no table.
    NoRoute {
        /// The sender's subnet.
        subnet: SubnetId,
        /// Its table.
        table: Option<RouteTableId>,
        /// The destination.
        address: Ipv4Addr,
    },
    /// The route there leads to something that is gone.
    Blackhole {
        /// The table.
        table: RouteTableId,
        /// The route's destination.
        destination: Ipv4Net,
        /// What it led to.
        target: RouteTarget,
    },
    /// An internet gateway lets only those out who have a public address.
    NoPublicAddress(InterfaceId),
    /// The NAT gateway is a private one.
    PrivateGateway(NatGatewayId),
    /// The NAT gateway's own subnet has no route to an internet gateway.
    StrandedGateway {
        /// The gateway.
        gateway: NatGatewayId,
        /// Its subnet.
        subnet: SubnetId,
    },
    /// A private address, which means nothing on the internet. If somebody here has it, that one is of another VPC or is asked
    /// for from outside.
    NotPublic {
        /// The address.
        address: Ipv4Addr,
        /// Whose it is, and in which VPC.
        holder: Option<(InterfaceId, VpcId)>,
    },
    /// Both ends are outside.
    Elsewhere(Ipv4Addr),
    /// NAT gateways take no connections.
    TakesNone(NatGatewayId),
    /// What comes from the internet cannot be answered: the receiver's subnet has no route to an internet gateway.
    Unanswered {
        /// The receiver.
        interface: InterfaceId,
        /// Its subnet.
        subnet: SubnetId,
    },
    /// No rule of the sender's groups lets it out.
    NoEgress(Denial),
    /// No rule of the receiver's groups lets it in.
    NoIngress(Denial),
}

//! The default VPC as it is before anybody has changed anything: records like any other, made from the scope alone.
//!
//! Its group lets everything in, unlike AWS's: that is what is true of local instances, and their ports are for people on the
//! same host to try.

use super::{
    Allowed, DEFAULT_GROUP, Direction, InternetGateway, InternetGatewayId, Network, Peer, Route, RouteAssociation,
    RouteAssociationId, RouteTable, RouteTableId, RouteTarget, Rule, RuleId, SecurityGroup, SecurityGroupId, Subnet,
    SubnetId, Traffic, Vpc, VpcId,
    vpc::{DEFAULT_GROUP_DESCRIPTION, all_out, nobody},
};
use crate::{
    Scope, Tags, Timestamp,
    vpc::{DefaultVpc, id},
};
use ipnet::Ipv4Net;

/// Derived ids have their form by the way they are made.
const DERIVED: &str = "derived ids have EC2's form";

impl DefaultVpc {
    /// The whole network of a scope in which nobody has changed anything.
    pub fn network(&self, scope: &Scope) -> Network {
        let mut network = Network::default();
        let vpc = VpcId::parse(self.id.as_str()).expect(DERIVED);
        network.put(
            Vpc {
                scope: scope.clone(),
                id: vpc.clone(),
                cidr: self.cidr,
                is_default: true,
                dns_support: true,
                dns_hostnames: true,
                usage_metrics: false,
                created_at: Timestamp::default(),
                tags: Tags::default(),
            }
            .into(),
        );
        for subnet in &self.subnets {
            network.put(
                Subnet {
                    scope: scope.clone(),
                    id: SubnetId::parse(subnet.id.as_str()).expect(DERIVED),
                    vpc: vpc.clone(),
                    cidr: subnet.cidr,
                    availability_zone: subnet.availability_zone.clone(),
                    default_for_az: true,
                    map_public_ip: true,
                    tags: Tags::default(),
                }
                .into(),
            );
        }
        let gateway = InternetGatewayId::parse(id("igw", scope, "internet gateway")).expect(DERIVED);
        network.put(
            InternetGateway {
                scope: scope.clone(),
                id: gateway.clone(),
                vpc: Some(vpc.clone()),
                tags: Tags::default(),
            }
            .into(),
        );
        let out = Route { destination: Ipv4Net::default(), target: RouteTarget::InternetGateway(gateway) };
        let main = RouteAssociationId::parse(id("rtbassoc", scope, "main")).expect(DERIVED);
        network.put(
            RouteTable {
                scope: scope.clone(),
                id: RouteTableId::parse(id("rtb", scope, "main")).expect(DERIVED),
                vpc: vpc.clone(),
                routes: vec![out],
                associations: vec![RouteAssociation { id: main, subnet: None }],
                creation: nobody(),
                tags: Tags::default(),
            }
            .into(),
        );
        network.put(self.group(scope, vpc).into());
        network
    }

    fn group(&self, scope: &Scope, vpc: VpcId) -> SecurityGroup {
        let rule = |what: &str| RuleId::parse(id("sgr", scope, what)).expect(DERIVED);
        let everybody = Peer::V4(Ipv4Net::default());
        let allowed = Allowed { direction: Direction::Ingress, traffic: Traffic::All, peer: everybody };
        let all_in = Rule { id: rule("ingress"), allowed, description: None, tags: Tags::default() };
        SecurityGroup {
            scope: scope.clone(),
            id: SecurityGroupId::parse(self.security_group_id.as_str()).expect(DERIVED),
            vpc,
            name: DEFAULT_GROUP.to_owned(),
            description: DEFAULT_GROUP_DESCRIPTION.to_owned(),
            rules: vec![all_in, all_out(rule("egress"))],
            tags: Tags::default(),
        }
    }
}

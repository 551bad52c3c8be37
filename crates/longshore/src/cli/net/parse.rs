//! What EC2 shows of a network, read back into the records that it is shown from: the way back of the server's render functions.
//!
//! What this cannot read it names and refuses, since a route or a rule that is left out would change a verdict.

use anyhow::{Context, Result, bail};
use model::{
    Creation, Scope, Tags, Timestamp,
    network::{
        Address, AddressAssociation, AddressAssociationId, AllocationId, Allowed, Direction, Interface, InterfaceId,
        InternetGateway, InternetGatewayId, NatGateway, NatGatewayId, Network, Peer, Record, Route, RouteAssociation,
        RouteAssociationId, RouteTable, RouteTableId, RouteTarget, Rule, RuleId, SecurityGroup, SecurityGroupId,
        Subnet, SubnetId, Traffic, Vpc, VpcId, cidr,
    },
};
use shapes::ec2;
use std::{collections::BTreeMap, net::Ipv4Addr};

/// EC2's answers.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) vpcs: Vec<ec2::Vpc>,
    pub(super) subnets: Vec<ec2::Subnet>,
    pub(super) route_tables: Vec<ec2::RouteTable>,
    pub(super) internet_gateways: Vec<ec2::InternetGateway>,
    pub(super) nat_gateways: Vec<ec2::NatGateway>,
    pub(super) addresses: Vec<ec2::Address>,
    pub(super) groups: Vec<ec2::SecurityGroup>,
    pub(super) rules: Vec<ec2::SecurityGroupRule>,
    pub(super) interfaces: Vec<ec2::NetworkInterface>,
}

/// The network of these answers.
pub(super) fn network(seen: &Seen, scope: &Scope) -> Result<Network> {
    let mut network = Network::default();
    let mut put = |record: Record| network.put(record);
    seen.vpcs.iter().try_for_each(|shown| vpc(scope, shown).map(Record::from).map(&mut put))?;
    seen.subnets.iter().try_for_each(|shown| subnet(scope, shown).map(Record::from).map(&mut put))?;
    seen.route_tables.iter().try_for_each(|shown| route_table(scope, shown).map(Record::from).map(&mut put))?;
    seen.internet_gateways
        .iter()
        .try_for_each(|shown| internet_gateway(scope, shown).map(Record::from).map(&mut put))?;
    // AWS: a gateway that is deleted is still shown for an hour.
    let live = seen.nat_gateways.iter().filter(|shown| shown.state.as_deref() != Some("deleted"));
    let mut gateways = BTreeMap::new();
    for shown in live {
        let gateway = nat_gateway(scope, shown)?;
        gateways.insert(gateway.interface.clone(), gateway.id.clone());
        put(gateway.into());
    }
    let mut rules: BTreeMap<SecurityGroupId, Vec<Rule>> = BTreeMap::new();
    for shown in &seen.rules {
        let group = SecurityGroupId::parse(need(&shown.group_id, "group of a rule")?)?;
        rules.entry(group).or_default().push(rule(shown)?);
    }
    for shown in &seen.groups {
        put(group(scope, shown, &mut rules)?.into());
    }
    for shown in &seen.interfaces {
        let mut interface = interface(scope, shown)?;
        interface.nat_gateway = gateways.get(&interface.id).cloned();
        for address in provided(scope, shown, &interface.id)? {
            put(address.into());
        }
        put(interface.into());
    }
    seen.addresses.iter().try_for_each(|shown| address(scope, shown).map(Record::from).map(&mut put))?;
    Ok(network)
}

fn need<'a>(member: &'a Option<String>, what: &str) -> Result<&'a str> {
    member.as_deref().with_context(|| format!("the server's answer lacks the {what}"))
}

fn net(member: &Option<String>, what: &str) -> Result<ipnet::Ipv4Net> {
    let text = need(member, what)?;
    cidr::parse(text).with_context(|| format!("the server's answer has '{text}' for the {what}"))
}

fn ip(member: &Option<String>, what: &str) -> Result<Ipv4Addr> {
    let text = need(member, what)?;
    text.parse().with_context(|| format!("the server's answer has '{text}' for the {what}"))
}

/// EC2 does not show by which request a thing was made, and nobody asks.
fn creation() -> Creation {
    Creation { token: None, request_sha256: "".into() }
}

fn vpc(scope: &Scope, shown: &ec2::Vpc) -> Result<Vpc> {
    Ok(Vpc {
        scope: scope.clone(),
        id: VpcId::parse(need(&shown.vpc_id, "id of a VPC")?)?,
        cidr: net(&shown.cidr_block, "addresses of a VPC")?,
        is_default: shown.is_default == Some(true),
        // An attribute that is asked for by itself.
        dns_support: true,
        dns_hostnames: true,
        usage_metrics: false,
        created_at: Timestamp(0),
        tags: Tags::default(),
    })
}

fn subnet(scope: &Scope, shown: &ec2::Subnet) -> Result<Subnet> {
    Ok(Subnet {
        scope: scope.clone(),
        id: SubnetId::parse(need(&shown.subnet_id, "id of a subnet")?)?,
        vpc: VpcId::parse(need(&shown.vpc_id, "VPC of a subnet")?)?,
        cidr: net(&shown.cidr_block, "addresses of a subnet")?,
        availability_zone: need(&shown.availability_zone, "zone of a subnet")?.to_owned(),
        default_for_az: shown.default_for_az == Some(true),
        map_public_ip: shown.map_public_ip_on_launch == Some(true),
        tags: Tags::default(),
    })
}

fn route_table(scope: &Scope, shown: &ec2::RouteTable) -> Result<RouteTable> {
    let id = RouteTableId::parse(need(&shown.route_table_id, "id of a route table")?)?;
    let routes = shown.routes.iter().flatten().filter_map(|shown| route(&id, shown).transpose());
    let associations = shown.associations.iter().flatten().map(|shown| {
        let association = need(&shown.route_table_association_id, "id of a route table's association")?;
        let subnet = shown.subnet_id.as_deref().map(SubnetId::parse).transpose()?;
        Ok(RouteAssociation { id: RouteAssociationId::parse(association)?, subnet })
    });
    Ok(RouteTable {
        scope: scope.clone(),
        vpc: VpcId::parse(need(&shown.vpc_id, "VPC of a route table")?)?,
        routes: routes.collect::<Result<_>>()?,
        associations: associations.collect::<Result<_>>()?,
        creation: creation(),
        tags: Tags::default(),
        id,
    })
}

/// A route; none for the one within the VPC, which the model knows by itself, and for those of IPv6.
fn route(table: &RouteTableId, shown: &ec2::Route) -> Result<Option<Route>> {
    if shown.destination_ipv6_cidr_block.is_some() || shown.gateway_id.as_deref() == Some("local") {
        return Ok(None);
    }
    let target = match (&shown.gateway_id, &shown.nat_gateway_id) {
        (Some(id), None) if id.starts_with(InternetGatewayId::PREFIX) => {
            RouteTarget::InternetGateway(InternetGatewayId::parse(id.as_str())?)
        }
        (None, Some(id)) => RouteTarget::NatGateway(NatGatewayId::parse(id.as_str())?),
        _ => {
            bail!("the route table {table} has a route that leads neither to an internet gateway nor to a NAT gateway")
        }
    };
    let destination = net(&shown.destination_cidr_block, "destination of a route")?;
    Ok(Some(Route { destination, target }))
}

fn internet_gateway(scope: &Scope, shown: &ec2::InternetGateway) -> Result<InternetGateway> {
    let attached = shown.attachments.iter().flatten().find_map(|attachment| attachment.vpc_id.as_deref());
    Ok(InternetGateway {
        scope: scope.clone(),
        id: InternetGatewayId::parse(need(&shown.internet_gateway_id, "id of an internet gateway")?)?,
        vpc: attached.map(VpcId::parse).transpose()?,
        tags: Tags::default(),
    })
}

fn nat_gateway(scope: &Scope, shown: &ec2::NatGateway) -> Result<NatGateway> {
    let address = shown.nat_gateway_addresses.iter().flatten().next();
    let address = address.context("the server's answer lacks the address of a NAT gateway")?;
    let interface = need(&address.network_interface_id, "interface of a NAT gateway")?;
    Ok(NatGateway {
        scope: scope.clone(),
        id: NatGatewayId::parse(need(&shown.nat_gateway_id, "id of a NAT gateway")?)?,
        vpc: VpcId::parse(need(&shown.vpc_id, "VPC of a NAT gateway")?)?,
        subnet: SubnetId::parse(need(&shown.subnet_id, "subnet of a NAT gateway")?)?,
        interface: InterfaceId::parse(interface)?,
        allocation: address.allocation_id.as_deref().map(AllocationId::parse).transpose()?,
        created_at: Timestamp(0),
        creation: creation(),
        tags: Tags::default(),
    })
}

fn rule(shown: &ec2::SecurityGroupRule) -> Result<Rule> {
    let id = need(&shown.security_group_rule_id, "id of a security group's rule")?;
    let referenced = shown.referenced_group_info.as_ref().and_then(|info| info.group_id.as_deref());
    let peer = match (&shown.cidr_ipv4, &shown.cidr_ipv6, referenced) {
        (Some(net), None, None) => Peer::v4(net)?,
        (None, Some(net), None) => Peer::v6(net)?,
        (None, None, Some(group)) => Peer::Group(SecurityGroupId::parse(group)?),
        _ => bail!("the rule {id} is for neither addresses nor a group"),
    };
    let protocol = need(&shown.ip_protocol, "protocol of a security group's rule")?;
    let direction = if shown.is_egress == Some(true) { Direction::Egress } else { Direction::Ingress };
    let traffic = Traffic::parse(protocol, shown.from_port, shown.to_port)?;
    let allowed = Allowed { direction, traffic, peer };
    Ok(Rule { id: RuleId::parse(id)?, allowed, description: shown.description.clone(), tags: Tags::default() })
}

fn group(
    scope: &Scope,
    shown: &ec2::SecurityGroup,
    rules: &mut BTreeMap<SecurityGroupId, Vec<Rule>>,
) -> Result<SecurityGroup> {
    let id = SecurityGroupId::parse(need(&shown.group_id, "id of a security group")?)?;
    Ok(SecurityGroup {
        scope: scope.clone(),
        vpc: VpcId::parse(need(&shown.vpc_id, "VPC of a security group")?)?,
        name: shown.group_name.clone().unwrap_or_default(),
        description: shown.description.clone().unwrap_or_default(),
        rules: rules.remove(&id).unwrap_or_default(),
        tags: Tags::default(),
        id,
    })
}

fn interface(scope: &Scope, shown: &ec2::NetworkInterface) -> Result<Interface> {
    let groups = shown.groups.iter().flatten().map(|group| {
        let id = need(&group.group_id, "group of an interface")?;
        Ok(SecurityGroupId::parse(id)?)
    });
    let mut addresses = vec![ip(&shown.private_ip_address, "address of an interface")?];
    for other in shown.private_ip_addresses.iter().flatten() {
        let other = ip(&other.private_ip_address, "address of an interface")?;
        if !addresses.contains(&other) {
            addresses.push(other);
        }
    }
    Ok(Interface {
        scope: scope.clone(),
        id: InterfaceId::parse(need(&shown.network_interface_id, "id of an interface")?)?,
        vpc: VpcId::parse(need(&shown.vpc_id, "VPC of an interface")?)?,
        subnet: SubnetId::parse(need(&shown.subnet_id, "subnet of an interface")?)?,
        addresses,
        mac: shown.mac_address.clone().unwrap_or_default(),
        groups: groups.collect::<Result<_>>()?,
        description: shown.description.clone().unwrap_or_default(),
        source_dest_check: shown.source_dest_check != Some(false),
        nat_gateway: None,
        task: None,
        creation: creation(),
        tags: Tags::default(),
    })
}

fn address(scope: &Scope, shown: &ec2::Address) -> Result<Address> {
    let association = match (&shown.association_id, &shown.network_interface_id) {
        (Some(id), Some(interface)) => Some(AddressAssociation {
            id: AddressAssociationId::parse(id.as_str())?,
            interface: InterfaceId::parse(interface.as_str())?,
            private_ip: ip(&shown.private_ip_address, "address that a public one leads to")?,
        }),
        _ => None,
    };
    Ok(Address {
        scope: scope.clone(),
        id: AllocationId::parse(need(&shown.allocation_id, "id of an Elastic IP address")?)?,
        public_ip: ip(&shown.public_ip, "Elastic IP address")?,
        association,
        tags: Tags::default(),
    })
}

/// The public addresses of an interface that are nobody's allocation: those that tasks are given. They get ids of their own,
/// which nothing shows.
fn provided(scope: &Scope, shown: &ec2::NetworkInterface, interface: &InterfaceId) -> Result<Vec<Address>> {
    let mut all = Vec::new();
    for own in shown.private_ip_addresses.iter().flatten() {
        let Some(association) = own.association.as_ref().filter(|association| association.allocation_id.is_none())
        else {
            continue;
        };
        let public_ip = ip(&association.public_ip, "public address of an interface")?;
        let number = u128::from(u32::from(public_ip));
        let association = AddressAssociation {
            id: AddressAssociationId::of(number),
            interface: interface.clone(),
            private_ip: ip(&own.private_ip_address, "address of an interface")?,
        };
        let id = AllocationId::of(number);
        all.push(Address {
            scope: scope.clone(),
            id,
            public_ip,
            association: Some(association),
            tags: Tags::default(),
        });
    }
    Ok(all)
}

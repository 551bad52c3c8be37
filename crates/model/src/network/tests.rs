//! The laws as tables: what is asked of a small network, one after the other, and what comes of each.

use super::*;
use crate::{AccountId, Creation, Region, Scope, Tags, Timestamp, vpc::DefaultVpc};

pub(super) fn scope() -> Scope {
    Scope { account: AccountId::parse("123456789012").unwrap(), region: Region::parse("eu-central-1").unwrap() }
}

fn net(text: &str) -> ipnet::Ipv4Net {
    text.parse().unwrap()
}

fn creation(token: Option<&str>, said: &str) -> Creation {
    Creation { token: token.map(Arc::from), request_sha256: said.into() }
}

/// A network that is changed one law at a time, as the store does it.
struct World {
    network: Network,
    next: u128,
}

impl World {
    fn new() -> Self {
        let default = DefaultVpc::of(&scope(), net("172.31.0.0/16"));
        Self { network: default.network(&scope()), next: 0 }
    }

    fn edit<T>(&mut self, law: impl FnOnce(&mut Edit<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let next = &mut self.next;
        let mut fresh = || {
            *next += 1;
            *next
        };
        let mut edit = Edit::new(self.network.clone(), scope(), Timestamp(7), &mut fresh);
        let answer = law(&mut edit)?;
        if let Some((put, remove)) = edit.finish() {
            put.into_iter().for_each(|record| self.network.put(record));
            remove.iter().for_each(|key| self.network.remove(key));
            self.network.version += 1;
        }
        assert_eq!(audit(&self.network), Vec::<String>::new());
        Ok(answer)
    }

    fn vpc(&mut self, cidr: &str) -> VpcId {
        self.edit(|edit| edit.create_vpc(net(cidr), Tags::default())).unwrap().id.clone()
    }

    fn subnet(&mut self, vpc: &VpcId, cidr: &str) -> Result<SubnetId, Refusal> {
        let zone = "eu-central-1a".to_owned();
        let new = NewSubnet { vpc: vpc.clone(), cidr: net(cidr), availability_zone: zone, tags: Tags::default() };
        Ok(self.edit(|edit| edit.create_subnet(new))?.id.clone())
    }

    fn gateway(&mut self, vpc: &VpcId) -> InternetGatewayId {
        let id = self.edit(|edit| edit.create_internet_gateway(Tags::default())).unwrap().id.clone();
        self.edit(|edit| edit.attach_internet_gateway(&id, vpc)).unwrap();
        id
    }

    fn address(&mut self) -> Result<AllocationId, Refusal> {
        let taken: Vec<_> = self.network.addresses().map(|address| address.public_ip).collect();
        let pool = net("198.51.100.0/30");
        let made = self.edit(|edit| edit.allocate_address(pool, &|ip| taken.contains(&ip), Tags::default()))?;
        Ok(made.id.clone())
    }

    fn interface(&mut self, subnet: &SubnetId) -> NewInterface {
        NewInterface {
            subnet: subnet.clone(),
            groups: Vec::new(),
            primary: None,
            secondary: Vec::new(),
            more: 0,
            description: String::new(),
            creation: creation(None, ""),
            tags: Tags::default(),
        }
    }

    fn nat(&mut self, subnet: &SubnetId, allocation: Option<AllocationId>) -> Result<NatGatewayId, Refusal> {
        let creation = creation(None, "");
        let subnet = subnet.clone();
        let new = NewNatGateway { subnet, allocation, private_ip: None, creation, tags: Tags::default() };
        Ok(self.edit(|edit| edit.create_nat_gateway(new))?.id.clone())
    }
}

/// The code of what was refused.
fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn the_first_change_stores_the_default_vpc_and_its_ids_stay() {
    let default = DefaultVpc::of(&scope(), net("172.31.0.0/16"));
    let network = default.network(&scope());
    assert_eq!(audit(&network), Vec::<String>::new());
    let mut fresh = || 1;
    let edit = Edit::new(network.clone(), scope(), Timestamp(0), &mut fresh);
    assert_eq!(edit.finish(), None, "looking changes nothing");
    let mut edit = Edit::new(network, scope(), Timestamp(0), &mut fresh);
    edit.create_vpc(net("10.0.0.0/16"), Tags::default()).unwrap();
    let (put, remove) = edit.finish().unwrap();
    assert!(remove.is_empty() && put.iter().any(|record| record.key().as_str() == default.id));
    // One VPC, three subnets, a gateway, a table and a group; and a VPC, a table and a group.
    assert_eq!(put.len(), 10);
}

#[test]
fn vpcs_and_subnets_have_addresses_of_their_own() {
    let mut world = World::new();
    for cidr in [
        "10.0.0.0/15",
        "10.0.0.0/29",
        "0.0.0.0/16",
        "127.0.0.0/16",
        "127.255.0.0/28",
        "169.254.0.0/16",
        "169.254.169.240/28",
        "224.0.0.0/16",
        "255.255.0.0/16",
    ] {
        let made = world.edit(|edit| edit.create_vpc(net(cidr), Tags::default()));
        assert_eq!(code(made), "InvalidVpc.Range", "{cidr}");
    }
    let vpc = world.vpc("10.0.0.0/16");
    world.subnet(&vpc, "10.0.1.0/24").unwrap();
    for (cidr, want) in [
        ("10.1.0.0/24", "InvalidSubnet.Range"),
        ("10.0.0.0/15", "InvalidSubnet.Range"),
        ("10.0.2.0/29", "InvalidSubnet.Range"),
        ("10.0.1.0/24", "InvalidSubnet.Conflict"),
        ("10.0.1.128/25", "InvalidSubnet.Conflict"),
        ("10.0.0.0/16", "InvalidSubnet.Conflict"),
    ] {
        assert_eq!(code(world.subnet(&vpc, cidr)), want, "{cidr}");
    }
    // Two VPCs may have the same addresses.
    let other = world.vpc("10.0.0.0/16");
    world.subnet(&other, "10.0.1.0/24").unwrap();
    assert_eq!(code(world.subnet(&VpcId::of(99), "10.0.0.0/24")), "InvalidVpcID.NotFound");
    for _ in world.network.vpcs().count()..vpc::MAX_VPCS {
        world.vpc("10.9.0.0/16");
    }
    assert_eq!(code(world.edit(|edit| edit.create_vpc(net("10.0.0.0/16"), Tags::default()))), "VpcLimitExceeded");
}

#[test]
fn what_others_stand_on_is_not_deleted() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.1.0/24").unwrap();
    let gateway = world.gateway(&vpc);
    let table =
        world.edit(|edit| edit.create_route_table(&vpc, creation(None, ""), Tags::default())).unwrap().id.clone();
    let association = world.edit(|edit| edit.associate_route_table(&table, &subnet)).unwrap();
    let group = world.edit(|e| e.create_security_group(&vpc, "web", "web", Tags::default())).unwrap().id.clone();
    let new = NewInterface { groups: vec![group.clone()], ..world.interface(&subnet) };
    let interface = world.edit(|edit| edit.create_interface(new)).unwrap().id.clone();
    let address = world.address().unwrap();
    world.edit(|edit| edit.associate_address(&address, &interface, None, false)).unwrap();
    let main = world.network.route_tables().find(|t| t.vpc == vpc && t.is_main()).unwrap().clone();
    let default = world.network.default_group(&vpc).unwrap().id.clone();

    let violated = "DependencyViolation";
    assert_eq!(code(world.edit(|edit| edit.delete_vpc(&vpc))), violated);
    assert_eq!(code(world.edit(|edit| edit.delete_subnet(&subnet))), violated);
    assert_eq!(code(world.edit(|edit| edit.delete_internet_gateway(&gateway))), violated);
    assert_eq!(code(world.edit(|edit| edit.detach_internet_gateway(&gateway, &vpc))), violated);
    assert_eq!(code(world.edit(|edit| edit.delete_route_table(&table))), violated);
    assert_eq!(code(world.edit(|edit| edit.delete_route_table(&main.id))), violated);
    assert_eq!(code(world.edit(|edit| edit.delete_security_group(&group))), violated);
    assert_eq!(code(world.edit(|edit| edit.delete_security_group(&default))), "CannotDelete");
    assert_eq!(code(world.edit(|edit| edit.release_address(&address))), "InvalidIPAddress.InUse");
    let main_association = main.associations[0].id.clone();
    assert_eq!(code(world.edit(|e| e.disassociate_route_table(&main_association))), "InvalidParameterValue");

    // In the order of dependence all of it goes. A subnet takes its association with it.
    world.edit(|edit| edit.delete_interface(&interface)).unwrap();
    world.edit(|edit| edit.release_address(&address)).unwrap();
    world.edit(|edit| edit.delete_security_group(&group)).unwrap();
    world.edit(|edit| edit.delete_subnet(&subnet)).unwrap();
    assert_eq!(code(world.edit(|e| e.disassociate_route_table(&association))), "InvalidAssociationID.NotFound");
    world.edit(|edit| edit.delete_route_table(&table)).unwrap();
    world.edit(|edit| edit.detach_internet_gateway(&gateway, &vpc)).unwrap();
    world.edit(|edit| edit.delete_internet_gateway(&gateway)).unwrap();
    world.edit(|edit| edit.delete_vpc(&vpc)).unwrap();
    assert_eq!(world.network.vpcs().count(), 1);
    // A second time nothing is there.
    assert_eq!(code(world.edit(|edit| edit.delete_vpc(&vpc))), "InvalidVpcID.NotFound");
    assert_eq!(code(world.edit(|edit| edit.delete_subnet(&subnet))), "InvalidSubnetID.NotFound");
    assert_eq!(code(world.edit(|edit| edit.delete_security_group(&group))), "InvalidGroup.NotFound");
    assert_eq!(code(world.edit(|edit| edit.delete_interface(&interface))), "InvalidNetworkInterfaceID.NotFound");
}

#[test]
fn local_instances_keep_their_subnet_and_their_addresses() {
    let mut world = World::new();
    let subnet = world.network.subnets().next().unwrap().clone();
    let first = subnet.cidr.hosts().nth(3).unwrap();
    let guest = |edit: &mut Edit<'_>| edit.add_guest(subnet.id.clone(), first);
    let refused = world.edit(|edit| {
        guest(edit);
        edit.delete_subnet(&subnet.id)
    });
    assert_eq!(code(refused), "DependencyViolation");
    let new = world.interface(&subnet.id);
    let made = world.edit(|edit| {
        guest(edit);
        edit.create_interface(new)
    });
    assert_ne!(made.unwrap().addresses, [first]);
}

#[test]
fn the_default_vpc_can_go_and_come_back() {
    let mut world = World::new();
    let as_it_was = DefaultVpc::of(&scope(), net("172.31.0.0/16"));
    assert_eq!(code(world.edit(|edit| edit.create_default_vpc(&as_it_was))), "DefaultVpcAlreadyExists");
    let vpc = world.network.default_vpc().unwrap().id.clone();
    let gateway = world.network.gateway_of(&vpc).unwrap().id.clone();
    world.edit(|edit| edit.detach_internet_gateway(&gateway, &vpc)).unwrap();
    world.edit(|edit| edit.delete_internet_gateway(&gateway)).unwrap();
    let subnets: Vec<_> = world.network.subnets().map(|subnet| subnet.id.clone()).collect();
    for subnet in subnets {
        world.edit(|edit| edit.delete_subnet(&subnet)).unwrap();
    }
    world.edit(|edit| edit.delete_vpc(&vpc)).unwrap();
    assert_eq!(world.network.records().count(), 0);
    assert_eq!(world.edit(|edit| edit.create_default_vpc(&as_it_was)).unwrap().id, vpc);
    assert_eq!(world.network.records().count(), 7);
}

#[test]
fn routes_leave_the_vpc_by_its_own_gateways() {
    let mut world = World::new();
    let (vpc, other) = (world.vpc("10.0.0.0/16"), world.vpc("10.1.0.0/16"));
    let subnet = world.subnet(&vpc, "10.0.1.0/24").unwrap();
    let (own, foreign) = (world.gateway(&vpc), world.gateway(&other));
    let loose = world.edit(|edit| edit.create_internet_gateway(Tags::default())).unwrap().id.clone();
    let nat = world.nat(&subnet, None).unwrap();
    let table =
        world.edit(|edit| edit.create_route_table(&vpc, creation(None, ""), Tags::default())).unwrap().id.clone();
    let internet = |id: &InternetGatewayId| RouteTarget::InternetGateway(id.clone());
    let (to_nat, to_nobody) = (RouteTarget::NatGateway(nat.clone()), RouteTarget::NatGateway(NatGatewayId::of(99)));
    let add = |world: &mut World, to: &str, target: RouteTarget| {
        world.edit(|edit| edit.create_route(&table, Route { destination: net(to), target }))
    };
    for (to, target, want) in [
        ("0.0.0.0/0", internet(&foreign), "InvalidParameterValue"),
        ("0.0.0.0/0", internet(&loose), "InvalidParameterValue"),
        ("0.0.0.0/0", internet(&InternetGatewayId::of(99)), "InvalidGatewayID.NotFound"),
        ("0.0.0.0/0", to_nobody, "InvalidNatGatewayID.NotFound"),
        ("10.0.0.0/16", internet(&own), "InvalidParameterValue"),
        ("10.0.7.0/24", to_nat.clone(), "InvalidParameterValue"),
    ] {
        assert_eq!(code(add(&mut world, to, target)), want, "{to}");
    }
    add(&mut world, "0.0.0.0/0", internet(&own)).unwrap();
    assert_eq!(code(add(&mut world, "0.0.0.0/0", to_nat.clone())), "RouteAlreadyExists");
    let out = Route { destination: net("0.0.0.0/0"), target: to_nat };
    world.edit(|edit| edit.replace_route(&table, out.clone())).unwrap();
    let away = Route { destination: net("192.168.0.0/16"), target: out.target.clone() };
    assert_eq!(code(world.edit(|edit| edit.replace_route(&table, away))), "InvalidRoute.NotFound");
    assert!(world.network.is_active(&vpc, &out));
    // What a route led to may go; then it leads nowhere.
    world.edit(|edit| edit.delete_nat_gateway(&nat)).unwrap();
    assert!(!world.network.is_active(&vpc, &out));
    assert_eq!(code(world.edit(|edit| edit.delete_route(&table, net("10.0.0.0/16")))), "InvalidParameterValue");
    world.edit(|edit| edit.delete_route(&table, net("0.0.0.0/0"))).unwrap();
    assert_eq!(code(world.edit(|edit| edit.delete_route(&table, net("0.0.0.0/0")))), "InvalidRoute.NotFound");
}

#[test]
fn a_subnet_has_one_route_table_and_a_vpc_one_main_one() {
    let mut world = World::new();
    let (vpc, other) = (world.vpc("10.0.0.0/16"), world.vpc("10.1.0.0/16"));
    let subnet = world.subnet(&vpc, "10.0.1.0/24").unwrap();
    let foreign = world.subnet(&other, "10.1.1.0/24").unwrap();
    let table = |world: &mut World, vpc: &VpcId, token: Option<&str>, said: &str| {
        Ok(world.edit(|edit| edit.create_route_table(vpc, creation(token, said), Tags::default()))?.id.clone())
    };
    let one = table(&mut world, &vpc, Some("t"), "a").unwrap();
    assert_eq!(table(&mut world, &vpc, Some("t"), "a").unwrap(), one, "the same request again");
    assert_eq!(code(table(&mut world, &vpc, Some("t"), "b")), "IdempotentParameterMismatch");
    let two = table(&mut world, &vpc, None, "a").unwrap();
    let first = world.edit(|edit| edit.associate_route_table(&one, &subnet)).unwrap();
    assert_eq!(world.edit(|edit| edit.associate_route_table(&one, &subnet)).unwrap(), first);
    assert_eq!(code(world.edit(|edit| edit.associate_route_table(&two, &subnet))), "Resource.AlreadyAssociated");
    assert_eq!(code(world.edit(|edit| edit.associate_route_table(&one, &foreign))), "InvalidParameterValue");
    let second = world.edit(|edit| edit.replace_association(&first, &two)).unwrap();
    assert_eq!(code(world.edit(|edit| edit.replace_association(&first, &two))), "InvalidAssociationID.NotFound");
    assert_eq!(world.network.association_of(&subnet).unwrap().0.id, two);
    world.edit(|edit| edit.disassociate_route_table(&second)).unwrap();
    // The main one is moved, never taken away; then the first is like any other.
    let main = world.network.route_tables().find(|t| t.vpc == vpc && t.is_main()).unwrap().clone();
    world.edit(|edit| edit.replace_association(&main.associations[0].id, &one)).unwrap();
    world.edit(|edit| edit.delete_route_table(&main.id)).unwrap();
    assert_eq!(code(world.edit(|edit| edit.delete_route_table(&one))), "DependencyViolation");
}

#[test]
fn a_public_address_leads_to_one_place() {
    let mut world = World::new();
    let (vpc, inland) = (world.vpc("10.0.0.0/16"), world.vpc("10.1.0.0/16"));
    let (subnet, dry) = (world.subnet(&vpc, "10.0.1.0/24").unwrap(), world.subnet(&inland, "10.1.1.0/24").unwrap());
    world.gateway(&vpc);
    let (one, two) = (world.address().unwrap(), world.address().unwrap());
    assert_eq!(code(world.address()), "AddressLimitExceeded");
    let make = |world: &mut World, subnet: &SubnetId| {
        let new = world.interface(subnet);
        world.edit(|edit| edit.create_interface(new)).unwrap().id.clone()
    };
    let (a, b, c) = (make(&mut world, &subnet), make(&mut world, &subnet), make(&mut world, &dry));
    let lead = |world: &mut World, address: &AllocationId, to: &InterfaceId, again: bool| {
        world.edit(|edit| edit.associate_address(address, to, None, again))
    };
    assert_eq!(code(lead(&mut world, &one, &c, false)), "Gateway.NotAttached");
    let first = lead(&mut world, &one, &a, false).unwrap();
    assert_eq!(lead(&mut world, &one, &a, false).unwrap(), first, "the same once more");
    assert_eq!(code(lead(&mut world, &one, &b, false)), "Resource.AlreadyAssociated");
    assert_eq!(code(lead(&mut world, &two, &a, false)), "Resource.AlreadyAssociated");
    lead(&mut world, &two, &a, true).unwrap();
    assert_eq!(world.network.address(&one).unwrap().association, None);
    // A NAT gateway's stays with it, and comes free with its end.
    let nat = world.nat(&subnet, Some(one.clone())).unwrap();
    assert_eq!(code(world.nat(&subnet, Some(one.clone()))), "Resource.AlreadyAssociated");
    assert_eq!(code(world.nat(&dry, Some(AllocationId::of(99)))), "InvalidAllocationID.NotFound");
    let association = world.network.address(&one).unwrap().association.clone().unwrap();
    assert_eq!(code(world.edit(|edit| edit.disassociate_address(&association.id))), "OperationNotPermitted");
    assert_eq!(code(world.edit(|edit| edit.delete_interface(&association.interface))), "InvalidParameterValue");
    world.edit(|edit| edit.delete_nat_gateway(&nat)).unwrap();
    world.edit(|edit| edit.release_address(&one)).unwrap();
    assert!(world.network.interface(&association.interface).is_none());
}

#[test]
fn interfaces_get_the_addresses_they_ask_for_or_the_lowest() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/24");
    let subnet = world.subnet(&vpc, "10.0.0.0/28").unwrap();
    let ip = |last: u8| Ipv4Addr::new(10, 0, 0, last);
    let mut make = |primary: Option<u8>, secondary: &[u8], more: usize| {
        let secondary = secondary.iter().map(|last| ip(*last)).collect();
        let new = NewInterface { primary: primary.map(ip), secondary, more, ..world.interface(&subnet) };
        let made = world.edit(|edit| edit.create_interface(new));
        made.map(|made| made.addresses.iter().map(|address| address.octets()[3]).collect::<Vec<_>>())
    };
    assert_eq!(make(None, &[], 0).unwrap(), [4]);
    assert_eq!(make(Some(6), &[9], 1).unwrap(), [6, 9, 5]);
    assert_eq!(make(None, &[7], 0).unwrap(), [8, 7]);
    for (primary, want) in [
        (6, "InvalidIPAddress.InUse"),
        (3, "InvalidParameterValue"),
        (15, "InvalidParameterValue"),
        (200, "InvalidParameterValue"),
    ] {
        assert_eq!(code(make(Some(primary), &[], 0)), want, "{primary}");
    }
    assert_eq!(code(make(Some(10), &[10], 0)), "InvalidIPAddress.InUse");
    assert_eq!(code(make(None, &[], 50)), "PrivateIpAddressLimitExceeded");
    assert_eq!(code(make(None, &[], 5)), "InsufficientFreeAddressesInSubnet");
    assert_eq!(make(None, &[], 4).unwrap(), [10, 11, 12, 13, 14]);
    assert_eq!(code(make(None, &[], 0)), "InsufficientFreeAddressesInSubnet");
}

#[test]
fn interfaces_are_in_groups_of_their_own_vpc() {
    let mut world = World::new();
    let (vpc, other) = (world.vpc("10.0.0.0/16"), world.vpc("10.1.0.0/16"));
    let subnet = world.subnet(&vpc, "10.0.1.0/24").unwrap();
    let group = |world: &mut World, vpc: &VpcId, name: &str| {
        world.edit(|edit| edit.create_security_group(vpc, name, "d", Tags::default())).unwrap().id.clone()
    };
    let foreign = group(&mut world, &other, "x");
    let own: Vec<_> = (0..6).map(|n| group(&mut world, &vpc, &n.to_string())).collect();
    for (groups, want) in [
        (vec![foreign], "InvalidParameter"),
        (vec![SecurityGroupId::of(9999)], "InvalidGroup.NotFound"),
        (own.clone(), "SecurityGroupsPerInterfaceLimitExceeded"),
        (vec![own[0].clone(), own[0].clone()], "InvalidParameterValue"),
    ] {
        let new = NewInterface { groups, ..world.interface(&subnet) };
        assert_eq!(code(world.edit(|edit| edit.create_interface(new))), want);
    }
    let new = NewInterface { creation: creation(Some("t"), "a"), ..world.interface(&subnet) };
    let made = world.edit(|edit| edit.create_interface(new.clone())).unwrap();
    assert_eq!(made.groups, [world.network.default_group(&vpc).unwrap().id.clone()]);
    assert_eq!(world.edit(|edit| edit.create_interface(new.clone())).unwrap().id, made.id);
    let another = NewInterface { creation: creation(Some("t"), "b"), ..new };
    assert_eq!(code(world.edit(|edit| edit.create_interface(another))), "IdempotentParameterMismatch");
    world.edit(|edit| edit.modify_interface(&made.id, None, Some(false), Some(own[..2].to_vec()))).unwrap();
    let now = world.network.interface(&made.id).unwrap().clone();
    assert_eq!((now.groups.len(), now.source_dest_check, now.mac.len()), (2, false, 17));
}

#[test]
fn groups_have_names_and_rules_of_their_own() {
    let mut world = World::new();
    let (vpc, other) = (world.vpc("10.0.0.0/16"), world.vpc("10.1.0.0/16"));
    let make = |world: &mut World, vpc: &VpcId, name: &str, description: &str| {
        Ok(world.edit(|edit| edit.create_security_group(vpc, name, description, Tags::default()))?.id.clone())
    };
    let web = make(&mut world, &vpc, "web", "d").unwrap();
    let foreign = make(&mut world, &other, "web", "d").unwrap();
    for (name, description, want) in [
        ("web", "d", "InvalidGroup.Duplicate"),
        ("default", "d", "InvalidParameterValue"),
        ("sg-1", "d", "InvalidParameterValue"),
        ("grün", "d", "InvalidParameterValue"),
        ("a", "", "MissingParameter"),
        ("a", "é", "InvalidParameterValue"),
        ("", "d", "MissingParameter"),
    ] {
        assert_eq!(code(make(&mut world, &vpc, name, description)), want, "{name} {description}");
    }
    let rule = |port: u16, peer: Peer| {
        (Allowed { direction: Direction::Ingress, traffic: Traffic::Tcp(port, port), peer }, None)
    };
    let everybody = || Peer::v4("0.0.0.0/0").unwrap();
    let add = |world: &mut World, rules: Vec<_>| world.edit(|edit| edit.authorize(&web, rules, &Tags::default()));
    let added = add(&mut world, vec![rule(80, everybody()), rule(80, Peer::v6("::/0").unwrap())]).unwrap();
    assert_eq!(
        code(add(&mut world, vec![rule(81, everybody()), rule(80, everybody())])),
        "InvalidPermission.Duplicate"
    );
    assert_eq!(
        code(add(&mut world, vec![rule(82, everybody()), rule(82, everybody())])),
        "InvalidPermission.Duplicate"
    );
    assert_eq!(code(add(&mut world, vec![rule(83, Peer::Group(foreign))])), "InvalidGroup.NotFound");
    assert_eq!(code(add(&mut world, vec![rule(83, Peer::Group(SecurityGroupId::of(99)))])), "InvalidGroup.NotFound");
    assert_eq!(world.network.security_group(&web).unwrap().rules.len(), 3, "what was refused has left nothing");
    let take = |world: &mut World, direction, rules: &[Named]| world.edit(|edit| edit.revoke(&web, direction, rules));
    let by_id = [Named::Id(added[0].id.clone())];
    assert_eq!(code(take(&mut world, Direction::Egress, &by_id)), "InvalidSecurityGroupRuleId.NotFound");
    assert_eq!(take(&mut world, Direction::Ingress, &by_id).unwrap()[0].allowed, added[0].allowed);
    assert_eq!(code(take(&mut world, Direction::Ingress, &by_id)), "InvalidSecurityGroupRuleId.NotFound");
    let by_what = [Named::Allowed(added[0].allowed.clone())];
    assert_eq!(code(take(&mut world, Direction::Ingress, &by_what)), "InvalidPermission.NotFound");
    // 60 for IPv4, and as many for IPv6.
    let many = (0..60).map(|port| rule(port, everybody())).collect();
    add(&mut world, many).unwrap();
    assert_eq!(code(add(&mut world, vec![rule(99, everybody())])), "RulesPerSecurityGroupLimitExceeded");
    let itself = Peer::Group(web.clone());
    assert_eq!(code(add(&mut world, vec![rule(99, itself)])), "RulesPerSecurityGroupLimitExceeded");
    add(&mut world, vec![rule(99, Peer::v6("::/0").unwrap())]).unwrap();
}

#[test]
fn rules_change_what_they_allow_and_keep_their_id() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let make = |world: &mut World, name: &str| {
        world.edit(|edit| edit.create_security_group(&vpc, name, "d", Tags::default())).unwrap().id.clone()
    };
    let (web, app) = (make(&mut world, "web"), make(&mut world, "app"));
    let allowed = |port| Allowed {
        direction: Direction::Ingress,
        traffic: Traffic::Tcp(port, port),
        peer: Peer::Group(web.clone()),
    };
    let rules = vec![(allowed(80), Some("one".to_owned())), (allowed(81), None)];
    let added = world.edit(|edit| edit.authorize(&app, rules, &Tags::default())).unwrap();
    assert_eq!(code(world.edit(|edit| edit.delete_security_group(&web))), "DependencyViolation");
    let modify = |world: &mut World, port, description: Option<&str>| {
        let peer = Peer::Group(web.clone());
        let rule = (added[0].id.clone(), Traffic::Tcp(port, port), peer, description.map(str::to_owned));
        world.edit(|edit| edit.modify_rules(&app, vec![rule]))
    };
    assert_eq!(code(modify(&mut world, 81, None)), "InvalidPermission.Duplicate");
    modify(&mut world, 82, Some("two")).unwrap();
    let (_, rule) = world.network.rule(&added[0].id).unwrap();
    assert_eq!((rule.allowed.clone(), rule.description.as_deref()), (allowed(82), Some("two")));
    let say = |world: &mut World, named: Named, direction| {
        world.edit(|edit| edit.describe_rules(&app, direction, vec![(named, Some("three".to_owned()))]))
    };
    say(&mut world, Named::Allowed(allowed(82)), Direction::Ingress).unwrap();
    assert_eq!(code(say(&mut world, Named::Allowed(allowed(80)), Direction::Ingress)), "InvalidPermission.NotFound");
    let by_id = Named::Id(added[1].id.clone());
    assert_eq!(code(say(&mut world, by_id, Direction::Egress)), "InvalidSecurityGroupRuleId.NotFound");
    let (_, rule) = world.network.rule(&added[0].id).unwrap();
    assert_eq!(rule.description.as_deref(), Some("three"));
}

#[test]
fn everything_carries_tags() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let rule = world.network.default_group(&vpc).unwrap().rules[0].id.clone();
    let more = Tags::parse_any([("Name".to_owned(), "x (y)".to_owned())]).unwrap();
    for id in [vpc.as_str(), rule.as_str()] {
        world.edit(|edit| edit.change_tags(id, &|tags| tags.merge(&more))).unwrap();
        let tagged = world.network.tagged().find(|tagged| tagged.id == id).unwrap();
        assert_eq!(*tagged.tags, more);
    }
    for (id, want) in [
        ("vpc-00000000000000099", "InvalidVpcID.NotFound"),
        ("vpc-x", "InvalidVpcID.Malformed"),
        ("vol-00000000000000099", "InvalidID"),
        ("x", "InvalidID"),
    ] {
        assert_eq!(code(world.edit(|edit| edit.change_tags(id, &|_| Ok(())))), want, "{id}");
    }
    assert!(is_network_id("eni-x") && !is_network_id("i-00000000000000099"));
}

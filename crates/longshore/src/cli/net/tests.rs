//! What is asked, what of EC2's answers is refused, and what is advised. That the answers of a real server are read, and that
//! the verdicts are what packets do, the black box tests.

use super::{
    asked,
    fetch::World,
    open,
    parse::{self, Seen},
};
use model::{
    AccountId, Region, Scope,
    network::{
        InterfaceId,
        reach::{Probe, Sender},
    },
};
use shapes::ec2;
use std::collections::BTreeMap;

fn scope() -> Scope {
    Scope { account: AccountId::parse("123456789012").unwrap(), region: Region::parse("us-east-1").unwrap() }
}

#[test]
fn who_is_asked_and_for_what() {
    for (receiver, protocol, wanted) in [
        ("10.0.0.4:80", "tcp", Some(("10.0.0.4", Probe::Tcp(80)))),
        ("service/db:5432", "tcp", Some(("service/db", Probe::Tcp(5432)))),
        (
            "arn:aws:ecs:us-east-1:1:task/c/0123:53",
            "udp",
            Some(("arn:aws:ecs:us-east-1:1:task/c/0123", Probe::Udp(53))),
        ),
        ("10.0.0.4", "icmp", Some(("10.0.0.4", Probe::Icmp(8, 0)))),
        ("10.0.0.4:80", "icmp", None),
        ("10.0.0.4", "tcp", None),
        ("10.0.0.4:0", "tcp", None),
        ("10.0.0.4:65536", "tcp", None),
        ("arn:aws:ecs:us-east-1:1:task/c/0123", "tcp", None),
    ] {
        assert_eq!(asked(receiver, protocol).ok(), wanted, "{receiver} {protocol}");
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn id(prefix: &str, number: u32) -> Option<String> {
    Some(format!("{prefix}-{number:017x}"))
}

/// A VPC with a subnet, two interfaces in groups of their own, of which the second lets nothing in, and no way out.
fn seen() -> Seen {
    let interface = |number: u32, address: &str| ec2::NetworkInterface {
        network_interface_id: id("eni", number),
        vpc_id: id("vpc", 1),
        subnet_id: id("subnet", 1),
        private_ip_address: some(address),
        groups: Some(vec![ec2::GroupIdentifier { group_id: id("sg", number), ..Default::default() }]),
        ..Default::default()
    };
    let group = |number: u32, name: &str| ec2::SecurityGroup {
        group_id: id("sg", number),
        vpc_id: id("vpc", 1),
        group_name: some(name),
        ..Default::default()
    };
    let out = |number: u32| ec2::SecurityGroupRule {
        security_group_rule_id: id("sgr", number),
        group_id: id("sg", number),
        is_egress: Some(true),
        ip_protocol: some("-1"),
        from_port: Some(-1),
        to_port: Some(-1),
        cidr_ipv4: some("0.0.0.0/0"),
        ..Default::default()
    };
    let main = ec2::RouteTableAssociation { route_table_association_id: id("rtbassoc", 1), ..Default::default() };
    let local =
        ec2::Route { destination_cidr_block: some("10.0.0.0/16"), gateway_id: some("local"), ..Default::default() };
    Seen {
        vpcs: vec![ec2::Vpc { vpc_id: id("vpc", 1), cidr_block: some("10.0.0.0/16"), ..Default::default() }],
        subnets: vec![ec2::Subnet {
            subnet_id: id("subnet", 1),
            vpc_id: id("vpc", 1),
            cidr_block: some("10.0.1.0/24"),
            availability_zone: some("us-east-1a"),
            ..Default::default()
        }],
        route_tables: vec![ec2::RouteTable {
            route_table_id: id("rtb", 1),
            vpc_id: id("vpc", 1),
            associations: Some(vec![main]),
            routes: Some(vec![local]),
            ..Default::default()
        }],
        groups: vec![group(1, "web"), group(2, "db")],
        rules: vec![out(1)],
        interfaces: vec![interface(1, "10.0.1.4"), interface(2, "10.0.1.5")],
        ..Seen::default()
    }
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let check = |change: fn(&mut Seen), wanted: Option<&str>| {
        let mut seen = seen();
        change(&mut seen);
        let said = parse::network(&seen, &scope()).err().map(|error| error.to_string());
        assert!(said.as_deref().unwrap_or_default().contains(wanted.unwrap_or_default()), "{said:?}, not {wanted:?}");
        assert_eq!(said.is_some(), wanted.is_some(), "{said:?}");
    };
    check(|_| {}, None);
    check(
        |seen| {
            let route = ec2::Route {
                destination_cidr_block: some("0.0.0.0/0"),
                transit_gateway_id: some("tgw-1"),
                ..Default::default()
            };
            seen.route_tables[0].routes.get_or_insert_default().push(route);
        },
        Some("leads neither to an internet gateway nor to a NAT gateway"),
    );
    check(
        |seen| {
            let route = ec2::Route { destination_ipv6_cidr_block: some("::/0"), ..Default::default() };
            seen.route_tables[0].routes.get_or_insert_default().push(route);
        },
        None,
    );
    check(
        |seen| (seen.rules[0].cidr_ipv4, seen.rules[0].prefix_list_id) = (None, some("pl-1")),
        Some("is for neither addresses nor a group"),
    );
    check(|seen| seen.interfaces[0].private_ip_address = None, Some("lacks the address of an interface"));
    check(|seen| seen.subnets[0].cidr_block = some("ten"), Some("has 'ten' for the addresses of a subnet"));
}

/// What is advised for the way from the one interface to an address.
fn advised(to: &str, probe: Probe) -> Vec<String> {
    let seen = seen();
    let network = parse::network(&seen, &scope()).unwrap();
    let world = World { network, seen, tasks: BTreeMap::new() };
    let sender = Sender::Interface(InterfaceId::of(1), "10.0.1.4".parse().unwrap());
    let way = world.network.way(&sender, to.parse().unwrap(), probe);
    way.steps
        .iter()
        .filter_map(|step| step.as_ref().err())
        .flat_map(|trouble| open::advice(&world, probe, trouble))
        .collect()
}

#[test]
fn what_stands_in_the_way_is_told_how_to_be_opened() {
    let (group, peer, table) = ("sg-00000000000000002", "sg-00000000000000001", "rtb-00000000000000001");
    let ingress = format!("aws ec2 authorize-security-group-ingress --group-id {group}");
    assert_eq!(
        advised("10.0.1.5", Probe::Tcp(5432)),
        [format!("{ingress} --protocol tcp --port 5432 --source-group {peer}")]
    );
    let pair = format!("'IpProtocol=icmp,FromPort=8,ToPort=-1,UserIdGroupPairs=[{{GroupId={peer}}}]'");
    assert_eq!(advised("10.0.1.5", Probe::Icmp(8, 0)), [format!("{ingress} --ip-permissions {pair}")]);
    let out = advised("203.0.113.9", Probe::Tcp(443));
    assert_eq!(out.len(), 3, "{out:?}");
    let route = format!("--route-table-id {table} --destination-cidr-block 0.0.0.0/0 --gateway-id IGW");
    assert!(out[2].contains(&route), "{out:?}");
}

//! Ways through a small network, as a table: who asks whom for what, and what the packet comes to.

use super::super::tests::scope;
use super::*;
use crate::network::*;
use crate::{Creation, Tags, Timestamp};
use ipnet::Ipv4Net;
use std::sync::Arc;

pub(super) fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

pub(super) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(super) fn vpc(id: u128, cidr: &str) -> Vpc {
    Vpc {
        scope: scope(),
        id: VpcId::of(id),
        cidr: net(cidr),
        is_default: false,
        dns_support: true,
        dns_hostnames: false,
        usage_metrics: false,
        created_at: Timestamp(0),
        tags: Tags::default(),
    }
}

pub(super) fn subnet(id: u128, vpc: u128, cidr: &str) -> Subnet {
    Subnet {
        scope: scope(),
        id: SubnetId::of(id),
        vpc: VpcId::of(vpc),
        cidr: net(cidr),
        availability_zone: "eu-central-1a".to_owned(),
        default_for_az: false,
        map_public_ip: false,
        tags: Tags::default(),
    }
}

fn creation() -> Creation {
    Creation { token: None, request_sha256: "".into() }
}

pub(super) fn interface(id: u128, vpc: u128, subnet: u128, address: &str, groups: &[u128]) -> Interface {
    Interface {
        scope: scope(),
        id: InterfaceId::of(id),
        vpc: VpcId::of(vpc),
        subnet: SubnetId::of(subnet),
        addresses: vec![ip(address)],
        mac: mac(&InterfaceId::of(id)),
        groups: groups.iter().map(|id| SecurityGroupId::of(*id)).collect(),
        description: String::new(),
        source_dest_check: true,
        nat_gateway: None,
        task: None,
        creation: creation(),
        tags: Tags::default(),
    }
}

pub(super) fn group(id: u128, vpc: u128, rules: &[(Direction, Traffic, Peer)]) -> SecurityGroup {
    let rule = |(at, (direction, traffic, peer)): (usize, &(Direction, Traffic, Peer))| Rule {
        // In digits as they are shown: the second rule of group 3 is 301.
        id: RuleId::of(id * 0x100 + at as u128),
        allowed: Allowed { direction: *direction, traffic: *traffic, peer: peer.clone() },
        description: None,
        tags: Tags::default(),
    };
    SecurityGroup {
        scope: scope(),
        id: SecurityGroupId::of(id),
        vpc: VpcId::of(vpc),
        name: format!("g{id}"),
        description: String::new(),
        rules: rules.iter().enumerate().map(rule).collect(),
        tags: Tags::default(),
    }
}

pub(super) fn table(id: u128, vpc: u128, subnets: &[u128], routes: &[(&str, RouteTarget)]) -> RouteTable {
    let association =
        |subnet: &u128| RouteAssociation { id: RouteAssociationId::of(*subnet), subnet: Some(SubnetId::of(*subnet)) };
    RouteTable {
        scope: scope(),
        id: RouteTableId::of(id),
        vpc: VpcId::of(vpc),
        routes: routes.iter().map(|(to, target)| Route { destination: net(to), target: target.clone() }).collect(),
        associations: subnets.iter().map(association).collect(),
        creation: creation(),
        tags: Tags::default(),
    }
}

pub(super) fn gateway(id: u128, vpc: Option<u128>) -> InternetGateway {
    InternetGateway { scope: scope(), id: InternetGatewayId::of(id), vpc: vpc.map(VpcId::of), tags: Tags::default() }
}

pub(super) fn nat(id: u128, vpc: u128, subnet: u128, interface: u128, allocation: Option<u128>) -> NatGateway {
    NatGateway {
        scope: scope(),
        id: NatGatewayId::of(id),
        vpc: VpcId::of(vpc),
        subnet: SubnetId::of(subnet),
        interface: InterfaceId::of(interface),
        allocation: allocation.map(AllocationId::of),
        created_at: Timestamp(0),
        creation: creation(),
        tags: Tags::default(),
    }
}

pub(super) fn address(id: u128, public: &str, to: Option<(u128, &str)>) -> Address {
    Address {
        scope: scope(),
        id: AllocationId::of(id),
        public_ip: ip(public),
        association: to.map(|(interface, private)| AddressAssociation {
            id: AddressAssociationId::of(id),
            interface: InterfaceId::of(interface),
            private_ip: ip(private),
        }),
        tags: Tags::default(),
    }
}

pub(super) fn igw(id: u128) -> RouteTarget {
    RouteTarget::InternetGateway(InternetGatewayId::of(id))
}

pub(super) fn by_nat(id: u128) -> RouteTarget {
    RouteTarget::NatGateway(NatGatewayId::of(id))
}

/// VPC 1 (10.0.0.0/16) has a public subnet 1, a private one 2 that goes out by NAT gateway 1, and 3 that has no way out, 4 with
/// a blackhole, and 5 with a private NAT gateway. VPC 2 has the same addresses. Groups: 1 opens 80 to all and answers pings; 2
/// opens 5432 to members of 1 only; 3 is all shut, outwards too; 4 lets nothing out but to 10.0.0.0/16.
fn network() -> Network {
    use Direction::{Egress, Ingress};
    let everybody = || Peer::v4("0.0.0.0/0").unwrap();
    let out = || (Egress, Traffic::All, everybody());
    let mut of_gateway = interface(90, 1, 1, "10.0.1.90", &[]);
    of_gateway.nat_gateway = Some(NatGatewayId::of(1));
    let web = [(Ingress, Traffic::Tcp(80, 80), everybody()), (Ingress, Traffic::Icmp(8, -1), everybody()), out()];
    let only_web = [(Ingress, Traffic::Tcp(5432, 5432), Peer::Group(SecurityGroupId::of(1))), out()];
    let inside = [(Egress, Traffic::All, Peer::v4("10.0.0.0/16").unwrap())];
    let records: Vec<Record> = vec![
        vpc(1, "10.0.0.0/16").into(),
        vpc(2, "10.0.0.0/16").into(),
        subnet(1, 1, "10.0.1.0/24").into(),
        subnet(2, 1, "10.0.2.0/24").into(),
        subnet(3, 1, "10.0.3.0/24").into(),
        subnet(4, 1, "10.0.4.0/24").into(),
        subnet(5, 1, "10.0.5.0/24").into(),
        subnet(6, 2, "10.0.6.0/24").into(),
        gateway(1, Some(1)).into(),
        gateway(2, Some(2)).into(),
        table(1, 1, &[1], &[("0.0.0.0/0", igw(1))]).into(),
        table(2, 1, &[2], &[("0.0.0.0/0", by_nat(1)), ("203.0.113.0/24", igw(1))]).into(),
        table(4, 1, &[4], &[("0.0.0.0/0", by_nat(77))]).into(),
        table(5, 1, &[5], &[("0.0.0.0/0", by_nat(2)), ("203.0.113.0/24", by_nat(3))]).into(),
        table(6, 2, &[6], &[("0.0.0.0/0", igw(2))]).into(),
        group(1, 1, &web).into(),
        group(2, 1, &only_web).into(),
        group(3, 1, &[]).into(),
        group(4, 1, &inside).into(),
        group(5, 2, &web).into(),
        interface(1, 1, 1, "10.0.1.10", &[1]).into(),
        interface(2, 1, 2, "10.0.2.10", &[2]).into(),
        interface(3, 1, 3, "10.0.3.10", &[1, 3]).into(),
        interface(4, 1, 4, "10.0.4.10", &[1]).into(),
        interface(5, 1, 5, "10.0.5.10", &[1]).into(),
        interface(6, 2, 6, "10.0.6.10", &[5]).into(),
        interface(7, 1, 1, "10.0.1.11", &[3]).into(),
        interface(8, 1, 1, "10.0.1.12", &[4]).into(),
        of_gateway.into(),
        nat(1, 1, 1, 90, Some(90)).into(),
        nat(2, 1, 2, 91, None).into(),
        nat(3, 1, 3, 92, Some(91)).into(),
        address(1, "198.51.100.1", Some((1, "10.0.1.10"))).into(),
        address(2, "198.51.100.2", Some((2, "10.0.2.10"))).into(),
        address(6, "198.51.100.6", Some((6, "10.0.6.10"))).into(),
        address(90, "198.51.100.90", Some((90, "10.0.1.90"))).into(),
        address(91, "198.51.100.91", None).into(),
    ];
    let mut network = Network::default();
    records.into_iter().for_each(|record| network.put(record));
    network
}

/// A step in two or three words.
fn word(step: &Result<Step, Trouble>) -> String {
    match step {
        Ok(Step::Itself(_)) => "itself".to_owned(),
        Ok(Step::Local { .. }) => "local".to_owned(),
        Ok(Step::Served(_)) => "served".to_owned(),
        Ok(Step::Routed { destination, .. }) => format!("by {destination}"),
        Ok(Step::Public { address, .. } | Step::Translated { address, .. }) => format!("as {address}"),
        Ok(Step::Outside(_)) => "outside".to_owned(),
        Ok(Step::Arrived { private, .. }) => format!("at {private}"),
        Ok(Step::Egress(found)) => format!("out by {}", found.rule.digits().trim_start_matches('0')),
        Ok(Step::Ingress(found)) => format!("in by {}", found.rule.digits().trim_start_matches('0')),
        Err(Trouble::NoEgress(denial)) => format!("!out to {}", denial.peer),
        Err(Trouble::NoIngress(denial)) => format!("!in from {}", denial.peer),
        Err(trouble) => {
            let text = format!("{trouble:?}");
            format!("!{}", text.split([' ', '(']).next().unwrap())
        }
    }
}

#[test]
fn ways() {
    let network = network();
    let from = |id: u128| {
        let interface = network.interface(&InterfaceId::of(id)).unwrap();
        Sender::Interface(interface.id.clone(), interface.addresses[0])
    };
    let outside = |address: &str| Sender::Outside(ip(address));
    let far = "192.0.2.9";
    for (sender, to, probe, wanted) in [
        // Inside one VPC: the groups of both ends, and no route.
        (from(2), "10.0.1.10", Probe::Tcp(80), "local, out by 201, in by 100"),
        (from(2), "10.0.1.10", Probe::Tcp(81), "local, out by 201, !in from 10.0.2.10"),
        (from(2), "10.0.1.10", Probe::Udp(80), "local, out by 201, !in from 10.0.2.10"),
        (from(2), "10.0.1.10", Probe::Icmp(8, 0), "local, out by 201, in by 101"),
        (from(2), "10.0.1.10", Probe::Icmp(13, 0), "local, out by 201, !in from 10.0.2.10"),
        (from(1), "10.0.2.10", Probe::Tcp(5432), "local, out by 102, in by 200"),
        (from(3), "10.0.2.10", Probe::Tcp(5432), "local, out by 102, in by 200"),
        (from(8), "10.0.2.10", Probe::Tcp(5432), "local, out by 400, !in from 10.0.1.12"),
        (from(7), "10.0.2.10", Probe::Tcp(1), "local, !out to 10.0.2.10, !in from 10.0.1.11"),
        (from(1), "10.0.1.10", Probe::Tcp(1), "itself"),
        (from(1), "10.0.1.99", Probe::Tcp(80), "!Nobody, out by 102"),
        (from(1), "10.0.6.10", Probe::Tcp(80), "!Nobody, out by 102"),
        (from(7), "10.0.0.2", Probe::Udp(53), "served"),
        (from(7), "169.254.170.2", Probe::Tcp(80), "served"),
        (from(7), "169.254.170.2", Probe::Tcp(81), "by 0.0.0.0/0, !NoPublicAddress, !out to 169.254.170.2"),
        (from(7), "10.0.0.2", Probe::Udp(54), "!Nobody, !out to 10.0.0.2"),
        (from(1), "10.0.1.90", Probe::Tcp(80), "local, !TakesNone, out by 102"),
        // Out.
        (from(1), far, Probe::Tcp(443), "by 0.0.0.0/0, as 198.51.100.1, outside, out by 102"),
        (from(7), far, Probe::Tcp(443), "by 0.0.0.0/0, !NoPublicAddress, !out to 192.0.2.9"),
        (from(2), far, Probe::Tcp(443), "by 0.0.0.0/0, as 198.51.100.90, outside, out by 201"),
        (from(2), "203.0.113.9", Probe::Tcp(443), "by 203.0.113.0/24, as 198.51.100.2, outside, out by 201"),
        (from(3), far, Probe::Tcp(443), "!NoRoute, out by 102"),
        (from(4), far, Probe::Tcp(443), "!Blackhole, out by 102"),
        (from(5), far, Probe::Tcp(443), "by 0.0.0.0/0, !PrivateGateway, out by 102"),
        (from(5), "203.0.113.9", Probe::Tcp(443), "by 203.0.113.0/24, !StrandedGateway, out by 102"),
        (from(1), "192.168.7.7", Probe::Tcp(443), "by 0.0.0.0/0, as 198.51.100.1, !NotPublic, out by 102"),
        // From one VPC to the other: by public addresses only, and then a group is nobody.
        (from(1), "198.51.100.6", Probe::Tcp(80), "by 0.0.0.0/0, as 198.51.100.1, at 10.0.6.10, out by 102, in by 500"),
        (
            from(1),
            "198.51.100.6",
            Probe::Tcp(81),
            "by 0.0.0.0/0, as 198.51.100.1, at 10.0.6.10, out by 102, !in from 198.51.100.1",
        ),
        (from(1), "198.51.100.90", Probe::Tcp(80), "by 0.0.0.0/0, as 198.51.100.1, !TakesNone, out by 102"),
        // In.
        (outside(far), "198.51.100.1", Probe::Tcp(80), "at 10.0.1.10, in by 100"),
        (outside(far), "198.51.100.1", Probe::Tcp(22), "at 10.0.1.10, !in from 192.0.2.9"),
        (outside(far), "198.51.100.2", Probe::Tcp(5432), "!Unanswered"),
        (outside("203.0.113.9"), "198.51.100.2", Probe::Tcp(5432), "at 10.0.2.10, !in from 203.0.113.9"),
        (outside(far), "10.0.1.10", Probe::Tcp(80), "!NotPublic"),
        (outside(far), "198.51.100.91", Probe::Tcp(80), "!Elsewhere"),
        (outside(far), "198.51.100.90", Probe::Tcp(80), "!TakesNone"),
    ] {
        let way = network.way(&sender, ip(to), probe);
        let words: Vec<_> = way.steps.iter().map(word).collect();
        assert_eq!(words.join(", "), wanted, "{sender:?} to {to} {probe:?}");
        assert_eq!(way.passes(), !wanted.contains('!'), "{wanted}");
    }
    let gone = network.way(&Sender::Interface(InterfaceId::of(99), ip("10.0.0.9")), ip(far), Probe::Tcp(1));
    assert_eq!(gone.steps, [Err(Trouble::NoSender(InterfaceId::of(99)))]);
}

#[test]
fn an_interface_is_asked_for_by_its_own_address_only_from_its_vpc() {
    let network = network();
    let sender = |id: u128, address: &str| Sender::Interface(InterfaceId::of(id), ip(address));
    for (sender, receiver, wanted) in [
        (sender(2, "10.0.2.10"), 1, "10.0.1.10"),
        (sender(1, "10.0.1.10"), 6, "198.51.100.6"),
        (Sender::Outside(ip("192.0.2.9")), 1, "198.51.100.1"),
        (Sender::Outside(ip("192.0.2.9")), 3, "10.0.3.10"),
    ] {
        assert_eq!(network.address_for(&sender, &InterfaceId::of(receiver)), Some(ip(wanted)), "{receiver}");
    }
    let holders = network.holders(ip("198.51.100.1"));
    let wanted = Holder { interface: InterfaceId::of(1), private: ip("10.0.1.10"), is_public: true };
    assert_eq!(holders, [wanted]);
    assert_eq!(network.holders(ip("192.0.2.9")), []);
}

/// The rule that a way is closed for is the rule that opens it.
#[test]
fn what_a_probe_asks_for_is_what_lets_it_in() {
    for probe in [Probe::Tcp(1), Probe::Udp(65_535), Probe::Icmp(8, 0)] {
        assert!(probe.traffic().includes(probe), "{probe:?}");
        let mut network = network();
        let sender = Sender::Interface(InterfaceId::of(2), ip("10.0.2.10"));
        assert!(!network.way(&sender, ip("10.0.1.11"), probe).passes(), "{probe:?}");
        let mut shut = SecurityGroup::clone(network.security_group(&SecurityGroupId::of(3)).unwrap());
        let peer = Peer::Group(SecurityGroupId::of(2));
        let allowed = Allowed { direction: Direction::Ingress, traffic: probe.traffic(), peer };
        shut.rules.push(Rule { id: RuleId::of(9), allowed, description: None, tags: Tags::default() });
        network.put(Record::SecurityGroup(Arc::new(shut)));
        assert!(network.way(&sender, ip("10.0.1.11"), probe).passes(), "{probe:?}");
    }
}

//! Random networks: the verdict is that of looking at every rule and every route there is.

use super::tests::{address, by_nat, gateway, group, igw, interface, ip, nat, net, subnet, table, vpc};
use super::*;
use crate::network::*;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

type RuleSketch = (bool, u8, u8);

/// A network in small numbers.
#[derive(Debug, Clone)]
struct Sketch {
    /// To which VPC each of two internet gateways is attached: 0 is none.
    gateways: [u8; 2],
    /// By subnet, of which there are four: routes as destination and target.
    routes: Vec<Vec<(u8, u8)>>,
    /// By group, of which there are four: direction, traffic, peer.
    groups: Vec<Vec<RuleSketch>>,
    /// By interface, of which there are six: subnet and groups.
    interfaces: Vec<(u8, Vec<u8>)>,
    /// By public address, of which there are five: the interface it leads to; 0 is none, and 7 and 8 are NAT gateways'.
    addresses: Vec<u8>,
}

fn sketch() -> impl Strategy<Value = Sketch> {
    // More often than not the route that a public subnet has.
    let common = || prop_oneof![Just(0_u8), 0..4_u8];
    let routes = prop::collection::vec(prop::collection::vec((common(), common()), 0..4), 4);
    let groups = prop::collection::vec(prop::collection::vec((any::<bool>(), 0..8_u8, 0..8_u8), 0..5), 4);
    let interfaces = prop::collection::vec((0..4_u8, prop::collection::vec(0..4_u8, 0..3)), 6);
    let gateways = prop_oneof![3 => Just([1, 2]), 1 => [0..3_u8, 0..3_u8]];
    (gateways, routes, groups, interfaces, prop::collection::vec(0..9_u8, 5)).prop_map(
        |(gateways, routes, groups, interfaces, addresses)| Sketch { gateways, routes, groups, interfaces, addresses },
    )
}

const DESTINATIONS: [&str; 4] = ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.0/28", "198.51.100.0/24"];

/// VPCs 1 and 2 of the same addresses; subnets 1 and 2 are of the one, 3 and 4 of the other.
fn vpc_of(subnet: u8) -> u128 {
    u128::from(subnet) / 2 + 1
}

fn traffic(number: u8) -> Traffic {
    match number {
        0 => Traffic::All,
        1 => Traffic::Tcp(80, 80),
        2 => Traffic::Tcp(0, 81),
        3 => Traffic::Udp(53, 80),
        4 => Traffic::Icmp(-1, -1),
        5 => Traffic::Icmp(8, 0),
        6 => Traffic::Other(17),
        _ => Traffic::Icmpv6(-1, -1),
    }
}

fn peer(number: u8) -> Peer {
    match number {
        0 => Peer::v4("0.0.0.0/0").unwrap(),
        1 => Peer::v4("10.0.0.0/16").unwrap(),
        2 => Peer::v4("192.0.2.0/28").unwrap(),
        3 => Peer::v6("::/0").unwrap(),
        id => Peer::Group(SecurityGroupId::of(u128::from(id) - 4)),
    }
}

fn private(subnet: u8, interface: usize) -> String {
    // Subnets of both VPCs have the same ranges, so that addresses alone tell nothing.
    format!("10.0.{}.{}", subnet % 2, 10 + interface)
}

fn built(sketch: &Sketch) -> Network {
    let mut records: Vec<Record> = vec![vpc(1, "10.0.0.0/16").into(), vpc(2, "10.0.0.0/16").into()];
    for (at, of) in (1..).zip(sketch.gateways) {
        records.push(gateway(at, (of > 0).then_some(u128::from(of))).into());
    }
    for (at, routes) in (0..4_u8).zip(&sketch.routes) {
        let id = u128::from(at);
        records.push(subnet(id, vpc_of(at), &format!("10.0.{}.0/24", at % 2)).into());
        // The first one is mostly its own VPC's, and the second one mostly not.
        let targets = [igw(vpc_of(at)), igw(3 - vpc_of(at)), by_nat(7), by_nat(8)];
        let mut own: Vec<(&str, RouteTarget)> = Vec::new();
        for (to, target) in routes {
            let to = DESTINATIONS[usize::from(*to)];
            if own.iter().all(|(known, _)| *known != to) {
                own.push((to, targets[usize::from(*target)].clone()));
            }
        }
        records.push(table(id, vpc_of(at), &[id], &own).into());
    }
    for (id, rules) in (0..).zip(&sketch.groups) {
        let direction = |out: bool| if out { Direction::Egress } else { Direction::Ingress };
        let rules: Vec<_> = rules.iter().map(|(out, t, p)| (direction(*out), traffic(*t), peer(*p))).collect();
        records.push(group(id, 1, &rules).into());
    }
    for (at, (subnet, groups)) in sketch.interfaces.iter().enumerate() {
        let groups: Vec<u128> = groups.iter().map(|group| u128::from(*group)).collect();
        let id = at as u128 + 1;
        records.push(interface(id, vpc_of(*subnet), u128::from(*subnet), &private(*subnet, at), &groups).into());
    }
    for id in [7_u8, 8] {
        let subnet = id - 7;
        let mut own = interface(id.into(), 1, subnet.into(), &private(subnet, 100), &[]);
        own.nat_gateway = Some(NatGatewayId::of(id.into()));
        records.push(own.into());
        let has = sketch.addresses.iter().position(|to| *to == id).map(|at| at as u128);
        records.push(nat(id.into(), 1, subnet.into(), id.into(), has).into());
    }
    for (at, to) in sketch.addresses.iter().enumerate() {
        let first = sketch.addresses.iter().position(|other| other == to) == Some(at);
        let to = (*to > 0 && first).then(|| match to {
            7 | 8 => (u128::from(*to), private(to - 7, 100)),
            _ => (u128::from(*to), private(sketch.interfaces[usize::from(*to) - 1].0, usize::from(*to) - 1)),
        });
        let to = to.as_ref().map(|(id, private)| (*id, private.as_str()));
        records.push(address(at as u128, &format!("198.51.100.{at}"), to).into());
    }
    let mut network = Network::default();
    records.into_iter().for_each(|record| network.put(record));
    network
}

/// All that is looked at, as plain lists.
struct Everything<'a>(&'a Network, Probe);

impl Everything<'_> {
    fn rules_allow(&self, of: &Interface, direction: Direction, peer: Ipv4Addr, neighbour: Option<&Interface>) -> bool {
        let every = self.0.security_groups().flat_map(|group| group.rules.iter().map(move |rule| (&group.id, rule)));
        every.filter(|(group, rule)| of.groups.contains(group) && rule.allowed.direction == direction).any(
            |(_, rule)| {
                let traffic = match rule.allowed.traffic {
                    Traffic::All => true,
                    Traffic::Tcp(low, high) => (low..=high).any(|port| self.1 == Probe::Tcp(port)),
                    Traffic::Udp(low, high) => (low..=high).any(|port| self.1 == Probe::Udp(port)),
                    Traffic::Icmp(-1, _) => matches!(self.1, Probe::Icmp(..)),
                    Traffic::Icmp(kind, code) => {
                        (0..=255).any(|any| self.1 == Probe::Icmp(kind as u8, any) && (code == -1 || code as u8 == any))
                    }
                    Traffic::Icmpv6(..) => false,
                    Traffic::Other(number) => number == 17 && matches!(self.1, Probe::Udp(_)),
                };
                let peers = match &rule.allowed.peer {
                    Peer::V4(net) => {
                        (0..=32 - net.prefix_len()).any(|_| net.network() <= peer && peer <= net.broadcast())
                    }
                    Peer::V6(_) => false,
                    Peer::Group(id) => neighbour.is_some_and(|interface| interface.groups.contains(id)),
                };
                traffic && peers
            },
        )
    }

    /// Where packets from a subnet go: the target of the longest route, if it is there.
    fn target(&self, subnet: &SubnetId, to: Ipv4Addr) -> Option<RouteTarget> {
        let vpc = &self.0.subnet(subnet)?.vpc;
        let of_subnet = |table: &&std::sync::Arc<RouteTable>| {
            table.associations.iter().any(|association| association.subnet.as_ref() == Some(subnet))
        };
        let routes: Vec<&Route> = self.0.route_tables().filter(of_subnet).flat_map(|table| &table.routes).collect();
        let longest = (0..=32).rev().find_map(|length| {
            routes.iter().find(|route| route.destination.prefix_len() == length && route.destination.contains(&to))
        })?;
        let is_there = match &longest.target {
            RouteTarget::InternetGateway(id) => {
                self.0.internet_gateways().any(|gateway| gateway.id == *id && gateway.vpc.as_ref() == Some(vpc))
            }
            RouteTarget::NatGateway(id) => self.0.nat_gateways().any(|gateway| gateway.id == *id),
        };
        is_there.then(|| longest.target.clone())
    }

    fn goes_out(&self, subnet: &SubnetId, to: Ipv4Addr) -> bool {
        matches!(self.target(subnet, to), Some(RouteTarget::InternetGateway(_)))
    }

    fn public(&self, interface: &Interface) -> Option<Ipv4Addr> {
        let mut all = self.0.addresses();
        all.find(|a| a.association.as_ref().is_some_and(|a| a.interface == interface.id)).map(|a| a.public_ip)
    }

    /// From the internet, where nobody has 10.0.0.0/8.
    fn admits(&self, from: Ipv4Addr, to: Ipv4Addr) -> bool {
        let mut all = self.0.interfaces();
        all.any(|interface| {
            self.public(interface) == Some(to)
                && interface.nat_gateway.is_none()
                && self.goes_out(&interface.subnet, from)
                && self.rules_allow(interface, Direction::Ingress, from, None)
        })
    }

    fn verdict(&self, sender: &Sender, to: Ipv4Addr) -> bool {
        let id = match sender {
            Sender::Outside(from) => return self.admits(*from, to),
            Sender::Interface(id, _) => id,
        };
        let sender = self.0.interface(id).unwrap();
        let own = sender.addresses[0];
        if own == to {
            return true;
        }
        if net("10.0.0.0/16").contains(&to) {
            return self.0.interfaces().any(|receiver| {
                receiver.vpc == sender.vpc
                    && receiver.addresses[0] == to
                    && receiver.nat_gateway.is_none()
                    && self.rules_allow(sender, Direction::Egress, to, Some(receiver))
                    && self.rules_allow(receiver, Direction::Ingress, own, Some(sender))
            });
        }
        let public = match self.target(&sender.subnet, to) {
            Some(RouteTarget::InternetGateway(_)) => self.public(sender),
            Some(RouteTarget::NatGateway(id)) => {
                let gateway = self.0.nat_gateway(&id).unwrap();
                let allocation = gateway.allocation.as_ref().and_then(|allocation| self.0.address(allocation));
                allocation.map(|a| a.public_ip).filter(|_| self.goes_out(&gateway.subnet, to))
            }
            None => None,
        };
        let Some(public) = public else { return false };
        let is_ours = self.0.addresses().any(|address| address.public_ip == to && address.association.is_some());
        self.rules_allow(sender, Direction::Egress, to, None) && (!is_ours || self.admits(public, to))
    }
}

/// Who asks, whom, and for what: everything there is in such a network and something that is not.
fn questions(network: &Network) -> Vec<(Sender, Ipv4Addr, Probe)> {
    let interfaces = network.interfaces().filter(|interface| interface.nat_gateway.is_none());
    let mut senders: Vec<Sender> =
        interfaces.map(|interface| Sender::Interface(interface.id.clone(), interface.addresses[0])).collect();
    senders.extend(["192.0.2.1", "192.0.2.77", "203.0.113.5"].map(|outside| Sender::Outside(ip(outside))));
    let mut receivers: Vec<Ipv4Addr> = network.interfaces().map(|interface| interface.addresses[0]).collect();
    receivers.extend(network.addresses().map(|address| address.public_ip));
    receivers.extend(["10.0.0.99", "192.0.2.1", "192.0.2.77", "203.0.113.5"].map(ip));
    let probes = [Probe::Tcp(80), Probe::Tcp(443), Probe::Udp(54), Probe::Icmp(8, 0), Probe::Icmp(3, 1)];
    let mut all = Vec::new();
    for sender in &senders {
        for to in &receivers {
            all.extend(probes.iter().map(|probe| (sender.clone(), *to, *probe)));
        }
    }
    all
}

/// Whether the verdicts agree; answers how many passed, and of those how many went over the internet.
fn compare(sketch: &Sketch) -> (usize, usize) {
    let network = built(sketch);
    let (mut passed, mut public) = (0, 0);
    for (sender, to, probe) in questions(&network) {
        let way = network.way(&sender, to, probe);
        let wanted = Everything(&network, probe).verdict(&sender, to);
        assert_eq!(way.passes(), wanted, "{sender:?} to {to} {probe:?}: {way:#?}");
        assert!(!way.steps.is_empty(), "a verdict has a reason");
        passed += usize::from(wanted);
        public += usize::from(wanted && way.steps.iter().any(|step| matches!(step, Ok(Step::Arrived { .. }))));
    }
    (passed, public)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_verdict_is_that_of_every_rule_and_route(sketch in sketch()) {
        compare(&sketch);
    }
}

/// Networks in which nothing passes would prove nothing.
#[test]
fn some_of_these_networks_let_something_through() {
    let mut runner = TestRunner::deterministic();
    let (mut local, mut public) = (0, 0);
    for _ in 0..64 {
        let sketch = sketch().new_tree(&mut runner).unwrap().current();
        let (passed, over_internet) = compare(&sketch);
        (local, public) = (local + passed - over_internet, public + over_internet);
    }
    assert!(local > 500 && public > 20, "{local} within or out, {public} in");
}

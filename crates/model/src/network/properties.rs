//! Random histories: whatever is asked in whatever order, the network stays sound; and whatever there is can be deleted in the
//! order of dependence.

use super::{tests::scope, *};
use crate::{Creation, Tags, Timestamp, vpc::DefaultVpc};
use proptest::prelude::*;

/// What can be asked, with small numbers for which: each is taken modulo how many there are.
#[derive(Debug, Clone)]
enum Act {
    Vpc(u8),
    Subnet(usize, u8, u8),
    Table(usize),
    Associate(usize, usize),
    Replace(usize, usize),
    Route(usize, u8, bool, usize),
    Gateway,
    Attach(usize, usize),
    Detach(usize),
    Group(usize, u8),
    Rule(usize, u16, Option<usize>),
    Interface(usize, usize, usize),
    Address,
    Lead(usize, usize, bool),
    Nat(usize, Option<usize>),
    Delete(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let n = 0..12_usize;
    prop_oneof![
        2 => (0..3_u8).prop_map(Act::Vpc),
        5 => (n.clone(), 0..8_u8, 20..29_u8).prop_map(|(v, third, length)| Act::Subnet(v, third, length)),
        2 => n.clone().prop_map(Act::Table),
        3 => (n.clone(), n.clone()).prop_map(|(t, s)| Act::Associate(t, s)),
        2 => (n.clone(), n.clone()).prop_map(|(a, t)| Act::Replace(a, t)),
        3 => (n.clone(), 0..4_u8, any::<bool>(), n.clone()).prop_map(|(t, to, nat, g)| Act::Route(t, to, nat, g)),
        1 => Just(Act::Gateway),
        3 => (n.clone(), n.clone()).prop_map(|(g, v)| Act::Attach(g, v)),
        1 => n.clone().prop_map(Act::Detach),
        3 => (n.clone(), 0..4_u8).prop_map(|(v, name)| Act::Group(v, name)),
        4 => (n.clone(), 0..3_u16, proptest::option::of(n.clone())).prop_map(|(g, port, peer)| Act::Rule(g, port, peer)),
        5 => (n.clone(), n.clone(), 0..3_usize).prop_map(|(s, g, more)| Act::Interface(s, g, more)),
        2 => Just(Act::Address),
        3 => (n.clone(), n.clone(), any::<bool>()).prop_map(|(a, i, again)| Act::Lead(a, i, again)),
        2 => (n.clone(), proptest::option::of(n)).prop_map(|(s, a)| Act::Nat(s, a)),
        8 => (0..60_usize).prop_map(Act::Delete),
    ]
}

/// The one of that number, counted around.
fn pick<T: Clone>(all: impl Iterator<Item = T>, number: usize) -> Result<T, Refusal> {
    let all: Vec<T> = all.collect();
    let at = number.checked_rem(all.len()).ok_or(Refusal::Missing("anything"))?;
    Ok(all[at].clone())
}

fn nobody() -> Creation {
    Creation { token: None, request_sha256: "".into() }
}

fn apply(edit: &mut Edit<'_>, act: &Act) -> Result<(), Refusal> {
    let now = edit.network().clone();
    let vpc = |n| pick(now.vpcs().map(|r| r.id.clone()), n);
    let subnet = |n| pick(now.subnets().map(|r| r.id.clone()), n);
    let table = |n| pick(now.route_tables().map(|r| r.id.clone()), n);
    let gateway = |n| pick(now.internet_gateways().map(|r| r.id.clone()), n);
    let group = |n| pick(now.security_groups().map(|r| r.id.clone()), n);
    let address = |n| pick(now.addresses().map(|r| r.id.clone()), n);
    let tags = Tags::default();
    match act {
        Act::Vpc(second) => edit.create_vpc(format!("10.{second}.0.0/16").parse().unwrap(), tags).map(drop),
        Act::Subnet(v, third, length) => {
            let vpc = now.find_vpc(&vpc(*v)?)?.clone();
            let base = u32::from(vpc.cidr.network()) + (u32::from(*third) << 11);
            let cidr = ipnet::Ipv4Net::new(base.into(), *length).unwrap().trunc();
            let zone = "eu-central-1a".to_owned();
            edit.create_subnet(NewSubnet { vpc: vpc.id.clone(), cidr, availability_zone: zone, tags }).map(drop)
        }
        Act::Table(v) => edit.create_route_table(&vpc(*v)?, nobody(), tags).map(drop),
        Act::Associate(t, s) => edit.associate_route_table(&table(*t)?, &subnet(*s)?).map(drop),
        Act::Replace(a, t) => {
            let all = now.route_tables().flat_map(|table| table.associations.iter().map(|a| a.id.clone()));
            edit.replace_association(&pick(all, *a)?, &table(*t)?).map(drop)
        }
        Act::Route(t, to, nat, g) => {
            let target = match nat {
                true => RouteTarget::NatGateway(pick(now.nat_gateways().map(|r| r.id.clone()), *g)?),
                false => RouteTarget::InternetGateway(gateway(*g)?),
            };
            let destination = format!("10.{to}.0.0/16").parse().unwrap();
            edit.create_route(&table(*t)?, Route { destination, target })
        }
        Act::Gateway => edit.create_internet_gateway(tags).map(drop),
        Act::Attach(g, v) => edit.attach_internet_gateway(&gateway(*g)?, &vpc(*v)?),
        Act::Detach(g) => {
            let gateway = now.find_internet_gateway(&gateway(*g)?)?.clone();
            edit.detach_internet_gateway(&gateway.id, gateway.vpc.as_ref().ok_or(Refusal::Missing("vpc"))?)
        }
        Act::Group(v, name) => edit.create_security_group(&vpc(*v)?, &format!("g{name}"), "d", tags).map(drop),
        Act::Rule(g, port, peer) => {
            let peer = match peer {
                Some(peer) => Peer::Group(group(*peer)?),
                None => Peer::v4("0.0.0.0/0")?,
            };
            let allowed = Allowed { direction: Direction::Ingress, traffic: Traffic::Tcp(*port, *port), peer };
            edit.authorize(&group(*g)?, vec![(allowed, None)], &tags).map(drop)
        }
        Act::Interface(s, g, more) => {
            let subnet = subnet(*s)?;
            let groups = vec![group(*g)?];
            let (primary, secondary, description) = (None, Vec::new(), String::new());
            let more = *more;
            let new = NewInterface { subnet, groups, primary, secondary, more, description, creation: nobody(), tags };
            edit.create_interface(new).map(drop)
        }
        Act::Address => {
            let taken: Vec<_> = now.addresses().map(|address| address.public_ip).collect();
            let pool = "198.51.100.0/29".parse().unwrap();
            edit.allocate_address(pool, &|ip| taken.contains(&ip), tags).map(drop)
        }
        Act::Lead(a, i, again) => {
            let interface = pick(now.interfaces().map(|r| r.id.clone()), *i)?;
            edit.associate_address(&address(*a)?, &interface, None, *again).map(drop)
        }
        Act::Nat(s, a) => {
            let allocation = a.map(address).transpose()?;
            let (subnet, private_ip) = (subnet(*s)?, None);
            edit.create_nat_gateway(NewNatGateway { subnet, allocation, private_ip, creation: nobody(), tags })
                .map(drop)
        }
        Act::Delete(n) => delete(edit, &pick(now.records().map(|record| record.key()), *n)?),
    }
}

fn delete(edit: &mut Edit<'_>, key: &Key) -> Result<(), Refusal> {
    match key {
        Key::Vpc(id) => edit.delete_vpc(id),
        Key::Subnet(id) => edit.delete_subnet(id),
        Key::RouteTable(id) => edit.delete_route_table(id),
        Key::InternetGateway(id) => edit.delete_internet_gateway(id),
        Key::NatGateway(id) => edit.delete_nat_gateway(id),
        Key::Address(id) => edit.release_address(id),
        Key::SecurityGroup(id) => edit.delete_security_group(id),
        Key::Interface(id) => edit.delete_interface(id),
    }
}

/// Deletes everything, each before what it stands on; nothing of it may be refused but what goes with its VPC.
fn delete_all(edit: &mut Edit<'_>) {
    let now = edit.network().clone();
    let mut keys: Vec<Key> = now.nat_gateways().map(|r| Key::NatGateway(r.id.clone())).collect();
    let own = now.interfaces().filter(|interface| interface.nat_gateway.is_none());
    keys.extend(own.map(|r| Key::Interface(r.id.clone())));
    keys.extend(now.addresses().map(|r| Key::Address(r.id.clone())));
    keys.extend(now.subnets().map(|r| Key::Subnet(r.id.clone())));
    keys.extend(now.route_tables().filter(|table| !table.is_main()).map(|r| Key::RouteTable(r.id.clone())));
    for key in &keys {
        delete(edit, key).unwrap_or_else(|refusal| panic!("{key:?}: {refusal}"));
    }
    // Groups may name each other in circles, so their rules go first.
    for group in now.security_groups() {
        let rules = group.rules.iter().filter(|rule| rule.allowed.direction == Direction::Ingress);
        let rules: Vec<_> = rules.map(|rule| Named::Id(rule.id.clone())).collect();
        edit.revoke(&group.id, Direction::Ingress, &rules).unwrap();
    }
    for group in now.security_groups().filter(|group| group.name != DEFAULT_GROUP) {
        edit.delete_security_group(&group.id).unwrap();
    }
    for gateway in now.internet_gateways() {
        if let Some(vpc) = &gateway.vpc {
            edit.detach_internet_gateway(&gateway.id, vpc).unwrap();
        }
        edit.delete_internet_gateway(&gateway.id).unwrap();
    }
    for vpc in now.vpcs() {
        edit.delete_vpc(&vpc.id).unwrap();
    }
    assert_eq!(edit.network().records().count(), 0, "nothing is left");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_a_sound_network_that_can_be_taken_down(acts in prop::collection::vec(act(), 1..80)) {
        let mut network = DefaultVpc::of(&scope(), "172.31.0.0/16".parse().unwrap()).network(&scope());
        let mut next = 0;
        let mut fresh = || {
            next += 1;
            next
        };
        for act in &acts {
            let mut edit = Edit::new(network.clone(), scope(), Timestamp(1), &mut fresh);
            if apply(&mut edit, act).is_err() {
                continue;
            }
            let after = edit.network().clone();
            // What is told to be stored gives the same network.
            if let Some((put, remove)) = edit.finish() {
                let mut stored = Network { version: network.version, ..network.clone() };
                put.into_iter().for_each(|record| stored.put(record));
                remove.iter().for_each(|key| stored.remove(key));
                prop_assert_eq!(&stored, &after);
            }
            network = Network { version: network.version + 1, ..after };
            prop_assert_eq!(audit(&network), Vec::<String>::new(), "after {:?}", act);
        }
        let mut edit = Edit::new(network, scope(), Timestamp(2), &mut fresh);
        delete_all(&mut edit);
        prop_assert_eq!(audit(edit.network()), Vec::<String>::new());
    }
}

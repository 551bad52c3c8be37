//! Laws of compiled VPCs, on random ones: what is compiled decides as the plain model does, changes add up, the kernel agrees.

mod kernel;
mod walk;

use super::rules::compile;
use super::spec::{Group, Peer, Port, Rule, Subnet, Traffic, Vpc, Way};
use super::{Entry, Packet, Payload, Refusal, Ruleset, Verdict, judge, table};
use crate::names::Mac;
use ipnet::Ipv4Net;
use kernel::Book;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const GROUPS: [&str; 4] = ["sg-a", "sg-b", "sg-c", "sg-d"];
const HOSTS: [Ipv4Addr; 3] = [Ipv4Addr::new(172, 31, 0, 2), Ipv4Addr::new(172, 31, 0, 3), Ipv4Addr::new(10, 0, 0, 2)];

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a range")
}

/// One of a few addresses, so that packets meet interfaces.
fn inside() -> impl Strategy<Value = Ipv4Addr> + Clone {
    (1..3_u8, 10..14_u8).prop_map(|(subnet, host)| Ipv4Addr::new(10, 0, subnet, host))
}

fn public() -> impl Strategy<Value = Ipv4Addr> + Clone {
    (1..9_u8).prop_map(|n| Ipv4Addr::new(198, 51, 100, n))
}

fn anywhere() -> impl Strategy<Value = Ipv4Addr> {
    let others = ["203.0.113.9", "8.8.8.8", "10.0.0.2", "10.0.9.9", "169.254.170.2", "169.254.169.253", "10.1.1.1"];
    let others = others.map(|text| text.parse::<Ipv4Addr>().expect("an address"));
    prop_oneof![4 => inside(), 2 => public(), 3 => proptest::sample::select(others.to_vec()), 3 => Just(others[0])]
}

fn group_id() -> impl Strategy<Value = String> {
    proptest::sample::select(GROUPS.to_vec()).prop_map(str::to_owned)
}

fn a_rule() -> impl Strategy<Value = Rule> {
    let port = || proptest::sample::select(vec![52_u16, 53, 79, 80, 81]);
    let traffic = prop_oneof![
        Just(Traffic::All),
        (port(), port()).prop_map(|(a, b)| Traffic::Tcp(a.min(b), a.max(b))),
        (port(), port()).prop_map(|(a, b)| Traffic::Udp(a.min(b), a.max(b))),
        (-1..9_i16, -1..2_i16).prop_map(|(kind, code)| Traffic::Icmp(kind, code)),
        proptest::sample::select(vec![Traffic::Other(6), Traffic::Other(47), Traffic::Other(1)]),
    ];
    let ranges = ["0.0.0.0/0", "10.0.1.0/24", "10.0.1.11/32", "203.0.113.0/24", "10.0.2.9/28"].map(net);
    let peer =
        prop_oneof![proptest::sample::select(ranges.to_vec()).prop_map(Peer::Net), group_id().prop_map(Peer::Group),];
    (traffic, peer).prop_map(|(traffic, peer)| Rule { traffic, peer })
}

fn a_group() -> impl Strategy<Value = Group> {
    // Many allow everything, as people's do, or hardly a packet would come far enough to be translated.
    let rules = || {
        let all = Rule { traffic: Traffic::All, peer: Peer::Net(net("0.0.0.0/0")) };
        prop_oneof![vec(a_rule(), 0..4), Just(vec![all])]
    };
    (rules(), rules()).prop_map(|(ingress, egress)| Group { ingress, egress })
}

fn a_way() -> impl Strategy<Value = Way> {
    let gateway = (5..8_u8).prop_map(|n| Ipv4Addr::new(10, 0, 2, n));
    let home = option::weighted(0.3, proptest::sample::select(HOSTS.to_vec()));
    prop_oneof![
        1 => Just(Way::Nowhere),
        2 => Just(Way::Internet),
        2 => (gateway, home).prop_map(|(gateway, home)| Way::Nat { gateway, home }),
    ]
}

fn a_subnet(cidr: &'static str) -> impl Strategy<Value = Subnet> {
    let to = proptest::sample::select(["0.0.0.0/0", "203.0.113.0/24", "203.0.113.9/32"].map(net).to_vec());
    btree_map(to, a_way(), 0..3).prop_map(|routes| Subnet { cidr: net(cidr), routes: routes.into_iter().collect() })
}

fn a_vpc() -> impl Strategy<Value = Vpc> {
    let port = (btree_set(group_id(), 0..3), prop::bool::weighted(0.8), any::<bool>());
    let ports = btree_map(inside(), port, 0..5);
    let remote = btree_map(inside(), proptest::sample::select(HOSTS.to_vec()), 0..5);
    let groups = btree_map(group_id(), a_group(), 0..5);
    let members = btree_map(group_id(), btree_set(inside(), 0..4), 0..5);
    let nat = btree_map((5..8_u8).prop_map(|n| Ipv4Addr::new(10, 0, 2, n)), option::weighted(0.8, Just(())), 0..4);
    (ports, remote, groups, members, (a_subnet("10.0.1.0/24"), a_subnet("10.0.2.0/24")), nat).prop_map(
        |(ports, remote, groups, members, (one, two), nat)| {
            let ports = ports.into_iter().enumerate().map(|(n, (address, (groups, source_dest_check, public)))| {
                let subnet = if address.octets()[2] == 1 { "one" } else { "two" }.to_owned();
                let public = public.then(|| Ipv4Addr::new(198, 51, 100, u8::try_from(n).expect("few") + 1));
                let (netns, mac) = (format!("/nowhere/{address}").into(), Mac::for_ipv4(address));
                let port = Port { netns, address, mac, subnet, groups, source_dest_check, public, connected: false };
                (format!("eni-{address}"), port)
            });
            let public = |address: Ipv4Addr| Ipv4Addr::new(198, 51, 100, address.octets()[3] + 1);
            Vpc {
                vni: 7,
                cidrs: vec![net("10.0.0.0/16")],
                ports: ports.collect(),
                remote,
                groups,
                members,
                subnets: [("one".to_owned(), one), ("two".to_owned(), two)].into(),
                nat_here: nat.into_iter().map(|(at, has)| (at, has.map(|()| public(at)))).collect(),
                aliases: std::collections::BTreeMap::new(),
                encrypted: false,
            }
        },
    )
}

fn a_packet() -> impl Strategy<Value = Packet> {
    let entry = prop_oneof![
        6 => inside().prop_map(|address| Entry::Port(format!("eni-{address}"))),
        3 => Just(Entry::Overlay),
        2 => Just(Entry::Uplink),
    ];
    let port = || proptest::sample::select(vec![52_u16, 53, 79, 80, 81, 443]);
    let payload = prop_oneof![
        port().prop_map(Payload::Tcp),
        port().prop_map(Payload::Udp),
        (0..9_u8, 0..2_u8).prop_map(|(kind, code)| Payload::Icmp(kind, code)),
        Just(Payload::Other(47)),
    ];
    // An interface mostly sends under its own address.
    (entry, option::weighted(0.3, anywhere()), inside(), anywhere(), payload).prop_map(
        |(entry, source, other, destination, payload)| {
            let own = match &entry {
                Entry::Port(id) => id.trim_start_matches("eni-").parse().expect("an address"),
                Entry::Overlay => other,
                Entry::Uplink => Ipv4Addr::new(203, 0, 113, 9),
            };
            Packet { entry, source: source.unwrap_or(own), destination, payload }
        },
    )
}

/// As the table and the routes decide, without the reason.
fn outcome(verdict: Verdict) -> Option<super::Exit> {
    match verdict {
        Verdict::Pass(exit) => Some(exit),
        Verdict::Refused(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The compiled table and routes let pass what the plain model lets pass, to the same place, and nothing else.
    #[test]
    fn compiled_decides_as_the_model(vpc in a_vpc(), packets in vec(a_packet(), 24)) {
        let walk = walk::Walk::new(&vpc);
        for packet in packets {
            let judged = judge(&vpc, &packet);
            // No table knows an interface that is none; its packets have no way in.
            if judged != Verdict::Refused(Refusal::UnknownPort) {
                prop_assert_eq!(walk.follow(&packet), outcome(judged.clone()), "{:?}: {:?}", packet, judged);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Changes, applied one after another come to what the last state is by itself, and each is one that nft would take.
    #[test]
    fn changes_add_up(states in vec(a_vpc(), 2..6)) {
        let mut book = Book::default();
        book.apply(&compile(&states[0]).replace(&table()));
        for pair in states.windows(2) {
            let (old, new) = (compile(&pair[0]), compile(&pair[1]));
            book.apply(&Ruleset::diff(&table(), &old, &new));
            prop_assert_eq!(&book, &Book::of(&new));
            prop_assert_eq!(Ruleset::diff(&table(), &new, &new), "");
        }
    }
}

proptest! {
    // Each case starts some ten processes.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The kernel takes every change, and ends with what it has when it is given the last state by itself.
    #[test]
    fn the_kernel_agrees(states in vec(a_vpc(), 2..5)) {
        let compiled: Vec<_> = states.iter().map(compile).collect();
        let mut steps = vec![compiled[0].replace(&table())];
        steps.extend(compiled.windows(2).map(|pair| Ruleset::diff(&table(), &pair[0], &pair[1])));
        let last = compiled.last().expect("at least two").replace(&table());
        prop_assert_eq!(kernel::listed_after(&steps), kernel::listed_after(&[last]));
    }
}

/// What an interface, a member and a rule more cost among a thousand interfaces: a few elements, and one chain.
#[test]
fn a_change_among_a_thousand_names_only_what_changed() {
    let rules =
        |last: u16| (1..=20).map(move |n| Rule { traffic: Traffic::Tcp(n, last), peer: Peer::Group("sg-a".into()) });
    let group = |last| Group { ingress: rules(last).collect(), egress: rules(last).collect() };
    let port = |n: u32| {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 1, 0)) + n);
        let groups = [GROUPS[(n % 4) as usize].to_owned()].into();
        let (netns, mac) = ("/nowhere/x".into(), Mac::for_ipv4(address));
        Port {
            netns,
            address,
            mac,
            subnet: "one".into(),
            groups,
            source_dest_check: true,
            public: None,
            connected: false,
        }
    };
    let mut vpc = Vpc {
        vni: 7,
        cidrs: vec![net("10.0.0.0/16")],
        ports: (1..=1000).map(|n| (format!("eni-{n:04}"), port(n))).collect(),
        groups: GROUPS.map(|id| (id.to_owned(), group(80))).into(),
        subnets: [("one".to_owned(), Subnet { cidr: net("10.0.0.0/20"), routes: vec![] })].into(),
        ..Vpc::default()
    };
    vpc.members.insert("sg-a".into(), vpc.ports.values().map(|port| port.address).collect());
    let said = |change: &dyn Fn(&mut Vpc)| {
        let mut changed = vpc.clone();
        change(&mut changed);
        Ruleset::diff(&table(), &compile(&vpc), &compile(&changed))
    };
    let added = said(&|vpc| {
        vpc.ports.insert("eni-x".into(), port(1001));
        vpc.members.get_mut("sg-a").expect("there").insert(port(1001).address);
    });
    assert_eq!(added.lines().count(), 4, "{added}");
    assert!(added.lines().all(|line| line.starts_with("add element ip vpc ") && line.len() < 90), "{added}");
    let changed = said(&|vpc| drop(vpc.groups.insert("sg-b".into(), group(81))));
    assert_eq!(changed.lines().count(), 42, "two chains of twenty rules: {changed}");
}

//! A packet's way through compiled values, as the kernel would take it: hooks in order, first verdict of a chain, longest
//! prefix of the first policy rule's table that has one. Written from nftables' and the kernel's manuals.

use crate::vpc::plumbing::{Hop, MAIN, Plumbing};
use crate::vpc::rules::{OVERLAY, UPLINK, compile};
use crate::vpc::ruleset::{Act, Data, Key, Match, Protocol, Ruleset};
use crate::vpc::spec::address_of;
use crate::vpc::{Entry, Exit, Packet, Payload, Vpc};
use std::net::Ipv4Addr;

pub(super) struct Walk<'a> {
    vpc: &'a Vpc,
    ruleset: Ruleset,
    plumbing: Plumbing,
}

/// A packet under way: its addresses change.
struct Way<'a> {
    by: String,
    out: String,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    payload: &'a Payload,
    translated: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(vpc: &'a Vpc) -> Self {
        Self { vpc, ruleset: compile(vpc), plumbing: Plumbing::wanted(vpc) }
    }

    /// Where it leaves; `None`: it does not.
    pub(super) fn follow(&self, packet: &Packet) -> Option<Exit> {
        let by = match &packet.entry {
            Entry::Port(id) => self.vpc.ports.get(id)?.ifname().to_string(),
            Entry::Overlay => OVERLAY.to_owned(),
            Entry::Uplink => UPLINK.to_owned(),
        };
        let (source, destination) = (packet.source, packet.destination);
        let way = &mut Way { by, out: String::new(), source, destination, payload: &packet.payload, translated: false };
        for chain in ["entering", "inward"] {
            self.passes(chain, way).then_some(())?;
        }
        if self.plumbing.addresses.contains(&way.destination) {
            return self.passes("served", way).then_some(Exit::Served);
        }
        let hop = self.route(way)?;
        let (out, gateway) = match hop {
            Hop::Unreachable | Hop::Blackhole => return None,
            Hop::Device(name) => (name, None),
            Hop::Gateway(gateway, name) => (name, Some(*gateway)),
        };
        way.out.clone_from(out);
        for chain in ["leaving", "arriving", "outward"] {
            self.passes(chain, way).then_some(())?;
        }
        match gateway {
            None => self
                .vpc
                .ports
                .iter()
                .find(|(_, port)| port.ifname().as_str() == out)
                .map(|(id, _)| Exit::Port(id.clone())),
            Some(_) if out == UPLINK => Some(Exit::Outside(way.source)),
            Some(gateway) => {
                let mac = self.plumbing.neighbours.get(&(out.clone(), gateway)).expect("every gateway is a neighbour");
                Some(Exit::Host(*self.plumbing.forwards.get(mac).expect("every neighbour is behind a host")))
            }
        }
    }

    fn route(&self, way: &Way<'_>) -> Option<&Hop> {
        let fitting = self.plumbing.rules.iter().filter(|rule| {
            rule.from.is_none_or(|from| from.contains(&way.source)) && rule.by.as_ref().is_none_or(|by| *by == way.by)
        });
        // The set is in the order of priorities; every namespace has a last rule, for the main table.
        let mut tables = fitting.map(|rule| rule.table).chain([MAIN]);
        tables.find_map(|asked| {
            let routes = self.plumbing.routes.iter();
            let fitting = routes.filter(|((table, to), _)| *table == asked && to.contains(&way.destination));
            fitting.max_by_key(|((_, to), _)| to.prefix_len()).map(|(_, hop)| hop)
        })
    }

    fn passes(&self, base: &str, way: &mut Way<'_>) -> bool {
        // Those that translate are there only where there is something to translate.
        let Some(chain) = self.ruleset.chains.get(base) else { return true };
        self.verdict(base, way).unwrap_or(chain.hook.expect("a base chain").accept)
    }

    fn verdict(&self, chain: &str, way: &mut Way<'_>) -> Option<bool> {
        for line in &self.ruleset.chains[chain].rules {
            if !line.when.iter().all(|matched| self.matches(matched, way)) {
                continue;
            }
            let looked = |map: &str, key: Key| self.ruleset.sets[map].elements.get(&key).cloned().flatten();
            let name = |text: &str| Key::Interface(address_of(text).unwrap_or(Ipv4Addr::UNSPECIFIED));
            let verdict = match &line.then {
                Act::Accept => Some(true),
                Act::Drop => Some(false),
                Act::Jump(chain) => self.verdict(chain, way),
                Act::MapIn(map) | Act::MapOut(map) => {
                    let by = if matches!(line.then, Act::MapIn(_)) { &way.by } else { &way.out };
                    match looked(map, name(by)) {
                        // Gone to another chain, it does not come back here.
                        Some(Data::Goto(chain)) => return self.verdict(&chain, way),
                        Some(Data::Address(_)) | None => None,
                    }
                }
                Act::SourceByMap(map) => looked(map, Key::Address(way.source)).map(|found| {
                    way.source = address(&found);
                    true
                }),
                Act::DestinationByMap(map) => looked(map, Key::Address(way.destination)).map(|found| {
                    way.destination = address(&found);
                    way.translated = true;
                    true
                }),
                // The laws are about VPCs without aliases.
                Act::MapAlias(_) | Act::DestinationAmong(_) | Act::Reset => unreachable!("there are no aliases here"),
                Act::SourceTo(to) => {
                    way.source = *to;
                    Some(true)
                }
            };
            if verdict.is_some() {
                return verdict;
            }
        }
        None
    }

    fn matches(&self, matched: &Match, way: &Way<'_>) -> bool {
        let within = |set: &str, key: Key| self.ruleset.sets[set].elements.contains_key(&key);
        // The overlay and the uplink are in no set; nobody has the unspecified address.
        let by = || address_of(&way.by).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let port = match *way.payload {
            Payload::Tcp(port) => Some((Protocol::Tcp, port)),
            Payload::Udp(port) => Some((Protocol::Udp, port)),
            Payload::Icmp(..) | Payload::Other(_) => None,
        };
        match matched {
            Match::In(name) => way.by == *name,
            Match::Out(name) => way.out == *name,
            Match::InAndSource(set) => within(set, Key::InterfaceAndAddress(by(), way.source)),
            Match::NotInAndSource(set) => !within(set, Key::InterfaceAndAddress(by(), way.source)),
            Match::InSet(set) => within(set, Key::Interface(by())),
            Match::Source(net) => net.contains(&way.source),
            Match::Destination(net) => net.contains(&way.destination),
            Match::SourceIn(set) => within(set, Key::Address(way.source)),
            Match::DestinationIn(set) => within(set, Key::Address(way.destination)),
            Match::PairIn(set) => within(set, Key::Pair(way.source, way.destination)),
            Match::ServiceIn(set) => {
                port.is_some_and(|(protocol, port)| within(set, Key::Service(way.destination, protocol, port)))
            }
            Match::Ports(protocol, low, high) => {
                port.is_some_and(|(its, port)| its == *protocol && (low..=high).contains(&&port))
            }
            Match::Icmp(kind, code) => match *way.payload {
                Payload::Icmp(its_kind, its_code) => {
                    kind.is_none_or(|kind| kind == its_kind) && code.is_none_or(|code| code == its_code)
                }
                Payload::Tcp(_) | Payload::Udp(_) | Payload::Other(_) => false,
            },
            Match::Ip(number) => {
                *number
                    == match *way.payload {
                        Payload::Icmp(..) => 1,
                        Payload::Tcp(_) => 6,
                        Payload::Udp(_) => 17,
                        Payload::Other(number) => number,
                    }
            }
            // It is the first packet of its connection.
            Match::Known | Match::Invalid => false,
            Match::Translated => way.translated,
        }
    }
}

fn address(data: &Data) -> Ipv4Addr {
    match data {
        Data::Address(address) => *address,
        Data::Goto(chain) => panic!("{chain} is no address"),
    }
}

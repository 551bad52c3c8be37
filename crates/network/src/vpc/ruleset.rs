//! A table of nftables as a value: what is rendered for `nft`, compared to find what changed, and evaluated by the tests
//! against the plain model. It knows only the matches and verdicts that the router's table uses.

use super::spec::port_name;
use crate::names::TableName;
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Chains, sets and maps by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    pub(crate) sets: BTreeMap<String, Set>,
    pub(crate) chains: BTreeMap<String, Chain>,
}

/// A set or map: what its elements are, and the elements; in a set they lead to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    /// As nft writes it, for example `ifname : verdict`.
    pub(crate) kind: &'static str,
    pub(crate) elements: BTreeMap<Key, Option<Data>>,
}

/// An element of a set, or a key of a map.
/// Small and without a name of its own: a thousand interfaces are compiled twice for each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// The router's end of the pair to the interface with this address.
    Interface(Ipv4Addr),
    /// The same, and a source address.
    InterfaceAndAddress(Ipv4Addr, Ipv4Addr),
    Address(Ipv4Addr),
    /// An address, a protocol and a destination port.
    Service(Ipv4Addr, Protocol, u16),
    /// An address and a TCP port.
    Alias(Ipv4Addr, u16),
    /// A source and a destination.
    Pair(Ipv4Addr, Ipv4Addr),
}

/// What a map's key leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    Goto(Arc<str>),
    Address(Ipv4Addr),
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// A chain; a base chain has a hook, and what no rule decides has its policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chain {
    pub(crate) hook: Option<Hook>,
    pub(crate) rules: Vec<Line>,
}

/// Where a base chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    /// Type, hook and priority, as nft writes them.
    pub(crate) text: &'static str,
    /// What happens to what no rule decides.
    pub(crate) accept: bool,
}

/// One rule: all matches, then what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) when: Vec<Match>,
    pub(crate) then: Act,
}

/// One match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Match {
    /// Came in by this interface.
    In(&'static str),
    /// Goes out by this interface.
    Out(&'static str),
    /// Interface and source address are in the set.
    InAndSource(&'static str),
    /// Interface and source address are not in the set.
    NotInAndSource(&'static str),
    /// The interface it came in by is in the set.
    InSet(&'static str),
    Source(Ipv4Net),
    Destination(Ipv4Net),
    SourceIn(String),
    DestinationIn(String),
    /// Destination, protocol and port are in the set.
    ServiceIn(&'static str),
    /// Source and destination are in the set.
    PairIn(&'static str),
    /// Destination ports, both included.
    Ports(Protocol, u16, u16),
    /// ICMP, of this type and code where they are given.
    Icmp(Option<u8>, Option<u8>),
    /// An IP protocol by number.
    Ip(u8),
    /// Of a connection that passed before, or about one.
    Known,
    /// Of no connection, and not fit to begin one.
    Invalid,
    /// Its destination was translated.
    Translated,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Accept,
    Drop,
    Jump(String),
    /// What the map says of the interface it came in by; nothing where it is not there.
    MapIn(&'static str),
    /// What the map says of the interface it goes out by.
    MapOut(&'static str),
    /// Source translated to what the map says of the source; nothing where it is not there.
    SourceByMap(&'static str),
    /// Destination translated to what the map says of the destination.
    DestinationByMap(&'static str),
    /// Source translated to this.
    SourceTo(Ipv4Addr),
    /// What the map says of destination and TCP port; nothing where it is not there.
    MapAlias(&'static str),
    /// Destination and port translated to one of these, at random. At least one.
    DestinationAmong(Vec<(Ipv4Addr, u16)>),
    /// Refused, with word to the sender that the port is closed.
    Reset,
}

impl Ruleset {
    /// The commands that make a table which is like `old` like `new`, for one transaction; empty where nothing changed.
    pub fn diff(table: &TableName, old: &Self, new: &Self) -> String {
        let mut text = String::new();
        // What is referred to comes before what refers to it; when taken away, the other way round.
        let (kept, gone): (Vec<_>, Vec<_>) =
            old.sets.iter().partition(|(name, set)| new.sets.get(*name).is_some_and(|now| now.kind == set.kind));
        let kept: BTreeMap<_, _> = kept.into_iter().collect();
        for (name, set) in &new.sets {
            if !kept.contains_key(name) {
                let what = if set.kind.contains(':') { "map" } else { "set" };
                line(&mut text, format_args!("add {what} ip {table} {name} {{ type {}; }}", set.kind));
            }
        }
        let same_hook = |name: &String, chain: &Chain| old.chains.get(name).is_some_and(|had| had.hook == chain.hook);
        let mut refill = Vec::new();
        for (name, chain) in &new.chains {
            if !same_hook(name, chain) {
                line(&mut text, format_args!("add chain ip {table} {name}{}", chain.hook_text()));
                refill.push((name, chain));
            } else if old.chains[name].rules != chain.rules {
                line(&mut text, format_args!("flush chain ip {table} {name}"));
                refill.push((name, chain));
            }
        }
        for (name, chain) in refill {
            for rule in &chain.rules {
                line(&mut text, format_args!("add rule ip {table} {name} {rule}"));
            }
        }
        let empty = BTreeMap::new();
        for (name, set) in &new.sets {
            let had = kept.get(name).map_or(&empty, |set| &set.elements);
            elements(&mut text, "delete", table, name, had, &set.elements);
            elements(&mut text, "add", table, name, &set.elements, had);
        }
        let gone_chains: Vec<_> = old.chains.keys().filter(|name| !new.chains.contains_key(*name)).collect();
        for name in &gone_chains {
            line(&mut text, format_args!("flush chain ip {table} {name}"));
        }
        for name in &gone_chains {
            line(&mut text, format_args!("delete chain ip {table} {name}"));
        }
        for (name, _) in gone {
            line(&mut text, format_args!("delete set ip {table} {name}"));
        }
        text
    }

    /// The commands that put this in the place of whatever table of that name is there, in one transaction.
    pub fn replace(&self, table: &TableName) -> String {
        let fresh = Self::diff(table, &Self::default(), self);
        format!("add table ip {table}\ndelete table ip {table}\nadd table ip {table}\n{fresh}")
    }
}

fn line(text: &mut String, line: fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes everything");
}

/// Adds or deletes the elements of `these` that are not, or not so, in `those`.
fn elements(
    text: &mut String,
    verb: &str,
    table: &TableName,
    set: &str,
    these: &BTreeMap<Key, Option<Data>>,
    those: &BTreeMap<Key, Option<Data>>,
) {
    let mut differing = these.iter().filter(|(key, data)| those.get(*key) != Some(*data)).peekable();
    if differing.peek().is_none() {
        return;
    }
    write!(text, "{verb} element ip {table} {set} {{ ").expect("a string takes everything");
    for (key, data) in differing {
        match data {
            Some(data) if verb == "add" => write!(text, "{key} : {data}, "),
            Some(_) | None => write!(text, "{key}, "),
        }
        .expect("a string takes everything");
    }
    text.push_str("}\n");
}

impl Chain {
    fn hook_text(&self) -> String {
        let Some(Hook { text, accept }) = self.hook else { return String::new() };
        format!(" {{ {text}; policy {}; }}", if accept { "accept" } else { "drop" })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.when {
            write!(f, "{part} ")?;
        }
        write!(f, "{}", self.then)
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(name) => write!(f, "iifname \"{name}\""),
            Self::Out(name) => write!(f, "oifname \"{name}\""),
            Self::InAndSource(set) => write!(f, "iifname . ip saddr @{set}"),
            Self::NotInAndSource(set) => write!(f, "iifname . ip saddr != @{set}"),
            Self::InSet(set) => write!(f, "iifname @{set}"),
            Self::Source(net) => write!(f, "ip saddr {net}"),
            Self::Destination(net) => write!(f, "ip daddr {net}"),
            Self::SourceIn(set) => write!(f, "ip saddr @{set}"),
            Self::DestinationIn(set) => write!(f, "ip daddr @{set}"),
            Self::PairIn(set) => write!(f, "ip saddr . ip daddr @{set}"),
            Self::ServiceIn(set) => write!(f, "ip daddr . meta l4proto . th dport @{set}"),
            Self::Ports(protocol, low, high) => write!(f, "{protocol} dport {low}-{high}"),
            Self::Icmp(kind, code) => {
                f.write_str("meta l4proto icmp")?;
                kind.map_or(Ok(()), |kind| write!(f, " icmp type {kind}"))?;
                code.map_or(Ok(()), |code| write!(f, " icmp code {code}"))
            }
            Self::Ip(number) => write!(f, "meta l4proto {number}"),
            Self::Known => f.write_str("ct state established,related"),
            Self::Invalid => f.write_str("ct state invalid"),
            Self::Translated => f.write_str("ct status dnat"),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::MapIn(map) => write!(f, "iifname vmap @{map}"),
            Self::MapOut(map) => write!(f, "oifname vmap @{map}"),
            Self::SourceByMap(map) => write!(f, "snat to ip saddr map @{map}"),
            Self::DestinationByMap(map) => write!(f, "dnat to ip daddr map @{map}"),
            Self::SourceTo(address) => write!(f, "snat to {address}"),
            Self::MapAlias(map) => write!(f, "ip daddr . tcp dport vmap @{map}"),
            Self::DestinationAmong(all) => among(f, all),
            Self::Reset => f.write_str("reject with tcp reset"),
        }
    }
}

fn among(f: &mut fmt::Formatter<'_>, all: &[(Ipv4Addr, u16)]) -> fmt::Result {
    if let [(address, port)] = all {
        return write!(f, "meta l4proto tcp dnat to {address}:{port}");
    }
    write!(f, "meta l4proto tcp dnat to numgen random mod {} map {{ ", all.len())?;
    for (number, (address, port)) in all.iter().enumerate() {
        write!(f, "{number} : {address} . {port}, ")?;
    }
    f.write_str("}")
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(of) => write!(f, "\"{}\"", port_name(*of)),
            Self::InterfaceAndAddress(of, address) => write!(f, "\"{}\" . {address}", port_name(*of)),
            Self::Address(address) => write!(f, "{address}"),
            Self::Service(address, protocol, port) => write!(f, "{address} . {protocol} . {port}"),
            Self::Alias(address, port) => write!(f, "{address} . {port}"),
            Self::Pair(source, destination) => write!(f, "{source} . {destination}"),
        }
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A set from its elements.
pub(crate) fn set(kind: &'static str, elements: impl IntoIterator<Item = Key>) -> Set {
    Set { kind, elements: elements.into_iter().map(|key| (key, None)).collect() }
}

/// A map from its pairs.
pub(crate) fn map(kind: &'static str, pairs: impl IntoIterator<Item = (Key, Data)>) -> Set {
    Set { kind, elements: pairs.into_iter().map(|(key, data)| (key, Some(data))).collect() }
}

/// A base chain from its rules.
pub(crate) fn base(text: &'static str, accept: bool, rules: Vec<Line>) -> Chain {
    Chain { hook: Some(Hook { text, accept }), rules }
}

/// One rule.
pub(crate) fn rule(when: impl IntoIterator<Item = Match>, then: Act) -> Line {
    Line { when: when.into_iter().collect(), then }
}

/// The addresses of a group's members, as elements.
pub(crate) fn addresses(of: &BTreeSet<Ipv4Addr>) -> impl Iterator<Item = Key> + '_ {
    of.iter().copied().map(Key::Address)
}

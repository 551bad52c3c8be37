//! What a VPC's resolver knows itself, and what it answers from that. Pure.
//!
//! Names are lower case and without the dot at their end here; how they were written stays on the wire.

use super::alias::Aliases;
use ipnet::Ipv4Net;
use std::{collections::BTreeMap, net::Ipv4Addr};

/// Seconds for which an address's own name may be kept. Source: what AWS's resolver answers.
const PRIVATE_TTL: u32 = 60;
/// Addresses of one name in one answer. Source: Cloud Map's developer guide, MULTIVALUE.
pub const MOST_VALUES: usize = 8;

/// A service's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Srv {
    /// The lower the sooner.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The name of its address.
    pub target: String,
}

/// The records of one name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Seconds for which an answer may be kept.
    pub ttl: u32,
    /// Addresses.
    pub a: Vec<Ipv4Addr>,
    /// Services.
    pub srv: Vec<Srv>,
    /// Values of one answer, the turn deciding which; 0 for [`MOST_VALUES`].
    pub most: usize,
}

/// All names below one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Zone {
    /// The name that all of it ends in, such as `internal.example.com`.
    pub apex: String,
    /// Seconds for which it may be kept that there is no such name.
    pub negative_ttl: u32,
    /// The names in it.
    pub names: BTreeMap<String, Entry>,
}

/// The names that every address of a VPC has: `ip-10-0-1-12.ec2.internal`, and back. They follow from the address, so they
/// are there whether or not anybody has it. AWS: so they are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Private {
    /// What follows the first dot.
    pub domain: String,
    /// The VPC's ranges.
    pub ranges: Vec<Ipv4Net>,
}

impl Private {
    /// Those of a region. AWS: us-east-1 has a domain of its own.
    pub fn of(region: &str, ranges: Vec<Ipv4Net>) -> Self {
        let domain = match region {
            "us-east-1" => "ec2.internal".to_owned(),
            other => format!("{other}.compute.internal"),
        };
        Self { domain, ranges }
    }

    fn has(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.contains(&address))
    }
}

/// Everything one resolver knows itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Zones {
    /// In any order; of those that a name is in, the most particular counts.
    pub zones: Vec<Zone>,
    /// The addresses' own names.
    pub private: Option<Private>,
    /// Names that some tasks alone know.
    pub aliases: Aliases,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Addresses.
    A,
    /// Services.
    Srv,
    /// The name of an address.
    Ptr,
    /// The zone itself.
    Soa,
    /// Whatever there is.
    Any,
    /// Something that our zones have of no name.
    Other,
}

/// A name and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Lower case, without the dot at its end.
    pub name: String,
    /// What of it.
    pub kind: Kind,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub name: String,
    /// Seconds for which it may be kept.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Data {
    A(Ipv4Addr),
    Srv(Srv),
    Ptr(String),
    /// Of a zone with that time for what is not there.
    Soa(u32),
}

/// What the zones say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The records, and what is worth knowing besides.
    Records {
        /// Of the name that was asked for.
        records: Vec<Record>,
        /// Of the names they lead to.
        additional: Vec<Record>,
    },
    /// The name is there, and has nothing of that kind. With the zone's SOA.
    NoData(Record),
    /// There is no such name. With the zone's SOA.
    NoSuchName(Record),
    /// It is in none of the zones: somebody else knows.
    NotOurs,
}

/// Answers from the zones. `turn` decides which of many values come, and in which order.
pub fn answer(zones: &Zones, question: &Question, turn: usize) -> Answer {
    let name = question.name.as_str();
    let zone = zones.zones.iter().filter(|zone| is_in(name, &zone.apex)).max_by_key(|zone| zone.apex.len());
    match (zone, &zones.private) {
        (Some(zone), _) => in_zone(zones, zone, question, turn),
        (None, Some(private)) => own_name(private, question),
        (None, None) => Answer::NotOurs,
    }
}

/// Whether a name is another, or below it.
fn is_in(name: &str, apex: &str) -> bool {
    name.strip_suffix(apex).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn soa(apex: &str, ttl: u32) -> Record {
    Record { name: apex.to_owned(), ttl, data: Data::Soa(ttl) }
}

fn in_zone(zones: &Zones, zone: &Zone, question: &Question, turn: usize) -> Answer {
    let name = &question.name;
    let soa = soa(&zone.apex, zone.negative_ttl);
    let Some(entry) = zone.names.get(name) else {
        if *name == zone.apex {
            return match question.kind {
                Kind::Soa | Kind::Any => Answer::Records { records: vec![soa], additional: Vec::new() },
                Kind::A | Kind::Srv | Kind::Ptr | Kind::Other => Answer::NoData(soa),
            };
        }
        // A name between the apex and one that is there is there itself, with nothing.
        let between = zone.names.keys().any(|known| is_in(known, name));
        return if between { Answer::NoData(soa) } else { Answer::NoSuchName(soa) };
    };
    let record = |data| Record { name: name.clone(), ttl: entry.ttl, data };
    let a = || chosen(&entry.a, entry.most, turn).map(|address| record(Data::A(*address)));
    let srv = || chosen(&entry.srv, entry.most, turn).map(|srv| record(Data::Srv(srv.clone())));
    let records: Vec<Record> = match question.kind {
        Kind::A => a().collect(),
        Kind::Srv => srv().collect(),
        Kind::Any => a().chain(srv()).collect(),
        Kind::Soa if *name == zone.apex => vec![soa.clone()],
        Kind::Soa | Kind::Ptr | Kind::Other => Vec::new(),
    };
    if records.is_empty() {
        return Answer::NoData(soa);
    }
    let additional = records.iter().flat_map(|record| targets(zones, record)).collect();
    Answer::Records { records, additional }
}

/// As many as one answer has, beginning with another each turn.
fn chosen<T>(all: &[T], most: usize, turn: usize) -> impl Iterator<Item = &T> {
    let most = if most == 0 { MOST_VALUES } else { most };
    let start = if all.is_empty() { 0 } else { turn % all.len() };
    all.iter().cycle().skip(start).take(all.len().min(most))
}

/// The addresses of a service's place.
fn targets(zones: &Zones, record: &Record) -> Vec<Record> {
    let Data::Srv(srv) = &record.data else { return Vec::new() };
    let of = |zone: &Zone| {
        let entry = zone.names.get(&srv.target)?;
        let record = |address: &Ipv4Addr| Record { name: srv.target.clone(), ttl: entry.ttl, data: Data::A(*address) };
        Some(entry.a.iter().take(MOST_VALUES).map(record).collect())
    };
    zones.zones.iter().filter(|zone| is_in(&srv.target, &zone.apex)).find_map(of).unwrap_or_default()
}

/// A name that follows from an address, or that of such an address.
fn own_name(private: &Private, question: &Question) -> Answer {
    let name = question.name.as_str();
    let records = |data| {
        let record = Record { name: name.to_owned(), ttl: PRIVATE_TTL, data };
        Answer::Records { records: vec![record], additional: Vec::new() }
    };
    if is_in(name, &private.domain) {
        let soa = soa(&private.domain, PRIVATE_TTL);
        let label = name.strip_suffix(&private.domain).and_then(|rest| rest.strip_suffix('.'));
        let address = label.and_then(address_of).filter(|address| private.has(*address));
        return match (address, question.kind) {
            (Some(address), Kind::A | Kind::Any) => records(Data::A(address)),
            (Some(_), Kind::Srv | Kind::Ptr | Kind::Soa | Kind::Other) => Answer::NoData(soa),
            (None, _) if label.is_none() => Answer::NoData(soa),
            (None, _) => Answer::NoSuchName(soa),
        };
    }
    let Some(address) = reversed(name).filter(|address| private.has(*address)) else { return Answer::NotOurs };
    match question.kind {
        Kind::Ptr | Kind::Any => records(Data::Ptr(format!("{}.{}", label_of(address), private.domain))),
        Kind::A | Kind::Srv | Kind::Soa | Kind::Other => Answer::NoData(soa("in-addr.arpa", PRIVATE_TTL)),
    }
}

/// `ip-10-0-1-12`.
fn label_of(address: Ipv4Addr) -> String {
    format!("ip-{}", address.to_string().replace('.', "-"))
}

fn address_of(label: &str) -> Option<Ipv4Addr> {
    // Only as it is written: 010 is another label than 10.
    let address: Ipv4Addr = label.strip_prefix("ip-")?.replace('-', ".").parse().ok()?;
    (label_of(address) == label).then_some(address)
}

/// `12.1.0.10.in-addr.arpa`.
fn reversed(name: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = name.strip_suffix(".in-addr.arpa")?.parse().ok()?;
    let [a, b, c, d] = address.octets();
    Some(Ipv4Addr::new(d, c, b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones() -> Zones {
        let address = |n| Ipv4Addr::new(10, 0, 1, n);
        let srv = |port| Srv { priority: 1, weight: 1, port, target: "one.db.shop.local".into() };
        let entry = |a: Vec<Ipv4Addr>, srv| Entry { ttl: 10, a, srv, most: 0 };
        let names = BTreeMap::from([
            ("web.shop.local".to_owned(), entry((1..=12).map(address).collect(), Vec::new())),
            ("db.shop.local".to_owned(), entry(Vec::new(), vec![srv(5432)])),
            ("one.db.shop.local".to_owned(), entry(vec![address(9)], Vec::new())),
            (
                "one.of.many.shop.local".to_owned(),
                Entry { most: 1, ..entry((1..=3).map(address).collect(), Vec::new()) },
            ),
        ]);
        let inner = BTreeMap::from([("web.eu.shop.local".to_owned(), entry(vec![address(77)], Vec::new()))]);
        Zones {
            zones: vec![
                Zone { apex: "shop.local".into(), negative_ttl: 15, names },
                Zone { apex: "eu.shop.local".into(), negative_ttl: 5, names: inner },
            ],
            private: Some(Private::of("us-east-1", vec!["10.0.0.0/16".parse().unwrap()])),
            ..Zones::default()
        }
    }

    /// An answer in a line.
    fn told(zones: &Zones, name: &str, kind: Kind, turn: usize) -> String {
        let data = |record: &Record| match &record.data {
            Data::A(address) => address.to_string(),
            Data::Srv(srv) => format!("{}:{}", srv.target, srv.port),
            Data::Ptr(name) => name.clone(),
            Data::Soa(ttl) => format!("soa of {} {ttl}", record.name),
        };
        let all = |records: &[Record]| records.iter().map(data).collect::<Vec<_>>().join(" ");
        match answer(zones, &Question { name: name.into(), kind }, turn) {
            Answer::Records { records, additional } if additional.is_empty() => all(&records),
            Answer::Records { records, additional } => format!("{} + {}", all(&records), all(&additional)),
            Answer::NoData(soa) => format!("no data, {}", data(&soa)),
            Answer::NoSuchName(soa) => format!("no such name, {}", data(&soa)),
            Answer::NotOurs => "not ours".into(),
        }
    }

    #[test]
    fn zones_answer_what_they_know_and_no_more() {
        let zones = zones();
        let rows = [
            ("db.shop.local", Kind::Srv, "one.db.shop.local:5432 + 10.0.1.9"),
            ("db.shop.local", Kind::Any, "one.db.shop.local:5432 + 10.0.1.9"),
            ("db.shop.local", Kind::A, "no data, soa of shop.local 15"),
            ("web.shop.local", Kind::Other, "no data, soa of shop.local 15"),
            ("nobody.shop.local", Kind::A, "no such name, soa of shop.local 15"),
            ("many.shop.local", Kind::A, "no data, soa of shop.local 15"),
            ("any.shop.local", Kind::A, "no such name, soa of shop.local 15"),
            ("shop.local", Kind::Soa, "soa of shop.local 15"),
            ("shop.local", Kind::A, "no data, soa of shop.local 15"),
            ("web.eu.shop.local", Kind::A, "10.0.1.77"),
            ("db.eu.shop.local", Kind::A, "no such name, soa of eu.shop.local 5"),
            ("workshop.local", Kind::A, "not ours"),
            ("local", Kind::A, "not ours"),
            ("ip-10-0-1-12.ec2.internal", Kind::A, "10.0.1.12"),
            ("ip-10-0-1-12.ec2.internal", Kind::Other, "no data, soa of ec2.internal 60"),
            ("ip-10-1-1-12.ec2.internal", Kind::A, "no such name, soa of ec2.internal 60"),
            ("ip-10-0-1-012.ec2.internal", Kind::A, "no such name, soa of ec2.internal 60"),
            ("x.ip-10-0-1-12.ec2.internal", Kind::A, "no such name, soa of ec2.internal 60"),
            ("ec2.internal", Kind::A, "no data, soa of ec2.internal 60"),
            ("ip-10-0-1-12.eu-west-1.compute.internal", Kind::A, "not ours"),
            ("12.1.0.10.in-addr.arpa", Kind::Ptr, "ip-10-0-1-12.ec2.internal"),
            ("12.1.1.10.in-addr.arpa", Kind::Ptr, "not ours"),
            ("1.0.10.in-addr.arpa", Kind::Ptr, "not ours"),
        ];
        for (name, kind, want) in rows {
            assert_eq!(told(&zones, name, kind, 0), want, "{name} {kind:?}");
        }
        let elsewhere =
            Zones { private: Some(Private::of("eu-west-1", vec!["10.0.0.0/8".parse().unwrap()])), ..Zones::default() };
        assert_eq!(told(&elsewhere, "ip-10-9-1-1.eu-west-1.compute.internal", Kind::A, 0), "10.9.1.1");
        assert_eq!(told(&elsewhere, "1.1.9.10.in-addr.arpa", Kind::Ptr, 0), "ip-10-9-1-1.eu-west-1.compute.internal");
    }

    #[test]
    fn every_value_has_its_turn() {
        let zones = zones();
        let first: Vec<_> = (0..12).map(|turn| told(&zones, "web.shop.local", Kind::A, turn)).collect();
        assert!(first.iter().all(|line| line.split(' ').count() == MOST_VALUES), "{first:?}");
        let begin: std::collections::BTreeSet<_> = first.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(begin.len(), 12);
        assert_eq!(told(&zones, "one.of.many.shop.local", Kind::A, 1), "10.0.1.2");
    }
}

//! The model's reasons in words, and for each that stands in the way what opens it. Pure.

use super::{
    super::{config::Settings, terminal},
    ends::{ANYBODY, End, Place},
    fetch::{self, World},
    open,
};
use crate::advice::in_region;
use console::Style;
use model::network::{
    InterfaceId, RouteTarget, RuleId, SecurityGroupId, Traffic, VpcId,
    reach::{Allowance, Denial, Probe, Step, Trouble, Way},
};
use serde::Serialize;
use std::net::Ipv4Addr;

/// The answer, as JSON has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    passes: bool,
    region: String,
    from: Whom,
    to: Whom,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    steps: Vec<Line>,
    /// What is so whatever the rules say.
    notes: Vec<String>,
}

/// One end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Whom {
    name: String,
    address: Ipv4Addr,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
}

/// One step.
#[derive(Debug, Serialize)]
struct Line {
    passes: bool,
    /// Of a fixed set of words.
    kind: &'static str,
    text: String,
    /// What opens it.
    next: Vec<String>,
}

pub(super) fn told(
    world: &World,
    settings: &Settings,
    sender: &End,
    (receiver, to): (&End, Ipv4Addr),
    probe: Probe,
    way: &Way,
) -> Told {
    let from = match &sender.place {
        Place::Interface { private, .. } => *private,
        Place::Outside(address) => *address,
    };
    let steps = way.steps.iter().map(|step| match step {
        Ok(step) => {
            let (kind, text) = passed(world, step);
            Line { passes: true, kind, text, next: Vec::new() }
        }
        Err(trouble) => {
            let (kind, text) = stopped(world, probe, trouble);
            let next = open::advice(world, probe, trouble).into_iter();
            let next = next.map(|next| in_region(&next, settings.region_to_say.as_deref())).collect();
            Line { passes: false, kind, text, next }
        }
    });
    let place = |end: &End, address| Whom {
        name: end.words.clone(),
        address,
        interface: end.interface().map(ToString::to_string),
    };
    let (protocol, port) = match probe {
        Probe::Tcp(port) => ("tcp", Some(port)),
        Probe::Udp(port) => ("udp", Some(port)),
        Probe::Icmp(..) => ("icmp", None),
    };
    Told {
        passes: way.passes(),
        region: settings.region.clone(),
        from: place(sender, from),
        to: place(receiver, to),
        protocol,
        port,
        steps: steps.collect(),
        notes: [sender, receiver].into_iter().filter_map(|end| note(world, end)).collect(),
    }
}

/// What the recorded network does not say of an end.
fn note(world: &World, end: &End) -> Option<String> {
    let id = end.interface()?;
    let shown = world.shown(id)?;
    if fetch::machine(shown).is_some() {
        return Some(format!(
            "{id} is an instance's: no security group filters what is published on it, and tasks with an interface of their own \
             do not reach it within the VPC"
        ));
    }
    (!fetch::is_used(shown)).then(|| format!("{id} is nobody's: nothing answers there until a task has it"))
}

/// The lines of the answer.
pub(super) fn lines(told: &Told, width: Option<usize>) -> Vec<String> {
    let end = |place: &Whom| {
        // Who stands for everybody need not be known by address.
        let known = place.address == ANYBODY || place.name == place.address.to_string();
        if known { place.name.clone() } else { format!("{}, {}", place.name, place.address) }
    };
    let what = match (told.protocol, told.port) {
        ("icmp", _) | (_, None) => "ping (ICMP)".to_owned(),
        (protocol, Some(port)) => format!("{} port {port}", protocol.to_uppercase()),
    };
    let plain = |text: &str| terminal::harmless(text).into_owned();
    let title = format!("{} → {}: {what}", plain(&end(&told.from)), plain(&end(&told.to)));
    let mut lines = terminal::wrap(&title, width);
    lines.push(String::new());
    for step in &told.steps {
        let (sign, style) = if step.passes { ("✓", Style::new().green()) } else { ("✗", Style::new().red()) };
        lines.push(format!("{} {}", style.apply_to(sign), plain(&step.text)));
        lines.extend(step.next.iter().flat_map(|next| terminal::advised(&plain(next), width)));
    }
    lines.extend(told.notes.iter().map(|note| format!("{} {}", Style::new().yellow().apply_to("!"), plain(note))));
    lines.push(String::new());
    lines.push(if told.passes {
        Style::new().green().apply_to("It passes.").to_string()
    } else {
        Style::new().red().apply_to("It does not pass.").to_string()
    });
    lines
}

/// A group as people know it.
fn group(world: &World, id: &SecurityGroupId) -> String {
    let name = world.network.security_group(id).map(|group| group.name.as_str()).filter(|name| !name.is_empty());
    name.map_or_else(|| id.to_string(), |name| format!("{id} ({name})"))
}

fn groups(world: &World, ids: &[SecurityGroupId]) -> String {
    ids.iter().map(|id| group(world, id)).collect::<Vec<_>>().join(", ")
}

fn target(target: &RouteTarget) -> &str {
    match target {
        RouteTarget::InternetGateway(id) => id.as_str(),
        RouteTarget::NatGateway(id) => id.as_str(),
    }
}

pub(super) fn traffic(traffic: Traffic) -> String {
    let range = |low: u16, high: u16| if low == high { low.to_string() } else { format!("{low}-{high}") };
    match traffic {
        Traffic::All => "everything".to_owned(),
        Traffic::Tcp(low, high) => format!("TCP {}", range(low, high)),
        Traffic::Udp(low, high) => format!("UDP {}", range(low, high)),
        Traffic::Icmp(kind, _) if kind < 0 => "ICMP".to_owned(),
        Traffic::Icmp(kind, code) if code < 0 => format!("ICMP type {kind}"),
        Traffic::Icmp(kind, code) => format!("ICMP type {kind} code {code}"),
        Traffic::Icmpv6(..) => "ICMPv6".to_owned(),
        Traffic::Other(number) => format!("protocol {number}"),
    }
}

/// What a rule says: `sgr-… everything to 0.0.0.0/0`.
fn rule(world: &World, of: &SecurityGroupId, id: &RuleId, word: &str) -> String {
    let found = world.network.security_group(of).and_then(|group| group.rules.iter().find(|rule| rule.id == *id));
    found.map_or_else(
        || id.to_string(),
        |rule| format!("{id}, {} {word} {}", traffic(rule.allowed.traffic), rule.allowed.peer),
    )
}

fn passed(world: &World, step: &Step) -> (&'static str, String) {
    let allowed = |found: &Allowance, verb: &str, word: &str| {
        let by = rule(world, &found.group, &found.rule, word);
        format!("{} lets it {verb}: {by}", group(world, &found.group))
    };
    match step {
        Step::Itself(id) => ("itself", format!("it stays within {id}")),
        Step::Local { vpc, cidr } => {
            ("local", format!("both are in {vpc} ({cidr}), whose subnets are routed to each other"))
        }
        Step::Served(address) => {
            let what =
                "the VPC's resolver and the metadata services answer everybody in it; no security group filters them";
            ("served", format!("{address}: {what}"))
        }
        Step::Routed { table, destination, target: to } => {
            ("route", format!("{table} routes {destination} to {}", target(to)))
        }
        Step::Public { interface, address } => {
            ("publicAddress", format!("{interface} has a public address and goes out as {address}"))
        }
        Step::Translated { gateway, address } => ("translated", format!("{gateway} sends it out as {address}")),
        Step::Outside(address) if *address == ANYBODY => ("internet", "the internet is there".to_owned()),
        Step::Outside(address) => {
            ("internet", format!("{address} is on the internet; who answers there is not known here"))
        }
        Step::Arrived { address, interface, private } if Some(*private) != world.first(interface) => {
            ("arrived", format!("{address} leads to {interface} ({private}), which can answer"))
        }
        Step::Arrived { address, interface, .. } => {
            ("arrived", format!("{address} leads to {interface}, which can answer"))
        }
        Step::Egress(found) => ("egress", allowed(found, "out", "to")),
        Step::Ingress(found) => ("ingress", allowed(found, "in", "from")),
    }
}

fn stopped(world: &World, probe: Probe, trouble: &Trouble) -> (&'static str, String) {
    let denied = |denial: &Denial, verb: &str, word: &str| {
        if denial.groups.is_empty() {
            return format!("{} is in no security group, so nothing gets {verb}", denial.interface);
        }
        let peer = if denial.peer == ANYBODY { "everybody".to_owned() } else { denial.peer.to_string() };
        let who = match denial.peer_groups.as_slice() {
            [] => peer,
            of => format!("{peer} ({})", groups(world, of)),
        };
        let what = traffic(probe.traffic());
        format!("no rule of {} lets {what} {verb} {word} {who}", groups(world, &denial.groups))
    };
    match trouble {
        Trouble::NoSender(id) => ("noSender", format!("there is no interface {id}")),
        Trouble::Nobody { vpc, address } => ("nobody", format!("nobody in {vpc} has the address {address}")),
        Trouble::NoRoute { subnet, table, address } => {
            let table = table.as_ref().map_or_else(|| "no route table".to_owned(), ToString::to_string);
            let where_to = if *address == ANYBODY { "the internet".to_owned() } else { address.to_string() };
            ("noRoute", format!("{table} of {subnet} has no route to {where_to}"))
        }
        Trouble::Blackhole { table, destination, target: to } => {
            ("blackhole", format!("{table} routes {destination} to {}, which is gone", target(to)))
        }
        Trouble::NoPublicAddress(id) => (
            "noPublicAddress",
            format!("an internet gateway lets only those out who have a public address; {id} has none"),
        ),
        Trouble::PrivateGateway(id) => {
            ("privateGateway", format!("{id} has no public address, so it leads nowhere outside"))
        }
        Trouble::StrandedGateway { gateway, subnet } => {
            ("strandedGateway", format!("{gateway} is in {subnet}, which itself has no route to an internet gateway"))
        }
        Trouble::NotPublic { address, holder: Some((id, vpc)) } => {
            ("notPublic", format!("{address} means nothing outside its VPC: it is {id}'s in {}", vpc_words(world, vpc)))
        }
        Trouble::NotPublic { address, holder: None } => {
            ("notPublic", format!("{address} is a private address, and means nothing on the internet"))
        }
        Trouble::Elsewhere(address) if *address == ANYBODY => ("elsewhere", "both ends are outside".to_owned()),
        Trouble::Elsewhere(address) => ("elsewhere", format!("{address} leads to nobody here")),
        Trouble::TakesNone(id) => ("takesNone", format!("{id} takes no connections: a NAT gateway is for the way out")),
        Trouble::Unanswered { interface, subnet } => {
            ("unanswered", format!("{interface} could not answer: {subnet} has no route to an internet gateway"))
        }
        Trouble::NoEgress(denial) => ("noEgress", denied(denial, "out", "to")),
        Trouble::NoIngress(denial) => ("noIngress", denied(denial, "in", "from")),
    }
}

fn vpc_words(world: &World, id: &VpcId) -> String {
    world.network.vpc(id).map_or_else(|| id.to_string(), |vpc| format!("{id} ({})", vpc.cidr))
}

impl World {
    fn first(&self, id: &InterfaceId) -> Option<Ipv4Addr> {
        self.network.interface(id).and_then(|interface| interface.addresses.first().copied())
    }
}

//! A security group's rules: what one says, and when what a client says makes one.

use super::{Refusal, RuleId, SecurityGroupId, cidr};
use crate::Tags;
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which way a connection is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Direction {
    Ingress,
    Egress,
}

/// Which packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// All.
    All,
    /// TCP to these ports.
    Tcp(u16, u16),
    /// UDP to these ports.
    Udp(u16, u16),
    /// ICMP of that type and code; −1 is any.
    Icmp(i16, i16),
    /// The same of ICMPv6.
    Icmpv6(i16, i16),
    /// All of another IP protocol, by its number.
    Other(u8),
}

/// Who is on the other side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// Whoever has one of these addresses.
    V4(Ipv4Net),
    /// The same for IPv6.
    V6(Ipv6Net),
    /// The interfaces in that group.
    Group(SecurityGroupId),
}

/// What a rule allows: two that allow the same are the same rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Allowed {
    /// Which way.
    pub direction: Direction,
    /// Which packets.
    pub traffic: Traffic,
    /// With whom.
    pub peer: Peer,
}

/// One rule of a security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its id.
    pub id: RuleId,
    /// What it allows.
    pub allowed: Allowed,
    /// What it is for.
    pub description: Option<String>,
    /// Tags.
    pub tags: Tags,
}

impl Traffic {
    /// From the protocol and the ports, or ICMP's type and code, that a client names.
    pub fn parse(protocol: &str, from: Option<i32>, to: Option<i32>) -> Result<Self, Refusal> {
        let invalid = || Refusal::Value(format!("Invalid value '{protocol}' for IP protocol. Unknown protocol."));
        Ok(match protocol.to_ascii_lowercase().as_str() {
            "-1" | "all" => Self::All,
            "tcp" | "6" => ports(from, to).map(|(from, to)| Self::Tcp(from, to))?,
            "udp" | "17" => ports(from, to).map(|(from, to)| Self::Udp(from, to))?,
            "icmp" | "1" => icmp(from, to).map(|(kind, code)| Self::Icmp(kind, code))?,
            "icmpv6" | "58" => icmp(from, to).map(|(kind, code)| Self::Icmpv6(kind, code))?,
            other => Self::Other(other.parse().map_err(|_| invalid())?),
        })
    }

    /// The protocol, as EC2 shows it.
    pub fn protocol(self) -> String {
        match self {
            Self::All => "-1".to_owned(),
            Self::Tcp(..) => "tcp".to_owned(),
            Self::Udp(..) => "udp".to_owned(),
            Self::Icmp(..) => "icmp".to_owned(),
            Self::Icmpv6(..) => "icmpv6".to_owned(),
            Self::Other(number) => number.to_string(),
        }
    }

    /// Ports, or type and code, where it has any.
    pub fn range(self) -> Option<(i32, i32)> {
        match self {
            Self::All | Self::Other(_) => None,
            Self::Tcp(from, to) | Self::Udp(from, to) => Some((from.into(), to.into())),
            Self::Icmp(kind, code) | Self::Icmpv6(kind, code) => Some((kind.into(), code.into())),
        }
    }
}

fn ports(from: Option<i32>, to: Option<i32>) -> Result<(u16, u16), Refusal> {
    let both = "Must specify both from and to ports with TCP/UDP.";
    let (Some(from), Some(to)) = (from, to) else { return Err(Refusal::Value(both.to_owned())) };
    let range = u16::try_from(from).ok().zip(u16::try_from(to).ok()).filter(|(from, to)| from <= to);
    range.ok_or_else(|| Refusal::Value(format!("Invalid TCP/UDP port range ({from}:{to})")))
}

fn icmp(kind: Option<i32>, code: Option<i32>) -> Result<(i16, i16), Refusal> {
    let part = |value: Option<i32>| {
        let value = value.unwrap_or(-1);
        let fits = i16::try_from(value).ok().filter(|value| (-1..=255).contains(value));
        fits.ok_or_else(|| Refusal::Value(format!("ICMP code ({value}) out of range")))
    };
    let (kind, code) = (part(kind)?, part(code)?);
    // AWS: whoever names all types names all codes.
    if kind == -1 && code != -1 {
        return Err(Refusal::Value(format!("ICMP code ({code}) must be -1 where the type is -1")));
    }
    Ok((kind, code))
}

impl Peer {
    /// From an IPv4 network. EC2 takes one whose address has bits behind its length, and cuts them off.
    pub fn v4(text: &str) -> Result<Self, Refusal> {
        let bad = || Refusal::Value(format!("CIDR block {text} is malformed"));
        cidr::parse(text).map(Self::V4).ok_or_else(bad)
    }

    /// The same for IPv6.
    pub fn v6(text: &str) -> Result<Self, Refusal> {
        let net: Result<Ipv6Net, _> = text.parse();
        net.map(|net| Self::V6(net.trunc())).map_err(|_| Refusal::Value(format!("CIDR block {text} is malformed")))
    }

    /// The group it names, if it names one.
    pub fn group(&self) -> Option<&SecurityGroupId> {
        match self {
            Self::Group(id) => Some(id),
            Self::V4(_) | Self::V6(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(net) => write!(f, "{net}"),
            Self::V6(net) => write!(f, "{net}"),
            Self::Group(id) => write!(f, "{id}"),
        }
    }
}

/// As EC2 names a rule in its refusals.
impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol =
            if self.traffic == Traffic::All { "ALL".to_owned() } else { self.traffic.protocol().to_uppercase() };
        write!(f, "peer: {}, {protocol}", self.peer)?;
        match self.traffic {
            Traffic::Tcp(from, to) | Traffic::Udp(from, to) => write!(f, ", from port: {from}, to port: {to}")?,
            Traffic::Icmp(kind, code) | Traffic::Icmpv6(kind, code) => write!(f, ", type: {kind}, code: {code}")?,
            Traffic::All | Traffic::Other(_) => {}
        }
        f.write_str(", ALLOW")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_read_as_ec2_reads_it() {
        let check = |protocol: &str, from: i32, to: i32, want: Option<Traffic>| {
            assert_eq!(Traffic::parse(protocol, Some(from), Some(to)).ok(), want, "{protocol} {from} {to}");
        };
        check("-1", 0, 0, Some(Traffic::All));
        check("-1", -1, -1, Some(Traffic::All));
        check("tcp", 80, 80, Some(Traffic::Tcp(80, 80)));
        check("TCP", 80, 81, Some(Traffic::Tcp(80, 81)));
        check("6", 0, 65_535, Some(Traffic::Tcp(0, 65_535)));
        check("17", 53, 53, Some(Traffic::Udp(53, 53)));
        check("tcp", 81, 80, None);
        check("tcp", 0, 65_536, None);
        check("udp", -1, -1, None);
        check("icmp", -1, -1, Some(Traffic::Icmp(-1, -1)));
        check("icmp", 8, 0, Some(Traffic::Icmp(8, 0)));
        check("icmp", 8, -1, Some(Traffic::Icmp(8, -1)));
        check("icmp", -1, 8, None);
        check("icmp", 256, 0, None);
        check("icmpv6", 128, 0, Some(Traffic::Icmpv6(128, 0)));
        check("50", 0, 0, Some(Traffic::Other(50)));
        check("256", 0, 0, None);
        check("gre", 0, 0, None);
        assert!(Traffic::parse("tcp", Some(80), None).is_err());
        assert_eq!(Traffic::parse("icmp", None, None).unwrap(), Traffic::Icmp(-1, -1));
    }

    #[test]
    fn peers_lose_the_bits_behind_their_length() {
        assert_eq!(Peer::v4("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(Peer::v6("2001:db8::1/32").unwrap().to_string(), "2001:db8::/32");
        for text in ["10.0.0.0", "10.0.0.0/33", "x/8", "", "10.0.0/8"] {
            assert!(Peer::v4(text).is_err(), "{text}");
        }
        assert!(Peer::v6("10.0.0.0/8").is_err());
    }

    #[test]
    fn rules_are_named_as_ec2_names_them() {
        let rule = |traffic| Allowed { direction: Direction::Ingress, traffic, peer: Peer::v4("0.0.0.0/0").unwrap() };
        let tcp = "peer: 0.0.0.0/0, TCP, from port: 80, to port: 80, ALLOW";
        assert_eq!(rule(Traffic::Tcp(80, 80)).to_string(), tcp);
        assert_eq!(rule(Traffic::All).to_string(), "peer: 0.0.0.0/0, ALL, ALLOW");
    }
}

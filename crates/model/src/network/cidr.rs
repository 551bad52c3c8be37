//! Networks in CIDR's notation, and what EC2 lets them be.

use super::Refusal;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Addresses of each subnet that EC2 keeps for itself at its beginning: network, router, name server and one for the future.
pub const RESERVED_FIRST: u32 = 4;
/// All that it keeps: those, and the last one.
pub const RESERVED: u32 = RESERVED_FIRST + 1;

/// Reads a network; bits behind its length are cut off.
pub fn parse(text: &str) -> Option<Ipv4Net> {
    text.parse().ok().map(|net: Ipv4Net| net.trunc())
}

/// Reads a VPC's or subnet's network from a parameter of that name.
pub fn parameter(name: &'static str, text: Option<&str>) -> Result<Ipv4Net, Refusal> {
    let text = text.filter(|text| !text.is_empty()).ok_or(Refusal::Missing(name))?;
    let bad =
        || Refusal::Value(format!("Value ({text}) for parameter {name} is invalid. This is not a valid CIDR block."));
    parse(text).ok_or_else(bad)
}

/// Whether a VPC or a subnet may be of this size: 16 addresses to 65,536.
pub fn has_size(net: Ipv4Net) -> bool {
    (16..=28).contains(&net.prefix_len())
}

/// Whether a VPC may have these addresses: not those of nobody, of a host itself, of a link or of groups. A task would reach
/// nothing with them, or not its own metadata.
pub fn has_range(net: Ipv4Net) -> bool {
    const NEVER: [(Ipv4Addr, u8); 4] = [
        (Ipv4Addr::UNSPECIFIED, 8),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        // And above.
        (Ipv4Addr::new(224, 0, 0, 0), 3),
    ];
    let never = NEVER.iter().filter_map(|(first, length)| Ipv4Net::new(*first, *length).ok());
    !never.map(|never| never.trunc()).any(|never| overlap(never, net))
}

/// Whether two networks have an address in common.
pub fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The addresses of a subnet that may be given away, as numbers, from the first up to but without the last.
pub fn usable(net: Ipv4Net) -> std::ops::Range<u32> {
    u32::from(net.network()).saturating_add(RESERVED_FIRST)..u32::from(net.broadcast())
}

/// Whether a subnet may give this address away.
pub fn is_usable(net: Ipv4Net, address: Ipv4Addr) -> bool {
    usable(net).contains(&u32::from(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_overlap_where_one_lies_in_the_other() {
        for (a, b, want) in [
            ("10.0.0.0/24", "10.0.0.0/24", true),
            ("10.0.0.0/16", "10.0.7.0/24", true),
            ("10.0.7.0/24", "10.0.0.0/16", true),
            ("10.0.0.0/24", "10.0.1.0/24", false),
            ("10.0.0.0/25", "10.0.0.128/25", false),
        ] {
            assert_eq!(overlap(parse(a).unwrap(), parse(b).unwrap()), want, "{a} {b}");
        }
    }

    #[test]
    fn sizes_and_usable_addresses_are_ec2s() {
        for (net, want) in
            [("10.0.0.0/15", false), ("10.0.0.0/16", true), ("10.0.0.0/28", true), ("10.0.0.0/29", false)]
        {
            assert_eq!(has_size(parse(net).unwrap()), want, "{net}");
        }
        let net = parse("10.0.0.0/28").unwrap();
        assert_eq!(usable(net).len(), 11);
        for (address, want) in [("10.0.0.3", false), ("10.0.0.4", true), ("10.0.0.14", true), ("10.0.0.15", false)] {
            assert_eq!(is_usable(net, address.parse().unwrap()), want, "{address}");
        }
        assert_eq!(parameter("cidrBlock", Some("10.0.0.9/24")).unwrap().to_string(), "10.0.0.0/24");
        assert_eq!(parameter("cidrBlock", Some("10.0.0.0")).unwrap_err().code(), "InvalidParameterValue");
        assert_eq!(parameter("cidrBlock", Some("")).unwrap_err().code(), "MissingParameter");
    }
}

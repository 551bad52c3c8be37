//! The default VPC of each account and region: derived from those two, so that it is there without anybody making it. With the
//! first change of the region's network its records are stored like any other's ([`crate::network`]).

use crate::Scope;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The zones every region has.
pub const ZONE_LETTERS: [char; 3] = ['a', 'b', 'c'];

/// A subnet of the default VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-` and 17 hexadecimal digits.
    pub id: String,
    /// Its zone.
    pub availability_zone: String,
    /// `use1-az1`-like.
    pub availability_zone_id: String,
    /// Its addresses.
    pub cidr: Ipv4Net,
}

/// The default VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultVpc {
    /// `vpc-` and 17 hexadecimal digits.
    pub id: String,
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// Its default security group, `sg-…`.
    pub security_group_id: String,
    /// One per zone.
    pub subnets: Vec<Subnet>,
}

/// FNV-1a, twice with different starts: enough to make ids look like ids and differ between scopes; nothing relies on more.
pub(crate) fn id(prefix: &str, scope: &Scope, what: &str) -> String {
    let text = format!("{}/{}/{what}", scope.account, scope.region);
    let hash = |start: u64| text.bytes().fold(start, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let digits = format!("{:016x}{:016x}", hash(0xcbf2_9ce4_8422_2325), hash(0x9e37_79b9_7f4a_7c15));
    format!("{prefix}-{}", &digits[..17])
}

fn zone_id(scope: &Scope, number: usize) -> String {
    format!("{}-az{}", region_code(scope.region.as_str()), number + 1)
}

/// The zones of a region: `us-east-1a` and `use1-az1`, and so on.
pub fn zones(scope: &Scope) -> impl Iterator<Item = (String, String)> + '_ {
    let letters = ZONE_LETTERS.iter().enumerate();
    letters.map(|(i, letter)| (format!("{}{letter}", scope.region), zone_id(scope, i)))
}

/// `us-east-1` becomes `use1`.
fn region_code(region: &str) -> String {
    let mut parts = region.split('-');
    let first = parts.next().unwrap_or_default();
    let rest: String = parts.filter_map(|p| p.chars().next()).collect();
    format!("{first}{rest}")
}

impl DefaultVpc {
    /// The default VPC of `scope` over `cidr`, which must be a /20 or larger network.
    pub fn of(scope: &Scope, cidr: Ipv4Net) -> Self {
        let length = (cidr.prefix_len() + 4).min(28);
        let subnets = ZONE_LETTERS
            .iter()
            .zip(cidr.subnets(length).into_iter().flatten())
            .enumerate()
            .map(|(i, (letter, cidr))| Subnet {
                id: id("subnet", scope, &format!("subnet {letter}")),
                availability_zone: format!("{}{letter}", scope.region),
                availability_zone_id: zone_id(scope, i),
                cidr,
            })
            .collect();
        Self { id: id("vpc", scope, "vpc"), cidr, security_group_id: id("sg", scope, "default"), subnets }
    }

    /// The gateway: the network's first host address.
    pub fn gateway(&self) -> Ipv4Addr {
        self.cidr.hosts().next().unwrap_or_else(|| self.cidr.network())
    }
}

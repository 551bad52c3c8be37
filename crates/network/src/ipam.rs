//! Which address comes next. Pure: the caller's ledger says what is used and persists what it took.

use crate::{Error, Result};
use ipnet::Ipv4Net;
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::net::Ipv4Addr;

/// The lowest host address of `net` that is neither `net.addr()` (the gateway, when `net` is written with it), nor the
/// range's network or broadcast address, nor in `used`. Errors with [`Error::AddressesExhausted`].
pub fn allocate<S: BuildHasher>(net: Ipv4Net, used: &HashSet<Ipv4Addr, S>) -> Result<Ipv4Addr> {
    free(net, used, None).ok_or(Error::AddressesExhausted(net))
}

/// As [`allocate`], but the search starts after `last` and wraps: an address just given back is not reused at once, so
/// that neighbours' caches and connections to its former owner die out first.
pub fn allocate_after<S: BuildHasher>(
    net: Ipv4Net,
    used: &HashSet<Ipv4Addr, S>,
    last: Option<Ipv4Addr>,
) -> Result<Ipv4Addr> {
    free(net, used, last).ok_or(Error::AddressesExhausted(net))
}

fn free<S: BuildHasher>(net: Ipv4Net, used: &HashSet<Ipv4Addr, S>, last: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let range = net.trunc();
    let (low, high) = match range.prefix_len() {
        31 | 32 => (u32::from(range.network()), u32::from(range.broadcast())),
        _ => (u32::from(range.network()) + 1, u32::from(range.broadcast()) - 1),
    };
    let start = last.map(u32::from).filter(|last| (low..high).contains(last)).map_or(low, |last| last + 1);
    (start..=high)
        .chain(low..start)
        .map(Ipv4Addr::from)
        .find(|address| *address != net.addr() && !used.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_order_and_exhausted() {
        let net: Ipv4Net = "10.0.0.1/29".parse().expect("a range");
        let mut used = HashSet::new();
        for expected in 2..=6 {
            let address = allocate(net, &used).expect("room");
            assert_eq!(address, Ipv4Addr::new(10, 0, 0, expected));
            used.insert(address);
        }
        assert!(matches!(allocate(net, &used), Err(Error::AddressesExhausted(_))));
        used.remove(&Ipv4Addr::new(10, 0, 0, 4));
        assert_eq!(allocate(net, &used).expect("room"), Ipv4Addr::new(10, 0, 0, 4));
    }

    #[test]
    fn after_the_last_one_and_around() {
        let net: Ipv4Net = "10.0.0.1/29".parse().expect("a range");
        let next = |used: &[u8], last: u8| {
            let used: HashSet<_> = used.iter().map(|n| Ipv4Addr::new(10, 0, 0, *n)).collect();
            allocate_after(net, &used, Some(Ipv4Addr::new(10, 0, 0, last))).map(|address| address.octets()[3]).ok()
        };
        for (used, last, expected) in [
            (&[][..], 2, Some(3)),
            (&[3, 4], 2, Some(5)),
            (&[], 6, Some(2)),
            (&[2, 3, 4, 5, 6], 3, None),
            (&[2, 3, 4, 5], 6, Some(6)),
        ] {
            assert_eq!(next(used, last), expected, "{used:?} after {last}");
        }
    }
}

//! Which ports are free inside a namespace: the kernel's own answer, by binding them.

use crate::ports::Protocol;
use crate::{Error, NetContext, Result, sysctl};
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;

/// Can this port be bound on all addresses right now? Ports mapped by [`crate::add_ports`] have no socket and look free:
/// the caller's ledger (or [`crate::list_ports`]) knows those.
pub async fn is_port_free(context: &NetContext, protocol: Protocol, port: u16) -> Result<bool> {
    context.enter(move || is_free_here(protocol, port)).await
}

/// The range dynamic host ports come from: `net.ipv4.ip_local_port_range` of the namespace.
pub async fn ephemeral_range(context: &NetContext) -> Result<RangeInclusive<u16>> {
    context
        .enter(|| {
            const NAME: &str = "ipv4/ip_local_port_range";
            let text = sysctl::get(NAME)?;
            let mut numbers = text.split_whitespace().map_while(|word| word.parse::<u16>().ok());
            match (numbers.next(), numbers.next()) {
                (Some(low), Some(high)) => Ok(low..=high),
                (None | Some(_), _) => Err(Error::os("reading", NAME, io::ErrorKind::InvalidData)),
            }
        })
        .await
}

/// One free port for each of `protocols`, in `range`, not in `taken`, distinct; the search starts after `last` and wraps, so
/// that a port just given back is not reused at once. One thread for all. Errors with [`Error::PortsExhausted`].
pub async fn find_free_ports<S: BuildHasher>(
    context: &NetContext,
    protocols: &[Protocol],
    range: RangeInclusive<u16>,
    taken: &HashSet<(Protocol, u16), S>,
    last: Option<u16>,
) -> Result<Vec<u16>> {
    let (low, high) = (*range.start(), *range.end());
    let start = last.filter(|last| (low..high).contains(last)).map_or(low, |last| last + 1);
    let protocols = protocols.to_vec();
    let taken: HashSet<(Protocol, u16)> = taken.iter().copied().collect();
    context
        .enter(move || {
            let mut candidates = (start..=high).chain(low..start);
            let mut found = Vec::with_capacity(protocols.len());
            for protocol in protocols {
                let free =
                    |port: &u16| !taken.contains(&(protocol, *port)) && is_free_here(protocol, *port).unwrap_or(false);
                found.push(candidates.find(free).ok_or(Error::PortsExhausted(low, high))?);
            }
            Ok(found)
        })
        .await
}

fn is_free_here(protocol: Protocol, port: u16) -> Result<bool> {
    let address = (Ipv4Addr::UNSPECIFIED, port);
    let bound = match protocol {
        Protocol::Tcp => TcpListener::bind(address).map(drop),
        Protocol::Udp => UdpSocket::bind(address).map(drop),
    };
    match bound {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(error) => Err(Error::os("binding a port of", format!("{protocol}/{port}"), error)),
    }
}

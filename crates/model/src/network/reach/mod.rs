//! May a connection pass, and why: the way of its first packet, step by step, each with what decides it.
//!
//! [`Network::way`] is written from what AWS documents, for people who ask why something does not answer; what moves packets has
//! its own rules, and both are held against plain models. Only a connection's beginning is looked at: what answers it passes, as
//! security groups have it. Deliberately absent: whether anything listens, and whoever is not an interface of the network's.

mod step;
mod walk;

pub use step::{Allowance, Denial, Step, Trouble};

use super::{InterfaceId, Network, Traffic, cidr};
use std::net::Ipv4Addr;

/// The first packet of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// TCP to this port.
    Tcp(u16),
    /// UDP to this port.
    Udp(u16),
    /// ICMP of this type and code; what `ping` sends is of type 8 and code 0.
    Icmp(u8, u8),
}

/// Who opens the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// An interface, from one of its addresses.
    Interface(InterfaceId, Ipv4Addr),
    /// Whoever has this address on the internet.
    Outside(Ipv4Addr),
}

/// The way of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// In the order in which the packet comes to them. Where the way itself ends, nothing behind its end is told.
    pub steps: Vec<Result<Step, Trouble>>,
}

impl Way {
    /// Whether the connection comes through.
    pub fn passes(&self) -> bool {
        self.steps.iter().all(Result::is_ok)
    }
}

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The interface.
    pub interface: InterfaceId,
    /// Its own address, if it was asked for by a public one.
    pub private: Ipv4Addr,
    /// Whether the address is a public one.
    pub is_public: bool,
}

impl Network {
    /// Whose an address is. Networks may have the same private addresses, so there may be several.
    pub fn holders(&self, address: Ipv4Addr) -> Vec<Holder> {
        let own = self.interfaces().filter(|interface| interface.addresses.contains(&address));
        let own = own.map(|interface| (interface.id.clone(), address, false));
        let public = self.addresses().filter(|public| public.public_ip == address);
        let public = public.filter_map(|public| public.association.as_ref());
        let public = public.map(|association| (association.interface.clone(), association.private_ip, true));
        own.chain(public).map(|(interface, private, is_public)| Holder { interface, private, is_public }).collect()
    }

    /// By which of its addresses a sender finds an interface: its first one from its own VPC, else the public one that leads to
    /// it. If it has none, the first one all the same: then the way says why it does not lead there.
    pub fn address_for(&self, sender: &Sender, receiver: &InterfaceId) -> Option<Ipv4Addr> {
        let receiver = self.interface(receiver)?;
        let first = *receiver.addresses.first()?;
        let is_neighbour = match sender {
            Sender::Interface(id, _) => self.interface(id).is_some_and(|sender| sender.vpc == receiver.vpc),
            Sender::Outside(_) => false,
        };
        let public = self.public_of(&receiver.id, first);
        Some(public.filter(|_| !is_neighbour).unwrap_or(first))
    }

    /// The public address that leads to an address of an interface.
    pub fn public_of(&self, interface: &InterfaceId, private: Ipv4Addr) -> Option<Ipv4Addr> {
        let mut leading = self.addresses_of(interface);
        let found = leading.find(|a| a.association.as_ref().is_some_and(|a| a.private_ip == private));
        found.map(|address| address.public_ip)
    }

    /// The way of a connection's first packet.
    pub fn way(&self, sender: &Sender, to: Ipv4Addr, probe: Probe) -> Way {
        Way { steps: walk::walk(self, sender, to, probe) }
    }
}

impl Traffic {
    /// Whether it is of these packets.
    pub fn includes(self, probe: Probe) -> bool {
        match (self, probe) {
            (Self::All, _) => true,
            (Self::Tcp(low, high), Probe::Tcp(port)) | (Self::Udp(low, high), Probe::Udp(port)) => {
                (low..=high).contains(&port)
            }
            // AWS: -1 is any type or any code; a code without a type means nothing.
            (Self::Icmp(kind, code), Probe::Icmp(its_kind, its_code)) => {
                kind < 0 || (kind == i16::from(its_kind) && (code < 0 || code == i16::from(its_code)))
            }
            (Self::Other(number), _) => number == probe.number(),
            (Self::Tcp(..) | Self::Udp(..) | Self::Icmp(..) | Self::Icmpv6(..), _) => false,
        }
    }
}

impl Probe {
    /// Its protocol's number.
    fn number(self) -> u8 {
        match self {
            Self::Icmp(..) => 1,
            Self::Tcp(_) => 6,
            Self::Udp(_) => 17,
        }
    }

    /// The rule that would allow it and nothing else.
    pub fn traffic(self) -> Traffic {
        match self {
            Self::Tcp(port) => Traffic::Tcp(port, port),
            Self::Udp(port) => Traffic::Udp(port, port),
            Self::Icmp(kind, code) => Traffic::Icmp(kind.into(), code.into()),
        }
    }
}

/// Whether an address means nothing on the internet.
fn is_private(address: Ipv4Addr) -> bool {
    // 100.64.0.0/10: carriers' own. Source: RFC 6598.
    let shared = cidr::parse("100.64.0.0/10").is_some_and(|net| net.contains(&address));
    address.is_private() || address.is_loopback() || address.is_link_local() || address.is_unspecified() || shared
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

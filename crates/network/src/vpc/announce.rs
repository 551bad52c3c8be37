//! Says on the machine's network that a public address is here now: neighbours that have sent to it where it was before would
//! go on doing so until their memory of it runs out.
//!
//! One gratuitous ARP request (RFC 5227's announcement) per address that is led here newly. That it is lost does no lasting harm,
//! so it is said once.

use crate::names::Mac;
use crate::netlink::Link;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, eth, sendto, socket_with};
use std::io;
use std::net::Ipv4Addr;

/// In words: everybody.
const BROADCAST: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0];

/// Where a packet goes on a link (linux/if_packet.h, sockaddr_ll).
#[repr(C)]
struct LinkAddress {
    family: u16,
    protocol: u16,
    interface: i32,
    hardware_type: u16,
    packet_type: u8,
    length: u8,
    address: [u8; 8],
}

#[allow(unsafe_code, reason = "rustix has no address of this family; this one is laid out as the kernel reads it")]
// SAFETY: the pointer is to a whole sockaddr_ll that lives as long as the call, and the length is its own.
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        f(std::ptr::from_ref(self).cast(), size_of::<Self>() as SocketAddrLen)
    }
}

/// Says it by the interface, from the calling thread's namespace.
pub(super) fn announce(by: &Link, public: Ipv4Addr) -> io::Result<()> {
    let Some(mac) = by.mac else { return Ok(()) };
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, Some(eth::ARP))?;
    let to = LinkAddress {
        family: AddressFamily::PACKET.as_raw(),
        protocol: 0x0806_u16.to_be(),
        interface: i32::try_from(by.index).map_err(io::Error::other)?,
        hardware_type: 0,
        packet_type: 0,
        length: 6,
        address: BROADCAST,
    };
    sendto(&socket, &packet(mac, public), SendFlags::empty(), &to)?;
    Ok(())
}

/// An ARP request of Ethernet and IPv4 by which one asks for its own address.
fn packet(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
    packet.extend_from_slice(&mac.0);
    packet.extend_from_slice(&address.octets());
    packet.extend_from_slice(&[0; 6]);
    packet.extend_from_slice(&address.octets());
    packet
}

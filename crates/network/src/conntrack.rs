//! Forgetting flows: UDP ones whose port mapping changed, and all of an address that left a VPC.
//!
//! The kernel translates a flow as it did its first packet. TCP starts anew with each connection, but a UDP client that keeps
//! its source port would talk to the old target for as long as it talks. So after a change the flows it concerns are deleted,
//! over the kernel's conntrack netlink, which needs a few bytes of protocol and saves the `conntrack` program.

use crate::ports::{PortMap, Protocol};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with, sockopt,
};
use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

// linux/netlink.h, linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const CT_GET: u16 = 0x101;
const CT_DELETE: u16 = 0x102;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const IPPROTO_UDP: u8 = 17;
/// Attribute types carry two flags (nested, byte order) in their top bits.
const TYPE_MASK: u16 = 0x3fff;
/// nlmsghdr and nfgenmsg.
const HEADERS: usize = 20;
/// The kernel fills at most this much per datagram of a dump (NLMSG_GOODSIZE, at most 32 KiB).
const BUFFER: usize = 32 * 1024;
/// The kernel answers at once; this only keeps a broken one from holding the thread for ever.
const PATIENCE: Duration = Duration::from_secs(2);

/// What happened to a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It leads here now: flows to this host port that go anywhere else are wrong.
    Added,
    /// It is gone: flows it sent to its target are wrong.
    Removed,
}

/// Deletes, in the calling thread's namespace, the flows that a change made wrong. Best effort: the mapping itself is done,
/// and a kernel without conntrack netlink only keeps old flows until they fall silent.
pub(crate) fn forget_here(ports: &[PortMap], change: Change) {
    if ports.iter().any(|port| port.protocol == Protocol::Udp)
        && let Err(error) = forget(ports, change)
    {
        tracing::warn!(%error, "UDP flows of changed port mappings could not be forgotten");
    }
}

fn forget(ports: &[PortMap], change: Change) -> io::Result<()> {
    delete_where(|message| {
        let flow = Flow::parse(message)?;
        ports.iter().any(|port| flow.is_wrong(port, change)).then_some(flow.identity)
    })
}

/// Deletes, in the calling thread's namespace, every flow from or to one of these addresses, as it was sent or as it is
/// answered: who has the address next is not to inherit what was allowed before. Best effort, as [`forget_here`].
pub(crate) fn forget_addresses_here(gone: &BTreeSet<Ipv4Addr>) {
    if gone.is_empty() {
        return;
    }
    let concerned = |message: &[u8]| {
        let (mut concerned, mut identity) = (false, Vec::new());
        for (kind, attribute, payload) in attributes(message.get(HEADERS..)?) {
            if matches!(kind, CTA_TUPLE_ORIG | CTA_TUPLE_REPLY) {
                let ip = find(payload, CTA_TUPLE_IP)?;
                concerned |= [CTA_IP_V4_SRC, CTA_IP_V4_DST].iter().any(|side| {
                    let bytes: Option<[u8; 4]> = find(ip, *side).and_then(|bytes| bytes.try_into().ok());
                    bytes.is_some_and(|bytes| gone.contains(&Ipv4Addr::from(bytes)))
                });
            }
            if matches!(kind, CTA_TUPLE_ORIG | CTA_ID | CTA_ZONE) {
                keep(&mut identity, attribute);
            }
        }
        concerned.then_some(identity)
    };
    if let Err(error) = delete_where(concerned) {
        tracing::warn!(%error, "flows of addresses that left could not be forgotten");
    }
}

/// An attribute as it came, at the boundary the kernel wants.
fn keep(identity: &mut Vec<u8>, attribute: &[u8]) {
    identity.extend_from_slice(attribute);
    identity.resize(identity.len().next_multiple_of(4), 0);
}

/// Deletes every flow that `wrong` names by its identity.
fn delete_where(wrong: impl Fn(&[u8]) -> Option<Vec<u8>>) -> io::Result<()> {
    let protocol = Some(netlink::NETFILTER);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    let mut found = Vec::new();
    exchange(&socket, &request(CT_GET, NLM_F_REQUEST | NLM_F_DUMP, &[]), |message| found.extend(wrong(message)))?;
    for identity in found {
        match exchange(&socket, &request(CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, &identity), |_| ()) {
            // It ended by itself in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// One UDP flow through this namespace.
#[derive(Debug, PartialEq, Eq)]
struct Flow {
    /// Where its first packet was addressed to.
    to: SocketAddrV4,
    /// Who answers: the same, or the target of a translation.
    answers: SocketAddrV4,
    /// The attributes that name it to the kernel, as they came.
    identity: Vec<u8>,
}

impl Flow {
    fn parse(message: &[u8]) -> Option<Self> {
        let (mut to, mut answers, mut identity) = (None, None, Vec::new());
        for (kind, attribute, payload) in attributes(message.get(HEADERS..)?) {
            match kind {
                CTA_TUPLE_ORIG => to = Some(udp_tuple(payload)?.1),
                CTA_TUPLE_REPLY => answers = Some(udp_tuple(payload)?.0),
                CTA_ID | CTA_ZONE => {}
                _ => continue,
            }
            if kind != CTA_TUPLE_REPLY {
                keep(&mut identity, attribute);
            }
        }
        Some(Self { to: to?, answers: answers?, identity })
    }

    fn is_wrong(&self, port: &PortMap, change: Change) -> bool {
        if port.protocol != Protocol::Udp || self.to.port() != port.host_port {
            return false;
        }
        match change {
            Change::Removed => self.answers == port.target,
            // Containers' flows to the same port of other machines pass here too and are none of our business.
            Change::Added => self.answers != port.target && is_local(*self.to.ip()),
        }
    }
}

/// Is this one of the namespace's own addresses? Only those can be bound.
fn is_local(address: Ipv4Addr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Source and destination of a UDP tuple; nothing for other protocols and IPv6.
fn udp_tuple(tuple: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let ip = find(tuple, CTA_TUPLE_IP)?;
    let proto = find(tuple, CTA_TUPLE_PROTO)?;
    let address = |kind| Some(Ipv4Addr::from(<[u8; 4]>::try_from(find(ip, kind)?).ok()?));
    let port = |kind| Some(u16::from_be_bytes(find(proto, kind)?.try_into().ok()?));
    (*find(proto, CTA_PROTO_NUM)?.first()? == IPPROTO_UDP).then_some(())?;
    let source = SocketAddrV4::new(address(CTA_IP_V4_SRC)?, port(CTA_PROTO_SRC_PORT)?);
    let destination = SocketAddrV4::new(address(CTA_IP_V4_DST)?, port(CTA_PROTO_DST_PORT)?);
    Some((source, destination))
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _, _)| *kind == wanted).map(|(_, _, payload)| payload)
}

/// The attributes in `bytes`: type, the whole attribute, its payload. Ends at the first malformed one.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8], &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & TYPE_MASK;
        let attribute = bytes.get(..length)?;
        let payload = attribute.get(4..)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, attribute, payload))
    })
}

fn request(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADERS + attributes.len()).expect("a few attributes");
    let mut message = Vec::with_capacity(HEADERS + attributes.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    // Sequence number and port: one request at a time, and the kernel assigns the port.
    message.extend_from_slice(&[0; 8]);
    // nfgenmsg: IPv4 only, version 0, resource 0.
    message.extend_from_slice(&[2, 0, 0, 0]);
    message.extend_from_slice(attributes);
    message
}

/// Sends a request and shows `each` message of the answer, until the kernel says that was all.
fn exchange(socket: &OwnedFd, request: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
    send(socket, request, SendFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let (received, _) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..received];
        while let Some((kind, message)) = next_message(&mut rest) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = message.get(16..20).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                    return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                _ => each(message),
            }
        }
    }
}

fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = usize::try_from(u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
    let message = rest.get(..length).filter(|message| message.len() >= 16)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_answers_end_quietly() {
        let whole = request(CT_GET, 0, &[8, 0, 1, 0, 4, 0, 1, 0]);
        for length in 0..whole.len() {
            assert_eq!(Flow::parse(&whole[..length]), None);
            assert!(next_message(&mut &whole[..length]).is_none());
        }
        assert!(attributes(&[0, 0, 0, 0]).next().is_none(), "a length of nothing does not loop");
        assert_eq!(attributes(&[4, 0, 1, 0x80, 5, 0, 2, 0, 9]).map(|(kind, ..)| kind).collect::<Vec<_>>(), [1, 2]);
    }
}

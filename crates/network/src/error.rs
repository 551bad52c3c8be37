//! What can go wrong with the kernel's network, in words an operator can act on.

use ipnet::Ipv4Net;
use std::io;
use std::path::PathBuf;

/// A failed network operation. Every operation is idempotent, so the answer to all of these is: fix the cause, call again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name the kernel or nftables would refuse, or that could break out of a rendered rule.
    #[error("{what} name {name:?} is not valid: {why}")]
    Name {
        /// Which kind of name.
        what: &'static str,
        /// The name as given.
        name: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// A service inside a namespace cannot listen.
    #[error("cannot listen on {at}: {source}")]
    Listen {
        /// Where.
        at: std::net::SocketAddrV4,
        /// Why.
        source: io::Error,
    },
    /// The range is in use by something that is not ours.
    #[error("{wanted} overlaps {existing} on interface {interface}; choose another range with {flag}")]
    Overlap {
        /// The range asked for.
        wanted: Ipv4Net,
        /// The address or route that is already there.
        existing: Ipv4Net,
        /// The interface it belongs to.
        interface: String,
        /// The command-line flag that changes the range.
        flag: &'static str,
    },
    /// Every candidate range overlaps something.
    #[error("none of the ranges {candidates:?} is free on this machine; choose one with {flag}")]
    NoFreeRange {
        /// The candidates, in order.
        candidates: Vec<Ipv4Net>,
        /// The command-line flag that names a range.
        flag: &'static str,
    },
    /// An interface of that name exists and is of another kind.
    #[error("interface {name} exists and is a {kind}, not a {expected}")]
    NameTaken {
        /// The interface.
        name: String,
        /// What it is.
        kind: String,
        /// What we need it to be.
        expected: &'static str,
    },
    /// Something that has to exist first does not.
    #[error("interface {0} does not exist")]
    NoSuchLink(String),
    /// No address is left in a range.
    #[error("no free address left in {0}")]
    AddressesExhausted(Ipv4Net),
    /// No port is left in a range.
    #[error("no free port left in {0}-{1}")]
    PortsExhausted(u16, u16),
    /// A system call on a file or namespace failed.
    #[error("{what} {path}")]
    Os {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A netlink request was refused.
    #[error("netlink: {what}")]
    Netlink {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// `nft` refused a batch; `stderr` is its answer.
    #[error("nft refused the batch: {stderr}")]
    Nft {
        /// What `nft` printed, trimmed.
        stderr: String,
    },
    /// `nft` could not be run at all.
    #[error("running nft (is the package nftables installed?)")]
    NftMissing(#[source] io::Error),
    /// `nft` answered something we cannot read.
    #[error("nft listing: {0}")]
    NftListing(String),
    /// WireGuard is asked for and cannot be had.
    #[error("this machine does not have {0}")]
    WireguardMissing(&'static str),
    /// `wg` or `wireguard-go` refused; `stderr` is its answer.
    #[error("{program}: {stderr}")]
    Wireguard {
        /// Which.
        program: &'static str,
        /// What it printed, trimmed.
        stderr: String,
    },
    /// The helper thread ended without an answer: it panicked, or could not be started.
    #[error("network thread ended without an answer")]
    Thread,
}

impl Error {
    pub(crate) fn os(what: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Os { what, path: path.into(), source: source.into() }
    }

    /// The errno the kernel answered to a netlink request, where there is one.
    pub(crate) fn netlink_errno(&self) -> Option<i32> {
        if let Self::Netlink { source, .. } = self { source.raw_os_error() } else { None }
    }
}

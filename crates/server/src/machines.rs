//! What the server asks of its own host for local instances, the machines that `RunInstances` makes.
//!
//! The server decides and records; the binary that contains it owns the host's network, cgroups and processes and hands
//! them in as a [`MachineHost`]. Every call is level-triggered and may be repeated after a crash of either side.

use futures::future::BoxFuture;
use ipnet::Ipv4Net;
use model::Machine;
use std::net::{Ipv4Addr, SocketAddr};

/// A local instance as the host shall make it.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// The record.
    pub machine: Machine,
    /// The fabric's gateway, the host's own address on it.
    pub gateway: Ipv4Addr,
    /// Prefix length of the fabric's network, which all local instances share.
    pub prefix_len: u8,
    /// Where its agent dials: the link's address on the fabric.
    pub server: SocketAddr,
    /// A join token, if the host said that the machine has none of its own identity yet.
    pub token: Option<String>,
    /// Its VPC's id, range and default security group, and its subnet's range.
    pub place: MachinePlace,
    /// Attributes that its agent registers besides those it finds.
    pub attributes: model::Attributes,
}

/// Where a machine is in its VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MachinePlace {
    pub vpc: String,
    pub vpc_cidr: Ipv4Net,
    pub security_group: String,
    pub subnet_cidr: Option<Ipv4Net>,
    pub availability_zone_id: Option<String>,
    pub private_dns_name: String,
}

/// Why the host could not do it. The words become the machine's state reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MachineError(pub String);

/// The host under local instances.
pub trait MachineHost: Send + Sync + 'static {
    /// Prepares the host's side of the fabric at `gateway`/`prefix_len` and the container runtime; called before the link
    /// listens on the gateway's address. Idempotent.
    fn prepare(&self, gateway: Ipv4Addr, prefix_len: u8) -> BoxFuture<'_, Result<(), MachineError>>;
    /// Whether the machine's agent has an identity already, so that it needs no token.
    fn has_joined(&self, id: &str) -> bool;
    /// Whether the machine's agent process lives.
    fn is_running(&self, id: &str) -> bool;
    /// Makes the machine run: namespace, address, cgroup, agent. Does nothing where it does already.
    fn start<'a>(&'a self, spec: &'a MachineSpec) -> BoxFuture<'a, Result<(), MachineError>>;
    /// Ends its agent and containers; its disk stays.
    fn stop<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), MachineError>>;
    /// Removes every trace of it.
    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), MachineError>>;
    /// The ids of machines that have left a trace on the host.
    fn list(&self) -> Vec<String>;
}

/// A host without local instances: an ordinary server whose instances are attached by operators.
#[derive(Debug, Default)]
pub struct NoMachines;

impl MachineHost for NoMachines {
    fn prepare(&self, _: Ipv4Addr, _: u8) -> BoxFuture<'_, Result<(), MachineError>> {
        Box::pin(async { Ok(()) })
    }
    fn has_joined(&self, _: &str) -> bool {
        false
    }
    fn is_running(&self, _: &str) -> bool {
        false
    }
    fn start<'a>(&'a self, _: &'a MachineSpec) -> BoxFuture<'a, Result<(), MachineError>> {
        let text = "This server makes no local instances; start it with --local-instances, or attach machines.";
        Box::pin(async move { Err(MachineError(text.to_owned())) })
    }
    fn stop<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), MachineError>> {
        Box::pin(async { Ok(()) })
    }
    fn remove<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), MachineError>> {
        Box::pin(async { Ok(()) })
    }
    fn list(&self) -> Vec<String> {
        Vec::new()
    }
}

//! The operating system's network, as resources with `ensure` and `remove`.
//!
//! Nothing here remembers anything: every function takes explicit names and addresses, looks at what the kernel has
//! (dump and reconcile) and makes it so. A process killed with `kill -9` between any two steps leaves pieces that the
//! next `ensure` completes and the next `remove` or [`netns::sweep`] takes away. Only this crate sees netlink and nftables.
//!
//! What stands where, from the outside in:
//! * [`fabric`]: on the host, the bridge that joins local instances, with masquerading to the outside.
//! * [`instance`]: a network namespace per local instance, its `eth0` on the fabric.
//! * [`bridge`]: inside an instance (or on an attached machine), the bridge of ECS network mode `bridge`.
//! * [`endpoint`]: a namespace per task or container, `eth0` on that bridge, or isolated for mode `none`.
//! * [`vpc`]: a VPC's share of a host: its router, its tasks' interfaces, security groups, the overlay to other hosts.
//! * [`ports`]: host ports mapped to containers by NAT; [`probe`]: is a port free, and which range is dynamic.
//! * [`link_local`]: the addresses at which tasks ask their instance things.
//! * [`ipam`]: which address is next; pure.
//!
//! Deliberately absent: clocks, retries, logging of outcomes, and any persistent state. The caller's ledger owns names.

mod conntrack;
mod context;
mod error;
mod names;
mod netlink;
mod nft;
mod overlap;
mod sysctl;
mod veth;

pub mod bridge;
pub mod endpoint;
pub mod fabric;
pub mod instance;
pub mod ipam;
pub mod link_local;
pub mod netns;
pub mod ports;
pub mod probe;
pub mod vpc;

pub use bridge::{BridgeSpec, TASK_BRIDGE_CANDIDATES, choose_task_net, ensure_task_bridge, remove_task_bridge};
pub use context::NetContext;
pub use endpoint::{
    EndpointSpec, ensure_endpoint, ensure_endpoints, ensure_isolated, remove_endpoint, remove_endpoints,
};
pub use error::Error;
pub use fabric::{FabricSpec, ensure_fabric, remove_fabric};
pub use instance::{InstanceNetSpec, ensure_instance, remove_instance};
pub use ipnet::Ipv4Net;
pub use link_local::{LinkLocalSpec, ensure_link_local, remove_link_local};
pub use names::{IfName, Mac, TableName};
pub use netlink::{Link, Netlink};
pub use netns::{NetnsPath, sweep};
pub use nft::UNPUBLISHED;
pub use ports::{
    PortMap, PortsSpec, Protocol, add_ports, ensure_ports_table, list_ports, remove_ports, remove_ports_table,
};
pub use probe::{ephemeral_range, find_free_ports, is_port_free};
pub use sysctl::{LAST_GROUP, Setting, container_settings, set_parameters};

/// What every operation here returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

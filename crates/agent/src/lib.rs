//! Runs tasks on a container instance.
//!
//! From the outside in: [`run`] joins a server and keeps a [`session`] with it; what the server assigns goes to the
//! [`engine`], which gives each task one owner; the owner steps the pure state machine of [`task`], keeps the [`ledger`] and
//! has effects done by a [`node::Node`] ([`real`] over containerd, nftables and cgroups). Output goes through [`logs`];
//! [`introspection`] answers people on the instance; [`detect`] says what the machine has. Tasks ask [`metadata`], which has the
//! credentials of their roles too, and reach the server through `api_door`.
//!
//! Deliberately absent: which task runs where (the server), and anything that makes two agents know of each other.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api_door;
pub mod detect;
pub mod engine;
mod files;
pub mod gpus;
mod http;
pub mod identity;
pub mod imds;
pub mod introspection;
mod leave;
pub mod ledger;
pub mod logs;
pub mod metadata;
pub mod node;
pub mod plan;
pub mod real;
mod resident;
pub mod resolver;
mod roles;
mod run;
pub mod session;
pub mod task;
#[cfg(test)]
mod testing;

pub use detect::ResourceOverrides;
pub use identity::has_identity;
pub use leave::leave;
pub use plan::{INSTANCE_LABEL, TASK_LABEL};
pub use real::{ImageCleanup, PullBehavior, clones_dir, disks_dir, file_systems_dir, mounts_dir, tunnels_dir};
pub use run::{AgentError, CONTAINERD_NAMESPACE, Config, Machine, run, run_on};
pub use session::{Dial, Stream};

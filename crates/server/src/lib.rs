//! Answers the API and runs the loops.
//!
//! ```text
//! http -> auth -> api (parse, ask, commit, render) -> state      session, loops: woken by state's change feed
//! ```
//! A request handler never calls a node, and nothing here starts a process or touches the network but through the
//! [`machines::MachineHost`] that the binary hands in.

mod access;
pub mod api;
pub mod auth;
pub mod config;
pub mod credentials;
pub mod discovery;
pub mod event_log;
pub mod http;
pub mod identity;
pub mod machines;
mod outgoing;
mod provision;
mod roles;
pub mod tokens;
pub mod trust;
pub mod vault;

mod ca;
mod context;
mod lobby;
mod loops;
mod prices;
mod serve;
mod session;
mod terminals;
mod usage;

pub use api::{ApiError, CoverageRow, coverage};
pub use ca::CaError;
pub use config::{Config, KeyPair, Limits, TlsFiles, WebhookConfig};
pub use context::{Caller, Context, Peer};
pub use identity::Identity;
pub use loops::{
    services::restless,
    webhook::{SIGNATURE_HEADER, WebhookError},
};
pub use provision::Bucket;
pub use serve::{Server, ServerError, serve};
pub use session::{LinkError, PlainLink};
pub use terminals::Terminals;

/// How `agentHash` of instances begins whose agent has a session with us. Others were registered through the API, and
/// nobody here knows whether their agents live.
pub(crate) const AGENT_HASH: &str = "longshore";

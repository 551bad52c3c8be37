//! What happened: container logs and usage, kept in append-only segments; never inside a state transaction.
//!
//! [`usage`] is what was used and what it costs. [`driver`] says what a container's log options mean. Two halves that meet in [`Line`]: [`tail`] reads the raw file a container's shim appends to, on the node, and [`logs`]
//! keeps what it is given, on the server, behind the CloudWatch-Logs-compatible API. Neither knows the network between them:
//! the agent ships at least once and the store drops what it has already kept, which makes the pair exactly-once.

pub mod driver;
pub mod logs;
pub mod outward;
pub mod tail;
pub mod usage;

mod frame;
mod line;
pub use line::Line;

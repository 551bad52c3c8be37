//! Keeps what was decided: commands in, snapshots and a change feed out, a durable log below.
//!
//! All state is in memory, in typed tables whose snapshots cost one reference count. One writer, on a thread of its own,
//! applies commands in the order in which they come, makes each group durable before it answers, and then publishes.
//! Nothing on a request's path asks the storage engine anything. What is deliberately absent: time, ids and chance
//! (commands carry them), AWS's wire types, and any query language.
//!
//! ```text
//! command -> queue -> apply (checks again, changes a draft) -> backend (fsync) -> publish -> answer, wake subscribers
//! ```

pub mod audit;
mod audit_discovery;
mod audit_iam;
mod audit_network;
mod audit_services;
mod audit_tasks;
mod audit_vault;
pub mod backend;
pub mod command;
pub mod feed;
pub mod maintain;
pub mod memory;
pub mod snapshot;
pub mod sqlite;
pub mod store;

mod apply;
mod change;
mod draft;
mod intern;
mod load;
mod record;
mod wal;
mod writer;

pub use backend::{Backend, BackendError};
pub use command::{
    Basis, Command, DiscoveryChange, IamChange, IdempotencyToken, NetworkChange, Outcome, Rejected, Resource,
    ScalingChange, ServiceChange, VaultChange,
};
pub use feed::{Closed, Subscription, Topic};
pub use maintain::{MaintainError, Report, backup, check, is_in_use, restore};
pub use memory::Memory;
pub use record::{Corrupt, Kind};
pub use snapshot::{
    ClusterChanges, ClusterRow, Counts, DefinitionRow, Desire, FamilyRow, InstanceRow, News, Order, PublicHolder,
    ScopeRow, Seen, ServiceRow, Snapshot, TaskFilter, TokenRecord,
};
pub use sqlite::Sqlite;
pub use store::{ChangedPage, ChangedRecord, CommitError, Committed, OpenError, Stats, Store, Witness};

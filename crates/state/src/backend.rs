//! What a storage engine must do for us: four methods, because a second engine (etcd) follows the first. The other two have
//! an answer for engines that know no better one.
//!
//! An engine keeps records, the latest of each key, in the order of their revisions, and the epoch of the one process
//! that may write. It knows nothing of what the records mean.

use crate::record::Kind;
use std::{path::PathBuf, sync::Arc};

/// A record as an engine keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Counts every record ever written; later is higher.
    pub revision: u64,
    /// Which table.
    pub kind: Kind,
    /// Its key within the table.
    pub key: String,
    /// The encoded record; `None` says that it was removed.
    pub value: Option<String>,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which table.
    pub kind: Kind,
    /// The key within the table.
    pub key: String,
    /// The encoded record; `None` removes it.
    pub value: Option<String>,
}

/// What becomes durable together. No key occurs twice.
pub type Batch = Vec<Change>;

/// Why an engine could not do what was asked. After any of these nothing of the batch is kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackendError {
    /// No space is left.
    #[error("the state store's disk is full: {0}")]
    Full(Arc<str>),
    /// Another process leads now; this one must not write any more.
    #[error("another server has taken over this state store")]
    Fenced,
    /// Another process has the store open.
    #[error("the state store in {0} is in use by another longshore server")]
    InUse(PathBuf),
    /// What is stored is damaged or not ours.
    #[error("{0}")]
    Corrupt(Arc<str>),
    /// The engine, or the disk below it, failed.
    #[error("the state store failed: {0}")]
    Failed(Arc<str>),
}

/// Takes the records that an engine hands over. An error ends the handing over.
pub type Sink<'a> = &'a mut dyn FnMut(Stored) -> Result<(), BackendError>;

/// A storage engine.
pub trait Backend: Send {
    /// Becomes the one that writes and returns the new epoch, higher than any before.
    fn lead(&mut self) -> Result<u64, BackendError>;

    /// Hands over the latest record of every key, in any order, and returns the latest revision.
    fn load(&mut self, sink: Sink<'_>) -> Result<u64, BackendError>;

    /// Makes the batch durable, all or nothing, unless `epoch` is no longer the latest; returns the revision of its last
    /// record. Only when this has returned is anything answered.
    fn commit(&mut self, batch: &Batch, epoch: u64) -> Result<u64, BackendError>;

    /// Hands over, in order, every record with a revision above `from`, removals among them: what a follower needs.
    /// A key that changed several times comes once, as it is now.
    fn tail(&mut self, from: u64, sink: Sink<'_>) -> Result<u64, BackendError>;

    /// As [`Backend::tail`] but without removals, and so from any revision, however long ago: what is new to somebody who
    /// knew all up to `from`.
    fn newer(&mut self, from: u64, sink: Sink<'_>) -> Result<u64, BackendError> {
        self.tail(from, &mut |stored| if stored.value.is_some() { sink(stored) } else { Ok(()) })
    }

    /// The directory in which the engine keeps a SQLite store, for backups while it runs; not every engine has one.
    fn directory(&self) -> Option<PathBuf> {
        None
    }
}

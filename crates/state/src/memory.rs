//! An engine that keeps nothing: for tests and the simulator. Clones share what they hold, so a test can "restart".

use crate::{
    backend::{Backend, BackendError, Batch, Sink, Stored},
    record::Kind,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// Records in memory.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    epoch: u64,
    revision: u64,
    records: BTreeMap<(Kind, String), (u64, Option<String>)>,
}

impl Memory {
    /// A copy of what is held, which from now on goes its own way.
    pub fn peek(&self) -> Self {
        let inner = self.inner();
        let (epoch, revision, records) = (inner.epoch, inner.revision, inner.records.clone());
        Self(Arc::new(Mutex::new(Inner { epoch, revision, records })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing in this module panics while it holds the lock")
    }
}

impl Backend for Memory {
    fn lead(&mut self) -> Result<u64, BackendError> {
        let mut inner = self.inner();
        inner.epoch += 1;
        Ok(inner.epoch)
    }

    fn load(&mut self, sink: Sink<'_>) -> Result<u64, BackendError> {
        self.tail(0, &mut |stored| if stored.value.is_some() { sink(stored) } else { Ok(()) })
    }

    fn commit(&mut self, batch: &Batch, epoch: u64) -> Result<u64, BackendError> {
        let mut inner = self.inner();
        if inner.epoch != epoch {
            return Err(BackendError::Fenced);
        }
        for change in batch {
            inner.revision += 1;
            let revision = inner.revision;
            inner.records.insert((change.kind, change.key.clone()), (revision, change.value.clone()));
        }
        Ok(inner.revision)
    }

    fn tail(&mut self, from: u64, sink: Sink<'_>) -> Result<u64, BackendError> {
        let inner = self.inner();
        let mut changed: Vec<_> = inner.records.iter().filter(|(_, (revision, _))| *revision > from).collect();
        changed.sort_by_key(|(_, (revision, _))| *revision);
        for ((kind, key), (revision, value)) in changed {
            sink(Stored { revision: *revision, kind: *kind, key: key.clone(), value: value.clone() })?;
        }
        Ok(inner.revision)
    }
}

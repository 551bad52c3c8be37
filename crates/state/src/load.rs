//! From stored records to a snapshot. Owners come before what belongs to them; derived counts are made anew.

use crate::{
    backend::{Backend, BackendError, Stored},
    intern::Interner,
    record::Record,
    snapshot::{Orphan, Snapshot},
};

/// Loads everything; what does not decode or has no owner is damage.
pub(crate) fn load(backend: &mut dyn Backend) -> Result<(Snapshot, Interner), BackendError> {
    let mut loading = Loading::default();
    let revision = backend.load(&mut |stored| loading.take(&stored))?;
    let (mut snapshot, interner) =
        loading.build().map_err(|orphan| BackendError::Corrupt(orphan.to_string().into()))?;
    snapshot.revision = revision;
    Ok((snapshot, interner))
}

/// Records waiting until their owners are there.
#[derive(Default)]
pub(crate) struct Loading {
    snapshot: Snapshot,
    interner: Interner,
    /// Definitions wait for their family's counter.
    definitions: Vec<Record>,
    instances: Vec<Record>,
    tasks: Vec<Record>,
}

impl Loading {
    pub(crate) fn take(&mut self, stored: &Stored) -> Result<(), BackendError> {
        let Some(value) = &stored.value else { return Ok(()) };
        let record = Record::decode(stored.kind, &stored.key, value);
        self.add(record.map_err(|corrupt| BackendError::Corrupt(corrupt.to_string().into()))?);
        Ok(())
    }

    pub(crate) fn add(&mut self, record: Record) {
        match record {
            Record::Cluster(cluster) => {
                self.interner.cluster(&cluster);
                self.snapshot.put_cluster(cluster);
            }
            Record::Family(f) => self.snapshot.put_family(&f.scope, &f.family, f.last_revision),
            Record::Token(token) => self.snapshot.put_token(token),
            Record::Setting(s) => self.snapshot.put_setting(&s.scope, s.setting),
            Record::Machine(machine) => self.snapshot.put_machine(machine),
            Record::Activation(activation) => self.snapshot.put_activation(activation),
            Record::TaskDefinition(_) => self.definitions.push(record),
            Record::ContainerInstance(_) => self.instances.push(record),
            Record::Task(task) => {
                let task = std::sync::Arc::unwrap_or_clone(task);
                self.tasks.push(Record::Task(self.interner.task(task).into()));
            }
        }
    }

    pub(crate) fn build(mut self) -> Result<(Snapshot, Interner), Orphan> {
        for record in self.definitions.into_iter().chain(self.instances).chain(self.tasks) {
            match record {
                Record::TaskDefinition(definition) => self.snapshot.put_definition(definition)?,
                Record::ContainerInstance(instance) => self.snapshot.put_instance(instance)?,
                Record::Task(task) => self.snapshot.put_task(task)?,
                Record::Cluster(_)
                | Record::Family(_)
                | Record::Token(_)
                | Record::Setting(_)
                | Record::Machine(_)
                | Record::Activation(_) => {}
            }
        }
        Ok((self.snapshot, self.interner))
    }
}

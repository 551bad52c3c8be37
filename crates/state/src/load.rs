//! From stored records to a snapshot. Owners come before what belongs to them; derived counts are made anew.
//!
//! Nearly all of a large store is tasks, and nearly all of a start is decoding them: one thread reads, the others decode.

use crate::{
    backend::{Backend, BackendError, Stored},
    intern::Interner,
    record::Record,
    snapshot::{Orphan, Snapshot},
};
use model::Task;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

/// Records that are handed over together: so many that handing over costs nothing beside decoding, and a few hundred KiB.
const CHUNK: usize = 512;
/// Chunks that may wait for a decoder: enough that none waits for the reader, and some MiB at most.
const WAITING: usize = 16;
/// Decoders at most: the reader, which checks every record's CRC, keeps no more than this many busy.
const DECODERS: usize = 4;

/// Loads everything; what does not decode or has no owner is damage.
pub(crate) fn load(backend: &mut dyn Backend) -> Result<(Snapshot, Interner), BackendError> {
    let decoders = thread::available_parallelism().map_or(1, usize::from).min(DECODERS);
    let (sender, receiver) = sync_channel(WAITING);
    let receiver = Arc::new(Mutex::new(receiver));
    let (read, decoded) = thread::scope(|scope| {
        let decoders: Vec<_> = (0..decoders)
            .map(|_| {
                let receiver = receiver.clone();
                scope.spawn(move || decode(&receiver))
            })
            .collect();
        // Only the decoders hold it from here on: when all of them have failed, handing over fails.
        drop(receiver);
        let read = read(backend, sender);
        let decoded: Vec<_> = decoders.into_iter().map(|d| d.join().expect("decoding does not panic")).collect();
        (read, decoded)
    });
    let mut loading = Loading::default();
    // A decoder's complaint comes first: that nobody takes records any more is only what follows from it.
    for part in decoded {
        loading.append(part?);
    }
    let revision = read?;
    let (mut snapshot, interner) =
        loading.build().map_err(|orphan| BackendError::Corrupt(orphan.to_string().into()))?;
    snapshot.revision = revision;
    Ok((snapshot, interner))
}

fn read(backend: &mut dyn Backend, decoders: SyncSender<Vec<Stored>>) -> Result<u64, BackendError> {
    let gone = || BackendError::Failed("reading it was given up".into());
    let mut chunk = Vec::with_capacity(CHUNK);
    let revision = backend.load(&mut |stored| {
        chunk.push(stored);
        if chunk.len() < CHUNK {
            return Ok(());
        }
        decoders.send(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK))).map_err(|_| gone())
    })?;
    decoders.send(chunk).map_err(|_| gone())?;
    // They end when nobody can send to them any more.
    drop(decoders);
    Ok(revision)
}

/// Decodes until nothing more comes. Texts are shared among what one decoder saw, which leaves a copy per decoder.
fn decode(chunks: &Mutex<Receiver<Vec<Stored>>>) -> Result<Loading, BackendError> {
    let mut loading = Loading::default();
    loop {
        let next = chunks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(chunk) = next else { return Ok(loading) };
        for stored in chunk {
            let Some(value) = &stored.value else { continue };
            let record = Record::decode(stored.kind, &stored.key, value);
            loading.add(record.map_err(|corrupt| BackendError::Corrupt(corrupt.to_string().into()))?);
        }
    }
}

/// Records waiting until their owners are there.
#[derive(Default)]
pub(crate) struct Loading {
    interner: Interner,
    tasks: Vec<Arc<Task>>,
    others: Vec<Record>,
}

impl Loading {
    pub(crate) fn add(&mut self, record: Record) {
        match record {
            Record::Task(task) => {
                let task = Arc::unwrap_or_clone(task);
                self.tasks.push(Arc::new(self.interner.task(task)));
            }
            Record::Cluster(_)
            | Record::Family(_)
            | Record::TaskDefinition(_)
            | Record::ContainerInstance(_)
            | Record::Token(_)
            | Record::Setting(_)
            | Record::Machine(_)
            | Record::Activation(_)
            | Record::Service(_)
            | Record::ServiceRevision(_)
            | Record::ServiceDeployment(_)
            | Record::ServiceEvent(_)
            | Record::Network(_)
            | Record::NetworkPart(_)
            | Record::Discovery(_)
            | Record::DiscoveryPart(_)
            | Record::Vault(_)
            | Record::VaultPart(_)
            | Record::LaunchTemplate(_)
            | Record::AutoScalingGroup(_)
            | Record::CapacityProvider(_)
            | Record::Iam(_)
            | Record::IamPart(_) => self.others.push(record),
        }
    }

    fn append(&mut self, mut other: Self) {
        self.interner = other.interner;
        self.tasks.append(&mut other.tasks);
        self.others.append(&mut other.others);
    }

    pub(crate) fn build(mut self) -> Result<(Snapshot, Interner), Orphan> {
        let mut snapshot = Snapshot::default();
        // Kinds are in the order in which one owns the other.
        self.others.sort_by_key(Record::kind);
        for record in self.others {
            match record {
                Record::Cluster(cluster) => {
                    self.interner.cluster(&cluster);
                    snapshot.put_cluster(cluster);
                }
                Record::Family(f) => snapshot.put_family(&f.scope, &f.family, f.last_revision),
                Record::TaskDefinition(definition) => snapshot.put_definition(definition)?,
                Record::ContainerInstance(instance) => snapshot.put_instance(instance)?,
                Record::Task(task) => snapshot.put_task(task)?,
                Record::Token(token) => snapshot.put_token(token),
                Record::Setting(s) => snapshot.put_setting(&s.scope, s.setting),
                Record::Machine(machine) => snapshot.put_machine(machine),
                Record::Activation(activation) => snapshot.put_activation(activation),
                Record::Service(service) => snapshot.put_service(&service)?,
                Record::ServiceRevision(revision) => snapshot.put_service_revision(revision)?,
                Record::ServiceDeployment(deployment) => snapshot.put_service_deployment(deployment)?,
                Record::ServiceEvent(event) => snapshot.put_service_event(&event)?,
                Record::Network(network) => snapshot.put_network(&network.scope, network.version),
                Record::NetworkPart(part) => snapshot.put_network_part(part),
                Record::Discovery(r) => snapshot.put_discovery(&r.scope, r.version),
                Record::DiscoveryPart(part) => snapshot.put_discovery_part(part),
                Record::Vault(r) => snapshot.put_vault(&r.scope, r.version),
                Record::VaultPart(part) => snapshot.put_vault_part(part),
                Record::LaunchTemplate(template) => snapshot.put_launch_template(template),
                Record::AutoScalingGroup(group) => snapshot.put_scaling_group(group),
                Record::CapacityProvider(provider) => snapshot.put_capacity_provider(provider),
                Record::Iam(r) => snapshot.put_directory(&r.account, r.version),
                Record::IamPart(part) => snapshot.put_directory_part(part),
            }
        }
        snapshot.put_loaded_tasks(self.tasks)?;
        Ok((snapshot, self.interner))
    }
}

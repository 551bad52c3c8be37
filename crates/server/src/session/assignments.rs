//! What an instance shall hold, as messages: all of it first, then what has changed.

use link::{AssignedInterface, AssignedVolume, Assignment, Assignments};
use model::{
    ContainerInstanceArn, GpuId, LogMode, Phase, SettingName, Task, TaskArn, TaskDefinitionArn, TaskDefinitionSpec,
};
use state::Snapshot;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// The assignment of one task.
fn assignment(snapshot: &Snapshot, task: &Task, log_mode: LogMode) -> Assignment {
    Assignment {
        task: task.arn.clone(),
        definition: task.definition.clone(),
        overrides: task.overrides.clone(),
        desired: task.desired.clone(),
        group: task.group.clone(),
        container_ids: task.containers.iter().map(|c| (c.name.clone(), c.arn.id.clone())).collect(),
        log_mode,
        image_digests: pinned(task),
        interface: interface(snapshot, task),
        ephemeral_storage_gib: task.ephemeral_storage_gib,
        volume: task.volume.as_ref().map(|volume| AssignedVolume {
            name: volume.configuration.name.clone(),
            size_gib: volume.configuration.size_gib,
        }),
        gpus: gpus(snapshot, task),
        launch_type: Some(task.launch_type),
    }
}

/// The GPUs that are its containers' own.
fn gpus(snapshot: &Snapshot, task: &Task) -> BTreeMap<Arc<str>, Vec<GpuId>> {
    let definition = snapshot.task_definition(&task.definition).filter(|_| !task.reservation.gpu_ids.is_empty());
    definition.map(|d| d.spec.gpus_of(&task.overrides, &task.reservation.gpu_ids)).unwrap_or_default()
}

/// The task's network interface. Its subnet cannot go as long as it lives.
fn interface(snapshot: &Snapshot, task: &Task) -> Option<AssignedInterface> {
    let attachment = task.attachment.as_ref()?;
    let network = snapshot.network(&task.arn.cluster.scope)?;
    let (subnet, vpc) = (network.subnet(&attachment.subnet)?, network.vpc(&attachment.vpc)?);
    Some(AssignedInterface {
        id: attachment.interface.clone(),
        vpc: attachment.vpc.clone(),
        address: attachment.address,
        subnet: subnet.cidr,
        mac: attachment.mac.clone(),
        resolver: vpc.dns_support.then(|| vpc.resolver()),
    })
}

/// The digests a task was made with. Those that its agent found out are its own already; an agent looks at an assignment once.
fn pinned(task: &Task) -> BTreeMap<Arc<str>, Arc<str>> {
    match task.phase {
        Phase::Pending => {
            let containers = task.containers.iter();
            containers.filter_map(|c| Some((c.name.clone(), c.image_digest.clone()?))).collect()
        }
        Phase::Running | Phase::Stopping { .. } | Phase::Stopped { .. } => BTreeMap::new(),
    }
}

/// What the account has chosen for log drivers. AWS: a task keeps the mode it was started with, as it does here, because an
/// agent looks at an assignment once.
fn log_mode(snapshot: &Snapshot, instance: &ContainerInstanceArn) -> LogMode {
    let chosen = snapshot.setting(&instance.cluster.scope, SettingName::DefaultLogDriverMode, None);
    chosen.and_then(|setting| LogMode::parse(&setting.value)).unwrap_or_default()
}

/// What an agent has been told in its session.
#[derive(Default)]
pub(super) struct Told {
    generation: Option<u64>,
    tasks: HashMap<TaskArn, Held>,
    images: Vec<Arc<str>>,
}

/// A task as it was when last looked at, and in which look.
struct Held {
    task: Arc<Task>,
    look: u64,
}

impl Told {
    /// What the agent is to be told now: first all, then what has changed, and `None` if it is told nothing new. An agent looks
    /// at what a task is made of once, so a task that has been told is told again only when it is to stop.
    pub(super) fn news(
        &mut self,
        snapshot: &Snapshot,
        instance: &ContainerInstanceArn,
        epoch: u64,
        images: &[Arc<str>],
    ) -> Option<Assignments> {
        let look = snapshot.revision();
        let (mut changed, mut count) = (Vec::new(), 0);
        for task in snapshot.live_tasks_on(instance) {
            count += 1;
            match self.tasks.get_mut(&task.arn) {
                Some(held) => {
                    if !Arc::ptr_eq(&held.task, task) {
                        if held.task.desired != task.desired {
                            changed.push(task);
                        }
                        held.task = task.clone();
                    }
                    held.look = look;
                }
                None => {
                    self.tasks.insert(task.arn.clone(), Held { task: task.clone(), look });
                    changed.push(task);
                }
            }
        }
        let mut gone = Vec::new();
        if count != self.tasks.len() {
            gone.extend(self.tasks.extract_if(|_, held| held.look != look).map(|(arn, _)| arn));
        }
        if self.generation.is_some() && changed.is_empty() && gone.is_empty() && self.images == images {
            return None;
        }
        self.images = images.to_vec();
        let mode = log_mode(snapshot, instance);
        let tasks: Vec<_> = changed.into_iter().map(|task| assignment(snapshot, task, mode)).collect();
        let since = self.generation.replace(look);
        let definitions = definitions(snapshot, &tasks);
        Some(Assignments { epoch, generation: look, since, definitions, tasks, gone, images: images.to_vec() })
    }
}

/// The definitions that these tasks name. One cannot go while a live task uses it, so each is there.
fn definitions(snapshot: &Snapshot, tasks: &[Assignment]) -> Vec<(TaskDefinitionArn, Arc<TaskDefinitionSpec>)> {
    let named: BTreeSet<_> = tasks.iter().map(|task| &task.definition).collect();
    let known = |arn: &TaskDefinitionArn| Some((arn.clone(), snapshot.task_definition(arn)?.spec.clone()));
    named.into_iter().filter_map(known).collect()
}

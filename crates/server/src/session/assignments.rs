//! What an instance shall hold, as one message.

use link::{AssignedInterface, Assignment, Assignments};
use model::{ContainerInstanceArn, LogMode, Phase, SettingName, Task, TaskDefinitionArn};
use state::Snapshot;
use std::{collections::BTreeMap, sync::Arc};

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
    }
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

/// All tasks that have not been reported stopped (and no images), with the definitions they name. A definition cannot go while a live
/// task uses it, so each is there.
pub(crate) fn of(snapshot: &Snapshot, instance: &ContainerInstanceArn, epoch: u64) -> Assignments {
    let log_mode = log_mode(snapshot, instance);
    let tasks: Vec<_> = snapshot.live_tasks_on(instance).map(|task| assignment(snapshot, task, log_mode)).collect();
    let mut definitions: BTreeMap<&TaskDefinitionArn, _> = BTreeMap::new();
    for task in &tasks {
        if let Some(definition) = snapshot.task_definition(&task.definition) {
            definitions.insert(&task.definition, definition.spec.clone());
        }
    }
    let definitions = definitions.into_iter().map(|(arn, spec)| (arn.clone(), spec)).collect();
    Assignments { epoch, generation: snapshot.revision(), definitions, tasks, images: Vec::new() }
}

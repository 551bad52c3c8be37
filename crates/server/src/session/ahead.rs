//! The images that an instance of the Fargate pool fetches before a task needs them: those of the definitions that tasks are
//! likely to be started from next. Pure.

use model::{Compatibility, ContainerInstanceArn, CpuArchitecture, Pool, TaskDefinitionSpec, TaskDefinitionStatus};
use state::{DefinitionRow, Snapshot};
use std::{cmp::Reverse, collections::HashSet, sync::Arc};

/// Images in all: what a machine keeps unasked must not fill its disk, and the wanted ones come first.
const IMAGES: usize = 20;
/// Revisions of a family that are looked at, from the newest on: services may lag some behind it.
const REVISIONS: usize = 16;

/// Most wanted first: what services and tasks use now, then what was registered last. Empty for other instances.
pub(super) fn of(snapshot: &Snapshot, instance: &ContainerInstanceArn) -> Vec<Arc<str>> {
    match Pool::of(&instance.cluster) {
        Pool::Cluster => return Vec::new(),
        Pool::Fargate => {}
    }
    let architecture = snapshot.instance(instance).and_then(|row| row.instance.attribute("ecs.cpu-architecture"));
    let wanted = |row: &&DefinitionRow| {
        row.definition.status == TaskDefinitionStatus::Active && fits(&row.definition.spec, architecture)
    };
    let mut rows: Vec<&DefinitionRow> = Vec::new();
    for (_, family) in snapshot.families(&instance.cluster.scope, None) {
        let newest = family.revisions().rev().take(REVISIONS).filter(wanted).enumerate();
        rows.extend(newest.filter(|(at, row)| *at == 0 || row.services > 0).map(|(_, row)| row));
    }
    rows.sort_by_key(|row| (row.services == 0 && row.live_tasks == 0, Reverse(row.definition.registered_at)));
    let mut seen = HashSet::new();
    let containers = rows.iter().flat_map(|row| &row.definition.spec.containers);
    // What needs credentials is fetched with those of a task that needs it.
    let images = containers.filter(|c| c.repository_credentials.is_none()).map(|c| c.image.as_str());
    images.filter(|image| seen.insert(*image)).take(IMAGES).map(Arc::from).collect()
}

/// Whether it was made for Fargate, on such a processor.
fn fits(spec: &TaskDefinitionSpec, architecture: Option<&str>) -> bool {
    let named = spec.runtime_platform.as_ref().and_then(|platform| platform.cpu_architecture.as_deref());
    let needs = named.unwrap_or(CpuArchitecture::default().as_str());
    spec.requires_compatibilities.contains(&Compatibility::Fargate)
        && architecture.is_none_or(|has| has.eq_ignore_ascii_case(needs))
}

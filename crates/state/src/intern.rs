//! One copy of each text that many tasks share: names, images, zones, reasons, ARNs of clusters and definitions.
//!
//! A million stored tasks are mostly the same few texts. Each set is emptied when it has grown past its bound, which
//! costs some sharing and never correctness.

use model::{Cluster, ClusterArn, ContainerInstanceId, Desired, Phase, Stop, Task, TaskDefinitionArn};
use std::{collections::HashSet, hash::Hash, sync::Arc};

/// Distinct values kept for sharing, per set: some megabytes at most, and more than a cluster's worth of images.
const BOUND: usize = 50_000;

#[derive(Default)]
pub(crate) struct Interner {
    texts: HashSet<Arc<str>>,
    clusters: HashSet<ClusterArn>,
    definitions: HashSet<TaskDefinitionArn>,
    instances: HashSet<ContainerInstanceId>,
}

fn share<T: Eq + Hash + Clone>(known: &mut HashSet<T>, value: &mut T) {
    if let Some(same) = known.get(value) {
        *value = same.clone();
        return;
    }
    if known.len() >= BOUND {
        known.clear();
    }
    known.insert(value.clone());
}

impl Interner {
    pub(crate) fn cluster(&mut self, cluster: &Cluster) {
        self.clusters.insert(cluster.arn.clone());
    }

    /// The task, made of shared parts.
    pub(crate) fn task(&mut self, mut task: Task) -> Task {
        share(&mut self.clusters, &mut task.arn.cluster);
        share(&mut self.definitions, &mut task.definition);
        if let Some(instance) = &mut task.container_instance {
            share(&mut self.instances, instance);
        }
        share(&mut self.texts, &mut task.group);
        for text in task.availability_zone.iter_mut().chain(&mut task.started_by) {
            share(&mut self.texts, text);
        }
        if let Desired::Stopped(stop) = &mut task.desired {
            self.stop(stop);
        }
        match &mut task.phase {
            Phase::Pending | Phase::Running => {}
            Phase::Stopping { why } | Phase::Stopped { why, .. } => self.stop(why),
        }
        for container in &mut task.containers {
            container.arn.task = task.arn.clone();
            share(&mut self.texts, &mut container.name);
            share(&mut self.texts, &mut container.image);
            for text in container.image_digest.iter_mut().chain(&mut container.reason) {
                share(&mut self.texts, text);
            }
            for binding in &mut container.network_bindings {
                share(&mut self.texts, &mut binding.bind_ip);
            }
        }
        task.containers.shrink_to_fit();
        task
    }

    fn stop(&mut self, stop: &mut Stop) {
        share(&mut self.texts, &mut stop.reason);
    }
}

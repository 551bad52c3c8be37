//! Task sets as clients see them. Counts and the computed count are derived here, as everywhere.

use crate::api::ecs::{
    awsvpc, capacity_providers, fargate,
    services::{int, render::time},
    tags,
};
use model::{External, TaskSet, TaskSetArn};
use shapes::ecs as aws;
use state::ServiceRow;

/// All of a service's, the oldest first.
pub(in super::super) fn all(row: &ServiceRow, external: &External, with_tags: bool) -> Vec<aws::TaskSet> {
    external.sets.iter().map(|set| task_set(row, set, with_tags)).collect()
}

/// One set. Tags are shown when asked for.
pub(super) fn task_set(row: &ServiceRow, set: &TaskSet, with_tags: bool) -> aws::TaskSet {
    let service = &*row.service;
    let counts = row.counts(set.id);
    let (launch_type, strategy) = capacity_providers::shown(&set.spec);
    let arn = TaskSetArn { service: service.arn.clone(), id: set.id };
    aws::TaskSet {
        id: Some(set.id.to_string()),
        task_set_arn: Some(arn.to_string()),
        service_arn: Some(service.arn.to_string()),
        cluster_arn: Some(service.arn.cluster.to_string()),
        external_id: set.external_id.as_deref().map(str::to_owned),
        status: Some(set.status.as_str().to_owned()),
        task_definition: Some(set.spec.task_definition.to_string()),
        computed_desired_count: Some(int(set.computed_desired_count(service.desired_count))),
        pending_count: Some(int(counts.pending)),
        running_count: Some(int(counts.running)),
        created_at: Some(time(set.created_at)),
        updated_at: Some(time(set.updated_at)),
        network_configuration: set.spec.network.as_deref().map(awsvpc::render),
        launch_type,
        capacity_provider_strategy: strategy,
        platform_version: fargate::shown_version(&set.spec),
        platform_family: fargate::family(&set.spec),
        load_balancers: Some(Vec::new()),
        service_registries: Some(Vec::new()),
        scale: Some(aws::Scale { value: Some(set.scale.percent()), unit: Some("PERCENT".to_owned()) }),
        stability_status: Some(if set.steady { "STEADY_STATE" } else { "STABILIZING" }.to_owned()),
        stability_status_at: Some(time(set.steady_at)),
        tags: with_tags.then(|| tags::render(&set.tags)),
        ..aws::TaskSet::default()
    }
}

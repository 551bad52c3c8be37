//! Services and their deployments as clients see them. What is unset is absent; lists and counts stand where AWS shows them.

use super::{connect, int, registries, task_sets};
use crate::api::ecs::{awsvpc, capacity_providers, fargate, managed_volumes, tags};
use model::{
    BreakerStatus, Cleanup, Deployment, DeploymentId, DeploymentRules, PropagateTags, RevisionShare, Service,
    ServiceDeployment, ServiceRevisionArn, ServiceStatus, Threshold,
};
use scheduler::service::blue_green;
use shapes::ecs as aws;
use state::ServiceRow;

pub(super) fn time(at: model::Timestamp) -> ::wire::Timestamp {
    ::wire::Timestamp::from_millis(at.0)
}

/// The whole service. Tags are shown when asked for.
pub(super) fn service(row: &ServiceRow, with_tags: bool) -> aws::Service {
    let service = &*row.service;
    let spec = service.shown_spec();
    let (controller, sets) = match &service.external {
        None => ("ECS", None),
        Some(external) => ("EXTERNAL", Some(task_sets::render::all(row, external, with_tags))),
    };
    let how = How::of(service);
    let (launch_type, strategy) = spec.map(|spec| capacity_providers::shown(spec)).unwrap_or_default();
    let arn = &service.arn;
    let live = match service.status {
        ServiceStatus::Active | ServiceStatus::Draining => &*service.deployments,
        // AWS: what is gone has no deployments any more.
        ServiceStatus::Inactive => &[],
    };
    aws::Service {
        service_arn: Some(arn.to_string()),
        service_name: Some(arn.name.to_string()),
        cluster_arn: Some(arn.cluster.to_string()),
        status: Some(service.status.as_str().to_owned()),
        desired_count: Some(int(service.desired_count)),
        running_count: Some(int(row.running)),
        pending_count: Some(int(row.pending)),
        launch_type,
        capacity_provider_strategy: strategy,
        platform_version: spec.and_then(|spec| fargate::asked_version(spec)),
        platform_family: spec.and_then(|spec| fargate::family(spec)),
        task_definition: spec.map(|spec| spec.task_definition.to_string()),
        deployment_configuration: Some(configuration(&service.rules)),
        deployment_controller: Some(aws::DeploymentController { r#type: Some(controller.to_owned()) }),
        task_sets: sets,
        deployments: Some(live.iter().map(|one| deployment(row, one)).collect()),
        current_service_deployment: live.first().map(|primary| {
            let id = primary.service_deployment.clone();
            model::ServiceDeploymentArn { service: arn.clone(), id }.to_string()
        }),
        current_service_revisions: Some(live.iter().map(|one| revision_now(row, one)).collect()),
        events: Some(row.events().map(|event| self::event(event)).collect()),
        created_at: Some(time(service.created_at)),
        created_by: Some(service.created_by.to_string()),
        placement_constraints: Some(constraints(how.constraints)),
        placement_strategy: Some(placement(how.strategy)),
        scheduling_strategy: Some(service.scheduling.as_str().to_owned()),
        propagate_tags: Some(how.propagate_tags.as_str().to_owned()),
        enable_ecs_managed_tags: Some(how.managed_tags),
        enable_execute_command: Some(service.execute_command),
        availability_zone_rebalancing: Some(if service.az_rebalancing { "ENABLED" } else { "DISABLED" }.to_owned()),
        network_configuration: spec.and_then(|spec| spec.network.as_deref()).map(awsvpc::render),
        health_check_grace_period_seconds: service
            .health_check_grace_seconds
            .and_then(|grace| i32::try_from(grace).ok()),
        load_balancers: Some(Vec::new()),
        service_registries: Some(registries::render(&arn.cluster.scope, spec.map_or(&[], |spec| &spec.registries))),
        tags: with_tags.then(|| tags::render(&service.tags)),
        ..aws::Service::default()
    }
}

/// What the service itself says of its tasks, whoever deploys it.
struct How<'a> {
    constraints: &'a [model::PlacementConstraint],
    strategy: &'a [model::PlacementStrategy],
    propagate_tags: PropagateTags,
    managed_tags: bool,
}

impl<'a> How<'a> {
    fn of(service: &'a Service) -> Self {
        let own = service.spec.as_ref().map(|spec| Self {
            constraints: &spec.placement_constraints,
            strategy: &spec.placement_strategy,
            propagate_tags: spec.propagate_tags,
            managed_tags: spec.managed_tags,
        });
        let external = service.external.as_ref().map(|external| Self {
            constraints: &external.placement_constraints,
            strategy: &external.placement_strategy,
            propagate_tags: external.propagate_tags,
            managed_tags: external.managed_tags,
        });
        let none = Self { constraints: &[], strategy: &[], propagate_tags: PropagateTags::None, managed_tags: false };
        own.or(external).unwrap_or(none)
    }
}

/// How many tasks a deployment is to have: what is asked for, and where nothing is those that are not stopping yet.
fn wanted(row: &ServiceRow, id: DeploymentId) -> u32 {
    let story = row.service.primary().and_then(|primary| row.deployment(&primary.service_deployment));
    match blue_green::requested(&row.service, story.map(|story| &**story), id) {
        0 => {
            let counts = row.counts(id);
            counts.running + counts.pending
        }
        requested => requested,
    }
}

fn deployment(row: &ServiceRow, deployment: &Deployment) -> aws::Deployment {
    let counts = row.counts(deployment.id);
    let primary = row.service.primary().is_some_and(|primary| primary.id == deployment.id);
    let scope = &row.service.arn.cluster.scope;
    let connect = deployment.spec.connect.as_deref();
    let (launch_type, strategy) = capacity_providers::shown(&deployment.spec);
    aws::Deployment {
        id: Some(deployment.id.to_string()),
        status: Some(if primary { "PRIMARY" } else { "ACTIVE" }.to_owned()),
        task_definition: Some(deployment.spec.task_definition.to_string()),
        desired_count: Some(int(wanted(row, deployment.id))),
        pending_count: Some(int(counts.pending)),
        running_count: Some(int(counts.running)),
        failed_tasks: Some(int(deployment.failures.count)),
        created_at: Some(time(deployment.created_at)),
        updated_at: Some(time(deployment.updated_at)),
        launch_type,
        capacity_provider_strategy: strategy,
        platform_version: fargate::shown_version(&deployment.spec),
        platform_family: fargate::family(&deployment.spec),
        network_configuration: deployment.spec.network.as_deref().map(awsvpc::render),
        volume_configurations: deployment.spec.volume.as_deref().map(managed_volumes::of_deployment),
        rollout_state: Some(deployment.rollout.as_str().to_owned()),
        rollout_state_reason: Some(deployment.reason.to_string()),
        service_connect_configuration: connect.map(|connect| connect::render(scope, connect)),
        service_connect_resources: connect.map(|connect| connect::resources(scope, connect)),
        ..aws::Deployment::default()
    }
}

fn revision_now(row: &ServiceRow, deployment: &Deployment) -> aws::ServiceCurrentRevisionSummary {
    let counts = row.counts(deployment.id);
    aws::ServiceCurrentRevisionSummary {
        arn: Some(revision_arn(&row.service, deployment.id)),
        requested_task_count: Some(int(wanted(row, deployment.id))),
        running_task_count: Some(int(counts.running)),
        pending_task_count: Some(int(counts.pending)),
    }
}

fn revision_arn(service: &Service, id: DeploymentId) -> String {
    ServiceRevisionArn { service: service.arn.clone(), id }.to_string()
}

fn event(event: &model::ServiceEvent) -> aws::ServiceEvent {
    aws::ServiceEvent {
        id: Some(event.id.to_string()),
        created_at: Some(time(event.at)),
        message: Some(event.message.to_string()),
    }
}

fn constraints(constraints: &[model::PlacementConstraint]) -> Vec<aws::PlacementConstraint> {
    let shown = |one: &model::PlacementConstraint| aws::PlacementConstraint {
        r#type: Some(one.kind.to_string()),
        expression: one.expression.as_deref().map(str::to_owned),
    };
    constraints.iter().map(shown).collect()
}

fn placement(strategies: &[model::PlacementStrategy]) -> Vec<aws::PlacementStrategy> {
    let shown = |one: &model::PlacementStrategy| aws::PlacementStrategy {
        r#type: Some(one.kind.to_string()),
        field: one.field.as_deref().map(str::to_owned),
    };
    strategies.iter().map(shown).collect()
}

fn configuration(rules: &DeploymentRules) -> aws::DeploymentConfiguration {
    let breaker = rules.breaker;
    let (kind, value) = match breaker.threshold {
        Threshold::Count(value) => ("COUNT", value),
        Threshold::BoundedPercent(value) => ("BOUNDED_PERCENT", value),
        Threshold::UnboundedPercent(value) => ("UNBOUNDED_PERCENT", value),
    };
    let early = rules.early_success.map(|early| aws::DeploymentEarlySuccessCriteria {
        enable: Some(true),
        healthy_percent: Some(int(early.healthy_percent)),
        source_service_revision_cleanup: Some(
            match early.cleanup {
                Cleanup::Blocking => "BLOCKING",
                Cleanup::Deferred => "DEFERRED",
            }
            .to_owned(),
        ),
    });
    aws::DeploymentConfiguration {
        maximum_percent: Some(int(rules.maximum_percent)),
        minimum_healthy_percent: Some(int(rules.minimum_healthy_percent)),
        deployment_circuit_breaker: Some(aws::DeploymentCircuitBreaker {
            enable: Some(breaker.enable),
            rollback: Some(breaker.rollback),
            reset_on_healthy_task: Some(breaker.reset_on_healthy_task),
            threshold_configuration: Some(aws::ThresholdConfiguration {
                r#type: Some(kind.to_owned()),
                value: Some(int(value)),
            }),
        }),
        early_success_criteria: early,
        ..super::strategy::render(&rules.strategy)
    }
}

/// The story of a deployment.
pub(super) fn service_deployment(row: &ServiceRow, story: &ServiceDeployment) -> aws::ServiceDeployment {
    let service = &*row.service;
    aws::ServiceDeployment {
        service_deployment_arn: Some(story.arn.to_string()),
        service_arn: Some(service.arn.to_string()),
        cluster_arn: Some(service.arn.cluster.to_string()),
        created_at: Some(time(story.created_at)),
        started_at: story.started_at.map(time),
        finished_at: story.finished_at.map(time),
        stopped_at: story.stopped_at.map(time),
        updated_at: Some(time(story.updated_at)),
        source_service_revisions: Some(story.sources.iter().map(|share| self::share(row, story, *share)).collect()),
        target_service_revision: Some(share(row, story, story.target)),
        status: Some(story.status.as_str().to_owned()),
        status_reason: story.reason.as_deref().map(str::to_owned),
        deployment_configuration: Some(configuration(&story.rules)),
        lifecycle_stage: story.lifecycle.as_ref().map(|lifecycle| lifecycle.stage.as_str().to_owned()),
        lifecycle_hook_details: super::strategy::render_runs(story),
        rollback: story.rollback.as_ref().map(|rollback| aws::Rollback {
            reason: Some(rollback.reason.to_string()),
            started_at: Some(time(rollback.started_at)),
            service_revision_arn: Some(revision_arn(service, rollback.to)),
        }),
        deployment_circuit_breaker: Some(breaker(service, story)),
        alarms: Some(aws::ServiceDeploymentAlarms {
            status: Some("DISABLED".to_owned()),
            ..aws::ServiceDeploymentAlarms::default()
        }),
    }
}

/// A revision's part in a deployment: as it is now while the deployment goes on, as it was at the end afterwards.
fn share(row: &ServiceRow, story: &ServiceDeployment, share: RevisionShare) -> aws::ServiceRevisionSummary {
    let (requested, running, pending) = if story.status.is_over() {
        (share.requested, share.running, share.pending)
    } else {
        let counts = row.counts(share.id);
        (wanted(row, share.id), counts.running, counts.pending)
    };
    aws::ServiceRevisionSummary {
        arn: Some(revision_arn(&row.service, share.id)),
        requested_task_count: Some(int(requested)),
        running_task_count: Some(int(running)),
        pending_task_count: Some(int(pending)),
        ..aws::ServiceRevisionSummary::default()
    }
}

/// The breaker: what it sees now while it watches, what was written down otherwise.
fn breaker(service: &Service, story: &ServiceDeployment) -> aws::ServiceDeploymentCircuitBreaker {
    let written = story.breaker;
    let (failures, threshold) = match written.status {
        BreakerStatus::Monitoring => (
            service.deployment(story.target.id).map_or(written.failure_count, |deployment| deployment.failures.count),
            story.rules.breaker.threshold.of(service.desired_count),
        ),
        BreakerStatus::Disabled | BreakerStatus::MonitoringComplete | BreakerStatus::Triggered => {
            (written.failure_count, written.threshold)
        }
    };
    aws::ServiceDeploymentCircuitBreaker {
        status: Some(written.status.as_str().to_owned()),
        failure_count: Some(int(failures)),
        threshold: Some(int(threshold)),
    }
}

/// The story of a deployment, in short.
pub(super) fn brief(row: &ServiceRow, story: &ServiceDeployment) -> aws::ServiceDeploymentBrief {
    let service = &*row.service;
    aws::ServiceDeploymentBrief {
        service_deployment_arn: Some(story.arn.to_string()),
        service_arn: Some(service.arn.to_string()),
        cluster_arn: Some(service.arn.cluster.to_string()),
        created_at: Some(time(story.created_at)),
        started_at: story.started_at.map(time),
        finished_at: story.finished_at.map(time),
        target_service_revision_arn: Some(revision_arn(service, story.target.id)),
        status: Some(story.status.as_str().to_owned()),
        status_reason: story.reason.as_deref().map(str::to_owned),
    }
}

//! DescribeServiceRevisions: what was deployed once.

use super::{connect, registries, render::time};
use crate::api::ecs::{capacity_providers, fargate};
use crate::{
    api::{
        ApiError,
        ecs::{awsvpc, managed_volumes, missing},
    },
    context::{Caller, Context},
};
use model::{RevisionImage, ServiceRevision, ServiceRevisionArn};
use shapes::ecs as aws;

/// Revisions of one DescribeServiceRevisions. Source: the model's documentation.
const MAX_DESCRIBED: usize = 20;

pub(crate) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeServiceRevisionsRequest,
) -> Result<aws::DescribeServiceRevisionsResponse, ApiError> {
    let named = request.service_revision_arns.unwrap_or_default();
    if named.is_empty() {
        return Err(ApiError::invalid("Service revision arns cannot be empty."));
    }
    if named.len() > MAX_DESCRIBED {
        return Err(ApiError::invalid("Service revision arns cannot have more than 20 elements."));
    }
    let snapshot = ctx.store.snapshot();
    let (mut revisions, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        let arn: ServiceRevisionArn =
            name.parse().map_err(|_| ApiError::invalid(format!("Invalid service revision arn: {name}")))?;
        let row = snapshot.service(&arn.service).filter(|_| arn.service.cluster.scope == caller.scope);
        match row.and_then(|row| row.revision(arn.id)) {
            Some(revision) => revisions.push(render(revision)),
            None => failures.push(missing(name)),
        }
    }
    Ok(aws::DescribeServiceRevisionsResponse { service_revisions: Some(revisions), failures: Some(failures) })
}

fn render(revision: &ServiceRevision) -> aws::ServiceRevision {
    let image = |image: &RevisionImage| aws::ContainerImage {
        container_name: Some(image.container.to_string()),
        image: Some(image.image.to_string()),
        image_digest: image.digest.as_deref().map(str::to_owned),
    };
    let service = &revision.arn.service;
    let (launch_type, strategy) = capacity_providers::shown(&revision.spec);
    aws::ServiceRevision {
        service_revision_arn: Some(revision.arn.to_string()),
        service_arn: Some(service.to_string()),
        cluster_arn: Some(service.cluster.to_string()),
        task_definition: Some(revision.spec.task_definition.to_string()),
        launch_type,
        capacity_provider_strategy: strategy,
        platform_version: fargate::shown_version(&revision.spec),
        platform_family: fargate::family(&revision.spec),
        network_configuration: revision.spec.network.as_deref().map(awsvpc::render),
        volume_configurations: revision.spec.volume.as_deref().map(managed_volumes::of_deployment),
        container_images: Some(revision.images.iter().map(image).collect()),
        guard_duty_enabled: Some(false),
        load_balancers: Some(Vec::new()),
        service_registries: Some(registries::render(&service.cluster.scope, &revision.spec.registries)),
        created_at: Some(time(revision.created_at)),
        service_connect_configuration: revision
            .spec
            .connect
            .as_deref()
            .map(|connect| connect::render(&service.cluster.scope, connect)),
        ..aws::ServiceRevision::default()
    }
}

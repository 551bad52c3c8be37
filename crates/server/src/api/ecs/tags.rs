//! Tags: on clusters, services, task definitions, container instances and tasks.

use super::{auto_scaling_providers, preference};
use crate::api::ApiError;
use crate::api::honoured::{Row, row};
use crate::context::{Caller, Context};
use model::{ClusterArn, ClusterStatus, ServiceStatus, Tags};
use shapes::ecs as aws;
use state::{Command, Resource, Snapshot};

pub(crate) const HONOURED: &[Row] = &[
    row("TagResource", &["resourceArn", "tags.*"]),
    row("UntagResource", &["resourceArn", "tagKeys"]),
    row("ListTagsForResource", &["resourceArn"]),
];

/// Takes a request's tags.
pub(crate) fn parse(given: Option<Vec<aws::Tag>>) -> Result<Tags, ApiError> {
    let pairs = given.unwrap_or_default().into_iter();
    let pairs = pairs.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    Tags::parse(pairs).map_err(|error| ApiError::invalid(error.to_string()))
}

/// Tags in AWS's form.
pub(crate) fn render(tags: &Tags) -> Vec<aws::Tag> {
    tags.0.iter().map(|(key, value)| aws::Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

pub(crate) async fn tag(
    ctx: &Context,
    caller: &Caller,
    request: aws::TagResourceRequest,
) -> Result<aws::TagResourceResponse, ApiError> {
    let (resource, _) = find(&ctx.store.snapshot(), caller, request.resource_arn.as_deref())?;
    let tags = match &resource {
        Resource::Cluster(_) => preference::tags_in(request.tags)?,
        Resource::Service(_)
        | Resource::CapacityProvider { .. }
        | Resource::LaunchTemplate { .. }
        | Resource::TaskDefinition(_)
        | Resource::ContainerInstance(_)
        | Resource::Task(_)
        | Resource::Machine { .. } => parse(request.tags)?,
    };
    ctx.store.commit(Command::TagResource { resource, tags }).await?;
    Ok(aws::TagResourceResponse::default())
}

pub(crate) async fn untag(
    ctx: &Context,
    caller: &Caller,
    request: aws::UntagResourceRequest,
) -> Result<aws::UntagResourceResponse, ApiError> {
    let (resource, _) = find(&ctx.store.snapshot(), caller, request.resource_arn.as_deref())?;
    let keys = request.tag_keys.unwrap_or_default();
    if let Some(key) = keys.iter().find(|key| key.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("aws:"))) {
        let text = format!("Tag keys that start with 'aws:' are reserved for internal use: '{key}'.");
        return Err(ApiError::invalid(text));
    }
    ctx.store.commit(Command::UntagResource { resource, keys }).await?;
    Ok(aws::UntagResourceResponse::default())
}

pub(crate) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListTagsForResourceRequest,
) -> Result<aws::ListTagsForResourceResponse, ApiError> {
    let (_, tags) = find(&ctx.store.snapshot(), caller, request.resource_arn.as_deref())?;
    Ok(aws::ListTagsForResourceResponse { tags: Some(render(&tags)) })
}

/// The resource that an ARN names, and its tags.
fn find(snapshot: &Snapshot, caller: &Caller, arn: Option<&str>) -> Result<(Resource, Tags), ApiError> {
    let text = arn.unwrap_or_default();
    let kind = text.splitn(6, ':').nth(5).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let invalid = || ApiError::invalid(format!("Invalid ARN: {text}"));
    match kind {
        "cluster" => {
            let arn: ClusterArn = text.parse().map_err(|_| invalid())?;
            let row = snapshot.cluster(&arn).filter(|_| arn.scope == caller.scope);
            let cluster = &row.ok_or_else(ApiError::cluster_not_found)?.cluster;
            match cluster.status {
                ClusterStatus::Active => Ok((Resource::Cluster(arn), cluster.tags.clone())),
                ClusterStatus::Inactive => Err(ApiError::invalid(
                    "The specified cluster is inactive. Specify an active cluster and try again.",
                )),
            }
        }
        "task-definition" => {
            let arn: model::TaskDefinitionArn = text.parse().map_err(|_| invalid())?;
            let found = snapshot.task_definition(&arn).filter(|_| arn.scope == caller.scope);
            let tags = found.ok_or_else(|| not_found("task definition"))?.tags.clone();
            Ok((Resource::TaskDefinition(arn), tags))
        }
        "container-instance" => {
            let arn: model::ContainerInstanceArn = text.parse().map_err(|_| invalid())?;
            let found = snapshot.instance(&arn).filter(|_| arn.cluster.scope == caller.scope);
            let tags = found.ok_or_else(|| not_found("container instance"))?.instance.tags.clone();
            Ok((Resource::ContainerInstance(arn), tags))
        }
        "service" => {
            // AWS: the short form of old accounts does not do here.
            let arn: model::ServiceArn =
                text.parse().map_err(|_| ApiError::invalid("Long arn format must be used for tagging operations"))?;
            let found = snapshot.service(&arn).filter(|_| arn.cluster.scope == caller.scope);
            let service = &found.ok_or_else(|| not_found("service"))?.service;
            match service.status {
                ServiceStatus::Active | ServiceStatus::Draining => Ok((Resource::Service(arn), service.tags.clone())),
                ServiceStatus::Inactive => Err(ApiError::invalid(
                    "The specified service is inactive. Specify an active service and try again.",
                )),
            }
        }
        "task" => {
            let arn: model::TaskArn = text.parse().map_err(|_| invalid())?;
            let found = snapshot.task(&arn).filter(|_| arn.cluster.scope == caller.scope);
            let tags = found.ok_or_else(|| not_found("task"))?.tags.clone();
            Ok((Resource::Task(arn), tags))
        }
        "capacity-provider" => {
            let known = auto_scaling_providers::find(snapshot, caller, text)?;
            let resource = Resource::CapacityProvider { scope: caller.scope.clone(), name: known.name.clone() };
            Ok((resource, known.tags.clone()))
        }
        "" => Err(invalid()),
        other => Err(ApiError::invalid(format!("Longshore has no resources of the kind '{other}' yet: {text}"))),
    }
}

fn not_found(what: &str) -> ApiError {
    ApiError::invalid(format!("The specified {what} is not found. Specify a valid {what} and try again."))
}

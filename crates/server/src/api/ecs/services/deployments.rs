//! DescribeServiceDeployments and ListServiceDeployments: the stories of deployments, the newest first.

use super::{find, render};
use crate::{
    api::{
        ApiError,
        ecs::missing,
        paging::{Pages, invalid_token, limit_or},
    },
    context::{Caller, Context},
};
use model::{ServiceDeployment, ServiceDeploymentArn, Timestamp};
use shapes::ecs as aws;
use std::sync::Arc;

/// Deployments of one DescribeServiceDeployments. Source: the model's documentation.
const MAX_DESCRIBED: usize = 20;
/// Deployments of one page, at most and when nothing is said. Source: the model's documentation.
const MAX_LISTED: usize = 100;
const LISTED: usize = 20;

pub(crate) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeServiceDeploymentsRequest,
) -> Result<aws::DescribeServiceDeploymentsResponse, ApiError> {
    let named = request.service_deployment_arns.unwrap_or_default();
    if named.is_empty() {
        return Err(ApiError::invalid("Service deployment arns cannot be empty."));
    }
    if named.len() > MAX_DESCRIBED {
        return Err(ApiError::invalid("Service deployment arns cannot have more than 20 elements."));
    }
    let snapshot = ctx.store.snapshot();
    let (mut deployments, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        let arn = arn(&name)?;
        let row = snapshot.service(&arn.service).filter(|_| arn.service.cluster.scope == caller.scope);
        match row.and_then(|row| row.deployment(&arn.id).map(|story| (row, story))) {
            Some((row, story)) => deployments.push(render::service_deployment(row, story)),
            None => failures.push(missing(name)),
        }
    }
    Ok(aws::DescribeServiceDeploymentsResponse { service_deployments: Some(deployments), failures: Some(failures) })
}

/// The ARN of a service deployment.
pub(super) fn arn(text: &str) -> Result<ServiceDeploymentArn, ApiError> {
    text.parse().map_err(|_| ApiError::invalid(format!("Invalid service deployment arn: {text}")))
}

pub(crate) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListServiceDeploymentsRequest,
) -> Result<aws::ListServiceDeploymentsResponse, ApiError> {
    let limit = limit_or(request.max_results, LISTED, MAX_LISTED)?;
    let snapshot = ctx.store.snapshot();
    let row = find(&snapshot, caller, request.cluster.as_deref(), request.service.as_deref())?;
    let pages = Pages::of("ListServiceDeployments", &caller.scope).within(&row.service.arn);
    let after = pages.cursor(request.next_token.as_deref())?;
    let after = after.as_deref().map(|text| Place::read(text).ok_or_else(invalid_token)).transpose()?;
    let statuses = request.status.as_deref().unwrap_or_default();
    let created = request.created_at.clone().unwrap_or_default();
    let stories = row.deployments().rev().filter(|story| {
        let at = ::wire::Timestamp::from_millis(story.created_at.0);
        after.as_ref().is_none_or(|after| Place::of(story) < *after)
            && (statuses.is_empty() || statuses.iter().any(|status| status == story.status.as_str()))
            && created.before.is_none_or(|before| at < before)
            && created.after.is_none_or(|after| at > after)
    });
    let (page, next_token) = pages.cut(stories, limit, |story| Place::of(story).write());
    let shown = page.into_iter().map(|story| render::brief(row, story)).collect();
    Ok(aws::ListServiceDeploymentsResponse { service_deployments: Some(shown), next_token })
}

/// Where a deployment stands in the list: by its time, and by its id among those of one millisecond.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(Timestamp, String);

impl Place {
    fn of(story: &Arc<ServiceDeployment>) -> Self {
        Self(story.created_at, story.arn.id.to_string())
    }

    fn write(&self) -> String {
        format!("{}/{}", self.0.0, self.1)
    }

    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('/')?;
        Some(Self(Timestamp(at.parse().ok()?), id.to_owned()))
    }
}

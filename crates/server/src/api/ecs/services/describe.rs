//! DescribeServices, ListServices and ListServicesByNamespace.

use super::render;
use crate::{
    api::{
        ApiError,
        ecs::{missing, resolve},
        paging::{Pages, invalid_token, limit_or},
    },
    context::{Caller, Context},
    discovery,
};
use model::{LaunchType, ServiceArn, ServiceName};
use shapes::ecs as aws;

/// Services of one DescribeServices. Source: the model's documentation.
const MAX_DESCRIBED: usize = 10;
/// Services of one page of ListServices, at most and when nothing is said. Source: the model's documentation.
const MAX_LISTED: usize = 100;
const LISTED: usize = 10;

pub(crate) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeServicesRequest,
) -> Result<aws::DescribeServicesResponse, ApiError> {
    let named = request.services.unwrap_or_default();
    if named.is_empty() {
        return Err(ApiError::invalid("Services cannot be empty."));
    }
    if named.len() > MAX_DESCRIBED {
        return Err(ApiError::invalid("Services cannot have more than 10 elements."));
    }
    let snapshot = ctx.store.snapshot();
    let cluster = resolve::active_cluster(&snapshot, &caller.scope, request.cluster.as_deref())?;
    let with_tags = request.include.unwrap_or_default().iter().any(|what| what == "TAGS");
    let (mut services, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        let Some(arn) = resolve::service_arn(&cluster, &name)? else {
            failures.push(missing(name));
            continue;
        };
        match snapshot.service(&arn) {
            Some(row) => services.push(render::service(row, with_tags)),
            None => failures.push(missing(arn.to_string())),
        }
    }
    Ok(aws::DescribeServicesResponse { services: Some(services), failures: Some(failures) })
}

pub(crate) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListServicesRequest,
) -> Result<aws::ListServicesResponse, ApiError> {
    let limit = limit_or(request.max_results, LISTED, MAX_LISTED)?;
    let snapshot = ctx.store.snapshot();
    let cluster = resolve::active_cluster(&snapshot, &caller.scope, request.cluster.as_deref())?;
    let pages = Pages::of("ListServices", &caller.scope).within(&cluster);
    let after = pages.cursor(request.next_token.as_deref())?;
    let after = after.map(ServiceName::parse).transpose().map_err(|_| invalid_token())?;
    let launch = request.launch_type.as_deref().filter(|launch| !launch.is_empty());
    let launch = launch.map(|launch| match launch {
        "EC2" => Some(LaunchType::Ec2),
        "EXTERNAL" => Some(LaunchType::External),
        "FARGATE" => Some(LaunchType::Fargate),
        // Of the other launch types there are no services.
        _ => None,
    });
    let scheduling = request.scheduling_strategy.as_deref().filter(|strategy| !strategy.is_empty());
    // AWS: what is deleted is listed no more, though it can be described for a while.
    let services = snapshot.services(&cluster, after.as_ref()).map(|row| &row.service).filter(|service| {
        service.is_active()
            && launch.is_none_or(|launch| launch == Some(service.launch_type()))
            && scheduling.is_none_or(|strategy| strategy == service.scheduling.as_str())
    });
    let (page, next_token) = pages.cut(services, limit, |service| service.arn.name.to_string());
    let arns = page.iter().map(|service| service.arn.to_string()).collect();
    Ok(aws::ListServicesResponse { service_arns: Some(arns), next_token })
}

/// The services of all clusters whose tasks are found in a namespace, which may be named or be given by its ARN.
pub(crate) fn list_by_namespace(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListServicesByNamespaceRequest,
) -> Result<aws::ListServicesByNamespaceResponse, ApiError> {
    let limit = limit_or(request.max_results, LISTED, MAX_LISTED)?;
    let given = request.namespace.as_deref().unwrap_or_default();
    let snapshot = ctx.store.snapshot();
    let all = snapshot.discovery(&caller.scope);
    let found = all.and_then(|all| resolve::namespace(all, &caller.scope, given));
    let namespace = found.ok_or_else(|| resolve::namespace_missing(given))?;
    let pages = Pages::of("ListServicesByNamespace", &caller.scope).within(&namespace.id);
    let after = pages.cursor(request.next_token.as_deref())?;
    let after = after.map(|arn| arn.parse::<ServiceArn>()).transpose().map_err(|_| invalid_token())?;
    let services = discovery::services_in(&snapshot, namespace).map(|row| &row.service.arn);
    let rest = services.filter(|arn| after.as_ref().is_none_or(|after| *arn > after));
    let (page, next_token) = pages.cut(rest, limit, ToString::to_string);
    let arns = page.into_iter().map(ToString::to_string).collect();
    Ok(aws::ListServicesByNamespaceResponse { service_arns: Some(arns), next_token })
}

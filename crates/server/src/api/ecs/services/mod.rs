//! Services: the tasks that always run, as clients ask for them and see them. Operations here only write down what is
//! wanted; the loop of services starts and stops the tasks.
//!
//! Deliberately absent, and refused by name: load balancers, volumes, alarms, the deployment strategies LINEAR and CANARY, the CODE_DEPLOY controller.

mod change;
mod connect;
mod create;
mod delete;
mod deployments;
mod describe;
mod parse;
mod proceed;
mod protection;
mod registries;
mod render;
mod revisions;
mod stop;
mod strategy;
mod task_sets;
mod update;

pub(crate) use create::create;
pub(crate) use delete::delete;
pub(crate) use deployments::{describe as describe_deployments, list as list_deployments};
pub(crate) use describe::{describe, list, list_by_namespace};
pub(crate) use proceed::proceed as continue_deployment;
pub(crate) use protection::{get as get_protection, protect, protection_of, update as update_protection};
pub(crate) use revisions::describe as describe_revisions;
pub(crate) use stop::stop as stop_deployment;
pub(crate) use task_sets::{
    create as create_task_set, delete as delete_task_set, describe as describe_task_sets,
    lead as update_primary_task_set, update as update_task_set,
};
pub(crate) use update::update;

use super::resolve;
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use shapes::ecs as aws;
use state::{Command, CommitError, Outcome, Rejected, ServiceChange, ServiceRow, Snapshot};
use std::sync::Arc;

/// What the service operations honour.
pub(crate) const HONOURED: &[Row] = &[
    row(
        "CreateService",
        &[
            "availabilityZoneRebalancing",
            "capacityProviderStrategy.*",
            "clientToken",
            "cluster",
            "deploymentConfiguration.bakeTimeInMinutes",
            "deploymentConfiguration.deploymentCircuitBreaker.*",
            "deploymentConfiguration.earlySuccessCriteria.*",
            "deploymentConfiguration.lifecycleHooks.*",
            "deploymentConfiguration.maximumPercent",
            "deploymentConfiguration.minimumHealthyPercent",
            "deploymentConfiguration.strategy",
            "deploymentController.type",
            "desiredCount",
            "enableECSManagedTags",
            "enableExecuteCommand",
            "healthCheckGracePeriodSeconds",
            "launchType",
            "networkConfiguration.*",
            "placementConstraints.*",
            "placementStrategy.*",
            "platformVersion",
            "propagateTags",
            "schedulingStrategy",
            "serviceConnectConfiguration.enabled",
            "serviceConnectConfiguration.namespace",
            "serviceConnectConfiguration.services.clientAliases.dnsName",
            "serviceConnectConfiguration.services.clientAliases.port",
            "serviceConnectConfiguration.services.discoveryName",
            "serviceConnectConfiguration.services.portName",
            "serviceName",
            "serviceRegistries.*",
            "tags.*",
            "taskDefinition",
            "volumeConfigurations.managedEBSVolume.encrypted",
            "volumeConfigurations.managedEBSVolume.filesystemType",
            "volumeConfigurations.managedEBSVolume.roleArn",
            "volumeConfigurations.managedEBSVolume.sizeInGiB",
            "volumeConfigurations.managedEBSVolume.volumeType",
            "volumeConfigurations.name",
        ],
    ),
    row(
        "UpdateService",
        &[
            "availabilityZoneRebalancing",
            "capacityProviderStrategy.*",
            "cluster",
            "deploymentConfiguration.bakeTimeInMinutes",
            "deploymentConfiguration.deploymentCircuitBreaker.*",
            "deploymentConfiguration.earlySuccessCriteria.*",
            "deploymentConfiguration.lifecycleHooks.*",
            "deploymentConfiguration.maximumPercent",
            "deploymentConfiguration.minimumHealthyPercent",
            "deploymentConfiguration.strategy",
            "deploymentController.type",
            "desiredCount",
            "enableECSManagedTags",
            "enableExecuteCommand",
            "forceNewDeployment",
            "healthCheckGracePeriodSeconds",
            "networkConfiguration.*",
            "placementConstraints.*",
            "placementStrategy.*",
            "platformVersion",
            "propagateTags",
            "service",
            "serviceConnectConfiguration.enabled",
            "serviceConnectConfiguration.namespace",
            "serviceConnectConfiguration.services.clientAliases.dnsName",
            "serviceConnectConfiguration.services.clientAliases.port",
            "serviceConnectConfiguration.services.discoveryName",
            "serviceConnectConfiguration.services.portName",
            "serviceRegistries.*",
            "taskDefinition",
            "volumeConfigurations.managedEBSVolume.encrypted",
            "volumeConfigurations.managedEBSVolume.filesystemType",
            "volumeConfigurations.managedEBSVolume.roleArn",
            "volumeConfigurations.managedEBSVolume.sizeInGiB",
            "volumeConfigurations.managedEBSVolume.volumeType",
            "volumeConfigurations.name",
        ],
    ),
    row("DeleteService", &["cluster", "force", "service"]),
    row("DescribeServices", &["cluster", "include", "services"]),
    row("ListServices", &["cluster", "launchType", "maxResults", "nextToken", "schedulingStrategy"]),
    row("ListServicesByNamespace", &["maxResults", "namespace", "nextToken"]),
    row("DescribeServiceDeployments", &["serviceDeploymentArns"]),
    row("ListServiceDeployments", &["cluster", "createdAt.*", "maxResults", "nextToken", "service", "status"]),
    row("ContinueServiceDeployment", &["action", "hookId", "serviceDeploymentArn"]),
    row("StopServiceDeployment", &["serviceDeploymentArn", "stopType"]),
    row("DescribeServiceRevisions", &["serviceRevisionArns"]),
    row(
        "CreateTaskSet",
        &[
            "capacityProviderStrategy.*",
            "clientToken",
            "cluster",
            "externalId",
            "launchType",
            "networkConfiguration.*",
            "platformVersion",
            "scale.*",
            "service",
            "tags.*",
            "taskDefinition",
        ],
    ),
    row("UpdateTaskSet", &["cluster", "scale.*", "service", "taskSet"]),
    row("UpdateServicePrimaryTaskSet", &["cluster", "primaryTaskSet", "service"]),
    row("DeleteTaskSet", &["cluster", "force", "service", "taskSet"]),
    row("DescribeTaskSets", &["cluster", "include", "service", "taskSets"]),
    row("UpdateTaskProtection", &["cluster", "expiresInMinutes", "protectionEnabled", "tasks"]),
    row("GetTaskProtection", &["cluster", "tasks"]),
];

/// How often a change is decided anew when the service changed under it. Its loop writes at most once per pass and other
/// clients rarely touch the same service, so that many in a row mean that something is wrong.
const TRIES: usize = 32;

/// The row of the service meant, whatever its status.
fn find<'a>(
    snapshot: &'a Snapshot,
    caller: &Caller,
    cluster: Option<&str>,
    service: Option<&str>,
) -> Result<&'a Arc<ServiceRow>, ApiError> {
    let cluster = resolve::active_cluster(snapshot, &caller.scope, cluster)?;
    let arn = resolve::service_arn(&cluster, service.unwrap_or_default())?;
    arn.and_then(|arn| snapshot.service(&arn)).ok_or_else(ApiError::service_not_found)
}

/// Makes a change and shows the service that came of it; `None` if the service moved on while it was looked at.
async fn commit(ctx: &Context, change: ServiceChange) -> Result<Option<aws::Service>, ApiError> {
    Ok(commit_row(ctx, change).await?.map(|row| render::service(&row, true)))
}

/// Makes a change; the row that came of it, or `None` if the service moved on while it was looked at.
async fn commit_row(ctx: &Context, change: ServiceChange) -> Result<Option<Arc<ServiceRow>>, ApiError> {
    match ctx.store.commit(Command::ChangeService(Box::new(change))).await {
        Ok(committed) => {
            let Outcome::Service(service) = &committed.outcome else {
                return Err(ApiError::server("ChangeService answered with something else than the service"));
            };
            let row = committed.snapshot.service(&service.arn).ok_or_else(ApiError::service_not_found)?;
            Ok(Some(row.clone()))
        }
        Err(CommitError::Rejected(Rejected::ServiceExists(_) | Rejected::ServiceChanged(_))) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn too_busy() -> ApiError {
    ApiError::server("The service is changed too often to be changed now; try again.")
}

/// A count or percentage as the wire has it.
fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

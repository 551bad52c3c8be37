//! The ECS room.

pub(crate) mod account_settings;
pub(crate) mod agent_api;
pub(crate) mod attributes;
pub(crate) mod auto_scaling_providers;
pub(crate) mod awsvpc;
pub(crate) mod capacity_providers;
pub(crate) mod clusters;
pub(crate) mod container_instances;
mod exec_logging;
pub(crate) mod execute;
pub(crate) mod fargate;
pub(crate) mod gpus;
mod linux_convert;
mod logging_convert;
pub(crate) mod managed_volumes;
mod preference;
pub(crate) mod registration;
pub(crate) mod resolve;
pub(crate) mod services;
pub(crate) mod size;
pub(crate) mod spot;
pub(crate) mod state_change;
pub(crate) mod tags;
pub(crate) mod task_definition_convert;
pub(crate) mod task_definition_secrets;
pub(crate) mod task_definitions;
pub(crate) mod tasks;
mod volume_convert;

use super::{ApiError, answer, no_arm, read};
use crate::context::{Caller, Context};
use model::ClusterArn;
use serde_json::Value;
use shapes::ecs as aws;

/// Answers one operation of ECS.
pub(crate) async fn dispatch(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateCluster" => answer(clusters::create(ctx, caller, read(input)?).await),
        "DescribeClusters" => answer(clusters::describe(ctx, caller, read(input)?)),
        "ListClusters" => answer(clusters::list(ctx, caller, &read(input)?)),
        "UpdateCluster" => answer(clusters::update(ctx, caller, read(input)?).await),
        "UpdateClusterSettings" => answer(clusters::update_settings(ctx, caller, read(input)?).await),
        "PutClusterCapacityProviders" => answer(clusters::put_capacity_providers(ctx, caller, read(input)?).await),
        "CreateCapacityProvider" => answer(auto_scaling_providers::create(ctx, caller, read(input)?).await),
        "UpdateCapacityProvider" => answer(auto_scaling_providers::update(ctx, caller, read(input)?).await),
        "DeleteCapacityProvider" => answer(auto_scaling_providers::delete(ctx, caller, read(input)?).await),
        "DescribeCapacityProviders" => answer(capacity_providers::describe(ctx, caller, read(input)?)),
        "DeleteCluster" => answer(clusters::delete(ctx, caller, read(input)?).await),

        "RegisterTaskDefinition" => answer(task_definitions::register(ctx, caller, read(input)?).await),
        "DeregisterTaskDefinition" => answer(task_definitions::deregister(ctx, caller, read(input)?).await),
        "DescribeTaskDefinition" => answer(task_definitions::describe(ctx, caller, read(input)?)),
        "ListTaskDefinitions" => answer(task_definitions::list(ctx, caller, &read(input)?)),
        "ListTaskDefinitionFamilies" => answer(task_definitions::families(ctx, caller, &read(input)?)),
        "DeleteTaskDefinitions" => answer(task_definitions::delete(ctx, caller, read(input)?).await),

        "TagResource" => answer(tags::tag(ctx, caller, read(input)?).await),
        "UntagResource" => answer(tags::untag(ctx, caller, read(input)?).await),
        "ListTagsForResource" => answer(tags::list(ctx, caller, &read(input)?)),

        "PutAttributes" => answer(attributes::put(ctx, caller, read(input)?).await),
        "DeleteAttributes" => answer(attributes::delete(ctx, caller, read(input)?).await),
        "ListAttributes" => answer(attributes::list(ctx, caller, read(input)?)),

        "PutAccountSetting" => answer(account_settings::put(ctx, caller, &read(input)?).await),
        "PutAccountSettingDefault" => answer(account_settings::put_default(ctx, caller, &read(input)?).await),
        "DeleteAccountSetting" => answer(account_settings::delete(ctx, caller, &read(input)?).await),
        "ListAccountSettings" => answer(account_settings::list(ctx, caller, &read(input)?)),

        "RegisterContainerInstance" => answer(registration::register(ctx, caller, read(input)?).await),
        "DeregisterContainerInstance" => answer(container_instances::deregister(ctx, caller, read(input)?).await),
        "DescribeContainerInstances" => answer(container_instances::describe(ctx, caller, read(input)?)),
        "ListContainerInstances" => answer(container_instances::list(ctx, caller, &read(input)?)),
        "UpdateContainerInstancesState" => answer(container_instances::update_state(ctx, caller, read(input)?).await),
        "UpdateContainerAgent" => answer(container_instances::update_agent(ctx, caller, read(input)?)),

        "RunTask" => answer(tasks::run_task(ctx, caller, read(input)?).await),
        "StartTask" => answer(tasks::start_task(ctx, caller, read(input)?).await),
        "StopTask" => answer(tasks::stop(ctx, caller, read(input)?).await),
        "DescribeTasks" => answer(tasks::describe(ctx, caller, read(input)?)),
        "ExecuteCommand" => answer(execute::execute(ctx, caller, read(input)?)),
        "ListTasks" => answer(tasks::list(ctx, caller, &read(input)?)),

        "CreateService" => answer(services::create(ctx, caller, read(input)?).await),
        "UpdateService" => answer(services::update(ctx, caller, read(input)?).await),
        "DeleteService" => answer(services::delete(ctx, caller, read(input)?).await),
        "DescribeServices" => answer(services::describe(ctx, caller, read(input)?)),
        "ListServices" => answer(services::list(ctx, caller, &read(input)?)),
        "ListServicesByNamespace" => answer(services::list_by_namespace(ctx, caller, &read(input)?)),
        "DescribeServiceDeployments" => answer(services::describe_deployments(ctx, caller, read(input)?)),
        "ListServiceDeployments" => answer(services::list_deployments(ctx, caller, &read(input)?)),
        "ContinueServiceDeployment" => answer(services::continue_deployment(ctx, caller, read(input)?).await),
        "StopServiceDeployment" => answer(services::stop_deployment(ctx, caller, read(input)?).await),
        "DescribeServiceRevisions" => answer(services::describe_revisions(ctx, caller, read(input)?)),
        "CreateTaskSet" => answer(services::create_task_set(ctx, caller, read(input)?).await),
        "UpdateTaskSet" => answer(services::update_task_set(ctx, caller, read(input)?).await),
        "DeleteTaskSet" => answer(services::delete_task_set(ctx, caller, read(input)?).await),
        "DescribeTaskSets" => answer(services::describe_task_sets(ctx, caller, read(input)?)),
        "UpdateServicePrimaryTaskSet" => answer(services::update_primary_task_set(ctx, caller, read(input)?).await),
        "UpdateTaskProtection" => answer(services::update_protection(ctx, caller, read(input)?).await),
        "GetTaskProtection" => answer(services::get_protection(ctx, caller, read(input)?)),

        "DiscoverPollEndpoint" => answer(agent_api::discover(ctx, caller, &read(input)?)),
        "SubmitTaskStateChange" => answer(agent_api::submit_task(ctx, caller, read(input)?).await),
        "SubmitContainerStateChange" => answer(agent_api::submit_container(ctx, caller, read(input)?).await),
        "SubmitAttachmentStateChanges" => answer(agent_api::submit_attachments(ctx, caller, &read(input)?)),

        other => Err(no_arm(other)),
    }
}

/// What a describe's `include` asks for.
fn include(given: Option<Vec<String>>) -> Vec<String> {
    given.unwrap_or_default()
}

/// The failure that tells of a thing that does not exist.
pub(crate) fn missing(arn: impl Into<String>) -> aws::Failure {
    aws::Failure { arn: Some(arn.into()), reason: Some("MISSING".to_owned()), detail: None }
}

/// The same of a task or container instance as the request named it. AWS: the failure names an ARN even when the request
/// named an id, whatever the id looks like.
fn missing_named(cluster: &ClusterArn, kind: &str, name: &str) -> aws::Failure {
    if name.starts_with("arn:") {
        return missing(name);
    }
    let ClusterArn { scope, name: cluster } = cluster;
    missing(format!("arn:aws:ecs:{}:{}:{kind}/{cluster}/{name}", scope.region, scope.account))
}

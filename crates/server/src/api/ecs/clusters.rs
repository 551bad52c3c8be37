//! Clusters: create, describe, list, update, delete.

use super::{auto_scaling_providers, capacity_providers, exec_logging, include, preference, resolve, tags};
use crate::api::ApiError;
use crate::api::error::NOT_ASSOCIATED;
use crate::api::honoured::{Row, row};
use crate::api::paging::{Pages, invalid_token, limit};
use crate::api::servicediscovery;
use crate::context::{Caller, Context};
use model::{
    CapacityProvider, CapacityProviderStrategy, Cluster, ClusterArn, ClusterName, ClusterStatus, ExecLogging,
    LaunchType, Scope, ServiceStatus, SettingName, TaskStatus, discovery::NamespaceId,
};
use shapes::ecs as aws;
use state::{ClusterRow, Command, Committed, Outcome, Snapshot};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) const HONOURED: &[Row] = &[
    row(
        "CreateCluster",
        &[
            "capacityProviders",
            "clusterName",
            "configuration.executeCommandConfiguration.logConfiguration.cloudWatchLogGroupName",
            "configuration.executeCommandConfiguration.logging",
            "defaultCapacityProviderStrategy.*",
            "serviceConnectDefaults.*",
            "settings.*",
            "tags.*",
        ],
    ),
    row("PutClusterCapacityProviders", &["capacityProviders", "cluster", "defaultCapacityProviderStrategy.*"]),
    row("DescribeClusters", &["clusters", "include"]),
    row("ListClusters", &["maxResults", "nextToken"]),
    row(
        "UpdateCluster",
        &[
            "cluster",
            "configuration.executeCommandConfiguration.logConfiguration.cloudWatchLogGroupName",
            "configuration.executeCommandConfiguration.logging",
            "serviceConnectDefaults.*",
            "settings.*",
        ],
    ),
    row("UpdateClusterSettings", &["cluster", "settings.*"]),
    row("DeleteCluster", &["cluster"]),
];

/// Clusters of one DescribeClusters. Source: the model's documentation.
const MAX_DESCRIBED: usize = 100;
/// Clusters of one page of ListClusters.
const MAX_LISTED: usize = 100;

pub(crate) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateClusterRequest,
) -> Result<aws::CreateClusterResponse, ApiError> {
    let name = request.cluster_name.filter(|name| !name.is_empty());
    let name = ClusterName::parse(name.as_deref().unwrap_or(resolve::DEFAULT_CLUSTER))
        .map_err(|error| ApiError::invalid_name(&error))?;
    let arn = ClusterArn { scope: caller.scope.clone(), name };
    if resolve::is_reserved(&arn) {
        return Err(ApiError::invalid(format!("The cluster name {} is reserved.", arn.name)));
    }
    let mut settings = settings_in(request.settings)?;
    let chosen = super::account_settings::effective(&ctx.store.snapshot(), caller, SettingName::ContainerInsights);
    settings.entry(CONTAINER_INSIGHTS.to_owned()).or_insert(chosen);
    let given = (request.capacity_providers, request.default_capacity_provider_strategy);
    let (providers, default_strategy) =
        capacity(&ctx.store.snapshot(), caller, given.0.as_deref(), given.1.as_deref())?;
    let cluster = Cluster {
        arn,
        status: ClusterStatus::Active,
        settings,
        tags: preference::tags_in(request.tags)?,
        capacity_providers: providers,
        default_capacity_provider_strategy: default_strategy,
        exec_logging: exec_logging::parse(request.configuration)?,
        connect_namespace: connect_namespace(ctx, caller, request.service_connect_defaults).await?.flatten(),
        created_at: ctx.effects.now(),
    };
    let committed = ctx.store.commit(Command::CreateCluster(cluster)).await?;
    Ok(aws::CreateClusterResponse { cluster: Some(answer(&committed)?) })
}

pub(crate) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeClustersRequest,
) -> Result<aws::DescribeClustersResponse, ApiError> {
    let mut named = request.clusters.unwrap_or_default();
    if named.is_empty() {
        named.push(resolve::DEFAULT_CLUSTER.to_owned());
    }
    if named.len() > MAX_DESCRIBED {
        return Err(ApiError::invalid("Clusters cannot have more than 100 elements."));
    }
    let shown = Shown::of(&include(request.include));
    let snapshot = ctx.store.snapshot();
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        let arn = match resolve::shown_cluster_arn(caller, Some(&name)) {
            Ok(arn) => arn,
            Err(error) if error.code == "ClusterNotFoundException" => {
                failures.push(super::missing(name));
                continue;
            }
            Err(error) => return Err(error),
        };
        match snapshot.cluster(&arn) {
            Some(row) => clusters.push(render(&snapshot, row, shown)),
            None => failures.push(super::missing(arn.to_string())),
        }
    }
    Ok(aws::DescribeClustersResponse { clusters: Some(clusters), failures: Some(failures) })
}

pub(crate) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListClustersRequest,
) -> Result<aws::ListClustersResponse, ApiError> {
    let limit = limit(request.max_results, MAX_LISTED)?;
    let pages = Pages::of("ListClusters", &caller.scope);
    let after = pages.cursor(request.next_token.as_deref())?;
    let after = after.map(ClusterName::parse).transpose().map_err(|_| invalid_token())?;
    let snapshot = ctx.store.snapshot();
    let clusters = snapshot.clusters(&caller.scope, after.as_ref()).map(|row| &row.cluster);
    let listed =
        |cluster: &&Arc<Cluster>| cluster.status == ClusterStatus::Active && !resolve::is_reserved(&cluster.arn);
    let active = clusters.filter(listed);
    let (page, next_token) = pages.cut(active, limit, |cluster| cluster.arn.name.to_string());
    let arns = page.iter().map(|cluster| cluster.arn.to_string()).collect();
    Ok(aws::ListClustersResponse { cluster_arns: Some(arns), next_token })
}

pub(crate) async fn update(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateClusterRequest,
) -> Result<aws::UpdateClusterResponse, ApiError> {
    let exec_logging = exec_logging::parse(request.configuration)?;
    // A cluster that is not there brings about no namespace.
    resolve::active_cluster(&ctx.store.snapshot(), &caller.scope, request.cluster.as_deref())?;
    let namespace = connect_namespace(ctx, caller, request.service_connect_defaults).await?;
    let cluster = set(ctx, caller, request.cluster, request.settings, (namespace, exec_logging)).await?;
    Ok(aws::UpdateClusterResponse { cluster: Some(cluster) })
}

pub(crate) async fn update_settings(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateClusterSettingsRequest,
) -> Result<aws::UpdateClusterSettingsResponse, ApiError> {
    let cluster = set(ctx, caller, request.cluster, request.settings, (None, None)).await?;
    Ok(aws::UpdateClusterSettingsResponse { cluster: Some(cluster) })
}

async fn set(
    ctx: &Context,
    caller: &Caller,
    cluster: Option<String>,
    settings: Option<Vec<aws::ClusterSetting>>,
    (connect_namespace, exec_logging): (Option<Option<NamespaceId>>, Option<ExecLogging>),
) -> Result<aws::Cluster, ApiError> {
    let arn = resolve::cluster_arn(&caller.scope, cluster.as_deref())?;
    let settings = settings_in(settings)?;
    let committed = ctx.store.commit(Command::UpdateCluster { arn, settings, connect_namespace, exec_logging }).await?;
    answer(&committed)
}

pub(crate) async fn put_capacity_providers(
    ctx: &Context,
    caller: &Caller,
    request: aws::PutClusterCapacityProvidersRequest,
) -> Result<aws::PutClusterCapacityProvidersResponse, ApiError> {
    let arn = resolve::cluster_arn(&caller.scope, request.cluster.as_deref())?;
    let given = (request.capacity_providers, request.default_capacity_provider_strategy);
    let (providers, default_strategy) =
        capacity(&ctx.store.snapshot(), caller, given.0.as_deref(), given.1.as_deref())?;
    let command = Command::PutClusterCapacityProviders { arn, providers, default_strategy };
    let committed = ctx.store.commit(command).await?;
    Ok(aws::PutClusterCapacityProvidersResponse { cluster: Some(answer(&committed)?) })
}

/// The providers of a cluster, and its default strategy, which is of no others.
fn capacity(
    snapshot: &Snapshot,
    caller: &Caller,
    providers: Option<&[String]>,
    strategy: Option<&[aws::CapacityProviderStrategyItem]>,
) -> Result<(Vec<CapacityProvider>, CapacityProviderStrategy), ApiError> {
    let providers = capacity_providers::providers(snapshot, &caller.scope, providers.unwrap_or_default())?;
    let strategy = capacity_providers::strategy(strategy.unwrap_or_default())?;
    if strategy.items().iter().any(|item| !providers.contains(&item.provider)) {
        return Err(ApiError::invalid(NOT_ASSOCIATED));
    }
    Ok((providers, strategy))
}

pub(crate) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteClusterRequest,
) -> Result<aws::DeleteClusterResponse, ApiError> {
    let arn = resolve::cluster_arn(&caller.scope, request.cluster.as_deref())?;
    let committed = ctx.store.commit(Command::DeleteCluster { arn }).await?;
    Ok(aws::DeleteClusterResponse { cluster: Some(answer(&committed)?) })
}

/// The namespace that `serviceConnectDefaults` names: none if it says nothing, none in it if it is to be none any more.
// AWS: one that is named and is not there is made; an ARN must be one that is.
async fn connect_namespace(
    ctx: &Context,
    caller: &Caller,
    given: Option<aws::ClusterServiceConnectDefaultsRequest>,
) -> Result<Option<Option<NamespaceId>>, ApiError> {
    let Some(given) = given else { return Ok(None) };
    let name = given.namespace.unwrap_or_default();
    if name.is_empty() {
        return Ok(Some(None));
    }
    let snapshot = ctx.store.snapshot();
    let known = snapshot.discovery(&caller.scope).and_then(|all| resolve::namespace(all, &caller.scope, &name));
    match known {
        Some(known) => Ok(Some(Some(known.id.clone()))),
        None if name.starts_with("arn:") => Err(resolve::namespace_missing(&name)),
        None => servicediscovery::ensure_http_namespace(ctx, caller, &name).await.map(|id| Some(Some(id))),
    }
}

const CONTAINER_INSIGHTS: &str = "containerInsights";

fn settings_in(given: Option<Vec<aws::ClusterSetting>>) -> Result<BTreeMap<String, String>, ApiError> {
    let mut settings = BTreeMap::new();
    for setting in given.unwrap_or_default() {
        let (name, value) = (setting.name.unwrap_or_default(), setting.value.unwrap_or_default());
        if name != CONTAINER_INSIGHTS {
            return Err(ApiError::invalid(format!("Unknown cluster setting '{name}'.")));
        }
        if !["enabled", "disabled", "enhanced"].contains(&&*value) {
            let text = format!("Invalid value '{value}' for cluster setting '{name}': enabled, disabled or enhanced.");
            return Err(ApiError::invalid(text));
        }
        settings.insert(name, value);
    }
    Ok(settings)
}

/// The cluster a command was about, with everything that a change shows.
fn answer(committed: &Committed) -> Result<aws::Cluster, ApiError> {
    let Outcome::Cluster(cluster) = &committed.outcome else {
        return Err(ApiError::server("a cluster's command was answered with something else"));
    };
    let everything = Shown { configurations: true, settings: true, statistics: false, tags: true, attachments: false };
    match committed.snapshot.cluster(&cluster.arn) {
        Some(row) => Ok(render(&committed.snapshot, row, everything)),
        None => Err(ApiError::cluster_not_found()),
    }
}

/// What `include` asks for.
#[derive(Debug, Clone, Copy)]
struct Shown {
    configurations: bool,
    settings: bool,
    statistics: bool,
    tags: bool,
    attachments: bool,
}

impl Shown {
    fn of(include: &[String]) -> Self {
        let asked = |what: &str| include.iter().any(|one| one == what);
        Self {
            configurations: asked("CONFIGURATIONS"),
            settings: asked("SETTINGS"),
            statistics: asked("STATISTICS"),
            tags: asked("TAGS"),
            attachments: asked("ATTACHMENTS"),
        }
    }
}

/// A cluster as AWS shows it: what was not asked for is an empty list, not absent.
fn render(snapshot: &Snapshot, row: &ClusterRow, shown: Shown) -> aws::Cluster {
    let cluster = &row.cluster;
    let setting = |(name, value): (&String, &String)| aws::ClusterSetting {
        name: Some(name.clone()),
        value: Some(value.clone()),
    };
    let status = match cluster.status {
        ClusterStatus::Active => "ACTIVE",
        ClusterStatus::Inactive => "INACTIVE",
    };
    let attached = auto_scaling_providers::attachments(snapshot, cluster);
    aws::Cluster {
        cluster_arn: Some(cluster.arn.to_string()),
        cluster_name: Some(cluster.arn.name.to_string()),
        status: Some(status.to_owned()),
        registered_container_instances_count: Some(count(row.registered_instances())),
        running_tasks_count: Some(count(row.running)),
        pending_tasks_count: Some(count(row.pending)),
        active_services_count: Some(count(row.active_services)),
        statistics: Some(if shown.statistics { statistics(snapshot, row) } else { Vec::new() }),
        tags: Some(if shown.tags { tags::render(&cluster.tags) } else { Vec::new() }),
        settings: Some(if shown.settings { cluster.settings.iter().map(setting).collect() } else { Vec::new() }),
        capacity_providers: Some(cluster.capacity_providers.iter().map(|one| one.as_str().to_owned()).collect()),
        default_capacity_provider_strategy: Some(capacity_providers::rendered(
            &cluster.default_capacity_provider_strategy,
        )),
        attachments_status: (!attached.is_empty()).then(|| "UPDATE_COMPLETE".to_owned()),
        attachments: shown.attachments.then_some(attached),
        configuration: cluster.exec_logging.as_ref().filter(|_| shown.configurations).map(exec_logging::render),
        service_connect_defaults: cluster
            .connect_namespace
            .as_ref()
            .map(|id| aws::ClusterServiceConnectDefaults { namespace: Some(connect_arn(&cluster.arn.scope, id)) }),
    }
}

fn connect_arn(scope: &Scope, id: &NamespaceId) -> String {
    format!("arn:aws:servicediscovery:{}:{}:namespace/{id}", scope.region, scope.account)
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Tasks and services by launch type.
fn statistics(snapshot: &Snapshot, row: &ClusterRow) -> Vec<aws::KeyValuePair> {
    let mut counts: BTreeMap<(LaunchType, TaskStatus), u32> = BTreeMap::new();
    for task in row.live() {
        // AWS: those that are PROVISIONING are pending.
        let status = if task.last_status().is_pending() { TaskStatus::Pending } else { task.last_status() };
        *counts.entry((task.launch_type, status)).or_default() += 1;
    }
    let of = |launch, status| counts.get(&(launch, status)).copied().unwrap_or(0);
    let mut services: BTreeMap<(LaunchType, bool), u32> = BTreeMap::new();
    for service in snapshot.services(&row.cluster.arn, None).map(|row| &row.service) {
        let active = match service.status {
            ServiceStatus::Active => true,
            ServiceStatus::Draining => false,
            ServiceStatus::Inactive => continue,
        };
        *services.entry((service.launch_type(), active)).or_default() += 1;
    }
    let services = |launch, active| services.get(&(launch, active)).copied().unwrap_or(0);
    let pairs = [
        ("runningEC2TasksCount", of(LaunchType::Ec2, TaskStatus::Running)),
        ("runningFargateTasksCount", of(LaunchType::Fargate, TaskStatus::Running)),
        ("runningExternalTasksCount", of(LaunchType::External, TaskStatus::Running)),
        ("pendingEC2TasksCount", of(LaunchType::Ec2, TaskStatus::Pending)),
        ("pendingFargateTasksCount", of(LaunchType::Fargate, TaskStatus::Pending)),
        ("pendingExternalTasksCount", of(LaunchType::External, TaskStatus::Pending)),
        ("activeEC2ServiceCount", services(LaunchType::Ec2, true)),
        ("activeFargateServiceCount", services(LaunchType::Fargate, true)),
        ("activeExternalServiceCount", services(LaunchType::External, true)),
        ("drainingEC2ServiceCount", services(LaunchType::Ec2, false)),
        ("drainingFargateServiceCount", services(LaunchType::Fargate, false)),
        ("drainingExternalServiceCount", services(LaunchType::External, false)),
    ];
    let pair =
        |(name, value): (&str, u32)| aws::KeyValuePair { name: Some(name.to_owned()), value: Some(value.to_string()) };
    pairs.into_iter().map(pair).collect()
}

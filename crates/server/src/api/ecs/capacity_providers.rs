//! Capacity providers as they are described, and the strategies that requests make of them. FARGATE and FARGATE_SPOT are always
//! there; those of Auto Scaling groups are made by `auto_scaling_providers`.

use super::{auto_scaling_providers, fargate, include, missing, resolve};
use crate::api::{
    ApiError,
    error::NOT_ASSOCIATED,
    honoured::{Row, row},
    paging::{Pages, limit},
};
use crate::context::{Caller, Context};
use model::{
    CapacityProvider, CapacityProviderStrategy, CapacityProviderStrategyItem, Cluster, ClusterArn, LaunchType,
    MAX_CAPACITY_PROVIDERS, RevisionSpec, Scope,
};
use shapes::ecs as aws;
use state::{InstanceRow, Snapshot};

pub(crate) const HONOURED: &[Row] =
    &[row("DescribeCapacityProviders", &["capacityProviders", "cluster", "include", "maxResults", "nextToken"])];

/// Providers of one page. Source: the model's documentation.
const MAX_LISTED: usize = 10;
/// Providers of one request. Source: the model's documentation.
const MAX_DESCRIBED: usize = 100;

pub(super) const NOT_FOUND: &str =
    "The specified capacity provider was not found. Specify a valid capacity provider and try again.";
const BOTH: &str =
    "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.";
const NO_WEIGHT: &str = "The capacity provider strategy must contain at least one capacity provider with a weight greater \
     than 0. Update the capacity provider strategy and try again.";

pub(crate) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeCapacityProvidersRequest,
) -> Result<aws::DescribeCapacityProvidersResponse, ApiError> {
    let limit = limit(request.max_results, MAX_LISTED)?;
    let named = request.capacity_providers.unwrap_or_default();
    if named.len() > MAX_DESCRIBED {
        return Err(ApiError::invalid("CapacityProviders cannot have more than 100 elements."));
    }
    let pages = Pages::of("DescribeCapacityProviders", &caller.scope);
    let after = pages.cursor(request.next_token.as_deref())?;
    let with_tags = include(request.include).iter().any(|one| one == "TAGS");
    let snapshot = ctx.store.snapshot();
    let of_cluster = match request.cluster.as_deref().filter(|cluster| !cluster.is_empty()) {
        None => None,
        Some(cluster) => {
            Some(&**row_of(&snapshot, &resolve::active_cluster(&snapshot, &caller.scope, Some(cluster))?)?)
        }
    };
    let is_meant =
        |provider: &CapacityProvider| of_cluster.is_none_or(|cluster| cluster.capacity_providers.contains(provider));
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in &named {
        // AWS: one that was deleted is still described by its name.
        match by_name(&snapshot, &caller.scope, name).filter(is_meant) {
            Some(provider) => found.push(provider),
            None if name.starts_with("arn:") => failures.push(missing(name)),
            None => failures.push(missing(arn(&caller.scope, name))),
        }
    }
    if named.is_empty() {
        let active = snapshot.capacity_providers(&caller.scope).filter(|one| !one.deleted);
        let all = CapacityProvider::FARGATE.into_iter().chain(active.map(|one| one.provider()));
        found.extend(all.filter(is_meant));
    }
    found.sort();
    found.dedup();
    let after = after.as_deref().map(CapacityProvider::named);
    let rest = found.into_iter().filter(|provider| after.as_ref().is_none_or(|after| provider > after));
    let (page, next_token) = pages.cut(rest, limit, |provider| provider.as_str().to_owned());
    let page = page.iter().map(|provider| render(&snapshot, &caller.scope, provider, with_tags)).collect();
    Ok(aws::DescribeCapacityProvidersResponse { capacity_providers: Some(page), failures: Some(failures), next_token })
}

fn render(snapshot: &Snapshot, scope: &Scope, provider: &CapacityProvider, with_tags: bool) -> aws::CapacityProvider {
    match snapshot.capacity_provider(scope, provider.as_str()) {
        Some(known) => auto_scaling_providers::render(known, with_tags),
        // AWS: Fargate's carry no tags of their own.
        None => aws::CapacityProvider {
            capacity_provider_arn: Some(arn(scope, provider.as_str())),
            name: Some(provider.as_str().to_owned()),
            status: Some("ACTIVE".to_owned()),
            r#type: Some(provider.as_str().to_owned()),
            tags: Some(Vec::new()),
            ..aws::CapacityProvider::default()
        },
    }
}

fn arn(scope: &Scope, name: &str) -> String {
    format!("arn:aws:ecs:{}:{}:capacity-provider/{name}", scope.region, scope.account)
}

/// The name that a name or an ARN of that scope says.
pub(super) fn bare_name<'a>(scope: &Scope, given: &'a str) -> &'a str {
    given.strip_prefix(arn(scope, "").as_str()).unwrap_or(given)
}

/// The provider of a name or an ARN of that scope, deleted ones too.
fn by_name(snapshot: &Snapshot, scope: &Scope, given: &str) -> Option<CapacityProvider> {
    let provider = CapacityProvider::named(bare_name(scope, given));
    (provider.is_fargate() || snapshot.capacity_provider(scope, provider.as_str()).is_some()).then_some(provider)
}

fn row_of<'a>(snapshot: &'a Snapshot, cluster: &ClusterArn) -> Result<&'a std::sync::Arc<Cluster>, ApiError> {
    snapshot.cluster(cluster).map(|row| &row.cluster).ok_or_else(ApiError::cluster_not_found)
}

/// The providers that a cluster is to have.
pub(super) fn providers(
    snapshot: &Snapshot,
    scope: &Scope,
    given: &[String],
) -> Result<Vec<CapacityProvider>, ApiError> {
    if given.len() > MAX_CAPACITY_PROVIDERS {
        return Err(ApiError::invalid("A cluster can have a maximum of 20 capacity providers."));
    }
    let mut providers = Vec::new();
    for name in given {
        let provider = by_name(snapshot, scope, name).ok_or_else(|| ApiError::invalid(NOT_FOUND))?;
        if !providers.contains(&provider) {
            providers.push(provider);
        }
    }
    Ok(providers)
}

/// A strategy as a request gives it.
pub(super) fn strategy(given: &[aws::CapacityProviderStrategyItem]) -> Result<CapacityProviderStrategy, ApiError> {
    // The model's own ranges have been looked at; an absent number is 0.
    let number = |given: Option<i32>| given.and_then(|given| u32::try_from(given).ok()).unwrap_or(0);
    let items = given.iter().map(|item| {
        // Whether there is one of that name, the cluster says that it is asked of.
        let provider = CapacityProvider::named(item.capacity_provider.as_deref().unwrap_or_default());
        CapacityProviderStrategyItem { provider, base: number(item.base), weight: number(item.weight) }
    });
    CapacityProviderStrategy::new(items.collect()).map_err(|error| ApiError::invalid(error.to_string()))
}

pub(super) fn rendered(strategy: &CapacityProviderStrategy) -> Vec<aws::CapacityProviderStrategyItem> {
    let number = |number: u32| i32::try_from(number).ok();
    let item = |item: &CapacityProviderStrategyItem| aws::CapacityProviderStrategyItem {
        capacity_provider: Some(item.provider.as_str().to_owned()),
        weight: number(item.weight),
        base: number(item.base),
    };
    strategy.items().iter().map(item).collect()
}

/// Whether an instance is one whose room a provider's tasks take. Which of Fargate's are, the pool says.
pub(crate) fn is_of(snapshot: &Snapshot, row: &InstanceRow, provider: Option<&CapacityProvider>) -> bool {
    match provider {
        Some(CapacityProvider::AutoScaling(_)) => snapshot.provider_of(&row.instance).as_ref() == provider,
        Some(CapacityProvider::Fargate | CapacityProvider::FargateSpot) | None => true,
    }
}

/// Whether tasks of a provider wait where it has no room, because more instances come for them.
pub(crate) fn makes_room(snapshot: &Snapshot, scope: &Scope, provider: Option<&CapacityProvider>) -> bool {
    let known = provider.and_then(|provider| snapshot.capacity_provider(scope, provider.as_str()));
    known.is_some_and(|known| known.scaling().is_some())
}

/// What is shown of where tasks go: AWS shows a strategy or a launch type, as one of them was asked for.
pub(super) fn shown(spec: &RevisionSpec) -> (Option<String>, Option<Vec<aws::CapacityProviderStrategyItem>>) {
    let strategy = &spec.capacity_provider_strategy;
    match strategy.is_empty() {
        true => (Some(spec.launch_type.as_str().to_owned()), None),
        false => (None, Some(rendered(strategy))),
    }
}

/// What a request says of where tasks go.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// Nothing: as its cluster says.
    Nothing,
    /// By a launch type.
    LaunchType(LaunchType),
    /// By shares.
    Strategy(CapacityProviderStrategy),
}

impl Asked {
    pub(super) fn parse(
        launch: Option<&str>,
        given: Option<&[aws::CapacityProviderStrategyItem]>,
    ) -> Result<Self, ApiError> {
        let launch = launch.filter(|launch| !launch.is_empty());
        match (launch, given.filter(|given| !given.is_empty())) {
            (Some(_), Some(_)) => Err(ApiError::invalid(BOTH)),
            (Some(launch), None) => fargate::launch_type(launch).map(Self::LaunchType),
            (None, Some(given)) => strategy(given).map(Self::Strategy),
            (None, None) => Ok(Self::Nothing),
        }
    }

    /// Whether its cluster says that the tasks go where they are cheapest.
    pub(super) fn prefers_cost(&self, cluster: &Cluster) -> bool {
        matches!(self, Self::Nothing) && cluster.prefers_cost()
    }

    /// What it comes to in that cluster: how tasks are launched, and by which shares they take room.
    pub(super) fn of(
        &self,
        snapshot: &Snapshot,
        cluster: &ClusterArn,
    ) -> Result<(LaunchType, CapacityProviderStrategy), ApiError> {
        let cluster = row_of(snapshot, cluster)?;
        let strategy = match self {
            Self::LaunchType(launch) => return Ok((*launch, CapacityProviderStrategy::default())),
            Self::Nothing => &cluster.default_capacity_provider_strategy,
            Self::Strategy(strategy) => strategy,
        };
        if strategy.is_empty() {
            return Ok((LaunchType::Ec2, CapacityProviderStrategy::default()));
        }
        if !strategy.shares_all_out() {
            return Err(ApiError::invalid(NO_WEIGHT));
        }
        if strategy.items().iter().any(|item| !cluster.capacity_providers.contains(&item.provider)) {
            return Err(ApiError::invalid(NOT_ASSOCIATED));
        }
        let launch = if strategy.is_fargate() { LaunchType::Fargate } else { LaunchType::Ec2 };
        Ok((launch, strategy.clone()))
    }
}

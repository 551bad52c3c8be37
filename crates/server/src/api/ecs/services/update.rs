//! UpdateService: what is asked of a service from now on. A change of what its tasks are begins a deployment.

use super::{
    TRIES, change, commit, connect, find,
    parse::{self, Controller},
    registries, render, strategy, too_busy,
};
use crate::{
    api::{
        ApiError,
        ecs::{awsvpc, capacity_providers::Asked, fargate, managed_volumes, resolve},
    },
    context::{Caller, Context},
};
use model::{
    AwsvpcConfiguration, CapacityProviderStrategy, LaunchType, NetworkMode, PlacementConstraint, RevisionSpec, Service,
    ServiceRegistry, ServiceStatus, Task, TaskDefinition,
};
use scheduler::service::{deploy, task_sets};
use shapes::ecs as aws;
use state::{Basis, ServiceChange, ServiceRow, Snapshot};
use std::sync::Arc;

/// Source: users of the original, as is the next.
const FORCE: &str = "When switching from launch type to capacity provider strategy on an existing service, or making a change \
     to a capacity provider strategy on a service that is already using one, you must force a new deployment.";
const NO_LAUNCH_TYPE: &str = "No launch type to fall back to for empty capacity provider strategy. Your service was not created \
     with a launch type.";

pub(crate) async fn update(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateServiceRequest,
) -> Result<aws::UpdateServiceResponse, ApiError> {
    let controller = parse::controller(request.deployment_controller.as_ref())?;
    let constraints = request.placement_constraints.clone().map(parse::constraints).transpose()?;
    let network = awsvpc::parse(ctx, caller, request.network_configuration.clone()).await?;
    let registries = request.service_registries.as_deref().map(|given| registries::parse(caller, given)).transpose()?;
    let connect = request.service_connect_configuration.as_ref().map(connect::parse).transpose()?;
    let wish = Wish { request: &request, constraints: constraints.as_deref(), network, registries, connect };
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        let row = find(&snapshot, caller, request.cluster.as_deref(), request.service.as_deref())?;
        match row.service.status {
            ServiceStatus::Active => {}
            ServiceStatus::Draining | ServiceStatus::Inactive => {
                return Err(ApiError::new("ServiceNotActiveException", "Service was not ACTIVE."));
            }
        }
        let (ours, own) = match &row.service.external {
            None => (Controller::Ecs, row.service.spec.as_ref()),
            Some(_) => (Controller::External, None),
        };
        if controller.is_some_and(|asked| asked != ours) {
            let text =
                "Longshore does not honour a change of deploymentController yet; remove it or see docs/coverage.md.";
            return Err(ApiError::invalid(text));
        }
        let decided = match own {
            Some(own) => decide(ctx, &snapshot, row, own, &wish)?,
            None => decide_external(ctx, row, &request)?,
        };
        let Some(change) = decided else {
            return Ok(aws::UpdateServiceResponse { service: Some(render::service(row, true)) });
        };
        if let Some(service) = commit(ctx, change).await? {
            return Ok(aws::UpdateServiceResponse { service: Some(service) });
        }
    }
    Err(too_busy())
}

/// The request, with those of its members parsed whose meaning does not depend on the service.
struct Wish<'a> {
    request: &'a aws::UpdateServiceRequest,
    constraints: Option<&'a [PlacementConstraint]>,
    network: Option<Arc<AwsvpcConfiguration>>,
    registries: Option<Vec<ServiceRegistry>>,
    connect: Option<connect::Asked>,
}

/// What the request makes of the service; `None` if that is what it is already.
fn decide(
    ctx: &Context,
    snapshot: &Snapshot,
    row: &ServiceRow,
    own: &RevisionSpec,
    wish: &Wish<'_>,
) -> Result<Option<ServiceChange>, ApiError> {
    let request = wish.request;
    let before = &*row.service;
    let mut service = before.clone();
    if let Some(count) = parse::desired(request.desired_count, before.scheduling)? {
        service.desired_count = count;
    }
    let grace = parse::grace(request.health_check_grace_period_seconds)?;
    service.health_check_grace_seconds = grace.or(service.health_check_grace_seconds);
    service.rules = parse::rules(request.deployment_configuration.clone(), service.rules, before.scheduling)?;
    let spec = spec(ctx, snapshot, before, own, wish)?;
    // What stays as it was is not looked at again: a service must still be scaled when a hook's definition is no more.
    if service.rules.strategy != before.rules.strategy || spec != *own {
        strategy::check_hooks(snapshot, &before.arn.cluster.scope, &service.rules.strategy, &spec)?;
    }
    let (was, is) = (&own.capacity_provider_strategy, &spec.capacity_provider_strategy);
    if was != is && request.force_new_deployment != Some(true) {
        return Err(ApiError::invalid(FORCE));
    }
    if was.is_empty() && !is.is_empty() {
        service.launch_type_before = Some(own.launch_type);
    }
    let obstacle = parse::unbalanceable(before.scheduling, &spec, &service.rules);
    let asked = request.availability_zone_rebalancing.as_deref();
    // What was never asked for by name must not stand in the way of old clients, which know no name for it.
    let otherwise = before.az_rebalancing && obstacle.is_none();
    service.az_rebalancing = parse::az_rebalancing(asked, otherwise, obstacle)?;
    service.execute_command = request.enable_execute_command.unwrap_or(before.execute_command);
    let deploys = spec != *own || request.force_new_deployment == Some(true);
    if !deploys && service == *before {
        return Ok(None);
    }
    let now = ctx.effects.now();
    let on = Basis::Version(before.version);
    if !deploys {
        return Ok(Some(change::record(ctx, on, service, Vec::new(), now)));
    }
    // One that is no more cannot be deployed anew.
    let definition = parse::known(snapshot.task_definition(&spec.task_definition))?;
    let story = before.primary().and_then(|primary| row.deployment(&primary.service_deployment));
    let tasks: Vec<&Task> = row.tasks().map(|task| &**task).collect();
    let new = change::new_deployment(ctx);
    let begun = deploy::begin(&service, Arc::new(spec), new, story.map(|story| &**story), &tasks, now);
    Ok(Some(change::begun(ctx, on, begun, definition, now)))
}

/// What a service can be asked that an external controller deploys. AWS: all else is for its task sets.
fn decide_external(
    ctx: &Context,
    row: &ServiceRow,
    request: &aws::UpdateServiceRequest,
) -> Result<Option<ServiceChange>, ApiError> {
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let refused = [
        ("task definition", set(&request.task_definition)),
        ("capacity provider strategy", request.capacity_provider_strategy.is_some()),
        ("deployment configuration", request.deployment_configuration.is_some()),
        ("placement constraints", request.placement_constraints.is_some()),
        ("placement strategy", request.placement_strategy.is_some()),
        ("platform version", set(&request.platform_version)),
        ("propagate tags", set(&request.propagate_tags)),
        ("network configuration", request.network_configuration.is_some()),
        ("volume configurations", request.volume_configurations.is_some()),
        ("service registries", request.service_registries.is_some()),
        ("Service Connect", request.service_connect_configuration.is_some()),
        ("ECS managed tags", request.enable_ecs_managed_tags.is_some()),
        ("availability zone rebalancing", request.availability_zone_rebalancing.as_deref() == Some("ENABLED")),
    ];
    let use_sets = "with an EXTERNAL deployment controller. Use CreateTaskSet to trigger a new deployment.";
    if let Some((what, _)) = refused.iter().find(|(_, asked)| *asked) {
        return Err(ApiError::invalid(format!("Unable to update {what} on services {use_sets}")));
    }
    if request.force_new_deployment == Some(true) {
        return Err(ApiError::invalid(format!("Cannot force a new deployment on services {use_sets}")));
    }
    let before = &*row.service;
    let count = parse::desired(request.desired_count, before.scheduling)?.unwrap_or(before.desired_count);
    let grace = parse::grace(request.health_check_grace_period_seconds)?.or(before.health_check_grace_seconds);
    let execute_command = request.enable_execute_command.unwrap_or(before.execute_command);
    let after = Service { health_check_grace_seconds: grace, execute_command, ..before.clone() };
    if count == before.desired_count && after == *before {
        return Ok(None);
    }
    let now = ctx.effects.now();
    Ok(Some(change::changed(ctx, Basis::Version(before.version), task_sets::resize(&after, count, now), now)))
}

/// How its tasks shall be launched, by the strategy that is given; an empty one gives the service its launch type back.
fn launch(
    snapshot: &Snapshot,
    service: &Service,
    own: &RevisionSpec,
    given: &[aws::CapacityProviderStrategyItem],
) -> Result<(LaunchType, CapacityProviderStrategy), ApiError> {
    if !given.is_empty() {
        return Asked::parse(None, Some(given))?.of(snapshot, &service.arn.cluster);
    }
    if own.capacity_provider_strategy.is_empty() {
        return Ok((own.launch_type, CapacityProviderStrategy::default()));
    }
    let before = service.launch_type_before.ok_or_else(|| ApiError::invalid(NO_LAUNCH_TYPE))?;
    Ok((before, CapacityProviderStrategy::default()))
}

/// What its tasks shall be. AWS: a change of any of it is a new deployment; what is not named stays, and an empty list
/// removes what there is.
fn spec(
    ctx: &Context,
    snapshot: &Snapshot,
    service: &Service,
    own: &RevisionSpec,
    wish: &Wish<'_>,
) -> Result<RevisionSpec, ApiError> {
    let request = wish.request;
    let mut spec = own.clone();
    let scope = &service.arn.cluster.scope;
    if let Some(name) = request.task_definition.as_deref().filter(|name| !name.is_empty()) {
        let found = resolve::task_definition(snapshot, scope, name);
        // AWS: one that was deregistered may stay, but no service may change to it.
        let same = found.is_some_and(|found| found.arn == spec.task_definition);
        if !same {
            spec.task_definition = parse::usable(found)?.arn.clone();
        }
    }
    if let Some(constraints) = wish.constraints {
        spec.placement_constraints = constraints.to_vec();
    }
    if let Some(given) = &request.placement_strategy {
        spec.placement_strategy = parse::strategy(given.clone(), service.scheduling)?;
    }
    if let Some(propagate) = parse::propagate(request.propagate_tags.as_deref()) {
        spec.propagate_tags = propagate;
    }
    if let Some(managed) = request.enable_ecs_managed_tags {
        spec.managed_tags = managed;
    }
    if let Some(registries) = &wish.registries {
        spec.registries.clone_from(registries);
    }
    if let Some(given) = &request.capacity_provider_strategy {
        (spec.launch_type, spec.capacity_provider_strategy) = launch(snapshot, service, own, given)?;
        if spec.launch_type != LaunchType::Fargate {
            // AWS: a service that leaves Fargate leaves behind what only Fargate has.
            spec.platform_version = None;
        }
    }
    if let Some(version) = fargate::version(request.platform_version.as_deref(), spec.launch_type)? {
        spec.platform_version = Some(version);
    }
    if let Some(network) = &wish.network {
        spec.network = Some(network.clone());
    }
    if let Some(given) = &request.volume_configurations {
        spec.volume = managed_volumes::of_service(Some(given.clone()))?;
    }
    if let Some(definition) = snapshot.task_definition(&spec.task_definition) {
        fit(ctx, snapshot, service, (own, &mut spec), wish, definition)?;
    }
    Ok(spec)
}

/// Whether what its tasks shall be, which was `own`, goes with their definition.
fn fit(
    ctx: &Context,
    snapshot: &Snapshot,
    service: &Service,
    (own, spec): (&RevisionSpec, &mut RevisionSpec),
    wish: &Wish<'_>,
    definition: &TaskDefinition,
) -> Result<(), ApiError> {
    // AWS: a service that changes to another mode leaves behind what only the old one had.
    if definition.spec.effective_network_mode() != NetworkMode::Awsvpc && wish.network.is_none() {
        spec.network = None;
    }
    parse::check_fargate(service.scheduling, spec, definition)?;
    awsvpc::fits(spec.network.as_ref(), &definition.spec)?;
    // One of before, when this was let in, must still be scaled.
    if spec.network != own.network || spec.launch_type != own.launch_type {
        awsvpc::public_address_fits(spec.network.as_ref(), spec.launch_type)?;
    }
    managed_volumes::fits(spec.volume.as_ref(), &definition.spec)?;
    // One that is as it was is not looked at again: its registry may be gone, and the service must still be scaled.
    if spec.registries != own.registries || spec.task_definition != own.task_definition {
        registries::fits(snapshot, &service.arn.cluster.scope, &spec.registries, &definition.spec)?;
    }
    let subject = connect::Subject { service: &service.arn, definition: &definition.spec, own: own.connect.as_ref() };
    spec.connect = match (&wish.connect, &own.connect) {
        (Some(asked), _) => connect::decide(ctx, snapshot, asked, &subject)?,
        (None, Some(own_connect)) if spec.task_definition != own.task_definition => {
            Some(connect::again(own_connect, &definition.spec)?)
        }
        (None, own_connect) => own_connect.clone(),
    };
    parse::check_constraints(&spec.placement_constraints, definition)
}

//! What CreateService and UpdateService have in common: the members that say how a service is kept, checked.

use super::strategy;
use crate::api::{ApiError, ecs::fargate};
use model::{
    CircuitBreaker, Cleanup, Creation, DeploymentRules, EarlySuccess, LaunchType, PlacementConstraint,
    PlacementStrategy, PropagateTags, RevisionSpec, SchedulingStrategy, TaskDefinition, TaskDefinitionStatus,
    Threshold,
};
use scheduler::{Constraint, MAX_CONSTRAINTS, MAX_STRATEGIES, Strategy};
use serde::Serialize;
use sha2::{Digest, Sha256};
use shapes::ecs as aws;
use std::sync::Arc;

/// Most tasks of one service. Source: the quota "Tasks per service".
const MAX_DESIRED: i32 = 5_000;
/// Longest client token. Source: `CreateServiceRequest$clientToken`, `CreateTaskSetRequest$clientToken`.
const MAX_TOKEN: usize = 36;
/// What zones are told apart by.
const ZONE: &str = "ecs.availability-zone";

/// A text, if it says anything.
pub(super) fn set(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The client token, if it is one.
pub(super) fn token(given: Option<String>) -> Result<Option<String>, ApiError> {
    let token = set(given);
    if token.as_deref().is_some_and(|t| t.len() > MAX_TOKEN || !t.bytes().all(|b| (33..=126).contains(&b))) {
        return Err(ApiError::invalid("clientToken must be up to 36 ASCII characters between 33 and 126."));
    }
    Ok(token)
}

/// By what a request is recognised when it comes again; `said` is all of it but the token.
pub(super) fn creation(token: Option<String>, said: &impl Serialize) -> Result<Creation, ApiError> {
    let json = serde_json::to_vec(said).map_err(|error| ApiError::server(error.to_string()))?;
    Ok(Creation { token: token.map(Arc::from), request_sha256: hex::encode(Sha256::digest(json)).into() })
}

/// The refusal of a value that is known and not honoured yet.
pub(super) fn not_honoured(what: &str) -> ApiError {
    ApiError::invalid(format!("Longshore does not honour {what} yet; remove it or see docs/coverage.md."))
}

/// Who deploys a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Controller {
    Ecs,
    /// Someone who works with task sets.
    External,
}

/// The controller of a request that names one.
pub(super) fn controller(given: Option<&aws::DeploymentController>) -> Result<Option<Controller>, ApiError> {
    match given.and_then(|controller| controller.r#type.as_deref()) {
        None | Some("") => Ok(None),
        Some("ECS") => Ok(Some(Controller::Ecs)),
        Some("EXTERNAL") => Ok(Some(Controller::External)),
        Some(other) => Err(not_honoured(&format!("the deployment controller {other}"))),
    }
}

/// What the number of tasks follows. Other words than AWS's do not come this far.
pub(super) fn scheduling(given: Option<&str>) -> SchedulingStrategy {
    if given == Some("DAEMON") { SchedulingStrategy::Daemon } else { SchedulingStrategy::Replica }
}

/// Whose tags the tasks get. Other words than AWS's do not come this far.
pub(super) fn propagate(given: Option<&str>) -> Option<PropagateTags> {
    match given {
        Some("SERVICE") => Some(PropagateTags::Service),
        Some("TASK_DEFINITION") => Some(PropagateTags::TaskDefinition),
        Some("NONE") => Some(PropagateTags::None),
        Some(_) | None => None,
    }
}

/// The number of tasks asked for; a DAEMON takes none, not even 0.
pub(super) fn desired(given: Option<i32>, scheduling: SchedulingStrategy) -> Result<Option<u32>, ApiError> {
    match (scheduling, given) {
        (_, None) => Ok(None),
        (SchedulingStrategy::Daemon, Some(_)) => Err(ApiError::invalid(
            "The daemon scheduling strategy does not support a desired count for services. \
             Remove the desired count value and try again",
        )),
        (SchedulingStrategy::Replica, Some(count)) => match u32::try_from(count) {
            Err(_) => Err(ApiError::invalid("desiredCount must be at least 0.")),
            Ok(_) if count > MAX_DESIRED => Err(ApiError::invalid("Desired count exceeds limit.")),
            Ok(count) => Ok(Some(count)),
        },
    }
}

/// `healthCheckGracePeriodSeconds`.
pub(super) fn grace(given: Option<i32>) -> Result<Option<u32>, ApiError> {
    given.map(|seconds| at_least("healthCheckGracePeriodSeconds", seconds, 0)).transpose()
}

/// What holds where a request says nothing.
pub(super) fn default_rules(scheduling: SchedulingStrategy) -> DeploymentRules {
    let (minimum_healthy_percent, maximum_percent) = match scheduling {
        SchedulingStrategy::Replica => (100, 200),
        SchedulingStrategy::Daemon => (0, 100),
    };
    DeploymentRules {
        minimum_healthy_percent,
        maximum_percent,
        breaker: CircuitBreaker::default(),
        early_success: None,
        strategy: model::DeploymentStrategy::Rolling,
    }
}

/// `deploymentConfiguration` over what holds without it. Each member stands for itself: one that is absent changes nothing.
pub(super) fn rules(
    given: Option<aws::DeploymentConfiguration>,
    otherwise: DeploymentRules,
    scheduling: SchedulingStrategy,
) -> Result<DeploymentRules, ApiError> {
    let given = given.unwrap_or_default();
    let mut rules = otherwise;
    rules.strategy = strategy::parse(&given, rules.strategy, scheduling)?;
    if let Some(percent) = given.minimum_healthy_percent {
        rules.minimum_healthy_percent = at_least("minimumHealthyPercent", percent, 0)?;
    }
    if let Some(percent) = given.maximum_percent {
        rules.maximum_percent = at_least("maximumPercent", percent, 100)?;
    }
    if let Some(breaker) = given.deployment_circuit_breaker {
        rules.breaker = circuit_breaker(&breaker)?;
    }
    if let Some(early) = given.early_success_criteria {
        rules.early_success = early_success(&early)?;
    }
    check(&rules, scheduling)?;
    strategy::check(&rules)?;
    Ok(rules)
}

/// What services have no use for that an external controller deploys. AWS: rolling deployments alone have a circuit breaker.
pub(super) fn check_external(rules: &DeploymentRules) -> Result<(), ApiError> {
    let what = if rules.breaker.enable {
        "The deployment circuit breaker"
    } else if rules.early_success.is_some() {
        "earlySuccessCriteria"
    } else if !rules.strategy.is_rolling() {
        "The deployment strategy BLUE_GREEN"
    } else {
        return Ok(());
    };
    Err(ApiError::invalid(format!("{what} is supported only with the ECS deployment controller.")))
}

/// What the percentages must be together.
fn check(rules: &DeploymentRules, scheduling: SchedulingStrategy) -> Result<(), ApiError> {
    if rules.minimum_healthy_percent > 100 {
        return Err(ApiError::invalid("minimumHealthyPercent must be at most 100"));
    }
    if scheduling == SchedulingStrategy::Daemon && rules.maximum_percent > 100 {
        return Err(ApiError::invalid(
            "The daemon scheduling strategy does not support values above 100 for maximumPercent on a deployment \
             configuration. Change the maximumPercent value to 100, and try again",
        ));
    }
    if rules.minimum_healthy_percent == 100 && rules.maximum_percent == 100 {
        return Err(ApiError::invalid(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.",
        ));
    }
    match rules.early_success {
        Some(early) if early.healthy_percent < rules.minimum_healthy_percent => {
            Err(ApiError::invalid("The healthyPercent of earlySuccessCriteria must be at least minimumHealthyPercent."))
        }
        Some(_) | None => Ok(()),
    }
}

fn at_least(name: &str, value: i32, least: u32) -> Result<u32, ApiError> {
    let fits = u32::try_from(value).ok().filter(|value| *value >= least);
    fits.ok_or_else(|| ApiError::invalid(format!("{name} must be at least {least}")))
}

fn circuit_breaker(given: &aws::DeploymentCircuitBreaker) -> Result<CircuitBreaker, ApiError> {
    let threshold = match &given.threshold_configuration {
        None => Threshold::default(),
        Some(threshold) => {
            let value = at_least("The value of thresholdConfiguration", threshold.value.unwrap_or_default(), 1)?;
            match threshold.r#type.as_deref() {
                Some("COUNT") => Threshold::Count(value),
                Some("UNBOUNDED_PERCENT") => Threshold::UnboundedPercent(value),
                Some(_) | None => Threshold::BoundedPercent(value),
            }
        }
    };
    Ok(CircuitBreaker {
        enable: given.enable == Some(true),
        rollback: given.rollback == Some(true),
        threshold,
        reset_on_healthy_task: given.reset_on_healthy_task != Some(false),
    })
}

fn early_success(given: &aws::DeploymentEarlySuccessCriteria) -> Result<Option<EarlySuccess>, ApiError> {
    if given.enable != Some(true) {
        return Ok(None);
    }
    let percent = given.healthy_percent.and_then(|percent| u32::try_from(percent).ok());
    let Some(healthy_percent) = percent.filter(|percent| *percent <= 100) else {
        return Err(ApiError::invalid("The healthyPercent of earlySuccessCriteria must be between 0 and 100."));
    };
    let cleanup = match given.source_service_revision_cleanup.as_deref() {
        Some("DEFERRED") => Cleanup::Deferred,
        Some(_) | None => Cleanup::Blocking,
    };
    Ok(Some(EarlySuccess { healthy_percent, cleanup }))
}

/// The constraints of a request, each of which can be read.
pub(super) fn constraints(given: Vec<aws::PlacementConstraint>) -> Result<Vec<PlacementConstraint>, ApiError> {
    let read = |constraint: aws::PlacementConstraint| {
        let (kind, expression) = (constraint.r#type.unwrap_or_default(), set(constraint.expression));
        Constraint::parse(&kind, expression.as_deref()).map_err(|error| ApiError::invalid(error.to_string()))?;
        Ok(PlacementConstraint { kind: kind.into(), expression: expression.map(Arc::from) })
    };
    given.into_iter().map(read).collect()
}

/// AWS: the limit counts those of the task definition and those of the service together.
pub(super) fn check_constraints(own: &[PlacementConstraint], definition: &TaskDefinition) -> Result<(), ApiError> {
    if own.len() + definition.spec.placement_constraints.len() > MAX_CONSTRAINTS {
        let text = "A service can have at most 10 placement constraints, those of its task definition included.";
        return Err(ApiError::invalid(text));
    }
    Ok(())
}

/// The strategies of a request, each of which can be read.
pub(super) fn strategy(
    given: Vec<aws::PlacementStrategy>,
    scheduling: SchedulingStrategy,
) -> Result<Vec<PlacementStrategy>, ApiError> {
    if scheduling == SchedulingStrategy::Daemon && !given.is_empty() {
        return Err(ApiError::invalid(
            "The daemon scheduling strategy does not support placement strategies. \
             Remove the placement strategy and try again",
        ));
    }
    if given.len() > MAX_STRATEGIES {
        return Err(ApiError::invalid("A service can have at most 5 placement strategies."));
    }
    let read = |strategy: aws::PlacementStrategy| {
        let (kind, field) = (strategy.r#type.unwrap_or_default(), set(strategy.field));
        Strategy::parse(&kind, field.as_deref()).map_err(|error| ApiError::invalid(error.to_string()))?;
        Ok(PlacementStrategy { kind: kind.into(), field: field.map(Arc::from) })
    };
    given.into_iter().map(read).collect()
}

/// The definition must exist.
pub(super) fn known(found: Option<&Arc<TaskDefinition>>) -> Result<&Arc<TaskDefinition>, ApiError> {
    found.ok_or_else(|| ApiError::client("TaskDefinition not found."))
}

/// The definition must exist and be one that new services may use.
pub(super) fn usable(found: Option<&Arc<TaskDefinition>>) -> Result<&Arc<TaskDefinition>, ApiError> {
    let definition = known(found)?;
    match definition.status {
        TaskDefinitionStatus::Active => Ok(definition),
        TaskDefinitionStatus::Inactive | TaskDefinitionStatus::DeleteInProgress => {
            Err(ApiError::client("TaskDefinition is inactive"))
        }
    }
}

/// Why the zones of such a service cannot be balanced. Source: "Balancing an Amazon ECS service across Availability
/// Zones" in the developer guide.
pub(super) fn unbalanceable(
    scheduling: SchedulingStrategy,
    spec: &RevisionSpec,
    rules: &DeploymentRules,
) -> Option<&'static str> {
    let first_is_zones = spec.placement_strategy.first().is_none_or(|strategy| {
        &*strategy.kind == "spread"
            && strategy.field.as_deref().and_then(|field| field.strip_prefix("attribute:")) == Some(ZONE)
    });
    let binds_zones = |constraint: &PlacementConstraint| {
        constraint.expression.as_deref().is_some_and(|expression| expression.contains(ZONE))
    };
    if scheduling == SchedulingStrategy::Daemon {
        Some("the DAEMON scheduling strategy")
    } else if spec.launch_type == LaunchType::External {
        Some("the EXTERNAL launch type")
    } else if rules.maximum_percent <= 100 {
        Some("a maximumPercent of 100")
    } else if !first_is_zones {
        Some("a first placement strategy other than spread by attribute:ecs.availability-zone")
    } else if spec.placement_constraints.iter().any(binds_zones) {
        Some("a placement constraint on attribute:ecs.availability-zone")
    } else {
        None
    }
}

/// Whether zones are balanced: what was asked for, if it can be.
pub(super) fn az_rebalancing(asked: Option<&str>, otherwise: bool, obstacle: Option<&str>) -> Result<bool, ApiError> {
    let enabled = match asked {
        Some("ENABLED") => true,
        Some("DISABLED") => false,
        Some(_) | None => otherwise,
    };
    match obstacle.filter(|_| enabled) {
        None => Ok(enabled),
        Some(obstacle) => Err(ApiError::invalid(format!(
            "Availability Zone rebalancing does not support {obstacle}. Set availabilityZoneRebalancing to DISABLED and \
             try again."
        ))),
    }
}

/// What Fargate says against what the tasks shall be. AWS: daemons follow instances, of which it shows none.
pub(super) fn check_fargate(
    scheduling: SchedulingStrategy,
    spec: &RevisionSpec,
    definition: &TaskDefinition,
) -> Result<(), ApiError> {
    fargate::platform(spec.launch_type, spec.platform_version, &definition.spec)?;
    fargate::no_rules(spec.launch_type, !spec.placement_constraints.is_empty(), !spec.placement_strategy.is_empty())?;
    if spec.launch_type == LaunchType::Fargate && scheduling == SchedulingStrategy::Daemon {
        return Err(ApiError::invalid("The daemon scheduling strategy is not supported with FARGATE launch type."));
    }
    if !spec.capacity_provider_strategy.is_empty() && scheduling == SchedulingStrategy::Daemon {
        let text = "A capacity provider strategy is not supported with the daemon scheduling strategy.";
        return Err(ApiError::invalid(text));
    }
    Ok(())
}

//! Capacity providers of Auto Scaling groups: made, changed, deleted. Those of managed instances would need machines that we do not
//! make; they are refused by name.

use super::{
    capacity_providers::{NOT_FOUND, bare_name},
    state_change::id,
    tags,
};
use crate::api::{
    ApiError,
    honoured::{Row, row},
};
use crate::context::{Caller, Context};
use model::{
    AutoScalingGroup, AutoScalingProvider, Cluster, ManagedScaling, auto_scaling_group::name_in_arn, provider_name,
};
use shapes::ecs as aws;
use state::{Command, Committed, Outcome, Snapshot};
use std::sync::Arc;

pub(crate) const HONOURED: &[Row] = &[
    row("CreateCapacityProvider", &["autoScalingGroupProvider.*", "name", "tags.*"]),
    row("UpdateCapacityProvider", &["autoScalingGroupProvider.*", "name"]),
    row("DeleteCapacityProvider", &["capacityProvider"]),
];

const NO_GROUP: &str =
    "The specified Auto Scaling group is not found. Specify a valid Auto Scaling group ARN and try again.";
const NO_SCALING: &str = "The managed termination protection setting for the capacity provider is invalid. To enable managed \
     termination protection for a capacity provider, managed scaling must be enabled.";
const UNPROTECTED: &str = "The managed termination protection setting for the capacity provider is invalid. To enable managed \
     termination protection for a capacity provider, the Auto Scaling group must have instance protection from scale in \
     enabled.";
/// The hook that AWS installs, by the name that its users know it by.
pub(crate) const DRAINING_HOOK: &str = "ecs-managed-draining-termination-hook";
const STEPS: &str = "The managed scaling minimumScalingStepSize must not be greater than the maximumScalingStepSize.";

pub(crate) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateCapacityProviderRequest,
) -> Result<aws::CreateCapacityProviderResponse, ApiError> {
    let name = request.name.unwrap_or_default();
    let name = provider_name(&name).map_err(|wrong| ApiError::invalid_name(&wrong))?;
    let given = request.auto_scaling_group_provider;
    let given = given.ok_or_else(|| ApiError::invalid("The autoScalingGroupProvider parameter must be specified."))?;
    let snapshot = ctx.store.snapshot();
    let group = group(&snapshot, caller, given.auto_scaling_group_arn.as_deref().unwrap_or_default())?;
    let provider = AutoScalingProvider {
        scope: caller.scope.clone(),
        name,
        group: group.name.clone(),
        group_arn: group.arn(),
        managed_scaling: scaling(ManagedScaling::default(), given.managed_scaling.as_ref())?,
        protects_tasks: is_enabled(given.managed_termination_protection.as_deref()).unwrap_or(false),
        drains: is_enabled(given.managed_draining.as_deref()).unwrap_or(true),
        deleted: false,
        updated: false,
        tags: tags::parse(request.tags)?,
        created_at: ctx.effects.now(),
    };
    check(&provider, Some(group))?;
    let committed = ctx.store.commit(Command::CreateCapacityProvider(provider)).await?;
    Ok(aws::CreateCapacityProviderResponse { capacity_provider: Some(answer(&committed)?) })
}

pub(crate) async fn update(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateCapacityProviderRequest,
) -> Result<aws::UpdateCapacityProviderResponse, ApiError> {
    let snapshot = ctx.store.snapshot();
    let known = find(&snapshot, caller, request.name.as_deref().unwrap_or_default())?;
    let given = request.auto_scaling_group_provider.unwrap_or_default();
    let managed_scaling =
        given.managed_scaling.as_ref().map(|given| scaling(known.managed_scaling, Some(given))).transpose()?;
    let protects_tasks = is_enabled(given.managed_termination_protection.as_deref());
    let drains = is_enabled(given.managed_draining.as_deref());
    let after = AutoScalingProvider {
        managed_scaling: managed_scaling.unwrap_or(known.managed_scaling),
        protects_tasks: protects_tasks.unwrap_or(known.protects_tasks),
        ..AutoScalingProvider::clone(known)
    };
    check(&after, snapshot.scaling_group(&caller.scope, &known.group).map(|group| &**group))?;
    let (scope, name) = (caller.scope.clone(), known.name.clone());
    let command = Command::UpdateCapacityProvider { scope, name, managed_scaling, protects_tasks, drains };
    let committed = ctx.store.commit(command).await?;
    Ok(aws::UpdateCapacityProviderResponse { capacity_provider: Some(answer(&committed)?) })
}

pub(crate) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteCapacityProviderRequest,
) -> Result<aws::DeleteCapacityProviderResponse, ApiError> {
    let snapshot = ctx.store.snapshot();
    let given = request.capacity_provider.as_deref().unwrap_or_default();
    if model::CapacityProvider::named(bare_name(&caller.scope, given)).is_fargate() {
        return Err(ApiError::invalid("The specified capacity provider is reserved and cannot be deleted."));
    }
    let name = find(&snapshot, caller, given)?.name.clone();
    let command = Command::DeleteCapacityProvider { scope: caller.scope.clone(), name };
    let committed = ctx.store.commit(command).await?;
    Ok(aws::DeleteCapacityProviderResponse { capacity_provider: Some(answer(&committed)?) })
}

/// The provider of a name or an ARN, if it was not deleted.
pub(super) fn find<'a>(
    snapshot: &'a Snapshot,
    caller: &Caller,
    given: &str,
) -> Result<&'a Arc<AutoScalingProvider>, ApiError> {
    let known = snapshot.capacity_provider(&caller.scope, bare_name(&caller.scope, given));
    known.filter(|known| !known.deleted).ok_or_else(|| ApiError::invalid(NOT_FOUND))
}

/// The group of an ARN, or of a name as AWS takes it too.
fn group<'a>(snapshot: &'a Snapshot, caller: &Caller, given: &str) -> Result<&'a AutoScalingGroup, ApiError> {
    let named = snapshot.scaling_group(&caller.scope, name_in_arn(given).unwrap_or(given));
    let found = named.filter(|group| !group.deleting && (!given.starts_with("arn:") || group.arn() == given));
    found.map(|group| &**group).ok_or_else(|| ApiError::invalid(NO_GROUP))
}

/// What is given, laid over what there is. The ranges are the model's.
fn scaling(known: ManagedScaling, given: Option<&aws::ManagedScaling>) -> Result<ManagedScaling, ApiError> {
    let Some(given) = given else { return Ok(known) };
    let number = |given: Option<i32>, known: u32| given.and_then(|number| u32::try_from(number).ok()).unwrap_or(known);
    let scaling = ManagedScaling {
        // Who says how, wants it; AWS names no default.
        enabled: is_enabled(given.status.as_deref()).unwrap_or(true),
        target_capacity: number(given.target_capacity, known.target_capacity),
        min_step: number(given.minimum_scaling_step_size, known.min_step),
        max_step: number(given.maximum_scaling_step_size, known.max_step),
        warmup: number(given.instance_warmup_period, known.warmup),
    };
    if scaling.min_step > scaling.max_step {
        return Err(ApiError::invalid(STEPS));
    }
    Ok(scaling)
}

fn check(provider: &AutoScalingProvider, group: Option<&AutoScalingGroup>) -> Result<(), ApiError> {
    if !provider.protects_tasks {
        return Ok(());
    }
    if !provider.managed_scaling.enabled {
        return Err(ApiError::invalid(NO_SCALING));
    }
    match group.is_some_and(|group| group.protects_new) {
        true => Ok(()),
        false => Err(ApiError::invalid(UNPROTECTED)),
    }
}

/// The words themselves have been checked by the model.
fn is_enabled(word: Option<&str>) -> Option<bool> {
    word.filter(|word| !word.is_empty()).map(|word| word == "ENABLED")
}

fn answer(committed: &Committed) -> Result<aws::CapacityProvider, ApiError> {
    let Outcome::CapacityProvider(provider) = &committed.outcome else {
        return Err(ApiError::server("The command answered with something else than the capacity provider"));
    };
    Ok(render(provider, true))
}

/// What is attached to a cluster for its providers: what scales their groups, and what lets tasks move. Fargate's need nothing.
pub(super) fn attachments(snapshot: &Snapshot, cluster: &Cluster) -> Vec<aws::Attachment> {
    let own = cluster.capacity_providers.iter();
    let own = own.filter_map(|one| snapshot.capacity_provider(&cluster.arn.scope, one.as_str()));
    let mut all = Vec::new();
    for provider in own {
        let mut attach = |kind: &str, name: &str, value: &dyn Fn(&str) -> String| {
            let id = id(&[&cluster.arn.to_string(), &provider.name, kind]);
            let pair =
                |name: &str, value: String| aws::KeyValuePair { name: Some(name.to_owned()), value: Some(value) };
            all.push(aws::Attachment {
                details: Some(vec![pair("capacityProviderName", provider.name.to_string()), pair(name, value(&id))]),
                status: Some("CREATED".to_owned()),
                r#type: Some(kind.to_owned()),
                id: Some(id),
            });
        };
        if provider.scaling().is_some() {
            attach("as_policy", "scalingPolicyName", &|id| format!("ECSManagedAutoScalingPolicy-{id}"));
        }
        if provider.drains {
            attach("managed_draining", "autoScalingLifecycleHookName", &|_| DRAINING_HOOK.to_owned());
        }
    }
    all
}

pub(super) fn render(provider: &AutoScalingProvider, with_tags: bool) -> aws::CapacityProvider {
    let word = |enabled: bool| Some(if enabled { "ENABLED" } else { "DISABLED" }.to_owned());
    let number = |number: u32| i32::try_from(number).ok();
    let scaling = &provider.managed_scaling;
    let update = match (provider.deleted, provider.updated) {
        (true, _) => Some("DELETE_COMPLETE"),
        (false, true) => Some("UPDATE_COMPLETE"),
        (false, false) => None,
    };
    aws::CapacityProvider {
        capacity_provider_arn: Some(provider.arn()),
        name: Some(provider.name.to_string()),
        status: Some(if provider.deleted { "INACTIVE" } else { "ACTIVE" }.to_owned()),
        r#type: Some("EC2_AUTOSCALING".to_owned()),
        auto_scaling_group_provider: Some(aws::AutoScalingGroupProvider {
            auto_scaling_group_arn: Some(provider.group_arn.clone()),
            managed_scaling: Some(aws::ManagedScaling {
                status: word(scaling.enabled),
                target_capacity: number(scaling.target_capacity),
                minimum_scaling_step_size: number(scaling.min_step),
                maximum_scaling_step_size: number(scaling.max_step),
                instance_warmup_period: number(scaling.warmup),
            }),
            managed_termination_protection: word(provider.protects_tasks),
            managed_draining: word(provider.drains),
        }),
        update_status: update.map(str::to_owned),
        tags: Some(if with_tags { tags::render(&provider.tags) } else { Vec::new() }),
        ..aws::CapacityProvider::default()
    }
}

//! Deployment strategies on the wire: ROLLING, and BLUE_GREEN with its bake time and lifecycle hooks.
//!
//! Deliberately absent, and refused by name: LINEAR and CANARY, which are about nothing but the shares of a load balancer's
//! traffic, and hooks that are Lambda functions: a hook here is a URL that is called as one would be, or a task.

use super::{
    int,
    parse::{self, not_honoured},
    render::time,
};
use crate::api::{
    ApiError,
    ecs::{awsvpc, fargate, managed_volumes},
};
use http::Uri;
use model::{
    BlueGreen, DeploymentRules, DeploymentStrategy, HookAction, HookRun, HookTarget, LifecycleHook, LifecycleStage,
    NetworkMode, RevisionSpec, SchedulingStrategy, Scope, ServiceDeployment, TaskDefinitionArn,
};
use shapes::ecs as aws;
use state::Snapshot;

/// Where a request says nothing. AWS: the console's, and the model's documentation.
const BAKE_MINUTES: u32 = 15;
/// Longest bake time, in minutes.
const MAX_BAKE_MINUTES: u32 = 24 * 60;
/// How long a hook may take where its request says nothing, and at most, in minutes. Source: the model's documentation.
const TIMEOUT_MINUTES: u32 = 24 * 60;
const MAX_TIMEOUT_MINUTES: u32 = 14 * 24 * 60;
/// Hooks of one service. Ours: each turn of one is kept in the deployment's record.
const MAX_HOOKS: usize = 20;
/// Bytes of a hook's own JSON. Ours: it is kept with the service and with each of its deployments.
const MAX_DETAILS: usize = 4 << 10;
/// Longest URL of a hook. Ours: what proxies and servers take.
const MAX_URL: usize = 2_048;

/// The strategy of a request, over what holds without it.
pub(super) fn parse(
    given: &aws::DeploymentConfiguration,
    otherwise: DeploymentStrategy,
    scheduling: SchedulingStrategy,
) -> Result<DeploymentStrategy, ApiError> {
    let bake = given.bake_time_in_minutes;
    let hooks = given.lifecycle_hooks.as_deref();
    let before = match (given.strategy.as_deref(), otherwise) {
        (None | Some(""), otherwise) => otherwise,
        (Some("ROLLING"), _) => DeploymentStrategy::Rolling,
        (Some("BLUE_GREEN"), otherwise @ DeploymentStrategy::BlueGreen(_)) => otherwise,
        (Some("BLUE_GREEN"), DeploymentStrategy::Rolling) => {
            DeploymentStrategy::BlueGreen(BlueGreen { bake_minutes: BAKE_MINUTES, hooks: Vec::new() })
        }
        (Some(other), _) => {
            return Err(ApiError::invalid(format!(
                "The deployment strategy {other} shifts the traffic of a load balancer, and Longshore does not serve load \
                 balancers for services yet; use BLUE_GREEN or ROLLING, or see docs/coverage.md."
            )));
        }
    };
    match before {
        DeploymentStrategy::Rolling => {
            // AWS: 0 is what describing a rolling service shows, and what tools send back.
            if bake.is_some_and(|minutes| minutes != 0) {
                return Err(ApiError::invalid("bakeTimeInMinutes is supported only with the BLUE_GREEN strategy."));
            }
            if hooks.is_some_and(|hooks| !hooks.is_empty()) {
                return Err(ApiError::invalid("lifecycleHooks are supported only with the BLUE_GREEN strategy."));
            }
            Ok(DeploymentStrategy::Rolling)
        }
        DeploymentStrategy::BlueGreen(mut how) => {
            if scheduling == SchedulingStrategy::Daemon {
                return Err(ApiError::invalid(
                    "The daemon scheduling strategy does not support the deployment strategy BLUE_GREEN.",
                ));
            }
            if let Some(minutes) = bake {
                how.bake_minutes = between("bakeTimeInMinutes", minutes, 0, MAX_BAKE_MINUTES)?;
            }
            if let Some(given) = hooks {
                if given.len() > MAX_HOOKS {
                    return Err(ApiError::invalid(format!(
                        "lifecycleHooks cannot have more than {MAX_HOOKS} elements."
                    )));
                }
                how.hooks = given.iter().map(hook).collect::<Result<_, _>>()?;
            }
            Ok(DeploymentStrategy::BlueGreen(how))
        }
    }
}

/// What a strategy cannot have beside it.
pub(super) fn check(rules: &DeploymentRules) -> Result<(), ApiError> {
    if rules.early_success.is_some() && !rules.strategy.is_rolling() {
        return Err(ApiError::invalid("earlySuccessCriteria is supported only with the ROLLING strategy."));
    }
    Ok(())
}

fn between(name: &str, value: i32, least: u32, most: u32) -> Result<u32, ApiError> {
    let fits = u32::try_from(value).ok().filter(|value| (least..=most).contains(value));
    fits.ok_or_else(|| ApiError::invalid(format!("{name} must be between {least} and {most}.")))
}

fn hook(given: &aws::DeploymentLifecycleHook) -> Result<LifecycleHook, ApiError> {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (target_arn, role) = (set(&given.hook_target_arn), set(&given.role_arn));
    let details = given.hook_details.as_ref().filter(|details| !details.is_null());
    let target = if given.target_type.as_deref() == Some("PAUSE") {
        for (name, is_set) in
            [("hookTargetArn", target_arn.is_some()), ("roleArn", role.is_some()), ("hookDetails", details.is_some())]
        {
            if is_set {
                return Err(ApiError::invalid(format!("{name} is not applicable to PAUSE lifecycle hooks.")));
            }
        }
        HookTarget::Pause
    } else {
        target_of(target_arn.as_deref())?
    };
    let stages = given.lifecycle_stages.iter().flatten().map(|word| stage(word, &target));
    let stages = stages.collect::<Result<Vec<_>, _>>()?;
    if stages.is_empty() {
        return Err(ApiError::invalid("lifecycleStages of a lifecycle hook cannot be empty."));
    }
    let details = details.map(ToString::to_string);
    if details.as_ref().is_some_and(|details| details.len() > MAX_DETAILS) {
        return Err(ApiError::invalid(format!("hookDetails cannot be longer than {MAX_DETAILS} bytes.")));
    }
    let timeout = given.timeout_configuration.clone().unwrap_or_default();
    let minutes = timeout.timeout_in_minutes;
    let minutes = minutes.map(|minutes| between("timeoutInMinutes", minutes, 1, MAX_TIMEOUT_MINUTES)).transpose()?;
    Ok(LifecycleHook {
        target,
        role: role.map(Into::into),
        stages,
        details: details.map(Into::into),
        timeout_minutes: minutes.unwrap_or(TIMEOUT_MINUTES),
        on_timeout: action(timeout.action.as_deref()).unwrap_or(HookAction::RollBack),
    })
}

/// What is to be done, if that is said. Other words than AWS's do not come this far.
pub(super) fn action(given: Option<&str>) -> Option<HookAction> {
    match given {
        Some("CONTINUE") => Some(HookAction::Continue),
        Some("ROLLBACK") => Some(HookAction::RollBack),
        Some(_) | None => None,
    }
}

/// Whether the tasks that hooks name can be run as the service's own are: in its subnets, on what it is launched on.
pub(super) fn check_hooks(
    snapshot: &Snapshot,
    scope: &Scope,
    strategy: &DeploymentStrategy,
    spec: &RevisionSpec,
) -> Result<(), ApiError> {
    let named = strategy.hooks().iter().filter_map(|hook| match &hook.target {
        HookTarget::Task(arn) => Some(arn),
        HookTarget::Pause | HookTarget::Http(_) => None,
    });
    for arn in named {
        let own = snapshot.task_definition(arn).filter(|_| arn.scope == *scope);
        let fits = parse::usable(own).and_then(|definition| {
            let network = match definition.spec.effective_network_mode() {
                NetworkMode::Awsvpc => spec.network.as_ref(),
                NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None => None,
            };
            awsvpc::fits(network, &definition.spec)?;
            managed_volumes::fits(None, &definition.spec)?;
            fargate::platform(spec.launch_type, spec.platform_version, &definition.spec).map(|_| ())
        });
        fits.map_err(|why| ApiError::invalid(format!("hookTargetArn {arn}: {}", why.message)))?;
    }
    Ok(())
}

fn target_of(given: Option<&str>) -> Result<HookTarget, ApiError> {
    let Some(text) = given else {
        return Err(ApiError::invalid("hookTargetArn is required for lifecycle hooks that are not of the type PAUSE."));
    };
    if let Ok(arn) = text.parse::<TaskDefinitionArn>() {
        return Ok(HookTarget::Task(arn));
    }
    if text.starts_with("arn:") {
        return Err(not_honoured(
            "a Lambda function as the target of a lifecycle hook (name an http:// or https:// URL, which is called with the \
             same payload and gives the same answer, or the ARN of a task definition with its revision, of which a task is run)",
        ));
    }
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        text.len() <= MAX_URL && matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()
    });
    // The URL is not repeated: it may hold a secret.
    let _ = uri.ok_or_else(|| {
        ApiError::invalid("hookTargetArn must be an http:// or https:// URL, or the ARN of a task definition.")
    })?;
    Ok(HookTarget::Http(text.into()))
}

fn stage(word: &str, target: &HookTarget) -> Result<LifecycleStage, ApiError> {
    let stage = LifecycleStage::parse(word).filter(|stage| stage.takes_hooks());
    let stage = stage.ok_or_else(|| ApiError::invalid(format!("Lifecycle hooks are not supported at {word}.")))?;
    if *target == HookTarget::Pause && stage.shifts_traffic() {
        return Err(ApiError::invalid(format!("PAUSE lifecycle hooks are not supported at {word}.")));
    }
    Ok(stage)
}

/// What of a strategy stands in a configuration.
pub(super) fn render(strategy: &DeploymentStrategy) -> aws::DeploymentConfiguration {
    let (bake_minutes, hooks) = match strategy {
        // AWS: shown for rolling deployments too, which have none.
        DeploymentStrategy::Rolling => (0, None),
        DeploymentStrategy::BlueGreen(how) => (how.bake_minutes, Some(how.hooks.iter().map(render_hook).collect())),
    };
    aws::DeploymentConfiguration {
        strategy: Some(strategy.as_str().to_owned()),
        bake_time_in_minutes: Some(int(bake_minutes)),
        lifecycle_hooks: hooks,
        ..aws::DeploymentConfiguration::default()
    }
}

fn render_hook(hook: &LifecycleHook) -> aws::DeploymentLifecycleHook {
    let (kind, arn) = render_target(&hook.target);
    aws::DeploymentLifecycleHook {
        target_type: Some(kind),
        hook_target_arn: arn,
        role_arn: hook.role.as_deref().map(str::to_owned),
        lifecycle_stages: Some(hook.stages.iter().map(|stage| stage.as_str().to_owned()).collect()),
        hook_details: hook.details.as_deref().and_then(|details| serde_json::from_str(details).ok()),
        timeout_configuration: Some(aws::DeploymentLifecycleHookTimeoutConfiguration {
            timeout_in_minutes: Some(int(hook.timeout_minutes)),
            action: Some(hook.on_timeout.as_str().to_owned()),
        }),
    }
}

/// AWS's word for what is not PAUSE stays, so that its clients can read it: a URL, or a definition's ARN, stands where a function's ARN
/// would.
fn render_target(target: &HookTarget) -> (String, Option<String>) {
    match target {
        HookTarget::Pause => ("PAUSE".to_owned(), None),
        HookTarget::Http(url) => ("AWS_LAMBDA".to_owned(), Some(url.to_string())),
        HookTarget::Task(arn) => ("AWS_LAMBDA".to_owned(), Some(arn.to_string())),
    }
}

/// What has become of a deployment's hooks.
pub(super) fn render_runs(story: &ServiceDeployment) -> Option<Vec<aws::DeploymentLifecycleHookDetail>> {
    let hooks = story.rules.strategy.hooks();
    let shown = |run: &HookRun| {
        let hook = hooks.get(run.hook);
        let (kind, arn) = hook.map(|hook| render_target(&hook.target)).unzip();
        aws::DeploymentLifecycleHookDetail {
            hook_id: Some(run.id.to_string()),
            status: Some(run.status.as_str().to_owned()),
            expires_at: Some(time(run.expires_at)),
            target_type: kind,
            target_arn: arn.flatten(),
            timeout_action: hook.map(|hook| hook.on_timeout.as_str().to_owned()),
        }
    };
    story.lifecycle.as_ref().map(|lifecycle| lifecycle.hooks.iter().map(shown).collect())
}

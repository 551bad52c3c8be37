//! What requests say of Fargate: its platform, and what cannot be asked for with it.

use crate::api::ApiError;
use model::{Attribute, LaunchType, Platform, PlatformVersion, RevisionSpec, TaskDefinitionSpec};
use scheduler::{Candidate, PlacementRequest, Strategy};
use std::borrow::Cow;

/// What is said where the pool has no room. Source: observed with the original.
pub(crate) const NO_CAPACITY: &str =
    "Capacity is unavailable at this time. Please try again later or in a different availability zone";

/// Why the pool takes no more of such tasks. AWS's pool can do whatever Fargate allows; ours
/// is what it was given, and what none of its machines can do will not come to be by waiting.
pub(crate) fn not_placed<C: Candidate>(pool: &[C], request: &PlacementRequest<'_>) -> Cow<'static, str> {
    let lacking = scheduler::lacking_everywhere(pool, request).map(|at| &request.required_attributes[at]);
    lacking.map_or(Cow::Borrowed(NO_CAPACITY), |attribute| {
        let value = attribute.value.as_ref().map(|value| format!(" {value}")).unwrap_or_default();
        format!("No machine given to Fargate has the attribute {}{value} that the task requires", attribute.name).into()
    })
}

/// The launch type of that name.
pub(crate) fn launch_type(given: &str) -> Result<LaunchType, ApiError> {
    match given {
        "EC2" => Ok(LaunchType::Ec2),
        "EXTERNAL" => Ok(LaunchType::External),
        "FARGATE" => Ok(LaunchType::Fargate),
        other => {
            let text = format!("Longshore does not honour launchType {other} yet; see docs/coverage.md.");
            Err(ApiError::invalid(text))
        }
    }
}

/// The version of the platform that a request asks for, which only Fargate has.
pub(crate) fn version(given: Option<&str>, launch: LaunchType) -> Result<Option<PlatformVersion>, ApiError> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(None) };
    match launch {
        LaunchType::Ec2 | LaunchType::External => {
            let kind = launch.as_str();
            let text = format!("The platform version must be null when specifying an {kind} launch type.");
            return Err(ApiError::invalid(text));
        }
        LaunchType::Fargate => {}
    }
    let unknown =
        || ApiError::new("PlatformUnknownException", format!("The specified platform version {given} doesn't exist."));
    PlatformVersion::parse(given).map(Some).ok_or_else(unknown)
}

/// What the tasks run on; `None` where that is no affair of Fargate's.
pub(crate) fn platform(
    launch: LaunchType,
    version: Option<PlatformVersion>,
    spec: &TaskDefinitionSpec,
) -> Result<Option<Platform>, ApiError> {
    match launch {
        LaunchType::Ec2 | LaunchType::External => return Ok(None),
        LaunchType::Fargate => {}
    }
    if spec.check_fargate().is_err() {
        return Err(ApiError::invalid("Task definition does not support launch_type FARGATE."));
    }
    let incompatible = || {
        let text = "The specified platform version does not satisfy the task definition's required capabilities.";
        ApiError::new("PlatformTaskDefinitionIncompatibilityException", text)
    };
    spec.platform(version.unwrap_or_default()).map(Some).ok_or_else(incompatible)
}

/// The version that a service was asked to run on. AWS: the newest is shown by that name.
pub(crate) fn asked_version(spec: &RevisionSpec) -> Option<String> {
    let asked = spec.platform_version.map_or("LATEST", PlatformVersion::as_str);
    (spec.launch_type == LaunchType::Fargate).then(|| asked.to_owned())
}

/// The version that tasks of a deployment run on.
pub(crate) fn shown_version(spec: &RevisionSpec) -> Option<String> {
    let version = spec.platform_version.unwrap_or_default();
    (spec.launch_type == LaunchType::Fargate).then(|| version.as_str().to_owned())
}

/// The platform's family; there is no other here.
pub(crate) fn family(spec: &RevisionSpec) -> Option<String> {
    (spec.launch_type == LaunchType::Fargate).then(|| Platform::FAMILY.to_owned())
}

/// Refuses rules about instances, of which Fargate shows none.
pub(crate) fn no_rules(launch: LaunchType, constraints: bool, strategies: bool) -> Result<(), ApiError> {
    match launch {
        LaunchType::Fargate if constraints => {
            Err(ApiError::invalid("Placement constraints are not supported with FARGATE launch type."))
        }
        LaunchType::Fargate if strategies => {
            Err(ApiError::invalid("Placement strategies are not supported with FARGATE launch type."))
        }
        LaunchType::Ec2 | LaunchType::External | LaunchType::Fargate => Ok(()),
    }
}

/// How tasks are spread over the pool: over the zones, and in each where least memory is left, so that large tasks find room.
pub(crate) fn strategy() -> Vec<Strategy> {
    [("spread", "attribute:ecs.availability-zone"), ("binpack", "memory")]
        .map(|(kind, field)| Strategy::parse(kind, Some(field)).expect("both are strategies"))
        .into()
}

/// What an instance of the pool must have. AWS: a task that does not name its processor gets the one of all others.
pub(crate) fn required(platform: Platform, mut required: Vec<Attribute>) -> Vec<Attribute> {
    const ARCHITECTURE: &str = "ecs.cpu-architecture";
    required.retain(|attribute| attribute.name != ARCHITECTURE);
    let value = Some(platform.architecture.as_str().to_ascii_lowercase());
    required.push(Attribute { name: ARCHITECTURE.to_owned(), value });
    required
}

//! What requests say of groups, checked.

use super::{invalid, not_honoured};
use crate::{
    api::{ApiError, ec2::launch_templates},
    context::Context,
};
use model::{
    AutoScalingGroup, GroupTag, Scope, TemplateChoice, TerminationPolicy, VersionChoice,
    auto_scaling_group::MAX_GROUP_SIZE,
};
use shapes::autoscaling as aws;
use state::Snapshot;
use std::collections::BTreeMap;

/// Tags of one group. AWS's quota.
const MAX_TAGS: usize = 50;

/// A size or a time in seconds.
pub(super) fn number(name: &str, given: Option<i32>) -> Result<Option<u32>, ApiError> {
    let Some(given) = given else { return Ok(None) };
    let number = u32::try_from(given);
    number.map(Some).map_err(|_| invalid(format!("{name} must not be negative.")))
}

/// The bounds and what lies between them.
pub(super) fn check_sizes(min: u32, max: u32, desired: u32) -> Result<(), ApiError> {
    if max < min {
        return Err(invalid(format!("Max bound, {max}, must be greater than or equal to min bound, {min}")));
    }
    if max > MAX_GROUP_SIZE {
        return Err(invalid(format!(
            "Max bound, {max}, is above the {MAX_GROUP_SIZE} instances that a group may have."
        )));
    }
    if !(min..=max).contains(&desired) {
        return Err(invalid(format!(
            "Desired capacity:{desired} must be between the specified min size:{min} and max size:{max}"
        )));
    }
    Ok(())
}

pub(super) fn check_health(kind: Option<&str>) -> Result<(), ApiError> {
    match kind.filter(|kind| !kind.is_empty()) {
        None | Some("EC2") => Ok(()),
        Some(other) => Err(not_honoured(&format!("the HealthCheckType {other}"))),
    }
}

pub(super) fn policies(given: Option<Vec<String>>) -> Result<Option<Vec<TerminationPolicy>>, ApiError> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(None) };
    let parse = |name: &String| {
        TerminationPolicy::parse(name).ok_or_else(|| not_honoured(&format!("the termination policy {name}")))
    };
    given.iter().map(parse).collect::<Result<Vec<_>, _>>().map(Some)
}

/// `subnet-1,subnet-2`
pub(super) fn subnets(given: Option<&str>) -> Option<Vec<String>> {
    let given = given.filter(|given| !given.trim().is_empty())?;
    Some(given.split(',').map(|subnet| subnet.trim().to_owned()).filter(|subnet| !subnet.is_empty()).collect())
}

/// The template that is named; its version need not be one number.
pub(super) fn template(
    snapshot: &Snapshot,
    scope: &Scope,
    given: &aws::LaunchTemplateSpecification,
) -> Result<TemplateChoice, ApiError> {
    let named = (given.launch_template_id.as_deref(), given.launch_template_name.as_deref());
    let unusable = |error: ApiError| {
        let text = format!("You must use a valid fully-formed launch template. {}", error.message);
        ApiError { code: "ValidationError", message: text, ..error }
    };
    let found = launch_templates::find(snapshot, scope, named.0, named.1).map_err(unusable)?;
    let text = given.version.as_deref().unwrap_or_default();
    launch_templates::version_of(found, text).map_err(unusable)?;
    let version = VersionChoice::parse(text).unwrap_or(VersionChoice::Default);
    Ok(TemplateChoice { id: found.id.clone(), name: found.name.clone(), version })
}

/// Whether machines could be started in each of its subnets: what could not be is refused now and not at each launch.
pub(super) fn check_launch(ctx: &Context, snapshot: &Snapshot, group: &AutoScalingGroup) -> Result<(), ApiError> {
    let version = snapshot.launch_template(&group.scope, &group.template.id);
    let version = version.and_then(|template| template.version(group.template.version));
    let version = version.ok_or_else(|| invalid("You must use a valid fully-formed launch template."))?;
    for subnet in &group.subnets {
        let made = launch_templates::machines(ctx, snapshot, &group.scope, &version.data, subnet, 1);
        made.map_err(|error| ApiError { code: "ValidationError", ..error })?;
    }
    Ok(())
}

/// Tags as they are given to one group. `name` is the group that is made, whose tags need not name it.
pub(super) fn tags(given: Vec<aws::Tag>, name: &str) -> Result<BTreeMap<String, GroupTag>, ApiError> {
    let mut tags = BTreeMap::new();
    for tag in given {
        let of = tag.resource_id.as_deref().filter(|of| !of.is_empty()).unwrap_or(name);
        let kind = tag.resource_type.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("auto-scaling-group");
        if of != name || kind != "auto-scaling-group" {
            return Err(invalid(format!("The tag's resource '{kind}' '{of}' is not the Auto Scaling group '{name}'.")));
        }
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        // The rules are those of EC2's tags, since instances get them.
        model::Tags::parse_any([(key.clone(), value.clone())]).map_err(|error| invalid(error.to_string()))?;
        tags.insert(key, GroupTag { value, propagate: tag.propagate_at_launch.unwrap_or(false) });
    }
    check_tags(&tags)?;
    Ok(tags)
}

pub(super) fn check_tags(tags: &BTreeMap<String, GroupTag>) -> Result<(), ApiError> {
    match tags.len() > MAX_TAGS {
        true => Err(ApiError::new("LimitExceeded", "An Auto Scaling group can have at most 50 tags.")),
        false => Ok(()),
    }
}

/// The page that a request asks for of a list in the order of its keys.
pub(super) fn page<T>(
    list: &'static str,
    scope: &Scope,
    (max, token): (Option<i32>, Option<&str>),
    items: Vec<T>,
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    /// AWS's, where nothing is asked for and at most. Source: the model's documentation.
    const USUAL: usize = 50;
    const MOST: usize = 100;
    let limit = match max {
        None | Some(0) => USUAL,
        Some(asked) => usize::try_from(asked)
            .ok()
            .filter(|asked| (1..=MOST).contains(asked))
            .ok_or_else(|| invalid(format!("The maximum number of records is {MOST}; {asked} were asked for.")))?,
    };
    let pages = crate::api::paging::Pages::of(list, scope);
    let wrong = |_| ApiError::new("InvalidNextToken", "The NextToken value is not valid.");
    let after = pages.cursor(token).map_err(wrong)?;
    let rest = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
    Ok(pages.cut(rest, limit, &key))
}

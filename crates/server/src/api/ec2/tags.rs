//! Tags of everything that EC2 knows: instances, and all of the network.

use super::{filter, instances, invalid, launch_templates, network};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::{
    Tags,
    network::{Refusal, is_network_id},
    tags::InvalidTags,
};
use shapes::ec2 as aws;
use state::{Command, Resource, Snapshot};
use wire::NoOutput;

pub(crate) const HONOURED: &[Row] = &[
    row("CreateTags", &["DryRun", "Resources", "Tags.*"]),
    row("DeleteTags", &["DryRun", "Resources", "Tags.*"]),
    row("DescribeTags", &["DryRun", "Filters.*", "MaxResults", "NextToken"]),
];

/// Resources of one call. Source: the model's documentation.
const MAX_RESOURCES: usize = 1000;

/// The tags that a request gives to what it makes, which must be of that kind.
pub(super) fn specified(specifications: Option<Vec<aws::TagSpecification>>, kind: &str) -> Result<Tags, ApiError> {
    let mut all = Vec::new();
    for specification in specifications.unwrap_or_default() {
        let named = specification.resource_type.unwrap_or_default();
        if named != kind {
            return Err(invalid(format!("'{named}' is not a valid taggable resource type for this operation.")));
        }
        all.extend(specification.tags.unwrap_or_default());
    }
    parse(all)
}

/// The tags that a request names.
pub(super) fn parse(tags: Vec<aws::Tag>) -> Result<Tags, ApiError> {
    let pairs = tags.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    Tags::parse_any(pairs).map_err(|error| Refusal::Tags(error).into())
}

pub(super) fn render(tags: &Tags) -> Option<Vec<aws::Tag>> {
    let tags: Vec<_> =
        tags.0.iter().map(|(key, value)| aws::Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect();
    Some(tags).filter(|tags| !tags.is_empty())
}

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateTagsRequest,
) -> Result<NoOutput, ApiError> {
    let more = parse(request.tags.unwrap_or_default())?;
    if more.0.is_empty() {
        return Err(Refusal::Missing("Tag").into());
    }
    let change = |tags: &mut Tags| tags.merge(&more);
    let machines = apply(ctx, caller, request.resources, &change).await?;
    for resource in machines {
        ctx.store.commit(Command::TagResource { resource, tags: more.clone() }).await?;
    }
    Ok(NoOutput {})
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteTagsRequest,
) -> Result<NoOutput, ApiError> {
    let named = request.tags.unwrap_or_default();
    // AWS: a tag that is named with a value goes only if it has that value; where none is named, all go.
    let goes = |key: &String, value: &String| {
        let is = |tag: &aws::Tag| tag.key.as_ref() == Some(key) && tag.value.as_ref().is_none_or(|v| v == value);
        named.is_empty() || named.iter().any(is)
    };
    let change = |tags: &mut Tags| {
        tags.0.retain(|key, value| !goes(key, value));
        Ok(())
    };
    let machines = apply(ctx, caller, request.resources, &change).await?;
    for resource in machines {
        let snapshot = ctx.store.snapshot();
        let known = tags_of(&snapshot, &resource).cloned().unwrap_or_default();
        let keys = known.0.into_iter().filter(|(key, value)| goes(key, value)).map(|(key, _)| key).collect();
        ctx.store.commit(Command::UntagResource { resource, keys }).await?;
    }
    Ok(NoOutput {})
}

/// The tags of what is no part of the network.
fn tags_of<'a>(snapshot: &'a Snapshot, resource: &Resource) -> Option<&'a Tags> {
    match resource {
        Resource::Machine { scope, id } => snapshot.machine(scope, id).map(|machine| &machine.tags),
        Resource::LaunchTemplate { scope, id } => snapshot.launch_template(scope, id).map(|template| &template.tags),
        Resource::Cluster(_)
        | Resource::TaskDefinition(_)
        | Resource::ContainerInstance(_)
        | Resource::Task(_)
        | Resource::Service(_)
        | Resource::CapacityProvider { .. } => None,
    }
}

/// Changes the tags of what is the network's; answers instances and launch templates, of which each is changed by itself.
async fn apply(
    ctx: &Context,
    caller: &Caller,
    resources: Option<Vec<String>>,
    change: &(dyn Fn(&mut Tags) -> Result<(), InvalidTags> + Sync),
) -> Result<Vec<Resource>, ApiError> {
    let resources = resources.unwrap_or_default();
    if resources.is_empty() {
        return Err(Refusal::Missing("resourceIdSet").into());
    }
    if resources.len() > MAX_RESOURCES {
        return Err(invalid(format!("One call changes the tags of up to {MAX_RESOURCES} resources.")));
    }
    let (instances, others): (Vec<_>, Vec<_>) = resources.into_iter().partition(|id| id.starts_with("i-"));
    let (templates, parts): (Vec<_>, Vec<_>) = others.into_iter().partition(|id| id.starts_with("lt-"));
    if let Some(id) = parts.iter().find(|id| !is_network_id(id)) {
        return Err(ApiError::new("InvalidID", format!("The ID '{id}' is not valid")));
    }
    let snapshot = ctx.store.snapshot();
    instances::find(&snapshot, caller, &instances)?;
    for id in &templates {
        launch_templates::find(&snapshot, &caller.scope, Some(id), None)?;
    }
    let scope = || caller.scope.clone();
    let instances = instances.into_iter().map(|id| Resource::Machine { scope: scope(), id });
    let templates = templates.into_iter().map(|id| Resource::LaunchTemplate { scope: scope(), id });
    let own: Vec<Resource> = instances.chain(templates).collect();
    for resource in &own {
        change(&mut tags_of(&snapshot, resource).cloned().unwrap_or_default()).map_err(Refusal::Tags)?;
    }
    if !parts.is_empty() {
        network::change(ctx, caller, |edit| parts.iter().try_for_each(|id| edit.change_tags(id, change))).await?;
    }
    Ok(own)
}

/// One tag of one resource.
struct Shown {
    id: String,
    kind: &'static str,
    key: String,
    value: String,
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeTagsRequest,
) -> Result<aws::DescribeTagsResult, ApiError> {
    let snapshot = ctx.store.snapshot();
    let all = network::seen(ctx, caller, &snapshot);
    let of = |id: &str, kind: &'static str, tags: &Tags| {
        let shown = |(key, value): (&String, &String)| Shown {
            id: id.to_owned(),
            kind,
            key: key.clone(),
            value: value.clone(),
        };
        tags.0.iter().map(shown).collect::<Vec<_>>()
    };
    let machines = snapshot.machines(&caller.scope, None).flat_map(|m| of(&m.id, "instance", &m.tags));
    let parts = all.tagged().flat_map(|tagged| of(tagged.id, tagged.kind, tagged.tags));
    let templates = snapshot.launch_templates(&caller.scope).flat_map(|lt| of(&lt.id, "launch-template", &lt.tags));
    let names = &["key", "value", "resource-id", "resource-type", "tag:*"];
    let kept =
        filter::select(machines.chain(parts).chain(templates), request.filters.as_deref(), names, |tag, filter| {
            match filter {
                "key" => vec![tag.key.clone()],
                "value" => vec![tag.value.clone()],
                "resource-id" => vec![tag.id.clone()],
                "resource-type" => vec![tag.kind.to_owned()],
                named if named.strip_prefix("tag:") == Some(&tag.key) => vec![tag.value.clone()],
                _ => Vec::new(),
            }
        })?;
    let place = |tag: &Shown| format!("{}/{}", tag.id, tag.key);
    let token = request.next_token.as_deref();
    let (shown, next_token) = network::page("DescribeTags", caller, request.max_results, token, kept, place)?;
    let tags = shown.into_iter().map(|tag| aws::TagDescription {
        key: Some(tag.key),
        value: Some(tag.value),
        resource_id: Some(tag.id),
        resource_type: Some(tag.kind.to_owned()),
    });
    Ok(aws::DescribeTagsResult { tags: Some(tags.collect()), next_token })
}

//! Tags: on namespaces and services.

use super::{
    arn,
    change::{change, seen},
    tags_in,
};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::{
    Tags,
    discovery::{Discovery, Edit, NamespaceId, Refusal, ServiceId},
    tags::InvalidTags,
};
use shapes::servicediscovery as aws;

enum Tagged {
    Namespace(NamespaceId),
    Service(ServiceId),
}

fn find(caller: &Caller, all: &Discovery, given: &str) -> Result<Tagged, Refusal> {
    let missing = || Refusal::ResourceNotFound(given.to_owned());
    let rest = given.strip_prefix(&arn(caller, "")).ok_or_else(missing)?;
    let (kind, id) = rest.split_once('/').ok_or_else(missing)?;
    let namespace = |id| NamespaceId::parse(id).ok().filter(|id| all.namespace(id).is_some()).map(Tagged::Namespace);
    let service = |id| ServiceId::parse(id).ok().filter(|id| all.service(id).is_some()).map(Tagged::Service);
    let found = match kind {
        "namespace" => namespace(id),
        "service" => service(id),
        _ => None,
    };
    found.ok_or_else(missing)
}

/// Changes the tags of what an ARN names.
async fn changed(
    ctx: &Context,
    caller: &Caller,
    given: &str,
    how: &(dyn Fn(&mut Tags) -> Result<(), InvalidTags> + Sync),
) -> Result<(), ApiError> {
    let decide = |edit: &mut Edit<'_>| match find(caller, edit.discovery(), given)? {
        Tagged::Namespace(id) => edit.change_namespace_tags(&id, how),
        Tagged::Service(id) => edit.change_service_tags(&id, how),
    };
    // AWS: this one error says on what.
    let said = |refusal: Refusal| {
        let too_many = refusal == Refusal::Tags(InvalidTags::TooMany);
        let error = ApiError::from(refusal);
        if too_many { error.with("ResourceName", given) } else { error }
    };
    change(ctx, caller, |edit, _| decide(edit).map_err(said)).await?;
    Ok(())
}

pub(super) async fn tag(
    ctx: &Context,
    caller: &Caller,
    request: aws::TagResourceRequest,
) -> Result<aws::TagResourceResponse, ApiError> {
    let tags = tags_in(request.tags).map_err(Refusal::Tags)?;
    changed(ctx, caller, &request.resource_arn.unwrap_or_default(), &|known| known.merge(&tags)).await?;
    Ok(aws::TagResourceResponse {})
}

pub(super) async fn untag(
    ctx: &Context,
    caller: &Caller,
    request: aws::UntagResourceRequest,
) -> Result<aws::UntagResourceResponse, ApiError> {
    let keys = request.tag_keys.unwrap_or_default();
    let remove = |known: &mut Tags| {
        known.0.retain(|key, _| !keys.contains(key));
        Ok(())
    };
    changed(ctx, caller, &request.resource_arn.unwrap_or_default(), &remove).await?;
    Ok(aws::UntagResourceResponse {})
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListTagsForResourceRequest,
) -> Result<aws::ListTagsForResourceResponse, ApiError> {
    let all = seen(&ctx.store.snapshot(), caller);
    let tags = match find(caller, &all, request.resource_arn.as_deref().unwrap_or_default())? {
        Tagged::Namespace(id) => all.find_namespace(&id)?.tags.clone(),
        Tagged::Service(id) => all.find_service(&id)?.tags.clone(),
    };
    let shown = tags.0.into_iter().map(|(key, value)| aws::Tag { key: Some(key), value: Some(value) });
    Ok(aws::ListTagsForResourceResponse { tags: Some(shown.collect()) })
}

//! Tags of parameters.

use super::{find, invalid, refuse_value};
use crate::{
    api::{
        ApiError,
        vaults::{change, seen, tags},
    },
    context::{Caller, Context},
};
use model::vault::{Parameter, Vault};
use shapes::ssm as aws;

/// The parameter that a request is about.
fn named<'a>(
    vault: &'a Vault,
    caller: &Caller,
    operation: &str,
    (kind, id): (Option<&str>, Option<&str>),
) -> Result<&'a Parameter, ApiError> {
    if let Some(other) = kind.filter(|kind| *kind != "Parameter") {
        return Err(refuse_value(operation, &format!("ResourceType {other}")));
    }
    let found = find(vault, &caller.scope, id.unwrap_or_default());
    let missing = "The resource ID is not valid. Verify that you entered the correct ID and try again.";
    found.map(|(parameter, _)| &**parameter).map_err(|_| ApiError::new("InvalidResourceId", missing))
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListTagsForResourceRequest,
) -> Result<aws::ListTagsForResourceResult, ApiError> {
    let vault = seen(&ctx.store.snapshot(), &caller.scope);
    let what = (request.resource_type.as_deref(), request.resource_id.as_deref());
    let parameter = named(&vault, caller, "ListTagsForResource", what)?;
    let tags = parameter.tags.0.iter();
    let tags = tags.map(|(key, value)| aws::Tag { key: Some(key.clone()), value: Some(value.clone()) });
    Ok(aws::ListTagsForResourceResult { tag_list: Some(tags.collect()) })
}

pub(super) async fn add(
    ctx: &Context,
    caller: &Caller,
    request: aws::AddTagsToResourceRequest,
) -> Result<aws::AddTagsToResourceResult, ApiError> {
    let given = request.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value));
    let more = tags(given).map_err(|error| invalid(error.to_string()))?;
    let what = (request.resource_type.as_deref(), request.resource_id.as_deref());
    let done = change(ctx, &caller.scope, |edit, _| {
        let mut parameter = named(edit.vault(), caller, "AddTagsToResource", what)?.clone();
        parameter.tags.merge(&more).map_err(|error| ApiError::new("TooManyTagsError", error.to_string()))?;
        edit.put(parameter);
        Ok(())
    });
    done.await.map(|()| aws::AddTagsToResourceResult {})
}

pub(super) async fn remove(
    ctx: &Context,
    caller: &Caller,
    request: aws::RemoveTagsFromResourceRequest,
) -> Result<aws::RemoveTagsFromResourceResult, ApiError> {
    let keys = request.tag_keys.unwrap_or_default();
    let what = (request.resource_type.as_deref(), request.resource_id.as_deref());
    let done = change(ctx, &caller.scope, |edit, _| {
        let mut parameter = named(edit.vault(), caller, "RemoveTagsFromResource", what)?.clone();
        parameter.tags.0.retain(|key, _| !keys.contains(key));
        edit.put(parameter);
        Ok(())
    });
    done.await.map(|()| aws::RemoveTagsFromResourceResult {})
}

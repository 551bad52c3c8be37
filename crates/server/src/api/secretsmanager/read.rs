//! What is told of secrets, and what they hold.

use super::{asked, invalid};
use crate::{
    api::{
        ApiError,
        honoured::not_honoured,
        paging::Pages,
        vaults::{seen, time},
    },
    context::{Caller, Context},
    vault::Content,
};
use model::{
    Tags,
    vault::{Secret, Vault, find},
};
use shapes::secretsmanager as aws;
use std::{collections::BTreeMap, sync::Arc};

/// Entries of one page, the most and what is shown when nothing is asked for. Source: the model, `MaxResultsType`.
const MAX_PAGE: usize = 100;

fn vault(ctx: &Context, caller: &Caller) -> Arc<Vault> {
    seen(&ctx.store.snapshot(), &caller.scope)
}

/// Text, or bytes.
fn split(content: Content) -> (Option<String>, Option<::wire::Blob>) {
    match content {
        Content::Text(text) => (Some(text.reveal().to_owned()), None),
        Content::Bytes(bytes) => (None, Some(::wire::Blob(bytes))),
    }
}

pub(super) fn value(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetSecretValueRequest,
) -> Result<aws::GetSecretValueResponse, ApiError> {
    let vault = vault(ctx, caller);
    let id = request.secret_id.as_deref().unwrap_or_default();
    let wanted = (id, request.version_id.as_deref(), request.version_stage.as_deref());
    let (secret, version, content) = asked(ctx, &vault, &caller.scope, wanted)?;
    let (secret_string, secret_binary) = split(content);
    Ok(aws::GetSecretValueResponse {
        arn: Some(secret.arn()),
        name: Some(secret.name.clone()),
        version_id: Some(version.id.clone()),
        version_stages: Some(version.stages.clone()),
        created_date: time(version.created_at),
        secret_string,
        secret_binary,
    })
}

pub(super) fn batch(
    ctx: &Context,
    caller: &Caller,
    request: aws::BatchGetSecretValueRequest,
) -> Result<aws::BatchGetSecretValueResponse, ApiError> {
    let ids = request.secret_id_list.unwrap_or_default();
    if ids.is_empty() {
        return Err(invalid("You must provide SecretIdList."));
    }
    let vault = vault(ctx, caller);
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for id in ids {
        match asked(ctx, &vault, &caller.scope, (&id, None, None)) {
            Ok((secret, version, content)) => {
                let (secret_string, secret_binary) = split(content);
                values.push(aws::SecretValueEntry {
                    arn: Some(secret.arn()),
                    name: Some(secret.name.clone()),
                    version_id: Some(version.id.clone()),
                    version_stages: Some(version.stages.clone()),
                    created_date: time(version.created_at),
                    secret_string,
                    secret_binary,
                });
            }
            Err(error) => errors.push(aws::APIErrorType {
                secret_id: Some(id),
                error_code: Some(error.code.to_owned()),
                message: Some(error.message),
            }),
        }
    }
    Ok(aws::BatchGetSecretValueResponse { secret_values: Some(values), errors: Some(errors), next_token: None })
}

pub(super) fn policy(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetResourcePolicyRequest,
) -> Result<aws::GetResourcePolicyResponse, ApiError> {
    let vault = vault(ctx, caller);
    let secret = super::find(&vault, &caller.scope, request.secret_id.as_deref().unwrap_or_default())?;
    Ok(aws::GetResourcePolicyResponse {
        arn: Some(secret.arn()),
        name: Some(secret.name.clone()),
        ..aws::GetResourcePolicyResponse::default()
    })
}

fn tags(tags: &Tags) -> Option<Vec<aws::Tag>> {
    Some(tags.0.iter().map(|(key, value)| aws::Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect())
}

/// Versions without a label are deprecated, and left out of what is told of a secret.
fn stages(secret: &Secret) -> Option<BTreeMap<String, Vec<String>>> {
    let labelled = secret.versions.iter().filter(|version| !version.stages.is_empty());
    let all: BTreeMap<_, _> = labelled.map(|version| (version.id.clone(), version.stages.clone())).collect();
    (!all.is_empty()).then_some(all)
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeSecretRequest,
) -> Result<aws::DescribeSecretResponse, ApiError> {
    let vault = vault(ctx, caller);
    // AWS: one that is marked for deletion is described all the same.
    let secret = find(&vault, &caller.scope, request.secret_id.as_deref().unwrap_or_default())?;
    Ok(aws::DescribeSecretResponse {
        arn: Some(secret.arn()),
        name: Some(secret.name.clone()),
        description: secret.description.clone(),
        created_date: time(secret.created_at),
        last_changed_date: time(secret.changed_at),
        deleted_date: secret.delete_at.and_then(time),
        tags: tags(&secret.tags),
        version_ids_to_stages: stages(secret),
        ..aws::DescribeSecretResponse::default()
    })
}

pub(super) fn versions(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListSecretVersionIdsRequest,
) -> Result<aws::ListSecretVersionIdsResponse, ApiError> {
    let vault = vault(ctx, caller);
    let secret = find(&vault, &caller.scope, request.secret_id.as_deref().unwrap_or_default())?;
    let all = request.include_deprecated.unwrap_or(false);
    let pages = Pages::of("ListSecretVersionIds", &caller.scope).within(&secret.arn());
    let after = cursor(&pages, request.next_token.as_deref())?;
    let shown = secret.versions.iter().filter(|version| all || !version.stages.is_empty());
    // In the order in which they were made; a version that has gone leaves its place to the next.
    let behind = after.and_then(|id| secret.versions.iter().position(|version| version.id == id));
    let shown = shown.filter(|version| {
        let at = secret.versions.iter().position(|known| known.id == version.id);
        behind.is_none_or(|behind| at.is_some_and(|at| at > behind))
    });
    let (shown, next_token) = pages.cut(shown, limit(request.max_results), |version| version.id.clone());
    let versions = shown.into_iter().map(|version| aws::SecretVersionsListEntry {
        version_id: Some(version.id.clone()),
        version_stages: Some(version.stages.clone()).filter(|stages| !stages.is_empty()),
        created_date: time(version.created_at),
        ..aws::SecretVersionsListEntry::default()
    });
    Ok(aws::ListSecretVersionIdsResponse {
        arn: Some(secret.arn()),
        name: Some(secret.name.clone()),
        versions: Some(versions.collect()),
        next_token,
    })
}

fn limit(asked: Option<i32>) -> usize {
    // The model lets nothing else than 1 to 100 come this far.
    asked.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE)
}

fn cursor(pages: &Pages<'_>, token: Option<&str>) -> Result<Option<String>, ApiError> {
    pages.cursor(token).map_err(|error| ApiError::new("InvalidNextTokenException", error.message))
}

/// AWS: in the order in which they were made, the newest first; `asc` is the other way round.
pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: aws::ListSecretsRequest,
) -> Result<aws::ListSecretsResponse, ApiError> {
    let filters = request.filters.unwrap_or_default().into_iter().map(Filter::parse).collect::<Result<Vec<_>, _>>()?;
    let (vault, deleted) = (vault(ctx, caller), request.include_planned_deletion.unwrap_or(false));
    let ascending = request.sort_order.as_deref() == Some("asc");
    let shown = vault.secrets().filter(|secret| deleted || secret.delete_at.is_none());
    let mut shown: Vec<&Arc<Secret>> = shown.filter(|secret| filters.iter().all(|f| f.lets(secret))).collect();
    shown.sort_by_key(|secret| (secret.created_at, &secret.name));
    if !ascending {
        shown.reverse();
    }
    let place = |secret: &Secret| format!("{:020}/{}", secret.created_at.0, secret.name);
    let pages = Pages::of("ListSecrets", &caller.scope).within(&ascending);
    let after = cursor(&pages, request.next_token.as_deref())?;
    let rest = shown.into_iter().filter(|secret| {
        after.as_ref().is_none_or(|after| if ascending { place(secret) > *after } else { place(secret) < *after })
    });
    let (shown, next_token) = pages.cut(rest, limit(request.max_results), |secret| place(secret));
    let entry = |secret: &Arc<Secret>| aws::SecretListEntry {
        arn: Some(secret.arn()),
        name: Some(secret.name.clone()),
        description: secret.description.clone(),
        created_date: time(secret.created_at),
        last_changed_date: time(secret.changed_at),
        deleted_date: secret.delete_at.and_then(time),
        tags: tags(&secret.tags),
        secret_versions_to_stages: stages(secret),
        ..aws::SecretListEntry::default()
    };
    Ok(aws::ListSecretsResponse { secret_list: Some(shown.into_iter().map(entry).collect()), next_token })
}

/// One filter: any of its values, which match by their beginning. One that begins with `!` is for what does not match.
struct Filter {
    key: String,
    values: Vec<String>,
}

impl Filter {
    fn parse(given: aws::Filter) -> Result<Self, ApiError> {
        let (key, values) = (given.key.unwrap_or_default(), given.values.unwrap_or_default());
        match key.as_str() {
            "name" | "description" | "tag-key" | "tag-value" => Ok(Self { key, values }),
            other => Err(not_honoured(&aws::SERVICE, "ListSecrets", &format!("the filter {other}"))),
        }
    }

    fn lets(&self, secret: &Secret) -> bool {
        let matches = |value: &str| match self.key.as_str() {
            "name" => secret.name.starts_with(value),
            "tag-key" => secret.tags.0.keys().any(|key| key.starts_with(value)),
            "tag-value" => secret.tags.0.values().any(|own| own.starts_with(value)),
            // AWS: of descriptions, small and capital letters are the same.
            _ => secret.description.as_ref().is_some_and(|d| d.to_lowercase().starts_with(&value.to_lowercase())),
        };
        self.values.iter().any(|value| match value.strip_prefix('!') {
            Some(value) => !matches(value),
            None => matches(value),
        })
    }
}

//! Parameters with their values.

use super::{DATA_TYPE, TIER, find, invalid};
use crate::{
    api::{
        ApiError,
        paging::Pages,
        vaults::{reveal, seen, time},
    },
    context::{Caller, Context},
    vault::Content,
};
use model::{
    Scope,
    vault::{Parameter, ParameterKind, ParameterVersion, Plain, Selector, Vault},
};
use shapes::ssm as aws;
use std::sync::Arc;

/// Entries of one page. Source: the model, `MaxResults` and `GetParametersByPathMaxResults`.
const MAX_HISTORY_PAGE: usize = 50;
const MAX_PATH_PAGE: usize = 10;

/// The value of a version. Without decryption, a SecureString's is the sealed one, which tells nothing.
fn value(
    ctx: &Context,
    vault: &Vault,
    parameter: &Parameter,
    version: &ParameterVersion,
    decrypt: bool,
) -> Result<String, ApiError> {
    let key = parameter.value_key(version.number);
    match (parameter.kind, decrypt) {
        (ParameterKind::SecureString, false) => {
            let sealed = vault.value(&key).map(|value| value.sealed.text.clone());
            Ok(sealed.unwrap_or_default())
        }
        (ParameterKind::SecureString, true) | (ParameterKind::String | ParameterKind::StringList, _) => {
            match reveal(ctx, vault, &key)? {
                Content::Text(text) => Ok(text.reveal().to_owned()),
                Content::Bytes(_) => Err(ApiError::server("A parameter's value is no text.")),
            }
        }
    }
}

/// What a parameter holds for a task that names it: decrypted, whatever its type.
pub(crate) fn reveal_named(ctx: &Context, vault: &Vault, scope: &Scope, name: &str) -> Result<Plain, ApiError> {
    let (parameter, selector) = find(vault, scope, name)?;
    let version = parameter.asked(selector.as_ref())?;
    value(ctx, vault, parameter, version, true).map(Plain::from)
}

fn shown(
    ctx: &Context,
    vault: &Vault,
    (parameter, selector): (&Parameter, Option<&Selector>),
    decrypt: bool,
) -> Result<aws::Parameter, ApiError> {
    let version = parameter.asked(selector)?;
    let told = selector.map(|selector| match selector {
        Selector::Version(number) => format!(":{number}"),
        Selector::Label(label) => format!(":{label}"),
    });
    Ok(aws::Parameter {
        arn: Some(parameter.arn()),
        name: Some(parameter.name.clone()),
        r#type: Some(parameter.kind.as_str().to_owned()),
        value: Some(value(ctx, vault, parameter, version, decrypt)?),
        version: i64::try_from(version.number).ok(),
        selector: told,
        last_modified_date: time(version.modified_at),
        data_type: Some(DATA_TYPE.to_owned()),
        source_result: None,
    })
}

fn vault(ctx: &Context, caller: &Caller) -> Arc<Vault> {
    seen(&ctx.store.snapshot(), &caller.scope)
}

pub(super) fn one(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetParameterRequest,
) -> Result<aws::GetParameterResult, ApiError> {
    let vault = vault(ctx, caller);
    let (parameter, selector) = find(&vault, &caller.scope, request.name.as_deref().unwrap_or_default())?;
    let decrypt = request.with_decryption.unwrap_or(false);
    let parameter = shown(ctx, &vault, (parameter, selector.as_ref()), decrypt)?;
    Ok(aws::GetParameterResult { parameter: Some(parameter) })
}

/// AWS: what is not there is told apart, and is no error.
pub(super) fn named(
    ctx: &Context,
    caller: &Caller,
    request: aws::GetParametersRequest,
) -> Result<aws::GetParametersResult, ApiError> {
    let (vault, decrypt) = (vault(ctx, caller), request.with_decryption.unwrap_or(false));
    let (mut parameters, mut unknown) = (Vec::new(), Vec::new());
    for name in request.names.unwrap_or_default() {
        let found = find(&vault, &caller.scope, &name);
        let found = found.and_then(|(parameter, selector)| {
            parameter.asked(selector.as_ref())?;
            Ok((parameter, selector))
        });
        match found {
            Ok((parameter, selector)) => parameters.push(shown(ctx, &vault, (parameter, selector.as_ref()), decrypt)?),
            Err(_) => unknown.push(name),
        }
    }
    Ok(aws::GetParametersResult { parameters: Some(parameters), invalid_parameters: Some(unknown) })
}

fn limit(asked: Option<i32>, max: usize) -> usize {
    // The model lets nothing else than 1 to that come this far.
    asked.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(max).clamp(1, max)
}

pub(super) fn cursor(pages: &Pages<'_>, token: Option<&str>) -> Result<Option<String>, ApiError> {
    pages.cursor(token).map_err(|error| ApiError::new("InvalidNextToken", error.message))
}

/// Whether a parameter lies in a path, at once or at any depth.
pub(super) fn lies_in(name: &str, path: &str, recursive: bool) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let rest = name.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'));
    // What has no slash at its beginning lies in the root.
    let rest = rest.or_else(|| Some(name).filter(|name| path.is_empty() && !name.starts_with('/')));
    rest.is_some_and(|rest| recursive || !rest.contains('/'))
}

pub(super) fn by_path(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetParametersByPathRequest,
) -> Result<aws::GetParametersByPathResult, ApiError> {
    let path = request.path.as_deref().unwrap_or_default();
    if !path.starts_with('/') {
        return Err(invalid(
            "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash \
             \"/\". It can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). It must use only letters, numbers, or the \
             following symbols: . (period), - (hyphen), _ (underscore).",
        ));
    }
    let (vault, recursive) = (vault(ctx, caller), request.recursive.unwrap_or(false));
    let decrypt = request.with_decryption.unwrap_or(false);
    let pages = Pages::of("GetParametersByPath", &caller.scope).within(&format!("{path} {recursive}"));
    let after = cursor(&pages, request.next_token.as_deref())?;
    let all = vault.parameters(after.as_deref()).filter(|parameter| lies_in(&parameter.name, path, recursive));
    let (page, next_token) = pages.cut(all, limit(request.max_results, MAX_PATH_PAGE), |p| p.name.clone());
    let page = page.into_iter().map(|parameter| shown(ctx, &vault, (parameter, None), decrypt));
    Ok(aws::GetParametersByPathResult { parameters: Some(page.collect::<Result<_, _>>()?), next_token })
}

pub(super) fn history(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetParameterHistoryRequest,
) -> Result<aws::GetParameterHistoryResult, ApiError> {
    let (vault, decrypt) = (vault(ctx, caller), request.with_decryption.unwrap_or(false));
    let (parameter, _) = find(&vault, &caller.scope, request.name.as_deref().unwrap_or_default())?;
    let pages = Pages::of("GetParameterHistory", &caller.scope).within(&parameter.name);
    let after = cursor(&pages, request.next_token.as_deref())?.and_then(|number| number.parse::<u64>().ok());
    let all = parameter.versions.iter().filter(|version| after.is_none_or(|after| version.number > after));
    let (page, next_token) =
        pages.cut(all, limit(request.max_results, MAX_HISTORY_PAGE), |version| version.number.to_string());
    let entry = |version: &ParameterVersion| -> Result<aws::ParameterHistory, ApiError> {
        Ok(aws::ParameterHistory {
            name: Some(parameter.name.clone()),
            r#type: Some(parameter.kind.as_str().to_owned()),
            last_modified_date: time(version.modified_at),
            last_modified_user: Some(version.modified_by.clone()),
            description: version.description.clone(),
            allowed_pattern: version.allowed_pattern.clone(),
            value: Some(value(ctx, &vault, parameter, version, decrypt)?),
            version: i64::try_from(version.number).ok(),
            labels: Some(version.labels.clone()),
            tier: Some(TIER.to_owned()),
            data_type: Some(DATA_TYPE.to_owned()),
            key_id: None,
            policies: None,
        })
    };
    let parameters = page.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    Ok(aws::GetParameterHistoryResult { parameters: Some(parameters), next_token })
}

#[cfg(test)]
mod tests {
    use super::lies_in;

    #[test]
    fn paths_hold_what_is_below_them() {
        for (name, path, recursive, want) in [
            ("/a/b", "/a", false, true),
            ("/a/b", "/a/", false, true),
            ("/a/b/c", "/a", false, false),
            ("/a/b/c", "/a", true, true),
            ("/ab/c", "/a", true, false),
            ("/a", "/a", true, false),
            ("/a", "/", false, true),
            ("a", "/", false, true),
            ("/a/b", "/", false, false),
            ("/a/b", "/", true, true),
        ] {
            assert_eq!(lies_in(name, path, recursive), want, "{name} {path} {recursive}");
        }
    }
}

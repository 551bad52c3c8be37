//! The secret and the version that a request means.

use crate::{
    api::{ApiError, vaults},
    context::Context,
    vault::Content,
};
use model::{
    Scope,
    vault::{Secret, SecretVersion, Vault, find as named},
};
use std::sync::Arc;

/// A secret that is not marked for deletion.
pub(crate) fn find<'a>(vault: &'a Vault, scope: &Scope, id: &str) -> Result<&'a Arc<Secret>, ApiError> {
    let secret = named(vault, scope, id)?;
    secret.usable()?;
    Ok(secret)
}

/// A version of a secret, and what it holds.
pub(crate) fn asked<'a>(
    ctx: &Context,
    vault: &'a Vault,
    scope: &Scope,
    (id, version, stage): (&str, Option<&str>, Option<&str>),
) -> Result<(&'a Arc<Secret>, &'a SecretVersion, Content), ApiError> {
    let secret = find(vault, scope, id)?;
    let version = secret.asked(version, stage)?;
    let content = vaults::reveal(ctx, vault, &secret.value_key(&version.id))?;
    Ok((secret, version, content))
}

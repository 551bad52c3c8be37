//! How the rooms of Secrets Manager and Parameter Store change what is kept: one decision, one command, which the store refuses if the
//! vault has moved meanwhile; then it is decided anew, a bounded number of times.

use super::ApiError;
use crate::{
    context::Context,
    vault::{Content, Sealer},
};
use model::{
    Scope, Tags,
    tags::InvalidTags,
    vault::{Edit, Value, ValueKey, Vault},
};
use state::{Command, CommitError, Rejected, Snapshot, VaultChange};
use std::sync::Arc;

/// How often a change is decided anew when the vault moved under it. Each round one change has gone through, so only as many
/// callers as this at the same moment can bring one to give up, and it is told to come again.
const TRIES: usize = 64;

/// A scope's vault; an empty one where nobody has made anything.
pub(crate) fn seen(snapshot: &Snapshot, scope: &Scope) -> Arc<Vault> {
    snapshot.vault(scope).cloned().unwrap_or_default()
}

/// Changes a scope's vault, and answers what the decision did.
pub(crate) async fn change<T>(
    ctx: &Context,
    scope: &Scope,
    decide: impl Fn(&mut Edit, &Sealer) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    for _ in 0..TRIES {
        // Held until the commit is answered, so that the key it seals by stays until then.
        let sealer = ctx.vault.sealer();
        let vault = (*seen(&ctx.store.snapshot(), scope)).clone();
        let on = vault.version;
        let mut edit = Edit::new(vault);
        let answer = decide(&mut edit, &sealer)?;
        let Some((put, remove)) = edit.finish() else { return Ok(answer) };
        let change = VaultChange { scope: scope.clone(), on, put, remove };
        match ctx.store.commit(Command::ChangeVault(Box::new(change))).await {
            Ok(_) => return Ok(answer),
            Err(CommitError::Rejected(Rejected::VaultChanged(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::new("ThrottlingException", "Rate exceeded").with_status(503))
}

/// What a value holds.
///
/// # Errors
/// `DecryptionFailure`, in words that tell nothing of it.
pub(crate) fn reveal(ctx: &Context, vault: &Vault, key: &ValueKey) -> Result<Content, ApiError> {
    let opened = vault.value(key).map(|value| ctx.vault.reveal(value));
    match opened {
        Some(Ok(content)) => Ok(content),
        Some(Err(error)) => {
            tracing::error!(%error, "a value cannot be opened");
            Err(ApiError::new(
                "DecryptionFailure",
                "The protected secret text can't be decrypted with the server's keys.",
            ))
        }
        None => Err(ApiError::server("The value of this version is missing; `longshore state check` tells more.")),
    }
}

/// Whether a value is there and holds just that.
pub(crate) fn holds(ctx: &Context, vault: &Vault, key: &ValueKey, content: &Content) -> bool {
    vault.value(key).is_some_and(|value| ctx.vault.reveal(value).is_ok_and(|known| known == *content))
}

/// A value to put.
pub(crate) fn sealed(ctx: &Context, sealer: &Sealer, scope: &Scope, key: ValueKey, content: &Content) -> Value {
    sealer.seal(scope, key, content, &ctx.effects)
}

/// Tags of a request.
pub(crate) fn tags(given: impl Iterator<Item = (Option<String>, Option<String>)>) -> Result<Tags, InvalidTags> {
    Tags::parse(given.map(|(key, value)| (key.unwrap_or_default(), value.unwrap_or_default())))
}

/// A moment as answers tell it.
pub(crate) fn time(at: model::Timestamp) -> Option<::wire::Timestamp> {
    Some(::wire::Timestamp::from_millis(at.0))
}

//! Making secrets, giving them values, and deleting them.

use super::{bad_tags, find as usable, invalid};
use crate::{
    api::{
        ApiError,
        vaults::{change, holds, sealed, tags, time},
    },
    context::{Caller, Context},
    vault::{Content, Sealer},
};
use model::vault::{Edit, Plain, Secret, SecretRefusal, find};
use shapes::secretsmanager as aws;

/// Bytes of a value. Source: quotas, "size of a secret value".
const MAX_VALUE: usize = 65_536;
/// Days for which a deleted secret can be restored. Source: `DeleteSecret`.
const RECOVERY_DAYS: std::ops::RangeInclusive<i64> = 7..=30;
const DEFAULT_RECOVERY_DAYS: i64 = 30;
const DAY_MILLIS: i64 = 24 * 3_600_000;
/// What an ARN has behind the name.
const SUFFIX_LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AZ";

/// What a request gives to be kept, if it does.
fn content(text: Option<String>, bytes: Option<::wire::Blob>) -> Result<Option<Content>, ApiError> {
    if text.as_deref() == Some("") {
        return Err(invalid("The secret value must have at least one character."));
    }
    let content = match (text.filter(|t| !t.is_empty()), bytes.filter(|b| !b.0.is_empty())) {
        (Some(_), Some(_)) => {
            return Err(invalid(
                "You can't specify both a binary secret value and a string secret value in the same secret.",
            ));
        }
        (Some(text), None) => Content::Text(Plain::from(text)),
        (None, Some(bytes)) => Content::Bytes(bytes.0),
        (None, None) => return Ok(None),
    };
    let length = match &content {
        Content::Text(text) => text.reveal().len(),
        Content::Bytes(bytes) => bytes.len(),
    };
    if length > MAX_VALUE {
        return Err(invalid(format!("The secret value can have up to {MAX_VALUE} bytes.")));
    }
    Ok(Some(content))
}

/// The id of the version that a request makes: its token.
fn token(ctx: &Context, given: Option<String>) -> String {
    given.filter(|token| !token.is_empty()).unwrap_or_else(|| ctx.effects.uuid())
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-!".contains(c);
    if !name.is_empty() && name.chars().all(allowed) {
        return Ok(());
    }
    let text =
        "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!";
    Err(ApiError::new("ValidationException", text))
}

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateSecretRequest,
) -> Result<aws::CreateSecretResponse, ApiError> {
    let name = request.name.unwrap_or_default();
    check_name(&name)?;
    let content = content(request.secret_string, request.secret_binary)?;
    let given = request.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value));
    let tags = tags(given).map_err(|error| bad_tags(&error))?;
    let token = token(ctx, request.client_request_token);
    let suffix: String =
        ctx.effects.bytes::<6>().iter().map(|b| char::from(SUFFIX_LETTERS[usize::from(b % 64)])).collect();
    let description = request.description.filter(|text| !text.is_empty());
    let made = change(ctx, &caller.scope, |edit, sealer| {
        if let Some(known) = edit.vault().secret(&name).cloned() {
            return again(ctx, edit, &known, &token, content.as_ref());
        }
        let now = ctx.effects.now();
        let mut secret = Secret {
            scope: caller.scope.clone(),
            name: name.clone(),
            suffix: suffix.clone(),
            description: description.clone(),
            created_at: now,
            changed_at: now,
            delete_at: None,
            tags: tags.clone(),
            versions: Vec::new(),
        };
        if let Some(content) = &content {
            secret.add(&token, &[], now)?;
            edit.put(sealed(ctx, sealer, &caller.scope, secret.value_key(&token), content));
        }
        edit.put(secret.clone());
        Ok(secret)
    });
    let made = made.await?;
    let version_id = made.version(&token).map(|version| version.id.clone());
    Ok(aws::CreateSecretResponse { arn: Some(made.arn()), name: Some(name), version_id, replication_status: None })
}

/// A secret of that name is there: the same request again is no error.
fn again(
    ctx: &Context,
    edit: &Edit,
    known: &Secret,
    token: &str,
    content: Option<&Content>,
) -> Result<Secret, ApiError> {
    if known.delete_at.is_some() {
        return Err(SecretRefusal::NameMarkedForDeletion.into());
    }
    let same = content.is_some_and(|content| holds(ctx, edit.vault(), &known.value_key(token), content));
    if same { Ok(known.clone()) } else { Err(SecretRefusal::Exists(known.name.clone()).into()) }
}

/// Gives a secret a further version. The same token with the same value again changes nothing, and with another is refused.
fn add(
    ctx: &Context,
    (edit, sealer): (&mut Edit, &Sealer),
    secret: &mut Secret,
    (token, stages): (&str, &[String]),
    content: &Content,
) -> Result<(), ApiError> {
    if secret.version(token).is_some() {
        if holds(ctx, edit.vault(), &secret.value_key(token), content) {
            return Ok(());
        }
        return Err(SecretRefusal::TokenInUse(token.to_owned(), secret.arn()).into());
    }
    let gone = secret.add(token, stages, ctx.effects.now())?;
    for id in gone {
        edit.remove(model::vault::Key::Value(secret.value_key(&id)));
    }
    edit.put(sealed(ctx, sealer, &secret.scope, secret.value_key(token), content));
    edit.put(secret.clone());
    Ok(())
}

pub(super) async fn put(
    ctx: &Context,
    caller: &Caller,
    request: aws::PutSecretValueRequest,
) -> Result<aws::PutSecretValueResponse, ApiError> {
    let missing = || SecretRefusal::Request("You must provide either SecretString or SecretBinary.".to_owned());
    let content = content(request.secret_string, request.secret_binary)?.ok_or_else(missing)?;
    let (id, token) = (request.secret_id.unwrap_or_default(), token(ctx, request.client_request_token));
    let stages = request.version_stages.unwrap_or_default();
    let secret = change(ctx, &caller.scope, |edit, sealer| {
        let mut secret = Secret::clone(usable(edit.vault(), &caller.scope, &id)?);
        add(ctx, (edit, sealer), &mut secret, (&token, &stages), &content)?;
        Ok(secret)
    });
    let secret = secret.await?;
    Ok(aws::PutSecretValueResponse {
        arn: Some(secret.arn()),
        name: Some(secret.name.clone()),
        version_stages: secret.version(&token).map(|version| version.stages.clone()),
        version_id: Some(token),
    })
}

pub(super) async fn update(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateSecretRequest,
) -> Result<aws::UpdateSecretResponse, ApiError> {
    let content = content(request.secret_string, request.secret_binary)?;
    let (id, token) = (request.secret_id.unwrap_or_default(), token(ctx, request.client_request_token));
    let description = request.description;
    let secret = change(ctx, &caller.scope, |edit, sealer| {
        let mut secret = Secret::clone(usable(edit.vault(), &caller.scope, &id)?);
        if let Some(description) = &description {
            secret.description = Some(description.clone()).filter(|text| !text.is_empty());
            secret.changed_at = ctx.effects.now();
            edit.put(secret.clone());
        }
        if let Some(content) = &content {
            add(ctx, (edit, sealer), &mut secret, (&token, &[]), content)?;
        }
        Ok(secret)
    });
    let secret = secret.await?;
    Ok(aws::UpdateSecretResponse {
        arn: Some(secret.arn()),
        name: Some(secret.name),
        version_id: content.map(|_| token),
    })
}

pub(super) async fn move_stage(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateSecretVersionStageRequest,
) -> Result<aws::UpdateSecretVersionStageResponse, ApiError> {
    let (id, stage) = (request.secret_id.unwrap_or_default(), request.version_stage.unwrap_or_default());
    let (from, to) = (request.remove_from_version_id, request.move_to_version_id);
    let secret = change(ctx, &caller.scope, |edit, _| {
        let mut secret = Secret::clone(usable(edit.vault(), &caller.scope, &id)?);
        secret.move_stage(&stage, from.as_deref(), to.as_deref(), ctx.effects.now())?;
        edit.put(secret.clone());
        Ok(secret)
    });
    let secret = secret.await?;
    Ok(aws::UpdateSecretVersionStageResponse { arn: Some(secret.arn()), name: Some(secret.name) })
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteSecretRequest,
) -> Result<aws::DeleteSecretResponse, ApiError> {
    let (id, forced) = (request.secret_id.unwrap_or_default(), request.force_delete_without_recovery.unwrap_or(false));
    let days = request.recovery_window_in_days;
    if forced && days.is_some() {
        return Err(invalid("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays."));
    }
    let days = days.unwrap_or(DEFAULT_RECOVERY_DAYS);
    if !RECOVERY_DAYS.contains(&days) {
        return Err(invalid("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive)."));
    }
    let now = ctx.effects.now();
    let deleted = change(ctx, &caller.scope, |edit, _| {
        let found = find(edit.vault(), &caller.scope, &id).map(|secret| Secret::clone(secret));
        let mut secret = match found {
            // AWS: to force the deletion of what is not there is no error.
            Err(SecretRefusal::NotFound) if forced => return Ok(None),
            found => found?,
        };
        if forced {
            edit.remove_secret(&secret);
        } else {
            secret.usable()?;
            secret.delete_at = Some(now.plus_millis(days * DAY_MILLIS));
            secret.changed_at = now;
            edit.put(secret.clone());
        }
        Ok(Some(secret))
    });
    let deleted = deleted.await?;
    let at = deleted.as_ref().and_then(|secret| secret.delete_at).filter(|_| !forced).unwrap_or(now);
    Ok(aws::DeleteSecretResponse {
        arn: Some(deleted.as_ref().map_or_else(|| id.clone(), |secret| secret.arn())),
        name: Some(deleted.map_or(id, |secret| secret.name)),
        deletion_date: time(at),
    })
}

pub(super) async fn restore(
    ctx: &Context,
    caller: &Caller,
    request: aws::RestoreSecretRequest,
) -> Result<aws::RestoreSecretResponse, ApiError> {
    let id = request.secret_id.unwrap_or_default();
    let secret = change(ctx, &caller.scope, |edit, _| {
        let mut secret = Secret::clone(find(edit.vault(), &caller.scope, &id)?);
        if secret.delete_at.take().is_some() {
            secret.changed_at = ctx.effects.now();
            edit.put(secret.clone());
        }
        Ok(secret)
    });
    let secret = secret.await?;
    Ok(aws::RestoreSecretResponse { arn: Some(secret.arn()), name: Some(secret.name) })
}

pub(super) async fn tag(
    ctx: &Context,
    caller: &Caller,
    request: aws::TagResourceRequest,
) -> Result<::wire::NoOutput, ApiError> {
    let id = request.secret_id.unwrap_or_default();
    let given = request.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value));
    let tags = tags(given).map_err(|error| bad_tags(&error))?;
    let done = change(ctx, &caller.scope, |edit, _| {
        let mut secret = Secret::clone(usable(edit.vault(), &caller.scope, &id)?);
        secret.tags.merge(&tags).map_err(|error| bad_tags(&error))?;
        edit.put(secret);
        Ok(())
    });
    done.await.map(|()| ::wire::NoOutput {})
}

pub(super) async fn untag(
    ctx: &Context,
    caller: &Caller,
    request: aws::UntagResourceRequest,
) -> Result<::wire::NoOutput, ApiError> {
    let (id, keys) = (request.secret_id.unwrap_or_default(), request.tag_keys.unwrap_or_default());
    let done = change(ctx, &caller.scope, |edit, _| {
        let mut secret = Secret::clone(usable(edit.vault(), &caller.scope, &id)?);
        secret.tags.0.retain(|key, _| !keys.contains(key));
        edit.put(secret);
        Ok(())
    });
    done.await.map(|()| ::wire::NoOutput {})
}

//! Access keys of users. A secret is told once, when its key is made.

use super::{change, page, seen, text, time, users::meant};
use crate::{
    api::ApiError,
    context::{Caller, Context},
    credentials::{make_id, make_secret},
};
use model::iam::{AccessKey, KeyStatus, Refusal};
use shapes::iam as aws;
use wire::NoOutput;

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateAccessKeyRequest,
) -> Result<aws::CreateAccessKeyResponse, ApiError> {
    let user = meant(caller, request.user_name.as_ref())?;
    let (id, secret) = (make_id::<16>("AKIA", &ctx.effects), make_secret(&ctx.effects));
    // Held until the commit is answered, so that the key it seals by stays until then.
    let sealer = ctx.vault.sealer();
    let key = AccessKey {
        account: caller.account().clone(),
        secret: sealer.seal_key(caller.account(), &id, &secret, &ctx.effects),
        id,
        user,
        status: KeyStatus::Active,
        created_at: ctx.effects.now(),
    };
    change(ctx, caller, |edit| edit.create_access_key(key.clone())).await?;
    drop(sealer);
    let key = aws::AccessKey {
        user_name: Some(key.user),
        access_key_id: Some(key.id),
        status: Some(key.status.as_str().to_owned()),
        secret_access_key: Some(secret.reveal().to_owned()),
        create_date: time(key.created_at),
    };
    Ok(aws::CreateAccessKeyResponse { access_key: Some(key) })
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListAccessKeysRequest,
) -> Result<aws::ListAccessKeysResponse, ApiError> {
    let user = meant(caller, request.user_name.as_ref())?;
    let directory = seen(ctx, caller);
    directory.the_user(&user)?;
    let mut keys = directory.access_keys_of(&user);
    keys.sort_by(|a, b| a.id.cmp(&b.id));
    let asked = (request.marker.as_ref(), request.max_items);
    let page = page::cut(caller, ("ListAccessKeys", &user), keys.into_iter(), asked, |key| key.id.clone())?;
    let shown = page.items.into_iter().map(|key| aws::AccessKeyMetadata {
        user_name: Some(key.user.clone()),
        access_key_id: Some(key.id.clone()),
        status: Some(key.status.as_str().to_owned()),
        create_date: time(key.created_at),
    });
    Ok(aws::ListAccessKeysResponse {
        access_key_metadata: Some(shown.collect()),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn update(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateAccessKeyRequest,
) -> Result<NoOutput, ApiError> {
    let user = meant(caller, request.user_name.as_ref())?;
    let given = text(request.status.as_ref());
    let status = KeyStatus::parse(given).ok_or_else(|| {
        ApiError::new(
            "ValidationError",
            format!("Longshore does not honour the status {given}; use Active or Inactive."),
        )
    })?;
    change(ctx, caller, |edit| edit.set_access_key(&user, text(request.access_key_id.as_ref()), status)).await?;
    Ok(NoOutput {})
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteAccessKeyRequest,
) -> Result<NoOutput, ApiError> {
    let user = meant(caller, request.user_name.as_ref())?;
    change(ctx, caller, |edit| edit.delete_access_key(&user, text(request.access_key_id.as_ref()))).await?;
    Ok(NoOutput {})
}

pub(super) fn last_used(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetAccessKeyLastUsedRequest,
) -> Result<aws::GetAccessKeyLastUsedResponse, ApiError> {
    let directory = seen(ctx, caller);
    let id = text(request.access_key_id.as_ref());
    let key = directory.access_key(id).ok_or_else(|| Refusal::NoAccessKey(id.to_owned()))?;
    let last = ctx.credentials.last_use(id);
    // AWS: a key that was never used has this in place of names.
    let name = |of: Option<String>| of.or_else(|| Some("N/A".to_owned()));
    Ok(aws::GetAccessKeyLastUsedResponse {
        user_name: Some(key.user.clone()),
        access_key_last_used: Some(aws::AccessKeyLastUsed {
            last_used_date: last.as_ref().and_then(|last| time(last.at)),
            service_name: name(last.as_ref().map(|last| last.service.clone())),
            region: name(last.map(|last| last.region)),
        }),
    })
}

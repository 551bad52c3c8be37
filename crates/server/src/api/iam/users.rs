//! Users.

use super::{change, is_below, page, path, seen, tags, text, time};
use crate::{
    api::ApiError,
    context::{Caller, Context},
    credentials::make_id,
    identity::Identity,
};
use model::{
    Timestamp,
    iam::{Permissions, User, parse_tags},
};
use shapes::iam as aws;
use wire::NoOutput;

pub(super) fn shown(user: &User, with_tags: bool) -> aws::User {
    aws::User {
        path: Some(user.path.clone()),
        user_name: Some(user.name.clone()),
        user_id: Some(user.id.clone()),
        arn: Some(user.arn()),
        create_date: time(user.created_at),
        tags: tags::shown(&user.tags).filter(|_| with_tags),
        ..aws::User::default()
    }
}

/// The user that a request names, or else the one who asks. AWS's words for callers who are no users.
pub(super) fn meant(caller: &Caller, given: Option<&String>) -> Result<String, ApiError> {
    match (given.filter(|name| !name.is_empty()), &caller.identity) {
        (Some(name), _) => Ok(name.clone()),
        (None, Identity::User(user)) => Ok(user.name.clone()),
        (None, _) => {
            Err(ApiError::new("ValidationError", "Must specify userName when calling with non-User credentials"))
        }
    }
}

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateUserRequest,
) -> Result<aws::CreateUserResponse, ApiError> {
    let user = User {
        account: caller.account().clone(),
        name: request.user_name.unwrap_or_default(),
        path: path(request.path),
        id: make_id::<17>("AIDA", &ctx.effects),
        created_at: ctx.effects.now(),
        tags: parse_tags(tags::pairs(request.tags))?,
        permissions: Permissions::default(),
    };
    change(ctx, caller, |edit| edit.create_user(user.clone())).await?;
    Ok(aws::CreateUserResponse { user: Some(shown(&user, true)) })
}

pub(super) fn get(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetUserRequest,
) -> Result<aws::GetUserResponse, ApiError> {
    if text(request.user_name.as_ref()).is_empty() && caller.identity.is_root() {
        return Ok(aws::GetUserResponse { user: Some(root(caller)) });
    }
    let directory = seen(ctx, caller);
    let user = directory.the_user(&meant(caller, request.user_name.as_ref())?)?;
    Ok(aws::GetUserResponse { user: Some(shown(user, true)) })
}

/// AWS: the root is shown as a user too. When its account was opened nobody knows here.
fn root(caller: &Caller) -> aws::User {
    let account = caller.account();
    aws::User {
        path: Some("/".to_owned()),
        user_name: Some(account.to_string()),
        user_id: Some(caller.identity.id(account)),
        arn: Some(caller.identity.arn(account)),
        create_date: time(Timestamp(0)),
        ..aws::User::default()
    }
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListUsersRequest,
) -> Result<aws::ListUsersResponse, ApiError> {
    let directory = seen(ctx, caller);
    let prefix = request.path_prefix.as_deref();
    let users = directory.users().filter(|user| is_below(&user.path, prefix));
    let asked = (request.marker.as_ref(), request.max_items);
    let page = page::cut(caller, ("ListUsers", text(request.path_prefix.as_ref())), users, asked, |u| u.name.clone())?;
    Ok(aws::ListUsersResponse {
        // AWS: lists do not tell tags.
        users: Some(page.items.into_iter().map(|user| shown(user, false)).collect()),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn update(
    ctx: &Context,
    caller: &Caller,
    request: &aws::UpdateUserRequest,
) -> Result<NoOutput, ApiError> {
    let new = request.new_user_name.as_deref().filter(|name| !name.is_empty());
    let path = request.new_path.as_deref().filter(|path| !path.is_empty());
    change(ctx, caller, |edit| edit.update_user(text(request.user_name.as_ref()), new, path)).await?;
    Ok(NoOutput {})
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DeleteUserRequest,
) -> Result<NoOutput, ApiError> {
    change(ctx, caller, |edit| edit.delete_user(text(request.user_name.as_ref()))).await?;
    Ok(NoOutput {})
}

//! GetSessionToken: credentials for a while, of whoever has some for good.

use super::{denied, shown};
use crate::{
    api::ApiError,
    context::{Caller, Context},
    identity::Identity,
    tokens::{self, Of},
};
use shapes::sts as aws;
use std::time::Duration;

/// How long they hold without a word. Source: the model's documentation.
const USUAL: Duration = Duration::from_secs(12 * 3600);
/// AWS: a root's hold for an hour at most, whatever is asked for.
const ROOTS: Duration = Duration::from_secs(3600);

pub(super) fn get_session_token(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetSessionTokenRequest,
) -> Result<aws::GetSessionTokenResponse, ApiError> {
    if tokens::is_temporary(&caller.access_key) {
        return Err(denied("Cannot call GetSessionToken with session credentials"));
    }
    let asked = request.duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let asked = asked.map_or(USUAL, Duration::from_secs);
    let (of, life) = match &caller.identity {
        Identity::Root => (Of::Root, asked.min(ROOTS)),
        Identity::User(user) => (Of::User { name: user.name.clone(), id: user.id.clone() }, asked),
        Identity::Role(_) => return Err(denied("Cannot call GetSessionToken with session credentials")),
    };
    let (issued, _) = ctx.tokens.issue(caller.account(), of, life, &ctx.effects);
    Ok(aws::GetSessionTokenResponse { credentials: Some(shown(issued)), ..Default::default() })
}

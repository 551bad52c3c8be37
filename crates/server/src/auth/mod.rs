//! Who calls: every request's signature is verified before anything of it is looked at.
//!
//! The access key says whose account it is, the signature's scope says which region: together they are the space in which
//! names are looked up, so that one server answers for several regions.

use crate::{
    context::{Caller, Context, Peer},
    credentials::{Credentials, Holder},
    identity::Identity,
    tokens::{self, Untrue},
};
use http::request::Parts;
use model::{Region, Scope};
use wire::schema::Service;
use wire::sigv4::{Presented, Refusal};
use wire::{Timestamp, WireError};

/// Proves who sent a request to `service`.
///
/// # Errors
/// AWS's, in the words of the service's protocol, for a missing, incomplete, unknown, wrong or expired signature.
pub fn authenticate(ctx: &Context, parts: &Parts, body: &[u8], service: &'static Service) -> Result<Caller, WireError> {
    prove(ctx, parts, body, service).map_err(|refusal| {
        tracing::info!(service = service.name, ?refusal, "a signature was refused");
        refusal.error(service.protocol)
    })
}

fn prove(ctx: &Context, parts: &Parts, body: &[u8], service: &Service) -> Result<Caller, Refusal> {
    let presented = Presented::parse(parts)?;
    let holder = holder(ctx, &presented, service)?;
    let key = ctx.credentials.signing_key(&ctx.vault, &holder, &presented.scope).map_err(|error| {
        tracing::error!(%error, "the secret of an access key cannot be opened");
        Refusal::UnknownKey
    })?;
    let now = Timestamp::from_millis(ctx.effects.now().0);
    presented.verify(parts, body, &key, service.signing_name, now)?;
    ctx.credentials.remember(&presented.scope, key);
    if !holder.identity.is_root() && !tokens::is_temporary(&presented.scope.access_key) {
        ctx.credentials.used(&presented.scope, ctx.effects.now());
    }
    let region = Region::parse(presented.scope.region.as_str()).map_err(|_| {
        Refusal::NotCurrent(format!("Credential should be scoped to a valid region, not '{}'.", presented.scope.region))
    })?;
    let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    Ok(Caller {
        principal: holder.identity.arn(&holder.account),
        scope: Scope { account: holder.account, region },
        identity: holder.identity,
        access_key: presented.scope.access_key,
        host,
        session_since: holder.since,
        peer: parts.extensions.get::<Peer>().copied(),
    })
}

/// Whose key it is: one that is kept, or a temporary one with its token. Nobody's key comes with another one's token.
fn holder(ctx: &Context, presented: &Presented, service: &Service) -> Result<Holder, Refusal> {
    let (snapshot, access_key) = (ctx.store.snapshot(), &presented.scope.access_key);
    let Some(token) = presented.session_token.as_deref() else {
        return ctx.credentials.find(&snapshot, access_key).ok_or(Refusal::UnknownKey);
    };
    if !tokens::is_temporary(access_key) {
        return Err(Refusal::UnknownKey);
    }
    let session = ctx.tokens.look(access_key, token, ctx.effects.now()).map_err(|untrue| match untrue {
        Untrue::Unknown => Refusal::UnknownKey,
        Untrue::Expired => Refusal::ExpiredToken,
    })?;
    let holder = Credentials::of_session(&snapshot, session).ok_or(Refusal::UnknownKey)?;
    match &holder.identity {
        // AWS: what GetSessionToken gives is not for IAM, unless a second factor was shown.
        Identity::Root | Identity::User(_) if service.name == "iam" => Err(Refusal::UnknownKey),
        Identity::Root | Identity::User(_) | Identity::Role(_) => Ok(holder),
    }
}

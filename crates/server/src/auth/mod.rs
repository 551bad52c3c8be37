//! Who calls: every request's signature is verified before anything of it is looked at.
//!
//! The access key says whose account it is, the signature's scope says which region: together they are the space in which
//! names are looked up, so that one server answers for several regions.

use crate::context::{Caller, Context, Peer};
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
    let holder = ctx.credentials.find(&ctx.store.snapshot(), &presented.scope.access_key).ok_or(Refusal::UnknownKey)?;
    // No key here is temporary yet, so no session token can be one of ours.
    if presented.session_token.is_some() {
        return Err(Refusal::UnknownKey);
    }
    let key = ctx.credentials.signing_key(&ctx.vault, &holder, &presented.scope).map_err(|error| {
        tracing::error!(%error, "the secret of an access key cannot be opened");
        Refusal::UnknownKey
    })?;
    let now = Timestamp::from_millis(ctx.effects.now().0);
    presented.verify(parts, body, &key, service.signing_name, now)?;
    ctx.credentials.remember(&presented.scope, key);
    if !holder.identity.is_root() {
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
        peer: parts.extensions.get::<Peer>().copied(),
    })
}

//! How all rooms of Cloud Map look at service discovery, change it, and show a list of it.
//!
//! A change is decided on a snapshot and committed as one command, which the store refuses if the value has moved meanwhile;
//! then it is decided anew, a bounded number of times.

use super::invalid;
use crate::{
    api::{ApiError, paging::Pages},
    context::{Caller, Context},
    discovery,
};
use model::discovery::{Discovery, Edit, Refusal};
use state::{Command, CommitError, DiscoveryChange, Rejected, Snapshot};

/// How often a change is decided anew when the value moved under it. Each round one change has gone through, so only as many
/// callers as this at the same moment can bring one to give up, and it is told to come again.
const TRIES: usize = 64;
/// Items of one page, the most and what is shown when nothing is asked for. Source: the model, `MaxResults`.
const MAX_PAGE: usize = 100;

/// The caller's service discovery in a snapshot, with the names of Service Connect.
pub(super) fn seen(snapshot: &Snapshot, caller: &Caller) -> Discovery {
    discovery::with_connected(snapshot, &caller.scope)
}

/// Changes the caller's service discovery; what the decision answered, and what there is since.
pub(super) async fn change<T>(
    ctx: &Context,
    caller: &Caller,
    decide: impl Fn(&mut Edit<'_>, &Snapshot) -> Result<T, ApiError>,
) -> Result<(T, Discovery), ApiError> {
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        let (answer, discovery, change) = decided(ctx, caller, &snapshot, &decide)?;
        let Some(change) = change else { return Ok((answer, discovery)) };
        match ctx.store.commit(Command::ChangeDiscovery(Box::new(change))).await {
            Ok(_) => return Ok((answer, discovery)),
            Err(CommitError::Rejected(Rejected::DiscoveryChanged(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let text = "Service discovery is changed too often to be changed now; try again.";
    Err(ApiError::new("ThrottlingException", text).with_status(503))
}

fn decided<T>(
    ctx: &Context,
    caller: &Caller,
    snapshot: &Snapshot,
    decide: &impl Fn(&mut Edit<'_>, &Snapshot) -> Result<T, ApiError>,
) -> Result<(T, Discovery, Option<DiscoveryChange>), ApiError> {
    let discovery = seen(snapshot, caller);
    let on = discovery.version;
    let at = ctx.effects.now();
    let mut fresh = || u128::from_be_bytes(ctx.effects.bytes::<16>());
    let mut edit = Edit::new(discovery, caller.scope.clone(), at, &mut fresh);
    let answer = decide(&mut edit, snapshot)?;
    let discovery = edit.discovery().clone();
    let scope = caller.scope.clone();
    let change = edit.finish().map(|(put, remove)| DiscoveryChange { scope, on, put, remove, at });
    Ok((answer, discovery, change))
}

/// The page that a request asks for of a list that is in the order of its ids. `owner` is whose list it is, where it is not the
/// scope's own.
pub(super) fn page<T>(
    operation: &'static str,
    caller: &Caller,
    owner: &str,
    asked: (Option<i32>, Option<&str>),
    items: impl Iterator<Item = T>,
    id: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let (max_results, next_token) = asked;
    let pages = Pages::of(operation, &caller.scope).within(&owner);
    let after = pages.cursor(next_token).map_err(|error| invalid(error.message))?;
    // The model lets nothing else than 1 to 100 come this far.
    let limit = max_results.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    let rest = items.filter(|item| after.as_ref().is_none_or(|after| id(item) > *after));
    Ok(pages.cut(rest, limit, &id))
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let error = Self::new(refusal.code(), refusal.to_string());
        match refusal {
            Refusal::NamespaceExists { id, creation, .. } => {
                error.with("NamespaceId", id.as_str()).with_token(creation.token.as_deref())
            }
            Refusal::ServiceExists { id, creation, .. } => {
                error.with("ServiceId", id.as_str()).with_token(creation.token.as_deref())
            }
            Refusal::Duplicate(operation) => error.with("DuplicateOperationId", operation.as_str()),
            Refusal::Input(_)
            | Refusal::NamespaceNotFound(_)
            | Refusal::ServiceNotFound(_)
            | Refusal::InstanceNotFound(..)
            | Refusal::OperationNotFound(_)
            | Refusal::ResourceNotFound(_)
            | Refusal::NamespaceInUse(_)
            | Refusal::ServiceInUse(_)
            | Refusal::InUse(_)
            | Refusal::NoCustomHealth(_)
            | Refusal::Limit(_)
            | Refusal::Tags(_) => error,
        }
    }
}

impl ApiError {
    /// The same with the token of the request that made what is in the way, if it had one.
    fn with_token(self, token: Option<&str>) -> Self {
        match token {
            Some(token) => self.with("CreatorRequestId", token),
            None => self,
        }
    }
}

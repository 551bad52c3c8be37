//! What all rooms of the network have in common: how they look at it, how they change it, and how they show a list of it.
//!
//! A change is decided on a snapshot and committed as one command, which the store refuses if the network has moved meanwhile;
//! then it is decided anew, a bounded number of times.

use super::invalid;
use crate::{
    api::{ApiError, paging::Pages},
    context::{Caller, Context},
};
use model::{
    MachineState, Scope,
    network::{Edit, Network, Refusal, SubnetId},
    vpc::DefaultVpc,
};
use state::{Command, CommitError, NetworkChange, Rejected, Snapshot};
use std::sync::Arc;

/// How often a change is decided anew when the network moved under it. Each round one change has gone through, so only as many
/// callers as this at the same moment can bring one to give up, and it is told to come again.
const TRIES: usize = 64;
/// Items of one page, the most and what is shown when nothing is asked for. Source: the model's documentation.
pub(super) const MAX_PAGE: usize = 1000;

/// The caller's network: as it is stored, or the default VPC alone while nobody has changed anything.
pub(crate) fn seen(ctx: &Context, caller: &Caller, snapshot: &Snapshot) -> Network {
    of_scope(ctx, &caller.scope, snapshot)
}

/// The same of a scope.
pub(crate) fn of_scope(ctx: &Context, scope: &Scope, snapshot: &Snapshot) -> Network {
    match snapshot.network(scope) {
        Some(network) => Network::clone(network),
        None => DefaultVpc::of(scope, ctx.config.vpc_cidr).network(scope),
    }
}

/// The caller's network as it is now.
pub(super) fn now(ctx: &Context, caller: &Caller) -> Network {
    seen(ctx, caller, &ctx.store.snapshot())
}

/// Changes the caller's network; what the decision answered, and the network that came of it.
pub(crate) async fn change<T>(
    ctx: &Context,
    caller: &Caller,
    decide: impl Fn(&mut Edit<'_>) -> Result<T, Refusal>,
) -> Result<(T, Network), ApiError> {
    change_seeing(ctx, caller, |edit, _| decide(edit)).await
}

/// The same for a decision that looks at more than the caller's own network.
pub(super) async fn change_seeing<T>(
    ctx: &Context,
    caller: &Caller,
    decide: impl Fn(&mut Edit<'_>, &Snapshot) -> Result<T, Refusal>,
) -> Result<(T, Network), ApiError> {
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        let (answer, network, change) = decided(ctx, caller, &snapshot, &decide)?;
        let Some(change) = change else { return Ok((answer, network)) };
        match ctx.store.commit(Command::ChangeNetwork(Box::new(change))).await {
            Ok(_) => return Ok((answer, network)),
            Err(CommitError::Rejected(Rejected::NetworkChanged(_) | Rejected::AddressTaken(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let text = "The network is changed too often to be changed now; try again.";
    Err(ApiError::new("RequestLimitExceeded", text).with_status(503))
}

fn decided<T>(
    ctx: &Context,
    caller: &Caller,
    snapshot: &Snapshot,
    decide: &impl Fn(&mut Edit<'_>, &Snapshot) -> Result<T, Refusal>,
) -> Result<(T, Network, Option<NetworkChange>), ApiError> {
    let network = seen(ctx, caller, snapshot);
    let on = snapshot.network(&caller.scope).map_or(0, |network| network.version);
    let at = ctx.effects.now();
    let mut fresh = || u128::from_be_bytes(ctx.effects.bytes::<16>());
    let mut edit = Edit::new(network, caller.scope.clone(), at, &mut fresh);
    let machines = snapshot.machines(&caller.scope, None).filter(|m| m.state != MachineState::Terminated);
    for machine in machines {
        if let Ok(subnet) = SubnetId::parse(machine.subnet_id.as_str()) {
            edit.add_guest(subnet, machine.private_ip);
        }
    }
    let answer = decide(&mut edit, snapshot)?;
    let network = edit.network().clone();
    let change = edit.finish().map(|(put, remove)| NetworkChange { scope: caller.scope.clone(), on, put, remove, at });
    Ok((answer, network, change))
}

/// Those that are named, each of which must be there, or all when none is.
pub(super) fn chosen<'a, T: 'a, I>(
    named: Option<&[String]>,
    parse: impl Fn(String) -> Result<I, Refusal>,
    find: impl Fn(&I) -> Result<&'a Arc<T>, Refusal>,
    all: impl Iterator<Item = &'a Arc<T>>,
) -> Result<Vec<&'a Arc<T>>, ApiError> {
    let named = named.unwrap_or_default();
    if named.is_empty() {
        return Ok(all.collect());
    }
    // All are read before any is looked for, as in EC2.
    let ids = named.iter().cloned().map(parse).collect::<Result<Vec<_>, _>>()?;
    Ok(ids.iter().map(find).collect::<Result<Vec<_>, _>>()?)
}

/// The page that a request asks for of a list that is in the order of its ids.
pub(super) fn page<T>(
    operation: &'static str,
    caller: &Caller,
    max_results: Option<i32>,
    next_token: Option<&str>,
    mut items: Vec<T>,
    id: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let pages = Pages::of(operation, &caller.scope);
    let after = pages.cursor(next_token).map_err(|error| invalid(error.message))?;
    items.sort_by_cached_key(&id);
    let rest = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| id(item) > *after));
    Ok(pages.cut(rest, limit(max_results)?, &id))
}

fn limit(asked: Option<i32>) -> Result<usize, ApiError> {
    let Some(asked) = asked.filter(|asked| *asked != 0) else { return Ok(MAX_PAGE) };
    let fits = usize::try_from(asked).ok().filter(|asked| (1..=MAX_PAGE).contains(asked));
    fits.ok_or_else(|| {
        invalid(format!("Value ( {asked} ) for parameter maxResults is invalid. Expecting a value up to 1000."))
    })
}

/// A text that must be there.
pub(super) fn required(name: &'static str, text: Option<String>) -> Result<String, ApiError> {
    text.filter(|text| !text.is_empty()).ok_or_else(|| Refusal::Missing(name).into())
}

/// `arn:aws:ec2:REGION:ACCOUNT:KIND/ID`
pub(super) fn arn(caller: &Caller, kind: &str, id: &str) -> String {
    format!("arn:aws:ec2:{}:{}:{kind}/{id}", caller.scope.region, caller.scope.account)
}

/// The refusal of a value that is known and not honoured.
pub(super) fn not_honoured(what: &str) -> ApiError {
    let text = format!("Longshore does not honour {what} yet; remove it or see docs/coverage.md.");
    ApiError::new("UnsupportedOperation", text)
}

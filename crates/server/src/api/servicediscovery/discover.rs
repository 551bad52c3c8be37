//! DiscoverInstances: who is found under a name, for programs that ask the API and no resolver.

use super::{change::seen, check_owner, instances::status};
use crate::{
    api::ApiError,
    context::{Caller, Context},
    discovery::{self, Found},
};
use model::discovery::{Refusal, Service};
use shapes::servicediscovery as aws;
use state::Snapshot;
use std::{collections::BTreeMap, sync::Arc};

/// Instances of one answer where nothing is said. Source: the model's documentation.
const ANSWERED: usize = 100;

fn find(snapshot: &Snapshot, caller: &Caller, namespace: &str, name: &str) -> Result<Arc<Service>, Refusal> {
    let all = seen(snapshot, caller);
    let missing = || Refusal::NamespaceNotFound(namespace.to_owned());
    let found = all.namespace_named(namespace).ok_or_else(missing)?;
    let service = all.services_of(&found.id).find(|service| service.name == name);
    service.cloned().ok_or_else(|| Refusal::ServiceNotFound(name.to_owned()))
}

pub(super) fn instances(
    ctx: &Context,
    caller: &Caller,
    request: aws::DiscoverInstancesRequest,
) -> Result<aws::DiscoverInstancesResponse, ApiError> {
    check_owner(caller, request.owner_account.as_deref())?;
    let (namespace, name) = (request.namespace_name.unwrap_or_default(), request.service_name.unwrap_or_default());
    let snapshot = ctx.store.snapshot();
    let service = find(&snapshot, caller, &namespace, &name)?;
    let holds = |found: &Found, wanted: &BTreeMap<String, String>| {
        wanted.iter().all(|(key, value)| found.attributes.get(key) == Some(value))
    };
    let mut found: Vec<Found> = discovery::found(&snapshot, &service).into_values().collect();
    if let Some(wanted) = &request.query_parameters {
        found.retain(|one| holds(one, wanted));
    }
    // AWS: a wish, which counts where any of those that are left fulfils it.
    if let Some(wished) = request.optional_parameters.as_ref().filter(|_| !found.is_empty())
        && found.iter().any(|one| holds(one, wished))
    {
        found.retain(|one| holds(one, wished));
    }
    match request.health_status.as_deref() {
        Some("HEALTHY") => found.retain(Found::is_healthy),
        Some("UNHEALTHY") => found.retain(|one| !one.is_healthy()),
        Some("ALL") => {}
        // AWS: what holds where nothing is said.
        Some(_) | None => {
            if found.iter().any(Found::is_healthy) {
                found.retain(Found::is_healthy);
            }
        }
    }
    found.truncate(request.max_results.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(ANSWERED));
    let shown = found.into_iter().map(|one| aws::HttpInstanceSummary {
        health_status: Some(status(&one)),
        attributes: Some(one.attributes),
        instance_id: Some(one.id.to_string()),
        namespace_name: Some(namespace.clone()),
        service_name: Some(name.clone()),
    });
    Ok(aws::DiscoverInstancesResponse {
        instances: Some(shown.collect()),
        instances_revision: Some(revision_of(&snapshot)),
    })
}

pub(super) fn revision(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DiscoverInstancesRevisionRequest,
) -> Result<aws::DiscoverInstancesRevisionResponse, ApiError> {
    check_owner(caller, request.owner_account.as_deref())?;
    let snapshot = ctx.store.snapshot();
    let (namespace, name) = (request.namespace_name.as_deref(), request.service_name.as_deref());
    find(&snapshot, caller, namespace.unwrap_or_default(), name.unwrap_or_default())?;
    Ok(aws::DiscoverInstancesRevisionResponse { instances_revision: Some(revision_of(&snapshot)) })
}

/// A number that is another one whenever the list may be another one. It counts all that the server decides, because tasks come
/// and go without anybody counting them here; a client asks once more than it would have to, and never too seldom.
fn revision_of(snapshot: &Snapshot) -> i64 {
    i64::try_from(snapshot.revision()).unwrap_or(i64::MAX)
}

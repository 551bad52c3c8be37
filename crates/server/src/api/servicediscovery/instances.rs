//! Instances: those that clients register, and, to be looked at only, the tasks of ECS services.

use super::{
    change::{change, page, seen},
    creation, service_id,
};
use crate::{
    api::ApiError,
    context::{Caller, Context},
    discovery::{self, Found},
};
use model::discovery::{CustomHealth, Edit, InstanceId, NewInstance, Refusal, Service, ServiceId};
use shapes::servicediscovery as aws;
use state::Snapshot;
use std::{collections::BTreeMap, sync::Arc};
use wire::NoOutput;

pub(super) async fn register(
    ctx: &Context,
    caller: &Caller,
    mut request: aws::RegisterInstanceRequest,
) -> Result<aws::RegisterInstanceResponse, ApiError> {
    let creation = creation(request.creator_request_id.take(), &request);
    let service = service_id(caller, request.service_id.as_deref())?;
    let given = request.instance_id.unwrap_or_default();
    let id = InstanceId::parse(given).map_err(|wrong| Refusal::Input(wrong.to_string()))?;
    let attributes = request.attributes.unwrap_or_default();
    let new = NewInstance { service, id, attributes, creation };
    let decide = |edit: &mut Edit<'_>, snapshot: &Snapshot| {
        check_no_task(snapshot, edit, &new.service, &new.id)?;
        Ok(edit.register_instance(new.clone())?)
    };
    let (operation, _) = change(ctx, caller, decide).await?;
    Ok(aws::RegisterInstanceResponse { operation_id: Some(operation.to_string()) })
}

pub(super) async fn deregister(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeregisterInstanceRequest,
) -> Result<aws::DeregisterInstanceResponse, ApiError> {
    let (service, id) = named(caller, request.service_id.as_deref(), request.instance_id.as_deref())?;
    let decide = |edit: &mut Edit<'_>, snapshot: &Snapshot| {
        check_no_task(snapshot, edit, &service, &id)?;
        Ok(edit.deregister_instance(&service, &id)?)
    };
    let (operation, _) = change(ctx, caller, decide).await?;
    Ok(aws::DeregisterInstanceResponse { operation_id: Some(operation.to_string()) })
}

pub(super) async fn set_health(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateInstanceCustomHealthStatusRequest,
) -> Result<NoOutput, ApiError> {
    let (service, id) = named(caller, request.service_id.as_deref(), request.instance_id.as_deref())?;
    let health = match request.status.as_deref() {
        Some("UNHEALTHY") => CustomHealth::Unhealthy,
        Some(_) | None => CustomHealth::Healthy,
    };
    let decide = |edit: &mut Edit<'_>, snapshot: &Snapshot| {
        // The codes of this operation have none for what is in use.
        if is_task(snapshot, edit, &service, &id)? {
            return Err(Refusal::Input(of_task(&id)).into());
        }
        Ok(edit.set_health(&service, &id, health)?)
    };
    change(ctx, caller, decide).await?;
    Ok(NoOutput {})
}

/// The service and the instance that a request names. An id that none can have is one that is not there.
fn named(caller: &Caller, service: Option<&str>, id: Option<&str>) -> Result<(ServiceId, InstanceId), Refusal> {
    let service = service_id(caller, service)?;
    let id = InstanceId::parse(id.unwrap_or_default()).map_err(|wrong| Refusal::Input(wrong.to_string()))?;
    Ok((service, id))
}

/// Whether an instance is a task.
fn is_task(snapshot: &Snapshot, edit: &Edit<'_>, service: &ServiceId, id: &InstanceId) -> Result<bool, Refusal> {
    let service = edit.discovery().find_service(service)?;
    Ok(discovery::found(snapshot, service).get(id).is_some_and(|found| found.is_task))
}

fn of_task(id: &InstanceId) -> String {
    format!("The instance {id} is a task of an ECS service and follows that.")
}

/// A task is found because it runs; nobody else can say that it does, or that it does not.
fn check_no_task(snapshot: &Snapshot, edit: &Edit<'_>, service: &ServiceId, id: &InstanceId) -> Result<(), Refusal> {
    if is_task(snapshot, edit, service, id)? { Err(Refusal::InUse(of_task(id))) } else { Ok(()) }
}

/// A service of the caller's, and all that are found under its name.
fn look(
    snapshot: &Snapshot,
    caller: &Caller,
    service: Option<&str>,
) -> Result<(Arc<Service>, BTreeMap<InstanceId, Found>), Refusal> {
    let service = seen(snapshot, caller).find_service(&service_id(caller, service)?)?.clone();
    let found = discovery::found(snapshot, &service);
    Ok((service, found))
}

pub(super) fn get(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetInstanceRequest,
) -> Result<aws::GetInstanceResponse, ApiError> {
    let (service, found) = look(&ctx.store.snapshot(), caller, request.service_id.as_deref())?;
    let (_, id) = named(caller, request.service_id.as_deref(), request.instance_id.as_deref())?;
    let one = found.get(&id).ok_or_else(|| Refusal::InstanceNotFound(id, service.id.clone()))?;
    Ok(aws::GetInstanceResponse {
        instance: Some(aws::Instance {
            attributes: Some(one.attributes.clone()),
            created_by_account: Some(caller.account().to_string()),
            creator_request_id: one.token.as_deref().map(str::to_owned),
            id: Some(one.id.to_string()),
        }),
        resource_owner: Some(caller.account().to_string()),
    })
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListInstancesRequest,
) -> Result<aws::ListInstancesResponse, ApiError> {
    let (service, found) = look(&ctx.store.snapshot(), caller, request.service_id.as_deref())?;
    let asked = (request.max_results, request.next_token.as_deref());
    let (shown, next_token) =
        page("ListInstances", caller, service.id.as_str(), asked, found.into_values(), |one| one.id.to_string())?;
    let shown = shown.into_iter().map(|one| aws::InstanceSummary {
        attributes: Some(one.attributes),
        created_by_account: Some(caller.account().to_string()),
        id: Some(one.id.to_string()),
    });
    Ok(aws::ListInstancesResponse {
        instances: Some(shown.collect()),
        next_token,
        resource_owner: Some(caller.account().to_string()),
    })
}

/// How one is, in AWS's word.
pub(super) fn status(found: &Found) -> String {
    found.health.map_or("UNKNOWN", CustomHealth::as_str).to_owned()
}

pub(super) fn health(
    ctx: &Context,
    caller: &Caller,
    request: aws::GetInstancesHealthStatusRequest,
) -> Result<aws::GetInstancesHealthStatusResponse, ApiError> {
    let (service, mut found) = look(&ctx.store.snapshot(), caller, request.service_id.as_deref())?;
    if let Some(wanted) = request.instances {
        let mut kept = BTreeMap::new();
        for id in wanted {
            let id = InstanceId::parse(id).map_err(|wrong| Refusal::Input(wrong.to_string()))?;
            let one = found.remove(&id).or_else(|| kept.get(&id).cloned());
            let one = one.ok_or_else(|| Refusal::InstanceNotFound(id.clone(), service.id.clone()))?;
            kept.insert(id, one);
        }
        found = kept;
    }
    let asked = (request.max_results, request.next_token.as_deref());
    let owner = service.id.as_str();
    let (shown, next_token) =
        page("GetInstancesHealthStatus", caller, owner, asked, found.into_values(), |one| one.id.to_string())?;
    let status = shown.iter().map(|one| (one.id.to_string(), status(one))).collect();
    Ok(aws::GetInstancesHealthStatusResponse { next_token, status: Some(status) })
}

//! Services: the names in a namespace, and the records that their instances get.

use super::{
    change::{change, page, seen},
    creation,
    filter::{Filter, select},
    invalid, namespace_id,
    namespaces::seconds,
    not_honoured, service_arn, service_id, tags_in, time,
};
use crate::{
    api::ApiError,
    context::{Caller, Context},
    discovery::Roll,
};
use model::discovery::{
    Discovery, DnsConfig, DnsRecord, NamespaceKind, NewService, RecordKind, Refusal, Routing, Service,
};
use shapes::servicediscovery as aws;
use state::Snapshot;

/// AWS: whatever is asked for, it is 1 since it is no longer looked at.
const FAILURE_THRESHOLD: i32 = 1;

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    mut request: aws::CreateServiceRequest,
) -> Result<aws::CreateServiceResponse, ApiError> {
    let creation = creation(request.creator_request_id.take(), &request);
    let inner = request.dns_config.as_ref().and_then(|dns| dns.namespace_id.as_deref());
    // AWS: the older place is within DnsConfig; both may say it, the same.
    let namespace = match (request.namespace_id.as_deref(), inner) {
        (Some(outer), Some(inner)) if namespace_id(caller, Some(outer))? != namespace_id(caller, Some(inner))? => {
            return Err(invalid("NamespaceId and DnsConfig.NamespaceId are different."));
        }
        (None, None) => return Err(invalid("NamespaceId is required.")),
        (Some(id), _) | (None, Some(id)) => namespace_id(caller, Some(id))?,
    };
    let new = NewService {
        namespace,
        name: request.name.unwrap_or_default(),
        description: request.description,
        dns: request.dns_config.map(dns_config).transpose()?,
        http_only: request.r#type.as_deref() == Some("HTTP"),
        custom_health: request.health_check_custom_config.is_some(),
        creation,
        tags: tags_in(request.tags).map_err(Refusal::Tags)?,
    };
    let decide = |edit: &mut model::discovery::Edit<'_>, _: &Snapshot| {
        edit.create_service(new.clone()).map_err(|refusal| {
            // AWS: this one error says which as an ARN too.
            let known =
                if let Refusal::ServiceExists { id, .. } = &refusal { Some(service_arn(caller, id)) } else { None };
            let error = ApiError::from(refusal);
            match known {
                Some(arn) => error.with("ServiceArn", arn),
                None => error,
            }
        })
    };
    let (service, all) = change(ctx, caller, decide).await?;
    Ok(aws::CreateServiceResponse {
        service: Some(render(&Roll::of(&ctx.store.snapshot(), &caller.scope), caller, &all, &service)),
    })
}

fn dns_config(given: aws::DnsConfig) -> Result<DnsConfig, ApiError> {
    let routing = match given.routing_policy.as_deref() {
        // AWS: what holds where nothing is said.
        None | Some("" | "MULTIVALUE") => Routing::Multivalue,
        Some(_) => Routing::Weighted,
    };
    Ok(DnsConfig { routing, records: dns_records(given.dns_records)? })
}

fn dns_records(given: Option<Vec<aws::DnsRecord>>) -> Result<Vec<DnsRecord>, ApiError> {
    let read = |record: aws::DnsRecord| {
        let kind = match record.r#type.as_deref().unwrap_or_default() {
            "A" => RecordKind::A,
            "SRV" => RecordKind::Srv,
            other => return Err(not_honoured(&format!("DNS records of type {other}"))),
        };
        Ok(DnsRecord { kind, ttl: seconds(record.ttl.unwrap_or_default()) })
    };
    given.unwrap_or_default().into_iter().map(read).collect()
}

pub(super) async fn update(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateServiceRequest,
) -> Result<aws::UpdateServiceResponse, ApiError> {
    let id = service_id(caller, request.id.as_deref())?;
    let given = request.service.unwrap_or_default();
    let records = given.dns_config.map(|dns| dns_records(dns.dns_records)).transpose()?;
    let description = given.description;
    let (operation, _) =
        change(ctx, caller, |edit, _| Ok(edit.update_service(&id, description.clone(), records.clone())?)).await?;
    Ok(aws::UpdateServiceResponse { operation_id: Some(operation.to_string()) })
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteServiceRequest,
) -> Result<aws::DeleteServiceResponse, ApiError> {
    let id = service_id(caller, request.id.as_deref())?;
    let decide = |edit: &mut model::discovery::Edit<'_>, snapshot: &Snapshot| {
        let has_tasks = Roll::of(snapshot, &caller.scope).has_tasks(edit.discovery().find_service(&id)?);
        Ok(edit.delete_service(&id, has_tasks)?)
    };
    change(ctx, caller, decide).await?;
    Ok(aws::DeleteServiceResponse {})
}

pub(super) fn get(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetServiceRequest,
) -> Result<aws::GetServiceResponse, ApiError> {
    let id = service_id(caller, request.id.as_deref())?;
    let snapshot = ctx.store.snapshot();
    let all = seen(&snapshot, caller);
    Ok(aws::GetServiceResponse {
        service: Some(render(&Roll::of(&snapshot, &caller.scope), caller, &all, all.find_service(&id)?)),
    })
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListServicesRequest,
) -> Result<aws::ListServicesResponse, ApiError> {
    let snapshot = ctx.store.snapshot();
    let all = seen(&snapshot, caller);
    let filters = request.filters.as_deref().unwrap_or_default().iter();
    let filters: Vec<_> =
        filters.map(|f| Filter::new(f.name.as_deref(), f.condition.as_deref(), f.values.as_deref())).collect();
    let kept = select(all.services(), &filters, |service, filter| match filter.name {
        "NAMESPACE_ID" => filter.lets(service.namespace.as_str()),
        _ => filter.lets_owner(),
    })?;
    let asked = (request.max_results, request.next_token.as_deref());
    let (shown, next_token) = page("ListServices", caller, "", asked, kept.into_iter(), |one| one.id.to_string())?;
    let roll = Roll::of(&snapshot, &caller.scope);
    let services = shown.into_iter().map(|service| summary(&roll, caller, &all, service)).collect();
    Ok(aws::ListServicesResponse { services: Some(services), next_token })
}

fn render(roll: &Roll<'_>, caller: &Caller, all: &Discovery, service: &Service) -> aws::Service {
    let shown = summary(roll, caller, all, service);
    aws::Service {
        arn: shown.arn,
        create_date: shown.create_date,
        created_by_account: shown.created_by_account,
        creator_request_id: service.creation.token.as_deref().map(str::to_owned),
        description: shown.description,
        dns_config: shown.dns_config,
        health_check_config: None,
        health_check_custom_config: shown.health_check_custom_config,
        id: shown.id,
        instance_count: shown.instance_count,
        name: shown.name,
        namespace_id: Some(service.namespace.to_string()),
        resource_owner: shown.resource_owner,
        r#type: shown.r#type,
    }
}

fn summary(roll: &Roll<'_>, caller: &Caller, all: &Discovery, service: &Service) -> aws::ServiceSummary {
    let record = |record: &DnsRecord| aws::DnsRecord {
        ttl: Some(record.ttl.into()),
        r#type: Some(record.kind.as_str().to_owned()),
    };
    let dns = service.dns.as_ref().map(|dns| aws::DnsConfig {
        dns_records: Some(dns.records.iter().map(record).collect()),
        namespace_id: Some(service.namespace.to_string()),
        routing_policy: Some(dns.routing.as_str().to_owned()),
    });
    let is_dns = all.namespace(&service.namespace).is_some_and(|namespace| match namespace.kind {
        NamespaceKind::PrivateDns { .. } => service.dns.is_some(),
        NamespaceKind::Http => false,
    });
    aws::ServiceSummary {
        arn: Some(service_arn(caller, &service.id)),
        create_date: time(service.created_at),
        created_by_account: Some(caller.account().to_string()),
        description: service.description.clone(),
        dns_config: dns,
        health_check_config: None,
        health_check_custom_config: service
            .custom_health
            .then_some(aws::HealthCheckCustomConfig { failure_threshold: Some(FAILURE_THRESHOLD) }),
        id: Some(service.id.to_string()),
        instance_count: i32::try_from(roll.found(service).len()).ok(),
        name: Some(service.name.clone()),
        resource_owner: Some(caller.account().to_string()),
        r#type: Some(if is_dns { "DNS_HTTP" } else { "HTTP" }.to_owned()),
    }
}

//! Namespaces: HTTP ones, which DiscoverInstances answers for, and private ones, which a VPC's resolver answers for too.

use super::{
    change::{change, page, seen},
    creation,
    filter::{Filter, select},
    namespace_arn, namespace_id, tags_in, time,
};
use crate::{
    api::{ApiError, ec2},
    context::{Caller, Context},
};
use model::{
    discovery::{
        DEFAULT_SOA_TTL, Discovery, Namespace, NamespaceId, NamespaceKind, NewNamespace, OperationId, Refusal,
    },
    network::VpcId,
};
use shapes::servicediscovery as aws;

pub(super) async fn create_http(
    ctx: &Context,
    caller: &Caller,
    mut request: aws::CreateHttpNamespaceRequest,
) -> Result<aws::CreateHttpNamespaceResponse, ApiError> {
    let creation = creation(request.creator_request_id.take(), &request);
    let new = NewNamespace {
        name: request.name.unwrap_or_default(),
        kind: NamespaceKind::Http,
        description: request.description,
        creation,
        tags: tags_in(request.tags).map_err(Refusal::Tags)?,
    };
    let (operation, _) = change(ctx, caller, |edit, _| Ok(edit.create_namespace(new.clone())?)).await?;
    Ok(aws::CreateHttpNamespaceResponse { operation_id: Some(operation.to_string()) })
}

/// The namespace of that name, made if there is none: as ECS does for a cluster whose default it is to be.
pub(crate) async fn ensure_http(ctx: &Context, caller: &Caller, name: &str) -> Result<NamespaceId, ApiError> {
    let request = aws::CreateHttpNamespaceRequest { name: Some(name.to_owned()), ..Default::default() };
    let new = NewNamespace {
        name: name.to_owned(),
        kind: NamespaceKind::Http,
        description: None,
        creation: creation(None, &request),
        tags: model::Tags::default(),
    };
    let decide = |edit: &mut model::discovery::Edit<'_>, _: &state::Snapshot| {
        if let Some(known) = edit.discovery().namespace_named(name) {
            return Ok(known.id.clone());
        }
        edit.create_namespace(new.clone()).map_err(|refusal| ApiError::invalid(refusal.to_string()))?;
        let made = edit.discovery().namespace_named(name);
        Ok(made.expect("it was made just now").id.clone())
    };
    let (id, _) = change(ctx, caller, decide).await?;
    Ok(id)
}

pub(super) async fn create_private(
    ctx: &Context,
    caller: &Caller,
    mut request: aws::CreatePrivateDnsNamespaceRequest,
) -> Result<aws::CreatePrivateDnsNamespaceResponse, ApiError> {
    let creation = creation(request.creator_request_id.take(), &request);
    let named = request.vpc.unwrap_or_default();
    let missing = || Refusal::Input(format!("The VPC {named} does not exist."));
    let vpc = VpcId::parse(named.as_str()).map_err(|_| missing())?;
    let ttl = request.properties.and_then(|properties| properties.dns_properties?.soa?.ttl);
    let new = NewNamespace {
        name: request.name.unwrap_or_default(),
        kind: NamespaceKind::PrivateDns { vpc: vpc.clone(), soa_ttl: ttl.map_or(DEFAULT_SOA_TTL, seconds) },
        description: request.description,
        creation,
        tags: tags_in(request.tags).map_err(Refusal::Tags)?,
    };
    let decide = |edit: &mut model::discovery::Edit<'_>, snapshot: &state::Snapshot| {
        if ec2::network::seen(ctx, caller, snapshot).vpc(&vpc).is_none() {
            return Err(missing().into());
        }
        Ok(edit.create_namespace(new.clone())?)
    };
    let (operation, _) = change(ctx, caller, decide).await?;
    Ok(aws::CreatePrivateDnsNamespaceResponse { operation_id: Some(operation.to_string()) })
}

/// A TTL, which the model keeps between 0 and 2³¹ - 1.
pub(super) fn seconds(ttl: i64) -> u32 {
    u32::try_from(ttl).unwrap_or_default()
}

pub(super) async fn update_http(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateHttpNamespaceRequest,
) -> Result<aws::UpdateHttpNamespaceResponse, ApiError> {
    let description = request.namespace.and_then(|namespace| namespace.description);
    let operation = update(ctx, caller, request.id.as_deref(), true, description, None).await?;
    Ok(aws::UpdateHttpNamespaceResponse { operation_id: Some(operation.to_string()) })
}

pub(super) async fn update_private(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdatePrivateDnsNamespaceRequest,
) -> Result<aws::UpdatePrivateDnsNamespaceResponse, ApiError> {
    let (description, properties) =
        request.namespace.map_or((None, None), |namespace| (namespace.description, namespace.properties));
    let ttl = properties.and_then(|properties| properties.dns_properties?.soa?.ttl).map(seconds);
    let operation = update(ctx, caller, request.id.as_deref(), false, description, ttl).await?;
    Ok(aws::UpdatePrivateDnsNamespaceResponse { operation_id: Some(operation.to_string()) })
}

async fn update(
    ctx: &Context,
    caller: &Caller,
    id: Option<&str>,
    is_http: bool,
    description: Option<String>,
    ttl: Option<u32>,
) -> Result<OperationId, ApiError> {
    let id = namespace_id(caller, id)?;
    let (operation, _) =
        change(ctx, caller, |edit, _| Ok(edit.update_namespace(&id, is_http, description.clone(), ttl)?)).await?;
    Ok(operation)
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteNamespaceRequest,
) -> Result<aws::DeleteNamespaceResponse, ApiError> {
    let id = namespace_id(caller, request.id.as_deref())?;
    let (operation, _) = change(ctx, caller, |edit, _| Ok(edit.delete_namespace(&id)?)).await?;
    Ok(aws::DeleteNamespaceResponse { operation_id: Some(operation.to_string()) })
}

pub(super) fn get(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetNamespaceRequest,
) -> Result<aws::GetNamespaceResponse, ApiError> {
    let id = namespace_id(caller, request.id.as_deref())?;
    let all = seen(&ctx.store.snapshot(), caller);
    let namespace = all.find_namespace(&id)?;
    let shown = summary(caller, &all, namespace);
    Ok(aws::GetNamespaceResponse {
        namespace: Some(aws::Namespace {
            arn: shown.arn,
            create_date: shown.create_date,
            creator_request_id: namespace.creation.token.as_deref().map(str::to_owned),
            description: shown.description,
            id: shown.id,
            name: shown.name,
            properties: shown.properties,
            resource_owner: shown.resource_owner,
            service_count: shown.service_count,
            r#type: shown.r#type,
        }),
    })
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListNamespacesRequest,
) -> Result<aws::ListNamespacesResponse, ApiError> {
    let all = seen(&ctx.store.snapshot(), caller);
    let filters = request.filters.as_deref().unwrap_or_default().iter();
    let filters: Vec<_> =
        filters.map(|f| Filter::new(f.name.as_deref(), f.condition.as_deref(), f.values.as_deref())).collect();
    let mut types = filters.iter().filter(|filter| filter.name == "TYPE").flat_map(|filter| filter.values);
    if let Some(unknown) = types.find(|value| !TYPES.contains(&value.as_str())) {
        return Err(
            Refusal::Input(format!("{unknown} is no type of namespaces; there are {}.", TYPES.join(", "))).into()
        );
    }
    let kept = select(all.namespaces(), &filters, |namespace, filter| match filter.name {
        "TYPE" => filter.lets(kind(namespace)),
        "NAME" | "HTTP_NAME" => filter.lets(&namespace.name),
        _ => filter.lets_owner(),
    })?;
    let asked = (request.max_results, request.next_token.as_deref());
    let (shown, next_token) = page("ListNamespaces", caller, "", asked, kept.into_iter(), |one| one.id.to_string())?;
    let namespaces = shown.into_iter().map(|namespace| summary(caller, &all, namespace)).collect();
    Ok(aws::ListNamespacesResponse { namespaces: Some(namespaces), next_token })
}

/// The types that Cloud Map knows; public ones there are none of here. Source: service model.
const TYPES: [&str; 3] = ["DNS_PUBLIC", "DNS_PRIVATE", "HTTP"];

fn kind(namespace: &Namespace) -> &'static str {
    match namespace.kind {
        NamespaceKind::Http => "HTTP",
        NamespaceKind::PrivateDns { .. } => "DNS_PRIVATE",
    }
}

fn summary(caller: &Caller, all: &Discovery, namespace: &Namespace) -> aws::NamespaceSummary {
    let dns = match namespace.kind {
        NamespaceKind::Http => None,
        NamespaceKind::PrivateDns { soa_ttl, .. } => Some(aws::DnsProperties {
            hosted_zone_id: Some(namespace.id.hosted_zone()),
            soa: Some(aws::SOA { ttl: Some(soa_ttl.into()) }),
        }),
    };
    aws::NamespaceSummary {
        arn: Some(namespace_arn(caller, &namespace.id)),
        create_date: time(namespace.created_at),
        description: namespace.description.clone(),
        id: Some(namespace.id.to_string()),
        name: Some(namespace.name.clone()),
        properties: Some(aws::NamespaceProperties {
            dns_properties: dns,
            http_properties: Some(aws::HttpProperties { http_name: Some(namespace.name.clone()) }),
        }),
        resource_owner: Some(caller.account().to_string()),
        service_count: i32::try_from(all.services_of(&namespace.id).count()).ok(),
        r#type: Some(kind(namespace).to_owned()),
    }
}

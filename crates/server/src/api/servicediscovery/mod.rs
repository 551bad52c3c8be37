//! Cloud Map: names under which services are found. Every operation that AWS answers with an id of something still to be done is
//! done here when it is answered; GetOperation says so.
//!
//! Deliberately absent, and refused by name: public namespaces, Route 53's health checks, aliases, AAAA and CNAME records,
//! attributes of services.

mod change;
mod discover;
mod filter;
mod instances;
mod namespaces;
mod operations;
mod services;
mod tags;

pub(crate) use namespaces::ensure_http as ensure_http_namespace;

use super::{
    ApiError, answer,
    honoured::{Row, row},
    no_arm, read,
};
use crate::context::{Caller, Context};
use model::{
    Creation, Tags, Timestamp,
    discovery::{NamespaceId, Refusal, ServiceId},
    tags::InvalidTags,
};
use serde_json::Value;
use shapes::servicediscovery as aws;
use std::sync::Arc;
use wire::Structure;

pub(crate) const HONOURED: &[Row] = &[
    row("CreateHttpNamespace", &["CreatorRequestId", "Description", "Name", "Tags.*"]),
    row("CreatePrivateDnsNamespace", &["CreatorRequestId", "Description", "Name", "Properties.*", "Tags.*", "Vpc"]),
    // An update that comes again changes nothing, so that its request id needs no memory.
    row("UpdateHttpNamespace", &["Id", "Namespace.*", "UpdaterRequestId"]),
    row("UpdatePrivateDnsNamespace", &["Id", "Namespace.*", "UpdaterRequestId"]),
    row("GetNamespace", &["Id"]),
    row("ListNamespaces", &["Filters.*", "MaxResults", "NextToken"]),
    row("DeleteNamespace", &["Id"]),
    row(
        "CreateService",
        &[
            "CreatorRequestId",
            "Description",
            "DnsConfig.*",
            "HealthCheckCustomConfig.*",
            "Name",
            "NamespaceId",
            "Tags.*",
            "Type",
        ],
    ),
    row("UpdateService", &["Id", "Service.Description", "Service.DnsConfig.*"]),
    row("GetService", &["Id"]),
    row("ListServices", &["Filters.*", "MaxResults", "NextToken"]),
    row("DeleteService", &["Id"]),
    row("RegisterInstance", &["Attributes.*", "CreatorRequestId", "InstanceId", "ServiceId"]),
    row("DeregisterInstance", &["InstanceId", "ServiceId"]),
    row("GetInstance", &["InstanceId", "ServiceId"]),
    row("ListInstances", &["MaxResults", "NextToken", "ServiceId"]),
    row("GetInstancesHealthStatus", &["Instances", "MaxResults", "NextToken", "ServiceId"]),
    row("UpdateInstanceCustomHealthStatus", &["InstanceId", "ServiceId", "Status"]),
    row(
        "DiscoverInstances",
        &[
            "HealthStatus",
            "MaxResults",
            "NamespaceName",
            "OptionalParameters.*",
            "OwnerAccount",
            "QueryParameters.*",
            "ServiceName",
        ],
    ),
    row("DiscoverInstancesRevision", &["NamespaceName", "OwnerAccount", "ServiceName"]),
    row("GetOperation", &["OperationId", "OwnerAccount"]),
    row("ListOperations", &["Filters.*", "MaxResults", "NextToken"]),
    row("TagResource", &["ResourceARN", "Tags.*"]),
    row("UntagResource", &["ResourceARN", "TagKeys"]),
    row("ListTagsForResource", &["ResourceARN"]),
];

/// Answers one operation of Cloud Map.
pub(crate) async fn dispatch(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateHttpNamespace" => answer(namespaces::create_http(ctx, caller, read(input)?).await),
        "CreatePrivateDnsNamespace" => answer(namespaces::create_private(ctx, caller, read(input)?).await),
        "UpdateHttpNamespace" => answer(namespaces::update_http(ctx, caller, read(input)?).await),
        "UpdatePrivateDnsNamespace" => answer(namespaces::update_private(ctx, caller, read(input)?).await),
        "GetNamespace" => answer(namespaces::get(ctx, caller, &read(input)?)),
        "ListNamespaces" => answer(namespaces::list(ctx, caller, &read(input)?)),
        "DeleteNamespace" => answer(namespaces::delete(ctx, caller, read(input)?).await),

        "CreateService" => answer(services::create(ctx, caller, read(input)?).await),
        "UpdateService" => answer(services::update(ctx, caller, read(input)?).await),
        "GetService" => answer(services::get(ctx, caller, &read(input)?)),
        "ListServices" => answer(services::list(ctx, caller, &read(input)?)),
        "DeleteService" => answer(services::delete(ctx, caller, read(input)?).await),

        "RegisterInstance" => answer(instances::register(ctx, caller, read(input)?).await),
        "DeregisterInstance" => answer(instances::deregister(ctx, caller, read(input)?).await),
        "GetInstance" => answer(instances::get(ctx, caller, &read(input)?)),
        "ListInstances" => answer(instances::list(ctx, caller, &read(input)?)),
        "GetInstancesHealthStatus" => answer(instances::health(ctx, caller, read(input)?)),
        "UpdateInstanceCustomHealthStatus" => answer(instances::set_health(ctx, caller, read(input)?).await),

        "DiscoverInstances" => answer(discover::instances(ctx, caller, read(input)?)),
        "DiscoverInstancesRevision" => answer(discover::revision(ctx, caller, &read(input)?)),

        "GetOperation" => answer(operations::get(ctx, caller, read(input)?)),
        "ListOperations" => answer(operations::list(ctx, caller, &read(input)?)),

        "TagResource" => answer(tags::tag(ctx, caller, read(input)?).await),
        "UntagResource" => answer(tags::untag(ctx, caller, read(input)?).await),
        "ListTagsForResource" => answer(tags::list(ctx, caller, &read(input)?)),

        other => Err(no_arm(other)),
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    Refusal::Input(message.into()).into()
}

/// The refusal of a value that is known and not honoured yet.
fn not_honoured(what: &str) -> ApiError {
    invalid(format!("Longshore does not honour {what} yet; remove it or see docs/coverage.md."))
}

fn time(at: Timestamp) -> Option<::wire::Timestamp> {
    Some(::wire::Timestamp::from_millis(at.0))
}

/// `arn:aws:servicediscovery:REGION:ACCOUNT:`, with what stands behind.
fn arn(caller: &Caller, rest: &str) -> String {
    format!("arn:aws:servicediscovery:{}:{}:{rest}", caller.scope.region, caller.scope.account)
}

fn namespace_arn(caller: &Caller, id: &NamespaceId) -> String {
    arn(caller, &format!("namespace/{id}"))
}

fn service_arn(caller: &Caller, id: &ServiceId) -> String {
    arn(caller, &format!("service/{id}"))
}

/// The namespace that an id or an ARN names.
fn namespace_id(caller: &Caller, given: Option<&str>) -> Result<NamespaceId, Refusal> {
    let text = given.unwrap_or_default();
    let id = text.strip_prefix(&arn(caller, "namespace/")).unwrap_or(text);
    NamespaceId::parse(id).map_err(|_| Refusal::NamespaceNotFound(text.to_owned()))
}

/// The service that an id or an ARN names.
fn service_id(caller: &Caller, given: Option<&str>) -> Result<ServiceId, Refusal> {
    let text = given.unwrap_or_default();
    let id = text.strip_prefix(&arn(caller, "service/")).unwrap_or(text);
    ServiceId::parse(id).map_err(|_| Refusal::ServiceNotFound(text.to_owned()))
}

/// By what a request is recognised when it comes again; `said` is all of it but the token.
fn creation(token: Option<String>, said: &impl Structure) -> Creation {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(wire::to_value(said).to_string());
    let token = token.filter(|token| !token.is_empty()).map(Arc::from);
    Creation { token, request_sha256: hex::encode(digest).into() }
}

/// Takes a request's tags.
fn tags_in(given: Option<Vec<aws::Tag>>) -> Result<Tags, InvalidTags> {
    let pairs = given.unwrap_or_default().into_iter();
    Tags::parse(pairs.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())))
}

/// Whoever shares nothing with others owns all that there is.
fn check_owner(caller: &Caller, owner: Option<&str>) -> Result<(), ApiError> {
    match owner.filter(|owner| !owner.is_empty() && *owner != caller.account().as_str()) {
        None => Ok(()),
        Some(_) => Err(not_honoured("OwnerAccount of another account")),
    }
}

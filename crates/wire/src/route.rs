//! Which operation of which service a request asks for.

use std::borrow::Cow;

use http::Method;
use http::request::Parts;

use crate::error::WireError;
use crate::schema::{Operation, Protocol, Service};
use crate::sigv4::Scope;

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub struct Routed {
    /// The service.
    pub service: &'static Service,
    /// Its operation.
    pub operation: &'static Operation,
    /// The parameters stand in the query string, not in the body: a `GET`, as presigned links make.
    in_query: bool,
}

impl Routed {
    /// The bytes to give to [`crate::decode`].
    pub fn payload<'a>(&self, parts: &'a Parts, body: &'a [u8]) -> &'a [u8] {
        if self.in_query { parts.uri.query().unwrap_or_default().as_bytes() } else { body }
    }
}

/// Finds the operation: by `X-Amz-Target` for JSON services; by the `Action` parameter for form services, where the
/// SigV4 scope, then the `Version`, says whose action it is.
///
/// # Errors
/// `UnknownOperationException`, `InvalidAction`, or `MissingAction`, in the protocol that [`guess_protocol`] tells.
pub fn route(parts: &Parts, body: &[u8], services: &[&'static Service]) -> Result<Routed, WireError> {
    match target(parts) {
        Some(target) => by_target(target, services),
        None => by_action(parts, body, services),
    }
}

/// The protocol to answer in when a request could not be routed.
pub fn guess_protocol(parts: &Parts, services: &[&'static Service]) -> Protocol {
    if target(parts).is_some() {
        return Protocol::AwsJson11;
    }
    let scope = Scope::claimed(parts);
    let claimed = scope.and_then(|scope| services.iter().find(|service| service.signing_name == scope.service));
    let content_type = parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match (claimed, content_type) {
        (Some(service), _) => service.protocol,
        (None, Some(kind)) if kind.starts_with("application/x-amz-json-1.0") => Protocol::AwsJson10,
        (None, Some(kind)) if kind.starts_with("application/x-amz-json") => Protocol::AwsJson11,
        (None, _) => Protocol::AwsQuery,
    }
}

fn target(parts: &Parts) -> Option<&str> {
    parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok())
}

fn by_target(target: &str, services: &[&'static Service]) -> Result<Routed, WireError> {
    // AWS: the text of an unknown target is empty; ours names it, for whoever reads the log.
    let unknown = || WireError::new("UnknownOperationException", format!("Unknown operation {target}"));
    let (prefix, name) = target.rsplit_once('.').ok_or_else(unknown)?;
    let matching = |service: &&&'static Service| !prefix.is_empty() && service.target_prefix == prefix;
    let service = *services.iter().find(matching).ok_or_else(unknown)?;
    let operation = service.operation(name).ok_or_else(unknown)?;
    Ok(Routed { service, operation, in_query: false })
}

fn by_action(parts: &Parts, body: &[u8], services: &[&'static Service]) -> Result<Routed, WireError> {
    let in_query = parts.method == Method::GET || body.is_empty();
    let form = if in_query { parts.uri.query().unwrap_or_default().as_bytes() } else { body };
    let parameter =
        |wanted: &str| form_urlencoded::parse(form).find(|(name, _)| name == wanted).map(|(_, value)| value);
    let Some(action) = parameter("Action") else {
        return Err(WireError::new("MissingAction", "The request is missing an action or a required parameter."));
    };
    let version = parameter("Version").unwrap_or(Cow::Borrowed(""));
    let scope = Scope::claimed(parts);
    let form_services = || services.iter().copied().filter(|service| !service.protocol.is_json());
    let signed_for = scope.and_then(|scope| form_services().find(|service| service.signing_name == scope.service));
    let service = signed_for
        .or_else(|| form_services().find(|service| service.api_version == version))
        .or_else(|| form_services().find(|service| service.operation(&action).is_some()));
    let found = service.and_then(|service| Some(Routed { service, operation: service.operation(&action)?, in_query }));
    found.ok_or_else(|| {
        let message = match service.map(|service| service.protocol) {
            Some(Protocol::Ec2Query) => format!("The action {action} is not valid for this web service."),
            _ => format!("Could not find operation {action} for version {version}"),
        };
        WireError::new("InvalidAction", message)
    })
}

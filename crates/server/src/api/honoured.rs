//! What is honoured, by name: for each served operation the members a request may carry. Whatever else a request carries
//! is refused by name, because a member silently ignored is worse than one refused. The coverage table is this, told.
//!
//! To honour one more member: add its path to the operation's row, in the room that serves it.

use super::{ApiError, rooms};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use wire::schema::{Operation, Protocol, Service, Shape, Struct};

/// What one operation honours.
#[derive(Debug)]
pub struct Row {
    /// The operation's name.
    pub operation: &'static str,
    /// Dotted paths without list positions, as [`wire::present`] gives them. A path honours itself and what it lies in;
    /// one that ends in `.*` also everything below.
    pub members: &'static [&'static str],
}

/// A row, shortly.
pub const fn row(operation: &'static str, members: &'static [&'static str]) -> Row {
    Row { operation, members }
}

impl Row {
    fn honours(&self, path: &str) -> bool {
        self.members.iter().any(|member| match member.strip_suffix(".*") {
            Some(whole) => is_at_or_below(path, whole) || is_at_or_below(whole, path),
            None => is_at_or_below(member, path),
        })
    }
}

/// `a.b` is at or below `a` and `a.b`.
fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The operation's row, if the operation is served.
pub(crate) fn find(service: &Service, operation: &str) -> Option<&'static Row> {
    let tables = rooms().iter().filter(|(name, _)| *name == service.name);
    tables.flat_map(|(_, rows)| *rows).find(|row| row.operation == operation)
}

/// Refuses operations that are not served and members that are not honoured.
pub(crate) fn check(
    service: &'static Service,
    operation: &'static Operation,
    input: &Value,
) -> Result<&'static Row, ApiError> {
    let Some(row) = find(service, operation.name) else { return Err(not_served(service, operation.name)) };
    match wire::present(input, operation.input).iter().find(|path| !row.honours(path)) {
        Some(path) => Err(not_honoured(service, operation.name, path)),
        None => Ok(row),
    }
}

fn not_served(service: &Service, operation: &str) -> ApiError {
    let code = match (service.name, service.protocol) {
        ("ecs", _) => "UnsupportedFeatureException",
        (_, Protocol::AwsJson10 | Protocol::AwsJson11) => "UnsupportedOperationException",
        (_, Protocol::AwsQuery) => "InvalidAction",
        (_, Protocol::Ec2Query) => "UnsupportedOperation",
    };
    ApiError::new(code, format!("Longshore does not serve {operation} yet; see docs/coverage.md."))
}

/// The refusal of a member, or of one of its values, that is known and not honoured yet.
pub fn not_honoured(service: &Service, operation: &str, what: &str) -> ApiError {
    let code = match service.protocol {
        // AWS: everything that is wrong with a task definition is a ClientException.
        _ if operation == "RegisterTaskDefinition" => "ClientException",
        Protocol::Ec2Query => "UnsupportedOperation",
        Protocol::AwsJson10 | Protocol::AwsJson11 => service.validation_code,
        Protocol::AwsQuery => "ValidationError",
    };
    ApiError::new(code, format!("Longshore does not honour {what} yet; remove it or see docs/coverage.md."))
}

/// Whether an operation is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is.
    Works,
    /// It is refused by name.
    Refused,
}

/// One operation of the models, and how far it is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoverageRow {
    /// `ecs`, `logs`, ...
    pub service: &'static str,
    /// The operation.
    pub operation: &'static str,
    /// Whether it is served.
    pub status: Status,
    /// Members that are refused by name, outermost only, sorted; empty for operations that are refused as a whole.
    pub unsupported_members: Vec<String>,
}

/// Every operation of every service we have a model of, by service and name.
pub fn coverage() -> Vec<CoverageRow> {
    let operations = shapes::SERVICES.iter().flat_map(|service| service.operations.iter().map(move |o| (*service, o)));
    operations
        .map(|(service, operation)| {
            let row = find(service, operation.name);
            let mut unsupported = BTreeSet::new();
            if let Some(row) = row {
                refused_below(row, operation.input, "", &mut unsupported);
            }
            let status = if row.is_some() { Status::Works } else { Status::Refused };
            let unsupported_members = unsupported.into_iter().collect();
            CoverageRow { service: service.name, operation: operation.name, status, unsupported_members }
        })
        .collect()
}

fn refused_below(row: &Row, shape: &Struct, prefix: &str, refused: &mut BTreeSet<String>) {
    for member in shape.members {
        let path = if prefix.is_empty() { member.name.to_owned() } else { format!("{prefix}.{}", member.name) };
        if !row.honours(&path) {
            refused.insert(path);
        } else if row.members.iter().any(|m| m.starts_with(&format!("{path}.")) && *m != format!("{path}.*")) {
            // Only what the row looks into is looked into here, so a shape that holds itself comes to an end.
            if let Some(inner) = structure_in(member.shape) {
                refused_below(row, inner, &path, refused);
            }
        }
    }
}

fn structure_in(shape: Shape) -> Option<&'static Struct> {
    match shape {
        Shape::Structure(shape) => Some(shape),
        Shape::List(list) => structure_in(list.item),
        Shape::Map(map) => structure_in(map.value),
        Shape::String(_)
        | Shape::Integer(_)
        | Shape::Long(_)
        | Shape::Double(_)
        | Shape::Boolean
        | Shape::Timestamp(_)
        | Shape::Blob(_)
        | Shape::Document => None,
    }
}

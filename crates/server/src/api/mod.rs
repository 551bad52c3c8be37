//! The rooms: one per service, all over the same store and the same laws. Every operation reads parse, ask, commit,
//! render; none calls a node.
//!
//! Adding an operation: an `async fn` in its room, an arm in the room's `dispatch`, a [`Row`](honoured::Row) that says which
//! members it honours. A test compares rows with arms.

pub mod autoscaling;
pub mod ce;
pub mod ec2;
pub mod ecs;
pub mod error;
pub mod honoured;
pub mod iam;
pub mod logs;
pub mod paging;
pub mod secretsmanager;
pub mod servicediscovery;
pub mod ssm;
pub mod sts;
pub(crate) mod vaults;

pub use error::ApiError;
pub use honoured::{CoverageRow, coverage};

use crate::access;
use crate::context::{Caller, Context};
use serde_json::Value;
use wire::Structure;
use wire::schema::{Operation, Service};

/// The operations that are served, room by room: `(service, rows)`.
pub(crate) fn rooms() -> &'static [(&'static str, &'static [honoured::Row])] {
    &[
        ("autoscaling", autoscaling::HONOURED),
        ("ce", ce::HONOURED),
        ("ec2", ec2::HONOURED),
        ("ec2", ec2::addresses::HONOURED),
        ("ec2", ec2::gateways::HONOURED),
        ("ec2", ec2::interfaces::HONOURED),
        ("ec2", ec2::launch_templates::HONOURED),
        ("ec2", ec2::route_tables::HONOURED),
        ("ec2", ec2::rules::HONOURED),
        ("ec2", ec2::security_groups::HONOURED),
        ("ec2", ec2::subnets::HONOURED),
        ("ec2", ec2::tags::HONOURED),
        ("ec2", ec2::vpcs::HONOURED),
        ("ecs", ecs::account_settings::HONOURED),
        ("ecs", ecs::agent_api::HONOURED),
        ("ecs", ecs::attributes::HONOURED),
        ("ecs", ecs::auto_scaling_providers::HONOURED),
        ("ecs", ecs::capacity_providers::HONOURED),
        ("ecs", ecs::clusters::HONOURED),
        ("ecs", ecs::container_instances::HONOURED),
        ("ecs", ecs::registration::HONOURED),
        ("ecs", ecs::services::HONOURED),
        ("ecs", ecs::tags::HONOURED),
        ("ecs", ecs::task_definitions::HONOURED),
        ("ecs", ecs::tasks::HONOURED),
        ("ecs", ecs::execute::HONOURED),
        ("iam", iam::HONOURED),
        ("logs", logs::HONOURED),
        ("secretsmanager", secretsmanager::HONOURED),
        ("servicediscovery", servicediscovery::HONOURED),
        ("ssm", ssm::activations::HONOURED),
        ("ssm", ssm::HONOURED),
        ("sts", sts::HONOURED),
    ]
}

/// Answers one authenticated, decoded and validated request.
///
/// # Errors
/// AWS's, with its code.
pub async fn dispatch(
    ctx: &Context,
    caller: &Caller,
    service: &'static Service,
    operation: &'static Operation,
    input: Value,
) -> Result<Value, ApiError> {
    access::authorize(ctx, caller, service, operation, &input)?;
    honoured::check(service, operation, &input)?;
    match service.name {
        "autoscaling" => autoscaling::dispatch(ctx, caller, operation.name, input).await,
        "ce" => ce::dispatch(ctx, caller, operation.name, input).await,
        "ec2" => ec2::dispatch(ctx, caller, operation.name, input).await,
        "ecs" => ecs::dispatch(ctx, caller, operation.name, input).await,
        "iam" => iam::dispatch(ctx, caller, operation.name, input).await,
        "logs" => logs::dispatch(ctx, caller, operation.name, input).await,
        "secretsmanager" => secretsmanager::dispatch(ctx, caller, operation.name, input).await,
        "servicediscovery" => servicediscovery::dispatch(ctx, caller, operation.name, input).await,
        "ssm" => ssm::dispatch(ctx, caller, operation.name, input).await,
        "sts" => sts::dispatch(ctx, caller, operation.name, input),
        other => Err(no_arm(other)),
    }
}

/// How DescribeTaskDefinition would show what RegisterTaskDefinition makes of a body, without registering it: for those who try what
/// bodies it takes.
///
/// # Errors
/// AWS's, with its code.
pub fn read_task_definition(body: &[u8]) -> Result<Value, wire::WireError> {
    let service = &shapes::ecs::SERVICE;
    let operation = service.operation("RegisterTaskDefinition").expect("ECS has it");
    let input = wire::decode(service, operation, body)?;
    let violations = wire::validate(&input, operation.input);
    wire::validation_error(service, &violations).map_or(Ok(()), Err)?;
    honoured::check(service, operation, &input)?;
    Ok(ecs::task_definitions::shown(read(input)?)?)
}

/// A request in its generated form. Decoding by the operation's own table came before, so this cannot fail for a client's fault.
pub(crate) fn read<T: Structure>(input: Value) -> Result<T, ApiError> {
    wire::from_value(input).map_err(|error| ApiError::new("SerializationException", error.message))
}

/// An answer in the canonical form.
pub(crate) fn answer<T: Structure>(result: Result<T, ApiError>) -> Result<Value, ApiError> {
    result.map(|typed| wire::to_value(&typed))
}

/// The answer to an operation that has a row and no arm; a test keeps it from being given.
pub(crate) fn no_arm(operation: &str) -> ApiError {
    ApiError::server(format!("{operation} is announced but has no handler; this is a defect, please report it"))
}

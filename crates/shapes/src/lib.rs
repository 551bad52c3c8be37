//! AWS's request and response types and the tables that describe them, one module per service, generated from `models/`
//! by `cargo xtask codegen`. Only this file is hand-written: adding a service adds a line here and a row in xtask.
//!
//! Everything is optional and textual, as on the wire; `server::api` turns it into `model`'s closed types.

// Generated code speaks for AWS's model: its documentation is AWS's, and its names are too.
#![allow(missing_docs, clippy::large_enum_variant, clippy::doc_markdown)]

pub mod autoscaling;
pub mod ce;
pub mod ec2;
pub mod ecs;
pub mod iam;
pub mod logs;
pub mod secretsmanager;
pub mod servicediscovery;
pub mod ssm;
pub mod sts;

/// Every service we have shapes for.
pub static SERVICES: [&wire::schema::Service; 10] = [
    &autoscaling::SERVICE,
    &ce::SERVICE,
    &ec2::SERVICE,
    &ecs::SERVICE,
    &iam::SERVICE,
    &logs::SERVICE,
    &secretsmanager::SERVICE,
    &servicediscovery::SERVICE,
    &ssm::SERVICE,
    &sts::SERVICE,
];

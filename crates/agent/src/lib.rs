//! Runs tasks on a container instance: pure step, ledger, log shipping, introspection.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod engine;
mod files;
pub mod ledger;
pub mod logs;
pub mod node;
pub mod plan;
pub mod real;
pub mod task;
#[cfg(test)]
mod testing;

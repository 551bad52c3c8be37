//! Real clusters in network namespaces for tests, and their clean-up.

pub mod registry;

//! Real clusters in network namespaces for tests, and their clean-up.

pub mod disk;
pub mod faulty;
pub mod isolation;
pub mod reaper;
pub mod registry;
pub mod uml;

pub use isolation::{isolate_mounts, isolate_network, spawn_bound};
pub use reaper::Reaper;

//! Where what an agent makes for its tasks is, for whoever takes it down when there is no agent.

use std::path::{Path, PathBuf};

/// Where an agent with that data directory has the disks of tasks.
#[must_use]
pub fn disks_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("disks")
}

/// Where an agent with that folder has what it mounts for tasks.
#[must_use]
pub fn mounts_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("mounts")
}

/// Where an agent with that folder has the volumes of EFS of its tasks.
#[must_use]
pub fn file_systems_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("efs")
}

/// Where an agent with that folder has what those volumes travel through that are reached over TLS.
#[must_use]
pub fn tunnels_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("efs-tls")
}

/// Where an agent with that folder mounts what containers with users of their own are shown, while they are made.
#[must_use]
pub fn clones_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("clones")
}

/// Where an agent with that data directory has programs of ours, and what else its runtime needs. What `/run` holds cannot be run everywhere.
#[must_use]
pub(crate) fn programs_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("runtime")
}

//! What a real node is told when it is made: where it keeps what, and how it behaves.

use super::{dirs::disks_dir, fetch::Asking};
use crate::{gpus::Gpus, metadata::Secret};
use ::network::{Ipv4Net, vpc::tunnel::PrivateKey};
use model::Pool;
use runtime::{IdMapping, OciRuntime, image::Mirror};
use std::{net::IpAddr, path::PathBuf};

/// Where a real node keeps what.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Value of [`INSTANCE_LABEL`](crate::plan::INSTANCE_LABEL) on its containers.
    pub instance: String,
    /// The machine's id, if it is one of EC2's; routers of logs tell it.
    pub ec2_instance: Option<String>,
    /// The agent's data directory.
    pub data_dir: PathBuf,
    /// For what lives no longer than its containers, best in memory.
    pub run_dir: PathBuf,
    /// Where its containers' network namespaces are mounted.
    pub netns_dir: PathBuf,
    /// The cgroup that holds its tasks, e.g. `/longshore/i-0123`.
    pub cgroup: String,
    /// Whose tasks run on it.
    pub pool: Pool,
    /// What makes its containers. One that is there already stays with what made it.
    pub oci_runtime: OciRuntime,
    /// Which numbers of the machine the users of new tasks' containers have; their own if `None`.
    pub userns: Option<IdMapping>,
    /// A docker `config.json` with credentials, read anew for each pull.
    pub registry_auth: Option<PathBuf>,
    /// Registries that are asked in place of others.
    pub registry_mirrors: Vec<Mirror>,
    /// Whether a registry is asked for an image that is here.
    pub pull_behavior: PullBehavior,
    /// Ranges for the task bridge, each written with its gateway, in order of preference.
    pub bridge_candidates: Vec<Ipv4Net>,
    /// The address at which other instances reach this one: what VPCs between them are carried over.
    pub address: Option<IpAddr>,
    /// The key that others encrypt for what they send this machine of VPCs; none where it cannot.
    pub wireguard: Option<PrivateKey>,
    /// The GPUs that tasks may have.
    pub gpus: Gpus,
    /// What containers' ids at the task metadata endpoint are made with.
    pub metadata: Secret,
}

impl NodeConfig {
    pub(super) fn asking(&self) -> Asking {
        Asking {
            behavior: self.pull_behavior,
            registry_auth: self.registry_auth.clone(),
            mirrors: self.registry_mirrors.clone(),
        }
    }

    pub(super) fn disks_dir(&self) -> PathBuf {
        disks_dir(&self.data_dir)
    }
}

/// Whether a registry is asked for an image that is here: the original agent's `ECS_IMAGE_PULL_BEHAVIOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullBehavior {
    /// `default`: asked each time; if that fails, the copy that is here is used.
    #[default]
    Default,
    /// `always`: asked each time, and the task fails if that does.
    Always,
    /// `prefer-cached` and `once`: not asked while there is a copy here. AWS: `once` differs only in images that something
    /// other than the agent brought here, and nothing else brings images into our containerd namespace.
    PreferCached,
}

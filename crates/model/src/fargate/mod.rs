//! Fargate: tasks that say how large they are and see no machine.
//!
//! The machines stand in a pool of their own, one per account and region: ordinary container instances of a cluster whose
//! name is reserved, which no ECS client is shown. Tasks of any cluster of the same region are placed there.

mod rules;
pub mod sizes;

use crate::{ClusterArn, ClusterName, CpuUnits, MemoryMib, Scope};
use serde::{Deserialize, Serialize};

/// The cluster in which the pool's machines are registered. Nobody can create one of that name.
pub const POOL_CLUSTER: &str = "longshore-fargate";

/// The cluster of a region's pool.
pub fn pool(scope: &Scope) -> ClusterArn {
    let name = ClusterName::parse(POOL_CLUSTER).expect("the reserved name has the form of a name");
    ClusterArn { scope: scope.clone(), name }
}

/// Whose tasks a container instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// Those of the cluster that it is registered in.
    #[default]
    Cluster,
    /// Fargate's, of every cluster of its region.
    Fargate,
}

impl Pool {
    /// The pool of the instances that are registered in a cluster.
    pub fn of(cluster: &ClusterArn) -> Self {
        if cluster.name.as_str() == POOL_CLUSTER { Self::Fargate } else { Self::Cluster }
    }
}

/// How large a task on Fargate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    /// CPU units.
    pub cpu: CpuUnits,
    /// Memory.
    pub memory: MemoryMib,
}

/// What Fargate runs a task on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The platform's version.
    pub version: PlatformVersion,
    /// The processor.
    pub architecture: CpuArchitecture,
}

impl Platform {
    /// AWS's `platformFamily`; there is no other here.
    pub const FAMILY: &str = "Linux";
}

/// Fargate's platform for Linux, of which the newest is `LATEST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub enum PlatformVersion {
    /// 1.3.0
    #[serde(rename = "1.3.0")]
    V1_3,
    /// 1.4.0
    #[default]
    #[serde(rename = "1.4.0")]
    V1_4,
}

impl PlatformVersion {
    /// The version that a request names: `LATEST` or a number.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "LATEST" | "1.4.0" => Some(Self::V1_4),
            "1.3.0" => Some(Self::V1_3),
            _ => None,
        }
    }

    /// AWS's number.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_3 => "1.3.0",
            Self::V1_4 => "1.4.0",
        }
    }
}

/// The processor that a task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[allow(missing_docs)]
pub enum CpuArchitecture {
    #[default]
    #[serde(rename = "X86_64")]
    X86_64,
    #[serde(rename = "ARM64")]
    Arm64,
}

impl CpuArchitecture {
    /// The architecture of that name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "X86_64" => Some(Self::X86_64),
            "ARM64" => Some(Self::Arm64),
            _ => None,
        }
    }

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "X86_64",
            Self::Arm64 => "ARM64",
        }
    }
}

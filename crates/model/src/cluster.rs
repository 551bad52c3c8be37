//! A cluster: the group of container instances that tasks are placed on.

use crate::{ClusterArn, Tags, Timestamp, discovery::NamespaceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a cluster can be used. PROVISIONING, DEPROVISIONING and FAILED belong to capacity providers and do not occur yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterStatus {
    /// In use.
    Active,
    /// Deleted; still described for a while, and free to be created again.
    Inactive,
}

/// A cluster. Its counts are derived from the other tables, never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its ARN.
    pub arn: ClusterArn,
    /// Whether it can be used.
    pub status: ClusterStatus,
    /// Settings by name (`containerInsights`: `enabled`, `disabled` or `enhanced`).
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The namespace of services that enable Service Connect and name none: `serviceConnectDefaults`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_namespace: Option<NamespaceId>,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
    /// When it was created, or created again.
    pub created_at: Timestamp,
}

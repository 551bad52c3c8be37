//! A cluster: the group of container instances that tasks are placed on.

use crate::{CapacityProvider, CapacityProviderStrategy, ClusterArn, Tags, Timestamp, discovery::NamespaceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a cluster can be used. PROVISIONING, DEPROVISIONING and FAILED belong to
/// capacity providers of Auto Scaling groups and do not occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterStatus {
    /// In use.
    Active,
    /// Deleted; still described for a while, and free to be created again.
    Inactive,
}

/// The tag of a cluster by which those who run tasks there prefer something.
pub const PREFERENCE_TAG: &str = "longshore:preference";
/// The one preference that there is: the cheapest room that fits.
pub const PREFERS_COST: &str = "COST";

impl Cluster {
    /// Whether tasks that name neither a launch type nor a strategy go where they are cheapest.
    pub fn prefers_cost(&self) -> bool {
        self.tags.0.get(PREFERENCE_TAG).is_some_and(|preference| preference == PREFERS_COST)
    }
}

/// What becomes of what sessions of ExecuteCommand show: AWS's `executeCommandConfiguration.logging`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecLogging {
    /// It is not kept.
    None,
    /// It goes where the container's own output goes, if that is a log group. AWS: so too where a cluster says nothing.
    /// Source: ExecuteCommandConfiguration.
    #[default]
    Default,
    /// It goes to a log group of its own.
    Override {
        /// Its name, in the cluster's region.
        group: String,
    },
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
    /// What becomes of what sessions of ExecuteCommand show, if it says anything of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_logging: Option<ExecLogging>,
    /// The capacity providers that its tasks may ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capacity_providers: Vec<CapacityProvider>,
    /// That of tasks that name neither a strategy nor a launch type; only of its own providers.
    #[serde(default, skip_serializing_if = "CapacityProviderStrategy::is_empty")]
    pub default_capacity_provider_strategy: CapacityProviderStrategy,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
    /// When it was created, or created again.
    pub created_at: Timestamp,
}

//! Activations: the join tokens with which machines become container instances.
//!
//! The name is that of SSM's CreateActivation, which is how ECS Anywhere lets a machine in. The secret itself is never
//! kept, only its digest. A registration remembers the key it was made with, so that a machine whose answer was lost may
//! ask again without using up a second place, and nobody else may.

use crate::{ClusterName, ContainerInstanceId, Scope, Tags, Timestamp};
use serde::{Deserialize, Serialize};

/// A join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Account and region that machines join.
    pub scope: Scope,
    /// A UUID.
    pub id: String,
    /// SHA-256 of the secret, in hexadecimal.
    pub code_sha256: String,
    /// If set, the only cluster that may be joined with it.
    #[serde(default)]
    pub cluster: Option<ClusterName>,
    /// If set, the local instance (`i-…`) it was made for.
    #[serde(default)]
    pub ec2_instance_id: Option<String>,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// How many machines may join with it.
    pub registration_limit: u32,
    /// Those that have.
    #[serde(default)]
    pub registrations: Vec<Registration>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// One machine that joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// SHA-256 of the machine's public key, in hexadecimal.
    pub key_sha256: String,
    /// The cluster it joined.
    pub cluster: ClusterName,
    /// The container instance it became.
    pub container_instance: ContainerInstanceId,
}

//! A container instance: a machine with an agent that has joined a cluster.

use crate::{Attributes, ContainerInstanceArn, Resources, Tags, Timestamp, fargate::Pool};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where an instance stands with its cluster. REGISTERING and REGISTRATION_FAILED belong to ENI trunking and do not occur yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceStatus {
    /// Takes tasks.
    Active,
    /// Takes no new tasks; standalone ones run on.
    Draining,
    /// Deregistered. Kept so that late reports and describes are answered truthfully.
    Inactive,
}

impl InstanceStatus {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// What the agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct AgentInfo {
    /// Its version.
    pub version: String,
    /// Its build.
    pub hash: String,
    /// The container runtime, as `name: version` (the original shows `DockerVersion: 20.10.23`).
    pub runtime: String,
}

/// A public key of WireGuard: 32 bytes in base64 and never anything else, since others write it into their settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WireguardKey(Arc<str>);

impl WireguardKey {
    /// Checks and wraps; `None` of what is no key.
    pub fn parse(text: &str) -> Option<Self> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
        let right = text.len() == 44 && text.strip_suffix('=').is_some_and(|text| text.bytes().all(inner));
        right.then(|| Self(text.into()))
    }

    /// As `wg` writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WireguardKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a WireGuard key is 32 bytes in base64")
    }
}

impl From<WireguardKey> for String {
    fn from(key: WireguardKey) -> Self {
        key.as_str().to_owned()
    }
}

/// A container instance. What is left of its resources, and its task counts, are derived from the tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerInstance {
    /// Its ARN.
    pub arn: ContainerInstanceArn,
    /// Where it stands.
    pub status: InstanceStatus,
    /// Counts every visible change, from 1.
    pub version: u64,
    /// The machine (`i-…`) under it; external machines are `mi-…`.
    #[serde(default)]
    pub ec2_instance_id: Option<String>,
    /// All it has, with the ports the system keeps.
    pub registered: Resources,
    /// Built-in, agent's and custom attributes.
    pub attributes: Attributes,
    /// The agent.
    pub agent: AgentInfo,
    /// Whether the agent's session is up, and since when that is so.
    pub agent_connected: bool,
    /// When `agent_connected` last changed, or the instance was deregistered.
    pub agent_changed_at: Timestamp,
    /// An address at which its published ports can be reached, if it told one.
    #[serde(default)]
    pub address: Option<std::net::IpAddr>,
    /// Its public key, by which what others send it of VPCs is encrypted; only its agent can say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wireguard: Option<WireguardKey>,
    /// When it registered.
    pub registered_at: Timestamp,
    /// When Spot tasks on it were last interrupted, so that others have their room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaimed_at: Option<Timestamp>,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
}

impl ContainerInstance {
    /// The value of an attribute that has one.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(|v| v.as_deref())
    }

    /// Whose tasks it takes.
    pub fn pool(&self) -> Pool {
        Pool::of(&self.arn.cluster)
    }

    /// The availability zone it is in.
    pub fn availability_zone(&self) -> Option<&str> {
        self.attribute("ecs.availability-zone")
    }
}

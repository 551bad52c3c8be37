//! A local instance: what `RunInstances` makes on the server's own host. EC2 calls it an instance; inside the house that
//! word belongs to container instances, so it is a machine here.

use crate::{ClusterName, GroupMember, Scope, Tags, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// EC2's instance states. `Pending`, `Stopping` and `ShuttingDown` are on their way to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum MachineState {
    Pending,
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

impl MachineState {
    /// EC2's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }
    /// EC2's number.
    pub fn code(self) -> i32 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }
}

/// Who may ask the instance metadata service of a machine, and how. Source: `InstanceMetadataOptionsRequest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataOptions {
    /// Whether anybody may.
    pub enabled: bool,
    /// Whether only who has a token may.
    pub tokens_required: bool,
    /// How many hops a token gets from the machine: with 1 it reaches no container behind a bridge.
    pub hop_limit: u8,
}

impl Default for MetadataOptions {
    /// EC2's, where neither image nor account say otherwise.
    fn default() -> Self {
        Self { enabled: true, tokens_required: false, hop_limit: 1 }
    }
}

impl MetadataOptions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The instance profile that a machine was given. A later profile of that name is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineProfile {
    /// Its ARN.
    pub arn: String,
    /// Its unique id.
    pub id: String,
}

/// A time over which a machine ran: what EC2 bills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Run {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Runs that are remembered: more than anybody makes between two looks of the metering loop, which are a second apart.
pub const MAX_RUNS: usize = 8;

/// A local instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Account and region.
    pub scope: Scope,
    /// `i-` and 17 hexadecimal digits.
    pub id: String,
    /// `r-` and 17 hexadecimal digits: the RunInstances call it came from.
    pub reservation_id: String,
    /// A name from `instance_type`.
    pub instance_type: String,
    /// Where it is.
    pub availability_zone: String,
    /// Its subnet.
    pub subnet_id: String,
    /// Its address, unique on this host over all regions.
    pub private_ip: Ipv4Addr,
    /// The cluster its user data names.
    pub cluster: ClusterName,
    /// `ECS_INSTANCE_ATTRIBUTES` of its user data.
    #[serde(default)]
    pub attributes: crate::Attributes,
    /// `ECS_RESERVED_MEMORY` of its user data, MiB.
    #[serde(default)]
    pub reserved_memory: u32,
    /// All of its user data, in base64 as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// Who may ask for its metadata.
    #[serde(default, skip_serializing_if = "MetadataOptions::is_default")]
    pub metadata_options: MetadataOptions,
    /// The profile whose role it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<MachineProfile>,
    /// What it is; the API moves it to the states on the way, the host's loop on from there.
    pub state: MachineState,
    /// EC2's reason for the last change, e.g. `Client.UserInitiatedShutdown: User initiated shutdown`.
    #[serde(default)]
    pub state_reason: Option<String>,
    /// When `state` last changed; a terminated machine is forgotten some time after it.
    #[serde(default)]
    pub state_changed_at: Timestamp,
    /// The last times it ran that are over, at most [`MAX_RUNS`]. Kept because `state_changed_at` goes on, and whoever meters
    /// may look late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Run>,
    /// Its image id, as asked for.
    #[serde(default)]
    pub image_id: String,
    /// Its key pair, as asked for.
    #[serde(default)]
    pub key_name: Option<String>,
    /// When it was asked for.
    pub launched_at: Timestamp,
    /// RunInstances' idempotency token.
    #[serde(default)]
    pub client_token: Option<String>,
    /// Position within its launch.
    #[serde(default)]
    pub launch_index: u32,
    /// Of which Auto Scaling group it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Box<GroupMember>>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

impl Machine {
    /// Since when it runs, if it does.
    pub fn running_since(&self) -> Option<Timestamp> {
        // Records of old say no time of their last change.
        let since = self.state_changed_at.max(self.launched_at);
        (self.state == MachineState::Running).then_some(since)
    }

    /// Moves it to another state.
    pub fn enter(&mut self, state: MachineState, at: Timestamp) {
        if let Some(from) = self.running_since() {
            self.runs.push(Run { from, to: at.max(from) });
            let kept = self.runs.len().saturating_sub(MAX_RUNS);
            self.runs.drain(..kept);
        }
        self.state = state;
        self.state_changed_at = at;
        if state == MachineState::Pending {
            self.launched_at = at;
        }
    }
}

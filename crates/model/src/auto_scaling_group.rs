//! Auto Scaling groups: how many machines there shall be, between which bounds and in which subnets. Which machines are a group's,
//! each machine says.

use crate::{MachineState, Scope, TemplateChoice, Timestamp, machine::Machine};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Activities that a group remembers: what AWS shows on one page. Its six weeks would let records grow without a bound.
pub const MAX_ACTIVITIES: usize = 100;
/// Instances of one group: more than a host has room for, and few enough for one commit.
pub const MAX_GROUP_SIZE: u32 = 500;
/// The tag that gives an instance's group away.
pub const GROUP_TAG: &str = "aws:autoscaling:groupName";

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoScalingGroup {
    /// Account and region.
    pub scope: Scope,
    /// Its name, unique in its scope.
    pub name: String,
    /// The UUID in its ARN.
    pub id: String,
    /// Counts every change; what a decision about it names.
    pub version: u64,
    /// What its instances are like.
    pub template: TemplateChoice,
    /// The fewest instances.
    pub min: u32,
    /// The most instances.
    pub max: u32,
    /// How many there shall be, from `min` to `max`.
    pub desired: u32,
    /// Where they are, in the order in which they were given; never empty.
    pub subnets: Vec<String>,
    /// Seconds before an instance's health is looked at.
    pub health_check_grace: u32,
    /// Which instance goes first; never empty.
    pub termination_policies: Vec<TerminationPolicy>,
    /// Whether instances are protected from scaling in when they are launched.
    #[serde(default)]
    pub protects_new: bool,
    /// Its tags, by key.
    #[serde(default)]
    pub tags: BTreeMap<String, GroupTag>,
    /// What was done, the oldest first.
    #[serde(default)]
    pub activities: Vec<Activity>,
    /// Whether it goes as soon as its instances have gone.
    #[serde(default)]
    pub deleting: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The value of a group's tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupTag {
    /// Its value.
    pub value: String,
    /// Whether instances get it too.
    pub propagate: bool,
}

/// Which instance goes first, within the zone that has most. Those of launch configurations, of purchase options and of functions
/// have nothing to choose by here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // AWS's names say it.
pub enum TerminationPolicy {
    Default,
    OldestInstance,
    NewestInstance,
    OldestLaunchTemplate,
}

impl TerminationPolicy {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Default, Self::OldestInstance, Self::NewestInstance, Self::OldestLaunchTemplate];

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::OldestInstance => "OldestInstance",
            Self::NewestInstance => "NewestInstance",
            Self::OldestLaunchTemplate => "OldestLaunchTemplate",
        }
    }

    /// The policy of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == name)
    }
}

/// What was done to one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// A UUID.
    pub id: String,
    /// Whether it was launched or terminated.
    pub kind: ActivityKind,
    /// Which instance.
    pub instance: String,
    /// Why, in words for people.
    pub cause: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why it came to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What is done to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ActivityKind {
    Launch,
    Terminate,
}

/// What a machine says of its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// The group's name.
    pub name: String,
    /// The template it was launched from: id, name and version.
    pub template_id: String,
    /// Its name then.
    pub template_name: String,
    /// The version's number.
    pub template_version: u64,
    /// Whether scaling in leaves it alone.
    #[serde(default)]
    pub protected: bool,
    /// Since when it waits for its tasks to move, before it is terminated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining_since: Option<Timestamp>,
}

impl AutoScalingGroup {
    /// `arn:aws:autoscaling:REGION:ACCOUNT:autoScalingGroup:UUID:autoScalingGroupName/NAME`
    pub fn arn(&self) -> String {
        let Scope { account, region } = &self.scope;
        format!(
            "arn:aws:autoscaling:{region}:{account}:autoScalingGroup:{}:autoScalingGroupName/{}",
            self.id, self.name
        )
    }

    /// Remembers what is done, and forgets what is oldest.
    pub fn note(&mut self, activity: Activity) {
        self.activities.push(activity);
        let too_many = self.activities.len().saturating_sub(MAX_ACTIVITIES);
        self.activities.drain(..too_many);
    }
}

/// The group's name in its ARN.
pub fn name_in_arn(arn: &str) -> Option<&str> {
    arn.strip_prefix("arn:aws:autoscaling:")?.split_once(":autoScalingGroupName/").map(|(_, name)| name)
}

impl Machine {
    /// What it says of its group, as long as it is on its way or there.
    pub fn membership(&self) -> Option<&GroupMember> {
        match self.state {
            MachineState::Pending | MachineState::Running | MachineState::Stopping | MachineState::Stopped => {
                self.group.as_deref()
            }
            MachineState::ShuttingDown | MachineState::Terminated => None,
        }
    }
}

//! Decisions that belong together: what a service, a group, a network, service discovery or IAM becomes, with all that follows from it, as
//! one command.

use crate::snapshot::Seen;
use model::{
    AccountId, AutoScalingGroup, ContainerInstanceArn, GroupMember, Machine, Scope, Service, ServiceDeployment,
    ServiceEvent, ServiceRevision, Stop, Task, TaskArn, Timestamp, discovery, iam, network, vault,
};

/// One decision about a service, with all that follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceChange {
    /// What it was decided on.
    pub on: Basis,
    /// The service as it shall be. Its version is counted by apply.
    pub service: Service,
    /// Revisions, new or with more known of them.
    pub revisions: Vec<ServiceRevision>,
    /// Service deployments, new or moved on.
    pub deployments: Vec<ServiceDeployment>,
    /// Events, the oldest first.
    pub events: Vec<ServiceEvent>,
    /// Tasks to start where they were placed: of this service's group, or named by the turn of a lifecycle hook.
    pub start: Vec<Task>,
    /// Tasks to stop.
    pub stop: Vec<(TaskArn, Stop)>,
    /// When.
    pub at: Timestamp,
}

/// One decision about an Auto Scaling group, with all that follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingChange {
    /// Where.
    pub scope: Scope,
    /// Which.
    pub name: String,
    /// The group's version that it was decided on; `None` if there was no such group.
    pub on: Option<u64>,
    /// The group as it shall be, or that it is no more. Its version is counted by apply.
    pub group: Option<AutoScalingGroup>,
    /// Machines to start, all of this group.
    pub start: Vec<Machine>,
    /// What machines say of their group from now on.
    pub members: Vec<(String, GroupMember)>,
    /// Container instances that take no more tasks.
    pub drain: Vec<ContainerInstanceArn>,
    /// Container instances that were found without tasks beside those of daemons: with one by now, nothing of this is done.
    pub idle: Vec<ContainerInstanceArn>,
    /// Machines to terminate; those that are on their way out already are left alone.
    pub terminate: Vec<String>,
    /// EC2's reason of that.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl ScalingChange {
    /// A change of that group that does nothing yet.
    pub fn of(group: &AutoScalingGroup, at: Timestamp) -> Self {
        Self {
            scope: group.scope.clone(),
            name: group.name.clone(),
            on: Some(group.version),
            group: Some(group.clone()),
            start: Vec::new(),
            members: Vec::new(),
            drain: Vec::new(),
            idle: Vec::new(),
            terminate: Vec::new(),
            reason: None,
            at,
        }
    }
}

/// One decision about a scope's network, with all that follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkChange {
    /// Whose.
    pub scope: Scope,
    /// The version it was decided on; 0 for a network that nobody had changed, which this stores as a whole.
    pub on: u64,
    /// Records, new or changed.
    pub put: Vec<network::Record>,
    /// Records that are no more.
    pub remove: Vec<network::Key>,
    /// When.
    pub at: Timestamp,
}

/// One decision about a scope's service discovery, with all that follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoveryChange {
    /// Whose.
    pub scope: Scope,
    /// The version it was decided on; 0 where nobody had made anything.
    pub on: u64,
    /// Records, new or changed.
    pub put: Vec<discovery::Record>,
    /// Records that are no more.
    pub remove: Vec<discovery::Key>,
    /// When.
    pub at: Timestamp,
}

/// One decision about a scope's secrets and parameters, with all that follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct VaultChange {
    /// Whose.
    pub scope: Scope,
    /// The version it was decided on; 0 where nobody had made anything.
    pub on: u64,
    /// Records, new or changed.
    pub put: Vec<vault::Record>,
    /// Records that are no more.
    pub remove: Vec<vault::Key>,
}

/// One decision about an account's users, roles and policies, with all that follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct IamChange {
    /// Whose.
    pub account: AccountId,
    /// The version it was decided on; 0 where nobody had made anything.
    pub on: u64,
    /// Records, new or changed.
    pub put: Vec<iam::Record>,
    /// Records that are no more.
    pub remove: Vec<iam::Key>,
}

/// What a decision about a service stands on.
#[derive(Debug, Clone, PartialEq)]
pub enum Basis {
    /// That there is none of that name, or an INACTIVE one.
    New,
    /// The service's record of that version, whatever its tasks do.
    Version(u64),
    /// The service's record and its tasks.
    Seen(Seen),
}

//! What placement may know of an instance. A trait, so that the caller lends its own rows instead of copying them.

use crate::query::Subject;
use model::{ContainerInstance, InstanceStatus, Resources, Timestamp};
use std::{collections::BTreeMap, sync::Arc};

/// A container instance as placement sees it. Every method should cost no more than a map look-up.
pub trait Candidate: Subject {
    /// Where it stands with its cluster; only ACTIVE ones take tasks.
    fn status(&self) -> InstanceStatus;
    /// What its tasks, placed or running, have left of its resources; the ports are those taken.
    fn remaining(&self) -> &Resources;
    /// Live tasks of that group here, whatever their status short of STOPPED.
    fn tasks_in_group(&self, group: &str) -> u32;
    /// Millionths of a US dollar an hour; 0 for a machine that nobody rents.
    fn price_micro_usd_hour(&self) -> u32;
}

/// The row most callers need: an instance with what is derived from its tasks, all borrowed.
#[derive(Debug, Clone, Copy)]
pub struct InstanceView<'a> {
    /// The instance.
    pub instance: &'a ContainerInstance,
    /// What its tasks have left.
    pub remaining: &'a Resources,
    /// Its tasks that are RUNNING.
    pub running_tasks: u32,
    /// Its live tasks by group.
    pub groups: &'a BTreeMap<Arc<str>, u32>,
    /// Its `ecs.availability-zone`. To be kept beside the instance, like the price: both are asked of every instance,
    /// and finding a text among the attributes of 5,000 takes some ten milliseconds of waiting for memory.
    pub zone: Option<&'a str>,
    /// What its type costs in millionths of a US dollar an hour; 0 for a machine that nobody rents.
    pub price_micro_usd_hour: u32,
}

pub(super) const ZONE: &str = "ecs.availability-zone";

impl Subject for InstanceView<'_> {
    fn agent_connected(&self) -> bool {
        self.instance.agent_connected
    }
    fn agent_version(&self) -> &str {
        &self.instance.agent.version
    }
    fn attribute(&self, name: &str) -> Option<Option<&str>> {
        if name == ZONE { self.zone.map(Some) } else { self.instance.attributes.get(name).map(Option::as_deref) }
    }
    fn ec2_instance_id(&self) -> Option<&str> {
        self.instance.ec2_instance_id.as_deref()
    }
    fn registered_at(&self) -> Timestamp {
        self.instance.registered_at
    }
    fn running_tasks(&self) -> u32 {
        self.running_tasks
    }
    fn any_group(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.groups.iter().any(|(group, tasks)| *tasks > 0 && test(group))
    }
}

impl Candidate for InstanceView<'_> {
    fn status(&self) -> InstanceStatus {
        self.instance.status
    }
    fn remaining(&self) -> &Resources {
        self.remaining
    }
    fn tasks_in_group(&self, group: &str) -> u32 {
        self.groups.get(group).copied().unwrap_or(0)
    }
    fn price_micro_usd_hour(&self) -> u32 {
        self.price_micro_usd_hour
    }
}

//! What an Auto Scaling group does next: which machines it starts, where, and which go.
//!
//! A group that has what it shall have plans nothing. Zones are kept in balance by where machines start and by which go; none is
//! moved for balance alone.

use model::{AutoScalingGroup, GroupMember, Machine, MachineState, TerminationPolicy, Timestamp};
use std::collections::BTreeMap;

/// How long tasks may take to move before their machine goes all the same. AWS: the lifecycle hook's heartbeat.
pub const DRAIN_MILLIS: i64 = 3_600_000;

/// All that a decision about a group is made of.
pub struct GroupView<'a> {
    /// The group.
    pub group: &'a AutoScalingGroup,
    /// Its machines that are not terminated.
    pub machines: &'a [&'a Machine],
    /// The zone of each of its subnets; one that is missing has gone, and nothing is started there.
    pub zones: &'a BTreeMap<&'a str, String>,
    /// Whether a machine has tasks that move to others before it goes.
    pub is_busy: &'a dyn Fn(&Machine) -> bool,
    /// Now.
    pub now: Timestamp,
}

/// Why a machine goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There are more than there shall be.
    TooMany,
    /// It does not run, or will not stay.
    Unhealthy,
    /// Its group goes.
    GroupDeleted,
    /// Its tasks have moved, or had an hour for it.
    Drained,
}

/// What is to be done. All of it is one commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupPlan {
    /// In which subnet a machine starts, one entry for each.
    pub start: Vec<String>,
    /// Machines that go, by id.
    pub terminate: Vec<(String, Cause)>,
    /// Machines that take no more tasks, and go when those that they have are elsewhere.
    pub drain: Vec<(String, Cause)>,
    /// Whether the group itself goes.
    pub gone: bool,
    /// When to look again though nothing has changed.
    pub look_again: Option<Timestamp>,
}

impl GroupPlan {
    /// Whether there is nothing to commit.
    pub fn is_idle(&self) -> bool {
        self.start.is_empty() && self.terminate.is_empty() && self.drain.is_empty() && !self.gone
    }
}

/// What the group does next.
pub fn plan(view: &GroupView<'_>) -> GroupPlan {
    let mut plan = GroupPlan::default();
    if view.group.deleting {
        plan.gone = view.machines.is_empty();
        let there = view.machines.iter().filter(|machine| machine.membership().is_some());
        plan.terminate = there.map(|machine| (machine.id.clone(), Cause::GroupDeleted)).collect();
        return plan;
    }
    let mut live = Vec::new();
    for (machine, member) in view.machines.iter().filter_map(|machine| Some((*machine, machine.membership()?))) {
        match member.draining_since {
            Some(since) => end_draining(view, machine, since, &mut plan),
            None if is_healthy(view, machine, &mut plan) => live.push((machine, member)),
            None => plan.terminate.push((machine.id.clone(), Cause::Unhealthy)),
        }
    }
    let (there, wanted) = (live.len(), view.group.desired as usize);
    if there < wanted {
        plan.start = places(view, &live, wanted - there);
    }
    for machine in surplus(view.group, live, there.saturating_sub(wanted)) {
        let list = if (view.is_busy)(machine) { &mut plan.drain } else { &mut plan.terminate };
        list.push((machine.id.clone(), Cause::TooMany));
    }
    plan
}

fn end_draining(view: &GroupView<'_>, machine: &Machine, since: Timestamp, plan: &mut GroupPlan) {
    let until = since.plus_millis(DRAIN_MILLIS);
    if view.now >= until || !(view.is_busy)(machine) {
        plan.terminate.push((machine.id.clone(), Cause::Drained));
    } else {
        look_at(plan, until);
    }
}

/// AWS: one that was stopped is taken for ill, once it has had the time to become well.
fn is_healthy(view: &GroupView<'_>, machine: &Machine, plan: &mut GroupPlan) -> bool {
    match machine.state {
        MachineState::Pending | MachineState::Running => true,
        MachineState::Stopping | MachineState::Stopped => {
            let until = machine.launched_at.plus_millis(i64::from(view.group.health_check_grace) * 1000);
            if view.now < until {
                look_at(plan, until);
            }
            view.now < until
        }
        MachineState::ShuttingDown | MachineState::Terminated => false,
    }
}

fn look_at(plan: &mut GroupPlan, at: Timestamp) {
    plan.look_again = plan.look_again.into_iter().chain([at]).min();
}

/// The subnets of so many more machines: of the zone that has fewest, and there of the subnet that has; among equals the first.
fn places(view: &GroupView<'_>, live: &[(&Machine, &GroupMember)], count: usize) -> Vec<String> {
    let (mut in_zone, mut in_subnet) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
    for (machine, _) in live {
        *in_zone.entry(&machine.availability_zone).or_default() += 1;
        *in_subnet.entry(&machine.subnet_id).or_default() += 1;
    }
    let open: Vec<(&str, &str)> = view
        .group
        .subnets
        .iter()
        .filter_map(|subnet| Some((subnet.as_str(), view.zones.get(subnet.as_str())?.as_str())))
        .collect();
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        let has = |map: &BTreeMap<&str, usize>, key: &str| map.get(key).copied().unwrap_or(0);
        let least = open.iter().min_by_key(|(subnet, zone)| (has(&in_zone, zone), has(&in_subnet, subnet)));
        let Some((subnet, zone)) = least else { break };
        *in_zone.entry(zone).or_default() += 1;
        *in_subnet.entry(subnet).or_default() += 1;
        places.push((*subnet).to_owned());
    }
    places
}

/// Which of them go where so many are too many: one after the other of the zone that has most, by the group's policies there.
fn surplus<'a>(
    group: &AutoScalingGroup,
    mut live: Vec<(&'a Machine, &'a GroupMember)>,
    count: usize,
) -> Vec<&'a Machine> {
    let mut gone = Vec::with_capacity(count);
    for _ in 0..count {
        let mut in_zone: BTreeMap<&str, usize> = BTreeMap::new();
        for (machine, _) in &live {
            *in_zone.entry(&machine.availability_zone).or_default() += 1;
        }
        let free = live.iter().enumerate().filter(|(_, (_, member))| !member.protected);
        let first = free.min_by_key(|(_, (machine, member))| {
            let crowd = in_zone.get(machine.availability_zone.as_str()).copied().unwrap_or(0);
            (std::cmp::Reverse(crowd), rank(group, machine, member), &machine.id)
        });
        let Some((at, _)) = first else { break };
        gone.push(live.remove(at).0);
    }
    gone
}

/// The lowest goes first. A later policy chooses among those that are equal before the earlier ones.
fn rank(group: &AutoScalingGroup, machine: &Machine, member: &GroupMember) -> Vec<i64> {
    let launched = machine.launched_at.0;
    // Another template than the group's counts as older than any version of it.
    let version = match member.template_id == group.template.id {
        true => i64::try_from(member.template_version).unwrap_or(i64::MAX),
        false => -1,
    };
    let of = |policy: &TerminationPolicy| match policy {
        TerminationPolicy::Default => [version, launched],
        TerminationPolicy::OldestLaunchTemplate => [version, 0],
        TerminationPolicy::OldestInstance => [launched, 0],
        TerminationPolicy::NewestInstance => [-launched, 0],
    };
    group.termination_policies.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests;

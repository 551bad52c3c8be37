//! Which instances can take a task at all, and what stands in the way where they can not.

use super::{Candidate, Constraint, Held, PlacementRequest, Reason, view::ZONE};
use crate::query::{Expression, Subject};
use model::{InstanceStatus, Reservation, Resources, Timestamp, resources::Lacking};
use std::collections::BTreeMap;

pub(super) struct Filter<'a, C> {
    pub(super) candidates: &'a [C],
    pub(super) request: &'a PlacementRequest<'a>,
}

/// What stands in the way of one task on this instance, whatever its status. StartTask asks this of each instance it is given.
pub fn obstacle<C: Candidate>(candidate: &C, request: &PlacementRequest<'_>) -> Option<Reason> {
    first_obstacle(candidate, request, 0)
}

/// The index of a required attribute for want of which nothing here would ever take such a task, however much room there is;
/// `None` where something has them all, and where nothing is at all. Only ACTIVE candidates in the task's zones are asked.
pub fn lacking_everywhere<C: Candidate>(candidates: &[C], request: &PlacementRequest<'_>) -> Option<usize> {
    let asked = candidates.iter().filter(|candidate| is_active(*candidate) && is_in_zones(*candidate, request));
    let missing: Vec<_> = asked.map(|candidate| missing_attribute(candidate, request)).collect();
    if missing.contains(&None) {
        return None;
    }
    missing.into_iter().flatten().min()
}

impl<'a, C: Candidate> Filter<'a, C> {
    pub(super) fn new(candidates: &'a [C], request: &'a PlacementRequest<'a>) -> Self {
        Self { candidates, request }
    }

    /// Whether it is ACTIVE and has the room, which costs next to nothing to find out.
    pub(super) fn has_room(&self, candidate: &C) -> bool {
        is_active(candidate) && lacking(candidate.remaining(), self.request.reservation, 0).is_none()
    }

    /// Tasks of the group that count for spreading. Those on draining instances are about to be replaced, and their
    /// replacements belong where they are missing.
    pub(super) fn tasks_counted(&self, candidate: &C) -> u32 {
        if is_active(candidate) { candidate.tasks_in_group(self.request.group) } else { 0 }
    }

    /// Whether an instance can take one more task after `here` of this batch.
    pub(super) fn takes(&self, index: usize, here: u32) -> bool {
        takes(&self.candidates[index], self.request, here)
    }

    /// Why nothing takes one more task after those that were placed.
    pub(super) fn explain(&self, placed: &[usize]) -> Vec<Held> {
        let mut here: BTreeMap<usize, u32> = BTreeMap::new();
        for index in placed {
            *here.entry(*index).or_default() += 1;
        }
        let active = self.candidates.iter().enumerate().filter(|(_, c)| is_active(*c));
        let held: Vec<Held> = active
            .filter_map(|(index, candidate)| {
                let here = here.get(&index).copied().unwrap_or(0);
                let reason = first_obstacle(candidate, self.request, here)?;
                Some(Held { instance: Some(index), reason })
            })
            .collect();
        if held.is_empty() { vec![Held { instance: None, reason: Reason::NoInstances }] } else { held }
    }
}

/// Whether an instance can take one more task after `here` of this batch.
pub(super) fn takes<C: Candidate>(candidate: &C, request: &PlacementRequest<'_>, here: u32) -> bool {
    if here == 0 {
        return is_active(candidate) && first_obstacle(candidate, request, 0).is_none();
    }
    // Agent, attributes and most expressions can not have changed since the first task was let in.
    let changeable = |c: &Constraint| match c {
        Constraint::DistinctInstance => true,
        Constraint::MemberOf(expression) => expression.asks_groups(),
    };
    lacking(candidate.remaining(), request.reservation, here).is_none()
        && request.constraints.iter().filter(|c| changeable(c)).all(|c| meets(candidate, request, c, here))
}

fn is_active<C: Candidate>(candidate: &C) -> bool {
    match candidate.status() {
        InstanceStatus::Active => true,
        InstanceStatus::Draining | InstanceStatus::Inactive => false,
    }
}

fn first_obstacle<C: Candidate>(candidate: &C, request: &PlacementRequest<'_>, here: u32) -> Option<Reason> {
    if let Some(lacking) = lacking(candidate.remaining(), request.reservation, here) {
        return Some(Reason::Resource(lacking));
    }
    if !candidate.agent_connected() {
        return Some(Reason::Agent);
    }
    if let Some(index) = missing_attribute(candidate, request) {
        return Some(Reason::Attribute(index));
    }
    if !is_in_zones(candidate, request) {
        return Some(Reason::Location);
    }
    let broken = request.constraints.iter().position(|c| !meets(candidate, request, c, here))?;
    Some(match request.constraints[broken] {
        Constraint::DistinctInstance => Reason::DistinctInstance,
        Constraint::MemberOf(_) => Reason::MemberOf(broken),
    })
}

fn missing_attribute<C: Candidate>(candidate: &C, request: &PlacementRequest<'_>) -> Option<usize> {
    request.required_attributes.iter().position(|want| match candidate.attribute(&want.name) {
        None => true,
        Some(value) => want.value.is_some() && want.value.as_deref() != value,
    })
}

fn is_in_zones<C: Candidate>(candidate: &C, request: &PlacementRequest<'_>) -> bool {
    if request.zones.is_empty() {
        return true;
    }
    let zone = candidate.attribute(ZONE).flatten();
    request.zones.iter().any(|wanted| Some(&**wanted) == zone)
}

fn meets<C: Candidate>(candidate: &C, request: &PlacementRequest<'_>, constraint: &Constraint, here: u32) -> bool {
    match constraint {
        Constraint::DistinctInstance => here == 0 && candidate.tasks_in_group(request.group) == 0,
        Constraint::MemberOf(expression) => is_member(candidate, expression, request.group, here),
    }
}

fn is_member<C: Candidate>(candidate: &C, expression: &Expression, group: &str, here: u32) -> bool {
    if here == 0 { expression.matches(candidate) } else { expression.matches(&WithGroup { candidate, group }) }
}

/// The first thing that is short for one more task after `here` equal ones, as [`Resources::lacks`] would say after
/// as many `take`s; written out because it is asked for every instance and must not copy port sets.
fn lacking(left: &Resources, want: &Reservation, here: u32) -> Option<Lacking> {
    if here == 0 {
        return left.lacks(want);
    }
    let short = |left: u32, want: u32| u64::from(want) * (u64::from(here) + 1) > u64::from(left);
    if short(left.cpu.0, want.cpu.0) {
        Some(Lacking::Cpu)
    } else if short(left.memory.0, want.memory.0) {
        Some(Lacking::Memory)
    } else if !want.ports.is_empty() {
        // The first of the batch has taken them.
        Some(Lacking::Ports)
    } else if short(left.gpu_count(), want.gpus) {
        Some(Lacking::Gpu)
    } else if short(left.interfaces, want.interfaces) {
        Some(Lacking::Eni)
    } else {
        None
    }
}

/// An instance on which this batch has put a task of `group`. That task does not run yet, so nothing else changes.
struct WithGroup<'a, C> {
    candidate: &'a C,
    group: &'a str,
}

impl<C: Candidate> Subject for WithGroup<'_, C> {
    fn agent_connected(&self) -> bool {
        self.candidate.agent_connected()
    }
    fn agent_version(&self) -> &str {
        self.candidate.agent_version()
    }
    fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.candidate.attribute(name)
    }
    fn ec2_instance_id(&self) -> Option<&str> {
        self.candidate.ec2_instance_id()
    }
    fn registered_at(&self) -> Timestamp {
        self.candidate.registered_at()
    }
    fn running_tasks(&self) -> u32 {
        self.candidate.running_tasks()
    }
    fn any_group(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        test(self.group) || self.candidate.any_group(test)
    }
}

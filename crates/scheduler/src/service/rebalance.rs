//! Moving tasks to zones that have too few: start there, wait until all are healthy, stop where there are most.
//!
//! Only a service that has all it wants, and nothing else, does this: one step is over before the next begins, and anything
//! else that happens to the service ends it. Zones are compared among those that have an instance for it; a zone without one
//! is not "empty", it is not there. Whether there is room is for placement to find out: where nothing could be placed,
//! nothing is counted, and the next pass asks again.
//! Source: "Balancing an Amazon ECS service across Availability Zones" in the ECS developer guide.

use super::{
    count::{Member, by_age},
    events::{self, reason},
    pass::Pass,
    replica::{backs_off, scale_in},
    rollout::is_unmixed,
    view::{Place, Start},
};
use model::{CapacityProvider, PlacementStrategy, Rollout, Task};
use std::{collections::BTreeMap, sync::Arc};

/// What the default strategy spreads over.
const ZONE: &str = "attribute:ecs.availability-zone";

/// A zone's tasks, and how many of them may be stopped.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    tasks: u32,
    movable: u32,
}

/// Ends a rebalancing that something else has come between. Runs before tasks are moved, so that what it started counts as
/// surplus from then on.
pub(super) fn look(pass: &mut Pass<'_>) {
    if pass.service().rebalancing == 0 {
        return;
    }
    let wanted = pass.service().desired_count.saturating_add(pass.service().rebalancing);
    let undisturbed =
        may_balance(pass) && pass.roll.members.iter().all(Member::sound) && pass.roll.count(|_| true) == wanted;
    if !undisturbed {
        pass.edit().rebalancing = 0;
        let told = events::rebalancing_stopped(pass.name());
        pass.tell(told);
    }
}

pub(super) fn plan(pass: &mut Pass<'_>) {
    let still = pass.roll.members.iter().all(|m| m.good() && m.healthy());
    let wanted = pass.service().desired_count.saturating_add(pass.service().rebalancing);
    if !still || !may_balance(pass) || pass.roll.count(|_| true) != wanted {
        return;
    }
    if pass.service().rebalancing > 0 {
        finish(pass);
    } else if pass.roll.leaving.is_empty() && pass.service().desired_count > 1 && !is_balanced_anywhere(pass) {
        begin(pass);
    }
}

fn may_balance(pass: &Pass<'_>) -> bool {
    let service = pass.service();
    service.az_rebalancing
        && service.rules.maximum_percent > 100
        && is_unmixed(pass)
        && service.primary().is_some_and(|primary| primary.rollout == Rollout::Completed)
        && service.spec.as_ref().is_some_and(|spec| spreads_over_zones(&spec.placement_strategy))
}

fn spreads_over_zones(strategy: &[PlacementStrategy]) -> bool {
    strategy.first().is_none_or(|first| {
        let zone = first.field.as_deref().is_some_and(|field| field.eq_ignore_ascii_case(ZONE));
        first.kind.eq_ignore_ascii_case("spread") && zone
    })
}

/// Whether the tasks are in balance even if there were an instance for them in each zone of the cluster: then they are among
/// the zones that have one, and the walk over instances is spared.
fn is_balanced_anywhere(pass: &Pass<'_>) -> bool {
    let mut tasks: BTreeMap<&str, u32> = BTreeMap::new();
    let zones = pass.view.field.zones();
    for zone in zones.iter().flatten() {
        tasks.insert(zone, 0);
    }
    for zone in pass.roll.members.iter().filter_map(|m| m.task.availability_zone.as_deref()) {
        *tasks.entry(zone).or_default() += 1;
    }
    // Who does not know the zones leaves one without a task possible.
    let least = if zones.is_some() { tasks.values().min().copied().unwrap_or_default() } else { 0 };
    tasks.values().max().is_none_or(|most| *most <= least + 1)
}

/// The zones that have an instance for the service, and its tasks in them.
fn zones(pass: &Pass<'_>) -> BTreeMap<Arc<str>, Share> {
    let eligible = pass.view.field.eligible(pass.primary());
    let mut zones: BTreeMap<Arc<str>, Share> =
        eligible.into_iter().filter_map(|(_, zone)| Some((zone?, Share::default()))).collect();
    for member in &pass.roll.members {
        let share = member.task.availability_zone.as_ref().and_then(|zone| zones.get_mut(zone));
        if let Some(share) = share {
            share.tasks += 1;
            share.movable += u32::from(member.protected(pass.now()).is_none());
        }
    }
    zones
}

fn counts(zones: &BTreeMap<Arc<str>, Share>) -> Vec<(Arc<str>, u32)> {
    zones.iter().map(|(zone, share)| (zone.clone(), share.tasks)).collect()
}

/// Whether no zone is more than one task behind another.
fn is_balanced(zones: &BTreeMap<Arc<str>, Share>) -> bool {
    let tasks = || zones.values().map(|share| share.tasks);
    tasks().max().unwrap_or_default() <= tasks().min().unwrap_or_default() + 1
}

/// Starts as many in the emptiest zones as are to move, and the maximum allows.
fn begin(pass: &mut Pass<'_>) {
    let mut zones = zones(pass);
    let before = counts(&zones);
    let maximum = pass.service().rules.maximum_total(pass.service().desired_count);
    let mut room = maximum.saturating_sub(pass.service().desired_count);
    let mut starts: BTreeMap<(Arc<str>, Option<CapacityProvider>), u32> = BTreeMap::new();
    let members = oldest_first(pass);
    let mut free = movable(pass, &members);
    while room > 0 {
        let Some((least, fullest)) = next_move(&zones) else { break };
        // The one that will go: what comes for it takes the room of the same provider.
        let provider = free.get_mut(&*fullest).and_then(Vec::pop).and_then(|task| task.capacity_provider.clone());
        if let Some(share) = zones.get_mut(&fullest) {
            share.tasks -= 1;
            share.movable -= 1;
        }
        if let Some(share) = zones.get_mut(&least) {
            share.tasks += 1;
        }
        *starts.entry((least, provider)).or_default() += 1;
        room -= 1;
    }
    if room > 0 && !is_balanced(&zones) {
        let now = pass.now();
        let protected = pass.roll.members.iter().filter(|m| m.protected(now).is_some()).copied();
        pass.hold_protected(&protected.collect::<Vec<_>>());
    }
    if starts.is_empty() || backs_off(pass) {
        return;
    }
    let told = events::rebalancing_started(pass.name(), &before);
    pass.tell(told);
    let deployment = pass.primary().id;
    for ((zone, provider), count) in starts {
        pass.start(Start { deployment, count, provider, place: Place::InZone(zone), replaces: 0 });
    }
}

/// From which zone to which one task is to move: the difference is more than one, and the fuller has one that may go.
fn next_move(zones: &BTreeMap<Arc<str>, Share>) -> Option<(Arc<str>, Arc<str>)> {
    let (least, few) = zones.iter().min_by_key(|(_, share)| share.tasks)?;
    let fullest = zones.iter().filter(|(_, share)| share.movable > 0).max_by_key(|(_, share)| share.tasks);
    let (fullest, many) = fullest?;
    (many.tasks > few.tasks + 1).then(|| (least.clone(), fullest.clone()))
}

fn oldest_first<'a>(pass: &Pass<'a>) -> Vec<Member<'a>> {
    let mut members = pass.roll.members.clone();
    by_age(&mut members);
    members
}

/// Those of each zone that may go, of which the youngest goes first, as in scaling in.
fn movable<'a>(pass: &Pass<'a>, members: &[Member<'a>]) -> BTreeMap<&'a str, Vec<&'a Task>> {
    let mut free: BTreeMap<&str, Vec<&Task>> = BTreeMap::new();
    for task in members.iter().filter(|m| m.protected(pass.now()).is_none()).map(|m| m.task) {
        free.entry(task.availability_zone.as_deref().unwrap_or_default()).or_default().push(task);
    }
    free
}

/// All are healthy: as many stop in the fullest zones as were started elsewhere.
fn finish(pass: &mut Pass<'_>) {
    let mut zones = zones(pass);
    let mut stopped: BTreeMap<Arc<str>, Vec<&Task>> = BTreeMap::new();
    let members = oldest_first(pass);
    let mut free = movable(pass, &members);
    for _ in 0..pass.service().rebalancing {
        let fullest = zones.iter_mut().filter(|(_, share)| share.movable > 0).max_by_key(|(_, share)| share.tasks);
        let Some((zone, share)) = fullest else { break };
        let Some(task) = free.get_mut(&**zone).and_then(Vec::pop) else { break };
        share.tasks -= 1;
        share.movable -= 1;
        stopped.entry(zone.clone()).or_default().push(task);
    }
    pass.edit().rebalancing = 0;
    let deployment = pass.primary().id;
    for (zone, tasks) in stopped {
        pass.take_off(&tasks, |_| reason::rebalancing(deployment));
        let told = events::stopped_to_rebalance(pass.name(), &zone, tasks.iter().map(|task| &task.arn.id));
        pass.tell(told);
    }
    // What protection keeps is too much from now on, and goes by the rules of scaling in.
    scale_in(pass);
    if is_balanced(&zones) {
        let told = events::rebalancing_completed(pass.name(), &counts(&zones));
        pass.tell(told);
    }
}

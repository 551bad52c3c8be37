//! DAEMON: one task on each instance that can take it.
//!
//! The number wanted is the number of such instances; an instance whose agent is away for a moment still counts if it has
//! its task, or every stumble of the network would be a change. A new task starts only where none of the service is left,
//! because two daemons on one instance would fight for the same ports: maximumPercent is always 100.
//! Source: "Daemon strategy" in the ECS developer guide.

use super::{
    count::{Member, number},
    events,
    pass::Pass,
    replica::{backs_off, tell_if_stuck},
    rollout, unhealthy,
    view::{Hold, InstanceState, Place, Start},
};
use model::{ContainerInstanceId, Rollout, Task};
use std::collections::BTreeSet;

/// The instances that are to have a task.
pub(super) struct Homes {
    /// Those that can take one.
    eligible: BTreeSet<ContainerInstanceId>,
    /// Those that have one and whose agent is away for a moment.
    away: BTreeSet<ContainerInstanceId>,
}

impl Homes {
    fn has(&self, member: &Member<'_>) -> bool {
        let there = |instance| self.eligible.contains(instance) || self.away.contains(instance);
        !member.displaced && member.task.container_instance.as_ref().is_some_and(there)
    }
}

/// Counts the instances: that is what is desired.
pub(super) fn look(pass: &mut Pass<'_>) -> Homes {
    let eligible: BTreeSet<_> = pass.view.field.eligible(pass.primary()).into_iter().map(|(id, _)| id).collect();
    let here = pass.roll.members.iter().map(|m| m.task).chain(pass.roll.leaving.iter().copied());
    let away: BTreeSet<_> = here
        .filter_map(|task| task.container_instance.as_ref())
        .filter(|id| !eligible.contains(*id) && is_away(pass.view.field.instance(id)))
        .cloned()
        .collect();
    let desired = number(eligible.len() + away.len());
    if pass.service().desired_count != desired {
        pass.edit().desired_count = desired;
    }
    Homes { eligible, away }
}

/// Roll has given up those that are away for too long.
fn is_away(state: Option<InstanceState>) -> bool {
    match state {
        Some(InstanceState::Unreachable { .. }) => true,
        None | Some(InstanceState::Active | InstanceState::Draining) => false,
    }
}

pub(super) fn plan(pass: &mut Pass<'_>, homes: &Homes) {
    leave(pass, homes);
    match pass.primary().rollout {
        Rollout::InProgress | Rollout::Completed => {
            replace(pass, homes);
            unhealthy::tell(pass);
            let minimum = pass.service().rules.minimum_healthy(pass.service().desired_count);
            unhealthy::make_room(pass, u32::MAX, minimum, |m| homes.has(m));
            start(pass, homes);
        }
        Rollout::Failed => pass.hold(Hold::DeploymentFailed),
    }
}

/// Stops tasks where none is to be: on instances that drain, once all others there are gone, and where the constraints are
/// not met any more.
fn leave(pass: &mut Pass<'_>, homes: &Homes) {
    let (mut stopped, mut told): (Vec<&Task>, Vec<_>) = (Vec::new(), Vec::new());
    for member in pass.roll.members.iter().filter(|m| !homes.has(m)) {
        let Some(instance) = &member.task.container_instance else { continue };
        if !member.displaced {
            if member.primary {
                told.push(events::daemon_constraint_violated(pass.name(), &member.task.arn, instance.as_str()));
            }
            stopped.push(member.task);
        } else if member.pending() || pass.view.field.only_daemons_left(instance) {
            stopped.push(member.task);
        }
    }
    told.into_iter().for_each(|told| pass.tell(told));
    pass.stop_scaling(&stopped);
}

/// Stops tasks of older deployments, so that new ones can start in their place.
fn replace(pass: &mut Pass<'_>, homes: &Homes) {
    let old = |m: &Member<'_>| !m.primary && homes.has(m);
    pass.stop_pending(old);
    let leaves = |m: &&Member<'_>| old(m) && !m.pending() && !m.unhealthy();
    let running: Vec<_> = pass.roll.members.iter().filter(leaves).copied().collect();
    if running.is_empty() {
        return;
    }
    let healthy = pass.roll.count(|m| homes.has(m) && m.healthy());
    let minimum = pass.service().rules.minimum_healthy(pass.service().desired_count);
    pass.stop_above(running, healthy, minimum);
    let stays = pass.roll.count(|m| !m.primary && homes.has(m));
    if stays > 0 {
        tell_if_stuck(pass);
    }
}

fn start(pass: &mut Pass<'_>, homes: &Homes) {
    let taken: BTreeSet<_> = pass
        .roll
        .members
        .iter()
        .map(|m| m.task)
        .chain(pass.roll.leaving.iter().copied())
        .filter_map(|task| task.container_instance.as_ref())
        .collect();
    let free: Vec<_> = homes.eligible.iter().filter(|id| !taken.contains(id)).cloned().collect();
    if free.is_empty() || backs_off(pass) || rollout::has_failed(pass.service()) {
        return;
    }
    let deployment = pass.primary().id;
    for instance in free {
        pass.start(Start { deployment, count: 1, provider: None, place: Place::On(instance), replaces: 0 });
    }
}

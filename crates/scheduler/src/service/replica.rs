//! The desired count: how many tasks start, and which stop, within what the deployment's rules allow.
//!
//! "Good" tasks are the primary deployment's on instances that stay. Everything else is on its way out: what is pending goes
//! at once, for a pull that hangs must not hold up a deployment; what runs goes as soon as enough healthy tasks remain
//! without it, whether or not there are good ones in its place yet, because minimumHealthyPercent is the operator's word
//! that this many are enough, and what stops may be the room that the next one needs.
//! Source: "Rolling update" in the ECS developer guide.

use super::{
    blue_green,
    count::{Member, Stage, by_age, number},
    events,
    pass::Pass,
    rollout, scale_in, unhealthy,
    view::{Hold, Place, Start},
};
use crate::capacity;
use model::{CapacityProvider, Rollout, Task};
use std::collections::HashSet;

pub(super) fn plan(pass: &mut Pass<'_>) {
    match pass.primary().rollout {
        Rollout::InProgress | Rollout::Completed => {
            keep(pass);
        }
        Rollout::Failed => {
            pass.hold(Hold::DeploymentFailed);
            pass.stop_pending(|m| m.displaced);
            if !blue_green::keeps_both(pass) {
                stop_surplus_of_failed(pass);
            }
            stop_running(pass, |m| m.displaced);
        }
    }
}

/// Keeps as many good tasks as are asked for, and no others.
pub(super) fn keep(pass: &mut Pass<'_>) {
    pass.stop_pending(|m| !m.good());
    scale_in(pass);
    stop_running(pass, |m| !m.good() && !m.unhealthy());
    unhealthy::tell(pass);
    unhealthy::retire(pass, wanted(pass), minimum(pass));
    start(pass);
}

/// How many tasks the service is to be made of: those that balance zones have yet to replace others.
pub(super) fn wanted(pass: &Pass<'_>) -> u32 {
    pass.desired().saturating_add(pass.service().rebalancing)
}

fn minimum(pass: &Pass<'_>) -> u32 {
    pass.service().rules.minimum_healthy(pass.desired())
}

fn stop_running<'a>(pass: &mut Pass<'a>, which: impl Fn(&Member<'a>) -> bool) {
    let leave: Vec<_> = pass.roll.members.iter().filter(|m| which(m) && !m.pending()).copied().collect();
    if !leave.is_empty() {
        let (healthy, minimum) = (pass.roll.count(Member::healthy), minimum(pass));
        pass.stop_above(leave, healthy, minimum);
    }
}

/// Stops good tasks that are too many. Those that are unhealthy go by their own rules.
pub(super) fn scale_in(pass: &mut Pass<'_>) {
    let surplus = pass.roll.count(Member::sound).saturating_sub(wanted(pass));
    if surplus > 0 {
        shrink(pass, surplus, Member::sound);
    }
}

/// A deployment that FAILED keeps what runs as it is, but no more than is wanted; its own tasks go first.
fn stop_surplus_of_failed(pass: &mut Pass<'_>) {
    let surplus = |pass: &Pass<'_>| pass.roll.count(|m| !m.displaced).saturating_sub(pass.service().desired_count);
    let too_many = surplus(pass);
    if too_many > 0 {
        shrink(pass, too_many, Member::good);
    }
    let too_many = surplus(pass);
    if too_many > 0 {
        shrink(pass, too_many, |m| !m.displaced);
    }
}

/// Stops so many of those: first what is pending or has failed, then what is not healthy yet, then what is.
fn shrink<'a>(pass: &mut Pass<'a>, surplus: u32, which: impl Fn(&Member<'a>) -> bool) {
    let now = pass.now();
    let mut candidates: Vec<Member<'a>> = pass.roll.members.iter().filter(|m| which(m)).copied().collect();
    by_age(&mut candidates);
    let (protected, free): (Vec<_>, Vec<_>) = candidates.iter().copied().partition(|m| m.protected(now).is_some());
    let spare = pass.roll.count(Member::healthy).saturating_sub(minimum(pass));
    let of = |provider: &CapacityProvider| number(candidates.iter().filter(|m| m.is_of(provider)).count());
    let shares = capacity::stops(pass.capacity(), of, surplus).into_iter();
    let shares = shares.map(|(provider, count)| (Some(provider), count));
    let (mut left, mut spare, mut stopped) = (surplus, spare, Vec::<&Task>::new());
    // What the providers' shares leave over is what protection has kept of one of them, or all where nothing is shared.
    for (provider, share) in shares.chain([(None, u32::MAX)]) {
        let mut share = share.min(left);
        for class in [Class::Useless, Class::Warming, Class::Healthy] {
            let gone: HashSet<_> = stopped.iter().map(|task| &task.arn).collect();
            let is_meant = |m: &&Member<'_>| {
                class_of(m) == class
                    && provider.as_ref().is_none_or(|provider| m.is_of(provider))
                    && !gone.contains(&m.task.arn)
            };
            let these: Vec<_> = free.iter().filter(is_meant).copied().collect();
            let limit = if class == Class::Healthy { spare } else { u32::MAX };
            let chosen = scale_in::choose(pass, &these, &candidates, &stopped, share.min(limit));
            let count = number(chosen.len());
            (left, share) = (left - count, share - count);
            spare -= if class == Class::Healthy { count } else { 0 };
            stopped.extend(chosen);
        }
        // One that waits until others are healthy is not replaced by one of another provider.
        if share > 0 && spare == 0 {
            break;
        }
    }
    pass.stop_scaling(&stopped);
    if left > 0 && !protected.is_empty() {
        pass.hold_protected(&protected);
        if number(protected.len()) > pass.desired() {
            let told = events::scale_in_failed_by_protection(pass.who());
            pass.tell(told);
        }
    }
}

/// Of what use a task is, the least first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Useless,
    Warming,
    Healthy,
}

fn class_of(member: &Member<'_>) -> Class {
    match member.stage {
        Stage::Pending | Stage::Unhealthy => Class::Useless,
        Stage::Warming(_) => Class::Warming,
        Stage::Healthy => Class::Healthy,
    }
}

fn start(pass: &mut Pass<'_>) {
    let missing = wanted(pass).saturating_sub(pass.roll.count(Member::sound));
    if missing == 0 || backs_off(pass) {
        return;
    }
    let maximum = pass.service().rules.maximum_total(pass.desired());
    let no_place = pass.view.no_place;
    let room = |pass: &Pass<'_>| match no_place {
        true => 0,
        false => maximum.saturating_sub(number(pass.roll.members.len())),
    };
    let lacking = missing.saturating_sub(room(pass));
    if lacking > 0 {
        unhealthy::make_room(pass, lacking, minimum(pass), |_| true);
    }
    if no_place || rollout::has_failed(pass.service()) {
        return;
    }
    let total = number(pass.roll.members.len());
    let count = missing.min(room(pass));
    if count > 0 {
        start_by_share(pass, count);
    }
    if count < missing {
        pass.hold(Hold::MaximumReached { total: total + count, maximum });
        tell_if_stuck(pass);
    }
}

/// Starts so many, each of the capacity provider that is furthest behind its share.
fn start_by_share(pass: &mut Pass<'_>, count: u32) {
    let deployment = pass.aim();
    let shares =
        capacity::starts(pass.capacity(), |provider| pass.roll.count(|m| m.sound() && m.is_of(provider)), count);
    let mut ill = unhealthy::replaceable(pass);
    let mut start = |provider, count: u32| {
        let replaces = ill.min(count);
        ill -= replaces;
        Start { deployment, count, provider, place: Place::Anywhere, replaces }
    };
    if shares.is_empty() {
        pass.start(start(None, count));
    }
    for (provider, count) in shares {
        pass.start(start(Some(provider), count));
    }
}

/// Whether the next start waits because the last tasks did not come to run.
pub(super) fn backs_off(pass: &mut Pass<'_>) -> bool {
    let now = pass.now();
    let until = pass.failures().held(now);
    if let Some(until) = until {
        pass.hold(Hold::BackOff { until });
        pass.look_at(until);
    }
    until.is_some()
}

/// Tells that the rules allow neither a start nor a stop, if nothing that is under way can change that.
pub(super) fn tell_if_stuck(pass: &mut Pass<'_>) {
    let starts = pass.plan.starts.iter().any(|start| start.deployment == pass.aim());
    let moves = starts || pass.leave_some();
    let under_way = pass.roll.members.iter().any(|m| match m.stage {
        Stage::Pending | Stage::Warming(_) => true,
        Stage::Healthy | Stage::Unhealthy => m.unreachable.is_some(),
    });
    let protected = pass.plan.held.iter().any(|hold| matches!(hold, Hold::Protected { .. }));
    if !(moves || under_way || protected) {
        let told = events::stuck_deployment(pass.who());
        pass.tell(told);
    }
}

//! How far a deployment has come: failures forgotten, the circuit breaker, completion, old deployments' end, steady state.
//!
//! `watch` runs before tasks are moved, because a breaker that trips changes which deployment they are moved for; `settle`
//! runs after, because what has been reached is reached only if nothing was left to move.

use super::{
    blue_green,
    count::{Member, healthy_at},
    deploy,
    events::{self, reason},
    pass::Pass,
    replica,
};
use model::{
    BreakerStatus, Cleanup, Deployment, DeploymentId, Rollout, SchedulingStrategy, Service, ServiceDeploymentStatus,
};
use std::sync::Arc;

/// Rounds of starts in a row of which no task came to run, from which on that is told.
pub(super) const IMPAIRED_AFTER_ROUNDS: u32 = 3;

/// Looks whether the primary deployment's tasks fail.
pub(super) fn watch(pass: &mut Pass<'_>) {
    forget_failures(pass);
    let primary = pass.primary();
    let tries = match primary.rollout {
        Rollout::InProgress | Rollout::Completed => true,
        Rollout::Failed => false,
    };
    let missing = pass.roll.count(|m| m.good() && !m.pending()) < pass.service().desired_count;
    if tries && missing && primary.failures.rounds >= IMPAIRED_AFTER_ROUNDS {
        let told = events::start_impaired(pass.name());
        pass.tell(told);
    }
    break_circuit(pass);
}

/// A task that became healthy after the last failure makes the failures forgotten. When one with a health check does, apply
/// learns and notes it.
fn forget_failures(pass: &mut Pass<'_>) {
    let Some(last) = pass.primary().failures.last else { return };
    let recovered =
        pass.roll.members.iter().any(|m| m.primary && m.healthy() && healthy_at(m.task).is_some_and(|at| at > last));
    if recovered && pass.service().rules.breaker.reset_on_healthy_task {
        pass.edit().deployments[0].failures.forget();
    }
}

/// Whether a deployment's tasks have failed too often. A pass that counts the failure with which they have leaves it to the next
/// one to end the deployment, and starts nothing more for it.
pub(super) fn has_failed(service: &Service) -> bool {
    let breaker = service.rules.breaker;
    breaker.enable
        && service.primary().is_some_and(|primary| {
            let failed = primary.failures.count >= breaker.threshold.of(service.desired_count);
            failed && primary.rollout == Rollout::InProgress
        })
}

/// Ends a deployment whose tasks failed too often.
fn break_circuit(pass: &mut Pass<'_>) {
    if !has_failed(pass.service()) {
        return;
    }
    let breaker = pass.service().rules.breaker;
    let failures = pass.primary().failures.count;
    pass.tell_story(|story| {
        story.breaker.status = BreakerStatus::Triggered;
        story.breaker.failure_count = failures;
    });
    give_up(pass, &Trouble::BREAKER, breaker.rollback);
}

/// Why a deployment does not get in, in the words for it.
pub(super) struct Trouble {
    /// What happened, behind "deployment failed: ".
    told: &'static str,
    /// Of the deployment.
    failed: &'static str,
    /// Of the deployment that takes over again.
    back: fn(DeploymentId) -> Arc<str>,
    /// Of the story, when it goes back, when there is nothing to go back to, and when it fails on its way back.
    story: [&'static str; 3],
}

impl Trouble {
    const BREAKER: Self = Self {
        told: "tasks failed to start.",
        failed: reason::BREAKER,
        back: reason::rolling_back_by_breaker,
        story: [reason::STORY_BREAKER_ROLLBACK, reason::STORY_BREAKER, reason::STORY_ROLLBACK_FAILED],
    };
    /// A lifecycle hook refused.
    pub(super) const HOOK: Self = Self {
        told: "lifecycle hook failed.",
        failed: reason::HOOK,
        back: reason::rolling_back_by_hook,
        story: [reason::STORY_HOOK_ROLLBACK, reason::STORY_HOOK, reason::STORY_HOOK_ROLLBACK_FAILED],
    };
    /// A lifecycle stage took too long.
    pub(super) const STAGE: Self = Self {
        told: "lifecycle stage timed out.",
        failed: reason::STAGE,
        back: reason::rolling_back_by_stage,
        story: [reason::STORY_STAGE_ROLLBACK, reason::STORY_STAGE, reason::STORY_STAGE_ROLLBACK_FAILED],
    };
}

/// The primary deployment has failed. Goes back to the newest completed one, if that is wanted and it is not on its way back
/// already; otherwise it stays as it is.
pub(super) fn give_up(pass: &mut Pass<'_>, why: &Trouble, rollback: bool) {
    let (id, now) = (pass.primary().id, pass.now());
    let on_its_way_back = pass.story().is_some_and(|story| story.rollback.is_some());
    let target = deploy::rollback_target(pass.service()).filter(|_| rollback && !on_its_way_back);
    let told = events::deployment_failed(pass.name(), id, why.told);
    pass.tell(told);
    let [back, stopped, back_failed] = why.story;
    match target {
        Some(target) => {
            let to = deploy::turn_back(pass.edit(), target, why.failed, why.back, now);
            pass.roll.regard(to);
            let told = events::rolling_back(pass.name(), to);
            pass.tell(told);
            pass.tell_story(|story| deploy::turn_story(story, to, back, now));
        }
        None => {
            deploy::fail(pass.edit(), why.failed, now);
            let (status, why) = if on_its_way_back {
                (ServiceDeploymentStatus::RollbackFailed, back_failed)
            } else {
                (ServiceDeploymentStatus::Stopped, stopped)
            };
            end_story(pass, status, why);
        }
    }
}

/// Writes down what has been reached.
pub(super) fn settle(pass: &mut Pass<'_>) {
    let in_progress = pass.primary().rollout == Rollout::InProgress && !blue_green::has_more_stages(pass);
    if in_progress && is_complete(pass) {
        complete(pass);
    }
    prune(pass);
}

/// Whether all that is wanted is there and healthy, and nothing of what was before is left.
fn is_complete(pass: &Pass<'_>) -> bool {
    let desired = pass.service().desired_count;
    let healthy = pass.roll.count(|m| m.good() && m.healthy());
    let old_gone = pass.roll.count(|m| !m.primary) == 0 && pass.roll.old_leaving(pass.primary().id) == 0;
    let early = pass.service().rules.early_success.is_some_and(|early| {
        let enough = (u64::from(desired) * u64::from(early.healthy_percent)).div_ceil(100);
        u64::from(healthy) >= enough
            && match early.cleanup {
                Cleanup::Blocking => old_gone,
                Cleanup::Deferred => true,
            }
    });
    early || (healthy == desired && old_gone && is_still(pass))
}

/// Whether the primary deployment's tasks are all there, run, and stay where they are; one that is unhealthy does not stay.
fn is_still(pass: &Pass<'_>) -> bool {
    let leaves = match pass.service().scheduling {
        SchedulingStrategy::Replica => pass.roll.count(|m| m.displaced),
        // The daemon of an instance that drains runs until all others there have stopped; it is not the deployment's concern.
        SchedulingStrategy::Daemon => 0,
    };
    let balancing = pass.service().rebalancing > 0;
    let pending = pass.roll.count(|m| m.good() && m.pending());
    let ill = pass.roll.count(Member::unhealthy);
    leaves == 0 && ill == 0 && (pending == 0 || balancing) && pass.roll.count(Member::good) == replica::wanted(pass)
}

fn complete(pass: &mut Pass<'_>) {
    let (id, now) = (pass.primary().id, pass.now());
    let primary = &mut pass.edit().deployments[0];
    deploy::bring(primary, Rollout::Completed, reason::completed(id), now);
    let failures = primary.failures.count;
    let told = events::deployment_completed(pass.name(), id);
    pass.tell(told);
    let turned = pass.story().is_some_and(|story| story.rollback.is_some());
    let why = pass.story().and_then(|story| story.reason.clone()).filter(|_| turned);
    pass.tell_story(|story| match story.breaker.status {
        BreakerStatus::Monitoring => {
            story.breaker.status = BreakerStatus::MonitoringComplete;
            story.breaker.failure_count = failures;
        }
        BreakerStatus::Disabled | BreakerStatus::MonitoringComplete | BreakerStatus::Triggered => {}
    });
    let status = if turned { ServiceDeploymentStatus::RollbackSuccessful } else { ServiceDeploymentStatus::Successful };
    let why = why.unwrap_or_else(|| reason::completed(id));
    end_story(pass, status, &why);
}

/// Ends the story, with the tasks there are now.
fn end_story(pass: &mut Pass<'_>, status: ServiceDeploymentStatus, why: &str) {
    let now = pass.now();
    if pass.story().is_none_or(|story| story.status.is_over()) {
        return;
    }
    let counts = |id: DeploymentId| {
        let id = id.to_string();
        let of = |m: &Member<'_>| m.task.started_by.as_deref() == Some(id.as_str());
        (pass.roll.count(|m| of(m) && !m.pending()), pass.roll.count(|m| of(m) && m.pending()))
    };
    let Some(story) = pass.story() else { return };
    let ended: Vec<_> = std::iter::once(&story.target)
        .chain(&story.sources)
        .map(|share| {
            let (running, pending) = counts(share.id);
            let requested = blue_green::requested(pass.service(), None, share.id);
            model::RevisionShare { id: share.id, requested, running, pending }
        })
        .collect();
    pass.tell_story(|story| {
        let mut ended = ended.into_iter();
        story.target = ended.next().unwrap_or(story.target);
        story.sources = ended.collect();
        story.status = status;
        story.reason = Some(why.into());
        story.finished_at = Some(now);
        story.lifecycle.iter_mut().for_each(blue_green::close);
    });
}

/// A deleted service's story comes to no other end.
pub(super) fn end_with_the_service(pass: &mut Pass<'_>) {
    end_story(pass, ServiceDeploymentStatus::Stopped, reason::STORY_DELETED);
}

/// Old deployments leave with their last task, be it one that was given up: while it counts as running, it is to be told of whose.
/// The newest COMPLETED one stays until another is: it is what to go back to.
fn prune(pass: &mut Pass<'_>) {
    if pass.service().deployments.len() == 1 {
        return;
    }
    let target = match pass.primary().rollout {
        Rollout::InProgress | Rollout::Failed => deploy::rollback_target(pass.service()),
        Rollout::Completed => None,
    };
    let stays = |(at, deployment): (usize, &Deployment)| {
        let has_tasks = pass.roll.has_tasks_of(deployment.id) || pass.roll.has_runaways_of(deployment.id);
        let stays = at == 0 || Some(at) == target || has_tasks;
        stays.then_some(deployment.id)
    };
    let stay: Vec<_> = pass.service().deployments.iter().enumerate().filter_map(stays).collect();
    if stay.len() < pass.service().deployments.len() {
        pass.edit().deployments.retain(|deployment| stay.contains(&deployment.id));
    }
}

/// Whether nothing of older deployments is waited for.
pub(super) fn is_unmixed(pass: &Pass<'_>) -> bool {
    pass.service().deployments.iter().skip(1).all(|deployment| !pass.roll.has_tasks_of(deployment.id))
}

/// A service is steady when it is told so, and stays it until something is missing or too much; a task that stops is too much
/// until it has. One that balances zones is not.
pub(super) fn steady(pass: &mut Pass<'_>) {
    let service = pass.service();
    let settled = is_unmixed(pass)
        && pass.primary().rollout == Rollout::Completed
        && pass.roll.leaving.is_empty()
        && is_still(pass);
    let healthy = || pass.roll.count(|m| m.good() && m.healthy()) == service.desired_count;
    if settled && !service.steady && service.rebalancing == 0 && healthy() {
        pass.edit().steady = true;
        let told = events::steady_state(pass.name());
        pass.tell(told);
    } else if !settled && service.steady {
        pass.edit().steady = false;
    }
}

//! Tasks whose health checks have failed: replaced first where there may be one more, and is a place for it, else stopped one by
//! one to make room.
//!
//! They serve nobody, so the minimum of healthy tasks says nothing of them by itself. But what replaces them may fare no better,
//! and a check may be wrong of all of them at once: of the tasks that have been judged, the healthy and these together, the
//! minimum always stays, so that a service is never emptied faster than others have proven themselves. Scale-in protection
//! does not save them: it is protection from scaling and deployments.
//! Source: `DeploymentConfiguration$minimumHealthyPercent`, and "Amazon ECS services" in the developer guide.

use super::{
    count::{Member, Stage, by_age, number},
    events::{self, reason},
    pass::Pass,
};
use model::{DeploymentId, Rollout, Stop, Task, TaskArn};
use std::collections::HashSet;

/// Whether a replacement for it came to be healthy before it went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replaced {
    Already,
    NotYet,
}

/// Tells of each that it has failed.
pub(super) fn tell(pass: &mut Pass<'_>) {
    let mut ill: Vec<_> = pass.roll.members.iter().filter(|m| m.unhealthy()).copied().collect();
    by_age(&mut ill);
    for member in ill {
        let told = events::failed_health_check(pass.who(), &member.task.arn.id);
        pass.tell(told);
    }
}

/// Stops those that healthy ones stand for, and those that are on their way out anyway.
pub(super) fn retire(pass: &mut Pass<'_>, wanted: u32, minimum: u32) {
    let ill = |m: &Member<'_>| m.good() && m.unhealthy();
    let missed = wanted.saturating_sub(pass.roll.count(|m| m.good() && m.healthy()));
    let replaced = pass.roll.count(ill).saturating_sub(missed);
    stop(pass, ill, replaced, Replaced::Already);
    let old = |m: &Member<'_>| !m.good() && m.unhealthy();
    let spare = spare(pass, minimum);
    stop(pass, old, spare, Replaced::NotYet);
}

/// Stops up to so many of those that are unhealthy, to make room for others. One always goes where nothing else moves: as many
/// as must stay may be as many as there may be, and an unhealthy task is not worth keeping for that.
pub(super) fn make_room<'a>(pass: &mut Pass<'a>, count: u32, minimum: u32, which: impl Fn(&Member<'a>) -> bool) {
    let ill = |m: &Member<'a>| which(m) && m.unhealthy();
    let spare = spare(pass, minimum);
    let last_resort = u32::from(spare == 0 && !moves(pass));
    stop(pass, ill, count.min(spare.max(last_resort)), Replaced::NotYet);
}

/// How many of the judged may go.
fn spare(pass: &Pass<'_>, minimum: u32) -> u32 {
    pass.roll.count(|m| m.healthy() || m.unhealthy()).saturating_sub(minimum)
}

/// Whether anything is under way that will be judged.
fn moves(pass: &Pass<'_>) -> bool {
    let starts = pass.plan.starts.iter().any(|start| start.deployment == pass.aim());
    starts
        || pass.leave_some()
        || pass.roll.members.iter().any(|m| match m.stage {
            Stage::Pending | Stage::Warming(_) => true,
            Stage::Unhealthy | Stage::Healthy => false,
        })
}

/// How many tasks of what is being kept are there, on their way out, or gone since anything was last started, because their
/// health checks fail: what starts now replaces them.
pub(super) fn replaceable(pass: &Pass<'_>) -> u32 {
    let aim = pass.aim().to_string();
    let own = |task: &&Task| task.started_by.as_deref() == Some(aim.as_str());
    let ill = |why: &Stop| *why.reason == *reason::UNHEALTHY;
    // As many may stop in this pass as are leaving: each is looked up, not searched for.
    let now: HashSet<&TaskArn> = pass.plan.stops.iter().filter(|stop| ill(&stop.why)).map(|stop| &stop.task).collect();
    let stopped = |task: &Task| now.contains(&task.arn) || task.stop().is_some_and(ill);
    let leaving = || pass.roll.leaving.iter().copied().filter(own);
    let past: Vec<&Task> = pass.view.field.stopped().into_iter().filter(own).collect();
    // What was started together with the word that it stops, or later, has replaced it already.
    let replaced = |task: &Task| {
        let live = pass.roll.members.iter().map(|m| m.task).filter(own);
        let mut others = live.chain(leaving()).chain(past.iter().copied()).filter(|other| other.arn != task.arn);
        others.any(|other| task.times.stopping.is_none_or(|stopping| other.times.created >= stopping))
    };
    let missed = |task: &&&Task| stopped(task) && !replaced(task);
    let (leaving, past) = (leaving().filter(|task| stopped(task)).count(), past.iter().filter(missed).count());
    pass.roll.count(|m| m.good() && m.unhealthy()) + number(leaving + past)
}

fn stop<'a>(pass: &mut Pass<'a>, which: impl Fn(&Member<'a>) -> bool, count: u32, replaced: Replaced) {
    let mut ill: Vec<_> = pass.roll.members.iter().filter(|m| which(m)).copied().collect();
    by_age(&mut ill);
    let tasks: Vec<&Task> = ill.iter().map(|m| m.task).take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
    if tasks.is_empty() {
        return;
    }
    pass.take_off(&tasks, |_| reason::UNHEALTHY.into());
    pass.tell_stopped(&tasks);
    // A healthy one in its place makes a failure forgotten as soon as it counts.
    let counts = replaced == Replaced::NotYet || !pass.service().rules.breaker.reset_on_healthy_task;
    for task in tasks.into_iter().filter(|_| counts) {
        count_failure(pass, task);
    }
}

fn count_failure(pass: &mut Pass<'_>, task: &Task) {
    let now = pass.now();
    let id = task.started_by.as_deref().and_then(|by| by.parse::<DeploymentId>().ok());
    // One that FAILED has been judged.
    let failed = |id| pass.service().deployment(id).is_some_and(|deployment| deployment.rollout == Rollout::Failed);
    let known = id.filter(|id| !failed(*id)).and_then(|id| Some((id, pass.service().failures(id)?)));
    if let Some((id, mut failures)) = known {
        failures.failed(now);
        pass.edit().note_failures(id, failures, now);
    }
}

//! BLUE_GREEN deployments: all of the new revision beside all of the old one, stage by stage, with hooks that have a say.
//!
//! Before CLEAN_UP each revision is kept at the desired count for itself, whatever the percentages say of both together, and
//! no step of one costs a task of the other. CLEAN_UP is the end of a rolling deployment: old tasks stop. A way back goes
//! through the stages that shift traffic again if they had begun, for hooks may have shifted what we do not know of, and then
//! cleans up the new revision. What is shifted is the names of Service Connect: [`serving`] follows from the stage. A service without
//! them has nothing to shift.
//! Sources: "Amazon ECS blue/green deployments" in the developer guide, `DeploymentLifecycleHook`.

use super::{
    count::Member,
    deploy,
    pass::Pass,
    replica,
    rollout::{self, Trouble},
    view::Hold,
};
use model::{
    DeploymentId, DeploymentStrategy, HookAction, HookRun, HookStatus, HookTarget, Lifecycle, LifecycleHook,
    LifecycleStage as Stage, Rollout, Service, ServiceDeployment, ServiceDeploymentStatus as Status, Timestamp,
};

/// The longest a stage may take that waits for neither a hook nor time. Source: "Lifecycle stages" in the developer guide.
const STAGE_LIMIT_MILLIS: i64 = 24 * 60 * MINUTE_MILLIS;
const MINUTE_MILLIS: i64 = 60_000;

/// Which deployment's tasks are found by the names of Service Connect; `None` for all. The new revision's from the stage on that
/// shifts the traffic, those of the one before it until then and on the way back.
pub fn serving(service: &Service, story: Option<&ServiceDeployment>) -> Option<DeploymentId> {
    let primary = service.primary()?.id;
    let story = story.filter(|story| !story.status.is_over())?;
    let stage = story.lifecycle.as_ref()?.stage;
    if story.rollback.is_some() || stage >= Stage::ProductionTrafficShift {
        return Some(primary);
    }
    let before = deploy::rollback_target(service).and_then(|at| service.deployments.get(at));
    Some(before.map_or(primary, |before| before.id))
}

/// Moves the deployment along its stages, and its tasks as the stage it is in asks. False where there are no stages, and
/// where the tasks are moved as those of a rolling deployment are.
pub(super) fn plan(pass: &mut Pass<'_>) -> bool {
    // Each round is a stage further, forth or back, or moves tasks; what it stops may be what the stage waited for.
    for _ in 0..4 * Stage::ALL.len() {
        pass.plan.starts.clear();
        pass.plan.held.clear();
        let Some(stage) = lifecycle(pass).map(|lifecycle| lifecycle.stage).filter(|stage| *stage != Stage::CleanUp)
        else {
            return false;
        };
        match verdict(pass) {
            Verdict::Stay => {
                move_tasks(pass, stage);
                if matches!(verdict(pass), Verdict::Stay) {
                    break;
                }
            }
            Verdict::Next => advance(pass),
            Verdict::TimedOut(runs) => pass.tell_story(|story| {
                let hooks = story.lifecycle.iter_mut().flat_map(|lifecycle| &mut lifecycle.hooks);
                hooks.filter(|run| runs.contains(&run.id)).for_each(|run| run.status = HookStatus::TimedOut);
            }),
            Verdict::GiveUp(trouble) => rollout::give_up(pass, trouble, true),
        }
    }
    say_what_it_waits_for(pass);
    true
}

/// The lifecycle of the primary deployment while it is on its way.
fn lifecycle<'p>(pass: &'p Pass<'_>) -> Option<&'p Lifecycle> {
    match pass.primary().rollout {
        Rollout::InProgress => pass.story().filter(|story| !story.status.is_over())?.lifecycle.as_ref(),
        Rollout::Completed | Rollout::Failed => None,
    }
}

/// Whether there are stages yet to come.
pub(super) fn has_more_stages(pass: &Pass<'_>) -> bool {
    lifecycle(pass).is_some_and(|lifecycle| lifecycle.stage != Stage::CleanUp)
}

/// Whether a way back has failed: which of the revisions serves then, only whoever shifted the traffic knows.
pub(super) fn keeps_both(pass: &Pass<'_>) -> bool {
    pass.story().is_some_and(|story| story.lifecycle.is_some() && story.status == Status::RollbackFailed)
}

/// The lifecycle at its beginning; `others` are deployments that have tasks already.
pub(super) fn begin(strategy: &DeploymentStrategy, others: usize, now: Timestamp) -> Option<Lifecycle> {
    match strategy {
        DeploymentStrategy::Rolling => None,
        DeploymentStrategy::BlueGreen(_) => {
            let stage = if others > 1 { Stage::ReconcileService } else { Stage::PreScaleUp };
            let mut lifecycle = Lifecycle { stage, since: now, hooks: Vec::new() };
            enter(&mut lifecycle, strategy.hooks(), stage, false, now);
            Some(lifecycle)
        }
    }
}

/// The first stage of a way back.
pub(super) fn turn(story: &mut ServiceDeployment, now: Timestamp) {
    let Some(lifecycle) = &mut story.lifecycle else { return };
    close(lifecycle);
    let hooks = story.rules.strategy.hooks();
    let stage = match lifecycle.stage {
        stage if stage >= Stage::ProductionTrafficShift => Stage::ProductionTrafficShift,
        stage if stage >= Stage::TestTrafficShift => Stage::TestTrafficShift,
        _ => Stage::CleanUp,
    };
    let stage = if has_hooks(hooks, stage) { stage } else { next_back(hooks, stage) };
    enter(lifecycle, hooks, stage, true, now);
}

/// Nobody waits for its hooks any more.
pub(super) fn close(lifecycle: &mut Lifecycle) {
    for run in lifecycle.hooks.iter_mut().filter(|run| run.status.is_open()) {
        run.status = HookStatus::Failed;
        run.call_at = None;
    }
}

/// How many tasks of a deployment are asked for: before CLEAN_UP the one to go back to has as many as the one that comes.
pub fn requested(service: &Service, story: Option<&ServiceDeployment>, id: DeploymentId) -> u32 {
    let is = |deployment: Option<&model::Deployment>| deployment.is_some_and(|deployment| deployment.id == id);
    let beside = || {
        let target = deploy::rollback_target(service).and_then(|at| service.deployments.get(at));
        let story = story.filter(|story| !story.status.is_over() && story.rollback.is_none());
        let lifecycle = story.and_then(|story| story.lifecycle.as_ref());
        is(target) && lifecycle.is_some_and(|lifecycle| lifecycle.stage != Stage::CleanUp)
    };
    if is(service.primary()) || beside() { service.desired_count } else { 0 }
}

enum Verdict {
    Stay,
    Next,
    /// Those hooks have taken too long.
    TimedOut(Vec<std::sync::Arc<str>>),
    GiveUp(&'static Trouble),
}

fn verdict(pass: &Pass<'_>) -> Verdict {
    let now = pass.now();
    let (Some(story), Some(lifecycle)) = (pass.story(), lifecycle(pass)) else { return Verdict::Stay };
    let back = story.rollback.is_some();
    let runs = || lifecycle.hooks.iter().filter(|run| run.stage == lifecycle.stage && run.back == back);
    let late = runs().filter(|run| run.status.is_open() && run.expires_at <= now);
    let late: Vec<_> = late.map(|run| run.id.clone()).collect();
    if !late.is_empty() {
        return Verdict::TimedOut(late);
    }
    let hooks = story.rules.strategy.hooks();
    if runs().any(|run| refuses(run, hooks)) {
        return Verdict::GiveUp(&Trouble::HOOK);
    }
    if runs().any(|run| run.status.is_open()) {
        return Verdict::Stay;
    }
    if is_over(pass, lifecycle, &story.rules.strategy) {
        Verdict::Next
    } else if lifecycle.stage != Stage::BakeTime && lifecycle.since.plus_millis(STAGE_LIMIT_MILLIS) <= now {
        Verdict::GiveUp(&Trouble::STAGE)
    } else {
        Verdict::Stay
    }
}

/// Whether the deployment must not go on for it.
fn refuses(run: &HookRun, hooks: &[LifecycleHook]) -> bool {
    match run.status {
        HookStatus::AwaitingAction | HookStatus::InProgress | HookStatus::Succeeded => false,
        HookStatus::Failed => true,
        HookStatus::TimedOut => match hooks.get(run.hook).map(|hook| hook.on_timeout) {
            Some(HookAction::Continue) => false,
            Some(HookAction::RollBack) | None => true,
        },
    }
}

/// Whether what the stage itself is for is done.
fn is_over(pass: &Pass<'_>, lifecycle: &Lifecycle, strategy: &DeploymentStrategy) -> bool {
    match lifecycle.stage {
        Stage::ReconcileService => blue(pass).is_none_or(|blue| {
            let id = blue.to_string();
            let all = pass.roll.members.iter().map(|m| m.task).chain(pass.roll.leaving.iter().copied());
            all.into_iter().all(|task| task.started_by.as_deref() == Some(id.as_str()))
        }),
        Stage::ScaleUp => {
            let good = pass.roll.count(Member::good);
            let desired = pass.service().desired_count;
            good == desired && pass.roll.count(|m| m.good() && m.healthy()) == desired
        }
        Stage::BakeTime => baked_at(lifecycle, strategy) <= pass.now(),
        Stage::PreScaleUp
        | Stage::PostScaleUp
        | Stage::TestTrafficShift
        | Stage::PostTestTrafficShift
        | Stage::PreProductionTrafficShift
        | Stage::ProductionTrafficShift
        | Stage::PostProductionTrafficShift
        | Stage::CleanUp => true,
    }
}

fn baked_at(lifecycle: &Lifecycle, strategy: &DeploymentStrategy) -> Timestamp {
    let minutes = match strategy {
        DeploymentStrategy::Rolling => 0,
        DeploymentStrategy::BlueGreen(how) => how.bake_minutes,
    };
    lifecycle.since.plus_millis(i64::from(minutes) * MINUTE_MILLIS)
}

/// The old revision: the one to go back to.
fn blue(pass: &Pass<'_>) -> Option<DeploymentId> {
    let service = pass.service();
    deploy::rollback_target(service).and_then(|at| service.deployments.get(at)).map(|deployment| deployment.id)
}

fn advance(pass: &mut Pass<'_>) {
    let now = pass.now();
    pass.tell_story(|story| {
        let back = story.rollback.is_some();
        let hooks = story.rules.strategy.hooks();
        let Some(lifecycle) = &mut story.lifecycle else { return };
        let next = if back {
            next_back(hooks, lifecycle.stage)
        } else {
            next_forth(hooks, lifecycle.stage, !story.sources.is_empty())
        };
        enter(lifecycle, hooks, next, back, now);
    });
}

/// The stage after that one. Where nothing ran before, there is nothing that could be gone back to while it bakes.
fn next_forth(hooks: &[LifecycleHook], stage: Stage, replaces: bool) -> Stage {
    let after = Stage::ALL.into_iter().filter(|next| *next > stage);
    let mut after = after.filter(|next| match next {
        Stage::PreProductionTrafficShift => has_hooks(hooks, *next),
        Stage::BakeTime => replaces,
        Stage::ReconcileService
        | Stage::PreScaleUp
        | Stage::ScaleUp
        | Stage::PostScaleUp
        | Stage::TestTrafficShift
        | Stage::PostTestTrafficShift
        | Stage::ProductionTrafficShift
        | Stage::PostProductionTrafficShift
        | Stage::CleanUp => true,
    });
    after.next().unwrap_or(Stage::CleanUp)
}

/// The stage after that one on a way back.
fn next_back(hooks: &[LifecycleHook], stage: Stage) -> Stage {
    let before = Stage::ALL.into_iter().rev().filter(|next| *next < stage && next.shifts_traffic());
    before.into_iter().find(|next| stage != Stage::CleanUp && has_hooks(hooks, *next)).unwrap_or(Stage::CleanUp)
}

fn has_hooks(hooks: &[LifecycleHook], stage: Stage) -> bool {
    hooks.iter().any(|hook| hook.stages.contains(&stage))
}

/// Goes to a stage: the turn of its hooks has come.
fn enter(lifecycle: &mut Lifecycle, hooks: &[LifecycleHook], stage: Stage, back: bool, now: Timestamp) {
    lifecycle.stage = stage;
    lifecycle.since = now;
    let due = hooks.iter().enumerate().filter(|(_, hook)| hook.stages.contains(&stage));
    lifecycle.hooks.extend(due.map(|(number, hook)| {
        let (status, call_at) = match &hook.target {
            HookTarget::Pause => (HookStatus::AwaitingAction, None),
            HookTarget::Http(_) | HookTarget::Task(_) => (HookStatus::InProgress, Some(now)),
        };
        let way = if back { "rollback-" } else { "" };
        HookRun {
            id: format!("{way}{}-{}", stage.as_str().to_lowercase().replace('_', "-"), number + 1).into(),
            hook: number,
            stage,
            back,
            status,
            expires_at: now.plus_millis(i64::from(hook.timeout_minutes) * MINUTE_MILLIS),
            call_at,
            calls_failed: 0,
            details: hook.details.clone(),
            task: None,
        }
    }));
}

/// Keeps what the stage keeps.
fn move_tasks(pass: &mut Pass<'_>, stage: Stage) {
    let primary = pass.primary().id;
    let back = pass.story().is_some_and(|story| story.rollback.is_some());
    match (back, blue(pass), stage) {
        (false, Some(blue), Stage::ReconcileService) => keep_alone(pass, blue),
        (false, blue, Stage::ReconcileService | Stage::PreScaleUp) => keep_each(pass, blue),
        (false, blue, _) => keep_each(pass, blue.into_iter().chain([primary])),
        // What is gone back from is not mended any more.
        (true, _, _) => keep_each(pass, [primary]),
    }
    pass.roll.regard(primary);
}

/// Keeps that deployment; what is of others goes as it does when a rolling deployment replaces it.
fn keep_alone(pass: &mut Pass<'_>, id: DeploymentId) {
    pass.roll.regard(id);
    pass.side = Some(id);
    replica::keep(pass);
    pass.side = None;
}

/// Keeps each of those deployments for itself; others' tasks stay as they are.
fn keep_each(pass: &mut Pass<'_>, sides: impl IntoIterator<Item = DeploymentId>) {
    let mut others = std::mem::take(&mut pass.roll.members);
    let mut kept = Vec::with_capacity(others.len());
    for id in sides {
        let text = id.to_string();
        let (own, rest): (Vec<_>, _) =
            others.into_iter().partition(|m| m.task.started_by.as_deref() == Some(text.as_str()));
        others = rest;
        pass.roll.members = own.into_iter().map(|m| Member { primary: true, ..m }).collect();
        pass.side = Some(id);
        replica::keep(pass);
        kept.append(&mut pass.roll.members);
    }
    pass.side = None;
    kept.append(&mut others);
    pass.roll.members = kept;
}

fn say_what_it_waits_for(pass: &mut Pass<'_>) {
    let Some(lifecycle) = lifecycle(pass).cloned() else { return };
    let stage = lifecycle.stage;
    let open: Vec<_> = lifecycle.hooks.iter().filter(|run| run.status.is_open()).collect();
    for run in &open {
        pass.hold(Hold::LifecycleHook { id: run.id.clone(), stage, until: run.expires_at });
        pass.look_at(run.expires_at);
    }
    let Some(strategy) = pass.story().map(|story| story.rules.strategy.clone()) else { return };
    if stage == Stage::BakeTime {
        let until = baked_at(&lifecycle, &strategy);
        pass.hold(Hold::Baking { until });
        pass.look_at(until);
    } else if open.is_empty() {
        // A hook may take longer than a stage may by itself.
        pass.look_at(lifecycle.since.plus_millis(STAGE_LIMIT_MILLIS));
    }
}

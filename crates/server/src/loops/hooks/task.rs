//! Lifecycle hooks whose targets are tasks: starts them, hears what they exited with, and stops those whose turn is over.
//!
//! What is to be done is `scheduler::service::hook_task`'s to say. A task is started by the same placement as a service's own and in
//! one commit with the turn's record, which names it from then on: a server that dies before it has started none, one that dies after
//! it finds it. So no turn ever has two.

use super::{Due, Said, TRIES, ask, change, open, write_down};
use crate::{
    api::ecs::spot,
    context::Context,
    loops::services::launch::{HookTask, launch_hook},
};
use model::{HookRun, HookTarget, ServiceArn, ServiceDeploymentId, Stop, StopCode, TaskArn, Timestamp};
use scheduler::service::{
    events,
    hook_task::{Step, step},
};
use state::{Command, CommitError, Rejected, ServiceRow, Snapshot};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The variable in which the containers of a hook's task find what a target of another kind is sent.
const VARIABLE: &str = "LONGSHORE_LIFECYCLE_HOOK";
/// Until a task that found no place looks for one again. Ours: what becomes free is seen soon, at the price of one placement.
const AGAIN_MILLIS: i64 = 2_000;
/// Why the task of a turn stops that is over.
const OVER: &str = "The lifecycle hook of the task is over.";

/// A turn, by what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) service: ServiceArn,
    pub(super) story: ServiceDeploymentId,
    pub(super) hook: Arc<str>,
}

impl Of {
    fn run<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a HookRun> {
        let lifecycle = snapshot.service(&self.service)?.deployment(&self.story)?.lifecycle.as_ref()?;
        lifecycle.hooks.iter().find(|run| run.id == self.hook)
    }

    /// Whether an answer to it would be heard.
    fn is_open(&self, snapshot: &Snapshot) -> bool {
        snapshot.service(&self.service).and_then(|row| open(row)).is_some_and(|story| story.arn.id == self.story)
    }
}

/// The tasks of hooks whose end is waited for, and the turns they are of.
pub(super) type Awaited = BTreeMap<TaskArn, Of>;

/// Finds the tasks of a service's hooks, also those of turns that are over: a deployment may have been overtaken meanwhile.
pub(super) fn note(awaited: &mut Awaited, row: &ServiceRow) {
    for story in row.deployments() {
        for run in story.lifecycle.iter().flat_map(|lifecycle| &lifecycle.hooks) {
            if let Some(task) = &run.task {
                let (service, story) = (row.service.arn.clone(), story.arn.id.clone());
                awaited.insert(task.clone(), Of { service, story, hook: run.id.clone() });
            }
        }
    }
}

impl Due {
    /// A task about which something is to be done, of a service that is not `busy`. Those about which nothing ever will be are forgotten.
    pub(super) fn next_task(&mut self, snapshot: &Snapshot, busy: impl Fn(&ServiceArn) -> bool) -> Option<Answer> {
        let next = |task: &TaskArn, of: &Of| step(of.run(snapshot), known(snapshot, task));
        self.awaited.retain(|task, of| next(task, of) != Step::Over);
        let open = self.awaited.iter().filter(|(_, of)| !busy(&of.service));
        let mut due = open.map(|(task, of)| (task, of, next(task, of)));
        let (task, of, step) = due.find(|(_, of, step)| match step {
            Step::Stop => true,
            // Of a service that goes nothing is written down any more; its turns are ended with it.
            Step::Succeeded | Step::Failed(_) => of.is_open(snapshot),
            Step::Start | Step::Wait | Step::Over => false,
        })?;
        Some(Answer { of: of.clone(), task: task.clone(), step })
    }
}

fn known<'a>(snapshot: &'a Snapshot, task: &TaskArn) -> Option<&'a model::Task> {
    snapshot.task(task).map(|task| &**task)
}

/// What a task has come to.
pub(super) struct Answer {
    pub(super) of: Of,
    task: TaskArn,
    step: Step,
}

impl Answer {
    /// Writes it down, or stops the task. Hands the service back.
    pub(super) async fn take(self, ctx: &Context, now: Timestamp) -> (ServiceArn, Option<Timestamp>) {
        let Self { of, task, step } = self;
        match step {
            Step::Succeeded => write_down(ctx, &of, &Said::Succeeded, now).await,
            Step::Failed(why) => write_down(ctx, &of, &Said::Failed(why), now).await,
            Step::Stop => {
                let why = Stop { code: StopCode::ServiceSchedulerInitiated, reason: OVER.into() };
                if let Err(error) = ctx.store.commit_in_turn(Command::StopTask { arn: task, why, at: now }).await {
                    tracing::warn!(service = %of.service, %error, "the task of a lifecycle hook cannot be stopped");
                    ctx.effects.sleep(Duration::from_secs(1)).await;
                }
            }
            Step::Start | Step::Wait | Step::Over => {}
        }
        (of.service, None)
    }
}

/// Starts the task of a turn. Hands the service back, and when to look for a place again.
pub(super) async fn start(ctx: &Context, of: Of, now: Timestamp) -> (ServiceArn, Option<Timestamp>) {
    for _ in 0..TRIES {
        match try_to_start(ctx, &of, now).await {
            Tried::Overtaken => {}
            Tried::Done => return (of.service, None),
            Tried::NoPlace(again) => return (of.service, Some(again)),
            Tried::Cannot(why) => {
                write_down(ctx, &of, &Said::Failed(why), now).await;
                return (of.service, None);
            }
        }
    }
    (of.service, Some(now.plus_millis(AGAIN_MILLIS)))
}

enum Tried {
    Done,
    /// Something has changed meanwhile.
    Overtaken,
    /// When to look again.
    NoPlace(Timestamp),
    /// It never will; why, as a sentence.
    Cannot(String),
}

async fn try_to_start(ctx: &Context, of: &Of, now: Timestamp) -> Tried {
    let snapshot = ctx.store.snapshot();
    let found = snapshot.service(&of.service).and_then(|row| Some((row, open(row)?)));
    let Some((row, story)) = found.filter(|(_, story)| story.arn.id == of.story) else { return Tried::Done };
    let Some(run) = of.run(&snapshot).filter(|run| step(Some(run), None) == Step::Start) else { return Tried::Done };
    let target = story.rules.strategy.hooks().get(run.hook).map(|hook| &hook.target);
    let Some(HookTarget::Task(definition)) = target else { return Tried::Done };
    let Some(definition) = snapshot.task_definition(definition) else {
        return Tried::Cannot("its task definition is no more.".to_owned());
    };
    // What is gone back from may be gone already; what is gone back to runs as the service does.
    let revision = row.service.deployment(story.target.id).or_else(|| row.service.primary());
    let Some(spec) = revision.map(|revision| revision.spec.clone()) else { return Tried::Done };
    let told = ask(&of.service, story, run).to_string();
    let started_by = format!("{}/{}", of.story, of.hook).into();
    let hook = HookTask { definition, started_by, told: (VARIABLE, &told) };
    let launched = match launch_hook(ctx, &snapshot, &row.service, &spec, hook) {
        Ok(launched) => launched,
        Err(why) => return Tried::Cannot(format!("its task cannot run: {}.", why.trim_end_matches('.'))),
    };
    let mut events = launched.events;
    let fresh = |at: Timestamp| now.millis_since(at) < events::DUPLICATES_SUPPRESSED_MILLIS;
    events.retain(|told| !row.events().any(|event| *event.message == *told.message && fresh(event.at)));
    let mut story = story.clone();
    let no_place = launched.tasks.is_empty();
    if let Some(task) = launched.tasks.first() {
        let mut runs = story.lifecycle.iter_mut().flat_map(|lifecycle| &mut lifecycle.hooks);
        if let Some(run) = runs.find(|run| run.id == of.hook) {
            (run.task, run.call_at) = (Some(task.arn.clone()), None);
        }
        story.updated_at = now;
        events = vec![events::hook_runs(&of.service.name, story.target.id, &of.hook, &task.arn.id)];
    }
    if !no_place || !events.is_empty() {
        let mut change = change(ctx, row, story, events, now);
        change.start = launched.tasks;
        match ctx.store.commit_in_turn(Command::ChangeService(Box::new(change))).await {
            Ok(_) => {}
            Err(CommitError::Rejected(
                Rejected::ServiceChanged(_)
                | Rejected::NoRoom { .. }
                | Rejected::AddressTaken(_)
                | Rejected::NetworkChanged(_)
                | Rejected::InstanceNotFound(_)
                | Rejected::InstanceInactive(_)
                | Rejected::InstanceDraining(_),
            )) => return Tried::Overtaken,
            Err(error) => {
                tracing::warn!(service = %of.service, hook = %of.hook, %error, "the task of a lifecycle hook waits");
                return Tried::NoPlace(now.plus_millis(AGAIN_MILLIS));
            }
        }
    }
    spot::interrupt(ctx, launched.victims).await;
    match no_place {
        false => Tried::Done,
        true => Tried::NoPlace(now.plus_millis(AGAIN_MILLIS)),
    }
}

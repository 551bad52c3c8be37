//! Asks the targets of lifecycle hooks whether a deployment may go on.
//!
//! The planner writes down whose turn has come (`scheduler::service::blue_green`); here it is asked, and what it says is
//! written down. A server that dies in between asks again: at least once, never half. What the answer means for the
//! deployment is for the planner. Targets that are tasks are in `task`.

mod task;

use super::services::clock::SteadyClock;
use crate::{context::Context, outgoing::Outgoing};
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use http::StatusCode;
use model::{
    HookRun, HookStatus, HookTarget, Service, ServiceArn, ServiceDeployment, ServiceEvent, ServiceRevisionArn,
    Timestamp,
};
use scheduler::service::{Told, events};
use serde::Deserialize;
use serde_json::{Value, json};
use state::{Basis, ClusterRow, Command, CommitError, Rejected, ServiceChange, ServiceRow, Snapshot, Topic};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use task::{Awaited, Of};

/// Targets that are asked side by side; a deployment waits for its turn no longer than the slowest of so many takes.
const SIDE_BY_SIDE: usize = 64;
/// Longest a target may take over one answer: what takes longer says IN_PROGRESS.
const PATIENCE: Duration = Duration::from_secs(30);
/// When a target is asked again that says IN_PROGRESS and no more. Source: "Lifecycle hooks for Amazon ECS service
/// deployments" in the developer guide.
const AGAIN_SECONDS: i64 = 30;
/// Longest delay that a target may ask for, in seconds: a day.
const MAX_DELAY_SECONDS: i64 = 24 * 60 * 60;
/// Calls in a row that may not reach the target. With the pauses between them they last half a minute, in which what restarts is back.
const MAX_FAILED_CALLS: u32 = 6;
/// The pause after the first call that did not reach the target; it doubles with each.
const FIRST_PAUSE_MILLIS: i64 = 1_000;
/// Bytes of JSON that a target may give itself for its next turn: they are kept with the deployment.
const MAX_DETAILS: usize = 4 << 10;
/// The longest sleep: nothing should need it, and what a defect forgot is found by it.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How often an answer is written down anew when the service changed under it.
const TRIES: usize = 32;

pub(super) async fn run(ctx: Context) {
    let http = match Outgoing::open(None, &ctx.effects) {
        Ok(http) => http,
        Err(error) => return tracing::error!(%error, "lifecycle hooks cannot be called until this is mended"),
    };
    let mut changes = ctx.store.subscribe(Topic::All);
    let stop = ctx.effects.shutdown().clone();
    let mut clock = SteadyClock::default();
    let mut due = Due::default();
    let mut calls = FuturesUnordered::new();
    let mut calling = BTreeSet::new();
    // When a service's hook is looked at again that found no place for its task.
    let mut later = BTreeMap::new();
    loop {
        let now = clock.now(&ctx.effects);
        let snapshot = ctx.store.snapshot();
        due.look(snapshot.clone());
        let mut next = Duration::MAX;
        for (arn, at) in &due.at {
            let wait = later.get(arn).map_or(*at, |later| (*at).max(*later)).millis_since(now);
            if calling.contains(arn) || calls.len() >= SIDE_BY_SIDE {
                continue;
            }
            if wait > 0 {
                next = next.min(Duration::from_millis(wait.unsigned_abs()));
            } else if let Some(turn) = Turn::of(&snapshot, arn, now) {
                calling.insert(arn.clone());
                calls.push(turn.take(&ctx, &http, now).boxed());
            }
        }
        while calls.len() < SIDE_BY_SIDE {
            let Some(answer) = due.next_task(&snapshot, |service| calling.contains(service)) else { break };
            calling.insert(answer.of.service.clone());
            calls.push(answer.take(&ctx, now).boxed());
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            Some((arn, again)) = calls.next() => {
                calling.remove(&arn);
                match again {
                    Some(at) => drop(later.insert(arn, at)),
                    None => drop(later.remove(&arn)),
                }
            }
            () = ctx.effects.sleep(next.min(LONGEST_SLEEP)) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The services with a hook whose target is to be asked, and when.
#[derive(Default)]
struct Due {
    seen: Option<Arc<Snapshot>>,
    at: BTreeMap<ServiceArn, Timestamp>,
    /// Tasks of hooks that have yet to end.
    awaited: Awaited,
}

impl Due {
    /// Finds what has changed since the last look.
    fn look(&mut self, snapshot: Arc<Snapshot>) {
        for scope in snapshot.scopes() {
            for cluster in snapshot.clusters(scope, None) {
                match self.seen.as_ref().and_then(|seen| seen.cluster(&cluster.cluster.arn)) {
                    Some(before) if std::ptr::eq::<ClusterRow>(before, cluster) => {}
                    Some(before) => note(&mut self.at, &mut self.awaited, cluster.changes_since(before).services()),
                    None => note(&mut self.at, &mut self.awaited, cluster.services()),
                }
            }
        }
        self.at.retain(|arn, _| snapshot.service(arn).is_some());
        self.seen = Some(snapshot);
    }
}

fn note<'a>(
    at: &mut BTreeMap<ServiceArn, Timestamp>,
    awaited: &mut Awaited,
    rows: impl Iterator<Item = &'a Arc<ServiceRow>>,
) {
    for row in rows {
        task::note(awaited, row);
        match open(row).and_then(|story| due_runs(story).filter_map(|run| run.call_at).min()) {
            Some(when) => drop(at.insert(row.service.arn.clone(), when)),
            None => drop(at.remove(&row.service.arn)),
        }
    }
}

/// The story of the service's primary deployment while it goes on.
fn open(row: &ServiceRow) -> Option<&ServiceDeployment> {
    let primary = row.service.primary().filter(|_| row.service.is_active())?;
    row.deployment(&primary.service_deployment).map(|story| &**story).filter(|story| !story.status.is_over())
}

/// The hooks whose targets are to be asked, or started.
fn due_runs(story: &ServiceDeployment) -> impl Iterator<Item = &HookRun> {
    let runs = story.lifecycle.iter().flat_map(|lifecycle| &lifecycle.hooks);
    runs.filter(|run| run.status.is_open() && run.call_at.is_some())
}

/// One turn of a hook.
struct Turn {
    of: Of,
    target: HookTarget,
    ask: Value,
}

impl Turn {
    /// The first that is due; a task that finds no place keeps nobody else waiting.
    fn of(snapshot: &Snapshot, arn: &ServiceArn, now: Timestamp) -> Option<Self> {
        let story = open(snapshot.service(arn)?)?;
        let target = |run: &HookRun| story.rules.strategy.hooks().get(run.hook).map(|hook| &hook.target);
        let due = due_runs(story).filter(|run| run.call_at.is_some_and(|at| at <= now));
        let run = due.min_by_key(|run| (matches!(target(run), Some(HookTarget::Task(_))), run.call_at))?;
        let of = Of { service: arn.clone(), story: story.arn.id.clone(), hook: run.id.clone() };
        Some(Self { of, target: target(run)?.clone(), ask: ask(arn, story, run) })
    }

    /// Asks, and writes down what is said. Hands the service back, and when to try again what is written down nowhere.
    async fn take(self, ctx: &Context, http: &Outgoing, now: Timestamp) -> (ServiceArn, Option<Timestamp>) {
        let url = match self.target {
            HookTarget::Task(_) => return task::start(ctx, self.of, now).await,
            HookTarget::Pause => return (self.of.service, None),
            HookTarget::Http(url) => url,
        };
        let said = match url.parse() {
            Ok(url) => hear(http.post(&url, None, self.ask.to_string(), PATIENCE).await),
            Err(_) => Said::Failed("its target is no URL.".to_owned()),
        };
        write_down(ctx, &self.of, &said, now).await;
        (self.of.service, None)
    }
}

/// What the target is told: as AWS tells a Lambda function, less the shares of traffic that there are none of.
fn ask(arn: &ServiceArn, story: &ServiceDeployment, run: &HookRun) -> Value {
    let target = ServiceRevisionArn { service: arn.clone(), id: story.target.id };
    let mut ask = json!({
        "executionId": format!("{}/{}", story.arn.id, run.id),
        "lifecycleStage": run.stage.as_str(),
        "resourceArn": story.arn.to_string(),
        "executionDetails": {
            "serviceArn": arn.to_string(),
            "targetServiceRevisionArn": target.to_string(),
            "testTrafficWeights": {},
            "productionTrafficWeights": {},
        },
        "rollback": run.back,
    });
    let details = run.details.as_deref().and_then(|details| serde_json::from_str::<Value>(details).ok());
    if let (Some(details), Value::Object(ask)) = (details, &mut ask) {
        ask.insert("hookDetails".to_owned(), details);
    }
    ask
}

/// What a target said.
#[derive(Debug, PartialEq)]
enum Said {
    Succeeded,
    /// It refuses, or says nothing that could be understood; why, as a sentence.
    Failed(String),
    /// Ask again after so many seconds, with those details if there are new ones.
    Later(i64, Option<Value>),
    /// It was not reached; why.
    Unreached(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hooked {
    hook_status: String,
    call_back_delay: Option<f64>,
    hook_details: Option<Value>,
}

fn hear(answer: Result<crate::outgoing::Answer, String>) -> Said {
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => return Said::Unreached(why),
    };
    match answer.status {
        // What stands before a target that is not there says so.
        StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS => return Said::Unreached(format!("it answers {}", answer.status)),
        status if !status.is_success() => return Said::Failed(format!("its target answers {status}.")),
        _ => {}
    }
    let hooked = answer.body.and_then(|body| serde_json::from_slice::<Hooked>(&body).ok());
    let Some(hooked) = hooked else {
        return Said::Failed("its target answers no JSON document with a hookStatus.".to_owned());
    };
    let details = hooked.hook_details.filter(|details| !details.is_null());
    match hooked.hook_status.as_str() {
        "SUCCEEDED" => Said::Succeeded,
        "FAILED" => Said::Failed("its target says FAILED.".to_owned()),
        "IN_PROGRESS" if details.as_ref().is_some_and(|details| details.to_string().len() > MAX_DETAILS) => {
            Said::Failed(format!("the hookDetails of its target are longer than {MAX_DETAILS} bytes."))
        }
        "IN_PROGRESS" => {
            #[allow(clippy::cast_possible_truncation)] // Saturates, and is bounded below.
            let delay = hooked.call_back_delay.map_or(AGAIN_SECONDS, |seconds| seconds.ceil() as i64);
            Said::Later(delay.clamp(1, MAX_DELAY_SECONDS), details)
        }
        _ => Said::Failed("its target answers a hookStatus that is none.".to_owned()),
    }
}

async fn write_down(ctx: &Context, of: &Of, said: &Said, now: Timestamp) {
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        let found = snapshot.service(&of.service).and_then(|row| Some((row, open(row)?)));
        // Another deployment has taken over, with turns of the same names.
        let Some((row, story)) = found.filter(|(_, story)| story.arn.id == of.story) else { return };
        let mut story = story.clone();
        let id = story.target.id;
        let mut runs = story.lifecycle.iter_mut().flat_map(|lifecycle| &mut lifecycle.hooks);
        // Its time was over before its target answered, or somebody ended the deployment.
        let Some(run) = runs.find(|run| run.id == of.hook && run.status.is_open()) else { return };
        let told = note_answer(run, said, now).map(|why| events::hook_failed(&of.service.name, id, &of.hook, &why));
        story.updated_at = now;
        let change = change(ctx, row, story, told.into_iter().collect(), now);
        match ctx.store.commit_in_turn(Command::ChangeService(Box::new(change))).await {
            Err(CommitError::Rejected(Rejected::ServiceChanged(_))) => {}
            Ok(_) => return,
            Err(error) => {
                // Asked again with the next look: nothing was written down.
                tracing::warn!(service = %of.service, hook = %of.hook, %error, "what a lifecycle hook said cannot be kept");
                return ctx.effects.sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// What becomes of a service's story, and nothing else of the service.
fn change(
    ctx: &Context,
    row: &ServiceRow,
    story: ServiceDeployment,
    events: Vec<Told>,
    now: Timestamp,
) -> ServiceChange {
    let event = |told: Told| ServiceEvent {
        id: ctx.effects.uuid().into(),
        at: now,
        name: told.name,
        message: told.message.into(),
    };
    ServiceChange {
        on: Basis::Version(row.service.version),
        service: Service::clone(&row.service),
        revisions: Vec::new(),
        deployments: vec![story],
        events: events.into_iter().map(event).collect(),
        start: Vec::new(),
        stop: Vec::new(),
        at: now,
    }
}

/// What an answer makes of a turn. Why it failed, if it did.
fn note_answer(run: &mut HookRun, said: &Said, now: Timestamp) -> Option<String> {
    let again = |millis: i64| Some(now.plus_millis(millis));
    match said {
        Said::Succeeded => {
            run.status = HookStatus::Succeeded;
            run.call_at = None;
        }
        Said::Later(seconds, details) => {
            run.call_at = again(seconds.saturating_mul(1_000));
            run.calls_failed = 0;
            if let Some(details) = details {
                run.details = Some(details.to_string().into());
            }
        }
        Said::Unreached(_) if run.calls_failed + 1 < MAX_FAILED_CALLS => {
            run.call_at = again(FIRST_PAUSE_MILLIS << run.calls_failed);
            run.calls_failed += 1;
        }
        Said::Failed(why) => return fail(run, why.clone()),
        Said::Unreached(why) => return fail(run, format!("its target was not reached: {why}.")),
    }
    None
}

fn fail(run: &mut HookRun, why: String) -> Option<String> {
    run.status = HookStatus::Failed;
    run.call_at = None;
    Some(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outgoing::Answer;
    use model::LifecycleStage;

    fn run() -> HookRun {
        HookRun {
            id: "post-scale-up-1".into(),
            hook: 0,
            stage: LifecycleStage::PostScaleUp,
            back: false,
            status: HookStatus::InProgress,
            expires_at: Timestamp(1_000_000),
            call_at: Some(Timestamp(0)),
            calls_failed: 0,
            details: None,
            task: None,
        }
    }

    #[test]
    fn an_answer_is_understood_or_a_failure() {
        for (status, body, want) in [
            (200, r#"{"hookStatus":"SUCCEEDED"}"#, Some(Said::Succeeded)),
            (201, r#"{"hookStatus":"SUCCEEDED","more":1}"#, Some(Said::Succeeded)),
            (200, r#"{"hookStatus":"IN_PROGRESS"}"#, Some(Said::Later(30, None))),
            (
                200,
                r#"{"hookStatus":"IN_PROGRESS","callBackDelay":1.5,"hookDetails":{"n":1}}"#,
                Some(Said::Later(2, Some(json!({"n": 1})))),
            ),
            (200, r#"{"hookStatus":"IN_PROGRESS","callBackDelay":-1e300}"#, Some(Said::Later(1, None))),
            (200, r#"{"hookStatus":"IN_PROGRESS","callBackDelay":1e300}"#, Some(Said::Later(86_400, None))),
            (503, "", Some(Said::Unreached("it answers 503 Service Unavailable".into()))),
            (200, r#"{"hookStatus":"FAILED"}"#, None),
            (200, r#"{"hookStatus":"succeeded"}"#, None),
            (200, "{}", None),
            (200, "", None),
            (302, r#"{"hookStatus":"SUCCEEDED"}"#, None),
            (500, r#"{"hookStatus":"SUCCEEDED"}"#, None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let said = hear(Ok(Answer { status, body: Some(body.into()) }));
            match want {
                Some(want) => assert_eq!(said, want, "{status} {body}"),
                None => assert!(matches!(said, Said::Failed(_)), "{status} {body}: {said:?}"),
            }
        }
    }

    #[test]
    fn a_target_that_is_not_reached_is_asked_again_for_a_while() {
        let (mut run, mut now) = (run(), Timestamp(0));
        let mut pauses = Vec::new();
        loop {
            let why = note_answer(&mut run, &Said::Unreached("refused".into()), now);
            if let Some(why) = why {
                assert_eq!(why, "its target was not reached: refused.");
                break;
            }
            pauses.push(run.call_at.unwrap().millis_since(now) / 1_000);
            now = run.call_at.unwrap();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16]);
        assert_eq!((run.status, run.call_at), (HookStatus::Failed, None));
    }

    #[test]
    fn what_a_target_keeps_for_itself_is_given_back_to_it() {
        let mut run = run();
        assert_eq!(note_answer(&mut run, &Said::Later(5, Some(json!({"job": 7}))), Timestamp(100)), None);
        assert_eq!((run.call_at, run.details.as_deref()), (Some(Timestamp(5_100)), Some(r#"{"job":7}"#)));
        assert_eq!(note_answer(&mut run, &Said::Later(5, None), Timestamp(5_100)), None);
        assert_eq!(run.details.as_deref(), Some(r#"{"job":7}"#));
    }
}

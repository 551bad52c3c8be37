//! Waiting until a service is stable, as the original understands it: one deployment, and as many tasks as are desired.
//!
//! The wait ends badly when the number of running tasks stands still for too long, not when all of it takes long: what moves
//! is well.

use super::{Service, short};
use crate::{
    advice::Advice,
    cli::{
        config::Settings,
        progress::Progress,
        say,
        wait::{self, Look},
    },
};
use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use shapes::ecs;
use std::{
    cell::RefCell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// AWS: events of the last seconds before the command are shown too.
const EVENTS_BEFORE: i64 = 10;

/// A wait that began with a command.
pub(super) struct Waiting {
    since: Timestamp,
}

impl Waiting {
    pub(super) fn now() -> Self {
        Self { since: Timestamp::now() }
    }
}

/// What was seen of a service so far.
struct Watch {
    since: Timestamp,
    desired: i32,
    running: i32,
    changed: Instant,
    /// The deployment that was the newest when the wait began.
    ours: Option<String>,
    events: BTreeSet<String>,
    progress: Progress,
}

impl Service<'_> {
    /// Waits until it is stable. Without patience it does not wait.
    pub(super) async fn wait(&self, waiting: Waiting, patience: Option<Duration>) -> Result<()> {
        let Some(patience) = patience else {
            if say::is_ecs_cli() {
                say::warn("Timeout was specified as zero. Your service deployment may not have completed yet.", &[]);
            }
            return Ok(());
        };
        let watch = RefCell::new(Watch::new(waiting.since));
        let look = || async {
            let known = self.described().await?.map_err(|reason| self.not_described(&reason))?;
            watch.borrow_mut().see(&known, patience).map_err(|error| self.advise_on_waiting(error))
        };
        wait::until_over(&format!("Service {}", self.name), None, look, || ()).await?;
        watch.into_inner().tell("ECS Service has reached a stable state", &self.name, say::info);
        Ok(())
    }

    fn advise_on_waiting(&self, error: anyhow::Error) -> anyhow::Error {
        let Settings { cluster, client, .. } = self.project.settings;
        let look = client.there(&format!("longshore service status {} --cluster {cluster}", self.name));
        error.context(Advice::new(format!(
            "See what holds it up: {look}. It goes on meanwhile; --timeout gives it longer"
        )))
    }
}

impl Watch {
    #[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
    fn new(since: Timestamp) -> Self {
        Self {
            since,
            desired: 0,
            running: 0,
            changed: Instant::now(),
            ours: None,
            events: BTreeSet::new(),
            progress: Progress::since(since),
        }
    }

    /// One look.
    #[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
    fn see(&mut self, known: &ecs::Service, patience: Duration) -> Result<Look> {
        let running = known.running_count.unwrap_or_default();
        self.desired = known.desired_count.unwrap_or_default();
        if running != self.running {
            (self.running, self.changed) = (running, Instant::now());
            self.tell("Service status", known.service_name.as_deref().unwrap_or_default(), say::original);
        }
        self.tell_events(known);
        let deployments = known.deployments.as_deref().unwrap_or_default();
        let deleted = known.status.as_deref() == Some("INACTIVE");
        let over = self.desired == running && (deployments.len() == 1 || deleted);
        // AWS: knows nothing of deployments that fail, and waits on.
        if !say::is_ecs_cli() {
            self.must_not_have_failed(deployments)?;
        }
        if !over && self.changed.elapsed() > patience {
            let minutes = patience.as_secs_f64() / 60.0;
            return Err(anyhow!(
                "Deployment has not completed: Running count has not changed for {minutes:.2} minutes"
            ));
        }
        Ok(Look { over, ..self.progress.look(known) })
    }

    fn must_not_have_failed(&mut self, deployments: &[ecs::Deployment]) -> Result<()> {
        let Some(primary) = deployments.iter().find(|d| d.status.as_deref() == Some("PRIMARY")) else { return Ok(()) };
        let ours = self.ours.get_or_insert_with(|| primary.id.clone().unwrap_or_default());
        let own = deployments.iter().find(|d| d.id.as_ref() == Some(ours));
        let failed = own.filter(|d| d.rollout_state.as_deref() == Some("FAILED"));
        if failed.is_none() && primary.id.as_ref() == Some(ours) {
            return Ok(());
        }
        // Either it failed, or another took its place, which a circuit breaker does too.
        let told = failed.unwrap_or(primary);
        let reason = told.rollout_state_reason.clone().unwrap_or_default();
        let now = short(primary.task_definition.as_deref().unwrap_or_default());
        Err(anyhow!("{reason}"))
            .with_context(|| format!("The deployment did not last; the service's newest is of {now}"))
    }

    fn tell(&self, message: &str, name: &str, say: fn(&str, &[(&str, &str)])) {
        let (desired, running) = (self.desired.to_string(), self.running.to_string());
        say(message, &[("desiredCount", &desired), ("runningCount", &running), ("serviceName", name)]);
    }

    /// AWS: the oldest first, with the time as Go prints it.
    fn tell_events(&mut self, known: &ecs::Service) {
        for event in known.events.iter().flatten().rev() {
            let at = event.created_at.and_then(|at| Timestamp::from_millisecond(at.as_millis()).ok());
            let Some((id, at)) = event.id.clone().zip(at) else { continue };
            if self.events.insert(id) && at.as_second() > self.since.as_second() - EVENTS_BEFORE {
                let at = at.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string();
                say::original(event.message.as_deref().unwrap_or_default(), &[("timestamp", &at)]);
            }
        }
    }
}

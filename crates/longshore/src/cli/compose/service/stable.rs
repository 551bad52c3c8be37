//! Waiting until a service is stable, as the original understands it: one deployment, and as many tasks as are desired.
//!
//! The wait ends badly when the number of running tasks stands still for too long, not when all of it takes long: what moves
//! is well.

use super::{Service, short};
use crate::{
    advice::Advice,
    cli::{
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
    running: i32,
    changed: Instant,
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
        wait::until_over(&format!("Service {}", self.name), None, look, || ()).await.map(drop)
    }

    fn advise_on_waiting(&self, error: anyhow::Error) -> anyhow::Error {
        let cluster = &self.project.settings.cluster;
        error.context(Advice::new(format!(
            "See what holds it up: longshore service status {} --cluster {cluster}. It goes on meanwhile; --timeout gives it \
             longer",
            self.name
        )))
    }
}

impl Watch {
    #[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
    fn new(since: Timestamp) -> Self {
        Self { since, running: 0, changed: Instant::now(), events: BTreeSet::new(), progress: Progress::since(since) }
    }

    /// One look.
    #[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
    fn see(&mut self, known: &ecs::Service, patience: Duration) -> Result<Look> {
        let (desired, running) = (known.desired_count.unwrap_or_default(), known.running_count.unwrap_or_default());
        let name = known.service_name.clone().unwrap_or_default();
        let counts =
            [("desiredCount", desired.to_string()), ("runningCount", running.to_string()), ("serviceName", name)];
        let counts = counts.each_ref().map(|(name, fact)| (*name, fact.as_str()));
        if running != self.running {
            (self.running, self.changed) = (running, Instant::now());
            say::original("Service status", &counts);
        }
        self.tell_events(known);
        let deployments = known.deployments.as_deref().unwrap_or_default();
        let deleted = known.status.as_deref() == Some("INACTIVE");
        let over = desired == running && (deployments.len() == 1 || deleted);
        // AWS: knows nothing of deployments that fail, and waits on.
        if let Some(failed) = deployments.iter().find(|d| d.rollout_state.as_deref() == Some("FAILED"))
            && !say::is_ecs_cli()
        {
            let definition = short(failed.task_definition.as_deref().unwrap_or_default());
            let reason = failed.rollout_state_reason.clone().unwrap_or_default();
            return Err(anyhow!("{reason}")).with_context(|| format!("The deployment of {definition} failed"));
        }
        if over {
            say::info("ECS Service has reached a stable state", &counts);
        } else if self.changed.elapsed() > patience {
            let minutes = patience.as_secs_f64() / 60.0;
            return Err(anyhow!(
                "Deployment has not completed: Running count has not changed for {minutes:.2} minutes"
            ));
        }
        Ok(Look { over, ..self.progress.look(known) })
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

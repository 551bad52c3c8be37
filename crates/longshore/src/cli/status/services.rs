//! From what a cluster's services look like to which of them need attention, and what to do about it. Pure.
//!
//! One service is one entry, told by the worst of it; `service status` tells the rest.

use super::{
    facts::{Attention, Cluster, Kind, Level, Services},
    judge::{id, lasting, millis, rfc3339},
};
use crate::cli::service::judge::{Seen, count, has_failed, is_stable};
use jiff::Timestamp;
use shapes::ecs;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// For so long a service may have less than it shall without a word: its tasks are pulled, started and come to be healthy.
const YOUNG_SECONDS: i64 = 120;

/// A service and, where tasks of it lack, those that were looked at.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) service: ecs::Service,
    pub(super) running: Vec<ecs::Task>,
    pub(super) stopped: Vec<ecs::Task>,
}

/// Whether it is there to run tasks.
pub(super) fn is_active(service: &ecs::Service) -> bool {
    service.status.as_deref() == Some("ACTIVE")
}

/// Whether fewer tasks of it run than shall.
pub(super) fn is_short(service: &ecs::Service) -> bool {
    is_active(service) && service.running_count < service.desired_count
}

/// How they stand, counted.
pub(super) fn counts(services: &[Looked]) -> Services {
    let number = |of: fn(&ecs::Service) -> bool| services.iter().filter(|looked| of(&looked.service)).count();
    Services { active: number(is_active), stable: number(is_stable), below_desired: number(is_short) }
}

/// What of them needs attention.
pub(super) fn attention(cluster: &Cluster, services: &[Looked], window: Duration, now: Timestamp) -> Vec<Attention> {
    let active = services.iter().filter(|looked| is_active(&looked.service));
    active.filter_map(|looked| one(cluster, looked, window, now)).collect()
}

/// What is wrong with a service.
struct Trouble {
    level: Level,
    kind: Kind,
    what: String,
    why: Option<String>,
    since: Option<Timestamp>,
}

fn one(cluster: &Cluster, looked: &Looked, window: Duration, now: Timestamp) -> Option<Attention> {
    let service = &looked.service;
    let name = service.service_name.as_deref().unwrap_or_default();
    let seen = Seen {
        cluster: &cluster.name,
        service,
        running: &looked.running,
        stopped: &looked.stopped,
        story: None,
        checked: false,
        now,
    };
    let trouble =
        failed(service).or_else(|| rolled_back(service, window, now)).or_else(|| short(&seen, service, now))?;
    Some(Attention {
        level: trouble.level,
        kind: trouble.kind,
        cluster: Some(cluster.name.clone()),
        what: format!("service {name}: {}", trouble.what),
        why: trouble.why,
        since: trouble.since.map(rfc3339),
        resources: service.service_arn.iter().cloned().collect(),
        next: format!("longshore service status {name} --cluster {}", cluster.name),
    })
}

/// `0 of 3 tasks run`.
fn standing(service: &ecs::Service) -> String {
    let (running, desired) = (count(service.running_count), count(service.desired_count));
    format!("{running} of {desired} tasks {}", if running == 1 { "runs" } else { "run" })
}

/// A deployment that came to its end before its time, and of which something still stands.
fn failed(service: &ecs::Service) -> Option<Trouble> {
    let failed = service.deployments.iter().flatten().find(|deployment| has_failed(deployment))?;
    let definition = id(failed.task_definition.as_deref());
    let is_primary = failed.status.as_deref() == Some("PRIMARY");
    let (level, fate) = if is_primary {
        (Level::Error, "nothing more of it is started")
    } else {
        (Level::Warning, "an earlier one is brought back")
    };
    Some(Trouble {
        level,
        kind: Kind::ServiceDeploymentFailed,
        what: format!("the deployment of {definition} failed and {fate}; {}", standing(service)),
        why: failed.rollout_state_reason.clone(),
        since: millis(failed.updated_at),
    })
}

/// When an event was, and its message.
fn events(service: &ecs::Service) -> impl Iterator<Item = (Timestamp, &str)> {
    service.events.iter().flatten().filter_map(|event| Some((millis(event.created_at)?, event.message.as_deref()?)))
}

fn primary(service: &ecs::Service) -> Option<&ecs::Deployment> {
    service.deployments.iter().flatten().find(|deployment| deployment.status.as_deref() == Some("PRIMARY"))
}

/// In the window a deployment was undone, and nothing else was deployed since.
fn rolled_back(service: &ecs::Service, window: Duration, now: Timestamp) -> Option<Trouble> {
    let (at, _) = events(service).find(|(_, text)| text.contains(" rolling back to deployment "))?;
    let seconds = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
    let newer = primary(service).and_then(|primary| millis(primary.created_at)).is_some_and(|made| made > at);
    if newer || now.as_second() - at.as_second() > seconds {
        return None;
    }
    let why = events(service).skip_while(|(when, _)| *when > at);
    let why = why.filter_map(|(_, text)| text.split_once(" deployment failed: ")).map(|(_, why)| why.to_owned()).next();
    let definition = primary(service).map(|primary| id(primary.task_definition.as_deref())).unwrap_or_default();
    Some(Trouble {
        level: Level::Warning,
        kind: Kind::ServiceDeploymentFailed,
        what: format!("a deployment failed and was rolled back to {definition}; {}", standing(service)),
        why,
        since: Some(at),
    })
}

/// Since when it lacks tasks, as far as it tells: since its deployment was asked for, or the first word after it last had
/// them all.
fn short_since(service: &ecs::Service) -> Option<Timestamp> {
    let steady = |text: &str| text.contains("has reached a steady state");
    let first = events(service).take_while(|(_, text)| !steady(text)).last().map(|(at, _)| at);
    let last_steady = events(service).find(|(_, text)| steady(text)).map(|(at, _)| at);
    let begun = primary(service).and_then(|primary| millis(primary.created_at));
    first.or(last_steady).max(begun).or_else(|| millis(service.created_at))
}

fn short(seen: &Seen<'_>, service: &ecs::Service, now: Timestamp) -> Option<Trouble> {
    if !is_short(service) {
        return None;
    }
    let since = short_since(service);
    let age = since.map(|at| now.as_second() - at.as_second());
    let what = format!("{}{}", standing(service), age.map(|age| format!(" for {}", lasting(age))).unwrap_or_default());
    let none_runs = count(service.running_count) == 0;
    let level = if none_runs { Level::Error } else { Level::Warning };
    // That a task finds no place does not pass with time, so it is told at once.
    if let Some(hold) = seen.not_placed() {
        let why = Some(match hold.why {
            Some(why) => format!("{}: {why}", hold.what),
            None => hold.what,
        });
        return Some(Trouble { level, kind: Kind::ServiceHeldBack, what, why, since });
    }
    if age.is_some_and(|age| age < YOUNG_SECONDS) {
        return None;
    }
    let told = seen.event(&["unable to", "failed to launch", "no longer meets"]).map(bare);
    let kind = if told.is_some() { Kind::ServiceHeldBack } else { Kind::ServiceBelowDesired };
    Some(Trouble { level, kind, what, why: told.or_else(|| doing(service)), since })
}

/// An event without the service's name before it and the advice behind it.
fn bare(event: &str) -> String {
    let text = event.split_once(") ").map_or(event, |(_, text)| text);
    text.split(" For more information").next().unwrap_or(text).trim_end_matches('.').to_owned()
}

/// What is known of the tasks that lack.
fn doing(service: &ecs::Service) -> Option<String> {
    let failed = primary(service).map(|primary| count(primary.failed_tasks)).unwrap_or_default();
    match (failed, count(service.pending_count)) {
        (0, 0) => None,
        (0, 1) => Some("1 task is pending".to_owned()),
        (0, pending) => Some(format!("{pending} tasks are pending")),
        (1, _) => Some("1 task of its deployment failed".to_owned()),
        (failed, _) => Some(format!("{failed} tasks in a row of its deployment failed")),
    }
}

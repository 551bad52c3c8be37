//! From what a service looks like to why it is not stable, and what to do about it. Pure.

use super::{
    facts::{Deployment, Hold, Kind},
    failures::{failed, why},
};
use crate::cli::{
    status::{
        facts::{Kind as TaskKind, Level},
        judge::{id, lasting, millis, remedy, rfc3339},
    },
    wait,
};
use jiff::Timestamp;
use shapes::ecs;
use std::collections::BTreeMap;

/// A task without a health check counts as healthy once it has run for so long. Source: `minimumHealthyPercent`.
const HEALTHY_AFTER_SECONDS: i64 = 40;
/// A task that is pending for longer than this is more than a notice: an image that large is worth a look.
const PENDING_LONG_SECONDS: i64 = 60;
/// A failure that is longer ago holds nothing up any more.
const FAILED_LATELY_SECONDS: i64 = 300;

/// What was looked at.
pub(in crate::cli) struct Seen<'a> {
    pub(in crate::cli) cluster: &'a str,
    pub(in crate::cli) service: &'a ecs::Service,
    /// Its tasks that shall run.
    pub(in crate::cli) running: &'a [ecs::Task],
    /// Its tasks that shall not, as long as they are known.
    pub(in crate::cli) stopped: &'a [ecs::Task],
    /// Its current service deployment, if that is known.
    pub(in crate::cli) story: Option<&'a ecs::ServiceDeployment>,
    /// Whether an essential container of its newest definition has a health check.
    pub(in crate::cli) checked: bool,
    pub(in crate::cli) now: Timestamp,
}

/// Whether the service is where it shall be.
pub(in crate::cli) fn is_stable(service: &ecs::Service) -> bool {
    let deployments = service.deployments.as_deref().unwrap_or_default();
    let completed = deployments.iter().all(|d| d.rollout_state.as_deref().is_none_or(|state| state == "COMPLETED"));
    is_active(service)
        && deployments.len() == 1
        && completed
        && service.running_count == service.desired_count
        && service.pending_count.unwrap_or_default() == 0
}

/// Whether it came to its end before its time. It is neither paused nor paced then: nothing more of it is started.
pub(in crate::cli) fn has_failed(deployment: &ecs::Deployment) -> bool {
    deployment.rollout_state.as_deref() == Some("FAILED")
}

/// The definition of a deployment that came to a good end.
fn completed(deployment: &ecs::Deployment) -> Option<&str> {
    let completed = deployment.rollout_state.as_deref() == Some("COMPLETED");
    completed.then(|| id(deployment.task_definition.as_deref()))
}

/// Whether a task is of that deployment.
pub(super) fn is_of(task: &ecs::Task, deployment: &ecs::Deployment) -> bool {
    match &task.started_by {
        Some(by) => deployment.id.as_ref() == Some(by),
        None => task.task_definition_arn == deployment.task_definition,
    }
}

fn is_active(service: &ecs::Service) -> bool {
    service.status.as_deref() == Some("ACTIVE")
}

pub(in crate::cli) fn count(number: Option<i32>) -> i64 {
    number.unwrap_or_default().into()
}

/// `1 task`, `2 tasks`.
fn tasks(number: usize) -> String {
    if number == 1 { "1 task".to_owned() } else { format!("{number} tasks") }
}

/// One or several: the word that agrees.
fn of<T>(number: usize, one: T, several: T) -> T {
    if number == 1 { one } else { several }
}

/// The deployments as they are shown.
pub(super) fn deployments(service: &ecs::Service) -> Vec<Deployment> {
    let one = |d: &ecs::Deployment| Deployment {
        id: d.id.clone().unwrap_or_default(),
        status: d.status.clone().unwrap_or_default(),
        task_definition: id(d.task_definition.as_deref()).to_owned(),
        desired: count(d.desired_count),
        running: count(d.running_count),
        pending: count(d.pending_count),
        failed: count(d.failed_tasks),
        rollout_state: d.rollout_state.clone(),
        reason: d.rollout_state_reason.clone(),
        created_at: millis(d.created_at).map(rfc3339),
        updated_at: millis(d.updated_at).map(rfc3339),
    };
    service.deployments.iter().flatten().map(one).collect()
}

impl Seen<'_> {
    pub(super) fn name(&self) -> &str {
        self.service.service_name.as_deref().unwrap_or_default()
    }

    pub(super) fn primary(&self) -> Option<&ecs::Deployment> {
        self.service.deployments.iter().flatten().find(|d| d.status.as_deref() == Some("PRIMARY"))
    }

    fn others(&self) -> impl Iterator<Item = &ecs::Deployment> {
        self.service.deployments.iter().flatten().filter(|d| d.status.as_deref() != Some("PRIMARY"))
    }

    fn is_running(task: &&ecs::Task) -> bool {
        task.last_status.as_deref() == Some("RUNNING")
    }

    /// The message of the newest event that has one of the words, unless tasks were started or all was well since.
    pub(in crate::cli) fn event(&self, words: &[&str]) -> Option<&str> {
        let messages = self.service.events.iter().flatten().filter_map(|event| event.message.as_deref());
        let over = |text: &&str| text.contains("has reached a steady state") || text.contains("has started ");
        messages.take_while(|text| !over(text)).find(|text| words.iter().any(|word| text.contains(word)))
    }

    /// Everything that holds it up, the worst first.
    pub(super) fn holds(&self) -> Vec<Hold> {
        let mut holds = Vec::new();
        if is_active(self.service) {
            holds.extend(self.failed_deployments());
            holds.extend(self.failing());
            holds.extend(self.not_placed());
            holds.extend(self.unhealthy());
            holds.extend(self.disconnected());
            let mut waits = self.stage_waits();
            waits.extend(self.waits());
            holds.extend(self.rules(waits.is_empty()));
            holds.extend(self.protected());
            holds.extend(waits);
            holds.extend(self.left());
        } else {
            holds.push(self.deleted());
        }
        if holds.is_empty() && !is_stable(self.service) {
            let what = "the scheduler has not told what it waits for".to_owned();
            let next = Some(format!("look again: longshore service status {} --watch", self.name()));
            holds.push(Hold { level: Level::Notice, kind: Kind::NotYetKnown, what, why: None, next });
        }
        if holds.is_empty() && self.service.desired_count == Some(0) {
            let what = "it is asked to run no tasks".to_owned();
            let next = self.aws("update-service", "--desired-count 1");
            holds.push(Hold { level: Level::Notice, kind: Kind::ScaledToZero, what, why: None, next: Some(next) });
        }
        holds.sort_by_key(|hold| (hold.level, hold.kind));
        holds
    }

    fn aws(&self, operation: &str, rest: &str) -> String {
        format!("aws ecs {operation} --cluster {} --service {} {rest}", self.cluster, self.name())
    }

    fn deleted(&self) -> Hold {
        let left = self.running.len() + self.stopped.iter().filter(|task| task.stopped_at.is_none()).count();
        let what = match (self.service.status.as_deref(), left) {
            (Some("DRAINING"), left) => {
                format!("it is being deleted; {} of it {} left", tasks(left), of(left, "is", "are"))
            }
            (_, _) => "it is deleted".to_owned(),
        };
        Hold { level: Level::Notice, kind: Kind::BeingDeleted, what, why: None, next: None }
    }

    fn failed_deployments(&self) -> Vec<Hold> {
        let mut holds = Vec::new();
        let all = self.service.deployments.iter().flatten();
        for failed in all.filter(|d| has_failed(d)) {
            let definition = id(failed.task_definition.as_deref());
            let is_primary = failed.status.as_deref() == Some("PRIMARY");
            let back = self.primary().filter(|_| !is_primary).map(|d| id(d.task_definition.as_deref()));
            let (level, what) = match back {
                Some(back) => {
                    (Level::Warning, format!("the deployment of {definition} failed and {back} is brought back"))
                }
                None => (Level::Error, format!("the deployment of {definition} failed; nothing more of it is started")),
            };
            let next = is_primary.then(|| match self.others().find_map(completed) {
                Some(former) => format!(
                    "mend it and deploy again, or go back: longshore deploy {} --cluster {} --task-definition {former}",
                    self.name(),
                    self.cluster
                ),
                None => "mend it and deploy again; nothing that was completed before is there to go back to".to_owned(),
            });
            let why = failed.rollout_state_reason.clone();
            holds.push(Hold { level, kind: Kind::DeploymentFailed, what, why, next });
        }
        holds
    }

    /// Tasks of the newest deployment that failed of late. The scheduler counts only those that never ran or were not
    /// healthy; those that ran and ended hold it up just as well.
    fn failing(&self) -> Option<Hold> {
        let primary = self.primary()?;
        let definition = id(primary.task_definition.as_deref());
        let all: Vec<_> = self.stopped.iter().filter(|task| failed(task) && is_of(task, primary)).collect();
        let age = |task: &ecs::Task| Some(self.now.as_second() - millis(task.stopped_at)?.as_second());
        let lately = all.iter().filter(|task| age(task).is_some_and(|age| age <= FAILED_LATELY_SECONDS)).count();
        let last = all.iter().max_by_key(|task| task.stopped_at.map(|at| at.as_millis()));
        let counted = usize::try_from(count(primary.failed_tasks)).unwrap_or_default();
        if counted == 0 && (lately == 0 || is_stable(self.service)) {
            return None;
        }
        let never_ran = last.is_some_and(|task| task.stop_code.as_deref() == Some("TaskFailedToStart"));
        let paused = never_ran && !has_failed(primary);
        let pause = if paused { "; starts are paused, up to 27 min, until one comes to run" } else { "" };
        let times = counted.max(lately);
        let next = last.map(|task| {
            let kind = if never_ran { TaskKind::TaskFailedToStart } else { TaskKind::TaskFailed };
            remedy(self.cluster, kind, &why(task), task)
        });
        let why = last.map(|task| why(task));
        let impaired = || self.event(&["unable to consistently start tasks"]).map(str::to_owned);
        Some(Hold {
            level: Level::Error,
            kind: Kind::TasksFail,
            what: format!("{} of {definition} failed{pause}", tasks(times)),
            why: why.or_else(impaired),
            next,
        })
    }

    fn unhealthy(&self) -> Option<Hold> {
        let ill: Vec<_> = self.running.iter().filter(|t| t.health_status.as_deref() == Some("UNHEALTHY")).collect();
        let first = ill.first()?;
        let names = first.containers.iter().flatten().filter(|c| c.health_status.as_deref() == Some("UNHEALTHY"));
        let names: Vec<_> = names.filter_map(|c| c.name.as_deref()).collect();
        let task = id(first.task_arn.as_deref());
        Some(Hold {
            level: Level::Error,
            kind: Kind::TasksUnhealthy,
            what: format!("{} {} UNHEALTHY and will be replaced", tasks(ill.len()), of(ill.len(), "is", "are")),
            why: (!names.is_empty()).then(|| format!("the health check of {} fails", names.join(", "))),
            next: Some(format!("longshore logs --cluster {} --task-id {task}", self.cluster)),
        })
    }

    fn disconnected(&self) -> Option<Hold> {
        let lost = self.running.iter().filter(|t| t.connectivity.as_deref() == Some("DISCONNECTED")).count();
        (lost > 0).then(|| Hold {
            level: Level::Warning,
            kind: Kind::AgentDisconnected,
            what: format!("what became of {} is not known", tasks(lost)),
            why: Some("the agents of their instances are disconnected".to_owned()),
            next: Some(format!("longshore status --cluster {}", self.cluster)),
        })
    }

    /// Minimum and maximum leave no step. It is so for a moment in most deployments, until tasks are healthy; so it is told
    /// when the scheduler says it, or when nothing else is waited for.
    fn rules(&self, nothing_else: bool) -> Option<Hold> {
        let told = self.event(&["because of the service deployment configuration"]).is_some();
        let rules = self.service.deployment_configuration.as_ref()?;
        let (min, max) = (i64::from(rules.minimum_healthy_percent?), i64::from(rules.maximum_percent?));
        let desired = count(self.service.desired_count);
        let least = (desired * min).div_euclid(100) + i64::from((desired * min).rem_euclid(100) > 0);
        let most = desired * max / 100;
        let (running, pending) = (count(self.service.running_count), count(self.service.pending_count));
        let stuck = nothing_else && self.others().next().is_some() && running + pending >= most && running <= least;
        if !(told || stuck) || desired == 0 {
            return None;
        }
        // It is not for the rules that nothing more of one that failed is started.
        if self.primary().is_some_and(has_failed) {
            return None;
        }
        let next = self.aws("update-service", "--deployment-configuration minimumHealthyPercent=50,maximumPercent=200");
        Some(Hold {
            level: Level::Error,
            kind: Kind::DeploymentRulesForbid,
            what: format!(
                "of {desired} tasks {least} must stay healthy ({min} %) and there may be {most} ({max} %): no step is allowed"
            ),
            why: Some(format!("{running} run and {pending} are pending")),
            next: Some(next),
        })
    }

    fn protected(&self) -> Option<Hold> {
        let event = self.event(&["protected tasks"])?;
        Some(Hold {
            level: Level::Warning,
            kind: Kind::TasksProtected,
            what: "protected tasks are not stopped".to_owned(),
            why: event.split_once("Reason: ").map(|(_, why)| why.to_owned()),
            next: Some(format!(
                "aws ecs update-task-protection --cluster {} --no-protection-enabled --tasks",
                self.cluster
            )),
        })
    }

    /// What comes by itself, if nothing else goes wrong.
    fn waits(&self) -> Vec<Hold> {
        let mut holds = self.pending();
        let deploying = !is_stable(self.service);
        let (running, checked) = (self.running.iter().filter(Self::is_running), self.checked);
        let ours = running.filter(|task| self.primary().is_none_or(|primary| is_of(task, primary)));
        let left = ours.filter_map(|task| {
            let age = self.now.as_second() - millis(task.started_at)?.as_second();
            let healthy =
                if checked { task.health_status.as_deref() != Some("UNKNOWN") } else { age >= HEALTHY_AFTER_SECONDS };
            (!healthy).then_some((HEALTHY_AFTER_SECONDS - age).max(0))
        });
        let left: Vec<i64> = left.collect();
        if deploying && !left.is_empty() {
            let (number, longest) = (left.len(), left.iter().max().copied().unwrap_or_default());
            let what = if checked {
                format!("{number} new {} not passed the health check yet", of(number, "task has", "tasks have"))
            } else {
                format!(
                    "{number} new {} run for less than {HEALTHY_AFTER_SECONDS} s, and {} healthy only then: {longest} s more",
                    of(number, "task has", "tasks have"),
                    of(number, "is", "are")
                )
            };
            holds.push(Hold { level: Level::Notice, kind: Kind::TasksNotHealthyYet, what, why: None, next: None });
        }
        holds
    }

    fn pending(&self) -> Vec<Hold> {
        let mut groups: BTreeMap<String, Vec<Option<Timestamp>>> = BTreeMap::new();
        for task in self.running.iter().filter(|task| !Self::is_running(task)) {
            groups.entry(wait::state_of(task)).or_default().push(millis(task.created_at));
        }
        let hold = |(state, created): (String, Vec<Option<Timestamp>>)| {
            let oldest = created.iter().flatten().min().map(|at| self.now.as_second() - at.as_second());
            let long = oldest.is_some_and(|age| age >= PENDING_LONG_SECONDS);
            let age = oldest.map(|age| format!(" for {}", lasting(age))).unwrap_or_default();
            Hold {
                level: if long { Level::Warning } else { Level::Notice },
                kind: Kind::TasksPending,
                what: format!(
                    "{} {} {}",
                    tasks(created.len()),
                    of(created.len(), "is", "are"),
                    standing(&state, &age, created.len())
                ),
                why: None,
                next: long.then(|| format!("longshore status --cluster {} tells what keeps them", self.cluster)),
            }
        };
        groups.into_iter().map(hold).collect()
    }

    /// Why tasks of a deployment that are to stop do not: nobody on their instances hears of it.
    fn away(&self, deployment: Option<&ecs::Deployment>) -> Option<String> {
        let is_away = |task: &&ecs::Task| {
            let ours = deployment.is_none_or(|deployment| is_of(task, deployment));
            ours && task.stopped_at.is_none() && task.connectivity.as_deref() == Some("DISCONNECTED")
        };
        let number = self.stopped.iter().filter(is_away).count();
        (number > 0).then(|| {
            let (on, stop) = of(number, ("is on an instance", "it stops"), ("are on instances", "they stop"));
            format!("{} {on} whose agent is disconnected; {stop} when that is heard of again", tasks(number))
        })
    }

    /// What is still to be stopped.
    fn left(&self) -> Vec<Hold> {
        let mut holds = Vec::new();
        let mut tell = |kind, what, deployment| {
            let why = self.away(deployment);
            let next = why.is_some().then(|| format!("longshore status --cluster {}", self.cluster));
            holds.push(Hold { level: Level::Notice, kind, what, why, next });
        };
        let stays = self.primary().is_some_and(has_failed);
        for old in self.others() {
            let number = usize::try_from(count(old.running_count) + count(old.pending_count)).unwrap_or_default();
            if number > 0 {
                let definition = id(old.task_definition.as_deref());
                let fate = if self.keeps_both() {
                    format!("{} until the stage CLEAN_UP", of(number, "stays", "stay"))
                } else if stays {
                    format!("{} until something else is deployed", of(number, "stays", "stay"))
                } else {
                    format!("{} to be replaced", of(number, "is", "are"))
                };
                tell(Kind::OldTasksLeft, format!("{} of {definition} {fate}", tasks(number)), Some(old));
            }
        }
        let surplus = count(self.service.running_count) - count(self.service.desired_count);
        if surplus > 0 && self.others().next().is_none() {
            let number = usize::try_from(surplus).unwrap_or_default();
            tell(
                Kind::TooManyTasks,
                format!("{} more than desired {} to be stopped", tasks(number), of(number, "is", "are")),
                self.primary(),
            );
        }
        holds
    }
}

/// `PENDING for 5 s, pulling its image`, or of several tasks `their images`.
fn standing(state: &str, age: &str, number: usize) -> String {
    let (status, doing) = state.split_once(", ").map_or((state, None), |(status, doing)| (status, Some(doing)));
    let doing = doing.map(|doing| {
        let several = doing.replace("its image", "their images").replace("its containers", "their containers");
        format!(", {}", of(number, doing, several.as_str()))
    });
    format!("{status}{age}{}", doing.unwrap_or_default())
}

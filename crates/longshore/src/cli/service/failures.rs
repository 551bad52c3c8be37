//! Which of a service's tasks failed, and why. Pure.

use super::{
    facts::{Container, Failure},
    judge::Seen,
};
use crate::cli::status::judge::{id, millis, reason, rfc3339};
use shapes::ecs;
use std::collections::BTreeMap;

/// Failures that are told apart.
const MAX_FAILURES: usize = 3;
/// Tasks in a row that did not start for one reason: the next one will not either. As few as circuit breakers take at least.
const NEVER_AFTER: usize = 3;

impl Seen<'_> {
    /// Tasks that failed, those of one definition and reason as one, the newest first.
    pub(super) fn failures(&self) -> Vec<Failure> {
        let mut groups: BTreeMap<(&str, &str, String), Vec<&ecs::Task>> = BTreeMap::new();
        for task in self.stopped.iter().filter(|task| failed(task)) {
            let definition = id(task.task_definition_arn.as_deref());
            let code = task.stop_code.as_deref().unwrap_or_default();
            groups.entry((definition, code, why(task))).or_default().push(task);
        }
        let at = |task: &ecs::Task| task.stopped_at.map(|at| at.as_millis());
        let mut groups: Vec<_> = groups.into_iter().collect();
        for (_, tasks) in &mut groups {
            tasks.sort_by_key(|task| std::cmp::Reverse(at(task)));
        }
        groups.sort_by_key(|(_, tasks)| std::cmp::Reverse(at(tasks[0])));
        let failure = |((definition, code, why), tasks): ((&str, &str, String), Vec<&ecs::Task>)| Failure {
            count: tasks.len(),
            task_definition: definition.to_owned(),
            stop_code: code.to_owned(),
            why,
            task: id(tasks[0].task_arn.as_deref()).to_owned(),
            stopped_at: millis(tasks[0].stopped_at).map(rfc3339),
            stopped_reason: tasks[0].stopped_reason.clone(),
            containers: tasks[0].containers.iter().flatten().map(container).collect(),
        };
        groups.into_iter().take(MAX_FAILURES).map(failure).collect()
    }
}

/// The tasks of a deployment that failed, the last first.
fn failed_tasks<'a>(stopped: &'a [ecs::Task], deployment: &str) -> Vec<&'a ecs::Task> {
    let ours = |task: &&ecs::Task| failed(task) && task.started_by.as_deref() == Some(deployment);
    let mut all: Vec<_> = stopped.iter().filter(ours).collect();
    all.sort_by_key(|task| std::cmp::Reverse(task.stopped_at.map(|at| at.as_millis())));
    all
}

/// How many tasks of a deployment failed, and why the last one did.
pub(in crate::cli) fn failed_of(stopped: &[ecs::Task], deployment: &str) -> Option<(usize, String)> {
    let all = failed_tasks(stopped, deployment);
    Some((all.len(), why(all.first()?)))
}

/// How many of a deployment's tasks in a row did not start for one reason, and that, if they are so many that no other is to
/// be expected.
pub(in crate::cli) fn never_starts(stopped: &[ecs::Task], deployment: &str) -> Option<(usize, String)> {
    let all = failed_tasks(stopped, deployment);
    let last = why(all.first()?);
    let same =
        |task: &&&ecs::Task| task.stop_code.as_deref() == Some("TaskFailedToStart") && kind(&why(task)) == kind(&last);
    let in_a_row = all.iter().take_while(same).count();
    (in_a_row >= NEVER_AFTER).then_some((in_a_row, last))
}

/// `app: CannotPullContainerError` of `app: CannotPullContainerError: no route to 10.0.0.9`: what follows may differ from
/// instance to instance.
fn kind(why: &str) -> &str {
    why.match_indices(": ").nth(1).map_or(why, |(at, _)| &why[..at])
}

fn container(c: &ecs::Container) -> Container {
    Container {
        name: c.name.clone().unwrap_or_default(),
        exit_code: c.exit_code,
        reason: c.reason.clone().filter(|reason| !reason.is_empty()),
        log: Vec::new(),
    }
}

/// Whether a stopped task of a service failed: nobody wanted it to stop. Its containers must not end, well or badly.
pub(super) fn failed(task: &ecs::Task) -> bool {
    match task.stop_code.as_deref() {
        Some("UserInitiated") | None => false,
        // AWS: so are tasks that are not wanted any more; those that are unhealthy have a reason.
        Some("ServiceSchedulerInitiated") => {
            task.stopped_reason.as_deref().is_some_and(|reason| reason.to_lowercase().contains("health"))
        }
        Some(_) => task.stopped_at.is_some(),
    }
}

pub(super) fn why(task: &ecs::Task) -> String {
    let ended = task.stop_code.as_deref() == Some("EssentialContainerExited");
    let well = |c: &ecs::Container| c.exit_code == Some(0);
    if ended && task.containers.iter().flatten().all(well) {
        return "its containers ended with 0, and those of a service must not end".to_owned();
    }
    reason(task)
}

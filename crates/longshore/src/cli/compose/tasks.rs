//! Tasks run and stopped, and their containers followed until they are there.

use crate::{
    advice::{self, Advice},
    cli::{config::Settings, ps, say, wait},
};
use anyhow::{Result, bail};
use shapes::ecs;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long tasks may take to start or stop: the original asks 100 times every 6 seconds.
const PATIENCE: Duration = Duration::from_secs(600);
/// Tasks of one RunTask. Source: service model.
pub(super) const RUN_BATCH: usize = 10;
/// Reasons that are told apart when many containers fail; they mostly have one in common.
const MAX_REASONS: usize = 3;

/// Runs tasks that differ in nothing.
pub(super) struct Launch<'a> {
    pub(super) settings: &'a Settings,
    /// All but the count.
    pub(super) template: ecs::RunTaskRequest,
}

impl Launch<'_> {
    /// Runs so many and waits until they run.
    pub(super) async fn run(&self, count: usize) -> Result<()> {
        let mut started: Vec<ecs::Task> = Vec::new();
        let (mut reasons, mut full) = (BTreeSet::new(), false);
        while started.len() < count && !full {
            let batch = (count - started.len()).min(RUN_BATCH);
            let request = ecs::RunTaskRequest { count: i32::try_from(batch).ok(), ..self.template.clone() };
            let answer = match self.settings.client.call(&request).await {
                Ok(answer) => answer,
                Err(error) => {
                    let definition = self.template.task_definition.as_deref().unwrap_or_default();
                    // AWS: the original tells it twice, as an error and as what ended the command.
                    if say::is_ecs_cli() {
                        let fields = [("error", &*error.to_string()), ("task definition", definition)];
                        say::error("Error running tasks", &fields);
                        return Err(error);
                    }
                    return Err(self.advised(error, definition));
                }
            };
            let tasks = answer.tasks.unwrap_or_default();
            full = tasks.len() < batch;
            reasons.extend(answer.failures.into_iter().flatten().filter_map(|f| f.reason));
            started.extend(tasks);
        }
        for task in &started {
            for container in task.containers.iter().flatten() {
                say::original("Starting container...", &[("container", &ps::container_name(task, container))]);
            }
        }
        follow(self.settings, &started, "RUNNING").await?;
        if started.len() < count {
            let reasons: Vec<_> = reasons.into_iter().collect();
            bail!(
                "{} of {count} tasks could not be placed: {}. See `ps`, add container instances with `scale` or `up`, or ask \
                 for less",
                count - started.len(),
                reasons.join(", ")
            );
        }
        Ok(())
    }

    /// The refusal of RunTask with what to do about it.
    fn advised(&self, error: anyhow::Error, definition: &str) -> anyhow::Error {
        let known = advice::next(&error);
        let needs_network = error.to_string().contains("Network Configuration must be provided");
        let next = if needs_network {
            "Name the subnets in ecs-params.yml, under run_params: network_configuration: awsvpc_configuration: subnets"
                .to_owned()
        } else {
            known.unwrap_or_else(|| {
                let definition = definition.rsplit('/').next().unwrap_or(definition);
                format!(
                    "No task of {definition} was started. What is refused comes of the compose file, of ecs-params.yml or of \
                     the flags; mend it there and do it again"
                )
            })
        };
        error.context(Advice::new(next))
    }

    /// Stops tasks and waits until they have stopped.
    pub(super) async fn stop(&self, tasks: &[ecs::Task]) -> Result<()> {
        stop(self.settings, tasks).await
    }
}

/// Stops tasks and waits until they have stopped.
pub(super) async fn stop(settings: &Settings, tasks: &[ecs::Task]) -> Result<()> {
    for task in tasks {
        let request = ecs::StopTaskRequest {
            cluster: Some(settings.cluster.clone()),
            task: task.task_arn.clone(),
            ..Default::default()
        };
        settings.client.call(&request).await?;
        for container in task.containers.iter().flatten() {
            say::original("Stopping container...", &[("container", &ps::container_name(task, container))]);
        }
    }
    follow(settings, tasks, "STOPPED").await
}

/// Waits until all are there, or have stopped, and says of each container where it is.
async fn follow(settings: &Settings, tasks: &[ecs::Task], status: &str) -> Result<()> {
    if tasks.is_empty() {
        return Ok(());
    }
    let arns: Vec<_> = tasks.iter().filter_map(|t| t.task_arn.clone()).collect();
    let reached = |t: &ecs::Task| t.last_status.as_deref().is_some_and(|s| s == status || s == "STOPPED");
    let mut shown = BTreeMap::new();
    let each = |tasks: &[ecs::Task]| {
        for task in tasks.iter().filter(|task| !reached(task)) {
            show_change(task, &mut shown);
        }
    };
    let mut failed: BTreeMap<String, usize> = BTreeMap::new();
    for task in wait::tasks(&settings.client, &settings.cluster, &arns, status, PATIENCE, each).await? {
        let stopped = task.last_status.as_deref() == Some("STOPPED");
        let word = match (status, stopped) {
            ("RUNNING", true) => "Container seem to have stopped...",
            ("RUNNING", false) => "Started container...",
            _ => "Stopped container...",
        };
        for container in task.containers.iter().flatten() {
            say_status(word, &task, container);
            if status == "RUNNING" && stopped && container.exit_code != Some(0) {
                let code = container.exit_code.map(|code| format!("exit code {code}"));
                let why = container.reason.clone().or(code).or_else(|| task.stopped_reason.clone());
                let name = container.name.as_deref().unwrap_or_default();
                *failed.entry(format!("{name}: {}", why.unwrap_or_default())).or_default() += 1;
            }
        }
    }
    // AWS: that a task did not last is said and is no failure of the command.
    if failed.is_empty() || say::is_ecs_cli() {
        return Ok(());
    }
    let count: usize = failed.values().sum();
    let mut reasons: Vec<_> = failed.into_iter().map(|(why, times)| (times, why)).collect();
    reasons.sort_by(|one, other| other.cmp(one));
    let reasons: Vec<_> = reasons.into_iter().take(MAX_REASONS).map(|(_, why)| why).collect();
    bail!(
        "{count} containers stopped: {}. See `ps --desired-status STOPPED`, and `logs --task-id` for what they wrote",
        reasons.join("; ")
    )
}

fn show_change(task: &ecs::Task, shown: &mut BTreeMap<String, Option<String>>) {
    for container in task.containers.iter().flatten() {
        let before = shown.insert(ps::container_name(task, container), task.last_status.clone());
        if before.as_ref() != Some(&task.last_status) {
            say_status("Describe ECS container status", task, container);
        }
    }
}

fn say_status(word: &str, task: &ecs::Task, container: &ecs::Container) {
    let definition = task.task_definition_arn.as_deref().and_then(|arn| arn.rsplit('/').next()).unwrap_or_default();
    let fields = [
        ("container", ps::container_name(task, container)),
        ("desiredStatus", task.desired_status.clone().unwrap_or_default()),
        ("lastStatus", task.last_status.clone().unwrap_or_default()),
        ("taskDefinition", definition.to_owned()),
    ];
    say::original(word, &fields.each_ref().map(|(name, fact)| (*name, fact.as_str())));
}

//! A project's life: its definition registered, its tasks run, counted and stopped.

use super::{
    convert,
    file::Source,
    params::{Params, Placement},
};
use crate::cli::{client, config::Settings, ps, say, wait};
use anyhow::{Context, Result, bail};
use shapes::{ecs, logs};
use std::time::Duration;

/// How long tasks may take to start or stop: the original asks 100 times every 6 seconds.
const PATIENCE: Duration = Duration::from_secs(600);
/// Tasks of one RunTask. Source: service model.
const RUN_BATCH: usize = 10;

/// A compose project in a cluster.
pub(super) struct Project<'a> {
    pub(super) settings: &'a Settings,
    pub(super) source: &'a Source,
    pub(super) params: &'a Params,
    pub(super) task_role_arn: Option<String>,
    pub(super) launch_type: Option<String>,
    pub(super) create_log_groups: bool,
}

impl Project<'_> {
    fn family(&self) -> &str {
        &self.source.project
    }

    /// Registers the definition unless the family's newest revision says the same. Answers its ARN.
    pub(super) async fn create(&self) -> Result<String> {
        let request =
            convert::definition(self.source, self.params, self.task_role_arn.as_deref(), self.launch_type.as_deref())?;
        let client = &self.settings.client;
        let digest = digest(&request)?;
        if self.create_log_groups {
            self.make_log_groups(&request).await?;
        }
        let latest = ecs::DescribeTaskDefinitionRequest {
            task_definition: Some(self.family().to_owned()),
            include: Some(vec!["TAGS".to_owned()]),
        };
        let arn = match client.call(&latest).await {
            Ok(found)
                if found
                    .tags
                    .iter()
                    .flatten()
                    .any(|t| t.key.as_deref() == Some(DIGEST_TAG) && t.value.as_ref() == Some(&digest)) =>
            {
                found.task_definition.and_then(|d| d.task_definition_arn)
            }
            Ok(_) => None,
            // AWS: an unknown family is a ClientException.
            Err(e) if client::code(&e) == Some("ClientException") => None,
            Err(e) => return Err(e),
        };
        let arn = match arn {
            Some(arn) => arn,
            None => {
                let tag = ecs::Tag { key: Some(DIGEST_TAG.to_owned()), value: Some(digest) };
                let request = ecs::RegisterTaskDefinitionRequest { tags: Some(vec![tag]), ..request };
                let registered = client.call(&request).await?.task_definition;
                registered.and_then(|d| d.task_definition_arn).context("the definition has no ARN")?
            }
        };
        let short = arn.rsplit('/').next().unwrap_or(&arn);
        say::info("Using ECS task definition", &[("TaskDefinition", short)]);
        Ok(arn)
    }

    async fn make_log_groups(&self, definition: &ecs::RegisterTaskDefinitionRequest) -> Result<()> {
        let containers = definition.container_definitions.iter().flatten();
        for options in containers.filter_map(|c| c.log_configuration.as_ref()?.options.as_ref()) {
            let Some(group) = options.get("awslogs-group") else { continue };
            let request = logs::CreateLogGroupRequest { log_group_name: Some(group.clone()), ..Default::default() };
            match self.settings.client.call(&request).await {
                Ok(_) => say::info(&format!("Created Log Group {group} in {}", self.settings.region), &[]),
                Err(e) if client::code(&e) == Some("ResourceAlreadyExistsException") => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The project's tasks that shall run.
    async fn running(&self) -> Result<Vec<ecs::Task>> {
        let group = format!("task:{}", self.family());
        let settings = self.settings;
        let tasks = ps::tasks(&settings.client, &settings.cluster, "RUNNING", Some(self.family())).await?;
        Ok(tasks.into_iter().filter(|t| t.group.as_ref() == Some(&group)).collect())
    }

    /// One task of the newest definition, or all running ones replaced by it.
    pub(super) async fn up(&self, force: bool) -> Result<()> {
        let running = self.running().await?;
        let definition = self.create().await?;
        if running.is_empty() {
            return self.run(&definition, 1).await;
        }
        let outdated = |t: &&ecs::Task| force || t.task_definition_arn.as_ref() != Some(&definition);
        let old: Vec<_> = running.iter().filter(outdated).cloned().collect();
        // Stopped first, as the original does: their host ports are wanted by those that follow.
        for batch in old.chunks(RUN_BATCH) {
            self.stop_tasks(batch).await?;
            self.run(&definition, batch.len()).await?;
        }
        Ok(())
    }

    /// Runs or stops tasks until `count` run.
    pub(super) async fn scale(&self, count: usize) -> Result<()> {
        let running = self.running().await?;
        if let Some(surplus) = running.len().checked_sub(count).filter(|s| *s > 0) {
            return self.stop_tasks(&running[..surplus]).await;
        }
        let definition = self.create().await?;
        self.run(&definition, count - running.len()).await
    }

    /// Stops all of it.
    pub(super) async fn stop(&self) -> Result<()> {
        self.stop_tasks(&self.running().await?).await
    }

    /// Lists its containers.
    pub(super) async fn ps(&self, desired: Option<&str>, output: &str) -> Result<()> {
        let settings = self.settings;
        let group = format!("task:{}", self.family());
        let mut tasks = Vec::new();
        for status in desired.map_or(vec!["RUNNING", "STOPPED"], |d| vec![d]) {
            let some = ps::tasks(&settings.client, &settings.cluster, status, Some(self.family())).await?;
            tasks.extend(some.into_iter().filter(|t| t.group.as_ref() == Some(&group)));
        }
        ps::print(&settings.client, &settings.cluster, &tasks, output).await
    }

    async fn run(&self, definition: &str, count: usize) -> Result<()> {
        let placement = &self.params.run_params.task_placement;
        let strategy = |p: &Placement| ecs::PlacementStrategy { r#type: p.r#type.clone(), field: p.field.clone() };
        let constraint =
            |p: &Placement| ecs::PlacementConstraint { r#type: p.r#type.clone(), expression: p.expression.clone() };
        let mut started = Vec::new();
        let mut left = count;
        while left > 0 {
            let batch = left.min(RUN_BATCH);
            left -= batch;
            let request = ecs::RunTaskRequest {
                cluster: Some(self.settings.cluster.clone()),
                count: i32::try_from(batch).ok(),
                enable_ecs_managed_tags: Some(true),
                group: Some(format!("task:{}", self.family())),
                launch_type: self.launch_type.clone(),
                placement_constraints: Some(placement.constraints.iter().map(constraint).collect()),
                placement_strategy: Some(placement.strategy.iter().map(strategy).collect()),
                task_definition: Some(definition.to_owned()),
                ..Default::default()
            };
            let answer = self.settings.client.call(&request).await?;
            let tasks = answer.tasks.unwrap_or_default();
            let placed = tasks.len();
            started.extend(tasks);
            if placed < batch {
                let reasons: std::collections::BTreeSet<_> =
                    answer.failures.into_iter().flatten().filter_map(|f| f.reason).collect();
                let reasons: Vec<_> = reasons.into_iter().collect();
                self.wait_for(&started, "RUNNING").await?;
                bail!(
                    "{} of {count} tasks could not be placed: {}. See `ps`, add container instances with `up --size`, or ask for less",
                    count - started.len(),
                    reasons.join(", ")
                );
            }
        }
        for name in started.iter().flat_map(|t| t.containers.iter().flatten()).filter_map(|c| c.name.as_deref()) {
            say::info("Starting container...", &[("container", name)]);
        }
        self.wait_for(&started, "RUNNING").await
    }

    async fn stop_tasks(&self, tasks: &[ecs::Task]) -> Result<()> {
        for task in tasks {
            let request = ecs::StopTaskRequest {
                cluster: Some(self.settings.cluster.clone()),
                task: task.task_arn.clone(),
                ..Default::default()
            };
            self.settings.client.call(&request).await?;
            for name in task.containers.iter().flatten().filter_map(|c| c.name.as_deref()) {
                say::info("Stopping container...", &[("container", name)]);
            }
        }
        self.wait_for(tasks, "STOPPED").await
    }

    /// Waits until all are there, or have stopped, and says of those that failed why.
    async fn wait_for(&self, tasks: &[ecs::Task], status: &str) -> Result<()> {
        if tasks.is_empty() {
            return Ok(());
        }
        let settings = self.settings;
        let arns: Vec<_> = tasks.iter().filter_map(|t| t.task_arn.clone()).collect();
        let what = if status == "RUNNING" { "Tasks starting" } else { "Tasks stopping" };
        let reached = |t: &ecs::Task| t.last_status.as_deref().is_some_and(|s| s == status || s == "STOPPED");
        let described = || async {
            let mut all = Vec::new();
            for batch in arns.chunks(100) {
                all.extend(ps::describe(&settings.client, &settings.cluster, batch.to_vec()).await?);
            }
            anyhow::Ok(all)
        };
        wait::until(what, arns.len() as u64, PATIENCE, || async {
            Ok(described().await?.iter().filter(|t| reached(t)).count() as u64)
        })
        .await?;
        let mut failed = Vec::new();
        for task in described().await? {
            for container in task.containers.iter().flatten() {
                let short = task.task_definition_arn.as_deref().and_then(|a| a.rsplit('/').next()).unwrap_or_default();
                let word = if status == "RUNNING" { "Started container..." } else { "Stopped container..." };
                let fields = [
                    ("container", container.name.as_deref().unwrap_or_default()),
                    ("desiredStatus", task.desired_status.as_deref().unwrap_or_default()),
                    ("lastStatus", container.last_status.as_deref().unwrap_or_default()),
                    ("taskDefinition", short),
                ];
                say::info(word, &fields);
                if status == "RUNNING" && task.last_status.as_deref() == Some("STOPPED") {
                    let why = container.reason.clone().or_else(|| task.stopped_reason.clone()).unwrap_or_default();
                    failed.push(format!("{}: {why}", container.name.as_deref().unwrap_or_default()));
                }
            }
        }
        if failed.is_empty() { Ok(()) } else { bail!("Task stopped. {}", failed.join("; ")) }
    }
}

/// The tag that says from what a revision was made: the original keeps that in a cache on the user's disk, where another
/// user's revisions are unknown.
const DIGEST_TAG: &str = "longshore:compose-sha256";

fn digest(request: &ecs::RegisterTaskDefinitionRequest) -> Result<String> {
    use sha2::{Digest, Sha256};
    Ok(hex::encode(Sha256::digest(serde_json::to_vec(request)?)))
}

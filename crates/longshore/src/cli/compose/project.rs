//! A project's life: its definition registered, its tasks run, counted and stopped.

use super::{
    cache,
    convert::{self, Flags},
    file::Source,
    params::Params,
    registry_creds,
    tasks::Launch,
};
use crate::cli::{client, config::Settings, ps, say};
use anyhow::{Context, Result, anyhow, bail};
use shapes::{ecs, logs};
use std::path::PathBuf;

/// A compose project in a cluster.
pub(super) struct Project<'a> {
    pub(super) settings: &'a Settings,
    pub(super) source: &'a Source,
    pub(super) params: &'a Params,
    pub(super) flags: Flags,
    pub(super) registry_creds: Option<PathBuf>,
    pub(super) create_log_groups: bool,
    pub(super) managed_tags: bool,
}

impl Project<'_> {
    fn family(&self) -> String {
        format!("{}{}", self.flags.prefix, self.source.project)
    }

    fn group(&self) -> String {
        format!("task:{}", self.family())
    }

    /// What is registered.
    pub(super) fn definition(&self) -> Result<ecs::RegisterTaskDefinitionRequest> {
        let read = || {
            let mut definition = convert::definition(self.source, self.params, &self.flags)?;
            registry_creds::apply(self.registry_creds.as_deref(), &mut definition)?;
            Ok(definition)
        };
        read().map_err(|error: anyhow::Error| {
            let told = super::told(&error);
            // As it is, an error still knows its causes.
            if told == format!("{error:#}") { error } else { anyhow!(told) }
        })
    }

    /// Registers the definition unless the same was registered before and still is. Answers its ARN.
    pub(super) async fn create(&self) -> Result<String> {
        let request = self.definition()?;
        let entry = cache::Entry::of(self.settings, &request);
        let arn = match self.remembered(entry.as_ref()).await? {
            Some(arn) => arn,
            None => {
                let registered = self.settings.client.call(&request).await?.task_definition;
                let registered = registered.context("the answer has no definition")?;
                if let Some(entry) = &entry {
                    entry.write(&registered);
                }
                registered.task_definition_arn.context("the definition has no ARN")?
            }
        };
        let short = arn.rsplit('/').next().unwrap_or(&arn);
        say::info("Using ECS task definition", &[("TaskDefinition", short)]);
        if self.create_log_groups {
            self.make_log_groups(&request).await?;
        }
        Ok(arn)
    }

    async fn remembered(&self, entry: Option<&cache::Entry>) -> Result<Option<String>> {
        let Some(known) = entry.and_then(cache::Entry::read) else { return Ok(None) };
        let ask = ecs::DescribeTaskDefinitionRequest { task_definition: Some(known.arn.clone()), ..Default::default() };
        match self.settings.client.call(&ask).await {
            Ok(found) => Ok(found.task_definition.is_some_and(|d| known.is(&d)).then_some(known.arn)),
            // AWS: an unknown definition is a ClientException.
            Err(e) if client::code(&e) == Some("ClientException") => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(super) async fn make_log_groups(&self, definition: &ecs::RegisterTaskDefinitionRequest) -> Result<()> {
        let containers = definition.container_definitions.iter().flatten();
        let logging = containers.filter_map(|c| c.log_configuration.as_ref());
        let awslogs = logging.filter(|l| l.log_driver.as_deref() == Some("awslogs")).filter_map(|l| l.options.as_ref());
        for options in awslogs {
            let Some(group) = options.get("awslogs-group") else { continue };
            let region = options.get("awslogs-region").unwrap_or(&self.settings.region);
            let request = logs::CreateLogGroupRequest { log_group_name: Some(group.clone()), ..Default::default() };
            match self.settings.client.in_region(region).call(&request).await {
                Ok(_) => say::info(&format!("Created Log Group {group} in {region}"), &[]),
                Err(e) if client::code(&e) == Some("ResourceAlreadyExistsException") => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    async fn launch<'a>(&'a self, definition: &str, overrides: Option<ecs::TaskOverride>) -> Result<Launch<'a>> {
        let network = self.network()?;
        let template = ecs::RunTaskRequest {
            cluster: Some(self.settings.cluster.clone()),
            enable_ecs_managed_tags: Some(self.managed_tags().await?),
            group: Some(self.group()),
            launch_type: self.flags.launch_type.clone(),
            network_configuration: network,
            overrides,
            placement_constraints: Some(self.placement_constraints()),
            placement_strategy: Some(self.placement_strategy()),
            platform_version: self.platform_version(),
            tags: (!self.flags.tags.is_empty()).then(|| self.flags.tags.clone()),
            task_definition: Some(definition.to_owned()),
            ..Default::default()
        };
        Ok(Launch { settings: self.settings, template })
    }

    fn is_fargate(&self) -> bool {
        self.flags.launch_type.as_deref() == Some("FARGATE")
    }

    /// The network of its tasks, if they have one of their own.
    pub(super) fn network(&self) -> Result<Option<ecs::NetworkConfiguration>> {
        let network = self.params.network()?;
        if self.is_fargate() && network.is_none() {
            bail!(
                "Launch Type FARGATE requires network configuration to be set. Set network configuration using an ECS \
                 Params file."
            );
        }
        Ok(network)
    }

    pub(super) fn placement_constraints(&self) -> Vec<ecs::PlacementConstraint> {
        let given = self.params.run_params.task_placement.constraints.iter();
        given.map(|c| ecs::PlacementConstraint { r#type: c.r#type.clone(), expression: c.expression.clone() }).collect()
    }

    pub(super) fn placement_strategy(&self) -> Vec<ecs::PlacementStrategy> {
        let given = self.params.run_params.task_placement.strategy.iter();
        given.map(|s| ecs::PlacementStrategy { r#type: s.r#type.clone(), field: s.field.clone() }).collect()
    }

    /// AWS: the first platform version that mounts EFS.
    pub(super) fn platform_version(&self) -> Option<String> {
        let mounts = self.is_fargate() && !self.params.task_definition.efs_volumes.is_empty();
        mounts.then(|| "1.4.0".to_owned())
    }

    /// AWS: managed tags need task ARNs of the long form.
    pub(super) async fn managed_tags(&self) -> Result<bool> {
        if !self.managed_tags {
            return Ok(false);
        }
        let ask = ecs::ListAccountSettingsRequest {
            effective_settings: Some(true),
            name: Some("taskLongArnFormat".to_owned()),
            ..Default::default()
        };
        let answer = self.settings.client.call(&ask).await?;
        let enabled = answer.settings.into_iter().flatten().any(|s| s.value.as_deref() == Some("enabled"));
        if enabled {
            say::info("Auto-enabling ECS Managed Tags", &[]);
        }
        Ok(enabled)
    }

    /// The project's tasks of one desired status.
    async fn tasks(&self, desired: &str) -> Result<Vec<ecs::Task>> {
        let (family, group) = (self.family(), self.group());
        let settings = self.settings;
        let tasks = ps::tasks(&settings.client, &settings.cluster, desired, ps::Of::Family(&family)).await?;
        let ours = |t: &ecs::Task| t.group.as_ref() == Some(&group) || t.started_by.as_ref() == Some(&family);
        Ok(tasks.into_iter().filter(ours).collect())
    }

    /// One task of the newest definition, or all running ones replaced by it.
    pub(super) async fn up(&self, force: bool) -> Result<()> {
        let running = self.tasks("RUNNING").await?;
        let definition = self.create().await?;
        if running.is_empty() {
            return self.launch(&definition, None).await?.run(1).await;
        }
        let outdated = |t: &&ecs::Task| force || t.task_definition_arn.as_ref() != Some(&definition);
        let old: Vec<_> = running.iter().filter(outdated).cloned().collect();
        if old.is_empty() {
            return Ok(());
        }
        let launch = self.launch(&definition, None).await?;
        // Stopped first, as the original does: their host ports are wanted by those that follow.
        for batch in old.chunks(super::tasks::RUN_BATCH) {
            launch.stop(batch).await?;
            launch.run(batch.len()).await?;
        }
        Ok(())
    }

    /// One more task, with other commands in the named containers.
    pub(super) async fn run(&self, commands: Vec<(String, Vec<String>)>) -> Result<()> {
        if let Some((name, _)) = commands.iter().find(|(name, _)| !self.source.services.contains_key(name)) {
            bail!("the compose files have no service {name}");
        }
        let definition = self.create().await?;
        let container =
            |(name, command)| ecs::ContainerOverride { name: Some(name), command: Some(command), ..Default::default() };
        let overrides = (!commands.is_empty()).then(|| ecs::TaskOverride {
            container_overrides: Some(commands.into_iter().map(container).collect()),
            ..Default::default()
        });
        self.launch(&definition, overrides).await?.run(1).await
    }

    /// Runs or stops tasks until `count` run.
    pub(super) async fn scale(&self, count: usize) -> Result<()> {
        let running = self.tasks("RUNNING").await?;
        if running.len() >= count {
            return super::tasks::stop(self.settings, &running[..running.len() - count]).await;
        }
        // AWS: more of what runs; the files count only when nothing does.
        let definition = match running.first().and_then(|task| task.task_definition_arn.clone()) {
            Some(arn) => arn,
            None => self.create().await?,
        };
        self.launch(&definition, None).await?.run(count - running.len()).await
    }

    /// Stops all of it.
    pub(super) async fn stop(&self) -> Result<()> {
        super::tasks::stop(self.settings, &self.tasks("RUNNING").await?).await
    }

    /// Lists its containers.
    pub(super) async fn ps(&self, desired: Option<&str>, output: say::OutputArgs) -> Result<()> {
        let mut tasks = Vec::new();
        for status in desired.map_or(vec!["RUNNING", "STOPPED"], |d| vec![d]) {
            tasks.extend(self.tasks(status).await?);
        }
        ps::print(&self.settings.client, &self.settings.cluster, &tasks, output).await
    }
}

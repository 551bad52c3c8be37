//! `compose service`: the project as a service, created, changed, counted and deleted as the original does it.

mod discovery;
mod flags;
mod stable;

pub(super) use flags::{ServiceArgs, ServiceVerb};

use super::project::Project;
use crate::{
    advice::Advice,
    cli::{ps, say},
};
use anyhow::{Result, anyhow, bail};
use discovery::Discovery;
use flags::{MakeArgs, RulesArgs};
use shapes::ecs;
use stable::Waiting;
use std::time::Duration;

/// AWS: the reason of a failure that says there is none of that name.
const MISSING: &str = "MISSING";

/// A compose project as a service.
pub(super) struct Service<'a> {
    project: &'a Project<'a>,
    name: String,
}

/// What an UpdateService is to change.
#[derive(Default)]
struct Change {
    count: Option<i32>,
    /// `family:revision`.
    definition: Option<String>,
    rules: RulesArgs,
    /// `healthCheckGracePeriodSeconds`.
    grace: Option<i32>,
    force: bool,
}

impl<'a> Service<'a> {
    pub(super) fn new(project: &'a Project<'a>) -> Self {
        let name = format!("{}{}", project.settings.service_prefix, project.source.project);
        Self { project, name }
    }

    /// Does what is asked for.
    pub(super) async fn run(&self, verb: ServiceVerb) -> Result<()> {
        match verb {
            ServiceVerb::Create(make) => self.create(&make).await,
            ServiceVerb::Up { make, wait, force, update_service_discovery } => {
                if update_service_discovery {
                    self.update_discovery(&make).await?;
                }
                self.up(&make, wait.patience(), force.force_deployment).await
            }
            ServiceVerb::Start { wait, force, .. } => self.start(wait.patience(), force.force_deployment).await,
            ServiceVerb::Ps { desired_status, output } => self.ps(desired_status.as_deref(), output).await,
            ServiceVerb::Scale { count, rules, wait } => {
                self.update(Change { count: Some(count), rules, ..Default::default() }, wait.patience()).await
            }
            ServiceVerb::Stop { wait } => {
                self.update(Change { count: Some(0), ..Default::default() }, wait.patience()).await
            }
            ServiceVerb::Rm { wait, delete_namespace } => self.remove(wait.patience(), delete_namespace).await,
        }
    }

    async fn create(&self, make: &MakeArgs) -> Result<()> {
        let definition = self.project.create().await?;
        let waiting = self.make(make, &definition, 0).await?;
        if say::is_ecs_cli() {
            // AWS: this command has no such flag and reads it all the same.
            say::warn("Timeout was specified as zero. Service creation may not have completed yet.", &[]);
        }
        self.wait(waiting, None).await?;
        self.say_created(make, &definition);
        Ok(())
    }

    async fn up(&self, make: &MakeArgs, patience: Option<Duration>, force: bool) -> Result<()> {
        let known = self.described().await?.ok().filter(|known| known.status.as_deref() == Some("ACTIVE"));
        let definition = self.project.create().await?;
        let Some(known) = known else {
            let waiting = self.make(make, &definition, 1).await?;
            if patience.is_none() && say::is_ecs_cli() {
                say::warn("Timeout was specified as zero. Service creation may not have completed yet.", &[]);
            }
            let stable = self.wait(waiting, patience).await;
            self.say_created(make, &definition);
            return stable;
        };
        if !self.project.flags.tags.is_empty() {
            self.tag(&known).await?;
        }
        let grace = make.health_check_grace_period;
        if known.task_definition.as_ref() == Some(&definition) && !make.rules.is_given() && grace.is_none() {
            return self.started(&known, patience, force).await;
        }
        let count = (!is_daemon(&known)).then(|| known.desired_count.unwrap_or_default().max(1));
        let change = Change { count, definition: Some(short(&definition).to_owned()), rules: make.rules, grace, force };
        self.update(change, patience).await
    }

    async fn start(&self, patience: Option<Duration>, force: bool) -> Result<()> {
        let known = self.described().await?.map_err(|reason| {
            if reason != MISSING {
                return self.not_described(&reason);
            }
            anyhow!("Please use 'create' command to create the service '{}' first", self.name)
        })?;
        if self.project.create_log_groups {
            self.project.make_log_groups(&self.project.definition()?).await?;
        }
        self.started(&known, patience, force).await
    }

    /// AWS: what runs nothing runs one task; what runs is waited for.
    async fn started(&self, known: &ecs::Service, patience: Option<Duration>, force: bool) -> Result<()> {
        let desired = known.desired_count.unwrap_or_default();
        let daemon = is_daemon(known);
        if desired == 0 && !daemon {
            return self.update(Change { count: Some(1), force, ..Default::default() }, patience).await;
        }
        if force {
            let count = (!daemon).then_some(desired);
            return self.update(Change { count, force, ..Default::default() }, patience).await;
        }
        let count = desired.to_string();
        say::info("ECS Service is already running", &[("desiredCount", &count), ("serviceName", &self.name)]);
        self.wait(Waiting::now(), patience).await
    }

    async fn remove(&self, patience: Option<Duration>, with_namespace: bool) -> Result<()> {
        let known = self.described().await?.map_err(|reason| self.not_described(&reason))?;
        if known.status.as_deref() != Some("ACTIVE") {
            say::info("ECS Service is already deleted", &[("serviceName", &self.name)]);
            return Ok(());
        }
        let waiting = Waiting::now();
        let settings = self.project.settings;
        let request = ecs::DeleteServiceRequest {
            cluster: Some(settings.cluster.clone()),
            force: Some(true),
            service: Some(self.name.clone()),
        };
        settings.client.call(&request).await?;
        say::info("Deleted ECS service", &[("service", &self.name)]);
        self.wait(waiting, patience).await?;
        self.discovery().remove(&known, with_namespace).await
    }

    fn discovery(&self) -> Discovery<'_> {
        Discovery { settings: self.project.settings, service: &self.name }
    }

    async fn update_discovery(&self, make: &MakeArgs) -> Result<()> {
        let Some(wanted) = make.discovery.wanted(self.project.params)? else {
            bail!("--update-service-discovery needs --enable-service-discovery and what it shall be");
        };
        let known = self.described().await?.map_err(|reason| self.not_described(&reason))?;
        self.discovery().update(&wanted, &known).await
    }

    async fn ps(&self, desired: Option<&str>, output: say::OutputArgs) -> Result<()> {
        let settings = self.project.settings;
        let mut tasks = Vec::new();
        for status in desired.map_or(vec!["RUNNING", "STOPPED"], |d| vec![d]) {
            tasks.extend(ps::tasks(&settings.client, &settings.cluster, status, ps::Of::Service(&self.name)).await?);
        }
        ps::print(&settings.client, &settings.cluster, &tasks, output).await
    }

    /// CreateService.
    async fn make(&self, make: &MakeArgs, definition: &str, count: i32) -> Result<Waiting> {
        let (project, settings) = (self.project, self.project.settings);
        let daemon = make.scheduling_strategy.as_deref() == Some("DAEMON");
        let tags = &project.flags.tags;
        let network_configuration = project.network()?;
        let registry = match make.discovery.wanted(project.params)? {
            Some(wanted) => Some(self.discovery().make(&wanted).await?),
            None => None,
        };
        let request = ecs::CreateServiceRequest {
            cluster: Some(settings.cluster.clone()),
            deployment_configuration: Some(make.rules.configuration()),
            desired_count: (!daemon).then_some(count),
            enable_ecs_managed_tags: Some(project.managed_tags().await?),
            health_check_grace_period_seconds: make.health_check_grace_period,
            launch_type: project.flags.launch_type.clone(),
            network_configuration,
            placement_constraints: Some(project.placement_constraints()),
            placement_strategy: Some(project.placement_strategy()),
            platform_version: project.platform_version(),
            // AWS: the tags of the files are those of the definition, and tasks get them from there.
            propagate_tags: Some("TASK_DEFINITION".to_owned()),
            role: Some(String::new()),
            scheduling_strategy: make.scheduling_strategy.clone(),
            service_name: Some(self.name.clone()),
            service_registries: registry.map(|registry| vec![registry]),
            tags: (!tags.is_empty()).then(|| tags.clone()),
            task_definition: Some(short(definition).to_owned()),
            ..Default::default()
        };
        let waiting = Waiting::now();
        settings.client.call(&request).await?;
        Ok(waiting)
    }

    fn say_created(&self, make: &MakeArgs, definition: &str) {
        let mut fields = rules_fields(make.rules);
        fields.push(("service", self.name.clone()));
        fields.push(("taskDefinition", short(definition).to_owned()));
        info("Created an ECS service", &fields);
    }

    /// UpdateService, and the wait for what it brings.
    async fn update(&self, change: Change, patience: Option<Duration>) -> Result<()> {
        let settings = self.project.settings;
        let request = ecs::UpdateServiceRequest {
            cluster: Some(settings.cluster.clone()),
            deployment_configuration: Some(change.rules.configuration()),
            desired_count: change.count,
            force_new_deployment: Some(change.force),
            health_check_grace_period_seconds: change.grace,
            network_configuration: self.project.network()?,
            service: Some(self.name.clone()),
            task_definition: change.definition.clone(),
            ..Default::default()
        };
        let waiting = Waiting::now();
        settings.client.call(&request).await.map_err(|error| self.advise(error))?;
        let message = match &change.definition {
            Some(_) => {
                "Updated the ECS service with a new task definition. Old containers will be stopped automatically, and \
                 replaced with new ones"
            }
            None => "Updated ECS service successfully",
        };
        let mut fields = rules_fields(change.rules);
        fields.extend(change.count.map(|count| ("desiredCount", count.to_string())));
        fields.push(("force-deployment", change.force.to_string()));
        fields.push(("service", self.name.clone()));
        fields.extend(change.definition.map(|definition| ("taskDefinition", definition)));
        info(message, &fields);
        self.wait(waiting, patience).await
    }

    /// AWS: by the Resource Groups Tagging API, which is not here; ECS's own operation does the same.
    async fn tag(&self, known: &ecs::Service) -> Result<()> {
        let request = ecs::TagResourceRequest {
            resource_arn: known.service_arn.clone(),
            tags: Some(self.project.flags.tags.clone()),
        };
        self.project.settings.client.call(&request).await.map(drop)
    }

    /// The service, or the reason of the failure.
    async fn described(&self) -> Result<Result<ecs::Service, String>> {
        let settings = self.project.settings;
        let request = ecs::DescribeServicesRequest {
            cluster: Some(settings.cluster.clone()),
            services: Some(vec![self.name.clone()]),
            ..Default::default()
        };
        let answer = settings.client.call(&request).await?;
        let reason = answer.failures.into_iter().flatten().find_map(|failure| failure.reason);
        let found = answer.services.into_iter().flatten().next();
        Ok(found.ok_or_else(|| reason.unwrap_or_else(|| MISSING.to_owned())))
    }

    fn not_described(&self, reason: &str) -> anyhow::Error {
        let error = anyhow!("Got an error describing service '{}' : '{reason}'", self.name);
        error.context(Advice::new(format!(
            "`compose service up` creates it; `aws ecs list-services --cluster {}` tells which there are",
            self.project.settings.cluster
        )))
    }

    fn advise(&self, error: anyhow::Error) -> anyhow::Error {
        match crate::cli::client::code(&error) {
            Some("ServiceNotFoundException" | "ServiceNotActiveException") => error
                .context(Advice::new("`compose service up` creates it; --project-name says which project is meant")),
            _ => error,
        }
    }
}

/// AWS: the CLI's own word for a definition, without the ARN's rest.
fn short(definition: &str) -> &str {
    definition.rsplit('/').next().unwrap_or(definition)
}

fn is_daemon(service: &ecs::Service) -> bool {
    service.scheduling_strategy.as_deref() == Some("DAEMON")
}

fn rules_fields(rules: RulesArgs) -> Vec<(&'static str, String)> {
    let max = rules.deployment_max_percent.map(|percent| ("deployment-max-percent", percent.to_string()));
    let min =
        rules.deployment_min_healthy_percent.map(|percent| ("deployment-min-healthy-percent", percent.to_string()));
    max.into_iter().chain(min).collect()
}

fn info(message: &str, fields: &[(&str, String)]) {
    let fields: Vec<_> = fields.iter().map(|(name, fact)| (*name, fact.as_str())).collect();
    say::info(message, &fields);
}

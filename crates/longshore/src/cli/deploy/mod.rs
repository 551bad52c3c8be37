//! `deploy`: a new image or definition for a service, watched until it is there, and undone if it is not.
//!
//! The scheduler does the work; what stands here asks for it, waits, and asks for the former definition when the new one
//! fails and the service's own circuit breaker has not done so already.

mod revision;
mod verdict;

use super::{
    Where, client,
    config::{self, Settings},
    definition,
    progress::Progress,
    say, service, terminal,
    wait::{self, Look, Row},
};
use crate::advice::Advice;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use shapes::ecs;
use std::{
    cell::RefCell,
    process::ExitCode,
    time::{Duration, Instant},
};
use verdict::Verdict;

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// The service's name or ARN.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// The new image of a container; may be given more than once. Without a container the only one is meant.
    #[arg(long = "image", value_name = "[CONTAINER=]IMAGE", value_parser = revision::image, required_unless_present = "task_definition")]
    images: Vec<revision::Image>,
    /// The definition to deploy, or to put the images into; the service's own if not given.
    #[arg(long, value_name = "FAMILY[:REVISION]")]
    task_definition: Option<String>,
    /// For how many minutes it may take.
    #[arg(long, value_name = "MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1440))]
    timeout: u32,
    /// Only ask for it, and do not wait.
    #[arg(long)]
    no_wait: bool,
    /// Leave a deployment that failed as it is.
    #[arg(long, conflicts_with = "no_wait")]
    no_rollback: bool,
    #[command(flatten)]
    output: say::OutputArgs,
    #[command(flatten)]
    place: Where,
}

/// For how long a server may be away while a deployment is watched: one that starts again is back within that.
const SERVER_AWAY: Duration = Duration::from_secs(30);

/// How often tasks that failed are looked for while a deployment is watched.
const FAILURES_EVERY: Duration = Duration::from_secs(2);

/// What is answered, and its JSON form.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    cluster: String,
    service: String,
    deployment: String,
    task_definition: String,
    former_task_definition: String,
    /// `started`, `completed`, `failed`, `rolledBack`, `timedOut`, `superseded`, `deleted`.
    outcome: &'static str,
    reason: Option<String>,
}

/// A deployment that was asked for.
struct Deploying<'a> {
    settings: &'a Settings,
    service: String,
    limit: Duration,
}

/// How watching ended.
enum End {
    Judged(Verdict),
    TimedOut,
}

pub(crate) async fn deploy(args: DeployArgs) -> Result<ExitCode> {
    let settings = config::settings(&args.place, None)?;
    let json = args.output.is_json();
    let known = service::gather::described(&settings, &args.service).await?;
    let name = known.service_name.clone().context("the service has no name")?;
    if known.status.as_deref() != Some("ACTIVE") {
        let error = anyhow!("The service {name} is being deleted");
        return Err(
            error.context(Advice::new("Wait until it is gone, then create it again: longshore compose service up"))
        );
    }
    let current = known.task_definition.clone().context("the service has no task definition; its task sets have")?;
    let former = last_good(&known).unwrap_or_else(|| current.clone());
    let base = args.task_definition.as_deref().unwrap_or(&current);
    let target = target(&settings, base, &args.images).await?;
    let limit = Duration::from_secs(u64::from(args.timeout) * 60);
    let deploying = Deploying { settings: &settings, service: name, limit };
    // The same once more: what its images' names mean may have changed.
    let ours = deploying.update(&target, target == current).await?;
    let mut answer = Answer {
        cluster: settings.cluster.clone(),
        service: deploying.service.clone(),
        deployment: ours.clone(),
        task_definition: short(&target).to_owned(),
        former_task_definition: short(&former).to_owned(),
        outcome: "started",
        reason: None,
    };
    say::info(
        &format!("Deploying {} to {} in place of {}", answer.task_definition, answer.service, short(&current)),
        &[],
    );
    let code = if args.no_wait {
        say::note(format_args!(
            "→ How far it is: longshore service status {} --cluster {}",
            deploying.service, settings.cluster
        ));
        ExitCode::SUCCESS
    } else {
        let end = deploying.watch(&ours, &former).await?;
        deploying.conclude(end, &mut answer, &former, args.no_rollback).await?
    };
    if json {
        say::json(&answer)?;
    }
    Ok(code)
}

/// What can be gone back to: the definition that was deployed to its end last.
fn last_good(service: &ecs::Service) -> Option<String> {
    let mut deployments = service.deployments.iter().flatten();
    deployments.find(|d| d.rollout_state.as_deref() == Some("COMPLETED"))?.task_definition.clone()
}

fn short(definition: &str) -> &str {
    definition.rsplit('/').next().unwrap_or(definition)
}

/// The ARN of what is to be deployed, registered if it has to be.
async fn target(settings: &Settings, base: &str, images: &[revision::Image]) -> Result<String> {
    let (definition, tags) = definition::described(settings, base).await?;
    let arn = definition.task_definition_arn.clone().context("the definition has no ARN")?;
    let Some(request) = revision::next(definition, tags, images)? else { return Ok(arn) };
    let registered = settings.client.call(&request).await?.task_definition;
    let arn = registered.and_then(|d| d.task_definition_arn).context("the registered definition has no ARN")?;
    say::info("Registered the next revision", &[("taskDefinition", short(&arn))]);
    Ok(arn)
}

impl Deploying<'_> {
    /// Asks for a definition; answers the id of its deployment.
    async fn update(&self, definition: &str, force: bool) -> Result<String> {
        let request = ecs::UpdateServiceRequest {
            cluster: Some(self.settings.cluster.clone()),
            service: Some(self.service.clone()),
            task_definition: Some(definition.to_owned()),
            force_new_deployment: force.then_some(true),
            ..Default::default()
        };
        let updated = self.settings.client.call(&request).await?.service.context("the answer has no service")?;
        let primary = updated.deployments.into_iter().flatten().find(|d| d.status.as_deref() == Some("PRIMARY"));
        primary.and_then(|d| d.id).context("the service has no primary deployment")
    }

    /// Watches a deployment until it is judged or time is up.
    #[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
    async fn watch(&self, ours: &str, former: &str) -> Result<End> {
        let begun = Instant::now();
        let last = RefCell::new((Look::default(), begun, Progress::since(Timestamp::now())));
        let end = RefCell::new(End::TimedOut);
        let failed = RefCell::new((begun, None));
        let look = || async {
            let known = service::gather::described(self.settings, &self.service).await;
            let failures = self.failures(ours, &failed).await;
            let now = Instant::now();
            let mut last = last.borrow_mut();
            match known {
                Ok(known) => {
                    let verdict = verdict::of(&known, ours, former);
                    let over = verdict.is_final();
                    *end.borrow_mut() = End::Judged(verdict);
                    last.0 = Look { over, ..last.2.look(&known) };
                    last.0.rows.extend(failures.clone());
                    last.1 = now;
                }
                // A server that does not answer is not one that refuses.
                Err(error) if client::code(&error).is_some() || now - last.1 > SERVER_AWAY => return Err(error),
                Err(_) => {}
            }
            if !last.0.over && begun.elapsed() > self.limit {
                *end.borrow_mut() = End::TimedOut;
                last.0.over = true;
            }
            Ok(last.0.clone())
        };
        let unknown = || {
            Advice::new(format!(
                "The deployment goes on: longshore service status {} --cluster {}",
                self.service, self.settings.cluster
            ))
        };
        wait::until_over(&format!("Deploying to {}", self.service), None, look, || ()).await.with_context(unknown)?;
        Ok(end.into_inner())
    }

    /// A row that tells of the deployment's tasks that failed, looked at anew from time to time.
    #[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
    async fn failures(&self, ours: &str, last: &RefCell<(Instant, Option<Row>)>) -> Option<Row> {
        if last.borrow().0.elapsed() > FAILURES_EVERY {
            // What is not known now is known at the next look.
            let found = service::gather::failed_of(self.settings, &self.service, ours).await.unwrap_or_default();
            let state = found.map(|(count, why)| format!("{count}, the last: {why}"));
            let row = state.map(|state| Row { name: "failed tasks".to_owned(), state, end: Some(wait::End::Badly) });
            *last.borrow_mut() = (Instant::now(), row);
        }
        last.borrow().1.clone()
    }

    /// Says how it ended, and goes back if that is to be done.
    async fn conclude(&self, end: End, answer: &mut Answer, former: &str, stay: bool) -> Result<ExitCode> {
        let definition = answer.task_definition.clone();
        let minutes = self.limit.as_secs() / 60;
        let (outcome, reason, back) = match end {
            End::Judged(Verdict::Completed) => {
                answer.outcome = "completed";
                say::info(&format!("{definition} is deployed to {}", self.service), &[]);
                return Ok(ExitCode::SUCCESS);
            }
            End::Judged(Verdict::Failed(reason)) => ("failed", reason, true),
            End::Judged(Verdict::InProgress | Verdict::RollingBack(_)) | End::TimedOut => {
                ("timedOut", format!("it was not done after {minutes} minutes"), true)
            }
            End::Judged(Verdict::RolledBack(reason)) => ("rolledBack", reason, false),
            End::Judged(Verdict::Superseded(by)) => {
                ("superseded", format!("{} was deployed meanwhile", short(&by)), false)
            }
            End::Judged(Verdict::Deleted) => ("deleted", "the service was deleted meanwhile".to_owned(), false),
        };
        (answer.outcome, answer.reason) = (outcome, Some(reason.clone()));
        say::error(&format!("The deployment of {definition} to {} failed: {reason}", self.service), &[]);
        self.show_failures().await;
        match (outcome, back) {
            ("rolledBack", _) => say::info(&format!("Its circuit breaker went back to {}", short(former)), &[]),
            (_, true) => self.go_back(former, &definition, stay, answer).await?,
            (_, _) => {}
        }
        Ok(ExitCode::FAILURE)
    }

    /// Deploys the former definition again and waits for it.
    async fn go_back(&self, former: &str, failed: &str, stay: bool, answer: &mut Answer) -> Result<()> {
        let (service, cluster, short) = (&self.service, &self.settings.cluster, short(former));
        let by_hand = format!("longshore deploy {service} --cluster {cluster} --task-definition {short}");
        if short == failed {
            say::note(format_args!(
                "There is nothing to go back to: it is the same definition. See longshore service status {service}"
            ));
            return Ok(());
        }
        if stay {
            say::note(format_args!("→ To go back: {by_hand}"));
            return Ok(());
        }
        say::info(&format!("Going back to {short}"), &[]);
        let back = self.update(former, false).await?;
        match self.watch(&back, former).await? {
            End::Judged(Verdict::Completed) => {
                answer.outcome = "rolledBack";
                say::info(&format!("{short} is deployed again"), &[]);
                Ok(())
            }
            End::Judged(Verdict::Superseded(_)) => Ok(()),
            End::Judged(_) | End::TimedOut => {
                let error = anyhow!("{short} did not come back either");
                Err(error.context(Advice::new(format!("longshore service status {service} --cluster {cluster}"))))
            }
        }
    }

    /// That they cannot be shown is no reason not to go back.
    async fn show_failures(&self) {
        let shown = async {
            let known = service::gather::described(self.settings, &self.service).await?;
            let failures = service::gather::last_failures(self.settings, &known).await?;
            if failures.is_empty() {
                bail!("no task failed");
            }
            let now = super::status::judge::rfc3339(Timestamp::now());
            for line in service::show::failures(&failures, &now, terminal::width()) {
                say::note(line);
            }
            Ok(())
        };
        if shown.await.is_err() {
            say::note(format_args!(
                "→ longshore service status {} --cluster {} tells more",
                self.service, self.settings.cluster
            ));
        }
    }
}

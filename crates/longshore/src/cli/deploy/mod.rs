//! `deploy`: a new image or definition for a service, watched until it is there, and undone if it is not.
//!
//! The scheduler does the work; what stands here asks for it, waits, and asks for the way back (`back`) when the new
//! definition fails and the service's own circuit breaker has not done so already.

mod back;
mod revision;
mod verdict;

use super::{
    Where, client,
    config::{self, Settings},
    definition,
    progress::Progress,
    say,
    service::{self, Hold},
    terminal,
    wait::{self, Look, Row},
};
use crate::advice::{Advice, in_region};
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
    /// For how many minutes it may take. It is given up earlier where three tasks in a row did not start for the same reason,
    /// none of the deployment runs, and the service has no circuit breaker to judge that. One that waits at a PAUSE hook for
    /// somebody is left alone.
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

/// How often tasks that failed, and hooks that are waited for, are looked for while a deployment is watched.
const CLOSER_EVERY: Duration = Duration::from_secs(2);

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

/// What deployments are asked for.
struct Deploying<'a> {
    settings: &'a Settings,
    service: String,
    limit: Duration,
    /// The definition that was deployed to its end last. None if none ever was.
    former: Option<String>,
    /// The definition that the service had, to its end or not.
    before: String,
}

/// How watching ended.
enum End {
    Judged(Verdict),
    /// No task of it starts, and it is not to be expected that one does: why.
    NeverStarts(String),
    TimedOut,
    /// Time is up, and it waits for somebody to act: for what, and how that is done.
    Paused(Hold),
}

/// What takes more than a look at the service to know, and so is looked for less often.
#[derive(Default)]
struct Closer {
    at: Option<Instant>,
    rows: Vec<Row>,
    never_starts: Option<String>,
    paused: Option<Hold>,
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
    let former = last_good(&known);
    let base = args.task_definition.as_deref().unwrap_or(&current);
    let target = target(&settings, base, &args.images).await?;
    let limit = Duration::from_secs(u64::from(args.timeout) * 60);
    let deploying = Deploying { settings: &settings, service: name, limit, former, before: current.clone() };
    // The same once more: what its images' names mean may have changed.
    let ours = deploying.update(&target, target == current).await?;
    let mut answer = Answer {
        cluster: settings.cluster.clone(),
        service: deploying.service.clone(),
        deployment: ours.clone(),
        task_definition: short(&target).to_owned(),
        former_task_definition: short(deploying.former.as_deref().unwrap_or(&current)).to_owned(),
        outcome: "started",
        reason: None,
    };
    say::info(
        &format!("Deploying {} to {} in place of {}", answer.task_definition, answer.service, short(&current)),
        &[],
    );
    let code = if args.no_wait {
        say::note(format_args!("→ How far it is: {}", deploying.look()));
        ExitCode::SUCCESS
    } else {
        let end = deploying.watch(&ours).await?;
        deploying.conclude(end, &mut answer, args.no_rollback).await?
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

/// The verdict with the reason that was told when the deployment turned back: the service forgets it with the deployment.
fn remembering(verdict: Verdict, turned: &mut Option<String>) -> Verdict {
    match verdict {
        Verdict::RollingBack(reason) => {
            *turned = Some(reason.clone());
            Verdict::RollingBack(reason)
        }
        Verdict::RolledBack(reason) => Verdict::RolledBack(turned.take().unwrap_or(reason)),
        other @ (Verdict::InProgress
        | Verdict::Completed
        | Verdict::Failed(_)
        | Verdict::NotRolledBack(_)
        | Verdict::Superseded(_)
        | Verdict::Deleted) => other,
    }
}

/// Whether the service's own circuit breaker decides when too much failed.
fn judges_failures(service: &ecs::Service) -> bool {
    let breaker = service.deployment_configuration.as_ref().and_then(|rules| rules.deployment_circuit_breaker.as_ref());
    breaker.is_some_and(|breaker| breaker.enable == Some(true))
}

/// Whether a task of the deployment runs.
fn runs(service: &ecs::Service, deployment: &str) -> bool {
    let ours = service.deployments.iter().flatten().find(|d| d.id.as_deref() == Some(deployment));
    ours.and_then(|ours| ours.running_count).is_some_and(|running| running > 0)
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

    /// A command to be copied, with the region if it must name it.
    fn there(&self, command: &str) -> String {
        in_region(command, self.settings.region_to_say.as_deref())
    }

    /// The command that tells how the service is.
    fn look(&self) -> String {
        self.there(&format!("longshore service status {} --cluster {}", self.service, self.settings.cluster))
    }

    /// What became of a deployment of ours.
    fn verdict(&self, service: &ecs::Service, ours: &str) -> Verdict {
        verdict::of(service, ours, self.former.as_deref())
    }

    /// Watches a deployment until it is judged or time is up.
    #[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
    async fn watch(&self, ours: &str) -> Result<End> {
        let begun = Instant::now();
        let last = RefCell::new((Look::default(), begun, Progress::since(Timestamp::now())));
        let end = RefCell::new(End::TimedOut);
        let closer = RefCell::new(Closer { at: Some(begun), ..Closer::default() });
        let turned = RefCell::new(None);
        let look = || async {
            let known = service::gather::described(self.settings, &self.service).await;
            if let Ok(known) = &known {
                self.look_closer(known, ours, &closer).await;
            }
            let now = Instant::now();
            let (mut last, closer) = (last.borrow_mut(), closer.borrow());
            match known {
                Ok(known) => {
                    let verdict = remembering(self.verdict(&known, ours), &mut turned.borrow_mut());
                    let never = closer.never_starts.clone().filter(|_| verdict == Verdict::InProgress);
                    let over = verdict.is_final() || never.is_some() || begun.elapsed() > self.limit;
                    last.0 = Look { over, ..last.2.look(&known) };
                    last.0.rows.extend(closer.rows.clone());
                    last.1 = now;
                    *end.borrow_mut() = match (never, closer.paused.clone()) {
                        _ if verdict.is_final() => End::Judged(verdict),
                        (Some(why), _) => End::NeverStarts(why),
                        (None, Some(paused)) => End::Paused(paused),
                        (None, None) => End::TimedOut,
                    };
                }
                // A server that does not answer is not one that refuses.
                Err(error) if client::code(&error).is_some() || now - last.1 > SERVER_AWAY => return Err(error),
                Err(_) => {}
            }
            Ok(last.0.clone())
        };
        let unknown = || Advice::new(format!("The deployment goes on: {}", self.look()));
        wait::until_over(&format!("Deploying to {}", self.service), None, look, || ()).await.with_context(unknown)?;
        Ok(end.into_inner())
    }

    /// Looks from time to time at the deployment's tasks that failed and at its hooks. What is not known now is known at the
    /// next look.
    #[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
    async fn look_closer(&self, known: &ecs::Service, ours: &str, closer: &RefCell<Closer>) {
        if closer.borrow().at.is_some_and(|at| at.elapsed() < CLOSER_EVERY) {
            return;
        }
        let mut found = Closer { at: Some(Instant::now()), ..Closer::default() };
        let stopped = service::gather::stopped(self.settings, &self.service).await.unwrap_or_default();
        if let Some((count, why)) = service::failures::failed_of(&stopped, ours) {
            let state = format!("{count}, the last: {why}");
            found.rows.push(Row { name: "failed tasks".to_owned(), state, end: Some(wait::End::Badly) });
        }
        if !judges_failures(known) && !runs(known, ours) {
            let never = service::failures::never_starts(&stopped, ours);
            found.never_starts = never.map(|(count, why)| format!("{count} tasks in a row did not start: {why}"));
        }
        let story = service::gather::story(self.settings, known).await.unwrap_or_default();
        let stage = story.as_ref().and_then(service::stage::stage);
        if let (Some(story), Some(stage)) = (&story, stage) {
            let proceed =
                self.there(&format!("longshore service continue {} --cluster {}", self.service, self.settings.cluster));
            let waits = service::stage::waits(story, &proceed, Timestamp::now());
            let what = waits.first().map_or(stage, |hold| hold.what.as_str());
            found.rows.push(Row { name: "stage".to_owned(), state: what.to_owned(), end: None });
            let awaited = !service::stage::awaiting(story).is_empty();
            found.paused = waits.into_iter().next().filter(|_| awaited);
        }
        *closer.borrow_mut() = found;
    }

    /// Says how it ended, and goes back if that is to be done.
    async fn conclude(&self, end: End, answer: &mut Answer, stay: bool) -> Result<ExitCode> {
        let definition = answer.task_definition.clone();
        let late = format!("it was not done after {} minutes", self.limit.as_secs() / 60);
        let (outcome, reason, back) = match end {
            End::Judged(Verdict::Completed) => {
                answer.outcome = "completed";
                say::info(&format!("{definition} is deployed to {}", self.service), &[]);
                return Ok(ExitCode::SUCCESS);
            }
            End::Judged(Verdict::Failed(reason)) | End::NeverStarts(reason) => ("failed", reason, true),
            End::TimedOut | End::Judged(Verdict::InProgress | Verdict::RollingBack(_)) => ("timedOut", late, true),
            End::Paused(Hold { what, next, .. }) => {
                let next = next.map(|next| format!("\n→ {next}")).unwrap_or_default();
                say::note(format_args!("After {} minutes {what}; it is left so{next}", self.limit.as_secs() / 60));
                (answer.outcome, answer.reason) = ("timedOut", Some(what));
                return Ok(ExitCode::FAILURE);
            }
            End::Judged(Verdict::RolledBack(reason)) => ("rolledBack", reason, false),
            End::Judged(Verdict::NotRolledBack(reason)) => {
                ("failed", format!("the way back failed too: {reason}"), false)
            }
            End::Judged(Verdict::Superseded(by)) => {
                ("superseded", format!("{} was deployed meanwhile", short(&by)), false)
            }
            End::Judged(Verdict::Deleted) => ("deleted", "the service was deleted meanwhile".to_owned(), false),
        };
        (answer.outcome, answer.reason) = (outcome, Some(reason.clone()));
        say::error(&format!("The deployment of {definition} to {} failed: {reason}", self.service), &[]);
        self.show_failures().await;
        match (outcome, back) {
            ("rolledBack", _) => self.say_back(&reason),
            (_, true) => self.go_back(answer, stay).await?,
            (_, _) => {}
        }
        Ok(ExitCode::FAILURE)
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
            say::note(format_args!("→ {} tells more", self.look()));
        }
    }
}

//! `service continue`: somebody decides at a PAUSE hook that a deployment goes on, or back.

use super::{gather, stage};
use crate::{
    advice::Advice,
    cli::{Where, config, say},
};
use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde::Serialize;
use shapes::ecs;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct ServiceContinueArgs {
    /// The service's name or ARN.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// The hook that is decided on; needed only where several await an action.
    #[arg(long, value_name = "ID")]
    hook: Option<String>,
    /// Go back to the revision before instead.
    #[arg(long)]
    rollback: bool,
    #[command(flatten)]
    output: say::OutputArgs,
    #[command(flatten)]
    place: Where,
}

/// What is answered in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    cluster: &'a str,
    service: &'a str,
    service_deployment: &'a str,
    stage: &'a str,
    hook: &'a str,
    /// `CONTINUE` or `ROLLBACK`.
    action: &'static str,
}

pub(super) async fn proceed(args: ServiceContinueArgs) -> Result<ExitCode> {
    let settings = config::settings(&args.place, None)?;
    let json = args.output.is_json();
    let known = gather::described(&settings, &args.service).await?;
    let name = known.service_name.as_deref().unwrap_or(&args.service);
    let (cluster, status) = (&settings.cluster, settings.client.there(&format!("longshore service status {name}")));
    let advised = |error: anyhow::Error| error.context(Advice::new(format!("{status} --cluster {cluster}")));
    let story = gather::story(&settings, &known).await?;
    let story = story.ok_or_else(|| advised(anyhow!("The service {name} is in no deployment")))?;
    let hook = chosen(name, &story, args.hook.as_deref()).map_err(advised)?;
    let action = if args.rollback { "ROLLBACK" } else { "CONTINUE" };
    let arn = story.service_deployment_arn.as_deref().context("the deployment has no ARN")?;
    let request = ecs::ContinueServiceDeploymentRequest {
        service_deployment_arn: Some(arn.to_owned()),
        hook_id: Some(hook.to_owned()),
        action: Some(action.to_owned()),
    };
    settings.client.call(&request).await?;
    let stage = stage::stage(&story).unwrap_or_default();
    if json {
        say::json(&Answer { cluster, service: name, service_deployment: arn, stage, hook, action })?;
    } else {
        let goes = if args.rollback { "back" } else { "on" };
        say::info(&format!("The deployment of {name} goes {goes} from the stage {stage} (hook {hook})"), &[]);
        say::note(format_args!("→ How far it is: {status} --cluster {cluster}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The hook that is meant: one that awaits an action.
fn chosen<'a>(name: &str, story: &'a ecs::ServiceDeployment, asked: Option<&str>) -> Result<&'a str> {
    let awaiting = stage::awaiting(story);
    let listed = awaiting.join(", ");
    match (awaiting.as_slice(), asked) {
        ([], _) => {
            let status = story.status.as_deref().unwrap_or("of no status");
            let stage = stage::stage(story).map(|stage| format!(", in the stage {stage}")).unwrap_or_default();
            Err(anyhow!("No hook of {name} awaits an action; its deployment is {status}{stage}"))
        }
        ([one], None) => Ok(one),
        (_, None) => Err(anyhow!("Several hooks of {name} await an action; choose one with --hook: {listed}")),
        (all, Some(asked)) => all.iter().find(|id| **id == asked).copied().ok_or_else(|| {
            let hooks = story.lifecycle_hook_details.iter().flatten();
            let known = hooks.into_iter().find(|hook| hook.hook_id.as_deref() == Some(asked));
            match known.and_then(|hook| hook.status.as_deref()) {
                Some(status) => anyhow!("The hook {asked} is {status}; those that await an action: {listed}"),
                None => anyhow!("{name} has no hook {asked}; those that await an action: {listed}"),
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hook_that_is_meant_awaits_an_action() {
        let story = |status: &str, hooks: &[(&str, &str)]| {
            let hook = |(id, status): &(&str, &str)| ecs::DeploymentLifecycleHookDetail {
                hook_id: Some((*id).into()),
                status: Some((*status).into()),
                ..Default::default()
            };
            ecs::ServiceDeployment {
                status: Some(status.into()),
                lifecycle_stage: Some("PRE_SCALE_UP".into()),
                lifecycle_hook_details: Some(hooks.iter().map(hook).collect()),
                ..Default::default()
            }
        };
        let (open, done) = ("AWAITING_ACTION", "SUCCEEDED");
        let none = "No hook of web awaits an action; its deployment is ";
        for (status, hooks, asked, wanted) in [
            ("IN_PROGRESS", &[("a", done), ("b", open)][..], None, Ok("b")),
            ("ROLLBACK_IN_PROGRESS", &[("b", open)], Some("b"), Ok("b")),
            ("IN_PROGRESS", &[("b", open), ("c", open)], Some("c"), Ok("c")),
            (
                "IN_PROGRESS",
                &[("b", open), ("c", open)],
                None,
                Err("Several hooks of web await an action; choose one with --hook: b, c".to_owned()),
            ),
            (
                "IN_PROGRESS",
                &[("a", done), ("b", open)],
                Some("a"),
                Err("The hook a is SUCCEEDED; those that await an action: b".to_owned()),
            ),
            (
                "IN_PROGRESS",
                &[("b", open)],
                Some("x"),
                Err("web has no hook x; those that await an action: b".to_owned()),
            ),
            ("IN_PROGRESS", &[("a", done)], None, Err(format!("{none}IN_PROGRESS, in the stage PRE_SCALE_UP"))),
            ("SUCCESSFUL", &[("a", open)], None, Err(format!("{none}SUCCESSFUL"))),
        ] {
            let story = story(status, hooks);
            let got = chosen("web", &story, asked).map_err(|error| error.to_string());
            assert_eq!(got, wanted, "{status} {hooks:?} {asked:?}");
        }
    }
}

//! `run`: a one-off task. With `--wait` it is as if the container ran here: its output, and its exit code.

use super::{
    Where,
    config::{self, Settings},
    definition,
    logs::{How, Stream, place, show_all},
    ps, say, wait,
};
use crate::advice::Advice;
use anyhow::{Context, Result, anyhow};
use clap::Args;
use shapes::ecs;
use std::{collections::BTreeSet, process::ExitCode, time::Duration};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The task definition; its newest revision if none is given.
    #[arg(value_name = "FAMILY[:REVISION]")]
    family: String,
    /// The command of the container, split as a shell does.
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    command: Option<String>,
    /// An environment variable; may be given more than once.
    #[arg(long, short = 'e', value_name = "KEY=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// The container that command and variables are for; the only one if not given.
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// How many tasks.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Let commands be run in its containers (`longshore exec`).
    #[arg(long)]
    enable_execute_command: bool,
    /// Show what it writes, wait until it ends, and exit with its essential container's exit code.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: say::OutputArgs,
    #[command(flatten)]
    place: Where,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not a variable; write KEY=VALUE")),
    }
}

/// Tasks of one RunTask. Source: service model.
const RUN_BATCH: u16 = 10;
/// Tasks of one describe. Source: service model.
const BATCH: usize = 100;
/// How long tasks may take until they run: the longest pull that anybody waits for.
const START_WITHIN: Duration = Duration::from_secs(3600);
/// How often output is asked for.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Looks in a row that bring nothing before output is taken to be all of it: instances send it in batches, so the last lines
/// come after the task's end.
const QUIET_LOOKS: u32 = 4;
/// As many where a container has written nothing yet: on a busy machine its first lines are its last, and late.
const SILENT_LOOKS: u32 = 8;
/// The exit code of a task that has none.
const NO_CODE: u8 = 1;

pub(crate) async fn run(args: RunArgs) -> Result<ExitCode> {
    let settings = config::settings(&args.place, None)?;
    let json = args.output.is_json();
    let (definition, _) = definition::described(&settings, &args.family).await?;
    let arn = definition.task_definition_arn.clone().context("the definition has no ARN")?;
    let request = ecs::RunTaskRequest {
        cluster: Some(settings.cluster.clone()),
        launch_type: settings.launch_type.clone(),
        overrides: overrides(&definition, &args)?,
        task_definition: Some(arn.clone()),
        enable_execute_command: args.enable_execute_command.then_some(true),
        ..Default::default()
    };
    let (tasks, refused) = launch(&settings, request, args.count).await?;
    let name = arn.rsplit('/').next().unwrap_or(&arn);
    if tasks.is_empty() {
        let reasons = refused.join(", ");
        let error = anyhow!("no task of {name} could be placed in cluster {}: {reasons}", settings.cluster);
        return Err(error.context(Advice::new(format!(
            "`longshore status --cluster {}` tells what room there is; `longshore scale --size N` or `longshore up` make more",
            settings.cluster
        ))));
    }
    if !args.wait {
        if json {
            say::json(&tasks)?;
        } else {
            tasks.iter().for_each(|task| say::out(format_args!("Started task {} of {name}", id(task))));
        }
        return Ok(concluded(0, &refused, args.count));
    }
    let ended = follow(&settings, &definition, &tasks, !json).await?;
    let essential = definition::essential(&definition);
    for task in &ended {
        if let Some(why) = trouble(task, &essential) {
            say::note(format_args!("longshore: task {} of {name}: {why}", id(task)));
        }
    }
    if json {
        say::json(&ended)?;
    }
    let codes = ended.iter().map(|task| exit_code(task, &essential).unwrap_or(NO_CODE));
    let code = codes.into_iter().find(|code| *code != 0).unwrap_or(0);
    Ok(concluded(code, &refused, args.count))
}

/// The exit code: that of the tasks, or 1 where not all of them could be placed.
fn concluded(code: u8, refused: &[String], count: u16) -> ExitCode {
    if !refused.is_empty() {
        say::note(format_args!("longshore: not all {count} tasks could be placed: {}", refused.join(", ")));
    }
    ExitCode::from(if code == 0 && !refused.is_empty() { NO_CODE } else { code })
}

fn id(task: &ecs::Task) -> &str {
    task.task_arn.as_deref().and_then(|arn| arn.rsplit('/').next()).unwrap_or_default()
}

fn overrides(definition: &ecs::TaskDefinition, args: &RunArgs) -> Result<Option<ecs::TaskOverride>> {
    if args.command.is_none() && args.env.is_empty() && args.container.is_none() {
        return Ok(None);
    }
    let at = definition::container(definition, args.container.as_deref()).context("--container NAME")?;
    let container = definition.container_definitions.as_ref().and_then(|all| all.get(at));
    let words = |line: &String| model::words::split(line).with_context(|| format!("unbalanced quotes in '{line}'"));
    let variable =
        |(name, value): &(String, String)| ecs::KeyValuePair { name: Some(name.clone()), value: Some(value.clone()) };
    let container = ecs::ContainerOverride {
        name: container.and_then(|c| c.name.clone()),
        command: args.command.as_ref().map(words).transpose()?,
        environment: (!args.env.is_empty()).then(|| args.env.iter().map(variable).collect()),
        ..Default::default()
    };
    Ok(Some(ecs::TaskOverride { container_overrides: Some(vec![container]), ..Default::default() }))
}

/// The tasks that were started, and why others were not.
async fn launch(
    settings: &Settings,
    request: ecs::RunTaskRequest,
    count: u16,
) -> Result<(Vec<ecs::Task>, Vec<String>)> {
    let (mut tasks, mut refused, mut left) = (Vec::new(), BTreeSet::new(), count);
    while left > 0 && refused.is_empty() {
        let batch = left.min(RUN_BATCH);
        let request = ecs::RunTaskRequest { count: Some(batch.into()), ..request.clone() };
        let answer = settings.client.call(&request).await?;
        tasks.extend(answer.tasks.unwrap_or_default());
        refused.extend(answer.failures.into_iter().flatten().filter_map(|failure| failure.reason));
        left -= batch;
    }
    Ok((tasks, refused.into_iter().collect()))
}

/// Shows what the tasks write until they have stopped; answers them as they are then.
#[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
async fn follow(
    settings: &Settings,
    definition: &ecs::TaskDefinition,
    tasks: &[ecs::Task],
    show: bool,
) -> Result<Vec<ecs::Task>> {
    let arns: Vec<_> = tasks.iter().filter_map(|task| task.task_arn.clone()).collect();
    wait::tasks(&settings.client, &settings.cluster, &arns, "RUNNING", START_WITHIN, |_| ()).await?;
    let mut streams = if show { streams(settings, definition, tasks) } else { Vec::new() };
    if show && streams.is_empty() {
        say::note("Its output is not shown: no container logs to awslogs with a stream prefix");
    }
    let how = How { follow: true, ..How::default() };
    let mut quiet = 0;
    loop {
        let mut all = Vec::new();
        for batch in arns.chunks(BATCH) {
            all.extend(ps::describe(&settings.client, &settings.cluster, batch.to_vec()).await?);
        }
        let lines = show_all(&mut streams, &how).await?;
        if all.iter().all(|task| task.last_status.as_deref() == Some("STOPPED")) {
            quiet = if lines == 0 { quiet + 1 } else { 0 };
            let enough = if streams.iter().all(Stream::has_shown) { QUIET_LOOKS } else { SILENT_LOOKS };
            if quiet >= enough || streams.is_empty() {
                return Ok(all);
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// The streams of all containers; where there are several, each line says whose it is.
fn streams(settings: &Settings, definition: &ecs::TaskDefinition, tasks: &[ecs::Task]) -> Vec<Stream> {
    let containers = definition.container_definitions.as_deref().unwrap_or_default();
    let mut places = Vec::new();
    for (number, task) in tasks.iter().enumerate() {
        for container in containers {
            let name = container.name.as_deref().unwrap_or_default();
            let whose = if tasks.len() > 1 { format!("{} {name}", number + 1) } else { name.to_owned() };
            places.extend(place(container, id(task), &settings.region).map(|place| (whose, place)));
        }
    }
    let several = places.len() > 1;
    let prefix = |whose: &str| if several { format!("{whose} | ") } else { String::new() };
    places.into_iter().map(|(whose, place)| Stream::new(&settings.client, place, prefix(&whose), None)).collect()
}

/// Exit codes of processes that were told to stop, by SIGTERM or SIGKILL: those of the containers that outlived the one whose
/// end was the task's.
const STOPPED_BY_SIGNAL: [i32; 2] = [143, 137];

/// The exit code of the essential container with whose end the task ended. `None` if none of them ever ran.
fn exit_code(task: &ecs::Task, essential: &[&str]) -> Option<u8> {
    let containers = task.containers.iter().flatten();
    let codes = containers.filter(|c| c.name.as_deref().is_some_and(|name| essential.contains(&name)));
    let codes: Vec<i32> = codes.filter_map(|c| c.exit_code).collect();
    let own = |code: &&i32| !STOPPED_BY_SIGNAL.contains(code);
    let bad = codes.iter().filter(own).find(|code| **code != 0);
    let code = bad.or_else(|| codes.iter().find(own)).or(codes.first())?;
    // A code outside of what a process can have is a failure all the same.
    Some(u8::try_from(*code).unwrap_or(NO_CODE))
}

/// What a person has to be told of a task besides its exit code.
fn trouble(task: &ecs::Task, essential: &[&str]) -> Option<String> {
    let reason = task.containers.iter().flatten().find_map(|c| c.reason.clone()).filter(|reason| !reason.is_empty());
    match exit_code(task, essential) {
        Some(0) => None,
        Some(code) => reason.map(|reason| format!("exit code {code}: {reason}")),
        None => Some(reason.or_else(|| task.stopped_reason.clone()).unwrap_or_else(|| "it never ran".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_of_the_container_with_whose_end_the_task_ended() {
        let container = |(name, code): &(&str, Option<i32>)| ecs::Container {
            name: Some((*name).to_owned()),
            exit_code: *code,
            reason: code.is_none().then(|| "CannotPullContainerError".to_owned()),
            ..Default::default()
        };
        let check = |containers: &[(&str, Option<i32>)], code: Option<u8>, told: Option<&str>| {
            let task = ecs::Task { containers: Some(containers.iter().map(container).collect()), ..Default::default() };
            let essential = ["app", "side"];
            let got = (exit_code(&task, &essential), trouble(&task, &essential));
            assert_eq!(got, (code, told.map(str::to_owned)), "{containers:?}");
        };
        check(&[("app", Some(0))], Some(0), None);
        check(&[("app", Some(42))], Some(42), None);
        check(&[("app", Some(0)), ("side", Some(143))], Some(0), None);
        check(&[("app", Some(137)), ("side", Some(0))], Some(0), None);
        check(&[("side", Some(137)), ("app", Some(3))], Some(3), None);
        check(&[("app", Some(137))], Some(137), None);
        check(&[("app", Some(0)), ("helper", Some(9))], Some(0), None);
        check(&[("app", Some(-1))], Some(1), None);
        check(&[("app", None)], None, Some("CannotPullContainerError"));
        check(&[("app", Some(5)), ("side", None)], Some(5), Some("exit code 5: CannotPullContainerError"));
        check(&[], None, Some("it never ran"));
    }

    #[test]
    fn variables() {
        for (text, wanted) in [
            ("A=b", Some(("A", "b"))),
            ("A=b=c", Some(("A", "b=c"))),
            ("A=", Some(("A", ""))),
            ("A", None),
            ("=b", None),
        ] {
            let wanted = wanted.map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(variable(text).ok(), wanted, "{text}");
        }
    }
}

//! `logs`: what a task's containers wrote, from the log streams that its definition names.

use super::{Client, Where, config, say};
use anyhow::{Context, Result, bail};
use clap::Args;
use shapes::{ecs, logs as cw};
use std::time::Duration;

/// How often `--follow` asks for more.
const ASK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The task.
    #[arg(long)]
    task_id: String,
    /// Its definition, if the task is no longer known.
    #[arg(long)]
    task_def: Option<String>,
    /// Only this container.
    #[arg(long)]
    container_name: Option<String>,
    /// Go on showing what comes.
    #[arg(long)]
    follow: bool,
    /// Only lines that match.
    #[arg(long)]
    filter_pattern: Option<String>,
    /// Only the last minutes.
    #[arg(long)]
    since: Option<i64>,
    /// Show times.
    #[arg(long, short = 't')]
    timestamps: bool,
    #[command(flatten)]
    place: Where,
}

/// One container's stream.
struct Stream {
    group: String,
    name: String,
}

#[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
pub(crate) async fn logs(args: LogsArgs, endpoint: Option<String>) -> Result<()> {
    let settings = config::settings(&args.place, endpoint)?;
    let client = &settings.client;
    let definition = match &args.task_def {
        Some(name) => name.clone(),
        None => definition_of(client, &settings.cluster, &args.task_id).await?,
    };
    let streams = streams(client, &args, &definition).await?;
    let since = args.since.map(|minutes| jiff::Timestamp::now().as_millisecond() - minutes * 60_000);
    let mut tokens: Vec<Option<String>> = vec![None; streams.len()];
    loop {
        for (stream, token) in streams.iter().zip(&mut tokens) {
            if args.filter_pattern.is_some() && !args.follow {
                filtered(client, &args, stream, since).await?;
            } else {
                read(client, &args, stream, since, token).await?;
            }
        }
        if !args.follow {
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn definition_of(client: &Client, cluster: &str, task: &str) -> Result<String> {
    let task = super::ps::describe(client, cluster, vec![task.to_owned()]).await?.into_iter().next();
    let task = task.context("The task is not known in this cluster; name its definition with --task-def")?;
    task.task_definition_arn.context("the task has no definition")
}

async fn streams(client: &Client, args: &LogsArgs, definition: &str) -> Result<Vec<Stream>> {
    let request =
        ecs::DescribeTaskDefinitionRequest { task_definition: Some(definition.to_owned()), ..Default::default() };
    let definition = client.call(&request).await?.task_definition.context("the definition is gone")?;
    let id = args.task_id.rsplit('/').next().unwrap_or_default();
    let mut streams = Vec::new();
    for container in definition.container_definitions.into_iter().flatten() {
        let name = container.name.unwrap_or_default();
        if args.container_name.as_ref().is_some_and(|wanted| *wanted != name) {
            continue;
        }
        let Some(configuration) = container.log_configuration else { continue };
        if configuration.log_driver.as_deref() != Some("awslogs") {
            continue;
        }
        let options = configuration.options.unwrap_or_default();
        let (Some(group), Some(prefix)) = (options.get("awslogs-group"), options.get("awslogs-stream-prefix")) else {
            continue;
        };
        streams.push(Stream { group: group.clone(), name: format!("{prefix}/{name}/{id}") });
    }
    if streams.is_empty() {
        bail!("No container of the task logs to awslogs with a stream prefix; add logging to the definition");
    }
    Ok(streams)
}

/// Everything behind `token`; leaves the token behind what was shown.
async fn read(
    client: &Client,
    args: &LogsArgs,
    stream: &Stream,
    since: Option<i64>,
    token: &mut Option<String>,
) -> Result<()> {
    loop {
        let request = cw::GetLogEventsRequest {
            log_group_name: Some(stream.group.clone()),
            log_stream_name: Some(stream.name.clone()),
            start_from_head: Some(true),
            start_time: since,
            next_token: token.clone(),
            ..Default::default()
        };
        let page = match client.call(&request).await {
            Ok(page) => page,
            // A container that has not written yet has no stream yet.
            Err(e) if super::client::code(&e) == Some("ResourceNotFoundException") => return Ok(()),
            Err(e) => return Err(e),
        };
        for event in page.events.into_iter().flatten() {
            show(args, event.timestamp, event.message.as_deref().unwrap_or_default());
        }
        let end = page.next_forward_token == *token;
        *token = page.next_forward_token;
        if end {
            return Ok(());
        }
    }
}

async fn filtered(client: &Client, args: &LogsArgs, stream: &Stream, since: Option<i64>) -> Result<()> {
    let mut next_token = None;
    loop {
        let request = cw::FilterLogEventsRequest {
            log_group_name: Some(stream.group.clone()),
            log_stream_names: Some(vec![stream.name.clone()]),
            filter_pattern: args.filter_pattern.clone(),
            start_time: since,
            next_token,
            ..Default::default()
        };
        let page = client.call(&request).await?;
        for event in page.events.into_iter().flatten() {
            show(args, event.timestamp, event.message.as_deref().unwrap_or_default());
        }
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(());
        }
    }
}

/// AWS: an empty line follows each message; under our own name none does.
fn show(args: &LogsArgs, at: Option<i64>, message: &str) {
    let end = if say::is_ecs_cli() { "\n" } else { "" };
    match at.filter(|_| args.timestamps).and_then(|at| jiff::Timestamp::from_millisecond(at).ok()) {
        Some(at) => say::out(format_args!("{at}\t{message}{end}")),
        None => say::out(format_args!("{message}{end}")),
    }
}

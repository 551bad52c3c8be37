//! `logs`: what a task's containers wrote, from the log streams that its definition names.

use super::{Client, Where, config, say};
use anyhow::{Context, Result, bail};
use clap::Args;
use shapes::{ecs, logs as cw};
use std::{collections::BTreeMap, time::Duration};

/// How often `--follow` asks for more.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How far behind the newest event `--follow` looks for others, in milliseconds: events of a stream can be written in
/// another order than they happened, by as much as a batch of them takes.
const LOOK_BACK: i64 = 10_000;

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
    #[arg(long, conflicts_with = "end_time")]
    follow: bool,
    /// Only lines that match.
    #[arg(long)]
    filter_pattern: Option<String>,
    /// Only the last minutes.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["start_time", "end_time"])]
    since: Option<u32>,
    /// Only from this time on, such as 2006-01-02T15:04:05Z.
    #[arg(long)]
    start_time: Option<jiff::Timestamp>,
    /// Only before this time.
    #[arg(long)]
    end_time: Option<jiff::Timestamp>,
    /// Show times.
    #[arg(long, short = 't')]
    timestamps: bool,
    #[command(flatten)]
    place: Where,
}

/// One container's stream.
struct Stream {
    client: Client,
    group: String,
    name: String,
    /// Where to begin, in milliseconds.
    from: Option<i64>,
    /// What was shown and could be found again: ids of events and when they happened.
    shown: BTreeMap<String, i64>,
}

#[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
pub(crate) async fn logs(args: LogsArgs, endpoint: Option<String>) -> Result<()> {
    let settings = config::settings(&args.place, endpoint)?;
    let definition = match &args.task_def {
        Some(name) => name.clone(),
        None => definition_of(&settings, &args.task_id).await?,
    };
    let mut streams = streams(&settings, &args, &definition).await?;
    loop {
        for stream in &mut streams {
            stream.show(&args).await?;
        }
        if !args.follow {
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn definition_of(settings: &config::Settings, task: &str) -> Result<String> {
    let found =
        super::ps::describe(&settings.client, &settings.cluster, vec![task.to_owned()]).await?.into_iter().next();
    let found = found.with_context(|| {
        format!(
            "Failed to describe Task: Could Not Find Task {task} in cluster {} in region {}. If the task has been stopped, \
             use --task-def to specify the Task Definition.",
            settings.cluster, settings.region
        )
    })?;
    found.task_definition_arn.context("the task has no definition")
}

async fn streams(settings: &config::Settings, args: &LogsArgs, definition: &str) -> Result<Vec<Stream>> {
    let request =
        ecs::DescribeTaskDefinitionRequest { task_definition: Some(definition.to_owned()), ..Default::default() };
    let definition = settings.client.call(&request).await?.task_definition.context("the definition is gone")?;
    let id = args.task_id.rsplit('/').next().unwrap_or_default();
    let containers = definition.container_definitions.unwrap_or_default();
    let is_wanted = |name: &Option<String>| args.container_name.is_none() || *name == args.container_name;
    if !containers.iter().any(|container| is_wanted(&container.name)) {
        let names: Vec<_> = containers.iter().filter_map(|container| container.name.as_deref()).collect();
        bail!("The task definition has no such container; it has {}", names.join(", "));
    }
    let since = args.since.map(|minutes| jiff::Timestamp::now().as_millisecond() - i64::from(minutes) * 60_000);
    let from = since.or(args.start_time.map(|time| time.as_millisecond()));
    let mut streams = Vec::new();
    for container in containers.into_iter().filter(|container| is_wanted(&container.name)) {
        let Some(configuration) = container.log_configuration else { continue };
        if configuration.log_driver.as_deref() != Some("awslogs") {
            continue;
        }
        let options = configuration.options.unwrap_or_default();
        let (Some(group), Some(prefix)) = (options.get("awslogs-group"), options.get("awslogs-stream-prefix")) else {
            continue;
        };
        streams.push(Stream {
            client: settings.client.in_region(options.get("awslogs-region").unwrap_or(&settings.region)),
            group: group.clone(),
            name: format!("{prefix}/{}/{id}", container.name.unwrap_or_default()),
            from,
            shown: BTreeMap::new(),
        });
    }
    if streams.is_empty() {
        bail!(
            "No container of the task logs to awslogs with a stream prefix. Add `logging` with driver awslogs and the options \
             awslogs-group, awslogs-region and awslogs-stream-prefix to the definition"
        );
    }
    Ok(streams)
}

impl Stream {
    /// Shows what there is now and was not shown before.
    async fn show(&mut self, args: &LogsArgs) -> Result<()> {
        // A token belongs to the question it was the answer to.
        let start_time = self.from;
        let mut next_token = None;
        loop {
            let request = cw::FilterLogEventsRequest {
                log_group_name: Some(self.group.clone()),
                log_stream_names: Some(vec![self.name.clone()]),
                filter_pattern: args.filter_pattern.clone(),
                start_time,
                end_time: args.end_time.map(|time| time.as_millisecond()),
                next_token,
                ..Default::default()
            };
            let page = match self.client.call(&request).await {
                Ok(page) => page,
                // A container that has not written yet has no stream yet.
                Err(e) if super::client::code(&e) == Some("ResourceNotFoundException") => return Ok(()),
                Err(e) => return Err(e),
            };
            for event in page.events.into_iter().flatten() {
                let (id, at) = (event.event_id.unwrap_or_default(), event.timestamp.unwrap_or_default());
                if !self.shown.contains_key(&id) {
                    show(args, at, event.message.as_deref().unwrap_or_default());
                }
                if args.follow {
                    self.remember(id, at);
                }
            }
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(());
            }
        }
    }

    fn remember(&mut self, id: String, at: i64) {
        self.shown.insert(id, at);
        let from = at.saturating_sub(LOOK_BACK);
        if self.from.is_none_or(|before| before < from) {
            self.from = Some(from);
            self.shown.retain(|_, at| *at >= from);
        }
    }
}

/// AWS: an empty line follows each message; under our own name none does.
fn show(args: &LogsArgs, at: i64, message: &str) {
    let end = if say::is_ecs_cli() { "\n" } else { "" };
    match jiff::Timestamp::from_millisecond(at).ok().filter(|_| args.timestamps) {
        // AWS: to the second.
        Some(at) if say::is_ecs_cli() => {
            say::out(format_args!("{}\t{message}{end}", at.strftime("%Y-%m-%dT%H:%M:%SZ")))
        }
        Some(at) => say::out(format_args!("{at}\t{message}{end}")),
        None => say::out(format_args!("{message}{end}")),
    }
}

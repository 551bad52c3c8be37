//! `logs`: what a task's containers wrote, from the log streams that its definition names.

use super::{Client, Where, config, say, shown::plain, task_name::TaskName};
use anyhow::{Context, Result, bail};
use clap::Args;
use shapes::{ecs, logs as cw};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// How often `--follow` asks for more.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How far behind the newest event `--follow` looks for others, in milliseconds: events of a stream can be written in
/// another order than they happened, by as much as a batch of them takes.
const LOOK_BACK: i64 = 10_000;

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The task: its id, how that begins, its ARN, or as `ps` shows it.
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

/// Where a container's output goes, if that is a log stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) region: String,
    pub(super) group: String,
    pub(super) stream: String,
}

/// The log stream of one container of a task; `region` is that of a definition that names none.
pub(super) fn place(container: &ecs::ContainerDefinition, task_id: &str, region: &str) -> Option<Place> {
    let configuration = container.log_configuration.as_ref().filter(|c| c.log_driver.as_deref() == Some("awslogs"))?;
    let option = |name: &str| configuration.options.as_ref()?.get(name);
    let (group, prefix) = (option("awslogs-group")?, option("awslogs-stream-prefix")?);
    Some(Place {
        region: option("awslogs-region").map_or(region, String::as_str).to_owned(),
        group: group.clone(),
        stream: format!("{prefix}/{}/{task_id}", container.name.as_deref().unwrap_or_default()),
    })
}

/// Where the output of a container is that is in no log stream of a known name; `router` is the task's log router.
fn elsewhere(container: &ecs::ContainerDefinition, router: &str) -> String {
    let kept = "its output is in the folder logs of the agent's data directory, on the task's instance";
    let Some(log) = &container.log_configuration else { return format!("it has no log driver; {kept}") };
    let driver = log.log_driver.as_deref().unwrap_or_default();
    let option = |name: &str| log.options.as_ref().and_then(|options| options.get(name)).map(String::as_str);
    let sent =
        |to: Option<&str>, usual: &str| format!("log driver {driver} sends its output to {}", to.unwrap_or(usual));
    match driver {
        "awslogs" => {
            "log driver awslogs without awslogs-stream-prefix names its stream by the container's runtimeId".to_owned()
        }
        "json-file" => format!("log driver json-file; {kept}"),
        "syslog" => sent(option("syslog-address"), "the syslog of the task's instance"),
        "fluentd" => sent(option("fluentd-address"), "127.0.0.1:24224 on the task's instance"),
        "gelf" => sent(option("gelf-address"), "its receiver"),
        "splunk" => sent(option("splunk-url"), "its collector"),
        "journald" => "log driver journald: read it with journalctl on the task's instance".to_owned(),
        "awsfirelens" => {
            let output = option("Name").or_else(|| option("@type")).unwrap_or("its configuration's output");
            format!("log driver awsfirelens: the task's log router '{router}' sends its output on ({output})")
        }
        other => format!("log driver {other}"),
    }
}

/// Which events are shown, and how.
#[derive(Debug, Default)]
pub(super) struct How {
    pub(super) filter_pattern: Option<String>,
    /// In milliseconds.
    pub(super) end_time: Option<i64>,
    pub(super) timestamps: bool,
    /// Whether there will be another look.
    pub(super) follow: bool,
}

/// One container's stream.
pub(super) struct Stream {
    client: Client,
    place: Place,
    /// What stands before each of its lines.
    prefix: String,
    /// Where to begin, in milliseconds.
    from: Option<i64>,
    /// What was shown and could be found again: ids of events and when they happened.
    shown: BTreeMap<String, i64>,
}

#[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
pub(crate) async fn logs(mut args: LogsArgs, endpoint: Option<String>) -> Result<()> {
    let mut settings = config::settings(&args.place, endpoint)?;
    let name = TaskName::parse(&args.task_id);
    if let Some(cluster) = &name.cluster {
        settings.cluster.clone_from(cluster);
    }
    args.task_id = name.id(&settings.client, &settings.cluster).await?;
    args.container_name = args.container_name.or(name.container);
    let definition = match &args.task_def {
        Some(name) => name.clone(),
        None => definition_of(&settings, &args.task_id).await?,
    };
    let mut streams = streams(&settings, &args, &definition).await?;
    let how = How {
        filter_pattern: args.filter_pattern,
        end_time: args.end_time.map(|time| time.as_millisecond()),
        timestamps: args.timestamps,
        follow: args.follow,
    };
    loop {
        show_all(&mut streams, &how).await?;
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
    let id = &args.task_id;
    let containers = definition.container_definitions.unwrap_or_default();
    let is_wanted = |name: &Option<String>| args.container_name.is_none() || *name == args.container_name;
    if !containers.iter().any(|container| is_wanted(&container.name)) {
        let names: Vec<_> = containers.iter().filter_map(|container| container.name.as_deref()).collect();
        bail!("The task definition has no such container; it has {}", names.join(", "));
    }
    let since = args.since.map(|minutes| jiff::Timestamp::now().as_millisecond() - i64::from(minutes) * 60_000);
    let from = since.or(args.start_time.map(|time| time.as_millisecond()));
    let router = containers.iter().find(|container| container.firelens_configuration.is_some());
    let router = router.and_then(|container| container.name.clone()).unwrap_or_default();
    let (mut places, mut others) = (Vec::new(), Vec::new());
    for container in containers.into_iter().filter(|container| is_wanted(&container.name)) {
        match place(&container, id, &settings.region) {
            Some(place) => places.push((container.name.clone().unwrap_or_default(), place)),
            None => others.push(format!(
                "  {}: {}",
                container.name.as_deref().unwrap_or_default(),
                elsewhere(&container, &router)
            )),
        }
    }
    if places.is_empty() {
        bail!(
            "No container of the task logs to awslogs with a stream prefix, which is what can be read here:\n{}\nAdd `logging` with \
             driver awslogs and the options awslogs-group, awslogs-region and awslogs-stream-prefix to the definition",
            others.join("\n")
        );
    }
    // AWS: does not say whose a line is.
    let several = places.len() > 1 && !say::is_ecs_cli();
    let prefix = |name: &str| if several { format!("{name} | ") } else { String::new() };
    Ok(places.into_iter().map(|(name, place)| Stream::new(&settings.client, place, prefix(&name), from)).collect())
}

impl Stream {
    pub(super) fn new(client: &Client, place: Place, prefix: String, from: Option<i64>) -> Self {
        Self { client: client.in_region(&place.region), place, prefix, from, shown: BTreeMap::new() }
    }

    /// Whether anything of it was shown.
    pub(super) fn has_shown(&self) -> bool {
        !self.shown.is_empty()
    }

    /// The next of a reading's events, if there are more.
    async fn read(&self, reading: &mut Reading, how: &How) -> Result<()> {
        while reading.events.is_empty() && !reading.ended {
            let request = cw::FilterLogEventsRequest {
                log_group_name: Some(self.place.group.clone()),
                log_stream_names: Some(vec![self.place.stream.clone()]),
                filter_pattern: how.filter_pattern.clone(),
                start_time: reading.from,
                end_time: how.end_time,
                next_token: reading.next_token.take(),
                ..Default::default()
            };
            let page = match self.client.call(&request).await {
                Ok(page) => page,
                // A container that has not written yet has no stream yet.
                Err(e) if super::client::code(&e) == Some("ResourceNotFoundException") => Default::default(),
                Err(e) => return Err(e),
            };
            reading.events.extend(page.events.into_iter().flatten());
            reading.next_token = page.next_token;
            reading.ended = reading.next_token.is_none();
        }
        Ok(())
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

/// A look at one stream. A token belongs to the question it was the answer to, so where it begins stays.
#[derive(Default)]
struct Reading {
    from: Option<i64>,
    events: VecDeque<cw::FilteredLogEvent>,
    next_token: Option<String>,
    ended: bool,
}

/// Shows what there is now in the streams and was not shown before, in the order of time; answers how many events that were.
pub(super) async fn show_all(streams: &mut [Stream], how: &How) -> Result<usize> {
    let mut readings: Vec<_> =
        streams.iter().map(|stream| Reading { from: stream.from, ..Reading::default() }).collect();
    let mut count = 0;
    loop {
        for (stream, reading) in streams.iter().zip(&mut readings) {
            stream.read(reading, how).await?;
        }
        let first = |reading: &Reading| reading.events.front().map(|event| event.timestamp.unwrap_or_default());
        let next = readings.iter_mut().zip(streams.iter_mut()).filter_map(|(r, s)| Some((first(r)?, r, s)));
        let Some((at, reading, stream)) = next.min_by_key(|(at, ..)| *at) else { return Ok(count) };
        let Some(event) = reading.events.pop_front() else { continue };
        let id = event.event_id.unwrap_or_default();
        if !stream.shown.contains_key(&id) {
            show(how, &stream.prefix, at, event.message.as_deref().unwrap_or_default());
            count += 1;
        }
        if how.follow {
            stream.remember(id, at);
        }
    }
}

/// AWS: an empty line follows each message; under our own name none does.
fn show(how: &How, prefix: &str, at: i64, message: &str) {
    let end = if say::is_ecs_cli() { "\n" } else { "" };
    let at = jiff::Timestamp::from_millisecond(at).ok().filter(|_| how.timestamps);
    let at = at.map(|at| match say::is_ecs_cli() {
        // AWS: to the second.
        true => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        false => at.to_string(),
    });
    let message = if say::to_terminal() { plain(message) } else { message.into() };
    say::out(format_args!("{}{end}", told(prefix, at.as_deref(), &message)));
}

/// An event, whose lines all say whose they are: each begins with the prefix, and only the first with the time. What begins with neither is
/// left as it is.
fn told(prefix: &str, at: Option<&str>, message: &str) -> String {
    if prefix.is_empty() && at.is_none() {
        return message.to_owned();
    }
    // Events that a driver has put together end with one.
    let message = message.strip_suffix('\n').unwrap_or(message);
    let first = at.map(|at| format!("{at}\t")).unwrap_or_default();
    let next = at.map(|at| format!("{}\t", " ".repeat(at.len()))).unwrap_or_default();
    format!("{prefix}{first}{}", message.replace('\n', &format!("\n{prefix}{next}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_several_lines_imitates_no_other() {
        for (prefix, at, message, wanted) in [
            ("", None, "one\ntwo\n", "one\ntwo\n"),
            ("web | ", None, "one", "web | one"),
            ("web | ", None, "one\ndb | two\n\n", "web | one\nweb | db | two\nweb | "),
            ("", Some("12:00"), "one\n12:01\ttwo", "12:00\tone\n     \t12:01\ttwo"),
            ("web | ", Some("12:00"), "one\ntwo", "web | 12:00\tone\nweb |      \ttwo"),
        ] {
            assert_eq!(told(prefix, at, message), wanted);
        }
    }

    #[test]
    fn whoever_looks_in_the_wrong_place_is_told_the_right_one() {
        let check = |driver: &str, options: &[(&str, &str)], want: &str| {
            let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let log = ecs::LogConfiguration {
                log_driver: Some(driver.to_owned()),
                options: Some(options),
                ..Default::default()
            };
            let container = ecs::ContainerDefinition { log_configuration: Some(log), ..Default::default() };
            assert_eq!(place(&container, "t", "us-east-1"), None);
            assert_eq!(elsewhere(&container, "router"), want);
        };
        let syslog = [("syslog-address", "tcp://10.0.0.1:514")];
        check("syslog", &syslog, "log driver syslog sends its output to tcp://10.0.0.1:514");
        check("syslog", &[], "log driver syslog sends its output to the syslog of the task's instance");
        let routed = "log driver awsfirelens: the task's log router 'router' sends its output on (http)";
        check("awsfirelens", &[("Name", "http")], routed);
        check("journald", &[], "log driver journald: read it with journalctl on the task's instance");
        assert!(elsewhere(&ecs::ContainerDefinition::default(), "").starts_with("it has no log driver"));
    }
}

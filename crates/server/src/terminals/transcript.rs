//! What a session shows, kept in a log group where its cluster says so (`executeCommandConfiguration`), or, if the cluster says nothing
//! of it, where the container's own output goes. AWS: a stream of the session's name, which has what was shown line by line,
//! with all that steers the terminal; it is written as the task's role.
//!
//! A line is durable before it is shown, so that a server that is killed has shown no line that is not kept. What is no whole line
//! yet waits here: a prompt and what is typed behind it are one event.

use super::Wanted;
use crate::{
    context::Context,
    roles::{self, Actor, TaskRoles},
};
use model::{ContainerDefinition, ExecLogging, LogDriver, LogMode, Task, TaskDefinitionSpec, Timestamp};
use state::Snapshot;
use std::collections::BTreeMap;
use telemetry::{
    driver::Awslogs,
    logs::{Error, Event, MAX_PUT_EVENTS, Scope},
};

/// Longest event, and the most that waits for its line's end: Logs takes 1 MiB, and what is no UTF-8 grows threefold.
const LONGEST: usize = 64 << 10;

/// What is kept of one session; nothing by default.
#[derive(Default)]
pub(super) struct Transcript(Option<Kept>);

/// A stream that is written.
struct Kept {
    scope: Scope,
    place: Place,
    stream: String,
    waiting: Vec<u8>,
}

/// Where it is to go.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    group: String,
    region: String,
    /// The group is made if it is missing.
    create: bool,
    /// Nothing is run that cannot be kept: somebody has asked for it.
    required: bool,
}

/// Where a cluster's configuration sends what is shown in a container; nowhere, if to none.
fn place(logging: &ExecLogging, container: Option<&ContainerDefinition>, region: &str) -> Option<Place> {
    match logging {
        ExecLogging::None => None,
        ExecLogging::Override { group } => {
            Some(Place { group: group.clone(), region: region.to_owned(), create: false, required: true })
        }
        ExecLogging::Default => {
            let log = container?.log_configuration.as_ref().filter(|log| log.driver == LogDriver::Awslogs)?;
            let options = Awslogs::parse(&log.options, LogMode::default()).ok()?;
            let region = options.region.unwrap_or_else(|| region.to_owned());
            Some(Place { group: options.group, region, create: options.create_group, required: false })
        }
    }
}

/// The same of a session, and whether its task's role may write there.
fn wanted_place(
    snapshot: &Snapshot,
    session: &str,
    wanted: &Wanted,
    now: Timestamp,
) -> Option<(Place, Result<(), String>)> {
    let cluster = &wanted.task.cluster;
    let logging = snapshot.cluster(cluster).and_then(|row| row.cluster.exec_logging.clone()).unwrap_or_default();
    let task = snapshot.task(&wanted.task)?;
    let spec = &snapshot.task_definition(&task.definition)?.spec;
    let container = spec.containers.iter().find(|container| container.name == *wanted.container);
    let place = place(&logging, container, cluster.scope.region.as_str())?;
    let right = may_write(snapshot, (task, spec), &place, session, now);
    Some((place, right))
}

/// Whether a task's role may write a session's stream. AWS: its agent asks for groups too, and does without if it may not.
/// A task without a role is no less able to be seen into here, and then the server writes of its own.
fn may_write(
    snapshot: &Snapshot,
    (task, spec): (&Task, &TaskDefinitionSpec),
    place: &Place,
    session: &str,
    now: Timestamp,
) -> Result<(), String> {
    let scope = &task.arn.cluster.scope;
    let Some(named) = TaskRoles::of(spec, &task.overrides).task else { return Ok(()) };
    let role = roles::of_tasks(snapshot, scope, named).map_err(|error| error.message)?;
    let Some(directory) = snapshot.directory(&scope.account) else { return Ok(()) };
    let actor = Actor::new(role, directory, scope, task.arn.id.as_str(), now);
    let group = format!("arn:aws:logs:{}:{}:log-group:{}", place.region, scope.account, place.group);
    let (streams, stream) = (format!("{group}:log-stream:"), format!("{group}:log-stream:{session}"));
    if place.create {
        // As requests are judged: policies name a group in both forms.
        actor.may("logs:CreateLogGroup", &[&streams, &group], None)?;
    }
    actor.may("logs:CreateLogStream", &[&stream], None)?;
    actor.may("logs:PutLogEvents", &[&stream], None)
}

impl Transcript {
    /// Begins one, if the session is to have one.
    ///
    /// # Errors
    /// The session is to be kept and cannot be. AWS: it is run all the same and not kept, unless the group is to be an encrypted one.
    pub(super) async fn begin(ctx: &Context, session: &str, wanted: &Wanted) -> Result<Self, String> {
        let snapshot = ctx.store.snapshot();
        let Some((place, right)) = wanted_place(&snapshot, session, wanted, ctx.effects.now()) else {
            return Ok(Self(None));
        };
        let scope = Scope { account: wanted.task.cluster.scope.account.to_string(), region: place.region.clone() };
        let kept = Kept { scope, place, stream: session.to_owned(), waiting: Vec::new() };
        let opened = match right {
            Ok(()) => kept.open(ctx).await.map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        let mut begun = Self(Some(kept));
        begun.bear(opened)?;
        Ok(begun)
    }

    /// Keeps what is about to be shown, as far as it is whole lines.
    ///
    /// # Errors
    /// It is to be kept and cannot be.
    pub(super) async fn take(&mut self, ctx: &Context, shown: &[u8]) -> Result<(), String> {
        let Some(kept) = &mut self.0 else { return Ok(()) };
        kept.waiting.extend_from_slice(shown);
        let written = kept.write(ctx, false).await;
        self.bear(written)
    }

    /// Keeps the rest, which is no whole line.
    pub(super) async fn end(&mut self, ctx: &Context, session: &str) {
        let Some(kept) = &mut self.0 else { return };
        if let Err(why) = kept.write(ctx, true).await {
            tracing::error!(session, why, "the end of what a session has shown is not kept");
        }
        self.0 = None;
    }

    /// Without what was done, a session that is to be kept is over; another one is kept no longer.
    fn bear(&mut self, done: Result<(), String>) -> Result<(), String> {
        let (Err(why), Some(kept)) = (done, &self.0) else { return Ok(()) };
        let group = &kept.place.group;
        let why = format!("What the session shows cannot be kept in the log group '{group}': {why}");
        let required = kept.place.required;
        if !required {
            tracing::warn!(session = kept.stream, why, "a session goes on without a transcript");
        }
        self.0 = None;
        if required { Err(why) } else { Ok(()) }
    }
}

impl Kept {
    async fn open(&self, ctx: &Context) -> Result<(), Error> {
        let now = ctx.effects.now().0;
        let Place { group, create, .. } = &self.place;
        if *create {
            match ctx.logs.create_group(&self.scope, group, BTreeMap::new(), now).await {
                Ok(()) | Err(Error::GroupExists) => {}
                Err(error) => return Err(error),
            }
        }
        ctx.logs.create_stream(&self.scope, group, &self.stream, now).await
    }

    /// Writes the lines that wait, or all. They wait until they are written: whoever gives this up loses none.
    async fn write(&mut self, ctx: &Context, all: bool) -> Result<(), String> {
        loop {
            let (lines, read) = lines(&self.waiting, all);
            if read == 0 {
                return Ok(());
            }
            if !lines.is_empty() {
                let now = ctx.effects.now().0;
                let events = lines.into_iter().map(|message| Event { timestamp_millis: now, message }).collect();
                let put = ctx.logs.put_events(&self.scope, &self.place.group, &self.stream, events, now);
                put.await.map_err(|error| error.to_string())?;
            }
            self.waiting.drain(..read);
        }
    }
}

/// As many whole lines as one batch may have, at the end also what is no whole one, and how many bytes they were.
/// Logs takes no empty event.
fn lines(waiting: &[u8], all: bool) -> (Vec<String>, usize) {
    let mut found = Vec::new();
    let mut read = 0;
    while found.len() < MAX_PUT_EVENTS {
        let rest = &waiting[read..];
        let near = &rest[..rest.len().min(LONGEST)];
        let line = match near.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                read += end + 1;
                &rest[..end]
            }
            None if near.len() == LONGEST || all && !near.is_empty() => {
                read += near.len();
                near
            }
            None => break,
        };
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\r');
        if !text.is_empty() {
            found.push(text.to_owned());
        }
    }
    (found, read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::LogConfiguration;

    #[test]
    fn whole_lines_are_written_and_the_rest_at_the_end() {
        let read = |waiting: &[u8], all| lines(waiting, all);
        let found = |lines: &[&str], bytes| (lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), bytes);
        assert_eq!(read(b"one\r\n\r\ntwo\nthr", false), found(&["one", "two"], 11));
        assert_eq!(read(b"thr", false), found(&[], 0));
        assert_eq!(read(b"three\xff\r\n# ", true), found(&["three\u{fffd}", "# "], 10));
        assert_eq!(read(b"\r\n\n", false), found(&[], 3));
        assert_eq!(read(b"", true), found(&[], 0));
        let long = vec![b'a'; LONGEST + 1];
        let (first, bytes) = lines(&long, false);
        assert_eq!((first[0].len(), first.len(), bytes), (LONGEST, 1, LONGEST));
        // No more than one batch may have.
        let many = b"a\n".repeat(MAX_PUT_EVENTS + 1);
        let (first, bytes) = lines(&many, true);
        assert_eq!((first.len(), bytes), (MAX_PUT_EVENTS, 2 * MAX_PUT_EVENTS));
        assert_eq!(read(&many[bytes..], true), found(&["a"], 2));
    }

    #[test]
    fn clusters_say_where_and_containers_where_they_say_nothing() {
        let log = |driver, options: &[(&str, &str)]| ContainerDefinition {
            log_configuration: Some(LogConfiguration {
                driver,
                options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
                secret_options: Vec::new(),
            }),
            ..ContainerDefinition::default()
        };
        let shipped = log(LogDriver::Awslogs, &[("awslogs-group", "web"), ("awslogs-region", "eu-west-1")]);
        let made = log(LogDriver::Awslogs, &[("awslogs-group", "web"), ("awslogs-create-group", "true")]);
        let kept = log(LogDriver::JsonFile, &[]);
        let at = |group: &str, region: &str, create| Place {
            group: group.into(),
            region: region.into(),
            create,
            required: group == "audit",
        };
        let audit = ExecLogging::Override { group: "audit".into() };
        for (logging, container, want) in [
            (ExecLogging::None, &shipped, None),
            (ExecLogging::Default, &shipped, Some(at("web", "eu-west-1", false))),
            (ExecLogging::Default, &made, Some(at("web", "us-east-1", true))),
            (ExecLogging::Default, &kept, None),
            (audit.clone(), &kept, Some(at("audit", "us-east-1", false))),
            (audit, &shipped, Some(at("audit", "us-east-1", false))),
        ] {
            assert_eq!(place(&logging, Some(container), "us-east-1"), want, "{logging:?}");
        }
        assert_eq!(place(&ExecLogging::Default, None, "us-east-1"), None);
    }
}

//! Who ran what in which container: a record in our own Logs API for the beginning of a session, and one for its end.

use super::Wanted;
use crate::context::Context;
use model::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use telemetry::logs::{Error, Event, Scope};

/// What stands before a cluster's name in that of its record's log group.
const GROUP_PREFIX: &str = "/longshore/exec/";
/// The group's only stream.
const STREAM: &str = "sessions";
/// How many days a record is kept, unless an operator sets the group's retention.
const RETENTION_DAYS: u32 = 90;
/// Longest command of a record; Logs takes events of 256 KiB.
const COMMAND: usize = 8 << 10;

/// How a session stands.
pub(super) enum State<'a> {
    Begins,
    Ended { why: &'a str, exit_code: Option<u32> },
}

/// Writes it down, durably.
pub(super) async fn record(ctx: &Context, session: &str, wanted: &Wanted, state: &State<'_>) -> Result<(), Error> {
    let cluster = &wanted.task.cluster;
    let scope = Scope { account: cluster.scope.account.to_string(), region: cluster.scope.region.to_string() };
    let group = format!("{GROUP_PREFIX}{}", cluster.name);
    let now = ctx.effects.now();
    let mut what = json!({
        "time": time(now),
        "session": session,
        "principal": wanted.principal,
        "accessKeyId": wanted.access_key,
        "task": wanted.task.to_string(),
        "container": &*wanted.container,
        "command": wanted.line.chars().take(COMMAND).collect::<String>(),
    });
    match state {
        State::Begins => what["event"] = "begins".into(),
        State::Ended { why, exit_code } => {
            what["event"] = "ended".into();
            what["why"] = (*why).into();
            what["exitCode"] = json!(exit_code);
        }
    }
    let event = || Event { timestamp_millis: now.0, message: what.to_string() };
    match ctx.logs.put_events(&scope, &group, STREAM, vec![event()], now.0).await {
        Err(Error::GroupNotFound | Error::StreamNotFound) => {}
        done => return done.map(drop),
    }
    exists(ctx.logs.create_group(&scope, &group, BTreeMap::new(), now.0).await)?;
    let info = ctx.logs.group(&scope, &group)?;
    // Whoever wants to keep them for ever takes the retention from a group that holds some.
    if info.stored_bytes == 0 && info.retention_days.is_none() {
        ctx.logs.set_retention(&scope, &group, Some(RETENTION_DAYS)).await?;
    }
    exists(ctx.logs.create_stream(&scope, &group, STREAM, now.0).await)?;
    ctx.logs.put_events(&scope, &group, STREAM, vec![event()], now.0).await.map(drop)
}

/// In RFC 3339.
pub(super) fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_string()
}

fn exists(made: Result<(), Error>) -> Result<(), Error> {
    match made {
        Err(Error::GroupExists | Error::StreamExists) => Ok(()),
        other => other,
    }
}

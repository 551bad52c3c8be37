//! `events`: what happened in a cluster, from its event log. Over the public wire: FilterLogEvents and nothing else.
//!
//! Between events, what is told must be readable at a glance (`line`); for scripts each event is one line of JSON, as it is in
//! the log (docs/events.md).

mod line;

use super::{Client, Where, config, say, terminal};
use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::Value;
use server::event_log::{self, EventKind};
use shapes::{ecs, logs as cw};
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

/// How often `--follow` asks for more.
const ASK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Go on showing what happens, until Ctrl-C.
    #[arg(long, short = 'f')]
    follow: bool,
    /// How far back to begin: 90s, 10m, 2h, 7d.
    #[arg(long, default_value = "10m", value_parser = crate::args::parse_duration)]
    since: Duration,
    /// Only events of this kind; may be given more than once.
    #[arg(long = "type", value_name = "TYPE", value_parser = EventKind::ALL.map(EventKind::stream), value_delimiter = ',')]
    kinds: Vec<String>,
    /// Only events of this service, its tasks and its deployments.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    #[command(flatten)]
    output: say::OutputArgs,
    #[command(flatten)]
    place: Where,
}

#[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
pub(crate) async fn events(args: EventsArgs) -> Result<()> {
    let settings = config::settings(&args.place, None)?;
    let cluster = settings.cluster.rsplit('/').next().unwrap_or_default().to_owned();
    let back = i64::try_from(args.since.as_millis()).unwrap_or(i64::MAX);
    let mut reader = Reader {
        client: settings.client,
        group: format!("{}{cluster}", event_log::GROUP_PREFIX),
        from: jiff::Timestamp::now().as_millisecond().saturating_sub(back).max(0),
        newest: BTreeSet::new(),
        json: args.output.is_json(),
        wanted: Wanted { kinds: args.kinds, service: args.service },
        told: Told::default(),
    };
    if !reader.show().await? {
        check_cluster(&reader.client, &cluster).await?;
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        reader.show().await?;
    }
}

/// A cluster without a log is one in which nothing has happened yet, or none at all.
async fn check_cluster(client: &Client, cluster: &str) -> Result<()> {
    let request = ecs::DescribeClustersRequest { clusters: Some(vec![cluster.to_owned()]), ..Default::default() };
    if client.call(&request).await?.clusters.is_some_and(|found| !found.is_empty()) {
        return Ok(());
    }
    Err(client.advise_on_cluster(anyhow!("There is no cluster {cluster}"), Some(cluster)).await)
}

/// Which events to show.
#[derive(Debug, Default)]
struct Wanted {
    kinds: Vec<String>,
    service: Option<String>,
}

impl Wanted {
    fn stream(&self, stream: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == stream)
    }

    /// Whether an event is of the service: its own, or a task's of its group.
    fn event(&self, event: &Value) -> bool {
        let Some(service) = &self.service else { return true };
        let is_own = |arn: &Value| {
            arn.as_str().is_some_and(|arn| arn.contains(":service/") && arn.rsplit('/').next() == Some(service))
        };
        let group = event["detail"]["group"].as_str().and_then(|group| group.strip_prefix("service:"));
        group == Some(service) || event["resources"].as_array().is_some_and(|arns| arns.iter().any(is_own))
    }
}

struct Reader {
    client: Client,
    group: String,
    /// Where to begin, in milliseconds: the time of the newest events seen. The log's times never run back, so nothing comes
    /// before that; more of the same time can.
    from: i64,
    /// The ids of the events of that time.
    newest: BTreeSet<String>,
    json: bool,
    wanted: Wanted,
    told: Told,
}

/// The ids of the last events that were told: what the server tells again after a crash is nothing new to people. Scripts get
/// the log as it is.
#[derive(Default)]
struct Told {
    ids: BTreeSet<String>,
    order: VecDeque<String>,
}

/// A crash has at most a second's events told again, and a server makes no more in a second.
const TOLD: usize = 10_000;

impl Told {
    fn is_new(&mut self, id: &str) -> bool {
        // Somebody else's line may have none.
        if id.is_empty() {
            return true;
        }
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > TOLD
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

impl Reader {
    /// Shows what there is now and was not shown before. False if there is no log.
    async fn show(&mut self) -> Result<bool> {
        // A token belongs to the question it was the answer to.
        let start_time = Some(self.from);
        let mut next_token = None;
        loop {
            let request = cw::FilterLogEventsRequest {
                log_group_name: Some(self.group.clone()),
                log_stream_name_prefix: self.wanted.kinds.first().filter(|_| self.wanted.kinds.len() == 1).cloned(),
                start_time,
                next_token,
                ..Default::default()
            };
            let page = match self.client.call(&request).await {
                Ok(page) => page,
                Err(e) if super::client::code(&e) == Some("ResourceNotFoundException") => return Ok(false),
                Err(e) => return Err(e),
            };
            for event in page.events.into_iter().flatten() {
                self.show_one(event);
            }
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(true);
            }
        }
    }

    fn show_one(&mut self, event: cw::FilteredLogEvent) {
        let (id, at) = (event.event_id.unwrap_or_default(), event.timestamp.unwrap_or_default());
        if at > self.from {
            self.from = at;
            self.newest.clear();
        }
        let is_new = at < self.from || self.newest.insert(id);
        let message = event.message.unwrap_or_default();
        if !is_new || !self.wanted.stream(event.log_stream_name.as_deref().unwrap_or_default()) {
            return;
        }
        match serde_json::from_str::<Value>(&message) {
            Ok(event) if !self.wanted.event(&event) => {}
            Ok(_) if self.json => say::out(message),
            Ok(event) => {
                if self.told.is_new(event["id"].as_str().unwrap_or_default()) {
                    say::out(line::line(&event));
                }
            }
            // Somebody put a line of their own there.
            Err(_) if self.wanted.service.is_some() => {}
            Err(_) => say::out(terminal::harmless(&message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_services_events_are_its_own_and_its_tasks() {
        let arn = |rest: &str| json!({"resources": [format!("arn:aws:ecs:us-east-1:000000000000:{rest}")]});
        let of = |service: Option<&str>| Wanted { kinds: Vec::new(), service: service.map(str::to_owned) };
        for (service, event, shown) in [
            (None, json!({}), true),
            (Some("web"), arn("service/shop/web"), true),
            (Some("web"), arn("service/shop/web-2"), false),
            (Some("web"), arn("container-instance/shop/web"), false),
            (Some("web"), json!({"detail": {"group": "service:web"}}), true),
            (Some("web"), json!({"detail": {"group": "family:web"}}), false),
            (Some("web"), json!({}), false),
        ] {
            assert_eq!(of(service).event(&event), shown, "{service:?} {event}");
        }
    }

    #[test]
    fn what_is_told_again_is_not_shown_again() {
        let mut told = Told::default();
        let new: Vec<_> = ["a", "b", "a", "", "", "b", "c"].map(|id| told.is_new(id)).into();
        assert_eq!(new, [true, true, false, true, true, false, true]);
        for number in 0..2 * TOLD {
            assert!(told.is_new(&number.to_string()));
        }
        assert_eq!((told.ids.len(), told.order.len()), (TOLD, TOLD));
        assert!(told.is_new("a"), "long ago");
    }

    #[test]
    fn kinds_are_streams() {
        let wanted = Wanted { kinds: vec!["task".to_owned(), "service".to_owned()], service: None };
        for (stream, shown) in [("task", true), ("service", true), ("instance", false)] {
            assert_eq!((wanted.stream(stream), Wanted::default().stream(stream)), (shown, true));
        }
    }
}

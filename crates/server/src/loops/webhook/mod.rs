//! Sends the event log on to a receiver: in order within each cluster, at least once.
//!
//! It reads the log as anybody may and remembers per cluster the last event that the receiver took, so it needs no queue: what
//! waits is in the log, and what the log's retention takes away before the receiver is back is skipped. It reads only up
//! to where the log is complete, so that nothing appears behind it.

mod send;

pub(crate) use send::Endpoint;
pub use send::{SIGNATURE_HEADER, WebhookError};

use super::kept::Kept;
use crate::{context::Context, event_log::group};
use model::ClusterArn;
use send::Refused;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use telemetry::logs::{Error, FilterEvents, FilterPage, Scope};
use tokio::sync::watch;

/// Events of one request: a receiver on the other side of the world that takes ten requests a second takes a thousand events.
const BATCH_EVENTS: usize = 100;
/// Bytes of one request's events; the first is always taken. Many receivers stop at a MiB.
const BATCH_BYTES: usize = 256 << 10;
/// Pauses between tries of a batch that was not taken. There is no last try: what follows it waits in the log meanwhile.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The file in the data directory.
const FILE: &str = "webhook.json";
/// The version of its form.
const VERSION: u32 = 1;

/// How far the receiver has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sent {
    v: u32,
    /// Milliseconds since the epoch at which the first receiver was named: what happened before is not sent.
    since: i64,
    /// By cluster, the id of the last event that was taken.
    clusters: BTreeMap<String, String>,
}

/// The webhook's loop before it starts.
pub(crate) struct Webhook {
    endpoint: Endpoint,
    sent: Kept<Sent>,
}

impl Webhook {
    /// Reads how far the receiver has come; `None` if there is none.
    ///
    /// # Errors
    /// The receiver's URL is none, or its secret, its authorities or the file cannot be read.
    pub(crate) fn open(ctx: &Context) -> Result<Option<Self>, WebhookError> {
        let Some(config) = &ctx.config.events_webhook else { return Ok(None) };
        let endpoint = Endpoint::open(config, &ctx.effects)?;
        let since = ctx.effects.now().0;
        let first = || Sent { v: VERSION, since, clusters: BTreeMap::new() };
        let sent = Kept::open(&ctx.config.data_dir.join(FILE), first).map_err(WebhookError::Place)?;
        if sent.get().v > VERSION {
            return Err(WebhookError::Newer(sent.get().v));
        }
        Ok(Some(Self { endpoint, sent }))
    }

    /// Sends until shutdown. `complete` says up to which time the log is.
    pub(crate) async fn run(mut self, ctx: Context, mut complete: watch::Receiver<i64>) {
        let stop = ctx.effects.shutdown().clone();
        while !stop.is_cancelled() {
            let up_to = *complete.borrow_and_update();
            tokio::select! {
                () = self.send_all(&ctx, up_to) => {}
                () = stop.cancelled() => break,
            }
            loop {
                tokio::select! {
                    changed = complete.changed() => {
                        if changed.is_err() {
                            // The event log has ended, as it does at shutdown.
                            self.sent.save(&ctx.effects, true).await;
                            return;
                        }
                        break;
                    }
                    () = ctx.effects.sleep(self.sent.wait(&ctx.effects)) => {
                        self.sent.save(&ctx.effects, false).await;
                    }
                    () = stop.cancelled() => break,
                }
            }
        }
        self.sent.save(&ctx.effects, true).await;
    }

    async fn send_all(&mut self, ctx: &Context, up_to: i64) {
        let snapshot = ctx.store.snapshot();
        let clusters = snapshot.scopes().flat_map(|scope| snapshot.clusters(scope, None));
        let clusters: Vec<ClusterArn> = clusters.map(|row| row.cluster.arn.clone()).collect();
        for cluster in clusters {
            self.send_cluster(ctx, &cluster, up_to).await;
        }
    }

    /// Sends what a cluster's log holds behind the last event that was taken.
    async fn send_cluster(&mut self, ctx: &Context, cluster: &ClusterArn, up_to: i64) {
        let key = cluster.to_string();
        let mut limit = BATCH_EVENTS;
        let mut token = self.sent.get().clusters.get(&key).cloned();
        loop {
            let page = match read(ctx, cluster, self.sent.get().since, up_to, limit, token.clone()).await {
                Ok(page) => page,
                // Nothing has happened in this cluster yet, or somebody deleted its log.
                Err(Error::GroupNotFound) => return,
                Err(error) => return tracing::warn!(%error, %cluster, "the event log cannot be read for the webhook"),
            };
            let taken = fitting(&page);
            if let Some(last) = taken.last() {
                if !self.deliver(ctx, taken, &mut limit).await {
                    continue;
                }
                limit = BATCH_EVENTS;
                token = Some(last.event_id.clone());
                self.sent.change(&ctx.effects).clusters.insert(key.clone(), last.event_id.clone());
                self.sent.save(&ctx.effects, false).await;
            } else if page.next_token.is_some() {
                token = page.next_token.clone();
            }
            if page.next_token.is_none() && taken.len() == page.events.len() {
                return;
            }
        }
    }

    /// Sends a batch until it is taken. False if the receiver wants smaller ones.
    async fn deliver(&self, ctx: &Context, events: &[telemetry::logs::FilteredEvent], limit: &mut usize) -> bool {
        let mut pause = FIRST_PAUSE;
        let mut failed = false;
        loop {
            let messages = events.iter().map(|event| event.event.message.as_str());
            match self.endpoint.post(&ctx.effects, messages).await {
                Ok(()) => {
                    if failed {
                        tracing::info!(receiver = self.endpoint.name(), "the webhook's receiver takes events again");
                    }
                    return true;
                }
                Err(Refused::TooLarge) if events.len() > 1 => {
                    *limit = events.len() / 2;
                    return false;
                }
                Err(why) => {
                    // Told once: it is tried again and again while it lasts.
                    if !std::mem::replace(&mut failed, true) {
                        let receiver = self.endpoint.name();
                        tracing::warn!(receiver, %why, "the webhook's receiver does not take events; they wait in the log");
                    }
                }
            }
            // Spread, so that several servers of one receiver do not all come back at once.
            let spread = u32::try_from(ctx.effects.random() % 256).unwrap_or(0);
            ctx.effects.sleep(pause + pause * spread / 1024).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A page of a cluster's events behind `token`.
async fn read(
    ctx: &Context,
    cluster: &ClusterArn,
    since: i64,
    up_to: i64,
    limit: usize,
    token: Option<String>,
) -> Result<FilterPage, Error> {
    let logs = ctx.logs.clone();
    let scope = Scope { account: cluster.scope.account.to_string(), region: cluster.scope.region.to_string() };
    let group = group(&cluster.name);
    // An event's id is a place in the log, as a token is.
    let ask = FilterEvents {
        start_millis: Some(since),
        end_millis: Some(up_to),
        limit: Some(limit),
        token,
        ..FilterEvents::default()
    };
    let read = tokio::task::spawn_blocking(move || logs.filter_events(&scope, &group, &ask)).await;
    read.unwrap_or_else(|_| Err(Error::Unavailable("reading was interrupted".to_owned())))
}

/// As many of a page's events as one request may hold.
fn fitting(page: &FilterPage) -> &[telemetry::logs::FilteredEvent] {
    let mut bytes = 0;
    let too_many = page.events.iter().position(|event| {
        bytes += event.event.message.len();
        bytes > BATCH_BYTES
    });
    &page.events[..too_many.unwrap_or(page.events.len()).max(1).min(page.events.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_every_version_has_written() {
        let clusters = BTreeMap::from([("arn:aws:ecs:us-east-1:000000000000:cluster/a".to_owned(), "0".repeat(56))]);
        let sent = Sent { v: 1, since: 5, clusters };
        let golden = format!(
            r#"{{"v":1,"since":5,"clusters":{{"arn:aws:ecs:us-east-1:000000000000:cluster/a":"{}"}}}}"#,
            "0".repeat(56)
        );
        assert_eq!(serde_json::to_string(&sent).unwrap(), golden);
        assert_eq!(serde_json::from_str::<Sent>(&golden).unwrap(), sent);
    }

    #[test]
    fn a_request_holds_what_fits_and_at_least_one_event() {
        let page = |sizes: &[usize]| FilterPage {
            events: sizes
                .iter()
                .map(|size| telemetry::logs::FilteredEvent {
                    event_id: String::new(),
                    stream: "task".into(),
                    event: telemetry::logs::OutputEvent {
                        timestamp_millis: 0,
                        ingestion_millis: 0,
                        message: "x".repeat(*size),
                    },
                })
                .collect(),
            searched: Vec::new(),
            next_token: None,
        };
        for (sizes, want) in [
            (&[][..], 0),
            (&[1, 2, 3], 3),
            (&[BATCH_BYTES, 1], 1),
            (&[BATCH_BYTES + 1, 1], 1),
            (&[BATCH_BYTES - 1, 1, 1], 2),
        ] {
            assert_eq!(fitting(&page(sizes)).len(), want, "{sizes:?}");
        }
    }
}

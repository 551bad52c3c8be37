//! Events into the log store: a batch of each stream at a time, all of them with one sync.

use crate::{
    api::ecs::state_change::{Change, event},
    context::Context,
    event_log::{EventKind, RETENTION_DAYS, group},
};
use model::{ClusterArn, Timestamp};
use state::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use telemetry::logs::{Error, Event, MAX_EVENT_BYTES, Scope, StreamOrder};

/// Text that is gathered before it is written: some 80 events, a few milliseconds of work. The state's own syncs wait behind
/// what is written here to the same disk, so it comes in small pieces.
const BATCH_BYTES: usize = 128 << 10;
/// How many times as long as a batch took the log rests after it, so that telling takes no more than a tenth of a core and of
/// the disk from those who change things. After a flood of changes the log is late for a while, which harms nobody.
const REST_FACTOR: u32 = 9;
/// Events after which others get their turn, since making one takes some 50 µs.
const TURN: usize = 16;
/// What the store counts for each event beside its text.
const OVERHEAD: usize = 26;

/// The writer of the event log.
pub(super) struct Log {
    ctx: Context,
    /// Streams that are known to be there.
    there: BTreeSet<(ClusterArn, EventKind)>,
    gathered: BTreeMap<(ClusterArn, EventKind), Vec<Event>>,
    bytes: usize,
}

pub(super) fn scope(cluster: &ClusterArn) -> Scope {
    Scope { account: cluster.scope.account.to_string(), region: cluster.scope.region.to_string() }
}

impl Log {
    pub(super) fn new(ctx: Context) -> Self {
        Self { ctx, there: BTreeSet::new(), gathered: BTreeMap::new(), bytes: 0 }
    }

    /// The time of the newest event that any cluster's log holds.
    pub(super) fn newest(&self, snapshot: &Snapshot) -> Option<i64> {
        let clusters = snapshot.scopes().flat_map(|scope| snapshot.clusters(scope, None));
        let newest = clusters.flat_map(|row| {
            let arn = &row.cluster.arn;
            let order = StreamOrder::LastEventTime;
            let streams = self.ctx.logs.describe_streams(&scope(arn), &group(&arn.name), &order, true, Some(1), None);
            // A cluster without events has no log.
            streams.map(|page| page.items).unwrap_or_default()
        });
        newest.filter_map(|stream| stream.last_event_millis).max()
    }

    /// Tells all of it, durably. If that fails some of it may have been told, and will be again.
    pub(super) async fn append(&mut self, snapshot: &Snapshot, changes: &[Change], at: Timestamp) -> Result<(), Error> {
        let done = self.append_all(snapshot, changes, at).await;
        if done.is_err() {
            // Somebody may have deleted a group or a stream.
            self.there.clear();
            self.gathered.clear();
            self.bytes = 0;
        }
        done
    }

    async fn append_all(&mut self, snapshot: &Snapshot, changes: &[Change], at: Timestamp) -> Result<(), Error> {
        // What the clock says, for people; `at`, which never runs back, is for those who read on from where they were.
        let now = self.ctx.effects.now();
        let mut began = self.ctx.effects.monotonic();
        for (number, change) in changes.iter().enumerate() {
            let message = event(snapshot, change, now);
            let size = message.len() + OVERHEAD;
            if size > MAX_EVENT_BYTES {
                // Nothing that ECS lets be said is as long; what can never be kept must not hold up the rest.
                tracing::error!(
                    size,
                    kind = change.kind().stream(),
                    "an event is too long for the log and is left out"
                );
                continue;
            }
            if self.bytes + size > BATCH_BYTES {
                self.flush(at).await?;
                let took = self.ctx.effects.monotonic() - began;
                // A server that stops does not rest.
                self.ctx.effects.sleep_unless_stopped(took * REST_FACTOR).await;
                began = self.ctx.effects.monotonic();
            }
            self.bytes += size;
            let stream = (change.cluster().clone(), change.kind());
            self.gathered.entry(stream).or_default().push(Event { timestamp_millis: at.0, message });
            if (number + 1).is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
        self.flush(at).await
    }

    async fn flush(&mut self, at: Timestamp) -> Result<(), Error> {
        self.bytes = 0;
        let gathered = std::mem::take(&mut self.gathered);
        for (cluster, kind) in gathered.keys() {
            if !self.there.contains(&(cluster.clone(), *kind)) {
                self.ensure(cluster, *kind, at).await?;
                self.there.insert((cluster.clone(), *kind));
            }
        }
        // The store takes what it is handed at once as one batch: one sync.
        let puts = gathered.into_iter().map(|((cluster, kind), events)| {
            let logs = &self.ctx.logs;
            async move { logs.put_events(&scope(&cluster), &group(&cluster.name), kind.stream(), events, at.0).await }
        });
        futures::future::join_all(puts).await.into_iter().try_for_each(|put| put.map(drop))
    }

    /// The group, with its retention, and the stream.
    async fn ensure(&self, cluster: &ClusterArn, kind: EventKind, at: Timestamp) -> Result<(), Error> {
        let (logs, scope, group) = (&self.ctx.logs, scope(cluster), group(&cluster.name));
        exists(logs.create_group(&scope, &group, BTreeMap::new(), at.0).await)?;
        let info = logs.group(&scope, &group)?;
        // Whoever wants to keep events for ever takes the retention from a group that holds some.
        if info.stored_bytes == 0 && info.retention_days.is_none() {
            logs.set_retention(&scope, &group, Some(RETENTION_DAYS)).await?;
        }
        exists(logs.create_stream(&scope, &group, kind.stream(), at.0).await)
    }
}

fn exists(made: Result<(), Error>) -> Result<(), Error> {
    match made {
        Ok(()) | Err(Error::GroupExists | Error::StreamExists) => Ok(()),
        Err(
            error @ (Error::GroupNotFound
            | Error::StreamNotFound
            | Error::InvalidParameter(_)
            | Error::LimitExceeded(_)
            | Error::Unavailable(_)),
        ) => Err(error),
    }
}

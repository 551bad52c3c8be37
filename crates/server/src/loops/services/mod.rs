//! Keeps every service as it was asked to be.
//!
//! Woken by any change or by time, it finds the services that the change may concern (`watch`), and for each looks at a
//! snapshot, plans (`scheduler::service`), places what is to start (`launch`), and makes one commit (`look`). What does not
//! change costs nothing: a quiet cluster is never walked through.

pub(super) mod clock;
pub(super) mod launch;
mod look;
mod watch;

use crate::context::Context;
use clock::SteadyClock;
use futures::{StreamExt, stream};
use model::{ServiceArn, Timestamp};
use state::Topic;
use std::time::Duration;
use watch::Watch;

/// Services that are looked at side by side, so that their commits share an fsync. More would only make more of them
/// place tasks on the same free room.
const SIDE_BY_SIDE: usize = 64;
/// The longest sleep: nothing should need it, and what a defect forgot is found by it.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

pub(super) async fn run(ctx: Context) {
    let mut changes = ctx.store.subscribe(Topic::All);
    let stop = ctx.effects.shutdown().clone();
    let mut clock = SteadyClock::default();
    let began = clock.now(&ctx.effects);
    let mut watch = Watch::default();
    loop {
        let now = clock.now(&ctx.effects);
        let due = watch.due(ctx.store.snapshot(), now);
        let looks = stream::iter(due).map(|arn| look::look(&ctx, arn, now, began));
        let looked: Vec<_> = looks.buffer_unordered(SIDE_BY_SIDE).collect().await;
        for (arn, looked) in looked {
            watch.remember(arn, looked, now);
        }
        let pause = watch.pause(clock.now(&ctx.effects)).min(LONGEST_SLEEP);
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = ctx.effects.sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The services of which anything would change if the loop looked at all of them now, while it has run since `began`. For the
/// simulator: there are none, unless the loop is about to; else it waits for what neither a change nor a time tells it of, or a
/// look at what is at rest does something.
pub fn restless(ctx: &Context, now: Timestamp, began: Timestamp) -> Vec<ServiceArn> {
    let snapshot = ctx.store.snapshot();
    let clusters = snapshot.scopes().flat_map(|scope| snapshot.clusters(scope, None));
    let services = clusters.flat_map(|cluster| cluster.services()).map(|row| &row.service.arn);
    services.filter(|arn| look::would_change(ctx, &snapshot, arn, now, began)).cloned().collect()
}

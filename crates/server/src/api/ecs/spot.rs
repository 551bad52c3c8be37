//! Spot: spare room of the Fargate pool, and how it is taken back.
//!
//! Tasks that keep their room and find none have Spot tasks interrupted. The room of those is kept for whoever needed it: for a
//! while no Spot task is placed on their instance, or the service that lost one would take its place at once.

use super::tasks::view;
use crate::context::Context;
use model::{CapacityProvider, Reservation, Stop, TaskArn, Timestamp};
use scheduler::{
    PlacementRequest, obstacle,
    reclaim::{Site, reclaim},
};
use state::{Command, InstanceRow, Snapshot};
use std::sync::Arc;

/// How long no Spot task comes to an instance after some were interrupted there: two minutes, in which they have stopped (the
/// longest `stopTimeout`), and one for who asked by RunTask to ask again.
const KEPT_MILLIS: i64 = 180_000;

/// Until when an instance takes no Spot task, if that is not over.
fn kept_until(row: &InstanceRow, now: Timestamp) -> Option<Timestamp> {
    let until = row.instance.reclaimed_at?.plus_millis(KEPT_MILLIS);
    // A clock that was set back must not keep it for longer than that.
    (now < until && until <= now.plus_millis(KEPT_MILLIS)).then_some(until)
}

/// Whether it takes none now.
pub(crate) fn is_kept(row: &InstanceRow, now: Timestamp) -> bool {
    kept_until(row, now).is_some()
}

/// Leaves out instances that take no task of that provider now; until when the first of them does not.
pub(crate) fn keep_room(
    rows: &mut Vec<&Arc<InstanceRow>>,
    provider: Option<&CapacityProvider>,
    now: Timestamp,
) -> Option<Timestamp> {
    match provider {
        None | Some(CapacityProvider::Fargate | CapacityProvider::AutoScaling(_)) => None,
        Some(CapacityProvider::FargateSpot) => {
            let first = rows.iter().filter_map(|row| kept_until(row, now)).min();
            rows.retain(|row| !is_kept(row, now));
            first
        }
    }
}

/// The Spot tasks that have to go for tasks that keep their room: `unplaced` of them found no place beside those that
/// `placed` says, by position in `rows`.
pub(crate) fn victims(
    snapshot: &Snapshot,
    rows: &[&Arc<InstanceRow>],
    request: &PlacementRequest<'_>,
    placed: &[usize],
    unplaced: usize,
) -> Vec<TaskArn> {
    // Room is all that they may lack.
    let bare = PlacementRequest { count: 1, reservation: &Reservation::default(), ..*request };
    let able = |row: &InstanceRow| {
        row.instance.status == model::InstanceStatus::Active && obstacle(&view(row), &bare).is_none()
    };
    let able = rows.iter().enumerate().filter(|(_, row)| able(row));
    let sites = able.map(|(at, row)| {
        let mut site = Site::new(&row.remaining);
        placed.iter().filter(|here| **here == at).for_each(|_| site.take(request.reservation));
        for task in snapshot.live_tasks_on(&row.instance.arn) {
            if task.is_to_stop() {
                site.leaves(&task.reservation);
            } else if task.is_spot() {
                site.spot(&task.arn, task.times.created, &task.reservation);
            }
        }
        site
    });
    let count = u32::try_from(unplaced).unwrap_or(u32::MAX);
    reclaim(sites.collect(), request.reservation, count).into_iter().cloned().collect()
}

/// Interrupts Spot tasks. Whoever needs their room asks again anyway, so a failure is only noted.
pub(crate) async fn interrupt(ctx: &Context, tasks: Vec<TaskArn>) {
    if tasks.is_empty() {
        return;
    }
    let count = tasks.len();
    let command = Command::ReclaimSpot { tasks, why: Stop::spot_interruption(), at: ctx.effects.now() };
    match ctx.store.commit(command).await {
        Ok(_) => tracing::info!(count, "Spot tasks are interrupted: others need their room"),
        Err(error) => tracing::debug!(%error, "Spot tasks that are to be interrupted run on until the next look"),
    }
}

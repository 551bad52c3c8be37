//! Container output from agents into the log store: exactly once, although agents send at least once.

use crate::context::Context;
use link::{LogBatch, LogOutcome};
use model::{Region, Scope};
use telemetry::{
    Line,
    logs::{Error, Producer, Shipment},
};

/// Keeps the batches of one message, which are of different streams, and tells what became of each. They are handed to
/// the store together, so that they share one sync.
pub(super) async fn keep(ctx: &Context, scope: &Scope, batches: Vec<LogBatch>) -> Vec<LogOutcome> {
    futures::future::join_all(batches.into_iter().map(|batch| keep_one(ctx, scope, batch))).await
}

async fn keep_one(ctx: &Context, scope: &Scope, batch: LogBatch) -> LogOutcome {
    // A region that is none can be nobody's: the group can not exist.
    let region = match batch.region.as_deref().filter(|name| !name.is_empty()).map(Region::parse) {
        None => scope.region.clone(),
        Some(Ok(region)) => region,
        Some(Err(error)) => return LogOutcome::Refused { message: format!("InvalidParameterException: {error}") },
    };
    let scope = telemetry::logs::Scope { account: scope.account.to_string(), region: region.to_string() };
    let (offset, group, stream) = (batch.offset, batch.group, batch.stream);
    let lines = batch.events.into_iter().map(|event| Line {
        timestamp_millis: event.timestamp.0,
        message: event.message,
        end: if event.end == 0 { batch.next_offset } else { event.end },
    });
    let shipment = Shipment {
        producer: Producer { id: batch.producer, offset, next_offset: batch.next_offset },
        lines: lines.collect(),
        create_group: batch.create_group,
    };
    match ctx.logs.put_from(&scope, &group, &stream, shipment, ctx.effects.now().0).await {
        Ok(kept) => LogOutcome::Accepted { next_offset: kept.accepted_up_to },
        Err(Error::Unavailable(why)) => {
            tracing::warn!(group, stream, why, "container output could not be kept; its agent will send it again");
            LogOutcome::Accepted { next_offset: offset }
        }
        Err(
            error @ (Error::GroupNotFound
            | Error::StreamNotFound
            | Error::GroupExists
            | Error::StreamExists
            | Error::InvalidParameter(_)
            | Error::LimitExceeded(_)),
        ) => LogOutcome::Refused { message: format!("{}: {error}", error.code()) },
    }
}

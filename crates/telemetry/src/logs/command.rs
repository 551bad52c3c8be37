//! What callers ask the writer to do, and the pure part of doing it: a command and what is known become changes, or a refusal.

use std::collections::BTreeMap;

use super::codec::{Chunk, StoredEvent};
use super::error::Error;
use super::names::{self, DAY, MAX_AGE, MAX_AHEAD};
use super::types::{Event, Producer, PutOutcome, Rejected, Scope, ShipOutcome, Shipment};
use crate::Line;

/// One request to change the store.
#[derive(Debug)]
pub(super) enum Command {
    CreateGroup {
        scope: Scope,
        group: String,
        tags: BTreeMap<String, String>,
        now: i64,
    },
    DeleteGroup {
        scope: Scope,
        group: String,
    },
    SetRetention {
        scope: Scope,
        group: String,
        days: Option<u32>,
    },
    Tag {
        scope: Scope,
        group: String,
        tags: BTreeMap<String, String>,
    },
    Untag {
        scope: Scope,
        group: String,
        keys: Vec<String>,
    },
    CreateStream {
        scope: Scope,
        group: String,
        stream: String,
        now: i64,
    },
    DeleteStream {
        scope: Scope,
        group: String,
        stream: String,
    },
    Put {
        scope: Scope,
        group: String,
        stream: String,
        events: Vec<Event>,
        now: i64,
    },
    PutFrom {
        scope: Scope,
        group: String,
        stream: String,
        shipment: Shipment,
        now: i64,
    },
    /// Expire by retention and move what has waited long enough out of the journal.
    Maintain {
        now: i64,
    },
    /// Move everything out of the journal.
    Checkpoint,
}

/// What a command answers once it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Put(PutOutcome),
    Shipped(ShipOutcome),
}

/// Splits a put into what is kept and what AWS rejects. `events` are in order, so the rejected are the two ends.
pub(super) fn sift(events: Vec<Event>, retention_days: Option<u32>, now: i64) -> (Vec<Event>, Option<Rejected>) {
    let before = |cutoff: i64| events.partition_point(|event| event.timestamp_millis < cutoff);
    let too_old = before(now.saturating_sub(MAX_AGE));
    let expired = retention_days.map_or(0, |days| before(now.saturating_sub(i64::from(days) * DAY)));
    let too_new = events.partition_point(|event| event.timestamp_millis <= now.saturating_add(MAX_AHEAD));
    if too_old == 0 && expired == 0 && too_new == events.len() {
        return (events, None);
    }
    let rejected = Rejected {
        too_new_start: (too_new < events.len()).then_some(too_new),
        too_old_end: (too_old > 0).then_some(too_old),
        expired_end: (expired > too_old).then_some(expired),
    };
    let kept = events.into_iter().take(too_new).skip(too_old.max(expired)).collect();
    (kept, Some(rejected))
}

/// What of a shipment is new, and the answer to it. Lines at or before `known` (the offset accepted so far) are dropped.
pub(super) fn fresh(lines: Vec<Line>, producer: &Producer, known: u64) -> Result<(Vec<Line>, ShipOutcome), Error> {
    let ordered = lines.is_sorted_by_key(|line| line.end);
    let inside = lines
        .iter()
        .all(|line| line.end > producer.offset && line.end <= producer.next_offset && line.timestamp_millis >= 0);
    if !ordered || !inside || producer.next_offset < producer.offset {
        return Err(Error::InvalidParameter("The lines do not lie within the producer's offsets.".to_string()));
    }
    names::check_batch(lines.iter().map(|line| line.message.as_str()))?;
    let duplicates = lines.partition_point(|line| line.end <= known);
    let fresh: Vec<Line> = lines.into_iter().skip(duplicates).collect();
    let accepted_up_to = known.max(producer.next_offset);
    Ok((fresh, ShipOutcome { accepted_up_to, duplicates }))
}

pub(super) fn chunk_of(first_seq: u64, ingestion: i64, events: impl Iterator<Item = (i64, String)>) -> Chunk {
    let stored = events.map(|(timestamp, message)| StoredEvent { timestamp, ingestion, message });
    Chunk::new(first_seq, stored.collect())
}

/// The token AWS still answers and ignores.
pub(super) fn sequence_token(next_seq: u64) -> String {
    format!("{next_seq:056}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(times: &[i64]) -> Vec<Event> {
        times.iter().map(|at| Event { timestamp_millis: *at, message: "m".to_string() }).collect()
    }

    #[test]
    fn rejects_the_ends_as_aws_does() {
        let now = 100 * DAY;
        let check =
            |times: &[i64], retention, kept: usize, rejected: Option<(Option<usize>, Option<usize>, Option<usize>)>| {
                let (left, got) = sift(events(times), retention, now);
                assert_eq!(left.len(), kept, "{times:?}");
                assert_eq!(got.map(|r| (r.too_new_start, r.too_old_end, r.expired_end)), rejected, "{times:?}");
            };
        check(&[now - MAX_AGE, now, now + MAX_AHEAD], None, 3, None);
        check(&[now, now + MAX_AHEAD + 1], None, 1, Some((Some(1), None, None)));
        check(&[now - MAX_AGE - 1, now], None, 1, Some((None, Some(1), None)));
        check(&[now - 2 * DAY, now], Some(1), 1, Some((None, None, Some(1))));
        check(&[now - MAX_AGE - 1, now - 2 * DAY, now], Some(1), 1, Some((None, Some(1), Some(2))));
        check(&[now - MAX_AGE - 1], Some(1), 0, Some((None, Some(1), None)));
    }

    #[test]
    fn a_shipment_is_known_line_by_line() {
        let line = |end| Line { timestamp_millis: 0, message: "x".to_string(), end };
        let producer = |offset, next_offset| Producer { id: "p".to_string(), offset, next_offset };
        let check = |offset, next, ends: &[u64], known, want: Result<(usize, u64), ()>| {
            let got = fresh(ends.iter().map(|end| line(*end)).collect(), &producer(offset, next), known);
            let got = got.map(|(fresh, outcome)| (fresh.len(), outcome.accepted_up_to)).map_err(drop);
            assert_eq!(got, want, "{offset}..{next} {ends:?} known {known}");
        };
        check(0, 4, &[2, 4], 0, Ok((2, 4)));
        check(0, 6, &[2, 4, 6], 4, Ok((1, 6)));
        check(0, 4, &[2, 4], 9, Ok((0, 9)));
        check(4, 8, &[], 4, Ok((0, 8)));
        check(0, 4, &[4, 2], 0, Err(()));
        check(2, 4, &[2], 0, Err(()));
        check(0, 4, &[5], 0, Err(()));
        check(4, 0, &[], 0, Err(()));
    }
}

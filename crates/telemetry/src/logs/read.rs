//! `GetLogEvents` and `FilterLogEvents`: windows, pages and the tokens that carry a reader's place.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::catalog::{Catalog, Group, Stream};
use super::codec::{EVENT_OVERHEAD, StoredEvent};
use super::error::Error;
use super::names;
use super::scan::{Direction, Indexes, Place, Scan, Window};
use super::types::{
    EventsPage, FilterEvents, FilterPage, FilteredEvent, GetEvents, Limits, OutputEvent, Scope, StreamChoice,
};

/// Events in one answer, as AWS.
pub const MAX_PAGE_EVENTS: usize = 10_000;
/// Bytes in one answer, as AWS; the first event is given even if it alone is more.
pub const MAX_PAGE_BYTES: usize = 1 << 20;
/// Streams named in a filter's answer. AWS stopped naming any in 2019; this many satisfy old clients and bound the answer.
pub const MAX_SEARCHED: usize = 100;

/// What the reading operations need: nothing of the writer.
pub(super) struct Reading<'a> {
    pub(super) root: &'a Path,
    pub(super) catalog: &'a Catalog,
    pub(super) indexes: &'a Indexes,
    pub(super) limits: &'a Limits,
}

impl Reading<'_> {
    pub(super) fn get_events(
        &self,
        scope: &Scope,
        group: &str,
        stream: &str,
        ask: &GetEvents,
    ) -> Result<EventsPage, Error> {
        let group = self.catalog.group(scope, group)?;
        let stream = group.stream(stream)?;
        let limit = check_limit(ask.limit)?;
        let start = ask.start_millis.unwrap_or(0);
        // Exclusive here, inclusive in the window.
        let end = ask.end_millis.map_or(i64::MAX, |end| end.saturating_sub(1));
        let (direction, after) = match &ask.token {
            Some(token) => {
                let (direction, place) = parse_token(token)?;
                (direction, Some(Place { stream: stream.id, ..place }))
            }
            None if ask.start_from_head => (Direction::Forward, None),
            None => (Direction::Backward, None),
        };
        let window = Window { start: expired(&group, start), end, after };
        let mut scan = self.scan(&group, direction, window, [Arc::clone(&stream)]);
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < limit {
            let Some(next) = scan.next() else { break };
            let size = next.event().message.len() + EVENT_OVERHEAD;
            if !found.is_empty() && bytes + size > MAX_PAGE_BYTES {
                break;
            }
            bytes += size;
            found.push((next.place, output(next.event())));
        }
        if direction == Direction::Backward {
            found.reverse();
        }
        let (back, forth) = match (found.first(), found.last()) {
            (Some((first, _)), Some((last, _))) => (*first, *last),
            _ => beside(direction, after, start),
        };
        Ok(EventsPage {
            events: found.into_iter().map(|(_, event)| event).collect(),
            next_forward_token: format!("f/{}", digits(forth, 0)),
            next_backward_token: format!("b/{}", digits(back, 0)),
        })
    }

    pub(super) fn filter_events(&self, scope: &Scope, group: &str, ask: &FilterEvents) -> Result<FilterPage, Error> {
        let group = self.catalog.group(scope, group)?;
        let limit = check_limit(ask.limit)?;
        let streams = choose(&group, &ask.streams)?;
        let after = ask.token.as_deref().map(parse_digits).transpose()?;
        let window = Window {
            start: expired(&group, ask.start_millis.unwrap_or(0)),
            end: ask.end_millis.unwrap_or(i64::MAX),
            after,
        };
        let searched: Vec<_> = streams.iter().take(MAX_SEARCHED).map(|stream| Arc::clone(&stream.name)).collect();
        let mut scan = self.scan(&group, Direction::Forward, window, streams);
        let (mut events, mut bytes, mut reached, mut done) = (Vec::new(), 0, after, false);
        while events.len() < limit && (scan.scanned < self.limits.scan_bytes || reached == after) {
            let Some(next) = scan.next() else {
                done = true;
                break;
            };
            if ask.pattern.matches(&next.event().message) {
                let size = next.event().message.len() + EVENT_OVERHEAD;
                if !events.is_empty() && bytes + size > MAX_PAGE_BYTES {
                    break;
                }
                bytes += size;
                events.push(FilteredEvent {
                    event_id: digits(next.place, next.place.stream),
                    stream: Arc::clone(&next.stream.name),
                    event: output(next.event()),
                });
            }
            reached = Some(next.place);
        }
        let next_token = reached.filter(|_| !done).map(|place| digits(place, place.stream));
        Ok(FilterPage { events, searched: searched.into_iter().map(|name| (name, done)).collect(), next_token })
    }

    fn scan(
        &self,
        group: &Group,
        direction: Direction,
        window: Window,
        streams: impl IntoIterator<Item = Arc<Stream>>,
    ) -> Scan<'_> {
        let dir = self.root.join("groups").join(group.id.to_string());
        Scan::new(dir, self.indexes, &self.catalog.damaged_blocks, direction, window, streams)
    }
}

fn choose(group: &Group, choice: &StreamChoice) -> Result<Vec<Arc<Stream>>, Error> {
    match choice {
        StreamChoice::All => Ok(group.streams().by_name.values().cloned().collect()),
        StreamChoice::Named(names) => names.iter().map(|name| group.stream(name)).collect(),
        StreamChoice::Prefix(prefix) => {
            let streams = group.streams();
            let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
            let named = streams.by_name.range::<str, _>(from).take_while(|(name, _)| name.starts_with(prefix));
            Ok(named.map(|(_, stream)| Arc::clone(stream)).collect())
        }
    }
}

fn check_limit(limit: Option<usize>) -> Result<usize, Error> {
    match limit {
        None => Ok(MAX_PAGE_EVENTS),
        Some(limit @ 1..=MAX_PAGE_EVENTS) => Ok(limit),
        Some(limit) => Err(Error::InvalidParameter(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: \
             Member must have value between 1 and {MAX_PAGE_EVENTS}"
        ))),
    }
}

/// `start`, or where retention has come to if that is later.
fn expired(group: &Group, start: i64) -> i64 {
    start.max(group.expired_before.load(Ordering::Relaxed))
}

fn output(event: &StoredEvent) -> OutputEvent {
    OutputEvent { timestamp_millis: event.timestamp, ingestion_millis: event.ingestion, message: event.message.clone() }
}

/// The places to go back and forth from when a page is empty: the token given in its own direction, so that it comes back
/// unchanged, and the event it names included in the other.
fn beside(direction: Direction, after: Option<Place>, start: i64) -> (Place, Place) {
    let Some(place) = after else {
        let place = Place { timestamp: start, stream: 0, slot: 0 };
        return (place, place);
    };
    match direction {
        Direction::Forward => (Place { slot: place.slot.saturating_add(1), ..place }, place),
        Direction::Backward => (place, Place { slot: place.slot.saturating_sub(1), ..place }),
    }
}

/// A place as 56 digits that sort as places do, AWS's shape of event ids and tokens.
fn digits(place: Place, stream: u64) -> String {
    format!("{:018}{stream:018}{:020}", place.timestamp.clamp(0, 999_999_999_999_999_999), place.slot)
}

fn parse_digits(token: &str) -> Result<Place, Error> {
    if token.len() != 56 || !token.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(names::bad_token());
    }
    let bad = |_| names::bad_token();
    Ok(Place {
        timestamp: token[..18].parse().map_err(bad)?,
        stream: token[18..36].parse().map_err(bad)?,
        slot: token[36..].parse().map_err(bad)?,
    })
}

fn parse_token(token: &str) -> Result<(Direction, Place), Error> {
    match token.split_once('/') {
        Some(("f", digits)) => Ok((Direction::Forward, parse_digits(digits)?)),
        Some(("b", digits)) => Ok((Direction::Backward, parse_digits(digits)?)),
        Some(_) | None => Err(names::bad_token()),
    }
}

//! `DescribeLogGroups` and `DescribeLogStreams`: filtered, ordered pages of what the catalogue holds.

use std::cmp::Reverse;
use std::ops::Bound;
use std::sync::atomic::Ordering;

use super::catalog::{Catalog, Group, Stream};
use super::command::sequence_token;
use super::error::Error;
use super::names;
use super::types::{GroupInfo, GroupNames, Page, Scope, StreamInfo, StreamOrder};

/// Groups or streams on one page, and AWS's default too.
pub const MAX_DESCRIBED: usize = 50;

fn check_limit(limit: Option<usize>) -> Result<usize, Error> {
    match limit {
        None => Ok(MAX_DESCRIBED),
        Some(limit @ 1..=MAX_DESCRIBED) => Ok(limit),
        Some(limit) => Err(Error::InvalidParameter(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: \
             Member must have value less than or equal to {MAX_DESCRIBED}"
        ))),
    }
}

/// Cuts `found`, of which one more than `limit` may be given, to a page whose token is the last item's.
fn page<T>(mut found: Vec<T>, limit: usize, token: impl Fn(&T) -> String) -> Page<T> {
    let more = found.len() > limit;
    found.truncate(limit);
    let next_token = found.last().filter(|_| more).map(token);
    Page { items: found, next_token }
}

fn after(token: Option<&str>) -> Result<Bound<String>, Error> {
    Ok(token.map(names::text_of).transpose()?.map_or(Bound::Unbounded, Bound::Excluded))
}

impl Group {
    pub(super) fn info(&self) -> GroupInfo {
        let settings = self.settings().clone();
        GroupInfo {
            name: self.name.to_string(),
            created_millis: self.created,
            retention_days: settings.retention_days,
            stored_bytes: self.stored_bytes.load(Ordering::Relaxed),
            tags: settings.tags,
        }
    }
}

impl Stream {
    fn info(&self) -> StreamInfo {
        let state = self.state();
        StreamInfo {
            name: self.name.to_string(),
            created_millis: self.created,
            first_event_millis: state.first_event,
            last_event_millis: state.last_event,
            last_ingestion_millis: state.last_ingestion,
            stored_bytes: state.stored_bytes,
            upload_sequence_token: sequence_token(state.next_seq),
        }
    }
}

pub(super) fn groups(
    catalog: &Catalog,
    scope: &Scope,
    filter: &GroupNames,
    limit: Option<usize>,
    token: Option<&str>,
) -> Result<Page<GroupInfo>, Error> {
    let limit = check_limit(limit)?;
    let from = after(token)?;
    let groups = catalog.groups();
    let Some(names) = groups.by_scope.get(scope) else { return Ok(Page { items: Vec::new(), next_token: None }) };
    let wanted = |name: &str| match filter {
        GroupNames::All => true,
        GroupNames::Prefix(prefix) => name.starts_with(prefix),
        GroupNames::Contains(part) => name.contains(part),
    };
    let range = names.range::<str, _>((from.as_ref().map(String::as_str), Bound::Unbounded));
    let found = range.filter(|(name, _)| wanted(name)).take(limit + 1).map(|(_, group)| group.info()).collect();
    Ok(page(found, limit, |group: &GroupInfo| names::token_of(&group.name)))
}

pub(super) fn streams(
    group: &Group,
    order: &StreamOrder,
    descending: bool,
    limit: Option<usize>,
    token: Option<&str>,
) -> Result<Page<StreamInfo>, Error> {
    let limit = check_limit(limit)?;
    match order {
        StreamOrder::Name { prefix } => by_name(group, prefix, descending, limit, token),
        StreamOrder::LastEventTime => by_last_event(group, descending, limit, token),
    }
}

fn by_name(
    group: &Group,
    prefix: &str,
    descending: bool,
    limit: usize,
    token: Option<&str>,
) -> Result<Page<StreamInfo>, Error> {
    let from = after(token)?;
    let from = from.as_ref().map(String::as_str);
    let streams = group.streams();
    let found = if descending {
        let range = streams.by_name.range::<str, _>((Bound::Unbounded, from));
        let named = range.rev().filter(|(name, _)| name.starts_with(prefix));
        named.take(limit + 1).map(|(_, stream)| stream.info()).collect()
    } else {
        let start = match from {
            Bound::Unbounded => Bound::Included(prefix),
            Bound::Included(_) | Bound::Excluded(_) => from,
        };
        let range = streams.by_name.range::<str, _>((start, Bound::Unbounded));
        let named = range.take_while(|(name, _)| name.starts_with(prefix));
        named.take(limit + 1).map(|(_, stream)| stream.info()).collect()
    };
    Ok(page(found, limit, |stream: &StreamInfo| names::token_of(&stream.name)))
}

/// Orders the whole group for each page: events keep arriving between pages, so no order could be kept anyway.
fn by_last_event(
    group: &Group,
    descending: bool,
    limit: usize,
    token: Option<&str>,
) -> Result<Page<StreamInfo>, Error> {
    let last = |stream: &Stream| stream.state().last_event.unwrap_or(-1);
    let after = match token.map(names::text_of).transpose()? {
        None => None,
        Some(text) => {
            let (time, name) = text.split_once(' ').ok_or_else(names::bad_token)?;
            Some((time.parse::<i64>().map_err(|_| names::bad_token())?, name.to_string()))
        }
    };
    let streams = group.streams();
    let mut keyed: Vec<_> = streams.by_name.values().map(|stream| (last(stream), &stream.name, stream)).collect();
    let beyond = |time: i64, name: &str| match &after {
        None => true,
        Some((at, from)) if descending => (time, name) < (*at, from.as_str()),
        Some((at, from)) => (time, name) > (*at, from.as_str()),
    };
    keyed.retain(|(time, name, _)| beyond(*time, name));
    if descending {
        keyed.sort_unstable_by_key(|(time, name, _)| Reverse((*time, *name)));
    } else {
        keyed.sort_unstable_by_key(|(time, name, _)| (*time, *name));
    }
    let found = keyed.into_iter().take(limit + 1).map(|(_, _, stream)| stream.info()).collect();
    let token =
        |stream: &StreamInfo| names::token_of(&format!("{} {}", stream.last_event_millis.unwrap_or(-1), stream.name));
    Ok(page(found, limit, token))
}

//! What names, batches and retentions may be, and the tokens that carry a place in a listing. Texts are AWS's.

use std::collections::BTreeMap;

use super::codec::EVENT_OVERHEAD;
use super::error::Error;
use super::types::Event;

/// Events in one put, and bytes of one put: CloudWatch's published quotas.
pub const MAX_PUT_EVENTS: usize = 10_000;
/// Bytes of one put, each event counted with 26 bytes more than its text.
pub const MAX_PUT_BYTES: usize = 1 << 20;
/// Bytes of one event, counted the same way (256 KiB until 2025, now as much as a put).
pub const MAX_EVENT_BYTES: usize = 1 << 20;
/// Characters in the name of a group or stream.
const MAX_NAME: usize = 512;
/// Tags on one group.
const MAX_TAGS: usize = 50;
const HOUR: i64 = 3_600_000;
pub(super) const DAY: i64 = 24 * HOUR;
/// AWS: events further ahead than this are rejected.
pub(super) const MAX_AHEAD: i64 = 2 * HOUR;
/// AWS: events older than this are rejected.
pub(super) const MAX_AGE: i64 = 14 * DAY;

/// The retentions AWS offers, in days.
pub const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

fn invalid(text: impl Into<String>) -> Error {
    Error::InvalidParameter(text.into())
}

fn violated(value: &str, member: &str, constraint: &str) -> Error {
    invalid(format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
    ))
}

fn check_length(name: &str, member: &str) -> Result<(), Error> {
    match name.chars().count() {
        0 => Err(violated(name, member, "Member must have length greater than or equal to 1")),
        1..=MAX_NAME => Ok(()),
        _ => Err(violated(name, member, "Member must have length less than or equal to 512")),
    }
}

pub(super) fn check_group(name: &str) -> Result<(), Error> {
    check_length(name, "logGroupName")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '#');
    if !name.chars().all(allowed) {
        let pattern = r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+";
        return Err(violated(name, "logGroupName", pattern));
    }
    if name.starts_with("aws/") {
        return Err(invalid("Log groups starting with AWS/ are reserved for AWS."));
    }
    Ok(())
}

pub(super) fn check_stream(name: &str) -> Result<(), Error> {
    check_length(name, "logStreamName")?;
    if name.contains([':', '*']) {
        return Err(violated(name, "logStreamName", "Member must satisfy regular expression pattern: [^:*]*"));
    }
    Ok(())
}

pub(super) fn check_retention(days: u32) -> Result<(), Error> {
    if RETENTION_DAYS.contains(&days) {
        return Ok(());
    }
    let known: Vec<String> = RETENTION_DAYS.iter().map(u32::to_string).collect();
    let constraint = format!("Member must satisfy enum value set: [{}]", known.join(", "));
    Err(violated(&days.to_string(), "retentionInDays", &constraint))
}

pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Error> {
    if tags.len() > MAX_TAGS {
        return Err(Error::LimitExceeded("Resource limit exceeded.".to_string()));
    }
    Ok(())
}

/// Checks what holds for every put. Order and span are checked by [`check_order`], which shipped lines do not need.
pub(super) fn check_batch<'a>(messages: impl ExactSizeIterator<Item = &'a str>) -> Result<(), Error> {
    if messages.len() > MAX_PUT_EVENTS {
        return Err(invalid(format!(
            "1 validation error detected: Value at 'logEvents' failed to satisfy constraint: \
             Member must have length less than or equal to {MAX_PUT_EVENTS}"
        )));
    }
    let mut total = 0;
    for message in messages {
        let size = message.len() + EVENT_OVERHEAD;
        if message.is_empty() {
            return Err(violated(
                "",
                "logEvents.1.member.message",
                "Member must have length greater than or equal to 1",
            ));
        }
        if size > MAX_EVENT_BYTES {
            return Err(invalid(format!("Log event too large: {size} bytes exceeds limit of {MAX_EVENT_BYTES}")));
        }
        total += size;
    }
    if total > MAX_PUT_BYTES {
        return Err(invalid(format!("Upload too large: {total} bytes exceeds limit of {MAX_PUT_BYTES}")));
    }
    Ok(())
}

pub(super) fn check_order(events: &[Event]) -> Result<(), Error> {
    if events.is_empty() {
        return Err(violated("[]", "logEvents", "Member must have length greater than or equal to 1"));
    }
    if events.iter().any(|event| event.timestamp_millis < 0) {
        let constraint = "Member must have value greater than or equal to 0";
        return Err(violated("-1", "logEvents.1.member.timestamp", constraint));
    }
    if !events.is_sorted_by_key(|event| event.timestamp_millis) {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    let span = events[events.len() - 1].timestamp_millis - events[0].timestamp_millis;
    if span > DAY {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(())
}

/// A name as a page token: opaque to clients, stable, and independent of what else is in the listing.
pub(super) fn token_of(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn text_of(token: &str) -> Result<String, Error> {
    let byte = |at: usize| token.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..token.len()).step_by(2).map(byte).collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad_token)
}

pub(super) fn bad_token() -> Error {
    invalid("The specified nextToken is invalid.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (good, name) in [
            (true, "/ecs/web"),
            (true, "a.b-c_d/e#f"),
            (false, ""),
            (false, "a b"),
            (false, "ü"),
            (false, "aws/lambda"),
            (true, &"x".repeat(512)),
            (false, &"x".repeat(513)),
        ] {
            assert_eq!(check_group(name).is_ok(), good, "{name}");
        }
        for (good, name) in
            [(true, "web/app/0123"), (true, "2026/[$LATEST] ü"), (false, "a:b"), (false, "a*"), (false, "")]
        {
            assert_eq!(check_stream(name).is_ok(), good, "{name}");
        }
    }

    #[test]
    fn retentions() {
        for (good, days) in [(true, 1), (true, 3653), (false, 0), (false, 2), (false, 11)] {
            assert_eq!(check_retention(days).is_ok(), good, "{days}");
        }
    }

    #[test]
    fn tokens_come_back() {
        for name in ["", "web/app", "ü\u{1F600}"] {
            assert_eq!(text_of(&token_of(name)), Ok(name.to_string()));
        }
        for bad in ["0", "zz", "ff", "é"] {
            assert_eq!(text_of(bad), Err(bad_token()), "{bad}");
        }
    }
}

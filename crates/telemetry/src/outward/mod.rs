//! Lines of output in the forms in which others take them: bytes for a connection, or datagrams. Pure: who connects, waits and
//! tries again is the agent (`agent::logs`).
//!
//! Docker's drivers know of each line which of the two streams it came from; the shim's file does not, so every line is told as
//! one of standard output.

pub mod forward;
pub mod gelf;
pub mod journal;
pub mod splunk;
pub mod syslog;

/// What a line is said to have come from.
const SOURCE: &str = "stdout";

/// The longest datagram of UDP over IPv4.
pub const MAX_DATAGRAM: usize = 65_507;

/// The beginning of `text` that has so many bytes at most, whole characters.
fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// A line's time.
fn time(line: &crate::Line) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(line.timestamp_millis).unwrap_or_default()
}

#[cfg(test)]
mod tests;

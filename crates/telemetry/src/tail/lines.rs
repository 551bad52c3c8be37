//! Bytes become events. Pure, and the same cuts whatever the reads were: a line ends at its newline, and one that is too long
//! is split every [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES), counted from its start or the last split, never inside a character.
//!
//! With a start pattern an event is a line and all lines after it up to the next that matches. When it ends is then only known
//! once that line is there, so the last lines of a file are *held*; whoever will not wait for more names the offset where the
//! event ends whatever follows, and must name it again whenever the same bytes are cut anew.

use super::{BatchLimits, EVENT_OVERHEAD, MAX_LINE_BYTES};
use crate::Line;
use regex::bytes::Regex;

/// How bytes are cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    /// Matches the first line of each event; without it each line is one.
    pub(super) start: Option<&'a Regex>,
    /// An event ends at this offset.
    pub(super) forced: Option<u64>,
    /// Nothing will ever come after the bytes.
    pub(super) at_end: bool,
    pub(super) limits: BatchLimits,
}

/// What was cut.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) lines: Vec<Line>,
    /// Bytes they took.
    pub(super) used: usize,
    /// Bytes of whole lines behind them whose event may go on.
    pub(super) held: usize,
}

/// Cuts events off `bytes`, which begin at `offset` in the file, until they or the limits end.
pub(super) fn cut(bytes: &[u8], offset: u64, now_millis: i64, rules: Rules<'_>) -> Cut {
    let mut cut = Cut { lines: Vec::new(), used: 0, held: 0 };
    let mut size = 0;
    loop {
        let (rest, at) = (&bytes[cut.used..], offset + cut.used as u64);
        let (text, taken) = match event(rest, at, rules) {
            Next::Event { text, taken } => (text, taken),
            Next::Held(held) => {
                cut.held = held;
                return cut;
            }
        };
        if !text.iter().all(|byte| *byte == b'\n') {
            let mut message = String::from_utf8_lossy(text).into_owned();
            if rules.start.is_some() && !message.ends_with('\n') {
                message.push('\n');
            }
            let more = message.len() + EVENT_OVERHEAD;
            if cut.lines.len() >= rules.limits.events || (!cut.lines.is_empty() && size + more > rules.limits.bytes) {
                return cut;
            }
            size += more;
            cut.lines.push(Line { timestamp_millis: now_millis, message, end: at + taken as u64 });
        }
        cut.used += taken;
    }
}

enum Next<'a> {
    Event { text: &'a [u8], taken: usize },
    Held(usize),
}

/// The first event of `bytes`, which begin at `at`.
fn event<'a>(bytes: &'a [u8], at: u64, rules: Rules<'_>) -> Next<'a> {
    let Some(start) = rules.start else {
        return next(bytes, rules.at_end).map_or(Next::Held(0), |(text, taken)| Next::Event { text, taken });
    };
    let mut end = 0;
    // AWS: events of several lines keep their newlines, the last one too (Docker, `daemon/logger/awslogs`).
    let all = |end: usize| Next::Event { text: &bytes[..end], taken: end };
    while let Some((line, taken)) = next(&bytes[end..], rules.at_end) {
        if end > 0 && (start.is_match(line) || end + taken > MAX_LINE_BYTES) {
            return all(end);
        }
        end += taken;
        if rules.forced == Some(at + end as u64) {
            return all(end);
        }
    }
    if rules.at_end && end > 0 { all(end) } else { Next::Held(end) }
}

/// The first line of `bytes` without its newline, and how many bytes it takes with it.
fn next(bytes: &[u8], at_end: bool) -> Option<(&[u8], usize)> {
    let window = &bytes[..bytes.len().min(MAX_LINE_BYTES + 1)];
    if let Some(newline) = window.iter().position(|byte| *byte == b'\n') {
        return Some((&bytes[..newline], newline + 1));
    }
    if window.len() > MAX_LINE_BYTES {
        let split = boundary(window);
        return Some((&bytes[..split], split));
    }
    (at_end && !bytes.is_empty()).then_some((bytes, bytes.len()))
}

/// Where to split `window`, one byte longer than may be kept: before the character that would be cut, if it is one.
fn boundary(window: &[u8]) -> usize {
    let continues = |at: usize| window[at] & 0xc0 == 0x80;
    // A character is at most four bytes; a longer run of continuation bytes is not UTF-8 and may be cut anywhere.
    (MAX_LINE_BYTES - 3..=MAX_LINE_BYTES).rev().find(|at| !continues(*at)).unwrap_or(MAX_LINE_BYTES)
}

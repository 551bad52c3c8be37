//! Bytes become lines. Pure, and the same cuts whatever the reads were: a line ends at its newline, and one that is too long
//! is split every [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES), counted from its start or the last split, never inside a character.

use super::{BatchLimits, EVENT_OVERHEAD, MAX_LINE_BYTES};
use crate::Line;

/// Cuts lines off `bytes`, which begin at `offset` in the file, until they or the limits end; returns them and how many bytes
/// they took. The end without a newline is left for later unless it is `at_end` of the file for good.
pub(super) fn cut(bytes: &[u8], offset: u64, now_millis: i64, at_end: bool, limits: BatchLimits) -> (Vec<Line>, usize) {
    let (mut lines, mut used, mut size) = (Vec::new(), 0, 0);
    while let Some((text, taken)) = next(&bytes[used..], at_end) {
        if !text.is_empty() {
            let message = String::from_utf8_lossy(text).into_owned();
            let more = message.len() + EVENT_OVERHEAD;
            if lines.len() >= limits.events || (!lines.is_empty() && size + more > limits.bytes) {
                break;
            }
            size += more;
            let end = offset + (used + taken) as u64;
            lines.push(Line { timestamp_millis: now_millis, message, end });
        }
        used += taken;
    }
    (lines, used)
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

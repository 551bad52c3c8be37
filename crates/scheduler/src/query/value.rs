//! Values of the query language: how versions, numbers and dates are read and compared.

use super::MAX_PATTERN_BYTES;
use regex::{Regex, RegexBuilder};
use std::cmp::Ordering;

/// Compares dotted versions part by part, numbers as numbers; a part that is not there counts as 0.
pub(super) fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (parts(a), parts(b));
    loop {
        let (left, right) = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => (left.unwrap_or("0"), right.unwrap_or("0")),
        };
        let by_part = match (left.parse::<u64>(), right.parse::<u64>()) {
            (Ok(l), Ok(r)) => l.cmp(&r),
            _ => left.cmp(right),
        };
        if by_part.is_ne() {
            return by_part;
        }
    }
}

fn parts(version: &str) -> std::str::Split<'_, char> {
    version.strip_prefix('v').unwrap_or(version).split('.')
}

/// Whether a text can stand for a version.
pub(super) fn is_version(text: &str) -> bool {
    text.strip_prefix('v').unwrap_or(text).starts_with(|c: char| c.is_ascii_digit())
}

/// Compares as numbers if both are plain decimals, else byte by byte.
pub(super) fn compare_texts(a: &str, b: &str) -> Ordering {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    }
}

fn number(text: &str) -> Option<f64> {
    // `f64` also reads `inf`, `nan` and exponents, which are words to people who write attributes.
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    // Adding zero turns -0 into 0, which `total_cmp` would keep apart.
    if plain { text.parse::<f64>().ok().map(|n| n + 0.0) } else { None }
}

/// Compiles a pattern that must match a whole value, as Java's `matches()` does.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    // On its own first, so that `a)|(b` can not use the parentheses put around it.
    compile(text)?;
    compile(&format!("^(?:{text})$"))
}

fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES).build().map_err(|e| {
        let whole = e.to_string();
        let line = whole.lines().last().unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    })
}

/// What [`moment`] reads, in words for people.
pub(super) const MOMENT_FORMS: &str =
    "a date such as 2018-06-18, 2018-06-18T22:28:28, 2018-06-18T22:28:28Z or 2018-06-18T22:28:28+00:00";

/// Seconds since the epoch; without a zone it is UTC, a date alone is its midnight.
pub(super) fn moment(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let midnight = days_before(year, month, day) * 86_400;
    let Some(time) = time else { return Some(midnight) };
    let (clock, offset) = match time.find(['Z', '+', '-']) {
        Some(at) => (&time[..at], zone(&time[at..])?),
        None => (time, 0),
    };
    let [hour, minute, second] = fields(clock, ':', [2, 2, 2])?;
    (hour < 24 && minute < 60 && second < 60).then_some(midnight + hour * 3600 + minute * 60 + second - offset)
}

/// Seconds east of UTC.
fn zone(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let [hours, minutes] = fields(&text[1..], ':', [2, 2])?;
    let seconds = (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)?;
    Some(if text.starts_with('-') { -seconds } else { seconds })
}

fn fields<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut found = [0; N];
    let mut rest = text.split(separator);
    for (slot, digits) in found.iter_mut().zip(digits) {
        let part = rest.next()?;
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *slot = part.parse().ok()?;
    }
    rest.next().is_none().then_some(found)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the epoch to a date of the Gregorian calendar.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    // 719,162 days lie between 0001-01-01 and 1970-01-01.
    let to_year = before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162;
    to_year + (1..month).map(|m| days_of(year, m)).sum::<i64>() + day - 1
}

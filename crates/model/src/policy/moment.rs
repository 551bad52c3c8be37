//! Dates as conditions write them: ISO 8601 as W3C profiles it, or seconds since 1970.

/// Milliseconds since 1970.
pub(super) fn read(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1_000);
    }
    let (date, time) = text.split_once(['T', 't']).map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.split('-');
    let year: i64 = digits(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |text| digits(text, 2))?;
    let day = parts.next().map_or(Some(1), |text| digits(text, 2))?;
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let midnight = days_since_1970(year, month, day) * 86_400_000;
    Some(midnight + time.map_or(Some(0), time_of_day)?)
}

fn digits(text: &str, length: usize) -> Option<i64> {
    let whole = text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    whole.then(|| text.parse().ok())?
}

/// `hh:mm[:ss[.fff]]` and `Z` or an offset.
fn time_of_day(text: &str) -> Option<i64> {
    let (clock, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let at = text.rfind(['+', '-'])?;
            let (clock, offset) = text.split_at(at);
            let (hours, minutes) = offset[1..].split_once(':')?;
            let minutes = digits(hours, 2)? * 60 + digits(minutes, 2)?;
            (clock, if offset.starts_with('+') { minutes } else { -minutes })
        }
    };
    let mut parts = clock.split(':');
    let (hours, minutes) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let (seconds, fraction) = match parts.next().map(|text| text.split_once('.').unwrap_or((text, ""))) {
        Some((seconds, fraction)) => (digits(seconds, 2)?, fraction),
        None => (0, ""),
    };
    let sane = parts.next().is_none() && hours < 24 && minutes < 60 && seconds <= 60;
    if !sane || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    Some(((hours * 60 + minutes - offset) * 60 + seconds) * 1_000 + millis)
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar, counted in years that begin in March, so that leap days come last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
        - 719_469
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn moments() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01", Some(0)),
            ("2000-02-29T12:34:56Z", Some(951_827_696_000)),
            ("2000-03-01", Some(951_868_800_000)),
            ("2026-11-27T20:00:00.250Z", Some(1_795_809_600_250)),
            ("2026-11-27T21:00:00+01:00", Some(1_795_809_600_000)),
            ("2026-11-27T19:30-00:30", Some(1_795_809_600_000)),
            ("1969-12-31T23:59:59Z", Some(-1_000)),
            ("1795809600", Some(1_795_809_600_000)),
            ("2100-02-29", None),
            ("2026-13-01", None),
            ("2026-11-27T25:00:00Z", None),
            ("2026-11-27T20:00:00", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(read(text), millis, "{text}");
        }
    }
}

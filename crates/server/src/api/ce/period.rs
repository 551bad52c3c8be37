//! The time a request asks about, and the parts its granularity cuts it into.

use super::{ApiError, invalid};
use jiff::{Timestamp as Instant, civil::Date, tz::Offset};
use model::Timestamp;
use shapes::ce as aws;
use telemetry::usage::Window;

/// Parts of one period: a month of hours, or two years of days. AWS gives 14 days of hours and 14 months of days.
const MAX_PARTS: usize = 750;
const HOUR_MILLIS: i64 = 3_600_000;

/// A period in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Period {
    windows: Vec<Window>,
    hourly: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Granularity {
    Hourly,
    Daily,
    Monthly,
}

impl Period {
    pub(super) fn parse(given: Option<&aws::DateInterval>, granularity: &str) -> Result<Self, ApiError> {
        let granularity = match granularity {
            "HOURLY" => Granularity::Hourly,
            "DAILY" => Granularity::Daily,
            "MONTHLY" => Granularity::Monthly,
            other => return Err(invalid(format!("Granularity is DAILY, MONTHLY or HOURLY, not '{other}'."))),
        };
        let (start, end) = given.map_or((None, None), |given| (given.start.as_deref(), given.end.as_deref()));
        let (from, to) = (moment(start, granularity)?, moment(end, granularity)?);
        if from >= to {
            return Err(invalid("Start date (and hour) should be before end date (and hour)."));
        }
        let mut windows = Vec::new();
        let mut at = from;
        while at < to {
            let next = next(at, granularity).min(to);
            windows.push(Window { from: at, to: next });
            at = next;
            if windows.len() > MAX_PARTS {
                return Err(invalid(format!("The period has more than {MAX_PARTS} parts; ask for a shorter one.")));
            }
        }
        Ok(Self { windows, hourly: granularity == Granularity::Hourly })
    }

    /// Its parts, in order.
    pub(super) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// From its beginning to its end.
    pub(super) fn whole(&self) -> Window {
        let first = self.windows.first().map(|window| window.from).unwrap_or_default();
        Window { from: first, to: self.windows.last().map_or(first, |window| window.to) }
    }

    /// A moment as the request has them: a date, or with the hour.
    pub(super) fn text(&self, at: Timestamp) -> String {
        let civil = Offset::UTC.to_datetime(instant(at));
        if self.hourly { civil.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() } else { civil.date().to_string() }
    }
}

fn instant(at: Timestamp) -> Instant {
    // Whatever was parsed can be written.
    Instant::from_millisecond(at.0).unwrap_or(Instant::UNIX_EPOCH)
}

fn moment(given: Option<&str>, granularity: Granularity) -> Result<Timestamp, ApiError> {
    let text = given.unwrap_or_default();
    let wrong = || {
        let form = match granularity {
            Granularity::Hourly => "yyyy-MM-ddThh:mm:ssZ",
            Granularity::Daily | Granularity::Monthly => "yyyy-MM-dd",
        };
        invalid(format!("'{text}' does not have the form {form}."))
    };
    let date = |text: &str| text.parse::<Date>().ok().filter(|_| text.len() == 10);
    let at = match granularity {
        Granularity::Hourly => text.parse::<Instant>().ok().filter(|_| text.ends_with('Z')),
        Granularity::Daily | Granularity::Monthly => {
            date(text).and_then(|date| Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok())
        }
    };
    // Years that have four digits and no sign, with room for the next part.
    let millis = at.map(Instant::as_millisecond).filter(|millis| (0..250_000_000_000_000).contains(millis));
    let at = Timestamp(millis.ok_or_else(wrong)?);
    // AWS: hours are whole.
    if granularity == Granularity::Hourly && at.0 % HOUR_MILLIS != 0 {
        return Err(invalid(format!("'{text}' is not a whole hour, as HOURLY wants it: yyyy-MM-ddThh:00:00Z.")));
    }
    Ok(at)
}

/// The beginning of the next hour, day or month.
fn next(at: Timestamp, granularity: Granularity) -> Timestamp {
    match granularity {
        Granularity::Hourly => at.plus_millis(HOUR_MILLIS),
        Granularity::Daily => at.plus_millis(24 * HOUR_MILLIS),
        Granularity::Monthly => {
            let date = Offset::UTC.to_datetime(instant(at)).date();
            let next = date.last_of_month().tomorrow().ok();
            let next = next.and_then(|next| Offset::UTC.to_timestamp(next.at(0, 0, 0, 0)).ok());
            next.map_or(Timestamp(i64::MAX), |next| Timestamp(next.as_millisecond()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(start: &str, end: &str, granularity: &str) -> Result<Vec<String>, String> {
        let given = aws::DateInterval { start: Some(start.to_owned()), end: Some(end.to_owned()) };
        let period = Period::parse(Some(&given), granularity).map_err(|error| error.message)?;
        let whole = period.whole();
        assert_eq!((period.text(whole.from), period.text(whole.to)), (start.to_owned(), end.to_owned()));
        assert!(period.windows().windows(2).all(|two| two[0].to == two[1].from));
        Ok(period.windows().iter().map(|window| period.text(window.from)).collect())
    }

    #[test]
    fn a_period_is_cut_at_the_calendars_edges() {
        for (start, end, granularity, want) in [
            ("2026-11-26", "2026-11-28", "DAILY", vec!["2026-11-26", "2026-11-27"]),
            ("2024-02-10", "2024-04-02", "MONTHLY", vec!["2024-02-10", "2024-03-01", "2024-04-01"]),
            ("2026-12-31", "2027-01-01", "MONTHLY", vec!["2026-12-31"]),
            (
                "2026-11-26T22:00:00Z",
                "2026-11-27T00:00:00Z",
                "HOURLY",
                vec!["2026-11-26T22:00:00Z", "2026-11-26T23:00:00Z"],
            ),
        ] {
            assert_eq!(parts(start, end, granularity).unwrap(), want, "{start} {end} {granularity}");
        }
        assert_eq!(parts("2024-11-01", "2026-11-01", "DAILY").unwrap().len(), 730);
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for (start, end, granularity, says) in [
            ("2026-11-26", "2026-11-26", "DAILY", "before end date"),
            ("2026-11-26", "2026-11-25", "DAILY", "before end date"),
            ("2026-11-26T00:00:00Z", "2026-11-27", "DAILY", "yyyy-MM-dd"),
            ("2026-11-26", "2026-11-27", "HOURLY", "yyyy-MM-ddThh:mm:ssZ"),
            ("2026-11-26T00:30:00Z", "2026-11-27T00:00:00Z", "HOURLY", "whole hour"),
            ("2026-11-26T00:00:00Z", "2026-11-27T23:59:59Z", "HOURLY", "'2026-11-27T23:59:59Z' is not a whole hour"),
            ("2026-11-31", "2026-12-02", "DAILY", "'2026-11-31'"),
            ("1969-11-01", "2026-12-02", "MONTHLY", "'1969-11-01'"),
            ("2020-01-01", "2026-12-02", "DAILY", "more than 750"),
            ("2026-11-26", "2026-11-27", "YEARLY", "YEARLY"),
        ] {
            let error = parts(start, end, granularity).unwrap_err();
            assert!(error.contains(says), "{start} {end} {granularity}: {error}");
        }
    }
}

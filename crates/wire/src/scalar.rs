//! The two scalars JSON has no type for: points in time and bytes.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::schema::TimestampFormat;

/// A point in time with AWS's precision, the millisecond. Its canonical JSON is a number of epoch seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    millis: i64,
}

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self { millis }
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.millis
    }

    /// From seconds since the epoch, rounded to the millisecond.
    #[allow(clippy::cast_possible_truncation)]
    pub fn from_seconds(seconds: f64) -> Self {
        // Saturates, and the year 292 million is far enough.
        Self { millis: (seconds * 1000.0).round() as i64 }
    }

    /// Seconds since the epoch.
    #[allow(clippy::cast_precision_loss)]
    pub fn as_seconds(self) -> f64 {
        self.millis as f64 / 1000.0
    }

    /// Reads any of the forms clients write: ISO 8601 with an offset, an HTTP date, a number of seconds.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(seconds) = text.parse::<f64>() {
            return seconds.is_finite().then(|| Self::from_seconds(seconds));
        }
        let iso = text.parse::<jiff::Timestamp>().ok();
        let time = iso.or_else(|| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()));
        // EC2's clients may leave the zone out; it is UTC then.
        let time = time.or_else(|| {
            let civil = text.parse::<jiff::civil::DateTime>().ok()?;
            civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        });
        time.map(|time| Self { millis: time.as_millisecond() })
    }

    /// Writes it as a protocol's text; `None` beyond the year 9999.
    pub fn format(self, format: TimestampFormat) -> Option<String> {
        let time = jiff::Timestamp::from_duration(SignedDuration::from_millis(self.millis)).ok()?;
        Some(match format {
            TimestampFormat::EpochSeconds => self.as_seconds().to_string(),
            TimestampFormat::Iso8601 => time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
            TimestampFormat::HttpDate => time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_seconds())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self::from_seconds)
    }
}

/// Bytes. Their canonical JSON is base64 text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob(
    /// The bytes themselves, not their base64.
    pub Vec<u8>,
);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(BlobVisitor)
    }
}

struct BlobVisitor;

impl Visitor<'_> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64 text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Blob, E> {
        STANDARD.decode(text).map(Blob).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Blob, Timestamp};
    use crate::schema::TimestampFormat;

    #[test]
    fn times_read_and_write() {
        let check = |text: &str, millis: i64| {
            assert_eq!(Timestamp::parse(text).map(Timestamp::as_millis), Some(millis), "{text}");
        };
        check("2026-11-17T19:10:00Z", 1_794_942_600_000);
        check("1970-01-01T00:00:01.5Z", 1500);
        check("1970-01-01T01:00:00+01:00", 0);
        check("1970-01-01T00:00:02", 2000);
        check("Thu, 01 Jan 1970 00:00:03 GMT", 3000);
        check("1.234", 1234);
        assert_eq!(Timestamp::parse("yesterday"), None);
        let time = Timestamp::from_millis(1_500);
        assert_eq!(time.format(TimestampFormat::Iso8601).as_deref(), Some("1970-01-01T00:00:01.500Z"));
        assert_eq!(time.format(TimestampFormat::HttpDate).as_deref(), Some("Thu, 01 Jan 1970 00:00:01 GMT"));
        assert_eq!(time.format(TimestampFormat::EpochSeconds).as_deref(), Some("1.5"));
    }

    #[test]
    fn canonical_json_is_a_number_and_base64() {
        let time = Timestamp::from_millis(1_795_000_000_123);
        let json = serde_json::to_value(time).unwrap();
        assert_eq!(json, serde_json::json!(1_795_000_000.123));
        assert_eq!(serde_json::from_value::<Timestamp>(json).unwrap(), time);
        assert_eq!(serde_json::from_str::<Timestamp>("7").unwrap().as_millis(), 7000);
        let blob = Blob(b"hello".to_vec());
        assert_eq!(serde_json::to_value(&blob).unwrap(), "aGVsbG8=");
        assert_eq!(serde_json::from_str::<Blob>("\"aGVsbG8=\"").unwrap(), blob);
    }
}

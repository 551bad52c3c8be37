//! How events become bytes, in the journal and inside a block: varints, times as differences, text as it is.

/// An event as the store keeps it. Its sequence number is its place in the [`Chunk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredEvent {
    pub(super) timestamp: i64,
    pub(super) ingestion: i64,
    pub(super) message: String,
}

/// A run of consecutive events of one stream: what a put adds, what a block holds, what a reader merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Sequence number of the first event; the rest follow without gaps.
    pub(super) first_seq: u64,
    pub(super) events: Vec<StoredEvent>,
    pub(super) min: i64,
    pub(super) max: i64,
    /// Bytes of text plus [`EVENT_OVERHEAD`] for each event, as CloudWatch counts them.
    pub(super) bytes: usize,
}

/// What CloudWatch adds to each event's text when it measures a batch.
pub(super) const EVENT_OVERHEAD: usize = 26;

impl Chunk {
    pub(super) fn new(first_seq: u64, events: Vec<StoredEvent>) -> Self {
        let min = events.iter().map(|e| e.timestamp).min().unwrap_or(i64::MAX);
        let max = events.iter().map(|e| e.timestamp).max().unwrap_or(i64::MIN);
        let bytes = events.iter().map(|e| e.message.len() + EVENT_OVERHEAD).sum();
        Chunk { first_seq, events, min, max, bytes }
    }

    /// Adds the events of `next`, which must follow on.
    pub(super) fn extend(&mut self, next: Chunk) {
        debug_assert_eq!(self.end_seq(), next.first_seq);
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        self.bytes += next.bytes;
        self.events.extend(next.events);
    }

    pub(super) fn end_seq(&self) -> u64 {
        self.first_seq + self.events.len() as u64
    }
}

pub(super) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Writes `events` without their count, which the caller keeps.
pub(super) fn put_events<'a>(out: &mut Vec<u8>, events: impl Iterator<Item = &'a StoredEvent>) {
    let (mut timestamp, mut ingestion) = (0i64, 0i64);
    for event in events {
        put_i64(out, event.timestamp.wrapping_sub(timestamp));
        put_i64(out, event.ingestion.wrapping_sub(ingestion));
        put_text(out, &event.message);
        (timestamp, ingestion) = (event.timestamp, event.ingestion);
    }
}

/// Reads what the `put_*` functions wrote; `None` means the bytes are not ours.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        let raw = self.u64()?;
        Some(((raw >> 1) as i64) ^ -((raw & 1) as i64))
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let len = usize::try_from(self.u64()?).ok()?;
        let (text, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    pub(super) fn events(&mut self, count: u64) -> Option<Vec<StoredEvent>> {
        let (mut timestamp, mut ingestion) = (0i64, 0i64);
        let mut events = Vec::new();
        for _ in 0..count {
            timestamp = timestamp.wrapping_add(self.i64()?);
            ingestion = ingestion.wrapping_add(self.i64()?);
            let message = self.text()?;
            events.push(StoredEvent { timestamp, ingestion, message });
        }
        Some(events)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in proptest::collection::vec((any::<i64>(), any::<i64>(), ".{0,20}"), 0..50)) {
            let events: Vec<_> = rows
                .into_iter()
                .map(|(timestamp, ingestion, message)| StoredEvent { timestamp, ingestion, message })
                .collect();
            let mut bytes = Vec::new();
            put_events(&mut bytes, events.iter());
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.events(events.len() as u64), Some(events));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0u64..1000) {
            let _ = Reader::new(&bytes).events(count);
        }
    }
}

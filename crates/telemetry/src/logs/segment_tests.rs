//! Segments alone: what goes in comes out, sealed or not, and damage is seen.

use super::*;
use proptest::prelude::*;

fn chunk(first_seq: u64, count: u64, text: &str) -> Arc<Chunk> {
    let event = |seq: u64| StoredEvent { timestamp: seq as i64 * 10, ingestion: 5, message: format!("{text} {seq}") };
    Arc::new(Chunk::new(first_seq, (first_seq..first_seq + count).map(event).collect()))
}

fn read_all(dir: &Path, segments: &[SegmentMeta]) -> Vec<(u64, StoredEvent)> {
    let mut all = Vec::new();
    for segment in segments {
        for block in index(dir, 7, segment).unwrap() {
            let chunk = read(&path(dir, 7, segment.no), &block).unwrap();
            assert_eq!((chunk.min, chunk.max, chunk.events.len()), (block.min, block.max, block.count as usize));
            all.extend((chunk.first_seq..).zip(chunk.events));
        }
    }
    all
}

fn limits(block_bytes: usize, segment_bytes: u64) -> Limits {
    Limits { block_bytes, segment_bytes, ..Limits::default() }
}

proptest! {
    #[test]
    fn what_is_flushed_is_read(
        flushes in proptest::collection::vec(1u64..40, 1..8),
        block_bytes in 1usize..2_000,
        segment_bytes in 1u64..2_000,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut segments, mut next, mut want) = (Vec::new(), 0, Vec::new());
        for count in flushes {
            let chunk = chunk(next, count, "event");
            want.extend((next..).zip(chunk.events.clone()));
            segments = flush(dir.path(), 7, &segments, &[chunk], &limits(block_bytes, segment_bytes), Sync::Here).unwrap();
            next += count;
        }
        prop_assert_eq!(read_all(dir.path(), &segments), want);
        prop_assert!(segments.iter().rev().skip(1).all(|segment| segment.sealed));
    }
}

#[test]
fn an_interrupted_flush_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let limits = limits(64, 10_000);
    let first = flush(dir.path(), 7, &[], &[chunk(0, 20, "a")], &limits, Sync::Here).unwrap();
    // Never published, then flushed again with more in it.
    flush(dir.path(), 7, &first, &[chunk(20, 50, "lost attempt")], &limits, Sync::Here).unwrap();
    let second = flush(dir.path(), 7, &first, &[chunk(20, 1, "b")], &limits, Sync::Here).unwrap();
    let all = read_all(dir.path(), &second);
    assert_eq!(all.len(), 21);
    assert_eq!(all[20].1.message, "b 20");
}

#[test]
fn a_segment_is_sealed_when_it_spans_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_span_millis: 1_000, ..Limits::default() };
    let first = flush(dir.path(), 7, &[], &[chunk(0, 50, "a")], &limits, Sync::Here).unwrap();
    let second = flush(dir.path(), 7, &first, &[chunk(50, 60, "b")], &limits, Sync::Here).unwrap();
    assert_eq!(second.iter().map(|segment| (segment.no, segment.sealed)).collect::<Vec<_>>(), [(0, true), (50, false)]);
    assert_eq!(read_all(dir.path(), &second).len(), 110);
}

#[test]
fn every_flipped_bit_of_a_block_is_seen_and_a_bad_index_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let first = flush(dir.path(), 7, &[], &[chunk(0, 5, "a")], &limits(1_000, 1), Sync::Later).unwrap();
    let segments = flush(dir.path(), 7, &first, &[chunk(5, 1, "b")], &limits(1_000, 1), Sync::Later).unwrap();
    let file = path(dir.path(), 7, 0);
    let good = std::fs::read(&file).unwrap();
    let block = index(dir.path(), 7, &segments[0]).unwrap()[0];
    let (sealed_len, len) = (good.len(), segments[0].len as usize);
    assert!(sealed_len > len);
    for at in 0..sealed_len {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&file, bad).unwrap();
        if at < len {
            assert!(read(&file, &block).is_err(), "flip at {at}");
        } else {
            assert_eq!(index(dir.path(), 7, &segments[0]).unwrap(), [block], "flip at {at}");
        }
    }
}

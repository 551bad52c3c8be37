//! The tailer on real files: whatever the writes, reads and restarts, the lines and their offsets are the same.

use std::io::Write;
use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;

use super::*;

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn texts(batch: Option<Batch>) -> Vec<String> {
    batch.into_iter().flat_map(|batch| batch.lines).map(|line| line.message).collect()
}

#[test]
fn waits_for_the_end_of_a_line() {
    let mut file = file(b"one\n\ntwo\r\nthr");
    let mut tailer = Tailer::open(file.path(), 0, BatchLimits::default()).unwrap();
    let batch = tailer.read(7, false).unwrap().unwrap();
    assert_eq!((batch.offset, batch.next_offset), (0, 10));
    let line = |message: &str, end| Line { timestamp_millis: 7, message: message.to_string(), end };
    assert_eq!(batch.lines, [line("one", 4), line("two\r", 10)]);
    assert!(tailer.has_more().unwrap());
    assert_eq!(tailer.read(8, false).unwrap(), None);
    file.write_all(b"ee\nfour").unwrap();
    assert_eq!(texts(tailer.read(9, false).unwrap()), ["three"]);
    assert_eq!(texts(tailer.read(9, false).unwrap()), [""; 0]);
    assert_eq!(texts(tailer.read(9, true).unwrap()), ["four"]);
    assert_eq!(tailer.read(9, true).unwrap(), None);
    assert!(!tailer.has_more().unwrap());
}

#[test]
fn a_line_bears_the_time_it_was_written_at() {
    let mut file = file(b"one\n");
    let mut tailer = Tailer::open(file.path(), 0, BatchLimits::default()).unwrap();
    let at = |file: &mut tempfile::NamedTempFile, seconds| {
        file.as_file().set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    };
    let mut time = |now| tailer.read(now, false).unwrap().unwrap().lines[0].timestamp_millis;
    at(&mut file, 5);
    assert_eq!(time(9_000), 5_000);
    // The clock was set back since.
    file.write_all(b"two\n").unwrap();
    at(&mut file, 11);
    assert_eq!(time(10_000), 10_000);
}

#[test]
fn only_empty_lines_move_the_offset() {
    let file = file(b"\n\n\n");
    let mut tailer = Tailer::open(file.path(), 0, BatchLimits::default()).unwrap();
    assert_eq!(tailer.read(0, false).unwrap(), Some(Batch { offset: 0, next_offset: 3, lines: vec![] }));
}

#[test]
fn bad_utf8_is_replaced() {
    let file = file(b"a\xffb\n");
    let mut tailer = Tailer::open(file.path(), 0, BatchLimits::default()).unwrap();
    assert_eq!(texts(tailer.read(0, false).unwrap()), ["a\u{fffd}b"]);
}

#[test]
fn long_lines_are_split_between_characters() {
    for shift in 0..4 {
        let text = format!("{}{}", "x".repeat(shift), "\u{1F600}".repeat(MAX_LINE_BYTES / 4 + 10));
        let file = file(format!("{text}\nnext\n").as_bytes());
        let mut tailer = Tailer::open(file.path(), 0, BatchLimits::default()).unwrap();
        let lines = texts(tailer.read(0, false).unwrap());
        assert_eq!(lines.len(), 3, "shift {shift}");
        assert_eq!(lines[..2].concat(), text, "nothing lost, nothing replaced, shift {shift}");
        assert!(lines[0].len() <= MAX_LINE_BYTES && lines[0].len() > MAX_LINE_BYTES - 4);
        assert_eq!(lines[2], "next");
    }
    let file = file(&[0x80; MAX_LINE_BYTES + 5]);
    let mut tailer = Tailer::open(file.path(), 0, BatchLimits::default()).unwrap();
    let batch = tailer.read(0, false).unwrap().unwrap();
    assert_eq!(batch.next_offset, MAX_LINE_BYTES as u64, "a line too long is given before it ends");
}

#[test]
fn a_line_exactly_at_the_bound_is_whole() {
    let text = "x".repeat(MAX_LINE_BYTES);
    let file = file(format!("{text}\ny\n").as_bytes());
    let mut tailer = Tailer::open(file.path(), 0, BatchLimits::default()).unwrap();
    assert_eq!(texts(tailer.read(0, false).unwrap()), [text.as_str(), "y"]);
}

#[test]
fn batches_keep_their_bounds() {
    let file = file(b"aa\nbb\ncc\ndd\nee\n");
    let mut tailer = Tailer::open(file.path(), 0, BatchLimits { events: 2, bytes: 1 << 20 }).unwrap();
    assert_eq!(texts(tailer.read(0, false).unwrap()), ["aa", "bb"]);
    let mut tailer = Tailer::open(file.path(), 6, BatchLimits { events: 100, bytes: 2 * 28 }).unwrap();
    assert_eq!(texts(tailer.read(0, false).unwrap()), ["cc", "dd"]);
    let mut tailer = Tailer::open(file.path(), 6, BatchLimits { events: 100, bytes: 1 }).unwrap();
    assert_eq!(texts(tailer.read(0, false).unwrap()), ["cc"], "one line always fits");
}

#[test]
fn what_is_shipped_takes_no_disk() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for i in 0..20_000 {
        writeln!(file, "line {i} of a container that runs for years").unwrap();
    }
    file.as_file().sync_all().unwrap();
    let before = file.as_file().metadata().unwrap();
    let mut tailer = Tailer::open(file.path(), 0, BatchLimits::default()).unwrap();
    tailer.read(0, false).unwrap().unwrap();
    let shipped = tailer.offset();
    assert!(shipped < before.len());
    tailer.release(shipped).unwrap();
    let after = file.as_file().metadata().unwrap();
    assert_eq!(after.len(), before.len());
    assert!(
        after.blocks() * 512 <= before.blocks() * 512 - shipped + 8_192,
        "{} then {}",
        before.blocks(),
        after.blocks()
    );
    // A shim that appends goes on where it was, and the rest is intact.
    let mut shim = OpenOptions::new().append(true).open(file.path()).unwrap();
    shim.write_all(b"last\n").unwrap();
    let rest: Vec<String> = std::iter::from_fn(|| tailer.read(0, true).unwrap()).flat_map(|b| texts(Some(b))).collect();
    assert_eq!(rest.last().map(String::as_str), Some("last"));
    assert!(rest.iter().all(|line| !line.contains('\0')));
    tailer.release(u64::MAX).unwrap();
    assert!(file.as_file().metadata().unwrap().blocks() * 512 <= 8_192);
}

#[test]
fn a_cut_file_is_told() {
    let file = file(b"one\ntwo\n");
    let mut tailer = Tailer::open(file.path(), 0, BatchLimits::default()).unwrap();
    tailer.read(0, false).unwrap();
    file.as_file().set_len(3).unwrap();
    assert!(matches!(tailer.read(0, false), Err(TailError::Shrunk { len: 3, offset: 8 })));
    assert!(matches!(Tailer::open(file.path(), 9, BatchLimits::default()), Err(TailError::Shrunk { .. })));
}

proptest! {
    /// The file grows in any pieces, the tailer dies and is opened again at any offset it reached: same lines, same ends.
    #[test]
    fn cuts_do_not_depend_on_reads(
        pieces in proptest::collection::vec(proptest::collection::vec(prop_oneof![3 => b'a'..b'e', 1 => Just(b'\n'), 1 => 0x80u8..], 0..40), 1..12),
        events in 1usize..5,
        restarts in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let all: Vec<u8> = pieces.concat();
        let rules = lines::Rules { start: None, forced: None, at_end: true, limits: BatchLimits::default() };
        let lines::Cut { lines: want, used, .. } = lines::cut(&all, 0, 0, rules);
        prop_assert_eq!(used, all.len());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let limits = BatchLimits { events, bytes: 200 };
        let mut tailer = Tailer::open(file.path(), 0, limits).unwrap();
        let mut got = Vec::new();
        for (piece, restart) in pieces.iter().zip(restarts) {
            file.write_all(piece).unwrap();
            if restart {
                tailer = Tailer::open(file.path(), tailer.offset(), limits).unwrap();
            }
            got.extend(tailer.read(0, false).unwrap().map(|batch| batch.lines).unwrap_or_default());
        }
        while let Some(batch) = tailer.read(0, true).unwrap() {
            got.extend(batch.lines);
        }
        prop_assert_eq!(got, want);
        prop_assert_eq!(tailer.offset(), all.len() as u64);
    }
}

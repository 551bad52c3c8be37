//! Events of several lines: where they end, what is held, and that crashes and forced ends change nothing.

use std::io::Write;

use proptest::prelude::*;

use super::*;

fn start(pattern: &str) -> Option<Regex> {
    Some(Regex::new(pattern).unwrap())
}

fn open(path: &Path, offset: u64, limits: BatchLimits) -> Tailer {
    Tailer::open(path, offset, limits).unwrap().starting_with(start("^>"))
}

fn texts(batch: Option<Batch>) -> Vec<String> {
    batch.into_iter().flat_map(|batch| batch.lines).map(|line| line.message).collect()
}

#[test]
fn an_event_ends_where_the_next_begins() {
    let check = |text: &str, ended: bool, want: &[&str], held: Option<(u64, u64)>| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut tailer = open(file.path(), 0, BatchLimits::default());
        assert_eq!(texts(tailer.read(0, ended).unwrap()), want, "{text:?}");
        assert_eq!(tailer.held().map(|held| (held.from, held.upto)), held, "{text:?}");
    };
    check(">a\n b\n\n c\n>d\n", false, &[">a\n b\n\n c\n"], Some((10, 13)));
    check(">a\n b\n\n c\n>d\n e", true, &[">a\n b\n\n c\n", ">d\n e\n"], None);
    check("before\n>a\n>b\n>c", false, &["before\n", ">a\n"], Some((10, 13)));
    check(">a\n", false, &[], Some((0, 3)));
    check(">a", false, &[], None);
    check("", true, &[], None);
    check("\n\n>a\n", false, &[], Some((2, 5)));
    check(">a\r\n b\r\n>c\r\n", true, &[">a\r\n b\r\n", ">c\r\n"], None);
}

#[test]
fn a_held_event_keeps_its_time_and_can_be_ended() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b">a\n b\n").unwrap();
    let mut tailer = open(file.path(), 0, BatchLimits::default());
    assert_eq!(tailer.read(1_000, false).unwrap(), None);
    file.write_all(b" c\n d").unwrap();
    assert_eq!(tailer.read(2_000, false).unwrap(), None);
    let held = tailer.held().unwrap();
    assert_eq!(held, Held { from: 0, upto: 9, since_millis: 1_000 });
    tailer.end_event_at(held.upto);
    let batch = tailer.read(3_000, false).unwrap().unwrap();
    assert_eq!(batch.lines, [Line { timestamp_millis: 1_000, message: ">a\n b\n c\n".to_string(), end: 9 }]);
    // What comes behind a forced end is an event of its own, whatever it looks like.
    file.write_all(b"d\n>e\n").unwrap();
    assert_eq!(texts(tailer.read(4_000, false).unwrap()), [" dd\n"]);
}

#[test]
fn events_are_bounded() {
    let line = format!("{}\n", "x".repeat(1_000));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, ">\n{}{}\n", line.repeat(300), "y".repeat(MAX_LINE_BYTES + 10)).unwrap();
    let mut tailer = open(file.path(), 0, BatchLimits::default());
    let events = texts(tailer.read(0, true).unwrap());
    let sizes: Vec<usize> = events.iter().map(String::len).collect();
    let first = 2 + (MAX_LINE_BYTES - 2) / 1_001 * 1_001;
    assert_eq!(sizes, [first, 300 * 1_001 + 2 - first, MAX_LINE_BYTES + 1, 11]);
}

#[test]
fn a_backlog_is_cut_to_its_newest_part() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for number in 0..1_000 {
        writeln!(file, "line {number:04}").unwrap();
    }
    let mut tailer = Tailer::open(file.path(), 0, BatchLimits::default()).unwrap();
    assert_eq!(tailer.skip_to_newest(10_000).unwrap(), None);
    assert_eq!(tailer.skip_to_newest(8_000).unwrap(), Some(3_000));
    assert_eq!(texts(tailer.read(0, true).unwrap())[0], "line 0300");
    let mut tailer = Tailer::open(file.path(), 9_000, BatchLimits::default()).unwrap();
    assert_eq!(tailer.skip_to_newest(1_000).unwrap(), None, "what was read does not count");
    assert_eq!(tailer.skip_to_newest(100).unwrap(), Some(9_920), "88 bytes would begin within a line");
}

proptest! {
    /// Whatever the writes, the reads, the batches, the crashes and the ends that somebody forces: nothing is lost or doubled,
    /// and a reader that starts again at an acknowledged end, told of the forced one, cuts the same events.
    #[test]
    fn a_crash_changes_no_event(
        pieces in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![3 => b'a'..b'c', 2 => Just(b'\n'), 2 => Just(b'>')], 0..30), 1..15),
        events in 1usize..4,
        choices in proptest::collection::vec(any::<(bool, bool, bool)>(), 60),
    ) {
        let all: Vec<u8> = pieces.concat();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let limits = BatchLimits { events, bytes: 200 };
        let mut tailer = open(file.path(), 0, limits);
        // What a store that knows lines by their ends has, and the agent's durable part.
        let (mut kept, mut known, mut acked, mut forced) = (Vec::<Line>::new(), 0, 0, None);
        let mut pieces = pieces.into_iter();
        for (write, crash, force) in choices {
            if let Some(piece) = write.then(|| pieces.next()).flatten() {
                file.write_all(&piece).unwrap();
            }
            if let (true, Some(held)) = (force, tailer.held()) {
                forced = Some(held.upto);
                tailer.end_event_at(held.upto);
            }
            if let Some(batch) = tailer.read(0, false).unwrap() {
                for line in batch.lines {
                    if line.end > known {
                        known = line.end;
                        kept.push(line);
                    }
                }
                // The store has it; whether the agent heard of that is another matter.
                if crash {
                    tailer = open(file.path(), acked, limits);
                    if let Some(forced) = forced {
                        tailer.end_event_at(forced);
                    }
                } else {
                    acked = batch.next_offset;
                }
            }
        }
        pieces.for_each(|piece| file.write_all(&piece).unwrap());
        while let Some(batch) = tailer.read(0, true).unwrap() {
            kept.extend(batch.lines.into_iter().filter(|line| line.end > known));
        }
        let text: String = kept.iter().map(|line| line.message.as_str()).collect();
        // Events of newlines alone are left out, and the last line is given the newline it lacks.
        let squeezed = |bytes: &[u8]| -> Vec<String> {
            String::from_utf8_lossy(bytes).split('\n').filter(|line| !line.is_empty()).map(str::to_string).collect()
        };
        prop_assert_eq!(squeezed(text.as_bytes()), squeezed(&all));
    }
}

//! A crash anywhere: the journal cut at every byte, a checkpoint stopped between any two of its steps.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use telemetry::Line;
use telemetry::logs::{Producer, Shipment, StreamOrder};

use super::*;

/// What the store should hold: events by stream, in order of arrival.
type Model = BTreeMap<String, Vec<String>>;

#[derive(Debug, Clone)]
enum Step {
    Create(u8),
    Delete(u8),
    Put(u8, u8),
    Ship(u8, u8),
    Checkpoint,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0u8..4).prop_map(Step::Create),
        1 => (0u8..4).prop_map(Step::Delete),
        6 => (0u8..4, 1u8..6).prop_map(|(stream, count)| Step::Put(stream, count)),
        3 => (0u8..4, 1u8..6).prop_map(|(stream, count)| Step::Ship(stream, count)),
        1 => Just(Step::Checkpoint),
    ];
    proptest::collection::vec(step, 1..25)
}

/// Does one step to store and model alike. `number` makes texts and times unique and rising.
fn take(store: &Store, model: &mut Model, shipped: &mut BTreeMap<String, u64>, step: &Step, number: usize) {
    let at = NOW + number as i64;
    let texts = |count: u8| (0..count).map(|i| format!("event {number}.{i} {}", "x".repeat(40))).collect::<Vec<_>>();
    match step {
        Step::Create(stream) => {
            let name = stream.to_string();
            if run(store.create_stream(&scope(), "g", &name, NOW)).is_ok() {
                assert!(model.insert(name, Vec::new()).is_none());
            }
        }
        Step::Delete(stream) => {
            let deleted = run(store.delete_stream(&scope(), "g", &stream.to_string())).is_ok();
            assert_eq!(model.remove(&stream.to_string()).is_some(), deleted);
            shipped.remove(&stream.to_string());
        }
        Step::Put(stream, count) => {
            let events = texts(*count).iter().map(|text| event(at, text)).collect();
            let put = run(store.put_events(&scope(), "g", &stream.to_string(), events, NOW)).is_ok();
            let known = model.get_mut(&stream.to_string());
            assert_eq!(known.is_some(), put);
            known.into_iter().for_each(|all| all.extend(texts(*count)));
        }
        Step::Ship(stream, count) => {
            let known = shipped.entry(stream.to_string()).or_default();
            let lines: Vec<Line> = (1..)
                .zip(texts(*count))
                .map(|(i, message)| Line { timestamp_millis: at, message, end: *known + i })
                .collect();
            let next_offset = *known + u64::from(*count);
            let producer = Producer { id: "p".to_string(), offset: *known, next_offset };
            let shipment = Shipment { producer, lines, create_group: false };
            let outcome = run(store.put_from(&scope(), "g", &stream.to_string(), shipment, NOW)).unwrap();
            assert_eq!((outcome.accepted_up_to, outcome.duplicates), (next_offset, 0));
            *known = next_offset;
            model.entry(stream.to_string()).or_default().extend(texts(*count));
        }
        Step::Checkpoint => run(store.checkpoint()).unwrap(),
    }
    // The writer checkpoints after it has answered; this waits for that.
    run(store.maintain(NOW)).unwrap();
}

fn holds(store: &Store) -> Model {
    let order = StreamOrder::Name { prefix: String::new() };
    let streams = store.describe_streams(&scope(), "g", &order, false, None, None).map(|page| page.items);
    let read = |stream: &str| read_all(store, stream, 1_000).into_iter().map(|event| event.message).collect();
    streams.unwrap_or_default().into_iter().map(|stream| (stream.name.clone(), read(&stream.name))).collect()
}

fn journal(dir: &Path) -> PathBuf {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.to_string_lossy().contains("journal-")).max().unwrap()
}

fn copy(from: &Path, to: &Path, wanted: &dyn Fn(&Path) -> bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to, wanted);
        } else if wanted(&path) {
            fs::copy(&path, to).unwrap();
        }
    }
}

fn everything(_: &Path) -> bool {
    true
}

/// Opens a copy, checks what it holds, and that it can be written, checkpointed and reopened from there.
fn check(dir: &Path, wanted: &[&Model], what: &str) {
    let store = open(dir, &tiny());
    let held = holds(&store);
    assert!(wanted.contains(&&held), "{what}: {held:?} is none of {wanted:?}");
    assert_eq!(store.stats().damaged_blocks, 0, "{what}");
    if store.group(&scope(), "g").is_err() {
        return;
    }
    let mut after = held;
    run(store.create_stream(&scope(), "g", "after", NOW)).unwrap();
    put(&store, "after", &[(NOW, "still writable")]);
    after.insert("after".to_string(), vec!["still writable".to_string()]);
    run(store.checkpoint()).unwrap();
    assert_eq!(holds(&store), after, "{what}, checkpointed");
    drop(store);
    assert_eq!(holds(&open(dir, &tiny())), after, "{what}, reopened");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]
    #[test]
    fn what_was_answered_is_there_after_a_crash(steps in steps(), cut in 0.0f64..1.0) {
        let root = tempdir();
        let live = root.path().join("live");
        let store = with_stream(&live, &tiny());
        let mut model = Model::from([("s".to_string(), Vec::new())]);
        let mut shipped = BTreeMap::new();
        for (number, step) in steps.iter().enumerate() {
            let before = model.clone();
            let (old_journal, old_bytes) = (journal(&live), fs::read(journal(&live)).unwrap());
            let unlike = root.path().join(format!("{number}-before"));
            copy(&live, &unlike, &everything);
            take(&store, &mut model, &mut shipped, step, number);
            if journal(&live) == old_journal {
                // Torn anywhere in what this step appended: it is there whole or not at all.
                // Files are removed only after the deletion is durable, so all others are as they were before.
                let crashed = unlike;
                let new_bytes = fs::read(&old_journal).unwrap();
                let (from, to) = (old_bytes.len(), new_bytes.len());
                let at = from + ((to - from) as f64 * cut) as usize;
                fs::write(journal(&crashed), &new_bytes[..at]).unwrap();
                // A shipment that makes its stream may be torn between the two; the stream is there then, and empty.
                let mut between = before.clone();
                if let Step::Ship(stream, _) = step {
                    between.entry(stream.to_string()).or_default();
                }
                let wanted = [&model, &before, &between];
                check(&crashed, if at == to { &wanted[..1] } else { &wanted }, "torn");
            } else if matches!(step, Step::Checkpoint) {
                // Stopped before the new journal took its place: everything else is already new.
                let late = root.path().join(format!("{number}-late"));
                copy(&live, &late, &|path: &Path| !path.to_string_lossy().contains("journal-"));
                fs::write(late.join(old_journal.file_name().unwrap()), &old_bytes).unwrap();
                check(&late, &[&model], "checkpoint stopped late");
                // Stopped before the catalogue: only segments are new.
                let early = unlike;
                copy(&live, &early, &|path: &Path| path.extension().is_some_and(|ext| ext == "seg"));
                check(&early, &[&model], "checkpoint stopped early");
                // Both journals there, because the old one was not removed yet.
                let both = root.path().join(format!("{number}-both"));
                copy(&live, &both, &everything);
                fs::write(both.join(old_journal.file_name().unwrap()), &old_bytes).unwrap();
                fs::write(both.join("journal-next"), b"half").unwrap();
                check(&both, &[&model], "both journals");
            }
        }
        drop(store);
        check(&live, &[&model], "closed");
    }
}

/// The journal of a few puts, cut at every single byte.
#[test]
fn every_cut_of_the_journal_leaves_a_prefix() {
    let root = tempdir();
    let live = root.path().join("live");
    let store = with_stream(&live, &Limits { free_disk_floor: 0, ..Limits::default() });
    let mut answered = vec![(store.stats().journal_bytes, Vec::new())];
    let mut all = Vec::new();
    for number in 0..6 {
        let text = format!("event {number}");
        put(&store, "s", &[(NOW + number, &text)]);
        all.push(text);
        answered.push((store.stats().journal_bytes, all.clone()));
    }
    drop(store);
    let bytes = fs::read(journal(&live)).unwrap();
    assert_eq!(bytes.len() as u64, answered.last().unwrap().0);
    let crashed = root.path().join("crashed");
    for cut in 0..=bytes.len() {
        copy(&live, &crashed, &everything);
        fs::write(journal(&crashed), &bytes[..cut]).unwrap();
        let store = open(&crashed, &Limits { free_disk_floor: 0, ..Limits::default() });
        let safe = answered.iter().rev().find(|(len, _)| *len <= cut as u64);
        match safe {
            Some((_, want)) => assert_eq!(messages(&read_all(&store, "s", 100)), *want, "cut at {cut}"),
            None => assert!(store.stats().streams <= 1, "cut at {cut}"),
        }
        drop(store);
        fs::remove_dir_all(&crashed).unwrap();
    }
}

/// One block goes bad: it is told, and the rest of the stream is still read.
#[test]
fn a_damaged_block_hides_only_itself() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &tiny());
    for number in 0..4 {
        put(&store, "s", &[(NOW + number, &format!("event {number} {}", "y".repeat(200)))]);
        run(store.checkpoint()).unwrap();
    }
    let segment = fs::read_dir(dir.path().join("groups/1")).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).min().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[60] ^= 0xff;
    fs::write(&segment, bytes).unwrap();
    assert_eq!(read_all(&store, "s", 10).len(), 3);
    assert!(store.stats().damaged_blocks > 0);
}

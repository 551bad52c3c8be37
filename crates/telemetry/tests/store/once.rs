//! Exactly once: a node that ships at least once, dies, and forgets what it shipped.

use std::io::Write;

use proptest::prelude::*;
use telemetry::Line;
use telemetry::logs::{Producer, ShipOutcome, Shipment};
use telemetry::tail::{BatchLimits, Tailer};

use super::*;

fn shipment(offset: u64, ends: &[u64]) -> Shipment {
    let line = |end: &u64| Line { timestamp_millis: NOW, message: format!("to {end}"), end: *end };
    let next_offset = ends.last().copied().unwrap_or(offset);
    let producer = Producer { id: "container".to_string(), offset, next_offset };
    Shipment { producer, lines: ends.iter().map(line).collect(), create_group: false }
}

#[test]
fn batches_cut_differently_are_still_known() {
    let dir = tempdir();
    let mut store = open(dir.path(), &tiny());
    let ship = |store: &Store, shipment: Shipment| run(store.put_from(&scope(), "g", "s", shipment, NOW));
    let first = shipment(0, &[10, 20]);
    assert_eq!(ship(&store, first.clone()).unwrap_err().code(), "ResourceNotFoundException");
    let first = Shipment { create_group: true, ..first };
    let outcome = |accepted_up_to, duplicates| Ok(ShipOutcome { accepted_up_to, duplicates });
    assert_eq!(ship(&store, first.clone()), outcome(20, 0));
    assert_eq!(ship(&store, first), outcome(20, 2));
    for reopen in [false, true] {
        if reopen {
            run(store.checkpoint()).unwrap();
            drop(store);
            store = open(dir.path(), &tiny());
        }
        assert_eq!(ship(&store, shipment(10, &[20])), outcome(20, 1));
    }
    assert_eq!(ship(&store, shipment(0, &[10, 20, 30])), outcome(30, 2));
    assert_eq!(
        ship(
            &store,
            Shipment {
                producer: Producer { id: "container".into(), offset: 30, next_offset: 33 },
                ..shipment(30, &[])
            }
        ),
        outcome(33, 0)
    );
    assert_eq!(ship(&store, shipment(20, &[30, 40])), outcome(40, 1));
    assert_eq!(messages(&read_all(&store, "s", 10)), ["to 10", "to 20", "to 30", "to 40"]);
    // Another container in the same stream has offsets of its own.
    let mut other = shipment(0, &[10]);
    other.producer.id = "another".to_string();
    assert_eq!(ship(&store, other), outcome(10, 0));
    assert_eq!(ship(&store, shipment(40, &[40])).unwrap_err().code(), "InvalidParameterException");
}

#[test]
fn a_quiet_stream_carried_from_journal_to_journal_still_knows_its_producer() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &tiny());
    run(store.put_from(&scope(), "g", "quiet", shipment(0, &[10, 20]), NOW)).unwrap();
    let mut loud = 0;
    while store.stats().checkpoints < 3 {
        put(&store, "s", &[(NOW + loud, &"x".repeat(400))]);
        run(store.maintain(NOW)).unwrap();
        loud += 1;
    }
    let files = std::fs::read_dir(dir.path().join("groups/1")).unwrap();
    let of_quiet = files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("3-"));
    assert_eq!(of_quiet.count(), 0, "it was carried, not flushed");
    drop(store);
    let store = open(dir.path(), &tiny());
    let outcome = run(store.put_from(&scope(), "g", "quiet", shipment(0, &[10, 20, 30]), NOW)).unwrap();
    assert_eq!(outcome, ShipOutcome { accepted_up_to: 30, duplicates: 2 });
    assert_eq!(messages(&read_all(&store, "quiet", 10)), ["to 10", "to 20", "to 30"]);
    // An hour later it is put to rest like the others.
    run(store.maintain(NOW + 3_600_000)).unwrap();
    assert!(store.stats().journal_bytes < 100, "{}", store.stats().journal_bytes);
    assert_eq!(read_all(&store, "s", 100).len(), usize::try_from(loud).unwrap());
    assert_eq!(messages(&read_all(&store, "quiet", 10)).len(), 3);
}

#[test]
fn the_same_shipment_twice_at_once_is_kept_once() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &tiny());
    let outcomes = run(async {
        let ship = || store.put_from(&SCOPE, "g", "fresh", shipment(0, &[5, 9]), NOW);
        tokio::join!(ship(), ship(), ship())
    });
    let duplicates = [outcomes.0, outcomes.1, outcomes.2].map(|outcome| outcome.unwrap().duplicates);
    assert_eq!(duplicates.iter().sum::<usize>(), 4);
    assert_eq!(messages(&read_all(&store, "fresh", 10)), ["to 5", "to 9"]);
}

static SCOPE: std::sync::LazyLock<Scope> = std::sync::LazyLock::new(scope);

#[derive(Debug, Clone)]
enum Step {
    /// The container prints.
    Print(Vec<u8>),
    /// The node reads a batch and ships it, and hears the answer.
    Ship,
    /// It ships, but dies before it hears: it will start again from what it last heard.
    ShipAndDie,
    /// The server dies and comes back.
    ServerDies,
    Checkpoint,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = proptest::collection::vec(prop_oneof![4 => b'a'..=b'z', 1 => Just(b'\n')], 0..60);
    let step = prop_oneof![
        4 => text.prop_map(Step::Print),
        3 => Just(Step::Ship),
        2 => Just(Step::ShipAndDie),
        1 => Just(Step::ServerDies),
        1 => Just(Step::Checkpoint),
    ];
    proptest::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn nothing_is_lost_or_doubled(steps in steps(), events in 1usize..4) {
        let dir = tempdir();
        let mut log = tempfile::NamedTempFile::new().unwrap();
        let mut store = with_stream(dir.path(), &tiny());
        let limits = BatchLimits { events, ..BatchLimits::default() };
        let (mut printed, mut heard) = (Vec::new(), 0);
        let ship = |store: &Store, tailer: &mut Tailer, ended| {
            let batch = tailer.read(NOW, ended).unwrap()?;
            let producer = Producer { id: "c".to_string(), offset: batch.offset, next_offset: batch.next_offset };
            let shipment = Shipment { producer, lines: batch.lines, create_group: false };
            Some(run(store.put_from(&scope(), "g", "s", shipment, NOW)).unwrap().accepted_up_to)
        };
        for step in steps {
            // Opened anew each time: the node keeps only what it heard. A restart may cut batches elsewhere.
            let mut tailer = Tailer::open(log.path(), heard, limits).unwrap();
            match step {
                Step::Print(text) => {
                    log.write_all(&text).unwrap();
                    printed.extend(text);
                }
                Step::Ship => heard = ship(&store, &mut tailer, false).unwrap_or(heard),
                Step::ShipAndDie => {
                    let _ = ship(&store, &mut tailer, false);
                    let _ = ship(&store, &mut tailer, false);
                }
                Step::ServerDies => {
                    drop(store);
                    store = open(dir.path(), &tiny());
                }
                Step::Checkpoint => run(store.checkpoint()).unwrap(),
            }
        }
        let mut tailer = Tailer::open(log.path(), heard, limits).unwrap();
        while ship(&store, &mut tailer, true).is_some() {}
        let printed = String::from_utf8(printed).unwrap();
        let want: Vec<&str> = printed.split('\n').filter(|line| !line.is_empty()).collect();
        let kept = read_all(&store, "s", 100);
        prop_assert_eq!(messages(&kept), want);
    }
}

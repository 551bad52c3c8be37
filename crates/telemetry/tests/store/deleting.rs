//! Groups and streams go while others write into them: every write is either kept or refused, and nothing is left of what went.

use telemetry::Line;
use telemetry::logs::{Error, FilterEvents, Pattern, Producer, Shipment, StreamChoice};

use super::*;

fn shipment(number: u64) -> Shipment {
    let line = Line { timestamp_millis: NOW, message: format!("line {number}"), end: number + 1 };
    let producer = Producer { id: "c".to_string(), offset: number, next_offset: number + 1 };
    Shipment { producer, lines: vec![line], create_group: true }
}

#[test]
fn deleting_what_is_being_written_keeps_or_refuses() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &tiny());
    let scope = scope();
    run(async {
        let ship = async {
            for number in 0..400 {
                let kept = store.put_from(&scope, "shipped", "s", shipment(number), NOW).await.unwrap();
                assert_eq!(kept.accepted_up_to, number + 1);
            }
        };
        let put = async {
            for number in 0..400 {
                match store.put_events(&scope, "g", "s", vec![event(NOW, &format!("put {number}"))], NOW).await {
                    Ok(_) | Err(Error::GroupNotFound | Error::StreamNotFound) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        };
        let delete = async {
            for round in 0..40 {
                let _ = store.delete_group(&scope, "shipped").await;
                let gone = if round % 2 == 0 {
                    store.delete_stream(&scope, "g", "s").await
                } else {
                    store.delete_group(&scope, "g").await
                };
                gone.unwrap();
                if round % 2 == 1 {
                    store.create_group(&scope, "g", BTreeMap::new(), NOW).await.unwrap();
                }
                store.create_stream(&scope, "g", "s", NOW).await.unwrap();
            }
        };
        tokio::join!(ship, put, delete);
    });
    let all = |store: &Store, group: &str| {
        let ask = FilterEvents {
            streams: StreamChoice::All,
            start_millis: None,
            end_millis: None,
            pattern: std::sync::Arc::new(Pattern::default()),
            limit: None,
            token: None,
        };
        let page = store.filter_events(&scope, group, &ask).unwrap();
        page.events.into_iter().map(|found| found.event.message).collect::<Vec<_>>()
    };
    let shipped = all(&store, "shipped");
    let numbers: Vec<u64> = shipped.iter().map(|line| line[5..].parse().unwrap()).collect();
    assert_eq!(numbers.last(), Some(&399), "what came after the last deletion is there");
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "without a gap: {numbers:?}");
    let before = [all(&store, "shipped"), all(&store, "g")];
    run(store.checkpoint()).unwrap();
    drop(store);
    let store = open(dir.path(), &tiny());
    assert_eq!([all(&store, "shipped"), all(&store, "g")], before, "the same after a restart");
    let groups = std::fs::read_dir(dir.path().join("groups")).unwrap().count();
    assert_eq!(groups, store.stats().groups, "no folder of a group that went");
}

//! Groups, streams, tags, retention and the refusals, in AWS's words.

use std::collections::BTreeMap;

use telemetry::logs::{Error, Event, FilterEvents, GroupNames, Limits, OpenError, Rejected, Scope, Store, StreamOrder};

use super::*;

const DAY: i64 = 86_400_000;

#[test]
fn what_is_not_there_and_what_is_there_already() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &Limits::default());
    let check = |got: Result<(), Error>, code: &str, text: &str| {
        let error = got.expect_err(text);
        assert_eq!((error.code(), error.to_string().as_str()), (code, text));
    };
    let none = "The specified log group does not exist.";
    let no_stream = "The specified log stream does not exist.";
    let missing = "ResourceNotFoundException";
    let exists = "ResourceAlreadyExistsException";
    let s = scope();
    check(run(store.create_group(&s, "g", BTreeMap::new(), 0)), exists, "The specified log group already exists");
    check(run(store.create_stream(&s, "g", "s", 0)), exists, "The specified log stream already exists");
    check(run(store.create_stream(&s, "x", "s", 0)), missing, none);
    check(run(store.delete_group(&s, "x")), missing, none);
    check(run(store.delete_stream(&s, "g", "x")), missing, no_stream);
    check(run(store.set_retention(&s, "x", Some(1))), missing, none);
    check(run(store.put_events(&s, "g", "x", vec![event(NOW, "m")], NOW)).map(drop), missing, no_stream);
    check(store.get_events(&s, "g", "x", &GetEvents::default()).map(drop), missing, no_stream);
    check(store.filter_events(&s, "x", &FilterEvents::default()).map(drop), missing, none);
    let elsewhere = Scope { region: "eu-west-1".to_string(), ..scope() };
    check(store.get_events(&elsewhere, "g", "s", &GetEvents::default()).map(drop), missing, none);
    assert_eq!(run(store.set_retention(&s, "g", Some(2))).unwrap_err().code(), "InvalidParameterException");
    assert_eq!(run(store.create_group(&s, "a b", BTreeMap::new(), 0)).unwrap_err().code(), "InvalidParameterException");
}

#[test]
fn puts_that_are_refused_or_partly_kept() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &Limits::default());
    let try_put = |events: Vec<Event>| run(store.put_events(&scope(), "g", "s", events, NOW));
    for (events, part) in [
        (vec![], "length greater than or equal to 1"),
        (vec![event(NOW, "")], "length greater than or equal to 1"),
        (vec![event(NOW, "b"), event(NOW - 1, "a")], "must be in chronological order"),
        (vec![event(NOW - DAY - 1, "a"), event(NOW, "b")], "cannot span more than 24 hours"),
        (vec![event(NOW, &"x".repeat(1 << 20))], "Log event too large: 1048602 bytes exceeds limit of 1048576"),
        (vec![event(NOW, &"x".repeat(600_000)); 2], "Upload too large: 1200052 bytes exceeds limit of 1048576"),
        (vec![event(NOW, "x"); 10_001], "length less than or equal to 10000"),
    ] {
        let error = try_put(events).expect_err(part);
        assert_eq!(error.code(), "InvalidParameterException");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(read_all(&store, "s", 10), []);
    let outcome = try_put(vec![event(NOW, "kept"), event(NOW + 3 * 3_600_000, "too new")]).unwrap();
    let rejected = Rejected { too_new_start: Some(1), ..Rejected::default() };
    assert_eq!((outcome.rejected, outcome.next_sequence_token.len()), (Some(rejected), 56));
    assert_eq!(messages(&read_all(&store, "s", 10)), ["kept"]);
}

#[test]
fn everything_about_groups_survives_reopening() {
    let dir = tempdir();
    let tags = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    for checkpoint in [false, true] {
        let dir = dir.path().join(checkpoint.to_string());
        let store = with_stream(&dir, &Limits::default());
        let s = scope();
        run(store.create_group(&s, "gone", tags(&[]), NOW)).unwrap();
        run(store.tag_group(&s, "g", tags(&[("a", "1"), ("b", "2")]))).unwrap();
        run(store.untag_group(&s, "g", vec!["a".to_string(), "never".to_string()])).unwrap();
        run(store.set_retention(&s, "g", Some(30))).unwrap();
        run(store.create_stream(&s, "g", "deleted/[$x]", NOW)).unwrap();
        put(&store, "s", &[(NOW, "hello")]);
        put(&store, "deleted/[$x]", &[(NOW, "bye")]);
        if checkpoint {
            run(store.checkpoint()).unwrap();
        }
        run(store.delete_stream(&s, "g", "deleted/[$x]")).unwrap();
        run(store.delete_group(&s, "gone")).unwrap();
        for _ in 0..2 {
            let all = store.describe_groups(&s, &GroupNames::All, None, None).unwrap().items;
            assert_eq!(all.len(), 1);
            assert_eq!((all[0].retention_days, all[0].created_millis, all[0].stored_bytes), (Some(30), NOW, 31));
            assert_eq!(all[0].tags, tags(&[("b", "2")]));
            let order = StreamOrder::Name { prefix: String::new() };
            let streams = store.describe_streams(&s, "g", &order, false, None, None).unwrap().items;
            let seen: Vec<_> = streams.iter().map(|x| (x.name.as_str(), x.last_event_millis, x.stored_bytes)).collect();
            assert_eq!(seen, [("s", Some(NOW), 31)]);
        }
        drop(store);
        let store = open(&dir, &Limits::default());
        assert_eq!(store.group(&s, "g").unwrap().tags, tags(&[("b", "2")]));
        assert_eq!(store.group(&s, "g").unwrap().stored_bytes, 31);
        assert_eq!(store.group(&s, "gone").unwrap_err(), Error::GroupNotFound);
        assert_eq!(messages(&read_all(&store, "s", 10)), ["hello"]);
        // A new stream of the old name starts empty, whatever files the old one had.
        run(store.create_stream(&s, "g", "deleted/[$x]", NOW)).unwrap();
        run(store.checkpoint()).unwrap();
        assert_eq!(read_all(&store, "deleted/[$x]", 10), []);
        run(store.set_retention(&s, "g", None)).unwrap();
        assert_eq!(store.group(&s, "g").unwrap().retention_days, None);
    }
}

fn segments(dir: &Path) -> usize {
    let groups = std::fs::read_dir(dir.join("groups")).unwrap();
    let files = groups.flat_map(|group| std::fs::read_dir(group.unwrap().path()).unwrap());
    files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|ext| ext == "seg")).count()
}

#[test]
fn retention_hides_at_once_and_unlinks_segments() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &Limits { segment_span_millis: 1, ..tiny() });
    put(&store, "s", &[(NOW - 5 * DAY, "old")]);
    put(&store, "s", &[(NOW - 3 * DAY, "middling")]);
    put(&store, "s", &[(NOW, "new")]);
    run(store.checkpoint()).unwrap();
    assert_eq!(segments(dir.path()), 3);
    put(&store, "s", &[(NOW - 2 * DAY, "waiting in the journal")]);
    run(store.set_retention(&scope(), "g", Some(1))).unwrap();
    run(store.maintain(NOW + 1)).unwrap();
    assert_eq!(messages(&read_all(&store, "s", 10)), ["new"]);
    assert_eq!(segments(dir.path()), 1);
    assert_eq!(store.group(&scope(), "g").unwrap().stored_bytes, 29);
    let outcome = run(store.put_events(&scope(), "g", "s", vec![event(NOW - 2 * DAY, "m")], NOW)).unwrap();
    assert_eq!(outcome.rejected, Some(Rejected { expired_end: Some(1), ..Rejected::default() }));
    drop(store);
    let store = open(dir.path(), &tiny());
    run(store.maintain(NOW + 2 * DAY)).unwrap();
    assert_eq!((read_all(&store, "s", 10), segments(dir.path())), (vec![], 0));
    put(&store, "s", &[(NOW, "after")]);
    run(store.maintain(NOW)).unwrap();
    assert_eq!(messages(&read_all(&store, "s", 10)), ["after"]);
}

#[test]
fn deleting_leaves_no_files() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &tiny());
    run(store.create_stream(&scope(), "g", "t", NOW)).unwrap();
    put(&store, "s", &[(NOW, "a")]);
    put(&store, "t", &[(NOW, "b")]);
    run(store.checkpoint()).unwrap();
    assert_eq!(segments(dir.path()), 2);
    run(store.delete_stream(&scope(), "g", "t")).unwrap();
    assert_eq!(segments(dir.path()), 1);
    run(store.delete_group(&scope(), "g")).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("groups")).unwrap().count(), 0);
    assert_eq!((store.stats().groups, store.stats().streams), (0, 0));
}

#[test]
fn one_process_at_a_time_and_no_puts_on_a_full_disk() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &Limits::default());
    put(&store, "s", &[(NOW, "a")]);
    assert!(matches!(Store::open(dir.path(), Limits::default()), Err(OpenError::InUse(_))));
    drop(store);
    let store = open(dir.path(), &Limits { free_disk_floor: u64::MAX, ..Limits::default() });
    let error = run(store.put_events(&scope(), "g", "s", vec![event(NOW, "b")], NOW)).unwrap_err();
    assert_eq!((error.code(), error.to_string().contains("nearly full")), ("ServiceUnavailableException", true));
    assert_eq!(messages(&read_all(&store, "s", 10)), ["a"]);
    run(store.delete_stream(&scope(), "g", "s")).expect("deleting makes room and is never refused");
}

#[test]
fn damage_to_what_is_written_whole_is_told_not_hidden() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &Limits::default());
    run(store.checkpoint()).unwrap();
    drop(store);
    std::fs::write(dir.path().join("groups/1/group.json"), "{").unwrap();
    let error = Store::open(dir.path(), Limits::default()).err().unwrap().to_string();
    assert!(error.contains("group.json is damaged") && error.contains("move it away"), "{error}");
}

//! Reading: tokens in both directions, time windows, merging over streams, filters, listings.

use std::sync::Arc;

use proptest::prelude::*;
use telemetry::logs::{EventsPage, FilterEvents, GroupNames, Pattern, StreamChoice, StreamOrder};

use super::*;

fn get(store: &Store, ask: &GetEvents) -> EventsPage {
    store.get_events(&scope(), "g", "s", ask).unwrap()
}

fn with_token(token: &str) -> GetEvents {
    GetEvents { token: Some(token.to_string()), limit: Some(2), ..GetEvents::default() }
}

fn five(dir: &Path, checkpoint: bool) -> Store {
    let store = with_stream(dir, &tiny());
    for (at, text) in [(10, "a"), (20, "b"), (20, "c"), (30, "d"), (40, "e")] {
        put(&store, "s", &[(NOW + at, text)]);
    }
    if checkpoint {
        run(store.checkpoint()).unwrap();
    }
    store
}

#[test]
fn tokens_lead_both_ways_and_stay_at_the_ends() {
    for checkpoint in [false, true] {
        let dir = tempdir();
        let store = five(dir.path(), checkpoint);
        let newest = get(&store, &GetEvents { limit: Some(2), ..GetEvents::default() });
        assert_eq!(messages(&newest.events), ["d", "e"]);
        let older = get(&store, &with_token(&newest.next_backward_token));
        assert_eq!(messages(&older.events), ["b", "c"]);
        let oldest = get(&store, &with_token(&older.next_backward_token));
        assert_eq!(messages(&oldest.events), ["a"]);
        let end = get(&store, &with_token(&oldest.next_backward_token));
        assert_eq!((end.events.len(), &end.next_backward_token), (0, &oldest.next_backward_token));
        assert_eq!(messages(&get(&store, &with_token(&end.next_forward_token)).events), ["a", "b"]);
        assert_eq!(messages(&get(&store, &with_token(&older.next_forward_token)).events), ["d", "e"]);
        let tip = get(&store, &with_token(&newest.next_forward_token));
        assert_eq!((tip.events.len(), &tip.next_forward_token), (0, &newest.next_forward_token));
        assert_eq!(messages(&get(&store, &with_token(&tip.next_backward_token)).events), ["d", "e"]);
        // What comes later is found from the token that stood still, even in the same millisecond.
        put(&store, "s", &[(NOW + 40, "f")]);
        assert_eq!(messages(&get(&store, &with_token(&tip.next_forward_token)).events), ["f"]);
    }
}

#[test]
fn a_token_from_an_empty_stream_finds_the_first_event() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &tiny());
    let empty = get(&store, &GetEvents::default());
    assert_eq!(empty.events, []);
    let again = get(&store, &with_token(&empty.next_forward_token));
    assert_eq!(again.next_forward_token, empty.next_forward_token);
    put(&store, "s", &[(NOW, "first")]);
    assert_eq!(messages(&get(&store, &with_token(&empty.next_forward_token)).events), ["first"]);
}

#[test]
fn time_windows_have_their_ends_where_aws_has_them() {
    let dir = tempdir();
    let store = five(dir.path(), true);
    let window = |start: i64, end: i64| {
        let ask = GetEvents { start_millis: Some(NOW + start), end_millis: Some(NOW + end), ..GetEvents::default() };
        messages(&get(&store, &ask).events).concat()
    };
    assert_eq!(window(20, 40), "bcd", "the end is excluded");
    assert_eq!(window(20, 41), "bcde");
    assert_eq!(window(11, 20), "");
    let ask = FilterEvents { start_millis: Some(NOW + 20), end_millis: Some(NOW + 40), ..FilterEvents::default() };
    let page = store.filter_events(&scope(), "g", &ask).unwrap();
    assert_eq!(page.events.len(), 4, "the end is included");
    for bad in ["x", "f/1", "g/00000000000000000000000000000000000000000000000000000000", ""] {
        let error = store.get_events(&scope(), "g", "s", &with_token(bad)).unwrap_err();
        assert_eq!(error.to_string(), "The specified nextToken is invalid.");
    }
    for limit in [0, 10_001] {
        let ask = GetEvents { limit: Some(limit), ..GetEvents::default() };
        assert!(store.get_events(&scope(), "g", "s", &ask).is_err());
    }
}

#[test]
fn a_page_is_at_most_a_mebibyte() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &Limits::default());
    let text = "x".repeat(400_000);
    for at in 0..4 {
        put(&store, "s", &[(NOW + at, &text)]);
    }
    let ask = GetEvents { start_from_head: true, ..GetEvents::default() };
    assert_eq!(get(&store, &ask).events.len(), 2);
    let page = store.filter_events(&scope(), "g", &FilterEvents::default()).unwrap();
    assert_eq!((page.events.len(), page.next_token.is_some()), (2, true));
    let ask = FilterEvents { token: page.next_token, ..FilterEvents::default() };
    let page = store.filter_events(&scope(), "g", &ask).unwrap();
    assert_eq!((page.events.len(), page.next_token), (2, None));
    assert_eq!(read_all(&store, "s", 10).len(), 4);
}

fn filter_all(store: &Store, mut ask: FilterEvents) -> (Vec<String>, usize) {
    let (mut seen, mut ids, mut pages) = (Vec::new(), Vec::new(), 0);
    loop {
        let page = store.filter_events(&scope(), "g", &ask).unwrap();
        pages += 1;
        for found in page.events {
            seen.push(format!("{}:{}", found.stream, found.event.message));
            ids.push(found.event_id);
        }
        ask.token = page.next_token;
        if ask.token.is_none() {
            break;
        }
    }
    let sorted = ids.clone();
    ids.sort();
    ids.dedup();
    assert_eq!(ids, sorted, "ids are unique and sort as the events do");
    (seen, pages)
}

#[test]
fn filters_merge_streams_in_time_order() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &tiny());
    for stream in ["web/1", "web/2"] {
        run(store.create_stream(&scope(), "g", stream, NOW)).unwrap();
    }
    put(&store, "web/1", &[(NOW + 1, "ERROR one"), (NOW + 5, "info"), (NOW + 9, "ERROR nine")]);
    run(store.checkpoint()).unwrap();
    put(&store, "web/2", &[(NOW + 2, "info"), (NOW + 5, "ERROR five")]);
    put(&store, "s", &[(NOW + 4, "ERROR four")]);
    put(&store, "web/1", &[(NOW + 3, "ERROR late three")]);
    let pattern = Arc::new(Pattern::parse("ERROR").unwrap());
    let all = ["web/1:ERROR one", "web/1:ERROR late three", "s:ERROR four", "web/2:ERROR five", "web/1:ERROR nine"];
    for limit in [1, 2, 5, 100] {
        let ask = FilterEvents { pattern: Arc::clone(&pattern), limit: Some(limit), ..FilterEvents::default() };
        assert_eq!(filter_all(&store, ask).0, all, "limit {limit}");
    }
    let choose = |streams| FilterEvents { pattern: Arc::clone(&pattern), streams, ..FilterEvents::default() };
    assert_eq!(filter_all(&store, choose(StreamChoice::Prefix("web/".to_string()))).0.len(), 4);
    assert_eq!(filter_all(&store, choose(StreamChoice::Named(vec!["s".to_string()]))).0, ["s:ERROR four"]);
    let missing = choose(StreamChoice::Named(vec!["x".to_string()]));
    assert_eq!(store.filter_events(&scope(), "g", &missing).unwrap_err().code(), "ResourceNotFoundException");
    let page = store.filter_events(&scope(), "g", &choose(StreamChoice::All)).unwrap();
    assert_eq!(
        page.searched.iter().map(|(name, done)| (&**name, *done)).collect::<Vec<_>>(),
        [("s", true), ("web/1", true), ("web/2", true)]
    );
}

#[test]
fn a_long_search_answers_in_parts() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &Limits { scan_bytes: 1_000, ..tiny() });
    for at in 0..200 {
        put(&store, "s", &[(NOW + at, if at == 150 { "needle" } else { "hay hay hay" })]);
    }
    let pattern = Arc::new(Pattern::parse("needle").unwrap());
    let (seen, pages) = filter_all(&store, FilterEvents { pattern, ..FilterEvents::default() });
    assert_eq!(seen, ["s:needle"]);
    assert!(pages > 3, "{pages}");
}

#[test]
fn groups_are_listed_by_name() {
    let dir = tempdir();
    let store = open(dir.path(), &tiny());
    for name in ["/ecs/b", "/ecs/a", "web", "/ecs/Web"] {
        run(store.create_group(&scope(), name, BTreeMap::new(), NOW)).unwrap();
    }
    let list = |names: &GroupNames, limit| {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let page = store.describe_groups(&scope(), names, Some(limit), token.as_deref()).unwrap();
            all.extend(page.items.into_iter().map(|group| group.name));
            token = page.next_token;
            if token.is_none() {
                return all;
            }
        }
    };
    for limit in [1, 2, 3, 50] {
        assert_eq!(list(&GroupNames::All, limit), ["/ecs/Web", "/ecs/a", "/ecs/b", "web"]);
        assert_eq!(list(&GroupNames::Prefix("/ecs/".to_string()), limit), ["/ecs/Web", "/ecs/a", "/ecs/b"]);
        assert_eq!(list(&GroupNames::Contains("eb".to_string()), limit), ["/ecs/Web", "web"]);
    }
    assert!(store.describe_groups(&scope(), &GroupNames::All, Some(51), None).is_err());
}

#[test]
fn streams_are_listed_by_name_or_by_newest_event() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &tiny());
    for (name, at) in [("a/1", Some(30)), ("a/2", None), ("b", Some(10)), ("c", Some(30))] {
        run(store.create_stream(&scope(), "g", name, NOW)).unwrap();
        at.into_iter().for_each(|at| put(&store, name, &[(NOW + at, "x")]));
    }
    let list = |order: &StreamOrder, descending| {
        let mut lists = Vec::new();
        for limit in [1, 2, 50] {
            let (mut all, mut token) = (Vec::new(), None);
            loop {
                let page =
                    store.describe_streams(&scope(), "g", order, descending, Some(limit), token.as_deref()).unwrap();
                all.extend(page.items.into_iter().map(|stream| stream.name));
                token = page.next_token;
                if token.is_none() {
                    break;
                }
            }
            lists.push(all.join(" "));
        }
        lists.dedup();
        assert_eq!(lists.len(), 1, "pages do not change the listing: {lists:?}");
        lists.remove(0)
    };
    let named = |prefix: &str| StreamOrder::Name { prefix: prefix.to_string() };
    assert_eq!(list(&named(""), false), "a/1 a/2 b c s");
    assert_eq!(list(&named(""), true), "s c b a/2 a/1");
    assert_eq!(list(&named("a/"), false), "a/1 a/2");
    assert_eq!(list(&named("a/"), true), "a/2 a/1");
    assert_eq!(list(&StreamOrder::LastEventTime, true), "c a/1 b s a/2");
    assert_eq!(list(&StreamOrder::LastEventTime, false), "a/2 s b a/1 c");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// However events arrived and wherever they lie, every way of paging gives them once, in order of time and arrival.
    #[test]
    fn every_paging_gives_every_event_once(
        times in proptest::collection::vec(0i64..50, 1..80),
        checkpoints in proptest::collection::vec(any::<bool>(), 80),
        limit in 1usize..20,
    ) {
        let dir = tempdir();
        let store = with_stream(dir.path(), &tiny());
        let mut want = Vec::new();
        for (number, (at, checkpoint)) in times.iter().zip(checkpoints).enumerate() {
            let text = format!("event {number}");
            put(&store, "s", &[(NOW + at, &text)]);
            want.push((NOW + at, number, text));
            if checkpoint && number % 5 == 0 {
                run(store.checkpoint()).unwrap();
            }
        }
        want.sort();
        let want: Vec<_> = want.iter().map(|(_, _, text)| text.as_str()).collect();
        let forth = read_all(&store, "s", limit);
        prop_assert_eq!(messages(&forth), want.clone());
        let (filtered, _) = filter_all(&store, FilterEvents { limit: Some(limit), ..FilterEvents::default() });
        prop_assert_eq!(filtered, want.iter().map(|text| format!("s:{text}")).collect::<Vec<_>>());
        let mut back = Vec::new();
        let mut ask = GetEvents { limit: Some(limit), ..GetEvents::default() };
        loop {
            let page = get(&store, &ask);
            if page.events.is_empty() {
                break;
            }
            back.splice(0..0, page.events);
            ask.token = Some(page.next_backward_token);
        }
        prop_assert_eq!(messages(&back), want);
    }
}

//! What is shipped, told from the server's side.

use super::*;
use model::Timestamp;
use regex::bytes::Regex;
use std::io::Write;

struct Bench {
    hub: LogHub,
    dir: tempfile::TempDir,
    events: mpsc::Receiver<Event>,
    mailbox: mpsc::Sender<Event>,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let hub = LogHub::new(dir.path().to_owned(), Effects::simulated(1, Timestamp(1_700_000_000_000)));
    let (mailbox, events) = mpsc::channel(8);
    Bench { hub, dir, events, mailbox }
}

fn target() -> LogTarget {
    LogTarget {
        group: "g".into(),
        stream: "s".into(),
        create_group: false,
        region: None,
        producer: "c1".into(),
        start: None,
        flush_after: Duration::from_secs(5),
        backlog: 1 << 20,
    }
}

fn write(dir: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("c1.log")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn lines(batches: &[LogBatch]) -> Vec<String> {
    batches.iter().flat_map(|b| b.events.iter().map(|e| e.message.clone())).collect()
}

#[tokio::test(start_paused = true)]
async fn output_comes_in_order_and_the_end_is_told() {
    let Bench { hub, dir, mut events, mailbox } = bench();
    hub.follow(target(), false, 0, mailbox);
    write(dir.path(), "one\ntwo\nthr");
    let sent = hub.next().await;
    assert_eq!(lines(&sent), ["one", "two"]);
    hub.answered(&sent[0], &LogOutcome::Accepted { next_offset: sent[0].next_offset }).await;
    write(dir.path(), "ee\nfour");
    hub.end("c1".into());
    let sent = hub.next().await;
    assert_eq!((lines(&sent), sent[0].offset), (vec!["three".to_owned(), "four".to_owned()], 8));
    assert!(events.try_recv().is_err(), "not all of it is durable yet");
    hub.answered(&sent[0], &LogOutcome::Accepted { next_offset: sent[0].next_offset }).await;
    assert_eq!(events.recv().await, Some(Event::Container(0, Happened::LogsShipped)));
    assert!(!dir.path().join("c1.offset").exists());
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_or_agent_sends_again_what_was_not_acknowledged() {
    let Bench { hub, dir, events: _events, mailbox } = bench();
    hub.follow(target(), false, 0, mailbox.clone());
    write(dir.path(), "one\n");
    let first = hub.next().await;
    hub.answered(&first[0], &LogOutcome::Accepted { next_offset: 4 }).await;
    write(dir.path(), "two\n");
    assert_eq!(lines(&hub.next().await), ["two"]);
    hub.reset();
    assert_eq!(lines(&hub.next().await), ["two"]);
    let again = LogHub::new(dir.path().to_owned(), Effects::simulated(2, Timestamp(0)));
    again.follow(target(), false, 0, mailbox);
    let sent = again.next().await;
    assert_eq!((lines(&sent), sent[0].offset), (vec!["two".to_owned()], 4));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_never_wrote_is_done_at_once_and_refusals_do_not_block() {
    let Bench { hub, dir, mut events, mailbox } = bench();
    hub.follow(target(), true, 3, mailbox.clone());
    assert_eq!(events.recv().await, Some(Event::Container(3, Happened::LogsShipped)));
    write(dir.path(), "one\n");
    hub.follow(target(), true, 3, mailbox);
    let sent = hub.next().await;
    hub.answered(&sent[0], &LogOutcome::Refused { message: "no such group".into() }).await;
    assert_eq!(events.recv().await, Some(Event::Container(3, Happened::LogsShipped)));
}

fn accepted(batch: &LogBatch) -> LogOutcome {
    LogOutcome::Accepted { next_offset: batch.next_offset }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_opened_before_its_container_starts() {
    let Bench { hub, events: _events, mailbox, dir: _dir } = bench();
    hub.follow(target(), false, 0, mailbox);
    let refused = LogOutcome::Refused { message: "ResourceNotFoundException: no".into() };
    for (outcome, want) in
        [(LogOutcome::Accepted { next_offset: 0 }, Ok(())), (refused, Err("ResourceNotFoundException: no".to_owned()))]
    {
        let server = async {
            let lost = hub.next().await;
            assert_eq!((lost.len(), lost[0].events.len(), lost[0].stream.as_str()), (1, 0, "s"));
            // The session breaks before it is answered; the next one asks again.
            hub.reset();
            let again = hub.next().await;
            hub.answered(&again[0], &outcome).await;
        };
        let (opened, ()) = tokio::join!(hub.open("c1"), server);
        assert_eq!(opened, want);
    }
    assert_eq!(hub.open("another").await, Ok(()), "what is not followed has nothing to open");
}

/// An event of several lines at the file's end: held for its time, then sent; and a new agent ends it at the same place, although
/// by then the event would go on.
#[tokio::test(start_paused = true)]
async fn an_event_that_was_ended_ends_there_after_a_crash_too() {
    let Bench { hub, dir, events: _events, mailbox } = bench();
    let target = || LogTarget { start: Some(Regex::new("^>").unwrap()), ..target() };
    hub.follow(target(), false, 0, mailbox.clone());
    write(dir.path(), ">one\n two\n");
    let begun = hub.0.effects.monotonic();
    let sent = hub.next().await;
    assert!(hub.0.effects.monotonic() - begun >= Duration::from_secs(5), "it waited for more");
    assert_eq!(lines(&sent), [">one\n two\n"]);
    // kill -9 before the answer; the container wrote on.
    write(dir.path(), " three\n>four\n");
    let again = LogHub::new(dir.path().to_owned(), Effects::simulated(2, Timestamp(1_700_000_100_000)));
    again.follow(target(), false, 0, mailbox);
    let sent = again.next().await;
    assert_eq!(lines(&sent), [">one\n two\n", " three\n"], "the store knows the first by its end");
    assert_eq!((sent[0].events[0].end, sent[0].next_offset), (10, 17));
    again.answered(&sent[0], &accepted(&sent[0])).await;
    assert_eq!(std::fs::read_to_string(dir.path().join("c1.offset")).unwrap(), "17", "the forced end is forgotten");
    again.end("c1".into());
    assert_eq!(lines(&again.next().await), [">four\n"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_server_the_oldest_of_a_backlog_is_dropped() {
    let Bench { hub, dir, events: _events, mailbox } = bench();
    hub.follow(LogTarget { backlog: 40_000, ..target() }, false, 0, mailbox.clone());
    for number in 0..10_000 {
        write(dir.path(), &format!("line {number:05}\n"));
    }
    let blocks = || {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(dir.path().join("c1.log")).unwrap().blocks() * 512
    };
    while blocks() > 48 << 10 {
        hub.0.effects.sleep(LOOK).await;
    }
    // A new agent goes on from there as well.
    for hub in [hub, LogHub::new(dir.path().to_owned(), Effects::simulated(2, Timestamp(0)))] {
        hub.follow(LogTarget { backlog: 40_000, ..target() }, true, 0, mailbox.clone());
        let (mut got, mut from) = (Vec::new(), 0);
        while from < 110_000 {
            for batch in hub.next().await {
                from = batch.next_offset;
                got.extend(lines(std::slice::from_ref(&batch)));
                // Not acknowledged: the place on disk stays.
                hub.with(|streams| streams.get_mut("c1").unwrap().in_flight = false);
            }
        }
        let want: Vec<String> = (10_000 - got.len()..10_000).map(|number| format!("line {number:05}")).collect();
        assert_eq!(got, want, "the newest are there, without a gap");
        assert!((3_000..3_700).contains(&got.len()), "{}", got.len());
    }
}

#[tokio::test(start_paused = true)]
async fn output_that_goes_nowhere_else_is_held_to_its_size() {
    let Bench { hub, dir, .. } = bench();
    hub.keep("c1".into(), 20_000);
    let text = "x".repeat(99) + "\n";
    for _ in 0..2_000 {
        write(dir.path(), &text);
    }
    let size = || std::fs::metadata(dir.path().join("c1.log")).unwrap().len();
    while size() > 26_000 {
        hub.0.effects.sleep(LOOK).await;
    }
    hub.forget("c1");
    write(dir.path(), &text.repeat(1_000));
    hub.0.effects.sleep(LOOK * 3).await;
    assert!(size() > 100_000, "it is not looked at any more");
}

#[tokio::test(start_paused = true)]
async fn empty_lines_at_the_end_are_the_end_too() {
    let Bench { hub, dir, mut events, mailbox } = bench();
    hub.follow(target(), false, 0, mailbox);
    write(dir.path(), "one\n");
    let sent = hub.next().await;
    write(dir.path(), "\n\n");
    hub.answered(&sent[0], &LogOutcome::Accepted { next_offset: 4 }).await;
    hub.end("c1".into());
    // A session asks on; it has nothing to send and learns nothing.
    let asking = hub.clone();
    tokio::select! {
        batches = asking.next() => panic!("nothing is left to send: {batches:?}"),
        event = events.recv() => assert_eq!(event, Some(Event::Container(0, Happened::LogsShipped))),
    }
}

/// What the courier of output is told that goes to a server of the forward protocol at that socket, which acknowledges.
fn dispatch(socket: &Path) -> Dispatch {
    let options = [
        ("fluentd-address", format!("unix://{}", socket.display())),
        ("fluentd-request-ack", "true".to_owned()),
        ("fluentd-async", "true".to_owned()),
        ("fluentd-retry-wait", "100ms".to_owned()),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), value)).into();
    let options = Outward::parse(model::LogDriver::Fluentd, &options, model::LogMode::Blocking, None).unwrap();
    let identity = Identity { id: "c1".into(), name: "c1".into(), ..Identity::default() };
    Dispatch { options, identity, tag: None, quotes: true }
}

/// Takes one message on a connection and acknowledges it; answers its bytes as text.
async fn take(listener: &tokio::net::UnixListener) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut read, mut bytes) = (Vec::new(), [0; 4_096]);
    // The message ends with the name of its chunk: 24 characters of base64 behind their length.
    let chunk = loop {
        let count = stream.read(&mut bytes).await.unwrap();
        read.extend_from_slice(&bytes[..count]);
        if let Some(at) = read.windows(6).position(|word| word == b"\xa5chunk") {
            break read[at + 7..].to_vec();
        }
    };
    let mut answer = b"\x81\xa3ack\xb8".to_vec();
    answer.extend_from_slice(&chunk);
    stream.write_all(&answer).await.unwrap();
    String::from_utf8_lossy(&read).into_owned()
}

/// With the machine's own clock, because sockets do not wait for another.
#[tokio::test]
async fn a_courier_carries_all_there_is_and_tells_its_end() {
    let (dir, effects) = (tempfile::tempdir().unwrap(), Effects::real());
    let hub = LogHub::new(dir.path().to_owned(), effects.clone());
    let (mailbox, mut events) = mpsc::channel(8);
    let socket = dir.path().join("f.sock");
    hub.expect("c1".into(), 2, mailbox.clone(), 1 << 20);
    let mut claim = hub.claim("c1").unwrap();
    assert!(hub.claim("c1").is_none(), "one carries it");
    write(dir.path(), "one\ntwo\n");
    // Nobody listens yet.
    hub.dispatch(&mut claim, dispatch(&socket), true).await.unwrap();
    drop(claim);
    assert!(hub.claim("c1").is_none(), "it is carried");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let got = take(&listener).await;
    assert!(got.contains("one") && got.contains("two"), "{got}");
    write(dir.path(), "three");
    hub.end("c1".into());
    let got = take(&listener).await;
    assert!(got.contains("three") && !got.contains("two"), "{got}");
    assert_eq!(events.recv().await, Some(Event::Container(2, Happened::LogsShipped)));
    // Until that is noted, another agent might ask; it finds all of it sent.
    let again = LogHub::new(dir.path().to_owned(), effects.clone());
    again.expect("c1".into(), 2, mailbox.clone(), 1 << 20);
    again.dispatch(&mut again.claim("c1").unwrap(), dispatch(&socket), false).await.unwrap();
    again.end("c1".into());
    assert_eq!(events.recv().await, Some(Event::Container(2, Happened::LogsShipped)));

    // Output of a container that never began is at its end at once; one that is forgotten is carried no further.
    hub.expect("c2".into(), 0, mailbox.clone(), 1 << 20);
    hub.end("c2".into());
    assert_eq!(events.recv().await, Some(Event::Container(0, Happened::LogsShipped)));
    hub.expect("c3".into(), 1, mailbox, 1 << 20);
    let mut claim = hub.claim("c3").unwrap();
    hub.dispatch(&mut claim, dispatch(&dir.path().join("nobody.sock")), false).await.unwrap();
    hub.forget("c3");
    hub.forgotten("c3").await;
    assert!(effects.drain(Duration::from_secs(30)).await);
}

/// A driver that needs its receiver says so, and another try is free to claim.
#[tokio::test]
async fn a_driver_that_cannot_begin_says_why() {
    let (dir, effects) = (tempfile::tempdir().unwrap(), Effects::real());
    let hub = LogHub::new(dir.path().to_owned(), effects.clone());
    let (mailbox, mut events) = mpsc::channel(8);
    hub.expect("c1".into(), 0, mailbox, 1 << 20);
    let mut claim = hub.claim("c1").unwrap();
    let options = [("syslog-address".to_owned(), format!("unix://{}/none.sock", dir.path().display()))].into();
    let options = Outward::parse(model::LogDriver::Syslog, &options, model::LogMode::Blocking, None).unwrap();
    let what = Dispatch { options, identity: Identity::default(), tag: None, quotes: true };
    let why = hub.dispatch(&mut claim, what, true).await.unwrap_err();
    assert!(why.starts_with("dial unix:///") && why.contains("No such file"), "{why}");
    drop(claim);
    let claim = hub.claim("c1").expect("another may try");
    // Whatever went wrong before there was something to dispatch, the container's end is the end then.
    hub.end("c1".into());
    assert!(events.try_recv().is_err(), "somebody still may carry it");
    drop(claim);
    assert_eq!(events.recv().await, Some(Event::Container(0, Happened::LogsShipped)));
    assert!(effects.drain(Duration::from_secs(30)).await);
}

/// What waits is held to its bound whatever a courier does: before there is one, while nobody listens, and while a receiver takes
/// a little now and then.
#[tokio::test]
async fn what_waits_is_bounded_whatever_is_waited_for() {
    use std::os::unix::fs::MetadataExt;
    let (dir, effects) = (tempfile::tempdir().unwrap(), Effects::real());
    let hub = LogHub::new(dir.path().to_owned(), effects.clone());
    let (mailbox, _events) = mpsc::channel(8);
    let socket = dir.path().join("f.sock");
    let bounded = async |most: u64| {
        let text = format!("{}\n", "x".repeat(999)).repeat(2_000);
        write(dir.path(), &text);
        let takes = || std::fs::metadata(dir.path().join("c1.log")).unwrap().blocks() * 512;
        while takes() > most {
            effects.sleep(Duration::from_millis(20)).await;
        }
    };
    hub.expect("c1".into(), 0, mailbox, 100_000);
    bounded(200_000).await;
    // Nobody listens, and another try is a minute away.
    let mut what = dispatch(&socket);
    let Outward::Fluentd(options) = &mut what.options else { unreachable!() };
    (options.common.backlog, options.retry_wait) = (100_000, Duration::from_secs(60));
    hub.dispatch(&mut hub.claim("c1").unwrap(), what, false).await.unwrap();
    bounded(200_000).await;
    hub.forget("c1");
    // Somebody listens and reads nothing.
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let (mailbox, _events) = mpsc::channel(8);
    hub.expect("c1".into(), 0, mailbox, 1 << 30);
    let mut what = dispatch(&socket);
    let Outward::Fluentd(options) = &mut what.options else { unreachable!() };
    (options.common.backlog, options.write_timeout) = (100_000, Duration::from_secs(86_400));
    hub.dispatch(&mut hub.claim("c1").unwrap(), what, false).await.unwrap();
    let (_stream, _) = listener.accept().await.unwrap();
    bounded(200_000).await;
    assert!(effects.drain(Duration::from_secs(30)).await);
}

//! What is shipped, told from the server's side.

use super::*;
use model::Timestamp;
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
    LogTarget { group: "g".into(), stream: "s".into(), create_group: false, region: None, producer: "c1".into() }
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

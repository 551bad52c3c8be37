//! Many streams: no file is held for each, opening stays quick, and many writers share a sync.

use telemetry::logs::{StreamInfo, StreamOrder};

use super::*;

const STREAMS: usize = 10_000;

/// Files under `dir` this process holds open.
fn open_files(dir: &Path) -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(dir)).count()
}

fn newest(store: &Store) -> Vec<StreamInfo> {
    store.describe_streams(&scope(), "g", &StreamOrder::LastEventTime, true, Some(1), None).unwrap().items
}

#[test]
fn ten_thousand_streams() {
    let dir = tempdir();
    let limits = Limits { free_disk_floor: 0, journal_bytes: 1 << 20, ..Limits::default() };
    let store = with_stream(dir.path(), &limits);
    run(async {
        let name = |i: usize| format!("web/app/{i:05}");
        for batch in 0..STREAMS / 200 {
            let range = batch * 200..(batch + 1) * 200;
            let create = range.map(|i| {
                let store = store.clone();
                async move {
                    store.create_stream(&scope(), "g", &name(i), NOW).await.unwrap();
                    let events = vec![event(NOW + i as i64, &format!("hello from {i}, {}", "x".repeat(60)))];
                    store.put_events(&scope(), "g", &name(i), events, NOW).await.unwrap();
                }
            });
            join_all(create).await;
        }
    });
    let stats = store.stats();
    assert_eq!(stats.streams, STREAMS + 1);
    assert!(stats.commits < STREAMS as u64 / 4, "puts share syncs: {}", stats.commits);
    assert!(stats.checkpoints > 0);
    run(store.maintain(NOW)).unwrap();
    // The lock and the journal.
    assert_eq!(open_files(dir.path()), 2);
    drop(store);
    for checkpoint in [true, false] {
        let store = open(dir.path(), &limits);
        assert_eq!(store.stats().streams, STREAMS + 1);
        assert_eq!(newest(&store)[0].name, "web/app/09999");
        assert!(read_all(&store, "web/app/05000", 10)[0].message.starts_with("hello from 5000,"));
        assert_eq!(open_files(dir.path()), 2);
        if checkpoint {
            run(store.checkpoint()).unwrap();
        }
    }
}

/// Drives all futures of one batch together.
async fn join_all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut futures: Vec<_> = futures.map(|future| Some(Box::pin(future))).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for slot in &mut futures {
            if let Some(future) = slot {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(()) => *slot = None,
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
}

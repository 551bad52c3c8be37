//! How fast the usage ledger takes what has ended, and how fast a report reads it: a line of JSON for each batch size.
//!
//! `ledger_bench DIRECTORY` writes below the directory, so that it measures that one's disk.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)] // A bench for people, not a service.

use model::{AccountId, ClusterName, Family, Region, Scope, ServiceName, Tags, Timestamp};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};
use telemetry::usage::{Ledger, Owner, PriceList, Resource, Sums, Usage, Window, read};

/// How long each figure is measured.
const SPAN: Duration = Duration::from_secs(3);
/// A day in 2026.
const NOW: i64 = 1_790_000_000_000;

fn usage(number: u32) -> Usage {
    let from = NOW + i64::from(number) * 10;
    Usage {
        key: format!("arn:aws:ecs:us-east-1:000000000000:task/shop/{number:032x}").into(),
        from: Timestamp(from),
        to: Timestamp(from + 90_000),
        over: true,
        what: Resource::Fargate { cpu: 256, memory: 512, storage: 0, arm: false, spot: false },
        measured: None,
        owner: Owner {
            scope: Scope {
                account: AccountId::parse("000000000000").unwrap(),
                region: Region::parse("us-east-1").unwrap(),
            },
            cluster: ClusterName::parse("shop").unwrap(),
            zone: Some("us-east-1a".into()),
            service: Some(ServiceName::parse("web").unwrap()),
            family: Some(Family::parse("web").unwrap()),
            capacity_provider: Some("FARGATE".into()),
            tags: Tags(BTreeMap::from([("team".to_owned(), "blue".to_owned())])),
        },
    }
}

fn rate(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64()
}

fn main() {
    let directory = std::env::args().nth(1).expect("a directory to write in");
    for batch in [1, 100, 10_000] {
        let dir = Path::new(&directory).join(format!("ledger-{batch}"));
        let mut ledger = Ledger::open(&dir).unwrap();
        let begin = Instant::now();
        let mut count = 0;
        while begin.elapsed() < SPAN {
            let usages: Vec<Usage> = (count..count + batch).map(usage).collect();
            ledger.append(&usages).unwrap();
            count += batch;
        }
        let appended = rate(count, begin.elapsed());
        let bytes: u64 = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();

        let windows = [Window { from: Timestamp(NOW), to: Timestamp(i64::MAX) }];
        let prices = PriceList::default();
        let mut sums = Sums::new(&windows, &prices);
        let begin = Instant::now();
        read(&dir, windows[0], |usage| sums.add(usage, |charge| Some(charge.usage_type.clone()))).unwrap();
        let summed = rate(count, begin.elapsed());
        let groups = sums.len();
        println!(
            "{{\"batch\":{batch},\"events\":{count},\"appended_per_second\":{appended:.0},\
             \"read_per_second\":{summed:.0},\"bytes_each\":{},\"groups\":{groups}}}",
            bytes / u64::from(count),
        );
        fs::remove_dir_all(&dir).unwrap();
    }
}

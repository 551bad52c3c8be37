//! The usage ledger over crashes: whatever is cut, told again or killed, each usage counts once.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use model::{AccountId, ClusterName, Region, Scope, Tags, Timestamp};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use telemetry::usage::{Ledger, Owner, Resource, Usage, Window, read};

/// A moment in the last day of a month, so that histories go over its end.
const NOW: i64 = 1_793_500_000_000;
const ALL: Window = Window { from: Timestamp(NOW - 100_000_000), to: Timestamp(i64::MAX) };

fn usage(number: u64, from: i64, to: i64) -> Usage {
    Usage {
        key: format!("task/{number}").into(),
        from: Timestamp(from),
        to: Timestamp(to),
        over: true,
        what: Resource::OnInstance { cpu: 1, memory: 1, external: false, on: None },
        measured: None,
        owner: Owner {
            scope: Scope {
                account: AccountId::parse("000000000000").unwrap(),
                region: Region::parse("us-east-1").unwrap(),
            },
            cluster: ClusterName::parse("shop").unwrap(),
            zone: None,
            service: None,
            family: None,
            capacity_provider: None,
            tags: Tags::default(),
        },
    }
}

fn held(dir: &Path, period: Window) -> (BTreeMap<String, (i64, i64)>, usize) {
    let mut all = BTreeMap::new();
    let found = read(dir, period, |usage| {
        let known = all.insert(usage.key.to_string(), (usage.from.0, usage.to.0));
        assert!(known.is_none(), "{} twice", usage.key);
    });
    (all, found.unwrap().damaged.len())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[derive(Debug, Clone)]
enum Step {
    /// Things that end, after so many milliseconds, of which some are negative because the clock was set back.
    End(Vec<(i64, i64)>),
    /// All that has ended and is not known to be told is told.
    Tell,
    /// The same, and a crash before that is known.
    TellAndCrash,
    /// The same, and a crash in the middle of a write, of which so many bytes in a thousand are there.
    Tear(usize),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ends = proptest::collection::vec((-40_000_000..90_000_000_i64, 0..200_000_000_i64), 1..6);
    let step = prop_oneof![
        5 => ends.prop_map(Step::End),
        3 => Just(Step::Tell),
        2 => Just(Step::TellAndCrash),
        2 => (0..1_000_usize).prop_map(Step::Tear),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..30)
}

/// What the loop does, without its state: `told` says how many of the ended ones are known to be told.
struct Teller {
    ledger: Ledger,
    ended: Vec<Usage>,
    told: usize,
    now: i64,
}

fn reopened(dir: &Path) -> Ledger {
    Ledger::open(dir).unwrap().with_file_bytes(2_000)
}

fn take(teller: &mut Teller, dir: &Path, step: &Step) {
    match step {
        Step::End(all) => {
            for (jump, lasted) in all {
                teller.now += jump;
                let number = teller.ended.len() as u64;
                teller.ended.push(usage(number, teller.now - lasted, teller.now));
            }
        }
        Step::Tell => {
            teller.ledger.append(&teller.ended[teller.told..]).unwrap();
            teller.told = teller.ended.len();
        }
        Step::TellAndCrash => {
            teller.ledger.append(&teller.ended[teller.told..]).unwrap();
            teller.ledger = reopened(dir);
        }
        Step::Tear(part) => {
            // One that is written to one file only, so that it can be torn by cutting that.
            let Some(last) = teller.ended[teller.told..].first().cloned() else { return };
            let sizes = |dir: &Path| -> BTreeMap<PathBuf, u64> {
                files(dir).into_iter().map(|file| (file.clone(), fs::metadata(file).unwrap().len())).collect()
            };
            let before = sizes(dir);
            teller.ledger.append(&[last]).unwrap();
            let after = sizes(dir);
            let (file, len) = after.iter().find(|(file, len)| before.get(*file) != Some(*len)).unwrap();
            let old = before.get(file).copied().unwrap_or(0);
            let left = old + (len - old) * *part as u64 / 1_000;
            fs::OpenOptions::new().write(true).open(file).unwrap().set_len(left).unwrap();
            teller.ledger = reopened(dir);
        }
        Step::Restart => teller.ledger = reopened(dir),
    }
}

proptest! {
    #[test]
    fn each_usage_counts_once_whatever_crashes(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut teller = Teller { ledger: reopened(dir.path()), ended: Vec::new(), told: 0, now: NOW };
        for step in &steps {
            take(&mut teller, dir.path(), step);
            let (held, damaged) = held(dir.path(), Window { from: Timestamp(0), to: Timestamp(i64::MAX) });
            prop_assert_eq!(damaged, 0);
            for usage in &teller.ended[..teller.told] {
                prop_assert_eq!(held.get(&*usage.key), Some(&(usage.from.0, usage.to.0)));
            }
            prop_assert!(held.len() <= teller.ended.len());
        }
        take(&mut teller, dir.path(), &Step::Tell);
        for window in [ALL, Window { from: Timestamp(NOW), to: Timestamp(NOW + 5_000_000) }] {
            let met = |usage: &&Usage| usage.from < window.to && usage.billed_until() > window.from;
            let want: BTreeMap<_, _> =
                teller.ended.iter().filter(met).map(|usage| (usage.key.to_string(), (usage.from.0, usage.to.0))).collect();
            prop_assert_eq!(held(dir.path(), window).0, want);
        }
    }
}

#[test]
fn damage_is_told_and_hides_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    for number in 0..4 {
        ledger.append(&[usage(number, NOW, NOW + 1_000)]).unwrap();
    }
    let file = files(dir.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 4 + 20;
    bytes[middle] ^= 0xff;
    fs::write(&file, bytes).unwrap();
    let (left, damaged) = held(dir.path(), ALL);
    assert_eq!((left.keys().map(String::as_str).collect::<Vec<_>>(), damaged), (vec!["task/0", "task/2", "task/3"], 1));
    // What comes after it goes into another file.
    Ledger::open(dir.path()).unwrap().append(&[usage(9, NOW, NOW + 1_000)]).unwrap();
    assert_eq!(files(dir.path()).len(), 2);
    assert_eq!(held(dir.path(), ALL).0.len(), 4);
}

#[test]
fn a_newer_form_is_refused_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    ledger.append(&[usage(1, NOW, NOW + 1_000)]).unwrap();
    let file = files(dir.path()).remove(0);
    let text = fs::read(&file).unwrap();
    let mut payload = text[8..].to_vec();
    let at = payload.windows(6).position(|six| six == b"{\"v\":1").unwrap();
    payload[at + 5] = b'2';
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&text[..4]);
    hasher.update(&payload);
    fs::write(&file, [&text[..4], &hasher.finalize().to_le_bytes(), &payload[..]].concat()).unwrap();
    let error = read(dir.path(), ALL, |_| {}).unwrap_err().to_string();
    assert!(error.contains("format version 2") && error.contains("newer longshore"), "{error}");
}

#[test]
fn what_cannot_be_written_is_an_error_and_goes_on_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(&dir.path().join("usage")).unwrap();
    ledger.append(&[usage(1, NOW, NOW + 1_000)]).unwrap();
    fs::rename(dir.path().join("usage"), dir.path().join("away")).unwrap();
    let mut another = Ledger::open(&dir.path().join("usage")).unwrap();
    fs::remove_dir(dir.path().join("usage")).unwrap();
    another.append(&[usage(2, NOW, NOW + 1_000)]).unwrap_err();
    fs::rename(dir.path().join("away"), dir.path().join("usage")).unwrap();
    another.append(&[usage(2, NOW, NOW + 1_000)]).unwrap();
    assert_eq!(held(&dir.path().join("usage"), ALL).0.len(), 2);
}

const DIRECTORY: &str = "LONGSHORE_LEDGER_TEST_DIRECTORY";

/// Appends until killed, and names what is durable.
fn child(dir: &Path) {
    let mut ledger = Ledger::open(dir).unwrap().with_file_bytes(20_000);
    let first = held(dir, ALL).0.len() as u64;
    for number in first.. {
        ledger.append(&[usage(number, NOW, NOW + 1_000), usage(number + 1, NOW, NOW + 1_000)]).unwrap();
        std::io::stderr().write_all(format!("{}\n", number + 1).as_bytes()).unwrap();
    }
}

#[test]
fn nothing_that_was_appended_is_lost_to_kill_9() {
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        return child(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0_u64;
    for round in 1..=8 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "nothing_that_was_appended_is_lost_to_kill_9", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let until = last + round * 7;
        let mut killed = false;
        for line in BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok) {
            last = line.parse().unwrap_or_else(|_| panic!("round {round}: the child said {line:?}"));
            if !killed && last >= until {
                process.kill().unwrap();
                killed = true;
            }
        }
        process.wait().unwrap();
        assert!(killed, "round {round}: the child ended by itself");
        let (held, damaged) = held(dir.path(), ALL);
        assert_eq!(damaged, 0);
        assert!((0..=last).all(|number| held.contains_key(&format!("task/{number}"))), "round {round}");
    }
    assert!(files(dir.path()).len() > 1, "several files were written");
}

//! What is on the disk: whose it is, what happens when it is torn, damaged or foreign, and the ways out.

#![allow(clippy::unwrap_used)] // Clippy sees tests in test functions only.

mod common;
use common::*;
use effects::Effects;
use model::*;
use state::{Backend, BackendError, Command, Kind, MaintainError, Memory, OpenError, Snapshot, Sqlite, Store};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which bytes are damaged; the same in every run.
const SEED: u64 = 7;

fn open(dir: &Path) -> Result<Store, OpenError> {
    let sqlite = Sqlite::open(dir)?;
    run(async { Store::open_inline(Box::new(sqlite), &Effects::real()) })
}

/// A store with some history: overwritten rows, removed rows, several commits.
fn lived_in(dir: &Path) -> Store {
    let store = furnished(Sqlite::open(dir).unwrap(), 2);
    for number in 0..40 {
        must(&store, start(vec![task("one", number, number % 2, definition_arn("web", 1), 10, 10)]));
        let arn = task_arn("one", number);
        let instance = instance_arn("one", number % 2);
        let at = Timestamp(number.cast_signed());
        let seen = vec![seen(arn.clone(), ObservedStatus::Stopped(Stop::essential_exited()))];
        if number % 3 != 0 {
            must(&store, Command::Observe { instance, seen, at });
        }
        if number % 3 == 1 {
            must(&store, Command::ForgetTasks { tasks: vec![arn] });
        }
    }
    store
}

/// A copy of a store's files as they are at this moment, as a crash of the machine would leave them.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for name in ["state.db", "state.db-wal"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.path().join(name)).unwrap();
        }
    }
    to
}

#[test]
fn one_server_at_a_time_and_nobody_elses_business() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let store = furnished(Sqlite::open(&path).unwrap(), 1);
    assert!(matches!(Sqlite::open(&path), Err(BackendError::InUse(p)) if p == path));
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        let file = entry.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    drop(store);
    Sqlite::open(&path).unwrap();
}

#[test]
fn a_follower_reads_what_came_behind_a_revision_removals_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut sqlite = Sqlite::open(dir.path()).unwrap();
    let epoch = sqlite.lead().unwrap();
    let change = |key: &str, value: Option<&str>| state::backend::Change {
        kind: Kind::Task,
        key: key.to_owned(),
        value: value.map(str::to_owned),
    };
    let first = sqlite.commit(&vec![change("a", Some("1")), change("b", Some("1"))], epoch).unwrap();
    let second = sqlite.commit(&vec![change("a", None), change("c", Some("2"))], epoch).unwrap();
    assert!(second > first);
    let mut told = Vec::new();
    let last = sqlite.tail(first, &mut |s| {
        told.push((s.key, s.value));
        Ok(())
    });
    assert_eq!(last.unwrap(), second);
    assert_eq!(told, [("a".to_owned(), None), ("c".to_owned(), Some("2".to_owned()))]);
}

/// Reads all pages.
fn changed(store: &Store, from: u64) -> (Vec<String>, usize) {
    let (mut keys, mut from, mut pages) = (Vec::new(), from, 0);
    loop {
        let page = run(store.changed_since(from)).unwrap();
        assert!(page.records.is_sorted_by_key(|record| record.revision), "in order");
        assert!(page.records.iter().all(|record| record.revision > from));
        from = page.records.last().map_or(from, |record| record.revision);
        keys.extend(page.records.into_iter().map(|record| record.key));
        pages += 1;
        if page.is_last {
            return (keys, pages);
        }
    }
}

#[test]
fn what_was_written_after_a_revision_is_told_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let keys = |from: u64, to: u64| (from..to).map(|n| task_arn("one", n).to_string()).collect::<BTreeSet<_>>();
    let tasks =
        |from: u64, to: u64| start((from..to).map(|n| task("one", n, 0, definition_arn("web", 1), 0, 0)).collect());
    let set = |keys: &[String]| keys.iter().cloned().collect::<BTreeSet<_>>();
    let check = |store: &Store| {
        let before = store.snapshot().revision();
        assert_eq!(changed(store, before), (Vec::new(), 1));
        must(store, tasks(0, 2_500));
        let (told, pages) = changed(store, before);
        assert_eq!((set(&told), told.len(), pages), (keys(0, 2_500), 2_500, 3));
        let between = store.snapshot().revision();
        let stopped = ObservedStatus::Stopped(Stop::essential_exited());
        let seen = [1, 2].map(|n| seen(task_arn("one", n), stopped.clone())).to_vec();
        must(store, Command::Observe { instance: instance_arn("one", 0), seen, at: Timestamp(9) });
        must(store, Command::ForgetTasks { tasks: vec![task_arn("one", 1)] });
        assert_eq!(changed(store, between).0, [task_arn("one", 2).to_string()], "once, and not what is gone");
        assert!(changed(store, 0).0.len() > 2_499, "from any revision");
    };
    check(&furnished(Memory::default(), 1));
    check(&furnished(Sqlite::open(dir.path()).unwrap(), 1));
    // By the writer's own thread.
    let store = run(async {
        let store = Store::open(Box::new(Sqlite::open(dir.path()).unwrap()), &Effects::real()).unwrap();
        let page = store.changed_since(0).await.unwrap();
        assert_eq!((page.records.len(), page.is_last), (1_000, false));
        store
    });
    run(store.close());
    assert!(matches!(run(store.changed_since(0)), Err(state::CommitError::Closed)));
}

#[test]
fn what_is_new_is_told_though_removals_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut sqlite = Sqlite::open(dir.path()).unwrap();
    let epoch = sqlite.lead().unwrap();
    let change = |n: u32| state::backend::Change { kind: Kind::Task, key: n.to_string(), value: Some("1".to_owned()) };
    sqlite.commit(&(0..100_010).map(change).collect(), epoch).unwrap();
    drop(sqlite);
    // The first commit of a process looks which removals are too old to be kept.
    let mut sqlite = Sqlite::open(dir.path()).unwrap();
    let epoch = sqlite.lead().unwrap();
    sqlite.commit(&vec![change(0)], epoch).unwrap();
    assert!(sqlite.tail(1, &mut |_| Ok(())).is_err());
    let mut told = 0;
    sqlite
        .newer(1, &mut |_| {
            told += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(told, 100_010);
}

#[test]
fn whoever_led_before_can_not_write_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut sqlite = Sqlite::open(dir.path()).unwrap();
    let (old, new) = (sqlite.lead().unwrap(), sqlite.lead().unwrap());
    assert!(new > old);
    assert!(matches!(sqlite.commit(&Vec::new(), old), Err(BackendError::Fenced)));
    sqlite.commit(&Vec::new(), new).unwrap();
}

#[test]
fn a_log_torn_at_any_byte_opens_as_it_was_after_some_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = lived_in(dir.path());
    let last = store.snapshot().revision();
    let taken = copy(dir.path());
    let log = fs::read(taken.path().join("state.db-wal")).unwrap();
    let rng = run(async { Effects::simulated(SEED, Timestamp(0)) });
    let mut revisions = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let length = random(&rng, log.len());
        let torn = copy(taken.path());
        fs::write(torn.path().join("state.db-wal"), &log[..length]).unwrap();
        let opened = open(torn.path()).unwrap_or_else(|error| panic!("torn at {length}: {error}"));
        let snapshot = opened.snapshot();
        assert_sound(&snapshot);
        assert!(snapshot.revision() <= last);
        revisions.insert(snapshot.revision());
    }
    assert!(revisions.len() > 10, "the log was torn in many places: {revisions:?}");
}

fn random(rng: &Effects, below: usize) -> usize {
    usize::try_from(rng.random() % below as u64).unwrap()
}

/// Flips bytes one at a time. Each store must refuse to start, or be found damaged by a check, or have lost nothing.
fn flip(original: &Path, file: &str, full: &Arc<Snapshot>, flips: usize) -> usize {
    let bytes = fs::read(original.join(file)).unwrap();
    let rng = run(async { Effects::simulated(SEED, Timestamp(0)) });
    let mut refused = 0;
    for _ in 0..flips {
        let at = random(&rng, bytes.len());
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << random(&rng, 8);
        let damaged = copy(original);
        fs::write(damaged.path().join(file), flipped).unwrap();
        match open(damaged.path()) {
            Ok(opened) => {
                let found = !state::check(damaged.path()).unwrap().is_sound();
                assert!(found || *opened.snapshot() == **full, "{file}: the flip at byte {at} was not noticed");
                refused += usize::from(found);
            }
            Err(error) => {
                let told = error.to_string();
                assert!(told.contains("longshore state check") && told.contains("longshore state restore"), "{told}");
                refused += 1;
            }
        }
    }
    refused
}

#[test]
fn no_flipped_bit_in_the_database_goes_unnoticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = lived_in(dir.path());
    let full = store.snapshot();
    drop(store); // The last connection to close moves the log into the database.
    assert!(!dir.path().join("state.db-wal").exists());
    let refused = flip(dir.path(), "state.db", &full, 150);
    assert!(refused > 20, "only {refused} flips mattered");
}

#[test]
fn no_flipped_bit_in_the_log_takes_acknowledged_commits_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = lived_in(dir.path());
    let full = store.snapshot();
    let taken = copy(dir.path());
    // The last commit's frames can not be told from a torn write, so this one's loss would not matter.
    let log = taken.path().join("state.db-wal");
    must(&store, register("sentinel"));
    let longer = fs::read(dir.path().join("state.db-wal")).unwrap();
    let before = fs::metadata(&log).unwrap().len();
    fs::write(&log, &longer).unwrap();
    let now = store.snapshot();
    let bytes = longer[..usize::try_from(before).unwrap()].to_vec();
    let rng = run(async { Effects::simulated(SEED, Timestamp(0)) });
    let mut refused = 0;
    for _ in 0..120 {
        let at = random(&rng, bytes.len());
        let mut flipped = longer.clone();
        flipped[at] ^= 1 << random(&rng, 8);
        let damaged = copy(taken.path());
        fs::write(damaged.path().join("state.db-wal"), flipped).unwrap();
        match open(damaged.path()) {
            Ok(opened) => {
                let revision = opened.snapshot().revision();
                // Only the commit in which the damage is, and the sentinel behind it, may be taken for torn: two commits.
                let last_two = revision + 6 >= now.revision();
                assert!(*opened.snapshot() == *now || last_two, "the flip at byte {at} went back to {revision}");
            }
            Err(error) => {
                assert!(
                    error.to_string().contains("commits follow the damage") || error.to_string().contains("header")
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "only {refused} of 120 flips were refused");
    assert!(full.revision() < now.revision());
}

#[test]
fn what_is_not_ours_or_not_whole_is_refused_and_not_touched() {
    let says = |make: &dyn Fn(&Path), words: &str| {
        let dir = tempfile::tempdir().unwrap();
        drop(furnished(Sqlite::open(dir.path()).unwrap(), 1));
        make(&dir.path().join("state.db"));
        let before = fs::read(dir.path().join("state.db")).unwrap();
        let told = open(dir.path()).map(|_| ()).unwrap_err().to_string();
        assert!(told.contains(words), "{told:?} does not say {words:?}");
        assert!(told.contains("longshore state restore"), "{told:?} names no way out");
        let touched = before != fs::read(dir.path().join("state.db")).unwrap();
        assert!(!touched || words == "missing" || words.contains("checksum"), "{words:?}: the file was changed");
    };
    let sql = |file: &Path, sql: &str| rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap();
    says(&|file| fs::write(file, [7; 9000]).unwrap(), "not a database");
    says(&|file| sql(file, "PRAGMA application_id = 5; PRAGMA journal_mode = DELETE"), "not a longshore state store");
    says(&|file| sql(file, "PRAGMA user_version = 2; PRAGMA journal_mode = DELETE"), "store format 2");
    says(&|file| sql(file, "DELETE FROM records WHERE kind = 'cluster'; PRAGMA journal_mode = DELETE"), "missing");
    says(
        &|file| sql(file, "UPDATE records SET value = replace(value, 'linux', 'sunos'); PRAGMA journal_mode = DELETE"),
        "does not match its checksum",
    );
    says(&|file| fs::write(file.with_file_name("state.db.restoring"), "").unwrap(), "restore into");
}

#[test]
fn a_backup_taken_while_running_is_restored_elsewhere() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = lived_in(dir.path());
    let (file, target): (PathBuf, PathBuf) = (other.path().join("backup.db"), other.path().join("state"));
    run(store.backup(&file)).unwrap();
    let then = store.snapshot();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(run(store.backup(&file)), Err(MaintainError::Exists(_))), "a backup is not written over");
    must(&store, register("later"));

    let report = state::restore(&file, &target, false, Timestamp(0)).unwrap();
    assert_eq!((report.revision, report.records[&Kind::Cluster]), (then.revision(), 1));
    let restored = open(&target).unwrap();
    assert_eq!(*restored.snapshot(), *then);
    must(&restored, register("goes-on"));
    assert!(matches!(
        state::restore(&file, &target, true, Timestamp(0)),
        Err(MaintainError::Backend(BackendError::InUse(_)))
    ));
    drop(restored);

    assert!(matches!(state::restore(&file, &target, false, Timestamp(0)), Err(MaintainError::Exists(_))));
    state::restore(&file, &target, true, Timestamp(0)).unwrap();
    assert_eq!(*open(&target).unwrap().snapshot(), *then);
    assert!(target.join("state.db.replaced").exists(), "what was there is kept");

    let mut damaged = fs::read(&file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4096].fill(0x55);
    fs::write(&file, damaged).unwrap();
    assert!(matches!(state::restore(&file, &target, true, Timestamp(0)), Err(MaintainError::Unsound { .. })));
    assert_eq!(*open(&target).unwrap().snapshot(), *then, "a damaged backup replaces nothing");
    assert!(matches!(state::check(&other.path().join("nothing")), Err(MaintainError::Missing(_))));
}

#[test]
fn epochs_go_on_where_a_restore_takes_revisions_back() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = other.path().join("backup.db");
    let first = lived_in(dir.path());
    run(first.backup(&file)).unwrap();
    let mut highest = first.epoch();
    drop(first);
    let mut next = |path: &Path| {
        let store = open(path).unwrap();
        assert!(store.epoch() > highest, "{} came after {highest}", store.epoch());
        highest = store.epoch();
    };
    for _ in 0..3 {
        next(dir.path());
    }
    // No clock is needed while the store that is replaced can be read.
    state::restore(&file, dir.path(), true, Timestamp(0)).unwrap();
    assert!(!dir.path().join("state.db.restoring-journal").exists());
    next(dir.path());
    next(dir.path());
    // Without it the time is enough: elsewhere, and in place of something that can not be read.
    state::restore(&file, &other.path().join("state"), false, Timestamp(1_000_000)).unwrap();
    next(&other.path().join("state"));
    fs::write(dir.path().join("state.db"), [7; 9000]).unwrap();
    state::restore(&file, dir.path(), true, Timestamp(2_000_000)).unwrap();
    next(dir.path());
    state::restore(&file, dir.path(), true, Timestamp(0)).unwrap();
    next(dir.path());
}

#[test]
fn a_check_finds_what_contradicts_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut sqlite = Sqlite::open(dir.path()).unwrap();
    let epoch = sqlite.lead().unwrap();
    let put = |kind, key: String, data: String| state::backend::Change {
        kind,
        key,
        value: Some(format!("{{\"v\":1,\"d\":{data}}}")),
    };
    let cluster = put(
        Kind::Cluster,
        cluster_arn("one").to_string(),
        format!("{{\"arn\":\"{}\",\"status\":\"Active\",\"created_at\":1}}", cluster_arn("one")),
    );
    let family = put(
        Kind::Family,
        "123456789012/eu-central-1/web".to_owned(),
        r#"{"scope":{"account":"123456789012","region":"eu-central-1"},"family":"web","last_revision":0}"#.to_owned(),
    );
    let arn = definition_arn("web", 1).to_string();
    let definition = put(
        Kind::TaskDefinition,
        arn.clone(),
        format!(
            r#"{{"arn":"{arn}","spec":{{"family":"web","containers":[]}},"status":"Active","registered_at":1,"registered_by":""}}"#
        ),
    );
    sqlite.commit(&vec![cluster, family, definition], epoch).unwrap();
    let report = state::check(dir.path()).unwrap();
    assert_eq!(report.problems, [format!("{arn} is above its family's count of 0")]);
    let told = report.to_string();
    assert!(
        told.contains("  1 cluster records") && told.contains("problem: ") && told.contains("longshore state restore")
    );
}

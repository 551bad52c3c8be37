//! `check` proves a store from its bytes: each flipped bit in what was answered is found, and a whole store stays unblamed.

use std::fs;
use std::path::PathBuf;

use telemetry::logs::check::check;

use super::*;

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path(), ending));
        } else if entry.path().display().to_string().ends_with(ending) {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

#[test]
fn every_flipped_bit_of_a_block_is_found_and_nothing_else_is_blamed() {
    let dir = tempdir();
    let store = with_stream(dir.path(), &tiny());
    for number in 0..12 {
        put(&store, "s", &[(NOW + number, &format!("event {number} with some words to it"))]);
    }
    run(store.checkpoint()).unwrap();
    let open = check(dir.path()).unwrap();
    assert!(open.problems.is_empty() && open.notes[0].contains("a server has the logs open"), "{open:?}");
    drop(store);
    let whole = check(dir.path()).unwrap();
    assert_eq!((whole.groups, whole.streams, whole.problems.len(), whole.notes.len()), (1, 1, 0, 0), "{whole:?}");
    assert!(whole.events > 0);
    let segments = files(dir.path(), ".seg");
    assert!(!segments.is_empty());
    // The first block; behind the last one may stand an index, whose loss costs a walk and nothing else.
    let bytes = fs::read(&segments[0]).unwrap();
    let first = 44 + usize::try_from(u32::from_le_bytes(bytes[24..28].try_into().unwrap())).unwrap();
    for at in 0..first {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&segments[0], flipped).unwrap();
        let report = check(dir.path()).unwrap();
        assert!(report.problems.iter().any(|p| p.contains(".seg of stream s")), "the flip at {at}: {report:?}");
    }
    fs::write(&segments[0], &bytes[..first - 1]).unwrap();
    assert_eq!(check(dir.path()).unwrap().problems.len(), 1, "a segment that was cut");
    fs::remove_file(&segments[0]).unwrap();
    assert_eq!(check(dir.path()).unwrap().problems.len(), 1, "a segment that is gone");
    fs::write(&segments[0], &bytes).unwrap();
    assert_eq!(check(dir.path()).unwrap(), whole);
}

#[test]
fn a_store_that_was_never_made_is_sound() {
    assert_eq!(check(&tempdir().path().join("nothing")).unwrap(), Default::default());
}

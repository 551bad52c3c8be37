//! `longshore state check` against stores that are whole, damaged, and not there.

use crate::harness::{Cluster, longshore};
use serde_json::json;
use std::{fs, path::Path, process::Command};

/// A copy of a data directory's state and logs, to be damaged.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Flips one bit where `words` are.
fn flip(file: &Path, words: &str) {
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.windows(words.len()).position(|w| w == words.as_bytes()).expect("the words are in the file");
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn cut(file: &Path, left: impl Fn(usize) -> usize) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..left(bytes.len())]).unwrap();
}

#[test]
fn a_check_proves_what_is_whole_and_names_what_is_not() {
    let mut cluster = Cluster::start(0);
    let api = cluster.api();
    api.ecs("CreateCluster", &json!({"clusterName": "proved"}));
    cluster.define("proved", "exit 0");
    api.logs("CreateLogGroup", &json!({"logGroupName": "proved"}));
    api.logs("CreateLogStream", &json!({"logGroupName": "proved", "logStreamName": "s"}));
    for message in ["first words", "last words"] {
        let events = json!([{"timestamp": jiff::Timestamp::now().as_millisecond(), "message": message}]);
        api.logs("PutLogEvents", &json!({"logGroupName": "proved", "logStreamName": "s", "logEvents": events}));
    }
    let (data, copied, target) = (cluster.data(), cluster.path("copy"), cluster.path("damaged"));
    let check = |dir: &Path| {
        let out = Command::new(longshore()).args(["state", "check", "--data-dir"]).arg(dir).output().unwrap();
        let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (out.status.code().unwrap(), said)
    };
    let (code, said) = check(&data);
    assert!(code == 0 && said.contains("checked when it is stopped"), "while the server runs: {code} {said}");
    assert!(said.contains("Checked: the state, the folders of local instances."), "while the server runs: {said}");
    // As kill -9 leaves it: the journal still has what was put.
    copy(&data.join("logs"), &copied.join("logs"));
    assert!(cluster.stop_server());
    copy(&data.join("state"), &copied.join("state"));

    let damaged = |what: &str, damage: &dyn Fn(&Path), want: i32, words: &str| {
        copy(&copied, &target);
        damage(&target);
        let (code, said) = check(&target);
        assert!(code == want && said.contains(words), "{what}: {code} {said}");
        fs::remove_dir_all(&target).unwrap();
    };
    let journal = |dir: &Path| {
        let mut names = fs::read_dir(dir.join("logs")).unwrap().flatten().map(|e| e.path());
        names.find(|p| p.display().to_string().contains("journal-")).unwrap()
    };
    damaged("nothing", &|_| {}, 0, "The state is sound.");
    let all = "Checked: the state, every block of the log store, the folders of local instances.";
    damaged("nothing", &|_| {}, 0, all);
    let flipped = |dir: &Path| flip(&dir.join("state/state.db"), "cluster/proved");
    damaged("a flipped bit", &flipped, 1, "does not match its checksum");
    damaged("half a store", &|dir| cut(&dir.join("state/state.db"), |all| all / 2), 1, "PROBLEM: ");
    damaged("no store", &|dir| fs::remove_dir_all(dir.join("state")).unwrap(), 2, "could not be checked");
    damaged("a stranger", &|dir| fs::write(dir.join("state/x.partial"), "").unwrap(), 0, "x.partial is no file of");
    let orphan = |dir: &Path| fs::create_dir_all(dir.join("instances/i-0123")).unwrap();
    damaged("an orphan", &orphan, 0, "instances/i-0123 belongs to no instance");
    damaged("flipped words", &|dir| flip(&journal(dir), "first words"), 1, "records follow the damage");
    damaged("a torn journal", &|dir| cut(&journal(dir), |all| all - 1), 0, "a write that was never answered");
}

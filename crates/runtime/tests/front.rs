//! The program that stands before runc and its shim: what it does itself, and that it leaves all else to them. Its PATH holds
//! nothing but itself where it must not have asked anybody.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use rustix::fs::{CWD, FileType, Mode};

const FRONT: &str = concat!(env!("OUT_DIR"), "/runc-front");
/// What it ends with if there is no other program of its name.
const NOBODY_ELSE: i32 = 127;

fn front(name: &str, path: &str, words: &[&str]) -> Output {
    Command::new(FRONT).arg0(name).args(words).env("PATH", path).output().unwrap()
}

/// A container as runc leaves it after `create`: its state, and a process that waits at the pipe.
struct Created {
    root: tempfile::TempDir,
    process: Child,
}

impl Created {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("one");
        fs::create_dir(&dir).unwrap();
        rustix::fs::mknodat(CWD, dir.join("exec.fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let process = Command::new("sleep").arg("1000").spawn().unwrap();
        let state = format!("{{\"id\":\"one\",\"init_process_pid\":{},\"init_process_start\":1}}", process.id());
        fs::write(dir.join("state.json"), state).unwrap();
        Self { root, process }
    }

    fn pipe(&self) -> PathBuf {
        self.root.path().join("one/exec.fifo")
    }

    fn start(&self, path: &str) -> Output {
        let root = self.root.path().to_str().unwrap();
        front("runc", path, &["--root", root, "--log", "/dev/null", "--log-format", "json", "start", "one"])
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_waiting_process_is_told_to_go_on() {
    let created = Created::new();
    let pipe = created.pipe();
    let waits = std::thread::spawn(move || fs::OpenOptions::new().write(true).open(pipe).unwrap().write_all(b"0"));
    let started = created.start("/nowhere");
    waits.join().unwrap().unwrap();
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    assert!(!created.pipe().exists());
    assert_eq!(created.start("/nowhere").status.code(), Some(NOBODY_ELSE), "a second start is for runc to refuse");
}

#[test]
fn what_cannot_be_started_is_left_to_runc() {
    let mut created = Created::new();
    created.process.kill().unwrap();
    created.process.wait().unwrap();
    assert_eq!(created.start("/nowhere").status.code(), Some(NOBODY_ELSE));
    assert!(created.pipe().exists());

    let path = std::env::var_os("PATH").unwrap().into_string().unwrap() + ":/usr/sbin:/sbin";
    let version = front("runc", &path, &["--version"]);
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("runc version"), "{version:?}");
    let root = created.root.path().to_str().unwrap();
    let absent = ["--root", root, "--log", "/dev/null", "--log-format", "json", "start", "absent"];
    let absent = front("runc", &path, &absent);
    assert!(String::from_utf8_lossy(&absent.stderr).contains("does not exist"), "{absent:?}");
}

#[test]
fn a_shim_that_left_nothing_needs_no_clearing() {
    let bundle = tempfile::tempdir().unwrap();
    fs::create_dir(bundle.path().join("rootfs")).unwrap();
    fs::write(bundle.path().join("init.pid"), "300").unwrap();
    let namespace = format!("front-test-{}", std::process::id());
    let place = bundle.path().to_str().unwrap();
    let words = ["-namespace", &namespace, "-address", "/a", "-id", "one", "-bundle", place, "delete"];
    let delete = || front("containerd-shim-runc-v2", "/nowhere", &words);
    let answer = delete();
    assert!(answer.status.success(), "{answer:?}");
    // Fields 1 (pid 300) and 2 (status 137) as varints, 3 (a time) as a message of its length.
    assert_eq!(answer.stdout[..7], [0x08, 0xac, 0x02, 0x10, 0x89, 0x01, 0x1a]);
    assert_eq!(usize::from(answer.stdout[7]), answer.stdout.len() - 8);

    let state = Path::new("/run/containerd/runc").join(&namespace);
    fs::create_dir_all(state.join("one")).unwrap();
    let left = delete();
    fs::remove_dir_all(state).unwrap();
    assert_eq!(left.status.code(), Some(NOBODY_ELSE), "runc still has something of it");
    fs::remove_file(bundle.path().join("init.pid")).unwrap();
    assert_eq!(delete().status.code(), Some(NOBODY_ELSE), "it never came so far");
}

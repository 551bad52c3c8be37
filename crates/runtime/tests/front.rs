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

/// A bundle as containerd makes one, and a shim that writes down how it was run.
fn start_shim(document: &str, known: &str) -> (tempfile::TempDir, Output) {
    let bundle = tempfile::tempdir().unwrap();
    fs::write(bundle.path().join("config.json"), document).unwrap();
    let programs = bundle.path().join("bin");
    fs::create_dir(&programs).unwrap();
    let shim = programs.join("containerd-shim-runc-v2");
    let told =
        "echo \"$* $GOMAXPROCS $(cat /proc/self/oom_score_adj) $(readlink /proc/self/fd/3)\" >.told; mv .told told";
    fs::write(&shim, format!("#!/bin/sh\n[ \"$9\" = start ] && exit 9\n{told}\n")).unwrap();
    fs::set_permissions(&shim, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let namespace = format!("front-test-{}", std::process::id());
    let words = ["-namespace", &namespace, "-address", "/a", "-publish-binary", "/c", "-id", document, "start"];
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let output = Command::new(FRONT)
        .arg0("containerd-shim-runc-v2")
        .args(words)
        .current_dir(bundle.path())
        .env("PATH", path)
        .env("LONGSHORE_SHIM_START", known)
        .env("GOMAXPROCS", "2")
        .output()
        .unwrap();
    (bundle, output)
}

#[test]
fn a_shim_is_run_with_its_socket() {
    let (bundle, started) = start_shim("{}", "1");
    assert!(started.status.success(), "{started:?}");
    let address = String::from_utf8(started.stdout).unwrap();
    assert_eq!(fs::read_to_string(bundle.path().join("address")).unwrap(), address);
    let socket = Path::new(address.strip_prefix("unix://").unwrap());
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(socket).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let effects = effects::Effects::real();
    let deadline = effects.monotonic() + std::time::Duration::from_secs(60);
    let told = loop {
        if let Ok(told) = fs::read_to_string(bundle.path().join("told")) {
            break told;
        }
        assert!(effects.monotonic() < deadline, "the shim does not say how it was run");
        std::thread::yield_now();
    };
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    let (flags, rest) = told.split_once(" 4 ").unwrap();
    let namespace = std::process::id();
    assert_eq!(flags, format!("-namespace front-test-{namespace} -id {{}} -address /a"));
    assert!(rest.starts_with(&format!("{} socket:[", (own + 1).min(1000))), "{told}");
    // One that is there is not taken from whoever has it.
    let (_bundle, again) = start_shim("{}", "1");
    assert_eq!(again.status.code(), Some(9), "{again:?}");
    // It is cleared away once nobody listens at it, as after a kill.
    let namespace = format!("front-test-{namespace}");
    let delete = || {
        let words = ["-namespace", &namespace, "-address", "/a", "-id", "{}", "-bundle", "/nowhere", "delete"];
        front("containerd-shim-runc-v2", "/nowhere", &words)
    };
    while std::os::unix::net::UnixStream::connect(socket).is_ok() {
        assert!(effects.monotonic() < deadline, "the shim does not end");
        std::thread::yield_now();
    }
    delete();
    assert!(!socket.exists());
    let _listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    delete();
    assert!(socket.exists());
    fs::remove_file(socket).unwrap();
}

#[test]
fn a_shim_that_is_started_another_way_is_left_to_itself() {
    let grouped = r#"{"annotations":{"io.kubernetes.cri.sandbox-id":"a"}}"#;
    for (document, known) in [("{ }", ""), (grouped, "1")] {
        let (bundle, started) = start_shim(document, known);
        assert_eq!(started.status.code(), Some(9), "{started:?}");
        assert!(!bundle.path().join("address").exists());
    }
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

/// Starts a shim whose bundle has this document, after somebody has handed this over for it; what the document is then.
fn fill(document: &str, handed: Option<&str>) -> (Option<i32>, String, u32) {
    use std::os::unix::fs::PermissionsExt;
    let (run, bundle) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(run.path().join("environment")).unwrap();
    if let Some(handed) = handed {
        fs::write(run.path().join("environment/one"), handed).unwrap();
    }
    let config = bundle.path().join("config.json");
    fs::write(&config, document).unwrap();
    let address = run.path().join("containerd.sock");
    let words =
        ["-namespace", "n", "-address", address.to_str().unwrap(), "-publish-binary", "/c", "-id", "one", "start"];
    let started = Command::new(FRONT)
        .arg0("containerd-shim-runc-v2")
        .args(words)
        .current_dir(bundle.path())
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    let mode = fs::metadata(&config).unwrap().permissions().mode() & 0o777;
    (started.status.code(), fs::read_to_string(config).unwrap(), mode)
}

#[test]
fn secrets_are_put_where_their_mark_is_and_nowhere_else() {
    let mark = "longshore-environment-00112233445566778899aabbccddeeff";
    let document = format!(r#"{{"process":{{"args":["\"{mark}\""],"env":["A=1","{mark}","B=2"]}}}}"#);
    let handed = format!("{mark}\n\"C=x\\n\\\"\",\"D={mark}\"");
    let (code, filled, mode) = fill(&document, Some(&handed));
    // Nobody else is there to go on.
    assert_eq!((code, mode), (Some(NOBODY_ELSE), 0o600));
    let env = format!(r#""env":["A=1","C=x\n\"","D={mark}","B=2"]"#);
    assert!(filled.contains(&env) && filled.contains(&format!(r#""args":["\"{mark}\""]"#)), "{filled}");
    // Nothing to be put anywhere.
    let plain = r#"{"process":{"env":["A=1"]}}"#;
    assert_eq!(fill(plain, None).1, plain);
    // Without its secrets it must not start.
    for (document, handed) in [(document.as_str(), None), (plain, Some(handed.as_str())), (&document, Some("rubbish"))]
    {
        let (code, left, _) = fill(document, handed);
        assert_eq!((code, left.as_str()), (Some(1), document));
    }
}

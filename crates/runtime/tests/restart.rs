//! containerd killed and started again: containers live on, ends in the gap are found with their true codes, the event
//! stream comes back, and whoever comes second adopts what is there.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use common::{Bench, event, exit_of};
use runtime::daemon::{DaemonConfig, ensure_containerd};
use runtime::{ContainerState, CreateError, Runtime, RuntimeError, RuntimeEvent, TerminalSize};
use rustix::process::{Pid, Signal, kill_process};

#[tokio::test]
async fn containerd_killed_and_restarted_loses_nothing() {
    let (bench, mut daemon, runtime) = Bench::ready().await;
    let mut events = runtime.watch();
    event(&mut events, |e| (e == RuntimeEvent::Connected).then_some(())).await;
    let gate = bench.dir().join("gate");
    std::fs::create_dir(&gate).unwrap();
    let wait = "while [ ! -e /gate/go ]; do sleep 0.05; done; echo gone; exit 42";
    for (id, script) in [("gap", wait), ("stays", "while true; do echo tick; sleep 0.1; done")] {
        let mut spec = bench.spec(id, script);
        spec.mounts.push(runtime::BindMount {
            source: gate.clone(),
            target: "/gate".into(),
            read_only: true,
            fill: None,
            as_is: false,
        });
        runtime.create(spec).await.unwrap();
        runtime.start(id).await.unwrap();
    }
    let pid = runtime.status("stays").await.unwrap().unwrap().pid;

    let process = rustix::process::Pid::from_raw(i32::try_from(daemon.pid).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    bench.until("containerd's end", || daemon.has_ended()).await;
    assert!(matches!(runtime.status("gap").await, Err(RuntimeError::Unavailable(_))));
    std::fs::write(gate.join("go"), "").unwrap();
    bench.wait_log("gap", "gone").await;
    let before = bench.logged("stays").len();
    bench.until("logs while containerd is dead", || bench.logged("stays").len() > before).await;

    // Who comes to its aid may see it killed once more.
    let program = bench.dir().join("killed-once");
    let script = "#!/bin/sh\n[ -e \"$0.done\" ] || { : >\"$0.done\"; kill -9 $$; }\nexec containerd \"$@\"\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = DaemonConfig { program, ..bench.daemon_config.clone() };
    let again = ensure_containerd(&config, &bench.effects).await.unwrap();
    assert!(!again.adopted);
    event(&mut events, |e| (e == RuntimeEvent::Connected).then_some(())).await;
    let gap = bench.stopped(&runtime, "gap").await;
    assert_eq!(gap.exit_code, Some(42));
    let listed = runtime.list(&BTreeMap::new()).await.unwrap();
    let found = |id: &str| listed.iter().find(|c| c.id == id).unwrap().status.clone();
    assert_eq!(found("gap"), gap);
    assert_eq!((found("stays").state, found("stays").pid), (ContainerState::Running, pid));

    // Events flow again, also for containers from before.
    runtime.signal("stays", libc::SIGKILL, true).await.unwrap();
    assert_eq!(exit_of(&mut events, "stays").await.0, 137);

    let adopted = ensure_containerd(&bench.daemon_config, &bench.effects).await.unwrap();
    assert!(adopted.adopted);
    assert_eq!(adopted.pid, again.pid);
    for id in ["gap", "stays"] {
        runtime.remove(id).await.unwrap();
    }
    bench.nothing_left().await;
    drop(adopted);
    again.stop(&bench.effects).await.unwrap();
    assert!(runtime.info().await.is_err());
}

#[tokio::test]
async fn containerd_killed_while_containers_are_made_leaves_nothing_half_made() {
    let (bench, mut daemon, runtime) = Bench::ready().await;
    let ids: Vec<String> = (0..6).map(|n| format!("c{n}")).collect();
    let one = |id: &String| {
        let (id, spec) = (id.clone(), bench.spec(id, "exit 4"));
        let runtime = &runtime;
        async move {
            runtime.create(spec).await?;
            runtime.start(&id).await
        }
    };
    // One after the other, so that the blow falls between or within any two steps.
    let making = async {
        let mut failures = Vec::new();
        for id in &ids {
            failures.extend(one(id).await.err());
        }
        failures
    };
    let blow = async {
        // A few of them are there, another is being made.
        bench.until("some containers", || bench.shims().len() >= 2).await;
        let process = rustix::process::Pid::from_raw(i32::try_from(daemon.pid).unwrap()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    };
    let (failures, ()) = futures::join!(making, blow);
    assert!(!failures.is_empty());
    for failure in failures {
        assert!(matches!(failure, CreateError::Runtime(RuntimeError::Unavailable(_))), "{failure:?}");
    }
    bench.until("containerd's end", || daemon.has_ended()).await;
    let again = ensure_containerd(&bench.daemon_config, &bench.effects).await.unwrap();
    for id in &ids {
        one(id).await.unwrap();
        assert_eq!(bench.stopped(&runtime, id).await.exit_code, Some(4));
        runtime.remove(id).await.unwrap();
    }
    bench.nothing_left().await;
    drop(again);
}

/// What there is of a container that its shim is only making, one after the other.
fn while_made(bench: &Bench, id: &str) -> [PathBuf; 3] {
    let bundle = bench.config.socket.parent().unwrap().join("state/io.containerd.runtime.v2.task");
    let runc = Path::new(common::RUNC_ROOT).join(&bench.config.namespace).join(id);
    [bundle.join(&bench.config.namespace).join(id).join("address"), runc.clone(), runc.join("state.json")]
}

#[tokio::test]
async fn a_shim_killed_while_it_makes_a_container_is_no_hindrance_to_the_next_one() {
    let (bench, daemon, runtime) = Bench::ready().await;
    for moment in 0..while_made(&bench, "").len() {
        let there = &while_made(&bench, "made")[moment];
        let blow = async {
            bench.until("what the blow falls behind", || there.exists()).await;
            for shim in bench.shims() {
                let _ = kill_process(Pid::from_raw(i32::try_from(shim).unwrap()).unwrap(), Signal::KILL);
            }
        };
        let made = async {
            let _ = runtime.create(bench.spec("made", "exit 4")).await;
        };
        futures::join!(made, blow);
        runtime.remove("made").await.unwrap();
        bench.nothing_left().await;
        let (code, _) = bench.run(&runtime, bench.spec("made", "exit 4")).await;
        assert_eq!(code, Some(4), "killed behind {}", there.display());
        runtime.remove("made").await.unwrap();
        bench.nothing_left().await;
    }
    drop(daemon);
}

/// Ends what is left of a bench's shims, also when its test fails.
struct Shims<'a> {
    bench: &'a Bench,
    /// Where they listen; a killed one does not take its socket along.
    sockets: Vec<String>,
}

impl Drop for Shims<'_> {
    fn drop(&mut self) {
        for pid in self.bench.shims() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        for socket in &self.sockets {
            let _ = std::fs::remove_file(socket);
        }
    }
}

#[tokio::test]
async fn a_shim_that_lost_its_task_goes_with_its_container_and_no_other() {
    let (bench, daemon, runtime) = Bench::new().await;
    let mut shims = Shims { bench: &bench, sockets: Vec::new() };
    let mut logs = Vec::new();
    // Started as containerd starts them; containerd knows nothing of them, as after a kill in the middle.
    for id in ["lost", "lost-2"] {
        let bundle = bench.dir().join(id);
        std::fs::create_dir(&bundle).unwrap();
        std::fs::write(bundle.join("config.json"), r#"{"annotations":{}}"#).unwrap();
        // Their log's other end, without which they do not begin.
        let log = bundle.join("log");
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &log, fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        logs.push(std::fs::OpenOptions::new().read(true).write(true).open(log).unwrap());
        let socket = bench.config.socket.to_str().unwrap();
        let started = std::process::Command::new("containerd-shim-runc-v2")
            .args(["-namespace", &bench.config.namespace, "-id", id, "-address", socket, "start"])
            .env("TTRPC_ADDRESS", format!("{socket}.ttrpc"))
            .current_dir(&bundle)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let told = String::from_utf8(started.stdout).unwrap();
        shims.sockets.push(told.trim().trim_start_matches("unix://").to_owned());
    }
    bench.until("both shims", || bench.shims().len() == 2).await;
    runtime.remove("lost").await.unwrap();
    bench.until("the end of the one", || bench.shims().len() == 1).await;
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", bench.shims()[0])).unwrap();
    assert!(line.contains("\0lost-2\0"), "{line:?}");
    runtime.remove("lost-2").await.unwrap();
    bench.nothing_left().await;
    drop(daemon);
}

/// Whether there is a process whose words, each with a zero after it, are such.
fn there_is(such: impl Fn(&str) -> bool) -> bool {
    let words = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| such(&String::from_utf8_lossy(&words(entry))))
}

#[tokio::test]
async fn a_terminal_whose_holder_dies_while_it_opens_is_ended_by_the_next_one() {
    let (bench, _daemon, runtime) = Bench::ready().await;
    runtime.create(bench.spec("one", "sleep 1000")).await.unwrap();
    runtime.start("one").await.unwrap();
    let shim = Pid::from_raw(i32::try_from(bench.shims()[0]).unwrap()).unwrap();
    let words = ["sleep".to_owned(), (1_000_000 + std::process::id()).to_string()];
    let runs = || there_is(|line| line == format!("{}\0{}\0", words[0], words[1]));

    // The shim is held where it has called runc, so that the process runs and its terminal is not joined to the pipes yet.
    let called = || there_is(|line| line.contains(&bench.config.namespace) && line.contains("\0exec\0"));
    tokio::select! {
        _ = runtime.open_terminal("one", "window", &words, TerminalSize { columns: 80, rows: 24 }) => panic!("it opened"),
        () = async {
            bench.until("the call", called).await;
            kill_process(shim, Signal::STOP).unwrap();
            bench.until("the command", runs).await;
        } => {}
    }
    kill_process(shim, Signal::CONT).unwrap();

    let next = runtime::Containerd::connect(bench.config.clone(), bench.effects.clone()).await.unwrap();
    assert!(!runs());
    next.signal("one", libc::SIGKILL, true).await.unwrap();
    bench.stopped(&next, "one").await;
    next.remove("one").await.unwrap();
    bench.nothing_left().await;
}

//! Containers on a real containerd: their whole life, what they see inside, and what is left after them (nothing).
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use common::{Bench, event, exit_of};
use runtime::{
    BindMount, ContainerSpec, ContainerState, CreateError, ExecEnd, Resources, Runtime, RuntimeError, RuntimeEvent,
    Tmpfs, Ulimit,
};

#[tokio::test]
async fn a_container_lives_logs_and_leaves_nothing() {
    let (bench, _daemon, runtime) = Bench::ready().await;
    assert!(runtime.info().await.unwrap().version.starts_with(char::is_numeric));
    let mut events = runtime.watch();
    event(&mut events, |e| (e == RuntimeEvent::Connected).then_some(())).await;

    let spec = bench.spec("one", "echo to stdout; echo to stderr >&2; read x < /dev/null; exit 7");
    runtime.create(spec.clone()).await.unwrap();
    runtime.create(spec).await.unwrap();
    let status = runtime.status("one").await.unwrap().unwrap();
    assert_eq!((status.state, status.exit_code), (ContainerState::Created, None));
    assert!(status.pid > 0);
    let pid = runtime.start("one").await.unwrap();
    assert_eq!(pid, status.pid);
    event(&mut events, |e| matches!(e, RuntimeEvent::Started { id, pid: p } if id == "one" && p == pid).then_some(()))
        .await;
    let (code, at) = exit_of(&mut events, "one").await;
    assert_eq!(code, 7);
    let status = runtime.status("one").await.unwrap().unwrap();
    assert_eq!((status.state, status.exit_code, status.oom_killed), (ContainerState::Stopped, Some(7), false));
    assert_eq!(status.exited_at, at);
    let mut lines: Vec<String> = bench.all_logged("one").await.lines().map(String::from).collect();
    lines.sort();
    assert_eq!(lines, ["to stderr", "to stdout"]);

    // Started again by somebody who does not know: not an error, and not run twice.
    runtime.start("one").await.unwrap();
    runtime.signal("one", libc::SIGTERM, false).await.unwrap();
    let yes = BTreeMap::from([("test".to_owned(), "yes".to_owned())]);
    let listed = runtime.list(&yes).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].id.as_str(), &listed[0].labels, &listed[0].status), ("one", &yes, &status));
    assert!(runtime.list(&BTreeMap::from([("test".to_owned(), "no".to_owned())])).await.unwrap().is_empty());

    runtime.remove("one").await.unwrap();
    event(&mut events, |e| matches!(e, RuntimeEvent::Deleted { id } if id == "one").then_some(())).await;
    runtime.remove("one").await.unwrap();
    runtime.signal("one", libc::SIGKILL, true).await.unwrap();
    assert_eq!(runtime.status("one").await.unwrap(), None);
    assert!(matches!(runtime.start("one").await, Err(CreateError::Runtime(_))));
    bench.nothing_left().await;
}

#[tokio::test]
async fn what_has_ended_is_run_again_over_what_it_has_written() {
    let (bench, _daemon, runtime) = Bench::ready().await;
    let mut events = runtime.watch();
    event(&mut events, |e| (e == RuntimeEvent::Connected).then_some(())).await;
    let mut spec = bench.spec("one", "echo x >> /runs; echo run=$(wc -l < /runs) $HIDDEN; exit 7");
    spec.secret_env.0.push("HIDDEN=given".into());
    runtime.create(spec.clone()).await.unwrap();
    for run in 1..4 {
        // Until it was started, nothing is to be done, and none that runs is disturbed.
        runtime.renew(spec.clone()).await.unwrap();
        let pid = runtime.start("one").await.unwrap();
        runtime.renew(spec.clone()).await.unwrap();
        let (code, _) = exit_of(&mut events, "one").await;
        assert_eq!(code, 7);
        bench.wait_log("one", &format!("run={run} given")).await;
        runtime.renew(spec.clone()).await.unwrap();
        let status = runtime.status("one").await.unwrap().unwrap();
        assert_eq!((status.state, status.exit_code), (ContainerState::Created, None));
        assert_ne!(status.pid, pid);
    }
    runtime.remove("one").await.unwrap();
    assert!(runtime.renew(spec).await.is_err(), "what was never made is not made by it");
    bench.nothing_left().await;
}

/// What runc knows of a container whose process was killed and which nobody removed.
fn created_by_runc(bench: &Bench, id: &str) {
    let bundle = bench.dir().join("bundle");
    std::fs::create_dir_all(bundle.join("rootfs")).unwrap();
    std::fs::copy("/usr/bin/busybox", bundle.join("rootfs/busybox")).unwrap();
    let runc = |words: &[&str]| {
        let root = format!("{}/{}", common::RUNC_ROOT, bench.config.namespace);
        let mut command = std::process::Command::new("runc");
        let command = command.args(["--root", &root]).args(words).current_dir(&bundle);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(quiet.status().unwrap().success(), "runc {words:?}");
    };
    runc(&["spec"]);
    let document = bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&document).unwrap()).unwrap();
    spec["root"]["readonly"] = false.into();
    spec["process"]["args"] = serde_json::json!(["/busybox", "sleep", "1000"]);
    spec["process"]["terminal"] = false.into();
    spec["linux"]["cgroupsPath"] = format!("{}/runc/{id}", bench.top).into();
    std::fs::write(&document, spec.to_string()).unwrap();
    runc(&["create", id]);
    runc(&["kill", id, "KILL"]);
}

#[tokio::test]
async fn removal_works_from_every_state() {
    let (bench, _daemon, runtime) = Bench::ready().await;
    // Created, running, and running with a deaf process.
    runtime.create(bench.spec("created", "true")).await.unwrap();
    runtime.create(bench.spec("running", "sleep 1000")).await.unwrap();
    runtime.start("running").await.unwrap();
    runtime
        .create(bench.spec("deaf", "trap '' TERM; echo ready; while true; do sleep 1000 & wait; done"))
        .await
        .unwrap();
    runtime.start("deaf").await.unwrap();
    bench.wait_log("deaf", "ready").await;
    runtime.signal("deaf", libc::SIGTERM, false).await.unwrap();
    let stats = runtime.stats("deaf").await.unwrap().unwrap();
    assert!(stats.memory_bytes > 0 && stats.pids >= 1 && stats.cpu.as_nanos() > 0, "{stats:?}");
    for id in ["created", "running", "deaf"] {
        runtime.remove(id).await.unwrap();
    }
    bench.nothing_left().await;

    // Its shim killed: the process is gone without telling its code.
    runtime.create(bench.spec("orphan", "sleep 1000")).await.unwrap();
    runtime.start("orphan").await.unwrap();
    let socket = bench.shim_socket("orphan");
    assert!(socket.exists());
    for shim in bench.shims() {
        let pid = rustix::process::Pid::from_raw(i32::try_from(shim).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    let status = bench.stopped(&runtime, "orphan").await;
    assert_eq!((status.exit_code, status.pid), (None, 0));
    runtime.remove("orphan").await.unwrap();
    bench.nothing_left().await;
    assert!(!socket.exists());

    // Only what runc keeps, as when its shim is killed before runc has made the container.
    created_by_runc(&bench, "known");
    runtime.remove("known").await.unwrap();
    bench.nothing_left().await;
    let (code, _) = bench.run(&runtime, bench.spec("known", "exit 3")).await;
    assert_eq!(code, Some(3));
    runtime.remove("known").await.unwrap();
    bench.nothing_left().await;

    // Only a filesystem, as after a crash in the middle of creating.
    let image = runtime.image(&bench.image).await.unwrap().unwrap();
    bench.ctr(&format!("snapshots prepare half {}", image.chain_id));
    let (code, _) = bench.run(&runtime, bench.spec("half", "exit 3")).await;
    assert_eq!(code, Some(3));
    runtime.remove("half").await.unwrap();
    bench.nothing_left().await;
}

#[tokio::test]
async fn memory_limits_of_container_and_task_kill_and_are_told() {
    let (bench, _daemon, runtime) = Bench::ready().await;
    let mut events = runtime.watch();
    event(&mut events, |e| (e == RuntimeEvent::Connected).then_some(())).await;
    let eat = "x=$(yes | head -c 100000000); echo survived";
    let own = ContainerSpec {
        resources: Resources { memory_limit: Some(24 << 20), ..Resources::default() },
        ..bench.spec("own", &format!("{eat}; exit 0"))
    };
    let (code, log) = bench.run(&runtime, own).await;
    assert_eq!((code, log.contains("survived")), (Some(137), false));
    event(&mut events, |e| matches!(e, RuntimeEvent::Oom { id } if id == "own").then_some(())).await;
    assert!(runtime.status("own").await.unwrap().unwrap().oom_killed);

    // Without a limit of its own it dies on the task's; its limited sibling lives.
    let task = format!("{}/c/task", bench.top);
    let limit = Resources { memory_limit: Some(48 << 20), ..Resources::default() };
    bench.cgroups.ensure(&task, &limit).unwrap();
    let inside =
        |id: &str, script: &str| ContainerSpec { cgroup_path: format!("{task}/{id}"), ..bench.spec(id, script) };
    runtime.create(inside("sibling", "sleep 1000")).await.unwrap();
    runtime.start("sibling").await.unwrap();
    let (code, _) = bench.run(&runtime, inside("greedy", eat)).await;
    assert_eq!(code, Some(137));
    assert!(runtime.status("greedy").await.unwrap().unwrap().oom_killed);
    let sibling = runtime.status("sibling").await.unwrap().unwrap();
    assert_eq!((sibling.state, sibling.oom_killed), (ContainerState::Running, false));
    for id in ["own", "sibling", "greedy"] {
        runtime.remove(id).await.unwrap();
    }
    bench.cgroups.remove(&task, &bench.effects).await.unwrap();
    bench.nothing_left().await;
}

#[tokio::test]
async fn twenty_at_once_all_start_and_go() {
    let (bench, _daemon, runtime) = Bench::ready().await;
    let one = |n: usize| {
        let (bench, runtime) = (&bench, &runtime);
        async move {
            let id = format!("p{n}");
            let (code, log) = bench.run(runtime, bench.spec(&id, &format!("echo {n}; exit {n}"))).await;
            runtime.remove(&id).await.unwrap();
            (code, log)
        }
    };
    let outcomes = futures::future::join_all((0..20).map(one)).await;
    for (n, (code, log)) in outcomes.into_iter().enumerate() {
        assert_eq!((code, log), (Some(u32::try_from(n).unwrap()), format!("{n}\n")));
    }
    bench.nothing_left().await;
}

#[tokio::test]
async fn what_was_asked_for_is_seen_inside() {
    let (bench, _daemon, runtime) = Bench::ready().await;
    let hosts = bench.dir().join("hosts");
    std::fs::write(&hosts, "10.1.2.3 web\n").unwrap();
    let script = "id; echo cwd=$(pwd); echo home=$HOME host=$(hostname) var=$VAR; \
        grep CapBnd /proc/self/status; grep Seccomp: /proc/self/status; echo nofile=$(ulimit -n) hard=$(ulimit -Hn); \
        touch /x || echo readonly; touch /scratch/x && echo scratch; df -k /scratch | tail -1; df -k /dev/shm | tail -1; \
        cat /etc/hosts; touch /etc/hosts || echo hosts-readonly; ls /proc/1/root/sys/firmware | wc -l; \
        cat /sys/fs/cgroup/pids/pids.max; ip link; mount -t tmpfs none /tmp || echo nomount";
    let spec = ContainerSpec {
        user: "app".into(),
        cwd: "/home/app".into(),
        hostname: "inside".into(),
        env: vec!["PATH=/bin".into(), "VAR=a b".into()],
        readonly_rootfs: true,
        cap_add: vec!["NET_ADMIN".into()],
        cap_drop: vec!["ALL".into()],
        ulimits: vec![Ulimit { name: "nofile".into(), soft: 123, hard: 456 }],
        mounts: vec![BindMount {
            source: hosts,
            target: "/etc/hosts".into(),
            read_only: true,
            fill: None,
            as_is: false,
        }],
        tmpfs: vec![Tmpfs { target: "/scratch".into(), size: Some(2 << 20), options: vec!["mode=1777".into()] }],
        shm_size: Some(3 << 20),
        resources: Resources { pids_limit: Some(77), ..Resources::default() },
        ..bench.spec("look", script)
    };
    let (code, log) = bench.run(&runtime, spec).await;
    assert_eq!(code, Some(0), "{log}");
    for want in [
        "uid=1000(app) gid=1001(app) groups=27(video),1001(app)",
        "cwd=/home/app",
        "home=/home/app host=inside var=a b",
        "CapBnd:\t0000000000001000",
        "Seccomp:\t2",
        "nofile=123 hard=456",
        "readonly",
        "\nscratch\n",
        " 2048 ",
        " 3072 ",
        "10.1.2.3 web",
        "hosts-readonly",
        "\n77\n",
        "lo: ",
        "nomount",
    ] {
        assert!(log.contains(want), "no {want:?} in:\n{log}");
    }
    assert!(!log.contains("eth0"), "{log}");

    let script = "id -u; grep -E 'CapEff|Seccomp:' /proc/self/status; ls /dev/loop-control /dev/fuse 2>/dev/null; \
        mkdir /m && mount -t tmpfs none /m && echo mounted";
    let (code, log) = bench.run(&runtime, ContainerSpec { privileged: true, ..bench.spec("priv", script) }).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("Seccomp:\t0") && log.contains("mounted"), "{log}");
    assert!(!log.contains("CapEff:\t0000000000000000"), "{log}");
    for id in ["look", "priv"] {
        runtime.remove(id).await.unwrap();
    }
    bench.nothing_left().await;
}

#[tokio::test]
async fn init_reaps_forwards_and_tells_the_code() {
    let (bench, _daemon, runtime) = Bench::ready().await;
    let init = |id: &str, script: &str| ContainerSpec { init: true, ..bench.spec(id, script) };
    let (code, log) = bench.run(&runtime, init("plain", "echo pid $$; head -c 9 /proc/1/cmdline; exit 5")).await;
    assert_eq!(code, Some(5), "{log}");
    assert!(log.contains("/dev/init") && !log.contains("pid 1\n"), "{log}");

    runtime
        .create(init("term", "trap 'echo got; exit 9' TERM; echo ready; while true; do sleep 1; done"))
        .await
        .unwrap();
    runtime.start("term").await.unwrap();
    bench.wait_log("term", "ready").await;
    runtime.signal("term", libc::SIGTERM, false).await.unwrap();
    assert_eq!(bench.stopped(&runtime, "term").await.exit_code, Some(9));
    bench.wait_log("term", "got").await;

    // Killed by a signal: 128 plus its number. Without a handler pid 1 would not even notice.
    // Once its child says something init is ready; before that the kernel drops signals to a first process.
    runtime.create(init("bare", "echo ready; exec sleep 1000")).await.unwrap();
    runtime.start("bare").await.unwrap();
    bench.wait_log("bare", "ready").await;
    runtime.signal("bare", libc::SIGTERM, false).await.unwrap();
    assert_eq!(bench.stopped(&runtime, "bare").await.exit_code, Some(143));

    // Orphans do not stay as zombies.
    let orphans = "for i in 1 2 3; do (true & true &) ; done; sleep 1; ps -o stat | grep -c Z";
    let (_, log) = bench.run(&runtime, init("orphans", orphans)).await;
    assert_eq!(log.trim(), "0");

    let missing = ContainerSpec { args: vec!["/nope".into()], ..init("missing", "") };
    let (code, _) = bench.run(&runtime, missing).await;
    assert_eq!(code, Some(127));
    for id in ["plain", "term", "bare", "orphans", "missing"] {
        runtime.remove(id).await.unwrap();
    }
    bench.nothing_left().await;
}

#[tokio::test]
async fn what_cannot_be_created_says_why_and_leaves_nothing() {
    let (bench, _daemon, runtime) = Bench::ready().await;
    let spec = |id: &str| bench.spec(id, "true");
    let args = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let error = runtime.create(ContainerSpec { args: args(&["nope"]), ..spec("a") }).await.unwrap_err();
    assert!(
        matches!(&error, CreateError::CommandNotFound(t) if t.contains("executable file not found in $PATH")),
        "{error}"
    );
    let error = runtime.create(ContainerSpec { args: args(&["/etc/passwd"]), ..spec("b") }).await.unwrap_err();
    assert!(matches!(&error, CreateError::CommandNotFound(t) if t.contains("permission denied")), "{error}");
    let error = runtime.create(ContainerSpec { user: "nobody".into(), ..spec("c") }).await.unwrap_err();
    assert!(matches!(&error, CreateError::InvalidSpec(t) if t.contains("unable to find user nobody")), "{error}");
    let error = runtime.create(ContainerSpec { image: "127.0.0.1:1/x:y".into(), ..spec("d") }).await.unwrap_err();
    assert_eq!(error, CreateError::NoSuchImage("127.0.0.1:1/x:y".into()));
    let high = vec![Ulimit { name: "nofile".into(), soft: 1 << 19, hard: 1 << 19 }];
    let limited = !std::fs::read_to_string("/proc/self/status").unwrap().contains("CapEff:\t000001ffffffffff");
    let outcome = runtime.create(ContainerSpec { ulimits: high, ..spec("e") }).await;
    if limited {
        let error = outcome.unwrap_err();
        assert!(matches!(&error, CreateError::Ulimit { name, .. } if name == "nofile"), "{error}");
    } else {
        outcome.unwrap();
        runtime.remove("e").await.unwrap();
    }
    let network = runtime::Network::Path("/run/netns/does-not-exist".into());
    let error = runtime.create(ContainerSpec { network, ..spec("f") }).await.unwrap_err();
    assert!(matches!(&error, CreateError::Oci(t) if t.contains("does-not-exist")), "{error}");
    for id in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(runtime.status(id).await.unwrap(), None, "{id}");
    }
    bench.nothing_left().await;
}

#[tokio::test]
async fn a_further_process_runs_as_the_container_does_and_no_longer_than_it_may() {
    let (bench, _daemon, runtime) = Bench::ready().await;
    let mut events = runtime.watch();
    event(&mut events, |e| (e == RuntimeEvent::Connected).then_some(())).await;
    let mut spec = bench.spec("one", "sleep 1000");
    spec.user = "1000:1001".into();
    spec.cwd = "/srv/app".into();
    spec.env.push("WORD=of ours".into());
    spec.cap_drop = vec!["ALL".into()];
    // What is killed leaves nothing behind that has yet to be waited for.
    spec.init = true;
    let cgroup = spec.cgroup_path.clone();
    runtime.create(spec).await.unwrap();
    let soon = Duration::from_secs(60);
    let run = async |script: &str, limit: Duration| {
        runtime.exec("one", &["/bin/sh".into(), "-c".into(), script.into()], limit).await
    };
    runtime.start("one").await.unwrap();
    let check = async |script: &str, want: ExecEnd| assert_eq!(run(script, soon).await, Ok(want), "{script}");
    check("exit 0", ExecEnd::Exited(0)).await;
    check("exit 7", ExecEnd::Exited(7)).await;
    check("echo told && echo told >&2 && head -c 1000000 /dev/zero", ExecEnd::Exited(0)).await;
    check("kill -9 $$", ExecEnd::Exited(137)).await;
    let same = "test $(id -u):$(id -g) = 1000:1001 && test $PWD = /srv/app && test \"$WORD\" = 'of ours' \
        && test $(hostname) = one && grep -q 'CapEff:.0*$' /proc/self/status";
    check(same, ExecEnd::Exited(0)).await;
    let missing = runtime.exec("one", &["/nope".into()], soon).await.unwrap();
    assert!(matches!(&missing, ExecEnd::NotStarted(why) if why.contains("/nope")), "{missing:?}");

    // What hangs is killed with all it has started.
    let pids = || bench.cgroups.pids_current(&cgroup).unwrap();
    let before = pids();
    assert_eq!(run("sleep 1000; true", Duration::from_millis(300)).await, Ok(ExecEnd::TimedOut));
    bench.until("nothing of it is left", || pids() == before).await;

    // One whose caller went away is ended by the next one.
    tokio::select! {
        ended = run("sleep 1000", soon) => panic!("{ended:?}"),
        () = bench.until("it runs", || pids() > before) => {}
    }
    check("exit 3", ExecEnd::Exited(3)).await;

    // None of this was the end of the container.
    assert_eq!(runtime.status("one").await.unwrap().unwrap().state, ContainerState::Running);
    runtime.signal("one", libc::SIGKILL, true).await.unwrap();
    assert_eq!(exit_of(&mut events, "one").await.0, 137);
    bench.stopped(&runtime, "one").await;
    let ended = run("exit 0", soon).await;
    assert!(matches!(ended, Err(RuntimeError::NotFound(_))), "{ended:?}");
    runtime.remove("one").await.unwrap();
    assert!(matches!(run("exit 0", soon).await, Err(RuntimeError::NotFound(_))));
    bench.nothing_left().await;
}

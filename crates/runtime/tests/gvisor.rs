//! Containers of gVisor: as those of runc in all that is asked of them, on a kernel of their own, and nothing is left of them.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use common::{Bench, event, exit_of};
use runtime::{
    BindMount, ContainerSpec, ContainerState, CreateError, ExecEnd, Network, OciRuntime, Resources, Runtime,
    RuntimeEvent, Tmpfs, Ulimit,
};

fn gvisor(spec: ContainerSpec) -> ContainerSpec {
    ContainerSpec { oci_runtime: OciRuntime::Runsc, ..spec }
}

/// In a network of the test's own: a sandbox's socket is known there by the container's name alone.
async fn ready() -> (Bench, runtime::daemon::Daemon, runtime::Containerd) {
    testkit::isolate_network().unwrap();
    Bench::ready().await
}

/// That no sandbox and no record of one is left either.
async fn nothing_left(bench: &Bench) {
    bench.nothing_left().await;
    let root = format!("/run/containerd/runsc/{}", bench.config.namespace);
    let left: Vec<_> = std::fs::read_dir(&root).map_or_else(|_| Vec::new(), |d| d.map(|e| e.unwrap().path()).collect());
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
    std::fs::remove_dir_all(root).unwrap();
}

#[tokio::test]
async fn a_sandbox_is_asked_as_any_container_and_leaves_nothing() {
    let (bench, _daemon, runtime) = ready().await;
    let mut events = runtime.watch();
    event(&mut events, |e| (e == RuntimeEvent::Connected).then_some(())).await;
    let hosts = bench.dir().join("hosts");
    std::fs::write(&hosts, "10.1.2.3 web\n").unwrap();
    let shared = bench.dir().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let script = "id; echo cwd=$(pwd) host=$(hostname) var=$VAR; echo nofile=$(ulimit -n); touch /x || echo readonly; \
        touch /scratch/x && echo scratch; cat /etc/hosts; echo written > /shared/file; echo to stderr >&2; exit 7";
    let spec = gvisor(ContainerSpec {
        user: "app".into(),
        cwd: "/home/app".into(),
        hostname: "inside".into(),
        env: vec!["PATH=/bin".into(), "VAR=a b".into()],
        readonly_rootfs: true,
        cap_drop: vec!["ALL".into()],
        ulimits: vec![Ulimit { name: "nofile".into(), soft: 123, hard: 456 }],
        mounts: vec![
            BindMount { source: hosts, target: "/etc/hosts".into(), read_only: true, fill: None, as_is: false },
            BindMount { source: shared.clone(), target: "/shared".into(), read_only: false, fill: None, as_is: false },
        ],
        tmpfs: vec![Tmpfs { target: "/scratch".into(), size: Some(2 << 20), options: vec!["mode=1777".into()] }],
        ..bench.spec("look", script)
    });
    rustix::fs::chmod(&shared, rustix::fs::Mode::from_raw_mode(0o777)).unwrap();
    runtime.create(spec.clone()).await.unwrap();
    runtime.create(spec).await.unwrap();
    runtime.start("look").await.unwrap();
    assert_eq!(exit_of(&mut events, "look").await.0, 7);
    let log = bench.all_logged("look").await;
    for want in [
        "uid=1000(app) gid=1001(app) groups=",
        "27(video)",
        "cwd=/home/app host=inside var=a b",
        "nofile=123",
        "readonly",
        "\nscratch\n",
        "10.1.2.3 web",
        "to stderr",
    ] {
        assert!(log.contains(want), "no {want:?} in:\n{log}");
    }
    assert_eq!(std::fs::read_to_string(shared.join("file")).unwrap(), "written\n");
    let yes = BTreeMap::from([("test".to_owned(), "yes".to_owned())]);
    let listed = runtime.list(&yes).await.unwrap();
    assert_eq!((listed[0].labels.clone(), listed[0].status.exit_code), (yes, Some(7)));

    // Its first process is asked to end by the signal that was named, and heard as 128 plus it where it is not caught.
    let caught = "trap 'echo got; exit 9' TERM; echo ready; while true; do sleep 0.1; done";
    runtime.create(gvisor(bench.spec("term", caught))).await.unwrap();
    runtime.start("term").await.unwrap();
    bench.wait_log("term", "ready").await;
    runtime.signal("term", libc::SIGTERM, false).await.unwrap();
    assert_eq!(bench.stopped(&runtime, "term").await.exit_code, Some(9));
    bench.wait_log("term", "got").await;
    let init = ContainerSpec { init: true, ..bench.spec("init", "echo ready; exec sleep 1000") };
    runtime.create(gvisor(init)).await.unwrap();
    runtime.start("init").await.unwrap();
    bench.wait_log("init", "ready").await;
    runtime.signal("init", libc::SIGTERM, false).await.unwrap();
    assert_eq!(bench.stopped(&runtime, "init").await.exit_code, Some(143));

    for id in ["look", "term", "init"] {
        runtime.remove(id).await.unwrap();
    }
    let refused = ContainerSpec { privileged: true, ..bench.spec("privileged", "true") };
    assert!(matches!(runtime.create(gvisor(refused)).await, Err(CreateError::InvalidSpec(_))));
    let missing = ContainerSpec { args: vec!["/nope".into()], ..bench.spec("missing", "") };
    let made = async {
        runtime.create(gvisor(missing)).await?;
        runtime.start("missing").await
    };
    let error = made.await.unwrap_err();
    assert!(error.to_string().contains("/nope"), "{error}");
    runtime.remove("missing").await.unwrap();
    nothing_left(&bench).await;
}

#[tokio::test]
async fn a_sandbox_shows_nothing_of_the_machine() {
    let (bench, _daemon, runtime) = ready().await;
    // Told apart from the machine's by what no other process has in its command line; the script only reckons it out.
    let mark = 1_000_000 + std::process::id();
    let mut outside = Command::new("sleep").arg(mark.to_string()).spawn().unwrap();
    let script = format!(
        "m=$(({} + 1)); echo kernel=$(busybox uname -r); cat /proc/version; for p in /proc/[0-9]*/cmdline; do \
         while read -r line; do :; done < $p; case \"$line\" in *$m*) echo other-process;; *{}*) echo own-process;; esac; done; \
         mkdir -p /m; mount -t tmpfs none /m && echo mounted; busybox mknod /disk b 254 0 && cat /disk > /dev/null && \
         echo read-disk; ping -c1 -W1 127.0.0.1 && echo raw-socket; cat /proc/kcore > /dev/null && echo read-kcore; \
         echo 1 > /proc/sys/kernel/panic && echo set-sysctl; kill -0 {pid} && echo other-seen; \
         test -e /proc/{pid} && echo other-listed; ls /run/containerd && echo machine-files; echo the-end",
        mark - 1,
        mark - 1,
        pid = outside.id(),
    );
    let (code, log) = bench.run(&runtime, gvisor(bench.spec("nosy", &script))).await;
    outside.kill().unwrap();
    outside.wait().unwrap();
    assert!(code == Some(0) && log.contains("the-end") && !log.contains("not found"), "{log}");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(log.contains("kernel=4.4.0"), "gVisor's own version: {log}");
    assert!(!log.contains(kernel.trim()) && log.contains("own-process"), "{log}");
    for told in [
        "other-process",
        "mounted",
        "read-disk",
        "raw-socket",
        "read-kcore",
        "set-sysctl",
        "other-seen",
        "other-listed",
        "machine-files",
    ] {
        assert!(!log.contains(told), "{told} in:\n{log}");
    }
    runtime.remove("nosy").await.unwrap();
    nothing_left(&bench).await;
}

#[tokio::test]
async fn limits_hold_around_sandboxes_and_lack_of_memory_is_told() {
    let (bench, _daemon, runtime) = ready().await;
    let mut events = runtime.watch();
    event(&mut events, |e| (e == RuntimeEvent::Connected).then_some(())).await;
    let eat = "busybox dd if=/dev/zero of=/dev/null bs=200M count=1 && echo survived";
    let own = ContainerSpec {
        resources: Resources { memory_limit: Some(64 << 20), ..Resources::default() },
        ..bench.spec("own", eat)
    };
    let (code, log) = bench.run(&runtime, gvisor(own)).await;
    assert_eq!((code, log.contains("survived")), (Some(137), false));
    event(&mut events, |e| matches!(e, RuntimeEvent::Oom { id } if id == "own").then_some(())).await;
    assert!(runtime.status("own").await.unwrap().unwrap().oom_killed);

    // Sandboxes of one task share its limit, and only the one that is too large dies.
    let task = format!("{}/c/task", bench.top);
    bench.cgroups.ensure(&task, &Resources { memory_limit: Some(128 << 20), ..Resources::default() }).unwrap();
    let inside = |id: &str, script: &str| {
        gvisor(ContainerSpec { cgroup_path: format!("{task}/{id}"), ..bench.spec(id, script) })
    };
    runtime.create(inside("sibling", "sleep 1000")).await.unwrap();
    runtime.start("sibling").await.unwrap();
    let (code, _) = bench.run(&runtime, inside("greedy", eat)).await;
    assert_eq!(code, Some(137));
    assert!(runtime.status("greedy").await.unwrap().unwrap().oom_killed);
    assert_eq!(runtime.status("sibling").await.unwrap().unwrap().state, ContainerState::Running);
    let stats = runtime.stats("sibling").await.unwrap().unwrap();
    assert!(stats.memory_bytes > 0 && stats.pids > 0, "{stats:?}");
    for id in ["own", "sibling", "greedy"] {
        runtime.remove(id).await.unwrap();
    }
    bench.cgroups.remove(&task, &bench.effects).await.unwrap();
    nothing_left(&bench).await;
}

#[tokio::test]
async fn checks_run_in_the_sandbox_and_what_hangs_is_ended_there() {
    let (bench, _daemon, runtime) = ready().await;
    runtime.create(gvisor(bench.spec("one", "sleep 1000"))).await.unwrap();
    runtime.start("one").await.unwrap();
    let run = async |script: &str, limit: u64| {
        let args = ["/bin/sh".into(), "-c".into(), script.to_owned()];
        runtime.exec("one", &args, Duration::from_secs(limit)).await
    };
    assert_eq!(run("uname -r | grep -q ^4.4.0", 60).await, Ok(ExecEnd::Exited(0)));
    assert_eq!(run("exit 7", 60).await, Ok(ExecEnd::Exited(7)));
    assert_eq!(run("echo told && echo told >&2", 60).await, Ok(ExecEnd::Exited(0)));
    let missing = runtime.exec("one", &["/nope".into()], Duration::from_secs(60)).await.unwrap();
    assert!(!matches!(missing, ExecEnd::Exited(0) | ExecEnd::TimedOut), "{missing:?}");
    assert_eq!(run("sleep 1234; true", 2).await, Ok(ExecEnd::TimedOut));
    assert_eq!(run("ps | grep -v grep | grep 'sleep 1234'", 60).await, Ok(ExecEnd::Exited(1)), "it runs on inside");
    assert_eq!(runtime.status("one").await.unwrap().unwrap().state, ContainerState::Running);
    runtime.remove("one").await.unwrap();
    nothing_left(&bench).await;
}

#[tokio::test]
async fn sandboxes_of_a_task_share_its_network() {
    let (bench, _daemon, runtime) = ready().await;
    let name = format!("lsgv-{}", std::process::id());
    let ip = |words: &str| {
        let words = words.replace("NS", &name);
        assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
    };
    ip("netns add NS");
    ip("-n NS link set lo up");
    ip("-n NS addr add 10.77.0.2/32 dev lo");
    let at = |spec: ContainerSpec| {
        gvisor(ContainerSpec { network: Network::Path(format!("/run/netns/{name}").into()), ..spec })
    };
    let serve = "busybox mkdir /srv; busybox dd if=/dev/zero of=/srv/big bs=1M count=30; busybox httpd -p 80 -h /srv && \
        echo ready; while true; do busybox sleep 0.2; done";
    runtime.create(at(bench.spec("web", serve))).await.unwrap();
    runtime.start("web").await.unwrap();
    bench.wait_log("web", "ready").await;
    // By programs as they are, which wait in read and write, from inside and from the other side.
    let ask = "for a in 127.0.0.1 10.77.0.2; do busybox wget -q -O - http://$a/big | busybox wc -c; done";
    let (code, log) = bench.run(&runtime, at(bench.spec("sidecar", ask))).await;
    let whole = (30 << 20).to_string();
    assert_eq!((code, log.lines().collect::<Vec<_>>()), (Some(0), vec![whole.as_str(); 2]));
    let words =
        ["netns", "exec", &name, "curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", "http://10.77.0.2/big"];
    let fetched = Command::new("ip").args(words).output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    assert_eq!(String::from_utf8_lossy(&fetched.stdout), whole);
    for id in ["web", "sidecar"] {
        runtime.remove(id).await.unwrap();
    }
    ip("-n NS addr show dev lo to 10.77.0.2/32");
    ip("netns del NS");
    nothing_left(&bench).await;
}

#[tokio::test]
async fn whoever_is_killed_a_sandbox_ends_and_leaves_nothing() {
    let (bench, daemon, runtime) = ready().await;
    let kill = |pid: u32| {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    for id in ["sandbox", "shim", "lives"] {
        runtime.create(gvisor(bench.spec(id, "echo ready; sleep 1000"))).await.unwrap();
    }
    let before = bench.shims();
    assert_eq!(before.len(), 3);
    // The sandbox itself: the container is over.
    let pid = runtime.start("sandbox").await.unwrap();
    kill(pid);
    assert_eq!(bench.stopped(&runtime, "sandbox").await.exit_code, Some(137));
    // The shim: containerd clears away what it looked after.
    runtime.start("shim").await.unwrap();
    let of = |id: &str| {
        let is = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&format!("-id\0{id}\0"))
        };
        bench.shims().into_iter().find(is).unwrap()
    };
    kill(of("shim"));
    let status = bench.stopped(&runtime, "shim").await;
    assert_eq!((status.exit_code, status.pid), (None, 0));
    // containerd: the sandbox runs on, and the next one knows it.
    runtime.start("lives").await.unwrap();
    bench.wait_log("lives", "ready").await;
    kill(daemon.pid);
    drop(daemon);
    let _daemon = runtime::daemon::ensure_containerd(&bench.daemon_config, &bench.effects).await.unwrap();
    assert_eq!(runtime.status("lives").await.unwrap().unwrap().state, ContainerState::Running);
    let run = runtime.exec("lives", &["/bin/true".into()], Duration::from_secs(60)).await;
    assert_eq!(run, Ok(ExecEnd::Exited(0)));
    for id in ["sandbox", "shim", "lives"] {
        runtime.remove(id).await.unwrap();
    }
    nothing_left(&bench).await;
}

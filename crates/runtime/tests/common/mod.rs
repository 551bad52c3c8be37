//! A containerd of its own, a registry, an image and an adapter, for one test; everything goes with it, also when the
//! test fails.
#![allow(dead_code)] // Each test file uses its part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use effects::Effects;
use futures::StreamExt;
use runtime::cgroup::Cgroups;
use runtime::daemon::{Daemon, DaemonConfig, ensure_containerd};
use runtime::{
    ContainerSpec, ContainerState, ContainerStatus, Containerd, ContainerdConfig, PullPolicy, PullRequest, Runtime,
    RuntimeEvent,
};
use testkit::registry::Registry;

/// How long anything is waited for: far longer than it takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Where runc keeps what it knows of containers, a folder for each namespace.
pub(crate) const RUNC_ROOT: &str = "/run/containerd/runc";

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// See the module.
pub(crate) struct Bench {
    pub(crate) effects: Effects,
    pub(crate) registry: Registry,
    pub(crate) image: String,
    pub(crate) config: ContainerdConfig,
    pub(crate) daemon_config: DaemonConfig,
    pub(crate) cgroups: Cgroups,
    /// Above everything of this bench.
    pub(crate) top: String,
    _clean: Cleaner,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> (Self, Daemon, Containerd) {
        Self::on(|_| ()).await
    }

    /// In a folder that is prepared first.
    pub(crate) async fn on(prepare: impl FnOnce(&Path)) -> (Self, Daemon, Containerd) {
        let effects = Effects::real();
        let dir = tempfile::Builder::new().prefix("lsrt-").tempdir().unwrap();
        prepare(dir.path());
        let name = format!("longshore-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let top = format!("/{name}");
        let cgroups = Cgroups::detect().unwrap();
        let clean = Cleaner { top: top.clone(), namespace: name.clone(), dir: dir.path().to_owned() };
        let registry = Registry::start().unwrap();
        let image = registry.busybox_image().unwrap();
        let daemon_config = DaemonConfig {
            cgroup: Some(format!("{top}/containerd")),
            ..DaemonConfig::new(dir.path().join("ctd"), dir.path().join("run"))
        };
        let daemon = ensure_containerd(&daemon_config, &effects).await.unwrap();
        let config = ContainerdConfig {
            namespace: name,
            pull_retry: Duration::from_millis(50),
            ..ContainerdConfig::new(daemon_config.socket(), dir.path().join("own"))
        };
        let runtime = Containerd::connect(config.clone(), effects.clone()).await.unwrap();
        (
            Self { effects, registry, image, config, daemon_config, cgroups, top, _clean: clean, _dir: dir },
            daemon,
            runtime,
        )
    }

    /// With the image pulled.
    pub(crate) async fn ready() -> (Self, Daemon, Containerd) {
        let (bench, daemon, runtime) = Self::new().await;
        runtime.pull(PullRequest::new(&bench.image, PullPolicy::Always), &|_| {}).await.unwrap();
        (bench, daemon, runtime)
    }

    pub(crate) fn dir(&self) -> &Path {
        self._dir.path()
    }

    /// `sh -c script` in the image, logging to a file, below our cgroup.
    pub(crate) fn spec(&self, id: &str, script: &str) -> ContainerSpec {
        ContainerSpec {
            env: vec!["PATH=/bin".into()],
            cgroup_path: format!("{}/c/{id}", self.top),
            log_file: Some(self.log(id)),
            labels: BTreeMap::from([("test".to_owned(), "yes".to_owned())]),
            ..ContainerSpec::new(id, &self.image, ["sh", "-c", script].map(String::from).to_vec())
        }
    }

    pub(crate) fn log(&self, id: &str) -> PathBuf {
        self.dir().join("logs").join(id)
    }

    pub(crate) fn logged(&self, id: &str) -> String {
        std::fs::read_to_string(self.log(id)).unwrap_or_default()
    }

    /// What a container has written that has ended. Its shim tells of the end first and may still be writing then.
    pub(crate) async fn all_logged(&self, id: &str) -> String {
        let log = self.log(id);
        self.until(&format!("all of {id}'s output"), || !is_open(&log)).await;
        self.logged(id)
    }

    pub(crate) async fn wait_log(&self, id: &str, text: &str) {
        self.until(&format!("{text:?} in the log of {id}"), || self.logged(id).contains(text)).await;
    }

    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = self.effects.monotonic() + PATIENCE;
        while !done() {
            assert!(self.effects.monotonic() < deadline, "waited too long for {what}");
            self.effects.sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) async fn stopped(&self, runtime: &Containerd, id: &str) -> ContainerStatus {
        let deadline = self.effects.monotonic() + PATIENCE;
        loop {
            let status = runtime.status(id).await.unwrap().unwrap_or_else(|| panic!("no container {id}"));
            if status.state == ContainerState::Stopped {
                return status;
            }
            assert!(self.effects.monotonic() < deadline, "{id} does not stop: {}", self.logged(id));
            self.effects.sleep(LOOK_AGAIN).await;
        }
    }

    /// Creates and starts it, waits for its end; answers exit code and log. It stays to be removed.
    pub(crate) async fn run(&self, runtime: &Containerd, spec: ContainerSpec) -> (Option<u32>, String) {
        let id = spec.id.clone();
        runtime.create(spec).await.unwrap();
        runtime.start(&id).await.unwrap();
        let status = self.stopped(runtime, &id).await;
        (status.exit_code, self.all_logged(&id).await)
    }

    /// Mounts of this bench, small disks aside.
    pub(crate) fn mounts(&self) -> Vec<String> {
        mounts_below(self.dir(), |line| !line.starts_with("small-disk "))
    }

    /// Shim processes of this bench's namespace.
    pub(crate) fn shims(&self) -> Vec<u32> {
        let ours = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains("containerd-shim") && line.contains(&self.config.namespace)
        };
        let processes = std::fs::read_dir("/proc").unwrap();
        processes.filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok()).filter(ours).collect()
    }

    /// Where the shim of a container listens.
    pub(crate) fn shim_socket(&self, id: &str) -> PathBuf {
        let state = self.config.socket.parent().unwrap().join("state/io.containerd.runtime.v2.task");
        let address = std::fs::read_to_string(state.join(&self.config.namespace).join(id).join("address")).unwrap();
        address.strip_prefix("unix://").unwrap().into()
    }

    /// What containerd lists in our namespace, e.g. `snapshots ls`.
    pub(crate) fn ctr(&self, arguments: &str) -> String {
        let output = Command::new("ctr")
            .args(["--address", self.config.socket.to_str().unwrap(), "--namespace", &self.config.namespace])
            .args(arguments.split(' '))
            .output()
            .expect("ctr is missing: apt-get install containerd");
        assert!(output.status.success(), "ctr {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Asserts that no trace of containers is left; images may be.
    pub(crate) async fn nothing_left(&self) {
        self.until("mounts to go", || self.mounts().is_empty()).await;
        self.until("shims to go", || self.shims().is_empty()).await;
        let made = |line: &&str| line.contains("Active") || line.contains("View");
        let active: Vec<_> = self.ctr("snapshots ls").lines().filter(made).map(String::from).collect();
        assert_eq!(active, Vec::<String>::new());
        assert_eq!(self.ctr("containers ls -q"), "");
        assert_eq!(self.ctr("leases ls -q"), "");
        let kept = std::fs::read_dir(Path::new(RUNC_ROOT).join(&self.config.namespace));
        let kept: Vec<_> = kept.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(kept, Vec::<PathBuf>::new(), "runc still knows a container");
        let c = format!("{}/c", self.top);
        assert_eq!(self.cgroups.pids(&c).unwrap(), Vec::<i32>::new());
        let leaves = |root: &str| {
            std::fs::read_dir(format!("/sys/fs/cgroup/{root}{c}"))
                .map_or(0, |d| d.filter(|e| e.as_ref().is_ok_and(|e| e.file_type().is_ok_and(|t| t.is_dir()))).count())
        };
        for root in ["", "memory", "pids", "cpu", "systemd", "unified"] {
            assert_eq!(leaves(root), 0, "a cgroup is left in {root}");
        }
    }
}

/// The next event for which `pick` gives something.
pub(crate) async fn event<T>(
    events: &mut futures::stream::BoxStream<'static, RuntimeEvent>,
    mut pick: impl FnMut(RuntimeEvent) -> Option<T>,
) -> T {
    tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = pick(events.next().await.expect("the stream never ends")) {
                return found;
            }
        }
    })
    .await
    .expect("waited too long for an event")
}

/// Exit code and time of this container, once it is told.
pub(crate) async fn exit_of(
    events: &mut futures::stream::BoxStream<'static, RuntimeEvent>,
    wanted: &str,
) -> (u32, Option<SystemTime>) {
    event(events, |e| {
        let RuntimeEvent::Exited { id, exit_code, exited_at } = e else { return None };
        (id == wanted).then_some((exit_code, exited_at))
    })
    .await
}

/// Whether any process has this file open.
fn is_open(file: &Path) -> bool {
    let open = |fd: std::fs::DirEntry| std::fs::read_link(fd.path()).is_ok_and(|target| target == file);
    let of = |process: std::fs::DirEntry| std::fs::read_dir(process.path().join("fd"));
    let mut processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.any(|process| of(process).is_ok_and(|fds| fds.flatten().any(open)))
}

fn mounts_below(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    // Of the thread: a test may have a mount namespace of its own.
    let text = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
    let dir = dir.display().to_string();
    text.lines()
        .filter(|l| wanted(l))
        .filter_map(|l| l.split(' ').nth(1))
        .filter(|m| m.starts_with(&dir))
        .map(String::from)
        .collect()
}

struct Cleaner {
    top: String,
    namespace: String,
    dir: PathBuf,
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        let (top, namespace, dir) = (self.top.clone(), self.namespace.clone(), self.dir.clone());
        // On a thread of its own, because a test's runtime may be unwinding on this one.
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            // containerd first, lest it starts something while the rest is killed.
            let cgroups = Cgroups::detect().unwrap();
            runtime.block_on(async { cgroups.remove(&top, &Effects::real()).await }).unwrap();
            for mount in mounts_below(&dir, |_| true).iter().rev() {
                let _ = rustix::mount::unmount(mount.as_str(), rustix::mount::UnmountFlags::DETACH);
            }
            let _ = std::fs::remove_dir_all(format!("{RUNC_ROOT}/{namespace}"));
        });
        // A test that fails already must not abort for that.
        assert!(cleaned.join().is_ok() || std::thread::panicking(), "clean-up of {} failed", self.top);
    }
}

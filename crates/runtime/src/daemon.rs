//! Our own containerd, for machines where none is given: a configuration of ours, its own root, state and socket, nothing we
//! do not use. It outlives us; the next of us adopts it by its socket.

use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use effects::Effects;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::cgroup::Cgroups;
use crate::container::Resources;
use crate::containerd::probe;
use crate::error::RuntimeError;
use crate::oci_runtime::program_path;
use crate::programs;

/// containerd answers within 40 ms of its start on an idle machine; a saturated one has been seen to need seconds.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is started when something kills it before it answers. What ends by itself is not started again: it would only
/// say the same.
const MOST_STARTS: usize = 4;
/// After SIGTERM, before SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The kernel's bound of a socket's path, with its terminating zero and our longest suffix (`.ttrpc`) taken off.
const LONGEST_SOCKET: usize = 108 - 1 - 6;

/// What its environment says of one that has our front before its programs. The number is that of what the front can do.
const FRONT: (&str, &str) = ("LONGSHORE_FRONT", "1");
/// The programs that `src/front` stands before.
const FRONTED: [&str; 2] = ["runc", "containerd-shim-runc-v2"];

/// How to run it.
#[derive(Debug, Clone)]
pub struct DaemonConfig {
    /// Holds what it keeps: images, layers, its database; made if absent.
    pub dir: PathBuf,
    /// Holds what no reboot survives, its state and its sockets; made if absent. Keep it short, and in memory (`/run`): each
    /// container makes and removes some twenty files in it, and ext4 looks through all inodes removed in the last minutes
    /// before it takes a new one, for everybody on that disk.
    pub run: PathBuf,
    /// The program, looked up in PATH if it is a bare name.
    pub program: PathBuf,
    /// The control group to run it in, e.g. `/longshore/containerd`; made if absent.
    pub cgroup: Option<String>,
}

impl DaemonConfig {
    /// Debian's containerd, in our own control group.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), run: run.into(), program: "containerd".into(), cgroup: None }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("containerd.sock")
    }

    /// What it and its shims say.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("containerd.log")
    }
}

/// A containerd that answers.
#[derive(Debug)]
pub struct Daemon {
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub socket: PathBuf,
    /// Whether it was already there.
    pub adopted: bool,
    /// Ours to reap, if we started it. Dropping it leaves it running.
    child: Option<Child>,
}

/// Adopts the containerd of this directory, or starts one and waits until it answers.
///
/// # Errors
/// If it cannot be started or does not answer in time; the end of its log is in the message.
pub async fn ensure_containerd(config: &DaemonConfig, effects: &Effects) -> Result<Daemon, RuntimeError> {
    let failed = |what: &str, e: std::io::Error| RuntimeError::Other(format!("{what}: {e}"));
    let socket = config.socket();
    if socket.as_os_str().len() > LONGEST_SOCKET || !config.dir.is_absolute() {
        let text = format!("{} must be absolute and at most {LONGEST_SOCKET} bytes", socket.display());
        return Err(RuntimeError::Other(text));
    }
    let private = |dir: &Path| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    for dir in [&config.dir, &config.run] {
        private(dir).map_err(|e| failed("containerd's directory", e))?;
    }
    // Two of us must not start two; the lock goes with the file handle.
    let lock = std::fs::File::create(config.dir.join("lock")).map_err(|e| failed("lock file", e))?;
    let deadline = effects.monotonic() + START_TIMEOUT;
    while rustix::fs::flock(lock.as_fd(), rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        wait_or(deadline, effects, || "somebody else is starting containerd and does not finish".into()).await?;
    }
    let known = knows_how_to_start_shims(config).await;
    for _ in 0..MOST_STARTS {
        // What answers and dies before we know its number was not there.
        if probe(&socket).await.is_ok()
            && let Ok(pid) = listener(&socket).await
        {
            return Ok(Daemon { pid, socket, adopted: true, child: None });
        }
        let mut child = start(config, known)?;
        let pid = child.id().ok_or_else(|| RuntimeError::Other("containerd ended at once".into()))?;
        if let Some(group) = &config.cgroup {
            let placed = Cgroups::detect()
                .and_then(|c| c.ensure(group, &Resources::default()).and_then(|()| c.add_pid(group, pid)));
            placed.map_err(|e| failed("containerd's cgroup", e))?;
        }
        let ended = loop {
            if probe(&socket).await.is_ok() {
                return Ok(Daemon { pid, socket, adopted: false, child: Some(child) });
            }
            if let Ok(Some(status)) = child.try_wait() {
                break status;
            }
            wait_or(deadline, effects, || format!("containerd does not answer: {}", tail(&config.log()))).await?;
        };
        if ended.signal().is_none() {
            return Err(RuntimeError::Other(format!("containerd ended with {ended}: {}", tail(&config.log()))));
        }
        tracing::warn!("containerd ended with {ended} while it started; starting it again");
    }
    Err(RuntimeError::Other(format!("containerd was killed {MOST_STARTS} times: {}", tail(&config.log()))))
}

impl Daemon {
    /// Ends it. Containers and their shims live on.
    ///
    /// # Errors
    /// If it cannot even be killed.
    pub async fn stop(mut self, effects: &Effects) -> Result<(), RuntimeError> {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| RuntimeError::Other(format!("{} is no process id", self.pid)))?;
        for (signal, patience) in [(Signal::TERM, STOP_TIMEOUT), (Signal::KILL, STOP_TIMEOUT)] {
            if kill_process(pid, signal).is_err() {
                return Ok(());
            }
            let deadline = effects.monotonic() + patience;
            while effects.monotonic() < deadline {
                if self.has_ended() {
                    return Ok(());
                }
                effects.sleep(LOOK_AGAIN).await;
            }
        }
        Err(RuntimeError::Timeout(format!("containerd ({}) does not die", self.pid)))
    }

    /// Whether its process is gone.
    pub fn has_ended(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(Some(_))),
            None => !Path::new(&format!("/proc/{}", self.pid)).exists(),
        }
    }
}

async fn wait_or(deadline: Duration, effects: &Effects, otherwise: impl Fn() -> String) -> Result<(), RuntimeError> {
    if effects.monotonic() >= deadline {
        return Err(RuntimeError::Timeout(otherwise()));
    }
    effects.sleep(LOOK_AGAIN).await;
    Ok(())
}

/// The one that answers there, if one does.
pub async fn running(config: &DaemonConfig) -> Option<Daemon> {
    let socket = config.socket();
    probe(&socket).await.ok()?;
    let pid = listener(&socket).await.ok()?;
    Some(Daemon { pid, socket, adopted: true, child: None })
}

/// The process that listens, as the kernel knows it: truer than a pid file.
async fn listener(socket: &Path) -> Result<u32, RuntimeError> {
    let unavailable = |e: std::io::Error| RuntimeError::Unavailable(e.to_string());
    let stream = UnixStream::connect(socket).await.map_err(unavailable)?;
    let pid = stream.peer_cred().map_err(unavailable)?.pid();
    pid.and_then(|p| u32::try_from(p).ok()).ok_or_else(|| RuntimeError::Unavailable("no listening process".into()))
}

/// Whether the containerd that listens there was started by us, with a front that can do all that ours can. One that nobody can
/// tell of was not.
pub(crate) async fn has_front(socket: &Path) -> bool {
    let Ok(pid) = listener(socket).await else { return false };
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let wanted = format!("{}={}", FRONT.0, FRONT.1);
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

#[allow(unsafe_code)] // pre_exec; the closure makes one async-signal-safe system call.
#[allow(clippy::disallowed_methods)] // PATH and HOME are handed on, not read as configuration.
fn start(config: &DaemonConfig, known: bool) -> Result<Child, RuntimeError> {
    let failed = |e: std::io::Error| RuntimeError::Other(format!("cannot start {}: {e}", config.program.display()));
    let toml = config.dir.join("containerd.toml");
    std::fs::write(&toml, render(&config.dir, &config.run, may_lower_oom_score())).map_err(failed)?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(config.log()).map_err(failed)?;
    let fronts = config.dir.join("bin");
    for name in FRONTED {
        programs::install(&fronts, name, programs::FRONT).map_err(failed)?;
    }
    let mut command = Command::new(&config.program);
    command
        .arg("--config")
        .arg(toml)
        .current_dir("/")
        .env("PATH", format!("{}:{}", fronts.display(), program_path()))
        .env(FRONT.0, FRONT.1)
        // Where shims write the description of a further process for runc, with the environment of its container in it.
        .env("XDG_RUNTIME_DIR", &config.run)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .kill_on_drop(false);
    if known {
        command.env("LONGSHORE_SHIM_START", "1");
    }
    // SAFETY: setsid is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            // A session of its own, so that signals to our terminal or group do not reach it.
            rustix::process::setsid()?;
            Ok(())
        });
    }
    command.spawn().map_err(failed)
}

/// Whether `src/front/shim.rs` may start this containerd's shims: its manner is that of 1.6.
async fn knows_how_to_start_shims(config: &DaemonConfig) -> bool {
    let said = Command::new(&config.program).arg("--version").stdin(Stdio::null()).output().await;
    said.is_ok_and(|said| is_of_1_6(&String::from_utf8_lossy(&said.stdout)))
}

fn is_of_1_6(said: &str) -> bool {
    said.split_whitespace().nth(2).is_some_and(|version| version.trim_start_matches('v').starts_with("1.6."))
}

fn may_lower_oom_score() -> bool {
    crate::containerd::machine::capabilities("CapEff").has("SYS_RESOURCE")
}

/// The end of its log, for messages.
fn tail(log: &Path) -> String {
    /// Enough for the last few lines.
    const BYTES: usize = 600;
    let text = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(BYTES)..]).trim().to_owned()
}

/// Never needed by us: CRI and its parts (1.6 and 2.x names), other snapshotters, monitors that poll.
const DISABLED: [&str; 16] = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.sandbox.controller.v1.podsandbox",
    "io.containerd.nri.v1.nri",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.monitor.v1.cgroups",
    "io.containerd.tracing.processor.v1.otlp",
];

/// The configuration, in the format that 1.6 to 2.x all read.
fn render(dir: &Path, run: &Path, lower_oom_score: bool) -> String {
    let at = |dir: &Path, name: &str| format!("{:?}", dir.join(name).display().to_string());
    let disabled = DISABLED.map(|name| format!("  {name:?},\n")).concat();
    // Without CAP_SYS_RESOURCE the score cannot be lowered, and trying leaves an error in every log.
    let oom = if lower_oom_score { "oom_score = -999\n" } else { "" };
    format!(
        "# Written by longshore at each start; changes here are lost.\n\
         version = 2\nroot = {root}\nstate = {state}\n{oom}disabled_plugins = [\n{disabled}]\n\
         [grpc]\n  address = {socket}\n[ttrpc]\n  address = {ttrpc}\n[debug]\n  level = \"warn\"\n\
         # What nothing refers to goes within a second or so, not after the hundredth change.\n\
         [plugins.\"io.containerd.gc.v1.scheduler\"]\n  deletion_threshold = 1\n  schedule_delay = \"500ms\"\n",
        root = at(dir, "root"),
        state = at(run, "state"),
        socket = at(run, "containerd.sock"),
        ttrpc = at(run, "containerd.sock.ttrpc"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_only_our_own_paths() {
        let text = render(Path::new("/d/with \"quote"), Path::new("/run/d"), false);
        assert!(text.contains(r#"root = "/d/with \"quote/root""#), "{text}");
        assert!(text.contains(r#"state = "/run/d/state""#), "{text}");
        assert!(text.contains("io.containerd.grpc.v1.cri"));
        assert!(!text.contains("oom_score"));
        assert!(render(Path::new("/d"), Path::new("/run/d"), true).contains("oom_score = -999"));
    }

    #[test]
    fn only_the_manner_of_1_6_is_known() {
        for said in ["containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", "c g v1.6.33 0a1b"]
        {
            assert!(is_of_1_6(said), "{said}");
        }
        for said in
            ["containerd github.com/containerd/containerd/v2 2.1.9 0a1b", "c g v1.7.24 0a1b", "c g 1.60.1 x", ""]
        {
            assert!(!is_of_1_6(said), "{said}");
        }
    }

    #[tokio::test]
    async fn what_cannot_start_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let effects = Effects::real();
        let config = DaemonConfig { program: "/bin/false".into(), ..DaemonConfig::new(dir.path(), dir.path()) };
        let error = ensure_containerd(&config, &effects).await.unwrap_err();
        assert!(error.to_string().contains("ended with exit status: 1"), "{error}");
        // Killed once it is tried again, killed always it is given up.
        for (script, end) in
            [("[ -e once ] && exit 3; :>once; kill -9 $$", "status: 3"), ("kill -9 $$", "killed 4 times")]
        {
            let text = format!("#!/bin/sh\ncd {}\n{script}\n", dir.path().display());
            programs::install(dir.path(), "program", text.as_bytes()).unwrap();
            let config = DaemonConfig { program: dir.path().join("program"), ..config.clone() };
            let error = ensure_containerd(&config, &effects).await.unwrap_err();
            assert!(error.to_string().contains(end), "{error}");
        }
        let long = DaemonConfig::new("/d", format!("/{}", "x".repeat(120)));
        assert!(ensure_containerd(&long, &effects).await.is_err());
    }
}

//! The nouns of containers: what to run, how it does, what happened. Neutral: nothing here names containerd.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::image::Image;
use crate::oci_runtime::OciRuntime;
use crate::userns::UserNamespace;

/// Everything needed to create one container. All decisions (merging with the image, limits, paths) are already made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Unique on the machine; `[A-Za-z0-9][A-Za-z0-9_.-]*`, at most 76 characters.
    pub id: String,
    /// Reference of a pulled image.
    pub image: String,
    /// That image, if it was just pulled: it need not be looked up, and is the one to use whatever the reference says by now.
    pub pulled: Option<Image>,
    /// Found again by [`crate::Runtime::list`]. Key and value together at most 4096 bytes.
    pub labels: BTreeMap<String, String>,
    /// What makes it.
    pub oci_runtime: OciRuntime,
    /// The full argv ([`crate::ImageConfig::argv`]).
    pub args: Vec<String>,
    /// The full environment, each `NAME=value` ([`crate::ImageConfig::environment`]). `HOSTNAME` is added if absent.
    pub env: Vec<String>,
    /// More of it, of other names, that no disk is to hold.
    pub secret_env: SecretEnv,
    /// Working directory, made if absent; empty means `/`.
    pub cwd: String,
    /// `user`, `uid`, `user:group`, `uid:gid` in any mixture, looked up in the image; empty means root.
    pub user: String,
    /// Name in its own UTS namespace.
    pub hostname: String,
    /// Root filesystem mounted read-only.
    pub readonly_rootfs: bool,
    /// A folder for what it writes, made anew with it; it counts on whatever disk that is on. Whoever named it removes it. The
    /// runtime's own place if `None`.
    pub layer: Option<PathBuf>,
    /// A folder that is its whole file system, in place of an image's.
    pub rootfs: Option<PathBuf>,
    /// Whose numbers its users have on the machine; their own if `None`. Its network has to belong to the same.
    pub userns: Option<UserNamespace>,
    /// Which processes it sees.
    pub pid: Namespace,
    /// Whose System V and POSIX IPC it has.
    pub ipc: Namespace,
    /// It has a terminal, from which it reads and to which it writes.
    pub terminal: bool,
    /// A named pipe, made if absent, that is its standard input: there is something to read once somebody has written to it.
    pub stdin: Option<PathBuf>,
    /// All capabilities this machine has, all devices, nothing masked.
    pub privileged: bool,
    /// Added to Docker's default set; with or without `CAP_`, `ALL` is allowed.
    pub cap_add: Vec<String>,
    /// Taken from Docker's default set.
    pub cap_drop: Vec<String>,
    /// Devices of the host to show inside.
    pub devices: Vec<DeviceMount>,
    /// Programs gain no rights by being set-uid or having file capabilities.
    pub no_new_privileges: bool,
    /// Resource limits of the first process.
    pub ulimits: Vec<Ulimit>,
    /// Files and directories of the host to show inside.
    pub mounts: Vec<BindMount>,
    /// In-memory filesystems.
    pub tmpfs: Vec<Tmpfs>,
    /// Size of `/dev/shm` in bytes; 64 MiB if `None`, and there is none if 0.
    pub shm_size: Option<u64>,
    /// Run a small init as pid 1 that reaps zombies and forwards signals.
    pub init: bool,
    /// Which network it lives in.
    pub network: Network,
    /// Kernel parameters of the container's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Absolute path within every hierarchy, e.g. `/longshore/<instance>/<task>/<container>`; unique per container.
    pub cgroup_path: String,
    /// Limits of this container's cgroup.
    pub resources: Resources,
    /// Preference of the OOM killer, -1000..=1000; may only be raised on a machine without CAP_SYS_RESOURCE.
    pub oom_score_adj: i32,
    /// Stdout and stderr are appended raw to this file; its directory is made.
    pub log_file: Option<PathBuf>,
    /// Apply the default system call filter (never applied to privileged containers).
    pub seccomp: bool,
}

impl ContainerSpec {
    /// A plain container: everything else as Docker's defaults.
    #[must_use]
    pub fn new(id: impl Into<String>, image: impl Into<String>, args: Vec<String>) -> Self {
        let id = id.into();
        Self {
            image: image.into(),
            pulled: None,
            labels: BTreeMap::new(),
            oci_runtime: OciRuntime::default(),
            args,
            env: Vec::new(),
            secret_env: SecretEnv::default(),
            cwd: String::new(),
            user: String::new(),
            hostname: id.clone(),
            readonly_rootfs: false,
            layer: None,
            rootfs: None,
            userns: None,
            pid: Namespace::Own,
            ipc: Namespace::Own,
            terminal: false,
            stdin: None,
            privileged: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            devices: Vec::new(),
            no_new_privileges: false,
            ulimits: Vec::new(),
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            shm_size: None,
            init: false,
            network: Network::None,
            sysctls: BTreeMap::new(),
            cgroup_path: format!("/longshore/{id}"),
            resources: Resources::default(),
            oom_score_adj: 0,
            log_file: None,
            seccomp: true,
            id,
        }
    }

    /// One that does nothing but hold its namespaces, in a folder in which nothing need be.
    #[must_use]
    pub fn holder(id: impl Into<String>, rootfs: PathBuf) -> Self {
        let args = vec![crate::oci::INIT_TARGET.to_owned()];
        Self { rootfs: Some(rootfs), init: true, shm_size: Some(0), ..Self::new(id, "", args) }
    }
}

/// Whose a namespace is that is not the network's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Namespace {
    /// The container's own.
    #[default]
    Own,
    /// The machine's.
    Host,
    /// An existing one.
    Path(PathBuf),
}

/// Variables, each `NAME=value`, that nothing shows.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretEnv(pub Vec<String>);

impl std::fmt::Debug for SecretEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} variables", self.0.len())
    }
}

/// Which network a container lives in. There is no "host": an agent may itself live in a namespace that the runtime
/// does not share, so the host's network is a path too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// A namespace of its own with nothing but loopback.
    None,
    /// An existing namespace, e.g. `/run/netns/x`.
    Path(PathBuf),
}

/// One entry of `ulimits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// ECS's name, e.g. `nofile`.
    pub name: String,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// A file or directory of the host shown inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// On the host.
    pub source: PathBuf,
    /// In the container, absolute; made if absent.
    pub target: String,
    /// Not writable from inside.
    pub read_only: bool,
    /// If it is a folder in which nothing is, it is filled with what the image has at the target, as Docker does it. While that is
    /// done, a file of this name says so; one that was left by a killed process has it done anew.
    pub fill: Option<PathBuf>,
    /// Its owners are shown by their numbers on the machine, also to users of a namespace of their own: who is root inside is
    /// nobody to it.
    pub as_is: bool,
}

/// A device of the host shown inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMount {
    /// On the host.
    pub source: PathBuf,
    /// In the container, absolute.
    pub target: String,
    /// What may be done with it: `r`, `w`, `m` (making its node), any of them.
    pub access: String,
}

/// An in-memory filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// In the container, absolute.
    pub target: String,
    /// Size in bytes; the kernel's default (half of memory) if `None`.
    pub size: Option<u64>,
    /// Mount options as Docker takes them, e.g. `noexec`, `mode=1777`.
    pub options: Vec<String>,
}

/// Limits of a cgroup. `None` means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Relative weight, 2..=262144 (ECS `cpu`; 1024 is one vCPU).
    pub cpu_shares: Option<u64>,
    /// CPU microseconds per period.
    pub cpu_quota_us: Option<i64>,
    /// Length of a period in microseconds; 100 ms if `None` and a quota is set.
    pub cpu_period_us: Option<u64>,
    /// Hard limit in bytes.
    pub memory_limit: Option<u64>,
    /// Soft limit in bytes (ECS `memoryReservation`).
    pub memory_reservation: Option<u64>,
    /// Hard limit of memory and swap together, in bytes.
    pub memory_swap: Option<u64>,
    /// How readily memory is swapped out, from 0 to 100.
    pub swappiness: Option<u64>,
    /// Most processes and threads.
    pub pids_limit: Option<i64>,
}

/// Where a container is in its life. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, its process waits for `start`.
    Created,
    /// Its process runs.
    Running,
    /// Its process has ended, or has vanished.
    Stopped,
}

/// How a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Where it is in its life.
    pub state: ContainerState,
    /// First process, as the host numbers it; 0 if there is none.
    pub pid: u32,
    /// 0..=255, 128+n for signal n. `None` while it runs, and if the process vanished without telling.
    pub exit_code: Option<u32>,
    /// When it ended, by the runtime's clock.
    pub exited_at: Option<SystemTime>,
    /// The kernel killed something in it for lack of memory.
    pub oom_killed: bool,
}

/// One row of [`crate::Runtime::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSummary {
    /// As given in the spec.
    pub id: String,
    /// As given in the spec.
    pub labels: BTreeMap<String, String>,
    /// How it does.
    pub status: ContainerStatus,
}

/// What happened to a container, as soon as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// The stream is (again) connected; whatever happened before may have been missed.
    Connected,
    /// Its process runs.
    Started {
        /// Which container.
        id: String,
        /// As the host numbers it.
        pid: u32,
    },
    /// The kernel killed something in it for lack of memory.
    Oom {
        /// Which container.
        id: String,
    },
    /// Its first process ended.
    Exited {
        /// Which container.
        id: String,
        /// 0..=255, 128+n for signal n.
        exit_code: u32,
        /// By the runtime's clock.
        exited_at: Option<SystemTime>,
    },
    /// Its process has been cleared away.
    Deleted {
        /// Which container.
        id: String,
    },
}

/// How a further process of a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEnd {
    /// By itself, with this code: 0..=255, 128+n for signal n.
    Exited(u32),
    /// It took too long, and was killed.
    TimedOut,
    /// It could not be started; the OCI runtime's words.
    NotStarted(String),
}

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Across.
    pub columns: u16,
    /// Down.
    pub rows: u16,
}

/// The two ends of a process' terminal. The output never ends by itself: that the process has ended is told elsewhere.
#[derive(Debug)]
pub struct Terminal {
    /// What is typed.
    pub input: tokio::net::unix::pipe::Sender,
    /// What is shown.
    pub output: tokio::net::unix::pipe::Receiver,
}

/// What a container uses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerStats {
    /// CPU time used since it was created.
    pub cpu: Duration,
    /// Bytes charged to it, page cache included.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// The number of a signal written as `SIGTERM`, `TERM` or `15`.
#[must_use]
pub fn signal_number(name: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 18] = [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("ILL", libc::SIGILL),
        ("ABRT", libc::SIGABRT),
        ("FPE", libc::SIGFPE),
        ("KILL", libc::SIGKILL),
        ("USR1", libc::SIGUSR1),
        ("SEGV", libc::SIGSEGV),
        ("USR2", libc::SIGUSR2),
        ("PIPE", libc::SIGPIPE),
        ("ALRM", libc::SIGALRM),
        ("TERM", libc::SIGTERM),
        ("CHLD", libc::SIGCHLD),
        ("CONT", libc::SIGCONT),
        ("STOP", libc::SIGSTOP),
        ("TSTP", libc::SIGTSTP),
        ("WINCH", libc::SIGWINCH),
    ];
    /// Highest real-time signal of Linux.
    const LAST: i32 = 64;
    let upper = name.trim().to_ascii_uppercase();
    if let Ok(number) = upper.parse::<i32>() {
        return (1..=LAST).contains(&number).then_some(number);
    }
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = bare.strip_prefix("RTMIN").and_then(|o| o.strip_prefix('+').or(o.is_empty().then_some("0"))) {
        let number = 34 + offset.parse::<i32>().ok()?;
        return (34..=LAST).contains(&number).then_some(number);
    }
    NAMES.iter().find(|(n, _)| *n == bare).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn signals_have_names_and_numbers() {
        let rows = [
            ("SIGTERM", Some(15)),
            ("quit", Some(3)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMIN", Some(34)),
            ("0", None),
            ("65", None),
            ("SIGNOPE", None),
            ("", None),
        ];
        for (name, want) in rows {
            assert_eq!(signal_number(name), want, "{name}");
        }
    }
}

//! Cgroups by path, on either kind of machine: version 1 with one hierarchy per controller (perhaps with a version 2 one
//! beside it, "hybrid"), or version 2 alone. The OCI runtime makes each container's own group; this module makes and
//! clears the groups above it (instance, task), and reads what a container used.
//!
//! Paths are absolute within every hierarchy, e.g. `/longshore/i-1/task`. Files of the kernel answer at once, so these
//! functions are synchronous; only [`Cgroups::remove`] has to wait for processes to die.

mod usage;

pub use usage::{DeviceUsage, Usage};

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use effects::Effects;

use crate::container::Resources;
use crate::oci::DEFAULT_CPU_PERIOD_US;

/// How long killed processes may take to go; longer means they hang in the kernel.
const DEATH_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at a group that is not empty yet.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Controllers given to children of every group on version 2.
const V2_CONTROLLERS: [&str; 4] = ["cpuset", "cpu", "memory", "pids"];

/// Where this machine keeps its control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    layout: Layout,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Layout {
    /// Controllers of each hierarchy and its mount point; a version 2 hierarchy beside them.
    V1 {
        hierarchies: Vec<(Vec<String>, PathBuf)>,
        unified: Option<PathBuf>,
    },
    V2 {
        root: PathBuf,
    },
}

impl Cgroups {
    /// Reads /proc/self/mounts.
    ///
    /// # Errors
    /// If nothing is mounted.
    pub fn detect() -> io::Result<Self> {
        Self::from_mounts(&fs::read_to_string("/proc/self/mounts")?)
            .ok_or_else(|| io::Error::new(ErrorKind::NotFound, "no cgroup hierarchy is mounted"))
    }

    fn from_mounts(mounts: &str) -> Option<Self> {
        let mut hierarchies: Vec<(Vec<String>, PathBuf)> = Vec::new();
        let mut unified = None;
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, target, kind, options, ..] = fields[..] else { continue };
            // A container or a chroot may show the same hierarchies elsewhere; the usual place comes first.
            if !target.starts_with("/sys/fs/cgroup") {
                continue;
            }
            match kind {
                "cgroup" => {
                    let controllers: Vec<String> = options
                        .split(',')
                        .filter(|o| !["rw", "ro", "relatime", "nosuid", "nodev", "noexec"].contains(o))
                        .map(String::from)
                        .collect();
                    hierarchies.push((controllers, PathBuf::from(target)));
                }
                "cgroup2" if unified.is_none() => unified = Some(PathBuf::from(target)),
                _ => {}
            }
        }
        let layout = match (hierarchies.is_empty(), unified) {
            (true, None) => return None,
            (true, Some(root)) => Layout::V2 { root },
            (false, unified) => Layout::V1 { hierarchies, unified },
        };
        Some(Self { layout })
    }

    /// Whether version 2 is the only one.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        matches!(self.layout, Layout::V2 { .. })
    }

    /// Makes the group and those above it, and sets the limits given; what is `None` stays as it is.
    ///
    /// # Errors
    /// Of the file system; a limit the kernel refuses comes as `InvalidInput`.
    pub fn ensure(&self, path: &str, limits: &Resources) -> io::Result<()> {
        self.make(relative(path)?, |_| true)?;
        self.limit(path, limits)
    }

    /// Sets the limits given, and makes the group where it takes one of them. Elsewhere the OCI runtime makes it, as it makes
    /// whatever is above a container's own.
    ///
    /// # Errors
    /// As [`Cgroups::ensure`].
    pub fn limit(&self, path: &str, limits: &Resources) -> io::Result<()> {
        let relative = relative(path)?;
        let settings = self.settings(relative, limits);
        self.make(relative, |root| settings.iter().any(|(file, _)| file.starts_with(root)))?;
        settings.iter().try_for_each(|(file, value)| write(file, value))
    }

    /// Makes the group in the hierarchies that are wanted.
    fn make(&self, relative: &Path, wanted: impl Fn(&Path) -> bool) -> io::Result<()> {
        match &self.layout {
            Layout::V1 { hierarchies, unified } => {
                for (controllers, root) in hierarchies.iter().filter(|(_, root)| wanted(root)) {
                    let cpuset = controllers.iter().any(|c| c == "cpuset");
                    make_below(
                        root,
                        relative,
                        |parent, group| {
                            if cpuset { inherit_cpuset(parent, group) } else { Ok(()) }
                        },
                    )?;
                }
                if let Some(root) = unified.as_ref().filter(|root| wanted(root)) {
                    make_below(root, relative, |_, _| Ok(()))?;
                }
                Ok(())
            }
            Layout::V2 { root } if wanted(root) => make_below(root, relative, |parent, _| delegate(parent)),
            Layout::V2 { .. } => Ok(()),
        }
    }

    /// Files to write for these limits, in order.
    fn settings(&self, relative: &Path, limits: &Resources) -> Vec<(PathBuf, String)> {
        let mut settings = Vec::new();
        let mut set = |controller: &str, file: &str, value: Option<String>| {
            if let (Some(dir), Some(value)) = (self.dir(controller, relative), value) {
                settings.push((dir.join(file), value));
            }
        };
        let period = limits.cpu_period_us.unwrap_or(DEFAULT_CPU_PERIOD_US);
        let number = |n: Option<u64>| n.map(|n| n.to_string());
        let pids = limits.pids_limit.map(|n| if n > 0 { n.to_string() } else { "max".into() });
        match self.layout {
            Layout::V1 { .. } => {
                set("cpu", "cpu.shares", number(limits.cpu_shares));
                set("cpu", "cpu.cfs_period_us", limits.cpu_quota_us.map(|_| period.to_string()));
                set("cpu", "cpu.cfs_quota_us", limits.cpu_quota_us.map(|q| q.to_string()));
                set("memory", "memory.limit_in_bytes", number(limits.memory_limit));
                set("memory", "memory.soft_limit_in_bytes", number(limits.memory_reservation));
            }
            Layout::V2 { .. } => {
                set("cpu", "cpu.weight", number(limits.cpu_shares.map(weight)));
                let quota = limits.cpu_quota_us.map(|q| if q > 0 { q.to_string() } else { "max".into() });
                set("cpu", "cpu.max", quota.map(|quota| format!("{quota} {period}")));
                set("memory", "memory.max", number(limits.memory_limit));
                set("memory", "memory.low", number(limits.memory_reservation));
            }
        }
        set("pids", "pids.max", pids);
        settings
    }

    /// Moves a process (all its threads) into the group, in every hierarchy.
    ///
    /// # Errors
    /// If the group does not exist or the process is gone.
    pub fn add_pid(&self, path: &str, pid: u32) -> io::Result<()> {
        let relative = relative(path)?;
        for root in self.roots() {
            write(&root.join(relative).join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Sends SIGKILL to every process in the group and below. Nothing happens if there is no such group.
    ///
    /// # Errors
    /// Of the file system.
    pub fn kill_all(&self, path: &str) -> io::Result<()> {
        let relative = relative(path)?;
        let whole = match &self.layout {
            Layout::V1 { unified, .. } => unified.as_ref(),
            Layout::V2 { root } => Some(root),
        };
        if let Some(root) = whole {
            // Atomic, where the kernel (5.14) has it.
            ignore_missing(write(&root.join(relative).join("cgroup.kill"), "1"))?;
        }
        for pid in self.pids(path)? {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                // It may have died meanwhile.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        Ok(())
    }

    /// Processes in the group and below, in any hierarchy.
    ///
    /// # Errors
    /// Of the file system; a missing group has none.
    pub fn pids(&self, path: &str) -> io::Result<Vec<i32>> {
        let relative = relative(path)?;
        let mut pids = Vec::new();
        for root in self.roots() {
            for dir in tree(&root.join(relative))? {
                let text = ignore_missing(fs::read_to_string(dir.join("cgroup.procs")))?.unwrap_or_default();
                pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
            }
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Whether a process is in the group or below it, in any hierarchy. False where we see other paths than the kernel's own,
    /// in a cgroup namespace say.
    #[must_use]
    pub fn holds(&self, path: &str, pid: rustix::process::Pid) -> bool {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())).unwrap_or_default();
        let path = path.trim_end_matches('/');
        // Each line is hierarchy:controllers:path.
        let groups = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        !path.is_empty()
            && groups.filter_map(|group| group.strip_prefix(path)).any(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Kills what is left in the group and removes it with all below, in every hierarchy. No error if it is not there.
    ///
    /// # Errors
    /// `TimedOut` if processes do not die, otherwise of the file system.
    pub async fn remove(&self, path: &str, effects: &Effects) -> io::Result<()> {
        if relative(path)?.as_os_str().is_empty() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the root of the hierarchies is not ours to remove"));
        }
        let deadline = effects.monotonic() + DEATH_TIMEOUT;
        loop {
            match self.remove_now(path) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == ErrorKind::ResourceBusy => self.kill_all(path)?,
                Err(e) => return Err(e),
            }
            if effects.monotonic() >= deadline {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("processes in {path} do not die")));
            }
            effects.sleep(LOOK_AGAIN).await;
        }
    }

    fn remove_now(&self, path: &str) -> io::Result<()> {
        let relative = relative(path)?;
        for root in self.roots() {
            // Children come after their parents in the list.
            for dir in tree(&root.join(relative))?.iter().rev() {
                ignore_missing(fs::remove_dir(dir))?;
            }
        }
        Ok(())
    }

    /// Whether the group exists in any hierarchy.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        relative(path).is_ok_and(|relative| self.roots().any(|root| root.join(relative).is_dir()))
    }

    /// CPU time used by the group and below since it was made; `None` if it is not there.
    #[must_use]
    pub fn cpu_usage(&self, path: &str) -> Option<Duration> {
        match self.layout {
            Layout::V1 { .. } => self.number(path, "cpuacct", "cpuacct.usage").map(Duration::from_nanos),
            Layout::V2 { .. } => {
                let text = self.text(path, "cpu", "cpu.stat")?;
                keyed(&text, "usage_usec").map(Duration::from_micros)
            }
        }
    }

    /// Bytes charged to the group and below; `None` if it is not there.
    #[must_use]
    pub fn memory_usage(&self, path: &str) -> Option<u64> {
        match self.layout {
            Layout::V1 { .. } => self.number(path, "memory", "memory.usage_in_bytes"),
            Layout::V2 { .. } => self.number(path, "memory", "memory.current"),
        }
    }

    /// Of those, the bytes in use: without the page cache that nobody has asked for lately, which the kernel gives back when
    /// there is need. `None` if the group is not there.
    #[must_use]
    pub fn working_set(&self, path: &str) -> Option<u64> {
        let stat = self.text(path, "memory", "memory.stat")?;
        let idle = match self.layout {
            // Without `total_` it would be the group's own, without those below.
            Layout::V1 { .. } => "total_inactive_file",
            Layout::V2 { .. } => "inactive_file",
        };
        Some(self.memory_usage(path)?.saturating_sub(keyed(&stat, idle).unwrap_or(0)))
    }

    /// Processes and threads in the group and below; `None` if it is not there.
    #[must_use]
    pub fn pids_current(&self, path: &str) -> Option<u64> {
        self.number(path, "pids", "pids.current")
    }

    /// How many processes of the group the kernel has killed for lack of memory; `None` if it is not there.
    #[must_use]
    pub fn oom_kills(&self, path: &str) -> Option<u64> {
        let file = match self.layout {
            Layout::V1 { .. } => "memory.oom_control",
            Layout::V2 { .. } => "memory.events",
        };
        keyed(&self.text(path, "memory", file)?, "oom_kill")
    }

    fn number(&self, path: &str, controller: &str, file: &str) -> Option<u64> {
        self.text(path, controller, file)?.trim().parse().ok()
    }

    fn text(&self, path: &str, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.dir(controller, relative(path).ok()?)?.join(file)).ok()
    }

    fn dir(&self, controller: &str, relative: &Path) -> Option<PathBuf> {
        match &self.layout {
            Layout::V1 { hierarchies, .. } => {
                let (_, root) = hierarchies.iter().find(|(names, _)| names.iter().any(|n| n == controller))?;
                Some(root.join(relative))
            }
            Layout::V2 { root } => Some(root.join(relative)),
        }
    }

    fn roots(&self) -> impl Iterator<Item = &PathBuf> {
        let (hierarchies, unified): (&[(Vec<String>, PathBuf)], _) = match &self.layout {
            Layout::V1 { hierarchies, unified } => (hierarchies, unified.as_ref()),
            Layout::V2 { root } => (&[], Some(root)),
        };
        hierarchies.iter().map(|(_, root)| root).chain(unified)
    }
}

/// The kernel's mapping from shares (2..=262144) to weight (1..=10000), as runc and systemd do it.
fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + ((shares - 2) * 9999) / 262_142
}

fn relative(path: &str) -> io::Result<&Path> {
    let bad = path.split('/').any(|part| part == ".." || part == ".");
    match path.strip_prefix('/') {
        Some(rest) if !bad => Ok(Path::new(rest.trim_matches('/'))),
        _ => Err(io::Error::new(ErrorKind::InvalidInput, format!("cgroup path {path:?} is not absolute"))),
    }
}

/// Makes every group on the way; `prepare(parent, group)` runs for each after it exists.
fn make_below(root: &Path, relative: &Path, prepare: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    let mut parent = root.to_owned();
    for part in relative.components() {
        let group = parent.join(part);
        match fs::create_dir(&group) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        prepare(&parent, &group)?;
        parent = group;
    }
    Ok(())
}

/// A new cpuset of version 1 is empty and takes no process until it is told which processors it has.
fn inherit_cpuset(parent: &Path, group: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if fs::read_to_string(group.join(file))?.trim().is_empty() {
            write(&group.join(file), fs::read_to_string(parent.join(file))?.trim())?;
        }
    }
    Ok(())
}

/// On version 2 a group's children have only the controllers the group hands down.
fn delegate(parent: &Path) -> io::Result<()> {
    let available = fs::read_to_string(parent.join("cgroup.controllers"))?;
    let available: Vec<&str> = available.split_whitespace().collect();
    let wanted: Vec<String> =
        V2_CONTROLLERS.iter().filter(|c| available.contains(c)).map(|c| format!("+{c}")).collect();
    if wanted.is_empty() { Ok(()) } else { write(&parent.join("cgroup.subtree_control"), &wanted.join(" ")) }
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|mut f| io::Write::write_all(&mut f, value.as_bytes()))
        .map_err(|e| io::Error::new(e.kind(), format!("{value:?} to {}: {e}", file.display())))
}

/// The directory and all below it, parents first; empty if it is not there.
fn tree(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        let Some(entries) = ignore_missing(fs::read_dir(&next))? else { continue };
        found.push(next);
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn ignore_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        // A group that goes away while it is read answers ENODEV.
        Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(e) => Err(e),
    }
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;

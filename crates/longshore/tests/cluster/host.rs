//! What tasks have left on the host, asked of the kernel and of containerd themselves, not of our records.

use crate::harness::{Cluster, key, processes};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Lines that a program prints; one that fails tells why in a line.
fn lines(program: &str, arguments: &[&str]) -> Vec<String> {
    let out = Command::new(program).args(arguments).output().unwrap();
    let text = if out.status.success() { &out.stdout } else { &out.stderr };
    String::from_utf8_lossy(text).lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).collect()
}

/// A shim of one of the cluster's containers.
pub(crate) struct Shim {
    pub(crate) pid: u32,
    /// The container's id.
    pub(crate) container: String,
}

impl Cluster {
    /// The shims that look after the cluster's containers now.
    pub(crate) fn shims(&self) -> Vec<Shim> {
        let socket = self.run_containerd().join("containerd.sock").display().to_string();
        let shim = |(pid, words): (u32, Vec<String>)| {
            let after = |flag: &str| words.iter().skip_while(|w| *w != flag).nth(1);
            let ours = words.first()?.ends_with("containerd-shim-runc-v2") && *after("-address")? == socket;
            // Those that only start or clear away another one end by themselves.
            let passes = words.last().is_some_and(|w| w == "start" || w == "delete");
            (ours && !passes).then(|| Shim { pid, container: after("-id").cloned().unwrap_or_default() })
        };
        processes().into_iter().filter_map(shim).collect()
    }

    /// Where our containerd has its socket and its state.
    fn run_containerd(&self) -> PathBuf {
        Path::new("/run/longshore").join(key(&self.data())).join("containerd")
    }

    /// What is left of tasks although all have stopped and have been forgotten by their agents; empty if nothing is.
    pub(crate) fn left_of_tasks(&self) -> Vec<String> {
        let mut found: Vec<String> =
            self.shims().into_iter().map(|s| format!("shim {} of {}", s.pid, s.container)).collect();
        let state = self.data().join("containerd").display().to_string();
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        found.extend(mounts.lines().filter(|l| l.contains(&state)).map(|l| format!("mount {l}")));
        self.ask_containerd(&mut found);
        let bundles = names(&self.run_containerd().join("state/io.containerd.runtime.v2.task/longshore"));
        found.extend(bundles.into_iter().map(|name| format!("bundle {name}")));
        for instance in names(&self.data().join("instances")) {
            self.ask_kernel(&instance, &mut found);
            let dir = self.data().join("instances").join(&instance);
            for kind in ["tasks", "containers", "logs"] {
                let kept = names(&dir.join(kind));
                // What the agent knows of such a task says what it waits for.
                let text = |name: &str| fs::read_to_string(dir.join(kind).join(name)).unwrap_or_default();
                // Output that only the instance has is put aside there, and bounded, when its task is forgotten.
                let left = kept.into_iter().filter(|name| (kind, name.as_str()) != ("logs", "ended"));
                found.extend(left.map(|name| format!("{instance}: file {kind}/{name} {}", text(&name))));
            }
        }
        found
    }

    fn ask_containerd(&self, found: &mut Vec<String>) {
        let socket = self.run_containerd().join("containerd.sock").display().to_string();
        let ctr = |arguments: &[&str]| lines("ctr", &[&["-a", &socket, "-n", "longshore"], arguments].concat());
        for what in ["containers", "tasks", "leases"] {
            found.extend(ctr(&[what, "ls", "-q"]).into_iter().map(|l| format!("containerd: {what} {l}")));
        }
        // What a pull was fetching when it was killed.
        found.extend(ctr(&["content", "active"]).into_iter().skip(1).map(|l| format!("containerd: ingest {l}")));
        // Committed ones are the images' layers.
        let used = |l: &String| !l.ends_with("Committed") && !l.starts_with("KEY");
        found.extend(ctr(&["snapshots", "ls"]).into_iter().filter(used).map(|l| format!("containerd: snapshot {l}")));
    }

    /// The namespaces of this VPC's routers, one on each instance that carries it.
    pub(crate) fn routers(&self, vpc: &str) -> Vec<PathBuf> {
        let run = Path::new("/run/longshore").join(key(&self.data()));
        let of = |instance: String| run.join(instance).join("netns").join(format!("router-{vpc}"));
        names(&self.data().join("instances")).into_iter().map(of).filter(|router| router.exists()).collect()
    }

    fn ask_kernel(&self, instance: &str, found: &mut Vec<String>) {
        let key = key(&self.data());
        let run = Path::new("/run/longshore").join(&key);
        let inside = format!("--net={}", run.join("netns").join(instance).display());
        let mut tell = |what: &str, told: Vec<String>| {
            found.extend(told.into_iter().map(|line| format!("{instance}: {what} {line}")));
        };
        tell("namespace", names(&run.join(instance).join("netns")));
        let mut links = lines("nsenter", &[&inside, "ip", "-o", "link"]);
        links.retain(|l| ![": lo:", ": eth0@", ": ecs-br0:"].iter().any(|own| l.contains(own)));
        tell("link", links);
        let mut rules = lines("nsenter", &[&inside, "nft", "list", "ruleset"]);
        // Our maps are there and empty.
        rules.retain(|l| l.contains("elements"));
        tell("mapping", rules);
        let roots =
            ["/sys/fs/cgroup".into()].into_iter().chain(names(Path::new("/sys/fs/cgroup")).into_iter().map(|n| {
                let root: PathBuf = ["/sys/fs/cgroup", &n].iter().collect();
                root
            }));
        for root in roots {
            let own = root.join(format!("longshore-{key}")).join(instance);
            let groups = names(&own).into_iter().filter(|n| n != "agent" && own.join(n).is_dir());
            tell("cgroup", groups.map(|n| own.join(n).display().to_string()).collect());
        }
    }
}

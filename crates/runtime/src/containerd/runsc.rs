//! gVisor through runc's shim, as far as it is not like runc: where its front is, what it leaves behind, and how a process
//! inside a sandbox is reached, which no process of this machine stands for.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::Containerd;
use crate::container::{BindMount, ContainerSpec, Namespace};
use crate::error::{CreateError, RuntimeError};
use crate::oci_runtime::{OciRuntime, program_path};
use crate::programs;

/// Rounds of killing what a further process has started. What forks between the look and the kill is caught by the next
/// round; what forks faster than ten of them is ended with its container.
const ROUNDS: u32 = 10;
/// As the front has it: before anything else, the network namespace to enter.
const IN_NETWORK: &str = "--in-network";
/// A run takes 20 ms and seconds on a busy machine; longer means that the sandbox does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A process as `runsc ps` tells of it, numbered as the container numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inside {
    pid: i32,
    parent: i32,
}

impl Containerd {
    /// The program that containerd's shim is to call; `None` for the one it calls by itself.
    pub(super) fn program(&self, runtime: OciRuntime) -> Option<PathBuf> {
        match runtime {
            OciRuntime::Runc => None,
            OciRuntime::Runsc => Some(self.runsc.clone()),
        }
    }

    /// Kills a further process of a sandbox with all it has started. The machine's own process that stands for it only waits
    /// for it, and killing that one would leave it running.
    pub(super) async fn kill_inside(&self, id: &str) -> Result<(), RuntimeError> {
        let Some(process) = self.process(id).await? else { return Ok(()) };
        let Some(network) = home_of(process.pid) else { return Ok(()) };
        for _ in 0..ROUNDS {
            // As a table, because as JSON they are told without their parents.
            let listed = self.runsc(&network, &["ps", "--format", "table", id]).await?;
            let all = processes(&String::from_utf8_lossy(&listed));
            let all = all.ok_or_else(|| RuntimeError::Other(format!("runsc ps {id} answers no table of processes")))?;
            let further = further(&all);
            if further.is_empty() {
                return Ok(());
            }
            for pid in further {
                // What has ended meanwhile is what was wanted.
                let _ = self.runsc(&network, &["kill", "--pid", &pid.to_string(), id, "KILL"]).await;
            }
        }
        Ok(())
    }

    async fn runsc(&self, network: &str, words: &[&str]) -> Result<Vec<u8>, RuntimeError> {
        let failed = |why: &dyn std::fmt::Display| RuntimeError::Other(format!("runsc {}: {why}", words.join(" ")));
        let root = OciRuntime::Runsc.root().expect("runsc has a root of its own").join(&self.namespace);
        let mut command = Command::new(&self.runsc);
        command
            .args([IN_NETWORK, network])
            .arg("--root")
            .arg(root)
            .args(words)
            .env("PATH", program_path())
            .kill_on_drop(true);
        let output = tokio::time::timeout(ANSWER_TIMEOUT, command.output()).await;
        let output = output.map_err(|_| failed(&"no answer"))?.map_err(|e| failed(&e))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(failed(&String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Removes the record that runsc keeps of a container whose sandbox was ended by somebody else; with it there, none of
    /// that name could be made again.
    pub(super) fn forget_sandbox(&self, id: &str) -> io::Result<()> {
        let root = OciRuntime::Runsc.root().expect("runsc has a root of its own").join(&self.namespace);
        forget(&root, id)
    }
}

/// The network in which a sandbox was made. There it is spoken to, because runsc listens for it at an abstract socket; it is
/// the network of the shim, which is that of containerd and may be another one than ours.
fn home_of(sandbox: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{sandbox}/stat")).ok()?;
    // State and parent follow the name, which is in brackets and may hold anything.
    let shim: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
    Some(format!("/proc/{shim}/ns/net"))
}

/// The rows of the table; `None` if it is none.
fn processes(table: &str) -> Option<Vec<Inside>> {
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next()?.split_whitespace().collect();
    let column = |name: &str| header.iter().position(|cell| *cell == name);
    let (pid, parent) = (column("PID")?, column("PPID")?);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        Some(Inside { pid: cells.get(pid)?.parse().ok()?, parent: cells.get(parent)?.parse().ok()? })
    };
    lines.map(row).collect()
}

/// Where the front for runsc is put.
pub(super) fn install(dir: &Path) -> io::Result<PathBuf> {
    // By the name of the program that it becomes.
    programs::install(&dir.join("bin"), "runsc", programs::FRONT)
}

/// gVisor mounts a file system in memory over a `/tmp` in which the image has nothing and nobody mounts anything. Where what the
/// container writes is to be on a disk, this is mounted there instead, with what the image has at its place.
pub(super) fn tmp(spec: &ContainerSpec) -> Option<BindMount> {
    const TMP: &str = "/tmp";
    let is_tmp = |target: &str| target.split('/').filter(|part| !part.is_empty()).eq(["tmp"]);
    let mut taken = spec.mounts.iter().map(|mount| &mount.target).chain(spec.tmpfs.iter().map(|tmpfs| &tmpfs.target));
    if spec.oci_runtime != OciRuntime::Runsc || taken.any(|target| is_tmp(target)) {
        return None;
    }
    let layer = spec.layer.as_ref()?;
    Some(BindMount {
        source: layer.join("tmp"),
        target: TMP.to_owned(),
        read_only: spec.readonly_rootfs,
        fill: Some(layer.join("tmp.filling")),
        as_is: false,
    })
}

/// What gVisor does not do is refused, not left out.
pub(super) fn check(spec: &ContainerSpec) -> Result<(), CreateError> {
    let refused = |what: &str| Err(CreateError::InvalidSpec(format!("{what} cannot be had under the runtime runsc")));
    if spec.privileged {
        return refused("a privileged container");
    }
    if let Some(name) = spec.sysctls.keys().next() {
        return refused(&format!("the kernel parameter {name} of its own"));
    }
    if spec.pid != Namespace::Own || spec.ipc != Namespace::Own {
        return refused("processes or IPC of other containers or the machine");
    }
    if spec.resources.memory_swap.is_some() || spec.resources.swappiness.is_some() {
        return refused("a limit of what is swapped out");
    }
    Ok(())
}

fn forget(root: &Path, id: &str) -> io::Result<()> {
    let names = [format!("{id}_sandbox:{id}.state"), format!("{id}_sandbox:{id}.lock"), format!("runsc-{id}.sock")];
    for name in names {
        match std::fs::remove_file(root.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The processes that were started besides the container's own, and their descendants. Those started from outside have no
/// parent inside; parents first, so that none of them goes on with its next command.
fn further(all: &[Inside]) -> Vec<i32> {
    const FIRST: i32 = 1;
    let mut found: Vec<i32> = all.iter().filter(|p| p.parent == 0 && p.pid != FIRST).map(|p| p.pid).collect();
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|p| p.parent == parent).map(|p| p.pid));
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_from_outside_and_its_children_are_meant() {
        let table = "UID       PID       PPID      C         TTY       STIME     TIME      CMD\n\
            0         1         0         0         ?         02:10     10ms      sh\n\
            0         2         1         0         ?         02:10     0s        sleep\n\
            0         7         0         0         ?         02:10     0s        a b\n\
            0         9         8         0         ?         02:10     0s        c\n\
            0         8         7         0         ?         02:10     0s        d\n";
        let all = processes(table).unwrap();
        assert_eq!(further(&all), [7, 8, 9]);
        assert_eq!(further(&all[..2]), [0; 0]);
        assert_eq!((processes("[1,2]"), processes("")), (None, None));
    }

    #[test]
    fn tmp_is_on_the_disk_where_there_is_one_and_nothing_else_is_mounted() {
        let on_disk = ContainerSpec {
            oci_runtime: OciRuntime::Runsc,
            layer: Some("/disk/web".into()),
            ..ContainerSpec::new("web", "image", Vec::new())
        };
        let at = |target: &str| {
            let mount =
                BindMount { source: "/v".into(), target: target.into(), read_only: false, fill: None, as_is: false };
            tmp(&ContainerSpec { mounts: vec![mount], ..on_disk.clone() }).map(|tmp| tmp.source)
        };
        let want = Some(PathBuf::from("/disk/web/tmp"));
        assert_eq!((at("/var/tmp"), at("/tmp/below"), at("/tmp/"), at("//tmp")), (want.clone(), want, None, None));
        let memory = crate::container::Tmpfs { target: "/tmp".into(), size: None, options: Vec::new() };
        for other in [
            ContainerSpec { tmpfs: vec![memory], ..on_disk.clone() },
            ContainerSpec { layer: None, ..on_disk.clone() },
            ContainerSpec { oci_runtime: OciRuntime::Runc, ..on_disk.clone() },
        ] {
            assert_eq!(tmp(&other), None, "{other:?}");
        }
        let read_only = ContainerSpec { readonly_rootfs: true, ..on_disk };
        assert!(tmp(&read_only).unwrap().read_only, "as all of its file system");
    }

    #[test]
    fn a_record_that_is_left_goes_and_those_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = |id: &str| dir.path().join(format!("{id}_sandbox:{id}.state"));
        for id in ["web-1", "web-12"] {
            std::fs::write(file(id), "{}").unwrap();
        }
        forget(dir.path(), "web-1").unwrap();
        forget(dir.path(), "web-1").unwrap();
        assert!(!file("web-1").exists() && file("web-12").exists());
    }

    #[test]
    fn what_gvisor_does_not_do_is_refused() {
        let spec = ContainerSpec::new("a", "b", vec!["true".into()]);
        check(&spec).unwrap();
        let privileged = check(&ContainerSpec { privileged: true, ..spec.clone() }).unwrap_err();
        assert!(privileged.to_string().contains("privileged"), "{privileged}");
        let shared = check(&ContainerSpec { ipc: Namespace::Host, ..spec.clone() }).unwrap_err();
        assert!(shared.to_string().contains("IPC of other containers"), "{shared}");
        let sysctls = std::collections::BTreeMap::from([("net.core.somaxconn".to_owned(), "9".to_owned())]);
        let sysctls = check(&ContainerSpec { sysctls, ..spec }).unwrap_err();
        assert!(sysctls.to_string().contains("net.core.somaxconn"), "{sysctls}");
    }
}

//! Takes down what outlives a test by design, however the test ends.

use anyhow::{Context, Result};
use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// Waits for the end of its input, which comes when the test lets go of it or is killed. Then: processes that name the folder,
/// the network namespace with the link of its name, the control group with who is in it, what is mounted below the folder. Bounded: what does not go
/// within seconds stays to be seen.
const SCRIPT: &str = r#"
read -r _
ours() {
    for process in /proc/[0-9]*; do
        case $( (tr '\0' ' ' < "$process/cmdline") 2> /dev/null) in *"$DIR"*) echo "${process#/proc/}" ;; esac
    done
}
tries=0
while pids=$(ours); [ -n "$pids" ] && [ "$tries" -lt 200 ]; do
    kill -9 $pids 2> /dev/null
    tries=$((tries + 1))
    sleep 0.05
done
ip link del "$NAME" 2> /dev/null
ip netns del "$NAME" 2> /dev/null
for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    tries=0
    while [ -d "$root/$NAMED_GROUP" ] && [ "$tries" -lt 100 ]; do
        kill -9 $(find "$root/$NAMED_GROUP" -name cgroup.procs -exec cat {} + 2> /dev/null) 2> /dev/null
        find "$root/$NAMED_GROUP" -depth -type d -exec rmdir {} + 2> /dev/null
        tries=$((tries + 1))
        sleep 0.05
    done
done
while read -r _ at _; do
    case $at in "$DIR"*) umount -l "$at" ;; esac
done < /proc/mounts
"#;

/// Whoever takes down. It does so when this is dropped, and when this process ends without.
pub struct Reaper {
    child: Child,
    held: Option<ChildStdin>,
}

impl Reaper {
    /// Of a folder that the command lines of all processes name which outlive the test, of a network namespace and of a control group.
    ///
    /// # Errors
    /// Without a shell.
    pub fn start(dir: &Path, netns: &str, cgroup: &str) -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT])
            // Not as arguments: it would find itself.
            .env("DIR", dir)
            .env("NAME", netns)
            .env("NAMED_GROUP", cgroup.trim_start_matches('/'))
            .stdin(Stdio::piped())
            // Who kills the test's processes together does not mean this one.
            .process_group(0)
            .spawn()
            .context("no shell to take things down with")?;
        let held = child.stdin.take();
        Ok(Self { child, held })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.held = None;
        // How it ended is seen by what it left.
        let _ = self.child.wait();
    }
}

//! A kernel of a test's own, for what this machine's kernel cannot do: Debian's user-mode Linux, which is a program. It sees the
//! machine's files without being able to write them, and ends with the test, however that ends.

use crate::spawn_bound;
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Bounds a failure, in seconds.
const LIMIT: u32 = 600;
const SUCCEEDED: &str = "the test in its own kernel has succeeded";
/// Where Debian has its modules, below a folder per version.
const MODULES: &str = "/usr/lib/uml/modules";

/// What becomes it. Its memory is a file that it maps: on a disk, each page it writes to would wait for that disk, behind all that
/// others write there. And each system call in it is some switches between two processes: beside others that compute, each switch
/// would wait for its turn, so that it got much less than its share.
const BEFORE: &str = r#"mount -t tmpfs -o mode=700 memory "$0" && exec nice -n -10 "$@""#;

/// What its first process does: file systems that can be written, the modules, the test.
const INIT: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm /run/tmp /run/modules/lib
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
ln -s MODULES /run/modules/lib/modules
for module in overlay loop veth $WANTED; do modprobe -d /run/modules "$module"; done
export TMPDIR=/run/tmp HOME=/run
cd /run
"#;

/// Runs a test of this program again, alone, in another kernel that has these modules.
///
/// # Errors
/// If the test fails there, with all that was said; or if there is no such kernel.
pub fn run_again(test: &str, modules: &[&str]) -> Result<()> {
    let dir = tempfile::TempDir::with_prefix("longshore-kernel-")?;
    let (program, init) = (std::env::current_exe()?, dir.path().join("init"));
    fs::write(&init, script(&program, test, modules))?;
    make_executable(&init)?;
    let memory = dir.path().join("memory");
    fs::create_dir(&memory)?;
    let mut command = Command::new("unshare");
    // All its processes are in a namespace that ends with the first of them.
    command
        .args(["--pid", "--mount-proc", "--fork", "--kill-child=KILL", "sh", "-c", BEFORE])
        .arg(&memory)
        .args(["timeout", "--signal=KILL", &LIMIT.to_string()])
        .args(["linux.uml", "mem=2048M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"])
        .args(["con=null", "con0=fd:0,fd:1", &format!("init={}", init.display())])
        .env("HOME", dir.path())
        .env("TMPDIR", &memory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let ran = spawn_bound(command, 9)?.wait_with_output().context("user-mode Linux does not end")?;
    let said = String::from_utf8_lossy(&ran.stdout);
    // A filter that fits no test would succeed as well.
    ensure!(
        said.contains(SUCCEEDED) && said.contains("test result: ok. 1 passed"),
        "{test} in a kernel of its own (package user-mode-linux):\n{said}"
    );
    Ok(())
}

fn script(program: &Path, test: &str, modules: &[&str]) -> String {
    let run = format!("'{}' --exact '{test}' --nocapture && echo '{SUCCEEDED}'", program.display());
    let init = INIT.replace("MODULES", MODULES).replace("$WANTED", &modules.join(" "));
    // `halt` of Debian asks systemd, which is not there. Nothing is written out first: that would wait for servers that a test has lost.
    format!("{init}{run}\nbusybox halt -n -f\n")
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

//! A network of the test's own: nothing it opens is seen outside, and all of it is gone when its last process is.
#![allow(unsafe_code)] // unshare and a pre_exec hook; each says why it is sound.

use anyhow::{Context, Result, ensure};
use std::{
    os::unix::process::CommandExt,
    process::{Child, Command},
};

/// Moves the calling thread, and every process and thread it starts from now on, into a fresh network namespace with only
/// loopback. There is no name and no file: the kernel removes it with the last process in it, also when that is killed.
///
/// # Errors
/// Without root, or without `ip`.
pub fn isolate_network() -> Result<()> {
    // SAFETY: only the network namespace of this thread changes; no memory, files or signal handlers are shared anew.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    ensure!(result == 0, "cannot make a network namespace (this needs root): {}", std::io::Error::last_os_error());
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .context("ip is missing: apt-get install iproute2")?;
    ensure!(up.success(), "loopback does not come up");
    Ok(())
}

/// Moves the calling thread, and every process and thread it starts from now on, into a mount namespace of its own: what it
/// mounts is seen nowhere else and goes with the last process in it.
///
/// # Errors
/// Without root.
pub fn isolate_mounts() -> Result<()> {
    // SAFETY: CLONE_NEWNS implies CLONE_FS, which gives this thread its own working directory and umask; nothing else changes.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    ensure!(result == 0, "cannot make a mount namespace (this needs root): {}", std::io::Error::last_os_error());
    // Shared mounts would carry ours back to where we came from.
    let private = Command::new("mount").args(["--make-rprivate", "/"]).status().context("mount is missing")?;
    ensure!(private.success(), "the mounts cannot be made private");
    Ok(())
}

/// Starts a process that gets `signal` when the calling thread ends, however it ends: a test that is killed leaves nothing
/// running.
///
/// # Errors
/// If it cannot be started.
pub fn spawn_bound(mut command: Command, signal: i32) -> Result<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    // SAFETY: prctl is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::c_ulong::try_from(signal).unwrap_or(9)) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
    command.spawn().with_context(|| format!("cannot start {name}"))
}

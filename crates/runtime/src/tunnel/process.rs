//! The process of a tunnel: whoever holds the lock that it was started with.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, FdFlags};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{Interest, unix::AsyncFd};
use tokio::process::Command;

use super::settings;
use crate::oci_runtime::program_path;

/// What it may say before somebody makes room: there may be nobody for days, and it complains at each attempt to connect.
pub(super) const MAX_SAID: u64 = 64 << 10;
/// Digits of a process number and a bit more.
const DIGITS: usize = 12;

pub(super) struct Process {
    pid: Pid,
    handle: OwnedFd,
}

impl Process {
    /// The process that holds that lock, which has written its number behind it.
    pub(super) fn holding(mut lock: File) -> io::Result<Option<Self>> {
        if !is_held(&lock)? {
            return Ok(None);
        }
        let mut text = String::new();
        lock.rewind()?;
        lock.read_to_string(&mut text)?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("it has not said its number yet"))?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            // Whoever holds the lock now held it before, so the number was not another's in between.
            Ok(handle) if is_held(&lock)? => Ok(Some(Self { pid, handle })),
            Ok(_) | Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns when it has ended.
    #[allow(unsafe_code)] // tokio wants to be told that the descriptor is not closed before its time.
    pub(super) async fn ended(self) {
        // SAFETY: the descriptor is owned, and goes with what watches it.
        match unsafe { AsyncFd::register_with_interest(self.handle, Interest::READABLE) } {
            Ok(handle) => drop(handle.readable().await),
            Err(error) => tracing::warn!(%error, "a TLS tunnel cannot be watched"),
        }
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.handle.as_fd(), signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it is who listens at that port of the loopback address.
    pub(super) fn listens_at(&self, port: u16) -> bool {
        let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default();
        let Some(inode) = settings::listener(&table, port) else { return false };
        let socket = format!("socket:[{inode}]");
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid.as_raw_nonzero()));
        files.into_iter().flatten().flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| *to == *socket))
    }
}

/// Whether another has it locked.
fn is_held(lock: &File) -> io::Result<bool> {
    match flock(lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            flock(lock, FlockOperation::Unlock)?;
            Ok(false)
        }
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Starts stunnel, which has the lock from us and keeps it. It is in a session of its own, and is not ended with us.
#[allow(unsafe_code)] // pre_exec; the closure makes async-signal-safe system calls only.
pub(super) fn start(program: &Path, conf: &Path, lock: &File, log: File) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg(conf).current_dir("/").env_clear().env("PATH", program_path());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(false);
    let number = lock.as_raw_fd();
    // SAFETY: system calls that are async-signal-safe, on memory of the closure's own, and a descriptor that is open until after the fork.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            let lock = BorrowedFd::borrow_raw(number);
            let mut digits = [0; DIGITS];
            rustix::io::write(
                lock,
                written(rustix::process::getpid().as_raw_nonzero().get().unsigned_abs(), &mut digits),
            )?;
            rustix::io::fcntl_setfd(lock, FdFlags::empty())?;
            // A file that is full is an error, and no reason to end.
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            let most = Rlimit { current: Some(MAX_SAID), maximum: Some(MAX_SAID) };
            Ok(rustix::process::setrlimit(Resource::Fsize, most)?)
        });
    }
    // Reaped when it ends, by whom it does not matter.
    command.spawn().map(drop)
}

/// A number's digits.
fn written(mut number: u32, digits: &mut [u8; DIGITS]) -> &[u8] {
    let mut at = DIGITS;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_without_memory_of_its_own() {
        for number in [0, 7, 10, 4_194_304, u32::MAX] {
            assert_eq!(written(number, &mut [0; DIGITS]), number.to_string().as_bytes());
        }
    }
}

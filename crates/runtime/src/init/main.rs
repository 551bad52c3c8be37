//! Pid 1 of containers that ask for `initProcessEnabled`: starts the real program, forwards signals to it, reaps
//! whatever is orphaned onto it, and ends with the program's own code (128+n for signal n). Without a program it only holds the
//! namespaces it is in, for the containers of a task that share them.
//!
//! Compiled by build.rs as a static program of its own, because an image may have no libc to link with; so it uses
//! nothing but std and the few C functions declared here.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, exit};

/// Linux's sigset_t in glibc and musl alike: 1024 bits.
type SignalSet = [u64; 16];

const SIG_BLOCK: c_int = 0;
const SIG_SETMASK: c_int = 2;
const SIGTERM: c_int = 15;
const SIGCHLD: c_int = 17;
const WNOHANG: c_int = 1;
/// Faults of this program itself; blocking them would hide its own bugs.
const OWN_FAULTS: [c_int; 6] = [4, 5, 6, 7, 8, 11];
/// The shell's codes for "not found" and "not executable".
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

unsafe extern "C" {
    fn sigfillset(set: *mut SignalSet) -> c_int;
    fn sigdelset(set: *mut SignalSet, signal: c_int) -> c_int;
    fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigwaitinfo(set: *const SignalSet, info: *mut c_void) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
}

fn main() {
    let mut args = std::env::args_os().skip(1);
    let mut signals: SignalSet = [0; 16];
    let mut before: SignalSet = [0; 16];
    // SAFETY: the sets are live local arrays of the size the C library expects.
    unsafe {
        sigfillset(&mut signals);
        for fault in OWN_FAULTS {
            sigdelset(&mut signals, fault);
        }
        // Blocked from here on, so that none arrives between two waits.
        sigprocmask(SIG_BLOCK, &signals, &mut before);
    }
    let Some(program) = args.next() else { hold(&signals) };
    let mut command = Command::new(&program);
    command.args(args);
    // SAFETY: sigprocmask is async-signal-safe and touches only the copied set.
    unsafe {
        command.pre_exec(move || {
            sigprocmask(SIG_SETMASK, &before, std::ptr::null_mut());
            Ok(())
        });
    }
    let child = match command.spawn() {
        Ok(child) => child.id().cast_signed(),
        Err(error) => {
            eprintln!("init: {}: {error}", program.to_string_lossy());
            exit(if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE });
        }
    };
    loop {
        // SAFETY: a null info is allowed; the set is live.
        let signal = unsafe { sigwaitinfo(&signals, std::ptr::null_mut()) };
        if signal == SIGCHLD {
            reap(child);
        } else if signal > 0 {
            // SAFETY: no memory is involved.
            unsafe { kill(child, signal) };
        }
    }
}

/// Until somebody ends it.
fn hold(signals: &SignalSet) -> ! {
    loop {
        // SAFETY: a null info is allowed; the set is live.
        match unsafe { sigwaitinfo(signals, std::ptr::null_mut()) } {
            SIGTERM => exit(0),
            // No process has that number.
            SIGCHLD => reap(-1),
            _ => {}
        }
    }
}

/// Collects every ended child; ends this program when the main one has.
fn reap(main_child: c_int) {
    loop {
        let mut status: c_int = 0;
        // SAFETY: status is a live local.
        let pid = unsafe { waitpid(-1, &mut status, WNOHANG) };
        if pid <= 0 {
            return;
        }
        if pid == main_child {
            let status = ExitStatus::from_raw(status);
            exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
    }
}

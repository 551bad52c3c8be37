//! Stands in the PATH of our own containerd before runc and its shim, and does itself what needs neither of them. Each run of
//! theirs starts a Go program, 5 to 8 ms of CPU on an idle machine, and a container's life has seven:
//! * the shim's `start` makes a socket and runs the shim with it, see `shim`;
//! * `runc start` tells a process that waits at a named pipe to go on;
//! * the shim's `delete`, and the `runc delete --force` within it, clear away what a dead shim left. containerd has it done
//!   after every container, because it takes a shim that was told to end for one that died; then nothing is left.
//!
//! Before the first of them it puts variables into the container's document that no disk may hold, see `environment`.
//!
//! Called as `runsc`, it says how gVisor is to be run here, which containerd's shim has no words for (docs/decisions/0019).
//!
//! All else, and whenever anything is not exactly as expected, it becomes the program of its name that follows in PATH, so
//! nothing depends on it. Compiled by build.rs as a static program of its own, because it has to start fast.
#![allow(unsafe_code)]

mod environment;
mod shim;

use std::convert::Infallible;
use std::ffi::{OsStr, OsString, c_int, c_short, c_ulong};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::time::{SystemTime, UNIX_EPOCH};

const O_NONBLOCK: i32 = 0o4000;
const POLLIN: c_short = 1;
const CLONE_NEWNET: c_int = 0x4000_0000;
/// Between two looks whether the process that should open the pipe still lives. It opens it within microseconds.
const LOOK_AGAIN_MS: c_int = 100;
/// What the shim tells of a container whose exit it did not see: killed.
const KILLED: u64 = 128 + 9;
/// Where the shim has runc keep its state, below it a folder for each namespace.
const RUNC_ROOT: &str = "/run/containerd/runc";
/// gVisor with the sockets of the network namespace that the container is given, not with a network of its own; with as many
/// processors as the container's quota is worth (never fewer than two); and without a layer of its own over the container's file
/// system, which has one already: later versions would otherwise keep what is written in a file that goes with the sandbox.
const RUNSC_FLAGS: [&str; 3] = ["--network=host", "--cpu-num-from-quota", "--overlay2=none"];
/// The shell's code for a program that is not there.
const NOT_FOUND: i32 = 127;
/// A container that cannot be given what it needs.
const NOT_DONE: i32 = 1;

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: c_short,
    revents: c_short,
}

unsafe extern "C" {
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    fn setns(fd: c_int, kind: c_int) -> c_int;
}

fn main() {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default().to_owned();
    let arguments: Vec<OsString> = arguments.collect();
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or("\0")).collect();
    if name == "runsc" {
        let Err(error) = runsc(&name, arguments);
        eprintln!("runsc: {error}");
        exit(NOT_FOUND);
    }
    if name != "runc"
        && words.last() == Some(&"start")
        && let Err(error) = environment::fill(&words)
    {
        eprintln!("{}: {error}", name.display());
        exit(NOT_DONE);
    }
    let done = match words.last() {
        _ if name == "runc" => start(&words),
        Some(&"start") => next(&name).ok().and_then(|program| shim::start(&words, &program)),
        Some(_) | None => delete(&words),
    };
    if done.is_none() {
        let Err(error) = become_next(&name, &arguments);
        eprintln!("{}: {error}", name.display());
        exit(NOT_FOUND);
    }
}

/// runsc as it is to be run here, where one of our own asks for it in the network in which it speaks to sandboxes.
fn runsc(name: &OsStr, mut arguments: Vec<OsString>) -> std::io::Result<Infallible> {
    if arguments.len() > 1 && arguments[0] == "--in-network" {
        enter(Path::new(&arguments[1]))?;
        arguments.drain(..2);
    }
    let all: Vec<OsString> = RUNSC_FLAGS.iter().map(OsString::from).chain(arguments).collect();
    become_next(name, &all)
}

fn enter(network: &Path) -> std::io::Result<()> {
    let namespace = File::open(network)?;
    // SAFETY: a descriptor that is open, and a process of one thread.
    match unsafe { setns(namespace.as_raw_fd(), CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// `runc start`, as the shim calls it. `None`: not done, not begun.
fn start(words: &[&str]) -> Option<()> {
    let ["--root", root, "--log", _, "--log-format", "json", "start", id] = words else { return None };
    let container = Path::new(root).join(id);
    let pid = initial_pid(&container)?;
    let path = container.join("exec.fifo");
    if !fs::symlink_metadata(&path).ok()?.file_type().is_fifo() {
        return None;
    }
    // Opened without waiting, which already lets the other side go on.
    let mut pipe = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&path).ok()?;
    loop {
        let there = is_readable(&pipe);
        let mut said = [0; 16];
        if matches!(pipe.read(&mut said), Ok(read) if read > 0) {
            break;
        }
        // It ended before it came so far, or somebody else started it: runc knows the words for that.
        if there || !lives(pid) {
            return None;
        }
    }
    // Gone, it tells that the container was started.
    let _ = fs::remove_file(path);
    Some(())
}

fn is_readable(pipe: &File) -> bool {
    let mut wanted = PollFd { fd: pipe.as_raw_fd(), events: POLLIN, revents: 0 };
    // SAFETY: one live entry, and its count is one.
    unsafe { poll(&mut wanted, 1, LOOK_AGAIN_MS) > 0 }
}

/// The container's first process by runc's own record.
fn initial_pid(container: &Path) -> Option<u32> {
    let state = fs::read_to_string(container.join("state.json")).ok()?;
    let (_, rest) = state.split_once("\"init_process_pid\":")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in brackets and may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The shim's `delete`, if there is nothing left to delete. `None`: something is, or may be.
fn delete(words: &[&str]) -> Option<()> {
    let (action, flags) = words.split_last()?;
    let value = |flag: &str| flags.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1]);
    let (id, namespace, bundle) = (value("-id")?, value("-namespace")?, Path::new(value("-bundle")?));
    if *action == "delete" {
        shim::forget([value("-address")?, namespace, id]);
    }
    let state = Path::new(RUNC_ROOT).join(namespace).join(id);
    if *action != "delete" || !is_runcs(bundle) || exists(&state) || is_mounted(&bundle.join("rootfs")) {
        return None;
    }
    let pid = fs::read_to_string(bundle.join("init.pid")).ok()?.trim().parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let mut exited_at = Vec::new();
    number(&mut exited_at, 1, now.as_secs());
    number(&mut exited_at, 2, now.subsec_nanos().into());
    // containerd.task.v2.DeleteResponse.
    let mut answer = Vec::new();
    number(&mut answer, 1, pid);
    number(&mut answer, 2, KILLED);
    bytes(&mut answer, 3, &exited_at);
    std::io::stdout().write_all(&answer).ok()
}

/// Whether the shim wrote down that it calls runc; what another runtime left is not looked for here.
fn is_runcs(bundle: &Path) -> bool {
    match fs::read_to_string(bundle.join("runtime")) {
        Ok(program) => matches!(program.trim(), "" | "runc"),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Also if it cannot be told.
fn exists(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(e) if e.kind() == std::io::ErrorKind::NotFound)
}

/// Also if it cannot be told.
fn is_mounted(path: &Path) -> bool {
    match (fs::metadata(path), path.parent().map(fs::metadata)) {
        // A mount is another device than the folder it is in.
        (Ok(this), Some(Ok(above))) => this.dev() != above.dev(),
        (Err(e), _) if e.kind() == std::io::ErrorKind::NotFound => false,
        (Ok(_) | Err(_), _) => true,
    }
}

/// A number of a protocol buffers message.
fn number(message: &mut Vec<u8>, field: u8, value: u64) {
    message.push(field << 3);
    varint(message, value);
}

/// A nested message.
fn bytes(message: &mut Vec<u8>, field: u8, value: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, value.len() as u64);
    message.extend(value);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn become_next(name: &OsStr, arguments: &[OsString]) -> std::io::Result<Infallible> {
    Err(Command::new(next(name)?).arg0(name).args(arguments).exec())
}

/// The next program of that name after our own folder in PATH.
fn next(name: &OsStr) -> std::io::Result<PathBuf> {
    let me = fs::metadata("/proc/self/exe")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_other = |candidate: &PathBuf| {
        let there = fs::metadata(candidate);
        there.is_ok_and(|other| {
            other.is_file() && other.permissions().mode() & 0o111 != 0 && (other.dev(), other.ino()) != (me.dev(), me.ino())
        })
    };
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(is_other);
    found.ok_or_else(|| std::io::Error::other("no such program in PATH"))
}

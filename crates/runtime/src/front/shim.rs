//! The shim's `start`: makes the socket that the shim is to listen at, runs the shim with it, and says where it is. The manner of
//! containerd 1.6, which is no contract: [`KNOWN`] says that this is the one that called.

use std::fs::{self, OpenOptions, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set by whoever started containerd and knows its version.
const KNOWN: &str = "LONGSHORE_SHIM_START";
/// Where shims have their sockets.
const SOCKETS: &str = "/run/containerd/s";
/// What makes several containers share a shim. The shim itself finds out which.
const GROUPS: [&str; 2] = ["\"io.containerd.runc.v2.group\"", "\"io.kubernetes.cri.sandbox-id\""];
/// The shim finds its socket where a program finds the first of its files.
const SOCKET_FD: i32 = 3;
/// The largest there is.
const MOST_KILLABLE: i32 = 1000;

unsafe extern "C" {
    fn dup2(from: i32, to: i32) -> i32;
}

/// `None`: not done, and nothing left of it.
pub(crate) fn start(words: &[&str], program: &Path) -> Option<()> {
    let ["-namespace", namespace, "-address", address, "-publish-binary", _, "-id", id, "start"] = words else {
        return None;
    };
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !set(KNOWN) || set("SCHED_CORE") {
        return None;
    }
    let document = fs::read_to_string("config.json").ok()?;
    if GROUPS.iter().any(|group| document.contains(group)) {
        return None;
    }
    be_killed_before_containerd()?;
    // One that is there may be somebody's.
    let path = Path::new(SOCKETS).join(name(&[address, namespace, id]));
    fs::create_dir_all(SOCKETS).ok()?;
    let listener = UnixListener::bind(&path).ok()?;
    let told = format!("unix://{}", path.display());
    let run = || {
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        write_address(&told)?;
        spawn(program, &["-namespace", namespace, "-id", id, "-address", address], listener)
    };
    if run().is_err() {
        let _ = fs::remove_file("address");
        let _ = fs::remove_file(path);
        return None;
    }
    io::stdout().write_all(told.as_bytes()).ok()
}

/// Removes the socket that a shim has left which was killed. One that ends by itself does so too.
pub(crate) fn forget([address, namespace, id]: [&str; 3]) {
    let path = Path::new(SOCKETS).join(name(&[address, namespace, id]));
    if UnixStream::connect(&path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
        let _ = fs::remove_file(path);
    }
}

/// 128 bits, so that no two containers' sockets on a machine are the same.
fn name(parts: &[&str]) -> String {
    let hashed = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, parts).hash(&mut hasher);
        hasher.finish()
    };
    format!("{:016x}{:016x}", hashed(0), hashed(1))
}

/// The shim inherits it.
fn be_killed_before_containerd() -> Option<()> {
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", parent_id())).ok()?;
    let score = (score.trim().parse::<i32>().ok()? + 1).min(MOST_KILLABLE);
    fs::write("/proc/self/oom_score_adj", score.to_string()).ok()
}

/// Where the shim finds out what to remove, and containerd, started anew, whom to ask.
fn write_address(address: &str) -> io::Result<()> {
    let fresh = PathBuf::from(".address");
    let mut file = OpenOptions::new().write(true).create_new(true).open(&fresh)?;
    let written = file.write_all(address.as_bytes()).and_then(|()| fs::rename(&fresh, "address"));
    if written.is_err() {
        let _ = fs::remove_file(fresh);
    }
    written
}

fn spawn(program: &Path, words: &[&str], listener: UnixListener) -> io::Result<()> {
    // Never the number itself: that would be closed when the program starts.
    let second = OwnedFd::from(listener.try_clone()?);
    let mut command = Command::new(program);
    command.args(words).env("GOMAXPROCS", "4").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: dup2 is async-signal-safe, and the descriptor is open until the program runs.
    unsafe {
        command.pre_exec(move || {
            if dup2(second.as_raw_fd(), SOCKET_FD) == SOCKET_FD { Ok(()) } else { Err(io::Error::last_os_error()) }
        });
    }
    command.spawn().map(drop)
}

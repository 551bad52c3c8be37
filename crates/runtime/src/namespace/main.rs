//! Makes one namespace and holds it until its standard input ends: whoever called mounts it somewhere meanwhile, and it lives on there.
//!
//! `namespace user` makes a user namespace, into which the caller writes who is who in it. `namespace network USER NAME=VALUE...` makes a
//! network namespace that belongs to the user namespace at that path: what is root there has a say over it, and runc can join both. It
//! has these settings of `/proc/sys/net` from its first moment, as far as the kernel knows them.
//!
//! Compiled by build.rs as a static program of its own: the kernel lets only processes of one thread change their user namespace.
#![allow(unsafe_code)]

use std::ffi::{OsStr, c_int};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::exit;

const CLONE_NEWUSER: c_int = 0x1000_0000;
const CLONE_NEWNET: c_int = 0x4000_0000;

unsafe extern "C" {
    fn setns(fd: c_int, kind: c_int) -> c_int;
    fn unshare(flags: c_int) -> c_int;
}

fn main() {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let made = match words.as_slice() {
        [kind] if kind == "user" => separate(CLONE_NEWUSER),
        [kind, user, settings @ ..] if kind == "network" => {
            let made = join(Path::new(user)).and_then(|()| separate(CLONE_NEWNET));
            made.and_then(|()| settings.iter().try_for_each(|setting| set(setting)))
        }
        _ => {
            eprintln!("namespace user | namespace network USER NAME=VALUE...");
            exit(2);
        }
    };
    if let Err(error) = made.and_then(|()| io::stdout().write_all(b"made\n")).and_then(|()| io::stdout().flush()) {
        eprintln!("{error}");
        exit(1);
    }
    // Whatever is said, only that it ends counts.
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

fn join(user: &Path) -> io::Result<()> {
    let namespace = File::open(user)?;
    // SAFETY: a descriptor that is open, and a process of one thread.
    done(unsafe { setns(namespace.as_raw_fd(), CLONE_NEWUSER) })
}

/// In the namespace of the caller, by the eyes of which groups are counted as well.
fn set(setting: &OsStr) -> io::Result<()> {
    let (name, value) = setting.to_str().and_then(|text| text.split_once('=')).ok_or(io::ErrorKind::InvalidInput)?;
    match std::fs::write(Path::new("/proc/sys/net").join(name), value) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn separate(kind: c_int) -> io::Result<()> {
    // SAFETY: no memory is involved, and a process of one thread.
    done(unsafe { unshare(kind) })
}

fn done(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

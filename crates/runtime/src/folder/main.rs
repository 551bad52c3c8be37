//! Mounts one folder of a file system, and nothing that a link in that file system leads to: who can write there could otherwise
//! have the machine mount what lies outside the folder's file system, since a kernel that is given a path resolves it with all links.
//!
//! So the whole file system is mounted first, where nobody sees it: in a mount namespace of this process, which goes with it however
//! it ends. The folder is opened from there without following any link, and a mount of it alone is put in its place on the machine.
//!
//! Compiled by build.rs as a static program of its own: whatever of this asks a file server may wait for it for as long as it likes,
//! which an agent cannot, and a process can be killed.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::exit;

const MS_NOSUID: c_ulong = 2;
const MS_NODEV: c_ulong = 4;
const MS_REC: c_ulong = 0x4000;
const MS_SLAVE: c_ulong = 1 << 19;
const CLONE_NEWNS: c_int = 0x0002_0000;
/// Source: include/uapi/linux/openat2.h.
const RESOLVE_NO_MAGICLINKS: u64 = 2;
const RESOLVE_NO_SYMLINKS: u64 = 4;
const RESOLVE_BENEATH: u64 = 8;
/// Source: include/uapi/linux/mount.h and fcntl.h.
const OPEN_TREE_CLONE: c_long = 1;
const OPEN_TREE_CLOEXEC: c_long = CLOEXEC as c_long;
const AT_EMPTY_PATH: c_long = 0x1000;
const MOVE_MOUNT_F_EMPTY_PATH: c_long = 4;
const MOVE_MOUNT_T_EMPTY_PATH: c_long = 0x40;
/// The same on every architecture.
const SYS_OPEN_TREE: c_long = 428;
const SYS_MOVE_MOUNT: c_long = 429;
const SYS_OPENAT2: c_long = 437;
const ENOENT: i32 = 2;
const EAGAIN: i32 = 11;
/// A folder is looked for again as often as somebody mounts or renames something at that very moment.
const LOOKS: u32 = 1000;
const EXDEV: i32 = 18;
const ENOTDIR: i32 = 20;
const ELOOP: i32 = 40;

#[cfg(not(target_arch = "aarch64"))]
const DIRECTORY: c_int = 0o200_000;
#[cfg(target_arch = "aarch64")]
const DIRECTORY: c_int = 0o40_000;
const PATH: c_int = 0o10_000_000;
const CLOEXEC: c_int = 0o2_000_000;

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn setns(fd: c_int, kind: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn unshare(flags: c_int) -> c_int;
}

fn main() {
    let words = std::env::args_os().skip(1).map(|word| CString::new(word.into_vec()));
    let words: Vec<CString> = words.collect::<Result<_, _>>().unwrap_or_default();
    let [kind, options, device, folder, at] = words.as_slice() else {
        eprintln!("folder KIND OPTIONS DEVICE FOLDER PLACE");
        exit(2);
    };
    // From its file system's root, wherever that is.
    let inside = folder.to_bytes().strip_prefix(b"/").unwrap_or_default();
    let inside = if inside.is_empty() { b"." } else { inside };
    let inside = CString::new(inside).expect("a part of a text without zeros has none");
    if let Err(error) = show(kind, options, device, &inside, at) {
        let (device, folder) = (device.to_string_lossy(), folder.to_string_lossy());
        let shown = format!("{}{folder}", device.trim_end_matches('/'));
        eprintln!("mounting {} failed{}", if folder == "/" { &device } else { shown.as_str() }, said(&error));
        exit(1);
    }
}

/// AWS: what is not there, in the words of mount.nfs4. So is what a link stands for, with a hint for whoever made it.
fn said(error: &io::Error) -> String {
    let text = error.to_string();
    // Without the number that std appends.
    let text = text.split(" (os error").next().unwrap_or_default();
    match error.raw_os_error() {
        Some(ENOENT | ENOTDIR) => format!(", reason given by server: {text}"),
        Some(ELOOP | EXDEV) => {
            ", reason given by server: No such file or directory (symbolic links are not followed)".to_owned()
        }
        Some(_) | None => format!(": {text}"),
    }
}

fn show(kind: &CStr, options: &CStr, device: &CStr, folder: &CStr, at: &CStr) -> io::Result<()> {
    let home = File::open("/proc/self/ns/mnt")?;
    // Before anything is mounted over it.
    let place = open(at)?;
    // SAFETY: no memory is involved.
    done(unsafe { unshare(CLONE_NEWNS) })?;
    // Nothing that is mounted here comes to be elsewhere; what is unmounted elsewhere goes here too.
    mounted(c"none", c"/", c"none", MS_REC | MS_SLAVE, c"")?;
    mounted(device, at, kind, MS_NOSUID | MS_NODEV, options)?;
    let tree = {
        let folder = below(&open(at)?, folder)?;
        // SAFETY: a live descriptor and an empty name.
        let number = unsafe {
            let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
            syscall(SYS_OPEN_TREE, folder.as_raw_fd(), c"".as_ptr(), flags)
        };
        owned(number)?
    };
    // SAFETY: a live descriptor, and a process of one thread.
    done(unsafe { setns(home.as_raw_fd(), CLONE_NEWNS) })?;
    // SAFETY: live descriptors and empty names.
    let moved = unsafe {
        let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
        let (empty, tree, place) = (c"".as_ptr(), tree.as_raw_fd(), place.as_raw_fd());
        syscall(SYS_MOVE_MOUNT, tree, empty, place, empty, flags)
    };
    if moved == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn mounted(device: &CStr, at: &CStr, kind: &CStr, flags: c_ulong, options: &CStr) -> io::Result<()> {
    // SAFETY: all are texts that end with a zero.
    done(unsafe { mount(device.as_ptr(), at.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) })
}

fn open(at: &CStr) -> io::Result<File> {
    let at = at.to_str().map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(PATH | DIRECTORY).open(at)
}

/// A folder that is reached from there without leaving it, and without a link.
fn below(top: &File, folder: &CStr) -> io::Result<File> {
    let how = OpenHow {
        flags: (PATH | DIRECTORY | CLOEXEC) as u64,
        mode: 0,
        resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    let look = || {
        // SAFETY: a live descriptor, a text that ends with a zero, and a structure of the size that is said.
        owned(unsafe { syscall(SYS_OPENAT2, top.as_raw_fd(), folder.as_ptr(), &raw const how, size_of::<OpenHow>()) })
    };
    let mut tries = 0;
    loop {
        match look() {
            // Whatever was mounted on the machine meanwhile might have led elsewhere.
            Err(error) if error.raw_os_error() == Some(EAGAIN) && tries < LOOKS => tries += 1,
            found => return found,
        }
    }
}

fn owned(number: c_long) -> io::Result<File> {
    match c_int::try_from(number) {
        // SAFETY: the kernel has just opened it for us.
        Ok(number @ 0..) => Ok(unsafe { File::from_raw_fd(number) }),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

fn done(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

//! Trees of files that strangers made: removed, emptied and copied, whatever is in them.
//!
//! A container may have made folders deeper than any path, and may go on changing a tree while it is worked on: so nothing here
//! recurses, and every step goes from an open folder to one name in it, never through a link.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Names tried for what is moved up, which only somebody who wants to be in the way has taken.
const TRIES: u64 = 100;
/// Of a name or value of an extended attribute. Source: Linux's limits.
const LARGEST_XATTR: usize = 64 << 10;

/// Removes a folder with all that is in it. No error if there is none. Blocks.
///
/// # Errors
/// Of the machine; what is left is removed by another try.
pub fn remove(folder: &Path) -> io::Result<()> {
    match empty(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes all that is in a folder. What is deep in it is moved up first, so that no path grows with it. Blocks.
///
/// # Errors
/// Of the machine.
pub fn empty(folder: &Path) -> io::Result<()> {
    let top = rustix::fs::openat(CWD, folder, FOLDER, Mode::empty())?;
    let mut number = 0;
    loop {
        let names = names(&top)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if rustix::fs::unlinkat(&top, &name, AtFlags::empty()).is_ok() {
                continue;
            }
            let below = rustix::fs::openat(&top, &name, FOLDER, Mode::empty())?;
            for inner in self::names(&below)? {
                if rustix::fs::unlinkat(&below, &inner, AtFlags::empty()).is_err() {
                    move_up(&below, &inner, &top, &mut number)?;
                }
            }
            rustix::fs::unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
        }
    }
}

fn move_up(from: &OwnedFd, name: &CStr, top: &OwnedFd, number: &mut u64) -> io::Result<()> {
    for _ in 0..TRIES {
        *number += 1;
        match rustix::fs::renameat(from, name, top, format!(".moved-{number}")) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::ISDIR) => {}
            done => return Ok(done?),
        }
    }
    Err(io::Error::other("every name that a folder could be moved to is taken"))
}

/// Whether nothing is in a folder.
///
/// # Errors
/// Of the machine.
pub fn is_empty(folder: impl AsFd) -> io::Result<bool> {
    Ok(names(folder)?.is_empty())
}

fn names(folder: impl AsFd) -> io::Result<Vec<CString>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            found.push(name);
        }
    }
    Ok(found)
}

/// Copies all that is in a folder into another one that holds nothing: with owners, modes, times and capabilities. What is
/// behind more than a path's length of folders is an error. Sockets are left out. Blocks.
///
/// # Errors
/// Of the machine.
pub fn copy(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut left = vec![PathBuf::from(".")];
    let mut done = Vec::new();
    while let Some(path) = left.pop() {
        let (source, target) = (below(from, &path)?, below(to, &path)?);
        for name in names(&source)? {
            if copy_one(&source, &target, &name)? == FileType::Directory {
                left.push(path.join(OsStr::from_bytes(name.as_bytes())));
            }
        }
        done.push(path);
    }
    // Last, because what is put into a folder changes its times, and the inner ones first.
    for path in done.iter().rev() {
        dress(&below(from, path)?, &below(to, path)?)?;
    }
    Ok(())
}

/// A folder of a tree, by no link and nothing mounted.
pub(crate) fn below(top: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(rustix::fs::openat2(top, path, FOLDER, Mode::empty(), resolve)?)
}

fn copy_one(source: &OwnedFd, target: &OwnedFd, name: &CStr) -> io::Result<FileType> {
    let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    match kind {
        FileType::Directory => rustix::fs::mkdirat(target, name, Mode::RWXU)?,
        FileType::RegularFile => {
            let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let read = rustix::fs::openat(source, name, flags | OFlags::RDONLY, Mode::empty())?;
            let made = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let write = rustix::fs::openat(target, name, made, Mode::RUSR | Mode::WUSR)?;
            io::copy(&mut File::from(read.try_clone()?), &mut File::from(write.try_clone()?))?;
            dress(&read, &write)?;
        }
        FileType::Symlink => {
            rustix::fs::symlinkat(rustix::fs::readlinkat(source, name, Vec::new())?, target, name)?;
            rustix::fs::chownat(target, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
            rustix::fs::mknodat(target, name, kind, Mode::from_raw_mode(stat.st_mode), stat.st_rdev)?;
            rustix::fs::chownat(target, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        FileType::Socket | FileType::Unknown => {}
    }
    Ok(kind)
}

/// Gives a file or folder the owner, mode, capabilities and times of another.
pub(crate) fn dress(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(to, Some(owner.0), Some(owner.1))?;
    // After the owner, whose change takes set-uid bits and capabilities away.
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    let mut value = vec![0; LARGEST_XATTR];
    if let Ok(length) = rustix::fs::fgetxattr(from, c"security.capability", &mut value[..]) {
        rustix::fs::fsetxattr(to, c"security.capability", &value[..length], XattrFlags::empty())?;
    }
    let time = |tv_sec: i64, nanos: u64| Timespec { tv_sec, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::futimens(to, &times)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::openat(CWD, path, FOLDER, Mode::empty()).unwrap()
    }

    #[test]
    fn what_is_deeper_than_any_path_goes_and_what_links_lead_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, folder) = (dir.path().join("kept"), dir.path().join("tree"));
        fs::create_dir_all(&kept).unwrap();
        fs::write(kept.join("file"), "kept").unwrap();
        fs::create_dir(&folder).unwrap();
        let name = "d".repeat(200);
        let mut at = open(&folder);
        // 6,000 folders one in the other: neither a path of 4,096 bytes nor a stack would reach the last.
        for _ in 0..6_000 {
            rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
            rustix::fs::symlinkat(&kept, &at, "link").unwrap();
            at = rustix::fs::openat(&at, &name, FOLDER, Mode::empty()).unwrap();
        }
        drop(at);
        fs::create_dir(folder.join(".moved-1")).unwrap();
        fs::write(folder.join(".moved-2"), "in the way").unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists());
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "kept");
        remove(&folder).unwrap();
        std::os::unix::fs::symlink(&kept, &folder).unwrap();
        assert!(empty(&folder).is_err(), "a link is no folder");
        assert!(kept.join("file").exists());
    }

    #[test]
    fn a_copy_has_owners_modes_and_times() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub/inner")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("sub/file"), "text").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        rustix::fs::mknodat(CWD, from.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        std::os::unix::fs::chown(from.join("sub/file"), Some(12), Some(34)).unwrap();
        fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(0o1777)).unwrap();
        let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        File::open(from.join("sub")).unwrap().set_modified(then).unwrap();
        copy(open(&from), open(&to)).unwrap();
        let file = fs::metadata(to.join("sub/file")).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (12, 34, 0o4751));
        let sub = fs::metadata(to.join("sub")).unwrap();
        assert_eq!((sub.mode() & 0o7777, sub.modified().unwrap()), (0o1777, then));
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert!(to.join("sub/inner").is_dir() && !to.join("fifo").is_file());
        assert_eq!(fs::read_to_string(to.join("sub/file")).unwrap(), "text");
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to, host) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("host"));
        for folder in [&from.join("sub"), &to, &host] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(from.join("sub/file"), "image").unwrap();
        // As a container that sees the volume may do it, before the copy comes to it.
        std::os::unix::fs::symlink(&host, to.join("sub")).unwrap();
        assert!(copy(open(&from), open(&to)).is_err());
        fs::remove_file(to.join("sub")).unwrap();
        fs::create_dir(to.join("sub")).unwrap();
        std::os::unix::fs::symlink(host.join("file"), to.join("sub/file")).unwrap();
        assert!(copy_one(&open(&from.join("sub")), &open(&to.join("sub")), c"file").is_err());
        assert_eq!(fs::read_dir(&host).unwrap().count(), 0);
    }

    /// Swaps a folder for a link out of the tree and back, as fast as the machine can, until the work beside it is done.
    fn while_swapping<T>(folder: &Path, link: &Path, work: impl FnOnce() -> T) -> T {
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    // Either may be gone or not be there yet.
                    let _ = rustix::fs::renameat_with(CWD, folder, CWD, link, rustix::fs::RenameFlags::EXCHANGE);
                }
            });
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    #[test]
    fn whoever_swaps_folders_for_links_meanwhile_leads_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to, host) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("host"));
        fs::create_dir(&host).unwrap();
        fs::write(host.join("file"), "of the machine").unwrap();
        fs::create_dir_all(from.join("sub/inner")).unwrap();
        for number in 0..20 {
            fs::write(from.join(format!("sub/inner/{number}")), "image").unwrap();
        }
        let (sub, link) = (to.join("sub"), to.join("link"));
        let mut copied = 0;
        for _ in 0..200 {
            fs::create_dir(&to).unwrap();
            std::os::unix::fs::symlink(&host, &link).unwrap();
            while_swapping(&sub, &link, || {
                copied += u32::from(copy(open(&from), open(&to)).is_ok());
                let _ = empty(&to);
            });
            remove(&to).unwrap();
            let left: Vec<_> = fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, ["file"], "something was written or removed outside");
            assert_eq!(fs::read_to_string(host.join("file")).unwrap(), "of the machine");
        }
        assert!(copied < 200, "nobody was ever in the way");
    }
}

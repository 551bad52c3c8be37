//! Mounts that show folders and files of the machine with owners as a user namespace has them: what belongs to root on the disk
//! belongs to the namespace's root, and what that root makes there belongs to root on the disk.
//!
//! They are needed while a container is made and no longer, because what is mounted for it are copies of them. Each container has a
//! folder for its own, so that what a killed process has left is found.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

/// Source: include/uapi/linux/mount.h.
const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
/// The same on every architecture that we run on.
const SYS_MOUNT_SETATTR: libc::c_long = 442;

/// Source: mount_setattr(2).
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// What a clone is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    /// The user namespace whose owners it has; those of the machine without one.
    pub(crate) user: Option<BorrowedFd<'a>>,
    /// Nobody writes through it. runc, which is nobody on the machine, could not say so of a mount with other flags.
    pub(crate) read_only: bool,
}

impl<'a> Look<'a> {
    /// As this user namespace has it.
    pub(crate) fn of(user: BorrowedFd<'a>) -> Self {
        Self { user: Some(user), read_only: false }
    }
}

/// The clones of a machine's containers, in one folder. Everything here blocks.
#[derive(Debug, Clone)]
pub struct Clones {
    dir: PathBuf,
}

impl Clones {
    /// Those in this folder, which is made with the first.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Shows a folder or file, with all that is mounted below it.
    pub(crate) fn make(&self, container: &str, name: &str, source: &Path, look: Look<'_>) -> io::Result<PathBuf> {
        let folder = self.dir.join(container);
        // Root of a container is nobody here, and has no way in.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let at = folder.join(name);
        if fs::metadata(source)?.is_dir() {
            fs::create_dir(&at)?;
        } else {
            drop(File::create_new(&at)?);
        }
        show(source, &at, look)?;
        Ok(at)
    }

    /// Takes away those of a container. No error if there are none.
    ///
    /// # Errors
    /// Of the machine.
    pub fn remove(&self, container: &str) -> io::Result<()> {
        let folder = self.dir.join(container);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let at = entry?.path();
            // Not a mount any more is what the kernel calls invalid.
            while unmount(&at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
            // What is still mounted is busy, and nothing of it is removed.
            if fs::symlink_metadata(&at)?.is_dir() { fs::remove_dir(&at)? } else { fs::remove_file(&at)? }
        }
        fs::remove_dir(&folder)
    }

    /// Takes all away that a killed process has left.
    ///
    /// # Errors
    /// Of the machine; what comes after stays.
    pub fn sweep(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            self.remove(&entry?.file_name().to_string_lossy())?;
        }
        Ok(())
    }
}

/// Mounts a clone of what is at `source`, and of all that is mounted below, over `at`.
pub(super) fn show(source: &Path, at: &Path, look: Look<'_>) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, source, flags)?;
    let attributes = Attributes {
        set: look.user.map_or(0, |_| MOUNT_ATTR_IDMAP) | if look.read_only { MOUNT_ATTR_RDONLY } else { 0 },
        clear: 0,
        // Else what is unmounted here were unmounted where it was cloned from.
        propagation: libc::MS_PRIVATE,
        userns: look.user.map_or(Ok(0), |user| u64::try_from(user.as_raw_fd())).map_err(io::Error::other)?,
    };
    set_attributes(tree.as_fd(), &attributes)?;
    Ok(move_mount(&tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

#[allow(unsafe_code, reason = "no crate here has mount_setattr(2)")]
fn set_attributes(tree: BorrowedFd<'_>, attributes: &Attributes) -> io::Result<()> {
    // SAFETY: a live descriptor, an empty name, and a structure of the size that is said.
    let result = unsafe {
        let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
        let attributes = std::ptr::from_ref(attributes);
        libc::syscall(SYS_MOUNT_SETATTR, tree.as_raw_fd(), c"".as_ptr(), flags, attributes, size_of::<Attributes>())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::userns::{IdMapping, NamespaceMaker};
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    use std::os::unix::fs::{MetadataExt as _, chown};

    #[test]
    fn owners_are_shifted_both_ways_and_nothing_goes_with_a_clone() {
        let dir = tempfile::tempdir().unwrap();
        // A thread with mounts of its own: whatever becomes of this, none is left. All of them can be told of each other.
        std::thread::scope(|scope| scope.spawn(|| inside(dir.path())).join().unwrap());
    }

    fn inside(dir: &Path) {
        testkit::isolate_mounts().unwrap();
        mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC).unwrap();
        let range = IdMapping { first_user: 200_000, first_group: 300_000, count: 65_536 };
        let maker = NamespaceMaker::install(dir).unwrap();
        maker.user(&dir.join("user"), &range).unwrap();
        let user = File::open(dir.join("user")).unwrap();
        let (source, below) = (dir.join("source"), dir.join("source/below"));
        fs::create_dir_all(&below).unwrap();
        fs::write(source.join("file"), "").unwrap();
        chown(source.join("file"), Some(7), Some(8)).unwrap();
        mount("tmpfs", &below, "tmpfs", MountFlags::empty(), None).unwrap();
        fs::write(below.join("inner"), "").unwrap();

        let clones = Clones::new(dir.join("clones"));
        let at = clones.make("c", "0", &source, Look::of(user.as_fd())).unwrap();
        let file = clones.make("c", "1", &source.join("file"), Look::of(user.as_fd())).unwrap();
        let owner = |path: &Path| fs::metadata(path).map(|about| (about.uid(), about.gid())).unwrap();
        assert_eq!(owner(&at.join("file")), (200_007, 300_008));
        assert_eq!((owner(&file), owner(&at.join("below/inner"))), ((200_007, 300_008), (200_000, 300_000)));
        chown(at.join("file"), Some(200_009), Some(300_009)).unwrap();
        assert_eq!(owner(&source.join("file")), (9, 9));
        assert_eq!(chown(at.join("file"), Some(9), None).unwrap_err().raw_os_error(), Some(libc::EOVERFLOW));
        let refused = clones.make("p", "0", Path::new("/proc"), Look::of(user.as_fd())).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));

        let closed = clones.make("c", "2", &source, Look { user: None, read_only: true }).unwrap();
        assert_eq!(owner(&closed.join("file")), (9, 9));
        for name in ["file", "below/inner"] {
            assert_eq!(fs::write(closed.join(name), "").unwrap_err().raw_os_error(), Some(libc::EROFS));
        }

        clones.remove("c").unwrap();
        clones.remove("c").unwrap();
        assert!(below.join("inner").exists(), "what is mounted on the machine went with its clone");
        clones.make("d", "0", &source, Look::of(user.as_fd())).unwrap();
        clones.sweep().unwrap();
        assert_eq!(fs::read_dir(dir.join("clones")).unwrap().count(), 0);
        assert!(below.join("inner").exists() && source.join("file").exists());
    }
}

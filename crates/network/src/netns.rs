//! Network namespaces that outlive processes: bind mounts of an nsfs file under a folder we own.
//!
//! Making one is: create the file, unshare on a throw-away thread, bind-mount that thread's namespace over the file. Killed
//! before the mount, the file is a plain file, which `exists` denies and the next `create` mounts over. Removing is unmount
//! and unlink (which also detaches copies in other mount namespaces); the kernel destroys the interfaces inside on its own time.

use crate::context::set_thread_netns;
use crate::sysctl::{self, Setting};
use crate::{Error, NetContext, Netlink, Result, names};
use rustix::mount::UnmountFlags;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The magic number statfs(2) gives for a namespace file (linux/magic.h, NSFS_MAGIC).
const NSFS_MAGIC: i64 = 0x6e73_6673;
/// The longest namespace name, in bytes: a file name's limit, and room for prefixes.
const MAX_NAME: usize = 200;

/// The file that keeps one network namespace alive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetnsPath(PathBuf);

impl NetnsPath {
    /// The namespace `name` in folder `dir`; nothing is created. Errors with [`Error::Name`] on a name that is no plain file name.
    pub fn new(dir: impl AsRef<Path>, name: &str) -> Result<Self> {
        names::check("namespace", name, MAX_NAME)?;
        Ok(Self(dir.as_ref().join(name)))
    }

    /// The file.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// A context that works inside this namespace.
    pub fn context(&self) -> NetContext {
        NetContext::at(&self.0)
    }

    /// Is a namespace mounted here? One system call; a plain file left by a crash is `false`.
    pub fn exists(&self) -> bool {
        is_nsfs(&self.0)
    }

    /// Makes the namespace unless it is there. Only `lo` is in it, and it is down.
    pub async fn create(&self) -> Result<()> {
        let this = self.clone();
        NetContext::own().enter(move || this.create_here().map(drop)).await
    }

    /// Unmounts and unlinks; fine when it, or half of it, is not there. Processes still inside keep the namespace alive.
    pub async fn remove(&self) -> Result<()> {
        let this = self.clone();
        // On a thread because unmounting may wait, not because of the namespace.
        NetContext::own().enter(move || this.remove_here()).await
    }

    /// Runs `work` inside, on a dedicated thread. See [`NetContext::enter`].
    pub async fn enter<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        self.context().enter(work).await
    }

    /// A netlink connection that stays inside this namespace and is used from async code.
    pub async fn netlink(&self) -> Result<Netlink> {
        Netlink::open(&self.context()).await
    }

    /// `create` on the calling thread, which is left inside the namespace. `true` when it was made now.
    pub(crate) fn create_here(&self) -> Result<bool> {
        self.create_here_with(&[])
    }

    /// As [`Self::create_here`], with settings that a new one has from its first moment: before the mount, so that whoever is
    /// killed leaves one with all of them or none, and never again, because what its containers set since then holds.
    pub(crate) fn create_here_with(&self, settings: &[Setting]) -> Result<bool> {
        if self.exists() {
            set_thread_netns(&self.0)?;
            return Ok(false);
        }
        if let Some(dir) = self.0.parent() {
            fs::create_dir_all(dir).map_err(|source| Error::os("creating folder", dir, source))?;
        }
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&self.0);
        drop(file.map_err(|source| Error::os("creating namespace file", &self.0, source))?);
        unshare_net().map_err(|source| Error::os("making a network namespace for", &self.0, source))?;
        for (name, value) in settings {
            sysctl::set_if_there(name, value)?;
        }
        rustix::mount::mount_bind("/proc/thread-self/ns/net", &self.0)
            .map_err(|source| Error::os("mounting network namespace", &self.0, source))?;
        Ok(true)
    }

    pub(crate) fn remove_here(&self) -> Result<()> {
        // A crash between two creates can stack mounts; each turn takes one away.
        while self.exists() {
            rustix::mount::unmount(&self.0, UnmountFlags::DETACH)
                .map_err(|source| Error::os("unmounting network namespace", &self.0, source))?;
        }
        match fs::remove_file(&self.0) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::os("removing namespace file", &self.0, source))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[allow(unsafe_code, reason = "unshare(2) is unsafe in general; with CLONE_NEWNET alone it is not")]
pub(crate) fn unshare_net() -> io::Result<()> {
    // SAFETY: the hazard is CLONE_FILES, after which descriptors of other threads are not ours; NEWNET changes none.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.map_err(io::Error::from)
}

pub(crate) fn is_nsfs(path: &Path) -> bool {
    // The field's type differs between architectures; the magic number fits all of them.
    #[allow(clippy::unnecessary_cast, reason = "f_type is not i64 everywhere")]
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as i64 == NSFS_MAGIC)
}

/// Every name in `dir`, whole namespaces and halves left by a crash alike; an absent folder has none.
pub fn list(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::os("listing", dir, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| Error::os("listing", dir, source))?;
        // A name we cannot have given is not ours to touch.
        if let Ok(name) = entry.file_name().into_string()
            && names::check("namespace", &name, MAX_NAME).is_ok()
            && entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Removes every namespace in `dir` that `keep` does not name; the kernel takes their veth pairs with them. Returns what went.
pub async fn sweep(dir: &Path, keep: &HashSet<String>) -> Result<Vec<String>> {
    let dir = dir.to_owned();
    let keep = keep.clone();
    NetContext::own()
        .enter(move || {
            let mut gone = list(&dir)?;
            gone.retain(|name| !keep.contains(name));
            for name in &gone {
                NetnsPath::new(&dir, name)?.remove_here()?;
            }
            Ok(gone)
        })
        .await
}

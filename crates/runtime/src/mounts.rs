//! File systems that are mounted on the machine for containers, in one folder: what several of them see (a task's shared
//! memory) and what a volume's options describe. What a killed process has left is found there by its name.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::disk::{absent, is_mounted};

/// What is mounted, as mount(8) is told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSource {
    /// `tmpfs`, `nfs`, ...
    pub kind: String,
    /// What of.
    pub device: String,
    /// Options, with commas.
    pub options: String,
}

/// The mounts in one folder.
#[derive(Debug, Clone)]
pub struct Mounts {
    dir: PathBuf,
}

/// Options that are flags, and whether they set or clear one. Source: mount(8).
const FLAGS: [(&str, bool, MountFlags); 20] = [
    ("ro", true, MountFlags::RDONLY),
    ("rw", false, MountFlags::RDONLY),
    ("nosuid", true, MountFlags::NOSUID),
    ("suid", false, MountFlags::NOSUID),
    ("nodev", true, MountFlags::NODEV),
    ("dev", false, MountFlags::NODEV),
    ("noexec", true, MountFlags::NOEXEC),
    ("exec", false, MountFlags::NOEXEC),
    ("sync", true, MountFlags::SYNCHRONOUS),
    ("async", false, MountFlags::SYNCHRONOUS),
    ("dirsync", true, MountFlags::DIRSYNC),
    ("noatime", true, MountFlags::NOATIME),
    ("atime", false, MountFlags::NOATIME),
    ("nodiratime", true, MountFlags::NODIRATIME),
    ("diratime", false, MountFlags::NODIRATIME),
    ("relatime", true, MountFlags::RELATIME),
    ("norelatime", false, MountFlags::RELATIME),
    ("strictatime", true, MountFlags::STRICTATIME),
    ("nostrictatime", false, MountFlags::STRICTATIME),
    ("defaults", false, MountFlags::empty()),
];

impl MountSource {
    fn parse(&self) -> (MountFlags, String) {
        let (mut flags, mut data) = (MountFlags::empty(), Vec::new());
        for option in self.options.split(',').filter(|option| !option.is_empty()) {
            match FLAGS.iter().find(|(name, ..)| *name == option) {
                Some((_, sets, flag)) => flags.set(*flag, *sets),
                None => data.push(option),
            }
        }
        (flags, data.join(","))
    }
}

impl Mounts {
    /// Those in this folder, which is made with the first.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where the one of that name is.
    #[must_use]
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Mounts it, and answers where. One that is mounted is left as it is. Blocks; one call at a time for each name.
    ///
    /// # Errors
    /// Of the machine.
    pub fn ensure(&self, name: &str, source: &MountSource) -> io::Result<PathBuf> {
        let at = self.at(name);
        if is_mounted(&at)? {
            return Ok(at);
        }
        fs::create_dir_all(&at)?;
        // What is in them may be meant for containers alone, and who is root in one says what others may read there.
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700))?;
        let (flags, data) = source.parse();
        let text = |text: &str| CString::new(text).map_err(io::Error::other);
        let (device, kind, data) = (text(&source.device)?, text(&source.kind)?, text(&data)?);
        mount(&*device, &at, &*kind, flags, &*data)?;
        Ok(at)
    }

    /// Whether the one of that name is mounted.
    ///
    /// # Errors
    /// Of the machine.
    pub fn is_there(&self, name: &str) -> io::Result<bool> {
        is_mounted(&self.at(name))
    }

    /// Takes it away. No error if it is not there. Blocks.
    ///
    /// # Errors
    /// Of the machine, also while something in it is open.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let at = self.at(name);
        while is_mounted(&at)? {
            unmount(&at, UnmountFlags::NOFOLLOW)?;
        }
        // Only the folder: should anything be in it after all, it is not ours.
        absent(fs::remove_dir(&at))
    }

    /// Takes all away but these. Blocks.
    ///
    /// # Errors
    /// Of the machine; what comes after stays.
    pub fn sweep(&self, keep: &HashSet<String>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !keep.contains(&name) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_flags_and_what_the_file_system_is_told() {
        let parsed = |options: &str| {
            MountSource { kind: "tmpfs".into(), device: "tmpfs".into(), options: options.into() }.parse()
        };
        assert_eq!(parsed(""), (MountFlags::empty(), String::new()));
        let (flags, data) = parsed("ro,size=1m,nosuid,,uid=7,defaults,rw");
        assert_eq!((flags, data.as_str()), (MountFlags::NOSUID, "size=1m,uid=7"));
        assert_eq!(parsed("addr=10.0.0.1,nolock,ro"), (MountFlags::RDONLY, "addr=10.0.0.1,nolock".into()));
    }
}

//! The lock an agent holds on its folder for as long as it lives: the one truth about whether it runs.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::Path,
};

/// The lock, held until the process ends.
#[derive(Debug)]
pub(crate) struct InstanceLock(#[allow(dead_code)] File); // Never read: it is held.

const FILE: &str = "agent.lock";

fn open(dir: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(FILE))
}

impl InstanceLock {
    /// Takes the lock and writes our pid behind it; `WouldBlock` if another agent lives here.
    pub(crate) fn take(dir: &Path) -> io::Result<Self> {
        let mut file = open(dir)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
        file.sync_data()?;
        Ok(Self(file))
    }

    /// The pid of the agent that lives in `dir`, if one does.
    pub(crate) fn holder(dir: &Path) -> Option<i32> {
        let mut file = File::open(dir.join(FILE)).ok()?;
        // Shared, so that two who only look do not take each other for an agent.
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => {
                let mut text = String::new();
                file.read_to_string(&mut text).ok()?;
                text.trim().parse().ok().filter(|pid| *pid > 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_seen_only_while_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(InstanceLock::holder(dir.path()), None);
        let lock = InstanceLock::take(dir.path()).unwrap();
        assert_eq!(InstanceLock::holder(dir.path()), i32::try_from(std::process::id()).ok());
        assert!(InstanceLock::take(dir.path()).is_err());
        drop(lock);
        assert_eq!(InstanceLock::holder(dir.path()), None);
    }
}

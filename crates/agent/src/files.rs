//! Files that are whole or not there: written beside their place, made durable, renamed into it.

use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// What may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Only the agent's user.
    Private,
    /// Everybody (what is shown inside containers).
    Public,
}

/// How sure a write has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    /// It must survive a power failure.
    PowerFailure,
    /// It must survive the death of this process. After a power failure no container runs, so what only says how far
    /// running things have come need not survive one; that spares most of the disk's time.
    ProcessDeath,
}

/// Writes the whole file or leaves the old one.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: Mode, durable: Durable) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let temporary = temporary(path);
    let bits = match mode {
        Mode::Private => 0o600,
        Mode::Public => 0o644,
    };
    let place = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(bits).open(&temporary)?;
        file.write_all(bytes)?;
        match durable {
            Durable::PowerFailure => {
                file.sync_all()?;
                fs::rename(&temporary, path)?;
                fs::File::open(parent)?.sync_all()
            }
            Durable::ProcessDeath => trade(&temporary, path),
        }
    };
    let placed = place();
    if placed.is_err() {
        // On a full disk half a file is in the way of others; that it cannot be removed adds nothing to the error.
        let _ = fs::remove_file(&temporary);
    }
    placed
}

/// Puts a file in another's place, whose own file is kept for the next time: what is written again and again then makes no
/// new file each time. On ext4 that is dear, because it looks through all that were removed in the last minutes first.
fn trade(temporary: &Path, path: &Path) -> io::Result<()> {
    use rustix::{
        fs::{CWD, RenameFlags, renameat_with},
        io::Errno,
    };
    match renameat_with(CWD, temporary, CWD, path, RenameFlags::EXCHANGE) {
        // There is none yet, or the file system cannot.
        Err(Errno::NOENT | Errno::INVAL | Errno::NOSYS) => fs::rename(temporary, path),
        traded => Ok(traded?),
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    temporary.into()
}

/// Writes a value as JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize, mode: Mode, durable: Durable) -> io::Result<()> {
    write(path, &serde_json::to_vec(value)?, mode, durable)
}

/// Reads a value, `None` if there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Removes a file and what was kept beside it; fine if it is not there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    // The file itself last: whoever finds it after a crash removes both.
    for file in [&temporary(path), path] {
        match fs::remove_file(file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Makes a private folder.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

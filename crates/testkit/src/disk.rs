//! A disk that is small enough to be filled, in the caller's own mount namespace ([`crate::isolate_mounts`]).

use anyhow::{Context, Result, ensure};
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// Bytes written at a time while it is filled, largest first: the last ones leave no room for a file of one byte.
const STEPS: [usize; 3] = [1 << 20, 4 << 10, 1];
/// Named so that nothing else has it.
const FILLER: &str = "filler";

/// A mounted file system of a certain size. It is unmounted when this is dropped, or else with the last process of the
/// namespace.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts an empty one at `at`, which is made if need be.
    ///
    /// # Errors
    /// Of mounting.
    pub fn mount(at: &Path, mebibytes: u32) -> Result<Self> {
        fs::create_dir_all(at)?;
        let size = format!("size={mebibytes}m,mode=0755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "small-disk"]).arg(at).status();
        ensure!(mounted.context("mount is missing")?.success(), "no small disk at {}", at.display());
        Ok(Self { at: at.to_owned() })
    }

    /// Writes until nothing more fits.
    ///
    /// # Errors
    /// Of the file system, except that it is full.
    pub fn fill(&self) -> Result<()> {
        self.fill_all_but(0)
    }

    /// Writes until about so many bytes are free.
    ///
    /// # Errors
    /// Of the file system, except that it is full.
    pub fn fill_all_but(&self, free: u64) -> Result<()> {
        let path = self.at.join(FILLER);
        let mut filler = OpenOptions::new().create(true).append(true).open(&path)?;
        for step in STEPS {
            let zeros = vec![0; step];
            loop {
                match filler.write_all(&zeros) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let length = filler.metadata()?.len();
        Ok(filler.set_len(length.saturating_sub(free))?)
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// Of the file system.
    pub fn make_room(&self) -> Result<()> {
        Ok(fs::remove_file(self.at.join(FILLER))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open on it keeps it until then.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

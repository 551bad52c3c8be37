//! User namespaces: whose numbers on the machine the users of containers have (docs/decisions/0037).
//!
//! In one, root is the first number of a range that nobody else of the machine has. What belongs to root on a disk is shown to it as
//! root's by mounts that shift owners, see [`clones`]; the namespaces themselves are made here, by a program of one thread.

pub mod clones;
mod mapping;
mod probe;

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub use mapping::{IdMapping, MappingError};
pub use probe::{UsernsError, check, open_way};

use crate::programs;

/// The user namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNamespace {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Who is who in it.
    pub mapping: IdMapping,
}

/// Makes namespaces that outlive every process, by mounting them. Blocks.
#[derive(Debug, Clone)]
pub struct NamespaceMaker {
    program: PathBuf,
}

impl NamespaceMaker {
    /// With its program in that folder, from which programs may be run.
    ///
    /// # Errors
    /// Of the machine.
    pub fn install(dir: &Path) -> io::Result<Self> {
        Ok(Self { program: programs::install(dir, "make-namespace", programs::NAMESPACE)? })
    }

    /// Makes a user namespace and mounts it there. Not to be called where one is.
    ///
    /// # Errors
    /// Of the machine; what is there then is a plain file or nothing.
    pub fn user(&self, at: &Path, mapping: &IdMapping) -> io::Result<()> {
        self.hold(&["user".as_ref()], |pid| {
            fs::write(format!("/proc/{pid}/uid_map"), mapping.of_users())?;
            fs::write(format!("/proc/{pid}/gid_map"), mapping.of_groups())?;
            keep(at, &format!("/proc/{pid}/ns/user"))
        })
    }

    /// Makes a network namespace that belongs to the user namespace mounted at `user`, and mounts it there. Not to be called where
    /// one is. It has these settings, named as below `/proc/sys/net`, from its first moment.
    ///
    /// # Errors
    /// Of the machine; what is there then is a plain file or nothing.
    pub fn network(&self, at: &Path, user: &Path, settings: &[(&str, String)]) -> io::Result<()> {
        let settings: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut words: Vec<&OsStr> = vec!["network".as_ref(), user.as_os_str()];
        words.extend(settings.iter().map(OsStr::new));
        self.hold(&words, |pid| keep(at, &format!("/proc/{pid}/ns/net")))
    }

    /// Has the program make one, and does something with it while it is held.
    fn hold(&self, words: &[&OsStr], with: impl FnOnce(u32) -> io::Result<()>) -> io::Result<()> {
        let piped = Stdio::piped;
        let mut child =
            Command::new(&self.program).args(words).stdin(piped()).stdout(piped()).stderr(piped()).spawn()?;
        let outcome = made(&mut child).and_then(|()| with(child.id()));
        // Its input ends, and so does it.
        drop(child.stdin.take());
        child.wait()?;
        outcome
    }
}

/// Waits until the program says that it has made what it was asked for.
fn made(child: &mut Child) -> io::Result<()> {
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut said)?;
    }
    if said == "made\n" {
        return Ok(());
    }
    let mut why = String::new();
    if let Some(error) = child.stderr.take() {
        /// It says one line.
        const LONGEST: u64 = 4096;
        error.take(LONGEST).read_to_string(&mut why)?;
    }
    Err(io::Error::other(why.trim().to_owned()))
}

/// Mounts a namespace over a file, made if absent.
fn keep(at: &Path, namespace: &str) -> io::Result<()> {
    if let Some(dir) = at.parent() {
        fs::create_dir_all(dir)?;
    }
    drop(OpenOptions::new().create(true).truncate(false).write(true).open(at)?);
    Ok(rustix::mount::mount_bind(namespace, at)?)
}

//! A tunnel's folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::process::{self, MAX_SAID, Process};
use super::{TunnelTo, settings};
use crate::disk::absent;

/// Where distributions have the authorities that a machine trusts.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
    port: u16,
}

impl Place {
    pub(super) fn new(all: &Path, port: u16) -> Self {
        Self { dir: all.join(port.to_string()), port }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn is_there(&self) -> bool {
        self.dir.exists()
    }

    fn conf(&self) -> PathBuf {
        self.dir.join("stunnel.conf")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("stunnel.log")
    }

    fn own_authorities(&self) -> PathBuf {
        self.dir.join("authorities.pem")
    }

    fn lock(&self) -> io::Result<File> {
        let mut how = OpenOptions::new();
        how.read(true).write(true).create(true).truncate(false).mode(0o600).open(self.dir.join("lock"))
    }

    /// What stunnel is told to lead there.
    fn settings(&self, to: &TunnelTo) -> io::Result<String> {
        let authorities = match &to.authorities {
            Some(_) => self.own_authorities(),
            None => {
                let found = AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
                found.ok_or_else(|| {
                    io::Error::other("this machine has no file of authorities (package ca-certificates)")
                })?
            }
        };
        Ok(settings::render(to, self.port, &authorities))
    }

    /// Whether it leads there.
    pub(super) fn leads(&self, to: &TunnelTo) -> io::Result<bool> {
        let is = |path: &Path, wanted: &str| fs::read(path).is_ok_and(|text| text == wanted.as_bytes());
        let trusts = to.authorities.as_deref().is_none_or(|authorities| is(&self.own_authorities(), authorities));
        Ok(trusts && is(&self.conf(), &self.settings(to)?))
    }

    /// Makes it. What a killed process has left of one that was never used is written over; the settings come last, and whole.
    pub(super) fn write(&self, to: &TunnelTo) -> io::Result<()> {
        let settings = self.settings(to)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        if let Some(authorities) = &to.authorities {
            fs::write(self.own_authorities(), authorities)?;
        }
        let fresh = self.dir.join("stunnel.conf.new");
        fs::write(&fresh, settings)?;
        fs::rename(fresh, self.conf())
    }

    /// Its process, if it lives.
    pub(super) fn process(&self) -> io::Result<Option<Process>> {
        match self.lock() {
            Ok(lock) => Process::holding(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Starts it unless it lives; whether it did. What it said before is forgotten.
    pub(super) fn start(&self, program: &Path) -> io::Result<bool> {
        let lock = self.lock()?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        lock.set_len(0)?;
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(self.log())?;
        log.set_len(0)?;
        process::start(program, &self.conf(), &lock, log)?;
        Ok(true)
    }

    /// How much it has said, which is never so much that it cannot say more.
    pub(super) fn make_room(&self) -> io::Result<u64> {
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(self.log())?;
        let said = log.metadata()?.len();
        if said <= MAX_SAID / 2 {
            return Ok(said);
        }
        log.set_len(0)?;
        Ok(0)
    }

    /// What went wrong since it had said so much.
    pub(super) fn said_since(&self, said: u64) -> Option<String> {
        let text = fs::read(self.log()).ok()?;
        let since = text.get(usize::try_from(said).ok()?..)?;
        settings::trouble(&String::from_utf8_lossy(since))
    }

    /// Why it has ended at once.
    pub(super) fn trouble(&self) -> io::Error {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        if text.contains("Address already in use") {
            return io::ErrorKind::AddrInUse.into();
        }
        let said = settings::trouble(&text).unwrap_or_else(|| "it ended at once".to_owned());
        io::Error::other(format!("Failed to initialize TLS tunnel: stunnel: {said}"))
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        absent(fs::remove_dir_all(&self.dir))
    }
}

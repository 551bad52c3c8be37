//! Folders of NFS servers, mounted for whoever is to see them, in one folder by name.
//!
//! A server that is gone holds up whoever asks the kernel anything about its mount. So nothing here does that in this process: what
//! is mounted is read in the kernel's table, and what mounts (`folder/main.rs`) and unmounts (umount(8)) are processes that are waited
//! for so long and then killed.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use effects::Effects;
use tokio::process::Command;
use tokio::time::timeout;

use crate::disk::absent;
use crate::oci_runtime::program_path;
use crate::programs;
use crate::tunnel::TUNNEL_ADDRESS;

mod knock;

use knock::{Door, answers, knock};

/// How long mounting may take. Its server has answered already.
const MOUNT: Duration = Duration::from_secs(45);
/// How long what was written may take to its server when it is unmounted.
const FLUSH: Duration = Duration::from_secs(60);
/// How long it takes to unmount what nobody waits for.
const DETACH: Duration = Duration::from_secs(10);
/// What EFS wants of its clients. Source: EFS's user guide, recommended mount options.
const OPTIONS: &str = "vers=4.1,proto=tcp,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport";

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NfsSource {
    /// The server's name or address.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// Server and export, as mount(8) takes them.
    pub device: String,
    /// The folder of it that is mounted, as a clean absolute path; no part of it may be a link.
    pub folder: String,
    /// What the server is to know this machine by. Two machines, or network namespaces, that it took for one would lose each other's
    /// open files and locks.
    pub client: String,
}

/// The mounts in one folder.
#[derive(Clone)]
pub struct NfsMounts {
    dir: PathBuf,
    /// From where servers are reached.
    door: Door,
}

impl NfsMounts {
    /// Those in this folder, which is made with the first.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, effects: Effects) -> Self {
        Self { dir: dir.into(), door: Door { netns: None, effects } }
    }

    /// Those in this folder that were mounted in that network namespace, which is not the caller's.
    #[must_use]
    pub fn of_netns(dir: impl Into<PathBuf>, netns: impl Into<PathBuf>, effects: Effects) -> Self {
        Self { dir: dir.into(), door: Door { netns: Some(netns.into()), effects } }
    }

    /// The ports of this machine's loopback that any of them is reached through.
    ///
    /// # Errors
    /// Of the machine.
    pub fn tunnels(&self) -> io::Result<HashSet<u16>> {
        let dir = match fs::canonicalize(&self.dir) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
            Err(error) => return Err(error),
        };
        Ok(tunnels(&fs::read("/proc/thread-self/mountinfo")?, &dir))
    }

    /// Whether this machine's kernel can mount any: it knows how, or loads a module of its own that does.
    #[must_use]
    pub fn can() -> bool {
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if known.lines().any(|line| line.split_whitespace().last() == Some("nfs4")) {
            return true;
        }
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let modules = fs::read_to_string(Path::new("/lib/modules").join(kernel).join("modules.dep"));
        modules
            .unwrap_or_default()
            .lines()
            .any(|line| line.split(':').next().is_some_and(|name| name.contains("/nfsv4.ko")))
    }

    /// Where the one of that name is, if it is mounted. Asks no server.
    ///
    /// # Errors
    /// Of the machine.
    pub fn mounted(&self, name: &str) -> io::Result<Option<PathBuf>> {
        Ok(self.find(name)?.map(|_| self.dir.join(name)))
    }

    /// Where its server is, if it is mounted.
    fn find(&self, name: &str) -> io::Result<Option<Option<SocketAddr>>> {
        let dir = match fs::canonicalize(&self.dir) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(find(&fs::read("/proc/thread-self/mountinfo")?, &dir.join(name)))
    }

    /// Mounts it, and answers where. One that is mounted is left as it is. One call at a time for each name. What mounts is a program
    /// that is put into a folder of ours.
    ///
    /// # Errors
    /// Of the machine or its server, in words for people.
    pub async fn ensure(&self, name: &str, source: &NfsSource, programs: &Path) -> io::Result<PathBuf> {
        let at = self.dir.join(name);
        if self.find(name)?.is_some() {
            return Ok(at);
        }
        fs::create_dir_all(&at)?;
        let (server, own) = knock(source, &self.door).await?;
        let (address, own) = (server.ip(), own.ip());
        let options = format!("{OPTIONS},port={},addr={address},clientaddr={own}", source.port);
        let mut command = mounting(programs, ["nfs4", &options, &source.device, &source.folder], &at)?;
        named(&mut command, &source.client);
        run(command, MOUNT).await?;
        match self.find(name)? {
            // What is to go through a tunnel must not go another way, which the kernel may know to the same server.
            Some(there) if server.ip().is_loopback() && there != Some(server) => {
                self.remove(name).await?;
                Err(io::Error::other(format!("mounting {}: it would be reached another way", source.device)))
            }
            Some(_) => Ok(at),
            None => Err(io::Error::other("it was said to be mounted, and it is not")),
        }
    }

    /// Takes it away, whether or not its server answers. No error if it is not there.
    ///
    /// # Errors
    /// Of the machine.
    pub async fn remove(&self, name: &str) -> io::Result<()> {
        let at = self.dir.join(name);
        if let Some(server) = self.find(name)? {
            if !answers(server, &self.door).await {
                tracing::warn!(mount = name, "its NFS server does not answer; what was not written there is lost");
                // Whatever waits for the server has an error from now on.
                let _ = run(umount(&["-f"], &at), DETACH).await;
            } else if let Err(error) = run(umount(&[], &at), FLUSH).await {
                tracing::warn!(mount = name, %error, "it is taken away although it is in use");
            }
        }
        if self.find(name)?.is_some() {
            // Takes effect at once, whatever becomes of what is still to be written.
            let _ = run(umount(&["-l"], &at), DETACH).await;
        }
        if self.find(name)?.is_some() {
            return Err(io::Error::other(format!("{} cannot be unmounted", at.display())));
        }
        absent(fs::remove_dir(&at))
    }

    /// If its server does not answer, whatever waits for that now has an error; who asks again waits again. It stays mounted. Answers
    /// whether that was so.
    ///
    /// # Errors
    /// Of the machine.
    pub async fn interrupt(&self, name: &str) -> io::Result<bool> {
        let Some(server) = self.find(name)? else { return Ok(false) };
        if answers(server, &self.door).await {
            return Ok(false);
        }
        // Forced away is a copy, in a mount namespace of its own: what the kernel ends is what waits for the server, whoever it is.
        let mut command = program("unshare");
        command
            .args(["--mount", "--propagation", "private", "umount", "-i", "-n", "-c", "-f"])
            .arg(self.dir.join(name));
        dies_with_us(&mut command);
        match run(command, DETACH).await {
            // Taken away meanwhile.
            Err(_) if self.find(name)?.is_none() => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }

    /// The names of all but these.
    ///
    /// # Errors
    /// Of the machine.
    pub fn others(&self, keep: &HashSet<String>) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.filter(|name| !name.as_ref().is_ok_and(|name| keep.contains(name))).collect()
    }
}

/// Mounts a folder: kind, options, device and folder.
fn mounting(programs: &Path, what: [&str; 4], at: &Path) -> io::Result<Command> {
    let mut command = program(&programs::install(programs, "mount-folder", programs::FOLDER)?);
    command.args(what).arg(at);
    Ok(command)
}

fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", program_path()).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn umount(how: &[&str], at: &Path) -> Command {
    let mut command = program("umount");
    command.args(["-i", "-n", "-c"]).args(how).arg(at);
    dies_with_us(&mut command);
    command
}

/// Waits for it so long; then it is killed, and whoever it waits for does not hold us up.
async fn run(mut command: Command, limit: Duration) -> io::Result<()> {
    let child = command.spawn()?;
    let output = match timeout(limit, child.wait_with_output()).await {
        Ok(output) => output?,
        Err(_) => return Err(io::Error::other("Connection timed out")),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(said.lines().next().unwrap_or("it failed").trim().to_owned()))
}

#[allow(unsafe_code)] // pre_exec; the closure makes async-signal-safe system calls only.
fn dies_with_us(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?));
    }
}

/// A half-made mount must not appear when the agent that wanted it is gone, and the kernel tells servers the host's name as the
/// client's.
#[allow(unsafe_code)] // pre_exec; the closure makes async-signal-safe system calls only.
fn named(command: &mut Command, client: &str) {
    dies_with_us(command);
    let client = client.as_bytes().to_vec();
    // SAFETY: unshare with CLONE_NEWUTS alone and sethostname are async-signal-safe, and what they read was made before the fork.
    unsafe {
        command.pre_exec(move || {
            rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUTS)?;
            Ok(rustix::system::sethostname(&client)?)
        });
    }
}

/// Of the mount at that place, the server's address as far as the table says it. Source: proc(5), `mountinfo`.
fn find(table: &[u8], at: &Path) -> Option<Option<SocketAddr>> {
    // The last one is on top.
    table.split(|byte| *byte == b'\n').rfind(|line| place(line).is_some_and(|place| place == at)).map(server)
}

/// The ports of loopback that servers of mounts below that place are reached through.
fn tunnels(table: &[u8], below: &Path) -> HashSet<u16> {
    let lines = table.split(|byte| *byte == b'\n');
    let ours = lines.filter(|line| place(line).is_some_and(|place| Path::new(&place).starts_with(below)));
    let servers = ours.filter_map(server);
    servers.filter(|server| server.ip() == TUNNEL_ADDRESS).map(|server| server.port()).collect()
}

fn place(line: &[u8]) -> Option<OsString> {
    line.split(|byte| *byte == b' ').nth(4).map(|place| OsString::from_vec(plain(place)))
}

fn server(line: &[u8]) -> Option<SocketAddr> {
    let options = String::from_utf8_lossy(line);
    let options = options.rsplit(' ').next().unwrap_or_default();
    let option = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    let address = option("addr").and_then(|address| address.parse().ok())?;
    let port = option("port").and_then(|port| port.parse().ok()).unwrap_or(2049);
    Some(SocketAddr::new(address, port))
}

/// A name of the table without its escapes: a backslash and three octal digits.
fn plain(name: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(name.len()), name);
    while let [first, more @ ..] = rest {
        let escaped = if *first == b'\\' { more.get(..3) } else { None };
        let byte = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &more[3..] } else { more };
    }
    plain
}

#[cfg(test)]
#[path = "nfs_tests.rs"]
mod tests;

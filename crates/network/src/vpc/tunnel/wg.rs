//! The two programs: `wg`, which sets up a device of either kind, and `wireguard-go`, which makes one where the kernel cannot.
//!
//! Private keys are given and taken through pipes. `wireguard-go` goes into the background by itself once its device and its
//! control socket are there; it is no child of ours, and ends with its device. Its socket says that it lives.

use super::Tunnel;
use crate::names::IfName;
use crate::{Error, NetContext, Netlink, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where `wireguard-go` has its control sockets and `wg` looks for them; neither can be told another place.
const SOCKETS: &str = "/var/run/wireguard";
/// Folders to look for both in besides PATH, which is poor in some services.
const FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// What makes devices here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// The kernel.
    Kernel,
    /// A process of `wireguard-go` for each.
    Userspace,
}

/// A Curve25519 key as `wg` writes it: 32 bytes in base64.
fn is_key(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    text.len() == 44 && text.strip_suffix('=').is_some_and(|text| text.bytes().all(inner))
}

/// A host's public key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(String);

/// A host's own key; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(String);

impl PublicKey {
    /// Checks and wraps. Errors with [`Error::Name`].
    pub fn new(text: &str) -> Result<Self> {
        let why = "it is not 32 bytes in base64";
        let bad = || Error::Name { what: "WireGuard public key", name: text.to_owned(), why };
        if is_key(text) { Ok(Self(text.to_owned())) } else { Err(bad()) }
    }

    /// As `wg` writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

impl PrivateKey {
    /// Checks and wraps. Errors with [`Error::Name`], which does not repeat it.
    pub fn new(text: &str) -> Result<Self> {
        let (what, why) = ("WireGuard private key", "it is not 32 bytes in base64");
        let text = text.trim();
        if is_key(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::Name { what, name: "(not shown)".into(), why })
        }
    }

    /// A fresh one. The caller keeps it where nobody else reads it.
    pub async fn generate() -> Result<Self> {
        NetContext::own().enter(|| Self::new(&run(&["genkey"], "")?)).await
    }

    /// What others know of it.
    pub async fn public(&self) -> Result<PublicKey> {
        let key = self.clone();
        NetContext::own().enter(move || PublicKey::new(run(&["pubkey"], &key.0)?.trim())).await
    }

    /// For the file it is kept in.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

/// What would make a device on this machine. Errors with [`Error::WireguardMissing`] where nothing would.
pub async fn find() -> Result<Maker> {
    let work = async move || {
        if program("wg").is_none() {
            return Err(Error::WireguardMissing("wg (package wireguard-tools)"));
        }
        crate::netns::unshare_net().map_err(|source| Error::os("making", "a network namespace to try in", source))?;
        match Netlink::open_here()?.add_wireguard(&IfName::new("try")?).await {
            Err(error) if super::is_unknown_kind(&error) => {}
            made => return made.map(|()| Maker::Kernel),
        }
        if program("wireguard-go").is_none() {
            return Err(Error::WireguardMissing("WireGuard in its kernel or wireguard-go (package wireguard-go)"));
        }
        if !Path::new("/dev/net/tun").exists() {
            return Err(Error::WireguardMissing("WireGuard in its kernel or /dev/net/tun (modprobe tun)"));
        }
        Ok(Maker::Userspace)
    };
    NetContext::own().run(work).await
}

/// Starts the process that makes a device in the calling thread's namespace, and returns when both are there.
pub(super) fn start(name: &IfName) -> Result<()> {
    let program = program("wireguard-go").ok_or(Error::WireguardMissing("wireguard-go (package wireguard-go)"))?;
    let mut command = Command::new(program);
    // In a group of its own, so that what ends us at a terminal does not reach it. With a level it would keep our pipe open.
    command.arg(name.as_str()).env_remove("LOG_LEVEL").current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    finish("wireguard-go", command.spawn().and_then(std::process::Child::wait_with_output)).map(drop)
}

/// Where a device's process listens.
fn socket(name: &IfName) -> PathBuf {
    Path::new(SOCKETS).join(format!("{name}.sock"))
}

/// Removes the socket of a process that was killed.
pub(super) fn forget(name: &IfName) -> Result<()> {
    let path = socket(name);
    match UnixStream::connect(&path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::os("removing", path, error)),
            Ok(()) | Err(_) => Ok(()),
        },
        // One that still listens is about to end with its device.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether a device can be asked.
pub(super) fn answers(name: &IfName) -> bool {
    run(&["show", name.as_str(), "listen-port"], "").is_ok()
}

/// Sets a device up. What is right already is not touched.
pub(super) fn configure(name: &IfName, port: u16, tunnel: &Tunnel) -> Result<()> {
    let wanted = Setup::of(port, tunnel);
    if Setup::read(&run(&["show", name.as_str(), "dump"], "")?).as_ref() == Some(&wanted) {
        return Ok(());
    }
    run(&["syncconf", name.as_str(), "/dev/stdin"], &wanted.render()).map(drop)
}

/// A device's settings, as far as they are ours. Where a peer was last heard from is not: WireGuard follows it.
#[derive(PartialEq, Eq)]
struct Setup {
    key: PrivateKey,
    port: u16,
    /// By key, since the same can be told for two addresses while a machine changes its own.
    peers: BTreeMap<PublicKey, BTreeSet<Ipv4Addr>>,
}

impl Setup {
    fn of(port: u16, tunnel: &Tunnel) -> Self {
        let mut peers: BTreeMap<PublicKey, BTreeSet<Ipv4Addr>> = BTreeMap::new();
        for (address, key) in &tunnel.peers {
            peers.entry(key.clone()).or_default().insert(*address);
        }
        Self { key: tunnel.key.clone(), port, peers }
    }

    fn render(&self) -> String {
        let mut text = format!("[Interface]\nPrivateKey = {}\nListenPort = {}\n", self.key.0, self.port);
        for (key, addresses) in &self.peers {
            let allowed: Vec<_> = addresses.iter().map(|address| format!("{address}/32")).collect();
            text.push_str(&format!("[Peer]\nPublicKey = {}\nAllowedIPs = {}\n", key.0, allowed.join(", ")));
            if let Some(address) = addresses.last() {
                text.push_str(&format!("Endpoint = {address}:{}\n", self.port));
            }
        }
        text
    }

    /// Reads `wg show … dump`: a line of the device's private and public key, port and mark, then one per peer of its key, a
    /// preshared key, where it is, its addresses, and what happened; `None` where that is not what ours would be.
    fn read(dump: &str) -> Option<Self> {
        let mut lines = dump.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let first = lines.next()?;
        let (key, port) = (PrivateKey::new(first.first()?).ok()?, first.get(2)?.parse().ok()?);
        let peer = |line: Vec<&str>| {
            let address = |text: &str| text.strip_suffix("/32")?.parse().ok();
            let addresses = line.get(3)?.split(',').map(address).collect::<Option<_>>()?;
            Some((PublicKey::new(line.first()?).ok()?, addresses))
        };
        Some(Self { key, port, peers: lines.map(peer).collect::<Option<_>>()? })
    }
}

fn program(name: &str) -> Option<PathBuf> {
    // PATH is the operating system's, and no setting of ours.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = FOLDERS.iter().map(PathBuf::from);
    std::env::split_paths(&path).chain(folders).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Runs `wg` in the calling thread's namespace; what it says.
fn run(arguments: &[&str], input: &str) -> Result<String> {
    let program = program("wg").ok_or(Error::WireguardMissing("wg (package wireguard-tools)"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().and_then(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input.as_bytes()) {
                // A refusal closes the pipe early; its reason is on stderr.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        child.wait_with_output()
    });
    finish("wg", output)
}

fn finish(program: &'static str, output: io::Result<std::process::Output>) -> Result<String> {
    let output = output.map_err(|source| Error::os("running", program, source))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Wireguard { program, stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

    #[test]
    fn keys_are_keys_and_a_private_one_is_not_shown() {
        assert!(PublicKey::new(KEY).is_ok());
        for bad in ["", "x", &KEY[1..], &format!("{KEY}="), &KEY.replace('+', "\n"), &KEY.replace('=', "A")] {
            assert!(PublicKey::new(bad).is_err() && PrivateKey::new(bad.trim()).is_err(), "{bad:?}");
        }
        let key = PrivateKey::new(KEY).expect("a key");
        assert!(!format!("{key:?}").contains(KEY));
        let broken = PrivateKey::new(&KEY[1..]).expect_err("too short");
        assert!(!broken.to_string().contains(&KEY[2..]), "{broken}");
    }

    #[test]
    fn a_dump_is_read_as_what_was_set() {
        let (one, other) = (KEY, KEY.replace("yAnz", "zAnz"));
        let peers = [([10, 0, 0, 2], one), ([10, 0, 0, 3], &*other), ([10, 0, 0, 4], one)];
        let peers = peers.iter().map(|(at, key)| ((*at).into(), PublicKey::new(key).expect("a key"))).collect();
        let tunnel = Tunnel { key: PrivateKey::new(KEY).expect("a key"), peers };
        let wanted = Setup::of(7, &tunnel);
        let dump = format!(
            "{KEY}\t{other}\t7\toff\n{other}\t(none)\t10.0.0.3:7\t10.0.0.3/32\t0\t0\t0\toff\n\
             {one}\t(none)\t(none)\t10.0.0.4/32,10.0.0.2/32\t17\t1\t2\toff\n"
        );
        assert!(Setup::read(&dump) == Some(wanted));
        assert!(Setup::read(&dump.replace("10.0.0.2/32", "10.0.0.0/24")).is_none());
        assert!(Setup::read(&dump.replace("10.0.0.2/32", "10.0.0.5/32")) != Some(Setup::of(7, &tunnel)));
        assert!(Setup::read("").is_none() && Setup::read("(none)\t(none)\t0\toff\n").is_none());
        let text = Setup::of(7, &tunnel).render();
        assert!(text.contains("AllowedIPs = 10.0.0.2/32, 10.0.0.4/32\nEndpoint = 10.0.0.4:7\n"), "{text}");
    }
}

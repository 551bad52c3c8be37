//! Why a server does not start, and what to do about it: who holds the port or the data directory, which package is missing.

use crate::advice::Advice;
use ::server::{LinkError, ServerError};
use anyhow::{Result, anyhow};
use rustix::fs::{major, minor};
use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What local instances are made with: programs, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 4] =
    [("containerd", "containerd"), ("containerd-shim-runc-v2", "containerd"), ("runc", "runc"), ("nft", "nftables")];
/// Where distributions put them, in case our own PATH is poor.
const PROGRAM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What local instances need of this machine is there; all that is missing is told at once.
#[allow(clippy::disallowed_methods)] // PATH is the operating system's.
pub(super) fn fit_for_local_instances(own_containerd: bool) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        let error = anyhow!("local instances need root: network namespaces, cgroups and containers are made for them");
        return Err(error.context(Advice::new("sudo longshore dev, or without local instances: longshore server")));
    }
    missing(&format!("{}:{PROGRAM_PATH}", std::env::var("PATH").unwrap_or_default()), own_containerd)
}

/// Local instances of this machine can encrypt.
pub(super) async fn fit_for_encryption() -> Result<()> {
    let found = network::vpc::tunnel::find().await;
    found.map(drop).map_err(|error| {
        let advice = "apt-get install wireguard-tools wireguard-go, or start without --vpc-encryption";
        anyhow::Error::new(error)
            .context("--vpc-encryption needs WireGuard, also on this machine for its local instances")
            .context(Advice::new(advice))
    })
}

/// Instances of this machine that are given to Fargate can have disks for their tasks.
pub(super) fn fit_for_fargate() -> Result<()> {
    runtime::Disks::check().map_err(|error| {
        anyhow::Error::new(error)
            .context("tasks of Fargate have disks of their own, which this machine cannot make")
            .context(Advice::new("Mend that, or start without Fargate: --fargate-instances 0"))
    })
}

/// An error that names all that is in none of the folders.
fn missing(path: &str, own_containerd: bool) -> Result<()> {
    let there = |program: &str| path.split(':').any(|folder| Path::new(folder).join(program).is_file());
    let wanted = PROGRAMS.iter().filter(|(_, package)| own_containerd || *package == "nftables");
    let missing: Vec<_> = wanted.filter(|(program, _)| !there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    let error = anyhow!("local instances need {}, which this machine does not have", programs.join(", "));
    Err(error.context(Advice::new(format!("apt-get install {}", packages.join(" ")))))
}

/// The error, with what to do about it if that is known.
pub(super) fn of_start(error: ServerError) -> anyhow::Error {
    let advice = match &error {
        ServerError::Listen(address, source) if source.kind() == io::ErrorKind::AddrInUse => {
            Some(taken(*address, "--listen"))
        }
        ServerError::Link(LinkError::Listen(address, source)) if source.kind() == io::ErrorKind::AddrInUse => {
            Some(taken(*address, "--link-listen"))
        }
        ServerError::Listen(address, source) | ServerError::Link(LinkError::Listen(address, source))
            if source.kind() == io::ErrorKind::AddrNotAvailable =>
        {
            Some(format!("{} is no address of this machine; `ip addr` lists them", address.ip()))
        }
        ServerError::State(state::OpenError::Backend(state::BackendError::InUse(directory))) => {
            Some(held(directory, "state.lock"))
        }
        ServerError::State(state::OpenError::Backend(state::BackendError::Full(_))) => {
            Some("`df -h` tells which disk; make room there, then start again".to_owned())
        }
        ServerError::Link(LinkError::Host(why)) if why.to_string().contains("choose another range") => Some(
            "If another longshore runs here, this one needs a data directory, addresses and ranges of its own: --data-dir, --listen, \
             --link-listen, --vpc-cidr and --public-pool"
                .to_owned(),
        ),
        ServerError::Link(LinkError::Host(_)) => Some(
            "See containerd/containerd.log in the data directory; `longshore server` runs without local instances"
                .to_owned(),
        ),
        ServerError::Usage(_) => {
            Some("Remove usage.json from the data directory; what is told again by that counts once".to_owned())
        }
        ServerError::Prices(_) => {
            Some("Mend it, or move it away to have the published prices written anew; see docs/cost.md".to_owned())
        }
        ServerError::Events(_) => {
            Some("Remove events.json from the data directory; events told from then on are complete".to_owned())
        }
        ServerError::Keys(_) => {
            Some("Put secrets-keys.json of the data directory back from your backup; see docs/secrets.md".to_owned())
        }
        ServerError::SessionKeys(_) => Some(
            "Move session-keys.json of the data directory away: temporary credentials end then, and nothing else"
                .to_owned(),
        ),
        ServerError::Webhook(_) => Some("See docs/events.md, or start without --events-webhook".to_owned()),
        ServerError::DataDir(..)
        | ServerError::Credentials(_)
        | ServerError::State(_)
        | ServerError::Logs(_)
        | ServerError::Tls(_)
        | ServerError::Link(_)
        | ServerError::Listen(..) => None,
    };
    let error = anyhow::Error::new(error);
    match advice {
        Some(advice) => error.context(Advice::new(advice)),
        None => error,
    }
}

fn taken(address: SocketAddr, flag: &str) -> String {
    let port = address.port();
    match listener(port) {
        Some((pid, name)) => {
            format!("{name} (process {pid}) listens on port {port}. End it, or choose another: {flag} ADDRESS:PORT")
        }
        None => format!(
            "`ss -ltnp 'sport = :{port}'` as root tells who listens there. Or choose another: {flag} ADDRESS:PORT"
        ),
    }
}

fn held(directory: &Path, lock: &str) -> String {
    let other = "Or start this one elsewhere: --data-dir DIR --listen ADDRESS:PORT --link-listen ADDRESS:PORT";
    match holder(&directory.join(lock)) {
        Some((pid, name)) => format!("{name} (process {pid}) holds it: use that one, or end it first. {other}"),
        None => format!("Use the one that runs, or end it first. {other}"),
    }
}

/// A process's name, as people know it.
fn name(pid: u32) -> Option<(u32, String)> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, name.trim().to_owned()))
}

/// Who listens on a TCP port of this network namespace, as far as we may see.
fn listener(port: u16) -> Option<(u32, String)> {
    let sockets = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let tables = sockets.iter().filter_map(|table| fs::read_to_string(table).ok());
    let inodes: Vec<String> = tables.flat_map(|table| listening(&table, port)).collect();
    let links: Vec<PathBuf> = inodes.iter().map(|inode| format!("socket:[{inode}]").into()).collect();
    processes()
        .find(|pid| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| links.contains(&target))
        })
        .and_then(name)
}

/// The inodes of sockets that listen on the port, in a table as the kernel prints it.
fn listening(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&port) && row[3] == LISTEN)
        .map(|row| row[9].to_owned())
        .collect()
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Who holds the lock on a file.
fn holder(file: &Path) -> Option<(u32, String)> {
    let of = fs::metadata(file).ok()?;
    let id = format!("{:02x}:{:02x}:{}", major(of.dev()), minor(of.dev()), of.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let row =
        locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row.contains(&id.as_str()))?;
    name(row.get(4)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_found_by_its_port() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listener(port).map(|(pid, _)| pid), Some(std::process::id()));
        assert!(taken(socket.local_addr().unwrap(), "--listen").contains(&format!("process {}", std::process::id())));
        drop(socket);
        assert_eq!(listener(port), None);
    }

    #[test]
    fn what_is_missing_is_told_at_once_with_its_packages() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        let error = missing(&path, true).unwrap_err();
        let told = crate::advice::message(&error);
        assert!(told.contains("containerd, containerd-shim-runc-v2, runc, nft,"), "{told}");
        assert_eq!(crate::advice::next(&error).unwrap(), "apt-get install containerd runc nftables");
        fs::write(dir.path().join("nft"), "").unwrap();
        assert!(missing(&path, false).is_ok(), "a containerd that was named needs no programs of ours");
        assert_eq!(crate::advice::next(&missing(&path, true).unwrap_err()).unwrap(), "apt-get install containerd runc");
    }

    #[test]
    fn a_locks_holder_is_found_by_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = fs::File::create(dir.path().join("state.lock")).unwrap();
        assert_eq!(holder(&dir.path().join("state.lock")), None);
        file.try_lock().unwrap();
        assert_eq!(holder(&dir.path().join("state.lock")).map(|(pid, _)| pid), Some(std::process::id()));
    }

    #[test]
    fn only_listening_sockets_of_that_very_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:11D6 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100\n\
             1: 0100007F:11D6 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100\n";
        assert_eq!(listening(table, 4566), ["4711"]);
        assert_eq!(listening(table, 4567), Vec::<String>::new());
    }
}

//! TLS for a protocol that the kernel speaks without: a process of stunnel(8) for each server, which listens on this machine's loopback
//! and carries what comes there to the server. Whoever uses one outlives us, so each outlives us too: it is found again by its folder,
//! started again when it has been killed, and ended when nobody uses it.
//!
//! A folder is named by the port it listens at, which is where its users are connected to, so that the kernel's table of mounts says
//! which tunnels are used. In it are what stunnel was told, what it said, and a file that its process holds a lock on as long as it
//! lives. The lock was taken before it was started, and is nobody else's: no process number can be mistaken for it.

mod place;
mod process;
mod settings;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use effects::Effects;
use rustix::process::Signal;
use tokio::time::timeout;

use crate::oci_runtime::{is_program, program_path};
use place::Place;

/// Where tunnels listen. AWS: the ports that its mount helper takes. Clients of the machine are given others by themselves.
const PORTS: RangeInclusive<u16> = 20_049..=21_049;
/// The address of loopback at which all of them listen. It is none of those at which tasks' ports are published: what is translated for these on its
/// way would lead the kernel, which asks for a port alone, to a container.
pub const TUNNEL_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// What distributions call the program.
const PROGRAMS: [&str; 3] = ["stunnel", "stunnel4", "stunnel5"];
/// How long it may take to listen. It asks nobody before it does.
const STARTS: Duration = Duration::from_secs(10);
const LOOKS_AGAIN: Duration = Duration::from_millis(10);
/// How long a process may take to end that was sent SIGKILL.
const ENDS: Duration = Duration::from_secs(10);
/// Between two starts of one that ends again and again, at first and at most.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// Where a tunnel leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelTo {
    /// The server's name or address. Its certificate has to be of that.
    pub host: String,
    /// Where it speaks TLS.
    pub port: u16,
    /// The authorities (PEM) that its certificate is checked against; without any, this machine's.
    pub authorities: Option<String>,
    /// Where to listen, if that was said.
    pub local: Option<u16>,
}

/// The tunnels in one folder.
#[derive(Clone)]
pub struct Tunnels(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    effects: Effects,
    /// Those that are started again when they end. Held while one is made or taken away.
    watched: tokio::sync::Mutex<HashSet<u16>>,
    /// How many have each in hand who are about to use it.
    held: Mutex<HashMap<u16, usize>>,
}

/// A tunnel that stays as long as this is held. Whoever is connected through it by then keeps it.
pub struct Tunnel {
    port: u16,
    /// How long what it said was when it was asked for.
    said: u64,
    shared: Arc<Shared>,
}

impl Tunnels {
    /// Those in this folder, which is made with the first.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, effects: Effects) -> Self {
        let (watched, held) = (tokio::sync::Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { dir: dir.into(), effects, watched, held }))
    }

    /// Whether this machine can make any.
    #[must_use]
    pub fn can() -> bool {
        program().is_some()
    }

    /// A tunnel there, which is one that is there already if that leads to the same place. It listens; nobody was asked yet whether
    /// the server answers.
    ///
    /// # Errors
    /// Of the machine, in words for people.
    pub async fn ensure(&self, to: &TunnelTo) -> io::Result<Tunnel> {
        let mut watched = self.0.watched.lock().await;
        for place in self.0.places()? {
            if to.local.is_none_or(|local| local == place.port()) && place.leads(to)? {
                place.start(&found()?)?;
                self.watch(place.port(), &mut watched);
                // Whoever else took its port while it was dead must not be asked instead.
                self.listens(&place).await?;
                return self.hold(&place);
            }
        }
        let (first, last) = (to.local.unwrap_or(*PORTS.start()), to.local.unwrap_or(*PORTS.end()));
        for port in first..=last {
            let place = self.0.place(port);
            if place.is_there() || is_taken(port) || is_in_use(port) {
                continue;
            }
            match self.make(&place, to).await {
                Ok(()) => {
                    self.watch(port, &mut watched);
                    return self.hold(&place);
                }
                Err(error) => {
                    self.0.end(&place).await?;
                    if error.kind() != io::ErrorKind::AddrInUse {
                        return Err(error);
                    }
                }
            }
        }
        // AWS: its mount helper's words.
        Err(io::Error::other(match to.local {
            Some(port) => format!("Specified port [{port}] is unavailable. Try selecting a different port."),
            None => format!("no port from {first} to {last} is free for a TLS tunnel"),
        }))
    }

    /// Looks after those that former runs have left, as far as they are used, which is asked.
    ///
    /// # Errors
    /// Of the machine.
    pub async fn adopt(&self, used: impl Fn() -> io::Result<HashSet<u16>>) -> io::Result<()> {
        let mut watched = self.0.watched.lock().await;
        let used = used()?;
        for place in self.0.places()?.into_iter().filter(|place| used.contains(&place.port())) {
            if let Err(error) = found().and_then(|program| place.start(&program)) {
                tracing::warn!(port = place.port(), %error, "a TLS tunnel cannot be started again");
            }
            self.watch(place.port(), &mut watched);
        }
        Ok(())
    }

    /// Ends those that nobody uses, which is asked.
    ///
    /// # Errors
    /// Of the machine.
    pub async fn sweep(&self, used: impl Fn() -> io::Result<HashSet<u16>>) -> io::Result<()> {
        let _watched = self.0.watched.lock().await;
        // In this order: who had one in hand, and has not any more, uses it by now.
        let held: HashSet<u16> = self.0.held().keys().copied().collect();
        let used = used()?;
        for place in self.0.places()? {
            if !held.contains(&place.port()) && !used.contains(&place.port()) {
                self.0.end(&place).await?;
            }
        }
        Ok(())
    }

    async fn make(&self, place: &Place, to: &TunnelTo) -> io::Result<()> {
        place.write(to)?;
        place.start(&found()?)?;
        self.listens(place).await
    }

    /// Waits until it is who listens at its port.
    async fn listens(&self, place: &Place) -> io::Result<()> {
        let limit = self.0.effects.monotonic() + STARTS;
        loop {
            let Some(process) = place.process()? else {
                return Err(place.trouble());
            };
            if process.listens_at(place.port()) {
                return Ok(());
            }
            if self.0.effects.monotonic() > limit {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.0.effects.sleep(LOOKS_AGAIN).await;
        }
    }

    fn hold(&self, place: &Place) -> io::Result<Tunnel> {
        *self.0.held().entry(place.port()).or_default() += 1;
        // Before anything can fail, so that what was counted is counted back.
        let mut tunnel = Tunnel { port: place.port(), said: 0, shared: self.0.clone() };
        tunnel.said = place.make_room()?;
        Ok(tunnel)
    }

    /// Has it started again whenever it ends, until it is taken away.
    fn watch(&self, port: u16, watched: &mut HashSet<u16>) {
        if watched.insert(port) {
            let shared = self.0.clone();
            self.0.effects.clone().spawn("TLS tunnel", async move {
                tokio::select! {
                    () = shared.effects.shutdown().cancelled() => {}
                    () = shared.keep(port) => {}
                }
            });
        }
    }
}

impl Shared {
    fn place(&self, port: u16) -> Place {
        Place::new(&self.dir, port)
    }

    /// All that are there.
    fn places(&self) -> io::Result<Vec<Place>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let ports = entries.map(|entry| Ok(entry?.file_name().to_str().and_then(|name| name.parse().ok())));
        ports.filter_map(Result::transpose).map(|port: io::Result<u16>| Ok(self.place(port?))).collect()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u16, usize>> {
        self.held.lock().expect("nothing panics while it holds who has which tunnel in hand")
    }

    /// Starts it whenever it has ended, at once if it had been there for a while.
    async fn keep(&self, port: u16) {
        let place = self.place(port);
        let mut pause = AGAIN;
        loop {
            let since = self.effects.monotonic();
            // Looking for it takes its lock for a moment, which must not keep anybody from starting it.
            let process = {
                let _watched = self.watched.lock().await;
                place.process()
            };
            match process {
                Ok(Some(process)) => process.ended().await,
                Ok(None) => {}
                Err(error) => tracing::warn!(port, %error, "nothing can be learnt of a TLS tunnel"),
            }
            {
                let mut watched = self.watched.lock().await;
                if !place.is_there() {
                    watched.remove(&port);
                    return;
                }
                match found().and_then(|program| place.start(&program)) {
                    Ok(true) => tracing::warn!(port, "a TLS tunnel had ended, and is started again"),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(port, %error, "a TLS tunnel cannot be started again"),
                }
            }
            if self.effects.monotonic() - since > AGAIN_AT_MOST {
                pause = AGAIN;
            }
            self.effects.sleep(pause).await;
            pause = (pause * 2).min(AGAIN_AT_MOST);
        }
    }

    /// Ends its process and forgets it. Whoever watches it learns that from what is left, which is nothing.
    async fn end(&self, place: &Place) -> io::Result<()> {
        if let Some(process) = place.process()? {
            process.signal(Signal::KILL)?;
            timeout(ENDS, process.ended()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        }
        place.remove()
    }
}

impl Tunnel {
    /// Where it listens, at [`TUNNEL_ADDRESS`].
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What went wrong with it since it was asked for, as far as it said so.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.place(self.port).said_since(self.said)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let mut held = self.shared.held();
        if let Some(count) = held.get_mut(&self.port) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.port);
            }
        }
    }
}

fn program() -> Option<PathBuf> {
    let path = program_path();
    let all = PROGRAMS.iter().flat_map(|name| path.split(':').map(move |folder| Path::new(folder).join(name)));
    all.filter(|program| program.is_absolute()).find(|program| is_program(program))
}

fn found() -> io::Result<PathBuf> {
    // AWS: its mount helper's words begin like these.
    program()
        .ok_or_else(|| io::Error::other("Failed to initialize TLS tunnel: stunnel (package stunnel4) is not installed"))
}

/// Whether somebody else listens there.
fn is_taken(port: u16) -> bool {
    TcpListener::bind((TUNNEL_ADDRESS, port)).is_err()
}

/// Whether the kernel still talks with an NFS server there, which it would take for any other that is there from now on: its user was
/// taken away, and waits for a server that is gone. Source: fs/nfs/client.c, `nfs_server_list_show`.
fn is_in_use(port: u16) -> bool {
    let servers = fs::read_to_string("/proc/thread-self/net/nfsfs/servers").unwrap_or_default();
    settings::lists(&servers, port)
}

#[cfg(test)]
#[path = "tunnel_tests.rs"]
mod tests;

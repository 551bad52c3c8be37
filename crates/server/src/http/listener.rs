//! Sockets, TLS and connections: bounded in number and in patience, drained at shutdown.

use super::{body, handle};
use crate::config::TlsFiles;
use crate::context::{Context, Peer};
use crate::lobby::{Guest, Lobby};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::ContainerInstanceArn;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Largest request head. Presigned queries are the longest; a session token in one may take 4 KiB.
const HEAD_BYTES: usize = 64 << 10;
/// Pause after a failed accept. The usual cause is that the process has no file left, which some connection's end cures.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections of one machine's tasks at once: as many as its agent carries. A machine that carries more is none of ours, and has to
/// leave the others theirs.
const OF_ONE_MACHINE: usize = 128;

/// What all listeners of the endpoint share: the places of connections, and the room for their bodies.
#[derive(Clone)]
pub(crate) struct Door {
    lobby: Arc<Lobby>,
    room: body::Room,
    machines: Arc<Machines>,
}

/// The connections that each machine carries.
#[derive(Default)]
struct Machines(Mutex<HashMap<ContainerInstanceArn, usize>>);

/// One connection that a machine carries.
pub(crate) struct Carried {
    machines: Arc<Machines>,
    by: ContainerInstanceArn,
}

impl Machines {
    fn open(&self) -> MutexGuard<'_, HashMap<ContainerInstanceArn, usize>> {
        self.0.lock().expect("nothing panics while it counts")
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let mut open = self.machines.open();
        if let Some(count) = open.get_mut(&self.by) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.by);
            }
        }
    }
}

impl Door {
    pub(crate) fn new(ctx: &Context) -> Self {
        let lobby = Lobby::new(ctx.config.limits.connections, ctx.effects.clone());
        Self { lobby, room: body::Room::new(), machines: Arc::default() }
    }

    /// One more connection that a machine carries; none if it carries as many as it may.
    pub(crate) fn carried(&self, by: &ContainerInstanceArn) -> Option<Carried> {
        let mut open = self.machines.open();
        let count = open.entry(by.clone()).or_default();
        if *count >= OF_ONE_MACHINE {
            return None;
        }
        *count += 1;
        Some(Carried { machines: self.machines.clone(), by: by.clone() })
    }

    /// Waits for a place.
    pub(crate) async fn enter(&self) -> Arc<Guest> {
        self.lobby.enter().await
    }

    /// Answers what comes over a connection that somebody else has accepted and has a place for, which nobody between can read.
    pub(crate) async fn serve<S>(&self, ctx: &Context, stream: S, from: SocketAddr, guest: Arc<Guest>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = Peer { address: from.ip().to_canonical(), secure: true };
        exchange(Served { ctx: ctx.clone(), room: self.room.clone(), peer }, stream, guest).await;
    }
}

/// A bound endpoint that does not accept yet.
pub(crate) struct Listener {
    socket: TcpListener,
    /// Where it is reached, with the port that was taken for port 0.
    pub(crate) address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

/// Why the endpoint's certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not readable, or not PEM.
    #[error("cannot read {what} from {}", path.display())]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// They do not fit together, or the algorithm is not known.
    #[error("the endpoint's certificate and key cannot be used")]
    Unusable(#[from] rustls::Error),
}

/// Takes the address. Connections made from now on wait until [`Listener::run`].
pub(crate) async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> io::Result<Listener> {
    let socket = TcpListener::bind(address).await?;
    let address = socket.local_addr()?;
    Ok(Listener { socket, address, tls })
}

/// Reads certificate and key.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let pem = |what, path: &std::path::Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { what, path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(|chain| chain.collect::<Result<Vec<_>, _>>())
        .map_err(pem("the certificate", &files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem("the key", &files.key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Listener {
    /// Accepts until shutdown. Connections are drained: what is being answered is answered.
    pub(crate) async fn run(self, ctx: Context, door: Door) {
        let stop = ctx.effects.shutdown().clone();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, from)) => {
                    // While there is no place for it, those behind it wait in the kernel and not in our memory.
                    let guest = tokio::select! {
                        guest = door.lobby.enter() => guest,
                        () = stop.cancelled() => return,
                    };
                    let peer = Peer { address: from.ip().to_canonical(), secure: self.tls.is_some() };
                    let served = Served { ctx: ctx.clone(), room: door.room.clone(), peer };
                    let work = connection(served, stream, self.tls.clone(), guest);
                    ctx.effects.spawn("http connection", work);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    ctx.effects.sleep_unless_stopped(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// What every request of a connection is answered with.
struct Served {
    ctx: Context,
    room: body::Room,
    peer: Peer,
}

async fn connection(served: Served, stream: TcpStream, tls: Option<TlsAcceptor>, guest: Arc<Guest>) {
    // Answers are small and clients wait for each: do not hold them back for more.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return exchange(served, stream, guest).await };
    let shaken = tokio::select! {
        shaken = tls.accept(stream) => shaken,
        () = guest.has_to_go(served.ctx.config.limits.header_timeout) => {
            return tracing::debug!("a TLS handshake took too long, or somebody else needed its place");
        }
    };
    match shaken {
        Ok(stream) => exchange(served, stream, guest).await,
        Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
    }
}

async fn exchange<S>(served: Served, stream: S, guest: Arc<Guest>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Served { ctx, room, peer } = served;
    let stop = ctx.effects.shutdown().clone();
    let limits = ctx.config.limits.clone();
    let own = guest.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (ctx, room, guest) = (ctx.clone(), room.clone(), own.clone());
        async move { Ok::<_, Infallible>(handle(ctx, room, &guest, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = guest.has_to_go(limits.client_timeout) => {
            return tracing::debug!("a client kept us waiting for too long, or somebody else needed its place");
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use effects::Effects;
    use model::Timestamp;

    #[test]
    fn a_machine_leaves_the_others_their_places() {
        let effects = Effects::simulated(1, Timestamp(0));
        let door = Door { lobby: Lobby::new(1, effects), room: body::Room::new(), machines: Arc::default() };
        let machine = |n: u32| -> ContainerInstanceArn {
            format!("arn:aws:ecs:us-east-1:000000000000:container-instance/demo/{n:032x}").parse().unwrap()
        };
        let mut all: Vec<_> = (0..OF_ONE_MACHINE).map(|_| door.carried(&machine(1)).unwrap()).collect();
        assert!(door.carried(&machine(1)).is_none());
        assert!(door.carried(&machine(2)).is_some());
        drop(all.pop());
        all.push(door.carried(&machine(1)).unwrap());
        assert!(door.carried(&machine(1)).is_none());
        drop(all);
        assert!(door.machines.open().is_empty(), "nothing is kept of who carries nothing");
    }
}

//! The link's port: where machines join and agents keep their sessions.
//!
//! A session is woken, not told: it subscribes to its instance, and whenever something about it changes it sends the whole
//! set of tasks the instance shall hold. What comes back is committed before it is acknowledged. Nothing here decides.

mod assignments;
mod door;
mod join;
mod logs;
mod plain;
mod registry;
mod talk;

pub use door::LinkError;
pub(crate) use door::bind;
pub use plain::PlainLink;
pub(crate) use registry::Sessions;
pub(crate) use talk::disconnected;

use crate::{ca::CertificateAuthority, context::Context};
use link::Identity;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Longest a connection may take to shake hands or to say its first word. A slow laptop needs well under a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at once: 5,000 agents, the original's limit for a cluster, and as many again that reconnect at the same time.
const MAX_CONNECTIONS: usize = 10_000;
/// Pause after a failed accept; its usual cause, no free file, needs some other connection to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection of the link has in its hand.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) ctx: Context,
    pub(crate) ca: Arc<CertificateAuthority>,
    pub(crate) sessions: Arc<Sessions>,
}

/// A bound port of the link that does not accept yet.
pub(crate) struct LinkListener {
    socket: TcpListener,
    /// Where it is reached, with the port that was taken for port 0.
    pub(crate) address: SocketAddr,
}

impl LinkListener {
    /// Takes the address.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Accepts until shutdown.
    pub(crate) async fn run(self, link: Link, tls: Arc<rustls::ServerConfig>) {
        let stop = link.ctx.effects.shutdown().clone();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let acceptor = TlsAcceptor::from(tls);
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Ok(place) = places.clone().try_acquire_owned() else {
                        tracing::warn!(%peer, "too many link connections; this one is closed");
                        continue;
                    };
                    let (link, acceptor) = (link.clone(), acceptor.clone());
                    link.ctx.effects.clone().spawn("link connection", async move {
                        let _place = place;
                        connection(link, acceptor, stream, peer).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a link connection");
                    link.ctx.effects.sleep_unless_stopped(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection(link: Link, acceptor: TlsAcceptor, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "a link's TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "a link's TLS handshake took too long"),
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(link::ALPN_JOIN) => join::answer(&link, stream, peer).await,
        Some(link::ALPN_SESSION) => match identity(&stream) {
            Some(identity) => talk::session(link, stream, identity, peer).await,
            None => tracing::warn!(%peer, "a session without a certificate of ours was refused"),
        },
        _ => tracing::debug!(%peer, "a link connection named no protocol of ours"),
    }
}

/// Who the client's certificate says it is. That the certificate is ours, and in date, TLS has checked.
fn identity<T>(stream: &TlsStream<T>) -> Option<Identity> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    match names.value.general_names.as_slice() {
        [x509_parser::extensions::GeneralName::URI(uri)] => uri.parse().ok(),
        _ => None,
    }
}

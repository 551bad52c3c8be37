//! The link's port: where machines join and agents keep their sessions.
//!
//! A session is woken, not told: it subscribes to its instance, and whenever something about it changes it sends the whole
//! set of tasks the instance shall hold. What comes back is committed before it is acknowledged. Nothing here decides.

mod ahead;
mod assignments;
mod door;
mod join;
mod logs;
mod networks;
mod plain;
mod questions;
mod refresh;
mod registry;
mod talk;

pub use door::LinkError;
pub(crate) use door::bind;
pub use plain::PlainLink;
pub(crate) use registry::Sessions;
pub(crate) use talk::disconnected;

use crate::{
    ca::CertificateAuthority,
    context::Context,
    http,
    lobby::{Guest, Lobby},
};
use link::{AgentMessage, Goodbye, GoodbyeCode, Identity, ServerMessage};
use model::{InstanceStatus, Timestamp};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Longest a connection may take to shake hands or to say its first word. A slow laptop needs well under a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// Sessions at once: 5,000 agents, the original's limit for a cluster, and as many again whose old connection is not known to
/// be dead yet.
const MAX_SESSIONS: usize = 10_000;
/// Connections at once that have not proved who they are: anybody may open those. For one more, the oldest has to go.
const MAX_STRANGERS: usize = 256;
/// Pause after a failed accept; its usual cause, no free file, needs some other connection to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection of the link has in its hand.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) ctx: Context,
    pub(crate) ca: Arc<CertificateAuthority>,
    pub(crate) sessions: Arc<Sessions>,
    /// The AWS endpoint, for what agents carry of their tasks; none where no task can ask.
    pub(crate) api: Option<http::Door>,
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
        let strangers = Lobby::new(MAX_STRANGERS, link.ctx.effects.clone());
        let sessions = Arc::new(Semaphore::new(MAX_SESSIONS));
        let acceptor = TlsAcceptor::from(tls);
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let guest = tokio::select! {
                        guest = strangers.enter() => guest,
                        () = stop.cancelled() => return,
                    };
                    let (link, acceptor, sessions) = (link.clone(), acceptor.clone(), sessions.clone());
                    link.ctx.effects.clone().spawn("link connection", async move {
                        connection(link, acceptor, stream, peer, guest, sessions).await;
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

async fn connection(
    link: Link,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    guest: Arc<Guest>,
    sessions: Arc<Semaphore>,
) {
    let _ = stream.set_nodelay(true);
    let shaken = tokio::select! {
        shaken = acceptor.accept(stream) => shaken,
        () = guest.has_to_go(PATIENCE) => {
            return tracing::debug!(%peer, "a link's TLS handshake took too long, or somebody else needed its place");
        }
    };
    let stream = match shaken {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%peer, %error, "a link's TLS handshake failed"),
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(link::ALPN_JOIN) => join::answer(&link, stream, peer, &guest).await,
        Some(link::ALPN_SESSION) => match identity(&stream, link.ctx.effects.now()) {
            Some((identity, standing)) => {
                drop(guest);
                let Ok(_place) = sessions.try_acquire_owned() else {
                    return tracing::warn!(%peer, "there are as many sessions as there may be; this one is closed");
                };
                known(link, stream, identity, standing, peer).await;
            }
            None => tracing::warn!(%peer, "a session without a certificate of ours was refused"),
        },
        Some(link::ALPN_TERMINAL) => match identity(&stream, link.ctx.effects.now()) {
            Some((identity, Standing::InDate)) => {
                drop(guest);
                link.ctx.terminals.arrive(stream, &identity.container_instance, PATIENCE).await;
            }
            Some((_, Standing::Expired)) | None => {
                tracing::warn!(%peer, "a terminal without a certificate of ours that holds was refused");
            }
        },
        Some(link::ALPN_API) => match (identity(&stream, link.ctx.effects.now()), &link.api) {
            (Some((identity, Standing::InDate)), Some(api)) => {
                let Some(_carried) = api.carried(&identity.container_instance) else {
                    return tracing::debug!(%peer, "a machine carries more connections than it may; this one is closed");
                };
                // Until there is a place for it inside it keeps this one, so that those that wait are few too.
                let inside = tokio::select! {
                    inside = api.enter() => inside,
                    () = guest.has_to_go(PATIENCE) => {
                        return tracing::debug!(%peer, "a task's connection waited too long for its place");
                    }
                };
                drop(guest);
                api.serve(&link.ctx, stream, peer, inside).await;
            }
            (Some(_) | None, _) => {
                tracing::warn!(%peer, "a task's connection without a certificate of ours that holds was refused")
            }
        },
        _ => tracing::debug!(%peer, "a link connection named no protocol of ours"),
    }
}

/// Whoever has a certificate of ours.
async fn known(link: Link, stream: TlsStream<TcpStream>, identity: Identity, standing: Standing, peer: SocketAddr) {
    match standing {
        Standing::InDate => talk::session(link, stream, identity, peer).await,
        Standing::Expired => match may_return(&link, &identity) {
            Ok(()) => talk::session(link, stream, identity, peer).await,
            Err(goodbye) => send_away(stream, goodbye, peer).await,
        },
    }
}

/// How a certificate of ours stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    InDate,
    Expired,
}

/// Who the client's certificate says it is. That the certificate is ours TLS has checked.
fn identity<T>(stream: &TlsStream<T>, now: Timestamp) -> Option<(Identity, Standing)> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let expired = parsed.validity().not_after.timestamp().saturating_mul(1000) < now.0;
    let standing = if expired { Standing::Expired } else { Standing::InDate };
    match names.value.general_names.as_slice() {
        [x509_parser::extensions::GeneralName::URI(uri)] => Some((uri.parse().ok()?, standing)),
        _ => None,
    }
}

/// Whether a machine whose certificate ran out may have a session, in which it renews it: no renewal was to be had while the
/// server was away. Only a container instance that we know and nobody deregistered, and only while nobody speaks for it: whoever
/// finds an old key learns and changes nothing as long as the machine itself is there.
fn may_return(link: &Link, identity: &Identity) -> Result<(), Goodbye> {
    let snapshot = link.ctx.store.snapshot();
    let (code, message) = match snapshot.instance(&identity.container_instance).map(|row| row.instance.status) {
        Some(InstanceStatus::Active | InstanceStatus::Draining) if !link.sessions.has(&identity.container_instance) => {
            return Ok(());
        }
        Some(InstanceStatus::Active | InstanceStatus::Draining) => (
            GoodbyeCode::ShuttingDown,
            "this certificate ran out, and the container instance has a session with another",
        ),
        Some(InstanceStatus::Inactive) | None => {
            (GoodbyeCode::Inactive, "this container instance was deregistered; join again with a new token")
        }
    };
    Err(Goodbye { code, message: message.to_owned() })
}

async fn send_away(stream: TlsStream<TcpStream>, goodbye: Goodbye, peer: SocketAddr) {
    tracing::warn!(%peer, reason = goodbye.message, "a session with a certificate that ran out was refused");
    let mut framed = link::framed(stream);
    // What it says is read first: a connection closed on unread words would lose ours.
    let _ = tokio::time::timeout(PATIENCE, framed.receive::<AgentMessage>()).await;
    let _ = tokio::time::timeout(PATIENCE, framed.send(&ServerMessage::Goodbye(goodbye))).await;
}

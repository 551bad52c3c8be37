//! The resolver of a VPC, at its second address and at 169.254.169.253: names of tasks and instances from our own zones, all
//! else from the host's resolvers.
//!
//! What it knows is swapped as a whole while it answers, so that a name follows its task without a pause. It answers on
//! sockets that somebody else opened, in whatever network namespace. Deliberately absent: caching, which belongs to whoever
//! asks, and DNSSEC, which AWS's own zones do not have either.

mod alias;
mod forward;
mod wire;
mod zone;

pub use alias::Aliases;
pub use forward::Upstreams;
pub use zone::{Answer, Data, Entry, Kind, MOST_VALUES, Private, Question, Record, Srv, Zone, Zones, answer};

use crate::http::Peers;
use arc_swap::ArcSwap;
use effects::Effects;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use wire::{Came, Query};

/// Where every VPC has it, besides its second address. Source: the VPC user guide, "DNS attributes".
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
/// Questions that wait for the host's resolvers at the same time; AWS's resolver takes 1,024 a second of one interface.
const FORWARDED: usize = 512;
/// Connections at the same time, and of one address: TCP is for the few answers that are long.
const CONNECTIONS: usize = 128;
const OF_ONE: usize = 16;
/// A connection on which nothing is asked for so long is closed. Source: RFC 7766, in the order of seconds.
const IDLE: Duration = Duration::from_secs(10);
/// A question over UDP: one name of at most 255 bytes and a few options.
const DATAGRAM: usize = 4096;

/// One VPC's resolver.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    zones: ArcSwap<Zones>,
    upstreams: Arc<Upstreams>,
    room: Arc<Semaphore>,
    /// Counts answers, so that each begins with another of a name's values.
    turn: AtomicUsize,
    effects: Effects,
}

impl Resolver {
    /// One that knows nothing itself yet.
    pub fn new(upstreams: Arc<Upstreams>, effects: Effects) -> Self {
        Self(Arc::new(Inner {
            zones: ArcSwap::default(),
            upstreams,
            room: Arc::new(Semaphore::new(FORWARDED)),
            turn: AtomicUsize::new(0),
            effects,
        }))
    }

    /// All it knows itself from now on.
    pub fn know(&self, zones: Zones) {
        self.0.zones.store(Arc::new(zones));
    }

    /// Answers on a socket until shutdown.
    pub async fn serve_udp(self, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let stop = self.0.effects.shutdown().clone();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let came = tokio::select! {
                () = stop.cancelled() => return,
                came = socket.recv_from(&mut buffer) => came,
            };
            let (length, peer) = match came {
                Ok(came) => came,
                Err(error) => {
                    // That a client was gone when its answer came is told here too.
                    tracing::debug!(%error, "a question was lost");
                    continue;
                }
            };
            let query = match wire::read(&buffer[..length]) {
                Came::Query(query) => query,
                Came::Bad(reply) => {
                    send(&socket, &reply, peer).await;
                    continue;
                }
                Came::Nothing => continue,
            };
            match self.known(&query, peer.ip()) {
                Some(reply) => send(&socket, &fitted(&query, reply), peer).await,
                None => self.forward_udp(query, socket.clone(), peer).await,
            }
        }
    }

    async fn forward_udp(&self, query: Box<Query>, socket: Arc<UdpSocket>, peer: SocketAddr) {
        let Some(turn) = self.turn() else {
            return send(&socket, &query.failed(), peer).await;
        };
        let resolver = self.clone();
        self.0.effects.spawn("forward a question", async move {
            let _turn = turn;
            let reply = resolver.forwarded(&query).await;
            send(&socket, &fitted(&query, reply), peer).await;
        });
    }

    /// Answers connections until shutdown.
    pub async fn serve_tcp(self, listener: TcpListener) {
        let stop = self.0.effects.shutdown().clone();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let peers = Peers::default();
        loop {
            let turn = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::debug!(%error, "a connection to the resolver was lost");
                        continue;
                    }
                },
            };
            let Some(place) = peers.take(peer.ip(), OF_ONE) else { continue };
            let (resolver, stop) = (self.clone(), stop.clone());
            self.0.effects.spawn("resolver", async move {
                let _held = (turn, place);
                tokio::select! {
                    // A client that breaks off is its own affair.
                    _ = resolver.converse(stream, peer.ip()) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    }

    async fn converse(&self, mut stream: TcpStream, peer: IpAddr) -> io::Result<()> {
        loop {
            let message = tokio::select! {
                message = receive(&mut stream) => message?,
                () = self.0.effects.sleep(IDLE) => return Ok(()),
            };
            let reply = match wire::read(&message) {
                Came::Query(query) => match (self.known(&query, peer), self.turn()) {
                    (Some(reply), _) => reply,
                    (None, Some(_turn)) => self.forwarded(&query).await,
                    (None, None) => query.failed(),
                },
                Came::Bad(reply) => reply,
                Came::Nothing => return Ok(()),
            };
            let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes()[..], &reply].concat()).await?;
        }
    }

    /// What our zones answer, if it is theirs to answer.
    fn known(&self, query: &Query, peer: IpAddr) -> Option<Vec<u8>> {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        let zones = self.0.zones.load();
        let own = match peer {
            IpAddr::V4(peer) => alias::answer(&zones, peer, &query.question),
            IpAddr::V6(_) => None,
        };
        query.answered(&own.unwrap_or_else(|| answer(&zones, &query.question, turn)))
    }

    async fn forwarded(&self, query: &Query) -> Vec<u8> {
        self.0.upstreams.ask(query).await.unwrap_or_else(|| query.failed())
    }

    /// A turn to ask the host's resolvers; none where too many ask, who are told at once that it did not work.
    fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.0.room.clone().try_acquire_owned().ok()
    }
}

/// As much as the client takes over UDP.
fn fitted(query: &Query, reply: Vec<u8>) -> Vec<u8> {
    if reply.len() > query.udp_bytes() { query.truncated(&reply) } else { reply }
}

async fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn send(socket: &UdpSocket, reply: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.send_to(reply, peer).await {
        tracing::debug!(%peer, %error, "an answer could not be sent");
    }
}

#[cfg(test)]
mod tests;

//! The way of tasks to the AWS endpoint: what they send to 169.254.170.2:51680 this agent carries to the server, each connection
//! over one of its own (`ALPN_API`). So a container with a role can use it wherever its task runs, whatever its network is and
//! wherever the server listens, and nobody between the machines reads along.
//!
//! Nothing is looked at here: requests are signed for the address they were sent to, and the server verifies them.

use crate::{http::Peers, identity::IdentityStore, metadata, session};
use effects::Effects;
use std::sync::Arc;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// One of the ports that ECS reserves on container instances, so that no task has it.
pub(crate) const PORT: u16 = 51680;
/// Connections of a machine at once. Each is a TLS connection at the server, which has places for a thousand or so; clients
/// whose connections wait here are behind those that are served.
const CONNECTIONS: usize = 128;
/// Of one address; all tasks of mode host have the same. SDKs keep ten at most, unless they are told otherwise.
const OF_ONE: usize = 32;

/// What clients in containers are told.
pub(crate) fn url() -> String {
    format!("http://{}:{PORT}", metadata::ADDRESS)
}

/// The way to the server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ApiDoor {
    server: Arc<str>,
    store: IdentityStore,
    places: Arc<Semaphore>,
    peers: Peers,
    effects: Effects,
}

impl ApiDoor {
    /// To that server, as the machine that the store knows.
    pub(crate) fn new(server: &str, store: IdentityStore, effects: Effects) -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        Self { server: server.into(), store, places, peers: Peers::default(), effects }
    }

    /// Serves until shutdown. The listener may have been opened in another network namespace.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let stop = self.effects.shutdown().clone();
        loop {
            let turn = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::debug!(%error, "a connection to the API was lost");
                        continue;
                    }
                },
            };
            let Some(place) = self.peers.take(peer.ip(), OF_ONE) else {
                tracing::debug!(%peer, "a connection too many of one address to the API was closed");
                continue;
            };
            let (door, stop) = (self.clone(), stop.clone());
            self.effects.spawn("api of a task", async move {
                let _held = (turn, place);
                tokio::select! {
                    () = door.carry(stream) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    }

    /// Both ways until one side has closed. The server closes connections on which nothing is asked.
    async fn carry(&self, mut near: TcpStream) {
        let _ = near.set_nodelay(true);
        match session::dial_api(&self.server, &self.store, &self.effects).await {
            Ok(mut far) => match copy_bidirectional(&mut near, &mut far).await {
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "a task's connection to the API ended badly"),
            },
            Err(error) => {
                tracing::warn!(error = crate::real::chain(&error), "a task's request cannot be carried to the server");
            }
        }
    }
}

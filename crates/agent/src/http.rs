//! How the agent's small HTTP endpoints are served: one request per connection, bounded in number, size and time.
//!
//! What they answer is theirs; who may reach them is decided by where the listener was opened.

use effects::Effects;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, sync::Semaphore};

/// A whole answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// What bounds an endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections at the same time.
    pub(crate) connections: usize,
    /// Of one address, so that one task cannot keep the others out.
    pub(crate) of_one: usize,
    /// A connection that has not come to its end by then is closed.
    pub(crate) life: Duration,
}

/// Serves until shutdown.
pub(crate) async fn serve<H, F>(name: &'static str, listener: TcpListener, bounds: Bounds, effects: Effects, answer: H)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(bounds.connections));
    let peers = Peers::default();
    let stop = effects.shutdown().clone();
    loop {
        let turn = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, endpoint = name, "a connection was lost");
                    continue;
                }
            },
        };
        let Some(place) = peers.take(peer.ip(), bounds.of_one) else {
            tracing::debug!(%peer, endpoint = name, "a connection too many of one address was closed");
            continue;
        };
        let (answer, clock, stop) = (answer.clone(), effects.clone(), stop.clone());
        effects.spawn(name, async move {
            let _held = (turn, place);
            let service = service_fn(move |request| {
                let answering = answer(request, peer);
                async move { Ok::<_, Infallible>(answering.await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            // Half closed, because `printf … | nc` says so much by its end of input and still waits for the answer.
            let serving = http.keep_alive(false).half_close(true).serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A client that breaks off is its own affair.
                _ = serving => {}
                () = clock.sleep(bounds.life) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

/// The open connections of each address.
#[derive(Clone, Default)]
pub(crate) struct Peers(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

impl Peers {
    /// A place for one more, if it has not too many.
    pub(crate) fn take(&self, peer: IpAddr, most: usize) -> Option<Place> {
        let mut open = self.0.lock().expect("no code panics with it");
        let count = open.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), peer })
    }
}

/// One open connection.
pub(crate) struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.peers.0.lock().expect("no code panics with it");
        let left = open.get(&self.peer).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            open.remove(&self.peer);
        } else {
            open.insert(self.peer, left);
        }
    }
}

/// A value as JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).expect("these types are JSON");
    respond(status, "application/json", body.into())
}

/// A text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    respond(status, "text/plain; charset=utf-8", text.into())
}

/// A whole answer.
pub(crate) fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .body(Full::new(body))
        .expect("the parts are constants")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_the_others_places() {
        let peers = Peers::default();
        let (one, other) = (IpAddr::from([172, 17, 0, 2]), IpAddr::from([172, 17, 0, 3]));
        let held: Vec<_> = (0..2).map(|_| peers.take(one, 2).unwrap()).collect();
        assert!(peers.take(one, 2).is_none());
        assert!(peers.take(other, 2).is_some());
        drop(held);
        assert!(peers.take(one, 2).is_some());
        assert!(peers.0.lock().unwrap().is_empty(), "who has gone is forgotten");
    }
}

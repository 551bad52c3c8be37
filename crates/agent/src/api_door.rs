//! The way of tasks to the AWS endpoint: what they send to 169.254.170.2:51680 this agent carries to the server, each connection
//! over one of its own (`ALPN_API`). So a container with a role can use it wherever its task runs, whatever its network is and
//! wherever the server listens, and nobody between the machines reads along.
//!
//! Nothing is looked at here: requests are signed for the address they were sent to, and the server verifies them.

use crate::{identity::IdentityStore, metadata, session};
use effects::Effects;
use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// One of the ports that ECS reserves on container instances, so that no task has it.
pub(crate) const PORT: u16 = 51680;
/// Connections of a machine at once. Each is a TLS connection at the server, which has places for a thousand or so, and takes no
/// more than this of one machine.
const CONNECTIONS: usize = 128;
/// Of one address in one VPC, which is one task. SDKs keep ten at most, unless they are told otherwise.
const OF_ONE: usize = 16;
/// Of the instance's own address, which all tasks of mode host have.
const OF_HOST: usize = 64;
/// No connection is closed for another before nothing has been asked on it for so long. Who asks again at once finds it open.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks for a place while none is idle.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What clients in containers are told.
pub(crate) fn url() -> String {
    format!("http://{}:{PORT}", metadata::ADDRESS)
}

/// The way to the server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ApiDoor {
    server: Arc<str>,
    store: IdentityStore,
    open: Arc<Open>,
    effects: Effects,
}

impl ApiDoor {
    /// To that server, as the machine that the store knows.
    pub(crate) fn new(server: &str, store: IdentityStore, effects: Effects) -> Self {
        Self { server: server.into(), store, open: Arc::default(), effects }
    }

    /// Serves until shutdown. The listener may have been opened in another network namespace, whose addresses are its own.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let stop = self.effects.shutdown().clone();
        let namespace = self.open.namespace();
        loop {
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
            let place = tokio::select! {
                () = stop.cancelled() => return,
                place = self.place((namespace, peer.ip())) => place,
            };
            let Some(place) = place else {
                tracing::debug!(%peer, "a connection too many of one address to the API was closed");
                continue;
            };
            let (door, stop) = (self.clone(), stop.clone());
            self.effects.spawn("api of a task", async move {
                let out = place.out.clone();
                tokio::select! {
                    () = door.carry(stream, place) => {}
                    () = out.cancelled() => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    }

    /// A place for one more of that address; none if it has enough, and asks something on each.
    async fn place(&self, of: Address) -> Option<Place> {
        let most = if of.1 == metadata::ADDRESS { OF_HOST } else { OF_ONE };
        loop {
            match self.open.admit(of, most, self.effects.monotonic()) {
                Admitted::In(out, number) => return Some(Place { open: self.open.clone(), number, out }),
                Admitted::TooMany => return None,
                // Those that come behind it wait in the kernel.
                Admitted::Full => self.effects.sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Both ways until one side has closed. The server closes connections on which nothing is asked.
    async fn carry(&self, near: TcpStream, place: Place) {
        let _ = near.set_nodelay(true);
        let mut near = Watched { stream: near, place, effects: self.effects.clone() };
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

/// Where somebody is: the namespace of a listener, and the address in it. VPCs may have the same addresses.
type Address = (u64, IpAddr);

/// The connections that are carried.
#[derive(Default)]
struct Open(Mutex<Connections>);

#[derive(Default)]
struct Connections {
    all: BTreeMap<u64, Connection>,
    next: u64,
}

struct Connection {
    of: Address,
    /// Since when nothing is asked on it; none while an answer is awaited.
    idle_since: Option<Duration>,
    out: CancellationToken,
}

enum Admitted {
    In(CancellationToken, u64),
    TooMany,
    Full,
}

/// One connection that is carried.
struct Place {
    open: Arc<Open>,
    number: u64,
    out: CancellationToken,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }

    fn namespace(&self) -> u64 {
        self.lock().number()
    }

    /// Lets one more in, if need be in place of the one that has been idle longest.
    fn admit(&self, of: Address, most: usize, now: Duration) -> Admitted {
        let mut open = self.lock();
        if open.all.values().filter(|one| one.of == of).count() >= most {
            if !open.close_longest(now, |one| one.of == of) {
                return Admitted::TooMany;
            }
        } else if open.all.len() >= CONNECTIONS && !open.close_longest(now, |_| true) {
            return Admitted::Full;
        }
        let (number, out) = (open.number(), CancellationToken::new());
        open.all.insert(number, Connection { of, idle_since: Some(now), out: out.clone() });
        Admitted::In(out, number)
    }

    fn is_idle(&self, number: u64, since: Option<Duration>) {
        if let Some(one) = self.lock().all.get_mut(&number) {
            one.idle_since = since;
        }
    }
}

impl Connections {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn close_longest(&mut self, now: Duration, among: impl Fn(&Connection) -> bool) -> bool {
        let idle = self.all.iter().filter(|(_, one)| among(one));
        let idle = idle.filter_map(|(number, one)| Some((one.idle_since?, *number)));
        let longest = idle.min().filter(|(since, _)| *since + GRACE <= now);
        let gone = longest.and_then(|(_, number)| self.all.remove(&number));
        if let Some(gone) = &gone {
            gone.out.cancel();
        }
        gone.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.lock().all.remove(&self.number);
    }
}

/// A task's side of a connection, which notes whose move it is.
struct Watched {
    stream: TcpStream,
    place: Place,
    effects: Effects,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        if into.filled().len() > before {
            self.place.open.is_idle(self.place.number, None);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.place.open.is_idle(self.place.number, Some(self.effects.monotonic()));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = GRACE;

    fn of(namespace: u64, address: &str) -> Address {
        (namespace, address.parse().unwrap())
    }

    fn admitted(open: &Open, of: Address, now: Duration) -> Option<(CancellationToken, u64)> {
        match open.admit(of, OF_ONE, now) {
            Admitted::In(out, number) => Some((out, number)),
            Admitted::TooMany | Admitted::Full => None,
        }
    }

    #[test]
    fn one_task_leaves_the_others_their_places() {
        let (open, now) = (Open::default(), Duration::ZERO);
        let all: Vec<_> = (0..OF_ONE).map(|_| admitted(&open, of(1, "10.0.0.4"), now).unwrap()).collect();
        assert!(matches!(open.admit(of(1, "10.0.0.4"), OF_ONE, now), Admitted::TooMany));
        assert!(admitted(&open, of(2, "10.0.0.4"), now).is_some(), "the same address of another VPC is another task");
        // All of them wait for answers but one, which makes room.
        for (_, number) in &all {
            open.is_idle(*number, None);
        }
        assert!(admitted(&open, of(1, "10.0.0.4"), now + LATER).is_none());
        open.is_idle(all[3].1, Some(now));
        assert!(admitted(&open, of(1, "10.0.0.4"), now + LATER).is_some());
        assert!(all.iter().enumerate().all(|(at, (out, _))| out.is_cancelled() == (at == 3)));
    }

    #[test]
    fn where_all_places_are_taken_the_longest_idle_makes_room() {
        let (open, now) = (Open::default(), Duration::ZERO);
        let all: Vec<_> = (0..CONNECTIONS)
            .map(|n| admitted(&open, of(n as u64, "10.0.0.4"), now + Duration::from_millis(n as u64)).unwrap())
            .collect();
        let next = of(1_000, "10.0.0.5");
        assert!(matches!(open.admit(next, OF_ONE, now), Admitted::Full), "none has been idle for long");
        open.is_idle(all[0].1, None);
        assert!(admitted(&open, next, now + LATER + Duration::from_millis(1)).is_some());
        assert!(all[1].0.is_cancelled() && !all[0].0.is_cancelled() && !all[2].0.is_cancelled());
        assert_eq!(open.lock().all.len(), CONNECTIONS);
    }
}

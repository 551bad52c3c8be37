//! Connections between agents and the server that are slow, split what they carry, stall, break with bytes on their way, and
//! sometimes never tell one end that the other is gone.

use agent::{Dial, Stream};
use effects::Effects;
use futures::{FutureExt, future::BoxFuture};
use link::Identity;
use server::PlainLink;
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split},
    sync::watch,
    task::JoinHandle,
};

/// Bytes a connection holds at each end: a few messages, so that writers feel a stalled one.
const BUFFER: usize = 16 << 10;

/// One agent's way to the server.
#[derive(Clone)]
pub(crate) struct Road(Arc<Inner>);

struct Inner {
    world: Effects,
    /// Its own chance, so that what happens here does not change what happens elsewhere.
    dice: Effects,
    identity: Identity,
    state: Mutex<State>,
    stalled: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    server: Option<PlainLink>,
    carriers: Vec<JoinHandle<()>>,
}

impl Road {
    pub(crate) fn new(world: Effects, dice: Effects, identity: Identity) -> Self {
        Self(Arc::new(Inner { world, dice, identity, state: Mutex::default(), stalled: watch::Sender::new(false) }))
    }

    /// The server that is reached from now on.
    pub(crate) fn leads_to(&self, server: Option<PlainLink>) {
        self.0.state.lock().unwrap().server = server;
    }

    /// Breaks every connection; what is on its way is lost.
    pub(crate) fn cut(&self) {
        for carrier in self.0.state.lock().unwrap().carriers.drain(..) {
            carrier.abort();
        }
    }

    /// Nothing gets through while it is stalled; afterwards everything does, from old connections too.
    pub(crate) fn stall(&self, stalled: bool) {
        self.0.stalled.send_replace(stalled);
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let (world, dice) = (&self.0.world, &self.0.dice);
        world.sleep(Duration::from_millis(dice.random() % 40)).await;
        if !dice.random().is_multiple_of(4) {
            self.clear().await;
        }
        let mut state = self.0.state.lock().unwrap();
        let server = state.server.clone().ok_or(io::ErrorKind::ConnectionRefused)?;
        let (agent, near) = tokio::io::duplex(BUFFER);
        let (far, end) = tokio::io::duplex(BUFFER);
        let ((near_read, near_write), (far_read, far_write)) = (split(near), split(far));
        state.carriers.retain(|carrier| !carrier.is_finished());
        for (from, to) in [(near_read, far_write), (far_read, near_write)] {
            let road = self.clone();
            state.carriers.push(world.spawn("carrier", async move { road.carry(from, to).await }));
        }
        server.accept(end, self.0.identity.clone());
        Ok(Box::new(agent))
    }

    /// Waits out a stall; true if there was one.
    async fn clear(&self) -> bool {
        let mut stalled = self.0.stalled.subscribe();
        let was = *stalled.borrow();
        let _ = stalled.wait_for(|stalled| !stalled).await;
        was
    }

    /// Carries bytes one way, in pieces that know nothing of messages.
    async fn carry(&self, mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>) {
        let (world, dice) = (&self.0.world, &self.0.dice);
        let mut piece = vec![0; 4096];
        loop {
            let chance = dice.random();
            let size = 1 + (chance % 4096) as usize;
            let read = from.read(&mut piece[..size]).await.unwrap_or(0);
            let pause = if chance.is_multiple_of(50) { 3_000 } else { 15 };
            world.sleep(Duration::from_millis(chance / 4096 % pause)).await;
            if self.clear().await && chance.is_multiple_of(2) {
                // A stalled connection notices late that it can go on, when newer ones have begun.
                world.sleep(Duration::from_millis(chance / 4096 % 25_000)).await;
            }
            if read == 0 {
                break;
            }
            if to.write_all(&piece[..read]).await.is_err() {
                return;
            }
        }
        if dice.random().is_multiple_of(5) {
            // A machine that lost its power says no farewell.
            std::future::pending::<()>().await;
        }
        let _ = to.shutdown().await;
    }
}

impl Dial for Road {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        self.connect().boxed()
    }
}

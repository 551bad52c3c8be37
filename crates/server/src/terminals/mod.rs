//! Terminals in containers, as ECS Exec has them: who was promised one, which agents can be asked for it, and where the two
//! connections of one meet, the person's websocket and the agent's.
//!
//! Nothing of this is in the state: a session is over with either of its connections, and with this server. What is kept is the
//! record of who ran what (`audit`), written before anything is run.

mod audit;
mod door;
mod talk;
mod transcript;

pub(crate) use door::{PATH, upgrade};

use effects::Effects;
use link::{FromTerminal, OpenTerminal, Receiver, Sender};
use model::{ContainerInstanceArn, TaskArn};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use subtle::ConstantTimeEq;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc, oneshot},
};
use tokio_rustls::server::TlsStream;

/// How long a promise holds: the plugin comes within a second.
const PROMISE: Duration = Duration::from_secs(300);
/// Promises at once that nobody has come for.
const PROMISES: usize = 1000;
/// Sessions at once. AWS: 1,000 for a container.
const SESSIONS: usize = 1000;
/// Websockets at once that have not shown their token: anybody may open those.
const STRANGERS: usize = 64;
/// Terminals that one agent's session may be asked for before it has dialled.
const ASKED: usize = 16;

/// One terminal that somebody may have.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The instance that holds the task.
    pub(crate) instance: ContainerInstanceArn,
    pub(crate) task: TaskArn,
    /// By name.
    pub(crate) container: Arc<str>,
    /// Word by word, and as given.
    pub(crate) command: Vec<String>,
    pub(crate) line: String,
    /// Who asked, and with which key.
    pub(crate) principal: String,
    pub(crate) access_key: String,
}

/// What whoever asked is told.
pub(crate) struct Promise {
    /// The session's id.
    pub(crate) session: String,
    /// Shown once on the websocket, by whoever comes for it.
    pub(crate) token: String,
}

struct Offer {
    token: [u8; 32],
    until: Duration,
    wanted: Wanted,
}

/// An agent's connection for one terminal.
pub(crate) struct Line {
    pub(crate) from: Receiver<TlsStream<TcpStream>>,
    pub(crate) to: Sender<TlsStream<TcpStream>>,
}

#[derive(Default)]
struct Inner {
    offers: BTreeMap<String, Offer>,
    /// Those that have a session, with its number.
    agents: HashMap<ContainerInstanceArn, (u64, mpsc::Sender<OpenTerminal>)>,
    numbers: u64,
    /// Sessions that wait for their agent.
    waiting: HashMap<String, (ContainerInstanceArn, oneshot::Sender<Line>)>,
}

/// See the module.
pub struct Terminals {
    inner: Mutex<Inner>,
    effects: Effects,
    places: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

/// An agent that can be asked, as long as this lives.
pub(crate) struct Attendance {
    terminals: Arc<Terminals>,
    instance: ContainerInstanceArn,
    number: u64,
    orders: mpsc::Receiver<OpenTerminal>,
}

impl Attendance {
    /// The next terminal that the agent is asked for.
    pub(crate) async fn next(&mut self) -> Option<OpenTerminal> {
        self.orders.recv().await
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let mut inner = self.terminals.inner();
        if inner.agents.get(&self.instance).is_some_and(|(number, _)| *number == self.number) {
            inner.agents.remove(&self.instance);
        }
    }
}

/// Forgets that a session waits.
struct Waits<'a> {
    terminals: &'a Terminals,
    session: &'a str,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.terminals.inner().waiting.remove(self.session);
    }
}

impl Terminals {
    /// Nobody is promised anything, and no agent is there.
    pub fn new(effects: Effects) -> Self {
        let (places, strangers) = (Arc::new(Semaphore::new(SESSIONS)), Arc::new(Semaphore::new(STRANGERS)));
        Self { inner: Mutex::default(), effects, places, strangers }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing in this module panics while it holds the lock")
    }

    /// Says that an agent can be asked from now on.
    pub(crate) fn attend(self: &Arc<Self>, instance: &ContainerInstanceArn) -> Attendance {
        let (ask, orders) = mpsc::channel(ASKED);
        let mut inner = self.inner();
        inner.numbers += 1;
        let number = inner.numbers;
        inner.agents.insert(instance.clone(), (number, ask));
        Attendance { terminals: self.clone(), instance: instance.clone(), number, orders }
    }

    /// Whether an instance's agent can be asked.
    pub(crate) fn can_reach(&self, instance: &ContainerInstanceArn) -> bool {
        self.inner().agents.contains_key(instance)
    }

    /// Promises a terminal. None if too many are promised that nobody came for.
    pub(crate) fn promise(&self, wanted: Wanted) -> Option<Promise> {
        let session = format!("ecs-execute-command-{}", self.effects.hex17());
        let token = hex::encode(self.effects.bytes::<32>());
        let now = self.effects.monotonic();
        let offer = Offer { token: Sha256::digest(&token).into(), until: now + PROMISE, wanted };
        let mut inner = self.inner();
        inner.offers.retain(|_, offer| offer.until > now);
        if inner.offers.len() >= PROMISES {
            return None;
        }
        inner.offers.insert(session.clone(), offer);
        Some(Promise { session, token })
    }

    /// Redeems a promise: once, and only with its token. A wrong one leaves it to whoever has the right one.
    fn redeem(&self, session: &str, token: &str) -> Option<Wanted> {
        let now = self.effects.monotonic();
        let mut inner = self.inner();
        let offer = inner.offers.get(session)?;
        let given: [u8; 32] = Sha256::digest(token).into();
        if offer.until <= now || !bool::from(offer.token.ct_eq(&given)) {
            return None;
        }
        inner.offers.remove(session).map(|offer| offer.wanted)
    }

    /// Asks an instance's agent for a terminal, and waits for its connection.
    async fn call(&self, instance: &ContainerInstanceArn, open: OpenTerminal, limit: Duration) -> Option<Line> {
        let session = open.session.clone();
        let (tell, came) = oneshot::channel();
        let _waits = Waits { terminals: self, session: &session };
        let ask = {
            let mut inner = self.inner();
            inner.waiting.insert(session.clone(), (instance.clone(), tell));
            inner.agents.get(instance)?.1.clone()
        };
        let calling = async {
            ask.send(open).await.ok()?;
            came.await.ok()
        };
        tokio::select! {
            line = calling => line,
            () = self.effects.sleep(limit) => None,
        }
    }

    /// Takes an agent's connection to who waits for it; false if nobody waits for one of this instance.
    fn meet(&self, session: &str, instance: &ContainerInstanceArn, line: Line) -> bool {
        let mut inner = self.inner();
        if inner.waiting.get(session).is_none_or(|(wanted, _)| wanted != instance) {
            return false;
        }
        inner.waiting.remove(session).is_some_and(|(_, tell)| tell.send(line).is_ok())
    }

    /// The other end of an agent's connection: it says which session it is for.
    pub(crate) async fn arrive(&self, stream: TlsStream<TcpStream>, instance: &ContainerInstanceArn, limit: Duration) {
        let (mut from, to) = link::framed_small(stream).split();
        let first = tokio::select! {
            first = from.receive::<FromTerminal>() => first,
            () = self.effects.sleep(limit) => return,
        };
        match first {
            Ok(FromTerminal::Here { session }) => {
                if !self.meet(&session, instance, Line { from, to }) {
                    tracing::warn!(%instance, session, "an agent came for a terminal that nobody waits for there");
                }
            }
            Ok(_) => tracing::warn!(%instance, "a terminal did not begin with its session"),
            Err(error) => tracing::debug!(%instance, %error, "a terminal ended before it began"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    fn wanted() -> Wanted {
        let cluster = "arn:aws:ecs:us-east-1:123456789012";
        Wanted {
            instance: format!("{cluster}:container-instance/demo/00112233445566778899aabbccddeeff").parse().unwrap(),
            task: format!("{cluster}:task/demo/00112233445566778899aabbccddeeff").parse().unwrap(),
            container: "app".into(),
            command: vec!["sh".into()],
            line: "sh".into(),
            principal: "arn:aws:iam::123456789012:root".into(),
            access_key: "AKIA".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_promise_is_kept_once_and_not_for_ever() {
        let effects = Effects::simulated(1, Timestamp(1_790_000_000_000));
        let terminals = Terminals::new(effects.clone());
        let promise = || terminals.promise(wanted()).unwrap();
        let first = promise();
        assert!(terminals.redeem(&first.session, "guessed").is_none());
        assert!(terminals.redeem("ecs-execute-command-0", &first.token).is_none());
        assert!(terminals.redeem(&first.session, &promise().token).is_none());
        assert!(terminals.redeem(&first.session, &first.token).is_some(), "a wrong guess takes nothing away");
        assert!(terminals.redeem(&first.session, &first.token).is_none(), "once");
        let late = promise();
        tokio::time::advance(PROMISE).await;
        assert!(terminals.redeem(&late.session, &late.token).is_none());
        for _ in 0..PROMISES {
            promise();
        }
        assert!(terminals.promise(wanted()).is_none(), "as many as there may be");
        tokio::time::advance(PROMISE).await;
        assert!(terminals.promise(wanted()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_is_asked_as_long_as_it_attends() {
        let terminals = Arc::new(Terminals::new(Effects::simulated(1, Timestamp(1_790_000_000_000))));
        let wanted = wanted();
        let open = || OpenTerminal {
            session: "s".into(),
            task: wanted.task.clone(),
            container: "app".into(),
            command: vec!["sh".into()],
            size: link::TerminalSize::default(),
        };
        let patience = Duration::from_secs(10);
        assert!(terminals.call(&wanted.instance, open(), patience).await.is_none(), "nobody attends");
        let older = terminals.attend(&wanted.instance);
        let mut newer = terminals.attend(&wanted.instance);
        drop(older);
        assert!(terminals.can_reach(&wanted.instance), "an older session's end is not the newer one's");
        let (line, asked) = tokio::join!(terminals.call(&wanted.instance, open(), patience), newer.next());
        assert!(line.is_none() && asked == Some(open()), "asked, and nobody came");
        assert!(terminals.inner().waiting.is_empty());
        drop(newer);
        assert!(!terminals.can_reach(&wanted.instance));
    }
}

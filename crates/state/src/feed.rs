//! The change feed: who waits for what, woken after a commit is published.
//!
//! Level-triggered and coalescing: a subscriber learns that something changed, not what; it takes a snapshot and looks.
//! Whoever subscribes before taking the first snapshot misses nothing.

use model::{ContainerInstanceArn, Scope};
use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};
use tokio::sync::watch;

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Anything.
    All,
    /// A container instance's own record, or what is wanted of it: a task came, shall stop, or has stopped. Not how far its
    /// tasks have come, since that is told by the instance itself.
    Instance(ContainerInstanceArn),
    /// Any container instance's own record.
    Instances,
    /// A scope's network, a task's interface in it, or a name that may lead to another task.
    Network(Scope),
    /// A scope's task definitions.
    Definitions(Scope),
    /// Any task.
    Tasks,
    /// Any machine.
    Machines,
    /// Any secret or parameter.
    Vaults,
    /// Any activation.
    Activations,
}

/// The store was closed; nothing will change any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state store is closed")]
pub struct Closed;

/// Waits for changes of one topic.
pub struct Subscription(watch::Receiver<u64>);

impl Subscription {
    /// Waits until something of the topic has changed since the last call (or since subscribing) and returns the
    /// revision of the change. Several changes wake once. Safe to cancel.
    pub async fn changed(&mut self) -> Result<u64, Closed> {
        self.0.changed().await.map_err(|_| Closed)?;
        Ok(*self.0.borrow_and_update())
    }

    /// Whether [`Subscription::changed`] would return at once.
    pub fn is_due(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }
}

/// All subscribers. The lock is held for map operations only, never across a wait.
#[derive(Default)]
pub(crate) struct Feed(Mutex<Topics>);

#[derive(Default)]
struct Topics {
    topics: HashMap<Topic, watch::Sender<u64>>,
    closed: bool,
    /// How many topics there may be before those without subscribers are looked for.
    sweep_at: usize,
}

/// Below this many topics, those nobody waits for any more are left lying: they are woken in vain only when touched.
const SWEEP_MIN: usize = 64;

impl Feed {
    fn topics(&self) -> std::sync::MutexGuard<'_, Topics> {
        self.0.lock().expect("nothing in this module panics while it holds the lock")
    }

    pub(crate) fn subscribe(&self, topic: Topic) -> Subscription {
        let mut all = self.topics();
        if all.closed {
            return Subscription(watch::channel(0).1);
        }
        if all.topics.len() >= all.sweep_at.max(SWEEP_MIN) {
            all.topics.retain(|_, sender| sender.receiver_count() > 0);
            all.sweep_at = all.topics.len() * 2;
        }
        Subscription(all.topics.entry(topic).or_insert_with(|| watch::channel(0).0).subscribe())
    }

    pub(crate) fn wake(&self, touched: &HashSet<Topic>, revision: u64) {
        let all = self.topics();
        for topic in touched {
            if let Some(sender) = all.topics.get(topic) {
                sender.send_replace(revision);
            }
        }
    }

    pub(crate) fn close(&self) {
        let mut all = self.topics();
        all.closed = true;
        all.topics.clear();
    }
}

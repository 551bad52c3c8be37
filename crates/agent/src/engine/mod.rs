//! Holds the tasks of this instance: takes the server's sets, gives each task its owner, routes what happens, keeps what is
//! to be reported.
//!
//! Deliberately absent: what a task does next (`task::step`), and how (`Node`). An owner is one tokio task that alone
//! writes its task's state and ledger entry; everybody else sends it events and reads what it publishes on the board.

mod board;
mod owner;
#[cfg(test)]
mod tests;
pub(crate) use board::News;
pub use board::{Board, Unreported, View};

use crate::{
    ledger::{Ledger, LedgerError, Newest, Record, VERSION},
    logs::LogHub,
    node::{Failure, Node, NodeEvent},
    plan::TaskPlan,
    task::{End, Event, Happened, Interface, Phase, TaskState},
};
use effects::Effects;
use futures::StreamExt;
use link::{Assignment, Assignments, Networks};
use model::{Desired, Stop, TaskArn, TaskDefinitionSpec, Timestamp};
use owner::Owner;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};

/// Events that may wait for an owner. It works through one in the time of a file write, and a container has few events.
const MAILBOX: usize = 64;
/// Pulls at the same time: more only share the same disk and wire.
const PULLS: usize = 4;
/// Containers being connected or created at the same time, for each core: one is tens of milliseconds of it (shim, runc,
/// cgroups) and waits for the disk and for the kernel's grace periods as long again. With fewer a core stands idle in
/// between; more only take turns. Starts are as many again, in a queue of their own, so that what was created runs, and
/// ends, before more is created.
const CREATES_A_CORE: usize = 4;
/// As many on the largest machine: hundreds at once starve containerd of answers.
const MAX_CREATES: usize = 32;
/// How often what tasks use is looked at. A look is three small files a task, and what it finds is written and told only if it is
/// news (`task::measure`).
const LOOK: Duration = Duration::from_secs(5);
/// Removals at the same time. Their own queue, so that what has ended goes although more waits to be created.
const REMOVALS: usize = 4;

/// Why the engine cannot work.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The ledger fails.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What the ledger knows could not be matched with the machine.
    #[error("the containers of a former run could not be taken over: {0}")]
    Adopt(Failure),
    /// The server told what has changed of a set that this machine does not have. A new session begins with all of it.
    #[error("the server changes a set of tasks that this machine has not been sent")]
    Unfounded,
}

/// All tasks of the instance. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) node: Arc<dyn Node>,
    pub(crate) ledger: Ledger,
    pub(crate) effects: Effects,
    pub(crate) logs: LogHub,
    pub(crate) board: Arc<Board>,
    pub(crate) pulls: Semaphore,
    pub(crate) creates: Semaphore,
    pub(crate) starts: Semaphore,
    pub(crate) removals: Semaphore,
    /// The wall clock's time when the monotonic one began.
    pub(crate) born: Timestamp,
    newest: tokio::sync::Mutex<Newest>,
    owners: Mutex<BTreeMap<TaskArn, Handle>>,
}

/// How others reach an owner.
struct Handle {
    mailbox: mpsc::Sender<Event>,
    plan: Arc<TaskPlan>,
    /// The server asked for its stop, or dropped it: told once.
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Told {
    stop: bool,
    dropped: bool,
}

/// Creations, and starts, at the same time on this machine.
fn creates() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (CREATES_A_CORE * cores).min(MAX_CREATES)
}

impl Engine {
    /// Reads the ledger, matches it with what the node has, and goes on where the last run ended.
    pub async fn open(
        node: Arc<dyn Node>,
        ledger: Ledger,
        logs: LogHub,
        effects: Effects,
    ) -> Result<Self, EngineError> {
        let records = ledger.load()?;
        let newest = tokio::sync::Mutex::new(ledger.newest()?);
        let age = i64::try_from(effects.monotonic().as_millis()).unwrap_or(i64::MAX);
        let born = effects.now().plus_millis(-age);
        let board = Arc::new(Board::new(effects.clone()));
        let engine = Self(Arc::new(Inner {
            node,
            ledger,
            effects,
            logs,
            board,
            pulls: Semaphore::new(PULLS),
            creates: Semaphore::new(creates()),
            starts: Semaphore::new(creates()),
            removals: Semaphore::new(REMOVALS),
            born,
            newest,
            owners: Mutex::default(),
        }));
        let mut known = Vec::new();
        let (mut tasks, mut attached) = (Vec::new(), Vec::new());
        for record in records {
            let plan = Arc::new(TaskPlan::new(record.assignment, record.definition));
            let there =
                |(_, c): &(usize, &crate::task::ContainerState)| !matches!(c.phase, Phase::Waiting | Phase::Gone);
            known.extend(record.state.containers.iter().enumerate().filter(there).map(|(at, c)| plan.job(at, c)));
            let interface = record.state.interface.is_some_and(|interface| interface != Interface::Waiting);
            if interface && !matches!(record.state.end, End::Cleared | End::Forgotten) {
                attached.push(plan.clone());
            }
            tasks.push((plan, record.state));
        }
        engine.0.node.adopt(known, attached).await.map_err(EngineError::Adopt)?;
        // Watch first, then look: nothing is missed in between.
        engine.watch();
        engine.measure();
        for (plan, state) in tasks {
            engine.own(plan, state, Event::Resumed);
        }
        Ok(engine)
    }

    /// Takes what the server says of the VPCs that its tasks are in.
    pub fn carry(&self, networks: Networks) {
        self.0.node.carry(networks);
    }

    /// Has what these tasks have as files follow what the server knows. Those that are not here are none of ours.
    pub fn refresh(&self, tasks: &[TaskArn]) {
        let owners = self.0.owners.lock().expect("no code panics with it");
        let plans = tasks.iter().filter_map(|task| Some(owners.get(task)?.plan.clone())).collect();
        drop(owners);
        self.0.node.refresh(plans);
    }

    /// Takes the server's set: all the instance shall hold, or what of it has changed since the set before. Answers false if it
    /// is older than one seen before.
    pub async fn assign(&self, set: Assignments) -> Result<bool, EngineError> {
        let newest = Newest { epoch: set.epoch, generation: set.generation };
        let mut last = self.0.newest.lock().await;
        if newest < *last {
            return Ok(false);
        }
        if set.since.is_some_and(|since| since != last.generation) {
            return Err(EngineError::Unfounded);
        }
        if newest > *last {
            self.0.ledger.set_newest(newest)?;
            *last = newest;
        }
        let definitions: BTreeMap<_, _> = set.definitions.into_iter().collect();
        let mut wanted = HashSet::new();
        for assignment in set.tasks {
            wanted.insert(assignment.task.clone());
            match definitions.get(&assignment.definition) {
                Some(definition) => self.take(assignment, definition).await?,
                None => tracing::error!(task = %assignment.task, "the server assigned a task without its definition"),
            }
        }
        match set.since {
            None => self.drop_others(&wanted).await,
            Some(_) => self.drop_all(set.gone).await,
        }
        self.0.board.want(set.images.clone());
        self.0.node.fetch_ahead(set.images);
        Ok(true)
    }

    async fn take(&self, assignment: Assignment, definition: &Arc<TaskDefinitionSpec>) -> Result<(), EngineError> {
        let why = match &assignment.desired {
            Desired::Running => None,
            Desired::Stopped(why) => Some(why.clone()),
        };
        if self.told(&assignment.task, Told { stop: false, dropped: false }).is_some() {
            if let Some(why) = why {
                self.stop(&assignment.task, why).await;
            }
            return Ok(());
        }
        let plan = Arc::new(TaskPlan::new(assignment, definition.clone()));
        let state = plan.fresh();
        let record = Record {
            version: VERSION,
            assignment: plan.assignment.clone(),
            definition: definition.clone(),
            state: state.clone(),
        };
        self.0.ledger.save(&record, crate::files::Durable::PowerFailure)?;
        let first = why.map_or(Event::Assigned, Event::DesiredStopped);
        self.own(plan, state, first);
        Ok(())
    }

    async fn stop(&self, task: &TaskArn, why: Stop) {
        if let Some(mailbox) = self.told(task, Told { stop: true, dropped: false }) {
            let _ = mailbox.send(Event::DesiredStopped(why)).await;
        }
    }

    async fn drop_others(&self, wanted: &HashSet<TaskArn>) {
        let others: Vec<_> = self
            .0
            .owners
            .lock()
            .expect("no code panics with it")
            .keys()
            .filter(|t| !wanted.contains(*t))
            .cloned()
            .collect();
        self.drop_all(others).await;
    }

    async fn drop_all(&self, tasks: Vec<TaskArn>) {
        for task in tasks {
            if let Some(mailbox) = self.told(&task, Told { stop: false, dropped: true }) {
                let _ = mailbox.send(Event::Dropped).await;
            }
        }
    }

    /// The owner's mailbox, if there is one; `None` too if it was told this already.
    fn told(&self, task: &TaskArn, what: Told) -> Option<mpsc::Sender<Event>> {
        let mut owners = self.0.owners.lock().expect("no code panics with it");
        let handle = owners.get_mut(task)?;
        let news = what == Told::default() || what.stop && !handle.told.stop || what.dropped && !handle.told.dropped;
        handle.told.stop |= what.stop;
        handle.told.dropped |= what.dropped;
        news.then(|| handle.mailbox.clone())
    }

    /// Stops every task, as if the server had asked for it.
    pub async fn stop_all(&self, why: &Stop) {
        for task in self.tasks() {
            self.stop(&task, why.clone()).await;
        }
    }

    /// The tasks of the ledger.
    pub fn tasks(&self) -> Vec<TaskArn> {
        self.0.owners.lock().expect("no code panics with it").keys().cloned().collect()
    }

    /// The runtime's id of a container of one of its tasks.
    pub fn container(&self, task: &TaskArn, name: &str) -> Option<Arc<str>> {
        let owners = self.0.owners.lock().expect("no code panics with it");
        let plan = &owners.get(task)?.plan;
        let at = plan.containers.iter().position(|container| container.name == name)?;
        plan.ids.get(at).cloned()
    }

    /// What the owners publish.
    pub fn board(&self) -> &Arc<Board> {
        &self.0.board
    }

    fn own(&self, plan: Arc<TaskPlan>, state: TaskState, first: Event) {
        let (mailbox, events) = mpsc::channel(MAILBOX);
        let task = plan.assignment.task.clone();
        let handle = Handle { mailbox: mailbox.clone(), plan: plan.clone(), told: Told::default() };
        self.0.owners.lock().expect("no code panics with it").insert(task.clone(), handle);
        // Whoever asks from now on finds the task, before its owner has had its first turn.
        self.0.board.publish(View { plan: plan.clone(), state: Arc::new(state.clone()) }, News::Soon);
        let inner = self.0.clone();
        self.0.effects.spawn("task", async move {
            let owner = Owner::new(inner.clone(), plan, state, mailbox);
            if owner.run(first, events).await {
                inner.owners.lock().expect("no code panics with it").remove(&task);
                inner.board.forget(&task);
            }
        });
    }

    /// Routes the machine's events to the owners, until shutdown.
    fn watch(&self) {
        let engine = self.clone();
        let mut events = self.0.node.watch();
        self.0.effects.spawn("watch containers", async move {
            let stop = engine.0.effects.shutdown().clone();
            loop {
                let event = tokio::select! {
                    () = stop.cancelled() => return,
                    event = events.next() => match event {
                        Some(event) => event,
                        None => return,
                    },
                };
                engine.route(event).await;
            }
        });
    }

    /// Looks at what the running tasks use, until shutdown.
    fn measure(&self) {
        let engine = self.clone();
        self.0.effects.spawn("measure tasks", async move {
            while engine.0.effects.sleep_unless_stopped(LOOK).await {
                for View { plan, state } in engine.0.board.views() {
                    if !state.runs() {
                        continue;
                    }
                    let reading = engine.0.node.measure(&plan);
                    if let Some(reading) = reading.filter(|reading| state.is_news(*reading, engine.0.now())) {
                        engine.offer(&plan.assignment.task, Event::Measured(reading));
                    }
                }
            }
        });
    }

    /// An event that comes again: an owner whose mailbox is full has better to do.
    fn offer(&self, task: &TaskArn, event: Event) {
        let owners = self.0.owners.lock().expect("no code panics with it");
        drop(owners.get(task).map(|handle| handle.mailbox.try_send(event)));
    }

    async fn route(&self, event: NodeEvent) {
        let (id, happened) = match event {
            NodeEvent::Connected => {
                for mailbox in self.mailboxes() {
                    let _ = mailbox.send(Event::Reconnected).await;
                }
                return;
            }
            NodeEvent::Exited { id, code } => (id, Happened::Exited { code: Some(code), oom: false }),
            NodeEvent::OutOfMemory { id } => (id, Happened::OutOfMemory),
        };
        let found = self.0.owners.lock().expect("no code panics with it").values().find_map(|handle| {
            let at = handle.plan.ids.iter().position(|known| **known == *id)?;
            Some((handle.mailbox.clone(), at))
        });
        if let Some((mailbox, at)) = found {
            let _ = mailbox.send(Event::Container(at, happened)).await;
        }
    }

    fn mailboxes(&self) -> Vec<mpsc::Sender<Event>> {
        self.0.owners.lock().expect("no code panics with it").values().map(|h| h.mailbox.clone()).collect()
    }
}

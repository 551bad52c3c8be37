//! The owner of one task: one loop that steps its state, makes it durable, and only then has the effects done.
//!
//! Operations on one container follow one another: each waits for the one before it to end, so that a removal can never
//! be overtaken by the creation it is to undo.

use super::{Inner, News, View};
use crate::{
    files::Durable,
    ledger::{LedgerError, Record, VERSION},
    logs::Claim,
    node::{Failure, Node, Seen},
    plan::{Job, Output, TaskPlan},
    task::{ContainerState, Effect, End, Event, Happened, Operation, Phase, TaskState, limits, step, timed_out},
};
use model::Timestamp;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// How long before a ledger that cannot be written is tried again.
const LEDGER_RETRY: Duration = Duration::from_secs(1);
/// How long before a log driver that could not begin for a container that runs already is tried again.
const LOG_DRIVER_RETRY: Duration = Duration::from_secs(10);

pub(super) struct Owner {
    inner: Arc<Inner>,
    plan: Arc<TaskPlan>,
    state: TaskState,
    mailbox: mpsc::Sender<Event>,
    lanes: Vec<Lane>,
    /// The making of its interface.
    attaching: Lane,
    /// It was begun in a former run: a container may have run and ended before it is started "again".
    resumed: bool,
}

/// The operations of one container.
#[derive(Default)]
struct Lane {
    last: Option<JoinHandle<()>>,
    /// Ends a pull that is under way, and the wait for a turn.
    cancel: CancellationToken,
    /// Its output was said to be at its end.
    log_ended: bool,
}

impl Owner {
    pub(super) fn new(inner: Arc<Inner>, plan: Arc<TaskPlan>, state: TaskState, mailbox: mpsc::Sender<Event>) -> Self {
        let lanes = state.containers.iter().map(|_| Lane::default()).collect();
        Self { inner, plan, state, mailbox, lanes, attaching: Lane::default(), resumed: false }
    }

    /// Runs the task; true once it is forgotten, false at shutdown.
    pub(super) async fn run(mut self, first: Event, mut events: mpsc::Receiver<Event>) -> bool {
        self.follow_logs();
        self.resumed = first == Event::Resumed;
        let stop = self.inner.effects.shutdown().clone();
        let mut event = first;
        loop {
            if self.take(&event).await {
                return true;
            }
            event = tokio::select! {
                () = stop.cancelled() => return false,
                event = events.recv() => event.expect("the owner itself holds a sender"),
                () = self.deadline() => Event::Tick,
            };
        }
    }

    async fn deadline(&self) {
        match self.state.next_deadline() {
            Some(by) => {
                let wait = by.millis_since(self.inner.now());
                self.inner.effects.sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
            }
            None => std::future::pending().await,
        }
    }

    /// True if nothing of the task is left.
    async fn take(&mut self, event: &Event) -> bool {
        let before = self.state.clone();
        let effects = step(&mut self.state, event, self.inner.now());
        if before != self.state {
            self.save(&effects).await;
        }
        let task = &self.plan.assignment.task;
        let news = match event {
            Event::Assigned | Event::Resumed => News::Soon,
            Event::DesiredStopped(_)
            | Event::Dropped
            | Event::Reconnected
            | Event::Tick
            | Event::Attached
            | Event::NotAttached(_)
            | Event::Provided
            | Event::NotProvided(_)
            | Event::Cleared
            | Event::Measured(_)
            | Event::Container(..)
            | Event::Answered(..) => News::Nothing,
        };
        let news = news.max(News::of(&before.observe(task), &self.state.observe(task)));
        self.inner.board.publish(View { plan: self.plan.clone(), state: Arc::new(self.state.clone()) }, news);
        let mut forgotten = false;
        for effect in effects {
            forgotten |= self.carry_out(effect).await;
        }
        self.end_logs();
        forgotten
    }

    /// The output of what is gone is at its end.
    fn end_logs(&mut self) {
        for (container, lane) in self.state.containers.iter().zip(&mut self.lanes) {
            if container.phase == Phase::Gone && container.logs_open && !lane.log_ended {
                lane.log_ended = true;
                self.inner.logs.end(container.runtime_id.to_string());
            }
            // Nobody is left to take it.
            if self.state.end == End::Cleared && container.routed_by.is_some() {
                self.inner.logs.forget(&container.runtime_id);
            }
        }
    }

    /// Nothing is done before this has worked.
    async fn save(&self, effects: &[Effect]) {
        let last = |e: &Effect| match e {
            // What is removed can not be asked again: its exit code must be safe.
            Effect::Begin(_, Operation::Remove) | Effect::Clear | Effect::Forget => true,
            Effect::Begin(_, Operation::Pull | Operation::Connect | Operation::Create | Operation::Start)
            | Effect::Attach
            | Effect::Provide
            | Effect::Signal(_)
            | Effect::Kill(_)
            | Effect::Inspect(_)
            | Effect::Probe(_) => false,
        };
        let durable = if effects.iter().any(last) { Durable::PowerFailure } else { Durable::ProcessDeath };
        let record = Record {
            version: VERSION,
            assignment: self.plan.assignment.clone(),
            definition: self.plan.definition.clone(),
            state: self.state.clone(),
        };
        let mut told = false;
        let writing = || tracing::trace_span!(target: "timeline", "ledger");
        while let Err(error) = self.write(&record, durable).instrument(writing()).await {
            if !std::mem::replace(&mut told, true) {
                tracing::error!(task = %record.assignment.task, error = &error as &dyn std::error::Error,
                    "the ledger cannot be written; the task waits until it can be");
            }
            if !self.inner.effects.sleep_unless_stopped(LEDGER_RETRY).await {
                return;
            }
        }
    }

    async fn write(&self, record: &Record, durable: Durable) -> Result<(), LedgerError> {
        match durable {
            Durable::ProcessDeath => self.inner.ledger.save(record, durable),
            Durable::PowerFailure => {
                // A sync takes milliseconds, too long for the few threads all tasks share.
                let (ledger, record) = (self.inner.ledger.clone(), record.clone());
                let work = tokio::task::spawn_blocking(move || ledger.save(&record, durable));
                work.await.expect("saving does not panic")
            }
        }
    }

    fn job(&self, at: usize) -> Job {
        self.plan.job_in(at, &self.state)
    }

    async fn carry_out(&mut self, effect: Effect) -> bool {
        match effect {
            Effect::Begin(at, operation) => self.begin(at, operation),
            Effect::Signal(at) => self.aside(at, Aside::Signal { kill: false }),
            Effect::Kill(at) => self.aside(at, Aside::Signal { kill: true }),
            Effect::Inspect(at) => self.aside(at, Aside::Inspect),
            Effect::Probe(at) => self.aside(at, Aside::Probe),
            Effect::Attach => self.attach(),
            Effect::Provide => self.provide(),
            Effect::Clear => self.clear(),
            Effect::Forget => {
                for id in &self.plan.ids {
                    self.inner.logs.forget(id);
                }
                self.inner.node.forget(self.plan.clone()).await;
                let task = &self.plan.assignment.task;
                if let Err(error) = self.inner.ledger.forget(&task.id) {
                    // It is read again at the next start and dropped again.
                    tracing::warn!(%task, error = &error as &dyn std::error::Error, "a ledger entry stays behind");
                }
                return true;
            }
        }
        false
    }

    fn begin(&mut self, at: usize, operation: Operation) {
        let (job, state) = (self.job(at), self.state.containers[at].clone());
        let run = job.run;
        let lane = &mut self.lanes[at];
        if operation == Operation::Remove {
            lane.cancel.cancel();
        }
        let (before, cancel) = (lane.last.take(), lane.cancel.clone());
        let (inner, mailbox, resumed) = (self.inner.clone(), self.mailbox.clone(), self.resumed);
        self.lanes[at].last = Some(self.inner.effects.spawn("container operation", async move {
            if let Some(before) = before {
                // A panic in it was logged; what it left is found by the next operation.
                let _ = before.await;
            }
            let step = tracing::trace_span!(target: "timeline", "step", ?operation);
            if let Some(happened) = operate(&inner, job, state, operation, &cancel, resumed).instrument(step).await {
                let _ = mailbox.send(Event::Answered(at, run, happened)).await;
            }
        }));
    }

    fn aside(&self, at: usize, what: Aside) {
        let (job, inner, mailbox) = (self.job(at), self.inner.clone(), self.mailbox.clone());
        let run = job.run;
        self.inner.effects.spawn("container signal", async move {
            let found = match what {
                Aside::Signal { kill } => match inner.node.signal(job, kill).await {
                    Ok(()) => None,
                    Err(failure) => {
                        // The deadline repeats or escalates it.
                        tracing::warn!(%failure, "a container could not be signalled");
                        None
                    }
                },
                Aside::Inspect => look(&*inner.node, job).await,
                Aside::Probe => Some(Happened::Probed(inner.node.probe(job).await)),
            };
            if let Some(happened) = found {
                let _ = mailbox.send(Event::Answered(at, run, happened)).await;
            }
        });
    }

    fn attach(&mut self) {
        let (plan, inner, mailbox) = (self.plan.clone(), self.inner.clone(), self.mailbox.clone());
        let cancel = self.attaching.cancel.clone();
        self.attaching.last = Some(self.inner.effects.spawn("attach interface", async move {
            let step = tracing::trace_span!(target: "timeline", "step", operation = "Attach");
            let outcome = tokio::select! {
                () = cancel.cancelled() => return,
                outcome = inner.node.attach(plan.clone()).instrument(step) => outcome,
            };
            let event = match outcome {
                Ok(()) => Event::Attached,
                Err(failure) => {
                    tracing::warn!(task = plan.id(), %failure, "a task's network interface could not be made");
                    Event::NotAttached(failure.0)
                }
            };
            let _ = mailbox.send(event).await;
        }));
    }

    /// Ends by itself when the task has no use for it any more: nothing is made by it.
    fn provide(&self) {
        let (plan, inner, mailbox) = (self.plan.clone(), self.inner.clone(), self.mailbox.clone());
        let cancel = self.attaching.cancel.clone();
        self.inner.effects.spawn("ask for secrets", async move {
            let outcome = tokio::select! {
                () = cancel.cancelled() => return,
                outcome = inner.node.provide(plan.clone()) => outcome,
            };
            let event = match outcome {
                Ok(()) => Event::Provided,
                Err(failure) => {
                    tracing::warn!(task = plan.id(), %failure, "a task is not given what it needs");
                    Event::NotProvided(failure.0)
                }
            };
            let _ = mailbox.send(event).await;
        });
    }

    fn clear(&mut self) {
        let (plan, inner, mailbox) = (self.plan.clone(), self.inner.clone(), self.mailbox.clone());
        self.attaching.cancel.cancel();
        let attaching = self.attaching.last.take();
        self.inner.effects.spawn("clear task", async move {
            if let Some(attaching) = attaching {
                // Whatever it had made by then is removed now.
                let _ = attaching.await;
            }
            // The last look: its cgroup goes, and the kernel's sums with it.
            if let Some(reading) = inner.node.measure(&plan) {
                let _ = mailbox.send(Event::Measured(reading)).await;
            }
            match inner.node.clear(plan.clone()).await {
                Ok(()) => drop(mailbox.send(Event::Cleared).await),
                Err(failure) => tracing::warn!(task = plan.id(), %failure, "what a task left could not be removed"),
            }
        });
    }

    /// Output is shipped from where the last run ended, or held to its size.
    fn follow_logs(&self) {
        for (at, container) in self.state.containers.iter().enumerate() {
            match self.plan.output(at) {
                Output::Shipped(target) if container.logs_open => {
                    self.inner.logs.follow(target, false, at, self.mailbox.clone());
                }
                Output::Sent(_) if container.logs_open => {
                    let backlog = self.plan.backlog(at);
                    self.inner.logs.expect(container.runtime_id.to_string(), at, self.mailbox.clone(), backlog);
                    if container.created.is_some() {
                        self.carry_on(at);
                    }
                }
                Output::Kept(bytes) => self.inner.logs.keep(container.runtime_id.to_string(), bytes),
                Output::Shipped(_) | Output::Sent(_) | Output::Unusable(_) => {}
            }
        }
    }

    /// What a container of a former run has written, and writes, is sent on. One that is still to start is dispatched then, unless
    /// it was by then.
    fn carry_on(&self, at: usize) {
        let (job, inner, state) = (self.job(at), self.inner.clone(), self.state.containers[at].clone());
        let Some(mut claim) = inner.logs.claim(job.id()) else { return };
        self.inner.effects.spawn("log driver", async move {
            let id = state.runtime_id.clone();
            let dispatch = async {
                loop {
                    match dispatch(&inner, &job, &state, &mut claim, false).await {
                        Ok(()) => return,
                        Err(why) => {
                            tracing::warn!(container = %id, why, "a container's output waits: its log driver cannot begin");
                            inner.effects.sleep(LOG_DRIVER_RETRY).await;
                        }
                    }
                }
            };
            tokio::select! {
                () = dispatch => {}
                () = inner.logs.forgotten(&id) => {}
                () = inner.effects.shutdown().cancelled() => {}
            }
        });
    }
}

/// What is done beside the operations, at any time.
#[derive(Debug, Clone, Copy)]
enum Aside {
    Signal { kill: bool },
    Inspect,
    Probe,
}

impl Inner {
    /// The engine's clock: the wall's at its start, moved on by one that never jumps, because deadlines hang on it.
    pub(super) fn now(&self) -> Timestamp {
        self.born.plus_millis(i64::try_from(self.effects.monotonic().as_millis()).unwrap_or(i64::MAX))
    }
}

/// Does one operation and says how it ended; nothing if it was cancelled.
async fn operate<'a>(
    inner: &'a Inner,
    job: Job,
    state: ContainerState,
    operation: Operation,
    cancel: &CancellationToken,
    resumed: bool,
) -> Option<Happened> {
    let (node, id) = (&*inner.node, job.id().to_owned());
    let open = "the semaphore is never closed";
    // Whoever is stopped while it waits for its turn has nothing to undo.
    let turn = |queue: &'a Semaphore| async move {
        tokio::select! {
            () = cancel.cancelled() => None,
            turn = queue.acquire() => Some(turn.expect(open)),
        }
    };
    let outcome = match operation {
        Operation::Pull => {
            let pull = async {
                let _turn = inner.pulls.acquire().await.expect(open);
                node.pull(job).await.map(Happened::Pulled)
            };
            tokio::select! {
                () = cancel.cancelled() => return None,
                outcome = pull => outcome,
            }
        }
        Operation::Connect => {
            let _turn = turn(&inner.creates).await?;
            within(inner, "CREATED", limits::CONNECT, node.connect(job)).await.map(Happened::Connected)
        }
        Operation::Create => {
            let _turn = turn(&inner.creates).await?;
            within(inner, "CREATED", limits::CREATE, node.create(job)).await.map(|()| Happened::Created)
        }
        Operation::Start => {
            tokio::select! {
                () = cancel.cancelled() => return None,
                () = inner.effects.shutdown().cancelled() => return None,
                opened = open_log(inner, &job, &state) => if let Err(failure) = opened {
                    return Some(failed(&id, operation, failure));
                },
            }
            let _turn = turn(&inner.starts).await?;
            let looked = job.clone();
            let limit = job.container().start_timeout.map_or(limits::START, |seconds| i64::from(seconds) * 1000);
            match within(inner, "RUNNING", limit, node.start(job)).await {
                Ok(()) if !resumed => Ok(Happened::Started),
                Ok(()) => Ok(match look(node, looked).await {
                    Some(exited @ Happened::Exited { .. }) => exited,
                    Some(_) | None => Happened::Started,
                }),
                // It may have run and ended before we asked.
                Err(failure) => match look(node, looked).await {
                    Some(exited @ Happened::Exited { code: Some(_), .. }) => Ok(exited),
                    Some(_) | None => Err(failure),
                },
            }
        }
        Operation::Remove => {
            let _turn = inner.removals.acquire().await.expect(open);
            within(inner, "STOPPED", limits::REMOVE, node.remove(job)).await.map(|()| Happened::Removed)
        }
    };
    Some(outcome.unwrap_or_else(|failure| failed(&id, operation, failure)))
}

fn failed(id: &str, operation: Operation, failure: Failure) -> Happened {
    tracing::warn!(container = id, %failure, "a container operation failed");
    Happened::Failed(operation, failure.0)
}

/// Has the output of a container, which was claimed, sent to its receiver.
async fn dispatch(
    inner: &Inner,
    job: &Job,
    state: &ContainerState,
    claim: &mut Claim,
    first: bool,
) -> Result<(), String> {
    let kit = inner.node.logging(job.clone()).await.map_err(|failure| failure.0.to_string())?;
    let what = job.task.dispatch(job.at, state, kit)?;
    inner.logs.dispatch(claim, what, first).await
}

/// AWS: a container whose log driver cannot begin does not start. What has no session with the server waits for one.
async fn open_log(inner: &Inner, job: &Job, state: &ContainerState) -> Result<(), Failure> {
    let refused = match job.task.output(job.at) {
        Output::Kept(_) => return Ok(()),
        Output::Shipped(_) => match inner.logs.open(job.id()).await {
            Ok(()) => return Ok(()),
            Err(why) => format!("failed to create Cloudwatch log stream: {why}"),
        },
        Output::Sent(_) => {
            let Some(mut claim) = inner.logs.claim(job.id()) else { return Ok(()) };
            match dispatch(inner, job, state, &mut claim, true).await {
                Ok(()) => return Ok(()),
                Err(why) => why,
            }
        }
        Output::Unusable(why) => why,
    };
    Err(Failure::new("CannotStartContainerError", format_args!("failed to initialize logging driver: {refused}")))
}

/// Bounds an operation, so that those behind it get their turn whatever hangs.
async fn within<T>(
    inner: &Inner,
    target: &str,
    millis: i64,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        outcome = work => outcome,
        () = inner.effects.sleep(Duration::from_millis(millis.unsigned_abs())) => {
            Err(Failure::new("DockerTimeoutError", timed_out(target, millis)))
        }
    }
}

async fn look(node: &dyn Node, job: Job) -> Option<Happened> {
    match node.inspect(job).await {
        Ok(Seen::Alive) => None,
        Ok(Seen::Exited { code, oom }) => Some(Happened::Exited { code, oom }),
        Ok(Seen::Absent) => Some(Happened::Vanished),
        Err(failure) => {
            // The next connection of the event stream, or the next regular look, finds out.
            tracing::debug!(%failure, "a container could not be looked at");
            None
        }
    }
}

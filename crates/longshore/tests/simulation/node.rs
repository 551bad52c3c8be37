//! A machine in memory whose containers outlive agents, as containerd's do. It remembers everything that ever ran on it,
//! and writes down what must never happen.

use agent::{
    node::{Failure, Node, NodeEvent, Seen},
    plan::{Job, TaskPlan},
    task::{Endpoint, Probed, Pulled, Reading},
};
use effects::Effects;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use link::Networks;
use model::{PortSpec, TaskArn};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::broadcast;

/// What a machine has for tasks, in MiB. All tasks that services may want at once fit on any one machine: on a machine that its
/// neighbours' tasks have filled, a daemon would wait for ever, as on AWS. What runs out is room for the big ones.
pub(crate) const MEMORY: u32 = 8192;
/// And in CPU units.
pub(crate) const CPU: u32 = 4096;
/// Events an agent may be behind: more than a storm makes.
const EVENTS: usize = 4096;

/// The image that is in no registry.
pub(crate) const MISSING: &str = "missing";
/// The image whose program ends as soon as it runs.
pub(crate) const LOOPING: &str = "looping";
/// Images of lifecycle hooks: one that agrees, one that does not, one that never says anything.
pub(crate) const WELL: &str = "well";
pub(crate) const REFUSING: &str = "refusing";
pub(crate) const HANGING: &str = "hanging";

/// A container that exists now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    Created,
    Running,
    Exited(i32),
}

/// What became of a container, kept when it is gone.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) task: TaskArn,
    pub(crate) name: String,
    /// How often its process was started.
    pub(crate) starts: u32,
    /// When, on the world's clock.
    pub(crate) started: Option<Duration>,
    /// How its process ended, unless its removal ended it.
    pub(crate) exit: Option<i32>,
    /// An operation on it was made to fail.
    pub(crate) failed: bool,
    memory: u32,
    ports: Vec<u16>,
    kills: u32,
}

/// Who has which address, over all machines.
pub(crate) type Addresses = Arc<Mutex<BTreeMap<Ipv4Addr, TaskArn>>>;

#[derive(Default)]
struct Inner {
    /// Tasks whose interface was made.
    attached: BTreeSet<TaskArn>,
    /// Tasks whose interface was not made.
    unattached: BTreeSet<TaskArn>,
    there: BTreeMap<String, Process>,
    lives: BTreeMap<String, Life>,
    calm: bool,
    deaf: bool,
    /// No machine of the cluster any more: nobody sends anything to its addresses.
    left: bool,
    wrong: Vec<String>,
}

/// The machine.
#[derive(Clone)]
pub(crate) struct Machine(Arc<Shared>);

struct Shared {
    name: String,
    world: Effects,
    /// Its own chance, so that what happens here does not change what happens elsewhere.
    dice: Effects,
    inner: Mutex<Inner>,
    addresses: Addresses,
    events: broadcast::Sender<NodeEvent>,
}

impl Machine {
    pub(crate) fn new(name: String, world: Effects, dice: Effects, addresses: Addresses) -> Self {
        let (events, _) = broadcast::channel(EVENTS);
        Self(Arc::new(Shared { name, world, dice, inner: Mutex::default(), addresses, events }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.inner.lock().unwrap())
    }

    /// No operation is made to fail from now on.
    pub(crate) fn calm(&self) {
        self.with(|inner| inner.calm = true);
    }

    /// Events are lost while it is deaf; when it hears again it says that it may have missed some.
    pub(crate) fn deaf(&self, deaf: bool) {
        self.with(|inner| inner.deaf = deaf);
        if !deaf {
            let _ = self.0.events.send(NodeEvent::Connected);
        }
    }

    /// It belongs to the cluster no longer, nor do the addresses of what runs on it.
    pub(crate) fn leave(&self) {
        let mut addresses = self.0.addresses.lock().unwrap();
        self.with(|inner| {
            inner.left = true;
            addresses.retain(|_, task| !inner.attached.contains(task));
        });
    }

    pub(crate) fn wrong(&self) -> Vec<String> {
        self.with(|inner| inner.wrong.clone())
    }

    /// Whether a task could not be given its interface here.
    pub(crate) fn left_unattached(&self, task: &TaskArn) -> bool {
        self.with(|inner| inner.unattached.contains(task))
    }

    /// Everything that ever was on it.
    pub(crate) fn lives(&self) -> Vec<Life> {
        self.with(|inner| inner.lives.values().cloned().collect())
    }

    /// The containers that are on it.
    pub(crate) fn there(&self) -> Vec<String> {
        self.with(|inner| inner.there.keys().cloned().collect())
    }

    /// True once in `of` times.
    fn one_in(&self, of: u64) -> bool {
        self.0.dice.random().is_multiple_of(of)
    }

    async fn wait(&self, up_to_ms: u64) {
        self.0.world.sleep(Duration::from_millis(self.0.dice.random() % up_to_ms)).await;
    }

    /// An operation with a length, at whose beginning it may fail.
    async fn attempt(&self, job: &Job, up_to_ms: u64, fails_one_in: u64, failure: &str) -> Result<(), Failure> {
        self.live(job);
        self.wait(up_to_ms).await;
        if fails_one_in == 1 || self.one_in(fails_one_in) && !self.with(|inner| inner.calm) {
            self.with(|inner| inner.lives.get_mut(job.id()).expect("it was just made").failed = true);
            return Err(Failure::new(failure, "the simulation wants it so"));
        }
        Ok(())
    }

    fn live(&self, job: &Job) {
        let ports = job.container().port_mappings.iter().filter_map(|mapping| match mapping.spec {
            PortSpec::Single { host, .. } => host.filter(|port| *port != 0),
            PortSpec::Range { .. } => None,
        });
        let life = || Life {
            task: job.task.assignment.task.clone(),
            name: job.container().name.clone(),
            starts: 0,
            started: None,
            exit: None,
            failed: false,
            memory: job.container().memory.map_or(0, |memory| memory.0),
            ports: ports.collect(),
            kills: 0,
        };
        self.with(|inner| {
            inner.lives.entry(job.id().to_owned()).or_insert_with(life);
        });
    }

    /// A process begins, if it had not yet; true then.
    fn begin(&self, id: &str) -> Result<bool, Failure> {
        let now = self.0.world.monotonic();
        self.with(|inner| {
            match inner.there.get(id) {
                Some(Process::Created) => {}
                Some(Process::Running | Process::Exited(_)) => return Ok(false),
                None => return Err(Failure::new("CannotStartContainerError", "there is no such container")),
            }
            inner.there.insert(id.to_owned(), Process::Running);
            let life = inner.lives.get_mut(id).expect("what was created has a life");
            life.starts += 1;
            life.started = Some(now);
            if life.starts > 1 {
                inner.wrong.push(format!("{}: {id} was started {} times", self.0.name, life.starts));
            }
            self.check_room(inner);
            Ok(true)
        })
    }

    /// Whatever the server believes: what runs has to fit.
    fn check_room(&self, inner: &mut Inner) {
        let runs = inner.there.iter().filter(|(_, process)| **process == Process::Running);
        let lives: Vec<&Life> = runs.map(|(id, _)| &inner.lives[id]).collect();
        let memory: u32 = lives.iter().map(|life| life.memory).sum();
        let mut ports: Vec<u16> = lives.iter().flat_map(|life| life.ports.iter().copied()).collect();
        let all = ports.len();
        ports.sort_unstable();
        ports.dedup();
        if memory > MEMORY {
            inner.wrong.push(format!("{}: {memory} MiB run on {MEMORY}", self.0.name));
        }
        if ports.len() < all {
            inner.wrong.push(format!("{}: two containers run with the same port", self.0.name));
        }
    }

    fn exit(&self, id: &str, code: i32) {
        let heard = self.with(|inner| {
            if inner.there.get(id) != Some(&Process::Running) {
                return false;
            }
            inner.there.insert(id.to_owned(), Process::Exited(code));
            inner.lives.get_mut(id).expect("what runs has a life").exit = Some(code);
            !inner.deaf
        });
        if heard {
            let _ = self.0.events.send(NodeEvent::Exited { id: id.to_owned(), code });
        }
    }

    fn exit_after(&self, id: &str, millis: u64, code: i32) {
        let (machine, id) = (self.clone(), id.to_owned());
        self.0.world.spawn("process", async move {
            machine.0.world.sleep(Duration::from_millis(millis)).await;
            machine.exit(&id, code);
        });
    }

    /// The power is gone: nothing runs any more, and nobody is told.
    pub(crate) fn lose_power(&self) {
        self.with(|inner| {
            for (id, process) in inner.there.iter_mut().filter(|(_, process)| **process == Process::Running) {
                *process = Process::Exited(137);
                inner.lives.get_mut(id).expect("what runs has a life").exit = Some(137);
            }
        });
    }

    /// Some processes end by themselves, as long as it storms.
    fn lead_a_life(&self, job: &Job) {
        let id = job.id();
        let chance = self.0.dice.random();
        match job.container().image.as_str() {
            LOOPING => return self.exit_after(id, chance % 2_000, 1),
            WELL => return self.exit_after(id, chance % 30_000, 0),
            REFUSING => return self.exit_after(id, chance % 30_000, 3),
            HANGING => return,
            _ => {}
        }
        if !chance.is_multiple_of(3) {
            let code = [0, 0, 1, 2, 139, 255][(chance / 8 % 6) as usize];
            let (machine, id) = (self.clone(), id.to_owned());
            self.0.world.spawn("process", async move {
                machine.0.world.sleep(Duration::from_millis(chance / 64 % 90_000)).await;
                if !machine.with(|inner| inner.calm) {
                    machine.exit(&id, code);
                }
            });
        }
    }

    /// Some hear the stop signal, some late, some never; SIGKILL sometimes has to be said twice.
    fn hear_signal(&self, id: &str, kill: bool) {
        let chance = self.0.dice.random();
        if kill {
            let kills = self.with(|inner| {
                let life = inner.lives.get_mut(id)?;
                life.kills += 1;
                Some(life.kills)
            });
            if !chance.is_multiple_of(12) || kills.is_some_and(|kills| kills > 1) {
                self.exit_after(id, chance / 16 % 500, 137);
            }
            return;
        }
        match chance % 8 {
            0 => {}
            1 => self.exit_after(id, chance / 8 % 60_000, 0),
            _ => self.exit_after(id, chance / 8 % 2_000, 143),
        }
    }
}

impl Node for Machine {
    fn pull(&self, job: Job) -> BoxFuture<'_, Result<Pulled, Failure>> {
        async move {
            let slow = self.one_in(12) && !self.with(|inner| inner.calm);
            let fails_one_in = if job.container().image == MISSING { 1 } else { 25 };
            let up_to = if slow { 180_000 } else { 4_000 };
            self.attempt(&job, up_to, fails_one_in, "CannotPullContainerError").await?;
            Ok(Pulled {
                digest: format!("sha256:{}", "d".repeat(64)).into(),
                image_id: "sha256:i".into(),
                stop_signal: 15,
            })
        }
        .boxed()
    }

    fn connect(&self, job: Job) -> BoxFuture<'_, Result<Endpoint, Failure>> {
        async move {
            self.attempt(&job, 300, 50, "CannotStartContainerError").await?;
            Ok(Endpoint::default())
        }
        .boxed()
    }

    fn create(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.attempt(&job, 1_000, 40, "CannotCreateContainerError").await?;
            self.with(|inner| *inner.there.entry(job.id().to_owned()).or_insert(Process::Created));
            self.wait(500).await;
            Ok(())
        }
        .boxed()
    }

    fn start(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.attempt(&job, 500, 40, "CannotStartContainerError").await?;
            if self.begin(job.id())? {
                self.lead_a_life(&job);
            }
            self.wait(500).await;
            Ok(())
        }
        .boxed()
    }

    fn signal(&self, job: Job, kill: bool) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.wait(50).await;
            self.hear_signal(job.id(), kill);
            Ok(())
        }
        .boxed()
    }

    fn inspect(&self, job: Job) -> BoxFuture<'_, Result<Seen, Failure>> {
        async move {
            self.wait(50).await;
            let seen = self.with(|inner| match inner.there.get(job.id()) {
                None => Seen::Absent,
                Some(Process::Created | Process::Running) => Seen::Alive,
                Some(Process::Exited(code)) => Seen::Exited { code: Some(*code), oom: false },
            });
            self.wait(50).await;
            Ok(seen)
        }
        .boxed()
    }

    fn probe(&self, _job: Job) -> BoxFuture<'_, Probed> {
        async move {
            self.wait(2_000).await;
            if self.with(|inner| inner.calm) {
                return Probed::Passed;
            }
            match self.0.dice.random() % 12 {
                0..3 => Probed::Failed,
                3 => Probed::Unknown,
                _ => Probed::Passed,
            }
        }
        .boxed()
    }

    fn remove(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.wait(1_000).await;
            if self.one_in(10) && !self.with(|inner| inner.calm) {
                return Err(Failure::new("CannotRemoveContainerError", "the simulation wants it so"));
            }
            self.with(|inner| inner.there.remove(job.id()));
            self.wait(300).await;
            Ok(())
        }
        .boxed()
    }

    fn carry(&self, _networks: Networks) {}

    fn fetch_ahead(&self, _images: Vec<Arc<str>>) {}

    fn provide(&self, _task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>> {
        async { Ok(()) }.boxed()
    }

    fn attach(&self, task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.wait(2_000).await;
            let arn = &task.assignment.task;
            let address = task.assignment.interface.as_ref().expect("only such tasks are attached").address;
            if self.with(|inner| inner.left) {
                return Ok(());
            }
            if self.one_in(20) && !self.with(|inner| inner.calm) {
                self.with(|inner| inner.unattached.insert(arn.clone()));
                return Err(Failure::new("ResourceInitializationError", "the simulation wants it so"));
            }
            self.with(|inner| inner.attached.insert(arn.clone()));
            let before = self.0.addresses.lock().unwrap().insert(address, arn.clone());
            if let Some(other) = before.filter(|other| other != arn) {
                self.with(|inner| inner.wrong.push(format!("{arn} has {address}, which {other} still has")));
            }
            self.wait(2_000).await;
            Ok(())
        }
        .boxed()
    }

    fn clear(&self, task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.wait(100).await;
            if self.one_in(20) && !self.with(|inner| inner.calm) {
                return Err(Failure::new("CannotRemoveTaskError", "the simulation wants it so"));
            }
            if let Some(interface) = &task.assignment.interface {
                let mut addresses = self.0.addresses.lock().unwrap();
                if addresses.get(&interface.address) == Some(&task.assignment.task) {
                    addresses.remove(&interface.address);
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn measure(&self, _task: &TaskPlan) -> Option<Reading> {
        None
    }

    fn forget(&self, _task: Arc<TaskPlan>) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn adopt(&self, known: Vec<Job>, _attached: Vec<Arc<TaskPlan>>) -> BoxFuture<'_, Result<(), Failure>> {
        let known: Vec<String> = known.iter().map(|job| job.id().to_owned()).collect();
        self.with(|inner| {
            // Whoever makes a container writes it down first.
            for id in inner.there.keys().filter(|id| !known.contains(id)) {
                inner.wrong.push(format!("{}: its agent does not know {id}", self.0.name));
            }
        });
        async { Ok(()) }.boxed()
    }

    fn watch(&self) -> BoxStream<'static, NodeEvent> {
        let receiver = self.0.events.subscribe();
        futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.ok().map(|event| (event, receiver))
        })
        .boxed()
    }
}

//! One task's life on this instance, as data: the state the ledger keeps, the events that reach it, the effects it asks for.
//!
//! `step` moves it and is pure: no clock, no runtime, no network. Every wait in a state has a deadline stored beside it, so the
//! owner only has to call again at [`TaskState::next_deadline`]; there are no timers to lose in a crash. Deliberately
//! absent: how effects are carried out (`engine`), and what the server makes of observations (`model::lifecycle`).

mod arrivals;
mod health;
mod measure;
mod observe;
mod order;
mod restart;
mod step;
#[cfg(test)]
mod tests;

pub use health::{Probed, Watch};
pub use measure::{Reading, Use};
pub use order::Dependency;
pub use restart::Restarts;
pub use step::step;

use model::{ContainerDefinition, NetworkBinding, Stop, StopCode, Timestamp};
use serde::{Deserialize, Serialize};
use std::{net::Ipv4Addr, sync::Arc};

/// How long things may take, in milliseconds. Source: the original agent's defaults (ecs-agent `config`).
pub mod limits {
    /// A whole image pull, waiting for its turn included.
    pub const PULL: i64 = 2 * 60 * 60 * 1000;
    /// How long an operation may wait for its turn behind those of other containers; its own limit counts from there.
    pub const QUEUE: i64 = 30 * 60 * 1000;
    /// Making a task's network interface. Source: the original waits as long for one to appear (ecs-agent `api/eni`).
    pub const ATTACH: i64 = 3 * 60 * 1000;
    /// Getting what the server gives the task's containers, two minutes at most, and mounting its file systems: the first that fails ends
    /// it, within a minute.
    pub const PROVISION: i64 = 4 * 60 * 1000;
    /// Making a container's network: some netlink messages and one nft batch; a minute is a hundred times that.
    pub const CONNECT: i64 = 60 * 1000;
    /// Creating a container.
    pub const CREATE: i64 = 4 * 60 * 1000;
    /// Starting a container whose definition has no startTimeout.
    pub const START: i64 = 3 * 60 * 1000;
    /// From the stop signal to SIGKILL, in seconds, where the definition has no stopTimeout.
    pub const STOP_SECONDS: u32 = 30;
    /// From one SIGKILL to the next. The kernel needs milliseconds; processes in uninterruptible sleep need luck.
    pub const KILL: i64 = 30 * 1000;
    /// SIGKILLs before the agent gives up waiting for the exit and clears away what it can.
    pub const KILLS: u32 = 3;
    /// A removal of a container or of what the task has left; the wait before the next try.
    pub const REMOVE: i64 = 60 * 1000;
    /// Failed removals after which a task counts as stopped all the same; removing goes on.
    pub const REMOVALS: u32 = 3;
    /// How often a running container is looked at although nothing was heard of it.
    pub const INSPECT: i64 = 5 * 60 * 1000;
    /// How long a log router goes on for the output of containers that have ended before it. Theirs is with it within moments, if it
    /// takes any; a task is not to be held up by one that does not.
    pub const DRAIN: i64 = 10 * 1000;
    /// How long a stopped task that the server has dropped is kept for its logs: the original's clean-up wait.
    pub const LOGS: i64 = 3 * 60 * 60 * 1000;
}

/// One task as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// Why it stops, if it does. The first cause stays.
    pub stop: Option<Stop>,
    /// How far its network interface has come, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Interface>,
    /// How far it has come with what the server gives its containers, if it gives anything. What that is stands nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provision: Option<Provisioning>,
    /// The containers, in the definition's order.
    pub containers: Vec<ContainerState>,
    /// What of the task itself is left.
    pub end: End,
    /// The server no longer assigns it; until when its logs are waited for.
    pub dropped: Option<Timestamp>,
    /// A container survived every SIGKILL.
    pub unstoppable: bool,
    /// Removing something of it failed so often that it counts as stopped before all is removed.
    #[serde(default)]
    pub overdue: bool,
    /// When the first pull began.
    pub pull_started: Option<Timestamp>,
    /// When the last pull ended.
    pub pull_stopped: Option<Timestamp>,
    /// When the first essential container ended.
    pub execution_stopped: Option<Timestamp>,
    /// What it has used, once somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Use>,
}

/// How far the network interface has come that all containers of a task share. It only moves down this list, and goes with what
/// the task itself has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// Nothing was done yet.
    Waiting,
    /// It is being made; until when that may take.
    Attaching {
        /// The deadline.
        by: Timestamp,
    },
    /// It is there.
    Attached,
}

/// How far the getting has come of what the server gives a task's containers. It only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provisioning {
    /// Nothing was done yet.
    Waiting,
    /// The server is being asked; until when that may take.
    Asking {
        /// The deadline.
        by: Timestamp,
    },
    /// It is there, or was: another run of ours asks again.
    Here,
}

/// What of a task is left besides its containers (its cgroup, its network interface).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Containers are left.
    Live,
    /// All containers are gone, the rest is being removed.
    Clearing {
        /// When to try again.
        by: Timestamp,
        /// Tries so far.
        tries: u32,
    },
    /// Nothing is left but logs and the ledger's record.
    Cleared,
    /// Nothing is left at all. Terminal.
    Forgotten,
}

/// One container as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Its name in the definition.
    pub name: Arc<str>,
    /// The runtime's id, fixed before anything is made, so that a repeated create finds its half-made predecessor.
    pub runtime_id: Arc<str>,
    /// Whether the task ends with it.
    pub essential: bool,
    /// Seconds it may take to start.
    pub start_timeout: Option<u32>,
    /// Seconds from stop signal to SIGKILL.
    pub stop_timeout: u32,
    /// What it waits for before it is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// How far it has come.
    pub phase: Phase,
    /// What its image said.
    #[serde(default)]
    pub pulled: Option<Pulled>,
    /// Its place in the network.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
    /// When its process began.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// When it was made.
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// When its process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// The process's exit code.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The kernel killed something in it for lack of memory.
    #[serde(default)]
    pub oom: bool,
    /// `Name: message` of what went wrong.
    #[serde(default)]
    pub reason: Option<Arc<str>>,
    /// Its output is shipped to the server and is not all there yet.
    #[serde(default)]
    pub logs_open: bool,
    /// The position of the log router that its output goes through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed_by: Option<usize>,
    /// It is gone, and its router waits for the rest of its output until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_by: Option<Timestamp>,
    /// Its health check, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// Its restarts, if it has a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<Restarts>,
}

/// How far a container has come. It only moves down this list, but for a restart, which leads from a run to the creation of the
/// next; each wait carries its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // `by`: the deadline of the wait; `since`: when it began.
pub enum Phase {
    /// Nothing was done yet.
    Waiting,
    /// Its image is being pulled.
    Pulling { by: Timestamp },
    /// Its image is here; what it depends on has not come yet.
    Held { since: Timestamp },
    /// Its network is being made.
    Connecting { by: Timestamp },
    /// It is being created.
    Creating { by: Timestamp },
    /// It is being started.
    Starting { by: Timestamp },
    /// Its process runs; looked at again at `by`.
    Running { by: Timestamp },
    /// The stop signal was sent; SIGKILL at `by`.
    Stopping { by: Timestamp },
    /// SIGKILL was sent.
    Killing { by: Timestamp, tries: u32 },
    /// Its process has ended, or never was; what is left is being removed.
    Removing { by: Timestamp, tries: u32 },
    /// Nothing of it is left.
    Gone,
}

/// What a pull found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// What the reference resolved to.
    pub digest: Arc<str>,
    /// Digest of the image's configuration: Docker's image id.
    pub image_id: Arc<str>,
    /// The signal that stops this image politely.
    pub stop_signal: i32,
}

/// A container's place in the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Endpoint {
    /// Its own address, in bridge mode.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// Published ports.
    #[serde(default)]
    pub bindings: Vec<NetworkBinding>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server assigned it (again).
    Assigned,
    /// The server wants it stopped.
    DesiredStopped(Stop),
    /// The server's set no longer has it.
    Dropped,
    /// The agent came back and has read it from its ledger: operations that were under way are not any more.
    Resumed,
    /// The runtime's events may have been missed.
    Reconnected,
    /// A deadline may have passed.
    Tick,
    /// The task's network interface is made.
    Attached,
    /// The task's network interface could not be made.
    NotAttached(Arc<str>),
    /// What the server gives its containers is there.
    Provided,
    /// The server gives nothing, and why.
    NotProvided(Arc<str>),
    /// The task's own leftovers are removed.
    Cleared,
    /// Its cgroup was looked at.
    Measured(Reading),
    /// Something about the container at this position.
    Container(usize, Happened),
    /// What came of something that was asked of that run of the container at this position.
    Answered(usize, u32, Happened),
}

/// What happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// Its image is here.
    Pulled(Pulled),
    /// Its network is made.
    Connected(Endpoint),
    /// It is created.
    Created,
    /// Its process runs.
    Started,
    /// An operation failed; the reason is complete (`CannotPullContainerError: …`).
    Failed(Operation, Arc<str>),
    /// Its process ended.
    Exited {
        /// 0 to 255; `None` if the process ended without telling.
        code: Option<i32>,
        /// The kernel killed something in it for lack of memory.
        oom: bool,
    },
    /// The kernel killed something in it for lack of memory.
    OutOfMemory,
    /// The runtime does not know it although it should.
    Vanished,
    /// All of it is removed.
    Removed,
    /// All its output is with the server, or never will be.
    LogsShipped,
    /// A probe of its health has ended.
    Probed(Probed),
}

/// What can be done to a container, and fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Pull,
    Connect,
    Create,
    Start,
    Remove,
}

/// What the owner shall do. The state that asks for it is durable before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Begin an operation; it ends with an event. A removal ends the operation that is under way.
    Begin(usize, Operation),
    /// Send the stop signal.
    Signal(usize),
    /// Send SIGKILL.
    Kill(usize),
    /// Look how it does; what is found comes as `Exited` or `Vanished`.
    Inspect(usize),
    /// Probe its health; ends with `Probed`.
    Probe(usize),
    /// Make the task's network interface; ends with `Attached` or `NotAttached`.
    Attach,
    /// Ask the server for what its containers are given; ends with `Provided` or `NotProvided`.
    Provide,
    /// Remove what the task itself has left; ends the making of its interface; ends with `Cleared`.
    Clear,
    /// Remove logs and the ledger's record; the owner ends.
    Forget,
}

impl TaskState {
    /// A task nothing was done for. `containers` are the definition's with the overrides laid over, each with its
    /// runtime id and whether its output is shipped.
    pub fn new<'a>(
        has_interface: bool,
        containers: impl IntoIterator<Item = (&'a ContainerDefinition, Arc<str>, bool)>,
    ) -> Self {
        let given: Vec<_> = containers.into_iter().collect();
        let place = |name: &str| given.iter().position(|(definition, ..)| definition.name == name);
        let container = |(definition, runtime_id, ships): &(&ContainerDefinition, Arc<str>, bool)| ContainerState {
            name: definition.name.as_str().into(),
            runtime_id: runtime_id.clone(),
            essential: definition.essential,
            start_timeout: definition.start_timeout,
            stop_timeout: definition.stop_timeout.unwrap_or(limits::STOP_SECONDS),
            depends_on: definition
                .dependencies()
                .filter_map(|(on, condition)| Some(Dependency { at: place(on)?, condition }))
                .collect(),
            phase: Phase::Waiting,
            pulled: None,
            endpoint: None,
            started: None,
            created: None,
            finished: None,
            exit_code: None,
            oom: false,
            reason: None,
            logs_open: *ships,
            routed_by: None,
            drained_by: None,
            watch: definition.health_check.as_ref().and_then(Watch::new),
            restarts: definition.restart_policy.as_ref().and_then(Restarts::new),
        };
        Self {
            stop: None,
            interface: has_interface.then_some(Interface::Waiting),
            provision: None,
            containers: given.iter().map(container).collect(),
            end: End::Live,
            dropped: None,
            unstoppable: false,
            overdue: false,
            pull_started: None,
            pull_stopped: None,
            execution_stopped: None,
            used: None,
        }
    }

    /// When the wait of the container at that position for others ends. It began then, so nothing is past.
    fn held_until(&self, at: usize) -> Option<Timestamp> {
        let Phase::Held { since } = self.containers[at].phase else { return None };
        match self.turn(at, since, Timestamp(i64::MIN)) {
            order::Turn::Later(by) => by,
            order::Turn::Now | order::Turn::Never(_) => None,
        }
    }

    /// When [`Event::Tick`] is due, whatever else happens. `None` once nothing is waited for that has an end: a task that is
    /// cleared waits for the server to drop it, and a forgotten one for nothing.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let containers = self.containers.iter().filter_map(|c| c.phase.deadline());
        let watches = self.containers.iter().filter_map(|c| c.watch.as_ref()?.deadline());
        let end = match self.end {
            End::Clearing { by, .. } => Some(by),
            End::Cleared => self.dropped,
            End::Live | End::Forgotten => None,
        };
        let interface = match self.interface {
            Some(Interface::Attaching { by }) if self.stop.is_none() => Some(by),
            Some(Interface::Waiting | Interface::Attaching { .. } | Interface::Attached) | None => None,
        };
        let provision = match self.provision {
            Some(Provisioning::Asking { by }) if self.stop.is_none() => Some(by),
            Some(Provisioning::Waiting | Provisioning::Asking { .. } | Provisioning::Here) | None => None,
        };
        let drains =
            self.containers.iter().filter(|c| c.logs_open && self.end == End::Live).filter_map(|c| c.drained_by);
        let held = (0..self.containers.len()).filter_map(|at| self.held_until(at));
        containers.chain(watches).chain(drains).chain(held).chain(interface).chain(provision).chain(end).min()
    }
}

impl Phase {
    /// The deadline of what is waited for.
    pub fn deadline(self) -> Option<Timestamp> {
        match self {
            Self::Waiting | Self::Held { .. } | Self::Gone => None,
            Self::Pulling { by }
            | Self::Connecting { by }
            | Self::Creating { by }
            | Self::Starting { by }
            | Self::Running { by }
            | Self::Stopping { by }
            | Self::Killing { by, .. }
            | Self::Removing { by, .. } => Some(by),
        }
    }
}

/// The cause of a task that the server's set no longer has although it never reported to have stopped.
pub fn no_longer_assigned() -> Stop {
    Stop { code: StopCode::UserInitiated, reason: "The task is no longer assigned to this container instance".into() }
}

/// AWS: the original's words for a `DockerTimeoutError` (ecs-agent `dockerapi/errors.go`).
pub(crate) fn timed_out(target: &str, millis: i64) -> String {
    let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
    let waited = match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        (_, _) => format!("{hours}h{minutes}m{seconds}s"),
    };
    format!("Could not transition to {target}; timed out after waiting {waited}")
}

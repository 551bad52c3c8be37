//! What the planner is handed, and what it hands back.
//!
//! The view borrows the caller's rows. What would cost a walk over all instances, or over the kept events, is asked for
//! only where the answer matters, so that a pass over a satisfied service touches nothing but its tasks.

use super::events::reason;
use model::{
    CapacityProvider, ContainerInstanceId, CpuUnits, Deployment, DeploymentId, LifecycleStage, MemoryMib, Service,
    ServiceDeployment, ServiceEventName, Stop, Task, TaskArn, Timestamp,
};
use std::{fmt, sync::Arc};

/// What the planner may ask about the cluster.
pub trait Field {
    /// How an instance is. None: gone, INACTIVE or unknown.
    fn instance(&self, id: &ContainerInstanceId) -> Option<InstanceState>;

    /// Instances that could hold a task of this deployment's spec if they had room: ACTIVE, agent connected, attributes and
    /// constraints met. With their zone. Asked only for DAEMON services and for rebalancing: it costs a walk over all
    /// instances.
    fn eligible(&self, deployment: &Deployment) -> Vec<(ContainerInstanceId, Option<Arc<str>>)>;

    /// All zones in which the cluster has an instance, or more; None: not known. Spares the walk of [`Self::eligible`] where the
    /// tasks are in balance among all of them anyway.
    fn zones(&self) -> Option<Vec<Arc<str>>> {
        None
    }

    /// What is left on an instance. Asked only when a service with a binpack strategy scales in; without an answer the
    /// instance with the fewest tasks of the service counts as the one with most left.
    fn remaining(&self, _instance: &ContainerInstanceId) -> Option<(CpuUnits, MemoryMib)> {
        None
    }

    /// Whether no task of a REPLICA service is left on a DRAINING instance: a daemon is the last to stop. Asked only for
    /// daemons on such instances; who answers it wakes the planner when the answer changes.
    fn only_daemons_left(&self, _instance: &ContainerInstanceId) -> bool {
        true
    }

    /// The service's tasks that have stopped lately, as far as they are known. Asked only where something starts.
    fn stopped(&self) -> Vec<&Task> {
        Vec::new()
    }
}

/// How an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// ACTIVE, its agent connected.
    Active,
    /// DRAINING, its agent connected.
    Draining,
    /// Its agent has been disconnected.
    Unreachable {
        /// For how long.
        since: Timestamp,
    },
}

/// All that a decision about a service is made of.
pub struct View<'a> {
    /// The service.
    pub service: &'a Service,
    /// The record of its primary deployment's `service_deployment`.
    pub story: Option<&'a ServiceDeployment>,
    /// All of its group that have not STOPPED.
    pub tasks: Vec<&'a Task>,
    /// The cluster.
    pub field: &'a dyn Field,
    /// When that very message was last told, as far back as the service's events are kept. Asked only when a message that
    /// may be a duplicate is about to be told.
    pub events: &'a dyn Fn(&str) -> Option<Timestamp>,
    /// Whether what a plan of this very view would start has been tried, and finds no place: then an unhealthy task, which holds
    /// one, goes first.
    pub no_place: bool,
    /// Now.
    pub now: Timestamp,
}

/// What is to be done about a service. All of it is one commit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The next record, if anything of it changes. Its `version` is that of the view: apply counts it.
    pub service: Option<Service>,
    /// Stories that change.
    pub stories: Vec<ServiceDeployment>,
    /// Tasks to start.
    pub starts: Vec<Start>,
    /// Tasks to stop.
    pub stops: Vec<StopTask>,
    /// What to tell, in the order in which it happens.
    pub events: Vec<Told>,
    /// What is held back, and why.
    pub held: Vec<Hold>,
    /// When to look again though nothing has changed. None: only a change matters.
    pub look_again: Option<Timestamp>,
}

impl Plan {
    /// Whether there is nothing to commit.
    pub fn is_idle(&self) -> bool {
        self.service.is_none()
            && self.stories.is_empty()
            && self.starts.is_empty()
            && self.stops.is_empty()
            && self.events.is_empty()
    }

    /// Whether it stops tasks because they are unhealthy.
    pub fn makes_room(&self) -> bool {
        self.stops.iter().any(|stop| *stop.why.reason == *reason::UNHEALTHY)
    }
}

/// Tasks of a deployment to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// How many.
    pub count: u32,
    /// Whose room they take; none where no strategy says that.
    pub provider: Option<CapacityProvider>,
    /// Where.
    pub place: Place,
    /// How many of them take the place of tasks whose health checks fail.
    pub replaces: u32,
}

/// Where tasks are to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Where the deployment's constraints and strategies say.
    Anywhere,
    /// In that zone. Only for rebalancing: the caller adds the number it really placed to `service.rebalancing`.
    InZone(Arc<str>),
    /// On that instance.
    On(ContainerInstanceId),
}

/// A task to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopTask {
    /// Which.
    pub task: TaskArn,
    /// Why.
    pub why: Stop,
}

/// A service event to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What kind.
    pub name: ServiceEventName,
    /// AWS's words.
    pub message: String,
}

/// What a service waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The last tasks did not come to run.
    BackOff {
        /// Nothing is started before this.
        until: Timestamp,
    },
    /// The primary deployment has FAILED: nothing more is launched.
    DeploymentFailed,
    /// As many tasks run or are about to as there may ever be.
    MaximumReached {
        /// Those there are.
        total: u32,
        /// Those there may be.
        maximum: u32,
    },
    /// Stopping one more task would leave too few healthy ones.
    MinimumHealthy {
        /// Those there are.
        healthy: u32,
        /// Those there must be.
        minimum: u32,
    },
    /// Tasks run that do not count as healthy yet.
    WaitingForHealthy {
        /// How many.
        tasks: u32,
        /// When the first of them will.
        until: Timestamp,
    },
    /// Tasks run of which their health checks have yet to say how they are.
    WaitingForHealthCheck {
        /// How many.
        tasks: u32,
    },
    /// Tasks whose health checks have failed run on until others have replaced them.
    Unhealthy {
        /// How many.
        tasks: u32,
    },
    /// Tasks have yet to come to run.
    WaitingForRunning {
        /// How many.
        tasks: u32,
    },
    /// Tasks of older deployments have yet to stop.
    WaitingForStopped {
        /// How many.
        tasks: u32,
    },
    /// Tasks that should go are protected.
    Protected {
        /// How many.
        tasks: u32,
        /// When the first of them is not any more.
        until: Timestamp,
    },
    /// Tasks on DRAINING instances run on until others have replaced them.
    Draining {
        /// How many.
        tasks: u32,
    },
    /// A lifecycle hook has yet to say that the deployment may go on.
    LifecycleHook {
        /// Its id within the deployment.
        id: Arc<str>,
        /// In which stage.
        stage: LifecycleStage,
        /// When it has taken too long.
        until: Timestamp,
    },
    /// The old revision stays for a while beside the new one.
    Baking {
        /// When it may go.
        until: Timestamp,
    },
    /// Tasks are on instances whose agent is disconnected; they are replaced if it stays away.
    Unreachable {
        /// How many.
        tasks: u32,
        /// When the first of them is given up.
        until: Timestamp,
    },
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackOff { .. } => write!(f, "tasks did not come to run, and the next attempt waits"),
            Self::DeploymentFailed => write!(f, "the deployment has failed and launches nothing more"),
            Self::MaximumReached { total, maximum } => {
                write!(f, "{total} tasks run or are about to, and maximumPercent allows {maximum}")
            }
            Self::MinimumHealthy { healthy, minimum } => {
                write!(f, "{healthy} tasks are healthy, and minimumHealthyPercent asks for {minimum}")
            }
            Self::WaitingForHealthy { tasks, .. } => write!(f, "{tasks} tasks run and are not healthy yet"),
            Self::WaitingForHealthCheck { tasks } => {
                write!(f, "{tasks} tasks run, and their health checks have yet to pass")
            }
            Self::Unhealthy { tasks } => write!(f, "{tasks} tasks are unhealthy and wait to be replaced"),
            Self::WaitingForRunning { tasks } => write!(f, "{tasks} tasks have yet to come to run"),
            Self::WaitingForStopped { tasks } => write!(f, "{tasks} tasks of older deployments have yet to stop"),
            Self::Protected { tasks, .. } => write!(f, "{tasks} tasks that should go are protected"),
            Self::Draining { tasks } => write!(f, "{tasks} tasks are on draining instances until they are replaced"),
            Self::LifecycleHook { id, stage, .. } => {
                write!(f, "the lifecycle hook {id} has yet to end {}", stage.as_str())
            }
            Self::Baking { .. } => write!(f, "the old revision stays beside the new one for the bake time"),
            Self::Unreachable { tasks, .. } => {
                write!(f, "{tasks} tasks are on instances whose agent is disconnected")
            }
        }
    }
}

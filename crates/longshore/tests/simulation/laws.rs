//! What must hold at every commit, whoever makes it, and of every service that nothing happens to.
//!
//! The planner's own laws hold these of every plan in a world of its own (`scheduler::service::laws`); here they are held of what the
//! server really does, against what others have changed meanwhile.

use crate::world::World;
use effects::Effects;
use model::{
    ContainerInstanceId, Deployment, DeploymentId, LifecycleStage, Rollout, SchedulingStrategy, Service, ServiceArn,
    StopCode, Task, TaskArn, TaskSetStatus, Timestamp,
};
use scheduler::service::{LOST_AFTER_MILLIS, events::reason, is_healthy};
use state::{ClusterChanges, ClusterRow, ServiceRow, Snapshot, Witness};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// Commits whose content is remembered: more than come together where there should be none.
const LAST_COMMITS: usize = 40;

/// How long a service may look as if something were to be done for it, while its loop is elsewhere: a commit waits for some
/// milliseconds, and what was overtaken is looked at again soon after.
const ABOUT_TO: Duration = Duration::from_secs(2);

/// All commits of a world, over all its servers.
#[derive(Clone)]
pub(crate) struct Laws {
    /// Of the world, whose clock is never set.
    effects: Effects,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    wrong: Vec<String>,
    /// All tasks that ever were, as they are.
    tasks: BTreeMap<TaskArn, Arc<Task>>,
    /// The tasks of lifecycle hooks, by what they were started for.
    turns: BTreeMap<Arc<str>, TaskArn>,
    started: u64,
    stopped: u64,
    /// What the last commits were about, for the story.
    last: VecDeque<(Duration, String)>,
}

impl Laws {
    pub(crate) fn new(effects: Effects) -> Self {
        Self { effects, inner: Arc::default() }
    }

    /// Holds all that a server commits to the laws. Agents that were away when it `began` are not lost because of it.
    pub(crate) fn witness(&self, began: Timestamp) -> Witness {
        let laws = self.clone();
        Box::new(move |before, after| {
            let now = laws.effects.monotonic();
            laws.lock().commit(before, after, began, now);
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// What was committed since then, as far as it is remembered.
    pub(crate) fn since(&self, then: Duration) -> Vec<String> {
        let inner = self.lock();
        let last = inner.last.iter().filter(|(at, _)| *at >= then);
        last.map(|(at, what)| format!("{:8.3} {what}", at.as_secs_f64())).collect()
    }

    /// What was wrong since this was asked.
    pub(crate) fn wrong(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().wrong)
    }

    /// All tasks that ever were, as they are.
    pub(crate) fn tasks(&self) -> Vec<Arc<Task>> {
        self.lock().tasks.values().cloned().collect()
    }

    pub(crate) fn task(&self, arn: &TaskArn) -> Option<Arc<Task>> {
        self.lock().tasks.get(arn).cloned()
    }

    /// Turns of hooks that had a task.
    pub(crate) fn turns(&self) -> u64 {
        self.lock().turns.len() as u64
    }

    /// How many tasks services have started, and stopped.
    pub(crate) fn moves(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.started, inner.stopped)
    }
}

impl Inner {
    fn commit(&mut self, before: &Snapshot, after: &Snapshot, began: Timestamp, now: Duration) {
        let mut what = format!("revision {}", after.revision());
        for cluster in after.scopes().flat_map(|scope| after.clusters(scope, None)) {
            let nothing = cluster.before_all();
            let was = before.cluster(&cluster.cluster.arn).unwrap_or(&nothing);
            if std::ptr::eq(was, cluster) {
                continue;
            }
            let changes = cluster.changes_since(was);
            told(&changes, &mut what);
            for (old, new) in changes.tasks() {
                self.hold_task(old, new);
            }
            for row in changes.services() {
                if let Some(old) = was.service(&row.service.arn.name) {
                    let step = Step::of(old, row, was, began);
                    self.started += step.started.len() as u64;
                    self.stopped += step.stopped.len() as u64;
                    step.hold(&mut self.wrong);
                }
            }
        }
        self.last.push_back((now, what));
        self.last.drain(..self.last.len().saturating_sub(LAST_COMMITS));
        let (live, stopped) = after.task_counts();
        if live + stopped != self.tasks.len() {
            self.wrong.push(format!("{live} and {stopped} tasks are there, and {} were", self.tasks.len()));
        }
    }

    /// Tasks go forward, and no turn of a hook has two.
    fn hold_task(&mut self, old: Option<&Arc<Task>>, new: &Arc<Task>) {
        let before = self.tasks.insert(new.arn.clone(), new.clone());
        if old != before.as_ref() {
            self.wrong.push(format!("{} was {before:?}, and now was {old:?}", new.arn));
        }
        if let Some(old) = old {
            let backwards = new.last_status() < old.last_status() || old.is_to_stop() && !new.is_to_stop();
            if backwards || new.version < old.version {
                self.wrong.push(format!("{} went back from {old:?} to {new:?}", new.arn));
            } else if new.version == old.version && new != old {
                self.wrong.push(format!("{} changed without a new version from {old:?} to {new:?}", new.arn));
            }
        } else if let Some(turn) = new.started_by.as_ref().filter(|_| is_of_a_hook(new))
            && let Some(other) = self.turns.insert(turn.clone(), new.arn.clone())
        {
            self.wrong.push(format!("the turn {turn} has two tasks: {other} and {}", new.arn));
        }
    }
}

/// What a commit changed, in few words: for the story of what nobody expected.
fn told(changes: &ClusterChanges<'_>, what: &mut String) {
    for (_, row) in changes.instances() {
        let model::ContainerInstance { arn, status, agent_connected, .. } = &*row.instance;
        let connected = if *agent_connected { "connected" } else { "away" };
        write!(what, "; instance {} {status:?} {connected}", arn.id).unwrap();
    }
    for (_, task) in changes.tasks() {
        let on = task.container_instance.as_ref().map_or("nowhere", |id| id.as_str());
        write!(what, "; task {} of {} {} on {on}", task.arn.id, task.group, task.last_status().as_str()).unwrap();
    }
    for row in changes.services() {
        let (event, name) = (row.events().next(), &row.service.arn.name);
        let event = event.map_or("", |event| &event.message);
        write!(what, "; {name} version {}, last told: {event}", row.service.version).unwrap();
    }
}

/// Whether a task is a lifecycle hook's: clients of the simulation say of none by whom it was started.
pub(crate) fn is_of_a_hook(task: &Task) -> bool {
    ServiceArn::of_group(&task.arn.cluster, &task.group).is_none() && task.started_by.is_some()
}

/// What a commit did for a service of its own accord.
struct Step<'a> {
    row: &'a ServiceRow,
    service: &'a Service,
    /// The service's tasks that were to run before, on instances that were not lost.
    live: Vec<&'a Task>,
    started: Vec<&'a Task>,
    /// As they were before, and why.
    stopped: Vec<(&'a Task, &'a str)>,
    /// When it was decided.
    at: Timestamp,
    cluster: &'a ClusterRow,
    began: Timestamp,
}

impl<'a> Step<'a> {
    fn of(old: &'a ServiceRow, row: &'a ServiceRow, cluster: &'a ClusterRow, began: Timestamp) -> Self {
        let mut step = Step {
            row,
            service: &row.service,
            live: Vec::new(),
            started: Vec::new(),
            stopped: Vec::new(),
            at: Timestamp(0),
            cluster,
            began,
        };
        let was: BTreeMap<&TaskArn, &Arc<Task>> = old.tasks().map(|task| (&task.arn, task)).collect();
        for task in row.tasks() {
            let Some(before) = was.get(&task.arn) else {
                step.started.push(task);
                step.at = step.at.max(task.times.created);
                continue;
            };
            let why = task.stop().filter(|_| task.is_to_stop() && !before.is_to_stop());
            if let Some(why) = why.filter(|why| why.code == StopCode::ServiceSchedulerInitiated) {
                step.stopped.push((before, &why.reason));
                step.at = step.at.max(task.times.stopping.unwrap_or_default());
            }
        }
        // What is told has the planner's time. Tasks have the wall clock's, and of one that began by a clock that was ahead not even that:
        // its times run forward whatever the clocks say.
        let (told, _) = row.news_since(Some(old));
        step.at = told.iter().map(|event| event.at).max().unwrap_or(step.at);
        let at = step.at;
        let given_up = |task: &Task| {
            step.is_lost(task, at) || step.stopped.iter().any(|(t, why)| t.arn == task.arn && *why == reason::LOST)
        };
        step.live = old.tasks().map(|task| &**task).filter(|t| !t.is_to_stop() && !given_up(t)).collect();
        step
    }

    fn is_lost(&self, task: &Task, at: Timestamp) -> bool {
        let instance = task.container_instance.as_ref().and_then(|id| self.cluster.instance(id));
        instance.is_none_or(|row| {
            let away = row.instance.agent_changed_at.max(self.began);
            !row.is_registered() || !row.instance.agent_connected && at.millis_since(away) >= LOST_AFTER_MILLIS
        })
    }

    fn stays(&self, task: &Task) -> bool {
        !self.stopped.iter().any(|(stopped, _)| stopped.arn == task.arn)
    }

    fn of_deployment(task: &Task, id: DeploymentId) -> bool {
        task.started_by.as_deref() == Some(&*id.to_string())
    }

    fn healthy<'t>(&self, tasks: impl Iterator<Item = &'t &'t Task>) -> u32 {
        tasks.filter(|task| is_healthy(task, self.at)).count() as u32
    }

    fn hold(&self, wrong: &mut Vec<String>) {
        if self.started.is_empty() && self.stopped.is_empty() {
            return;
        }
        let mut that = |holds: bool, what: &str| {
            if !holds {
                let (started, stopped) = (&self.started, &self.stopped);
                wrong.push(format!(
                    "{}: {what}, at {:?}; started {started:#?}, stopped {stopped:#?}, there were {:#?}; {:#?}",
                    self.service.arn, self.at, self.live, self.service
                ));
            }
        };
        if !self.service.is_active() {
            return that(self.started.is_empty(), "something was started for a service that goes");
        }
        that(!self.stops_what_is_protected(), "a protected task was stopped");
        that(!self.is_a_flap(), "what was started is what was stopped");
        that(self.waits_where_it_has_to(), "it did not wait before the next attempt");
        if self.service.external.is_some() {
            for (id, count) in self.sets() {
                self.hold_bounds(count, |task| Self::of_deployment(task, id), "a task set", &mut that);
            }
            return;
        }
        match self.service.scheduling {
            SchedulingStrategy::Daemon => that(!self.doubles_a_daemon(), "two daemons are on one instance"),
            SchedulingStrategy::Replica => {
                let desired = self.service.desired_count;
                match self.stage() {
                    Some(stage) if !matches!(stage, LifecycleStage::CleanUp | LifecycleStage::ReconcileService) => {
                        for deployment in &self.service.deployments {
                            let of = |task: &Task| Self::of_deployment(task, deployment.id);
                            self.hold_bounds(desired, of, "a revision", &mut that);
                        }
                    }
                    Some(_) | None => self.hold_bounds(desired, |_| true, "it", &mut that),
                }
                let failed = self.service.primary().is_some_and(|primary| primary.rollout == Rollout::Failed);
                that(!failed || self.started.is_empty(), "something was started for a deployment that FAILED");
            }
        }
    }

    /// Never under the minimum or over the maximum by our own hand.
    fn hold_bounds(&self, desired: u32, of: impl Fn(&Task) -> bool, whose: &str, that: &mut impl FnMut(bool, &str)) {
        let rules = &self.service.rules;
        let (minimum, maximum) = (rules.minimum_healthy(desired), rules.maximum_total(desired));
        let live: Vec<&Task> = self.live.iter().copied().filter(|task| of(task)).collect();
        let left: Vec<&Task> = live.iter().copied().filter(|task| self.stays(task)).collect();
        let started = self.started.iter().filter(|task| of(task)).count();
        let (before, after) = (self.healthy(live.iter()), self.healthy(left.iter()));
        that(after == before || after >= minimum, &format!("{whose} keeps {after} of {before}, {minimum} at least"));
        let all = left.len() + started;
        that(started == 0 || all <= maximum as usize, &format!("{whose} has {all} tasks, {maximum} at most"));
    }

    fn stops_what_is_protected(&self) -> bool {
        self.stopped.iter().any(|(task, why)| {
            task.protected_until.is_some_and(|until| until > self.at)
                && self.service.scheduling == SchedulingStrategy::Replica
                && self.is_kept(task)
                && *why != reason::UNHEALTHY
                && *why != reason::LOST
        })
    }

    /// Not of a task set that goes, or is gone: protection is from scaling and deployments.
    fn is_kept(&self, task: &Task) -> bool {
        self.service.external.is_none() || self.sets().any(|(id, _)| Self::of_deployment(task, id))
    }

    /// What serves well, where it may stay, is not stopped for one of the same kind, unless that is to balance zones.
    fn is_a_flap(&self) -> bool {
        self.stopped.iter().any(|(task, why)| {
            let instance = task.container_instance.as_ref().and_then(|id| self.cluster.instance(id));
            let stays = instance.is_some_and(|row| {
                row.instance.status == model::InstanceStatus::Active && row.instance.agent_connected
            });
            let same = |started: &&&Task| started.started_by == task.started_by;
            stays
                && *why != reason::UNHEALTHY
                && *why != reason::LOST
                && is_healthy(task, self.at)
                && self.started.iter().any(|t| same(&t))
        })
    }

    fn waits_where_it_has_to(&self) -> bool {
        self.started.iter().all(|task| {
            let id = task.started_by.as_deref().and_then(|by| by.parse().ok());
            let failures = id.and_then(|id| self.service.failures(id));
            failures.is_some_and(|failures| failures.held(self.at).is_none())
        })
    }

    fn doubles_a_daemon(&self) -> bool {
        let mut on: Vec<Option<&ContainerInstanceId>> =
            self.row.tasks().map(|task| task.container_instance.as_ref()).collect();
        let all = on.len();
        on.sort();
        on.dedup();
        on.len() < all && !self.started.is_empty()
    }

    /// The stage of a deployment that has not come to its end.
    fn stage(&self) -> Option<LifecycleStage> {
        let primary: &Deployment = self.service.primary()?;
        let story = self.row.deployment(&primary.service_deployment).filter(|story| !story.status.is_over())?;
        story.lifecycle.as_ref().map(|lifecycle| lifecycle.stage)
    }

    fn sets(&self) -> impl Iterator<Item = (DeploymentId, u32)> {
        let sets = self.service.external.iter().flat_map(|external| &external.sets);
        let kept = sets.filter(|set| set.status != TaskSetStatus::Draining);
        kept.map(|set| (set.id, set.computed_desired_count(self.service.desired_count)))
    }
}

/// Services that something is to be done for, since when, and as they have been since.
#[derive(Default)]
pub(crate) struct Restless(BTreeMap<ServiceArn, (Duration, Arc<ServiceRow>)>);

impl World {
    /// A look at a service at rest does nothing, and one that is not at rest is looked at.
    pub(crate) fn hold_at_rest(&mut self) {
        let Some(began) = self.trusted_clock() else { return self.restless.0.clear() };
        let Some(ctx) = self.server() else { return self.restless.0.clear() };
        let restless = server::restless(ctx, ctx.effects.now(), began);
        let now = self.effects.monotonic();
        self.restless.0.retain(|arn, _| restless.contains(arn));
        for row in self.rows().into_iter().filter(|row| restless.contains(&row.service.arn)) {
            let arn = &row.service.arn;
            let (since, was) = self.restless.0.entry(arn.clone()).or_insert_with(|| (now, row.clone()));
            if !Arc::ptr_eq(was, &row) {
                // Something was done for it or to it meanwhile: what there is to do now is something else.
                (*since, *was) = (now, row);
            } else if now - *since > ABOUT_TO {
                self.wrong.push(format!("{arn} could go on since {since:?}, and nobody looks at it"));
            }
        }
    }
}

//! The end: every task comes to where it belongs, and what the server tells of it is what its machine remembers.

use crate::{
    laws::is_of_a_hook,
    node::Life,
    world::{Summary, World},
};
use model::{StopCode, Task, TaskArn, TaskStatus};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A start may take this long, and what is learned of it may be lost with an agent that is killed meanwhile.
const START: Duration = Duration::from_secs(10);

/// Why tasks end whose instance was deregistered.
const DEREGISTERED: &str = "Container instance deregistration forced by user";

/// A container's life and which of all machines it was on.
type Lives = BTreeMap<(TaskArn, String), (Life, usize)>;

impl World {
    /// The verdict over a world that has healed.
    pub(crate) async fn end(&mut self) -> Result<Summary, String> {
        self.until("every session", Self::connected).await;
        self.until("the end of agents that were sent away", Self::all_sent_away).await;
        self.all_active().await;
        self.cure().await;
        self.until("every task's place", Self::settled).await;
        // What stands alone makes room for what services want.
        // The tasks of hooks end by themselves, or with their turns.
        let alone = self.tasks().filter(|t| t.stopped_at().is_none() && !self.is_of_a_service(t) && !is_of_a_hook(t));
        let living: Vec<TaskArn> = alone.map(|t| t.arn.clone()).collect();
        for task in living {
            self.stop(task).await;
        }
        self.until("the end of what stands alone", Self::alone_stopped).await;
        self.mend().await;
        self.until("every service's steady state", Self::steady).await;
        self.until("the end of what keeps tasks where they are", Self::free).await;
        self.idle().await;
        self.delete_services().await;
        self.until("the services' end", Self::all_inactive).await;
        self.until("every stop", Self::stopped).await;
        self.until("the last clean-up", Self::clean).await;
        self.idle().await;
        if self.wrong.is_empty() {
            self.judge();
        }
        if self.wrong.is_empty() {
            return Ok(std::mem::take(&mut self.summary));
        }
        Err(format!("{}\nthe story:\n{}", self.wrong.join("\n"), self.story()))
    }

    fn tasks(&self) -> impl Iterator<Item = Arc<Task>> + use<> {
        self.laws.tasks().into_iter()
    }

    fn lives(&self) -> Lives {
        let lives = self.machines().enumerate();
        let lives = lives.flat_map(|(at, agent)| agent.machine.lives().into_iter().map(move |life| (life, at)));
        lives.map(|(life, at)| ((life.task.clone(), life.name.clone()), (life, at))).collect()
    }

    /// What was to stop has stopped; the rest runs, on its machine too.
    fn settled(&self) -> Result<(), String> {
        let lives = self.lives();
        for task in self.tasks() {
            let runs = task.containers.iter().all(|container| {
                let life = lives.get(&(task.arn.clone(), container.name.to_string()));
                &*container.name == "side" || life.is_some_and(|(life, _)| life.starts == 1 && life.exit.is_none())
            });
            match task.last_status() {
                TaskStatus::Stopped => {}
                TaskStatus::Running if !task.is_to_stop() && runs => {}
                TaskStatus::Provisioning
                | TaskStatus::Pending
                | TaskStatus::Running
                | TaskStatus::Stopping
                | TaskStatus::Deprovisioning => {
                    return Err(format!(
                        "{task:?}, which {} on its machine",
                        if runs { "runs" } else { "does not run" }
                    ));
                }
            }
        }
        Ok(())
    }

    fn alone_stopped(&self) -> Result<(), String> {
        match self.tasks().find(|task| task.stopped_at().is_none() && !self.is_of_a_service(task)) {
            Some(task) => Err(format!("{task:?}")),
            None => Ok(()),
        }
    }

    fn stopped(&self) -> Result<(), String> {
        match self.tasks().find(|task| task.stopped_at().is_none()) {
            Some(task) => Err(format!("{task:?}")),
            None => Ok(()),
        }
    }

    /// Nothing is left on any machine, nor in any agent's ledger.
    fn clean(&self) -> Result<(), String> {
        for agent in &self.agents {
            let there = agent.machine.there();
            if !there.is_empty() || agent.ledger() > 0 {
                return Err(format!("{there:?} and {} tasks are left on {}", agent.ledger(), agent.instance()));
            }
        }
        Ok(())
    }

    /// A cluster that has nothing to do writes nothing: sessions last, and signs of life are not kept.
    async fn idle(&mut self) {
        let begun = self.effects.monotonic();
        // What the storm left half-open is given up, and where tasks may go again they are moved to balance zones.
        self.rest(Duration::from_secs(300)).await;
        let revision = |world: &Self| world.server().map(|ctx| ctx.store.snapshot().revision());
        let before = revision(self);
        self.rest(Duration::from_secs(600)).await;
        if revision(self) != before {
            let (events, commits) = (self.service_events(), self.laws.since(begun));
            let after = revision(self);
            self.wrong.push(format!("idle, the state went from {before:?} to {after:?}; {events:#?}; {commits:#?}"));
        }
    }

    /// Time goes by, and every second of it is looked at.
    async fn rest(&mut self, time: Duration) {
        let end = self.effects.monotonic() + time;
        while self.wrong.is_empty() && self.effects.monotonic() < end {
            self.effects.sleep(Duration::from_secs(1)).await;
            self.look();
        }
    }

    /// Exit codes and causes are the true ones.
    fn judge(&mut self) {
        let lives = self.lives();
        let tasks: Vec<Arc<Task>> = self.tasks().collect();
        for task in &tasks {
            self.summary.tasks += 1;
            for container in &task.containers {
                let found = lives.get(&(task.arn.clone(), container.name.to_string()));
                let really = found.and_then(|(life, _)| life.exit);
                let lost = container.exit_code.is_none() && found.is_some_and(|(life, at)| self.may_be_lost(life, *at));
                if container.exit_code != really && !lost {
                    self.wrong.push(format!("{} ended with {really:?}: {container:?}", task.arn));
                }
                self.summary.exit_codes += u64::from(container.exit_code.is_some());
            }
            let of_task = || task.containers.iter().filter_map(|c| lives.get(&(task.arn.clone(), c.name.to_string())));
            let stop = task.stop().expect("it has stopped");
            let true_cause = match stop.code {
                StopCode::UserInitiated if self.was_on_one_that_left(task) => {
                    self.to_stop.contains(&task.arn) || &*stop.reason == DEREGISTERED
                }
                StopCode::UserInitiated => self.to_stop.contains(&task.arn),
                StopCode::EssentialContainerExited => of_task().any(|(life, _)| life.exit.is_some()),
                StopCode::TaskFailedToStart => {
                    self.summary.failed_to_start += 1;
                    let full = stop.reason.ends_with("InsufficientFreeAddressesInSubnet");
                    let unattached = self.machines().any(|agent| agent.machine.left_unattached(&task.arn));
                    self.summary.addresses_missed += u64::from(full);
                    full || unattached || of_task().any(|(life, _)| life.failed)
                }
                StopCode::ServiceSchedulerInitiated => {
                    self.summary.moved += 1;
                    self.is_of_a_service(task) || is_of_a_hook(task)
                }
                StopCode::TerminationNotice | StopCode::SpotInterruption => false,
            };
            if !true_cause {
                self.wrong.push(format!("nothing that happened is the cause of {stop:?}: {task:?}"));
            }
        }
        // What the client was told of is all there is.
        let unknown = |task: &TaskArn| self.laws.task(task).is_none_or(|task| !self.is_asked_for(&task));
        let unknown: Vec<_> = lives.keys().filter(|(task, _)| unknown(task)).collect();
        self.wrong.extend(unknown.iter().map(|(task, name)| format!("{name} of {task} was run for nobody")));
        self.summary.turns += self.laws.turns();
        let (starts, stops) = self.laws.moves();
        (self.summary.starts, self.summary.stops) = (starts, stops);
    }

    fn was_on_one_that_left(&self, task: &Task) -> bool {
        let on = task.container_instance.as_ref();
        on.is_some_and(|id| self.gone.iter().any(|agent| agent.instance().id == *id))
    }

    /// Its agent was killed while the process was being started, and the task was to stop when it came back; or nobody asks its agent
    /// any more.
    fn may_be_lost(&self, life: &Life, at: usize) -> bool {
        let Some(agent) = self.agents.get(at) else { return true };
        let Some(started) = life.started else { return false };
        agent.killed.iter().any(|killed| *killed >= started && *killed < started + START)
    }
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.exit_codes += other.exit_codes;
        self.failed_to_start += other.failed_to_start;
        self.server_kills += other.server_kills;
        self.agent_kills += other.agent_kills;
        self.cuts += other.cuts;
        self.stalls += other.stalls;
        self.retries += other.retries;
        self.services += other.services;
        self.updates += other.updates;
        self.set_changes += other.set_changes;
        self.decisions += other.decisions;
        self.moved += other.moved;
        self.power_losses += other.power_losses;
        self.clocks_set += other.clocks_set;
        self.races += other.races;
        self.deregistered += other.deregistered;
        self.deployments_stopped += other.deployments_stopped;
        self.turns += other.turns;
        self.starts += other.starts;
        self.stops += other.stops;
        self.addresses_missed += other.addresses_missed;
    }

    /// A test of calm weather would prove nothing.
    pub(crate) fn assert_it_was_a_storm(&self) {
        let Self { tasks, exit_codes, failed_to_start, server_kills, agent_kills, cuts, stalls, retries, .. } = self;
        let Self { services, updates, set_changes, decisions, moved, power_losses, clocks_set, races, .. } = self;
        let Self { deployments_stopped, turns, starts, stops, addresses_missed, deregistered, .. } = self;
        let counts = [
            tasks,
            exit_codes,
            failed_to_start,
            server_kills,
            agent_kills,
            cuts,
            stalls,
            retries,
            services,
            updates,
            set_changes,
            decisions,
            moved,
            power_losses,
            clocks_set,
            races,
            deployments_stopped,
            turns,
            starts,
            stops,
            addresses_missed,
            deregistered,
        ];
        for count in counts {
            assert!(*count > 0, "{self:?}");
        }
    }
}

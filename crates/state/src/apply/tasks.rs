//! Tasks: started where they were placed if there is still room, moved on by what agents see, kept until forgotten.

use super::Applied;
use crate::{
    command::{IdempotencyToken, Outcome, Rejected},
    draft::Draft,
    snapshot::TokenRecord,
};
use model::{
    Attachment, ContainerInstance, ContainerInstanceArn, Desired, InstanceStatus, Phase, Resources, Scope, ServiceArn,
    Stop, Task, TaskArn, TaskDefinitionStatus, TaskObservation, Timestamp, attachment, resources::Lacking,
    task::MAX_WAITING,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What is to be done with a task definition that is no longer ACTIVE. AWS: a service that was made when it was goes on
/// using it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inactive {
    Refused,
    Used,
}

/// Whether a task is the next form of one that waits.
fn is_next_of(task: &Task, known: &Task) -> bool {
    known.waits() && !known.is_to_stop() && task.version == known.version + 1
}

impl Draft<'_> {
    pub(super) fn start_tasks(&mut self, tasks: Vec<Task>, token: Option<IdempotencyToken>) -> Applied {
        if let Some(token) = &token
            && let Some(known) = self.next.token(&token.scope, &token.operation, &token.token)
        {
            return if known.token.request_sha256 == token.request_sha256 {
                Ok(Outcome::Replayed(known.tasks.clone()))
            } else {
                Err(Rejected::TokenConflict(known.tasks.clone()))
            };
        }
        // Services start their own, with the decision they belong to.
        let of_service = |t: &&Task| ServiceArn::of_group(&t.arn.cluster, &t.group).is_some();
        if let Some(task) = tasks.iter().find(of_service) {
            return Err(Rejected::TaskOfAnother(task.arn.clone()));
        }
        self.check_start(&tasks, Inactive::Refused)?;
        let started: Vec<_> = tasks.into_iter().map(|task| self.put_task(task)).collect();
        if let Some(token) = token {
            self.put_token(TokenRecord { token, tasks: started.iter().map(|task| task.arn.clone()).collect() });
        }
        Ok(Outcome::Tasks(started))
    }

    /// Whether all of them can be started, each with those before it on their instances already.
    pub(super) fn check_start(&self, tasks: &[Task], inactive: Inactive) -> Result<(), Rejected> {
        let mut left: BTreeMap<ContainerInstanceArn, Resources> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        let mut waiting = 0;
        for (index, task) in tasks.iter().enumerate() {
            if !ids.insert(&task.arn) || self.next.task(&task.arn).is_some_and(|known| !is_next_of(task, known)) {
                return Err(Rejected::TaskExists(task.arn.clone()));
            }
            if task.stopped_at().is_some() {
                // One that could not be given what it needs: it is told of, and holds nothing.
                self.active_cluster(&task.arn.cluster)?;
                self.definition(&task.definition)?;
                if task.attachment.is_some() {
                    return Err(Rejected::TaskNotNew(task.arn.clone()));
                }
                continue;
            }
            if let Some(attachment) = &task.attachment {
                self.check_attachment(task, attachment)?;
                let own = [Some(attachment.address), attachment.public_ip];
                if let Some(twice) = own.into_iter().flatten().find(|a| !addresses.insert((&attachment.vpc, *a))) {
                    return Err(Rejected::AddressTaken(twice));
                }
            }
            if task.phase != Phase::Pending || task.desired != Desired::Running {
                return Err(Rejected::TaskNotNew(task.arn.clone()));
            }
            self.check_capacity_provider(&task.arn.cluster, task.capacity_provider.as_ref())?;
            if task.waits() {
                waiting += 1;
                self.check_waiting(task, waiting)?;
            }
            match self.definition(&task.definition)?.status {
                TaskDefinitionStatus::Active => {}
                TaskDefinitionStatus::Inactive | TaskDefinitionStatus::DeleteInProgress
                    if inactive == Inactive::Used => {}
                TaskDefinitionStatus::Inactive | TaskDefinitionStatus::DeleteInProgress => {
                    return Err(Rejected::TaskDefinitionNotActive(task.definition.clone()));
                }
            }
            let Some(instance) = task.instance_arn() else {
                match task.waits() {
                    true => continue,
                    false => return Err(Rejected::TaskNotNew(task.arn.clone())),
                }
            };
            let row = self.known_instance(&instance)?;
            match row.instance.status {
                InstanceStatus::Active => {}
                InstanceStatus::Draining => return Err(Rejected::InstanceDraining(instance)),
                InstanceStatus::Inactive => return Err(Rejected::InstanceInactive(instance)),
            }
            let left = left.entry(instance.clone()).or_insert_with(|| row.remaining.clone());
            let unnamed = (!task.reservation.names_its_gpus()).then_some(Lacking::Gpu);
            if let Some(lacking) = left.lacks(&task.reservation).or(unnamed) {
                return Err(Rejected::NoRoom { index, instance, lacking });
            }
            left.take(&task.reservation);
        }
        Ok(())
    }

    /// Whether one more task may wait for room in its cluster, and somebody makes that.
    fn check_waiting(&self, task: &Task, more: usize) -> Result<(), Rejected> {
        let row = self.active_cluster(&task.arn.cluster)?;
        if row.waiting().count() + more > MAX_WAITING {
            return Err(Rejected::TooManyWaiting(task.arn.cluster.clone()));
        }
        match task.container_instance.is_none() && task.attachment.is_none() && task.capacity_provider.is_some() {
            true => Ok(()),
            false => Err(Rejected::TaskNotNew(task.arn.clone())),
        }
    }

    /// Places tasks that waited for room: all or none.
    pub(super) fn place_tasks(&mut self, tasks: Vec<Task>) -> Applied {
        for task in &tasks {
            let known = self.next.task(&task.arn).ok_or_else(|| Rejected::TaskNotFound(task.arn.clone()))?;
            if !is_next_of(task, known) || task.waits() {
                return Err(Rejected::TaskNotNew(task.arn.clone()));
            }
        }
        // They were started when their definition was ACTIVE.
        self.check_start(&tasks, Inactive::Used)?;
        Ok(Outcome::Tasks(tasks.into_iter().map(|task| self.put_task(task)).collect()))
    }

    /// Asks a task to stop; one that no agent knows of has stopped with that. True if anything changed.
    pub(super) fn ask_to_stop(task: &mut Task, why: Stop, at: Timestamp) -> bool {
        let waits = task.waits();
        let asked = task.request_stop(why.clone(), at);
        if asked && waits {
            task.end_without_node(why, at);
        }
        asked
    }

    /// Whether a task's interface can be what it says: starting tasks does not move their network's version.
    fn check_attachment(&self, task: &Task, attachment: &Attachment) -> Result<(), Rejected> {
        let scope = &task.arn.cluster.scope;
        let changed = || Rejected::NetworkChanged(scope.clone());
        let network = self.next.network(scope).ok_or_else(changed)?;
        if let Some(obstacle) = attachment::obstacle(network, &task.arn, attachment) {
            tracing::debug!(obstacle, "a task's interface cannot be made");
            return Err(changed());
        }
        let machine = self.next.machine_at(attachment.address);
        let is_taken = !network.is_free(&attachment.subnet, attachment.address, task.times.created)
            || machine.is_some_and(|machine| machine.subnet_id == attachment.subnet.as_str());
        if is_taken {
            return Err(Rejected::AddressTaken(attachment.address));
        }
        let public = attachment.public_ip.filter(|address| self.next.public_holder(*address).is_some());
        public.map_or(Ok(()), |address| Err(Rejected::AddressTaken(address)))
    }

    pub(super) fn stop_task(&mut self, arn: &TaskArn, why: Stop, at: Timestamp) -> Applied {
        let known = self.next.task(arn).ok_or_else(|| Rejected::TaskNotFound(arn.clone()))?;
        let mut task = Task::clone(known);
        let before = known.clone();
        if !Self::ask_to_stop(&mut task, why, at) {
            return Ok(Outcome::Task(before));
        }
        let after = self.put_task(task);
        if after.stopped_at().is_some() {
            self.note_progress(&before, &after, at);
        }
        Ok(Outcome::Task(after))
    }

    pub(super) fn reclaim_spot(&mut self, tasks: &[TaskArn], why: &Stop, at: Timestamp) -> Outcome {
        let mut interrupted = Vec::new();
        for arn in tasks {
            let Some(mut task) = self.next.task(arn).map(|known| Task::clone(known)) else { continue };
            if !task.is_spot() || task.is_to_stop() || !task.request_stop(why.clone(), at) {
                continue;
            }
            if let Some(row) = task.instance_arn().and_then(|arn| self.next.instance(&arn)) {
                // Nobody is shown this, so its version stays.
                let instance = ContainerInstance { reclaimed_at: Some(at), ..ContainerInstance::clone(&row.instance) };
                self.put_instance(instance);
            }
            interrupted.push(self.put_task(task));
        }
        Outcome::Tasks(interrupted)
    }

    pub(super) fn observe(
        &mut self,
        instance: &ContainerInstanceArn,
        seen: &[TaskObservation],
        at: Timestamp,
    ) -> Applied {
        self.known_instance(instance)?;
        let mut unknown = Vec::new();
        for observation in seen {
            let task = self.next.task(&observation.task);
            let Some(known) = task.filter(|task| task.instance_arn().as_ref() == Some(instance)) else {
                unknown.push(observation.task.clone());
                continue;
            };
            if known.holds_resources() {
                let mut task = Task::clone(known);
                let before = known.clone();
                if task.advance(observation, at) {
                    let after = self.put_task(task);
                    self.note_progress(&before, &after, at);
                }
            }
        }
        Ok(Outcome::Observed { unknown })
    }

    pub(super) fn end_tasks(&mut self, tasks: &[TaskArn], why: &Stop, at: Timestamp) -> Applied {
        for arn in tasks {
            if let Some(task) = self.next.task(arn).cloned() {
                self.end_task(&task, why, at);
            }
        }
        Ok(Outcome::Done)
    }

    /// Ends a task whose node can say nothing more of it.
    pub(super) fn end_task(&mut self, known: &Arc<Task>, why: &Stop, at: Timestamp) {
        if known.holds_resources() {
            let mut task = Task::clone(known);
            if task.end_without_node(why.clone(), at) {
                let after = self.put_task(task);
                self.note_progress(known, &after, at);
            }
        }
    }

    pub(super) fn protect_tasks(&mut self, tasks: &[TaskArn], until: Option<Timestamp>) -> Outcome {
        let known = tasks.iter().filter_map(|arn| self.next.task(arn)).filter(|task| task.holds_resources());
        let known: Vec<Arc<Task>> = known.cloned().collect();
        let as_asked = known.into_iter().map(|known| {
            if known.protected_until == until {
                return known;
            }
            let mut task = Task::clone(&known);
            task.protected_until = until;
            task.version += 1;
            self.put_task(task)
        });
        Outcome::Tasks(as_asked.collect())
    }

    pub(super) fn forget_tasks(&mut self, tasks: &[TaskArn]) -> Applied {
        let live = tasks.iter().find(|arn| self.next.task(arn).is_some_and(|task| task.holds_resources()));
        if let Some(arn) = live {
            return Err(Rejected::TaskNotStopped(arn.clone()));
        }
        for arn in tasks {
            if self.next.task(arn).is_some() {
                self.remove_task(arn);
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) fn forget_tokens(&mut self, scope: &Scope, before: Timestamp) -> Applied {
        let Some(row) = self.next.scope(scope) else { return Ok(Outcome::Done) };
        let old = row.tokens_by_time.iter().take_while(|(at, _)| *at < before);
        let old: Vec<_> = old.filter_map(|(_, key)| row.tokens.get(key).cloned()).collect();
        for record in old {
            self.remove_token(&record);
        }
        Ok(Outcome::Done)
    }
}

//! Which services a change may concern: found by comparing the newest snapshot with the one before, whose tables share all that
//! did not change.

use super::look::Looked;
use model::{InstanceStatus, Pool, SchedulingStrategy, ServiceArn, ServiceStatus, Timestamp};
use state::{ClusterRow, InstanceRow, ServiceRow, Snapshot};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// When a service is looked at again whose commit failed for a reason that no change will tell of, such as a full disk.
const AFTER_TROUBLE_MILLIS: i64 = 1_000;

/// When a service is looked at again that something else was faster to change; most often that change wakes the loop sooner. Not
/// at once, so that a plan which is refused again and again can never keep a core busy.
const AFTER_OVERTAKEN_MILLIS: i64 = 5;

#[derive(Default)]
pub(super) struct Watch {
    seen: Option<Arc<Snapshot>>,
    /// When to look at whom though nothing has changed.
    times: BTreeSet<(Timestamp, ServiceArn)>,
    time_of: BTreeMap<ServiceArn, Timestamp>,
    /// Those that have tasks without a place: whatever becomes free in their cluster may be it.
    unplaced: BTreeSet<ServiceArn>,
}

impl Watch {
    /// The services to look at now: daemons first, since replicas must not take the room they need.
    pub(super) fn due(&mut self, snapshot: Arc<Snapshot>, now: Timestamp) -> Vec<ServiceArn> {
        let mut due = BTreeSet::new();
        while self.times.first().is_some_and(|(when, _)| *when <= now) {
            let Some((_, arn)) = self.times.pop_first() else { break };
            self.time_of.remove(&arn);
            due.insert(arn);
        }
        for scope in snapshot.scopes() {
            for cluster in snapshot.clusters(scope, None) {
                let before = self.seen.as_ref().and_then(|seen| seen.cluster(&cluster.cluster.arn));
                self.changed(&snapshot, before, cluster, &mut due);
            }
        }
        let mut due: Vec<_> = due.into_iter().filter_map(|arn| Some((rank(snapshot.service(&arn)?)?, arn))).collect();
        due.sort();
        self.seen = Some(snapshot);
        due.into_iter().map(|(_, arn)| arn).collect()
    }

    fn changed(
        &self,
        snapshot: &Snapshot,
        before: Option<&ClusterRow>,
        cluster: &ClusterRow,
        due: &mut BTreeSet<ServiceArn>,
    ) {
        let nothing = cluster.before_all();
        let arn = &cluster.cluster.arn;
        let before = match Pool::of(arn) {
            Pool::Cluster => before,
            // No service is in it; its instances are news to those of all clusters.
            Pool::Fargate => Some(before.unwrap_or(&nothing)),
        };
        let Some(before) = before else {
            due.extend(cluster.services().map(|row| row.service.arn.clone()));
            return;
        };
        if std::ptr::eq(before, cluster) {
            return;
        }
        let changes = cluster.changes_since(before);
        due.extend(changes.services().map(|row| row.service.arn.clone()));
        let (mut room, mut standing) = (false, false);
        for (was, is) in changes.instances() {
            let change = InstanceChange::of(was, is);
            room |= change.room;
            standing |= change.standing;
            if change.standing || is.instance.status == InstanceStatus::Draining {
                let tasks = snapshot.live_tasks_on(&is.instance.arn);
                due.extend(tasks.filter_map(|task| ServiceArn::of_group(&task.arn.cluster, &task.group)));
            }
        }
        if room || standing {
            let served = |other: &&ServiceArn| match Pool::of(arn) {
                Pool::Cluster => other.cluster == *arn,
                Pool::Fargate => other.cluster.scope == arn.scope,
            };
            due.extend(self.unplaced.iter().filter(served).cloned());
        }
        if standing {
            let follows = |row: &&Arc<ServiceRow>| {
                row.service.scheduling == SchedulingStrategy::Daemon || row.service.az_rebalancing
            };
            due.extend(cluster.services().filter(follows).map(|row| row.service.arn.clone()));
        }
    }

    /// Keeps what a look came to.
    pub(super) fn remember(&mut self, arn: ServiceArn, looked: Looked, now: Timestamp) {
        if let Some(before) = self.time_of.remove(&arn) {
            self.times.remove(&(before, arn.clone()));
        }
        let (again, unplaced) = match looked {
            Looked::Settled { look_again, unplaced } => (look_again, unplaced),
            Looked::Overtaken => (Some(now.plus_millis(AFTER_OVERTAKEN_MILLIS)), self.unplaced.contains(&arn)),
            Looked::Trouble => (Some(now.plus_millis(AFTER_TROUBLE_MILLIS)), true),
        };
        if let Some(when) = again {
            self.times.insert((when, arn.clone()));
            self.time_of.insert(arn.clone(), when);
        }
        if unplaced {
            self.unplaced.insert(arn);
        } else {
            self.unplaced.remove(&arn);
        }
    }

    /// How long nothing is due, if nothing changes.
    pub(super) fn pause(&self, now: Timestamp) -> Duration {
        let first = self.times.first().map(|(when, _)| when.millis_since(now).max(0));
        first.map_or(Duration::MAX, |millis| Duration::from_millis(millis.unsigned_abs()))
    }
}

/// In which order; `None` for one that is over.
fn rank(row: &ServiceRow) -> Option<u8> {
    match (row.service.status, row.service.scheduling) {
        (ServiceStatus::Inactive, _) => None,
        (ServiceStatus::Active | ServiceStatus::Draining, SchedulingStrategy::Daemon) => Some(0),
        (ServiceStatus::Active | ServiceStatus::Draining, SchedulingStrategy::Replica) => Some(1),
    }
}

/// What a change of an instance may mean to services.
struct InstanceChange {
    /// Something of it is free that was not.
    room: bool,
    /// It can be used otherwise than before: it is new, drains, is back, has other attributes.
    standing: bool,
}

impl InstanceChange {
    fn of(was: Option<&Arc<InstanceRow>>, is: &Arc<InstanceRow>) -> Self {
        let Some(was) = was else { return Self { room: true, standing: true } };
        let (old, new) = (&was.instance, &is.instance);
        let standing = !Arc::ptr_eq(old, new)
            && (old.status != new.status
                || old.agent_connected != new.agent_connected
                || old.attributes != new.attributes
                || old.registered != new.registered);
        let (old, new) = (&was.remaining, &is.remaining);
        let room = new.cpu > old.cpu
            || new.memory > old.memory
            || !new.gpus.is_subset(&old.gpus)
            || new.interfaces > old.interfaces
            || old.ports.iter().any(|port| !new.ports.contains(port))
            || was.groups.keys().any(|group| !is.groups.contains_key(group));
        Self { room, standing }
    }
}

//! Managed scaling: what capacity providers make of the tasks that wait for their groups' instances.
//!
//! Instances come as soon as tasks wait; they go after a quarter of an hour of minutes' datapoints. Those are in memory alone: a server
//! that starts again begins to count anew, and lets instances go a little later.

use super::{container_instance, has_tasks};
use crate::{api::ec2::DEFAULT_TYPE, context::Context};
use model::{
    AutoScalingGroup, AutoScalingProvider, ClusterStatus, CpuUnits, GroupMember, Machine, MachineState, ManagedScaling,
    MemoryMib, Resources, Scope, Timestamp, instance_type,
};
use scheduler::managed::{DATAPOINTS, Demand, Standing, lacking};
use state::{Command, ScalingChange, Snapshot};
use std::{collections::BTreeMap, sync::Arc};

const MINUTE_MILLIS: i64 = 60_000;
/// How long an instance whose agent has not joined is on its way, however short its warm-up: the usual warm-up of the original. One
/// that never joins must not keep others from coming.
const JOIN_MILLIS: i64 = 300_000;

/// The datapoints of each provider, the newest last.
#[derive(Default)]
pub(super) struct Minutes(BTreeMap<(Scope, Arc<str>), Points>);

#[derive(Default)]
struct Points {
    last: Vec<u32>,
    /// When the next is due.
    next: Timestamp,
}

impl Minutes {
    /// Looks at all providers that scale their groups.
    pub(super) async fn look(&mut self, ctx: &Context) {
        let snapshot = ctx.store.snapshot();
        let all = snapshot.scopes().flat_map(|scope| snapshot.capacity_providers(scope));
        let scaling: Vec<_> = all.filter_map(|provider| Some((provider.clone(), provider.scaling()?))).collect();
        self.0.retain(|(scope, name), _| scaling.iter().any(|(one, _)| one.scope == *scope && one.name == *name));
        for (provider, scaling) in scaling {
            let Some(group) = snapshot.scaling_group(&provider.scope, &provider.group) else { continue };
            if group.deleting {
                continue;
            }
            let change = self.change(&snapshot, &provider, scaling, group, ctx.effects.now());
            if let Some(change) = change
                && let Err(error) = ctx.store.commit(Command::ChangeScalingGroup(Box::new(change))).await
            {
                tracing::debug!(provider = %provider.name, %error, "a group is scaled at the next look");
            }
        }
    }

    fn change(
        &mut self,
        snapshot: &Snapshot,
        provider: &AutoScalingProvider,
        scaling: ManagedScaling,
        group: &AutoScalingGroup,
        now: Timestamp,
    ) -> Option<ScalingChange> {
        let members: Vec<_> = snapshot.members(&group.scope, &group.name).collect();
        let standing = standing(snapshot, provider, scaling, group, &members, now);
        let points = self.0.entry((provider.scope.clone(), provider.name.clone())).or_default();
        // Half at most goes in one minute: instances go with a datapoint, and come at any time.
        let is_fresh = points.take(standing.reservation(&scaling), now);
        let datapoints = if is_fresh { points.last.as_slice() } else { &[] };
        let wanted = standing.wanted(&scaling, datapoints).map(|wanted| wanted.clamp(group.min, group.max));
        let wanted = wanted.filter(|wanted| *wanted != group.desired);
        let members = if provider.protects_tasks { protection(snapshot, &members) } else { Vec::new() };
        if wanted.is_none() && members.is_empty() {
            return None;
        }
        let sized =
            wanted.map_or_else(|| group.clone(), |wanted| AutoScalingGroup { desired: wanted, ..group.clone() });
        Some(ScalingChange { group: Some(sized), members, ..ScalingChange::of(group, now) })
    }
}

impl Points {
    /// Takes a minute's datapoint, if a minute has passed since the last.
    fn take(&mut self, reservation: u32, now: Timestamp) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now.plus_millis(MINUTE_MILLIS);
        self.last.push(reservation);
        let too_many = self.last.len().saturating_sub(DATAPOINTS);
        self.last.drain(..too_many);
        true
    }
}

/// Instances that have tasks are protected from scaling in, and others are not.
fn protection(snapshot: &Snapshot, members: &[&Arc<Machine>]) -> Vec<(String, GroupMember)> {
    let differs = |machine: &&&Arc<Machine>| {
        let member = machine.group.as_deref()?;
        let protected = has_tasks(snapshot, machine);
        (member.protected != protected).then(|| (machine.id.clone(), GroupMember { protected, ..member.clone() }))
    };
    members.iter().filter_map(|machine| differs(&machine)).collect()
}

fn standing(
    snapshot: &Snapshot,
    provider: &AutoScalingProvider,
    scaling: ManagedScaling,
    group: &AutoScalingGroup,
    members: &[&Arc<Machine>],
    now: Timestamp,
) -> Standing {
    let stay: Vec<_> = members
        .iter()
        .filter(|machine| machine.membership().is_some_and(|member| member.draining_since.is_none()))
        .collect();
    let is_new = |machine: &Machine| {
        let counts_at = machine.launched_at.plus_millis(i64::from(scaling.warmup) * 1000);
        let joins = container_instance(snapshot, machine).is_none();
        machine.state == MachineState::Pending
            || now < counts_at
            || (joins && now < machine.launched_at.plus_millis(JOIN_MILLIS))
    };
    let running = u32::try_from(stay.len()).unwrap_or(u32::MAX);
    let demands = demands(snapshot, provider);
    let empty = stay.iter().filter(|machine| !has_tasks(snapshot, machine)).count();
    Standing {
        running,
        empty: u32::try_from(empty).unwrap_or(u32::MAX),
        // What is still to be launched is on its way too.
        warming: group.desired > running || stay.iter().any(|machine| is_new(machine)),
        waits: !demands.is_empty(),
        lacking: size(snapshot, group, members).map_or(0, |size| lacking(&demands, &size)),
    }
}

/// The tasks that wait for the provider's instances, in all clusters that have it.
fn demands(snapshot: &Snapshot, provider: &AutoScalingProvider) -> Vec<Demand> {
    let named = provider.provider();
    let has = |row: &&state::ClusterRow| {
        row.cluster.status == ClusterStatus::Active && row.cluster.capacity_providers.contains(&named)
    };
    let clusters = snapshot.clusters(&provider.scope, None).filter(has);
    let tasks = clusters.flat_map(|row| row.waiting()).filter(|task| task.capacity_provider.as_ref() == Some(&named));
    let mut demands: Vec<Demand> = Vec::new();
    for task in tasks {
        let own =
            task.waiting.as_ref().is_some_and(|by| by.constraints.iter().any(|one| &*one.kind == "distinctInstance"));
        match demands.iter_mut().find(|known| known.reservation == task.reservation && known.alone == own) {
            Some(known) => known.count += 1,
            None => demands.push(Demand { reservation: task.reservation.clone(), count: 1, alone: own }),
        }
    }
    demands
}

/// What an instance of the group has when no task is on it: what one has registered, or what its type promises.
fn size(snapshot: &Snapshot, group: &AutoScalingGroup, members: &[&Arc<Machine>]) -> Option<Resources> {
    let registered = members.iter().find_map(|machine| {
        let arn = container_instance(snapshot, machine)?;
        Some(snapshot.instance(&arn)?.instance.registered.clone())
    });
    registered.or_else(|| {
        let template = snapshot.launch_template(&group.scope, &group.template.id)?;
        let data = &template.version(group.template.version)?.data;
        let kind = instance_type::find(data.instance_type.as_deref().unwrap_or(DEFAULT_TYPE))?;
        Some(Resources {
            cpu: CpuUnits(kind.vcpus * 1024),
            memory: MemoryMib(kind.memory_mib),
            interfaces: instance_type::task_interfaces(Some(kind.name), false),
            ..Resources::default()
        })
    })
}

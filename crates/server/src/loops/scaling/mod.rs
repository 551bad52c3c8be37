//! Keeps Auto Scaling groups at their sizes, and gives those of capacity providers the sizes that tasks need.
//!
//! One commit starts a group's machines and ties them to it; `loops::machines` makes them and ends them, as it does all others.

mod managed;

use super::machines::container_instance;
use crate::{
    api::{
        ApiError,
        ec2::{self, launch_templates},
        ecs::{auto_scaling_providers::DRAINING_HOOK, state_change::seconds},
    },
    context::Context,
};
use managed::Minutes;
use model::{
    Activity, ActivityKind, AutoScalingGroup, GroupMember, Machine, MachineState, Scope, Timestamp,
    auto_scaling_group::GROUP_TAG, network::SubnetId,
};
use scheduler::group::{Cause, GroupPlan, GroupView};
use state::{Command, ScalingChange, Snapshot, Topic};
use std::{collections::BTreeMap, time::Duration};

/// How often groups are looked at when nothing changes: tasks that end let a machine go, and time passes.
const EVERY: Duration = Duration::from_secs(1);
/// EC2's reason of a machine that its group has ended.
const BY_GROUP: &str = "Client.UserInitiatedShutdown: User initiated shutdown";

pub(super) async fn run(ctx: Context) {
    let mut changes = ctx.store.subscribe(Topic::Machines);
    let stop = ctx.effects.shutdown().clone();
    let mut minutes = Minutes::default();
    loop {
        minutes.look(&ctx).await;
        let groups: Vec<_> = ctx.store.snapshot().all_scaling_groups().cloned().collect();
        for group in groups {
            if stop.is_cancelled() {
                return;
            }
            look_after(&ctx, &group.scope, &group.name).await;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = ctx.effects.sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn look_after(ctx: &Context, scope: &Scope, name: &str) {
    let snapshot = ctx.store.snapshot();
    let Some(group) = snapshot.scaling_group(scope, name) else { return };
    let plan = plan(ctx, &snapshot, group);
    let mut next = AutoScalingGroup::clone(group);
    settle(&snapshot, &mut next, ctx.effects.now());
    if let Some(change) = change(ctx, &snapshot, group, next, &plan)
        && let Err(error) = ctx.store.commit(Command::ChangeScalingGroup(Box::new(change))).await
    {
        tracing::debug!(group = name, %error, "a group is looked after at the next look");
    }
}

fn plan(ctx: &Context, snapshot: &Snapshot, group: &AutoScalingGroup) -> GroupPlan {
    let of_group = |machine: &&Machine| {
        machine.state != MachineState::Terminated && machine.group.as_ref().is_some_and(|m| m.name == group.name)
    };
    let machines: Vec<&Machine> = snapshot.machines(&group.scope, None).map(|m| &**m).filter(of_group).collect();
    let zone = |subnet: &'_ String| Some((subnet.clone(), zone_of(ctx, snapshot, &group.scope, subnet)?));
    let zones: Vec<(String, String)> = group.subnets.iter().filter_map(zone).collect();
    let zones: BTreeMap<&str, String> = zones.iter().map(|(subnet, zone)| (subnet.as_str(), zone.clone())).collect();
    let is_busy = |machine: &Machine| is_busy(snapshot, machine);
    let view = GroupView { group, machines: &machines, zones: &zones, is_busy: &is_busy, now: ctx.effects.now() };
    scheduler::group::plan(&view)
}

/// What a plan comes to as one commit. None if nothing is to be changed.
fn change(
    ctx: &Context,
    snapshot: &Snapshot,
    group: &AutoScalingGroup,
    mut next: AutoScalingGroup,
    plan: &GroupPlan,
) -> Option<ScalingChange> {
    let mut change = ScalingChange::of(group, ctx.effects.now());
    if plan.gone {
        return Some(ScalingChange { group: None, ..change });
    }
    let there = snapshot.members(&group.scope, &group.name).count();
    let drained = plan.drain.iter().map(|(id, cause)| (id, *cause, true));
    for (id, cause, drains) in plan.terminate.iter().map(|(id, cause)| (id, *cause, false)).chain(drained) {
        let Some(machine) = snapshot.machine(&group.scope, id) else { continue };
        if !drains && matches!(cause, Cause::TooMany) && drains_first(snapshot, machine) {
            change.idle.extend(container_instance(snapshot, machine));
        }
        let left = there.saturating_sub(change.terminate.len() + change.drain.len() + 1);
        let how = why(cause, left + 1, left);
        leave(ctx, snapshot, &mut next, &mut change, &Leaving { machine, how: &how, drains });
    }
    start(ctx, snapshot, &mut next, &mut change, plan, there);
    let does_something = next != *group || !change.terminate.is_empty();
    does_something.then_some(ScalingChange { group: Some(next), ..change })
}

/// In AWS's words.
fn why(cause: Cause, from: usize, to: usize) -> String {
    match cause {
        Cause::TooMany => {
            format!("a difference between desired and actual capacity, shrinking the capacity from {from} to {to}")
        }
        Cause::Unhealthy => "an EC2 health check indicating it has been terminated or stopped".to_owned(),
        Cause::GroupDeleted => format!("a user request, shrinking the capacity from {from} to {to}"),
        Cause::Drained => format!("the end of its lifecycle hook {DRAINING_HOOK}"),
    }
}

/// A machine that leaves its group.
pub(crate) struct Leaving<'a> {
    pub(crate) machine: &'a Machine,
    /// In response to what.
    pub(crate) how: &'a str,
    /// Whether its tasks move first.
    pub(crate) drains: bool,
}

/// Has a machine leave: at once, or when its tasks have moved. What is noted of it.
pub(crate) fn leave(
    ctx: &Context,
    snapshot: &Snapshot,
    group: &mut AutoScalingGroup,
    change: &mut ScalingChange,
    leaving: &Leaving<'_>,
) -> Activity {
    let (machine, at) = (leaving.machine, change.at);
    match machine.group.as_deref().filter(|_| leaving.drains) {
        Some(member) => {
            let member = GroupMember { draining_since: Some(at), ..member.clone() };
            change.members.push((machine.id.clone(), member));
            change.drain.extend(container_instance(snapshot, machine));
        }
        None => {
            change.terminate.push(machine.id.clone());
            change.reason = Some(BY_GROUP.to_owned());
        }
    }
    // One that drained has been told of when it began to.
    let known = group
        .activities
        .iter()
        .rfind(|one| one.instance == machine.id && one.kind == ActivityKind::Terminate && one.ended_at.is_none());
    if let Some(known) = known {
        return known.clone();
    }
    let activity = Activity {
        id: ctx.effects.uuid(),
        kind: ActivityKind::Terminate,
        instance: machine.id.clone(),
        cause: format!("At {} an instance was taken out of service in response to {}.", seconds(at), leaving.how),
        started_at: at,
        ended_at: None,
        failure: None,
    };
    group.note(activity.clone());
    activity
}

fn start(
    ctx: &Context,
    snapshot: &Snapshot,
    group: &mut AutoScalingGroup,
    change: &mut ScalingChange,
    plan: &GroupPlan,
    there: usize,
) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for subnet in &plan.start {
        *counts.entry(subnet).or_default() += 1;
    }
    for (subnet, count) in counts {
        // The next look starts what is more than one launch may.
        match launched(ctx, snapshot, group, subnet, count.min(ec2::MAX_LAUNCH)) {
            Ok(machines) => change.start.extend(machines),
            // AWS goes on in the other zones; a zone that failed is tried again at the next look.
            Err(error) => note_failure(ctx, group, change.at, &error),
        }
    }
    for (index, machine) in change.start.iter().enumerate() {
        let (from, to) = (there + index, there + index + 1);
        let cause = format!(
            "At {} an instance was started in response to a difference between desired and actual capacity, increasing the \
             capacity from {from} to {to}.",
            seconds(change.at)
        );
        group.note(Activity {
            id: ctx.effects.uuid(),
            kind: ActivityKind::Launch,
            instance: machine.id.clone(),
            cause,
            started_at: change.at,
            ended_at: None,
            failure: None,
        });
    }
}

/// Machines as the group's template says, with the group's mark.
fn launched(
    ctx: &Context,
    snapshot: &Snapshot,
    group: &AutoScalingGroup,
    subnet: &str,
    count: usize,
) -> Result<Vec<Machine>, ApiError> {
    let template = launch_templates::find(snapshot, &group.scope, Some(&group.template.id), None)?;
    let version = launch_templates::version_of(template, &group.template.version.text())?;
    let mut machines = launch_templates::machines(ctx, snapshot, &group.scope, &version.data, subnet, count)?;
    for machine in &mut machines {
        let propagated = group.tags.iter().filter(|(_, tag)| tag.propagate);
        machine.tags.0.extend(propagated.map(|(key, tag)| (key.clone(), tag.value.clone())));
        machine.tags.0.insert(GROUP_TAG.to_owned(), group.name.clone());
        machine.group = Some(Box::new(GroupMember {
            name: group.name.clone(),
            template_id: template.id.clone(),
            template_name: template.name.clone(),
            template_version: version.number,
            protected: group.protects_new,
            draining_since: None,
        }));
    }
    Ok(machines)
}

/// Notes why nothing could be launched, once for each reason in a row.
fn note_failure(ctx: &Context, group: &mut AutoScalingGroup, at: Timestamp, error: &ApiError) {
    let failure = error.message.clone();
    if group.activities.last().is_some_and(|last| last.failure.as_ref() == Some(&failure)) {
        return;
    }
    tracing::warn!(group = group.name, error = failure, "an Auto Scaling group cannot launch instances; trying again");
    let cause = format!("At {} a difference between desired and actual capacity was found.", seconds(at));
    group.note(Activity {
        id: ctx.effects.uuid(),
        kind: ActivityKind::Launch,
        instance: String::new(),
        cause,
        started_at: at,
        ended_at: Some(at),
        failure: Some(failure),
    });
}

/// Notes what has come to its end.
fn settle(snapshot: &Snapshot, group: &mut AutoScalingGroup, now: Timestamp) {
    for activity in group.activities.iter_mut().filter(|activity| activity.ended_at.is_none()) {
        let state = snapshot.machine(&group.scope, &activity.instance).map(|machine| machine.state);
        let is_over = match (activity.kind, state) {
            (_, None | Some(MachineState::Terminated)) => true,
            (ActivityKind::Launch, Some(state)) => state != MachineState::Pending,
            (ActivityKind::Terminate, Some(_)) => false,
        };
        if is_over {
            activity.ended_at = Some(now);
        }
    }
}

/// Whether a machine has tasks that move before it goes, as its group's capacity provider wants it.
pub(crate) fn is_busy(snapshot: &Snapshot, machine: &Machine) -> bool {
    drains_first(snapshot, machine) && has_tasks(snapshot, machine)
}

/// Whether its group's capacity provider wants tasks to move before a machine goes.
fn drains_first(snapshot: &Snapshot, machine: &Machine) -> bool {
    let group = machine.group.as_ref().map(|member| member.name.as_str());
    let provider = group.and_then(|group| snapshot.provider_of_group(&machine.scope, group));
    provider.is_some_and(|provider| provider.drains)
}

/// Whether tasks that are no daemons' are on a machine.
fn has_tasks(snapshot: &Snapshot, machine: &Machine) -> bool {
    container_instance(snapshot, machine).is_some_and(|instance| snapshot.has_tasks_beside_daemons(&instance))
}

/// The zone of a subnet.
pub(crate) fn zone_of(ctx: &Context, snapshot: &Snapshot, scope: &Scope, subnet: &str) -> Option<String> {
    let id = SubnetId::parse(subnet).ok()?;
    let network = ec2::network_of(ctx, scope, snapshot);
    network.find_subnet(&id).ok().map(|subnet| subnet.availability_zone.clone())
}

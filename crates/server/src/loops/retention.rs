//! Forgets what has been kept long enough, a bounded amount at a time.

use super::Aging;
use crate::context::Context;
use model::{InstanceStatus, MachineState, Scope, ServiceStatus, TaskDefinitionStatus, Timestamp};
use state::{Command, Order, Snapshot};
use std::time::Duration;

/// How often the loop looks.
const EVERY: Duration = Duration::from_secs(60);
/// Tasks forgotten with one command: a few milliseconds of the writer's time.
const BATCH: usize = 1_000;
/// Commands per look, so that a flood of old tasks does not hold up everything else.
const BATCHES: usize = 20;
/// How long a client token is remembered. AWS: 24 hours for RunTask.
const TOKEN_LIFE_MILLIS: i64 = 24 * 3_600_000;
/// How long a local instance's join token is kept after it expired: its agent may still ask for a lost answer.
const ACTIVATION_LIFE_MILLIS: i64 = 24 * 3_600_000;
/// How long a terminated machine is described. AWS: about an hour.
const MACHINE_LIFE_MILLIS: i64 = 3_600_000;

pub(super) async fn run(ctx: Context) {
    let mut aging = Aging::default();
    while ctx.effects.sleep_unless_stopped(EVERY).await {
        let now = aging.look(ctx.effects.now(), ctx.effects.monotonic());
        let snapshot = ctx.store.snapshot();
        let scopes: Vec<Scope> = snapshot.scopes().cloned().collect();
        for scope in scopes {
            for command in due(&ctx, &snapshot, &scope, now) {
                if let Err(error) = ctx.store.commit(command).await {
                    tracing::debug!(%error, "something to be forgotten stays until the next look");
                }
            }
        }
    }
}

/// What is to be forgotten in a scope now.
fn due(ctx: &Context, snapshot: &Snapshot, scope: &Scope, now: Timestamp) -> Vec<Command> {
    let kept = i64::try_from(ctx.config.stopped_task_retention.as_millis()).unwrap_or(i64::MAX);
    let before = Timestamp(now.0.saturating_sub(kept));
    let metered = ctx.metered.forgettable();
    let mut commands =
        vec![Command::ForgetTokens { scope: scope.clone(), before: now.plus_millis(-TOKEN_LIFE_MILLIS) }];
    for cluster in snapshot.clusters(scope, None) {
        let arn = &cluster.cluster.arn;
        let old = snapshot.stopped_before(arn, before).filter(|task| metered.task(&task.arn));
        let old: Vec<_> = old.take(BATCH * BATCHES).map(|t| t.arn.clone()).collect();
        commands.extend(old.chunks(BATCH).map(|tasks| Command::ForgetTasks { tasks: tasks.to_vec() }));
        // AWS does not say how long an INACTIVE service is described; ours is as long as its last tasks.
        let over = |row: &&std::sync::Arc<state::ServiceRow>| {
            let since = row.service.deleted_at.unwrap_or(row.service.created_at);
            row.service.status == ServiceStatus::Inactive && since < before && row.live() == 0
        };
        let arns: Vec<_> = cluster.services().filter(over).map(|r| r.service.arn.clone()).take(BATCH).collect();
        if !arns.is_empty() {
            commands.push(Command::ForgetServices { arns });
        }
        let gone = |row: &&std::sync::Arc<state::InstanceRow>| {
            let old = row.instance.agent_changed_at < before && row.live == 0;
            row.instance.status == InstanceStatus::Inactive && old && metered.instance(&row.instance.arn)
        };
        let arns: Vec<_> = cluster.instances().filter(gone).map(|r| r.instance.arn.clone()).take(BATCH).collect();
        if !arns.is_empty() {
            commands.push(Command::ForgetContainerInstances { arns });
        }
    }
    let deleting = TaskDefinitionStatus::DeleteInProgress;
    for row in snapshot.task_definitions(scope, None, deleting, Order::Ascending, None).take(BATCH) {
        commands.push(Command::ForgetTaskDefinition { arn: row.arn.clone() });
    }
    // Those that an operator made stay until the operator deletes them.
    let unused = |a: &&std::sync::Arc<model::Activation>| {
        a.ec2_instance_id.is_some() && now.millis_since(a.expires_at) > ACTIVATION_LIFE_MILLIS
    };
    for activation in snapshot.activations(scope, None).filter(unused).take(BATCH) {
        commands.push(Command::DeleteActivation { scope: scope.clone(), id: activation.id.clone() });
    }
    let old_machine = |m: &&std::sync::Arc<model::Machine>| {
        let old = now.millis_since(m.state_changed_at) > MACHINE_LIFE_MILLIS;
        m.state == MachineState::Terminated && old && metered.machine(m)
    };
    let ids: Vec<_> = snapshot.machines(scope, None).filter(old_machine).map(|m| m.id.clone()).take(BATCH).collect();
    if !ids.is_empty() {
        commands.push(Command::ForgetMachines { scope: scope.clone(), ids });
    }
    commands
}

//! Brings the host's local instances to where the records want them: the only place that calls the [`MachineHost`].

use crate::{
    context::Context,
    machines::{MachineError, MachineHost, MachineSpec},
};
use model::{Activation, ContainerInstanceArn, Machine, MachineState, Stop, StopCode, Tags, vpc::DefaultVpc};
use sha2::{Digest, Sha256};
use state::{Command, Snapshot, Topic};
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

/// How often agents are looked after when nothing changes: the time until one that died is started again.
const EVERY: Duration = Duration::from_secs(2);
/// How long the token of a local instance works. It is used within a second, unless the host is stopped in between.
const TOKEN_LIFE_MILLIS: i64 = 10 * 60_000;

pub(super) async fn run(ctx: Context, host: Arc<dyn MachineHost>, link: SocketAddr) {
    let mut changes = ctx.store.subscribe(Topic::Machines);
    let stop = ctx.effects.shutdown().clone();
    loop {
        let machines: Vec<Arc<Machine>> = ctx.store.snapshot().all_machines().cloned().collect();
        for machine in &machines {
            if stop.is_cancelled() {
                return;
            }
            if let Err(error) = advance(&ctx, &*host, link, machine).await {
                tracing::warn!(machine = machine.id, %error, "a local instance is not where it should be; trying again");
            }
        }
        sweep(&*host, &machines).await;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = ctx.effects.sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One step of one machine.
async fn advance(
    ctx: &Context,
    host: &dyn MachineHost,
    link: SocketAddr,
    machine: &Machine,
) -> Result<(), MachineError> {
    match machine.state {
        MachineState::Pending | MachineState::Running => {
            if !host.is_running(&machine.id) {
                start(ctx, host, link, machine).await?;
            }
            if machine.state == MachineState::Pending {
                set(ctx, machine, MachineState::Running).await?;
            }
            Ok(())
        }
        MachineState::Stopping => {
            host.stop(&machine.id).await?;
            end_tasks(ctx, machine, "stopped").await?;
            set(ctx, machine, MachineState::Stopped).await
        }
        MachineState::ShuttingDown => {
            host.remove(&machine.id).await?;
            end_tasks(ctx, machine, "terminated").await?;
            if let Some(arn) = container_instance(&ctx.store.snapshot(), machine) {
                commit(ctx, Command::DeregisterContainerInstance { arn, force: true, at: ctx.effects.now() }).await?;
            }
            set(ctx, machine, MachineState::Terminated).await
        }
        MachineState::Stopped | MachineState::Terminated => Ok(()),
    }
}

/// Starts its agent. A token that was made for a start that failed is taken back: the next try makes its own.
async fn start(ctx: &Context, host: &dyn MachineHost, link: SocketAddr, machine: &Machine) -> Result<(), MachineError> {
    let spec = spec(ctx, host, link, machine).await?;
    let started = host.start(&spec).await;
    if started.is_err()
        && let Some((id, _)) = spec.token.as_deref().and_then(|token| token.split_once(':'))
    {
        commit(ctx, Command::DeleteActivation { scope: machine.scope.clone(), id: id.to_owned() }).await?;
    }
    started
}

async fn commit(ctx: &Context, command: Command) -> Result<(), MachineError> {
    ctx.store.commit(command).await.map(drop).map_err(|e| MachineError(e.to_string()))
}

async fn set(ctx: &Context, machine: &Machine, state: MachineState) -> Result<(), MachineError> {
    let reason = machine.state_reason.clone();
    let (scope, id, at) = (machine.scope.clone(), machine.id.clone(), ctx.effects.now());
    commit(ctx, Command::SetMachineState { scope, id, state, reason, at }).await
}

/// The container instance that the machine's agent registered, if it is still one.
fn container_instance(snapshot: &Snapshot, machine: &Machine) -> Option<ContainerInstanceArn> {
    let clusters = snapshot.clusters(&machine.scope, None);
    let mut rows = clusters.flat_map(|c| c.instances()).filter(|row| row.is_registered());
    rows.find(|row| row.instance.ec2_instance_id.as_deref() == Some(&machine.id)).map(|row| row.instance.arn.clone())
}

/// The tasks of a machine that is no more have ended; nobody else can say so.
async fn end_tasks(ctx: &Context, machine: &Machine, how: &str) -> Result<(), MachineError> {
    let snapshot = ctx.store.snapshot();
    let Some(arn) = container_instance(&snapshot, machine) else { return Ok(()) };
    let tasks: Vec<_> = snapshot.live_tasks_on(&arn).map(|task| task.arn.clone()).collect();
    if tasks.is_empty() {
        return Ok(());
    }
    let reason = format!("Host EC2 (instance {}) {how}.", machine.id).into();
    let why = Stop { code: StopCode::TerminationNotice, reason };
    commit(ctx, Command::EndTasks { tasks, why, at: ctx.effects.now() }).await
}

async fn spec(
    ctx: &Context,
    host: &dyn MachineHost,
    link: SocketAddr,
    machine: &Machine,
) -> Result<MachineSpec, MachineError> {
    let vpc = DefaultVpc::of(&machine.scope, ctx.config.vpc_cidr);
    let token = if host.has_joined(&machine.id) { None } else { Some(token(ctx, machine).await?) };
    let mut attributes = machine.attributes.clone();
    for (name, value) in [
        ("ecs.availability-zone", &machine.availability_zone),
        ("ecs.instance-type", &machine.instance_type),
        ("ecs.ami-id", &machine.image_id),
        ("ecs.vpc-id", &vpc.id),
        ("ecs.subnet-id", &machine.subnet_id),
    ] {
        attributes.insert(name.to_owned(), Some(value.clone()));
    }
    let (gateway, prefix_len) = (vpc.gateway(), vpc.cidr.prefix_len());
    Ok(MachineSpec { machine: machine.clone(), gateway, prefix_len, server: link, token, attributes })
}

/// A join token for this machine alone, in the form agents read: id, secret, and the CA to expect.
async fn token(ctx: &Context, machine: &Machine) -> Result<String, MachineError> {
    let (id, code) = (ctx.effects.uuid(), hex::encode(ctx.effects.bytes::<20>()));
    let now = ctx.effects.now();
    let activation = Activation {
        scope: machine.scope.clone(),
        id: id.clone(),
        code_sha256: hex::encode(Sha256::digest(code.as_bytes())),
        cluster: Some(machine.cluster.clone()),
        ec2_instance_id: Some(machine.id.clone()),
        description: Some(format!("local instance {}", machine.id)),
        registration_limit: 1,
        registrations: Vec::new(),
        created_at: now,
        expires_at: now.plus_millis(TOKEN_LIFE_MILLIS),
        tags: Tags::default(),
    };
    commit(ctx, Command::CreateActivation(activation)).await?;
    Ok(format!("{id}:{code}:{}", ctx.ca_fingerprint()))
}

/// Removes what machines that are no more, or were never recorded, have left on the host.
async fn sweep(host: &dyn MachineHost, machines: &[Arc<Machine>]) {
    let known: BTreeSet<&str> =
        machines.iter().filter(|m| m.state != MachineState::Terminated).map(|m| m.id.as_str()).collect();
    for id in host.list() {
        if !known.contains(id.as_str())
            && let Err(error) = host.remove(&id).await
        {
            tracing::warn!(machine = id, %error, "what a former local instance left could not be removed; trying again");
        }
    }
}

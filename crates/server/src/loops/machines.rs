//! Brings the host's local instances to where the records want them: the only place that calls the [`MachineHost`].

use crate::{
    context::Context,
    machines::{MachineError, MachineHost, MachinePlace, MachineSpec},
};
use model::{
    Activation, ContainerInstanceArn, Machine, MachineState, Stop, StopCode, Tags, attachment::private_dns_name,
    network::SubnetId, vpc::DefaultVpc,
};
use sha2::{Digest, Sha256};
use state::{Command, Snapshot, Topic};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

/// How often agents are looked after when nothing changes: the time until one that died is started again.
const EVERY: Duration = Duration::from_secs(2);
/// The longest pause between two tries of what fails; the first is [`EVERY`], and each doubles the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// EC2's code for a machine that is not well through no fault of its user; the host's words follow it.
const HOST_FAULT: &str = "Server.InternalError: ";
/// How long the token of a local instance works. It is used within a second, unless the host is stopped in between.
const TOKEN_LIFE_MILLIS: i64 = 10 * 60_000;

pub(super) async fn run(ctx: Context, host: Arc<dyn MachineHost>, link: SocketAddr) {
    let mut changes = ctx.store.subscribe(Topic::Machines);
    let stop = ctx.effects.shutdown().clone();
    let mut troubles = Troubles::default();
    loop {
        let machines: Vec<Arc<Machine>> = ctx.store.snapshot().all_machines().cloned().collect();
        for machine in &machines {
            if stop.is_cancelled() {
                return;
            }
            look_after(&ctx, &*host, link, machine, &mut troubles).await;
        }
        sweep(&ctx, &*host, &machines, &mut troubles).await;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = ctx.effects.sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What failed lately, by machine: tried again after ever longer pauses, and told once for each different error.
#[derive(Default)]
struct Troubles(BTreeMap<String, Trouble>);

struct Trouble {
    /// Where the machine was to be brought from; when that changes, something else is to be done, and at once.
    from: MachineState,
    error: String,
    pause: Duration,
    /// When it is tried again, on the monotonic clock.
    next: Duration,
}

impl Troubles {
    fn must_wait(&self, id: &str, from: MachineState, now: Duration) -> bool {
        self.0.get(id).is_some_and(|trouble| trouble.from == from && now < trouble.next)
    }

    /// Remembers a failure; true if it is another one than before.
    fn failed(&mut self, id: &str, from: MachineState, error: String, now: Duration) -> bool {
        let before = self.0.get(id).filter(|before| before.from == from);
        let pause = before.map_or(EVERY, |before| (before.pause * 2).min(LONGEST_PAUSE));
        let news = before.is_none_or(|before| before.error != error);
        self.0.insert(id.to_owned(), Trouble { from, error, pause, next: now + pause });
        news
    }

    /// Forgets it; true if there was any.
    fn passed(&mut self, id: &str) -> bool {
        self.0.remove(id).is_some()
    }
}

/// Brings one machine on, unless that failed a moment ago. What the host says against it is shown as the machine's reason
/// as long as it lasts.
async fn look_after(
    ctx: &Context,
    host: &dyn MachineHost,
    link: SocketAddr,
    machine: &Machine,
    troubles: &mut Troubles,
) {
    if troubles.must_wait(&machine.id, machine.state, ctx.effects.monotonic()) {
        return;
    }
    match advance(ctx, host, link, machine).await {
        Ok(()) if troubles.passed(&machine.id) => {
            tracing::info!(machine = machine.id, "a local instance is well again")
        }
        Ok(()) => {}
        Err(error) => {
            let text = error.to_string();
            if troubles.failed(&machine.id, machine.state, text.clone(), ctx.effects.monotonic()) {
                tracing::warn!(
                    machine = machine.id,
                    error = text,
                    "a local instance is not where it should be; trying again"
                );
            }
            let wanted_up = match machine.state {
                MachineState::Pending | MachineState::Running => true,
                // Their reason says who stopped them, which is what is asked of it.
                MachineState::Stopping
                | MachineState::Stopped
                | MachineState::ShuttingDown
                | MachineState::Terminated => false,
            };
            let reason = Some(format!("{HOST_FAULT}{text}")).filter(|_| wanted_up);
            if reason.is_some()
                && reason != machine.state_reason
                && let Err(error) = set(ctx, machine, machine.state, reason).await
            {
                tracing::debug!(machine = machine.id, %error, "its reason is recorded at the next try");
            }
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
            // What kept it from running is over.
            let reason = machine.state_reason.clone().filter(|reason| !reason.starts_with(HOST_FAULT));
            if machine.state == MachineState::Pending || reason != machine.state_reason {
                set(ctx, machine, MachineState::Running, reason).await?;
            }
            Ok(())
        }
        MachineState::Stopping => {
            host.stop(&machine.id).await?;
            end_tasks(ctx, machine, "stopped").await?;
            set(ctx, machine, MachineState::Stopped, machine.state_reason.clone()).await
        }
        MachineState::ShuttingDown => {
            host.remove(&machine.id).await?;
            end_tasks(ctx, machine, "terminated").await?;
            if let Some(arn) = container_instance(&ctx.store.snapshot(), machine) {
                commit(ctx, Command::DeregisterContainerInstance { arn, force: true, at: ctx.effects.now() }).await?;
            }
            set(ctx, machine, MachineState::Terminated, machine.state_reason.clone()).await
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

async fn set(
    ctx: &Context,
    machine: &Machine,
    state: MachineState,
    reason: Option<String>,
) -> Result<(), MachineError> {
    let (scope, id, at) = (machine.scope.clone(), machine.id.clone(), ctx.effects.now());
    commit(ctx, Command::SetMachineState { scope, id, state, reason, at }).await
}

/// The container instance that the machine's agent registered, if it is still one.
pub(super) fn container_instance(snapshot: &Snapshot, machine: &Machine) -> Option<ContainerInstanceArn> {
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
    let place = place(ctx, &vpc, machine);
    Ok(MachineSpec { machine: machine.clone(), gateway, prefix_len, server: link, token, place, attributes })
}

fn place(ctx: &Context, vpc: &DefaultVpc, machine: &Machine) -> MachinePlace {
    let snapshot = ctx.store.snapshot();
    let made = snapshot.network(&machine.scope).and_then(|network| {
        let id = SubnetId::parse(machine.subnet_id.as_str()).ok()?;
        Some(network.find_subnet(&id).ok()?.cidr)
    });
    // Until somebody changes it, the network is derived.
    let subnet = made.or_else(|| vpc.subnets.iter().find(|subnet| subnet.id == machine.subnet_id).map(|s| s.cidr));
    let mut zones = model::vpc::zones(&machine.scope);
    MachinePlace {
        vpc: vpc.id.clone(),
        vpc_cidr: vpc.cidr,
        security_group: vpc.security_group_id.clone(),
        subnet_cidr: subnet,
        availability_zone_id: zones.find(|(zone, _)| *zone == machine.availability_zone).map(|(_, id)| id),
        private_dns_name: private_dns_name(machine.private_ip, machine.scope.region.as_str()),
    }
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
async fn sweep(ctx: &Context, host: &dyn MachineHost, machines: &[Arc<Machine>], troubles: &mut Troubles) {
    let known: BTreeSet<&str> =
        machines.iter().filter(|m| m.state != MachineState::Terminated).map(|m| m.id.as_str()).collect();
    let left: BTreeSet<String> = host.list().into_iter().filter(|id| !known.contains(id.as_str())).collect();
    troubles.0.retain(|id, _| known.contains(id.as_str()) || left.contains(id));
    for id in left {
        if troubles.must_wait(&id, MachineState::Terminated, ctx.effects.monotonic()) {
            continue;
        }
        match host.remove(&id).await {
            Ok(()) => drop(troubles.passed(&id)),
            Err(error) => {
                let text = error.to_string();
                if troubles.failed(&id, MachineState::Terminated, text.clone(), ctx.effects.monotonic()) {
                    tracing::warn!(
                        machine = id,
                        error = text,
                        "what a former instance left is not removed yet; trying again"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_ever_later_and_told_once() {
        let (mut troubles, mut now, mut pauses) = (Troubles::default(), Duration::ZERO, Vec::new());
        for round in 0..7 {
            let news = troubles.failed("i-1", MachineState::Pending, "no room".to_owned(), now);
            assert_eq!(news, round == 0);
            let begin = now;
            while troubles.must_wait("i-1", MachineState::Pending, now) {
                now += Duration::from_millis(500);
            }
            pauses.push((now - begin).as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30]);
        assert!(troubles.failed("i-1", MachineState::Pending, "no air".to_owned(), now), "another error is news");
        assert!(!troubles.must_wait("i-1", MachineState::Stopping, now), "something else is wanted of it now");
        assert!(!troubles.must_wait("i-2", MachineState::Pending, now), "others do not wait for it");
        assert!(troubles.passed("i-1") && !troubles.passed("i-1"));
        assert!(!troubles.must_wait("i-1", MachineState::Pending, now));
    }
}

//! From what a cluster looks like to what needs attention, and what to do about it. Pure.

use super::facts::{Attention, Cluster, Instance, Kind, Level};
use crate::cli::wait;
use jiff::Timestamp;
use model::fargate::POOL_CLUSTER;
use shapes::ecs;
use std::collections::BTreeMap;

/// A task that is pending for longer than this is told of: a local image starts in a second, a large one is pulled in a minute.
const PENDING_LONG_SECONDS: i64 = 60;
/// A machine that has not registered for this long is told of; a local one needs about a second.
const REGISTERING_LONG_SECONDS: i64 = 60;

/// How a container ends that is stopped, and how it does if it does not heed that.
const BY_SIGTERM: i32 = 128 + 15;
const BY_SIGKILL: i32 = 128 + 9;

/// The tasks of a cluster that were looked at, and where looking ended.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Tasks that shall run and do not yet.
    pub(super) pending: Vec<ecs::Task>,
    /// Tasks that stopped in the window.
    pub(super) stopped: Vec<ecs::Task>,
    /// Tasks of instances that have nothing left, by the instance's ARN.
    pub(super) on_full: BTreeMap<String, Vec<ecs::Task>>,
    /// What is said if not all tasks were looked at.
    pub(super) partly: Option<String>,
    /// Whether Fargate has machines, or the cluster something on Fargate.
    pub(super) fargate: bool,
}

/// A machine that EC2 knows and that belongs to no container instance.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) launched: Option<Timestamp>,
}

pub(in crate::cli) fn millis(at: Option<wire::Timestamp>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::from_millisecond(at.as_millis()).ok())
}

/// RFC 3339, to the second.
pub(in crate::cli) fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How long something lasts, in the unit a person would use.
pub(in crate::cli) fn lasting(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

fn since(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map(|at| format!(" for {}", lasting(now.as_second() - at.as_second()))).unwrap_or_default()
}

/// Whether a stopped task failed: it did not start, or one of its containers ended by itself and badly.
pub(in crate::cli) fn failure(task: &ecs::Task) -> Option<Kind> {
    match task.stop_code.as_deref() {
        Some("TaskFailedToStart") => Some(Kind::TaskFailedToStart),
        Some("EssentialContainerExited") => {
            let bad = |c: &ecs::Container| c.exit_code.is_none_or(|code| code != 0);
            task.containers.iter().flatten().any(bad).then_some(Kind::TaskFailed)
        }
        Some(_) | None => None,
    }
}

/// Everything about one cluster.
pub(super) fn cluster(cluster: &Cluster, looked: &Looked, now: Timestamp) -> Vec<Attention> {
    let mut found = Vec::new();
    for instance in &cluster.instances {
        found.extend(self::instance(cluster, instance, now));
        found.extend(over_capacity(cluster, instance, looked));
    }
    // Tasks of Fargate need none, and those of a group's provider bring theirs.
    let busy = cluster.tasks.pending + cluster.tasks.running > 0;
    let can_be_placed = busy || looked.fargate || !cluster.capacity_providers.is_empty();
    if cluster.instances.is_empty() && cluster.status == "ACTIVE" && !can_be_placed {
        found.push(Attention {
            level: Level::Notice,
            kind: Kind::ClusterWithoutInstances,
            cluster: Some(cluster.name.clone()),
            what: "no container instances; tasks of launch type EC2 cannot be placed".to_owned(),
            why: None,
            since: None,
            resources: vec![cluster.arn.clone()],
            next: format!("for tasks of EC2: longshore up --cluster {} --size 1", cluster.name),
        });
    }
    found.extend(failures(cluster, &looked.stopped));
    found.extend(pending(cluster, &looked.pending, now));
    if let Some(partly) = &looked.partly {
        found.push(Attention {
            level: Level::Notice,
            kind: Kind::PartlyLookedAt,
            cluster: Some(cluster.name.clone()),
            what: partly.clone(),
            why: None,
            since: None,
            resources: Vec::new(),
            next: format!("aws ecs list-tasks --cluster {} --desired-status STOPPED", cluster.name),
        });
    }
    found
}

/// Everything about the machines given to Fargate.
pub(super) fn pool(machines: &[Instance], now: Timestamp) -> Vec<Attention> {
    let pool = Cluster { name: POOL_CLUSTER.to_owned(), ..Cluster::default() };
    machines.iter().filter_map(|machine| instance(&pool, machine, now)).chain(shared_kernels(machines)).collect()
}

/// Somebody wanted it so, or the machine has no gVisor that can be used: only its agent's log tells which.
fn shared_kernels(machines: &[Instance]) -> Option<Attention> {
    let shares = |machine: &&Instance| machine.agent_connected && machine.runtime.as_deref() == Some("runc");
    let found: Vec<&Instance> = machines.iter().filter(shares).collect();
    let first = found.first()?;
    let which = match found.len() {
        1 => first.name().to_owned(),
        n => format!("{} and {} more", first.name(), n - 1),
    };
    Some(Attention {
        level: Level::Notice,
        kind: Kind::FargateSharesKernel,
        cluster: Some(POOL_CLUSTER.to_owned()),
        what: format!("{which}: given to Fargate without gVisor: tasks share the machine's kernel (runtime runc)"),
        why: None,
        since: None,
        resources: found.iter().map(|machine| machine.arn.clone()).collect(),
        next: "apt-get install -t bookworm-backports runsc there and start `longshore agent --fargate` again"
            .to_owned(),
    })
}

fn instance(cluster: &Cluster, instance: &Instance, now: Timestamp) -> Option<Attention> {
    let name = instance.name();
    let at = instance.agent_since.as_deref().and_then(|text| text.parse().ok());
    let told = |level, kind, what, why, next| Attention {
        level,
        kind,
        cluster: Some(cluster.name.clone()),
        what,
        why,
        since: instance.agent_since.clone(),
        resources: vec![instance.arn.clone()],
        next,
    };
    if !instance.agent_connected {
        let on_it = match instance.running_tasks + instance.pending_tasks {
            0 => String::new(),
            1 => "; what became of its task is not known".to_owned(),
            n => format!("; what became of its {n} tasks is not known"),
        };
        let stopped = matches!(instance.machine_state.as_deref(), Some("stopped" | "stopping"));
        let is = if stopped { "stopped" } else { "agent disconnected" };
        let what = format!("{name}: {is}{}{on_it}", since(at, now));
        // One that somebody stopped is as it was wanted.
        let (level, next) = match instance.machine_state {
            Some(_) if stopped => (Level::Notice, format!("aws ec2 start-instances --instance-ids {name}")),
            Some(_) => (
                Level::Error,
                format!(
                    "the server starts it again; if not, see instances/{name}/agent.log in its data directory, or \
                     replace it: aws ec2 terminate-instances --instance-ids {name}"
                ),
            ),
            None => (
                Level::Error,
                format!(
                    "start `longshore agent` there, or let it go: aws ecs deregister-container-instance --force \
                     --cluster {} --container-instance {}",
                    cluster.name, instance.id
                ),
            ),
        };
        return Some(told(level, Kind::AgentDisconnected, what, instance.machine_reason.clone(), next));
    }
    (instance.status == "DRAINING").then(|| {
        let left = instance.running_tasks + instance.pending_tasks;
        let what = format!("{name}: draining, {left} tasks left on it");
        let next = format!(
            "aws ecs update-container-instances-state --status ACTIVE --cluster {} --container-instances {}",
            cluster.name, instance.id
        );
        Attention { since: None, ..told(Level::Notice, Kind::InstanceDraining, what, None, next) }
    })
}

fn over_capacity(cluster: &Cluster, instance: &Instance, looked: &Looked) -> Option<Attention> {
    let tasks = looked.on_full.get(&instance.arn)?;
    let sum = |of: fn(&ecs::Task) -> Option<&String>| -> i64 {
        tasks.iter().filter_map(|task| of(task)?.parse::<i64>().ok()).sum()
    };
    let (cpu, memory) = (sum(|t| t.cpu.as_ref()), sum(|t| t.memory.as_ref()));
    if cpu <= instance.cpu.registered && memory <= instance.memory.registered {
        return None;
    }
    let (cpus, memories) = (instance.cpu.registered, instance.memory.registered);
    Some(Attention {
        level: Level::Warning,
        kind: Kind::InstanceOverCapacity,
        cluster: Some(cluster.name.clone()),
        what: format!(
            "{}: over capacity, its tasks hold {cpu} CPU units of {cpus} and {memory} MiB of {memories}",
            instance.name()
        ),
        why: Some("it came back smaller than it was when they were placed".to_owned()),
        since: None,
        resources: vec![instance.arn.clone()],
        next: format!("longshore ps --cluster {}, and stop some of its tasks: aws ecs stop-task", cluster.name),
    })
}

pub(in crate::cli) fn id(arn: Option<&str>) -> &str {
    arn.and_then(|arn| arn.rsplit('/').next()).unwrap_or_default()
}

/// Whether the container looks like one that was stopped, because another ended or somebody asked: it went by the signal of a
/// stop, or by the one that follows it, and nobody says more. The wire has no times of containers.
fn was_stopped(c: &ecs::Container) -> bool {
    matches!(c.exit_code, Some(BY_SIGTERM | BY_SIGKILL)) && c.reason.as_deref().is_none_or(str::is_empty)
}

/// Why a task ended, from the container that knows: one that waited in vain for another, which was only stopped for it; else
/// one that ended badly by itself, or could not be started; and only then one that was stopped.
pub(in crate::cli) fn reason(task: &ecs::Task) -> String {
    let told = |c: &ecs::Container| {
        let name = c.name.as_deref().unwrap_or_default();
        match (c.exit_code, c.reason.as_deref().filter(|r| !r.is_empty())) {
            (Some(0), _) | (None, None) => None,
            (Some(code), Some(reason)) => Some(format!("{name} exited with {code}: {reason}")),
            (Some(code), None) => Some(format!("{name} exited with {code}")),
            (None, Some(reason)) => Some(format!("{name}: {reason}")),
        }
    };
    let in_vain = |c: &&ecs::Container| c.reason.as_deref().is_some_and(|r| r.starts_with("ContainerDependencyError"));
    let containers = || task.containers.iter().flatten();
    let by_itself = || containers().filter(|c| !was_stopped(c)).find_map(told);
    let by_container = containers().filter(in_vain).find_map(told).or_else(by_itself);
    let by_container = by_container.or_else(|| containers().find_map(told));
    by_container.or_else(|| task.stopped_reason.clone()).unwrap_or_else(|| "no reason is known".to_owned())
}

/// What helps against it.
pub(in crate::cli) fn remedy(cluster: &str, kind: Kind, why: &str, task: &ecs::Task) -> String {
    let (task_id, definition) = (id(task.task_arn.as_deref()), id(task.task_definition_arn.as_deref()));
    if why.contains("OutOfMemory") {
        return format!("give it more memory in a new revision of {definition}: aws ecs register-task-definition");
    }
    if why.contains("CannotPull") {
        let image = task.containers.iter().flatten().find_map(|c| c.image.as_deref()).unwrap_or_default();
        return format!(
            "is there {image}, and may the instance have it? (--insecure-registry, --registry-auth, --registry-mirror)"
        );
    }
    if kind == Kind::TaskFailed {
        return format!("longshore logs --cluster {cluster} --task-id {task_id}");
    }
    format!("aws ecs describe-tasks --cluster {cluster} --tasks {task_id}")
}

/// Failures of one definition for one reason are one thing to look at, however many there are.
fn failures(cluster: &Cluster, stopped: &[ecs::Task]) -> Vec<Attention> {
    let mut groups: BTreeMap<(Kind, &str, String), Vec<&ecs::Task>> = BTreeMap::new();
    for task in stopped {
        if let Some(kind) = failure(task) {
            let definition = id(task.task_definition_arn.as_deref());
            groups.entry((kind, definition, reason(task))).or_default().push(task);
        }
    }
    let groups = groups.into_iter().map(|((kind, definition, why), mut tasks)| {
        tasks.sort_by_key(|task| task.stopped_at.map(|at| at.as_millis()));
        let last = tasks[tasks.len() - 1];
        let did = if kind == Kind::TaskFailedToStart { "did not start" } else { "failed" };
        let what = match tasks.len() {
            1 => format!("task {} of {definition} {did}", id(last.task_arn.as_deref())),
            n => format!("{n} tasks of {definition} {did}, last {}", id(last.task_arn.as_deref())),
        };
        Attention {
            level: Level::Error,
            kind,
            cluster: Some(cluster.name.clone()),
            what,
            since: millis(tasks[0].stopped_at).map(rfc3339),
            resources: tasks.iter().filter_map(|task| task.task_arn.clone()).collect(),
            next: remedy(&cluster.name, kind, &why, last),
            why: Some(why),
        }
    });
    groups.collect()
}

fn pending(cluster: &Cluster, tasks: &[ecs::Task], now: Timestamp) -> Vec<Attention> {
    /// When it was made, and the task.
    type Waiting<'a> = (Option<Timestamp>, &'a ecs::Task);
    let mut groups: BTreeMap<(String, String), Vec<Waiting<'_>>> = BTreeMap::new();
    for task in tasks {
        let created = millis(task.created_at);
        if created.is_some_and(|at| now.as_second() - at.as_second() < PENDING_LONG_SECONDS) {
            continue;
        }
        let on = task.container_instance_arn.as_deref().unwrap_or_default();
        let instance = cluster.instances.iter().find(|i| i.arn == on);
        let name = instance.map(Instance::name).unwrap_or_default().to_owned();
        let why = match instance {
            Some(instance) if !instance.agent_connected => format!("the agent of {name} is disconnected"),
            Some(_) | None => match wait::state_of(task).as_str() {
                "PENDING" => format!("{name} has not begun with it"),
                state => format!("{} on {name}", state.trim_start_matches("PENDING, ")),
            },
        };
        groups.entry((id(task.task_definition_arn.as_deref()).to_owned(), why)).or_default().push((created, task));
    }
    let groups = groups.into_iter().map(|((definition, why), tasks)| {
        let first = tasks.iter().filter_map(|(at, _)| *at).min();
        let task_id = id(tasks[0].1.task_arn.as_deref());
        let (who, is) = match tasks.len() {
            1 => (format!("task {task_id}"), "is"),
            n => (format!("{n} tasks"), "are"),
        };
        Attention {
            level: Level::Warning,
            kind: Kind::TaskPendingLong,
            cluster: Some(cluster.name.clone()),
            what: format!("{who} of {definition} {is} pending{}", since(first, now)),
            why: Some(why),
            since: first.map(rfc3339),
            resources: tasks.iter().filter_map(|(_, task)| task.task_arn.clone()).collect(),
            next: format!("aws ecs describe-tasks --cluster {} --tasks {task_id}", cluster.name),
        }
    });
    groups.collect()
}

/// Machines that should be container instances and are not.
pub(super) fn machines(machines: &[Machine], now: Timestamp) -> Vec<Attention> {
    let troubled = machines.iter().filter_map(|machine| {
        let young = machine.launched.is_some_and(|at| now.as_second() - at.as_second() < REGISTERING_LONG_SECONDS);
        let what = match (machine.state.as_str(), &machine.reason) {
            ("pending" | "running", Some(_)) => format!("{}: cannot be started", machine.id),
            ("pending" | "running", None) if !young => {
                format!("{}: has not registered{}", machine.id, since(machine.launched, now))
            }
            (_, _) => return None,
        };
        Some(Attention {
            level: Level::Error,
            kind: Kind::MachineInTrouble,
            cluster: None,
            what,
            why: machine.reason.clone(),
            since: machine.launched.map(rfc3339),
            resources: vec![machine.id.clone()],
            next: format!(
                "see instances/{}/agent.log in the server's data directory, or: aws ec2 terminate-instances --instance-ids {}",
                machine.id, machine.id
            ),
        })
    });
    troubled.collect()
}

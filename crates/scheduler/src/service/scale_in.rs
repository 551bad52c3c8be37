//! Which tasks go when there are too many.
//!
//! The strategies turned round: binpack empties the instance that will have most left, spread takes from where most are.
//! Without a strategy the zone with most tasks of the service gives first, and in it the instance with most of them.
//! Source: "Task placement", `UpdateService`. Chance is replaced by age, the youngest goes first: a plan can be made again.

use super::{
    count::{Member, number},
    pass::Pass,
};
use model::{ContainerInstanceId, PlacementStrategy, Task};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What decides between tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The fullest zone, in it the instance with most tasks.
    Zones,
    /// The instance with most tasks.
    Instances,
    /// The instance with most CPU units left.
    Cpu,
    /// The instance with most memory left.
    Memory,
}

impl Order {
    fn of(strategy: &[PlacementStrategy]) -> Self {
        let Some(first) = strategy.first() else { return Self::Zones };
        let field = first.field.as_deref().unwrap_or_default();
        if first.kind.eq_ignore_ascii_case("binpack") {
            return if field.eq_ignore_ascii_case("cpu") { Self::Cpu } else { Self::Memory };
        }
        let by_instance = field.eq_ignore_ascii_case("instanceId") || field.eq_ignore_ascii_case("host");
        // Other attributes than the zone are not known here; balance among zones is what all of them are mostly for.
        if by_instance { Self::Instances } else { Self::Zones }
    }
}

/// The instances of a zone, or of all of them where zones do not matter.
#[derive(Default)]
struct Bucket<'a> {
    /// Tasks of the service.
    tasks: u32,
    /// Those that have candidates, by how willing they are to give one.
    instances: BTreeSet<(u64, &'a ContainerInstanceId)>,
}

/// An instance with candidates.
struct Home<'a> {
    zone: Option<&'a str>,
    /// The oldest first.
    candidates: Vec<&'a Task>,
    willing: u64,
}

/// Chooses `count` of `free`, as the service's strategy says. `all` are the tasks among which balance is kept, except those
/// that have been chosen to go already.
pub(super) fn choose<'a>(
    pass: &Pass<'a>,
    free: &[Member<'a>],
    all: &[Member<'a>],
    gone: &[&'a Task],
    count: u32,
) -> Vec<&'a Task> {
    if count == 0 {
        return Vec::new();
    }
    // Those that wait for room hold none, and are the first to go.
    let (waiting, free): (Vec<_>, Vec<_>) = free.iter().map(|m| m.task).partition(|task| task.waits());
    let mut chosen: Vec<&'a Task> = waiting.into_iter().take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
    let count = count - number(chosen.len());
    if number(free.len()) <= count {
        chosen.extend(free);
        return chosen;
    }
    let order = Order::of(pass.strategy());
    let zone_of = |task: &'a Task| match order {
        Order::Zones => task.availability_zone.as_deref(),
        Order::Instances | Order::Cpu | Order::Memory => None,
    };
    let gone: HashSet<_> = gone.iter().map(|task| &task.arn).collect();
    let mut buckets: HashMap<Option<&str>, Bucket<'a>> = HashMap::new();
    let mut crowd: HashMap<&ContainerInstanceId, u64> = HashMap::new();
    for task in all.iter().map(|m| m.task).filter(|task| !gone.contains(&task.arn)) {
        let Some(instance) = &task.container_instance else { continue };
        buckets.entry(zone_of(task)).or_default().tasks += 1;
        *crowd.entry(instance).or_default() += 1;
    }
    let mut homes: HashMap<&ContainerInstanceId, Home<'a>> = HashMap::new();
    for task in free {
        let Some(instance) = &task.container_instance else { continue };
        let home = homes.entry(instance).or_insert_with(|| Home {
            zone: zone_of(task),
            candidates: Vec::new(),
            willing: willing(pass, order, instance, crowd.get(instance).copied().unwrap_or_default()),
        });
        home.candidates.push(task);
    }
    for (instance, home) in &homes {
        buckets.entry(home.zone).or_default().instances.insert((home.willing, instance));
    }
    chosen.extend((0..count).filter_map(|_| take(order, &mut buckets, &mut homes)));
    chosen
}

/// How willing an instance is to give a task: the greatest gives first.
fn willing(pass: &Pass<'_>, order: Order, instance: &ContainerInstanceId, tasks: u64) -> u64 {
    let left = || pass.view.field.remaining(instance);
    match order {
        Order::Zones | Order::Instances => tasks,
        // Without an answer the instance with the fewest tasks has most left.
        Order::Cpu => left().map_or(u64::MAX / 2 - tasks, |(cpu, _)| u64::from(cpu.0)),
        Order::Memory => left().map_or(u64::MAX / 2 - tasks, |(_, memory)| u64::from(memory.0)),
    }
}

fn take<'a>(
    order: Order,
    buckets: &mut HashMap<Option<&str>, Bucket<'a>>,
    homes: &mut HashMap<&'a ContainerInstanceId, Home<'a>>,
) -> Option<&'a Task> {
    let open = buckets.iter_mut().filter(|(_, bucket)| !bucket.instances.is_empty());
    let (_, bucket) = open.max_by_key(|(zone, bucket)| (bucket.tasks, **zone))?;
    let (_, instance) = bucket.instances.pop_last()?;
    let home = homes.get_mut(instance)?;
    let task = home.candidates.pop()?;
    bucket.tasks = bucket.tasks.saturating_sub(1);
    home.willing = match order {
        Order::Zones | Order::Instances => home.willing.saturating_sub(1),
        Order::Cpu => home.willing.saturating_add(u64::from(task.reservation.cpu.0)),
        Order::Memory => home.willing.saturating_add(u64::from(task.reservation.memory.0)),
    };
    if !home.candidates.is_empty() {
        bucket.instances.insert((home.willing, instance));
    }
    Some(task)
}

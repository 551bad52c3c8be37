//! Managed scaling: how many instances an Auto Scaling group should have for the tasks that wait for it, and for those that run.
//!
//! `CapacityProviderReservation` is the instances that are needed over those that there are, in percent. Above the target, instances
//! are added at once; below it, they are taken away after a quarter of an hour of it. Source: "How Amazon ECS cluster auto scaling
//! works" in the developer guide.

use model::{ManagedScaling, Reservation, Resources};

/// Datapoints, one a minute, that must all be below the target before instances are taken away.
pub const DATAPOINTS: usize = 15;
/// Instances of an empty group for its first tasks. Source: as above; the metric is 200 then.
const FIRST: u32 = 2;

/// Equal tasks that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// What each holds.
    pub reservation: Reservation,
    /// How many.
    pub count: u32,
    /// Whether each needs an instance of its own.
    pub alone: bool,
}

/// How a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Its instances, those on their way included.
    pub running: u32,
    /// Those that run no task but daemons'.
    pub empty: u32,
    /// Whether an instance is on its way, or came so lately that it does not count yet.
    pub warming: bool,
    /// Whether any task waits.
    pub waits: bool,
    /// The instances that those tasks need besides.
    pub lacking: u32,
}

/// How many empty instances of a size would hold what waits; what fits on none of them is left out.
pub fn lacking(demands: &[Demand], size: &Resources) -> u32 {
    let mut fitting: Vec<&Demand> =
        demands.iter().filter(|demand| demand.count > 0 && size.lacks(&demand.reservation).is_none()).collect();
    // The largest first, as bins are packed well.
    fitting.sort_by_key(|demand| std::cmp::Reverse((demand.reservation.memory, demand.reservation.cpu)));
    let mut instances: Vec<Resources> = Vec::new();
    for demand in fitting {
        let mut next = 0;
        for _ in 0..demand.count {
            let found = instances[next..].iter().position(|left| left.lacks(&demand.reservation).is_none());
            let at = found.map_or(instances.len(), |found| next + found);
            if at == instances.len() {
                instances.push(size.clone());
            }
            instances[at].take(&demand.reservation);
            // One that has had no room has none for the next of the same kind.
            next = if demand.alone { at + 1 } else { at };
        }
    }
    u32::try_from(instances.len()).unwrap_or(u32::MAX)
}

impl Standing {
    /// The instances that are needed.
    pub fn needed(&self, scaling: &ManagedScaling) -> u32 {
        match (self.waits, self.lacking) {
            (true, 0) => self.running,
            (true, lacking) => self.running.saturating_add(step(scaling, lacking)),
            (false, _) => self.running.saturating_sub(self.empty),
        }
    }

    /// `CapacityProviderReservation`.
    pub fn reservation(&self, scaling: &ManagedScaling) -> u32 {
        match (self.needed(scaling), self.running) {
            (0, 0) => 100,
            (_, 0) => 200,
            (needed, running) => {
                let percent = u64::from(needed) * 100 / u64::from(running);
                u32::try_from(percent).unwrap_or(u32::MAX)
            }
        }
    }

    /// How many instances there should be, if not as many as there are. `datapoints` are the last minutes' reservations, the newest
    /// last.
    pub fn wanted(&self, scaling: &ManagedScaling, datapoints: &[u32]) -> Option<u32> {
        let target = scaling.target_capacity.max(1);
        let reservation = self.reservation(scaling);
        let at_target = u64::from(self.needed(scaling)) * 100;
        let at_target = u32::try_from(at_target.div_ceil(u64::from(target))).unwrap_or(u32::MAX);
        if reservation > target {
            let more = if self.running == 0 { FIRST } else { at_target.saturating_sub(self.running) };
            let more = step(scaling, more);
            return (!self.warming).then(|| self.running.saturating_add(more));
        }
        let is_low = |point: &u32| *point < target;
        let is_long_low = datapoints.len() >= DATAPOINTS && datapoints.iter().rev().take(DATAPOINTS).all(is_low);
        // Never more than half of them at once.
        let fewer = at_target.max(self.running.div_ceil(2));
        (reservation < target && is_long_low && fewer < self.running).then_some(fewer)
    }
}

fn step(scaling: &ManagedScaling, more: u32) -> u32 {
    more.clamp(scaling.min_step, scaling.max_step.max(scaling.min_step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CpuUnits, MemoryMib, Port, Protocol};
    use proptest::prelude::*;

    fn size(cpu: u32, memory: u32, interfaces: u32) -> Resources {
        Resources { cpu: CpuUnits(cpu), memory: MemoryMib(memory), interfaces, ..Resources::default() }
    }

    fn demand(cpu: u32, memory: u32, count: u32) -> Demand {
        let reservation = Reservation { cpu: CpuUnits(cpu), memory: MemoryMib(memory), ..Reservation::default() };
        Demand { reservation, count, alone: false }
    }

    #[test]
    fn tasks_are_packed_by_whatever_they_hold() {
        let with_port = |count| {
            let mut demand = demand(10, 10, count);
            demand.reservation.ports.insert(Port { protocol: Protocol::Tcp, number: 80 });
            demand
        };
        let with_interface = |count| {
            let mut demand = demand(10, 10, count);
            demand.reservation.interfaces = 1;
            demand
        };
        let alone = |count| Demand { alone: true, ..demand(10, 10, count) };
        for (demands, want) in [
            (vec![], 0),
            (vec![demand(1024, 100, 3)], 3),
            (vec![demand(512, 100, 3)], 2),
            (vec![demand(100, 1000, 3)], 3),
            (vec![demand(512, 512, 1), demand(256, 256, 2)], 1),
            (vec![demand(2048, 100, 5)], 0),
            (vec![demand(2048, 100, 5), demand(1024, 100, 1)], 1),
            (vec![with_port(3)], 3),
            (vec![with_interface(5)], 3),
            (vec![alone(3)], 3),
            (vec![alone(2), demand(10, 10, 4)], 2),
        ] {
            assert_eq!(lacking(&demands, &size(1024, 1024, 2)), want, "{demands:?}");
        }
    }

    #[test]
    fn the_reservation_is_what_is_needed_over_what_there_is() {
        let all = ManagedScaling::default();
        let steps = ManagedScaling { min_step: 3, max_step: 5, ..all };
        let waits = |running, lacking| Standing { running, lacking, waits: true, ..Standing::default() };
        let rests = |running, empty| Standing { running, empty, ..Standing::default() };
        for (standing, scaling, needed, percent) in [
            (rests(0, 0), all, 0, 100),
            (waits(0, 4), all, 4, 200),
            (waits(0, 0), all, 0, 100),
            (rests(4, 0), all, 4, 100),
            (rests(4, 1), all, 3, 75),
            (rests(4, 4), all, 0, 0),
            (waits(4, 2), all, 6, 150),
            (waits(4, 0), all, 4, 100),
            (Standing { empty: 2, ..waits(4, 0) }, all, 4, 100),
            (waits(4, 1), steps, 7, 175),
            (waits(4, 9), steps, 9, 225),
        ] {
            assert_eq!(standing.needed(&scaling), needed, "{standing:?}");
            assert_eq!(standing.reservation(&scaling), percent, "{standing:?}");
        }
    }

    #[test]
    fn instances_come_at_once_and_go_after_a_quarter_of_an_hour() {
        let all = ManagedScaling::default();
        let half = ManagedScaling { target_capacity: 50, ..all };
        let single = ManagedScaling { max_step: 1, ..all };
        let waits = |running, lacking| Standing { running, lacking, waits: true, ..Standing::default() };
        let rests = |running, empty| Standing { running, empty, ..Standing::default() };
        let low = |count| vec![10_u32; count];
        let broken = [&low(14)[..], &[100], &low(14)].concat();
        for (standing, scaling, datapoints, want) in [
            (waits(0, 5), all, low(0), Some(2)),
            (waits(0, 5), single, low(0), Some(1)),
            (waits(2, 5), all, low(0), Some(7)),
            (Standing { warming: true, ..waits(2, 5) }, all, low(0), None),
            (waits(2, 5), single, low(0), Some(3)),
            (rests(2, 0), all, low(15), None),
            (rests(2, 0), half, low(0), Some(4)),
            (rests(4, 2), half, low(0), None),
            (rests(8, 8), all, low(14), None),
            (rests(8, 8), all, low(15), Some(4)),
            (rests(8, 8), all, broken, None),
            (rests(8, 2), all, low(20), Some(6)),
            (rests(1, 1), all, low(15), None),
            (rests(0, 0), all, low(15), None),
        ] {
            assert_eq!(standing.wanted(&scaling, &datapoints), want, "{standing:?} {datapoints:?}");
        }
    }

    fn scalings() -> impl Strategy<Value = ManagedScaling> {
        (1..=100_u32, 1..50_u32, 0..50_u32).prop_map(|(target_capacity, min_step, more)| ManagedScaling {
            target_capacity,
            min_step,
            max_step: min_step + more,
            ..ManagedScaling::default()
        })
    }

    proptest! {
        #[test]
        fn steps_are_bounded_and_go_the_right_way(
            scaling in scalings(), running in 0..500_u32, empty in 0..500_u32, lacking in 0..500_u32,
            waits in any::<bool>(), warming in any::<bool>(), points in prop::collection::vec(0..300_u32, 0..30),
        ) {
            let standing = Standing { running, empty: empty.min(running), warming, waits, lacking };
            let Some(wanted) = standing.wanted(&scaling, &points) else { return Ok(()) };
            if wanted > running {
                prop_assert!(!warming && wanted - running >= scaling.min_step && wanted - running <= scaling.max_step);
                prop_assert!(standing.reservation(&scaling) > scaling.target_capacity);
            } else {
                prop_assert!(wanted < running && wanted >= running.div_ceil(2), "no more than half at once");
                prop_assert!(!waits || lacking == 0, "nothing goes while tasks wait for more");
                prop_assert!(points.iter().rev().take(DATAPOINTS).all(|point| *point < scaling.target_capacity));
            }
        }

        #[test]
        fn what_is_packed_holds_what_waits(
            tasks in prop::collection::vec((1..600_u32, 1..600_u32, 1..6_u32), 1..8),
        ) {
            let demands: Vec<_> = tasks.iter().map(|(cpu, memory, count)| demand(*cpu, *memory, *count)).collect();
            let instances = u64::from(lacking(&demands, &size(600, 600, 0)));
            let sum = |of: fn(&Demand) -> u32| demands.iter().map(|d| u64::from(of(d)) * u64::from(d.count)).sum::<u64>();
            let (cpu, memory) = (sum(|d| d.reservation.cpu.0), sum(|d| d.reservation.memory.0));
            prop_assert!(instances * 600 >= cpu.max(memory), "none is fuller than full");
            let tasks: u64 = demands.iter().map(|d| u64::from(d.count)).sum();
            prop_assert!(instances >= 1 && instances <= tasks, "none is empty");
        }
    }
}

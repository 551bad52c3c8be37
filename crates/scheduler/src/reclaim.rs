//! Which Spot tasks give their room back when tasks that keep theirs find none.
//!
//! First what is coming free by itself: tasks that are on their way out are waited for, so that asking twice takes no more.
//! Then, task by task, the instance on which fewest Spot tasks have to go, and among equals the one whose tasks are youngest,
//! since they have done least. On an instance the tasks go that fill most of what is missing, the youngest first among
//! equals, and none goes that need not.

use model::{Reservation, Resources, TaskArn, Timestamp};
use std::cmp::Reverse;

/// An instance that could take the tasks if it had the room.
#[derive(Debug, Clone, Default)]
pub struct Site<'a> {
    /// What is left on it.
    free: Room,
    /// Those that may be told to go.
    spot: Vec<Guest<'a>>,
}

/// A Spot task on an instance.
#[derive(Debug, Clone, Copy)]
struct Guest<'a> {
    task: &'a TaskArn,
    since: Timestamp,
    holds: Room,
}

/// What tasks on Fargate share: CPU units, memory, network interfaces. They take no ports of their instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Room([u64; 3]);

impl Room {
    fn of(reservation: &Reservation) -> Self {
        Self([reservation.cpu.0, reservation.memory.0, reservation.interfaces].map(u64::from))
    }

    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] + other.0[at]))
    }

    fn minus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].saturating_sub(other.0[at])))
    }

    fn holds(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(have, want)| *have >= want)
    }

    /// How much of what is missing it fills, each part counting a million.
    fn fills(self, missing: Self) -> u64 {
        let parts = self.0.into_iter().zip(missing.0).filter(|(_, missing)| *missing > 0);
        parts.map(|(have, missing)| have.min(missing) * 1_000_000 / missing).sum()
    }
}

impl<'a> Site<'a> {
    /// An instance with that much left.
    pub fn new(remaining: &Resources) -> Self {
        let free = Room([remaining.cpu.0, remaining.memory.0, remaining.interfaces].map(u64::from));
        Self { free, spot: Vec::new() }
    }

    /// A task has just been given a place on it.
    pub fn take(&mut self, reservation: &Reservation) {
        self.free = self.free.minus(Room::of(reservation));
    }

    /// A task on it is on its way out.
    pub fn leaves(&mut self, reservation: &Reservation) {
        self.free = self.free.plus(Room::of(reservation));
    }

    /// A Spot task is on it, made at that time.
    pub fn spot(&mut self, task: &'a TaskArn, since: Timestamp, reservation: &Reservation) {
        self.spot.push(Guest { task, since, holds: Room::of(reservation) });
    }

    /// The fewest it can do without so that `want` fits; as positions, sorted. None if that is not enough.
    fn victims(&self, want: Room) -> Option<Vec<usize>> {
        let missing = want.minus(self.free);
        let mut order: Vec<usize> = (0..self.spot.len()).collect();
        let youngest = |at: &usize| (Reverse(self.spot[*at].since), self.spot[*at].task);
        order.sort_by_key(|at| (Reverse(self.spot[*at].holds.fills(missing)), youngest(at)));
        let with = |chosen: &[usize]| chosen.iter().fold(self.free, |room, at| room.plus(self.spot[*at].holds));
        let enough = (0..=order.len()).find(|count| with(&order[..*count]).holds(want))?;
        let mut chosen = order[..enough].to_vec();
        // The oldest is spared first.
        let mut oldest = chosen.clone();
        oldest.sort_by_key(|at| Reverse(youngest(at)));
        for at in oldest {
            let without: Vec<usize> = chosen.iter().copied().filter(|other| *other != at).collect();
            if with(&without).holds(want) {
                chosen = without;
            }
        }
        chosen.sort_unstable();
        Some(chosen)
    }
}

/// The Spot tasks that have to go so that as many as can be of `count` tasks find a place, beside what is coming free.
pub fn reclaim<'a>(mut sites: Vec<Site<'a>>, want: &Reservation, count: u32) -> Vec<&'a TaskArn> {
    let want = Room::of(want);
    let mut reclaimed = Vec::new();
    for _ in 0..count {
        let plans = sites.iter().enumerate().filter_map(|(at, site)| Some((at, site.victims(want)?)));
        let cost = |(at, victims): &(usize, Vec<usize>)| {
            let oldest = victims.iter().map(|victim| sites[*at].spot[*victim].since).min();
            (victims.len(), Reverse(oldest), *at)
        };
        let Some((at, victims)) = plans.min_by_key(cost) else { break };
        let site = &mut sites[at];
        for victim in victims.into_iter().rev() {
            let guest = site.spot.remove(victim);
            site.free = site.free.plus(guest.holds);
            reclaimed.push(guest.task);
        }
        site.free = site.free.minus(want);
    }
    reclaimed
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CpuUnits, MemoryMib};
    use proptest::{collection::vec, prelude::*};

    fn size(cpu: u32, memory: u32) -> Reservation {
        Reservation { cpu: CpuUnits(cpu), memory: MemoryMib(memory), interfaces: 1, ..Reservation::default() }
    }

    fn arn(number: usize) -> TaskArn {
        format!("arn:aws:ecs:us-east-1:000000000000:task/default/{number:032x}").parse().unwrap()
    }

    /// What is left, what is on its way out, and the Spot tasks in the order of their age, the oldest first.
    type Instance<'a> = ((u32, u32), &'a [(u32, u32)], &'a [(u32, u32)]);

    /// Which Spot tasks go, counted over all instances from 0.
    fn gone(instances: &[Instance<'_>], want: (u32, u32), count: u32) -> Vec<usize> {
        let all: Vec<TaskArn> = (0..100).map(arn).collect();
        let mut next = all.iter().enumerate();
        let sites = instances.iter().map(|(left, leaving, spot)| {
            let left =
                Resources { cpu: CpuUnits(left.0), memory: MemoryMib(left.1), interfaces: 9, ..Resources::default() };
            let mut site = Site::new(&left);
            leaving.iter().for_each(|(cpu, memory)| site.leaves(&size(*cpu, *memory)));
            for (cpu, memory) in *spot {
                let (at, task) = next.next().unwrap();
                site.spot(task, Timestamp(i64::try_from(at).unwrap()), &size(*cpu, *memory));
            }
            site
        });
        let mut gone: Vec<usize> = reclaim(sites.collect(), &size(want.0, want.1), count)
            .into_iter()
            .map(|task| all.iter().position(|one| one == task).unwrap())
            .collect();
        gone.sort_unstable();
        gone
    }

    #[test]
    fn as_few_go_as_can_and_the_youngest_of_those() {
        let small = (256, 512);
        /// Instances, what is wanted, how often, and who goes.
        type Row<'a> = (&'a [Instance<'a>], (u32, u32), u32, &'a [usize]);
        let rows: [Row<'_>; 10] = [
            // There is room: nobody goes.
            (&[((256, 512), &[], &[small])], small, 1, &[]),
            // It is coming: nobody else goes.
            (&[((0, 0), &[small], &[small, small])], small, 1, &[]),
            (&[((0, 0), &[small], &[small, small])], small, 2, &[1]),
            // The youngest of equals.
            (&[((0, 0), &[], &[small, small, small])], small, 1, &[2]),
            (&[((0, 0), &[], &[small, small])], small, 5, &[0, 1]),
            // One large one before many small ones, though it is older.
            (&[((0, 0), &[], &[(512, 1024), small, small])], (512, 1024), 1, &[0]),
            // The instance where fewest go.
            (&[((0, 0), &[], &[small, small]), ((256, 512), &[], &[small])], (512, 1024), 1, &[2]),
            // Among equals the one whose are youngest.
            (&[((0, 0), &[], &[small]), ((0, 0), &[], &[small])], small, 1, &[1]),
            // All together are not enough: nobody goes for nothing.
            (&[((0, 0), &[], &[small, small])], (1024, 2048), 1, &[]),
            // What only CPU is missing for is not taken from who holds little of it.
            (&[((0, 4096), &[], &[(512, 512), (256, 4096)])], (512, 1024), 1, &[0]),
        ];
        for (instances, want, count, expected) in rows {
            assert_eq!(gone(instances, want, count), expected, "{count} of {want:?} on {instances:?}");
        }
    }

    #[test]
    fn a_place_that_was_given_away_is_not_given_again() {
        let left = Resources { cpu: CpuUnits(256), memory: MemoryMib(512), interfaces: 1, ..Resources::default() };
        let mut site = Site::new(&left);
        let task = arn(1);
        site.spot(&task, Timestamp(1), &size(256, 512));
        assert!(reclaim(vec![site.clone()], &size(256, 512), 1).is_empty());
        site.take(&size(256, 512));
        assert_eq!(reclaim(vec![site], &size(256, 512), 1), [&task]);
    }

    fn sizes() -> impl Strategy<Value = (u32, u32)> {
        (1..8_u32, 1..8_u32)
    }

    proptest! {
        /// One task on one instance, against all subsets that there are.
        #[test]
        fn what_goes_is_enough_and_all_of_it_is_needed(
            left in (0..6_u32, 0..6_u32), spot in vec(sizes(), 0..7), want in sizes(),
        ) {
            let gone = gone(&[(left, &[], &spot)], want, 1);
            let fits = |these: &[usize]| {
                let sum = |of: fn(&(u32, u32)) -> u32| these.iter().map(|at| of(&spot[*at])).sum::<u32>();
                left.0 + sum(|size| size.0) >= want.0 && left.1 + sum(|size| size.1) >= want.1
            };
            let all: Vec<usize> = (0..spot.len()).collect();
            if fits(&all) {
                prop_assert!(fits(&gone), "{:?} make no room", gone);
                for at in &gone {
                    let without: Vec<usize> = gone.iter().copied().filter(|other| other != at).collect();
                    prop_assert!(!fits(&without), "{} goes for nothing", at);
                }
                let single = all.iter().any(|at| fits(&[*at]));
                prop_assert!(!single || gone.len() <= 1, "one is enough: {:?}", gone);
            } else {
                prop_assert!(gone.is_empty(), "{:?} go for nothing", gone);
            }
        }

        #[test]
        fn asking_again_takes_no_more(spot in vec(vec(sizes(), 0..5), 1..4), want in sizes(), count in 1..4_u32) {
            let before: Vec<Instance<'_>> = spot.iter().map(|spot| ((0, 0), &[][..], &spot[..])).collect();
            let gone = gone(&before, want, count);
            // The same question while those are on their way out.
            let mut first = 0;
            let parts: Vec<(Vec<_>, Vec<_>)> = spot.iter().map(|spot| {
                let numbered: Vec<_> = spot.iter().enumerate().map(|(at, size)| (first + at, *size)).collect();
                first += spot.len();
                let (leaving, stay): (Vec<_>, Vec<_>) = numbered.into_iter().partition(|(at, _)| gone.contains(at));
                (leaving.into_iter().map(|(_, size)| size).collect(), stay.into_iter().map(|(_, size)| size).collect())
            }).collect();
            let after: Vec<Instance<'_>> = parts.iter().map(|(leaving, stay)| ((0, 0), &leaving[..], &stay[..])).collect();
            prop_assert_eq!(self::gone(&after, want, count), Vec::<usize>::new());
        }
    }
}

//! Which instances would do for so many tasks, and cheaply: placement turned round.
//!
//! Tasks are packed by [`place`] itself, the largest first, on empty instances of one type after the other; then each instance
//! is exchanged for the cheapest type that holds what it got. That finds a cheap set and not always the cheapest, which nobody
//! finds in time (it is bin packing); it is never dearer than an instance of its own for every task. Deliberately absent: ports,
//! network interfaces and constraints, which a reservation that is long over is not known to have had.

use crate::{Binpack, Candidate, PlacementRequest, Strategy, Subject, place};
use model::{CpuUnits, InstanceStatus, MemoryMib, Reservation, Resources, Timestamp};
use std::collections::BTreeMap;

/// An instance type that can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// CPU units that its instances register.
    pub cpu: CpuUnits,
    /// Memory that they register.
    pub memory: MemoryMib,
    /// What one costs, in whatever unit the caller counts.
    pub price: u64,
}

/// Equal tasks that run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Need {
    /// Memory that each holds.
    pub memory: MemoryMib,
    /// CPU units that each holds.
    pub cpu: CpuUnits,
    /// How many.
    pub count: u32,
}

/// Instances: how many of each offer, by its place in the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    /// Offers of which there is at least one.
    pub instances: BTreeMap<usize, u32>,
    /// What they cost together.
    pub price: u128,
}

impl Offer {
    fn holds(&self, cpu: u64, memory: u64) -> bool {
        u64::from(self.cpu.0) >= cpu && u64::from(self.memory.0) >= memory
    }

    /// Whether nobody would ever want the other.
    fn beats(&self, other: &Self) -> bool {
        self.holds(other.cpu.0.into(), other.memory.0.into()) && self.price <= other.price
    }
}

impl Fleet {
    fn add(&mut self, offers: &[Offer], at: usize, count: u32) {
        *self.instances.entry(at).or_default() += count;
        self.price += u128::from(offers[at].price) * u128::from(count);
    }

    /// How many instances there are.
    pub fn len(&self) -> u64 {
        self.instances.values().map(|count| u64::from(*count)).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }
}

/// A cheap set of instances that holds all needs at once. `None` if one of them fits on no offer. The work is a few placements
/// of every task for each offer that no other beats.
pub fn cheapest(offers: &[Offer], needs: &[Need]) -> Option<Fleet> {
    let mut needs: Vec<Need> = needs.iter().copied().filter(|need| need.count > 0).collect();
    needs.sort_unstable_by(|a, b| b.cmp(a));
    let mut best = alone(offers, &needs)?;
    for at in worth_trying(offers) {
        let offer = offers[at];
        if needs.iter().all(|need| offer.holds(need.cpu.0.into(), need.memory.0.into())) {
            let packed = exchanged(offers, &packed(offer, &needs));
            if packed.price < best.price {
                best = packed;
            }
        }
    }
    Some(best)
}

/// An instance for every task.
fn alone(offers: &[Offer], needs: &[Need]) -> Option<Fleet> {
    let mut fleet = Fleet::default();
    for need in needs {
        let at = cheapest_holding(offers, need.cpu.0.into(), need.memory.0.into())?;
        fleet.add(offers, at, need.count);
    }
    Some(fleet)
}

fn cheapest_holding(offers: &[Offer], cpu: u64, memory: u64) -> Option<usize> {
    let holding = (0..offers.len()).filter(|at| offers[*at].holds(cpu, memory));
    holding.min_by_key(|at| offers[*at].price)
}

/// Offers that no other beats; of equals the first.
fn worth_trying(offers: &[Offer]) -> Vec<usize> {
    let beaten = |at: usize| {
        let beats =
            |other: usize| offers[other].beats(&offers[at]) && (other < at || !offers[at].beats(&offers[other]));
        (0..offers.len()).any(|other| other != at && beats(other))
    };
    (0..offers.len()).filter(|at| !beaten(*at)).collect()
}

/// An instance that is there for the question only.
struct Empty {
    left: Resources,
    cpu: u64,
    memory: u64,
}

/// What each instance of one type holds, as CPU units and MiB. Every need fits on it.
fn packed(offer: Offer, needs: &[Need]) -> Vec<(u64, u64)> {
    let mut instances: Vec<Empty> = Vec::new();
    for need in needs {
        let reservation = Reservation { cpu: need.cpu, memory: need.memory, ..Reservation::default() };
        let mut count = need.count;
        loop {
            for at in placed(&instances, &reservation, count) {
                let instance = &mut instances[at];
                instance.left.take(&reservation);
                instance.cpu += u64::from(need.cpu.0);
                instance.memory += u64::from(need.memory.0);
                count -= 1;
            }
            if count == 0 {
                break;
            }
            // So many hold the rest: all that is left out when it is placed again is nothing.
            let on_each = on_each(offer, need).max(1);
            let more = u64::from(count).div_ceil(on_each);
            let left = Resources { cpu: offer.cpu, memory: offer.memory, ..Resources::default() };
            instances.extend((0..more).map(|_| Empty { left: left.clone(), cpu: 0, memory: 0 }));
        }
    }
    instances.into_iter().map(|instance| (instance.cpu, instance.memory)).collect()
}

fn on_each(offer: Offer, need: &Need) -> u64 {
    let times = |has: u32, each: u32| has.checked_div(each).map_or(u64::MAX, u64::from);
    times(offer.cpu.0, need.cpu.0).min(times(offer.memory.0, need.memory.0))
}

fn placed(instances: &[Empty], reservation: &Reservation, count: u32) -> Vec<usize> {
    let request = PlacementRequest {
        count: usize::try_from(count).unwrap_or(usize::MAX),
        reservation,
        required_attributes: &[],
        zones: &[],
        constraints: &[],
        strategy: &[Strategy::Binpack(Binpack::Memory), Strategy::Binpack(Binpack::Cpu)],
        group: "",
    };
    place(instances, &request, 0).placed
}

/// Every instance as the cheapest that holds what it got.
fn exchanged(offers: &[Offer], held: &[(u64, u64)]) -> Fleet {
    let mut fleet = Fleet::default();
    // What one instance holds another of the same type can hold, so there is always one.
    for at in held.iter().filter_map(|(cpu, memory)| cheapest_holding(offers, *cpu, *memory)) {
        fleet.add(offers, at, 1);
    }
    fleet
}

impl Subject for Empty {
    fn agent_connected(&self) -> bool {
        true
    }
    fn agent_version(&self) -> &str {
        ""
    }
    fn attribute(&self, _name: &str) -> Option<Option<&str>> {
        None
    }
    fn ec2_instance_id(&self) -> Option<&str> {
        None
    }
    fn registered_at(&self) -> Timestamp {
        Timestamp::default()
    }
    fn running_tasks(&self) -> u32 {
        0
    }
    fn any_group(&self, _test: &mut dyn FnMut(&str) -> bool) -> bool {
        false
    }
}

impl Candidate for Empty {
    fn status(&self) -> InstanceStatus {
        InstanceStatus::Active
    }
    fn remaining(&self) -> &Resources {
        &self.left
    }
    fn tasks_in_group(&self, _group: &str) -> u32 {
        0
    }
    fn price_micro_usd_hour(&self) -> u32 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, strategy::Strategy};

    const SMALL: Offer = offer(2, 512, 52);
    const MEDIUM: Offer = offer(2, 4_096, 416);
    const LARGE: Offer = offer(16, 65_536, 7_680);

    const fn offer(vcpus: u32, memory: u32, price: u64) -> Offer {
        Offer { cpu: CpuUnits(vcpus * 1_024), memory: MemoryMib(memory), price }
    }

    fn need(cpu: u32, memory: u32, count: u32) -> Need {
        Need { cpu: CpuUnits(cpu), memory: MemoryMib(memory), count }
    }

    #[test]
    fn tasks_share_instances_and_no_instance_is_larger_than_it_must_be() {
        let offers = [SMALL, offer(2, 4_096, 500), MEDIUM, LARGE];
        for (needs, want) in [
            (vec![], Some(vec![])),
            (vec![need(256, 512, 0)], Some(vec![])),
            (vec![need(256, 512, 1)], Some(vec![(0, 1)])),
            // Eight on a medium one for 416 as on eight small ones: no reason to exchange.
            (vec![need(0, 100, 40)], Some(vec![(0, 8)])),
            (vec![need(1_024, 2_048, 3)], Some(vec![(2, 2)])),
            (vec![need(1_024, 2_048, 2), need(128, 256, 1)], Some(vec![(0, 1), (2, 1)])),
            (vec![need(4_096, 4_096, 1)], Some(vec![(3, 1)])),
            (vec![need(256, 512, 1), need(256, 65_537, 1)], None),
        ] {
            let fleet = cheapest(&offers, &needs);
            let found = fleet.as_ref().map(|fleet| fleet.instances.iter().map(|(at, n)| (*at, *n)).collect::<Vec<_>>());
            assert_eq!(found, want, "{needs:?}");
            let price = |(at, count): (&usize, &u32)| u128::from(offers[*at].price) * u128::from(*count);
            assert!(fleet.is_none_or(|fleet| fleet.price == fleet.instances.iter().map(price).sum()));
        }
        assert_eq!(cheapest(&[], &[need(1, 1, 1)]), None);
        assert_eq!(worth_trying(&[MEDIUM, MEDIUM, offer(1, 4_096, 416), SMALL]), [0, 3]);
    }

    fn offers() -> impl Strategy<Value = Vec<Offer>> {
        let one = (1..20_u32, 1..70_u32, 1..9_000_u64).prop_map(|(cpu, gib, price)| offer(cpu, gib * 1_024, price));
        proptest::collection::vec(one, 1..8)
    }

    fn needs() -> impl Strategy<Value = Vec<Need>> {
        let one = (0..5_000_u32, 4..20_000_u32, 0..40_u32).prop_map(|(cpu, memory, count)| need(cpu, memory, count));
        proptest::collection::vec(one, 0..6)
    }

    /// What a resource costs at least: so much of it at the best price that any offer has for a part of it.
    fn least(offers: &[Offer], wanted: u128, of: impl Fn(&Offer) -> u32) -> u128 {
        offers.iter().map(|offer| wanted * u128::from(offer.price) / u128::from(of(offer))).min().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn no_fleet_is_cheaper_than_its_parts_or_dearer_than_one_each(offers in offers(), needs in needs()) {
            let fits = |offer: &Offer, need: &Need| offer.cpu >= need.cpu && offer.memory >= need.memory;
            let wanted: Vec<&Need> = needs.iter().filter(|need| need.count > 0).collect();
            let Some(fleet) = cheapest(&offers, &needs) else {
                prop_assert!(wanted.iter().any(|need| !offers.iter().any(|offer| fits(offer, need))));
                return Ok(());
            };
            let sum = |of: &dyn Fn(&Need) -> u32| {
                needs.iter().map(|need| u128::from(of(need)) * u128::from(need.count)).sum::<u128>()
            };
            let (cpu, memory) = (sum(&|need| need.cpu.0), sum(&|need| need.memory.0));
            prop_assert!(fleet.price >= least(&offers, cpu, |offer| offer.cpu.0));
            prop_assert!(fleet.price >= least(&offers, memory, |offer| offer.memory.0));
            let mut each = 0;
            for need in &wanted {
                let one = offers.iter().filter(|offer| fits(offer, need)).map(|offer| offer.price).min().unwrap();
                each += u128::from(one) * u128::from(need.count);
            }
            prop_assert!(fleet.price <= each);
        }

        /// Nothing is left out, and no instance holds more than it has.
        #[test]
        fn what_is_packed_is_all_of_it_and_fits(needs in needs()) {
            let mut sorted = needs.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            let held = packed(LARGE, &sorted);
            prop_assert!(held.iter().all(|(cpu, memory)| LARGE.holds(*cpu, *memory)));
            let all = needs.iter().map(|need| u64::from(need.memory.0) * u64::from(need.count)).sum::<u64>();
            prop_assert_eq!(held.iter().map(|(_, memory)| memory).sum::<u64>(), all);
            prop_assert!(held.iter().all(|held| *held != (0, 0)), "none is there for nothing");
        }
    }
}

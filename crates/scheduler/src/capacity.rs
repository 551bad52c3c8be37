//! Which capacity provider each task of a strategy takes the room of.
//!
//! The base comes first, on its one provider; all other tasks are shared out by weight, as evenly as whole tasks can be: of a
//! number of tasks each provider has its share rounded to the nearest, and one task more never takes one from anybody. So a
//! service keeps its shares whichever way it came to its size, and a lost task is replaced by one of the same provider.
//! Source: `CapacityProviderStrategyItem`; how AWS rounds is not published.

use model::{CapacityProvider, CapacityProviderStrategy, CapacityProviderStrategyItem};

/// Room that tasks can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    /// On the cluster's own instances.
    Instances,
    /// A capacity provider's.
    Of(CapacityProvider),
}

impl Room {
    /// All there are, the cheapest first: an instance costs the same whether a task is on it or not, and spare room costs less
    /// than what its task may keep.
    pub const BY_COST: [Self; 3] =
        [Self::Instances, Self::Of(CapacityProvider::FargateSpot), Self::Of(CapacityProvider::Fargate)];
}

/// The cheapest room that is open and holds the tasks; where none does, the dearest that is open, which others make way for.
/// `None` if none is open.
pub fn cheapest(is_open: impl Fn(&Room) -> bool, holds: impl Fn(&Room) -> bool) -> Option<Room> {
    let open = || Room::BY_COST.into_iter().filter(|room| is_open(room));
    open().find(|room| holds(room)).or_else(|| open().last())
}

/// How many of `total` tasks are each provider's, in the strategy's order.
pub fn shares(strategy: &CapacityProviderStrategy, total: u32) -> Vec<(CapacityProvider, u32)> {
    let items = strategy.items();
    let base = items.iter().map(|item| item.base).max().unwrap_or(0).min(total);
    let mut weighed = by_weight(items, total - base);
    if let Some(at) = items.iter().position(|item| item.base > 0) {
        weighed[at] += base;
    }
    items.iter().map(|item| item.provider.clone()).zip(weighed).collect()
}

/// How many of `count` more tasks are each provider's, beside those that it has; providers that get none are left out, and
/// the one whose tasks keep their room comes first. Empty without a strategy.
pub fn starts(
    strategy: &CapacityProviderStrategy,
    has: impl Fn(&CapacityProvider) -> u32,
    count: u32,
) -> Vec<(CapacityProvider, u32)> {
    let total = held(strategy, &has).saturating_add(count);
    let lacking = |(provider, share): (CapacityProvider, u32)| {
        let count = share.saturating_sub(has(&provider));
        (provider, count)
    };
    let mut lacking: Vec<_> = shares(strategy, total).into_iter().map(lacking).collect();
    lacking.sort();
    at_most(lacking, count)
}

/// How many of `count` tasks that are too many are each provider's to give, of those that it has. Empty without a strategy.
pub fn stops(
    strategy: &CapacityProviderStrategy,
    has: impl Fn(&CapacityProvider) -> u32,
    count: u32,
) -> Vec<(CapacityProvider, u32)> {
    let total = held(strategy, &has).saturating_sub(count);
    let surplus = |(provider, share): (CapacityProvider, u32)| {
        let count = has(&provider).saturating_sub(share);
        (provider, count)
    };
    let mut surplus: Vec<_> = shares(strategy, total).into_iter().map(surplus).collect();
    surplus.sort();
    at_most(surplus, count)
}

fn held(strategy: &CapacityProviderStrategy, has: &impl Fn(&CapacityProvider) -> u32) -> u32 {
    strategy.items().iter().fold(0_u32, |sum, item| sum.saturating_add(has(&item.provider)))
}

fn at_most(wanted: Vec<(CapacityProvider, u32)>, count: u32) -> Vec<(CapacityProvider, u32)> {
    let mut left = count;
    let granted = wanted.into_iter().map(|(provider, wanted)| {
        let granted = wanted.min(left);
        left -= granted;
        (provider, granted)
    });
    granted.filter(|(_, granted)| *granted > 0).collect()
}

/// Whole shares first, then what is left by the rule of the nearest (Webster's): for two providers no share is ever more than
/// one task off, and none shrinks as the total grows.
fn by_weight(items: &[CapacityProviderStrategyItem], total: u32) -> Vec<u32> {
    // AWS: one that is alone needs no weight.
    let weights: Vec<u64> = match items {
        [_] => vec![1],
        _ => items.iter().map(|item| u64::from(item.weight)).collect(),
    };
    let all: u64 = weights.iter().sum();
    let whole = |weight: &u64| u64::from(total) * weight / all.max(1);
    let mut counts: Vec<u64> = weights.iter().map(whole).collect();
    for _ in counts.iter().sum::<u64>()..u64::from(total) {
        let first = |best: usize, at: usize| {
            // weight / (2 x count + 1), without dividing; among equals the first.
            if weights[at] * (2 * counts[best] + 1) > weights[best] * (2 * counts[at] + 1) { at } else { best }
        };
        let Some(at) = (0..counts.len()).reduce(first) else { break };
        counts[at] += 1;
    }
    counts.into_iter().map(|count| u32::try_from(count).unwrap_or(u32::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use CapacityProvider::{Fargate, FargateSpot};
    use proptest::prelude::*;

    fn strategy(items: &[(CapacityProvider, u32, u32)]) -> CapacityProviderStrategy {
        let item = |(provider, base, weight): &(CapacityProvider, u32, u32)| CapacityProviderStrategyItem {
            provider: provider.clone(),
            base: *base,
            weight: *weight,
        };
        CapacityProviderStrategy::new(items.iter().map(item).collect()).unwrap()
    }

    fn of(shares: &[(CapacityProvider, u32)], provider: &CapacityProvider) -> u32 {
        shares.iter().find(|(one, _)| one == provider).map_or(0, |(_, count)| *count)
    }

    #[test]
    fn the_base_comes_first_and_the_rest_goes_by_weight() {
        let check = |items: &[_], total: u32, want: (u32, u32)| {
            let shares = shares(&strategy(items), total);
            assert_eq!((of(&shares, &Fargate), of(&shares, &FargateSpot)), want, "{total} of {items:?}");
        };
        let (one, four) = ((Fargate, 0, 1), (FargateSpot, 0, 4));
        for (total, want) in [(0, (0, 0)), (1, (0, 1)), (2, (0, 2)), (3, (1, 2)), (5, (1, 4)), (10, (2, 8))] {
            check(&[one.clone(), four.clone()], total, want);
        }
        for (total, want) in [(1, (1, 0)), (2, (2, 0)), (3, (2, 1)), (4, (3, 1)), (5, (3, 2)), (7, (4, 3)), (8, (4, 4))]
        {
            check(&[(Fargate, 2, 1), (FargateSpot, 0, 2)], total, want);
        }
        for (total, want) in [(2, (2, 0)), (9, (2, 7))] {
            check(&[(Fargate, 2, 0), (FargateSpot, 0, 1)], total, want);
        }
        check(&[(FargateSpot, 0, 0)], 7, (0, 7));
        check(&[(FargateSpot, 0, 1), (Fargate, 0, 1)], 3, (1, 2));
    }

    #[test]
    fn what_is_paid_for_anyway_comes_first_and_what_is_kept_last() {
        use Room::{Instances, Of};
        const SPOT: Room = Of(FargateSpot);
        const FARGATE: Room = Of(Fargate);
        for (open, holding, want) in [
            (vec![Instances, SPOT, FARGATE], vec![Instances, SPOT, FARGATE], Some(Instances)),
            (vec![Instances, SPOT, FARGATE], vec![SPOT, FARGATE], Some(SPOT)),
            (vec![Instances, FARGATE], vec![SPOT, FARGATE], Some(FARGATE)),
            (vec![Instances, SPOT, FARGATE], vec![], Some(FARGATE)),
            (vec![Instances, SPOT], vec![], Some(SPOT)),
            (vec![SPOT, FARGATE], vec![Instances], Some(FARGATE)),
            (vec![Instances], vec![], Some(Instances)),
            (vec![], vec![Instances, SPOT, FARGATE], None),
        ] {
            let chosen = cheapest(|room| open.contains(room), |room| holding.contains(room));
            assert_eq!(chosen, want, "{open:?} {holding:?}");
        }
    }

    #[test]
    fn without_a_strategy_nothing_is_shared_out() {
        assert_eq!(starts(&CapacityProviderStrategy::default(), |_| 0, 9), []);
        assert_eq!(stops(&CapacityProviderStrategy::default(), |_| 0, 9), []);
    }

    fn strategies() -> impl Strategy<Value = CapacityProviderStrategy> {
        let weights = (0..=1_000_u32, 0..=1_000_u32).prop_filter("one has a weight", |(a, b)| a + b > 0);
        (weights, 0..200_u32, any::<[bool; 2]>()).prop_map(|((a, b), base, [first, turned])| {
            let mut items =
                vec![(Fargate, if first { base } else { 0 }, a), (FargateSpot, if first { 0 } else { base }, b)];
            if turned {
                items.reverse();
            }
            strategy(&items)
        })
    }

    proptest! {
        #[test]
        fn every_task_is_somebody_s_and_no_share_is_a_whole_task_off(strategy in strategies(), total in 0..100_000_u32) {
            let shares = shares(&strategy, total);
            prop_assert_eq!(shares.iter().map(|(_, count)| count).sum::<u32>(), total);
            let base = strategy.items().iter().map(|item| item.base).max().unwrap().min(total);
            let all: u32 = strategy.items().iter().map(|item| item.weight).sum();
            for (item, (_, count)) in strategy.items().iter().zip(&shares) {
                let own = if item.base > 0 { base } else { 0 };
                prop_assert!(*count >= own, "the base comes first");
                let exact = f64::from(total - base) * f64::from(item.weight) / f64::from(all);
                prop_assert!((f64::from(count - own) - exact).abs() < 1.0, "{:?}: {} of {}", item, count, total);
                prop_assert!(item.weight > 0 || *count == own, "without a weight there is nothing beyond the base");
            }
        }

        #[test]
        fn whichever_way_a_service_comes_to_its_size_its_shares_are_the_same(
            strategy in strategies(),
            steps in prop::collection::vec(-60..60_i32, 1..20),
        ) {
            let mut has = [0_u32; 2];
            let at = |provider: &CapacityProvider| usize::from(*provider == FargateSpot);
            for step in steps {
                let total: u32 = has.iter().sum();
                let count = step.unsigned_abs().min(if step < 0 { total } else { 60 });
                let now = has;
                if step < 0 {
                    for (provider, count) in stops(&strategy, |p| now[at(p)], count) {
                        has[at(&provider)] -= count;
                    }
                } else {
                    for (provider, count) in starts(&strategy, |p| now[at(p)], count) {
                        has[at(&provider)] += count;
                    }
                }
                let total = if step < 0 { total - count } else { total + count };
                for (provider, share) in shares(&strategy, total) {
                    prop_assert_eq!(has[at(&provider)], share, "{:?} of {}", provider, total);
                }
            }
        }

        #[test]
        fn what_is_lost_is_replaced_by_its_like(
            strategy in strategies(), total in 1..500_u32, lost in any::<[u32; 2]>(),
        ) {
            let whole = shares(&strategy, total);
            let left = |provider: &CapacityProvider| {
                let share = of(&whole, provider);
                share - lost[usize::from(*provider == FargateSpot)] % (share + 1)
            };
            let missing = total - left(&Fargate) - left(&FargateSpot);
            let again = starts(&strategy, left, missing);
            for (provider, share) in &whole {
                prop_assert_eq!(left(provider) + of(&again, provider), *share);
            }
        }

        #[test]
        fn exactly_so_many_start_or_stop_whatever_there_is(
            strategy in strategies(), has in (0..300_u32, 0..300_u32), count in 0..300_u32,
        ) {
            let there = |provider: &CapacityProvider| if *provider == Fargate { has.0 } else { has.1 };
            let started: u32 = starts(&strategy, there, count).iter().map(|(_, count)| count).sum();
            prop_assert_eq!(started, count);
            let most = count.min(has.0 + has.1);
            let stopped = stops(&strategy, there, most);
            prop_assert_eq!(stopped.iter().map(|(_, count)| count).sum::<u32>(), most);
            prop_assert!(stopped.iter().all(|(provider, count)| *count <= there(provider)));
        }
    }
}

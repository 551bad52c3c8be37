//! Sums over any grouping and any windows of time, which are the same to the last digit however they are cut.

use super::{Atoms, Charge, PriceList, Unit, Usage};
use model::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// From when up to, and not with, when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// How many of a usage's billed seconds begin in a window: each second is in one window and no other, so that windows that
/// follow each other share them without a rest.
pub fn seconds_in(usage: &Usage, window: Window) -> u64 {
    let all = usage.seconds();
    let before = |moment: Timestamp| {
        let millis = u64::try_from(moment.millis_since(usage.from)).unwrap_or(0);
        millis.div_ceil(1_000).min(all)
    };
    before(window.to).saturating_sub(before(window.from))
}

/// What came together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Total {
    /// What it costs.
    pub cost: Atoms,
    /// How much it was, in seconds of 1,024ths of each unit.
    pub quantity: BTreeMap<Unit, u128>,
    /// Usage types, as on bills, that were used and have no price.
    pub unpriced: BTreeSet<String>,
}

impl Total {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.cost += other.cost;
        for (unit, quantity) in &other.quantity {
            *self.quantity.entry(*unit).or_default() += quantity;
        }
        self.unpriced.extend(other.unpriced.iter().cloned());
    }

    fn charge(&mut self, usage: &Usage, charge: &Charge, seconds: u64, prices: &PriceList) {
        let quantity = u128::from(charge.amount) * u128::from(seconds);
        *self.quantity.entry(charge.unit).or_default() += quantity;
        let region = usage.owner.scope.region.as_str();
        match prices.find(region, &charge.usage_type) {
            Some(price) => self.cost += price.of(quantity),
            None => {
                self.unpriced.insert(PriceList::on_bill(region, &charge.usage_type));
            }
        }
    }
}

/// Sums in each window by some key. Windows follow each other in order and do not overlap.
pub struct Sums<'a, K> {
    windows: &'a [Window],
    prices: &'a PriceList,
    totals: Vec<BTreeMap<K, Total>>,
}

impl<'a, K: Ord> Sums<'a, K> {
    /// Nothing yet.
    pub fn new(windows: &'a [Window], prices: &'a PriceList) -> Self {
        Self { windows, prices, totals: windows.iter().map(|_| BTreeMap::new()).collect() }
    }

    /// Adds a usage, each charge of it under the key that `group` says; what it says nothing of is left out.
    pub fn add(&mut self, usage: &Usage, group: impl Fn(&Charge) -> Option<K>) {
        let first = self.windows.partition_point(|window| window.to <= usage.from);
        let until = usage.billed_until();
        let met = self.windows.iter().zip(&mut self.totals).skip(first);
        let met = met.take_while(|(window, _)| window.from < until);
        let charges = usage.charges();
        for (window, totals) in met {
            let seconds = seconds_in(usage, *window);
            if seconds == 0 {
                continue;
            }
            for charge in &charges {
                if let Some(key) = group(charge) {
                    totals.entry(key).or_default().charge(usage, charge, seconds, self.prices);
                }
            }
        }
    }

    /// How many keys there are, in all windows.
    pub fn len(&self) -> usize {
        self.totals.iter().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What came together, window by window.
    pub fn finish(self) -> Vec<BTreeMap<K, Total>> {
        self.totals
    }
}

//! What the tasks of a group would have cost on EC2, and when they ran.
//!
//! For each hour of the clock in which a task ran, the most tasks of each size at once are packed by the scheduler on the
//! instance types that have a price; those instances are paid from the first moment of the hour in which a task ran to the
//! hour's end, or up to now, and for a minute at least when there were none the hour before. So what is scaled at all is scaled
//! once an hour, and every hour is reckoned for itself. A cluster's instances are its own.

use super::{Figures, Group, Table, TooMuch};
use model::{CpuUnits, MemoryMib, Timestamp, fargate::Size, instance_type};
use scheduler::fleet::{Fleet, Need, Offer, cheapest};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use telemetry::usage::{Atoms, MINIMUM_SECONDS, PriceList, Unit, Usage, Window};

const HOUR_MILLIS: i64 = 3_600_000;
/// 1,024ths of an instance, in which amounts are counted.
const WHOLE: u128 = 1_024;
/// Tasks that one question packs, each time counted: some ten seconds of work.
const MAX_PACKED: u64 = 2_000_000;
/// 10,000ths.
const SHARES: u128 = 10_000;

/// Whose tasks share instances.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    group: Group,
    region: Arc<str>,
    cluster: Arc<str>,
}

/// When tasks of each size (CPU units and MiB) began and ended.
#[derive(Default)]
struct Load {
    events: BTreeMap<(u32, u32), Vec<(i64, i32)>>,
    /// No instance type that there is has another processor.
    arm: bool,
}

/// An hour: the first moment in which a task ran, and the most at once of each size.
struct Hour {
    first: i64,
    needs: Vec<Need>,
}

/// What a group is in a window, over all its clusters.
#[derive(Default)]
struct Sum {
    /// `None` where something fits on no instance.
    cost: Option<Atoms>,
    is_unfit: bool,
    first: Option<i64>,
    instances: BTreeMap<&'static str, u32>,
    /// What the dearest hours cost in a second: the instances, and the same tasks on Fargate.
    on_ec2: u128,
    on_fargate: u128,
}

pub(super) struct Hours<'a> {
    windows: &'a [Window],
    prices: &'a PriceList,
    now: Timestamp,
    loads: BTreeMap<Owner, Load>,
    /// Equal texts once.
    names: BTreeMap<String, Arc<str>>,
}

impl<'a> Hours<'a> {
    pub(super) fn new(windows: &'a [Window], prices: &'a PriceList, now: Timestamp) -> Self {
        Self { windows, prices, now, loads: BTreeMap::new(), names: BTreeMap::new() }
    }

    fn name(&mut self, text: &str) -> Arc<str> {
        self.names.entry(text.to_owned()).or_insert_with(|| text.into()).clone()
    }

    /// Notes a task of that size.
    pub(super) fn add(&mut self, usage: &Usage, group: Group, size: (u32, u32), arm: bool) {
        let (Some(begin), Some(end)) = (self.windows.first(), self.windows.last()) else { return };
        // What ran for no time at all has needed its room all the same.
        let (from, to) = (usage.from.max(begin.from).0, usage.to.max(usage.from.plus_millis(1)).min(end.to).0);
        if from >= to {
            return;
        }
        let region = self.name(usage.owner.scope.region.as_str());
        let cluster = self.name(usage.owner.cluster.as_str());
        let load = self.loads.entry(Owner { group, region, cluster }).or_default();
        load.arm |= arm;
        load.events.entry(size).or_default().extend([(from, 1), (to, -1)]);
    }

    pub(super) fn finish(self, table: &mut Table) -> Result<(), TooMuch> {
        let mut sums: Vec<BTreeMap<Group, Sum>> = self.windows.iter().map(|_| BTreeMap::new()).collect();
        let mut shops: HashMap<Arc<str>, Shop> = HashMap::new();
        let mut packed = 0;
        for (owner, load) in &self.loads {
            let shop = shops.entry(owner.region.clone()).or_insert_with(|| Shop::of(self.prices, &owner.region));
            self.reckon(owner, load, shop, &mut packed, &mut sums)?;
        }
        for ((window, sums), figures) in self.windows.iter().zip(sums).zip(table) {
            let until = window.to.min(self.now);
            for (group, sum) in sums {
                sum.tell(until, figures.entry(group).or_default());
            }
        }
        Ok(())
    }

    fn reckon(
        &self,
        owner: &Owner,
        load: &Load,
        shop: &mut Shop,
        packed: &mut u64,
        sums: &mut [BTreeMap<Group, Sum>],
    ) -> Result<(), TooMuch> {
        let hours = load.hours();
        // The dearest hour so far of each window: its instances and what they and Fargate cost in a second.
        let mut dearest: BTreeMap<usize, (Option<Fleet>, u128, u128)> = BTreeMap::new();
        for (number, hour) in &hours {
            let window = self.windows.partition_point(|window| window.to.0 <= hour.first);
            let Some(sum) = sums.get_mut(window).map(|sums| sums.entry(owner.group).or_default()) else { continue };
            sum.first = Some(sum.first.map_or(hour.first, |first| first.min(hour.first)));
            let on_fargate = hour.on_fargate(self.prices, &owner.region, load.arm);
            let fleet = if load.arm { None } else { shop.fleet(&hour.needs, packed)? };
            let on_ec2 = fleet.as_ref().map_or(0, |fleet| fleet.price * WHOLE);
            match &fleet {
                Some(_) => {
                    let end = ((number + 1) * HOUR_MILLIS).min(self.now.0.max(hour.first));
                    let minimum = if hours.contains_key(&(number - 1)) { 0 } else { MINIMUM_SECONDS };
                    let seconds = u64::try_from(end - hour.first).unwrap_or(0).div_ceil(1_000).max(minimum);
                    let cost = Atoms(on_ec2 * u128::from(seconds));
                    sum.cost = Some(sum.cost.unwrap_or_default() + cost);
                }
                None => sum.is_unfit = true,
            }
            let known = dearest.entry(window).or_default();
            if (on_ec2, on_fargate) > (known.1, known.2) {
                *known = (fleet, on_ec2, on_fargate);
            }
        }
        for (window, (fleet, on_ec2, on_fargate)) in dearest {
            let sum = sums[window].entry(owner.group).or_default();
            sum.on_ec2 += on_ec2;
            sum.on_fargate += on_fargate;
            for (at, count) in fleet.iter().flat_map(|fleet| &fleet.instances) {
                *sum.instances.entry(shop.names[*at]).or_default() += count;
            }
        }
        Ok(())
    }
}

impl Sum {
    fn tell(self, until: Timestamp, figures: &mut Figures) {
        let known = !self.is_unfit;
        figures.on_ec2 = self.cost.filter(|_| known);
        figures.instances = if known { self.instances } else { BTreeMap::new() };
        figures.break_even = (known && self.on_fargate > 0).then(|| self.on_ec2 * SHARES / self.on_fargate.max(1));
        let millis = self.first.map_or(0, |first| until.0.saturating_sub(first));
        let seconds = u64::try_from(millis).unwrap_or(0).div_ceil(1_000).max(1);
        let always = self.on_fargate * u128::from(seconds);
        figures.ran = figures.on_fargate.filter(|_| always > 0).map(|cost| (cost.0 * SHARES / always).min(SHARES));
    }
}

impl Load {
    /// The hours in which a task ran, by their number since the epoch.
    fn hours(&self) -> BTreeMap<i64, Hour> {
        let mut hours: BTreeMap<i64, Hour> = BTreeMap::new();
        for (&(cpu, memory), events) in &self.events {
            for (number, (first, count)) in most_at_once(events) {
                let hour = hours.entry(number).or_insert_with(|| Hour { first, needs: Vec::new() });
                hour.first = hour.first.min(first);
                hour.needs.push(Need { cpu: CpuUnits(cpu), memory: MemoryMib(memory), count });
            }
        }
        hours
    }
}

/// By hour the first moment in which there was one, and how many there were at most.
pub(super) fn most_at_once(events: &[(i64, i32)]) -> BTreeMap<i64, (i64, u32)> {
    let mut events = events.to_vec();
    // Of one moment, ends come first: what goes makes room for what comes.
    events.sort_unstable();
    let mut hours: BTreeMap<i64, (i64, u32)> = BTreeMap::new();
    let (mut count, mut since) = (0_u32, 0_i64);
    for (at, change) in events {
        if count > 0 && since < at {
            for number in since.div_euclid(HOUR_MILLIS)..=(at - 1).div_euclid(HOUR_MILLIS) {
                let first = since.max(number * HOUR_MILLIS);
                let most = hours.entry(number).or_insert((first, 0));
                most.1 = most.1.max(count);
            }
        }
        count = count.saturating_add_signed(change);
        since = at;
    }
    hours
}

impl Hour {
    /// What its tasks cost in a second on Fargate; 0 where that has no size or price for one of them.
    fn on_fargate(&self, prices: &PriceList, region: &str, arm: bool) -> u128 {
        let each = |need: &Need| {
            let size = Size::holding(need.cpu, need.memory)?;
            let vcpu = prices.fargate(region, false, arm, Unit::VcpuHours)?;
            let gb = prices.fargate(region, false, arm, Unit::GbHours)?;
            let one = vcpu.of(size.cpu.0.into()) + gb.of(size.memory.0.into());
            Some(one.0 * u128::from(need.count))
        };
        self.needs.iter().map(each).sum::<Option<u128>>().unwrap_or(0)
    }
}

/// The instance types that have a price in a region, and what was packed on them.
struct Shop {
    names: Vec<&'static str>,
    offers: Vec<Offer>,
    known: HashMap<Vec<Need>, Option<Fleet>>,
}

impl Shop {
    fn of(prices: &PriceList, region: &str) -> Self {
        let priced = |kind: &'static instance_type::InstanceType| {
            let price = prices.find(region, &format!("BoxUsage:{}", kind.name))?;
            let (cpu, memory) = (CpuUnits(kind.vcpus * 1_024), MemoryMib(kind.memory_mib));
            Some((kind.name, Offer { cpu, memory, price: price.0 }))
        };
        let (names, offers) = instance_type::ALL.iter().filter_map(priced).unzip();
        Self { names, offers, known: HashMap::new() }
    }

    fn fleet(&mut self, needs: &[Need], packed: &mut u64) -> Result<Option<Fleet>, TooMuch> {
        if let Some(known) = self.known.get(needs) {
            return Ok(known.clone());
        }
        *packed += needs.iter().map(|need| u64::from(need.count)).sum::<u64>();
        if *packed > MAX_PACKED {
            return Err(TooMuch);
        }
        let fleet = cheapest(&self.offers, needs);
        self.known.insert(needs.to_vec(), fleet.clone());
        Ok(fleet)
    }
}

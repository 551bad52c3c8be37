//! How much of what they hold tasks really used, and the smallest size that would do.
//!
//! Told of the tasks of one size alone, that of the latest which was measured: who has changed a reservation is judged by what came
//! after. A task that nobody measured in time says nothing and saves nothing.

use super::{Figures, Group, Table};
use model::{CpuUnits, Measured, MemoryMib, Timestamp, fargate::Size};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};
use telemetry::usage::{Atoms, PriceList, Resource, Usage, Window, seconds_in};

/// What a size must hold of the most that was seen, in tenths: looks miss what is between them.
const ROOM: u64 = 13;
/// Steps in which memory on instances is proposed, MiB: who reads it writes it into a definition.
const STEP: u32 = 32;

/// What tasks of one size used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fit {
    /// 1,024ths of a vCPU that each of them holds.
    pub(crate) cpu: u32,
    /// MiB that each of them holds.
    pub(crate) memory: u32,
    /// The most MiB that one of them used.
    pub(crate) memory_peak: u32,
    /// CPU in 10,000ths of what they hold: of all of them over all their time, and the most of one for a moment.
    pub(crate) cpu_average: Option<u128>,
    pub(crate) cpu_peak: Option<u128>,
    /// What would do: a size of Fargate's, or memory on an instance. CPU is held back there from nobody while there is any.
    pub(crate) would_do: Option<(Option<CpuUnits>, MemoryMib)>,
    /// What it would have cost less on Fargate.
    pub(crate) saves: Option<Atoms>,
}

/// A size, and whether Fargate has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    cpu: u32,
    memory: u32,
    fargate: bool,
}

/// What was seen of the tasks of a size.
#[derive(Default)]
struct Seen {
    latest: Timestamp,
    memory: u32,
    cpu_millis: u128,
    cpu_peak: u32,
    over_millis: u128,
    /// Billed seconds by what they are charged as, each with one of the usages.
    billed: BTreeMap<(Arc<str>, bool, bool), (Usage, u128)>,
}

pub(super) struct Fits<'a> {
    windows: &'a [Window],
    prices: &'a PriceList,
    seen: Vec<BTreeMap<Group, BTreeMap<Held, Seen>>>,
}

impl<'a> Fits<'a> {
    pub(super) fn new(windows: &'a [Window], prices: &'a PriceList) -> Self {
        Self { windows, prices, seen: windows.iter().map(|_| BTreeMap::new()).collect() }
    }

    /// Adds a task.
    pub(super) fn add(&mut self, usage: &Usage, group: Group) {
        let Some(measured) = usage.measured.filter(|measured| measured.memory > 0) else { return };
        let (held, charged) = match &usage.what {
            Resource::Fargate { cpu, memory, arm, spot, .. } => {
                (Held { cpu: *cpu, memory: *memory, fargate: true }, Some((*arm, *spot)))
            }
            Resource::OnInstance { cpu, memory, .. } => (Held { cpu: *cpu, memory: *memory, fargate: false }, None),
            Resource::Instance { .. } | Resource::External => return,
        };
        for (window, groups) in self.windows.iter().zip(&mut self.seen) {
            let seconds = seconds_in(usage, *window);
            if seconds > 0 {
                let seen = groups.entry(group).or_default().entry(held).or_default();
                seen.add(usage, measured, charged, seconds);
            }
        }
    }

    pub(super) fn finish(self, table: &mut Table) {
        for (groups, figures) in self.seen.into_iter().zip(table) {
            for (group, sizes) in groups {
                let latest = sizes.into_iter().max_by_key(|(_, seen)| seen.latest);
                let figures: &mut Figures = figures.entry(group).or_default();
                figures.fit = latest.map(|(held, seen)| seen.fit(held, self.prices));
            }
        }
    }
}

impl Seen {
    fn add(&mut self, usage: &Usage, measured: Measured, charged: Option<(bool, bool)>, seconds: u64) {
        self.latest = self.latest.max(usage.from);
        self.memory = self.memory.max(measured.memory);
        self.cpu_millis += u128::from(measured.cpu_millis);
        self.cpu_peak = self.cpu_peak.max(measured.cpu_peak);
        self.over_millis += u128::from(measured.over_millis);
        let Some((arm, spot)) = charged else { return };
        match self.billed.entry((usage.owner.scope.region.as_str().into(), arm, spot)) {
            Entry::Occupied(mut known) => known.get_mut().1 += u128::from(seconds),
            Entry::Vacant(new) => drop(new.insert((usage.clone(), u128::from(seconds)))),
        }
    }

    fn fit(&self, held: Held, prices: &PriceList) -> Fit {
        let with_room = |most: u32| u32::try_from((u64::from(most) * ROOM).div_ceil(10)).unwrap_or(u32::MAX);
        let memory = with_room(self.memory);
        // Who was never looked at twice may have used it all. More than it holds it had no chance to use.
        let cpu = if self.cpu_peak > 0 { with_room(self.cpu_peak).min(held.cpu) } else { held.cpu };
        let size = held.fargate.then(|| Size::holding(CpuUnits(cpu), MemoryMib(memory))).flatten();
        let would_do = if held.fargate {
            size.map(|size| (Some(size.cpu), size.memory))
        } else {
            Some((None, MemoryMib(memory.div_ceil(STEP).saturating_mul(STEP))))
        };
        let is = self.cost(CpuUnits(held.cpu), MemoryMib(held.memory), prices);
        let costs = size.and_then(|size| self.cost(size.cpu, size.memory, prices));
        let saves = is.zip(costs).and_then(|(is, costs)| is.0.checked_sub(costs.0)).map(Atoms);
        // In 10,000ths of what it holds, where it holds any.
        let of_held = |used: u128, over: u128| {
            (used * 10_000 + over * u128::from(held.cpu) / 2).checked_div(over * u128::from(held.cpu))
        };
        Fit {
            cpu: held.cpu,
            memory: held.memory,
            memory_peak: self.memory,
            cpu_average: of_held(self.cpu_millis * 1_024, self.over_millis),
            cpu_peak: of_held(u128::from(self.cpu_peak), 1).filter(|peak| *peak > 0),
            would_do,
            saves: saves.filter(|saves| saves.0 > 0),
        }
    }

    /// What its seconds cost on Fargate in a size, storage aside; `None` where a price is missing.
    fn cost(&self, cpu: CpuUnits, memory: MemoryMib, prices: &PriceList) -> Option<Atoms> {
        let charges = self.billed.iter().flat_map(|((region, arm, spot), (usage, seconds))| {
            let what = Resource::Fargate { cpu: cpu.0, memory: memory.0, storage: 0, arm: *arm, spot: *spot };
            let charges = Usage { what, ..usage.clone() }.charges();
            charges.into_iter().map(move |charge| {
                let price = prices.find(region, &charge.usage_type)?;
                Some(price.of(u128::from(charge.amount) * seconds))
            })
        });
        charges.sum()
    }
}

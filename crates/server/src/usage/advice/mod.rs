//! What the same tasks would have cost elsewhere, beside what they cost as they ran. Usages in, figures out. Pure.
//!
//! As it ran, an instance's cost is shared out among the tasks on it, second by second (`share`); what nobody used stays the
//! instance's, and is idle, so that all figures together make up the bill. On Fargate a task would have paid for the next size
//! up. On EC2 the most tasks at once of each hour would have been packed by the scheduler (`hours`). Nothing has a fraction:
//! sums are [`Atoms`], shares of time are 10,000ths. What tasks used of what they hold, and which size would do, is beside it (`fit`).

mod fit;
mod hours;
mod share;

pub(crate) use fit::Fit;
use fit::Fits;
use hours::Hours;
use model::{CpuUnits, MemoryMib, Timestamp, fargate::Size};
use share::Shares;
use std::collections::{BTreeMap, BTreeSet};
use telemetry::usage::{Atoms, PriceList, Resource, Sums, Total, Usage, Window};

/// Whose a figure is: a number that the caller has for each group.
pub(crate) type Group = usize;

/// What is reckoned for a group in a window of time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    /// What it cost as it ran, with its shares of the instances that it was on.
    pub(crate) as_run: Atoms,
    /// Of that, what instances cost while no task was on them.
    pub(crate) idle: Atoms,
    /// How long that was, in seconds, all instances together.
    pub(crate) idle_seconds: u64,
    /// Whether it had tasks of which nobody knows the instance, so that their share is not in it.
    pub(crate) is_partial: bool,
    /// What it would have cost on EC2, on Fargate and on Fargate Spot; `None` where that has no instances, size or price.
    pub(crate) on_ec2: Option<Atoms>,
    pub(crate) on_fargate: Option<Atoms>,
    pub(crate) on_spot: Option<Atoms>,
    /// The instances of its dearest hour.
    pub(crate) instances: BTreeMap<&'static str, u32>,
    /// For how much of the time since it began it ran, at its most at once, in 10,000ths.
    pub(crate) ran: Option<u128>,
    /// From which share of the time on instances that always stand are cheaper than Fargate, in 10,000ths.
    pub(crate) break_even: Option<u128>,
    /// What its tasks used of what they hold, if anybody measured it.
    pub(crate) fit: Option<Fit>,
    /// Usage types, as on bills, that it used and that have no price.
    pub(crate) unpriced: BTreeSet<String>,
}

/// Figures by window and group.
pub(crate) type Table = Vec<BTreeMap<Group, Figures>>;

/// There is more to pack than anybody would wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMuch;

/// What is known so far.
pub(crate) struct Advice<'a> {
    windows: &'a [Window],
    billed: Sums<'a, Group>,
    fargate: Sums<'a, Group>,
    spot: Sums<'a, Group>,
    /// Groups with a task that is larger than Fargate's sizes, by when.
    too_large: Vec<(Group, Timestamp, Timestamp)>,
    shares: Shares<'a>,
    hours: Hours<'a>,
    fits: Fits<'a>,
}

impl<'a> Advice<'a> {
    /// Nothing yet. Windows follow each other, and their edges are whole hours.
    pub(crate) fn new(windows: &'a [Window], prices: &'a PriceList, now: Timestamp) -> Self {
        let sums = || Sums::new(windows, prices);
        Self {
            windows,
            billed: sums(),
            fargate: sums(),
            spot: sums(),
            too_large: Vec::new(),
            shares: Shares::new(windows, prices),
            hours: Hours::new(windows, prices, now),
            fits: Fits::new(windows, prices),
        }
    }

    /// Adds a usage. One of no group takes its part in sharing and is in no figure.
    pub(crate) fn add(&mut self, usage: &Usage, group: Option<Group>) {
        self.shares.add(usage, group);
        let (cpu, memory, storage, arm) = match &usage.what {
            Resource::Fargate { cpu, memory, storage, arm, .. } => (*cpu, *memory, *storage, *arm),
            Resource::OnInstance { cpu, memory, .. } => (*cpu, *memory, 0, false),
            Resource::Instance { .. } | Resource::External => return,
        };
        let Some(group) = group else { return };
        self.billed.add(usage, |_| Some(group));
        self.hours.add(usage, group, (cpu, memory), arm);
        self.fits.add(usage, group);
        let Some(size) = Size::holding(CpuUnits(cpu), MemoryMib(memory)) else {
            self.too_large.push((group, usage.from, usage.billed_until()));
            return;
        };
        for (spot, sums) in [(false, &mut self.fargate), (true, &mut self.spot)] {
            let what = Resource::Fargate { cpu: size.cpu.0, memory: size.memory.0, storage, arm, spot };
            sums.add(&Usage { what, ..usage.clone() }, |_| Some(group));
        }
    }

    /// The figures of every group that was there.
    ///
    /// # Errors
    /// There is too much to pack.
    pub(crate) fn finish(self) -> Result<Table, TooMuch> {
        let Self { windows, billed, fargate, spot, too_large, shares, hours, fits } = self;
        let mut table: Table = windows.iter().map(|_| BTreeMap::new()).collect();
        each(billed, &mut table, |figures, total| {
            figures.as_run += total.cost;
            figures.unpriced.extend(total.unpriced);
        });
        each(fargate, &mut table, |figures, total| figures.on_fargate = priced(&total));
        each(spot, &mut table, |figures, total| figures.on_spot = priced(&total));
        for (group, from, to) in too_large {
            let met = windows.iter().zip(&mut table).filter(|(window, _)| from < window.to && to > window.from);
            for (_, figures) in met {
                let figures = figures.entry(group).or_default();
                (figures.on_fargate, figures.on_spot) = (None, None);
            }
        }
        shares.finish(&mut table);
        fits.finish(&mut table);
        hours.finish(&mut table)?;
        Ok(table)
    }
}

fn each(sums: Sums<'_, Group>, table: &mut Table, set: impl Fn(&mut Figures, Total)) {
    for (groups, figures) in sums.finish().into_iter().zip(table) {
        for (group, total) in groups {
            set(figures.entry(group).or_default(), total);
        }
    }
}

/// What has no price costs nobody knows what.
fn priced(total: &Total) -> Option<Atoms> {
    total.unpriced.is_empty().then_some(total.cost)
}

#[cfg(test)]
mod tests;

//! Metrics of our own: what it cost as it ran, and what the same would have cost elsewhere (`usage::advice`). Any client that can
//! ask for a metric can ask for these; where nothing can be said of a group it has no such metric.

use super::{ApiError, Question, Totals};
use crate::{
    context::Context,
    usage::advice::{Advice, Figures, Fit, Group, TooMuch},
};
use std::collections::{BTreeMap, btree_map::Entry};
use telemetry::usage::{Atoms, PriceList, Unit, Usage, quantity_text};

const PREFIX: &str = "longshore:";
/// All of them. Costs are in USD, shares in percent, times in hours; the unit of instances says of which types, and that of a
/// size what it is in full.
pub(super) const METRICS: [&str; 16] = [
    "longshore:AsRunCost",
    "longshore:BreakEven",
    "longshore:CPUAverage",
    "longshore:CPUPeak",
    "longshore:CPUReserved",
    "longshore:EC2Cost",
    "longshore:EC2Instances",
    "longshore:FargateCost",
    "longshore:FargateSpotCost",
    "longshore:FittingSaving",
    "longshore:FittingSize",
    "longshore:IdleCost",
    "longshore:IdleHours",
    "longshore:MemoryPeak",
    "longshore:MemoryReserved",
    "longshore:TimeShare",
];
/// Tasks and instances that are held in memory for one question: some 300 MB.
const MAX_USAGES: usize = 1_000_000;

pub(super) fn is_metric(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// What is known so far, under numbers for the groups' keys.
pub(super) struct Advised<'a> {
    question: &'a Question,
    advice: Advice<'a>,
    groups: BTreeMap<Vec<String>, Group>,
    usages: usize,
}

impl<'a> Advised<'a> {
    pub(super) fn new(ctx: &Context, question: &'a Question, prices: &'a PriceList) -> Self {
        let advice = Advice::new(question.period.windows(), prices, ctx.effects.now());
        Self { question, advice, groups: BTreeMap::new(), usages: 0 }
    }

    pub(super) fn add(&mut self, usage: &Usage) {
        self.usages += 1;
        if self.usages > MAX_USAGES {
            return;
        }
        let charges = usage.charges();
        let wanted = charges.iter().find(|charge| self.question.lets(usage, charge));
        let group = wanted.map(|charge| {
            let next = self.groups.len();
            match self.groups.entry(self.question.labels(usage, charge)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => *new.insert(next),
            }
        });
        self.advice.add(usage, group);
    }

    /// Puts the figures beside the totals.
    pub(super) fn finish(self, totals: &mut Totals) -> Result<(), ApiError> {
        let much = |what: &str| ApiError::new("LimitExceededException", format!("{what}; ask for a shorter period."));
        if self.usages > MAX_USAGES {
            return Err(much(&format!("More than {MAX_USAGES} tasks and instances")));
        }
        let table = self.advice.finish().map_err(|TooMuch| much("There are too many changing tasks to pack"))?;
        let keys: BTreeMap<Group, Vec<String>> = self.groups.into_iter().map(|(keys, group)| (group, keys)).collect();
        for (figures, totals) in table.into_iter().zip(totals) {
            for (group, figures) in figures {
                if let Some(keys) = keys.get(&group) {
                    totals.entry(keys.clone()).or_default().1 = figures;
                }
            }
        }
        Ok(())
    }
}

/// A metric's amount and unit.
pub(super) fn value(name: &str, figures: &Figures) -> Option<(String, String)> {
    match name {
        "longshore:AsRunCost" => Some(usd(figures.as_run)).filter(|_| !figures.is_partial),
        "longshore:BreakEven" => figures.break_even.map(percent),
        "longshore:EC2Cost" => figures.on_ec2.map(usd),
        "longshore:EC2Instances" => instances(&figures.instances),
        "longshore:FargateCost" => figures.on_fargate.map(usd),
        "longshore:FargateSpotCost" => figures.on_spot.map(usd),
        "longshore:IdleCost" => Some(usd(figures.idle)),
        "longshore:IdleHours" => {
            let hours = quantity_text(u128::from(figures.idle_seconds) * 1_024);
            Some((hours, Unit::Hours.as_str().to_owned()))
        }
        "longshore:TimeShare" => figures.ran.map(percent),
        _ => measured(name, figures.fit.as_ref()?),
    }
}

/// Of what tasks used; a group of which nobody measured a task has none of it.
fn measured(name: &str, fit: &Fit) -> Option<(String, String)> {
    let mib = |memory: u32| (memory.to_string(), "MiB".to_owned());
    match name {
        "longshore:CPUAverage" => fit.cpu_average.map(percent),
        "longshore:CPUPeak" => fit.cpu_peak.map(percent),
        "longshore:CPUReserved" => Some((fit.cpu.to_string(), "CPUUnits".to_owned())),
        "longshore:FittingSaving" => fit.saves.map(usd),
        "longshore:FittingSize" => fit.would_do.map(|(cpu, memory)| match cpu {
            Some(cpu) => (memory.0.to_string(), format!("{} vCPU with {} MiB", vcpus(cpu.0), memory.0)),
            None => mib(memory.0),
        }),
        "longshore:MemoryPeak" => Some(mib(fit.memory_peak)),
        "longshore:MemoryReserved" => Some(mib(fit.memory)),
        _ => None,
    }
}

fn usd(cost: Atoms) -> (String, String) {
    (cost.to_string(), "USD".to_owned())
}

fn percent(share: u128) -> (String, String) {
    (format!("{}.{:02}", share / 100, share % 100), "Percent".to_owned())
}

/// As Fargate's sizes are written: 0.25, 0.5, 1.
fn vcpus(units: u32) -> String {
    let text = format!("{}.{:02}", units / 1_024, units % 1_024 * 100 / 1_024);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn instances(by_type: &BTreeMap<&'static str, u32>) -> Option<(String, String)> {
    let all: u64 = by_type.values().map(|count| u64::from(*count)).sum();
    let types: Vec<String> = by_type.iter().map(|(kind, count)| format!("{count} x {kind}")).collect();
    (all > 0).then(|| (all.to_string(), types.join(", ")))
}

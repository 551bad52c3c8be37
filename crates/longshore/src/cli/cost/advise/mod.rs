//! `cost advise`: what services and families would have cost elsewhere, which to move, which hold too much or too little, and which instances were idle.
//!
//! The server reckons (metrics of ours of GetCostAndUsage, docs/cost.md); here it is asked, judged (`judge`, `size`) and shown (`show`).

mod judge;
mod show;
mod size;

use super::{Amount, Client, Format, Period, Where, config, must_be_known, of_cluster, pages, say, unpriced, warn_of};
use crate::cli::terminal;
use anyhow::Result;
use clap::Args;
use jiff::civil::Date;
use judge::{Verdict, judge};
use shapes::ce;
use size::Size;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

#[derive(Debug, Args)]
pub(super) struct AdviseArgs {
    /// Count Fargate Spot among the choices: for what bears to be interrupted.
    #[arg(long)]
    spot: bool,
}

const WORKLOAD: &str = "longshore:workload";
const LAUNCH_TYPE: &str = "longshore:launchType";
const INSTANCE: &str = "longshore:instance";
const METRICS: [&str; 17] = [
    "longshore:AsRunCost",
    "longshore:BreakEven",
    "longshore:CPUAverage",
    "longshore:CPUPeak",
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
    "UnblendedCost",
    "UsageQuantity",
];

/// What is known of a group over the whole period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Facts {
    as_run: Option<Amount>,
    /// What is on the bill: of everything it is what everything cost, whether all shares of it are known or not.
    billed: Amount,
    on_ec2: Option<Amount>,
    on_fargate: Option<Amount>,
    on_spot: Option<Amount>,
    /// Such as `2 x t3.medium`, of the last part of the period that has tasks.
    instances: Option<String>,
    /// In percent; of the same part.
    ran: Option<Amount>,
    break_even: Option<Amount>,
    /// What its tasks used of what they hold, of the last part in which anybody measured it.
    size: Option<Size>,
    idle: Amount,
    idle_hours: Amount,
    hours: Amount,
    /// Whether a part of the period is in it already.
    is_begun: bool,
}

/// A service or family, as it ran on one launch type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    /// `CLUSTER/service/NAME` or `CLUSTER/family/NAME`; empty for what instances cost while nobody used them.
    workload: String,
    launch_type: String,
    facts: Facts,
    verdict: Verdict,
}

/// An instance that was idle for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Idle {
    instance: String,
    kind: String,
    facts: Facts,
}

/// All that is told.
#[derive(Debug, Default)]
struct Report {
    rows: Vec<Row>,
    total: Facts,
    idle: Vec<Idle>,
    unpriced: BTreeSet<String>,
}

/// What is asked, but for how it is grouped.
struct Question<'a> {
    client: &'a Client,
    from: Date,
    to: Date,
    cluster: Option<&'a str>,
}

pub(super) async fn advise(args: &AdviseArgs, period: &Period, place: &Where) -> Result<ExitCode> {
    let settings = config::settings(place, None)?;
    let (from, to) = period.days()?;
    let question = Question { client: &settings.client, from, to, cluster: place.cluster.as_deref() };
    let mut report = Report::default();
    let tag = |key: &str| ("TAG", key.to_owned());
    let workloads = question.ask(&[tag(WORKLOAD), tag(LAUNCH_TYPE)], &mut report.unpriced).await?;
    if let Some(cluster) = place.cluster.as_deref().filter(|_| workloads.is_empty()) {
        must_be_known(&settings, cluster).await?;
    }
    for (keys, facts) in workloads {
        report.add_row(&keys, facts, args.spot);
    }
    let total = question.ask(&[], &mut report.unpriced).await?.remove(&Vec::new()).unwrap_or_default();
    report.total = Facts { as_run: Some(total.billed), ..total };
    let of_instances = [tag(INSTANCE), ("DIMENSION", "INSTANCE_TYPE".to_owned())];
    for (keys, facts) in question.ask(&of_instances, &mut report.unpriced).await? {
        report.add_instance(&keys, facts);
    }
    report.idle.sort_by(|a, b| b.facts.idle.cmp(&a.facts.idle).then_with(|| a.instance.cmp(&b.instance)));
    match period.format {
        Format::Table => show::table(&report, from, to, terminal::width()).iter().for_each(say::out),
        Format::Json => say::json(&show::json(&report, from, to))?,
        Format::Csv => show::csv(&report).iter().for_each(say::out),
    }
    warn_of(&report.unpriced);
    Ok(ExitCode::SUCCESS)
}

impl Question<'_> {
    /// The facts by the values of their group's keys.
    async fn ask(
        &self,
        groups: &[(&str, String)],
        without_price: &mut BTreeSet<String>,
    ) -> Result<BTreeMap<Vec<String>, Facts>> {
        let group = |(kind, key): &(&str, String)| ce::GroupDefinition {
            r#type: Some((*kind).to_owned()),
            key: Some(key.clone()),
        };
        let request = ce::GetCostAndUsageRequest {
            time_period: Some(ce::DateInterval { start: Some(self.from.to_string()), end: Some(self.to.to_string()) }),
            granularity: Some("MONTHLY".to_owned()),
            metrics: Some(METRICS.map(str::to_owned).into()),
            group_by: (!groups.is_empty()).then(|| groups.iter().map(group).collect()),
            filter: self.cluster.map(of_cluster),
            ..Default::default()
        };
        let mut found = BTreeMap::new();
        pages(self.client, request, |page| {
            without_price.extend(unpriced(&page));
            take(groups, page, &mut found)
        })
        .await?;
        Ok(found)
    }
}

fn take(
    groups: &[(&str, String)],
    page: ce::GetCostAndUsageResponse,
    found: &mut BTreeMap<Vec<String>, Facts>,
) -> Result<()> {
    for part in page.results_by_time.into_iter().flatten() {
        if groups.is_empty() {
            found.entry(Vec::new()).or_default().add(&part.total.unwrap_or_default())?;
        }
        for group in part.groups.into_iter().flatten() {
            let keys = group.keys.unwrap_or_default();
            let value = |(key, (_, tag)): (&String, &(&str, String))| {
                // A tag's value stands behind its key.
                let value = key.strip_prefix(tag.as_str()).and_then(|rest| rest.strip_prefix('$'));
                value.unwrap_or(key).to_owned()
            };
            let keys = keys.iter().zip(groups).map(value).collect();
            found.entry(keys).or_default().add(&group.metrics.unwrap_or_default())?;
        }
    }
    Ok(())
}

impl Facts {
    /// Adds a part of the period.
    fn add(&mut self, metrics: &BTreeMap<String, ce::MetricValue>) -> Result<()> {
        let amount = |name: &str| -> Result<Option<Amount>> {
            let text = metrics.get(name).and_then(|metric| metric.amount.as_deref());
            text.map(str::parse).transpose()
        };
        let is_begun = std::mem::replace(&mut self.is_begun, true);
        for (sum, name) in [
            (&mut self.as_run, "longshore:AsRunCost"),
            (&mut self.on_ec2, "longshore:EC2Cost"),
            (&mut self.on_fargate, "longshore:FargateCost"),
            (&mut self.on_spot, "longshore:FargateSpotCost"),
        ] {
            // What is not known of one part is not known of the whole.
            *sum = match (amount(name)?, *sum) {
                (Some(part), Some(sum)) => Some(sum + part),
                (part, None) if !is_begun => part,
                (_, _) => None,
            };
        }
        for (sum, name) in [
            (&mut self.billed, "UnblendedCost"),
            (&mut self.idle, "longshore:IdleCost"),
            (&mut self.idle_hours, "longshore:IdleHours"),
            (&mut self.hours, "UsageQuantity"),
        ] {
            *sum += amount(name)?.unwrap_or_default();
        }
        self.ran = amount("longshore:TimeShare")?.or(self.ran);
        self.break_even = amount("longshore:BreakEven")?.or(self.break_even);
        self.size = Size::of(metrics)?.or(self.size.take());
        let instances = metrics.get("longshore:EC2Instances").and_then(|metric| metric.unit.clone());
        self.instances = instances.or(self.instances.take());
        Ok(())
    }
}

impl Report {
    fn add_row(&mut self, keys: &[String], facts: Facts, spot: bool) {
        let [workload, launch_type] = keys else { return };
        let verdict = if workload.is_empty() { Verdict::None } else { judge(&facts, launch_type, spot) };
        self.rows.push(Row { workload: workload.clone(), launch_type: launch_type.clone(), facts, verdict });
    }

    fn add_instance(&mut self, keys: &[String], facts: Facts) {
        let [instance, kind] = keys else { return };
        if facts.idle_hours > Amount::default() {
            self.idle.push(Idle { instance: instance.clone(), kind: kind.clone(), facts });
        }
    }
}

#[cfg(test)]
mod tests;

//! `cost`: what was used and what it costs (and in `advise`, what it would cost elsewhere). Over the public wire:
//! GetCostAndUsage and nothing else.
//!
//! What AWS has no dimension for is asked by tags (docs/cost.md). Amounts stay decimals: nothing here is a floating-point number.

mod advise;
mod amount;
mod show;

use super::{Client, Where, config, say};
use crate::advice::Advice;
use amount::Amount;
use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use jiff::{ToSpan, Zoned, civil::Date, tz::TimeZone};
use shapes::{ce, ecs};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    str::FromStr,
};

/// A day before any that something was used on.
const BEFORE_ALL: &str = "2020-01-01";
/// The tag that names the cluster.
const CLUSTER: &str = "aws:ecs:clusterName";

#[derive(Debug, Args)]
pub(crate) struct CostArgs {
    #[command(subcommand)]
    command: Option<CostCommand>,
    /// What to sum by: cluster, service, family, launch-type, capacity-provider, instance-type, usage-type, region, day, or
    /// tag:KEY. [default: cluster]
    #[arg(long)]
    by: Option<By>,
    #[command(flatten)]
    period: Period,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Subcommand)]
enum CostCommand {
    /// Tell what each service and family would have cost on EC2, on Fargate and on Fargate Spot, and which to move.
    Advise(advise::AdviseArgs),
}

/// Of when, and how to say it.
#[derive(Debug, Args)]
struct Period {
    /// The first day, YYYY-MM-DD (UTC); the first of this month, if none is named.
    #[arg(long, value_name = "DAY", global = true)]
    from: Option<Date>,
    /// The day before which to end; with today, if none is named.
    #[arg(long, value_name = "DAY", global = true)]
    to: Option<Date>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t, visible_alias = "output", global = true)]
    format: Format,
}

impl Period {
    fn days(&self) -> Result<(Date, Date)> {
        let today = Zoned::now().with_time_zone(TimeZone::UTC).date();
        let from = self.from.unwrap_or_else(|| today.first_of_month());
        let to = self.to.map_or_else(|| today.checked_add(1.day()), Ok)?;
        if from >= to {
            bail!("--from {from} is not before --to {to}; the day of --to is not counted itself");
        }
        Ok((from, to))
    }
}

// Not doc comments, which clap would show at length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    // For people.
    #[default]
    Table,
    // For scripts.
    Json,
    // For spreadsheets.
    Csv,
}

/// What to sum by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    Day,
    Dimension(&'static str),
    Tag(String),
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let tag = |key: &str| Ok(Self::Tag(key.to_owned()));
        match text {
            "day" => Ok(Self::Day),
            "cluster" => tag(CLUSTER),
            "service" => tag("aws:ecs:serviceName"),
            "family" => tag("longshore:family"),
            "launch-type" => tag("longshore:launchType"),
            "capacity-provider" => tag("longshore:capacityProvider"),
            "instance-type" => Ok(Self::Dimension("INSTANCE_TYPE")),
            "usage-type" => Ok(Self::Dimension("USAGE_TYPE")),
            "region" => Ok(Self::Dimension("REGION")),
            other => match other.strip_prefix("tag:") {
                Some(key) if !key.is_empty() => tag(key),
                _ => Err("it is cluster, service, family, launch-type, capacity-provider, instance-type, usage-type, \
                          region, day or tag:KEY"
                    .to_owned()),
            },
        }
    }
}

impl By {
    /// The groups to ask for: what is summed by, and the usage type, which says what a quantity is of.
    fn groups(&self) -> Vec<ce::GroupDefinition> {
        let group =
            |kind: &str, key: &str| ce::GroupDefinition { r#type: Some(kind.to_owned()), key: Some(key.to_owned()) };
        let usage_type = group("DIMENSION", "USAGE_TYPE");
        match self {
            Self::Day | Self::Dimension("USAGE_TYPE") => vec![usage_type],
            Self::Dimension(name) => vec![group("DIMENSION", name), usage_type],
            Self::Tag(key) => vec![group("TAG", key), usage_type],
        }
    }

    /// What a group's key stands for.
    fn name<'a>(&self, key: &'a str) -> &'a str {
        match self {
            Self::Tag(tag) => key.strip_prefix(tag.as_str()).and_then(|rest| rest.strip_prefix('$')).unwrap_or(key),
            Self::Day | Self::Dimension(_) => key,
        }
    }
}

/// What came together under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Line {
    cost: Amount,
    /// Hours by their unit, as AWS calls it.
    hours: BTreeMap<String, Amount>,
}

/// The answer, all pages of it.
#[derive(Debug, Default)]
struct Bill {
    lines: BTreeMap<String, Line>,
    /// Usage types that have no price.
    unpriced: BTreeSet<String>,
}

pub(crate) async fn cost(args: CostArgs) -> Result<ExitCode> {
    if let Some(CostCommand::Advise(asked)) = args.command {
        if args.by.is_some() {
            bail!("--by is for `longshore cost`; `longshore cost advise` always tells of services and families");
        }
        return advise::advise(&asked, &args.period, &args.place).await;
    }
    let by = args.by.unwrap_or(By::Tag(CLUSTER.to_owned()));
    let settings = config::settings(&args.place, None)?;
    let (from, to) = args.period.days()?;
    let request = ce::GetCostAndUsageRequest {
        time_period: Some(ce::DateInterval { start: Some(from.to_string()), end: Some(to.to_string()) }),
        granularity: Some(if by == By::Day { "DAILY" } else { "MONTHLY" }.to_owned()),
        metrics: Some(vec!["UnblendedCost".to_owned(), "UsageQuantity".to_owned()]),
        group_by: Some(by.groups()),
        filter: args.place.cluster.as_deref().map(of_cluster),
        ..Default::default()
    };
    let mut bill = Bill::default();
    pages(&settings.client, request, |page| bill.take(&by, page)).await?;
    if let Some(cluster) = args.place.cluster.as_deref().filter(|_| bill.lines.is_empty()) {
        must_be_known(&settings, cluster).await?;
    }
    match args.period.format {
        Format::Table => show::table(&bill, from, to),
        Format::Json => say::json(&show::json(&bill, from, to))?,
        Format::Csv => show::csv(&bill).iter().for_each(say::out),
    }
    warn_of(&bill.unpriced);
    Ok(ExitCode::SUCCESS)
}

/// Refuses a cluster that is not there and never used anything: a mistyped name must not look like one that costs nothing.
async fn must_be_known(settings: &config::Settings, cluster: &str) -> Result<()> {
    let request = ecs::DescribeClustersRequest { clusters: Some(vec![cluster.to_owned()]), ..Default::default() };
    if settings.client.call(&request).await?.clusters.is_some_and(|found| !found.is_empty()) {
        return Ok(());
    }
    let by = By::Tag(CLUSTER.to_owned());
    let until = Zoned::now().with_time_zone(TimeZone::UTC).date().checked_add(1.day())?;
    let request = ce::GetCostAndUsageRequest {
        time_period: Some(ce::DateInterval { start: Some(BEFORE_ALL.to_owned()), end: Some(until.to_string()) }),
        granularity: Some("MONTHLY".to_owned()),
        metrics: Some(vec!["UsageQuantity".to_owned()]),
        group_by: Some(by.groups()),
        filter: Some(of_cluster(cluster)),
        ..Default::default()
    };
    let mut ever = Bill::default();
    pages(&settings.client, request, |page| ever.take(&by, page)).await?;
    if !ever.lines.is_empty() {
        return Ok(());
    }
    let region = &settings.region;
    let error = anyhow!(
        "Nothing is known of cluster {cluster}: there is none in region {region}, and in none was anything used by one"
    );
    let next = settings.client.there("longshore status");
    Err(error
        .context(Advice::new(format!("{next} lists the clusters; longshore cost without --cluster what was used"))))
}

/// Hands over all pages of an answer.
async fn pages(
    client: &Client,
    mut request: ce::GetCostAndUsageRequest,
    mut take: impl FnMut(ce::GetCostAndUsageResponse) -> Result<()>,
) -> Result<()> {
    loop {
        let page = client.call(&request).await?;
        request.next_page_token = page.next_page_token.clone();
        take(page)?;
        if request.next_page_token.is_none() {
            return Ok(());
        }
    }
}

/// Usage types that a page says have no price.
fn unpriced(page: &ce::GetCostAndUsageResponse) -> impl Iterator<Item = String> + '_ {
    let notes = page.dimension_value_attributes.iter().flatten();
    let unpriced = notes.filter(|note| note.attributes.as_ref().is_some_and(|all| all.contains_key("price")));
    unpriced.filter_map(|note| note.value.clone())
}

fn warn_of(unpriced: &BTreeSet<String>) {
    for usage_type in unpriced {
        let file = "prices.json in the server's data directory";
        say::warn("It has no price and counts as nothing; give it one", &[("usage type", usage_type), ("in", file)]);
    }
}

fn of_cluster(cluster: &str) -> ce::Expression {
    let name = cluster.rsplit('/').next().unwrap_or(cluster).to_owned();
    let tags = ce::TagValues {
        key: Some(CLUSTER.to_owned()),
        values: Some(vec![name]),
        match_options: Some(vec!["EQUALS".to_owned()]),
    };
    ce::Expression { tags: Some(tags), ..Default::default() }
}

impl Bill {
    fn take(&mut self, by: &By, page: ce::GetCostAndUsageResponse) -> Result<()> {
        self.unpriced.extend(unpriced(&page));
        for part in page.results_by_time.into_iter().flatten() {
            let day = part.time_period.and_then(|period| period.start).unwrap_or_default();
            for group in part.groups.into_iter().flatten() {
                let keys = group.keys.unwrap_or_default();
                let name = if *by == By::Day { &day } else { keys.first().unwrap_or(&day) };
                let line = self.lines.entry(by.name(name).to_owned()).or_default();
                line.add(&group.metrics.unwrap_or_default())?;
            }
        }
        Ok(())
    }

    fn total(&self) -> Line {
        let mut total = Line::default();
        for line in self.lines.values() {
            total.cost += line.cost;
            for (unit, hours) in &line.hours {
                *total.hours.entry(unit.clone()).or_default() += *hours;
            }
        }
        total
    }
}

impl Line {
    fn add(&mut self, metrics: &BTreeMap<String, ce::MetricValue>) -> Result<()> {
        let amount = |metric: &ce::MetricValue| metric.amount.as_deref().unwrap_or("0").parse::<Amount>();
        if let Some(cost) = metrics.get("UnblendedCost") {
            self.cost += amount(cost)?;
        }
        if let Some(hours) = metrics.get("UsageQuantity") {
            let unit = hours.unit.clone().unwrap_or_default();
            *self.hours.entry(unit).or_default() += amount(hours)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

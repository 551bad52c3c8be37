//! Totals as GetCostAndUsage answers them.

use super::{ApiError, Question, Totals, advised, invalid, not_honoured, period::Period};
use crate::usage::advice::Figures;
use model::Timestamp;
use shapes::ce as aws;
use std::collections::{BTreeMap, BTreeSet};
use telemetry::usage::{Total, quantity_text};

/// Kinds of cost, which are all the same here.
const COSTS: [&str; 5] = ["AmortizedCost", "BlendedCost", "NetAmortizedCost", "NetUnblendedCost", "UnblendedCost"];
const QUANTITY: &str = "UsageQuantity";

/// The metrics that are asked for, in their answers' spelling.
pub(super) fn metrics(given: &[String]) -> Result<Vec<String>, ApiError> {
    if given.is_empty() {
        return Err(invalid("Metrics needs at least one."));
    }
    // AWS takes both spellings: UnblendedCost and UNBLENDED_COST.
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let known = |name: &String| {
        let found = COSTS.iter().chain([&QUANTITY]).chain(&advised::METRICS).find(|known| plain(known) == plain(name));
        found.map(|known| (*known).to_owned()).ok_or_else(|| not_honoured(&format!("the metric {name}")))
    };
    given.iter().map(known).collect()
}

/// One group in one part of the period.
pub(super) struct Row {
    part: usize,
    keys: Vec<String>,
    total: Total,
    figures: Figures,
}

impl Row {
    /// Its place in the list: behind it the next page begins.
    pub(super) fn place(&self) -> String {
        // What separates keys is in no name.
        format!("{:04}\u{1}{}", self.part, self.keys.join("\u{1}"))
    }
}

/// All groups of all parts, in the order of their places.
pub(super) fn rows(period: &Period, totals: Totals) -> Vec<Row> {
    debug_assert_eq!(period.windows().len(), totals.len());
    let mut rows: Vec<Row> = Vec::new();
    for (part, groups) in totals.into_iter().enumerate() {
        rows.extend(groups.into_iter().map(|(keys, (total, figures))| Row { part, keys, total, figures }));
    }
    rows.sort_by_cached_key(Row::place);
    rows
}

/// A page of groups as results. The first page, and answers without groups, have all parts, also those in which nothing was.
pub(super) fn results(question: &Question, page: Vec<Row>, is_first: bool, now: Timestamp) -> Vec<aws::ResultByTime> {
    let mut parts: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
    if is_first {
        parts.extend((0..question.period.windows().len()).map(|part| (part, Vec::new())));
    }
    for row in page {
        parts.entry(row.part).or_default().push(row);
    }
    parts.into_iter().map(|(part, rows)| result(question, part, rows, now)).collect()
}

fn result(question: &Question, part: usize, rows: Vec<Row>, now: Timestamp) -> aws::ResultByTime {
    let window = question.period.windows()[part];
    let metrics = |total: &Total, figures: &Figures| {
        let known = |name: &String| Some((name.clone(), metric(name, total, figures)?));
        question.metrics.iter().filter_map(known).collect()
    };
    let (groups, total) = if question.keys.is_empty() {
        let (total, figures) = rows.into_iter().next().map(|row| (row.total, row.figures)).unwrap_or_default();
        (Vec::new(), metrics(&total, &figures))
    } else {
        let group = |row: Row| aws::Group { metrics: Some(metrics(&row.total, &row.figures)), keys: Some(row.keys) };
        // AWS: no total where there are groups.
        (rows.into_iter().map(group).collect(), BTreeMap::new())
    };
    aws::ResultByTime {
        estimated: Some(now < window.to),
        groups: Some(groups),
        time_period: Some(aws::DateInterval {
            start: Some(question.period.text(window.from)),
            end: Some(question.period.text(window.to)),
        }),
        total: Some(total),
    }
}

/// `None` where there is nothing to say.
fn metric(name: &str, total: &Total, figures: &Figures) -> Option<aws::MetricValue> {
    if advised::is_metric(name) {
        let (amount, unit) = advised::value(name, figures)?;
        return Some(aws::MetricValue { amount: Some(amount), unit: Some(unit) });
    }
    let (amount, unit) = if name == QUANTITY {
        let mut units = total.quantity.keys();
        // AWS: what is counted in several units has none.
        let unit = match (units.next(), units.next()) {
            (Some(one), None) => one.as_str(),
            (_, _) => "N/A",
        };
        (quantity_text(total.quantity.values().sum()), unit)
    } else {
        (total.cost.to_string(), "USD")
    };
    Some(aws::MetricValue { amount: Some(amount), unit: Some(unit.to_owned()) })
}

/// Usage types that were used and have no price: a note on the dimension's value, so that no client takes them for free.
pub(super) fn unpriced(totals: &Totals) -> Vec<aws::DimensionValuesWithAttributes> {
    let all = totals.iter().flat_map(BTreeMap::values);
    let all = all.flat_map(|(total, figures)| total.unpriced.iter().chain(&figures.unpriced));
    let all: BTreeSet<&String> = all.collect();
    let note = |name: &String| aws::DimensionValuesWithAttributes {
        attributes: Some(BTreeMap::from([("price".to_owned(), "none".to_owned())])),
        value: Some(name.clone()),
    };
    all.into_iter().map(note).collect()
}

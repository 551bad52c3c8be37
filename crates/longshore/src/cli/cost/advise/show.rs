//! Advice as a table with a line below each row, as JSON and as CSV.

use super::{Amount, Facts, Report, Row, Size};
use crate::cli::{
    cost::show::quoted,
    terminal::{self, Cell},
};
use jiff::civil::Date;
use serde_json::{Value, json};

const HEADER: [&str; 8] = ["NAME", "RAN ON", "USD", "ON EC2", "FARGATE", "SPOT", "RAN", "EVEN"];
const IDLE_HEADER: [&str; 5] = ["IDLE INSTANCE", "TYPE", "IDLE HOURS", "OF HOURS", "IDLE USD"];
/// What the figures mean: nobody should act on them without knowing it.
const NOTES: [&str; 3] = [
    "USD is what it cost as it ran: on Fargate its own bill, on instances its share of them while it was there.",
    "ON EC2 packs the most tasks at once of each hour by CPU and memory, alone, and holds the instances to the hour's end. \
     RAN is the share of the time, EVEN the share from which instances that always stand are cheaper than Fargate.",
    "A move from EC2 saves what it says once the instances are given back. See docs/cost.md.",
];

fn amount(known: Option<Amount>) -> String {
    known.map_or_else(|| "-".to_owned(), Amount::short)
}

fn percent(known: Option<Amount>) -> String {
    known.map_or_else(|| "-".to_owned(), |share| format!("{}%", share.whole()))
}

fn cells(name: &str, launch_type: &str, facts: &Facts) -> Vec<Cell> {
    let costs = [facts.as_run, facts.on_ec2, facts.on_fargate, facts.on_spot].map(amount);
    let shares = [facts.ran, facts.break_even].map(percent);
    let all = [name.to_owned(), launch_type.to_owned()].into_iter().chain(costs).chain(shares);
    all.map(Cell::from).collect()
}

/// What instances cost while nobody used them is a row too, so that the rows make up the whole.
fn name(row: &Row) -> &str {
    if row.workload.is_empty() { "(idle instances)" } else { &row.workload }
}

pub(super) fn table(report: &Report, from: Date, to: Date, width: Option<usize>) -> Vec<String> {
    if report.rows.is_empty() {
        return vec![format!("Nothing ran from {from} up to {to}.")];
    }
    let mut rows: Vec<_> = report.rows.iter().map(|row| cells(name(row), &row.launch_type, &row.facts)).collect();
    // Its shares of time would be those of nobody.
    rows.push(cells("TOTAL", "", &Facts { ran: None, break_even: None, ..report.total.clone() }));
    let mut table = terminal::table(&HEADER, &rows, width).into_iter();
    let mut lines: Vec<String> = table.by_ref().take(1).collect();
    for (line, row) in table.by_ref().zip(report.rows.iter().map(Some).chain([None])) {
        lines.push(line);
        let size = |row: &Row| row.facts.size.as_ref().map(ToString::to_string).unwrap_or_default();
        let said = row.map(|row| [row.verdict.to_string(), size(row)]).into_iter().flatten();
        let said: Vec<String> = said.filter(|said| !said.is_empty()).collect();
        lines.extend(said.iter().flat_map(|said| terminal::advised(said, width)));
    }
    if !report.idle.is_empty() {
        lines.push(String::new());
        let cells = |idle: &super::Idle| {
            let facts = &idle.facts;
            let amounts = [facts.idle_hours, facts.hours, facts.idle].map(Amount::short);
            [idle.instance.clone(), idle.kind.clone()].into_iter().chain(amounts).map(Cell::from).collect()
        };
        let rows: Vec<Vec<Cell>> = report.idle.iter().map(cells).collect();
        lines.extend(terminal::table(&IDLE_HEADER, &rows, width));
    }
    lines.push(String::new());
    lines.extend(NOTES.iter().flat_map(|note| terminal::wrap(note, width)));
    lines
}

fn value(facts: &Facts) -> Value {
    let text = |known: Option<Amount>| known.map(|amount| amount.to_string());
    json!({
        "usd": text(facts.as_run), "onEc2": text(facts.on_ec2), "ec2Instances": facts.instances,
        "onFargate": text(facts.on_fargate), "onFargateSpot": text(facts.on_spot),
        "ranPercent": text(facts.ran), "breakEvenPercent": text(facts.break_even),
    })
}

pub(super) fn json(report: &Report, from: Date, to: Date) -> Value {
    let row = |row: &Row| {
        let mut value = value(&row.facts);
        value["workload"] = row.workload.as_str().into();
        value["launchType"] = row.launch_type.as_str().into();
        value["advice"] = row.verdict.word().into();
        value["says"] = row.verdict.to_string().into();
        value["size"] = row.facts.size.as_ref().map(Size::json).into();
        value["saves"] = row.verdict.saves().map(|(saves, _)| saves.to_string()).into();
        value
    };
    let idle = |idle: &super::Idle| {
        json!({
            "instance": idle.instance, "type": idle.kind, "idleHours": idle.facts.idle_hours.to_string(),
            "hours": idle.facts.hours.to_string(), "idleUsd": idle.facts.idle.to_string(),
        })
    };
    json!({
        "from": from.to_string(), "to": to.to_string(), "rows": report.rows.iter().map(row).collect::<Vec<_>>(),
        "total": value(&report.total), "idleInstances": report.idle.iter().map(idle).collect::<Vec<_>>(),
        "withoutPrice": report.unpriced,
    })
}

pub(super) fn csv(report: &Report) -> Vec<String> {
    let head = "workload,launchType,usd,onEc2,onFargate,onFargateSpot,ranPercent,breakEvenPercent,ec2Instances,advice,saves,\
                memoryReservedMib,memoryPeakMib,cpuAveragePercent,cpuPeakPercent,wouldDo,sizeAdvice,sizeSaves";
    let row = |row: &Row| {
        let facts = &row.facts;
        let amounts = [facts.as_run, facts.on_ec2, facts.on_fargate, facts.on_spot, facts.ran, facts.break_even];
        let text = |known: Option<Amount>| known.map(|amount| amount.to_string()).unwrap_or_default();
        let names = [quoted(&row.workload), row.launch_type.clone()];
        let instances = quoted(facts.instances.as_deref().unwrap_or_default());
        let saves = text(row.verdict.saves().map(|(saves, _)| saves));
        let rest = [instances, row.verdict.word().to_owned(), saves];
        let size = row.facts.size.as_ref().map_or_else(Default::default, |size| {
            let called = size.would_do.as_ref().map(|(_, called)| quoted(called)).unwrap_or_default();
            let (reserved, peak) = (size.reserved.to_string(), size.peak.to_string());
            let (average, most) = (text(size.cpu_average), text(size.cpu_peak));
            [reserved, peak, average, most, called, size.judge().word().to_owned(), text(size.saves)]
        });
        names.into_iter().chain(amounts.map(text)).chain(rest).chain(size).collect::<Vec<_>>().join(",")
    };
    std::iter::once(head.to_owned()).chain(report.rows.iter().map(row)).collect()
}

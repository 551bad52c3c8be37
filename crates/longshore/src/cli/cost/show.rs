//! A bill as a table, as JSON and as CSV.

use super::{Amount, Bill, Line, say};
use jiff::civil::Date;
use serde_json::{Value, json};

/// Units, and what they are called here.
const UNITS: [(&str, &str, &str); 3] = [
    ("vCPU-Hours", "VCPU-HOURS", "vcpuHours"),
    ("GB-Hours", "GB-HOURS", "gbHours"),
    ("Hrs", "INSTANCE-HOURS", "instanceHours"),
];

fn hours(line: &Line, unit: &str) -> Amount {
    line.hours.get(unit).copied().unwrap_or_default()
}

/// What is of none (an instance has no service) has a row of its own, so that the rows make up the whole.
fn named(name: &str) -> &str {
    if name.is_empty() { "-" } else { name }
}

fn row(name: &str, line: &Line) -> Vec<String> {
    let name = named(name);
    let hours = UNITS.iter().map(|(unit, ..)| hours(line, unit).short());
    [name.to_owned(), line.cost.short()].into_iter().chain(hours).collect()
}

pub(super) fn table(bill: &Bill, from: Date, to: Date) {
    if bill.lines.is_empty() {
        say::note(format_args!("Nothing was used from {from} up to {to}."));
        return;
    }
    let mut rows: Vec<_> = bill.lines.iter().map(|(name, line)| row(name, line)).collect();
    rows.push(row("TOTAL", &bill.total()));
    let header: Vec<&str> = ["NAME", "USD"].into_iter().chain(UNITS.iter().map(|(_, head, _)| *head)).collect();
    say::table(&header, &rows);
}

fn value(line: &Line) -> Value {
    let mut value = json!({ "usd": line.cost.to_string() });
    for (unit, _, name) in UNITS {
        value[name] = hours(line, unit).to_string().into();
    }
    value
}

pub(super) fn json(bill: &Bill, from: Date, to: Date) -> Value {
    let rows = bill.lines.iter().map(|(name, line)| {
        let mut row = value(line);
        row["name"] = named(name).into();
        row
    });
    json!({
        "from": from.to_string(), "to": to.to_string(), "rows": rows.collect::<Vec<_>>(),
        "total": value(&bill.total()), "withoutPrice": bill.unpriced,
    })
}

pub(super) fn csv(bill: &Bill) -> Vec<String> {
    let head = ["name", "usd"].into_iter().chain(UNITS.iter().map(|(.., name)| *name)).collect::<Vec<_>>().join(",");
    let row = |(name, line): (&String, &Line)| {
        let hours = UNITS.iter().map(|(unit, ..)| hours(line, unit).to_string());
        [quoted(named(name)), line.cost.to_string()].into_iter().chain(hours).collect::<Vec<_>>().join(",")
    };
    std::iter::once(head).chain(bill.lines.iter().map(row)).collect()
}

/// RFC 4180; and what a spreadsheet would take for a formula is text.
pub(super) fn quoted(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@']) && text != "-" { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

//! The one screen of a service. Pure; what does not fit is left out from the end, where the events are.

use super::facts::{Breaker, Deployment, Failure, Hold, Status};
use crate::cli::{
    status::{facts::Level, judge::lasting},
    terminal::{self, Cell, fit},
};
use console::Style;
use jiff::Timestamp;

/// The screen that is filled where there is none, in a pipe.
const ROWS_OF_A_PIPE: usize = 60;
/// Events are shown however small the screen is, so many of them.
const EVENTS_AT_LEAST: usize = 3;
/// And at most so many.
const EVENTS_AT_MOST: usize = 10;
/// Cells of a bar.
const BAR: usize = 20;

/// Its lines, for a terminal of that size, or for a pipe.
pub(super) fn lines(status: &Status, width: Option<usize>, height: Option<usize>) -> Vec<String> {
    let mut lines = head(status, width);
    lines.extend(deployments(status, width));
    lines.push(String::new());
    if status.held_up_by.is_empty() {
        lines.push(Style::new().green().apply_to("Nothing holds it up.").to_string());
    } else {
        lines.push(heading("What holds it up"));
        lines.extend(status.held_up_by.iter().flat_map(|hold| self::hold(hold, width)));
    }
    if !status.failures.is_empty() {
        lines.push(String::new());
        lines.push(heading("Last failures"));
        lines.extend(failures(&status.failures, &status.at, width));
    }
    let room = height.unwrap_or(ROWS_OF_A_PIPE).saturating_sub(lines.len() + 3);
    let events = status.events.iter().take(room.clamp(EVENTS_AT_LEAST, EVENTS_AT_MOST));
    let rows = events.map(|event| {
        // Which service it is stands above.
        let own = format!("(service {}) ", status.service);
        let message = event.message.strip_prefix(&own).unwrap_or(&event.message);
        vec![ago(event.at.as_deref(), &status.at).into(), message.into()]
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    if !rows.is_empty() {
        lines.push(String::new());
        lines.extend(terminal::table(&["Ago", "Event"], &rows, width));
    }
    lines
}

fn heading(text: &str) -> String {
    Style::new().bold().apply_to(text).to_string()
}

fn head(status: &Status, width: Option<usize>) -> Vec<String> {
    let stands = match (status.status.as_str(), status.stable) {
        ("ACTIVE", true) => Style::new().green().apply_to("stable").to_string(),
        ("ACTIVE", false) => Style::new().yellow().apply_to("not stable").to_string(),
        (other, _) => Style::new().yellow().apply_to(terminal::harmless(other)).to_string(),
    };
    let title = format!("Service {} in cluster {}: {stands}, {}", status.service, status.cluster, status.at);
    let pending = if status.pending > 0 { format!(", {} pending", status.pending) } else { String::new() };
    let mut counts = format!("{} of {} tasks running{pending}", status.running, status.desired);
    if status.scheduling_strategy == "DAEMON" {
        counts.push_str("; one on each instance");
    }
    if let (Some(min), Some(max)) = (status.minimum_healthy_percent, status.maximum_percent) {
        counts.push_str(&format!("; {min} % to {max} % of that while deploying"));
    }
    counts.push_str(match status.circuit_breaker {
        Breaker::Off => "",
        Breaker::Stops => "; a circuit breaker stops what fails",
        Breaker::RollsBack => "; what fails is rolled back",
    });
    vec![fit(&title, width), fit(&counts, width), String::new()]
}

fn deployments(status: &Status, width: Option<usize>) -> Vec<String> {
    let header = ["Deployment", "TaskDefinition", "Progress", "Pending", "Failed", "State", "Since"];
    let row = |d: &Deployment| {
        let state = match d.rollout_state.as_deref() {
            Some("COMPLETED") => Cell::styled("COMPLETED", Style::new().green()),
            Some("FAILED") => Cell::styled("FAILED", Style::new().red()),
            Some(other) => Cell::styled(other, Style::new().yellow()),
            None => Cell::default(),
        };
        let of = if d.status == "PRIMARY" { d.desired } else { d.desired.max(status.desired) };
        let failed = Style::new();
        let failed = if d.failed > 0 { failed.red() } else { failed };
        vec![
            d.status.as_str().into(),
            d.task_definition.as_str().into(),
            format!("{} {}/{of}", terminal::bar(d.running, of, BAR), d.running).into(),
            d.pending.to_string().into(),
            Cell::styled(d.failed.to_string(), failed),
            state,
            ago(d.created_at.as_deref(), &status.at).into(),
        ]
    };
    let rows: Vec<Vec<Cell>> = status.deployments.iter().map(row).collect();
    let mut lines = terminal::table(&header, &rows, width);
    if let Some(lifecycle) = &status.lifecycle {
        lines.push(fit(&format!("  The current one is in the stage {}", terminal::harmless(&lifecycle.stage)), width));
    }
    for deployment in &status.deployments {
        // The usual ones say no more than the state.
        let usual =
            |reason: &&str| reason.is_empty() || ["in progress.", "completed."].iter().any(|end| reason.ends_with(end));
        if let Some(reason) = deployment.reason.as_deref().filter(|reason| !usual(reason)) {
            let line = format!("  {}: {}", deployment.task_definition, terminal::harmless(reason));
            lines.push(fit(&line, width));
        }
    }
    lines
}

fn hold(hold: &Hold, width: Option<usize>) -> Vec<String> {
    let (sign, style) = match hold.level {
        Level::Error => ("✗", Style::new().red()),
        Level::Warning => ("!", Style::new().yellow()),
        Level::Notice => ("·", Style::new().dim()),
    };
    let mut lines = vec![fit(&format!("{} {}", style.apply_to(sign), terminal::harmless(&hold.what)), width)];
    if let Some(why) = &hold.why {
        lines.push(fit(&format!("    {}", terminal::harmless(why)), width));
    }
    lines.extend(hold.next.iter().flat_map(|next| terminal::advised(next, width)));
    lines
}

/// The failures, each with what its containers ended with and wrote last. `now` is the time of the look.
pub(in crate::cli) fn failures(failures: &[Failure], now: &str, width: Option<usize>) -> Vec<String> {
    let mut lines = Vec::new();
    for failure in failures {
        let times = if failure.count == 1 { String::new() } else { format!("{} times, last ", failure.count) };
        let when = ago(failure.stopped_at.as_deref(), now);
        let when = if when.is_empty() { String::new() } else { format!(" {when} ago") };
        let (definition, task, code) = (&failure.task_definition, &failure.task, &failure.stop_code);
        let sign = Style::new().red().apply_to("✗");
        lines.push(fit(&format!("{sign} {definition}: {times}task {task}{when}, {code}"), width));
        lines.push(fit(&format!("    {}", terminal::harmless(&failure.why)), width));
        for container in &failure.containers {
            let ended = match (container.exit_code, &container.reason) {
                (Some(code), Some(reason)) => format!("exit code {code}, {reason}"),
                (Some(code), None) => format!("exit code {code}"),
                (None, Some(reason)) => reason.clone(),
                (None, None) => "not started".to_owned(),
            };
            // What the line above says already is not said again.
            if failure.containers.len() > 1 {
                lines.push(fit(&format!("    {}: {}", container.name, terminal::harmless(&ended)), width));
            }
            for line in &container.log {
                let bar = Style::new().dim().apply_to("│");
                lines.push(fit(&format!("    {bar} {}", terminal::harmless(line)), width));
            }
        }
    }
    lines
}

/// How long ago something was, if that is known.
fn ago(at: Option<&str>, now: &str) -> String {
    let second = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
    match (at.and_then(second), second(now)) {
        (Some(at), Some(now)) => lasting(now - at),
        (_, _) => String::new(),
    }
}

//! The one screen: clusters, instances, what needs attention. Pure; what does not fit is counted instead of shown.

use super::{
    facts::{Attention, Cluster, Counts, Instance, Level, Services, Status, Used},
    judge,
};
use crate::cli::terminal::{self, Cell, fit};
use console::Style;
use std::collections::BTreeMap;

/// The screen that is filled where there is none, in a pipe.
const ROWS_OF_A_PIPE: usize = 50;

/// What needs attention is shown however small the screen is, so many of it.
const ATTENTION_AT_LEAST: usize = 2;

/// Its lines, for a terminal of that size, or for a pipe.
pub(super) fn lines(status: &Status, width: Option<usize>, height: Option<usize>) -> Vec<String> {
    let rows = height.unwrap_or(ROWS_OF_A_PIPE);
    let title = format!("Longshore at {}, region {}, {}", status.endpoint, status.region, status.at);
    let mut lines = vec![fit(&title, width), String::new()];
    if status.clusters.is_empty() {
        lines.push(fit(&format!("There are no clusters in region {}.", status.region), width));
        lines.push(fit("→ longshore up --cluster default --size 1", width));
        lines.push(fit("→ or look at another region: longshore status --region REGION", width));
        return lines;
    }
    lines.extend(clusters(status, (rows / 6).clamp(3, 12), width));
    lines.push(String::new());
    let with_instances = instances(status, (rows / 4).clamp(4, 20), width);
    if !with_instances.is_empty() {
        lines.extend(with_instances);
        lines.push(String::new());
    }
    if !status.fargate.is_empty() {
        lines.extend(fargate(&status.fargate, width));
        lines.push(String::new());
    }
    // The rest of the screen, but for the line that counts what has no room and the prompt.
    let room = rows.saturating_sub(lines.len() + 2);
    lines.extend(attention(status, room, width));
    lines
}

fn more(shown: usize, all: usize, what: &str, width: Option<usize>) -> Option<String> {
    (all > shown).then(|| fit(&format!("  and {} more {what}", all - shown), width))
}

fn clusters(status: &Status, room: usize, width: Option<usize>) -> Vec<String> {
    let window = judge::lasting(status.window_seconds);
    let stopped = format!("Stopped ({window})");
    let header = ["Cluster", "Status", "Instances", "Services", "Running", "Pending", "Stopping", &stopped];
    let mut sorted: Vec<&Cluster> = status.clusters.iter().collect();
    let troubled = |c: &Cluster| status.attention.iter().any(|a| a.cluster.as_ref() == Some(&c.name) && is_bad(a));
    sorted.sort_by_key(|c| (!troubled(c), c.tasks.running + c.tasks.pending == 0, c.name.clone()));
    let rows: Vec<Vec<Cell>> = sorted
        .iter()
        .take(room)
        .map(|c| {
            let Counts { pending, running, stopping, stopped, failed } = c.tasks;
            let away = c.instances.iter().filter(|i| !i.agent_connected).count();
            let instances = c.instances.len();
            vec![
                c.name.as_str().into(),
                c.status.as_str().into(),
                if away == 0 {
                    instances.to_string().into()
                } else {
                    Cell::styled(format!("{instances}, {away} away"), Style::new().red())
                },
                services(c.services),
                running.to_string().into(),
                Cell::styled(pending.to_string(), if pending > 0 { Style::new().yellow() } else { Style::new() }),
                stopping.to_string().into(),
                if failed == 0 {
                    stopped.to_string().into()
                } else {
                    Cell::styled(format!("{stopped}, {failed} failed"), Style::new().red())
                },
            ]
        })
        .collect();
    let mut lines = terminal::table(&header, &rows, width);
    lines.extend(more(rows.len(), sorted.len(), "clusters", width));
    lines
}

/// How many there are, and of how many fewer tasks run than shall.
fn services(of: Services) -> Cell {
    match of.below_desired {
        0 => of.active.to_string().into(),
        short => Cell::styled(format!("{}, {short} short", of.active), Style::new().red()),
    }
}

fn instances(status: &Status, room: usize, width: Option<usize>) -> Vec<String> {
    let mut sorted: Vec<(&Cluster, &Instance)> =
        status.clusters.iter().flat_map(|c| c.instances.iter().map(move |i| (c, i))).collect();
    sorted.sort_by_key(|(c, i)| {
        (i.agent_connected && i.status == "ACTIVE", c.name.clone(), i.availability_zone.clone(), i.name().to_owned())
    });
    let several = status.clusters.iter().filter(|c| !c.instances.is_empty()).count() > 1;
    let mut header = vec!["Instance", "Zone", "Type", "Status", "CPU", "Memory", "Tasks"];
    if several {
        header.insert(1, "Cluster");
    }
    let share = |u: Used| format!("{}/{}", u.used, u.registered);
    let rows: Vec<Vec<Cell>> = sorted
        .iter()
        .take(room)
        .map(|(cluster, i)| {
            let plain = |text: &Option<String>| Cell::from(text.clone().unwrap_or_default());
            let standing = match (i.status.as_str(), i.agent_connected) {
                ("ACTIVE", true) => Cell::styled("ACTIVE", Style::new().green()),
                (status, true) => Cell::styled(status, Style::new().yellow()),
                (_, false) if i.machine_state.as_deref() == Some("stopped") => {
                    Cell::styled("stopped", Style::new().dim())
                }
                ("ACTIVE", false) => Cell::styled("away", Style::new().red()),
                (status, false) => Cell::styled(format!("{status}, away"), Style::new().red()),
            };
            let tasks = match i.pending_tasks {
                0 => i.running_tasks.to_string(),
                pending => format!("{}+{pending}", i.running_tasks),
            };
            let mut row = vec![
                Cell::from(i.name()),
                plain(&i.availability_zone),
                plain(&i.instance_type),
                standing,
                share(i.cpu).into(),
                share(i.memory).into(),
                tasks.into(),
            ];
            if several {
                row.insert(1, cluster.name.as_str().into());
            }
            row
        })
        .collect();
    let mut lines = terminal::table(&header, &rows, width);
    lines.extend(more(rows.len(), sorted.len(), "instances", width));
    lines
}

/// By zone, because a task goes where its subnets are. What is left is what a task can have now.
fn fargate(machines: &[Instance], width: Option<usize>) -> Vec<String> {
    let mut zones: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
    for machine in machines {
        zones.entry(machine.availability_zone.as_deref().unwrap_or("-")).or_default().push(machine);
    }
    let header = ["Fargate in", "Machines", "vCPU used", "vCPU left", "MiB used", "MiB left", "Tasks"];
    let rows = zones.into_iter().map(|(zone, machines)| {
        let takes = |machine: &&&Instance| machine.agent_connected && machine.status == "ACTIVE";
        let away = machines.iter().filter(|machine| !machine.agent_connected).count();
        let drained = machines.iter().filter(|machine| machine.agent_connected && !takes(machine)).count();
        let used = |of: fn(&Instance) -> Used| machines.iter().map(|machine| of(machine).used).sum::<i64>();
        let left = |of: fn(&Instance) -> Used| {
            let each = machines.iter().filter(takes).map(|machine| of(machine));
            each.map(|of| (of.registered - of.used).max(0)).sum::<i64>()
        };
        let [cpu, memory]: [fn(&Instance) -> Used; 2] = [|machine| machine.cpu, |machine| machine.memory];
        let count = machines.len();
        let tasks = |of: fn(&Instance) -> u64| machines.iter().map(|machine| of(machine)).sum::<u64>();
        let (running, pending) = (tasks(|machine| machine.running_tasks), tasks(|machine| machine.pending_tasks));
        vec![
            Cell::from(zone),
            match (away, drained) {
                (0, 0) => count.to_string().into(),
                (0, drained) => Cell::styled(format!("{count}, {drained} draining"), Style::new().yellow()),
                (away, _) => Cell::styled(format!("{count}, {away} away"), Style::new().red()),
            },
            vcpu(used(cpu)).into(),
            vcpu(left(cpu)).into(),
            used(memory).to_string().into(),
            left(memory).to_string().into(),
            if pending == 0 { running.to_string() } else { format!("{running}+{pending}") }.into(),
        ]
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    terminal::table(&header, &rows, width)
}

/// CPU units as people speak of Fargate's sizes: 0.25, 1, 2.5.
fn vcpu(units: i64) -> String {
    let text = format!("{:.2}", units as f64 / 1024.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn is_bad(attention: &Attention) -> bool {
    attention.level != Level::Notice
}

fn attention(status: &Status, room: usize, width: Option<usize>) -> Vec<String> {
    if status.attention.is_empty() {
        return vec![Style::new().green().apply_to("Nothing needs attention.").to_string()];
    }
    let mut lines = vec![Style::new().bold().apply_to("Needs attention").to_string()];
    let mut shown = 0;
    for one in &status.attention {
        let about = about(one, width);
        if shown >= ATTENTION_AT_LEAST && lines.len() + about.len() > room {
            break;
        }
        lines.extend(about);
        shown += 1;
    }
    lines.extend(more(shown, status.attention.len(), "(--output json has all)", width));
    lines
}

fn about(one: &Attention, width: Option<usize>) -> Vec<String> {
    let (sign, style) = match one.level {
        Level::Error => ("✗", Style::new().red()),
        Level::Warning => ("!", Style::new().yellow()),
        Level::Notice => ("·", Style::new().dim()),
    };
    let cluster = one.cluster.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let what = format!("{} {cluster}{}", style.apply_to(sign), terminal::harmless(&one.what));
    let mut lines = vec![fit(&what, width)];
    if let Some(why) = &one.why {
        lines.push(fit(&format!("    {}", terminal::harmless(why)), width));
    }
    lines.extend(terminal::advised(&one.next, width));
    lines
}

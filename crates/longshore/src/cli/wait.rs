//! Waiting for a cluster to come where it should, and showing meanwhile where each thing stands.
//!
//! On a terminal each thing has a row that changes, below a bar; where there is none, each change is one plain line. Both go
//! to standard error. The original shows nothing of this, so under its name nothing is shown.

use super::{Client, client::code, ps, say, terminal};
use crate::advice::Advice;
use anyhow::{Result, anyhow};
use console::{Style, Term};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::fargate::POOL_CLUSTER;
use shapes::{ec2, ecs};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{LazyLock, mpsc},
    time::Duration,
};

/// How often the server is asked. Its answers come from memory, so a person may have them quickly.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often what only shows that time passes is drawn.
const REDRAW_EVERY: Duration = Duration::from_millis(100);
/// Rows that are shown at once; of what is more, those that still move are shown first.
const ROWS: usize = 10;
/// Things that are named when time is up.
const NAMED: usize = 5;
/// Tasks or instances of one describe. Source: service model.
const BATCH: usize = 100;
/// The shortest part of a task's id that people tell tasks apart by, as docker has it.
const SHORT_ID: usize = 12;

/// Where all that is live is drawn. One for the process, so that logs can be written above it.
static SCREEN: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

/// Does something that writes to standard error, with what is live out of the way meanwhile.
pub(crate) fn above<T>(write: impl FnOnce() -> T) -> T {
    SCREEN.suspend(write)
}

/// How a thing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Well,
    Badly,
}

/// One thing that is waited for, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// What it is called; the same at each look.
    pub(crate) name: String,
    /// Where it stands, in a few words.
    pub(crate) state: String,
    /// How it ended, once it has.
    pub(crate) end: Option<End>,
}

/// What one look at something found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// How much of `total` the bar shows.
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) rows: Vec<Row>,
    /// Whether there is nothing more to wait for.
    pub(crate) over: bool,
}

/// Looks until everything has ended, well or badly, and answers the last look; `each` is called after every one.
async fn rows<F, W>(client: &Client, what: &str, limit: Duration, mut look: F, each: impl FnMut()) -> Result<Vec<Row>>
where
    F: FnMut() -> W,
    W: Future<Output = Result<Vec<Row>>>,
{
    let look = || {
        let looking = look();
        async move {
            let rows = looking.await?;
            let ended = rows.iter().filter(|row| row.end.is_some()).count();
            Ok(Look { done: ended as u64, total: rows.len() as u64, over: ended == rows.len(), rows })
        }
    };
    until_over(what, Some((limit, client)), look, each).await
}

/// Looks until it is over and answers the last look's rows; `each` is called after every look. Without a limit the look says,
/// by failing, when it has lasted too long; with one the client is of the region that is waited in.
#[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
pub(crate) async fn until_over<F, W>(
    what: &str,
    limit: Option<(Duration, &Client)>,
    mut look: F,
    mut each: impl FnMut(),
) -> Result<Vec<Row>>
where
    F: FnMut() -> W,
    W: Future<Output = Result<Look>>,
{
    let mut live = Live::new(what);
    let mut last = Look::default();
    let looking = async {
        loop {
            last = look().await?;
            live.show(&last);
            each();
            if last.over {
                return anyhow::Ok(());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    let result = match limit {
        Some((limit, client)) => tokio::time::timeout(limit, looking).await.map_err(|_| (limit, client)),
        None => Ok(looking.await),
    };
    live.end();
    match result {
        Ok(result) => result.map(|()| last.rows),
        Err((limit, client)) => Err(late(what, limit, &last.rows, |text| client.there(text))),
    }
}

fn late(what: &str, limit: Duration, rows: &[Row], there: impl Fn(&str) -> String) -> anyhow::Error {
    let waiting: Vec<_> = rows.iter().filter(|row| row.end.is_none()).collect();
    let named: Vec<_> = waiting.iter().take(NAMED).map(|row| format!("{} is {}", row.name, row.state)).collect();
    let rest = waiting.len().saturating_sub(NAMED);
    let rest = if rest > 0 { format!(", and {rest} more are not done") } else { String::new() };
    let error = anyhow!("{what}: not done after {} seconds: {}{rest}", limit.as_secs(), named.join(", "));
    let next = "`longshore status` tells what keeps them; they go on meanwhile, so it may be tried again";
    error.context(Advice::new(there(next)))
}

/// What is shown of a wait.
struct Live {
    drawn: Option<Drawn>,
    /// The states that were told, line by line, where nothing is drawn.
    told: BTreeMap<String, String>,
}

struct Drawn {
    bar: ProgressBar,
    rows: Vec<ProgressBar>,
    /// Counts what has no row; there only once something has none.
    more: Option<ProgressBar>,
}

impl Live {
    fn new(what: &str) -> Self {
        let drawn = (!say::is_ecs_cli() && Term::stderr().is_term()).then(|| Drawn::new(what));
        Self { drawn, told: BTreeMap::new() }
    }

    fn show(&mut self, look: &Look) {
        if let Some(drawn) = &mut self.drawn {
            return drawn.show(look);
        }
        if say::is_ecs_cli() {
            return;
        }
        for row in &look.rows {
            if self.told.insert(row.name.clone(), row.state.clone()).as_ref() != Some(&row.state) {
                say::note(format_args!("{}: {}", terminal::harmless(&row.name), terminal::harmless(&row.state)));
            }
        }
    }

    /// Rows stay as they were last; the bar has said what it had to.
    fn end(self) {
        if let Some(drawn) = self.drawn {
            drawn.bar.finish_and_clear();
            drawn.rows.iter().for_each(ProgressBar::abandon);
            drawn.more.iter().for_each(ProgressBar::abandon);
        }
    }
}

impl Drawn {
    fn new(what: &str) -> Self {
        let bar = SCREEN.add(ProgressBar::new(0));
        bar.set_style(line("{msg} [{bar:30}] {pos}/{len} {elapsed}").progress_chars("=> "));
        bar.set_message(what.to_owned());
        Self { bar, rows: Vec::new(), more: None }
    }

    fn show(&mut self, look: &Look) {
        let rows = &look.rows;
        self.bar.set_length(look.total);
        self.bar.set_position(look.done);
        let mut order: Vec<&Row> = rows.iter().collect();
        if rows.len() > ROWS {
            order.sort_by_key(|row| match row.end {
                Some(End::Badly) => 0,
                None => 1,
                Some(End::Well) => 2,
            });
        }
        let names = order.iter().take(ROWS).map(|row| row.name.chars().count()).max().unwrap_or(0);
        for (at, row) in order.iter().take(ROWS).enumerate() {
            if self.rows.len() == at {
                let above = self.rows.last().unwrap_or(&self.bar);
                self.rows.push(SCREEN.insert_after(above, ProgressBar::no_length()));
            }
            let (sign, style) = match row.end {
                Some(End::Well) => ("✔", Style::new().for_stderr().green()),
                Some(End::Badly) => ("✗", Style::new().for_stderr().red()),
                None => ("", Style::new().for_stderr()),
            };
            let state = style.apply_to(terminal::harmless(&row.state));
            let text = format!("{:names$}  {state}", terminal::harmless(&row.name));
            let slot = &self.rows[at];
            let sign = if sign.is_empty() { "{spinner}" } else { sign };
            slot.set_style(line(&format!("{sign} {{wide_msg}}")));
            slot.set_message(text);
            slot.tick();
        }
        if rows.len() > ROWS {
            let below = self.rows.last().unwrap_or(&self.bar);
            let more = self.more.get_or_insert_with(|| SCREEN.insert_after(below, ProgressBar::no_length()));
            more.set_style(line("  {wide_msg}"));
            more.set_message(format!("and {} more", rows.len() - ROWS));
        }
    }
}

fn line(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates here are constants that indicatif understands")
}

/// Does long work while a bar shows how much of `total` bytes `done` says there is; without a total only that time passes.
/// Where there is no terminal nothing is shown: the work's own result is the one line.
pub(crate) fn busy<T: Send>(
    what: &str,
    total: Option<u64>,
    done: impl Fn() -> u64,
    work: impl FnOnce() -> T + Send,
) -> T {
    let template = match total {
        Some(_) => "{msg} [{bar:30}] {bytes}/{total_bytes} {elapsed}",
        None => "{spinner} {msg} {elapsed}",
    };
    let bar = SCREEN.add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
    bar.set_style(line(template).progress_chars("=> "));
    bar.set_message(what.to_owned());
    let (tell, ended) = mpsc::sync_channel(1);
    let result = std::thread::scope(|scope| {
        let working = scope.spawn(move || {
            let result = work();
            // Nobody listens any more only if we are being unwound.
            let _ = tell.send(());
            result
        });
        while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(REDRAW_EVERY) {
            bar.set_position(total.map_or(0, |total| done().min(total)));
            bar.tick();
        }
        working.join()
    });
    bar.finish_and_clear();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Where a task stands: its status and, while it is pending, what is being done about it.
pub(crate) fn state_of(task: &ecs::Task) -> String {
    let status = task.last_status.as_deref().unwrap_or_default();
    let doing = match (status, task.pull_started_at, task.pull_stopped_at) {
        ("PENDING", Some(_), None) => "pulling its image",
        ("PENDING", _, Some(_)) => "starting its containers",
        (_, _, _) => return status.to_owned(),
    };
    format!("{status}, {doing}")
}

/// Waits until tasks have the status, or have stopped before. Answers them as they are then; `each` sees every look.
pub(crate) async fn tasks(
    client: &Client,
    cluster: &str,
    arns: &[String],
    status: &str,
    limit: Duration,
    mut each: impl FnMut(&[ecs::Task]),
) -> Result<Vec<ecs::Task>> {
    let what = if status == "STOPPED" { "Tasks stopping" } else { "Tasks starting" };
    let last = RefCell::new(Vec::new());
    let look = || async {
        let mut all = Vec::new();
        for batch in arns.chunks(BATCH) {
            all.extend(ps::describe(client, cluster, batch.to_vec()).await?);
        }
        let rows = all.iter().map(|task| task_row(task, status)).collect();
        *last.borrow_mut() = all;
        anyhow::Ok(rows)
    };
    rows(client, what, limit, look, || each(&last.borrow())).await?;
    Ok(last.into_inner())
}

fn task_row(task: &ecs::Task, wanted: &str) -> Row {
    let last = |arn: &Option<String>| arn.as_deref().and_then(|a| a.rsplit('/').next()).unwrap_or_default().to_owned();
    let (id, definition) = (last(&task.task_arn), last(&task.task_definition_arn));
    let mut state = state_of(task);
    let is = task.last_status.as_deref().unwrap_or_default();
    let end = match is {
        _ if is == wanted => Some(End::Well),
        "STOPPED" => {
            let told = task.containers.iter().flatten().find_map(|c| c.reason.clone()).filter(|r| !r.is_empty());
            let why = told.or_else(|| task.stopped_reason.clone()).unwrap_or_default();
            state = format!("STOPPED: {why}");
            Some(End::Badly)
        }
        _ => None,
    };
    Row { name: format!("{definition} {}", id.get(..SHORT_ID).unwrap_or(&id)), state, end }
}

/// Waits until the agents of local instances are connected. What keeps one is shown as long as it does.
pub(crate) async fn instances(client: &Client, cluster: &str, machines: &[String], limit: Duration) -> Result<()> {
    let look = || async {
        let joined = machines_in(client, cluster, Some("agentConnected == true")).await?;
        let described = described(client, machines).await?;
        Ok(described.iter().map(|machine| instance_row(machine, &joined)).collect())
    };
    let rows = rows(client, "Container instances registering", limit, look, || ()).await?;
    let lost: Vec<_> = rows.iter().filter(|row| row.end == Some(End::Badly)).map(|row| row.name.as_str()).collect();
    if lost.is_empty() {
        return Ok(());
    }
    Err(anyhow!("{} ended before they registered: {}", lost.len(), lost.join(", ")))
}

fn instance_row(machine: &ec2::Instance, joined: &BTreeSet<String>) -> Row {
    let id = machine.instance_id.clone().unwrap_or_default();
    let state = machine.state.as_ref().and_then(|s| s.name.as_deref()).unwrap_or_default();
    let reason = machine.state_reason.as_ref().and_then(|r| r.message.as_deref()).filter(|r| !r.is_empty());
    // The code before the words would leave them no room.
    let reason = reason.map(|r| r.trim_start_matches("Server.InternalError: "));
    let zone = machine.placement.as_ref().and_then(|p| p.availability_zone.as_deref()).unwrap_or_default();
    let (state, end) = match (state, reason) {
        _ if joined.contains(&id) => ("registered".to_owned(), Some(End::Well)),
        ("pending" | "running", Some(reason)) => (format!("{state}, {reason}"), None),
        ("running", None) => ("running, its agent is joining".to_owned(), None),
        ("pending", None) => ("pending, being made".to_owned(), None),
        (ended, _) => (ended.to_owned(), Some(End::Badly)),
    };
    Row { name: format!("{id} {zone}"), state, end }
}

/// Waits until local instances are terminated.
pub(crate) async fn terminated(client: &Client, machines: &[String], limit: Duration) -> Result<()> {
    let look = || async {
        let row = |machine: &ec2::Instance| {
            let state = machine.state.as_ref().and_then(|s| s.name.clone()).unwrap_or_default();
            let end = (state == "terminated").then_some(End::Well);
            Row { name: machine.instance_id.clone().unwrap_or_default(), state, end }
        };
        Ok(described(client, machines).await?.iter().map(row).collect())
    };
    rows(client, "Container instances terminating", limit, look, || ()).await.map(drop)
}

async fn described(client: &Client, machines: &[String]) -> Result<Vec<ec2::Instance>> {
    let mut all = Vec::new();
    for batch in machines.chunks(BATCH) {
        let request = ec2::DescribeInstancesRequest { instance_ids: Some(batch.to_vec()), ..Default::default() };
        let reservations = client.call(&request).await?.reservations.into_iter().flatten();
        all.extend(reservations.flat_map(|r| r.instances.unwrap_or_default()));
    }
    Ok(all)
}

/// The machines under a cluster's container instances; `filter` is of the cluster query language.
pub(crate) async fn machines_in(client: &Client, cluster: &str, filter: Option<&str>) -> Result<BTreeSet<String>> {
    let (mut ids, mut next_token) = (BTreeSet::new(), None);
    loop {
        let list = ecs::ListContainerInstancesRequest {
            cluster: Some(cluster.to_owned()),
            filter: filter.map(str::to_owned),
            next_token,
            ..Default::default()
        };
        let page = match client.call(&list).await {
            // It is there once the first machine has joined.
            Err(error) if cluster == POOL_CLUSTER && code(&error) == Some("ClusterNotFoundException") => {
                return Ok(ids);
            }
            page => page?,
        };
        let arns = page.container_instance_arns.unwrap_or_default();
        if !arns.is_empty() {
            let request = ecs::DescribeContainerInstancesRequest {
                cluster: Some(cluster.to_owned()),
                container_instances: Some(arns),
                ..Default::default()
            };
            let described = client.call(&request).await?.container_instances.into_iter().flatten();
            ids.extend(described.filter_map(|instance| instance.ec2_instance_id));
        }
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(ids);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(status: &str) -> ecs::Task {
        ecs::Task {
            task_arn: Some("arn:aws:ecs:us-east-1:000000000000:task/default/0123456789abcdef0123456789abcdef".into()),
            task_definition_arn: Some("arn:aws:ecs:us-east-1:000000000000:task-definition/hello:3".into()),
            last_status: Some(status.into()),
            ..Default::default()
        }
    }

    #[test]
    fn a_task_says_where_it_stands() {
        let at = Some(wire::Timestamp::from_millis(1));
        let pulling = ecs::Task { pull_started_at: at, ..task("PENDING") };
        let pulled = ecs::Task { pull_stopped_at: at, ..pulling.clone() };
        let reason = Some("CannotPullContainerError: no such image".to_owned());
        let failed = ecs::Task {
            stopped_reason: Some("Task failed to start".into()),
            containers: Some(vec![ecs::Container { reason: reason.clone(), ..Default::default() }]),
            ..task("STOPPED")
        };
        for (task, wanted, state, end) in [
            (task("PENDING"), "RUNNING", "PENDING", None),
            (pulling, "RUNNING", "PENDING, pulling its image", None),
            (pulled, "RUNNING", "PENDING, starting its containers", None),
            (task("RUNNING"), "RUNNING", "RUNNING", Some(End::Well)),
            (task("RUNNING"), "STOPPED", "RUNNING", None),
            (failed.clone(), "RUNNING", "STOPPED: CannotPullContainerError: no such image", Some(End::Badly)),
            (failed, "STOPPED", "STOPPED", Some(End::Well)),
        ] {
            let row = task_row(&task, wanted);
            assert_eq!((row.name.as_str(), row.state.as_str(), row.end), ("hello:3 0123456789ab", state, end));
        }
    }

    #[test]
    fn a_machine_says_what_keeps_it() {
        let machine = |state: &str, reason: Option<&str>| ec2::Instance {
            instance_id: Some("i-1".into()),
            state: Some(ec2::InstanceState { name: Some(state.into()), ..Default::default() }),
            state_reason: reason.map(|r| ec2::StateReason { message: Some(r.into()), ..Default::default() }),
            ..Default::default()
        };
        let (nobody, itself) = (BTreeSet::new(), BTreeSet::from(["i-1".to_owned()]));
        for (machine, joined, state, end) in [
            (machine("pending", None), &nobody, "pending, being made", None),
            (machine("running", None), &nobody, "running, its agent is joining", None),
            (machine("running", Some("Server.InternalError: no cgroup")), &nobody, "running, no cgroup", None),
            (machine("running", None), &itself, "registered", Some(End::Well)),
            (machine("terminated", None), &nobody, "terminated", Some(End::Badly)),
        ] {
            let row = instance_row(&machine, joined);
            assert_eq!((row.state.as_str(), row.end), (state, end));
        }
    }

    #[test]
    fn time_that_is_up_names_what_was_waited_for() {
        let row = |n: usize| Row { name: format!("t{n}"), state: "PENDING".into(), end: None };
        let rows: Vec<_> = (0..7).map(row).collect();
        let there = |text: &str| crate::advice::in_region(text, Some("eu-west-1"));
        let error = late("Tasks starting", Duration::from_secs(9), &rows, there);
        let next = crate::advice::next(&error).unwrap();
        assert!(next.starts_with("`longshore status --region eu-west-1` tells what keeps them"), "{next}");
        let text = error.root_cause().to_string();
        assert!(text.starts_with("Tasks starting: not done after 9 seconds: t0 is PENDING, "), "{text}");
        assert!(text.ends_with("t4 is PENDING, and 2 more are not done"), "{text}");
    }
}

//! What commands say while they work. As `ecs-cli` in the original's form (logrus's text format, on standard output), else
//! as a sentence with its facts behind it.

use super::{
    shown,
    terminal::{self, Cell},
};
use crate::advice;
use anyhow::Result;
use clap::{Args, ValueEnum};
use console::measure_text_width;
use serde::Serialize;
use std::{
    fmt::Display,
    io::{ErrorKind, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

static ECS_CLI: AtomicBool = AtomicBool::new(false);
/// Whether standard output is for one JSON document.
static JSON: AtomicBool = AtomicBool::new(false);

/// From now on speak as the original does.
pub(crate) fn as_ecs_cli() {
    ECS_CLI.store(true, Ordering::Relaxed);
}

/// A line on standard output. When nobody reads on (`longshore ps | head -1`) there is nothing left to do, and that is no
/// failure; a line that could not be written for another reason is.
pub(crate) fn out(line: impl Display) {
    let mut to = std::io::stdout().lock();
    if let Err(error) = put(&mut to, line) {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        let _ = writeln!(std::io::stderr(), "longshore: cannot write to standard output: {error}");
        std::process::exit(1);
    }
}

/// Every line that is not drawn comes by here. A terminal is given nothing to obey; whoever reads a pipe gets all of it.
fn put(to: &mut (impl Write + IsTerminal), line: impl Display) -> std::io::Result<()> {
    if to.is_terminal() {
        writeln!(to, "{}", shown::guarded(&line.to_string()))?;
    } else {
        writeln!(to, "{line}")?;
    }
    to.flush()
}

/// Whether standard output is a terminal.
pub(super) fn to_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether this process speaks as the original does.
pub(crate) fn is_ecs_cli() -> bool {
    ECS_CLI.load(Ordering::Relaxed)
}

/// Something happened.
pub(crate) fn info(message: &str, fields: &[(&str, &str)]) {
    line("info", message, fields);
}

/// Something that the original tells, and that under our own name is shown while it is waited for.
pub(crate) fn original(message: &str, fields: &[(&str, &str)]) {
    if is_ecs_cli() {
        line("info", message, fields);
    }
}

/// Something is not as asked for, and the command goes on.
pub(crate) fn warn(message: &str, fields: &[(&str, &str)]) {
    line("warning", message, fields);
}

/// Something failed, and the command says more of it.
pub(crate) fn error(message: &str, fields: &[(&str, &str)]) {
    line("error", message, fields);
}

/// What only `--verbose` shows.
pub(crate) fn debug(message: &str, fields: &[(&str, &str)]) {
    line("debug", message, fields);
}

/// The command failed.
pub(crate) fn fatal(message: &str, fields: &[(&str, &str)]) {
    line("fatal", message, fields);
}

/// logrus quotes what is more than letters, digits and a few signs.
fn value(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._/@^+".contains(&b));
    if plain { text.to_owned() } else { format!("{text:?}") }
}

fn line(level: &str, message: &str, fields: &[(&str, &str)]) {
    let facts: String = fields.iter().map(|(name, fact)| format!(" {name}={}", value(fact))).collect();
    if is_ecs_cli() {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        out(format_args!("time=\"{now}\" level={level} msg={message:?}{facts}"));
    } else if level == "info" && JSON.load(Ordering::Relaxed) {
        note(format_args!("{message}{facts}"));
    } else if level == "info" {
        out(of_one(&format!("{message}{facts}")));
    } else {
        note(format_args!("{level}: {message}{facts}"));
    }
}

/// A line on standard error. That nobody reads it is no failure. What reasons of others bring along of further lines is indented, so that
/// it is not taken for another of ours.
pub(crate) fn note(line: impl Display) {
    let _ = put(&mut std::io::stderr(), of_one(&line.to_string()));
}

/// What is said at once, of which only the first line begins where lines of ours do.
fn of_one(text: &str) -> String {
    text.replace('\n', "\n  ")
}

/// Why a command failed, and what to do next.
pub(crate) fn failure(error: &anyhow::Error) {
    note(format_args!("longshore: {}", advice::message(error)));
    if let Some(next) = advice::next(error) {
        note(format_args!("→ {next}"));
    }
}

/// Whether there is a terminal that has no room for them without cutting.
pub(crate) fn is_too_wide(header: &[&str], rows: &[Vec<String>]) -> bool {
    let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().cloned().map(Cell::from).collect()).collect();
    let width = terminal::width().filter(|_| !is_ecs_cli());
    width.is_some_and(|width| terminal::table(header, &rows, None).iter().any(|line| measure_text_width(line) > width))
}

/// A table as Go's tabwriter pads it: two spaces between columns, nothing at all without rows. On a terminal it is cut to
/// fit, except under the original's name, whose tables never are.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().cloned().map(Cell::from).collect()).collect();
    let width = if is_ecs_cli() { None } else { terminal::width() };
    for line in terminal::table(header, &rows, width) {
        out(line);
    }
}

// Not doc comments, which clap would show at length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    // For people.
    #[default]
    Table,
    // For scripts: one JSON document on standard output; what is said on the way goes to standard error.
    Json,
}

/// `--output`, for every command that prints something a script may want.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct OutputArgs {
    /// How to print: for people, or for scripts as one JSON document.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl OutputArgs {
    /// Whether JSON was asked for. If it was, standard output belongs to it from now on.
    pub(crate) fn is_json(self) -> bool {
        let json = self.output == Output::Json;
        if json {
            JSON.store(true, Ordering::Relaxed);
        }
        json
    }
}

/// The answer of a command, as JSON.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn json(answer: &impl Serialize) -> Result<()> {
    out(serde_json::to_string_pretty(answer)?);
    Ok(())
}

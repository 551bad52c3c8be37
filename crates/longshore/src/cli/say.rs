//! What commands say while they work. As `ecs-cli` in the original's form (logrus's text format, on standard output), else
//! as a sentence with its facts behind it.

use std::{
    fmt::Display,
    io::{ErrorKind, Write},
    sync::atomic::{AtomicBool, Ordering},
};

static ECS_CLI: AtomicBool = AtomicBool::new(false);

/// From now on speak as the original does.
pub(crate) fn as_ecs_cli() {
    ECS_CLI.store(true, Ordering::Relaxed);
}

/// A line on standard output. When nobody reads on (`longshore ps | head -1`) there is nothing left to do, and that is no
/// failure; a line that could not be written for another reason is.
pub(crate) fn out(line: impl Display) {
    let mut to = std::io::stdout().lock();
    if let Err(error) = writeln!(to, "{line}").and_then(|()| to.flush()) {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        let _ = writeln!(std::io::stderr(), "longshore: cannot write to standard output: {error}");
        std::process::exit(1);
    }
}

/// Whether this process speaks as the original does.
pub(crate) fn is_ecs_cli() -> bool {
    ECS_CLI.load(Ordering::Relaxed)
}

/// Something happened.
pub(crate) fn info(message: &str, fields: &[(&str, &str)]) {
    line("info", message, fields);
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
    } else if level == "info" {
        out(format_args!("{message}{facts}"));
    } else {
        let _ = writeln!(std::io::stderr(), "{level}: {message}{facts}");
    }
}

/// A table as Go's tabwriter pads it: two spaces between columns, nothing at all without rows.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let widths: Vec<usize> = (0..header.len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).chain([header[at].len()]).max().unwrap_or(0))
        .collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(cell);
            let pad = (width + 2).saturating_sub(cell.chars().count());
            text.extend(std::iter::repeat_n(' ', pad));
        }
        out(text.trim_end());
    };
    print(&mut header.iter().copied());
    for row in rows {
        print(&mut row.iter().map(String::as_str));
    }
}

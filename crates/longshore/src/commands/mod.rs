//! What each command does. The room where decision and effect meet is kept small: a file per command.

mod agent;
mod dev;
mod env;
mod fault;
mod man;
mod secrets;
mod server;
mod state;
mod token;

use crate::{
    args::Command,
    cli::{self, OutputArgs, out},
};
use anyhow::Result;
use std::{
    borrow::Cow,
    io::{IsTerminal, Write},
    process::ExitCode,
};
use tracing_subscriber::{EnvFilter, fmt, fmt::format::FmtSpan};

/// The original agent's exit code for "do not start me again".
pub(crate) const AGENT_IS_FINISHED: u8 = 5;

/// Runs one command to its end.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Server(args) => server::run(args),
        Command::Dev(args) => dev::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Env(args) => env::print(&args),
        Command::Status(args) => asking(cli::status(args)),
        Command::Service(command) => asking(cli::service(command)),
        Command::Net(args) => asking(cli::net(args)),
        Command::Deploy(args) => asking(cli::deploy(*args)),
        Command::Exec(args) => asking(cli::exec(args)),
        Command::Run(args) => asking(cli::run_task(*args)),
        Command::Events(args) => asking(async { cli::events(args).await.map(|()| ExitCode::SUCCESS) }),
        Command::Cost(args) => asking(cli::cost(args)),
        Command::Token(command) => token::run(command),
        Command::Secrets(command) => secrets::run(command),
        Command::State(command) => state::run(command),
        Command::Completions { shell } => {
            out(crate::completion::script(&shell)?.trim());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { dir, of } => man::run(dir, &of).map(|()| ExitCode::SUCCESS),
        Command::Version { output } => version(output),
        Command::Coverage => {
            out(serde_json::to_string_pretty(&::server::coverage())?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Ecs(command) => cli::run(command, None),
    }
}

/// Runs a command that only asks a server.
fn asking(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

fn version(output: OutputArgs) -> Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    if output.is_json() {
        cli::json(&serde_json::json!({ "version": version, "ecsCli": cli::ECS_CLI_VERSION }))?;
    } else {
        out(format_args!("longshore {version}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Nothing of this process's memory, where others' secrets are, goes into a file when it crashes, or is read by other processes of its
/// user. Programs that it starts have that anew, and containers the limit of their definition.
fn keep_memory_secret() {
    let kept = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    kept.expect("every kernel has it, and it asks for no right");
}

/// Logs of a long-running command, to standard error; LONGSHORE_LOG chooses what, as `info` or `server=debug,agent=info`, and
/// `otherwise` is what is logged if it does not.
fn start_logging(otherwise: &str) {
    let filter = EnvFilter::try_from_env("LONGSHORE_LOG").unwrap_or_else(|_| EnvFilter::new(otherwise));
    // A log that cannot be written (its reader went, its disk is full) must not end what it reports about, which it would if
    // the subscriber in turn printed that error.
    // `timeline=trace` tells of each step of a task's way when it ends and how long it took (bench/containers/trace).
    let spans = if filter.to_string().contains("timeline") { FmtSpan::CLOSE } else { FmtSpan::NONE };
    let log = fmt().with_env_filter(filter).with_span_events(spans).with_writer(|| AboveProgress);
    let log = log.log_internal_errors(false);
    // Colours are for people; left alone, the subscriber leaves them out when NO_COLOR asks for it.
    if std::io::stderr().is_terminal() { log.init() } else { log.with_ansi(false).init() }
}

/// Standard error, with a progress display out of the way of each line. What is told of others' doings (the error of a command that
/// somebody put into a definition) stays within its line, so that nobody writes lines of this log; the subscriber itself sees to it
/// that nothing in them is obeyed by a terminal.
struct AboveProgress;

impl Write for AboveProgress {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let one = one_line(line);
        cli::wait::above(|| std::io::stderr().write_all(&one))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The line with breaks inside of it written as `\n` and `\r`.
fn one_line(line: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |text| (text, &b"\n"[..]));
    if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return line.into();
    }
    let mut one = Vec::with_capacity(line.len() + 8);
    for byte in text {
        match byte {
            b'\n' => one.extend_from_slice(b"\\n"),
            b'\r' => one.extend_from_slice(b"\\r"),
            other => one.push(*other),
        }
    }
    one.extend_from_slice(end);
    one.into()
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_line_of_the_log_stays_one() {
        for (line, wanted) in [
            ("plain\n", "plain\n"),
            ("", ""),
            ("why=\"a\n2026-01-01 INFO b\r\nc\"\n", "why=\"a\\n2026-01-01 INFO b\\r\\nc\"\n"),
            ("a\n\n", "a\\n\n"),
        ] {
            assert_eq!(one_line(line.as_bytes()), wanted.as_bytes());
        }
    }
}

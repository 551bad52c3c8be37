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

/// Standard error, with a progress display out of the way of each line.
struct AboveProgress;

impl Write for AboveProgress {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        cli::wait::above(|| std::io::stderr().write(line))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

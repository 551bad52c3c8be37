//! What each command does. The room where decision and effect meet is kept small: a file per command.

mod agent;
mod dev;
mod env;
mod server;
mod state;
mod token;

use crate::{
    args::{Command, Longshore},
    cli::out,
};
use anyhow::Result;
use clap::CommandFactory;
use std::{io::IsTerminal, process::ExitCode};
use tracing_subscriber::{EnvFilter, fmt};

/// The original agent's exit code for "do not start me again".
pub(crate) const AGENT_IS_FINISHED: u8 = 5;

/// Runs one command to its end.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Server(args) => server::run(args),
        Command::Dev(args) => dev::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Env(args) => env::print(&args),
        Command::Token(command) => token::run(command),
        Command::State(command) => state::run(command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Longshore::command(), "longshore", &mut script);
            out(String::from_utf8_lossy(&script).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Coverage => {
            out(serde_json::to_string_pretty(&::server::coverage())?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Ecs(command) => crate::cli::run(command, None),
    }
}

/// Logs of a long-running command, to standard error; LONGSHORE_LOG chooses what, as `info` or `server=debug,agent=info`.
fn start_logging() {
    let filter = EnvFilter::try_from_env("LONGSHORE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A log that cannot be written (its reader went, its disk is full) must not end what it reports about, which it would if
    // the subscriber in turn printed that error.
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    // Colours are for people; left alone, the subscriber leaves them out when NO_COLOR asks for it.
    if std::io::stderr().is_terminal() { log.init() } else { log.with_ansi(false).init() }
}

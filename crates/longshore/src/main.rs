//! One binary: server, agent, dev, and the operator's commands. Called as `ecs-cli` it is that CLI.
//!
//! `main` does only what must happen before any thread exists: choose the TLS provider and, for the agent of a local
//! instance, enter its network namespace. Configuration is read here, once, from flags and environment.

mod advice;
mod args;
mod cli;
mod commands;
mod completion;
mod help;
mod local;

use clap::FromArgMatches;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The provider is named where configurations are built; this is for libraries that ask the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let called_as = std::env::args_os().next().unwrap_or_default();
    if std::path::Path::new(&called_as).file_name().is_some_and(|name| name == "ecs-cli") {
        completion::answer(help::ecs_cli);
        return cli::ecs_cli_main();
    }
    completion::answer(help::longshore);
    let matches = help::longshore().get_matches();
    let command = match args::Longshore::from_arg_matches(&matches) {
        Ok(parsed) => parsed.command,
        Err(e) => e.exit(),
    };
    match commands::run(command) {
        Ok(code) => code,
        Err(error) => {
            cli::failure(&error);
            ExitCode::FAILURE
        }
    }
}

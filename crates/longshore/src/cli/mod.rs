//! The operator's commands: the ECS CLI's, over the public wire like any other client.
//!
//! As `ecs-cli` they keep the original's flags, output and exit codes; as `longshore` they are the same commands with words
//! meant for people. What is deliberately absent: any private way into the server.

mod client;
mod compose;
mod config;
mod down;
mod logs;
mod ps;
mod say;
mod up;
mod wait;

pub(crate) use client::{Client, Target};
pub(crate) use say::{out, table};

use anyhow::Result;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// The commands that both names share.
#[derive(Debug, Subcommand)]
pub(crate) enum EcsCommand {
    /// Store cluster and credentials for later commands.
    Configure(config::ConfigureArgs),
    /// Create a cluster and the container instances in it.
    Up(up::UpArgs),
    /// Delete a cluster and its container instances.
    Down(down::DownArgs),
    /// List a cluster's containers.
    Ps(ps::PsArgs),
    /// Run compose files as tasks.
    Compose(Box<compose::ComposeArgs>),
    /// Show what a task's containers wrote.
    Logs(logs::LogsArgs),
    /// Print the licence.
    License,
}

/// Which cluster, region and credentials: the original's order, see `config`.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct Where {
    /// The cluster.
    #[arg(long, short = 'c', env = "ECS_CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// The region.
    #[arg(long, short = 'r')]
    pub(crate) region: Option<String>,
    /// A profile that `configure profile` stored.
    #[arg(long, env = "ECS_PROFILE")]
    pub(crate) ecs_profile: Option<String>,
    /// A cluster configuration that `configure` stored.
    #[arg(long)]
    pub(crate) cluster_config: Option<String>,
    /// The AWS endpoint.
    #[arg(long, env = "LONGSHORE_ENDPOINT", global = true)]
    pub(crate) endpoint: Option<String>,
}

/// What `--version` says of the original whose commands these are; the star is its mark of a build that is not its own.
const ECS_CLI_VERSION: &str = concat!("version 1.21.0 (*longshore-", env!("CARGO_PKG_VERSION"), ")");

// Not a doc comment, which clap would show.
#[derive(Debug, Parser)]
#[command(name = "ecs-cli", about = "The ECS CLI's commands, for Longshore", version = ECS_CLI_VERSION, disable_version_flag = true)]
struct EcsCli {
    /// Print version.
    #[arg(long, short = 'v', action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Use a custom endpoint with the ECS CLI.
    #[arg(long)]
    endpoint: Option<String>,
    #[command(subcommand)]
    command: EcsCommand,
}

/// `main` when called as `ecs-cli`: the original prints a fatal line on standard output and exits with 1.
pub(crate) fn ecs_cli_main() -> ExitCode {
    say::as_ecs_cli();
    let parsed = EcsCli::command().try_get_matches().and_then(|m| EcsCli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // AWS: help and version are successes; everything else, also what clap calls 2, is 1.
            let code = if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            let _ = error.print();
            return code;
        }
    };
    match run(cli.command, cli.endpoint) {
        Ok(code) => code,
        Err(error) => {
            say::fatal(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The client that flags would give if there were any: from environment and files.
pub(crate) fn settings() -> Result<config::Settings> {
    config::settings(&Where::default(), None)
}

/// Runs one command. `endpoint` is that of the flag before the command, as the original has it.
pub(crate) fn run(command: EcsCommand, endpoint: Option<String>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            EcsCommand::Configure(args) => config::configure(args)?,
            EcsCommand::Up(args) => up::up(args, endpoint).await?,
            EcsCommand::Down(args) => down::down(args, endpoint).await?,
            EcsCommand::Ps(args) => ps::ps(args, endpoint).await?,
            EcsCommand::Compose(args) => compose::run(*args, endpoint).await?,
            EcsCommand::Logs(args) => logs::logs(args, endpoint).await?,
            EcsCommand::License => say::out(include_str!("../../../../LICENSE").trim_end()),
        }
        Ok(ExitCode::SUCCESS)
    })
}

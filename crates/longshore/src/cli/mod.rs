//! The operator's commands: the ECS CLI's, over the public wire like any other client.
//!
//! As `ecs-cli` they keep the original's flags, output and exit codes; as `longshore` they are the same commands with words
//! meant for people. What is deliberately absent: any private way into the server.

mod absent;
mod check_attributes;
mod client;
mod cluster;
mod compose;
mod config;
mod cost;
mod definition;
mod deploy;
mod down;
mod events;
mod exec;
mod group;
mod instances;
mod logs;
mod net;
mod progress;
mod ps;
mod run;
mod say;
mod scale;
mod service;
mod shown;
mod status;
mod tags;
mod task_name;
mod terminal;
mod up;
mod user_data;
pub(crate) mod wait;

pub(crate) use client::{Client, Target, code};
pub(crate) use cost::{CostArgs, cost};
pub(crate) use deploy::{DeployArgs, deploy};
pub(crate) use events::{EventsArgs, events};
pub(crate) use exec::{ExecArgs, exec};
pub(crate) use net::{NetArgs, net};
pub(crate) use run::{RunArgs, run as run_task};
pub(crate) use say::{OutputArgs, failure, json, out, table};
pub(crate) use service::{ServiceCommand, service};
pub(crate) use status::{StatusArgs, status};

use anyhow::Result;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// The commands that both names share.
#[derive(Debug, Subcommand)]
pub(crate) enum EcsCommand {
    /// Store cluster and credentials for later commands.
    Configure(config::ConfigureArgs),
    /// Create a cluster and the container instances in it.
    Up(Box<up::UpArgs>),
    /// Delete a cluster and its container instances.
    Down(down::DownArgs),
    /// Change how many container instances a cluster has.
    Scale(scale::ScaleArgs),
    /// List a cluster's containers.
    Ps(ps::PsArgs),
    /// Run compose files as tasks and services.
    Compose(Box<compose::ComposeArgs>),
    /// Show what a task's containers wrote.
    Logs(logs::LogsArgs),
    /// Show which attributes that a task definition needs container instances lack.
    CheckAttributes(check_attributes::CheckAttributesArgs),
    /// Print the licence.
    License,
    #[command(flatten)]
    Absent(absent::AbsentCommand),
}

impl EcsCommand {
    /// AWS: the commands whose failure the original words with their name.
    fn name(&self) -> Option<&'static str> {
        match self {
            Self::Up(_) => Some("up"),
            Self::Down(_) => Some("down"),
            Self::Scale(_) => Some("scale"),
            Self::Ps(_) => Some("ps"),
            Self::Logs(_) => Some("logs"),
            Self::CheckAttributes(_) => Some("check-attributes"),
            Self::Configure(_) | Self::Compose(_) | Self::License | Self::Absent(_) => None,
        }
    }
}

/// Which cluster, region and credentials: the original's order, see `config`.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct Where {
    /// The cluster.
    #[arg(long, short = 'c', env = "ECS_CLUSTER", global = true)]
    pub(crate) cluster: Option<String>,
    /// The region.
    #[arg(long, short = 'r', global = true)]
    pub(crate) region: Option<String>,
    /// A profile that `configure profile` stored [env: ECS_PROFILE].
    #[arg(long, global = true)]
    pub(crate) ecs_profile: Option<String>,
    /// A profile of the AWS CLI's files [env: AWS_PROFILE].
    #[arg(long, global = true)]
    pub(crate) aws_profile: Option<String>,
    /// A cluster configuration that `configure` stored.
    #[arg(long, global = true)]
    pub(crate) cluster_config: Option<String>,
    /// The AWS endpoint.
    #[arg(long, env = "LONGSHORE_ENDPOINT", global = true)]
    pub(crate) endpoint: Option<String>,
    /// Say each call that is made.
    #[arg(long, alias = "debug", global = true)]
    pub(crate) verbose: bool,
}

/// What `--version` says of the original whose commands these are; the star is its mark of a build that is not its own.
pub(crate) const ECS_CLI_VERSION: &str = concat!("version 1.21.0 (*longshore-", env!("CARGO_PKG_VERSION"), ")");

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

/// The original's commands, as clap knows them.
pub(crate) fn ecs_cli_command() -> clap::Command {
    EcsCli::command()
}

/// `main` when called as `ecs-cli`: the original prints a fatal line on standard output and exits with 1.
pub(crate) fn ecs_cli_main() -> ExitCode {
    say::as_ecs_cli();
    let parsed = crate::help::ecs_cli().try_get_matches().and_then(|m| EcsCli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // AWS: help and version are successes; everything else, also what clap calls 2, is 1.
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            // AWS: the mistake and the command's help, on standard output like all that it says.
            say::out(format_args!("Incorrect Usage: {}\n{}", error.render(), usage()));
            return ExitCode::FAILURE;
        }
    };
    let name = cli.command.name();
    match run(cli.command, cli.endpoint) {
        Ok(code) => code,
        Err(error) => {
            let said = crate::advice::message(&error);
            match (error.downcast_ref::<compose::Unusable>(), name) {
                (Some(unusable), _) => unusable.say(),
                (None, Some(name)) => say::fatal(&format!("Error executing '{name}': {said}"), &[]),
                (None, None) => say::fatal(&said, &[]),
            }
            ExitCode::FAILURE
        }
    }
}

/// The help of the command that was called.
fn usage() -> clap::builder::StyledStr {
    let mut command = crate::help::ecs_cli();
    command.build();
    for word in std::env::args_os().skip(1) {
        if let Some(inner) = command.find_subcommand(&word).cloned() {
            command = inner;
        }
    }
    command.render_help()
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
            EcsCommand::Up(args) => up::up(*args, endpoint).await?,
            EcsCommand::Down(args) => down::down(args, endpoint).await?,
            EcsCommand::Scale(args) => scale::scale(args, endpoint).await?,
            EcsCommand::Ps(args) => ps::ps(args, endpoint).await?,
            EcsCommand::Compose(args) => compose::run(*args, endpoint).await?,
            EcsCommand::Logs(args) => logs::logs(args, endpoint).await?,
            EcsCommand::CheckAttributes(args) => check_attributes::check(args, endpoint).await?,
            EcsCommand::Absent(command) => absent::refuse(&command)?,
            EcsCommand::License => say::out(include_str!("../../../../LICENSE").trim_end()),
        }
        Ok(ExitCode::SUCCESS)
    })
}

//! `compose`: compose files as task definitions and tasks, mapped as the ECS CLI maps them.
#![allow(clippy::wildcard_enum_match_arm)] // YAML values have six kinds; what is not wanted is refused in one arm.

mod convert;
mod file;
mod params;
mod project;
mod value;

use super::{Where, config};
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct ComposeArgs {
    /// A compose file; may be given more than once, later files win.
    #[arg(long, short = 'f', env = "COMPOSE_FILE", value_delimiter = ':')]
    file: Vec<PathBuf>,
    /// The project's name, which becomes the task definition's family; the folder's name if not given.
    #[arg(long, short = 'p', env = "COMPOSE_PROJECT_NAME")]
    project_name: Option<String>,
    /// The ecs-params file; ecs-params.yml if that is there.
    #[arg(long)]
    ecs_params: Option<PathBuf>,
    /// The task role; the ecs-params file's if not given.
    #[arg(long)]
    task_role_arn: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args, Clone)]
struct LaunchArgs {
    /// The launch type.
    #[arg(long, value_parser = ["EC2", "FARGATE"])]
    launch_type: Option<String>,
    /// Make the log groups that the containers name.
    #[arg(long)]
    create_log_groups: bool,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Register the task definition.
    Create(LaunchArgs),
    /// Register the task definition and run one task of it, or bring running ones up to date.
    Up {
        #[command(flatten)]
        launch: LaunchArgs,
        /// Replace running tasks even if their definition is the newest.
        #[arg(long, short = 'u')]
        force_update: bool,
    },
    /// Run one task if none runs.
    Start(LaunchArgs),
    /// Run or stop tasks until so many run.
    Scale {
        /// How many.
        count: usize,
        #[command(flatten)]
        launch: LaunchArgs,
    },
    /// List the project's containers.
    #[command(alias = "list")]
    Ps {
        /// Only tasks of this desired status.
        #[arg(long, value_parser = ["RUNNING", "STOPPED"])]
        desired_status: Option<String>,
        /// How to print.
        #[arg(long, default_value = "table", value_parser = ["table", "json"])]
        output: String,
        #[command(flatten)]
        place: Where,
    },
    /// Stop the project's tasks.
    #[command(alias = "down")]
    Stop {
        #[command(flatten)]
        place: Where,
    },
}

/// Runs one `compose` command.
pub(super) async fn run(args: ComposeArgs, endpoint: Option<String>) -> Result<()> {
    let (place, launch) = match &args.verb {
        Verb::Create(launch) | Verb::Start(launch) | Verb::Up { launch, .. } | Verb::Scale { launch, .. } => {
            (launch.place.clone(), Some(launch.clone()))
        }
        Verb::Ps { place, .. } | Verb::Stop { place } => (place.clone(), None),
    };
    let settings = config::settings(&place, endpoint)?;
    let source = file::load(&args.file, args.project_name.as_deref())?;
    let params = params::load(args.ecs_params.as_deref(), &source.environment)?;
    let launch_type = launch.as_ref().and_then(|l| l.launch_type.clone()).or_else(|| settings.launch_type.clone());
    let project = project::Project {
        settings: &settings,
        source: &source,
        params: &params,
        task_role_arn: args.task_role_arn,
        launch_type,
        create_log_groups: launch.is_some_and(|l| l.create_log_groups),
    };
    match args.verb {
        Verb::Create(_) => project.create().await.map(drop),
        Verb::Up { force_update, .. } => project.up(force_update).await,
        Verb::Start(_) => project.up(false).await,
        Verb::Scale { count, .. } => project.scale(count).await,
        Verb::Ps { desired_status, output, .. } => project.ps(desired_status.as_deref(), &output).await,
        Verb::Stop { .. } => project.stop().await,
    }
}

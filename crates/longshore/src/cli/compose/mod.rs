//! `compose`: compose files as task definitions and tasks, mapped as the ECS CLI maps them.
#![allow(clippy::wildcard_enum_match_arm)] // YAML values have six kinds; what is not wanted is refused in one arm.

mod cache;
mod convert;
mod extends;
mod file;
mod interpolate;
mod members;
mod number;
mod overlay;
mod params;
mod ports;
mod project;
mod reading;
mod registry_creds;
mod schema;
mod service;
mod tasks;
mod value;
mod volumes;
mod yaml;

use super::{Where, config, say, shown, tags};
use anyhow::{Context, Result, bail};
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
    /// The file that says with which secrets images are pulled; the newest ecs-registry-creds_*.yml if there is one.
    #[arg(long)]
    registry_creds: Option<PathBuf>,
    /// The task role; the ecs-params file's if not given.
    #[arg(long)]
    task_role_arn: Option<String>,
    #[command(flatten)]
    place: Where,
    #[command(subcommand)]
    verb: Verb,
}

/// What is said of a definition that is to be registered.
#[derive(Debug, Args, Default)]
struct CreateArgs {
    /// The launch type.
    #[arg(long, value_parser = config::LAUNCH_TYPES)]
    launch_type: Option<String>,
    /// Make the log groups that the containers name.
    #[arg(long)]
    create_log_groups: bool,
    /// Tags of what is made, key=value,key2=value2.
    #[arg(long, value_parser = tags::parse)]
    tags: Option<tags::Tags>,
}

/// What is said of tasks that are to be run.
#[derive(Debug, Args, Default)]
struct RunArgs {
    /// Leave out the tags aws:ecs:clusterName and its like.
    #[arg(long)]
    disable_ecs_managed_tags: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Register the task definition.
    Create(CreateArgs),
    /// Register the task definition and run one task of it, or bring running ones up to date.
    Up {
        #[command(flatten)]
        create: CreateArgs,
        #[command(flatten)]
        run: RunArgs,
        /// Replace running tasks even if their definition is the newest.
        #[arg(long, short = 'u')]
        force_update: bool,
    },
    /// Run one task if none runs.
    Start {
        #[command(flatten)]
        create: CreateArgs,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Run one task with other commands in its containers.
    Run {
        /// Containers, each followed by its command in quotes.
        #[arg(value_name = "CONTAINER \"COMMAND\"")]
        commands: Vec<String>,
        /// Tags of what is made, key=value,key2=value2.
        #[arg(long, value_parser = tags::parse)]
        tags: Option<tags::Tags>,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Run or stop tasks until so many run.
    Scale {
        /// How many.
        count: usize,
        #[command(flatten)]
        create: CreateArgs,
        #[command(flatten)]
        run: RunArgs,
    },
    /// List the project's containers.
    #[command(alias = "list")]
    Ps {
        /// Only tasks of this desired status.
        #[arg(long, value_parser = ["RUNNING", "STOPPED"])]
        desired_status: Option<String>,
        #[command(flatten)]
        output: say::OutputArgs,
    },
    /// Stop the project's tasks.
    #[command(alias = "down")]
    Stop,
    /// Run the project as a service, whose tasks are kept running.
    Service(Box<service::ServiceArgs>),
}

impl Verb {
    /// What is said of the definition that is to be registered.
    fn create(&self) -> Option<&CreateArgs> {
        match self {
            Self::Create(create)
            | Self::Up { create, .. }
            | Self::Start { create, .. }
            | Self::Scale { create, .. } => Some(create),
            Self::Service(service) => service.verb.make().map(|make| &make.create),
            Self::Run { .. } | Self::Ps { .. } | Self::Stop => None,
        }
    }

    /// What is said of tasks that are to be run.
    fn run(&self) -> Option<&RunArgs> {
        match self {
            Self::Up { run, .. } | Self::Start { run, .. } | Self::Scale { run, .. } | Self::Run { run, .. } => {
                Some(run)
            }
            Self::Service(service) => service.verb.make().map(|make| &make.run),
            Self::Create(_) | Self::Ps { .. } | Self::Stop => None,
        }
    }

    fn tags(&self) -> Option<&tags::Tags> {
        match self {
            Self::Run { tags, .. } => tags.as_ref(),
            Self::Create(_)
            | Self::Up { .. }
            | Self::Start { .. }
            | Self::Scale { .. }
            | Self::Ps { .. }
            | Self::Stop
            | Self::Service(_) => self.create()?.tags.as_ref(),
        }
    }

    fn creates_log_groups(&self) -> bool {
        let starts = match self {
            Self::Service(service) => {
                matches!(service.verb, service::ServiceVerb::Start { create_log_groups: true, .. })
            }
            _ => false,
        };
        starts || self.create().is_some_and(|create| create.create_log_groups)
    }
}

/// The project's files cannot be used. The original says so on two lines.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unusable(String);

impl Unusable {
    fn new(error: &anyhow::Error) -> Self {
        Self(told(error))
    }

    /// Says it as the original does.
    pub(crate) fn say(&self) {
        say::error("Unable to open ECS Compose Project", &[("error", &self.0)]);
        say::fatal("Unable to create and read ECS Compose Project", &[("error", &self.0)]);
    }
}

/// Why the files cannot be used. What they say comes along with it, and a terminal must not obey that.
fn told(error: &anyhow::Error) -> String {
    shown::plain(&format!("{error:#}")).into_owned()
}

/// Runs one `compose` command.
pub(super) async fn run(args: ComposeArgs, endpoint: Option<String>) -> Result<()> {
    if let Verb::Service(service) = &args.verb {
        service.verb.refuse_what_is_absent()?;
    }
    let settings = config::settings(&args.place, endpoint)?;
    let source = file::load(&args.file, args.project_name.as_deref()).map_err(|error| Unusable::new(&error))?;
    let params =
        params::load(args.ecs_params.as_deref(), &source.environment).map_err(|error| Unusable::new(&error))?;
    let launch_type = args.verb.create().and_then(|create| create.launch_type.clone());
    let flags = convert::Flags {
        task_role_arn: args.task_role_arn,
        launch_type: launch_type.or_else(|| settings.launch_type.clone()),
        tags: args.verb.tags().map(tags::Tags::ecs).unwrap_or_default(),
        prefix: settings.project_prefix.clone(),
    };
    let project = project::Project {
        settings: &settings,
        source: &source,
        params: &params,
        flags,
        registry_creds: args.registry_creds,
        create_log_groups: args.verb.creates_log_groups(),
        managed_tags: args.verb.run().is_none_or(|run| !run.disable_ecs_managed_tags),
    };
    match args.verb {
        Verb::Create(_) => project.create().await.map(drop),
        Verb::Up { force_update, .. } => project.up(force_update).await,
        Verb::Start { .. } => project.up(false).await,
        Verb::Run { commands, .. } => project.run(overrides(&commands)?).await,
        Verb::Scale { count, .. } => project.scale(count).await,
        Verb::Ps { desired_status, output } => project.ps(desired_status.as_deref(), output).await,
        Verb::Stop => project.stop().await,
        Verb::Service(args) => service::Service::new(&project).run(args.verb).await,
    }
}

/// `CONTAINER "COMMAND"` pairs.
fn overrides(commands: &[String]) -> Result<Vec<(String, Vec<String>)>> {
    let pair = |pair: &[String]| match pair {
        [container, command] => {
            let words = model::words::split(command).with_context(|| format!("unbalanced quotes in '{command}'"))?;
            Ok((container.clone(), words))
        }
        _ => bail!("Please pass arguments in the form: CONTAINER COMMAND [CONTAINER COMMAND]..."),
    };
    commands.chunks(2).map(pair).collect()
}

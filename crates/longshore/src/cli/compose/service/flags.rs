//! What can be said to `compose service`: the original's flags. Those that need what is not here yet are taken, so that they
//! are refused by their names and not as typing mistakes.

use super::super::{CreateArgs, RunArgs};
use super::discovery::DiscoveryArgs;
use crate::{advice::Advice, cli::say};
use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use shapes::ecs;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    #[command(subcommand)]
    pub(in super::super) verb: ServiceVerb,
}

#[derive(Debug, Subcommand)]
pub(in super::super) enum ServiceVerb {
    /// Register the task definition and create a service that runs nothing yet.
    Create(MakeArgs),
    /// Create the service and run one task, or bring it up to date, and wait until it is stable.
    Up {
        #[command(flatten)]
        make: MakeArgs,
        #[command(flatten)]
        wait: WaitArgs,
        #[command(flatten)]
        force: ForceArgs,
        /// Bring the service discovery of a service that is there up to date: how long answers of DNS are good.
        #[arg(long)]
        update_service_discovery: bool,
    },
    /// Run one task of a service that runs none.
    Start {
        #[command(flatten)]
        wait: WaitArgs,
        #[command(flatten)]
        force: ForceArgs,
        /// Make the log groups that the containers name.
        #[arg(long)]
        create_log_groups: bool,
    },
    /// List the service's containers.
    #[command(alias = "list")]
    Ps {
        /// Only tasks of this desired status.
        #[arg(long, value_parser = ["RUNNING", "STOPPED"])]
        desired_status: Option<String>,
        #[command(flatten)]
        output: say::OutputArgs,
    },
    /// Say how many tasks the service shall run.
    Scale {
        /// How many.
        #[arg(value_parser = clap::value_parser!(i32).range(0..))]
        count: i32,
        #[command(flatten)]
        rules: RulesArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Stop all tasks of the service and keep it.
    Stop {
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Delete the service and stop its tasks.
    #[command(aliases = ["delete", "down"])]
    Rm {
        #[command(flatten)]
        wait: WaitArgs,
        /// Delete the namespace of its service discovery too, if it was made for this service.
        #[arg(long)]
        delete_namespace: bool,
    },
}

/// What is said of a service that is to be.
#[derive(Debug, Args, Default)]
pub(in super::super) struct MakeArgs {
    #[command(flatten)]
    pub(in super::super) create: CreateArgs,
    #[command(flatten)]
    pub(in super::super) run: RunArgs,
    #[command(flatten)]
    pub(super) rules: RulesArgs,
    /// A number of tasks that is asked for, or one on each container instance.
    #[arg(long, value_parser = ["REPLICA", "DAEMON"])]
    pub(super) scheduling_strategy: Option<String>,
    /// Seconds from a task's start in which it is not replaced although its health check fails.
    #[arg(long, value_name = "SECONDS")]
    pub(super) health_check_grace_period: Option<i32>,
    #[command(flatten)]
    pub(super) discovery: DiscoveryArgs,
    #[command(flatten)]
    pub(super) absent: AbsentArgs,
}

/// How a deployment proceeds.
#[derive(Debug, Args, Default, Clone, Copy)]
pub(in super::super) struct RulesArgs {
    /// How many tasks there may be while deploying, in percent of the desired count.
    #[arg(long)]
    pub(super) deployment_max_percent: Option<i32>,
    /// How many tasks must stay healthy while deploying, in percent of the desired count.
    #[arg(long)]
    pub(super) deployment_min_healthy_percent: Option<i32>,
}

impl RulesArgs {
    pub(super) fn is_given(self) -> bool {
        self.deployment_max_percent.is_some() || self.deployment_min_healthy_percent.is_some()
    }

    /// AWS: sent even if it says nothing.
    pub(super) fn configuration(self) -> ecs::DeploymentConfiguration {
        ecs::DeploymentConfiguration {
            maximum_percent: self.deployment_max_percent,
            minimum_healthy_percent: self.deployment_min_healthy_percent,
            ..Default::default()
        }
    }
}

/// How long a command waits.
#[derive(Debug, Args, Clone, Copy)]
pub(in super::super) struct WaitArgs {
    /// For how many minutes the number of running tasks may stand still before waiting ends; 0 does not wait.
    #[arg(long, value_name = "MINUTES", default_value_t = 5.0, value_parser = minutes)]
    timeout: f64,
}

/// Longest wait that can be asked for: a year.
const MOST_MINUTES: f64 = 525_600.0;

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("'{text}' is not a number of minutes"))?;
    let fine = (0.0..=MOST_MINUTES).contains(&minutes);
    if fine { Ok(minutes) } else { Err(format!("it must be between 0 and {MOST_MINUTES}")) }
}

impl WaitArgs {
    /// `None` if nothing is waited for.
    pub(super) fn patience(self) -> Option<Duration> {
        (self.timeout > 0.0).then(|| Duration::from_secs_f64(self.timeout * 60.0))
    }
}

/// Whether tasks are replaced that are of the newest definition already.
#[derive(Debug, Args, Clone, Copy)]
pub(in super::super) struct ForceArgs {
    /// Start a new deployment even if nothing of the definition changed.
    #[arg(long)]
    pub(super) force_deployment: bool,
}

/// Flags of the original that need a load balancer.
#[derive(Debug, Args, Default)]
pub(in super::super) struct AbsentArgs {
    #[arg(long, hide = true)]
    target_group_arn: Option<String>,
    #[arg(long, hide = true)]
    target_groups: Vec<String>,
    #[arg(long, hide = true)]
    load_balancer_name: Option<String>,
    #[arg(long, hide = true)]
    container_name: Option<String>,
    #[arg(long, hide = true)]
    container_port: Option<String>,
    #[arg(long, hide = true)]
    role: Option<String>,
}

impl AbsentArgs {
    fn balancer(&self) -> Option<&'static str> {
        let given = [
            ("--target-group-arn", self.target_group_arn.is_some()),
            ("--target-groups", !self.target_groups.is_empty()),
            ("--load-balancer-name", self.load_balancer_name.is_some()),
            ("--container-name", self.container_name.is_some()),
            ("--container-port", self.container_port.is_some()),
            ("--role", self.role.is_some()),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }
}

impl ServiceVerb {
    /// Refuses, by its name, what needs what is not here.
    pub(in super::super) fn refuse_what_is_absent(&self) -> Result<()> {
        let Some(flag) = self.make().and_then(|make| make.absent.balancer()) else { return Ok(()) };
        let error = anyhow!("Longshore does not honour {flag} yet: there is no load balancer");
        Err(error.context(Advice::new(
            "Leave it out, give the container a host port, and let what balances ask `compose service ps` for addresses",
        )))
    }

    /// What is said of the definition that is to be registered.
    pub(in super::super) fn make(&self) -> Option<&MakeArgs> {
        match self {
            Self::Create(make) | Self::Up { make, .. } => Some(make),
            Self::Start { .. } | Self::Ps { .. } | Self::Scale { .. } | Self::Stop { .. } | Self::Rm { .. } => None,
        }
    }
}

//! `service`: what a person asks of a service, beyond the ECS CLI's `compose service`. Over the public wire, like any client.
//!
//! `gather` asks, `judge` decides what holds a service up (`failures`: which tasks failed; `places`: which find no place;
//! `stage`: what a deployment in stages waits for), `show` lays it out; `facts` is what they share, and the JSON form.

mod facts;
pub(super) mod failures;
pub(super) mod gather;
pub(super) mod judge;
mod places;
mod proceed;
pub(super) mod show;
pub(super) mod stage;
#[cfg(test)]
mod tests;

pub(super) use facts::Hold;

use super::{Where, config, say, terminal};
use anyhow::Result;
use clap::{Args, Subcommand};
use console::Term;
use jiff::Timestamp;
use std::{process::ExitCode, time::Duration};

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Tell how a service is and, if it is not stable, why.
    Status(ServiceStatusArgs),
    /// Let a deployment that is paused at a lifecycle hook go on, or back.
    Continue(proceed::ServiceContinueArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServiceStatusArgs {
    /// The service's name or ARN.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Look again every two seconds, until Ctrl-C.
    #[arg(long, short = 'w')]
    watch: bool,
    /// Exit with 3 if it is not stable.
    #[arg(long, conflicts_with = "watch")]
    check: bool,
    #[command(flatten)]
    output: say::OutputArgs,
    #[command(flatten)]
    place: Where,
}

/// The exit code of `--check` when it is not stable: neither success nor "it could not be asked".
const NOT_STABLE: u8 = 3;
/// How often `--watch` looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Runs one command.
pub(crate) async fn service(command: ServiceCommand) -> Result<ExitCode> {
    match command {
        ServiceCommand::Status(args) => status(args).await,
        ServiceCommand::Continue(args) => proceed::proceed(args).await,
    }
}

#[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
async fn status(args: ServiceStatusArgs) -> Result<ExitCode> {
    let settings = config::settings(&args.place, None)?;
    let json = args.output.is_json();
    loop {
        let status = gather::look(&settings, &args.service, Timestamp::now()).await?;
        let lines = || show::lines(&status, terminal::width(), terminal::height());
        match (args.watch, json) {
            (false, true) => say::json(&status)?,
            (true, true) => say::out(serde_json::to_string(&status)?),
            (true, false) if Term::stdout().is_term() => terminal::redraw(lines())?,
            (_, false) => lines().iter().for_each(say::out),
        }
        if !args.watch {
            let bad = args.check && !status.stable;
            return Ok(if bad { ExitCode::from(NOT_STABLE) } else { ExitCode::SUCCESS });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

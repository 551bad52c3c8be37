//! `status`: clusters, instances, services, tasks, what is unhealthy and why, in one screen. Over the public wire, like any client.
//!
//! `gather` asks, `judge` decides what needs attention, `show` lays it out; `facts` is what they share, and the JSON form.

pub(super) mod facts;
mod gather;
pub(super) mod judge;
mod services;
mod show;
#[cfg(test)]
mod tests;

use super::{Where, config, say, terminal};
use anyhow::Result;
use clap::Args;
use console::Term;
use gather::Gatherer;
use jiff::Timestamp;
use std::{process::ExitCode, time::Duration};

/// The exit code of `--check` when something needs attention: neither success nor "it could not be asked".
const UNHEALTHY: u8 = 3;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Look again every two seconds, until Ctrl-C.
    #[arg(long, short = 'w')]
    watch: bool,
    /// Exit with 3 if something is unhealthy; notices are not.
    #[arg(long, conflicts_with = "watch")]
    check: bool,
    /// How many minutes back stopped tasks are told.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=43_200))]
    minutes: u32,
    #[command(flatten)]
    output: say::OutputArgs,
    #[command(flatten)]
    place: Where,
}

/// How often `--watch` looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
pub(crate) async fn status(args: StatusArgs) -> Result<ExitCode> {
    let settings = config::settings(&args.place, None)?;
    let window = Duration::from_secs(u64::from(args.minutes) * 60);
    // Without a cluster all are shown, whatever cluster other commands would mean.
    let mut gatherer = Gatherer::new(&settings, args.place.cluster.clone(), window);
    let json = args.output.is_json();
    if !args.watch {
        let status = gatherer.look(Timestamp::now()).await?;
        if json {
            say::json(&status)?;
        } else {
            show::lines(&status, terminal::width(), terminal::height()).iter().for_each(say::out);
        }
        let unhealthy = args.check && !status.healthy;
        return Ok(if unhealthy { ExitCode::from(UNHEALTHY) } else { ExitCode::SUCCESS });
    }
    let screen = Term::stdout();
    // A server that is started again is worth waiting for; one that never was there is not.
    let mut failures = PATIENCE_LOOKS;
    loop {
        match gatherer.look(Timestamp::now()).await {
            Ok(status) => {
                failures = 0;
                if json {
                    say::out(serde_json::to_string(&status)?);
                } else if screen.is_term() {
                    terminal::redraw(show::lines(&status, terminal::width(), terminal::height()))?;
                } else {
                    show::lines(&status, None, None).iter().for_each(say::out);
                    say::out("");
                }
            }
            Err(error) if failures == PATIENCE_LOOKS => return Err(error),
            Err(error) => {
                failures += 1;
                say::warn(&crate::advice::message(&error), &[]);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks that may fail in a row while watching: half a minute, in which a server starts again.
const PATIENCE_LOOKS: u32 = 15;

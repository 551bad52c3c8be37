//! `net`: the VPCs as people see them, and whether one may talk to another. Over the public wire, like any client.
//!
//! `fetch` asks EC2 and ECS, `parse` makes of EC2's answers the network that `model` knows laws of, `ends` finds out who is
//! meant, `tell` puts the model's reasons into words and `open` says what to do about them, `show` lays out what there is.

mod ends;
mod fetch;
mod open;
mod parse;
mod show;
mod tell;
#[cfg(test)]
mod tests;

use super::{Where, config, say, terminal};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use model::network::reach::Probe;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct NetArgs {
    #[command(subcommand)]
    command: Option<NetCommand>,
    #[command(flatten)]
    output: say::OutputArgs,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Subcommand)]
enum NetCommand {
    /// Tell whether a connection from A to B passes, and what decides it. Exits with 0 if it does, 1 if it does not, 2 if that
    /// could not be found out. A and B are a task, an interface (eni-…), an instance (i-…), an address, `service/NAME` for one
    /// of its tasks, or `internet` for anybody there.
    Why(WhyArgs),
}

#[derive(Debug, Args)]
struct WhyArgs {
    /// Who opens the connection.
    #[arg(value_name = "A")]
    sender: String,
    /// To whom, and to which port; ICMP has none.
    #[arg(value_name = "B:PORT")]
    receiver: String,
    /// The protocol; of ICMP what `ping` sends.
    #[arg(long, default_value = "tcp", value_parser = ["tcp", "udp", "icmp"])]
    protocol: String,
    #[command(flatten)]
    output: say::OutputArgs,
}

/// The exit code when it passes not.
const BLOCKED: u8 = 1;
/// The exit code when it could not be found out, which says nothing about the network.
const UNKNOWN: u8 = 2;

/// Runs one command.
pub(crate) async fn net(args: NetArgs) -> Result<ExitCode> {
    // Both are asked, so that the flag may stand before and behind the verb.
    let json = args.output.is_json() | args.command.as_ref().is_some_and(|NetCommand::Why(why)| why.output.is_json());
    match &args.command {
        None => {
            let settings = config::settings(&args.place, None)?;
            let world = fetch::world(&settings, args.place.cluster.as_deref(), false).await?;
            if json {
                say::json(&show::json(&world, &settings.region))?;
            } else {
                show::lines(&world, &settings, terminal::width()).iter().for_each(say::out);
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(NetCommand::Why(why)) => match self::why(&args.place, why, json).await {
            Ok(passes) => Ok(if passes { ExitCode::SUCCESS } else { ExitCode::from(BLOCKED) }),
            Err(error) => {
                say::failure(&error);
                Ok(ExitCode::from(UNKNOWN))
            }
        },
    }
}

async fn why(place: &Where, args: &WhyArgs, json: bool) -> Result<bool> {
    let (receiver, probe) = asked(&args.receiver, &args.protocol)?;
    let settings = config::settings(place, None)?;
    let mut world = fetch::world(&settings, place.cluster.as_deref(), true).await?;
    let (sender, receiver) = ends::both(&settings, &world, &args.sender, receiver).await?;
    if let Some(vpc) = sender.vpc(&world) {
        fetch::dns_support(&settings, &mut world, &vpc).await?;
    }
    let from = sender.as_sender();
    let to = receiver.address_from(&world, &from);
    let way = world.network.way(&from, to, probe);
    let told = tell::told(&world, &settings, &sender, (&receiver, to), probe, &way);
    if json {
        say::json(&told)?;
    } else {
        tell::lines(&told, terminal::width()).iter().for_each(say::out);
    }
    Ok(way.passes())
}

/// Whom and for what: `B:PORT`, or for ICMP `B`.
fn asked<'a>(receiver: &'a str, protocol: &str) -> Result<(&'a str, Probe)> {
    if protocol == "icmp" {
        if receiver.contains(':') && !receiver.starts_with("arn:") {
            bail!("ICMP has no ports; name only whom to ask, not '{receiver}'");
        }
        // What `ping` sends.
        return Ok((receiver, Probe::Icmp(8, 0)));
    }
    let (whom, port) = receiver.rsplit_once(':').unwrap_or((receiver, ""));
    let port = port.parse().ok().filter(|port| *port > 0);
    let port = port.with_context(|| format!("'{receiver}' names no port; write B:PORT, such as {whom}:80"))?;
    Ok((whom, if protocol == "udp" { Probe::Udp(port) } else { Probe::Tcp(port) }))
}

//! What the benches under `bench/` drive a server with: a client that signs every request and times every answer, agents
//! that only speak the link, and the disk's own speed to hold commits against. Each prints one line of JSON.
//!
//! One program, so that servers of every kind are measured with the same client.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::wildcard_enum_match_arm)] // A bench, not a service.

mod disk;
mod load;
mod nodes;

use anyhow::Result;
use clap::{Args, Parser};
use std::{path::PathBuf, time::Duration};

#[derive(Parser)]
enum Bench {
    /// Repeats one operation over kept connections.
    Load(load::Load),
    /// Joins machines and holds their sessions until standard input ends.
    Nodes(nodes::Nodes),
    /// Appends 4 KiB and syncs, again and again.
    Disk {
        /// On the disk that is meant.
        directory: PathBuf,
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
}

/// Whom requests are sent to. The keys come from AWS's environment variables.
#[derive(Args)]
struct Endpoint {
    /// host:port of the endpoint, plain HTTP.
    #[arg(long)]
    endpoint: String,
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    access_key: String,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: String,
    #[arg(long, env = "AWS_DEFAULT_REGION")]
    region: String,
}

/// The middle, the slowest in a hundred and the slowest, in microseconds.
fn latencies(mut times: Vec<Duration>) -> serde_json::Map<String, serde_json::Value> {
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len().max(1) - 1) as f64 * share) as usize).map_or(0, Duration::as_micros);
    let named = [("p50_us", at(0.5)), ("p99_us", at(0.99)), ("max_us", at(1.0))];
    named.into_iter().map(|(name, us)| (name.to_owned(), (us as u64).into())).collect()
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match Bench::parse() {
        Bench::Load(load) => runtime.block_on(load::run(load)),
        Bench::Nodes(nodes) => runtime.block_on(nodes::run(nodes)),
        Bench::Disk { directory, seconds } => disk::run(&directory, Duration::from_secs_f64(seconds)),
    }
}
